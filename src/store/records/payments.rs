//! Transactions, credits, claims, and payments that no invoice could be found for.

use bytes::Bytes;
use prost::Message;

use super::{
    Damage, Record, Word as _, elapsed,
    index::{OutPointMessage, PositionMessage, script_hash},
    invoice_id, messages, narrow, part, parts, required,
    terms::TokenMessage,
    time, words,
};
use crate::{
    bch::{BlockHash, ProofScore},
    invoice::{
        Credit, CreditState, DoubleSpend, FirstSeen, Merchant, Order, PayerNote, Refund, Risk, Sighting, Via,
    },
    ledger::tables::{Claim, ClaimState, Place, TransactionRecord, UnassignedPayment, UnassignedReason},
};

words! {
    Via { 1 = Jpp, 2 = Bip70, 3 = Api, 4 = Mempool, 5 = Block }
    ClaimState { 1 = Open, 2 = Ended }
    UnassignedReason { 1 = MayBeOlder }
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::store) struct FirstSeenMessage {
    /// What kind of evidence: 1 an order, 2 the time of a mempool, 3 a block.
    #[prost(uint32, tag = "1")]
    sighting: u32,
    /// The position (1, 3), or seconds (2).
    #[prost(uint64, tag = "2")]
    number: u64,
    /// In elapsed time.
    #[prost(uint64, tag = "3")]
    at_ms: u64,
    /// As it is shown. Absent in the records of programs that had one time for both.
    #[prost(uint64, optional, tag = "4")]
    shown_ms: Option<u64>,
    /// Position at which a first pass noted the transaction (2). Absent in the records of programs that did not keep it.
    #[prost(uint64, optional, tag = "5")]
    noted: Option<u64>,
}

impl Record for FirstSeen {
    type Message = FirstSeenMessage;

    fn message(&self) -> FirstSeenMessage {
        let (sighting, number, noted) = match self.sighting {
            Sighting::Order(order) => (1, order.0, None),
            Sighting::MempoolTime { secs, noted } => (2, secs, noted.map(|noted| noted.0)),
            Sighting::Block(order) => (3, order.0, None),
        };
        let shown_ms = Some(self.shown.millis());
        FirstSeenMessage { sighting, number, at_ms: self.at.millis(), shown_ms, noted }
    }

