//! Blocks are made invalid, valid again, and parked, by the operator of the node.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use regtest::{Bchn, Shop, node::skipped, shop::on_fresh_nodes};
use serde_json::json;

use super::open;

const CONFIRMED: [&str; 3] = ["invoice_created", "payment_received", "payment_confirmed"];

/// A payment in the last block.
async fn confirmed(shop: &mut Shop) -> Result<(String, String)> {
    let (id, address) = shop.invoice(8_000).await?;
    let txid = shop.payer.pay(&*shop.node, &address, 8_000)?.to_string();
    shop.until(&id, "paid").await?;
    shop.payer.mine(&*shop.node, 1)?;
    shop.until(&id, "confirmed").await?;
    Ok((id, txid))
}

/// All events of an invoice that come within half a second of each other.
async fn events(shop: &Shop, id: &str) -> Result<Vec<String>> {
    let mut socket = shop.socket(id, 0).await?;
    let mut kinds = Vec::new();
    while let Ok(event) = socket.next_within(Duration::from_millis(500)).await {
        ensure!(event["n"] == kinds.len() + 1, "events are numbered without a gap: {event}");
        kinds.push(event["type"].as_str().unwrap_or_default().to_owned());
    }
    Ok(kinds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_was_invalid_for_a_while_counts_again() -> Result<()> {
    on_fresh_nodes("a_block_that_was_invalid_for_a_while_counts_again", async |node| {
        let mut shop = open(node).await?;
        let (id, _) = confirmed(&mut shop).await?;
        let (tip, _) = shop.node.tip()?;
        shop.node.invalidate(tip)?;
        shop.until(&id, "paid").await?;
        shop.node.reconsider(tip)?;
        let invoice = shop.until(&id, "confirmed").await?;
        ensure!(invoice["confirmations"] == 1 && shop.node.tip()?.0 == tip, "{invoice}");
        let wanted = [&CONFIRMED[..], &["payment_reverted", "payment_confirmed"]].concat();
        ensure!(events(&shop, &id).await? == wanted);
        Ok(())
    })
    .await
}

/// From more than ten blocks the node puts nothing back into its mempool.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_deep_reorganisation_dropped_is_sent_again() -> Result<()> {
    on_fresh_nodes("a_payment_that_a_deep_reorganisation_dropped_is_sent_again", async |node| {
        let mut shop = open(node).await?;
        let (id, txid) = confirmed(&mut shop).await?;
        let (block, _) = shop.node.tip()?;
        shop.payer.mine(&*shop.node, 12)?;
        shop.until_so(&id, "deep", |invoice| invoice["confirmations"] == 13).await?;
        shop.node.invalidate(block)?;
        shop.until(&id, "paid").await?;
        // The rival chain is as long before it is judged what is missing.
        let script = regtest::purse::nobody();
        let mut there = shop.node.mempool()?.iter().any(|known| known.to_string() == txid);
        println!("{}: the node {} the payment", shop.node.name(), if there { "kept" } else { "dropped" });
        if !there {
            shop.node.mine(14, &script)?;
        }
        for _ in 0..400 {
            if there {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            there = shop.node.mempool()?.iter().any(|known| known.to_string() == txid);
        }
        ensure!(there, "it was never sent again\n{}", shop.daemon.log());
        shop.node.mine(1, &script)?;
        shop.until(&id, "confirmed").await?;
        let wanted = [&CONFIRMED[..], &["payment_reverted", "payment_confirmed"]].concat();
        ensure!(events(&shop, &id).await? == wanted);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_parked_does_not_count() -> Result<()> {
    let Some(program) = Bchn::find() else {
        skipped("a_block_that_is_parked_does_not_count: only a real node parks (set BITCOIND)");
        return Ok(());
    };
    // By itself the node unparks at once what has more work than its tip.
    let mut shop = open(Arc::new(Bchn::start_with(&program, &["-automaticunparking=0"])?)).await?;
    let (id, _) = confirmed(&mut shop).await?;
    let (tip, height) = shop.node.tip()?;
    shop.node.call("parkblock", json!([tip.to_string()]))?;
    ensure!(shop.node.tip()?.1 == height - 1);
    shop.until(&id, "paid").await?;
    shop.node.call("unparkblock", json!([tip.to_string()]))?;
    shop.until(&id, "confirmed").await?;
    // Parked again, and another block takes its place.
    shop.node.call("parkblock", json!([tip.to_string()]))?;
    shop.until(&id, "paid").await?;
    shop.payer.mine(&*shop.node, 2)?;
    let invoice = shop.until(&id, "confirmed").await?;
    ensure!(shop.node.tip()?.1 == height + 1, "{invoice}");
    let again = ["payment_reverted", "payment_confirmed"];
    let wanted = [&CONFIRMED[..], &again, &again].concat();
    ensure!(events(&shop, &id).await? == wanted);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_unparked_at_once_counts() -> Result<()> {
    let Some(program) = Bchn::find() else {
        skipped("a_block_that_is_unparked_at_once_counts: only a real node parks (set BITCOIND)");
        return Ok(());
    };
    let mut shop = open(Arc::new(Bchn::start(&program)?)).await?;
    let (id, _) = confirmed(&mut shop).await?;
    let (tip, _) = shop.node.tip()?;
    for _ in 0..5 {
        shop.node.call("parkblock", json!([tip.to_string()]))?;
    }
    ensure!(shop.node.tip()?.0 == tip, "it is the tip again");
    shop.payer.mine(&*shop.node, 1)?;
    let invoice = shop.until_so(&id, "two deep", |invoice| invoice["confirmations"] == 2).await?;
    ensure!(invoice["status"] == "confirmed", "{invoice}");
    let kinds = events(&shop, &id).await?;
    let again = kinds.get(CONFIRMED.len()..).unwrap_or_default().chunks(2);
    ensure!(kinds.starts_with(&CONFIRMED.map(str::to_owned)), "{kinds:?}");
    // Seen or not, each time that it did not count it counted again.
    for pair in again {
        ensure!(pair == ["payment_reverted", "payment_confirmed"], "{kinds:?}");
    }
    Ok(())
}
