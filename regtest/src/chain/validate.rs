//! Consensus rules of a transaction: by itself, at a height, and against the coins it spends.

use std::collections::BTreeSet;

use bitcoincash::{OutPoint, Transaction, TxOut};

use super::coin::{Coin, is_unspendable};
use super::reject::Reject;
use super::{COINBASE_MATURITY, MAX_MONEY};

/// Largest transaction a block may hold, bytes.
const MAX_SIZE: usize = 1_000_000;
/// Smallest transaction, bytes.
const MIN_SIZE: usize = 65;
/// Lock times from here on are unix seconds, below they are heights.
const LOCKTIME_THRESHOLD: u32 = 500_000_000;
/// First height at which blocks have to keep BIP68 and BIP113 on regtest.
pub(super) const CSV_HEIGHT: u32 = 576;

/// Rules a transaction outside a coinbase keeps by itself.
pub(super) fn check_regular(tx: &Transaction, size: usize) -> Result<(), Reject> {
    if tx.is_coinbase() {
        return Err(Reject::invalid("bad-tx-coinbase"));
    }
    check_common(tx, size)?;
    let mut seen = BTreeSet::new();
    for input in &tx.input {
        if input.previous_output == OutPoint::null() {
            return Err(Reject::invalid("bad-txns-prevout-null"));
        }
        if !seen.insert(input.previous_output) {
            return Err(Reject::invalid("bad-txns-inputs-duplicate"));
        }
    }
    Ok(())
}

/// Rules a coinbase keeps by itself.
pub(super) fn check_coinbase(tx: &Transaction, size: usize) -> Result<(), Reject> {
    if !tx.is_coinbase() {
        return Err(Reject::invalid("bad-cb-missing"));
    }
    check_common(tx, size)?;
    match tx.input.first() {
        Some(input) if (2..=100).contains(&input.script_sig.len()) => Ok(()),
        _ => Err(Reject::invalid("bad-cb-length")),
    }
}

fn check_common(tx: &Transaction, size: usize) -> Result<(), Reject> {
    if tx.input.is_empty() {
        return Err(Reject::invalid("bad-txns-vin-empty"));
    }
    if tx.output.is_empty() {
        return Err(Reject::invalid("bad-txns-vout-empty"));
    }
    if size > MAX_SIZE {
        return Err(Reject::invalid("bad-txns-oversize"));
    }
    let mut total = 0_u64;
    for output in &tx.output {
        let value = output.value.to_sat();
        if value > i64::MAX.unsigned_abs() {
            return Err(Reject::invalid("bad-txns-vout-negative"));
        }
        if value > MAX_MONEY {
            return Err(Reject::invalid("bad-txns-vout-toolarge"));
        }
        total += value;
        if total > MAX_MONEY {
            return Err(Reject::invalid("bad-txns-txouttotal-toolarge"));
        }
    }
    Ok(())
}

/// Rules that depend on the block: `height` of the block, `time` its lock times are compared with.
pub(super) fn check_in_block(tx: &Transaction, size: usize, height: u32, time: u32) -> Result<(), Reject> {
    if !is_final(tx, height, time) {
        return Err(Reject::invalid_because("bad-txns-nonfinal", "non-final transaction".to_owned()));
    }
    if size < MIN_SIZE {
        return Err(Reject::invalid("bad-txns-undersize"));
    }
    if !(1..=2).contains(&tx.version.0) {
        return Err(Reject::invalid("bad-txns-version"));
    }
    Ok(())
}

fn is_final(tx: &Transaction, height: u32, time: u32) -> bool {
    let lock = tx.lock_time.to_consensus_u32();
    let limit = if lock < LOCKTIME_THRESHOLD { height } else { time };
    lock == 0 || lock < limit || tx.input.iter().all(|input| input.sequence.0 == u32::MAX)
}

/// Relative lock times (BIP68). `height` is that of the block the transaction would be in, `time` the median time
/// past of the block before; `coin_time` tells the median time past at a height.
pub(super) fn sequence_locks_hold(
    tx: &Transaction,
    coins: &[Coin],
    height: u32,
    time: u32,
    coin_time: impl Fn(u32) -> u32,
) -> bool {
    const DISABLED: u32 = 1 << 31;
    const SECONDS: u32 = 1 << 22;
    tx.version.0 < 2
        || tx.input.iter().zip(coins).all(|(input, coin)| {
            let sequence = input.sequence.0;
            let made = coin.height.unwrap_or(height);
            let wait = sequence & 0xffff;
            if sequence & DISABLED != 0 {
                true
            } else if sequence & SECONDS != 0 {
                let since = u64::from(coin_time(made.saturating_sub(1)));
                since + (u64::from(wait) << 9) <= u64::from(time)
            } else {
                made + wait <= height
            }
        })
}

/// Values, maturity and spendability of the coins, one per input; the fee in satoshis. `height` is that of the
/// block the transaction would be in.
pub(super) fn check_values(tx: &Transaction, coins: &[Coin], height: u32) -> Result<u64, Reject> {
    let mut incoming = 0_u64;
    for coin in coins {
        let depth = height.saturating_sub(coin.height.unwrap_or(height));
        if coin.coinbase && depth < COINBASE_MATURITY {
            let detail = format!("tried to spend coinbase at depth {depth}");
            return Err(Reject::invalid_because("bad-txns-premature-spend-of-coinbase", detail));
        }
        if is_unspendable(coin.output.script_pubkey.as_bytes()) {
            let detail = "CheckTxInputs: input scriptPubKey is unspendable".to_owned();
            return Err(Reject::invalid_because("bad-txns-input-scriptpubkey-unspendable", detail));
        }
        incoming = incoming.saturating_add(coin.output.value.to_sat());
    }
    if incoming > MAX_MONEY {
        return Err(Reject::invalid("bad-txns-inputvalues-outofrange"));
    }
    let outgoing: u64 = tx.output.iter().map(|output| output.value.to_sat()).sum();
    incoming.checked_sub(outgoing).ok_or_else(|| {
        let detail = format!("value in ({}) < value out ({})", money(incoming), money(outgoing));
        Reject::invalid_because("bad-txns-in-belowout", detail)
    })
}

/// The outputs of coins, in order.
pub(super) fn outputs(coins: &[Coin]) -> Vec<TxOut> {
    coins.iter().map(|coin| coin.output.clone()).collect()
}

/// Satoshis as a decimal amount of coins with at least two decimals.
fn money(satoshis: u64) -> String {
    let mut text = format!("{}.{:08}", satoshis / 100_000_000, satoshis % 100_000_000);
    for _ in 0..6 {
        if text.ends_with('0') {
            text.pop();
        }
    }
    text
}
