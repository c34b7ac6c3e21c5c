//! The last judgement: the node has been quiet, and everything must be as it should be.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bitcoincash::{OutPoint, Txid, hashes::Hash as _};
use jppd::{
    invoice::{CreditState, DoubleSpend, InvoiceId, Level, Phase, Status, Via},
    ledger::{
        self, EventKind, Reads, View,
        tables::{ClaimState, Claims, Counters, Credits, Events, Meta, Transactions, Unassigned},
    },
};

use crate::{
    network::Node,
    oracle::{Booked, Oracle, there},
    world::{Tally, wall_at},
};

/// For how long a payment can be held although its wait is over: until the pass that follows it.
const PATIENCE: Duration = Duration::from_secs(8);

/// By then an expiry must have been judged, in milliseconds.
const PROMPT: u64 = 5_000;

impl Oracle {
    /// Judges what everything came to.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(crate) fn judge<V: View>(&self, node: &Node, view: &V, life: u32, tally: &mut Tally) -> Result<()> {
        let meta = Reads::<Counters>::get(view, &())?.unwrap_or_default();
        let (hash, height) = node.chain.tip();
        ensure!(
            meta.tip == Some((height, hash)),
            "the tip is {:?}, and the node's is {height} {hash}",
            meta.tip
        );
        ensure!(self.under_way.is_empty(), "submissions were never answered: {:?}", self.under_way);
        self.log_is_whole(view, meta.seq)?;
        self.credits_are_right(node, view)?;
        self.payments_are_credited(node, view, tally)?;
        for (id, booked) in &self.invoices {
            self.invoice_is_right(*id, booked, node, view, &meta).with_context(|| format!("invoice {id}"))?;
        }
        self.successes_hold(node)?;
        tally.add("lives", u64::from(life));
        Ok(())
    }

    /// The log has every number, and what left is in it.
    fn log_is_whole<V: View>(&self, view: &V, seq: u64) -> Result<()> {
        let log = Reads::<Events>::range(view, 0..=u64::MAX, usize::MAX)?;
        ensure!(log.iter().map(|(seq, _)| *seq).eq(1..=seq), "the log has a gap");
        for (_, event) in &log {
            if let Some(left) = self.left.get(&event.seq) {
                ensure!(left == event, "event {} left as another one", event.seq);
            }
        }
        let beyond = self.left.keys().find(|left| **left > seq);
        ensure!(beyond.is_none(), "event {beyond:?} left and is not in the log");
        Ok(())
    }

    /// Each credit says where its transaction is.
    fn credits_are_right<V: View>(&self, node: &Node, view: &V) -> Result<()> {
        let all = Reads::<Credits>::range(view, first()..=last(), usize::MAX)?;
        ensure!(
            all.len() == self.credits.len(),
            "{} credits, and {} on the books",
            all.len(),
            self.credits.len()
        );
        for (outpoint, credit) in all {
            ensure!(
                self.credits.get(&outpoint) == Some(&credit),
                "the credit of {outpoint} is not as it was written"
            );
            let state = place(node, outpoint.txid);
            let right = match (credit.state, state) {
                (CreditState::Lost | CreditState::Seen, None) => true,
                // It waits for a score that it does not get, or for a proof to be outlived by a block.
                (CreditState::Held, Some(CreditState::Mempool)) => {
                    let asked =
                        self.invoices.get(&credit.invoice).and_then(|booked| booked.invoice.zero_conf);
                    let meta = Reads::<Counters>::get(view, &())?.unwrap_or_default();
                    asked.is_some_and(|asked| !asked.is_met_by(&credit, meta.now.before(PATIENCE)))
                }
                (state, Some(place)) => state == place,
                (CreditState::Held | CreditState::Mempool | CreditState::Confirmed { .. }, None) => false,
            };
            let attacked = state == Some(CreditState::Mempool) && node.chain.dsproof(outpoint.txid).is_some();
            ensure!(
                !attacked || credit.risk.double_spend != DoubleSpend::None,
                "there is a double spend proof for {outpoint}, and nothing speaks against it"
            );
            ensure!(right, "the credit of {outpoint} is {:?}, and the node has it {state:?}", credit.state);
        }
        Ok(())
    }

    /// What the node has, and somebody asked for in time, is credited: to the one that asked, if there is but one.
    fn payments_are_credited<V: View>(&self, node: &Node, view: &V, tally: &mut Tally) -> Result<()> {
        for (txid, tx) in &node.truth.transactions {
            if tx.is_coinbase() || !node.has(*txid) {
                continue;
            }
            for (vout, output) in (0u32..).zip(&tx.output) {
                let outpoint = OutPoint { txid: *txid, vout };
                let category = output
                    .token
                    .as_ref()
                    .map(|token| jppd::bch::Category::from_wire(token.id.to_byte_array()));
                let Some(askers) = self.askers.get(&(output.script_pubkey.clone(), category)) else {
                    continue;
                };
                let younger = |id: &&InvoiceId| self.is_younger(**id, txid, node);
                let credit = self.credits.get(&outpoint);
                let unassigned = Reads::<Unassigned>::get(view, &outpoint)?;
                ensure!(
                    !(credit.is_some() && unassigned.is_some()),
                    "{outpoint} is credited, and left unassigned"
                );
                if askers.iter().find(younger).is_some() {
                    tally.count("outputs that must count");
                    ensure!(
                        credit.is_some() || unassigned.is_some(),
                        "{outpoint} came after {askers:?}, and nobody has it"
                    );
                    if let [only] = askers.as_slice() {
                        ensure!(
                            self.assigned.contains(&outpoint)
                                || self.owned.contains(&output.script_pubkey) && self.is_anyones(only)
                                || !self.is_surely_younger(*only, txid, node)
                                || credit.is_some_and(|credit| credit.invoice == *only),
                            "{outpoint} can only pay {only}, and {credit:?} has it"
                        );
                    }
                } else if credit.is_none() {
                    tally.count("outputs that did not count");
                } else {
                    tally.count("outputs that might count and did");
                }
            }
        }
        Ok(())
    }

    fn is_anyones(&self, id: &InvoiceId) -> bool {
        self.invoices.get(id).is_some_and(|booked| booked.invoice.merchant.is_anyone())
    }

    /// Status, sums and `late` follow from the credits that count, and the events tell of nothing else.
    fn invoice_is_right<V: View>(
        &self,
        id: InvoiceId,
        booked: &Booked,
        node: &Node,
        view: &V,
        meta: &Meta,
    ) -> Result<()> {
        let now = meta.now.millis();
        let statement = ledger::statement(view, id)?.context("it is not on disk")?;
        ensure!(statement.state == booked.state, "its state is not as it was written");
        let standing = statement.standing();
        let outputs = &booked.invoice.outputs;
        let mut live: Vec<_> =
            self.credits.values().filter(|credit| credit.invoice == id && credit.state.is_live()).collect();
        live.sort_by_key(|credit| credit.ordinal);
        // Sums.
        let credited = |number: u16| -> u64 {
            live.iter().filter(|credit| credit.output == number).map(|credit| credit.satoshis).sum()
        };
        let (mut paid, mut over, mut under) = (0, 0, 0);
        for (number, output) in (0u16..).zip(outputs) {
            let credited = credited(number);
            paid += credited;
            over += credited.saturating_sub(output.satoshis);
            under += output.satoshis.saturating_sub(credited);
        }
        ensure!(
            (standing.amount_paid, standing.overpaid, standing.underpaid) == (paid, over, under),
            "{} paid, {} over, {} under; it should be {paid}, {over}, {under}",
            standing.amount_paid,
            standing.overpaid,
            standing.underpaid
        );
        // Status.
        let satisfied =
            (0u16..).zip(outputs).all(|(number, _)| self.is_satisfied(booked, number, CreditState::is_live));
        let required = u32::from(booked.invoice.confirmations_required);
        let (_, tip) = node.chain.tip();
        let confirmations = |txid: Txid| match place(node, txid) {
            Some(CreditState::Confirmed { height, .. }) => tip + 1 - height,
            _ => 0,
        };
        let settling = settling(outputs.len(), &live, booked);
        let least = settling.iter().map(|credit| confirmations(credit.outpoint.txid)).min().unwrap_or(0);
        let status = match (booked.state.phase, satisfied) {
            (Phase::Cancelled { .. }, _) => Status::Cancelled,
            (_, true) if least >= required => Status::Confirmed,
            (_, true) => Status::Paid,
            (Phase::Open, false) => Status::Pending,
            (Phase::Expired { .. }, false) => Status::Expired,
        };
        ensure!(standing.status == status, "it is {:?}, and should be {status:?}", standing.status);
        ensure!(
            satisfied
                || booked.state.level == Level::Held
                || booked.state.phase != Phase::Open
                || booked.invoice.deadline.millis() + PROMPT > now
                || meta.wall.is_none_or(|wall| booked.invoice.expires.millis() + PROMPT > wall.millis()),
            "its time passed at {:?}, it is {now}, and it has not expired",
            booked.invoice.deadline
        );
        // Late.
        for credit in self.credits.values().filter(|credit| credit.invoice == id) {
            let by_observation = matches!(credit.via, Via::Mempool | Via::Block);
            if self.assigned.contains(&credit.outpoint) || !by_observation {
                continue;
            }
            let record = Reads::<Transactions>::get(view, &credit.outpoint.txid)?;
            let seen = record.and_then(|record| record.first_seen).context("a first sighting")?;
            let after = seen.at > booked.invoice.deadline;
            let withdrawn = matches!(booked.state.phase, Phase::Cancelled { .. });
            // A wall clock that was set back holds an invoice open.
            ensure!(
                credit.late == after || (credit.late && withdrawn) || (after && self.clock_jumped),
                "the credit of {} is late: {}, and it was first seen at {}",
                credit.outpoint,
                credit.late,
                credit.first_seen
            );
            let arrived = node.truth.arrived.get(&credit.outpoint.txid);
            ensure!(
                self.clock_jumped
                    || !node.truth.clock_sets.is_empty()
                    || self.submitted.contains_key(&credit.outpoint.txid)
                    || arrived.is_none_or(|(at, _)| credit.first_seen >= wall_at(at.saturating_sub(2_000))),
                "{} was first seen at {}, before it was there",
                credit.outpoint,
                credit.first_seen
            );
        }
        // Claims.
        let keys = |byte: u8| (Txid::from_byte_array([byte; 32]), InvoiceId::from_bytes([byte; 16]));
        let claims = Reads::<Claims>::range(view, keys(0)..=keys(0xff), usize::MAX)?;
        let open =
            claims.iter().filter(|((_, of), claim)| *of == id && claim.state == ClaimState::Open).count();
        ensure!(
            open == booked.state.open_claims as usize,
            "{open} open claims, and it counts {}",
            booked.state.open_claims
        );
        self.events_are_right(booked, satisfied)
    }

    /// Becoming paid is told once, and not being paid any more as well.
    fn events_are_right(&self, booked: &Booked, satisfied: bool) -> Result<()> {
        let mut level = Level::Unpaid;
        for (number, (_, kind, after)) in booked.events.iter().enumerate() {
            let before = std::mem::replace(&mut level, *after);
            let (was, is) = (before >= Level::Paid, *after >= Level::Paid);
            let right = match kind {
                EventKind::InvoiceCreated => number == 0 && !is,
                EventKind::PaymentReceived => !was && is,
                EventKind::PaymentReverted => before > *after,
                EventKind::PartialPayment => !was && !is,
                EventKind::PaymentHeld => was == is,
                EventKind::PaymentRecorded => is || !was,
                EventKind::PaymentLost => was == is,
                EventKind::Confirmation => was && is,
                EventKind::PaymentConfirmed => *after == Level::Confirmed,
                EventKind::InvoiceExpired | EventKind::InvoiceCancelled => !was && !is,
                EventKind::DoubleSpendDetected | EventKind::PaymentMoved => true,
                EventKind::PaymentUnassigned => false,
            };
            // A double spend is told before what becomes of it; the statement has what becomes of it already.
            if matches!(kind, EventKind::DoubleSpendDetected | EventKind::PaymentMoved) {
                level = before;
                continue;
            }
            ensure!(right, "event {} is {}, from {before:?} to {after:?}", number + 1, kind.name());
        }
        let there = self.there(booked.invoice.id);
        ensure!(
            booked.told_there == there,
            "what is there of it is {there:?}, and the last that was told is {:?}",
            booked.told_there
        );
        let expired = booked.events.iter().filter(|(_, kind, _)| *kind == EventKind::InvoiceExpired).count();
        ensure!(expired <= 1, "it expired {expired} times");
        ensure!((level >= Level::Paid) == satisfied, "its last event left it {level:?}");
        Ok(())
    }

    /// What counts of an invoice's credits, and what is held.
    fn there(&self, id: InvoiceId) -> BTreeMap<OutPoint, bool> {
        there(self.credits.values().filter(|credit| credit.invoice == id))
    }

    /// Whoever was told of a success was told the truth, or it was taken back with an event.
    fn successes_hold(&self, node: &Node) -> Result<()> {
        for success in &self.successes {
            let booked = self.invoices.get(&success.invoice).context("a success for no invoice")?;
            let holds =
                success.txids.iter().any(|txid| self.live_credit(success.invoice, txid) && node.has(*txid));
            let paid = (0u16..)
                .zip(&booked.invoice.outputs)
                .all(|(number, _)| self.is_satisfied(booked, number, CreditState::is_live));
            let reverted = booked
                .events
                .iter()
                .any(|(seq, kind, _)| *kind == EventKind::PaymentReverted && *seq > success.seq);
            ensure!(
                holds || paid || reverted,
                "a payer of {} was told of a success, and nobody was told that it is gone",
                success.invoice
            );
        }
        Ok(())
    }
}

