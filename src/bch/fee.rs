//! Fee rates, exact.

use std::{fmt, str::FromStr};

use super::thousandths;

/// A fee rate in thousandths of a satoshi per byte.
///
/// Wallets and people write satoshis per byte with a fraction (`1.1`); three digits of it are kept exactly, so no
/// float is ever asked whether a fee is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeeRate(u64);

/// The text is no fee rate. Whoever wrote it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fee rate: satoshis per byte from 0 to 1000, with at most three decimals, such as 1.0")]
pub struct FeeRateError;

impl FeeRate {
    /// The highest rate that can be asked: a thousand satoshis a byte.
    pub const MAX: Self = Self(1_000_000);

    /// No fee at all.
    pub const ZERO: Self = Self(0);

    /// A rate in thousandths of a satoshi per byte; `None` above [`FeeRate::MAX`].
    pub fn from_millisatoshis(rate: u64) -> Option<Self> {
        (rate <= Self::MAX.0).then_some(Self(rate))
    }

    /// Thousandths of a satoshi per byte.
    pub fn millisatoshis(self) -> u64 {
        self.0
    }

    /// The fee for a size in bytes, in satoshis, rounded up.
    pub fn fee(self, bytes: usize) -> u64 {
        self.0.saturating_mul(bytes as u64).div_ceil(1000)
    }

    /// Whether a fee is enough for a size in bytes. One satoshi of tolerance: wallets that round down at the last
    /// byte were refused by other servers over nothing.
    pub fn is_paid_by(self, fee: u64, bytes: usize) -> bool {
        fee.saturating_add(1) >= self.fee(bytes)
    }
}

impl Default for FeeRate {
    /// One satoshi a byte: what the node relays, and what every wallet pays.
    fn default() -> Self {
        Self(1000)
    }
}

/// Satoshis per byte, with at least one decimal and no needless ones: `1.0`, `1.1`, `0.125`.
impl fmt::Display for FeeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        thousandths::write(self.0, f)
    }
}

impl FromStr for FeeRate {
    type Err = FeeRateError;

    /// Reads a plain decimal, as text or as JSON and TOML write a number; no sign, no exponent.
    fn from_str(text: &str) -> Result<Self, FeeRateError> {
        thousandths::read(text).and_then(Self::from_millisatoshis).ok_or(FeeRateError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let table = [
            ("1", 1000, "1.0"),
            ("1.0", 1000, "1.0"),
            ("1.000000", 1000, "1.0"),
            ("1.1", 1100, "1.1"),
            ("0.125", 125, "0.125"),
            ("0", 0, "0.0"),
            ("1000", 1_000_000, "1000.0"),
        ];
        for (text, rate, written) in table {
            let read: FeeRate = text.parse().unwrap();
            assert_eq!((read.millisatoshis(), read.to_string().as_str()), (rate, written), "{text}");
        }
        for text in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "1.0001", "1000.001", "99999", "1,0", " 1", "NaN"]
        {
            assert_eq!(text.parse::<FeeRate>(), Err(FeeRateError), "{text:?}");
        }
    }

    #[test]
    fn one_satoshi_of_tolerance() {
        let rate: FeeRate = "1.1".parse().unwrap();
        assert_eq!(rate.fee(219), 241);
        assert!(rate.is_paid_by(240, 219));
        assert!(!rate.is_paid_by(239, 219));
        assert!(FeeRate::default().is_paid_by(0, 1));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(rate in 0u64..=1_000_000) {
            let rate = FeeRate::from_millisatoshis(rate).unwrap();
            proptest::prop_assert_eq!(rate.to_string().parse::<FeeRate>(), Ok(rate));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<FeeRate>();
        }
    }
}
