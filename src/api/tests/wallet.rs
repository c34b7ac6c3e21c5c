//! The one URL: which dialect answers, each document word for word, and what is said when there is none.

use serde_json::{Value, json};

use super::{
    Server, Setup, address, asking,
    client::{Answer, bearer},
    hex_of,
    node::Node,
    paying, script,
};
use crate::bch::{Address, Network, Transaction};

const OPTIONS: &str = "application/payment-options";
const REQUEST: &str = "application/payment-request";
const BIP70: &str = "application/bitcoincash-paymentrequest";

impl Server {
    async fn accept(&self, path: &str, accept: &str) -> Answer {
        self.call("GET", path, &[("Accept", accept)], b"").await
    }

    async fn send_as(&self, path: &str, content_type: &str, body: &Value) -> Answer {
        self.call("POST", path, &[("Content-Type", content_type)], body.to_string().as_bytes()).await
    }
}

/// The coin that a transaction with these outputs spends, in BCH.
fn coin_for(outputs: u64) -> String {
    format!("0.{:08}", outputs + 400)
}

/// Every path of an invoice.
fn paths(id: &str) -> Vec<String> {
    let mounts = [
        "/i",
        "/jpp/i",
        "/jpp/i/bitpay",
        "/jpp/invoices",
        "/api/jpp/i",
        "/api/jpp/i/bitpay",
        "/api/jpp/invoices",
    ];
    mounts.iter().flat_map(|mount| [format!("{mount}/{id}"), format!("{mount}/{id}/")]).collect()
}

