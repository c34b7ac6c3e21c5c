//! Conservation of CashTokens (CHIP-2022-02): what a transaction may do with the tokens it spends.

use std::collections::HashMap;

use bitcoincash::hashes::Hash;
use bitcoincash::token::OutputData;
use bitcoincash::{Transaction, TxOut};

use super::reject::Reject;

/// Longest commitment of an NFT that BCHN 28.0.1 takes, bytes.
const MAX_COMMITMENT: usize = 40;

/// Category id in the byte order of a txid.
type Category = [u8; 32];

/// What the inputs of one category bring.
#[derive(Debug, Default)]
struct Purse<'a> {
    amount: i64,
    minting: bool,
    mutable: usize,
    immutable: HashMap<&'a [u8], usize>,
}

/// Checks the outputs' tokens against the tokens of `spent`, the output each input spends, in order.
///
/// # Errors
///
/// The node's [`Reject`].
pub fn check(tx: &Transaction, spent: &[TxOut]) -> Result<(), Reject> {
    if tx.output.iter().any(TxOut::has_unparseable_token_data) {
        return Err(Reject::invalid("bad-txns-vout-tokenprefix"));
    }
    let mut genesis: HashMap<Category, i64> = HashMap::new();
    let mut purses: HashMap<Category, Purse<'_>> = HashMap::new();
    for (input, output) in tx.input.iter().zip(spent) {
        if output.has_unparseable_token_data() {
            return Err(Reject::invalid("bad-txns-vin-tokenprefix"));
        }
        if input.previous_output.vout == 0 {
            genesis.insert(input.previous_output.txid.to_byte_array(), 0);
        }
        if let Some(token) = &output.token {
            collect(purses.entry(category(token)).or_default(), token)?;
        }
    }
    for token in tx.output.iter().filter_map(|output| output.token.as_ref()) {
        if token.commitment.len() > MAX_COMMITMENT {
            let detail = format!(
                "CheckTokenData: token {} has nft commitment that is oversized {}",
                describe(token),
                token.commitment.len()
            );
            return Err(Reject::invalid_because("bad-txns-token-commitment-oversized", detail));
        }
        let (id, amount) = (category(token), token.amount.to_int());
        if let Some(minted) = genesis.get_mut(&id) {
            *minted = minted.checked_add(amount).ok_or_else(overflow)?;
        } else if let Some(purse) = purses.get_mut(&id) {
            spend(purse, token, amount)?;
        } else {
            return Err(Reject::invalid("bad-txns-token-invalid-category"));
        }
    }
    Ok(())
}

/// Whether a coinbase keeps the token rules: it makes none.
pub(super) fn check_coinbase(tx: &Transaction) -> Result<(), Reject> {
    if tx.output.iter().any(TxOut::has_unparseable_token_data) {
        return Err(Reject::invalid("bad-txns-vout-tokenprefix"));
    }
    if tx.output.iter().any(|output| output.token.is_some()) {
        return Err(Reject::invalid("bad-txns-coinbase-has-tokens"));
    }
    Ok(())
}

fn collect<'a>(purse: &mut Purse<'a>, token: &'a OutputData) -> Result<(), Reject> {
    purse.amount = purse.amount.checked_add(token.amount.to_int()).ok_or_else(overflow)?;
    if token.has_nft() {
        match token.capability() {
            2 => purse.minting = true,
            1 => purse.mutable += 1,
            _ => *purse.immutable.entry(token.commitment.as_slice()).or_default() += 1,
        }
    }
    Ok(())
}

fn spend(purse: &mut Purse<'_>, token: &OutputData, amount: i64) -> Result<(), Reject> {
    purse.amount -= amount;
    if purse.amount < 0 {
        let detail = format!("CheckTxTokens: token ({}) value in < value out", describe(token));
        return Err(Reject::invalid_because("bad-txns-token-in-belowout", detail));
    }
    if token.has_nft() && !take_nft(purse, token) {
        let detail = format!(
            "CheckTxTokens: token ({}) nft output cannot be created out of thin air",
            describe(token)
        );
        return Err(Reject::invalid_because("bad-txns-token-nft-ex-nihilo", detail));
    }
    Ok(())
}

/// Uses up the weakest input NFT that allows the output.
fn take_nft(purse: &mut Purse<'_>, token: &OutputData) -> bool {
    let same = purse.immutable.get_mut(token.commitment.as_slice()).filter(|count| **count > 0);
    if let Some(count) = same.filter(|_| token.capability() == 0) {
        *count -= 1;
        return true;
    }
    if token.capability() < 2 && purse.mutable > 0 {
        purse.mutable -= 1;
        return true;
    }
    purse.minting
}

fn overflow() -> Reject {
    Reject::invalid("bad-txns-token-amount-overflow")
}

fn category(token: &OutputData) -> Category {
    token.id.to_byte_array()
}

/// The node's debug form of a token, its long fields cut at 30 characters.
fn describe(token: &OutputData) -> String {
    let cut = |text: String| text.chars().take(30).collect::<String>();
    format!(
        "token::OutputData(id={}, bitfield={:x}, amount={}, commitment={})",
        cut(token.id.to_string()),
        token.bitfield,
        token.amount.to_int(),
        cut(::hex::encode(&token.commitment))
    )
}
