//! What is read: documents, redaction, spellings, methods, CORS.

use serde_json::{Value, json};

use super::{LOG, Setup, address, asking, client::bearer, paying};

#[tokio::test]
async fn a_fresh_invoice_word_for_word() {
    let server = Setup::new().start().await;
    let id =
        server.create(&json!({"outputs": [{"address": address(1), "amount": 1000}], "memo": "hi"})).await;
    let text = server.get(&format!("/jpp/invoices/{id}/")).await.body;
    let expected = format!(
        concat!(
            r#"{{"payment_id":"{id}","payment_url":"https://pay.example/i/{id}","network":"regtest","currency":"BCH","#,
            r#""memo":"hi","time":"2026-11-23T02:43:49.099Z","expires":"2026-11-23T03:13:49.099Z","#,
            r#""outputs":[{{"amount":1000,"address":"{address}"}}],"payment":null,"merchant_data":null,"#,
            r#""required_fee_per_byte":1.0,"status":"pending","amount":1000,"amount_paid":0,"underpaid":1000,"#,
            r#""overpaid":0,"confirmations":0,"confirmations_required":1,"zero_conf":null,"late":false,"#,
            r#""shared":false,"ambiguous":false,"double_spend":"none","via":null,"payments":[],"payments_total":0,"#,
            r#""outputs_standing":[{{"amount_paid":0,"paid":false}}],"#,
            r#""payment_uri":"bchreg:?r=https://pay.example/i/{id}","#,
            r#""bip21_uri":"{address}?amount=0.00001&r=https://pay.example/i/{id}","log":"{log}"}}"#
        ),
        id = id,
        address = address(1),
        log = LOG,
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_paid_invoice() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let tx = paying(7, &[(1, 1000)]);
    server.world.move_clock(1);
    server.world.observe(&tx).await;
    let invoice = server.invoice(&id).await;
    assert_eq!(
        invoice["payment"],
        json!({
            "txid": tx.txid().to_string(), "memo": null, "paid_at": "2026-11-23T02:43:50.099Z", "refund_to": [],
        })
    );
    assert_eq!(invoice["status"], "paid");
    assert_eq!(invoice["via"], "mempool");
    assert_eq!(
        invoice["payments"],
        json!([{
            "txid": tx.txid().to_string(), "vout": 0, "output": 0, "amount": 1000, "state": "mempool",
            "confirmations": 0, "via": "mempool", "late": false, "ambiguous": false,
            "first_seen": "2026-11-23T02:43:50.099Z",
            "zero_conf": {
                "seen_at": "2026-11-23T02:43:50.099Z", "dsproof_score": null, "double_spend": "none",
            },
        }])
    );
    assert_eq!(invoice["outputs_standing"], json!([{"amount_paid": 1000, "paid": true}]));
}

#[tokio::test]
async fn merchant_data_is_the_merchant_s() {
    let data = json!({"order": 42});
    let body = json!({"outputs": [{"address": address(1), "amount": 1000}], "merchant_data": data});
    let shop = bearer("shop-key");
    let shop: &[(&str, &str)] = &[(shop.0, &shop.1)];
    let other = bearer("other-key");
    let other: &[(&str, &str)] = &[(other.0, &other.1)];

    let server = Setup::new().start().await;
    let created = server.post_with("/jpp/invoices/", shop, &body).await.expect(201);
    assert_eq!((&created["merchant_data"], &created["merchant"]), (&data, &json!("shop")));
    let path = format!("/i/{}", created["payment_id"].as_str().unwrap());
    let table = [(shop, &data, Some("shop")), (other, &Value::Null, None), (&[], &Value::Null, None)];
    for (headers, shown, merchant) in table {
        let invoice = server.call("GET", &path, headers, b"").await.expect(200);
        assert_eq!(&invoice["merchant_data"], shown, "{headers:?}");
        assert_eq!(invoice.get("merchant").and_then(Value::as_str), merchant, "{headers:?}");
    }
    // Whoever creates without a key sees what was sent, once.
    let body = json!({"outputs": [{"address": address(2), "amount": 1000}], "merchant_data": data});
    let created = server.post("/jpp/invoices/", &body).await.expect(201);
    assert_eq!((&created["merchant_data"], created.get("merchant")), (&data, None));
    let invoice = server.invoice(created["payment_id"].as_str().unwrap()).await;
    assert_eq!(invoice["merchant_data"], Value::Null);

    let server = Setup::new().with(|settings| settings.public_merchant_data = true).start().await;
    let id = server.create(&body).await;
    assert_eq!(server.invoice(&id).await["merchant_data"], data);
}

#[tokio::test]
async fn every_spelling_of_a_path() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let dashed = uuid::Uuid::parse_str(&id).unwrap().hyphenated().to_string();
    for id in [&id, &id.to_uppercase(), &dashed, &format!("urn:uuid:{dashed}"), &format!("%7B{dashed}%7D")] {
        for path in ["/jpp/invoices/", "/api/jpp/invoices/", "/i/"] {
            for slash in ["", "/", "?format=json", ".json"] {
                let answer = server.get(&format!("{path}{id}{slash}")).await;
                assert_eq!(answer.expect(200)["status"], "pending");
            }
        }
    }
    for path in ["/jpp", "/jpp/", "/api/jpp", "/api/jpp/"] {
        let mount = path.trim_end_matches('/');
        let expected = json!({"invoices": format!("https://pay.example{mount}/invoices/")});
        assert_eq!(server.get(path).await.expect(200), expected);
    }
}

