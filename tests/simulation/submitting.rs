//! Submissions while the chain moves between two of their steps.

use anyhow::{Result, ensure};
use bitcoincash::OutPoint;
use jppd::{
    ledger::{EventKind, Refusal},
    node::{NodeError, Reply, Request, SendOutcome},
    submit::{Accepted, InputFault, Step, SubmitError},
};

use crate::town::{Town, address_of, nobody, txid};

fn sends(step: &Step) -> bool {
    matches!(step, Step::Ask(Request::Send(_)))
}

/// A payment is mined before its broadcast, and its outputs are spent in the same block: the node then says of it what
/// it says of a double spend.
#[test]
fn a_claim_outlives_a_refusal_that_may_be_a_success() -> Result<()> {
    let mut town = Town::open()?;
    let coin = town.coins(1);
    let (id, tx) = town.invoice_swept(&coin)?;
    let payment = town.begin_payment(id, &tx)?;
    let payment = town.until(payment, sends)?;
    // The wallet broadcast it elsewhere too.
    town.payer.receive(&tx);
    let spender = town.sweep(&[OutPoint { txid: txid(&tx), vout: 0 }])?;
    town.mine_these(vec![tx.clone(), spender])?;

    ensure!(town.finish(payment)? == Err(SubmitError::NodeAway), "our walk has not come to that block");
    ensure!(town.statement(id)?.state.open_claims == 1, "the claim stays");
    town.pass()?;
    ensure!(town.status(id)? == "confirmed" && town.statement(id)?.state.open_claims == 0);
    ensure!(town.pay(id, &tx)? == Ok(Accepted::Credited), "and the repetition is told so");
    let news = town.news(id)?;
    ensure!(news == [EventKind::PaymentReceived, EventKind::PaymentConfirmed], "{news:?}");
    Ok(())
}

/// The same, but the walk passes the block before the node is asked.
#[test]
fn a_block_that_was_walked_meanwhile_is_the_answer() -> Result<()> {
    let mut town = Town::open()?;
    let coin = town.coins(1);
    let (id, tx) = town.invoice_swept(&coin)?;
    let payment = town.begin_payment(id, &tx)?;
    let payment = town.until(payment, sends)?;
    town.payer.receive(&tx);
    let spender = town.sweep(&[OutPoint { txid: txid(&tx), vout: 0 }])?;
    town.mine_these(vec![tx, spender])?;
    town.pass()?;
    ensure!(town.finish(payment)? == Ok(Accepted::Credited));
    ensure!(town.news(id)? == [EventKind::PaymentReceived, EventKind::PaymentConfirmed]);
    Ok(())
}

/// A rival takes the second of two coins, in a block, between the checks and the broadcast.
#[test]
fn a_coin_that_was_taken_is_named_and_the_claim_released() -> Result<()> {
    let mut town = Town::open()?;
    let coins = town.coins(2);
    let (id, tx) = town.invoice_swept(&coins)?;
    let payment = town.begin_payment(id, &tx)?;
    let payment = town.until(payment, sends)?;
    let taken = tx.input[1].previous_output;
    let rival = town.sweep(&[taken])?;
    town.mine_these(vec![rival])?;

    // As long as our walk has not come there, it could be the transaction itself that took it.
    ensure!(town.finish(payment)? == Err(SubmitError::NodeAway));
    town.pass()?;
    let again = town.pay(id, &tx)?;
    ensure!(again == Err(SubmitError::Inputs(InputFault::Missing(taken))), "{again:?}");
    ensure!(town.statement(id)?.state.open_claims == 0, "whoever comes next finds it free");
    Ok(())
}

/// The answer to a broadcast was lost, and the payer repeats it when the invoice has expired: it was in time.
#[test]
fn a_repetition_of_what_was_claimed_in_time_is_in_time() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    let payment = town.begin_payment(id, &tx)?;
    let payment = town.until(payment, sends)?;
    // Neither the call nor the answer came through.
    drop(payment);
    town.wait(3_600);
    town.pass()?;
    ensure!(town.pay(id, &tx)? == Ok(Accepted::Credited));
    ensure!(town.status(id)? == "paid");
    ensure!(!town.statement(id)?.credits[0].late, "claimed in time");

    // Whoever comes with another one is too late.
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    town.wait(3_600);
    ensure!(town.pay(id, &tx)? == Err(SubmitError::Refused(Refusal::Expired)));
    Ok(())
}

