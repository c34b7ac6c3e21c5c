//! The loop around an audit.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Audit, Finding, Report, Step};
use crate::{
    engine::Sightings,
    ledger::{ReadError, View},
    node::{Lane, NodeError, Rpc},
    store::StoreError,
};

/// How long after an audit that found something the second one begins: what was under way then is done.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// Why an audit came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The node is away, answered badly, or is at such a search for somebody else.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An answer to another question: a bug of ours.
    #[error("an answer to another question")]
    Confused,
}

/// Makes audits.
#[derive(Debug)]
pub struct Auditor {
    rpc: Rpc,
    sightings: Option<Arc<Sightings>>,
}

impl Auditor {
    /// An auditor that asks the node by this pool, whose time-out must allow for minutes. `sightings` is what the daemon
    /// remembers of when transactions were first seen, if this is the daemon.
    pub fn new(rpc: Rpc, sightings: Option<Arc<Sightings>>) -> Self {
        Self { rpc, sightings }
    }

    /// Audits the books that `open` gives. What was found is looked for once more after a few seconds, in the books as
    /// they are then, and what is not found a second time was only under way.
    ///
    /// # Errors
    ///
    /// [`AuditError`].
    pub async fn audit<V: View + Send + Sync + 'static>(
        &self,
        open: impl Fn() -> Result<Arc<V>, AuditError>,
    ) -> Result<Report, AuditError> {
        let first = self.once(open()?).await?;
        if first.findings.is_empty() {
            return Ok(first);
        }
        tokio::time::sleep(SECOND_LOOK).await;
        let mut second = self.once(open()?).await?;
        second.findings = second.findings.intersection(&first.findings).cloned().collect();
        Ok(second)
    }

    /// Audits every so often, for ever: what is found is logged and counted (`jppd_audit_findings`,
    /// `jppd_missed_payments_total`), and so is what came to nothing (`jppd_audits_failed_total`).
    pub async fn keep_auditing<V: View + Send + Sync + 'static>(self, store: Arc<V>, every: Duration) {
        let missed = metrics::counter!("jppd_missed_payments_total");
        let audits = metrics::counter!("jppd_audits_total");
        let failed = metrics::counter!("jppd_audits_failed_total");
        // They are there from the first moment, so that an alarm can be set on them.
        missed.increment(0);
        failed.increment(0);
        count(&BTreeSet::new());
        let mut known: BTreeSet<Finding> = BTreeSet::new();
        loop {
            tokio::time::sleep(every).await;
            match self.audit(|| Ok(store.clone())).await {
                Ok(report) => {
                    audits.increment(1);
                    for finding in report.findings.difference(&known) {
                        tracing::error!("an audit found what should not be: {finding}");
                        missed.increment(u64::from(matches!(finding, Finding::Unaccounted { .. })));
                    }
                    count(&report.findings);
                    let Report { invoices, scripts, payments, findings, earlier_total, .. } = report;
                    tracing::info!(
                        invoices,
                        scripts,
                        payments,
                        findings = findings.len(),
                        earlier = earlier_total,
                        "the books were audited"
                    );
                    known = findings;
                }
                Err(error) => {
                    failed.increment(1);
                    tracing::warn!(%error, "an audit came to nothing");
                }
            }
        }
    }

    /// The books are long, so they are read where nobody waits.
    async fn once<V: View + Send + Sync + 'static>(&self, view: Arc<V>) -> Result<Report, AuditError> {
        let (mut audit, mut reply) = (Audit::new(self.sightings.clone()), None);
        loop {
            let view = view.clone();
            let reading = tokio::task::spawn_blocking(move || {
                let step = audit.on(reply, &*view);
                (audit, step)
            });
            let (returned, step) = reading.await.map_err(|error| ReadError(error.to_string()))?;
            match step? {
                Step::Ask(request) => reply = Some(self.rpc.call(Lane::Follow, request).await?),
                Step::Done(report) => return Ok(report),
            }
            audit = returned;
        }
    }
}

fn count(findings: &BTreeSet<Finding>) {
    for name in Finding::NAMES {
        let found = findings.iter().filter(|finding| finding.name() == name).count();
        metrics::gauge!("jppd_audit_findings", "kind" => name).set(u32::try_from(found).unwrap_or(u32::MAX));
    }
}
