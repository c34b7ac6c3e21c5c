//! Which invoice an output pays: the rows of the matching rules, first that fits.
//!
//! | row | who |
//! | --- | --- |
//! | 0 | the required output for which this outpoint is, or was, claimed |
//! | 1 | an open invoice whose whole set of required outputs this transaction pays exactly |
//! | 2 | an open invoice that asks for exactly this output |
//! | 3, 4 | the same two among the late ones |
//! | 5 | the only live invoice that asks for this script and kind of token; if none is live, the only one that ever did |
//! | 6 | nobody: the payment stays unassigned |
//!
//! Ties go to the oldest registration and are marked.

use std::collections::BTreeMap;

use super::{
    ReadError, View,
    scribe::Scribe,
    tables::{Ask, ClaimState, Claims, Ever, Exact, InvoiceRecord, Live, Window},
};
use crate::{
    bch::{Output, Transaction},
    invoice::{FirstSeen, InvoiceId, Level, Order, Phase, Standing, Via, assign_exactly},
};

/// How many of the invoices that ask for exactly one output are looked at for one whose whole set fits. They are
/// looked at from the oldest on; beyond this many, all asking for the same, attribution is a guess anyway.
const MOST_CANDIDATES: usize = 1000;

/// How many are read at a time. Two are enough where each asks for one output.
const PAGE: usize = 4;

/// The invoice that an output pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) invoice: InvoiceId,
    pub(super) output: u16,
    pub(super) late: bool,
    pub(super) ambiguous: bool,
    /// How it was submitted, if it was.
    pub(super) via: Option<Via>,
}

/// Outputs of a transaction that still look for their invoice, by their number.
pub(super) type Free<'t> = BTreeMap<u32, &'t Output>;

