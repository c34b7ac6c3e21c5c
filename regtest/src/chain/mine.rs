//! Making blocks, and taking blocks that others made.

use std::collections::{HashMap, HashSet};

use bitcoincash::absolute::LockTime;
use bitcoincash::block::{Header, Version};
use bitcoincash::consensus::{deserialize, serialize};
use bitcoincash::hashes::Hash;
use bitcoincash::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness, script, transaction,
};
use bytes::Bytes;

use super::block::StoredBlock;
use super::reject::Reject;
use super::validate::{self, CSV_HEIGHT};
use super::{Chain, token};

/// Target of every regtest block, in its short form.
const BITS: u32 = 0x207f_ffff;
/// Blocks between two halvings of the subsidy.
const HALVING: u32 = 150;
/// Seconds a block's time may be ahead of ours.
const MAX_AHEAD: u64 = 7_200;

/// New satoshis a block at this height may pay out.
pub fn subsidy(height: u32) -> u64 {
    5_000_000_000_u64.checked_shr(height / HALVING).unwrap_or(0)
}

impl Chain {
    /// Mines `count` blocks on the tip; the first takes the whole mempool. The coinbases pay to `payout`.
    pub fn mine(&mut self, count: u32, payout: &Script, now: u64) -> Vec<BlockHash> {
        (0..count).map(|_| self.mine_with(None, payout, now)).collect()
    }

    /// Mines one block on the tip with these transactions of the mempool, `None` for all. Ancestors come along;
    /// ids that are not in the mempool are passed over.
    pub fn mine_with(&mut self, txs: Option<Vec<Txid>>, payout: &Script, now: u64) -> BlockHash {
        let chosen: Vec<Txid> = match txs {
            None => self.mempool(),
            Some(txs) => {
                let mut seen = HashSet::new();
                let known = txs.into_iter().filter(|txid| self.mempool.contains(txid));
                let with_ancestors =
                    known.flat_map(|txid| std::iter::once(txid).chain(self.mempool.ancestors(&txid)));
                with_ancestors.filter(|txid| seen.insert(*txid)).collect()
            }
        };
        let entries: Vec<_> = chosen.iter().filter_map(|txid| self.mempool.get(txid)).collect();
        let fees = entries.iter().map(|entry| entry.fee).sum();
        let txs = entries.into_iter().map(|entry| entry.tx.clone()).collect();
        let block = self.assemble(self.tip().0, txs, fees, payout, now);
        let hash = block.block_hash();
        let raw = Bytes::from(serialize(&block));
        if self.store(block, raw, now).is_ok() {
            self.activate(now);
        }
        hash
    }

    /// Mines one block on the tip that holds these transactions, known or not. What conflicts with them leaves the
    /// mempool without an event.
    ///
    /// # Errors
    /// Why the block is invalid; the chain is then as it was.
    pub fn mine_transactions(
        &mut self,
        txs: Vec<Transaction>,
        payout: &Script,
        now: u64,
    ) -> Result<BlockHash, Reject> {
        self.mine_on(self.tip().0, txs, payout, now)
    }

    /// Mines one block on any known block, with these transactions. Off the tip it makes or extends a rival branch,
    /// whose coinbase claims no fees.
    ///
    /// # Errors
    /// Why the block is invalid, as far as it was looked at: a branch is checked in full when it takes over.
    pub fn mine_on(
        &mut self,
        parent: BlockHash,
        txs: Vec<Transaction>,
        payout: &Script,
        now: u64,
    ) -> Result<BlockHash, Reject> {
        if !self.blocks.contains_key(&parent) {
            return Err(Reject::plain(-5, "Block not found"));
        }
        let fees = if parent == self.tip().0 { self.fees_of(&txs) } else { 0 };
        let block = self.assemble(parent, txs, fees, payout, now);
        let hash = block.block_hash();
        let raw = Bytes::from(serialize(&block));
        self.store(block, raw, now)?;
        match self.activate(now).into_iter().find(|(failed, _)| *failed == hash) {
            Some((_, reject)) => Err(reject),
            None => Ok(hash),
        }
    }

    /// Takes a block from its bytes, as `submitblock` does.
    ///
    /// # Errors
    /// The text that `submitblock` answers with: a rule's name, `duplicate`, `duplicate-invalid`, or `inconclusive` for
    /// a block that was stored beside the active chain. `Block decode failed` and `Block does not start with a
    /// coinbase` are errors (-22) of the call.
    pub fn submit_block(&mut self, raw: &[u8], now: u64) -> Result<(), String> {
        let block: Block = deserialize(raw).map_err(|_| "Block decode failed".to_owned())?;
        if serialize(&block) != raw {
            return Err("Block decode failed".to_owned());
        }
        if !block.txdata.first().is_some_and(Transaction::is_coinbase) {
            return Err("Block does not start with a coinbase".to_owned());
        }
        let hash = block.block_hash();
        if self.blocks.contains_key(&hash) {
            return Err(if self.is_failed(hash) { "duplicate-invalid" } else { "duplicate" }.to_owned());
        }
        self.store(block, Bytes::copy_from_slice(raw), now).map_err(|reject| reject.reason().to_owned())?;
        let failed = self.activate(now);
        if let Some((_, reject)) = failed.iter().find(|(failed, _)| *failed == hash) {
            return Err(reject.reason().to_owned());
        }
        if self.is_active(hash) { Ok(()) } else { Err("inconclusive".to_owned()) }
    }

