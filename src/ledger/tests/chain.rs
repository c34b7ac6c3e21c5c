//! Blocks: confirmations, repetition, and the way back.

use super::{
    world::{block_hash, draft, required},
    *,
};
use crate::{bch::Transaction, invoice::InvoiceId};
use std::sync::Arc;

fn paid(world: &mut World, confirmations_required: u8) -> (InvoiceId, Arc<Transaction>) {
    let mut terms = draft(vec![required(1, 1000, None)]);
    terms.confirmations_required = confirmations_required;
    let id = world.create_draft(1, terms);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    (id, tx)
}

#[test]
fn an_event_for_each_block_up_to_what_was_asked() {
    for asked in [0u8, 1, 2, 3, 100] {
        let mut world = World::new();
        let (id, tx) = paid(&mut world, asked);
        world.blocks(2);
        assert_eq!(world.news(id).len(), if asked == 0 { 2 } else { 1 });
        world.block(&[&tx]);
        world.blocks(110);
        let mut expected = vec![PaymentReceived];
        expected.extend(vec![Confirmation; usize::from(asked.saturating_sub(1))]);
        expected.push(PaymentConfirmed);
        assert_eq!(world.news(id), expected, "{asked}");
        assert_eq!(world.statement(id).standing().settlement.unwrap().confirmations, 100);
        assert!(world.view.awaiting.is_empty());
    }
}

#[test]
fn the_least_of_the_settling_transactions_counts() {
    let mut world = World::new();
    let mut terms = draft(vec![required(1, 1000, None), required(2, 500, None)]);
    terms.confirmations_required = 2;
    let id = world.create_draft(1, terms);
    let txs = [world.pay(&[(1, 1000)]), world.pay(&[(2, 500)])];
    world.mempool(&txs[0]);
    world.block(&[&txs[0]]);
    world.mempool(&txs[1]);
    world.blocks(3);
    assert_eq!(world.news(id), [PartialPayment, PaymentReceived]);
    world.block(&[&txs[1]]);
    assert_eq!(world.news(id), [PartialPayment, PaymentReceived, Confirmation]);
    world.blocks(1);
    assert_eq!(world.status(id), Status::Confirmed);
}

#[test]
fn parts_and_their_end_can_be_repeated() {
    let mut world = World::new();
    let (id, tx) = paid(&mut world, 2);
    world.create(2, &[(2, 5)]);
    let stray = world.pay(&[(2, 9), (1, 3), (7, 7)]);
    let coinbase = world.coinbase(&[(1, 1)]);
    let hash = world.next_hash();
    world.part(hash, &[&coinbase, &tx]);
    world.part(hash, &[&stray]);
    let once = (world.states(), world.view.events.clone(), world.view.unassigned.clone());
    // We fell over in between, and begin again.
    world.part(hash, &[&coinbase, &tx]);
    world.part(hash, &[&stray]);
    assert_eq!((world.states(), world.view.events.clone(), world.view.unassigned.clone()), once);
    world.connect(hash);
    assert_eq!(world.news(id).last(), Some(&Confirmation));
    let events = world.view.events.len();
    let (height, _) = world.tip();
    world.input(Action::BlockConnected { hash, height });
    assert!(!world.changed);
    assert_eq!(world.view.events.len(), events);
}

#[test]
fn there_and_back_again() {
    let mut world = World::new();
    let (id, tx) = paid(&mut world, 1);
    let hash = world.block(&[&tx]);
    assert_eq!(world.news(id), [PaymentReceived, PaymentConfirmed]);
    world.disconnect();
    assert_eq!(world.news(id), [PaymentReceived, PaymentConfirmed, PaymentReverted]);
    assert_eq!(world.status(id), Status::Paid);
    assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Mempool);
    // Not the end of the chain: nothing.
    world.input(Action::BlockDisconnected { hash, height: 101 });
    assert!(!world.changed);
    world.block(&[&tx]);
    assert_eq!(world.news(id)[3..], [PaymentConfirmed]);
    // Before it returned to the mempool it was lost.
    world.disconnect();
    world.lost(&tx);
    assert_eq!(world.news(id)[4..], [PaymentReverted, PaymentReverted]);
    assert_eq!(world.status(id), Status::Pending);
}

#[test]
fn a_block_less_can_be_a_confirmation_too_few() {
    for asked in [2u8, 3, 100] {
        let mut world = World::new();
        let (id, tx) = paid(&mut world, asked);
        world.block(&[&tx]);
        world.blocks(u32::from(asked) - 1);
        assert_eq!(world.status(id), Status::Confirmed);
        world.disconnect();
        assert_eq!(world.news(id).last(), Some(&PaymentReverted));
        assert_eq!(world.statement(id).state.level, Level::Paid);
        world.blocks(1);
        assert_eq!(world.news(id).last(), Some(&PaymentConfirmed));
        // Deep enough, a block more or less is nothing.
        world.blocks(1);
        let events = world.events(id).len();
        world.disconnect();
        world.blocks(2);
        assert_eq!(world.events(id).len(), events);
    }
}

#[test]
fn what_was_begun_and_never_connected_does_not_count() {
    for restarted in [false, true] {
        let mut world = World::new();
        let (id, tx) = paid(&mut world, 1);
        let second = world.create(2, &[(2, 500)]);
        let stale = world.pay(&[(2, 500)]);
        // Half of a block; then the node turns to another one of that height, which does not have them.
        let hash = world.next_hash();
        world.part(hash, &[&tx, &stale]);
        assert_eq!(world.status(second), Status::Paid);
        if restarted {
            world.blocks(1);
        } else {
            let (height, _) = world.tip();
            world.input(Action::BlockDisconnected { hash, height: height + 1 });
            assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Mempool);
            world.blocks(1);
        }
        world.blocks(5);
        assert_eq!(world.status(id), Status::Paid);
        assert_eq!(world.status(second), Status::Paid);
        // A pass does not find the second one.
        world.lost(&stale);
        assert_eq!(world.status(second), Status::Pending);
        world.block(&[&tx]);
        assert_eq!(world.news(id), [PaymentReceived, PaymentConfirmed]);
    }
}

#[test]
fn what_was_begun_falls_with_what_it_stands_on() {
    let mut world = World::new();
    let (id, tx) = paid(&mut world, 1);
    world.blocks(1);
    let hash = world.next_hash();
    world.part(hash, &[&tx]);
    world.disconnect();
    assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Mempool);
    world.blocks(3);
    assert_eq!(world.status(id), Status::Paid);
}

#[test]
fn a_payment_after_its_first_block_is_told_with_the_next() {
    // First met in a block, and three confirmations asked: the block that brought it is the first.
    let mut world = World::new();
    let mut terms = draft(vec![required(1, 1000, None)]);
    terms.confirmations_required = 3;
    let id = world.create_draft(1, terms);
    let tx = world.pay(&[(1, 1000)]);
    let hash = world.next_hash();
    world.part(hash, &[&tx]);
    assert_eq!(world.news(id), [PaymentReceived]);
    assert_eq!(world.statement(id).standing().settlement.unwrap().confirmations, 0);
    world.connect(hash);
    assert_eq!(world.news(id), [PaymentReceived, Confirmation]);
    world.blocks(2);
    assert_eq!(world.news(id), [PaymentReceived, Confirmation, Confirmation, PaymentConfirmed]);
}

#[test]
fn the_anchor_is_set_once() {
    let mut world = World::new();
    world.input(Action::Anchor { height: 7, hash: block_hash(999), time_s: 1 });
    assert!(!world.changed);
    assert_eq!(world.tip(), (100, block_hash(0)));
}
