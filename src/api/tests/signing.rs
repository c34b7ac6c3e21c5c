//! Where others find the keys, and who may read the signatures.

use std::{fs, sync::Arc, time::Duration};

use bitcoincash::secp256k1::{Message, Secp256k1, ecdsa::Signature};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use sha2::Digest as _;

use super::{Server, Setup, asking, client::Answer, fuzzing::ask, hex_of, node::Node, paying};
use crate::{
    api::signing::{
        HEADERS, KeyFile, Signing, SigningKeys, X509Signer,
        authority::{Authority, RSA},
    },
    bch::Network,
    invoice::Timestamp,
};

const FILE: &str = "owner Café\nexpires 2030-01-31\ndomain pay.example\n\
    key 0101010101010101010101010101010101010101010101010101010101010101\n";

fn keys() -> Arc<SigningKeys> {
    Arc::new(SigningKeys::new(&KeyFile::parse(FILE).unwrap(), Network::Regtest).unwrap())
}

fn router(signing: Signing) -> axum::Router {
    Setup { signing, ..Setup::new() }.world().router()
}

#[tokio::test]
async fn the_keys_are_published_and_always_the_same() {
    let path = "/signingKeys/paymentProtocol.json";
    let mut seen = Vec::new();
    for _ in 0..2 {
        let router = router(Signing { jpp: Some(keys()), ..Signing::default() });
        for _ in 0..2 {
            let answer = ask(&router, "GET", path, b"", &[]).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            seen.push(answer.body);
        }
        assert_eq!(ask(&router, "HEAD", path, b"", &[]).await.status, 200);
        assert_eq!(ask(&router, "POST", path, b"", &[]).await.status, 405);
    }
    let public = "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f";
    let expected = format!(
        "{{\"owner\":\"Café\",\"expirationDate\":\"2030-01-31T00:00:00.000Z\",\"validDomains\":[\"pay.example\"],\
         \"publicKeys\":[\"{public}\"]}}"
    );
    assert_eq!(seen, vec![expected; 4]);
    assert_eq!(ask(&router(Signing::default()), "GET", path, b"", &[]).await.status, 404);
}

#[tokio::test]
async fn signatures_are_served_as_they_are_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("signatures");
    fs::create_dir(&inside).unwrap();
    let digest = "0123456789abcdef".repeat(4);
    let content = format!("{{\"keyHash\" : \"{digest}\",\n \"signatures\":[]}}\n");
    fs::write(inside.join(format!("{digest}.json")), &content).unwrap();
    fs::write(inside.join("notes.json"), "secret").unwrap();
    fs::write(folder.path().join("jppd.json"), "secret").unwrap();
    fs::create_dir(inside.join(format!("{}.json", "a".repeat(64)))).unwrap();
    fs::write(inside.join(format!("{}.json", "b".repeat(64))), vec![b' '; 300_000]).unwrap();

    let open = router(Signing { signatures_folder: Some(inside), ..Signing::default() });
    for name in [digest.clone(), digest.to_uppercase()] {
        let answer = ask(&open, "GET", &format!("/signatures/{name}.json"), b"", &[]).await;
        assert_eq!((answer.status, &answer.body), (200, &content));
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    }
    let table = [
        "/signatures/".to_owned(),
        "/signatures/notes.json".to_owned(),
        format!("/signatures/{digest}"),
        format!("/signatures/{digest}.json/"),
        format!("/signatures/{}.json", "a".repeat(64)),
        format!("/signatures/{}.json", "b".repeat(64)),
        format!("/signatures/{}.json", "c".repeat(64)),
        "/signatures/../jppd.json".to_owned(),
        "/signatures/..%2fjppd.json".to_owned(),
        "/signatures/%2e%2e%2fjppd.json".to_owned(),
        "/signatures/..%5cjppd.json".to_owned(),
        format!("/signatures/../signatures/{digest}.json"),
        format!("/signatures/.%2f{digest}.json"),
        format!("/signatures/{digest}.json%00"),
        "/signatures/%ff.json".to_owned(),
    ];
    for path in table {
        let answer = ask(&open, "GET", &path, b"", &[]).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(!answer.body.contains("secret"), "{path}");
    }
    let shut = router(Signing::default());
    assert_eq!(ask(&shut, "GET", &format!("/signatures/{digest}.json"), b"", &[]).await.status, 404);
}

