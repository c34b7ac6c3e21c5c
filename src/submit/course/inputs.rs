//! The first half of a course: what each transaction spends, and whether that is enough.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{BATCH, Course, Inputs, Moment, Stage, Step, done, is_with_node};
use crate::{
    bch::{FeeRate, OutPoint, Output, Transaction},
    invoice::Sighting,
    ledger::{
        Action, Judgement, Observation, ReadError, Reads, Refusal, View,
        tables::{Invoices, Place, Transactions},
    },
    node::{Coin, MempoolEntry, Request},
    submit::{
        InputFault, SubmitError,
        checks::{check_fee, check_floor, check_sums},
        tokens::check_tokens,
    },
};

/// How many outputs of a transaction are asked for, to see whether it is in a block.
const MOST_OWN_OUTPUTS: usize = 50;

/// How long an unknown parent gets to arrive before the one repetition.
const PARENT_PAUSE: Duration = Duration::from_secs(1);

impl Course {
    /// Asks for the inputs of the next transaction, the first of them first. When all are known they are weighed.
    pub(super) fn next_inputs<V: View>(&mut self, view: &V, moment: Moment<'_>) -> Result<Step, ReadError> {
        let next = self.transactions.iter().find(|tx| !self.inputs.contains_key(&tx.txid()));
        if let Some(next) = next.cloned() {
            self.spent.clear();
            return Ok(self.ask_next(next));
        }
        let Some(floor) = self.floor else {
            self.stage = Stage::Floor;
            return Ok(Step::Ask(Request::FeeFloor));
        };
        let Some(record) = Reads::<Invoices>::get(view, &self.submission.invoice)? else {
            return Ok(done(Err(SubmitError::Refused(Refusal::NoSuchInvoice))));
        };
        match self.weigh(record.invoice.fee_rate, floor) {
            Ok(()) => self.checked(view, moment),
            Err(error) => Ok(done(Err(error))),
        }
    }

    /// Asks for the next inputs of a transaction that are not known.
    pub(super) fn ask_next(&mut self, tx: Arc<Transaction>) -> Step {
        self.ask_batch(&tx, self.spent.len(), Stage::Inputs(tx.clone()))
    }

    /// The node has a transaction in its mempool: its inputs are spent by itself. It may be older than the invoice, and it
    /// may be somebody else's. What was not noted yet is observed first, as if nobody had handed it over: whoever sees
    /// another payer's transaction before we do must not get it counted for an invoice of his own.
    pub(super) fn met<V: View>(
        &mut self,
        tx: Arc<Transaction>,
        entry: &MempoolEntry,
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        let txid = tx.txid();
        let known = Reads::<Transactions>::get(view, &txid)?;
        let noted =
            moment.sightings.get(&txid).is_some() || known.is_some_and(|known| known.place != Place::Claimed);
        if noted {
            return self.spent_by_itself(&tx, view, moment);
        }
        if !moment.covered && !self.waited_for_pass {
            self.stage = Stage::Uncovered(tx);
            return Ok(Step::AwaitPass);
        }
        // The transaction came since the last pass. Its age tells whether it came in time.
        let came = moment.now.first_seen(Sighting::Order(moment.order), entry.time_s);
        let first_seen = moment.sightings.note(txid, came);
        self.stage = Stage::Observed(tx.clone());
        let observation = Observation::Mempool;
        Ok(Step::Apply(Box::new(Action::Observed { transaction: tx, first_seen, observation })))
    }

    /// The node has a transaction, and so do our notes.
    pub(super) fn spent_by_itself<V: View>(
        &mut self,
        tx: &Transaction,
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        let txid = tx.txid();
        let known = Reads::<Transactions>::get(view, &txid)?.and_then(|known| known.first_seen);
        if let Some(seen) = known.or_else(|| moment.sightings.get(&txid)) {
            self.seen.entry(txid).or_insert(seen);
        }
        self.inputs.insert(txid, Inputs::Spent);
        match self.judge(view, moment)? {
            Judgement::Refused(refusal) => Ok(done(Err(SubmitError::Refused(refusal)))),
            Judgement::AlreadyCredited => self.checked(view, moment),
            Judgement::Fits(_) => self.next_inputs(view, moment),
        }
    }

