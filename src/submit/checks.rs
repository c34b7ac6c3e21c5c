//! What can be said of a transaction from itself and the coins it spends.

use std::collections::BTreeSet;

use super::{InputFault, SubmitError, size::measured_size};
use crate::{
    bch::{FeeRate, OutPoint, Output, Transaction},
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

/// The first of these outpoints that has no coin.
pub(super) fn missing(outpoints: &[OutPoint], coins: &[Option<Coin>]) -> Option<OutPoint> {
    let mut coins = coins.iter();
    outpoints.iter().find(|_| !matches!(coins.next(), Some(Some(_)))).copied()
}

/// Checks that no more satoshis leave a transaction than enter it.
pub(super) fn check_sums(tx: &Transaction, spent: &[Output]) -> Result<(), InputFault> {
    let (inputs, outputs) = sums(tx, spent);
    if inputs < outputs { Err(InputFault::TooMuchOut { inputs, outputs }) } else { Ok(()) }
}

/// Checks the fee against the size, which the wallet may have announced.
pub(super) fn check_fee(
    tx: &Transaction,
    spent: &[Output],
    rate: FeeRate,
    weighted: Option<usize>,
) -> Result<(), SubmitError> {
    let (inputs, outputs) = sums(tx, spent);
    let paid = inputs.saturating_sub(outputs);
    let bytes = measured_size(tx, spent, weighted);
    if rate.is_paid_by(paid, bytes) {
        Ok(())
    } else {
        Err(SubmitError::Fee { paid, required: rate.fee(bytes), rate, bytes })
    }
}

/// Checks the fee against what the node takes into its mempool at the moment, in satoshis per 1000 bytes, as the node reckons
/// it: to the satoshi, rounded down, and at least one. How large becomes what is not signed yet is not known to the byte: there
/// one satoshi less is enough.
pub(super) fn check_floor(
    tx: &Transaction,
    spent: &[Output],
    floor: u64,
    weighted: Option<usize>,
) -> Result<(), SubmitError> {
    let (inputs, outputs) = sums(tx, spent);
    let paid = inputs.saturating_sub(outputs);
    let bytes = measured_size(tx, spent, weighted);
    let least = u128::from(floor) * (bytes as u128) / 1000;
    let least = u64::try_from(least).unwrap_or(u64::MAX).max(u64::from(floor > 0));
    let unsigned = tx.unlocking_bytes().contains(&0);
    if paid.saturating_add(u64::from(unsigned)) >= least {
        return Ok(());
    }
    let rate = FeeRate::from_millisatoshis(floor).unwrap_or(FeeRate::MAX);
    Err(SubmitError::Fee { paid, required: least, rate, bytes })
}

/// The satoshis that enter a transaction, and those that leave it.
fn sums(tx: &Transaction, spent: &[Output]) -> (u64, u64) {
    let inputs = spent.iter().fold(0u64, |sum, output| sum.saturating_add(output.satoshis));
    (inputs, tx.output_satoshis().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submit::fixture::{coin, p2pkh, spending};

    #[test]
    fn shapes() {
        assert_eq!(check_shape(&spending(&[(coin(1), b""), (coin(2), b"")], &[1])), Ok(()));
        assert_eq!(
            check_shape(&spending(&[(coin(1), b""), (coin(1), b"")], &[1])),
            Err(InputFault::Twice(coin(1)))
        );
    }

    #[test]
    fn the_first_missing_coin() {
        let tx = spending(&[(coin(1), b""), (coin(2), b"")], &[1]);
        let there = || {
            let Output { satoshis, script, .. } = p2pkh(1);
            Some(Coin { satoshis, script, token: None, confirmations: 1, coinbase: false })
        };
        assert_eq!(missing(tx.inputs(), &[there(), there()]), None);
        assert_eq!(missing(tx.inputs(), &[there(), None]), Some(coin(2)));
        assert_eq!(missing(tx.inputs(), &[there()]), Some(coin(2)));
    }

    #[test]
    fn the_floor_of_the_node_is_exact() {
        let tx = spending(&[(coin(1), &[0; 107])], &[1000]);
        let bytes = tx.raw().len();
        let with_fee = |fee: u64, floor| check_floor(&tx, &[p2pkh(1000 + fee)], floor, None);
        let size = bytes as u64;
        let table = [
            // floor, the least fee
            (1000, size),
            (3000, 3 * size),
            (1733, 1733 * size / 1000),
            (1, 1),
            (0, 0),
        ];
        for (floor, least) in table {
            assert_eq!(with_fee(least, floor), Ok(()), "{floor}");
            let Some(less) = least.checked_sub(1) else { continue };
            let rate = FeeRate::from_millisatoshis(floor).unwrap();
            let refused = SubmitError::Fee { paid: less, required: least, rate, bytes };
            assert_eq!(with_fee(less, floor), Err(refused), "{floor}");
        }
        assert!(with_fee(1_000_000, u64::MAX).is_err(), "beyond all reason, and no overflow");
        let unsigned = spending(&[(coin(1), b"")], &[1000]);
        let size = unsigned.raw().len() as u64 + 100;
        let with_fee = |fee: u64| check_floor(&unsigned, &[p2pkh(1000 + fee)], 1000, None);
        assert_eq!(with_fee(size - 1), Ok(()));
        assert!(with_fee(size - 2).is_err());
    }

    #[test]
    fn an_unsigned_transaction_is_measured_as_small_as_it_can_become() {
        let tx = spending(&[(coin(1), b"")], &[1000]);
        let bytes = tx.raw().len() + 100;
        let with_fee = |fee: u64| check_fee(&tx, &[p2pkh(1000 + fee)], FeeRate::default(), None);
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
        // Its wallet says that it will sign in the longer way.
        let announced = |fee: u64| check_fee(&tx, &[p2pkh(1000 + fee)], FeeRate::default(), Some(bytes + 7));
        assert_eq!(announced(bytes as u64 + 6), Ok(()));
        assert!(announced(bytes as u64 + 5).is_err());
        // Signed, it is measured as it is.
        let signed = spending(&[(coin(1), &[0; 107])], &[1000]);
        let fee = signed.raw().len() as u64;
        assert_eq!(check_fee(&signed, &[p2pkh(1000 + fee)], FeeRate::default(), None), Ok(()));
    }

    #[test]
    fn more_out_than_in() {
        let tx = spending(&[(coin(1), b"")], &[1000, 500]);
        assert_eq!(
            check_sums(&tx, &[p2pkh(1499)]),
            Err(InputFault::TooMuchOut { inputs: 1499, outputs: 1500 })
        );
        assert_eq!(check_sums(&tx, &[p2pkh(1500)]), Ok(()));
        let huge = spending(&[(coin(1), b"")], &[u64::MAX, 2]);
        assert!(check_fee(&huge, &[p2pkh(u64::MAX)], FeeRate::default(), None).is_err());
    }
}
