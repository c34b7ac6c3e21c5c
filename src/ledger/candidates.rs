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
//!
//! A script that changed its owner is in a new era: rows 1 to 6 are for what was registered since then, and what was before
//! is paid by its own claims.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    time::Duration,
};

use super::{
    ReadError, View,
    scribe::Scribe,
    tables::{Ask, ClaimState, Ever, Exact, InvoiceRecord, Live, ScriptRecord, Window},
};
use crate::{
    bch::{Category, Output, ScriptHash, Token, Transaction},
    invoice::{Age, FirstSeen, InvoiceId, Order, OutputStanding, Phase, Sighting, Via},
};

/// How many invoices that ask for exactly one output are looked at in vain for one that fits, from the oldest on. Beyond
/// this many, all asking for the same, attribution is a guess anyway.
const MOST_CANDIDATES: usize = 1000;

/// Largest number of invoices that are looked at in vain for all outputs of one transaction together. The limit bounds
/// the work that one transaction makes.
const MOST_LOOKS: usize = 10 * MOST_CANDIDATES;

/// How many are read at first, and up to this many times as many later. Two are enough where each asks for one output.
const PAGE: usize = 4;
const LARGEST_PAGE: usize = 1024;

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

/// Outputs of a transaction that still look for their invoice.
#[derive(Debug, Default)]
pub(super) struct Free<'t> {
    /// By their number.
    outputs: BTreeMap<u32, &'t Output>,
    /// Their numbers by what would ask for exactly that.
    alike: BTreeMap<Ask, BTreeSet<u32>>,
    /// Their scripts: in which era each is, and with which input that began.
    scripts: BTreeMap<ScriptHash, (u32, Order)>,
}

impl<'t> Free<'t> {
    /// Adds an output to a script that was asked for.
    pub(super) fn insert(&mut self, vout: u32, output: &'t Output, script: &ScriptRecord) {
        self.outputs.insert(vout, output);
        self.scripts.insert(output.script_hash, (script.era(), script.owned_since()));
        let ask = self.exactly(output);
        self.alike.entry(ask).or_default().insert(vout);
    }

    /// Takes an output out: it has its invoice.
    pub(super) fn remove(&mut self, vout: u32) -> Option<&'t Output> {
        let output = self.outputs.remove(&vout)?;
        let ask = self.exactly(output);
        if let Some(alike) = self.alike.get_mut(&ask) {
            alike.remove(&vout);
        }
        Some(output)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Those that are left, by their number.
    pub(super) fn left(&self) -> Vec<(u32, &'t Output)> {
        self.outputs.iter().map(|(vout, output)| (*vout, *output)).collect()
    }

    /// Digest of the request for exactly this output, in the present era of its script.
    fn exactly(&self, output: &Output) -> Ask {
        let era = self.scripts.get(&output.script_hash).map_or(0, |(era, _)| *era);
        Ask::exactly(&output.script_hash, era, output.satoshis, output.token.as_ref())
    }

    /// Pays every required output of an invoice exactly, each with an output of its own; `None` where that is impossible. An
    /// invoice from before the present era of one of its scripts is paid by its own claims only.
    fn whole_set(&self, record: &InvoiceRecord) -> Option<Vec<u32>> {
        let mut used: BTreeMap<Ask, usize> = BTreeMap::new();
        let mut assigned = Vec::with_capacity(record.invoice.outputs.len());
        for required in &record.invoice.outputs {
            let hash = required.script_hash();
            let (era, since) = self.scripts.get(&hash)?;
            if record.invoice.registered < *since {
                return None;
            }
            let ask = Ask::exactly(&hash, *era, required.satoshis, required.token.as_ref());
            let used = used.entry(ask).or_default();
            assigned.push(*self.alike.get(&ask)?.iter().nth(*used)?);
            *used += 1;
        }
        Some(assigned)
    }
}

/// A walk over the invoices of a window that ask for exactly one thing, the oldest first. Each is looked at until it is
/// known not to fit, or is taken: so the outputs of a transaction that are alike share one walk.
struct Walk {
    /// Where the next page begins, and where the last ends; `None` when all are read.
    pages: Option<(ExactKey, ExactKey)>,
    size: usize,
    /// Those that were read and are neither taken nor known not to fit.
    waiting: VecDeque<(InvoiceId, u16)>,
    /// How many more are looked at in vain.
    patience: usize,
}

type ExactKey = (Window, Ask, Order, u16);

impl Walk {
    fn over(window: Window, ask: Ask) -> Self {
        let pages = Some(((window, ask, Order(0), 0), (window, ask, Order(u64::MAX), u16::MAX)));
        Self { pages, size: PAGE, waiting: VecDeque::new(), patience: MOST_CANDIDATES }
    }
}

/// A search for the invoices of the outputs of one transaction.
struct Search<'f, 't> {
    seen: &'f FirstSeen,
    free: &'f mut Free<'t>,
    found: BTreeMap<u32, Target>,
    reached: Reached,
    /// How many more invoices are looked at in vain.
    looks: usize,
}

