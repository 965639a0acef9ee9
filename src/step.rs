//! What all parts of a step share, and the loop that asks the API until it answers.

use std::cell::RefCell;
use std::time::Duration;

use crate::clock::Clock;
use crate::failure::Failure;
use crate::fault::{Fault, Side};
use crate::figures;
use crate::inputs::Service;
use crate::journal::{Journal, Trouble};
use crate::log::Log;
use crate::retry::{self, Attempts, Next, Reason};

/// One request to the API takes so long at most.
const REQUEST: Duration = Duration::from_secs(30);

/// After so long without a line the log gets a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// One step of a CI job: what was asked for, its clock and its log, and what has happened so far.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// How WebAdMIT is asked.
    pub service: &'a Service,
    /// Time since the start.
    pub clock: Clock,
    /// The log.
    pub log: &'a Log,
    /// What has happened so far.
    pub journal: &'a RefCell<Journal>,
}

impl Step<'_> {
    /// Asks the API, again and again where a fault is worth it, and never past the timeout. `request` gets the time that
    /// it may take.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when there is no use in asking again, or no time.
    pub async fn ask<T>(&self, request: impl AsyncFnMut(Duration) -> Result<T, Fault>) -> Result<T, Failure> {
        if self.clock.is_over() {
            return Err(Failure::TimedOut);
        }
        self.ask_within(Clock::left, None, request).await
    }

    /// The same for what may begin at the timeout itself: the last check, and the URL of the file that it finds.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when there is no use in asking again, or no time.
    pub async fn ask_at_last<T>(&self, request: impl AsyncFnMut(Duration) -> Result<T, Fault>) -> Result<T, Failure> {
        self.ask_within(Clock::allowance, None, request).await
    }

    /// The same for what the rest does not depend on: after so many attempts it is given up, unless the API asks for a wait.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when there is no use in asking again, or no time, or there were so many attempts.
    pub async fn ask_at_most<T>(
        &self,
        attempts: u32,
        request: impl AsyncFnMut(Duration) -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        if self.clock.is_over() {
            return Err(Failure::TimedOut);
        }
        self.ask_within(Clock::left, Some(attempts), request).await
    }

    async fn ask_within<T>(
        &self,
        limit: fn(&Clock) -> Duration,
        most: Option<u32>,
        mut request: impl AsyncFnMut(Duration) -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        let mut attempts = Attempts { most, ..Attempts::none(self.clock.now()) };
        loop {
            attempts.count(false);
            let answer = request(limit(&self.clock).min(REQUEST));
            match self.heard(answer, || "waiting for an answer of the API".to_owned()).await {
                Ok(answer) => {
                    let mut journal = self.journal.borrow_mut();
                    journal.answered = true;
                    journal.overcome(Side::Api);
                    return Ok(answer);
                }
                Err(fault) => self.recover(fault, attempts).await?,
            }
        }
    }

    /// What happens after a fault, as [`retry::next`] has it. `connections` bring the file.
    #[must_use]
    pub fn next(&self, fault: &Fault, attempts: Attempts, connections: usize) -> Next {
        let journal = self.journal.borrow();
        let state = retry::State {
            faults: attempts.fruitless,
            answered: journal.answered,
            started: journal.started,
            timeout: self.clock.timeout(),
            poll_interval: self.service.poll_interval,
            connections,
            refused: attempts.refused,
            most_attempts: attempts.most,
        };
        retry::next(fault, &state, self.clock.now(), fastrand::f64())
    }

    /// Waits before the next attempt, as long as [`Step::next`] says.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when there is to be no other attempt.
    pub async fn recover(&self, fault: Fault, attempts: Attempts) -> Result<(), Failure> {
        self.journal.borrow_mut().answered |= retry::is_answer(&fault);
        let next = self.next(&fault, attempts, 1);
        let took = self.clock.now().saturating_sub(attempts.since);
        match next {
            Next::Again(wait) | Next::Fewer(wait) => {
                let next = match wait {
                    Duration::ZERO => "trying a new signed URL".to_owned(),
                    wait => format!("trying again in {}", figures::span(wait)),
                };
                self.log.line(&format!("{}; {next}", fault.words));
                let sign_of_life = format!("still waiting after a fault: {}", fault.words);
                self.journal.borrow_mut().survive(Trouble { fault, attempts, took });
                self.rest(wait, || sign_of_life.clone()).await;
                Ok(())
            }
            Next::GiveUp(Reason::TimedOut) => {
                self.journal.borrow_mut().end_in(Trouble { fault, attempts, took });
                Err(Failure::TimedOut)
            }
            Next::GiveUp(reason) => Err(Failure::Fault { trouble: Trouble { fault, attempts, took }, reason }),
        }
    }

    /// Sleeps, with a sign of life in the log where it would be silent for too long.
    pub async fn rest(&self, wait: Duration, sign_of_life: impl Fn() -> String) {
        self.heard(tokio::time::sleep(wait), sign_of_life).await;
    }

    /// Waits for something, with a sign of life in the log where it would be silent for too long.
    async fn heard<T>(&self, awaited: impl Future<Output = T>, sign_of_life: impl Fn() -> String) -> T {
        let mut awaited = std::pin::pin!(awaited);
        loop {
            let quiet = SIGN_OF_LIFE.saturating_sub(self.log.silence());
            match tokio::time::timeout(quiet, &mut awaited).await {
                Ok(end) => return end,
                Err(_) if self.log.silence() >= SIGN_OF_LIFE => self.log.line(&sign_of_life()),
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;
    use crate::inputs;
    use crate::log::Reader;

    /// Asks an API that answers with these faults, one after another, and then as it should. Returns how long that takes on
    /// tokio's clock, which jumps from wait to wait.
    async fn ask(timeout: &str, faults: &[Fault]) -> Result<Duration, Failure> {
        let variables = [("INPUT_API_KEY".into(), "k".into()), ("INPUT_TIMEOUT".into(), timeout.into())];
        let service = inputs::read(&variables).service.unwrap();
        let clock = Clock::start().bounded(service.timeout);
        let (log, journal) = (Log::to(std::io::sink(), std::io::sink(), Reader::Other, clock), RefCell::default());
        let step = Step { service: &service, clock, log: &log, journal: &journal };
        let mut faults = faults.iter();
        step.ask(async |_| faults.next().cloned().map_or(Ok(()), Err)).await?;
        Ok(clock.now())
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_has_asked_for_a_wait_has_answered() {
        let busy = |wait| Fault { retry_after: wait, ..Fault::api(Kind::Status(429), "busy") };
        let asks_for = |seconds| busy(Some(Duration::from_secs(seconds)));
        let silent = Fault::api(Kind::Connect, "nobody");
        let took = ask("1h", &[asks_for(600), silent.clone(), busy(None)]).await.unwrap();
        assert!(took > Duration::from_secs(600), "{took:?}");
        let took = ask("1h", &[silent.clone(), asks_for(0), busy(None), silent.clone(), asks_for(600)]).await.unwrap();
        assert!(took > Duration::from_secs(600), "{took:?}");
        let never = ask("1h", &vec![silent; 100]).await;
        assert!(matches!(never, Err(Failure::Fault { reason: Reason::NeverAnswered, .. })), "{never:?}");
    }
}
