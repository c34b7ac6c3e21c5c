//! Blocks: in parts, then the end of the chain moves; and back.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ReadError, View,
    hold::Turn,
    observe::{credit_state, mature_at},
    scribe::Scribe,
    settle::Change,
    tables::{
        Awaiting, BlockRecord, BlockTransactions, Blocks, Chain, Maturing, Place, Transactions, Unconfirmed,
    },
};
use crate::{
    bch::{BlockHash, Transaction, Txid},
    invoice::{CreditState, FirstSeen, InvoiceId, MAX_CONFIRMATIONS_REQUIRED, Sighting, Timestamp},
};

/// How many records a part of a block reads in ranges and writes before it ends. Without a bound a payer of many invoices
/// that ask for the same, in many transactions of a block, would hold the writer for seconds.
const MOST_WORK: usize = 10_000;
/// How many blocks the median time is taken over.
const MEDIAN_OF: u32 = 11;

impl<V: View> Scribe<'_, V> {
    /// Where our walk of the chain begins: what is in this block and below it was there before every invoice.
    pub(super) fn anchor(&mut self, height: u32, hash: BlockHash, time_s: u32) -> Result<(), ReadError> {
        if self.meta.tip.is_none() {
            self.put::<Blocks>(hash, BlockRecord { height, begun: self.order, time_s: Some(time_s) });
            self.put::<Chain>(height, hash);
            self.meta.tip = Some((height, hash));
        }
        Ok(())
    }

    /// Applies some transactions of a block that is about to be connected, and says how many: the first, and more until
    /// they made much work. An invoice that is registered while a block is applied is younger than the whole block.
    pub(super) fn block_part(
        &mut self,
        hash: BlockHash,
        height: u32,
        time_s: u32,
        transactions: &[(Arc<Transaction>, Option<FirstSeen>)],
    ) -> Result<usize, ReadError> {
        self.abandon_all_but(Some(hash))?;
        if self.get::<Chain>(&height)? != Some(hash) {
            self.meta.under_way = Some((height, hash));
        }
        let known = self.get::<Blocks>(&hash)?;
        let begun = known.map_or(self.order, |block| block.begun);
        if known.is_none_or(|block| block.time_s.is_none()) {
            self.put::<Blocks>(hash, BlockRecord { height, begun, time_s: Some(time_s) });
        }
        let mined = self.at.first_seen(Sighting::Block(begun), time_s.into());
        for (number, (tx, seen)) in transactions.iter().enumerate() {
            if number > 0 && self.work() >= MOST_WORK {
                return Ok(number);
            }
            let seen = seen.unwrap_or(mined);
            self.observe(tx, seen, Place::Block { height, hash })?;
        }
        Ok(transactions.len())
    }

    /// The median time of the last eleven blocks, as a wall time; `None` while it is not known of all of them.
    pub(super) fn median_time_past(&self) -> Result<Option<Timestamp>, ReadError> {
        let Some((height, _)) = self.meta.tip else { return Ok(None) };
        let blocks = self.range::<Chain>(height.saturating_sub(MEDIAN_OF - 1)..=height, usize::MAX)?;
        let mut times = Vec::with_capacity(blocks.len());
        for (_, hash) in &blocks {
            let Some(time_s) = self.get::<Blocks>(hash)?.and_then(|block| block.time_s) else {
                return Ok(None);
            };
            times.push(time_s);
        }
        if times.len() < MEDIAN_OF as usize && height >= MEDIAN_OF {
            return Ok(None);
        }
        times.sort_unstable();
        Ok(times.get(times.len() / 2).map(|time_s| Timestamp::from_secs((*time_s).into())))
    }

    /// Moves the end of the chain one block up, and tells every invoice that waited for it. Once: asked again,
    /// nothing happens.
    pub(super) fn connect_block(&mut self, hash: BlockHash, height: u32) -> Result<(), ReadError> {
        if self.meta.tip == Some((height, hash)) {
            return Ok(());
        }
        self.abandon_all_but(Some(hash))?;
        self.meta.under_way = None;
        self.put::<Chain>(height, hash);
        self.meta.tip = Some((height, hash));
        for ((_, txid), ()) in
            self.range::<Maturing>((0, first_txid())..=(height, last_txid()), usize::MAX)?
        {
            self.mature(txid)?;
        }
        let from = InvoiceId::from_bytes([0; 16]);
        let until = InvoiceId::from_bytes([0xff; 16]);
        for (invoice, ()) in self.range::<Awaiting>(from..=until, usize::MAX)? {
            self.refresh(invoice, Change { block: true, ..Change::default() })?;
        }
        Ok(())
    }

    /// Takes the last block off the chain. The node puts its transactions back into its mempool; those it does not
    /// put back are found to be gone by a later pass.
    pub(super) fn disconnect_block(&mut self, hash: BlockHash, height: u32) -> Result<(), ReadError> {
        if self.meta.under_way == Some((height, hash)) {
            return self.abandon_all_but(None);
        }
        if self.meta.tip != Some((height, hash)) {
            return Ok(());
        }
        self.abandon_all_but(None)?;
        let below = height.checked_sub(1);
        let tip = match below {
            Some(below) => self.get::<Chain>(&below)?.map(|hash| (below, hash)),
            None => None,
        };
        self.remove::<Chain>(height);
        self.meta.tip = tip;
        let mut touched = BTreeMap::new();
        self.unmine_all(hash, &mut touched)?;
        self.come_up(height, &mut touched)?;
        for (invoice, turn) in touched {
            self.refresh(invoice, turn.by_itself())?;
        }
        Ok(())
    }

    /// Takes back the parts of a block that was never connected, unless it is the one that goes on: the node
    /// turned to another one in between, perhaps while we were down.
    fn abandon_all_but(&mut self, current: Option<BlockHash>) -> Result<(), ReadError> {
        let Some((_, hash)) = self.meta.under_way.filter(|(_, hash)| Some(*hash) != current) else {
            return Ok(());
        };
        self.meta.under_way = None;
        let mut touched = BTreeMap::new();
        self.unmine_all(hash, &mut touched)?;
        for (invoice, turn) in touched {
            self.refresh(invoice, turn.by_itself())?;
        }
        Ok(())
    }

    fn unmine_all(
        &mut self,
        hash: BlockHash,
        touched: &mut BTreeMap<InvoiceId, Turn>,
    ) -> Result<(), ReadError> {
        for txid in self.transactions_in(hash)? {
            self.remove::<BlockTransactions>((hash, txid));
            self.unmine(hash, txid, touched)?;
        }
        Ok(())
    }

    fn transactions_in(&self, hash: BlockHash) -> Result<Vec<Txid>, ReadError> {
        let keys = (hash, first_txid())..=(hash, last_txid());
        let transactions = self.range::<BlockTransactions>(keys, usize::MAX)?;
        Ok(transactions.into_iter().map(|((_, txid), ())| txid).collect())
    }

    /// The block at `height` was taken off, and all below it came up by one: here and there an invoice has a
    /// confirmation less than it asked for, and a coinbase is not mature any more.
    fn come_up(&mut self, height: u32, touched: &mut BTreeMap<InvoiceId, Turn>) -> Result<(), ReadError> {
        for depth in 2..=u32::from(MAX_CONFIRMATIONS_REQUIRED) {
            let Some(block) = height.checked_sub(depth - 1) else { break };
            let Some(hash) = self.get::<Chain>(&block)? else { break };
            for txid in self.transactions_in(hash)? {
                let Some(record) = self.get::<Transactions>(&txid)? else { continue };
                if record.coinbase && mature_at(block) == height {
                    self.put::<Maturing>((height, txid), ());
                    let state = credit_state(&record, self.tip_height());
                    self.move_credits(txid, record.outputs, state, touched)?;
                }
                for credit in self.credits_in(txid, record.outputs)? {
                    let record = self.invoice(&credit.invoice)?;
                    if record.is_some_and(|record| u32::from(record.invoice.confirmations_required) == depth)
                    {
                        touched.entry(credit.invoice).or_default();
                    }
                }
            }
        }
        Ok(())
    }

    /// A coinbase is deep enough to be spent: its credits count from now on.
    fn mature(&mut self, txid: Txid) -> Result<(), ReadError> {
        let Some(record) = self.get::<Transactions>(&txid)? else { return Ok(()) };
        let Place::Block { height, .. } = record.place else { return Ok(()) };
        self.remove::<Maturing>((mature_at(height), txid));
        let state = credit_state(&record, self.tip_height());
        let mut touched = BTreeMap::new();
        self.move_credits(txid, record.outputs, state, &mut touched)?;
        for (invoice, turn) in touched {
            // Whether it waits for blocks is looked at with all the others, once.
            self.refresh(invoice, turn.by(txid))?;
        }
        Ok(())
    }

    fn unmine(
        &mut self,
        hash: BlockHash,
        txid: Txid,
        touched: &mut BTreeMap<InvoiceId, Turn>,
    ) -> Result<(), ReadError> {
        let Some(mut record) = self.get::<Transactions>(&txid)? else { return Ok(()) };
        let Place::Block { height, hash: its } = record.place else { return Ok(()) };
        if its != hash {
            return Ok(());
        }
        if record.coinbase {
            // A coinbase dies with its block.
            self.remove::<Maturing>((mature_at(height), txid));
            record.place = Place::Lost;
        } else {
            self.put::<Unconfirmed>(txid, ());
            record.place = Place::Mempool;
        }
        self.move_credits(txid, record.outputs, credit_state(&record, self.tip_height()), touched)?;
        self.put::<Transactions>(txid, record);
        Ok(())
    }

    fn move_credits(
        &mut self,
        txid: Txid,
        outputs: u32,
        state: CreditState,
        touched: &mut BTreeMap<InvoiceId, Turn>,
    ) -> Result<(), ReadError> {
        for credit in self.credits_in(txid, outputs)? {
            self.move_credit(credit, state, touched)?;
        }
        Ok(())
    }
}

pub(super) fn first_txid() -> Txid {
    bitcoincash::hashes::Hash::from_byte_array([0; 32])
}

pub(super) fn last_txid() -> Txid {
    bitcoincash::hashes::Hash::from_byte_array([0xff; 32])
}
