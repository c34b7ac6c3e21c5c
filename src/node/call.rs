//! What can be asked of the node, and what it answers: plain data.

use bitcoincash::{BlockHash, OutPoint, ScriptBuf, Txid, token};
use bytes::Bytes;

use crate::bch::{Output, ProofScore};

/// Every call that is ever made. Nothing else can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `getblockchaininfo` → [`Reply::ChainInfo`].
    ChainInfo,
    /// `getchaintips` and `getfinalizedblockhash` → [`Reply::ChainTips`]. The node walks its index of all blocks for it,
    /// which takes half a second on the main network: ask only when the height of its best header calls for it.
    ChainTips,
    /// `getnetworkinfo` → [`Reply::NetworkInfo`].
    NetworkInfo,
    /// `getmempoolinfo` → [`Reply::FeeFloor`].
    FeeFloor,
    /// `getzmqnotifications` → [`Reply::ZmqNotifications`]. The node starts without a word when it cannot bind
    /// an address, so what it publishes has to be asked.
    ZmqNotifications,
    /// Is the mempool loaded, the tip, the ids in the mempool, the tip again: one batch, executed in this order
    /// → [`Reply::Snapshot`].
    Snapshot,
    /// `getbestblockhash` → [`Reply::BestBlock`].
    BestBlock,
    /// `getmempoolentry` → [`Reply::MempoolEntry`].
    MempoolEntry(Txid),
    /// `getrawtransaction` for each, in batches of at most 500 → [`Reply::RawTransactions`]. One thread is held
    /// for all of them: ask for a few thousand at a time at most.
    RawTransactions(Vec<Txid>),
    /// `getblock h 0` → [`Reply::Block`], or [`Reply::Pruned`]. Also blocks that are not in the active chain.
    Block(BlockHash),
    /// `getblockheader` → [`Reply::Header`]. Also blocks that are not in the active chain.
    Header(BlockHash),
    /// `getblockhash` → [`Reply::BlockHashAt`].
    BlockHashAt(u32),
    /// `getmempoolentry` and `gettxout` (mempool included) for each outpoint: one batch → [`Reply::Inputs`].
    Inputs {
        /// The transaction whose place in the mempool is asked.
        txid: Txid,
        /// The outputs it spends.
        outpoints: Vec<OutPoint>,
    },
    /// `gettxout` for each outpoint: one batch → [`Reply::Unspent`].
    Unspent {
        /// Which outputs.
        outpoints: Vec<OutPoint>,
        /// Whether the mempool counts: its outputs as unspent, what it spends as spent.
        include_mempool: bool,
    },
    /// `scantxoutset` for these locking scripts → [`Reply::Scanned`]. The node reads its whole set of unspent outputs, which
    /// takes minutes on the main network, and does one such search at a time: use a pool with a long time-out.
    ScanUtxos(Vec<ScriptBuf>),
    /// `getdsprooflist` → [`Reply::DoubleSpendProofs`].
    DoubleSpendProofs,
    /// `getdsproof`, for a proof of this very transaction → [`Reply::DoubleSpendProof`].
    DoubleSpendProof(Txid),
    /// `getdsproofscore` → [`Reply::ProofScore`]. The node holds up everything else for as long as it takes, up to 0.1 s
    /// for a transaction with a thousand unconfirmed ancestors: ask once for each payment, not in a loop.
    ProofScore(Txid),
    /// `sendrawtransaction` → [`Reply::Sent`].
    ///
    /// The second parameter, `allowhighfees`, is never given: a fee above 0.1 BCH is nearly always a slip of the
    /// payer's wallet, the node's refusal (-26 `absurdly-high-fee`) protects the payer, and whoever means it can
    /// broadcast through another node and is found all the same.
    ///
    /// Sending again is harmless: a transaction that is already in the mempool is accepted again, and announced
    /// again.
    Send(Bytes),
}