    /// Checks a block as far as that is possible without its coins, and adds it to the tree.
    fn store(&mut self, block: Block, raw: Bytes, now: u64) -> Result<(), Reject> {
        self.clock = now;
        let parent = self
            .blocks
            .get(&block.header.prev_blockhash)
            .ok_or_else(|| Reject::invalid("prev-blk-not-found"))?;
        if self.is_failed(parent.hash) {
            return Err(Reject::invalid("bad-prevblk"));
        }
        check_header(&block.header, parent, now)?;
        check_transactions(&block, parent)?;
        let median_time = self.median_with(parent.hash, block.header.time);
        let mut stored = StoredBlock::new(block, raw, Some(parent), median_time, now, self.arrivals);
        let fork = self.branch(parent.hash).1;
        stored.parked = self.parking && fork + 1 < self.tip().1;
        self.arrivals += 1;
        self.candidates.insert(stored.candidate());
        let best = self.blocks.get(&self.best_header).map_or(0, |block| block.chainwork);
        if stored.chainwork > best {
            self.best_header = stored.hash;
        }
        self.blocks.insert(stored.hash, stored);
        Ok(())
    }

    fn assemble(
        &mut self,
        parent: BlockHash,
        mut txs: Vec<Transaction>,
        fees: u64,
        payout: &Script,
        now: u64,
    ) -> Block {
        txs.sort_by_cached_key(|tx| display_order(tx.compute_txid()));
        let (height, median_time) =
            self.blocks.get(&parent).map_or((0, 0), |block| (block.height + 1, block.median_time));
        txs.insert(0, self.coinbase(height, fees, payout));
        let time = u32::try_from(now).unwrap_or(u32::MAX).max(median_time.saturating_add(1));
        let header = Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: parent,
            merkle_root: TxMerkleNode::all_zeros(),
            time,
            bits: CompactTarget::from_consensus(BITS),
            nonce: 0,
        };
        let mut block = Block { header, txdata: txs };
        if let Some(root) = block.compute_merkle_root() {
            block.header.merkle_root = root;
        }
        while !meets_target(&block.header) {
            block.header.nonce += 1;
        }
        block
    }

    /// A coinbase no other block has: its script holds the height and a count of all coinbases.
    fn coinbase(&mut self, height: u32, fees: u64, payout: &Script) -> Transaction {
        self.coinbases += 1;
        let script_sig = script::Builder::new()
            .push_int(i64::from(height))
            .push_slice(self.coinbases.to_le_bytes())
            .into_script();
        Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig,
                sequence: Sequence::MAX,
                witness: Witness::default(),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(subsidy(height) + fees),
                script_pubkey: ScriptBuf::from_bytes(payout.to_bytes()),
                token: None,
            }],
        }
    }

    /// Fees of transactions that may spend each other; one with an unknown input counts nothing.
    fn fees_of(&self, txs: &[Transaction]) -> u64 {
        let made: HashMap<Txid, &Transaction> = txs.iter().map(|tx| (tx.compute_txid(), tx)).collect();
        let value = |outpoint: &OutPoint| {
            let index = usize::try_from(outpoint.vout).ok()?;
            let sibling = made.get(&outpoint.txid).and_then(|tx| tx.output.get(index));
            sibling.or(self.coins.get(outpoint).map(|coin| &coin.output)).map(|output| output.value.to_sat())
        };
        let fee = |tx: &Transaction| {
            let incoming = tx.input.iter().map(|input| value(&input.previous_output)).sum::<Option<u64>>()?;
            incoming.checked_sub(tx.output.iter().map(|output| output.value.to_sat()).sum())
        };
        txs.iter().filter_map(fee).sum()
    }
}

fn check_header(header: &Header, parent: &StoredBlock, now: u64) -> Result<(), Reject> {
    if !meets_target(header) {
        return Err(Reject::invalid("high-hash"));
    }
    if header.bits.to_consensus() != BITS {
        return Err(Reject::invalid("bad-diffbits"));
    }
    if header.time <= parent.median_time {
        return Err(Reject::invalid("time-too-old"));
    }
    if u64::from(header.time) > now + MAX_AHEAD {
        return Err(Reject::invalid("time-too-new"));
    }
    Ok(())
}

fn check_transactions(block: &Block, parent: &StoredBlock) -> Result<(), Reject> {
    if !block.check_merkle_root() {
        return Err(Reject::invalid("bad-txnmrklroot"));
    }
    let Some((coinbase, rest)) = block.txdata.split_first() else {
        return Err(Reject::invalid("bad-cb-missing"));
    };
    validate::check_coinbase(coinbase, serialize(coinbase).len())?;
    token::check_coinbase(coinbase)?;
    for tx in rest {
        validate::check_regular(tx, serialize(tx).len())?;
    }
    let height = parent.height + 1;
    let time = if height < CSV_HEIGHT { block.header.time } else { parent.median_time };
    let mut before = None;
    for tx in rest {
        let place = display_order(tx.compute_txid());
        match before {
            Some(before) if place == before => return Err(Reject::invalid("tx-duplicate")),
            Some(before) if place < before => return Err(Reject::invalid("tx-ordering")),
            _ => before = Some(place),
        }
    }
    for tx in &block.txdata {
        validate::check_in_block(tx, serialize(tx).len(), height, time)?;
    }
    Ok(())
}

/// The bytes a txid is printed and sorted by.
pub(super) fn display_order(txid: Txid) -> [u8; 32] {
    let mut bytes = txid.to_byte_array();
    bytes.reverse();
    bytes
}

fn meets_target(header: &Header) -> bool {
    header.target().is_met_by(header.block_hash())
}
