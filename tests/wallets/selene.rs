//! Selene: JPP v2 without options and without a verification, and a broadcast of its own afterwards.

use anyhow::ensure;
use serde_json::json;

use crate::{
    json::{echo, instruction, text},
    on_every_node,
    shop::Shop,
    signature::check_signature,
};

on_every_node!(selene, async |mut shop: Shop| {
    let invoice = shop.invoice(&[8_000]).await?;
    let headers = |content_type| {
        [
            ("Accept", "*/*"),
            ("Content-Type", content_type),
            ("x-paypro-version", "2"),
            ("User-Agent", "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A)"),
            ("Connection", "Keep-Alive"),
            ("Accept-Encoding", "gzip"),
        ]
    };
    let selection = json!({"chain": "BCH", "currency": "BCH"});
    let answer = shop.post(&invoice.url, &headers("application/payment-request"), &selection).await?;
    check_signature(&answer)?;
    let request = answer.ok()?;
    instruction(&request, &invoice)?;

    // No currency, no size, and one satoshi a byte whatever was asked.
    let signed = shop.sign(&invoice)?;
    let payment_url = text(&request, "paymentUrl")?;
    let body = json!({"chain": "BCH", "transactions": [{"tx": signed.hex}]});
    let answer = shop.post(payment_url, &headers("application/payment"), &body).await?;
    check_signature(&answer)?;
    let paid = answer.ok()?;
    echo(&paid, &signed.hex)?;
    ensure!(!text(&paid, "memo")?.is_empty(), "it asks for its length: {paid}");
    ensure!(paid["payment"]["transactions"][0].get("weightedSize").is_none(), "none came: {paid}");
    shop.is_paid_with(&invoice, &signed).await?;

    // What goes wrong is shown as the text that comes.
    let rival = shop.sign(&invoice)?;
    let body = json!({"chain": "BCH", "transactions": [{"tx": rival.hex}]});
    let refused = shop.post(payment_url, &headers("application/payment"), &body).await?;
    ensure!(refused.expect(400)? == "Invoice no longer accepting payments: it is already paid");
    Ok(())
});

on_every_node!(selene_broadcasts_before_its_request_arrives, async |mut shop: Shop| {
    let invoice = shop.invoice(&[8_000]).await?;
    let signed = shop.sign(&invoice)?;
    shop.node.send(&signed.raw)?;
    let headers = [("Accept", "*/*"), ("Content-Type", "application/payment"), ("x-paypro-version", "2")];
    let body = json!({"chain": "BCH", "transactions": [{"tx": signed.hex}]});
    let answer = shop.post(&invoice.url, &headers, &body).await?;
    echo(&answer.ok()?, &signed.hex)?;
    shop.is_paid_with(&invoice, &signed).await?;
    // And once more, after the daemon has seen it come by itself.
    shop.until(&invoice.id, "paid").await?;
    echo(&shop.post(&invoice.url, &headers, &body).await?.ok()?, &signed.hex)?;
    shop.is_paid_with(&invoice, &signed).await?;
    Ok(())
});
