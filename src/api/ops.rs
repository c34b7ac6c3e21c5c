//! The operator's interface, on its own listener: `/healthz` (and `/livez`, its newer name), `/readyz`, `/metrics`.
//!
//! Being alive and being ready are two questions. A supervisor restarts what is not alive, and nothing that makes this
//! program not ready is mended by a restart; so `/healthz` knows nothing of the node and the disk. `/readyz` says whether a
//! payer may be sent here (503 for a blocking reason), and names every reason, degraded ones too.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use serde_json::json;

use super::{
    frame,
    watchtower::{both, json, reading},
};
use crate::{
    follow::{Health, Reason, Severity},
    ledger::{Reads, View, tables::Counters},
};

/// How long a question of the operator may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the operator's interface is made of.
pub struct OpsState<S> {
    /// Whether it can be read is one of the reasons.
    pub store: Arc<S>,
    /// All other reasons.
    pub health: Health,
    /// The meters.
    pub metrics: PrometheusHandle,
}

impl<S> fmt::Debug for OpsState<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpsState").field("health", &self.health).finish_non_exhaustive()
    }
}

/// The router that the operator sees.
pub fn ops_router<S: View + Send + Sync + 'static>(state: OpsState<S>) -> Router {
    let mut routes = Router::new();
    routes = both(routes, "/healthz", reading(get(healthz)));
    routes = both(routes, "/livez", reading(get(healthz)));
    routes = both(routes, "/readyz", reading(get(readyz)));
    routes = both(routes, "/metrics", reading(get(metrics_text)));
    frame::private(routes.with_state(Arc::new(state)), TIMEOUT)
}

/// The process lives.
async fn healthz() -> Response {
    json(StatusCode::OK, &json!({"alive": true}))
}

#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// Those that block.
    reasons: Vec<Why>,
    degraded: Vec<Why>,
}

#[derive(Debug, Serialize)]
struct Why {
    name: &'static str,
    text: String,
}

impl Readiness {
    fn new(found: &BTreeSet<Reason>) -> Self {
        let of = |severity| {
            let some = found.iter().filter(|reason| reason.severity() == severity);
            some.map(|reason| Why { name: reason.name(), text: reason.to_string() }).collect::<Vec<_>>()
        };
        let reasons = of(Severity::Blocking);
        Self { ready: reasons.is_empty(), reasons, degraded: of(Severity::Degraded) }
    }
}

/// Whether payers may be sent here, and every reason that speaks against it or makes things work less well.
async fn readyz<S: View + Send + Sync + 'static>(State(state): State<Arc<OpsState<S>>>) -> Response {
    let mut reasons = state.health.reasons();
    let store = state.store.clone();
    let read = tokio::task::spawn_blocking(move || Reads::<Counters>::get(&*store, &())).await;
    if !matches!(read, Ok(Ok(_))) {
        reasons.insert(Reason::StoreUnavailable);
    }
    let readiness = Readiness::new(&reasons);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &readiness)
}

/// The meters, as Prometheus reads them.
async fn metrics_text<S: View + Send + Sync + 'static>(State(state): State<Arc<OpsState<S>>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render()).into_response()
}
