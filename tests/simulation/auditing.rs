//! Audits: books that agree with the node, and each way in which they can fail to.

use anyhow::{Context as _, Result, ensure};
use bitcoincash::OutPoint;
use jppd::{
    audit::{Audit, Earlier, Finding, Report, Step},
    invoice::{Credit, CreditState, InvoiceId, Level},
    ledger::{Changes, Reads, tables, tables::InvoiceRecord},
};

use crate::{
    node,
    town::{Town, nobody, txid},
};

/// What an audit finds; `remembers` says whether it knows when transactions were first seen.
fn findings(town: &mut Town, remembers: bool) -> Result<Vec<Finding>> {
    Ok(report(town, remembers)?.findings.into_iter().collect())
}

fn report(town: &mut Town, remembers: bool) -> Result<Report> {
    let mut audit = Audit::new(remembers.then(|| town.sightings.clone()));
    let mut reply = None;
    loop {
        match audit.on(reply.take(), &town.view)? {
            Step::Ask(request) => {
                let now_s = town.now().secs();
                reply = Some(node::answer(&mut town.chain, &request, now_s)?);
            }
            Step::Done(report) => return Ok(report),
        }
    }
}

/// Writes what no input would.
fn tamper(town: &mut Town, change: impl FnOnce(&mut Changes)) {
    let mut changes = Changes::default();
    change(&mut changes);
    town.view.commit(changes);
}

fn credit(town: &Town, outpoint: &OutPoint) -> Result<Credit> {
    Reads::<tables::Credits>::get(&town.view, outpoint)?.context("its credit")
}

/// Two invoices, one paid in a block and one in the mempool, and one that nobody paid.
fn books() -> Result<(Town, [bitcoincash::Transaction; 2])> {
    let mut town = Town::open()?;
    let (_, address) = town.fresh_invoice(10_000)?;
    let mined = town.sign(&address, 10_000)?;
    town.broadcast(&mined)?;
    town.mine()?;
    let (_, address) = town.fresh_invoice(20_000)?;
    let waiting = town.sign(&address, 20_000)?;
    town.broadcast(&waiting)?;
    town.fresh_invoice(30_000)?;
    town.pass()?;
    ensure!(findings(&mut town, false)?.is_empty());
    Ok((town, [mined, waiting]))
}

#[test]
fn a_payment_that_is_on_no_record_is_found() -> Result<()> {
    let (mut town, [mined, _]) = books()?;
    let outpoint = OutPoint { txid: txid(&mined), vout: 0 };
    let credit = credit(&town, &outpoint)?;
    tamper(&mut town, |changes| {
        changes.credits.insert(outpoint, None);
        changes.credits_of.insert((credit.invoice, credit.ordinal), None);
        changes.transactions.insert(outpoint.txid, None);
    });
    let (_, height) = town.chain.tip();
    let missed = Finding::Unaccounted { outpoint, satoshis: 10_000, height };
    let found = findings(&mut town, true)?;
    ensure!(found == [missed, Finding::Standing { invoice: credit.invoice }], "{found:?}");
    Ok(())
}

#[test]
fn what_is_older_than_its_invoice_is_not_missed() -> Result<()> {
    let (mut town, _) = books()?;
    // In a block before anybody asked.
    let (script, early) = town.pay_nobody(150, 5_000)?;
    town.mine()?;
    town.pass()?;
    town.invoice(&script, 5_000)?;
    ensure!(findings(&mut town, false)?.is_empty());
    // The audit reports the output as earlier. It is no finding, not even one for a second audit to confirm.
    let (_, height) = town.chain.tip();
    let outpoint = OutPoint { txid: txid(&early), vout: 0 };
    let report = report(&mut town, false)?;
    let told: Vec<Earlier> = report.earlier.into_iter().collect();
    ensure!(told == [Earlier { outpoint, satoshis: 5_000, height }], "{told:?}");
    ensure!(report.earlier_total == 1);
    // In the mempool before, in a block after: who saw it can tell, who did not cannot.
    let (script, late) = town.pay_nobody(151, 6_000)?;
    town.hear()?;
    town.invoice(&script, 6_000)?;
    town.mine()?;
    town.pass()?;
    ensure!(findings(&mut town, true)?.is_empty());
    let (_, height) = town.chain.tip();
    let outpoint = OutPoint { txid: txid(&late), vout: 0 };
    let found = findings(&mut town, false)?;
    ensure!(
        found == [Finding::Unaccounted { outpoint, satoshis: 6_000, height }],
        "{found:?} {}",
        txid(&early)
    );
    // Of an address that nobody ever asked for nothing is wanted.
    town.pay_nobody(152, 7_000)?;
    ensure!(nobody(152) != script && findings(&mut town, true)?.is_empty());
    Ok(())
}

