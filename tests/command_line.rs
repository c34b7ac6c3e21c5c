//! The program as an operator and systemd meet it: exit codes, and what it says of itself.

use std::{
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
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

fn jppd(words: &[&str]) -> Result<Output> {
    let kept = std::env::vars().filter(|(key, _)| !key.starts_with("JPPD_"));
    Ok(Command::new(PROGRAM).args(words).env_clear().envs(kept).output()?)
}

#[test]
fn a_signing_key_is_made_once_and_taken_by_the_configuration() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, config) = (folder.path().join("jpp_keys"), folder.path().join("jppd.toml"));
    std::fs::write(
        &config,
        format!(
            "[node]\nrpc_cookie_file = \"/c\"\n[http]\npublic_url = \"https://Pay.Example:8443/shop\"\n\
             [jpp]\nsigning_key_file = {file:?}\n"
        ),
    )?;
    let config = config.to_string_lossy();

    // What is not there cannot be used, and what is made from the configuration can.
    let missing = jppd(&["check-config", "--config", &config])?;
    ensure!(missing.status.code() == Some(64), "{missing:?}");
    ensure!(String::from_utf8_lossy(&missing.stderr).contains("jpp.signing_key_file"), "{missing:?}");
    let made = jppd(&["keys", "new", "--config", &config])?;
    ensure!(made.status.success(), "{made:?}");
    let text = std::fs::read_to_string(&file)?;
    let public = String::from_utf8(made.stdout)?;
    ensure!(public.trim().len() == 66 && text.contains(public.trim()), "{public} {text}");
    ensure!(text.contains("\nowner pay.example\n") && text.contains("\ndomain pay.example\n"), "{text}");
    ensure!(file.metadata()?.permissions().mode() & 0o777 == 0o600);
    let checked = jppd(&["check-config", "--config", &config])?;
    ensure!(checked.status.success(), "{checked:?}");
    let private = text.lines().find_map(|line| line.strip_prefix("key ")).unwrap_or_default();
    let said = format!(
        "{public}{}",
        String::from_utf8_lossy(&[made.stderr, checked.stdout, checked.stderr].concat())
    );
    ensure!(private.len() == 64 && !said.contains(private), "{said}");

    // A second time it stays as it is.
    let again = jppd(&["keys", "new", "--config", &config])?;
    ensure!(again.status.code() == Some(1), "{again:?}");
    ensure!(String::from_utf8_lossy(&again.stderr).contains("is left alone"), "{again:?}");
    ensure!(std::fs::read_to_string(&file)? == text);

    // Without a configuration the words must suffice.
    let other = folder.path().join("other");
    let other_name = other.to_string_lossy();
    let words = ["keys", "new", "--file", &other_name, "--owner", "A Shop", "--expires", "2999-01-31"];
    ensure!(jppd(&words)?.status.code() == Some(64));
    let domains = ["--domain", "a.example", "--domain", "b.example"];
    ensure!(jppd(&[&words[..], &domains].concat())?.status.success());
    let text = std::fs::read_to_string(&other)?;
    let stated = "owner A Shop\nexpires 2999-01-31T00:00:00.000Z\ndomain a.example\ndomain b.example\n";
    ensure!(text.contains(stated), "{text}");
    ensure!(jppd(&["keys", "new", "--domain", "a.example"])?.status.code() == Some(64));
    let past = ["keys", "new", "--file", "past", "--domain", "a.example", "--expires", "2001-01-31"];
    ensure!(jppd(&past)?.status.code() == Some(64));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_keys_are_the_same_bytes_after_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("jpp_keys").to_string_lossy().into_owned();
    let made = jppd(&["keys", "new", "--file", &file, "--domain", "pay.example"])?;
    ensure!(made.status.success(), "{made:?}");
    let public = String::from_utf8(made.stdout)?;
    let node = SimNode::start(SimOptions::default())?;
    node.mine(1, &regtest::purse::nobody())?;
    let mut documents = Vec::new();
    for _ in 0..2 {
        let settings = [("JPPD_JPP__SIGNING_KEY_FILE", file.as_str())];
        let daemon = Daemon::start(Path::new(PROGRAM), &node, &settings).await?;
        let answer = daemon.api().get("/signingKeys/paymentProtocol.json").await?;
        ensure!(answer.status == 200, "{answer:?}");
        documents.push(answer.body);
        ensure!(daemon.terminate().await?.success());
    }
    let [first, second] = documents.as_slice() else { anyhow::bail!("{documents:?}") };
    ensure!(first == second && first.contains(public.trim()), "{documents:?}");
    Ok(())
}
