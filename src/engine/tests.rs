//! The engine over a store in memory that can be told to wait, to fail, and to fail after all was written.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use regtest::wait::{PATIENCE, until};

use super::{Clock, CommitError, Engine, EngineError, EngineSettings, Publish, SLOW_WRITE, Storage};
use crate::{
    bch::{Address, FeeRate, Network},
    invoice::{Draft, InvoiceId, Merchant, Order, RequiredOutput, Timestamp},
    ledger::{
        Action, Changes, Created, Creation, Event, EventKind, Idempotency, MemoryView, Outcome, ReadError,
        Reads, Table,
    },
    store::{Store, StoreOptions},
};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Disk {
    #[default]
    Fit,
    /// Nothing is written.
    Full,
    /// All is written, and the answer is an error.
    Doubtful,
}

#[derive(Debug, Default)]
struct Memory {
    view: RwLock<MemoryView>,
    disk: Mutex<Disk>,
    /// Commits wait while it is.
    shut: AtomicBool,
    /// Commits that wait.
    waiting: AtomicUsize,
    commits: AtomicUsize,
}

impl<T: Table> Reads<T> for Memory
where
    MemoryView: Reads<T>,
{
    fn get(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError> {
        Reads::<T>::get(&*self.view.read(), key)
    }

    fn range(
        &self,
        keys: RangeInclusive<T::Key>,
        limit: usize,
    ) -> Result<Vec<(T::Key, T::Value)>, ReadError> {
        Reads::<T>::range(&*self.view.read(), keys, limit)
    }

    fn last(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Vec<(T::Key, T::Value)>, ReadError> {
        Reads::<T>::last(&*self.view.read(), keys, limit)
    }
}

impl Storage for Memory {
    fn commit(&self, changes: &Changes) -> Result<(), CommitError> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        while self.shut.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        let disk = *self.disk.lock();
        if disk != Disk::Full {
            self.view.write().commit(changes.clone());
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        if disk == Disk::Fit { Ok(()) } else { Err(CommitError("no space left".to_owned())) }
    }

    fn recover(&self) -> Result<(), CommitError> {
        match *self.disk.lock() {
            Disk::Fit => Ok(()),
            Disk::Full | Disk::Doubtful => Err(CommitError("no space left".to_owned())),
        }
    }
}

#[derive(Debug)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn running(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Event>>);

impl Publish for Heard {
    fn publish(&self, events: &[Event]) {
        self.0.lock().extend_from_slice(events);
    }
}

struct World {
    store: Arc<Memory>,
    heard: Arc<Heard>,
    engine: Engine,
}

fn world(queue: usize) -> World {
    let (store, heard) = (Arc::new(Memory::default()), Arc::new(Heard::default()));
    let settings = EngineSettings { queue, ..EngineSettings::default() };
    let clock = Ticking(AtomicU64::new(1_000_000));
    let engine = Engine::start(store.clone(), settings, clock, heard.clone()).unwrap();
    World { store, heard, engine }
}

fn creation() -> Action {
    let address =
        Address::parse("bitcoincash:qr6m7j9njldwwzlg9v7v53unlr4jkmx6eylep8ekg2", Network::Main).unwrap();
    Action::Create(Box::new(Creation {
        id: InvoiceId::random(),
        merchant: Merchant::anyone(),
        draft: Draft {
            outputs: vec![RequiredOutput::new(&address, 1_000, None, None)],
            memo: None,
            merchant_data: None,
            lasts: Duration::MAX,
            fee_rate: FeeRate::default(),
            confirmations_required: 1,
            zero_conf: None,
        },
        idempotency: None,
    }))
}

fn seqs(heard: &Heard) -> Vec<u64> {
    heard.0.lock().iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn what_is_answered_is_on_disk_and_published() {
    let World { store, heard, engine } = world(16);
    let before = engine.order();
    let outcome = engine.apply(creation()).await.unwrap();
    assert!(matches!(outcome, Outcome::Created(created) if matches!(*created, Created::Registered(_))));
    assert_eq!(store.commits.load(Ordering::Relaxed), 1);
    assert!(engine.order() > before);
    assert_eq!(heard.0.lock()[0].kind, EventKind::InvoiceCreated);
    // A tick that changes nothing writes nothing.
    engine.apply(Action::Tick { judge_expiry: true, clock_wrong: false }).await.unwrap();
    assert_eq!(store.commits.load(Ordering::Relaxed), 1);
    engine.stop().await;
    assert_eq!(engine.apply(creation()).await, Err(EngineError::Stopped));
}

#[tokio::test]
async fn what_is_not_on_disk_has_not_happened() {
    let World { store, heard, engine } = world(16);
    engine.apply(creation()).await.unwrap();
    let order = engine.order();
    *store.disk.lock() = Disk::Full;
    assert_eq!(engine.try_apply(creation()).await, Err(EngineError::Unavailable));
    assert!(engine.is_failing());
    assert_eq!((engine.order(), seqs(&heard)), (order, vec![1]));
    *store.disk.lock() = Disk::Fit;
    engine.apply(creation()).await.unwrap();
    assert!(!engine.is_failing());
    assert_eq!(seqs(&heard), [1, 2]);
}

#[tokio::test]
async fn a_commit_in_doubt_that_reached_the_disk_is_published_later() {
    let World { store, heard, engine } = world(16);
    *store.disk.lock() = Disk::Doubtful;
    assert_eq!(engine.try_apply(creation()).await, Err(EngineError::Unavailable));
    assert!(seqs(&heard).is_empty());
    *store.disk.lock() = Disk::Fit;
    engine.apply(creation()).await.unwrap();
    assert_eq!(seqs(&heard), [1, 2], "gapless, and in order");
    assert_eq!(engine.order().0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_written_together_and_what_finds_no_room_is_told() {
    let World { store, heard, engine } = world(8);
    store.shut.store(true, Ordering::Release);
    let mut waiting = tokio::task::JoinSet::new();
    let mut apply = || {
        let engine = engine.clone();
        waiting.spawn(async move { engine.try_apply(creation()).await });
    };
    // One stands at the gate, eight wait in the queue, the rest is told so.
    apply();
    until("a commit at the gate", || store.waiting.load(Ordering::Acquire) == 1).unwrap();
    (0..39).for_each(|_| apply());
    for _ in 0..31 {
        let answer = tokio::time::timeout(PATIENCE, waiting.join_next()).await.expect("in time");
        assert_eq!(answer.unwrap().unwrap(), Err(EngineError::Busy));
    }
    store.shut.store(false, Ordering::Release);
    let written = waiting.join_all().await;
    assert!(written.len() == 9 && written.iter().all(Result::is_ok), "{written:?}");
    assert_eq!(store.commits.load(Ordering::Relaxed), 2, "those in the queue went together");
    assert_eq!(seqs(&heard).len(), 9);
}

#[tokio::test]
async fn a_stop_writes_what_was_in_the_queue() {
    let World { store, engine, .. } = world(64);
    let gate = Arc::new(tokio::sync::Barrier::new(2));
    let writer = {
        let (engine, gate) = (engine.clone(), gate.clone());
        tokio::spawn(async move {
            let answers = futures_util::future::join_all((0..10).map(|_| engine.apply(creation())));
            gate.wait().await;
            answers.await
        })
    };
    gate.wait().await;
    let answers = writer.await.unwrap();
    engine.stop().await;
    assert!(answers.iter().all(Result::is_ok));
    let meta = Reads::<crate::ledger::tables::Counters>::get(&*store, &()).unwrap().unwrap();
    assert_eq!(meta.seq, 10);
}

/// Over a real store whose table of idempotency keys has one block that cannot be read.
#[tokio::test]
async fn an_input_that_needs_an_unreadable_block_is_refused_alone() {
    const KEY: &str = "the key in the unreadable block";
    let folder = tempfile::tempdir().unwrap();
    let open = || Arc::new(Store::open(folder.path(), StoreOptions::new(Network::Main)).unwrap());
    let start = |store: &Arc<Store>| {
        let clock = Ticking(AtomicU64::new(1_000_000));
        Engine::start(store.clone(), EngineSettings::default(), clock, Arc::new(Heard::default())).unwrap()
    };
    let keyed = || {
        let Action::Create(mut creation) = creation() else { panic!("another action") };
        creation.idempotency = Some(Idempotency { key: KEY.to_owned(), body: [1; 32], sent: [1; 32] });
        Action::Create(creation)
    };
    let store = open();
    let engine = start(&store);
    engine.apply(keyed()).await.unwrap();
    engine.stop().await;
    store.flush_and_close().unwrap();
    drop(store);
    assert_eq!(flip_a_bit_of(folder.path(), KEY), 2, "the records, and the index of their ends");

    let store = open();
    let engine = start(&store);
    let order = engine.order();
    let inputs = [keyed(), creation(), keyed(), creation()];
    let outcomes =
        futures_util::future::join_all(inputs.into_iter().map(|input| engine.try_apply(input))).await;
    let applied: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(applied, [false, true, false, true], "{outcomes:?}");
    assert_eq!(outcomes[0], Err(EngineError::Unavailable));
    assert!(!engine.is_failing() && !store.is_failed(), "the store is not opened again");
    assert_eq!(engine.order(), Order(order.0 + 2));
    engine.stop().await;
}

/// Flips a bit in the first block of every table of a store that has these bytes; gives how many have.
fn flip_a_bit_of(folder: &std::path::Path, text: &str) -> usize {
    let mut tables = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let is_table = path.extension().is_some_and(|extension| extension == "sst");
        if is_table && bytes.windows(text.len()).any(|some| some == text.as_bytes()) {
            bytes[10] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            tables += 1;
        }
    }
    tables
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_lasts_is_told_and_nothing_more_is_taken_from_outside() {
    let World { store, engine, .. } = world(16);
    store.shut.store(true, Ordering::Release);
    let waiting = tokio::spawn({
        let engine = engine.clone();
        async move { engine.try_apply(creation()).await }
    });
    let begun = std::time::Instant::now();
    let mut steps = None;
    while engine.slow_write().is_none() {
        assert!(begun.elapsed() < SLOW_WRITE * 4, "it is never told");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let reading = engine.pulse();
        if reading.waits {
            assert_eq!(*steps.get_or_insert(reading.steps), reading.steps, "one wait, without a step");
        }
    }
    assert!(begun.elapsed() >= SLOW_WRITE, "not before its time");
    assert!(steps.is_some(), "the wait is noted");
    assert_eq!(engine.try_apply(creation()).await, Err(EngineError::Unavailable));
    store.shut.store(false, Ordering::Release);
    waiting.await.unwrap().unwrap();
    assert!(engine.slow_write().is_none(), "gone when the write is done");
    engine.try_apply(creation()).await.unwrap();
}

#[tokio::test]
async fn a_thread_without_work_answers_a_ping() {
    let World { engine, .. } = world(16);
    let before = engine.pulse().steps;
    engine.ping();
    while engine.pulse().steps == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!engine.pulse().waits);
    engine.stop().await;
}

#[derive(Debug)]
struct Panics;

impl Publish for Panics {
    fn publish(&self, _: &[Event]) {
        panic!("a test ends the engine's thread on purpose");
    }
}

#[tokio::test]
async fn the_end_of_the_thread_is_told_however_it_ends() {
    let World { engine, .. } = world(16);
    assert!(futures_util::FutureExt::now_or_never(engine.ended()).is_none(), "it runs");
    engine.stop().await;
    engine.ended().await;

    let clock = Ticking(AtomicU64::new(1_000_000));
    let store = Arc::new(Memory::default());
    let engine = Engine::start(store, EngineSettings::default(), clock, Arc::new(Panics)).unwrap();
    assert_eq!(engine.apply(creation()).await, Err(EngineError::Stopped));
    engine.ended().await;
}
