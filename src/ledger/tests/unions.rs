//! Submissions of several transactions (lifecycle 4): checked as one, claimed in one write.

use std::sync::Arc;

use super::{
    world::{transaction, *},
    *,
};
use crate::{
    bch::Transaction,
    invoice::{InvoiceId, PayerNote, Via},
};

/// The part of a claim that one transaction has.
fn part(world: &World, id: InvoiceId, tx: &Arc<Transaction>) -> Vec<(u32, u16)> {
    world.view.claims[&(tx.txid(), id)].assignment.clone()
}

#[test]
fn each_pays_its_part() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000), (2, 500), (1, 1000)]);
    let first = world.pay(&[(7, 5), (1, 1000)]);
    let parent = world.pay(&[(8, 600)]);
    let second = transaction(&[parent.outpoint(0)], &[(1, 1000, None), (2, 500, None)]);
    for alone in [&first, &second, &parent] {
        assert!(matches!(world.claim(id, alone), Claimed::Refused(Refusal::Output { .. })));
    }
    let all = [&first, &second, &parent];
    assert_eq!(world.claim_all(id, &all), Claimed::Open);
    assert_eq!(part(&world, id, &first), [(1, 0)]);
    assert_eq!(part(&world, id, &second), [(1, 1), (0, 2)]);
    assert_eq!(part(&world, id, &parent), []);
    assert_eq!(world.statement(id).state.open_claims, 3);
    assert!(all.iter().all(|tx| world.view.transactions[&tx.txid()].place == tables::Place::Claimed));

    // They come one after the other; until the last one has come a repetition takes up the rest.
    for tx in [&parent, &first, &second] {
        assert_eq!(world.claim_all(id, &all), Claimed::Open);
        assert!(!world.changed);
        world.mempool(tx);
    }
    assert_eq!(world.claim_all(id, &all), Claimed::AlreadyCredited);
    assert_eq!(world.claim_all(id, &[&second, &first]), Claimed::AlreadyCredited);
    assert_eq!(world.news(id), [PartialPayment, PaymentReceived]);
    assert_eq!(world.credits(id), [(0, 1000), (2, 1000), (1, 500)]);
    assert_eq!(world.statement(id).state.open_claims, 0);
}

#[test]
fn what_the_node_took_stays_and_the_rest_is_released() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000), (2, 500)]);
    let (first, second) = (world.pay(&[(1, 1000)]), world.pay(&[(2, 500)]));
    let child = transaction(&[second.outpoint(0)], &[(9, 400, None)]);
    assert_eq!(world.claim_all(id, &[&first, &second, &child]), Claimed::Open);
    world.mempool(&first);
    world.release_all(id, &[&second, &child]);
    assert_eq!((world.status(id), world.statement(id).state.open_claims), (Status::Pending, 0));
    assert_eq!(world.view.transactions.len(), 1, "what nobody else knows is not kept");
    let kept = world.view.claims[&(first.txid(), id)].clone();

    // The same again, or another one for what is missing: what is credited is not claimed a second time.
    let before = world.view.clone();
    assert_eq!(world.claim_all(id, &[&first, &second, &child]), Claimed::Open);
    assert_eq!((world.statement(id).state.open_claims, &world.view.claims[&(first.txid(), id)]), (2, &kept));
    world.mempool(&second);
    assert_eq!(world.status(id), Status::Paid);
    world.view = before;
    let other = world.pay(&[(2, 500)]);
    assert!(matches!(world.claim(id, &other), Claimed::Refused(Refusal::Output { .. })));
    assert_eq!(world.claim_all(id, &[&other, &first]), Claimed::Open);
    world.mempool(&other);
    assert_eq!(world.news(id), [PartialPayment, PaymentReceived]);
}

#[test]
fn a_refused_companion_does_not_make_a_payment_undone() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000), (7, 5)]);
    let companion = transaction(&[tx.outpoint(1)], &[(9, 1, None)]);
    assert_eq!(world.claim_all(id, &[&tx, &companion]), Claimed::Open);
    world.mempool(&tx);
    world.release(id, &companion);
    assert_eq!(world.claim_all(id, &[&companion, &tx]), Claimed::AlreadyCredited);
    assert!(!world.changed);
}

