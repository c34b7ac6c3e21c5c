//! The oracle: what must hold, judged from what really happened and not from what the ledger says of it.
//!
//! While the world runs it watches every commit, every event that leaves, every answer and every broadcast, and keeps
//! books of its own: who asked for what, when the creator was told, when the daemon was shown each transaction. A
//! transaction **must** be able to pay an invoice if it first reached the node after the creator's answer; it **must not**
//! if the daemon had it, in memory or in a block of its chain, when the invoice was registered. In between either is
//! right. At the end, when the node has been quiet, [`World::run`](crate::world::World::run) asks for the
//! [last judgement](crate::verdict).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use bitcoincash::{BlockHash, OutPoint, ScriptBuf, Txid};
use jppd::{
    bch::Category,
    invoice::{Credit, CreditState, DoubleSpend, Invoice, InvoiceId, InvoiceState, Level, Paid, Phase},
    ledger::{
        Action, Changes, Event, EventKind, Input, Reads, Refusal, Subject, View,
        tables::{Claims, Events, Place, Transactions},
    },
    submit::{Accepted, InputFault, SubmitError},
};

use crate::network::Node;

/// An invoice, as the oracle has it on its books.
#[derive(Debug)]
pub(crate) struct Booked {
    pub(crate) invoice: Invoice,
    pub(crate) state: InvoiceState,
    /// Paid amounts in the record of the invoice.
    pub(crate) paid: Option<Paid>,
    /// In which life of the daemon it was registered, and when that was asked for: its times are those of then.
    pub(crate) life: u32,
    pub(crate) registered_at: u64,
    /// What that daemon had been shown by then, and what was in blocks of its chain.
    pub(crate) shown_before: BTreeSet<Txid>,
    pub(crate) mined_before: BTreeSet<Txid>,
    /// When its creator was told.
    pub(crate) told: Option<u64>,
    /// Its events: number in the whole log, kind, and how far its payment had come.
    pub(crate) events: Vec<(u64, EventKind, Level)>,
    /// What the last of them says of its credits: which count, and which are held.
    pub(crate) told_there: BTreeMap<OutPoint, bool>,
}

impl Booked {
    /// How long it can be paid, in milliseconds, by what it shows.
    pub(crate) fn lasts(&self) -> u64 {
        u64::try_from(self.invoice.expires.since(self.invoice.created).as_millis()).unwrap_or(u64::MAX)
    }

    /// Until when it can be paid, by the true time.
    pub(crate) fn open_until(&self) -> u64 {
        self.registered_at.saturating_add(self.lasts())
    }
}

/// A submission that was answered.
#[derive(Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) number: u32,
    pub(crate) invoice: InvoiceId,
    pub(crate) txids: &'a [Txid],
    pub(crate) began: u64,
    pub(crate) known: bool,
    pub(crate) now: u64,
    pub(crate) end: &'a Result<Accepted, SubmitError>,
}

/// A success that a payer was told of.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) invoice: InvoiceId,
    pub(crate) txids: Vec<Txid>,
    /// The last event by then.
    pub(crate) seq: u64,
}

/// What was asked for, and by whom: a script, and the kind of token.
pub(crate) type Kind = (ScriptBuf, Option<Category>);

