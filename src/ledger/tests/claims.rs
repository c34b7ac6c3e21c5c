//! Submissions (lifecycle 4): claim, broadcast, credit.

use super::{
    world::{draft, required, transaction},
    *,
};
use crate::invoice::Phase;

#[test]
fn claim_broadcast_credit() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000), (7, 5)]);
    assert_eq!(world.claim_as(id, &tx, world.seen_now(), "thanks"), Claimed::Open);
    assert_eq!(world.statement(id).state.open_claims, 1);
    assert_eq!(world.view.transactions[&tx.txid()].raw, *tx.raw());
    // No answer: a repetition takes it up.
    assert_eq!(world.claim(id, &tx), Claimed::Open);
    assert_eq!(world.statement(id).state.open_claims, 1);
    world.mempool(&tx);
    assert_eq!(world.statement(id).state.open_claims, 0);
    assert_eq!(world.news(id), [PaymentReceived]);
    assert_eq!(world.statement(id).note.memo.as_deref(), Some("thanks"));
    // The same answer again, for ever.
    assert_eq!(world.claim(id, &tx), Claimed::AlreadyCredited);
    world.tick_after(world::LIFE * 2);
    world.block(&[&tx]);
    assert_eq!(world.claim(id, &tx), Claimed::AlreadyCredited);
    assert_eq!(world.news(id), [PaymentReceived, PaymentConfirmed]);
}

#[test]
fn a_refusal_releases() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.claim(id, &tx);
    world.release(id, &tx);
    assert_eq!(world.statement(id).state.open_claims, 0);
    // What nobody else knows is not kept, nor what was said with it: anybody can say as much as they like.
    assert!(world.view.transactions.is_empty() && world.view.spends.is_empty());
    assert!(world.view.claims.is_empty() && world.view.open_claims.is_empty());
    world.release(id, &tx);
    assert!(!world.changed);
    // It can be submitted again, and released again.
    assert_eq!(world.claim(id, &tx), Claimed::Open);
    world.release(id, &tx);
    // If it comes all the same it is a payment like any other, first seen then.
    world.tick_after(world::LIFE + 40);
    world.mempool(&tx);
    let credit = world.credit(&tx, 0).unwrap();
    assert_eq!((credit.via, credit.late), (Via::Mempool, true));
}

#[test]
fn a_release_keeps_what_others_hold() {
    let mut world = World::new();
    let ids = [world.create(1, &[(1, 1000)]), world.create(2, &[(2, 500)])];
    let tx = world.pay(&[(1, 1000), (2, 500)]);
    world.claim(ids[0], &tx);
    world.claim(ids[1], &tx);
    world.release(ids[0], &tx);
    assert!(world.view.transactions.contains_key(&tx.txid()));
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(ids[0]), Some(ids[1])]);
    assert_eq!(world.credit(&tx, 0).unwrap().via, Via::Mempool);
    assert_eq!(world.credit(&tx, 1).unwrap().via, Via::Jpp);
    // Seen in between, the node's refusal came too late.
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.claim(id, &tx);
    world.mempool(&tx);
    world.release(id, &tx);
    assert!(!world.changed);
    assert_eq!(world.status(id), Status::Paid);
}

#[test]
fn a_claim_is_given_up_after_two_weeks_and_stays_a_preference() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.claim(id, &tx);
    world.tick_after(336 * 3600 - 1);
    assert_eq!(world.statement(id).state.open_claims, 1);
    world.tick_after(1);
    assert_eq!(world.statement(id).state.open_claims, 0);
    // Another invoice asks for the same now; the transaction is still the first one's, and in time.
    let other = world.create(2, &[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(id)]);
    assert!(!world.credit(&tx, 0).unwrap().late);
    assert_eq!(world.status(id), Status::Paid);
    assert_eq!(world.news(other), []);
}

#[test]
fn what_is_claimed_comes_before_what_was() {
    for tags in [[1, 2], [2, 1]] {
        let mut world = World::new();
        let lasts = Rules::CLAIM * 2;
        let terms = || crate::invoice::Draft { lasts, ..draft(vec![required(1, 1000, None)]) };
        let ids = tags.map(|tag| world.create_draft(tag, terms()));
        let tx = world.pay(&[(1, 1000)]);
        assert_eq!(world.claim(ids[0], &tx), Claimed::Open);
        assert_eq!(world.claim(ids[1], &tx), Claimed::Refused(Refusal::CountedElsewhere));
        world.tick_after(336 * 3600);
        assert_eq!(world.claim(ids[1], &tx), Claimed::Open);
        world.mempool(&tx);
        assert_eq!(world.payees(&tx), [Some(ids[1])]);
    }
}

