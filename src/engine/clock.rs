//! The clocks: the one place where they are read, and where elapsed time is kept.

use std::{fmt, sync::Arc, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use crate::{
    invoice::{Elapsed, Leap, NodeTime, Reading, Timestamp},
    ledger::{ReadError, Reads, tables::Counters, tables::Meta},
};

/// Where times come from.
pub trait Clock: Send + Sync + 'static {
    /// Time of the wall clock. It can be wrong, and an administrator can set it at any time.
    fn wall(&self) -> Timestamp;

    /// The time since some fixed moment. It advances while the machine sleeps, and nobody can set it.
    fn running(&self) -> Duration;

    /// Time of the node's clock; `None` until it has been measured.
    fn node(&self) -> Option<NodeTime> {
        None
    }
}

/// The machine's clocks, and the node's as somebody measures it.
#[derive(Clone, Default)]
pub struct SystemClock {
    node: Option<Arc<dyn Fn() -> Option<NodeTime> + Send + Sync>>,
}

impl SystemClock {
    /// The machine's clocks beside a node whose clock is measured by `node`.
    pub fn beside(node: impl Fn() -> Option<NodeTime> + Send + Sync + 'static) -> Self {
        Self { node: Some(Arc::new(node)) }
    }
}

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemClock").finish_non_exhaustive()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where wall time enters")]
    fn wall(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn running(&self) -> Duration {
        running()
    }

    fn node(&self) -> Option<NodeTime> {
        self.node.as_ref().and_then(|node| node())
    }
}

/// The time since the machine was started, sleep included (`CLOCK_BOOTTIME`).
pub fn running() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    // Neither part is negative: the clock begins at zero.
    let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(secs.unwrap_or_default(), nanos.unwrap_or_default())
}

/// How far the time of a block can be ahead of the time at which the next one is found: what a stop may have lasted
/// longer than the node's tip says.
const TIP_SLACK: Duration = Duration::from_secs(3600);

/// How exactly a stop is measured by the node's clock, which is read over HTTP in whole seconds at both ends of it. So
/// much is taken off: no deadline comes early.
const NODE_PRECISION: Duration = Duration::from_secs(2);

/// How far the wall clock may show less than what was shown before.
const BEHIND: Duration = Duration::from_secs(60);

/// Elapsed time, from what the clocks show. It reads none of them: its caller says what they show.
///
/// While the process runs, elapsed time advances by [`Clock::running`]. Over a stop it advances by what the wall clock
/// went on, never back, and by no more than the node's clock did. On a network that finds blocks by itself the time of
/// the node's tip limits it as well; what that cuts off is added when a later block proves it.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The last input before this process began.
    last: Meta,
    /// Time of the wall clock at the last input.
    last_wall: Timestamp,
    /// [`Clock::running`] when this process began.
    began: Duration,
    /// How long the stop was, by the wall clock.
    stop: Duration,
    /// Whether the node's clock was asked how long the stop was, or cannot tell.
    weighed: bool,
    /// Whether blocks have to prove how long the stop was.
    proof_needed: bool,
    /// The latest time of a tip, and when it was told.
    proof: Option<(Timestamp, Duration)>,
    leap: Leap,
    /// Whether the wall clock showed no less than before at least once.
    agreed: bool,
}

impl Timeline {
    /// Elapsed time over a store. `proof_needed` says that the network finds blocks by itself.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the counters cannot be read.
    pub fn begin(
        store: &impl Reads<Counters>,
        clock: &impl Clock,
        proof_needed: bool,
    ) -> Result<Self, ReadError> {
        let last = store.get(&())?;
        Ok(Self::new(last, clock.wall(), clock.running(), proof_needed))
    }

    /// Elapsed time after the last input of a store, from what the clocks show at the start.
    pub fn new(last: Option<Meta>, wall: Timestamp, running: Duration, proof_needed: bool) -> Self {
        let last = last.unwrap_or_else(|| Meta {
            now: Elapsed::from_millis(wall.millis()),
            wall: Some(wall),
            ..Meta::default()
        });
        // Programs that had one time for everything kept the wall clock there, as far as it did not run back.
        let last_wall = last.wall.unwrap_or(Timestamp::from_millis(last.now.millis()));
        Self {
            last_wall,
            began: running,
            stop: wall.since(last_wall),
            weighed: last.node.is_none(),
            proof_needed,
            proof: None,
            leap: Leap { until: last.now, by: Duration::ZERO },
            agreed: false,
            last,
        }
    }

    /// All clocks at a moment.
    pub fn read(&mut self, wall: Timestamp, running: Duration, node: Option<NodeTime>) -> Reading {
        let ran = running.saturating_sub(self.began);
        if let (false, Some(node), Some(before)) = (self.weighed, node, self.last.node) {
            self.stop = self.stop.min(node.before(ran).since(before).saturating_sub(NODE_PRECISION));
            self.weighed = true;
        }
        self.agreed |= wall.after(BEHIND) >= self.last_wall;
        self.leap(ran);
        Reading { elapsed: self.elapsed(ran), wall, node, leap: self.leap }
    }

    /// The node's tip has this time, in its miner's clock.
    pub fn prove(&mut self, tip: Timestamp, running: Duration) {
        if self.proof.is_none_or(|(proven, _)| proven < tip) {
            self.proof = Some((tip, running.saturating_sub(self.began)));
        }
    }

    /// Whether the wall clock shows more than a minute less than was shown before this process began, and never agreed
    /// with that since.
    pub fn is_behind(&self) -> bool {
        !self.agreed
    }

    fn elapsed(&self, ran: Duration) -> Elapsed {
        self.last.now.after(self.leap.by).after(ran)
    }

