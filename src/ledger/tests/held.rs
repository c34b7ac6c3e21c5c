//! Payments outside a block that must be safe enough before they count (lifecycle 6), and what proofs tell.

use std::time::Duration;

use super::{
    world::{draft, required, transaction},
    *,
};
use crate::{
    bch::ProofScore,
    invoice::{DoubleSpend, ZeroConf},
};

/// An invoice for 1000 satoshis that asks for this score, in thousandths, and so many seconds.
fn asking(world: &mut World, tag: u8, min_score: u32, secs: u64) -> crate::invoice::InvoiceId {
    let mut draft = draft(vec![required(tag, 1000, None)]);
    let min_score = ProofScore::from_thousandths(min_score).unwrap();
    draft.zero_conf = Some(ZeroConf { min_score, wait: Duration::from_secs(secs) });
    world.create_draft(tag, draft)
}

#[test]
fn held_until_the_score_is_there_and_the_time_has_passed() {
    for score_first in [true, false] {
        let mut world = World::new();
        let id = asking(&mut world, 1, 1000, 3);
        let tx = world.pay(&[(1, 1000)]);
        world.mempool(&tx);
        assert_eq!((world.status(id), world.news(id)), (Status::Pending, vec![PaymentHeld]));
        assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Held);
        assert_eq!(world.statement(id).standing().amount_paid, 0);
        if score_first {
            world.appraise(&tx, 1000);
            world.watch_after(2);
            assert_eq!(world.status(id), Status::Pending);
            world.watch_after(1);
        } else {
            world.watch_after(10);
            assert_eq!(world.status(id), Status::Pending);
            world.appraise(&tx, 1000);
            assert_eq!(world.status(id), Status::Pending, "who knows what happened since");
            world.watch_after(0);
        }
        assert_eq!((world.status(id), world.news(id)), (Status::Paid, vec![PaymentHeld, PaymentReceived]));
        assert_eq!(world.statement(id).standing().settlement.unwrap().paid_at, world.now);
        world.block(&[&tx]);
        assert_eq!(world.news(id), [PaymentHeld, PaymentReceived, PaymentConfirmed]);
    }
}

#[test]
fn asking_for_nothing_holds_nothing() {
    let mut world = World::new();
    let id = asking(&mut world, 1, 0, 0);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.news(id), [PaymentReceived]);
}

#[test]
fn a_low_score_waits_for_a_better_one_or_a_block() {
    let mut world = World::new();
    let ids = [1, 2].map(|tag| asking(&mut world, tag, 1000, 3));
    let txs = [world.pay(&[(1, 1000)]), world.pay(&[(2, 1000)])];
    for tx in &txs {
        world.mempool(tx);
        world.appraise(tx, 250);
    }
    world.watch_after(60);
    assert!(ids.iter().all(|id| world.status(*id) == Status::Pending));
    // An ancestor was mined.
    world.appraise(&txs[0], 1000);
    world.watch_after(0);
    assert_eq!(world.news(ids[0]), [PaymentHeld, PaymentReceived]);
    world.block(&[&txs[1]]);
    assert_eq!(world.news(ids[1]), [PaymentHeld, PaymentReceived, PaymentConfirmed]);
    assert_eq!(world.statement(ids[1]).standing().settlement.unwrap().via, Via::Mempool);
}

#[test]
fn a_proof_in_the_meantime_leaves_it_to_a_block() {
    let mut world = World::new();
    let id = asking(&mut world, 1, 0, 3);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    world.proven(&[&tx]);
    world.proven(&[&tx]);
    world.watch_after(60);
    world.appraise(&tx, 1000);
    assert_eq!((world.status(id), world.news(id)), (Status::Pending, vec![PaymentHeld, DoubleSpendDetected]));
    assert_eq!(world.statement(id).state.double_spend, DoubleSpend::Proof);
    world.block(&[&tx]);
    assert_eq!(world.status(id), Status::Confirmed);
}

#[test]
fn so_does_a_rival() {
    let mut world = World::new();
    let id = asking(&mut world, 1, 0, 3);
    let coin = world.coin();
    let tx = transaction(&[coin], &[(1, 1000, None)]);
    let thief = transaction(&[coin], &[(9, 900, None)]);
    world.mempool(&tx);
    world.seen(&thief);
    world.watch_after(60);
    assert_eq!((world.status(id), world.news(id)), (Status::Pending, vec![PaymentHeld, DoubleSpendDetected]));
    // Met after the thief it is in no less danger.
    let mut world = World::new();
    let ids = [asking(&mut world, 1, 0, 3), asking(&mut world, 9, 0, 3)];
    world.mempool(&thief);
    world.mempool(&tx);
    world.watch_after(60);
    assert!(ids.iter().all(|id| world.status(*id) == Status::Pending));
}

