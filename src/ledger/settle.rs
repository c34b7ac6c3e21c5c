//! The one place where an invoice is judged after something changed: its events are chosen and its index follows.

use std::collections::BTreeMap;

use super::{
    EventKind, ReadError, Rules, Subject, View,
    scribe::Scribe,
    tables::{
        Ask, Awaiting, Events, EventsOf, Exact, Expiries, InvoiceRecord, Invoices, LateEnds, Live, Scripts,
        Transactions, Window,
    },
};
use crate::{
    bch::{ScriptHash, Txid},
    invoice::{DoubleSpend, Elapsed, InvoiceId, Level, MOST_NAMED, Order, Paid, Phase},
};

/// How many events of an invoice are looked through for what it was told of double spends already.
const MOST_EVENTS_READ: u64 = 100;

/// What changed for an invoice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    /// The transaction it is about.
    pub(super) txid: Option<Txid>,
    /// A credit began to count.
    pub(super) credited: bool,
    /// A credit began to be held.
    pub(super) held: bool,
    /// A credit that counted or was held is not there any more.
    pub(super) lost: bool,
    /// Another transaction took what the transaction spends, and it was one that settled the invoice.
    pub(super) conflict: bool,
    /// What was met that speaks against the transaction. That matters if it settles the invoice, or will.
    pub(super) danger: DoubleSpend,
    /// The merchant moved a payment.
    pub(super) moved: bool,
    /// The end of the chain moved.
    pub(super) block: bool,
}

