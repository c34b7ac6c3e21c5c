//! The follower of the simulation: the loops of `src/follow/follower.rs`, one step at a time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use bitcoincash::{BlockHash, Txid};
use bytes::Bytes;
use jppd::{
    bch::{Block, Transaction},
    engine::Sightings,
    follow::{self, FollowError, Meeting, Pass, PassEnd},
    invoice::Elapsed,
    ledger::{
        Action, Reads,
        tables::{Counters, Held},
    },
    node::{Request, Signal, Snapshot, Topic},
};

use crate::{
    daemon::HEARTBEAT,
    defects::Defect,
    verdict::{first, last},
    world::{Actor, Inside, World, short},
};

/// What the last snapshot showed.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) txids: BTreeSet<Txid>,
    /// Where the node's chain really ended then.
    pub(crate) tip: BlockHash,
    /// How many failed commits had turned out to be written by then: one that does later moves our chain under a pass.
    pub(crate) turned_out: u64,
}

impl World {
    pub(crate) fn heard(&mut self, signal: Signal) -> Result<()> {
        self.tally.count("signals");
        match signal {
            Signal::Transaction { raw } => self.meet(raw),
            Signal::Gap { .. } if self.defect == Some(Defect::PassSkipped) => Ok(()),
            Signal::Connected(topic) | Signal::Disconnected(topic) if topic == Topic::RawTx => {
                if let Some(daemon) = &self.daemon {
                    daemon.sightings.coverage().connected(matches!(signal, Signal::Connected(_)));
                }
                self.wake();
                Ok(())
            }
            Signal::Gap { .. } => {
                if let Some(daemon) = &self.daemon {
                    daemon.sightings.coverage().missed();
                }
                self.wake();
                Ok(())
            }
            Signal::Block(_)
            | Signal::DoubleSpend(_)
            | Signal::Connected(_)
            | Signal::Disconnected(_)
            | Signal::Overflow { .. } => {
                self.wake();
                Ok(())
            }
        }
    }

    pub(crate) fn meet(&mut self, raw: Bytes) -> Result<()> {
        let Some(moment) = self.moment() else { return Ok(()) };
        let transaction = Transaction::decode(raw)?.shared();
        let txid = transaction.txid();
        let most = self.plan.meetings;
        let late = self.defect == Some(Defect::OrderAfterLookup);
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let elsewhere = Sightings::default();
        let sightings = if late { &elsewhere } else { &*daemon.sightings };
        let Some(mut meeting) = Meeting::new(transaction, moment, sightings, daemon.memory.clone()) else {
            self.wake();
            return Ok(());
        };
        self.oracle.noted(txid);
        let step = meeting.on(follow::Answer::Begin, &*self.disk)?;
        if matches!(step, follow::Step::Done(())) {
            if late {
                let delay = self.dice.between(50, 600);
                self.inside_after(delay, Inside::NoteLate(txid));
            }
            return Ok(());
        }
        if daemon.meetings.len() >= most {
            self.tally.count("meetings without room");
            self.wake();
            return Ok(());
        }
        let number = daemon.number();
        daemon.meetings.insert(number, meeting);
        self.say(|| format!("follower  hears of {}", short(&txid)));
        self.take_meeting_step(number, step);
        Ok(())
    }

