//! One pass over chain and mempool.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use super::{
    Alarm, Answer, FollowError, Memory, Moment, Step, appraisal::Appraisal, matters::matters, recall::Recall,
    walk::Walk,
};
use crate::{
    bch::{BlockHash, OutPoint, Transaction, Txid},
    engine::Sightings,
    invoice::{Elapsed, FirstSeen, Reading, Sighting, held_since},
    ledger::{
        self, Action, Observation, Reads, View,
        tables::{Counters, Credits, Held, Invoices, Place, Transactions},
    },
    node::{Reply, Request, SendOutcome, Snapshot},
};

/// How many transactions are fetched at a time.
const CHUNK: usize = 1000;

/// For how many complete passes a tracked transaction is absent before it is sent again.
const ABSENT_PASSES: u32 = 2;

/// How many payments a pass appraises at most: each keeps the node from everything else for up to a tenth of a second.
const MOST_APPRAISALS: u32 = 20;

/// For how many, where it is not sent again: absence alone proves little, for a reorg empties the mempool for a while.
const ABSENT_UNASKED: u32 = 5;

/// How often a tip that moved under the pass is followed before the pass gives up, and is begun anew later.
const MOST_TIPS: u32 = 100;

/// One pass: the tip, the walk to it, the mempool, the tip again.
#[derive(Debug)]
pub struct Pass {
    sightings: Arc<Sightings>,
    memory: Arc<Memory>,
    stage: Stage,
    tips: u32,
    /// Tracked transactions outside blocks, read before the mempool was.
    tracked: Vec<Txid>,
    mempool: HashSet<Txid, foldhash::fast::RandomState>,
    unknown: VecDeque<Txid>,
    fetched: VecDeque<Arc<Transaction>>,
    gone: VecDeque<Txid>,
    /// Tracked transactions that the mempool has, and that may have to be appraised.
    there: VecDeque<Txid>,
    /// Transactions with a double spend proof that was not looked at yet.
    proven: VecDeque<Txid>,
    /// When the node was last given something to answer.
    asked: Reading,
    /// When it was asked for its double spend proofs.
    watched: Reading,
    /// How many were appraised.
    appraisals: u32,
    /// Whether what is absent may be counted.
    judge_absence: bool,
    /// Whether what is absent is sent again before it is taken for lost.
    rebroadcast: bool,
    /// Whether there are tracked transactions outside blocks.
    watches: bool,
}

/// What a pass found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassEnd {
    /// Chain and mempool were seen whole.
    Complete,
    /// The tip moved again and again.
    Restless,
    /// There was none: the node is on another network, and nothing it says may be believed.
    OtherNetwork,
}

#[derive(Debug)]
enum Stage {
    /// The first pass of all begins with the blocks before it.
    Recall(Recall),
    Snapshot,
    Walk(Box<Walk>),
    Fetch(Vec<Txid>),
    /// Asking since when a transaction was in the mempool that is older than this process.
    Entry(Arc<Transaction>),
    Observe(Txid),
    Resend(Txid),
    Lose(Txid),
    Return(Txid),
    Appraise(Appraisal),
    Proofs,
    Alarm(Txid, Alarm),
    Release,
}

impl Pass {
    /// A pass with what is remembered of the passes before. `judge_absence` says that the node is up to date, so that
    /// what it does not have may be counted as absent.
    pub fn new(sightings: Arc<Sightings>, memory: Arc<Memory>, judge_absence: bool) -> Self {
        Self {
            sightings,
            memory,
            stage: Stage::Snapshot,
            tips: 0,
            tracked: Vec::new(),
            mempool: HashSet::default(),
            unknown: VecDeque::new(),
            fetched: VecDeque::new(),
            gone: VecDeque::new(),
            there: VecDeque::new(),
            proven: VecDeque::new(),
            asked: Reading::default(),
            watched: Reading::default(),
            appraisals: 0,
            judge_absence,
            rebroadcast: true,
            watches: false,
        }
    }

    /// The same, and what is absent is not sent again: it is taken for lost after a few more passes without it.
    pub fn without_rebroadcast(self) -> Self {
        Self { rebroadcast: false, ..self }
    }

    /// Whether there are payments outside blocks, once it is complete.
    pub fn watches(&self) -> bool {
        self.watches
    }

    /// How many blocks remain to be connected, while it walks.
    pub fn remaining_blocks(&self) -> u32 {
        if let Stage::Walk(walk) = &self.stage { walk.remaining() } else { 0 }
    }

