//! What the follower makes of a node that restarts, reorganises, falls behind.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use bitcoincash::OutPoint;
use jppd::{
    follow::{FollowError, Missing, PassEnd, Step},
    invoice::{CreditState, Merchant},
    ledger::{
        self, Action, EventKind, Reads,
        tables::{Chain, UnassignedReason},
    },
    node::{Request, UnspentCoin},
};

use crate::town::{Town, address_of, txid};

/// As often as absence is not judged in one pass alone.
const SEVERAL: u32 = 4;

#[test]
fn the_first_walk_begins_as_deep_as_the_node_reorganises() -> Result<()> {
    let town = Town::open()?;
    let (_, tip) = town.chain.tip();
    let walked = Reads::<Chain>::range(&town.view, 0..=u32::MAX, usize::MAX)?;
    let heights: Vec<u32> = walked.iter().map(|(height, _)| *height).collect();
    ensure!(heights == (tip - 10..=tip).collect::<Vec<_>>(), "{heights:?}");
    Ok(())
}

#[test]
fn a_parent_is_sent_again_before_its_child() -> Result<()> {
    let mut town = Town::open()?;
    // Passes go by the order of ids, so the child's must come first to try anything.
    let (first, child_first, parent, child) = loop {
        let (first, address) = town.fresh_invoice(10_000)?;
        let parent = town.sign(&address, 10_000)?;
        let change = OutPoint { txid: txid(&parent), vout: 1 };
        let child = town.sweep(&[change])?;
        let script = child.output[0].script_pubkey.clone();
        let second = town.invoice(&script, child.output[0].value.to_sat())?;
        if txid(&child) < txid(&parent) {
            break (first, second, parent, child);
        }
    };
    town.broadcast(&parent)?;
    town.broadcast(&child)?;
    town.hear()?;
    ensure!(town.status(first)? == "paid" && town.status(child_first)? == "paid");

    // The node crashes, and its mempool with it.
    town.chain.clear_mempool();
    for _ in 0..SEVERAL {
        town.pass()?;
    }
    ensure!(town.chain.mempool() == [txid(&parent), txid(&child)], "both are there again");
    for id in [first, child_first] {
        ensure!(town.news(id)? == [EventKind::PaymentReceived], "nothing was lost: {:?}", town.news(id)?);
    }
    Ok(())
}

