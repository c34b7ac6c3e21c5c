//! The event log: each event with the invoice as it stood then.

use bitcoincash::hashes::Hash as _;
use prost::Message;

use super::{
    Damage, Record, Word as _,
    index::OutPointMessage,
    messages, part, parts,
    payments::{CreditMessage, NoteMessage},
    standing::StandingMessage,
    terms::{InvoiceMessage, StateMessage},
    time, txid, words,
};
use crate::{
    invoice::{Merchant, Statement},
    ledger::{Event, EventKind, Subject, tables::UnassignedReason},
};

words! {
    EventKind {
        1 = InvoiceCreated,
        2 = InvoiceExpired,
        3 = InvoiceCancelled,
        4 = PartialPayment,
        5 = PaymentReceived,
        6 = PaymentRecorded,
        7 = Confirmation,
        8 = PaymentConfirmed,
        9 = DoubleSpendDetected,
        10 = PaymentReverted,
        11 = PaymentMoved,
        12 = PaymentUnassigned,
        13 = PaymentHeld,
        14 = PaymentLost,
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct StatementMessage {
    #[prost(message, optional, tag = "1")]
    invoice: Option<InvoiceMessage>,
    #[prost(message, optional, tag = "2")]
    state: Option<StateMessage>,
    #[prost(message, repeated, tag = "3")]
    credits: Vec<CreditMessage>,
    #[prost(message, optional, tag = "4")]
    note: Option<NoteMessage>,
    #[prost(uint32, optional, tag = "5")]
    tip_height: Option<u32>,
    /// Only where `credits` are not all of them.
    #[prost(message, optional, tag = "6")]
    abridged: Option<StandingMessage>,
    /// How many credits there are. Absent in the records of programs that did not say it.
    #[prost(uint64, optional, tag = "7")]
    total: Option<u64>,
}

impl Record for Statement {
    type Message = StatementMessage;

    fn message(&self) -> StatementMessage {
        StatementMessage {
            invoice: Some(self.invoice.message()),
            state: Some(self.state.message()),
            credits: messages(&self.credits),
            note: Some(self.note.message()),
            tip_height: self.tip_height,
            abridged: self.abridged.as_ref().map(|standing| standing.message()),
            total: Some(self.total),
        }
    }

    fn from_message(message: StatementMessage) -> Result<Self, Damage> {
        let shown = message.credits.len() as u64;
        Ok(Self {
            invoice: part(message.invoice, "invoice")?,
            state: part(message.state, "state")?,
            credits: parts(message.credits)?,
            total: message.total.unwrap_or(shown),
            note: part(message.note, "note")?,
            tip_height: message.tip_height,
            abridged: message.abridged.map(Record::from_message).transpose()?.map(Box::new),
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct OfInvoiceMessage {
    #[prost(uint64, tag = "1")]
    n: u64,
    #[prost(message, optional, tag = "2")]
    statement: Option<StatementMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct OfUnassignedMessage {
    #[prost(message, optional, tag = "1")]
    outpoint: Option<OutPointMessage>,
    #[prost(uint64, tag = "2")]
    satoshis: u64,
    #[prost(uint32, optional, tag = "3")]
    reason: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct EventMessage {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(uint64, tag = "3")]
    at_ms: u64,
    #[prost(string, tag = "4")]
    merchant: String,
    #[prost(bytes = "vec", optional, tag = "5")]
    txid: Option<Vec<u8>>,
    /// Of this and the next, one.
    #[prost(message, optional, tag = "6")]
    invoice: Option<OfInvoiceMessage>,
    #[prost(message, optional, tag = "7")]
    unassigned: Option<OfUnassignedMessage>,
}

impl Record for Event {
    type Message = EventMessage;

    fn message(&self) -> EventMessage {
        let (invoice, unassigned) = match &self.subject {
            Subject::Invoice { n, statement } => {
                (Some(OfInvoiceMessage { n: *n, statement: Some(statement.message()) }), None)
            }
            Subject::Unassigned { outpoint, satoshis, reason } => {
                let unassigned = OfUnassignedMessage {
                    outpoint: Some(outpoint.message()),
                    satoshis: *satoshis,
                    reason: reason.map(UnassignedReason::number),
                };
                (None, Some(unassigned))
            }
        };
        EventMessage {
            seq: self.seq,
            kind: self.kind.number(),
            at_ms: self.at.millis(),
            merchant: self.merchant.name().to_owned(),
            txid: self.txid.map(|txid| txid.to_byte_array().to_vec()),
            invoice,
            unassigned,
        }
    }

    fn from_message(message: EventMessage) -> Result<Self, Damage> {
        let subject = match (message.invoice, message.unassigned) {
            (Some(invoice), None) => {
                Subject::Invoice { n: invoice.n, statement: Box::new(part(invoice.statement, "statement")?) }
            }
            (None, Some(unassigned)) => Subject::Unassigned {
                outpoint: part(unassigned.outpoint, "outpoint")?,
                satoshis: unassigned.satoshis,
                reason: unassigned
                    .reason
                    .map(|number| UnassignedReason::read(number, "reason of an unassigned payment"))
                    .transpose()?,
            },
            (None, None) | (Some(_), Some(_)) => return Err(Damage::Field("subject")),
        };
        Ok(Self {
            seq: message.seq,
            kind: EventKind::read(message.kind, "kind of event")?,
            at: time(message.at_ms)?,
            merchant: Merchant::named(message.merchant),
            txid: message.txid.as_deref().map(txid).transpose()?,
            subject,
        })
    }
}
