//! The course of one submission: a state machine that asks for one thing at a time.
//!
//! First every transaction is looked at ([`inputs`]), then all are claimed at once and handed over one after the other
//! ([`delivery`]). Parents always come before their children.

mod delivery;
mod inputs;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Accepted, InputFault, Submission, SubmitError, checks::check_shape, family::parents_first};
use crate::{
    bch::{BlockHash, OutPoint, Output, Transaction, Txid},
    engine::{EngineError, Sightings},
    invoice::{FirstSeen, Order, Reading, Sighting},
    ledger::{
        Action, Judgement, Outcome, ReadError, Reads, Refusal, Rules, Submitted, View, is_claimed, judge,
        tables::{Blocks, Chain, Place, TransactionRecord, Transactions},
    },
    node::{NodeError, Reply, Request},
};

/// How many inputs the node is asked for at a time. Each batch takes a place at the node of its own, so that a transaction of
/// thousands of inputs holds no other back for longer than that.
const BATCH: usize = 50;

/// What the course asks for.
#[derive(Debug)]
pub enum Step {
    /// This of the node.
    Ask(Request),
    /// Time.
    Pause(Duration),
    /// A complete pass over the node's mempool, for a few seconds at most.
    AwaitPass,
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
    /// There was a pass, or there was none in time.
    Passed(bool),
    /// The engine's outcome.
    Applied(Result<Outcome, EngineError>),
}

/// What is known at the moment of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'m> {
    /// All clocks.
    pub now: Reading,
    /// The position up to which everything is on disk.
    pub order: Order,
    /// When transactions were first seen, as far as they were.
    pub sightings: &'m Sightings,
    /// Whether a transaction that the node has, and that was not noted, came just now ([`Coverage::is_current`]).
    ///
    /// [`Coverage::is_current`]: crate::engine::Coverage::is_current
    pub covered: bool,
}

impl Moment<'_> {
    /// The evidence for what comes to us now.
    fn first_seen(&self) -> FirstSeen {
        FirstSeen { sighting: Sighting::Order(self.order), at: self.now.elapsed, shown: self.now.wall }
    }
}

/// One submission on its way.
#[derive(Debug)]
pub struct Course {
    submission: Submission,
    rules: Arc<Rules>,
    stage: Stage,
    /// Whether it ends before anything is claimed.
    verify: bool,
    /// Its transactions, parents first.
    transactions: Vec<Arc<Transaction>>,
    /// When they were first there, as far as is known.
    seen: BTreeMap<Txid, FirstSeen>,
    /// Those that were looked at.
    inputs: BTreeMap<Txid, Inputs>,
    /// Outputs that the first inputs of the current transaction spend, in the order of the inputs. The node is still to
    /// be asked for the outputs of the other inputs.
    spent: Vec<Output>,
    /// Those that another course had claimed before this one did.
    claimed_before: BTreeSet<Txid>,
    /// Those that the node took.
    delivered: BTreeSet<Txid>,
    /// Satoshis per 1000 bytes that the node requires at least for its mempool now; `None` before the node was asked.
    floor: Option<u64>,
    /// Whether a missing parent was waited for.
    waited: bool,
    /// Whether what is handed over was lost before.
    was_lost: bool,
    /// Whether a pass was waited for.
    waited_for_pass: bool,
}

/// What is known of the inputs of a transaction.
#[derive(Debug)]
enum Inputs {
    /// The node has the transaction: it spends them itself, and they were judged there.
    Spent,
    /// They can be spent: these outputs, in order.
    Free(Vec<Output>),
}

/// What was asked last, and of which transaction.
#[derive(Clone, Debug)]
enum Stage {
    Start,
    Inputs(Arc<Transaction>),
    /// The node has it, and how long it has had it is not known before a pass.
    Uncovered(Arc<Transaction>),
    /// The node has it, and it is taken in as the network's, before it is judged as this payer's.
    Observed(Arc<Transaction>),
    Parent(Arc<Transaction>),
    /// Its inputs are gone: perhaps because it is in a block itself.
    OwnOutputs(Arc<Transaction>, OutPoint),
    /// It may be in a block: this is what is wrong with it if our walk has passed all of them.
    Mined(Arc<Transaction>, SubmitError),
    Floor,
    Claim,
    Broadcast(Arc<Transaction>),
    Credit(Arc<Transaction>),
    /// The node says that inputs are missing of what is claimed: which, from this one on?
    Gone(Arc<Transaction>, usize),
    /// And is it in a block that our walk has not passed?
    Unwalked(Arc<Transaction>, SubmitError),
    /// The node refused it; the claims are given back before that is told.
    Release(SubmitError),
}

