//! Times: whose clock each is, so that two of them are never compared by accident.
//!
//! | type | whose clock | what it is for |
//! | --- | --- | --- |
//! | [`Elapsed`] | ours, and it never runs back | every deadline and every wait |
//! | [`Timestamp`] | the machine's wall clock, as it stands | what is shown to people and programs |
//! | [`NodeTime`] | the node's wall clock | the age of a transaction in the node's mempool |
//!
//! A [`Reading`] holds all three, read once for one input.

use std::{fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};

use super::{FirstSeen, Sighting};

/// The last millisecond of the year 9999, in milliseconds since 1970.
const LAST_MILLIS: u64 = 253_402_300_799_999;

macro_rules! clocks {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The last moment that has a four-digit year: 9999-12-31T23:59:59.999Z.
            pub const MAX: Self = Self(LAST_MILLIS);

            /// A moment from milliseconds, at most [`Self::MAX`].
            pub fn from_millis(millis: u64) -> Self {
                Self(millis.min(Self::MAX.0))
            }

            /// A moment from seconds.
            pub fn from_secs(secs: u64) -> Self {
                Self::from_millis(secs.saturating_mul(1000))
            }

            /// Milliseconds.
            pub fn millis(self) -> u64 {
                self.0
            }

            /// Whole seconds, rounded down.
            pub fn secs(self) -> u64 {
                self.0 / 1000
            }

            /// This moment and then some.
            #[must_use]
            pub fn after(self, duration: Duration) -> Self {
                Self::from_millis(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
            }

            /// This moment less a duration; zero if the clock did not reach back so far.
            #[must_use]
            pub fn before(self, duration: Duration) -> Self {
                Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
            }

            /// The time from an earlier moment of the same clock to this one; zero if the other is not earlier.
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_millis(self.0.saturating_sub(earlier.0))
            }

            /// How far two moments of the same clock are apart.
            pub fn apart(self, other: Self) -> Duration {
                Duration::from_millis(self.0.abs_diff(other.0))
            }
        }
    )*};
}
clocks! {
    /// A moment of the machine's wall clock, in milliseconds since 1970-01-01 00:00 UTC. Somebody may set that clock
    /// at any time, so such a moment is shown, and no deadline is kept in it.
    Timestamp;
    /// A moment of elapsed time, in milliseconds. Elapsed time never runs back: while the program runs it advances as
    /// time does, whatever becomes of the wall clock. A store begins it at the wall time of its first input, so its
    /// numbers look like those of a [`Timestamp`].
    Elapsed;
    /// A moment of the node's clock, in milliseconds since 1970-01-01 00:00 UTC.
    NodeTime;
}

/// One look at all clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Elapsed time.
    pub elapsed: Elapsed,
    /// Time of the wall clock.
    pub wall: Timestamp,
    /// Time of the node's clock; `None` as long as that clock was not measured.
    pub node: Option<NodeTime>,
    /// Time that was added without this process having run.
    pub leap: Leap,
}

impl Reading {
    /// A reading of a wall clock that was never wrong, beside a node whose clock was not measured.
    pub fn of_wall(wall: Timestamp) -> Self {
        let elapsed = Elapsed::from_millis(wall.millis());
        Self { elapsed, wall, node: None, leap: Leap::default() }
    }

    /// The evidence for a transaction that the node's clock, or a miner's, says came at a moment, in seconds since 1970:
    /// its age is the difference of two readings of clocks of the network, and is taken off our own time.
    pub fn first_seen(&self, sighting: Sighting, at_s: u64) -> FirstSeen {
        let node = self.node.unwrap_or(NodeTime::from_millis(self.wall.millis()));
        let age = node.since(NodeTime::from_secs(at_s));
        FirstSeen { sighting, at: self.elapsed.before(age), shown: self.wall.before(age) }
    }

    /// The moment up to which a wait that began at `since` has been watched by this process: now, less the time that
    /// was added since then without this process having run.
    pub fn watched(&self, since: Elapsed) -> Elapsed {
        if since < self.leap.until { self.elapsed.before(self.leap.by) } else { self.elapsed }
    }
}

/// Time that was added to elapsed time at once: for a stop of the program, whose length only clocks tell that can be
/// wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leap {
    /// Where elapsed time went on after the last addition.
    pub until: Elapsed,
    /// All that was added since this process began.
    pub by: Duration,
}

impl Timestamp {
    /// Reads RFC 3339, such as `2026-11-23T02:43:49.099Z`; finer than a millisecond is cut off. `None` for
    /// anything else, and before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = DateTime::parse_from_rfc3339(text).ok()?;
        let millis = u64::try_from(moment.timestamp_millis()).ok()?;
        (millis <= Self::MAX.0).then_some(Self(millis))
    }
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`: three digits always, the one form that every wallet's parser reads.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = i64::try_from(self.0).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
        match moment {
            Some(moment) => f.write_str(&moment.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => Err(fmt::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_always() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_401_829_099, "2026-11-23T02:43:49.099Z"),
            (1_893_456_000_000, "2030-01-01T00:00:00.000Z"),
            (Timestamp::MAX.0, "9999-12-31T23:59:59.999Z"),
        ];
        for (millis, text) in table {
            assert_eq!(Timestamp(millis).to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(Timestamp(millis)));
        }
        assert_eq!(Timestamp::from_millis(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.after(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp(5).before(Duration::MAX), Timestamp(0));
    }

    #[test]
    fn what_is_read() {
        let moment = Timestamp::parse("2026-11-23T02:43:49.099Z");
        assert_eq!(Timestamp::parse("2026-11-23T03:43:49.099999+01:00"), moment);
        for text in ["", "2026-11-23", "2026-11-23 02:43:49", "1969-12-31T23:59:59Z", "now"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn time_that_was_added_ends_no_wait() {
        let (at, hour) = (Elapsed::from_secs(10_000), Duration::from_secs(3600));
        let reading = Reading {
            elapsed: at.after(Duration::from_secs(5)),
            leap: Leap { until: at, by: hour },
            ..Reading::default()
        };
        assert_eq!(reading.watched(at), reading.elapsed, "the wait began after the leap");
        assert_eq!(reading.watched(at.before(hour)), reading.elapsed.before(hour));
    }
}
