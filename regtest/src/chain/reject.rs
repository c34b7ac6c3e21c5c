//! Why a transaction was refused, in the node's words.

use std::fmt;

/// A refusal as `sendrawtransaction` gives it; [`Reject::reason_for_test`] has the form of `testmempoolaccept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// JSON-RPC error code: -22, -25, -26 or -27 (-5 and -1 from the calls that take a block hash).
    pub code: i32,
    /// JSON-RPC error message.
    pub message: String,
    test: String,
}

impl Reject {
    /// P2P reject code of a broken consensus rule.
    const INVALID: u32 = 0x10;
    /// P2P reject code of a duplicate or a conflict.
    const DUPLICATE: u32 = 0x12;
    /// P2P reject code of a broken relay rule.
    const NONSTANDARD: u32 = 0x40;
    /// P2P reject code of a fee that is too low.
    const FEE: u32 = 0x42;
    /// Internal code of a fee that is too high.
    const HIGH_FEE: u32 = 0x100;

    /// An error that is not about the rules: plain code and text.
    pub fn plain(code: i32, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, test: message.clone(), message }
    }

    fn rule(number: u32, reason: &str, detail: Option<String>) -> Self {
        let detail = detail.map_or_else(String::new, |text| format!(", {text}"));
        Self {
            code: -26,
            message: format!("{reason}{detail} (code {number})"),
            test: format!("{number}: {reason}"),
        }
    }

    pub(super) fn undecodable() -> Self {
        Self::plain(-22, "TX decode failed")
    }

    pub(super) fn missing_inputs() -> Self {
        Self { code: -25, message: "Missing inputs".to_owned(), test: "missing-inputs".to_owned() }
    }

    pub(super) fn in_chain() -> Self {
        Self {
            code: -27,
            message: "transaction already in block chain".to_owned(),
            test: format!("{}: txn-already-known", Self::DUPLICATE),
        }
    }

    pub(super) fn invalid(reason: &str) -> Self {
        Self::rule(Self::INVALID, reason, None)
    }

    pub(super) fn invalid_because(reason: &str, detail: String) -> Self {
        Self::rule(Self::INVALID, reason, Some(detail))
    }

    pub(super) fn duplicate(reason: &str) -> Self {
        Self::rule(Self::DUPLICATE, reason, None)
    }

    /// Spends what a transaction of the mempool spends.
    pub(super) fn conflict() -> Self {
        Self::duplicate("txn-mempool-conflict")
    }

    pub(super) fn is_conflict(&self) -> bool {
        self.reason() == "txn-mempool-conflict"
    }

    pub(super) fn nonstandard(reason: &str) -> Self {
        Self::rule(Self::NONSTANDARD, reason, None)
    }

    pub(super) fn low_fee() -> Self {
        Self::rule(Self::FEE, "min relay fee not met", None)
    }

    pub(super) fn mempool_fee(fee: u64, least: u64) -> Self {
        Self::rule(Self::FEE, "mempool min fee not met", Some(format!("{fee} < {least}")))
    }

    pub(super) fn absurd_fee(fee: u64, limit: u64) -> Self {
        Self::rule(Self::HIGH_FEE, "absurdly-high-fee", Some(format!("{fee} > {limit}")))
    }

    /// The same reason under the code of a relay rule, as the node reports finality in the mempool.
    pub(super) fn into_nonstandard(self) -> Self {
        let from = format!("(code {})", Self::INVALID);
        let to = format!("(code {})", Self::NONSTANDARD);
        let reason = self.test.split_once(": ").map_or(self.test.as_str(), |(_, reason)| reason);
        Self {
            code: self.code,
            message: self.message.replace(&from, &to),
            test: format!("{}: {reason}", Self::NONSTANDARD),
        }
    }

    /// The reason as `testmempoolaccept` prints it: `16: …`, `18: …`, `missing-inputs`. An undecodable
    /// transaction (-22) is an error of that call too, not a reason.
    pub fn reason_for_test(&self) -> &str {
        &self.test
    }

    /// The bare reason without number and detail, as `submitblock` prints it.
    pub fn reason(&self) -> &str {
        self.test.split_once(": ").map_or(self.test.as_str(), |(_, reason)| reason)
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Reject {}