/// The broadcast never left this machine: nothing of it can be out there, and the claim keeps nobody waiting.
#[test]
fn what_was_never_sent_is_released() -> Result<()> {
    for error in [NodeError::Busy, NodeError::Unreachable] {
        let mut town = Town::open()?;
        let (id, address) = town.fresh_invoice(10_000)?;
        let tx = town.sign(&address, 10_000)?;
        let payment = town.begin_payment(id, &tx)?;
        let payment = town.until(payment, sends)?;
        ensure!(town.statement(id)?.state.open_claims == 1);
        ensure!(town.fail(payment, error)? == Err(SubmitError::NodeAway));
        ensure!(town.statement(id)?.state.open_claims == 0);
        ensure!(town.pay(id, &tx)? == Ok(Accepted::Credited), "the repetition begins anew");
    }
    Ok(())
}

/// A part of the payment came by itself: whoever submits it is not told that the invoice is paid.
#[test]
fn a_part_is_not_the_whole() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let part = town.sign(&address, 6_000)?;
    town.broadcast(&part)?;
    town.hear()?;
    ensure!(town.news(id)? == [EventKind::PartialPayment]);
    let answer = town.pay(id, &part)?;
    ensure!(matches!(answer, Err(SubmitError::Refused(Refusal::Output { .. }))), "{answer:?}");
    let rest = town.sign(&address, 4_000)?;
    town.broadcast(&rest)?;
    town.hear()?;
    ensure!(town.pay(id, &part)? == Ok(Accepted::Credited), "now it is");
    Ok(())
}

/// Somebody else broadcasts the payment between the checks and ours, and ours is refused for want of its coin.
#[test]
fn a_payment_that_entered_by_itself_is_credited() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    let payment = town.begin_payment(id, &tx)?;
    let payment = town.until(payment, sends)?;
    town.broadcast(&tx)?;
    ensure!(town.finish(payment)? == Ok(Accepted::Credited));
    ensure!(town.news(id)? == [EventKind::PaymentReceived]);
    town.hear()?;
    town.pass()?;
    ensure!(town.news(id)? == [EventKind::PaymentReceived], "once");
    Ok(())
}

/// What the node has had for longer than the invoice is there does not pay it, also when we learn of it only by asking.
#[test]
fn what_the_node_had_before_the_invoice_is_refused() -> Result<()> {
    let mut town = Town::open()?;
    let (script, tx) = town.pay_nobody(79, 10_000)?;
    town.wait(10);
    let id = town.invoice(&script, 10_000)?;
    town.restart();
    ensure!(town.pay(id, &tx)? == Err(SubmitError::Refused(Refusal::Older)));
    ensure!(town.news(id)?.is_empty());
    Ok(())
}

/// A payment that is credited while its inputs are being asked for is a success, not a missing input.
#[test]
fn a_credit_that_comes_first_is_the_answer() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    let payment = town.begin_payment(id, &tx)?;
    // Mined at once, met by the walk, and so not in the mempool when the node is asked.
    town.mine_these(vec![tx])?;
    town.pass()?;
    ensure!(town.finish(payment)? == Ok(Accepted::Credited));
    ensure!(town.news(id)? == [EventKind::PaymentReceived, EventKind::PaymentConfirmed]);
    Ok(())
}

