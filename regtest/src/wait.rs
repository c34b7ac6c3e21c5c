//! Waiting for events, and trying again where a machine was too slow.
//!
//! A test that waits for a time fails on a machine that does something else meanwhile, and wastes the time on one that
//! does not. Tests therefore wait for events: [`eventually`] looks until something is there, and fails after
//! [`PATIENCE`], which no working program needs. Where a test sets the time itself within which something has to happen,
//! [`with_enough_time`] repeats it with more time until the machine was quick enough to try it.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a test waits for what a working program does much sooner.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Factors on the first time of [`with_enough_time`].
const MORE_TIME: [u32; 4] = [1, 4, 16, 64];

/// Looks until `look` finds something, and gives that.
///
/// # Errors
/// An error of `look`, at once. After [`PATIENCE`]: `missing`, which names the thing that did not come.
pub async fn eventually<T, M: Display>(
    missing: impl FnOnce() -> M,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > until {
            bail!("not within {PATIENCE:?}: {}", missing());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// As [`eventually`], for a thread that may block.
///
/// # Errors
/// As [`eventually`].
pub fn eventually_blocking<T>(missing: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > until {
            bail!("not within {PATIENCE:?}: {missing}");
        }
        sleep(PAUSE);
    }
}

/// Waits on a thread that may block until `is_so`.
///
/// # Errors
/// After [`PATIENCE`]: `missing`.
pub fn until(missing: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    eventually_blocking(missing, || Ok(is_so().then_some(())))
}

/// Tries what must happen within a time that the test sets: within `first`, then within 4, 16 and 64 times as long.
/// `attempt` gives `None` where the machine took longer than the time it was given, so that nothing was tried.
///
/// # Errors
/// An error of `attempt`, at once; and when the longest time was not enough.
pub async fn with_enough_time<T>(
    first: Duration,
    mut attempt: impl AsyncFnMut(Duration) -> Result<Option<T>>,
) -> Result<T> {
    for factor in MORE_TIME {
        if let Some(done) = attempt(first * factor).await? {
            return Ok(done);
        }
    }
    bail!("this machine is too slow to try it within {:?}", first * MORE_TIME[MORE_TIME.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_is_found_and_an_error_ends_the_waiting() {
        let mut looks = 0;
        let found = eventually(
            || "never called",
            async || {
                looks += 1;
                Ok((looks == 3).then_some(looks))
            },
        );
        assert_eq!(found.await.unwrap(), 3);
        let failed: Result<()> = eventually(|| "never called", async || bail!("broken")).await;
        assert_eq!(failed.unwrap_err().to_string(), "broken");
    }

    #[tokio::test]
    async fn more_time_is_given_until_it_is_enough() {
        let mut given = Vec::new();
        let first = Duration::from_millis(10);
        let enough = with_enough_time(first, async |time| {
            given.push(time.as_millis());
            Ok((time >= Duration::from_millis(160)).then_some(()))
        });
        enough.await.unwrap();
        assert_eq!(given, [10, 40, 160]);
        let never: Result<()> = with_enough_time(first, async |_| Ok(None)).await;
        assert!(never.unwrap_err().to_string().contains("640ms"));
    }
}
