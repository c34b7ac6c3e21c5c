//! Submissions: verify and pay.

use serde_json::{Value, json};

use super::{Setup, address, asking, hex_of, node::Node, paying, script};
use crate::bch::{Address, Network};

const UNPARSABLE: &str =
    "We were unable to parse the transaction you sent. Please try again or contact your wallet provider";

fn coin_for(output: u64) -> String {
    format!("0.{:08}", output + 400)
}

#[tokio::test]
async fn a_payment_and_the_same_again() {
    let node = Node::start(&coin_for(1500));
    let server = Setup::new().with_node(&node).start().await;
    let id = server.create(&asking(1, 1000)).await;
    let tx = paying(7, &[(1, 1000), (2, 500)]);
    let refund = Address::of_script(&script(8), Network::Regtest).unwrap();
    let body = json!({
        "raw_tx_hex": hex_of(&tx), "memo": "thanks",
        "refund_to": [
            {"address": refund.to_string().to_uppercase(), "amount": "5", "description": "x"},
            {"address": address(9)},
        ],
    });
    let verified = server.post(&format!("/jpp/invoices/{id}/verify"), &body).await;
    assert_eq!(verified.expect(200), json!({"valid": true}));
    assert_eq!(node.sent(), Vec::<String>::new());

    let paid = server.post(&format!("/i/{id}/pay/"), &body).await.expect(200);
    assert_eq!(
        paid["payment"],
        json!({
            "txid": tx.txid().to_string(), "memo": "thanks", "paid_at": "2026-11-23T02:43:49.099Z",
            "refund_to": [
                {"amount": 5, "address": refund.to_string(), "description": null},
                {"amount": null, "address": address(9), "description": null},
            ],
        })
    );
    assert_eq!((&paid["status"], &paid["via"]), (&json!("paid"), &json!("api")));
    assert_eq!(node.sent(), [hex_of(&tx)]);

    let again = server.post(&format!("/api/jpp/invoices/{id}/pay"), &body).await.expect(200);
    assert_eq!(again, paid);
    assert_eq!(node.sent().len(), 1);
    let error = "invoice is already paid";
    let other = json!({"raw_tx_hex": hex_of(&paying(8, &[(1, 1000), (2, 500)]))});
    assert_eq!(
        server.post(&format!("/i/{id}/pay"), &other).await.expect(400),
        json!({"non_field_errors": [error]})
    );
    assert_eq!(
        server.post(&format!("/i/{id}/verify"), &other).await.expect(400),
        json!({"valid": false, "error": error})
    );
    // An invoice that asks for the same later is not paid by it.
    let younger = server.create(&asking(1, 1000)).await;
    let answer = server.post(&format!("/i/{younger}/pay"), &body).await.expect(400);
    let older = "this transaction is older than the invoice";
    assert_eq!(answer, json!({"non_field_errors": [older]}));
}

/// Some wallets verify before they sign, and of those some put something in the place of the signatures.
#[tokio::test]
async fn signed_or_not_a_verification_sends_nothing() {
    let node = Node::start(&coin_for(1000));
    let server = Setup::new().with_node(&node).start().await;
    let id = server.create(&asking(1, 1000)).await;
    let template: bitcoincash::Transaction =
        bitcoincash::consensus::deserialize(paying(7, &[(1, 1000)]).raw()).unwrap();
    for unlocking in [vec![], vec![0; 100], vec![0x5a; 107], vec![0; 250]] {
        let mut tx = template.clone();
        tx.input[0].script_sig = unlocking.clone().into();
        let body = json!({"raw_tx_hex": hex::encode(bitcoincash::consensus::serialize(&tx))});
        let verified = server.post(&format!("/i/{id}/verify"), &body).await;
        assert_eq!(verified.expect(200), json!({"valid": true}), "{} bytes", unlocking.len());
    }
    assert_eq!(node.sent(), Vec::<String>::new());
    assert_eq!(server.invoice(&id).await["status"], "pending");
}

