//! Making transactions: coins, change, fees.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use bitcoincash::absolute::LockTime;
use bitcoincash::consensus::serialize;
use bitcoincash::token::{OutputData, TokenAmount};
use bitcoincash::{
    Amount, OutPoint, ScriptBuf, Sequence, TokenID, Transaction, TxIn, TxOut, Witness, transaction,
};

use super::payment::{Category, PayOptions, Payment, TokenOutput};
use super::{Wallet, WalletCoin};
use crate::chain::dust_threshold;

/// Satoshis that go with tokens that come back as change.
const TOKEN_CHANGE: u64 = 1_000;
/// Outputs of one transaction of a split, so that it stays below 100 000 bytes.
const SPLIT: usize = 2_500;
/// Rounds of signing and measuring until the fee is exact.
const ROUNDS: usize = 16;

/// What is known before the fee is.
#[derive(Debug, Default)]
struct Plan {
    inputs: Vec<OutPoint>,
    incoming: u64,
    outputs: Vec<TxOut>,
}

impl Wallet {
    /// Makes a transaction that pays these outputs, in this order, change behind them to the key 0. Tokens that are
    /// not paid come back as change, a used minting token among them.
    ///
    /// # Errors
    /// When coins or tokens are missing, or an address cannot be read.
    pub fn pay(&mut self, payments: &[Payment], options: PayOptions) -> Result<Transaction> {
        let mut plan = Plan::default();
        let genesis = self.plan_tokens(&mut plan, payments, options)?;
        for payment in payments {
            let token =
                payment.token.as_ref().map(|token| token.data(category(token, genesis)?)).transpose()?;
            let script_pubkey = payment.to.script()?;
            plan.outputs.push(TxOut { value: Amount::from_sat(payment.satoshis), script_pubkey, token });
        }
        self.plan_token_change(&mut plan)?;
        let mut tx = self.complete(plan, options)?;
        if options.unsigned {
            for input in &mut tx.input {
                input.script_sig = ScriptBuf::new();
            }
        } else {
            self.receive(&tx);
        }
        Ok(tx)
    }

    /// Fans coins out: transactions that together make `count` coins of `satoshis` each on the key 0.
    ///
    /// # Errors
    /// When the coins do not suffice.
    pub fn split(&mut self, count: usize, satoshis: u64, options: PayOptions) -> Result<Vec<Transaction>> {
        let script = self.script(0)?;
        let payment = Payment::new(script, satoshis);
        let mut left = count;
        let mut made = Vec::new();
        while left > 0 {
            let now = left.min(SPLIT);
            made.push(self.pay(&vec![payment.clone(); now], options)?);
            left -= now;
        }
        Ok(made)
    }

    /// A rival of a transaction: spends the same coins, pays them to a new key of ours, at the same fee rate. It is not
    /// booked.
    ///
    /// # Errors
    /// When an input is not ours, or carries tokens that would be lost.
    pub fn double_spend(&mut self, tx: &Transaction, options: PayOptions) -> Result<Transaction> {
        let index = self.add_key()?;
        let script_pubkey = self.key(index)?.script.clone();
        let mut incoming = 0;
        let mut outputs = Vec::new();
        for input in &tx.input {
            let coin = self.find(&input.previous_output).context("an input is not the wallet's")?;
            incoming += coin.output.value.to_sat();
            if coin.output.token.is_some() {
                let mut kept = coin.output.clone();
                kept.script_pubkey.clone_from(&script_pubkey);
                kept.value = Amount::from_sat(TOKEN_CHANGE);
                outputs.push(kept);
            }
        }
        let inputs = tx.input.iter().map(|input| input.previous_output).collect();
        let plan = Plan { inputs, incoming, outputs };
        self.settle(&plan, options, &script_pubkey)?.context("the coins do not pay the fee")
    }

    /// Adds plain coins until the plan pays its fee.
    fn complete(&mut self, mut plan: Plan, options: PayOptions) -> Result<Transaction> {
        let change = self.script(0)?;
        loop {
            if !plan.inputs.is_empty()
                && let Some(tx) = self.settle(&plan, options, &change)?
            {
                return Ok(tx);
            }
            let needed = plan.outgoing() + self.fee(plan.size(options) + 148, options);
            let missing = needed.saturating_sub(plan.incoming);
            let (outpoint, value) = self.choose(missing, &plan, options).context("not enough coins")?;
            plan.inputs.push(outpoint);
            plan.incoming += value;
        }
    }

