//! What wallets send: read leniently where wallets differ, and exactly where money is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::document::BCH;
use crate::api::{number::whole_number, reasons::Reason, wallet::WalletFault};

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
pub(in crate::api) struct Proposal<'a> {
    currency: Option<String>,
    #[serde(rename = "unsignedTransaction")]
    unsigned_transaction: Value,
    #[serde(rename = "weightedSize", borrow)]
    weighted_size: Option<&'a RawValue>,
}

/// v1 and v2: a transaction to be taken; in v2 also one to be looked at.
#[derive(Debug)]
pub(in crate::api) struct Payment {
    pub(in crate::api) transaction: Submitted,
    /// Whether the transaction stood in the list as in v1: as a text.
    pub(in crate::api) is_v1: bool,
}

#[derive(Debug, Deserialize)]
struct PaymentBody<'a> {
    chain: Option<String>,
    currency: Option<String>,
    #[serde(borrow)]
    transactions: Vec<&'a RawValue>,
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

impl Proposal<'_> {
    /// Reads a transaction to be looked at.
    ///
    /// # Errors
    ///
    /// [`WalletFault`] if it is none, or for another currency.
    pub(in crate::api) fn read(body: &[u8]) -> Result<Submitted, WalletFault> {
        let Proposal { currency, unsigned_transaction, weighted_size } = parse(body)?;
        currency.as_deref().map_or(Ok(()), must_be_ours)?;
        let Value::String(hex) = unsigned_transaction else { return Err(Reason::not_hex().into()) };
        Ok(Submitted { hex, weighted_size: weighted_size.and_then(size) })
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
        let [transaction] = transactions.as_slice() else {
            let text = "Request must include exactly one (1) transaction";
            return Err(WalletFault::bad("not_one_transaction", text));
        };
        // v1 has the transaction as a text, v2 in an object.
        if is_text(transaction) {
            let hex = text(transaction)?;
            return Ok(Self { transaction: Submitted { hex, weighted_size: None }, is_v1: true });
        }
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_str(transaction.get()).map_err(|_| Reason::not_hex())?;
        let hex = text(fields.get("tx").ok_or_else(Reason::not_hex)?)?;
        let weighted_size = fields.get("weightedSize").and_then(|json| size(json));
        Ok(Self { transaction: Submitted { hex, weighted_size }, is_v1: false })
    }
}

fn is_text(json: &RawValue) -> bool {
    json.get().starts_with('"')
}

/// The text of a transaction.
fn text(json: &RawValue) -> Result<String, WalletFault> {
    if !is_text(json) {
        return Err(Reason::not_hex().into());
    }
    // A text that is none in Unicode.
    serde_json::from_str(json.get()).map_err(|_| WalletFault::unreadable())
}

/// A size in any spelling of a whole number. What is none of these is as good as no size.
fn size(json: &RawValue) -> Option<u64> {
    whole_number(json.get())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_every_spelling() {
        let table = [
            ("219", Some(219)),
            ("2.19E2", Some(219)),
            ("219.0", Some(219)),
            ("21900e-2", Some(219)),
            ("219.5", None),
            ("-1", None),
            ("1e30", None),
            ("null", None),
            ("\"219\"", None),
            ("[]", None),
        ];
        for (json, expected) in table {
            let v1 = format!(r#"{{"currency":"BCH","unsignedTransaction":"00","weightedSize":{json}}}"#);
            assert_eq!(Proposal::read(v1.as_bytes()).unwrap().weighted_size, expected, "{json}");
            let v2 = format!(r#"{{"chain":"BCH","transactions":[{{"weightedSize":{json},"tx":"00"}}]}}"#);
            let payment = Payment::read(v2.as_bytes()).unwrap();
            assert_eq!(payment.transaction, Submitted { hex: "00".to_owned(), weighted_size: expected });
            assert!(!payment.is_v1);
        }
    }

    #[test]
    fn forms_of_a_transaction() {
        let read = |transaction: &str| {
            Payment::read(format!(r#"{{"chain":"BCH","transactions":[{transaction}]}}"#).as_bytes())
        };
        let is_v1 = |transaction: &str| read(transaction).map(|payment| payment.is_v1).ok();
        assert_eq!(is_v1("\"00\""), Some(true));
        assert_eq!(is_v1(r#"{"tx":"01","tx":"00"}"#), Some(false));
        for none in ["{}", "[]", "7", "null", r#"{"tx":7}"#, r#"{"tx":null}"#, "", r#""00","00""#] {
            assert_eq!(is_v1(none), None, "{none}");
        }
    }
}