#[test]
fn a_claim_reserves_what_its_invoice_needs_and_nothing_more() {
    let mut world = World::new();
    let ids = [world.create(1, &[(1, 1000)]), world.create(2, &[(2, 500), (1, 1000)])];
    let tx = world.pay(&[(1, 1000), (2, 500), (1, 1000), (3, 3)]);
    assert_eq!(world.claim(ids[0], &tx), Claimed::Open);
    assert_eq!(world.claim(ids[1], &tx), Claimed::Open);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(ids[0]), Some(ids[1]), Some(ids[1]), None]);
    assert_eq!(world.claim(ids[0], &tx), Claimed::AlreadyCredited);
    assert_eq!(world.claim(ids[1], &tx), Claimed::AlreadyCredited);
}

#[test]
fn other_outputs_of_a_claim_go_by_the_rows() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let other = world.create(2, &[(2, 500)]);
    let tx = world.pay(&[(2, 500), (1, 1000), (1, 30)]);
    world.claim(id, &tx);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(other), Some(id), Some(id)]);
    assert_eq!(world.statement(id).standing().overpaid, 30);
}

#[test]
fn two_wallets_race() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let txs = [world.pay(&[(1, 1000)]), world.pay(&[(1, 1000)])];
    assert_eq!(world.claim(id, &txs[0]), Claimed::Open);
    assert_eq!(world.claim(id, &txs[1]), Claimed::Open);
    world.mempool(&txs[1]);
    assert_eq!(world.claim_as(id, &txs[1], world.seen_now(), ""), Claimed::AlreadyCredited);
    // A third is too late, and the first one's repetition takes up what it began.
    let third = world.pay(&[(1, 1000)]);
    assert_eq!(world.claim(id, &third), Claimed::Refused(Refusal::Paid));
    assert_eq!(world.claim(id, &txs[0]), Claimed::Open);
    world.mempool(&txs[0]);
    assert_eq!(world.news(id), [PaymentReceived, PaymentRecorded]);
    assert_eq!(world.statement(id).standing().overpaid, 1000);
}

#[test]
fn a_claim_ends_when_its_coin_is_spent_for_good() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let coin = world.coin();
    let tx = transaction(&[coin], &[(1, 1000, None)]);
    let thief = transaction(&[coin], &[(9, 1000, None)]);
    world.claim(id, &tx);
    // Heard of, that says nothing yet.
    world.mempool(&thief);
    assert_eq!(world.statement(id).state.open_claims, 1);
    world.block(&[&thief]);
    assert_eq!(world.statement(id).state.open_claims, 0);
    assert_eq!(world.news(id), []);
    assert!(matches!(world.cancel(id), Managed::Done(_)));
}

#[test]
fn a_claim_on_what_was_lost_ends_as_well() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let coin = world.coin();
    let tx = transaction(&[coin], &[(1, 1000, None)]);
    world.mempool(&tx);
    world.lost(&tx);
    assert_eq!(world.claim(id, &tx), Claimed::Open);
    let thief = transaction(&[coin], &[(9, 1000, None)]);
    world.block(&[&thief]);
    assert_eq!(world.statement(id).state.open_claims, 0);
}

#[test]
fn a_claim_does_not_end_because_its_parent_was_evicted() {
    let mut world = World::new();
    let ids = [world.create(1, &[(1, 1000)]), world.create(2, &[(2, 500)])];
    let parent = world.pay(&[(1, 1000)]);
    world.mempool(&parent);
    let child = transaction(&[parent.outpoint(0)], &[(2, 500, None)]);
    world.claim(ids[1], &child);
    world.lost(&parent);
    assert_eq!(world.statement(ids[1]).state.open_claims, 1);
    world.mempool(&parent);
    world.mempool(&child);
    assert_eq!(world.status(ids[1]), Status::Paid);
    assert_eq!(world.news(ids[0]), [PaymentReceived, PaymentReverted, PaymentReceived]);
}

#[test]
fn in_this_order() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000), (2, 500)]);
    let tx = world.pay(&[(1, 1000), (2, 500)]);
    assert_eq!(world.claim(invoice_id(99), &tx), Claimed::Refused(Refusal::NoSuchInvoice));
    let short = world.pay(&[(1, 1000), (2, 499)]);
    let Claimed::Refused(Refusal::Output { mismatch, required }) = world.claim(id, &short) else { panic!() };
    assert_eq!((mismatch.index, mismatch.found_satoshis, required.satoshis), (1, Some(499), 500));
    // Cancelled, then past its time, then paid: the first that fails answers, paid before expired before cancelled.
    world.cancel(id);
    assert_eq!(world.claim(id, &tx), Claimed::Refused(Refusal::Cancelled));
    assert_eq!(world.claim(id, &short), Claimed::Refused(Refusal::Cancelled));
    world.tick_after(world::LIFE + 31);
    assert_eq!(world.claim(id, &tx), Claimed::Refused(Refusal::Expired));
    world.mempool(&tx);
    assert_eq!(world.status(id), Status::Cancelled);
    assert_eq!(world.claim(id, &tx), Claimed::AlreadyCredited);
    let another = world.pay(&[(1, 1000), (2, 500)]);
    assert_eq!(world.claim(id, &another), Claimed::Refused(Refusal::Paid));
}

