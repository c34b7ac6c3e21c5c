//! The coins of all payers, and what is signed with them.
//!
//! Everything is laid out by hand, one signature an input, and fees are round: the regtest wallet measures and signs
//! again until its fee is exact, and ten thousand seeds have no time for that.

use std::collections::VecDeque;

use anyhow::{Context as _, Result, ensure};
use bitcoincash::{
    Amount, OutPoint, ScriptBuf, TokenID, Transaction, TxIn, TxOut, Txid,
    absolute::LockTime,
    consensus,
    hashes::Hash as _,
    token::{OutputData, TokenAmount},
    transaction::Version,
};
use bytes::Bytes;
use jppd::bch::{Category, Token};
use regtest::{
    chain::Chain,
    wallet::{Sign, Wallet},
};

/// Satoshis of each coin that a payer begins with.
const COIN: u64 = 2_000_000;

/// Tokens of each coin that has some.
const TOKENS: u64 = 1_000;

/// How many coins have tokens.
const TOKEN_COINS: u64 = 40;

/// The fee of everything: more than a satoshi for each byte of what is made here.
const FEE: u64 = 2_500;

/// Satoshis of an output with tokens.
pub(crate) const TOKEN_SATOSHIS: u64 = 1_000;

/// A transaction with its bytes and its name.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) tx: Transaction,
    pub(crate) raw: Bytes,
    pub(crate) txid: Txid,
}

/// A coin that can be spent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coin {
    pub(crate) outpoint: OutPoint,
    pub(crate) satoshis: u64,
    /// Fungible tokens of the one category there is.
    pub(crate) tokens: u64,
}

/// All coins that nobody spent yet.
#[derive(Debug)]
pub(crate) struct Purse {
    wallet: Wallet,
    home: ScriptBuf,
    plain: VecDeque<Coin>,
    with_tokens: VecDeque<Coin>,
    category: Option<TokenID>,
}

impl Purse {
    /// A purse whose coins are in the chain, ten blocks deep.
    pub(crate) fn new(chain: &mut Chain, now_s: u64, coins: usize) -> Result<Self> {
        let mut wallet = Wallet::from_seed(1)?;
        let home = wallet.script(0)?;
        for hash in chain.mine(102, &home, now_s) {
            let block = chain.block(hash).context("a block")?;
            wallet.scan_block(&block.block, block.height);
        }
        let mut purse =
            Self { wallet, home, plain: VecDeque::new(), with_tokens: VecDeque::new(), category: None };
        let first = chain.hash_at(1).and_then(|hash| chain.block(hash)).context("the first block")?;
        let coinbase = first.txids.first().copied().context("a coinbase")?;
        let coinbase = OutPoint { txid: coinbase, vout: 0 };
        let outputs = (0..coins).map(|_| purse.output(COIN, None)).collect();
        let split = purse.sign(&[coinbase], outputs)?;
        // A category is named after a transaction whose first output its genesis spends.
        purse.category = Some(TokenID::from_byte_array(split.txid.to_byte_array()));
        let mut outputs: Vec<TxOut> =
            (0..TOKEN_COINS).map(|_| purse.output(TOKEN_SATOSHIS, Some(TOKENS))).collect();
        outputs.push(purse.output(COIN - TOKEN_COINS * TOKEN_SATOSHIS - 10 * FEE, None));
        let genesis = purse.sign(&[OutPoint { txid: split.txid, vout: 0 }], outputs)?;
        for signed in [&split, &genesis] {
            let sent = chain.submit(&signed.raw, true, now_s);
            sent.map_err(|reject| anyhow::anyhow!("the first coins: {}", reject.message))?;
            purse.receive(signed);
        }
        purse.plain.retain(|coin| coin.outpoint != OutPoint { txid: split.txid, vout: 0 });
        chain.mine(11, &burnt(0), now_s);
        ensure!(chain.mempool().is_empty());
        Ok(purse)
    }

    /// The category of the tokens, as an invoice names it.
    pub(crate) fn token(&self, amount: u64) -> Option<Token> {
        let category = Category::from_wire(self.category?.to_byte_array());
        Some(Token { category, amount, nft: None })
    }

    /// A coin without tokens.
    pub(crate) fn coin(&mut self) -> Result<Coin> {
        self.plain.pop_front().context("the purse is empty")
    }

    /// A coin with tokens.
    pub(crate) fn token_coin(&mut self) -> Result<Coin> {
        self.with_tokens.pop_front().context("the purse has no tokens left")
    }

