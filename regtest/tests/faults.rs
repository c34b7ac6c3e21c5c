//! What can be made to go wrong at the stand-in, and that it goes wrong as it says.

#![expect(clippy::unwrap_used, reason = "a check fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitcoincash::ScriptBuf;
use regtest::node::over_http;
use regtest::subscriber::mine_until_heard;
use regtest::{Node, RpcFailure, RpcFault, SimNode, SimOptions, Subscriber, Topic, wait};
use serde_json::{Value, json};

fn client(node: &SimNode, method: &str) -> Result<Value, RpcFailure> {
    over_http(&node.rpc_url(), &node.cookie_file(), method, &json!([]))
}

fn code(node: &SimNode, method: &str) -> i32 {
    client(node, method).map_or_else(|failure| failure.code, |_| 0)
}

/// Status and body of one request; an error when the connection breaks.
fn raw(node: &SimNode, body: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(node.rpc_url().replace("http://", ""))?;
    let login = STANDARD.encode(std::fs::read_to_string(node.cookie_file())?);
    let length = body.len();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\nContent-Length: {length}\r\n"
    )?;
    write!(stream, "Connection: close\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    Ok((head.split(' ').nth(1).unwrap().to_owned(), body.to_owned()))
}

fn payout() -> ScriptBuf {
    ScriptBuf::from_hex("76a914ebc0ee0b2ab9e8277a600c251475e22a3241a1c188ac").unwrap()
}

/// The counters of the next messages, so many.
fn counters(subscriber: &Subscriber, count: usize) -> Vec<u32> {
    subscriber.take(count).unwrap().iter().map(|message| message.counter).collect()
}

