//! A gap in the node's history: blocks that it deleted before we had walked them.
//!
//! A node that deletes old blocks (`-prune`), beside a daemon that was away for long, has nothing left to walk. What it
//! still has is the set of unspent outputs, and every header. So a [`Gap`] finds out which heights are missing and which
//! unspent outputs in them go to scripts that invoices ask for; and when its operator has seen that and says so, it walks
//! the missing blocks by their headers alone. A payment that was met before, in the mempool, is found in its block that
//! way, by any output of it that is unspent. One that was never met is not: the node cannot show its transaction any
//! more, so it is told to the operator and stays on no record. One whose outputs were all spent again is in no set of
//! unspent outputs. If it was met before, it counts as it did, and is told to the operator; if not, nobody can tell of it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    Answer, FollowError, Step,
    whereabouts::{Found, Whereabouts},
};
use crate::{
    bch::{BlockHash, ScriptBuf, ScriptHash, Transaction, Txid},
    ledger::{
        self, Action, Outcome, Reads, View,
        tables::{Chain, Counters, Transactions},
    },
    node::{Header, Reply, Request, UnspentCoin},
};

/// What a gap is, as far as it can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// The first and the last height that are missing; `None`: nothing is.
    pub heights: Option<(u32, u32)>,
    /// Unspent outputs in missing blocks, of payments that were met before: they are found in their blocks.
    pub known: Vec<UnspentCoin>,
    /// Unspent outputs in missing blocks that were never met: they stay on no record.
    pub unknown: Vec<UnspentCoin>,
    /// Payments that were met before and count, of which the node shows neither an output nor what they spend: they were
    /// mined there and spent on, or lost to a rival.
    pub undecided: Vec<Txid>,
}

/// Finds what is missing, and walks it by its headers if it is told to.
#[derive(Debug)]
pub struct Gap {
    acknowledged: bool,
    /// The node's chain above ours, the oldest first, of which what the node has is taken off again.
    path: VecDeque<Header>,
    scripts: Vec<ScriptBuf>,
    missing: Missing,
    /// What was met before, by height.
    met: BTreeMap<u32, Vec<Arc<Transaction>>>,
    walking: Option<(Header, Vec<Arc<Transaction>>)>,
    /// Asks what became of the payments outside a block, while that is not known.
    search: Option<Whereabouts>,
}

impl Gap {
    /// Finds what is missing; if the operator acknowledged it, walks it too.
    pub fn new(acknowledged: bool) -> Self {
        Self {
            acknowledged,
            path: VecDeque::new(),
            scripts: Vec::new(),
            missing: Missing::default(),
            met: BTreeMap::new(),
            walking: None,
            search: None,
        }
    }

    /// Takes an answer and says what is next.
    ///
    /// # Errors
    ///
    /// [`FollowError`].
    pub fn on<V: View>(&mut self, answer: Answer, view: &V) -> Result<Step<Missing>, FollowError> {
        if let Some(mut search) = self.search.take() {
            return match search.on(answer, view)? {
                Step::Done(found) => self.sort_in(found, view),
                step @ (Step::Ask(_) | Step::Decode(_) | Step::Apply(_)) => {
                    self.search = Some(search);
                    step.within().ok_or(FollowError::Confused)
                }
            };
        }
        match answer {
            Answer::Begin => {
                let mut scripts: BTreeMap<ScriptHash, ScriptBuf> = BTreeMap::new();
                ledger::each_open_or_paid(view, |record| {
                    let outputs = record.invoice.outputs.iter();
                    scripts.extend(outputs.map(|output| (output.script_hash(), output.script.clone())));
                    Ok(())
                })?;
                self.scripts = scripts.into_values().collect();
                Ok(Step::Ask(Request::BestBlock))
            }
            Answer::Node(Reply::BestBlock(tip)) => Ok(Step::Ask(Request::Header(tip))),
            Answer::Node(Reply::Header(header)) => self.header(header, view),
            Answer::Node(Reply::ChainInfo(chain)) => {
                // What the node has the walk takes from there.
                let kept = chain.prune_height.unwrap_or(0);
                self.path.retain(|header| header.height < kept);
                let ends = (self.path.front(), self.path.back());
                self.missing.heights = match ends {
                    (Some(first), Some(last)) => Some((first.height, last.height)),
                    (None, _) | (_, None) => return Ok(self.done()),
                };
                if self.scripts.is_empty() {
                    return self.search(view);
                }
                Ok(Step::Ask(Request::ScanUtxos(std::mem::take(&mut self.scripts))))
            }
            Answer::Node(Reply::Scanned(coins)) => {
                for coin in coins {
                    self.sort_out(coin, view)?;
                }
                self.search(view)
            }
            Answer::Applied(outcome) => match self.walking.take() {
                Some((header, mut transactions)) => {
                    if let Outcome::Part { applied } = outcome {
                        transactions.drain(..applied.min(transactions.len()));
                    }
                    if !transactions.is_empty() {
                        return Ok(self.part(header, transactions));
                    }
                    let Header { hash, height, .. } = header;
                    Ok(Step::Apply(Box::new(Action::BlockConnected { hash, height })))
                }
                None => self.walk(view),
            },
            Answer::Node(_) | Answer::Decoded(_) => Err(FollowError::Confused),
        }
    }

