//! The files of a run, and the way to the signed URL of each: part of a status check for an export, and a redirect for a
//! PDF Manager zip.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode, Url};

use super::bounded_list::BoundedList;
use super::client::ApiClient;
use super::scalar::Scalar;
use super::{Id, SignedUrl};
use crate::http::error::{ErrorKind, RequestError};
use crate::http::{self, headers};

/// Maximum number of zip files of a batch.
pub(super) const MAX_ZIPS: usize = 1000;

/// The files that a response about a run refers to.
#[derive(Clone, Debug)]
pub(crate) enum RemoteFiles {
    /// The file of an export, if there is one.
    Export(Option<SignedUrl>),
    /// The ids of PDF Manager zips. [`ApiClient::zip_url`] requests the signed URL of each.
    Zips(Vec<Id>),
}

impl RemoteFiles {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Export(url) => url.is_none(),
            Self::Zips(zips) => zips.is_empty(),
        }
    }
}

impl ApiClient {
    /// Requests the signed URL of a zip file: `GET /api/v1/user_identities/{identity}/pdf_manager_zip_files/{zip}/download`,
    /// which redirects to it. The redirect is not followed, because the request has the key.
    ///
    /// # Errors
    ///
    /// If the response is not a redirect to a URL that may be used.
    pub(crate) async fn zip_url(&self, identity: Id, zip: Id, timeout: Duration) -> Result<SignedUrl, RequestError> {
        let path = format!("user_identities/{identity}/pdf_manager_zip_files/{zip}/download");
        let response = self.exchange(self.request(Method::GET, &path), timeout).await?;

        match self.read_redirect(response.status(), response.headers()) {
            Some(result) => result,
            None => Err(self.error_response(response).await),
        }
    }

    /// Reads the redirect to a zip file. Returns `None` for a response that is an error of the API.
    fn read_redirect(&self, status: StatusCode, headers: &HeaderMap) -> Option<Result<SignedUrl, RequestError>> {
        let is_html = |media_type: &str| {
            let start = media_type.trim_start().get(.."text/html".len());
            start.is_some_and(|start| start.eq_ignore_ascii_case("text/html"))
        };
        let is_page = headers::text(headers, CONTENT_TYPE).is_some_and(is_html);

        match (status, headers::text(headers, LOCATION)) {
            (StatusCode::FOUND | StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT, Some(location)) => {
                Some(self.validate_location(location, headers))
            }
            // A maintenance page, for example. The request is retried, as with every other unreadable response.
            (StatusCode::OK, _) if is_page => {
                Some(Err(self.unreadable(headers, "something that is not a redirect, such as a maintenance page")))
            }
            (status, _) if status.is_success() => {
                Some(Err(self.error(ErrorKind::MissingRedirect, status.as_u16().to_string())))
            }
            _ => None,
        }
    }

    fn validate_location(&self, location: &str, headers: &HeaderMap) -> Result<SignedUrl, RequestError> {
        let url = self.validate_url(location, headers)?;
        if url.reveal().origin() == self.base_url.endpoint("").origin() {
            return Err(self.error(ErrorKind::InvalidUrl, "is at the API itself, not at its store"));
        }
        Ok(url)
    }

    /// Accepts a URL that is https if the API is, and contains no credentials and no key.
    pub(super) fn validate_url(&self, url: &str, headers: &HeaderMap) -> Result<SignedUrl, RequestError> {
        let reject = |reason: &str| Err(self.error(ErrorKind::InvalidUrl, reason));
        let Ok(url) = Url::parse(url) else { return reject("is not an absolute URL") };
        match url.scheme() {
            "https" => {}
            "http" if !self.base_url.is_https() => {}
            "http" => return reject("is plain http, although the API is https"),
            scheme => return reject(&format!("has the scheme {}", self.redactor.excerpt(scheme))),
        }
        if http::has_credentials(&url) {
            return reject("contains a user name or a password");
        }
        if self.redactor.contains_key(url.as_str()) {
            return reject("contains the API key, which must only be sent to the API");
        }
        Ok(SignedUrl::new(url, headers::date(headers)))
    }

    /// Returns the ids of the zip files that `download_hrefs` names, each once.
    pub(super) fn read_zips(&self, hrefs: &BoundedList<Scalar, MAX_ZIPS>) -> Result<Vec<Id>, RequestError> {
        let BoundedList::Complete(hrefs) = hrefs else {
            return Err(self.error(ErrorKind::TooLarge, format!("{MAX_ZIPS} files of one batch")));
        };

        let mut zips = Vec::new();
        for href in hrefs {
            let href = href.text();
            let zip = zip_id(&href).ok_or_else(|| self.invalid_href(&href))?;
            if !zips.contains(&zip) {
                zips.push(zip);
            }
        }
        Ok(zips)
    }

    /// Returns the error for an entry of `download_hrefs` that is not the path of a zip file. Only a path is shown, because
    /// a whole URL may give access to the file.
    fn invalid_href(&self, href: &str) -> RequestError {
        let path = href.split(['?', '#']).next().unwrap_or_default();
        let is_path = path.starts_with('/') && !path[1..].starts_with(['/', '\\']);
        let shown = if is_path { format!(": {}", self.redactor.excerpt(path)) } else { String::new() };
        self.error(ErrorKind::InvalidUrl, format!("is not the path of a PDF Manager zip{shown}"))
    }

    /// Adds the signature of a URL to the redactor, before any part of the response is shown.
    pub(super) fn redact_signature(&self, url: &str) {
        if let Ok(url) = self.base_url.endpoint("").join(url) {
            self.redactor.add_signed_url(&url);
        }
    }
}

/// Returns the id in `/api/v1/user_identities/1/pdf_manager_zip_files/2/download`. Nothing else of a path is used.
fn zip_id(path: &str) -> Option<Id> {
    let (identity, rest) = path.strip_prefix("/api/v1/user_identities/")?.split_once('/')?;
    let zip = rest.strip_prefix("pdf_manager_zip_files/")?.strip_suffix("/download")?;
    Id::parse(identity).and(Id::parse(zip))
}

#[cfg(test)]
mod tests;
