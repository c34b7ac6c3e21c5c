//! Times.

use std::{fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};

/// A moment, in milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last moment that has a four-digit year: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// A moment from milliseconds since 1970, at most [`Timestamp::MAX`].
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(Self::MAX.0))
    }

    /// A moment from seconds since 1970.
    pub fn from_secs(secs: u64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// This moment and then some.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time from an earlier moment to this one; zero if it is no earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

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
    }

    #[test]
    fn what_is_read() {
        let moment = Timestamp::parse("2026-11-23T02:43:49.099Z");
        assert_eq!(Timestamp::parse("2026-11-23T03:43:49.099999+01:00"), moment);
        for text in ["", "2026-11-23", "2026-11-23 02:43:49", "1969-12-31T23:59:59Z", "now"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
