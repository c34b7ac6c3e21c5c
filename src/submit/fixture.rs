//! Transactions and coins for the tests of this room.

use crate::bch::{OutPoint, Output, ScriptBuf, Transaction};

/// A coin that nothing is known of but its name.
pub(super) fn coin(tag: u8) -> OutPoint {
    OutPoint { txid: bitcoincash::hashes::Hash::from_byte_array([tag; 32]), vout: 0 }
}

/// A transaction that spends these with those unlocking scripts, and pays so many satoshis to each output.
pub(super) fn spending(inputs: &[(OutPoint, &[u8])], outputs: &[u64]) -> Transaction {
    let tx = bitcoincash::Transaction {
        version: bitcoincash::transaction::Version::TWO,
        lock_time: bitcoincash::absolute::LockTime::ZERO,
        input: inputs
            .iter()
            .map(|(outpoint, script)| bitcoincash::TxIn {
                previous_output: *outpoint,
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

/// A coin that is spent with a key.
pub(super) fn p2pkh(satoshis: u64) -> Output {
    let script = [&[0x76, 0xa9, 0x14][..], &[7; 20], &[0x88, 0xac]].concat();
    Output::new(script.into(), satoshis, None)
}

/// A coin that is spent with a script nobody knows yet.
pub(super) fn p2sh(satoshis: u64) -> Output {
    let script = [&[0xa9, 0x14][..], &[7; 20], &[0x87]].concat();
    Output::new(script.into(), satoshis, None)
}
