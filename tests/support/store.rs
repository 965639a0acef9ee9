//! What an S3-compatible store responds, with ranges and conditions.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use httpdate::fmt_http_date;
use sha2::{Digest, Sha256};

use super::server::{Request, response};

/// The file name that the signed URLs ask the store to send.
pub const FILENAME: &str = "Test-API-Export.csv";

/// When the files were created, unless a test sets another time.
pub const CREATED_AT: &str = "2026-11-28T04:19:31Z";

fn created_at() -> SystemTime {
    humantime::parse_rfc3339(CREATED_AT).unwrap()
}

/// One version of a file in the store.
#[derive(Clone, Debug)]
pub struct StoredFile {
    pub bytes: Vec<u8>,
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The `Last-Modified` header.
    pub last_modified: Option<String>,
    /// The `Date` header of responses with the file.
    pub date: Option<String>,
}

impl StoredFile {
    /// Returns a file with a strong ETag made from its bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let etag = Some(format!("\"{}\"", &sha256_hex(bytes)[..32]));
        Self { bytes: bytes.to_vec(), etag, last_modified: Some(fmt_http_date(created_at())), date: None }
    }

    /// Sets `Date` so that the file has this age, whatever this machine's clock shows.
    pub fn aged(self, age: Duration) -> Self {
        Self { date: Some(fmt_http_date(created_at() + age)), ..self }
    }

    /// Sets the `Last-Modified` header.
    pub fn last_modified(self, last_modified: Option<&str>) -> Self {
        Self { last_modified: last_modified.map(str::to_owned), ..self }
    }

    /// Sets the `Last-Modified` header to this time.
    pub fn created_at(self, time: SystemTime) -> Self {
        self.last_modified(Some(&fmt_http_date(time)))
    }

    /// Returns the response to a request: the file, the requested part of it, or an error.
    pub fn respond(&self, request: &Request, headers: &[(&str, &str)]) -> Vec<u8> {
        if request.header("if-match").is_some_and(|etag| Some(etag) != self.etag.as_deref()) {
            return error_response(412, "PreconditionFailed");
        }
        match request.range(self.bytes.len() as u64) {
            None => self.whole(headers),
            Some(range) if range.is_empty() => error_response(416, "InvalidRange"),
            Some(range) => self.part(range.start as usize..range.end as usize, headers),
        }
    }

    /// Returns a response with the whole file.
    pub fn whole(&self, headers: &[(&str, &str)]) -> Vec<u8> {
        response(200, &self.headers(headers), &self.bytes)
    }

    /// Returns a response with a part of the file.
    pub fn part(&self, range: Range<usize>, headers: &[(&str, &str)]) -> Vec<u8> {
        let content_range = self.content_range(&range);
        let headers = [&self.headers(headers)[..], &[("Content-Range", &content_range)]].concat();
        response(206, &headers, &self.bytes[range])
    }

    /// Returns the `Content-Range` of a part.
    pub fn content_range(&self, range: &Range<usize>) -> String {
        format!("bytes {}-{}/{}", range.start, range.end - 1, self.bytes.len())
    }

    fn headers<'a>(&'a self, headers: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = [("ETag", &self.etag), ("Last-Modified", &self.last_modified), ("Date", &self.date)];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        [("Accept-Ranges", "bytes"), ("Server", "AmazonS3")].into_iter().chain(own).chain(headers.to_vec()).collect()
    }
}

impl<T: AsRef<[u8]>> From<T> for StoredFile {
    fn from(bytes: T) -> Self {
        Self::new(bytes.as_ref())
    }
}

/// Returns an error document as a store sends it.
pub fn error_response(status: u16, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>Made up</Message></Error>"
    );
    response(status, &[("Content-Type", "application/xml")], body)
}

/// Returns the SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a CSV file with made-up applicants, in ISO-8859-1 as WebAdMIT sends it.
pub fn applicants_csv(rows: usize) -> Vec<u8> {
    const FIRST: [&str; 6] = ["Zoë", "Ángel", "Jürgen", "Noémie", "Bjørn", "Ada"];
    const LAST: [&str; 5] = ["Muster", "Exámple", "Naïve", "Fictitious", "Størk"];
    let mut text = String::from("cas_id,last_name,first_name,program,gpa\r\n");
    for row in 0..rows {
        let (first, last) = (FIRST[row % FIRST.len()], LAST[row % LAST.len()]);
        let (whole, tenth) = (2 + row % 2, row * 7 % 10);
        text.push_str(&format!("{:09},{last},{first},Made-up Public Health,{whole}.{tenth}\r\n", 900_000_000 + row));
    }
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// Returns a file that begins like a zip, with made-up applicants.
pub fn applicants_zip(rows: usize) -> Vec<u8> {
    [&b"PK\x03\x04"[..], &applicants_csv(rows)].concat()
}
