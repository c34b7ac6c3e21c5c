//! Packages from npm, as a lock file says, and programs that are run to their end.
//!
//! A folder with a `package.json`, its lock and an `.npmrc` says what is wanted. It is installed once, into cargo's
//! folder for such things.

use std::{
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bitcoincash::hashes::{Hash as _, sha256};
use serde_json::Value;

/// The oldest Node that the libraries run on.
const OLDEST_NODE: u32 = 18;

/// How long an installation may take.
const INSTALLATION: Duration = Duration::from_secs(900);

/// What npm says when it does not reach its registry. Whatever else goes wrong is our fault, and not passed over.
const UNREACHABLE: [&str; 12] = [
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "ERR_SOCKET_TIMEOUT",
    "ENOTCACHED",
    "E502",
    "E503",
    "E504",
];

/// The folder with what `source` wants, or why there is none.
pub(crate) async fn install(source: &Path) -> Result<Result<PathBuf, String>> {
    let Some(node) = version("node").await? else { return Ok(Err("no node".to_owned())) };
    let major = node.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_NODE) {
        return Ok(Err(format!("node is {node}, not {OLDEST_NODE} or later")));
    }
    if version("npm").await?.is_none() {
        return Ok(Err("no npm".to_owned()));
    }
    let lock = fs::read(source.join("package-lock.json"))?;
    let name = sha256::Hash::hash(&lock).to_string();
    let folders = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm");
    let folder = folders.join(name.get(..16).context("a hash")?);
    if folder.is_dir() {
        return Ok(Ok(folder));
    }
    // It gets its name when it is complete; another run may have been faster.
    fs::create_dir_all(&folders)?;
    let fresh = tempfile::tempdir_in(&folders)?;
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(source.join(file), fresh.path().join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.args([
        "ci",
        "--omit=dev",
        "--ignore-scripts",
        "--prefer-offline",
        "--fetch-retries=1",
        "--fetch-timeout=60000",
    ]);
    let Some(done) = finish(npm.current_dir(fresh.path()), "", INSTALLATION).await? else {
        return Ok(Err("npm went away".to_owned()));
    };
    if !done.success {
        return match UNREACHABLE.iter().find(|code| done.complaints.contains(*code)) {
            Some(code) => Ok(Err(format!("npm does not reach its registry ({code})"))),
            None => bail!("npm ci failed:\n{}", done.complaints),
        };
    }
    if fs::rename(fresh.path(), &folder).is_err() {
        ensure!(folder.is_dir(), "{} could not be made", folder.display());
    }
    Ok(Ok(folder))
}

/// How a program ended, and what it wrote.
pub(crate) struct Done {
    pub(crate) success: bool,
    pub(crate) output: String,
    pub(crate) complaints: String,
}

/// Runs a program to its end; `None` if there is none of that name. One that takes too long is ended.
pub(crate) async fn finish(command: &mut Command, input: &str, limit: Duration) -> Result<Option<Done>> {
    let (mut given, mut output, mut complaints) =
        (tempfile::tempfile()?, tempfile::tempfile()?, tempfile::tempfile()?);
    given.write_all(input.as_bytes())?;
    given.rewind()?;
    let command = command.stdin(given).stdout(output.try_clone()?).stderr(complaints.try_clone()?);
    let mut child = match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        child => child?,
    };
    let until = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            bail!("{command:?} takes too long");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let read = |file: &mut fs::File| {
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        Ok::<_, io::Error>(text)
    };
    Ok(Some(Done {
        success: status.success(),
        output: read(&mut output)?,
        complaints: read(&mut complaints)?,
    }))
}

/// What a program says its version is, if there is one of that name.
async fn version(program: &str) -> Result<Option<String>> {
    let Some(done) = finish(Command::new(program).arg("--version"), "", Duration::from_secs(60)).await?
    else {
        return Ok(None);
    };
    ensure!(done.success, "{program}: {}", done.complaints);
    Ok(Some(done.output.trim().to_owned()))
}

/// Fails if a lock names a registry: whoever installs has one configured. The hashes prove that it serves the same. A
/// lock with fewer packages than `least` is not the one that was meant.
pub(crate) fn check_lock(source: &Path, least: usize) -> Result<()> {
    let lock: Value = serde_json::from_str(&fs::read_to_string(source.join("package-lock.json"))?)?;
    let packages = lock["packages"].as_object().context("packages")?;
    ensure!(packages.len() >= least, "{}", packages.len());
    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
        ensure!(package.get("resolved").is_none(), "{name} is bound to a registry");
        ensure!(
            package["integrity"].as_str().is_some_and(|hash| hash.starts_with("sha512-")),
            "{name} has no hash"
        );
    }
    Ok(())
}
