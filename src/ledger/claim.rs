//! Claims: a submission is on disk before it is broadcast.

use super::{
    ClaimRequest, Claimed, Judgement, ReadError, Refusal, Rules, View, judge,
    scribe::Scribe,
    tables::{
        Claim, ClaimState, Claims, Invoices, OpenClaims, Place, Spends, TransactionRecord, Transactions,
    },
};
use crate::{
    bch::{Transaction, Txid},
    invoice::{InvoiceId, PayerNote},
};

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
        match judge(self, self.rules, *id, tx, first_seen, self.now())? {
            Judgement::Refused(refusal) => Ok(Claimed::Refused(refusal)),
            Judgement::AlreadyCredited => Ok(Claimed::AlreadyCredited),
            Judgement::Fits(assignment) => {
                let Some(mut record) = self.invoice(id)? else {
                    return Ok(Claimed::Refused(Refusal::NoSuchInvoice));
                };
                if record.state.open_claims >= self.rules.most_open_claims {
                    return Ok(Claimed::Refused(Refusal::TooManyClaims));
                }
                let place = self.get::<Transactions>(&txid)?.map(|known| known.place);
                // Once the network has a transaction anybody can submit it; then whoever does has no say in where
                // refunds go.
                let note = match place {
                    None | Some(Place::Claimed) => note.clone(),
                    Some(Place::Seen | Place::Mempool | Place::Block { .. } | Place::Lost) => {
                        PayerNote::default()
                    }
                };
                let claim = Claim {
                    assignment: assignment.into_iter().zip(0u16..).collect(),
                    note,
                    via: *via,
                    claimed: self.now(),
                    state: ClaimState::Open,
                };
                record.state.open_claims += 1;
                self.put::<Invoices>(*id, record);
                self.put::<OpenClaims>((claim.claimed.after(Rules::CLAIM), txid, *id), ());
                self.put::<Claims>((txid, *id), claim);
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

    /// The node refused what was claimed. A transaction that nobody else was heard to know is not kept: anybody can
    /// make up as many as they like that spend one coin, and what the node never had it was never first seen.
    pub(super) fn release(&mut self, txid: Txid, invoice: InvoiceId) -> Result<(), ReadError> {
        let open = |claim: Option<Claim>| claim.is_some_and(|claim| claim.state == ClaimState::Open);
        if !open(self.get::<Claims>(&(txid, invoice))?) {
            return Ok(());
        }
        self.close_claim(txid, invoice, ClaimState::Released)?;
        let claims = self.claims_on(txid)?;
        if claims.iter().any(|(_, claim)| claim.state != ClaimState::Released) {
            return Ok(());
        }
        let Some(record) = self.get::<Transactions>(&txid)? else { return Ok(()) };
        if record.place == Place::Claimed {
            self.forget_transaction(txid, record)?;
        }
        Ok(())
    }

    /// The claims on a transaction, in the order of their invoices.
    pub(super) fn claims_on(&self, txid: Txid) -> Result<Vec<(InvoiceId, Claim)>, ReadError> {
        let keys = (txid, InvoiceId::from_bytes([0; 16]))..=(txid, InvoiceId::from_bytes([0xff; 16]));
        let claims = self.range::<Claims>(keys, usize::MAX)?;
        Ok(claims.into_iter().map(|((_, invoice), claim)| (invoice, claim)).collect())
    }

    fn forget_transaction(&mut self, txid: Txid, record: TransactionRecord) -> Result<(), ReadError> {
        let tx = Transaction::decode(record.raw)
            .map_err(|error| ReadError(format!("transaction {txid} is damaged: {error}")))?;
        for outpoint in tx.inputs() {
            let mut spenders = self.get::<Spends>(outpoint)?.unwrap_or_default();
            spenders.retain(|spender| *spender != txid);
            if spenders.is_empty() {
                self.remove::<Spends>(*outpoint);
            } else {
                self.put::<Spends>(*outpoint, spenders);
            }
        }
        self.remove::<Transactions>(txid);
        Ok(())
    }
}
