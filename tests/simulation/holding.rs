//! Payments outside a block: how safe they are, whom a double spend proof concerns, and what waits for that.

use anyhow::{Result, ensure};
use bitcoincash::{OutPoint, Transaction};
use jppd::{
    bch::ProofScore,
    invoice::{CreditState, DoubleSpend, InvoiceId, Merchant},
    ledger::{Action, EventKind},
    submit::Accepted,
};
use regtest::wallet::PayOptions;

use crate::town::{Town, address_of, nobody, txid};

fn score(town: &Town, id: InvoiceId) -> Result<Option<ProofScore>> {
    Ok(town.statement(id)?.credits[0].risk.score)
}

/// Somebody tries to spend the coins of a transaction again: the node refuses it, and makes a proof.
fn attack(town: &mut Town, tx: &Transaction) -> Result<()> {
    let rival = town.payer.double_spend(tx, PayOptions::default())?;
    ensure!(town.broadcast(&rival).is_err(), "the first one stays");
    Ok(())
}

/// A payment of what an invoice asks, straight to the node, which the daemon hears.
fn heard(town: &mut Town, (id, address): (InvoiceId, String)) -> Result<(InvoiceId, Transaction)> {
    let satoshis = town.statement(id)?.invoice.outputs[0].satoshis;
    let tx = town.sign(&address, satoshis)?;
    town.broadcast(&tx)?;
    town.hear()?;
    Ok((id, tx))
}

#[test]
fn a_payment_is_appraised_however_it_came() -> Result<()> {
    let mut town = Town::open()?;
    // By ZMQ at once.
    let invoice = town.fresh_invoice(10_000)?;
    let (heard_at_once, _) = heard(&mut town, invoice)?;
    ensure!(score(&town, heard_at_once)? == Some(ProofScore::FULL));
    // With ZMQ silent, in a pass.
    let (silent, address) = town.fresh_invoice(20_000)?;
    let tx = town.sign(&address, 20_000)?;
    town.broadcast(&tx)?;
    town.chain.take_events();
    town.pass()?;
    ensure!(score(&town, silent)? == Some(ProofScore::FULL));
    // Submitted: credited before ZMQ has a word.
    let (submitted, address) = town.fresh_invoice(30_000)?;
    let tx = town.sign(&address, 30_000)?;
    ensure!(town.pay(submitted, &tx)? == Ok(Accepted::Credited));
    ensure!(score(&town, submitted)?.is_none());
    town.hear()?;
    ensure!(score(&town, submitted)? == Some(ProofScore::FULL));
    Ok(())
}

#[test]
fn a_held_payment_counts_when_its_wait_is_over() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.careful_invoice(10_000, "1.0", 3)?;
    let tx = town.sign(&address, 10_000)?;
    ensure!(town.pay(id, &tx)? == Ok(Accepted::Credited), "held is a success");
    ensure!(town.status(id)? == "pending" && town.news(id)? == [EventKind::PaymentHeld]);
    // The same again is the same success.
    ensure!(town.pay(id, &tx)? == Ok(Accepted::Credited));
    town.hear()?;
    town.wait(3);
    town.apply(Action::Tick { judge_expiry: true, clock_wrong: false })?;
    ensure!(town.status(id)? == "pending", "time alone tells nothing");
    town.pass()?;
    ensure!(town.status(id)? == "paid");
    ensure!(town.news(id)? == [EventKind::PaymentHeld, EventKind::PaymentReceived]);
    Ok(())
}

#[test]
fn a_proof_is_told_by_zmq_or_by_the_next_pass() -> Result<()> {
    for silent in [false, true] {
        let mut town = Town::open()?;
        let invoice = town.fresh_invoice(10_000)?;
        let (id, tx) = heard(&mut town, invoice)?;
        attack(&mut town, &tx)?;
        if silent {
            town.chain.take_events();
            town.pass()?;
        } else {
            town.hear()?;
        }
        let warned = [EventKind::PaymentReceived, EventKind::DoubleSpendDetected];
        ensure!(town.news(id)? == warned, "silent: {silent}, {:?}", town.news(id)?);
        ensure!(town.statement(id)?.state.double_spend == DoubleSpend::Proof);
        ensure!(town.status(id)? == "paid", "a proof does not say who wins");
        town.pass()?;
        town.hear()?;
        ensure!(town.news(id)? == warned, "once");
    }
    Ok(())
}