#[tokio::test]
async fn scripts_of_web_pages_may_read_the_headers_of_a_signature() {
    let router = router(Signing::default());
    let answer = ask(&router, "GET", "/jpp/", b"", &[("Origin", "https://wallet.example")]).await;
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in HEADERS.iter().map(|name| name.as_str()).chain(["x-request-id", "retry-after", "allow"]) {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == name), "{name} is not in {exposed}");
    }
}

/// A header that must be there.
fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.header(name).unwrap_or_else(|| panic!("no {name}: {answer:?}"))
}

#[tokio::test]
async fn every_answer_of_jpp_is_signed_over_its_bytes() {
    let node = Node::start("0.00001400");
    let setup = Setup { signing: Signing { jpp: Some(keys()), ..Signing::default() }, ..Setup::new() };
    let server = setup.with_node(&node).start().await;
    let id = server.create(&json!({"outputs": asking(1, 1000)["outputs"], "memo": "K\u{e4}se"})).await;
    let path = format!("/i/{id}");
    let tx = hex_of(&paying(1, &[(1, 1000)]));
    let post = async |content_type: &str, body: serde_json::Value| {
        server.call("POST", &path, &[("Content-Type", content_type)], body.to_string().as_bytes()).await
    };
    let v2 = json!({"chain": "BCH", "transactions": [{"tx": tx}]});
    let answers = [
        server.call("GET", &path, &[("Accept", "application/payment-options")], b"").await,
        server.call("GET", &path, &[("Accept", "application/payment-request")], b"").await,
        post("application/payment-request", json!({"chain": "BCH"})).await,
        post("application/payment-verification", v2.clone()).await,
        post("application/verify-payment", json!({"currency": "BCH", "unsignedTransaction": tx})).await,
        post("application/payment", v2).await,
        post("application/payment", json!({"currency": "BCH", "transactions": [tx]})).await,
    ];
    let public = "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f".parse().unwrap();
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.is_ascii(), "{answer:?}");
        let digest = sha2::Sha256::digest(&answer.bytes);
        assert_eq!(header(&answer, "digest"), format!("SHA-256={}", hex::encode(digest)));
        assert_eq!(header(&answer, "signature"), header(&answer, "x-signature"));
        assert_eq!(header(&answer, "x-signature-type"), "ecc");
        assert_eq!(header(&answer, "x-identity"), keys().identity());
        let signature = hex::decode(header(&answer, "signature")).unwrap();
        let signature = Signature::from_compact(&signature).unwrap();
        let message = Message::from_digest(digest.into());
        assert_eq!(Secp256k1::verification_only().verify_ecdsa(&message, &signature, &public), Ok(()));
    }
    // What is no answer of JPP is not signed.
    assert_eq!(server.get(&path).await.header("signature"), None);
}

/// A server whose requests a certificate signs, at the last moment at which it can.
async fn signing_bip70(authority: &Authority, name: &str) -> Server {
    let read = |kind: &str| authority.read(&format!("{name}.{kind}"));
    let signer = Arc::new(X509Signer::from_pem(&read("chain"), &read("key")).unwrap());
    let until = signer.validity().until();
    let setup = Setup { signing: Signing { x509: Some(signer), ..Signing::default() }, ..Setup::new() };
    let server = setup.start().await;
    server.world.set_clock(until);
    server
}

