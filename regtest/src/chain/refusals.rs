//! Tests: what is refused, and in which words.

use bitcoincash::consensus::{deserialize, serialize};
use bitcoincash::hashes::Hash;
use bitcoincash::{Amount, OutPoint, ScriptBuf, Transaction, TxOut};

use super::faults::{self, Case};
use super::fixture::{self, NOW, VALUE, funded, pay, payment, scan, submit};
use super::{Chain, Event, Reject, Score, script, token};
use crate::wallet::{PayOptions, Payment, Sign};

fn assert_refused(chain: &mut Chain, case: &Case) {
    let tested = chain.test_accept(&case.raw, false, NOW).unwrap_err();
    let refused = chain.submit(&case.raw, false, NOW).unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (case.code, case.message), "{}", case.name);
    assert_eq!(tested.reason_for_test(), case.test, "{}", case.name);
    assert_eq!(chain.take_events(), [], "{}", case.name);
}

#[test]
fn every_fault_has_its_words() {
    let (mut chain, mut wallet) = funded();
    for case in faults::own_faults(&mut wallet) {
        assert_refused(&mut chain, &case);
    }
}

#[test]
fn tokens_are_conserved() {
    let (mut chain, mut wallet) = funded();
    let genesis = fixture::genesis(&mut wallet);
    submit(&mut chain, &genesis);
    chain.take_events();
    for case in faults::token_faults(&mut wallet, &genesis) {
        assert_refused(&mut chain, &case);
    }
}

#[test]
fn a_high_fee_passes_when_allowed() {
    let (mut chain, mut wallet) = funded();
    let options = PayOptions { fee: Some(20_000_000), ..PayOptions::default() };
    let tx = wallet.pay(&[payment(VALUE)], options).unwrap();
    assert_eq!(chain.submit(&serialize(&tx), true, NOW), Ok(tx.compute_txid()));
}

#[test]
fn a_satoshi_below_the_fee_is_refused() {
    let (mut chain, mut wallet) = funded();
    let tx = wallet
        .pay(&[payment(VALUE)], PayOptions { fee: Some(300), sign: Sign::SCHNORR, ..PayOptions::default() });
    let mut tx = tx.unwrap();
    let size = u64::try_from(serialize(&tx).len()).unwrap();
    let exact = tx.output[1].value + Amount::from_sat(300 - size);
    for (value, accepted) in [(exact + Amount::from_sat(1), false), (exact, true)] {
        tx.output[1].value = value;
        wallet.sign(&mut tx, Sign::SCHNORR).unwrap();
        assert_eq!(chain.submit(&serialize(&tx), false, NOW).is_ok(), accepted);
    }
}

#[test]
fn a_coinbase_matures_after_100_blocks() {
    let (mut chain, mut wallet) = funded();
    let script = wallet.script(0).unwrap();
    let young = chain.block(chain.hash_at(12).unwrap()).unwrap();
    let mut tx = pay(&mut wallet);
    tx.input[0].previous_output = OutPoint { txid: young.txids[0], vout: 0 };
    wallet.sign(&mut tx, Sign::ECDSA).unwrap();
    let raw = serialize(&tx);
    let reject = chain.submit(&raw, false, NOW).unwrap_err();
    let text = "bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth 99 (code 16)";
    assert_eq!((reject.code, reject.message.as_str()), (-26, text));
    chain.mine(1, &script, NOW);
    assert_eq!(chain.submit(&raw, false, NOW), Ok(tx.compute_txid()));
}

#[test]
fn known_transactions_have_three_answers() {
    let (mut chain, mut wallet) = funded();
    let mine = wallet.script(0).unwrap();
    let tx = wallet.pay(&[Payment::new(mine.clone(), VALUE)], PayOptions::default()).unwrap();
    let raw = serialize(&tx);
    submit(&mut chain, &tx);
    assert_eq!(chain.take_events().len(), 1);
    assert_eq!(chain.submit(&raw, false, NOW), Ok(tx.compute_txid()));
    assert_eq!(chain.take_events(), []);
    let reason =
        |chain: &Chain| chain.test_accept(&raw, false, NOW).unwrap_err().reason_for_test().to_owned();
    assert_eq!(reason(&chain), "18: txn-already-in-mempool");

    let block = chain.mine(1, &mine, NOW)[0];
    scan(&chain, &mut wallet, block);
    assert_eq!(reason(&chain), "18: txn-already-known");
    assert_eq!(chain.submit(&raw, false, NOW).unwrap_err(), Reject::in_chain());

    let mut sweep = tx.clone();
    sweep.input = (0..2)
        .map(|vout| {
            let mut input = tx.input[0].clone();
            input.previous_output = OutPoint { txid: tx.compute_txid(), vout };
            input
        })
        .collect();
    sweep.output.truncate(1);
    sweep.output[0].value = Amount::from_sat(4_999_990_000);
    wallet.sign(&mut sweep, Sign::ECDSA).unwrap();
    submit(&mut chain, &sweep);
    assert_eq!(chain.submit(&raw, false, NOW).unwrap_err().code, -27, "spent in the mempool only");
    chain.mine(1, &mine, NOW);
    assert_eq!(chain.submit(&raw, false, NOW).unwrap_err(), Reject::missing_inputs());
}

