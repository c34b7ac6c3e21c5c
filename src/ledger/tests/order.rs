//! Registration comes first, and seen is not in the mempool (lifecycle 3.1, 3.2).

use super::*;
use crate::invoice::{FirstSeen, NodeTime, Order, Sighting, Timestamp};

fn at(world: &World, sighting: Sighting) -> FirstSeen {
    let now = world.reading();
    FirstSeen { sighting, at: now.elapsed, shown: now.wall }
}

#[test]
fn what_was_seen_before_an_invoice_does_not_pay_it() {
    let mut world = World::new();
    let tx = world.pay(&[(1, 1000)]);
    let before = world.seen_now();
    let id = world.create(1, &[(1, 1000)]);
    world.observe_as(&tx, before, Observation::Mempool);
    assert!(!world.changed);
    assert_eq!(world.claim_as(id, &tx, before, ""), Claimed::Refused(Refusal::Older));
    // Not in a block either, for it was seen before.
    let hash = world.next_hash();
    world.part_as(hash, vec![(tx.clone(), Some(before))]);
    world.connect(hash);
    assert_eq!(world.credits(id), []);
    assert_eq!(world.unassigned(), []);
    // Right after the registration is after it.
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.status(id), Status::Paid);
}

#[test]
fn an_older_transaction_pays_the_older_invoice() {
    let mut world = World::new();
    let older = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    let between = world.seen_now();
    let younger = world.create(2, &[(1, 1000)]);
    world.cancel(older);
    world.observe_as(&tx, between, Observation::Mempool);
    assert_eq!(world.payees(&tx), [Some(older)]);
    assert_eq!(world.news(younger), []);
}

#[test]
fn after_downtime_the_clock_of_the_node_decides() {
    // Our clock is right, two hours or 400 days off; the node's as well, and another one.
    for off in [0, 2 * 3600, -2 * 3600, 400 * 24 * 3600, -400 * 24 * 3600] {
        for (difference, paid, doubtful) in [
            (-121, false, false),
            (-119, false, true),
            (-3, false, true),
            (-2, true, false),
            (0, true, false),
            (3600, true, false),
        ] {
            let mut world = World::new();
            world.off = off * 1000;
            world.node = Some(NodeTime::from_secs(1_700_000_000));
            let id = world.create(1, &[(1, 1000)]);
            let tx = world.pay(&[(1, 1000)]);
            let sighting = Sighting::MempoolTime {
                secs: 1_700_000_000u64.checked_add_signed(difference).unwrap(),
                noted: None,
            };
            let seen = at(&world, sighting);
            world.observe_as(&tx, seen, Observation::Mempool);
            assert_eq!(world.status(id) == Status::Paid, paid, "{off} {difference}");
            assert_eq!(world.unassigned().len(), usize::from(doubtful), "{off} {difference}");
            if doubtful {
                let (outpoint, satoshis) = (tx.outpoint(0), 1000);
                let reason = Some(tables::UnassignedReason::MayBeOlder);
                let event = world.last_event().unwrap();
                assert_eq!(event.kind, PaymentUnassigned);
                assert_eq!(event.subject, Subject::Unassigned { outpoint, satoshis, reason });
                // Nor does a submission make a credit of it, or its block.
                assert_eq!(world.claim_as(id, &tx, seen, ""), Claimed::Refused(Refusal::Older));
                world.block(&[&tx]);
                assert_eq!((world.credits(id).len(), world.unassigned().len()), (0, 1));
                assert!(matches!(world.assign(outpoint, id), Managed::Done(_)));
                assert_eq!(world.status(id), Status::Confirmed);
            }
        }
    }
}

#[test]
fn a_record_without_a_time_of_the_node_has_our_own() {
    for (difference, pays) in [(-2i64, false), (-1, true), (0, true)] {
        let mut world = World::new();
        let id = world.create(1, &[(1, 1000)]);
        let secs = world.statement(id).invoice.created.secs();
        let tx = world.pay(&[(1, 1000)]);
        let seen = at(
            &world,
            Sighting::MempoolTime { secs: secs.checked_add_signed(difference).unwrap(), noted: None },
        );
        world.observe_as(&tx, seen, Observation::Mempool);
        assert_eq!(world.status(id) == Status::Paid, pays, "{difference}");
    }
}

/// The script was asked for before, so the payment is ours; the invoice that it is for may be younger.
#[test]
fn no_older_invoice_gets_what_a_younger_one_may_be_owed() {
    let mut world = World::new();
    world.node = Some(NodeTime::from_secs(1_700_000_000));
    let older = world.create(1, &[(1, 1000)]);
    world.tick_after(world::LIFE + 1);
    world.node = Some(NodeTime::from_secs(1_700_001_000));
    let younger = world.create(2, &[(1, 2000)]);
    let tx = world.pay(&[(1, 2000)]);
    let seen = at(&world, Sighting::MempoolTime { secs: 1_700_000_950, noted: None });
    world.observe_as(&tx, seen, Observation::Mempool);
    assert_eq!((world.credits(older).len(), world.credits(younger).len()), (0, 0));
    assert_eq!(world.unassigned(), [(tx.outpoint(0), 2000)]);
}

#[test]
fn what_was_first_met_in_a_block_came_with_the_block() {
    let mut world = World::new();
    let older = world.create(1, &[(1, 1000)]);
    let hash = world.next_hash();
    world.part(hash, &[]);
    // Registered while the block is applied: younger than all of it.
    let younger = world.create(2, &[(2, 1000)]);
    let txs = [world.pay(&[(1, 1000)]), world.pay(&[(2, 1000)])];
    world.part(hash, &[&txs[0], &txs[1]]);
    world.connect(hash);
    assert_eq!(world.status(older), Status::Confirmed);
    assert_eq!(world.credits(younger), []);
    assert_eq!(world.credit(&txs[0], 0).unwrap().via, Via::Block);
    assert_eq!(world.news(older), [PaymentReceived, PaymentConfirmed]);
    // The same block again, connected anew: still older than the invoice.
    world.disconnect();
    world.part(hash, &[&txs[0], &txs[1]]);
    world.connect(hash);
    assert_eq!(world.credits(younger), []);
}

