//! Tests: what the wallet makes without a node.

use bitcoincash::consensus::serialize;
use bitcoincash::{Amount, ScriptBuf, Transaction, TxOut};

use super::*;
use crate::chain::Chain;

const NOW: u64 = 1_750_000_000;

fn funded(blocks: u32) -> (Chain, Wallet) {
    let mut chain = Chain::new(NOW);
    let mut wallet = Wallet::from_seed(1).unwrap();
    let script = wallet.script(0).unwrap();
    for hash in chain.mine(100 + blocks, &script, NOW) {
        let block = chain.block(hash).unwrap();
        wallet.scan_block(&block.block, block.height);
    }
    (chain, wallet)
}

fn stranger() -> ScriptBuf {
    Wallet::from_seed(2).unwrap().script(0).unwrap()
}

fn fee(wallet: &Wallet, tx: &Transaction) -> u64 {
    let value = |output: &TxOut| output.value.to_sat();
    let incoming: u64 =
        tx.input.iter().map(|input| value(&wallet.find(&input.previous_output).unwrap().output)).sum();
    incoming - tx.output.iter().map(value).sum::<u64>()
}

#[test]
fn keys_follow_from_the_seed() {
    let mut wallet = Wallet::from_seed(5).unwrap();
    assert_eq!(wallet.address(3).unwrap(), Wallet::from_seed(5).unwrap().address(3).unwrap());
    assert_ne!(wallet.address(0).unwrap(), Wallet::from_seed(6).unwrap().address(0).unwrap());
    let fresh = wallet.new_address().unwrap();
    assert_eq!(fresh, wallet.address(4).unwrap());
    assert!(fresh.starts_with("bchreg:q"));
    let script = wallet.script(4).unwrap();
    let token = wallet.token_address(4).unwrap();
    assert!(token.starts_with("bchreg:z"));
    let bare = fresh.trim_start_matches("bchreg:");
    for form in [fresh.as_str(), bare, &token] {
        assert_eq!(script_of(form).unwrap(), script);
    }
    for form in ["bitcoincash:qpumqqygwcnt999fz3gp5nxjy66ckg6esvls5sszem", "bchreg:q", "", "bc1q"] {
        assert!(script_of(form).is_err(), "{form}");
    }
}

#[test]
fn only_mature_coinbases_count() {
    let (_, wallet) = funded(0);
    assert_eq!(wallet.balance(), 5_000_000_000);
    let (_, wallet) = funded(2);
    assert_eq!(wallet.balance(), 3 * 5_000_000_000);
    assert_eq!(wallet.coins().count(), 102);
}

#[test]
fn fees_are_exact() {
    let (_, mut wallet) = funded(20);
    for fee_per_kilobyte in [1_000, 1_001, 1_500, 20_000] {
        for sign in [Sign::ECDSA, Sign::SCHNORR] {
            let options = PayOptions { fee_per_kilobyte, sign, ..PayOptions::default() };
            let tx = wallet.pay(&[Payment::new(stranger(), 6_000_000_000)], options).unwrap();
            let size = u64::try_from(serialize(&tx).len()).unwrap();
            assert_eq!(fee(&wallet, &tx), (size * fee_per_kilobyte).div_ceil(1_000));
        }
    }
    let fixed = PayOptions { fee: Some(777), ..PayOptions::default() };
    let tx = wallet.pay(&[Payment::new(stranger(), 1_000)], fixed).unwrap();
    assert_eq!(fee(&wallet, &tx), 777);
}

#[test]
fn change_below_dust_goes_to_the_fee() {
    let (mut chain, mut wallet) = funded(1);
    let all = wallet.balance();
    let tx = wallet.pay(&[Payment::new(stranger(), all - 800)], PayOptions::default()).unwrap();
    assert_eq!((tx.output.len(), fee(&wallet, &tx)), (1, 800));
    chain.submit(&serialize(&tx), false, NOW).unwrap();
    assert!(wallet.pay(&[Payment::new(stranger(), 1_000)], PayOptions::default()).is_err());
}

