//! Who we are: signatures of JPP answers, of BIP70 requests, and the keys that others check them with.
//!
//! A wallet that pays wants to know whom. TLS tells it on the way; a signature over the answer itself tells it
//! afterwards too, and to whoever got the answer from somebody else. There are two kinds, and neither has to be
//! there: without a key answers go unsigned, which most wallets take.
//!
//! # JSON Payment Protocol
//!
//! [`SigningKeys`] signs the bytes of a body (JPP v2, "Payload Signature"): five headers, of which `signature` and
//! `x-signature` are the same, because the specification says one and its own client reads the other. The digest is
//! hex after `SHA-256=`, the signature is compact R and S in hex, the type is `ecc` in small letters: what the
//! clients check, where the specification is silent. The bytes that are signed must be the bytes that are sent.
//!
//! The keys stand in a [`KeyFile`] with whatever else the published document says (its owner, its domains, its
//! end), because that document is addressed by its own SHA-256: `/signatures/{sha256}.json` has the GPG signatures
//! over it, and a byte that changed by itself would leave them without a subject. So nothing in it is computed when
//! it is asked for. [`SigningKeys::document`] is written once, from the file alone.
//!
//! Several keys may stand in a file: the first signs, all are published. So a key is known to others before it
//! signs, and still known when it has ceased to.
//!
//! # BIP70
//!
//! [`X509Signer`] signs the bytes of a request with the certificate of the domain. RSA alone: the wallets that check
//! (Electron Cash among them) read every certificate as RSA, and one hangs on anything else. A chain of one is
//! refused for the same reason: they want the issuer beside the leaf. Such a certificate is a good certificate for
//! TLS, so it is no error, only no signature. The same holds outside the dates of the chain, its [`Validity`]: a wallet
//! refuses what an expired certificate signs.
//!
//! # Secrets
//!
//! No private key is in an error, in the log or in `Debug`.

#[cfg(test)]
pub(crate) mod authority;
mod distribution;
mod jpp_keys;
mod key_file;
mod validity;
mod x509;

use std::{path::PathBuf, sync::Arc};

pub(super) use distribution::routes;
pub use jpp_keys::{HEADERS, SigningKeys};
pub use key_file::{KeyFile, KeyFileError, read_domain, read_expiry, read_owner};
pub use validity::{Concern, Validity};
pub use x509::{SigningFailed, X509Error, X509Signer};

/// What there is to sign with. The default is nothing: every answer goes unsigned.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// Signs JPP answers.
    pub jpp: Option<Arc<SigningKeys>>,
    /// Signs BIP70 requests.
    pub x509: Option<Arc<X509Signer>>,
    /// The folder with the GPG signatures over the published keys.
    pub signatures_folder: Option<PathBuf>,
}
