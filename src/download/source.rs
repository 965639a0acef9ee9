//! The URL of the file, shared by all connections and asked for anew before it dies.

use std::time::Duration;

use crate::api::DownloadUrl;
use crate::failure::Failure;
use crate::step::Step;

/// A URL lives for less than 30 s. One that is this old is not used for another request.
const WORN: Duration = Duration::from_secs(20);

/// Where the file comes from.
#[derive(Debug)]
pub struct Source<F> {
    url: DownloadUrl,
    number: usize,
    issued: Duration,
    fresh: F,
}

impl<F: AsyncFnMut() -> Result<DownloadUrl, Failure>> Source<F> {
    /// The first URL, and how to get others.
    pub fn new(step: &Step<'_>, url: DownloadUrl, fresh: F) -> Self {
        Self { url, number: 0, issued: step.clock.now(), fresh }
    }

    /// A URL that still lives, and its number. Where `worn` is the number of the current one, it has failed somebody, and
    /// the API is asked for another.
    ///
    /// # Errors
    ///
    /// When the API gives none.
    pub async fn url(&mut self, step: &Step<'_>, worn: Option<usize>) -> Result<(DownloadUrl, usize), Failure> {
        if worn == Some(self.number) || step.clock.now().saturating_sub(self.issued) > WORN {
            step.journal.borrow_mut().count("fresh URL");
            self.url = (self.fresh)().await?;
            self.number += 1;
            self.issued = step.clock.now();
        }
        Ok((self.url.clone(), self.number))
    }
}
