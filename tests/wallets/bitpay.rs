//! BitPay's own code: its wallet, the client library in it, and the library of its specification.
//!
//! They want every answer signed; but for the first version of JPP, where that is the request alone.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    http::{Body, Header},
    json::{amount, echo, head, instruction, number, option, outputs, text},
    on_every_node,
    shop::{Invoice, Shop, Signed},
    signature::check_signature,
};

const VERSION: Header<'static> = ("x-paypro-version", "2");

/// How superagent, which bitcore-wallet-client uses, writes a request.
fn superagent<'a>(own: &[Header<'a>]) -> Vec<Header<'a>> {
    let kept = [("Connection", "Keep-Alive"), ("Keep-Alive", "timeout=30, max=10")];
    [&[("Host", ""), ("Accept-Encoding", "gzip, deflate")], own, &kept[..]].concat()
}

/// bitcore-wallet-client's PayProV2.
struct PayProV2<'a> {
    shop: &'a Shop,
    url: &'a str,
}

impl PayProV2<'_> {
    async fn options(&self) -> Result<Value> {
        let headers = superagent(&[("Accept", "application/payment-options"), VERSION]);
        let answer = self.shop.get(self.url, &headers).await?;
        check_signature(&answer)?;
        answer.ok()
    }

    async fn post(&self, content_type: &str, body: &Value) -> Result<Value> {
        let partner = [("BP_PARTNER", "copay"), ("BP_PARTNER_VERSION", "v14.0.0")];
        let own = [&[("Content-Type", content_type), VERSION], &partner[..]].concat();
        let answer = self.shop.post(self.url, &superagent(&own), body).await?;
        check_signature(&answer)?;
        answer.ok()
    }

    /// The chain in upper case, a payload of the wallet's own, and of several outputs only the first is looked at.
    async fn select(&self) -> Result<Value> {
        let body = json!({"chain": "BCH", "currency": "BCH", "payload": {"address": "bchreg:q"}});
        self.post("application/payment-request", &body).await
    }

    /// A verification, or a payment.
    async fn submit(&self, content_type: &str, tx: &str, size: usize) -> Result<()> {
        let transactions = json!([{"tx": tx, "weightedSize": size, "escrowReclaimTx": null}]);
        let body = json!({"chain": "BCH", "currency": "BCH", "transactions": transactions});
        echo(&self.post(content_type, &body).await?, tx)
    }

    async fn pay(&self, signed: &Signed, invoice: &Invoice) -> Result<()> {
        self.submit("application/payment-verification", &signed.unsigned(), signed.size()).await?;
        self.shop.is_untouched(invoice).await?;
        self.submit("application/payment", &signed.hex, signed.size()).await?;
        self.shop.is_paid_with(invoice, signed).await?;
        Ok(())
    }
}

on_every_node!(bitcore_wallet_client_v2_asks_three_times, async |mut shop: Shop| {
    let invoice = shop.invoice(&[31_000]).await?;
    let signed = shop.sign(&invoice)?;
    let client = PayProV2 { shop: &shop, url: &invoice.url };
    option(&client.options().await?, &invoice)?;
    // Once when it fetches, once when it signs, once when it broadcasts; and it compares.
    let first = client.select().await?;
    let rate = number(instruction(&first, &invoice)?, "requiredFeeRate")?;
    ensure!(rate > 0.0 && rate <= 1e7, "{first}");
    ensure!(client.select().await? == first, "the same instructions when it signs");
    client.submit("application/payment-verification", &signed.unsigned(), signed.size()).await?;
    ensure!(client.select().await? == first, "the same instructions when it broadcasts");
    client.pay(&signed, &invoice).await?;
    Ok(())
});

