//! What a merchant asks for.

use std::fmt;

use super::{InvoiceId, Order, Timestamp};
use crate::bch::{Address, FeeRate, ScriptBuf, ScriptHash, Token};

/// The most confirmations an invoice can ask for.
pub const MAX_CONFIRMATIONS_REQUIRED: u8 = 100;

/// The name under which API keys are held: the owner of the invoices made with them.
///
/// Where creation is open to all, invoices made without a key belong to [`Merchant::anyone`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Merchant(String);

impl Merchant {
    /// A named merchant.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The owner of invoices that were made without a key.
    pub fn anyone() -> Self {
        Self(String::new())
    }

    /// Whether it is nobody in particular.
    pub fn is_anyone(&self) -> bool {
        self.0.is_empty()
    }

    /// The name; empty for [`Merchant::anyone`].
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether this merchant may manage what belongs to `owner`: its own, and what belongs to nobody.
    pub fn manages(&self, owner: &Self) -> bool {
        !self.is_anyone() && (owner.is_anyone() || self == owner)
    }
}

impl fmt::Display for Merchant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_anyone() { "anyone" } else { &self.0 })
    }
}

/// One thing that must be paid: an amount, perhaps with a token, to a locking script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredOutput {
    /// The address as it is shown: cashaddr with its prefix, in the type it was given.
    pub address: String,
    /// Its locking script.
    pub script: ScriptBuf,
    /// The amount, in satoshis, 1 to [`crate::bch::MAX_MONEY`].
    pub satoshis: u64,
    /// The token asked for on the same output.
    pub token: Option<Token>,
    /// The merchant's words for it.
    pub description: Option<String>,
}

impl RequiredOutput {
    /// What an address, an amount and perhaps a token ask for.
    pub fn new(address: &Address, satoshis: u64, token: Option<Token>, description: Option<String>) -> Self {
        Self { address: address.to_string(), script: address.script().clone(), satoshis, token, description }
    }

    /// The hash by which the index knows its script.
    pub fn script_hash(&self) -> ScriptHash {
        ScriptHash::of(&self.script)
    }
}

/// An invoice before it is registered: checked, and not yet on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What must be paid, at least one.
    pub outputs: Vec<RequiredOutput>,
    /// The merchant's words to the payer.
    pub memo: Option<String>,
    /// Any JSON text, the merchant's own business.
    pub merchant_data: Option<String>,
    /// The last moment to pay.
    pub expires: Timestamp,
    /// The least fee rate of a submitted transaction.
    pub fee_rate: FeeRate,
    /// 0 to [`MAX_CONFIRMATIONS_REQUIRED`].
    pub confirmations_required: u8,
}

/// What a merchant asked for. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Its name.
    pub id: InvoiceId,
    /// Its owner.
    pub merchant: Merchant,
    /// What must be paid.
    pub outputs: Vec<RequiredOutput>,
    /// The merchant's words to the payer.
    pub memo: Option<String>,
    /// Any JSON text, the merchant's own business.
    pub merchant_data: Option<String>,
    /// When it was registered.
    pub created: Timestamp,
    /// The last moment to pay.
    pub expires: Timestamp,
    /// The least fee rate of a submitted transaction.
    pub fee_rate: FeeRate,
    /// 0 to [`MAX_CONFIRMATIONS_REQUIRED`].
    pub confirmations_required: u8,
    /// The input that registered it: what came before does not pay it.
    pub registered: Order,
}

impl Invoice {
    /// The draft as it is registered.
    pub fn register(
        draft: Draft,
        id: InvoiceId,
        merchant: Merchant,
        created: Timestamp,
        registered: Order,
    ) -> Self {
        let Draft { outputs, memo, merchant_data, expires, fee_rate, confirmations_required } = draft;
        Self {
            id,
            merchant,
            outputs,
            memo,
            merchant_data,
            created,
            expires,
            fee_rate,
            confirmations_required,
            registered,
        }
    }

    /// The sum of what must be paid, in satoshis. Creation holds it under [`crate::bch::MAX_MONEY`].
    pub fn required_satoshis(&self) -> u64 {
        self.outputs.iter().fold(0, |sum, output| sum.saturating_add(output.satoshis))
    }
}
