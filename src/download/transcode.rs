//! Converts text to UTF-8 while the file is received. Without a declared charset, UTF-8 stays, and other text is read as
//! windows-1252.
//!
//! A file whose bytes are not valid in its charset stays as sent, so that nothing is lost.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use tempfile::NamedTempFile;
use tokio::sync::oneshot;

use super::text_type::TextType;
use super::utf8_writer::{TranscodeResult, Utf8Writer};

/// Number of received bytes that are passed to the thread at a time.
const BATCH_SIZE: usize = 256 * 1024;

/// Number of batches that wait for the thread before the download waits for it, too: 2 MiB. Eight downloads can convert text at the
/// same time.
const QUEUE_LENGTH: usize = 8;

/// Converts a file in a thread of its own: at the rate of a fast store, decoding, hashing and writing take as long as
/// receiving.
#[derive(Debug)]
pub(super) struct Transcoder {
    batch: Vec<u8>,
    /// `None` once all batches are sent.
    queue: Option<SyncSender<Bytes>>,
    thread: Option<JoinHandle<TranscodeResult>>,
    /// Closed when the thread ends.
    ended: oneshot::Receiver<()>,
    /// Set to end the thread before the text is complete.
    is_cancelled: Arc<AtomicBool>,
}

impl Transcoder {
    /// Starts a conversion into an empty file. Bytes that are passed to [`Transcoder::write`] must be in `source` already.
    ///
    /// # Errors
    ///
    /// If the system has no thread left.
    pub(super) fn new(text_type: TextType, source: File, file: NamedTempFile) -> anyhow::Result<Self> {
        let (queue, batches) = sync_channel::<Bytes>(QUEUE_LENGTH);
        let (end, ended) = oneshot::channel();
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let mut writer = Utf8Writer::new(text_type, source, file, Arc::clone(&is_cancelled));
        let work = move || {
            let _end = end;
            for batch in batches {
                writer.write(&batch)?;
            }
            writer.finish()
        };
        let thread = thread::Builder::new().spawn(work).context("cannot start a thread for the conversion to UTF-8")?;
        let batch = Vec::with_capacity(BATCH_SIZE);
        Ok(Self { batch, queue: Some(queue), thread: Some(thread), ended, is_cancelled })
    }

    /// Converts the next bytes of the file.
    ///
    /// # Errors
    ///
    /// If the text cannot be written.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(BATCH_SIZE - self.batch.len()));
            self.batch.extend_from_slice(part);
            bytes = rest;
            if self.batch.len() == BATCH_SIZE {
                self.send_batch()?;
            }
        }
        Ok(())
    }

    /// Returns the converted file, or the reason why it cannot be converted. Can take seconds, if a large file is read again.
    ///
    /// # Errors
    ///
    /// If the text cannot be written.
    pub(super) async fn finish(mut self) -> TranscodeResult {
        self.send_batch()?;
        self.queue = None;
        // Nothing is sent, so this waits until the sender is dropped.
        let _ = (&mut self.ended).await;
        self.join()
    }

    fn send_batch(&mut self) -> anyhow::Result<()> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_SIZE));
        match &self.queue {
            Some(queue) if queue.send(batch.into()).is_ok() => Ok(()),
            // The thread has ended with an error.
            _ => self.join().map(|_| ()),
        }
    }

    fn join(&mut self) -> TranscodeResult {
        self.queue = None;
        let result = self.thread.take().map(JoinHandle::join);
        result.and_then(Result::ok).unwrap_or_else(|| Err(anyhow!("the conversion to UTF-8 failed unexpectedly")))
    }
}

impl Drop for Transcoder {
    /// Cancels the conversion, and waits until the thread has removed its file.
    fn drop(&mut self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
        drop(self.join());
    }
}

#[cfg(test)]
mod tests;
