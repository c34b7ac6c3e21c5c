//! Whether a submission would be taken: what the ledger knows of it, before the node is asked.

use std::collections::BTreeSet;

use super::{
    ReadError, Rules, Submitted, View,
    tables::{ClaimState, Claims, Counters, Credits, CreditsOf, Invoices, Reads, Transactions},
};
use crate::{
    bch::{OutPoint, Output, ScriptHash, Transaction, Txid},
    invoice::{
        Invoice, InvoiceId, Level, Mismatch, Phase, Reading, RequiredOutput, assign_beside_credits,
        assign_exactly,
    },
};

/// What a submission comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// What it brings is credited to this invoice, and counts or is held.
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
    /// It would be paid if what is held counted: another payment is being looked at.
    Held,
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
    /// This transaction neither pays the invoice nor is related to one that does.
    Stranger(Txid),
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
    now: &Reading,
) -> Result<Judgement, ReadError> {
    let refused = |refusal| Ok(Judgement::Refused(refusal));
    let Some(record) = Reads::<Invoices>::get(view, &id)? else { return refused(Refusal::NoSuchInvoice) };
    let reached = Reads::<Counters>::get(view, &())?.unwrap_or_default().now;
    let now = Reading { elapsed: now.elapsed.max(reached), ..*now };
    let required = &record.invoice.outputs;

    let (mut left, mut brings_more) = (Vec::with_capacity(submitted.len()), false);
    for submitted in submitted {
        if !is_credited(view, id, &submitted.transaction)? {
            brings_more |= brings_anything(view, &record.invoice, &submitted.transaction)?;
            left.push(submitted);
        }
    }
    // A transaction that comes along without paying anything here, a parent say, has nothing to be credited. What is
    // credited to an invoice that is not paid was a part of the payment, and nobody was told that it is the whole.
    if left.len() < submitted.len() && !brings_more && record.state.level != Level::Unpaid {
        return Ok(Judgement::AlreadyCredited);
    }
    for Submitted { transaction, first_seen, .. } in left {
        let known = Reads::<Transactions>::get(view, &transaction.txid())?;
        if !known.and_then(|known| known.first_seen).unwrap_or(*first_seen).is_after(&record.invoice) {
            return refused(Refusal::Older);
        }
    }
    let mut own = Vec::new();
    for submitted in submitted {
        own.extend(free_outputs(view, &record.invoice, &submitted.transaction)?);
    }
    let own = assign_beside_credits(required, own);
    if own.is_err() {
        let all =
            submitted.iter().flat_map(|submitted| asked_outputs(&record.invoice, &submitted.transaction));
        if assign_exactly(required, all).is_ok() {
            return refused(Refusal::CountedElsewhere);
        }
    }
    match record.state.level {
        Level::Unpaid => {}
        Level::Held => return refused(Refusal::Held),
        Level::Paid | Level::Confirmed => return refused(Refusal::Paid),
    }
    if record.invoice.is_over(&now, rules.submission_grace) {
        return refused(Refusal::Expired);
    }
    if let Phase::Cancelled { .. } = record.state.phase {
        return refused(Refusal::Cancelled);
    }
    match own {
        Ok(assignment) => match stranger(view, id, submitted, &assignment)? {
            Some(txid) => refused(Refusal::Stranger(txid)),
            None => Ok(Judgement::Fits(assignment)),
        },
        Err(mismatch) => match required.get(mismatch.index) {
            Some(required) => refused(Refusal::Output { required: Box::new(required.clone()), mismatch }),
            None => Err(ReadError(format!("invoice {id} has no required output {}", mismatch.index))),
        },
    }
}

