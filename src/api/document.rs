//! An invoice as JSON: the fields of Watchtower's `jpp` in their order, and ours after them.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    settings::ApiSettings,
    uri::{bip21_uri, payment_uri},
};
use crate::{
    bch::{Network, ProofScore, Token},
    invoice::{
        Credit, CreditState, InvoiceId, MAX_CONFIRMATIONS_REQUIRED, Refund, RequiredOutput, Standing,
        Statement, ZeroConf,
    },
};

/// The largest integer that every reader of JSON keeps exactly.
const MOST_EXACT: u64 = (1 << 53) - 1;

/// How an invoice is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    settings: &'a ApiSettings,
    merchant_data: bool,
    merchant: bool,
}

impl<'a> View<'a> {
    /// As everybody sees it.
    pub(super) fn of_public(settings: &'a ApiSettings) -> Self {
        Self { settings, merchant_data: settings.public_merchant_data, merchant: false }
    }

    /// As its merchant sees it.
    pub(super) fn of_merchant(settings: &'a ApiSettings) -> Self {
        Self { merchant_data: true, merchant: true, ..Self::of_public(settings) }
    }

    /// As somebody sees it who created it without a key: what was sent comes back.
    pub(super) fn of_creator(settings: &'a ApiSettings) -> Self {
        Self { merchant_data: true, ..Self::of_public(settings) }
    }
}

/// The URL of an invoice, for every wallet and every person.
pub(super) fn payment_url(public_url: &str, id: InvoiceId) -> String {
    format!("{public_url}/i/{id}")
}

/// An invoice.
#[derive(Debug, Serialize)]
pub(super) struct InvoiceDocument<'a> {
    payment_id: String,
    payment_url: String,
    network: &'static str,
    currency: &'static str,
    memo: Option<&'a str>,
    time: String,
    expires: String,
    outputs: Vec<OutputDocument<'a>>,
    payment: Option<PaymentDocument<'a>>,
    merchant_data: Option<Box<RawValue>>,
    required_fee_per_byte: Option<Box<RawValue>>,
    status: &'static str,
    amount: u64,
    amount_paid: u64,
    underpaid: u64,
    overpaid: u64,
    confirmations: u32,
    confirmations_required: u8,
    zero_conf: Option<ZeroConfDocument>,
    late: bool,
    shared: bool,
    ambiguous: bool,
    double_spend: &'static str,
    via: Option<&'static str>,
    /// [`Statement::MOST_CREDITS`] at most; all of them are at `…/payments/`.
    payments: Vec<CreditDocument>,
    payments_total: u64,
    outputs_standing: Vec<OutputStandingDocument>,
    payment_uri: String,
    bip21_uri: Option<String>,
    /// The event log that its events are numbered in.
    log: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant: Option<&'a str>,
}

/// What the invoice asks of a payment that is not in a block, before it counts.
#[derive(Debug, Serialize)]
struct ZeroConfDocument {
    min_score: Option<Box<RawValue>>,
    wait_ms: u64,
}

/// A required output, as every dialect of JSON writes it.
#[derive(Debug, Serialize)]
pub(super) struct OutputDocument<'a> {
    amount: u64,
    address: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenDocument>,
}

/// The payment of an invoice: the transaction that completed it.
#[derive(Debug, Serialize)]
struct PaymentDocument<'a> {
    txid: String,
    memo: Option<&'a str>,
    paid_at: String,
    refund_to: Vec<RefundDocument<'a>>,
}

#[derive(Debug, Serialize)]
struct RefundDocument<'a> {
    amount: Option<u64>,
    address: Option<&'a str>,
    /// Always `null`, and always there.
    description: Option<&'a str>,
    /// The locking script in hex, where there is no address for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<String>,
}

/// One transaction output that was counted for the invoice.
#[derive(Debug, Serialize)]
pub(super) struct CreditDocument {
    txid: String,
    vout: u32,
    output: u16,
    amount: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenDocument>,
    state: &'static str,
    confirmations: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<BlockDocument>,
    via: &'static str,
    late: bool,
    ambiguous: bool,
    first_seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    zero_conf: Option<RiskDocument>,
}

/// How safe a payment is that is not in a block.
#[derive(Debug, Serialize)]
struct RiskDocument {
    seen_at: String,
    dsproof_score: Option<Box<RawValue>>,
    double_spend: &'static str,
}

#[derive(Debug, Serialize)]
struct BlockDocument {
    height: u32,
    hash: String,
}

#[derive(Debug, Serialize)]
struct OutputStandingDocument {
    amount_paid: u64,
    paid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_overpaid: Option<Tokens>,
}

/// CashTokens on an output.
#[derive(Debug, Serialize)]
pub(super) struct TokenDocument {
    category: String,
    amount: Tokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    nft: Option<NftDocument>,
}

#[derive(Debug, Serialize)]
struct NftDocument {
    capability: &'static str,
    commitment: String,
}

/// An amount of tokens: a number for as long as every reader keeps it exactly, a text above.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Tokens {
    Number(u64),
    Text(String),
}

impl From<u64> for Tokens {
    fn from(amount: u64) -> Self {
        if amount <= MOST_EXACT { Self::Number(amount) } else { Self::Text(amount.to_string()) }
    }
}

impl From<&Token> for TokenDocument {
    fn from(token: &Token) -> Self {
        Self {
            category: token.category.to_string(),
            amount: token.amount.into(),
            nft: token.nft.as_ref().map(|nft| NftDocument {
                capability: nft.capability.name(),
                commitment: hex::encode(&nft.commitment),
            }),
        }
    }
}

