//! Classifies the head of a store's response: the whole file, the requested part of it, or neither.
//!
//! Pure. The rules are RFC 9110's (sections 8.8.3, 13.1.1, 14 and 15.3.7), read strictly: a part is joined to the bytes
//! that were received before only if the response proves that it belongs there.

use std::fmt;

use crate::http::error::ErrorKind;

/// The parts of a response's head that matter here. The lines of a header are joined by commas.
#[derive(Debug, Default)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    /// The first line of `Content-Length`.
    pub(super) content_length: Option<String>,
    pub(super) content_range: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) transfer_encoding: Option<String>,
}

/// The part of a file that was requested with `Range` and `If-Match`.
#[derive(Debug)]
pub(super) struct RequestedRange {
    /// Offset of the first requested byte.
    pub(super) start: u64,
    /// Offset after the last requested byte. `None` requests everything up to the end of the file.
    pub(super) end: Option<u64>,
    /// The strong validator of the bytes that were received before.
    pub(super) etag: String,
    /// The length of the whole file, if it is known.
    pub(super) total: Option<u64>,
}

impl RequestedRange {
    /// Returns the value of the `Range` header.
    pub(super) fn header(&self) -> String {
        match self.end {
            Some(end) => format!("bytes={}-{}", self.start, end.saturating_sub(1)),
            None => format!("bytes={}-", self.start),
        }
    }
}

/// How a response continues the download.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RangeResponse {
    /// The whole file from its first byte, which replaces everything that was received before.
    Whole {
        /// The length of the file. `None` if only the chunked body has its end.
        total: Option<u64>,
        /// The strong validator. Without one, the download cannot be resumed.
        etag: Option<String>,
    },
    /// The bytes that continue those that were received before.
    Part {
        /// Offset after the last byte of the part.
        end: u64,
        /// The length of the whole file.
        total: u64,
    },
    /// A response that cannot be used.
    Rejected(Rejection),
    /// An error status.
    ErrorStatus,
}

/// Why a response of the store cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The body has a content coding or a transfer coding.
    Encoded,
    /// The body has no announced length, so an interruption could not be detected.
    UnknownLength,
    /// A part, although the whole file was requested.
    UnrequestedPart,
    /// The validator does not match any more.
    NewVersion,
    /// The file has no bytes at the requested offset.
    NoSuchRange,
    /// A 200 without `Content-Range` that may be the whole file or only the requested part.
    MissingContentRange,
    /// A part that may be of another version.
    OtherVersion,
    /// Several parts in one body.
    SeveralParts,
    /// A part without a valid `Content-Range`.
    UnknownRange,
    /// A part that does not fit.
    OtherRange,
    /// The whole file, although a piece was requested.
    IgnoredRange,
    /// A complete body that is shorter than its head says.
    TooShort,
    /// A body that is longer than its head says.
    TooLong,
}

impl Rejection {
    /// Whether the download starts over: the bytes that were received before may be of another version.
    pub(super) fn starts_over(self) -> bool {
        !matches!(self, Self::Encoded | Self::UnknownLength | Self::UnrequestedPart)
    }

    /// Whether the store's ranges cannot be relied on, so that one connection downloads the file.
    pub(super) fn rules_out_ranges(self) -> bool {
        matches!(self, Self::IgnoredRange | Self::TooShort | Self::TooLong)
    }

    pub(super) fn kind(self) -> ErrorKind {
        match self {
            Self::Encoded => ErrorKind::UnsupportedEncoding,
            Self::UnknownLength => ErrorKind::UnknownLength,
            Self::NewVersion => ErrorKind::Status(412),
            Self::NoSuchRange => ErrorKind::Status(416),
            _ => ErrorKind::Mismatch,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encoded => "sent the file with a content coding or transfer coding that was not requested",
            Self::UnknownLength => "did not announce a length, so an interrupted download could not be detected",
            Self::UnrequestedPart => "sent a part although the whole file was requested",
            Self::NewVersion => "the file has changed",
            Self::NoSuchRange => "the file has no bytes after the received ones",
            Self::MissingContentRange => "responded to a request for a part without saying which bytes it sent",
            Self::OtherVersion => "sent a part that may be of another version of the file",
            Self::SeveralParts => "sent several parts although one was requested",
            Self::UnknownRange => "sent a part without a valid Content-Range",
            Self::OtherRange => "sent another part than the requested one",
            Self::IgnoredRange => "sent the whole file although a part was requested",
            Self::TooShort => "sent less than it had announced",
            Self::TooLong => "sent more than it had announced",
        })?;
        if self.starts_over() { f.write_str("; starting over") } else { Ok(()) }
    }
}

/// Classifies a response to a request for a part of the file, or with `None` for all of it.
///
/// Some stores answer a range request with 200, a `Content-Range` and the part (rclone 1.75): such a response is
/// treated like a 206.
pub(super) fn classify(head: &ResponseHead, requested: Option<&RequestedRange>) -> RangeResponse {
    let result = match (head.status, requested) {
        (200 | 206, _) if is_encoded(head) => Err(Rejection::Encoded),
        (200, _) if head.content_range.is_none() || covered_file(head).is_some() => classify_whole(head, requested),
        (200 | 206, Some(requested)) => classify_part(head, requested),
        (200 | 206, None) => Err(Rejection::UnrequestedPart),
        (412, Some(_)) => Err(Rejection::NewVersion),
        (416, Some(_)) => Err(Rejection::NoSuchRange),
        _ => Ok(RangeResponse::ErrorStatus),
    };
    result.unwrap_or_else(RangeResponse::Rejected)
}

