//! A machine with a systemd of its own, as process 1: a tree of Debian, booted by `systemd-nspawn`.
//!
//! Everything in it lives in a process namespace below one child of the test, and that child dies with the test's
//! thread: a test that is killed leaves no process and no mount. Its folders, control groups and what nspawn leaves in
//! `/run` are removed when the machine is dropped, or by the next test when the first was killed.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How long a boot may take. On an idle machine that is 0.7 s.
const BOOT: Duration = Duration::from_secs(60);

/// How long an orderly shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(60);

/// How long one command in the machine may run, in seconds.
const COMMAND: &str = "150";

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// The search path of root in the machine.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where names of machines begin. The id of the test's process follows.
const PREFIX: &str = "jppd-test";

/// Where nspawn keeps a folder for each machine.
const PROPAGATE: &str = "/run/systemd/nspawn/propagate";

/// Puts the shell into the control groups of the machine, then becomes a process that dies with the thread that
/// started it, with one child that dies with that.
const LAUNCH: &str = r#"for group in $MACHINE_GROUPS; do echo $$ >"$group/cgroup.procs"; done
exec setpriv --pdeathsig KILL unshare --pid --fork --kill-child=KILL --mount-proc systemd-nspawn "$@""#;

/// A machine, running or not.
pub(crate) struct Machine {
    name: String,
    folder: PathBuf,
    life: Option<Life>,
}

/// One boot of a machine.
struct Life {
    nspawn: Child,
    /// The id, outside, of the machine's process 1.
    leader: u32,
}

impl Machine {
    /// Unpacks a tree and boots it. An error says why this computer cannot: nothing that is tried took part yet.
    pub(crate) fn start(name: &str, scratch: &Path) -> Result<Self> {
        if fs::metadata("/proc/self")?.uid() != 0 {
            bail!("it needs root");
        }
        for program in ["systemd-nspawn", "nsenter", "unshare", "setpriv", "tar"] {
            if !on_path(program) {
                bail!("there is no {program}");
            }
        }
        remove_abandoned(scratch)?;
        let tar = debian_tree()?;
        let name = format!("{PREFIX}-{}-{name}", std::process::id());
        let folder = scratch.join(&name);
        fs::create_dir_all(folder.join("tree"))?;
        let mut machine = Self { name, folder, life: None };
        let unpacked = Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(machine.tree()).output()?;
        if !unpacked.status.success() {
            bail!("{} cannot be unpacked: {}", tar.display(), String::from_utf8_lossy(&unpacked.stderr));
        }
        machine.boot()?;
        Ok(machine)
    }

    /// Its name without the process: what messages call it.
    pub(crate) fn label(&self) -> &str {
        self.name.rsplit_once('-').map_or(&self.name, |(_, label)| label)
    }

    /// The root folder of the machine. Files put below its `/tmp` and `/run` are not seen inside.
    pub(crate) fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Boots it, and returns when systemd has started everything.
    pub(crate) fn boot(&mut self) -> Result<()> {
        let groups = control_groups()?;
        let mut list = Vec::new();
        for group in groups {
            let group = group.join(&self.name);
            fs::create_dir_all(&group)
                .with_context(|| format!("no control group {} can be made", group.display()))?;
            list.push(group.to_str().context("a path that is not UTF-8")?.to_owned());
        }
        let console = fs::File::create(self.console())?;
        let nspawn = Command::new("sh")
            .args(["-euc", LAUNCH, "sh", "--boot", "--register=no", "--keep-unit"])
            .args(["--private-network", "--console=pipe"])
            .arg(format!("--machine={}", self.name))
            .arg(format!("--directory={}", self.tree().display()))
            .env("MACHINE_GROUPS", list.join(" "))
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()?;
        self.life = Some(Life { nspawn, leader: 0 });
        let until = Instant::now() + BOOT;
        let mut state = String::new();
        while Instant::now() < until {
            let life = self.life.as_mut().context("it does not run")?;
            if let Some(status) = life.nspawn.try_wait()? {
                bail!("systemd-nspawn ended with {status}: {}", fs::read_to_string(self.console())?.trim());
            }
            if life.leader == 0 {
                life.leader = leader(life.nspawn.id()).unwrap_or(0);
            }
            if life.leader != 0 {
                // Before its bus answers this fails.
                let told = self.run("systemctl is-system-running 2>/dev/null || true", None)?;
                state = String::from_utf8_lossy(&told.stdout).trim().to_owned();
                if state == "running" || state == "degraded" {
                    return Ok(());
                }
            }
            thread::sleep(PAUSE);
        }
        bail!("systemd is {state:?} a minute after the boot: {}", fs::read_to_string(self.console())?.trim())
    }

    /// Shuts it down in order.
    pub(crate) fn power_off(&mut self) -> Result<()> {
        // The connection may end before its answer.
        let _ = self.run("systemctl poweroff", None);
        let life = self.life.as_mut().context("it does not run")?;
        let until = Instant::now() + SHUTDOWN;
        while life.nspawn.try_wait()?.is_none() {
            if Instant::now() > until {
                self.pull_the_plug()?;
                bail!("the machine did not shut down in {} s", SHUTDOWN.as_secs());
            }
            thread::sleep(PAUSE);
        }
        self.life = None;
        self.tidy();
        Ok(())
    }

    /// Kills every process of the machine at once (SIGKILL).
    pub(crate) fn pull_the_plug(&mut self) -> Result<()> {
        if let Some(mut life) = self.life.take() {
            life.nspawn.kill()?;
            life.nspawn.wait()?;
            self.tidy();
        }
        Ok(())
    }