impl<'a> InvoiceDocument<'a> {
    /// The invoice of a statement.
    pub(super) fn new(statement: &'a Statement, view: View<'a>) -> Self {
        let invoice = &statement.invoice;
        let standing = statement.standing();
        let settlement = standing.settlement.as_ref();
        let merchant_data = invoice.merchant_data.as_ref().filter(|_| view.merchant_data);
        Self {
            payment_id: invoice.id.to_string(),
            payment_url: payment_url(&view.settings.public_url, invoice.id),
            network: view.settings.network.wire(),
            currency: "BCH",
            memo: invoice.memo.as_deref(),
            time: invoice.created.to_string(),
            expires: invoice.expires.to_string(),
            outputs: invoice.outputs.iter().map(OutputDocument::as_written).collect(),
            payment: PaymentDocument::of(statement, &standing),
            merchant_data: merchant_data.and_then(|text| RawValue::from_string(text.clone()).ok()),
            required_fee_per_byte: RawValue::from_string(invoice.fee_rate.to_string()).ok(),
            status: standing.status.name(),
            amount: invoice.required_satoshis(),
            amount_paid: standing.amount_paid,
            underpaid: standing.underpaid,
            overpaid: standing.overpaid,
            confirmations: settlement.map_or(0, |settlement| settlement.confirmations),
            confirmations_required: invoice.confirmations_required,
            zero_conf: invoice.zero_conf.as_ref().map(ZeroConfDocument::from),
            late: settlement.map_or(standing.late, |settlement| settlement.late),
            shared: statement.state.shared,
            ambiguous: statement.state.ambiguous,
            double_spend: statement.state.double_spend.name(),
            via: settlement.map(|settlement| settlement.via.name()),
            payments: statement
                .credits
                .iter()
                .map(|credit| CreditDocument::of(credit, statement.tip_height))
                .collect(),
            payments_total: statement.total,
            outputs_standing: standing
                .outputs
                .iter()
                .zip(&invoice.outputs)
                .map(|(standing, required)| OutputStandingDocument {
                    amount_paid: standing.credited,
                    paid: standing.satisfied,
                    token_overpaid: required.token.is_some().then(|| standing.token_overpaid.into()),
                })
                .collect(),
            payment_uri: payment_uri(invoice, view.settings),
            bip21_uri: bip21_uri(invoice, view.settings),
            log: view.settings.log.to_string(),
            merchant: view.merchant.then(|| invoice.merchant.name()),
        }
    }
}

impl<'a> OutputDocument<'a> {
    /// The output with the address as its creator wrote it.
    fn as_written(required: &'a RequiredOutput) -> Self {
        Self::at(required, required.address.as_str().into())
    }

    /// The output for a wallet: the type of the address follows the output, see [`RequiredOutput::wallet_address`].
    pub(super) fn for_wallet(required: &'a RequiredOutput, network: Network) -> Self {
        Self::at(required, required.wallet_address(network).into())
    }

    fn at(required: &'a RequiredOutput, address: Cow<'a, str>) -> Self {
        Self {
            amount: required.satoshis,
            address,
            description: required.description.as_deref(),
            token: required.token.as_ref().map(TokenDocument::from),
        }
    }
}

impl<'a> PaymentDocument<'a> {
    fn of(statement: &'a Statement, standing: &Standing) -> Option<Self> {
        let settlement = standing.settlement.as_ref()?;
        Some(Self {
            txid: settlement.completed_by.to_string(),
            memo: statement.note.memo.as_deref(),
            paid_at: settlement.paid_at.to_string(),
            refund_to: statement.note.refund_to.iter().map(RefundDocument::from).collect(),
        })
    }
}

impl<'a> From<&'a Refund> for RefundDocument<'a> {
    fn from(refund: &'a Refund) -> Self {
        let address = refund.address.as_deref();
        let script = address.is_none().then(|| refund.script.to_hex_string());
        Self { amount: refund.satoshis, address, description: None, script }
    }
}

impl CreditDocument {
    /// A credit under a chain of this height.
    pub(super) fn of(credit: &Credit, tip_height: Option<u32>) -> Self {
        Self {
            txid: credit.outpoint.txid.to_string(),
            vout: credit.outpoint.vout,
            output: credit.output,
            amount: credit.satoshis,
            token: credit.token.as_ref().map(TokenDocument::from),
            state: credit.state.name(),
            confirmations: credit.state.confirmations(tip_height).min(MAX_CONFIRMATIONS_REQUIRED.into()),
            block: match credit.state {
                CreditState::Confirmed { height, hash } => {
                    Some(BlockDocument { height, hash: hash.to_string() })
                }
                CreditState::Seen | CreditState::Held | CreditState::Mempool | CreditState::Lost => None,
            },
            via: credit.via.name(),
            late: credit.late,
            ambiguous: credit.ambiguous,
            first_seen: credit.first_seen.to_string(),
            zero_conf: matches!(credit.state, CreditState::Held | CreditState::Mempool)
                .then(|| RiskDocument::of(credit)),
        }
    }
}

impl RiskDocument {
    fn of(credit: &Credit) -> Self {
        Self {
            seen_at: credit.first_seen.to_string(),
            dsproof_score: credit.risk.score.and_then(number),
            double_spend: credit.risk.double_spend.name(),
        }
    }
}

impl From<&ZeroConf> for ZeroConfDocument {
    fn from(asked: &ZeroConf) -> Self {
        Self {
            min_score: number(asked.min_score),
            wait_ms: u64::try_from(asked.wait.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A score as a number, in the very digits it has.
fn number(score: ProofScore) -> Option<Box<RawValue>> {
    RawValue::from_string(score.to_string()).ok()
}
