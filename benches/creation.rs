//! Durable creation of invoices: many clients at once, through the engine, onto the disk.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark has no readers of its API and no users")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jppd::{
    bch::{Address, FeeRate, Network, ScriptBuf},
    engine::{Engine, EngineSettings, Publish, SystemClock},
    invoice::{Draft, InvoiceId, Merchant, RequiredOutput},
    ledger::{Action, Created, Creation, Event, Outcome},
    store::{Store, StoreOptions},
};
use sha2::{Digest as _, Sha256};

/// How many clients create at once.
const CLIENTS: u64 = 64;

/// How many invoices each creates, one after the other.
const EACH: u64 = 50;

/// Nobody listens.
struct Nobody;

impl Publish for Nobody {
    fn publish(&self, _: &[Event]) {}
}

/// The creation of an invoice for a script of its own.
fn creation(number: u64) -> Action {
    let digest = Sha256::digest(number.to_be_bytes());
    let script = ScriptBuf::from([&[0x76, 0xa9, 0x14][..], &digest[..20], &[0x88, 0xac]].concat());
    let address = Address::of_script(&script, Network::Regtest).unwrap();
    Action::Create(Box::new(Creation {
        id: InvoiceId::random(),
        merchant: Merchant::named("shop"),
        draft: Draft {
            outputs: vec![RequiredOutput::new(&address, 10_000, None, None)],
            memo: Some(format!("Order {number}")),
            merchant_data: None,
            lasts: Duration::from_secs(900),
            fee_rate: FeeRate::default(),
            confirmations_required: 1,
            zero_conf: None,
        },
        idempotency: None,
    }))
}

/// All clients create all their invoices; gives how long each creation took.
async fn create(engine: &Engine, numbers: &Arc<AtomicU64>) -> Vec<Duration> {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (engine, numbers) = (engine.clone(), numbers.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                for _ in 0..EACH {
                    let creation = creation(numbers.fetch_add(1, Ordering::Relaxed));
                    let started = Instant::now();
                    let outcome = engine.try_apply(creation).await.unwrap();
                    let registered = matches!(outcome, Outcome::Created(created)
                        if matches!(*created, Created::Registered(_)));
                    assert!(registered);
                    times.push(started.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    times
}

fn creation_of_invoices(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreOptions::new(Network::Regtest)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let engine =
        Engine::start(Arc::new(store), EngineSettings::default(), SystemClock::default(), Arc::new(Nobody))
            .unwrap();
    let numbers = Arc::new(AtomicU64::new(0));

    let mut group = c.benchmark_group("creation");
    group.throughput(Throughput::Elements(CLIENTS * EACH));
    group.bench_function("64_clients", |b| b.iter(|| runtime.block_on(create(&engine, &numbers))));
    group.finish();

    let mut times = runtime.block_on(create(&engine, &numbers));
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("creation/64_clients latency: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
    runtime.block_on(engine.stop());
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    targets = creation_of_invoices
}
criterion_main!(benches);
