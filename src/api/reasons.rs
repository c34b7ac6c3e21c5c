//! The words for every way in which a submission can fail: one table for all dialects.
//!
//! A dialect decides how it wraps a [`Reason`]; the text and whose fault it is are the same everywhere. Some texts are
//! BitPay's, to the letter, because wallets look for parts of them.

use std::time::Duration;

use crate::{
    bch::{Token, TransactionError},
    invoice::{Mismatch, RequiredOutput},
    ledger::Refusal,
    submit::{FamilyFault, InputFault, MOST_BYTES, MOST_TRANSACTIONS, SubmitError, TokenFault},
};

/// What kind of failure it is, from which a dialect has its status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// There is no such invoice.
    NotFound,
    /// The submission is refused.
    Refused,
    /// It is refused because of what it spends, for which some dialects have a status code of their own.
    Inputs,
    /// The client asked for more than its share: the same request after this time is right.
    Throttled(Duration),
    /// What we need is away: the same request later is right.
    Away {
        /// In how many seconds.
        retry_after: u64,
    },
}

/// Why a submission failed, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// What kind of failure it is.
    pub(super) class: Class,
    /// A word for programs, which never changes.
    pub(super) code: &'static str,
    /// The text for the payer.
    pub(super) text: String,
}

impl Reason {
    fn refused(code: &'static str, text: impl Into<String>) -> Self {
        Self { class: Class::Refused, code, text: text.into() }
    }

    fn away(retry_after: u64, code: &'static str, text: &str) -> Self {
        Self { class: Class::Away { retry_after }, code, text: text.to_owned() }
    }

    /// The transaction is no hexadecimal text.
    pub(super) fn not_hex() -> Self {
        Self::refused(
            "invalid_format",
            "Your transaction was an in an invalid format, it must be a hexadecimal string",
        )
    }

    /// There is no such invoice.
    pub(super) fn not_found() -> Self {
        Self {
            class: Class::NotFound,
            code: "not_found",
            text: "This invoice was not found or has been archived".to_owned(),
        }
    }

    /// The client asked for more than its share.
    pub(super) fn throttled(wait: Duration) -> Self {
        let text = "Too many requests. Please try again in a moment".to_owned();
        Self { class: Class::Throttled(wait), code: "throttled", text }
    }

    /// Too much is under way.
    pub(super) fn busy() -> Self {
        Self::away(2, "busy", "Too many payments are under way. Please try again in a moment")
    }

    /// The store, or the way to it, is closed.
    pub(super) fn store_away() -> Self {
        Self::away(5, "unavailable", "The store is not available. Please try again in a moment")
    }
}

impl From<TransactionError> for Reason {
    fn from(error: TransactionError) -> Self {
        let text = format!(
            "We were unable to parse the transaction you sent. Please try again or contact your wallet provider \
             ({error})"
        );
        Self::refused("invalid_transaction", text)
    }
}

impl From<&SubmitError> for Reason {
    fn from(error: &SubmitError) -> Self {
        match error {
            SubmitError::Refused(refusal) => refusal.into(),
            SubmitError::Family(fault) => (*fault).into(),
            SubmitError::Inputs(fault) => (*fault).into(),
            SubmitError::Tokens(fault) => (*fault).into(),
            SubmitError::Fee { paid, required, rate, bytes } => Self::refused(
                "fee_too_low",
                format!(
                    "Transaction fee ({} for {bytes} bytes) is below the current minimum threshold ({} at {rate} \
                     satoshis per byte)",
                    coins(*paid),
                    coins(*required)
                ),
            ),
            SubmitError::RefusedByNode(words) => of_node(words),
            SubmitError::NodeAway => Self::away(
                2,
                "node_away",
                "The Bitcoin Cash node does not answer at the moment. Please send the same transaction again",
            ),
            SubmitError::Busy => Self::busy(),
            SubmitError::Unavailable => Self::store_away(),
        }
    }
}

impl From<&Refusal> for Reason {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NoSuchInvoice => Self::not_found(),
            Refusal::Older => Self::refused("older", "this transaction is older than the invoice"),
            Refusal::CountedElsewhere => {
                Self::refused("counted_elsewhere", "this transaction was counted for another invoice")
            }
            Refusal::Paid => {
                Self::refused("paid", "Invoice no longer accepting payments: it is already paid")
            }
            Refusal::Held => Self::refused(
                "held",
                "Invoice no longer accepting payments: it has a payment that is being checked",
            ),
            Refusal::Expired => {
                Self::refused("expired", "Invoice no longer accepting payments: it has expired")
            }
            Refusal::Cancelled => {
                Self::refused("cancelled", "Invoice no longer accepting payments: it was cancelled")
            }
            Refusal::Output { mismatch, required } => of_output(mismatch, required),
            Refusal::Stranger(txid) => Self::refused(
                "stranger",
                format!("The transaction {txid} neither pays this invoice nor is related to one that does"),
            ),
            Refusal::TooManyClaims => {
                Self::away(5, "too_many_claims", "Too many payments of this invoice are under way")
            }
        }
    }
}