#[test]
fn blocks_that_the_node_deleted_are_not_skipped_before_somebody_says_so() -> Result<()> {
    let mut town = Town::open()?;
    let (_, tip) = town.chain.tip();
    ensure!(town.gap(false)? == Missing::default(), "nothing is missing");
    // Met in the mempool; mined while nobody looked. One that nobody met, one in a block that is kept.
    let (met, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    town.broadcast(&tx)?;
    town.hear()?;
    let (missed, address) = town.fresh_invoice(20_000)?;
    let unknown = town.sign(&address, 20_000)?;
    let (kept, address) = town.fresh_invoice(30_000)?;
    let late = town.sign(&address, 30_000)?;
    town.mine()?;
    town.mine_these(vec![unknown.clone()])?;
    town.mine()?;
    town.mine_these(vec![late])?;
    town.kept = tip + 4;
    town.restart();

    let missing = FollowError::Pruned { from: tip + 1, to: tip + 3 };
    for _ in 0..2 {
        let error = town.pass().unwrap_err();
        ensure!(error.downcast_ref() == Some(&missing), "{error:?}");
    }
    let found = town.gap(false)?;
    ensure!(found.heights == Some((tip + 1, tip + 3)), "{found:?}");
    let ids = |coins: &[UnspentCoin]| coins.iter().map(|coin| coin.outpoint.txid).collect::<Vec<_>>();
    ensure!(ids(&found.known) == [txid(&tx)] && ids(&found.unknown) == [txid(&unknown)], "{found:?}");
    ensure!(town.pass().is_err() && town.status(met)? == "paid", "to ask changes nothing");

    ensure!(town.gap(true)? == found);
    ensure!(town.status(met)? == "confirmed", "{:?}", town.news(met)?);
    town.pass()?;
    ensure!(town.status(kept)? == "confirmed" && town.status(missed)? == "pending");
    ensure!(town.gap(false)? == Missing::default());
    Ok(())
}

/// Of payments that were met before, each comes to what the node can still tell of it.
#[test]
fn what_was_met_before_a_gap_is_found_in_it_or_left_as_it_is() -> Result<()> {
    let mut town = Town::open()?;
    let (_, tip) = town.chain.tip();
    // The payer spends what these invoices got, so they ask for its own scripts.
    let own = town.own_script()?;
    // The output that pays is spent on, and the change is left.
    let change_left = town.invoice(&own, 10_000)?;
    let paying = town.sign(&address_of(&own)?, 10_000)?;
    ensure!(paying.output.len() == 2, "a payment with change");
    // Dropped by the node, and never mined; and one that spends it.
    let (dropped, address) = town.fresh_invoice(20_000)?;
    let evicted = town.sign(&address, 20_000)?;
    let (after_dropped, child) = town.invoice_swept(&[OutPoint::new(txid(&evicted), 1)])?;
    let coins = town.coins(3);
    let [first, second, third] = coins[..] else { bail!("three coins") };
    // All of it is spent on.
    let (spent_on, whole) = town.invoice_swept(&[first])?;
    // Another transaction spent the same, and all of that is spent on: it looks the same.
    let (stolen, victim) = town.invoice_swept(&[second])?;
    // Held back, mined, and all of it spent on.
    let held = town.sweep(&[third])?;
    let output = held.output[0].clone();
    let held_and_spent = town.careful_invoice_of(&output.script_pubkey, output.value.to_sat(), "1", 3)?;
    for tx in [&paying, &whole, &evicted, &child, &victim, &held] {
        town.broadcast(tx)?;
        town.hear()?;
    }
    town.chain.evict(txid(&evicted));
    town.chain.evict(txid(&victim));
    let thief = town.sweep(&[second])?;
    town.mine_these(vec![paying.clone(), whole.clone(), held.clone(), thief.clone()])?;
    let vout = paying.output.iter().position(|output| output.script_pubkey == own).context("its output")?;
    let mut spends = vec![town.sweep(&[OutPoint::new(txid(&paying), u32::try_from(vout)?)])?];
    for tx in [&whole, &held, &thief] {
        spends.push(town.sweep(&[OutPoint::new(txid(tx), 0)])?);
    }
    town.mine_these(spends)?;
    town.mine_these(Vec::new())?;
    town.kept = tip + 3;
    town.restart();

    let found = town.gap(false)?;
    ensure!(found.heights == Some((tip + 1, tip + 2)), "{found:?}");
    let known: Vec<_> = found.known.iter().map(|coin| (coin.outpoint.txid, coin.height)).collect();
    ensure!(known == [(txid(&paying), tip + 1)] && found.unknown.is_empty(), "{found:?}");
    let undecided = |found: &Missing| found.undecided.iter().copied().collect::<BTreeSet<_>>();
    ensure!(undecided(&found) == BTreeSet::from([txid(&whole), txid(&victim)]), "{found:?}");
    ensure!(town.gap(true)? == found);
    ensure!(town.status(change_left)? == "confirmed", "{:?}", town.news(change_left)?);
    for _ in 0..SEVERAL {
        town.pass()?;
    }
    ensure!(town.chain.mempool() == [txid(&evicted), txid(&child)], "sent again");
    for id in [spent_on, dropped, after_dropped, stolen] {
        ensure!(town.news(id)? == [EventKind::PaymentReceived], "{:?}", town.news(id)?);
    }
    // What did not count yet is given up.
    ensure!(town.news(held_and_spent)? == [EventKind::PaymentHeld, EventKind::PaymentLost]);
    Ok(())
}

/// The node turned to another branch while nobody looked, and deleted its blocks: ours are taken off before it is walked.
#[test]
fn what_the_node_turned_away_from_is_taken_off_before_a_gap_is_walked() -> Result<()> {
    let mut town = Town::open()?;
    let (_, fork) = town.chain.tip();
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    town.broadcast(&tx)?;
    town.mine()?;
    town.pass()?;
    ensure!(town.status(id)? == "confirmed");
    town.take_back()?;
    for _ in 0..3 {
        town.mine_these(Vec::new())?;
    }
    town.kept = fork + 3;
    town.restart();
    let found = town.gap(true)?;
    ensure!(found.heights == Some((fork + 1, fork + 2)), "{found:?}");
    ensure!(town.status(id)? == "paid", "its block is on no chain");
    town.pass()?;
    ensure!(town.status(id)? == "paid");
    Ok(())
}

#[test]
fn what_is_not_sent_again_is_lost_after_five_passes() -> Result<()> {
    let mut town = Town::open()?;
    town.rebroadcast = false;
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    town.broadcast(&tx)?;
    town.hear()?;
    town.chain.evict(txid(&tx));
    for _ in 0..4 {
        town.pass()?;
        ensure!(town.status(id)? == "paid");
    }
    town.pass()?;
    ensure!(town.status(id)? == "pending" && town.chain.mempool().is_empty(), "and it was sent to nobody");
    Ok(())
}

#[test]
fn what_is_gone_for_good_is_lost_after_two_passes_and_a_refusal() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    town.broadcast(&tx)?;
    town.hear()?;
    // A rival takes its coin, and nobody says a word of it.
    town.chain.evict(txid(&tx));
    let rival = town.payer.double_spend(&tx, regtest::wallet::PayOptions::default())?;
    town.broadcast(&rival)?;
    town.chain.take_events();
    let warned = [EventKind::PaymentReceived, EventKind::DoubleSpendDetected];
    town.pass()?;
    ensure!(town.status(id)? == "paid" && town.news(id)? == warned, "the first pass meets the rival");
    town.pass()?;
    ensure!(town.status(id)? == "pending", "the second one is the node's last word");
    ensure!(town.statement(id)?.credits[0].state == CreditState::Lost);
    let news = town.news(id)?;
    ensure!(news[..2] == warned && news[2..] == [EventKind::PaymentReverted], "{news:?}");
    Ok(())
}

