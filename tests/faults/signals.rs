//! The node's signals are lost: nobody reads them, or their ports are cut off. They are hints; asking finds the rest.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use bitcoincash::consensus;
use regtest::{
    Shop,
    shop::{id, on_fresh_nodes},
    wallet::{PayOptions, Payment},
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
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
        for _ in 0..200 {
            if counted(&shop, "jppd_node_zmq_gaps_total").await? > 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the node lost nothing: it was not tried what is to be tried\n{}", shop.daemon.log())
    })
    .await
}

/// A way to a port of the node that can be cut.
struct Wire {
    here: SocketAddr,
    there: SocketAddr,
    carrier: JoinHandle<()>,
}

impl Wire {
    async fn to(endpoint: &str) -> Result<Self> {
        let there = endpoint.strip_prefix("tcp://").context("an endpoint of TCP")?.parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let here = listener.local_addr()?;
        Ok(Self { here, there, carrier: tokio::spawn(carry(listener, there)) })
    }

    fn endpoint(&self) -> String {
        format!("tcp://{}", self.here)
    }

    /// Nobody answers at the port any more, and what was open is closed.
    async fn cut(&mut self) {
        self.carrier.abort();
        // It is gone when this returns; that it was aborted is what was asked for.
        let _ = (&mut self.carrier).await;
    }

    async fn mend(&mut self) -> Result<()> {
        self.carrier = tokio::spawn(carry(TcpListener::bind(self.here).await?, self.there));
        Ok(())
    }
}

async fn carry(listener: TcpListener, there: SocketAddr) {
    let mut open = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        open.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(there).await {
                // Either end may go at any time.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
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

        let before = counted(&shop, "jppd_node_zmq_messages_total").await?;
        for wire in &mut wires {
            wire.mend().await?;
        }
        // It is tried again every few seconds whether the port is back.
        let mut heard = false;
        for _ in 0..100 {
            stream.step(&mut shop).await?;
            heard = counted(&shop, "jppd_node_zmq_messages_total").await? > before;
            if heard {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        ensure!(heard, "signals come again\n{}", shop.daemon.log());
        stream.flow(&mut shop, 15).await?;
        stream.finish().await?;
        stream.all_paid(&shop).await?;
        stream.settle(&mut shop, true).await
    })
    .await
}

/// A counter of the daemon, over all topics.
async fn counted(shop: &Shop, name: &str) -> Result<u64> {
    let metrics = shop.daemon.ops().get("/metrics").await?.body;
    let counts = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}
