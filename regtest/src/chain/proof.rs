//! Double spend proofs: two signatures for one P2PKH coin.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bitcoincash::consensus::encode::{Encodable, VarInt, serialize};
use bitcoincash::hashes::{Hash, sha256d};
use bitcoincash::{OutPoint, Transaction, TxOut, Txid};
use bytes::Bytes;

use super::Chain;
use super::event::Event;
use super::script::{self, SIGHASH_ANYONECANPAY};

/// Seconds a proof is kept after its transaction left the mempool.
const ORPHAN_SECONDS: u64 = 90;

/// One of the two transactions of a proof: what its signature covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spender {
    /// Version of the transaction.
    pub version: i32,
    /// Sequence number of the input.
    pub sequence: u32,
    /// Lock time of the transaction.
    pub lock_time: u32,
    /// Hash of all outpoints.
    pub hash_prevouts: [u8; 32],
    /// Hash of all sequence numbers.
    pub hash_sequence: [u8; 32],
    /// Hash of the outputs.
    pub hash_outputs: [u8; 32],
    /// The signature, its hash type last.
    pub signature: Vec<u8>,
}

/// A proof that somebody signed two spends of one coin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubleSpendProof {
    /// Hash of the proof's bytes.
    pub id: sha256d::Hash,
    /// The coin.
    pub outpoint: OutPoint,
    /// The two spends, in the canonical order.
    pub spenders: [Spender; 2],
    /// Its bytes.
    pub raw: Bytes,
}

/// How far an unconfirmed transaction could be double spent unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Score {
    /// A proof is known, or none is possible, for it or an ancestor.
    Zero,
    /// It or an ancestor leaves parts unsigned.
    Quarter,
    /// A double spend of any input of it or its ancestors would leave a proof.
    One,
}

impl Score {
    /// The number as JSON text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zero => "0",
            Self::Quarter => "0.25",
            Self::One => "1",
        }
    }
}

/// Proofs by the transaction of the mempool they are about, and those that wait for one to return.
#[derive(Debug, Default)]
pub(super) struct ProofStore {
    known: BTreeMap<Txid, DoubleSpendProof>,
    orphans: BTreeMap<OutPoint, (DoubleSpendProof, u64)>,
}

impl ProofStore {
    /// Keeps the proofs of transactions that left the mempool for a while.
    pub(super) fn orphan(&mut self, removed: &[Txid], now: u64) {
        for txid in removed {
            if let Some(proof) = self.known.remove(txid) {
                self.orphans.insert(proof.outpoint, (proof, now));
            }
        }
        self.orphans.retain(|_, (_, since)| now.saturating_sub(*since) <= ORPHAN_SECONDS);
    }
}

impl Chain {
    /// The proof that concerns a transaction of the mempool: its own, or that of the nearest ancestor that has one.
    /// With it comes the way there, from the transaction to the one that is double spent.
    pub fn dsproof(&self, txid: Txid) -> Option<(&DoubleSpendProof, Vec<Txid>)> {
        self.mempool.get(&txid)?;
        let mut came_from: HashMap<Txid, Txid> = HashMap::new();
        let mut queue = VecDeque::from([txid]);
        while let Some(at) = queue.pop_front() {
            if let Some(proof) = self.proofs.known.get(&at) {
                let mut path = vec![at];
                let mut step = at;
                while let Some(child) = came_from.get(&step).filter(|_| step != txid) {
                    path.push(*child);
                    step = *child;
                }
                path.reverse();
                return Some((proof, path));
            }
            for parent in self.mempool.get(&at).into_iter().flat_map(|entry| &entry.depends) {
                if !came_from.contains_key(parent) {
                    came_from.insert(*parent, at);
                    queue.push_back(*parent);
                }
            }
        }
        None
    }

    /// The proofs of the mempool's transactions, by txid.
    pub fn dsproof_list(&self) -> Vec<(Txid, &DoubleSpendProof)> {
        self.proofs.known.iter().map(|(txid, proof)| (*txid, proof)).collect()
    }

    /// The proofs whose transaction left the mempool less than 90 seconds ago.
    pub fn dsproof_orphans(&self) -> Vec<&DoubleSpendProof> {
        self.proofs.orphans.values().map(|(proof, _)| proof).collect()
    }

    /// The score of a transaction of the mempool; `None` when it is not there. The node's limits on the depth of the
    /// search are not modelled.
    pub fn dsproof_score(&self, txid: Txid) -> Option<Score> {
        self.mempool.get(&txid)?;
        let family = std::iter::once(txid).chain(self.mempool.ancestors(&txid));
        family.map(|txid| self.own_score(txid)).min()
    }

