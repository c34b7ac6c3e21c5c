//! The node's JSON: which method a request is, and how its reply is read.
//!
//! Fields that are not used are not read, so that another release of the node can add and drop them.

use bitcoincash::hashes::{Hash as _, sha256d};
use bitcoincash::{BlockHash, OutPoint, ScriptBuf, TokenAmount, TokenID, Txid, token};
use bitcoincore_rpc::jsonrpc::{self, Response};
use bitcoincore_rpc::{Client, RpcApi};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::amount::Satoshis;
use super::call::{
    ChainInfo, ChainTip, ChainTips, Coin, DoubleSpendProof, Header, MempoolEntry, NetworkInfo, Notification,
    Reply, Request, SendOutcome, Snapshot, UnspentCoin,
};
use super::error::NodeError;
use super::transport::SEND_METHOD;

/// How many transactions are asked for in one batch. A batch holds one of the node's threads while it lasts.
const BATCH: usize = 500;

/// "Block not found", "Transaction not in mempool", "No such mempool transaction".
const NOT_FOUND: i32 = -5;

/// "Double-spend proofs subsystem is disabled".
const PROOFS_DISABLED: i32 = -90;

/// "Block height out of range".
const OUT_OF_RANGE: i32 = -8;

/// Makes the calls of one request, on the thread it is called on.
pub(super) fn perform(client: &Client, request: &Request) -> Result<Reply, NodeError> {
    match request {
        Request::ChainInfo => {
            call::<WireChainInfo>(client, "getblockchaininfo", &[])?.checked().map(Reply::ChainInfo)
        }
        Request::ChainTips => chain_tips(client).map(Reply::ChainTips),
        Request::FeeFloor => {
            let info: WireFeeFloor = call(client, "getmempoolinfo", &[])?;
            Ok(Reply::FeeFloor(info.mempoolminfee.0.max(info.minrelaytxfee.0)))
        }
        Request::NetworkInfo => {
            call::<WireNetworkInfo>(client, "getnetworkinfo", &[]).map(|info| Reply::NetworkInfo(info.into()))
        }
        Request::ZmqNotifications => {
            let publishers: Vec<WireNotification> = call(client, "getzmqnotifications", &[])?;
            Ok(Reply::ZmqNotifications(publishers.into_iter().map(Notification::from).collect()))
        }
        Request::Snapshot => snapshot(client).map(Reply::Snapshot),
        Request::BestBlock => call(client, "getbestblockhash", &[]).map(Reply::BestBlock),
        Request::MempoolEntry(txid) => {
            let entry = call::<WireEntry>(client, "getmempoolentry", &[txid.to_string().into()]);
            found(entry, NOT_FOUND).map(|entry| Reply::MempoolEntry(entry.map(MempoolEntry::from)))
        }
        Request::RawTransactions(txids) => raw_transactions(client, txids).map(Reply::RawTransactions),
        Request::Block(hash) => {
            let block = call::<HexBytes>(client, "getblock", &[hash.to_string().into(), 0.into()]);
            match block {
                // The code stands for all sorts of errors; these are the words since 2015.
                Err(NodeError::Rpc { code: -1, message }) if message.contains("pruned data") => {
                    Ok(Reply::Pruned)
                }
                block => found(block, NOT_FOUND).map(|block| Reply::Block(block.map(|block| block.0))),
            }
        }
        Request::Header(hash) => {
            let header = found(header(client, hash), NOT_FOUND)?;
            // Our chain is made of what stands in here: a header of another block is none.
            match header {
                Some(header) if header.hash != *hash => Err(NodeError::Malformed),
                header => Ok(Reply::Header(header.map(Header::from))),
            }
        }
        Request::BlockHashAt(height) => {
            found(call(client, "getblockhash", &[(*height).into()]), OUT_OF_RANGE).map(Reply::BlockHashAt)
        }
        Request::Inputs { txid, outpoints } => inputs(client, txid, outpoints),
        Request::Unspent { outpoints, include_mempool } => {
            let calls: Vec<_> =
                outpoints.iter().map(|outpoint| coin_call(outpoint, *include_mempool)).collect();
            batch(client, &calls)?.iter().map(coin).collect::<Result<_, _>>().map(Reply::Unspent)
        }
        Request::ScanUtxos(scripts) => {
            let descriptors: Vec<String> = scripts.iter().map(|script| format!("raw({script:x})")).collect();
            let found: WireScan = call(client, "scantxoutset", &["start".into(), descriptors.into()])?;
            // Told to stop by somebody else: what it found is not all.
            if !found.success {
                return Err(NodeError::Busy);
            }
            Ok(Reply::Scanned(found.unspents.into_iter().map(UnspentCoin::from).collect()))
        }
        Request::DoubleSpendProofs => {
            let proofs: Option<Vec<WireProof>> =
                found(call(client, "getdsprooflist", &[2.into()]), PROOFS_DISABLED)?;
            let txids = proofs.unwrap_or_default().into_iter().filter_map(|proof| proof.txid);
            Ok(Reply::DoubleSpendProofs(txids.collect()))
        }
        Request::DoubleSpendProof(txid) => {
            // Not those of its ancestors: the one that is asked for is the one that is attacked.
            let params = [txid.to_string().into(), 1.into(), false.into()];
            let proof: Option<Option<WireProof>> =
                found(call(client, "getdsproof", &params), PROOFS_DISABLED)?;
            match proof.flatten().and_then(WireProof::of_mempool) {
                // An alarm about a payment that was not asked about.
                Some(proof) if proof.txid != *txid => Err(NodeError::Malformed),
                proof => Ok(Reply::DoubleSpendProof(proof)),
            }
        }
        Request::ProofScore(txid) => {
            let score = call::<Box<RawValue>>(client, "getdsproofscore", &[txid.to_string().into()]);
            let score = found(found(score, NOT_FOUND), PROOFS_DISABLED)?.flatten();
            let read = |score: Box<RawValue>| score.get().parse().map_err(|_| NodeError::Malformed);
            score.map(read).transpose().map(Reply::ProofScore)
        }
        Request::Send(raw) => {
            let ours = Txid::from_raw_hash(sha256d::Hash::hash(raw));
            sent(ours, call::<Txid>(client, SEND_METHOD, &[hex::encode(raw).into()])).map(Reply::Sent)
        }
    }
}

