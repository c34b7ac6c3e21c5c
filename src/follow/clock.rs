//! Whether the wall clock can be believed.

use std::time::{Duration, Instant};

use crate::invoice::Timestamp;

/// How far the wall clock may run ahead of the monotonic one.
const TOLERANCE: Duration = Duration::from_secs(60);

/// How long a jump is doubted. Whoever set the clock wrong has that long to set it right; after that it is believed,
/// for a machine that slept looks the same.
const DOUBT: Duration = Duration::from_secs(600);

/// Compares the wall clock with the monotonic one. While the wall clock has jumped ahead, no expiry is judged: a
/// clock that is wrong for a minute must not expire every invoice.
#[derive(Debug)]
pub struct ClockWatch {
    wall: Timestamp,
    monotonic: Instant,
    ahead_since: Option<Instant>,
}

impl ClockWatch {
    /// Begins at a moment of both clocks.
    pub fn new(wall: Timestamp, monotonic: Instant) -> Self {
        Self { wall, monotonic, ahead_since: None }
    }

    /// Whether the wall clock runs ahead, at a moment of both clocks.
    pub fn is_ahead(&mut self, wall: Timestamp, monotonic: Instant) -> bool {
        let passed = monotonic.saturating_duration_since(self.monotonic);
        if wall.since(self.wall) <= passed + TOLERANCE {
            self.ahead_since = None;
            // The two drift apart by themselves, a second a day: the comparison begins anew every hour.
            if passed > Duration::from_secs(3600) {
                *self = Self::new(wall, monotonic);
            }
            return false;
        }
        let since = *self.ahead_since.get_or_insert(monotonic);
        if monotonic.saturating_duration_since(since) >= DOUBT {
            *self = Self::new(wall, monotonic);
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_doubted_and_then_believed() {
        let (wall, start) = (Timestamp::from_secs(1_000_000), Instant::now());
        let mut watch = ClockWatch::new(wall, start);
        let mut at = |wall_s: u64, monotonic_s: u64| {
            watch.is_ahead(wall.after(Duration::from_secs(wall_s)), start + Duration::from_secs(monotonic_s))
        };
        assert!(!at(10, 10));
        assert!(!at(70, 10), "within the tolerance");
        assert!(at(500, 20), "a jump");
        assert!(!at(30, 30), "taken back");
        assert!(at(1000, 40));
        assert!(at(1500, 540));
        assert!(!at(1601, 641), "believed after ten minutes");
        assert!(!at(1661, 701));
        assert!(at(1800, 702), "the next jump is doubted again");
    }

    #[test]
    fn a_clock_that_runs_back_is_not_ahead() {
        let (wall, start) = (Timestamp::from_secs(1_000_000), Instant::now());
        let mut watch = ClockWatch::new(wall, start);
        assert!(!watch.is_ahead(Timestamp::from_secs(999_000), start + Duration::from_secs(5)));
    }
}