/// The books of the oracle.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) invoices: BTreeMap<InvoiceId, Booked>,
    pub(crate) askers: BTreeMap<Kind, Vec<InvoiceId>>,
    pub(crate) credits: BTreeMap<OutPoint, Credit>,
    /// Scripts that a merchant with a key asked for, up to the last commit: what asks for them without a key is paid by its
    /// own claims only.
    pub(crate) owned: BTreeSet<ScriptBuf>,
    pub(crate) chain: BTreeMap<u32, BlockHash>,
    pub(crate) successes: Vec<Success>,
    /// The events that left, by their number.
    pub(crate) left: BTreeMap<u64, Event>,
    pub(crate) anchor: u32,
    /// Whether the wall clock was wrong at times.
    pub(crate) clock_jumped: bool,
    /// How long after its end an invoice attracts payments, in milliseconds.
    pub(crate) late_window: u64,
    seq: u64,
    /// When the first pass of this life was complete, and what the daemon was shown.
    pub(crate) watches_since: Option<u64>,
    shown_here: BTreeSet<Txid>,
    /// What was in blocks of its chain when it began.
    pub(crate) mined_at_birth: BTreeSet<Txid>,
    /// When the node last showed a transaction in its mempool or took it, and when it last refused it.
    shown: BTreeMap<Txid, u64>,
    refused: BTreeMap<Txid, u64>,
    /// When the node last showed the double spend proofs it has, by its own time.
    proofs_shown: Option<u64>,
    lost: BTreeMap<Txid, u64>,
    pub(crate) submitted: BTreeMap<Txid, u64>,
    /// What the merchant assigned: that may move.
    pub(crate) assigned: BTreeSet<OutPoint>,
    /// When each creation was asked for.
    asked_at: BTreeMap<InvoiceId, u64>,
    /// Creations that were allowed while nobody watched the node.
    unwatched: BTreeSet<InvoiceId>,
    /// Whether a tick of this life could judge an expiry.
    could_judge: bool,
    /// Submissions of this life that were not answered yet.
    pub(crate) under_way: BTreeSet<u32>,
    inputs: usize,
}

impl Oracle {
    pub(crate) fn begin(&mut self, node: &Node) {
        self.anchor = node.chain.tip().1;
    }

    // What it is told.

    /// A daemon begins.
    pub(crate) fn born(&mut self, node: &Node) {
        self.watches_since = None;
        self.shown_here.clear();
        self.mined_at_birth = self.mined(node);
        self.could_judge = false;
        self.under_way.clear();
    }

    /// A pass was complete.
    pub(crate) fn watches(&mut self, now: u64) {
        self.watches_since.get_or_insert(now);
    }

    /// The daemon was shown a transaction, and is bound to remember.
    pub(crate) fn noted(&mut self, txid: Txid) {
        self.shown_here.insert(txid);
    }

    /// The node showed that it has a transaction.
    pub(crate) fn shown(&mut self, txid: Txid, now: u64) {
        self.shown.insert(txid, now);
    }

    /// The node was sent a transaction, and took it or did not.
    pub(crate) fn sent(&mut self, txid: Txid, taken: bool, now: u64) {
        if taken {
            self.shown.insert(txid, now);
        } else {
            self.refused.insert(txid, now);
        }
    }

    /// The node showed its double spend proofs.
    pub(crate) fn proofs_shown(&mut self, now: u64) {
        self.proofs_shown = Some(now);
    }

    pub(crate) fn ticked(&mut self, fresh: bool) {
        self.could_judge |= fresh;
    }

    /// A submission begins.
    pub(crate) fn submitted(&mut self, number: u32, txids: &[Txid], now: u64) {
        self.under_way.insert(number);
        for txid in txids {
            self.submitted.entry(*txid).or_insert(now);
        }
    }

    /// A creation is asked for, while the node is watched or not.
    pub(crate) fn asked(&mut self, id: InvoiceId, watched: bool, now: u64) {
        self.asked_at.insert(id, now);
        if !watched {
            self.unwatched.insert(id);
        }
    }

    /// A creator was told that the invoice is registered.
    pub(crate) fn acknowledged(&mut self, id: InvoiceId, now: u64) -> Result<()> {
        ensure!(!self.unwatched.contains(&id), "invoice {id} was created while nobody watched the node");
        let booked = self
            .invoices
            .get_mut(&id)
            .with_context(|| format!("invoice {id} was acknowledged, and is not on disk"))?;
        booked.told = Some(now);
        Ok(())
    }

    /// An input is about to be written.
    pub(crate) fn applied(&mut self, input: &Input) {
        self.inputs += 1;
        if let Action::Assign { outpoint, .. } = &input.action {
            self.assigned.insert(*outpoint);
        }
    }

    // What it judges at once.

    /// Events left: they must be on disk, and follow the last ones without a gap.
    pub(crate) fn published<V: View>(&mut self, events: &[Event], view: &V) -> Result<()> {
        for event in events {
            let kept = Reads::<Events>::get(view, &event.seq)?;
            ensure!(kept.as_ref() == Some(event), "event {} left and is not on disk", event.seq);
            let last = self.left.last_key_value().map_or(0, |(seq, _)| *seq);
            // After a kill, what was written and had not left is in the log, for whoever asks.
            ensure!(event.seq > last, "event {} left after event {last}", event.seq);
            self.left.insert(event.seq, event.clone());
        }
        Ok(())
    }

