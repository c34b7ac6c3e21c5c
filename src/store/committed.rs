//! The file `committed` beside the tables: the number of the last input that was answered as durable.
//!
//! RocksDB cannot tell a log that ended early from a log that lost its end, and it deletes a log that it has read. So
//! the number of the last input of each synced commit goes into this file as well. The file is not synced: after a
//! crash of the program it is exact, after a power failure it may be older than the logs, never newer. An opening that
//! reads fewer inputs than this number has found a loss.
//!
//! The file has 16 bytes and never changes its length: the number (little endian), then the first 8 bytes of the
//! SHA-256 of the number's bytes. Both lie in one sector of a disk.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use sha2::{Digest as _, Sha256};

use super::StoreError;

/// The name of the file, in the folder of the store.
pub(super) const FILE: &str = "committed";

/// The length of the file, in bytes.
const LENGTH: usize = 16;

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct CommittedFile {
    file: File,
    /// Whether the last write failed, so that a disk that refuses is logged once.
    failed: AtomicBool,
}

impl CommittedFile {
    /// Opens the file, or makes it with this number. A new file is synced with its folder, so that a power failure
    /// cannot leave one without a content.
    pub(super) fn open_or_make(folder: &Path, number: u64) -> io::Result<Self> {
        let path = folder.join(FILE);
        let file = match File::options().write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = File::options().write(true).create_new(true).open(&path)?;
                file.write_all_at(&encode(number), 0)?;
                file.sync_all()?;
                File::open(folder)?.sync_all()?;
                file
            }
            Err(error) => return Err(error),
        };
        Ok(Self { file, failed: AtomicBool::new(false) })
    }

    /// Writes the number of the last input of a commit that is synced. A failure is logged and costs nothing but the
    /// comparison at the next opening: the commit itself is on disk.
    pub(super) fn note(&self, number: u64) {
        match self.file.write_all_at(&encode(number), 0) {
            Ok(()) => self.failed.store(false, Ordering::Relaxed),
            Err(error) => {
                if !self.failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        %error,
                        "the file `{FILE}` of the store cannot be written; losses of the log may go unnoticed"
                    );
                }
            }
        }
    }
}

/// The number in the file of a store; `None` where there is no file.
///
/// # Errors
///
/// [`StoreError::Damaged`] where the file holds no number, [`StoreError::Disk`] where the file cannot be read.
pub(super) fn read(folder: &Path) -> Result<Option<u64>, StoreError> {
    match fs::read(folder.join(FILE)) {
        Ok(bytes) => decode(&bytes).map(Some).ok_or_else(|| StoreError::Damaged {
            path: folder.to_owned(),
            why: format!("the file `{FILE}` holds no valid number"),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::of_file(folder, &error)),
    }
}

/// Writes the file anew and syncs it with its folder.
pub(super) fn replace(folder: &Path, number: u64) -> io::Result<()> {
    let path = folder.join(FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    CommittedFile::open_or_make(folder, number).map(|_| ())
}

fn encode(number: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&Sha256::digest(number.to_le_bytes())[..8]);
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(*bytes.first_chunk()?);
    (bytes == encode(number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_back_and_every_flipped_bit_is_noticed() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let bytes = encode(number);
            assert_eq!(decode(&bytes), Some(number));
            for bit in 0..LENGTH * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&flipped), None, "bit {bit} of {number}");
            }
            for length in 0..LENGTH {
                assert_eq!(decode(&bytes[..length]), None, "cut to {length} bytes");
            }
        }
        assert_eq!(decode(&[0; LENGTH]), None, "a file of zeros is no number");
    }
}
