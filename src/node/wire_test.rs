//! Requests and replies, against what a node of release 28.0.1 has answered.

use std::sync::Arc;

use super::super::credentials::Auth;
use super::super::stub::Stub;
use super::super::transport::{Address, HttpTransport};
use super::*;
use crate::bch::ProofScore;

const A: &str = "8cb8463619900b067980e964d5baddbddc4a4928d41785869f19de99d1bc4663";
const B: &str = "fbdc5c7faf2794717ed10e6be64588bbd15c916dbe75378cff522d4ac472a90c";
const TIP: &str = "6979808e3563776c8efcff8b45d3bbcb7cb1809228b805dd31ddf5fc8151c1d5";
const BEFORE: &str = "4e66768fea0277cc0329151841dd1f5ca7dc2f6dd7d3847c2e9d9b3bebbc5764";

fn ask(stub: &Stub, request: &Request) -> Result<Reply, NodeError> {
    let folder = tempfile::tempdir().unwrap();
    let cookie = folder.path().join("cookie");
    std::fs::write(&cookie, "__cookie__:0").unwrap();
    let address = Address::parse(&stub.url()).unwrap();
    let secret = Auth::Cookie(cookie).read().unwrap();
    let transport = HttpTransport::new(address, secret, regtest::wait::PATIENCE, 1 << 20, Arc::default());
    perform(&Client::from_jsonrpc(jsonrpc::Client::with_transport(transport)), request)
}

/// The reply to a request whose only call is answered so.
fn answer(request: &Request, result: &'static str) -> Result<Reply, NodeError> {
    ask(&Stub::rpc(move |_, _| Ok(result.to_owned())), request)
}

fn refuse(request: &Request, code: i32, message: &'static str) -> Result<Reply, NodeError> {
    ask(&Stub::rpc(move |_, _| Err((code, message))), request)
}

fn txid(text: &str) -> Txid {
    text.parse().unwrap()
}

fn block(text: &str) -> BlockHash {
    text.parse().unwrap()
}

fn rpc(code: i32, message: &str) -> NodeError {
    NodeError::Rpc { code, message: message.into() }
}

const COIN: &str = r#"{
  "bestblock": "6979808e3563776c8efcff8b45d3bbcb7cb1809228b805dd31ddf5fc8151c1d5", "confirmations": 112,
  "value": 49.99899000,
  "scriptPubKey": {
    "asm": "OP_DUP OP_HASH160 79b000887626b294a914501a4cd226b58b235983 OP_EQUALVERIFY OP_CHECKSIG",
    "hex": "76a91479b000887626b294a914501a4cd226b58b23598388ac", "reqSigs": 1, "type": "pubkeyhash",
    "addresses": ["bchreg:qpumqqygwcnt999fz3gp5nxjy66ckg6esvp7xk3xap"]
  }, "coinbase": true }"#;

const TOKEN_COIN: &str = r#"{
  "bestblock": "6979808e3563776c8efcff8b45d3bbcb7cb1809228b805dd31ddf5fc8151c1d5", "confirmations": 0,
  "value": 0.00001000, "scriptPubKey": {"hex": "76a91479b000887626b294a914501a4cd226b58b23598388ac"},
  "tokenData": {
    "category": "08861899fe27bb1755d888781d4941e63c51da201233f0fcbd1585f405a894a6", "amount": "1000",
    "nft": {"capability": "minting", "commitment": "0102"}
  }, "coinbase": false }"#;

