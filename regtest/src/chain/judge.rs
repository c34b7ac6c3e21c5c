//! Tests: a real node judges the model. Both get the same bytes and must say the same.
//!
//! Needs `bitcoind`, named by the variable `BITCOIND` or found on the path; without it the test prints that it was
//! skipped.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bitcoincash::consensus::serialize;
use bitcoincash::{Amount, BlockHash, OutPoint, Transaction, Txid};
use bitcoincore_rpc::{Auth, Client, Error, RpcApi, jsonrpc};
use serde_json::{Value, json};

use super::fixture::{self, NOW, VALUE, funded, payment, scan, stranger};
use super::{Chain, Event, TipStatus, faults};
use crate::port::Port;
use crate::wait;
use crate::wallet::{Category, Nft, NftCapability, PayOptions, Payment, Sign, TokenOutput, Wallet};

/// A real node that was told the model's blocks, and the model.
struct Judge {
    chain: Chain,
    client: Client,
    process: Child,
    heard: zmq::Socket,
    _ports: [Port; 2],
    _folder: tempfile::TempDir,
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn bitcoind() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("BITCOIND") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("bitcoind")).find(|file| file.is_file())
}

impl Judge {
    fn new(chain: Chain) -> Option<Self> {
        let Some(program) = bitcoind() else {
            crate::node::skipped("the chain model beside bitcoind: no bitcoind (set BITCOIND)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let ports = [(); 2].map(|()| Port::reserve().unwrap());
        let (port, messages) = (ports[0].number(), format!("tcp://{}", ports[1].address()));
        let heard = zmq::Context::new().socket(zmq::SUB).unwrap();
        for topic in ["hashtx", "hashblock", "hashds"] {
            heard.set_subscribe(topic.as_bytes()).unwrap();
        }
        heard.set_rcvhwm(0).unwrap();
        heard.connect(&messages).unwrap();
        let process = Command::new(program)
            .arg(format!("-datadir={}", folder.path().display()))
            .arg(format!("-rpcport={port}"))
            .arg(format!("-mocktime={NOW}"))
            .args(["-regtest", "-server=1", "-listen=0", "-connect=0", "-dnsseed=0", "-upnp=0", "-natpmp=0"])
            .args(["-discover=0", "-listenonion=0", "-printtoconsole=0", "-expire=0", "-disablewallet"])
            .args(["hashtx", "hashblock", "hashds"].map(|topic| format!("-zmqpub{topic}={messages}")))
            .args(["-rpcuser=judge", "-rpcpassword=judge"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let auth = Auth::UserPass("judge".to_owned(), "judge".to_owned());
        let client = Client::new(&format!("http://127.0.0.1:{port}"), auth).unwrap();
        let judge = Self { chain, client, process, heard, _ports: ports, _folder: folder };
        wait::until("an answer of the node", || judge.client.get_block_count().is_ok()).unwrap();
        judge.catch_up();
        Some(judge)
    }

    fn call(&self, method: &str, arguments: &[Value]) -> Result<Value, (i32, String)> {
        match self.client.call(method, arguments) {
            Ok(value) => Ok(value),
            Err(Error::JsonRpc(jsonrpc::Error::Rpc(error))) => Err((error.code, error.message)),
            Err(error) => panic!("{method}: {error}"),
        }
    }

    /// Gives the node the blocks of the active chain it does not have.
    fn catch_up(&self) {
        for height in 1..=self.chain.tip().1 {
            let hash = self.chain.hash_at(height).unwrap();
            if self.call("getblockheader", &[json!(hash)]).is_err() {
                let raw = ::hex::encode(&self.chain.block(hash).unwrap().raw);
                assert_eq!(self.call("submitblock", &[json!(raw)]), Ok(Value::Null), "block {height}");
            }
        }
        self.same_tip();
    }

    fn same_tip(&self) {
        let tip = self.chain.tip().0.to_string();
        assert_eq!(self.call("getbestblockhash", &[]), Ok(json!(tip)));
        let mut told: Vec<String> = serde_json::from_value(self.call("getrawmempool", &[]).unwrap()).unwrap();
        let mut mempool: Vec<String> = self.chain.mempool().iter().map(ToString::to_string).collect();
        told.sort_unstable();
        mempool.sort_unstable();
        assert_eq!(told, mempool);
    }

    /// The model's events since the last call, which must be what the node published.
    fn same_events(&mut self, name: &str) {
        let told: Vec<(String, String)> = self
            .chain
            .take_events()
            .iter()
            .map(|event| match event {
                Event::Transaction { txid, .. } => ("hashtx".to_owned(), txid.to_string()),
                Event::Block { hash, .. } => ("hashblock".to_owned(), hash.to_string()),
                Event::DoubleSpend { txid, .. } => ("hashds".to_owned(), txid.to_string()),
            })
            .collect();
        self.call("syncwithvalidationinterfacequeue", &[]).unwrap();
        // A message too many stands before the next ones.
        assert_eq!(self.hear(told.len()), told, "{name}");
    }

    /// The next messages of the node, so many.
    fn hear(&self, count: usize) -> Vec<(String, String)> {
        let next = || self.hear_within(wait::PATIENCE);
        (0..count).map_while(|_| next()).collect()
    }

    fn hear_within(&self, time: Duration) -> Option<(String, String)> {
        self.heard.set_rcvtimeo(i32::try_from(time.as_millis()).unwrap()).unwrap();
        let parts = self.heard.recv_multipart(0).ok()?;
        Some((String::from_utf8(parts[0].clone()).unwrap(), ::hex::encode(&parts[1])))
    }

    /// Mines until the subscription has arrived at the node, and all that was published is read.
    fn mine_until_heard(&mut self, wallet: &mut Wallet) {
        wait::until("a message of the node", || {
            self.mine(1, wallet);
            let tip = ("hashblock".to_owned(), self.chain.tip().0.to_string());
            let until = Instant::now() + Duration::from_millis(200);
            std::iter::from_fn(|| self.hear_within(until.saturating_duration_since(Instant::now())))
                .any(|heard| heard == tip)
        })
        .unwrap();
        self.chain.take_events();
    }

    fn mine(&mut self, count: u32, wallet: &mut Wallet) {
        let script = wallet.script(0).unwrap();
        for hash in self.chain.mine(count, &script, NOW) {
            scan(&self.chain, wallet, hash);
        }
        self.catch_up();
    }

    /// Both verdicts on some bytes, which must be the same.
    fn submit(&mut self, name: &str, raw: &[u8]) -> Result<Txid, (i32, String)> {
        let hex = json!(::hex::encode(raw));
        let tested = self.call("testmempoolaccept", &[json!([hex])]);
        let model = self.chain.test_accept(raw, false, NOW);
        match (tested, model) {
            (Ok(reply), Ok(txid)) => assert_eq!(reply, json!([{"txid": txid, "allowed": true}]), "{name}"),
            (Ok(reply), Err(reject)) => {
                assert_eq!(reply[0]["allowed"], json!(false), "{name}: {reject}");
                assert_eq!(reply[0]["reject-reason"], json!(reject.reason_for_test()), "{name}");
            }
            (Err(error), model) => {
                assert_eq!(Err(error), model.map_err(|reject| (reject.code, reject.message)), "{name}")
            }
        }
        let node = self.call("sendrawtransaction", &[hex]);
        let model = self.chain.submit(raw, false, NOW).map_err(|reject| (reject.code, reject.message));
        assert_eq!(node, model.clone().map(|txid| json!(txid)), "{name}");
        model
    }

    fn accept(&mut self, name: &str, tx: &Transaction) {
        self.submit(name, &serialize(tx)).unwrap();
    }
}

#[test]
fn the_node_says_the_same() {
    let (chain, mut wallet) = funded();
    let Some(mut judge) = Judge::new(chain) else { return };
    for case in faults::own_faults(&mut wallet) {
        judge.submit(case.name, &case.raw).unwrap_err();
    }

    for (name, sign) in [
        ("ECDSA", Sign::ECDSA),
        ("Schnorr", Sign::SCHNORR),
        ("spent outputs signed", Sign::SCHNORR_UTXOS),
        ("spent outputs signed, ECDSA", Sign::Ecdsa { hash_type: 0x61 }),
        ("single", Sign::Ecdsa { hash_type: 0x43 }),
        ("none", Sign::Schnorr { hash_type: 0x42 }),
        ("anyone can pay", Sign::Ecdsa { hash_type: 0xc1 }),
        ("none, anyone can pay", Sign::Ecdsa { hash_type: 0xc2 }),
    ] {
        let tx = wallet.pay(&[payment(VALUE)], PayOptions { sign, ..PayOptions::default() }).unwrap();
        judge.accept(name, &tx);
        let score = judge.call("getdsproofscore", &[json!(tx.compute_txid())]).unwrap();
        assert_eq!(
            score.to_string().trim_end_matches(".0"),
            judge.chain.dsproof_score(tx.compute_txid()).unwrap().as_str(),
            "{name}"
        );
    }
    let least = wallet.pay(&[payment(546)], PayOptions::default()).unwrap();
    judge.accept("least value", &least);
    let split = wallet.split(3_000, 2_000, PayOptions::default()).unwrap();
    for tx in &split {
        judge.accept("split", tx);
    }
    judge.mine(1, &mut wallet);
    tokens(&mut judge, &mut wallet);
    conflicts(&mut judge, &mut wallet);
    known(&mut judge, &mut wallet);
    young(&mut judge, &mut wallet);
    rivals(&mut judge, &mut wallet);
}

#[test]
fn the_node_publishes_the_same() {
    let (chain, mut wallet) = funded();
    let Some(mut judge) = Judge::new(chain) else { return };
    let confirmed = PayOptions { confirmed_only: true, ..PayOptions::default() };
    judge.mine_until_heard(&mut wallet);

    let a = wallet.pay(&[payment(VALUE)], confirmed).unwrap();
    judge.accept("a", &a);
    judge.accept("a again", &a);
    judge.same_events("a");
    let rival = serialize(&wallet.double_spend(&a, PayOptions::default()).unwrap());
    judge.submit("rival", &rival).unwrap_err();
    judge.submit("rival again", &rival).unwrap_err();
    judge.same_events("rival");
    let child = wallet.pay(&[payment(VALUE)], PayOptions::default()).unwrap();
    judge.accept("child", &child);
    let (fork, _) = judge.chain.tip();
    judge.mine(1, &mut wallet);
    judge.same_events("block");

    let (b1, _) = judge.chain.tip();
    judge.call("invalidateblock", &[json!(b1)]).unwrap();
    judge.chain.invalidate(b1, NOW).unwrap();
    judge.same_events("invalidated");
    judge.call("reconsiderblock", &[json!(b1)]).unwrap();
    judge.chain.reconsider(b1, NOW).unwrap();
    judge.same_events("reconsidered");

    judge.mine(1, &mut wallet);
    let waiting = wallet.pay(&[payment(VALUE)], confirmed).unwrap();
    judge.accept("waiting", &waiting);
    judge.same_events("before the rival branch");
    let mut at = fork;
    for step in 0..3 {
        let txs = if step == 0 { vec![a.clone()] } else { vec![] };
        at = judge.chain.mine_on(at, txs, &stranger(), NOW).unwrap();
        let raw = ::hex::encode(&judge.chain.block(at).unwrap().raw);
        judge.call("submitblock", &[json!(raw)]).unwrap();
        if step < 2 {
            judge.same_events("a branch beside");
        }
    }
    let mut model: Vec<_> = judge.chain.take_events();
    let told = judge.hear(model.len());
    assert_eq!(told.len(), model.len());
    let last = model.pop();
    assert!(
        matches!(last, Some(Event::Block { hash, .. }) if hash == at && told.last().unwrap().1 == at.to_string())
    );
    let ids = model.iter().map(|event| match event {
        Event::Transaction { txid, .. } | Event::DoubleSpend { txid, .. } => txid.to_string(),
        Event::Block { hash, .. } => hash.to_string(),
    });
    let (told, ids): (Vec<_>, Vec<_>) = told.into_iter().map(|(_, id)| id).zip(ids).unzip();
    let back: Vec<usize> =
        told.iter().zip(&ids).enumerate().filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect();
    assert!(
        back.is_empty() || back.len() == 2,
        "only the two that are put back may change places: {told:?} {ids:?}"
    );
    judge.same_tip();
    judge.mine(1, &mut wallet);
    judge.same_events("a block after all");
}

fn tokens(judge: &mut Judge, wallet: &mut Wallet) {
    let genesis = fixture::genesis(wallet);
    judge.accept("genesis", &genesis);
    for case in faults::token_faults(wallet, &genesis) {
        judge.submit(case.name, &case.raw).unwrap_err();
    }
    let id = genesis.output[0].token.as_ref().unwrap().id;
    let nft = |capability, commitment: &[u8]| Some(Nft { capability, commitment: commitment.to_vec() });
    let outputs = [
        (400, None),
        (0, nft(NftCapability::None, b"ticket")),
        (0, nft(NftCapability::None, b"freshly minted")),
        (5, nft(NftCapability::Mutable, b"")),
    ];
    for sign in [Sign::ECDSA, Sign::SCHNORR, Sign::SCHNORR_UTXOS] {
        for (index, (amount, nft)) in outputs.iter().enumerate() {
            let token =
                TokenOutput { category: Category::Existing(id), amount: *amount / 2, nft: nft.clone() };
            if token.amount == 0 && token.nft.is_none() || (index == 1 && sign != Sign::ECDSA) {
                continue;
            }
            let to = if index == 3 { wallet.script(0).unwrap() } else { stranger() };
            let options = PayOptions { sign, ..PayOptions::default() };
            let tx = wallet.pay(&[Payment::with_token(to, 2_000, token)], options);
            if let Ok(tx) = tx {
                judge.accept("token", &tx);
            } else {
                assert!(index == 0 && sign == Sign::SCHNORR_UTXOS, "tokens ran out early: {tx:?}");
            }
        }
    }
    judge.mine(1, wallet);
}

fn conflicts(judge: &mut Judge, wallet: &mut Wallet) {
    for (name, options) in [
        ("rival", PayOptions::default()),
        ("rival without fee", PayOptions { fee: Some(0), ..PayOptions::default() }),
        ("Schnorr rival", PayOptions { sign: Sign::SCHNORR, ..PayOptions::default() }),
    ] {
        let tx = wallet
            .pay(&[payment(VALUE)], PayOptions { confirmed_only: true, ..PayOptions::default() })
            .unwrap();
        judge.accept(name, &tx);
        let mut forged = wallet.double_spend(&tx, options).unwrap();
        let rival = serialize(&forged);
        forged.output[0].value -= Amount::from_sat(1);
        judge.submit(name, &serialize(&forged)).unwrap_err();
        let txid = tx.compute_txid();
        assert_eq!(judge.call("getdsproof", &[json!(txid)]), Ok(Value::Null), "{name}");
        assert_eq!(judge.chain.dsproof(txid), None, "{name}");
        judge.submit(name, &rival).unwrap_err();
        let told = judge.call("getdsproof", &[json!(txid), json!(1)]).unwrap();
        let (proof, path) = judge.chain.dsproof(txid).unwrap();
        let long = judge.call("getdsproof", &[json!(txid), json!(2)]).unwrap();
        assert_eq!(long["dspid"], json!(proof.id.to_string()), "{name}: {long}");
        assert_eq!(told["hex"], json!(::hex::encode(&proof.raw)), "{name}");
        assert_eq!(path, [txid]);
    }
    judge.mine(1, wallet);
}

fn known(judge: &mut Judge, wallet: &mut Wallet) {
    let mine = wallet.script(0).unwrap();
    let tx = wallet.pay(&[Payment::new(mine, VALUE)], PayOptions::default()).unwrap();
    let raw = serialize(&tx);
    judge.submit("new", &raw).unwrap();
    judge.submit("in the mempool", &raw).unwrap();
    judge.mine(1, wallet);
    assert_eq!(judge.submit("in the chain", &raw).unwrap_err().0, -27);
    let mut sweep = tx.clone();
    sweep.output.truncate(1);
    sweep.output[0].value =
        tx.output.iter().map(|output| output.value).sum::<Amount>() - Amount::from_sat(500);
    sweep.input = (0..2)
        .map(|vout| {
            let mut input = tx.input[0].clone();
            input.previous_output = OutPoint { txid: tx.compute_txid(), vout };
            input
        })
        .collect();
    wallet.sign(&mut sweep, Sign::ECDSA).unwrap();
    wallet.receive(&sweep);
    judge.accept("sweep", &sweep);
    assert_eq!(judge.submit("in the chain, spent in the mempool", &raw).unwrap_err().0, -27);
    judge.mine(1, wallet);
    assert_eq!(judge.submit("in the chain, spent", &raw).unwrap_err().0, -25);
}

fn young(judge: &mut Judge, wallet: &mut Wallet) {
    let height = judge.chain.tip().1;
    for (at, expected) in [(height - 98, Err(-26)), (height - 99, Ok(()))] {
        let block = judge.chain.block(judge.chain.hash_at(at).unwrap()).unwrap();
        let mut tx = wallet.pay(&[payment(VALUE)], PayOptions::default()).unwrap();
        wallet.release(&tx);
        tx.input.truncate(1);
        tx.output.truncate(1);
        tx.output[0].value = Amount::from_sat(4_999_000_000);
        tx.input[0].previous_output = OutPoint { txid: block.txids[0], vout: 0 };
        wallet.sign(&mut tx, Sign::ECDSA).unwrap();
        let verdict = judge.submit("coinbase", &serialize(&tx));
        assert_eq!(verdict.map(drop).map_err(|(code, _)| code), expected);
        if expected.is_ok() {
            wallet.receive(&tx);
        }
    }
    for (name, lock, expected) in [("at the tip", height, true), ("above the tip", height + 1, false)] {
        let mut tx = wallet
            .pay(&[payment(VALUE)], PayOptions { confirmed_only: true, ..PayOptions::default() })
            .unwrap();
        tx.lock_time = bitcoincash::absolute::LockTime::from_consensus(lock);
        tx.input[0].sequence = bitcoincash::Sequence::ENABLE_LOCKTIME_NO_RBF;
        wallet.sign(&mut tx, Sign::ECDSA).unwrap();
        assert_eq!(judge.submit(name, &serialize(&tx)).is_ok(), expected);
    }
    judge.mine(1, wallet);
}

/// Rival branches of every depth, block by block, with a mempool that comes and goes.
fn rivals(judge: &mut Judge, wallet: &mut Wallet) {
    for (depth, length) in [(1, 2), (2, 3), (3, 5), (4, 9)] {
        let (fork, _) = judge.chain.tip();
        for _ in 0..depth {
            for _ in 0..3 {
                let tx = wallet.pay(&[payment(VALUE)], PayOptions::default()).unwrap();
                judge.accept("before the rival", &tx);
            }
            judge.chain.mine(1, &stranger(), NOW);
            judge.catch_up();
        }
        let mut at: BlockHash = fork;
        for step in 1..=length {
            at = judge.chain.mine_on(at, vec![], &stranger(), NOW).unwrap();
            let raw = ::hex::encode(&judge.chain.block(at).unwrap().raw);
            let reply = judge.call("submitblock", &[json!(raw)]).unwrap();
            assert_eq!(reply.is_null(), step == length, "{depth}: {reply}");
            judge.same_tip();
            let tips = judge.call("getchaintips", &[]).unwrap();
            let told = tips.as_array().unwrap().iter().find(|tip| tip["hash"] == json!(at)).unwrap();
            let tip = judge.chain.chain_tips().into_iter().find(|tip| tip.hash == at).unwrap();
            assert_eq!(told["status"], json!(tip.status.as_str()), "{depth}, {step}");
            assert_eq!(told["branchlen"], json!(tip.branch_length), "{depth}, {step}");
            assert_eq!(tip.status == TipStatus::Active, step == length);
        }
    }
    let low = judge.chain.hash_at(judge.chain.tip().1 - 1).unwrap();
    judge.call("invalidateblock", &[json!(low)]).unwrap();
    judge.chain.invalidate(low, NOW).unwrap();
    judge.same_tip();
    judge.call("reconsiderblock", &[json!(low)]).unwrap();
    judge.chain.reconsider(low, NOW).unwrap();
    judge.same_tip();
}
