//! What the node takes and refuses: transactions, blocks, double spends.

use bitcoincash::absolute::LockTime;
use bitcoincash::consensus::encode::serialize_hex;
use bitcoincash::consensus::serialize;
use bitcoincash::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxOut};
use regtest::wallet::{Category, Nft, NftCapability, Payment, Sign, TokenOutput};
use regtest::{Node, RpcFailure};
use serde_json::json;

use crate::support::{Funded, block, compare, each, line, stranger};

/// Both ways of asking about a transaction; the dry run first.
fn judge(lines: &mut Vec<String>, node: &dyn Node, name: &str, tx: &Transaction) {
    let hex = serialize_hex(tx);
    lines.push(format!("{name}: {}", line(node, "testmempoolaccept", json!([[hex]]))));
    lines.push(format!("{name}: {}", line(node, "sendrawtransaction", json!([hex]))));
}

/// A change to a payment before it is signed again.
type Change = fn(&mut Transaction);

#[test]
fn transactions_are_judged_alike() {
    let changes: [(&str, Change); 14] = [
        ("dust", |tx| tx.output[0].value = Amount::from_sat(545)),
        ("not dust", |tx| tx.output[0].value = Amount::from_sat(546)),
        ("small fee", |tx| tx.output[1].value += Amount::from_sat(9_150)),
        ("outputs above inputs", |tx| tx.output[1].value += Amount::from_sat(100_000_000)),
        ("absurd fee", |tx| tx.output[1].value -= Amount::from_sat(20_000_000)),
        ("lock time in the future", |tx| {
            tx.lock_time = LockTime::from_consensus(9_000);
            tx.input[0].sequence = Sequence::ZERO;
        }),
        ("version 3", |tx| tx.version = bitcoincash::transaction::Version(3)),
        ("unknown parent", |tx| tx.input[0].previous_output.txid = "11".repeat(32).parse().unwrap()),
        ("no such output", |tx| tx.input[0].previous_output.vout = 7),
        ("twice the same input", |tx| tx.input.push(tx.input[0].clone())),
        ("no outputs", |tx| tx.output.clear()),
        ("nonstandard output", |tx| tx.output[0].script_pubkey = ScriptBuf::from_hex("51").unwrap()),
        ("large memo", |tx| {
            let mut memo = vec![0x6a, 0x4c, 230];
            memo.extend([7; 230]);
            tx.output[0] = TxOut { value: Amount::ZERO, script_pubkey: memo.into(), token: None };
        }),
        ("relative lock", |tx| tx.input[0].sequence = Sequence::from_height(5_000)),
    ];
    compare("transactions_are_judged_alike", |node| {
        let mut lines = Vec::new();
        let mut funded = Funded::new(node, 24);
        for (name, change) in changes {
            let mut tx = funded.payment(1_000_000);
            // A fee that changes in size do not touch.
            tx.output[1].value -= Amount::from_sat(9_000);
            change(&mut tx);
            // Signing what is not the wallet's fails, and does not matter then.
            let _ = funded.wallet.sign(&mut tx, Sign::SCHNORR);
            judge(&mut lines, node, name, &tx);
        }
        let mut tx = funded.payment(1_000_000);
        tx.output[0].value -= Amount::ONE_SAT;
        judge(&mut lines, node, "signature of something else", &tx);
        tx.input[0].script_sig = ScriptBuf::new();
        judge(&mut lines, node, "no signature", &tx);

        let immature = block(node, node.tip().unwrap().0).txdata[0].compute_txid();
        let mut tx = funded.payment(1_000_000);
        tx.input[0].previous_output = OutPoint { txid: immature, vout: 0 };
        judge(&mut lines, node, "immature coinbase", &tx);

        let payment = funded.payment(2_000_000);
        judge(&mut lines, node, "payment", &payment);
        judge(&mut lines, node, "payment again", &payment);
        let rival = funded.wallet.double_spend(&payment, funded.pay).unwrap();
        judge(&mut lines, node, "rival", &rival);
        let child = funded.child(&payment);
        judge(&mut lines, node, "child", &child);
        funded.mine(1);
        judge(&mut lines, node, "payment in the chain", &payment);
        judge(&mut lines, node, "rival of the chain", &rival);
        lines.push(line(node, "sendrawtransaction", json!([format!("{}00", serialize_hex(&payment))])));
        lines.push(line(node, "sendrawtransaction", json!([serialize_hex(&payment).to_uppercase()])));
        let dear = {
            let mut tx = funded.payment(1_000_000);
            tx.output[1].value -= Amount::from_sat(20_000_000);
            funded.wallet.sign(&mut tx, Sign::SCHNORR).unwrap();
            tx
        };
        lines.push(line(node, "sendrawtransaction", json!([serialize_hex(&dear), true])));
        lines
    });
}

