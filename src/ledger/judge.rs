//! Whether a submission would be taken: what the ledger knows of it, before the node is asked.

use std::collections::BTreeSet;

use super::{
    ReadError, Rules, Submitted, View,
    tables::{ClaimState, Claims, Counters, Credits, CreditsOf, Invoices, Reads, Transactions},
};
use crate::{
    bch::{OutPoint, Output, Transaction, Txid},
    invoice::{
        Invoice, InvoiceId, Level, Mismatch, Phase, RequiredOutput, Timestamp, assign_beside_credits,
        assign_exactly,
    },
};

/// What a submission comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// What it brings is credited to this invoice, and counts.
    AlreadyCredited,
    /// It can be claimed: these of its outputs pay the required ones, in order.
    Fits(Vec<OutPoint>),
    /// It cannot pay this invoice.
    Refused(Refusal),
}

/// Why a submission cannot pay an invoice. The payer, or the payer's wallet, is at fault, or was too slow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such invoice.
    NoSuchInvoice,
    /// A transaction was there before the invoice.
    Older,
    /// Its outputs are counted for, or claimed for, another invoice.
    CountedElsewhere,
    /// The invoice is paid.
    Paid,
    /// Its time is over, and the grace as well.
    Expired,
    /// Its merchant withdrew it.
    Cancelled,
    /// A required output is missing, or differs.
    Output {
        /// Which, and what was found instead.
        mismatch: Mismatch,
        /// What is required there.
        required: Box<RequiredOutput>,
    },
    /// Too many submissions for this invoice are under way.
    TooManyClaims,
}

/// Judges a submission at a moment, without any effect: all its transactions as one. The checks and their order are
/// those of the rules of payment; what is refused here is refused by a claim in the same words.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn judge<V: View>(
    view: &V,
    rules: &Rules,
    id: InvoiceId,
    submitted: &[Submitted],
    now: Timestamp,
) -> Result<Judgement, ReadError> {
    let refused = |refusal| Ok(Judgement::Refused(refusal));
    let Some(record) = Reads::<Invoices>::get(view, &id)? else { return refused(Refusal::NoSuchInvoice) };
    let now = Reads::<Counters>::get(view, &())?.unwrap_or_default().now.max(now);
    let required = &record.invoice.outputs;

    let (mut left, mut brings_more) = (Vec::with_capacity(submitted.len()), false);
    for submitted in submitted {
        if !is_credited(view, id, &submitted.transaction)? {
            brings_more |= brings_anything(view, &record.invoice, &submitted.transaction)?;
            left.push(submitted);
        }
    }
    // A transaction that comes along without paying anything here, a parent say, has nothing to be credited.
    if left.len() < submitted.len() && !brings_more {
        return Ok(Judgement::AlreadyCredited);
    }
    for Submitted { transaction, first_seen } in left {
        let known = Reads::<Transactions>::get(view, &transaction.txid())?;
        if !known.and_then(|known| known.first_seen).unwrap_or(*first_seen).is_after(&record.invoice) {
            return refused(Refusal::Older);
        }
    }
    let all = submitted.iter().flat_map(|submitted| outputs_of(&submitted.transaction));
    let any = assign_exactly(required, all);
    let mut own = Vec::new();
    for submitted in submitted {
        own.extend(free_outputs(view, id, &submitted.transaction)?);
    }
    let own = assign_beside_credits(required, own);
    if any.is_ok() && own.is_err() {
        return refused(Refusal::CountedElsewhere);
    }
    if record.state.level != Level::Unpaid {
        return refused(Refusal::Paid);
    }
    if now > record.invoice.expires.after(rules.submission_grace) {
        return refused(Refusal::Expired);
    }
    if let Phase::Cancelled { .. } = record.state.phase {
        return refused(Refusal::Cancelled);
    }
    match own {
        Ok(assignment) => Ok(Judgement::Fits(assignment)),
        Err(mismatch) => match required.get(mismatch.index) {
            Some(required) => refused(Refusal::Output { required: Box::new(required.clone()), mismatch }),
            None => Err(ReadError(format!("invoice {id} has no required output {}", mismatch.index))),
        },
    }
}

/// Whether a transaction is credited to an invoice, and counts.
fn is_credited<V: View>(view: &V, id: InvoiceId, tx: &Transaction) -> Result<bool, ReadError> {
    if Reads::<CreditsOf>::range(view, (id, 0)..=(id, u64::MAX), 1)?.is_empty() {
        return Ok(false);
    }
    for (vout, _) in tx.numbered_outputs() {
        let credit = Reads::<Credits>::get(view, &tx.outpoint(vout))?;
        if credit.is_some_and(|credit| credit.invoice == id && credit.state.is_live()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a transaction pays, with something that is not counted elsewhere, to a script that an invoice asks for.
fn brings_anything<V: View>(view: &V, invoice: &Invoice, tx: &Transaction) -> Result<bool, ReadError> {
    let asked = |output: &Output| invoice.outputs.iter().any(|required| required.script == output.script);
    Ok(free_outputs(view, invoice.id, tx)?.iter().any(|(_, output, _)| asked(output)))
}

/// The outputs of a transaction with their outpoints.
fn outputs_of(tx: &Transaction) -> impl Iterator<Item = (OutPoint, &Output)> {
    tx.numbered_outputs().map(|(vout, output)| (tx.outpoint(vout), output))
}

/// An output that is neither credited to nor reserved for another invoice, with the number of the required output it
/// is credited for, if it is.
type Free<'t> = (OutPoint, &'t Output, Option<u16>);

/// The outputs of a transaction that can pay an invoice.
fn free_outputs<'t, V: View>(
    view: &V,
    id: InvoiceId,
    tx: &'t Transaction,
) -> Result<Vec<Free<'t>>, ReadError> {
    let claimed = claimed_by_others(view, id, tx.txid())?;
    let mut free = Vec::with_capacity(tx.outputs().len());
    for (outpoint, output) in outputs_of(tx) {
        match Reads::<Credits>::get(view, &outpoint)? {
            Some(credit) if credit.invoice == id => free.push((outpoint, output, Some(credit.output))),
            None if !claimed.contains(&outpoint.vout) => free.push((outpoint, output, None)),
            Some(_) | None => {}
        }
    }
    Ok(free)
}

/// The outputs of a transaction that are reserved for other invoices.
fn claimed_by_others<V: View>(view: &V, id: InvoiceId, txid: Txid) -> Result<BTreeSet<u32>, ReadError> {
    let keys = (txid, InvoiceId::from_bytes([0; 16]))..=(txid, InvoiceId::from_bytes([0xff; 16]));
    let claims = Reads::<Claims>::range(view, keys, usize::MAX)?;
    let others =
        claims.into_iter().filter(|((_, invoice), claim)| *invoice != id && claim.state == ClaimState::Open);
    Ok(others.flat_map(|(_, claim)| claim.assignment).map(|(vout, _)| vout).collect())
}
