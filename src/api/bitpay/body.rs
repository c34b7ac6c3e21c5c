//! What wallets send: read leniently where wallets differ, and exactly where money is.

use serde::Deserialize;
use serde_json::Value;

use super::document::BCH;
use crate::api::{reasons::Reason, wallet::WalletFault};

/// v2: how a wallet wants to pay. Some send the whole option back.
#[derive(Debug, Deserialize)]
pub(in crate::api) struct Selection {
    chain: Option<String>,
    currency: Option<String>,
}

/// A transaction as a wallet sent it, to be sent back to the letter.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::api) struct Submitted {
    /// Hexadecimal digits, or what the wallet takes for them.
    pub(in crate::api) hex: String,
    /// The size it will have when it is signed, in bytes, by the wallet's word. Some wallets send the unsigned size.
    pub(in crate::api) weighted_size: Option<u64>,
}

/// v1: a transaction to be looked at.
#[derive(Debug, Deserialize)]
pub(in crate::api) struct Proposal {
    currency: Option<String>,
    #[serde(rename = "unsignedTransaction")]
    unsigned_transaction: Value,
    #[serde(rename = "weightedSize", default)]
    weighted_size: Value,
}

/// v1 and v2: a transaction to be taken; in v2 also one to be looked at.
#[derive(Debug)]
pub(in crate::api) struct Payment {
    pub(in crate::api) transaction: Submitted,
    /// Whether the transaction stood in the list as in v1: as a text.
    pub(in crate::api) is_v1: bool,
}

#[derive(Debug, Deserialize)]
struct PaymentBody {
    chain: Option<String>,
    currency: Option<String>,
    transactions: Vec<Value>,
}

impl Selection {
    /// Reads a selection of the one thing that can be selected.
    ///
    /// # Errors
    ///
    /// [`WalletFault`] if it is none, or selects another chain.
    pub(in crate::api) fn read(body: &[u8]) -> Result<(), WalletFault> {
        let Self { chain, currency } = parse(body)?;
        match chain.or(currency) {
            Some(chain) => must_be_ours(&chain),
            None => Err(WalletFault::bad("no_chain", "The request must name a chain: BCH")),
        }
    }
}

impl Proposal {
    /// Reads a transaction to be looked at.
    ///
    /// # Errors
    ///
    /// [`WalletFault`] if it is none, or for another currency.
    pub(in crate::api) fn read(body: &[u8]) -> Result<Submitted, WalletFault> {
        let Self { currency, unsigned_transaction, weighted_size } = parse(body)?;
        currency.as_deref().map_or(Ok(()), must_be_ours)?;
        let Value::String(hex) = unsigned_transaction else { return Err(Reason::not_hex().into()) };
        Ok(Submitted { hex, weighted_size: weighted_size.as_u64() })
    }
}

impl Payment {
    /// Reads a payment. Whether it is of version 1 or 2 is seen from the transaction alone: some wallets and servers
    /// between send no version.
    ///
    /// # Errors
    ///
    /// [`WalletFault`] if it is none, for another chain, or has not exactly one transaction.
    pub(in crate::api) fn read(body: &[u8]) -> Result<Self, WalletFault> {
        let PaymentBody { chain, currency, transactions } = parse(body)?;
        // In v2 the currency can be that of a token on the chain.
        chain.or(currency).as_deref().map_or(Ok(()), must_be_ours)?;
        let [transaction] = <[Value; 1]>::try_from(transactions).map_err(|_| {
            WalletFault::bad("not_one_transaction", "Request must include exactly one (1) transaction")
        })?;
        let is_v1 = transaction.is_string();
        let weighted_size = transaction.get("weightedSize").and_then(Value::as_u64);
        let hex = if let Value::Object(mut fields) = transaction {
            fields.remove("tx").unwrap_or_default()
        } else {
            transaction
        };
        let Value::String(hex) = hex else { return Err(Reason::not_hex().into()) };
        Ok(Self { transaction: Submitted { hex, weighted_size }, is_v1 })
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, WalletFault> {
    serde_json::from_slice(body).map_err(|error| {
        tracing::debug!(%error, "a body of JPP could not be read");
        WalletFault::unreadable()
    })
}

fn must_be_ours(chain: &str) -> Result<(), WalletFault> {
    if chain.eq_ignore_ascii_case(BCH) {
        return Ok(());
    }
    // The wallet's own word is repeated only if it could be one.
    let named =
        chain.len() <= 8 && !chain.is_empty() && chain.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let named = if named { chain.to_ascii_uppercase() } else { "that currency".to_owned() };
    let text = format!("This invoice is priced in BCH, not {named}. Please try with a BCH wallet instead");
    Err(WalletFault::bad("other_chain", text))
}
