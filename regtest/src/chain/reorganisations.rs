//! Tests: blocks, reorganisations, and the events they make.

use bitcoincash::consensus::serialize;
use bitcoincash::{BlockHash, ScriptBuf, Transaction, Txid};

use super::fixture::{NOW, VALUE, funded, names, pay, payment, scan, stranger, submit};
use super::mine::display_order;
use super::{Chain, Event, TipStatus, subsidy};
use crate::wallet::{PayOptions, Payment, Wallet};

/// A transaction, a child of it, and one apart, each paying to the wallet itself.
fn family(wallet: &mut Wallet) -> [Transaction; 3] {
    let mine = wallet.script(0).unwrap();
    let confirmed = PayOptions { confirmed_only: true, ..PayOptions::default() };
    let parent = wallet.pay(&[Payment::new(mine.clone(), VALUE)], confirmed).unwrap();
    let child = wallet.pay(&[payment(VALUE - 1_000)], PayOptions::default()).unwrap();
    assert!(child.input.iter().any(|input| input.previous_output.txid == parent.compute_txid()));
    let apart = wallet.pay(&[payment(VALUE)], confirmed).unwrap();
    [parent, child, apart]
}

fn coinbase(chain: &Chain, hash: BlockHash) -> Txid {
    chain.block(hash).unwrap().txids[0]
}

/// Names in the order of the block: by txid.
fn in_block_order<'a>(known: &[(&'a str, Txid)], names: &[&str]) -> Vec<&'a str> {
    let mut chosen: Vec<_> = known.iter().filter(|(name, _)| names.contains(name)).collect();
    chosen.sort_by_key(|(_, txid)| display_order(*txid));
    chosen.into_iter().map(|(name, _)| *name).collect()
}

