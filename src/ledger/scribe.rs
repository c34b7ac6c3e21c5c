//! One input's work in progress.

use std::{cell::Cell, collections::BTreeMap, ops::RangeInclusive, time::Duration};

use super::{
    Changes, Event, EventKind, Holds, ReadError, Reads, Rules, Subject, Table, View,
    tables::{
        Claims, Counters, Credits, CreditsOf, Events, EventsOf, InvoiceRecord, Invoices, Meta, Records,
        UnassignedReason,
    },
    view::{get_over, last_over, range_over},
};
use crate::{
    bch::{OutPoint, Txid},
    invoice::{Credit, Elapsed, InvoiceId, Merchant, Order, Paid, Reading, Statement},
};

/// Reads through its own changes, counts, and writes events.
pub(super) struct Scribe<'a, V> {
    view: &'a V,
    pub(super) rules: &'a Rules,
    changes: Changes,
    /// How many records were read in ranges, and written.
    work: Cell<usize>,
    /// Payment totals of the invoices whose records do not hold the present totals yet; `None` where the totals must be
    /// computed from all credits of the invoice.
    paid: BTreeMap<InvoiceId, Option<Paid>>,
    begun: Meta,
    pub(super) meta: Meta,
    /// All clocks at this input; elapsed time as the ledger has it.
    pub(super) at: Reading,
    /// Whether the clocks are to be kept although nothing else changed.
    pub(super) keep_time: bool,
    /// The number that this input gets if it changes anything.
    pub(super) order: Order,
}

impl<V> Scribe<'_, V> {
    fn worked(&self, records: usize) {
        self.work.set(self.work.get().saturating_add(records));
    }
}

impl<'a, V: View> Scribe<'a, V> {
    pub(super) fn begin(view: &'a V, rules: &'a Rules, at: Reading) -> Result<Self, ReadError> {
        let begun = Reads::<Counters>::get(view, &())?.unwrap_or_default();
        let at = Reading { elapsed: begun.now.max(at.elapsed), ..at };
        // Before the node has answered, its clock is known from before.
        let node = at.node.or(begun.node.map(|node| node.after(at.elapsed.since(begun.now))));
        let meta = Meta { now: at.elapsed, wall: Some(at.wall), node, ..begun };
        let (changes, paid, order) = (Changes::default(), BTreeMap::new(), Order(meta.order.0 + 1));
        let (work, keep_time) = (Cell::new(0), false);
        Ok(Self { view, rules, changes, work, paid, order, begun, meta, at, keep_time })
    }

    /// What changed. An input that changes nothing leaves no trace, not even in the counters.
    pub(super) fn finish(mut self) -> Changes {
        let Meta { now, wall, node, .. } = self.begun;
        let time_alone_passed = Meta { now, wall, node, ..self.meta } == self.begun;
        if self.keep_time || !(self.changes.is_empty() && time_alone_passed) {
            self.meta.order = self.order;
            self.changes.counters.insert((), Some(self.meta));
        }
        self.changes
    }

    /// How much was done for this input: how many records were read in ranges, and written.
    pub(super) fn work(&self) -> usize {
        self.work.get()
    }

    /// Elapsed time.
    pub(super) fn now(&self) -> Elapsed {
        self.meta.now
    }

