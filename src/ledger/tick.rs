//! Time passing: what expires, what is archived, what is forgotten.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    EventKind, ReadError, Rules, View,
    block::{first_txid, last_txid},
    scribe::Scribe,
    settle::late_end,
    tables::{
        Ask, Ever, Expiries, Idempotency, IdempotencyEnds, Invoices, LateEnds, OpenClaims, Reads, Retirements,
    },
};
use crate::invoice::{Elapsed, InvoiceId, Merchant, Phase, Timestamp};

/// How many of one kind a tick takes at most, so that no backlog keeps others waiting.
const MOST_AT_ONCE: usize = 10_000;

/// A wall clock that is so far from where the last input and the time since put it was moved by somebody.
const SLIP: Duration = Duration::from_secs(1);

/// Proof of the time by the chain. Actions that cannot be undone need this proof: a clock alone is not enough.
#[derive(Clone, Copy)]
struct Proven {
    /// The median time past of our tip, if it is known.
    median: Option<Timestamp>,
    /// Whether the network finds blocks by itself, so that there is such a proof.
    needed: bool,
}

impl Proven {
    /// Whether a shown date is past for certain.
    fn is_past(self, date: Timestamp) -> bool {
        !self.needed || self.median.is_some_and(|median| median > date)
    }
}

impl<V: View> Scribe<'_, V> {
    /// Judges deadlines, unless the wall clock is known to be wrong, and keeps what the clocks show after one of them
    /// was moved: the next start measures the length of the stop by that.
    pub(super) fn tick(&mut self, judge_expiry: bool, clock_wrong: bool) -> Result<(), ReadError> {
        self.keep_time = self.slip() > SLIP;
        if clock_wrong {
            return Ok(());
        }
        if judge_expiry {
            self.expire()?;
        }
        let proven = Proven { median: self.median_time_past()?, needed: self.rules.mines_by_itself };
        self.archive(proven)?;
        self.retire(proven)?;
        self.forget_answers(proven)?;
        self.give_up_claims()
    }

    fn expire(&mut self) -> Result<(), ReadError> {
        // Those that a wall clock which was set back holds open stand in front of the others.
        let (mut from, until) = self.invoices_until(self.now()).into_inner();
        let mut over = Vec::new();
        while over.len() < MOST_AT_ONCE {
            let page = self.range::<Expiries>(from..=until, MOST_AT_ONCE)?;
            for ((_, id), ()) in &page {
                over.extend(
                    self.invoice(id)?.filter(|record| record.invoice.is_over(&self.at, Duration::ZERO)),
                );
            }
            match page.last() {
                Some(((at, id), ())) if page.len() == MOST_AT_ONCE => match id.following() {
                    Some(next) => from = (*at, next),
                    None => break,
                },
                _ => break,
            }
        }
        for before in over {
            let mut record = before.clone();
            record.state.phase = Phase::Expired { at: self.now() };
            self.tell(&mut record, EventKind::InvoiceExpired, None)?;
            self.put_invoice(Some(&before), record, false)?;
        }
        Ok(())
    }

    fn archive(&mut self, proven: Proven) -> Result<(), ReadError> {
        for ((at, id), ()) in self.range::<LateEnds>(self.invoices_until(self.now()), MOST_AT_ONCE)? {
            let before = self.invoice(&id)?;
            if let Some(before) = &before
                && !proven.is_past(before.invoice.expires.after(self.rules.late_window))
            {
                continue;
            }
            // The entry may be of a run with another late window.
            self.remove::<LateEnds>((at, id));
            let Some(before) = before else { continue };
            match late_end(&before, self.rules) {
                Some(ends) if ends <= self.now() => {}
                Some(ends) => {
                    self.put::<LateEnds>((ends, id), ());
                    continue;
                }
                None => continue,
            }
            let mut record = before.clone();
            record.state.archived = true;
            let settling = self.paid(&record)?.settling;
            let in_blocks = settling.completed.is_some() && settling.outside == 0;
            self.put_invoice(Some(&before), record, in_blocks)?;
        }
        Ok(())
    }

    /// Drops index entries, never a record: a payment to the script of a retired invoice is still noticed, and
    /// left unassigned.
    fn retire(&mut self, proven: Proven) -> Result<(), ReadError> {
        let window = self.rules.late_window.saturating_add(self.rules.retention.unwrap_or_default());
        for ((at, id), ()) in self.range::<Retirements>(self.invoices_until(self.now()), MOST_AT_ONCE)? {
            let record = self.invoice(&id)?;
            if let Some(record) = &record
                && !proven.is_past(record.invoice.expires.after(window))
            {
                continue;
            }
            self.remove::<Retirements>((at, id));
            let Some(record) = record else { continue };
            for (number, output) in (0u16..).zip(&record.invoice.outputs) {
                let hash = output.script_hash();
                let era = self.era_of(&hash, record.invoice.registered)?;
                let kind = Ask::of_kind(&hash, era, output.token.as_ref());
                self.remove::<Ever>((kind, record.invoice.registered, number));
            }
        }
        Ok(())
    }

    fn forget_answers(&mut self, proven: Proven) -> Result<(), ReadError> {
        let from = (Elapsed::default(), Merchant::anyone(), String::new());
        // The empty name sorts first, so an end one millisecond later leaves no key of this one out.
        let until = (self.now().after(Duration::from_millis(1)), Merchant::anyone(), String::new());
        for ((at, merchant, key), ()) in self.range::<IdempotencyEnds>(from..=until, MOST_AT_ONCE)? {
            let known = self.get::<Idempotency>(&(merchant.clone(), key.clone()))?;
            let created = match known {
                Some(known) => {
                    Reads::<Invoices>::get(self, &known.invoice)?.map(|record| record.invoice.created)
                }
                None => None,
            };
            if created.is_some_and(|created| !proven.is_past(created.after(Rules::IDEMPOTENCY))) {
                continue;
            }
            self.remove::<IdempotencyEnds>((at, merchant.clone(), key.clone()));
            self.remove::<Idempotency>((merchant, key));
        }
        Ok(())
    }

    fn give_up_claims(&mut self) -> Result<(), ReadError> {
        let from = (Elapsed::default(), first_txid(), InvoiceId::from_bytes([0; 16]));
        let until = (self.now(), last_txid(), InvoiceId::from_bytes([0xff; 16]));
        for ((_, txid, invoice), ()) in self.range::<OpenClaims>(from..=until, MOST_AT_ONCE)? {
            self.close_claim(txid, invoice)?;
        }
        Ok(())
    }

    fn invoices_until(&self, until: Elapsed) -> RangeInclusive<(Elapsed, InvoiceId)> {
        (Elapsed::default(), InvoiceId::from_bytes([0; 16]))..=(until, InvoiceId::from_bytes([0xff; 16]))
    }
}
