//! Where others find the keys, and who may read the signatures.

use std::{fs, sync::Arc};

use super::{Setup, fuzzing::ask};
use crate::{
    api::signing::{HEADERS, KeyFile, Signing, SigningKeys},
    bch::Network,
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
