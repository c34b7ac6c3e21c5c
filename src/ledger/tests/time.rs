//! Time passing: expiry, the late window, retention; and clocks that are wrong.

use super::*;
use crate::invoice::{Phase, Timestamp};
use std::time::Duration;

#[test]
fn the_last_moment_is_part_of_the_time() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    world.tick_after(world::LIFE);
    assert_eq!(world.status(id), Status::Pending);
    let in_time = world.clone();
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert!(!world.statement(id).standing().settlement.unwrap().late);
    world.tick_after(1);
    assert_eq!(world.news(id), [PaymentReceived]);

    let mut world = in_time;
    world.now = world.now.after(Duration::from_millis(1));
    // What is not known up to now is not judged.
    world.input(Action::Tick { judge_expiry: false, clock_wrong: false });
    assert_eq!(world.news(id), []);
    world.tick();
    world.tick();
    assert_eq!(world.news(id), [InvoiceExpired]);
    assert_eq!(world.status(id), Status::Expired);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.news(id), [InvoiceExpired, PaymentReceived]);
    let settlement = world.statement(id).standing().settlement.unwrap();
    assert!(settlement.late);
}

#[test]
fn the_late_window() {
    let mut world = World::new();
    let expired = world.create(1, &[(1, 1000)]);
    let cancelled = world.create(2, &[(2, 1000)]);
    let paid_late = world.create(3, &[(3, 1000)]);
    world.cancel(cancelled);
    world.tick_after(world::LIFE + 1);
    let late = world.pay(&[(3, 1000)]);
    world.mempool(&late);
    world.tick_after(7 * 24 * 3600 - 1);
    let archived = |world: &World, id| world.statement(id).state.archived;
    assert!(!archived(&world, expired) && archived(&world, cancelled));
    world.tick_after(1);
    assert!(archived(&world, expired) && archived(&world, paid_late));
    assert!(world.view.late_ends.is_empty() && world.view.live.is_empty() && world.view.exact.is_empty());
    // What is found late is late.
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    assert_eq!(world.payees(&tx), [Some(expired)]);
    world.block(&[&tx, &late]);
    assert_eq!(world.status(expired), Status::Confirmed);
    assert_eq!(world.news(expired), [InvoiceExpired, PaymentReceived, PaymentConfirmed]);
    // Archived by a tick between payment and block, it is told all the same.
    assert_eq!(world.status(paid_late), Status::Confirmed);
}

#[test]
fn another_late_window_after_a_restart() {
    for days in [1, 30] {
        let mut world = World::new();
        let id = world.create(1, &[(1, 1000)]);
        world.tick_after(world::LIFE + 1);
        let Phase::Expired { at } = world.statement(id).state.phase else { panic!() };
        let rules = Rules { late_window: Duration::from_secs(days * 24 * 3600), ..Rules::default() };
        // Until the old entry comes up, it stands for the invoice.
        for day in [8u64, 31] {
            world.now = Timestamp::from_millis(at.after(Duration::from_secs(day * 24 * 3600)).millis());
            let input = Input {
                at: world.reading(),
                action: Action::Tick { judge_expiry: true, clock_wrong: false },
            };
            let changes = apply(&world.view, &rules, input.clone()).unwrap().changes;
            world.view.commit(changes);
            invariants::hold(&world.view, &rules);
            assert!(apply(&world.view, &rules, input).unwrap().changes.is_empty());
        }
        assert!(world.statement(id).state.archived);
        assert!(world.view.late_ends.is_empty());
    }
}

#[test]
fn retention_drops_index_entries_and_no_record() {
    let retention = Some(Duration::from_secs(30 * 24 * 3600));
    let mut world = World::with(Rules { retention, ..Rules::default() });
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.mempool(&tx);
    world.tick_after(world::LIFE);
    world.tick_after(37 * 24 * 3600 - 1);
    assert_eq!(world.view.ever.len(), 1);
    world.tick_after(1);
    assert!(world.view.ever.is_empty() && world.view.retirements.is_empty());
    // It is there, and so are its credits; what comes to its script is noticed.
    let second = world.pay(&[(1, 50)]);
    world.mempool(&second);
    assert_eq!(world.unassigned(), [(second.outpoint(0), 50)]);
    world.block(&[&tx]);
    assert_eq!(world.news(id), [PaymentReceived, PaymentConfirmed]);
    // Lost, it is live again, and what pays it exactly finds it.
    let mut world = World::with(Rules { retention, ..Rules::default() });
    let id = world.create(1, &[(1, 1000)]);
    world.mempool(&tx);
    world.tick_after(60 * 24 * 3600);
    world.lost(&tx);
    let again = world.pay(&[(1, 400)]);
    world.mempool(&again);
    assert_eq!(world.payees(&again), [Some(id)]);
}

#[test]
fn a_tick_without_anything_to_do_leaves_no_trace() {
    let mut world = World::new();
    world.create(1, &[(1, 1000)]);
    world.tick_after(1);
    assert!(!world.changed);
}

