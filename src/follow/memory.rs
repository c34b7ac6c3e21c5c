//! What the follower remembers between passes.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use crate::bch::{OutPoint, Txid};

/// What the follower remembers between passes. All of it can be lost: a pass with an empty memory looks at
/// everything again.
#[derive(Debug, Default)]
pub struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Transactions of the mempool that were examined to the end: they match nothing, or their credit is on disk.
    examined: HashSet<Txid, foldhash::fast::RandomState>,
    /// Transactions of the mempool whose score the node was asked for.
    appraised: HashSet<Txid, foldhash::fast::RandomState>,
    /// Whether the node's time for scores is used up for now.
    appraised_enough: bool,
    /// Transactions of the mempool whose double spend proof was looked at.
    proven: HashSet<Txid, foldhash::fast::RandomState>,
    /// Outputs in the mempool that pay an invoice, which they were looked at for.
    concerned: HashSet<OutPoint, foldhash::fast::RandomState>,
    /// Tracked transactions that were not in the mempool, and for how many complete passes in a row.
    absent: HashMap<Txid, u32, foldhash::fast::RandomState>,
    /// Whether the blocks before the start were recalled.
    recalled: bool,
    /// Whether a pass was completed since the start.
    complete: bool,
    /// The height that the node had before its chain became shorter, and for how many passes it is waited for.
    behind: Option<(u32, u32)>,
}

/// For how many passes a node whose chain became shorter gets to have it again: ten minutes of heartbeats.
const PATIENCE: u32 = 600;

impl Memory {
    /// Whether a transaction needs no further look for as long as it stays in the mempool.
    pub fn is_examined(&self, txid: &Txid) -> bool {
        self.inner.lock().examined.contains(txid)
    }

    /// Notes that a transaction was examined to the end.
    pub fn examined(&self, txid: Txid) {
        self.inner.lock().examined.insert(txid);
    }

    /// Whether a pass was completed since the start.
    pub fn is_complete(&self) -> bool {
        self.inner.lock().complete
    }

    /// Whether the blocks before the start were recalled.
    pub(super) fn has_recalled(&self) -> bool {
        self.inner.lock().recalled
    }

    /// Notes that the blocks before the start were recalled.
    pub(super) fn recalled(&self) {
        self.inner.lock().recalled = true;
    }

    /// Notes that the node's chain ends below where it did: after a crash it has to find its way again.
    pub(super) fn fell_from(&self, height: u32) {
        self.inner.lock().behind = Some((height, PATIENCE));
    }

    /// Notes where the node's chain ends now.
    pub(super) fn reached(&self, height: u32) {
        let mut inner = self.inner.lock();
        inner.behind = inner
            .behind
            .and_then(|(before, passes)| (height < before).then_some((before, passes.checked_sub(1)?)));
    }

    /// Whether the node's chain ends below where it did.
    pub fn is_behind(&self) -> bool {
        self.inner.lock().behind.is_some()
    }

    /// Forgets what was examined: the mempool may hold again what it had lost.
    pub(super) fn forget_examined(&self) {
        self.inner.lock().examined.clear();
    }

    /// Whether the node may be asked for a score now.
    pub(super) fn may_appraise(&self) -> bool {
        !self.inner.lock().appraised_enough
    }

    /// Says whether the node may be asked for scores from now on.
    pub(super) fn allow_appraisals(&self, allowed: bool) {
        self.inner.lock().appraised_enough = !allowed;
    }

    /// Whether the node was asked for the score of a transaction.
    pub(super) fn is_appraised(&self, txid: &Txid) -> bool {
        self.inner.lock().appraised.contains(txid)
    }

    /// Notes that the node was asked for the score of a transaction, or need not be.
    pub(super) fn appraised(&self, txid: Txid) {
        self.inner.lock().appraised.insert(txid);
    }

    /// Forgets what was appraised: a block makes some ancestors weigh no more.
    pub(super) fn forget_appraised(&self) {
        self.inner.lock().appraised.clear();
    }

    /// Takes the transactions that there are proofs for and the outputs in the mempool that pay an invoice, and gives those
    /// proofs that were not looked at yet for all of these: a new payment may descend from what was proven long before, and
    /// a merchant may say later what one was for.
    pub(super) fn unknown_proofs(
        &self,
        proven: Vec<Txid>,
        concerned: HashSet<OutPoint, foldhash::fast::RandomState>,
    ) -> Vec<Txid> {
        let mut inner = self.inner.lock();
        if !concerned.is_subset(&inner.concerned) {
            inner.proven.clear();
        }
        inner.concerned = concerned;
        inner.proven.retain(|txid| proven.contains(txid));
        proven.into_iter().filter(|txid| !inner.proven.contains(txid)).collect()
    }

    /// Notes that the proof of a transaction was looked at.
    pub(super) fn proof_examined(&self, txid: Txid) {
        self.inner.lock().proven.insert(txid);
    }

    /// Forgets everything but the mempool of a complete pass. Gives what left it since.
    pub(super) fn pass_ended(&self, mempool: &HashSet<Txid, foldhash::fast::RandomState>) -> Vec<Txid> {
        let mut inner = self.inner.lock();
        inner.complete = true;
        inner.absent.retain(|txid, _| !mempool.contains(txid));
        inner.appraised.retain(|txid| mempool.contains(txid));
        inner.examined.extract_if(|txid| !mempool.contains(txid)).collect()
    }

    /// Counts one more complete pass without this transaction, and gives how many there were.
    pub(super) fn absent(&self, txid: Txid) -> u32 {
        let mut inner = self.inner.lock();
        let passes = inner.absent.entry(txid).or_insert(0);
        *passes += 1;
        *passes
    }

    /// Stops counting.
    pub(super) fn settled(&self, txid: &Txid) {
        self.inner.lock().absent.remove(txid);
    }
}
