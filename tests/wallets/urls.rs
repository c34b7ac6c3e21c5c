//! What no wallet has for itself: how bodies are framed, and how ids are written.

use anyhow::{Result, ensure};
use prost::Message as _;
use serde_json::json;

use crate::{
    http::{Body, Header},
    json::{echo, instruction},
    on_every_node,
    protobuf::{PAYMENT, Payment, REQUEST, read_ack, read_request},
    shop::{Invoice, Shop},
};

/// As people, scanners and databases write the same id.
fn spellings(id: &str) -> Vec<String> {
    let part = |range: std::ops::Range<usize>| id.get(range).unwrap_or_default().to_owned();
    let dashed = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-");
    vec![id.to_uppercase(), dashed.to_uppercase(), dashed]
}

fn paths(id: &str) -> Vec<String> {
    let mounts = ["/i", "/jpp/i", "/jpp/i/bitpay", "/api/jpp/invoices"];
    mounts.iter().flat_map(|mount| [format!("{mount}/{id}"), format!("{mount}/{id}/")]).collect()
}

async fn is_found(shop: &Shop, invoice: &Invoice, url: &str) -> Result<()> {
    // A scanner of upper-case codes gives the path back in upper case only behind the id's slash.
    let json = shop.get(url, &[("Accept", "application/json")]).await?.ok()?;
    ensure!(json["payment_id"] == invoice.id.as_str(), "{url}: {json}");
    read_request(&shop.get(url, &[("Accept", REQUEST)]).await?)?;
    let headers = [("Content-Type", "application/payment-request")];
    instruction(&shop.post(url, &headers, &json!({"chain": "bch"})).await?.ok()?, invoice)?;
    Ok(())
}

on_every_node!(ids_in_every_spelling, async |mut shop: Shop| {
    for spelling in 0..3 {
        let invoice = shop.invoice(&[51_000]).await?;
        let written = spellings(&invoice.id).swap_remove(spelling);
        for path in paths(&written) {
            is_found(&shop, &invoice, &shop.url(&path)).await?;
        }
        let signed = shop.sign(&invoice)?;
        let url = shop.url(&format!("/i/{written}"));
        let body = json!({"chain": "BCH", "transactions": [{"tx": signed.hex}]});
        echo(&shop.post(&url, &[("Content-Type", "application/payment")], &body).await?.ok()?, &signed.hex)?;
        shop.is_paid_with(&invoice, &signed).await?;
    }
    Ok(())
});

on_every_node!(bodies_in_chunks_without_an_accept, async |mut shop: Shop| {
    // One byte a chunk, some, and all at once.
    for (size, dialect) in [(1, "v1"), (7, "v2"), (100_000, "rest"), (13, "bip70")] {
        let invoice = shop.invoice(&[51_000]).await?;
        let signed = shop.sign(&invoice)?;
        let post = async |url: &str, content_type: &str, body: Vec<u8>| {
            let headers: [Header<'_>; 1] = [("Content-Type", content_type)];
            shop.send("POST", url, &headers, Body::Chunked(&body, size)).await
        };
        let url = &invoice.url;
        match dialect {
            "v1" => {
                let verify = json!({"currency": "BCH", "unsignedTransaction": signed.unsigned()});
                post(url, "application/verify-payment", verify.to_string().into_bytes()).await?.ok()?;
                let body = json!({"currency": "BCH", "transactions": [signed.hex]});
                let paid = post(url, "application/payment", body.to_string().into_bytes()).await?.ok()?;
                ensure!(paid["payment"]["transactions"] == json!([signed.hex]), "{paid}");
            }
            "v2" => {
                for content_type in ["application/payment-verification", "application/payment"] {
                    let body = json!({"chain": "BCH", "transactions": [{"tx": signed.hex}]});
                    echo(&post(url, content_type, body.to_string().into_bytes()).await?.ok()?, &signed.hex)?;
                }
            }
            "rest" => {
                let body = json!({"raw_tx_hex": signed.hex}).to_string().into_bytes();
                for step in ["verify", "pay"] {
                    post(&format!("{url}/{step}"), "application/json", body.clone()).await?.ok()?;
                }
            }
            _ => {
                let payment =
                    Payment { transactions: vec![signed.raw.clone()], ..Payment::default() }.encode_to_vec();
                read_ack(&post(url, PAYMENT, payment.clone()).await?, &payment)?;
            }
        }
        shop.is_paid_with(&invoice, &signed).await?;
    }
    Ok(())
});
