use super::*;
use crate::testing;
use crate::webadmit::Id;
use crate::webadmit::status::Status;

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
    let end = until_terminal(&context, async || {
        calls += 1;
        let status = if context.deadline().elapsed() >= takes { Status::Failed } else { Status::InProgress };
        let (source, files, updated_at) = (None, Vec::new(), None);
        Ok(RunResponse { run_id: Id(2), source, status, files, remaining_calls, updated_at })
    })
    .await;
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
            next_delay(millis(waited), millis(interval), remaining_calls),
            millis(wait),
            "{waited} {remaining_calls:?}"
        );
    }
}