/// The credits that settle an invoice: the live ones in the order of crediting, until nothing is missing.
fn settling<'c>(
    outputs: usize,
    live: &[&'c jppd::invoice::Credit],
    booked: &Booked,
) -> Vec<&'c jppd::invoice::Credit> {
    let mut sums = vec![0u64; outputs];
    let mut met = vec![false; outputs];
    let mut settling = Vec::new();
    for credit in live {
        if met.iter().all(|met| *met) {
            break;
        }
        settling.push(*credit);
        let number = usize::from(credit.output);
        let (Some(sum), Some(met), Some(required)) =
            (sums.get_mut(number), met.get_mut(number), booked.invoice.outputs.get(number))
        else {
            continue;
        };
        *sum += credit.satoshis;
        *met |= match &required.token {
            None => *sum >= required.satoshis,
            Some(asked) => {
                credit.satoshis >= required.satoshis
                    && credit.token.as_ref().is_some_and(|token| token.amount >= asked.amount)
            }
        };
    }
    settling
}

/// Where the node has a transaction.
fn place(node: &Node, txid: Txid) -> Option<CreditState> {
    if node.chain.mempool_entry(txid).is_some() {
        return Some(CreditState::Mempool);
    }
    let (hash, _) = node.chain.confirmed(txid)?;
    let height = node.chain.block(hash)?.height;
    Some(CreditState::Confirmed { height, hash })
}

pub(crate) fn first() -> OutPoint {
    OutPoint { txid: Txid::from_byte_array([0; 32]), vout: 0 }
}

pub(crate) fn last() -> OutPoint {
    OutPoint { txid: Txid::from_byte_array([0xff; 32]), vout: u32::MAX }
}
