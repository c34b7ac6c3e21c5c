//! Payments are found without ZMQ: the heartbeat finds everything.
//!
//! Beside nodes that publish nothing, the stand-in and a real `bitcoind`; and beside what only the stand-in can do on
//! demand: to publish and have every message lost, to expire between two calls, and to lose the answer to a broadcast
//! that it took.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use bitcoincash::consensus;
use regtest::{
    Daemon, Node, Purse, SimNode, SimOptions, Topic, eventually, silent_nodes,
    wallet::{PayOptions, Payment, Wallet},
};
use serde_json::{Value, json};

async fn until(daemon: &Daemon, id: &str, status: &str) -> Result<Value> {
    eventually(
        || format!("{status}\n{}", daemon.log()),
        async || {
            let invoice = daemon.api().get(&format!("/jpp/invoices/{id}/")).await?.expect(200)?;
            Ok((invoice["status"] == status).then_some(invoice))
        },
    )
    .await
}

fn id_of(invoice: &Value) -> Result<String> {
    Ok(invoice["payment_id"].as_str().context("a payment_id")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_and_blocks_are_found_with_every_message_lost() -> Result<()> {
    let node = SimNode::start(SimOptions::default())?;
    let payer = Purse::fund(&node, 1)?;
    let daemon = Daemon::start(Path::new(env!("CARGO_BIN_EXE_jppd")), &node, &[]).await?;
    for topic in [Topic::RawTx, Topic::HashBlock, Topic::HashDs] {
        node.faults().silence(topic, true);
    }
    are_found(&node, payer, &daemon).await
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_and_blocks_are_found_with_nothing_published() -> Result<()> {
    for node in silent_nodes("payments_and_blocks_are_found_with_nothing_published")? {
        let kind = node.name();
        let payer = Purse::fund(&*node, 1)?;
        let daemon = begin_beside_silence(&node).await.context(kind)?;
        are_found(&*node, payer, &daemon).await.context(kind)?;
    }
    Ok(())
}

/// Starts beside a node that publishes nothing: that is named, one topic like the other, and everything else is well.
async fn begin_beside_silence(node: &Arc<dyn Node>) -> Result<Daemon> {
    let daemon = Daemon::new(Path::new(env!("CARGO_BIN_EXE_jppd")), &**node, &[])?;
    daemon.launch()?;
    let ready = eventually(
        || format!("the topics are named\n{}", daemon.log()),
        async || {
            let Ok(ready) = daemon.ops().get("/readyz").await else { return Ok(None) };
            let named = ["rawtx", "hashblock", "hashds"].iter().all(|topic| ready.body.contains(topic));
            Ok((named && !ready.body.contains("starting")).then_some(ready))
        },
    )
    .await?;
    ensure!(ready.status == 200 && ready.body.contains("topic_not_published"), "{ready:?}");
    let logged = daemon.log();
    ensure!(logged.contains("the node does not publish rawtx"), "{logged}");
    Ok(daemon)
}

async fn are_found(node: &dyn Node, mut payer: Purse, daemon: &Daemon) -> Result<()> {
    let mut payee = Wallet::from_seed(2)?;
    let mut ids = Vec::new();
    for satoshis in [1_000, 2_000] {
        let address = payee.new_address()?;
        let body = json!({"outputs": [{"address": address, "amount": satoshis}]});
        let invoice = daemon.api().post("/jpp/invoices/", &body).await?.expect(201)?;
        // The block holds one of them alone, so that one must not spend the other's change.
        let options = PayOptions { confirmed_only: true, ..PayOptions::default() };
        let transaction = payer.wallet.pay(&[Payment::new(address.as_str(), satoshis)], options)?;
        if satoshis == 1_000 {
            node.send(&consensus::serialize(&transaction))?;
        } else {
            node.mine_transactions(&[transaction], &regtest::purse::nobody())?;
        }
        ids.push(id_of(&invoice)?);
    }
    ensure!(until(daemon, &ids[0], "paid").await?["via"] == "mempool");
    ensure!(until(daemon, &ids[1], "confirmed").await?["via"] == "block");
    payer.mine(node, 1)?;
    until(daemon, &ids[0], "confirmed").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn node_software_that_expired_is_named() -> Result<()> {
    let node = SimNode::start(SimOptions::default())?;
    // With the first block alone a node believes that it has the chain still to download.
    node.mine(1, &regtest::purse::nobody())?;
    let daemon = Daemon::start(Path::new(env!("CARGO_BIN_EXE_jppd")), &node, &[]).await?;
    node.faults().expired(true);
    let ready = eventually(
        || format!("it is named\n{}", daemon.log()),
        async || {
            let ready = daemon.ops().get("/readyz").await?;
            Ok((ready.status == 503 && ready.body.contains("node_software_expired")).then_some(ready))
        },
    )
    .await?;
    ensure!(ready.body.contains("node software expired"), "{ready:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_taken_up_by_a_repetition() -> Result<()> {
    let node = SimNode::start(SimOptions::default())?;
    let mut payer = Purse::fund(&node, 1)?;
    let daemon = Daemon::start(Path::new(env!("CARGO_BIN_EXE_jppd")), &node, &[]).await?;
    let address = Wallet::from_seed(2)?.new_address()?;
    let body = json!({"outputs": [{"address": address, "amount": 1_000}]});
    let invoice = daemon.api().post("/jpp/invoices/", &body).await?.expect(201)?;
    let id = id_of(&invoice)?;
    let path = format!("/jpp/invoices/{id}/pay/");
    let transaction = payer.sign(&address, 1_000)?;
    let body = json!({"raw_tx_hex": regtest::purse::raw_hex(&transaction)});

    // The node takes it and its answer is lost: the payer is told to ask again, and is paid up when it does.
    node.faults().fail_rpc("sendrawtransaction", 1, regtest::RpcFault::ApplyThenReset);
    let first = daemon.api().post(&path, &body).await?;
    ensure!(first.status == 503 || first.status == 200, "{first:?}");
    let second = daemon.api().post(&path, &body).await?.expect(200)?;
    ensure!(second["status"] == "paid", "{second}");
    let mut socket = daemon.api().events(&id, 0).await?;
    // One event, not two: the next one is that of the block.
    let mut kinds = Vec::new();
    payer.mine(&node, 1)?;
    while kinds.len() < 3 {
        kinds.push(socket.next().await?["type"].clone());
    }
    ensure!(kinds == ["invoice_created", "payment_received", "payment_confirmed"], "{kinds:?}");
    Ok(())
}
