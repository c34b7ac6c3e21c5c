//! The rules of matching, as the oracle reads them: who may have an output, and who stands before whom.

use anyhow::{Context as _, Result, ensure};
use bitcoincash::Txid;
use jppd::{
    invoice::{Credit, CreditState, InvoiceId, Level, Phase, Sighting, Via},
    ledger::Changes,
};

use crate::{
    network::Node,
    oracle::{Booked, Kind, Oracle},
};

/// How exactly the node's clock tells whether a transaction came before an invoice, in milliseconds.
const PRECISION: u64 = 3_000;

impl Oracle {
    /// The outpoint carries what the credit says, to a script that the invoice asks for.
    pub(crate) fn is_legal(&self, credit: &Credit, node: &Node) -> Result<()> {
        let booked = self.invoices.get(&credit.invoice).context("a credit of no invoice")?;
        let required =
            booked.invoice.outputs.get(usize::from(credit.output)).context("a credit of no output")?;
        let Some(tx) = node.truth.transactions.get(&credit.outpoint.txid) else {
            return Ok(());
        };
        let output = usize::try_from(credit.outpoint.vout).ok().and_then(|vout| tx.output.get(vout));
        let output = output.context("a credit of an output that is not there")?;
        ensure!(
            output.script_pubkey == required.script && output.value.to_sat() == credit.satoshis,
            "the credit of {} is not what the invoice asks for",
            credit.outpoint
        );
        Ok(())
    }

    /// An output met in the mempool or a block pays no invoice made without a key if its script is a merchant's: 3.4.
    pub(crate) fn is_its_own(&self, credit: &Credit) -> Result<()> {
        let booked = self.invoices.get(&credit.invoice).context("a credit of no invoice")?;
        let by_observation = matches!(credit.via, Via::Mempool | Via::Block);
        ensure!(
            !by_observation || !self.is_taken(booked, usize::from(credit.output)),
            "{} pays {}, which was made without a key, and its script is a merchant's",
            credit.outpoint,
            credit.invoice
        );
        Ok(())
    }

    /// Whether an invoice was made without a key, and the script of one of its outputs is a merchant's now.
    pub(crate) fn is_taken(&self, booked: &Booked, output: usize) -> bool {
        let script = booked.invoice.outputs.get(output).map(|output| &output.script);
        booked.invoice.merchant.is_anyone() && script.is_some_and(|script| self.owned.contains(script))
    }

    /// Whether a transaction certainly was there before an invoice, and the daemon of this life is bound to know.
    pub(crate) fn is_older(&self, invoice: InvoiceId, txid: &Txid, life: u32, node: &Node) -> bool {
        let Some(booked) = self.invoices.get(&invoice) else { return false };
        let same_life = booked.life == life;
        // The daemon judges a transaction that came before the first complete pass of a life by the node's clock, which
        // shows whole seconds.
        let arrived = node.truth.arrived.get(txid);
        let in_doubt = arrived.is_some_and(|(at, _)| {
            self.watches_since.is_none_or(|since| *at <= since)
                && (*at + PRECISION >= booked.registered_at
                    || node.truth.clock_sets.iter().any(|set| set >= at))
        });
        (same_life && !in_doubt && booked.shown_before.contains(txid))
            || (booked.mined_before.contains(txid) && (same_life || self.mined_at_birth.contains(txid)))
    }

    /// Whether a transaction certainly came after the creator of an invoice was told of it.
    pub(crate) fn is_younger(&self, invoice: InvoiceId, txid: &Txid, node: &Node) -> bool {
        let Some(booked) = self.invoices.get(&invoice) else { return false };
        let Some(told) = booked.told else { return false };
        let arrived = node.truth.arrived.get(txid);
        let at = arrived.map_or(u64::MAX, |(at, _)| *at);
        let submitted = self.submitted.get(txid).copied().unwrap_or(u64::MAX);
        at > told && submitted > told
    }

    /// Whether a transaction certainly came after the creator of an invoice was told of it, and the node's clock was
    /// not set since the invoice was registered. Such a transaction must be credited; after a step of that clock it is
    /// enough to list the transaction as unassigned for the merchant.
    pub(crate) fn is_surely_younger(&self, invoice: InvoiceId, txid: &Txid, node: &Node) -> bool {
        let registered = self.invoices.get(&invoice).map_or(0, |booked| booked.registered_at);
        self.is_younger(invoice, txid, node) && !node.truth.clock_sets.iter().any(|set| *set >= registered)
    }

