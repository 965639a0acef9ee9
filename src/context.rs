//! What all parts of a step share, and the loop that asks the API until it answers.

use std::cell::RefCell;
use std::time::Duration;

use crate::config::ApiConfig;
use crate::deadline::Deadline;
use crate::error::StepError;
use crate::http::error::{Endpoint, RequestError};
use crate::http::retry::{self, Attempts, GiveUpReason, RetryDecision, RetryFailure};
use crate::report::history::History;
use crate::report::log::Log;
use crate::text::format;

/// One request to the API takes so long at most.
const REQUEST: Duration = Duration::from_secs(30);

/// After so long without a line the log gets a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// One step of a CI job: what was asked for, its clock and its log, and what has happened so far.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// How WebAdMIT is asked.
    pub api_config: &'a ApiConfig,
    /// Time since the start.
    pub deadline: Deadline,
    /// The log.
    pub log: &'a Log,
    /// What has happened so far.
    pub history: &'a RefCell<History>,
}

impl Context<'_> {
    /// Asks the API, again and again where a fault is worth it, and never past the timeout. `request` gets the time that
    /// it may take.
    ///
    /// # Errors
    ///
    /// A [`StepError`] when there is no use in asking again, or no time.
    pub async fn request<T>(
        &self,
        request: impl AsyncFnMut(Duration) -> Result<T, RequestError>,
    ) -> Result<T, StepError> {
        if self.deadline.has_passed() {
            return Err(StepError::TimedOut);
        }
        self.request_until(Deadline::remaining, None, request).await
    }

    /// The same for what may begin at the timeout itself: the last check, and the URL of the file that it finds.
    ///
    /// # Errors
    ///
    /// A [`StepError`] when there is no use in asking again, or no time.
    pub async fn request_with_grace<T>(
        &self,
        request: impl AsyncFnMut(Duration) -> Result<T, RequestError>,
    ) -> Result<T, StepError> {
        self.request_until(Deadline::remaining_with_grace, None, request).await
    }

    /// The same for what the rest does not depend on: after so many attempts it is given up, unless the API asks for a wait.
    ///
    /// # Errors
    ///
    /// A [`StepError`] when there is no use in asking again, or no time, or there were so many attempts.
    pub async fn request_with_max_attempts<T>(
        &self,
        attempts: u32,
        request: impl AsyncFnMut(Duration) -> Result<T, RequestError>,
    ) -> Result<T, StepError> {
        if self.deadline.has_passed() {
            return Err(StepError::TimedOut);
        }
        self.request_until(Deadline::remaining, Some(attempts), request).await
    }

    async fn request_until<T>(
        &self,
        limit: fn(&Deadline) -> Duration,
        max: Option<u32>,
        mut request: impl AsyncFnMut(Duration) -> Result<T, RequestError>,
    ) -> Result<T, StepError> {
        let mut attempts = Attempts { max, ..Attempts::new(self.deadline.elapsed()) };
        loop {
            attempts.record(false);
            let response = request(limit(&self.deadline).min(REQUEST));
            match self.with_heartbeat(response, || "waiting for an answer of the API".to_owned()).await {
                Ok(response) => {
                    let mut history = self.history.borrow_mut();
                    history.answered = true;
                    history.clear_failure(Endpoint::ApiClient);
                    return Ok(response);
                }
                Err(error) => self.back_off(error, attempts).await?,
            }
        }
    }

    /// What happens after a fault, as [`retry::decide`] has it. `connections` bring the file.
    #[must_use]
    pub fn decide(&self, error: &RequestError, attempts: Attempts, connections: usize) -> RetryDecision {
        let history = self.history.borrow();
        let state = retry::RetryState {
            failures: attempts.without_progress,
            answered: history.answered,
            started: history.started,
            timeout: self.deadline.timeout(),
            poll_interval: self.api_config.poll_interval,
            connections,
            refused: attempts.refused,
            max_attempts: attempts.max,
        };
        retry::decide(error, &state, self.deadline.elapsed(), fastrand::f64())
    }

    /// Waits before the next attempt, as long as [`Context::next`] says.
    ///
    /// # Errors
    ///
    /// A [`StepError`] when there is to be no other attempt.
    pub async fn back_off(&self, error: RequestError, attempts: Attempts) -> Result<(), StepError> {
        self.history.borrow_mut().answered |= retry::is_response(&error);
        let next = self.decide(&error, attempts, 1);
        let took = self.deadline.elapsed().saturating_sub(attempts.since);
        match next {
            RetryDecision::Retry(wait) | RetryDecision::ReduceConcurrency(wait) => {
                let next = match wait {
                    Duration::ZERO => "trying a new signed URL".to_owned(),
                    wait => format!("trying again in {}", format::duration(wait)),
                };
                self.log.line(&format!("{}; {next}", error.message));
                let sign_of_life = format!("still waiting after a fault: {}", error.message);
                self.history.borrow_mut().record_retry(RetryFailure { error, attempts, took });
                self.sleep_with_heartbeat(wait, || sign_of_life.clone()).await;
                Ok(())
            }
            RetryDecision::GiveUp(GiveUpReason::TimedOut) => {
                self.history.borrow_mut().record_timeout(RetryFailure { error, attempts, took });
                Err(StepError::TimedOut)
            }
            RetryDecision::GiveUp(reason) => {
                Err(StepError::Request { failure: RetryFailure { error, attempts, took }, reason })
            }
        }
    }

    /// Sleeps, with a sign of life in the log where it would be silent for too long.
    pub async fn sleep_with_heartbeat(&self, wait: Duration, sign_of_life: impl Fn() -> String) {
        self.with_heartbeat(tokio::time::sleep(wait), sign_of_life).await;
    }

    /// Waits for something, with a sign of life in the log where it would be silent for too long.
    async fn with_heartbeat<T>(&self, awaited: impl Future<Output = T>, sign_of_life: impl Fn() -> String) -> T {
        let mut awaited = std::pin::pin!(awaited);
        loop {
            let quiet = SIGN_OF_LIFE.saturating_sub(self.log.time_since_last_line());
            match tokio::time::timeout(quiet, &mut awaited).await {
                Ok(end) => return end,
                Err(_) if self.log.time_since_last_line() >= SIGN_OF_LIFE => self.log.line(&sign_of_life()),
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::http::error::ErrorKind;
    use crate::report::log::CiSystem;

    /// Asks an API that answers with these faults, one after another, and then as it should. Returns how long that takes on
    /// tokio's clock, which jumps from wait to wait.
    async fn ask(timeout: &str, failures: &[RequestError]) -> Result<Duration, StepError> {
        let variables = [("INPUT_API_KEY".into(), "k".into()), ("INPUT_TIMEOUT".into(), timeout.into())];
        let api_config = config::parse(&variables).api_config.unwrap();
        let deadline = Deadline::start().bounded(api_config.timeout);
        let (log, history) = (Log::to(std::io::sink(), std::io::sink(), CiSystem::Other, deadline), RefCell::default());
        let context = Context { api_config: &api_config, deadline, log: &log, history: &history };
        let mut failures = failures.iter();
        context.request(async |_| failures.next().cloned().map_or(Ok(()), Err)).await?;
        Ok(deadline.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_has_asked_for_a_wait_has_answered() {
        let busy = |wait| RequestError { retry_after: wait, ..RequestError::api(ErrorKind::Status(429), "busy") };
        let asks_for = |seconds| busy(Some(Duration::from_secs(seconds)));
        let silent = RequestError::api(ErrorKind::Connect, "nobody");
        let took = ask("1h", &[asks_for(600), silent.clone(), busy(None)]).await.unwrap();
        assert!(took > Duration::from_secs(600), "{took:?}");
        let took = ask("1h", &[silent.clone(), asks_for(0), busy(None), silent.clone(), asks_for(600)]).await.unwrap();
        assert!(took > Duration::from_secs(600), "{took:?}");
        let never = ask("1h", &vec![silent; 100]).await;
        assert!(matches!(never, Err(StepError::Request { reason: GiveUpReason::NoFirstResponse, .. })), "{never:?}");
    }
}
