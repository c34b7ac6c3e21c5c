//! The one URL of an invoice: whatever wallet opens it gets the dialect it knows, and a person gets a page.
//!
//! A wallet has nothing but a URL, out of a QR code. What it speaks is to be seen from what it sends, and from nothing
//! else: no wallet knows of the others, and no document of any of them names the rest.
//!
//! | request | dialect |
//! | --- | --- |
//! | `GET`, `Accept` names `application/payment-options` | JPP v2: the ways to pay |
//! | `GET`, `application/payment-request` | JPP v1: what to pay |
//! | `GET`, `application/bitcoincash-paymentrequest` | BIP70: what to pay |
//! | `GET`, `text/html`, as browsers send it | the page, for people, in the language of `Accept-Language` |
//! | `GET`, `application/json`, anything, nothing | the invoice, as in the REST dialect |
//! | `POST`, `Content-Type: application/payment-request` | JPP v2: what to pay |
//! | `POST`, `application/payment-verification` | JPP v2: would this be taken? |
//! | `POST`, `application/verify-payment` | JPP v1: would this be taken? |
//! | `POST`, `application/payment` | JPP v1 or v2, told apart by the body: the payment |
//! | `POST`, `application/bitcoincash-verify-payment`, `…-verifypayment` | BIP70 with BitPay's extension |
//! | `POST`, `application/bitcoincash-payment` | BIP70: the payment |
//!
//! Whoever wants the JSON in a browser adds `.json` or `?format=json`, as the original had it; there is no page then.
//! Every answer to a `GET` says what it was chosen by (`Vary`).
//!
//! A `POST` is told by its `Content-Type` alone: what wallets accept there is anything, nothing, or the type of another
//! step. It is the same at every path at which the original had one of these dialects, with and without a slash at its
//! end, and nothing ever redirects: a redirected POST loses its body in most wallets.
//!
//! # Errors
//!
//! Plain text, which is what most wallets show to the payer, or JSON for those that name it in `Accept`; see
//! [`WalletFault`]. The invoice itself is the REST dialect's, and so are its errors. Whoever asked for the page gets a page
//! that says what is wrong, with the same status code.

mod fault;
mod qr;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header::VARY, request::Parts},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get},
};

pub(super) use fault::WalletFault;

use super::{
    bip70, bitpay,
    caller::Caller,
    media::{Accept, content_type},
    page,
    reasons::Reason,
    state::{MOST_SUBMISSION, Shared},
    watchtower::{Fault, both, invoice_id, reading, show_invoice},
};
use crate::{
    invoice::{InvoiceId, Level, Reading, Statement, Status},
    ledger::{Refusal, View},
};

/// Where an invoice is found: its own URL, and every path at which the original had one of the dialects.
const PATHS: [&str; 7] = [
    "/i/{id}",
    "/jpp/i/{id}",
    "/jpp/i/bitpay/{id}",
    "/jpp/invoices/{id}",
    "/api/jpp/i/{id}",
    "/api/jpp/i/bitpay/{id}",
    "/api/jpp/invoices/{id}",
];

/// The largest body of JPP's `payment-request`, in bytes: a wallet names a chain and a currency in it.
const MOST_SELECTION: usize = 4096;

/// The routes of the invoice's URL.
pub(super) fn routes<S: View + Send + Sync + 'static>() -> Router<Arc<Shared<S>>> {
    let mut routes = Router::new();
    for path in PATHS {
        routes = both(routes, path, speaking(get(show).post(take)));
    }
    routes.route("/i/{id}/qr.svg", reading(get(qr::svg))).route("/i/{id}/qr.png", reading(get(qr::png)))
}

fn speaking<T: Clone + Send + Sync + 'static>(methods: MethodRouter<T>) -> MethodRouter<T> {
    let allow = "GET, HEAD, POST, OPTIONS";
    methods.fallback(async move |method: Method| Fault::MethodNotAllowed { method, allow })
}

/// What stands in the path for an invoice. What is no text at all is the name of none.
struct Name(String);

impl<St: Send + Sync> FromRequestParts<St> for Name {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &St) -> Result<Self, Infallible> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(path.map(|Path(name)| name).unwrap_or_default()))
    }
}

/// A document that can be asked for with `GET`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Document {
    Invoice,
    JppOptions,
    JppRequest,
    Bip70Request,
    Page,
}

/// The header by which a wallet says that it speaks JPP v2.
const PAYPRO_VERSION: HeaderName = HeaderName::from_static("x-paypro-version");

/// What a `GET` is answered by.
const CHOSEN_BY: HeaderValue = HeaderValue::from_static("accept, accept-language, x-paypro-version");

