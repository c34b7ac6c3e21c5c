//! The files with the keys that sign: read once, at the start.

use std::{fs::File, io::Read as _, path::Path, sync::Arc};

use super::{
    error::Warning,
    files::{warn_if_open, warn_if_writable},
    sections::Config,
};
use crate::{
    api::signing::{KeyFile, Signing, SigningKeys, X509Signer},
    bch::Network,
    engine::{Clock as _, SystemClock},
};

/// No file with keys or certificates is longer.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Reads the files. One that is named and cannot be used is a problem: an operator who wants signatures must not find
/// out from a wallet that there are none. The exceptions are a certificate that is good for TLS alone, which is
/// what certbot makes by itself, and one outside its dates: those are warnings, and requests go unsigned.
pub(super) fn signing(
    config: &Config,
    refuse: &mut impl FnMut(&str, String),
    warnings: &mut Vec<Warning>,
) -> Signing {
    let mut signing = Signing::default();
    if let Some(path) = &config.jpp.signing_key_file {
        match jpp_keys(path, config.node.network, warnings) {
            Ok(keys) => signing.jpp = Some(Arc::new(keys)),
            Err(what) => refuse("jpp.signing_key_file", format!("{}: {what}", path.display())),
        }
    }
    if let Some(path) = &config.jpp.signatures_folder {
        match std::fs::read_dir(path) {
            Ok(_) => signing.signatures_folder = Some(path.clone()),
            Err(error) => {
                refuse("jpp.signatures_folder", format!("{}: cannot be read: {error}", path.display()));
            }
        }
    }
    if let (Some(chain), Some(key)) = (&config.bip70.certificate_file, &config.bip70.key_file) {
        signing.x509 = x509(chain, key, refuse, warnings).map(Arc::new);
    }
    signing
}

fn x509(
    chain_path: &Path,
    key_path: &Path,
    refuse: &mut impl FnMut(&str, String),
    warnings: &mut Vec<Warning>,
) -> Option<X509Signer> {
    let (chain_name, key_name) = ("bip70.certificate_file", "bip70.key_file");
    let mut read_or_refuse = |name, path: &Path| {
        read(path).map_err(|what| refuse(name, format!("{}: {what}", path.display()))).ok()
    };
    // Both are looked at before one is missed.
    let (chain, key) = (read_or_refuse(chain_name, chain_path), read_or_refuse(key_name, key_path));
    let (chain, key) = (chain?, key?);
    warn_if_open(key_name, key_path, warnings);
    warn_if_writable(chain_name, chain_path, warnings);
    let error = match X509Signer::from_pem(&chain, &key) {
        Ok(signer) => {
            if let Some(concern) = signer.validity().concern(SystemClock::default().wall()) {
                let what = format!("{}: {concern}", chain_path.display());
                warnings.push(Warning { key: chain_name, what });
            }
            return Some(signer);
        }
        Err(error) => error,
    };
    let (name, path) = if error.is_about_key() { (key_name, key_path) } else { (chain_name, chain_path) };
    let what = format!("{}: {error}", path.display());
    if error.is_refusal() {
        warnings.push(Warning { key: name, what });
    } else {
        refuse(name, what);
    }
    None
}

fn jpp_keys(path: &Path, network: Network, warnings: &mut Vec<Warning>) -> Result<SigningKeys, String> {
    let text = String::from_utf8(read(path)?).map_err(|_| "this is not UTF-8".to_owned())?;
    let file = KeyFile::parse(&text).map_err(|error| error.to_string())?;
    warn_if_open("jpp.signing_key_file", path, warnings);
    #[expect(clippy::disallowed_methods, reason = "a date for people; no ledger comes near it")]
    let now = chrono::Utc::now();
    if file.expires <= now {
        let what =
            format!("{}: the keys expired at {}, and wallets may say so", path.display(), file.expires);
        warnings.push(Warning { key: "jpp.signing_key_file", what });
    }
    SigningKeys::new(&file, network).ok_or_else(|| "there is no key in it".to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("this is larger than {MAX_FILE_BYTES} bytes"));
    }
    Ok(bytes)
}
