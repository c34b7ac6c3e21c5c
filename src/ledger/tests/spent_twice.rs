//! Lost, found again, and spent by another (lifecycle 2, 3.7, 5).

use super::{world::transaction, *};
use crate::invoice::DoubleSpend;

#[test]
fn lost_and_found_again() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    let paid_at = world.statement(id).standing().settlement.unwrap().paid_at;
    world.pass(60);
    world.lost(&tx);
    assert_eq!(world.status(id), Status::Pending);
    world.lost(&tx);
    assert!(!world.changed);
    world.mempool(&tx);
    assert_eq!(world.news(id), [PaymentReceived, PaymentReverted, PaymentReceived]);
    assert_eq!(world.credits(id), [(0, 1000)]);
    assert_eq!(world.statement(id).standing().settlement.unwrap().paid_at, paid_at);
    // What is in a block is not lost.
    world.block(&[&tx]);
    world.lost(&tx);
    assert!(!world.changed);
}

#[test]
fn lost_after_its_time() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    world.tick_after(world::LIFE * 2);
    assert_eq!(world.status(id), Status::Paid);
    world.lost(&tx);
    world.tick();
    assert_eq!(world.news(id), [PaymentReceived, PaymentReverted, InvoiceExpired]);
    // It was first seen in time.
    world.mempool(&tx);
    assert_eq!(world.status(id), Status::Paid);
    assert!(!world.statement(id).standing().settlement.unwrap().late);
    assert_eq!(world.news(id).last(), Some(&PaymentReceived));
}

#[test]
fn a_rival_is_told_at_once_and_once() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let coin = world.coin();
    let tx = transaction(&[coin], &[(1, 1000, None)]);
    world.mempool(&tx);
    // It pays nobody here.
    let thief = transaction(&[coin], &[(9, 990, None)]);
    world.seen(&thief);
    world.mempool(&thief);
    assert_eq!(world.news(id), [PaymentReceived, DoubleSpendDetected]);
    assert_eq!(world.last_event().unwrap().txid, Some(tx.txid()));
    assert_eq!(world.statement(id).state.double_spend, DoubleSpend::Conflict);
    assert_eq!(world.status(id), Status::Paid);
    world.block(&[&thief]);
    assert_eq!(world.news(id), [PaymentReceived, DoubleSpendDetected, PaymentReverted]);
    assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Lost);
}

#[test]
fn a_conflict_in_a_block_takes_descendants_along() {
    let mut world = World::new();
    let ids = [1, 2, 3].map(|tag| world.create(tag, &[(tag, 1000)]));
    let coin = world.coin();
    let parent = transaction(&[coin], &[(1, 1000, None), (9, 5, None)]);
    let child = transaction(&[parent.outpoint(1)], &[(2, 1000, None)]);
    let other = world.coin();
    let grandchild = transaction(&[other, child.outpoint(0)], &[(3, 1000, None)]);
    for tx in [&parent, &child, &grandchild] {
        world.mempool(tx);
    }
    let thief = transaction(&[coin], &[(9, 990, None)]);
    world.seen(&thief);
    for id in ids {
        assert_eq!(world.news(id), [PaymentReceived, DoubleSpendDetected]);
    }
    world.block(&[&thief]);
    for id in ids {
        assert_eq!(world.news(id), [PaymentReceived, DoubleSpendDetected, PaymentReverted]);
        assert_eq!(world.status(id), Status::Pending);
    }
    assert!(world.view.unconfirmed.is_empty());
    // The block goes, and with it what spoke against them.
    world.disconnect();
    for tx in [&parent, &child, &grandchild] {
        world.mempool(tx);
    }
    assert!(ids.iter().all(|id| world.status(*id) == Status::Paid));
}

#[test]
fn straight_into_a_block() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let coin = world.coin();
    let tx = transaction(&[coin], &[(1, 1000, None)]);
    world.mempool(&tx);
    let thief = transaction(&[coin], &[(9, 990, None)]);
    let hash = world.next_hash();
    world.part(hash, &[&thief]);
    assert_eq!(world.news(id), [PaymentReceived, DoubleSpendDetected, PaymentReverted]);
    world.part(hash, &[&thief]);
    assert_eq!(world.news(id).len(), 3);
}

