//! What is to be paid, and how.

use anyhow::{Result, bail};
use bitcoincash::token::{OutputData, TokenAmount};
use bitcoincash::{ScriptBuf, TokenID};

use super::script_of;
use crate::chain::{SIGHASH_ALL_FORKID, SIGHASH_UTXOS};

/// Where a payment goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A cashaddr of regtest.
    Address(String),
    /// A locking script.
    Script(ScriptBuf),
}

impl Destination {
    pub(super) fn script(&self) -> Result<ScriptBuf> {
        match self {
            Self::Address(address) => script_of(address),
            Self::Script(script) => Ok(script.clone()),
        }
    }
}

impl From<&str> for Destination {
    fn from(address: &str) -> Self {
        Self::Address(address.to_owned())
    }
}

impl From<String> for Destination {
    fn from(address: String) -> Self {
        Self::Address(address)
    }
}

impl From<ScriptBuf> for Destination {
    fn from(script: ScriptBuf) -> Self {
        Self::Script(script)
    }
}

/// One output to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Who gets it.
    pub to: Destination,
    /// How much, in satoshis.
    pub satoshis: u64,
    /// Tokens that go with it.
    pub token: Option<TokenOutput>,
}

impl Payment {
    /// A payment of satoshis.
    pub fn new(to: impl Into<Destination>, satoshis: u64) -> Self {
        Self { to: to.into(), satoshis, token: None }
    }

    /// A payment of satoshis that carry tokens.
    pub fn with_token(to: impl Into<Destination>, satoshis: u64, token: TokenOutput) -> Self {
        Self { to: to.into(), satoshis, token: Some(token) }
    }
}

/// Which tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// The category this very transaction creates; its id is the txid of the first input.
    New,
    /// One that exists.
    Existing(TokenID),
}

/// Tokens of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOutput {
    /// Their category.
    pub category: Category,
    /// Fungible tokens, up to 2⁶³-1.
    pub amount: u64,
    /// A non-fungible token.
    pub nft: Option<Nft>,
}

/// A non-fungible token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nft {
    /// What its owner may do with it.
    pub capability: NftCapability,
    /// Its data, up to 40 bytes.
    pub commitment: Vec<u8>,
}

/// What the owner of a non-fungible token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NftCapability {
    /// Pass it on.
    None,
    /// Pass it on with another commitment.
    Mutable,
    /// Make more of its category.
    Minting,
}

impl NftCapability {
    pub(super) fn bits(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Mutable => 1,
            Self::Minting => 2,
        }
    }
}

impl TokenOutput {
    pub(super) fn data(&self, id: TokenID) -> Result<OutputData> {
        let amount = i64::try_from(self.amount).ok().and_then(TokenAmount::from_int);
        let Some(amount) = amount else { bail!("more than 2^63-1 tokens") };
        let mut bitfield = if self.amount > 0 { 0x10 } else { 0 };
        let mut commitment = Vec::new();
        if let Some(nft) = &self.nft {
            bitfield |= 0x20 | nft.capability.bits();
            if !nft.commitment.is_empty() {
                bitfield |= 0x40;
                commitment.clone_from(&nft.commitment);
            }
        }
        if bitfield == 0 {
            bail!("an output of no tokens");
        }
        Ok(OutputData { id, bitfield, amount, commitment })
    }
}

/// How to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// ECDSA, 70 to 72 bytes.
    Ecdsa {
        /// Hash type, the byte behind the signature.
        hash_type: u8,
    },
    /// Schnorr as Bitcoin Cash has it, 64 bytes.
    Schnorr {
        /// Hash type, the byte behind the signature.
        hash_type: u8,
    },
}

impl Sign {
    /// ECDSA over everything.
    pub const ECDSA: Self = Self::Ecdsa { hash_type: SIGHASH_ALL_FORKID };
    /// Schnorr over everything.
    pub const SCHNORR: Self = Self::Schnorr { hash_type: SIGHASH_ALL_FORKID };
    /// Schnorr over everything and the outputs that are spent.
    pub const SCHNORR_UTXOS: Self = Self::Schnorr { hash_type: SIGHASH_ALL_FORKID | SIGHASH_UTXOS };

    /// The byte behind the signature.
    pub fn hash_type(self) -> u8 {
        match self {
            Self::Ecdsa { hash_type } | Self::Schnorr { hash_type } => hash_type,
        }
    }

    /// Length of an input script that holds such a signature, as a rule: bytes.
    pub(super) fn usual_script_size(self) -> usize {
        match self {
            Self::Ecdsa { .. } => 1 + 71 + 1 + 33,
            Self::Schnorr { .. } => 1 + 65 + 1 + 33,
        }
    }
}

/// Ways to pay. The default: 1 satoshi per byte, ECDSA, signed and booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayOptions {
    /// Fee rate in satoshis per 1000 bytes; the node relays from 1000 on.
    pub fee_per_kilobyte: u64,
    /// A fee in satoshis that replaces the rate.
    pub fee: Option<u64>,
    /// How to sign.
    pub sign: Sign,
    /// Leaves the input scripts empty and books nothing. The fee is that of the signed transaction;
    /// [`super::Wallet::sign`] completes it.
    pub unsigned: bool,
    /// Takes only coins from blocks.
    pub confirmed_only: bool,
}

impl Default for PayOptions {
    fn default() -> Self {
        Self { fee_per_kilobyte: 1_000, fee: None, sign: Sign::ECDSA, unsigned: false, confirmed_only: false }
    }
}
