//! A small wallet that signs: deterministic keys, P2PKH, CashTokens, ECDSA and Schnorr.
//!
//! It talks to nobody. Coins come to it by [`Wallet::receive`] and [`Wallet::scan_block`], transactions leave it as
//! values. What [`Wallet::pay`] returns is booked at once: its inputs are gone and its change can be spent, which
//! is right for a transaction that will be handed in; [`Wallet::release`] takes it back when the node refused it.
//!
//! Fees are exact: the transaction is signed, measured, and signed again until the fee is the rate times the
//! number of its bytes, rounded up (a change below the dust limit goes to the fee). ECDSA signs several times
//! faster than Schnorr here, so load tests should stay with the default.

mod build;
mod payment;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, bail};
use bitcoincash::address::cashaddr::{CashAddress, KnownPrefix};
use bitcoincash::hashes::{Hash, sha256};
use bitcoincash::secp256k1::{Message, SecretKey};
use bitcoincash::sighash::SighashCache;
use bitcoincash::{Block, OutPoint, PubkeyHash, PublicKey, Script, ScriptBuf, Transaction, TxOut, schnorr};

use crate::chain::{COINBASE_MATURITY, CURVE};

pub use self::payment::{Category, Destination, Nft, NftCapability, PayOptions, Payment, Sign, TokenOutput};

/// A coin of the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletCoin {
    /// Value, script and token.
    pub output: TxOut,
    /// Number of the key that owns it.
    pub key: u32,
    /// Height of its block, where that is known.
    pub height: Option<u32>,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

#[derive(Debug, Clone)]
struct Key {
    secret: SecretKey,
    public: PublicKey,
    script: ScriptBuf,
}

/// Keys and coins.
#[derive(Debug, Clone)]
pub struct Wallet {
    seed: u64,
    keys: Vec<Key>,
    owners: HashMap<ScriptBuf, u32>,
    coins: BTreeMap<OutPoint, WalletCoin>,
    /// Coins without tokens by value, so that a load test need not walk thousands of them.
    plain: BTreeSet<(u64, OutPoint)>,
    /// Coins that booked transactions took, for [`Wallet::release`].
    spent: HashMap<OutPoint, WalletCoin>,
    height: u32,
}

impl Wallet {
    /// A wallet whose keys follow from a number. It starts with the key 0.
    ///
    /// # Errors
    /// When a derived key is no key, which has a chance of 2⁻¹²⁸.
    pub fn from_seed(seed: u64) -> Result<Self> {
        let mut wallet = Self {
            seed,
            keys: Vec::new(),
            owners: HashMap::new(),
            coins: BTreeMap::new(),
            plain: BTreeSet::new(),
            spent: HashMap::new(),
            height: 0,
        };
        wallet.add_key()?;
        Ok(wallet)
    }

    /// Makes sure the keys up to number `index` exist and gives that one's address, like `bchreg:q…`.
    ///
    /// # Errors
    /// See [`Wallet::from_seed`].
    pub fn address(&mut self, index: u32) -> Result<String> {
        Ok(cash_address(&self.script(index)?)?.to_string())
    }

    /// The token-aware form of the same address, like `bchreg:z…`.
    ///
    /// # Errors
    /// See [`Wallet::from_seed`].
    pub fn token_address(&mut self, index: u32) -> Result<String> {
        Ok(cash_address(&self.script(index)?)?.with_token_awareness(true).to_string())
    }

    /// The address of a new key.
    ///
    /// # Errors
    /// See [`Wallet::from_seed`].
    pub fn new_address(&mut self) -> Result<String> {
        let index = self.add_key()?;
        self.address(index)
    }

    /// The locking script of key `index`.
    ///
    /// # Errors
    /// See [`Wallet::from_seed`].
    pub fn script(&mut self, index: u32) -> Result<ScriptBuf> {
        let wanted = usize::try_from(index)?;
        while self.keys.len() <= wanted {
            self.add_key()?;
        }
        Ok(self.key(index)?.script.clone())
    }

    /// Books a transaction: takes what it spends of ours, adds what it pays to us. Saying it twice does no harm.
    pub fn receive(&mut self, tx: &Transaction) {
        self.book(tx, None);
    }

    /// Adds what a coinbase pays to us. It can be spent once [`Wallet::scan_block`] has seen it mature.
    pub fn fund(&mut self, coinbase: &Transaction, height: u32) {
        self.height = self.height.max(height);
        self.book(coinbase, Some(height));
    }

    /// Books every transaction of a block.
    pub fn scan_block(&mut self, block: &Block, height: u32) {
        self.height = self.height.max(height);
        for tx in &block.txdata {
            self.book(tx, Some(height));
        }
    }

    /// Satoshis in coins without tokens that can be spent in the next block.
    pub fn balance(&self) -> u64 {
        self.spendable().map(|(_, coin)| coin.output.value.to_sat()).sum()
    }

    /// All coins, by outpoint.
    pub fn coins(&self) -> impl Iterator<Item = (&OutPoint, &WalletCoin)> {
        self.coins.iter()
    }

    /// Undoes a booking: the coins a transaction took come back, what it paid to us is gone. For a transaction the
    /// node refused.
    pub fn release(&mut self, tx: &Transaction) {
        let txid = tx.compute_txid();
        let made: Vec<OutPoint> = self
            .coins
            .range(OutPoint { txid, vout: 0 }..=OutPoint { txid, vout: u32::MAX })
            .map(|(outpoint, _)| *outpoint)
            .collect();
        for outpoint in made {
            self.remove(&outpoint);
        }
        for input in &tx.input {
            if let Some(coin) = self.spent.remove(&input.previous_output) {
                self.insert(input.previous_output, coin);
            }
        }
    }

