//! Invoices with very many credits: what is read of them is short and true.

use super::{world::World, *};
use crate::{
    bch::{OutPoint, Transaction},
    invoice::{Credit, Statement},
};

/// An invoice that a payer pays in two parts, between dust of strangers.
fn dusty(world: &mut World) -> (crate::invoice::InvoiceId, Vec<std::sync::Arc<Transaction>>) {
    let id = world.create(1, &[(1, 1_000_000)]);
    let mut all = Vec::new();
    for outputs in [vec![(1, 600_000)], vec![(1, 546); 120], vec![(1, 400_000)], vec![(1, 547); 130]] {
        let tx = world.pay(&outputs);
        world.mempool(&tx);
        all.push(tx);
    }
    (id, all)
}

fn ordinals(credits: &[Credit]) -> Vec<u64> {
    credits.iter().map(|credit| credit.ordinal).collect()
}

#[test]
fn the_settling_credits_and_the_newest_are_shown() {
    let mut world = World::new();
    let (id, txs) = dusty(&mut world);
    let now = world.statement(id);
    assert_eq!((now.total, now.credits.len()), (252, Statement::MOST_CREDITS));
    assert_eq!(now.standing().amount_paid, 1_000_000 + 120 * 546 + 130 * 547);
    let settling = now.standing().settlement.unwrap();
    assert_eq!(settling.txids, [txs[0].txid(), txs[1].txid(), txs[2].txid()]);
    // 600,000 and 120 times 546 and 400,000: all of these settle it, in the order of crediting.
    assert_eq!(ordinals(&now.credits), (1..=99).chain([122]).collect::<Vec<u64>>());
    let all = credits_after(&world.view, id, 0, usize::MAX).unwrap();
    assert_eq!(ordinals(&all), (1..=252).collect::<Vec<u64>>());
    assert_eq!(ordinals(&credits_after(&world.view, id, 250, 100).unwrap()), [251, 252]);
    assert_eq!(ordinals(&credits_after(&world.view, id, 100, 2).unwrap()), [101, 102]);
    assert_eq!(credits_after(&world.view, id, u64::MAX, 2), Ok(Vec::new()));

    // One that is settled by its first credit shows that one, and the newest 99.
    let other = world.create(2, &[(2, 1000)]);
    let paid = world.pay(&[(2, 1000)]);
    world.mempool(&paid);
    let dust = world.pay(&[(2, 546); 300]);
    world.mempool(&dust);
    let shown = world.statement(other);
    assert_eq!(shown.total, 301);
    let vouts: Vec<OutPoint> = shown.credits.iter().skip(1).map(|credit| credit.outpoint).collect();
    assert_eq!(vouts, (201..300).map(|vout| dust.outpoint(vout)).collect::<Vec<_>>());
    assert_eq!(shown.credits[0].outpoint, paid.outpoint(0));
}

#[test]
fn a_settling_payment_of_many_is_found_when_it_is_spent_twice() {
    let mut world = World::new();
    let id = world.create(1, &[(1, 150_000)]);
    let txs: Vec<_> = (0..150).map(|_| world.pay(&[(1, 1000)])).collect();
    for tx in &txs {
        world.mempool(tx);
    }
    assert_eq!(world.status(id), Status::Paid);
    // The record names neither this transaction among its first hundred nor its credit among the first hundred credits.
    world.proven(&[&txs[140]]);
    assert_eq!(world.events(id).last(), Some(&DoubleSpendDetected));
    let more = world.pay(&[(1, 5)]);
    world.mempool(&more);
    let news = world.events(id).len();
    world.proven(&[&more]);
    assert_eq!(world.events(id).len(), news, "what does not settle it is no warning");
    world.lost(&txs[0]);
    assert_eq!(world.status(id), Status::Pending);
    assert_eq!(world.events(id).last(), Some(&PaymentReverted));
}

/// A record of a program that summed the credits with every read has no sum.
#[test]
fn records_without_a_sum_are_read_and_get_one() {
    let mut world = World::new();
    let (id, txs) = dusty(&mut world);
    let then = world.statement(id);
    let record = world.view.invoices.get_mut(&id).unwrap();
    let kept = record.paid.take();
    assert_eq!(world.statement(id), then);
    world.block(&[&txs[0], &txs[1], &txs[2], &txs[3]]);
    let now = &world.view.invoices[&id];
    assert!(now.paid.is_some() && now.paid != kept, "the settling credits are in a block now");
    assert_eq!(world.status(id), Status::Confirmed);
}
