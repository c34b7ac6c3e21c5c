//! Locking scripts: their hash, which is how the index knows them, and what the node asks of their outputs.

use std::fmt;

use bitcoincash::Script;
use sha2::{Digest as _, Sha256};

use super::{Token, token::compact_size_bytes};

/// The SHA-256 of a locking script without its token prefix (32 bytes).
///
/// Scripts are looked up by this and never by address: an output to a bare public key or to a script of a later
/// upgrade has no address, and a script has no length that an index could rely on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScriptHash([u8; 32]);

impl ScriptHash {
    /// The hash of a script.
    pub fn of(script: &Script) -> Self {
        Self(Sha256::digest(script.as_bytes()).into())
    }

    /// A hash that was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ScriptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScriptHash({})", hex::encode(self.0))
    }
}

/// The least satoshis that the node relays on an output with this script and token: three times what spending it
/// would cost at one satoshi a byte, by the rule of `GetDustThreshold` in BCHN's `policy/policy.cpp`.
pub fn dust_limit(script: &Script, token: Option<&Token>) -> u64 {
    /// Outpoint, sequence, and an unlocking script of a signature and a key: what the node takes for an input.
    const INPUT_BYTES: u64 = 148;
    /// The amount field.
    const AMOUNT_BYTES: u64 = 8;
    if script.is_op_return() {
        return 0;
    }
    let field = (script.len() + token.map_or(0, Token::prefix_bytes)) as u64;
    3 * (AMOUNT_BYTES + compact_size_bytes(field) as u64 + field + INPUT_BYTES)
}

/// The least bytes an unlocking script for this locking script can have.
///
/// A P2PKH output is unlocked by a Schnorr signature (65 bytes with its type) and a compressed key (33), each with
/// its push; of other scripts nothing is known, so nothing is assumed.
pub fn smallest_unlocking_script(script: &Script) -> usize {
    if script.is_p2pkh() { 1 + 65 + 1 + 33 } else { 0 }
}

/// The most bytes an unlocking script for this locking script has when an ordinary wallet signs; `None` where nothing
/// is known of it.
///
/// For a P2PKH output that is an ECDSA signature (up to 73 bytes with its type) and a compressed key.
pub fn largest_unlocking_script(script: &Script) -> Option<usize> {
    script.is_p2pkh().then_some(1 + 73 + 1 + 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bch::{Category, ScriptBuf};

    fn script(hex: &str) -> ScriptBuf {
        ScriptBuf::from_hex(hex).unwrap()
    }

    #[test]
    fn dust_limits_as_the_node_has_them() {
        let p2pkh = script(&format!("76a914{}88ac", "00".repeat(20)));
        let table = [
            (p2pkh.clone(), 546),
            (script(&format!("a914{}87", "00".repeat(20))), 540),
            (script(&format!("aa20{}87", "00".repeat(32))), 576),
            (script(&format!("21{}ac", "02".repeat(33))), 576),
            (script("6a0101"), 0),
        ];
        for (script, satoshis) in table {
            assert_eq!(dust_limit(&script, None), satoshis, "{script}");
        }
        let nft = crate::bch::Nft { capability: crate::bch::Capability::Minting, commitment: vec![1, 2] };
        let token = Token { category: Category::from_wire([1; 32]), amount: 1000, nft: Some(nft) };
        assert_eq!(token.prefix_bytes() + p2pkh.len(), 65);
        assert_eq!(dust_limit(&p2pkh, Some(&token)), 666);
    }

    #[test]
    fn unlocking_scripts() {
        let p2pkh = script(&format!("76a914{}88ac", "00".repeat(20)));
        assert_eq!((smallest_unlocking_script(&p2pkh), largest_unlocking_script(&p2pkh)), (100, Some(108)));
        let p2sh = script(&format!("a914{}87", "00".repeat(20)));
        assert_eq!((smallest_unlocking_script(&p2sh), largest_unlocking_script(&p2sh)), (0, None));
    }
}