#[test]
fn a_payment_is_booked_until_released() {
    let (_, mut wallet) = funded(1);
    let before: Vec<_> = wallet.coins().map(|(outpoint, coin)| (*outpoint, coin.clone())).collect();
    let balance = wallet.balance();
    let tx = wallet.pay(&[Payment::new(stranger(), 1_000)], PayOptions::default()).unwrap();
    assert_eq!(wallet.balance(), balance - 1_000 - fee(&wallet, &tx));
    wallet.receive(&tx);
    wallet.release(&tx);
    let after: Vec<_> = wallet.coins().map(|(outpoint, coin)| (*outpoint, coin.clone())).collect();
    assert_eq!(before, after);
}

#[test]
fn an_unsigned_payment_is_completed_by_signing() {
    let (mut chain, mut wallet) = funded(1);
    let balance = wallet.balance();
    let options = PayOptions { unsigned: true, sign: Sign::SCHNORR, ..PayOptions::default() };
    let mut tx = wallet.pay(&[Payment::new(stranger(), 1_000)], options).unwrap();
    assert!(tx.input.iter().all(|input| input.script_sig.is_empty()));
    assert_eq!(wallet.balance(), balance);
    wallet.sign(&mut tx, Sign::SCHNORR).unwrap();
    assert_eq!(fee(&wallet, &tx), u64::try_from(serialize(&tx).len()).unwrap());
    chain.submit(&serialize(&tx), false, NOW).unwrap();
}

#[test]
fn a_double_spend_takes_the_same_coins_elsewhere() {
    let (mut chain, mut wallet) = funded(1);
    let tx = wallet.pay(&[Payment::new(stranger(), 1_000)], PayOptions::default()).unwrap();
    let rival = wallet.double_spend(&tx, PayOptions::default()).unwrap();
    assert_ne!(rival.compute_txid(), tx.compute_txid());
    assert_eq!(rival.input[0].previous_output, tx.input[0].previous_output);
    chain.submit(&serialize(&rival), false, NOW).unwrap();
}

#[test]
fn a_split_makes_many_coins() {
    let (mut chain, mut wallet) = funded(2);
    let made = wallet.split(2_600, 1_000, PayOptions::default()).unwrap();
    assert_eq!(made.len(), 2);
    for tx in &made {
        chain.submit(&serialize(tx), false, NOW).unwrap();
    }
    let coins = wallet.coins().filter(|(_, coin)| coin.output.value == Amount::from_sat(1_000)).count();
    assert_eq!(coins, 2_600);
}

#[test]
fn tokens_come_back_as_change() {
    let (mut chain, mut wallet) = funded(2);
    let mine = wallet.script(0).unwrap();
    let nft = |capability, commitment: &[u8]| Some(Nft { capability, commitment: commitment.to_vec() });
    let make = TokenOutput { category: Category::New, amount: 100, nft: nft(NftCapability::Minting, b"m") };
    let genesis =
        wallet.pay(&[Payment::with_token(mine.clone(), 1_000, make)], PayOptions::default()).unwrap();
    chain.submit(&serialize(&genesis), false, NOW).unwrap();
    let id = genesis.output[0].token.as_ref().unwrap().id;
    assert_eq!(id.to_string(), genesis.input[0].previous_output.txid.to_string());

    let pay =
        TokenOutput { category: Category::Existing(id), amount: 30, nft: nft(NftCapability::None, b"t") };
    let tx = wallet.pay(&[Payment::with_token(stranger(), 1_000, pay)], PayOptions::default()).unwrap();
    chain.submit(&serialize(&tx), false, NOW).unwrap();
    let left: Vec<_> = wallet.coins().filter_map(|(_, coin)| coin.output.token.clone()).collect();
    assert_eq!(left.len(), 1);
    assert_eq!(
        (left[0].amount.to_int(), left[0].is_minting_nft(), left[0].commitment.as_slice()),
        (70, true, &b"m"[..])
    );

    let too_many = TokenOutput { category: Category::Existing(id), amount: 71, nft: None };
    assert!(wallet.pay(&[Payment::with_token(mine, 1_000, too_many)], PayOptions::default()).is_err());
}
