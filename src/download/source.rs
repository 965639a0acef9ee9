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

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::io;

    use reqwest::Url;

    use super::*;
    use crate::clock::Clock;
    use crate::inputs;
    use crate::journal::Journal;
    use crate::log::{Log, Reader};

    #[tokio::test(start_paused = true)]
    async fn a_url_is_shared_until_it_has_failed_somebody_or_is_old() {
        let variables =
            ["API_KEY", "EXPORT_ID", "EXPORT_FILE_ID"].map(|name| (format!("INPUT_{name}").into(), "1".into()));
        let service = inputs::read(&variables).service.unwrap();
        let clock = Clock::start();
        let (log, journal) = (Log::to(io::sink(), io::sink(), Reader::Other, clock), RefCell::new(Journal::default()));
        let step = Step { service: &service, clock, log: &log, journal: &journal };
        let url = |number: usize| DownloadUrl::new(Url::parse(&format!("https://s3.example/{number}")).unwrap());
        let asked = Cell::new(0);
        let mut source = Source::new(&step, url(0), async || {
            asked.set(asked.get() + 1);
            Ok(url(asked.get()))
        });
        let mut number = async |worn| source.url(&step, worn).await.unwrap().1;
        assert_eq!(number(None).await, 0);
        tokio::time::advance(WORN).await;
        assert_eq!(number(None).await, 0, "it still lives");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(number(None).await, 1, "it is asked for anew before it dies");
        assert_eq!(number(Some(0)).await, 1, "somebody else has asked already");
        assert_eq!(number(Some(1)).await, 2, "it has failed");
        assert_eq!((asked.get(), journal.borrow().ledger().as_str()), (2, "2 fresh URLs"));
    }
}