    /// The smallest coin that covers `missing` by itself, or else the largest.
    fn choose(&self, missing: u64, plan: &Plan, options: PayOptions) -> Option<(OutPoint, u64)> {
        let taken: BTreeSet<&OutPoint> = plan.inputs.iter().collect();
        let fits = |(_, outpoint): &&(u64, OutPoint)| {
            !taken.contains(outpoint)
                && self.coins.get(outpoint).is_some_and(|coin| self.may_spend(coin, options))
        };
        let lowest = (missing, OutPoint { txid: bitcoincash::hashes::Hash::all_zeros(), vout: 0 });
        let covering = self.plain.range(lowest..).find(fits);
        covering.or_else(|| self.plain.iter().rev().find(fits)).map(|(value, outpoint)| (*outpoint, *value))
    }

    fn may_spend(&self, coin: &WalletCoin, options: PayOptions) -> bool {
        self.is_mature(coin) && (coin.height.is_some() || !options.confirmed_only)
    }

    fn fee(&self, size: usize, options: PayOptions) -> u64 {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        options.fee.unwrap_or_else(|| size.saturating_mul(options.fee_per_kilobyte).div_ceil(1_000))
    }

    /// Signs the plan with an exact fee; `None` when it cannot pay.
    fn settle(&self, plan: &Plan, options: PayOptions, change: &ScriptBuf) -> Result<Option<Transaction>> {
        let mut change = TxOut { value: Amount::ZERO, script_pubkey: change.clone(), token: None };
        let dust = dust_threshold(&change);
        let with_change = plan.size(options) + serialize(&change).len();
        let mut size = with_change;
        for round in 0..ROUNDS {
            let Some(rest) = plan.incoming.checked_sub(plan.outgoing() + self.fee(size, options)) else {
                break;
            };
            if rest < dust {
                break;
            }
            change.value = Amount::from_sat(rest);
            let mut tx = plan.transaction(Some(&change));
            self.sign(&mut tx, options.sign)?;
            let signed = serialize(&tx).len();
            if signed == size || options.fee.is_some() || (round + 1 == ROUNDS && signed < size) {
                return Ok(Some(tx));
            }
            size = signed;
        }
        if plan.outputs.is_empty() || plan.incoming < plan.outgoing() + self.fee(plan.size(options), options)
        {
            return Ok(None);
        }
        let mut tx = plan.transaction(None);
        self.sign(&mut tx, options.sign)?;
        let enough = plan.incoming >= plan.outgoing() + self.fee(serialize(&tx).len(), options);
        Ok(enough.then_some(tx))
    }

    /// Takes the coins whose tokens are to be paid. Gives the id of a category that is to be made.
    fn plan_tokens(
        &self,
        plan: &mut Plan,
        payments: &[Payment],
        options: PayOptions,
    ) -> Result<Option<TokenID>> {
        let mut wanted: BTreeMap<TokenID, Vec<&TokenOutput>> = BTreeMap::new();
        let mut genesis = None;
        for token in payments.iter().filter_map(|payment| payment.token.as_ref()) {
            match token.category {
                Category::Existing(id) => wanted.entry(id).or_default().push(token),
                Category::New => genesis = Some(()),
            }
        }
        let genesis = genesis.map(|()| self.take_genesis(plan, options)).transpose()?;
        for (id, tokens) in wanted {
            for token in &tokens {
                if let Some(nft) = &token.nft {
                    let exact = |data: &OutputData| {
                        data.capability() == nft.capability.bits() && data.commitment == nft.commitment
                    };
                    let able = |data: &OutputData| {
                        data.capability() == 2 || (data.capability() == 1 && nft.capability.bits() < 2)
                    };
                    let minting = |data: &OutputData| data.capability() == 2;
                    let at_hand = self.tokens_of(plan, id).any(|data| data.has_nft() && minting(data));
                    if !at_hand {
                        self.take_token(plan, id, options, |data| data.has_nft() && exact(data))
                            .or_else(|_| {
                                self.take_token(plan, id, options, |data| data.has_nft() && able(data))
                            })
                            .context("no such NFT")?;
                    }
                }
            }
            let amount: u64 = tokens.iter().map(|token| token.amount).sum();
            while self.amount_of(plan, id) < amount {
                self.take_token(plan, id, options, |data| data.has_amount()).context("not enough tokens")?;
            }
        }
        Ok(genesis)
    }

    fn take_genesis(&self, plan: &mut Plan, options: PayOptions) -> Result<TokenID> {
        let (outpoint, coin) = self
            .spendable()
            .find(|(outpoint, coin)| outpoint.vout == 0 && self.may_spend(coin, options))
            .context("a new category needs a coin at output 0 of its transaction")?;
        plan.inputs.push(*outpoint);
        plan.incoming += coin.output.value.to_sat();
        Ok(TokenID::from_raw_hash(outpoint.txid.to_raw_hash()))
    }

