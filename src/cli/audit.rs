//! `jppd audit`: the books compared with the node, once, beside the daemon or without it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};

use super::run::auth;
use crate::{
    audit::{AuditError, Auditor, Report},
    config::Config,
    node::{Rpc, RpcSettings},
    store::{Store, StoreOptions},
};

/// How long the node may take to look through its unspent outputs.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The way to the node for audits: one call at a time, with much patience, apart from everything else.
pub(super) fn patient_rpc(config: &Config) -> Result<Rpc> {
    let settings = RpcSettings {
        timeout: PATIENCE,
        threads: 1,
        ..RpcSettings::new(config.node.rpc_url(), auth(config)?)
    };
    Ok(Rpc::start(settings)?)
}

/// Audits the books of a configuration's store.
///
/// # Errors
///
/// When the store or the node cannot be read.
pub fn report(config: &Config) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let auditor = Auditor::new(patient_rpc(config)?, None);
        let open = || {
            let options = StoreOptions::new(config.node.network);
            Store::open_for_reading(&config.store.path, options).map(Arc::new).map_err(AuditError::from)
        };
        auditor.audit(open).await.context("the audit came to nothing")
    })
}

/// Printed texts of a report: one line for each finding and each earlier output, and one line with the totals.
pub fn shown(report: &Report) -> (String, String) {
    let Report { invoices, scripts, payments, findings, earlier, earlier_total } = report;
    let mut found: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    found.extend(earlier.iter().map(|earlier| format!("{earlier}\n")));
    let untold = earlier_total.saturating_sub(u64::try_from(earlier.len()).unwrap_or(u64::MAX));
    if untold > 0 {
        found += &format!("earlier: {untold} more\n");
    }
    let agree = if findings.is_empty() { "all agree with the node" } else { "not all agree with the node" };
    (found, format!("{invoices} invoices, {scripts} scripts, {payments} payments: {agree}\n"))
}