#[tokio::test]
async fn the_documents_of_jpp_word_for_word() {
    let server = Setup::new().start().await;
    let outputs = json!([{"address": address(1), "amount": 1000}, {"address": address(2), "amount": 2500, "description": "tea"}]);
    let body = json!({"outputs": outputs, "memo": "K\u{e4}se", "required_fee_per_byte": 1.1});
    let id = server.create(&body).await;
    let head = format!(
        r#""time":"2026-11-23T02:43:49.099Z","expires":"2026-11-23T03:13:49.099Z","memo":"K\u00e4se","paymentUrl":"https://pay.example/i/{id}","paymentId":"{id}""#
    );
    let outputs = format!(
        r#""outputs":[{{"amount":1000,"address":"{}"}},{{"amount":2500,"address":"{}","description":"tea"}}]"#,
        address(1),
        address(2)
    );
    let options = format!(
        r#"{{{head},"paymentOptions":[{{"chain":"BCH","currency":"BCH","network":"regtest","estimatedAmount":3500,"requiredFeeRate":1.1,"minerFee":0,"decimals":8,"selected":true}}]}}"#
    );
    let request = format!(
        r#"{{{head},"chain":"BCH","currency":"BCH","network":"regtest","instructions":[{{"type":"transaction","requiredFeeRate":1.1,"requiredFeePerByte":1.1,{outputs}}}]}}"#
    );
    let request_v1 = format!(
        r#"{{"network":"regtest","currency":"BCH","requiredFeeRate":1.1,"requiredFeePerByte":1.1,{outputs},{head}}}"#
    );
    for path in paths(&id) {
        for (answer, expected) in [
            (server.accept(&path, OPTIONS).await, &options),
            (server.accept(&path, REQUEST).await, &request_v1),
            (server.send_as(&path, REQUEST, &json!({"chain": "bch"})).await, &request),
        ] {
            assert_eq!((answer.status, &answer.body), (200, expected), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        }
    }
}

#[tokio::test]
async fn an_invoice_without_a_memo_has_one_for_wallets() {
    let server = Setup::new().start().await;
    let silent = json!({"outputs": [{"address": address(2), "amount": 1000}], "memo": ""});
    for body in [asking(1, 1000), silent] {
        let id = server.create(&body).await;
        let document = server.accept(&format!("/i/{id}"), OPTIONS).await.expect(200);
        assert_eq!(document["memo"], format!("Payment of invoice {id}"));
        assert_eq!(document["paymentOptions"][0]["requiredFeeRate"], json!(1));
    }
}

#[tokio::test]
async fn tokens_stand_in_the_outputs() {
    let server = Setup::new().start().await;
    let token = json!({"category": "ab".repeat(32), "amount": "9007199254740993", "nft": {"capability": "none", "commitment": ""}});
    let aware = Address::of_script(&script(3), Network::Regtest).unwrap().with_token_awareness(true);
    let id = server
        .create(&json!({"outputs": [{"address": aware.to_string(), "amount": 1000, "token": token}]}))
        .await;
    let path = format!("/i/{id}");
    let expected = json!([{"amount": 1000, "address": aware.to_string(), "token": token}]);
    assert_eq!(server.accept(&path, REQUEST).await.expect(200)["outputs"], expected);
    let request = server.send_as(&path, REQUEST, &json!({"chain": "BCH"})).await.expect(200);
    assert_eq!(request["instructions"][0]["outputs"], expected);
    // BIP70 has no field for them.
    let answer = server.accept(&path, BIP70).await;
    let text = "This invoice asks for CashTokens; open it in a token wallet";
    assert_eq!((answer.status, answer.body.as_str()), (400, text));
    assert!(text.len() < 100 && !text.contains('<'), "one wallet shows no more");
}

#[tokio::test]
async fn the_document_of_bip70_byte_for_byte() {
    let server = Setup::new().start().await;
    let id =
        server.create(&json!({"outputs": [{"address": address(1), "amount": 1000}], "memo": "hi"})).await;
    let output = [&[0x08, 0xe8, 0x07, 0x12, 25][..], script(1).as_bytes()].concat();
    let url = format!("https://pay.example/i/{id}");
    let mut details = b"\x0a\x07regtest\x12".to_vec();
    details.push(u8::try_from(output.len()).unwrap());
    details.extend(output);
    details.extend(b"\x18\xe5\xd0\x8e\xd8\x06\x20\xed\xde\x8e\xd8\x06\x2a\x02hi\x32");
    details.push(u8::try_from(url.len()).unwrap());
    details.extend(url.as_bytes());
    details.extend([0x3a, 40]);
    details.extend(format!("invoice:{id}").into_bytes());
    details.extend(b"\x45\x00\x00\x80\x3f");
    let mut expected = b"\x08\x01\x12\x04none\x22".to_vec();
    expected.push(u8::try_from(details.len()).unwrap() | 0x80);
    expected.push(1);
    expected.extend(details);
    for path in paths(&id) {
        let answer = server.accept(&path, BIP70).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(hex::encode(&answer.bytes), hex::encode(&expected), "{path}");
        assert_eq!(answer.header("content-type"), Some(BIP70), "one wallet compares it to the letter");
        assert_eq!(answer.header("content-transfer-encoding"), Some("binary"));
    }
}

#[tokio::test]
async fn which_dialect_answers() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let path = format!("/i/{id}");
    let kind = |answer: &Answer| {
        let text = &answer.body;
        let marks = [
            ("paymentOptions", "options"),
            ("\"requiredFeePerByte\"", "v1"),
            ("payment_id", "invoice"),
            ("<!DOCTYPE html>", "page"),
        ];
        let found = marks.iter().find(|(mark, _)| text.contains(mark)).map(|(_, kind)| *kind);
        found.unwrap_or(if answer.header("content-type") == Some(BIP70) { "bip70" } else { "none" })
    };
    let v2 = ("x-paypro-version", "2");
    let table: [(&[(&str, &str)], &str); 13] = [
        (&[], "invoice"),
        (&[("Accept", "*/*")], "invoice"),
        (&[("Accept", "application/json, text/plain, */*")], "invoice"),
        (&[("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")], "page"),
        (&[("Accept", "text/html")], "page"),
        (&[("Accept", "application/payment-options"), v2], "options"),
        (&[("Accept", "Application/Payment-Options; q=0.5")], "options"),
        (&[("Accept", "*/*"), v2], "options"),
        (&[v2], "options"),
        (&[("Accept", "application/payment-request")], "v1"),
        (&[("Accept", "application/payment-request"), ("BP_PARTNER", "ELECTRONCASH")], "v1"),
        (&[("Accept", BIP70), ("Content-Type", "application/octet-stream")], "bip70"),
        (
            &[("Accept", "application/bitcoincash-paymentrequest, application/bitcoincash-paymentack")],
            "bip70",
        ),
    ];
    for (headers, expected) in table {
        let answer = server.call("GET", &path, headers, b"").await;
        assert_eq!((answer.status, kind(&answer)), (200, expected), "{headers:?}");
    }
    for accept in [
        "application/xhtml+xml",
        "application/simpleledger-paymentrequest",
        "application/payment-options;q=0",
    ] {
        let answer = server.accept(&path, accept).await;
        assert_eq!(answer.status, 406, "{accept}");
        assert!(
            answer.body.len() < 100 && answer.header("content-type") == Some("text/plain; charset=utf-8")
        );
    }
    let answer = server.call("PUT", &path, &[], b"").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, POST, OPTIONS")));
}

