//! The writer: what becomes of the inputs that gathered, and of a store that failed.

use std::time::{Duration, Instant};

use super::{Batch, BatchFailure, CommitError, EngineError, Pulse, Storage};
use crate::{
    invoice::Order,
    ledger::{
        Event, Input, Outcome, ReadError, Reads, Rules,
        tables::{Counters, Events},
    },
};

/// How often a store that failed is tried again.
const RECOVERY: Duration = Duration::from_millis(500);

/// The one who writes, between two batches. It has no thread and no clock: whoever drives it says when it is.
#[derive(Debug)]
pub struct Writer {
    rules: Rules,
    /// The number of the last event that was published.
    seq: u64,
    /// Whether the last batch came to nothing.
    failing: bool,
    /// When the store was last found unfit, while it is.
    tried: Option<Instant>,
    /// Counts the inputs, and notes while the store is written.
    pulse: Pulse,
}

/// What a batch came to. Everything in it is on disk: first the order is to be published, then the events, then the
/// inputs answered.
#[derive(Debug)]
pub struct Written {
    /// The position up to which everything is on disk; `None` if that did not move.
    pub order: Option<Order>,
    /// The new events, in order: those of this batch, and before them those of an earlier one that was in doubt.
    pub events: Vec<Event>,
    /// What the sender of each input is told, in the order of the inputs.
    pub outcomes: Vec<Result<Outcome, EngineError>>,
}

impl Writer {
    /// A writer over what a store holds, and the position up to which everything is on disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the counters cannot be read.
    pub fn new<S: Storage>(store: &S, rules: Rules) -> Result<(Self, Order), ReadError> {
        let meta = Reads::<Counters>::get(store, &())?.unwrap_or_default();
        Ok((Self { rules, seq: meta.seq, failing: false, tried: None, pulse: Pulse::default() }, meta.order))
    }

    /// The pulse of this writer: a step for each input, and a wait while the store writes.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Whether the last batch came to nothing.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// Applies inputs and writes what they change, in one write. An input that needs what cannot be read is refused alone;
    /// where the write fails all are. A store that failed is tried first.
    pub fn write<S: Storage>(&mut self, store: &S, inputs: Vec<Input>, now: Instant) -> Written {
        let number = inputs.len();
        let mut written = Written { order: None, events: Vec::new(), outcomes: Vec::new() };
        if self.failing && !self.recover(store, now, &mut written) {
            written.outcomes.resize(number, Err(EngineError::Unavailable));
            return written;
        }
        match self.apply(store, inputs, &mut written) {
            Ok(outcomes) => {
                self.failing = false;
                written.outcomes.extend(outcomes);
            }
            Err(failure) => {
                self.failing = true;
                tracing::error!(%failure, inputs = number, "batch commit failed");
                metrics::counter!("jppd_batches_failed_total").increment(1);
                written.outcomes.resize(number, Err(EngineError::Unavailable));
            }
        }
        written
    }

    fn apply<S: Storage>(
        &mut self,
        store: &S,
        inputs: Vec<Input>,
        written: &mut Written,
    ) -> Result<Vec<Result<Outcome, EngineError>>, CommitError> {
        let mut batch = Batch::default();
        let mut outcomes = Vec::with_capacity(inputs.len());
        let mut unreadable: Vec<ReadError> = Vec::new();
        for input in inputs {
            // An input that needs what cannot be read changes nothing, and the others go on without it.
            outcomes.push(batch.apply(store, &self.rules, input).map_err(|error| {
                unreadable.push(error);
                EngineError::Unavailable
            }));
            self.pulse.step();
        }
        if let Some(error) = unreadable.first() {
            tracing::error!(%error, inputs = unreadable.len(), "inputs were refused: what they need cannot be read");
            let number = u64::try_from(unreadable.len()).unwrap_or(u64::MAX);
            metrics::counter!("jppd_inputs_unreadable_total").increment(number);
        }
        let waiting = self.pulse.waiting();
        let committed = batch.commit(store);
        drop(waiting);
        if let Some((order, events)) = committed? {
            written.order = Some(order);
            self.seq = events.last().map_or(self.seq, |event| event.seq);
            written.events.extend(events);
        }
        Ok(outcomes)
    }

    /// Tries to make a failed store fit again. The batch that failed may be in it after all: then its events are
    /// published now.
    fn recover<S: Storage>(&mut self, store: &S, now: Instant, written: &mut Written) -> bool {
        if self.tried.is_some_and(|tried| now.saturating_duration_since(tried) < RECOVERY) {
            return false;
        }
        let waiting = self.pulse.waiting();
        let recovered = store.recover();
        drop(waiting);
        match recovered.map_err(BatchFailure::from).and_then(|()| Ok(self.catch_up(store, written)?)) {
            Ok(()) => {
                tracing::info!("the store can be written again");
                self.tried = None;
                self.failing = false;
                true
            }
            Err(failure) => {
                tracing::warn!(%failure, "the store is not fit yet");
                self.tried = Some(now);
                false
            }
        }
    }

    /// There is no more to catch up with than one batch.
    fn catch_up<S: Storage>(&mut self, store: &S, written: &mut Written) -> Result<(), ReadError> {
        let meta = Reads::<Counters>::get(store, &())?.unwrap_or_default();
        if self.seq < meta.seq {
            let events = Reads::<Events>::range(store, self.seq + 1..=meta.seq, usize::MAX)?;
            written.events.extend(events.into_iter().map(|(_, event)| event));
        }
        self.seq = meta.seq;
        written.order = Some(meta.order);
        Ok(())
    }
}
