//! Numbers of JSON, to the last digit: no float is involved.
//!
//! Java writes a double of 12345678 as `1.2345678E7`, other clients write `1e3` or `1000.0`, and the original takes all
//! of them. Each is exactly one decimal number, which [`Decimal`] holds, and an integer wherever nothing is left behind
//! the point.

/// A decimal number: `digits` times ten to the power of `exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    is_negative: bool,
    /// Without zeros at either end; empty for zero.
    digits: String,
    /// Held within ±[`MOST_EXPONENT`], beyond which no field has a bound.
    exponent: i64,
}

/// The largest exponent that is told from larger ones.
const MOST_EXPONENT: i64 = 1 << 40;

/// The longest plain decimal that is written, in digits: no field takes a longer one.
const MOST_PLAIN: i64 = 64;

impl Decimal {
    /// Reads `[+-]digits[.digits][e[+-]digits]`; the point may stand without digits after it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (text, 0),
        };
        let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let dropped = i64::try_from(all.len().checked_sub(digits.len())?).ok()?;
        let digits = digits.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits, exponent: 0 });
        }
        let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(dropped)?;
        Some(Self { is_negative: mantissa.starts_with('-'), digits, exponent })
    }

    /// The number as an integer, if it is one. A number beyond an `i128` becomes the largest or the least of these but
    /// one: it stays beyond every bound that a field has.
    pub(super) fn integer(&self) -> Option<i128> {
        if self.exponent < 0 {
            return None;
        }
        let power = u32::try_from(self.exponent).ok().and_then(|exponent| 10i128.checked_pow(exponent));
        let digits = if self.digits.is_empty() { Ok(0) } else { self.digits.parse::<i128>() };
        let size = match (digits, power) {
            (Ok(digits), Some(power)) => digits.checked_mul(power).unwrap_or(i128::MAX),
            _ => i128::MAX,
        };
        Some(if self.is_negative { -size } else { size })
    }

    /// The number without an exponent, such as `0.001`; `None` where that is longer than any field takes.
    pub(super) fn plain(&self) -> Option<String> {
        let length = i64::try_from(self.digits.len()).ok()?;
        if length > MOST_PLAIN || self.exponent.abs() > MOST_PLAIN {
            return None;
        }
        let sign = if self.is_negative { "-" } else { "" };
        let zeros = |number: i64| "0".repeat(usize::try_from(number).unwrap_or(0));
        let point = length.checked_add(self.exponent)?;
        Some(match usize::try_from(point) {
            _ if self.digits.is_empty() => "0".to_owned(),
            _ if self.exponent >= 0 => format!("{sign}{}{}", self.digits, zeros(self.exponent)),
            Ok(point) if point > 0 => {
                let (whole, fraction) = self.digits.split_at(point);
                format!("{sign}{whole}.{fraction}")
            }
            Ok(_) | Err(_) => format!("{sign}0.{}{}", zeros(point.saturating_neg()), self.digits),
        })
    }

    /// The one text that every spelling of the number shares.
    pub(super) fn canonical(&self) -> String {
        if self.digits.is_empty() {
            return "0".to_owned();
        }
        let sign = if self.is_negative { "-" } else { "" };
        format!("{sign}{}e{}", self.digits, self.exponent)
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(MOST_EXPONENT).min(MOST_EXPONENT);
    Some(if text.starts_with('-') { -size } else { size })
}

/// An integer out of a number of JSON, `None` for a number that is none or is negative or beyond 2^64 - 1, and for what
/// is no number.
pub(super) fn whole_number(json: &str) -> Option<u64> {
    u64::try_from(Decimal::parse(json)?.integer()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings() {
        // (text, integer, plain)
        let table = [
            ("1.2345678E7", Some(12_345_678), Some("12345678")),
            ("1e3", Some(1000), Some("1000")),
            ("1E+3", Some(1000), Some("1000")),
            ("1000.0", Some(1000), Some("1000")),
            ("1000.", Some(1000), Some("1000")),
            ("1000e-3", Some(1), Some("1")),
            ("0.001e3", Some(1), Some("1")),
            ("-2.50e1", Some(-25), Some("-25")),
            ("+7", Some(7), Some("7")),
            ("-0", Some(0), Some("0")),
            ("0e99999999999999999999", Some(0), Some("0")),
            ("0.0", Some(0), Some("0")),
            ("9223372036854775807", Some(9_223_372_036_854_775_807), Some("9223372036854775807")),
            ("9.223372036854775807E18", Some(9_223_372_036_854_775_807), Some("9223372036854775807")),
            ("1.5", None, Some("1.5")),
            ("12345678.9E0", None, Some("12345678.9")),
            ("1e-3", None, Some("0.001")),
            ("1.0E-2", None, Some("0.01")),
            ("1.23e1", None, Some("12.3")),
            ("1e40", Some(i128::MAX), Some("10000000000000000000000000000000000000000")),
            ("-1e400", Some(-i128::MAX), None),
            ("1e99999999999999999999", Some(i128::MAX), None),
            ("1e-99999999999999999999", None, None),
        ];
        for (text, integer, plain) in table {
            let decimal = Decimal::parse(text).unwrap();
            assert_eq!(decimal.integer(), integer, "{text}");
            assert_eq!(decimal.plain().as_deref(), plain, "{text}");
        }
        for text in ["", "-", ".5", "e3", "1e", "1e+", "1.2.3", "0x10", "1_000", "1e3.0", "NaN", "--1", "1 "]
        {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
    }

    /// The spellings of an integer: the point moved to the left or to the right, zeros added at both ends.
    fn spelled(number: u64, places: i32, zeros: usize, capital: bool) -> String {
        let e = if capital { 'E' } else { 'e' };
        let digits = format!("{}{number}", "0".repeat(zeros));
        match places {
            1.. => {
                let places = usize::try_from(places).unwrap();
                let padded = format!("{digits:0>width$}", width = places + 1);
                let (whole, fraction) = padded.split_at(padded.len() - places);
                format!("{whole}.{fraction}{}{e}{places}", "0".repeat(zeros))
            }
            0 => format!("{digits}.{}", "0".repeat(zeros)),
            _ => format!("{digits}{}{e}{places}", "0".repeat(usize::try_from(-places).unwrap())),
        }
    }

    proptest! {
        #[test]
        fn every_spelling_of_an_integer_is_that_integer(
            number: u64, places in -30i32..30, zeros in 0usize..4, capital: bool,
        ) {
            let text = spelled(number, places, zeros, capital);
            let decimal = Decimal::parse(&text).unwrap();
            prop_assert_eq!(decimal.integer(), Some(i128::from(number)), "{}", text);
            prop_assert_eq!(whole_number(&text), Some(number));
            prop_assert_eq!(decimal.canonical(), Decimal::parse(&number.to_string()).unwrap().canonical());
            prop_assert_eq!(decimal.plain(), Some(number.to_string()));
        }

        #[test]
        fn a_fraction_is_never_an_integer(whole: u64, fraction in "[0-9]{0,8}[1-9]", places in 0usize..9) {
            let moved = places.min(fraction.len() - 1);
            let text = format!("{whole}.{fraction}e{moved}");
            let decimal = Decimal::parse(&text).unwrap();
            prop_assert_eq!(decimal.integer(), None);
            // The plain form is the same number.
            prop_assert_eq!(Decimal::parse(&decimal.plain().unwrap()), Some(decimal));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            if let Some(decimal) = Decimal::parse(&text) {
                let _ = (decimal.integer(), decimal.plain());
                prop_assert_eq!(Decimal::parse(&decimal.canonical()), Some(decimal));
            }
        }
    }
}
