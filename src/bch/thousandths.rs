//! Decimals with at most three digits after the point, exactly: rates and scores that people write with a fraction.

use std::fmt;

/// Thousandths of a plain decimal, as text or as JSON and TOML write a number; no sign, no exponent, at most four digits
/// before the point and three after it (and zeros). `None` for anything else.
pub(super) fn read(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = match decimals.trim_end_matches('0') {
        "" if digits(decimals) => "0",
        kept => kept,
    };
    if !digits(whole) || !digits(decimals) || whole.len() > 4 || decimals.len() > 3 {
        return None;
    }
    let number = |part: &str| part.parse::<u64>().ok();
    Some(number(whole)? * 1000 + number(&format!("{decimals:0<3}"))?)
}

/// Writes them with at least one decimal and no needless ones: `1.0`, `1.1`, `0.125`.
pub(super) fn write(thousandths: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let decimals = format!("{:03}", thousandths % 1000);
    let kept = decimals.trim_end_matches('0');
    write!(f, "{}.{}", thousandths / 1000, if kept.is_empty() { "0" } else { kept })
}