async fn bip70_request(server: &Server, id: &str) -> Answer {
    let accept = [("Accept", "application/bitcoincash-paymentrequest")];
    let answer = server.call("GET", &format!("/i/{id}"), &accept, b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// How a document of BIP70 that nobody signed begins.
const UNSIGNED: &[u8] = b"\x08\x01\x12\x04none\x22";

/// How one begins that a certificate signed.
const SIGNED: &[u8] = b"\x08\x01\x12\x0bx509+sha256\x1a";

#[tokio::test]
async fn a_request_of_bip70_is_signed_as_openssl_would_have_it() {
    let Some(authority) = Authority::new("a_request_of_bip70_is_signed_as_openssl_would_have_it") else {
        return;
    };
    authority.issue("shop", RSA);
    let server = signing_bip70(&authority, "shop").await;
    let id = server.create(&asking(1, 1000)).await;
    let answer = bip70_request(&server, &id).await;
    // The signature is the last field, of 256 bytes, and was there and empty when it was made.
    let (request, signature) = answer.bytes.split_at(answer.bytes.len() - 256);
    let (signed, field) = request.split_at(request.len() - 3);
    assert_eq!(field, [0x2a, 0x80, 0x02]);
    fs::write(authority.path("signed"), [signed, &[0x2a, 0x00]].concat()).unwrap();
    fs::write(authority.path("signature"), signature).unwrap();
    authority.openssl("x509 -in shop.pem -pubkey -noout -out shop.pub");
    let said = authority.openssl("dgst -sha256 -verify shop.pub -signature signature signed");
    assert_eq!(said.trim(), "Verified OK");
    // The chain is in it, the signer's certificate first.
    let text = |name: &str| {
        authority.openssl(&format!("x509 -in {name} -outform DER -out {name}.der"));
        authority.read(&format!("{name}.der"))
    };
    let at = |der: &[u8]| signed.windows(der.len()).position(|window| window == der).unwrap();
    assert!(at(&text("shop.pem")) < at(&text("root.pem")));
    assert!(signed.starts_with(SIGNED));
}

#[tokio::test]
async fn a_request_of_bip70_is_signed_once_for_each_invoice() {
    let name = "a_request_of_bip70_is_signed_once_for_each_invoice";
    let Some(authority) = Authority::new(name) else { return };
    authority.issue("shop", RSA);
    let meter = PrometheusBuilder::new().build_recorder();
    let _metered = metrics::set_default_local_recorder(&meter);
    let server = signing_bip70(&authority, "shop").await;
    let [one, other] = [server.create(&asking(1, 1000)).await, server.create(&asking(1, 1000)).await];
    let first = bip70_request(&server, &one).await;
    let others = bip70_request(&server, &other).await;
    for _ in 0..5 {
        assert_eq!(bip70_request(&server, &one).await.bytes, first.bytes);
    }
    assert_ne!(first.bytes, others.bytes);
    let metrics = meter.handle().render();
    assert!(metrics.contains("\njppd_bip70_signatures_total 2\n"), "{metrics}");
}

#[tokio::test]
async fn outside_the_dates_of_its_certificate_a_request_of_bip70_goes_unsigned() {
    let name = "outside_the_dates_of_its_certificate_a_request_of_bip70_goes_unsigned";
    let Some(authority) = Authority::new(name) else { return };
    authority.issue("shop", RSA);
    let signer = X509Signer::from_pem(&authority.read("shop.chain"), &authority.read("shop.key")).unwrap();
    let (from, until) = (signer.validity().from(), signer.validity().until());
    let server = signing_bip70(&authority, "shop").await;
    let second = Duration::from_secs(1);
    let table = [
        (Timestamp::from_secs(from.secs() - 1), UNSIGNED),
        (from, SIGNED),
        (until, SIGNED),
        (until.after(second), UNSIGNED),
    ];
    let mut id = String::new();
    for (now, begins) in table {
        server.world.set_clock(now);
        // The last is one that was signed before.
        if now <= until {
            id = server.create(&asking(1, 1000)).await;
        }
        let answer = bip70_request(&server, &id).await;
        assert!(answer.bytes.starts_with(begins), "{now}: {answer:?}");
    }
}
