use futures_util::future::join_all;

use super::*;
use crate::http::error::{Endpoint, ErrorKind};
use crate::testing;

/// A simulated run.
struct Simulation {
    /// When its end was noticed.
    after: Duration,
    calls: usize,
    timed_out: bool,
}

/// Polls a run that takes this long, in tokio's paused time.
async fn simulate(takes: Duration, timeout: &str, remaining_calls: Option<u64>) -> Simulation {
    let fixture = testing::Fixture::new(&[("TIMEOUT", timeout)]);
    let step = fixture.step();
    let context = step.context(&fixture.history);
    let mut calls = 0;
    let check = async || {
        calls += 1;
        let status = if context.deadline().elapsed() >= takes { Status::Failed } else { Status::InProgress };
        Ok((status, ()))
    };
    let poller = Poller::new(RunKind::Export, false, Rc::new(Cell::new(remaining_calls)));
    let end = tokio::select! {
        end = until_terminal(&context, &poller, Id(2), true, check, |_| {}) => end,
        never = poller.serve(&context, async |_| Ok(None)) => match never {},
    };
    Simulation { after: context.deadline().elapsed(), calls, timed_out: matches!(end, Err(StepError::TimedOut)) }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_is_noticed_within_a_second_or_a_tenth_of_its_time_or_the_poll_interval() {
    for seconds in [0, 1, 2, 5, 7, 30, 61, 150, 151, 600, 1800, 3599] {
        let took = Duration::from_secs(seconds);
        let noticed = simulate(took, "1h", Some(5000)).await;
        // A timer can be a millisecond late.
        let delay = noticed.after.saturating_sub(took);
        let promised = Duration::from_secs(1).max(took / 10).min(Duration::from_secs(15)) + Duration::from_millis(2);
        assert!(!noticed.timed_out && delay <= promised, "{seconds} s: noticed after {:?}", noticed.after);
    }
    let hour = simulate(Duration::from_secs(3599), "1h", Some(5000)).await;
    assert!(hour.calls < 300, "{} calls", hour.calls);
}

#[tokio::test(start_paused = true)]
async fn the_last_check_is_at_the_timeout() {
    let noticed = simulate(Duration::from_secs(60), "60s", None).await;
    assert!(!noticed.timed_out, "a run that ends at the timeout is noticed");
    let missed = simulate(Duration::from_secs(61), "60s", None).await;
    assert!(missed.timed_out && missed.after.as_secs() == 60, "{:?}", missed.after);
}

#[test]
fn the_delay_depends_on_the_time_waited_and_the_remaining_calls() {
    for (waited, interval, remaining_calls, wait) in [
        (0, 15_000, None, 1000),
        (9_999, 15_000, None, 1000),
        (20_000, 15_000, None, 2000),
        (150_000, 15_000, None, 15_000),
        (3_600_000, 15_000, Some(5000), 15_000),
        (0, 250, None, 250),
        (0, 15_000, Some(5000), 1000),
        (0, 15_000, Some(1000), 3600),
        (0, 15_000, Some(60), 60_000),
        (0, 15_000, Some(1), 300_000),
        (0, 15_000, Some(0), 300_000),
    ] {
        let millis = Duration::from_millis;
        assert_eq!(
            next_delay(millis(waited), millis(interval), remaining_calls, 1),
            millis(wait),
            "{waited} {remaining_calls:?}"
        );
    }
}

/// The requests that the checks of several runs took.
#[derive(Debug, Default)]
struct Calls {
    lists: Cell<usize>,
    checks: Cell<usize>,
}

/// Polls runs that take this long each, in tokio's paused time. `list` returns the recent runs at a time, or an error. Returns when
/// the last end was noticed, and the number of requests.
async fn simulate_several(
    takes: &[Duration],
    list: impl Fn(Duration) -> Result<Option<Vec<ListedRun>>, RequestError>,
) -> (Vec<Duration>, Calls) {
    let fixture = testing::Fixture::new(&[("TIMEOUT", "2h")]);
    let step = fixture.step();
    let (context, calls) = (step.context(&fixture.history), Calls::default());
    let poller = Poller::new(RunKind::Export, true, Rc::default());
    let runs = takes.iter().zip(1..).map(|(&takes, id)| {
        let (context, calls, poller) = (&context, &calls, &poller);
        async move {
            let check = async || {
                calls.checks.set(calls.checks.get() + 1);
                let has_ended = context.deadline().elapsed() >= takes;
                Ok((if has_ended { Status::Failed } else { Status::InProgress }, ()))
            };
            // The requests that start them take some time.
            tokio::time::sleep(Duration::from_millis(10 * id)).await;
            until_terminal(context, poller, Id(id), true, check, |_| {}).await.unwrap();
            context.deadline().elapsed()
        }
    });
    let requested = async |_| {
        calls.lists.set(calls.lists.get() + 1);
        list(context.deadline().elapsed())
    };
    let ends = tokio::select! {
        ends = join_all(runs) => ends,
        never = poller.serve(&context, requested) => match never {},
    };
    (ends, calls)
}

/// Returns the list of the recent runs, of which the first `listed` are shown.
fn listed_runs(takes: &[Duration], listed: usize, now: Duration) -> Vec<ListedRun> {
    let entry = |(&takes, id)| {
        let status = if now >= takes { Status::Failed } else { Status::InProgress };
        ListedRun { kind: RunKind::Export, id: Id(id), source_id: None, status }
    };
    takes.iter().zip(1..).take(listed).map(entry).collect()
}

#[tokio::test(start_paused = true)]
async fn several_runs_cost_about_as_many_calls_as_one() {
    let takes: Vec<Duration> = (0..20).map(|run| Duration::from_secs(1795 + run / 5)).collect();
    let one = simulate(takes[19], "2h", None).await.calls;
    let (ends, calls) = simulate_several(&takes, |now| Ok(Some(listed_runs(&takes, 20, now)))).await;
    for (end, takes) in ends.iter().zip(&takes) {
        assert!(*end >= *takes && *end - *takes <= Duration::from_secs(16), "{takes:?} {end:?}");
    }
    assert!(calls.lists.get() <= one && calls.checks.get() <= 21, "{one} {calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_the_list_does_not_contain_is_checked_by_itself() {
    let takes = [600, 600, 300].map(Duration::from_secs);
    let (ends, calls) = simulate_several(&takes, |now| Ok(Some(listed_runs(&takes, 2, now)))).await;
    assert!(ends[2] >= takes[2] && ends[2] <= takes[2] + Duration::from_secs(16), "{ends:?}");
    let one = simulate(takes[2], "2h", None).await.calls;
    assert!(calls.checks.get() <= one + 10, "{calls:?}, and {one} for a single run");
}

#[tokio::test(start_paused = true)]
async fn runs_are_checked_one_by_one_if_they_cannot_be_listed() {
    let takes = [30, 60].map(Duration::from_secs);
    let refused = || RequestError::new(Endpoint::Api, ErrorKind::Status(403), "", "");
    let busy = || RequestError::new(Endpoint::Api, ErrorKind::Status(503), "", "");
    for (result, lists) in [(Ok(None), 1..=1), (Err(refused()), 1..=1), (Err(busy()), 3..=3)] {
        let (ends, calls) = simulate_several(&takes, |_| result.clone()).await;
        for (end, takes) in ends.iter().zip(&takes) {
            assert!(*end >= *takes && *end - *takes <= Duration::from_secs(15), "{result:?}: {takes:?} {end:?}");
        }
        assert!(lists.contains(&calls.lists.get()), "{result:?}: {calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_list_is_used_again() {
    let takes = [Duration::from_secs(1800); 20];
    let busy = || RequestError::new(Endpoint::Api, ErrorKind::Status(503), "", "");
    let one = simulate(takes[0], "2h", None).await.calls;
    // After a short outage, the list is used again at once; after a longer one, in five minutes, while each run is checked
    // individually.
    for (outage, min_checks, max_checks) in [(6, 20, 20 * 3), (60, 20 * 15, 20 * 40)] {
        let outage = Duration::from_secs(60)..Duration::from_secs(60 + outage);
        let (_, calls) = simulate_several(&takes, |now| {
            if outage.contains(&now) { Err(busy()) } else { Ok(Some(listed_runs(&takes, 20, now))) }
        })
        .await;
        assert!(calls.lists.get() <= one + 5 && (min_checks..=max_checks).contains(&calls.checks.get()), "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_status_in_the_list_says_nothing_is_checked_by_itself() {
    let takes = [30, 60].map(Duration::from_secs);
    for status in [Status::parse(""), Status::Available] {
        let (ends, _) = simulate_several(&takes, |_| {
            let entry = |id| ListedRun { kind: RunKind::Export, id: Id(id), source_id: None, status: status.clone() };
            Ok(Some(vec![entry(1), entry(2)]))
        })
        .await;
        for (end, takes) in ends.iter().zip(&takes) {
            assert!(*end >= *takes && *end - *takes <= Duration::from_secs(15), "{status}: {takes:?} {end:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_runs_whose_status_is_not_listed_need_calls_of_their_own() {
    let fixture = testing::Fixture::new(&[]);
    let step = fixture.step();
    let context = step.context(&fixture.history);
    let poller = Poller::new(RunKind::Export, true, Rc::default());
    let (events, _receiver) = unbounded_channel();
    let waiting = (1..=6).map(|run| Waiting {
        run: Id(run),
        since: Duration::ZERO,
        next_check: Duration::ZERO,
        events: events.clone(),
    });
    poller.waiting.replace(waiting.collect());
    // Run 5 has an unknown status, and run 6 is missing.
    let statuses = [Status::Failed, Status::Failed, Status::Failed, Status::InProgress, Status::parse("odd")];
    let entry = |(status, id)| ListedRun { kind: RunKind::Export, id: Id(id), source_id: None, status };
    poller.distribute(&context, &statuses.into_iter().zip(1..).map(entry).collect::<Vec<_>>());
    assert_eq!((poller.unlisted.get(), poller.waiting.borrow().len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn runs_that_are_checked_one_by_one_share_the_remaining_calls() {
    let fixture = testing::Fixture::new(&[]);
    let (step, calls) = (fixture.step(), Rc::new(Cell::new(Some(360))));
    let context = step.context(&fixture.history);
    let poller = Poller::new(RunKind::Export, true, calls);
    let mut polling: Vec<Polling<'_>> = (0..5).map(|_| Polling::begin(&poller.polling)).collect();
    assert_eq!(poller.next_check(&context, Duration::ZERO), Duration::from_secs(10), "one list for all");
    poller.unlisted.set(3);
    assert_eq!(poller.next_check(&context, Duration::ZERO), Duration::from_secs(30), "three are not in the list");
    poller.no_list_until.set(Duration::MAX);
    assert_eq!(poller.next_check(&context, Duration::ZERO), Duration::from_secs(50), "there is no list");
    polling.truncate(1);
    assert_eq!(poller.next_check(&context, Duration::ZERO), Duration::from_secs(10), "one run is left");
    poller.no_list_until.set(Duration::ZERO);
    assert_eq!(
        poller.next_check(&context, Duration::ZERO),
        Duration::from_secs(10),
        "the one that is left was not listed"
    );
}
