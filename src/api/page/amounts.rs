//! Amounts and times, as people read them.

use std::time::Duration;

use super::messages::{Messages, fill};
use crate::invoice::Timestamp;

/// An amount of coins. It is shown in groups of digits that are set apart by style alone, so that a number that is
/// copied has nothing in it but digits and a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    satoshis: u64,
}

impl Amount {
    /// So many satoshis.
    pub(super) fn new(satoshis: u64) -> Self {
        Self { satoshis }
    }

    /// In coins, with all eight decimals.
    pub(super) fn coins(&self) -> String {
        self.coin_groups().concat()
    }

    /// The same in groups: the last six digits are thousands of satoshis and satoshis.
    pub(super) fn coin_groups(&self) -> Vec<String> {
        let (whole, decimals) = (self.satoshis / 100_000_000, self.satoshis % 100_000_000);
        let mut groups = thousands(whole);
        if let Some(last) = groups.last_mut() {
            last.push_str(&format!(".{:02}", decimals / 1_000_000));
        }
        groups.push(format!("{:03}", decimals / 1000 % 1000));
        groups.push(format!("{:03}", decimals % 1000));
        groups
    }

    /// In satoshis, in groups of three.
    pub(super) fn satoshi_groups(&self) -> Vec<String> {
        thousands(self.satoshis)
    }

    /// Within a sentence.
    pub(super) fn in_words(&self, words: &Messages) -> String {
        format!("{} {} ({} {})", self.coins(), words.coin, self.satoshis, words.satoshis)
    }
}

/// A whole number in groups of three digits.
pub(super) fn thousands(number: u64) -> Vec<String> {
    let digits = number.to_string();
    let (first, rest) = digits.split_at((digits.len() - 1) % 3 + 1);
    let mut groups = vec![first.to_owned()];
    let mut rest = rest;
    while let Some((group, next)) = rest.split_at_checked(3) {
        groups.push(group.to_owned());
        rest = next;
    }
    groups
}

/// A moment, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// To the millisecond, as everywhere.
    pub(super) exact: String,
    /// To the second, in a form that is the same in every language.
    pub(super) shown: String,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        let exact = at.to_string();
        let shown = match exact.split_once('T') {
            Some((date, time)) => format!("{date} {} UTC", time.split('.').next().unwrap_or_default()),
            None => exact.clone(),
        };
        Self { exact, shown }
    }
}

/// The time that is left, rounded down: nobody shall count on a second that is not there.
pub(super) fn time_left(left: Duration, words: &Messages) -> String {
    let minutes = left.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let template = match (days, hours, minutes) {
        (0, 0, 0) => &words.moment_left,
        (0, 0, _) => &words.minutes_left,
        (0, _, _) => &words.hours_left,
        _ => &words.days_left,
    };
    fill(
        template,
        &[("days", &days.to_string()), ("hours", &hours.to_string()), ("minutes", &minutes.to_string())],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::page::messages::Language;

    #[test]
    fn groups_of_digits() {
        let table = [
            (0, "0.00 000 000", "0"),
            (1, "0.00 000 001", "1"),
            (1000, "0.00 001 000", "1 000"),
            (1_234_567, "0.01 234 567", "1 234 567"),
            (123_456_789, "1.23 456 789", "123 456 789"),
            (crate::bch::MAX_MONEY, "21 000 000.00 000 000", "2 100 000 000 000 000"),
        ];
        for (satoshis, coins, whole) in table {
            let amount = Amount::new(satoshis);
            assert_eq!(amount.coin_groups().join(" "), coins);
            assert_eq!(amount.satoshi_groups().join(" "), whole);
            assert_eq!(amount.coins(), coins.replace(' ', ""), "nothing else is copied");
        }
        assert_eq!(thousands(u64::MAX).join(" "), "18 446 744 073 709 551 615");
        assert_eq!(
            Amount::new(1500).in_words(Messages::of(Language::English)),
            "0.00001500 BCH (1500 satoshis)"
        );
    }

    #[test]
    fn moments() {
        let moment = Moment::from(Timestamp::from_millis(1_795_401_829_099));
        assert_eq!(moment.exact, "2026-11-23T02:43:49.099Z");
        assert_eq!(moment.shown, "2026-11-23 02:43:49 UTC");
    }

    #[test]
    fn what_is_left() {
        let table = [
            (0, "less than a minute"),
            (59, "less than a minute"),
            (60, "1 min"),
            (1799, "29 min"),
            (3600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 d 0 h"),
            (30 * 86_400 + 3600, "30 d 1 h"),
        ];
        for (seconds, text) in table {
            assert_eq!(time_left(Duration::from_secs(seconds), Messages::of(Language::English)), text);
        }
    }
}
