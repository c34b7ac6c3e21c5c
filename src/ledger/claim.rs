//! Claims: a submission is on disk before it is broadcast.

use super::{
    ClaimRequest, Claimed, Judgement, ReadError, Refusal, Rules, View, judge,
    scribe::Scribe,
    tables::{Claim, ClaimState, Claims, Invoices, OpenClaims, Place, TransactionRecord, Transactions},
};
use crate::{bch::Txid, invoice::InvoiceId};

impl<V: View> Scribe<'_, V> {
    /// Reserves the outputs of a transaction that the named invoice needs. Its other outputs go by the rows of the
    /// matching rules, and no other payer is kept from paying.
    pub(super) fn claim(&mut self, request: &ClaimRequest) -> Result<Claimed, ReadError> {
        let ClaimRequest { invoice: id, transaction: tx, first_seen, note, via } = request;
        let txid = tx.txid();
        let known = self.get::<Claims>(&(txid, *id))?;
        if known.as_ref().is_some_and(|claim| claim.state == ClaimState::Open) {
            // A repetition takes up what was left without an answer.
            return Ok(Claimed::Open);
        }
        let claim = |assignment, state| Claim {
            assignment,
            note: note.clone(),
            via: *via,
            claimed: self.now(),
            state,
        };
        match judge(self, self.rules, *id, tx, first_seen, self.now())? {
            Judgement::Refused(refusal) => Ok(Claimed::Refused(refusal)),
            Judgement::AlreadyCredited => {
                if known.is_none() {
                    // It was broadcast before it was submitted; what the payer says is kept all the same.
                    let claim = claim(Vec::new(), ClaimState::Ended);
                    self.put::<Claims>((txid, *id), claim);
                }
                Ok(Claimed::AlreadyCredited)
            }
            Judgement::Fits(assignment) => {
                let Some(mut record) = self.invoice(id)? else {
                    return Ok(Claimed::Refused(Refusal::NoSuchInvoice));
                };
                if record.state.open_claims >= self.rules.most_open_claims {
                    return Ok(Claimed::Refused(Refusal::TooManyClaims));
                }
                let claim = claim(assignment.into_iter().zip(0u16..).collect(), ClaimState::Open);
                record.state.open_claims += 1;
                self.put::<Invoices>(*id, record);
                self.put::<OpenClaims>((claim.claimed.after(Rules::CLAIM), txid, *id), ());
                self.put::<Claims>((txid, *id), claim);
                let place = self.get::<Transactions>(&txid)?.map(|known| known.place);
                match place {
                    Some(place @ (Place::Mempool | Place::Block { .. })) => {
                        // It is where it should be already: nothing to broadcast, the claim credits it.
                        self.observe(tx, *first_seen, place)?;
                        Ok(Claimed::AlreadyCredited)
                    }
                    Some(Place::Claimed | Place::Seen | Place::Lost) => Ok(Claimed::Open),
                    None => {
                        let record = TransactionRecord {
                            raw: tx.raw().clone(),
                            first_seen: Some(*first_seen),
                            place: Place::Claimed,
                            outputs: u32::try_from(tx.outputs().len()).unwrap_or(u32::MAX),
                            coinbase: tx.is_coinbase(),
                        };
                        self.put_transaction(tx, None, record)?;
                        Ok(Claimed::Open)
                    }
                }
            }
        }
    }

    /// The node refused what was claimed.
    pub(super) fn release(&mut self, txid: Txid, invoice: InvoiceId) -> Result<(), ReadError> {
        self.close_claim(txid, invoice, ClaimState::Released)
    }
}