#[test]
fn tokens_and_scripts_are_written_alike() {
    compare("tokens_and_scripts_are_written_alike", |node| {
        let mut lines = Vec::new();
        let mut funded = Funded::new(node, 8);
        funded.pay.confirmed_only = false;
        // A category is created by an input that spends output 0: a coinbase does.
        let nft = Nft { capability: NftCapability::Minting, commitment: vec![1, 2] };
        let genesis = TokenOutput { category: Category::New, amount: 1_000, nft: Some(nft) };
        let script = funded.script.clone();
        let created = funded.wallet.pay(&[Payment::with_token(script, 1_000, genesis)], funded.pay).unwrap();
        judge(&mut lines, node, "genesis", &created);
        let category = created.output[0].token.as_ref().unwrap().id;
        let part = TokenOutput { category: Category::Existing(category), amount: 400, nft: None };
        let moved = funded.wallet.pay(&[Payment::with_token(stranger(), 1_000, part)], funded.pay).unwrap();
        judge(&mut lines, node, "transfer", &moved);
        for tx in [&created, &moved] {
            lines.push(line(node, "getrawtransaction", json!([tx.compute_txid(), 1])));
            lines.push(line(node, "gettxout", json!([tx.compute_txid(), 0])));
        }
        // Every kind of output, and signatures of both kinds with other hash types.
        let key = "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f";
        let outputs = [
            "a91479b000887626b294a914501a4cd226b58b23598387".to_owned(),
            format!("aa20{}87", "05".repeat(32)),
            format!("21{key}ac"),
            "6a046d656d6f".to_owned(),
            "6a04000000800201000100520a68656c6c6f776f726c64".to_owned(),
            "6a".to_owned(),
        ];
        let payments: Vec<_> = outputs
            .iter()
            .map(|script| {
                Payment::new(
                    ScriptBuf::from_hex(script).unwrap(),
                    if script.starts_with("6a") { 0 } else { 1_000 },
                )
            })
            .collect();
        for sign in [
            Sign::ECDSA,
            Sign::SCHNORR,
            Sign::SCHNORR_UTXOS,
            Sign::Schnorr { hash_type: 0xc1 },
            Sign::Schnorr { hash_type: 0x42 },
            Sign::Ecdsa { hash_type: 0x43 },
            Sign::Ecdsa { hash_type: 0xc3 },
        ] {
            // One length for both kinds of signature, so that the fee is the same.
            let mut tx = funded.wallet.pay(&payments, funded.pay).unwrap();
            let last = tx.output.len() - 1;
            tx.output[last].value -= Amount::from_sat(1_000);
            funded.wallet.release(&tx);
            funded.wallet.sign(&mut tx, sign).unwrap();
            funded.wallet.receive(&tx);
            judge(&mut lines, node, &format!("{sign:?}"), &tx);
            lines.push(line(node, "getrawtransaction", json!([tx.compute_txid(), 1])));
            lines.push(line(node, "getdsproofscore", json!([tx.compute_txid()])));
        }
        lines
    });
}