#[test]
fn an_attack_on_a_parent_that_is_nobody_s_business_concerns_its_child() -> Result<()> {
    for silent in [false, true] {
        let mut town = Town::open()?;
        // The parent pays somebody else; nothing of it is on record here.
        let (_, parent) = town.pay_nobody(199, 10_000)?;
        let change = OutPoint { txid: txid(&parent), vout: 1 };
        let (id, child) = town.invoice_swept(&[change])?;
        town.broadcast(&child)?;
        town.hear()?;
        ensure!(town.status(id)? == "paid");
        attack(&mut town, &parent)?;
        if silent {
            town.chain.take_events();
            town.pass()?;
        } else {
            town.hear()?;
        }
        let warned = [EventKind::PaymentReceived, EventKind::DoubleSpendDetected];
        ensure!(town.news(id)? == warned, "silent: {silent}, {:?}", town.news(id)?);
    }
    Ok(())
}

#[test]
fn a_held_payment_with_a_proof_waits_for_its_block() -> Result<()> {
    let mut town = Town::open()?;
    let invoice = town.careful_invoice(10_000, "0", 3)?;
    let (id, tx) = heard(&mut town, invoice)?;
    attack(&mut town, &tx)?;
    town.hear()?;
    town.wait(60);
    town.pass()?;
    ensure!(town.status(id)? == "pending");
    ensure!(town.statement(id)?.credits[0].state == CreditState::Held);
    town.mine()?;
    town.pass()?;
    ensure!(town.status(id)? == "confirmed");
    Ok(())
}

#[test]
fn a_clock_that_is_set_back_makes_no_wait_longer() -> Result<()> {
    let mut town = Town::open()?;
    let invoice = town.careful_invoice(10_000, "1.0", 3)?;
    let (id, _) = heard(&mut town, invoice)?;
    town.wait(4);
    // Something goes on record, and with it the time.
    town.fresh_invoice(20_000)?;
    town.set_off(-30);
    town.pass()?;
    ensure!(town.status(id)? == "paid");
    Ok(())
}

/// The daemon is down while the proof is made, and the wait is long over when it comes back.
#[test]
fn a_wait_does_not_end_where_nobody_looked() -> Result<()> {
    let mut town = Town::open()?;
    let invoice = town.careful_invoice(10_000, "1.0", 3)?;
    let (id, tx) = heard(&mut town, invoice)?;
    ensure!(score(&town, id)? == Some(ProofScore::FULL));
    attack(&mut town, &tx)?;
    town.chain.take_events();
    town.wait(60);
    town.restart();
    town.apply(Action::Tick { judge_expiry: false, clock_wrong: false })?;
    ensure!(town.status(id)? == "pending");
    town.pass()?;
    ensure!(town.status(id)? == "pending");
    ensure!(town.news(id)? == [EventKind::PaymentHeld, EventKind::DoubleSpendDetected]);
    Ok(())
}

/// The proof for a stranger's transaction was looked at before its child pays an invoice.
#[test]
fn a_proof_is_looked_at_again_for_a_new_payment() -> Result<()> {
    let mut town = Town::open()?;
    let invoice = town.fresh_invoice(10_000)?;
    let (first, _) = heard(&mut town, invoice)?;
    let (_, parent) = town.pay_nobody(199, 10_000)?;
    attack(&mut town, &parent)?;
    town.hear()?;
    town.pass()?;
    ensure!(town.news(first)? == [EventKind::PaymentReceived]);
    let change = OutPoint { txid: txid(&parent), vout: 1 };
    let (id, child) = town.invoice_swept(&[change])?;
    town.broadcast(&child)?;
    town.hear()?;
    town.pass()?;
    ensure!(town.statement(id)?.state.double_spend == DoubleSpend::Proof);
    Ok(())
}

