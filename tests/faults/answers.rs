//! A proxy between the daemon and its node answers single calls in the node's place, with well-formed wrong results.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use regtest::{Shop, purse::raw_hex, shop::on_fresh_nodes};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use super::program;

/// Method that the proxy answers itself, and the result that it gives instead of the node's.
type Lie = Option<(&'static str, Value)>;

/// A proxy before the node's RPC that can answer single calls itself; the node does not hear of those.
struct Proxy {
    url: String,
    lie: Arc<Mutex<Lie>>,
}

impl Proxy {
    async fn to(rpc_url: &str) -> Result<Self> {
        let there = rpc_url.strip_prefix("http://").context("plain HTTP")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let lie: Arc<Mutex<Lie>> = Arc::default();
        let told = lie.clone();
        // The task ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (there, told) = (there.clone(), told.clone());
                // Either end may close at any time.
                tokio::spawn(async move { drop(carry(near, &there, &told).await) });
            }
        });
        Ok(Self { url, lie })
    }

    fn tell(&self, lie: Lie) {
        *self.lie.lock() = lie;
    }
}

/// Hands on one call after the other, but those that are lied to.
async fn carry(near: TcpStream, there: &str, lie: &Mutex<Lie>) -> Result<()> {
    let mut near = BufReader::new(near);
    let mut far = BufReader::new(TcpStream::connect(there).await?);
    loop {
        let (head, body) = message(&mut near).await?;
        let call: Value = serde_json::from_slice(&body)?;
        let lied = lie.lock().clone().filter(|(method, _)| call["method"] == *method);
        if let Some((_, result)) = lied {
            let body = json!({"result": result, "error": null, "id": call["id"]}).to_string();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            near.write_all(answer.as_bytes()).await?;
            continue;
        }
        far.write_all(&[head, body].concat()).await?;
        let (head, body) = message(&mut far).await?;
        near.write_all(&[head, body].concat()).await?;
    }
}

/// Head and body of one message of HTTP.
async fn message(stream: &mut BufReader<TcpStream>) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let from = head.len();
        ensure!(stream.read_until(b'\n', &mut head).await? > 0, "the stream has ended");
        let line = String::from_utf8_lossy(head.get(from..).unwrap_or_default()).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((head, body))
}

/// The node never hears of a transaction, and its broadcast is called a success under another txid.
#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_that_is_answered_with_another_txid_is_no_payment() -> Result<()> {
    let name = "a_broadcast_that_is_answered_with_another_txid_is_no_payment";
    on_fresh_nodes(name, async |node| {
        let proxy = Proxy::to(&node.rpc_url()).await?;
        let mut shop = Shop::open(program(), node, &[("JPPD_NODE__RPC_URL", proxy.url.as_str())]).await?;
        let (id, address) = shop.invoice(8_000).await?;
        let raw = raw_hex(&shop.payer.sign(&address, 8_000)?);
        proxy.tell(Some(("sendrawtransaction", json!("11".repeat(32)))));
        let answer = shop.pay(&id, &raw).await?;
        ensure!(answer.status == 503 && answer.headers.contains_key("retry-after"), "{answer:?}");
        let invoice = shop.get(&id).await?;
        ensure!(invoice["status"] == "pending" && invoice["amount_paid"] == 0, "{invoice}");
        ensure!(shop.node.mempool()?.is_empty(), "the node never heard of it");
        // The claim is open, so a repetition is taken up.
        proxy.tell(None);
        shop.pay(&id, &raw).await?.expect(200)?;
        ensure!(shop.get(&id).await?["status"] == "paid" && shop.node.mempool()?.len() == 1);
        Ok(())
    })
    .await
}

/// Something answers that is no node; it is not called a node that cannot be reached.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_not_called_a_node_that_is_away() -> Result<()> {
    let name = "an_answer_that_is_none_is_not_called_a_node_that_is_away";
    on_fresh_nodes(name, async |node| {
        let proxy = Proxy::to(&node.rpc_url()).await?;
        let mut shop = Shop::open(program(), node, &[("JPPD_NODE__RPC_URL", proxy.url.as_str())]).await?;
        proxy.tell(Some(("getdsprooflist", json!("no list"))));
        // Without a payment to watch nobody asks for proofs.
        let (id, address) = shop.invoice(8_000).await?;
        shop.payer.pay(&*shop.node, &address, 8_000)?;
        let ready = shop.until_not_ready("node_not_understood").await?;
        ensure!(!ready.body.contains("node_unreachable"), "{ready:?}");
        proxy.tell(None);
        shop.daemon.wait_ready().await?;
        shop.until(&id, "paid").await?;
        Ok(())
    })
    .await
}
