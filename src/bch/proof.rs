//! Double spend proofs: how well they protect a transaction.

use std::{fmt, str::FromStr};

use super::thousandths;

/// How well double spend proofs protect a transaction that is not in a block, from 0 to 1, in thousandths: the node's
/// `getdsproofscore`.
///
/// 1 says that a double spend of any of its inputs, or of its unconfirmed ancestors', would make a proof, and that there
/// is none; 0.25 that such a proof could be avoided; 0 that there is a proof, or that there cannot be one. It is no
/// probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProofScore(u16);

/// The text is no score. Whoever wrote it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a score: a number from 0 to 1, with at most three decimals, such as 0.25")]
pub struct ProofScoreError;

impl ProofScore {
    /// Every double spend would make a proof, and there is none.
    pub const FULL: Self = Self(1000);

    /// A score in thousandths; `None` above [`ProofScore::FULL`].
    pub fn from_thousandths(score: u32) -> Option<Self> {
        u16::try_from(score).ok().map(Self).filter(|score| *score <= Self::FULL)
    }

    /// Thousandths.
    pub fn thousandths(self) -> u32 {
        self.0.into()
    }
}

/// With at least one decimal and no needless ones: `1.0`, `0.25`, `0.0`.
impl fmt::Display for ProofScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        thousandths::write(self.0.into(), f)
    }
}

impl FromStr for ProofScore {
    type Err = ProofScoreError;

    /// Reads a plain decimal, as text or as JSON writes a number; no sign, no exponent.
    fn from_str(text: &str) -> Result<Self, ProofScoreError> {
        let score = thousandths::read(text).and_then(|score| u32::try_from(score).ok());
        score.and_then(Self::from_thousandths).ok_or(ProofScoreError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, thousandths, written) in [
            ("1", 1000, "1.0"),
            ("1.000", 1000, "1.0"),
            ("0.25", 250, "0.25"),
            ("0", 0, "0.0"),
            ("0.001", 1, "0.001"),
        ] {
            let score: ProofScore = text.parse().unwrap();
            assert_eq!((score.thousandths(), score.to_string().as_str()), (thousandths, written));
        }
        for text in ["", "1.001", "2", "-1", "1e0", ".5", "0.0001", "0,5", "NaN"] {
            assert_eq!(text.parse::<ProofScore>(), Err(ProofScoreError), "{text}");
        }
    }
}
