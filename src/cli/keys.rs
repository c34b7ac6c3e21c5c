//! `jppd keys merchant NAME`: makes a key, adds its digest to the file, and hands the key over, once.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use crate::config::{ApiKey, ApiKeys, ApiKeysError, MerchantName, digest_of};

/// A key could not be made or kept. The operator's machine is at fault; the file is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// The file that is there is not one of keys, and is left alone.
    #[error("{}: {error}", path.display())]
    Present {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: ApiKeysError,
    },
    /// The new file could not be written.
    #[error("{}: cannot be written: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// Makes a key: 32 random bytes, in hex.
pub fn make() -> Result<String, KeysError> {
    random().map(hex::encode).map_err(KeysError::Random)
}

/// The bytes of a key of any kind.
pub(super) fn random() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Adds a key to a file, which is made if it is not there. Whoever reads it meanwhile sees the old file or the
/// new one; after a power cut it is one of the two. Its owner stays, its mode becomes 0600.
///
/// Two calls at the same moment may lose one of the keys: this is a command for a person.
pub fn add(path: &Path, merchant: MerchantName, key: &str, created: DateTime<Utc>) -> Result<(), KeysError> {
    // A link is followed, so that it stays a link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let present = match fs::read_to_string(&target) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(KeysError::Present { path: target, error: ApiKeysError::Read(error) }),
    };
    let mut text = present.clone().unwrap_or_default();
    if let Err(error) = ApiKeys::parse(&text) {
        return Err(KeysError::Present { path: target, error });
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let entry = ApiKey { merchant, digest: digest_of(key), created };
    text.push_str(&format!("{entry}\n"));
    replace(&target, &text, present.is_some()).map_err(|error| KeysError::Write { path: target, error })
}

/// Writes beside the file, then puts the new one in its place.
fn replace(path: &Path, text: &str, exists: bool) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new().prefix(".api_keys-").tempfile_in(folder)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    if exists {
        let (old, new) = (fs::metadata(path)?, file.as_file().metadata()?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
    }
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn name(text: &str) -> MerchantName {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_that_was_added_opens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api_keys");
        let (first, second, third) = (make().unwrap(), make().unwrap(), make().unwrap());
        add(&path, name("shop"), &first, at(0)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        add(&path, name("shop"), &second, at(1)).unwrap();
        add(&path, name("kiosk"), &third, at(2)).unwrap();

        let keys = ApiKeys::load(&path).unwrap();
        assert_eq!(keys.merchant_of(&first), Some("shop"));
        assert_eq!(keys.merchant_of(&second), Some("shop"));
        assert_eq!(keys.merchant_of(&third), Some("kiosk"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("1970-01-01T00:00:02Z\n"), "{text}");
        for key in [first, second, third] {
            assert_eq!(key.len(), 64);
            assert!(!text.contains(&key));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api_keys");
        fs::write(&path, "# our shops").unwrap();
        add(&path, name("shop"), "key", at(0)).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("# our shops\nshop "));

        fs::write(&path, "[http]\n").unwrap();
        let error = add(&path, name("shop"), "key", at(0)).unwrap_err();
        assert!(matches!(error, KeysError::Present { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "[http]\n");

        let nowhere = folder.path().join("none/api_keys");
        assert!(matches!(add(&nowhere, name("shop"), "key", at(0)), Err(KeysError::Write { .. })));
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        add(&link, name("shop"), "key", at(0)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(ApiKeys::load(&target).unwrap().merchant_of("key"), Some("shop"));
    }
}
