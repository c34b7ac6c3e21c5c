//! Questions to the chain.

use std::collections::HashSet;

use bitcoincash::{BlockHash, OutPoint, ScriptBuf, Txid};

use super::Chain;
use super::block::{ChainTip, StoredBlock, TipStatus};
use super::coin::Coin;
use super::mempool::MempoolEntry;

/// Blocks whose times make the median time past.
const MEDIAN_SPAN: usize = 11;

impl Chain {
    /// Hash and height of the active chain's tip.
    pub fn tip(&self) -> (BlockHash, u32) {
        let height = self.active.len().saturating_sub(1);
        let hash = self.active.last().copied().unwrap_or_else(bitcoincash::hashes::Hash::all_zeros);
        (hash, u32::try_from(height).unwrap_or(u32::MAX))
    }

    /// The height of the best header (`headers` of `getblockchaininfo`). On a branch that is parked it is above the tip.
    pub fn best_header_height(&self) -> u32 {
        self.blocks.get(&self.best_header).map_or(0, |block| block.height)
    }

    /// Minimum relay fee, in satoshis per 1000 bytes.
    pub fn relay_fee(&self) -> u64 {
        self.relay_fee
    }

    /// Minimum fee of a transaction that enters the mempool now, in satoshis per 1000 bytes.
    pub fn fee_floor(&self) -> u64 {
        self.relay_fee.max(self.full_mempool_fee)
    }

    /// A block of any branch.
    pub fn block(&self, hash: BlockHash) -> Option<&StoredBlock> {
        self.blocks.get(&hash)
    }

