//! The node's signals are lost: nobody reads them, their ports are cut off, or nothing comes through any more. They are
//! hints; asking finds the rest.

use std::{net::SocketAddr, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bitcoincash::consensus;
use regtest::{
    Port, Shop, eventually,
    node::skipped,
    shop::{id, on_fresh_nodes},
    wait::PATIENCE,
    wallet::{PayOptions, Payment},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::{
    open, program,
    stream::{Chance, Stream},
};

/// Invoices, and outputs of each: every output is paid by a transaction of its own, all in one block.
const INVOICES: usize = 22;
const OUTPUTS: usize = 100;
/// How many outputs to nobody make a transaction large, and what each takes: 4 kB a transaction, more in all than the
/// high water mark of the node and the buffers of the system hold.
const BALLAST: usize = 120;
const DUST: u64 = 600;
/// How many payments there are at most until one is heard again.
const MOST_UNHEARD: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_block_that_came_while_nobody_read_is_found_whole() -> Result<()> {
    on_fresh_nodes("a_large_block_that_came_while_nobody_read_is_found_whole", async |node| {
        let mut shop = open(node).await?;
        for transaction in shop.payer.wallet.split(INVOICES * OUTPUTS, 100_000, PayOptions::default())? {
            shop.node.send(&consensus::serialize(&transaction))?;
        }
        shop.payer.mine(&*shop.node, 1)?;
        let (mut ids, mut transactions) = (Vec::new(), Vec::new());
        let options = PayOptions { confirmed_only: true, ..PayOptions::default() };
        for _ in 0..INVOICES {
            let mut outputs = Vec::new();
            for _ in 0..OUTPUTS {
                let address = shop.payee.new_address()?;
                let mut payments = vec![Payment::new(regtest::purse::nobody(), DUST); BALLAST];
                payments.push(Payment::new(address.as_str(), 5_000));
                transactions.push(shop.payer.wallet.pay(&payments, options)?);
                outputs.push(json!({"address": address, "amount": 5_000}));
            }
            ids.push(id(&shop.create(&json!({"outputs": outputs})).await?)?);
        }

        // Half of them are published twice: when they come, and with the block. Nobody takes anything from the socket.
        shop.daemon.pause()?;
        for transaction in transactions.iter().step_by(2) {
            shop.node.send(&consensus::serialize(transaction))?;
        }
        shop.node.mine_transactions(&transactions, &regtest::purse::nobody())?;
        shop.node.settle()?;
        shop.daemon.resume()?;
        for id in &ids {
            let invoice = shop.until(id, "confirmed").await?;
            ensure!(invoice["payments"].as_array().map(Vec::len) == Some(OUTPUTS), "{invoice}");
            ensure!(invoice["amount_paid"] == 500_000 && invoice["late"] == false, "{invoice}");
        }
        // What was lost at the end of the burst shows with the next one.
        let address = shop.payee.new_address()?;
        shop.payer.pay(&*shop.node, &address, 5_000)?;
        eventually(
            || format!("a loss of the node, which is what this tries\n{}", shop.daemon.log()),
            async || Ok((shop.counted("jppd_node_zmq_gaps_total").await? > 0).then_some(())),
        )
        .await
    })
    .await
}

/// A way to a port of the node that can be cut, or stall.
pub(crate) struct Wire {
    here: Port,
    there: watch::Sender<SocketAddr>,
    carrier: JoinHandle<()>,
    stalled: watch::Sender<bool>,
}

impl Wire {
    pub(crate) async fn to(endpoint: &str) -> Result<Self> {
        let here = Port::reserve()?;
        let listener = TcpListener::bind(here.address()).await?;
        let (there, led) = watch::channel(place_of(endpoint)?);
        let (stalled, watched) = watch::channel(false);
        Ok(Self { here, there, carrier: tokio::spawn(carry(listener, led, watched)), stalled })
    }

    /// Where it begins.
    pub(crate) fn here(&self) -> SocketAddr {
        self.here.address()
    }

    /// Connections that are made from now on lead somewhere else; those that are open are closed.
    pub(crate) fn lead_to(&self, endpoint: &str) -> Result<()> {
        self.there.send_replace(place_of(endpoint)?);
        Ok(())
    }

    fn endpoint(&self) -> String {
        format!("tcp://{}", self.here.address())
    }

    /// From now on nothing comes through, or everything again. What is open stays open, as where a router forgot it.
    fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// Nobody answers at the port any more, and what was open is closed.
    async fn cut(&mut self) {
        self.carrier.abort();
        // It is gone when this returns; that it was aborted is what was asked for.
        let _ = (&mut self.carrier).await;
    }

    async fn mend(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.here.address()).await?;
        self.carrier = tokio::spawn(carry(listener, self.there.subscribe(), self.stalled.subscribe()));
        Ok(())
    }
}

fn place_of(endpoint: &str) -> Result<SocketAddr> {
    let (_, place) = endpoint.split_once("://").context("an endpoint of TCP")?;
    Ok(place.parse()?)
}

async fn carry(listener: TcpListener, there: watch::Receiver<SocketAddr>, stalled: watch::Receiver<bool>) {
    let mut open = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let (stalled, mut there) = (stalled.clone(), there.clone());
        open.spawn(async move {
            let place = *there.borrow_and_update();
            if let Ok(far) = TcpStream::connect(place).await {
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                // Either end may go at any time, and then both do.
                tokio::select! {
                    _ = pump(near_in, far_out, stalled.clone()) => {}
                    _ = pump(far_in, near_out, stalled) => {}
                    _ = there.changed() => {}
                }
            }
        });
    }
}