    /// Whether somebody may hand a transaction to the node: a submission what is claimed for its invoice, the
    /// follower what was in the mempool.
    pub(crate) fn may_send<V: View>(&self, invoice: Option<InvoiceId>, txid: Txid, view: &V) -> Result<()> {
        match invoice {
            Some(invoice) => {
                let claim = Reads::<Claims>::get(view, &(txid, invoice))?;
                ensure!(claim.is_some(), "{txid} is broadcast, and not claimed for {invoice}");
            }
            None => {
                let place = Reads::<Transactions>::get(view, &txid)?.map(|record| record.place);
                ensure!(
                    !matches!(place, None | Some(Place::Claimed)),
                    "{txid} is broadcast by itself, and its place is {place:?}"
                );
            }
        }
        Ok(())
    }

    /// Whether an invoice is paid or would be, and each of these is credited to it and counts, or is held.
    pub(crate) fn has_credited(&self, invoice: InvoiceId, txids: &[Txid]) -> bool {
        self.invoices.get(&invoice).is_some_and(|booked| booked.state.level != Level::Unpaid)
            && txids.iter().all(|txid| self.live_credit(invoice, txid))
    }

    pub(crate) fn live_credit(&self, invoice: InvoiceId, txid: &Txid) -> bool {
        let of = OutPoint { txid: *txid, vout: 0 }..=OutPoint { txid: *txid, vout: u32::MAX };
        self.credits.range(of).any(|(_, credit)| credit.invoice == invoice && credit.state.is_there())
    }

    /// A submission was answered.
    pub(crate) fn answered<V: View>(&mut self, answered: &Answered<'_>, node: &Node, view: &V) -> Result<()> {
        let Answered { number, invoice, txids, began, known, now, end } = answered;
        self.under_way.remove(number);
        let stayed = txids.iter().all(|txid| node.truth.had_since(txid, *began));
        match end {
            Ok(Accepted::Valid) => bail!("a payment ended as a verification"),
            Ok(Accepted::Credited) => {
                ensure!(
                    txids.iter().any(|txid| self.live_credit(*invoice, txid)),
                    "a payer of {invoice} was told of a success, and nothing is credited"
                );
                if self.invoices.get(invoice).is_some_and(|booked| booked.state.level == Level::Held) {
                    // The payer was told that it is pending.
                    return Ok(());
                }
                let seq = Reads::<Events>::range(view, 0..=u64::MAX, usize::MAX)?.len() as u64;
                self.successes.push(Success { invoice: *invoice, txids: txids.to_vec(), seq });
            }
            Err(SubmitError::NodeAway | SubmitError::Busy | SubmitError::Unavailable) => {}
            Err(error) => {
                ensure!(
                    !(*known && stayed && self.has_credited(*invoice, txids)),
                    "a repetition of what is credited to {invoice} was refused: {error}"
                );
                let gone = matches!(
                    error,
                    SubmitError::RefusedByNode(_) | SubmitError::Inputs(InputFault::Missing(_))
                );
                ensure!(!(gone && stayed), "the node has {txids:?}, and the payer is told: {error}");
                if let SubmitError::Refused(refusal) = error {
                    self.refused_rightly(*invoice, txids, refusal, node, *now)?;
                }
            }
        }
        Ok(())
    }

