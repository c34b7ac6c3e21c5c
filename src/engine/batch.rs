//! A batch of inputs: applied one on top of the other, written as one.

use crate::{
    engine::{CommitError, Storage},
    invoice::Order,
    ledger::{self, Changes, Event, Input, Outcome, Overlay, ReadError, Rules, View},
};

/// Why a batch came to nothing. Either way nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFailure {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What a batch changes so far, before it is written.
#[derive(Debug, Default)]
pub struct Batch {
    changes: Changes,
}

impl Batch {
    /// Applies one more input on top of those before it.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if what the input needs could not be read. Then the batch is as it was before: other inputs may
    /// follow, and what was applied can be committed.
    pub fn apply<V: View>(&mut self, below: &V, rules: &Rules, input: Input) -> Result<Outcome, ReadError> {
        let applied = ledger::apply(&Overlay { below, changes: &self.changes }, rules, input)?;
        self.changes.extend(applied.changes);
        Ok(applied.outcome)
    }

    /// Writes it all down, and gives what may be published now: where the order of inputs stands, and the new
    /// events. `None` if nothing changed.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; then nothing of it has happened.
    pub fn commit<S: Storage>(self, store: &S) -> Result<Option<(Order, Vec<Event>)>, CommitError> {
        let Some(Some(meta)) = self.changes.counters.get(&()) else { return Ok(None) };
        let order = meta.order;
        store.commit(&self.changes)?;
        let events = self.changes.events.into_values().flatten().collect();
        Ok(Some((order, events)))
    }
}
