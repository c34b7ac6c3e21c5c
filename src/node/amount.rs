//! Amounts in the node's JSON: decimal numbers, read from their digits.
//!
//! `0.00001000` is a JSON number, and every JSON library would read it as a float. Money is never a float here,
//! so the text itself is taken.

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

/// How many satoshis are one coin.
const COIN: u64 = 100_000_000;

/// How many digits follow the point.
const PLACES: usize = 8;

/// An amount of satoshis that stands as decimal coins in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Satoshis(pub(super) u64);

impl Satoshis {
    /// Reads digits, at most one point, and at most eight digits after it. No sign, no exponent.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > PLACES {
            return None;
        }
        let whole: u64 = whole.parse().ok()?;
        let scale = 10_u64.checked_pow(u32::try_from(PLACES.checked_sub(fraction.len())?).ok()?)?;
        let fraction: u64 = fraction.parse().ok()?;
        whole.checked_mul(COIN)?.checked_add(fraction.checked_mul(scale)?).map(Self)
    }
}

impl<'de> Deserialize<'de> for Satoshis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(text.get()).ok_or_else(|| de::Error::custom("not an amount with eight decimals"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_satoshis_exactly() {
        let table = [
            ("0.00001000", 1_000),
            ("0.00000000", 0),
            ("0.00000001", 1),
            ("49.99899000", 4_999_899_000),
            // As floats these two would be one satoshi off after multiplication and truncation.
            ("0.29000000", 29_000_000),
            ("1.15000000", 115_000_000),
            ("20999999.97690000", 2_099_999_997_690_000),
            ("21000000.00000000", 2_100_000_000_000_000),
            ("5", 500_000_000),
            ("0.1", 10_000_000),
        ];
        for (text, satoshis) in table {
            assert_eq!(Satoshis::parse(text), Some(Satoshis(satoshis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let table = [
            "",
            ".",
            "1.",
            ".5",
            "-0.00001000",
            "+1",
            "1e-5",
            "1E5",
            "0.000000001",
            "0.0000000010",
            "1.2.3",
            "\"1\"",
            " 1",
            "null",
            "184467440738.00000000",
            "99999999999999999999.0",
        ];
        for text in table {
            assert_eq!(Satoshis::parse(text), None, "{text}");
        }
    }

    #[test]
    fn inside_json_the_text_is_taken() {
        #[derive(Deserialize)]
        struct Output {
            value: Satoshis,
        }
        let output: Output = serde_json::from_str(r#"{"value": 49.99899000 }"#).unwrap();
        assert_eq!(output.value, Satoshis(4_999_899_000));
        assert!(serde_json::from_str::<Output>(r#"{"value": "1.0"}"#).is_err());
        assert!(serde_json::from_str::<Output>(r#"{"value": 1e-05}"#).is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_amount_survives_the_nodes_format(satoshis: u64) {
            let text = format!("{}.{:08}", satoshis / COIN, satoshis % COIN);
            proptest::prop_assert_eq!(Satoshis::parse(&text), Some(Satoshis(satoshis)));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = Satoshis::parse(&text);
        }
    }
}
