//! CashTokens, as they stand on an output (CHIP-2022-02).

use std::fmt;

use bitcoincash::{hashes::Hash as _, token::OutputData};

/// The largest amount of fungible tokens on an output: 2^63 - 1.
pub const MAX_TOKEN_AMOUNT: u64 = i64::MAX.unsigned_abs();

/// The longest commitment of a non-fungible token, in bytes (128 since the upgrade of May 2026, 40 before).
pub const MAX_COMMITMENT_BYTES: usize = bitcoincash::token::MAX_CONSENSUS_COMMITMENT_LENGTH;

/// The category of a token: the txid of the input that created it, 32 bytes, kept in the order of the wire and
/// shown, as every txid is, in the opposite one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Category([u8; 32]);

impl Category {
    /// A category from its 32 bytes in the order of the wire.
    pub fn from_wire(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes in the order of the wire.
    pub fn wire(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the 64 hex digits of JSON (either case), in display order.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(hex, &mut bytes).ok()?;
        bytes.reverse();
        Some(Self(bytes))
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0;
        bytes.reverse();
        f.write_str(&hex::encode(bytes))
    }
}

impl fmt::Debug for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Category({self})")
    }
}

/// What the owner of a non-fungible token may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Nothing but move it.
    None,
    /// Change its commitment.
    Mutable,
    /// Make more of its category.
    Minting,
}

impl Capability {
    /// The word of the node and of every JSON in the field.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mutable => "mutable",
            Self::Minting => "minting",
        }
    }

    /// The capability of a word, if it is one.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Mutable, Self::Minting].into_iter().find(|capability| capability.name() == word)
    }
}

/// A non-fungible token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nft {
    /// What its owner may do with it.
    pub capability: Capability,
    /// 0 to [`MAX_COMMITMENT_BYTES`] bytes.
    pub commitment: Vec<u8>,
}

/// The tokens of one output: an amount of fungible tokens, a non-fungible one, or both, of one category.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Which token.
    pub category: Category,
    /// Fungible tokens, 0 to [`MAX_TOKEN_AMOUNT`]; 0 for a non-fungible token alone.
    pub amount: u64,
    /// The non-fungible token, if there is one.
    pub nft: Option<Nft>,
}

impl Token {
    /// Whether such a token can stand on an output: something must be there, within the limits.
    pub fn is_possible(&self) -> bool {
        (self.amount > 0 || self.nft.is_some())
            && self.amount <= MAX_TOKEN_AMOUNT
            && self.nft.as_ref().is_none_or(|nft| nft.commitment.len() <= MAX_COMMITMENT_BYTES)
    }

    /// The size of the token prefix on an output, in bytes: marker, category, bitfield, commitment, amount.
    pub fn prefix_bytes(&self) -> usize {
        let commitment = self.nft.as_ref().map_or(0, |nft| match nft.commitment.len() {
            0 => 0,
            length => compact_size_bytes(length as u64) + length,
        });
        let amount = if self.amount == 0 { 0 } else { compact_size_bytes(self.amount) };
        1 + 32 + 1 + commitment + amount
    }

    /// The tokens of an output as the decoder found them.
    pub(super) fn from_output(data: &OutputData) -> Self {
        let nft = data.has_nft().then(|| Nft {
            capability: match data.capability() {
                0 => Capability::None,
                1 => Capability::Mutable,
                _ => Capability::Minting,
            },
            commitment: data.commitment.clone(),
        });
        Self { category: Category(data.id.to_byte_array()), amount: data.amount.to_int().unsigned_abs(), nft }
    }
}

/// The size of a number in the variable-length encoding of the protocol: 1, 3, 5 or 9 bytes.
pub(super) fn compact_size_bytes(number: u64) -> usize {
    bitcoincash::VarInt(number).size()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_shown_reversed() {
        let shown = "08861899fe27bb1755d888781d4941e63c51da201233f0fcbd1585f405a894a6";
        let category = Category::parse(shown).unwrap();
        assert_eq!(category.wire()[0], 0xa6);
        assert_eq!(category.to_string(), shown);
        assert_eq!(Category::parse(&shown.to_uppercase()), Some(category));
        assert_eq!(Category::parse(&shown[1..]), None);
        assert_eq!(Category::parse(""), None);
    }

    #[test]
    fn prefix_sizes() {
        let category = Category::from_wire([7; 32]);
        let nft = |commitment: Vec<u8>| Some(Nft { capability: Capability::Minting, commitment });
        let table = [
            (1, None, 35),
            (252, None, 35),
            (253, None, 37),
            (MAX_TOKEN_AMOUNT, None, 43),
            (0, nft(vec![]), 34),
            (0, nft(vec![1, 2]), 37),
            (1000, nft(vec![1, 2]), 40),
        ];
        for (amount, nft, bytes) in table {
            assert_eq!(Token { category, amount, nft }.prefix_bytes(), bytes);
        }
    }

    #[test]
    fn impossible_tokens() {
        let category = Category::from_wire([7; 32]);
        assert!(!Token { category, amount: 0, nft: None }.is_possible());
        assert!(!Token { category, amount: MAX_TOKEN_AMOUNT + 1, nft: None }.is_possible());
        let nft = Some(Nft { capability: Capability::None, commitment: vec![0; MAX_COMMITMENT_BYTES + 1] });
        assert!(!Token { category, amount: 0, nft }.is_possible());
        assert!(Token { category, amount: MAX_TOKEN_AMOUNT, nft: None }.is_possible());
    }
}
