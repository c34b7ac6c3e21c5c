//! What the tests of the chain share: a funded wallet and a few transactions.

use bitcoincash::consensus::serialize;
use bitcoincash::hashes::Hash;
use bitcoincash::{ScriptBuf, Transaction, Txid};

use super::{Chain, Event};
use crate::wallet::{Category, Nft, NftCapability, PayOptions, Payment, TokenOutput, Wallet};

/// Unix seconds of every call.
pub(super) const NOW: u64 = 1_750_000_000;
/// Satoshis of a usual payment.
pub(super) const VALUE: u64 = 10_000;

/// A chain of 110 blocks and the wallet that mined them.
pub(super) fn funded() -> (Chain, Wallet) {
    let mut chain = Chain::new(NOW);
    let mut wallet = Wallet::from_seed(7).unwrap();
    let script = wallet.script(0).unwrap();
    for hash in chain.mine(110, &script, NOW) {
        scan(&chain, &mut wallet, hash);
    }
    chain.take_events();
    (chain, wallet)
}

/// Tells the wallet of a block.
pub(super) fn scan(chain: &Chain, wallet: &mut Wallet, hash: bitcoincash::BlockHash) {
    let block = chain.block(hash).unwrap();
    wallet.scan_block(&block.block, block.height);
}

/// A payment to a stranger's P2PKH script.
pub(super) fn payment(satoshis: u64) -> Payment {
    Payment::new(stranger(), satoshis)
}

/// A P2PKH script nobody has the key of.
pub(super) fn stranger() -> ScriptBuf {
    ScriptBuf::new_p2pkh(&bitcoincash::PubkeyHash::hash(b"stranger"))
}

/// A signed payment, booked.
pub(super) fn pay(wallet: &mut Wallet) -> Transaction {
    wallet.pay(&[payment(VALUE)], PayOptions::default()).unwrap()
}

/// Submits a transaction that must be taken.
pub(super) fn submit(chain: &mut Chain, tx: &Transaction) -> Txid {
    chain.submit(&serialize(tx), false, NOW).unwrap()
}

/// Events by the names of their transactions: the name, `ds(name)` for a proof, `block`.
pub(super) fn names(events: &[Event], known: &[(&str, Txid)]) -> Vec<String> {
    let name = |txid: &Txid| {
        known.iter().find(|(_, known)| known == txid).map_or("?".to_owned(), |(name, _)| (*name).to_owned())
    };
    events
        .iter()
        .map(|event| match event {
            Event::Transaction { txid, .. } => name(txid),
            Event::DoubleSpend { txid, .. } => format!("ds({})", name(txid)),
            Event::Block { .. } => "block".to_owned(),
        })
        .collect()
}

/// A transaction that creates a category: 1000 fungible tokens with a minting NFT, and an NFT of the lowest rank.
pub(super) fn genesis(wallet: &mut Wallet) -> Transaction {
    let mine = wallet.script(0).unwrap();
    let token = |amount, capability, commitment: &[u8]| TokenOutput {
        category: Category::New,
        amount,
        nft: Some(Nft { capability, commitment: commitment.to_vec() }),
    };
    let outputs = [
        Payment::with_token(mine.clone(), 2_000, token(1_000, NftCapability::Minting, b"\x01\x02")),
        Payment::with_token(mine, 2_000, token(0, NftCapability::None, b"ticket")),
    ];
    wallet.pay(&outputs, PayOptions::default()).unwrap()
}
