//! Verifications: of what is signed, of what is not, and of what only looks signed. Nothing comes of them.

use anyhow::{Context as _, Result, ensure};
use bitcoincash::{
    Amount, ScriptBuf, TokenID, Transaction, consensus,
    hashes::Hash as _,
    token::{OutputData, TokenAmount},
};
use jppd::{
    bch::Category,
    invoice::InvoiceId,
    submit::{Accepted, SubmitError, TokenFault},
};
use regtest::wallet::{PayOptions, Payment, Sign};

use crate::town::Town;

/// A verification leaves no trace, whatever it comes to.
fn verify(
    town: &mut Town,
    id: InvoiceId,
    tx: &Transaction,
    weighted_size: Option<usize>,
) -> Result<std::result::Result<Accepted, SubmitError>> {
    let (view, mempool) = (town.view.clone(), town.chain.mempool());
    let verification = town.begin_verification(id, tx, weighted_size)?;
    let end = town.finish(verification)?;
    ensure!(town.view == view && town.chain.mempool() == mempool, "a verification has no effect");
    Ok(end)
}

/// Wallets sign before they verify, or put zeros where signatures will be, or nothing.
#[test]
fn signed_or_not_or_with_something_in_the_place() -> Result<()> {
    for sign in [Sign::ECDSA, Sign::SCHNORR] {
        let mut town = Town::open()?;
        let (id, address) = town.fresh_invoice(10_000)?;
        let payment = Payment::new(address.as_str(), 10_000);
        let signed = town.payer.pay(&[payment], PayOptions { sign, ..PayOptions::default() })?;
        let with_scripts = |of: &dyn Fn(usize) -> Vec<u8>| {
            let mut tx = signed.clone();
            for input in &mut tx.input {
                input.script_sig = ScriptBuf::from(of(input.script_sig.len()));
            }
            tx
        };
        let table = [
            ("signed", signed.clone()),
            ("unsigned", with_scripts(&|_| Vec::new())),
            ("zeros", with_scripts(&|length| vec![0; length])),
            ("another signature", with_scripts(&|length| vec![0x5a; length])),
        ];
        for (what, tx) in table {
            let end = verify(&mut town, id, &tx, None)?;
            ensure!(end == Ok(Accepted::Valid), "{what}: {end:?}");
        }
        // What was paid is verified as well, and still nothing comes of it.
        ensure!(town.pay(id, &signed)? == Ok(Accepted::Credited));
        ensure!(verify(&mut town, id, &signed, None)? == Ok(Accepted::Valid));
    }
    Ok(())
}

/// A wallet that says how large its transaction becomes is believed as far as that can be, and what it signs as it
/// said is taken.
#[test]
fn the_announced_size() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let payment = [Payment::new(address.as_str(), 10_000)];
    let mut unsigned = |fee: u64| {
        let options =
            PayOptions { unsigned: true, fee: Some(fee), sign: Sign::SCHNORR, ..PayOptions::default() };
        town.payer.pay(&payment, options)
    };
    let template = unsigned(1_000)?;
    let least = consensus::serialize(&template).len() + 100 * template.input.len();
    let mut tx = unsigned(least.try_into()?)?;
    ensure!(tx.input.len() == 1 && consensus::serialize(&tx).len() + 100 == least);
    for weighted in [None, Some(0), Some(least - 1), Some(least), Some(least + 1), Some(least + 9)] {
        let end = verify(&mut town, id, &tx, weighted)?;
        ensure!(end == Ok(Accepted::Valid), "{weighted:?}: {end:?}");
    }
    for weighted in [least + 2, least + 8] {
        let end = verify(&mut town, id, &tx, Some(weighted))?;
        ensure!(matches!(end, Err(SubmitError::Fee { bytes, .. }) if bytes == weighted), "{end:?}");
    }
    town.payer.sign(&mut tx, Sign::SCHNORR)?;
    ensure!(town.pay(id, &tx)? == Ok(Accepted::Credited));
    Ok(())
}

/// Tokens out of nothing are refused before anything is claimed.
#[test]
fn tokens_that_are_not_there() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let mut tx = town.sign(&address, 10_000)?;
    let change = tx.output.get_mut(1).context("the change")?;
    change.value -= Amount::from_sat(1_000);
    change.token = Some(OutputData {
        id: TokenID::from_byte_array([7; 32]),
        bitfield: 0x10,
        amount: TokenAmount::from_int(5).context("an amount")?,
        commitment: Vec::new(),
    });
    let category = Category::from_wire([7; 32]);
    let refused = Err(SubmitError::Tokens(TokenFault::NotHeld { category }));
    ensure!(verify(&mut town, id, &tx, None)? == refused);
    let before = town.view.clone();
    ensure!(town.pay(id, &tx)? == refused && town.view == before);
    // Named after what it spends, they are a genesis.
    if let Some(token) = &mut tx.output[1].token {
        token.id = TokenID::from_byte_array(tx.input[0].previous_output.txid.to_byte_array());
    }
    ensure!(
        tx.input[0].previous_output.vout == 0 && verify(&mut town, id, &tx, None)? == Ok(Accepted::Valid)
    );
    Ok(())
}
