//! How safe a payment is that is not in a block.

use super::{Answer, FollowError, Memory, Step};
use crate::{
    bch::{ProofScore, Txid},
    ledger::{self, Action, ReadError, View},
    node::{Reply, Request},
};

/// Asks the node how well double spend proofs protect a payment: once, and once more after each block as long as that is
/// not the best there is, for ancestors that are mined weigh no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appraisal {
    txid: Txid,
}

impl Appraisal {
    /// The appraisal of a tracked transaction, if it needs one.
    pub(super) fn of<V: View>(txid: Txid, memory: &Memory, view: &V) -> Result<Option<Self>, ReadError> {
        if memory.is_appraised(&txid) {
            return Ok(None);
        }
        let Some(needs) = needs_appraisal(txid, view)? else { return Ok(None) };
        if !needs {
            memory.appraised(txid);
        }
        Ok(needs.then_some(Self { txid }))
    }

    /// Takes an answer and says what is next.
    pub(super) fn on(&mut self, answer: Answer, memory: &Memory) -> Result<Step<()>, FollowError> {
        match answer {
            Answer::Begin => Ok(Step::Ask(Request::ProofScore(self.txid))),
            Answer::Node(Reply::ProofScore(score)) => {
                memory.appraised(self.txid);
                Ok(Step::Apply(Box::new(Action::Appraised { txid: self.txid, score })))
            }
            Answer::Applied(_) => Ok(Step::Done(())),
            Answer::Node(_) | Answer::Decoded(_) => Err(FollowError::Confused),
        }
    }
}

/// Whether a transaction that pays an invoice could do with a better score. `None`: it pays none, and its merchant may
/// still say which it is for.
fn needs_appraisal<V: View>(txid: Txid, view: &V) -> Result<Option<bool>, ReadError> {
    let credits = ledger::tracked(view, txid)?.map(|(_, credits)| credits).unwrap_or_default();
    let needs = credits.iter().any(|credit| credit.risk.score != Some(ProofScore::FULL));
    Ok((!credits.is_empty()).then_some(needs))
}
