//! Claims: a submission is on disk before it is broadcast.

use super::{
    ClaimRequest, Claimed, Judgement, ReadError, Refusal, Rules, Submitted, View, is_claimed, judge,
    scribe::Scribe,
    tables::{
        Claim, ClaimState, Claims, Credits, Invoices, OpenClaims, Place, Spends, TransactionRecord,
        Transactions,
    },
};
use crate::{
    bch::{OutPoint, Transaction, Txid},
    invoice::{InvoiceId, PayerNote},
};

impl<V: View> Scribe<'_, V> {
    /// Reserves the outputs that the named invoice needs of the transactions of a submission, all in one write. Their
    /// other outputs go by the rows of the matching rules, and no other payer is kept from paying.
    pub(super) fn claim(&mut self, request: &ClaimRequest) -> Result<Claimed, ReadError> {
        let ClaimRequest { invoice: id, transactions, .. } = request;
        let txids = || transactions.iter().map(|submitted| submitted.transaction.txid());
        if is_claimed(self, *id, txids())? {
            // A repetition takes up what was left without an answer.
            return Ok(Claimed::Open);
        }
        let mut open = 0;
        for txid in txids() {
            open += u32::from(
                self.get::<Claims>(&(txid, *id))?.is_some_and(|claim| claim.state == ClaimState::Open),
            );
        }
        let assignment = match judge(self, self.rules, *id, transactions, &self.at)? {
            Judgement::Refused(refusal) => return Ok(Claimed::Refused(refusal)),
            Judgement::AlreadyCredited => return Ok(Claimed::AlreadyCredited),
            Judgement::Fits(assignment) => assignment,
        };
        let Some(record) = self.invoice(id)? else {
            return Ok(Claimed::Refused(Refusal::NoSuchInvoice));
        };
        let of_others = record.state.open_claims.saturating_sub(open);
        if of_others >= self.rules.most_open_claims {
            return Ok(Claimed::Refused(Refusal::TooManyClaims));
        }
        let mut claimed = Claimed::AlreadyCredited;
        for submitted in transactions {
            if self.claim_one(request, submitted, &assignment)? {
                claimed = Claimed::Open;
            }
        }
        Ok(claimed)
    }

    /// Claims one transaction of a submission with its part of the assignment, which may be empty. Says whether it is
    /// to be broadcast.
    fn claim_one(
        &mut self,
        request: &ClaimRequest,
        submitted: &Submitted,
        assignment: &[OutPoint],
    ) -> Result<bool, ReadError> {
        let Submitted { transaction: tx, first_seen, is_public } = submitted;
        let (id, txid) = (request.invoice, tx.txid());
        let own = assignment.iter().zip(0u16..).filter(|(outpoint, _)| outpoint.txid == txid);
        let assignment: Vec<(u32, u16)> = own.map(|(outpoint, number)| (outpoint.vout, number)).collect();
        if let Some(mut claim) = self.get::<Claims>(&(txid, id))?
            && claim.state == ClaimState::Open
        {
            // It came with others before: what it is for now is the last word.
            if claim.assignment != assignment {
                claim.assignment = assignment;
                self.put::<Claims>((txid, id), claim);
            }
            return Ok(true);
        }
        let place = self.get::<Transactions>(&txid)?.map(|known| known.place);
        let is_there = matches!(place, Some(Place::Mempool | Place::Block { .. } | Place::Missed));
        if is_there && self.are_credited(tx, &assignment, id)? {
            return Ok(false);
        }
        let note = match place {
            None | Some(Place::Claimed) if !is_public => request.note.clone(),
            _ => PayerNote::default(),
        };
        let Some(mut record) = self.invoice(&id)? else { return Ok(false) };
        record.state.open_claims += 1;
        self.put::<Invoices>(id, record);
        let (claimed, state) = (self.now(), ClaimState::Open);
        self.put::<OpenClaims>((claimed.after(Rules::CLAIM), txid, id), ());
        self.put::<Claims>((txid, id), Claim { assignment, note, via: request.via, claimed, state });
        match place {
            Some(place @ (Place::Mempool | Place::Block { .. } | Place::Missed)) => {
                // It is where it should be already: nothing to broadcast, the claim credits it.
                self.observe(tx, *first_seen, place)?;
            }
            Some(Place::Claimed | Place::Seen | Place::Lost) => {}
            None => {
                let record = TransactionRecord {
                    raw: tx.raw().clone(),
                    first_seen: Some(*first_seen),
                    place: Place::Claimed,
                    outputs: u32::try_from(tx.outputs().len()).unwrap_or(u32::MAX),
                    coinbase: tx.is_coinbase(),
                };
                self.put_transaction(tx, None, record)?;
            }
        }
        Ok(!is_there)
    }

    /// Whether all that is assigned of a transaction is credited to the invoice.
    fn are_credited(
        &self,
        tx: &Transaction,
        assignment: &[(u32, u16)],
        id: InvoiceId,
    ) -> Result<bool, ReadError> {
        for (vout, _) in assignment {
            let credit = self.get::<Credits>(&tx.outpoint(*vout))?;
            if credit.is_none_or(|credit| credit.invoice != id) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The node refused what was claimed: nothing of the claim remains. A transaction that nobody else was heard to
    /// know is not kept either: anybody can make up as many as they like that spend one coin, and what the node never
    /// had was never first seen.
    pub(super) fn release(&mut self, txid: Txid, invoice: InvoiceId) -> Result<(), ReadError> {
        let open = |claim: Option<Claim>| claim.is_some_and(|claim| claim.state == ClaimState::Open);
        if !open(self.get::<Claims>(&(txid, invoice))?) {
            return Ok(());
        }
        self.close_claim(txid, invoice)?;
        self.remove::<Claims>((txid, invoice));
        if !self.claims_on(txid)?.is_empty() {
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
