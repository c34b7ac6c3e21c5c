//! The course of one submission: a state machine that asks for one thing at a time.

use std::{sync::Arc, time::Duration};

use super::{
    Accepted, InputFault, Submission, SubmitError,
    checks::{check_fee, check_shape, missing},
};
use crate::{
    bch::{BlockHash, OutPoint, Txid},
    engine::EngineError,
    invoice::{FirstSeen, Order, Sighting, Timestamp},
    ledger::{
        Action, ClaimRequest, Claimed, Judgement, Observation, Outcome, ReadError, Reads, Refusal, Rules,
        View, judge,
        tables::{Blocks, Chain, Invoices, Place, Transactions},
    },
    node::{Coin, MempoolEntry, NodeError, Reply, Request, SendOutcome},
};

/// How long an unknown parent gets to arrive before the one repetition.
const PARENT_PAUSE: Duration = Duration::from_secs(1);

/// The node's words for what has no input any more.
const MISSING_INPUTS: &str = "Missing inputs";

/// What the course asks for.
#[derive(Debug)]
pub enum Step {
    /// This of the node.
    Ask(Request),
    /// Time.
    Pause(Duration),
    /// This of the engine.
    Apply(Box<Action>),
    /// Nothing more.
    Done(Result<Accepted, SubmitError>),
}

/// What it is given.
#[derive(Debug)]
pub enum Answer {
    /// Nothing yet.
    Begin,
    /// The node's reply.
    Node(Result<Reply, NodeError>),
    /// The pause is over.
    Paused,
    /// The engine's outcome.
    Applied(Result<Outcome, EngineError>),
}

/// What is known at the moment of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall clock.
    pub now: Timestamp,
    /// The position up to which everything is on disk.
    pub order: Order,
    /// When the transaction was first seen, if it was.
    pub seen: Option<FirstSeen>,
}

/// One submission on its way.
#[derive(Debug)]
pub struct Course {
    submission: Submission,
    rules: Arc<Rules>,
    stage: Stage,
    /// Whether it ends before anything is claimed.
    verify: bool,
    /// When the transaction was first there, as far as is known.
    seen: Option<FirstSeen>,
    /// Whether a missing parent was waited for.
    waited: bool,
}

#[derive(Clone, Debug)]
enum Stage {
    Start,
    Inputs,
    Parent,
    /// Its inputs are gone: perhaps because it is in a block itself.
    OwnOutputs(OutPoint),
    /// It may be in a block: this is what is wrong with it if our walk has passed all of them.
    Mined(SubmitError),
    Claim,
    Broadcast,
    Credit,
    /// The node says that inputs are missing of what is claimed: which?
    Gone,
    /// And is it in a block that our walk has not passed?
    Unwalked(SubmitError),
    /// The node refused it; the claim is given back before that is told.
    Release(SubmitError),
}

impl Course {
    /// The course of a verification.
    pub fn verify(submission: Submission, rules: Arc<Rules>) -> Self {
        Self { submission, rules, stage: Stage::Start, verify: true, seen: None, waited: false }
    }

    /// The course of a payment.
    pub fn pay(submission: Submission, rules: Arc<Rules>) -> Self {
        Self { verify: false, ..Self::verify(submission, rules) }
    }

    /// The transaction it is about.
    pub fn txid(&self) -> Txid {
        self.submission.transaction.txid()
    }

