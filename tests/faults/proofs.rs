//! A double spend between two nodes: what is told beside the one of what the other met.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bitcoincash::{Transaction, consensus};
use regtest::{Bchn, Node, Shop, eventually, node::skipped, wallet::PayOptions};

use super::open;

/// A shop beside one node, and another node that is its peer; they have the same chain.
async fn two_nodes(test: &str) -> Result<Option<(Shop, Arc<Bchn>, Arc<Bchn>)>> {
    let Some(program) = Bchn::find() else {
        skipped(&format!("{test}: only real nodes have peers (set BITCOIND)"));
        return Ok(None);
    };
    let ours = Arc::new(Bchn::start_listening(&program)?);
    let theirs = Arc::new(Bchn::start(&program)?);
    let shop = open(ours.clone()).await?;
    theirs.connect_to(&ours)?;
    same_tip(&*ours, &*theirs).await?;
    Ok(Some((shop, ours, theirs)))
}

async fn same_tip(ours: &dyn Node, theirs: &dyn Node) -> Result<()> {
    eventually(|| "the nodes have one chain", async || Ok((ours.tip()? == theirs.tip()?).then_some(()))).await
}

/// A payment for a new invoice, and its rival.
async fn rivals(shop: &mut Shop) -> Result<(String, Transaction, Transaction)> {
    let (id, address) = shop.invoice(8_000).await?;
    let payment = shop.payer.sign(&address, 8_000)?;
    let rival = shop.payer.wallet.double_spend(&payment, PayOptions::default())?;
    Ok((id, payment, rival))
}

async fn is_told_by_proof(shop: &Shop, id: &str) -> Result<()> {
    let mut socket = shop.socket(id, 2).await?;
    let event = socket.next().await?;
    ensure!(event["type"] == "double_spend_detected", "{event}");
    ensure!(event["invoice"]["double_spend"] == "proof" && event["invoice"]["status"] == "paid", "{event}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rival_that_another_node_refused_is_told_by_its_proof() -> Result<()> {
    let name = "a_rival_that_another_node_refused_is_told_by_its_proof";
    let Some((mut shop, ours, theirs)) = two_nodes(name).await? else { return Ok(()) };
    let (id, payment, rival) = rivals(&mut shop).await?;
    let txid = ours.send(&consensus::serialize(&payment))?;
    shop.until(&id, "paid").await?;
    let is_relayed = async || Ok(theirs.mempool()?.contains(&txid).then_some(()));
    eventually(|| "the payment is relayed", is_relayed).await?;
    ensure!(theirs.send(&consensus::serialize(&rival)).is_err(), "the first one stays");
    is_told_by_proof(&shop, &id).await?;
    // The first one is mined: all is well.
    shop.payer.mine(&*ours, 1)?;
    shop.until(&id, "confirmed").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rival_that_another_node_had_first_is_told_and_wins() -> Result<()> {
    let name = "a_rival_that_another_node_had_first_is_told_and_wins";
    let Some((mut shop, ours, theirs)) = two_nodes(name).await? else { return Ok(()) };
    let (id, payment, rival) = rivals(&mut shop).await?;
    theirs.disconnect()?;
    let won = theirs.send(&consensus::serialize(&rival))?;
    theirs.connect_to(&ours)?;
    ours.send(&consensus::serialize(&payment))?;
    shop.until(&id, "paid").await?;
    is_told_by_proof(&shop, &id).await?;
    ensure!(!ours.mempool()?.contains(&won), "no node relays the second one");

    theirs.mine(1, &regtest::purse::nobody())?;
    same_tip(&*ours, &*theirs).await?;
    let invoice = shop.until(&id, "pending").await?;
    ensure!(invoice["payments"][0]["state"] == "lost" && invoice["amount_paid"] == 0, "{invoice}");
    let kinds = shop.events_until(&id, "payment_reverted").await?;
    ensure!(kinds[..3] == ["invoice_created", "payment_received", "double_spend_detected"], "{kinds:?}");
    Ok(())
}
