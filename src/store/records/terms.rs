//! Invoices and what they ask for.

use std::time::Duration;

use prost::Message;

use super::{
    Damage, Record, Word as _, array, elapsed, invoice_id, messages, narrow, node_time, part, parts,
    required, standing::PaidMessage, time, words,
};
use crate::{
    bch::{Capability, Category, FeeRate, Nft, ProofScore, ScriptBuf, Token},
    invoice::{
        DoubleSpend, Elapsed, Invoice, InvoiceState, Level, Merchant, NodeTime, Order, Phase, RequiredOutput,
        ZeroConf,
    },
    ledger::tables::InvoiceRecord,
};

words! {
    Capability { 1 = None, 2 = Mutable, 3 = Minting }
    Level { 1 = Unpaid, 2 = Paid, 3 = Confirmed, 4 = Held }
    DoubleSpend { 1 = None, 2 = Conflict, 3 = Proof }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct NftMessage {
    #[prost(uint32, tag = "1")]
    capability: u32,
    #[prost(bytes = "vec", tag = "2")]
    commitment: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct TokenMessage {
    #[prost(bytes = "vec", tag = "1")]
    category: Vec<u8>,
    #[prost(uint64, tag = "2")]
    amount: u64,
    #[prost(message, optional, tag = "3")]
    nft: Option<NftMessage>,
}

impl Record for Nft {
    type Message = NftMessage;

    fn message(&self) -> NftMessage {
        NftMessage { capability: self.capability.number(), commitment: self.commitment.clone() }
    }

    fn from_message(message: NftMessage) -> Result<Self, Damage> {
        let capability = Capability::read(message.capability, "capability")?;
        Ok(Self { capability, commitment: message.commitment })
    }
}

impl Record for Token {
    type Message = TokenMessage;

    fn message(&self) -> TokenMessage {
        TokenMessage {
            category: self.category.wire().to_vec(),
            amount: self.amount,
            nft: self.nft.as_ref().map(Record::message),
        }
    }

    fn from_message(message: TokenMessage) -> Result<Self, Damage> {
        Ok(Self {
            category: Category::from_wire(array(&message.category, "token category")?),
            amount: message.amount,
            nft: message.nft.map(Record::from_message).transpose()?,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct RequiredOutputMessage {
    #[prost(string, tag = "1")]
    address: String,
    #[prost(bytes = "vec", tag = "2")]
    script: Vec<u8>,
    #[prost(uint64, tag = "3")]
    satoshis: u64,
    #[prost(message, optional, tag = "4")]
    token: Option<TokenMessage>,
    #[prost(string, optional, tag = "5")]
    description: Option<String>,
}

impl Record for RequiredOutput {
    type Message = RequiredOutputMessage;

    fn message(&self) -> RequiredOutputMessage {
        RequiredOutputMessage {
            address: self.address.clone(),
            script: self.script.to_bytes(),
            satoshis: self.satoshis,
            token: self.token.as_ref().map(Record::message),
            description: self.description.clone(),
        }
    }

    fn from_message(message: RequiredOutputMessage) -> Result<Self, Damage> {
        Ok(Self {
            address: message.address,
            script: ScriptBuf::from(message.script),
            satoshis: message.satoshis,
            token: message.token.map(Record::from_message).transpose()?,
            description: message.description,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct InvoiceMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    merchant: String,
    #[prost(message, repeated, tag = "3")]
    outputs: Vec<RequiredOutputMessage>,
    #[prost(string, optional, tag = "4")]
    memo: Option<String>,
    #[prost(string, optional, tag = "5")]
    merchant_data: Option<String>,
    #[prost(uint64, tag = "6")]
    created_ms: u64,
    #[prost(uint64, tag = "7")]
    expires_ms: u64,
    /// Thousandths of a satoshi per byte.
    #[prost(uint64, tag = "8")]
    fee_rate: u64,
    #[prost(uint32, tag = "9")]
    confirmations_required: u32,
    #[prost(uint64, tag = "10")]
    registered: u64,
    #[prost(message, optional, tag = "11")]
    zero_conf: Option<ZeroConfMessage>,
    /// In elapsed time. Absent in the records of programs that had one time for both.
    #[prost(uint64, optional, tag = "12")]
    deadline_ms: Option<u64>,
    #[prost(uint64, optional, tag = "13")]
    node_time_ms: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::store) struct ZeroConfMessage {
    /// Thousandths.
    #[prost(uint32, tag = "1")]
    min_score: u32,
    #[prost(uint64, tag = "2")]
    wait_ms: u64,
}

impl Record for ZeroConf {
    type Message = ZeroConfMessage;

    fn message(&self) -> ZeroConfMessage {
        let wait_ms = u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX);
        ZeroConfMessage { min_score: self.min_score.thousandths(), wait_ms }
    }

    fn from_message(message: ZeroConfMessage) -> Result<Self, Damage> {
        Ok(Self {
            min_score: required(ProofScore::from_thousandths(message.min_score), "score")?,
            wait: Duration::from_millis(message.wait_ms),
        })
    }
}

impl Record for Invoice {
    type Message = InvoiceMessage;

    fn message(&self) -> InvoiceMessage {
        InvoiceMessage {
            id: self.id.as_bytes().to_vec(),
            merchant: self.merchant.name().to_owned(),
            outputs: messages(&self.outputs),
            memo: self.memo.clone(),
            merchant_data: self.merchant_data.clone(),
            created_ms: self.created.millis(),
            expires_ms: self.expires.millis(),
            fee_rate: self.fee_rate.millisatoshis(),
            confirmations_required: self.confirmations_required.into(),
            registered: self.registered.0,
            zero_conf: self.zero_conf.as_ref().map(Record::message),
            deadline_ms: Some(self.deadline.millis()),
            node_time_ms: self.node_time.map(NodeTime::millis),
        }
    }

    fn from_message(message: InvoiceMessage) -> Result<Self, Damage> {
        Ok(Self {
            id: invoice_id(&message.id)?,
            merchant: Merchant::named(message.merchant),
            outputs: parts(message.outputs)?,
            memo: message.memo,
            merchant_data: message.merchant_data,
            created: time(message.created_ms)?,
            expires: time(message.expires_ms)?,
            deadline: elapsed(message.deadline_ms.unwrap_or(message.expires_ms))?,
            node_time: message.node_time_ms.map(node_time).transpose()?,
            fee_rate: required(FeeRate::from_millisatoshis(message.fee_rate), "fee rate")?,
            confirmations_required: narrow(message.confirmations_required, "number of confirmations")?,
            registered: Order(message.registered),
            zero_conf: message.zero_conf.map(Record::from_message).transpose()?,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::store) struct StateMessage {
    /// 1 open, 2 expired, 3 cancelled.
    #[prost(uint32, tag = "1")]
    phase: u32,
    /// Since when, unless open, in elapsed time.
    #[prost(uint64, tag = "2")]
    phase_at_ms: u64,
    #[prost(uint32, tag = "3")]
    level: u32,
    #[prost(bool, tag = "4")]
    shared: bool,
    #[prost(bool, tag = "5")]
    ambiguous: bool,
    #[prost(uint32, tag = "6")]
    double_spend: u32,
    #[prost(uint32, tag = "7")]
    open_claims: u32,
    #[prost(uint64, tag = "8")]
    events: u64,
    #[prost(bool, tag = "9")]
    archived: bool,
}

impl Record for InvoiceState {
    type Message = StateMessage;

    fn message(&self) -> StateMessage {
        let (phase, at) = match self.phase {
            Phase::Open => (1, Elapsed::default()),
            Phase::Expired { at } => (2, at),
            Phase::Cancelled { at } => (3, at),
        };
        StateMessage {
            phase,
            phase_at_ms: at.millis(),
            level: self.level.number(),
            shared: self.shared,
            ambiguous: self.ambiguous,
            double_spend: self.double_spend.number(),
            open_claims: self.open_claims,
            events: self.events,
            archived: self.archived,
        }
    }

    fn from_message(message: StateMessage) -> Result<Self, Damage> {
        let at = elapsed(message.phase_at_ms)?;
        Ok(Self {
            phase: match message.phase {
                1 => Phase::Open,
                2 => Phase::Expired { at },
                3 => Phase::Cancelled { at },
                _ => return Err(Damage::Field("phase")),
            },
            level: Level::read(message.level, "level")?,
            shared: message.shared,
            ambiguous: message.ambiguous,
            double_spend: DoubleSpend::read(message.double_spend, "double spend")?,
            open_claims: message.open_claims,
            events: message.events,
            archived: message.archived,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct InvoiceRecordMessage {
    #[prost(message, optional, tag = "1")]
    invoice: Option<InvoiceMessage>,
    #[prost(message, optional, tag = "2")]
    state: Option<StateMessage>,
    /// Absent in the records of programs that summed it anew each time.
    #[prost(message, optional, tag = "3")]
    paid: Option<PaidMessage>,
}

impl Record for InvoiceRecord {
    type Message = InvoiceRecordMessage;

    fn message(&self) -> InvoiceRecordMessage {
        InvoiceRecordMessage {
            invoice: Some(self.invoice.message()),
            state: Some(self.state.message()),
            paid: self.paid.as_ref().map(Record::message),
        }
    }

    fn from_message(message: InvoiceRecordMessage) -> Result<Self, Damage> {
        Ok(Self {
            invoice: part(message.invoice, "invoice")?,
            state: part(message.state, "state")?,
            paid: message.paid.map(Record::from_message).transpose()?,
        })
    }
}
