//! `jppd keys new`: makes the file with the key that signs JPP answers.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};

use super::keys::random;
use crate::api::signing::KeyFile;

/// A file could not be made. The operator's machine is at fault, or there is one already, which stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// There is something of that name.
    #[error("{}: this is there already, and is left alone: a key that is lost cannot be made again", .0.display())]
    Present(PathBuf),
    /// The file could not be written.
    #[error("{}: cannot be written: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// Makes a file with one new key.
///
/// # Errors
///
/// [`SigningKeyError::Random`].
pub fn make(owner: String, domains: Vec<String>, expires: DateTime<Utc>) -> Result<KeyFile, SigningKeyError> {
    let bytes = random().map_err(|_| SigningKeyError::Random)?;
    // Out of 2^128 files, one fails.
    KeyFile::new(owner, domains, expires, &bytes).ok_or(SigningKeyError::Random)
}

/// Writes a file that must not be there yet, with mode 0600. After a power cut it is there whole, or not at all.
///
/// # Errors
///
/// [`SigningKeyError`].
pub fn keep(path: &Path, text: &str) -> Result<(), SigningKeyError> {
    write(path, text).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return SigningKeyError::Present(path.to_owned());
        }
        SigningKeyError::Write { path: path.to_owned(), error }
    })
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // A temporary file has mode 0600 from its first moment on.
    let mut file = tempfile::Builder::new().prefix(".signing_key-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn new() -> KeyFile {
        make("Shop".to_owned(), vec!["pay.example".to_owned()], DateTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_file_that_was_made_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jpp_keys");
        let file = new();
        keep(&path, &file.text(DateTime::UNIX_EPOCH)).unwrap();
        assert_eq!(KeyFile::parse(&fs::read_to_string(&path).unwrap()), Ok(file.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(file.public_keys(), new().public_keys());
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "precious").unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("link")).unwrap();
        for name in ["file", "link"] {
            let error = keep(&path(name), "text").unwrap_err();
            assert!(matches!(error, SigningKeyError::Present(_)), "{error}");
        }
        assert_eq!(fs::read_to_string(path("file")).unwrap(), "precious");
        assert!(!path("nowhere").exists());
        assert!(matches!(keep(&path("none/file"), "text"), Err(SigningKeyError::Write { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
