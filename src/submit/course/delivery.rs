//! The second half of a course: one claim for all transactions, then each to the node, parents first.

use std::sync::Arc;

use super::{BATCH, Course, Moment, Stage, Step, done, is_walked, is_with_node};
use crate::{
    bch::{BlockHash, Transaction, Txid},
    engine::EngineError,
    ledger::{
        Action, ClaimRequest, Claimed, Judgement, Observation, Outcome, ReadError, Reads, View,
        tables::{ClaimState, Claims, Place, Transactions},
    },
    node::{Coin, Request, SendOutcome},
    submit::{Accepted, InputFault, SubmitError, checks::missing},
};

/// The node's words for what has no input any more.
const MISSING_INPUTS: &str = "Missing inputs";

impl Course {
    pub(super) fn ask_claim<V: View>(&mut self, view: &V, moment: Moment<'_>) -> Result<Step, ReadError> {
        let invoice = self.submission.invoice;
        for txid in self.txids() {
            if Reads::<Claims>::get(view, &(txid, invoice))?
                .is_some_and(|claim| claim.state == ClaimState::Open)
            {
                self.claimed_before.insert(txid);
            }
        }
        self.stage = Stage::Claim;
        Ok(Step::Apply(Box::new(Action::Claim(Box::new(ClaimRequest {
            invoice,
            transactions: self.submitted(moment),
            note: self.submission.note.clone(),
            via: self.submission.via,
        })))))
    }

    pub(super) fn claimed<V: View>(
        &mut self,
        outcome: Result<Outcome, EngineError>,
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        Ok(match outcome {
            Ok(Outcome::Claimed(Claimed::Open)) => return self.deliver_next(view, moment),
            Ok(Outcome::Claimed(Claimed::AlreadyCredited)) => return self.finished(view, moment),
            Ok(Outcome::Claimed(Claimed::Refused(refusal))) => done(Err(SubmitError::Refused(refusal))),
            Ok(Outcome::Done | Outcome::Part { .. } | Outcome::Created(_) | Outcome::Managed(_)) => {
                done(Err(SubmitError::Unavailable))
            }
            Err(error) => done(Err(error.into())),
        })
    }

    /// Hands over the next transaction that the node does not have.
    fn deliver_next<V: View>(&mut self, view: &V, moment: Moment<'_>) -> Result<Step, ReadError> {
        for tx in &self.transactions {
            if self.delivered.contains(&tx.txid()) {
                continue;
            }
            let known = Reads::<Transactions>::get(view, &tx.txid())?;
            if is_with_node(known.as_ref()) {
                self.delivered.insert(tx.txid());
                continue;
            }
            self.was_lost = known.is_some_and(|known| known.place == Place::Lost);
            self.stage = Stage::Broadcast(tx.clone());
            return Ok(Step::Ask(Request::Send(tx.raw().clone())));
        }
        self.finished(view, moment)
    }

    /// The node has everything. What is said now is what the records say: nothing is a success that is not credited.
    fn finished<V: View>(&self, view: &V, moment: Moment<'_>) -> Result<Step, ReadError> {
        Ok(done(match self.judge(view, moment)? {
            Judgement::AlreadyCredited => Ok(Accepted::Credited),
            Judgement::Refused(refusal) => Err(SubmitError::Refused(refusal)),
            Judgement::Fits(_) => Err(SubmitError::NodeAway),
        }))
    }

    pub(super) fn sent<V: View>(
        &mut self,
        tx: Arc<Transaction>,
        sent: SendOutcome,
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        Ok(match sent {
            // Between the checks and the broadcast it can be mined; the block walk says where, from here on it
            // counts either way.
            SendOutcome::Accepted | SendOutcome::AlreadyInChain => return self.credit(tx, view, moment),
            // The node says this of a transaction in a block, too, once its outputs are spent.
            SendOutcome::MissingInputs => self.ask_batch(&tx, 0, Stage::Gone(tx.clone(), 0)),
            SendOutcome::Refused { message, .. } => self.release(&tx, SubmitError::RefusedByNode(message)),
        })
    }

    /// The node has it, unless it was lost since the node was asked: its answer can be older than a block with a rival.
    pub(super) fn credit<V: View>(
        &mut self,
        tx: Arc<Transaction>,
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        let known = Reads::<Transactions>::get(view, &tx.txid())?;
        if !self.was_lost && known.is_some_and(|known| known.place == Place::Lost) {
            return Ok(done(Err(SubmitError::NodeAway)));
        }
        let first_seen = self.first_seen(tx.txid(), moment);
        self.stage = Stage::Credit(tx.clone());
        let observation = Observation::Mempool;
        Ok(Step::Apply(Box::new(Action::Observed { transaction: tx, first_seen, observation })))
    }

    /// The node has it, and so do our records; the next one.
    pub(super) fn taken<V: View>(
        &mut self,
        txid: Txid,
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        self.delivered.insert(txid);
        self.deliver_next(view, moment)
    }

    /// The node misses inputs of a transaction and does not have it in its mempool; these are the coins it has of a batch of
    /// them, from this one on.
    pub(super) fn gone(&mut self, tx: Arc<Transaction>, from: usize, coins: &[Option<Coin>]) -> Step {
        let asked = tx.inputs().get(from..).unwrap_or_default();
        let asked = asked.get(..asked.len().min(BATCH)).unwrap_or_default();
        let next = from.saturating_add(asked.len());
        let error = match missing(asked, coins) {
            Some(gone) => SubmitError::Inputs(InputFault::Missing(gone)),
            None if next < tx.inputs().len() => {
                return self.ask_batch(&tx, next, Stage::Gone(tx.clone(), next));
            }
            // They came back in between: a payer who tries again will be taken.
            None => SubmitError::RefusedByNode(MISSING_INPUTS.to_owned()),
        };
        self.ask_best_block(Stage::Unwalked(tx, error))
    }

    /// The end of the node's chain, when inputs of a transaction are gone.
    pub(super) fn unwalked<V: View>(
        &mut self,
        tx: &Transaction,
        error: SubmitError,
        best: BlockHash,
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        let known = Reads::<Transactions>::get(view, &tx.txid())?;
        if known.is_some_and(|known| matches!(known.place, Place::Block { .. })) {
            return self.taken(tx.txid(), view, moment);
        }
        // The walk may find it in the next block: the claim stays, and a repetition takes it up.
        if is_walked(view, best)? {
            Ok(self.release(tx, error))
        } else {
            Ok(done(Err(SubmitError::NodeAway)))
        }
    }

    /// What the node did not take is given back, and with it what was to come after, unless somebody else claimed
    /// that; then the payer is told why.
    pub(super) fn release(&mut self, refused: &Transaction, refusal: SubmitError) -> Step {
        let mut txids = self.txids();
        let others = |txid: &Txid| self.claimed_before.contains(txid) && *txid != refused.txid();
        txids.retain(|txid| !self.delivered.contains(txid) && !others(txid));
        self.stage = Stage::Release(refusal);
        Step::Apply(Box::new(Action::Release { txids, invoice: self.submission.invoice }))
    }
}
