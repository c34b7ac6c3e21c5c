//! The program as an operator and systemd meet it: exit codes, and what it says of itself.

use std::{
    fs::File,
    io::Read as _,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jppd::{
    bch::{Address, Network, ScriptBuf},
    store::{Store, StoreOptions},
};
use regtest::{Daemon, Node as _, SimNode, SimOptions, eventually, wait::PATIENCE};
use serde_json::json;

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

/// Whether a line is sent to the socket that systemd gives; waits for it.
fn told(socket: &UnixDatagram, line: &str) -> Result<bool> {
    let until = Instant::now() + PATIENCE;
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

/// A script that runs the program with another standard error or another limit of open files.
const OTHERWISE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/helpers/started-otherwise");

/// A node with one block.
fn node() -> Result<SimNode> {
    let node = SimNode::start(SimOptions::default())?;
    node.mine(1, &regtest::purse::nobody())?;
    Ok(node)
}

/// Creates as many invoices, and asks for each.
async fn create(daemon: &Daemon, count: usize) -> Result<()> {
    let address = "bchreg:qrhwamhwamhwamhwamhwamhwamhwamhwac6gdl3mks";
    for _ in 0..count {
        let body = json!({"outputs": [{"address": address, "amount": 1_000}]});
        let created = daemon.api().post("/jpp/invoices/", &body).await?.expect(201)?;
        let path = format!("/jpp/invoices/{}/", created["payment_id"].as_str().unwrap_or_default());
        daemon.api().get(&path).await?.expect(200)?;
    }
    Ok(())
}

/// The value of a meter without labels.
async fn meter(daemon: &Daemon, name: &str) -> Result<u64> {
    let meters = daemon.ops().get("/metrics").await?.body;
    let value = meters.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("no {name}"))?.parse()?)
}

/// Waits until more than 20 lines of the log are counted as lost. Meters are brought up to date each second.
async fn lines_are_lost(daemon: &Daemon) -> Result<()> {
    let counted = async || Ok((meter(daemon, "jppd_log_lines_lost_total").await? > 20).then_some(()));
    eventually(|| "20 lines that are lost", counted).await
}

/// A pipe with a name, and its reading end.
fn pipe(folder: &Path) -> Result<(PathBuf, File)> {
    let path = folder.join("pipe");
    ensure!(Command::new("mkfifo").arg(&path).status()?.success(), "no pipe");
    // Opened both ways it does not wait for a writer.
    let reader = File::options().read(true).write(true).open(&path)?;
    Ok((path, reader))
}

