//! The queue before the writer and the writes themselves, as in `src/engine/handle.rs`: what gathers while one is under
//! way goes together into the next, and nobody is answered before it is on disk.

use anyhow::Result;
use jppd::{
    engine::EngineError,
    ledger::{Action, Claimed, Event as Told, Input, Outcome, Rules},
};

use crate::{
    defects::{Defect, tell_again, tell_as_there},
    world::{Actor, Inside, World, short},
};

impl World {
    /// Hands an input to the engine, as the program does.
    pub(crate) fn apply(&mut self, who: Actor, action: Action, waits: bool) {
        let at = self.reading();
        let (action, instead) = self.alter(who, action);
        if let Some(outcome) = instead {
            self.inside_after(0, Inside::Applied(who, Ok(outcome)));
            return;
        }
        let most = self.plan.queue;
        let Some(daemon) = &mut self.daemon else { return };
        if !waits && daemon.queue.len() >= most {
            self.tally.count("inputs without room");
            self.inside_after(0, Inside::Applied(who, Err(EngineError::Busy)));
            return;
        }
        daemon.queue.push_back((who, Input { at, action }));
        self.gather();
    }

    /// The defects that change an input, or answer it without applying it.
    pub(crate) fn alter(&mut self, who: Actor, mut action: Action) -> (Action, Option<Outcome>) {
        let mut instead = None;
        let moment = self.moment();
        match (self.defect, &mut action, moment) {
            (Some(Defect::ClaimSkipped), Action::Claim(_), _) => {
                instead = Some(Outcome::Claimed(Claimed::Open))
            }
            (Some(Defect::BlockPartSkipped), Action::BlockPart { transactions, .. }, _) => {
                instead = Some(Outcome::Part { applied: transactions.len() });
            }
            (Some(Defect::ProofsIgnored), Action::Proven { .. }, _) => instead = Some(Outcome::Done),
            (Some(Defect::RawtxIsMempool), Action::Observed { observation, .. }, _)
                if matches!(who, Actor::Meeting(_)) =>
            {
                *observation = jppd::ledger::Observation::Mempool;
            }
            (Some(Defect::OldPaysNew), Action::Observed { first_seen, .. }, Some(moment)) => {
                *first_seen = moment.first_seen();
            }
            (Some(Defect::OldPaysNew), Action::BlockPart { transactions, .. }, Some(moment)) => {
                for (_, seen) in transactions {
                    *seen = Some(moment.first_seen());
                }
            }
            _ => {}
        }
        (action, instead)
    }

    pub(crate) fn gather(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.writing.is_none() && daemon.written.is_none() && !daemon.queue.is_empty() {
            daemon.writing = Some(Vec::new());
            let delay = self.dice.between(0, 3);
            self.inside_after(delay, Inside::Gathered);
        }
    }

    pub(crate) fn gathered(&mut self) -> Result<()> {
        let most = self.plan.batch;
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let number = daemon.queue.len().min(most);
        let inputs: Vec<(Actor, Input)> = daemon.queue.drain(..number).collect();
        if self.defect == Some(Defect::EventBeforeWrite) {
            let events = foretold(&*self.disk, &daemon.rules, &inputs)?;
            self.oracle.published(&events, &*self.disk)?;
        }
        daemon.writing = Some(inputs);
        let mut delay = self.dice.between(0, 5);
        if self.now < self.slow_disk_until {
            delay += self.dice.below(1_500);
        }
        self.inside_after(delay, Inside::Commit);
        Ok(())
    }

    pub(crate) fn commit(&mut self) -> Result<()> {
        if let Some((false, down)) = self.kill_at_write {
            self.kill_at_write = None;
            self.tally.count("kills before a write");
            return self.kill(down);
        }
        let instant = self.instant();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let inputs = daemon.writing.take().unwrap_or_default();
        let lines: Vec<String> = inputs.iter().filter_map(|(_, input)| describe(input)).collect();
        for (_, input) in &inputs {
            self.oracle.applied(input);
        }
        let foretold = if self.defect == Some(Defect::FailureAcknowledged) {
            outcomes(&*self.disk, &daemon.rules, &inputs)?
        } else {
            Vec::new()
        };
        let (whos, inputs): (Vec<Actor>, Vec<Input>) = inputs.into_iter().unzip();
        let mut written = daemon.writer.write(&*self.disk, inputs, instant);
        for (outcome, foretold) in written.outcomes.iter_mut().zip(foretold) {
            if outcome.is_err() {
                *outcome = Ok(foretold);
            }
        }
        let failing = daemon.writer.is_failing();
        for line in lines {
            self.say(|| format!("engine    {line}"));
        }
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        daemon.written = Some((written, whos));
        if failing {
            self.tally.count("writes failed");
            self.say(|| "engine    a write failed".to_owned());
        }
        self.tally.count("writes");
        self.landed()?;
        if let Some((true, down)) = self.kill_at_write {
            self.kill_at_write = None;
            self.tally.count("kills after a write");
            return self.kill(down);
        }
        let delay = self.dice.between(0, 1);
        self.inside_after(delay, Inside::Publish);
        Ok(())
    }