    /// Takes an answer and says what is next.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the view could not be read.
    pub fn on<V: View>(&mut self, answer: Answer, view: &V, moment: Moment) -> Result<Step, ReadError> {
        match (self.stage.clone(), answer) {
            (Stage::Start, Answer::Begin) => self.start(view, moment),
            (Stage::Inputs, Answer::Node(Ok(Reply::Inputs { entry, coins }))) => {
                self.inputs(view, moment, entry, &coins)
            }
            (Stage::Parent, Answer::Paused) => Ok(self.ask_inputs(Stage::Inputs)),
            (Stage::OwnOutputs(gone), Answer::Node(Ok(Reply::Unspent(coins)))) => {
                // What the block walk has passed and not credited was there before the invoice; of what is in a
                // block and spent already only its missing inputs are to be seen.
                let in_a_block = coins.iter().any(Option::is_some);
                Ok(self.ask_best_block(Stage::Mined(if in_a_block {
                    SubmitError::Refused(Refusal::Older)
                } else {
                    SubmitError::Inputs(InputFault::Missing(gone))
                })))
            }
            (Stage::Mined(error), Answer::Node(Ok(Reply::BestBlock(best)))) => {
                // What our walk has not passed yet will be credited in a moment, or refused then.
                let error = if is_walked(view, best)? { error } else { SubmitError::NodeAway };
                self.unless_credited(error, view, moment)
            }
            (Stage::Claim, Answer::Applied(outcome)) => Ok(self.claimed(outcome)),
            (Stage::Broadcast, Answer::Node(Ok(Reply::Sent(sent)))) => Ok(self.sent(moment, sent)),
            (Stage::Credit, Answer::Applied(Ok(_))) => Ok(done(Ok(Accepted::Credited))),
            (Stage::Gone, Answer::Node(Ok(Reply::Inputs { entry: Some(_), .. }))) => Ok(self.credit(moment)),
            (Stage::Gone, Answer::Node(Ok(Reply::Inputs { entry: None, coins }))) => {
                let error = match missing(&self.submission.transaction, &coins) {
                    Some(gone) => SubmitError::Inputs(InputFault::Missing(gone)),
                    // They came back in between: a payer who tries again will be taken.
                    None => SubmitError::RefusedByNode(MISSING_INPUTS.to_owned()),
                };
                Ok(self.ask_best_block(Stage::Unwalked(error)))
            }
            (Stage::Unwalked(error), Answer::Node(Ok(Reply::BestBlock(best)))) => {
                let known = Reads::<Transactions>::get(view, &self.txid())?;
                if known.is_some_and(|known| matches!(known.place, Place::Block { .. })) {
                    return Ok(done(Ok(Accepted::Credited)));
                }
                // The walk may find it in the next block: the claim stays, and a repetition takes it up.
                if is_walked(view, best)? {
                    Ok(self.release(error))
                } else {
                    Ok(done(Err(SubmitError::NodeAway)))
                }
            }
            (Stage::Release(error), Answer::Applied(released)) => {
                // Given back or not, the node said no: that is what the payer needs to know. A claim that stays
                // keeps nobody from paying.
                if let Err(error) = released {
                    tracing::warn!(%error, txid = %self.txid(), "a refused claim could not be released");
                }
                Ok(done(Err(error)))
            }
            (_, Answer::Applied(Err(error))) => Ok(done(Err(error.into()))),
            (_, Answer::Node(Err(error))) => {
                tracing::info!(%error, txid = %self.txid(), "the node did not answer for a submission");
                Ok(done(Err(SubmitError::NodeAway)))
            }
            (stage, answer) => {
                tracing::error!(?stage, ?answer, "a submission was given an answer to another question");
                Ok(done(Err(SubmitError::Unavailable)))
            }
        }
    }

    fn start<V: View>(&mut self, view: &V, moment: Moment) -> Result<Step, ReadError> {
        let known = Reads::<Transactions>::get(view, &self.txid())?;
        self.seen = known.as_ref().and_then(|known| known.first_seen).or(moment.seen);
        match self.judge(view, moment)? {
            Judgement::Refused(refusal) => return Ok(done(Err(SubmitError::Refused(refusal)))),
            Judgement::AlreadyCredited if self.verify => return Ok(done(Ok(Accepted::Valid))),
            Judgement::AlreadyCredited => return Ok(self.ask_claim(moment)),
            Judgement::Fits(_) => {}
        }
        if let Err(fault) = check_shape(&self.submission.transaction) {
            return Ok(done(Err(SubmitError::Inputs(fault))));
        }
        if known.is_some_and(|known| matches!(known.place, Place::Mempool | Place::Block { .. })) {
            return Ok(self.checked(moment));
        }
        Ok(self.ask_inputs(Stage::Inputs))
    }

    fn inputs<V: View>(
        &mut self,
        view: &V,
        moment: Moment,
        entry: Option<MempoolEntry>,
        coins: &[Option<Coin>],
    ) -> Result<Step, ReadError> {
        let tx = &self.submission.transaction;
        if let Some(entry) = entry {
            // The node has it: its inputs are spent by itself. It may be older than the invoice.
            let at = Timestamp::from_secs(entry.time_s).min(moment.now);
            let sighting = Sighting::MempoolTime(entry.time_s);
            self.seen = self.seen.or(moment.seen).or(Some(FirstSeen { sighting, at }));
            return match self.judge(view, moment)? {
                Judgement::Refused(refusal) => Ok(done(Err(SubmitError::Refused(refusal)))),
                Judgement::AlreadyCredited | Judgement::Fits(_) => Ok(self.checked(moment)),
            };
        }
        if let Some(gone) = missing(tx, coins) {
            if !self.waited {
                self.waited = true;
                self.stage = Stage::Parent;
                return Ok(Step::Pause(PARENT_PAUSE));
            }
            self.stage = Stage::OwnOutputs(gone);
            let outpoints = tx.numbered_outputs().map(|(vout, _)| tx.outpoint(vout)).collect();
            return Ok(Step::Ask(Request::Unspent { outpoints, include_mempool: false }));
        }
        let Some(record) = Reads::<Invoices>::get(view, &self.submission.invoice)? else {
            return Ok(done(Err(SubmitError::Refused(Refusal::NoSuchInvoice))));
        };
        match check_fee(tx, coins, record.invoice.fee_rate) {
            Ok(()) => Ok(self.checked(moment)),
            Err(error) => Ok(done(Err(error))),
        }
    }

