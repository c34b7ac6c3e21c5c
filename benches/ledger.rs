//! What the ledger and the store do together: finding nothing, and crediting.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark has no readers of its API and no users")]

mod world;

use std::{cell::Cell, hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jppd::{
    bch::ScriptBuf,
    ledger::{
        Changes, Input, Reads,
        tables::{Scripts, Spends},
    },
};
use world::{World, observed, script, transaction};

/// Each of so many invoices asks for a script of its own.
const SCRIPTS: u64 = 1_000_000;

/// So many invoices ask for one script, each for another amount.
const ON_ONE_SCRIPT: u64 = 100_000;

/// So many invoices ask for the same, and one transaction pays so many of them.
const EQUAL: u64 = 3000;
const EQUAL_OUTPUTS: usize = 2800;

/// Transactions that pay nobody we know.
const OTHERS: u64 = 1000;

/// Numbers of transactions, never the same twice in a run.
struct Numbers(Cell<u64>);

impl Numbers {
    fn from(first: u64) -> Self {
        Self(Cell::new(first))
    }

    fn next(&self) -> u64 {
        self.0.replace(self.0.get() + 1)
    }
}

/// What the invoice of a number asks for.
type Terms = fn(u64) -> (ScriptBuf, u64);

fn own_script(number: u64) -> (ScriptBuf, u64) {
    (script("watched", number), 10_000)
}

fn one_script(number: u64) -> (ScriptBuf, u64) {
    (script("the one", 0), 10_000 + number)
}

fn lookup_nothing(c: &mut Criterion, name: &str, world: &World) {
    let others: Vec<_> = (0..OTHERS)
        .map(|number| {
            let number = (1 << 40) + number;
            transaction(number, &[(script("other", number), 1), (script("change", number), 2)])
        })
        .collect();
    let mut group = c.benchmark_group(format!("lookup_nothing/{name}"));
    group.throughput(Throughput::Elements(OTHERS * 2));
    group.bench_function("gets", |b| {
        b.iter(|| {
            for tx in &others {
                for output in tx.outputs() {
                    assert!(Reads::<Scripts>::get(&world.store, &output.script_hash).unwrap().is_none());
                }
                for outpoint in tx.inputs() {
                    assert!(Reads::<Spends>::get(&world.store, outpoint).unwrap().is_none());
                }
            }
        });
    });
    group.bench_function("observe", |b| {
        b.iter(|| {
            for tx in &others {
                assert!(world.apply([observed(tx.clone())]).is_empty());
            }
        });
    });
    group.finish();
}

/// A transaction that pays the invoice of a number exactly, and gives change.
fn payment_of(number: u64, terms: Terms) -> Input {
    observed(transaction(number, &[terms(number), (script("change", number), 5)]))
}

fn credit(c: &mut Criterion, name: &str, world: &World, count: u64, terms: Terms) {
    // Those that are only applied can be applied again: a tenth of the invoices is theirs, all others are paid once.
    let (applied, written) = (count / 10, Numbers::from(count / 10));
    let again = Numbers::from(0);
    let payment = || {
        let number = written.next();
        assert!(number < count, "every invoice is paid already");
        payment_of(number, terms)
    };
    let paid = |changes: &Changes, count: usize| assert_eq!(changes.credits.len(), count);
    let mut group = c.benchmark_group(format!("credit/{name}"));
    group.throughput(Throughput::Elements(1));
    group.bench_function("apply", |b| {
        b.iter_batched(
            || payment_of(again.next() * 7919 % applied, terms),
            |payment| black_box(world.apply([payment])),
            criterion::BatchSize::NumIterations(1000),
        );
    });
    group.bench_function("one_by_one", |b| {
        b.iter_batched(
            payment,
            |payment| paid(&world.write([payment]), 1),
            criterion::BatchSize::NumIterations(100),
        );
    });
    group.throughput(Throughput::Elements(100));
    group.bench_function("batches_of_100", |b| {
        b.iter_batched(
            || -> Vec<Input> { (0..100).map(|_| payment()).collect() },
            |payments| paid(&world.write(payments), 100),
            criterion::BatchSize::NumIterations(1),
        );
    });
    group.finish();
}

/// One transaction that pays thousands of invoices that ask for the same: how long it holds the writer.
fn equal_outputs(c: &mut Criterion) {
    let equal: Terms = |_| (script("the same", 0), 10_000);
    let world = World::with_invoices(EQUAL, equal);
    let tx = transaction(1 << 41, &vec![equal(0); EQUAL_OUTPUTS]);
    let mut group = c.benchmark_group("equal_outputs");
    group.throughput(Throughput::Elements(EQUAL_OUTPUTS as u64));
    group.bench_function("2800_of_3000", |b| {
        b.iter(|| black_box(world.apply([observed(tx.clone())])));
    });
    group.finish();
}

fn worlds(c: &mut Criterion) {
    equal_outputs(c);
    let world = World::with_invoices(SCRIPTS, own_script);
    lookup_nothing(c, "1M_scripts", &world);
    credit(c, "1M_scripts", &world, SCRIPTS, own_script);
    drop(world);
    let world = World::with_invoices(ON_ONE_SCRIPT, one_script);
    lookup_nothing(c, "100k_on_one_script", &world);
    credit(c, "100k_on_one_script", &world, ON_ONE_SCRIPT, one_script);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = worlds
}
criterion_main!(benches);
