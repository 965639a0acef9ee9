//! The store of the stand-in: it serves the file that a signed URL was made for, to requests with a valid URL.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::State;
use crate::support::leaks::SIGNATURE;
use crate::support::server::{Action, Request};
use crate::support::store::{StoredFile, error_response};

/// A file in the store, with what its signed URLs ask for.
pub(super) struct StoreFile {
    pub(super) path: String,
    pub(super) file: StoredFile,
    pub(super) content_disposition: String,
    pub(super) content_type: String,
    pub(super) bytes_per_second: Option<u64>,
}

pub(super) struct SignedUrl {
    /// The id of the run or zip.
    file: u64,
    signature: String,
    remaining_requests: usize,
    issued: Instant,
}

/// What the store does with one request.
type StoreResponse = Box<dyn Fn(&Request, &StoredFile) -> Vec<Action> + Send>;

/// What happens at the next request to the store.
pub(super) enum StoreEvent {
    Respond(StoreResponse),
    /// From now on the store has this version of the file.
    Replace(StoredFile),
}

impl State {
    /// Returns a new signed URL of a run's file or a zip, like the sample in WebAdMIT's reference.
    pub(super) fn sign(&mut self, id: u64) -> String {
        let seed = format!("{:?} {} {}", Instant::now(), self.signed_urls.len(), self.store_url);
        let digest: String = Sha256::digest(seed)[..12].iter().map(|byte| format!("{byte:02X}")).collect();
        let signature = format!("{SIGNATURE}{digest}");
        self.signed_urls.push(SignedUrl {
            file: id,
            signature: signature.clone(),
            remaining_requests: self.config.requests_per_url,
            issued: Instant::now(),
        });

        let expiry = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + self.config.url_lifetime;
        let expiry = if self.config.announces_url_expiry { expiry.as_secs() } else { 1_425_359_248 };
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let file = &self.files[&id];
        format!(
            "{}{}?AWSAccessKeyId=AKIDMADEUP&Expires={expiry}&Signature={signature}%3D&response-content-disposition={}\
             &response-content-type={}",
            self.store_url,
            file.path,
            encode(&file.content_disposition),
            encode(&file.content_type),
        )
    }

    pub(super) fn store(&mut self, request: &Request) -> Vec<Action> {
        let signature = query_parameter(request, "Signature").unwrap_or_default();
        let lifetime = self.config.url_lifetime;
        let is_valid = |url: &SignedUrl| {
            format!("{}=", url.signature) == signature && url.issued.elapsed() <= lifetime && url.remaining_requests > 0
        };
        let Some(url) = self.signed_urls.iter_mut().find(|url| is_valid(url)) else {
            return vec![Action::Send(error_response(403, "AccessDenied"))];
        };
        url.remaining_requests -= 1;
        let id = url.file;

        let event = self.store_events.iter().position(|(only, _)| only.is_none_or(|only| only == id));
        let event = event.map(|event| self.store_events.remove(event).1);
        let StoreFile { file, bytes_per_second, .. } = self.files.get_mut(&id).unwrap();
        match event {
            Some(StoreEvent::Respond(respond)) => return respond(request, file),
            Some(StoreEvent::Replace(version)) => *file = version,
            None => {}
        }
        let bytes = respond_as_signed(request, file);
        match *bytes_per_second {
            None => vec![Action::Send(bytes)],
            Some(bytes_per_second) => {
                vec![Action::Throttle { bytes, bytes_per_second, until_requests: usize::MAX }]
            }
        }
    }
}

/// Returns the store's response with the headers that the signed URL asks for.
pub(super) fn respond_as_signed(request: &Request, file: &StoredFile) -> Vec<u8> {
    let content_disposition = query_parameter(request, "response-content-disposition").unwrap_or_default();
    let content_type = query_parameter(request, "response-content-type").unwrap_or_default();
    let headers = [("Content-Disposition", content_disposition.as_str()), ("Content-Type", content_type.as_str())];
    let headers: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    file.respond(request, &headers)
}

fn query_parameter(request: &Request, name: &str) -> Option<String> {
    let (_, query) = request.target.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| *known == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}
