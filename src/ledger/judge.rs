//! Whether a submission would be taken: what the ledger knows of it, before the node is asked.

use std::collections::BTreeSet;

use super::{
    ReadError, Rules, View,
    tables::{ClaimState, Claims, Counters, Credits, CreditsOf, Invoices, Reads, Transactions},
};
use crate::{
    bch::{Transaction, Txid},
    invoice::{FirstSeen, InvoiceId, Level, Mismatch, Phase, RequiredOutput, Timestamp, assign_exactly},
};

/// What a submission comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The transaction is credited to this invoice, and counts.
    AlreadyCredited,
    /// It can be claimed: these of its outputs pay the required ones, in order.
    Fits(Vec<u32>),
    /// It cannot pay this invoice.
    Refused(Refusal),
}

/// Why a submission cannot pay an invoice. The payer, or the payer's wallet, is at fault, or was too slow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such invoice.
    NoSuchInvoice,
    /// The transaction was there before the invoice.
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

/// Judges a submission at a moment, without any effect. The checks and their order are those of the rules of
/// payment; what is refused here is refused by a claim in the same words.
///
/// # Errors
///
/// [`ReadError`] if the view could not be read.
pub fn judge<V: View>(
    view: &V,
    rules: &Rules,
    id: InvoiceId,
    tx: &Transaction,
    seen: &FirstSeen,
    now: Timestamp,
) -> Result<Judgement, ReadError> {
    let refused = |refusal| Ok(Judgement::Refused(refusal));
    let Some(record) = Reads::<Invoices>::get(view, &id)? else { return refused(Refusal::NoSuchInvoice) };
    let now = Reads::<Counters>::get(view, &())?.unwrap_or_default().now.max(now);
    if is_credited(view, id, tx)? {
        return Ok(Judgement::AlreadyCredited);
    }
    let known = Reads::<Transactions>::get(view, &tx.txid())?;
    let seen = known.and_then(|known| known.first_seen).unwrap_or(*seen);
    if !seen.is_after(&record.invoice) {
        return refused(Refusal::Older);
    }
    let required = &record.invoice.outputs;
    let any = assign_exactly(required, tx.numbered_outputs());
    let claimed = claimed_by_others(view, id, tx.txid())?;
    let mut own = Vec::with_capacity(tx.outputs().len());
    for (vout, output) in tx.numbered_outputs() {
        let credit = Reads::<Credits>::get(view, &tx.outpoint(vout))?;
        let free = credit.map_or(!claimed.contains(&vout), |credit| credit.invoice == id);
        if free {
            own.push((vout, output));
        }
    }
    let own = assign_exactly(required, own);
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

/// The outputs of a transaction that are reserved for other invoices.
fn claimed_by_others<V: View>(view: &V, id: InvoiceId, txid: Txid) -> Result<BTreeSet<u32>, ReadError> {
    let keys = (txid, InvoiceId::from_bytes([0; 16]))..=(txid, InvoiceId::from_bytes([0xff; 16]));
    let claims = Reads::<Claims>::range(view, keys, usize::MAX)?;
    let others =
        claims.into_iter().filter(|((_, invoice), claim)| *invoice != id && claim.state == ClaimState::Open);
    Ok(others.flat_map(|(_, claim)| claim.assignment).map(|(vout, _)| vout).collect())
}
