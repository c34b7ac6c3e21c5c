//! What the checks share: a raw HTTP client, a subscriber, a funded wallet, and transcripts that can be compared.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitcoincash::consensus::encode::deserialize;
use bitcoincash::{Amount, Block, BlockHash, OutPoint, ScriptBuf, Transaction, TxOut};
use regtest::wait::PATIENCE;
use regtest::wallet::{PayOptions, Payment, Sign, Wallet};
use regtest::{Node, Subscriber, fresh_nodes, nodes, subscriber};
use serde_json::{Value, json};

/// Runs `check` against every node there is, and compares what it wrote down: the first node is the stand-in.
pub(crate) fn compare(test: &str, check: impl Fn(&dyn Node) -> Vec<String>) {
    let transcripts: Vec<_> =
        fresh_nodes(test).unwrap().iter().map(|node| (node.name(), check(node.as_ref()))).collect();
    let (first, expected) = &transcripts[0];
    assert!(!expected.is_empty());
    for (name, lines) in &transcripts[1..] {
        let differing: Vec<_> = (0..expected.len().max(lines.len()))
            .filter(|&line| expected.get(line) != lines.get(line))
            .map(|line| format!("{first}: {:?}\n{name}: {:?}\n", expected.get(line), lines.get(line)))
            .collect();
        assert!(
            differing.is_empty(),
            "{} lines of {test} differ:\n{}",
            differing.len(),
            differing.join("\n")
        );
    }
}

/// Runs `check` against every node that is the test's own.
pub(crate) fn each_fresh(test: &str, check: impl Fn(Arc<dyn Node>)) {
    for node in fresh_nodes(test).unwrap() {
        println!("{test} on {}", node.name());
        check(node);
    }
}

/// Runs `check` against every node there is, the external one too: it must not count on an empty chain.
pub(crate) fn each(test: &str, check: impl Fn(Arc<dyn Node>)) {
    for node in nodes(test).unwrap() {
        println!("{test} on {}", node.name());
        check(node);
    }
}

/// An HTTP answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn error(&self) -> (i64, String) {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        (body["error"]["code"].as_i64().unwrap(), body["error"]["message"].as_str().unwrap().to_owned())
    }
}

