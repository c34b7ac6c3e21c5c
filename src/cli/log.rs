//! The log: one line per event on standard error, best effort.
//!
//! A payment daemon must not end, or keep a payer waiting, because its log cannot be written: standard error may be a
//! pipe whose reader is gone or does not read, or a file on a full disk. Lines therefore go through a bounded queue to
//! a thread that writes them. A line that finds the queue full, or cannot be written, is counted in
//! `jppd_log_lines_lost_total`, and the next line that can be written says how many were lost before it.

use std::{
    io::{self, Write},
    os::unix::fs::MetadataExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{Level, Metadata};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// How many lines wait at most.
const QUEUE: usize = 16_384;

/// How long the end of the process waits for lines that are in the queue.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The pause between two tries to reach the end of a full queue.
const PAUSE: Duration = Duration::from_millis(10);

/// The log of this process. [`Log::flush`] before the process ends, or its last lines are lost.
#[derive(Clone, Debug)]
pub(super) struct Log {
    queue: SyncSender<Item>,
    lost: Arc<AtomicU64>,
    /// Whether each line begins with its priority, as the journal reads it.
    priorities: bool,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// Answered when every line before it was written or is lost.
    Flush(SyncSender<()>),
}

impl Log {
    /// Starts the log on standard error at the level of `RUST_LOG`, `info` without it.
    ///
    /// # Errors
    ///
    /// When the operating system refuses the thread.
    pub(super) fn start() -> io::Result<Self> {
        let journal = is_journal();
        let log = Self::to(io::stderr(), journal)?;
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(log.clone())
            .with_ansi(false)
            // Told on standard error, errors of the log would panic when that fails.
            .log_internal_errors(false);
        // The journal has a time of its own for each line.
        let started = if journal { lines.without_time().try_init() } else { lines.try_init() };
        // An error means that this process has a log already: that of a test.
        let _ = started;
        Ok(log)
    }

    fn to(output: impl Write + Send + 'static, priorities: bool) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(output, &lines, &counted))?;
        Ok(Self { queue, lost, priorities })
    }

    /// How many lines could not be written since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until the lines so far are written, for at most a second.
    pub(super) fn flush(&self) {
        let until = Instant::now() + LAST_LINES;
        let (done, written) = sync_channel(1);
        let mut item = Item::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(item) {
            if Instant::now() > until {
                return;
            }
            item = back;
            thread::sleep(PAUSE);
        }
        // Lines that take longer than that are lost with the process.
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    fn add(&self, line: Vec<u8>) {
        if self.queue.try_send(Item::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes what comes through the queue until nobody can send any more.
fn write_lines(mut output: impl Write, lines: &Receiver<Item>, lost: &AtomicU64) {
    let mut told = 0;
    while let Ok(item) = lines.recv() {
        match item {
            Item::Line(line) => {
                let missing = lost.load(Ordering::Relaxed).saturating_sub(told);
                if missing > 0 && writeln!(output, "{missing} lines of the log could not be written").is_ok()
                {
                    told = told.saturating_add(missing);
                }
                if output.write_all(&line).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            // A caller that is gone has waited long enough.
            Item::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// One event on its way into the queue.
#[derive(Debug)]
pub(super) struct Line<'a> {
    log: &'a Log,
    /// The priority of syslog: 3 for an error, 4 for a warning, 6 for information, 7 for what only developers read.
    priority: u8,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { log: self, priority: 6, text: Vec::new() }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Self::Writer {
        let priority = match *of.level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        Line { log: self, priority, text: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !self.log.priorities {
            return self.log.add(text);
        }
        // The journal takes each line of a message for a message.
        let prefix = format!("<{}>", self.priority);
        let mut marked = Vec::with_capacity(text.len() + prefix.len());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            marked.extend_from_slice(prefix.as_bytes());
            marked.extend_from_slice(line);
        }
        self.log.add(marked);
    }
}

/// Whether standard error is the journal's: `JOURNAL_STREAM` has the device and the inode of the journal's socket.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|file| format!("{}:{}", file.dev(), file.ino()) == stream)
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// A file on a disk that is full for a while, and what is in it.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(bool, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock();
            if disk.0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.1.extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().1.clone()).unwrap()
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_told() {
        let disk = Disk::default();
        let log = Log::to(disk.clone(), false).unwrap();
        log.make_writer().write_all(b"one\n").unwrap();
        log.flush();
        disk.0.lock().0 = true;
        for _ in 0..3 {
            log.make_writer().write_all(b"lost\n").unwrap();
        }
        log.flush();
        assert_eq!(log.lost(), 3);
        disk.0.lock().0 = false;
        log.make_writer().write_all(b"two\n").unwrap();
        log.flush();
        assert_eq!(disk.text(), "one\n3 lines of the log could not be written\ntwo\n");
    }

    #[test]
    fn output_that_hangs_costs_lines_and_no_time() {
        /// Takes nothing until it is let go.
        struct Hangs(Receiver<()>);
        impl Write for Hangs {
            fn write(&mut self, part: &[u8]) -> io::Result<usize> {
                // The sender is gone at the end of the test.
                let _ = self.0.recv();
                Ok(part.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (let_go, held) = sync_channel::<()>(1);
        let log = Log::to(Hangs(held), false).unwrap();
        let more = 1_000;
        for _ in 0..QUEUE + more {
            log.make_writer().write_all(b"a line\n").unwrap();
        }
        // One line may be with the thread.
        let lost = log.lost();
        assert!((999..=1_000).contains(&lost), "{lost}");
        drop(let_go);
    }

    #[test]
    fn journal_is_told_the_priority_of_every_line() {
        let disk = Disk::default();
        let log = Log::to(disk.clone(), true).unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("all is well");
            tracing::warn!("two\nlines");
            tracing::error!("it failed");
        });
        log.flush();
        let right = "<6> INFO all is well\n<4> WARN two\n<4>lines\n<3>ERROR it failed\n";
        assert_eq!(disk.text(), right);
    }
}
