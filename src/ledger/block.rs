//! Blocks: in parts, then the end of the chain moves; and back.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ReadError, View,
    observe::credit_state,
    scribe::Scribe,
    settle::Change,
    tables::{
        Awaiting, BlockRecord, BlockTransactions, Blocks, Chain, Credits, Maturing, Place, Transactions,
        Unconfirmed,
    },
};
use crate::{
    bch::{BlockHash, OutPoint, Transaction, Txid},
    invoice::{FirstSeen, InvoiceId, Sighting, Timestamp},
};

impl<V: View> Scribe<'_, V> {
    /// Where our walk of the chain begins: what is in this block and below it was there before every invoice.
    pub(super) fn anchor(&mut self, height: u32, hash: BlockHash) -> Result<(), ReadError> {
        if self.meta.tip.is_none() {
            self.put::<Blocks>(hash, BlockRecord { height, begun: self.order });
            self.put::<Chain>(height, hash);
            self.meta.tip = Some((height, hash));
        }
        Ok(())
    }

    /// Applies some transactions of a block that is about to be connected. An invoice that is registered while a
    /// block is applied is younger than the whole block.
    pub(super) fn block_part(
        &mut self,
        hash: BlockHash,
        height: u32,
        time_s: u32,
        transactions: &[(Arc<Transaction>, Option<FirstSeen>)],
    ) -> Result<(), ReadError> {
        let begun = match self.get::<Blocks>(&hash)? {
            Some(block) => block.begun,
            None => {
                self.put::<Blocks>(hash, BlockRecord { height, begun: self.order });
                self.order
            }
        };
        let mined = Timestamp::from_secs(time_s.into()).min(self.now());
        for (tx, seen) in transactions {
            let seen = seen.unwrap_or(FirstSeen { sighting: Sighting::Block(begun), at: mined });
            self.observe(tx, seen, Place::Block { height, hash })?;
        }
        Ok(())
    }

    /// Moves the end of the chain one block up, and tells every invoice that waited for it.
    pub(super) fn connect_block(&mut self, hash: BlockHash, height: u32) -> Result<(), ReadError> {
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
        if self.meta.tip != Some((height, hash)) {
            return Ok(());
        }
        let below = height.checked_sub(1);
        let tip = match below {
            Some(below) => self.get::<Chain>(&below)?.map(|hash| (below, hash)),
            None => None,
        };
        self.remove::<Chain>(height);
        self.meta.tip = tip;
        let keys = (hash, first_txid())..=(hash, last_txid());
        let mut touched: BTreeMap<InvoiceId, bool> = BTreeMap::new();
        for ((_, txid), ()) in self.range::<BlockTransactions>(keys, usize::MAX)? {
            self.remove::<BlockTransactions>((hash, txid));
            self.unmine(txid, &mut touched)?;
        }
        for (invoice, _) in touched {
            self.refresh(invoice, Change::default())?;
        }
        Ok(())
    }

    /// A coinbase is deep enough to be spent: its credits count from now on.
    fn mature(&mut self, txid: Txid) -> Result<(), ReadError> {
        let Some(record) = self.get::<Transactions>(&txid)? else { return Ok(()) };
        let Place::Block { height, .. } = record.place else { return Ok(()) };
        self.remove::<Maturing>((height.saturating_add(99), txid));
        let state = credit_state(&record, self.tip_height());
        let mut credited = BTreeMap::new();
        self.move_credits(txid, record.outputs, state, &mut credited)?;
        for (invoice, credited) in credited {
            self.refresh(invoice, Change { credited, block: true, ..Change::credited(txid) })?;
        }
        Ok(())
    }

    fn unmine(&mut self, txid: Txid, touched: &mut BTreeMap<InvoiceId, bool>) -> Result<(), ReadError> {
        let Some(mut record) = self.get::<Transactions>(&txid)? else { return Ok(()) };
        if let (Place::Block { height, .. }, true) = (record.place, record.coinbase) {
            // A coinbase dies with its block.
            self.remove::<Maturing>((height.saturating_add(99), txid));
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
        state: crate::invoice::CreditState,
        credited: &mut BTreeMap<InvoiceId, bool>,
    ) -> Result<(), ReadError> {
        for vout in 0..outputs {
            if let Some(credit) = self.get::<Credits>(&OutPoint { txid, vout })? {
                self.move_credit(credit, state, credited);
            }
        }
        Ok(())
    }
}

fn first_txid() -> Txid {
    bitcoincash::hashes::Hash::from_byte_array([0; 32])
}

fn last_txid() -> Txid {
    bitcoincash::hashes::Hash::from_byte_array([0xff; 32])
}
