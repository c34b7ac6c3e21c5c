//! Which chain is active: connecting, disconnecting, reorganisation, and what it does to the mempool.

use std::collections::{HashMap, HashSet, VecDeque};

use bitcoincash::{BlockHash, Transaction, Txid};
use bytes::Bytes;

use super::block::StoredBlock;
use super::coin::Undo;
use super::event::Event;
use super::mempool::MempoolEntry;
use super::mine::subsidy;
use super::reject::Reject;
use super::validate::{self, CSV_HEIGHT};
use super::{Chain, script, token};

/// Blocks whose transactions an invalidation puts back; those of deeper ones are lost, as on the node.
const KEPT_BLOCKS: usize = 11;

/// Transactions that lost their place in a reorganisation.
#[derive(Debug)]
struct Displaced {
    /// Of disconnected blocks, oldest block first, in block order.
    mined: VecDeque<(Txid, Transaction, Bytes)>,
    /// Of the mempool, in order of entry.
    waiting: Vec<MempoolEntry>,
    blocks: usize,
}

impl Chain {
    /// Moves to the best chain there is. Returns the blocks that turned out invalid on the way.
    pub(super) fn activate(&mut self, now: u64) -> Vec<(BlockHash, Reject)> {
        let mut failed = Vec::new();
        loop {
            let (start, start_work) = (self.tip().0, self.tip_work());
            let mut moved = false;
            while let Some(best) = self.best_candidate() {
                moved = true;
                failed.extend(self.step(best, now));
                if self.tip_work() >= start_work {
                    break;
                }
            }
            if !moved {
                return failed;
            }
            let (tip, _) = self.tip();
            let announced = self.blocks.get(&tip).filter(|_| !self.is_ancestor(tip, start));
            if let Some(raw) = announced.map(|block| block.raw.clone()) {
                self.events.push(Event::Block { hash: tip, raw });
            }
        }
    }

    /// Declares a block and all that stands on it invalid. Publishes what it puts back, never a block unless
    /// another branch takes over.
    ///
    /// # Errors
    /// -5 when the block is unknown, -1 for the genesis block.
    pub fn invalidate(&mut self, hash: BlockHash, now: u64) -> Result<(), Reject> {
        self.clock = now;
        let block = self.blocks.get_mut(&hash).ok_or_else(block_not_found)?;
        if block.height == 0 {
            return Err(Reject::plain(-1, "The genesis block cannot be invalidated"));
        }
        block.invalid = true;
        for hash in self.with_descendants(hash) {
            if let Some(block) = self.blocks.get(&hash) {
                self.candidates.remove(&block.candidate());
            }
        }
        if self.is_active(hash) {
            let mut displaced = self.displace();
            while self.is_active(hash) {
                self.disconnect_tip(&mut displaced);
            }
            self.put_back(displaced);
        }
        self.leave_header(hash);
        self.activate(now);
        Ok(())
    }

    /// The best header falls back to the tip when what it stands on turns out invalid.
    fn leave_header(&mut self, invalid: BlockHash) {
        if self.is_ancestor(invalid, self.best_header) {
            self.best_header = self.tip().0;
        }
    }

    /// Takes an invalidation back, for the block, its ancestors and its descendants.
    ///
    /// # Errors
    /// -5 when the block is unknown.
    pub fn reconsider(&mut self, hash: BlockHash, now: u64) -> Result<(), Reject> {
        self.clock = now;
        self.blocks.get(&hash).ok_or_else(block_not_found)?;
        let mut cleared = self.with_descendants(hash);
        let mut at = hash;
        while let Some(block) = self.blocks.get(&at).filter(|block| !self.is_active(block.hash)) {
            cleared.push(at);
            at = block.previous();
        }
        for hash in &cleared {
            if let Some(block) = self.blocks.get_mut(hash) {
                block.invalid = false;
            }
        }
        for hash in self.with_descendants(at) {
            if let Some(block) = self.blocks.get(&hash).filter(|block| !self.is_failed(block.hash)) {
                self.candidates.insert(block.candidate());
            }
        }
        self.activate(now);
        Ok(())
    }

