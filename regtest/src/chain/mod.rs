//! A model of the chain as one Bitcoin Cash Node 28.0.1 on regtest keeps it: coins, blocks, mempool, and the
//! notifications that its ZMQ publisher would send, in the publisher's order.
//!
//! [`Chain`] is a plain struct. It opens no socket, starts no thread and reads no clock: time is an argument of
//! every call that needs it (unix seconds), so the same calls give the same bytes.
//!
//! # What it holds to
//!
//! * **Blocks**: regtest's genesis block and proof of work (the nonce is really searched), merkle roots, order by
//!   txid after the coinbase, subsidy halved every 150 blocks, coinbase maturity of 100 blocks, finality of
//!   `nLockTime` against the median time past, relative lock times (BIP68).
//! * **Choice of a chain**: most work, first seen among equals; a rival that rewinds two blocks or more is parked
//!   until it has the penalty's work (switch: [`Chain::set_parking`]).
//! * **Mempool**: the order of checks, codes and texts of `sendrawtransaction`; a conflict is refused, a first valid
//!   rival of a P2PKH input leaves a double spend proof; there is no limit on unconfirmed chains.
//! * **CashTokens**: the prefix in the output, conservation by category, genesis by an input that spends output 0.
//! * **Signatures**: P2PKH inputs are verified, ECDSA and Schnorr, every hash type.
//!
//! # What it leaves out
//!
//! * Inputs that spend anything but P2PKH are **trusted**: there is no script machine.
//! * There is no size limit of the mempool; [`Chain::evict`] and [`Chain::set_full_mempool_fee`] stand for what it does.
//! * No finalization, no checkpoint, no initial block download, no block size or signature operation limits.
//! * Proofs come from rivals handed to this node only, there are no peers.
//!
//! # Order of events
//!
//! A transaction is published when it enters the mempool, when its block is connected, when its block is
//! disconnected, and when a reorganisation puts it back; the message is the same in the four cases. On a
//! reorganisation: the disconnected blocks from the tip down, then the mempool as it was put back, then the
//! connected blocks from the fork up, then one [`Event::Block`] for the first tip that is better than the old one.

mod accept;
mod activate;
mod block;
mod coin;
mod event;
mod mempool;
mod mine;
mod proof;
mod query;
mod reject;
mod script;
mod standard;
mod token;
mod validate;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod reorganisations;

use std::collections::{BTreeSet, HashMap};

use bitcoincash::{BlockHash, Txid};

pub use self::block::{ChainTip, StoredBlock, TipStatus};
pub use self::coin::Coin;
pub use self::event::Event;
pub use self::mempool::MempoolEntry;
pub use self::mine::subsidy;
pub use self::proof::{DoubleSpendProof, Score, Spender};
pub use self::reject::Reject;
pub(crate) use self::script::{CURVE, SIGHASH_ALL_FORKID, SIGHASH_UTXOS};
pub use self::standard::dust_threshold;
pub use self::token::check as check_tokens;

use self::block::Candidate;
use self::coin::CoinSet;
use self::mempool::Mempool;
use self::proof::ProofStore;

/// Blocks a coinbase output has to wait before it can be spent.
pub const COINBASE_MATURITY: u32 = 100;
/// Largest amount of satoshis there can be.
pub const MAX_MONEY: u64 = 21_000_000 * 100_000_000;
/// Default of the minimum relay fee, in satoshis per 1000 bytes.
const DEFAULT_RELAY_FEE: u64 = 1_000;
/// Fee in satoshis above which a transaction is refused unless high fees are allowed.
pub const ABSURD_FEE: u64 = 10_000_000;

/// One node's view: block tree, active chain, coins, mempool, and the events nobody has taken yet.
#[derive(Debug)]
pub struct Chain {
    blocks: HashMap<BlockHash, StoredBlock>,
    /// Active chain by height.
    active: Vec<BlockHash>,
    /// Where the active chain holds a transaction: block and index.
    located: HashMap<Txid, (BlockHash, usize)>,
    /// Every block that is not known to be invalid, best last.
    candidates: BTreeSet<Candidate>,
    /// The header with the most work that was ever received, parked ones among them, or where the node falls back to when
    /// that turns out invalid.
    best_header: BlockHash,
    coins: CoinSet,
    mempool: Mempool,
    proofs: ProofStore,
    events: Vec<Event>,
    parking: bool,
    /// Minimum relay fee, in satoshis per 1000 bytes.
    relay_fee: u64,
    /// Minimum fee for a full mempool, in satoshis per 1000 bytes; 0 while the mempool is not full.
    full_mempool_fee: u64,
    arrivals: u64,
    coinbases: u64,
    /// The latest time a call named, unix seconds.
    clock: u64,
}

impl Chain {
    /// A chain that holds nothing but regtest's genesis block, received at `now` (unix seconds).
    pub fn new(now: u64) -> Self {
        let genesis = StoredBlock::genesis(now);
        let hash = genesis.hash;
        let mut chain = Self {
            blocks: HashMap::new(),
            active: vec![hash],
            located: HashMap::new(),
            candidates: BTreeSet::from([genesis.candidate()]),
            best_header: hash,
            coins: CoinSet::default(),
            mempool: Mempool::default(),
            proofs: ProofStore::default(),
            events: Vec::new(),
            parking: true,
            relay_fee: DEFAULT_RELAY_FEE,
            full_mempool_fee: 0,
            arrivals: 1,
            coinbases: 0,
            clock: now,
        };
        chain.blocks.insert(hash, genesis);
        chain
    }

    /// Whether rivals that rewind two blocks or more need extra work (the node's default: yes).
    pub fn set_parking(&mut self, on: bool) {
        self.parking = on;
    }

    /// Sets the minimum relay fee (`-minrelaytxfee`), in satoshis per 1000 bytes.
    pub fn set_relay_fee(&mut self, satoshis_per_kb: u64) {
        self.relay_fee = satoshis_per_kb;
    }

    /// Sets the minimum fee for a full mempool, in satoshis per 1000 bytes; 0 says that the mempool is not full.
    pub fn set_full_mempool_fee(&mut self, satoshis_per_kb: u64) {
        self.full_mempool_fee = satoshis_per_kb;
    }

    /// Takes the events since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Removes a transaction and its descendants from the mempool without an event, as expiry and the size
    /// limit do.
    pub fn evict(&mut self, txid: Txid) {
        let removed = self.mempool.remove_with_descendants(txid);
        self.proofs.orphan(&removed, self.clock);
    }

    /// Forgets the whole mempool without an event, as a crash does.
    pub fn clear_mempool(&mut self) {
        self.mempool = Mempool::default();
        self.proofs = ProofStore::default();
    }
}
