//! The node goes away under a stream of payments, and comes back with less than it had.

use anyhow::{Context as _, Result, ensure};
use bitcoincash::consensus;
use regtest::{
    Daemon, Kind, Node, Shop, eventually,
    node::skipped,
    purse::raw_hex,
    shop::on_fresh_nodes,
    wallet::{PayOptions, Payment},
};
use serde_json::{Value, json};

use super::{
    open, program,
    signals::Wire,
    stream::{Chance, Stream},
};

/// How many payments there are between two misfortunes.
const PAYMENTS: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_restarted_costs_no_payment() -> Result<()> {
    let name = "a_node_that_is_restarted_costs_no_payment";
    on_fresh_nodes(name, async |node| {
        let mut shop = open(node).await?;
        let mut stream = Stream::prepare(&mut shop, 200, Chance::new(name)?)?;
        for _ in 0..2 {
            stream.flow(&mut shop, PAYMENTS).await?;
            shop.node.stop()?;
            // Customers come while it is away, too.
            stream.crowd(&mut shop, 4).await?;
            shop.node.start()?;
        }
        stream.flow(&mut shop, PAYMENTS).await?;
        stream.finish().await?;
        stream.all_paid(&shop).await?;
        stream.settle(&mut shop, false).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mempool_that_is_lost_is_filled_again() -> Result<()> {
    let name = "a_mempool_that_is_lost_is_filled_again";
    on_fresh_nodes(name, async |node| {
        let mut shop = open(node).await?;
        let mut stream = Stream::prepare(&mut shop, 200, Chance::new(name)?)?;
        // What is in blocks until here survives a kill: an orderly stop writes it down.
        shop.node.stop()?;
        shop.node.start()?;
        let (_, kept) = shop.node.tip()?;
        for _ in 0..2 {
            stream.flow(&mut shop, PAYMENTS).await?;
            stream.finish().await?;
            // Whoever sent it may think that it is done: the shop has seen it.
            stream.all_paid(&shop).await?;
            let (blocks, lost) = (blocks_above(&*shop.node, kept)?, shop.node.mempool()?);
            shop.node.kill()?;
            shop.until_not_ready("node_unreachable").await?;
            shop.node.start()?;
            // Its peers have the blocks that it lost; the mempool they do not send again.
            for block in blocks {
                shop.node.call("submitblock", json!([block]))?;
            }
            shop.daemon.wait_ready().await?;
            println!("{}: {} transactions of the mempool were lost", shop.node.name(), lost.len());
        }
        stream.flow(&mut shop, PAYMENTS).await?;
        stream.finish().await?;
        stream.all_paid(&shop).await?;
        // Everything goes into the next block once the node has it again.
        eventually(
            || format!("the node has all payments\n{}", shop.daemon.log()),
            async || Ok(stream.all_in_node(&shop).await?.then_some(())),
        )
        .await?;
        stream.settle(&mut shop, false).await
    })
    .await
}

/// The blocks above a height in hex, the lowest first.
fn blocks_above(node: &dyn Node, height: u32) -> Result<Vec<Value>> {
    let (_, tip) = node.tip()?;
    (height + 1..=tip)
        .map(|height| {
            let hash = node.call("getblockhash", json!([height]))?;
            Ok(node.call("getblock", json!([hash, 0]))?)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cookie_is_read() -> Result<()> {
    on_fresh_nodes("a_new_cookie_is_read", async |node| {
        let mut shop = open(node).await?;
        let (id, address) = shop.invoice(8_000).await?;
        let before = std::fs::read(shop.node.cookie_file())?;
        shop.node.stop()?;
        shop.node.start()?;
        let now = std::fs::read(shop.node.cookie_file())?;
        ensure!(before != now, "the node made a new cookie");
        shop.daemon.wait_ready().await?;
        let transaction = shop.payer.sign(&address, 8_000)?;
        shop.pay(&id, &raw_hex(&transaction)).await?.expect(200)?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_cookie_is_named_until_it_is_right() -> Result<()> {
    on_fresh_nodes("a_wrong_cookie_is_named_until_it_is_right", async |node| {
        let mut shop = open(node).await?;
        let (id, address) = shop.invoice(8_000).await?;
        let (other, elsewhere) = shop.invoice(9_000).await?;
        let by_pay = shop.payer.sign(&address, 8_000)?;
        let options = PayOptions { confirmed_only: true, ..PayOptions::default() };
        let by_node = shop.payer.wallet.pay(&[Payment::new(elsewhere, 9_000)], options)?;
        let cookie = shop.node.cookie_file();
        let right = std::fs::read(&cookie)?;
        // The harness reads the cookie, too: what it has to say to the node it says before.
        shop.node.send(&consensus::serialize(&by_node))?;
        std::fs::write(&cookie, "__cookie__:of another node")?;
        shop.until_not_ready("node_unauthorized").await?;
        let refused = shop.pay(&id, &raw_hex(&by_pay)).await?;
        ensure!(refused.status == 503 && refused.headers.contains_key("retry-after"), "{refused:?}");
        ensure!(shop.get(&id).await?["status"] == "pending", "nothing is half done");
        std::fs::write(&cookie, right)?;
        shop.daemon.wait_ready().await?;
        shop.pay(&id, &raw_hex(&by_pay)).await?.expect(200)?;
        shop.until(&other, "paid").await?;
        Ok(())
    })
    .await
}

/// The store is that of a chain of regtest which is no more; the node has another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_was_made_anew_is_named_and_nothing_is_created() -> Result<()> {
    let name = "a_chain_that_was_made_anew_is_named_and_nothing_is_created";
    let store = tempfile::tempdir()?;
    for kind in [Kind::Sim, Kind::Bchn] {
        let (Some(before), Some(anew)) = (kind.start()?, kind.start()?) else {
            skipped(&format!("{name} on bchn: no bitcoind (set BITCOIND)"));
            continue;
        };
        let path = store.path().join(before.name());
        let path = path.to_str().context("a path that is text")?;
        let settings = [("JPPD_STORE__PATH", path)];
        let mut shop = Shop::open(program(), before, &settings).await?;
        shop.invoice(8_000).await?;
        ensure!(shop.daemon.terminate().await?.success());

        // Longer or shorter than ours, nothing of it is ours but the very first block.
        for blocks in [20, 120] {
            anew.mine(blocks, &regtest::purse::nobody())?;
            let daemon = Daemon::new(program(), &*anew, &settings)?;
            daemon.launch()?;
            let missing = || format!("no_common_block\n{}", daemon.log());
            let ready = eventually(missing, async || {
                // The daemon has just started, and its port may not be open yet.
                let answer = daemon.ops().get("/readyz").await.ok();
                Ok(answer.filter(|ready| ready.body.contains("no_common_block")))
            })
            .await?;
            ensure!(ready.status == 503, "{ready:?}\n{}", daemon.log());
            ensure!(ready.body.contains("no block in common"), "{ready:?}\n{}", daemon.log());
            let address = shop.payee.new_address()?;
            let body = json!({"outputs": [{"address": address, "amount": 8_000}]});
            let refused = daemon.api().post("/jpp/invoices/", &body).await?;
            ensure!(refused.status == 503, "{refused:?}");
            ensure!(daemon.terminate().await?.success());
        }
    }
    Ok(())
}

/// The daemon runs, and the node behind the same address is another one all of a sudden: nothing is created from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_exchanged_under_a_daemon_that_runs_stops_creations_at_once() -> Result<()> {
    let name = "a_node_that_is_exchanged_under_a_daemon_that_runs_stops_creations_at_once";
    for kind in [Kind::Sim, Kind::Bchn] {
        let (Some(before), Some(anew)) = (kind.start()?, kind.start()?) else {
            skipped(&format!("{name} on bchn: no bitcoind (set BITCOIND)"));
            continue;
        };
        let wire = Wire::to(&before.rpc_url()).await?;
        let cookie = tempfile::NamedTempFile::new()?;
        std::fs::copy(before.cookie_file(), cookie.path())?;
        let url = format!("http://{}", wire.here());
        let path = cookie.path().to_str().context("a path that is text")?;
        let settings = [("JPPD_NODE__RPC_URL", url.as_str()), ("JPPD_NODE__RPC_COOKIE_FILE", path)];
        let mut shop = Shop::open(program(), before, &settings).await?;
        shop.invoice(8_000).await?;
        anew.mine(120, &regtest::purse::nobody())?;
        std::fs::copy(anew.cookie_file(), cookie.path())?;
        wire.lead_to(&anew.rpc_url())?;
        shop.until_not_ready("no_common_block").await?;
        // Well within the minute for which a node may be away.
        let address = shop.payee.new_address()?;
        let body = json!({"outputs": [{"address": address, "amount": 8_000}]});
        let refused = shop.daemon.api().post("/jpp/invoices/", &body).await?;
        ensure!(refused.status == 503 && refused.headers.contains_key("retry-after"), "{refused:?}");
    }
    Ok(())
}