#[tokio::test]
async fn what_is_refused() {
    let node = Node::start(&coin_for(1000));
    let server = Setup::new().with_node(&node).start().await;
    let id = server.create(&asking(1, 1000)).await;
    let amount_differs = format!(
        "The amount on the transaction (0.00000990 BCH, 990 satoshis) does not match the amount requested \
         (0.00001000 BCH, 1000 satoshis) for {}. This payment will not be accepted.",
        address(1)
    );
    let missing = format!(
        "The transaction you sent does not have any output to the bitcoin address on the invoice: {} is to receive \
         0.00001000 BCH, 1000 satoshis",
        address(1)
    );
    let good = paying(1, &[(1, 1000)]);
    let table = [
        ("zz".to_owned(), "Your transaction was an in an invalid format, it must be a hexadecimal string".to_owned()),
        ("000".to_owned(), "Your transaction was an in an invalid format, it must be a hexadecimal string".to_owned()),
        ("00".to_owned(), format!("{UNPARSABLE} (not a Bitcoin Cash transaction)")),
        (format!("{}00", hex_of(&good)), format!("{UNPARSABLE} (bytes are left over after the transaction)")),
        ("00".repeat(100_001), format!("{UNPARSABLE} (a transaction has at most 100000 bytes)")),
        (hex_of(&paying(1, &[(1, 990)])), amount_differs),
        (hex_of(&paying(1, &[(2, 1000)])), missing),
        (
            hex_of(&paying(1, &[(1, 1000), (2, 401)])),
            "Total input 1400 satoshis is less than total output 1401 satoshis".to_owned(),
        ),
        (
            hex_of(&paying(1, &[(1, 1000), (2, 300)])),
            "Transaction fee (0.00000100 BCH, 100 satoshis for 226 bytes) is below the current minimum threshold \
             (0.00000226 BCH, 226 satoshis at 1.0 satoshis per byte)"
                .to_owned(),
        ),
    ];
    for (raw, error) in table {
        let body = json!({"raw_tx_hex": raw});
        let verified = server.post(&format!("/i/{id}/verify"), &body).await.expect(400);
        assert_eq!(verified, json!({"valid": false, "error": error}));
        let paid = server.post(&format!("/i/{id}/pay"), &body).await.expect(400);
        assert_eq!(paid, json!({"non_field_errors": [error]}));
    }
    let body = json!({"raw_tx_hex": hex_of(&good)});
    node.refuse(Some((-26, "txn-mempool-conflict (code 18)")));
    assert_eq!(
        server.post(&format!("/i/{id}/pay"), &body).await.expect(400),
        json!({"non_field_errors": [
            "The transaction was refused by the Bitcoin Cash network: another transaction that spends the same coins \
             is in the mempool already (txn-mempool-conflict (code 18))"
        ]})
    );
    node.refuse(None);
    assert_eq!(server.post(&format!("/i/{id}/pay"), &body).await.status, 200);

    let late = server.create(&asking(3, 1000)).await;
    let seen = paying(5, &[(4, 1000)]);
    let sighting = server.world.seen_now();
    server.world.sightings.note(seen.txid(), sighting);
    let younger = server.create(&asking(4, 1000)).await;
    server.world.move_clock(3600);
    let refused = async |id: &str, tx: &crate::bch::Transaction| {
        server.post(&format!("/i/{id}/pay"), &json!({"raw_tx_hex": hex_of(tx)})).await.expect(400)
            ["non_field_errors"][0]
            .clone()
    };
    let expired = "invoice is expired";
    assert_eq!(refused(&late, &paying(6, &[(3, 1000)])).await, expired);
    assert_eq!(refused(&younger, &seen).await, "this transaction is older than the invoice");
    let withdrawn = server.create(&asking(6, 1000)).await;
    let key = [("Authorization", "Bearer shop-key")];
    assert_eq!(
        server.call("POST", &format!("/jpp/invoices/{withdrawn}/cancel"), &key, b"").await.status,
        200
    );
    let cancelled = "Invoice no longer accepting payments: it was cancelled";
    assert_eq!(refused(&withdrawn, &paying(6, &[(6, 1000)])).await, cancelled);
}

