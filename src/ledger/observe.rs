//! Observation: the one function that credits a transaction, wherever it was met.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ReadError, View,
    candidates::{Free, Target},
    scribe::Scribe,
    settle::Change,
    tables::{
        BlockTransactions, ClaimState, Claims, Credits, Invoices, Maturing, OpenClaims, Place, Scripts,
        Spends, TransactionRecord, Transactions, Unassigned, UnassignedOf, UnassignedPayment,
        UnassignedReason, Unconfirmed,
    },
};
use crate::{
    bch::{OutPoint, Output, Transaction, Txid},
    invoice::{Age, Credit, CreditState, DoubleSpend, FirstSeen, InvoiceId, Risk, Via},
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
            | (Some(Place::Mempool | Place::Missed), Place::Seen | Place::Claimed) => return Ok(()),
            (_, place) => place,
        };
        self.meet_conflicts(tx, place)?;

        let seen = known.as_ref().and_then(|record| record.first_seen).unwrap_or(seen);
        let (mut credits, mut free, mut unassigned) = (Vec::new(), Free::default(), BTreeSet::new());
        for (vout, output) in tx.numbered_outputs() {
            if let Some(credit) = self.get::<Credits>(&tx.outpoint(vout))? {
                credits.push(credit);
            } else if self.get::<Unassigned>(&tx.outpoint(vout))?.is_some() {
                unassigned.insert(vout);
            } else if let Some(script) = self.get::<Scripts>(&output.script_hash)?
                && script.age_of(&seen) != Age::Older
            {
                free.insert(vout, output, &script);
            }
        }
        let mut targets =
            if free.is_empty() { BTreeMap::new() } else { self.find_targets(tx, &seen, &mut free)? };
        if !unassigned.is_empty() {
            // What was left unassigned stays so, unless a submission says what it is for.
            targets.extend(self.claimed(tx, |vout| unassigned.remove(&vout))?);
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
        let danger = self.danger_to(txid)?;
        for (vout, target) in targets {
            if let Some(output) = tx.outputs().get(vout as usize) {
                credits.push(self.credit(tx, vout, output, target, &seen, place)?);
            }
        }
        let mut touched = BTreeMap::new();
        for mut credit in credits {
            credit.risk.double_spend = credit.risk.double_spend.max(danger);
            self.put_credit(credit.clone())?;
            self.move_credit(credit, state, &mut touched)?;
        }
        if place != Place::Seen {
            // Of what is not known to be there, nothing is told: it looks for its invoice again when it is.
            for (vout, output) in free.left() {
                self.leave_unassigned(tx, vout, output, seen)?;
            }
        }
        self.end_claims(txid)?;
        for (invoice, turn) in touched {
            self.refresh(invoice, Change { danger, ..turn.by(txid) })?;
        }
        Ok(())
    }

    /// Takes a transaction for lost, and with it all that spends its outputs. `conflict` says that another one
    /// took what it spends, for good; without that, a submission that nobody saw yet may still be seen.
    pub(super) fn lose(&mut self, txid: Txid, conflict: bool) -> Result<(), ReadError> {
        let mut lost = vec![txid];
        let mut met = BTreeSet::new();
        let mut touched: BTreeMap<InvoiceId, Change> = BTreeMap::new();
        while let Some(txid) = lost.pop() {
            if !met.insert(txid) {
                continue;
            }
            let Some(mut record) = self.get::<Transactions>(&txid)? else { continue };
            match record.place {
                Place::Block { .. } => continue,
                Place::Claimed | Place::Lost if !conflict => continue,
                Place::Claimed | Place::Seen | Place::Mempool | Place::Missed | Place::Lost => {}
            }
            let credits = self.credits_in(txid, record.outputs)?;
            for credit in &credits {
                let settled = conflict && self.settles(credit.invoice, txid)?;
                let change = touched.entry(credit.invoice).or_default();
                if change.txid.is_none() || (settled && !change.conflict) {
                    (change.txid, change.conflict) = (Some(txid), settled);
                }
                change.lost |= credit.state.is_there();
            }
            for mut credit in credits {
                if conflict {
                    credit.risk.double_spend = DoubleSpend::Conflict;
                    self.put_credit(credit.clone())?;
                }
                self.move_credit(credit, CreditState::Lost, &mut BTreeMap::new())?;
            }
            for vout in 0..record.outputs {
                lost.extend(self.get::<Spends>(&OutPoint { txid, vout })?.unwrap_or_default());
            }
            record.place = Place::Lost;
            self.remove::<Unconfirmed>(txid);
            self.put::<Transactions>(txid, record);
            if conflict {
                self.end_claims(txid)?;
            }
        }
        for (invoice, change) in touched {
            self.refresh(invoice, change)?;
        }
        Ok(())
    }

    /// Gives up on a transaction of the mempool of which nobody can tell any more what became of it.
    pub(super) fn miss(&mut self, txid: Txid) -> Result<(), ReadError> {
        if let Some(record) = self.get::<Transactions>(&txid)?
            && record.place == Place::Mempool
        {
            self.remove::<Unconfirmed>(txid);
            self.put::<Transactions>(txid, TransactionRecord { place: Place::Missed, ..record });
        }
        Ok(())
    }

    /// Others that spend what this transaction spends: in a block it takes that from them; before, it is a
    /// warning.
    fn meet_conflicts(&mut self, tx: &Transaction, place: Place) -> Result<(), ReadError> {
        for other in self.rivals(tx)? {
            if let Place::Block { .. } = place {
                self.lose(other, true)?;
            } else {
                self.warn(other, DoubleSpend::Conflict)?;
            }
        }
        Ok(())
    }

    /// The other transactions on record that spend what this one spends.
    fn rivals(&self, tx: &Transaction) -> Result<BTreeSet<Txid>, ReadError> {
        let mut rivals = BTreeSet::new();
        if !tx.is_coinbase() {
            for outpoint in tx.inputs() {
                rivals.extend(self.get::<Spends>(outpoint)?.unwrap_or_default());
            }
            rivals.remove(&tx.txid());
        }
        Ok(rivals)
    }

    /// What is known that speaks against a transaction of the mempool: a rival of it that the node was heard to know, and
    /// may still; a proof that was told of it; or the same of an ancestor on record that is in no block.
    pub(super) fn danger_to(&self, txid: Txid) -> Result<DoubleSpend, ReadError> {
        let (mut danger, mut met, mut line) = (DoubleSpend::None, BTreeSet::new(), vec![txid]);
        while let Some(txid) = line.pop() {
            let Some(record) = self.get::<Transactions>(&txid)? else { continue };
            if record.place != Place::Mempool || !met.insert(txid) {
                continue;
            }
            let credits = self.credits_in(txid, record.outputs)?;
            danger = credits.iter().map(|credit| credit.risk.double_spend).fold(danger, DoubleSpend::max);
            let tx = Transaction::decode(record.raw)
                .map_err(|error| ReadError(format!("transaction {txid} on record: {error}")))?;
            for rival in self.rivals(&tx)? {
                let place = self.get::<Transactions>(&rival)?.map(|record| record.place);
                if matches!(place, Some(Place::Seen | Place::Mempool)) {
                    return Ok(DoubleSpend::Conflict);
                }
            }
            line.extend(tx.inputs().iter().map(|outpoint| outpoint.txid));
        }
        Ok(danger)
    }

    /// Tells the invoices that count a transaction of the mempool, or one that descends from it, or hold one back, what
    /// speaks against it.
    pub(super) fn warn(&mut self, txid: Txid, danger: DoubleSpend) -> Result<(), ReadError> {
        let mut endangered = vec![txid];
        let mut met = BTreeSet::new();
        while let Some(txid) = endangered.pop() {
            if !met.insert(txid) {
                continue;
            }
            let Some(record) = self.get::<Transactions>(&txid)? else { continue };
            if record.place != Place::Mempool {
                continue;
            }
            let mut touched = BTreeSet::new();
            for mut credit in self.credits_in(txid, record.outputs)? {
                touched.insert(credit.invoice);
                if credit.risk.double_spend < danger {
                    credit.risk.double_spend = danger;
                    self.put_credit(credit)?;
                }
            }
            for invoice in touched {
                self.refresh(invoice, Change { txid: Some(txid), danger, ..Change::default() })?;
            }
            for vout in 0..record.outputs {
                endangered.extend(self.get::<Spends>(&OutPoint { txid, vout })?.unwrap_or_default());
            }
        }
        Ok(())
    }

    /// The credits that a transaction has, in the order of its outputs.
    pub(super) fn credits_in(&self, txid: Txid, outputs: u32) -> Result<Vec<Credit>, ReadError> {
        let mut credits = Vec::new();
        for vout in 0..outputs {
            credits.extend(self.get::<Credits>(&OutPoint { txid, vout })?);
        }
        Ok(credits)
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
                if record.coinbase && !credit_state(&record, self.tip_height()).is_live() {
                    self.put::<Maturing>((mature_at(height), txid), ());
                }
            }
            Place::Seen | Place::Mempool => self.put::<Unconfirmed>(txid, ()),
            Place::Claimed | Place::Lost | Place::Missed => {}
        }
        self.put::<Transactions>(txid, record);
        Ok(())
    }

    /// A new credit, before it has the state of its transaction.
    fn credit(
        &mut self,
        tx: &Transaction,
        vout: u32,
        output: &Output,
        target: Target,
        seen: &FirstSeen,
        place: Place,
    ) -> Result<Credit, ReadError> {
        let met = if matches!(place, Place::Block { .. }) { Via::Block } else { Via::Mempool };
        let credit = Credit {
            outpoint: tx.outpoint(vout),
            invoice: target.invoice,
            output: target.output,
            satoshis: output.satoshis,
            token: output.token.clone(),
            ordinal: self.next_ordinal(),
            state: CreditState::Seen,
            via: target.via.unwrap_or(met),
            late: target.late,
            ambiguous: target.ambiguous,
            first_seen: seen.shown,
            held_since: None,
            live_since: None,
            risk: Risk::default(),
        };
        self.forget_unassigned(credit.outpoint)?;
        Ok(credit)
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
        let doubtful =
            script.age_of(&first_seen) == Age::Doubtful || self.is_in_doubt(&script, output, &first_seen)?;
        let reason = doubtful.then_some(UnassignedReason::MayBeOlder);
        let ordinal = self.next_ordinal();
        let payment = UnassignedPayment {
            merchant: script.merchant.clone(),
            script: output.script_hash,
            satoshis: output.satoshis,
            token: output.token.clone(),
            first_seen,
            ordinal,
            reason,
        };
        self.put::<Unassigned>(outpoint, payment);
        self.put::<UnassignedOf>((script.merchant.clone(), ordinal), outpoint);
        self.tell_unassigned(script.merchant, outpoint, output.satoshis, reason);
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
        for (invoice, _) in self.claims_on(txid)? {
            self.close_claim(txid, invoice)?;
        }
        Ok(())
    }

    /// Closes an open claim; one that is closed stays as it is.
    pub(super) fn close_claim(&mut self, txid: Txid, invoice: InvoiceId) -> Result<(), ReadError> {
        let Some(mut claim) = self.get::<Claims>(&(txid, invoice))? else { return Ok(()) };
        if claim.state != ClaimState::Open {
            return Ok(());
        }
        claim.state = ClaimState::Ended;
        self.remove::<OpenClaims>((claim.claimed.after(super::Rules::CLAIM), txid, invoice));
        self.put::<Claims>((txid, invoice), claim);
        if let Some(mut record) = self.invoice(&invoice)? {
            record.state.open_claims = record.state.open_claims.saturating_sub(1);
            self.put::<Invoices>(invoice, record);
        }
        Ok(())
    }
}

/// The height of the chain from which a coinbase counts.
pub(super) fn mature_at(height: u32) -> u32 {
    height.saturating_add(COINBASE_MATURITY - 1)
}

/// The state of the credits of a transaction.
pub(super) fn credit_state(record: &TransactionRecord, tip_height: Option<u32>) -> CreditState {
    match record.place {
        Place::Claimed | Place::Seen => CreditState::Seen,
        Place::Mempool | Place::Missed => CreditState::Mempool,
        Place::Block { height, .. }
            if record.coinbase && tip_height.is_none_or(|tip| tip < mature_at(height)) =>
        {
            CreditState::Seen
        }
        Place::Block { height, hash } => CreditState::Confirmed { height, hash },
        Place::Lost => CreditState::Lost,
    }
}
