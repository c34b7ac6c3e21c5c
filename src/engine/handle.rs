//! The loop around a batch: a thread, a bounded queue, and what is published.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};

use super::{Clock, Pulse, PulseReading, Storage, Timeline, Writer};
use crate::{
    invoice::{Order, Reading, Timestamp},
    ledger::{Action, Event, Input, Outcome, ReadError, Rules},
};

/// What hears of events once they are on disk. It is called on the engine's thread and must not wait.
pub trait Publish: Send + Sync + 'static {
    /// These events are on disk.
    fn publish(&self, events: &[Event]);
}

/// How the engine works.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// The rules of payment that an operator can set.
    pub rules: Rules,
    /// How many inputs wait at most; beyond that callers are told to come back.
    pub queue: usize,
    /// How many inputs go into one write at most.
    pub batch: usize,
    /// How long a batch gathers at most before it is written.
    pub gather: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { rules: Rules::default(), queue: 4096, batch: 1000, gather: Duration::from_millis(5) }
    }
}

/// Why an input came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The queue is full: too many inputs at once. Come back.
    #[error("too many requests are under way")]
    Busy,
    /// The store could not be read or written: the disk is at fault. Nothing has happened.
    #[error("the store is not available")]
    Unavailable,
    /// The program is stopping.
    #[error("the program is stopping")]
    Stopped,
}

/// A write that takes longer than this is told as slow, and meanwhile no input from outside is taken.
pub const SLOW_WRITE: Duration = Duration::from_secs(5);

/// The engine, as everybody else holds it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    queue: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    clock: Arc<dyn ClockDebug>,
    timeline: Arc<Mutex<Timeline>>,
}

/// What is said of the engine from outside its thread.
#[derive(Debug)]
struct Shared {
    order: AtomicU64,
    failing: AtomicBool,
    pulse: Pulse,
    /// When the write began that is under way.
    writing_since: Mutex<Option<Instant>>,
    /// Whether the engine's thread has ended. `false` is the first value, and the channel closes after the last.
    ended: watch::Receiver<bool>,
}

/// A clock that can stand in a debug print.
trait ClockDebug: Clock + std::fmt::Debug {}

impl<C: Clock + std::fmt::Debug> ClockDebug for C {}

#[derive(Debug)]
enum Request {
    Apply {
        input: Box<Input>,
        answer: Answer,
    },
    /// Asks for a step of the pulse, so that a thread that hangs is told from one without work.
    Ping,
    Stop,
}

type Answer = oneshot::Sender<Result<Outcome, EngineError>>;

impl Engine {
    /// Starts the engine's thread over a store.
    ///
    /// # Errors
    ///
    /// The store's, if its counters cannot be read; the system's, if there is no thread to be had.
    pub fn start<S: Storage>(
        store: Arc<S>,
        settings: EngineSettings,
        clock: impl Clock + std::fmt::Debug,
        publish: Arc<dyn Publish>,
    ) -> Result<Self, EngineStartError> {
        let (writer, order) =
            Writer::new(&*store, settings.rules.clone()).map_err(EngineStartError::Store)?;
        let timeline = Timeline::begin(&*store, &clock, settings.rules.mines_by_itself);
        let timeline = Arc::new(Mutex::new(timeline.map_err(EngineStartError::Store)?));
        let (queue, requests) = mpsc::channel(settings.queue);
        let (end, ended) = watch::channel(false);
        let shared = Arc::new(Shared {
            order: AtomicU64::new(order.0),
            failing: AtomicBool::new(false),
            pulse: writer.pulse(),
            writing_since: Mutex::new(None),
            ended,
        });
        let worker = Worker { store, settings, publish, shared: shared.clone(), requests, writer };
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || worker.run())
            .map_err(EngineStartError::Thread)?;
        std::thread::Builder::new()
            .name("engine-end".to_owned())
            .spawn(move || tell_the_end(thread, &end))
            .map_err(EngineStartError::Thread)?;
        Ok(Self { queue, shared, clock: Arc::new(clock), timeline })
    }

    /// All clocks, now.
    pub fn now(&self) -> Reading {
        self.timeline.lock().read(self.clock.wall(), self.clock.running(), self.clock.node())
    }

    /// Whether the wall clock shows less than was shown before this process began.
    pub fn clock_is_behind(&self) -> bool {
        self.timeline.lock().is_behind()
    }

    /// The node's tip has this time: so much of the last stop is proven.
    pub fn prove_time(&self, tip: Timestamp) {
        self.timeline.lock().prove(tip, self.clock.running());
    }

    /// The position up to which everything is on disk. What is noted with it came after all of that.
    pub fn order(&self) -> Order {
        Order(self.shared.order.load(Ordering::Acquire))
    }

    /// Whether the last write failed.
    pub fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }

    /// The pulse of the engine's thread.
    pub fn pulse(&self) -> PulseReading {
        self.shared.pulse.read()
    }

    /// Asks the engine's thread for a step of its pulse. Where the queue is full the thread has work to show.
    pub fn ping(&self) {
        let _ = self.queue.try_send(Request::Ping);
    }

    /// When the write began that is under way, if it takes longer than [`SLOW_WRITE`].
    pub fn slow_write(&self) -> Option<Instant> {
        let since = *self.shared.writing_since.lock();
        since.filter(|since| since.elapsed() > SLOW_WRITE)
    }

    /// Waits until the engine's thread has ended, however it ended.
    pub async fn ended(&self) {
        // A closed channel says that the thread is gone as well.
        let _ = self.shared.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Applies an input, waiting for room in the queue. For the follower, which has nothing better to do.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] and [`EngineError::Stopped`].
    pub async fn apply(&self, action: Action) -> Result<Outcome, EngineError> {
        let (request, answered) = request(self.now(), action);
        self.queue.send(request).await.map_err(|_| EngineError::Stopped)?;
        answered.await.unwrap_or(Err(EngineError::Stopped))
    }

    /// Applies an input, or says at once that there is no room, or that the disk takes too long. For everybody outside.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn try_apply(&self, action: Action) -> Result<Outcome, EngineError> {
        self.try_apply_at(self.now(), action).await
    }

    /// As [`Engine::try_apply`], for an input that was made from this reading of the clocks.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn try_apply_at(&self, at: Reading, action: Action) -> Result<Outcome, EngineError> {
        if self.slow_write().is_some() {
            return Err(EngineError::Unavailable);
        }
        let (request, answered) = request(at, action);
        self.queue.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => EngineError::Busy,
            TrySendError::Closed(_) => EngineError::Stopped,
        })?;
        answered.await.unwrap_or(Err(EngineError::Stopped))
    }

    /// Stops the engine once what is in its queue is on disk, and waits for that.
    pub async fn stop(&self) {
        // A closed queue means that it stopped before.
        let _ = self.queue.send(Request::Stop).await;
        self.ended().await;
    }
}

