//! The progress of a download: which bytes are new, and the log lines about it.

use std::time::Duration;

use crate::context::Context;
use crate::http::error::Endpoint;
use crate::text::format::{self, Progress};

/// Interval between two log lines about the progress.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of versions of the file whose bytes count as new. Some stores send another `ETag` in each response:
/// without this bound, the attempts would continue until the timeout.
const MAX_VERSIONS: usize = 32;

/// Tracks the progress of a download.
pub(super) struct ProgressTracker {
    new_bytes: NewBytes,
    /// When the last log line was written, since the start of the step, and the number of received bytes then.
    logged: (Duration, u64),
}

impl ProgressTracker {
    pub(super) fn new(now: Duration) -> Self {
        Self { new_bytes: NewBytes::default(), logged: (now, 0) }
    }

    /// Records which version of the file the next bytes are of.
    pub(super) fn begin_version(&mut self, etag: Option<&str>) {
        self.new_bytes.begin_version(etag);
    }

    /// Returns how many bytes were new so far.
    pub(super) fn new_bytes(&self) -> u64 {
        self.new_bytes.count
    }

    /// Records the progress, and logs it from time to time.
    pub(super) fn update(&mut self, context: &Context<'_>, progress: Progress) {
        if self.new_bytes.record(progress.received) {
            context.history.borrow_mut().clear_failure(Endpoint::Store);
        }
        context.history.borrow_mut().progress = Some(progress);

        let now = context.deadline().elapsed();
        let (logged_at, logged_bytes) = self.logged;
        let passed = now.saturating_sub(logged_at);
        if passed < LOG_INTERVAL {
            return;
        }
        let share = progress.total.filter(|&total| total > 0).map(|total| {
            let percent = u128::from(progress.received) * 100 / u128::from(total);
            format!(" ({percent} %)")
        });
        let rate = format::rate(progress.received.saturating_sub(logged_bytes), passed);
        context.line(&format!("{progress}{}, {rate}", share.unwrap_or_default()));
        self.logged = (now, progress.received);
    }
}

/// Counts the bytes that no earlier attempt has received: those of a version that is new, and those after the furthest byte
/// of a version that is not.
#[derive(Default)]
struct NewBytes {
    count: u64,
    versions: Vec<KnownVersion>,
    /// Index of the current version. Out of bounds if its bytes do not count.
    current: usize,
}

/// A version of the file, and how many of its bytes were received at most.
struct KnownVersion {
    etag: Option<String>,
    furthest: u64,
}

impl NewBytes {
    fn begin_version(&mut self, etag: Option<&str>) {
        let known = self.versions.iter().position(|version| version.etag.as_deref() == etag);
        self.current = known.unwrap_or(self.versions.len());
        if known.is_none() && self.versions.len() < MAX_VERSIONS {
            self.versions.push(KnownVersion { etag: etag.map(str::to_owned), furthest: 0 });
        }
    }

    /// Records the number of received bytes. Returns whether some of them are new.
    fn record(&mut self, received: u64) -> bool {
        let version = self.versions.get_mut(self.current).filter(|version| received > version.furthest);
        let Some(version) = version else { return false };
        self.count += received - version.furthest;
        version.furthest = received;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Write;
    use std::rc::Rc;

    use tokio::time::Instant;

    use super::*;
    use crate::environment::CiSystem;
    use crate::report::log::Log;
    use crate::testing;

    #[test]
    fn bytes_are_new_after_the_furthest_byte_of_their_version() {
        let mut new_bytes = NewBytes::default();
        for (etag, received, count) in [
            (Some("a"), &[10, 30][..], 30),
            (Some("a"), &[20], 30),
            (Some("b"), &[5, 25], 55),
            (None, &[7], 62),
            (Some("a"), &[30, 31], 63),
            (None, &[8], 64),
        ] {
            new_bytes.begin_version(etag);
            for &received in received {
                new_bytes.record(received);
            }
            assert_eq!(new_bytes.count, count, "{etag:?} {received:?}");
        }
    }

    #[test]
    fn only_the_first_versions_count() {
        let mut new_bytes = NewBytes::default();
        for version in 0..2 * MAX_VERSIONS {
            new_bytes.begin_version(Some(&version.to_string()));
            assert_eq!(new_bytes.record(1), version < MAX_VERSIONS);
        }
        new_bytes.begin_version(Some("3"));
        assert!(!new_bytes.record(1) && new_bytes.record(2));
    }

    #[derive(Clone, Default)]
    struct Lines(Rc<RefCell<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_progress_is_logged_every_five_seconds() {
        let (start, lines) = (Instant::now(), Lines::default());
        let log = Log::to(lines.clone(), lines.clone(), CiSystem::Other, start);
        let fixture = testing::Fixture::with_log(&[], start, log);
        let step = fixture.step();
        let context = step.context(&fixture.history);
        let mut tracker = ProgressTracker::new(start.elapsed());
        for (millis, received, total) in [
            (0, 1_000_000, Some(80_000_000)),
            (4_999, 9_000_000, Some(80_000_000)),
            (1, 20_000_000, Some(80_000_000)),
            (4_999, 30_000_000, Some(80_000_000)),
            (5_001, 50_000_000, None),
            (5_000, 0, Some(0)),
        ] {
            tokio::time::advance(Duration::from_millis(millis)).await;
            tracker.update(&context, Progress { received, total });
        }
        let lines = String::from_utf8(lines.0.borrow().clone()).unwrap();
        assert_eq!(
            lines,
            "  0:05  20.0 MB of 80.0 MB (25 %), 4.0 MB/s\n  0:15  50.0 MB, 3.0 MB/s\n  0:20  0 bytes of 0 bytes, 0 bytes/s\n"
        );
        assert_eq!(fixture.history.borrow().progress, Some(Progress { received: 0, total: Some(0) }));
    }
}
