//! Time passing: what expires, what is archived, what is forgotten.

use std::ops::RangeInclusive;

use super::{
    EventKind, ReadError, View,
    block::{first_txid, last_txid},
    scribe::Scribe,
    settle::late_end,
    tables::{Ask, Ever, Expiries, Idempotency, IdempotencyEnds, LateEnds, OpenClaims, Retirements},
};
use crate::invoice::{InvoiceId, Merchant, Phase, Timestamp};

/// How many of one kind a tick takes at most, so that no backlog keeps others waiting.
const MOST_AT_ONCE: usize = 10_000;

impl<V: View> Scribe<'_, V> {
    pub(super) fn tick(&mut self, judge_expiry: bool) -> Result<(), ReadError> {
        if judge_expiry {
            self.expire()?;
        }
        self.archive()?;
        self.retire()?;
        self.forget_answers()?;
        self.give_up_claims()
    }

    fn expire(&mut self) -> Result<(), ReadError> {
        for ((at, id), ()) in self.range::<Expiries>(self.invoices_until(self.now()), MOST_AT_ONCE)? {
            // The last moment to pay is part of the time.
            if at == self.now() {
                continue;
            }
            let Some(before) = self.invoice(&id)? else { continue };
            let mut record = before.clone();
            record.state.phase = Phase::Expired { at: self.now() };
            self.tell(&mut record, EventKind::InvoiceExpired, None)?;
            self.put_invoice(Some(&before), record, false)?;
        }
        Ok(())
    }

    fn archive(&mut self) -> Result<(), ReadError> {
        for ((at, id), ()) in self.range::<LateEnds>(self.invoices_until(self.now()), MOST_AT_ONCE)? {
            // The entry may be of a run with another late window.
            self.remove::<LateEnds>((at, id));
            let Some(before) = self.invoice(&id)? else { continue };
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
    fn retire(&mut self) -> Result<(), ReadError> {
        for ((at, id), ()) in self.range::<Retirements>(self.invoices_until(self.now()), MOST_AT_ONCE)? {
            self.remove::<Retirements>((at, id));
            let Some(record) = self.invoice(&id)? else { continue };
            for (number, output) in (0u16..).zip(&record.invoice.outputs) {
                let hash = output.script_hash();
                let era = self.era_of(&hash, record.invoice.registered)?;
                let kind = Ask::of_kind(&hash, era, output.token.as_ref());
                self.remove::<Ever>((kind, record.invoice.registered, number));
            }
        }
        Ok(())
    }

    fn forget_answers(&mut self) -> Result<(), ReadError> {
        let from = (Timestamp::default(), Merchant::anyone(), String::new());
        // The empty name sorts first, so an end one millisecond later leaves no key of this one out.
        let until =
            (self.now().after(std::time::Duration::from_millis(1)), Merchant::anyone(), String::new());
        for ((at, merchant, key), ()) in self.range::<IdempotencyEnds>(from..=until, MOST_AT_ONCE)? {
            self.remove::<IdempotencyEnds>((at, merchant.clone(), key.clone()));
            self.remove::<Idempotency>((merchant, key));
        }
        Ok(())
    }

    fn give_up_claims(&mut self) -> Result<(), ReadError> {
        let from = (Timestamp::default(), first_txid(), InvoiceId::from_bytes([0; 16]));
        let until = (self.now(), last_txid(), InvoiceId::from_bytes([0xff; 16]));
        for ((_, txid, invoice), ()) in self.range::<OpenClaims>(from..=until, MOST_AT_ONCE)? {
            self.close_claim(txid, invoice)?;
        }
        Ok(())
    }

    fn invoices_until(&self, until: Timestamp) -> RangeInclusive<(Timestamp, InvoiceId)> {
        (Timestamp::default(), InvoiceId::from_bytes([0; 16]))..=(until, InvoiceId::from_bytes([0xff; 16]))
    }
}