    /// How far the wall clock was moved against elapsed time since the last input that was written.
    pub(super) fn slip(&self) -> Duration {
        let Some(wall) = self.begun.wall else { return Duration::ZERO };
        let expected = wall.after(self.now().since(self.begun.now));
        self.at.wall.apart(expected)
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

    fn last<T: Table>(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError>
    where
        V: Reads<T>,
        Changes: Holds<T>,
    {
        Reads::<T>::last(self, keys, limit)
    }

    pub(super) fn put<T: Table>(&mut self, key: T::Key, value: T::Value)
    where
        Changes: Holds<T>,
    {
        self.worked(1);
        Holds::<T>::table_mut(&mut self.changes).insert(key, Some(value));
    }

    pub(super) fn remove<T: Table>(&mut self, key: T::Key)
    where
        Changes: Holds<T>,
    {
        self.worked(1);
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

    /// Writes a credit, and notes what that means for the invoice it is of, and the one it was of.
    pub(super) fn put_credit(&mut self, credit: Credit) -> Result<(), ReadError> {
        let before = self.get::<Credits>(&credit.outpoint)?;
        if let Some(before) = before.as_ref().filter(|before| before.invoice != credit.invoice) {
            self.paid.insert(before.invoice, None);
        }
        let before = before.filter(|before| before.invoice == credit.invoice);
        if before.as_ref() == Some(&credit) {
            return Ok(());
        }
        if let Some(record) = self.invoice(&credit.invoice)? {
            let paid = self.paid.remove(&record.invoice.id).unwrap_or(record.paid);
            let paid = paid.and_then(|mut paid| {
                let follows = paid.change(&record.invoice, before.as_ref(), &credit);
                follows.then_some(paid)
            });
            self.paid.insert(record.invoice.id, paid);
        }
        self.put::<CreditsOf>((credit.invoice, credit.ordinal), credit.outpoint);
        self.put::<Credits>(credit.outpoint, credit);
        Ok(())
    }

    /// Returns the present payment totals of an invoice.
    pub(super) fn paid(&self, record: &InvoiceRecord) -> Result<Paid, ReadError> {
        let id = record.invoice.id;
        match self.paid.get(&id).unwrap_or(&record.paid) {
            Some(paid) => Ok(paid.clone()),
            None => Ok(Paid::of(&record.invoice, &self.credits_of(id)?)),
        }
    }

    /// Returns the present payment totals of an invoice, and removes them here: the caller writes them into the record.
    pub(super) fn take_paid(&mut self, record: &InvoiceRecord) -> Result<Paid, ReadError> {
        let paid = self.paid(record)?;
        self.paid.remove(&record.invoice.id);
        Ok(paid)
    }

    /// Writes into the records what invoices are paid, where nobody did that yet.
    pub(super) fn put_paid(&mut self) -> Result<(), ReadError> {
        while let Some(id) = self.paid.first_key_value().map(|(id, _)| *id) {
            let Some(mut record) = self.invoice(&id)? else {
                return Err(ReadError(format!("invoice {id} has credits and no record")));
            };
            let paid = Some(self.take_paid(&record)?);
            if record.paid != paid {
                record.paid = paid;
                self.put::<Invoices>(id, record);
            }
        }
        Ok(())
    }

    /// The credits of an invoice that are shown, in the order of crediting: all, or those that settle it first and then
    /// the newest.
    fn shown_credits(&self, id: InvoiceId, paid: &Paid) -> Result<Vec<Credit>, ReadError> {
        let keys = (id, 0)..=(id, u64::MAX);
        let mut shown: BTreeMap<u64, OutPoint> = BTreeMap::new();
        if paid.credits > Statement::MOST_CREDITS as u64 && paid.settling.completed.is_some() {
            // The one that made it paid, whatever their number.
            for ordinal in std::iter::once(&paid.settling.last).chain(&paid.settling.ordinals) {
                if shown.len() == Statement::MOST_CREDITS {
                    break;
                }
                shown.extend(self.get::<CreditsOf>(&(id, *ordinal))?.map(|outpoint| (*ordinal, outpoint)));
            }
        }
        for ((_, ordinal), outpoint) in self.last::<CreditsOf>(keys, Statement::MOST_CREDITS)? {
            if shown.len() == Statement::MOST_CREDITS {
                break;
            }
            shown.insert(ordinal, outpoint);
        }
        let mut credits = Vec::with_capacity(shown.len());
        for outpoint in shown.values() {
            credits.extend(self.get::<Credits>(outpoint)?);
        }
        Ok(credits)
    }

    pub(super) fn statement(&self, record: &InvoiceRecord) -> Result<Statement, ReadError> {
        let (id, paid) = (record.invoice.id, self.paid(record)?);
        let credits = self.shown_credits(id, &paid)?;
        let (phase, tip_height) = (record.state.phase, self.tip_height());
        // The claim on the transaction that completed the settlement carries the payer's note.
        let claim = match paid.settling.completed {
            Some(completed) => self.get::<Claims>(&(completed.by, id))?,
            None => None,
        };
        let is_abridged = paid.credits > credits.len() as u64;
        let abridged = is_abridged.then(|| Box::new(paid.standing(&record.invoice, phase, tip_height)));
        Ok(Statement {
            invoice: record.invoice.clone(),
            state: record.state.clone(),
            credits,
            total: paid.credits,
            note: claim.map(|claim| claim.note).unwrap_or_default(),
            tip_height,
            abridged,
        })
    }

    /// Writes an event of an invoice; its number goes into the record, which the caller writes.
    pub(super) fn tell(
        &mut self,
        record: &mut InvoiceRecord,
        kind: EventKind,
        txid: Option<Txid>,
    ) -> Result<(), ReadError> {
        record.state.events += 1;
        let n = record.state.events;
        let statement = self.statement(record)?;
        let id = record.invoice.id;
        let subject = Subject::Invoice { n, statement: Box::new(statement) };
        let seq = self.append(kind, record.invoice.merchant.clone(), txid, subject);
        self.put::<EventsOf>((id, n), seq);
        Ok(())
    }

    /// Writes the event of a payment that belongs to no invoice.
    pub(super) fn tell_unassigned(
        &mut self,
        merchant: Merchant,
        outpoint: OutPoint,
        satoshis: u64,
        reason: Option<UnassignedReason>,
    ) {
        let subject = Subject::Unassigned { outpoint, satoshis, reason };
        self.append(EventKind::PaymentUnassigned, merchant, Some(outpoint.txid), subject);
    }

    fn append(&mut self, kind: EventKind, merchant: Merchant, txid: Option<Txid>, subject: Subject) -> u64 {
        self.meta.seq += 1;
        let event = Event { seq: self.meta.seq, kind, at: self.at.wall, merchant, txid, subject };
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
        if keys.start() > keys.end() {
            return Ok(Vec::new());
        }
        // The read also passes over the records that this input removed, so they count as work.
        let removed =
            Holds::<T>::table(&self.changes).range(keys.clone()).filter(|(_, value)| value.is_none());
        self.worked(removed.count());
        let found = range_over(self.view, &self.changes, keys, limit)?;
        self.worked(found.len());
        Ok(found)
    }

    fn last(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError> {
        last_over(self.view, &self.changes, keys, limit)
    }
}
