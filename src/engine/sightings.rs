//! When each transaction of the mempool was first seen.

use std::collections::{HashMap, VecDeque};

use parking_lot::RwLock;

use super::Coverage;
use crate::{bch::Txid, invoice::FirstSeen};

/// How many transactions that left the mempool are remembered, at about a hundred bytes each: days of traffic.
const MOST_GONE: usize = 1_000_000;

/// When each transaction was first seen while this process runs: every one that is or was in the mempool, and
/// those of blocks that were walked, whether it matched anything or not.
///
/// A transaction that nobody asked for when it came is not kept anywhere else, and must not pay an invoice that is
/// registered later, nor after a reorg brings it back. The follower writes here; whoever takes a submission asks.
#[derive(Debug, Default)]
pub struct Sightings {
    inner: RwLock<Inner>,
    coverage: Coverage,
}

#[derive(Debug, Default)]
struct Inner {
    /// With the number of its departure; 0 for what is still there.
    seen: HashMap<Txid, (FirstSeen, u64), foldhash::fast::RandomState>,
    gone: VecDeque<(Txid, u64)>,
    departures: u64,
}

impl Sightings {
    /// How completely the node's mempool is known.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// When a transaction was first seen, if it was.
    pub fn get(&self, txid: &Txid) -> Option<FirstSeen> {
        self.inner.read().seen.get(txid).map(|(seen, _)| *seen)
    }

    /// Notes a transaction that is there, and gives when it was first seen: now, or before.
    pub fn note(&self, txid: Txid, now: FirstSeen) -> FirstSeen {
        let mut inner = self.inner.write();
        let (seen, gone) = inner.seen.entry(txid).or_insert((now, 0));
        *gone = 0;
        *seen
    }

    /// Notes that a transaction left the mempool. It is remembered for as long as there is room.
    pub fn left(&self, txid: Txid) {
        let mut inner = self.inner.write();
        let departure = inner.departures + 1;
        match inner.seen.get_mut(&txid) {
            Some((_, gone)) if *gone == 0 => *gone = departure,
            // Never seen, or gone already.
            Some(_) | None => return,
        }
        inner.departures = departure;
        inner.gone.push_back((txid, departure));
        if inner.gone.len() > MOST_GONE
            && let Some((oldest, departure)) = inner.gone.pop_front()
            && inner.seen.get(&oldest).is_some_and(|(_, gone)| *gone == departure)
        {
            inner.seen.remove(&oldest);
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.inner.read().seen.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoice::{Elapsed, Order, Sighting, Timestamp};

    fn txid(tag: u32) -> Txid {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&tag.to_le_bytes());
        bitcoincash::hashes::Hash::from_byte_array(bytes)
    }

    fn seen(order: u64) -> FirstSeen {
        FirstSeen {
            sighting: Sighting::Order(Order(order)),
            at: Elapsed::default(),
            shown: Timestamp::default(),
        }
    }

    #[test]
    fn the_first_sighting_stays_and_what_came_back_is_not_forgotten() {
        let sightings = Sightings::default();
        assert_eq!(sightings.note(txid(0), seen(1)), seen(1));
        assert_eq!(sightings.note(txid(0), seen(2)), seen(1));
        // Gone, twice over, and back again.
        sightings.left(txid(0));
        sightings.left(txid(0));
        sightings.note(txid(0), seen(3));
        // Unknown ones take no room.
        sightings.left(txid(1));
        assert!(sightings.get(&txid(1)).is_none());
        let most = u32::try_from(MOST_GONE).unwrap();
        for tag in 2..most + 4 {
            sightings.note(txid(tag), seen(9));
            sightings.left(txid(tag));
        }
        assert_eq!(sightings.get(&txid(0)), Some(seen(1)), "it is there");
        assert!(sightings.get(&txid(2)).is_none(), "the longest gone makes room");
        assert!(sightings.len() <= MOST_GONE + 1);
    }
}