    fn refused_rightly(
        &self,
        invoice: InvoiceId,
        txids: &[Txid],
        refusal: &Refusal,
        node: &Node,
        now: u64,
    ) -> Result<()> {
        match refusal {
            Refusal::Older => ensure!(
                !txids.iter().all(|txid| self.is_younger(invoice, txid, node)),
                "{txids:?} came after {invoice} was acknowledged, and the payer is told that it is older"
            ),
            Refusal::Cancelled => ensure!(
                self.phase(invoice).is_some_and(|phase| matches!(phase, Phase::Cancelled { .. })),
                "{invoice} is not cancelled"
            ),
            Refusal::CountedElsewhere => {
                let elsewhere = |txid: &Txid| {
                    let of = OutPoint { txid: *txid, vout: 0 }..=OutPoint { txid: *txid, vout: u32::MAX };
                    self.credits.range(of).any(|(_, credit)| credit.invoice != invoice)
                };
                ensure!(
                    txids.iter().any(elsewhere) || self.invoices.len() > 1,
                    "nothing of {txids:?} is counted elsewhere at {now}"
                );
            }
            Refusal::NoSuchInvoice => {
                bail!("{invoice} was acknowledged, and a payer is told that it is none")
            }
            Refusal::Held => ensure!(
                self.invoices.get(&invoice).is_some_and(|booked| booked.invoice.zero_conf.is_some()),
                "{invoice} holds nothing back"
            ),
            Refusal::Expired => ensure!(
                self.invoices.get(&invoice).is_some_and(|booked| now >= booked.open_until()),
                "{invoice} is open, and the payer is told at {now} that it has expired"
            ),
            Refusal::Paid | Refusal::Output { .. } | Refusal::Stranger(_) | Refusal::TooManyClaims => {}
        }
        Ok(())
    }

    fn phase(&self, invoice: InvoiceId) -> Option<Phase> {
        self.invoices.get(&invoice).map(|booked| booked.state.phase)
    }

    /// Changes became a part of the store.
    pub(crate) fn committed(
        &mut self,
        changes: &Changes,
        node: &Node,
        now: u64,
        life: u32,
        alive: bool,
    ) -> Result<()> {
        let single = std::mem::take(&mut self.inputs) == 1;
        self.events_written(changes, now, alive)?;
        self.invoices_registered(changes, node, now, life);
        self.transactions_lost(changes, node, now)?;
        self.credits_written(changes, node, now, life, single)?;
        for (id, record) in &changes.invoices {
            let record = record.as_ref().with_context(|| format!("invoice {id} was deleted"))?;
            if let Some(booked) = self.invoices.get_mut(id) {
                ensure!(booked.invoice == record.invoice, "the terms of invoice {id} changed");
                ensure!(
                    !record.state.archived || now >= booked.registered_at + self.late_window,
                    "invoice {id} was archived after {} ms",
                    now - booked.registered_at
                );
                booked.state = record.state.clone();
                booked.paid = record.paid.clone();
            }
        }
        self.records_say_what_is_paid(changes)?;
        for booked in self.invoices.values().filter(|booked| !booked.invoice.merchant.is_anyone()) {
            self.owned.extend(booked.invoice.outputs.iter().map(|output| output.script.clone()));
        }
        for (height, hash) in &changes.chain {
            match hash {
                Some(hash) => self.chain.insert(*height, *hash),
                None => self.chain.remove(height),
            };
        }
        Ok(())
    }

    /// The record of an invoice says at any time what all of its credits come to, by a computation anew and by plain sums.
    fn records_say_what_is_paid(&self, changes: &Changes) -> Result<()> {
        let credited = changes.credits.values().flatten().map(|credit| credit.invoice);
        let touched: BTreeSet<InvoiceId> = changes.invoices.keys().copied().chain(credited).collect();
        for id in touched {
            let Some(booked) = self.invoices.get(&id) else { continue };
            let mut credits: Vec<&Credit> =
                self.credits.values().filter(|credit| credit.invoice == id).collect();
            credits.sort_by_key(|credit| credit.ordinal);
            let anew = Paid::of(&booked.invoice, credits.iter().copied());
            ensure!(
                booked.paid.as_ref() == Some(&anew),
                "the record of {id} says {:?}, and its credits come to {anew:?}",
                booked.paid
            );
            let sum: u64 =
                credits.iter().filter(|credit| credit.state.is_live()).map(|credit| credit.satoshis).sum();
            let recorded: u64 = anew.counted.iter().map(|output| output.credited).sum();
            ensure!(recorded == sum, "the record of {id} says {recorded} satoshis, and {sum} count");
        }
        Ok(())
    }

