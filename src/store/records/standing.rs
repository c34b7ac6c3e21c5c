//! Records that are computed from credits: payment totals, kept with the invoice, and standings, kept with events that
//! do not keep all of the credits.

use bitcoincash::hashes::Hash as _;
use prost::Message;

use super::{Damage, Record, Word as _, messages, part, parts, time, txid, words};
use crate::invoice::{Completion, OutputStanding, Paid, Settlement, Settling, Standing, Status, Via};

words! {
    Status { 1 = Pending, 2 = Paid, 3 = Confirmed, 4 = Expired, 5 = Cancelled }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct OutputStandingMessage {
    #[prost(uint64, tag = "1")]
    credited: u64,
    #[prost(bool, tag = "2")]
    satisfied: bool,
    #[prost(uint64, tag = "3")]
    token_overpaid: u64,
}

impl Record for OutputStanding {
    type Message = OutputStandingMessage;

    fn message(&self) -> OutputStandingMessage {
        let Self { credited, satisfied, token_overpaid } = *self;
        OutputStandingMessage { credited, satisfied, token_overpaid }
    }

    fn from_message(message: OutputStandingMessage) -> Result<Self, Damage> {
        let OutputStandingMessage { credited, satisfied, token_overpaid } = message;
        Ok(Self { credited, satisfied, token_overpaid })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct SettlementMessage {
    #[prost(bytes = "vec", repeated, tag = "1")]
    txids: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "2")]
    completed_by: Vec<u8>,
    #[prost(uint64, tag = "3")]
    paid_at_ms: u64,
    #[prost(uint32, tag = "4")]
    via: u32,
    #[prost(bool, tag = "5")]
    late: bool,
    #[prost(uint32, tag = "6")]
    confirmations: u32,
    #[prost(bool, tag = "7")]
    in_blocks: bool,
}

impl Record for Settlement {
    type Message = SettlementMessage;

    fn message(&self) -> SettlementMessage {
        SettlementMessage {
            txids: self.txids.iter().map(|txid| txid.to_byte_array().to_vec()).collect(),
            completed_by: self.completed_by.to_byte_array().to_vec(),
            paid_at_ms: self.paid_at.millis(),
            via: self.via.number(),
            late: self.late,
            confirmations: self.confirmations,
            in_blocks: self.in_blocks,
        }
    }

    fn from_message(message: SettlementMessage) -> Result<Self, Damage> {
        Ok(Self {
            txids: message.txids.iter().map(|bytes| txid(bytes)).collect::<Result<_, _>>()?,
            completed_by: txid(&message.completed_by)?,
            paid_at: time(message.paid_at_ms)?,
            via: Via::read(message.via, "way of a payment")?,
            late: message.late,
            confirmations: message.confirmations,
            in_blocks: message.in_blocks,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct StandingMessage {
    #[prost(uint32, tag = "1")]
    status: u32,
    #[prost(message, repeated, tag = "2")]
    outputs: Vec<OutputStandingMessage>,
    #[prost(uint64, tag = "3")]
    amount_paid: u64,
    #[prost(uint64, tag = "4")]
    overpaid: u64,
    #[prost(uint64, tag = "5")]
    underpaid: u64,
    #[prost(message, optional, tag = "6")]
    settlement: Option<SettlementMessage>,
    /// Of a settlement this is said there.
    #[prost(bool, tag = "7")]
    late: bool,
}

impl Record for Standing {
    type Message = StandingMessage;

    fn message(&self) -> StandingMessage {
        StandingMessage {
            status: self.status.number(),
            outputs: messages(&self.outputs),
            amount_paid: self.amount_paid,
            overpaid: self.overpaid,
            underpaid: self.underpaid,
            settlement: self.settlement.as_ref().map(Record::message),
            late: self.late,
        }
    }

    fn from_message(message: StandingMessage) -> Result<Self, Damage> {
        Ok(Self {
            status: Status::read(message.status, "status")?,
            outputs: parts(message.outputs)?,
            amount_paid: message.amount_paid,
            overpaid: message.overpaid,
            underpaid: message.underpaid,
            late: message.late,
            settlement: message.settlement.map(Record::from_message).transpose()?,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct CompletionMessage {
    #[prost(bytes = "vec", tag = "1")]
    by: Vec<u8>,
    #[prost(uint64, tag = "2")]
    paid_at_ms: u64,
    #[prost(uint32, tag = "3")]
    via: u32,
}

impl Record for Completion {
    type Message = CompletionMessage;

    fn message(&self) -> CompletionMessage {
        CompletionMessage {
            by: self.by.to_byte_array().to_vec(),
            paid_at_ms: self.paid_at.millis(),
            via: self.via.number(),
        }
    }

    fn from_message(message: CompletionMessage) -> Result<Self, Damage> {
        Ok(Self {
            by: txid(&message.by)?,
            paid_at: time(message.paid_at_ms)?,
            via: Via::read(message.via, "way of a payment")?,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct SettlingMessage {
    #[prost(bytes = "vec", repeated, tag = "1")]
    txids: Vec<Vec<u8>>,
    #[prost(uint64, repeated, tag = "2")]
    ordinals: Vec<u64>,
    #[prost(uint64, tag = "3")]
    last: u64,
    #[prost(bool, tag = "4")]
    late: bool,
    #[prost(uint64, tag = "5")]
    outside: u64,
    #[prost(uint32, tag = "6")]
    height: u32,
    #[prost(message, optional, tag = "7")]
    completed: Option<CompletionMessage>,
}

impl Record for Settling {
    type Message = SettlingMessage;

    fn message(&self) -> SettlingMessage {
        SettlingMessage {
            txids: self.txids.iter().map(|txid| txid.to_byte_array().to_vec()).collect(),
            ordinals: self.ordinals.clone(),
            last: self.last,
            late: self.late,
            outside: self.outside,
            height: self.height,
            completed: self.completed.as_ref().map(Record::message),
        }
    }

    fn from_message(message: SettlingMessage) -> Result<Self, Damage> {
        Ok(Self {
            txids: message.txids.iter().map(|bytes| txid(bytes)).collect::<Result<_, _>>()?,
            ordinals: message.ordinals,
            last: message.last,
            late: message.late,
            outside: message.outside,
            height: message.height,
            completed: message.completed.map(Record::from_message).transpose()?,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct PaidMessage {
    #[prost(uint64, tag = "1")]
    credits: u64,
    #[prost(uint64, tag = "2")]
    there: u64,
    #[prost(message, repeated, tag = "3")]
    counted: Vec<OutputStandingMessage>,
    #[prost(message, repeated, tag = "4")]
    with_held: Vec<OutputStandingMessage>,
    #[prost(message, optional, tag = "5")]
    settling: Option<SettlingMessage>,
    #[prost(bool, tag = "6")]
    ambiguous: bool,
}

impl Record for Paid {
    type Message = PaidMessage;

    fn message(&self) -> PaidMessage {
        PaidMessage {
            credits: self.credits,
            there: self.there,
            counted: messages(&self.counted),
            with_held: messages(&self.with_held),
            settling: Some(self.settling.message()),
            ambiguous: self.ambiguous,
        }
    }

    fn from_message(message: PaidMessage) -> Result<Self, Damage> {
        Ok(Self {
            credits: message.credits,
            there: message.there,
            counted: parts(message.counted)?,
            with_held: parts(message.with_held)?,
            settling: part(message.settling, "settling credits")?,
            ambiguous: message.ambiguous,
        })
    }
}