impl Course {
    /// The course of a verification.
    pub fn verify(submission: Submission, rules: Arc<Rules>) -> Self {
        Self {
            submission,
            rules,
            stage: Stage::Start,
            verify: true,
            transactions: Vec::new(),
            seen: BTreeMap::new(),
            inputs: BTreeMap::new(),
            spent: Vec::new(),
            claimed_before: BTreeSet::new(),
            delivered: BTreeSet::new(),
            floor: None,
            waited: false,
            was_lost: false,
            waited_for_pass: false,
        }
    }

    /// The course of a payment.
    pub fn pay(submission: Submission, rules: Arc<Rules>) -> Self {
        Self { verify: false, ..Self::verify(submission, rules) }
    }

    /// Whether it ends before anything is claimed.
    pub fn is_verification(&self) -> bool {
        self.verify
    }

    /// Takes an answer and says what is next.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the view could not be read.
    pub fn on<V: View>(&mut self, answer: Answer, view: &V, moment: Moment<'_>) -> Result<Step, ReadError> {
        match (self.stage.clone(), answer) {
            (Stage::Start, Answer::Begin) => self.start(view, moment),
            (Stage::Inputs(tx), Answer::Node(Ok(Reply::Inputs { entry, coins }))) => match entry {
                Some(entry) => self.met(tx, &entry, view, moment),
                None => self.looked_at(tx, &coins, view, moment),
            },
            (Stage::Uncovered(tx), Answer::Passed(true)) => {
                self.waited_for_pass = true;
                Ok(self.ask_next(tx))
            }
            (Stage::Uncovered(_), Answer::Passed(false)) => Ok(done(Err(SubmitError::NodeAway))),
            (Stage::Observed(tx), Answer::Applied(Ok(_))) => self.spent_by_itself(&tx, view, moment),
            (Stage::Parent(tx), Answer::Paused) => Ok(self.ask_next(tx)),
            (Stage::OwnOutputs(tx, gone), Answer::Node(Ok(Reply::Unspent(coins)))) => {
                // What the block walk has passed and not credited was there before the invoice; of what is in a
                // block and spent already only its missing inputs are to be seen.
                let in_a_block = coins.iter().any(Option::is_some);
                let error = if in_a_block {
                    SubmitError::Refused(Refusal::Older)
                } else {
                    SubmitError::Inputs(InputFault::Missing(gone))
                };
                Ok(self.ask_best_block(Stage::Mined(tx, error)))
            }
            (Stage::Mined(tx, error), Answer::Node(Ok(Reply::BestBlock(best)))) => {
                // What our walk has not passed yet will be credited in a moment, or refused then.
                let error = if is_walked(view, best)? { error } else { SubmitError::NodeAway };
                self.unless_met(&tx, error, view, moment)
            }
            (Stage::Floor, Answer::Node(Ok(Reply::FeeFloor(floor)))) => {
                self.floor = Some(floor);
                self.next_inputs(view, moment)
            }
            (Stage::Claim, Answer::Applied(outcome)) => self.claimed(outcome, view, moment),
            (Stage::Broadcast(tx), Answer::Node(Ok(Reply::Sent(sent)))) => self.sent(tx, sent, view, moment),
            (Stage::Credit(tx), Answer::Applied(Ok(_))) => self.taken(tx.txid(), view, moment),
            (Stage::Gone(tx, from), Answer::Node(Ok(Reply::Inputs { entry, coins }))) => match entry {
                Some(_) => self.credit(tx, view, moment),
                None => Ok(self.gone(tx, from, &coins)),
            },
            (Stage::Unwalked(tx, error), Answer::Node(Ok(Reply::BestBlock(best)))) => {
                self.unwalked(&tx, error, best, view, moment)
            }
            (Stage::Release(error), Answer::Applied(released)) => {
                // Given back or not, the node said no: that is what the payer needs to know. A claim that stays
                // keeps nobody from paying.
                if let Err(error) = released {
                    tracing::warn!(%error, txids = ?self.txids(), "a refused claim could not be released");
                }
                Ok(done(Err(error)))
            }
            (Stage::Broadcast(tx), Answer::Node(Err(error))) if !error.effect_possible() => {
                // It never left this machine: what was claimed for it keeps nobody waiting.
                tracing::info!(%error, txid = %tx.txid(), "the node could not be asked to take a submission");
                Ok(self.release(&tx, SubmitError::NodeAway))
            }
            (_, Answer::Applied(Err(error))) => Ok(done(Err(error.into()))),
            (_, Answer::Node(Err(error))) => {
                tracing::info!(%error, txids = ?self.txids(), "the node did not answer for a submission");
                Ok(done(Err(SubmitError::NodeAway)))
            }
            (stage, answer) => {
                tracing::error!(?stage, ?answer, "a submission was given an answer to another question");
                Ok(done(Err(SubmitError::Unavailable)))
            }
        }
    }

