//! Classifies the head of a store's response: the whole file, the requested part of it, or neither.
//!
//! Pure. The rules are RFC 9110's (sections 8.8.3, 13.1.1, 14 and 15.3.7), read strictly: a part is joined to the bytes
//! that were received before only if the response proves that it belongs there.

use crate::http::error::ErrorKind;

/// The parts of a response's head that matter here. The lines of a header are joined by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Content-Length`, its first line.
    pub content_length: Option<String>,
    /// `Content-Range`.
    pub content_range: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Transfer-Encoding`.
    pub transfer_encoding: Option<String>,
}

/// The part of a file that was requested with `Range` and `If-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedRange {
    /// Offset of the first requested byte.
    pub start: u64,
    /// Offset behind the last requested byte; `None` requests everything up to the end of the file.
    pub end: Option<u64>,
    /// The strong validator of the bytes that were received before.
    pub etag: String,
    /// The length of the whole file, if it is known.
    pub total: Option<u64>,
}

impl RequestedRange {
    /// Returns the value of the `Range` header.
    #[must_use]
    pub fn header(&self) -> String {
        match self.end {
            Some(end) => format!("bytes={}-{}", self.start, end.saturating_sub(1)),
            None => format!("bytes={}-", self.start),
        }
    }
}

/// What a response means for the download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeResponse {
    /// The whole file from its first byte, which replaces everything that was received before.
    Whole {
        /// The length of the file; `None` if only the chunked body tells its end.
        total: Option<u64>,
        /// The strong validator. Without one the download cannot be resumed.
        etag: Option<String>,
    },
    /// The bytes that continue what was received before.
    Part {
        /// Offset behind the last byte of the part.
        end: u64,
        /// The length of the whole file.
        total: u64,
    },
    /// The bytes that were received before are of a version that the store no longer has, or may be.
    StartOver(&'static str),
    /// The response cannot be used; the bytes that were received before stay.
    Unusable(ErrorKind, &'static str),
    /// An error status.
    Refused,
}

/// Classifies a response to a request for a part of the file, or with `None` for all of it.
///
/// Some stores answer a range request with 200, a `Content-Range` and the part (rclone 1.75): such a response is
/// treated like a 206.
#[must_use]
pub fn classify(head: &ResponseHead, requested: Option<&RequestedRange>) -> RangeResponse {
    match (head.status, requested) {
        (200 | 206, _) if is_encoded(head) => RangeResponse::Unusable(
            ErrorKind::UnsupportedEncoding,
            "sent the file in a content coding, which was not requested",
        ),
        (200, _) if head.content_range.is_none() || covered_file(head).is_some() => whole(head, requested),
        (200 | 206, Some(requested)) => part(head, requested),
        (200 | 206, None) => {
            RangeResponse::Unusable(ErrorKind::Mismatch, "sent a part although the whole file was requested")
        }
        (412, Some(_)) => RangeResponse::StartOver("has a new version of the file"),
        (416, Some(_)) => RangeResponse::StartOver("has no bytes of the file where the received part ends"),
        _ => RangeResponse::Refused,
    }
}

fn whole(head: &ResponseHead, requested: Option<&RequestedRange>) -> RangeResponse {
    let etag = head.etag.as_deref().and_then(strong).map(str::to_owned);
    let announced = match (covered_file(head), content_length(head)) {
        (Some(total), _) => Some(total),
        (None, _) if is_chunked(head) => None,
        (None, Some(length)) => Some(length),
        (None, None) => {
            return RangeResponse::Unusable(
                ErrorKind::UnknownLength,
                "did not say how long the file is, so a cut could not be told from its end",
            );
        }
    };
    let Some(requested) = requested else { return RangeResponse::Whole { total: announced, etag } };
    // The body can be the requested part, with the wrong status and without `Content-Range`, unless it is of another version
    // or as long as the whole file. It is requested again without a range: then a 200 has one meaning.
    let is_other_version = etag.as_ref().is_some_and(|etag| *etag != requested.etag);
    if is_other_version || announced.is_some() && announced == requested.total {
        return RangeResponse::Whole { total: announced, etag };
    }
    RangeResponse::StartOver("sent a whole file of another length although a part was requested")
}

fn part(head: &ResponseHead, requested: &RequestedRange) -> RangeResponse {
    if head.etag.as_deref().and_then(strong) != Some(requested.etag.as_str()) {
        return RangeResponse::StartOver("sent a part that may be of another version of the file");
    }
    // RFC 9110, section 15.3.7.2: in this format each part has a head of its own inside the body.
    let content_type = head.content_type.as_deref().unwrap_or_default().trim_start().to_ascii_lowercase();
    if content_type.starts_with("multipart/") {
        return RangeResponse::StartOver("sent several parts although one was requested");
    }
    let Some((first, last, total)) = head.content_range.as_deref().and_then(content_range) else {
        return RangeResponse::StartOver("sent a part without saying which");
    };
    let fits_request = first == requested.start
        && requested.end.is_none_or(|end| last < end)
        && requested.total.is_none_or(|known| known == total);
    let fits_length = is_chunked(head) || content_length(head).is_none_or(|length| length == last - first + 1);
    if !fits_request || !fits_length {
        return RangeResponse::StartOver("sent another part than the requested one");
    }
    if !is_chunked(head) && content_length(head).is_none() {
        return RangeResponse::Unusable(
            ErrorKind::UnknownLength,
            "did not say how long the part is, so a cut could not be told from its end",
        );
    }
    RangeResponse::Part { end: last + 1, total }
}

/// Returns the length of the file if `Content-Range` covers all of it, and the body is as long as that.
fn covered_file(head: &ResponseHead) -> Option<u64> {
    let (first, last, total) = content_range(head.content_range.as_deref()?)?;
    let fits_length = is_chunked(head) || content_length(head) == Some(total);
    (first == 0 && last + 1 == total && fits_length).then_some(total)
}

/// Parses `Content-Range: bytes 0-9/100` (RFC 9110, section 14.4) into first byte, last byte and total. Returns `None` for
/// any other unit, for an unknown total, and for numbers that contradict each other.
#[must_use]
pub fn content_range(value: &str) -> Option<(u64, u64, u64)> {
    let (unit, range) = value.trim().split_once(' ')?;
    let (range, total) = range.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()).flatten()
    };
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (unit.eq_ignore_ascii_case("bytes") && first <= last && last < total).then_some((first, last, total))
}

