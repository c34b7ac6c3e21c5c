//! Observation: the one function that credits a transaction, wherever it was met.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ReadError, View,
    candidates::Target,
    scribe::Scribe,
    settle::Change,
    tables::{
        BlockTransactions, ClaimState, Claims, Credits, InvoiceRecord, Invoices, Maturing, OpenClaims, Place,
        Scripts, Spends, TransactionRecord, Transactions, Unassigned, UnassignedOf, UnassignedPayment,
        Unconfirmed,
    },
};
use crate::{
    bch::{OutPoint, Output, Transaction, Txid},
    invoice::{Credit, CreditState, FirstSeen, InvoiceId, Via},
};

/// A coinbase can be spent in the block that is this far above its own, and counts from there.
const COINBASE_MATURITY: u32 = 100;

impl<V: View> Scribe<'_, V> {
    /// Takes in a transaction that was met somewhere.
    pub(super) fn observe(
        &mut self,
        tx: &Transaction,
        seen: FirstSeen,
        place: Place,
    ) -> Result<(), ReadError> {
        let txid = tx.txid();
        let known = self.get::<Transactions>(&txid)?;
        let before = known.as_ref().map(|record| record.place);
        let place = match (before, place) {
            // Only a disconnected block takes a transaction out of it again.
            (Some(Place::Block { .. }), Place::Seen | Place::Mempool | Place::Claimed)
            | (Some(Place::Mempool), Place::Seen | Place::Claimed) => return Ok(()),
            (_, place) => place,
        };
        self.meet_conflicts(tx, place)?;

        let seen = known.as_ref().and_then(|record| record.first_seen).unwrap_or(seen);
        let (mut credits, mut free, mut unassigned) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (vout, output) in tx.numbered_outputs() {
            if let Some(credit) = self.get::<Credits>(&tx.outpoint(vout))? {
                credits.push(credit);
            } else if self.get::<Unassigned>(&tx.outpoint(vout))?.is_some() {
                unassigned.insert(vout, output);
            } else if let Some(script) = self.get::<Scripts>(&output.script_hash)?
                && script.was_asked_before(&seen)
            {
                free.insert(vout, output);
            }
        }
        let mut targets =
            if free.is_empty() { BTreeMap::new() } else { self.find_targets(tx, &seen, &mut free)? };
        if !unassigned.is_empty() {
            // What was left unassigned stays so, unless a submission says what it is for.
            targets.extend(self.claimed(tx, &mut unassigned)?);
        }
        if known.is_none() && credits.is_empty() && targets.is_empty() && free.is_empty() {
            return Ok(());
        }

        let record = TransactionRecord {
            raw: tx.raw().clone(),
            first_seen: Some(seen),
            place,
            outputs: u32::try_from(tx.outputs().len()).unwrap_or(u32::MAX),
            coinbase: tx.is_coinbase(),
        };
        let state = credit_state(&record, self.tip_height());
        self.put_transaction(tx, before, record)?;
        let mut credited: BTreeMap<InvoiceId, bool> = BTreeMap::new();
        for credit in credits {
            self.move_credit(credit, state, &mut credited);
        }
        for (vout, target) in targets {
            if let Some(output) = tx.outputs().get(vout as usize) {
                self.credit(tx, vout, output, target, &seen, place, state)?;
                *credited.entry(target.invoice).or_default() |= state.is_live();
            }
        }
        for (vout, output) in free {
            self.leave_unassigned(tx, vout, output, seen)?;
        }
        self.end_claims(txid)?;
        for (invoice, credited) in credited {
            self.refresh(invoice, Change { credited, ..Change::credited(txid) })?;
        }
        Ok(())
    }

    /// Takes a transaction for lost, and with it all that spends its outputs. `conflict` says that another one
    /// took what it spends.
    pub(super) fn lose(&mut self, txid: Txid, conflict: bool) -> Result<(), ReadError> {
        let mut lost = vec![txid];
        let mut touched: BTreeMap<InvoiceId, Txid> = BTreeMap::new();
        while let Some(txid) = lost.pop() {
            let Some(mut record) = self.get::<Transactions>(&txid)? else { continue };
            if matches!(record.place, Place::Block { .. } | Place::Lost) {
                continue;
            }
            record.place = Place::Lost;
            self.remove::<Unconfirmed>(txid);
            for vout in 0..record.outputs {
                let outpoint = OutPoint { txid, vout };
                if let Some(mut credit) = self.get::<Credits>(&outpoint)? {
                    touched.insert(credit.invoice, txid);
                    credit.state = CreditState::Lost;
                    self.put_credit(credit);
                }
                lost.extend(self.get::<Spends>(&outpoint)?.unwrap_or_default());
            }
            self.put::<Transactions>(txid, record);
            self.end_claims(txid)?;
        }
        for (invoice, txid) in touched {
            self.refresh(invoice, Change { txid: Some(txid), conflict, ..Change::default() })?;
        }
        Ok(())
    }

    /// Others that spend what this transaction spends: in a block it takes that from them; before, it is a
    /// warning.
    fn meet_conflicts(&mut self, tx: &Transaction, place: Place) -> Result<(), ReadError> {
        if tx.is_coinbase() {
            return Ok(());
        }
        let mut others = BTreeSet::new();
        for outpoint in tx.inputs() {
            others.extend(self.get::<Spends>(outpoint)?.unwrap_or_default());
        }
        others.remove(&tx.txid());
        for other in others {
            if let Place::Block { .. } = place {
                self.lose(other, true)?;
            } else {
                self.warn(other)?;
            }
        }
        Ok(())
    }

    /// Tells the invoices that count an unconfirmed transaction that it has a rival.
    fn warn(&mut self, txid: Txid) -> Result<(), ReadError> {
        let Some(record) = self.get::<Transactions>(&txid)? else { return Ok(()) };
        if record.place != Place::Mempool {
            return Ok(());
        }
        let mut touched = BTreeSet::new();
        for vout in 0..record.outputs {
            let credit = self.get::<Credits>(&OutPoint { txid, vout })?;
            touched.extend(credit.map(|credit| credit.invoice));
        }
        for invoice in touched {
            self.refresh(invoice, Change { txid: Some(txid), conflict: true, ..Change::default() })?;
        }
        Ok(())
    }

    /// Keeps a transaction and enters it where it will be looked for.
    pub(super) fn put_transaction(
        &mut self,
        tx: &Transaction,
        before: Option<Place>,
        record: TransactionRecord,
    ) -> Result<(), ReadError> {
        let txid = tx.txid();
        if before.is_none() && !record.coinbase {
            for outpoint in tx.inputs() {
                let mut spenders = self.get::<Spends>(outpoint)?.unwrap_or_default();
                if !spenders.contains(&txid) {
                    spenders.push(txid);
                    self.put::<Spends>(*outpoint, spenders);
                }
            }
        }
        match record.place {
            Place::Block { height, hash } => {
                self.remove::<Unconfirmed>(txid);
                self.put::<BlockTransactions>((hash, txid), ());
                if record.coinbase {
                    self.put::<Maturing>((height.saturating_add(COINBASE_MATURITY - 1), txid), ());
                }
            }
            Place::Seen | Place::Mempool => self.put::<Unconfirmed>(txid, ()),
            Place::Claimed | Place::Lost => {}
        }
        self.put::<Transactions>(txid, record);
        Ok(())
    }

    /// Gives a credit the state of its transaction, and notes whose it is and whether it begins to count.
    pub(super) fn move_credit(
        &mut self,
        mut credit: Credit,
        state: CreditState,
        credited: &mut BTreeMap<InvoiceId, bool>,
    ) {
        let begins = state.is_live() && !credit.state.is_live();
        *credited.entry(credit.invoice).or_default() |= begins;
        if credit.state != state {
            credit.state = state;
            if begins {
                credit.live_since.get_or_insert(self.now());
            }
            self.put_credit(credit);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the facts of one credit, and it is made here alone"
    )]
    fn credit(
        &mut self,
        tx: &Transaction,
        vout: u32,
        output: &Output,
        target: Target,
        seen: &FirstSeen,
        place: Place,
        state: CreditState,
    ) -> Result<(), ReadError> {
        let met = if matches!(place, Place::Block { .. }) { Via::Block } else { Via::Mempool };
        let credit = Credit {
            outpoint: tx.outpoint(vout),
            invoice: target.invoice,
            output: target.output,
            satoshis: output.satoshis,
            token: output.token.clone(),
            ordinal: self.next_ordinal(),
            state,
            via: target.via.unwrap_or(met),
            late: target.late,
            ambiguous: target.ambiguous,
            first_seen: seen.at,
            live_since: state.is_live().then(|| self.now()),
        };
        self.forget_unassigned(credit.outpoint)?;
        self.put_credit(credit);
        Ok(())
    }

    fn leave_unassigned(
        &mut self,
        tx: &Transaction,
        vout: u32,
        output: &Output,
        first_seen: FirstSeen,
    ) -> Result<(), ReadError> {
        let outpoint = tx.outpoint(vout);
        let Some(script) = self.get::<Scripts>(&output.script_hash)? else { return Ok(()) };
        let ordinal = self.next_ordinal();
        let payment = UnassignedPayment {
            merchant: script.merchant.clone(),
            script: output.script_hash,
            satoshis: output.satoshis,
            token: output.token.clone(),
            first_seen,
            ordinal,
        };
        self.put::<Unassigned>(outpoint, payment);
        self.put::<UnassignedOf>((script.merchant.clone(), ordinal), outpoint);
        self.tell_unassigned(script.merchant, outpoint, output.satoshis);
        Ok(())
    }

    pub(super) fn forget_unassigned(&mut self, outpoint: OutPoint) -> Result<(), ReadError> {
        if let Some(payment) = self.get::<Unassigned>(&outpoint)? {
            self.remove::<Unassigned>(outpoint);
            self.remove::<UnassignedOf>((payment.merchant, payment.ordinal));
        }
        Ok(())
    }

    /// A transaction that was seen, or cannot come any more, needs no reservation.
    pub(super) fn end_claims(&mut self, txid: Txid) -> Result<(), ReadError> {
        let keys = (txid, InvoiceId::from_bytes([0; 16]))..=(txid, InvoiceId::from_bytes([0xff; 16]));
        for ((txid, invoice), _) in self.range::<Claims>(keys, usize::MAX)? {
            self.close_claim(txid, invoice, ClaimState::Ended)?;
        }
        Ok(())
    }

    /// Closes an open claim; one that is closed stays as it is.
    pub(super) fn close_claim(
        &mut self,
        txid: Txid,
        invoice: InvoiceId,
        state: ClaimState,
    ) -> Result<(), ReadError> {
        let Some(mut claim) = self.get::<Claims>(&(txid, invoice))? else { return Ok(()) };
        if claim.state != ClaimState::Open {
            return Ok(());
        }
        claim.state = state;
        self.remove::<OpenClaims>((claim.claimed.after(super::Rules::CLAIM), txid, invoice));
        self.put::<Claims>((txid, invoice), claim);
        if let Some(InvoiceRecord { invoice, mut state }) = self.invoice(&invoice)? {
            state.open_claims = state.open_claims.saturating_sub(1);
            self.put::<Invoices>(invoice.id, InvoiceRecord { invoice, state });
        }
        Ok(())
    }
}

/// The state of the credits of a transaction.
pub(super) fn credit_state(record: &TransactionRecord, tip_height: Option<u32>) -> CreditState {
    match record.place {
        Place::Claimed | Place::Seen => CreditState::Seen,
        Place::Mempool => CreditState::Mempool,
        Place::Block { height, .. }
            if record.coinbase
                && tip_height.is_none_or(|tip| tip < height.saturating_add(COINBASE_MATURITY - 1)) =>
        {
            CreditState::Seen
        }
        Place::Block { height, hash } => CreditState::Confirmed { height, hash },
        Place::Lost => CreditState::Lost,
    }
}