    /// The candidate to move to: better than the tip, or first seen with the same work.
    fn best_candidate(&mut self) -> Option<BlockHash> {
        let (tip, _) = self.tip();
        let ranked: Vec<BlockHash> =
            self.candidates.iter().rev().map(|(_, _, hash)| *hash).take_while(|hash| *hash != tip).collect();
        ranked.into_iter().find(|hash| self.unpark(*hash))
    }

    /// Whether a candidate is free to become active; clears its parking when its work is enough.
    fn unpark(&mut self, hash: BlockHash) -> bool {
        let (branch, fork) = self.branch(hash);
        let parked: Vec<BlockHash> = branch
            .into_iter()
            .filter(|hash| self.blocks.get(hash).is_some_and(|block| block.parked))
            .collect();
        if parked.is_empty() {
            return true;
        }
        let work = |height: u32| self.hash_at(height).and_then(|hash| self.work_of(hash)).unwrap_or(0);
        let (tip, fork) = (self.tip().1, fork);
        let penalty = match tip.saturating_sub(fork) {
            1 => (work(tip) - work(fork)) / 2,
            2 | 3 => (work(tip - 1) - work(fork)) / 2,
            _ => work(tip) - work(fork),
        };
        if self.work_of(hash).unwrap_or(0) <= work(tip) + penalty {
            return false;
        }
        for hash in parked {
            if let Some(block) = self.blocks.get_mut(&hash) {
                block.parked = false;
            }
        }
        true
    }

    /// Goes towards a block until the tip is better than before, or a block fails.
    fn step(&mut self, target: BlockHash, now: u64) -> Option<(BlockHash, Reject)> {
        let old_work = self.tip_work();
        let (branch, fork) = self.branch(target);
        let mut displaced = (self.tip().1 > fork).then(|| self.displace());
        if let Some(displaced) = &mut displaced {
            while self.tip().1 > fork {
                self.disconnect_tip(displaced);
            }
        }
        let mut connected = Vec::new();
        let mut failure = None;
        for hash in branch {
            if let Err(reject) = self.connect(hash, now) {
                self.fail(hash);
                failure = Some((hash, reject));
                break;
            }
            if let (Some(displaced), Some(block)) = (&mut displaced, self.blocks.get(&hash)) {
                displaced.remove(&block.txids);
            }
            connected.push(hash);
            if self.tip_work() > old_work {
                break;
            }
        }
        if let Some(displaced) = displaced {
            self.put_back(displaced);
        }
        for hash in connected {
            self.publish_transactions(hash);
        }
        failure
    }

    /// Puts a block on the tip: coins, then mempool.
    fn connect(&mut self, hash: BlockHash, now: u64) -> Result<(), Reject> {
        let Some(mut block) = self.blocks.remove(&hash) else { return Err(block_not_found()) };
        let result = self.take_coins(&block);
        let result = result.map(|undo| {
            for (index, (txid, tx)) in block.txids.iter().zip(&block.block.txdata).enumerate() {
                self.confirm(*txid, tx, now);
                self.located.insert(*txid, (hash, index));
            }
            block.undo = Some(undo);
            block.was_active = true;
            self.active.push(hash);
        });
        self.blocks.insert(hash, block);
        result
    }

    /// Takes a mined transaction and all that conflicts with it out of the mempool.
    fn confirm(&mut self, txid: Txid, tx: &Transaction, now: u64) {
        let mut removed: Vec<Txid> = self.mempool.remove(&txid).map(|entry| entry.txid).into_iter().collect();
        for input in &tx.input {
            if let Some(rival) = self.mempool.spender(&input.previous_output) {
                removed.extend(self.mempool.remove_with_descendants(rival));
            }
        }
        self.proofs.orphan(&removed, now);
    }

    /// Applies a block to the coins, or leaves them as they were.
    fn take_coins(&mut self, block: &StoredBlock) -> Result<Undo, Reject> {
        for (txid, tx) in block.txids.iter().zip(&block.block.txdata) {
            self.coins.add(*txid, tx, block.height);
        }
        let mut undo = Undo::new();
        let result = self.spend_coins(block, &mut undo);
        if result.is_err() {
            self.return_coins(block, std::mem::take(&mut undo));
        }
        result.map(|()| undo)
    }

