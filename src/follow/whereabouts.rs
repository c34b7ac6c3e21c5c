//! What became of the payments that were in the mempool, where the blocks since then cannot be looked into.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{Answer, FollowError, Step};
use crate::{
    bch::{BlockHash, OutPoint, Transaction, Txid},
    ledger::{
        self, ReadError, Reads, View,
        tables::{Place, Transactions},
    },
    node::{Reply, Request, UnspentCoin},
};

/// What became of them, as far as the node can tell.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those that a block has, each with an output that is unspent there.
    pub(super) mined: Vec<(Arc<Transaction>, UnspentCoin)>,
    /// Those that count, and were mined and spent on since, or made impossible: both look alike.
    pub(super) undecided: Vec<Txid>,
}

/// Asks the node what became of the payments outside a block. One is in the mempool; of one that was mined an output is
/// unspent, mostly; one that was not mined has what it spends unspent, or spends what can still be sent. What is none of
/// these was mined and all of its outputs spent on, or lost to a rival. The node says the same of both.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    /// The node's tip, under which confirmations are counted, and its height.
    tip: Option<BlockHash>,
    height: u32,
    mempool: BTreeSet<Txid>,
    to_ask: VecDeque<Arc<Transaction>>,
    asked: Option<Asked>,
    /// Those of which the node shows nothing, with what they spend that it does not have in its chain.
    absent: BTreeMap<Txid, Vec<OutPoint>>,
    found: Found,
}

#[derive(Debug)]
enum Asked {
    Outputs(Arc<Transaction>),
    Inputs(Arc<Transaction>),
}

impl Whereabouts {
    /// Takes an answer and says what is next.
    pub(super) fn on<V: View>(&mut self, answer: Answer, view: &V) -> Result<Step<Found>, FollowError> {
        let asked = self.asked.take();
        match (asked, answer) {
            (None, Answer::Begin) => {
                *self = Self::default();
                Ok(Step::Ask(Request::Snapshot))
            }
            (None, Answer::Node(Reply::Snapshot(snapshot))) => {
                if !snapshot.loaded {
                    return Err(FollowError::MempoolNotLoaded);
                }
                self.tip = Some(snapshot.tip_after);
                self.mempool = snapshot.txids.into_iter().collect();
                for txid in ledger::unconfirmed(view, usize::MAX)? {
                    let record = Reads::<Transactions>::get(view, &txid)?;
                    if let Some(tx) = record.and_then(|record| Transaction::decode(record.raw).ok())
                        && !self.mempool.contains(&txid)
                    {
                        self.to_ask.push_back(tx.shared());
                    }
                }
                Ok(Step::Ask(Request::Header(snapshot.tip_after)))
            }
            (None, Answer::Node(Reply::Header(header))) => {
                self.height = header.ok_or(FollowError::OtherChain)?.height;
                Ok(self.next())
            }
            (Some(Asked::Outputs(tx)), Answer::Node(Reply::Unspent(coins))) => {
                let unspent = (0u32..).zip(&coins).find_map(|(vout, coin)| Some((vout, coin.as_ref()?)));
                if let Some((vout, coin)) = unspent {
                    let coin = UnspentCoin {
                        outpoint: tx.outpoint(vout),
                        script: coin.script.clone(),
                        satoshis: coin.satoshis,
                        height: self.height.saturating_add(1).saturating_sub(coin.confirmations),
                    };
                    self.found.mined.push((tx, coin));
                    return Ok(self.next());
                }
                let outpoints = tx.inputs().to_vec();
                self.asked = Some(Asked::Inputs(tx));
                Ok(Step::Ask(Request::Unspent { outpoints, include_mempool: false }))
            }
            (Some(Asked::Inputs(tx)), Answer::Node(Reply::Unspent(coins))) => {
                let missing = tx.inputs().iter().zip(coins).filter(|(_, coin)| coin.is_none());
                self.absent.insert(tx.txid(), missing.map(|(outpoint, _)| *outpoint).collect());
                Ok(self.next())
            }
            // Heights were counted from the tip: it must be the same still.
            (None, Answer::Node(Reply::BestBlock(tip))) if Some(tip) != self.tip => {
                self.on(Answer::Begin, view)
            }
            (None, Answer::Node(Reply::BestBlock(_))) => {
                self.found.undecided = self.undecided(view)?;
                Ok(Step::Done(std::mem::take(&mut self.found)))
            }
            _ => Err(FollowError::Confused),
        }
    }

    fn next(&mut self) -> Step<Found> {
        let Some(tx) = self.to_ask.pop_front() else { return Step::Ask(Request::BestBlock) };
        let outpoints = tx.numbered_outputs().map(|(vout, _)| tx.outpoint(vout)).collect();
        self.asked = Some(Asked::Outputs(tx));
        Step::Ask(Request::Unspent { outpoints, include_mempool: false })
    }

    fn undecided<V: View>(&self, view: &V) -> Result<Vec<Txid>, ReadError> {
        // What spends from the mempool, or from what can be sent again, can be sent again as well, or is refused for a
        // reason that says something.
        let mut possible: BTreeSet<Txid> = self.mempool.clone();
        loop {
            let known = possible.len();
            for (txid, missing) in &self.absent {
                if missing.iter().all(|outpoint| possible.contains(&outpoint.txid)) {
                    possible.insert(*txid);
                }
            }
            if possible.len() == known {
                break;
            }
        }
        let mut undecided = Vec::new();
        for txid in self.absent.keys() {
            if !possible.contains(txid) && counts(*txid, view)? {
                undecided.push(*txid);
            }
        }
        Ok(undecided)
    }
}

/// Whether a transaction is on record as one of the mempool, and some invoice counts it.
fn counts<V: View>(txid: Txid, view: &V) -> Result<bool, ReadError> {
    Ok(ledger::tracked(view, txid)?.is_some_and(|(record, credits)| {
        record.place == Place::Mempool && credits.iter().any(|credit| credit.state.is_live())
    }))
}