#[test]
fn while_it_is_held() {
    let mut world = World::new();
    let id = asking(&mut world, 1, 1000, 3);
    let tx = world.pay(&[(1, 1000)]);
    assert_eq!(world.claim(id, &tx), Claimed::Open);
    world.mempool(&tx);
    // The same again is the same success; another payer is told; it can't be withdrawn; it does not expire.
    assert_eq!(world.claim(id, &tx), Claimed::AlreadyCredited);
    let other = world.pay(&[(1, 1000)]);
    assert_eq!(world.claim(id, &other), Claimed::Refused(Refusal::Held));
    assert_eq!(world.cancel(id), Managed::Paid);
    world.watch_after(world::LIFE * 2);
    assert_eq!((world.status(id), world.news(id)), (Status::Pending, vec![PaymentHeld]));
    // What comes on top is credited all the same.
    world.mempool(&other);
    assert_eq!(world.credits(id), [(0, 1000), (0, 1000)]);
    world.lost(&other);
    // Lost, it waits no more.
    world.lost(&tx);
    world.tick();
    assert_eq!(world.status(id), Status::Expired);
    // Found again, it waits anew for what it asked, and was seen in time.
    world.mempool(&tx);
    assert_eq!(world.status(id), Status::Expired);
    world.appraise(&tx, 1000);
    world.watch_after(3);
    assert_eq!(world.status(id), Status::Paid);
    assert!(!world.statement(id).standing().settlement.unwrap().late);
}

#[test]
fn what_counted_is_not_held_again_by_a_reorg() {
    let mut world = World::new();
    let id = asking(&mut world, 1, 1000, 3);
    let tx = world.pay(&[(1, 1000)]);
    world.block(&[&tx]);
    assert_eq!(world.news(id), [PaymentReceived, PaymentConfirmed]);
    world.disconnect();
    assert_eq!(world.status(id), Status::Paid);
    world.lost(&tx);
    world.mempool(&tx);
    assert_eq!(world.status(id), Status::Pending, "what was lost waits anew");
    // The same for what ZMQ tells of first.
    world.lost(&tx);
    world.seen(&tx);
    world.mempool(&tx);
    assert_eq!(world.status(id), Status::Pending);
    world.appraise(&tx, 1000);
    world.watch_after(3);
    assert_eq!(world.status(id), Status::Paid);
}

#[test]
fn no_time_passes_while_nobody_watches() {
    let mut world = World::new();
    let id = asking(&mut world, 1, 1000, 3);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    world.appraise(&tx, 1000);
    // As after a restart, or while the node is away.
    world.tick_after(60);
    world.mempool(&tx);
    world.appraise(&tx, 1000);
    assert_eq!(world.status(id), Status::Pending);
    world.proven(&[&tx]);
    world.watch_after(0);
    assert_eq!((world.status(id), world.news(id)), (Status::Pending, vec![PaymentHeld, DoubleSpendDetected]));
}

#[test]
fn what_is_held_fills_its_place() {
    let mut world = World::new();
    let mut draft = draft(vec![required(1, 1000, None), required(1, 1000, None)]);
    let min_score = ProofScore::from_thousandths(1000).unwrap();
    draft.zero_conf = Some(ZeroConf { min_score, wait: Duration::from_secs(3) });
    let id = world.create_draft(1, draft);
    let txs = [world.pay(&[(1, 1000)]), world.pay(&[(1, 1000)])];
    for tx in &txs {
        world.mempool(tx);
        world.appraise(tx, 1000);
    }
    assert_eq!(world.credits(id), [(0, 1000), (1, 1000)]);
    world.watch_after(3);
    assert_eq!(world.status(id), Status::Paid);
}