on_every_node!(bitcore_wallet_client_v1, async |mut shop: Shop| {
    let invoice = shop.invoice(&[31_000]).await?;
    let get = [
        ("Host", ""),
        ("Accept-Encoding", "gzip, deflate"),
        ("Accept", "application/payment-request"),
        ("Content-Type", "application/octet-stream"),
        ("Connection", "close"),
    ];
    let answer = shop.get(&invoice.url, &get).await?;
    check_signature(&answer)?;
    let request = answer.ok()?;
    head(&request, &invoice)?;
    outputs(&request, &invoice)?;
    ensure!(text(&request, "currency")? == "BCH" && text(&request, "network")? == "regtest", "{request}");
    ensure!(number(&request, "requiredFeeRate")? <= 500_000.0, "{request}");

    let signed = shop.sign(&invoice)?;
    let unsigned = signed.unsigned();
    let body = json!({"currency": "BCH", "unsignedTransaction": unsigned, "weightedSize": signed.size()});
    let post =
        [("Host", ""), ("Accept-Encoding", "gzip, deflate"), ("Content-Type", "application/verify-payment")];
    shop.post(&invoice.url, &post, &body).await?.ok()?;
    shop.is_untouched(&invoice).await?;
    let body = json!({"currency": "BCH", "transactions": [signed.hex]});
    let post = [
        ("Host", ""),
        ("Accept-Encoding", "gzip, deflate"),
        ("Content-Type", "application/payment"),
        ("Accept", "application/payment-ack"),
        ("BP_PARTNER", "copay"),
    ];
    let paid = shop.post(&invoice.url, &post, &body).await?.ok()?;
    ensure!(!text(&paid, "memo")?.is_empty(), "{paid}");
    shop.is_paid_with(&invoice, &signed).await?;
    Ok(())
});

on_every_node!(bitpay_wallet, async |mut shop: Shop| {
    let mut invoice = shop.invoice(&[31_000]).await?;
    let (_, id) = invoice.url.split_once("/i/").context("it takes the id from behind /i/")?;
    ensure!(id == invoice.id, "{}", invoice.url);
    // An interface that only BitPay has: what it says is unknown, and it must not be a page that looks like success.
    let own = shop.url(&format!("/invoices/{id}"));
    ensure!(shop.get(&own, &[("Accept", "application/json")]).await?.status == 404);

    let client = PayProV2 { shop: &shop, url: &invoice.url };
    let options = client.options().await?;
    let estimated = amount(option(&options, &invoice)?, "estimatedAmount")?;
    let request = client.select().await?;
    let output = &instruction(&request, &invoice)?["outputs"][0];
    // It pays the estimate to the first output, whatever stands there as the amount.
    invoice.outputs = vec![(text(output, "address")?.to_owned(), estimated)];
    let signed = shop.sign(&invoice)?;
    PayProV2 { shop: &shop, url: &invoice.url }.pay(&signed, &invoice).await?;
    Ok(())
});

on_every_node!(json_payment_protocol_library, async |mut shop: Shop| {
    // It writes its bodies in chunks, accepts nothing in particular, and takes 200 alone.
    let invoice = shop.invoice(&[31_000, 32_000]).await?;
    let signed = shop.sign(&invoice)?;
    let get = [("Accept", "application/payment-options"), VERSION, ("Host", ""), ("Connection", "close")];
    let answer = shop.get(&invoice.url, &get).await?;
    check_signature(&answer)?;
    option(&answer.ok()?, &invoice)?;
    let transaction = |tx: &str| json!({"chain": "BCH", "currency": "BCH", "transactions": [{"tx": tx, "weightedSize": signed.size()}]});
    let unsigned = signed.unsigned();
    for (content_type, body, tx) in [
        ("application/payment-request", json!({"chain": "BCH", "currency": "BCH"}), None),
        ("application/payment-verification", transaction(&unsigned), Some(&unsigned)),
        ("application/payment", transaction(&signed.hex), Some(&signed.hex)),
    ] {
        let headers = [("Content-Type", content_type), VERSION, ("Host", ""), ("Connection", "close")];
        let body = body.to_string();
        let answer = shop.send("POST", &invoice.url, &headers, Body::Chunked(body.as_bytes(), 64)).await?;
        check_signature(&answer)?;
        match tx {
            Some(tx) => echo(&answer.ok()?, tx)?,
            None => drop(instruction(&answer.ok()?, &invoice)?),
        }
    }
    shop.is_paid_with(&invoice, &signed).await?;
    Ok(())
});
