//! How the node writes amounts, scripts and transactions.
//!
//! Numbers that are amounts are written by hand, digit by digit: they never pass through a floating point number, and
//! they keep the trailing zeros that tell clients how the node prints money. Fields stand in the node's order.

use std::fmt::Write;

use bitcoincash::address::{Address, CashAddress};
use bitcoincash::hashes::Hash;
use bitcoincash::opcodes::all as op;
use bitcoincash::script::Instruction;
use bitcoincash::{Amount, BlockHash, Network, Script, Transaction, TxIn, TxOut, Txid, token};
use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::node::RpcFailure;

/// What a method answers: JSON text, or an error.
pub(super) type Reply = Result<Box<RawValue>, RpcFailure>;

/// Writes a result.
pub(super) fn reply(result: &impl Serialize) -> Reply {
    to_raw_value(result).map_err(|e| RpcFailure::new(-32603, e.to_string()))
}

/// A number exactly as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Literal(pub(super) &'static str);

impl Serialize for Literal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        number(self.0.to_owned(), serializer)
    }
}

/// Satoshis, written as coins with eight decimals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coins(pub(super) u64);

impl Serialize for Coins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        number(format!("{}.{:08}", self.0 / 100_000_000, self.0 % 100_000_000), serializer)
    }
}

impl From<Amount> for Coins {
    fn from(amount: Amount) -> Self {
        Self(amount.to_sat())
    }
}

fn number<S: Serializer>(text: String, serializer: S) -> Result<S::Ok, S::Error> {
    RawValue::from_string(text).map_err(S::Error::custom)?.serialize(serializer)
}

/// A transaction, and where it stands if it is in a block.
#[derive(Debug, Serialize)]
pub(super) struct TransactionJson {
    txid: Txid,
    hash: Txid,
    version: i32,
    size: usize,
    locktime: u32,
    vin: Vec<Input>,
    vout: Vec<Output>,
    hex: String,
    #[serde(flatten)]
    place: Option<Place>,
}

/// The block of a transaction.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Place {
    pub(super) blockhash: BlockHash,
    pub(super) confirmations: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blocktime: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_active_chain: Option<bool>,
}

