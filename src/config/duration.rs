//! Lengths of time as people write them: `30s`, `30m`, `7d`.

use std::time::Duration;

/// The units, the longest first, with their milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a whole number with its unit; `None` for anything else. No fractions, no bare numbers: `30` has been
/// read as seconds by one and as minutes by another.
pub(super) fn read(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*milliseconds).map(Duration::from_millis)
}

/// Writes a length of time in the longest unit that keeps it whole. Below a millisecond nothing is kept.
pub(super) fn write(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let (unit, length) = UNITS
        .into_iter()
        .find(|(_, length)| milliseconds.is_multiple_of(u128::from(*length)))
        .unwrap_or(("ms", 1));
    format!("{}{unit}", milliseconds / u128::from(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_writes() {
        let table = [
            ("30m", 1_800_000, "30m"),
            ("7d", 604_800_000, "7d"),
            ("30s", 30_000, "30s"),
            ("250ms", 250, "250ms"),
            ("1000ms", 1000, "1s"),
            ("120s", 120_000, "2m"),
            ("24h", 86_400_000, "1d"),
            ("0s", 0, "0s"),
            ("0d", 0, "0s"),
        ];
        for (text, milliseconds, written) in table {
            assert_eq!(read(text), Some(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(write(Duration::from_millis(milliseconds)), written);
        }
        for text in
            ["", "30", "m", "1.5h", "-1s", "+1s", "1 s", " 1s", "1S", "1w", "1h30m", "99999999999999999999s"]
        {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read(&format!("{}d", u64::MAX)), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(milliseconds in any::<u64>()) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(read(&write(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = read(&text);
        }

        #[test]
        fn a_fraction_is_never_taken(whole in any::<u32>(), part in any::<u32>(), unit in "(d|h|m|s|ms)") {
            let fraction = format!("{whole}.{part}{unit}");
            prop_assert_eq!(read(&fraction), None);
        }
    }
}
