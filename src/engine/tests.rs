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

use super::{Clock, CommitError, Engine, EngineError, EngineSettings, Publish, Storage};
use crate::{
    bch::{Address, FeeRate, Network},
    invoice::{Draft, InvoiceId, Merchant, RequiredOutput, Timestamp},
    ledger::{
        Action, Changes, Created, Creation, Event, EventKind, MemoryView, Outcome, ReadError, Reads, Table,
    },
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
