//! A funded wallet beside a node: what a payer has.

use anyhow::{Context, Result};
use bitcoincash::{Script, ScriptBuf, Transaction, Txid, consensus};
use serde_json::json;

use crate::{
    Node,
    wallet::{PayOptions, Payment, Wallet},
};

/// Blocks until a coinbase can be spent, and a few more to have several of them.
const FUNDING_BLOCKS: u32 = 110;

/// A funded wallet beside a node.
#[derive(Debug)]
pub struct Purse {
    /// The wallet itself, for what goes beyond paying.
    pub wallet: Wallet,
    /// How often it mined.
    mined: u8,
}

impl Purse {
    /// Mines until a wallet has coins that it can spend.
    ///
    /// # Errors
    /// When the node refuses to mine.
    pub fn fund(node: &dyn Node, seed: u64) -> Result<Self> {
        let mut purse = Self { wallet: Wallet::from_seed(seed)?, mined: 0 };
        let script = purse.wallet.script(0)?;
        purse.mine_to(node, FUNDING_BLOCKS, &script)?;
        Ok(purse)
    }

    /// Mines blocks with what is in the mempool. The subsidy goes to nobody in particular, and to another nobody each
    /// time: after a block was made invalid, the same one again would be invalid, too.
    ///
    /// # Errors
    /// When the node refuses.
    pub fn mine(&mut self, node: &dyn Node, blocks: u32) -> Result<()> {
        self.mined = self.mined.wrapping_add(1);
        self.mine_to(node, blocks, &p2pkh([self.mined; 20]))
    }

    fn mine_to(&mut self, node: &dyn Node, blocks: u32, script: &Script) -> Result<()> {
        for hash in node.mine(blocks, script)? {
            let raw = node.call("getblock", json!([hash.to_string(), 0]))?;
            let block = consensus::deserialize(&hex::decode(raw.as_str().context("a block in hex")?)?)?;
            let header = node.call("getblockheader", json!([hash.to_string()]))?;
            let height = header["height"].as_u64().context("a height")?;
            self.wallet.scan_block(&block, u32::try_from(height)?);
        }
        Ok(())
    }

    /// A signed transaction that pays an address, at one satoshi a byte.
    ///
    /// # Errors
    /// When the coins do not suffice.
    pub fn sign(&mut self, address: &str, satoshis: u64) -> Result<Transaction> {
        self.sign_all(&[(address, satoshis)])
    }

    /// A signed transaction that pays several addresses.
    ///
    /// # Errors
    /// When the coins do not suffice.
    pub fn sign_all(&mut self, outputs: &[(&str, u64)]) -> Result<Transaction> {
        let payments: Vec<Payment> =
            outputs.iter().map(|(address, satoshis)| Payment::new(*address, *satoshis)).collect();
        self.wallet.pay(&payments, PayOptions::default())
    }

    /// Pays an address through the node, as any wallet would.
    ///
    /// # Errors
    /// When the coins do not suffice, or the node refuses.
    pub fn pay(&mut self, node: &dyn Node, address: &str, satoshis: u64) -> Result<Txid> {
        let transaction = self.sign(address, satoshis)?;
        Ok(node.send(&consensus::serialize(&transaction))?)
    }
}

/// A transaction as JSON carries it.
pub fn raw_hex(transaction: &Transaction) -> String {
    consensus::encode::serialize_hex(transaction)
}

/// A script that nobody has the key of.
pub fn nobody() -> ScriptBuf {
    p2pkh([0xee; 20])
}

fn p2pkh(hash: [u8; 20]) -> ScriptBuf {
    ScriptBuf::from([&[0x76, 0xa9, 0x14][..], &hash, &[0x88, 0xac]].concat())
}
