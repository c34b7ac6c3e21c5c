//! The user that a store belongs to.
//!
//! A file that another user writes into the folder of a store keeps the daemon out at its next start. So a store is
//! written by its owner alone.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::StoreError;

/// The user id of root.
const ROOT: u32 = 0;

/// Refuses to write a store whose file `CURRENT` belongs to another user than this process runs as.
pub(super) fn must_own(folder: &Path) -> Result<(), StoreError> {
    let owner =
        fs::metadata(folder.join("CURRENT")).map_err(|error| StoreError::of_file(folder, &error))?.uid();
    allow(folder, owner, effective_user(), false)
}

/// Refuses to make a store as root in a folder of another user: the daemon of that user could not open it. Another user
/// may make one wherever the system lets it.
pub(super) fn may_make(folder: &Path) -> Result<(), StoreError> {
    let there = folder.ancestors().find_map(|ancestor| fs::metadata(ancestor).ok());
    let Some(there) = there else { return Ok(()) };
    allow(folder, there.uid(), effective_user(), true)
}

fn allow(folder: &Path, owner: u32, user: u32, root_alone: bool) -> Result<(), StoreError> {
    if owner == user || (root_alone && user != ROOT) {
        return Ok(());
    }
    let (owner, user) = (name_of(owner), name_of(user));
    Err(StoreError::OtherOwner { path: PathBuf::from(folder), owner, user })
}

fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The name of a user as `/etc/passwd` has it, or else the number.
fn name_of(id: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("number {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_written_by_its_owner_and_made_by_root_in_its_own_folders_alone() {
        let folder = Path::new("/store");
        let refused = |owner, user, making| allow(folder, owner, user, making).is_err();
        assert!(!refused(1000, 1000, false));
        assert!(refused(1000, ROOT, false), "root writes into the store of a user");
        assert!(refused(ROOT, 1000, false));
        assert!(refused(1000, ROOT, true), "root makes a store in the folder of a user");
        assert!(!refused(ROOT, ROOT, true));
        assert!(!refused(ROOT, 1000, true), "a volume whose folder belongs to root");
    }

    #[test]
    fn a_user_is_named_as_the_system_names_it() {
        assert_eq!(name_of(ROOT), "root");
        assert_eq!(name_of(4_000_000_000), "number 4000000000");
    }
}