/// Whether these transactions are on record as one whole payment of an invoice, of which something still waits for
/// the node's word. Such a submission was judged in time, and is not judged again.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn is_claimed<V: View>(
    view: &V,
    id: InvoiceId,
    txids: impl IntoIterator<Item = Txid>,
) -> Result<bool, ReadError> {
    let Some(record) = Reads::<Invoices>::get(view, &id)? else { return Ok(false) };
    let (mut waits, mut paid) = (false, BTreeSet::new());
    for txid in txids {
        let Some(claim) = Reads::<Claims>::get(view, &(txid, id))? else { return Ok(false) };
        waits |= claim.state == ClaimState::Open;
        paid.extend(claim.assignment.into_iter().map(|(_, number)| number));
    }
    Ok(waits && paid.len() == record.invoice.outputs.len())
}

/// The first transaction that neither pays the invoice, by this assignment or by a credit, nor is related to one that
/// does: an ancestor or a descendant, by way of others of the submission.
fn stranger<V: View>(
    view: &V,
    id: InvoiceId,
    submitted: &[Submitted],
    assignment: &[OutPoint],
) -> Result<Option<Txid>, ReadError> {
    let mut payers: BTreeSet<Txid> = assignment.iter().map(|outpoint| outpoint.txid).collect();
    for Submitted { transaction, .. } in submitted {
        if is_credited(view, id, transaction)? {
            payers.insert(transaction.txid());
        }
    }
    let mut known = payers.clone();
    // Each round finds the next of kin of the last; there are no more rounds than transactions.
    for _ in submitted {
        for Submitted { transaction, .. } in submitted {
            let parents = || transaction.inputs().iter().map(|outpoint| outpoint.txid);
            if known.contains(&transaction.txid()) {
                known.extend(parents());
            } else if parents().any(|parent| payers.contains(&parent)) {
                payers.insert(transaction.txid());
                known.insert(transaction.txid());
            }
        }
    }
    let mut txids = submitted.iter().map(|submitted| submitted.transaction.txid());
    Ok(txids.find(|txid| !known.contains(txid)))
}

/// Whether a transaction is credited to an invoice, and counts or is held.
fn is_credited<V: View>(view: &V, id: InvoiceId, tx: &Transaction) -> Result<bool, ReadError> {
    if Reads::<CreditsOf>::range(view, (id, 0)..=(id, u64::MAX), 1)?.is_empty() {
        return Ok(false);
    }
    for (vout, _) in tx.numbered_outputs() {
        let credit = Reads::<Credits>::get(view, &tx.outpoint(vout))?;
        if credit.is_some_and(|credit| credit.invoice == id && credit.state.is_there()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a transaction pays, with something that is not counted elsewhere, to a script that an invoice asks for.
fn brings_anything<V: View>(view: &V, invoice: &Invoice, tx: &Transaction) -> Result<bool, ReadError> {
    Ok(!free_outputs(view, invoice, tx)?.is_empty())
}

/// The outputs of a transaction to scripts that an invoice asks for, with their outpoints. The rest, of which there can
/// be thousands, is not looked up.
fn asked_outputs<'t>(invoice: &Invoice, tx: &'t Transaction) -> impl Iterator<Item = (OutPoint, &'t Output)> {
    let asked: BTreeSet<ScriptHash> = invoice.outputs.iter().map(RequiredOutput::script_hash).collect();
    let outputs = tx.numbered_outputs().filter(move |(_, output)| asked.contains(&output.script_hash));
    outputs.map(|(vout, output)| (tx.outpoint(vout), output))
}

/// An output that is neither credited to nor reserved for another invoice, with the number of the required output it
/// is credited for, if it is.
type Free<'t> = (OutPoint, &'t Output, Option<u16>);

/// The outputs of a transaction that can pay an invoice.
fn free_outputs<'t, V: View>(
    view: &V,
    invoice: &Invoice,
    tx: &'t Transaction,
) -> Result<Vec<Free<'t>>, ReadError> {
    let claimed = claimed_by_others(view, invoice.id, tx.txid())?;
    let mut free = Vec::new();
    for (outpoint, output) in asked_outputs(invoice, tx) {
        match Reads::<Credits>::get(view, &outpoint)? {
            Some(credit) if credit.invoice == invoice.id => {
                free.push((outpoint, output, Some(credit.output)))
            }
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
