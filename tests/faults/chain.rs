//! Blocks are made invalid, valid again, and parked, by the operator of the node.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use regtest::{Bchn, Node, Shop, SimNode, SimOptions, eventually, node::skipped, shop::on_fresh_nodes};
use serde_json::{Value, json};

use super::open;

const CONFIRMED: [&str; 3] = ["invoice_created", "payment_received", "payment_confirmed"];
/// A block went, and it or another one came.
const AGAIN: [&str; 2] = ["payment_reverted", "payment_confirmed"];

/// A payment in the last block.
async fn confirmed(shop: &mut Shop) -> Result<(String, String)> {
    let (id, address) = shop.invoice(8_000).await?;
    let txid = shop.payer.pay(&*shop.node, &address, 8_000)?.to_string();
    shop.until(&id, "paid").await?;
    shop.payer.mine(&*shop.node, 1)?;
    shop.until(&id, "confirmed").await?;
    Ok((id, txid))
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
        shop.events_are(&id, &[&CONFIRMED[..], &AGAIN].concat()).await
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
        let is_there =
            || Ok(shop.node.mempool()?.iter().any(|known| known.to_string() == txid).then_some(()));
        let kept = is_there()?.is_some();
        println!("{}: the node {} the payment", shop.node.name(), if kept { "kept" } else { "dropped" });
        if !kept {
            shop.node.mine(14, &script)?;
        }
        eventually(|| format!("it is sent again\n{}", shop.daemon.log()), async || is_there()).await?;
        shop.node.mine(1, &script)?;
        shop.until(&id, "confirmed").await?;
        shop.events_are(&id, &[&CONFIRMED[..], &AGAIN].concat()).await
    })
    .await
}

/// A longer branch that the node parked, and will not take: its headers are ahead of its blocks for as long as it likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_longer_branch_that_is_parked_is_no_lag() -> Result<()> {
    on_fresh_nodes("a_longer_branch_that_is_parked_is_no_lag", async |node| {
        let mut shop = open(node).await?;
        // Another miner goes on from the block that both have.
        let other = SimNode::start(SimOptions::default())?;
        let (_, common) = shop.node.tip()?;
        for block in blocks(&*shop.node, 1, common)? {
            other.call("submitblock", json!([block]))?;
        }
        shop.payer.mine(&*shop.node, 4)?;
        other.mine(7, &regtest::purse::nobody())?;
        for block in blocks(&other, common + 1, common + 7)? {
            shop.node.call("submitblock", json!([block]))?;
        }
        let info = shop.node.call("getblockchaininfo", json!([]))?;
        ensure!(info["blocks"] == common + 4 && info["headers"] == common + 7, "{info}");
        let tips = shop.node.call("getchaintips", json!([]))?.to_string();
        ensure!(tips.contains("parked"), "{tips}");

        ensure!(shop.daemon.terminate().await?.success());
        shop.daemon.launch()?;
        shop.daemon.wait_ready().await?;
        let (id, address) = shop.invoice(8_000).await?;
        shop.payer.pay(&*shop.node, &address, 8_000)?;
        shop.until(&id, "paid").await?;
        // Three more blocks give the parked branch enough work, and the node takes the branch.
        other.mine(3, &regtest::purse::nobody())?;
        for block in blocks(&other, common + 8, common + 10)? {
            shop.node.call("submitblock", json!([block]))?;
        }
        ensure!(shop.node.tip()? == other.tip()?);
        shop.payer.mine(&*shop.node, 1)?;
        shop.until(&id, "confirmed").await?;
        Ok(())
    })
    .await
}

/// The blocks of a node from one height to another, in hex.
fn blocks(node: &dyn Node, from: u32, to: u32) -> Result<Vec<Value>> {
    (from..=to)
        .map(|height| {
            let hash = node.call("getblockhash", json!([height]))?;
            Ok(node.call("getblock", json!([hash, 0]))?)
        })
        .collect()
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
    shop.events_are(&id, &[&CONFIRMED[..], &AGAIN, &AGAIN].concat()).await
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
    // How often it was seen that the block went and came is chance. Another payment marks the end of that.
    let address = invoice["outputs"][0]["address"].as_str().context("an address")?;
    shop.payer.pay(&*shop.node, address, 1_000)?;
    let mut kinds = shop.events_until(&id, "payment_recorded").await?;
    kinds.pop();
    ensure!(kinds.starts_with(&CONFIRMED.map(str::to_owned)), "{kinds:?}");
    // Seen or not, each time that it did not count it counted again.
    for pair in kinds.get(CONFIRMED.len()..).unwrap_or_default().chunks(2) {
        ensure!(pair == AGAIN, "{kinds:?}");
    }
    Ok(())
}