    /// Whether the node's clock is the evidence for a credit, was not set since its transaction came, and that was more
    /// than 3 s before the invoice.
    pub(crate) fn is_much_older(&self, credit: &Credit, changes: &Changes, node: &Node) -> bool {
        let txid = credit.outpoint.txid;
        let record = changes.transactions.get(&txid).and_then(Option::as_ref);
        let seen = record.and_then(|record| record.first_seen);
        let Some(Sighting::MempoolTime { secs: entered_s, .. }) = seen.map(|seen| seen.sighting) else {
            return false;
        };
        let booked = self.invoices.get(&credit.invoice);
        // A reorg that brought it back gave it a new entry.
        node.truth.arrived.get(&txid).zip(booked).is_some_and(|((at, node_s), booked)| {
            *node_s == entered_s
                && at + PRECISION < booked.registered_at
                && !node.truth.clock_sets.iter().any(|set| set >= at)
        })
    }

    /// No invoice that certainly could have had it stood before the one that got it: 3.3, rows 1 to 6.
    pub(crate) fn is_first_that_fits(&self, credit: &Credit, node: &Node) -> Result<()> {
        if !matches!(credit.via, Via::Mempool | Via::Block) {
            return Ok(());
        }
        let Some(winner) = self.invoices.get(&credit.invoice) else { return Ok(()) };
        let rank = self.rank(winner, credit);
        let kind = self.kind_of(credit);
        let (mut live, one) = (0, winner.invoice.outputs.len() == 1);
        for id in self.askers.get(&kind).into_iter().flatten() {
            let Some(other) = self.invoices.get(id) else { continue };
            if !self.is_surely_younger(*id, &credit.outpoint.txid, node) {
                continue;
            }
            let others = self.rank(other, credit);
            live += u32::from(others <= 5);
            ensure!(
                others >= 5 || others >= rank,
                "{} went to {} (row {rank}) before {id} (row {others})",
                credit.outpoint,
                credit.invoice
            );
            let elder = other.invoice.registered < winner.invoice.registered;
            ensure!(
                !(elder && others == rank && rank < 5 && one && other.invoice.outputs.len() == 1),
                "{} went to {} before {id}, which is older",
                credit.outpoint,
                credit.invoice
            );
        }
        ensure!(
            rank < 5 || live <= 1,
            "{} went to {}, and {live} ask for such a payment",
            credit.outpoint,
            credit.invoice
        );
        Ok(())
    }

    pub(crate) fn kind_of(&self, credit: &Credit) -> Kind {
        let booked = self.invoices.get(&credit.invoice);
        let required = booked.and_then(|booked| booked.invoice.outputs.get(usize::from(credit.output)));
        let script = required.map(|required| required.script.clone()).unwrap_or_default();
        (script, credit.token.as_ref().map(|token| token.category))
    }

    /// The row by which an invoice can have an output: 1 open and exact, 3 late and exact, 5 live, 6 any other.
    pub(crate) fn rank(&self, booked: &Booked, credit: &Credit) -> u32 {
        let (script, _) = self.kind_of(credit);
        let taken = booked.invoice.merchant.is_anyone() && self.owned.contains(&script);
        if booked.state.level != Level::Unpaid || booked.state.archived || taken {
            return 6;
        }
        let exact = (0u16..).zip(&booked.invoice.outputs).any(|(number, output)| {
            output.script == script
                && output.satoshis == credit.satoshis
                && output.token == credit.token
                && !self.is_satisfied(booked, number, CreditState::is_there)
        });
        match (exact, booked.state.phase) {
            (true, Phase::Open) => 1,
            (true, Phase::Expired { .. } | Phase::Cancelled { .. }) => 3,
            (false, _) => 5,
        }
    }

    /// Whether a required output has what it asks for, from credits in these states.
    pub(crate) fn is_satisfied(&self, booked: &Booked, number: u16, counts: fn(CreditState) -> bool) -> bool {
        let Some(required) = booked.invoice.outputs.get(usize::from(number)) else { return false };
        let there = self.credits.values().filter(|credit| {
            credit.invoice == booked.invoice.id && credit.output == number && counts(credit.state)
        });
        match &required.token {
            None => there.map(|credit| credit.satoshis).sum::<u64>() >= required.satoshis,
            Some(asked) => there.into_iter().any(|credit| {
                credit.satoshis >= required.satoshis
                    && credit
                        .token
                        .as_ref()
                        .is_some_and(|token| token.category == asked.category && token.amount >= asked.amount)
            }),
        }
    }
}
