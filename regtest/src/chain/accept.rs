//! The way into the mempool: the node's checks in the node's order.

use bitcoincash::consensus::encode::{VarInt, deserialize, deserialize_partial};
use bitcoincash::{Transaction, TxOut, Txid};
use bytes::Bytes;

use super::coin::Coin;
use super::event::Event;
use super::reject::Reject;
use super::{ABSURD_FEE, Chain, script, standard, token, validate};

/// A transaction that passed every check.
#[derive(Debug)]
struct Accepted {
    txid: Txid,
    fee: u64,
}

/// Which of the checks that are not consensus a caller wants.
#[derive(Debug, Clone, Copy)]
struct Limits {
    min_fee: bool,
    absurd_fee: bool,
}

impl Chain {
    /// Hands a transaction to the node as `sendrawtransaction` does. A transaction that is in the mempool already
    /// is a success without an event; one that confirmed and has an unspent output left is error -27.
    ///
    /// # Errors
    /// The node's code and text.
    pub fn submit(&mut self, raw: &[u8], allow_high_fees: bool, now: u64) -> Result<Txid, Reject> {
        let tx = decode(raw)?;
        let txid = tx.compute_txid();
        self.clock = now;
        if self.coins.has_any_of(txid, &tx) {
            return Err(Reject::in_chain());
        }
        if self.mempool.contains(&txid) {
            return Ok(txid);
        }
        let limits = Limits { min_fee: true, absurd_fee: !allow_high_fees };
        match self.check(&tx, txid, raw.len(), limits) {
            Ok(accepted) => {
                self.enter(accepted, tx, Bytes::copy_from_slice(raw), now);
                Ok(txid)
            }
            Err(reject) => {
                if reject.is_conflict() {
                    self.prove_double_spend(&tx);
                }
                Err(reject)
            }
        }
    }

    /// What [`Chain::submit`] would say, by the rules of `testmempoolaccept`: a transaction that is in the mempool
    /// is refused, and no proof is made of a conflict. See [`Reject::reason_for_test`].
    ///
    /// # Errors
    /// The node's code and text.
    pub fn test_accept(&self, raw: &[u8], allow_high_fees: bool, _now: u64) -> Result<Txid, Reject> {
        let tx = decode(raw)?;
        let txid = tx.compute_txid();
        let limits = Limits { min_fee: true, absurd_fee: !allow_high_fees };
        self.check(&tx, txid, raw.len(), limits).map(|accepted| accepted.txid)
    }

    /// Puts a transaction back after a reorganisation; says nothing when it does not fit any more.
    pub(super) fn readmit(&mut self, tx: Transaction, raw: Bytes, time: u64) {
        let txid = tx.compute_txid();
        let limits = Limits { min_fee: false, absurd_fee: false };
        if let Ok(accepted) = self.check(&tx, txid, raw.len(), limits) {
            self.enter(accepted, tx, raw, time);
        }
    }

    fn enter(&mut self, accepted: Accepted, tx: Transaction, raw: Bytes, time: u64) {
        let Accepted { txid, fee } = accepted;
        self.events.push(Event::Transaction { txid, raw: raw.clone() });
        self.mempool.add(txid, tx, raw, fee, time);
        self.rescue_proof(txid);
    }

    fn check(&self, tx: &Transaction, txid: Txid, size: usize, limits: Limits) -> Result<Accepted, Reject> {
        let (height, median_time) = self.next_block();
        validate::check_regular(tx, size)?;
        standard::check(tx, size)?;
        validate::check_in_block(tx, size, height, median_time).map_err(Reject::into_nonstandard)?;
        if self.mempool.contains(&txid) {
            return Err(Reject::duplicate("txn-already-in-mempool"));
        }
        if tx.input.iter().any(|input| self.mempool.spender(&input.previous_output).is_some()) {
            return Err(Reject::conflict());
        }
        let coins = self.coins_of(tx).ok_or_else(|| {
            if self.coins.has_any_of(txid, tx) {
                Reject::duplicate("txn-already-known")
            } else {
                Reject::missing_inputs()
            }
        })?;
        if !validate::sequence_locks_hold(tx, &coins, height, median_time, |at| self.median_time_at(at)) {
            return Err(Reject::nonstandard("non-BIP68-final"));
        }
        let fee = validate::check_values(tx, &coins, height)?;
        if coins.iter().any(|coin| !standard::is_spendable(coin.output.script_pubkey.as_bytes())) {
            return Err(Reject::nonstandard("bad-txns-nonstandard-inputs"));
        }
        if limits.min_fee && fee < fee_of(self.relay_fee, size) {
            return Err(Reject::low_fee());
        }
        if limits.absurd_fee && fee > ABSURD_FEE {
            return Err(Reject::absurd_fee(fee, ABSURD_FEE));
        }
        let spent = validate::outputs(&coins);
        token::check(tx, &spent)?;
        script::check(tx, &spent, true)?;
        let full = fee_of(self.full_mempool_fee, size);
        if limits.min_fee && fee < full {
            return Err(Reject::mempool_fee(fee, full));
        }
        Ok(Accepted { txid, fee })
    }

    /// The coin of each input, from the chain and the mempool; `None` when one is missing.
    pub(super) fn coins_of(&self, tx: &Transaction) -> Option<Vec<Coin>> {
        tx.input.iter().map(|input| self.coin(&input.previous_output)).collect()
    }
}

/// The fee for a size by a rate in satoshis per 1000 bytes, rounded down, and at least one satoshi where there is a rate.
fn fee_of(satoshis_per_kb: u64, size: usize) -> u64 {
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    (satoshis_per_kb.saturating_mul(size) / 1000).max(u64::from(satoshis_per_kb > 0))
}

/// Reads a transaction as the node does: there is no segwit form, so a zero after the version counts inputs.
fn decode(raw: &[u8]) -> Result<Transaction, Reject> {
    if raw.get(4) == Some(&0) {
        return Err(if is_without_inputs(raw) {
            Reject::invalid("bad-txns-vin-empty")
        } else {
            Reject::undecodable()
        });
    }
    deserialize(raw).map_err(|_| Reject::undecodable())
}

fn is_without_inputs(raw: &[u8]) -> bool {
    let Some(mut rest) = raw.get(5..) else { return false };
    let Ok((VarInt(count), used)) = deserialize_partial::<VarInt>(rest) else { return false };
    rest = rest.get(used..).unwrap_or_default();
    for _ in 0..count {
        let Ok((_, used)) = deserialize_partial::<TxOut>(rest) else { return false };
        rest = rest.get(used..).unwrap_or_default();
    }
    rest.len() == 4
}