impl Request {
    /// A word for metrics and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ChainInfo => "chain_info",
            Self::ChainTips => "chain_tips",
            Self::NetworkInfo => "network_info",
            Self::FeeFloor => "fee_floor",
            Self::ZmqNotifications => "zmq_notifications",
            Self::Snapshot => "snapshot",
            Self::BestBlock => "best_block",
            Self::MempoolEntry(_) => "mempool_entry",
            Self::RawTransactions(_) => "raw_transactions",
            Self::Block(_) => "block",
            Self::Header(_) => "header",
            Self::BlockHashAt(_) => "block_hash_at",
            Self::Inputs { .. } => "inputs",
            Self::Unspent { .. } => "unspent",
            Self::ScanUtxos(_) => "scan_utxos",
            Self::DoubleSpendProofs => "double_spend_proofs",
            Self::DoubleSpendProof(_) => "double_spend_proof",
            Self::ProofScore(_) => "proof_score",
            Self::Send(_) => "send",
        }
    }

    /// All words of [`name`](Self::name).
    pub(super) const NAMES: [&str; 19] = [
        "chain_info",
        "chain_tips",
        "network_info",
        "fee_floor",
        "zmq_notifications",
        "snapshot",
        "best_block",
        "mempool_entry",
        "raw_transactions",
        "block",
        "header",
        "block_hash_at",
        "inputs",
        "unspent",
        "scan_utxos",
        "double_spend_proofs",
        "double_spend_proof",
        "proof_score",
        "send",
    ];
}

/// The answer to a [`Request`], variant by variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::ChainInfo`].
    ChainInfo(ChainInfo),
    /// To [`Request::ChainTips`].
    ChainTips(ChainTips),
    /// To [`Request::NetworkInfo`].
    NetworkInfo(NetworkInfo),
    /// To [`Request::FeeFloor`]: below this many satoshis per 1000 bytes the node takes nothing into its mempool now: the
    /// larger of `minrelaytxfee` and `mempoolminfee`, which rises when the mempool is full.
    FeeFloor(u64),
    /// To [`Request::ZmqNotifications`].
    ZmqNotifications(Vec<Notification>),
    /// To [`Request::Snapshot`].
    Snapshot(Snapshot),
    /// To [`Request::BestBlock`].
    BestBlock(BlockHash),
    /// To [`Request::MempoolEntry`]; `None`: not in the mempool.
    MempoolEntry(Option<MempoolEntry>),
    /// To [`Request::RawTransactions`], in the order asked; `None`: the node no longer has it.
    RawTransactions(Vec<Option<Bytes>>),
    /// To [`Request::Block`]; `None`: the node has never heard of it.
    Block(Option<Bytes>),
    /// To [`Request::Block`]: the node knows the block, and has deleted its transactions.
    Pruned,
    /// To [`Request::Header`]; `None`: the node has never heard of it.
    Header(Option<Header>),
    /// To [`Request::BlockHashAt`]; `None`: above the tip.
    BlockHashAt(Option<BlockHash>),
    /// To [`Request::Inputs`].
    Inputs {
        /// `None`: the transaction is not in the mempool.
        entry: Option<MempoolEntry>,
        /// In the order asked; `None`: unknown, or spent (in a block or in the mempool).
        coins: Vec<Option<Coin>>,
    },
    /// To [`Request::Unspent`], in the order asked; `None`: unknown, or spent.
    Unspent(Vec<Option<Coin>>),
    /// To [`Request::ScanUtxos`]: what the chain has, without the mempool.
    Scanned(Vec<UnspentCoin>),
    /// To [`Request::DoubleSpendProofs`]: the transactions of the mempool that there are proofs for. None where the node
    /// keeps no proofs.
    DoubleSpendProofs(Vec<Txid>),
    /// To [`Request::DoubleSpendProof`]; `None`: there is none for this transaction, or the node keeps none.
    DoubleSpendProof(Option<DoubleSpendProof>),
    /// To [`Request::ProofScore`]; `None`: it is not in the mempool, or the node keeps no proofs.
    ProofScore(Option<ProofScore>),
    /// To [`Request::Send`].
    Sent(SendOutcome),
}

/// The chain as the node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// The node's word for the network: `main`, `test`, `test4`, `scale`, `chip` or `regtest`.
    pub chain: String,
    /// Height of the tip.
    pub blocks: u32,
    /// Height of the best header; above `blocks` while the node catches up.
    pub headers: u32,
    /// The tip.
    pub best_block: BlockHash,
    /// Median time of the last eleven blocks, in seconds since 1970.
    pub median_time_s: u64,
    /// Whether the node still catches up. It then announces no blocks by ZMQ.
    pub initial_block_download: bool,
    /// Whether old blocks are deleted.
    pub pruned: bool,
    /// The lowest height whose block is kept, if old ones are deleted.
    pub prune_height: Option<u32>,
    /// What the node warns of; usually empty.
    pub warnings: String,
}

