//! The current signed URL, shared by all connections and refreshed before it expires.

use std::time::Duration;

use crate::context::Context;
use crate::error::StepError;
use crate::webadmit::SignedUrl;

/// Maximum time for which a signed URL is used. WebAdMIT's expire less than 30 s after they were issued.
const MAX_AGE: Duration = Duration::from_secs(20);

/// A URL is refreshed this long before it expires: `Date` and expiry are in whole seconds, and a request needs time to
/// arrive.
const MARGIN: Duration = Duration::from_secs(1);

/// The current signed URL of a file, and how to get the next one.
pub(super) struct SignedUrlSource<F> {
    current: IssuedUrl,
    issued_at: Duration,
    refresh: F,
}

/// A signed URL, with an id that distinguishes it from the others of the download.
#[derive(Clone)]
pub(super) struct IssuedUrl {
    pub(super) url: SignedUrl,
    pub(super) id: usize,
}

impl<F: AsyncFnMut() -> Result<SignedUrl, StepError>> SignedUrlSource<F> {
    /// Starts with a URL that was just issued. `refresh` requests the next one from the API.
    pub(super) fn new(context: &Context<'_>, first: SignedUrl, refresh: F) -> Self {
        let current = IssuedUrl { url: first, id: 0 };
        Self { current, issued_at: context.deadline().elapsed(), refresh }
    }

    /// Returns a URL that has not expired. If a request with the current URL failed, its id is passed as `failed`, and a new
    /// URL is requested.
    ///
    /// # Errors
    ///
    /// The error that ends the step, if the API issues no new URL.
    pub(super) async fn get(&mut self, context: &Context<'_>, failed: Option<usize>) -> Result<IssuedUrl, StepError> {
        let IssuedUrl { url, id } = &self.current;
        let age = context.deadline().elapsed().saturating_sub(self.issued_at);
        if failed == Some(*id) || age > usable_time(url.lifetime()) {
            context.history.borrow_mut().new_urls += 1;
            self.current = IssuedUrl { id: id + 1, url: (self.refresh)().await? };
            self.issued_at = context.deadline().elapsed();
        }
        Ok(self.current.clone())
    }
}

/// Returns for how long a URL with this lifetime is used.
fn usable_time(lifetime: Option<Duration>) -> Duration {
    lifetime.map_or(MAX_AGE, |lifetime| lifetime.saturating_sub(MARGIN).max(lifetime / 2).min(MAX_AGE))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::UNIX_EPOCH;

    use reqwest::Url;

    use super::*;
    use crate::testing;

    #[tokio::test(start_paused = true)]
    async fn a_url_is_shared_until_it_has_failed_or_is_about_to_expire() {
        let fixture = testing::Fixture::new(&[]);
        let step = fixture.step();
        let context = step.context(&fixture.history);
        let url = |number: usize| {
            let query = if number >= 3 { "?Expires=4" } else { "" };
            SignedUrl::new(Url::parse(&format!("https://s3.example/{number}{query}")).unwrap(), UNIX_EPOCH)
        };
        let refreshed = Cell::new(0);
        let mut source = SignedUrlSource::new(&context, url(0), async || {
            refreshed.set(refreshed.get() + 1);
            Ok(url(refreshed.get()))
        });
        let mut id = async |failed| source.get(&context, failed).await.unwrap().id;
        assert_eq!(id(None).await, 0);
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(id(None).await, 0, "it can still be used");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(id(None).await, 1, "it is refreshed before it expires");
        assert_eq!(id(Some(0)).await, 1, "another connection has refreshed it");
        assert_eq!(id(Some(1)).await, 2, "it has failed");
        assert_eq!((refreshed.get(), fixture.history.borrow().new_urls), (2, 2));
        assert_eq!(id(Some(2)).await, 3);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(id(None).await, 3, "this one expires after 4 s");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(id(None).await, 4, "it is refreshed 1 s before");
    }

    #[test]
    fn a_url_is_refreshed_a_second_before_it_expires_or_at_half_its_lifetime() {
        let millis = Duration::from_millis;
        for (lifetime, usable) in [(1000, 500), (2000, 1000), (3000, 2000), (20_000, 19_000), (30_000, 20_000)] {
            assert_eq!(usable_time(Some(millis(lifetime))), millis(usable));
        }
        assert_eq!(usable_time(None), millis(20_000));
    }
}