    /// Runs a script in it as root, and tells how that ended.
    pub(crate) fn run(&self, script: &str, input: Option<&str>) -> Result<Output> {
        let leader = self.life.as_ref().context("the machine does not run")?.leader.to_string();
        let mut child = Command::new("nsenter")
            .args(["-t", &leader, "-m", "-u", "-i", "-n", "-p", "-C", "--", "env", "-i", PATH])
            .args(["HOME=/root", "timeout", COMMAND, "sh", "-euc", script])
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(input) = input {
            child.stdin.take().context("a pipe")?.write_all(input.as_bytes())?;
        }
        Ok(child.wait_with_output()?)
    }

    /// Runs a script in it as root, which must succeed, and gives its output.
    pub(crate) fn sh(&self, script: &str) -> Result<String> {
        self.sh_with(script, None)
    }

    /// As [`Machine::sh`], with something on standard input.
    pub(crate) fn sh_with(&self, script: &str, input: Option<&str>) -> Result<String> {
        let output = self.run(script, input)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("in the machine, {}:\n{script}\n{said}{errors}", output.status);
        }
        Ok(said)
    }

    /// Writes a file of root, mode 0644, with the folders above it.
    pub(crate) fn write(&self, path: &str, content: &str) -> Result<()> {
        let file = self.tree().join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().context("a folder")?)?;
        fs::write(&file, content).with_context(|| format!("{} cannot be written", file.display()))
    }

    /// Copies a file into it, mode 0755, with the folders above it.
    pub(crate) fn copy(&self, from: &Path, path: &str) -> Result<()> {
        let file = self.tree().join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().context("a folder")?)?;
        fs::copy(from, &file).with_context(|| format!("{} cannot be copied", from.display()))?;
        Ok(())
    }

    /// Copies a program into it, with the libraries that it needs and a minimal Debian lacks.
    pub(crate) fn copy_program(&self, from: &Path, path: &str) -> Result<()> {
        self.copy(from, path)?;
        let listed = Command::new("ldd").arg(from).output()?;
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            let Some((name, place)) = line.trim().split_once(" => ") else { continue };
            let place = place.split(" (").next().unwrap_or_default();
            if place.starts_with('/') && !self.tree().join(place.trim_start_matches('/')).exists() {
                self.copy(Path::new(place), &format!("/usr/local/lib/{name}"))?;
            }
        }
        self.sh("ldconfig").map(drop)
    }

    fn console(&self) -> PathBuf {
        self.folder.join("console")
    }

    /// Removes what outlives the processes.
    fn tidy(&self) {
        for group in control_groups().unwrap_or_default() {
            remove_group(&group.join(&self.name));
        }
        // nspawn removes it where /run is a tmpfs.
        let _ = fs::remove_dir(Path::new(PROPAGATE).join(&self.name));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nothing in it is worth an orderly end, and a failing test has said already what failed.
        let _ = self.pull_the_plug();
        self.tidy();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The tar of the tree; waits while another process makes it.
fn debian_tree() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/debian-tree");
    let made = Command::new(script).stdin(Stdio::null()).output()?;
    if !made.status.success() {
        bail!("there is no tree of Debian: {}", String::from_utf8_lossy(&made.stderr).trim());
    }
    Ok(PathBuf::from(String::from_utf8(made.stdout)?.trim()))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The machine's process 1: the child named `systemd` of the child of `launcher`.
fn leader(launcher: u32) -> Option<u32> {
    let nspawn = children(launcher).into_iter().next()?;
    children(nspawn).into_iter().find(|child| {
        fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "systemd")
    })
}

fn children(of: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// The control groups of this process that systemd works with, as folders: of version 2, and of the hierarchy that
/// systemd has on version 1.
fn control_groups() -> Result<Vec<PathBuf>> {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mut found = Vec::new();
    for mount in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let Some((place, kind)) = mount.split_once(" - ") else { continue };
        let of_systemd = if kind.starts_with("cgroup2 ") {
            "0::"
        } else if kind.starts_with("cgroup ") && kind.contains("name=systemd") {
            "name=systemd:"
        } else {
            continue;
        };
        let Some(root) = place.split(' ').nth(4) else { continue };
        let path = own.lines().find_map(|line| line.split_once(of_systemd).map(|(_, path)| path));
        if let Some(path) = path {
            found.push(Path::new(root).join(path.trim_start_matches('/')));
        }
    }
    Ok(found)
}

/// Removes a control group with those below it. One that holds a process stays.
fn remove_group(group: &Path) {
    // Processes that were killed leave their group a moment later.
    let until = Instant::now() + Duration::from_secs(2);
    while group.is_dir() && Instant::now() < until {
        remove_empty(group);
        thread::sleep(Duration::from_millis(5));
    }
}

fn remove_empty(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    // A group that still holds a process stays.
    let _ = fs::remove_dir(group);
}

/// Removes what tests left that were killed.
fn remove_abandoned(scratch: &Path) -> Result<()> {
    let abandoned = |path: &Path| {
        let id = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('-').nth(1)?;
        (!Path::new("/proc").join(id).exists()).then(|| path.to_owned())
    };
    let within = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| abandoned(&entry.path())).collect()
    };
    for group in control_groups()? {
        within(&group).iter().for_each(|group| remove_group(group));
    }
    for folder in within(Path::new(PROPAGATE)) {
        // Another test may have been faster.
        let _ = fs::remove_dir(folder);
    }
    for folder in within(scratch) {
        let _ = fs::remove_dir_all(folder);
    }
    Ok(())
}
