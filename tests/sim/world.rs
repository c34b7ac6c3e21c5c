//! The world: one clock, one queue of what is to happen, and everybody in it.
//!
//! Nothing here waits. Whoever wants something later puts it into the queue, and the world takes out what comes next,
//! by its millisecond and then by the order in which it was put in. So two machines that would run side by side take
//! their steps in an order that the seed decides, and every step is an ordinary call that a debugger can stop at.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use jppd::{
    bch::Block,
    engine::EngineError,
    invoice::{NodeTime, Timestamp},
    ledger::Outcome,
    node::{NodeError, Reply, Request, Signal},
};

use crate::{
    daemon::Daemon,
    defects::Defect,
    dice::Dice,
    disk::{Condition, Disk},
    network::Node,
    oracle::Oracle,
    people::{Deed, People},
    plan::{Fault, Plan},
};

/// A Tuesday, in seconds since 1970.
const BEGIN_S: u64 = 1_800_000_000;

/// How long nothing happens before the oracle speaks: two passes without a transaction, the broadcasts after them,
/// and whatever answer was still under way.
const QUIET: u64 = 25_000;

/// Whose question was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Pass,
    Meeting(u32),
    Course(u32),
    Tick,
    Create(u32),
    Manage,
    /// A defect that acts by itself.
    Rogue,
}

/// Something that is to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// The daemon begins.
    Start,
    /// A part of the daemon goes on, unless that daemon was killed since.
    Inside(u32, Inside),
    /// A question reaches the node.
    Call {
        life: u32,
        who: Actor,
        request: Request,
        back: u64,
        lost: bool,
    },
    /// The second and the third look of a snapshot.
    Snapshot {
        life: u32,
        who: Actor,
        reply: jppd::node::Snapshot,
        looks: u8,
        back: u64,
    },
    /// The node goes on with its start.
    NodeUp,
    /// A chain that became shorter is whole again.
    Reconsider(bitcoincash::BlockHash),
    Fault(Fault),
    DiskMended,
    /// The wall clock shows the time again.
    ClockSetRight,
    Do(Deed),
    /// No more faults.
    Calm,
    End,
}

/// Something that happens within the daemon.
#[derive(Debug)]
pub(crate) enum Inside {
    Heard(Signal),
    Answered(Actor, Result<Reply, NodeError>),
    Decoded(Result<Arc<Block>, jppd::bch::BlockError>),
    Paused(u32),
    /// A submission waited for a pass, which came or did not.
    Passed(u32, bool),
    Gathered,
    Commit,
    Publish,
    Applied(Actor, Result<Outcome, EngineError>),
    Pass(u32),
    Tick,
    /// A defect notes what it looked up before.
    NoteLate(bitcoincash::Txid),
    HangUp(u32),
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, number: u64) {
        *self.counts.entry(what).or_default() += number;
    }

    pub(crate) fn get(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for (what, number) in &other.counts {
            self.add(what, *number);
        }
    }
}

/// Everybody, and what is to happen.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) defect: Option<Defect>,
    pub(crate) now: u64,
    /// How far the wall clock is from where it should be, in milliseconds.
    pub(crate) skew: i64,
    pub(crate) node: Node,
    pub(crate) disk: Arc<Disk>,
    pub(crate) daemon: Option<Daemon>,
    /// How many daemons there were.
    pub(crate) life: u32,
    pub(crate) people: People,
    pub(crate) oracle: Oracle,
    pub(crate) tally: Tally,
    /// Whether faults still happen.
    pub(crate) troubled: bool,
    pub(crate) slow_disk_until: u64,
    pub(crate) kill_at_write: Option<(bool, u64)>,
    epoch: Instant,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    trace: Option<String>,
}

impl World {
    /// A world whose node has coins for everybody.
    pub(crate) fn new(dice: Dice, plan: Plan, defect: Option<Defect>, traced: bool) -> Result<Self> {
        let coins = 64 + usize::try_from(plan.trials)?;
        let (node, purse) = Node::new(BEGIN_S - 10_000, coins)?;
        let mut world = Self {
            dice,
            defect,
            now: 0,
            skew: 0,
            node,
            disk: Arc::new(Disk::new(defect)),
            daemon: None,
            life: 0,
            people: People::new(purse),
            oracle: Oracle::default(),
            tally: Tally::default(),
            troubled: true,
            slow_disk_until: 0,
            kill_at_write: None,
            epoch: Instant::now(),
            queue: BTreeMap::new(),
            queued: 0,
            trace: traced.then(String::new),
            plan,
        };
        world.oracle.begin(&world.node);
        world.oracle.late_window = world.plan.late_window;
        world.at(0, Event::Start);
        for (at, fault) in std::mem::take(&mut world.plan.faults) {
            world.at(at, Event::Fault(fault));
        }
        world.people_plan()?;
        world.at(world.plan.busy, Event::Calm);
        world.at(world.plan.busy + QUIET, Event::End);
        Ok(world)
    }