#[test]
fn a_better_score_is_asked_for_after_a_block() -> Result<()> {
    let mut town = Town::open()?;
    // The proof is for the parent, so the child's score is 0; the wait begins after it was told of.
    let (_, parent) = town.pay_nobody(199, 10_000)?;
    attack(&mut town, &parent)?;
    town.hear()?;
    let change = OutPoint { txid: txid(&parent), vout: 1 };
    let sweep = town.sweep(&[change])?;
    let output = sweep.output[0].clone();
    let id = town.careful_invoice_of(&output.script_pubkey, output.value.to_sat(), "1.0", 0)?;
    town.broadcast(&sweep)?;
    town.hear()?;
    ensure!(score(&town, id)? == ProofScore::from_thousandths(0) && town.status(id)? == "pending");
    town.mine_these(vec![parent])?;
    town.pass()?;
    ensure!(score(&town, id)? == Some(ProofScore::FULL) && town.status(id)? == "paid");
    Ok(())
}

/// Nobody knew which invoice it was for when the node was asked about it.
#[test]
fn what_a_merchant_assigns_is_asked_about() -> Result<()> {
    for attacked in [false, true] {
        let mut town = Town::open()?;
        let script = nobody(180);
        let id = town.invoice(&script, 10_000)?;
        town.invoice(&script, 20_000)?;
        let tx = town.sign(&address_of(&script)?, 15_000)?;
        town.broadcast(&tx)?;
        town.hear()?;
        if attacked {
            attack(&mut town, &tx)?;
        }
        town.hear()?;
        town.pass()?;
        ensure!(town.news(id)?.is_empty(), "{:?}", town.news(id)?);
        let outpoint = OutPoint { txid: txid(&tx), vout: 0 };
        let merchant = Merchant::named("shop");
        town.apply(Action::Assign { outpoint, invoice: id, merchant })?;
        ensure!(town.status(id)? == "paid" && score(&town, id)?.is_none());
        town.pass()?;
        let (danger, points) = if attacked { (DoubleSpend::Proof, 0) } else { (DoubleSpend::None, 1000) };
        ensure!(score(&town, id)? == ProofScore::from_thousandths(points), "attacked: {attacked}");
        ensure!(town.statement(id)?.state.double_spend == danger, "attacked: {attacked}");
    }
    Ok(())
}

/// The node holds up everything else while it computes a score, and dust is cheap.
#[test]
fn dust_is_not_appraised_before_it_settles_something() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let pay = |town: &mut Town, satoshis: u64| -> Result<()> {
        let tx = town.sign(&address, satoshis)?;
        town.broadcast(&tx)?;
        town.hear()?;
        town.pass()?;
        Ok(())
    };
    let appraised = |town: &Town| -> Result<Vec<bool>> {
        Ok(town.statement(id)?.credits.iter().map(|credit| credit.risk.score.is_some()).collect())
    };
    pay(&mut town, 600)?;
    pay(&mut town, 700)?;
    ensure!(appraised(&town)? == [false, false], "nobody asks what it is worth");
    pay(&mut town, 8_700)?;
    ensure!(town.status(id)? == "paid" && appraised(&town)? == [true, true, true], "they settle it together");
    pay(&mut town, 600)?;
    town.pass()?;
    ensure!(appraised(&town)? == [true, true, true, false], "and that is more than was asked");
    Ok(())
}

/// An invoice that asks for a score holds its parts back until it is there.
#[test]
fn a_part_that_is_held_for_its_score_is_appraised() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.careful_invoice(10_000, "1.0", 0)?;
    let tx = town.sign(&address, 600)?;
    town.broadcast(&tx)?;
    town.hear()?;
    town.pass()?;
    ensure!(score(&town, id)? == Some(ProofScore::FULL));
    ensure!(town.statement(id)?.credits[0].state == CreditState::Mempool);
    Ok(())
}
