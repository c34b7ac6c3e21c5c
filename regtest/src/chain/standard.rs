//! Relay rules: which transactions a node passes on, though a block may hold others.

use bitcoincash::consensus::serialize;
use bitcoincash::{Transaction, TxOut};

use super::coin::is_unspendable;
use super::reject::Reject;

/// Largest standard transaction, bytes.
const MAX_SIZE: usize = 100_000;
/// Largest standard input script, bytes.
const MAX_SCRIPT_SIG: usize = 1_650;
/// All `OP_RETURN` scripts of a transaction together, bytes.
const MAX_DATA: usize = 223;
/// Bytes an input that spends a P2PKH output is taken to have.
const SPENDING_INPUT: u64 = 148;

/// The kinds of locking scripts that are relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Pays to a key, a key hash or a script hash.
    Single,
    /// Asks for signatures of some of several keys, bare.
    Multisig,
    /// Carries data.
    Data,
}

/// The smallest value in satoshis that an output like this one may carry to be relayed; 0 for `OP_RETURN`.
pub fn dust_threshold(output: &TxOut) -> u64 {
    if is_unspendable(output.script_pubkey.as_bytes()) {
        return 0;
    }
    let size = u64::try_from(serialize(output).len()).unwrap_or(u64::MAX);
    size.saturating_add(SPENDING_INPUT).saturating_mul(3)
}

/// The rules a transaction keeps by itself; `size` is the number of its bytes.
pub(super) fn check(tx: &Transaction, size: usize) -> Result<(), Reject> {
    if !(1..=2).contains(&tx.version.0) {
        return Err(Reject::nonstandard("version"));
    }
    if size > MAX_SIZE {
        return Err(Reject::nonstandard("tx-size"));
    }
    for input in &tx.input {
        if input.script_sig.len() > MAX_SCRIPT_SIG {
            return Err(Reject::nonstandard("scriptsig-size"));
        }
        if !input.script_sig.is_push_only() {
            return Err(Reject::nonstandard("scriptsig-not-pushonly"));
        }
    }
    let mut data = 0;
    for output in &tx.output {
        match kind(output.script_pubkey.as_bytes()) {
            None => return Err(Reject::nonstandard("scriptpubkey")),
            Some(Kind::Data) => data += output.script_pubkey.len(),
            Some(Kind::Single | Kind::Multisig) => {
                if output.value.to_sat() < dust_threshold(output) {
                    return Err(Reject::nonstandard("dust"));
                }
            }
        }
    }
    if data > MAX_DATA { Err(Reject::nonstandard("oversize-op-return")) } else { Ok(()) }
}

/// Whether a coin's script is of a kind that may be spent by a relayed transaction: any known kind.
pub(super) fn is_spendable(script: &[u8]) -> bool {
    solve(script).is_some()
}

fn kind(script: &[u8]) -> Option<Kind> {
    let (kind, keys) = solve(script)?;
    (kind != Kind::Multisig || keys <= 3).then_some(kind)
}

/// The kind of a locking script, and for multisig the number of keys.
fn solve(script: &[u8]) -> Option<(Kind, u8)> {
    match script {
        [0xa9, 0x14, hash @ .., 0x87] if hash.len() == 20 => Some((Kind::Single, 1)),
        [0xaa, 0x20, hash @ .., 0x87] if hash.len() == 32 => Some((Kind::Single, 1)),
        [0x76, 0xa9, 0x14, hash @ .., 0x88, 0xac] if hash.len() == 20 => Some((Kind::Single, 1)),
        [33, key @ .., 0xac] if is_key(key, 33) => Some((Kind::Single, 1)),
        [65, key @ .., 0xac] if is_key(key, 65) => Some((Kind::Single, 1)),
        [0x6a, pushes @ ..] => {
            bitcoincash::Script::from_bytes(pushes).is_push_only().then_some((Kind::Data, 0))
        }
        [required @ 0x51..=0x60, keys @ .., total @ 0x51..=0x60, 0xae] => {
            let (required, total) = (required - 0x50, total - 0x50);
            (count_keys(keys) == Some(usize::from(total)) && required <= total)
                .then_some((Kind::Multisig, total))
        }
        _ => None,
    }
}

fn is_key(key: &[u8], length: usize) -> bool {
    key.len() == length
        && match key.first() {
            Some(2 | 3) => length == 33,
            Some(4 | 6 | 7) => length == 65,
            _ => false,
        }
}

fn count_keys(mut script: &[u8]) -> Option<usize> {
    let mut count = 0;
    while let Some((length, rest)) = script.split_first() {
        let (key, rest) = rest.split_at_checked(usize::from(*length))?;
        if !is_key(key, usize::from(*length)) {
            return None;
        }
        count += 1;
        script = rest;
    }
    Some(count)
}
