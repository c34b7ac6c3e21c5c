//! The checks of the unit, one after the other.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    install::{Installed, bring, type_in},
    machine::Machine,
    node::{Login, Program, UNPAID, cookie, let_in},
    page::{Page, keys},
    say, until, until_within,
};

/// The headings of the page above commands. A new one is to be tried here, too.
const HEADINGS: [&str; 10] = [
    "Installing",
    "How it logs in at the node",
    "Signing JPP answers",
    // Runs where the GPG key is, which is another machine: not tried.
    "GPG signatures",
    "Signing BIP70 requests",
    "Auditing",
    "Who owns an address",
    "A node that deleted blocks",
    // Needs a damaged store, which the tests of the store have: not tried.
    "A store that is damaged",
    "Upgrading",
];

/// The start of commands as the daemon's user, and what the page puts in its place where a group lets jppd read the
/// node's cookie.
const AS_USER: &str = "runuser -u jppd -- ";
const WITH_GROUP: &str = "runuser -u jppd -g jppd -G bitcoin -- ";

/// How long systemd waits for a sign of life in the check of the watchdog; the unit has 60 s.
const WATCHDOG: &str = "[Service]\nWatchdogSec=6s\n";

/// A line of the unit without which libzmq aborts the process.
const FILTER: &str = "SystemCallFilter=sched_setscheduler";

/// How long a unit is looked at that must not be started again. A restart comes after 2 s.
const NO_RESTART: Duration = Duration::from_secs(5);

/// A few passes over the node's mempool, which runs each second.
const SOME_PASSES: Duration = Duration::from_secs(3);

/// Runs one check, and says what held and how long it took.
fn check(jppd: &Installed<'_>, what: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    body().with_context(|| format!("check: {what}"))?;
    say(jppd.machine, what, started);
    Ok(())
}

/// Installs node and jppd, and tries everything.
pub(crate) fn all(machine: &Machine, program: &Path, node: &Program) -> Result<()> {
    let login = Login::Cookie;
    let page = Page::read()?;
    for heading in page.headings_with_commands() {
        ensure!(HEADINGS.contains(&heading), "the commands below {heading:?} are not tried");
    }
    let started = Instant::now();
    node.install(machine, &page, login)?;
    say(machine, "a node runs", started);
    let started = Instant::now();
    let jppd = &Installed::by_the_page(machine, &page, program, login)?;
    say(machine, "jppd is installed by the page and said READY", started);
    check(jppd, "unit is active and enabled", || {
        let state = machine.sh("systemctl is-active jppd; systemctl is-enabled jppd")?;
        ensure!(state == "active\nenabled\n", "{state}");
        Ok(())
    })?;
    check(jppd, "/readyz answers 200", || jppd.until_ready())?;
    check(jppd, "user, folders and files are its own", || owners(jppd))?;
    let invoice = &jppd.create(UNPAID, 12_345)?;
    check(jppd, "an invoice is created", || pending(jppd, invoice))?;
    check(jppd, "exposure is at most 1.3", || exposure(machine))?;
    check(jppd, "the new store is the only warning in the journal", || quiet(jppd))?;
    check(jppd, "SIGHUP: a warning in the journal, no end", || hangup(jppd))?;
    check(jppd, "kill -9: started again, the invoice is there", || killed(jppd, invoice))?;
    check(jppd, "node restarted with a new cookie: ready, not restarted", || node_restarted(jppd))?;
    check(jppd, "node stopped: active, not ready, then ready again", || node_stopped(jppd))?;
    check(jppd, "stopped in its tracks: the watchdog starts it again", || hanging(jppd, invoice))?;
    check(jppd, "stop is a success", || stopped(jppd))?;
    check(jppd, "exit 64: failed, not started again", || {
        ends_for_good(jppd, "JPPD_HTTP__LISTEN=nowhere", 64)
    })?;
    check(jppd, "exit 78 for a store of another network: failed, not started again", || {
        ends_for_good(jppd, "JPPD_NODE__NETWORK=chip", 78)
    })?;
    check(jppd, "page: a key that signs", || signing(jppd, &page))?;
    check(jppd, "page: the hook of a certificate", || hook(jppd, &page))?;
    if matches!(node, Program::Bitcoind(_)) {
        check(jppd, "page: a user of its own for RPC", || other_login(jppd, &page))?;
    }
    check(jppd, "page: audit and gap", || commands(jppd, &page, login))?;
    check(jppd, "page: the owner of an address", || owner_of_address(jppd, &page, login))?;
    check(jppd, "page: an upgrade", || upgrade(jppd, &page, program, login, invoice))?;
    check(jppd, "without the line for sched_setscheduler it does not start", || without_line(jppd))
}

fn pending(jppd: &Installed<'_>, created: &Value) -> Result<()> {
    let now = jppd.invoice(created)?;
    ensure!(now["status"] == "pending", "{now}");
    Ok(())
}

