//! One audit, step by step.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
};

use super::{AuditError, Earlier, Finding, Report};
use crate::{
    bch::{BlockHash, ScriptBuf, ScriptHash, Txid},
    engine::Sightings,
    invoice::{Age, CreditState, Level, Paid},
    ledger::{
        self, ReadError, Reads, View,
        tables::{Blocks, Chain, Counters, Credits, InvoiceRecord, Scripts, Transactions, Unassigned},
    },
    node::{Reply, Request, Snapshot, UnspentCoin},
};

/// What an audit asks for.
#[derive(Debug)]
pub enum Step {
    /// This of the node.
    Ask(Request),
    /// Nothing more.
    Done(Report),
}

/// One audit.
#[derive(Debug)]
pub struct Audit {
    /// What is remembered of when transactions were first seen, by those who remember.
    sightings: Option<Arc<Sightings>>,
    report: Report,
    /// What the node is to look for.
    scripts: BTreeMap<ScriptHash, ScriptBuf>,
    /// Transactions of payments that count as ones of the mempool.
    unconfirmed: BTreeSet<Txid>,
    /// Blocks in which payments count.
    blocks: VecDeque<(u32, BlockHash)>,
    asked: Option<(u32, BlockHash)>,
}

impl Audit {
    /// An audit that has not begun, with what the daemon remembers of when transactions were first seen, if this is the
    /// daemon.
    pub fn new(sightings: Option<Arc<Sightings>>) -> Self {
        Self {
            sightings,
            report: Report::default(),
            scripts: BTreeMap::new(),
            unconfirmed: BTreeSet::new(),
            blocks: VecDeque::new(),
            asked: None,
        }
    }

    /// Begins, or takes an answer of the node, and says what is next.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; the audit came to nothing.
    pub fn on<V: View>(&mut self, reply: Option<Reply>, view: &V) -> Result<Step, AuditError> {
        match reply {
            None => {
                self.read_books(view)?;
                Ok(Step::Ask(Request::Snapshot))
            }
            Some(Reply::Snapshot(snapshot)) => {
                self.compare_mempool(&snapshot, view)?;
                if self.scripts.is_empty() {
                    return Ok(self.next_block());
                }
                Ok(Step::Ask(Request::ScanUtxos(self.scripts.values().cloned().collect())))
            }
            Some(Reply::Scanned(coins)) => {
                for coin in coins {
                    self.compare_coin(&coin, view)?;
                }
                Ok(self.next_block())
            }
            Some(Reply::BlockHashAt(hash)) => {
                let (height, ours) = self.asked.take().ok_or(AuditError::Confused)?;
                // Our own walk may have moved on since.
                if hash != Some(ours) && Reads::<Chain>::get(view, &height)? == Some(ours) {
                    self.report.findings.insert(Finding::OffChain { height, hash: ours });
                }
                Ok(self.next_block())
            }
            Some(_) => Err(AuditError::Confused),
        }
    }

    /// Reads every open and paid invoice with its credits, and computes anew what it is paid.
    fn read_books<V: View>(&mut self, view: &V) -> Result<(), ReadError> {
        let mut blocks = BTreeSet::new();
        ledger::each_open_or_paid(view, |record| {
            self.report.invoices += 1;
            for output in &record.invoice.outputs {
                self.scripts.insert(output.script_hash(), output.script.clone());
            }
            self.read_credits(record, &mut blocks, view)
        })?;
        self.report.scripts = u64::try_from(self.scripts.len()).unwrap_or(u64::MAX);
        self.blocks = blocks.into_iter().collect();
        Ok(())
    }

