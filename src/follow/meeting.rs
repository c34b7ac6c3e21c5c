//! One transaction from ZMQ.

use std::sync::Arc;

use super::{Answer, FollowError, Memory, Moment, Step, appraisal::Appraisal, matters::matters};
use crate::{
    bch::Transaction,
    engine::Sightings,
    invoice::FirstSeen,
    ledger::{
        Action, Observation, Reads, View,
        tables::{Place, Transactions},
    },
    node::{Reply, Request},
};

/// One transaction from ZMQ. The node publishes it when it enters the mempool, and also when it is mined,
/// disconnected, or added again: so a match is asked of the node before it counts.
#[derive(Debug)]
pub struct Meeting {
    transaction: Arc<Transaction>,
    first_seen: FirstSeen,
    memory: Arc<Memory>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Start,
    Seen,
    Entry,
    Mempool,
    Appraise(Appraisal),
}

impl Meeting {
    /// Notes when a transaction was first seen: now, or before. That must come before anything is looked up, so
    /// that an invoice registered in between is older than the transaction for certain, or does not get it.
    ///
    /// `None` before the first complete pass: a node that starts publishes its old mempool again, and until we know
    /// that mempool, what comes is not new. The pass asks since when it was there.
    pub fn new(
        transaction: Arc<Transaction>,
        moment: Moment,
        sightings: &Sightings,
        memory: Arc<Memory>,
    ) -> Option<Self> {
        if !memory.is_complete() {
            return None;
        }
        let first_seen = sightings.note(transaction.txid(), moment.first_seen());
        Some(Self { transaction, first_seen, memory, stage: Stage::Start })
    }

    /// Takes an answer and says what is next.
    ///
    /// # Errors
    ///
    /// [`FollowError`]; a pass finds the transaction later.
    pub fn on<V: View>(&mut self, answer: Answer, view: &V) -> Result<Step<()>, FollowError> {
        let txid = self.transaction.txid();
        match (self.stage, answer) {
            (Stage::Start, Answer::Begin) => {
                if !matters(view, &self.transaction)? {
                    self.memory.examined(txid);
                    return Ok(Step::Done(()));
                }
                match Reads::<Transactions>::get(view, &txid)?.map(|known| known.place) {
                    Some(Place::Block { .. }) => return Ok(Step::Done(())),
                    // A submission, most likely: credited before the node's word of it came here.
                    Some(Place::Mempool) => return self.appraise(view),
                    Some(Place::Claimed | Place::Seen | Place::Lost | Place::Missed) | None => {}
                }
                tracing::debug!(%txid, "a transaction matches");
                self.stage = Stage::Seen;
                Ok(self.observed(Observation::Seen))
            }
            (Stage::Seen, Answer::Applied(_)) => {
                self.stage = Stage::Entry;
                Ok(Step::Ask(Request::MempoolEntry(txid)))
            }
            (Stage::Entry, Answer::Node(Reply::MempoolEntry(entry))) => {
                // Not there: mined, most likely, or gone again. Lost since it was asked for: then the answer is older
                // than what is known. A block or a pass decides.
                let known = Reads::<Transactions>::get(view, &txid)?;
                if entry.is_none() || known.is_some_and(|known| known.place == Place::Lost) {
                    return Ok(Step::Done(()));
                }
                self.stage = Stage::Mempool;
                Ok(self.observed(Observation::Mempool))
            }
            (Stage::Mempool, Answer::Applied(_)) => {
                self.memory.examined(txid);
                self.appraise(view)
            }
            (Stage::Appraise(mut appraisal), answer) => appraisal.on(answer, &self.memory),
            _ => Err(FollowError::Confused),
        }
    }

    fn appraise<V: View>(&mut self, view: &V) -> Result<Step<()>, FollowError> {
        let Some(mut appraisal) = Appraisal::of(self.transaction.txid(), &self.memory, view)? else {
            return Ok(Step::Done(()));
        };
        let step = appraisal.on(Answer::Begin, &self.memory)?;
        self.stage = Stage::Appraise(appraisal);
        Ok(step)
    }

    fn observed(&self, observation: Observation) -> Step<()> {
        Step::Apply(Box::new(Action::Observed {
            transaction: self.transaction.clone(),
            first_seen: self.first_seen,
            observation,
        }))
    }
}
