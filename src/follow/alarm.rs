//! A double spend proof that came to light.

use super::{Answer, FollowError, Step};
use crate::{
    bch::Txid,
    ledger::{Action, Reads, View, tables::Transactions},
    node::{Reply, Request},
};

/// Finds out whom a double spend proof concerns. The node names the transaction that is attacked and nobody else; a
/// payment that descends from it is as much in danger, and gets no word of its own.
#[derive(Clone, Copy, Debug)]
pub struct Alarm {
    txid: Txid,
}

impl Alarm {
    /// An alarm for a transaction of the mempool, ours or not.
    pub fn of(txid: Txid) -> Self {
        Self { txid }
    }

    /// Takes an answer and says what is next.
    ///
    /// # Errors
    ///
    /// [`FollowError`]; the next pass finds the proof again.
    pub fn on<V: View>(&mut self, answer: Answer, view: &V) -> Result<Step<()>, FollowError> {
        match answer {
            Answer::Begin => Ok(Step::Ask(Request::DoubleSpendProof(self.txid))),
            // It is in a block by now, or gone.
            Answer::Node(Reply::DoubleSpendProof(None)) | Answer::Applied(_) => Ok(Step::Done(())),
            Answer::Node(Reply::DoubleSpendProof(Some(proof))) => {
                let mut txids = Vec::new();
                for txid in [proof.txid].into_iter().chain(proof.descendants) {
                    if !txids.contains(&txid) && Reads::<Transactions>::get(view, &txid)?.is_some() {
                        txids.push(txid);
                    }
                }
                if txids.is_empty() {
                    return Ok(Step::Done(()));
                }
                tracing::warn!(txid = %proof.txid, "a double spend proof concerns payments of ours");
                Ok(Step::Apply(Box::new(Action::Proven { txids })))
            }
            Answer::Node(_) | Answer::Decoded(_) => Err(FollowError::Confused),
        }
    }
}
