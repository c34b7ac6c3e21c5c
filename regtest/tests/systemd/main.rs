//! jppd as it is installed: by the commands of `docs/OPERATIONS.md`, in a minimal Debian with a systemd of its own,
//! as a unit with all of its sandbox, beside a node that is a unit as well.
//!
//! `machine` boots it, `page` reads the documentation, `node` and `install` install both, `checks` and `walk` are
//! what is tried. Where no machine can be booted the tests are skipped, by name and with the reason.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it does")]

mod checks;
mod install;
mod machine;
mod node;
mod page;
mod walk;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use regtest::node::skipped;

use crate::{machine::Machine, node::Program};

/// How long anything that is waited for may take, but for a wait that names its own limit.
const LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn unit_passes_every_check_beside_the_stand_in() {
    let stand_in = Program::StandIn(PathBuf::from(env!("CARGO_BIN_EXE_stand-in")));
    let test = "unit_passes_every_check_beside_the_stand_in";
    in_a_machine(test, "standin", |machine, jppd| checks::all(machine, jppd, &stand_in));
}

#[test]
fn unit_passes_every_check_beside_bitcoind() {
    let test = "unit_passes_every_check_beside_bitcoind";
    let Some(bitcoind) = Program::bitcoind() else {
        return skipped(&format!("{test}: no bitcoind (set BITCOIND)"));
    };
    in_a_machine(test, "bitcoind", |machine, jppd| checks::all(machine, jppd, &bitcoind));
}

#[test]
fn new_user_is_paid_after_a_power_cut_and_a_wrong_clock_beside_the_stand_in() {
    let test = "new_user_is_paid_after_a_power_cut_and_a_wrong_clock_beside_the_stand_in";
    let stand_in = Program::StandIn(PathBuf::from(env!("CARGO_BIN_EXE_stand-in")));
    in_a_machine(test, "walkstandin", |machine, jppd| walk::all(machine, jppd, &stand_in));
}

#[test]
fn new_user_is_paid_after_a_power_cut_and_a_wrong_clock_beside_bitcoind() {
    let test = "new_user_is_paid_after_a_power_cut_and_a_wrong_clock_beside_bitcoind";
    let Some(bitcoind) = Program::bitcoind() else {
        return skipped(&format!("{test}: no bitcoind with a wallet (set BITCOIND)"));
    };
    in_a_machine(test, "walkbitcoind", |machine, jppd| walk::all(machine, jppd, &bitcoind));
}

/// Boots a machine and tries something in it, or says why there is none. A failure comes with the journal.
fn in_a_machine(test: &str, name: &str, body: impl FnOnce(&mut Machine, &Path) -> Result<()>) {
    let jppd = Path::new(env!("CARGO_BIN_EXE_stand-in")).with_file_name("jppd");
    if !jppd.is_file() {
        return skipped(&format!("{test}: {} is not built (build the whole workspace)", jppd.display()));
    }
    let started = Instant::now();
    let mut machine = match Machine::start(name, Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(machine) => machine,
        Err(error) => {
            return skipped(&format!("{test}: no machine with systemd can be booted here: {error:#}"));
        }
    };
    say(&machine, "a Debian is booted", started);
    if let Err(error) = body(&mut machine, &jppd) {
        let journal = machine.sh("journalctl --no-pager -n 80 -o short-precise 2>&1").unwrap_or_default();
        panic!("{test}: {error:#}\njournal of the machine:\n{journal}");
    }
    let stopping = Instant::now();
    machine.power_off().unwrap();
    say(&machine, "the machine is shut down", stopping);
}

/// Says what was tried and how long it took. The test runner does not see it, so it is seen when all is well, too.
fn say(machine: &Machine, what: &str, since: Instant) {
    // Where standard error is closed nobody reads.
    let _ = writeln!(io::stderr(), "{}: {what} ({} ms)", machine.label(), since.elapsed().as_millis());
}

/// Waits until something holds, for at most a minute.
fn until(what: &str, holds: impl FnMut() -> Result<bool>) -> Result<()> {
    until_within(LIMIT, what, holds)
}

/// Waits until something holds.
fn until_within(limit: Duration, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        if start.elapsed() > limit {
            bail!("waited {} s, and not yet: {what}", limit.as_secs());
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}