#[test]
fn a_part_that_came_by_itself_does_not_stand_for_the_whole() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let (most, rest) = (world.pay(&[(1, 600)]), world.pay(&[(1, 400)]));
    world.mempool(&most);
    // Nobody was told that a part is the whole, and nobody is.
    assert!(matches!(world.claim(id, &most), Claimed::Refused(Refusal::Output { .. })));
    assert!(matches!(world.claim_all(id, &[&most, &rest]), Claimed::Refused(Refusal::Output { .. })));
    world.mempool(&rest);
    assert_eq!(world.status(id), Status::Paid);
    assert_eq!(world.claim_all(id, &[&most, &rest]), Claimed::AlreadyCredited);
}

/// A transaction that brings nothing, once it was claimed with one that pays, does not stand for the payment.
#[test]
fn what_pays_nothing_is_not_taken_up_alone() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let payer = world.pay(&[(1, 1000), (7, 5)]);
    let child = transaction(&[payer.outpoint(1)], &[(9, 1, None)]);
    assert_eq!(world.claim_all(id, &[&payer, &child]), Claimed::Open);
    assert!(matches!(world.claim(id, &child), Claimed::Refused(Refusal::Output { .. })));
    assert_eq!(world.claim(id, &payer), Claimed::Open, "the payer alone is the whole");
}

#[test]
fn strangers_are_not_taken_along() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let parent = world.pay(&[(7, 2000)]);
    let payer = transaction(&[parent.outpoint(0)], &[(1, 1000, None), (8, 900, None)]);
    let child = transaction(&[payer.outpoint(1)], &[(9, 1, None)]);
    let stranger = world.pay(&[(9, 5)]);
    let refused = Claimed::Refused(Refusal::Stranger(stranger.txid()));
    assert_eq!(world.claim_all(id, &[&parent, &stranger, &payer, &child]), refused);
    // Another child of the parent is no kin of the payer.
    let sibling = transaction(&[parent.outpoint(1)], &[(9, 1, None)]);
    assert_eq!(
        world.claim_all(id, &[&parent, &payer, &sibling]),
        Claimed::Refused(Refusal::Stranger(sibling.txid()))
    );
    assert_eq!(world.claim_all(id, &[&child, &payer, &parent]), Claimed::Open);
}

/// Half of a payment was taken, and of the other half the answer was lost: the repetition is in time whenever it comes.
#[test]
fn the_rest_of_a_payment_is_taken_up_after_the_end() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000), (2, 500)]);
    let (first, second) = (world.pay(&[(1, 1000)]), world.pay(&[(2, 500)]));
    assert_eq!(world.claim_all(id, &[&first, &second]), Claimed::Open);
    world.mempool(&first);
    world.tick_after(LIFE + 40);
    assert_eq!(world.claim_all(id, &[&first, &second]), Claimed::Open);
    world.mempool(&second);
    assert_eq!(world.status(id), Status::Paid);
    assert!(!world.statement(id).credits.iter().any(|credit| credit.late));
}

/// Who submits what the network has already says nothing of refunds.
#[test]
fn the_note_of_a_latecomer_is_not_kept() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    let note = PayerNote { memo: Some("mine".to_owned()), refund_to: Vec::new() };
    let submitted = Submitted { transaction: tx.clone(), first_seen: world.seen_now(), is_public: true };
    let request = ClaimRequest { invoice: id, transactions: vec![submitted], note, via: Via::Bip70 };
    assert_eq!(world.input(Action::Claim(Box::new(request))), Outcome::Claimed(Claimed::Open));
    world.mempool(&tx);
    assert_eq!(world.statement(id).note, PayerNote::default());
}

#[test]
fn what_is_not_credited_goes_where_no_credit_is() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000), (1, 1000)]);
    let (first, second) = (world.pay(&[(1, 1000)]), world.pay(&[(1, 1000)]));
    world.mempool(&first);
    assert_eq!(world.credits(id), [(0, 1000)]);
    assert_eq!(world.claim_all(id, &[&second, &first]), Claimed::Open);
    assert_eq!(part(&world, id, &second), [(0, 1)]);
    world.mempool(&second);
    assert_eq!(world.status(id), Status::Paid);
}

#[test]
fn the_last_submission_says_what_is_for_what() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000), (1, 1000)]);
    let txs: Vec<_> = (0..3).map(|_| world.pay(&[(1, 1000)])).collect();
    assert_eq!(world.claim_all(id, &[&txs[0], &txs[1]]), Claimed::Open);
    assert_eq!(world.claim_all(id, &[&txs[2], &txs[0]]), Claimed::Open);
    assert_eq!((part(&world, id, &txs[2]), part(&world, id, &txs[0])), (vec![(0, 0)], vec![(0, 1)]));
    assert_eq!(world.statement(id).state.open_claims, 3);
    world.mempool(&txs[2]);
    world.mempool(&txs[0]);
    assert_eq!(world.status(id), Status::Paid);
}