    fn events_written(&mut self, changes: &Changes, now: u64, alive: bool) -> Result<()> {
        for (seq, event) in &changes.events {
            let event = event.as_ref().with_context(|| format!("event {seq} was deleted"))?;
            self.seq += 1;
            ensure!(*seq == self.seq && event.seq == self.seq, "event {seq} is number {}", self.seq);
            ensure!(
                event.kind != EventKind::InvoiceExpired || self.could_judge || !alive,
                "an invoice expired while nobody watched the node"
            );
            if let Subject::Invoice { n, statement } = &event.subject {
                let id = statement.invoice.id;
                let level = statement.state.level;
                let booked = match self.invoices.get_mut(&id) {
                    Some(booked) => booked,
                    None => {
                        let invoice = statement.invoice.clone();
                        self.book(invoice, statement.state.clone())
                    }
                };
                ensure!(
                    event.kind != EventKind::InvoiceExpired || now >= booked.open_until(),
                    "invoice {id} expired after {} ms of {}",
                    now - booked.registered_at,
                    booked.lasts()
                );
                ensure!(*n == booked.events.len() as u64 + 1, "event {n} of {id} is not its next");
                booked.events.push((*seq, event.kind, level));
                booked.told_there = there(&statement.credits);
            }
        }
        Ok(())
    }

    fn book(&mut self, invoice: Invoice, state: InvoiceState) -> &mut Booked {
        let id = invoice.id;
        for output in &invoice.outputs {
            let kind = (output.script.clone(), output.token.as_ref().map(|token| token.category));
            let askers = self.askers.entry(kind).or_default();
            if !askers.contains(&id) {
                askers.push(id);
            }
        }
        self.invoices.entry(id).or_insert(Booked {
            invoice,
            state,
            paid: None,
            life: 0,
            registered_at: 0,
            shown_before: BTreeSet::new(),
            mined_before: BTreeSet::new(),
            told: None,
            events: Vec::new(),
            told_there: BTreeMap::new(),
        })
    }

    fn invoices_registered(&mut self, changes: &Changes, node: &Node, now: u64, life: u32) {
        for id in changes.invoices.keys() {
            if self.invoices.get(id).is_some_and(|booked| booked.life == 0) {
                let (shown, mined) = (self.shown_here.clone(), self.mined(node));
                let asked_at = self.asked_at.get(id).copied();
                if let Some(booked) = self.invoices.get_mut(id) {
                    booked.life = life;
                    booked.registered_at = asked_at.unwrap_or(now);
                    booked.shown_before = shown;
                    booked.mined_before = mined;
                }
            }
        }
    }

    /// What is in blocks of the daemon's chain.
    fn mined(&self, node: &Node) -> BTreeSet<Txid> {
        let blocks = self.chain.range(self.anchor..).filter_map(|(_, hash)| node.chain.block(*hash));
        blocks.flat_map(|block| block.txids.iter().skip(1).copied()).collect()
    }

    /// Nothing is lost but what the node refused, what a block conflicts with, and what descends from those.
    fn transactions_lost(&mut self, changes: &Changes, node: &Node, now: u64) -> Result<()> {
        let mut lost: BTreeSet<Txid> = BTreeSet::new();
        for (txid, record) in &changes.transactions {
            if record.as_ref().is_some_and(|record| record.place == Place::Lost && !record.coinbase) {
                lost.insert(*txid);
            }
        }
        for txid in &lost {
            let tx = node.truth.transactions.get(txid);
            let inputs = || tx.iter().flat_map(|tx| &tx.input).map(|input| input.previous_output);
            let refused = self.refused.get(txid) > self.shown.get(txid);
            let taken = inputs().any(|outpoint| {
                let spenders = node.truth.mined_spends.get(&outpoint);
                spenders.is_some_and(|spenders| spenders.iter().any(|spender| spender != txid))
            });
            let orphaned = inputs()
                .any(|outpoint| lost.contains(&outpoint.txid) || self.lost.contains_key(&outpoint.txid));
            ensure!(
                refused || taken || orphaned || tx.is_none(),
                "{txid} is lost, and the node did not refuse it"
            );
        }
        for txid in lost {
            self.lost.insert(txid, now);
        }
        Ok(())
    }