    fn take_token(
        &self,
        plan: &mut Plan,
        id: TokenID,
        options: PayOptions,
        wanted: impl Fn(&OutputData) -> bool,
    ) -> Result<()> {
        let found = self.coins.iter().find(|(outpoint, coin)| {
            !plan.inputs.contains(outpoint)
                && self.may_spend(coin, options)
                && coin.output.token.as_ref().is_some_and(|data| data.id == id && wanted(data))
        });
        let (outpoint, coin) = found.context("no coin with such a token")?;
        plan.inputs.push(*outpoint);
        plan.incoming += coin.output.value.to_sat();
        Ok(())
    }

    fn tokens_of(&self, plan: &Plan, id: TokenID) -> impl Iterator<Item = &OutputData> {
        let tokens =
            plan.inputs.iter().filter_map(|outpoint| self.coins.get(outpoint)?.output.token.as_ref());
        tokens.filter(move |data| data.id == id).collect::<Vec<_>>().into_iter()
    }

    fn amount_of(&self, plan: &Plan, id: TokenID) -> u64 {
        self.tokens_of(plan, id).map(|data| data.amount.to_int().unsigned_abs()).sum()
    }

    /// Gives back the tokens of the inputs that the payments leave over.
    fn plan_token_change(&mut self, plan: &mut Plan) -> Result<()> {
        let script_pubkey = self.script(0)?;
        let incoming: Vec<OutputData> = plan
            .inputs
            .iter()
            .filter_map(|outpoint| self.coins.get(outpoint)?.output.token.clone())
            .collect();
        let ids: BTreeSet<TokenID> = incoming.iter().map(|data| data.id).collect();
        for id in ids {
            for mut data in left_over(&incoming, &plan.outputs, id)? {
                data.bitfield =
                    (data.bitfield & !0x10) | if data.amount > TokenAmount::ZERO { 0x10 } else { 0 };
                let value = Amount::from_sat(TOKEN_CHANGE);
                plan.outputs.push(TxOut { value, script_pubkey: script_pubkey.clone(), token: Some(data) });
            }
        }
        Ok(())
    }
}

/// The tokens of one category that no output takes: its NFTs, the first of them with the rest of the amount.
fn left_over(incoming: &[OutputData], outputs: &[TxOut], id: TokenID) -> Result<Vec<OutputData>> {
    let paid = || outputs.iter().filter_map(|output| output.token.as_ref()).filter(|data| data.id == id);
    let amount: u64 =
        incoming.iter().filter(|data| data.id == id).map(|data| data.amount.to_int().unsigned_abs()).sum();
    let spent: u64 = paid().map(|data| data.amount.to_int().unsigned_abs()).sum();
    let Some(rest) =
        amount.checked_sub(spent).and_then(|rest| TokenAmount::from_int(i64::try_from(rest).ok()?))
    else {
        bail!("more tokens go out than come in");
    };
    let mut nfts: Vec<OutputData> =
        incoming.iter().filter(|data| data.id == id && data.has_nft()).cloned().collect();
    for data in paid().filter(|data| data.has_nft()) {
        let same = nfts
            .iter()
            .position(|nft| nft.capability() == data.capability() && nft.commitment == data.commitment);
        let changed = || nfts.iter().position(|nft| nft.capability() == 1 && data.capability() < 2);
        if let Some(used) = same.or_else(changed) {
            nfts.remove(used);
        }
    }
    for nft in &mut nfts {
        nft.amount = TokenAmount::ZERO;
    }
    match nfts.first_mut() {
        Some(first) => first.amount = rest,
        None if rest > TokenAmount::ZERO => {
            nfts.push(OutputData { id, bitfield: 0x10, amount: rest, commitment: Vec::new() });
        }
        None => {}
    }
    Ok(nfts)
}

impl Plan {
    fn outgoing(&self) -> u64 {
        self.outputs.iter().map(|output| output.value.to_sat()).sum()
    }

    /// Bytes of the signed transaction without change, by the usual length of a signature.
    fn size(&self, options: PayOptions) -> usize {
        let mut tx = self.transaction(None);
        for input in &mut tx.input {
            input.script_sig = ScriptBuf::from_bytes(vec![0; options.sign.usual_script_size()]);
        }
        serialize(&tx).len()
    }

    fn transaction(&self, change: Option<&TxOut>) -> Transaction {
        let input = |previous_output: &OutPoint| TxIn {
            previous_output: *previous_output,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::default(),
        };
        Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: self.inputs.iter().map(input).collect(),
            output: self.outputs.iter().chain(change).cloned().collect(),
        }
    }
}

fn category(token: &TokenOutput, genesis: Option<TokenID>) -> Result<TokenID> {
    match token.category {
        Category::Existing(id) => Ok(id),
        Category::New => genesis.context("no input makes a category"),
    }
}
