//! What can be made to go wrong at the stand-in, and that it goes wrong as it says.

#![expect(clippy::unwrap_used, reason = "a check fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitcoincash::ScriptBuf;
use regtest::node::over_http;
use regtest::{Node, RpcFailure, RpcFault, SimNode, SimOptions, Topic};
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

fn subscribe(endpoint: &str) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::SUB).unwrap();
    socket.set_subscribe(b"").unwrap();
    socket.set_rcvtimeo(300).unwrap();
    socket.connect(endpoint).unwrap();
    sleep(Duration::from_millis(200));
    socket
}

/// The counters of all that arrives.
fn counters(socket: &zmq::Socket) -> Vec<u32> {
    let mut seen = Vec::new();
    while let Ok(parts) = socket.recv_multipart(0) {
        seen.push(u32::from_le_bytes(parts[2].as_slice().try_into().unwrap()));
    }
    seen
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

#[test]
fn the_node_can_be_unavailable_in_many_ways() {
    let warm_up = Duration::from_millis(300);
    let node = SimNode::start(SimOptions { warm_up, ..SimOptions::default() }).unwrap();
    assert_eq!(code(&node, "getblockcount"), -28);
    sleep(warm_up);
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
    node.faults().fail_rpc("uptime", 2, RpcFault::Delay(Duration::from_secs(3)));
    let status = || raw(&node, r#"{"method":"uptime"}"#).unwrap().0;
    thread::scope(|scope| {
        let calls = [scope.spawn(status), scope.spawn(status)];
        sleep(Duration::from_secs(1));
        // One works, one waits, this one is too many.
        assert_eq!(status(), "500");
        assert_eq!(calls.map(|call| call.join().unwrap()), ["200", "200"]);
    });
    assert_eq!(status(), "200");
}

#[test]
fn messages_get_lost_late_and_doubled() {
    let node = SimNode::start(SimOptions::default()).unwrap();
    let (rawtx, hashblock) = (subscribe(&node.zmq_rawtx()), subscribe(&node.zmq_hashblock()));
    let mine = || drop(node.mine(1, &payout()).unwrap());
    mine();
    assert_eq!((counters(&rawtx), counters(&hashblock)), (vec![1], vec![0]));
    node.faults().drop_next(Topic::RawTx, 2);
    (0..3).for_each(|_| mine());
    assert_eq!((counters(&rawtx), counters(&hashblock)), (vec![4], vec![1, 2, 3]));
    node.faults().silence(Topic::HashBlock, true);
    (0..2).for_each(|_| mine());
    assert_eq!((counters(&rawtx), counters(&hashblock)), (vec![5, 6], Vec::<u32>::new()));
    node.faults().clear();
    node.faults().repeat(Topic::HashBlock, 2);
    mine();
    assert_eq!((counters(&rawtx), counters(&hashblock)), (vec![7], vec![6, 7, 8]));
    node.faults().clear();
    node.faults().delay_zmq(Duration::from_millis(800));
    mine();
    node.settle().unwrap();
    assert_eq!(counters(&rawtx), Vec::<u32>::new());
    node.faults().clear();
    mine();
    sleep(Duration::from_millis(800));
    // What came after a late message waits for it.
    assert_eq!((counters(&rawtx), counters(&hashblock)), (vec![8, 9], vec![9, 10]));
    node.remove_notifier(Topic::RawTx);
    mine();
    assert_eq!((counters(&rawtx), counters(&hashblock)), (Vec::<u32>::new(), vec![11]));
    let listed = client(&node, "getzmqnotifications").unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    node.stop().unwrap();
    node.start().unwrap();
    assert_eq!(client(&node, "getzmqnotifications").unwrap().as_array().unwrap().len(), 3);
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
    let rawblock = subscribe(&node.zmq(Topic::RawBlock).unwrap());
    let hash = node.mine(1, &payout()).unwrap()[0];
    let block = rawblock.recv_multipart(0).unwrap();
    let expected = node.call("getblock", json!([hash.to_string(), 0])).unwrap();
    assert_eq!((block[0].as_slice(), json!(hex::encode(&block[1]))), (&b"rawblock"[..], expected));
}

#[test]
fn a_stopping_node_says_503_and_an_idle_client_is_cut_off() {
    let options = SimOptions {
        stopping: Duration::from_secs(1),
        idle: Duration::from_millis(200),
        ..SimOptions::default()
    };
    let node = SimNode::start(options).unwrap();
    let mut idle = TcpStream::connect(node.rpc_url().replace("http://", "")).unwrap();
    idle.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(client(&node, "stop").unwrap(), json!("Bitcoin server stopping"));
    let (status, page) = raw(&node, r#"{"method":"uptime"}"#).unwrap();
    assert!(status == "503" && page.contains("503 Service Unavailable"), "{status} {page}");
    // A start waits for the end of the stop.
    node.start().unwrap();
    assert_eq!(code(&node, "uptime"), 0);
}
