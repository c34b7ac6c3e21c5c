//! How large a transaction is, or will be once it is signed.

use crate::bch::{
    MAX_TRANSACTION_BYTES, Output, Transaction, largest_unlocking_script, smallest_unlocking_script,
};

/// The bytes that a transaction is measured by. What is signed already is taken as it is. For the rest the wallet's
/// word counts, if signing can lead there, and else the least that signing can come to: so nothing is refused
/// unsigned, over its size, that is taken when it comes signed as it was announced.
pub(super) fn measured_size(tx: &Transaction, spent: &[Output], weighted: Option<usize>) -> usize {
    let scripts = tx.unlocking_bytes().iter().zip(spent);
    let unsigned = scripts.filter(|(bytes, _)| **bytes == 0).map(|(_, output)| &output.script);
    let (mut least, mut most) = (tx.raw().len(), Some(tx.raw().len()));
    for script in unsigned {
        least += smallest_unlocking_script(script);
        most = most.and_then(|most| Some(most + largest_unlocking_script(script)?));
    }
    let plausible = least..=most.unwrap_or(MAX_TRANSACTION_BYTES);
    weighted.filter(|weighted| plausible.contains(weighted)).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submit::fixture::{coin, p2pkh, p2sh, spending};

    #[test]
    fn an_unsigned_transaction_is_as_large_as_its_wallet_says_if_that_can_be() {
        let unsigned = spending(&[(coin(1), b""), (coin(2), b"")], &[1000]);
        let half = spending(&[(coin(1), b""), (coin(2), &[0; 107])], &[1000]);
        let signed = spending(&[(coin(1), &[0; 107]), (coin(2), &[0; 107])], &[1000]);
        let keys = [p2pkh(1), p2pkh(1)];
        let scripts = [p2sh(1), p2pkh(1)];
        let length = unsigned.raw().len();
        let table: [(&Transaction, &[Output], Option<usize>, usize); 16] = [
            (&unsigned, &keys, None, length + 200),
            (&unsigned, &keys, Some(0), length + 200),
            (&unsigned, &keys, Some(length), length + 200),
            (&unsigned, &keys, Some(length + 199), length + 200),
            (&unsigned, &keys, Some(length + 207), length + 207),
            (&unsigned, &keys, Some(length + 216), length + 216),
            (&unsigned, &keys, Some(length + 217), length + 200),
            (&unsigned, &keys, Some(usize::MAX), length + 200),
            // Of a script that is not known, anything up to the largest transaction can come.
            (&unsigned, &scripts, None, length + 100),
            (&unsigned, &scripts, Some(length + 99), length + 100),
            (&unsigned, &scripts, Some(MAX_TRANSACTION_BYTES), MAX_TRANSACTION_BYTES),
            (&unsigned, &scripts, Some(MAX_TRANSACTION_BYTES + 1), length + 100),
            // What is signed has its size.
            (&half, &keys, Some(length + 107 + 108), length + 107 + 108),
            (&half, &keys, Some(length + 107 + 109), length + 107 + 100),
            (&signed, &keys, Some(length + 216), length + 214),
            (&signed, &scripts, Some(length + 500), length + 214),
        ];
        for (tx, spent, weighted, size) in table {
            assert_eq!(measured_size(tx, spent, weighted), size, "{weighted:?}");
        }
    }
}
