//! Slow connections: thousands of them against `jppd` in each known way, and what an honest client notices.
//!
//! Each way runs against a `jppd` of its own: the slow connections are opened from one address and then from many, every
//! one that `jppd` closes is opened again, and beside them an honest client asks for an invoice, each time over a new
//! connection and over one that it keeps. Measured are the honest client's times, from the moment at which a request is
//! due to the last byte of its answer, and the memory of `jppd`. Node, `jppd` and all clients share this machine, on
//! loopback.

#![expect(clippy::float_arithmetic, reason = "times and sizes, as they are printed")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bitcoincash::consensus;
use clap::{Parser, ValueEnum};
use regtest::{
    Daemon, Kind, Node, Purse,
    daemon::beside_this_program,
    wallet::{PayOptions, Payment, Wallet},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{TcpSocket, TcpStream},
    sync::Mutex,
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

/// How long a client waits for an answer before the request counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that the system keeps for a slow reader.
const SMALL_BUFFER: u32 = 4096;

/// Ways of being slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Says nothing at all
    Silent,
    /// Sends a head, one byte a second
    Head,
    /// Sends a body, one byte a second
    Body,
    /// Rests after an answer
    Idle,
    /// Reads answers with 512 bytes in 5 seconds
    Reader,
    /// Follows an invoice from its first event, and does not read
    Socket,
}

/// Opens slow connections, and measures what an honest client notices.
#[derive(Clone, Debug, Parser)]
#[command(name = "slow")]
struct Options {
    /// Node that jppd runs with
    #[arg(long, value_enum, default_value = "sim")]
    node: Kind,
    /// How many slow connections are held
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// From how many addresses, 127.1.0.0 and on; each number is a run of its own
    #[arg(long, value_delimiter = ',', default_value = "1,200")]
    addresses: Vec<u32>,
    /// Ways of being slow to measure; all if none is named
    #[arg(long, value_enum, value_delimiter = ',')]
    ways: Vec<Way>,
    /// For how many seconds the honest client is measured
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Requests of the honest client in a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Slow connections opened in a second, again or for the first time
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    openings: u32,
    /// Payments of the invoice whose sockets do not read
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
    payments: u32,
    /// Lifts jppd's limits of connections, so that all slow ones are really held
    #[arg(long)]
    unlimited: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let ways = if options.ways.is_empty() { Way::value_variants() } else { &options.ways };
    println!(
        "| way | addresses | open at the end | opened | honest requests | failed | p50 | p99 | max | memory |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for way in ways {
        for addresses in &options.addresses {
            println!("{}", run(&options, *way, (*addresses).max(1)).await?);
        }
    }
    Ok(())
}

/// One way from so many addresses: a line of the table.
async fn run(options: &Options, way: Way, addresses: u32) -> Result<String> {
    let node = options.node.start()?.context("there is no bitcoind: set BITCOIND, or put it on the PATH")?;
    // A node without a block of its own says that it still downloads the chain.
    let mut purse = Purse::fund(&*node, 1)?;
    let most = options.connections.saturating_mul(2).to_string();
    let mut settings = vec![("RUST_LOG", "warn")];
    if options.unlimited {
        settings.extend([
            ("JPPD_LIMITS__MAX_CONNECTIONS", most.as_str()),
            ("JPPD_LIMITS__MAX_CONNECTIONS_PER_ADDRESS", "0"),
            ("JPPD_LIMITS__MAX_SOCKETS", most.as_str()),
            ("JPPD_LIMITS__MAX_SOCKETS_PER_ADDRESS", "0"),
        ]);
    }
    let daemon = Daemon::start(&beside_this_program("jppd")?, &*node, &settings).await?;
    let honest = invoice(&daemon, &*node, &mut purse, 0).await?;
    let payments = if way == Way::Socket { options.payments } else { 0 };
    let invoice =
        if payments > 0 { invoice(&daemon, &*node, &mut purse, payments).await? } else { honest.clone() };
    let port = daemon.url().rsplit(':').next().context("a port")?.parse()?;
    let attack = Arc::new(Attack {
        server: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        way,
        invoice,
        gate: Mutex::new(tokio::time::Instant::now()),
        between: Duration::from_secs(1).div_f64(f64::from(options.openings)),
        open: AtomicUsize::new(0),
        opened: AtomicUsize::new(0),
    });
    let mut attackers = JoinSet::new();
    for number in 0..options.connections {
        let attack = attack.clone();
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 0).to_bits() + 1 + number % addresses);
        attackers.spawn(async move { attack.keep(address).await });
    }
    // Until all had their turn; what was closed meanwhile is being opened again.
    let wanted = usize::try_from(options.connections)?;
    for _ in 0..600 {
        if attack.opened.load(Ordering::Relaxed) >= wanted {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let pid = daemon.pid().context("jppd does not run")?;
    let times = measure(options, attack.server, &honest, pid).await?;
    let open = attack.open.load(Ordering::Relaxed);
    let opened = attack.opened.load(Ordering::Relaxed);
    attackers.shutdown().await;
    daemon.terminate().await?;
    let at = |share: usize| times.sorted.get(times.sorted.len().saturating_sub(1) * share / 100);
    let millis = |share| at(share).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0);
    Ok(format!(
        "| {} | {addresses} | {open} | {opened} | {} | {} | {:.1} ms | {:.1} ms | {:.1} ms | {} MB |",
        way.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned()),
        times.sorted.len(),
        times.failed,
        millis(50),
        millis(99),
        millis(100),
        times.peak.div_ceil(1024)
    ))
}

