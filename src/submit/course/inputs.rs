//! The first half of a course: what each transaction spends, and whether that is enough.

use std::{sync::Arc, time::Duration};

use super::{Course, Inputs, Moment, Stage, Step, done, is_with_node};
use crate::{
    bch::{FeeRate, OutPoint, Output, Transaction},
    invoice::{FirstSeen, Sighting, Timestamp},
    ledger::{
        Judgement, ReadError, Reads, Refusal, View,
        tables::{Invoices, Transactions},
    },
    node::{Coin, MempoolEntry, Request},
    submit::{
        SubmitError,
        checks::{check_fee, check_sums},
        tokens::check_tokens,
    },
};

/// How long an unknown parent gets to arrive before the one repetition.
const PARENT_PAUSE: Duration = Duration::from_secs(1);

impl Course {
    /// Asks for the inputs of the next transaction. When all are known they are weighed.
    pub(super) fn next_inputs<V: View>(&mut self, view: &V, moment: Moment<'_>) -> Result<Step, ReadError> {
        let next = self.transactions.iter().find(|tx| !self.inputs.contains_key(&tx.txid()));
        if let Some(next) = next.cloned() {
            return Ok(self.ask_inputs(next, Stage::Inputs));
        }
        let Some(record) = Reads::<Invoices>::get(view, &self.submission.invoice)? else {
            return Ok(done(Err(SubmitError::Refused(Refusal::NoSuchInvoice))));
        };
        match self.weigh(record.invoice.fee_rate) {
            Ok(()) => self.checked(view, moment),
            Err(error) => Ok(done(Err(error))),
        }
    }

    /// The node has a transaction in its mempool: its inputs are spent by itself. It may be older than the invoice.
    pub(super) fn met<V: View>(
        &mut self,
        tx: &Transaction,
        entry: &MempoolEntry,
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        let at = Timestamp::from_secs(entry.time_s).min(moment.now);
        let entered = FirstSeen { sighting: Sighting::MempoolTime(entry.time_s), at };
        let seen = moment.sightings.get(&tx.txid()).unwrap_or(entered);
        self.seen.entry(tx.txid()).or_insert(seen);
        self.inputs.insert(tx.txid(), Inputs::Spent);
        match self.judge(view, moment)? {
            Judgement::Refused(refusal) => Ok(done(Err(SubmitError::Refused(refusal)))),
            Judgement::AlreadyCredited => self.checked(view, moment),
            Judgement::Fits(_) => self.next_inputs(view, moment),
        }
    }

    /// The node does not have a transaction; these are the coins it has of what the transaction spends.
    pub(super) fn looked_at<V: View>(
        &mut self,
        tx: Arc<Transaction>,
        coins: &[Option<Coin>],
        view: &V,
        moment: Moment<'_>,
    ) -> Result<Step, ReadError> {
        match self.spent(&tx, coins) {
            Ok(spent) => {
                self.inputs.insert(tx.txid(), Inputs::Free(spent));
                self.next_inputs(view, moment)
            }
            Err(_) if !self.waited => {
                self.waited = true;
                self.stage = Stage::Parent(tx);
                Ok(Step::Pause(PARENT_PAUSE))
            }
            Err(gone) => {
                let outpoints = tx.numbered_outputs().map(|(vout, _)| tx.outpoint(vout)).collect();
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

    /// The outputs that a transaction spends: what the node has of them, and what a parent of this submission makes
    /// once it is there; or the first that is neither.
    fn spent(&self, tx: &Transaction, coins: &[Option<Coin>]) -> Result<Vec<Output>, OutPoint> {
        let mut coins = coins.iter();
        let spent = tx.inputs().iter().map(|outpoint| {
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
    /// tokens, then the fee.
    fn weigh(&self, rate: FeeRate) -> Result<(), SubmitError> {
        let weighted = if self.transactions.len() == 1 { self.submission.weighted_size } else { None };
        let free = || {
            self.transactions.iter().filter_map(|tx| match self.inputs.get(&tx.txid())? {
                Inputs::Free(spent) => Some((tx, spent)),
                Inputs::Spent => None,
            })
        };
        free().try_for_each(|(tx, spent)| check_sums(tx, spent)).map_err(SubmitError::Inputs)?;
        free().try_for_each(|(tx, spent)| check_tokens(tx, spent)).map_err(SubmitError::Tokens)?;
        free().try_for_each(|(tx, spent)| check_fee(tx, spent, rate, weighted))
    }
}