    fn own_score(&self, txid: Txid) -> Score {
        if self.proofs.known.contains_key(&txid) {
            return Score::Zero;
        }
        let Some(tx) = self.mempool.get(&txid).map(|entry| &entry.tx) else { return Score::Zero };
        let score = |(index, input): (usize, &bitcoincash::TxIn)| {
            let signature = self
                .coin(&input.previous_output)
                .and_then(|coin| script::p2pkh_signature(tx, index, &coin.output));
            match signature.as_deref().and_then(<[u8]>::last) {
                None => Score::Zero,
                Some(hash_type) if hash_type & SIGHASH_ANYONECANPAY != 0 || hash_type & 0x1f != 1 => {
                    Score::Quarter
                }
                Some(_) => Score::One,
            }
        };
        tx.input.iter().enumerate().map(score).min().unwrap_or(Score::Zero)
    }

    /// Makes a proof of a rival that was refused, for the first transaction of the mempool it conflicts with.
    pub(super) fn prove_double_spend(&mut self, rival: &Transaction) {
        let conflict = rival.input.iter().find_map(|input| {
            self.mempool.spender(&input.previous_output).map(|txid| (input.previous_output, txid))
        });
        let Some((outpoint, txid)) = conflict else { return };
        if self.proofs.known.contains_key(&txid) {
            return;
        }
        let (Some(entry), Some(coin)) = (self.mempool.get(&txid), self.coin(&outpoint)) else { return };
        let Some(proof) = DoubleSpendProof::new(outpoint, &coin.output, [&entry.tx, rival]) else { return };
        let raw = entry.raw.clone();
        self.proofs.known.insert(txid, proof);
        self.events.push(Event::DoubleSpend { txid, raw });
    }

    /// Gives a transaction that just entered the mempool the proof that waits for one of its coins.
    pub(super) fn rescue_proof(&mut self, txid: Txid) {
        let Some(entry) = self.mempool.get(&txid) else { return };
        let clock = self.clock;
        let waiting = entry.tx.input.iter().find_map(|input| {
            let (_, since) = self.proofs.orphans.get(&input.previous_output)?;
            (clock.saturating_sub(*since) <= ORPHAN_SECONDS).then_some(input.previous_output)
        });
        let raw = entry.raw.clone();
        if let Some((proof, _)) = waiting.and_then(|outpoint| self.proofs.orphans.remove(&outpoint)) {
            self.proofs.known.insert(txid, proof);
            self.events.push(Event::DoubleSpend { txid, raw });
        }
    }
}

impl DoubleSpendProof {
    fn new(outpoint: OutPoint, output: &TxOut, txs: [&Transaction; 2]) -> Option<Self> {
        let [first, second] = txs;
        let mut spenders = [Spender::new(outpoint, output, first)?, Spender::new(outpoint, output, second)?];
        let place = |spender: &Spender| {
            let reversed = |hash: &[u8; 32]| hash.iter().rev().copied().collect::<Vec<u8>>();
            (reversed(&spender.hash_outputs), reversed(&spender.hash_prevouts))
        };
        spenders.sort_by_key(place);
        let mut raw = serialize(&outpoint);
        for spender in &spenders {
            spender.write(&mut raw);
        }
        Some(Self { id: sha256d::Hash::hash(&raw), outpoint, spenders, raw: Bytes::from(raw) })
    }
}

impl Spender {
    fn new(outpoint: OutPoint, output: &TxOut, tx: &Transaction) -> Option<Self> {
        let index = tx.input.iter().position(|input| input.previous_output == outpoint)?;
        let signature = script::p2pkh_signature(tx, index, output)?;
        let hash_type = *signature.last()?;
        let (base, alone) = (hash_type & 0x1f, hash_type & SIGHASH_ANYONECANPAY != 0);
        let zero = [0; 32];
        let hash_outputs = match base {
            2 => zero,
            3 => tx.output.get(index).map_or(zero, |output| hash_all([output])),
            _ => hash_all(&tx.output),
        };
        Some(Self {
            version: tx.version.0,
            sequence: tx.input.get(index)?.sequence.0,
            lock_time: tx.lock_time.to_consensus_u32(),
            hash_prevouts: if alone {
                zero
            } else {
                hash_all(tx.input.iter().map(|input| &input.previous_output))
            },
            hash_sequence: if alone || base != 1 {
                zero
            } else {
                hash_all(tx.input.iter().map(|input| &input.sequence))
            },
            hash_outputs,
            signature,
        })
    }

    fn write(&self, raw: &mut Vec<u8>) {
        raw.extend(self.version.to_le_bytes());
        raw.extend(self.sequence.to_le_bytes());
        raw.extend(self.lock_time.to_le_bytes());
        for hash in [&self.hash_prevouts, &self.hash_sequence, &self.hash_outputs] {
            raw.extend(hash);
        }
        raw.push(1);
        raw.extend(serialize(&VarInt::from(self.signature.len())));
        raw.extend(&self.signature);
    }
}

fn hash_all<'a, T: Encodable + 'a>(parts: impl IntoIterator<Item = &'a T>) -> [u8; 32] {
    let bytes: Vec<u8> = parts.into_iter().flat_map(|part| serialize(part)).collect();
    sha256d::Hash::hash(&bytes).to_byte_array()
}