    /// Takes an answer and says what is next.
    ///
    /// # Errors
    ///
    /// [`FollowError`]; the next pass begins anew, and nothing is lost.
    pub fn on<V: View>(
        &mut self,
        answer: Answer,
        view: &V,
        moment: Moment,
    ) -> Result<Step<PassEnd>, FollowError> {
        self.asked = moment.now;
        match (&mut self.stage, answer) {
            (Stage::Snapshot, Answer::Begin) if !self.memory.has_recalled() => {
                self.stage = Stage::Recall(Recall::new(view, self.sightings.clone())?);
                self.on(Answer::Begin, view, moment)
            }
            (Stage::Recall(recall), answer) => match recall.on(answer, moment)?.within() {
                Some(step) => Ok(step),
                None => {
                    self.memory.recalled();
                    self.stage = Stage::Snapshot;
                    self.ask_snapshot(view)
                }
            },
            (Stage::Snapshot, Answer::Begin) => self.ask_snapshot(view),
            (Stage::Snapshot, Answer::Node(Reply::Snapshot(snapshot))) => {
                self.snapshot(snapshot, view, moment)
            }
            (Stage::Walk(walk), answer) => match walk.on(answer, view, moment)?.within() {
                Some(step) => Ok(step),
                None => {
                    self.memory.forget_appraised();
                    if let Some(height) = walk.undone_from() {
                        self.memory.forget_examined();
                        if walk.went_back() {
                            self.memory.fell_from(height);
                        }
                    }
                    self.stage = Stage::Snapshot;
                    self.ask_snapshot(view)
                }
            },
            (Stage::Fetch(asked), Answer::Node(Reply::RawTransactions(raws))) => {
                let asked = std::mem::take(asked);
                self.take_in(&asked, raws, moment);
                self.examine(view, moment)
            }
            (Stage::Entry(tx), Answer::Node(Reply::MempoolEntry(entry))) => {
                let tx = tx.clone();
                let Some(entry) = entry else { return self.examine(view, moment) };
                let seen = moment.now.first_seen(
                    Sighting::MempoolTime { secs: entry.time_s, noted: Some(moment.order) },
                    entry.time_s,
                );
                Ok(self.observe(tx, seen))
            }
            (Stage::Observe(txid), Answer::Applied(_)) => {
                self.memory.examined(*txid);
                self.there.push_back(*txid);
                self.examine(view, moment)
            }
            (Stage::Resend(txid), Answer::Node(Reply::Sent(sent))) => {
                let txid = *txid;
                self.resent(txid, &sent, view, moment)
            }
            (Stage::Lose(txid) | Stage::Return(txid), Answer::Applied(_)) => {
                self.memory.settled(txid);
                self.resend(view)
            }
            (Stage::Appraise(appraisal), answer) => match appraisal.on(answer, &self.memory)?.within() {
                Some(step) => Ok(step),
                None => self.appraise(view),
            },
            (Stage::Proofs, Answer::Node(Reply::DoubleSpendProofs(txids))) => {
                let concerned = self.in_mempool(view)?;
                self.proven = self.memory.unknown_proofs(txids, concerned).into();
                self.sound_alarms(view)
            }
            (Stage::Alarm(txid, alarm), answer) => match alarm.on(answer, view)?.within() {
                Some(step) => Ok(step),
                None => {
                    self.memory.proof_examined(*txid);
                    self.sound_alarms(view)
                }
            },
            (Stage::Release, Answer::Applied(_)) => Ok(Step::Done(PassEnd::Complete)),
            _ => Err(FollowError::Confused),
        }
    }

    fn ask_snapshot<V: View>(&mut self, view: &V) -> Result<Step<PassEnd>, FollowError> {
        self.tips += 1;
        if self.tips > MOST_TIPS {
            return Ok(Step::Done(PassEnd::Restless));
        }
        // Before the mempool is asked: what is tracked from now on is not absent for not being in it.
        self.tracked = ledger::unconfirmed(view, usize::MAX)?;
        Ok(Step::Ask(Request::Snapshot))
    }

    fn snapshot<V: View>(
        &mut self,
        snapshot: Snapshot,
        view: &V,
        moment: Moment,
    ) -> Result<Step<PassEnd>, FollowError> {
        if !snapshot.loaded {
            return Err(FollowError::MempoolNotLoaded);
        }
        let tip = Reads::<Counters>::get(view, &())?.unwrap_or_default().tip;
        let ours = tip.map(|(_, hash)| hash);
        if ours != Some(snapshot.tip_before) {
            return self.walk(snapshot.tip_before, view, moment);
        }
        if snapshot.tip_before != snapshot.tip_after {
            return self.walk(snapshot.tip_after, view, moment);
        }
        if let Some((height, _)) = tip {
            self.memory.reached(height);
        }
        self.unknown = snapshot.txids.iter().filter(|txid| !self.memory.is_examined(txid)).copied().collect();
        self.mempool = snapshot.txids.into_iter().collect();
        self.fetch(view)
    }

