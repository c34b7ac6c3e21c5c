//! Where others find the keys (JPP v2, "Key Distribution" and "Key Signature Distribution").

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use axum::{
    Router,
    extract::{Path as FromPath, State},
    http::{HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;

use crate::api::{
    state::Shared,
    watchtower::{Fault, reading},
};

/// The largest file of signatures. One signature takes some 2,000 bytes.
const MAX_SIGNATURES_BYTES: u64 = 256 * 1024;

/// In how many seconds signatures that cannot be read for want of something may be asked for again.
const RETRY_AFTER: u64 = 5;

/// The routes of the keys.
pub(in crate::api) fn routes<S: Send + Sync + 'static>() -> Router<Arc<Shared<S>>> {
    Router::new()
        .route("/signingKeys/paymentProtocol.json", reading(get(keys)))
        .route("/signatures/{name}", reading(get(signatures)))
}

/// The document of the keys, byte for byte what the signatures are about.
async fn keys<S>(State(shared): State<Arc<Shared<S>>>) -> Result<Response, Fault> {
    let keys = shared.state.signing.jpp.as_ref().ok_or(Fault::NotFound)?;
    Ok(document(keys.document()))
}

/// A file of the operator, named by the digest of what it signs.
async fn signatures<S>(
    State(shared): State<Arc<Shared<S>>>,
    name: Result<FromPath<String>, axum::extract::rejection::PathRejection>,
) -> Result<Response, Fault> {
    let FromPath(name) = name.map_err(|_| Fault::NotFound)?;
    let name = file_name(&name).ok_or(Fault::NotFound)?;
    let path = shared.state.signing.signatures_folder.as_ref().ok_or(Fault::NotFound)?.join(name);
    match tokio::task::spawn_blocking(move || read(&path).map_err(|error| (path, error))).await {
        Ok(Ok(content)) => Ok(document(content)),
        Ok(Err((path, error))) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "signatures could not be read");
            }
            Err(fault_of(error.kind()))
        }
        Err(error) => {
            tracing::error!(%error, "reading signatures was given up");
            Err(Fault::NotFound)
        }
    }
}

/// The answer when a file cannot be read. Only what will be so the next time is told as "not found".
fn fault_of(kind: io::ErrorKind) -> Fault {
    // `Other` is what `read` says of what is no file of signatures.
    if [io::ErrorKind::NotFound, io::ErrorKind::Other, io::ErrorKind::PermissionDenied].contains(&kind) {
        Fault::NotFound
    } else {
        Fault::Away { retry_after: RETRY_AFTER, text: "The signatures cannot be read now.".to_owned() }
    }
}

fn document(content: Bytes) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))], content).into_response()
}

/// The name of the file: 64 hex digits and `.json`. Whatever else a path can say is no name, so that none leads out of
/// the folder.
fn file_name(name: &str) -> Option<String> {
    let digest = name.strip_suffix(".json")?;
    let is_name = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_name.then(|| name.to_ascii_lowercase())
}

fn read(path: &Path) -> io::Result<Bytes> {
    // Opening a pipe would wait for somebody to write.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("this is not a file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(MAX_SIGNATURES_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_SIGNATURES_BYTES {
        return Err(io::Error::other(format!("this is larger than {MAX_SIGNATURES_BYTES} bytes")));
    }
    Ok(content.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortage_of_files_is_no_missing_signature() {
        // EMFILE of Linux, then what stays as it is.
        let away = fault_of(io::Error::from_raw_os_error(24).kind());
        assert!(matches!(away, Fault::Away { .. }), "{away:?}");
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::Other, io::ErrorKind::PermissionDenied] {
            assert_eq!(fault_of(kind), Fault::NotFound);
        }
    }

    #[test]
    fn names() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(file_name(&format!("{digest}.json")), Some(format!("{digest}.json")));
        assert_eq!(file_name(&format!("{}.json", digest.to_uppercase())), Some(format!("{digest}.json")));
        let bad = [
            String::new(),
            ".json".to_owned(),
            digest.clone(),
            format!("{digest}.JSON"),
            format!("{digest}.json.json"),
            format!("{digest}0.json"),
            format!("{}.json", &digest[1..]),
            format!("../{}.json", &digest[3..]),
            format!("{}/.json", &digest[1..]),
            format!("{}%2f.json", &digest[3..]),
            format!("{}\0.json", &digest[1..]),
            format!("{}é.json", &digest[2..]),
            format!("+{}.json", &digest[1..]),
        ];
        for name in bad {
            assert_eq!(file_name(&name), None, "{name:?}");
        }
    }

    #[test]
    fn only_files_of_some_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![b'x'; 256 * 1024]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 256 * 1024);
        std::fs::write(&path, vec![b'x'; 256 * 1024 + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("larger"));
        assert!(read(folder.path()).unwrap_err().to_string().contains("not a file"));
        assert_eq!(read(&folder.path().join("b")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