    /// Puts the outputs of a transaction that are ours where they can be spent again.
    pub(crate) fn receive(&mut self, signed: &Signed) {
        for coin in self.coins_of(signed) {
            if coin.tokens > 0 {
                self.with_tokens.push_back(coin);
            } else {
                self.plain.push_back(coin);
            }
        }
    }

    /// The outputs of a transaction that are ours.
    pub(crate) fn coins_of(&self, signed: &Signed) -> Vec<Coin> {
        let ours = (0u32..).zip(&signed.tx.output).filter(|(_, output)| output.script_pubkey == self.home);
        let coin = |(vout, output): (u32, &TxOut)| Coin {
            outpoint: OutPoint { txid: signed.txid, vout },
            satoshis: output.value.to_sat(),
            tokens: output.token.as_ref().map_or(0, |token| token.amount.to_int().unsigned_abs()),
        };
        ours.map(coin).collect()
    }

    /// A payment: these coins, these outputs, and what is left to ourselves.
    pub(crate) fn pay(&mut self, coins: &[Coin], mut outputs: Vec<TxOut>) -> Result<Signed> {
        let tokens =
            |output: &TxOut| output.token.as_ref().map_or(0, |token| token.amount.to_int().unsigned_abs());
        let (paid, paid_tokens) = outputs.iter().fold((0, 0), |(satoshis, amount), output| {
            (satoshis + output.value.to_sat(), amount + tokens(output))
        });
        let (held, held_tokens) = coins
            .iter()
            .fold((0, 0), |(satoshis, amount), coin| (satoshis + coin.satoshis, amount + coin.tokens));
        let mut left = held.checked_sub(paid + FEE).context("the coins do not suffice")?;
        let tokens_left: u64 = held_tokens.checked_sub(paid_tokens).context("the tokens do not suffice")?;
        if tokens_left > 0 {
            left = left.checked_sub(TOKEN_SATOSHIS).context("nothing is left for the tokens")?;
            outputs.push(self.output(TOKEN_SATOSHIS, Some(tokens_left)));
        }
        outputs.push(self.output(left, None));
        let outpoints: Vec<OutPoint> = coins.iter().map(|coin| coin.outpoint).collect();
        self.sign(&outpoints, outputs)
    }

    /// Another transaction with the same coins, which pays nobody but ourselves.
    pub(crate) fn rival(&mut self, of: &Signed, coins: &[Coin]) -> Result<Signed> {
        let outpoints: Vec<OutPoint> = of.tx.input.iter().map(|input| input.previous_output).collect();
        let held: u64 = coins.iter().map(|coin| coin.satoshis).sum();
        let tokens: u64 = coins.iter().map(|coin| coin.tokens).sum();
        let mut outputs = Vec::new();
        let mut left = held.checked_sub(FEE + 500).context("the coins do not suffice")?;
        if tokens > 0 {
            left = left.checked_sub(TOKEN_SATOSHIS).context("nothing is left for the tokens")?;
            outputs.push(self.output(TOKEN_SATOSHIS, Some(tokens)));
        }
        outputs.push(self.output(left, None));
        self.sign(&outpoints, outputs)
    }

    /// An output to ourselves.
    fn output(&self, satoshis: u64, tokens: Option<u64>) -> TxOut {
        self.output_to(self.home.clone(), satoshis, tokens)
    }

    /// An output.
    pub(crate) fn output_to(&self, script_pubkey: ScriptBuf, satoshis: u64, tokens: Option<u64>) -> TxOut {
        let data = |amount: u64| {
            let amount = i64::try_from(amount).ok().and_then(TokenAmount::from_int)?;
            Some(OutputData { id: self.category?, bitfield: 0x10, amount, commitment: Vec::new() })
        };
        TxOut { value: Amount::from_sat(satoshis), script_pubkey, token: tokens.and_then(data) }
    }

    fn sign(&mut self, inputs: &[OutPoint], output: Vec<TxOut>) -> Result<Signed> {
        let input = |outpoint: &OutPoint| TxIn { previous_output: *outpoint, ..TxIn::default() };
        let mut tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: inputs.iter().map(input).collect(),
            output,
        };
        self.wallet.sign(&mut tx, Sign::ECDSA)?;
        self.wallet.receive(&tx);
        Ok(Signed { raw: consensus::serialize(&tx).into(), txid: tx.compute_txid(), tx })
    }
}

/// A locking script that nobody has the key of.
pub(crate) fn burnt(tag: u32) -> ScriptBuf {
    let mut hash = [0xb0; 20];
    hash[..4].copy_from_slice(&tag.to_be_bytes());
    ScriptBuf::from([&[0x76, 0xa9, 0x14][..], &hash, &[0x88, 0xac]].concat())
}