#[test]
fn grace_and_not_a_millisecond_more() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let txs = [world.pay(&[(1, 1000)]), world.pay(&[(1, 1000)])];
    world.tick_after(world::LIFE + 30);
    assert!(matches!(world.statement(id).state.phase, Phase::Expired { .. }));
    let in_time = world.view.clone();
    assert_eq!(world.claim(id, &txs[0]), Claimed::Open);
    // It is in time whenever it is seen.
    world.pass(3600);
    world.mempool(&txs[0]);
    assert_eq!(world.status(id), Status::Paid);
    assert!(!world.statement(id).standing().settlement.unwrap().late);
    assert_eq!(world.news(id), [InvoiceExpired, PaymentReceived]);

    world.view = in_time;
    world.now = world.statement(id).invoice.expires.after(std::time::Duration::from_millis(30_001));
    assert_eq!(world.claim(id, &txs[1]), Claimed::Refused(Refusal::Expired));
    // Observed, there is no grace.
    world.mempool(&txs[1]);
    assert!(world.statement(id).standing().settlement.unwrap().late);
}

#[test]
fn too_many_claims() {
    let mut world = World::with(Rules { most_open_claims: 2, ..Rules::default() });
    let id = world.create(1, &[(1, 1000)]);
    let txs: Vec<_> = (0..3).map(|_| world.pay(&[(1, 1000)])).collect();
    assert_eq!(world.claim(id, &txs[0]), Claimed::Open);
    assert_eq!(world.claim(id, &txs[1]), Claimed::Open);
    assert_eq!(world.claim(id, &txs[2]), Claimed::Refused(Refusal::TooManyClaims));
    assert_eq!(world.claim(id, &txs[0]), Claimed::Open);
    world.release(id, &txs[0]);
    assert_eq!(world.claim(id, &txs[2]), Claimed::Open);
}

#[test]
fn counted_for_another() {
    let mut world = World::new();
    let first = world.create(1, &[(1, 1000)]);
    let second = world.create(2, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    for see in [World::seen, World::mempool, World::lost] {
        see(&mut world, &tx);
        assert_eq!(world.claim(second, &tx), Claimed::Refused(Refusal::CountedElsewhere));
    }
    assert_eq!(world.payees(&tx), [Some(first)]);
}

#[test]
fn a_submission_says_what_was_left_unassigned() {
    let mut world = World::new();
    // Three invoices of which none can be told, for their amounts are the same and the script too.
    let ids = [world.create(1, &[(1, 1000)]), world.create(2, &[(1, 2000)])];
    let tx = world.pay(&[(1, 700), (2, 1)]);
    world.mempool(&tx);
    assert_eq!(world.unassigned().len(), 1);
    let both = world.create(3, &[(1, 700)]);
    assert_eq!(world.claim(both, &tx), Claimed::Refused(Refusal::Older));
    assert!(matches!(world.claim(ids[0], &tx), Claimed::Refused(Refusal::Output { .. })));
    // Archived invoices attract nothing by their amounts; a submission in the grace of a long invoice does.
    let mut world = World::new();
    let ids = [world.create(1, &[(1, 1000)]), world.create(2, &[(1, 1000)])];
    let tx = world.pay(&[(1, 1000), (1, 1000), (1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.unassigned(), [(tx.outpoint(2), 1000)]);
    assert_eq!(world.claim(ids[0], &tx), Claimed::AlreadyCredited);
}

#[test]
fn what_is_there_already_is_credited_by_the_claim() {
    // One transaction, paid to a script of two invoices and left unassigned, because both are paid by others.
    let mut world = World::new();
    let ids = [world.create(1, &[(1, 1000)]), world.create(2, &[(1, 1000)])];
    let others = [world.pay(&[(1, 1000)]), world.pay(&[(1, 1000)])];
    others.iter().for_each(|tx| world.mempool(tx));
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.unassigned(), [(tx.outpoint(0), 1000)]);
    assert_eq!(world.claim(ids[1], &tx), Claimed::Refused(Refusal::Paid));
    world.lost(&others[1]);
    assert_eq!(world.claim(ids[1], &tx), Claimed::AlreadyCredited);
    assert_eq!(world.unassigned(), []);
    assert_eq!(world.payees(&tx), [Some(ids[1])]);
    assert_eq!(world.news(ids[1]), [PaymentReceived, PaymentReverted, PaymentReceived]);
    assert_eq!(world.statement(ids[1]).state.open_claims, 0);
}