#[test]
fn claim_then_expire_then_cancel() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    let tx = world.pay(&[(1, 1000)]);
    world.claim(id, &tx);
    world.tick_after(world::LIFE + 1);
    assert_eq!(world.news(id), [InvoiceExpired]);
    assert_eq!(world.cancel(id), Managed::ClaimOpen);
    world.release(id, &tx);
    assert!(matches!(world.cancel(id), Managed::Done(_)));
    assert_eq!(world.news(id), [InvoiceExpired, InvoiceCancelled]);
    assert_eq!(world.view.late_ends.len(), 1);
    world.mempool(&tx);
    assert_eq!(world.news(id), [InvoiceExpired, InvoiceCancelled, PaymentRecorded]);
}

/// Two seconds, two hours, two weeks, and more than a year, in milliseconds.
const OFF: [i64; 4] = [2_000, 7_200_000, 14 * 86_400_000, 400 * 86_400_000];

/// The wall clock is wrong when an invoice is made, and right from then on, or the other way round.
#[test]
fn an_invoice_can_be_paid_for_as_long_as_was_asked_whatever_the_wall_clock_shows() {
    for off in OFF.into_iter().flat_map(|off| [off, -off]) {
        for (first, second) in [(off, 0), (0, off), (off, off)] {
            let mut world = World::new();
            world.off = first;
            let id = world.create(1, &[(1, 1000)]);
            let invoice = world.statement(id).invoice;
            assert_eq!(invoice.created, world.reading().wall);
            assert_eq!(invoice.expires.since(invoice.created), Duration::from_secs(world::LIFE));
            world.off = second;
            world.tick_after(world::LIFE);
            assert_eq!(world.status(id), Status::Pending, "{first} {second}");
            // A submission is in time, and an observation.
            let mut other = world.clone();
            let tx = other.pay(&[(1, 1000)]);
            assert_eq!(other.claim(id, &tx), Claimed::Open, "{first} {second}");
            other.mempool(&tx);
            assert!(!other.statement(id).standing().settlement.unwrap().late);
            // The invoice expires at most four hours later, and its event bears the time of the wall clock.
            world.tick_after(4 * 3600 + 1);
            assert_eq!(world.status(id), Status::Expired, "{first} {second}");
            let last = world.last_event().unwrap();
            assert_eq!((last.kind, last.at), (InvoiceExpired, world.reading().wall));
        }
    }
}

/// The wall clock is wrong at the start and is corrected afterwards: the correction does not expire the next invoice.
#[test]
fn a_clock_that_was_ahead_at_one_start_shuts_nothing() {
    for off in OFF {
        let mut world = World::new();
        world.off = off;
        let ahead = world.create(1, &[(1, 1000)]);
        world.tick_after(3);
        world.off = 0;
        let id = world.create(2, &[(2, 1000)]);
        world.tick_after(3);
        assert_eq!((world.status(ahead), world.status(id)), (Status::Pending, Status::Pending));
        let tx = world.pay(&[(2, 1000)]);
        assert_eq!(world.claim(id, &tx), Claimed::Open);
        world.mempool(&tx);
        assert_eq!(world.status(id), Status::Paid, "{off}");
    }
}

#[test]
fn no_deadline_is_judged_while_the_clock_is_known_to_be_wrong() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 1000)]);
    world.pass(30 * 24 * 3600);
    world.input(Action::Tick { judge_expiry: true, clock_wrong: true });
    assert_eq!(world.news(id), []);
    world.tick();
    assert_eq!(world.news(id), [InvoiceExpired]);
}

/// The daemon archives and deletes only after the chain has proved that the date is past.
#[test]
fn a_clock_that_is_far_ahead_deletes_nothing() {
    let (day, retention) = (24 * 3600, Some(Duration::from_secs(30 * 24 * 3600)));
    let mut world = World::with(Rules { retention, mines_by_itself: true, ..Rules::default() });
    world.blocks(11);
    let key = Idempotency { key: "k".to_owned(), body: [1; 32], sent: [2; 32] };
    let terms = world::draft(vec![world::required(1, 1000, None)]);
    let Created::Registered(statement) = world.try_create(1, shop(), terms, Some(key)) else { panic!() };
    let id = statement.invoice.id;
    world.tick_after(400 * day);
    let kept = |world: &World| {
        let archived = world.statement(id).state.archived;
        (archived, world.view.ever.len(), world.view.idempotency.len())
    };
    assert_eq!((world.status(id), kept(&world)), (Status::Expired, (false, 1, 1)));
    // Five blocks of that time are less than half of eleven.
    world.blocks(5);
    world.tick();
    assert_eq!(kept(&world), (false, 1, 1));
    world.blocks(1);
    world.tick_after(8 * day);
    assert_eq!(kept(&world), (true, 0, 0));
}

/// The next start measures its stop by the wall time of the last input.
#[test]
fn a_tick_keeps_what_the_clocks_show_after_one_was_set() {
    let mut world = World::new();
    world.create(1, &[(1, 1000)]);
    let wall = |world: &World| world.view.counters[&()].wall.unwrap();
    let before = wall(&world);
    world.tick_after(1);
    assert!(!world.changed && wall(&world) == before);
    world.off = -7_200_000;
    world.tick_after(1);
    assert!(world.changed && wall(&world) == world.reading().wall);
    world.tick_after(1);
    assert!(!world.changed);
}