    /// Lets everything happen, and asks the oracle.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(crate) fn run(&mut self) -> Result<()> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            if matches!(event, Event::End) {
                break;
            }
            self.happen(event).with_context(|| format!("at {} ms", self.now))?;
        }
        let World { oracle, node, disk, tally, now, life, daemon, .. } = self;
        if let Some(daemon) = daemon {
            daemon.is_at_rest(*now)?;
        }
        oracle.judge(node, &**disk, *life, tally)
    }

    fn happen(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Start => self.start(),
            Event::Inside(life, inside) if self.is_alive(life) => self.inside(inside),
            Event::Inside(..) | Event::End => Ok(()),
            Event::Call { life, who, request, back, lost } => self.ask_node(life, who, &request, back, lost),
            Event::Snapshot { life, who, reply, looks, back } => self.look(life, who, reply, looks, back),
            Event::NodeUp => self.node_up(),
            Event::Reconsider(hash) => self.reconsider(hash),
            Event::Fault(fault) if self.troubled => self.strike(fault),
            Event::Fault(_) => Ok(()),
            Event::DiskMended => {
                self.disk.set(Condition::Fit);
                Ok(())
            }
            Event::ClockSetRight => {
                self.skew = 0;
                Ok(())
            }
            Event::Do(deed) => self.act(deed),
            Event::Calm => self.calm(),
        }
    }

    /// Puts something into the queue, for a moment that is not before now.
    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), event);
    }

    /// The same, in so many milliseconds.
    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// The same for something within the daemon that is there now.
    pub(crate) fn inside_after(&mut self, delay: u64, inside: Inside) {
        self.after(delay, Event::Inside(self.life, inside));
    }

    /// The moment of the monotonic clock.
    pub(crate) fn instant(&self) -> Instant {
        self.epoch + Duration::from_millis(self.now)
    }

    /// The time since the machine began: no step of the wall clock moves it.
    pub(crate) fn running(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    /// Time that the node's clock shows.
    pub(crate) fn node_time(&self) -> NodeTime {
        NodeTime::from_millis((BEGIN_S * 1_000 + self.now).saturating_add_signed(self.plan.node_off))
    }

    /// Time that the node's clock shows, in whole seconds since 1970, as the node writes it.
    pub(crate) fn node_s(&self) -> u64 {
        self.node_time().secs()
    }

    /// What the wall clock shows.
    pub(crate) fn wall(&self) -> Timestamp {
        let shown = (BEGIN_S * 1_000 + self.now).saturating_add_signed(self.skew);
        Timestamp::from_millis(shown)
    }

    pub(crate) fn is_alive(&self, life: u32) -> bool {
        self.life == life && self.daemon.is_some()
    }

    /// Faults end. What was broken is mended, and the chain grows past every height it ever had.
    fn calm(&mut self) -> Result<()> {
        self.say(|| "no more faults".to_owned());
        self.troubled = false;
        self.kill_at_write = None;
        self.slow_disk_until = 0;
        self.disk.set(Condition::Fit);
        self.skew = 0;
        self.heal_node()?;
        if self.daemon.is_none() {
            self.after(1, Event::Start);
        }
        Ok(())
    }

    /// Writes a line of the trace, if one is kept.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let (secs, millis) = (self.now / 1_000, self.now % 1_000);
            trace.push_str(&format!("{secs:>4}.{millis:03}  {}\n", line()));
        }
    }

    /// What happened, a line each.
    pub(crate) fn trace(&self) -> &str {
        self.trace.as_deref().unwrap_or_default()
    }
}

/// Time that a right wall clock shows when `now` milliseconds of the world have passed.
pub(crate) fn wall_at(now: u64) -> Timestamp {
    Timestamp::from_millis(BEGIN_S * 1_000 + now)
}

/// The first letters of a name, for the trace.
pub(crate) fn short(name: &impl std::fmt::Display) -> String {
    name.to_string().chars().take(8).collect()
}
