//! What a merchant does: cancel, assign, move.

use super::{
    world::{draft, required, transaction},
    *,
};
use crate::invoice::Merchant;

fn done(managed: Managed) -> Status {
    match managed {
        Managed::Done(statement) => statement.standing().status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn cancelled_and_nothing_else() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    assert_eq!(done(world.cancel(id)), Status::Cancelled);
    assert_eq!(done(world.cancel(id)), Status::Cancelled);
    assert!(!world.changed);
    assert_eq!(world.news(id), [InvoiceCancelled]);
    // It does not expire any more.
    world.tick_after(world::LIFE * 2);
    assert_eq!(world.news(id), [InvoiceCancelled]);
    assert_eq!(world.cancel(invoice_id(9)), Managed::Unknown);
    for merchant in [Merchant::named("other"), Merchant::anyone()] {
        let answer = world.input(Action::Cancel { invoice: id, merchant });
        assert_eq!(answer, Outcome::Managed(Managed::Unknown));
    }
}

#[test]
fn not_while_a_claim_is_open_or_a_credit_lives() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.claim(id, &tx);
    assert_eq!(world.cancel(id), Managed::ClaimOpen);
    world.release(id, &tx);
    let part = world.pay(&[(1, 10)]);
    world.mempool(&part);
    assert_eq!(world.cancel(id), Managed::Paid);
    world.mempool(&tx);
    assert_eq!(world.cancel(id), Managed::Paid);
    world.lost(&tx);
    assert_eq!(world.cancel(id), Managed::Paid);
    world.lost(&part);
    assert_eq!(done(world.cancel(id)), Status::Cancelled);
}

#[test]
fn a_payment_of_a_cancelled_invoice_is_recorded_and_late() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    world.cancel(id);
    let txs = [world.pay(&[(1, 400)]), world.pay(&[(1, 600)])];
    world.mempool(&txs[0]);
    world.mempool(&txs[1]);
    world.block(&[&txs[0], &txs[1]]);
    assert_eq!(world.news(id), [InvoiceCancelled, PaymentRecorded, PaymentRecorded]);
    let standing = world.statement(id).standing();
    assert_eq!((standing.status, standing.amount_paid), (Status::Cancelled, 1000));
    assert!(standing.settlement.unwrap().late);
    // Even if it was first seen before: it did not count then.
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.seen(&tx);
    assert_eq!(done(world.cancel(id)), Status::Cancelled);
    world.mempool(&tx);
    assert!(world.statement(id).standing().settlement.unwrap().late);
    assert_eq!(world.status(id), Status::Cancelled);
}

#[test]
fn an_unassigned_payment_finds_its_invoice() {
    let mut world = World::new();
    let ids = [world.create(1, &[(1, 1000)]), world.create(2, &[(1, 700), (2, 5), (2, 900)])];
    let tx = world.pay(&[(1, 900)]);
    world.mempool(&tx);
    let outpoint = tx.outpoint(0);
    assert_eq!(world.unassigned(), [(outpoint, 900)]);
    let other = Action::Assign { outpoint, invoice: ids[0], merchant: Merchant::named("other") };
    assert_eq!(world.input(other), Outcome::Managed(Managed::Unknown));
    assert_eq!(world.assign(tx.outpoint(1), ids[0]), Managed::Unknown);
    assert_eq!(world.assign(outpoint, invoice_id(9)), Managed::Unknown);
    // To the required output that it is exactly.
    assert_eq!(done(world.assign(outpoint, ids[1])), Status::Pending);
    assert_eq!(world.credits(ids[1]), [(2, 900)]);
    assert_eq!(world.unassigned(), []);
    assert_eq!(world.news(ids[1]), [PaymentMoved, PartialPayment]);
    world.block(&[&tx]);
    assert_eq!(world.news(ids[1]), [PaymentMoved, PartialPayment]);
}

#[test]
fn an_assigned_payment_can_complete() {
    let mut world = World::new();
    let ids = [world.create(1, &[(1, 1000), (2, 500)]), world.create(2, &[(1, 2000)])];
    let first = world.pay(&[(1, 1000)]);
    world.mempool(&first);
    let stray = world.pay(&[(1, 777)]);
    world.mempool(&stray);
    // The first output is satisfied, so it goes to the second.
    assert_eq!(done(world.assign(stray.outpoint(0), ids[0])), Status::Paid);
    assert_eq!(world.news(ids[0]), [PartialPayment, PaymentMoved, PaymentReceived]);
}

#[test]
fn a_credit_moves_by_its_merchant_alone() {
    let mut world = World::new();
    let [from, to] = [1, 2].map(|tag| world.create(tag, &[(tag, 1000)]));
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(done(world.assign(tx.outpoint(0), from)), Status::Paid);
    assert!(!world.changed);
    assert_eq!(done(world.assign(tx.outpoint(0), to)), Status::Paid);
    assert_eq!(world.news(from), [PaymentReceived, PaymentMoved, PaymentReverted]);
    assert_eq!(world.news(to), [PaymentMoved, PaymentReceived]);
    assert_eq!(world.status(from), Status::Pending);
    // It stays there, whatever is seen, and is claimed by nobody else.
    assert_eq!(world.claim(from, &tx), Claimed::Refused(Refusal::CountedElsewhere));
    world.block(&[&tx]);
    assert_eq!(world.payees(&tx), [Some(to)]);
    assert_eq!(world.status(to), Status::Confirmed);
    // And back.
    assert_eq!(done(world.assign(tx.outpoint(0), from)), Status::Confirmed);
    assert_eq!(world.news(to).last(), Some(&PaymentReverted));
}

#[test]
fn nothing_like_it() {
    let mut world = World::new();
    let plain = world.create(1, &[(1, 1000)]);
    let with_token = world.create_draft(2, draft(vec![required(2, 1000, token(4, 5))]));
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.assign(tx.outpoint(0), with_token), Managed::NothingLikeIt);
    let tokens = transaction(&[world.coin()], &[(1, 1000, token(4, 5))]);
    world.mempool(&tokens);
    assert_eq!(world.assign(tokens.outpoint(0), plain), Managed::NothingLikeIt);
    assert_eq!(done(world.assign(tokens.outpoint(0), with_token)), Status::Paid);
}

#[test]
fn a_lost_payment_can_be_moved_and_comes_back_there() {
    let mut world = World::new();
    let [from, to] = [1, 2].map(|tag| world.create(tag, &[(tag, 1000)]));
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    world.lost(&tx);
    assert_eq!(done(world.assign(tx.outpoint(0), to)), Status::Pending);
    world.mempool(&tx);
    assert_eq!(world.status(to), Status::Paid);
    assert_eq!(world.news(from), [PaymentReceived, PaymentReverted, PaymentMoved]);
    assert_eq!(world.news(to), [PaymentMoved, PaymentReceived]);
}

#[test]
fn what_was_not_told_of_a_cancelled_invoice_is_not_taken_back() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    world.cancel(id);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    world.block(&[&tx]);
    world.disconnect();
    assert_eq!(world.news(id), [InvoiceCancelled, PaymentRecorded], "nobody heard that it was confirmed");
    world.lost(&tx);
    assert_eq!(world.news(id), [InvoiceCancelled, PaymentRecorded, PaymentReverted]);
}