impl<V: View> Scribe<'_, V> {
    /// Finds the invoice of each free output; those that nobody asked for stay in `free`.
    pub(super) fn find_targets(
        &self,
        tx: &Transaction,
        seen: &FirstSeen,
        free: &mut Free<'_>,
    ) -> Result<BTreeMap<u32, Target>, ReadError> {
        let found = self.claimed(tx, |vout| free.remove(vout).is_some())?;
        let mut search = Search { seen, free, found, reached: Reached::default(), looks: MOST_LOOKS };
        for (vout, target) in &search.found {
            if let (Some(record), Some(output)) =
                (self.invoice(&target.invoice)?, tx.outputs().get(*vout as usize))
            {
                self.reach(&mut search.reached, &record, target.output, output)?;
            }
        }
        for window in [Window::Open, Window::Late] {
            self.whole_sets(window, &mut search)?;
            self.exact_outputs(window, &mut search)?;
        }
        self.only_ones(&mut search)?;
        Ok(search.found)
    }

    /// Row 0. A claim in time is never late, whenever its transaction is seen. `take` says whether an output is to be had.
    pub(super) fn claimed(
        &self,
        tx: &Transaction,
        mut take: impl FnMut(u32) -> bool,
    ) -> Result<BTreeMap<u32, Target>, ReadError> {
        let mut found = BTreeMap::new();
        let mut claims = self.claims_on(tx.txid())?;
        // What is claimed comes before what was, and of those the last word counts.
        claims.sort_by_key(|(_, claim)| (claim.state != ClaimState::Open, Reverse(claim.claimed)));
        for (invoice, claim) in claims {
            for (vout, output) in claim.assignment {
                if take(vout) {
                    let target =
                        Target { invoice, output, late: false, ambiguous: false, via: Some(claim.via) };
                    found.insert(vout, target);
                }
            }
        }
        Ok(found)
    }

    /// Rows 1 and 3.
    fn whole_sets(&self, window: Window, search: &mut Search<'_, '_>) -> Result<(), ReadError> {
        // An invoice is paid as a whole once, and one that did not fit does not fit when less is left.
        let (mut out, mut walks) = (BTreeSet::new(), BTreeMap::new());
        for (vout, output) in search.free.left() {
            if !search.free.outputs.contains_key(&vout) {
                continue;
            }
            let ask = search.free.exactly(output);
            let walk = walks.entry(ask).or_insert_with(|| Walk::over(window, ask));
            let (seen, free) = (search.seen, &*search.free);
            let fits = |record: &InvoiceRecord, _: u16| Ok(free.whole_set(record));
            let Some((record, _, assignment, ambiguous)) =
                self.oldest(walk, seen, &out, &mut search.looks, fits)?
            else {
                continue;
            };
            for (number, vout) in (0u16..).zip(assignment) {
                out.insert((record.invoice.id, number));
                self.give_to(search, &record, number, vout, ambiguous)?;
            }
        }
        Ok(())
    }

    /// Rows 2 and 4.
    fn exact_outputs(&self, window: Window, search: &mut Search<'_, '_>) -> Result<(), ReadError> {
        // What is satisfied stays so while this transaction is looked at.
        let (out, mut walks) = (BTreeSet::new(), BTreeMap::new());
        for (vout, output) in search.free.left() {
            let ask = search.free.exactly(output);
            let walk = walks.entry(ask).or_insert_with(|| Walk::over(window, ask));
            let reached = &mut search.reached;
            let fits = |record: &InvoiceRecord, number: u16| {
                Ok((!self.is_satisfied(reached, record, number)?).then_some(()))
            };
            if let Some((record, number, (), ambiguous)) =
                self.oldest(walk, search.seen, &out, &mut search.looks, fits)?
            {
                self.give_to(search, &record, number, vout, ambiguous)?;
            }
        }
        Ok(())
    }

    /// Row 5. The same invoice for all outputs of a kind.
    fn only_ones(&self, search: &mut Search<'_, '_>) -> Result<(), ReadError> {
        let mut only = BTreeMap::new();
        for (vout, output) in search.free.left() {
            let era = search.free.scripts.get(&output.script_hash).map_or(0, |(era, _)| *era);
            let kind = Ask::of_kind(&output.script_hash, era, output.token.as_ref());
            let record = match only.entry(kind) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(self.only_one(kind, search.seen)?),
            };
            if let Some(record) = record {
                let number = self.first_of_kind(&mut search.reached, record, output)?;
                self.give_to(search, record, number, vout, false)?;
            }
        }
        Ok(())
    }

    /// Gives a free output to an invoice.
    fn give_to(
        &self,
        search: &mut Search<'_, '_>,
        record: &InvoiceRecord,
        number: u16,
        vout: u32,
        ambiguous: bool,
    ) -> Result<(), ReadError> {
        if let Some(output) = search.free.remove(vout) {
            self.reach(&mut search.reached, record, number, output)?;
            let target = self.target_of(record, number, ambiguous, search.seen);
            search.found.insert(vout, target);
        }
        Ok(())
    }

    /// The oldest invoice of a walk that fits and is not in `out`, and whether another one does.
    fn oldest<F>(
        &self,
        walk: &mut Walk,
        seen: &FirstSeen,
        out: &BTreeSet<(InvoiceId, u16)>,
        looks: &mut usize,
        mut fits: impl FnMut(&InvoiceRecord, u16) -> Result<Option<F>, ReadError>,
    ) -> Result<Option<(InvoiceRecord, u16, F, bool)>, ReadError> {
        let mut best: Option<(InvoiceRecord, u16, F)> = None;
        let mut at = 0;
        while walk.patience > 0 && *looks > 0 {
            let Some((id, number)) = self.waiting(walk, at)? else { break };
            if out.contains(&(id, number)) {
                walk.waiting.remove(at);
                continue;
            }
            if best.as_ref().is_some_and(|(record, ..)| record.invoice.id == id) {
                // Another required output of the same one: for the next output that is alike.
                at += 1;
                continue;
            }
            let record = self.invoice(&id)?.filter(|record| seen.is_after(&record.invoice));
            let fit = match &record {
                Some(record) => fits(record, number)?,
                None => None,
            };
            match (fit, record, best.is_some()) {
                (Some(_), Some(_), true) => {
                    return Ok(best.map(|(record, number, fit)| (record, number, fit, true)));
                }
                (Some(fit), Some(record), false) => {
                    walk.waiting.remove(at);
                    best = Some((record, number, fit));
                }
                _ => {
                    walk.waiting.remove(at);
                    walk.patience -= 1;
                    *looks -= 1;
                }
            }
        }
        Ok(best.map(|(record, number, fit)| (record, number, fit, false)))
    }

    /// The one that waits at this place of a walk, read if need be.
    fn waiting(&self, walk: &mut Walk, at: usize) -> Result<Option<(InvoiceId, u16)>, ReadError> {
        if at >= walk.waiting.len()
            && let Some((from, last)) = walk.pages
        {
            let page = self.range::<Exact>(from..=last, walk.size)?;
            let end = page.last().filter(|_| page.len() == walk.size).and_then(
                |((window, ask, order, number), _)| {
                    // No invoice requires as many outputs as there are numbers.
                    Some((*window, *ask, *order, number.checked_add(1)?))
                },
            );
            walk.pages = end.map(|from| (from, last));
            walk.size = walk.size.saturating_mul(4).min(LARGEST_PAGE);
            walk.waiting.extend(page.into_iter().map(|((_, _, _, number), id)| (id, number)));
        }
        Ok(walk.waiting.get(at).copied())
    }

    /// A target by observation: late if the invoice is withdrawn, or the transaction came after the deadline and the
    /// invoice is not held open by the wall clock.
    pub(super) fn target_of(
        &self,
        record: &InvoiceRecord,
        output: u16,
        ambiguous: bool,
        seen: &FirstSeen,
    ) -> Target {
        let InvoiceRecord { invoice, state, .. } = record;
        let cancelled = matches!(state.phase, Phase::Cancelled { .. });
        let over = !matches!(state.phase, Phase::Open) || invoice.is_over(&self.at, Duration::ZERO);
        let late = cancelled || (over && seen.at > invoice.deadline);
        Target { invoice: invoice.id, output, late, ambiguous, via: None }
    }

    /// The only live invoice that asks for a kind; if none is live, the only one that ever did.
    fn only_one(&self, kind: Ask, seen: &FirstSeen) -> Result<Option<InvoiceRecord>, ReadError> {
        let keys = (kind, Order(0), 0)..=(kind, Order(u64::MAX), u16::MAX);
        /// More entries than one invoice can have of one kind.
        const ENOUGH: usize = 256;
        let live = self.range::<Live>(keys.clone(), ENOUGH)?;
        let mut candidates = self.distinct(live.into_iter().map(|(_, id)| id), seen)?;
        if candidates.is_empty() {
            let ever = self.range::<Ever>(keys, ENOUGH)?;
            candidates = self.distinct(ever.into_iter().map(|(_, id)| id), seen)?;
        }
        let only = candidates.pop().filter(|record| seen.is_after(&record.invoice));
        Ok(if candidates.is_empty() { only } else { None })
    }

    /// Whether an invoice asks for such an output of which only the node's clock tells that it is younger, by less than
    /// that clock may have been set back.
    pub(super) fn is_in_doubt(
        &self,
        script: &ScriptRecord,
        output: &Output,
        seen: &FirstSeen,
    ) -> Result<bool, ReadError> {
        let Sighting::MempoolTime { .. } = seen.sighting else { return Ok(false) };
        let kind = Ask::of_kind(&output.script_hash, script.era(), output.token.as_ref());
        let keys = (kind, Order(0), 0)..=(kind, Order(u64::MAX), u16::MAX);
        for (_, id) in self.range::<Ever>(keys, MOST_CANDIDATES)? {
            if let Some(record) = self.invoice(&id)?
                && seen.age_beside(&record.invoice) == Age::Doubtful
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Up to two distinct invoices that a transaction is not certainly older than.
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
                && seen.age_beside(&record.invoice) != Age::Older
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
