//! The node's clock, measured by the `Date` of its answers.

use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

/// An answer that took longer than this says too little of the moment at which it was dated.
const LONGEST_ANSWER: Duration = Duration::from_millis(500);

/// Difference between the node's clock and a clock of ours that cannot be set (`CLOCK_BOOTTIME`). Clones of the pool
/// share one value.
///
/// A `Date` has whole seconds, so one answer tells the difference of the two clocks to within a second and the time the
/// answer took. Each further one narrows that, until one disagrees: then the node's clock was set, or has drifted, and
/// the newest answer counts alone.
#[derive(Debug, Default)]
pub(super) struct NodeClock {
    /// The node's clock is ahead of ours by so many milliseconds, at least and at most.
    ahead: Mutex<Option<(i64, i64)>>,
}

impl NodeClock {
    /// An answer that was asked for and came at these moments of our clock has a `Date` of so many seconds since 1970.
    pub(super) fn note(&self, date_s: u64, asked: Duration, came: Duration) {
        if came.saturating_sub(asked) > LONGEST_ANSWER {
            return;
        }
        let date = signed(Duration::from_secs(date_s));
        let least = date.saturating_sub(signed(came));
        let most = date.saturating_add(1000).saturating_sub(signed(asked));
        let mut ahead = self.ahead.lock();
        let narrower =
            ahead.map(|(low, high)| (low.max(least), high.min(most))).filter(|(low, high)| low <= high);
        *ahead = Some(narrower.unwrap_or((least, most)));
    }

    /// Milliseconds since 1970 by the node's clock, at a moment of ours; `None` before its first answer.
    pub(super) fn at(&self, ours: Duration) -> Option<u64> {
        let (least, most) = (*self.ahead.lock())?;
        let middle = least.saturating_add(most.saturating_sub(least) / 2);
        u64::try_from(signed(ours).saturating_add(middle)).ok()
    }
}

/// Now, by our clock that nobody sets.
pub(super) fn running() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    // Neither part is negative: the clock begins at zero.
    let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(secs.unwrap_or_default(), nanos.unwrap_or_default())
}

fn signed(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_narrows_what_is_known_until_the_clock_is_set() {
        let ms = Duration::from_millis;
        let clock = NodeClock::default();
        assert_eq!(clock.at(ms(0)), None);
        // The node's clock shows 1,800,000,000.3 s when ours shows 0.
        let node = |ours: u64| 1_800_000_000_300 + ours;
        let answer = |ours: u64| clock.note(node(ours + 2) / 1000, ms(ours), ms(ours + 4));
        answer(0);
        let off = |clock: &NodeClock| clock.at(ms(0)).unwrap().abs_diff(node(0));
        assert!(off(&clock) <= 502, "one answer: {}", off(&clock));
        for step in 1..200 {
            answer(step * 97);
        }
        assert!(off(&clock) <= 10, "{}", off(&clock));
        clock.note(5, ms(0), ms(501));
        assert!(off(&clock) <= 10, "an answer that took long says nothing");
        // The node's clock is set back by an hour.
        clock.note(1_799_996_400, ms(20_000), ms(20_004));
        let off = clock.at(ms(20_002)).unwrap().abs_diff(1_799_996_400_500);
        assert!(off <= 502, "{off}");
    }
}