impl<V: View> Scribe<'_, V> {
    /// Judges an invoice anew and tells what became of it.
    pub(super) fn refresh(&mut self, id: InvoiceId, change: Change) -> Result<(), ReadError> {
        let Some(before) = self.invoice(&id)? else {
            return Err(ReadError(format!("invoice {id} has credits and no record")));
        };
        let mut record = before.clone();
        let paid = self.take_paid(&record)?;
        let standing = paid.standing(&record.invoice, record.state.phase, self.tip_height());
        let settlement = standing.settlement.as_ref();
        let level = match settlement {
            None if paid.is_settled_with_held() => Level::Held,
            None => Level::Unpaid,
            Some(settlement)
                if settlement.confirmations >= u32::from(record.invoice.confirmations_required) =>
            {
                Level::Confirmed
            }
            Some(_) => Level::Paid,
        };
        record.state.level = level;
        record.state.ambiguous |= paid.ambiguous;
        record.paid = Some(paid.clone());

        let told = self.told_of_double_spends(&before)?;
        if before.state.level < Level::Paid && settlement.is_some() {
            let mut spent_twice = false;
            for txid in told.keys() {
                spent_twice |= self.settles_in(&paid, id, *txid)?;
            }
            if !spent_twice {
                record.state.double_spend = DoubleSpend::None;
            }
        }
        if let Some(txid) = change.txid {
            let danger = if change.conflict {
                DoubleSpend::Conflict
            } else if change.danger > DoubleSpend::None && self.settles_in(&paid, id, txid)? {
                change.danger
            } else {
                DoubleSpend::None
            };
            // A rival that is met is news although a proof told that there is one.
            if danger > told.get(&txid).copied().unwrap_or_default() {
                record.state.double_spend = record.state.double_spend.max(danger);
                self.tell(&mut record, EventKind::DoubleSpendDetected, change.txid)?;
            }
        }
        if change.moved {
            self.tell(&mut record, EventKind::PaymentMoved, change.txid)?;
        }
        let cancelled = matches!(record.state.phase, Phase::Cancelled { .. });
        let (was_paid, is_paid) = (before.state.level >= Level::Paid, level >= Level::Paid);
        let paid_event = match (was_paid, is_paid) {
            (false, true) if cancelled => Some(EventKind::PaymentRecorded),
            (false, true) => Some(EventKind::PaymentReceived),
            (true, false) => Some(EventKind::PaymentReverted),
            // Of a withdrawn one nobody was told that it was confirmed.
            (true, true) if level < before.state.level && !cancelled => Some(EventKind::PaymentReverted),
            _ if change.held => Some(EventKind::PaymentHeld),
            (false, false) if change.credited && !cancelled => Some(EventKind::PartialPayment),
            _ if change.credited => Some(EventKind::PaymentRecorded),
            _ if change.lost => Some(EventKind::PaymentLost),
            _ => None,
        };
        if let Some(kind) = paid_event {
            // Becoming paid is told with the transaction that completed it, whatever input brought it about.
            let txid = if kind == EventKind::PaymentReceived {
                settlement.map(|settlement| settlement.completed_by)
            } else {
                change.txid
            };
            self.tell(&mut record, kind, txid)?;
        }
        if !cancelled {
            let completed_by = settlement.map(|settlement| settlement.completed_by);
            if level == Level::Confirmed && before.state.level < Level::Confirmed {
                self.tell(&mut record, EventKind::PaymentConfirmed, completed_by)?;
            } else if level == Level::Paid
                && change.block
                && settlement.is_some_and(|settlement| settlement.confirmations > 0)
            {
                self.tell(&mut record, EventKind::Confirmation, completed_by)?;
            }
        }
        let in_blocks = settlement.is_some_and(|settlement| settlement.in_blocks);
        if record != before {
            self.put_invoice(Some(&before), record, in_blocks)
        } else {
            self.set_awaiting(&before, in_blocks)
        }
    }

    /// Whether a transaction is one of those that settle an invoice, or would, if there were enough of them.
    pub(super) fn settles(&self, id: InvoiceId, txid: Txid) -> Result<bool, ReadError> {
        let Some(record) = self.invoice(&id)? else { return Ok(false) };
        self.settles_in(&self.paid(&record)?, id, txid)
    }

    /// As [`Self::settles`], for a caller that has the payment totals of the invoice.
    fn settles_in(&self, paid: &Paid, id: InvoiceId, txid: Txid) -> Result<bool, ReadError> {
        let settling = &paid.settling;
        if settling.completed.is_some() && settling.txids.len() < MOST_NAMED {
            return Ok(settling.txids.contains(&txid));
        }
        let outputs = self.get::<Transactions>(&txid)?.map_or(0, |record| record.outputs);
        // The credits of a transaction are found by its outputs, or among those of the invoice: by the shorter way.
        let credits = if paid.credits < u64::from(outputs) {
            self.credits_of(id)?
        } else {
            self.credits_in(txid, outputs)?
        };
        let mut its = credits.iter().filter(|credit| credit.invoice == id && credit.outpoint.txid == txid);
        Ok(its.any(|credit| match settling.completed {
            Some(_) => settling.has(credit),
            None => credit.state.is_there(),
        }))
    }

    /// The transactions of an invoice of which its last events told that they were spent twice, and what they told.
    fn told_of_double_spends(
        &self,
        record: &InvoiceRecord,
    ) -> Result<BTreeMap<Txid, DoubleSpend>, ReadError> {
        let mut told = BTreeMap::new();
        if record.state.double_spend == DoubleSpend::None {
            return Ok(told);
        }
        let (id, last) = (record.invoice.id, record.state.events);
        let keys = (id, last.saturating_sub(MOST_EVENTS_READ))..=(id, last);
        for (_, seq) in self.range::<EventsOf>(keys, usize::MAX)? {
            let event = self.get::<Events>(&seq)?;
            let Some(event) = event.filter(|event| event.kind == EventKind::DoubleSpendDetected) else {
                continue;
            };
            let (Some(txid), Subject::Invoice { statement, .. }) = (event.txid, event.subject) else {
                continue;
            };
            let its = statement.credits.iter().filter(|credit| credit.outpoint.txid == txid);
            // An event has no room for all credits of an invoice that has very many.
            let danger = its.map(|credit| credit.risk.double_spend).max();
            let danger = danger.unwrap_or(statement.state.double_spend);
            let before = told.entry(txid).or_insert(danger);
            *before = danger.max(*before);
        }
        Ok(told)
    }

    /// Writes an invoice and what of the index follows from its state.
    pub(super) fn put_invoice(
        &mut self,
        before: Option<&InvoiceRecord>,
        record: InvoiceRecord,
        in_blocks: bool,
    ) -> Result<(), ReadError> {
        let id = record.invoice.id;
        let (was, is) = (before.and_then(exposure), exposure(&record));
        if was != is {
            self.expose(&record, was, is)?;
        }
        let (was, is) = (before.and_then(expiry), expiry(&record));
        if was != is {
            if let Some(at) = was {
                self.remove::<Expiries>((at, id));
            }
            if let Some(at) = is {
                self.put::<Expiries>((at, id), ());
            }
        }
        let rules = self.rules;
        let (was, is) = (before.and_then(|before| late_end(before, rules)), late_end(&record, rules));
        if was != is {
            if let Some(at) = was {
                self.remove::<LateEnds>((at, id));
            }
            if let Some(at) = is {
                self.put::<LateEnds>((at, id), ());
            }
        }
        self.set_awaiting(&record, in_blocks)?;
        self.put::<Invoices>(id, record);
        Ok(())
    }

    /// An invoice that is settled in blocks, and not deep enough yet, is looked at with every block.
    fn set_awaiting(&mut self, record: &InvoiceRecord, in_blocks: bool) -> Result<(), ReadError> {
        let id = record.invoice.id;
        let waited = self.get::<Awaiting>(&id)?.is_some();
        let waits = in_blocks && record.state.level == Level::Paid;
        if waited && !waits {
            self.remove::<Awaiting>(id);
        } else if waits && !waited {
            self.put::<Awaiting>(id, ());
        }
        Ok(())
    }

    /// In which era of a script something was registered.
    pub(super) fn era_of(&self, script: &ScriptHash, registered: Order) -> Result<u32, ReadError> {
        Ok(self.get::<Scripts>(script)?.map_or(0, |script| script.era_of(registered)))
    }

    fn expose(
        &mut self,
        record: &InvoiceRecord,
        was: Option<Window>,
        is: Option<Window>,
    ) -> Result<(), ReadError> {
        let invoice = &record.invoice;
        for (number, output) in (0u16..).zip(&invoice.outputs) {
            let hash = output.script_hash();
            let era = self.era_of(&hash, invoice.registered)?;
            let exact = Ask::exactly(&hash, era, output.satoshis, output.token.as_ref());
            if let Some(window) = was {
                self.remove::<Exact>((window, exact, invoice.registered, number));
            }
            if let Some(window) = is {
                self.put::<Exact>((window, exact, invoice.registered, number), invoice.id);
            }
            let kind = Ask::of_kind(&hash, era, output.token.as_ref());
            match (was.is_some(), is.is_some()) {
                (true, false) => self.remove::<Live>((kind, invoice.registered, number)),
                (false, true) => self.put::<Live>((kind, invoice.registered, number), invoice.id),
                _ => {}
            }
        }
        Ok(())
    }
}

/// In which window an invoice attracts payments by their amount; a paid one does not.
fn exposure(record: &InvoiceRecord) -> Option<Window> {
    if record.state.level != Level::Unpaid || record.state.archived {
        return None;
    }
    Some(match record.state.phase {
        Phase::Open => Window::Open,
        Phase::Expired { .. } | Phase::Cancelled { .. } => Window::Late,
    })
}

/// When the late window of an invoice ends, once it has begun and until that was noticed.
pub(super) fn late_end(record: &InvoiceRecord, rules: &Rules) -> Option<Elapsed> {
    match record.state.phase {
        Phase::Expired { at } | Phase::Cancelled { at } if !record.state.archived => {
            Some(at.after(rules.late_window))
        }
        Phase::Expired { .. } | Phase::Cancelled { .. } | Phase::Open => None,
    }
}

/// When an invoice expires, if it can.
fn expiry(record: &InvoiceRecord) -> Option<Elapsed> {
    let waits = record.state.phase == Phase::Open && record.state.level == Level::Unpaid;
    waits.then_some(record.invoice.deadline)
}