#[tokio::test]
async fn what_is_wrong_comes_as_text_or_as_json() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let path = format!("/i/{id}");
    let gone = "This invoice was not found or has been archived";
    for unknown in ["/i/2c442fff579b4dee995e4640c452258c", "/jpp/i/zzz/", "/api/jpp/i/bitpay/%ff", "/i/%00"] {
        for accept in [OPTIONS, REQUEST, BIP70] {
            let answer = server.accept(unknown, accept).await;
            assert_eq!((answer.status, answer.body.as_str()), (404, gone), "{unknown} {accept}");
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        }
        let answer = server.send_as(unknown, "application/payment", &json!({})).await;
        assert_eq!((answer.status, answer.body.as_str()), (404, gone));
    }
    let unsupported = "Unsupported Content-Type for payment";
    for content_type in
        ["application/json", "text/plain", "application/simpleledger-payment", "application/bitcoin-payment"]
    {
        let answer = server.send_as(&path, content_type, &json!({})).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, unsupported), "{content_type}");
    }
    let headers = [("Content-Type", "text/plain"), ("Accept", "application/json, text/plain, */*")];
    let answer = server.call("POST", &path, &headers, b"{}").await;
    let expected = json!({
        "msg": unsupported, "error": unsupported, "message": unsupported, "code": "unsupported_content_type",
    });
    assert_eq!(answer.expect(400), expected);
}

#[tokio::test]
async fn what_must_not_be_paid_is_not_shown_to_wallets() {
    let node = Node::start(&coin_for(1000));
    let server = Setup::new().with_node(&node).start().await;
    let paid = server.create(&asking(1, 1000)).await;
    server
        .post(&format!("/i/{paid}/pay"), &json!({"raw_tx_hex": hex_of(&paying(7, &[(1, 1000)]))}))
        .await
        .expect(200);
    let shop = bearer("shop-key");
    let shop: &[(&str, &str)] = &[(shop.0, &shop.1)];
    let cancelled = server.post_with("/jpp/invoices/", shop, &asking(2, 1000)).await.expect(201);
    let cancelled = cancelled["payment_id"].as_str().unwrap().to_owned();
    server.post_with(&format!("/jpp/invoices/{cancelled}/cancel"), shop, &json!({})).await.expect(200);
    let expired = server.create(&asking(3, 1000)).await;
    server.world.move_clock(1801);
    for (id, why) in
        [(paid, "it is already paid"), (cancelled, "it was cancelled"), (expired, "it has expired")]
    {
        let path = format!("/i/{id}");
        let text = format!("Invoice no longer accepting payments: {why}");
        let answers = [
            server.accept(&path, OPTIONS).await,
            server.accept(&path, REQUEST).await,
            server.accept(&path, BIP70).await,
            server.send_as(&path, REQUEST, &json!({"chain": "BCH"})).await,
        ];
        for answer in answers {
            assert_eq!((answer.status, answer.body.as_str()), (400, text.as_str()));
        }
        assert_eq!(server.get(&path).await.status, 200, "the invoice itself is shown");
    }
}

