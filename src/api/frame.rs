//! Middleware around every request: the request id, the identification of the caller, the time limit, the common
//! headers, the log, the meters, and the answers to ambiguous heads and to panics.
//!
//! The log says who asked for what and how it went, at level debug; never a body, a query or a key.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::{MatchedPath, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
        header::{
            ALLOW, CACHE_CONTROL, CONTENT_ENCODING, HOST, RETRY_AFTER, TRANSFER_ENCODING,
            X_CONTENT_TYPE_OPTIONS,
        },
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

use super::{
    caller::{Crowded, Identification, identify},
    receive::Arrival,
    signing,
    state::Peer,
    watchtower::Fault,
};

/// The header of a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a browser may remember what it is allowed.
const CORS_AGE: Duration = Duration::from_secs(24 * 3600);

/// When a client with too many requests under way may send the next one.
const CROWDED_RETRY: Duration = Duration::from_secs(1);

/// The frame of what the world sees: with CORS for every origin, on errors as well.
pub(super) fn public(routes: Router, request_timeout: Duration, identification: Identification) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(AnyOrigin)
        .allow_methods([Method::GET, Method::POST, Method::OPTIONS])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(
            [REQUEST_ID, RETRY_AFTER, ALLOW].into_iter().chain(signing::HEADERS).collect::<Vec<_>>(),
        )
        .max_age(CORS_AGE);
    let identified = middleware::from_fn_with_state(Arc::new(identification), identify);
    innermost(routes, request_timeout).layer(cors).layer(middleware::from_fn(around)).layer(identified)
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
        .layer(middleware::from_fn(well_formed))
}

/// Refuses a request whose client has too many under way, and one whose head two programs could read in two ways.
async fn well_formed(request: Request, next: Next) -> Response {
    if request.extensions().get::<Crowded>().is_some() {
        return Fault::Throttled(CROWDED_RETRY).into_response();
    }
    let has_body = !request.body().is_end_stream();
    match ambiguity(request.version(), request.headers(), has_body) {
        Some(fault) => fault.into_response(),
        None => next.run(request).await,
    }
}

/// The fault of a head that two programs could read in two ways, or that asks for a coding that is not spoken here (RFC
/// 9112, sections 3.2 and 6.1; RFC 9110, section 8.4).
fn ambiguity(version: Version, headers: &HeaderMap, has_body: bool) -> Option<Fault> {
    match headers.get_all(HOST).iter().count() {
        0 if version >= Version::HTTP_11 => {
            return Some(Fault::Bad("The Host header is missing.".to_owned()));
        }
        0 | 1 => {}
        _ => return Some(Fault::Bad("The Host header comes twice.".to_owned())),
    }
    let only = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    if headers.get_all(TRANSFER_ENCODING).iter().count() > 1 || !only(TRANSFER_ENCODING, "chunked") {
        return Some(Fault::OtherTransferCoding);
    }
    if has_body && !only(CONTENT_ENCODING, "identity") {
        return Some(Fault::ContentCoding);
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Version, headers, whether there is a body, and the status of the refusal.
    type Case<'a> = (Version, &'a [(&'a str, &'a str)], bool, Option<StatusCode>);

    #[test]
    fn heads_that_two_programs_could_read_in_two_ways() {
        let (bad, coding) = (StatusCode::BAD_REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let (host, te, ce) = ("host", "transfer-encoding", "content-encoding");
        let new = Version::HTTP_11;
        let table: &[Case<'_>] = &[
            (new, &[(host, "pay.example")], true, None),
            (new, &[(host, "")], true, None),
            (new, &[], true, Some(bad)),
            (new, &[], false, Some(bad)),
            (Version::HTTP_10, &[], true, None),
            (new, &[(host, "a"), (host, "a")], false, Some(bad)),
            (Version::HTTP_10, &[(host, "a"), (host, "b")], false, Some(bad)),
            (new, &[(host, "a"), (te, "chunked")], true, None),
            (new, &[(host, "a"), (te, " Chunked ")], true, None),
            (new, &[(host, "a"), (te, "gzip, chunked")], true, Some(StatusCode::NOT_IMPLEMENTED)),
            (new, &[(host, "a"), (te, "chunked, chunked")], true, Some(StatusCode::NOT_IMPLEMENTED)),
            (new, &[(host, "a"), (te, "gzip"), (te, "chunked")], true, Some(StatusCode::NOT_IMPLEMENTED)),
            (new, &[(host, "a"), (te, "identity")], true, Some(StatusCode::NOT_IMPLEMENTED)),
            (new, &[(host, "a"), (ce, "gzip")], true, Some(coding)),
            (new, &[(host, "a"), (ce, "identity")], true, None),
            (new, &[(host, "a"), (ce, "identity"), (ce, "br")], true, Some(coding)),
            // Without a body there is nothing to decode.
            (new, &[(host, "a"), (ce, "gzip")], false, None),
        ];
        for (version, pairs, has_body, status) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in *pairs {
                headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            let fault = ambiguity(*version, &headers, *has_body);
            assert_eq!(fault.map(|fault| fault.into_response().status()), *status, "{version:?} {pairs:?}");
        }
    }
}
