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

/// Everybody may read it.
const OTHERS_READ: u32 = 0o004;

/// Its group or everybody may write it.
const OTHERS_WRITE: u32 = 0o022;

/// Of a folder: only the owner of a file may remove or rename it.
const STICKY: u32 = 0o1000;

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

/// Warns of a secret that others on the machine can read, change, or replace.
pub(super) fn warn_if_open(key: &'static str, path: &Path, warnings: &mut Vec<Warning>) {
    if mode(path) & OTHERS_READ != 0 {
        let what = format!("{} can be read by everybody: chmod 600", path.display());
        warnings.push(Warning { key, what });
    }
    warn_if_writable(key, path, warnings);
}

/// Warns of a file that others on the machine can change, or replace because its folder lets them. Where its name is a
/// symbolic link, that is asked of the file and of the folder that it leads to, too.
pub(super) fn warn_if_writable(key: &'static str, path: &Path, warnings: &mut Vec<Warning>) {
    let mut warn = |what: String| {
        let warning = Warning { key, what };
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    };
    if mode(path) & OTHERS_WRITE != 0 {
        warn(format!("{} can be written by others than its owner: chmod go-w", path.display()));
    }
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    for folder in [path, &real].into_iter().filter_map(Path::parent) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        // In a folder with the sticky bit only the owner of a file can replace it.
        let mode = mode(folder);
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            warn(format!(
                "others than the owner of {} can put another file in the place of {}: chmod go-w {0}",
                folder.display(),
                path.display()
            ));
        }
    }
}

/// The permissions of a file; none of one that cannot be looked at.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).as_ref().map(Metadata::permissions).map_or(0, |permissions| permissions.mode())
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

    fn warnings_of(file: u32, folder: u32) -> Vec<String> {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("place");
        fs::create_dir(&place).unwrap();
        let path = place.join("keys");
        fs::write(&path, "a secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(file)).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(folder)).unwrap();
        let mut warnings = Vec::new();
        warn_if_open("http.api_keys_file", &path, &mut warnings);
        warnings.into_iter().map(|warning| warning.what).collect()
    }

    #[test]
    fn secret_that_others_can_read_write_or_replace_draws_a_warning() {
        let (read, write, replace) = ("can be read by", "can be written by", "in the place of");
        let table: [(u32, u32, &[&str]); 9] = [
            (0o600, 0o700, &[]),
            (0o640, 0o750, &[]),
            (0o644, 0o755, &[read]),
            (0o620, 0o750, &[write]),
            (0o602, 0o750, &[write]),
            (0o666, 0o755, &[read, write]),
            (0o600, 0o770, &[replace]),
            (0o600, 0o707, &[replace]),
            (0o600, 0o1777, &[]),
        ];
        for (file, folder, expected) in table {
            let warnings = warnings_of(file, folder);
            assert_eq!(warnings.len(), expected.len(), "{file:o} in {folder:o}: {warnings:?}");
            for (warning, part) in warnings.iter().zip(expected) {
                assert!(warning.contains(part), "{file:o} in {folder:o}: {warning}");
            }
        }
    }

    #[test]
    fn folder_behind_a_symbolic_link_counts_too() {
        let home = tempfile::tempdir().unwrap();
        let open = home.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::write(open.join("keys"), "a secret").unwrap();
        fs::set_permissions(open.join("keys"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let link = home.path().join("keys");
        std::os::unix::fs::symlink(open.join("keys"), &link).unwrap();
        let mut warnings = Vec::new();
        warn_if_open("http.api_keys_file", &link, &mut warnings);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = read_password(file(b"hunter2").path()).unwrap();
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(***) Some(Secret(***))");
    }
}
