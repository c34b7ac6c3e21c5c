//! One input's work in progress.

use std::ops::RangeInclusive;

use super::{
    Changes, Event, EventKind, Holds, MOST_CREDITS_IN_AN_EVENT, ReadError, Reads, Rules, Subject, Table,
    View,
    tables::{
        Claims, Counters, Credits, CreditsOf, Events, EventsOf, InvoiceRecord, Invoices, Meta, Records,
    },
    view::{get_over, range_over},
};
use crate::{
    bch::{OutPoint, Txid},
    invoice::{Credit, InvoiceId, Merchant, Order, PayerNote, Standing, Statement, Timestamp},
};

/// Reads through its own changes, counts, and writes events.
pub(super) struct Scribe<'a, V> {
    view: &'a V,
    pub(super) rules: &'a Rules,
    changes: Changes,
    begun: Meta,
    pub(super) meta: Meta,
    /// The number that this input gets if it changes anything.
    pub(super) order: Order,
}

impl<'a, V: View> Scribe<'a, V> {
    pub(super) fn begin(view: &'a V, rules: &'a Rules, at: Timestamp) -> Result<Self, ReadError> {
        let begun = Reads::<Counters>::get(view, &())?.unwrap_or_default();
        let meta = Meta { now: begun.now.max(at), ..begun };
        Ok(Self { view, rules, changes: Changes::default(), order: Order(meta.order.0 + 1), begun, meta })
    }

    /// What changed. An input that changes nothing leaves no trace, not even in the counters.
    pub(super) fn finish(mut self) -> Changes {
        let time_alone_passed = Meta { now: self.begun.now, ..self.meta } == self.begun;
        if !(self.changes.is_empty() && time_alone_passed) {
            self.meta.order = self.order;
            self.changes.counters.insert((), Some(self.meta));
        }
        self.changes
    }

    pub(super) fn now(&self) -> Timestamp {
        self.meta.now
    }

    pub(super) fn tip_height(&self) -> Option<u32> {
        self.meta.tip.map(|(height, _)| height)
    }

    pub(super) fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError>
    where
        V: Reads<T>,
        Changes: Holds<T>,
    {
        Reads::<T>::get(self, key)
    }

    pub(super) fn range<T: Table>(
        &self,
        keys: RangeInclusive<T::Key>,
        limit: usize,
    ) -> Result<Records<T>, ReadError>
    where
        V: Reads<T>,
        Changes: Holds<T>,
    {
        Reads::<T>::range(self, keys, limit)
    }

    pub(super) fn put<T: Table>(&mut self, key: T::Key, value: T::Value)
    where
        Changes: Holds<T>,
    {
        Holds::<T>::table_mut(&mut self.changes).insert(key, Some(value));
    }

    pub(super) fn remove<T: Table>(&mut self, key: T::Key)
    where
        Changes: Holds<T>,
    {
        Holds::<T>::table_mut(&mut self.changes).insert(key, None);
    }

    pub(super) fn next_ordinal(&mut self) -> u64 {
        self.meta.ordinal += 1;
        self.meta.ordinal
    }

    pub(super) fn invoice(&self, id: &InvoiceId) -> Result<Option<InvoiceRecord>, ReadError> {
        self.get::<Invoices>(id)
    }

    /// The credits of an invoice, in the order of crediting.
    pub(super) fn credits_of(&self, id: InvoiceId) -> Result<Vec<Credit>, ReadError> {
        let outpoints = self.range::<CreditsOf>((id, 0)..=(id, u64::MAX), usize::MAX)?;
        let mut credits = Vec::with_capacity(outpoints.len());
        for (_, outpoint) in outpoints {
            credits.extend(self.get::<Credits>(&outpoint)?);
        }
        Ok(credits)
    }

    pub(super) fn put_credit(&mut self, credit: Credit) {
        self.put::<CreditsOf>((credit.invoice, credit.ordinal), credit.outpoint);
        self.put::<Credits>(credit.outpoint, credit);
    }

    /// What the payer said with the transaction that completed the settlement.
    pub(super) fn note(&self, id: InvoiceId, standing: &Standing) -> Result<PayerNote, ReadError> {
        let Some(settlement) = &standing.settlement else { return Ok(PayerNote::default()) };
        let claim = self.get::<Claims>(&(settlement.completed_by, id))?;
        Ok(claim.map(|claim| claim.note).unwrap_or_default())
    }

    pub(super) fn statement(&self, record: &InvoiceRecord) -> Result<Statement, ReadError> {
        let credits = self.credits_of(record.invoice.id)?;
        self.statement_with(record, credits)
    }

    fn statement_with(&self, record: &InvoiceRecord, credits: Vec<Credit>) -> Result<Statement, ReadError> {
        let mut statement = Statement {
            invoice: record.invoice.clone(),
            state: record.state.clone(),
            credits,
            note: PayerNote::default(),
            tip_height: self.tip_height(),
            abridged: None,
        };
        statement.note = self.note(record.invoice.id, &statement.standing())?;
        Ok(statement)
    }

    /// Writes an event of an invoice; its number goes into the record, which the caller writes.
    pub(super) fn tell(
        &mut self,
        record: &mut InvoiceRecord,
        credits: &[Credit],
        kind: EventKind,
        txid: Option<Txid>,
    ) -> Result<(), ReadError> {
        record.state.events += 1;
        let n = record.state.events;
        let mut statement = self.statement_with(record, credits.to_vec())?;
        statement.abridge(MOST_CREDITS_IN_AN_EVENT);
        let id = record.invoice.id;
        let subject = Subject::Invoice { n, statement: Box::new(statement) };
        let seq = self.append(kind, record.invoice.merchant.clone(), txid, subject);
        self.put::<EventsOf>((id, n), seq);
        Ok(())
    }

    /// Writes the event of a payment that belongs to no invoice.
    pub(super) fn tell_unassigned(&mut self, merchant: Merchant, outpoint: OutPoint, satoshis: u64) {
        let subject = Subject::Unassigned { outpoint, satoshis };
        self.append(EventKind::PaymentUnassigned, merchant, Some(outpoint.txid), subject);
    }

    fn append(&mut self, kind: EventKind, merchant: Merchant, txid: Option<Txid>, subject: Subject) -> u64 {
        self.meta.seq += 1;
        let event = Event { seq: self.meta.seq, kind, at: self.now(), merchant, txid, subject };
        self.put::<Events>(self.meta.seq, event);
        self.meta.seq
    }
}

/// What is written over what is: a claim is judged as a submission is.
impl<T: Table, V: Reads<T>> Reads<T> for Scribe<'_, V>
where
    Changes: Holds<T>,
{
    fn get(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError> {
        get_over(self.view, &self.changes, key)
    }

    fn range(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError> {
        range_over(self.view, &self.changes, keys, limit)
    }
}