fn header(client: &Client, hash: &BlockHash) -> Result<WireHeader, NodeError> {
    call(client, "getblockheader", &[hash.to_string().into()])
}

fn chain_tips(client: &Client) -> Result<ChainTips, NodeError> {
    let replies = batch(client, &["getchaintips", "getfinalizedblockhash"].map(|name| (name, vec![])))?;
    let [tips, finalized] = replies.as_slice() else { return Err(NodeError::Malformed) };
    let tips = result::<Vec<WireChainTip>>(tips)?.into_iter().map(ChainTip::from).collect();
    // An empty text where nothing is finalised.
    let finalized = match result::<String>(finalized)?.as_str() {
        "" => None,
        hash => Some(header(client, &hash.parse().map_err(|_| NodeError::Malformed)?)?.height),
    };
    Ok(ChainTips { tips, finalized })
}

fn snapshot(client: &Client) -> Result<Snapshot, NodeError> {
    let calls = ["getmempoolinfo", "getbestblockhash", "getrawmempool", "getbestblockhash"]
        .map(|name| (name, vec![]));
    let replies = batch(client, &calls)?;
    let [info, before, ids, after] = replies.as_slice() else { return Err(NodeError::Malformed) };
    Ok(Snapshot {
        loaded: result::<WireMempoolInfo>(info)?.loaded,
        tip_before: result(before)?,
        txids: result(ids)?,
        tip_after: result(after)?,
    })
}

fn raw_transactions(client: &Client, txids: &[Txid]) -> Result<Vec<Option<Bytes>>, NodeError> {
    let mut all = Vec::with_capacity(txids.len());
    for part in txids.chunks(BATCH) {
        let calls: Vec<_> =
            part.iter().map(|txid| ("getrawtransaction", vec![txid.to_string().into()])).collect();
        for reply in batch(client, &calls)? {
            let raw = found(result::<HexBytes>(&reply), NOT_FOUND)?;
            all.push(raw.map(|raw| raw.0));
        }
    }
    Ok(all)
}

fn inputs(client: &Client, txid: &Txid, outpoints: &[OutPoint]) -> Result<Reply, NodeError> {
    let mut calls: Vec<Call> = vec![("getmempoolentry", vec![txid.to_string().into()])];
    calls.extend(outpoints.iter().map(|outpoint| coin_call(outpoint, true)));
    let replies = batch(client, &calls)?;
    let Some((entry, coins)) = replies.split_first() else { return Err(NodeError::Malformed) };
    let entry = found(result::<WireEntry>(entry), NOT_FOUND)?.map(MempoolEntry::from);
    Ok(Reply::Inputs { entry, coins: coins.iter().map(coin).collect::<Result<_, _>>()? })
}

