//! Whether a transaction is any business of ours.

use crate::{
    bch::Transaction,
    ledger::{
        ReadError, Reads, View,
        tables::{Scripts, Spends, Transactions},
    },
};

/// Whether a transaction pays a script that was ever asked for, spends what a tracked one spends, or is tracked.
///
/// This is the hot path: nearly every transaction of the network ends here, after one look-up for each of its
/// outputs and inputs.
pub(super) fn matters<V: View>(view: &V, tx: &Transaction) -> Result<bool, ReadError> {
    for output in tx.outputs() {
        if Reads::<Scripts>::get(view, &output.script_hash)?.is_some() {
            return Ok(true);
        }
    }
    for outpoint in tx.inputs() {
        if Reads::<Spends>::get(view, outpoint)?.is_some() {
            return Ok(true);
        }
    }
    Ok(Reads::<Transactions>::get(view, &tx.txid())?.is_some())
}
