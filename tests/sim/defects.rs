//! Deliberate defects: what a simulator that cannot fail would not find.
//!
//! None of them is in the program. Each is put around its machines, here and where the daemon of the simulation hands
//! answers and inputs on: an input that is not applied, an answer that is turned round, a record that is changed on its
//! way to the disk. A test holds that every one of them is found.

use jppd::{
    invoice::{CreditState, InvoiceId},
    ledger::{
        Changes, Event, EventKind, MemoryView, ReadError, Reads, Subject,
        tables::{Credits, Invoices, Place},
    },
};

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// A submission is broadcast before it is claimed.
    ClaimSkipped,
    /// Events leave before their batch is on disk.
    EventBeforeWrite,
    /// The tip after a snapshot is not compared with the one before.
    TipNotRechecked,
    /// Once a pass was complete, the others look at nothing.
    PassSkipped,
    /// A block is taken off the chain, and what it confirmed stays as it was.
    UndoWithoutRematch,
    /// What ZMQ publishes is taken to be in the mempool.
    RawtxIsMempool,
    /// A claim is released when the broadcast got no answer.
    ReleasedAfterTimeout,
    /// A credit goes to another invoice when its transaction is met again.
    CreditMoves,
    /// Whatever is met is taken for new.
    OldPaysNew,
    /// What one pass does not meet is lost, and is not sent again.
    LostAfterOnePass,
    /// The parts of blocks are not applied.
    BlockPartSkipped,
    /// A transaction is looked up first, and its age noted later.
    OrderAfterLookup,
    /// A repeated broadcast is a refusal.
    RepeatRefused,
    /// The blocks before a start are not recalled.
    RecallSkipped,
    /// A failed write is acknowledged.
    FailureAcknowledged,
    /// A write is acknowledged, and not synced.
    NothingSynced,
    /// Expiry is judged whether the node was heard of or not.
    ExpiryUnwatched,
    /// Invoices are created whether the node was heard of or not.
    CreationUnwatched,
    /// The work of a submission ends when its client hangs up.
    HungUp,
    /// A broadcast that got no answer is a success.
    SilenceIsSuccess,
    /// What a block conflicts with is not taken for lost.
    ConflictForgotten,
    /// Each confirmation is told as a payment.
    ReceivedTwice,
    /// The first pass after a start broadcasts what was only claimed.
    ClaimsSentAtStart,
    /// Answers are given before the order of inputs is published.
    OrderAfterAnswer,
    /// What is to be held back counts at once.
    HoldIgnored,
    /// Nobody hears of double spend proofs.
    ProofsIgnored,
    /// What is held waits for its time, and nobody looks.
    WaitEndedByTheClock,
    /// What is lost, and did not make its invoice paid, is told as if it were there.
    LossUntold,
    /// A script with another owner stays in its era.
    EraForgotten,
    /// A lost credit stays in the paid amount in the record of its invoice.
    LossStaysInTheSum,
    /// Deadlines and waits are kept in the time of the wall clock.
    DeadlinesByTheWall,
    /// Entries of the mempool are compared with our own clock.
    NodeTimeIsOurs,
    /// The wall clock alone says how long the program was stopped.
    StopBelieved,
}

impl Defect {
    pub(crate) const ALL: [Self; 33] = [
        Self::ClaimSkipped,
        Self::EventBeforeWrite,
        Self::TipNotRechecked,
        Self::PassSkipped,
        Self::UndoWithoutRematch,
        Self::RawtxIsMempool,
        Self::ReleasedAfterTimeout,
        Self::CreditMoves,
        Self::OldPaysNew,
        Self::LostAfterOnePass,
        Self::BlockPartSkipped,
        Self::OrderAfterLookup,
        Self::RepeatRefused,
        Self::RecallSkipped,
        Self::FailureAcknowledged,
        Self::NothingSynced,
        Self::ExpiryUnwatched,
        Self::CreationUnwatched,
        Self::HungUp,
        Self::SilenceIsSuccess,
        Self::ConflictForgotten,
        Self::ReceivedTwice,
        Self::ClaimsSentAtStart,
        Self::OrderAfterAnswer,
        Self::HoldIgnored,
        Self::ProofsIgnored,
        Self::WaitEndedByTheClock,
        Self::LossUntold,
        Self::EraForgotten,
        Self::LossStaysInTheSum,
        Self::DeadlinesByTheWall,
        Self::NodeTimeIsOurs,
        Self::StopBelieved,
    ];
}

