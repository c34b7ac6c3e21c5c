//! Submissions: the loop of `src/submit/submitter.rs`, one step at a time, and what is noted of each.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use bitcoincash::Txid;
use bytes::Bytes;
use jppd::{
    bch::Transaction,
    follow::{self},
    invoice::{InvoiceId, PayerNote, Via},
    ledger::Action,
    node::Request,
    submit::{self, Accepted, Course, Submission, SubmitError},
};

use crate::{
    defects::Defect,
    oracle::Answered,
    world::{Actor, Inside, World, short},
};

/// A submission under way.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) course: Course,
    pub(crate) invoice: InvoiceId,
    pub(crate) txids: Vec<Txid>,
    pub(crate) began: u64,
    /// Whether all of it was credited to its invoice when it began.
    pub(crate) known: bool,
    /// What the node really made of what it was sent.
    pub(crate) sent: BTreeMap<Txid, bool>,
    /// The node was asked to take this last.
    pub(crate) sending: Option<Txid>,
    pub(crate) tries: u32,
}

impl World {
    /// A wallet hands transactions over for an invoice. `false`: nobody is there to take them.
    pub(crate) fn submit(
        &mut self,
        invoice: InvoiceId,
        txids: &[Txid],
        raws: &[Bytes],
        tries: u32,
    ) -> Result<bool> {
        let most = self.plan.submissions;
        let known = self.oracle.has_credited(invoice, txids);
        let Some(daemon) = &mut self.daemon else { return Ok(false) };
        if daemon.courses.len() >= most {
            self.tally.count("submissions without room");
            return Ok(false);
        }
        let mut transactions = Vec::new();
        for raw in raws {
            transactions.push(Transaction::decode_submitted(raw.clone())?.shared());
        }
        let submission = Submission {
            invoice,
            transactions,
            note: PayerNote::default(),
            via: Via::Api,
            weighted_size: None,
        };
        let number = daemon.number();
        daemon.courses.insert(
            number,
            Run {
                course: Course::pay(submission, daemon.rules.clone()),
                invoice,
                txids: txids.to_vec(),
                began: self.now,
                known,
                sent: BTreeMap::new(),
                sending: None,
                tries,
            },
        );
        self.oracle.submitted(number, txids, self.now);
        self.tally.count("submissions");
        self.say(|| {
            let names: Vec<String> = txids.iter().map(short).collect();
            format!("wallet    submits {names:?} for {} (#{number})", short(&invoice))
        });
        if self.defect == Some(Defect::HungUp) && self.dice.chance(400) {
            let later = self.dice.between(1, 60);
            self.inside_after(later, Inside::HangUp(number));
        }
        self.go_on_with_course(number, submit::Answer::Begin)?;
        Ok(true)
    }

    pub(crate) fn go_on_with_course(&mut self, number: u32, answer: submit::Answer) -> Result<()> {
        let Some(follow::Moment { now, order }) = self.moment() else { return Ok(()) };
        let running = self.running();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let sightings = daemon.sightings.clone();
        let Some(run) = daemon.courses.get_mut(&number) else { return Ok(()) };
        run.sending = None;
        let covered = sightings.coverage().is_current(running);
        let moment = submit::Moment { now, order, sightings: &sightings, covered };
        match run.course.on(answer, &*self.disk, moment)? {
            submit::Step::Ask(request) => {
                if let Request::Send(raw) = &request {
                    run.sending = Some(Transaction::decode(raw.clone())?.txid());
                }
                self.ask(Actor::Course(number), request);
            }
            submit::Step::Pause(pause) => {
                let pause = u64::try_from(pause.as_millis())?;
                self.inside_after(pause, Inside::Paused(number));
            }
            submit::Step::AwaitPass => {
                self.tally.count("submissions that wait for a pass");
                daemon.waiting.insert(number);
                self.inside_after(5_000, Inside::Passed(number, false));
            }
            submit::Step::Apply(action) => {
                if let Action::Release { txids, .. } = &*action {
                    let taken: Vec<&Txid> =
                        txids.iter().filter(|txid| run.sent.get(*txid) == Some(&true)).collect();
                    ensure!(taken.is_empty(), "claims are released of what the node took: {taken:?}");
                }
                let waits = !matches!(*action, Action::Claim(_));
                self.apply(Actor::Course(number), *action, waits);
            }
            submit::Step::Done(end) => {
                if let Some(run) = daemon.courses.remove(&number) {
                    self.course_ended(number, run, end)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn course_ended(
        &mut self,
        number: u32,
        run: Run,
        end: Result<Accepted, SubmitError>,
    ) -> Result<()> {
        self.say(|| format!("wallet    is answered (#{number}): {end:?}"));
        self.tally.count(match &end {
            Ok(_) => "submissions taken",
            Err(SubmitError::NodeAway | SubmitError::Busy | SubmitError::Unavailable) => {
                "submissions put off"
            }
            Err(_) => "submissions refused",
        });
        let answered = Answered {
            number,
            invoice: run.invoice,
            txids: &run.txids,
            began: run.began,
            known: run.known,
            now: self.now,
            end: &end,
        };
        self.oracle.answered(&answered, &self.node, &*self.disk)?;
        self.submission_ended(run.invoice, &run.txids, run.tries, &end);
        Ok(())
    }

    /// Whether whoever hands a transaction to the node may do so: a submission what it claimed, the follower what
    /// was in the mempool.
    pub(crate) fn is_sent_rightly(&self, who: Actor, txid: Txid) -> Result<()> {
        let invoice = match (who, &self.daemon) {
            (Actor::Course(number), Some(daemon)) => {
                let Some(run) = daemon.courses.get(&number) else { return Ok(()) };
                Some(run.invoice)
            }
            _ => None,
        };
        self.oracle.may_send(invoice, txid, &*self.disk)
    }

    /// Notes what the node made of what it was sent.
    pub(crate) fn was_sent(&mut self, who: Actor, txid: Txid, taken: bool) {
        if let (Actor::Course(number), Some(daemon)) = (who, &mut self.daemon)
            && let Some(run) = daemon.courses.get_mut(&number)
        {
            run.sent.insert(txid, taken);
        }
    }
}