#[test]
fn the_node_describes_itself() {
    let chain = r#"{"chain":"regtest","blocks":112,"headers":113,
        "bestblockhash":"6979808e3563776c8efcff8b45d3bbcb7cb1809228b805dd31ddf5fc8151c1d5",
        "difficulty":4.656542373906925e-10,"mediantime":1795402340,"verificationprogress":1,
        "initialblockdownload":false,"size_on_disk":25813,"pruned":true,"pruneheight":100,"warnings":"watch out"}"#;
    let expected = ChainInfo {
        chain: "regtest".into(),
        blocks: 112,
        headers: 113,
        best_block: block(TIP),
        median_time_s: 1_795_402_340,
        initial_block_download: false,
        pruned: true,
        prune_height: Some(100),
        warnings: "watch out".into(),
    };
    assert_eq!(answer(&Request::ChainInfo, chain), Ok(Reply::ChainInfo(expected)));
    let network = r#"{"version":28000100,"subversion":"/Bitcoin Cash Node:28.0.1(EB32.0)/",
        "protocolversion":70016,"timeoffset":-7,"networkactive":true,"connections":3,
        "networks":[{"name":""}],"relayfee":0.00001000,"excessutxocharge":0.00000000,"warnings":""}"#;
    let expected = NetworkInfo {
        version: 28_000_100,
        subversion: "/Bitcoin Cash Node:28.0.1(EB32.0)/".into(),
        protocol_version: 70_016,
        connections: 3,
        time_offset_s: -7,
        relay_fee_satoshis_per_kb: 1_000,
        warnings: String::new(),
    };
    assert_eq!(answer(&Request::NetworkInfo, network), Ok(Reply::NetworkInfo(expected)));
    let publishers = r#"[{"type":"pubhashblock","address":"tcp://127.0.0.1:52035"}]"#;
    let expected = vec![Notification { topic: "hashblock".into(), address: "tcp://127.0.0.1:52035".into() }];
    assert_eq!(answer(&Request::ZmqNotifications, publishers), Ok(Reply::ZmqNotifications(expected)));
    assert_eq!(answer(&Request::ZmqNotifications, "[]"), Ok(Reply::ZmqNotifications(vec![])));
}

#[test]
fn the_fee_floor_is_the_larger_of_two() {
    let info = r#"{"loaded":true,"size":0,"mempoolminfee":0.00001000,"minrelaytxfee":0.00003000}"#;
    assert_eq!(answer(&Request::FeeFloor, info), Ok(Reply::FeeFloor(3_000)));
    let full = r#"{"loaded":true,"size":9,"mempoolminfee":0.00001733,"minrelaytxfee":0.00001000}"#;
    assert_eq!(answer(&Request::FeeFloor, full), Ok(Reply::FeeFloor(1_733)));
}

