//! Creations: what is taken, what is refused and in which words, who may, and repetitions.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Setup, address, asking, client::bearer, script};
use crate::{
    bch::{Address, FeeRate, Network, ScriptBuf},
    engine::Storage as _,
    invoice::Merchant,
    ledger::{
        Changes, Reads, Rules, SharedOutputs,
        tables::{Idempotency, IdempotencyRecord},
    },
};

fn with(field: &str, value: Value) -> Value {
    let mut body = asking(1, 1000);
    body[field] = value;
    body
}

fn with_output(field: &str, value: Value) -> Value {
    let mut body = asking(1, 1000);
    body["outputs"][0][field] = value;
    body
}

fn of_output(field: &str, text: &str) -> Value {
    json!({"outputs": [{field: [text]}]})
}

fn with_token(token: Value) -> Value {
    with_output("token", token)
}

fn of_token(complaint: Value) -> Value {
    json!({"outputs": [{"token": complaint}]})
}

type Headers<'a> = &'a [(&'a str, &'a str)];

const REQUIRED: &str = "This field is required.";
const INTEGER: &str = "A valid integer is required.";
const NULL: &str = "This field may not be null.";

#[tokio::test]
async fn every_error() {
    let server = Setup::new().with(|settings| settings.max_outputs = 3).start().await;
    let category = "ab".repeat(32);
    let of_main = Address::of_script(&script(1), Network::Main).unwrap().to_string();
    let nft = |commitment: Value| json!({"category": category, "amount": 0, "nft": {"capability": "none", "commitment": commitment}});
    let output = |tag: u8, amount: u64| json!({"address": address(tag), "amount": amount});
    let max = 2_100_000_000_000_000_u64;
    let at_least_1 = "Ensure this value is greater than or equal to 1.";
    let at_most = format!("Ensure this value is less than or equal to {max}.");
    let is_dust = |limit: u64, with: &str| {
        format!(
            "Ensure this value is at least {limit}: an output to this address{with} with less is dust, and is not relayed."
        )
    };
    let table = [
        (json!({}), json!({"outputs": [REQUIRED]})),
        (json!({"outputs": null}), json!({"outputs": [NULL]})),
        (json!({"outputs": []}), json!({"non_field_errors": ["must have at least 1 output"]})),
        (
            json!({"outputs": "x"}),
            json!({"outputs": {"non_field_errors": ["Expected a list of items but got type \"str\"."]}}),
        ),
        (
            json!({"outputs": [output(1, 1000), 7]}),
            json!({"outputs": [{}, {"non_field_errors": ["Invalid data. Expected a dictionary, but got int."]}]}),
        ),
        (
            json!({"outputs": (1..=4).map(|tag| output(tag, 1000)).collect::<Vec<_>>()}),
            json!({"non_field_errors": ["must have at most 3 outputs"]}),
        ),
        (
            json!({"outputs": [output(1, max), output(2, 1000)]}),
            json!({"non_field_errors": [format!("must not ask for more than {max} satoshis in all")]}),
        ),
        (json!({"outputs": [{}]}), json!({"outputs": [{"amount": [REQUIRED], "address": [REQUIRED]}]})),
        (with_output("amount", json!("x")), of_output("amount", INTEGER)),
        (with_output("amount", json!(1000.5)), of_output("amount", INTEGER)),
        (with_output("amount", json!(true)), of_output("amount", INTEGER)),
        (with_output("amount", json!(null)), of_output("amount", NULL)),
        (with_output("amount", json!(-5)), of_output("amount", at_least_1)),
        (with_output("amount", json!(0)), of_output("amount", at_least_1)),
        (with_output("amount", json!(max + 1)), of_output("amount", &at_most)),
        (with_output("amount", json!("9".repeat(40))), of_output("amount", &at_most)),
        (with_output("amount", json!(545)), of_output("amount", &is_dust(546, ""))),
        (with_output("address", json!("junk")), of_output("address", "not a Bitcoin Cash address")),
        (with_output("address", json!("")), of_output("address", "This field may not be blank.")),
        (with_output("address", json!([])), of_output("address", "Not a valid string.")),
        (with_output("address", json!("a\u{0}b")), of_output("address", "Null characters are not allowed.")),
        (
            with_output("address", json!(of_main)),
            of_output("address", "this address belongs to another network, not to regtest"),
        ),
        (
            with_output("description", json!("x".repeat(513))),
            of_output("description", "Ensure this field has no more than 512 characters."),
        ),
        (with_token(json!(null)), of_token(json!([NULL]))),
        (with_token(json!({})), of_token(json!({"category": [REQUIRED], "amount": [REQUIRED]}))),
        (
            with_token(json!({"category": category, "nft": {"capability": "none", "commitment": ""}})),
            of_token(json!({"amount": [REQUIRED]})),
        ),
        (
            with_token(json!({"category": "ab", "amount": 1})),
            of_token(json!({"category": ["Must be the 64 hexadecimal digits of a category."]})),
        ),
        (
            with_token(json!({"category": category, "amount": "9223372036854775808"})),
            of_token(json!({"amount": ["Ensure this value is less than or equal to 9223372036854775807."]})),
        ),
        (
            with_token(json!({"category": category, "amount": 0})),
            of_token(
                json!({"amount": ["Ensure this value is greater than or equal to 1, or ask for an NFT."]}),
            ),
        ),
        (
            with_token(json!({"category": category, "amount": 0, "nft": null})),
            of_token(json!({"nft": [NULL]})),
        ),
        (
            with_token(json!({"category": category, "amount": 0, "nft": {}})),
            of_token(json!({"nft": {"capability": [REQUIRED], "commitment": [REQUIRED]}})),
        ),
        (
            with_token(
                json!({"category": category, "amount": 0, "nft": {"capability": "all", "commitment": ""}}),
            ),
            of_token(
                json!({"nft": {"capability": ["\"all\" is not a valid choice: none, mutable or minting."]}}),
            ),
        ),
        (
            with_token(nft(json!("abc"))),
            of_token(json!({"nft": {"commitment": ["Must be hexadecimal digits, two for each byte."]}})),
        ),
        (
            with_token(nft(json!("00".repeat(129)))),
            of_token(json!({"nft": {"commitment": ["Ensure this field has no more than 128 bytes."]}})),
        ),
        (
            json!({"outputs": [{"address": address(1), "amount": 600, "token": {"category": category, "amount": 1}}]}),
            of_output("amount", &is_dust(651, " with this token")),
        ),
        (
            with("memo", json!("x".repeat(1025))),
            json!({"memo": ["Ensure this field has no more than 1024 characters."]}),
        ),
        (with("memo", json!(true)), json!({"memo": ["Not a valid string."]})),
        (
            with("merchant_data", json!("x".repeat(4095))),
            json!({"merchant_data": ["Ensure this field has no more than 4096 bytes of JSON."]}),
        ),
        (
            with("expires", json!("2026-11-23T02:43:49.099Z")),
            json!({"expires": ["Ensure this time is in the future."]}),
        ),
        (
            with("expires", json!("2026-11-24T02:43:49.100Z")),
            json!({"expires": ["Ensure this time is not after 2026-11-24T02:43:49.099Z."]}),
        ),
        (
            with("expires", json!("tomorrow")),
            json!({"expires": ["Datetime has wrong format: use RFC 3339, such as 2026-11-23T02:43:49.099Z."]}),
        ),
        (with("expires_in", json!(0)), json!({"expires_in": [at_least_1]})),
        (
            with("expires_in", json!(86401)),
            json!({"expires_in": ["Ensure this value is less than or equal to 86400."]}),
        ),
        (
            json!({"outputs": [output(1, 1000)], "expires": "2026-11-23T02:44:00Z", "expires_in": 60}),
            json!({"non_field_errors": ["give expires or expires_in, not both"]}),
        ),
        (
            with("zero_conf", json!({"min_score": 1.5, "wait_ms": -1})),
            json!({"zero_conf": {
                "wait_ms": ["Ensure this value is greater than or equal to 0."],
                "min_score": ["Must be a number from 0 to 1, with at most three decimals, such as 0.25."],
            }}),
        ),
        (
            with("zero_conf", json!({"wait_ms": 3_600_001})),
            json!({"zero_conf": {"wait_ms": ["Ensure this value is less than or equal to 3600000."]}}),
        ),
        (
            with("zero_conf", json!(true)),
            json!({"zero_conf": {"non_field_errors": ["Invalid data. Expected a dictionary, but got bool."]}}),
        ),
        (
            with("required_fee_per_byte", json!(1.0001)),
            json!({"required_fee_per_byte": ["Must be satoshis per byte from 0 to 1000, with at most three decimals, such as 1.0."]}),
        ),
        (
            with("confirmations_required", json!(101)),
            json!({"confirmations_required": ["Ensure this value is less than or equal to 100."]}),
        ),
        (
            json!({"outputs": [{"address": "junk", "amount": "x"}], "memo": [], "expires_in": "x"}),
            json!({
                "outputs": [{"amount": [INTEGER], "address": ["not a Bitcoin Cash address"]}],
                "memo": ["Not a valid string."],
                "expires_in": [INTEGER],
            }),
        ),
        (json!([]), json!({"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]})),
        (json!(null), json!({"non_field_errors": ["No data provided"]})),
    ];
    for (body, complaint) in table {
        assert_eq!(server.post("/jpp/invoices/", &body).await.expect(400), complaint, "{body}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_form() {
    let server = Setup::new().with_limits(|limits| limits.max_body_bytes = 2000).start().await;
    let json_type = [("Content-Type", "application/json")];
    let post = async |headers: &[(&str, &str)], body: &[u8]| {
        server.call("POST", "/jpp/invoices/", headers, body).await
    };
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(900), "]".repeat(900));
    for body in ["{", "{'a': 1}", "[1,]", "\u{0}", "{\"a\": \"\\ud800\"}", "NaN", &deep] {
        let detail = post(&json_type, body.as_bytes()).await.expect(400)["detail"].clone();
        assert!(detail.as_str().unwrap().starts_with("JSON parse error - "), "{detail}");
    }
    assert_eq!(post(&json_type, b"{\"memo\": \"\xff\"}").await.status, 400);
    assert_eq!(post(&[], b"").await.expect(400), json!({"outputs": [REQUIRED]}));
    for (given, shown) in [
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
        ("Text/Plain; charset=utf-8", "text/plain"),
        ("application/payment", "application/payment"),
        (";", ""),
    ] {
        let answer = post(&[("Content-Type", given)], b"a=1").await;
        let detail = format!("Unsupported media type \"{shown}\" in request.");
        assert_eq!(answer.expect(415), json!({"detail": detail}));
    }
    let good = asking(1, 1000).to_string();
    for (tag, content_type) in [
        (1, "application/json; charset=utf-8"),
        (2, "Application/Payment-Request"),
        (3, "application/payment-options;"),
    ] {
        let body = good.replace(&address(1), &address(tag));
        assert_eq!(post(&[("Content-Type", content_type)], body.as_bytes()).await.status, 201);
    }
    for length in [2001, 20_000, 31_000] {
        let answer = post(&json_type, &vec![b' '; length]).await;
        assert_eq!(answer.expect(413), json!({"detail": "the body has more than 2000 bytes."}));
    }
}

#[tokio::test]
async fn what_is_taken() {
    let server = Setup::new().start().await;
    let category = "08861899fe27bb1755d888781d4941e63c51da201233f0fcbd1585f405a894a6";
    let p2pkh = Address::of_script(&script(1), Network::Regtest).unwrap();
    let p2sh32 = Address::of_script(
        &ScriptBuf::from([&[0xaa, 0x20][..], &[5; 32], &[0x87]].concat()),
        Network::Regtest,
    )
    .unwrap();
    let p2sh = Address::of_script(
        &ScriptBuf::from([&[0xa9, 0x14][..], &[5; 20], &[0x87]].concat()),
        Network::Regtest,
    )
    .unwrap();
    let token_aware = p2pkh.with_token_awareness(true).to_string();
    let shown = p2pkh.to_string();
    let spellings = [
        (shown.clone(), shown.clone()),
        (shown.trim_start_matches("bchreg:").to_owned(), shown.clone()),
        (shown.to_uppercase(), shown.clone()),
        (format!(" {shown} "), shown.clone()),
        (token_aware.clone(), token_aware.clone()),
        (p2sh.to_string(), p2sh.to_string()),
        (p2sh32.to_string(), p2sh32.to_string()),
        (p2sh32.with_token_awareness(true).to_string(), p2sh32.with_token_awareness(true).to_string()),
    ];
    for (given, written) in spellings {
        let body = json!({"outputs": [{"address": given, "amount": "1000", "description": ""}]});
        let invoice = server.post("/jpp/invoices/", &body).await.expect(201);
        assert_eq!(invoice["outputs"], json!([{"amount": 1000, "address": written}]), "{given}");
    }

    let main = Setup::new().with(|settings| settings.network = Network::Main).start().await;
    let body = json!({"outputs": [{"address": "1PQPheJQSauxRPTxzNMUco1XmoCyPoEJCp", "amount": 1000}]});
    let written = "bitcoincash:qr6m7j9njldwwzlg9v7v53unlr4jkmx6eylep8ekg2";
    let invoice = main.post("/jpp/invoices/", &body).await.expect(201);
    assert_eq!((&invoice["network"], &invoice["outputs"][0]["address"]), (&json!("main"), &json!(written)));

    let tokens = [
        (json!({"category": category, "amount": 5}), json!({"category": category, "amount": 5})),
        (
            json!({"category": category.to_uppercase(), "amount": "9007199254740991"}),
            json!({"category": category, "amount": 9_007_199_254_740_991_u64}),
        ),
        (
            json!({"category": category, "amount": 9_007_199_254_740_992_u64}),
            json!({"category": category, "amount": "9007199254740992"}),
        ),
        (
            json!({"category": category, "amount": i64::MAX}),
            json!({"category": category, "amount": "9223372036854775807"}),
        ),
        (
            json!({"category": category, "amount": 0, "nft": {"capability": "minting", "commitment": ""}}),
            json!({"category": category, "amount": 0, "nft": {"capability": "minting", "commitment": ""}}),
        ),
        (
            json!({"category": category, "amount": "7", "nft": {"capability": "mutable", "commitment": "ABcd"}}),
            json!({"category": category, "amount": 7, "nft": {"capability": "mutable", "commitment": "abcd"}}),
        ),
    ];
    for (given, written) in tokens {
        // An address that does not say it understands tokens is taken as well.
        for address in [&token_aware, &shown] {
            let body = json!({"outputs": [{"address": address, "amount": 1000, "token": given, "description": "d"}]});
            let answer = server.post("/jpp/invoices/", &body).await;
            let invoice = answer.expect(201);
            let expected =
                json!([{"amount": 1000, "address": address, "description": "d", "token": written}]);
            assert_eq!(invoice["outputs"], expected);
            assert_eq!(
                invoice["outputs_standing"],
                json!([{"amount_paid": 0, "paid": false, "token_overpaid": 0}])
            );
        }
    }
}

#[tokio::test]
async fn the_fee_that_is_asked_is_never_below_what_the_node_relays() {
    let rate = |millisatoshis| FeeRate::from_millisatoshis(millisatoshis).unwrap();
    let table = [
        // configured, relayed if known, asked by the creator, what the invoice asks
        (0, None, json!(null), 1.0),
        (2000, None, json!(null), 2.0),
        (2000, None, json!(0.5), 0.5),
        (0, Some(1000), json!(null), 1.0),
        (0, Some(250), json!(null), 0.25),
        (0, Some(3000), json!(null), 3.0),
        (1000, Some(3000), json!(null), 3.0),
        (2000, Some(1000), json!(null), 2.0),
        (0, Some(1000), json!(1.5), 1.5),
        (0, Some(3000), json!(1.5), 3.0),
    ];
    for (configured, relayed, asked, expected) in table {
        let server = Setup::new().with(|settings| settings.fee_rate = rate(configured)).start().await;
        if let Some(relayed) = relayed {
            server.world.health.set_relay_fee(rate(relayed));
        }
        let mut body = asking(1, 1000);
        body["required_fee_per_byte"] = asked.clone();
        let created = server.post("/jpp/invoices/", &body).await.expect(201);
        let asks = &created["required_fee_per_byte"];
        assert_eq!(asks, &json!(expected), "{configured} {relayed:?} {asked}");
    }
}

#[tokio::test]
async fn the_new_fields() {
    let server = Setup::new().start().await;
    let table = [
        ("expires", json!("2026-11-23T02:43:49.100Z"), "expires", "\"2026-11-23T02:43:49.100Z\""),
        ("expires", json!("2026-11-23T04:43:49.0999+01:00"), "expires", "\"2026-11-23T03:43:49.099Z\""),
        ("expires", json!(null), "expires", "\"2026-11-23T03:13:49.099Z\""),
        ("expires_in", json!(60), "expires", "\"2026-11-23T02:44:49.099Z\""),
        ("expires_in", json!("86400"), "expires", "\"2026-11-24T02:43:49.099Z\""),
        ("required_fee_per_byte", json!(1.1), "required_fee_per_byte", "1.1"),
        ("required_fee_per_byte", json!(2), "required_fee_per_byte", "2.0"),
        ("required_fee_per_byte", json!("0.125"), "required_fee_per_byte", "0.125"),
        ("required_fee_per_byte", json!(null), "required_fee_per_byte", "1.0"),
        (
            "zero_conf",
            json!({"min_score": 0.25, "wait_ms": 3000}),
            "zero_conf",
            r#"{"min_score":0.25,"wait_ms":3000}"#,
        ),
        ("zero_conf", json!({"min_score": "1"}), "zero_conf", r#"{"min_score":1.0,"wait_ms":0}"#),
        ("zero_conf", json!({}), "zero_conf", r#"{"min_score":1.0,"wait_ms":0}"#),
        ("zero_conf", json!(null), "zero_conf", "null"),
        ("confirmations_required", json!(0), "confirmations_required", "0"),
        ("confirmations_required", json!(100), "confirmations_required", "100"),
        ("merchant_data", json!({"b": [1, "x"], "a": 1.50}), "merchant_data", r#"{"a":1.5,"b":[1,"x"]}"#),
        ("merchant_data", json!(false), "merchant_data", "false"),
        ("memo", json!(" Grüße "), "memo", "\"Grüße\""),
        ("memo", json!(""), "memo", "\"\""),
        ("memo", json!(12), "memo", "\"12\""),
        ("unknown", json!([[[]]]), "memo", "null"),
    ];
    for (tag, (field, value, shown, text)) in (1..).zip(table) {
        let mut body = asking(tag, 1000);
        body[field] = value;
        let answer = server.post("/jpp/invoices/", &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert!(answer.body.contains(&format!("\"{shown}\":{text}")), "{text}: {}", answer.body);
    }
    // Kept as it was written, white space and all; of two fields of one name the last holds.
    let body = format!(
        r#"{{"memo": 1, "merchant_data": {{ "b":1,  "a":1.0e2 }}, "outputs": [{{"address":"{}","amount":1000}}], "memo": "2"}}"#,
        address(99)
    );
    let answer =
        server.call("POST", "/jpp/invoices", &[("Content-Type", "application/json")], body.as_bytes()).await;
    assert!(answer.body.contains(r#""merchant_data":{ "b":1,  "a":1.0e2 }"#), "{}", answer.body);
    assert_eq!(answer.expect(201)["memo"], "2");
}

#[tokio::test]
async fn who_may_create() {
    let missing = "Authentication credentials were not provided.";
    for open in [true, false] {
        let server = Setup::new().with(|settings| settings.open_creation = open).start().await;
        let table: [(Headers, Result<Option<&str>, &str>); 6] = [
            (&[], if open { Ok(None) } else { Err(missing) }),
            (&[("Authorization", "Basic c2hvcA==")], if open { Ok(None) } else { Err(missing) }),
            (&[("Authorization", "Bearer shop-key")], Ok(Some("shop"))),
            (&[("authorization", "bearer shop-key")], Ok(Some("shop"))),
            (&[("Authorization", "Bearer wrong")], Err("Invalid token.")),
            (&[("Authorization", "Bearer")], Err("Invalid token header.")),
        ];
        for (tag, (headers, expected)) in (1..).zip(table) {
            let answer = server.post_with("/jpp/invoices/", headers, &asking(tag, 1000)).await;
            match expected {
                Ok(merchant) => {
                    assert_eq!(answer.expect(201).get("merchant").and_then(Value::as_str), merchant)
                }
                Err(detail) => {
                    assert_eq!(answer.expect(401), json!({"detail": detail}));
                    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"api\""));
                }
            }
        }
    }
}

#[tokio::test]
async fn the_same_request_again() {
    let server = Setup::new().start().await;
    let key = [("Idempotency-Key", "order-42")];
    let body = json!({
        "outputs": [{"address": address(1), "amount": 1000}], "expires": "2026-11-23T02:44:00Z", "merchant_data": 7,
    });
    let first = server.post_with("/jpp/invoices/", &key, &body).await;
    assert_eq!(first.status, 201);
    // Whatever has become of it, of the clock or of the node since.
    server.world.observe(&super::paying(9, &[(1, 1000)])).await;
    server.world.move_clock(3600);
    let again = server.post_with("/api/jpp/invoices", &key, &body).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    let other = server.post_with("/jpp/invoices/", &key, &asking(1, 1001)).await;
    let detail = json!({"detail": "This Idempotency-Key was used with another body."});
    assert_eq!(other.expect(409), detail);
    // Another merchant's key is another key.
    let (name, value) = bearer("shop-key");
    let of_shop = server.post_with("/jpp/invoices/", &[key[0], (name, &value)], &asking(2, 1000)).await;
    assert_eq!(of_shop.status, 201);
    let long = "x".repeat(256);
    for bad in ["", "a b", "ä", long.as_str()] {
        let answer = server.post_with("/jpp/invoices/", &[("Idempotency-Key", bad)], &asking(3, 1000)).await;
        assert_eq!(answer.status, 400, "{bad:?}");
    }
    // Many at once make one.
    let body = asking(4, 1000);
    let calls = (0..20).map(|_| server.post_with("/jpp/invoices/", &[("Idempotency-Key", "many")], &body));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status == 201 && answer.body == answers[0].body));
}

#[tokio::test]
async fn a_repetition_in_another_spelling_is_a_repetition() {
    let server = Setup::new().start().await;
    let key = [("Idempotency-Key", "order-42"), ("Content-Type", "application/json")];
    let call = async |body: &str| server.call("POST", "/jpp/invoices/", &key, body.as_bytes()).await;
    let sent = format!(r#"{{"outputs":[{{"address":"{}","amount":1000}}],"memo":"K\u00e4se"}}"#, address(1));
    let first = call(&sent).await;
    assert_eq!(first.status, 201, "{first:?}");
    let spelled = format!(
        "{{\n  \"memo\": \"K\u{e4}se\",\n  \"outputs\": [{{ \"amount\": 1.0e3, \"address\": \"{}\" }}]\n}}\n",
        address(1)
    );
    // The clock moved on, and the default of the expiry with it: what was sent is compared.
    server.world.move_clock(60);
    let again = call(&spelled).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(call(&sent.replace("1000", "1001")).await.status, 409);
    assert_eq!(call("{").await.status, 409, "what is no JSON is another body");

    // A record of an older version has the digest of the body as it was sent: that spelling alone repeats it.
    let known = (Merchant::anyone(), "order-42".to_owned());
    let mut changes = Changes::default();
    let record = Reads::<Idempotency>::get(&*server.world.store, &known).unwrap().unwrap();
    let old = IdempotencyRecord { body: Sha256::digest(spelled.as_bytes()).into(), ..record };
    changes.idempotency.insert(known, Some(old));
    server.world.store.commit(&changes).unwrap();
    let again = call(&spelled).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(call(&sent).await.status, 409);
}

#[tokio::test]
async fn numbers_in_every_spelling() {
    let server = Setup::new().start().await;
    let create = async |body: String| {
        server.call("POST", "/jpp/invoices/", &[("Content-Type", "application/json")], body.as_bytes()).await
    };
    let token = format!(r#"{{"category":"{}","amount":9.223372036854775807E18}}"#, "ab".repeat(32));
    let body = format!(
        r#"{{"outputs":[{{"address":"{}","amount":1.2345678E7}},{{"address":"{}","amount":1e3,"token":{token}}}],
            "expires_in":6.0E2,"confirmations_required":2E0,"required_fee_per_byte":1.1E0,
            "zero_conf":{{"min_score":2.5E-1,"wait_ms":3.0E3}}}}"#,
        address(1),
        address(2)
    );
    let invoice = create(body).await.expect(201);
    let amounts = (&invoice["outputs"][0]["amount"], &invoice["outputs"][1]["amount"]);
    assert_eq!(amounts, (&json!(12_345_678), &json!(1000)));
    assert_eq!(invoice["outputs"][1]["token"]["amount"], "9223372036854775807");
    assert_eq!(invoice["expires"], "2026-11-23T02:53:49.099Z");
    assert_eq!(
        (&invoice["confirmations_required"], &invoice["required_fee_per_byte"], &invoice["zero_conf"]),
        (&json!(2), &json!(1.1), &json!({"min_score": 0.25, "wait_ms": 3000}))
    );
    for (amount, text) in [
        ("1.5", "A valid integer is required."),
        ("1.2345678E3", "A valid integer is required."),
        ("1E16", "Ensure this value is less than or equal to 2100000000000000."),
        ("1E-400", "A valid integer is required."),
        ("-1E3", "Ensure this value is greater than or equal to 1."),
    ] {
        let body = format!(r#"{{"outputs":[{{"address":"{}","amount":{amount}}}]}}"#, address(3));
        assert_eq!(create(body).await.expect(400), of_output("amount", text), "{amount}");
    }
}

#[tokio::test]
async fn addresses_of_others() {
    let mut setup = Setup::new();
    setup.rules = Rules { shared_outputs: SharedOutputs::Refuse, ..Rules::default() };
    let server = setup.start().await;
    let (name, value) = bearer("shop-key");
    assert_eq!(server.post_with("/jpp/invoices/", &[(name, &value)], &asking(1, 1000)).await.status, 201);
    let two = json!({"outputs": [{"address": address(2), "amount": 1000}, {"address": address(1), "amount": 1000}]});
    let text = "This address was asked for by another merchant first.";
    assert_eq!(
        server.post("/jpp/invoices/", &two).await.expect(400),
        json!({"outputs": [{}, {"address": [text]}]})
    );
    let text = "Another open invoice asks for the same amount at this address: use a fresh address.";
    assert_eq!(
        server.post_with("/jpp/invoices/", &[(name, &value)], &asking(1, 1000)).await.expect(400),
        of_output("address", text)
    );
}

#[tokio::test]
async fn while_nothing_can_be_created() {
    let world_health = crate::follow::Health::default();
    let mut server = Setup::new().start().await;
    let body = asking(1, 1000);
    let key = [("Idempotency-Key", "k")];
    let first = server.post_with("/jpp/invoices/", &key, &body).await;

    server.world.store.fail(true);
    let answer = server.post("/jpp/invoices/", &body).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{answer:?}");
    assert_eq!(server.get(&format!("/i/{}", first.json()["payment_id"].as_str().unwrap())).await.status, 503);
    server.world.store.fail(false);
    assert_eq!(server.post("/jpp/invoices/", &asking(2, 1000)).await.status, 201);

    // The node has not been followed since the start.
    server.world.health = world_health;
    let blind = super::World::router(&server.world);
    let answer =
        super::fuzzing::ask(&blind, "POST", "/jpp/invoices/", body.to_string().as_bytes(), &[]).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")));
    // A wrong request is wrong whatever the node does, and a repetition is answered.
    let answer = super::fuzzing::ask(&blind, "POST", "/jpp/invoices/", b"{}", &[]).await;
    assert_eq!(answer.status, 400);
    let answer =
        super::fuzzing::ask(&blind, "POST", "/jpp/invoices/", body.to_string().as_bytes(), &key).await;
    assert_eq!((answer.status, &answer.body), (201, &first.body));

    server.world.engine.stop().await;
    assert_eq!(server.post("/jpp/invoices/", &asking(3, 1000)).await.status, 503);
}
