//! The daemon: the program's own machines, and around them loops that are the ones of the program, word for word, but
//! for the waiting.
//!
//! The writer over the disk, one pass after the other, a meeting for each matching transaction, a course for each
//! submission, a tick each second. Every step that a machine asks for is an event later on, so the steps of all of them
//! mix. A kill drops all of it but the disk.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use jppd::{
    engine::{EngineError, Sightings, Timeline, Writer, Written},
    follow::{self, Meeting, Memory, Pass},
    invoice::{NodeTime, Order, Reading},
    ledger::{
        Action, Input, Outcome, Reads, Rules,
        tables::{Counters, Meta},
    },
    node::{NodeError, Reply, SendOutcome},
    submit,
};

use crate::{
    defects::Defect,
    engine::word,
    follower::Shown,
    submissions::Run,
    world::{Actor, Event, Inside, World},
};

/// How often a pass is made and time passes, in milliseconds.
pub(crate) const HEARTBEAT: u64 = 1_000;
/// For how long after a complete pass the node's word is taken to be known up to now, in milliseconds.
pub(crate) const FRESH: u64 = 10_000;
/// How long the node may be away before no invoice is created any more, in milliseconds.
pub(crate) const LONGEST_BLIND: u64 = 60_000;

/// One life of the program.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) writer: Writer,
    pub(crate) rules: Arc<Rules>,
    pub(crate) timeline: Timeline,
    /// By how many milliseconds the node's clock is measured wrong, once it is.
    pub(crate) node_error: i64,
    pub(crate) node_measured: bool,
    pub(crate) sightings: Arc<Sightings>,
    pub(crate) memory: Arc<Memory>,
    /// The position that is published, and those that a defect holds back until their moment.
    pub(crate) order: Order,
    pub(crate) held_back: VecDeque<(u64, Order)>,
    pub(crate) queue: VecDeque<(Actor, Input)>,
    pub(crate) writing: Option<Vec<(Actor, Input)>>,
    pub(crate) written: Option<(Written, Vec<Actor>)>,
    pub(crate) pass: Option<Pass>,
    pub(crate) passes: u32,
    pub(crate) woken: bool,
    /// When the last complete pass ended.
    pub(crate) passed: Option<u64>,
    /// What the last snapshot of this life showed, and where the node's chain really ended.
    pub(crate) snapshot: Option<Shown>,
    pub(crate) claims_sent: bool,
    pub(crate) meetings: BTreeMap<u32, Meeting>,
    pub(crate) courses: BTreeMap<u32, Run>,
    /// Submissions that wait for a pass.
    pub(crate) waiting: BTreeSet<u32>,
    pub(crate) numbers: u32,
}

impl Daemon {
    /// Nothing waits for an answer that does not come.
    pub(crate) fn is_at_rest(&self, now: u64) -> Result<()> {
        ensure!(self.courses.is_empty(), "submissions that never ended: {:?}", self.courses.keys());
        ensure!(self.meetings.is_empty(), "meetings that never ended: {:?}", self.meetings.keys());
        ensure!(
            self.passed.is_some_and(|passed| passed + 3 * HEARTBEAT > now),
            "the last complete pass was at {:?}",
            self.passed
        );
        Ok(())
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// The position that is published.
    pub(crate) fn order(&mut self, now: u64) -> Order {
        while let Some((_, order)) = self.held_back.front().copied().filter(|(due, _)| *due <= now) {
            self.held_back.pop_front();
            self.order = order;
        }
        self.order
    }
}

impl World {
    // Begin and end.

    pub(crate) fn start(&mut self) -> Result<()> {
        if self.daemon.is_some() {
            return Ok(());
        }
        self.life += 1;
        let rules = Rules {
            late_window: Duration::from_millis(self.plan.late_window),
            submission_grace: Duration::from_millis(self.plan.grace),
            ..Rules::default()
        };
        let (writer, order) = Writer::new(&*self.disk, rules.clone())?;
        let last = Reads::<Counters>::get(&*self.disk, &())?.map(|meta| Meta {
            node: meta.node.filter(|_| self.defect != Some(Defect::StopBelieved)),
            ..meta
        });
        let node_error = i64::try_from(self.dice.between(0, 1_400))? - 700;
        self.oracle.born(&self.node);
        self.daemon = Some(Daemon {
            writer,
            rules: Arc::new(rules),
            timeline: Timeline::new(last, self.wall(), self.running(), false),
            node_error,
            node_measured: false,
            sightings: Arc::default(),
            memory: Arc::default(),
            order,
            held_back: VecDeque::new(),
            queue: VecDeque::new(),
            writing: None,
            written: None,
            pass: None,
            passes: 0,
            woken: false,
            passed: None,
            snapshot: None,
            claims_sent: false,
            meetings: BTreeMap::new(),
            courses: BTreeMap::new(),
            waiting: BTreeSet::new(),
            numbers: 0,
        });
        if let Some(daemon) = &self.daemon {
            daemon.sightings.coverage().connected(true);
        }
        self.tally.count("starts");
        self.say(|| "daemon    starts".to_owned());
        self.inside_after(0, Inside::Pass(0));
        self.inside_after(0, Inside::Tick);
        Ok(())
    }

    /// The program ends without a word, and begins again later.
    pub(crate) fn kill(&mut self, down: u64) -> Result<()> {
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        self.say(|| "daemon    is killed".to_owned());
        self.disk.crash();
        self.landed()?;
        let submissions = daemon.courses.into_values().map(|run| (run.invoice, run.txids, run.tries));
        self.deserted(submissions.collect())?;
        self.after(down, Event::Start);
        Ok(())
    }