#[test]
fn a_payment_of_the_time_we_were_down_is_found_in_its_block() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let [tx] = [world.pay(&[(1, 1000)])];
    world.pass(world::LIFE + 3600);
    // Mined in time, met long after; expiry was not judged in between.
    let in_time = u32::try_from(world.statement(id).invoice.expires.secs() - 100).unwrap();
    let hash = world.next_hash();
    let transactions = vec![(tx, None)];
    world.input(Action::BlockPart { hash, height: 101, time_s: in_time, transactions });
    world.connect(hash);
    assert_eq!(world.status(id), Status::Confirmed);
    assert!(!world.statement(id).standing().settlement.unwrap().late);
}

#[test]
fn the_first_sighting_is_the_one_that_counts() {
    let mut world = World::new();
    let older = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000), (2, 500)]);
    world.seen(&tx);
    let younger = world.create(2, &[(2, 500)]);
    // Whatever is said of it later.
    let later = at(&world, Sighting::Order(Order(u64::MAX)));
    world.observe_as(&tx, later, Observation::Mempool);
    assert_eq!(world.status(older), Status::Paid);
    assert_eq!(world.credits(younger), []);
    assert_eq!(world.claim_as(younger, &tx, later, ""), Claimed::Refused(Refusal::Older));
}

#[test]
fn seen_is_not_in_the_mempool() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.seen(&tx);
    assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Seen);
    assert_eq!(world.news(id), []);
    assert_eq!(world.statement(id).standing().amount_paid, 0);
    world.seen(&tx);
    world.mempool(&tx);
    assert_eq!(world.news(id), [PaymentReceived]);
    // Once it is there, hearing of it says nothing new.
    world.seen(&tx);
    assert!(!world.changed);
    let hash = world.block(&[&tx]);
    world.mempool(&tx);
    assert!(!world.changed);
    assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Confirmed { height: 101, hash });
}

#[test]
fn of_what_was_only_seen_nothing_is_told() {
    let mut world = World::new();
    world.create(1, &[(1, 1000)]);
    world.create(2, &[(1, 2000)]);
    let tx = world.pay(&[(1, 700)]);
    let events = world.view.events.len();
    world.seen(&tx);
    assert_eq!((world.view.events.len(), world.unassigned()), (events, vec![]));
    world.lost(&tx);
    assert_eq!(world.view.events.len(), events);
    world.mempool(&tx);
    assert_eq!(world.unassigned(), [(tx.outpoint(0), 700)]);
    assert_eq!(world.view.events.len(), events + 1);
    world.block(&[&tx]);
    assert_eq!(world.view.events.len(), events + 1);
}

#[test]
fn seen_and_never_there_tells_nothing() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.seen(&tx);
    world.lost(&tx);
    assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Lost);
    assert_eq!(world.news(id), []);
}

#[test]
fn coinbases_count_from_a_hundred_confirmations() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.coinbase(&[(1, 1000)]);
    world.block(&[&tx]);
    world.blocks(98);
    assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Seen);
    assert_eq!(world.news(id), []);
    world.blocks(1);
    assert_eq!(world.news(id), [PaymentReceived, PaymentConfirmed]);
    // A block less, and it does not count any more; and then again.
    world.disconnect();
    assert_eq!(world.news(id), [PaymentReceived, PaymentConfirmed, PaymentReverted]);
    assert_eq!(world.status(id), Status::Pending);
    world.blocks(1);
    assert_eq!(world.status(id), Status::Confirmed);
}

#[test]
fn a_coinbase_dies_with_its_block() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.coinbase(&[(1, 1000)]);
    world.seen(&tx);
    let hash = world.block(&[&tx]);
    world.disconnect();
    assert_eq!(world.credit(&tx, 0).unwrap().state, CreditState::Lost);
    world.blocks(120);
    assert_eq!(world.news(id), []);
    // Its block returns.
    for _ in 0..120 {
        world.disconnect();
    }
    world.part(hash, &[&tx]);
    world.connect(hash);
    world.blocks(99);
    assert_eq!(world.status(id), Status::Confirmed);
}

#[test]
fn an_event_for_each_block_though_a_coinbase_completes_the_settlement() {
    let mut world = World::new();
    let mut terms = world::draft(vec![world::required(1, 1000, None)]);
    terms.confirmations_required = 3;
    let id = world.create_draft(1, terms);
    let coinbase = world.coinbase(&[(1, 400)]);
    world.block(&[&coinbase]);
    world.blocks(98);
    let tx = world.pay(&[(1, 600)]);
    world.block(&[&tx]);
    assert_eq!(world.news(id), [PartialPayment, PaymentReceived, Confirmation]);
    world.blocks(2);
    assert_eq!(world.news(id)[2..], [Confirmation, Confirmation, PaymentConfirmed]);
}

#[test]
fn elapsed_time_never_runs_back_and_the_wall_clock_is_shown_as_it_is() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let elapsed = world.reading().elapsed;
    world.now = Timestamp::from_secs(5);
    let tx = world.pay(&[(1, 1000)]);
    world.observe_as(&tx, at(&world, Sighting::Order(world.order())), Observation::Mempool);
    assert_eq!(world.statement(id).standing().settlement.unwrap().paid_at, world.now);
    assert_eq!(world.view.counters[&()].now, elapsed);
}
