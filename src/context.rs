//! Loop 3: one API request, retried until it succeeds; and what all loops share.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::ApiConfig;
use crate::deadline::Deadline;
use crate::error::StepError;
use crate::http::error::{Endpoint, RequestError};
use crate::http::retry::{
    self, AttemptLimits, Attempts, ErrorClass, GiveUpReason, RetryDecision, RetryFailure, RetryState,
};
use crate::report::history::RunHistory;
use crate::report::log::Log;
use crate::text::format;
use crate::text::redact::Redactor;

/// Timeout for one API request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum number of API requests in progress at a time.
const MAX_API_REQUESTS: usize = 8;

/// A log without a line for this long gets a heartbeat, so that a CI system does not take the step for hung.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);

/// The state that the whole step shares.
pub struct Step<'a> {
    api_config: &'a ApiConfig,
    deadline: Deadline,
    log: &'a Log,
    /// Whether the API has sent a valid response, or one with `Retry-After`.
    has_responded: Cell<bool>,
    /// The `Retry-After` of the API that ends last. It holds for all runs.
    pause: RefCell<Option<Pause>>,
    /// The error after which the API is considered unavailable, because it has not responded at all. Ends the other runs, too.
    unavailable: RefCell<Option<RequestError>>,
    /// Limits the requests to the API that are in progress.
    api_requests: Semaphore,
}

/// A period in which no request may be sent, because the API asked for it (`Retry-After`).
struct Pause {
    /// Since the start of the step.
    until: Duration,
    /// The response that asked for it.
    error: RequestError,
}

impl<'a> Step<'a> {
    /// A step whose timeout counts from `start`.
    #[must_use]
    pub fn new(api_config: &'a ApiConfig, start: Instant, log: &'a Log) -> Self {
        let deadline = Deadline::new(start, api_config.timeout);
        Self {
            api_config,
            deadline,
            log,
            has_responded: Cell::new(false),
            pause: RefCell::default(),
            unavailable: RefCell::default(),
            api_requests: Semaphore::new(MAX_API_REQUESTS),
        }
    }

    pub(crate) fn api_config(&self) -> &'a ApiConfig {
        self.api_config
    }

    pub(crate) fn log(&self) -> &'a Log {
        self.log
    }

    /// Whether the API has sent a valid response, or one with `Retry-After`.
    #[must_use]
    pub(crate) fn has_responded(&self) -> bool {
        self.has_responded.get()
    }

    /// Returns the context for a run whose history is recorded in `history`.
    #[must_use]
    pub fn context(&'a self, history: &'a RefCell<RunHistory>) -> Context<'a> {
        Context { step: self, history, label: None }
    }
}

/// Everything that the loops need: the state of the step, and the history of a run.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    step: &'a Step<'a>,
    pub(crate) history: &'a RefCell<RunHistory>,
    /// Begins the log lines, so that those of several runs can be told apart.
    label: Option<&'a str>,
}

/// Limits of an API request and its retries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestLimits {
    /// Whether the request may start at the timeout, and end in the grace period.
    pub(crate) has_grace_period: bool,
    /// Limits of the attempts.
    pub(crate) attempts: AttemptLimits,
}

