//! The documents, in the order of fields that the specifications show.

use serde::Serialize;
use serde_json::value::RawValue;

use super::body::Submitted;
use crate::{
    api::{
        document::{OutputDocument, payment_url},
        settings::ApiSettings,
    },
    bch::FeeRate,
    invoice::{Invoice, RequiredOutput},
};

/// The only chain there is, and its currency.
pub(super) const BCH: &str = "BCH";

/// What all three documents of an invoice begin with.
#[derive(Debug, Serialize)]
struct Head {
    time: String,
    expires: String,
    memo: String,
    #[serde(rename = "paymentUrl")]
    payment_url: String,
    #[serde(rename = "paymentId")]
    payment_id: String,
}

impl Head {
    fn new(invoice: &Invoice, settings: &ApiSettings) -> Self {
        Self {
            time: invoice.created.to_string(),
            expires: invoice.expires.to_string(),
            memo: memo(invoice),
            payment_url: payment_url(&settings.public_url, invoice.id),
            payment_id: invoice.id.to_string(),
        }
    }
}

/// What the merchant says to the payer, or else something: wallets want a text.
pub(in crate::api) fn memo(invoice: &Invoice) -> String {
    match invoice.memo.as_deref() {
        None | Some("") => format!("Payment of invoice {}", invoice.id),
        Some(memo) => memo.to_owned(),
    }
}

/// v2: the ways to pay.
#[derive(Debug, Serialize)]
pub(super) struct Options {
    #[serde(flatten)]
    head: Head,
    #[serde(rename = "paymentOptions")]
    payment_options: [PaymentOption; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentOption {
    chain: &'static str,
    currency: &'static str,
    network: &'static str,
    estimated_amount: u64,
    required_fee_rate: Option<Box<RawValue>>,
    miner_fee: u64,
    decimals: u8,
    selected: bool,
}

impl Options {
    pub(super) fn new(invoice: &Invoice, settings: &ApiSettings) -> Self {
        let option = PaymentOption {
            chain: BCH,
            currency: BCH,
            network: settings.network.wire(),
            estimated_amount: invoice.required_satoshis(),
            required_fee_rate: number(invoice.fee_rate),
            miner_fee: 0,
            decimals: 8,
            selected: true,
        };
        Self { head: Head::new(invoice, settings), payment_options: [option] }
    }
}

/// v2: what to pay.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    #[serde(flatten)]
    head: Head,
    chain: &'static str,
    currency: &'static str,
    network: &'static str,
    instructions: [Instruction<'a>; 1],
}

/// One transaction with all outputs: a second instruction would be a second transaction, which no wallet makes.
#[derive(Debug, Serialize)]
struct Instruction<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "requiredFeeRate")]
    required_fee_rate: Option<Box<RawValue>>,
    #[serde(rename = "requiredFeePerByte")]
    required_fee_per_byte: Option<Box<RawValue>>,
    outputs: Vec<OutputDocument<'a>>,
}

impl<'a> Request<'a> {
    pub(super) fn new(invoice: &'a Invoice, settings: &ApiSettings) -> Self {
        let instruction = Instruction {
            kind: "transaction",
            required_fee_rate: number(invoice.fee_rate),
            required_fee_per_byte: number(invoice.fee_rate),
            outputs: outputs(&invoice.outputs, settings),
        };
        Self {
            head: Head::new(invoice, settings),
            chain: BCH,
            currency: BCH,
            network: settings.network.wire(),
            instructions: [instruction],
        }
    }
}

/// v1: what to pay.
#[derive(Debug, Serialize)]
pub(super) struct RequestV1<'a> {
    network: &'static str,
    currency: &'static str,
    #[serde(rename = "requiredFeeRate")]
    required_fee_rate: Option<Box<RawValue>>,
    #[serde(rename = "requiredFeePerByte")]
    required_fee_per_byte: Option<Box<RawValue>>,
    outputs: Vec<OutputDocument<'a>>,
    #[serde(flatten)]
    head: Head,
}

impl<'a> RequestV1<'a> {
    pub(super) fn new(invoice: &'a Invoice, settings: &ApiSettings) -> Self {
        Self {
            network: settings.network.wire(),
            currency: BCH,
            required_fee_rate: number(invoice.fee_rate),
            required_fee_per_byte: number(invoice.fee_rate),
            outputs: outputs(&invoice.outputs, settings),
            head: Head::new(invoice, settings),
        }
    }
}

/// The answer to a submission: what came, and what became of it.
#[derive(Debug, Serialize)]
struct Answer<T> {
    payment: T,
    memo: &'static str,
}

const VALID: &str = "Payment appears valid";
const RECEIVED: &str = "Transaction received";

/// v2: what was verified.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Verified<'a>(Answer<Transactions<'a>>);

/// v2: what was paid.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Paid<'a>(Answer<Transactions<'a>>);

#[derive(Debug, Serialize)]
struct Transactions<'a> {
    chain: &'static str,
    currency: &'static str,
    transactions: [TransactionDocument<'a>; 1],
}

#[derive(Debug, Serialize)]
struct TransactionDocument<'a> {
    tx: &'a str,
    #[serde(rename = "weightedSize", skip_serializing_if = "Option::is_none")]
    weighted_size: Option<u64>,
}

impl<'a> Transactions<'a> {
    fn of(submitted: &'a Submitted) -> Self {
        let Submitted { hex, weighted_size } = submitted;
        let transaction = TransactionDocument { tx: hex, weighted_size: *weighted_size };
        Self { chain: BCH, currency: BCH, transactions: [transaction] }
    }
}

impl<'a> Verified<'a> {
    pub(super) fn new(submitted: &'a Submitted) -> Self {
        Self(Answer { payment: Transactions::of(submitted), memo: VALID })
    }
}

impl<'a> Paid<'a> {
    pub(super) fn new(submitted: &'a Submitted) -> Self {
        Self(Answer { payment: Transactions::of(submitted), memo: RECEIVED })
    }
}

/// v1: what was verified.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct VerifiedV1<'a>(Answer<ProposalDocument<'a>>);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProposalDocument<'a> {
    currency: &'static str,
    unsigned_transaction: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    weighted_size: Option<u64>,
}

impl<'a> VerifiedV1<'a> {
    pub(super) fn new(submitted: &'a Submitted) -> Self {
        let Submitted { hex, weighted_size } = submitted;
        let payment =
            ProposalDocument { currency: BCH, unsigned_transaction: hex, weighted_size: *weighted_size };
        Self(Answer { payment, memo: VALID })
    }
}

/// v1: what was paid.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct PaidV1<'a>(Answer<TransactionsV1<'a>>);

#[derive(Debug, Serialize)]
struct TransactionsV1<'a> {
    transactions: [&'a str; 1],
}

impl<'a> PaidV1<'a> {
    pub(super) fn new(submitted: &'a Submitted) -> Self {
        Self(Answer { payment: TransactionsV1 { transactions: [&submitted.hex] }, memo: RECEIVED })
    }
}

fn outputs<'a>(required: &'a [RequiredOutput], settings: &ApiSettings) -> Vec<OutputDocument<'a>> {
    required.iter().map(|output| OutputDocument::for_wallet(output, settings.network)).collect()
}

/// A fee rate in satoshis per byte, as the shortest number: `1`, `1.1`.
fn number(rate: FeeRate) -> Option<Box<RawValue>> {
    let text = rate.to_string();
    RawValue::from_string(text.strip_suffix(".0").unwrap_or(&text).to_owned()).ok()
}
