//! Every request against a real node, where there is one: `BITCOIND`, or `bitcoind` on the path.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bitcoincash::hashes::Hash as _;
use bitcoincash::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoincash::sighash::SighashCache;
use bitcoincash::{
    Amount, Block, BlockHash, CashAddress, Network, OutPoint, PublicKey, ScriptBuf, Sequence, Transaction,
    TxIn, TxOut, Txid, Witness, absolute, consensus, transaction,
};
use bitcoincore_rpc::{Client, RpcApi};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Auth, Header, Lane, NodeError, Reply, Request, Rpc, RpcSettings, SendOutcome, Signal, Signals,
    Subscriber, Topic, ZmqSettings,
};

const FEE: u64 = 1_000;

/// A node of its own, ended with the test.
struct Node {
    process: Child,
    folder: tempfile::TempDir,
    rpc_port: u16,
    zmq: [String; 3],
}

impl Node {
    /// `None`, and a line that says so, where there is no node.
    fn start(test: &str) -> Option<Self> {
        Self::start_with(test, "-expire=0")
    }

    fn start_with(test: &str, option: &str) -> Option<Self> {
        let Some(program) = program() else {
            regtest::node::skipped(&format!("{test}: no bitcoind on the path and none in BITCOIND"));
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let ports = free_ports();
        let zmq = [1, 2, 3].map(|at| format!("tcp://127.0.0.1:{}", ports[at]));
        let process = launch(&program, folder.path(), ports[0], &zmq, option);
        Some(Self { process, folder, rpc_port: ports[0], zmq })
    }

    fn cookie(&self) -> PathBuf {
        self.folder.path().join("regtest/.cookie")
    }

    fn settings(&self) -> RpcSettings {
        RpcSettings::new(format!("http://127.0.0.1:{}", self.rpc_port), Auth::Cookie(self.cookie()))
    }

    /// For what a test needs and the daemon never calls.
    fn call(&self, method: &str, params: &[Value]) -> Value {
        let cookie = bitcoincore_rpc::Auth::CookieFile(self.cookie());
        Client::new(&self.settings().url, cookie).unwrap().call(method, params).unwrap()
    }

    fn restart(&mut self) {
        self.call("stop", &[]);
        let started = Instant::now();
        self.process.wait().unwrap();
        let took = started.elapsed();
        assert!(took < Duration::from_secs(20), "connections left open delay the node's stop: {took:?}");
        self.process = launch(&program().unwrap(), self.folder.path(), self.rpc_port, &self.zmq, "-expire=0");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("BITCOIND") {
        return Some(given.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("bitcoind")).find(|program| program.is_file())
}

fn free_ports() -> [u16; 4] {
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn launch(program: &Path, folder: &Path, rpc_port: u16, zmq: &[String; 3], option: &str) -> Child {
    Command::new(program)
        .args(["-regtest", "-server=1", "-listen=0", "-connect=0", "-dnsseed=0", "-upnp=0", "-natpmp=0"])
        .args(["-discover=0", "-listenonion=0", "-printtoconsole=0", "-disablewallet=1", option])
        .arg(format!("-datadir={}", folder.display()))
        .arg(format!("-rpcport={rpc_port}"))
        .arg(format!("-zmqpubrawtx={}", zmq[0]))
        .arg(format!("-zmqpubhashblock={}", zmq[1]))
        .arg(format!("-zmqpubhashds={}", zmq[2]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// One key, and what it can spend.
struct Purse {
    key: SecretKey,
}

impl Purse {
    fn new() -> Self {
        Self { key: SecretKey::from_slice(&[7; 32]).unwrap() }
    }

    fn public(&self) -> PublicKey {
        PublicKey::new(self.key.public_key(&Secp256k1::new()))
    }

    fn script(&self) -> ScriptBuf {
        ScriptBuf::new_p2pkh(&self.public().pubkey_hash())
    }

    fn address(&self) -> String {
        CashAddress::from_script(&self.script(), Network::Regtest).unwrap().to_string()
    }

    /// Spends all of an output of this purse to itself, less a fee.
    fn spend(&self, from: OutPoint, satoshis: u64, fee: u64) -> Transaction {
        let mut spending = Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: from,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(satoshis - fee),
                script_pubkey: self.script(),
                token: None,
            }],
        };
        let script = self.script();
        let hash = SighashCache::new(&spending)
            .bch_signature_hash(0, &script, Amount::from_sat(satoshis), None, 0x41, None)
            .unwrap();
        let message = Message::from_digest(hash.to_byte_array());
        let mut signature = Secp256k1::new().sign_ecdsa(&message, &self.key).serialize_der().to_vec();
        signature.push(0x41);
        let mut script_sig = vec![u8::try_from(signature.len()).unwrap()];
        script_sig.extend(signature);
        script_sig.push(33);
        script_sig.extend(self.public().to_bytes());
        spending.input[0].script_sig = ScriptBuf::from_bytes(script_sig);
        spending
    }
}

async fn ask(rpc: &Rpc, request: Request) -> Reply {
    rpc.call(Lane::Follow, request).await.unwrap()
}

async fn broadcast(rpc: &Rpc, transaction: &Transaction) -> SendOutcome {
    let raw = Bytes::from(consensus::serialize(transaction));
    let Ok(Reply::Sent(outcome)) = rpc.call(Lane::Submission, Request::Send(raw)).await else {
        panic!("no outcome")
    };
    outcome
}

/// Waits for a node that has just been started.
async fn ready(rpc: &Rpc) {
    let started = Instant::now();
    loop {
        match rpc.call(Lane::Follow, Request::ChainInfo).await {
            Ok(_) => return,
            Err(NodeError::Unreachable | NodeError::WarmingUp | NodeError::Unauthorized) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the node does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn hash(value: &Value) -> BlockHash {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_answered_by_a_real_node() {
    let Some(node) = Node::start("every_request_is_answered_by_a_real_node") else { return };
    let rpc = Rpc::start(node.settings()).unwrap();
    ready(&rpc).await;
    let purse = Purse::new();
    let mined = node.call("generatetoaddress", &[101.into(), purse.address().into()]);
    let (first, tip) = (hash(&mined[0]), hash(&mined[100]));

    let Reply::ChainInfo(chain) = ask(&rpc, Request::ChainInfo).await else { panic!("another reply") };
    assert_eq!(
        (chain.chain.as_str(), chain.blocks, chain.headers, chain.best_block),
        ("regtest", 101, 101, tip)
    );
    assert!(!chain.pruned && !chain.initial_block_download && chain.median_time_s > 1_500_000_000);
    let Reply::NetworkInfo(network) = ask(&rpc, Request::NetworkInfo).await else { panic!("another reply") };
    assert!(network.subversion.contains("Bitcoin Cash Node"), "{}", network.subversion);
    assert_eq!((network.relay_fee_satoshis_per_kb, network.connections), (1_000, 0));
    let Reply::ZmqNotifications(publishers) = ask(&rpc, Request::ZmqNotifications).await else {
        panic!("another reply")
    };
    let publishers: HashMap<_, _> = publishers.into_iter().map(|one| (one.topic, one.address)).collect();
    for (topic, address) in [Topic::RawTx, Topic::HashBlock, Topic::HashDs].iter().zip(&node.zmq) {
        assert_eq!(publishers.get(topic.name()), Some(address));
    }
    assert_eq!(ask(&rpc, Request::BestBlock).await, Reply::BestBlock(tip));
    assert_eq!(ask(&rpc, Request::BlockHashAt(1)).await, Reply::BlockHashAt(Some(first)));
    assert_eq!(ask(&rpc, Request::BlockHashAt(102)).await, Reply::BlockHashAt(None));
    let Reply::Header(Some(header)) = ask(&rpc, Request::Header(first)).await else { panic!("no header") };
    let Reply::BlockHashAt(genesis) = ask(&rpc, Request::BlockHashAt(0)).await else {
        panic!("another reply")
    };
    let time_s = header.time_s;
    assert_eq!(header, Header { hash: first, height: 1, previous: genesis, time_s, confirmations: 101 });
    let Reply::Header(Some(header)) = ask(&rpc, Request::Header(genesis.unwrap())).await else {
        panic!("no header")
    };
    assert_eq!((header.height, header.previous), (0, None));
    let nowhere = BlockHash::all_zeros();
    assert_eq!(ask(&rpc, Request::Header(nowhere)).await, Reply::Header(None));
    assert_eq!(ask(&rpc, Request::Block(nowhere)).await, Reply::Block(None));
    let Reply::Block(Some(raw)) = ask(&rpc, Request::Block(first)).await else { panic!("no block") };
    let block: Block = consensus::deserialize(&raw).unwrap();
    assert_eq!(block.block_hash(), first);

    let coinbase = OutPoint::new(block.txdata[0].compute_txid(), 0);
    let value = block.txdata[0].output[0].value.to_sat();
    let spending = purse.spend(coinbase, value, FEE);
    let txid = spending.compute_txid();
    let unspent = |outpoints: Vec<OutPoint>, include_mempool| Request::Unspent { outpoints, include_mempool };
    let Reply::Unspent(coins) = ask(&rpc, unspent(vec![coinbase], true)).await else {
        panic!("another reply")
    };
    let coin = coins[0].clone().unwrap();
    assert_eq!((coin.satoshis, coin.script, coin.token), (5_000_000_000, purse.script(), None));
    assert_eq!((coin.confirmations, coin.coinbase), (101, true));
    assert_eq!(ask(&rpc, Request::MempoolEntry(txid)).await, Reply::MempoolEntry(None));

    assert_eq!(broadcast(&rpc, &spending).await, SendOutcome::Accepted);
    assert_eq!(broadcast(&rpc, &spending).await, SendOutcome::Accepted, "again, and already in the mempool");
    let raw = Bytes::from(consensus::serialize(&spending));
    let Reply::MempoolEntry(Some(entry)) = ask(&rpc, Request::MempoolEntry(txid)).await else {
        panic!("no entry")
    };
    assert_eq!((entry.fee_satoshis, entry.depends), (FEE, vec![]));
    assert_eq!(entry.size_bytes, u64::try_from(raw.len()).unwrap());
    let Reply::Snapshot(snapshot) = ask(&rpc, Request::Snapshot).await else { panic!("another reply") };
    assert_eq!((snapshot.loaded, snapshot.txids), (true, vec![txid]));
    assert_eq!((snapshot.tip_before, snapshot.tip_after), (tip, tip));
    let unknown = Txid::all_zeros();
    let wanted = Request::RawTransactions(vec![unknown, txid]);
    assert_eq!(ask(&rpc, wanted).await, Reply::RawTransactions(vec![None, Some(raw)]));
    let change = OutPoint::new(txid, 0);
    let Reply::Inputs { entry, coins } =
        ask(&rpc, Request::Inputs { txid, outpoints: vec![coinbase, change] }).await
    else {
        panic!("another reply")
    };
    assert_eq!((entry.is_some(), coins[0].is_some(), coins[1].is_some()), (true, false, true));
    assert_eq!(coins[1].as_ref().map(|coin| (coin.satoshis, coin.confirmations)), Some((value - FEE, 0)));
    let without = ask(&rpc, unspent(vec![coinbase, change], false)).await;
    let Reply::Unspent(coins) = without else { panic!("another reply") };
    assert_eq!((coins[0].is_some(), coins[1].is_some()), (true, false), "the mempool left out both ways");

    let refused = |outcome: SendOutcome| {
        let SendOutcome::Refused { code, message } = outcome else { panic!("{outcome:?}") };
        (code, message)
    };
    let (code, message) = refused(broadcast(&rpc, &purse.spend(coinbase, value, 2 * FEE)).await);
    assert_eq!((code, message.as_str()), (-26, "txn-mempool-conflict (code 18)"));
    let (code, message) = refused(broadcast(&rpc, &purse.spend(change, value - FEE, 20_000_000)).await);
    assert!(code == -26 && message.starts_with("absurdly-high-fee"), "{code} {message}");
    let orphan = purse.spend(OutPoint::new(unknown, 0), value, FEE);
    assert_eq!(broadcast(&rpc, &orphan).await, SendOutcome::MissingInputs);
    let nonsense =
        rpc.call(Lane::Submission, Request::Send(Bytes::from_static(b"no transaction"))).await.unwrap();
    let expected = SendOutcome::Refused { code: -22, message: "TX decode failed".into() };
    assert_eq!(nonsense, Reply::Sent(expected));

    node.call("generatetoaddress", &[1.into(), purse.address().into()]);
    assert_eq!(broadcast(&rpc, &spending).await, SendOutcome::AlreadyInChain);
    // The block is left for another branch: it stays readable, and says so.
    let stale = hash(&node.call("getbestblockhash", &[]));
    node.call("invalidateblock", &[stale.to_string().into()]);
    let Reply::Header(Some(header)) = ask(&rpc, Request::Header(stale)).await else { panic!("no header") };
    assert_eq!(header.confirmations, -1);
    rpc.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_publishes_and_may_restart() {
    let Some(mut node) = Node::start("a_real_node_publishes_and_may_restart") else { return };
    let [rawtx, hashblock, hashds] = node.zmq.clone().map(Some);
    let settings = ZmqSettings { rawtx, hashblock, hashds, capacity: 10_000 };
    let (subscriber, mut signals) = Subscriber::start(&settings).unwrap();
    let rpc = Rpc::start(node.settings()).unwrap();
    ready(&rpc).await;
    let mut connected = 0;
    while connected < 3 {
        connected += usize::from(matches!(next(&mut signals).await, Signal::Connected(_)));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;

    let purse = Purse::new();
    let mined = node.call("generatetoaddress", &[101.into(), purse.address().into()]);
    let tip = hash(&mined[100]);
    while next(&mut signals).await != Signal::Block(tip) {}
    let Reply::Block(Some(raw)) = ask(&rpc, Request::Block(hash(&mined[0]))).await else {
        panic!("no block")
    };
    let block: Block = consensus::deserialize(&raw).unwrap();
    let coinbase = OutPoint::new(block.txdata[0].compute_txid(), 0);
    let value = block.txdata[0].output[0].value.to_sat();
    let spending = purse.spend(coinbase, value, FEE);
    assert_eq!(broadcast(&rpc, &spending).await, SendOutcome::Accepted);
    let raw = Bytes::from(consensus::serialize(&spending));
    while next(&mut signals).await != (Signal::Transaction { raw: raw.clone() }) {}
    let rival = purse.spend(coinbase, value, 2 * FEE);
    assert!(matches!(broadcast(&rpc, &rival).await, SendOutcome::Refused { code: -26, .. }));
    assert_eq!(next(&mut signals).await, Signal::DoubleSpend(spending.compute_txid()));

    // Another cookie, numbers from 0, and the same pool goes on.
    let before = std::fs::read(node.cookie()).unwrap();
    node.restart();
    let mut gone = 0;
    while gone < 3 {
        gone += usize::from(matches!(next(&mut signals).await, Signal::Disconnected(_)));
    }
    ready(&rpc).await;
    assert_ne!(std::fs::read(node.cookie()).unwrap(), before);
    let mut back = 0;
    while back < 3 {
        back += usize::from(matches!(next(&mut signals).await, Signal::Connected(_)));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let tip = hash(&node.call("generatetoaddress", &[1.into(), purse.address().into()])[0]);
    let mut restarted = false;
    loop {
        match next(&mut signals).await {
            Signal::Gap { topic: Topic::HashBlock, got: 0, .. } => restarted = true,
            Signal::Block(hash) => {
                assert_eq!(hash, tip);
                break;
            }
            Signal::Transaction { .. }
            | Signal::DoubleSpend(_)
            | Signal::Gap { .. }
            | Signal::Connected(_)
            | Signal::Disconnected(_)
            | Signal::Overflow { .. } => {}
        }
    }
    assert!(restarted, "a number that returns to 0 is a gap");
    rpc.stop().await;
    subscriber.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_that_is_overrun_refuses_or_is_gone_says_so() {
    let Some(node) = Node::start("a_real_node_that_is_overrun_refuses_or_is_gone_says_so") else { return };
    let rpc = Rpc::start(node.settings()).unwrap();
    ready(&rpc).await;
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "wrong").unwrap();
    let auth = Auth::UserPassword { user: "__cookie__".into(), password_file };
    let stranger = Rpc::start(RpcSettings { auth, ..node.settings() }).unwrap();
    assert_eq!(stranger.call(Lane::Follow, Request::BestBlock).await, Err(NodeError::Unauthorized));
    stranger.stop().await;
    // Four calls hold the node's threads, and sixteen are its queue; further ones are refused in plain text.
    for _ in 0..20 {
        let cookie = bitcoincore_rpc::Auth::CookieFile(node.cookie());
        let client = Client::new(&node.settings().url, cookie).unwrap();
        std::thread::spawn(move || client.call::<Value>("waitfornewblock", &[json!(60_000)]));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let hasty = Rpc::start(RpcSettings { timeout: Duration::from_millis(500), ..node.settings() }).unwrap();
    let raw = Bytes::from_static(b"no transaction");
    let mut outcome = hasty.call(Lane::Submission, Request::Send(raw.clone())).await;
    for _ in 0..20 {
        if outcome == Err(NodeError::Timeout) {
            // There was still room, and what we gave up stands in the queue now.
            outcome = hasty.call(Lane::Submission, Request::Send(raw.clone())).await;
        }
    }
    assert_eq!(outcome, Err(NodeError::Busy));
    hasty.stop().await;
    drop(node);
    assert_eq!(rpc.call(Lane::Submission, Request::Send(raw)).await, Err(NodeError::Unreachable));
    rpc.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_that_has_expired_says_so() {
    let Some(node) = Node::start_with("a_real_node_that_has_expired_says_so", "-expire=1") else { return };
    let rpc = Rpc::start(node.settings()).unwrap();
    ready(&rpc).await;
    let Reply::NetworkInfo(network) = ask(&rpc, Request::NetworkInfo).await else { panic!("another reply") };
    if network.version != 28_000_100 {
        regtest::node::skipped(&format!(
            "a_real_node_that_has_expired_says_so: {} may not have expired",
            network.subversion
        ));
        return;
    }
    // The RPC works for about a second.
    let started = Instant::now();
    while rpc.call(Lane::Follow, Request::BestBlock).await != Err(NodeError::Expired) {
        assert!(started.elapsed() < Duration::from_secs(10), "not expired");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        rpc.call(Lane::Follow, Request::Snapshot).await,
        Err(NodeError::Expired),
        "in a batch as well"
    );
    rpc.stop().await;
}

async fn next(signals: &mut Signals) -> Signal {
    tokio::time::timeout(Duration::from_secs(20), signals.recv()).await.expect("in time").expect("a signal")
}