/// The ends of all branches that the node knows, and what it will never leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainTips {
    /// The ends, in the node's order.
    pub tips: Vec<ChainTip>,
    /// The height of the last block that the node has finalised: it takes no branch that leaves its chain below. `None`
    /// when there is none, as in the first two hours after a start.
    pub finalized: Option<u32>,
}

/// The end of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainTip {
    /// Its height.
    pub height: u32,
    /// How many of its blocks are not in the active chain.
    pub branch_length: u32,
    /// The node's word for it: `active`, `valid-fork`, `valid-headers`, `headers-only`, `parked` or `invalid`.
    pub status: String,
}

/// The node's software and its place in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInfo {
    /// Version as a number: 28.0.1 is 28000100.
    pub version: u64,
    /// Version as peers see it.
    pub subversion: String,
    /// Version of the protocol between peers.
    pub protocol_version: u32,
    /// How many peers.
    pub connections: u32,
    /// How far the clocks of its peers are ahead of its own, in seconds, in the middle of them; 0 as long as fewer than
    /// five told it.
    pub time_offset_s: i64,
    /// The least fee that is relayed, in satoshis per 1000 bytes.
    pub relay_fee_satoshis_per_kb: u64,
    /// What the node warns of; usually empty.
    pub warnings: String,
}

/// One ZMQ publisher of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The topic as it stands in messages, such as `rawtx`.
    pub topic: String,
    /// The address the node has bound.
    pub address: String,
}

/// The mempool between two looks at the tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether the node has read its mempool back after a start; until then ids are missing.
    pub loaded: bool,
    /// The tip before the ids were read.
    pub tip_before: BlockHash,
    /// Ids in the mempool, in the order they entered: parents before children.
    pub txids: Vec<Txid>,
    /// The tip after the ids were read. When it differs from `tip_before` the ids belong to neither.
    pub tip_after: BlockHash,
}

/// A transaction in the mempool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MempoolEntry {
    /// When it entered, in seconds since 1970, by the node's clock.
    pub time_s: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its fee in satoshis.
    pub fee_satoshis: u64,
    /// The transactions in the mempool that it spends from.
    pub depends: Vec<Txid>,
}

/// A block's place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The block.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// The block before; `None` for the first block of all.
    pub previous: Option<BlockHash>,
    /// The time it carries, in seconds since 1970.
    pub time_s: u64,
    /// How many blocks confirm it, itself included; -1 when it is not in the active chain.
    pub confirmations: i64,
}

/// An unspent output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Its amount in satoshis.
    pub satoshis: u64,
    /// Its locking script, without a token prefix.
    pub script: ScriptBuf,
    /// Its tokens. Always well-formed: it can be serialised.
    pub token: Option<token::OutputData>,
    /// How many blocks confirm it; 0 in the mempool.
    pub confirmations: u32,
    /// Whether it is newly mined (and cannot be spent for 100 blocks).
    pub coinbase: bool,
}

impl Coin {
    /// The output it is.
    pub fn output(&self) -> Output {
        Output::new(self.script.clone(), self.satoshis, self.token.as_ref())
    }
}

/// An unspent output that was searched for by its script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnspentCoin {
    /// Which output.
    pub outpoint: OutPoint,
    /// Its locking script, without a token prefix.
    pub script: ScriptBuf,
    /// Its amount in satoshis.
    pub satoshis: u64,
    /// The height of its block.
    pub height: u32,
}

/// A proof that somebody signed two transactions that spend the same coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubleSpendProof {
    /// The one of them that is in the mempool.
    pub txid: Txid,
    /// It, and all that descend from it in the mempool: they stand and fall with it.
    pub descendants: Vec<Txid>,
}

/// What became of a broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// In the mempool, now or already before.
    Accepted,
    /// In a block (-27). Only said while one of its outputs is unspent in the chain.
    AlreadyInChain,
    /// An input is unknown or spent in the chain, **or** this very transaction is in a block and all its outputs are
    /// spent (-25): the node does not tell these apart.
    MissingInputs,
    /// The payer's fault: not a transaction (-22), or against the rules, or against another transaction in the mempool
    /// (-26).
    Refused {
        /// The node's code.
        code: i32,
        /// The node's words, such as `txn-mempool-conflict (code 18)`.
        message: String,
    },
}
