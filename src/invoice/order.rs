//! What came first: the order of inputs, and how early a transaction is known to have been there.

use std::time::Duration;

use super::{Elapsed, Invoice, NodeTime, Timestamp};

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
    /// The transaction was in the mempool when the process started.
    MempoolTime {
        /// The node's own time for the entry in the mempool, whole seconds since 1970.
        secs: u64,
        /// The position up to which everything was on disk when the first pass of the process noted the transaction: a
        /// registration after it is younger than the transaction, whatever the node's clock shows. `None` in records of
        /// programs that did not keep it.
        noted: Option<Order>,
    },
    /// It was first met in a block whose first part was applied at this position.
    Block(Order),
}

/// Whether a transaction came after a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// The transaction came after the registration, and may pay the invoice.
    Younger,
    /// The node's clock alone tells, and says that the transaction came a little before: if somebody set that clock
    /// back since the registration, the transaction came after. It pays nothing by itself, and a merchant is told.
    Doubtful,
    /// The transaction came before the registration.
    Older,
}

/// How much earlier than the registration a transaction may have entered the mempool by the node's clock and count as
/// younger: the clock shows whole seconds, and is measured over HTTP to within a second.
const PRECISION: Duration = Duration::from_secs(2);

/// How much earlier it may have entered and be doubtful: how far the node's clock may have been set back.
const DOUBT: Duration = Duration::from_secs(120);

/// When a transaction was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstSeen {
    /// What came first.
    pub sighting: Sighting,
    /// When it was there, in elapsed time, which decides whether a payment is late: now, less the age that the node
    /// or its block gives it.
    pub at: Elapsed,
    /// Time of that moment by the wall clock, for display.
    pub shown: Timestamp,
}

impl FirstSeen {
    /// Whether the transaction came after the invoice was registered, and so may pay it.
    pub fn is_after(&self, invoice: &Invoice) -> bool {
        self.age_beside(invoice) == Age::Younger
    }

    /// Whether the transaction came after the invoice was registered.
    pub fn age_beside(&self, invoice: &Invoice) -> Age {
        self.age(invoice.registered, invoice.node_time, invoice.created)
    }

    /// Whether the transaction came after a registration: its input, what the node's clock showed then, and what ours
    /// did, for records that have no time of the node.
    pub fn age(&self, registered: Order, node_time: Option<NodeTime>, wall: Timestamp) -> Age {
        let entered = match self.sighting {
            Sighting::Order(order) | Sighting::Block(order) if order >= registered => return Age::Younger,
            Sighting::Order(_) | Sighting::Block(_) => return Age::Older,
            Sighting::MempoolTime { noted: Some(noted), .. } if noted < registered => return Age::Older,
            Sighting::MempoolTime { secs, .. } => NodeTime::from_secs(secs),
        };
        let registered = node_time.unwrap_or(NodeTime::from_millis(wall.millis()));
        if entered.after(PRECISION) >= registered {
            Age::Younger
        } else if entered.after(DOUBT) >= registered {
            Age::Doubtful
        } else {
            Age::Older
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_a_mempool_is_compared_with_the_clock_of_its_node() {
        let at = NodeTime::from_millis(1_800_000_000_900);
        let age = |seconds_before: u64, node_time| {
            let sighting = Sighting::MempoolTime { secs: at.secs() - seconds_before, noted: Some(Order(7)) };
            let seen = FirstSeen { sighting, at: Elapsed::default(), shown: Timestamp::default() };
            // Our own clock was 400 days ahead, and is not asked.
            seen.age(Order(7), node_time, Timestamp::from_millis(at.millis()).after(DOUBT * 288_000))
        };
        let table = [
            (0, Age::Younger),
            (1, Age::Younger),
            (2, Age::Doubtful),
            (119, Age::Doubtful),
            (120, Age::Older),
            (14 * 24 * 3600, Age::Older),
        ];
        for (seconds_before, expected) in table {
            assert_eq!(age(seconds_before, Some(at)), expected, "{seconds_before}");
        }
        assert_eq!(age(0, None), Age::Older, "a record without a time of the node has our clock alone");
    }

    #[test]
    fn a_registration_after_the_transaction_was_noted_is_younger_whatever_the_clock_shows() {
        let node_time = NodeTime::from_secs(1_800_000_000);
        for (noted, expected) in
            [(None, Age::Younger), (Some(Order(7)), Age::Younger), (Some(Order(6)), Age::Older)]
        {
            let sighting = Sighting::MempoolTime { secs: node_time.secs(), noted };
            let seen = FirstSeen { sighting, at: Elapsed::default(), shown: Timestamp::default() };
            assert_eq!(seen.age(Order(7), Some(node_time), Timestamp::default()), expected, "{noted:?}");
        }
    }

    #[test]
    fn where_an_order_is_known_no_clock_is_asked() {
        for sighting in [Sighting::Order, Sighting::Block] {
            for (order, expected) in [(6, Age::Older), (7, Age::Younger)] {
                let seen = FirstSeen {
                    sighting: sighting(Order(order)),
                    at: Elapsed::default(),
                    shown: Timestamp::default(),
                };
                assert_eq!(seen.age(Order(7), Some(NodeTime::MAX), Timestamp::MAX), expected);
            }
        }
    }
}