    fn start<V: View>(&mut self, view: &V, moment: Moment<'_>) -> Result<Step, ReadError> {
        self.transactions = match parents_first(&self.submission.transactions) {
            Ok(transactions) => transactions,
            Err(fault) => return Ok(done(Err(SubmitError::Family(fault)))),
        };
        for tx in &self.transactions {
            let txid = tx.txid();
            let known = Reads::<Transactions>::get(view, &txid)?;
            if is_with_node(known.as_ref()) {
                self.inputs.insert(txid, Inputs::Spent);
            }
            let first_seen = known.and_then(|known| known.first_seen);
            if let Some(seen) = first_seen.or_else(|| moment.sightings.get(&txid)) {
                self.seen.insert(txid, seen);
            }
        }
        if !self.verify && is_claimed(view, self.submission.invoice, self.txids())? {
            // Nobody answered the first time. It was in time then, and it is now.
            return self.ask_claim(view, moment);
        }
        match self.judge(view, moment)? {
            Judgement::Refused(refusal) => return Ok(done(Err(SubmitError::Refused(refusal)))),
            Judgement::AlreadyCredited => return self.checked(view, moment),
            Judgement::Fits(_) => {}
        }
        for tx in &self.transactions {
            if let Err(fault) = check_shape(tx) {
                return Ok(done(Err(SubmitError::Inputs(fault))));
            }
        }
        self.next_inputs(view, moment)
    }

    /// Every check that can be made is passed.
    fn checked<V: View>(&mut self, view: &V, moment: Moment<'_>) -> Result<Step, ReadError> {
        if self.verify { Ok(done(Ok(Accepted::Valid))) } else { self.ask_claim(view, moment) }
    }

    fn judge<V: View>(&self, view: &V, moment: Moment<'_>) -> Result<Judgement, ReadError> {
        judge(view, &self.rules, self.submission.invoice, &self.submitted(moment), &moment.now)
    }

    /// The transactions as the ledger is told of them.
    fn submitted(&self, moment: Moment<'_>) -> Vec<Submitted> {
        let is_with_node = |txid| matches!(self.inputs.get(&txid), Some(Inputs::Spent));
        let submitted = |tx: &Arc<Transaction>| Submitted {
            transaction: tx.clone(),
            first_seen: self.first_seen(tx.txid(), moment),
            is_public: is_with_node(tx.txid()) || moment.sightings.get(&tx.txid()).is_some(),
        };
        self.transactions.iter().map(submitted).collect()
    }

    /// When a transaction was first there; now, if nobody saw it before.
    fn first_seen(&self, txid: Txid, moment: Moment<'_>) -> FirstSeen {
        let known = self.seen.get(&txid).copied().or_else(|| moment.sightings.get(&txid));
        known.unwrap_or(moment.first_seen())
    }

    /// Asks for a batch of the inputs of a transaction, from this one on, and for its place in the mempool: it can come there
    /// between two batches.
    fn ask_batch(&mut self, tx: &Transaction, from: usize, stage: Stage) -> Step {
        let outpoints = tx.inputs().iter().skip(from).take(BATCH).copied().collect();
        self.stage = stage;
        Step::Ask(Request::Inputs { txid: tx.txid(), outpoints })
    }

    fn ask_best_block(&mut self, stage: Stage) -> Step {
        self.stage = stage;
        Step::Ask(Request::BestBlock)
    }

    fn txids(&self) -> Vec<Txid> {
        self.transactions.iter().map(|tx| tx.txid()).collect()
    }
}

/// Whether the node has a transaction, by our own records.
fn is_with_node(known: Option<&TransactionRecord>) -> bool {
    known.is_some_and(|known| matches!(known.place, Place::Mempool | Place::Block { .. } | Place::Missed))
}

/// Whether our walk has come to a block: then everything up to it is on our records.
fn is_walked<V: View>(view: &V, block: BlockHash) -> Result<bool, ReadError> {
    let Some(record) = Reads::<Blocks>::get(view, &block)? else { return Ok(false) };
    Ok(Reads::<Chain>::get(view, &record.height)? == Some(block))
}

fn done(result: Result<Accepted, SubmitError>) -> Step {
    Step::Done(result)
}