    fn credits_written(
        &mut self,
        changes: &Changes,
        node: &Node,
        now: u64,
        life: u32,
        single: bool,
    ) -> Result<()> {
        let fresh: BTreeSet<Txid> = changes
            .credits
            .keys()
            .filter(|outpoint| !self.credits.contains_key(outpoint))
            .map(|outpoint| outpoint.txid)
            .collect();
        for (outpoint, credit) in &changes.credits {
            let credit = credit.as_ref().with_context(|| format!("the credit of {outpoint} was deleted"))?;
            let before = self.credits.get(outpoint);
            let moved = self.assigned.contains(outpoint);
            match before {
                Some(before) => ensure!(
                    moved || (before.invoice, before.output) == (credit.invoice, credit.output),
                    "the credit of {outpoint} moved from {} to {}",
                    before.invoice,
                    credit.invoice
                ),
                None => {
                    if !moved {
                        self.is_legal(credit, node)?;
                        self.is_its_own(credit)?;
                    }
                    ensure!(
                        moved || !self.is_older(credit.invoice, &outpoint.txid, life, node),
                        "{} is older than {}, and was credited to it",
                        outpoint.txid,
                        credit.invoice
                    );
                    ensure!(
                        moved || !self.is_much_older(credit, changes, node),
                        "{} came more than 3 s before {}, and was credited to it",
                        outpoint.txid,
                        credit.invoice
                    );
                    if single && !moved && fresh.len() == 1 && changes.credits.len() == 1 {
                        self.is_first_that_fits(credit, node)?;
                    }
                }
            }
            let was = before.map(|before| before.state);
            if single {
                self.is_held_rightly(credit, was, node)?;
            }
            match credit.state {
                CreditState::Held | CreditState::Mempool
                    if !matches!(
                        was,
                        Some(CreditState::Held | CreditState::Mempool | CreditState::Confirmed { .. })
                    ) =>
                {
                    let shown = self.shown.get(&outpoint.txid);
                    ensure!(
                        shown.is_some() && shown >= self.lost.get(&outpoint.txid).filter(|at| **at < now),
                        "{} counts, and the node did not show it",
                        outpoint.txid
                    );
                }
                CreditState::Confirmed { hash, .. } => {
                    let block = node.chain.block(hash);
                    ensure!(
                        block.is_some_and(|block| block.txids.contains(&outpoint.txid)),
                        "{} is not in the block {hash}",
                        outpoint.txid
                    );
                }
                CreditState::Held | CreditState::Mempool | CreditState::Seen | CreditState::Lost => {}
            }
            self.credits.insert(*outpoint, credit.clone());
        }
        Ok(())
    }

    /// What an invoice holds back does not count before it is safe enough, unless it counted before.
    fn is_held_rightly(&self, credit: &Credit, was: Option<CreditState>, node: &Node) -> Result<()> {
        let asked = self.invoices.get(&credit.invoice).and_then(|booked| booked.invoice.zero_conf);
        match (credit.state, asked) {
            (CreditState::Held, None) => bail!("{} is held for nothing", credit.outpoint),
            (CreditState::Mempool, Some(asked))
                if matches!(was, None | Some(CreditState::Seen | CreditState::Held)) =>
            {
                let score = credit.risk.score.map_or(0, |score| score.thousandths());
                ensure!(
                    credit.risk.double_spend == DoubleSpend::None && score >= asked.min_score.thousandths(),
                    "{} counts with the score {score} and {:?}",
                    credit.outpoint,
                    credit.risk.double_spend
                );
                // The daemon cannot watch a transaction for proofs before it arrives, or while it is lost.
                let txid = credit.outpoint.txid;
                let arrived = node.truth.arrived.get(&txid).map(|(at, _)| *at);
                let since = arrived.max(self.lost.get(&txid).copied()).unwrap_or_default();
                let wait = u64::try_from(asked.wait.as_millis())?;
                ensure!(
                    wait == 0 || self.proofs_shown.is_some_and(|at| at >= since + wait),
                    "{} counts after {wait} ms since {since}, and the proofs were last shown at {:?}",
                    credit.outpoint,
                    self.proofs_shown
                );
            }
            _ => {}
        }
        Ok(())
    }
}

/// Which of these credits count, and which are held.
pub(crate) fn there<'c>(credits: impl IntoIterator<Item = &'c Credit>) -> BTreeMap<OutPoint, bool> {
    let credits = credits.into_iter().filter(|credit| credit.state.is_there());
    credits.map(|credit| (credit.outpoint, credit.state == CreditState::Held)).collect()
}
