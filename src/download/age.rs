//! Refuses a file that is too old. Pure.

use std::time::Duration;

use crate::error::StepError;
use crate::webadmit::CreationTime;

/// Accepts a file that is not older than `max_age`. Without a maximum, every file is accepted.
///
/// # Errors
///
/// [`StepError::TooOld`], or [`StepError::UnknownAge`] if the server does not say when the file was created.
pub(crate) fn check_age(created: Option<CreationTime>, max_age: Option<Duration>) -> Result<(), StepError> {
    match (created, max_age) {
        (_, None) => Ok(()),
        (None, Some(_)) => Err(StepError::UnknownAge),
        (Some(created), Some(max_age)) if created.age() > max_age => Err(StepError::TooOld { created, max_age }),
        (Some(_), Some(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::error::ExitCode;

    #[test]
    fn a_file_is_too_old_if_it_is_strictly_older_than_the_maximum() {
        let seconds = Duration::from_secs;
        let of_age = |age| Some(CreationTime::new(UNIX_EPOCH, UNIX_EPOCH + seconds(age)));
        for (created, max_age, code) in [
            (of_age(0), Some(60), ExitCode::Success),
            (of_age(60), Some(60), ExitCode::Success),
            (of_age(61), Some(60), ExitCode::TooOld),
            (of_age(u64::from(u32::MAX)), None, ExitCode::Success),
            (None, Some(60), ExitCode::Other),
            (None, None, ExitCode::Success),
        ] {
            let result = check_age(created, max_age.map(seconds));
            assert_eq!(ExitCode::most_severe(result.err().map(|error| error.exit_code())), code, "{created:?}");
        }
    }
}