#[test]
fn both_sides_of_a_double_spend_are_warned() {
    // A payer pays two shops with one coin.
    let mut world = World::new();
    let ids = [1, 2].map(|tag| world.create(tag, &[(tag, 1000)]));
    let coin = world.coin();
    let txs = [1, 2].map(|tag| transaction(&[coin], &[(tag, 1000, None)]));
    world.mempool(&txs[0]);
    world.seen(&txs[1]);
    world.mempool(&txs[1]);
    assert_eq!(world.news(ids[0]), [PaymentReceived, DoubleSpendDetected]);
    assert_eq!(world.news(ids[1]), [DoubleSpendDetected, PaymentReceived]);
    world.block(&[&txs[1]]);
    assert_eq!(world.status(ids[0]), Status::Pending);
    assert_eq!(world.status(ids[1]), Status::Confirmed);
}

#[test]
fn a_submission_that_nobody_saw_is_no_rival() {
    // Anybody can make up a transaction that spends a coin, and submit it without a signature.
    let mut world = World::new();
    let ids = [1, 2].map(|tag| world.create(tag, &[(tag, 1000)]));
    let coin = world.coin();
    let txs = [1, 2].map(|tag| transaction(&[coin], &[(tag, 1000, None)]));
    world.claim(ids[1], &txs[1]);
    world.mempool(&txs[0]);
    assert_eq!(world.news(ids[0]), [PaymentReceived]);
}

#[test]
fn what_does_not_settle_an_invoice_does_not_taint_it() {
    // A stranger sends something on top of a payment, and spends it again.
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    world.block(&[&tx]);
    let coin = world.coin();
    let stranger = transaction(&[coin], &[(1, 600, None)]);
    world.mempool(&stranger);
    let news = world.news(id);
    let again = transaction(&[coin], &[(9, 600, None)]);
    world.mempool(&again);
    assert_eq!(world.news(id), news);
    world.block(&[&again]);
    assert_eq!(world.news(id), [&news[..], &[PaymentLost]].concat());
    assert_eq!(world.statement(id).state.double_spend, DoubleSpend::None);
    assert_eq!(world.statement(id).standing().overpaid, 0);
}

#[test]
fn another_payment_is_another_matter() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    for round in 0..2 {
        let coin = world.coin();
        let tx = transaction(&[coin], &[(1, 1000, None)]);
        world.mempool(&tx);
        assert_eq!(world.statement(id).state.double_spend, DoubleSpend::None, "round {round}");
        let thief = transaction(&[coin], &[(9, 990, None)]);
        world.seen(&thief);
        assert_eq!(world.statement(id).state.double_spend, DoubleSpend::Conflict);
        world.block(&[&thief]);
    }
    let round = [PaymentReceived, DoubleSpendDetected, PaymentReverted];
    assert_eq!(world.news(id), [round, round].concat());
}

#[test]
fn both_parts_of_a_settlement_are_told() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let coins = [world.coin(), world.coin()];
    let txs = coins.map(|coin| transaction(&[coin], &[(1, 500, None)]));
    world.mempool(&txs[0]);
    world.seen(&transaction(&[coins[0]], &[(9, 400, None)]));
    world.mempool(&txs[1]);
    assert_eq!(world.statement(id).state.double_spend, DoubleSpend::Conflict);
    world.seen(&transaction(&[coins[1]], &[(9, 400, None)]));
    assert_eq!(world.news(id), [PartialPayment, DoubleSpendDetected, PaymentReceived, DoubleSpendDetected]);
}

#[test]
fn a_rival_is_told_although_a_proof_was() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let coin = world.coin();
    let tx = transaction(&[coin], &[(1, 1000, None)]);
    let thief = transaction(&[coin], &[(9, 990, None)]);
    world.mempool(&tx);
    world.proven(&[&tx]);
    assert_eq!(world.statement(id).state.double_spend, DoubleSpend::Proof);
    world.seen(&thief);
    assert_eq!(world.statement(id).state.double_spend, DoubleSpend::Conflict);
    assert_eq!(world.credit(&tx, 0).unwrap().risk.double_spend, DoubleSpend::Conflict);
    let told = [PaymentReceived, DoubleSpendDetected, DoubleSpendDetected];
    assert_eq!(world.news(id), told);
    // Neither is told again.
    world.proven(&[&tx]);
    world.seen(&thief);
    assert_eq!(world.news(id), told);
    assert_eq!(world.statement(id).state.double_spend, DoubleSpend::Conflict);
    world.block(&[&thief]);
    assert_eq!(world.news(id), [&told[..], &[PaymentReverted]].concat());
}

