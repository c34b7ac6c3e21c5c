//! What those above ask of a view.

use super::{
    Event, ReadError, Rules, View,
    scribe::Scribe,
    tables::{Events, EventsOf, Reads, Unassigned, UnassignedOf, UnassignedPayment},
};
use crate::{
    bch::OutPoint,
    invoice::{InvoiceId, Merchant, Statement, Timestamp},
};

/// An invoice as it stands now.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn statement<V: View>(view: &V, id: InvoiceId) -> Result<Option<Statement>, ReadError> {
    let rules = Rules::default();
    let scribe = Scribe::begin(view, &rules, Timestamp::default())?;
    match scribe.invoice(&id)? {
        Some(record) => scribe.statement(&record).map(Some),
        None => Ok(None),
    }
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