    /// An error, unless the transaction was credited while the node was asked: then it is a payment like any other.
    fn unless_credited<V: View>(
        &mut self,
        error: SubmitError,
        view: &V,
        moment: Moment,
    ) -> Result<Step, ReadError> {
        match self.judge(view, moment)? {
            Judgement::AlreadyCredited => Ok(self.checked(moment)),
            Judgement::Refused(refusal) => Ok(done(Err(SubmitError::Refused(refusal)))),
            Judgement::Fits(_) => Ok(done(Err(error))),
        }
    }

    /// Every check that can be made is passed.
    fn checked(&mut self, moment: Moment) -> Step {
        if self.verify { done(Ok(Accepted::Valid)) } else { self.ask_claim(moment) }
    }

    fn claimed(&mut self, outcome: Result<Outcome, EngineError>) -> Step {
        match outcome {
            Ok(Outcome::Claimed(Claimed::Open)) => {
                self.stage = Stage::Broadcast;
                Step::Ask(Request::Send(self.submission.transaction.raw().clone()))
            }
            Ok(Outcome::Claimed(Claimed::AlreadyCredited)) => done(Ok(Accepted::Credited)),
            Ok(Outcome::Claimed(Claimed::Refused(refusal))) => done(Err(SubmitError::Refused(refusal))),
            Ok(Outcome::Done | Outcome::Created(_) | Outcome::Managed(_)) => {
                done(Err(SubmitError::Unavailable))
            }
            Err(error) => done(Err(error.into())),
        }
    }

    fn sent(&mut self, moment: Moment, sent: SendOutcome) -> Step {
        match sent {
            // Between the checks and the broadcast it can be mined; the block walk says where, from here on it
            // counts either way.
            SendOutcome::Accepted | SendOutcome::AlreadyInChain => self.credit(moment),
            // The node says this of a transaction in a block, too, once its outputs are spent.
            SendOutcome::MissingInputs => self.ask_inputs(Stage::Gone),
            SendOutcome::Refused { message, .. } => self.release(SubmitError::RefusedByNode(message)),
        }
    }

    /// The node has it.
    fn credit(&mut self, moment: Moment) -> Step {
        self.stage = Stage::Credit;
        let first_seen = self.first_seen(moment);
        let transaction = self.submission.transaction.clone();
        let observation = Observation::Mempool;
        Step::Apply(Box::new(Action::Observed { transaction, first_seen, observation }))
    }

    /// The claim is given back, then the payer is told why.
    fn release(&mut self, refusal: SubmitError) -> Step {
        self.stage = Stage::Release(refusal);
        Step::Apply(Box::new(Action::Release { txid: self.txid(), invoice: self.submission.invoice }))
    }

    fn ask_inputs(&mut self, stage: Stage) -> Step {
        self.stage = stage;
        let tx = &self.submission.transaction;
        Step::Ask(Request::Inputs { txid: tx.txid(), outpoints: tx.inputs().to_vec() })
    }

    fn ask_best_block(&mut self, stage: Stage) -> Step {
        self.stage = stage;
        Step::Ask(Request::BestBlock)
    }

    fn ask_claim(&mut self, moment: Moment) -> Step {
        self.stage = Stage::Claim;
        Step::Apply(Box::new(Action::Claim(Box::new(ClaimRequest {
            invoice: self.submission.invoice,
            transaction: self.submission.transaction.clone(),
            first_seen: self.first_seen(moment),
            note: self.submission.note.clone(),
            via: self.submission.via,
        }))))
    }

    fn judge<V: View>(&self, view: &V, moment: Moment) -> Result<Judgement, ReadError> {
        let Submission { invoice, transaction, .. } = &self.submission;
        judge(view, &self.rules, *invoice, transaction, &self.first_seen(moment), moment.now)
    }

    /// When it was first there; now, if nobody saw it before.
    fn first_seen(&self, moment: Moment) -> FirstSeen {
        let now = FirstSeen { sighting: Sighting::Order(moment.order), at: moment.now };
        self.seen.or(moment.seen).unwrap_or(now)
    }
}

/// Whether our walk has come to a block: then everything up to it is on our records.
fn is_walked<V: View>(view: &V, block: BlockHash) -> Result<bool, ReadError> {
    let Some(record) = Reads::<Blocks>::get(view, &block)? else { return Ok(false) };
    Ok(Reads::<Chain>::get(view, &record.height)? == Some(block))
}

fn done(result: Result<Accepted, SubmitError>) -> Step {
    Step::Done(result)
}