#[test]
fn calls_fail_as_often_as_told() {
    let node = SimNode::start(SimOptions::default()).unwrap();
    let error = RpcFault::Error { code: -5, message: "no".to_owned() };
    node.faults().fail_rpc("getblockcount", 2, error);
    node.faults().fail_rpc("getblockcount", 1, RpcFault::Http { status: 503, body: "gone".to_owned() });
    assert_eq!(
        [code(&node, "getblockcount"), code(&node, "uptime"), code(&node, "getblockcount")],
        [-5, 0, -5]
    );
    assert_eq!(raw(&node, r#"{"method":"getblockcount"}"#).unwrap(), ("503".to_owned(), "gone".to_owned()));
    assert_eq!(code(&node, "getblockcount"), 0);
    node.faults().fail_rpc("*", 1, RpcFault::Error { code: -7, message: String::new() });
    assert_eq!(code(&node, "uptime"), -7);
}

#[test]
fn an_effect_can_go_unanswered() {
    let node = SimNode::start(SimOptions::default()).unwrap();
    let body = json!({"method": "generatetoaddress", "params": [1, "bchreg:qr4upmst92u7sfm6vqxz29r4ug4rysdpcy3y34jjzk"]});
    node.faults().fail_rpc("generatetoaddress", 1, RpcFault::ApplyThenReset);
    assert_eq!(raw(&node, &body.to_string()).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(node.tip().unwrap().1, 1);
    node.faults().fail_rpc("generatetoaddress", 1, RpcFault::Reset);
    assert_eq!(raw(&node, &body.to_string()).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(node.tip().unwrap().1, 1);

    let wait = Duration::from_millis(200);
    for (fault, height, answered) in [
        (RpcFault::ApplyThenHang(wait), 2, false),
        (RpcFault::Hang(wait), 2, false),
        (RpcFault::Delay(wait), 3, true),
    ] {
        node.faults().fail_rpc("generatetoaddress", 1, fault);
        let began = Instant::now();
        assert_eq!(raw(&node, &body.to_string()).is_ok(), answered);
        assert!(began.elapsed() >= wait);
        assert_eq!(node.tip().unwrap().1, height);
    }
}

/// Nothing is answered before the time has passed, and then everything. Gives whether the machine was quick enough to ask
/// before.
fn warms_up(warm_up: Duration) -> bool {
    let began = Instant::now();
    let node = SimNode::start(SimOptions { warm_up, ..SimOptions::default() }).unwrap();
    let mut seen = Vec::new();
    wait::until("an answer after the warm-up", || {
        seen.push(code(&node, "getblockcount"));
        seen.last() == Some(&0)
    })
    .unwrap();
    assert!(began.elapsed() >= warm_up);
    seen.pop();
    assert!(seen.iter().all(|code| *code == -28), "{seen:?}");
    !seen.is_empty()
}

#[tokio::test]
async fn a_start_takes_its_time() {
    let done = async |warm_up| Ok(warms_up(warm_up).then_some(()));
    wait::with_enough_time(Duration::from_millis(200), done).await.unwrap();
}

#[test]
fn the_node_can_be_unavailable_in_many_ways() {
    let node = SimNode::start(SimOptions::default()).unwrap();
    assert_eq!(code(&node, "getblockcount"), 0);
    node.faults().warm_up(Some("Verifying blocks..."));
    assert_eq!(client(&node, "uptime").unwrap_err(), RpcFailure::new(-28, "Verifying blocks..."));
    node.faults().warm_up(None);
    node.faults().expired(true);
    assert_eq!(code(&node, "uptime"), -100);
    node.faults().clear();
    node.faults().queue_full(true);
    let full = ("500".to_owned(), "Work queue depth exceeded".to_owned());
    assert_eq!(raw(&node, r#"{"method":"uptime"}"#).unwrap(), full);
    node.faults().clear();

    let address = node.rpc_url().replace("http://", "");
    let mut kept = TcpStream::connect(&address).unwrap();
    node.refuse_rpc(true).unwrap();
    assert_eq!(TcpStream::connect(&address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(matches!(kept.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert_eq!(code(&node, "uptime"), RpcFailure::UNREACHABLE);
    // The harness still sees the chain.
    assert_eq!(node.tip().unwrap().1, 0);
    node.refuse_rpc(false).unwrap();
    assert_eq!(code(&node, "uptime"), 0);
}

#[test]
fn the_work_queue_overflows() {
    let options = SimOptions { rpc_threads: 1, rpc_queue: 1, ..SimOptions::default() };
    let node = SimNode::start(options).unwrap();
    node.faults().fail_rpc("uptime", 1, RpcFault::Held);
    let status = || raw(&node, r#"{"method":"uptime"}"#).unwrap().0;
    let (answers, answered) = sync_channel(3);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| answers.send(status()).unwrap());
        }
        let next = || answered.recv_timeout(wait::PATIENCE).unwrap();
        // One works, one waits, and the third is too many, whichever that is.
        assert_eq!(next(), "500");
        node.faults().release();
        assert_eq!([next(), next()], ["200", "200"]);
    });
    assert_eq!(status(), "200");
}

/// Three topics are told of three stories; what is not told shows in the numbers of what follows.
#[test]
fn messages_get_lost_late_and_doubled() {
    let node = SimNode::start(SimOptions::default()).unwrap();
    let rawtx = Subscriber::connect(&node.zmq_rawtx()).unwrap();
    let hashblock = Subscriber::connect(&node.zmq_hashblock()).unwrap();
    let mine = || drop(node.mine(1, &payout()).unwrap());
    let (coinbase, block) = mine_until_heard(&node, &rawtx, &hashblock).unwrap();
    // The coinbase of the genesis block is number 0, and was published before anybody could hear it.
    let height = node.tip().unwrap().1;
    assert_eq!((coinbase.counter, block.counter), (height, height - 1));
    let heard = |transactions: &[u32], blocks: &[u32]| {
        let from =
            |first: u32, numbers: &[u32]| numbers.iter().map(|number| first + number).collect::<Vec<_>>();
        assert_eq!(counters(&rawtx, transactions.len()), from(coinbase.counter, transactions));
        assert_eq!(counters(&hashblock, blocks.len()), from(block.counter, blocks));
    };
    node.faults().drop_next(Topic::RawTx, 2);
    (0..3).for_each(|_| mine());
    heard(&[3], &[1, 2, 3]);
    node.faults().silence(Topic::HashBlock, true);
    (0..2).for_each(|_| mine());
    node.settle().unwrap();
    node.faults().clear();
    node.faults().repeat(Topic::HashBlock, 2);
    mine();
    heard(&[4, 5, 6], &[6, 7, 8]);
    node.faults().clear();

    let late = Duration::from_millis(800);
    node.faults().delay_zmq(late);
    let began = Instant::now();
    mine();
    node.settle().unwrap();
    node.faults().clear();
    mine();
    // What came after a late message waits for it.
    heard(&[7], &[9]);
    assert!(began.elapsed() >= late);
    heard(&[8], &[10]);

    node.remove_notifier(Topic::RawTx);
    mine();
    heard(&[], &[11]);
    assert!(rawtx.is_silent().unwrap());
    let listed = client(&node, "getzmqnotifications").unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    node.stop().unwrap();
    node.start().unwrap();
    assert_eq!(client(&node, "getzmqnotifications").unwrap().as_array().unwrap().len(), 3);
    // The numbers of both begin again.
    let (coinbase, block) = mine_until_heard(&node, &rawtx, &hashblock).unwrap();
    assert_eq!(coinbase.counter, block.counter);
}

#[test]
fn the_mempool_can_look_empty() {
    let node = SimNode::start(SimOptions::default()).unwrap();
    node.faults().empty_mempool(1);
    node.faults().mempool_loading(true);
    assert_eq!(client(&node, "getmempoolinfo").unwrap()["loaded"], json!(false));
    assert_eq!(node.call("getmempoolinfo", json!([])).unwrap()["loaded"], json!(true));
    assert_eq!(client(&node, "getrawmempool").unwrap(), json!([]));
}

#[test]
fn the_clock_can_be_moved() {
    let node = SimNode::start(SimOptions::default()).unwrap();
    node.clock().fix(2_000_000_000);
    node.mine(1, &payout()).unwrap();
    node.clock().advance(100);
    node.mine(1, &payout()).unwrap();
    let time = |height: u32| node.call("getblockheader", json!([height])).unwrap()["time"].clone();
    assert_eq!((time(1), time(2)), (json!(2_000_000_000), json!(2_000_000_100)));
}

#[test]
fn every_topic_can_be_published() {
    let topics =
        vec![Topic::RawTx, Topic::HashTx, Topic::RawBlock, Topic::HashBlock, Topic::RawDs, Topic::HashDs];
    let node = SimNode::start(SimOptions { topics, ..SimOptions::default() }).unwrap();
    let listed = client(&node, "getzmqnotifications").unwrap();
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|topic| topic["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["pubhashblock", "pubhashds", "pubhashtx", "pubrawblock", "pubrawds", "pubrawtx"]);
    let rawblock = Subscriber::connect(&node.zmq(Topic::RawBlock).unwrap()).unwrap();
    let heard = wait::eventually_blocking("a block", || {
        let hash = node.mine(1, &payout()).unwrap()[0];
        let block = node.call("getblock", json!([hash.to_string(), 0])).unwrap();
        rawblock.hears(&hex::decode(block.as_str().unwrap()).unwrap())
    });
    assert_eq!(heard.unwrap().topic, "rawblock");
}

#[test]
fn an_idle_client_is_cut_off() {
    let idle = Duration::from_millis(200);
    let node = SimNode::start(SimOptions { idle, ..SimOptions::default() }).unwrap();
    let began = Instant::now();
    let mut client = TcpStream::connect(node.rpc_url().replace("http://", "")).unwrap();
    client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    assert!(began.elapsed() >= idle);
}

/// `None` where the node was down before it could be asked again.
fn says_503_while_it_stops(stopping: Duration) -> Option<()> {
    let node = SimNode::start(SimOptions { stopping, ..SimOptions::default() }).unwrap();
    let began = Instant::now();
    assert_eq!(client(&node, "stop").unwrap(), json!("Bitcoin server stopping"));
    let answer = raw(&node, r#"{"method":"uptime"}"#);
    let asked_in_time = began.elapsed() < stopping;
    // A start waits for the end of the stop.
    node.start().unwrap();
    assert!(began.elapsed() >= stopping);
    assert_eq!(code(&node, "uptime"), 0);
    asked_in_time.then(|| {
        let (status, page) = answer.unwrap();
        assert!(status == "503" && page.contains("503 Service Unavailable"), "{status} {page}");
    })
}

#[tokio::test]
async fn a_stopping_node_says_503() {
    let says = async |stopping| Ok(says_503_while_it_stops(stopping));
    wait::with_enough_time(Duration::from_secs(1), says).await.unwrap();
}