    fn walk<V: View>(
        &mut self,
        tip: BlockHash,
        view: &V,
        moment: Moment,
    ) -> Result<Step<PassEnd>, FollowError> {
        let mut walk = Walk::to(tip, self.sightings.clone());
        let step = walk.on(Answer::Begin, view, moment)?;
        self.stage = Stage::Walk(Box::new(walk));
        step.within().ok_or(FollowError::Confused)
    }

    fn fetch<V: View>(&mut self, view: &V) -> Result<Step<PassEnd>, FollowError> {
        let chunk: Vec<Txid> = self.unknown.drain(..self.unknown.len().min(CHUNK)).collect();
        if chunk.is_empty() {
            return self.finish(view);
        }
        self.stage = Stage::Fetch(chunk.clone());
        Ok(Step::Ask(Request::RawTransactions(chunk)))
    }

    /// Notes every transaction before anything is looked up for any of them.
    fn take_in(&mut self, asked: &[Txid], raws: Vec<Option<bytes::Bytes>>, moment: Moment) {
        for (txid, raw) in asked.iter().zip(raws) {
            let Some(raw) = raw else { continue };
            match Transaction::decode(raw) {
                Ok(tx) if tx.txid() == *txid => self.fetched.push_back(tx.shared()),
                Ok(_) | Err(_) => tracing::error!(%txid, "the node sent a transaction that is none"),
            }
        }
        for tx in &self.fetched {
            // What was there when we started is noted as well: an invoice created later is younger.
            if self.memory.is_complete() {
                self.sightings.note(tx.txid(), moment.first_seen());
            }
        }
    }

    fn examine<V: View>(&mut self, view: &V, moment: Moment) -> Result<Step<PassEnd>, FollowError> {
        while let Some(tx) = self.fetched.pop_front() {
            let txid = tx.txid();
            if !matters(view, &tx)? {
                self.sightings.note(txid, moment.first_seen());
                self.memory.examined(txid);
                continue;
            }
            if let Some(seen) = self.sightings.get(&txid) {
                return Ok(self.observe(tx, seen));
            }
            // Older than this process: the node's word for its age decides.
            self.stage = Stage::Entry(tx);
            return Ok(Step::Ask(Request::MempoolEntry(txid)));
        }
        self.fetch(view)
    }

    fn observe(&mut self, transaction: Arc<Transaction>, seen: FirstSeen) -> Step<PassEnd> {
        let first_seen = self.sightings.note(transaction.txid(), seen);
        self.stage = Stage::Observe(transaction.txid());
        let observation = Observation::Mempool;
        Step::Apply(Box::new(Action::Observed { transaction, first_seen, observation }))
    }

    /// The mempool was seen whole: what is tracked and absent from it is counted.
    fn finish<V: View>(&mut self, view: &V) -> Result<Step<PassEnd>, FollowError> {
        for txid in self.memory.pass_ended(&self.mempool) {
            self.sightings.left(txid);
        }
        let judge_absence = self.judge_absence && !self.memory.is_behind();
        let enough = if self.rebroadcast { ABSENT_PASSES } else { ABSENT_UNASKED };
        self.watches = !(self.tracked.is_empty() && self.there.is_empty());
        for txid in std::mem::take(&mut self.tracked) {
            if self.mempool.contains(&txid) {
                self.memory.settled(&txid);
                self.there.push_back(txid);
            } else if judge_absence && self.memory.absent(txid) >= enough {
                self.gone.push_back(txid);
            }
        }
        self.resend(view)
    }

    fn resend<V: View>(&mut self, view: &V) -> Result<Step<PassEnd>, FollowError> {
        while let Some(txid) = self.gone.pop_front() {
            match Reads::<Transactions>::get(view, &txid)? {
                Some(record) if !matches!(record.place, Place::Seen | Place::Mempool) => {
                    self.memory.settled(&txid);
                }
                Some(_) if !self.rebroadcast => {
                    tracing::warn!(%txid, "a payment left the mempool, and is taken for lost");
                    self.stage = Stage::Lose(txid);
                    return Ok(Step::Apply(Box::new(Action::Lost { txid })));
                }
                Some(record) => {
                    tracing::info!(%txid, "a payment left the mempool; sending it again");
                    self.stage = Stage::Resend(txid);
                    return Ok(Step::Ask(Request::Send(record.raw)));
                }
                None => self.memory.settled(&txid),
            }
        }
        if self.there.is_empty() {
            // Nothing of ours can be spent again.
            return Ok(Step::Done(PassEnd::Complete));
        }
        (self.stage, self.watched) = (Stage::Proofs, self.asked);
        Ok(Step::Ask(Request::DoubleSpendProofs))
    }

    fn sound_alarms<V: View>(&mut self, view: &V) -> Result<Step<PassEnd>, FollowError> {
        let Some(txid) = self.proven.pop_front() else { return self.appraise(view) };
        let mut alarm = Alarm::of(txid);
        let step = alarm.on(Answer::Begin, view)?;
        self.stage = Stage::Alarm(txid, alarm);
        step.within().ok_or(FollowError::Confused)
    }