fn classify_whole(head: &ResponseHead, requested: Option<&RequestedRange>) -> Result<RangeResponse, Rejection> {
    let etag = head.etag.as_deref().and_then(strong_etag).map(str::to_owned);
    let total = match (covered_file(head), content_length(head)) {
        (Some(total), _) => Some(total),
        (None, _) if is_chunked(head) => None,
        (None, Some(length)) => Some(length),
        (None, None) => return Err(Rejection::UnknownLength),
    };
    let Some(requested) = requested else { return Ok(RangeResponse::Whole { total, etag }) };

    // The body can be the requested part, with the wrong status and without `Content-Range`, unless it is of another version
    // or as long as the whole file. It is requested again without a range: then a 200 has one meaning.
    let is_other_version = etag.as_ref().is_some_and(|etag| *etag != requested.etag);
    if is_other_version || total.is_some() && total == requested.total {
        return Ok(RangeResponse::Whole { total, etag });
    }
    Err(Rejection::MissingContentRange)
}

fn classify_part(head: &ResponseHead, requested: &RequestedRange) -> Result<RangeResponse, Rejection> {
    if head.etag.as_deref().and_then(strong_etag) != Some(requested.etag.as_str()) {
        return Err(Rejection::OtherVersion);
    }
    // In this format, each part has a head of its own inside the body (RFC 9110, section 15.3.7.2).
    let content_type = head.content_type.as_deref().unwrap_or_default().trim_start().to_ascii_lowercase();
    if content_type.starts_with("multipart/") {
        return Err(Rejection::SeveralParts);
    }

    let range = head.content_range.as_deref().and_then(content_range);
    let (first, last, total) = range.ok_or(Rejection::UnknownRange)?;
    let fits_request = first == requested.start
        && requested.end.is_none_or(|end| last < end)
        && requested.total.is_none_or(|known| known == total);
    let fits_length = is_chunked(head) || content_length(head).is_none_or(|length| length == last - first + 1);
    if !fits_request || !fits_length {
        return Err(Rejection::OtherRange);
    }
    if !is_chunked(head) && content_length(head).is_none() {
        return Err(Rejection::UnknownLength);
    }
    Ok(RangeResponse::Part { end: last + 1, total })
}

/// Returns the length of the file if `Content-Range` covers all of it, and the body is as long as that.
fn covered_file(head: &ResponseHead) -> Option<u64> {
    let (first, last, total) = content_range(head.content_range.as_deref()?)?;
    let fits_length = is_chunked(head) || content_length(head) == Some(total);
    (first == 0 && last + 1 == total && fits_length).then_some(total)
}

/// Parses `Content-Range: bytes 0-9/100` (RFC 9110, section 14.4) into first byte, last byte and total. Returns `None` for
/// any other unit, for an unknown total, and for numbers that contradict each other.
fn content_range(value: &str) -> Option<(u64, u64, u64)> {
    let (unit, range) = value.trim().split_once(' ')?;
    let (range, total) = range.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u64>().ok()).flatten()
    };
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (unit.eq_ignore_ascii_case("bytes") && first <= last && last < total).then_some((first, last, total))
}

/// Returns an entity tag if it is a strong one: `"…"` without `W/` (RFC 9110, section 8.8.3).
fn strong_etag(etag: &str) -> Option<&str> {
    let etag = etag.trim();
    let inside = etag.strip_prefix('"')?.strip_suffix('"')?;
    inside.bytes().all(|byte| byte != b'"' && byte.is_ascii_graphic()).then_some(etag)
}

/// Whether the body contains its own end. The only supported `Transfer-Encoding` is `chunked`.
fn is_chunked(head: &ResponseHead) -> bool {
    transfer_coding(head).eq_ignore_ascii_case("chunked")
}

/// Whether the bytes of the body are not those of the file.
///
/// Stores return the `Content-Encoding` of the upload: `aws-chunked` describes only the upload (botocore, AWS SDKs), and a
/// charset belongs in `Content-Type`. Neither describes the body.
fn is_encoded(head: &ResponseHead) -> bool {
    let is_coding = |coding: &str| {
        !["", "identity", "aws-chunked"].iter().any(|known| coding.eq_ignore_ascii_case(known))
            && encoding_rs::Encoding::for_label(coding.as_bytes()).is_none()
    };
    let content = head.content_encoding.as_deref().unwrap_or_default();
    content.split(',').map(str::trim).any(is_coding) || !transfer_coding(head).is_empty() && !is_chunked(head)
}

/// Returns `Transfer-Encoding` without empty entries at its start. hyper decodes chunks only if the last entry is `chunked`: an
/// empty entry at the end makes it pass on the body with its chunk headers, up to the end of the connection.
fn transfer_coding(head: &ResponseHead) -> &str {
    head.transfer_encoding.as_deref().unwrap_or_default().trim_start_matches([',', ' ', '\t']).trim_end()
}

fn content_length(head: &ResponseHead) -> Option<u64> {
    head.content_length.as_deref()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
