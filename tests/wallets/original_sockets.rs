//! The socket clients that the original documents: one in Python, one for Node.js, one in a browser.
//!
//! None of them sends a query, and two of them take every message for a payment: they print it under "payment
//! received", with its type, txid, time and memo, and the Python one reads a field of `invoice.payment`, which fails
//! where that is `null`. The heads are what `websocket-client` 1.9 and `ws` 8 write, recorded from those two programs,
//! and what a browser writes.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{
    http::{Header, Server},
    json::{text, time},
    on_every_node,
    shop::{Invoice, Shop},
};

/// How long a socket must say nothing to count as silent.
const SILENCE: Duration = Duration::from_millis(300);

/// A client of the original: its name, and its head after the request line. A header without a value is `Host` or
/// `Origin`, which name the server.
struct Client {
    name: &'static str,
    head: &'static [Header<'static>],
    /// Whether its code reads `invoice.payment` without looking whether there is one.
    needs_payment: bool,
}

const CLIENTS: [Client; 3] = [
    Client {
        name: "websocket_client_example.py",
        head: &[
            ("Upgrade", "websocket"),
            ("Host", ""),
            ("Origin", ""),
            ("Sec-WebSocket-Key", "htKHwcqti4o1nB+riUYICg=="),
            ("Sec-WebSocket-Version", "13"),
            ("Connection", "Upgrade"),
        ],
        needs_payment: true,
    },
    Client {
        name: "websocket_client_example.js",
        head: &[
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "84hqlYh5YnKcJIT0ibtMog=="),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
            ("Host", ""),
        ],
        needs_payment: false,
    },
    Client {
        name: "websocket_client_example.html",
        head: &[
            ("Host", ""),
            ("Connection", "Upgrade"),
            ("Pragma", "no-cache"),
            ("Cache-Control", "no-cache"),
            ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
            ("Upgrade", "websocket"),
            ("Origin", "https://shop.example"),
            ("Sec-WebSocket-Version", "13"),
            ("Accept-Encoding", "gzip, deflate, br"),
            ("Sec-WebSocket-Key", "84hqlYh5YnKcJIT0ibtMog=="),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ],
        needs_payment: false,
    },
];

impl Client {
    /// Connects to `/ws/jpp/invoice/{id}/`, the only path that the original has.
    async fn connect(&self, invoice: &Invoice) -> Result<Listening<'_>> {
        let (server, _) = Server::of_url(&invoice.url)?;
        let host = format!("127.0.0.1:{}", server.port);
        let mut head = format!("GET /ws/jpp/invoice/{}/ HTTP/1.1\r\n", invoice.id);
        for (name, value) in self.head {
            match (*name, *value) {
                ("Host", "") => head.push_str(&format!("Host: {host}\r\n")),
                ("Origin", "") => head.push_str(&format!("Origin: http://{host}\r\n")),
                (name, value) => head.push_str(&format!("{name}: {value}\r\n")),
            }
        }
        head.push_str("\r\n");
        let mut stream = TcpStream::connect(&host).await?;
        stream.write_all(head.as_bytes()).await?;
        // Byte by byte: what follows the head is the first message.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await?);
        }
        let answer = String::from_utf8(answer)?.to_ascii_lowercase();
        ensure!(answer.starts_with("http/1.1 101 "), "{}: {answer}", self.name);
        ensure!(!answer.contains("sec-websocket-extensions"), "{}: {answer}", self.name);
        let stream = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        Ok(Listening { client: self, stream })
    }
}

/// A client that listens.
struct Listening<'a> {
    client: &'a Client,
    stream: WebSocketStream<TcpStream>,
}

impl Listening<'_> {
    /// The next message, within a time.
    async fn message(&mut self, within: Duration) -> Result<Option<Value>> {
        loop {
            let Ok(message) = timeout(within, self.stream.next()).await else { return Ok(None) };
            match message.context("the socket ended")?? {
                Message::Text(text) => return Ok(Some(serde_json::from_str(&text)?)),
                Message::Ping(_) => {}
                message @ (Message::Binary(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {
                    bail!("{message:?}")
                }
            }
        }
    }

    async fn is_silent(&mut self) -> Result<()> {
        let message = self.message(SILENCE).await?;
        ensure!(message.is_none(), "{} takes this for a payment: {message:?}", self.client.name);
        Ok(())
    }

    /// The one message that it expects, with every field that it reads.
    async fn is_told(&mut self, invoice: &Invoice, txid: &str, memo: &str) -> Result<Value> {
        let message = self.message(Duration::from_secs(20)).await?.context("it is told")?;
        ensure!(text(&message, "type")? == "payment_received", "{message}");
        ensure!(text(&message, "txid")? == txid && text(&message, "memo")? == memo, "{message}");
        time(&message, "paid_at")?;
        let shown = &message["invoice"];
        ensure!(text(shown, "payment_id")? == invoice.id, "{message}");
        ensure!(text(shown, "network")? == "regtest" && text(shown, "currency")? == "BCH", "{message}");
        if self.client.needs_payment {
            ensure!(shown["payment"].is_object(), "it fails without a payment: {message}");
        }
        ensure!(text(&shown["payment"], "txid")? == txid, "{message}");
        Ok(message)
    }
}

on_every_node!(the_examples_of_the_original_take_a_payment_for_a_payment, async |mut shop: Shop| {
    let invoice = shop.invoice(&[30_000]).await?;
    let (address, _) = invoice.outputs.first().context("an output")?;
    let mut all = shop.events(&invoice.id).await?;
    let mut listening = Vec::new();
    for client in &CLIENTS {
        listening.push(client.connect(&invoice).await?);
    }
    // A third of the sum is no payment.
    shop.payer.pay(&*shop.node, address, 10_000)?;
    all.next_of("partial_payment").await?;
    for client in &mut listening {
        client.is_silent().await?;
    }
    let txid = shop.payer.pay(&*shop.node, address, 20_000)?.to_string();
    all.next_of("payment_received").await?;
    let memo = "K\u{e4}se \u{2013} two";
    let mut told = Vec::new();
    for client in &mut listening {
        told.push(client.is_told(&invoice, &txid, memo).await?);
    }
    ensure!(told.iter().all(|message| *message == told[0]), "{told:?}");
    // The confirmation of the payment is no second payment, so the clients receive nothing.
    shop.payer.mine(&*shop.node, 1)?;
    all.next_of("payment_confirmed").await?;
    for client in &mut listening {
        client.is_silent().await?;
    }
    // A client that connects after the payment is told of it, where the original would leave it waiting.
    for client in &CLIENTS {
        let mut late = client.connect(&invoice).await?;
        ensure!(late.is_told(&invoice, &txid, memo).await? == told[0]);
        late.is_silent().await?;
    }
    Ok(())
});

on_every_node!(the_examples_of_the_original_are_told_of_a_payment_in_one, async |mut shop: Shop| {
    let invoice = shop.invoice(&[21_000, 22_000]).await?;
    let mut listening = Vec::new();
    for client in &CLIENTS {
        listening.push(client.connect(&invoice).await?);
    }
    let signed = shop.sign(&invoice)?;
    let body = serde_json::json!({"raw_tx_hex": signed.hex, "memo": "thanks"});
    let url = shop.url(&format!("/api/jpp/invoices/{}/pay/", invoice.id));
    let headers = [("Content-Type", "application/json")];
    shop.post(&url, &headers, &body).await?.expect(200)?;
    let txid = signed.transaction.compute_txid().to_string();
    for client in &mut listening {
        client.is_told(&invoice, &txid, "thanks").await?;
        client.is_silent().await?;
    }
    Ok(())
});