/// A daemon whose log at `debug` goes elsewhere.
async fn logging_to(node: &SimNode, place: &Path) -> Result<Daemon> {
    let place = place.to_string_lossy();
    let settings = [("PROGRAM", PROGRAM), ("STDERR", &place), ("RUST_LOG", "trace")];
    Daemon::start(Path::new(OTHERWISE), node, &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn log_on_a_full_disk_costs_its_lines_alone() -> Result<()> {
    let node = node()?;
    let daemon = logging_to(&node, Path::new("/dev/full")).await?;
    create(&daemon, 20).await?;
    lines_are_lost(&daemon).await?;
    ensure!(daemon.terminate().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn log_into_a_pipe_without_a_reader_costs_its_lines_alone() -> Result<()> {
    let node = node()?;
    let folder = tempfile::tempdir()?;
    let (path, reader) = pipe(folder.path())?;
    let daemon = logging_to(&node, &path).await?;
    ensure!(meter(&daemon, "jppd_log_lines_lost_total").await? == 0);
    drop(reader);
    create(&daemon, 20).await?;
    lines_are_lost(&daemon).await?;
    ensure!(daemon.terminate().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_nobody_reads_delays_nothing() -> Result<()> {
    let node = node()?;
    let folder = tempfile::tempdir()?;
    let (path, mut reader) = pipe(folder.path())?;
    let daemon = logging_to(&node, &path).await?;
    // More than a pipe holds, which is 64 KiB.
    create(&daemon, 200).await?;
    ensure!(daemon.terminate().await?.success());
    let mut held = vec![0; 1 << 20];
    let length = reader.read(&mut held)?;
    ensure!(length > 60_000, "{length} bytes do not fill a pipe: it was not tried");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hangup_and_user_signals_are_told_and_ignored() -> Result<()> {
    let node = node()?;
    let daemon = Daemon::start(Path::new(PROGRAM), &node, &[]).await?;
    let pid = daemon.pid().context("it runs")?.to_string();
    for name in ["HUP", "USR1", "USR2"] {
        ensure!(Command::new("kill").args(["-s", name, &pid]).status()?.success());
        let line = format!("SIG{name} is ignored");
        let is_told = async || Ok(daemon.log().contains(&line).then_some(()));
        eventually(|| format!("{line}\n{}", daemon.log()), is_told).await?;
    }
    create(&daemon, 1).await?;
    ensure!(daemon.pid().map(|pid| pid.to_string()) == Some(pid));
    ensure!(daemon.terminate().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn low_limit_of_open_files_is_told_with_its_numbers() -> Result<()> {
    let node = node()?;
    let settings = [("PROGRAM", PROGRAM), ("FILES", "1000"), ("JPPD_LIMITS__MAX_CONNECTIONS", "4000")];
    let daemon = Daemon::start(Path::new(OTHERWISE), &node, &settings).await?;
    let warning = "this process may open 1000 files and may need 14576: limits.max_connections 4000";
    ensure!(daemon.log().contains(warning), "{}", daemon.log());
    let settings = [
        ("PROGRAM", PROGRAM),
        ("FILES", "1000"),
        ("JPPD_LIMITS__MAX_SOCKETS", "200"),
        ("JPPD_LIMITS__MAX_CONNECTIONS", "100"),
    ];
    let daemon = Daemon::start(Path::new(OTHERWISE), &node, &settings).await?;
    ensure!(!daemon.log().contains("may open 1000 files"), "{}", daemon.log());
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

/// A copy of a store that an earlier version wrote, and a configuration that names it.
fn old_store(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let store = folder.join("store");
    std::fs::create_dir(&store)?;
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/0.1.0/store");
    for entry in std::fs::read_dir(kept)? {
        let entry = entry?;
        std::fs::copy(entry.path(), store.join(entry.file_name()))?;
    }
    let file = folder.join("jppd.toml");
    let quoted = store.display();
    std::fs::write(
        &file,
        format!(
            "[node]\nnetwork = \"regtest\"\nrpc_cookie_file = \"/nowhere\"\n[store]\npath = \"{quoted}\"\n"
        ),
    )?;
    Ok((store, file))
}

#[test]
fn the_owner_of_an_address_is_told_and_released() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (path, file) = old_store(folder.path())?;
    let file = file.to_str().unwrap_or_default();
    let address = "bchreg:qqrswpc8qurswpc8qurswpc8qurswpc8qqawkvn8jg";
    let scripts = |word: &str, address: &str| -> Result<(Option<i32>, String)> {
        let ended = jppd(&["scripts", word, address, "--config", file])?;
        let said = [ended.stdout, ended.stderr].concat();
        Ok((ended.status.code(), String::from_utf8_lossy(&said).into_owned()))
    };
    let (code, said) = scripts("show", address)?;
    ensure!(code == Some(0) && said.contains("owner: ") && said.contains("not released"), "{code:?} {said}");

    // While the daemon holds the store nothing is released, and what to do is said.
    let held = Store::open(&path, StoreOptions::new(Network::Regtest))?;
    let (code, said) = scripts("release", address)?;
    ensure!(code == Some(1) && said.contains("jppd is running with this store: stop it"), "{code:?} {said}");
    let (code, said) = scripts("show", address)?;
    ensure!(
        code == Some(0) && said.contains("not released"),
        "it can be told all the while: {code:?} {said}"
    );
    held.flush_and_close()?;
    drop(held);

    let (code, said) = scripts("release", address)?;
    ensure!(code == Some(0) && said.contains("state: released"), "{code:?} {said}");
    let (code, said) = scripts("show", address)?;
    ensure!(code == Some(0) && said.contains("state: released"), "{code:?} {said}");

    let script = ScriptBuf::from([&[0x76, 0xa9, 0x14][..], &[0xee; 20], &[0x88, 0xac]].concat());
    let never = Address::of_script(&script, Network::Regtest).context("an address")?.to_string();
    for word in ["show", "release"] {
        let (code, said) = scripts(word, &never)?;
        ensure!(code == Some(1) && said.contains("no invoice ever asked for it"), "{code:?} {said}");
    }
    for (word, address, wanted) in [
        ("show", "bitcoincash:qqqq", "is no address of the network regtest"),
        ("release", "bchreg:nonsense", "is no address of the network regtest"),
    ] {
        let (code, said) = scripts(word, address)?;
        ensure!(code == Some(1) && said.contains(wanted), "{word} {address}: {code:?} {said}");
    }
    Ok(())
}

/// `jppd run` over the store of a folder, with ports of its own, to its end.
fn run_over(store: &Path, more: &[(&str, &str)]) -> Result<Output> {
    let port =
        || -> Result<String> { Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string()) };
    let (http, ops) = (port()?, port()?);
    let store = store.to_string_lossy();
    let mut variables = vec![
        ("JPPD_NODE__NETWORK", "regtest"),
        ("JPPD_NODE__RPC_COOKIE_FILE", "/nowhere/.cookie"),
        ("JPPD_STORE__PATH", &store),
        ("JPPD_HTTP__LISTEN", &http),
        ("JPPD_OPS__LISTEN", &ops),
    ];
    variables.retain(|(key, _)| more.iter().all(|(other, _)| key != other));
    variables.extend(more);
    run_with("", &variables)
}

fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // RocksDB's own notes begin anew at every try.
        if !name.starts_with("LOG") && !name.starts_with("LOCK") {
            files.push((name, std::fs::read(entry.path())?));
        }
    }
    files.sort();
    Ok(files)
}

fn ended_with(output: &Output, code: i32, word: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "{}, not {code}: {said}", output.status);
    ensure!(said.contains(word), "{word} is not in {said}");
    Ok(())
}

#[test]
fn a_store_that_no_restart_mends_ends_with_78_and_stays_as_it_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let open = || Store::open(&path, StoreOptions::new(Network::Regtest));
    drop(open()?);
    let before = files(&path)?;

    ended_with(&run_over(&path, &[("JPPD_NODE__NETWORK", "main")])?, 78, "belongs to the network regtest")?;
    std::fs::write(path.join("committed"), "damaged")?;
    ended_with(&run_over(&path, &[])?, 78, "`committed` holds no valid number")?;
    std::fs::remove_file(path.join("committed"))?;
    ended_with(&run_over(&path, &[])?, 78, "`committed` is missing")?;
    for (name, bytes) in &before {
        std::fs::write(path.join(name), bytes)?;
    }
    ensure!(files(&path)? == before, "a refused store is changed");

    let foreign = folder.path().join("foreign");
    drop(rocksdb::DB::open_default(&foreign)?.put("theirs", "yes"));
    ended_with(&run_over(&foreign, &[])?, 78, "not one of this program")?;
    Ok(())
}

#[test]
fn a_store_in_use_and_a_port_that_is_taken_end_with_1() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let held = Store::open(&path, StoreOptions::new(Network::Regtest))?;
    ended_with(&run_over(&path, &[])?, 1, "in use by another process")?;
    drop(held);
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    ended_with(&run_over(&path, &[("JPPD_HTTP__LISTEN", &address)])?, 1, "cannot listen on")?;
    Ok(())
}

#[test]
fn a_missing_store_is_not_made_where_none_is_to_be_made() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    ended_with(&run_over(&path, &[("JPPD_STORE__CREATE", "never")])?, 64, "there is no store in")?;
    ensure!(!path.exists(), "it was made");
    Ok(())
}

#[test]
fn a_store_of_another_user_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    drop(Store::open(&path, StoreOptions::new(Network::Regtest))?);
    let given = Command::new("chown").args(["-R", "65534"]).arg(&path).output()?;
    if !given.status.success() {
        regtest::node::skipped("a_store_of_another_user_is_refused: only root can give files away");
        return Ok(());
    }
    let before = files(&path)?;
    ended_with(&run_over(&path, &[])?, 78, "run it as nobody")?;
    ensure!(files(&path)? == before, "a refused store is changed");
    // A store that is made by root in the folder of another user keeps that user out.
    let new = folder.path().join("new");
    std::fs::create_dir(&new)?;
    ensure!(Command::new("chown").arg("65534").arg(&new).status()?.success());
    ended_with(&run_over(&new, &[])?, 78, "run it as nobody")?;
    ensure!(files(&new)?.is_empty(), "something was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_store_is_told() -> Result<()> {
    let node = SimNode::start(SimOptions::default())?;
    node.mine(1, &regtest::purse::nobody())?;
    let daemon = Daemon::start(Path::new(PROGRAM), &node, &[]).await?;
    let told = |daemon: &Daemon| daemon.log().matches("a new store was made in").count();
    ensure!(told(&daemon) == 1, "{}", daemon.log());
    let meter = "jppd_store_created_timestamp_seconds 1";
    let meters = daemon.ops().get("/metrics").await?.body;
    ensure!(meters.contains(meter), "{meters}");
    ensure!(daemon.terminate().await?.success());
    daemon.launch()?;
    daemon.wait_ready().await?;
    ensure!(told(&daemon) == 1, "told again\n{}", daemon.log());
    let meters = daemon.ops().get("/metrics").await?.body;
    ensure!(meters.contains(meter), "the time of the making is kept: {meters}");
    Ok(())
}
