//! Anything at all: never a 500, always JSON.

use std::sync::LazyLock;

use axum::{Router, body::Body};
use http_body_util::BodyExt as _;
use hyper::Request;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Setup, World, address, asking, client::Answer};

/// Asks a router without a socket in between.
pub(super) async fn ask(
    router: &Router,
    method: &str,
    path: &str,
    body: &[u8],
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "test");
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = router.clone().oneshot(request.body(Body::from(body.to_vec())).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
    let headers =
        answer.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes().to_vec();
    Answer { status, headers, body: String::from_utf8_lossy(&bytes).into_owned(), bytes }
}

struct Fuzzed {
    runtime: tokio::runtime::Runtime,
    router: Router,
    /// Where REST takes a body.
    paths: Vec<String>,
    /// The one URL of an invoice.
    url: String,
    _world: World,
}

static FUZZED: LazyLock<Fuzzed> = LazyLock::new(|| {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let world = Setup::new().world();
    let router = world.router();
    let created = runtime.block_on(ask(
        &router,
        "POST",
        "/jpp/invoices",
        asking(1, 1000).to_string().as_bytes(),
        &[("authorization", "Bearer shop-key")],
    ));
    let id = created.expect(201)["payment_id"].as_str().unwrap().to_owned();
    let paths = ["/verify", "/pay", "/assign"].map(|end| format!("/jpp/invoices/{id}{end}"));
    let paths = [vec!["/jpp/invoices".to_owned()], paths.to_vec()].concat();
    drop(_entered);
    Fuzzed { runtime, router, paths, url: format!("/i/{id}"), _world: world }
});

fn check(path: usize, body: &[u8]) -> Result<(), TestCaseError> {
    let Fuzzed { runtime, router, paths, .. } = &*FUZZED;
    let path = &paths[path % paths.len()];
    let key = [("authorization", "Bearer shop-key")];
    let answer = runtime.block_on(ask(router, "POST", path, body, &key));
    answer.json();
    prop_assert!(
        matches!(answer.status, 200 | 201 | 400 | 404 | 405 | 409 | 413 | 503),
        "{} {:?}",
        path,
        answer
    );
    Ok(())
}

/// What a wallet can send: every type of body there is.
const BODIES: [&str; 8] = [
    "application/payment-request",
    "application/payment-verification",
    "application/verify-payment",
    "application/payment",
    "application/bitcoincash-payment",
    "application/bitcoincash-verify-payment",
    "application/bitcoincash-verifypayment",
    "application/json",
];

fn check_wallet(body_type: usize, body: &[u8]) -> Result<(), TestCaseError> {
    let Fuzzed { runtime, router, url, .. } = &*FUZZED;
    let content_type = BODIES[body_type % BODIES.len()];
    for accept in ["*/*", "application/json"] {
        let headers = [("content-type", content_type), ("accept", accept)];
        let answer = runtime.block_on(ask(router, "POST", url, body, &headers));
        // The node is away; nothing else than that can be anybody's fault but the wallet's.
        prop_assert!(matches!(answer.status, 200 | 400 | 422 | 503), "{} {:?}", content_type, answer);
        if answer.status != 200 && accept == "application/json" {
            answer.json();
        }
    }
    Ok(())
}

fn any_json() -> impl Strategy<Value = Value> {
    let category = "ab".repeat(32);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u64..3000).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[0-9a-f]{0,12}".prop_map(Value::from),
        any::<u8>().prop_map(|tag| json!(address(tag))),
        Just(json!(category)),
        Just(json!("minting")),
    ];
    let names = prop::sample::select(vec![
        "outputs",
        "amount",
        "address",
        "token",
        "category",
        "nft",
        "capability",
        "commitment",
        "description",
        "memo",
        "merchant_data",
        "expires",
        "expires_in",
        "required_fee_per_byte",
        "confirmations_required",
        "raw_tx_hex",
        "chain",
        "currency",
        "transactions",
        "tx",
        "weightedSize",
        "unsignedTransaction",
        "refund_to",
        "txid",
        "vout",
    ]);
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes(path in any::<usize>(), body in prop::collection::vec(any::<u8>(), 0..300)) {
        check(path, &body)?;
    }

    #[test]
    fn any_documents(path in any::<usize>(), body in any_json()) {
        check(path, body.to_string().as_bytes())?;
    }

    #[test]
    fn any_bytes_of_wallets(body_type in any::<usize>(), body in prop::collection::vec(any::<u8>(), 0..300)) {
        check_wallet(body_type, &body)?;
    }

    #[test]
    fn any_documents_of_wallets(body_type in any::<usize>(), body in any_json()) {
        check_wallet(body_type, body.to_string().as_bytes())?;
    }

    #[test]
    fn nearly_good_messages(
        body_type in 4usize..7,
        fields in prop::collection::vec((1u8..6, prop::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let field = |(tag, bytes): (u8, Vec<u8>)| [&[tag << 3 | 2, u8::try_from(bytes.len()).unwrap()], &bytes[..]].concat();
        check_wallet(body_type, &fields.into_iter().flat_map(field).collect::<Vec<_>>())?;
    }

    #[test]
    fn nearly_good_creations(value in any_json(), field in 0usize..12) {
        let names = [
            "outputs", "memo", "merchant_data", "expires", "expires_in", "required_fee_per_byte",
            "confirmations_required",
        ];
        let mut body = asking(1, 1000);
        match names.get(field) {
            Some(name) => body[*name] = value,
            None => body["outputs"][0][["amount", "address", "token", "description", "x"][field - 7]] = value,
        }
        check(0, body.to_string().as_bytes())?;
    }

    #[test]
    fn broken_off_and_flipped(at in 0usize..120, byte in any::<u8>()) {
        let body = asking(1, 1000).to_string().into_bytes();
        check(0, &body[..at.min(body.len())])?;
        let mut flipped = body;
        let at = at % flipped.len();
        flipped[at] = byte;
        check(0, &flipped)?;
    }

    #[test]
    fn any_path(path in "/[ -~&&[^#? ]]{0,60}") {
        let Ok(uri) = path.parse::<hyper::Uri>() else { return Ok(()) };
        let Fuzzed { runtime, router, .. } = &*FUZZED;
        for method in ["GET", "POST"] {
            let answer = runtime.block_on(ask(router, method, &uri.to_string(), b"", &[]));
            prop_assert!(answer.status < 500, "{} {:?}", path, answer);
        }
    }
}
