//! The demo as a child, for the tests that sit in front of it.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;
use regtest::node::skipped;

/// How long a demo may take. One that takes longer waits for what does not come; it is ended, and says nothing more.
const LIMIT: Duration = Duration::from_secs(180);

/// The pause between two looks whether it ended.
const PAUSE: Duration = Duration::from_millis(100);

/// The demo as a child.
pub(crate) struct Demo {
    child: Arc<Mutex<Child>>,
    keyboard: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    /// Starts it; `None`, and a word of it, where not all of the workspace was built.
    pub(crate) fn start(test: &str, program: &Path) -> Result<Option<Self>> {
        if !program.is_file() || !program.with_file_name("jppd").is_file() {
            skipped(&format!("{test}: demo and jppd are not beside each other (build the whole workspace)"));
            return Ok(None);
        }
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let keyboard = child.stdin.take();
        let child = Arc::new(Mutex::new(child));
        let watched = child.clone();
        thread::spawn(move || watch(&watched));
        Ok(Some(Self { keyboard, child, said }))
    }

    /// What it says up to a line that contains something, this line included.
    pub(crate) fn until(&mut self, part: &str) -> Result<String> {
        let mut said = String::new();
        for line in &mut self.said {
            let line = line?;
            said.push_str(&line);
            said.push('\n');
            if line.contains(part) {
                return Ok(said);
            }
        }
        bail!("it never said {part:?}:\n{said}")
    }

    /// The address of its page.
    pub(crate) fn page(&mut self) -> Result<String> {
        let said = self.until("with a button that pays")?;
        let (_, url) = said.trim_end().rsplit_once(' ').context("an address")?;
        Ok(url.to_owned())
    }

    /// Presses Enter.
    pub(crate) fn press_enter(&mut self) -> Result<()> {
        Ok(self.keyboard.as_mut().context("a keyboard")?.write_all(b"\n")?)
    }

    /// Ends its input.
    pub(crate) fn take_keyboard(&mut self) {
        self.keyboard = None;
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.lock().try_wait()? {
                return Ok(status);
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Without a keyboard it goes on to its end, and ends its own child.
        self.take_keyboard();
        let _ = self.wait();
    }
}

/// Ends a child that takes too long.
fn watch(child: &Mutex<Child>) {
    let until = Instant::now() + LIMIT;
    while Instant::now() < until {
        if !matches!(child.lock().try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(PAUSE);
    }
    // It may have ended by itself.
    let _ = child.lock().kill();
}
