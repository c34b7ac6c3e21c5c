//! The writer: what becomes of the inputs that gathered, and of a store that failed.

use std::time::{Duration, Instant};

use super::{Batch, BatchFailure, EngineError, Storage};
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
        Ok((Self { rules, seq: meta.seq, failing: false, tried: None }, meta.order))
    }

    /// Whether the last batch came to nothing.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// Applies inputs and writes what they change, all or nothing. A store that failed is tried first.
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
                written.outcomes.extend(outcomes.into_iter().map(Ok));
            }
            Err(failure) => {
                self.failing = true;
                tracing::error!(%failure, inputs = number, "a batch came to nothing");
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
    ) -> Result<Vec<Outcome>, BatchFailure> {
        let mut batch = Batch::default();
        let mut outcomes = Vec::with_capacity(inputs.len());
        for input in inputs {
            outcomes.push(batch.apply(store, &self.rules, input)?);
        }
        if let Some((order, events)) = batch.commit(store)? {
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
        match store.recover().map_err(BatchFailure::from).and_then(|()| Ok(self.catch_up(store, written)?)) {
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
