//! The program as an operator and systemd meet it: exit codes, and what it says of itself.

use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use regtest::{Daemon, Node as _, SimNode, SimOptions};

const PROGRAM: &str = env!("CARGO_BIN_EXE_jppd");

fn run_with(config: &str, variables: &[(&str, &str)]) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("jppd.toml");
    std::fs::write(&file, config)?;
    let kept = std::env::vars().filter(|(key, _)| !key.starts_with("JPPD_"));
    Ok(Command::new(PROGRAM)
        .args(["run", "--config"])
        .arg(&file)
        .env_clear()
        .envs(kept)
        .envs(variables.iter().copied())
        .output()?)
}

#[test]
fn a_bad_configuration_names_itself_and_ends_with_64() -> Result<()> {
    let table = [
        ("[http]\nlisten = \"nowhere\"\n", &[][..], &["http.listen", "jppd.toml:2"][..]),
        ("[http]\nlistn = \"127.0.0.1:1\"\n", &[], &["listn", "jppd.toml:2"]),
        ("[node]\nrpc_password = \"hunter2\"\n", &[], &["rpc_password", "rpc_password_file"]),
        ("", &[("JPPD_INVOICE__MAX_OUTPUTS", "many")], &["JPPD_INVOICE__MAX_OUTPUTS"]),
        ("", &[("JPPD_INVOICE__NONSENSE", "1")], &["JPPD_INVOICE__NONSENSE"]),
    ];
    for (config, variables, wanted) in table {
        let ended = run_with(config, variables)?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.code() == Some(64), "{config:?}: {} {said}", ended.status);
        for word in wanted {
            ensure!(said.contains(word), "{config:?}: {word} is not in {said}");
        }
        ensure!(!said.contains("hunter2"), "a secret is in {said}");
    }
    Ok(())
}

/// What was sent to the socket that systemd gives, up to a line or for five seconds.
fn told(socket: &UnixDatagram, line: &str) -> Result<bool> {
    let until = Instant::now() + Duration::from_secs(5);
    let mut buffer = [0; 4096];
    while Instant::now() < until {
        if let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
            if text.lines().any(|found| found == line) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_readiness_life_and_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let node = SimNode::start(SimOptions::default())?;
    node.mine(1, &regtest::purse::nobody())?;
    let address = path.to_string_lossy().into_owned();
    let daemon = Daemon::start(Path::new(PROGRAM), &node, &[("NOTIFY_SOCKET", &address)]).await?;
    ensure!(told(&socket, "READY=1")?, "never ready:\n{}", daemon.log());
    ensure!(told(&socket, "WATCHDOG=1")?, "no sign of life");
    ensure!(daemon.terminate().await?.success());
    ensure!(told(&socket, "STOPPING=1")?, "never stopping");
    Ok(())
}
