//! What those above ask of a view.

use super::{
    Event, ReadError, Rules, View,
    block::{first_txid, last_txid},
    scribe::Scribe,
    tables::{
        Counters, Credits, CreditsOf, Events, EventsOf, InvoiceRecord, Invoices, Reads, TransactionRecord,
        Transactions, Unassigned, UnassignedOf, UnassignedPayment, Unconfirmed,
    },
};
use crate::{
    bch::{OutPoint, Txid},
    invoice::{Credit, Invoice, InvoiceId, Level, Merchant, Paid, Reading, Statement},
};

/// An invoice as it stands now, with at most [`Statement::MOST_CREDITS`] of its credits. Reads no more than these.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn statement<V: View>(view: &V, id: InvoiceId) -> Result<Option<Statement>, ReadError> {
    let rules = Rules::default();
    let scribe = Scribe::begin(view, &rules, Reading::default())?;
    match scribe.invoice(&id)? {
        Some(record) => scribe.statement(&record).map(Some),
        None => Ok(None),
    }
}

/// Up to `limit` credits of an invoice with ordinals above `ordinal`, in the order of crediting.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn credits_after<V: View>(
    view: &V,
    id: InvoiceId,
    ordinal: u64,
    limit: usize,
) -> Result<Vec<Credit>, ReadError> {
    let Some(first) = ordinal.checked_add(1) else { return Ok(Vec::new()) };
    let mut credits = Vec::new();
    for (_, outpoint) in Reads::<CreditsOf>::range(view, (id, first)..=(id, u64::MAX), limit)? {
        credits.extend(Reads::<Credits>::get(view, &outpoint)?);
    }
    Ok(credits)
}

/// The height of the end of the chain as far as it was walked, once one is known.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn tip_height<V: View>(view: &V) -> Result<Option<u32>, ReadError> {
    Ok(Reads::<Counters>::get(view, &())?.and_then(|meta| meta.tip).map(|(height, _)| height))
}

/// Computes the payment totals of an invoice from all of its credits. If the record of the invoice holds totals
/// ([`InvoiceRecord::paid`]), both must be equal.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn paid_anew<V: View>(view: &V, invoice: &Invoice) -> Result<Paid, ReadError> {
    let (mut paid, mut last) = (Paid::nothing(invoice), 0);
    loop {
        let page = credits_after(view, invoice.id, last, PAGE)?;
        let Some(end) = page.last() else { return Ok(paid) };
        last = end.ordinal;
        paid.add(invoice, &page);
    }
}

/// Up to `limit` transactions that are tracked and in no block, in the order of their ids.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn unconfirmed<V: View>(view: &V, limit: usize) -> Result<Vec<Txid>, ReadError> {
    let tracked = Reads::<Unconfirmed>::range(view, first_txid()..=last_txid(), limit)?;
    Ok(tracked.into_iter().map(|(txid, ())| txid).collect())
}

/// A tracked transaction, and its credits in the order of its outputs.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn tracked<V: View>(view: &V, txid: Txid) -> Result<Option<(TransactionRecord, Vec<Credit>)>, ReadError> {
    let Some(record) = Reads::<Transactions>::get(view, &txid)? else { return Ok(None) };
    let mut credits = Vec::new();
    for vout in 0..record.outputs {
        credits.extend(Reads::<Credits>::get(view, &OutPoint { txid, vout })?);
    }
    Ok(Some((record, credits)))
}

/// Up to `limit` events of an invoice with numbers above `n`, in order.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn events_after<V: View>(view: &V, id: InvoiceId, n: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
    let keys = (id, n.saturating_add(1))..=(id, u64::MAX);
    let mut events = Vec::new();
    for (_, seq) in Reads::<EventsOf>::range(view, keys, limit)? {
        match event(view, seq)? {
            Some(event) => events.push(event),
            None => return Err(ReadError(format!("event {seq} of invoice {id} is missing"))),
        }
    }
    Ok(events)
}

/// One event by its number in the whole log.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn event<V: View>(view: &V, seq: u64) -> Result<Option<Event>, ReadError> {
    Reads::<Events>::get(view, &seq)
}

/// Up to `limit` unassigned payments of a merchant that were met after the place `ordinal`, in order.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn unassigned_of<V: View>(
    view: &V,
    merchant: &Merchant,
    ordinal: u64,
    limit: usize,
) -> Result<Vec<(OutPoint, UnassignedPayment)>, ReadError> {
    let keys = (merchant.clone(), ordinal.saturating_add(1))..=(merchant.clone(), u64::MAX);
    let mut payments = Vec::new();
    for (_, outpoint) in Reads::<UnassignedOf>::range(view, keys, limit)? {
        payments.extend(Reads::<Unassigned>::get(view, &outpoint)?.map(|payment| (outpoint, payment)));
    }
    Ok(payments)
}

/// How many invoices are read at a time.
const PAGE: usize = 1000;

/// Shows every invoice that can still be paid, or was: all but those that ended unpaid and whose late window is over.
///
/// # Errors
///
/// [`ReadError`], or what `show` answers.
pub fn each_open_or_paid<V: View>(
    view: &V,
    mut show: impl FnMut(&InvoiceRecord) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let last = InvoiceId::from_bytes([0xff; 16]);
    let mut from = Some(InvoiceId::from_bytes([0; 16]));
    while let Some(first) = from {
        let page = Reads::<Invoices>::range(view, first..=last, PAGE)?;
        let whole = page.len() == PAGE;
        from = page.last().filter(|_| whole).and_then(|(id, _)| id.following());
        for (_, record) in
            page.iter().filter(|(_, record)| !record.state.archived || record.state.level > Level::Unpaid)
        {
            show(record)?;
        }
    }
    Ok(())
}