impl TransactionJson {
    pub(super) fn new(tx: &Transaction, raw: &[u8], place: Option<Place>) -> Self {
        let txid = tx.compute_txid();
        Self {
            txid,
            hash: txid,
            version: tx.version.0,
            size: raw.len(),
            locktime: tx.lock_time.to_consensus_u32(),
            vin: tx.input.iter().map(Input::new).collect(),
            vout: (0..).zip(&tx.output).map(|(n, output)| Output::new(n, output)).collect(),
            hex: hex::encode(raw),
            place,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Input {
    Coinbase {
        coinbase: String,
        sequence: u32,
    },
    Spend {
        txid: Txid,
        vout: u32,
        #[serde(rename = "scriptSig")]
        script: ScriptSigJson,
        sequence: u32,
    },
}

impl Input {
    fn new(input: &TxIn) -> Self {
        let sequence = input.sequence.to_consensus_u32();
        if input.previous_output.is_null() {
            return Self::Coinbase { coinbase: hex::encode(input.script_sig.as_bytes()), sequence };
        }
        Self::Spend {
            txid: input.previous_output.txid,
            vout: input.previous_output.vout,
            script: ScriptSigJson::new(&input.script_sig),
            sequence,
        }
    }
}

/// A script that provides signatures: their hash types are spelled out.
#[derive(Debug, Serialize)]
pub(super) struct ScriptSigJson {
    asm: String,
    hex: String,
}

impl ScriptSigJson {
    pub(super) fn new(script: &Script) -> Self {
        Self { asm: assembly(script, true), hex: hex::encode(script.as_bytes()) }
    }
}

#[derive(Debug, Serialize)]
struct Output {
    value: Coins,
    n: u32,
    #[serde(rename = "scriptPubKey")]
    script: ScriptJson,
    #[serde(rename = "tokenData", skip_serializing_if = "Option::is_none")]
    token: Option<TokenJson>,
}

impl Output {
    fn new(n: u32, output: &TxOut) -> Self {
        Self {
            value: output.value.into(),
            n,
            script: ScriptJson::new(&output.script_pubkey),
            token: output.token.as_ref().map(TokenJson::new),
        }
    }
}

/// A locking script without its token prefix.
#[derive(Debug, Serialize)]
pub(super) struct ScriptJson {
    asm: String,
    hex: String,
    #[serde(rename = "reqSigs", skip_serializing_if = "Option::is_none")]
    required: Option<usize>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<String>>,
}

impl ScriptJson {
    pub(super) fn new(script: &Script) -> Self {
        let (kind, required, addresses) = if script.is_p2pkh() {
            ("pubkeyhash", Some(1), script_address(script).map(|address| vec![address]))
        } else if script.is_p2sh() || script.is_p2sh32() {
            ("scripthash", Some(1), script_address(script).map(|address| vec![address]))
        } else if let Some(key) = script.p2pk_public_key() {
            ("pubkey", Some(1), Some(vec![CashAddress::p2pkh(key, Network::Regtest).to_string()]))
        } else if script.is_op_return()
            && script.instructions().skip(1).all(|part| is_push(part.ok().as_ref()))
        {
            ("nulldata", None, None)
        } else {
            ("nonstandard", None, None)
        };
        Self { asm: assembly(script, false), hex: hex::encode(script.as_bytes()), required, kind, addresses }
    }
}

fn is_push(part: Option<&Instruction<'_>>) -> bool {
    match part {
        Some(Instruction::PushBytes(_)) => true,
        Some(Instruction::Op(code)) => code.to_u8() <= op::OP_PUSHNUM_16.to_u8(),
        None => false,
    }
}

/// The tokens of an output.
#[derive(Debug, Serialize)]
pub(super) struct TokenJson {
    category: String,
    amount: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nft: Option<NftJson>,
}

#[derive(Debug, Serialize)]
struct NftJson {
    capability: &'static str,
    commitment: String,
}

impl TokenJson {
    pub(super) fn new(token: &token::OutputData) -> Self {
        let nft = token.has_nft().then(|| NftJson {
            capability: match token.capability() {
                1 => "mutable",
                2 => "minting",
                _ => "none",
            },
            commitment: hex::encode(&token.commitment),
        });
        Self { category: token.id.to_string(), amount: token.amount.to_int().to_string(), nft }
    }
}

/// Hexadecimal digits of a hash in the order in which hashes are printed.
pub(super) fn displayed(hash: &[u8; 32]) -> String {
    bitcoincash::hashes::sha256d::Hash::from_byte_array(*hash).to_string()
}

/// The regtest address of a script that has one.
pub(super) fn script_address(script: &Script) -> Option<String> {
    CashAddress::from_script(script, Network::Regtest).ok().map(|address| address.to_string())
}

/// Reads an address of regtest: with or without prefix, or in the legacy form.
pub(super) fn read_address(text: &str) -> Option<CashAddress> {
    if let Ok(address) = text.parse::<CashAddress<_>>() {
        return address.require_network(Network::Regtest).ok();
    }
    let legacy: Address<_> = text.parse().ok()?;
    let legacy = legacy.require_network(Network::Regtest).ok()?;
    CashAddress::from_script(&legacy.script_pubkey(), Network::Regtest).ok()
}

/// A script in the node's words: short pushes as numbers, longer ones as hexadecimal digits, `[error]` where a push is
/// cut off.
fn assembly(script: &Script, signatures: bool) -> String {
    let mut words = Vec::new();
    for part in script.instructions() {
        words.push(match part {
            Ok(Instruction::PushBytes(push)) if push.len() <= 4 => script_number(push.as_bytes()).to_string(),
            Ok(Instruction::PushBytes(push)) => {
                let bytes = push.as_bytes();
                match bytes.split_last() {
                    Some((kind, rest)) if signatures && is_signature(bytes) => {
                        format!("{}[{}]", hex::encode(rest), hash_type(*kind))
                    }
                    _ => hex::encode(bytes),
                }
            }
            Ok(Instruction::Op(code)) => opcode(code),
            Err(_) => "[error]".to_owned(),
        });
    }
    words.join(" ")
}

fn opcode(code: bitcoincash::Opcode) -> String {
    match code.to_u8() {
        0x4f => "-1".to_owned(),
        small @ 0x51..=0x60 => (small - 0x50).to_string(),
        0xb1 => "OP_CHECKLOCKTIMEVERIFY".to_owned(),
        0xb2 => "OP_CHECKSEQUENCEVERIFY".to_owned(),
        _ => code.to_string(),
    }
}

/// A little-endian number whose highest bit is the sign.
fn script_number(bytes: &[u8]) -> i64 {
    let Some((last, rest)) = bytes.split_last() else { return 0 };
    let low = rest.iter().rev().fold(i64::from(last & 0x7f), |number, byte| (number << 8) | i64::from(*byte));
    if last & 0x80 == 0 { low } else { -low }
}

/// Whether a push looks like a signature with its hash type.
fn is_signature(bytes: &[u8]) -> bool {
    let known = bytes.last().is_some_and(|kind| (1..=3).contains(&(kind & 0x1f)));
    known && (bytes.len() == 65 || ((9..=73).contains(&bytes.len()) && bytes.first() == Some(&0x30)))
}

fn hash_type(kind: u8) -> String {
    let mut text = match kind & 0x1f {
        2 => "NONE",
        3 => "SINGLE",
        _ => "ALL",
    }
    .to_owned();
    for (bit, name) in [(0x40, "FORKID"), (0x20, "UTXOS"), (0x80, "ANYONECANPAY")] {
        if kind & bit != 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "|{name}");
        }
    }
    text
}