    fn return_coins(&mut self, block: &StoredBlock, undo: Undo) {
        self.coins.restore(undo);
        for (txid, tx) in block.txids.iter().zip(&block.block.txdata) {
            self.coins.remove(*txid, tx);
        }
    }

    fn spend_coins(&mut self, block: &StoredBlock, undo: &mut Undo) -> Result<(), Reject> {
        let median_time = self.median_time_at(block.height.saturating_sub(1));
        let mut fees = 0;
        for (txid, tx) in block.txids.iter().zip(&block.block.txdata).skip(1) {
            let first = undo.len();
            for input in &tx.input {
                let coin = self.coins.spend(&input.previous_output).ok_or_else(|| {
                    Reject::invalid_because(
                        "bad-txns-inputs-missingorspent",
                        "CheckTxInputs: inputs missing/spent".to_owned(),
                    )
                })?;
                undo.push((input.previous_output, coin));
            }
            let coins: Vec<_> = undo.iter().skip(first).map(|(_, coin)| coin.clone()).collect();
            fees += validate::check_values(tx, &coins, block.height)?;
            let locks_hold = block.height < CSV_HEIGHT
                || validate::sequence_locks_hold(tx, &coins, block.height, median_time, |height| {
                    self.median_time_at(height)
                });
            if !locks_hold {
                return Err(Reject::invalid("bad-txns-nonfinal"));
            }
            let spent = validate::outputs(&coins);
            token::check(tx, &spent)?;
            if !self.mempool.contains(txid) {
                script::check(tx, &spent, false)?;
            }
        }
        let coinbase =
            block.block.txdata.first().map_or(0, |tx| tx.output.iter().map(|out| out.value.to_sat()).sum());
        if coinbase > subsidy(block.height) + fees {
            return Err(Reject::invalid("bad-cb-amount"));
        }
        Ok(())
    }

    /// Empties the mempool before blocks are taken off; the proofs wait.
    fn displace(&mut self) -> Displaced {
        let waiting = self.mempool.drain();
        let txids: Vec<Txid> = waiting.iter().map(|entry| entry.txid).collect();
        self.proofs.orphan(&txids, self.clock);
        Displaced { mined: VecDeque::new(), waiting, blocks: 0 }
    }

    fn disconnect_tip(&mut self, displaced: &mut Displaced) {
        let Some(hash) = self.active.pop() else { return };
        self.publish_transactions(hash);
        let Some(mut block) = self.blocks.remove(&hash) else { return };
        let undo = block.undo.take().unwrap_or_default();
        self.return_coins(&block, undo);
        for txid in &block.txids {
            self.located.remove(txid);
        }
        displaced.add(&block);
        self.blocks.insert(hash, block);
    }

    /// Puts displaced transactions back, parents before children, each by its own merit.
    fn put_back(&mut self, displaced: Displaced) {
        let now = self.clock;
        for (tx, raw, time) in displaced.into_order(now) {
            self.readmit(tx, raw, time);
        }
    }

    fn publish_transactions(&mut self, hash: BlockHash) {
        let Some(block) = self.blocks.get(&hash) else { return };
        for (index, txid) in block.txids.iter().enumerate() {
            if let Some(raw) = block.transaction_raw(index) {
                self.events.push(Event::Transaction { txid: *txid, raw });
            }
        }
    }

    /// Marks a block that broke a rule.
    fn fail(&mut self, hash: BlockHash) {
        if let Some(block) = self.blocks.get_mut(&hash) {
            block.invalid = true;
        }
        for hash in self.with_descendants(hash) {
            if let Some(block) = self.blocks.get(&hash) {
                self.candidates.remove(&block.candidate());
            }
        }
        self.leave_header(hash);
    }

    /// The blocks from the active chain up to `hash`, lowest first, and the height they fork at.
    pub(super) fn branch(&self, hash: BlockHash) -> (Vec<BlockHash>, u32) {
        let mut branch = Vec::new();
        let mut at = self.blocks.get(&hash);
        while let Some(block) = at {
            if self.is_active(block.hash) {
                branch.reverse();
                return (branch, block.height);
            }
            branch.push(block.hash);
            at = self.blocks.get(&block.previous());
        }
        branch.reverse();
        (branch, 0)
    }

