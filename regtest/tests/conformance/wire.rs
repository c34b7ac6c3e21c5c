//! ZMQ: frames, counters, and what is published when.

use std::collections::HashMap;
use std::ops::Range;

use bitcoincash::consensus::encode::{deserialize, serialize};
use bitcoincash::hashes::Hash;
use bitcoincash::{BlockHash, Transaction, Txid};
use regtest::subscriber::{Message, all_before_a_block};
use regtest::{Node, RpcFailure, Subscriber, wait};

use crate::support::{Funded, Listeners, block, compare, each, each_fresh};

/// Names for the transactions and blocks of a story.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    fn tx(&mut self, name: &str, tx: &Transaction) {
        self.0.insert(tx.compute_txid().to_string(), name.to_owned());
    }

    fn block(&mut self, name: &str, node: &dyn Node, hash: BlockHash) {
        self.0.insert(hash.to_string(), name.to_owned());
        self.tx(&format!("coinbase of {name}"), &block(node, hash).txdata[0]);
    }

    /// What messages were about, in order; hashes nobody named come as they are.
    fn read(&self, messages: &[Message]) -> Vec<String> {
        messages
            .iter()
            .map(|message| {
                let mut body = message.body.clone();
                let hash = if message.topic == "rawtx" {
                    deserialize::<Transaction>(&body).unwrap().compute_txid().to_string()
                } else {
                    body.reverse();
                    Txid::from_slice(&body).unwrap().to_string()
                };
                format!("{} {}", message.topic, self.0.get(&hash).unwrap_or(&hash))
            })
            .collect()
    }
}

fn assert_contiguous(messages: &[Message]) {
    for pair in messages.windows(2) {
        assert_eq!(pair[0].counter.wrapping_add(1), pair[1].counter);
    }
}

#[test]
fn each_event_is_published_in_its_order() {
    compare("each_event_is_published_in_its_order", |node| {
        let mut lines = Vec::new();
        let mut names = Names::default();
        let mut funded = Funded::new(node, 6);
        let Listeners { rawtx, hashblock, .. } = Listeners::of(node);
        let mut counted = Vec::new();
        // Each step says how many messages of `rawtx` and `hashblock` it causes: one too many would stand before those of
        // the next step. A range of messages can be named whose order is free: in which order the node puts transactions
        // back that do not depend on each other is a matter of its hash tables.
        let mut record = |what: &str, names: &Names, [txs, blocks]: [usize; 2], free: Range<usize>| {
            let (txs, blocks) = (rawtx.take(txs).unwrap(), hashblock.take(blocks).unwrap());
            counted.extend(txs.clone());
            let (mut txs, blocks) = (names.read(&txs), names.read(&blocks));
            txs[free].sort();
            lines.push(format!("{what}: {txs:?} {blocks:?}"));
        };

        // Names by id, because the order in a block is that of the ids.
        let mut txs = [funded.payment(1), funded.payment(2), funded.payment(3)].map(|mut tx| {
            tx.output[0].value = bitcoincash::Amount::from_sat(1_000);
            tx.output[1].value -= bitcoincash::Amount::from_sat(1_000);
            funded.wallet.sign(&mut tx, regtest::wallet::Sign::SCHNORR).unwrap();
            tx
        });
        txs.sort_by_key(|tx| tx.compute_txid().to_string());
        let [a, b, c] = txs;
        for (name, tx) in [("a", &a), ("b", &b), ("c", &c)] {
            names.tx(name, tx);
        }
        node.send(&serialize(&c)).unwrap();
        node.send(&serialize(&a)).unwrap();
        record("two sent", &names, [2, 0], 0..0);
        node.send(&serialize(&a)).unwrap();
        record("sent again", &names, [0, 0], 0..0);
        let rival = funded.wallet.double_spend(&a, funded.pay).unwrap();
        assert_eq!(
            node.send(&serialize(&rival)).unwrap_err(),
            RpcFailure::new(-26, "txn-mempool-conflict (code 18)")
        );
        record("rival refused", &names, [0, 0], 0..0);

        let b1 = funded.mine(1)[0];
        names.block("b1", node, b1);
        record("mined", &names, [3, 1], 0..0);
        node.send(&serialize(&b)).unwrap();
        record("one more sent", &names, [1, 0], 0..0);
        node.invalidate(b1).unwrap();
        record("invalidated", &names, [6, 0], 3..6);
        node.reconsider(b1).unwrap();
        record("reconsidered", &names, [3, 1], 0..0);

        node.invalidate(b1).unwrap();
        record("invalidated again", &names, [6, 0], 3..6);
        let c1 = node.mine_transactions(std::slice::from_ref(&a), &crate::support::stranger()).unwrap();
        names.block("c1", node, c1);
        record("mined another with a only", &names, [2, 1], 0..0);
        let c2 = node.mine_transactions(&[], &crate::support::stranger()).unwrap();
        names.block("c2", node, c2);
        record("mined an empty one", &names, [1, 1], 0..0);
        node.reconsider(b1).unwrap();
        record("the shorter branch is allowed again", &names, [0, 0], 0..0);

        node.invalidate(c2).unwrap();
        record("equal branches", &names, [9, 1], 1..3);
        let d2 = node.mine_transactions(&[], &crate::support::stranger()).unwrap();
        let d3 = node.mine_transactions(&[], &crate::support::stranger()).unwrap();
        names.block("d2", node, d2);
        names.block("d3", node, d3);
        record("two mined", &names, [2, 2], 0..0);
        node.invalidate(d2).unwrap();
        record("invalidated two", &names, [3, 0], 0..0);
        node.reconsider(d2).unwrap();
        record("reconsidered two", &names, [2, 2], 0..0);
        assert_contiguous(&counted);
        lines.push(format!("{:?}", node.mempool().unwrap().len()));
        assert_eq!(all_before_a_block(node, &rawtx, &hashblock).unwrap(), (vec![], vec![]));
        lines
    });
}

