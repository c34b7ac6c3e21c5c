//! `POST /jpp/invoices/`: a new invoice.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use sha2::{Digest as _, Sha256};

use super::{
    Complaint, Fault,
    creation::draft,
    fault::json,
    request::{CREATION_TYPES, other_outcome},
};
use crate::{
    api::{
        caller::Caller,
        canonical,
        document::{InvoiceDocument, View as DocumentView},
        state::{Down, Shared},
    },
    follow::Reason,
    invoice::{InvoiceId, Merchant, Statement},
    ledger::{
        self, Action, Created, Creation, Event, Idempotency, Outcome, ReadError, Reads, Subject, View,
        tables::Idempotency as Known,
    },
};

/// The longest `Idempotency-Key`, in characters.
const MOST_KEY: usize = 255;

/// When to ask again while the node is not being followed, in seconds.
const BLIND_RETRY: u64 = 10;

/// Registers an invoice. It is on disk, and watched for, before this is answered.
pub(super) async fn create<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let settings = &shared.state.settings;
    let (merchant, view) = match shared.merchant(request.headers())? {
        Some(merchant) => (merchant, DocumentView::of_merchant(settings)),
        None if settings.open_creation => (Merchant::anyone(), DocumentView::of_creator(settings)),
        None => {
            return Err(Fault::Unauthorized("Authentication credentials were not provided."));
        }
    };
    shared.create_rate.take(caller.holder(), 1, Instant::now()).map_err(Fault::Throttled)?;
    let key = idempotency_key(request.headers())?;
    let body = shared.body(request, &CREATION_TYPES, settings.limits.max_body_bytes).await?;
    let idempotency = match key {
        Some(key) => Some(idempotency(&shared, key, &body).await?),
        None => None,
    };
    let answer = |statement: &Statement| json(StatusCode::CREATED, &InvoiceDocument::new(statement, view));

    // A repetition is answered whatever has become of the node, the clock or the configuration since.
    if let Some(idempotency) = idempotency.clone() {
        let merchant = merchant.clone();
        match shared.read(move |store| first_answer(store, merchant, &idempotency)).await? {
            Some(Created::Registered(statement)) => return Ok(answer(&statement)),
            Some(Created::OtherBody) => return Err(other_body()),
            Some(Created::ScriptOfAnother { .. } | Created::Shared { .. }) | None => {}
        }
    }

    let relayed = shared.state.health.relay_fee();
    // Read once: what is asked is measured, shown and kept by the same clocks.
    let (state, now) = (shared.clone(), shared.state.engine.now());
    let parsed = shared.parsed(&body, move |body| draft(body, &state.state.settings, relayed, now.wall));
    let draft = parsed.await??;
    drop(body);
    if !shared.state.health.may_create() {
        let text = if shared.state.health.reasons().contains(&Reason::DiskLow) {
            "The disk of this server is nearly full, so no invoice is created at the moment."
        } else {
            "The Bitcoin Cash node is not being followed at the moment, so a payment would not be seen."
        };
        return Err(Fault::Away { retry_after: BLIND_RETRY, text: text.to_owned() });
    }
    let creation = Creation { id: InvoiceId::random(), merchant, draft, idempotency };
    let created = match shared.apply_at(now, Action::Create(Box::new(creation))).await? {
        Outcome::Created(created) => *created,
        outcome @ (Outcome::Done | Outcome::Part { .. } | Outcome::Claimed(_) | Outcome::Managed(_)) => {
            return Err(other_outcome(&outcome));
        }
    };
    match created {
        Created::Registered(statement) => Ok(answer(&statement)),
        Created::OtherBody => Err(other_body()),
        Created::ScriptOfAnother { index } => {
            Err(of_output(index, "This address was asked for by another merchant first."))
        }
        Created::Shared { index } => Err(of_output(
            index,
            "Another open invoice asks for the same amount at this address: use a fresh address.",
        )),
    }
}

/// The key with the digests of the body, before defaults and the clock are filled in: a repetition comes later, and the
/// configuration may have changed.
async fn idempotency<S: Send + Sync + 'static>(
    shared: &Shared<S>,
    key: String,
    body: &Bytes,
) -> Result<Idempotency, Down> {
    let digests = |body: &[u8]| {
        let sent: [u8; 32] = Sha256::digest(body).into();
        // A body that is not JSON is refused below; until then the digest of its bytes stands for it.
        (canonical::digest(body).unwrap_or(sent), sent)
    };
    let (body, sent) = shared.parsed(body, digests).await?;
    Ok(Idempotency { key, body, sent })
}

fn other_body() -> Fault {
    Fault::Conflict("This Idempotency-Key was used with another body.")
}

fn of_output(index: usize, text: &str) -> Fault {
    let complaint = Complaint::item(index, Complaint::field("address", text));
    Complaint::field("outputs", complaint).into()
}

/// The merchant's promise that a repetition means the same invoice.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let bytes = key.as_bytes();
    let good = (1..=MOST_KEY).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    match key.to_str() {
        Ok(key) if good && keys.next().is_none() => Ok(Some(key.to_owned())),
        _ => Err(Fault::Bad(format!(
            "Idempotency-Key must be one value of 1 to {MOST_KEY} visible ASCII characters."
        ))),
    }
}

/// What the same request was answered before, if it was.
fn first_answer<S: View>(
    store: &S,
    merchant: Merchant,
    idempotency: &Idempotency,
) -> Result<Option<Created>, ReadError> {
    let known = Reads::<Known>::get(store, &(merchant, idempotency.key.clone()))?;
    let Some(known) = known else { return Ok(None) };
    if !idempotency.repeats(&known) {
        return Ok(Some(Created::OtherBody));
    }
    match ledger::events_after(store, known.invoice, 0, 1)?.pop() {
        Some(Event { subject: Subject::Invoice { statement, .. }, .. }) => {
            Ok(Some(Created::Registered(*statement)))
        }
        _ => Err(ReadError(format!("the event of the creation of invoice {} is missing", known.invoice))),
    }
}