/// The outcome of the broadcast of a transaction with this txid. An answer with another txid says nothing of ours, which may
/// have been broadcast all the same.
fn sent(ours: Txid, result: Result<Txid, NodeError>) -> Result<SendOutcome, NodeError> {
    match result {
        Ok(txid) if txid == ours => Ok(SendOutcome::Accepted),
        Ok(txid) => {
            tracing::error!(%ours, %txid, "the node answered the broadcast of a transaction with the txid of another one");
            Err(NodeError::Malformed)
        }
        Err(NodeError::Rpc { code: -27, .. }) => Ok(SendOutcome::AlreadyInChain),
        // The code alone is not enough: it also stands for errors nobody thought of.
        Err(NodeError::Rpc { code: -25, message }) if message.starts_with("Missing inputs") => {
            Ok(SendOutcome::MissingInputs)
        }
        Err(NodeError::Rpc { code: code @ (-22 | -26), message }) => {
            Ok(SendOutcome::Refused { code, message })
        }
        Err(error) => Err(error),
    }
}

type Call = (&'static str, Vec<Value>);

fn coin_call(outpoint: &OutPoint, include_mempool: bool) -> Call {
    ("gettxout", vec![outpoint.txid.to_string().into(), outpoint.vout.into(), include_mempool.into()])
}

fn coin(reply: &Response) -> Result<Option<Coin>, NodeError> {
    result::<Option<WireCoin>>(reply)?.map(WireCoin::checked).transpose()
}

fn call<T: DeserializeOwned>(client: &Client, method: &str, params: &[Value]) -> Result<T, NodeError> {
    client.call(method, params).map_err(|error| NodeError::from_client(&error))
}

/// Makes all calls in one request; replies stand in the order of the calls.
fn batch(client: &Client, calls: &[Call]) -> Result<Vec<Response>, NodeError> {
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let params = calls.iter().map(|(_, params)| serde_json::value::to_raw_value(params));
    let params: Vec<Box<RawValue>> = params.collect::<Result<_, _>>().map_err(|_| NodeError::Malformed)?;
    let client = client.get_jsonrpc_client();
    let requests: Vec<jsonrpc::Request<'_>> = calls
        .iter()
        .zip(&params)
        .map(|((method, _), params)| client.build_request(method, Some(params)))
        .collect();
    let replies = client.send_batch(&requests).map_err(|error| NodeError::from_jsonrpc(&error))?;
    replies.into_iter().map(|reply| reply.ok_or(NodeError::Malformed)).collect()
}

fn result<T: DeserializeOwned>(reply: &Response) -> Result<T, NodeError> {
    reply.result().map_err(|error| NodeError::from_jsonrpc(&error))
}

/// `None` for the one error code that means "there is none".
fn found<T>(result: Result<T, NodeError>, none: i32) -> Result<Option<T>, NodeError> {
    match result {
        Err(NodeError::Rpc { code, .. }) if code == none => Ok(None),
        other => other.map(Some),
    }
}

/// Bytes that stand as hex in JSON, decoded straight from the reply's text.
struct HexBytes(Bytes);

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl Visitor<'_> for Hex {
            type Value = HexBytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("hex")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HexBytes, E> {
                hex::decode(text).map(|bytes| HexBytes(bytes.into())).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Hex)
    }
}

#[derive(Deserialize)]
struct WireChainInfo {
    chain: String,
    blocks: i64,
    headers: i64,
    bestblockhash: BlockHash,
    mediantime: u64,
    initialblockdownload: bool,
    pruned: bool,
    pruneheight: Option<i64>,
    #[serde(default)]
    warnings: String,
}

impl WireChainInfo {
    fn checked(self) -> Result<ChainInfo, NodeError> {
        // -1 stands for "none yet" in both.
        let height = |height: i64| u32::try_from(height.max(0)).map_err(|_| NodeError::Malformed);
        Ok(ChainInfo {
            chain: self.chain,
            blocks: height(self.blocks)?,
            headers: height(self.headers)?,
            best_block: self.bestblockhash,
            median_time_s: self.mediantime,
            initial_block_download: self.initialblockdownload,
            pruned: self.pruned,
            prune_height: self.pruneheight.map(height).transpose()?,
            warnings: self.warnings,
        })
    }
}

#[derive(Deserialize)]
struct WireNetworkInfo {
    version: u64,
    subversion: String,
    protocolversion: u32,
    #[serde(default)]
    timeoffset: i64,
    connections: u32,
    relayfee: Satoshis,
    #[serde(default)]
    warnings: String,
}

impl From<WireNetworkInfo> for NetworkInfo {
    fn from(wire: WireNetworkInfo) -> Self {
        Self {
            version: wire.version,
            subversion: wire.subversion,
            protocol_version: wire.protocolversion,
            connections: wire.connections,
            time_offset_s: wire.timeoffset,
            relay_fee_satoshis_per_kb: wire.relayfee.0,
            warnings: wire.warnings,
        }
    }
}

#[derive(Deserialize)]
struct WireNotification {
    r#type: String,
    address: String,
}

impl From<WireNotification> for Notification {
    fn from(wire: WireNotification) -> Self {
        let topic = wire.r#type.strip_prefix("pub").unwrap_or(&wire.r#type).to_owned();
        Self { topic, address: wire.address }
    }
}

