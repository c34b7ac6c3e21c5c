//! The node as the machines see it: their requests, answered by the model of the chain.

use jppd::node::{
    ChainInfo, Coin, DoubleSpendProof, Header, MempoolEntry, NodeError, Reply, Request, SendOutcome,
    Snapshot, UnspentCoin,
};
use regtest::chain::{self, Chain};

/// What a node with this chain answers to a request.
pub(crate) fn answer(chain: &mut Chain, request: &Request, now_s: u64) -> Result<Reply, NodeError> {
    let (tip, height) = chain.tip();
    Ok(match request {
        Request::ChainInfo => Reply::ChainInfo(ChainInfo {
            chain: "regtest".to_owned(),
            blocks: height,
            headers: chain.best_header_height(),
            best_block: tip,
            median_time_s: now_s,
            initial_block_download: false,
            pruned: false,
            prune_height: None,
            warnings: String::new(),
        }),
        Request::Snapshot => Reply::Snapshot(Snapshot {
            loaded: true,
            tip_before: tip,
            txids: chain.mempool(),
            tip_after: tip,
        }),
        Request::BestBlock => Reply::BestBlock(tip),
        Request::MempoolEntry(txid) => Reply::MempoolEntry(chain.mempool_entry(*txid).map(entry)),
        Request::RawTransactions(txids) => Reply::RawTransactions(
            txids.iter().map(|txid| chain.mempool_entry(*txid).map(|entry| entry.raw.clone())).collect(),
        ),
        Request::Block(hash) => Reply::Block(chain.block(*hash).map(|block| block.raw.clone())),
        Request::Header(hash) => Reply::Header(chain.block(*hash).map(|block| Header {
            hash: block.hash,
            height: block.height,
            previous: (block.height > 0).then(|| block.previous()),
            time_s: block.time().into(),
            confirmations: chain.confirmations(*hash).unwrap_or(-1),
        })),
        Request::BlockHashAt(height) => Reply::BlockHashAt(chain.hash_at(*height)),
        Request::Inputs { txid, outpoints } => Reply::Inputs {
            entry: chain.mempool_entry(*txid).map(entry),
            coins: outpoints.iter().map(|outpoint| coin(chain, outpoint, true)).collect(),
        },
        Request::Unspent { outpoints, include_mempool } => {
            Reply::Unspent(outpoints.iter().map(|outpoint| coin(chain, outpoint, *include_mempool)).collect())
        }
        Request::ScanUtxos(scripts) => {
            let coins = chain.unspent_of(scripts).into_iter().map(|(outpoint, coin)| UnspentCoin {
                outpoint,
                script: coin.output.script_pubkey,
                satoshis: coin.output.value.to_sat(),
                height: coin.height.unwrap_or_default(),
            });
            Reply::Scanned(coins.collect())
        }
        Request::DoubleSpendProofs => {
            Reply::DoubleSpendProofs(chain.dsproof_list().into_iter().map(|(txid, _)| txid).collect())
        }
        Request::DoubleSpendProof(txid) => {
            let known = chain.dsproof_list().iter().any(|(own, _)| own == txid);
            Reply::DoubleSpendProof(known.then(|| DoubleSpendProof {
                txid: *txid,
                descendants: chain.descendants(*txid).into_iter().chain([*txid]).collect(),
            }))
        }
        Request::ProofScore(txid) => Reply::ProofScore(
            chain
                .dsproof_score(*txid)
                .map(|score| score.as_str().parse())
                .transpose()
                .map_err(|_| NodeError::Malformed)?,
        ),
        Request::Send(raw) => Reply::Sent(match chain.submit(raw, false, now_s) {
            Ok(_) => SendOutcome::Accepted,
            Err(reject) => match reject.code {
                -27 => SendOutcome::AlreadyInChain,
                -25 => SendOutcome::MissingInputs,
                code => SendOutcome::Refused { code, message: reject.message },
            },
        }),
        Request::FeeFloor => Reply::FeeFloor(chain.fee_floor()),
        Request::NetworkInfo | Request::ZmqNotifications | Request::ChainTips => {
            return Err(NodeError::Malformed);
        }
    })
}

fn entry(entry: &chain::MempoolEntry) -> MempoolEntry {
    MempoolEntry {
        time_s: entry.time,
        size_bytes: entry.raw.len() as u64,
        fee_satoshis: entry.fee,
        depends: entry.depends.iter().copied().collect(),
    }
}

fn coin(chain: &Chain, outpoint: &bitcoincash::OutPoint, include_mempool: bool) -> Option<Coin> {
    let (_, tip) = chain.tip();
    chain.unspent(outpoint, include_mempool).map(|coin| Coin {
        satoshis: coin.output.value.to_sat(),
        script: coin.output.script_pubkey,
        token: coin.output.token,
        confirmations: coin.height.map_or(0, |height| tip + 1 - height),
        coinbase: coin.coinbase,
    })
}