#[test]
fn blocks_are_as_the_network_makes_them() {
    let (mut chain, mut wallet) = funded();
    assert_eq!(
        chain.hash_at(0).unwrap().to_string(),
        "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    );
    assert_eq!([subsidy(149), subsidy(150), subsidy(300)], [5_000_000_000, 2_500_000_000, 1_250_000_000]);
    for tx in family(&mut wallet) {
        submit(&mut chain, &tx);
    }
    let hash = chain.mine(1, &stranger(), NOW)[0];
    let block = chain.block(hash).unwrap();
    assert!(block.block.check_merkle_root());
    assert!(block.header().target().is_met_by(hash));
    let places: Vec<_> = block.txids[1..].iter().map(|txid| display_order(*txid)).collect();
    assert!(places.is_sorted() && places.len() == 3);
    let paid = block.block.txdata[0].output[0].value.to_sat();
    let fees: u64 = paid - subsidy(block.height);
    assert_eq!(
        fees,
        block.block.txdata[1..].iter().map(|tx| u64::try_from(serialize(tx).len()).unwrap()).sum::<u64>()
    );
    for (index, tx) in block.block.txdata.iter().enumerate() {
        assert_eq!(block.transaction_raw(index).unwrap(), serialize(tx));
        assert_eq!(chain.confirmed(block.txids[index]), Some((hash, index)));
    }
    assert_eq!(chain.mempool(), []);
    assert_eq!(chain.confirmations(hash), Some(1));
}

#[test]
fn a_block_names_its_transactions_before_itself() {
    let (mut chain, mut wallet) = funded();
    let txs = family(&mut wallet);
    let ids: Vec<Txid> = txs.iter().map(|tx| submit(&mut chain, tx)).collect();
    chain.take_events();
    let b1 = chain.mine(1, &stranger(), NOW)[0];
    let known = [("A", ids[0]), ("B", ids[1]), ("C", ids[2]), ("cb", coinbase(&chain, b1))];
    let mut expected = vec!["cb"];
    expected.extend(in_block_order(&known, &["A", "B", "C"]));
    expected.push("block");
    assert_eq!(names(&chain.take_events(), &known), expected);
}

#[test]
fn an_invalidation_publishes_transactions_but_no_block() {
    let (mut chain, mut wallet) = funded();
    let [a, b, c] = family(&mut wallet);
    let d =
        wallet.pay(&[payment(VALUE)], PayOptions { confirmed_only: true, ..PayOptions::default() }).unwrap();
    let [ta, tb, tc] = [&a, &b, &c].map(|tx| submit(&mut chain, tx));
    let rival = wallet.double_spend(&a, PayOptions::default()).unwrap();
    chain.submit(&serialize(&rival), false, NOW).unwrap_err();
    let b1 = chain.mine(1, &stranger(), NOW)[0];
    let td = submit(&mut chain, &d);
    chain.take_events();

    chain.invalidate(b1, NOW).unwrap();
    let known = [("A", ta), ("B", tb), ("C", tc), ("D", td), ("cb", coinbase(&chain, b1))];
    let told = names(&chain.take_events(), &known);
    let mut first = vec!["cb"];
    first.extend(in_block_order(&known, &["A", "B", "C"]));
    assert_eq!(told[..4], first[..]);
    let place = |name: &str| told.iter().skip(4).position(|told| told == name).unwrap();
    assert_eq!(told.len(), 9);
    assert_eq!(place("ds(A)"), place("A") + 1, "the proof comes back with its transaction");
    assert!(place("A") < place("B") && place("D") < told.len());
    assert!(!told.contains(&"block".to_owned()));
    assert_eq!(chain.confirmations(b1), Some(-1));
    assert_eq!(chain.mempool().len(), 4);

    chain.reconsider(b1, NOW).unwrap();
    first.push("block");
    assert_eq!(names(&chain.take_events(), &known), first);
    assert_eq!(chain.mempool(), [td]);
}

#[test]
fn a_reorganisation_tells_the_old_the_mempool_the_new_and_one_block() {
    let (mut chain, mut wallet) = funded();
    chain.set_parking(false);
    let [a, b, c] = family(&mut wallet);
    let [d, e] = [0, 1].map(|_| {
        wallet.pay(&[payment(VALUE)], PayOptions { confirmed_only: true, ..PayOptions::default() }).unwrap()
    });
    let ids = [&a, &b, &c].map(|tx| submit(&mut chain, tx));
    let (fork, _) = chain.tip();
    let b1 = chain.mine(1, &stranger(), NOW)[0];
    let d_id = submit(&mut chain, &d);
    let b2 = chain.mine(1, &stranger(), NOW)[0];
    let b3 = chain.mine(1, &stranger(), NOW)[0];
    let e_id = submit(&mut chain, &e);
    chain.take_events();

    let c0 = chain.mine_on(fork, vec![a, b, c], &stranger(), NOW).unwrap();
    let c1 = chain.mine_on(c0, vec![], &stranger(), NOW).unwrap();
    let c2 = chain.mine_on(c1, vec![], &stranger(), NOW).unwrap();
    assert_eq!(chain.take_events(), [], "equal work changes nothing");
    assert_eq!(chain.tip().0, b3);
    let c3 = chain.mine_on(c2, vec![], &stranger(), NOW).unwrap();
    let cb = |hash| coinbase(&chain, hash);
    let known = [
        ("A", ids[0]),
        ("B", ids[1]),
        ("C", ids[2]),
        ("D", d_id),
        ("E", e_id),
        ("b1", cb(b1)),
        ("b2", cb(b2)),
        ("b3", cb(b3)),
        ("c0", cb(c0)),
        ("c1", cb(c1)),
        ("c2", cb(c2)),
        ("c3", cb(c3)),
    ];
    let abc = in_block_order(&known, &["A", "B", "C"]);
    let expected =
        [&["b3", "b2", "D", "b1"], &abc[..], &["D", "E", "c0"], &abc[..], &["c1", "c2", "c3", "block"]]
            .concat();
    let events = chain.take_events();
    assert_eq!(names(&events, &known), expected);
    assert!(matches!(events.last(), Some(Event::Block { hash, .. }) if *hash == c3));
    assert_eq!(chain.mempool(), [d_id, e_id]);
    assert_eq!(chain.confirmations(b3), Some(-1));
    let statuses: Vec<_> =
        chain.chain_tips().iter().map(|tip| (tip.hash, tip.status, tip.branch_length)).collect();
    assert_eq!(statuses, [(c3, TipStatus::Active, 0), (b3, TipStatus::ValidFork, 3)]);
}

#[test]
fn a_deep_rival_is_parked_until_it_has_the_penalty() {
    for (depth, needed) in [(1, 2), (2, 3), (3, 5), (4, 9), (5, 11)] {
        let mut chain = Chain::new(NOW);
        let script = stranger();
        let fork = chain.mine(1, &script, NOW)[0];
        let own = *chain.mine(depth, &script, NOW).last().unwrap();
        let mut rival = fork;
        for length in 1..=needed {
            assert_eq!(chain.tip().0, own, "{depth} against {length}");
            rival = chain.mine_on(rival, vec![], &script, NOW).unwrap();
            let tip = chain.chain_tips().into_iter().find(|tip| tip.hash == rival).unwrap();
            let waits = if depth == 1 { TipStatus::ValidHeaders } else { TipStatus::Parked };
            assert_eq!(tip.status, if length == needed { TipStatus::Active } else { waits });
        }
        assert_eq!(chain.tip().0, rival);
    }
}

#[test]
fn a_mined_rival_pushes_out_without_a_word() {
    let (mut chain, mut wallet) = funded();
    let [a, b, c] = family(&mut wallet);
    for tx in [&a, &b, &c] {
        submit(&mut chain, tx);
    }
    let rival = wallet.double_spend(&a, PayOptions::default()).unwrap();
    chain.take_events();
    let block = chain.mine_transactions(vec![rival.clone()], &stranger(), NOW).unwrap();
    let known = [("R", rival.compute_txid()), ("cb", coinbase(&chain, block))];
    assert_eq!(names(&chain.take_events(), &known), ["cb", "R", "block"]);
    assert_eq!(chain.mempool(), [c.compute_txid()]);
}

#[test]
fn a_chosen_child_brings_its_parent() {
    let (mut chain, mut wallet) = funded();
    let [a, b, c] = family(&mut wallet);
    for tx in [&a, &b, &c] {
        submit(&mut chain, tx);
    }
    let depends: Vec<Txid> = chain.mempool_entry(b.compute_txid()).unwrap().depends.iter().copied().collect();
    assert_eq!(depends, [a.compute_txid()]);
    chain.mine_with(Some(vec![b.compute_txid()]), &stranger(), NOW);
    assert_eq!(chain.mempool(), [c.compute_txid()]);
    chain.mine_with(Some(vec![]), &stranger(), NOW);
    assert_eq!(chain.mempool(), [c.compute_txid()]);
}

#[test]
fn an_eviction_takes_the_children_along() {
    let (mut chain, mut wallet) = funded();
    let [a, b, c] = family(&mut wallet);
    for tx in [&a, &b, &c] {
        submit(&mut chain, tx);
    }
    chain.take_events();
    chain.evict(a.compute_txid());
    assert_eq!(chain.mempool(), [c.compute_txid()]);
    chain.clear_mempool();
    assert_eq!((chain.mempool(), chain.take_events()), (vec![], vec![]));
    assert_eq!(submit(&mut chain, &a), a.compute_txid());
}

#[test]
fn a_bad_block_changes_nothing() {
    let (mut chain, mut wallet) = funded();
    let tx = pay(&mut wallet);
    let mut unsigned = tx.clone();
    unsigned.input[0].script_sig = ScriptBuf::new();
    let before = (chain.tip(), chain.coin_totals());
    let reject = chain.mine_transactions(vec![unsigned], &stranger(), NOW).unwrap_err();
    assert!(reject.reason().starts_with("mandatory-script-verify-flag-failed"));
    let reject = chain.mine_transactions(vec![tx.clone(), tx.clone()], &stranger(), NOW).unwrap_err();
    assert_eq!(reject.reason(), "tx-duplicate");
    assert_eq!((chain.tip(), chain.coin_totals()), before);
    assert_eq!(chain.take_events(), []);
    chain.mine_transactions(vec![tx], &stranger(), NOW).unwrap();
}

#[test]
fn blocks_travel_as_bytes() {
    let (chain, _) = funded();
    let mut other = Chain::new(NOW);
    let raws: Vec<_> =
        (1..=110).map(|height| chain.block(chain.hash_at(height).unwrap()).unwrap().raw.clone()).collect();
    assert_eq!(other.submit_block(&raws[1], NOW), Err("prev-blk-not-found".to_owned()));
    for raw in &raws {
        assert_eq!(other.submit_block(raw, NOW), Ok(()));
    }
    assert_eq!((other.tip(), other.coin_totals()), (chain.tip(), chain.coin_totals()));
    assert_eq!(other.submit_block(&raws[5], NOW), Err("duplicate".to_owned()));
    assert_eq!(other.submit_block(&raws[5][1..], NOW), Err("Block decode failed".to_owned()));
    let (tip, _) = other.tip();
    other.invalidate(tip, NOW).unwrap();
    assert_eq!(other.submit_block(&raws[109], NOW), Err("duplicate-invalid".to_owned()));
    let remined = other.mine(1, &stranger(), NOW)[0];
    assert_ne!(remined, tip);
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let run = || {
        let (mut chain, mut wallet) = funded();
        for tx in family(&mut wallet) {
            submit(&mut chain, &tx);
        }
        let hash = chain.mine(2, &stranger(), NOW)[1];
        scan(&chain, &mut wallet, hash);
        chain.invalidate(chain.hash_at(111).unwrap(), NOW).unwrap();
        (chain.tip(), chain.mempool(), chain.take_events())
    };
    assert_eq!(run(), run());
}