#[tokio::test]
async fn fields() {
    let server = Setup::new().with(|settings| settings.max_outputs = 2).start().await;
    let id = server.create(&asking(1, 1000)).await;
    let table = [
        (json!({}), json!({"raw_tx_hex": ["This field is required."]})),
        (json!({"raw_tx_hex": null}), json!({"raw_tx_hex": ["This field may not be null."]})),
        (json!({"raw_tx_hex": " "}), json!({"raw_tx_hex": ["This field may not be blank."]})),
        (json!({"raw_tx_hex": {}}), json!({"raw_tx_hex": ["Not a valid string."]})),
    ];
    for (body, complaint) in table {
        for end in ["verify", "pay"] {
            assert_eq!(server.post(&format!("/i/{id}/{end}"), &body).await.expect(400), complaint, "{body}");
        }
    }
    let with = |field: &str, value: Value| {
        let mut body = json!({"raw_tx_hex": "00"});
        body[field] = value;
        body
    };
    let table = [
        (
            with("memo", json!("x".repeat(1025))),
            json!({"memo": ["Ensure this field has no more than 1024 characters."]}),
        ),
        (with("memo", json!("a\u{0}")), json!({"memo": ["Null characters are not allowed."]})),
        (
            with("refund_to", json!([{"address": address(1)}, {"address": "junk", "amount": 0}])),
            json!({"refund_to": [{}, {
                "address": ["not a Bitcoin Cash address"],
                "amount": ["Ensure this value is greater than or equal to 1."],
            }]}),
        ),
        (
            with("refund_to", json!([1, 2, 3])),
            json!({"refund_to": ["Ensure this field has no more than 2 elements."]}),
        ),
        (
            with("refund_to", json!("x")),
            json!({"refund_to": {"non_field_errors": ["Expected a list of items but got type \"str\"."]}}),
        ),
    ];
    for (body, complaint) in table {
        assert_eq!(server.post(&format!("/i/{id}/pay"), &body).await.expect(400), complaint, "{body}");
    }
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(server.call("POST", &format!("/i/{id}/pay"), &form, b"raw_tx_hex=00").await.status, 415);
}

#[tokio::test]
async fn while_the_node_is_away() {
    let server = Setup::new().start().await;
    let id = server.create(&asking(1, 1000)).await;
    let body = json!({"raw_tx_hex": hex_of(&paying(1, &[(1, 1000)]))});
    for end in ["verify", "pay"] {
        let answer = server.post(&format!("/i/{id}/{end}"), &body).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")), "{answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("node does not answer"));
    }
    assert_eq!(server.invoice(&id).await["status"], "pending");
}

#[tokio::test]
async fn too_often() {
    let server = Setup::new()
        .with_limits(|limits| (limits.verify_per_minute, limits.pay_per_minute) = (2, 3))
        .start()
        .await;
    let id = server.create(&asking(1, 1000)).await;
    for (end, times) in [("verify", 2), ("pay", 3)] {
        let path = format!("/i/{id}/{end}");
        let forwarded = [("X-Forwarded-For", "192.0.2.7")];
        for _ in 0..times {
            assert_eq!(server.post_with(&path, &forwarded, &json!({})).await.status, 400);
        }
        let answer = server.post(&path, &json!({})).await;
        let wait = answer.header("retry-after").unwrap().to_owned();
        let detail = format!("Request was throttled. Expected available in {wait} seconds.");
        assert_eq!(answer.expect(429), json!({"detail": detail}));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    assert_eq!(server.get(&format!("/i/{id}")).await.status, 200);
}
