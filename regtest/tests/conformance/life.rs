//! Starting, stopping, dying: cookie, mempool, counters.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use bitcoincash::consensus::serialize;
use regtest::{Bchn, Faults, Node, RpcFailure, SimNode, SimOptions};
use serde_json::json;

use crate::support::{Funded, Subscriber, cookie, each_fresh, http, rpc};

const CALL: &str = r#"{"method":"getblockcount","id":1}"#;

#[test]
fn the_cookie_is_new_at_each_start() {
    each_fresh("the_cookie_is_new_at_each_start", |node| {
        let node = node.as_ref();
        let path = node.cookie_file();
        let first = cookie(&path);
        let (user, password) = first.split_once(':').unwrap();
        assert_eq!((user, password.len()), ("__cookie__", 64));
        assert!(password.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let (url, rawtx) = (node.rpc_url(), node.zmq_rawtx());
        node.stop().unwrap();
        assert!(!path.exists());
        assert_eq!(node.tip().unwrap_err().code, RpcFailure::UNREACHABLE);
        assert!(TcpStream::connect(url.replace("http://", "")).is_err());

        node.start().unwrap();
        assert_eq!((node.rpc_url(), node.zmq_rawtx()), (url, rawtx));
        let second = cookie(&path);
        assert_ne!(first, second);
        assert_eq!(http(node, "POST", "/", Some(&first), CALL).unwrap().status, 401);
        assert_eq!(http(node, "POST", "/", Some(&second), CALL).unwrap().status, 200);

        node.kill().unwrap();
        assert_eq!(cookie(&path), second);
        node.start().unwrap();
        assert_ne!(cookie(&path), second);
        assert_eq!(http(node, "POST", "/", Some(&second), CALL).unwrap().status, 401);
    });
}

#[test]
fn a_stop_keeps_the_mempool_and_a_kill_does_not() {
    each_fresh("a_stop_keeps_the_mempool_and_a_kill_does_not", |node| {
        let node = node.as_ref();
        let mut funded = Funded::new(node, 4);
        let parent = funded.payment(1_000_000);
        let child = funded.child(&parent);
        let ids = [&parent, &child].map(|tx| node.send(&serialize(tx)).unwrap());
        let tip = node.tip().unwrap();
        let rawtx = Subscriber::new(&node.zmq_rawtx());

        node.stop().unwrap();
        node.start().unwrap();
        while node.call("getmempoolinfo", json!([])).unwrap()["loaded"] != json!(true) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(node.mempool().unwrap(), ids);
        assert_eq!(node.tip().unwrap(), tip);
        // Reloading is publishing. Whether the subscriber was back in time is chance; the counter tells.
        let late = funded.payment(2_000_000);
        rawtx.drain();
        node.send(&serialize(&late)).unwrap();
        let heard = rawtx.drain();
        assert_eq!(heard.last().map(|message| message.counter), Some(2));
        assert_eq!(heard.last().map(|message| message.body.clone()), Some(serialize(&late)));

        node.kill().unwrap();
        node.start().unwrap();
        while node.call("getmempoolinfo", json!([])).unwrap()["loaded"] != json!(true) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        // It is the mempool of the last orderly stop.
        assert_eq!(node.mempool().unwrap(), ids);
        rawtx.drain();
        assert_eq!(node.send(&serialize(&late)).unwrap(), late.compute_txid());
        assert_eq!(rawtx.drain().last().map(|message| message.counter), Some(2));
    });
}

#[test]
fn stop_over_rpc_ends_the_node() {
    each_fresh("stop_over_rpc_ends_the_node", |node| {
        let node = node.as_ref();
        let answer = rpc(node, "stop", json!([]));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "{\"result\":\"Bitcoin server stopping\",\"error\":null,\"id\":1}\n")
        );
        let address = node.rpc_url().replace("http://", "");
        while TcpStream::connect(&address).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    });
}

#[test]
fn expired_software_says_so_alike() {
    let check = |node: &dyn Node| {
        let answer = rpc(node, "getblockcount", json!([]));
        let (code, message) = answer.error();
        assert_eq!((answer.status, code), (500, -100));
        assert!(
            message.starts_with("RPC is disabled. This version of Bitcoin Cash Node is old"),
            "{message}"
        );
    };
    let sim = SimNode::start(SimOptions::default()).unwrap();
    Faults::expired(sim.faults(), true);
    check(&sim);
    let Some(program) = Bchn::find() else {
        return regtest::node::skipped("expired_software_says_so_alike on bchn: no bitcoind (set BITCOIND)");
    };
    // The date of expiry has passed for 28.0.1; the node notices a second after its start.
    let node = Bchn::start_with(&program, &["-expire=1"]).unwrap();
    let notices = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        rpc(&node, "getblockcount", json!([])).status == 500
    });
    assert!(notices);
    check(&node);
}
