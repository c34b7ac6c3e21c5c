//! Transactions that wait for a block.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bitcoincash::{OutPoint, Transaction, Txid};
use bytes::Bytes;

use super::coin::outpoints;

/// A transaction of the mempool.
#[derive(Debug, Clone)]
pub struct MempoolEntry {
    /// Its id.
    pub txid: Txid,
    /// The transaction.
    pub tx: Transaction,
    /// Its bytes.
    pub raw: Bytes,
    /// Fee in satoshis.
    pub fee: u64,
    /// When it entered, unix seconds; kept over a reorganisation.
    pub time: u64,
    /// Parents that are in the mempool now, by id.
    pub depends: BTreeSet<Txid>,
    pub(super) position: u64,
}

/// Entries by id, in order of entry, and the outpoints they spend.
#[derive(Debug, Default)]
pub(super) struct Mempool {
    entries: HashMap<Txid, MempoolEntry>,
    order: BTreeMap<u64, Txid>,
    spends: HashMap<OutPoint, Txid>,
    entered: u64,
    bytes: usize,
}

impl Mempool {
    pub(super) fn get(&self, txid: &Txid) -> Option<&MempoolEntry> {
        self.entries.get(txid)
    }

    pub(super) fn contains(&self, txid: &Txid) -> bool {
        self.entries.contains_key(txid)
    }

    pub(super) fn spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.spends.get(outpoint).copied()
    }

    /// Entries in order of entry: parents before children.
    pub(super) fn iter(&self) -> impl Iterator<Item = &MempoolEntry> {
        self.order.values().filter_map(|txid| self.entries.get(txid))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, txid: Txid, tx: Transaction, raw: Bytes, fee: u64, time: u64) {
        let mut depends = BTreeSet::new();
        for input in &tx.input {
            self.spends.insert(input.previous_output, txid);
            if self.entries.contains_key(&input.previous_output.txid) {
                depends.insert(input.previous_output.txid);
            }
        }
        self.entered += 1;
        self.bytes += raw.len();
        self.order.insert(self.entered, txid);
        self.entries.insert(txid, MempoolEntry { txid, tx, raw, fee, time, depends, position: self.entered });
    }

    /// Children of a transaction that are in the mempool, by id.
    pub(super) fn children(&self, entry: &MempoolEntry) -> BTreeSet<Txid> {
        outpoints(entry.txid, &entry.tx).filter_map(|(outpoint, _)| self.spender(&outpoint)).collect()
    }

    /// Removes one transaction and leaves its children.
    pub(super) fn remove(&mut self, txid: &Txid) -> Option<MempoolEntry> {
        let entry = self.entries.remove(txid)?;
        self.order.remove(&entry.position);
        self.bytes -= entry.raw.len();
        for input in &entry.tx.input {
            self.spends.remove(&input.previous_output);
        }
        for child in self.children(&entry) {
            if let Some(child) = self.entries.get_mut(&child) {
                child.depends.remove(txid);
            }
        }
        Some(entry)
    }

    /// Removes a transaction and all that stands on it; tells what left.
    pub(super) fn remove_with_descendants(&mut self, txid: Txid) -> Vec<Txid> {
        let mut gone = Vec::new();
        let mut queue = VecDeque::from([txid]);
        while let Some(txid) = queue.pop_front() {
            let Some(entry) = self.remove(&txid) else { continue };
            queue.extend(self.children(&entry));
            gone.push(txid);
        }
        gone
    }

    /// The transaction's ancestors in the mempool, nearest first, without itself.
    pub(super) fn ancestors(&self, txid: &Txid) -> Vec<Txid> {
        self.walk(txid, |entry| entry.depends.clone())
    }

    /// The transaction's descendants in the mempool, nearest first, without itself.
    pub(super) fn descendants(&self, txid: &Txid) -> Vec<Txid> {
        self.walk(txid, |entry| self.children(entry))
    }

    fn walk(&self, txid: &Txid, next: impl Fn(&MempoolEntry) -> BTreeSet<Txid>) -> Vec<Txid> {
        let mut known = BTreeSet::from([*txid]);
        let mut queue = VecDeque::from([*txid]);
        let mut found = Vec::new();
        while let Some(entry) = queue.pop_front().and_then(|txid| self.entries.get(&txid)) {
            for txid in next(entry) {
                if known.insert(txid) {
                    found.push(txid);
                    queue.push_back(txid);
                }
            }
        }
        found
    }

    /// Empties the mempool and hands its entries over in order of entry.
    pub(super) fn drain(&mut self) -> Vec<MempoolEntry> {
        let order = std::mem::take(&mut self.order);
        let mut entries = std::mem::take(&mut self.entries);
        self.spends.clear();
        self.bytes = 0;
        order.into_values().filter_map(|txid| entries.remove(&txid)).collect()
    }
}
