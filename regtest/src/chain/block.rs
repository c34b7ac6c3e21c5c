//! A block in the tree, and how blocks compare.

use std::cmp::Reverse;

use bitcoincash::block::Header;
use bitcoincash::consensus::serialize;
use bitcoincash::constants::genesis_block;
use bitcoincash::{Block, BlockHash, Network, Txid};
use bytes::Bytes;

use super::coin::Undo;

/// Work of one regtest block: its target lets every second hash through.
const WORK: u128 = 2;

/// A block with everything the model knows about it.
#[derive(Debug)]
pub struct StoredBlock {
    /// The block.
    pub block: Block,
    /// Its hash.
    pub hash: BlockHash,
    /// Its height; the genesis block has 0.
    pub height: u32,
    /// Its bytes.
    pub raw: Bytes,
    /// Its transactions' ids, in block order.
    pub txids: Vec<Txid>,
    /// Median time past: the median of the times of this block and the ten below it, unix seconds.
    pub median_time: u32,
    /// Work of the chain up to and including this block.
    pub chainwork: u128,
    /// When the model received it, unix seconds.
    pub received: u64,
    pub(super) arrival: u64,
    pub(super) offsets: Vec<usize>,
    pub(super) undo: Option<Undo>,
    pub(super) was_active: bool,
    pub(super) invalid: bool,
    pub(super) parked: bool,
}

/// Sorts blocks by preference: most work, then first seen.
pub(super) type Candidate = (u128, Reverse<u64>, BlockHash);

impl StoredBlock {
    pub(super) fn genesis(now: u64) -> Self {
        let block = genesis_block(Network::Regtest);
        let raw = Bytes::from(serialize(&block));
        let time = block.header.time;
        let mut stored = Self::new(block, raw, None, time, now, 0);
        stored.was_active = true;
        stored.undo = Some(Undo::new());
        stored
    }

    pub(super) fn new(
        block: Block,
        raw: Bytes,
        parent: Option<&StoredBlock>,
        median_time: u32,
        received: u64,
        arrival: u64,
    ) -> Self {
        let txids = block.txdata.iter().map(bitcoincash::Transaction::compute_txid).collect();
        let mut end = raw.len();
        let mut offsets: Vec<usize> = vec![end];
        for tx in block.txdata.iter().rev() {
            end = end.saturating_sub(serialize(tx).len());
            offsets.push(end);
        }
        offsets.reverse();
        Self {
            hash: block.block_hash(),
            height: parent.map_or(0, |parent| parent.height + 1),
            chainwork: parent.map_or(0, |parent| parent.chainwork) + WORK,
            block,
            raw,
            txids,
            median_time,
            received,
            arrival,
            offsets,
            undo: None,
            was_active: false,
            invalid: false,
            parked: false,
        }
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.block.header
    }

    /// Hash of the block below; all zero for the genesis block.
    pub fn previous(&self) -> BlockHash {
        self.block.header.prev_blockhash
    }

    /// Time in the header, unix seconds.
    pub fn time(&self) -> u32 {
        self.block.header.time
    }

    /// The bytes of one transaction of the block.
    pub fn transaction_raw(&self, index: usize) -> Option<Bytes> {
        let (start, end) = (self.offsets.get(index)?, self.offsets.get(index + 1)?);
        Some(self.raw.slice(*start..*end))
    }

    pub(super) fn candidate(&self) -> Candidate {
        (self.chainwork, Reverse(self.arrival), self.hash)
    }
}

/// How the end of a branch stands, by the node's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TipStatus {
    /// The tip of the active chain.
    Active,
    /// Once active, now off the chain.
    ValidFork,
    /// Stored, never connected.
    ValidHeaders,
    /// Waits for the work that a deep reorganisation needs.
    Parked,
    /// Broke a rule, or was invalidated.
    Invalid,
}

impl TipStatus {
    /// The word `getchaintips` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::ValidFork => "valid-fork",
            Self::ValidHeaders => "valid-headers",
            Self::Parked => "parked",
            Self::Invalid => "invalid",
        }
    }
}

/// The end of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainTip {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// Blocks between it and the active chain.
    pub branch_length: u32,
    /// How it stands.
    pub status: TipStatus,
}
