//! The loop around the machines of this room.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{
    Alarm, Answer, FollowError, Health, Meeting, Memory, Moment, Pass, PassEnd, Reason, Step, Survey,
    Surveyed, appraisal::Budget,
};
use crate::{
    bch::{Block, BlockError, Network, Transaction, Txid},
    engine::{Engine, EngineError, Pulse, Sightings, running},
    ledger::{self, Action, View},
    node::{Lane, NodeError, Reply, Request, Rpc, Signal, Signals, Topic},
};

/// How many transactions of ZMQ are asked of the node at once; what comes on top is left to a pass.
const MOST_MEETINGS: usize = 256;

/// For how long after a complete pass the node's word is taken to be known up to now.
const FRESH: Duration = Duration::from_secs(10);

/// How often the node is surveyed although nothing calls for it: clocks go wrong without a word.
const SURVEY_EVERY: Duration = Duration::from_secs(60);

/// A pause is at least so many times as long as the pass before it.
const SHARE: u32 = 10;

/// The longest pause that a pass brings about by taking long.
const LONGEST: Duration = Duration::from_secs(30);

/// The same while there are payments outside a block: two passes and a refused broadcast tell that one is lost.
const WATCHFUL: Duration = Duration::from_secs(2);

/// How the node is followed.
#[derive(Clone, Debug)]
pub struct FollowerSettings {
    /// The network that the node must be on.
    pub network: Network,
    /// The topics that the node should publish, each with the address where it is listened to.
    pub topics: Vec<(Topic, String)>,
    /// The shortest pause between two passes when nothing calls for one earlier.
    pub heartbeat: Duration,
    /// Whether a payment that left the mempool is sent again before it is taken for lost.
    pub rebroadcast: bool,
    /// How often time passes for the ledger.
    pub tick: Duration,
}

impl FollowerSettings {
    /// A pass and a tick every second.
    pub fn new(network: Network, topics: Vec<(Topic, String)>) -> Self {
        let second = Duration::from_secs(1);
        Self { network, topics, heartbeat: second, rebroadcast: true, tick: second }
    }
}

/// Follows the node. Cheap to clone.
#[derive(Debug)]
pub struct Follower<S> {
    store: Arc<S>,
    engine: Engine,
    rpc: Rpc,
    sightings: Arc<Sightings>,
    memory: Arc<Memory>,
    health: Health,
    settings: Arc<FollowerSettings>,
    /// A pass is called for.
    wake: Arc<Notify>,
    /// A survey is called for.
    resurvey: Arc<AtomicBool>,
    room: Arc<Semaphore>,
    /// Shows that the loop of passes moves.
    pulse: Pulse,
    /// The time that the node may spend on scores.
    budget: Arc<Mutex<Budget>>,
}

impl<S> Clone for Follower<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            engine: self.engine.clone(),
            rpc: self.rpc.clone(),
            sightings: self.sightings.clone(),
            memory: self.memory.clone(),
            health: self.health.clone(),
            settings: self.settings.clone(),
            wake: self.wake.clone(),
            resurvey: self.resurvey.clone(),
            room: self.room.clone(),
            pulse: self.pulse.clone(),
            budget: self.budget.clone(),
        }
    }
}

/// What a step came to.
enum Performed<T> {
    Answer(Answer),
    Done(T),
}