#[tokio::test]
async fn a_payment_in_every_dialect_of_json() {
    let node = Node::start(&coin_for(1000));
    let server = Setup::new().with_node(&node).start().await;
    let mut coin = 0;
    let mut invoice = async || {
        coin += 1;
        let id = server.create(&asking(coin, 1000)).await;
        (format!("/i/{id}"), hex_of(&paying(coin, &[(coin, 1000)])))
    };
    // v2, as most wallets send it.
    let (path, tx) = invoice().await;
    let body = json!({"chain": "BCH", "currency": "BCH", "transactions": [{"tx": tx, "weightedSize": 192}]});
    let expected = |memo: &str| {
        json!({
            "payment": {"chain": "BCH", "currency": "BCH", "transactions": [{"tx": tx, "weightedSize": 192}]}, "memo": memo,
        })
    };
    let verified = server.send_as(&path, "application/payment-verification", &body).await;
    assert_eq!(verified.expect(200), expected("Payment appears valid"));
    assert_eq!(node.sent(), Vec::<String>::new());
    for _ in 0..2 {
        let paid = server.send_as(&path, "application/payment", &body).await;
        assert_eq!(paid.expect(200), expected("Transaction received"), "and the same again");
    }
    assert_eq!(node.sent(), std::slice::from_ref(&tx));
    assert_eq!(server.get(&path).await.expect(200)["via"], "jpp");

    // v2 without a currency and without a size.
    let (path, tx) = invoice().await;
    let body = json!({"chain": "BCH", "transactions": [{"tx": tx}]});
    let paid = server.send_as(&path, "application/payment", &body).await.expect(200);
    assert_eq!(paid["payment"]["transactions"], json!([{"tx": tx}]));
    assert!(paid["memo"].as_str().is_some_and(|memo| !memo.is_empty()));

    // v1. What was submitted comes back to the letter, in capitals too.
    let (path, tx) = invoice().await;
    let tx = tx.to_uppercase();
    let body = json!({"currency": "BCH", "unsignedTransaction": tx, "weightedSize": 192});
    let verified = server.send_as(&path, "application/verify-payment", &body).await;
    let expected = json!({
        "payment": {"currency": "BCH", "unsignedTransaction": tx, "weightedSize": 192}, "memo": "Payment appears valid",
    });
    assert_eq!(verified.expect(200), expected);
    let paid =
        server.send_as(&path, "application/payment", &json!({"currency": "BCH", "transactions": [tx]})).await;
    assert_eq!(paid.expect(200), json!({"payment": {"transactions": [tx]}, "memo": "Transaction received"}));
}

#[tokio::test]
async fn bodies_of_jpp_that_are_none() {
    let node = Node::start(&coin_for(1000));
    let server = Setup::new().with_node(&node).start().await;
    let id = server.create(&asking(1, 1000)).await;
    let path = format!("/i/{id}");
    let unreadable = "We were unable to parse your payment. Please try again or contact your wallet provider";
    let one = "Request must include exactly one (1) transaction";
    let not_hex = "Your transaction was an in an invalid format, it must be a hexadecimal string";
    let other = "This invoice is priced in BCH, not BTC. Please try with a BCH wallet instead";
    let tx = hex_of(&paying(1, &[(1, 1000)]));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let table = [
        ("application/payment", "".to_owned(), unreadable),
        ("application/payment", "null".to_owned(), unreadable),
        ("application/payment", "{".to_owned(), unreadable),
        ("application/payment", deep, unreadable),
        ("application/payment", "{\"transactions\":[\"\\ud800\"]}".to_owned(), unreadable),
        (
            "application/payment",
            format!("{{\"transactions\":[\"{tx}\"],\"transactions\":[\"{tx}\"]}}"),
            unreadable,
        ),
        ("application/payment", "\u{0}".to_owned(), unreadable),
        ("application/payment", json!({"chain": "BCH"}).to_string(), unreadable),
        ("application/payment", json!({"chain": 7, "transactions": [tx]}).to_string(), unreadable),
        ("application/payment", json!({"transactions": {"tx": tx}}).to_string(), unreadable),
        ("application/payment", json!({"transactions": []}).to_string(), one),
        ("application/payment", json!({"transactions": [tx, tx]}).to_string(), one),
        ("application/payment", json!({"transactions": [1e3]}).to_string(), not_hex),
        ("application/payment", json!({"transactions": [{"tx": null}]}).to_string(), not_hex),
        ("application/payment", json!({"transactions": [{}]}).to_string(), not_hex),
        ("application/payment", json!({"transactions": ["abc"]}).to_string(), not_hex),
        ("application/payment", json!({"transactions": ["zz"]}).to_string(), not_hex),
        ("application/payment", json!({"transactions": ["\u{0}"]}).to_string(), not_hex),
        ("application/payment", json!({"chain": "BTC", "transactions": [tx]}).to_string(), other),
        ("application/payment-verification", json!({"transactions": []}).to_string(), one),
        ("application/payment-request", "{}".to_owned(), "The request must name a chain: BCH"),
        ("application/payment-request", json!({"chain": "btc"}).to_string(), other),
        ("application/payment-request", "[]".to_owned(), unreadable),
        ("application/verify-payment", json!({"currency": "BCH"}).to_string(), unreadable),
        ("application/verify-payment", json!({"unsignedTransaction": 1}).to_string(), not_hex),
        (
            "application/verify-payment",
            json!({"currency": "btc", "unsignedTransaction": tx}).to_string(),
            other,
        ),
    ];
    for (content_type, body, expected) in table {
        let answer = server.call("POST", &path, &[("Content-Type", content_type)], body.as_bytes()).await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!((answer.status, answer.body.as_str()), (400, expected), "{content_type} {shown}");
    }
    assert_eq!(node.sent(), Vec::<String>::new());
    let large = vec![b' '; (1 << 20) + 1];
    let answer = server.call("POST", &path, &[("Content-Type", "application/payment")], &large).await;
    assert_eq!(answer.status, 413, "{answer:?}");
}