#[test]
fn double_spends_leave_the_same_proofs() {
    compare("double_spends_leave_the_same_proofs", |node| {
        let mut lines = Vec::new();
        let mut funded = Funded::new(node, 2);
        let victim = funded.payment(1_000_000);
        let id = node.send(&serialize(&victim)).unwrap();
        let spent = victim.input[0].previous_output;
        lines.push(line(node, "getdsproof", json!([id])));
        let rival = funded.wallet.double_spend(&victim, funded.pay).unwrap();
        let conflict = RpcFailure::new(-26, "txn-mempool-conflict (code 18)");
        assert_eq!(node.send(&serialize(&rival)).unwrap_err(), conflict);
        let child = funded.child(&victim);
        let child = node.send(&serialize(&child)).unwrap();
        let proof = node.call("getdsprooflist", json!([])).unwrap()[0].clone();
        for verbosity in 0..4 {
            lines.push(line(node, "getdsproof", json!([id, verbosity])));
            lines.push(line(node, "getdsproof", json!([child, verbosity])));
            lines.push(line(node, "getdsprooflist", json!([verbosity])));
        }
        lines.push(line(node, "getdsproof", json!([proof])));
        lines.push(line(node, "getdsproof", json!([{"txid": spent.txid, "vout": spent.vout}])));
        lines.push(line(node, "getdsproof", json!([child, 2, false])));
        lines.push(line(node, "getdsproofscore", json!([id])));
        lines.push(line(node, "getdsproofscore", json!([child])));
        funded.mine(1);
        lines.push(line(node, "getdsprooflist", json!([])));
        lines.push(line(node, "getdsprooflist", json!([2, true])));
        lines.push(line(node, "getdsproof", json!([id])));
        lines
    });
}

#[test]
fn blocks_are_judged_alike() {
    compare("blocks_are_judged_alike", |node| {
        let mut lines = Vec::new();
        let mut funded = Funded::new(node, 1);
        let tip = funded.mine(2)[1];
        let good = block(node, tip);
        let mut submit = |name: &str, block: &bitcoincash::Block, mine: bool| {
            let mut block = block.clone();
            let target =
                bitcoincash::Target::from_compact(bitcoincash::CompactTarget::from_consensus(0x207f_ffff));
            block.header.nonce = 0;
            while target.is_met_by(block.block_hash()) != mine {
                block.header.nonce += 1;
            }
            lines.push(format!("{name}: {}", line(node, "submitblock", json!([serialize_hex(&block)]))));
        };
        submit("no work", &good, false);
        let mut other = good.clone();
        other.header.time += 2;
        submit("beside the tip", &other, true);
        let mut other = good.clone();
        other.header.merkle_root = "11".repeat(32).parse().unwrap();
        submit("wrong root", &other, true);
        let mut other = good.clone();
        other.header.prev_blockhash = "11".repeat(32).parse().unwrap();
        submit("unknown parent", &other, true);
        let mut other = good.clone();
        other.header.bits = bitcoincash::CompactTarget::from_consensus(0x207f_fffe);
        submit("wrong bits", &other, true);
        let mut other = good.clone();
        other.header.time = 1_400_000_000;
        submit("too old", &other, true);
        let mut other = good.clone();
        other.header.time += 1_000_000;
        submit("too new", &other, true);
        let raw = serialize_hex(&good);
        lines.push(line(node, "submitblock", json!([raw])));
        lines.push(line(node, "submitblock", json!([format!("{}00", &raw[..160])])));
        node.invalidate(tip).unwrap();
        lines.push(line(node, "submitblock", json!([raw])));
        lines.push(line(node, "getblockheader", json!([tip])));
        let coinbase = good.txdata[0].compute_txid();
        lines.push(line(node, "getrawtransaction", json!([coinbase, 1, tip])));
        lines.push(line(node, "getrawtransaction", json!([coinbase, 1])));
        lines
    });
}

#[test]
fn a_payment_can_be_seen_in_a_block_first() {
    each("a_payment_can_be_seen_in_a_block_first", |node| {
        let node = node.as_ref();
        let mut funded = Funded::new(node, 3);
        let payment = funded.payment(1_000_000);
        let known = funded.payment(2_000_000);
        node.send(&serialize(&known)).unwrap();
        let rival = funded.wallet.double_spend(&known, funded.pay).unwrap();
        let hash = node.mine_transactions(&[payment.clone(), rival.clone()], &stranger()).unwrap();
        assert_eq!(node.tip().unwrap().0, hash);
        assert_eq!(block(node, hash).txdata.len(), 3);
        // What conflicts with the block left without a word.
        assert!(node.mempool().unwrap().is_empty());
        assert_eq!(node.send(&serialize(&known)).unwrap_err(), RpcFailure::new(-25, "Missing inputs"));
        let again = node.send(&serialize(&payment)).unwrap_err();
        assert_eq!(again, RpcFailure::new(-27, "transaction already in block chain"));
    });
}