impl<V: View> Scribe<'_, V> {
    /// Finds the invoice of each free output; those that nobody asked for stay in `free`.
    pub(super) fn find_targets(
        &self,
        tx: &Transaction,
        seen: &FirstSeen,
        free: &mut Free<'_>,
    ) -> Result<BTreeMap<u32, Target>, ReadError> {
        let mut found = self.claimed(tx, free)?;
        for window in [Window::Open, Window::Late] {
            self.whole_sets(window, seen, free, &mut found)?;
            self.exact_outputs(window, seen, free, &mut found)?;
        }
        let left: Vec<u32> = free.keys().copied().collect();
        for vout in left {
            if let Some(output) = free.get(&vout)
                && let Some(target) = self.only_one(output, seen)?
            {
                free.remove(&vout);
                found.insert(vout, target);
            }
        }
        Ok(found)
    }

    /// Row 0. A claim in time is never late, whenever its transaction is seen.
    pub(super) fn claimed(
        &self,
        tx: &Transaction,
        free: &mut Free<'_>,
    ) -> Result<BTreeMap<u32, Target>, ReadError> {
        let mut found = BTreeMap::new();
        let keys =
            (tx.txid(), InvoiceId::from_bytes([0; 16]))..=(tx.txid(), InvoiceId::from_bytes([0xff; 16]));
        for ((_, invoice), claim) in self.range::<Claims>(keys, usize::MAX)? {
            if claim.state == ClaimState::Released {
                continue;
            }
            for (vout, output) in claim.assignment {
                if free.remove(&vout).is_some() {
                    let target =
                        Target { invoice, output, late: false, ambiguous: false, via: Some(claim.via) };
                    found.insert(vout, target);
                }
            }
        }
        Ok(found)
    }

    /// Rows 1 and 3.
    fn whole_sets(
        &self,
        window: Window,
        seen: &FirstSeen,
        free: &mut Free<'_>,
        found: &mut BTreeMap<u32, Target>,
    ) -> Result<(), ReadError> {
        let outputs: Vec<u32> = free.keys().copied().collect();
        for vout in outputs {
            let Some(output) = free.get(&vout) else { continue };
            let fits = |record: &InvoiceRecord, _: u16| {
                let outputs = free.iter().map(|(vout, output)| (*vout, *output));
                Ok(assign_exactly(&record.invoice.outputs, outputs).ok())
            };
            let Some((record, _, assignment, ambiguous)) = self.oldest(window, output, seen, fits)? else {
                continue;
            };
            for (number, vout) in (0u16..).zip(assignment) {
                free.remove(&vout);
                found.insert(vout, target_of(&record, number, ambiguous, seen));
            }
        }
        Ok(())
    }

    /// Rows 2 and 4.
    fn exact_outputs(
        &self,
        window: Window,
        seen: &FirstSeen,
        free: &mut Free<'_>,
        found: &mut BTreeMap<u32, Target>,
    ) -> Result<(), ReadError> {
        let outputs: Vec<u32> = free.keys().copied().collect();
        for vout in outputs {
            let Some(output) = free.get(&vout) else { continue };
            let fits = |record: &InvoiceRecord, number: u16| {
                let paid_here = found
                    .values()
                    .any(|target| target.invoice == record.invoice.id && target.output == number);
                Ok((!paid_here && !self.is_satisfied(record, number)?).then_some(()))
            };
            if let Some((record, number, (), ambiguous)) = self.oldest(window, output, seen, fits)? {
                free.remove(&vout);
                found.insert(vout, target_of(&record, number, ambiguous, seen));
            }
        }
        Ok(())
    }

    /// The oldest invoice of a window that asks for exactly this output and fits, and whether another one does.
    fn oldest<F>(
        &self,
        window: Window,
        output: &Output,
        seen: &FirstSeen,
        mut fits: impl FnMut(&InvoiceRecord, u16) -> Result<Option<F>, ReadError>,
    ) -> Result<Option<(InvoiceRecord, u16, F, bool)>, ReadError> {
        let ask = Ask::exactly(&output.script_hash, output.satoshis, output.token.as_ref());
        let last = (window, ask, Order(u64::MAX), u16::MAX);
        let mut from = (window, ask, Order(0), 0);
        let mut best: Option<(InvoiceRecord, u16, F)> = None;
        for _ in 0..MOST_CANDIDATES / PAGE {
            let page = self.range::<Exact>(from..=last, PAGE)?;
            let whole = page.len() == PAGE;
            let Some((end, _)) = page.last() else { break };
            from = (end.0, end.1, end.2, end.3.saturating_add(1));
            for ((_, _, _, number), id) in page {
                if best.as_ref().is_some_and(|(record, ..)| record.invoice.id == id) {
                    continue;
                }
                let Some(record) = self.invoice(&id)? else { continue };
                if !seen.is_after(&record.invoice) {
                    continue;
                }
                if let Some(fit) = fits(&record, number)? {
                    match best {
                        None => best = Some((record, number, fit)),
                        Some((record, number, fit)) => return Ok(Some((record, number, fit, true))),
                    }
                }
            }
            if !whole {
                break;
            }
        }
        Ok(best.map(|(record, number, fit)| (record, number, fit, false)))
    }

    /// Row 5.
    fn only_one(&self, output: &Output, seen: &FirstSeen) -> Result<Option<Target>, ReadError> {
        let kind = Ask::of_kind(&output.script_hash, output.token.as_ref());
        let keys = (kind, Order(0), 0)..=(kind, Order(u64::MAX), u16::MAX);
        /// More entries than one invoice can have of one kind.
        const ENOUGH: usize = 256;
        let live = self.range::<Live>(keys.clone(), ENOUGH)?;
        let live = self.distinct(live.into_iter().map(|(_, id)| id), seen)?;
        let record = match live.as_slice() {
            [record] => record,
            [] => {
                let ever = self.range::<Ever>(keys, ENOUGH)?;
                let mut ids: Vec<InvoiceId> = ever.into_iter().map(|(_, id)| id).collect();
                ids.dedup();
                let [id] = ids[..] else { return Ok(None) };
                let only = self.distinct([id], seen)?;
                let Some(record) = only.first() else { return Ok(None) };
                return self.target_in(record, output, seen).map(Some);
            }
            _ => return Ok(None),
        };
        self.target_in(record, output, seen).map(Some)
    }

    /// Up to two distinct invoices that a transaction is not older than.
    fn distinct(
        &self,
        ids: impl IntoIterator<Item = InvoiceId>,
        seen: &FirstSeen,
    ) -> Result<Vec<InvoiceRecord>, ReadError> {
        let mut records: Vec<InvoiceRecord> = Vec::new();
        for id in ids {
            if records.iter().any(|record| record.invoice.id == id) {
                continue;
            }
            if let Some(record) = self.invoice(&id)?
                && seen.is_after(&record.invoice)
            {
                records.push(record);
                if records.len() == 2 {
                    break;
                }
            }
        }
        Ok(records)
    }

    /// Which required output of an invoice an output goes to: the first of its kind that is not satisfied, or the
    /// first of its kind.
    fn target_in(
        &self,
        record: &InvoiceRecord,
        output: &Output,
        seen: &FirstSeen,
    ) -> Result<Target, ReadError> {
        let category = |token: &Option<crate::bch::Token>| token.as_ref().map(|token| token.category);
        let mut of_kind = (0u16..).zip(&record.invoice.outputs).filter(|(_, required)| {
            required.script == output.script && category(&required.token) == category(&output.token)
        });
        let first = of_kind.clone().next().map_or(0, |(number, _)| number);
        let unsatisfied = of_kind.try_fold(None, |none: Option<u16>, (number, _)| match none {
            None => Ok::<_, ReadError>((!self.is_satisfied(record, number)?).then_some(number)),
            found => Ok(found),
        })?;
        Ok(target_of(record, unsatisfied.unwrap_or(first), false, seen))
    }

    fn is_satisfied(&self, record: &InvoiceRecord, number: u16) -> Result<bool, ReadError> {
        if record.state.level != Level::Unpaid {
            return Ok(true);
        }
        let credits = self.credits_of(record.invoice.id)?;
        let standing = Standing::of(&record.invoice, record.state.phase, &credits, self.tip_height());
        Ok(standing.outputs.get(usize::from(number)).is_some_and(|output| output.satisfied))
    }
}

/// A target by observation: late if the transaction was first seen after the expiry, or the invoice is withdrawn.
pub(super) fn target_of(record: &InvoiceRecord, output: u16, ambiguous: bool, seen: &FirstSeen) -> Target {
    let cancelled = matches!(record.state.phase, Phase::Cancelled { .. });
    Target {
        invoice: record.invoice.id,
        output,
        late: cancelled || seen.at > record.invoice.expires,
        ambiguous,
        via: None,
    }
}