#[test]
fn a_child_is_in_the_danger_of_its_ancestors() {
    let mut world = World::new();
    let ids = [2, 3, 4].map(|tag| world.create(tag, &[(tag, 1000)]));
    let coin = world.coin();
    let parent = transaction(&[coin], &[(2, 1000, None), (9, 5, None), (9, 6, None)]);
    let child = transaction(&[parent.outpoint(1)], &[(3, 1000, None), (9, 4, None)]);
    let grandchild = transaction(&[child.outpoint(1)], &[(4, 1000, None)]);
    let thief = transaction(&[coin], &[(9, 990, None)]);
    world.mempool(&parent);
    world.seen(&thief);
    // They come when the danger is known already.
    world.mempool(&child);
    world.mempool(&grandchild);
    assert_eq!(world.news(ids[0]), [PaymentReceived, DoubleSpendDetected]);
    for id in [ids[1], ids[2]] {
        assert_eq!(world.news(id), [DoubleSpendDetected, PaymentReceived]);
        assert_eq!(world.statement(id).state.double_spend, DoubleSpend::Conflict);
    }
    // So it is with a proof; and a block is above all that spoke against what is in it.
    let mut world = World::new();
    let ids = [2, 3].map(|tag| world.create(tag, &[(tag, 1000)]));
    world.mempool(&parent);
    world.proven(&[&parent]);
    world.mempool(&child);
    assert_eq!(world.news(ids[1]), [DoubleSpendDetected, PaymentReceived]);
    world.block(&[&parent, &child]);
    let late = world.create(5, &[(5, 1000)]);
    let sister = transaction(&[parent.outpoint(2)], &[(5, 1000, None)]);
    world.mempool(&sister);
    assert_eq!(world.news(late), [PaymentReceived]);
}

#[test]
fn what_does_not_make_it_paid_is_told_when_it_is_lost() {
    // A part, what comes on top, and what a withdrawn invoice got.
    let mut world = World::new();
    let ids = [1, 2, 3].map(|tag| world.create(tag, &[(tag, 1000)]));
    let part = world.pay(&[(1, 400)]);
    let (whole, on_top) = (world.pay(&[(2, 1000)]), world.pay(&[(2, 1000)]));
    for tx in [&part, &whole, &on_top] {
        world.mempool(tx);
    }
    world.cancel(ids[2]);
    let stray = world.pay(&[(3, 700)]);
    world.mempool(&stray);
    for tx in [&part, &on_top, &stray] {
        world.lost(tx);
        assert_eq!(world.last_event().and_then(|event| event.txid), Some(tx.txid()));
        world.lost(tx);
    }
    assert_eq!(world.news(ids[0]), [PartialPayment, PaymentLost]);
    assert_eq!(world.news(ids[1]), [PaymentReceived, PaymentRecorded, PaymentLost]);
    assert_eq!(world.news(ids[2]), [InvoiceCancelled, PaymentRecorded, PaymentLost]);
    // What was only heard of was not told, so neither is its end.
    let heard = world.pay(&[(1, 400)]);
    world.seen(&heard);
    world.lost(&heard);
    assert_eq!(world.news(ids[0]), [PartialPayment, PaymentLost]);
    world.mempool(&part);
    assert_eq!(world.news(ids[0]), [PartialPayment, PaymentLost, PartialPayment]);
}

#[test]
fn a_coinbase_that_dies_with_its_block_is_told() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let coinbase = world.coinbase(&[(1, 400)]);
    world.block(&[&coinbase]);
    world.blocks(99);
    assert_eq!(world.news(id), [PartialPayment]);
    world.disconnect();
    assert_eq!(world.news(id), [PartialPayment, PaymentLost]);
    assert_eq!(world.last_event().and_then(|event| event.txid), Some(coinbase.txid()));
}

#[test]
fn of_what_nobody_can_tell_it_counts_as_it_did() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let coin = world.coin();
    let tx = transaction(&[coin], &[(1, 1000, None)]);
    world.mempool(&tx);
    world.missed(&tx);
    world.missed(&tx);
    assert!(world.view.unconfirmed.is_empty(), "it is not looked for");
    // Heard of again, it is where it was; so it is for whoever submits it.
    world.seen(&tx);
    assert_eq!((world.status(id), world.news(id)), (Status::Paid, vec![PaymentReceived]));
    assert_eq!(world.claim(id, &tx), Claimed::AlreadyCredited);
    for known in [true, false] {
        if known {
            world.block(&[&tx]);
            assert_eq!(world.status(id), Status::Confirmed);
            world.disconnect();
        } else {
            world.mempool(&tx);
        }
        assert!(world.view.unconfirmed.contains_key(&tx.txid()), "it is looked for again");
        world.missed(&tx);
    }
    // A rival in a block takes it away.
    world.block(&[&transaction(&[coin], &[(9, 990, None)])]);
    assert_eq!(world.status(id), Status::Pending);
    // What is in a block, or lost, is not missed.
    world.missed(&tx);
    assert_eq!(world.view.transactions[&tx.txid()].place, tables::Place::Lost);
}