#[tokio::test]
async fn what_is_not_there() {
    let server = Setup::new().start().await;
    let unknown = "2c442fff579b4dee995e4640c452258c";
    let not_found = json!({"detail": "Not found."});
    for id in [unknown, "zzz", "%00", "%ff", "..", "2c442fff579b4dee995e4640c452258"] {
        for path in ["/jpp/invoices/ID/", "/api/jpp/invoices/ID", "/i/ID", "/ws/jpp/invoice/ID/"] {
            assert_eq!(server.get(&path.replace("ID", id)).await.expect(404), not_found, "{path} {id}");
        }
        for path in ["/jpp/invoices/ID/verify/", "/jpp/invoices/ID/pay", "/i/ID/pay", "/i/ID/verify"] {
            let answer = server.post(&path.replace("ID", id), &json!({"raw_tx_hex": "00"})).await;
            assert_eq!(answer.expect(404), not_found, "{path} {id}");
        }
    }
    for path in ["/", "/jpp/invoice", "/i", "/i/", "/healthz", "/jpp/invoices/x/y/z", "/metrics"] {
        assert_eq!(server.get(path).await.expect(404), not_found, "{path}");
    }
}

#[tokio::test]
async fn methods() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let reads = "GET, HEAD, OPTIONS";
    let both = "GET, HEAD, POST, OPTIONS";
    let writes = "POST, OPTIONS";
    let table = [
        ("GET", "/jpp/invoices/".to_owned(), writes),
        ("HEAD", "/jpp/invoices".to_owned(), writes),
        ("PUT", "/api/jpp/invoices/".to_owned(), writes),
        ("GET", format!("/jpp/invoices/{id}/verify/"), writes),
        ("GET", format!("/jpp/invoices/{id}/pay/"), writes),
        ("GET", format!("/i/{id}/pay"), writes),
        ("DELETE", format!("/jpp/invoices/{id}/cancel"), writes),
        ("DELETE", format!("/jpp/invoices/{id}"), both),
        ("PUT", format!("/jpp/i/bitpay/{id}/"), both),
        ("BREW", format!("/i/{id}"), both),
        ("POST", format!("/i/{id}/qr.svg"), reads),
        ("POST", format!("/ws/jpp/invoice/{id}/"), reads),
    ];
    for (method, path, allow) in table {
        let answer = server.call(method, &path, &[], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
        if method != "HEAD" {
            assert_eq!(answer.json(), json!({"detail": format!("Method \"{method}\" not allowed.")}));
        }
    }
    let answer = server.call("HEAD", &format!("/jpp/invoices/{id}/"), &[], b"").await;
    let whole = server.get(&format!("/jpp/invoices/{id}/")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("content-length"), whole.header("content-length"));
}

#[tokio::test]
async fn headers_of_every_answer() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    for path in [format!("/i/{id}"), "/i/zzz".to_owned(), "/jpp/invoices/".to_owned(), "/nowhere".to_owned()]
    {
        let answer = server.call("GET", &path, &[("Origin", "https://shop.example")], b"").await;
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("content-type", "application/json; charset=utf-8"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert_eq!(answer.header("x-request-id").map(str::len), Some(32), "{path}");
    }
    let given = [("X-Request-Id", "abc-123")];
    assert_eq!(server.call("GET", "/jpp/", &given, b"").await.header("x-request-id"), Some("abc-123"));
    let long = "x".repeat(65);
    for unfit in ["a b", long.as_str()] {
        let answer = server.call("GET", "/jpp/", &[("X-Request-Id", unfit)], b"").await;
        assert_eq!(answer.header("x-request-id").map(str::len), Some(32), "{unfit}");
    }
}

#[tokio::test]
async fn preflight() {
    let server = Setup::new().start().await;
    let headers = [
        ("Origin", "https://shop.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type,x-paypro-version,x-wallet"),
    ];
    for path in ["/jpp/invoices/", "/i/zzz", "/nowhere"] {
        let answer = server.call("OPTIONS", path, &headers, b"").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET,POST,OPTIONS"));
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some("content-type,x-paypro-version,x-wallet")
        );
    }
}