/// Changes what is on its way to the disk, for the defects that are there.
pub(crate) fn tamper(defect: Defect, changes: &mut Changes, view: &MemoryView) -> Result<(), ReadError> {
    match defect {
        Defect::UndoWithoutRematch if changes.chain.values().any(Option::is_none) => {
            changes.credits.clear();
            changes.transactions.clear();
            changes.unconfirmed.clear();
            changes.block_transactions.clear();
        }
        Defect::CreditMoves => {
            let every = InvoiceId::from_bytes([0; 16])..=InvoiceId::from_bytes([0xff; 16]);
            let invoices = Reads::<Invoices>::range(view, every, usize::MAX)?;
            for credit in changes.credits.values_mut().flatten() {
                let known = Reads::<Credits>::get(view, &credit.outpoint)?;
                let other = invoices.iter().find(|(id, _)| *id != credit.invoice);
                if let (Some(_), Some((other, _))) = (known, other) {
                    credit.invoice = *other;
                }
            }
        }
        Defect::ConflictForgotten => {
            changes
                .transactions
                .retain(|_, record| record.as_ref().is_none_or(|record| record.place != Place::Lost));
            changes
                .credits
                .retain(|_, credit| credit.as_ref().is_none_or(|credit| credit.state != CreditState::Lost));
        }
        Defect::HoldIgnored => {
            for credit in changes.credits.values_mut().flatten() {
                if credit.state == CreditState::Held {
                    credit.state = CreditState::Mempool;
                }
            }
        }
        Defect::EraForgotten => {
            for script in changes.scripts.values_mut().flatten() {
                script.taken.clear();
            }
        }
        Defect::LossStaysInTheSum => {
            let lost = changes.credits.values().flatten().filter(|credit| credit.state == CreditState::Lost);
            for invoice in lost.map(|credit| credit.invoice) {
                if let (Some(Some(record)), Some(before)) =
                    (changes.invoices.get_mut(&invoice), Reads::<Invoices>::get(view, &invoice)?)
                {
                    record.paid = before.paid;
                }
            }
        }
        Defect::LossUntold => changes.events.values_mut().flatten().for_each(tell_as_there),
        Defect::ReceivedTwice => changes.events.values_mut().flatten().for_each(tell_again),
        Defect::UndoWithoutRematch
        | Defect::ClaimSkipped
        | Defect::EventBeforeWrite
        | Defect::TipNotRechecked
        | Defect::PassSkipped
        | Defect::RawtxIsMempool
        | Defect::ReleasedAfterTimeout
        | Defect::OldPaysNew
        | Defect::LostAfterOnePass
        | Defect::BlockPartSkipped
        | Defect::OrderAfterLookup
        | Defect::RepeatRefused
        | Defect::RecallSkipped
        | Defect::FailureAcknowledged
        | Defect::NothingSynced
        | Defect::ExpiryUnwatched
        | Defect::CreationUnwatched
        | Defect::HungUp
        | Defect::SilenceIsSuccess
        | Defect::ClaimsSentAtStart
        | Defect::OrderAfterAnswer
        | Defect::ProofsIgnored
        | Defect::WaitEndedByTheClock
        | Defect::DeadlinesByTheWall
        | Defect::NodeTimeIsOurs
        | Defect::StopBelieved => {}
    }
    Ok(())
}

/// A confirmation is told as a payment.
pub(crate) fn tell_again(event: &mut Event) {
    if event.kind == EventKind::Confirmation || event.kind == EventKind::PaymentConfirmed {
        event.kind = EventKind::PaymentReceived;
    }
}

/// What was lost is told as if it were there.
pub(crate) fn tell_as_there(event: &mut Event) {
    if let (EventKind::PaymentLost, Subject::Invoice { statement, .. }) = (event.kind, &mut event.subject) {
        for credit in &mut statement.credits {
            if credit.state == CreditState::Lost {
                credit.state = CreditState::Mempool;
            }
        }
    }
}
