//! What stands around every request: its id, its time limit, the common headers, the log, the meters, and the answer
//! to what must never happen.
//!
//! The log says who asked for what and how it went, at level debug; never a body, a query or a key.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::{MatchedPath, Request, State},
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, Any as AnyOrigin, CorsLayer},
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{receive::Arrival, signing, state::Peer, watchtower::Fault};

/// The header of a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a browser may remember what it is allowed.
const CORS_AGE: Duration = Duration::from_secs(24 * 3600);

/// The frame of what the world sees: with CORS for every origin, on errors as well.
pub(super) fn public(routes: Router, request_timeout: Duration) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(AnyOrigin)
        .allow_methods([Method::GET, Method::POST, Method::OPTIONS])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(
            [REQUEST_ID, RETRY_AFTER, ALLOW].into_iter().chain(signing::HEADERS).collect::<Vec<_>>(),
        )
        .max_age(CORS_AGE);
    innermost(routes, request_timeout).layer(cors).layer(middleware::from_fn(around))
}

/// The frame of what the operator sees.
pub(super) fn private(routes: Router, request_timeout: Duration) -> Router {
    innermost(routes, request_timeout).layer(middleware::from_fn(around))
}

fn innermost(routes: Router, request_timeout: Duration) -> Router {
    routes
        .fallback(|| async { Fault::NotFound })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(request_timeout, in_time))
}

/// Gives a request so much time. If it takes longer, it is the client's fault for as long as its body has not arrived.
async fn in_time(State(limit): State<Duration>, mut request: Request, next: Next) -> Response {
    let arrival = Arrival::default();
    if request.body().is_end_stream() {
        arrival.complete();
    }
    request.extensions_mut().insert(arrival.clone());
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) if arrival.is_complete() => Fault::TookTooLong.into_response(),
        Err(_) => Fault::SlowBody.into_response(),
    }
}

/// A bug of ours. It costs the one request.
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a request ended in a panic");
    metrics::counter!("jppd_http_panics_total").increment(1);
    Fault::Bug.into_response()
}

async fn around(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let peer = request.extensions().get::<Peer>().map(|peer| tracing::field::display(peer.0));
    let span = tracing::debug_span!("request", id = id.to_str().unwrap_or_default(), peer);

    let mut answer = next.run(request).instrument(span.clone()).await;

    let headers = answer.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let elapsed = started.elapsed();
    let status = answer.status();
    span.in_scope(|| tracing::debug!(%method, path, status = status.as_u16(), ?elapsed, "answered"));
    meter(&method, matched.as_ref().map_or("other", MatchedPath::as_str), status, elapsed);
    answer
}

/// The id that the client gave a request, if it is fit to be repeated; or else a new one.
fn request_id(request: &Request<Body>) -> HeaderValue {
    let fit = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=64).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    if let Some(given) = request.headers().get(REQUEST_ID).filter(fit) {
        return given.clone();
    }
    let mut buffer = Uuid::encode_buffer();
    let text = Uuid::new_v4().simple().encode_lower(&mut buffer);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
}

/// Labels are words of ours, never the client's, so that nobody can make their number grow.
fn meter(method: &Method, path: &str, status: StatusCode, elapsed: Duration) {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS];
    let method = known.iter().find(|known| *known == method).map_or("other", Method::as_str).to_owned();
    let path = path.trim_end_matches('/').to_owned();
    metrics::counter!(
        "jppd_http_requests_total",
        "method" => method, "path" => path.clone(), "status" => status.as_u16().to_string()
    )
    .increment(1);
    metrics::histogram!("jppd_http_request_seconds", "path" => path).record(elapsed);
}