#[test]
fn moved_to_an_invoice_that_asks_something_else() {
    let mut world = World::new();
    let careful = asking(&mut world, 1, 1000, 3);
    let easy = world.create(2, &[(2, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    world.assign(tx.outpoint(0), easy);
    assert_eq!((world.status(careful), world.status(easy)), (Status::Pending, Status::Paid));
    world.assign(tx.outpoint(0), careful);
    assert_eq!((world.status(careful), world.status(easy)), (Status::Pending, Status::Pending));
    assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Held);
    world.appraise(&tx, 1000);
    world.watch_after(5);
    assert_eq!(world.status(careful), Status::Paid);
}

#[test]
fn a_part_is_held_as_well() {
    let mut world = World::new();
    let id = asking(&mut world, 1, 0, 3);
    let txs = [world.pay(&[(1, 400)]), world.pay(&[(1, 600)])];
    world.mempool(&txs[0]);
    world.watch_after(3);
    assert_eq!(world.news(id), [PaymentHeld, PartialPayment]);
    world.mempool(&txs[1]);
    world.watch_after(3);
    assert_eq!(world.news(id), [PaymentHeld, PartialPayment, PaymentHeld, PaymentReceived]);
}

#[test]
fn a_proof_is_told_once_for_each_that_stands_and_falls_with_it() {
    let mut world = World::new();
    let ids = [1, 2].map(|tag| world.create(tag, &[(tag, 1000)]));
    let coin = world.coin();
    let parent = transaction(&[coin], &[(1, 1000, None), (9, 5, None)]);
    let child = transaction(&[parent.outpoint(1)], &[(2, 1000, None)]);
    world.mempool(&parent);
    world.mempool(&child);
    // The node names the parent, and the child as its descendant.
    world.proven(&[&parent]);
    world.proven(&[&parent, &child]);
    for id in ids {
        assert_eq!(world.news(id), [PaymentReceived, DoubleSpendDetected]);
        assert_eq!(world.status(id), Status::Paid, "a proof does not say who wins");
        assert_eq!(world.statement(id).state.double_spend, DoubleSpend::Proof);
    }
    // Unknown ones, and those in a block, are no news.
    let stranger = world.pay(&[(7, 1)]);
    world.proven(&[&stranger]);
    assert!(!world.changed);
    world.block(&[&parent]);
    let news = world.news(ids[0]);
    world.proven(&[&parent]);
    assert_eq!(world.news(ids[0]), news);
}

#[test]
fn a_score_is_kept_and_told_to_nobody() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    world.appraise(&tx, 250);
    assert_eq!(world.credit(&tx, 0).unwrap().risk.score, ProofScore::from_thousandths(250));
    world.appraise(&tx, 250);
    assert!(!world.changed);
    assert_eq!(world.news(id), [PaymentReceived]);
}

#[test]
fn what_is_held_and_lost_is_told() {
    let mut world = World::new();
    let id = asking(&mut world, 1, 0, 3);
    let coin = world.coin();
    let tx = transaction(&[coin], &[(1, 1000, None)]);
    world.mempool(&tx);
    world.proven(&[&tx]);
    world.block(&[&transaction(&[coin], &[(9, 900, None)])]);
    let news = [PaymentHeld, DoubleSpendDetected, DoubleSpendDetected, PaymentLost];
    assert_eq!((world.status(id), world.news(id)), (Status::Pending, news.to_vec()));
    assert_eq!(world.statement(id).state.double_spend, DoubleSpend::Conflict);
}

#[test]
fn what_comes_back_waits_from_the_beginning() {
    for heard in [true, false] {
        let mut world = World::new();
        let id = asking(&mut world, 1, 1000, 3);
        let tx = world.pay(&[(1, 1000)]);
        world.mempool(&tx);
        world.appraise(&tx, 1000);
        world.watch_after(3);
        world.lost(&tx);
        world.pass(60);
        if heard {
            world.seen(&tx);
            world.pass(1);
        }
        world.mempool(&tx);
        let credit = world.credit(&tx, 0).unwrap();
        assert_eq!((credit.risk.score, credit.held_since), (None, Some(world.reading().elapsed)));
        world.appraise(&tx, 1000);
        for _ in 0..3 {
            assert_eq!(world.status(id), Status::Pending, "it was not watched for long enough");
            world.watch_after(1);
        }
        assert_eq!(world.status(id), Status::Paid);
        let news = [PaymentHeld, PaymentReceived, PaymentReverted, PaymentHeld, PaymentReceived];
        assert_eq!(world.news(id), news);
    }
}

#[test]
fn what_a_merchant_assigns_is_in_the_danger_it_was_in() {
    let mut world = World::new();
    let [careful, easy] = [asking(&mut world, 1, 1000, 3), world.create(2, &[(2, 1000)])];
    // To a script that two ask for, and for another amount: nobody's, for now.
    world.create(3, &[(2, 5000)]);
    for proven in [true, false] {
        let coin = world.coin();
        let tx = transaction(&[coin], &[(2, 700, None), (1, 1000, None), (2, 300, None)]);
        world.mempool(&tx);
        assert_eq!(world.unassigned().len(), 2);
        world.appraise(&tx, 250);
        if proven {
            world.proven(&[&tx]);
        } else {
            world.seen(&transaction(&[coin], &[(9, 900, None)]));
        }
        let before = world.news(easy).len();
        world.assign(tx.outpoint(0), easy);
        assert_eq!(world.news(easy)[before..], [DoubleSpendDetected, PaymentMoved, PartialPayment]);
        world.assign(tx.outpoint(2), easy);
        assert_eq!(world.news(easy)[before + 3..], [PaymentMoved, PaymentReceived]);
        let risk = world.credit(&tx, 0).unwrap().risk;
        let danger = if proven { DoubleSpend::Proof } else { DoubleSpend::Conflict };
        assert_eq!((risk.score, risk.double_spend), (ProofScore::from_thousandths(250), danger));
        // And so is what moves from one to the other.
        world.assign(tx.outpoint(1), easy);
        assert_eq!(world.credit(&tx, 1).unwrap().risk, risk);
        world.assign(tx.outpoint(0), careful);
        assert_eq!(world.credit(&tx, 0).unwrap().risk, risk);
        world.lost(&tx);
    }
}

#[test]
fn what_is_submitted_waits_from_its_broadcast() {
    let mut world = World::new();
    let id = asking(&mut world, 1, 0, 3);
    let tx = world.pay(&[(1, 1000)]);
    assert_eq!(world.claim(id, &tx), Claimed::Open);
    // The node was away: nobody else knows of it yet.
    world.tick_after(60);
    world.mempool(&tx);
    world.watch_after(0);
    assert_eq!(world.status(id), Status::Pending);
    world.watch_after(3);
    assert_eq!(world.status(id), Status::Paid);
}