    /// Something happens within the daemon.
    pub(crate) fn inside(&mut self, inside: Inside) -> Result<()> {
        match inside {
            Inside::Heard(signal) => self.heard(signal),
            Inside::Answered(who, reply) => self.node_answered(who, reply),
            Inside::Decoded(block) => self.go_on_with_pass(follow::Answer::Decoded(block)),
            Inside::Paused(number) => self.go_on_with_course(number, submit::Answer::Paused),
            Inside::Passed(number, passed) => {
                let waits = self.daemon.as_mut().is_some_and(|daemon| daemon.waiting.remove(&number));
                if waits { self.go_on_with_course(number, submit::Answer::Passed(passed)) } else { Ok(()) }
            }
            Inside::Gathered => self.gathered(),
            Inside::Commit => self.commit(),
            Inside::Publish => self.publish(),
            Inside::Applied(who, outcome) => self.engine_answered(who, outcome),
            Inside::Pass(number) => self.begin_pass(number),
            Inside::Tick => {
                let judge = self.defect == Some(Defect::ExpiryUnwatched) || self.passed_within(FRESH);
                self.oracle.ticked(self.passed_within(FRESH));
                self.apply(Actor::Tick, Action::Tick { judge_expiry: judge, clock_wrong: false }, true);
                if self.defect == Some(Defect::WaitEndedByTheClock) {
                    self.end_waits()?;
                }
                Ok(())
            }
            Inside::NoteLate(txid) => {
                let moment = self.moment();
                if let (Some(daemon), Some(moment)) = (&self.daemon, moment) {
                    daemon.sightings.note(txid, moment.first_seen());
                }
                Ok(())
            }
            Inside::HangUp(number) => {
                if self.defect == Some(Defect::HungUp)
                    && let Some(daemon) = &mut self.daemon
                {
                    daemon.courses.remove(&number);
                }
                Ok(())
            }
        }
    }

    fn node_answered(&mut self, who: Actor, reply: Result<Reply, NodeError>) -> Result<()> {
        if let (Ok(_), Some(daemon)) = (&reply, &mut self.daemon) {
            daemon.node_measured = true;
        }
        match who {
            Actor::Pass => match reply {
                Ok(reply) => self.go_on_with_pass(follow::Answer::Node(reply)),
                Err(error) => self.pass_ended(Err(error.into())),
            },
            Actor::Meeting(number) => match reply {
                Ok(reply) => self.go_on_with_meeting(number, follow::Answer::Node(reply)),
                Err(error) => {
                    self.meeting_failed(number, &error.into());
                    Ok(())
                }
            },
            Actor::Course(number) => {
                let reply = self.bend(number, reply);
                self.go_on_with_course(number, submit::Answer::Node(reply))
            }
            Actor::Tick | Actor::Create(_) | Actor::Manage | Actor::Rogue => Ok(()),
        }
    }

    /// The defects that turn an answer to a submission round.
    fn bend(&self, number: u32, reply: Result<Reply, NodeError>) -> Result<Reply, NodeError> {
        let run = self.daemon.as_ref().and_then(|daemon| daemon.courses.get(&number));
        let sending = run.is_some_and(|run| run.sending.is_some());
        match (&reply, self.defect) {
            (Err(NodeError::Timeout | NodeError::NoAnswer), Some(Defect::ReleasedAfterTimeout))
                if sending =>
            {
                Err(NodeError::Unreachable)
            }
            (Err(_), Some(Defect::SilenceIsSuccess)) if sending => Ok(Reply::Sent(SendOutcome::Accepted)),
            _ => reply,
        }
    }

    fn engine_answered(&mut self, who: Actor, outcome: Result<Outcome, EngineError>) -> Result<()> {
        match who {
            Actor::Pass => match outcome {
                Ok(outcome) => self.go_on_with_pass(follow::Answer::Applied(outcome)),
                Err(error) => self.pass_ended(Err(error.into())),
            },
            Actor::Meeting(number) => match outcome {
                Ok(outcome) => self.go_on_with_meeting(number, follow::Answer::Applied(outcome)),
                Err(error) => {
                    self.meeting_failed(number, &error.into());
                    Ok(())
                }
            },
            Actor::Course(number) => self.go_on_with_course(number, submit::Answer::Applied(outcome)),
            Actor::Tick => {
                self.inside_after(HEARTBEAT, Inside::Tick);
                Ok(())
            }
            Actor::Create(number) => self.created(number, outcome),
            Actor::Manage => {
                self.say(|| format!("merchant  is told {}", word(&outcome)));
                Ok(())
            }
            Actor::Rogue => Ok(()),
        }
    }

    // The clock and the order.

    /// All clocks, as the daemon reads them.
    pub(crate) fn reading(&mut self) -> Reading {
        let (wall, running, node) = (self.wall(), self.running(), self.node_time());
        let Some(daemon) = &mut self.daemon else { return Reading::of_wall(wall) };
        let measured = NodeTime::from_millis(node.millis().saturating_add_signed(daemon.node_error));
        let node = daemon.node_measured.then_some(measured);
        let reading = daemon.timeline.read(wall, running, node);
        match self.defect {
            Some(Defect::DeadlinesByTheWall) => Reading { node, ..Reading::of_wall(wall) },
            Some(Defect::NodeTimeIsOurs) => {
                Reading { node: Some(NodeTime::from_millis(wall.millis())), ..reading }
            }
            _ => reading,
        }
    }

    pub(crate) fn passed_within(&self, time: u64) -> bool {
        let passed = self.daemon.as_ref().and_then(|daemon| daemon.passed);
        passed.is_some_and(|passed| passed + time > self.now)
    }

    pub(crate) fn moment(&mut self) -> Option<follow::Moment> {
        let (now, world_now) = (self.reading(), self.now);
        let order = self.daemon.as_mut()?.order(world_now);
        Some(follow::Moment { now, order })
    }
}
