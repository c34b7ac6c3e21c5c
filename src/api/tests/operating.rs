//! What the operator sees.

use std::{collections::BTreeSet, sync::Arc};

use axum::Router;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use super::{Setup, World, fuzzing::ask};
use crate::{
    api::{OpsState, frame, ops_router},
    follow::Reason,
};

fn ops(world: &World) -> Router {
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    ops_router(OpsState { store: Arc::clone(&world.store), health: world.health.clone(), metrics })
}

#[tokio::test]
async fn alive_and_ready() {
    let world = Setup::new().world();
    let ops = ops(&world);
    let get = async |path: &str| ask(&ops, "GET", path, b"", &[]).await;
    assert_eq!(get("/healthz").await.expect(200), json!({"alive": true}));
    assert_eq!(get("/livez").await.expect(200), json!({"alive": true}));
    let starting = json!({"name": "starting", "text": Reason::Starting.to_string()});
    let told = json!({"ready": false, "reasons": [starting], "degraded": []});
    assert_eq!(get("/readyz").await.expect(503), told);
    world.health.set(BTreeSet::new());
    assert_eq!(get("/readyz/").await.expect(200), json!({"ready": true, "reasons": [], "degraded": []}));

    // A payer may be sent here all the same.
    let topic = Reason::TopicNotPublished { topic: "rawtx" };
    world.health.set(BTreeSet::from([topic.clone()]));
    let why = json!({"name": "topic_not_published", "text": topic.to_string()});
    assert_eq!(get("/readyz").await.expect(200), json!({"ready": true, "reasons": [], "degraded": [why]}));

    world.health.set(BTreeSet::from([Reason::NodeUnreachable, topic]));
    world.store.fail(true);
    let readiness = get("/readyz").await.expect(503);
    let names = |key: &str| -> Vec<_> {
        readiness[key].as_array().unwrap().iter().map(|why| why["name"].clone()).collect()
    };
    assert_eq!(names("reasons"), ["node_unreachable", "store_unavailable"]);
    assert_eq!(names("degraded"), ["topic_not_published"]);
    assert_eq!(get("/healthz").await.status, 200);

    assert_eq!(
        get("/metrics").await.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert_eq!(get("/nowhere").await.status, 404);
    assert_eq!(get("/jpp/").await.status, 404);
    assert_eq!(ask(&ops, "POST", "/metrics", b"", &[]).await.status, 405);
    assert_eq!(ask(&ops, "HEAD", "/metrics", b"", &[]).await.status, 200);
    assert_eq!(get("/healthz").await.header("access-control-allow-origin"), None);
}

#[test]
fn what_is_metered() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let router = Setup::new().world().router();
            for path in ["/i/2c442fff579b4dee995e4640c452258c", "/i/zzz/", "/x/1", "/x/2"] {
                assert_eq!(ask(&router, "GET", path, b"", &[]).await.status, 404);
            }
            assert_eq!(ask(&router, "BREW", "/i/zzz", b"", &[]).await.status, 405);
        });
    });
    let text = handle.render();
    for line in [
        r#"jppd_http_requests_total{method="GET",path="/i/{id}",status="404"} 2"#,
        r#"jppd_http_requests_total{method="GET",path="other",status="404"} 2"#,
        r#"jppd_http_requests_total{method="other",path="/i/{id}",status="405"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[test]
fn a_panic_costs_one_request() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let boom = axum::routing::get(|| async {
        if true {
            panic!("a test panics on purpose");
        }
    });
    let second = std::time::Duration::from_secs(1);
    let router = frame::public(Router::new().route("/boom", boom), second, super::nobody());
    let answer =
        metrics::with_local_recorder(&recorder, || runtime.block_on(ask(&router, "GET", "/boom", b"", &[])));
    assert_eq!(answer.expect(500), json!({"detail": "A server error occurred."}));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(handle.render().contains("jppd_http_panics_total 1"));
}