impl<'a> Context<'a> {
    pub(crate) fn api_config(&self) -> &'a ApiConfig {
        self.step.api_config
    }

    /// The start and the timeout of the step.
    pub(crate) fn deadline(&self) -> Deadline {
        self.step.deadline
    }

    pub(crate) fn redactor(&self) -> &'a Arc<Redactor> {
        self.step.log.redactor()
    }

    /// Prints a line in the log.
    pub(crate) fn line(&self, text: &str) {
        self.step.log.line(&self.labelled(text));
    }

    /// Prints a warning. GitHub also shows it on the page of the workflow run.
    pub(crate) fn warning(&self, text: &str) {
        self.step.log.warning(&self.labelled(text));
    }

    /// Returns this context with a label, which begins its log lines.
    pub(crate) fn with_label(self, label: &'a str) -> Self {
        Self { label: Some(label), ..self }
    }

    pub(crate) fn is_labelled(&self) -> bool {
        self.label.is_some()
    }

    fn labelled<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.label {
            Some(label) => format!("{label}: {text}").into(),
            None => text.into(),
        }
    }

    /// Sends an API request and retries it. `send` gets the timeout of one attempt.
    ///
    /// # Errors
    ///
    /// If the request cannot succeed, or not in time.
    pub(crate) async fn request<T>(
        &self,
        limits: RequestLimits,
        mut send: impl AsyncFnMut(Duration) -> Result<T, RequestError>,
    ) -> Result<T, StepError> {
        self.request_with(limits, async || Ok(()), async |(), timeout| send(timeout).await).await
    }

    /// Sends an API request and retries it, as [`Context::request`] does. Before each attempt, `acquire` waits for what the attempt
    /// needs. `send` gets it, and drops it if the attempt fails, so that it is free during the backoff.
    ///
    /// # Errors
    ///
    /// If the request cannot succeed, or not in time, or if `acquire` fails.
    pub(crate) async fn request_with<R, T>(
        &self,
        limits: RequestLimits,
        mut acquire: impl AsyncFnMut() -> Result<R, StepError>,
        mut send: impl AsyncFnMut(R, Duration) -> Result<T, RequestError>,
    ) -> Result<T, StepError> {
        if self.deadline().has_passed() && !limits.has_grace_period {
            return Err(StepError::TimedOut);
        }

        let mut attempts = Attempts::with_limits(self.deadline().elapsed(), limits.attempts);
        loop {
            let (acquired, permit) = self.wait_to_send(&mut acquire).await?;
            attempts.record(false);
            let send = async |timeout| send(acquired, timeout).await;
            let response = self.attempt(permit, limits.has_grace_period, send);
            match self.with_heartbeat(response, || "waiting for a response from the API".to_owned()).await {
                Ok(response) => {
                    self.history.borrow_mut().clear_failure(Endpoint::Api);
                    return Ok(response);
                }
                Err(error) => self.back_off(error, attempts).await?,
            }
        }
    }

    /// Sends an API request once. An error is not recorded, because the caller can do without the response.
    ///
    /// # Errors
    ///
    /// If no request may be sent before the timeout. The result inside is that of the request.
    pub(crate) async fn request_once<T>(
        &self,
        send: impl AsyncFnOnce(Duration) -> Result<T, RequestError>,
    ) -> Result<Result<T, RequestError>, StepError> {
        let ((), permit) = self.wait_to_send(async || Ok(())).await?;
        Ok(self.attempt(permit, false, send).await.inspect_err(|error| self.record_pause(error)))
    }

    /// Waits until a request may be sent: until the API permits requests again, the request has what it needs, and fewer than
    /// [`MAX_API_REQUESTS`] others are in progress.
    async fn wait_to_send<R>(
        &self,
        mut acquire: impl AsyncFnMut() -> Result<R, StepError>,
    ) -> Result<(R, Option<SemaphorePermit<'a>>), StepError> {
        loop {
            self.wait_for_pause().await?;
            let acquired = acquire().await?;
            let permit = self.acquire_permit().await;
            self.check_availability()?;
            // Another run can have got a Retry-After in the meantime.
            if self.current_pause().is_none() {
                return Ok((acquired, permit));
            }
        }
    }

    /// Waits until fewer than [`MAX_API_REQUESTS`] requests are in progress. `None` if the semaphore is closed, which it never is.
    async fn acquire_permit(&self) -> Option<SemaphorePermit<'a>> {
        let acquired = self.step.api_requests.acquire();
        self.with_heartbeat(acquired, || "waiting for other requests of this step".to_owned()).await.ok()
    }

    /// Returns an error if another run has waited for the first response of the API for too long.
    fn check_availability(&self) -> Result<(), StepError> {
        match &*self.step.unavailable.borrow() {
            Some(error) if !self.step.has_responded.get() => {
                Err(StepError::after_one_attempt(error.clone(), GiveUpReason::NoFirstResponse))
            }
            _ => Ok(()),
        }
    }

    /// Sends a request. `permit` limits how many requests are in progress.
    async fn attempt<T>(
        &self,
        permit: Option<SemaphorePermit<'_>>,
        has_grace_period: bool,
        send: impl AsyncFnOnce(Duration) -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let deadline = self.deadline();
        let remaining = if has_grace_period { deadline.remaining_with_grace() } else { deadline.remaining() };
        let response = send(remaining.min(REQUEST_TIMEOUT)).await;
        drop(permit);
        response.inspect(|_| self.step.has_responded.set(true))
    }

    /// Waits until requests may be sent, if the API asked another run to retry later.
    ///
    /// # Errors
    ///
    /// If that is beyond the timeout.
    async fn wait_for_pause(&self) -> Result<(), StepError> {
        while let Some((until, error)) = self.current_pause() {
            let now = self.deadline().elapsed();
            if until > self.deadline().timeout() {
                return Err(StepError::after_one_attempt(
                    error,
                    GiveUpReason::RetryAfterTooLong(until.saturating_sub(now)),
                ));
            }
            let heartbeat = format!("waiting to retry: {error}");
            self.sleep_with_heartbeat(until.saturating_sub(now), || heartbeat.clone()).await;
        }
        Ok(())
    }

    /// Returns until when no request may be sent, since the start of the step, and the response that asked for it.
    fn current_pause(&self) -> Option<(Duration, RequestError)> {
        let pause = self.step.pause.borrow();
        let pause = pause.as_ref().filter(|pause| pause.until > self.deadline().elapsed())?;
        Some((pause.until, pause.error.clone()))
    }

    /// Records how long no request may be sent, because the API asked for it. This holds for all runs, unless the error only
    /// concerns this one.
    fn record_pause(&self, error: &RequestError) {
        if error.endpoint == Endpoint::Api
            && retry::classify(error.endpoint, error.kind) == ErrorClass::Retryable
            && let Some(delay) = error.retry_after
        {
            // If several responses ask for a delay, the longest one counts.
            let until = self.deadline().elapsed().saturating_add(delay);
            let mut pause = self.step.pause.borrow_mut();
            if pause.as_ref().is_none_or(|pause| pause.until < until) {
                *pause = Some(Pause { until, error: error.clone() });
            }
        }
    }

    /// Decides what happens after an error. `connections` is the number of connections that receive the file.
    #[must_use]
    pub(crate) fn decide(&self, error: &RequestError, attempts: Attempts, connections: usize) -> RetryDecision {
        let state = RetryState {
            attempts,
            has_responded: self.step.has_responded.get(),
            timeout: self.deadline().timeout(),
            poll_interval: self.api_config().poll_interval,
            connections,
        };
        retry::decide(error, &state, self.deadline().elapsed(), fastrand::f64())
    }

    /// Waits before the next attempt, as long as [`Context::decide`] says.
    ///
    /// # Errors
    ///
    /// If there is no next attempt.
    pub(crate) async fn back_off(&self, error: RequestError, attempts: Attempts) -> Result<(), StepError> {
        if retry::proves_availability(&error) {
            self.step.has_responded.set(true);
        }

        self.record_pause(&error);

        let decision = self.decide(&error, attempts, 1);
        let elapsed = self.deadline().elapsed().saturating_sub(attempts.started_at);
        let failure = RetryFailure { error, attempts, elapsed };
        match decision {
            RetryDecision::Retry(delay) | RetryDecision::ReduceConcurrency(delay) => {
                let next = match delay {
                    Duration::ZERO => "requesting a new signed URL".to_owned(),
                    delay => format!("retrying in {}", format::duration(delay)),
                };
                self.line(&format!("{}; {next}", failure.error));

                let heartbeat = format!("waiting to retry: {}", failure.error);
                self.history.borrow_mut().record_retry(failure);
                self.sleep_with_heartbeat(delay, || heartbeat.clone()).await;
                Ok(())
            }
            RetryDecision::GiveUp(GiveUpReason::TimedOut) => {
                self.history.borrow_mut().record_timeout(failure);
                Err(StepError::TimedOut)
            }
            RetryDecision::GiveUp(reason) => {
                if reason == GiveUpReason::NoFirstResponse {
                    self.step.unavailable.replace(Some(failure.error.clone()));
                }
                Err(StepError::Request { failure: Box::new(failure), reason })
            }
        }
    }

    /// Sleeps, and logs a heartbeat if the log is silent for too long.
    pub(crate) async fn sleep_with_heartbeat(&self, delay: Duration, heartbeat: impl Fn() -> String) {
        self.with_heartbeat(tokio::time::sleep(delay), heartbeat).await;
    }

    /// Waits for `work`, and logs a heartbeat if the log is silent for too long.
    pub(crate) async fn with_heartbeat<T>(&self, work: impl Future<Output = T>, heartbeat: impl Fn() -> String) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let until_heartbeat = HEARTBEAT_INTERVAL.saturating_sub(self.step.log.time_since_last_line());
            match tokio::time::timeout(until_heartbeat, &mut work).await {
                Ok(result) => return result,
                Err(_) if self.step.log.time_since_last_line() >= HEARTBEAT_INTERVAL => self.line(&heartbeat()),
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::ErrorKind;
    use crate::testing;

    /// Sends a request to an API that fails with these errors, one after another, and then succeeds. Returns how long
    /// that takes in tokio's paused time.
    async fn request(errors: &[RequestError]) -> Result<Duration, StepError> {
        let fixture = testing::Fixture::new(&[]);
        let step = fixture.step();
        let context = step.context(&fixture.history);
        let mut errors = errors.iter();
        let send = async |_| errors.next().cloned().map_or(Ok(()), Err);
        context.request(RequestLimits::default(), send).await?;
        Ok(context.deadline().elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_with_retry_after_shows_that_the_api_is_available() {
        let error = |kind| RequestError::new(Endpoint::Api, kind, "", "");
        let busy = |retry_after| RequestError { retry_after, ..error(ErrorKind::Status(429)) };
        let retry_in = |seconds| busy(Some(Duration::from_secs(seconds)));
        let silent = error(ErrorKind::Connect);

        let elapsed = request(&[retry_in(600), silent.clone(), busy(None)]).await.unwrap();
        assert!(elapsed > Duration::from_secs(600), "{elapsed:?}");
        let errors = [silent.clone(), retry_in(0), busy(None), silent.clone(), retry_in(600)];
        let elapsed = request(&errors).await.unwrap();
        assert!(elapsed > Duration::from_secs(600), "{elapsed:?}");

        let never = request(&vec![silent; 100]).await;
        assert!(matches!(never, Err(StepError::Request { reason: GiveUpReason::NoFirstResponse, .. })), "{never:?}");
    }

    /// Sends requests of two runs. The API asks the first one to retry after some time. Returns how the second one ends, and when.
    async fn request_beside_a_pause(retry_after: u64) -> (Result<(), StepError>, Duration) {
        let fixture = testing::Fixture::new(&[("TIMEOUT", "1h")]);
        let (step, histories) = (fixture.step(), [RefCell::default(), RefCell::default()]);
        let [first, second] = [&histories[0], &histories[1]].map(|history| step.context(history));
        let error = RequestError::new(Endpoint::Api, ErrorKind::Status(429), "", "");
        let error = RequestError { retry_after: Some(Duration::from_secs(retry_after)), ..error };
        let attempts = Attempts::new(Duration::ZERO);

        let paused = first.back_off(error, attempts);
        let other = async {
            let result = second.request(RequestLimits::default(), async |_| Ok(())).await;
            (result, second.deadline().elapsed())
        };
        tokio::join!(paused, other).1
    }

    /// Sends the requests of 50 runs at the same time, each of which takes `duration` and fails with `error`. Returns how they end,
    /// when, and how many were sent.
    async fn request_for_many_runs(
        duration: Duration,
        error: &RequestError,
    ) -> (Vec<Result<(), StepError>>, Duration, usize) {
        let fixture = testing::Fixture::new(&[("TIMEOUT", "1h")]);
        let step = fixture.step();
        let (context, sent) = (step.context(&fixture.history), Cell::new(0));
        let request = async |_| {
            sent.set(sent.get() + 1);
            tokio::time::sleep(duration).await;
            Err(error.clone())
        };
        let requests = (0..50).map(|_| context.request(RequestLimits::default(), request));
        let results = futures_util::future::join_all(requests).await;
        (results, context.deadline().elapsed(), sent.get())
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_wait_for_others_also_obey_retry_after() {
        let error = RequestError::new(Endpoint::Api, ErrorKind::Status(429), "", "");
        let error = RequestError { retry_after: Some(Duration::from_secs(7200)), ..error };
        let (results, _, sent) = request_for_many_runs(Duration::from_secs(1), &error).await;
        assert!(results.iter().all(|result| result.as_ref().is_err_and(StepError::is_timeout)), "{results:?}");
        assert_eq!(sent, MAX_API_REQUESTS);
    }

    #[tokio::test(start_paused = true)]
    async fn all_runs_end_after_two_minutes_without_a_response() {
        let error = RequestError::new(Endpoint::Api, ErrorKind::Timeout, "", "");
        let (results, elapsed, _) = request_for_many_runs(Duration::from_secs(20), &error).await;
        let is_expected = |result: &Result<(), StepError>| {
            matches!(result, Err(StepError::Request { reason: GiveUpReason::NoFirstResponse, .. }))
        };
        assert!(results.iter().all(is_expected), "{results:?}");
        // The requests in progress at that time end by themselves.
        assert!(elapsed < Duration::from_secs(142), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_of_a_refused_request_ends_no_other_run() {
        let fixture = testing::Fixture::new(&[("TIMEOUT", "1h")]);
        let step = fixture.step();
        let context = step.context(&fixture.history);
        let refused = RequestError::new(Endpoint::Api, ErrorKind::Status(403), "", "");
        let refused = RequestError { retry_after: Some(Duration::from_secs(7200)), ..refused };
        let ended = context.request(RequestLimits::default(), async |_| Err::<(), _>(refused.clone())).await;
        assert!(matches!(ended, Err(StepError::Request { reason: GiveUpReason::Refused, .. })), "{ended:?}");
        context.request(RequestLimits::default(), async |_| Ok(())).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_holds_for_all_runs_of_a_step() {
        let (result, after) = request_beside_a_pause(600).await;
        assert!(result.is_ok() && after >= Duration::from_secs(600), "{result:?} after {after:?}");

        let (result, after) = request_beside_a_pause(7200).await;
        let reason = GiveUpReason::RetryAfterTooLong(Duration::from_secs(7200));
        let is_expected = matches!(&result, Err(StepError::Request { reason: actual, .. }) if *actual == reason);
        assert!(is_expected && after < Duration::from_secs(1), "{result:?} after {after:?}");
    }
}
