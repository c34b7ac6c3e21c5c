//! Held payments: an invoice may ask that a payment outside a block is safe enough before it counts.
//!
//! What it asks is a score, which says how well double spend proofs protect the transaction, and a time in which no proof
//! and no rival comes to light. Until both are there the credit is held: on record, and not counted. A block ends the wait
//! at once, whatever the score. What counts is not held again when a reorg takes it out of its block; what was lost and
//! comes back has to be safe enough anew.
//!
//! The time begins when a credit begins to be held, so not before its transaction is where a proof could come from: it may
//! have been submitted long before, and broadcast only now; or lost, and come back.
//!
//! That nothing came to light says something only if somebody looked. So no time passes by itself: a wait ends when a pass
//! of the follower asked the node for its proofs after the end of it.

use std::collections::BTreeMap;

use super::{
    ReadError, View,
    scribe::Scribe,
    settle::Change,
    tables::{Held, Transactions},
};
use crate::{
    bch::{ProofScore, Txid},
    invoice::{Credit, CreditState, Elapsed, InvoiceId, Via, ZeroConf, held_since},
};

/// What becomes of an invoice's credits when the state of some changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// One of them counts from now on.
    pub(super) credited: bool,
    /// One of them is held from now on.
    pub(super) held: bool,
    /// One of them counted or was held, and is not there any more: that of this transaction.
    pub(super) lost: Option<Txid>,
}

impl Turn {
    /// The change of its invoice, brought about by this transaction.
    pub(super) fn by(self, txid: Txid) -> Change {
        Change { txid: Some(txid), ..self.by_itself() }
    }

    /// The change of its invoice, whatever brought it about.
    pub(super) fn by_itself(self) -> Change {
        Change {
            txid: self.lost,
            credited: self.credited,
            held: self.held,
            lost: self.lost.is_some(),
            ..Change::default()
        }
    }
}

impl<V: View> Scribe<'_, V> {
    /// Gives a credit the state of its transaction, or holds it back, and notes what begins with that.
    pub(super) fn move_credit(
        &mut self,
        mut credit: Credit,
        state: CreditState,
        touched: &mut BTreeMap<InvoiceId, Turn>,
    ) -> Result<(), ReadError> {
        let asked = self.invoice(&credit.invoice)?.and_then(|record| record.invoice.zero_conf);
        if credit.state == CreditState::Lost && state != CreditState::Lost {
            // What it was worth then may not hold.
            credit.risk.score = None;
        }
        if credit.state != CreditState::Held {
            credit.held_since = Some(self.now());
        }
        // Who meets it knows nothing of what was said against it since it was held.
        let watched = held_since(&credit);
        self.move_watched(credit, state, asked, watched, touched)
    }

    /// The same, where the node was watched up to some time.
    fn move_watched(
        &mut self,
        mut credit: Credit,
        state: CreditState,
        asked: Option<ZeroConf>,
        watched: Elapsed,
        touched: &mut BTreeMap<InvoiceId, Turn>,
    ) -> Result<(), ReadError> {
        let (was, is) = (credit.state, held_back(&credit, state, asked, watched));
        let turn = touched.entry(credit.invoice).or_default();
        turn.credited |= is.is_live() && !was.is_live();
        turn.held |= is == CreditState::Held && was != CreditState::Held;
        if was.is_there() && !is.is_there() {
            turn.lost = Some(credit.outpoint.txid);
        }
        if was == is {
            return Ok(());
        }
        if is.is_live() && !was.is_live() {
            if credit.live_since.is_none() && matches!(is, CreditState::Confirmed { .. }) {
                // The node publishes what it mines, too: heard of, and then met in a block first.
                let waited = was == CreditState::Held;
                credit.via = if credit.via == Via::Mempool && !waited { Via::Block } else { credit.via };
            }
            credit.live_since.get_or_insert(self.at.wall);
        }
        if let Some(asked) = asked {
            let wait = (asked.waits_until(&credit), credit.outpoint);
            if is == CreditState::Held {
                self.put::<Held>(wait, ());
            } else if was == CreditState::Held {
                self.remove::<Held>(wait);
            }
        }
        credit.state = is;
        self.put_credit(credit)
    }

    /// Notes what the node says of a transaction; what waited for that alone counts from now on.
    pub(super) fn appraise(&mut self, txid: Txid, score: Option<ProofScore>) -> Result<(), ReadError> {
        let Some(record) = self.get::<Transactions>(&txid)? else { return Ok(()) };
        let mut touched = BTreeMap::new();
        for mut credit in self.credits_in(txid, record.outputs)? {
            if credit.risk.score != score {
                credit.risk.score = score;
                self.put_credit(credit.clone())?;
            }
            if credit.state == CreditState::Held {
                self.move_credit(credit, CreditState::Mempool, &mut touched)?;
            }
        }
        self.refresh_begun(txid, touched)
    }

    /// Lets those of these transactions count whose wait was over by the moment they were watched up to, and that are
    /// safe enough. The others wait for a better score, or for a block.
    pub(super) fn end_waits(&mut self, watched: &[(Txid, Elapsed)]) -> Result<(), ReadError> {
        for (txid, until) in watched {
            let Some(record) = self.get::<Transactions>(txid)? else { continue };
            let mut touched = BTreeMap::new();
            for credit in self.credits_in(*txid, record.outputs)? {
                if credit.state == CreditState::Held {
                    let asked = self.invoice(&credit.invoice)?.and_then(|record| record.invoice.zero_conf);
                    self.move_watched(credit, CreditState::Mempool, asked, *until, &mut touched)?;
                }
            }
            self.refresh_begun(*txid, touched)?;
        }
        Ok(())
    }

    /// Judges those invoices anew for which something began.
    fn refresh_begun(&mut self, txid: Txid, touched: BTreeMap<InvoiceId, Turn>) -> Result<(), ReadError> {
        for (invoice, turn) in touched {
            if turn.credited || turn.held {
                self.refresh(invoice, turn.by(txid))?;
            }
        }
        Ok(())
    }
}

/// The state of a credit whose transaction is in this one, with what its invoice asks, where the node was watched up to
/// some time.
fn held_back(credit: &Credit, state: CreditState, asked: Option<ZeroConf>, watched: Elapsed) -> CreditState {
    let counts = credit.state.is_live();
    match (state, asked) {
        (CreditState::Mempool, Some(asked)) if !counts && !asked.is_met_by(credit, watched) => {
            CreditState::Held
        }
        (state, _) => state,
    }
}