impl<S: View + Send + Sync + 'static> Follower<S> {
    /// A follower that has not begun.
    pub fn new(
        store: Arc<S>,
        engine: Engine,
        rpc: Rpc,
        sightings: Arc<Sightings>,
        health: Health,
        settings: FollowerSettings,
    ) -> Self {
        Self {
            store,
            engine,
            rpc,
            sightings,
            memory: Arc::default(),
            health,
            settings: Arc::new(settings),
            wake: Arc::default(),
            resurvey: Arc::new(true.into()),
            room: Arc::new(Semaphore::new(MOST_MEETINGS)),
            pulse: Pulse::default(),
            budget: Arc::default(),
        }
    }

    /// The pulse of the loop of passes: a step for each pass and each of its questions, and a wait while the node, the
    /// engine or the disk is waited for.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Follows until told to stop. `signals` must be subscribed before this begins, so that what happens between
    /// the subscription and the first snapshot is in one of the two.
    pub async fn run(self, signals: Signals, mut shutdown: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().listen(signals));
        tasks.spawn(self.clone().pass_after_pass());
        tasks.spawn(self.tick());
        tokio::select! {
            // An error means that whoever could tell us to stop is gone, which is the same.
            _ = shutdown.wait_for(|stop| *stop) => {}
            // None of them ends by itself; if one does, the others cannot make up for it.
            ended = tasks.join_next() => tracing::error!(?ended, "a part of the follower ended"),
        }
        tasks.shutdown().await;
    }

    async fn listen(self, mut signals: Signals) {
        let met = metrics::counter!("jppd_transactions_met_total");
        while let Some(signal) = signals.recv().await {
            match signal {
                Signal::Transaction { raw } => {
                    met.increment(1);
                    self.meet(raw);
                }
                Signal::Connected(topic) => {
                    tracing::info!(%topic, "ZMQ is connected");
                    if topic == Topic::RawTx {
                        self.sightings.coverage().connected(true);
                    }
                    self.resurvey.store(true, Ordering::Relaxed);
                    self.wake.notify_one();
                }
                Signal::Disconnected(topic) => {
                    tracing::warn!(%topic, "ZMQ lost its connection");
                    if topic == Topic::RawTx {
                        self.sightings.coverage().connected(false);
                    }
                    self.wake.notify_one();
                }
                Signal::Gap { topic, expected, got } => {
                    tracing::info!(%topic, expected, got, "ZMQ messages are missing");
                    self.sightings.coverage().missed();
                    self.wake.notify_one();
                }
                Signal::Overflow { dropped } => {
                    tracing::warn!(dropped, "ZMQ messages came faster than they were read");
                    self.sightings.coverage().missed();
                    self.wake.notify_one();
                }
                Signal::Block(_) => self.wake.notify_one(),
                Signal::DoubleSpend(txid) => self.sound(txid),
            }
        }
    }

    /// Takes a transaction from ZMQ as far as it goes without asking anybody, and hands the rest on.
    fn meet(&self, raw: Bytes) {
        // Noted before it is looked up, with what was on disk before it came.
        let moment = self.moment();
        let Ok(transaction) = Transaction::decode(raw) else {
            metrics::counter!("jppd_transactions_undecodable_total").increment(1);
            return;
        };
        let meeting = Meeting::new(transaction.shared(), moment, &self.sightings, self.memory.clone());
        let Some(mut meeting) = meeting else {
            self.wake.notify_one();
            return;
        };
        let step = match meeting.on(Answer::Begin, &*self.store) {
            Ok(Step::Done(())) => return,
            Ok(step) => step,
            Err(error) => {
                tracing::error!(%error, "a transaction could not be looked up");
                return;
            }
        };
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            self.wake.notify_one();
            return;
        };
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = this.finish_meeting(meeting, step).await {
                tracing::info!(%error, "a matching transaction is left to the next pass");
                this.wake.notify_one();
            }
            drop(permit);
        });
    }

    /// Looks at once whom a double spend proof concerns.
    fn sound(&self, txid: Txid) {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            self.wake.notify_one();
            return;
        };
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = this.finish_alarm(Alarm::of(txid)).await {
                tracing::info!(%error, %txid, "a double spend proof is left to the next pass");
                this.wake.notify_one();
            }
            drop(permit);
        });
    }

    async fn finish_alarm(&self, mut alarm: Alarm) -> Result<(), FollowError> {
        let mut answer = Answer::Begin;
        loop {
            match self.perform(alarm.on(answer, &*self.store)?).await? {
                Performed::Answer(next) => answer = next,
                Performed::Done(()) => return Ok(()),
            }
        }
    }

    async fn finish_meeting(&self, mut meeting: Meeting, mut step: Step<()>) -> Result<(), FollowError> {
        loop {
            match self.perform(step).await? {
                Performed::Answer(answer) => step = meeting.on(answer, &*self.store)?,
                Performed::Done(()) => return Ok(()),
            }
        }
    }

    async fn pass_after_pass(self) {
        let (mut surveyed, mut watches): (Option<Surveyed>, bool) = (None, false);
        let mut surveyed_at = Instant::now();
        let passes = metrics::counter!("jppd_passes_total");
        let seconds = metrics::histogram!("jppd_pass_seconds");
        loop {
            self.pulse.step();
            let started = Instant::now();
            self.sightings.coverage().pass_begins();
            let mut reasons = BTreeSet::new();
            match self.round(&mut surveyed, &mut surveyed_at, &mut watches, &reasons).await {
                Ok(PassEnd::Complete) => {
                    // A node that has the chain still to download, or lost a part of it, takes nothing into its
                    // mempool and knows nothing of what was paid: its word is not up to now.
                    let catching_up = surveyed.as_ref().is_some_and(Surveyed::is_catching_up);
                    if !catching_up && !self.memory.is_behind() {
                        self.health.pass_ended();
                    }
                    self.sightings.coverage().pass_ended(running());
                    passes.increment(1);
                    seconds.record(started.elapsed());
                }
                Ok(PassEnd::OtherNetwork) => {}
                Ok(PassEnd::Restless) => tracing::warn!("the chain moved faster than it could be followed"),
                Err(error) => {
                    let reason = reason_of(&error);
                    if matches!(reason, Some(Reason::InternalError { .. } | Reason::NodeNotUnderstood)) {
                        tracing::error!(%error, "a pass came to nothing");
                    } else {
                        tracing::debug!(%error, "a pass came to nothing");
                    }
                    reasons.extend(reason);
                    // What was known of the node may not hold for the one that comes back.
                    surveyed = None;
                }
            }
            if !self.memory.is_complete() {
                reasons.insert(Reason::Starting);
            }
            reasons.extend(surveyed.iter().flat_map(|surveyed| surveyed.reasons.clone()));
            if let Some(surveyed) = &surveyed {
                let now = self.engine.now();
                reasons.extend(surveyed.time.reasons(&now, self.engine.clock_is_behind()));
            } else {
                // A node that is away proves nothing new: what it said of the clock stands.
                reasons.extend(self.health.reasons().into_iter().filter(Reason::is_of_the_clock));
            }
            self.health.set(reasons);
            let left = pause(self.settings.heartbeat, started.elapsed(), watches);
            rest(left, WATCHFUL.max(self.settings.heartbeat), &self.wake, || self.has_payments_to_watch())
                .await;
        }
    }

    /// Whether there are payments outside a block, as far as the store can be read.
    fn has_payments_to_watch(&self) -> bool {
        ledger::unconfirmed(&*self.store, 1).map_or(true, |payments| !payments.is_empty())
    }

    /// A survey if one is called for, and a pass.
    async fn round(
        &self,
        surveyed: &mut Option<Surveyed>,
        surveyed_at: &mut Instant,
        watches: &mut bool,
        reasons: &BTreeSet<Reason>,
    ) -> Result<PassEnd, FollowError> {
        // What was wrong with the node may be mended without a word.
        let unwell = surveyed.as_ref().is_some_and(|found| !found.reasons.is_empty());
        let old = surveyed_at.elapsed() > SURVEY_EVERY || self.health.reasons().contains(&Reason::ClockWrong);
        if self.resurvey.swap(false, Ordering::Relaxed) || unwell || old {
            *surveyed = None;
        }
        let found = match surveyed {
            Some(found) => found,
            None => {
                *surveyed_at = Instant::now();
                let found = surveyed.insert(self.survey().await?);
                self.engine.prove_time(found.time.tip);
                found
            }
        };
        if !found.ours {
            return Ok(PassEnd::OtherNetwork);
        }
        self.health.set_relay_fee(found.relay_fee);
        let judge_absence = !found.is_catching_up();
        let mut pass = Pass::new(self.sightings.clone(), self.memory.clone(), judge_absence);
        if !self.settings.rebroadcast {
            pass = pass.without_rebroadcast();
        }
        let mut answer = Answer::Begin;
        loop {
            let step = {
                let _reading = self.pulse.waiting();
                pass.on(answer, &*self.store, self.moment())?
            };
            self.tell_progress(&pass, found, reasons);
            match self.perform(step).await? {
                Performed::Answer(next) => answer = next,
                Performed::Done(end) => {
                    *watches = pass.watches();
                    return Ok(end);
                }
            }
        }
    }

    /// A long walk is told while it goes on.
    fn tell_progress(&self, pass: &Pass, found: &Surveyed, reasons: &BTreeSet<Reason>) {
        let remaining = pass.remaining_blocks();
        if remaining < 2 || !remaining.is_multiple_of(100) {
            return;
        }
        let mut reasons: BTreeSet<Reason> = reasons.union(&found.reasons).cloned().collect();
        reasons.insert(Reason::CatchingUp { remaining });
        self.health.set(reasons);
    }

    async fn survey(&self) -> Result<Surveyed, FollowError> {
        let mut survey = Survey::new(self.settings.network, self.settings.topics.clone());
        let mut answer = Answer::Begin;
        loop {
            match self.perform(survey.on(answer)?).await? {
                Performed::Answer(next) => answer = next,
                Performed::Done(found) => return Ok(found),
            }
        }
    }

    async fn tick(self) {
        let mut interval = tokio::time::interval(self.settings.tick);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let judge_expiry = self.health.passed_within(FRESH);
            let clock_wrong = self.health.reasons().contains(&Reason::ClockWrong);
            match self.engine.apply(Action::Tick { judge_expiry, clock_wrong }).await {
                Ok(_) | Err(EngineError::Unavailable | EngineError::Busy) => {}
                Err(EngineError::Stopped) => return,
            }
        }
    }

    async fn perform<T>(&self, step: Step<T>) -> Result<Performed<T>, FollowError> {
        // The node has its time-outs, and the engine a pulse of its own.
        let _waiting = self.pulse.waiting();
        Ok(Performed::Answer(match step {
            Step::Ask(request) => Answer::Node(self.ask(request).await?),
            Step::Decode(raw) => {
                let decoded = tokio::task::spawn_blocking(move || Block::decode(&raw).map(Arc::new)).await;
                Answer::Decoded(decoded.map_err(|_| FollowError::Confused)?)
            }
            Step::Apply(action) => Answer::Applied(self.engine.apply(*action).await?),
            Step::Done(done) => return Ok(Performed::Done(done)),
        }))
    }

    /// Asks the node, and keeps an account of the time that scores take it.
    async fn ask(&self, request: Request) -> Result<Reply, NodeError> {
        let scores = matches!(request, Request::ProofScore(_));
        let asked = Instant::now();
        let reply = self.rpc.call(Lane::Follow, request).await;
        if scores {
            self.budget.lock().spend(Instant::now(), asked.elapsed());
        }
        self.memory.allow_appraisals(self.budget.lock().allows(Instant::now()));
        reply
    }

    fn moment(&self) -> Moment {
        Moment { now: self.engine.now(), order: self.engine.order() }
    }
}

