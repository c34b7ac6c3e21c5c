//! Who waits for which invoice.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{engine::Publish, invoice::InvoiceId, ledger::Event};

/// Wakes those who wait for the events of an invoice.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    waiting: Arc<Waiting>,
}

/// The number of the last event by invoice, for those invoices that somebody listens to.
type Waiting = Mutex<HashMap<InvoiceId, watch::Sender<u64>>>;

impl Notifier {
    /// Listens to the events of an invoice that are published from now on.
    pub fn subscribe(&self, id: InvoiceId) -> Subscription {
        let changes = self.waiting.lock().entry(id).or_insert_with(|| watch::channel(0).0).subscribe();
        Subscription { changes: Some(changes), id, waiting: self.waiting.clone() }
    }

    /// How many invoices are listened to.
    pub fn listened(&self) -> usize {
        self.waiting.lock().len()
    }
}

impl Publish for Notifier {
    fn publish(&self, events: &[Event]) {
        let waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        for (id, n) in events.iter().filter_map(Event::of_invoice) {
            if let Some(sender) = waiting.get(&id) {
                sender.send_replace(n);
            }
        }
    }
}

/// One listener's place among those who wait. The last to leave takes the entry away.
#[derive(Debug)]
pub struct Subscription {
    changes: Option<watch::Receiver<u64>>,
    id: InvoiceId,
    waiting: Arc<Waiting>,
}

impl Subscription {
    /// Waits for an event that was published since the subscription began, or since the last call returned. Dropping
    /// the future loses nothing.
    pub async fn changed(&mut self) {
        if let Some(changes) = &mut self.changes {
            // The sender stays for as long as somebody is subscribed, so this cannot fail.
            let _ = changes.changed().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        self.changes = None;
        if waiting.get(&self.id).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(&self.id);
        }
    }
}
