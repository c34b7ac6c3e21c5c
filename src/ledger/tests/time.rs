//! Time passing: expiry, the late window, retention.

use super::*;
use crate::invoice::Phase;
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
    world.input(Action::Tick { judge_expiry: false });
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
            world.now = at.after(Duration::from_secs(day * 24 * 3600));
            let input = Input { at: world.now, action: Action::Tick { judge_expiry: true } };
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