/// How long to wait for the next pass, after one that took so long: most of the node's time belongs to others. While
/// there are payments outside a block, one that vanishes from the mempool must be missed soon, whatever it costs.
fn pause(heartbeat: Duration, took: Duration, watches: bool) -> Duration {
    let most = if watches { WATCHFUL } else { LONGEST };
    heartbeat.max(took.saturating_mul(SHARE).min(most))
}

/// Waits for the next pass, or until it is wanted; no longer than a watchful pause once there are payments outside a
/// block, however they came.
async fn rest(pause: Duration, watchful: Duration, wake: &Notify, watches: impl Fn() -> bool) {
    let mut left = pause;
    while !left.is_zero() {
        let some = left.min(watchful);
        if tokio::time::timeout(some, wake.notified()).await.is_ok() {
            return;
        }
        left = left.saturating_sub(some);
        if watches() {
            return;
        }
    }
}

/// Reason that a failed pass gives, if any. A fault of this program or of the chain is not reported as an unreachable
/// node.
fn reason_of(error: &FollowError) -> Option<Reason> {
    match error {
        FollowError::Node(error) => match error {
            NodeError::Unreachable | NodeError::Timeout | NodeError::NoAnswer => {
                Some(Reason::NodeUnreachable)
            }
            NodeError::Unauthorized => Some(Reason::NodeUnauthorized),
            NodeError::Exhausted => Some(Reason::OutOfFiles),
            NodeError::Expired => Some(Reason::NodeSoftwareExpired),
            NodeError::WarmingUp => Some(Reason::NodeWarmingUp),
            NodeError::Busy => None,
            NodeError::Rpc { .. } | NodeError::Malformed => Some(Reason::NodeNotUnderstood),
            NodeError::Internal => Some(Reason::InternalError { what: error.to_string() }),
        },
        FollowError::MempoolNotLoaded => Some(Reason::NodeWarmingUp),
        // Begun anew at once, from where the chain is now.
        FollowError::Moved => None,
        FollowError::Engine(_) | FollowError::Read(_) => Some(Reason::StoreUnavailable),
        FollowError::Pruned { from, to } => Some(Reason::HistoryPruned { from: *from, to: *to }),
        FollowError::OtherChain => Some(Reason::NoCommonBlock),
        FollowError::NoSuchBlock(_) | FollowError::Block(BlockError::MerkleRoot) => {
            Some(Reason::NodeNotUnderstood)
        }
        FollowError::Block(BlockError::Malformed) | FollowError::Confused => {
            Some(Reason::InternalError { what: error.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::ledger::ReadError;

    #[test]
    fn only_a_node_that_is_away_is_called_away() {
        let named = |error: FollowError| reason_of(&error).map(|reason| reason.name());
        let rpc = NodeError::Rpc { code: -1, message: String::new() };
        let hash = bitcoincash::hashes::Hash::from_byte_array([1; 32]);
        let table = [
            (NodeError::Unreachable.into(), Some("node_unreachable")),
            (NodeError::Timeout.into(), Some("node_unreachable")),
            (NodeError::NoAnswer.into(), Some("node_unreachable")),
            (NodeError::Unauthorized.into(), Some("node_unauthorized")),
            (NodeError::Exhausted.into(), Some("out_of_files")),
            (NodeError::Expired.into(), Some("node_software_expired")),
            (NodeError::WarmingUp.into(), Some("node_warming_up")),
            (FollowError::MempoolNotLoaded, Some("node_warming_up")),
            (NodeError::Busy.into(), None),
            (FollowError::Moved, None),
            (NodeError::Malformed.into(), Some("node_not_understood")),
            (rpc.into(), Some("node_not_understood")),
            (FollowError::NoSuchBlock(hash), Some("node_not_understood")),
            (FollowError::OtherChain, Some("no_common_block")),
            (FollowError::Pruned { from: 1, to: 2 }, Some("history_pruned")),
            (EngineError::Unavailable.into(), Some("store_unavailable")),
            (ReadError(String::new()).into(), Some("store_unavailable")),
            (NodeError::Internal.into(), Some("internal_error")),
            (FollowError::Confused, Some("internal_error")),
            (BlockError::Malformed.into(), Some("internal_error")),
            (BlockError::MerkleRoot.into(), Some("node_not_understood")),
        ];
        for (error, expected) in table {
            assert_eq!(named(error.clone()), expected, "{error}");
        }
    }

    #[test]
    fn a_pass_that_takes_long_is_followed_by_a_longer_pause() {
        let ms = Duration::from_millis;
        let table = [
            // heartbeat, the pass took, there are payments to watch, pause
            (1000, 2, false, 1000),
            (1000, 100, false, 1000),
            (1000, 400, false, 4000),
            (1000, 400, true, 2000),
            (1000, 150, true, 1500),
            (1000, 20_000, false, 30_000),
            (60_000, 1, true, 60_000),
            (100, 1, false, 100),
        ];
        for (heartbeat, took, watches, expected) in table {
            assert_eq!(pause(ms(heartbeat), ms(took), watches), ms(expected), "{heartbeat} {took} {watches}");
        }
    }

    #[tokio::test]
    async fn a_long_pause_ends_when_there_is_something_to_watch() {
        let (ms, for_ever) = (Duration::from_millis, Duration::from_secs(3600));
        let looks = Cell::new(0);
        let look = |enough: u32| {
            looks.set(looks.get() + 1);
            looks.get() == enough
        };
        rest(for_ever, ms(1), &Notify::new(), || look(3)).await;
        assert_eq!(looks.take(), 3, "it looks again and again, and rests no longer when there is something");
        rest(ms(3), ms(1), &Notify::new(), || look(u32::MAX)).await;
        assert_eq!(looks.take(), 3, "a pause is over some time");
        let wake = Notify::new();
        wake.notify_one();
        rest(for_ever, for_ever, &wake, || look(1)).await;
        assert_eq!(looks.take(), 0, "who is called does not look first");
        rest(Duration::ZERO, ms(1), &Notify::new(), || look(1)).await;
        assert_eq!(looks.take(), 0);
    }
}
