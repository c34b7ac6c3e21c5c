//! What can be said of a transaction from itself and the coins it spends.

use std::collections::BTreeSet;

use super::{InputFault, SubmitError};
use crate::{
    bch::{FeeRate, OutPoint, Transaction, smallest_unlocking_script},
    node::Coin,
};

/// Checks that need nothing but the transaction: it spends something, and nothing twice.
pub(super) fn check_shape(tx: &Transaction) -> Result<(), InputFault> {
    if tx.is_coinbase() {
        return Err(InputFault::Coinbase);
    }
    let mut spent: BTreeSet<&OutPoint> = BTreeSet::new();
    match tx.inputs().iter().find(|outpoint| !spent.insert(outpoint)) {
        Some(twice) => Err(InputFault::Twice(*twice)),
        None => Ok(()),
    }
}

/// The first outpoint that has no coin.
pub(super) fn missing(tx: &Transaction, coins: &[Option<Coin>]) -> Option<OutPoint> {
    let mut coins = coins.iter();
    tx.inputs().iter().find(|_| !matches!(coins.next(), Some(Some(_)))).copied()
}

/// Checks sums and fee against the coins that are spent, all of which must be there.
pub(super) fn check_fee(tx: &Transaction, coins: &[Option<Coin>], rate: FeeRate) -> Result<(), SubmitError> {
    let inputs = coins.iter().flatten().fold(0u64, |sum, coin| sum.saturating_add(coin.satoshis));
    let outputs = tx.output_satoshis().unwrap_or(u64::MAX);
    let Some(paid) = inputs.checked_sub(outputs) else {
        return Err(SubmitError::Inputs(InputFault::TooMuchOut { inputs, outputs }));
    };
    let bytes = smallest_size(tx, coins);
    if rate.is_paid_by(paid, bytes) {
        Ok(())
    } else {
        Err(SubmitError::Fee { paid, required: rate.fee(bytes), rate, bytes })
    }
}

/// The least bytes the transaction has once it is signed. What is signed already is taken as it is; so what passes
/// unsigned is never refused, over its size, when it comes signed.
fn smallest_size(tx: &Transaction, coins: &[Option<Coin>]) -> usize {
    let unsigned = tx.unlocking_bytes().iter().zip(coins).filter(|(bytes, _)| **bytes == 0);
    let missing: usize = unsigned
        .filter_map(|(_, coin)| coin.as_ref())
        .map(|coin| smallest_unlocking_script(&coin.script))
        .sum();
    tx.raw().len() + missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bch::{ScriptBuf, Txid};

    fn txid(tag: u8) -> Txid {
        bitcoincash::hashes::Hash::from_byte_array([tag; 32])
    }

    fn transaction(inputs: &[(u8, &[u8])], outputs: &[u64]) -> Transaction {
        let tx = bitcoincash::Transaction {
            version: bitcoincash::transaction::Version::TWO,
            lock_time: bitcoincash::absolute::LockTime::ZERO,
            input: inputs
                .iter()
                .map(|(tag, script)| bitcoincash::TxIn {
                    previous_output: OutPoint { txid: txid(*tag), vout: 0 },
                    script_sig: ScriptBuf::from(script.to_vec()),
                    ..bitcoincash::TxIn::default()
                })
                .collect(),
            output: outputs
                .iter()
                .map(|satoshis| bitcoincash::TxOut {
                    value: bitcoincash::Amount::from_sat(*satoshis),
                    script_pubkey: ScriptBuf::from(vec![0x51; 25]),
                    token: None,
                })
                .collect(),
        };
        Transaction::decode(bitcoincash::consensus::serialize(&tx).into()).unwrap()
    }

    fn p2pkh(satoshis: u64) -> Option<Coin> {
        let script = [&[0x76, 0xa9, 0x14][..], &[7; 20], &[0x88, 0xac]].concat();
        Some(Coin { satoshis, script: script.into(), token: None, confirmations: 1, coinbase: false })
    }

    #[test]
    fn shapes() {
        assert_eq!(check_shape(&transaction(&[(1, b""), (2, b"")], &[1])), Ok(()));
        assert_eq!(
            check_shape(&transaction(&[(1, b""), (1, b"")], &[1])),
            Err(InputFault::Twice(OutPoint { txid: txid(1), vout: 0 }))
        );
    }

    #[test]
    fn the_first_missing_coin() {
        let tx = transaction(&[(1, b""), (2, b"")], &[1]);
        assert_eq!(missing(&tx, &[p2pkh(1), p2pkh(1)]), None);
        assert_eq!(missing(&tx, &[p2pkh(1), None]).map(|outpoint| outpoint.txid), Some(txid(2)));
        assert_eq!(missing(&tx, &[p2pkh(1)]).map(|outpoint| outpoint.txid), Some(txid(2)));
    }

    #[test]
    fn an_unsigned_transaction_is_measured_as_small_as_it_can_become() {
        let tx = transaction(&[(1, b"")], &[1000]);
        let bytes = tx.raw().len() + 100;
        let with_fee = |fee: u64| check_fee(&tx, &[p2pkh(1000 + fee)], FeeRate::default());
        assert_eq!(with_fee(bytes as u64 - 1), Ok(()), "one satoshi of tolerance");
        assert_eq!(
            with_fee(bytes as u64 - 2),
            Err(SubmitError::Fee {
                paid: bytes as u64 - 2,
                required: bytes as u64,
                rate: FeeRate::default(),
                bytes
            })
        );
        // Signed, it is measured as it is.
        let signed = transaction(&[(1, &[0; 107])], &[1000]);
        let fee = signed.raw().len() as u64;
        assert_eq!(check_fee(&signed, &[p2pkh(1000 + fee)], FeeRate::default()), Ok(()));
    }

    #[test]
    fn more_out_than_in() {
        let tx = transaction(&[(1, b"")], &[1000, 500]);
        assert_eq!(
            check_fee(&tx, &[p2pkh(1499)], FeeRate::default()),
            Err(SubmitError::Inputs(InputFault::TooMuchOut { inputs: 1499, outputs: 1500 }))
        );
        let huge = transaction(&[(1, b"")], &[u64::MAX, 2]);
        assert!(check_fee(&huge, &[p2pkh(u64::MAX)], FeeRate::default()).is_err());
    }
}
