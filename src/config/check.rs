//! The look at the whole: what no single key can know.

use std::net::SocketAddr;

use super::{
    error::{Place, Problem, Warning},
    load::Origins,
    sections::Config,
};
use crate::bch::Network;

/// Looks at a configuration whose values are each allowed.
pub(super) fn check(
    config: &Config,
    origins: &Origins,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Warning>,
) {
    let mut report = Report { origins, problems, warnings };
    credentials(config, &mut report);
    publications(config, &mut report);
    addresses(config, &mut report);
    creation(config, &mut report);
    certificate(config, &mut report);
    terms(config, &mut report);
}

struct Report<'a> {
    origins: &'a Origins,
    problems: &'a mut Vec<Problem>,
    warnings: &'a mut Vec<Warning>,
}

impl Report<'_> {
    /// A problem between several keys: it stands where the first of them that somebody wrote stands.
    fn problem(&mut self, keys: &[&str], what: impl Into<String>, allowed: impl Into<String>) {
        let written = keys.iter().find(|key| self.origins.of(key) != Place::Default);
        let Some(key) = written.or(keys.first()) else { return };
        let (what, allowed) = (what.into(), allowed.into());
        self.problems.push(Problem { place: self.origins.of(key), key: (*key).to_owned(), what, allowed });
    }

    fn warning(&mut self, key: &'static str, what: impl Into<String>) {
        self.warnings.push(Warning { key, what: what.into() });
    }
}

fn credentials(config: &Config, report: &mut Report<'_>) {
    let node = &config.node;
    let allowed = "either rpc_cookie_file, or rpc_user with rpc_password_file";
    match (&node.rpc_cookie_file, &node.rpc_user, &node.rpc_password_file) {
        (Some(_), None, None) | (None, Some(_), Some(_)) => {}
        (None, None, None) => {
            report.problem(&["node.rpc_cookie_file"], "nothing says how to log in at the node", allowed);
        }
        (Some(_), _, _) => {
            let keys = ["node.rpc_user", "node.rpc_password_file"];
            report.problem(&keys, "there is a cookie as well; only one of the two can be used", allowed);
        }
        (None, Some(_), None) => {
            report.problem(&["node.rpc_user"], "a user without a password file", allowed)
        }
        (None, None, Some(_)) => {
            report.problem(&["node.rpc_password_file"], "a password without a user", allowed)
        }
    }
}

fn publications(config: &Config, report: &mut Report<'_>) {
    let node = &config.node;
    let slow = "payments are then found by the regular look at the mempool, seconds later";
    if node.zmq_rawtx.is_none() {
        report.warning("node.zmq_rawtx", format!("not set: {slow}"));
    }
    if node.zmq_hashblock.is_none() {
        report.warning("node.zmq_hashblock", "not set: blocks are then found by asking, seconds later");
    }
    for (key, address) in [("node.zmq_hashblock", &node.zmq_hashblock), ("node.zmq_hashds", &node.zmq_hashds)]
    {
        if address.is_some() && *address == node.zmq_rawtx {
            report.warning(
                key,
                "the same address as node.zmq_rawtx: a large block makes the node drop messages, \
                 this one among them; give each topic its own",
            );
        }
    }
    let rpc = node.rpc_url();
    let rpc = rpc.trim_start_matches("http://");
    let topics = [
        ("node.zmq_rawtx", &node.zmq_rawtx),
        ("node.zmq_hashblock", &node.zmq_hashblock),
        ("node.zmq_hashds", &node.zmq_hashds),
    ];
    for (key, address) in topics {
        if address.as_ref().and_then(|address| address.strip_prefix("tcp://")) == Some(rpc) {
            report.problem(&[key], "this is the node's RPC address", "an address that the node publishes on");
        }
    }
}

fn addresses(config: &Config, report: &mut Report<'_>) {
    let (http, ops) = (config.http.listen, config.ops.listen);
    if collide(http, ops) {
        let what = format!("http.listen ({http}) and ops.listen ({ops}) are one address");
        report.problem(&["ops.listen", "http.listen"], what, "two different ones");
    }
    if !ops.ip().is_loopback() {
        report.warning("ops.listen", format!("{ops} is open to others, and asks nobody who they are"));
    }
    if config.http.public_url.is_none()
        && (config.node.network == Network::Main || http.ip().is_unspecified())
    {
        let url = config.http.public_url();
        report.warning("http.public_url", format!("not set: wallets are sent to {url}"));
    }
}

/// Whether both cannot be bound. Port 0 is any free one.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && overlap
}

fn creation(config: &Config, report: &mut Report<'_>) {
    let http = &config.http;
    if http.open_creation && config.node.network == Network::Main && !http.listen.ip().is_loopback() {
        let what = format!("anybody who reaches {} may create invoices", http.listen);
        report.warning("http.open_creation", what);
    }
    if !http.open_creation && http.api_keys_file.is_none() {
        report.warning(
            "http.api_keys_file",
            "not set, and http.open_creation is false: nobody can create invoices",
        );
    }
}

fn certificate(config: &Config, report: &mut Report<'_>) {
    let allowed = "both certificate_file and key_file, or neither";
    match (&config.bip70.certificate_file, &config.bip70.key_file) {
        (Some(_), Some(_)) | (None, None) => {}
        (Some(_), None) => report.problem(&["bip70.certificate_file"], "certificates without a key", allowed),
        (None, Some(_)) => report.problem(&["bip70.key_file"], "a key without certificates", allowed),
    }
}

fn terms(config: &Config, report: &mut Report<'_>) {
    let invoice = &config.invoice;
    if invoice.default_expiry > invoice.max_expiry {
        let keys = ["invoice.default_expiry", "invoice.max_expiry"];
        report.problem(&keys, "the default is longer than the longest", "default_expiry up to max_expiry");
    }
    if invoice.late_window > invoice.retention {
        let keys = ["invoice.retention", "invoice.late_window"];
        let what = "the index would forget an invoice while late payments are still recognised";
        report.problem(&keys, what, "retention from late_window up");
    }
    let limits = &config.limits;
    if limits.max_sockets_per_address > limits.max_sockets {
        let keys = ["limits.max_sockets_per_address", "limits.max_sockets"];
        report.problem(&keys, "one address may hold more than all together", "up to max_sockets");
    }
    if limits.header_timeout > limits.request_timeout {
        let keys = ["limits.header_timeout", "limits.request_timeout"];
        report.problem(
            &keys,
            "the head may take longer than the whole",
            "header_timeout up to request_timeout",
        );
    }
}