    pub(crate) fn publish(&mut self) -> Result<()> {
        let now = self.now;
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let Some((mut written, whos)) = daemon.written.take() else { return Ok(()) };
        if self.defect == Some(Defect::ReceivedTwice) {
            written.events.iter_mut().for_each(tell_again);
        } else if self.defect == Some(Defect::LossUntold) {
            written.events.iter_mut().for_each(tell_as_there);
        }
        if let Some(order) = written.order {
            if self.defect == Some(Defect::OrderAfterAnswer) {
                daemon.held_back.push_back((now + 250, order));
            } else {
                daemon.order = order;
            }
        }
        if self.defect != Some(Defect::EventBeforeWrite) {
            self.oracle.published(&written.events, &*self.disk)?;
        }
        for event in &written.events {
            self.tally.count("events");
            let of = event.of_invoice().map(|(id, n)| format!("{} n {n}", short(&id)));
            let line = format!("{} {} seq {}", event.kind.name(), of.unwrap_or_default(), event.seq);
            self.say(|| format!("event     {line}"));
        }
        for (who, outcome) in whos.into_iter().zip(written.outcomes) {
            self.inside_after(0, Inside::Applied(who, outcome));
        }
        self.gather();
        Ok(())
    }

    /// Shows the oracle what became a part of the store.
    pub(crate) fn landed(&mut self) -> Result<()> {
        for changes in self.disk.take_landed() {
            self.oracle.committed(&changes, &self.node, self.now, self.life, self.daemon.is_some())?;
        }
        Ok(())
    }
}

/// The outcomes that inputs have if the disk takes them.
fn outcomes<V: jppd::ledger::View>(
    view: &V,
    rules: &Rules,
    inputs: &[(Actor, Input)],
) -> Result<Vec<Outcome>> {
    let mut batch = jppd::engine::Batch::default();
    let mut outcomes = Vec::new();
    for (_, input) in inputs {
        outcomes.push(batch.apply(view, rules, input.clone())?);
    }
    Ok(outcomes)
}

/// The events that inputs have if the disk takes them.
fn foretold<V: jppd::ledger::View>(view: &V, rules: &Rules, inputs: &[(Actor, Input)]) -> Result<Vec<Told>> {
    let mut changes = jppd::ledger::Changes::default();
    for (_, input) in inputs {
        let overlay = jppd::ledger::Overlay { below: view, changes: &changes };
        let applied = jppd::ledger::apply(&overlay, rules, input.clone())?;
        changes.extend(applied.changes);
    }
    Ok(changes.events.into_values().flatten().collect())
}

/// An input, for the trace.
fn describe(input: &Input) -> Option<String> {
    Some(match &input.action {
        Action::Create(creation) => format!("create {}", short(&creation.id)),
        Action::Cancel { invoice, .. } => format!("cancel {}", short(invoice)),
        Action::Assign { outpoint, invoice, .. } => {
            format!("assign {}:{} to {}", short(&outpoint.txid), outpoint.vout, short(invoice))
        }
        Action::Claim(claim) => format!("claim for {}", short(&claim.invoice)),
        Action::Release { txids, invoice } => {
            let txids: Vec<String> = txids.iter().map(short).collect();
            format!("release {txids:?} of {}", short(invoice))
        }
        Action::Observed { transaction, first_seen, observation } => {
            format!("{} {observation:?}, first {:?}", short(&transaction.txid()), first_seen.sighting)
        }
        Action::ReleaseScript { script } => format!("{script:?} is released"),
        Action::Lost { txid } => format!("{} is lost", short(txid)),
        Action::Proven { txids } => {
            let txids: Vec<String> = txids.iter().map(short).collect();
            format!("{txids:?} have a double spend proof")
        }
        Action::Watched { until } => format!("{} were watched", until.len()),
        Action::Missed { txids } => format!("{} were missed", txids.len()),
        Action::Appraised { txid, score } => format!("{} has the score {score:?}", short(txid)),
        Action::Anchor { height, hash, .. } => format!("anchor {} at {height}", short(hash)),
        Action::BlockPart { hash, transactions, .. } => {
            format!("block {} has {} transactions", short(hash), transactions.len())
        }
        Action::BlockConnected { hash, height } => format!("block {} connected at {height}", short(hash)),
        Action::BlockDisconnected { hash, height } => format!("block {} taken off at {height}", short(hash)),
        Action::Tick { .. } => return None,
    })
}

/// An outcome, for the trace.
pub(crate) fn word(outcome: &Result<Outcome, EngineError>) -> String {
    match outcome {
        Ok(Outcome::Managed(jppd::ledger::Managed::Done(_))) => "done".to_owned(),
        Ok(Outcome::Managed(managed)) => format!("{managed:?}"),
        Ok(_) => "something else".to_owned(),
        Err(error) => error.to_string(),
    }
}
