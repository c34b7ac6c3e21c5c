//! The state machine of payment: `apply(view, input) -> changes`.
//!
//! Floor 2. Whatever happens, a merchant creating an invoice, a wallet submitting a transaction, the node's mempool
//! or a block showing one, time passing, enters as one [`Input`] and leaves as [`Changes`]: records and events,
//! to be written in one atomic write. Nothing here does I/O, reads a clock or draws a random number; the same
//! inputs over the same view give the same changes, to the byte. That is what makes a crash harmless (what was not
//! written has not happened), a simulation possible, and an argument about money one that can be settled.
//!
//! # How it is built
//!
//! - [`tables`]: what is kept, typed; [`View`] is anything those tables can be read from, [`Overlay`] lays changes
//!   over a view, so that each input of a batch sees those before it.
//! - `scribe`: one input's work in progress: reads through its own changes, counts, writes events.
//! - `create`, `claim`, `observe`, `block`, `tick`, `manage`: one file an input. They decide what happened.
//! - `hold`: payments that wait for what an invoice asks of those that are not in a block.
//! - `candidates`: which invoice an output pays (the rows of the matching rules).
//! - `settle`: the one place where an invoice's standing is judged after something changed, its events are chosen
//!   and its index entries follow. Everything above ends here.
//! - [`judge`]: whether a submission would be taken; asked by `verify` without any effect, and by a claim again.
//!
//! # What counts as one payment
//!
//! An outpoint is credited once; `observe` is the one function that credits. ZMQ, a snapshot, a block and a
//! submission all end there, and meeting the transaction again changes the state of its credits at most.

mod block;
mod candidates;
mod claim;
mod create;
mod event;
mod hold;
mod input;
mod judge;
mod manage;
mod observe;
mod read;
mod scribe;
mod settle;
pub mod tables;
#[cfg(test)]
mod tests;
mod tick;
mod view;

pub use event::{Event, EventKind, LogId, MOST_CREDITS_IN_AN_EVENT, Subject};
pub use input::{
    Action, ClaimRequest, Claimed, Created, Creation, Idempotency, Input, Managed, Observation, Outcome,
    Rules, SharedOutputs, Submitted,
};
pub use judge::{Judgement, Refusal, is_claimed, judge};
pub use read::{
    credits_after, each_open_or_paid, event, events_after, paid_anew, statement, tip_height, tracked,
    unassigned_of, unconfirmed,
};
pub use tables::{Changes, Holds, ReadError, Reads, Table, View};
pub use view::{MemoryView, Overlay};

use scribe::Scribe;

use crate::invoice::DoubleSpend;

/// What an input does.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// To be written, all or nothing.
    pub changes: Changes,
    /// What its sender is told, once that is on disk.
    pub outcome: Outcome,
}

/// Applies one input.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read; then nothing happened.
pub fn apply<V: View>(view: &V, rules: &Rules, input: Input) -> Result<Applied, ReadError> {
    let mut scribe = Scribe::begin(view, rules, input.at)?;
    let outcome = match input.action {
        Action::Create(creation) => Outcome::Created(Box::new(scribe.create(*creation)?)),
        Action::ReleaseScript { script } => {
            scribe.release_script(script)?;
            Outcome::Done
        }
        Action::Cancel { invoice, merchant } => Outcome::Managed(scribe.cancel(invoice, &merchant)?),
        Action::Assign { outpoint, invoice, merchant } => {
            Outcome::Managed(scribe.assign(outpoint, invoice, &merchant)?)
        }
        Action::Claim(request) => Outcome::Claimed(scribe.claim(&request)?),
        Action::Release { txids, invoice } => {
            for txid in txids {
                scribe.release(txid, invoice)?;
            }
            Outcome::Done
        }
        Action::Observed { transaction, first_seen, observation } => {
            scribe.observe(&transaction, first_seen, observation.into())?;
            Outcome::Done
        }
        Action::Lost { txid } => {
            scribe.lose(txid, false)?;
            Outcome::Done
        }
        Action::Missed { txids } => {
            for txid in txids {
                scribe.miss(txid)?;
            }
            Outcome::Done
        }
        Action::Proven { txids } => {
            for txid in txids {
                scribe.warn(txid, DoubleSpend::Proof)?;
            }
            Outcome::Done
        }
        Action::Appraised { txid, score } => {
            scribe.appraise(txid, score)?;
            Outcome::Done
        }
        Action::Watched { until } => {
            scribe.end_waits(&until)?;
            Outcome::Done
        }
        Action::Anchor { height, hash, time_s } => {
            scribe.anchor(height, hash, time_s)?;
            Outcome::Done
        }
        Action::BlockPart { hash, height, time_s, transactions } => {
            Outcome::Part { applied: scribe.block_part(hash, height, time_s, &transactions)? }
        }
        Action::BlockConnected { hash, height } => {
            scribe.connect_block(hash, height)?;
            Outcome::Done
        }
        Action::BlockDisconnected { hash, height } => {
            scribe.disconnect_block(hash, height)?;
            Outcome::Done
        }
        Action::Tick { judge_expiry, clock_wrong } => {
            scribe.tick(judge_expiry, clock_wrong)?;
            Outcome::Done
        }
    };
    scribe.put_paid()?;
    Ok(Applied { changes: scribe.finish(), outcome })
}