fn owners(jppd: &Installed<'_>) -> Result<()> {
    let pid = jppd.property("MainPID")?;
    let found = jppd.machine.sh(&format!(
        "stat -c '%U:%G %a' /proc/{pid} /var/lib/jppd /run/jppd /etc/jppd /etc/jppd/api_keys"
    ))?;
    let right = "jppd:jppd 555\njppd:jppd 700\njppd:jppd 750\nroot:jppd 750\njppd:jppd 600\n";
    ensure!(found == right, "{found}");
    let strangers = jppd.machine.sh("find /var/lib/jppd ! -user jppd")?;
    ensure!(strangers.is_empty(), "not of jppd: {strangers}");
    Ok(())
}

fn exposure(machine: &Machine) -> Result<()> {
    machine.sh("systemd-analyze security --no-pager --threshold=13 jppd.service").map(drop)
}

fn quiet(jppd: &Installed<'_>) -> Result<()> {
    let lines = jppd.journal("-p warning -o cat")?;
    let told: Vec<&str> = lines.lines().collect();
    ensure!(matches!(told[..], [line] if line.contains("a new store was made in")), "{lines}");
    Ok(())
}

fn hangup(jppd: &Installed<'_>) -> Result<()> {
    let pid = jppd.property("MainPID")?;
    jppd.machine.sh("systemctl kill -s HUP jppd")?;
    until("it is told", || Ok(jppd.journal("-p warning -o cat")?.contains("SIGHUP is ignored")))?;
    ensure!(jppd.property("MainPID")? == pid && jppd.property("NRestarts")? == "0", "it ended");
    Ok(())
}

fn killed(jppd: &Installed<'_>, invoice: &Value) -> Result<()> {
    jppd.machine.sh("systemctl kill -s KILL jppd")?;
    until("a restart", || Ok(jppd.property("NRestarts")? == "1"))?;
    jppd.until_ready()?;
    pending(jppd, invoice)
}

fn node_restarted(jppd: &Installed<'_>) -> Result<()> {
    let (restarts, before) = (jppd.property("NRestarts")?, cookie(jppd.machine)?);
    jppd.machine.sh("systemctl restart bitcoind")?;
    until("a new cookie", || Ok(cookie(jppd.machine).is_ok_and(|now| now != before)))?;
    thread::sleep(SOME_PASSES);
    jppd.until_ready()?;
    ensure!(jppd.property("NRestarts")? == restarts, "it was started again");
    Ok(())
}

fn node_stopped(jppd: &Installed<'_>) -> Result<()> {
    let pid = jppd.property("MainPID")?;
    jppd.machine.sh("systemctl stop bitcoind")?;
    until("it is not ready", || Ok(jppd.readiness()?.status == 503))?;
    let answer = jppd.readiness()?;
    ensure!(answer.body.contains("node_unreachable"), "{answer:?}");
    jppd.machine.sh("systemctl start bitcoind")?;
    jppd.until_ready()?;
    ensure!(jppd.property("MainPID")? == pid, "it was started again");
    Ok(())
}

fn hanging(jppd: &Installed<'_>, invoice: &Value) -> Result<()> {
    jppd.machine.write("/etc/systemd/system/jppd.service.d/watchdog.conf", WATCHDOG)?;
    jppd.machine.sh("systemctl daemon-reload && systemctl restart jppd")?;
    jppd.until_ready()?;
    jppd.machine.sh("systemctl kill -s STOP jppd")?;
    until_within(Duration::from_secs(30), "a restart", || Ok(jppd.property("NRestarts")? == "1"))?;
    jppd.until_ready()?;
    ensure!(jppd.journal("-o cat")?.contains("Watchdog timeout"), "not by the watchdog");
    jppd.machine.sh("rm /etc/systemd/system/jppd.service.d/watchdog.conf && systemctl daemon-reload")?;
    pending(jppd, invoice)
}

fn stopped(jppd: &Installed<'_>) -> Result<()> {
    jppd.machine.sh("systemctl stop jppd")?;
    let ended = jppd.properties("ActiveState,Result,ExecMainStatus")?;
    ensure!(ended == "Result=success\nExecMainStatus=0\nActiveState=inactive\n", "{ended}");
    jppd.machine.sh("systemctl start jppd")?;
    jppd.until_ready()
}

/// Starts jppd with an environment variable under which it ends with a code that systemd does not try again.
fn ends_for_good(jppd: &Installed<'_>, variable: &str, code: u8) -> Result<()> {
    let wrong = format!("[Service]\nEnvironment={variable}\n");
    jppd.machine.write("/etc/systemd/system/jppd.service.d/wrong.conf", &wrong)?;
    let started = jppd.machine.run("systemctl daemon-reload && systemctl restart jppd", None)?;
    ensure!(!started.status.success(), "it started");
    thread::sleep(NO_RESTART);
    let ended = jppd.properties("ActiveState,ExecMainStatus,NRestarts")?;
    ensure!(ended == format!("NRestarts=0\nExecMainStatus={code}\nActiveState=failed\n"), "{ended}");
    jppd.machine.sh("rm /etc/systemd/system/jppd.service.d/wrong.conf && systemctl daemon-reload")?;
    jppd.machine.sh("systemctl start jppd")?;
    jppd.until_ready()
}

