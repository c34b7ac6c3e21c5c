//! What handlers take from a request: the invoice's name, and the body.

use axum::{
    body::Bytes,
    extract::{FromRequestParts, Path, Request},
    http::{HeaderMap, request::Parts},
};

use super::Fault;
use crate::{
    api::{
        auth,
        media::content_type,
        state::{Down, Shared},
    },
    engine::EngineError,
    invoice::{InvoiceId, Merchant, Reading, Statement},
    ledger::{Action, Outcome, Reads, View, tables::Invoices},
};

/// The invoice that the path names, in any spelling of a UUID, with or without the `.json` that the original lets one
/// put behind it.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct InvoiceName(pub(in crate::api) InvoiceId);

impl<St: Send + Sync> FromRequestParts<St> for InvoiceName {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &St) -> Result<Self, Fault> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|_| Fault::NotFound)?;
        invoice_id(&name).map(Self).ok_or(Fault::NotFound)
    }
}

/// The invoice of a name, see [`InvoiceName`].
pub(in crate::api) fn invoice_id(name: &str) -> Option<InvoiceId> {
    InvoiceId::parse(name.strip_suffix(".json").unwrap_or(name))
}

/// The media types that a body of JSON may have beside its own: what wallets ask for is what some of them send.
pub(super) const CREATION_TYPES: [&str; 3] =
    ["application/json", "application/payment-options", "application/payment-request"];

/// The media type of a body of JSON.
pub(super) const JSON_TYPES: [&str; 1] = ["application/json"];

impl<S: Send + Sync + 'static> Shared<S> {
    /// The body of a request of at most `most` bytes, if it is of one of these types. A request without a body has an
    /// empty one of any type.
    pub(super) async fn body(&self, request: Request, types: &[&str], most: usize) -> Result<Bytes, Fault> {
        let media_type = content_type(request.headers());
        let body = self.whole_body(request, most).await?;
        if !body.is_empty() && !types.contains(&media_type.as_str()) {
            return Err(Fault::UnsupportedMediaType(media_type));
        }
        Ok(body)
    }

    /// The merchant whose key a request shows, if it shows one.
    pub(super) fn merchant(&self, headers: &HeaderMap) -> Result<Option<Merchant>, Fault> {
        Ok(auth::merchant(headers, &self.state.keys)?)
    }

    /// The merchant whose key a request must show.
    pub(super) fn merchant_required(&self, headers: &HeaderMap) -> Result<Merchant, Fault> {
        self.merchant(headers)?.ok_or(Fault::Unauthorized("Authentication credentials were not provided."))
    }

    /// Has an input applied that was made from this reading of the clocks.
    pub(super) async fn apply_at(&self, at: Reading, action: Action) -> Result<Outcome, Fault> {
        let outcome = self.state.engine.try_apply_at(at, action).await;
        Ok(outcome.map_err(|error: EngineError| Down::from(error))?)
    }

    /// Has an input applied.
    pub(super) async fn apply(&self, action: Action) -> Result<Outcome, Fault> {
        let outcome = self.state.engine.try_apply(action).await;
        Ok(outcome.map_err(|error: EngineError| Down::from(error))?)
    }
}

impl<S: View + Send + Sync + 'static> Shared<S> {
    /// Whether there is such an invoice at all.
    pub(super) async fn must_exist(&self, id: InvoiceId) -> Result<(), Fault> {
        let record = self.read(move |store| Reads::<Invoices>::get(store, &id)).await?;
        record.map(|_| ()).ok_or(Fault::NotFound)
    }

    /// The merchant that an invoice belongs to.
    pub(super) async fn owner(&self, id: InvoiceId) -> Result<Merchant, Fault> {
        let record = self.read(move |store| Reads::<Invoices>::get(store, &id)).await?;
        record.map(|record| record.invoice.merchant).ok_or(Fault::NotFound)
    }

    /// An invoice as it stands now.
    pub(in crate::api) async fn statement(&self, id: InvoiceId) -> Result<Statement, Fault> {
        self.find(id).await?.ok_or(Fault::NotFound)
    }
}

/// The engine answered something that is no answer to what it was asked.
pub(super) fn other_outcome(outcome: &Outcome) -> Fault {
    tracing::error!(?outcome, "the engine gave an answer to another question");
    Down::Store.into()
}
