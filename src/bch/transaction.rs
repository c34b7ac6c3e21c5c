//! Transactions, decoded once and to the last byte.

use std::sync::Arc;

use bitcoincash::{OutPoint, ScriptBuf, Txid, consensus, hashes::Hash as _, token::OutputData};
use bytes::Bytes;

use super::{ScriptHash, Token};

/// The largest transaction that the node relays, in bytes.
pub const MAX_TRANSACTION_BYTES: usize = 100_000;

/// One output of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The locking script, without its token prefix.
    pub script: ScriptBuf,
    /// The SHA-256 of that script, by which the index knows it.
    pub script_hash: ScriptHash,
    /// The amount, in satoshis.
    pub satoshis: u64,
    /// The CashTokens on it.
    pub token: Option<Token>,
}

impl Output {
    /// An output of its parts, as the decoder and the node give them. The token data must be well-formed.
    pub fn new(script: ScriptBuf, satoshis: u64, token: Option<&OutputData>) -> Self {
        Self { script_hash: ScriptHash::of(&script), script, satoshis, token: token.map(Token::from_output) }
    }
}

/// A decoded transaction with its own bytes and its txid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    txid: Txid,
    raw: Bytes,
    inputs: Vec<OutPoint>,
    unlocking_bytes: Vec<usize>,
    outputs: Vec<Output>,
    coinbase: bool,
}

/// Why bytes are no transaction for us. Whoever sent them is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Not the encoding of a transaction.
    #[error("not a Bitcoin Cash transaction")]
    Malformed,
    /// A transaction, and bytes after it.
    #[error("bytes are left over after the transaction")]
    Trailing,
    /// The encoding of another chain, with witnesses.
    #[error("Bitcoin Cash transactions have no witness")]
    Witness,
    /// Over [`MAX_TRANSACTION_BYTES`].
    #[error("a transaction has at most {MAX_TRANSACTION_BYTES} bytes")]
    TooLarge,
}

impl Transaction {
    /// Decodes a transaction as the network sends it, with CashTokens (CHIP-2022-02). There is no size limit here:
    /// a block may hold larger ones than the node relays.
    ///
    /// # Errors
    ///
    /// [`TransactionError`], after at most one pass over the bytes.
    pub fn decode(raw: Bytes) -> Result<Self, TransactionError> {
        // Version (4 bytes), then the number of inputs; 0 there is the marker of a witness encoding, which the
        // decoder would follow.
        if raw.get(4) == Some(&0) {
            return Err(TransactionError::Witness);
        }
        let (decoded, used) = consensus::deserialize_partial::<bitcoincash::Transaction>(&raw)
            .map_err(|_| TransactionError::Malformed)?;
        if used != raw.len() {
            return Err(TransactionError::Trailing);
        }
        let txid = Txid::from_raw_hash(bitcoincash::hashes::sha256d::Hash::hash(&raw));
        Ok(Self::from_parts(&decoded, txid, raw))
    }

    /// Decodes what a stranger sent: as [`Transaction::decode`], and at most [`MAX_TRANSACTION_BYTES`].
    ///
    /// # Errors
    ///
    /// [`TransactionError`].
    pub fn decode_submitted(raw: Bytes) -> Result<Self, TransactionError> {
        if raw.len() > MAX_TRANSACTION_BYTES {
            return Err(TransactionError::TooLarge);
        }
        Self::decode(raw)
    }

    pub(super) fn from_parts(decoded: &bitcoincash::Transaction, txid: Txid, raw: Bytes) -> Self {
        let outputs = decoded
            .output
            .iter()
            .map(|output| {
                Output::new(output.script_pubkey.clone(), output.value.to_sat(), output.token.as_ref())
            })
            .collect();
        Self {
            txid,
            raw,
            inputs: decoded.input.iter().map(|input| input.previous_output).collect(),
            unlocking_bytes: decoded.input.iter().map(|input| input.script_sig.len()).collect(),
            outputs,
            coinbase: decoded.is_coinbase(),
        }
    }

    /// The double SHA-256 of the bytes.
    pub fn txid(&self) -> Txid {
        self.txid
    }

    /// The bytes, as they came.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The outpoints it spends, in order.
    pub fn inputs(&self) -> &[OutPoint] {
        &self.inputs
    }

    /// The bytes of each input's unlocking script, in order; 0 where it is not signed yet.
    pub fn unlocking_bytes(&self) -> &[usize] {
        &self.unlocking_bytes
    }

    /// Its outputs, in order.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The outpoint of one of its outputs.
    pub fn outpoint(&self, vout: u32) -> OutPoint {
        OutPoint { txid: self.txid, vout }
    }

    /// Its outputs with their indexes.
    pub fn numbered_outputs(&self) -> impl Iterator<Item = (u32, &Output)> {
        (0u32..).zip(&self.outputs)
    }