#[test]
fn messages_have_three_parts_and_counters() {
    each_fresh("messages_have_three_parts_and_counters", |node| {
        let node = node.as_ref();
        let Listeners { rawtx, hashblock, counters } = Listeners::of(node);
        // Coinbases are transactions, too: that of the genesis block was number 0, before anybody could hear it.
        let before = node.tip().unwrap().1;
        assert_eq!(counters, (before, before - 1));
        let mut funded = Funded::new(node, 1);
        let heights = before + 1..=before + 101;
        let hashes: Vec<_> =
            heights.map(|height| node.call("getblockhash", serde_json::json!([height])).unwrap()).collect();
        let (txs, blocks) = (rawtx.take(101).unwrap(), hashblock.take(101).unwrap());
        assert_eq!((txs[0].counter, blocks[0].counter), (before + 1, before));
        assert!(txs.iter().all(|message| message.topic == "rawtx"));
        assert_contiguous(&txs);
        assert_contiguous(&blocks);
        for (message, hash) in blocks.iter().zip(&hashes) {
            assert_eq!(
                (message.topic.as_str(), hex::encode(&message.body)),
                ("hashblock", hash.as_str().unwrap().to_owned())
            );
        }
        let payment = funded.payment(5_000);
        node.send(&serialize(&payment)).unwrap();
        let message = rawtx.next().unwrap();
        assert_eq!((message.body, message.counter), (serialize(&payment), before + 102));
    });
}

#[test]
fn a_double_spend_is_told_once() {
    each_fresh("a_double_spend_is_told_once", |node| {
        let node = node.as_ref();
        let mut funded = Funded::new(node, 90);
        let hashds = Subscriber::connect(&node.zmq_hashds()).unwrap();
        // A payment that somebody tries to spend again, so often. Gives its id as it is displayed.
        let mut spent_again = |times: u32| {
            let victim = funded.payment(1_000_000);
            let mut id = node.send(&serialize(&victim)).unwrap().to_byte_array();
            for _ in 0..times {
                let rival = funded.wallet.double_spend(&victim, funded.pay).unwrap();
                node.send(&serialize(&rival)).unwrap_err();
            }
            id.reverse();
            id
        };
        let mut told = 0;
        let first = wait::eventually_blocking("a double spend", || {
            told += 1;
            hashds.hears(&spent_again(1))
        });
        assert_eq!(first.unwrap().counter, told - 1);
        for (number, id) in [spent_again(3), spent_again(1)].iter().enumerate() {
            let message = hashds.next().unwrap();
            assert_eq!((message.topic.as_str(), message.body.as_slice()), ("hashds", &id[..]));
            assert_eq!(message.counter, told + u32::try_from(number).unwrap());
        }
    });
}

#[test]
fn a_message_is_there_when_the_call_is_answered() {
    each("a_message_is_there_when_the_call_is_answered", |node| {
        let node = node.as_ref();
        let mut funded = Funded::new(node, 20);
        let rawtx = Listeners::of(node).rawtx;
        let sent: Vec<_> = (0..20)
            .map(|_| {
                let raw = serialize(&funded.payment(1_000_000));
                crate::support::rpc(node, "sendrawtransaction", serde_json::json!([hex::encode(&raw)]));
                raw
            })
            .collect();
        let heard: Vec<_> = rawtx.take(20).unwrap().into_iter().map(|message| message.body).collect();
        assert_eq!(heard, sent);
    });
}
