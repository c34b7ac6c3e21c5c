//! Who we are to the node: a cookie that changes with every start of it, or a user with a password.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::{NodeError, is_exhausted};

/// The largest file with a secret, in bytes.
const FILE_LIMIT: u64 = 4096;

/// Where the credentials for the node's RPC are found. They are read from disk whenever a connection is made
/// anew, so none of them is held longer than it is used, and none stands in the configuration.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// The node's cookie file, written at every start of the node. A killed node leaves a stale one behind.
    Cookie(PathBuf),
    /// A user of `-rpcauth`, or of `-rpcuser`.
    UserPassword {
        /// The user.
        user: String,
        /// A file that holds the password and nothing else; white space at its end is left out.
        password_file: PathBuf,
    },
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(path) => f.debug_tuple("Cookie").field(path).finish(),
            Self::UserPassword { password_file, .. } => {
                f.debug_struct("UserPassword").field("password_file", password_file).finish_non_exhaustive()
            }
        }
    }
}

/// The value of an `Authorization` header. It can be compared and sent, and not be printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    fn basic(user_and_password: &str) -> Self {
        Self(format!("Basic {}", STANDARD.encode(user_and_password)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Auth {
    /// Reads the credentials as they are now.
    ///
    /// # Errors
    ///
    /// [`NodeError::Unreachable`] when there is no cookie, for the node removes it when it stops;
    /// [`NodeError::Exhausted`] when this process may open no more files; [`NodeError::Unauthorized`] when there is
    /// nothing usable in the file, or it may not be read.
    pub(super) fn read(&self) -> Result<Secret, NodeError> {
        match self {
            Self::Cookie(path) => {
                let text = read_short(path).map_err(|error| {
                    tracing::debug!(path = %path.display(), %error, "the node's cookie cannot be read");
                    meaning(&error, NodeError::Unreachable)
                })?;
                let line = text.lines().next().unwrap_or_default().trim_end();
                if !line.contains(':') {
                    tracing::debug!(path = %path.display(), "the node's cookie has no colon");
                    return Err(NodeError::Unauthorized);
                }
                Ok(Secret::basic(line))
            }
            Self::UserPassword { user, password_file } => {
                let password = read_short(password_file).map_err(|error| {
                    tracing::warn!(path = %password_file.display(), %error, "the password file cannot be read");
                    meaning(&error, NodeError::Unauthorized)
                })?;
                Ok(Secret::basic(&format!("{user}:{}", password.trim_end())))
            }
        }
    }
}

/// The meaning of an error of the file with the credentials, where a file that is not there has the meaning `missing`.
fn meaning(error: &io::Error, missing: NodeError) -> NodeError {
    if is_exhausted(error) {
        NodeError::Exhausted
    } else if error.kind() == io::ErrorKind::NotFound {
        missing
    } else {
        NodeError::Unauthorized
    }
}

fn read_short(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookie");
        std::fs::write(&path, "__cookie__:c0ffee\n").unwrap();
        let secret = Auth::Cookie(path.clone()).read().unwrap();
        assert_eq!(secret.expose(), format!("Basic {}", STANDARD.encode("__cookie__:c0ffee")));
        let printed =
            format!("{secret:?} {:?}", Auth::UserPassword { user: "alice".into(), password_file: path });
        assert!(
            !printed.contains("c0ffee") && !printed.contains("Basic") && !printed.contains("alice"),
            "{printed}"
        );
    }

    #[test]
    fn shortage_of_files_says_nothing_about_the_credentials() {
        // Numbers of Linux: ENFILE, EMFILE, ENOENT, EIO, EACCES, EISDIR.
        let table = [
            (23, NodeError::Exhausted),
            (24, NodeError::Exhausted),
            (2, NodeError::Unreachable),
            (5, NodeError::Unauthorized),
            (13, NodeError::Unauthorized),
            (21, NodeError::Unauthorized),
        ];
        for (code, expected) in table {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(meaning(&error, NodeError::Unreachable), expected, "{error}");
        }
    }

    #[test]
    fn a_file_without_credentials_is_told_from_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookie");
        let auth = Auth::Cookie(path.clone());
        assert_eq!(auth.read(), Err(NodeError::Unreachable));
        std::fs::write(&path, "").unwrap();
        assert_eq!(auth.read(), Err(NodeError::Unauthorized));
        let password = Auth::UserPassword { user: "alice".into(), password_file: folder.path().join("none") };
        assert_eq!(password.read(), Err(NodeError::Unauthorized));
        std::fs::write(folder.path().join("none"), "open sesame\n").unwrap();
        assert_eq!(password.read().unwrap(), Secret::basic("alice:open sesame"));
    }
}