#[test]
fn a_rival_leaves_one_proof() {
    let (mut chain, mut wallet) = funded();
    let tx = pay(&mut wallet);
    submit(&mut chain, &tx);
    let child = wallet.pay(&[payment(VALUE)], PayOptions::default()).unwrap();
    let txid = tx.compute_txid();
    assert_eq!(chain.dsproof_score(txid), Some(Score::One));
    let mut forged = wallet.double_spend(&tx, PayOptions::default()).unwrap();
    forged.output[0].value -= Amount::from_sat(1);
    chain.take_events();
    assert!(chain.submit(&serialize(&forged), false, NOW).unwrap_err().is_conflict());
    assert_eq!(chain.take_events(), [], "a rival that nobody signed proves nothing");
    let rival =
        wallet.double_spend(&tx, PayOptions { fee: Some(0), sign: Sign::SCHNORR, ..PayOptions::default() });
    let rival = serialize(&rival.unwrap());
    assert!(chain.test_accept(&rival, false, NOW).unwrap_err().is_conflict());
    assert!(chain.submit(&rival, false, NOW).unwrap_err().is_conflict());
    assert_eq!(chain.take_events(), [Event::DoubleSpend { txid, raw: serialize(&tx).into() }]);
    assert!(chain.submit(&rival, false, NOW).unwrap_err().is_conflict());
    assert_eq!(chain.take_events(), []);
    assert_eq!(chain.dsproof_score(txid), Some(Score::Zero));
    if child.input.iter().any(|input| input.previous_output.txid == txid) {
        submit(&mut chain, &child);
        let (proof, path) = chain.dsproof(child.compute_txid()).unwrap();
        assert_eq!((proof.outpoint, path), (tx.input[0].previous_output, vec![child.compute_txid(), txid]));
    }
}

#[test]
fn hash_types_make_the_score() {
    let (mut chain, mut wallet) = funded();
    for (hash_type, score) in [(0x41, "1"), (0xc1, "0.25"), (0x42, "0.25"), (0x43, "0.25"), (0x61, "0")] {
        let options =
            PayOptions { sign: Sign::Schnorr { hash_type }, confirmed_only: true, ..PayOptions::default() };
        let tx = wallet.pay(&[payment(VALUE)], options).unwrap();
        let txid = submit(&mut chain, &tx);
        assert_eq!(chain.dsproof_score(txid).unwrap().as_str(), score, "{hash_type:x}");
    }
}

#[test]
fn other_scripts_are_trusted_but_must_be_known() {
    let (mut chain, mut wallet) = funded();
    let script = wallet.script(0).unwrap();
    let known = ScriptBuf::new_p2sh(&bitcoincash::ScriptHash::all_zeros());
    let outputs = [known, ScriptBuf::from_bytes(vec![0x51])].map(|script| Payment::new(script, VALUE));
    let tx = wallet.pay(&outputs, PayOptions::default()).unwrap();
    chain.mine_transactions(vec![tx.clone()], &script, NOW).unwrap();
    for (vout, expected) in [(0, None), (1, Some("64: bad-txns-nonstandard-inputs"))] {
        let mut spend = tx.clone();
        spend.input[0].previous_output = OutPoint { txid: tx.compute_txid(), vout };
        spend.input[0].script_sig = ScriptBuf::from_bytes(vec![0x51]);
        spend.output =
            vec![TxOut { value: Amount::from_sat(VALUE - 500), script_pubkey: script.clone(), token: None }];
        let verdict = chain.test_accept(&serialize(&spend), false, NOW);
        assert_eq!(verdict.as_ref().err().map(Reject::reason_for_test), expected);
    }
}

#[test]
fn bytes_of_a_real_node_verify() {
    // A token transfer and its parent, as BCHN 28.0.1 accepted and printed them: the signature commits to the token of
    // the coin.
    let txs: Vec<Transaction> = include_str!("samples/token_transfer.hex")
        .lines()
        .map(|line| deserialize(&::hex::decode(line).unwrap()).unwrap())
        .collect();
    let [spend, parent] = txs.as_slice() else { panic!("two transactions") };
    let mut spent: Vec<TxOut> = spend
        .input
        .iter()
        .map(|input| parent.output[usize::try_from(input.previous_output.vout).unwrap()].clone())
        .collect();
    assert_eq!(script::check(spend, &spent, true), Ok(()));
    assert_eq!(token::check(spend, &spent), Ok(()));
    spent[0].token = None;
    assert!(script::check(spend, &spent, true).is_err());
    assert!(token::check(spend, &spent).is_err());
}