    /// Adds what is known by now of the stop.
    fn leap(&mut self, ran: Duration) {
        let most = match self.proof {
            _ if !self.weighed => Duration::ZERO,
            _ if !self.proof_needed => Duration::MAX,
            Some((tip, told)) => tip.after(TIP_SLACK).since(self.last_wall.after(told)),
            None => Duration::ZERO,
        };
        let by = self.stop.min(most);
        if by > self.leap.by {
            self.leap.by = by;
            self.leap.until = self.elapsed(ran);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn wall() -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    /// Record of the last input of a run, with the node's clock 90 s behind the wall clock.
    fn last() -> Meta {
        Meta {
            now: Elapsed::from_millis(wall().millis()),
            wall: Some(wall()),
            node: Some(NodeTime::from_millis(wall().before(90 * SECOND).millis())),
            ..Meta::default()
        }
    }

    /// Time of the node's clock when so much time has passed since the last input.
    fn node(after: Duration) -> Option<NodeTime> {
        last().node.map(|node| node.after(after))
    }

    #[test]
    fn steps_of_the_wall_clock_move_nothing() {
        let mut timeline = Timeline::new(None, wall(), 5 * SECOND, false);
        for (seconds, shown) in [(0, wall()), (10, wall().after(3 * HOUR)), (20, Timestamp::default())] {
            let reading = timeline.read(shown, (5 + seconds) * SECOND, None);
            assert_eq!(reading.elapsed, Elapsed::from_millis(wall().millis()).after(seconds * SECOND));
            assert_eq!((reading.wall, reading.leap.by), (shown, Duration::ZERO));
            assert!(!timeline.is_behind(), "a step while running needs no doubt");
        }
    }

    #[test]
    fn over_a_stop_the_clock_that_went_on_least_counts() {
        let stopped = 10 * 60 * SECOND;
        let forwards = [Duration::ZERO, 2 * SECOND, 2 * HOUR, 14 * DAY, 400 * DAY];
        for wrong in forwards {
            // Ahead at the start: the node knows better.
            let mut timeline = Timeline::new(Some(last()), wall().after(stopped + wrong), SECOND, false);
            let reading = timeline.read(wall(), 2 * SECOND, node(stopped + SECOND));
            let least = stopped - NODE_PRECISION;
            assert_eq!(reading.elapsed, last().now.after(least + SECOND), "{wrong:?} ahead");
            assert_eq!(reading.leap, Leap { until: reading.elapsed, by: least });
            // Behind: never back.
            let mut timeline =
                Timeline::new(Some(last()), wall().after(stopped).before(wrong), SECOND, false);
            let reading = timeline.read(wall(), 2 * SECOND, node(stopped + SECOND));
            let least = stopped.saturating_sub(wrong.max(NODE_PRECISION));
            assert_eq!(reading.elapsed, last().now.after(least + SECOND));
        }
        // Nothing is added before the node was asked.
        let mut timeline = Timeline::new(Some(last()), wall().after(stopped), SECOND, false);
        assert_eq!(timeline.read(wall(), SECOND, None).elapsed, last().now);
    }

    #[test]
    fn a_store_of_a_program_with_one_time_goes_on_where_it_was() {
        let last = Meta { wall: None, node: None, ..last() };
        let mut timeline = Timeline::new(Some(last), wall().after(HOUR), SECOND, false);
        assert_eq!(timeline.read(wall(), SECOND, None).elapsed, last.now.after(HOUR));
    }

    #[test]
    fn blocks_prove_how_long_a_stop_was() {
        let last = Meta { node: None, ..last() };
        for wrong in [Duration::ZERO, 2 * HOUR, 400 * DAY] {
            let stopped = 3 * DAY;
            let mut timeline = Timeline::new(Some(last), wall().after(stopped + wrong), SECOND, true);
            assert_eq!(timeline.read(wall(), SECOND, None).elapsed, last.now, "nothing is proven yet");
            // The tip that is known is two days old, and then a young one comes.
            timeline.prove(wall().after(DAY), SECOND);
            assert_eq!(timeline.read(wall(), SECOND, None).elapsed, last.now.after(DAY + HOUR));
            timeline.prove(wall().after(stopped + 9 * SECOND), 10 * SECOND);
            let reading = timeline.read(wall(), 10 * SECOND, None);
            let true_time = last.now.after(stopped + 9 * SECOND);
            assert_eq!(reading.elapsed, true_time.after(wrong.min(HOUR)), "{wrong:?}");
            // Later blocks prove no more than the time that passed.
            timeline.prove(wall().after(stopped + 5 * HOUR + 9 * SECOND), 5 * HOUR + 10 * SECOND);
            let reading = timeline.read(wall(), 5 * HOUR + 10 * SECOND, None);
            assert_eq!(reading.elapsed, true_time.after(5 * HOUR + wrong.min(HOUR)), "{wrong:?}");
            assert_eq!(reading.watched(last.now), true_time.after(5 * HOUR).before(stopped), "{wrong:?}");
        }
    }

    #[test]
    fn a_clock_that_shows_less_than_before_is_behind_until_it_agrees() {
        let mut timeline = Timeline::new(Some(last()), wall().before(HOUR), SECOND, false);
        for (shown, behind) in
            [(wall().before(HOUR), true), (wall().before(60 * SECOND), false), (wall().before(HOUR), false)]
        {
            timeline.read(shown, SECOND, None);
            assert_eq!(timeline.is_behind(), behind, "{shown}");
        }
    }

    #[test]
    fn the_running_time_advances() {
        let before = running();
        assert!(running() >= before && before > Duration::ZERO);
    }
}