    /// Whether a block or one below it, down to the active chain, is invalid.
    pub(super) fn is_failed(&self, hash: BlockHash) -> bool {
        self.branch(hash).0.iter().any(|hash| self.blocks.get(hash).is_some_and(|block| block.invalid))
    }

    fn is_ancestor(&self, hash: BlockHash, of: BlockHash) -> bool {
        let mut at = self.blocks.get(&of);
        let Some(height) = self.blocks.get(&hash).map(|block| block.height) else { return false };
        while let Some(block) = at.filter(|block| block.height > height) {
            at = self.blocks.get(&block.previous());
        }
        at.is_some_and(|block| block.hash == hash)
    }

    fn with_descendants(&self, hash: BlockHash) -> Vec<BlockHash> {
        let mut children: HashMap<BlockHash, Vec<BlockHash>> = HashMap::new();
        for block in self.blocks.values() {
            children.entry(block.previous()).or_default().push(block.hash);
        }
        let mut all = vec![hash];
        let mut next = 0;
        while let Some(hash) = all.get(next) {
            all.extend(children.remove(hash).unwrap_or_default());
            next += 1;
        }
        all
    }

    pub(super) fn tip_work(&self) -> u128 {
        self.work_of(self.tip().0).unwrap_or(0)
    }

    fn work_of(&self, hash: BlockHash) -> Option<u128> {
        self.blocks.get(&hash).map(|block| block.chainwork)
    }
}

impl Displaced {
    fn add(&mut self, block: &StoredBlock) {
        self.blocks += 1;
        if self.blocks > KEPT_BLOCKS {
            return;
        }
        for (index, (txid, tx)) in block.txids.iter().zip(&block.block.txdata).enumerate().skip(1).rev() {
            if let Some(raw) = block.transaction_raw(index) {
                self.mined.push_front((*txid, tx.clone(), raw));
            }
        }
    }

    /// Leaves out what a connected block holds.
    fn remove(&mut self, txids: &[Txid]) {
        let mined: HashSet<&Txid> = txids.iter().collect();
        self.mined.retain(|(txid, _, _)| !mined.contains(txid));
        self.waiting.retain(|entry| !mined.contains(&entry.txid));
    }

    /// Everything in an order that has parents first: level by level, mined before waiting.
    fn into_order(self, now: u64) -> Vec<(Transaction, Bytes, u64)> {
        let mined = self.mined.into_iter().map(|(txid, tx, raw)| (txid, tx, raw, now));
        let waiting = self.waiting.into_iter().map(|entry| (entry.txid, entry.tx, entry.raw, entry.time));
        let all: Vec<_> = mined.chain(waiting).collect();
        let index: HashMap<Txid, usize> =
            all.iter().enumerate().map(|(index, entry)| (entry.0, index)).collect();
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); all.len()];
        let mut parents: Vec<usize> = Vec::with_capacity(all.len());
        for (child, (_, tx, _, _)) in all.iter().enumerate() {
            let known: HashSet<usize> =
                tx.input.iter().filter_map(|input| index.get(&input.previous_output.txid).copied()).collect();
            parents.push(known.len());
            for parent in known {
                if let Some(list) = children.get_mut(parent) {
                    list.push(child);
                }
            }
        }
        let mut queue: VecDeque<usize> =
            parents.iter().enumerate().filter(|(_, count)| **count == 0).map(|(index, _)| index).collect();
        let mut slots: Vec<Option<_>> = all.into_iter().map(Some).collect();
        let mut ordered = Vec::with_capacity(slots.len());
        while let Some(next) = queue.pop_front() {
            if let Some((_, tx, raw, time)) = slots.get_mut(next).and_then(Option::take) {
                ordered.push((tx, raw, time));
            }
            for child in children.get(next).into_iter().flatten() {
                if let Some(count) = parents.get_mut(*child) {
                    *count -= 1;
                    if *count == 0 {
                        queue.push_back(*child);
                    }
                }
            }
        }
        ordered
    }
}

fn block_not_found() -> Reject {
    Reject::plain(-5, "Block not found")
}