#[tokio::test]
async fn inputs_have_a_status_code_of_their_own_in_jpp() {
    let node = Node::start("0.00000990");
    let server = Setup::new().with_node(&node).start().await;
    let id = server.create(&asking(1, 1000)).await;
    let path = format!("/i/{id}");
    let tx = paying(1, &[(1, 1000)]);
    let text = "Total input 990 satoshis is less than total output 1000 satoshis";
    let answer = server.send_as(&path, "application/payment", &json!({"transactions": [hex_of(&tx)]})).await;
    assert_eq!((answer.status, answer.body.as_str()), (422, text));
    let headers = [
        ("Content-Type", "application/bitcoincash-payment"),
        ("Accept", "application/bitcoincash-paymentack"),
    ];
    let body = [&[0x12, u8::try_from(tx.raw().len()).unwrap() | 0x80, 1][..], tx.raw()].concat();
    let answer = server.call("POST", &path, &headers, &body).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (400, text),
        "BIP70: whatever a payer should read is 400"
    );
}

#[tokio::test]
async fn a_payment_of_bip70_comes_back_byte_for_byte() {
    let node = Node::start(&coin_for(1000));
    let server = Setup::new().with_node(&node).start().await;
    let id = server.create(&asking(1, 1000)).await;
    let path = format!("/i/{id}");
    let tx = paying(1, &[(1, 1000)]);
    let length = |bytes: &[u8]| {
        [u8::try_from(bytes.len() & 0x7f).unwrap() | 0x80, u8::try_from(bytes.len() >> 7).unwrap()]
    };
    // A field that nobody knows, a refund to no address, one of an amount of 0, a memo.
    let refund = [&[0x0a + 8, 2][..], b"\x51\x52"].concat();
    let payment = [
        b"\x0a\x03mer".as_slice(),
        &[0x12],
        &length(tx.raw()),
        tx.raw(),
        &[0x1a, u8::try_from(refund.len()).unwrap()],
        &refund,
        &[0x1a, 29, 0x08, 0x00, 0x12, 25],
        script(9).as_bytes(),
        b"\x22\x06thanks",
        b"\xa2\x06\x02??",
    ]
    .concat();
    let content_type =
        [("Content-Type", "application/bitcoincash-payment"), ("Content-Transfer-Encoding", "binary")];
    let memo = b"Thank you, the payment was received";
    let expected =
        [&[0x0a], &length(&payment)[..], &payment, &[0x12, u8::try_from(memo.len()).unwrap()], memo].concat();
    for _ in 0..2 {
        let answer = server.call("POST", &path, &content_type, &payment).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(hex::encode(&answer.bytes), hex::encode(&expected));
        assert_eq!(answer.header("content-type"), Some("application/bitcoincash-paymentack"));
    }
    let invoice = server.get(&path).await.expect(200);
    assert_eq!(invoice["via"], "bip70");
    assert_eq!(
        invoice["payment"]["refund_to"],
        json!([
            {"amount": null, "address": null, "description": null, "script": "5152"},
            {"amount": null, "address": address(9), "description": null},
        ])
    );
    assert_eq!(invoice["payment"]["memo"], "thanks");
}