    pub(crate) fn go_on_with_meeting(&mut self, number: u32, answer: follow::Answer) -> Result<()> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let Some(meeting) = daemon.meetings.get_mut(&number) else { return Ok(()) };
        match meeting.on(answer, &*self.disk) {
            Ok(step) => self.take_meeting_step(number, step),
            Err(error) => self.meeting_failed(number, &error),
        }
        Ok(())
    }

    pub(crate) fn take_meeting_step(&mut self, number: u32, step: follow::Step<()>) {
        if self.follow(Actor::Meeting(number), step).is_some()
            && let Some(daemon) = &mut self.daemon
        {
            daemon.meetings.remove(&number);
        }
    }

    pub(crate) fn meeting_failed(&mut self, number: u32, error: &FollowError) {
        self.say(|| format!("follower  leaves a transaction to the next pass: {error}"));
        if let Some(daemon) = &mut self.daemon {
            daemon.meetings.remove(&number);
        }
        self.wake();
    }

    pub(crate) fn wake(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.pass.is_some() {
            daemon.woken = true;
        } else {
            daemon.passes += 1;
            let number = daemon.passes;
            self.inside_after(0, Inside::Pass(number));
        }
    }

    pub(crate) fn begin_pass(&mut self, number: u32) -> Result<()> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        if daemon.pass.is_some() || number != daemon.passes {
            return Ok(());
        }
        if self.defect == Some(Defect::PassSkipped) && daemon.memory.is_complete() {
            daemon.passed = Some(self.now);
            daemon.passes += 1;
            let number = daemon.passes;
            self.inside_after(HEARTBEAT, Inside::Pass(number));
            return Ok(());
        }
        daemon.woken = false;
        daemon.sightings.coverage().pass_begins();
        daemon.pass = Some(Pass::new(daemon.sightings.clone(), daemon.memory.clone(), true));
        self.go_on_with_pass(follow::Answer::Begin)
    }

    pub(crate) fn go_on_with_pass(&mut self, answer: follow::Answer) -> Result<()> {
        let Some(moment) = self.moment() else { return Ok(()) };
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let Some(pass) = &mut daemon.pass else { return Ok(()) };
        match pass.on(answer, &*self.disk, moment) {
            Ok(step) => match self.follow(Actor::Pass, step) {
                Some(end) => self.pass_ended(Ok(end)),
                None => Ok(()),
            },
            Err(error) => self.pass_ended(Err(error)),
        }
    }

    pub(crate) fn pass_ended(&mut self, end: Result<PassEnd, FollowError>) -> Result<()> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        daemon.pass = None;
        let now = self.now;
        match &end {
            Ok(PassEnd::Complete) => {
                self.tally.count("passes");
                self.oracle.watches(now);
                if !daemon.memory.is_behind() {
                    daemon.passed = Some(now);
                }
                daemon.sightings.coverage().pass_ended(Duration::from_millis(now));
                let waiting = daemon.waiting.clone();
                let memory = daemon.memory.clone();
                if let Some(Shown { txids, tip, turned_out }) = &daemon.snapshot {
                    let ours = Reads::<Counters>::get(&*self.disk, &())?.unwrap_or_default().tip;
                    ensure!(
                        ours.is_some_and(|(_, ours)| ours == *tip) || *turned_out != self.disk.turned_out(),
                        "a pass was complete with the tip {ours:?}, and the node's was {tip}"
                    );
                    for txid in txids.iter().filter(|txid| memory.is_examined(txid)) {
                        self.oracle.noted(*txid);
                    }
                }
                for number in waiting {
                    self.inside_after(0, Inside::Passed(number, true));
                }
                self.rogues()?;
            }
            Ok(PassEnd::Restless | PassEnd::OtherNetwork) | Err(_) => {
                self.tally.count("passes broken off");
                self.say(|| format!("follower  breaks off a pass: {end:?}"));
            }
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.passes += 1;
            let number = daemon.passes;
            let delay = if std::mem::take(&mut daemon.woken) { 0 } else { HEARTBEAT };
            self.inside_after(delay, Inside::Pass(number));
        }
        Ok(())
    }

    /// The defects that act by themselves after a pass.
    pub(crate) fn rogues(&mut self) -> Result<()> {
        use jppd::ledger::tables::{Place, Transactions, Unconfirmed};
        let every = bitcoincash::hashes::Hash::from_byte_array([0; 32])
            ..=bitcoincash::hashes::Hash::from_byte_array([0xff; 32]);
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        if self.defect == Some(Defect::LostAfterOnePass) {
            let tracked = Reads::<Unconfirmed>::range(&*self.disk, every, usize::MAX)?;
            let there = daemon.snapshot.as_ref().map(|shown| shown.txids.clone()).unwrap_or_default();
            for (txid, ()) in tracked.into_iter().filter(|(txid, ())| !there.contains(txid)) {
                self.apply(Actor::Rogue, Action::Lost { txid }, true);
            }
        } else if self.defect == Some(Defect::ClaimsSentAtStart)
            && !std::mem::replace(&mut daemon.claims_sent, true)
        {
            let known = Reads::<Transactions>::range(&*self.disk, every, usize::MAX)?;
            for (_, record) in known.into_iter().filter(|(_, record)| record.place == Place::Claimed) {
                self.ask(Actor::Rogue, Request::Send(record.raw));
            }
        }
        Ok(())
    }

    /// The defect that lets what is held count when its time is over, whether anybody looked or not.
    pub(crate) fn end_waits(&mut self) -> Result<()> {
        let until = self.reading().elapsed;
        let held =
            Reads::<Held>::range(&*self.disk, (Elapsed::default(), first())..=(until, last()), usize::MAX)?;
        let until = held.into_iter().map(|((_, outpoint), ())| (outpoint.txid, until)).collect();
        self.apply(Actor::Rogue, Action::Watched { until }, true);
        Ok(())
    }

    /// Whether the first pass of a life has not come to the mempool yet.
    pub(crate) fn is_recalling(&self, life: u32) -> bool {
        self.is_alive(life) && self.daemon.as_ref().is_some_and(|daemon| daemon.snapshot.is_none())
    }

    /// What a snapshot showed, and where the chain really ended.
    pub(crate) fn snapshot_taken(&mut self, snapshot: &Snapshot, tip: BlockHash) {
        if let Some(daemon) = &mut self.daemon {
            let (txids, turned_out) = (snapshot.txids.iter().copied().collect(), self.disk.turned_out());
            daemon.snapshot = Some(Shown { txids, tip, turned_out });
        }
    }

    /// Does what a machine of the follower asks for. `Some` is what it ended with.
    pub(crate) fn follow<T>(&mut self, who: Actor, step: follow::Step<T>) -> Option<T> {
        match step {
            follow::Step::Ask(request) => self.ask(who, request),
            follow::Step::Decode(raw) => {
                let delay = self.dice.between(0, 2);
                self.inside_after(delay, Inside::Decoded(Block::decode(&raw).map(Arc::new)));
            }
            follow::Step::Apply(action) => self.apply(who, *action, true),
            follow::Step::Done(end) => return Some(end),
        }
        None
    }
}
