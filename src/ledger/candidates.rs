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

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
};

use super::{
    ReadError, View,
    scribe::Scribe,
    tables::{Ask, ClaimState, Ever, Exact, InvoiceRecord, Live, Window},
};
use crate::{
    bch::{Category, Output, Token, Transaction},
    invoice::{FirstSeen, InvoiceId, Order, OutputStanding, Phase, Via, assign_exactly},
};

/// How many of the invoices that ask for exactly one output are looked at for one whose whole set fits. They are
/// looked at from the oldest on; beyond this many, all asking for the same, attribution is a guess anyway.
const MOST_CANDIDATES: usize = 1000;

/// How many are read at first, and four times as many each time after. Two are enough where each asks for one
/// output.
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
        let mut reached = Reached::default();
        for (vout, target) in &found {
            if let (Some(record), Some(output)) =
                (self.invoice(&target.invoice)?, tx.outputs().get(*vout as usize))
            {
                self.reach(&mut reached, &record, target.output, output)?;
            }
        }
        for window in [Window::Open, Window::Late] {
            self.whole_sets(window, seen, free, &mut found, &mut reached)?;
            self.exact_outputs(window, seen, free, &mut found, &mut reached)?;
        }
        let left: Vec<u32> = free.keys().copied().collect();
        for vout in left {
            if let Some(output) = free.get(&vout)
                && let Some(record) = self.only_one(output, seen)?
            {
                let number = self.first_of_kind(&mut reached, &record, output)?;
                self.reach(&mut reached, &record, number, output)?;
                free.remove(&vout);
                found.insert(vout, target_of(&record, number, false, seen));
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
        let mut claims = self.claims_on(tx.txid())?;
        // What is claimed comes before what was, and of those the last word counts.
        claims.sort_by_key(|(_, claim)| (claim.state != ClaimState::Open, Reverse(claim.claimed)));
        for (invoice, claim) in claims {
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
        reached: &mut Reached,
    ) -> Result<(), ReadError> {
        // An invoice is paid as a whole once, and one that did not fit does not fit when less is left.
        let mut out = BTreeSet::new();
        let outputs: Vec<u32> = free.keys().copied().collect();
        for vout in outputs {
            let Some(output) = free.get(&vout) else { continue };
            let fits = |record: &InvoiceRecord, _: u16| {
                let outputs = free.iter().map(|(vout, output)| (*vout, *output));
                Ok(assign_exactly(&record.invoice.outputs, outputs).ok())
            };
            let Some((record, _, assignment, ambiguous)) =
                self.oldest(window, output, seen, &mut out, fits)?
            else {
                continue;
            };
            for (number, vout) in (0u16..).zip(assignment) {
                out.insert((record.invoice.id, number));
                if let Some(output) = free.remove(&vout) {
                    self.reach(reached, &record, number, output)?;
                    found.insert(vout, target_of(&record, number, ambiguous, seen));
                }
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
        reached: &mut Reached,
    ) -> Result<(), ReadError> {
        // What is satisfied stays so while this transaction is looked at.
        let mut out = BTreeSet::new();
        let outputs: Vec<u32> = free.keys().copied().collect();
        for vout in outputs {
            let Some(output) = free.get(&vout).copied() else { continue };
            let fits = |record: &InvoiceRecord, number: u16| {
                Ok((!self.is_satisfied(reached, record, number)?).then_some(()))
            };
            if let Some((record, number, (), ambiguous)) =
                self.oldest(window, output, seen, &mut out, fits)?
            {
                self.reach(reached, &record, number, output)?;
                free.remove(&vout);
                found.insert(vout, target_of(&record, number, ambiguous, seen));
            }
        }
        Ok(())
    }

    /// The oldest invoice of a window that asks for exactly this output and fits, and whether another one does.
    /// Those in `out` are not asked again; those that do not fit are added to it.
    fn oldest<F>(
        &self,
        window: Window,
        output: &Output,
        seen: &FirstSeen,
        out: &mut BTreeSet<(InvoiceId, u16)>,
        mut fits: impl FnMut(&InvoiceRecord, u16) -> Result<Option<F>, ReadError>,
    ) -> Result<Option<(InvoiceRecord, u16, F, bool)>, ReadError> {
        let ask = Ask::exactly(&output.script_hash, output.satoshis, output.token.as_ref());
        let last = (window, ask, Order(u64::MAX), u16::MAX);
        let mut from = (window, ask, Order(0), 0);
        let mut best: Option<(InvoiceRecord, u16, F)> = None;
        let (mut size, mut looked_at) = (PAGE, 0);
        while looked_at < MOST_CANDIDATES {
            let page = self.range::<Exact>(from..=last, size)?;
            let whole = page.len() == size;
            (size, looked_at) = (size.saturating_mul(4), looked_at.saturating_add(size));
            let Some((end, _)) = page.last() else { break };
            from = (end.0, end.1, end.2, end.3.saturating_add(1));
            for ((_, _, _, number), id) in page {
                if out.contains(&(id, number))
                    || best.as_ref().is_some_and(|(record, ..)| record.invoice.id == id)
                {
                    continue;
                }
                let Some(record) = self.invoice(&id)? else { continue };
                let fit = if seen.is_after(&record.invoice) { fits(&record, number)? } else { None };
                match (fit, best.take()) {
                    (Some(fit), None) => best = Some((record, number, fit)),
                    (Some(_), Some((record, number, fit))) => {
                        return Ok(Some((record, number, fit, true)));
                    }
                    (None, before) => {
                        out.insert((id, number));
                        best = before;
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
    fn only_one(&self, output: &Output, seen: &FirstSeen) -> Result<Option<InvoiceRecord>, ReadError> {
        let kind = Ask::of_kind(&output.script_hash, output.token.as_ref());
        let keys = (kind, Order(0), 0)..=(kind, Order(u64::MAX), u16::MAX);
        /// More entries than one invoice can have of one kind.
        const ENOUGH: usize = 256;
        let live = self.range::<Live>(keys.clone(), ENOUGH)?;
        let mut candidates = self.distinct(live.into_iter().map(|(_, id)| id), seen)?;
        if candidates.is_empty() {
            let ever = self.range::<Ever>(keys, ENOUGH)?;
            candidates = self.distinct(ever.into_iter().map(|(_, id)| id), seen)?;
        }
        let only = candidates.pop();
        Ok(if candidates.is_empty() { only } else { None })
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
    fn first_of_kind(
        &self,
        reached: &mut Reached,
        record: &InvoiceRecord,
        output: &Output,
    ) -> Result<u16, ReadError> {
        let mut first = None;
        for (number, required) in (0u16..).zip(&record.invoice.outputs) {
            if required.script == output.script
                && category(required.token.as_ref()) == category(output.token.as_ref())
            {
                if !self.is_satisfied(reached, record, number)? {
                    return Ok(number);
                }
                first.get_or_insert(number);
            }
        }
        Ok(first.unwrap_or_default())
    }

    fn is_satisfied(
        &self,
        reached: &mut Reached,
        record: &InvoiceRecord,
        number: u16,
    ) -> Result<bool, ReadError> {
        let outputs = self.standing_of(reached, record)?;
        Ok(outputs.get(usize::from(number)).is_some_and(|output| output.satisfied))
    }

    /// Notes that an output of the transaction goes to a required one: the next looks at what is left.
    fn reach(
        &self,
        reached: &mut Reached,
        record: &InvoiceRecord,
        number: u16,
        output: &Output,
    ) -> Result<(), ReadError> {
        let outputs = self.standing_of(reached, record)?;
        let number = usize::from(number);
        if let (Some(standing), Some(required)) =
            (outputs.get_mut(number), record.invoice.outputs.get(number))
        {
            standing.count(required, output.satoshis, output.token.as_ref());
        }
        Ok(())
    }

    /// The standing of each required output, with what is held, and with those outputs of the transaction that found their
    /// place.
    fn standing_of<'r>(
        &self,
        reached: &'r mut Reached,
        record: &InvoiceRecord,
    ) -> Result<&'r mut Vec<OutputStanding>, ReadError> {
        Ok(match reached.entry(record.invoice.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(self.paid(record)?.with_held),
        })
    }
}

/// What the invoices that a transaction could pay would have with those of its outputs that found their place.
type Reached = BTreeMap<InvoiceId, Vec<OutputStanding>>;

/// The kind of a token.
pub(super) fn category(token: Option<&Token>) -> Option<Category> {
    token.map(|token| token.category)
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