/// A parent that arrives within the second that a submission waits for it.
#[test]
fn a_parent_gets_a_second_to_arrive() -> Result<()> {
    let mut town = Town::open()?;
    let (_, elsewhere) = town.fresh_invoice(5_000)?;
    let parent = town.sign(&elsewhere, 5_000)?;
    let (id, child) = town.invoice_swept(&[OutPoint { txid: txid(&parent), vout: 1 }])?;
    let payment = town.begin_payment(id, &child)?;
    let payment = town.until(payment, |step| matches!(step, Step::Pause(_)))?;
    town.broadcast(&parent)?;
    ensure!(town.finish(payment)? == Ok(Accepted::Credited));

    // And one that does not is named.
    let (_, elsewhere) = town.fresh_invoice(6_000)?;
    let parent = town.sign(&elsewhere, 6_000)?;
    let (id, child) = town.invoice_swept(&[OutPoint { txid: txid(&parent), vout: 1 }])?;
    let missing = OutPoint { txid: txid(&parent), vout: 1 };
    ensure!(town.pay(id, &child)? == Err(SubmitError::Inputs(InputFault::Missing(missing))));
    Ok(())
}

/// The node took it, and said so late: meanwhile it is gone, and a rival in a block.
#[test]
fn an_answer_that_is_older_than_the_loss_is_no_success() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    let payment = town.begin_payment(id, &tx)?;
    let payment = town.until(payment, sends)?;
    town.broadcast(&tx)?;
    town.hear()?;
    ensure!(town.status(id)? == "paid");
    town.chain.evict(tx.compute_txid());
    let rival = town.sweep(&[tx.input[0].previous_output])?;
    town.mine_these(vec![rival])?;
    town.pass()?;
    ensure!(town.status(id)? == "pending");
    let end = town.answer(payment, Ok(Reply::Sent(SendOutcome::Accepted)))?;
    ensure!(end == Err(SubmitError::NodeAway), "{end:?}");
    ensure!(town.status(id)? == "pending", "it does not count again");
    Ok(())
}

/// The wallet broadcasts and hands over at once, and ZMQ says nothing: nobody noted it, and no clock is asked.
#[test]
fn a_transaction_that_nobody_noted_is_observed_before_it_is_judged() -> Result<()> {
    for off in [0, -5, 120, -120, 400 * 24 * 3600] {
        let mut town = Town::open()?;
        town.set_off(off);
        let (id, address) = town.fresh_invoice(10_000)?;
        let tx = town.sign(&address, 10_000)?;
        town.broadcast(&tx)?;
        let payment = town.begin_payment(id, &tx)?;
        let payment = town.until(payment, |step| matches!(step, Step::Apply(_)))?;
        ensure!(town.finish(payment)? == Ok(Accepted::Credited), "{off}");
        ensure!(town.news(id)? == [EventKind::PaymentReceived], "{off}: {:?}", town.news(id)?);
    }
    Ok(())
}

/// A stranger sees the transaction of another payer first, and has an invoice for the same.
#[test]
fn nobody_claims_what_another_payer_broadcast() -> Result<()> {
    for covered in [true, false] {
        let mut town = Town::open()?;
        let script = nobody(190);
        let (paid, stolen) = (town.invoice(&script, 10_000)?, town.invoice(&script, 10_000)?);
        let tx = town.sign(&address_of(&script)?, 10_000)?;
        town.broadcast(&tx)?;
        town.covered = covered;
        ensure!(town.pay(stolen, &tx)? == Err(SubmitError::Refused(Refusal::CountedElsewhere)), "{covered}");
        ensure!(town.status(paid)? == "paid" && town.status(stolen)? == "pending", "{covered}");
    }
    Ok(())
}

/// The transaction may have been in the mempool for long: a complete pass over the mempool first tells whether it is
/// older than the invoice.
#[test]
fn without_a_pass_of_late_one_is_waited_for() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    town.broadcast(&tx)?;
    town.covered = false;
    let payment = town.begin_payment(id, &tx)?;
    let payment = town.until(payment, |step| matches!(step, Step::AwaitPass))?;
    ensure!(town.finish(payment)? == Ok(Accepted::Credited));

    let mut town = Town::open()?;
    let (script, older) = town.pay_nobody(191, 10_000)?;
    town.covered = false;
    town.pass()?;
    let id = town.invoice(&script, 10_000)?;
    ensure!(town.pay(id, &older)? == Err(SubmitError::Refused(Refusal::Older)));
    Ok(())
}
