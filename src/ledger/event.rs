//! Events: what is told, once it is on disk.

use std::fmt;

use uuid::Uuid;

use super::tables::UnassignedReason;
use crate::{
    bch::{OutPoint, Txid},
    invoice::{InvoiceId, Merchant, Statement, Timestamp},
};

/// Id of an event log: a random (version 4) UUID. Event numbers compare only within one log: a log that was restored
/// from a copy numbers other events alike, and gets another id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(Uuid);

impl LogId {
    /// A new id, from the system's randomness.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// An id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads an id in every spelling of a UUID, as [`InvoiceId::parse`] does.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

/// 32 hex digits in lower case, without dashes.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// An invoice was registered.
    InvoiceCreated,
    /// Its time passed while it was not fully paid.
    InvoiceExpired,
    /// Its merchant withdrew it.
    InvoiceCancelled,
    /// Something was credited, and it is not enough yet.
    PartialPayment,
    /// Something was credited, and does not count before it is safe enough.
    PaymentHeld,
    /// It became paid.
    PaymentReceived,
    /// Something was credited to an invoice that was paid already, or cancelled.
    PaymentRecorded,
    /// A block made its settlement safer.
    Confirmation,
    /// It has the confirmations it asked for.
    PaymentConfirmed,
    /// Another transaction spends what a settling one spends.
    DoubleSpendDetected,
    /// It is no longer paid, or no longer confirmed.
    PaymentReverted,
    /// Something that was credited or held is gone, and it was not that which made it paid.
    PaymentLost,
    /// Its merchant moved a payment to it, or away from it.
    PaymentMoved,
    /// A payment to a script of the merchant's belongs to no invoice.
    PaymentUnassigned,
}

impl EventKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::InvoiceCreated,
        Self::InvoiceExpired,
        Self::InvoiceCancelled,
        Self::PartialPayment,
        Self::PaymentHeld,
        Self::PaymentReceived,
        Self::PaymentRecorded,
        Self::Confirmation,
        Self::PaymentConfirmed,
        Self::DoubleSpendDetected,
        Self::PaymentReverted,
        Self::PaymentLost,
        Self::PaymentMoved,
        Self::PaymentUnassigned,
    ];

    /// The word of the JSON, field `type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvoiceCreated => "invoice_created",
            Self::InvoiceExpired => "invoice_expired",
            Self::InvoiceCancelled => "invoice_cancelled",
            Self::PartialPayment => "partial_payment",
            Self::PaymentHeld => "payment_held",
            Self::PaymentReceived => "payment_received",
            Self::PaymentRecorded => "payment_recorded",
            Self::Confirmation => "confirmation",
            Self::PaymentConfirmed => "payment_confirmed",
            Self::DoubleSpendDetected => "double_spend_detected",
            Self::PaymentReverted => "payment_reverted",
            Self::PaymentLost => "payment_lost",
            Self::PaymentMoved => "payment_moved",
            Self::PaymentUnassigned => "payment_unassigned",
        }
    }
}

/// One entry of the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number in the whole log, from 1, without a gap.
    pub seq: u64,
    /// What happened.
    pub kind: EventKind,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// Whose it is.
    pub merchant: Merchant,
    /// The transaction it is about.
    pub txid: Option<Txid>,
    /// What it is about beside the transaction.
    pub subject: Subject,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An invoice, as it stood then.
    Invoice {
        /// The event's number among those of the invoice, from 1, without a gap.
        n: u64,
        /// The invoice, as it stood then; of its credits at most [`MOST_CREDITS_IN_AN_EVENT`].
        statement: Box<Statement>,
    },
    /// A payment that no invoice could be found for.
    Unassigned {
        /// The output.
        outpoint: OutPoint,
        /// What it carries, in satoshis.
        satoshis: u64,
        /// Why no invoice got it, where that is known.
        reason: Option<UnassignedReason>,
    },
}

/// How many credits an event keeps of its invoice: as many as an answer shows.
pub const MOST_CREDITS_IN_AN_EVENT: usize = Statement::MOST_CREDITS;

impl Event {
    /// The invoice it is about, and its number there.
    pub fn of_invoice(&self) -> Option<(InvoiceId, u64)> {
        match &self.subject {
            Subject::Invoice { n, statement } => Some((statement.invoice.id, *n)),
            Subject::Unassigned { .. } => None,
        }
    }
}