/// Returns an entity tag if it is a strong one: `"…"` without `W/` (RFC 9110, section 8.8.3).
#[must_use]
pub fn strong(etag: &str) -> Option<&str> {
    let etag = etag.trim();
    let inside = etag.strip_prefix('"')?.strip_suffix('"')?;
    inside.bytes().all(|byte| byte != b'"' && byte.is_ascii_graphic()).then_some(etag)
}

/// Whether the body carries its own end. Only a `Transfer-Encoding` of `chunked` alone is understood.
fn is_chunked(head: &ResponseHead) -> bool {
    transfer_coding(head).eq_ignore_ascii_case("chunked")
}

/// Whether the bytes of the body are not those of the file.
///
/// Stores return what the upload said: `aws-chunked` describes the upload alone (botocore, AWS SDKs), and a value that
/// is a charset was meant for `Content-Type`. Neither says anything about the body.
fn is_encoded(head: &ResponseHead) -> bool {
    let is_coding = |coding: &str| {
        !["", "identity", "aws-chunked"].iter().any(|harmless| coding.eq_ignore_ascii_case(harmless))
            && encoding_rs::Encoding::for_label(coding.as_bytes()).is_none()
    };
    let content = head.content_encoding.as_deref().unwrap_or_default();
    content.split(',').map(str::trim).any(is_coding) || !transfer_coding(head).is_empty() && !is_chunked(head)
}

/// Returns `Transfer-Encoding` without empty entries at its ends.
fn transfer_coding(head: &ResponseHead) -> &str {
    head.transfer_encoding.as_deref().unwrap_or_default().trim_matches([',', ' ', '\t'])
}

fn content_length(head: &ResponseHead) -> Option<u64> {
    head.content_length.as_deref()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