    fn read_credits<V: View>(
        &mut self,
        record: &InvoiceRecord,
        blocks: &mut BTreeSet<(u32, BlockHash)>,
        view: &V,
    ) -> Result<(), ReadError> {
        let id = record.invoice.id;
        let credits = ledger::credits_after(view, id, 0, usize::MAX)?;
        for credit in &credits {
            match credit.state {
                CreditState::Held | CreditState::Mempool => {
                    self.unconfirmed.insert(credit.outpoint.txid);
                }
                CreditState::Confirmed { height, hash } => {
                    blocks.insert((height, hash));
                }
                CreditState::Seen | CreditState::Lost => continue,
            }
            self.report.payments += 1;
        }
        let paid = Paid::of(&record.invoice, &credits);
        // How deep a settlement is changes with every block; whether there is one does not.
        let is_settled = paid.settling.completed.is_some();
        let is_right = record.paid.as_ref().is_none_or(|on_record| *on_record == paid);
        if !is_right || is_settled != (record.state.level >= Level::Paid) {
            self.report.findings.insert(Finding::Standing { invoice: id });
        }
        Ok(())
    }

    fn compare_mempool<V: View>(&mut self, snapshot: &Snapshot, view: &V) -> Result<(), ReadError> {
        let ours = Reads::<Counters>::get(view, &())?.and_then(|meta| meta.tip).map(|(_, hash)| hash);
        if !snapshot.loaded || ours != Some(snapshot.tip_before) || ours != Some(snapshot.tip_after) {
            // A block came in between: what left the mempool for it is not missing.
            return Ok(());
        }
        let mempool: HashSet<Txid, foldhash::fast::RandomState> = snapshot.txids.iter().copied().collect();
        for txid in self.unconfirmed.iter().filter(|txid| !mempool.contains(*txid)) {
            self.report.findings.insert(Finding::NotInMempool { txid: *txid });
        }
        Ok(())
    }

    fn compare_coin<V: View>(&mut self, coin: &UnspentCoin, view: &V) -> Result<(), ReadError> {
        let UnspentCoin { outpoint, satoshis, height, .. } = *coin;
        let earlier = Earlier { outpoint, satoshis, height };
        let Some(block) = Reads::<Chain>::get(view, &height)? else {
            // Below where our chain begins it is older than every invoice; above its end it is not walked yet.
            let tip = Reads::<Counters>::get(view, &())?.and_then(|meta| meta.tip);
            if tip.is_some_and(|(tip, _)| height < tip) {
                self.report.add_earlier(earlier);
            }
            return Ok(());
        };
        if let Some(credit) = Reads::<Credits>::get(view, &outpoint)? {
            // A coinbase counts as seen until it is mature.
            let in_a_block = matches!(credit.state, CreditState::Confirmed { .. } | CreditState::Seen);
            if !in_a_block {
                let invoice = credit.invoice;
                self.report.findings.insert(Finding::Unconfirmed { outpoint, invoice, height });
            }
            return Ok(());
        }
        if Reads::<Unassigned>::get(view, &outpoint)?.is_some() {
            return Ok(());
        }
        if self.is_older(coin, block, view)? {
            self.report.add_earlier(earlier);
            return Ok(());
        }
        self.report.findings.insert(Finding::Unaccounted { outpoint, satoshis, height });
        Ok(())
    }

    /// Whether an output was there before anybody asked for its script, as far as the records tell.
    fn is_older<V: View>(&self, coin: &UnspentCoin, block: BlockHash, view: &V) -> Result<bool, ReadError> {
        let Some(script) = Reads::<Scripts>::get(view, &ScriptHash::of(&coin.script))? else {
            return Ok(true);
        };
        let walked = Reads::<Blocks>::get(view, &block)?.is_some_and(|block| block.begun > script.first);
        if !walked {
            return Ok(true);
        }
        let txid = &coin.outpoint.txid;
        let seen = Reads::<Transactions>::get(view, txid)?.and_then(|record| record.first_seen);
        let seen = seen.or_else(|| self.sightings.as_ref()?.get(txid));
        Ok(seen.is_some_and(|seen| script.age_of(&seen) == Age::Older))
    }

    fn next_block(&mut self) -> Step {
        self.asked = self.blocks.pop_front();
        match self.asked {
            Some((height, _)) => Step::Ask(Request::BlockHashAt(height)),
            None => Step::Done(std::mem::take(&mut self.report)),
        }
    }
}