#[test]
fn the_ends_of_all_branches() {
    let tips = |finalized: &'static str| {
        Stub::rpc(move |method, params| match method {
            "getchaintips" => Ok(format!(
                r#"[{{"height":110,"hash":"{BEFORE}","branchlen":4,"status":"parked"}},
                {{"height":108,"hash":"{TIP}","branchlen":0,"status":"active"}}]"#
            )),
            "getfinalizedblockhash" => Ok(format!(r#""{finalized}""#)),
            "getblockheader" if params[0] == TIP => {
                Ok(format!(r#"{{"hash":"{TIP}","confirmations":11,"height":98,"time":1795402341}}"#))
            }
            _ => Err((-32601, "Method not found")),
        })
    };
    let tip = |height, branch_length, status: &str| ChainTip { height, branch_length, status: status.into() };
    let both = vec![tip(110, 4, "parked"), tip(108, 0, "active")];
    let told = |finalized| Ok(Reply::ChainTips(ChainTips { tips: both.clone(), finalized }));
    assert_eq!(ask(&tips(""), &Request::ChainTips), told(None));
    assert_eq!(ask(&tips(TIP), &Request::ChainTips), told(Some(98)));
    assert_eq!(ask(&tips("zz"), &Request::ChainTips), Err(NodeError::Malformed));
}

/// A proxy, or another program, answers well-formed and about something else.
#[test]
fn an_answer_about_something_else_is_none() {
    let header = r#"{"hash":"6979808e3563776c8efcff8b45d3bbcb7cb1809228b805dd31ddf5fc8151c1d5","confirmations":1,
        "height":114,"time":1795402341}"#;
    assert_eq!(answer(&Request::Header(block(BEFORE)), header), Err(NodeError::Malformed));
    let proof =
        r#"{"txid":"fbdc5c7faf2794717ed10e6be64588bbd15c916dbe75378cff522d4ac472a90c","descendants":[]}"#;
    assert_eq!(answer(&Request::DoubleSpendProof(txid(A)), proof), Err(NodeError::Malformed));
    let raw = Bytes::from_static(&[1, 2]);
    let error =
        answer(&Request::Send(raw), r#""8cb8463619900b067980e964d5baddbddc4a4928d41785869f19de99d1bc4663""#);
    assert_eq!(error, Err(NodeError::Malformed));
    assert!(NodeError::Malformed.effect_possible(), "it may have been broadcast all the same");
}

#[test]
fn a_snapshot_is_one_batch_in_order() {
    let stub = Stub::rpc(|method, _| {
        Ok(match method {
            "getmempoolinfo" => r#"{"loaded":true,"size":3,"mempoolminfee":0.00001000}"#.into(),
            "getrawmempool" => format!(r#"["{A}","{B}"]"#),
            "getbestblockhash" => format!(r#""{TIP}""#),
            _ => return Err((-32601, "Method not found")),
        })
    });
    let expected = Snapshot {
        loaded: true,
        tip_before: block(TIP),
        txids: vec![txid(A), txid(B)],
        tip_after: block(TIP),
    };
    assert_eq!(ask(&stub, &Request::Snapshot), Ok(Reply::Snapshot(expected)));
    let seen = stub.seen();
    let calls: Vec<Value> = serde_json::from_str(&seen[0].body).unwrap();
    let methods: Vec<_> = calls.iter().map(|call| call["method"].as_str().unwrap()).collect();
    assert_eq!(seen.len(), 1);
    assert_eq!(methods, ["getmempoolinfo", "getbestblockhash", "getrawmempool", "getbestblockhash"]);
}

#[test]
fn transactions_come_in_batches_and_some_are_gone() {
    let stub = Stub::rpc(|_, params| {
        let number = u64::from_str_radix(&params[0].as_str().unwrap()[..8], 16).unwrap();
        if number % 2 == 0 {
            Ok(format!(r#""{number:08x}""#))
        } else {
            Err((-5, "No such mempool transaction."))
        }
    });
    let txids: Vec<Txid> =
        (0..1_001).map(|number| txid(&format!("{number:08x}{}", "0".repeat(56)))).collect();
    let Ok(Reply::RawTransactions(raw)) = ask(&stub, &Request::RawTransactions(txids)) else {
        panic!("no answer")
    };
    assert_eq!((raw.len(), stub.seen().len()), (1_001, 3));
    assert_eq!(raw[0].as_deref(), Some([0, 0, 0, 0].as_slice()));
    assert_eq!(raw[1], None);
    assert_eq!(raw[1_000].as_deref(), Some(1_000_u32.to_be_bytes().as_slice()));
    assert_eq!(ask(&stub, &Request::RawTransactions(vec![])), Ok(Reply::RawTransactions(vec![])));
    assert_eq!(stub.seen().len(), 3, "nothing is asked for nothing");
}

#[test]
fn blocks_and_headers_may_be_unknown() {
    let header = r#"{"hash":"6979808e3563776c8efcff8b45d3bbcb7cb1809228b805dd31ddf5fc8151c1d5","confirmations":-1,
        "height":114,"version":536870912,"time":1795402341,"mediantime":1795402340,"nTx":2,
        "previousblockhash":"4e66768fea0277cc0329151841dd1f5ca7dc2f6dd7d3847c2e9d9b3bebbc5764",
        "ablastate":{"epsilon":16000000}}"#;
    let mut expected = Header {
        hash: block(TIP),
        height: 114,
        previous: Some(block(BEFORE)),
        time_s: 1_795_402_341,
        confirmations: -1,
    };
    let request = Request::Header(block(TIP));
    assert_eq!(answer(&request, header), Ok(Reply::Header(Some(expected.clone()))));
    let genesis = r#"{"hash":"6979808e3563776c8efcff8b45d3bbcb7cb1809228b805dd31ddf5fc8151c1d5","confirmations":115,
        "height":0,"time":1296688602}"#;
    expected = Header { height: 0, previous: None, time_s: 1_296_688_602, confirmations: 115, ..expected };
    assert_eq!(answer(&request, genesis), Ok(Reply::Header(Some(expected))));
    assert_eq!(refuse(&request, -5, "Block not found"), Ok(Reply::Header(None)));

    let request = Request::Block(block(TIP));
    assert_eq!(answer(&request, r#""00ff""#), Ok(Reply::Block(Some(Bytes::from_static(&[0, 255])))));
    assert_eq!(refuse(&request, -5, "Block not found"), Ok(Reply::Block(None)));
    let pruned = "Block not available (pruned data)";
    assert_eq!(refuse(&request, -1, pruned), Ok(Reply::Pruned));
    assert_eq!(refuse(&request, -1, "Block not found on disk"), Err(rpc(-1, "Block not found on disk")));
    for nonsense in [r#""0""#, r#""zz""#, "7", "null"] {
        assert_eq!(answer(&request, nonsense), Err(NodeError::Malformed), "{nonsense}");
    }

    let request = Request::BlockHashAt(7);
    assert_eq!(refuse(&request, -8, "Block height out of range"), Ok(Reply::BlockHashAt(None)));
    let stub =
        Stub::rpc(|_, params| if params[0] == 7 { Ok(format!(r#""{TIP}""#)) } else { Err((-3, "type")) });
    assert_eq!(ask(&stub, &request), Ok(Reply::BlockHashAt(Some(block(TIP)))));
    assert_eq!(ask(&stub, &Request::BestBlock), Err(rpc(-3, "type")));
}

#[test]
fn a_search_of_the_unspent_outputs() {
    let found = r#"{"success":true,"searched_items":7,"unspents":[{
        "txid":"8cb8463619900b067980e964d5baddbddc4a4928d41785869f19de99d1bc4663","vout":1,
        "scriptPubKey":"76a91479b000887626b294a914501a4cd226b58b23598388ac","amount":0.00001000,"height":112,
        "tokenData":{"category":"08861899fe27bb1755d888781d4941e63c51da201233f0fcbd1585f405a894a6","amount":"5"}}],
        "total_amount":0.00001000}"#;
    let script = plain_coin().script;
    let outpoint = OutPoint { txid: txid(A), vout: 1 };
    let expected = UnspentCoin { outpoint, script: script.clone(), satoshis: 1000, height: 112 };
    let stub = Stub::rpc(move |_, _| Ok(found.to_owned()));
    let request = Request::ScanUtxos(vec![script]);
    assert_eq!(ask(&stub, &request), Ok(Reply::Scanned(vec![expected])));
    let call: Value = serde_json::from_str(&stub.seen()[0].body).unwrap();
    let descriptor = "raw(76a91479b000887626b294a914501a4cd226b58b23598388ac)";
    assert_eq!(call["params"], serde_json::json!(["start", [descriptor]]));
    assert_eq!(answer(&request, r#"{"success":false,"unspents":[]}"#), Err(NodeError::Busy));
    let busy = "Scan already in progress, use action \"abort\" or \"status\"";
    assert_eq!(refuse(&request, -8, busy), Err(rpc(-8, busy)));
}

#[test]
fn double_spend_proofs_and_what_they_are_worth() {
    let disabled = "Double-spend proofs subsystem is disabled. Restart with -doublespendproof=1 to enable.";
    let list = r#"[{"dspid":"8cb8463619900b067980e964d5baddbddc4a4928d41785869f19de99d1bc4663",
        "txid":"fbdc5c7faf2794717ed10e6be64588bbd15c916dbe75378cff522d4ac472a90c",
        "outpoint":{"txid":"8cb8463619900b067980e964d5baddbddc4a4928d41785869f19de99d1bc4663","vout":1}},
        {"dspid":"6979808e3563776c8efcff8b45d3bbcb7cb1809228b805dd31ddf5fc8151c1d5","txid":null,
        "outpoint":{"txid":"8cb8463619900b067980e964d5baddbddc4a4928d41785869f19de99d1bc4663","vout":2}}]"#;
    let request = Request::DoubleSpendProofs;
    assert_eq!(answer(&request, list), Ok(Reply::DoubleSpendProofs(vec![txid(B)])), "orphans concern nobody");
    assert_eq!(answer(&request, "[]"), Ok(Reply::DoubleSpendProofs(vec![])));
    assert_eq!(refuse(&request, -90, disabled), Ok(Reply::DoubleSpendProofs(vec![])));

    let proof = r#"{"hex":"00ff","txid":"fbdc5c7faf2794717ed10e6be64588bbd15c916dbe75378cff522d4ac472a90c",
        "descendants":["fbdc5c7faf2794717ed10e6be64588bbd15c916dbe75378cff522d4ac472a90c",
        "8cb8463619900b067980e964d5baddbddc4a4928d41785869f19de99d1bc4663"]}"#;
    let request = Request::DoubleSpendProof(txid(B));
    let expected = DoubleSpendProof { txid: txid(B), descendants: vec![txid(B), txid(A)] };
    assert_eq!(answer(&request, proof), Ok(Reply::DoubleSpendProof(Some(expected))));
    assert_eq!(answer(&request, "null"), Ok(Reply::DoubleSpendProof(None)));
    let orphan = r#"{"hex":"00ff","txid":null}"#;
    assert_eq!(answer(&request, orphan), Ok(Reply::DoubleSpendProof(None)));
    assert_eq!(refuse(&request, -90, disabled), Ok(Reply::DoubleSpendProof(None)));

    let request = Request::ProofScore(txid(B));
    for (score, thousandths) in [("1", 1000), ("0.25", 250), ("0", 0), ("1.0", 1000)] {
        let expected = ProofScore::from_thousandths(thousandths);
        assert_eq!(answer(&request, score), Ok(Reply::ProofScore(expected)), "{score}");
    }
    assert_eq!(refuse(&request, -5, "Transaction not in mempool"), Ok(Reply::ProofScore(None)));
    assert_eq!(refuse(&request, -90, disabled), Ok(Reply::ProofScore(None)));
    for nonsense in ["2", "-1", "\"1\"", "null", "1e-3"] {
        assert_eq!(answer(&request, nonsense), Err(NodeError::Malformed), "{nonsense}");
    }
}

#[test]
fn a_mempool_entry_has_an_exact_fee() {
    let entry = r#"{"fees":{"base":0.00001000,"modified":0.50001000},"size":191,"time":1795402321,
        "depends":["8cb8463619900b067980e964d5baddbddc4a4928d41785869f19de99d1bc4663"],"spentby":[]}"#;
    let expected =
        MempoolEntry { time_s: 1_795_402_321, size_bytes: 191, fee_satoshis: 1_000, depends: vec![txid(A)] };
    let request = Request::MempoolEntry(txid(B));
    assert_eq!(answer(&request, entry), Ok(Reply::MempoolEntry(Some(expected))));
    assert_eq!(refuse(&request, -5, "Transaction not in mempool"), Ok(Reply::MempoolEntry(None)));
}

fn plain_coin() -> Coin {
    Coin {
        satoshis: 4_999_899_000,
        script: ScriptBuf::from_hex("76a91479b000887626b294a914501a4cd226b58b23598388ac").unwrap(),
        token: None,
        confirmations: 112,
        coinbase: true,
    }
}

#[test]
fn inputs_are_one_batch() {
    let stub = Stub::rpc(|method, params| match (method, &params[0]) {
        ("getmempoolentry", _) => Err((-5, "Transaction not in mempool")),
        ("gettxout", id) if id == A => {
            assert_eq!(params[2], true);
            Ok(if params[1] == 3 { COIN } else { "null" }.into())
        }
        _ => Err((-32601, "Method not found")),
    });
    let outpoints = vec![OutPoint::new(txid(A), 3), OutPoint::new(txid(A), 4)];
    let reply = ask(&stub, &Request::Inputs { txid: txid(B), outpoints });
    assert_eq!(reply, Ok(Reply::Inputs { entry: None, coins: vec![Some(plain_coin()), None] }));
    assert_eq!(stub.seen().len(), 1);
    let stub = Stub::rpc(|_, params| Ok(if params[2] == false { COIN } else { "null" }.into()));
    let outpoints = vec![OutPoint::new(txid(A), 3)];
    let request = Request::Unspent { outpoints: outpoints.clone(), include_mempool: false };
    assert_eq!(ask(&stub, &request), Ok(Reply::Unspent(vec![Some(plain_coin())])));
    let request = Request::Unspent { outpoints, include_mempool: true };
    assert_eq!(ask(&stub, &request), Ok(Reply::Unspent(vec![None])));
}

#[test]
fn a_token_is_that_of_the_transaction() {
    let request = Request::Unspent { outpoints: vec![OutPoint::new(txid(A), 0)], include_mempool: true };
    let Ok(Reply::Unspent(coins)) = answer(&request, TOKEN_COIN) else { panic!("no answer") };
    let coin = coins[0].clone().unwrap();
    // The same output as it stands in its transaction.
    let output = bitcoincash::TxOut {
        value: bitcoincash::Amount::from_sat(coin.satoshis),
        script_pubkey: coin.script,
        token: coin.token,
    };
    let wire = "e80300000000000041efa694a805f48515bdfcf0331220da513ce641491d7888d85517bb27fe9918860872020102fde803\
        76a91479b000887626b294a914501a4cd226b58b23598388ac";
    assert_eq!(hex::encode(bitcoincash::consensus::serialize(&output)), wire);
}

#[test]
fn a_token_that_cannot_be_serialised_is_refused() {
    let request = Request::Unspent { outpoints: vec![OutPoint::new(txid(A), 0)], include_mempool: true };
    let with = |amount: &str, nft: &str| {
        let from = r#""amount": "1000",
    "nft": {"capability": "minting", "commitment": "0102"}"#;
        assert!(TOKEN_COIN.contains(from));
        let coin = TOKEN_COIN.replace(from, &format!(r#""amount": "{amount}" {nft}"#));
        ask(&Stub::rpc(move |_, _| Ok(coin.clone())), &request)
    };
    let nft = |capability: &str, commitment: &str| {
        format!(r#", "nft": {{"capability": "{capability}", "commitment": "{commitment}"}}"#)
    };
    for (amount, nft) in [
        ("0", nft("none", "")),
        ("0", nft("mutable", "00")),
        ("9223372036854775807", String::new()),
        ("1", nft("minting", "")),
    ] {
        let Ok(Reply::Unspent(coins)) = with(amount, &nft) else { panic!("{amount} {nft}") };
        let token = coins[0].clone().unwrap().token.unwrap();
        let again = bitcoincash::consensus::deserialize(&bitcoincash::consensus::serialize(&token));
        assert_eq!(again.ok(), Some(token), "{amount} {nft}");
    }
    for (amount, nft) in [
        ("0", String::new()),
        ("-1", String::new()),
        ("9223372036854775808", String::new()),
        ("1.5", String::new()),
        ("1", nft("owner", "")),
        ("1", nft("none", "0")),
    ] {
        assert_eq!(with(amount, &nft), Err(NodeError::Malformed), "{amount} {nft}");
    }
}

#[test]
fn a_broadcast_has_five_ends() {
    let request = Request::Send(Bytes::from_static(&[1, 2]));
    let stub = Stub::rpc(|method, params| {
        assert_eq!((method, params), ("sendrawtransaction", &serde_json::json!(["0102"])));
        let txid = Txid::from_raw_hash(sha256d::Hash::hash(&[1, 2]));
        Ok(format!(r#""{txid}""#))
    });
    assert_eq!(ask(&stub, &request), Ok(Reply::Sent(SendOutcome::Accepted)));
    let refused =
        |code, message: &str| Ok(Reply::Sent(SendOutcome::Refused { code, message: message.into() }));
    let table = [
        (-27, "transaction already in block chain", Ok(Reply::Sent(SendOutcome::AlreadyInChain))),
        (-25, "Missing inputs", Ok(Reply::Sent(SendOutcome::MissingInputs))),
        (-25, "Something else", Err(rpc(-25, "Something else"))),
        (-26, "txn-mempool-conflict (code 18)", refused(-26, "txn-mempool-conflict (code 18)")),
        (-22, "TX decode failed", refused(-22, "TX decode failed")),
        (-28, "Verifying blocks...", Err(NodeError::WarmingUp)),
        (-100, "RPC is disabled.", Err(NodeError::Expired)),
    ];
    for (code, message, expected) in table {
        assert_eq!(refuse(&request, code, message), expected, "{code} {message}");
    }
}

#[test]
fn a_batch_without_an_array_or_with_a_hole_is_understood_as_an_error() {
    let stub = Stub::start(|_| {
        super::super::stub::Answer::Http(
            500,
            r#"{"result":null,"error":{"code":-28,"message":"x"},"id":1}"#.into(),
        )
    });
    assert_eq!(ask(&stub, &Request::Snapshot), Err(NodeError::Malformed));
    let stub = Stub::start(|_| {
        super::super::stub::Answer::Http(200, r#"[{"result":1,"error":null,"id":1}]"#.into())
    });
    assert_eq!(ask(&stub, &Request::Snapshot), Err(NodeError::Malformed));
    let stub = Stub::rpc(|_, _| Err((-28, "Loading block index...")));
    assert_eq!(ask(&stub, &Request::Snapshot), Err(NodeError::WarmingUp));
}