fn signing(jppd: &Installed<'_>, page: &Page) -> Result<()> {
    let [block] = page.blocks("Signing JPP answers", "sh")?;
    let public = type_in(jppd.machine, block)?;
    jppd.configure("jpp", "signing_key_file", "\"/etc/jppd/jpp_keys\"")?;
    jppd.machine.sh("systemctl restart jppd")?;
    let answer = jppd.get("http://127.0.0.1:8090/signingKeys/paymentProtocol.json")?;
    ensure!(answer.status == 200 && answer.body.contains(public.trim()), "{public}: {answer:?}");
    jppd.until_ready()
}

fn hook(jppd: &Installed<'_>, page: &Page) -> Result<()> {
    let [block] = page.blocks("Signing BIP70 requests", "sh")?;
    jppd.machine.write("/etc/letsencrypt/renewal-hooks/deploy/jppd", block)?;
    jppd.machine.write("/etc/letsencrypt/live/pay.example.com/privkey.pem", "a key\n")?;
    jppd.machine.write("/etc/letsencrypt/live/pay.example.com/fullchain.pem", "a chain\n")?;
    let pid = jppd.property("MainPID")?;
    jppd.machine.sh("chmod 0755 /etc/letsencrypt/renewal-hooks/deploy/jppd
         RENEWED_LINEAGE=/etc/letsencrypt/live/pay.example.com /etc/letsencrypt/renewal-hooks/deploy/jppd")?;
    let found = jppd.machine.sh("stat -c '%U:%G %a' /etc/jppd/privkey.pem /etc/jppd/fullchain.pem")?;
    ensure!(found == "jppd:jppd 600\njppd:jppd 600\n", "{found}");
    ensure!(jppd.property("MainPID")? != pid, "it was not started again");
    jppd.until_ready()
}

/// Logs in by a password from now on.
fn other_login(jppd: &Installed<'_>, page: &Page) -> Result<()> {
    let_in(jppd.machine, page, Login::Password)?;
    let [least] = page.blocks("Installing", "toml")?;
    for (section, key, value) in keys(least) {
        if key.starts_with("rpc_") {
            jppd.configure(section, key, value)?;
        }
    }
    jppd.configure("node", "rpc_cookie_file", "\"\"")?;
    jppd.machine.sh("systemctl restart jppd")?;
    jppd.until_ready()
}

fn commands(jppd: &Installed<'_>, page: &Page, login: Login) -> Result<()> {
    let [audit] = page.blocks("Auditing", "sh")?;
    type_in(jppd.machine, &as_user(audit, login)?)?;
    let [gap] = page.blocks("A node that deleted blocks", "sh")?;
    type_in(jppd.machine, &as_user(gap, login)?)?;
    owners(jppd)?;
    jppd.until_ready()
}

fn owner_of_address(jppd: &Installed<'_>, page: &Page, login: Login) -> Result<()> {
    let [block] = page.blocks("Who owns an address", "sh")?;
    let said = type_in(jppd.machine, &as_user(block, login)?.replace("ADDRESS", UNPAID))?;
    ensure!(said.contains("shop"), "the owner is not named: {said}");
    owners(jppd)?;
    jppd.until_ready()
}

fn upgrade(jppd: &Installed<'_>, page: &Page, program: &Path, login: Login, invoice: &Value) -> Result<()> {
    let [block] = page.blocks("Upgrading", "sh")?;
    let pid = jppd.property("MainPID")?;
    bring(jppd.machine, program)?;
    type_in(jppd.machine, &as_user(block, login)?)?;
    ensure!(jppd.property("MainPID")? != pid, "it was not started again");
    jppd.until_ready()?;
    owners(jppd)?;
    pending(jppd, invoice)
}

/// The commands as the page has them for this way to log in.
fn as_user(block: &str, login: Login) -> Result<String> {
    ensure!(block.contains(AS_USER), "no command as the user jppd:\n{block}");
    Ok(match login {
        Login::Cookie => block.replace(AS_USER, WITH_GROUP),
        Login::Password => block.to_owned(),
    })
}

fn without_line(jppd: &Installed<'_>) -> Result<()> {
    let unit = "/etc/systemd/system/jppd.service";
    let line = jppd.machine.sh(&format!("grep -c '^{FILTER}$' {unit}"))?;
    ensure!(line.trim() == "1", "{line}");
    let before = jppd.journal("-o cat")?.matches("Operation not permitted").count();
    let started = jppd.machine.run(
        &format!("sed -i '/^{FILTER}$/d' {unit} && systemctl daemon-reload && systemctl restart jppd"),
        None,
    )?;
    if started.status.success() {
        bail!("it starts all the same: the line is not needed, or not tried");
    }
    ensure!(jppd.property("ExecMainStatus")? == "6", "{}", jppd.properties("ExecMainCode,ExecMainStatus")?);
    ensure!(jppd.journal("-o cat")?.matches("Operation not permitted").count() > before, "not by the filter");
    type_in(jppd.machine, &format!("install -m 0644 jppd.service {unit} && systemctl daemon-reload"))?;
    jppd.machine.sh("systemctl restart jppd")?;
    jppd.until_ready()
}