impl From<InputFault> for Reason {
    fn from(fault: InputFault) -> Self {
        let (code, text) = match fault {
            InputFault::Twice(outpoint) => {
                ("spends_twice", format!("The transaction spends {outpoint} twice"))
            }
            InputFault::Coinbase => ("coinbase", "A coinbase transaction cannot be submitted".to_owned()),
            InputFault::Missing(outpoint) => (
                "inputs_missing",
                format!(
                    "One or more input transactions for your transaction were not found on the blockchain: {outpoint} \
                     is unknown, or spent already"
                ),
            ),
            InputFault::TooMuchOut { inputs, outputs } => (
                "outputs_over_inputs",
                format!("Total input {inputs} satoshis is less than total output {outputs} satoshis"),
            ),
        };
        Self { class: Class::Inputs, code, text }
    }
}

impl From<FamilyFault> for Reason {
    fn from(fault: FamilyFault) -> Self {
        let (code, text) = match fault {
            FamilyFault::Number(0) => {
                ("no_transaction", "There is no transaction in your payment".to_owned())
            }
            FamilyFault::Number(number) => (
                "too_many_transactions",
                format!(
                    "There are {number} transactions in your payment, and at most {MOST_TRANSACTIONS} are taken at once"
                ),
            ),
            FamilyFault::Size(bytes) => (
                "too_large",
                format!(
                    "Your payment has {bytes} bytes of transactions, and at most {MOST_BYTES} are taken at once"
                ),
            ),
            FamilyFault::Repeated(txid) => {
                ("repeated_transaction", format!("The transaction {txid} is in your payment twice"))
            }
            FamilyFault::Conflict(outpoint) => {
                ("conflicting_transactions", format!("Two transactions of your payment spend {outpoint}"))
            }
            FamilyFault::Circle => (
                "circular_transactions",
                "The transactions of your payment spend each other's outputs in a circle".to_owned(),
            ),
        };
        Self::refused(code, text)
    }
}

impl From<TokenFault> for Reason {
    fn from(fault: TokenFault) -> Self {
        let text = match fault {
            TokenFault::NotHeld { category } => {
                format!("The transaction pays out tokens of category {category} and takes in none")
            }
            TokenFault::TooMuchOut { category, inputs, outputs } => {
                format!(
                    "Total input {inputs} tokens of category {category} is less than total output {outputs} tokens"
                )
            }
            TokenFault::Nft { category } => format!(
                "The transaction pays out an NFT of category {category} that nothing it takes in allows"
            ),
        };
        Self { class: Class::Inputs, code: "tokens_over_inputs", text }
    }
}

/// An amount as people read it, and exactly.
fn coins(satoshis: u64) -> String {
    format!("{}.{:08} BCH, {satoshis} satoshis", satoshis / 100_000_000, satoshis % 100_000_000)
}

fn of_output(mismatch: &Mismatch, required: &RequiredOutput) -> Reason {
    let RequiredOutput { address, satoshis, token, .. } = required;
    let (code, text) = match (mismatch.found_satoshis, token) {
        (None, _) => (
            "output_missing",
            format!(
                "The transaction you sent does not have any output to the bitcoin address on the invoice: {address} \
                 is to receive {}",
                coins(*satoshis)
            ),
        ),
        (Some(found), _) if found != *satoshis => (
            "amount_differs",
            format!(
                "The amount on the transaction ({}) does not match the amount requested ({}) for {address}. This \
                 payment will not be accepted.",
                coins(found),
                coins(*satoshis)
            ),
        ),
        (Some(_), Some(token)) => {
            ("token_differs", format!("The output to {address} does not carry {}", tokens(token)))
        }
        (Some(_), None) => (
            "token_differs",
            format!("The output to {address} carries CashTokens, and the invoice asks for none there"),
        ),
    };
    Reason::refused(code, text)
}

fn tokens(token: &Token) -> String {
    let nft = token.nft.as_ref().map(|nft| {
        format!(
            " and the NFT with capability {} and commitment \"{}\"",
            nft.capability.name(),
            hex::encode(&nft.commitment)
        )
    });
    format!("exactly {} tokens of category {}{}", token.amount, token.category, nft.unwrap_or_default())
}

