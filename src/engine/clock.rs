//! The wall clock: the one place where it is read, and where it is doubted.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::invoice::Timestamp;

/// Where wall time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The moment. It does not follow a jump ahead for as long as the jump is doubted.
    fn now(&self) -> Timestamp;

    /// Whether the wall clock jumped ahead and is not believed yet.
    fn is_doubted(&self) -> bool {
        false
    }
}

/// The system's clock.
///
/// A jump ahead must not reach the ledger before it is believed: the ledger's time never runs back, so one input with
/// a wrong moment would expire every invoice, and every later one, for as long as the clock was wrong.
#[derive(Debug)]
pub struct SystemClock {
    watch: Mutex<ClockWatch>,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { watch: Mutex::new(ClockWatch::new(wall(), Instant::now())) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.watch.lock().believed(wall(), Instant::now())
    }

    fn is_doubted(&self) -> bool {
        self.watch.lock().is_ahead(wall(), Instant::now())
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where wall time enters")]
fn wall() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How far the wall clock may run ahead of the monotonic one.
const TOLERANCE: Duration = Duration::from_secs(60);

/// How long a jump is doubted. Whoever set the clock wrong has that long to set it right; after that it is believed,
/// for a machine that slept looks the same.
const DOUBT: Duration = Duration::from_secs(600);

/// Compares the wall clock with the monotonic one. It reads neither: whoever drives it says what they show.
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

    /// The wall time that can be believed at a moment of both clocks: while it is ahead, what the monotonic clock
    /// makes of the last moment that was good.
    pub fn believed(&mut self, wall: Timestamp, monotonic: Instant) -> Timestamp {
        if self.is_ahead(wall, monotonic) {
            self.wall.after(monotonic.saturating_duration_since(self.monotonic))
        } else {
            wall
        }
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
    fn a_doubted_jump_is_not_followed() {
        let (wall, start) = (Timestamp::from_secs(1_000_000), Instant::now());
        let mut watch = ClockWatch::new(wall, start);
        let day = Duration::from_secs(24 * 3600);
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(watch.believed(wall.after(day), at(5)), wall.after(Duration::from_secs(5)));
        assert_eq!(
            watch.believed(wall.after(Duration::from_secs(7)), at(7)),
            wall.after(Duration::from_secs(7))
        );
        assert_eq!(watch.believed(wall.after(day), at(10)), wall.after(Duration::from_secs(10)));
        let believed = wall.after(day + Duration::from_secs(620));
        assert_eq!(watch.believed(believed, at(620)), believed);
    }

    #[test]
    fn a_clock_that_runs_back_is_not_ahead() {
        let (wall, start) = (Timestamp::from_secs(1_000_000), Instant::now());
        let mut watch = ClockWatch::new(wall, start);
        assert!(!watch.is_ahead(Timestamp::from_secs(999_000), start + Duration::from_secs(5)));
    }
}
