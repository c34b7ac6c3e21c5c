//! Creation: an invoice is registered, and in the index before its creator hears of it.

use super::{
    Created, Creation, Event, EventKind, ReadError, Rules, SharedOutputs, Subject, View,
    scribe::Scribe,
    tables::{
        Ask, Events, EventsOf, Ever, Exact, Idempotency as IdempotencyTable, IdempotencyEnds,
        IdempotencyRecord, InvoiceRecord, Invoices, Retirements, ScriptRecord, Scripts, Window,
    },
};
use crate::invoice::{Draft, Invoice, InvoiceId, InvoiceState, Merchant, Order, Paid, Statement};

impl<V: View> Scribe<'_, V> {
    pub(super) fn create(&mut self, creation: Creation) -> Result<Created, ReadError> {
        let Creation { id, merchant, draft, idempotency } = creation;
        if let Some(idempotency) = &idempotency {
            let known = self.get::<IdempotencyTable>(&(merchant.clone(), idempotency.key.clone()))?;
            if let Some(known) = known {
                return if idempotency.repeats(&known) {
                    self.first_answer(known.invoice)
                } else {
                    Ok(Created::OtherBody)
                };
            }
        }
        if let Some(index) = self.script_of_another(&draft, &merchant)? {
            return Ok(Created::ScriptOfAnother { index });
        }
        let sharing = self.sharing(&draft, &merchant)?;
        if let (Some((index, _)), SharedOutputs::Refuse) = (sharing.first(), self.rules.shared_outputs) {
            return Ok(Created::Shared { index: *index });
        }

        // The one place where shown times and deadline of an invoice are computed, from one reading.
        let invoice = Invoice::register(draft, id, merchant, &self.at, self.order);
        self.watch(&invoice)?;
        if let Some(idempotency) = idempotency {
            let merchant = invoice.merchant.clone();
            let ends = self.now().after(Rules::IDEMPOTENCY);
            self.put::<IdempotencyEnds>((ends, merchant.clone(), idempotency.key.clone()), ());
            let record = IdempotencyRecord { body: idempotency.body, invoice: id };
            self.put::<IdempotencyTable>((merchant, idempotency.key), record);
        }
        for (_, other) in &sharing {
            self.mark_shared(*other)?;
        }
        let mut record = InvoiceRecord {
            state: InvoiceState::new(!sharing.is_empty()),
            paid: Some(Paid::nothing(&invoice)),
            invoice,
        };
        self.tell(&mut record, EventKind::InvoiceCreated, None)?;
        let statement = self.statement(&record)?;
        self.put_invoice(None, record, false)?;
        Ok(Created::Registered(statement))
    }

    /// The invoice as it stood when it was registered: the same answer again.
    fn first_answer(&self, id: InvoiceId) -> Result<Created, ReadError> {
        let seq = self.get::<EventsOf>(&(id, 1))?.unwrap_or_default();
        match self.get::<Events>(&seq)? {
            Some(Event { subject: Subject::Invoice { statement, .. }, .. }) => {
                Ok(Created::Registered(*statement))
            }
            _ => Err(ReadError(format!("the event of the creation of invoice {id} is missing"))),
        }
    }

    fn script_of_another(&self, draft: &Draft, merchant: &Merchant) -> Result<Option<usize>, ReadError> {
        for (index, output) in draft.outputs.iter().enumerate() {
            let record = self.get::<Scripts>(&output.script_hash())?;
            if record.is_some_and(|record| !record.is_free_for(merchant)) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The required outputs that another live invoice asks for exactly, each with the oldest such invoice.
    ///
    /// The oldest is enough: the second one to ask marked the first, and every later one marks itself.
    fn sharing(&self, draft: &Draft, merchant: &Merchant) -> Result<Vec<(usize, InvoiceId)>, ReadError> {
        let mut sharing = Vec::new();
        for (index, output) in draft.outputs.iter().enumerate() {
            let hash = output.script_hash();
            let era = match self.get::<Scripts>(&hash)? {
                // This invoice changes the owner of the script, and no invoice asks for the script in the new era yet.
                Some(script) if script.merchant != *merchant => continue,
                Some(script) => script.era(),
                None => continue,
            };
            let ask = Ask::exactly(&hash, era, output.satoshis, output.token.as_ref());
            for window in [Window::Open, Window::Late] {
                let keys = (window, ask, Order(0), 0)..=(window, ask, Order(u64::MAX), u16::MAX);
                sharing.extend(self.range::<Exact>(keys, 1)?.into_iter().map(|(_, other)| (index, other)));
            }
        }
        Ok(sharing)
    }

    fn mark_shared(&mut self, id: InvoiceId) -> Result<(), ReadError> {
        if let Some(mut record) = self.invoice(&id)?
            && !record.state.shared
        {
            record.state.shared = true;
            self.put::<Invoices>(id, record);
        }
        Ok(())
    }

    /// Enters what is asked into the indexes that last.
    fn watch(&mut self, invoice: &Invoice) -> Result<(), ReadError> {
        for (number, output) in (0u16..).zip(&invoice.outputs) {
            let hash = output.script_hash();
            let known = self.get::<Scripts>(&hash)?;
            let mut script = known.clone().unwrap_or_else(|| ScriptRecord {
                merchant: invoice.merchant.clone(),
                first: self.order,
                since: invoice.created,
                node_time: invoice.node_time,
                released: false,
                taken: Vec::new(),
            });
            script.released = false;
            if script.merchant != invoice.merchant {
                script.merchant = invoice.merchant.clone();
                script.taken.push(self.order);
            }
            let kind = Ask::of_kind(&hash, script.era(), output.token.as_ref());
            if known.as_ref() != Some(&script) {
                self.put::<Scripts>(hash, script);
            }
            self.put::<Ever>((kind, invoice.registered, number), invoice.id);
        }
        if let Some(retention) = self.rules.retention {
            let until = invoice.deadline.after(self.rules.late_window).after(retention);
            self.put::<Retirements>((until, invoice.id), ());
        }
        Ok(())
    }
}

impl Created {
    /// The invoice, if there is one.
    pub fn statement(&self) -> Option<&Statement> {
        match self {
            Self::Registered(statement) => Some(statement),
            Self::OtherBody | Self::ScriptOfAnother { .. } | Self::Shared { .. } => None,
        }
    }
}
