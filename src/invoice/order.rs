//! What came first: the order of inputs, and how early a transaction is known to have been there.

use super::{Invoice, Timestamp};

/// A position in the one sequence of inputs that the ledger applies. Positions only grow, across restarts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(pub u64);

/// The evidence for when a transaction was first there.
///
/// A transaction pays only invoices that were registered before it. While the program runs its own order decides,
/// and no clock is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It came to us after everything up to this position was on disk.
    Order(Order),
    /// It was in the mempool when we started; the node's own time for its entry, whole seconds since 1970. An
    /// equal second counts as after.
    MempoolTime(u64),
    /// It was first met in a block whose first part was applied at this position.
    Block(Order),
}

/// When a transaction was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstSeen {
    /// What came first.
    pub sighting: Sighting,
    /// The moment, which decides whether a payment is late. For a transaction first met in a block it is not
    /// after the block's own time.
    pub at: Timestamp,
}

impl FirstSeen {
    /// Whether the transaction came after the invoice was registered, and so may pay it.
    pub fn is_after(&self, invoice: &Invoice) -> bool {
        match self.sighting {
            Sighting::Order(order) | Sighting::Block(order) => order >= invoice.registered,
            Sighting::MempoolTime(secs) => secs >= invoice.created.secs(),
        }
    }
}