    /// Signs every input that spends a coin of ours, booked as spent or not.
    ///
    /// # Errors
    /// When an input is not ours.
    pub fn sign(&self, tx: &mut Transaction, sign: Sign) -> Result<()> {
        let coins = tx
            .input
            .iter()
            .map(|input| self.find(&input.previous_output).context("an input is not the wallet's"))
            .collect::<Result<Vec<_>>>()?;
        let outputs: Vec<TxOut> = coins.iter().map(|coin| coin.output.clone()).collect();
        let mut scripts = Vec::with_capacity(coins.len());
        let mut cache = SighashCache::new(&*tx);
        for (index, coin) in coins.iter().enumerate() {
            let key = self.key(coin.key)?;
            let hash = cache.bch_signature_hash(
                index,
                &coin.output.script_pubkey,
                coin.output.value,
                coin.output.token.as_ref(),
                u32::from(sign.hash_type()),
                Some(&outputs),
            )?;
            scripts.push(key.unlock(&hash.to_byte_array(), sign)?);
        }
        for (input, script) in tx.input.iter_mut().zip(scripts) {
            input.script_sig = script;
        }
        Ok(())
    }

    fn find(&self, outpoint: &OutPoint) -> Option<&WalletCoin> {
        self.coins.get(outpoint).or_else(|| self.spent.get(outpoint))
    }

    fn key(&self, index: u32) -> Result<&Key> {
        self.keys.get(usize::try_from(index)?).context("no such key")
    }

    fn add_key(&mut self) -> Result<u32> {
        let index = u32::try_from(self.keys.len())?;
        let mut material = b"regtest wallet".to_vec();
        material.extend(self.seed.to_le_bytes());
        material.extend(index.to_le_bytes());
        let secret = SecretKey::from_slice(sha256::Hash::hash(&material).as_byte_array())?;
        let public = PublicKey::new(secret.public_key(&CURVE));
        let script = ScriptBuf::new_p2pkh(&PubkeyHash::hash(&public.to_bytes()));
        self.owners.insert(script.clone(), index);
        self.keys.push(Key { secret, public, script });
        Ok(index)
    }

    fn book(&mut self, tx: &Transaction, height: Option<u32>) {
        for input in &tx.input {
            if let Some(coin) = self.remove(&input.previous_output) {
                self.spent.insert(input.previous_output, coin);
            }
        }
        let txid = tx.compute_txid();
        for (vout, output) in (0_u32..).zip(&tx.output) {
            let outpoint = OutPoint { txid, vout };
            if self.spent.contains_key(&outpoint) {
                continue;
            }
            if let Some(key) = self.owners.get(&output.script_pubkey) {
                let coin =
                    WalletCoin { output: output.clone(), key: *key, height, coinbase: tx.is_coinbase() };
                self.insert(outpoint, coin);
            }
        }
    }

    fn insert(&mut self, outpoint: OutPoint, coin: WalletCoin) {
        if coin.output.token.is_none() {
            self.plain.insert((coin.output.value.to_sat(), outpoint));
        }
        self.coins.insert(outpoint, coin);
    }

    fn remove(&mut self, outpoint: &OutPoint) -> Option<WalletCoin> {
        let coin = self.coins.remove(outpoint)?;
        self.plain.remove(&(coin.output.value.to_sat(), *outpoint));
        Some(coin)
    }

    /// Coins without tokens that the next block may spend, smallest first.
    fn spendable(&self) -> impl DoubleEndedIterator<Item = (&OutPoint, &WalletCoin)> {
        self.plain
            .iter()
            .filter_map(|(_, outpoint)| self.coins.get_key_value(outpoint))
            .filter(|(_, coin)| self.is_mature(coin))
    }

    fn is_mature(&self, coin: &WalletCoin) -> bool {
        !coin.coinbase || coin.height.is_some_and(|height| height + COINBASE_MATURITY <= self.height + 1)
    }
}

impl Key {
    /// The input script that spends this key's P2PKH output.
    fn unlock(&self, hash: &[u8; 32], sign: Sign) -> Result<ScriptBuf> {
        let mut signature = match sign {
            Sign::Ecdsa { .. } => {
                CURVE.sign_ecdsa_low_r(&Message::from_digest(*hash), &self.secret).serialize_der().to_vec()
            }
            Sign::Schnorr { .. } => schnorr::sign(&*CURVE, hash, &self.secret).to_vec(),
        };
        signature.push(sign.hash_type());
        let key = self.public.to_bytes();
        let mut script = Vec::with_capacity(signature.len() + key.len() + 2);
        for part in [signature, key] {
            script.push(u8::try_from(part.len())?);
            script.extend(part);
        }
        Ok(ScriptBuf::from_bytes(script))
    }
}

fn cash_address(script: &Script) -> Result<CashAddress> {
    Ok(CashAddress::from_script(script, KnownPrefix::Regtest)?)
}

/// The locking script of a cashaddr of regtest, with or without its prefix, token-aware or not.
///
/// # Errors
/// When the text is no such address.
pub fn script_of(address: &str) -> Result<ScriptBuf> {
    let full = if address.contains(':') { address.to_owned() } else { format!("bchreg:{address}") };
    let address: CashAddress<bitcoincash::address::NetworkUnchecked> =
        full.parse().with_context(|| format!("{address} is no cashaddr"))?;
    if address.as_unchecked().clone().assume_checked().prefix() != KnownPrefix::Regtest {
        bail!("an address of another network");
    }
    Ok(address.assume_checked().script_pubkey())
}
