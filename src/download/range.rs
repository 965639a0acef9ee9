//! What the head of a store's answer means for a download: go on, start over, or neither.
//!
//! Pure. The rules are RFC 9110's (sections 8.8.3, 13.1.1, 14 and 15.3.7), read strictly: a piece is joined to what is
//! held only when nothing speaks against it.

use crate::fault::Kind;

/// The head of an answer, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Content-Length`.
    pub length: Option<String>,
    /// `Content-Range`.
    pub range: Option<String>,
    /// `Content-Encoding`, all of them.
    pub content_coding: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Transfer-Encoding`.
    pub transfer_coding: Option<String>,
}

/// The part of a file that was asked for, with `Range` and `If-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The first byte that is wanted: so many are held.
    pub from: u64,
    /// Where the part ends, where it is not the whole rest.
    pub until: Option<u64>,
    /// The strong validator of what is held.
    pub etag: String,
    /// The length of the whole file, where it is known.
    pub total: Option<u64>,
}

impl Asked {
    /// The value of the header `Range`.
    #[must_use]
    pub fn range(&self) -> String {
        match self.until {
            Some(until) => format!("bytes={}-{}", self.from, until.saturating_sub(1)),
            None => format!("bytes={}-", self.from),
        }
    }
}

/// What an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The whole file from its beginning: whatever is held gives way to it.
    Whole {
        /// Its length; none when the body is chunked, which tells its end too.
        total: Option<u64>,
        /// Its validator, if it is a strong one. Without one the file cannot be resumed.
        etag: Option<String>,
    },
    /// Bytes that continue what is held.
    Rest {
        /// Where the piece ends: so many bytes are held when all of it has come.
        until: u64,
        /// The length of the whole file.
        total: u64,
    },
    /// What is held belongs to a version that is not to be had any more, or may do so.
    StartOver(&'static str),
    /// The answer cannot be used; what is held stays.
    Unusable(Kind, &'static str),
    /// The store does not give the file: an error status.
    Refused,
}

/// What an answer means, when the rest of a file was asked for, or all of it.
#[must_use]
pub fn judge(head: &Head, asked: Option<&Asked>) -> Meaning {
    match (head.status, asked) {
        (200 | 206, _) if is_coded(head) => {
            Meaning::Unusable(Kind::Coded, "sent the file in a content coding, which was not asked for")
        }
        (200, _) => whole(head),
        (206, None) => Meaning::Unusable(Kind::Mismatch, "sent a part where the whole file was asked for"),
        (206, Some(asked)) => rest(head, asked),
        (412, Some(_)) => Meaning::StartOver("has another version of the file now"),
        (416, Some(_)) => Meaning::StartOver("says that the file does not go on where the last piece ended"),
        _ => Meaning::Refused,
    }
}

fn whole(head: &Head) -> Meaning {
    let etag = head.etag.as_deref().and_then(strong).map(str::to_owned);
    match (is_chunked(head), length(head)) {
        (true, _) => Meaning::Whole { total: None, etag },
        (false, Some(total)) => Meaning::Whole { total: Some(total), etag },
        (false, None) => Meaning::Unusable(
            Kind::Unverifiable,
            "did not say how long the file is, so its end cannot be told from a cut",
        ),
    }
}

fn rest(head: &Head, asked: &Asked) -> Meaning {
    if head.etag.as_deref().and_then(strong) != Some(asked.etag.as_str()) {
        return Meaning::StartOver("sent a part that is not certain to be of the same version");
    }
    // RFC 9110, section 15.3.7.2: each part has a head of its own, in the body.
    if head.content_type.as_deref().is_some_and(|sent| sent.trim_start().to_ascii_lowercase().starts_with("multipart/"))
    {
        return Meaning::StartOver("sent several parts where one was asked for");
    }
    let Some((first, last, total)) = head.range.as_deref().and_then(content_range) else {
        return Meaning::StartOver("sent a part without saying which");
    };
    let as_asked = first == asked.from
        && asked.until.is_none_or(|until| last < until)
        && asked.total.is_none_or(|known| known == total);
    let as_long = is_chunked(head) || length(head).is_none_or(|length| length == last - first + 1);
    if !as_asked || !as_long {
        return Meaning::StartOver("sent another part than was asked for");
    }
    if !is_chunked(head) && length(head).is_none() {
        return Meaning::Unusable(
            Kind::Unverifiable,
            "did not say how long the part is, so its end cannot be told from a cut",
        );
    }
    Meaning::Rest { until: last + 1, total }
}

/// First byte, last byte and total of `Content-Range: bytes 0-9/100` (RFC 9110, section 14.4). None for any other unit,
/// for an unknown total, and for numbers that contradict each other.
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

/// An entity tag if it is a strong one: `"…"` without `W/` (RFC 9110, section 8.8.3).
#[must_use]
pub fn strong(etag: &str) -> Option<&str> {
    let etag = etag.trim();
    let inside = etag.strip_prefix('"')?.strip_suffix('"')?;
    inside.chars().all(|c| c != '"' && !c.is_whitespace() && !c.is_control()).then_some(etag)
}

/// Whether the body carries its own end. Only a `Transfer-Encoding` of `chunked` alone is understood.
fn is_chunked(head: &Head) -> bool {
    head.transfer_coding.as_deref().is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

fn is_coded(head: &Head) -> bool {
    let named = |codings: &str, harmless: &str| {
        let mut codings = codings.split(',').map(str::trim).filter(|coding| !coding.is_empty());
        codings.any(|coding| !coding.eq_ignore_ascii_case(harmless))
    };
    head.content_coding.as_deref().is_some_and(|coding| named(coding, "identity"))
        || head.transfer_coding.as_deref().is_some_and(|coding| named(coding, "chunked"))
}

fn length(head: &Head) -> Option<u64> {
    head.length.as_deref()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
