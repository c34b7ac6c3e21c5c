//! Verification of inputs that spend P2PKH outputs; other inputs are trusted.

use std::sync::LazyLock;

use bitcoincash::hashes::{Hash, hash160};
use bitcoincash::script::Instruction;
use bitcoincash::secp256k1::{All, Message, PublicKey, Secp256k1, ecdsa};
use bitcoincash::sighash::SighashCache;
use bitcoincash::{Script, Transaction, TxOut, schnorr};

use super::reject::Reject;

/// The curve, with its tables computed once.
pub(crate) static CURVE: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// Hash type that signs everything: `ALL|FORKID`.
pub(crate) const SIGHASH_ALL_FORKID: u8 = 0x41;
/// Flag of the hash type that signs the spent outputs too.
pub(crate) const SIGHASH_UTXOS: u8 = 0x20;
/// Flag without which a signature belongs to another chain.
const SIGHASH_FORKID: u8 = 0x40;
/// Flag that leaves the other inputs unsigned.
pub(super) const SIGHASH_ANYONECANPAY: u8 = 0x80;

/// Why the evaluation of an input ended, in the node's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Breaks a consensus rule.
    Mandatory(&'static str),
    /// Breaks a relay rule only.
    Relay(&'static str),
}

impl Failure {
    const STACK: Self = Self::Mandatory("Operation not valid with the current stack size");
    const EQUAL: Self = Self::Mandatory("Script failed an OP_EQUALVERIFY operation");
    const FALSE: Self =
        Self::Mandatory("Script evaluated without error but finished with a false/empty top stack element");
    const NULLFAIL: Self = Self::Mandatory("Signature must be zero for failed CHECK(MULTI)SIG operation");
    const DER: Self = Self::Mandatory("Non-canonical DER signature");
    const HIGH_S: Self = Self::Mandatory("Non-canonical signature: S value is unnecessarily high");
    const HASH_TYPE: Self = Self::Mandatory("Signature hash type missing or not understood");
    const NO_FORKID: Self = Self::Mandatory("Signature must use SIGHASH_FORKID");
    const KEY: Self = Self::Mandatory("Public key is neither compressed or uncompressed");
    const PUSH: Self = Self::Mandatory("Data push larger than necessary");
    const NOT_PUSH: Self = Self::Mandatory("Only push operators allowed in signatures");
    const BAD_PUSH: Self = Self::Mandatory("Opcode missing or not understood");
    const EXTRA: Self = Self::Relay("Extra items left on stack after execution");
}

/// Verifies every P2PKH input. `spent` holds the output each input spends, in order; `relay` adds the rules that
/// hold in the mempool but not in a block.
pub(super) fn check(tx: &Transaction, spent: &[TxOut], relay: bool) -> Result<(), Reject> {
    let mut cache = SighashCache::new(tx);
    for (index, output) in spent.iter().enumerate() {
        match check_input(&mut cache, tx, index, output, spent) {
            Ok(_) => {}
            Err(Failure::Relay(_)) if !relay => {}
            Err(Failure::Relay(text)) => {
                return Err(Reject::nonstandard(&format!("non-mandatory-script-verify-flag ({text})")));
            }
            Err(Failure::Mandatory(text)) => {
                return Err(Reject::invalid(&format!("mandatory-script-verify-flag-failed ({text})")));
            }
        }
    }
    Ok(())
}

/// The signature of an input (hash type last) when it spends P2PKH, verifies, and does not sign the spent outputs.
pub(super) fn p2pkh_signature(tx: &Transaction, index: usize, output: &TxOut) -> Option<Vec<u8>> {
    check_input(&mut SighashCache::new(tx), tx, index, output, &[]).ok().flatten()
}

fn check_input(
    cache: &mut SighashCache<&Transaction>,
    tx: &Transaction,
    index: usize,
    output: &TxOut,
    spent: &[TxOut],
) -> Result<Option<Vec<u8>>, Failure> {
    let script = &output.script_pubkey;
    let ([0x76, 0xa9, 0x14, hash @ .., 0x88, 0xac], Some(input)) = (script.as_bytes(), tx.input.get(index))
    else {
        return Ok(None);
    };
    if hash.len() != 20 {
        return Ok(None);
    }
    let mut stack = pushes(&input.script_sig)?;
    let key = stack.pop().ok_or(Failure::STACK)?;
    if hash160::Hash::hash(&key).as_byte_array() != hash {
        return Err(Failure::EQUAL);
    }
    let signature = stack.pop().ok_or(Failure::STACK)?;
    let Some((hash_type, body)) = signature.split_last() else {
        check_key(&key)?;
        return Err(Failure::FALSE);
    };
    check_encoding(body, *hash_type)?;
    check_key(&key)?;
    let outputs = (hash_type & SIGHASH_UTXOS != 0).then_some(spent);
    let hash = cache
        .bch_signature_hash(
            index,
            script,
            output.value,
            output.token.as_ref(),
            u32::from(*hash_type),
            outputs,
        )
        .map_err(|_| Failure::HASH_TYPE)?;
    if !verify(&hash.to_byte_array(), body, &key) {
        return Err(Failure::NULLFAIL);
    }
    if stack.is_empty() { Ok(Some(signature)) } else { Err(Failure::EXTRA) }
}

/// The stack an input script leaves.
fn pushes(script: &Script) -> Result<Vec<Vec<u8>>, Failure> {
    if !script.is_push_only() {
        return Err(Failure::NOT_PUSH);
    }
    let mut stack = Vec::new();
    for instruction in script.instructions_minimal() {
        match instruction {
            Ok(Instruction::PushBytes(bytes)) => stack.push(bytes.as_bytes().to_vec()),
            Ok(Instruction::Op(op)) => match op.to_u8() {
                0x4f => stack.push(vec![0x81]),
                number @ 0x51..=0x60 => stack.push(vec![number - 0x50]),
                _ => return Err(Failure::BAD_PUSH),
            },
            Err(bitcoincash::script::Error::NonMinimalPush) => return Err(Failure::PUSH),
            Err(_) => return Err(Failure::BAD_PUSH),
        }
    }
    Ok(stack)
}

fn check_encoding(body: &[u8], hash_type: u8) -> Result<(), Failure> {
    if body.len() != 64 {
        if !is_der(body) {
            return Err(Failure::DER);
        }
        if let Ok(signature) = ecdsa::Signature::from_der(body) {
            let mut low = signature;
            low.normalize_s();
            if low != signature {
                return Err(Failure::HIGH_S);
            }
        }
    }
    let base = hash_type & !(SIGHASH_FORKID | SIGHASH_ANYONECANPAY | SIGHASH_UTXOS);
    if !(1..=3).contains(&base) {
        return Err(Failure::HASH_TYPE);
    }
    if hash_type & SIGHASH_FORKID == 0 {
        return Err(Failure::NO_FORKID);
    }
    if hash_type & SIGHASH_UTXOS != 0 && hash_type & SIGHASH_ANYONECANPAY != 0 {
        return Err(Failure::HASH_TYPE);
    }
    Ok(())
}

fn check_key(key: &[u8]) -> Result<(), Failure> {
    match (key.first(), key.len()) {
        (Some(2 | 3), 33) | (Some(4), 65) => Ok(()),
        _ => Err(Failure::KEY),
    }
}

/// Strict DER: `30 len 02 len r 02 len s` with minimal positive integers and nothing after (BIP66).
fn is_der(body: &[u8]) -> bool {
    let [0x30, length, 0x02, rest @ ..] = body else { return false };
    let Some((r_length, rest)) = rest.split_first() else { return false };
    let Some((r, rest)) = rest.split_at_checked(usize::from(*r_length)) else { return false };
    let [0x02, s_length, s @ ..] = rest else { return false };
    (8..=71).contains(&body.len())
        && usize::from(*length) == body.len() - 2
        && usize::from(*s_length) == s.len()
        && [r, s].iter().all(|number| match number {
            [] => false,
            [first, ..] if first & 0x80 != 0 => false,
            [0, second, ..] => second & 0x80 != 0,
            _ => true,
        })
}

fn verify(hash: &[u8; 32], body: &[u8], key: &[u8]) -> bool {
    let Ok(key) = PublicKey::from_slice(key) else { return false };
    if let Ok(signature) = <&[u8; 64]>::try_from(body) {
        return schnorr::verify(&*CURVE, hash, signature, &key);
    }
    ecdsa::Signature::from_der(body)
        .is_ok_and(|signature| CURVE.verify_ecdsa(&Message::from_digest(*hash), &signature, &key).is_ok())
}
