//! The watch over the free room on the disk of the store: below `store.min_free` no invoice is created.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::JoinHandle;

use crate::store::free_bytes;

/// Looks at the free room from time to time.
pub(super) struct DiskWatch {
    folder: PathBuf,
    /// In bytes; 0 for no such limit.
    min_free: u64,
    low: Arc<AtomicBool>,
    asking: Option<JoinHandle<()>>,
}

impl DiskWatch {
    /// A watch that has looked once.
    pub(super) fn new(folder: PathBuf, min_free: u64) -> Self {
        let low = Arc::new(AtomicBool::new(false));
        look(&folder, min_free, &low);
        Self { folder, min_free, low, asking: None }
    }

    /// Whether there is less room than the limit, as of the last look.
    pub(super) fn low(&self) -> Arc<AtomicBool> {
        self.low.clone()
    }

    /// Looks again, on a thread that may wait for the disk; not while an earlier look still waits.
    pub(super) fn look(&mut self) {
        if self.asking.as_ref().is_some_and(|asking| !asking.is_finished()) {
            return;
        }
        let (folder, min_free, low) = (self.folder.clone(), self.min_free, self.low.clone());
        self.asking = Some(tokio::task::spawn_blocking(move || look(&folder, min_free, &low)));
    }
}

fn look(folder: &std::path::Path, min_free: u64, low: &AtomicBool) {
    match free_bytes(folder) {
        Ok(free) => {
            #[expect(clippy::cast_precision_loss, reason = "a meter of disk space")]
            metrics::gauge!("jppd_store_free_bytes").set(free as f64);
            low.store(free < min_free, Ordering::Relaxed);
        }
        // The flag keeps its value when the free room cannot be read: failed writes report a failed disk.
        Err(error) => tracing::debug!(%error, "the free room of the disk cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_below_its_limit_alone() {
        let folder = tempfile::tempdir().unwrap();
        let low = |min_free| DiskWatch::new(folder.path().to_owned(), min_free).low().load(Ordering::Relaxed);
        assert!(!low(0));
        assert!(!low(1));
        assert!(low(u64::MAX));
    }
}