/// An open invoice, with so many payments of the smallest amount.
async fn invoice(daemon: &Daemon, node: &dyn Node, purse: &mut Purse, payments: u32) -> Result<String> {
    let address = Wallet::from_seed(7 + u64::from(payments))?.new_address()?;
    let body = json!({"outputs": [{"address": address, "amount": 1_000_000_000 + u64::from(payments)}]});
    let created = daemon.api().post("/jpp/invoices/", &body).await?.expect(201)?;
    let id = created["payment_id"].as_str().context("a payment_id")?.to_owned();
    if payments > 0 {
        for transaction in purse.wallet.split(usize::try_from(payments)?, 10_000, PayOptions::default())? {
            node.send(&consensus::serialize(&transaction))?;
        }
        purse.mine(node, 1)?;
        let options = PayOptions { confirmed_only: true, ..PayOptions::default() };
        for _ in 0..payments {
            let paying = purse.wallet.pay(&[Payment::new(address.as_str(), 546)], options)?;
            node.send(&consensus::serialize(&paying))?;
        }
        for _ in 0..600 {
            let standing = daemon.api().get(&format!("/jpp/invoices/{id}/")).await?.expect(200)?;
            if standing["amount_paid"] == u64::from(payments) * 546 {
                return Ok(id);
            }
            sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("the payments are not credited");
    }
    Ok(id)
}

/// Measurements of the honest client and of the memory of `jppd`.
struct Times {
    /// Of the requests that were answered, shortest first.
    sorted: Vec<Duration>,
    failed: usize,
    /// The largest memory of `jppd` meanwhile, in KiB.
    peak: u64,
}

/// Asks for an invoice at a steady rate, in turn over a new connection and over one that is kept.
async fn measure(options: &Options, server: SocketAddr, id: &str, pid: u32) -> Result<Times> {
    let head = format!("GET /jpp/invoices/{id}/ HTTP/1.1\r\nHost: {server}\r\n\r\n");
    let head: Arc<str> = head.into();
    let kept = Arc::new(Mutex::new(None));
    let mut requests = JoinSet::new();
    let started = tokio::time::Instant::now();
    let mut peak = 0;
    for number in 0..options.rate.saturating_mul(options.seconds) {
        let due = started + Duration::from_secs(1) * number / options.rate;
        sleep_until(due).await;
        if number % options.rate == 0 {
            peak = peak.max(memory(pid)?);
        }
        let (head, kept) = (head.clone(), kept.clone());
        requests.spawn(async move {
            let answered = if number % 2 == 0 {
                timeout(PATIENCE, fresh(server, &head)).await
            } else {
                timeout(PATIENCE, over(server, &head, &kept)).await
            };
            matches!(answered, Ok(Ok(()))).then(|| due.elapsed())
        });
    }
    let answered = requests.join_all().await;
    peak = peak.max(memory(pid)?);
    let failed = answered.iter().filter(|time| time.is_none()).count();
    let mut sorted: Vec<Duration> = answered.into_iter().flatten().collect();
    sorted.sort();
    Ok(Times { sorted, failed, peak })
}

async fn fresh(server: SocketAddr, head: &str) -> Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    ask(&mut stream, head).await
}