#[tokio::test]
async fn a_payment_of_bip70_may_have_several_transactions() {
    let node = Node::start(&coin_for(1000));
    let server = Setup::new().with_node(&node).start().await;
    let outputs = json!([asking(1, 1000)["outputs"][0], asking(2, 1000)["outputs"][0]]);
    let id = server.create(&json!({"outputs": outputs})).await;
    let transactions = [paying(1, &[(1, 1000)]), paying(2, &[(2, 1000)])];
    let field = |tx: &Transaction| {
        let length = tx.raw().len();
        [
            &[0x12, u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()],
            &tx.raw()[..],
        ]
        .concat()
    };
    let headers = [("Content-Type", "application/bitcoincash-payment")];
    let path = format!("/i/{id}");
    let alone = server.call("POST", &path, &headers, &field(&transactions[0])).await;
    assert_eq!(alone.status, 400, "one of them pays half: {alone:?}");
    let payment: Vec<u8> = transactions.iter().flat_map(field).collect();
    let answer = server.call("POST", &path, &headers, &payment).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(node.sent(), transactions.each_ref().map(hex_of));
    assert_eq!(server.get(&path).await.expect(200)["status"], "paid");
    let many = field(&transactions[0]).repeat(40_000 / transactions[0].raw().len());
    let answer = server.call("POST", &path, &headers, &many).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn a_verification_of_bip70_in_both_spellings() {
    let node = Node::start(&coin_for(1000));
    let server = Setup::new().with_node(&node).start().await;
    let id = server.create(&asking(1, 1000)).await;
    let tx = paying(1, &[(1, 1000)]);
    let length =
        [u8::try_from(tx.raw().len() & 0x7f).unwrap() | 0x80, u8::try_from(tx.raw().len() >> 7).unwrap()];
    let body = [&[0x0a][..], &length, tx.raw(), &[0x10, 0xc0, 0x01]].concat();
    for spelling in ["verify-payment", "verifypayment"] {
        let content_type = format!("application/bitcoincash-{spelling}");
        let answer =
            server.call("POST", &format!("/i/{id}"), &[("Content-Type", &content_type)], &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("Payment appears valid"));
    }
    assert_eq!(node.sent(), Vec::<String>::new());
}

#[tokio::test]
async fn protobuf_that_is_none() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let unreadable = "We were unable to parse your payment. Please try again or contact your wallet provider";
    let table: [(&[u8], &str); 6] = [
        (b"\xff", unreadable),
        (b"\x12\x05\x00", unreadable),
        (b"\x10\x01", unreadable),
        (b"\x22\x01\xff", "There is no transaction in your payment"),
        (b"", "There is no transaction in your payment"),
        (b"\x12\x01\x00", "unable to parse the transaction"),
    ];
    for (body, expected) in table {
        let headers = [("Content-Type", "application/bitcoincash-payment")];
        let answer = server.call("POST", &format!("/i/{id}"), &headers, body).await;
        assert_eq!(answer.status, 400, "{body:?} {answer:?}");
        assert!(answer.body.contains(expected), "{body:?} {answer:?}");
    }
}