fn request(at: Reading, action: Action) -> (Request, oneshot::Receiver<Result<Outcome, EngineError>>) {
    let (answer, answered) = oneshot::channel();
    (Request::Apply { input: Box::new(Input { at, action }), answer }, answered)
}

/// The engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineStartError {
    /// The store could not be read.
    #[error(transparent)]
    Store(ReadError),
    /// There was no thread to be had.
    #[error("no thread for the engine: {0}")]
    Thread(std::io::Error),
}

/// Waits for the end of the engine's thread and tells it. A thread that was ended from outside is joined as well, with a
/// panic of this one: the channel that is closed by it tells the same.
fn tell_the_end(thread: JoinHandle<()>, end: &watch::Sender<bool>) {
    if thread.join().is_err() {
        tracing::error!("the engine's thread panicked");
    }
    end.send_replace(true);
}

struct Worker<S> {
    store: Arc<S>,
    settings: EngineSettings,
    publish: Arc<dyn Publish>,
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    writer: Writer,
}

impl<S: Storage> Worker<S> {
    fn run(mut self) {
        let sizes = metrics::histogram!("jppd_batch_inputs");
        let commits = metrics::histogram!("jppd_commit_seconds");
        let mut stopping = false;
        while !stopping && let Some(first) = self.requests.blocking_recv() {
            let (inputs, answers, stop) = self.gather(first);
            stopping = stop;
            self.shared.pulse.step();
            if inputs.is_empty() {
                continue;
            }
            sizes.record(u32::try_from(inputs.len()).unwrap_or(u32::MAX));
            let started = Instant::now();
            *self.shared.writing_since.lock() = Some(started);
            self.write(inputs, answers);
            commits.record(started.elapsed());
        }
    }

    /// Takes what is in the queue: whatever gathered while the last batch was written goes together.
    fn gather(&mut self, first: Request) -> (Vec<Input>, Vec<Answer>, bool) {
        let deadline = Instant::now() + self.settings.gather;
        let (mut inputs, mut answers) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(request) = next.take() {
            match request {
                Request::Apply { input, answer } => {
                    inputs.push(*input);
                    answers.push(answer);
                }
                Request::Ping => {}
                Request::Stop => return (inputs, answers, true),
            }
            if inputs.len() < self.settings.batch && Instant::now() < deadline {
                next = self.requests.try_recv().ok();
            }
        }
        (inputs, answers, false)
    }

    fn write(&mut self, inputs: Vec<Input>, answers: Vec<Answer>) {
        let written = self.writer.write(&*self.store, inputs, Instant::now());
        *self.shared.writing_since.lock() = None;
        // Everything is on disk: first those who ask for the order, then those who listen, then those who wait.
        if let Some(order) = written.order {
            self.shared.order.store(order.0, Ordering::Release);
        }
        if !written.events.is_empty() {
            self.publish.publish(&written.events);
        }
        self.shared.failing.store(self.writer.is_failing(), Ordering::Relaxed);
        for (answer, outcome) in answers.into_iter().zip(written.outcomes) {
            // Whoever asked may have gone; what was applied stays applied.
            let _ = answer.send(outcome);
        }
    }
}