#[test]
fn what_is_there_is_credited_and_the_rest_is_to_be_sent() {
    let mut world = World::new();
    // A payment that came for nobody, for its invoice was paid then, and is not any more.
    let id = world.create(1, &[(1, 1000), (2, 500)]);
    let other = world.create(2, &[(1, 1000)]);
    let settling = world.pay(&[(1, 1000), (2, 500)]);
    let elsewhere = world.pay(&[(1, 1000)]);
    world.mempool(&settling);
    world.mempool(&elsewhere);
    assert_eq!((world.status(id), world.status(other)), (Status::Paid, Status::Paid));
    let stray = world.pay(&[(1, 1000)]);
    world.mempool(&stray);
    assert_eq!(world.unassigned(), [(stray.outpoint(0), 1000)]);
    world.lost(&settling);
    let rest = world.pay(&[(2, 500)]);
    assert_eq!(world.claim_all(id, &[&rest, &stray]), Claimed::Open);
    assert_eq!(world.payees(&stray), [Some(id)]);
    assert_eq!((world.unassigned(), world.statement(id).state.open_claims), (vec![], 1));
    world.mempool(&rest);
    assert_eq!(world.status(id), Status::Paid);
}

#[test]
fn one_that_cannot_pay_refuses_all() {
    let mut world = World::new();
    let early = world.pay(&[(9, 1)]);
    let early_seen = world.seen_now();
    let id = world.create(1, &[(1, 1000), (2, 500)]);
    let twin = world.create(2, &[(2, 500)]);
    let (first, second) = (world.pay(&[(1, 1000)]), world.pay(&[(2, 500)]));
    let seen = world.seen_now();
    let submitted = |tx: &Arc<Transaction>, first_seen| Submitted {
        transaction: tx.clone(),
        first_seen,
        is_public: false,
    };
    let judged = |world: &World, submitted: &[Submitted]| {
        judge(&world.view, &world.rules, id, submitted, &world.reading()).unwrap()
    };
    let all = [submitted(&first, seen), submitted(&second, seen), submitted(&early, early_seen)];
    assert_eq!(judged(&world, &all), Judgement::Refused(Refusal::Older));
    assert_eq!(judged(&world, &all[..2]), Judgement::Fits(vec![first.outpoint(0), second.outpoint(0)]));

    // Reserved for another invoice, then counted for it.
    assert_eq!(world.claim(twin, &second), Claimed::Open);
    let elsewhere = Claimed::Refused(Refusal::CountedElsewhere);
    assert_eq!(world.claim_all(id, &[&first, &second]), elsewhere);
    world.mempool(&second);
    assert_eq!(world.claim_all(id, &[&first, &second]), elsewhere);
    assert_eq!(world.statement(id).state.open_claims, 0);
}

#[test]
fn the_bound_on_claims_is_asked_once_for_a_submission() {
    let mut world = World::with(Rules { most_open_claims: 1, ..Rules::default() });
    let id = world.create(1, &[(1, 1000), (2, 500)]);
    let (first, second) = (world.pay(&[(1, 1000)]), world.pay(&[(2, 500)]));
    let whole = world.pay(&[(1, 1000), (2, 500)]);
    assert_eq!(world.claim_all(id, &[&first, &second]), Claimed::Open);
    assert_eq!(world.statement(id).state.open_claims, 2);
    let refused = Claimed::Refused(Refusal::TooManyClaims);
    assert_eq!(world.claim(id, &whole), refused);
    // Those of others are counted, its own are not.
    world.release(id, &second);
    assert_eq!(world.claim(id, &whole), refused);
    let other = world.pay(&[(2, 500)]);
    assert_eq!(world.claim_all(id, &[&first, &other]), Claimed::Open);
    assert_eq!(world.claim_all(id, &[&first, &second]), refused);
}

#[test]
fn a_coin_spent_for_good_ends_the_claims_that_hang_on_it() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000), (2, 500)]);
    let coin = world.coin();
    let parent = transaction(&[coin], &[(1, 1000, None), (9, 600, None)]);
    let child = transaction(&[parent.outpoint(1)], &[(2, 500, None)]);
    assert_eq!(world.claim_all(id, &[&parent, &child]), Claimed::Open);
    let thief = transaction(&[coin], &[(9, 1000, None)]);
    world.block(&[&thief]);
    assert_eq!(world.statement(id).state.open_claims, 0);
    assert!(matches!(world.cancel(id), Managed::Done(_)));
}
