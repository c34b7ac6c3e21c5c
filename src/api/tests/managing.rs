//! Cancelling, assigning, and the payments that belong nowhere.

use serde_json::{Value, json};

use super::{Server, Setup, address, asking, client::Answer, paying};

const SHOP: [(&str, &str); 1] = [("Authorization", "Bearer shop-key")];
const OTHER: [(&str, &str); 1] = [("Authorization", "Bearer other-key")];

async fn created(server: &Server, body: &Value) -> String {
    let created = server.post_with("/jpp/invoices/", &SHOP, body).await.expect(201);
    created["payment_id"].as_str().unwrap().to_owned()
}

async fn cancel(server: &Server, id: &str, headers: &[(&str, &str)]) -> Answer {
    server.call("POST", &format!("/jpp/invoices/{id}/cancel"), headers, b"").await
}

#[tokio::test]
async fn cancelling() {
    let server = Setup::new().start().await;
    let id = created(&server, &asking(1, 1000)).await;
    assert_eq!(cancel(&server, &id, &[]).await.status, 401);
    assert_eq!(cancel(&server, &id, &[("Authorization", "Bearer wrong")]).await.status, 401);
    assert_eq!(cancel(&server, &id, &OTHER).await.expect(404), json!({"detail": "Not found."}));
    for _ in 0..2 {
        let invoice = cancel(&server, &id, &SHOP).await.expect(200);
        assert_eq!((&invoice["status"], &invoice["merchant"]), (&json!("cancelled"), &json!("shop")));
    }
    let paid = created(&server, &asking(2, 1000)).await;
    server.world.observe(&paying(1, &[(2, 500)])).await;
    let detail = "This invoice cannot be cancelled: a payment was received.";
    assert_eq!(cancel(&server, &paid, &SHOP).await.expect(409), json!({"detail": detail}));
}

#[tokio::test]
async fn assigning() {
    let server = Setup::new().start().await;
    let list = async |headers: &[(&str, &str)], query: &str| {
        server.call("GET", &format!("/jpp/payments/unassigned/{query}"), headers, b"").await
    };
    // Two invoices ask for the script, so an amount that neither asks for belongs to none.
    let first = created(&server, &asking(1, 1000)).await;
    created(&server, &asking(1, 2000)).await;
    let tx = paying(3, &[(1, 700)]);
    server.world.observe(&tx).await;
    let txid = tx.txid().to_string();

    assert_eq!(list(&[], "").await.status, 401);
    assert_eq!(list(&SHOP, "?after=x").await.expect(400), json!({"after": ["A valid integer is required."]}));
    assert_eq!(list(&OTHER, "").await.expect(200), json!({"payments": [], "next": null}));
    let expected = json!({
        "payments": [{
            "txid": txid, "vout": 0, "amount": 700, "address": address(1), "first_seen": "2026-11-23T02:43:49.099Z",
        }],
        "next": null,
    });
    assert_eq!(list(&SHOP, "").await.expect(200), expected);

    let path = format!("/jpp/invoices/{first}/assign/");
    let body = json!({"txid": txid, "vout": 0});
    assert_eq!(server.post(&path, &body).await.status, 401);
    assert_eq!(server.post_with(&path, &OTHER, &body).await.status, 404);
    let missing = "This field is required.";
    assert_eq!(
        server.post_with(&path, &SHOP, &json!({})).await.expect(400),
        json!({"txid": [missing], "vout": [missing]})
    );
    let bad = json!({"txid": "00", "vout": 4_294_967_296_u64});
    assert_eq!(
        server.post_with(&path, &SHOP, &bad).await.expect(400),
        json!({
            "txid": ["Must be the 64 hexadecimal digits of a txid."],
            "vout": ["Ensure this value is less than or equal to 4294967295."],
        })
    );
    let unknown = json!({"txid": txid, "vout": 1});
    assert_eq!(server.post_with(&path, &SHOP, &unknown).await.status, 404);
    let invoice = server.post_with(&path, &SHOP, &body).await.expect(200);
    assert_eq!((&invoice["amount_paid"], &invoice["underpaid"]), (&json!(700), &json!(300)));
    assert_eq!(list(&SHOP, "").await.expect(200)["payments"], json!([]));
}

#[tokio::test]
async fn pages_of_unassigned_payments() {
    let server = Setup::new().start().await;
    created(&server, &asking(1, 1000)).await;
    created(&server, &asking(1, 2000)).await;
    let outputs: Vec<(u8, u64)> = (0..150).map(|number| (1, 3000 + number)).collect();
    server.world.observe(&paying(4, &outputs)).await;
    let page = async |after: &str| {
        let path = format!("/api/jpp/payments/unassigned?after={after}");
        server.call("GET", &path, &SHOP, b"").await.expect(200)
    };
    let first = page("0").await;
    assert_eq!(first["payments"].as_array().unwrap().len(), 100);
    let second = page(&first["next"].to_string()).await;
    assert_eq!((second["payments"].as_array().unwrap().len(), &second["next"]), (50, &Value::Null));
    assert_eq!(second["payments"][0]["amount"], 3100);
}

#[tokio::test]
async fn an_invoice_shows_a_hundred_payments_and_its_merchant_pages_through_all() {
    let server = Setup::new().start().await;
    let id = created(&server, &asking(1, 100_000)).await;
    assert_eq!(server.invoice(&id).await["payments_total"], 0);
    let payment = paying(1, &[(1, 100_000)]);
    server.world.observe(&payment).await;
    // Dust of a stranger after the payment, in one transaction.
    let dust: Vec<(u8, u64)> = (0..250).map(|number| (1, 546 + number)).collect();
    server.world.observe(&paying(2, &dust)).await;
    let invoice = server.invoice(&id).await;
    let amounts = |payments: &Value| -> Vec<u64> {
        payments.as_array().unwrap().iter().map(|payment| payment["amount"].as_u64().unwrap()).collect()
    };
    let shown: Vec<u64> = [100_000].into_iter().chain((151..250).map(|number| 546 + number)).collect();
    assert_eq!(amounts(&invoice["payments"]), shown);
    assert_eq!(invoice["payments_total"], 251);
    let paid: u64 = 100_000 + dust.iter().map(|(_, satoshis)| satoshis).sum::<u64>();
    assert_eq!((&invoice["amount_paid"], &invoice["status"]), (&json!(paid), &json!("paid")));
    assert_eq!(invoice["payment"]["txid"], payment.txid().to_string());

    let path = format!("/jpp/invoices/{id}/payments/");
    let page = async |after: &str| server.call("GET", &format!("{path}{after}"), &SHOP, b"").await;
    let mut all = Vec::new();
    let mut after = String::new();
    let mut lengths = Vec::new();
    loop {
        let page = page(&after).await.expect(200);
        let payments = page["payments"].as_array().unwrap();
        lengths.push(payments.len());
        all.extend(payments.clone());
        if page["next"].is_null() {
            break;
        }
        after = format!("?after={}", page["next"]);
    }
    assert_eq!(lengths, [100, 100, 51]);
    let expected: Vec<u64> =
        [100_000].into_iter().chain(dust.iter().map(|(_, satoshis)| *satoshis)).collect();
    assert_eq!(amounts(&Value::from(all.clone())), expected);
    assert_eq!(&all[0], &invoice["payments"][0], "a payment looks alike in both");
    assert_eq!(page("?after=99999").await.expect(200), json!({"payments": [], "next": null}));
    assert_eq!(page("?after=x").await.status, 400);
    assert_eq!(server.get(&path).await.status, 401);
    assert_eq!(server.call("GET", &path, &OTHER, b"").await.status, 404);
}
