//! Load: transactions at a given rate against `jppd` with many open invoices, and how long their events take.
//!
//! What is measured is what a shop would see: from the moment `sendrawtransaction` returns at the node to the moment
//! the frame is read at a WebSocket client. Every payment goes straight to an address of its own; none is submitted
//! to `jppd`. Node, `jppd` and clients share this machine, on loopback.

#![expect(clippy::float_arithmetic, reason = "times and rates, as they are printed")]

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bitcoincash::consensus;
use clap::Parser;
use regtest::{
    Daemon, Kind, Node, Purse,
    daemon::beside_this_program,
    wallet::{PayOptions, Payment, Wallet},
};
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet};

/// How many creations are under way at once.
const CREATORS: usize = 64;

/// Pays open invoices at a given rate, and measures how long their events take.
#[derive(Clone, Debug, Parser)]
#[command(name = "load")]
struct Options {
    /// Which node
    #[arg(long, value_enum, default_value = "sim")]
    node: Kind,
    /// Transactions in a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// For how many seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=120))]
    seconds: u32,
    /// How many invoices are open
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    invoices: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let payments = options.rate.saturating_mul(options.seconds);
    if payments > options.invoices {
        bail!("{payments} payments need as many invoices");
    }
    let node = options.node.start()?.context("there is no bitcoind: set BITCOIND, or put it on the PATH")?;
    let mut purse = Purse::fund(&*node, 1)?;
    fan_out(&*node, &mut purse, payments as usize)?;
    let settings = [
        ("JPPD_LIMITS__MAX_SOCKETS_PER_ADDRESS", "0"),
        ("JPPD_LIMITS__MAX_CONNECTIONS_PER_ADDRESS", "0"),
        ("JPPD_INVOICE__DEFAULT_EXPIRY", "1d"),
        ("RUST_LOG", "warn"),
    ];
    let daemon = Daemon::start(&beside_this_program("jppd")?, &*node, &settings).await?;

    let started = Instant::now();
    let addresses = addresses(options.invoices)?;
    let invoices = create(&daemon, &addresses).await?;
    let took = started.elapsed();
    println!(
        "{} invoices created over HTTP in {:.1} s ({:.0} a second, {CREATORS} at once)",
        invoices.len(),
        took.as_secs_f64(),
        f64::from(options.invoices) / took.as_secs_f64()
    );

    let paid: Vec<&(String, String)> = invoices.iter().take(payments as usize).collect();
    let mut raws = Vec::with_capacity(paid.len());
    for (address, _) in &paid {
        raws.push(consensus::serialize(&purse.wallet.pay(
            &[Payment::new(address.as_str(), 1000)],
            PayOptions { confirmed_only: true, ..PayOptions::default() },
        )?));
    }
    let mut listeners = JoinSet::new();
    let ready = Arc::new(Semaphore::new(0));
    for (index, (_, id)) in paid.iter().enumerate() {
        let (api, path, ready) = (daemon.api(), format!("/ws/jpp/invoice/{id}/"), ready.clone());
        listeners.spawn(async move {
            let mut socket = api.socket(&path).await?;
            ready.add_permits(1);
            socket.next_within(Duration::from_secs(300)).await?;
            anyhow::Ok((index, Instant::now()))
        });
    }
    let all = u32::try_from(paid.len())?;
    let _ = ready.acquire_many(all).await?;
    println!("{all} sockets listen; {} transactions a second for {} s", options.rate, options.seconds);

    let sent = send(node.clone(), raws, options.rate).await?;
    let mut arrived = HashMap::new();
    while let Some(listener) = listeners.join_next().await {
        let (index, at) = listener??;
        arrived.insert(index, at);
    }
    let mut times: Vec<Duration> = sent
        .iter()
        .enumerate()
        .filter_map(|(index, sent)| Some(arrived.get(&index)?.saturating_duration_since(*sent)))
        .collect();
    times.sort();
    let at =
        |share: usize| times.get((times.len().saturating_sub(1)) * share / 100).copied().unwrap_or_default();
    println!(
        "from sendrawtransaction's return to the frame, {} of {all} payments: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        times.len(),
        millis(at(50)),
        millis(at(99)),
        millis(at(100))
    );
    daemon.terminate().await?;
    Ok(())
}

/// Confirmed coins, one for each payment, so that no payment waits for another.
fn fan_out(node: &dyn Node, purse: &mut Purse, coins: usize) -> Result<()> {
    for transaction in purse.wallet.split(coins, 10_000, PayOptions::default())? {
        node.send(&consensus::serialize(&transaction))?;
    }
    purse.mine(node, 1)
}

fn addresses(count: u32) -> Result<Vec<String>> {
    let mut payee = Wallet::from_seed(2)?;
    (0..count).map(|_| payee.new_address()).collect()
}

/// Creates an invoice for each address. Gives address and id.
async fn create(daemon: &Daemon, addresses: &[String]) -> Result<Vec<(String, String)>> {
    let mut creators = JoinSet::new();
    for chunk in addresses.chunks(addresses.len().div_ceil(CREATORS)) {
        let (api, chunk) = (daemon.api(), chunk.to_vec());
        creators.spawn(async move {
            let mut connection = api.connect().await?;
            let mut made = Vec::with_capacity(chunk.len());
            for address in chunk {
                let body = json!({"outputs": [{"address": address, "amount": 1000}]});
                let invoice = connection.post("/jpp/invoices/", &body).await?.expect(201)?;
                let id = invoice["payment_id"].as_str().context("a payment_id")?.to_owned();
                made.push((address, id));
            }
            anyhow::Ok(made)
        });
    }
    let mut invoices = Vec::with_capacity(addresses.len());
    while let Some(made) = creators.join_next().await {
        invoices.extend(made??);
    }
    Ok(invoices)
}

/// Sends transactions at a steady rate. Gives when each call returned.
async fn send(node: Arc<dyn Node>, raws: Vec<Vec<u8>>, rate: u32) -> Result<Vec<Instant>> {
    tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let mut sent = Vec::with_capacity(raws.len());
        for (index, raw) in (0u32..).zip(raws) {
            let due = started + Duration::from_secs(1) * index / rate;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            node.send(&raw)?;
            sent.push(Instant::now());
        }
        anyhow::Ok(sent)
    })
    .await?
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