#[test]
fn a_node_that_is_not_up_to_date_makes_nobody_lose() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    town.broadcast(&tx)?;
    town.hear()?;
    // It downloads the chain: what it has not is not gone.
    town.chain.clear_mempool();
    for _ in 0..SEVERAL {
        ensure!(town.pass_beside(false)? == PassEnd::Complete);
    }
    ensure!(town.status(id)? == "paid" && town.chain.mempool().is_empty(), "not judged, and not sent");
    for _ in 0..SEVERAL {
        town.pass()?;
    }
    ensure!(town.chain.mempool() == [txid(&tx)] && town.news(id)? == [EventKind::PaymentReceived]);
    Ok(())
}

#[test]
fn a_chain_that_became_shorter_is_waited_for() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    town.broadcast(&tx)?;
    town.mine()?;
    town.pass()?;
    ensure!(town.status(id)? == "confirmed");
    // A crash took the last block from the node, and its mempool.
    town.take_back()?;
    town.chain.clear_mempool();
    for _ in 0..SEVERAL {
        town.pass()?;
        ensure!(town.memory.is_behind(), "it is not believed");
    }
    ensure!(town.status(id)? == "paid", "not confirmed any more, and not lost");
    ensure!(town.chain.mempool().is_empty(), "nor sent into a chain that is not whole");
    // It finds its way again.
    town.mine_these(vec![tx])?;
    town.pass()?;
    ensure!(!town.memory.is_behind() && town.status(id)? == "confirmed");
    let news = town.news(id)?;
    let wanted = [
        EventKind::PaymentReceived,
        EventKind::PaymentConfirmed,
        EventKind::PaymentReverted,
        EventKind::PaymentConfirmed,
    ];
    ensure!(news == wanted, "{news:?}");
    Ok(())
}

/// A transaction is mined, an invoice for the same output is made after it, and a reorg brings the transaction into
/// the mempool again.
fn a_transaction_grows_old(restarted: bool) -> Result<()> {
    let mut town = Town::open()?;
    let (script, tx) = town.pay_nobody(77, 10_000)?;
    town.mine()?;
    town.chain.take_events();
    town.pass()?;
    let id = town.invoice(&script, 10_000)?;
    if restarted {
        town.restart();
        town.pass()?;
    }
    town.take_back()?;
    ensure!(town.chain.mempool() == [txid(&tx)]);
    town.hear()?;
    town.pass()?;
    ensure!(town.status(id)? == "pending", "it is older than the invoice");
    town.mine()?;
    town.hear()?;
    town.pass()?;
    ensure!(town.status(id)? == "pending" && town.news(id)?.is_empty());
    Ok(())
}

#[test]
fn a_reorg_does_not_make_a_transaction_young() -> Result<()> {
    a_transaction_grows_old(false)
}

#[test]
fn nor_does_a_restart_before_the_reorg() -> Result<()> {
    a_transaction_grows_old(true)
}

#[test]
fn what_a_node_publishes_again_at_its_start_is_not_new() -> Result<()> {
    let mut town = Town::open()?;
    let (script, _) = town.pay_nobody(78, 10_000)?;
    town.wait(10);
    let id = town.invoice(&script, 10_000)?;
    // Both programs begin again; the node's old mempool is published once more, before our first pass.
    town.restart();
    town.hear()?;
    ensure!(town.status(id)? == "pending", "nothing is believed before the first pass");
    town.pass()?;
    ensure!(town.status(id)? == "pending", "the node's word for its age decides");
    Ok(())
}

/// The transaction is older than the invoice, and the invoice older than the block; the program ends between the block
/// and the reorg.
#[test]
fn a_block_that_was_walked_before_a_restart_makes_nothing_young() -> Result<()> {
    let mut town = Town::open()?;
    let (script, tx) = town.pay_nobody(79, 10_000)?;
    town.hear()?;
    let id = town.invoice(&script, 10_000)?;
    town.mine()?;
    town.chain.take_events();
    town.pass()?;
    ensure!(town.status(id)? == "pending", "it was there before");
    town.restart();
    town.pass()?;
    town.take_back()?;
    ensure!(town.chain.mempool() == [txid(&tx)]);
    town.hear()?;
    town.mine()?;
    town.pass()?;
    ensure!(town.status(id)? == "pending" && town.news(id)?.is_empty(), "and still was");
    Ok(())
}