    fn from_message(message: FirstSeenMessage) -> Result<Self, Damage> {
        let sighting = match message.sighting {
            1 => Sighting::Order(Order(message.number)),
            2 => Sighting::MempoolTime { secs: message.number, noted: message.noted.map(Order) },
            3 => Sighting::Block(Order(message.number)),
            _ => return Err(Damage::Field("sighting")),
        };
        let shown = time(message.shown_ms.unwrap_or(message.at_ms))?;
        Ok(Self { sighting, at: elapsed(message.at_ms)?, shown })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct TransactionMessage {
    #[prost(bytes = "bytes", tag = "1")]
    raw: Bytes,
    #[prost(message, optional, tag = "2")]
    first_seen: Option<FirstSeenMessage>,
    /// 1 claimed, 2 seen, 3 in the mempool, 4 in a block, 5 lost, 6 missed.
    #[prost(uint32, tag = "3")]
    place: u32,
    /// The block, if it is in one.
    #[prost(message, optional, tag = "4")]
    block: Option<PositionMessage>,
    #[prost(uint32, tag = "5")]
    outputs: u32,
    #[prost(bool, tag = "6")]
    coinbase: bool,
}

impl Record for TransactionRecord {
    type Message = TransactionMessage;

    fn message(&self) -> TransactionMessage {
        let (place, block) = match self.place {
            Place::Claimed => (1, None),
            Place::Seen => (2, None),
            Place::Mempool => (3, None),
            Place::Block { height, hash } => (4, Some((height, hash).message())),
            Place::Lost => (5, None),
            Place::Missed => (6, None),
        };
        TransactionMessage {
            raw: self.raw.clone(),
            first_seen: self.first_seen.as_ref().map(Record::message),
            place,
            block,
            outputs: self.outputs,
            coinbase: self.coinbase,
        }
    }

    fn from_message(message: TransactionMessage) -> Result<Self, Damage> {
        let place = match message.place {
            1 => Place::Claimed,
            2 => Place::Seen,
            3 => Place::Mempool,
            4 => {
                let (height, hash) = part(message.block, "block")?;
                Place::Block { height, hash }
            }
            5 => Place::Lost,
            6 => Place::Missed,
            _ => return Err(Damage::Field("place")),
        };
        Ok(Self {
            raw: message.raw,
            first_seen: message.first_seen.map(Record::from_message).transpose()?,
            place,
            outputs: message.outputs,
            coinbase: message.coinbase,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct CreditMessage {
    #[prost(message, optional, tag = "1")]
    outpoint: Option<OutPointMessage>,
    #[prost(bytes = "vec", tag = "2")]
    invoice: Vec<u8>,
    #[prost(uint32, tag = "3")]
    output: u32,
    #[prost(uint64, tag = "4")]
    satoshis: u64,
    #[prost(message, optional, tag = "5")]
    token: Option<TokenMessage>,
    #[prost(uint64, tag = "6")]
    ordinal: u64,
    /// 1 seen, 2 in the mempool, 3 confirmed, 4 lost, 5 held.
    #[prost(uint32, tag = "7")]
    state: u32,
    /// The block, if it is confirmed.
    #[prost(message, optional, tag = "8")]
    block: Option<PositionMessage>,
    #[prost(uint32, tag = "9")]
    via: u32,
    #[prost(bool, tag = "10")]
    late: bool,
    #[prost(bool, tag = "11")]
    ambiguous: bool,
    #[prost(uint64, tag = "12")]
    first_seen_ms: u64,
    #[prost(uint64, optional, tag = "13")]
    live_since_ms: Option<u64>,
    /// Thousandths.
    #[prost(uint32, optional, tag = "14")]
    score: Option<u32>,
    /// Absent in the records of programs that did not know it: nothing.
    #[prost(uint32, optional, tag = "15")]
    double_spend: Option<u32>,
    #[prost(uint64, optional, tag = "16")]
    held_since_ms: Option<u64>,
}

impl Record for Credit {
    type Message = CreditMessage;

    fn message(&self) -> CreditMessage {
        let (state, block) = match self.state {
            CreditState::Seen => (1, None),
            CreditState::Mempool => (2, None),
            CreditState::Confirmed { height, hash } => (3, Some((height, hash).message())),
            CreditState::Lost => (4, None),
            CreditState::Held => (5, None),
        };
        CreditMessage {
            outpoint: Some(self.outpoint.message()),
            invoice: self.invoice.as_bytes().to_vec(),
            output: self.output.into(),
            satoshis: self.satoshis,
            token: self.token.as_ref().map(Record::message),
            ordinal: self.ordinal,
            state,
            block,
            via: self.via.number(),
            late: self.late,
            ambiguous: self.ambiguous,
            first_seen_ms: self.first_seen.millis(),
            live_since_ms: self.live_since.map(|time| time.millis()),
            score: self.risk.score.map(ProofScore::thousandths),
            double_spend: Some(self.risk.double_spend.number()),
            held_since_ms: self.held_since.map(|time| time.millis()),
        }
    }

    fn from_message(message: CreditMessage) -> Result<Self, Damage> {
        let state = match message.state {
            1 => CreditState::Seen,
            2 => CreditState::Mempool,
            3 => {
                let (height, hash): (u32, BlockHash) = part(message.block, "block")?;
                CreditState::Confirmed { height, hash }
            }
            4 => CreditState::Lost,
            5 => CreditState::Held,
            _ => return Err(Damage::Field("state of a credit")),
        };
        let score = message.score.map(|score| required(ProofScore::from_thousandths(score), "score"));
        let double_spend = message.double_spend.map(|number| DoubleSpend::read(number, "double spend"));
        Ok(Self {
            outpoint: part(message.outpoint, "outpoint")?,
            invoice: invoice_id(&message.invoice)?,
            output: narrow(message.output, "number of an output")?,
            satoshis: message.satoshis,
            token: message.token.map(Record::from_message).transpose()?,
            ordinal: message.ordinal,
            state,
            via: Via::read(message.via, "way of a payment")?,
            late: message.late,
            ambiguous: message.ambiguous,
            first_seen: time(message.first_seen_ms)?,
            held_since: message.held_since_ms.map(elapsed).transpose()?,
            live_since: message.live_since_ms.map(time).transpose()?,
            risk: Risk {
                score: score.transpose()?,
                double_spend: double_spend.transpose()?.unwrap_or_default(),
            },
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct RefundMessage {
    #[prost(string, optional, tag = "1")]
    address: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    satoshis: Option<u64>,
    #[prost(bytes = "vec", tag = "3")]
    script: Vec<u8>,
}

impl Record for Refund {
    type Message = RefundMessage;

    fn message(&self) -> RefundMessage {
        let script = self.script.to_bytes();
        RefundMessage { address: self.address.clone(), satoshis: self.satoshis, script }
    }

    fn from_message(message: RefundMessage) -> Result<Self, Damage> {
        let RefundMessage { address, satoshis, script } = message;
        Ok(Self { script: script.into(), address, satoshis })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct NoteMessage {
    #[prost(string, optional, tag = "1")]
    memo: Option<String>,
    #[prost(message, repeated, tag = "2")]
    refund_to: Vec<RefundMessage>,
}

impl Record for PayerNote {
    type Message = NoteMessage;

    fn message(&self) -> NoteMessage {
        NoteMessage { memo: self.memo.clone(), refund_to: messages(&self.refund_to) }
    }

    fn from_message(message: NoteMessage) -> Result<Self, Damage> {
        Ok(Self { memo: message.memo, refund_to: parts(message.refund_to)? })
    }
}

/// An output of the transaction, and the required output it is for.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in crate::store) struct AssignedMessage {
    #[prost(uint32, tag = "1")]
    vout: u32,
    #[prost(uint32, tag = "2")]
    output: u32,
}

impl Record for (u32, u16) {
    type Message = AssignedMessage;

    fn message(&self) -> AssignedMessage {
        AssignedMessage { vout: self.0, output: self.1.into() }
    }

    fn from_message(message: AssignedMessage) -> Result<Self, Damage> {
        Ok((message.vout, narrow(message.output, "number of an output")?))
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct ClaimMessage {
    #[prost(message, repeated, tag = "1")]
    assignment: Vec<AssignedMessage>,
    #[prost(message, optional, tag = "2")]
    note: Option<NoteMessage>,
    #[prost(uint32, tag = "3")]
    via: u32,
    #[prost(uint64, tag = "4")]
    claimed_ms: u64,
    #[prost(uint32, tag = "5")]
    state: u32,
}

impl Record for Claim {
    type Message = ClaimMessage;

    fn message(&self) -> ClaimMessage {
        ClaimMessage {
            assignment: messages(&self.assignment),
            note: Some(self.note.message()),
            via: self.via.number(),
            claimed_ms: self.claimed.millis(),
            state: self.state.number(),
        }
    }

    fn from_message(message: ClaimMessage) -> Result<Self, Damage> {
        Ok(Self {
            assignment: parts(message.assignment)?,
            note: part(message.note, "note")?,
            via: Via::read(message.via, "way of a payment")?,
            claimed: elapsed(message.claimed_ms)?,
            state: ClaimState::read(message.state, "state of a claim")?,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct UnassignedMessage {
    #[prost(string, tag = "1")]
    merchant: String,
    #[prost(bytes = "vec", tag = "2")]
    script: Vec<u8>,
    #[prost(uint64, tag = "3")]
    satoshis: u64,
    #[prost(message, optional, tag = "4")]
    token: Option<TokenMessage>,
    #[prost(message, optional, tag = "5")]
    first_seen: Option<FirstSeenMessage>,
    #[prost(uint64, tag = "6")]
    ordinal: u64,
    #[prost(uint32, optional, tag = "7")]
    reason: Option<u32>,
}

impl Record for UnassignedPayment {
    type Message = UnassignedMessage;

    fn message(&self) -> UnassignedMessage {
        UnassignedMessage {
            merchant: self.merchant.name().to_owned(),
            script: self.script.as_bytes().to_vec(),
            satoshis: self.satoshis,
            token: self.token.as_ref().map(Record::message),
            first_seen: Some(self.first_seen.message()),
            ordinal: self.ordinal,
            reason: self.reason.map(UnassignedReason::number),
        }
    }

    fn from_message(message: UnassignedMessage) -> Result<Self, Damage> {
        Ok(Self {
            merchant: Merchant::named(message.merchant),
            script: script_hash(&message.script)?,
            satoshis: message.satoshis,
            token: message.token.map(Record::from_message).transpose()?,
            first_seen: part(message.first_seen, "first sighting")?,
            ordinal: message.ordinal,
            reason: message
                .reason
                .map(|number| UnassignedReason::read(number, "reason of an unassigned payment"))
                .transpose()?,
        })
    }
}