/// What can be asked for by its media type; the first is for those that don't say, the page only for those that do.
pub(super) const OFFERS: [(&str, Document); 5] = [
    ("application/json", Document::Invoice),
    (bitpay::OPTIONS, Document::JppOptions),
    (bitpay::REQUEST, Document::JppRequest),
    (bip70::REQUEST, Document::Bip70Request),
    ("text/html", Document::Page),
];

async fn show<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    Name(name): Name,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut answer = document(&shared, &name, &uri, &headers).await;
    answer.headers_mut().append(VARY, CHOSEN_BY);
    answer
}

async fn document<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    name: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response {
    let mut offers = OFFERS.to_vec();
    if headers.get(PAYPRO_VERSION).is_some_and(|version| version.as_bytes().trim_ascii() == b"2") {
        // Whoever says that it speaks JPP v2 and accepts anything means its first document.
        offers.swap(0, 1);
    }
    if names_json(name, uri.query().unwrap_or_default()) {
        offers.retain(|(_, document)| !matches!(document, Document::Page));
    }
    let answer = match Accept::of(headers).choose(&offers) {
        Some(Document::Invoice) => return show_invoice(shared, name, headers).await.into_response(),
        Some(Document::Page) => {
            return page::show(find(shared, name).await.as_ref(), &shared.state, headers, uri.path());
        }
        Some(Document::JppOptions) => {
            payable(shared, name).await.map(|statement| bitpay::options(&shared.state, &statement))
        }
        Some(Document::JppRequest) => {
            payable(shared, name).await.map(|statement| bitpay::request_v1(&shared.state, &statement))
        }
        Some(Document::Bip70Request) => match payable(shared, name).await {
            Ok(statement) => bip70::request(shared, &statement).await,
            Err(fault) => Err(fault),
        },
        None => Err(WalletFault::not_acceptable()),
    };
    answer.unwrap_or_else(|fault| fault.answer(headers))
}

/// Whether the URL itself says that JSON is wanted.
fn names_json(name: &str, query: &str) -> bool {
    name.ends_with(".json") || query.split('&').any(|parameter| parameter == "format=json")
}

async fn take<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    Name(name): Name,
    caller: Caller,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let take = async || {
        let media_type = content_type(&headers);
        let (rate, most) = match media_type.as_str() {
            bitpay::REQUEST => (&shared.request_rate, MOST_SELECTION),
            bitpay::VERIFICATION
            | bitpay::VERIFICATION_V1
            | bip70::VERIFICATION
            | bip70::VERIFICATION_TOO => (&shared.verify_rate, MOST_SUBMISSION),
            bitpay::PAYMENT | bip70::PAYMENT => (&shared.pay_rate, MOST_SUBMISSION),
            _ => return Err(WalletFault::unsupported_content_type()),
        };
        caller.take(rate).map_err(WalletFault::throttled)?;
        let statement = find(&shared, &name).await?;
        let body = shared.whole_body(request, most).await?;
        match media_type.as_str() {
            bitpay::REQUEST => {
                must_be_payable(&statement, &shared.state.engine.now())?;
                bitpay::request(&shared.state, &statement, &body)
            }
            bitpay::VERIFICATION => bitpay::verify(&shared, &statement, caller, body).await,
            bitpay::VERIFICATION_V1 => bitpay::verify_v1(&shared, &statement, caller, body).await,
            bitpay::PAYMENT => bitpay::pay(&shared, &statement, caller, body).await,
            bip70::PAYMENT => bip70::pay(&shared, &statement, caller, body).await,
            _ => bip70::verify(&shared, &statement, caller, &body).await,
        }
    };
    take().await.unwrap_or_else(|fault| fault.answer(&headers))
}

/// The invoice that a path names.
async fn find<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    name: &str,
) -> Result<Statement, WalletFault> {
    let id: InvoiceId = invoice_id(name).ok_or_else(WalletFault::not_found)?;
    shared.find(id).await?.ok_or_else(WalletFault::not_found)
}

/// The invoice that a path names, if it can be paid.
async fn payable<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    name: &str,
) -> Result<Statement, WalletFault> {
    let statement = find(shared, name).await?;
    must_be_payable(&statement, &shared.state.engine.now())?;
    Ok(statement)
}

/// A wallet gets no document that asks for what must not be paid.
fn must_be_payable(statement: &Statement, now: &Reading) -> Result<(), WalletFault> {
    let refusal = match statement.standing().status {
        Status::Pending if statement.state.level == Level::Held => Refusal::Held,
        Status::Pending if !statement.invoice.is_over(now, Duration::ZERO) => return Ok(()),
        Status::Pending | Status::Expired => Refusal::Expired,
        Status::Paid | Status::Confirmed => Refusal::Paid,
        Status::Cancelled => Refusal::Cancelled,
    };
    Err(Reason::from(&refusal).into())
}