    /// Whether it is the first of a block.
    pub fn is_coinbase(&self) -> bool {
        self.coinbase
    }

    /// The sum of its outputs, in satoshis; `None` over 2^64 - 1.
    pub fn output_satoshis(&self) -> Option<u64> {
        self.outputs.iter().try_fold(0u64, |sum, output| sum.checked_add(output.satoshis))
    }

    /// Shared, as most rooms hold it.
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bch::{Capability, Category};

    /// Accepted by a node: a token output (1000 fungible, minting NFT 0102), and a plain one.
    const TOKEN_TX: &str = "0200000001a694a805f48515bdfcf0331220da513ce641491d7888d85517bb27fe99188608000000006b483045022100d60cd6f0af785a82dd23ca51845313b4dc5891fae4b453e5255c5f33e3ad6f30022045cfb2bd0331933982ceda5d4fdbd6bb0b0cd9e2658664519f85c596fb52d5534121031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078fffffffff02e80300000000000041efa694a805f48515bdfcf0331220da513ce641491d7888d85517bb27fe9918860872020102fde80376a91479b000887626b294a914501a4cd226b58b23598388ac48e6052a010000001976a91479b000887626b294a914501a4cd226b58b23598388ac00000000";

    fn bytes(hex: &str) -> Bytes {
        hex::decode(hex).unwrap().into()
    }

    #[test]
    fn a_token_output_is_split_from_its_script() {
        let tx = Transaction::decode(bytes(TOKEN_TX)).unwrap();
        assert_eq!(tx.txid().to_string(), "408a32ef72545179e2c1137f8115d1a2a181f5a713bd1d5eb7261c6885a9d6de");
        assert_eq!(tx.raw().len(), 266);
        let [token, plain] = tx.outputs() else { panic!("two outputs") };
        assert_eq!(token.script, plain.script);
        assert_eq!(token.script_hash, plain.script_hash);
        assert_eq!((token.satoshis, plain.satoshis), (1000, 4_999_997_000));
        assert_eq!(plain.token, None);
        let token = token.token.as_ref().unwrap();
        assert_eq!(
            token.category,
            Category::parse("08861899fe27bb1755d888781d4941e63c51da201233f0fcbd1585f405a894a6").unwrap()
        );
        assert_eq!(token.amount, 1000);
        let nft = token.nft.as_ref().unwrap();
        assert_eq!((nft.capability, nft.commitment.as_slice()), (Capability::Minting, &[1, 2][..]));
        assert_eq!(tx.unlocking_bytes(), [107]);
    }

    #[test]
    fn what_is_refused() {
        let good = hex::decode(TOKEN_TX).unwrap();
        let decode = |raw: Vec<u8>| Transaction::decode_submitted(raw.into()).unwrap_err();
        assert_eq!(decode([&good[..], &[0]].concat()), TransactionError::Trailing);
        for length in 0..good.len() {
            assert_eq!(decode(good[..length].to_vec()), TransactionError::Malformed, "cut at {length}");
        }
        // A witness encoding: marker 00, flag 01.
        let witness = [&good[..4], &[0, 1], &good[4..]].concat();
        assert_eq!(decode(witness), TransactionError::Witness);
        // No input at all looks the same, and is no transaction either.
        assert_eq!(decode(hex::decode("02000000000000000000").unwrap()), TransactionError::Witness);
        assert_eq!(decode(vec![1; MAX_TRANSACTION_BYTES + 1]), TransactionError::TooLarge);
        // 2^64 - 1 inputs: no allocation, an answer at once.
        assert_eq!(decode(hex::decode("02000000ffffffffffffffffff").unwrap()), TransactionError::Malformed);
    }

    #[test]
    fn a_token_prefix_that_does_not_parse_stays_part_of_the_script() {
        let mut raw = hex::decode(TOKEN_TX).unwrap();
        let marker = raw.windows(2).position(|pair| pair == [0x41, 0xef]).unwrap() + 1;
        raw[marker + 33] = 0x80;
        let tx = Transaction::decode(raw.into()).unwrap();
        assert_eq!(tx.outputs()[0].token, None);
        assert_eq!(tx.outputs()[0].script.as_bytes()[0], 0xef);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answered(raw in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = Transaction::decode_submitted(raw.into());
        }

        #[test]
        fn a_flipped_byte_decodes_to_its_own_txid_or_not_at_all(at in 0usize..266, mask in 1u8..) {
            let mut raw = hex::decode(TOKEN_TX).unwrap();
            raw[at] ^= mask;
            if let Ok(tx) = Transaction::decode(raw.clone().into()) {
                let again = consensus::deserialize::<bitcoincash::Transaction>(&raw).unwrap();
                proptest::prop_assert_eq!(tx.txid(), again.compute_txid());
                proptest::prop_assert_eq!(consensus::serialize(&again), raw);
            }
        }
    }
}
