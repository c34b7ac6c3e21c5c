//! Starting, stopping, dying: cookie, mempool, counters.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use bitcoincash::consensus::serialize;
use regtest::{Bchn, Faults, Node, RpcFailure, SimNode, SimOptions, Subscriber, wait};
use serde_json::json;

use crate::support::{Funded, cookie, each_fresh, http, rpc};

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

/// Waits until a started node has read its mempool.
fn loaded(node: &dyn Node) {
    let is_loaded = || node.call("getmempoolinfo", json!([])).unwrap()["loaded"] == json!(true);
    wait::until("the mempool", is_loaded).unwrap();
}

#[test]
fn a_stop_keeps_the_mempool_and_a_kill_does_not() {
    each_fresh("a_stop_keeps_the_mempool_and_a_kill_does_not", |node| {
        let node = node.as_ref();
        let mut funded = Funded::new(node, 100);
        let parent = funded.payment(1_000_000);
        let child = funded.child(&parent);
        let ids = [&parent, &child].map(|tx| node.send(&serialize(tx)).unwrap());
        let tip = node.tip().unwrap();
        let rawtx = Subscriber::connect(&node.zmq_rawtx()).unwrap();
        // Reloading is publishing, two messages here. Whether the subscriber was back in time is chance; the counter of
        // what is sent afterwards tells.
        let late: Vec<_> = (0..90).map(|_| funded.payment(2_000_000)).collect();
        let two_were_reloaded = || {
            let mut sent = 0;
            let heard = wait::eventually_blocking("a message of the started node", || {
                let raw = serialize(&late[sent]);
                node.send(&raw).unwrap();
                sent += 1;
                rawtx.hears(&raw)
            });
            assert_eq!(heard.unwrap().counter, 2 + u32::try_from(sent - 1).unwrap());
        };

        node.stop().unwrap();
        node.start().unwrap();
        loaded(node);
        assert_eq!(node.mempool().unwrap(), ids);
        assert_eq!(node.tip().unwrap(), tip);
        two_were_reloaded();

        node.kill().unwrap();
        node.start().unwrap();
        loaded(node);
        // It is the mempool of the last orderly stop.
        assert_eq!(node.mempool().unwrap(), ids);
        two_were_reloaded();
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
        wait::until("a closed port", || TcpStream::connect(&address).is_err()).unwrap();
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
    wait::until("the date is noticed", || rpc(&node, "getblockcount", json!([])).status == 500).unwrap();
    check(&node);
}