#[test]
fn what_the_books_have_and_the_node_has_not_is_found() -> Result<()> {
    let (mut town, [mined, waiting]) = books()?;
    town.chain.evict(txid(&waiting));
    ensure!(findings(&mut town, false)? == [Finding::NotInMempool { txid: txid(&waiting) }]);
    // It is mined after all, and the walk has not passed it: no finding, only news to come.
    town.mine_these(vec![waiting.clone()])?;
    ensure!(findings(&mut town, false)?.is_empty());
    town.pass()?;
    ensure!(findings(&mut town, false)?.is_empty());

    let outpoint = OutPoint { txid: txid(&mined), vout: 0 };
    let (_, height) = town.chain.tip();
    let credit = credit(&town, &outpoint)?;
    let wrong = Credit { state: CreditState::Mempool, ..credit.clone() };
    tamper(&mut town, |changes| {
        changes.credits.insert(outpoint, Some(wrong));
    });
    let found = findings(&mut town, false)?;
    let unconfirmed = Finding::Unconfirmed { outpoint, invoice: credit.invoice, height: height - 1 };
    // The record of the invoice says that it is in a block.
    let standing = Finding::Standing { invoice: credit.invoice };
    ensure!(found == [unconfirmed, Finding::NotInMempool { txid: txid(&mined) }, standing], "{found:?}");
    tamper(&mut town, |changes| {
        changes.credits.insert(outpoint, Some(credit));
    });
    ensure!(findings(&mut town, false)?.is_empty());

    // Blocks are taken back, and nobody has noticed yet.
    town.take_back()?;
    town.take_back()?;
    let found = findings(&mut town, false)?;
    ensure!(found.len() == 2 && found.iter().all(|finding| finding.name() == "off_chain"), "{found:?}");
    Ok(())
}

#[test]
fn a_record_that_does_not_follow_from_its_payments_is_found() -> Result<()> {
    let (mut town, _) = books()?;
    let ids = InvoiceId::from_bytes([0; 16])..=InvoiceId::from_bytes([0xff; 16]);
    let first = Reads::<tables::Invoices>::range(&town.view, ids, 1)?;
    let (id, record) = first.into_iter().next().context("an invoice")?;
    let mut wrong = record.clone();
    wrong.state.level = Level::Unpaid;
    tamper(&mut town, |changes| {
        changes.invoices.insert(id, Some(wrong));
    });
    ensure!(findings(&mut town, false)? == [Finding::Standing { invoice: id }]);
    // A sum that lags behind, although the level is right.
    let mut stale = record.clone();
    stale.paid.as_mut().context("what it was paid")?.credits -= 1;
    tamper(&mut town, |changes| {
        changes.invoices.insert(id, Some(stale));
    });
    ensure!(findings(&mut town, false)? == [Finding::Standing { invoice: id }]);
    // A record of an earlier version says nothing of it, and nothing is wrong with that.
    let old = InvoiceRecord { paid: None, ..record };
    tamper(&mut town, |changes| {
        changes.invoices.insert(id, Some(old));
    });
    ensure!(findings(&mut town, false)?.is_empty());
    Ok(())
}
