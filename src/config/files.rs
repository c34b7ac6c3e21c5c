//! The files a configuration names: what can be known of them before the start.

use std::{
    fmt,
    fs::{self, Metadata},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use super::{
    api_keys::{ApiKeys, ApiKeysError},
    error::{Problem, Warning},
    load::Origins,
    sections::{Config, Credentials},
    signing::signing,
};
use crate::api::signing::Signing;

/// No password is longer.
const MAX_SECRET_BYTES: u64 = 4096;

/// Something that is never printed: `Debug` shows stars, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// A file with a secret cannot be used. The operator is at fault; the message never has what is in the file.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It could not be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Its first line is empty.
    #[error("the first line is empty; the password belongs there")]
    Empty,
    /// It is no text, or too much of it.
    #[error("this is no password file: at most {MAX_SECRET_BYTES} bytes of UTF-8")]
    NoText,
}

/// Reads a password: the first line of a file, without its line ending.
pub fn read_password(path: &Path) -> Result<Secret, SecretError> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(SecretError::NoText);
    }
    let text = String::from_utf8(bytes).map_err(|_| SecretError::NoText)?;
    match text.lines().next() {
        None | Some("") => Err(SecretError::Empty),
        Some(line) => Ok(Secret(line.to_owned())),
    }
}

/// What was found in the files.
pub(super) struct Files {
    pub(super) api_keys: ApiKeys,
    pub(super) signing: Signing,
}

/// Looks at the files, and gives what is in them. Missing is a warning where jppd can start without: the cookie
/// comes with the node, the merchants' keys come with the first merchant.
pub(super) fn check_files(
    config: &Config,
    origins: &Origins,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Warning>,
) -> Files {
    let mut refuse = |key: &str, what: String| {
        let place = origins.of(key);
        problems.push(Problem { place, key: key.to_owned(), what, allowed: String::new() });
    };
    match config.node.credentials() {
        Some(Credentials::Cookie(path)) => {
            if let Err(error) = fs::File::open(path) {
                let what = format!("{}: {error}; jppd will wait for it", path.display());
                warnings.push(Warning { key: "node.rpc_cookie_file", what });
            }
        }
        Some(Credentials::Password { file, .. }) => match read_password(file) {
            Ok(_) => warn_if_open("node.rpc_password_file", file, warnings),
            Err(error) => refuse("node.rpc_password_file", format!("{}: {error}", file.display())),
        },
        None => {}
    }
    let mut api_keys = ApiKeys::default();
    if let Some(path) = &config.http.api_keys_file {
        match ApiKeys::load(path) {
            Ok(keys) => {
                warn_if_open("http.api_keys_file", path, warnings);
                api_keys = keys;
            }
            Err(ApiKeysError::Read(error)) if error.kind() == io::ErrorKind::NotFound => {
                let what = format!("{}: no such file; `jppd keys merchant NAME` makes it", path.display());
                warnings.push(Warning { key: "http.api_keys_file", what });
            }
            Err(error) => refuse("http.api_keys_file", format!("{}: {error}", path.display())),
        }
    }
    let signing = signing(config, &mut refuse, warnings);
    Files { api_keys, signing }
}

/// Warns of a secret that everybody on the machine can read.
pub(super) fn warn_if_open(key: &'static str, path: &Path, warnings: &mut Vec<Warning>) {
    let mode =
        fs::metadata(path).as_ref().map(Metadata::permissions).map_or(0, |permissions| permissions.mode());
    if mode & 0o004 != 0 {
        warnings
            .push(Warning { key, what: format!("{} can be read by everybody: chmod 600", path.display()) });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn the_first_line_is_the_password() {
        for content in ["hunter2", "hunter2\n", "hunter2\r\n", "hunter2\n# of the node\n"] {
            assert_eq!(
                read_password(file(content.as_bytes()).path()).unwrap().expose(),
                "hunter2",
                "{content:?}"
            );
        }
        assert!(matches!(read_password(file(b"").path()), Err(SecretError::Empty)));
        assert!(matches!(read_password(file(b"\nlater").path()), Err(SecretError::Empty)));
        assert!(matches!(read_password(file(b"\xff").path()), Err(SecretError::NoText)));
        assert!(matches!(read_password(file(&[b'a'; 4097]).path()), Err(SecretError::NoText)));
        assert!(matches!(read_password(Path::new("/nonexistent")), Err(SecretError::Read(_))));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = read_password(file(b"hunter2").path()).unwrap();
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(***) Some(Secret(***))");
    }
}