    /// Hash of the active chain's block at a height.
    pub fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.active.get(usize::try_from(height).ok()?).copied()
    }

    /// Whether a block is in the active chain.
    pub fn is_active(&self, hash: BlockHash) -> bool {
        self.blocks.get(&hash).is_some_and(|block| self.hash_at(block.height) == Some(hash))
    }

    /// Blocks from this one to the tip, both counted; -1 off the active chain, `None` when unknown.
    pub fn confirmations(&self, hash: BlockHash) -> Option<i64> {
        let block = self.blocks.get(&hash)?;
        Some(if self.is_active(hash) { i64::from(self.tip().1) - i64::from(block.height) + 1 } else { -1 })
    }

    /// The block of the active chain on top of this one.
    pub fn next_hash(&self, hash: BlockHash) -> Option<BlockHash> {
        let block = self.blocks.get(&hash)?;
        self.is_active(hash).then(|| self.hash_at(block.height + 1)).flatten()
    }

    /// The coins a block consumed, in the order of its inputs, the coinbase left out. Known while it is in the
    /// active chain.
    pub fn spent_by_block(&self, hash: BlockHash) -> Option<&[(OutPoint, Coin)]> {
        self.blocks.get(&hash)?.undo.as_deref()
    }

    /// The mempool's ids in order of entry: parents before children.
    pub fn mempool(&self) -> Vec<Txid> {
        self.mempool.iter().map(|entry| entry.txid).collect()
    }

    /// The mempool's entries in order of entry.
    pub fn mempool_entries(&self) -> impl Iterator<Item = &MempoolEntry> {
        self.mempool.iter()
    }

    /// One entry of the mempool.
    pub fn mempool_entry(&self, txid: Txid) -> Option<&MempoolEntry> {
        self.mempool.get(&txid)
    }

    /// Number of transactions in the mempool and their bytes.
    pub fn mempool_size(&self) -> (usize, usize) {
        (self.mempool.len(), self.mempool.bytes())
    }

    /// A mempool transaction's ancestors in the mempool, nearest first, without itself.
    pub fn ancestors(&self, txid: Txid) -> Vec<Txid> {
        self.mempool.ancestors(&txid)
    }

    /// A mempool transaction's descendants in the mempool, nearest first, without itself.
    pub fn descendants(&self, txid: Txid) -> Vec<Txid> {
        self.mempool.descendants(&txid)
    }

    /// A mempool transaction's children in the mempool, by id.
    pub fn children(&self, txid: Txid) -> Vec<Txid> {
        self.mempool
            .get(&txid)
            .map(|entry| self.mempool.children(entry).into_iter().collect())
            .unwrap_or_default()
    }

    /// The transaction of the mempool that spends an outpoint.
    pub fn spent_by(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.mempool.spender(outpoint)
    }

    /// The unspent output at an outpoint. With `include_mempool` the mempool's outputs count and what it spends is
    /// gone, without it neither.
    pub fn unspent(&self, outpoint: &OutPoint, include_mempool: bool) -> Option<Coin> {
        if !include_mempool {
            return self.coins.get(outpoint).cloned();
        }
        if self.mempool.spender(outpoint).is_some() { None } else { self.coin(outpoint) }
    }

    /// The unspent outputs of the chain with one of these locking scripts, by outpoint; the mempool does not count.
    pub fn unspent_of(&self, scripts: &[ScriptBuf]) -> Vec<(OutPoint, Coin)> {
        self.coins.of_scripts(scripts)
    }

    /// The block of the active chain that holds a transaction, and its index there.
    pub fn confirmed(&self, txid: Txid) -> Option<(BlockHash, usize)> {
        self.located.get(&txid).copied()
    }

    /// Number of unspent outputs of the chain and their sum in satoshis.
    pub fn coin_totals(&self) -> (usize, u64) {
        self.coins.totals()
    }

    /// The ends of all branches, highest first, then by hash.
    pub fn chain_tips(&self) -> Vec<ChainTip> {
        let parents: HashSet<BlockHash> = self.blocks.values().map(StoredBlock::previous).collect();
        let (tip, _) = self.tip();
        let ends = self.blocks.values().filter(|block| !parents.contains(&block.hash) || block.hash == tip);
        let mut tips: Vec<ChainTip> = ends
            .map(|block| {
                let (branch, fork) = self.branch(block.hash);
                ChainTip {
                    height: block.height,
                    hash: block.hash,
                    branch_length: block.height - fork,
                    status: self.tip_status(block, &branch),
                }
            })
            .collect();
        tips.sort_by_key(|tip| (std::cmp::Reverse(tip.height), tip.hash));
        tips
    }

    fn tip_status(&self, block: &StoredBlock, branch: &[BlockHash]) -> TipStatus {
        let any =
            |test: fn(&StoredBlock) -> bool| branch.iter().filter_map(|hash| self.blocks.get(hash)).any(test);
        if branch.is_empty() {
            TipStatus::Active
        } else if any(|block| block.invalid) {
            TipStatus::Invalid
        } else if any(|block| block.parked) {
            TipStatus::Parked
        } else if block.was_active {
            TipStatus::ValidFork
        } else {
            TipStatus::ValidHeaders
        }
    }

    /// The output an outpoint names, from the chain or the mempool, whether or not the mempool spends it.
    pub(super) fn coin(&self, outpoint: &OutPoint) -> Option<Coin> {
        if let Some(coin) = self.coins.get(outpoint) {
            return Some(coin.clone());
        }
        let entry = self.mempool.get(&outpoint.txid)?;
        let output = entry.tx.output.get(usize::try_from(outpoint.vout).ok()?)?;
        Some(Coin { output: output.clone(), height: None, coinbase: false })
    }

    /// Height of the next block, and the median time past that its lock times are compared with.
    pub(super) fn next_block(&self) -> (u32, u32) {
        let (_, height) = self.tip();
        (height + 1, self.median_time_at(height))
    }

    pub(super) fn median_time_at(&self, height: u32) -> u32 {
        self.hash_at(height).and_then(|hash| self.blocks.get(&hash)).map_or(0, |block| block.median_time)
    }

    /// Median of a new block's time and the times of the ten blocks below it.
    pub(super) fn median_with(&self, parent: BlockHash, time: u32) -> u32 {
        let below =
            std::iter::successors(self.blocks.get(&parent), |block| self.blocks.get(&block.previous()));
        let mut times: Vec<u32> =
            std::iter::once(time).chain(below.map(StoredBlock::time)).take(MEDIAN_SPAN).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(time)
    }
}
