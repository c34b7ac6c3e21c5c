//! What a merchant does with an invoice afterwards: withdraw it, or say what a payment was for.

use std::collections::BTreeMap;

use super::{
    EventKind, Managed, ReadError, View,
    candidates::category,
    observe::credit_state,
    scribe::Scribe,
    settle::Change,
    tables::{Credits, CreditsOf, InvoiceRecord, Scripts, Transactions, Unassigned},
};
use crate::{
    bch::{OutPoint, ScriptHash, Token},
    invoice::{Credit, CreditState, DoubleSpend, InvoiceId, Merchant, Phase, Risk, Via},
};

impl<V: View> Scribe<'_, V> {
    /// Makes the next one who asks for a script its owner.
    pub(super) fn release_script(&mut self, script: ScriptHash) -> Result<(), ReadError> {
        if let Some(mut record) = self.get::<Scripts>(&script)?
            && !record.released
        {
            record.released = true;
            self.put::<Scripts>(script, record);
        }
        Ok(())
    }

    /// Withdraws an invoice. Asking again is fine; a submission under way or a payment that counts is not.
    pub(super) fn cancel(&mut self, id: InvoiceId, merchant: &Merchant) -> Result<Managed, ReadError> {
        let Some(before) = self.managed(id, merchant)? else { return Ok(Managed::Unknown) };
        if !matches!(before.state.phase, Phase::Cancelled { .. }) {
            if before.state.open_claims > 0 {
                return Ok(Managed::ClaimOpen);
            }
            if self.paid(&before)?.there > 0 {
                return Ok(Managed::Paid);
            }
            let mut record = before.clone();
            record.state.phase = Phase::Cancelled { at: self.now() };
            self.tell(&mut record, EventKind::InvoiceCancelled, None)?;
            self.put_invoice(Some(&before), record, false)?;
        }
        self.managed_now(id)
    }

    /// Gives a payment to an invoice: one that was left unassigned, or one that was credited to another invoice of
    /// the same merchant. This alone moves a credit.
    pub(super) fn assign(
        &mut self,
        outpoint: OutPoint,
        id: InvoiceId,
        merchant: &Merchant,
    ) -> Result<Managed, ReadError> {
        let Some(record) = self.managed(id, merchant)? else { return Ok(Managed::Unknown) };
        if let Some(credit) = self.get::<Credits>(&outpoint)? {
            return self.move_to(credit, &record, merchant);
        }
        let Some(payment) = self.get::<Unassigned>(&outpoint)? else { return Ok(Managed::Unknown) };
        let transaction = self.get::<Transactions>(&outpoint.txid)?;
        let (true, Some(transaction)) = (merchant.manages(&payment.merchant), transaction) else {
            return Ok(Managed::Unknown);
        };
        let Some(output) = self.output_for(&record, payment.satoshis, payment.token.as_ref())? else {
            return Ok(Managed::NothingLikeIt);
        };
        let state = credit_state(&transaction, self.tip_height());
        // What the node said of the transaction it said of every output of it.
        let beside = self.credits_in(outpoint.txid, transaction.outputs)?;
        let score = beside.iter().find_map(|credit| credit.risk.score);
        let double_spend = self.danger_to(outpoint.txid)?;
        let late = self.target_of(&record, output, false, &payment.first_seen).late;
        let credit = Credit {
            outpoint,
            invoice: id,
            output,
            satoshis: payment.satoshis,
            token: payment.token,
            ordinal: self.next_ordinal(),
            state: CreditState::Seen,
            via: Via::Mempool,
            late,
            ambiguous: false,
            first_seen: payment.first_seen.shown,
            held_since: None,
            live_since: None,
            risk: Risk { score, double_spend },
        };
        self.forget_unassigned(outpoint)?;
        self.give(credit, state)
    }

    fn move_to(
        &mut self,
        credit: Credit,
        to: &InvoiceRecord,
        merchant: &Merchant,
    ) -> Result<Managed, ReadError> {
        let (from, id, txid) = (credit.invoice, to.invoice.id, credit.outpoint.txid);
        if from == id {
            return self.managed_now(id);
        }
        if self.managed(from, merchant)?.is_none() {
            return Ok(Managed::Unknown);
        }
        let Some(output) = self.output_for(to, credit.satoshis, credit.token.as_ref())? else {
            return Ok(Managed::NothingLikeIt);
        };
        let record = self.get::<Transactions>(&txid)?;
        let record =
            record.ok_or_else(|| ReadError(format!("transaction {txid} has credits and no record")))?;
        let late = record.first_seen.is_some_and(|seen| self.target_of(to, output, false, &seen).late);
        let state = credit_state(&record, self.tip_height());
        // For the invoice that it leaves it is as good as lost; the other one may ask something else of it.
        self.move_credit(credit.clone(), CreditState::Lost, &mut BTreeMap::new())?;
        self.remove::<CreditsOf>((from, credit.ordinal));
        let ordinal = self.next_ordinal();
        let moved = Credit {
            invoice: id,
            output,
            ordinal,
            late,
            ambiguous: false,
            state: CreditState::Seen,
            ..credit
        };
        self.put_credit(moved.clone())?;
        self.refresh(from, Change { txid: Some(txid), moved: true, ..Change::default() })?;
        self.give(moved, state)
    }

    /// Gives an invoice a credit whose transaction is in this state.
    fn give(&mut self, credit: Credit, state: CreditState) -> Result<Managed, ReadError> {
        let (id, txid, double_spend) = (credit.invoice, credit.outpoint.txid, credit.risk.double_spend);
        self.put_credit(credit.clone())?;
        let mut touched = BTreeMap::new();
        self.move_credit(credit, state, &mut touched)?;
        let turn = touched.remove(&id).unwrap_or_default();
        // A block is above all that spoke against it.
        let danger = if state == CreditState::Mempool { double_spend } else { DoubleSpend::None };
        self.refresh(id, Change { moved: true, danger, ..turn.by(txid) })?;
        self.managed_now(id)
    }

    fn managed(&self, id: InvoiceId, merchant: &Merchant) -> Result<Option<InvoiceRecord>, ReadError> {
        Ok(self.invoice(&id)?.filter(|record| merchant.manages(&record.invoice.merchant)))
    }

    fn managed_now(&self, id: InvoiceId) -> Result<Managed, ReadError> {
        match self.invoice(&id)? {
            Some(record) => Ok(Managed::Done(Box::new(self.statement(&record)?))),
            None => Ok(Managed::Unknown),
        }
    }

    /// The required output that a payment is for: one that asks for its kind of token, if there is one that is not
    /// satisfied yet, that one, if there is one that asks for exactly as much, that one.
    fn output_for(
        &self,
        record: &InvoiceRecord,
        satoshis: u64,
        token: Option<&Token>,
    ) -> Result<Option<u16>, ReadError> {
        let paid = self.paid(record)?;
        Ok((0u16..)
            .zip(record.invoice.outputs.iter().zip(&paid.with_held))
            .filter(|(_, (required, _))| category(required.token.as_ref()) == category(token))
            .min_by_key(|(_, (required, output))| {
                let exact = required.satoshis == satoshis && required.token.as_ref() == token;
                (output.satisfied, !exact)
            })
            .map(|(number, _)| number))
    }
}