#[derive(Deserialize)]
struct WireChainTip {
    height: u32,
    branchlen: u32,
    status: String,
}

impl From<WireChainTip> for ChainTip {
    fn from(wire: WireChainTip) -> Self {
        Self { height: wire.height, branch_length: wire.branchlen, status: wire.status }
    }
}

#[derive(Deserialize)]
struct WireMempoolInfo {
    loaded: bool,
}

#[derive(Deserialize)]
struct WireFeeFloor {
    mempoolminfee: Satoshis,
    minrelaytxfee: Satoshis,
}

#[derive(Deserialize)]
struct WireEntry {
    fees: WireFees,
    size: u64,
    time: u64,
    depends: Vec<Txid>,
}

#[derive(Deserialize)]
struct WireFees {
    base: Satoshis,
}

impl From<WireEntry> for MempoolEntry {
    fn from(wire: WireEntry) -> Self {
        Self {
            time_s: wire.time,
            size_bytes: wire.size,
            fee_satoshis: wire.fees.base.0,
            depends: wire.depends,
        }
    }
}

#[derive(Deserialize)]
struct WireHeader {
    hash: BlockHash,
    height: u32,
    previousblockhash: Option<BlockHash>,
    time: u64,
    confirmations: i64,
}

impl From<WireHeader> for Header {
    fn from(wire: WireHeader) -> Self {
        Self {
            hash: wire.hash,
            height: wire.height,
            previous: wire.previousblockhash,
            time_s: wire.time,
            confirmations: wire.confirmations,
        }
    }
}

#[derive(Deserialize)]
struct WireScan {
    success: bool,
    unspents: Vec<WireUnspent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireUnspent {
    txid: Txid,
    vout: u32,
    script_pub_key: HexBytes,
    amount: Satoshis,
    height: u32,
}

impl From<WireUnspent> for UnspentCoin {
    fn from(wire: WireUnspent) -> Self {
        Self {
            outpoint: OutPoint { txid: wire.txid, vout: wire.vout },
            script: ScriptBuf::from_bytes(wire.script_pub_key.0.to_vec()),
            satoshis: wire.amount.0,
            height: wire.height,
        }
    }
}

#[derive(Deserialize)]
struct WireProof {
    /// `null` for a proof whose transaction the node does not have.
    txid: Option<Txid>,
    #[serde(default)]
    descendants: Vec<Txid>,
}

impl WireProof {
    fn of_mempool(self) -> Option<DoubleSpendProof> {
        let Self { txid, descendants } = self;
        txid.map(|txid| DoubleSpendProof { txid, descendants })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCoin {
    value: Satoshis,
    script_pub_key: WireScript,
    token_data: Option<WireToken>,
    confirmations: u32,
    coinbase: bool,
}

#[derive(Deserialize)]
struct WireScript {
    hex: HexBytes,
}

#[derive(Deserialize)]
struct WireToken {
    category: TokenID,
    amount: String,
    nft: Option<WireNft>,
}

#[derive(Deserialize)]
struct WireNft {
    capability: String,
    commitment: HexBytes,
}

impl WireCoin {
    fn checked(self) -> Result<Coin, NodeError> {
        Ok(Coin {
            satoshis: self.value.0,
            script: ScriptBuf::from_bytes(self.script_pub_key.hex.0.to_vec()),
            token: self.token_data.map(WireToken::checked).transpose()?,
            confirmations: self.confirmations,
            coinbase: self.coinbase,
        })
    }
}

impl WireToken {
    /// The crate panics when it serialises tokens that are not well-formed, so every part is looked at.
    fn checked(self) -> Result<token::OutputData, NodeError> {
        let amount = self.amount.parse().ok().and_then(TokenAmount::from_int).ok_or(NodeError::Malformed)?;
        let mut bitfield = 0;
        let mut commitment = Vec::new();
        if amount != TokenAmount::ZERO {
            bitfield |= token::Structure::HasAmount as u8;
        }
        if let Some(nft) = self.nft {
            bitfield |= token::Structure::HasNFT as u8;
            bitfield |= match nft.capability.as_str() {
                "none" => token::Capability::None,
                "mutable" => token::Capability::Mutable,
                "minting" => token::Capability::Minting,
                _ => return Err(NodeError::Malformed),
            } as u8;
            commitment = nft.commitment.0.to_vec();
            if !commitment.is_empty() {
                bitfield |= token::Structure::HasCommitmentLength as u8;
            }
        }
        let token = token::OutputData { id: self.category, bitfield, amount, commitment };
        if token.is_valid_bitfield() { Ok(token) } else { Err(NodeError::Malformed) }
    }
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