/// Over a connection that is kept. One that was closed while it rested is opened again, as every client does.
async fn over(server: SocketAddr, head: &str, kept: &Mutex<Option<TcpStream>>) -> Result<()> {
    let mut kept = kept.lock().await;
    if let Some(mut stream) = kept.take()
        && ask(&mut stream, head).await.is_ok()
    {
        *kept = Some(stream);
        return Ok(());
    }
    let mut stream = TcpStream::connect(server).await?;
    ask(&mut stream, head).await?;
    *kept = Some(stream);
    Ok(())
}

/// Sends a request, and reads its answer, which must be 200.
async fn ask(stream: &mut TcpStream, head: &str) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(head.as_bytes()).await?;
    let mut received = Vec::new();
    let end = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        anyhow::ensure!(stream.read_buf(&mut received).await? > 0, "the connection was closed");
    };
    let head = std::str::from_utf8(received.get(..end).unwrap_or_default())?.to_ascii_lowercase();
    anyhow::ensure!(head.starts_with("http/1.1 200 "), "{head}");
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.context("a length")?.parse()?;
    while received.len() < end + length {
        anyhow::ensure!(stream.read_buf(&mut received).await? > 0, "the answer broke off");
    }
    Ok(())
}

/// The memory of a process, in KiB.
fn memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// State that all slow connections of a run share.
struct Attack {
    server: SocketAddr,
    way: Way,
    invoice: String,
    /// When the next connection may be opened.
    gate: Mutex<tokio::time::Instant>,
    between: Duration,
    open: AtomicUsize,
    opened: AtomicUsize,
}

impl Attack {
    /// Holds one connection from an address, and opens it again whenever it ends.
    async fn keep(&self, address: Ipv4Addr) {
        loop {
            let turn = {
                let mut gate = self.gate.lock().await;
                let turn = (*gate).max(tokio::time::Instant::now());
                *gate = turn + self.between;
                turn
            };
            sleep_until(turn).await;
            let connected = self.connect(address).await;
            self.opened.fetch_add(1, Ordering::Relaxed);
            let Ok(mut stream) = connected else { continue };
            self.open.fetch_add(1, Ordering::Relaxed);
            // However it ends, it is opened again.
            let _ = self.hold(&mut stream).await;
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn connect(&self, address: Ipv4Addr) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if matches!(self.way, Way::Reader | Way::Socket) {
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
        }
        socket.bind(SocketAddr::from((address, 0)))?;
        Ok(timeout(PATIENCE, socket.connect(self.server)).await??)
    }

    /// Is slow until the connection ends.
    async fn hold(&self, stream: &mut TcpStream) -> Result<()> {
        let (id, host) = (&self.invoice, self.server);
        match self.way {
            Way::Silent => end(stream).await,
            Way::Head => {
                let head = format!("GET /jpp/invoices/{id}/ HTTP/1.1\r\nHost: {host}\r\nX-Slow: ");
                drip(stream, &head).await
            }
            Way::Body => {
                let head = format!(
                    "POST /i/{id} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/payment\r\n\
                     Content-Length: 200000\r\n\r\n"
                );
                drip(stream, &head).await
            }
            Way::Idle => {
                ask(stream, &format!("GET /jpp/invoices/{id}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await?;
                end(stream).await
            }
            Way::Reader => {
                let head = format!("GET /i/{id} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n");
                let _ = timeout(Duration::from_secs(1), stream.write_all(head.repeat(100).as_bytes())).await;
                let mut buffer = [0; 512];
                while stream.read(&mut buffer).await? > 0 {
                    sleep(Duration::from_secs(5)).await;
                }
                Ok(())
            }
            Way::Socket => {
                let head = format!(
                    "GET /ws/jpp/invoice/{id}/?since=0 HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await?;
                // Only the answer's first bytes are read; a refusal ends the connection.
                let mut status = [0; 13];
                stream.read_exact(&mut status).await?;
                anyhow::ensure!(status.starts_with(b"HTTP/1.1 101"), "refused");
                while !stream.ready(Interest::READABLE).await?.is_read_closed() {
                    sleep(Duration::from_secs(1)).await;
                }
                Ok(())
            }
        }
    }
}

/// Sends the beginning at once, and then one byte a second.
async fn drip(stream: &mut TcpStream, beginning: &str) -> Result<()> {
    stream.write_all(beginning.as_bytes()).await?;
    let mut byte = [0; 1];
    while timeout(Duration::from_secs(1), stream.read(&mut byte)).await.is_err() {
        stream.write_all(b"x").await?;
    }
    Ok(())
}

/// Waits for the end of a connection.
async fn end(stream: &mut TcpStream) -> Result<()> {
    let mut buffer = [0; 512];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