/// The node's words, after what they mean. The words themselves stay, for whoever looks them up.
fn of_node(words: &str) -> Reason {
    let table = [
        ("txn-mempool-conflict", "another transaction that spends the same coins is in the mempool already"),
        ("min relay fee not met", "its fee is too low"),
        ("mempool min fee not met", "its fee is too low at the moment"),
        ("mempool full", "the node's mempool is full, and its fee is too low to enter"),
        ("absurdly-high-fee", "its fee is absurdly high"),
        ("dust", "one of its outputs is too small"),
        ("non-mandatory-script-verify-flag", "a signature or an unlocking script is not valid"),
        ("mandatory-script-verify-flag-failed", "a signature or an unlocking script is not valid"),
        ("bad-txns-nonfinal", "it is locked until later"),
        ("non-BIP68-final", "it is locked until later"),
        ("bad-txns-premature-spend-of-coinbase", "it spends newly mined coins too early"),
        ("bad-txns-in-belowout", "it pays out more than it takes in"),
        ("bad-txns-token-", "its CashTokens do not add up"),
        ("scriptpubkey", "one of its outputs has a script that is not relayed"),
        ("oversize-op-return", "it carries too much data"),
        ("tx-size", "it is too large"),
    ];
    let meaning = table.iter().find(|(start, _)| words.starts_with(start)).map(|(_, meaning)| meaning);
    let text = match meaning {
        Some(meaning) => {
            format!("The transaction was refused by the Bitcoin Cash network: {meaning} ({words})")
        }
        None => format!("The transaction was refused by the Bitcoin Cash network: {words}"),
    };
    Reason::refused("refused_by_node", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bch::{Address, Category, FeeRate, Network};

    fn required(token: Option<Token>) -> Box<RequiredOutput> {
        let text = "bitcoincash:qr6m7j9njldwwzlg9v7v53unlr4jkmx6eylep8ekg2";
        let address = Address::parse(text, Network::Main).unwrap();
        Box::new(RequiredOutput::new(&address, 1000, token, None))
    }

    fn output(found_satoshis: Option<u64>, token: Option<Token>) -> SubmitError {
        let mismatch = Mismatch { index: 0, found_satoshis };
        SubmitError::Refused(Refusal::Output { mismatch, required: required(token) })
    }

    #[test]
    fn every_failure_has_its_words() {
        let token = Token { category: Category::from_wire([1; 32]), amount: 5, nft: None };
        let table = [
            (
                output(Some(123_456_789), None),
                "amount_differs",
                "(1.23456789 BCH, 123456789 satoshis) does not match the amount requested (0.00001000 BCH, 1000 satoshis)",
            ),
            (
                output(None, None),
                "output_missing",
                "does not have any output to the bitcoin address on the invoice",
            ),
            (output(Some(1000), Some(token)), "token_differs", "exactly 5 tokens of category 0101"),
            (output(Some(1000), None), "token_differs", "asks for none there"),
            (
                SubmitError::Fee { paid: 190, required: 220, rate: FeeRate::default(), bytes: 220 },
                "fee_too_low",
                "(0.00000190 BCH, 190 satoshis for 220 bytes)",
            ),
            (
                SubmitError::RefusedByNode("txn-mempool-conflict (code 18)".to_owned()),
                "refused_by_node",
                "spends the same coins is in the mempool already (txn-mempool-conflict (code 18))",
            ),
            (SubmitError::RefusedByNode("novelty".to_owned()), "refused_by_node", "network: novelty"),
            (
                SubmitError::Inputs(InputFault::TooMuchOut { inputs: 990, outputs: 1000 }),
                "outputs_over_inputs",
                "Total input 990 satoshis is less than total output 1000 satoshis",
            ),
            (
                SubmitError::Tokens(TokenFault::TooMuchOut {
                    category: Category::from_wire([1; 32]),
                    inputs: 4,
                    outputs: 5,
                }),
                "tokens_over_inputs",
                "Total input 4 tokens of category 0101",
            ),
            (
                SubmitError::Family(FamilyFault::Number(17)),
                "too_many_transactions",
                "There are 17 transactions in your payment, and at most 16",
            ),
            (
                SubmitError::Family(FamilyFault::Size(100_001)),
                "too_large",
                "Your payment has 100001 bytes of transactions, and at most 100000",
            ),
            (SubmitError::NodeAway, "node_away", "same transaction again"),
        ];
        for (error, code, part) in table {
            let reason = Reason::from(&error);
            assert_eq!(reason.code, code);
            assert!(reason.text.contains(part), "{}", reason.text);
        }
    }
}
