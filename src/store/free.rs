//! The free room on the disk of a store.

use std::{io, path::Path};

/// The bytes that are free for this user on the disk of a folder.
///
/// # Errors
///
/// The system's.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