/// A write of the pass before had failed, and turns out to be on disk while this one walks on from where it thinks our
/// chain ends.
#[test]
fn a_block_is_not_connected_to_one_that_was_taken_off() -> Result<()> {
    let mut town = Town::open()?;
    let (id, address) = town.fresh_invoice(10_000)?;
    let tx = town.sign(&address, 10_000)?;
    town.broadcast(&tx)?;
    let hash = town.mine()?;
    let (_, height) = town.chain.tip();
    town.pass()?;
    ensure!(town.status(id)? == "confirmed");
    town.mine()?;
    let asks_block = |step: &Step<PassEnd>| matches!(step, Step::Ask(Request::Block(_)));
    let end = town.pass_disturbed(asks_block, Action::BlockDisconnected { hash, height })?;
    ensure!(end == Err(FollowError::Moved), "{end:?}");
    town.pass()?;
    ensure!(town.status(id)? == "confirmed", "its block is there again");
    let walked = Reads::<Chain>::range(&town.view, height - 2..=u32::MAX, usize::MAX)?;
    let heights: Vec<u32> = walked.iter().map(|(height, _)| *height).collect();
    ensure!(heights == (height - 2..=height + 1).collect::<Vec<_>>(), "{heights:?}");
    Ok(())
}

/// The node gave a block of a miner whose clock is ahead, the disk is slow, and while the first part waits to be written
/// an invoice is registered for what a transaction of the block pays, which no message and no snapshot had shown.
#[test]
fn an_invoice_is_younger_than_a_block_that_waits_to_be_written() -> Result<()> {
    let mut town = Town::open()?;
    let (paid, _) = town.pay_nobody(77, 10_000)?;
    town.chain.take_events();
    town.mine_ahead(60)?;
    let (late, creation) = town.creation(&[(paid, 10_000)], None)?;
    let applies_part = |step: &Step<PassEnd>| {
        let Step::Apply(input) = step else { return false };
        matches!(**input, Action::BlockPart { .. })
    };
    town.pass_disturbed(applies_part, creation)?.map_err(anyhow::Error::from)?;
    ensure!(town.status(late)? == "pending", "{}", town.status(late)?);
    Ok(())
}

/// The program was stopped while a payment came, and the node's clock was set back meanwhile. Its own clock is right, or
/// wrong in any way.
#[test]
fn a_payment_of_the_time_we_were_down_is_judged_by_the_clock_of_the_node() -> Result<()> {
    for off in [0, 7_200, -7_200, 400 * 24 * 3600] {
        for (back, paid, unassigned) in [(2, true, 0), (100, false, 1), (3600, false, 0)] {
            let mut town = Town::open()?;
            let (id, address) = town.fresh_invoice(10_000)?;
            let tx = town.sign(&address, 10_000)?;
            town.restart();
            town.wait(1);
            town.broadcast_dated(&tx, -back)?;
            town.set_off(off);
            town.pass()?;
            ensure!((town.status(id)? == "paid") == paid, "{off} {back}: {}", town.status(id)?);
            let owner = Merchant::named("shop");
            let found = ledger::unassigned_of(&town.view, &owner, 0, 9)?;
            ensure!(found.len() == unassigned, "{off} {back}: {found:?}");
            let doubted =
                found.iter().all(|(_, payment)| payment.reason == Some(UnassignedReason::MayBeOlder));
            ensure!(doubted, "{off} {back}: {found:?}");
            // Its block says nothing else.
            town.mine()?;
            town.pass()?;
            ensure!((town.status(id)? == "confirmed") == paid, "{off} {back}: {}", town.status(id)?);
        }
    }
    Ok(())
}

/// A payment that is held does not count earlier because the wall clock was set, nor later.
#[test]
fn a_wait_is_as_long_as_was_asked_whatever_the_wall_clock_shows() -> Result<()> {
    for (first, then) in [(0, 3600), (0, -3600), (3600, 0), (-3600, 0), (0, 400 * 24 * 3600)] {
        let mut town = Town::open()?;
        town.set_off(first);
        let (id, address) = town.careful_invoice(10_000, "1.0", 30)?;
        let tx = town.sign(&address, 10_000)?;
        town.broadcast(&tx)?;
        town.hear()?;
        town.set_off(then);
        town.wait(25);
        town.pass()?;
        ensure!(town.status(id)? == "pending", "{first} {then}");
        town.wait(5);
        town.pass()?;
        ensure!(town.status(id)? == "paid", "{first} {then}");
    }
    Ok(())
}