/// Credentials as the node wrote them.
pub(crate) fn cookie(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// One request on a connection of its own. `None` when the node closes without an answer.
pub(crate) fn http(
    node: &dyn Node,
    method: &str,
    path: &str,
    secret: Option<&str>,
    body: &str,
) -> Option<Answer> {
    let address = node.rpc_url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let login = secret
        .map_or_else(String::new, |secret| format!("Authorization: Basic {}\r\n", STANDARD.encode(secret)));
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{login}Content-Length: {length}\r\n")
        .unwrap();
    write!(stream, "Connection: close\r\n\r\n{body}").unwrap();
    let mut answer = Vec::new();
    if stream.read_to_end(&mut answer).is_err() || answer.is_empty() {
        return None;
    }
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    Some(Answer { status, headers, body: body.to_owned() })
}

/// One call over HTTP with the right password.
pub(crate) fn rpc(node: &dyn Node, method: &str, params: Value) -> Answer {
    let body = json!({"method": method, "params": params, "id": 1}).to_string();
    http(node, "POST", "/", Some(&cookie(&node.cookie_file())), &body).unwrap()
}

/// One call as a line of a transcript.
pub(crate) fn line(node: &dyn Node, method: &str, params: Value) -> String {
    let answer = rpc(node, method, params.clone());
    let asked = normalise(&params.to_string());
    format!("{method} {asked} {} {}", answer.status, normalise(&answer.body))
}

/// Fields whose numbers two nodes need not agree on.
const FREE: [&str; 12] = [
    "time",
    "mediantime",
    "nonce",
    "blocktime",
    "size_on_disk",
    "usage",
    "blocksize",
    "size",
    "bytes",
    "coinbase",
    "warnings",
    "address",
];

/// JSON text with what differs between two chains taken out: hashes and long hexadecimal strings, and the values of
/// [`FREE`] fields. The order of fields, the writing of numbers and everything else stays. Help texts are cut after
/// their first line.
pub(crate) fn normalise(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    let mut key = String::new();
    while let Some(first) = rest.chars().next() {
        let free = FREE.contains(&key.as_str());
        if first == '"' {
            let end = string_end(rest);
            let (token, after) = rest.split_at(end);
            rest = after;
            let inner = &token[1..token.len() - 1];
            if rest.starts_with(':') {
                let is_hash = is_hex(inner) && inner.len() == 64;
                key = inner.to_owned();
                out += if is_hash { "\"<hash>\"" } else { token };
            } else if free && !inner.starts_with("bchreg:") {
                out += "\"<free>\"";
            } else {
                out += &format!("\"{}\"", words(inner));
            }
        } else if first.is_ascii_digit() || first == '-' {
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && !".-+".contains(c)).unwrap_or(rest.len());
            let (token, after) = rest.split_at(end);
            rest = after;
            out += if free { "<free>" } else { token };
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// Length of the string token at the start of `text`, quotes included.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn words(text: &str) -> String {
    let first = text.split("\\n").next().unwrap();
    let replaced: Vec<_> = first
        .split(' ')
        .map(|word| {
            let bare = word.split('[').next().unwrap().trim_matches(|c| "'()".contains(c));
            if is_hex(bare) && bare.len() >= 64 {
                word.replace(bare, if bare.len() == 64 { "<hash>" } else { "<hex>" })
            } else {
                word.to_owned()
            }
        })
        .collect();
    replaced.join(" ")
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A wallet with mature coins, and its node. Schnorr signatures have one length, which makes fees comparable; each
/// payment takes a coinbase of its own, so that one that is not sent is in nobody's way.
pub(crate) struct Funded<'a> {
    pub(crate) node: &'a dyn Node,
    pub(crate) wallet: Wallet,
    pub(crate) script: ScriptBuf,
    pub(crate) pay: PayOptions,
}

impl<'a> Funded<'a> {
    /// Mines until `coins` coinbases of the wallet can be spent.
    pub(crate) fn new(node: &'a dyn Node, coins: u32) -> Self {
        let mut wallet = Wallet::from_seed(7).unwrap();
        let script = wallet.script(0).unwrap();
        let pay = PayOptions { sign: Sign::SCHNORR, confirmed_only: true, ..PayOptions::default() };
        let mut funded = Self { node, wallet, script, pay };
        funded.mine(coins + 100);
        funded
    }

    /// Mines to the wallet, and books it.
    pub(crate) fn mine(&mut self, count: u32) -> Vec<BlockHash> {
        let height = self.node.tip().unwrap().1;
        let hashes = self.node.mine(count, &self.script).unwrap();
        for (height, hash) in (height + 1..).zip(&hashes) {
            let block = block(self.node, *hash);
            self.wallet.scan_block(&block, height);
        }
        hashes
    }

    /// A transaction that pays somebody else, not sent.
    pub(crate) fn payment(&mut self, satoshis: u64) -> Transaction {
        self.wallet.pay(&[Payment::new(stranger(), satoshis)], self.pay).unwrap()
    }

    /// A transaction that spends the change of a payment, not sent.
    pub(crate) fn child(&mut self, parent: &Transaction) -> Transaction {
        let change = &parent.output[1];
        let mut tx = parent.clone();
        tx.input.truncate(1);
        tx.input[0].previous_output = OutPoint { txid: parent.compute_txid(), vout: 1 };
        tx.output = vec![TxOut { value: change.value - Amount::from_sat(1_000), ..change.clone() }];
        self.wallet.sign(&mut tx, Sign::SCHNORR).unwrap();
        self.wallet.receive(&tx);
        tx
    }
}

/// A script that nobody here owns.
pub(crate) fn stranger() -> ScriptBuf {
    ScriptBuf::from_hex("76a914ebc0ee0b2ab9e8277a600c251475e22a3241a1c188ac").unwrap()
}

/// A block by its hash.
pub(crate) fn block(node: &dyn Node, hash: BlockHash) -> Block {
    let raw = node.call("getblock", json!([hash.to_string(), 0])).unwrap();
    deserialize(&hex::decode(raw.as_str().unwrap()).unwrap()).unwrap()
}

/// Subscribers of `rawtx` and `hashblock` which hear all that is published from now on. Blocks are mined until they do.
pub(crate) struct Listeners {
    pub(crate) rawtx: Subscriber,
    pub(crate) hashblock: Subscriber,
    /// The numbers of the last messages of `rawtx` and `hashblock` that were published before.
    pub(crate) counters: (u32, u32),
}

impl Listeners {
    pub(crate) fn of(node: &dyn Node) -> Self {
        let rawtx = Subscriber::connect(&node.zmq_rawtx()).unwrap();
        let hashblock = Subscriber::connect(&node.zmq_hashblock()).unwrap();
        let (tx, block) = subscriber::mine_until_heard(node, &rawtx, &hashblock).unwrap();
        Self { rawtx, hashblock, counters: (tx.counter, block.counter) }
    }
}
