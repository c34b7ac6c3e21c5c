//! When each transaction of the mempool was first seen.

use std::collections::{HashMap, VecDeque};

use parking_lot::RwLock;

use crate::{bch::Txid, invoice::FirstSeen};

/// How many transactions that left the mempool are remembered, at about a hundred bytes each: days of traffic.
const MOST_GONE: usize = 1_000_000;

/// When each transaction was first seen while this process runs: every one that is or was in the mempool, and
/// those of disconnected blocks, whether it matched anything or not.
///
/// A transaction that nobody asked for when it came is not kept anywhere else, and must not pay an invoice that is
/// registered later. The follower writes here; whoever takes a submission asks.
#[derive(Debug, Default)]
pub struct Sightings {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seen: HashMap<Txid, FirstSeen, foldhash::fast::RandomState>,
    gone: VecDeque<Txid>,
}

impl Sightings {
    /// When a transaction was first seen, if it was.
    pub fn get(&self, txid: &Txid) -> Option<FirstSeen> {
        self.inner.read().seen.get(txid).copied()
    }

    /// Notes a transaction, and gives when it was first seen: now, or before.
    pub fn note(&self, txid: Txid, now: FirstSeen) -> FirstSeen {
        *self.inner.write().seen.entry(txid).or_insert(now)
    }

    /// Notes that a transaction left the mempool. It is remembered for as long as there is room.
    pub fn left(&self, txid: Txid) {
        let mut inner = self.inner.write();
        inner.gone.push_back(txid);
        if inner.gone.len() > MOST_GONE
            && let Some(oldest) = inner.gone.pop_front()
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