/// Hands on what comes, but while the wire is stalled.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut stalled: watch::Receiver<bool>,
) -> Result<()> {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        stalled.wait_for(|stalled| !stalled).await?;
        to.write_all(bytes.get(..read).unwrap_or_default()).await?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_are_cut_off_cost_no_payment() -> Result<()> {
    let name = "ports_that_are_cut_off_cost_no_payment";
    on_fresh_nodes(name, async |node| {
        let mut wires = [
            Wire::to(&node.zmq_rawtx()).await?,
            Wire::to(&node.zmq_hashblock()).await?,
            Wire::to(&node.zmq_hashds()).await?,
        ];
        let [rawtx, hashblock, hashds] = wires.each_ref().map(Wire::endpoint);
        let settings = [
            ("JPPD_NODE__ZMQ_RAWTX", rawtx.as_str()),
            ("JPPD_NODE__ZMQ_HASHBLOCK", hashblock.as_str()),
            ("JPPD_NODE__ZMQ_HASHDS", hashds.as_str()),
        ];
        let mut shop = Shop::open(program(), node, &settings).await?;
        let mut stream = Stream::prepare(&mut shop, 200, Chance::new(name)?)?;
        stream.flow(&mut shop, 15).await?;
        for wire in &mut wires {
            wire.cut().await;
        }
        stream.flow(&mut shop, 20).await?;
        stream.finish().await?;
        stream.all_paid(&shop).await?;
        shop.payer.mine(&*shop.node, 1)?;
        shop.until(&stream.made()[0].id, "confirmed").await?;
        // The node still publishes, and everything is found: whoever waits for payments misses nothing.
        let ready = shop.daemon.ops().get("/readyz").await?;
        ensure!(ready.status == 200, "{ready:?}");

        let before = shop.counted("jppd_node_zmq_messages_total").await?;
        for wire in &mut wires {
            wire.mend().await?;
        }
        // The daemon tries to connect again every few seconds; once a port is back, ZMQ messages arrive again.
        let until = Instant::now() + PATIENCE;
        while shop.counted("jppd_node_zmq_messages_total").await? == before {
            ensure!(Instant::now() < until, "no signal\n{}", shop.daemon.log());
            stream.step(&mut shop).await?;
            // Among so many payments one is heard, and each has a coin.
            tokio::time::sleep(PATIENCE / MOST_UNHEARD).await;
        }
        stream.flow(&mut shop, 15).await?;
        stream.finish().await?;
        stream.all_paid(&shop).await?;
        stream.settle(&mut shop, true).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_stall_cost_no_payment() -> Result<()> {
    let name = "connections_that_stall_cost_no_payment";
    on_fresh_nodes(name, async |node| {
        let signals = [
            Wire::to(&node.zmq_rawtx()).await?,
            Wire::to(&node.zmq_hashblock()).await?,
            Wire::to(&node.zmq_hashds()).await?,
        ];
        let rpc = Wire::to(&node.rpc_url()).await?;
        let [rawtx, hashblock, hashds] = signals.each_ref().map(Wire::endpoint);
        let rpc_url = format!("http://{}", rpc.here.address());
        let settings = [
            ("JPPD_NODE__RPC_URL", rpc_url.as_str()),
            ("JPPD_NODE__ZMQ_RAWTX", rawtx.as_str()),
            ("JPPD_NODE__ZMQ_HASHBLOCK", hashblock.as_str()),
            ("JPPD_NODE__ZMQ_HASHDS", hashds.as_str()),
        ];
        let mut shop = Shop::open(program(), node, &settings).await?;
        let mut stream = Stream::prepare(&mut shop, 200, Chance::new(name)?)?;
        stream.flow(&mut shop, 10).await?;
        stream.finish().await?;

        // Not one signal more; and nobody says so. What was on its way before may still come with the first payments.
        signals.iter().for_each(|wire| wire.stall(true));
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.push(shop.counted("jppd_node_zmq_messages_total").await?);
            stream.flow(&mut shop, 10).await?;
            stream.finish().await?;
            stream.all_paid(&shop).await?;
        }
        heard.push(shop.counted("jppd_node_zmq_messages_total").await?);
        ensure!(heard.windows(2).any(|two| two[0] == two[1]), "the signals went on: {heard:?}");

        // The node does not answer either, for longer than anybody waits for it.
        rpc.stall(true);
        stream.crowd(&mut shop, 10).await?;
        deaf(&shop).await?;
        rpc.stall(false);
        stream.flow(&mut shop, 10).await?;
        stream.finish().await?;
        stream.all_paid(&shop).await?;

        // And now all of it at once.
        signals.iter().for_each(|wire| wire.stall(false));
        stream.flow(&mut shop, 10).await?;
        stream.finish().await?;
        stream.all_paid(&shop).await?;
        stream.settle(&mut shop, true).await
    })
    .await
}

/// A way to a port of the node that begins at an address of IPv6. It ends with the test's runtime.
async fn by_ipv6(endpoint: &str) -> Result<String> {
    let listener = TcpListener::bind("[::1]:0").await?;
    let here = listener.local_addr()?;
    let there = place_of(endpoint)?;
    tokio::spawn(async move {
        let ((_led, there), (_stalled, stalled)) = (watch::channel(there), watch::channel(false));
        carry(listener, there, stalled).await;
    });
    Ok(format!("tcp://{here}"))
}

/// The node is on the other side of an address of IPv6.
#[tokio::test(flavor = "multi_thread")]
async fn signals_arrive_by_ipv6() -> Result<()> {
    let name = "signals_arrive_by_ipv6";
    if TcpListener::bind("[::1]:0").await.is_err() {
        skipped(&format!("{name}: this machine has no IPv6"));
        return Ok(());
    }
    on_fresh_nodes(name, async |node| {
        let rawtx = by_ipv6(&node.zmq_rawtx()).await?;
        let hashblock = by_ipv6(&node.zmq_hashblock()).await?;
        let hashds = by_ipv6(&node.zmq_hashds()).await?;
        let settings = [
            ("JPPD_NODE__ZMQ_RAWTX", rawtx.as_str()),
            ("JPPD_NODE__ZMQ_HASHBLOCK", hashblock.as_str()),
            ("JPPD_NODE__ZMQ_HASHDS", hashds.as_str()),
            // So long a pause that what is seen at once was told by ZMQ.
            ("JPPD_FOLLOW__HEARTBEAT", "60s"),
        ];
        let mut shop = Shop::open(program(), node, &settings).await?;
        let missing = || format!("three connections\n{}", shop.daemon.log());
        let connected = async || Ok((shop.counted("jppd_node_zmq_connected").await? == 3).then_some(()));
        eventually(missing, connected).await?;
        let before = shop.counted("jppd_node_zmq_messages_total").await?;
        let (id, address) = shop.invoice(8_000).await?;
        shop.payer.pay(&*shop.node, &address, 8_000)?;
        shop.until(&id, "paid").await?;
        ensure!(shop.counted("jppd_node_zmq_messages_total").await? > before, "{}", shop.daemon.log());
        Ok(())
    })
    .await
}

/// No program listens at the configured address of one topic; the node publishes that topic at another address.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_never_connected_is_told_and_costs_nothing() -> Result<()> {
    on_fresh_nodes("a_topic_that_is_never_connected_is_told_and_costs_nothing", async |node| {
        let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let endpoint = format!("tcp://{nobody}");
        let mut shop = Shop::open(program(), node, &[("JPPD_NODE__ZMQ_HASHDS", endpoint.as_str())]).await?;
        let ready = shop.daemon.ops().get("/readyz").await?.expect(200)?;
        ensure!(names(&ready) == ["topic_elsewhere"], "{ready}");
        ensure!(ready.to_string().contains(&shop.node.zmq_hashds()), "where it is published: {ready}");
        let (id, address) = shop.invoice(8_000).await?;
        shop.payer.pay(&*shop.node, &address, 8_000)?;
        shop.until(&id, "paid").await?;
        let missing = || format!("topic_not_connected\n{}", shop.daemon.log());
        eventually(missing, async || {
            let ready = shop.daemon.ops().get("/readyz").await?.expect(200)?;
            Ok((names(&ready) == ["topic_elsewhere", "topic_not_connected"]).then_some(()))
        })
        .await?;
        // Meters and log look once a second.
        let line = "jppd_reason{name=\"topic_not_connected\",severity=\"degraded\"} 1";
        let metrics = eventually(missing, async || {
            let metrics = shop.daemon.ops().get("/metrics").await?.body;
            Ok(metrics.contains(line).then_some(metrics))
        })
        .await?;
        ensure!(metrics.contains("jppd_ready 1"), "{metrics}");
        let told = "degraded: there is no connection to node.zmq_hashds";
        ensure!(shop.daemon.log().contains(told), "{}", shop.daemon.log());
        Ok(())
    })
    .await
}

/// The names of the reasons that degrade.
fn names(ready: &Value) -> Vec<&str> {
    let degraded = ready["degraded"].as_array().map(Vec::as_slice).unwrap_or_default();
    degraded.iter().filter_map(|reason| reason["name"].as_str()).collect()
}

/// Waits until the daemon says that it cannot reach its node: when the first call after the heartbeat's pause has waited
/// for as long as calls wait.
async fn deaf(shop: &Shop) -> Result<()> {
    shop.until_not_ready("node_unreachable").await.map(drop)
}
