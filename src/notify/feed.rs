//! One listener: the events of one invoice, in order, from where it left off.

use std::{collections::VecDeque, sync::Arc};

use super::notifier::Subscription;
use crate::{
    invoice::InvoiceId,
    ledger::{self, Event, ReadError, View},
};

/// How many events are read from the log at a time.
const PAGE: usize = 64;

/// The events of one invoice, in order, each once.
#[derive(Debug)]
pub struct Feed<S> {
    store: Arc<S>,
    id: InvoiceId,
    /// The number of the last event that was given out.
    last: u64,
    read: VecDeque<Event>,
    subscription: Subscription,
}

/// The log could not be read. The disk is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The reader's thread was lost.
    #[error("reading the event log was given up")]
    Stopped,
}

impl<S: View + Send + Sync + 'static> Feed<S> {
    pub(super) fn new(store: Arc<S>, id: InvoiceId, since: u64, subscription: Subscription) -> Self {
        Self { store, id, last: since, read: VecDeque::new(), subscription }
    }

    /// The number of the last event that was given out, or that the listener began after.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The next event, at once if it is in the log, or when it is. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`FeedError`]; the feed can be asked again.
    pub async fn next(&mut self) -> Result<Event, FeedError> {
        loop {
            if let Some(event) = self.read.pop_front() {
                if let Some((_, n)) = event.of_invoice() {
                    self.last = n;
                }
                return Ok(event);
            }
            let (store, id, last) = (self.store.clone(), self.id, self.last);
            let page = tokio::task::spawn_blocking(move || ledger::events_after(&*store, id, last, PAGE));
            self.read = page.await.map_err(|_| FeedError::Stopped)??.into();
            if self.read.is_empty() {
                self.subscription.changed().await;
            }
        }
    }
}