    fn appraise<V: View>(&mut self, view: &V) -> Result<Step<PassEnd>, FollowError> {
        while self.appraisals < MOST_APPRAISALS
            && let Some(txid) = self.there.pop_front()
        {
            if let Some(mut appraisal) = Appraisal::of(txid, &self.memory, view)? {
                self.appraisals += 1;
                let step = appraisal.on(Answer::Begin, &self.memory)?;
                self.stage = Stage::Appraise(appraisal);
                return step.within().ok_or(FollowError::Confused);
            }
        }
        self.release(view)
    }

    /// Of what is held, that counts which was in the mempool, waited long enough before the proofs were asked for, and is
    /// safe enough.
    fn release<V: View>(&mut self, view: &V) -> Result<Step<PassEnd>, FollowError> {
        let first = (Elapsed::default(), OutPoint { txid: txid_of(0), vout: 0 });
        let last = (self.watched.elapsed, OutPoint { txid: txid_of(0xff), vout: u32::MAX });
        let mut until: BTreeMap<Txid, Elapsed> = BTreeMap::new();
        for ((_, outpoint), ()) in Reads::<Held>::range(view, first..=last, usize::MAX)? {
            let Some(credit) = Reads::<Credits>::get(view, &outpoint)? else { continue };
            let record = Reads::<Invoices>::get(view, &credit.invoice)?;
            let asked = record.and_then(|record| record.invoice.zero_conf);
            // Only time in which this process ran counts: for any other time there is only a clock, which can be wrong.
            let watched = self.watched.watched(held_since(&credit));
            let met = asked.is_some_and(|asked| asked.is_met_by(&credit, watched));
            if met && self.mempool.contains(&outpoint.txid) {
                let until = until.entry(outpoint.txid).or_insert(watched);
                *until = watched.min(*until);
            }
        }
        if until.is_empty() {
            return Ok(Step::Done(PassEnd::Complete));
        }
        self.stage = Stage::Release;
        Ok(Step::Apply(Box::new(Action::Watched { until: until.into_iter().collect() })))
    }

    /// The outputs that pay an invoice and are on record as ones of the mempool: a proof concerns those alone.
    fn in_mempool<V: View>(
        &self,
        view: &V,
    ) -> Result<HashSet<OutPoint, foldhash::fast::RandomState>, FollowError> {
        let mut concerned = HashSet::default();
        for txid in &self.there {
            if let Some((record, credits)) = ledger::tracked(view, *txid)?
                && record.place == Place::Mempool
            {
                concerned.extend(credits.iter().map(|credit| credit.outpoint));
            }
        }
        Ok(concerned)
    }

    fn resent<V: View>(
        &mut self,
        txid: Txid,
        sent: &SendOutcome,
        view: &V,
        moment: Moment,
    ) -> Result<Step<PassEnd>, FollowError> {
        match sent {
            SendOutcome::Accepted => {
                let record = Reads::<Transactions>::get(view, &txid)?;
                let decoded = record.and_then(|record| {
                    let seen = record.first_seen.unwrap_or(moment.first_seen());
                    Transaction::decode(record.raw).ok().map(|tx| (tx.shared(), seen))
                });
                let Some((transaction, first_seen)) = decoded else { return self.resend(view) };
                self.stage = Stage::Return(txid);
                let observation = Observation::Mempool;
                Ok(Step::Apply(Box::new(Action::Observed { transaction, first_seen, observation })))
            }
            // The block walk finds it.
            SendOutcome::AlreadyInChain => self.resend(view),
            SendOutcome::MissingInputs if self.has_parent_to_send(txid, view)? => {
                // Parents first: it is tried again after them.
                self.gone.push_back(txid);
                self.resend(view)
            }
            SendOutcome::MissingInputs | SendOutcome::Refused { .. } => {
                tracing::warn!(%txid, ?sent, "a payment is lost");
                self.stage = Stage::Lose(txid);
                Ok(Step::Apply(Box::new(Action::Lost { txid })))
            }
        }
    }

    /// Whether a transaction spends one that waits to be sent again as well.
    fn has_parent_to_send<V: View>(&self, txid: Txid, view: &V) -> Result<bool, FollowError> {
        let record = Reads::<Transactions>::get(view, &txid)?;
        let tx = record.and_then(|record| Transaction::decode(record.raw).ok());
        Ok(tx.is_some_and(|tx| tx.inputs().iter().any(|outpoint| self.gone.contains(&outpoint.txid))))
    }
}

fn txid_of(byte: u8) -> Txid {
    bitcoincash::hashes::Hash::from_byte_array([byte; 32])
}
