//! The set of unspent outputs, and what is needed to take a block back.

use std::collections::{HashMap, HashSet};

use bitcoincash::{OutPoint, ScriptBuf, Transaction, TxOut, Txid};

/// An unspent output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coin {
    /// Value, locking script without token prefix, and token.
    pub output: TxOut,
    /// Height of its block; `None` in the mempool.
    pub height: Option<u32>,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

/// What a block consumed: one coin per input of its transactions, in block order, the coinbase left out.
pub(super) type Undo = Vec<(OutPoint, Coin)>;

/// Unspent outputs of the active chain.
#[derive(Debug, Default)]
pub(super) struct CoinSet {
    coins: HashMap<OutPoint, Coin>,
}

impl CoinSet {
    pub(super) fn get(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.coins.get(outpoint)
    }

    /// Whether any of the outputs of `tx` is unspent.
    pub(super) fn has_any_of(&self, txid: Txid, tx: &Transaction) -> bool {
        outpoints(txid, tx).any(|(outpoint, _)| self.coins.contains_key(&outpoint))
    }

    /// Adds the spendable outputs of a transaction.
    pub(super) fn add(&mut self, txid: Txid, tx: &Transaction, height: u32) {
        let coinbase = tx.is_coinbase();
        for (outpoint, output) in outpoints(txid, tx) {
            if !is_unspendable(output.script_pubkey.as_bytes()) {
                self.coins.insert(outpoint, Coin { output: output.clone(), height: Some(height), coinbase });
            }
        }
    }

    pub(super) fn remove(&mut self, txid: Txid, tx: &Transaction) {
        for (outpoint, _) in outpoints(txid, tx) {
            self.coins.remove(&outpoint);
        }
    }

    pub(super) fn spend(&mut self, outpoint: &OutPoint) -> Option<Coin> {
        self.coins.remove(outpoint)
    }

    pub(super) fn restore(&mut self, undo: Undo) {
        self.coins.extend(undo);
    }

    /// The coins with one of these locking scripts, by outpoint.
    pub(super) fn of_scripts(&self, scripts: &[ScriptBuf]) -> Vec<(OutPoint, Coin)> {
        let wanted: HashSet<&ScriptBuf> = scripts.iter().collect();
        let found = self.coins.iter().filter(|(_, coin)| wanted.contains(&coin.output.script_pubkey));
        let mut found: Vec<_> = found.map(|(outpoint, coin)| (*outpoint, coin.clone())).collect();
        found.sort_by_key(|(outpoint, _)| *outpoint);
        found
    }

    /// Number of coins and sum of their satoshis.
    pub(super) fn totals(&self) -> (usize, u64) {
        (self.coins.len(), self.coins.values().map(|coin| coin.output.value.to_sat()).sum())
    }
}

/// The outputs of a transaction with their outpoints.
pub(super) fn outpoints(txid: Txid, tx: &Transaction) -> impl Iterator<Item = (OutPoint, &TxOut)> {
    (0_u32..).zip(&tx.output).map(move |(vout, output)| (OutPoint { txid, vout }, output))
}

/// Whether no input can ever satisfy the script: it never becomes a coin.
pub(super) fn is_unspendable(script: &[u8]) -> bool {
    script.first() == Some(&0x6a) || script.len() > 10_000
}