#[tokio::test]
async fn uris_and_their_codes() {
    let server = Setup::new().start().await;
    let one = server.create(&asking(1, 123_456)).await;
    let two = server
        .create(&json!({"outputs": [asking(2, 1000)["outputs"][0], asking(3, 1000)["outputs"][0]]}))
        .await;
    let invoice = server.invoice(&one).await;
    let payment_uri = format!("bchreg:?r=https://pay.example/i/{one}");
    let bip21_uri = format!("{}?amount=0.00123456&r=https://pay.example/i/{one}", address(1));
    assert_eq!((&invoice["payment_uri"], &invoice["bip21_uri"]), (&json!(payment_uri), &json!(bip21_uri)));
    assert_eq!(server.invoice(&two).await["bip21_uri"], Value::Null);
    for (kind, content_type, start) in
        [("svg", "image/svg+xml", &b"<svg "[..]), ("png", "image/png", b"\x89PNG\r\n")]
    {
        for (id, query, status) in [
            (&one, "", 200),
            (&one, "?uri=bip21", 200),
            (&two, "", 200),
            (&two, "?uri=bip21", 400),
            (&one, "?uri=rest", 400),
            (&one, "?uri=x", 400),
        ] {
            let answer = server.get(&format!("/i/{id}/qr.{kind}{query}")).await;
            assert_eq!(answer.status, status, "{kind} {query}");
            if status == 200 {
                assert_eq!(answer.header("content-type"), Some(content_type));
                assert!(answer.bytes.starts_with(start));
            }
        }
    }
    assert_eq!(server.get("/i/zzz/qr.svg").await.status, 404);
}

/// The address of somebody, in the type that says whether the owner's wallet knows tokens.
fn typed(tag: u8, token_aware: bool) -> String {
    let address = Address::of_script(&script(tag), Network::Regtest).unwrap();
    address.with_token_awareness(token_aware).to_string()
}

#[tokio::test]
async fn the_type_of_an_address_follows_the_output_for_wallets_and_its_creator_in_rest() {
    let server = Setup::new().start().await;
    let token = json!({"category": "ab".repeat(32), "amount": 5});
    // Each output in both types: (written, whether it asks for a token).
    let written =
        [(typed(1, true), false), (typed(2, false), false), (typed(3, false), true), (typed(4, true), true)];
    let outputs: Vec<Value> = written
        .iter()
        .map(|(address, has_token)| {
            let mut output = json!({"address": address, "amount": 2000});
            if *has_token {
                output["token"] = token.clone();
            }
            output
        })
        .collect();
    let id = server.create(&json!({ "outputs": outputs })).await;
    let addresses = |outputs: &Value| -> Vec<String> {
        outputs.as_array().unwrap().iter().map(|o| o["address"].as_str().unwrap().to_owned()).collect()
    };
    let as_written: Vec<String> = written.iter().map(|(address, _)| address.clone()).collect();
    assert_eq!(addresses(&server.invoice(&id).await["outputs"]), as_written);
    let for_wallets = [typed(1, false), typed(2, false), typed(3, true), typed(4, true)];
    let path = format!("/i/{id}");
    let v1 = server.call("GET", &path, &[("Accept", "application/payment-request")], b"").await;
    assert_eq!(addresses(&v1.expect(200)["outputs"]), for_wallets);
    let selection = [("Content-Type", "application/payment-request"), ("x-paypro-version", "2")];
    let v2 = server.call("POST", &path, &selection, br#"{"chain":"BCH"}"#).await;
    assert_eq!(addresses(&v2.expect(200)["instructions"][0]["outputs"]), for_wallets);
    let html = server.accept(&path, "text/html").await.body;
    for ((written, _), shown) in written.iter().zip(&for_wallets) {
        assert!(html.contains(shown.as_str()), "{shown}");
        assert!(written == shown || !html.contains(written.as_str()), "{written}");
    }

    // The URIs and their codes, whole and for the rest.
    let plain = server.create(&json!({"outputs": [{"address": typed(5, true), "amount": 5000}]})).await;
    let whole = format!("{}?amount=0.00005&r=https://pay.example/i/{plain}", typed(5, false));
    assert_eq!(server.invoice(&plain).await["bip21_uri"], json!(whole));
    let code = server.get(&format!("/i/{plain}/qr.svg?uri=bip21")).await;
    assert_eq!(code.bytes, crate::api::qr::svg(&whole).unwrap());
    server.world.observe(&paying(9, &[(5, 2000)])).await;
    let rest = format!("{}?amount=0.00003", typed(5, false));
    let code = server.get(&format!("/i/{plain}/qr.svg?uri=rest")).await;
    assert_eq!(code.bytes, crate::api::qr::svg(&rest).unwrap());
}
