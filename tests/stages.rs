//! `make test` runs every stage, and its last lines name what failed and what was skipped.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Result, ensure};

/// Three stages: one that passes, one whose tests fail in every way that the test runner knows, one that skips a check.
const MAKEFILE: &str = "stage-first:\n\t@echo first\nstage-second:\n\t@cat told; exit 3\n\
                        stage-third:\n\t@echo 'skipped: the third: no reason' >&2\n";

/// Output of cargo and the test runner, in which one test's line is broken by the reason why a check was skipped.
const TOLD: &str = "     Running unittests src/lib.rs (target/debug/deps/jppd-0123)

running 3 tests
test one::passes ... ok
test one::fails ... \u{1b}[31mFAILED\u{1b}[m
skipped: one::half on bchn: no bitcoind (set BITCOIND)
test one::breaks ... skipped: one::breaks: no browser
FAILED

failures:

---- one::fails stdout ----
    indented, and no name

failures:
    one::breaks
    one::fails

test result: FAILED. 1 passed; 2 failed
     Running tests/payments.rs (target/debug/deps/payments-0123)
error: test failed, to rerun pass `--test payments`

Caused by:
  process didn't exit successfully: `payments-0123` (signal: 6, SIGABRT: process abort signal)
";

const SUMMARY: &str = "== summary
skipped  one::half on bchn: no bitcoind (set BITCOIND)
skipped  one::breaks: no browser
skipped  the third: no reason
FAILED   src/lib.rs: one::breaks
FAILED   src/lib.rs: one::fails
FAILED   tests/payments.rs: ended (signal: 6, SIGABRT: process abort signal)
FAILED   stage second
failed: 1 of 3 stages
";

fn run(folder: &Path, stages: &[&str]) -> Result<Output> {
    Ok(Command::new(folder.join("scripts/run-stages")).arg("stage").args(stages).output()?)
}

#[test]
fn a_stage_that_fails_hides_no_other() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("scripts"))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/run-stages");
    fs::copy(script, folder.path().join("scripts/run-stages"))?;
    fs::write(folder.path().join("Makefile"), MAKEFILE)?;
    fs::write(folder.path().join("told"), TOLD)?;

    let failed = run(folder.path(), &["first", "second", "third"])?;
    let said = String::from_utf8(failed.stdout)?;
    ensure!(failed.status.code() == Some(1), "{said}");
    ensure!(said.starts_with("\n== first\nfirst\n\n== second\n") && said.contains("\n== third\n"), "{said}");
    ensure!(said.ends_with(SUMMARY), "{said}");

    let passed = run(folder.path(), &["first", "third"])?;
    let said = String::from_utf8(passed.stdout)?;
    ensure!(passed.status.success(), "{said}");
    let summary = "== summary\nskipped  the third: no reason\npassed: 2 of 2 stages\n";
    ensure!(said.ends_with(summary), "{said}");
    Ok(())
}

/// Nothing else would notice a target of the Makefile that is missing among its stages.
#[test]
fn every_stage_of_the_makefile_is_run() -> Result<()> {
    let makefile = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile"))?;
    let list = makefile.lines().find_map(|line| line.strip_prefix("TEST_STAGES := ")).unwrap_or_default();
    let listed: Vec<&str> = list.split(' ').collect();
    let rule = |line: &str| line.strip_prefix("stage-")?.split_once(':').map(|(stage, _)| stage.to_owned());
    let rules: Vec<String> = makefile.lines().filter_map(rule).collect();
    ensure!(listed == rules && listed.len() > 5, "{listed:?} {rules:?}");
    Ok(())
}