    /// Follows the node's links back to a block of ours.
    fn header<V: View>(&mut self, header: Option<Header>, view: &V) -> Result<Step<Missing>, FollowError> {
        let header = header.ok_or(FollowError::OtherChain)?;
        if Reads::<Chain>::get(view, &header.height)? == Some(header.hash) {
            return Ok(Step::Ask(Request::ChainInfo));
        }
        let previous: BlockHash = header.previous.ok_or(FollowError::OtherChain)?;
        self.path.push_front(header);
        Ok(Step::Ask(Request::Header(previous)))
    }

    fn sort_out<V: View>(&mut self, coin: UnspentCoin, view: &V) -> Result<(), FollowError> {
        let (first, last) = self.missing.heights.ok_or(FollowError::Confused)?;
        if !(first..=last).contains(&coin.height) {
            return Ok(());
        }
        let record = Reads::<Transactions>::get(view, &coin.outpoint.txid)?;
        let Some(tx) = record.and_then(|record| Transaction::decode(record.raw).ok()) else {
            self.missing.unknown.push(coin);
            return Ok(());
        };
        let met = self.met.entry(coin.height).or_default();
        if met.iter().all(|known| known.txid() != tx.txid()) {
            met.push(tx.shared());
        }
        self.missing.known.push(coin);
        Ok(())
    }

    fn search<V: View>(&mut self, view: &V) -> Result<Step<Missing>, FollowError> {
        self.search = Some(Whereabouts::default());
        self.on(Answer::Begin, view)
    }

    fn sort_in<V: View>(&mut self, found: Found, view: &V) -> Result<Step<Missing>, FollowError> {
        let (first, last) = self.missing.heights.ok_or(FollowError::Confused)?;
        for (tx, coin) in found.mined {
            let met = self.met.entry(coin.height).or_default();
            // What is in a block that is kept is found by the walk.
            if (first..=last).contains(&coin.height) && met.iter().all(|known| known.txid() != tx.txid()) {
                met.push(tx);
                self.missing.known.push(coin);
            }
        }
        self.missing.undecided.clone_from(&found.undecided);
        if !self.acknowledged || found.undecided.is_empty() {
            return self.walk(view);
        }
        Ok(Step::Apply(Box::new(Action::Missed { txids: found.undecided })))
    }

    fn walk<V: View>(&mut self, view: &V) -> Result<Step<Missing>, FollowError> {
        if !self.acknowledged {
            return Ok(self.done());
        }
        let Some(header) = self.path.pop_front() else { return Ok(self.done()) };
        // Blocks of ours that are not on the node's chain go first, as in every walk.
        let tip = Reads::<Counters>::get(view, &())?.unwrap_or_default().tip;
        if let Some((height, hash)) = tip.filter(|(height, _)| *height >= header.height) {
            self.path.push_front(header);
            return Ok(Step::Apply(Box::new(Action::BlockDisconnected { hash, height })));
        }
        let transactions = self.met.remove(&header.height).unwrap_or_default();
        Ok(self.part(header, transactions))
    }

    /// Applies what was met of a block, or what is left of it.
    fn part(&mut self, header: Header, left: Vec<Arc<Transaction>>) -> Step<Missing> {
        let (hash, height) = (header.hash, header.height);
        let time_s = u32::try_from(header.time_s).unwrap_or(u32::MAX);
        let transactions = left.iter().map(|tx| (tx.clone(), None)).collect();
        self.walking = Some((header, left));
        Step::Apply(Box::new(Action::BlockPart { hash, height, time_s, transactions }))
    }

    fn done(&mut self) -> Step<Missing> {
        Step::Done(std::mem::take(&mut self.missing))
    }
}