    /// The node does not have a transaction; these are the coins it has of the next inputs that were asked for. At the first
    /// that is unknown a missing parent gets a moment to arrive, once, and is asked for again from this batch on.
    pub(super) fn looked_at<V: View>(
        &mut self,
        tx: Arc<Transaction>,
        coins: &[Option<Coin>],
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        match self.spent_by(&tx, coins) {
            Ok(spent) => {
                self.spent.extend(spent);
                if self.spent.len() < tx.inputs().len() {
                    return Ok(self.ask_next(tx));
                }
                self.inputs.insert(tx.txid(), Inputs::Free(std::mem::take(&mut self.spent)));
                self.next_inputs(view, moment)
            }
            Err(_) if !self.waited => {
                self.waited = true;
                self.stage = Stage::Parent(tx);
                Ok(Step::Pause(PARENT_PAUSE))
            }
            Err(gone) => {
                let outpoints = self.own_outputs(&tx, view, moment)?;
                if outpoints.is_empty() {
                    let error = SubmitError::Inputs(InputFault::Missing(gone));
                    return Ok(self.ask_best_block(Stage::Mined(tx, error)));
                }
                self.stage = Stage::OwnOutputs(tx, gone);
                Ok(Step::Ask(Request::Unspent { outpoints, include_mempool: false }))
            }
        }
    }

    /// An error of a transaction, unless it was met while the node was asked: then it is a payment like any other.
    pub(super) fn unless_met<V: View>(
        &mut self,
        tx: &Transaction,
        error: SubmitError,
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        match self.judge(view, moment)? {
            Judgement::AlreadyCredited => return self.checked(view, moment),
            Judgement::Refused(refusal) => return Ok(done(Err(SubmitError::Refused(refusal)))),
            Judgement::Fits(_) => {}
        }
        if is_with_node(Reads::<Transactions>::get(view, &tx.txid())?.as_ref()) {
            self.inputs.insert(tx.txid(), Inputs::Spent);
            return self.next_inputs(view, moment);
        }
        Ok(done(Err(error)))
    }

    /// The outputs of a transaction that tell whether it is in a block: those that the invoice requires, and those that
    /// others of this submission spend. The rest, of which there can be thousands, is not asked for.
    fn own_outputs<V: View>(
        &self,
        tx: &Transaction,
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Vec<OutPoint>, ReadError> {
        let txid = tx.txid();
        let required = match self.judge(view, moment)? {
            Judgement::Fits(assignment) => assignment,
            Judgement::AlreadyCredited | Judgement::Refused(_) => Vec::new(),
        };
        let children = self.transactions.iter().flat_map(|child| child.inputs().iter().copied());
        let own: BTreeSet<OutPoint> =
            required.into_iter().chain(children).filter(|outpoint| outpoint.txid == txid).collect();
        Ok(own.into_iter().take(MOST_OWN_OUTPUTS).collect())
    }

    /// The outputs that the next inputs of a transaction spend: what the node has of them, and what a parent of this
    /// submission makes once it is there; or the first that is neither.
    fn spent_by(&self, tx: &Transaction, coins: &[Option<Coin>]) -> Result<Vec<Output>, OutPoint> {
        let mut coins = coins.iter();
        let asked = tx.inputs().iter().skip(self.spent.len()).take(BATCH);
        let spent = asked.map(|outpoint| {
            let coin = coins.next().and_then(Option::as_ref).map(Coin::output);
            coin.or_else(|| self.output_to_come(outpoint)).ok_or(*outpoint)
        });
        spent.collect()
    }

    /// An output of a transaction of this submission that the node does not have yet. Of one that it has, the node
    /// knows best what is unspent.
    fn output_to_come(&self, outpoint: &OutPoint) -> Option<Output> {
        if let Some(Inputs::Spent) = self.inputs.get(&outpoint.txid) {
            return None;
        }
        let parent = self.transactions.iter().find(|tx| tx.txid() == outpoint.txid)?;
        parent.outputs().get(outpoint.vout as usize).cloned()
    }

    /// Compares what goes in with what goes out, in every transaction that the node does not have: satoshis, then
    /// tokens, then the fee: what the invoice asks, and what the node takes.
    fn weigh(&self, rate: FeeRate, floor: u64) -> Result<(), SubmitError> {
        let weighted = if self.transactions.len() == 1 { self.submission.weighted_size } else { None };
        let free = || {
            self.transactions.iter().filter_map(|tx| match self.inputs.get(&tx.txid())? {
                Inputs::Free(spent) => Some((tx, spent)),
                Inputs::Spent => None,
            })
        };
        free().try_for_each(|(tx, spent)| check_sums(tx, spent)).map_err(SubmitError::Inputs)?;
        free().try_for_each(|(tx, spent)| check_tokens(tx, spent)).map_err(SubmitError::Tokens)?;
        free().try_for_each(|(tx, spent)| check_fee(tx, spent, rate, weighted))?;
        free().try_for_each(|(tx, spent)| check_floor(tx, spent, floor, weighted))
    }
}
