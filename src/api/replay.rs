//! The events of invoices as sockets send them, each read and encoded once for all sockets of its invoice.
//!
//! An event never changes once it is on disk, so its text is kept under the invoice and the number. A socket asks for
//! one event at a time and holds the text of that one alone: a thousand sockets that replay an invoice share each
//! text, and a thousand that replay different invoices hold one event each. A decoded event is larger than its text
//! (an invoice, up to 100 credits), so few are decoded at once.

use std::{num::NonZeroUsize, sync::Arc};

use axum::extract::ws::Utf8Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{
    cache::Cache,
    document::{InvoiceDocument, View as DocumentView},
    settings::ApiSettings,
    state::{Down, Shared},
};
use crate::{
    invoice::InvoiceId,
    ledger::{self, Event, EventKind, ReadError, Subject, View},
};

/// How many bytes of encoded events are kept.
const MOST_KEPT: usize = 16 << 20;

/// Bytes that a cache entry takes in addition to its text.
const ENTRY: usize = 128;

/// How many invoices are remembered with the number of their last `payment_received`.
const MOST_RECEIVED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// How many events are read and encoded at once.
const READERS: usize = 8;

/// An event as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) n: u64,
    pub(super) kind: EventKind,
    /// The JSON, shared by every socket that sends it.
    pub(super) text: Utf8Bytes,
}

/// The encoded events of late, and who may read others.
#[derive(Debug)]
pub(super) struct Replay {
    encoded: Cache<(InvoiceId, u64), Encoded>,
    /// By invoice and the number of its last event: the number of the last `payment_received` up to there.
    received: Mutex<LruCache<(InvoiceId, u64), Option<u64>>>,
    readers: Semaphore,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            encoded: Cache::new(MOST_KEPT),
            received: Mutex::new(LruCache::new(MOST_RECEIVED)),
            readers: Semaphore::new(READERS),
        }
    }
}

/// The event of an invoice after the number `n`, or `None` if there is none yet. Dropping the future loses nothing.
///
/// # Errors
///
/// [`Down`] if the log cannot be read.
pub(super) async fn event_after<S: View + Send + Sync + 'static>(
    shared: &Arc<Shared<S>>,
    id: InvoiceId,
    n: u64,
) -> Result<Option<Encoded>, Down> {
    let replay = &shared.replay;
    // Numbers have no gap.
    let key = (id, n.saturating_add(1));
    if let Some(encoded) = replay.encoded.get(&key) {
        return Ok(Some(encoded));
    }
    let _reader = replay.readers.acquire().await.map_err(|_| Down::Store)?;
    // Another socket of the invoice may have read it meanwhile.
    if let Some(encoded) = replay.encoded.get(&key) {
        return Ok(Some(encoded));
    }
    let state = shared.clone();
    let read = move |store: &S| match ledger::events_after(store, id, n, 1)?.first() {
        Some(event) => encode(event, &state.state.settings).map(Some),
        None => Ok(None),
    };
    let encoded = shared.read(read).await?;
    if let Some(encoded) = &encoded {
        replay.encoded.put(key, encoded.clone(), encoded.text.len().saturating_add(ENTRY));
    }
    Ok(encoded)
}

/// The event that told of the payment that still holds: the last `payment_received` of an invoice up to the number
/// `last`.
///
/// # Errors
///
/// [`Down`] if the log cannot be read.
pub(super) async fn last_received<S: View + Send + Sync + 'static>(
    shared: &Arc<Shared<S>>,
    id: InvoiceId,
    last: u64,
) -> Result<Option<Encoded>, Down> {
    let known = shared.replay.received.lock().get(&(id, last)).copied();
    let number = match known {
        Some(number) => number,
        None => {
            let _reader = shared.replay.readers.acquire().await.map_err(|_| Down::Store)?;
            let number = shared.read(move |store| number_of_received(store, id, last)).await?;
            shared.replay.received.lock().put((id, last), number);
            number
        }
    };
    match number {
        Some(number) => event_after(shared, id, number.saturating_sub(1)).await,
        None => Ok(None),
    }
}

fn number_of_received<S: View>(store: &S, id: InvoiceId, last: u64) -> Result<Option<u64>, ReadError> {
    for number in (1..=last).rev() {
        let event = ledger::events_after(store, id, number.saturating_sub(1), 1)?.pop();
        if event.is_some_and(|event| event.kind == EventKind::PaymentReceived) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// The message of a payment: the fields of the original in their order, and ours after them.
#[derive(Debug, Serialize)]
struct Received<'a> {
    r#type: &'static str,
    invoice: InvoiceDocument<'a>,
    txid: Option<String>,
    paid_at: String,
    memo: Option<&'a str>,
    n: u64,
    at: String,
    log: String,
}

/// The message of every other kind.
#[derive(Debug, Serialize)]
struct Happened<'a> {
    r#type: &'static str,
    n: u64,
    at: String,
    log: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<String>,
    invoice: InvoiceDocument<'a>,
}

/// An event of an invoice as everybody may see it, with its number there. Its number in the whole log would tell how
/// much business a shop does.
fn encode(event: &Event, settings: &ApiSettings) -> Result<Encoded, ReadError> {
    let Subject::Invoice { n, statement } = &event.subject else {
        return Err(ReadError(format!("event {} is of no invoice", event.seq)));
    };
    let (n, at, log) = (*n, event.at.to_string(), settings.log.to_string());
    let txid = event.txid.map(|txid| txid.to_string());
    let invoice = InvoiceDocument::new(statement, DocumentView::of_public(settings));
    let r#type = event.kind.name();
    let json = if event.kind == EventKind::PaymentReceived {
        let settlement = statement.standing().settlement;
        let paid_at = settlement.map_or(event.at, |settlement| settlement.paid_at).to_string();
        let memo = statement.note.memo.as_deref().or(statement.invoice.memo.as_deref());
        serde_json::to_string(&Received { r#type, invoice, txid, paid_at, memo, n, at, log })
    } else {
        serde_json::to_string(&Happened { r#type, n, at, log, txid, invoice })
    };
    let mut json = json.map_err(|error| ReadError(format!("event {} has no JSON: {error}", event.seq)))?;
    // Kept for long: without the room that it grew into.
    json.shrink_to_fit();
    Ok(Encoded { n, kind: event.kind, text: json.into() })
}
