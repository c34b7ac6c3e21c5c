//! HTTP and the JSON-RPC envelope: what is refused, how, and in which order.

use serde_json::json;

use crate::support::{Funded, compare, cookie, each, http, line, normalise};

#[test]
fn malformed_requests_are_refused_alike() {
    let long = format!("[{}]", [r#"{"method":"getblockcount","id":1}"#; 50].join(","));
    let bodies = [
        r#"{"method":"getblockcount","params":[],"id":"x"}"#,
        r#"{"method":"getblockcount","id":{"a":1}}"#,
        r#"{"method":"getblockcount"}"#,
        r#"{"jsonrpc":"2.0","method":"getblockcount","id":null,"extra":[]}"#,
        r#"{"method":"nosuch","id":3}"#,
        r#"{"method":"","id":3}"#,
        r#"{"params":[],"id":3}"#,
        r#"{"method":5,"id":3}"#,
        r#"{"method":null,"id":3}"#,
        r#"{"method":"getblockcount","params":5,"id":3}"#,
        r#"{"method":"getblockcount","params":null,"id":3}"#,
        r#"{"method":"getblockhash","params":{"height":0},"id":1}"#,
        r#"{"method":"getblockhash","params":{"heigh":0},"id":1}"#,
        r#"{"method":"getblockheader","params":{"verbose":false,"hash_or_height":0},"id":1}"#,
        r#"{"method":"getblockcount","id":"\u00e9\u0001\""}"#,
        r#"{"method":"getblockcount"}x"#,
        "not json",
        "",
        r#""text""#,
        "5",
        "[]",
        r#"[{"method":"getblockcount","id":1},5,{"method":"nosuch","id":2},{"id":7},{"method":"getblockhash","params":[9],"id":3}]"#,
        &long,
    ];
    compare("malformed_requests_are_refused_alike", |node| {
        let secret = cookie(&node.cookie_file());
        let mut lines = Vec::new();
        for body in bodies {
            let answer = http(node, "POST", "/", Some(&secret), body).unwrap();
            assert!(answer.body.ends_with('\n'), "{body}");
            assert!(answer.header("Date").is_some());
            let kind = answer.header("Content-Type");
            lines.push(format!("{body} {} {kind:?} {}", answer.status, answer.body));
        }
        lines
    });
}

#[test]
fn the_door_is_kept_alike() {
    let call = r#"{"method":"getblockcount"}"#;
    compare("the_door_is_kept_alike", |node| {
        let right = cookie(&node.cookie_file());
        let mut lines = Vec::new();
        for (method, path, secret) in [
            ("POST", "/", None),
            ("POST", "/", Some("a:b")),
            ("POST", "/", Some("__cookie__:")),
            ("GET", "/", Some(right.as_str())),
            ("GET", "/", None),
            ("PUT", "/", Some(right.as_str())),
            ("POST", "/x", Some(right.as_str())),
            ("POST", "/?a=b", Some(right.as_str())),
            ("GET", "/x", None),
        ] {
            let answer = http(node, method, path, secret, call).unwrap();
            let challenge = answer.header("WWW-Authenticate");
            let kind = answer.header("Content-Type");
            let known = secret.is_some_and(|secret| secret == right);
            lines.push(format!(
                "{method} {path} {known} {} {challenge:?} {kind:?} {}",
                answer.status, answer.body
            ));
        }
        lines
    });
}

#[test]
fn parameters_are_refused_alike() {
    let zero = "00".repeat(32);
    let wrong = json!({
        "getblockchaininfo": [[1]],
        "getnetworkinfo": [[1]],
        "getmempoolinfo": [[1]],
        "getblockcount": [[1]],
        "getbestblockhash": [[1]],
        "getchaintips": [[1]],
        "getzmqnotifications": [[1]],
        "uptime": [[1]],
        "stop": [[1, 2]],
        "syncwithvalidationinterfacequeue": [[], [1]],
        "getrawmempool": [["x"], [1], [null], [true, false]],
        "getmempoolentry": [[], [1], ["zz"], [zero], ["00".repeat(31)], [null], [format!("{}g", "0".repeat(63))]],
        "getrawtransaction": [
            [], [1], ["zz"], [zero], [zero, true], [zero, "x"], [zero, 3], [zero, -1], [zero, 0, "zz"],
            [zero, 0, "11".repeat(32)], [zero, 0, 5], [zero, 1.5], [zero, null, null], [zero, 0, null, 4],
            ["4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"],
        ],
        "sendrawtransaction": [
            [], [1], [true], [false], [{}], [[]], [null], ["zz"], [""], ["00"], ["00", 1], ["00", true, 3], ["00", 0.1],
            ["00", null], ["00", "x"],
        ],
        "testmempoolaccept": [
            [], [1], [[]], [["zz"]], [["00", "00"]], [[1]], [["00"], 1], ["00"], [["00"], true, 1], [["00"], null],
        ],
        "gettxout": [
            [], [zero], [zero, 0], [1, 0], ["zz", 0], [zero, "x"], [zero, -1], [zero, 0, 1], [zero, 0, null], [zero, 1.5],
            [zero, 1_099_511_627_776_u64], [zero, 0, true, 1],
        ],
        "getblock": [[], [1], ["zz"], [zero], [zero, 9], [zero, true], [zero, "x"], [zero, 1, 1]],
        "getblockheader": [
            [], [5], [0], ["0"], ["zz"], [zero], [-1], [1.5], [true], [zero, 1], [0, "x"], [0, 0], [0, false], [null], [99],
        ],
        "getblockhash": [[], ["x"], [0], [5], [-1], [1.5], ["0"], [null], [true], [8_589_934_592_u64]],
        "getdsproof": [
            [], [1], ["zz"], [zero], [zero, 9], [{"txid": zero, "vout": 0}], [{"txid": zero}], [null], [zero, null],
            [zero, 0, null], [zero, 0, 1],
        ],
        "getdsprooflist": [[], [1], [9], ["x"], [2], [0, true], [0, 1], [{}]],
        "getdsproofscore": [[], [1], ["zz"], [zero], [true]],
        "validateaddress": [
            [], [1], ["zz"], [""], ["bchreg:qpumqqygwcnt999fz3gp5nxjy66ckg6esvp7xk3xap"],
            ["qpumqqygwcnt999fz3gp5nxjy66ckg6esvp7xk3xap"], ["bchreg:ppumqqygwcnt999fz3gp5nxjy66ckg6esvkmmek9xu"],
            ["bchreg:zpumqqygwcnt999fz3gp5nxjy66ckg6esvx54glqzj"],
            ["bchreg:rvzs2pg9q5zs2pg9q5zs2pg9q5zs2pg9q5zs2pg9q5zs2pg9q5zs24cpyej40"],
            ["bitcoincash:qpumqqygwcnt999fz3gp5nxjy66ckg6esvls5sszem"], ["mfWxJ45yp2SFn7UciZyNpvDKrzbhyfKrY8"],
        ],
        "generatetoaddress": [
            [], [1], ["x", "y"], [1, "y"], [1, 1], [0, "bchreg:qpumqqygwcnt999fz3gp5nxjy66ckg6esvp7xk3xap"],
            [-1, "bchreg:qpumqqygwcnt999fz3gp5nxjy66ckg6esvp7xk3xap"],
            [1.5, "bchreg:qpumqqygwcnt999fz3gp5nxjy66ckg6esvp7xk3xap"],
            [1, "bchreg:qpumqqygwcnt999fz3gp5nxjy66ckg6esvp7xk3xap", "x"],
        ],
        "invalidateblock": [[], [1], ["zz"], [zero]],
        "reconsiderblock": [[], [1], ["zz"], [zero]],
        "submitblock": [[], [1], ["zz"], ["00"], ["00", "x"]],
        "setmocktime": [[], ["x"]],
    });
    compare("parameters_are_refused_alike", |node| {
        let mut lines = Vec::new();
        for (method, lists) in wrong.as_object().unwrap() {
            for params in lists.as_array().unwrap() {
                lines.push(line(node, method, params.clone()));
            }
        }
        lines
    });
}

#[test]
fn replies_have_the_same_shape() {
    compare("replies_have_the_same_shape", |node| {
        let mut funded = Funded::new(node, 4);
        let parent = funded.payment(100_000);
        let child = funded.payment(200_000);
        let confirmed = parent.compute_txid().to_string();
        node.send(&bitcoincash::consensus::serialize(&parent)).unwrap();
        let block = funded.mine(1)[0].to_string();
        let coinbase =
            crate::support::block(node, block.parse().unwrap()).txdata[0].compute_txid().to_string();
        let waiting = node.send(&bitcoincash::consensus::serialize(&child)).unwrap().to_string();
        let change = funded.child(&child);
        node.send(&bitcoincash::consensus::serialize(&change)).unwrap();
        let spent = child.input[0].previous_output;
        let calls = json!([
            ["getblockchaininfo"],
            ["getnetworkinfo"],
            ["getmempoolinfo"],
            ["getblockcount"],
            ["getbestblockhash"],
            ["getchaintips"],
            ["getrawmempool"],
            ["getmempoolentry", waiting],
            ["getrawtransaction", waiting],
            ["getrawtransaction", waiting, 1],
            ["getrawtransaction", confirmed, 1],
            ["getrawtransaction", confirmed, true, block],
            ["getrawtransaction", confirmed, false, block],
            ["getrawtransaction", coinbase, 1],
            ["getrawtransaction", waiting, 1, block],
            ["gettxout", waiting, 0],
            ["gettxout", waiting, 0, false],
            ["gettxout", confirmed, 0],
            ["gettxout", confirmed, 9],
            ["gettxout", coinbase, 0],
            ["gettxout", spent.txid, spent.vout],
            ["gettxout", spent.txid, spent.vout, false],
            ["getblock", block],
            ["getblock", block, 0],
            ["getblock", block, false],
            ["getblock", block, true],
            ["getblockheader", block],
            ["getblockheader", block, false],
            ["getblockheader", 0],
            ["getblockheader", 50],
            ["getblock", "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"],
            ["getblock", "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206", 0],
            ["getblockhash", 105],
            ["getblockhash", 106],
            ["getzmqnotifications"],
            ["getdsproofscore", waiting],
            ["getdsproofscore", confirmed],
            ["getdsproof", waiting],
            ["submitblock", node.call("getblock", json!([block, 0])).unwrap()],
        ]);
        let mut lines: Vec<_> = calls
            .as_array()
            .unwrap()
            .iter()
            .map(|call| {
                let [method, params @ ..] = call.as_array().unwrap().as_slice() else { panic!("{call}") };
                line(node, method.as_str().unwrap(), json!(params))
            })
            .collect();
        // Which coinbase was spent, and so its age, depends on the ids.
        for line in &mut lines {
            for age in ["101", "102", "103", "104", "105"] {
                *line = line.replace(&format!("\"confirmations\":{age}"), "\"confirmations\":<age>");
            }
        }
        // The verbose mempool has no order.
        let verbose = node.call("getrawmempool", json!([true])).unwrap();
        let mut entries: Vec<_> =
            verbose.as_object().unwrap().values().map(|entry| normalise(&entry.to_string())).collect();
        entries.sort();
        lines.extend(entries);
        lines
    });
}

#[test]
fn the_client_of_the_daemon_works() {
    each("the_client_of_the_daemon_works", |node| {
        use bitcoincore_rpc::{Auth, Client, RpcApi};
        let client = Client::new(&node.rpc_url(), Auth::CookieFile(node.cookie_file())).unwrap();
        let height = node.tip().unwrap().1;
        assert_eq!(client.get_block_count().unwrap(), u64::from(height));
        let transport = client.get_jsonrpc_client();
        let requests: Vec<_> = (0..200).map(|_| transport.build_request("getblockcount", None)).collect();
        let answers = transport.send_batch(&requests).unwrap();
        assert_eq!(answers.len(), 200);
        assert!(answers.into_iter().all(|answer| answer.unwrap().result::<u32>().unwrap() == height));
        let refused = client.call::<serde_json::Value>("getblockhash", &[json!(height + 9)]).unwrap_err();
        assert!(refused.to_string().contains("Block height out of range"), "{refused}");
    });
}
