//! Signs BIP70 requests with the certificate of a domain: `x509+sha256`.

use std::{fmt, sync::Arc};

use rustls::{
    InconsistentKeys, SignatureAlgorithm, SignatureScheme,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use super::Validity;

/// A chain of certificates with the key of the first.
pub struct X509Signer {
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

/// Nothing can be signed with these files. The operator is at fault. No message has anything of a key in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    /// The file with the certificates is none, or a certificate in it is none.
    #[error("{0}")]
    Certificates(String),
    /// The file with the key is none, or the key cannot be used at all.
    #[error("{0}")]
    Key(String),
    /// Both are good, and do not belong together.
    #[error("this is not the key of the first certificate")]
    Mismatch,
    /// A good key that wallets cannot check.
    #[error("this is an {0} key, and wallets check BIP70 requests by RSA alone; they go unsigned")]
    NotRsa(&'static str),
    /// A good certificate without those that lead to its root.
    #[error(
        "there is only one certificate, and wallets want its issuer's after it (certbot: fullchain.pem); BIP70 requests \
         go unsigned"
    )]
    LeafAlone,
}

impl X509Error {
    /// Whether the files are sound, and only of no use here: then requests go unsigned.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NotRsa(_) | Self::LeafAlone)
    }

    /// Whether the key is at fault, and not the certificates.
    pub fn is_about_key(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Mismatch | Self::NotRsa(_))
    }
}

/// A signature could not be made: the system gave no random bytes. The machine is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a BIP70 request could not be signed")]
pub struct SigningFailed;

impl X509Signer {
    /// Reads a chain, the leaf first, and the key of the leaf, both in PEM. One that is not valid at the moment is read
    /// like any other; whoever signs asks its [`validity`](Self::validity) first.
    ///
    /// # Errors
    ///
    /// [`X509Error`]; [`X509Error::is_refusal`] tells a good pair that is of no use from a broken one.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, X509Error> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| X509Error::Certificates("this is not PEM".to_owned()))?;
        if chain.is_empty() {
            return Err(X509Error::Certificates("there is no certificate in it, in PEM".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
            X509Error::Key(
                "there is no private key in it, in PEM (one with a passphrase cannot be used)".to_owned(),
            )
        })?;
        let key = ring::default_provider().key_provider.load_private_key(key).map_err(|_| {
            X509Error::Key("this key cannot be used; RSA of 2048 to 4096 bits can".to_owned())
        })?;
        let algorithm = key.algorithm();
        let chain_length = chain.len();
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(X509Error::Mismatch);
            }
            Err(_) => {
                let what = "its first certificate cannot be read: this must be X.509, version 3".to_owned();
                return Err(X509Error::Certificates(what));
            }
        }
        if algorithm == SignatureAlgorithm::ECDSA {
            return Err(X509Error::NotRsa("ECDSA"));
        }
        if algorithm != SignatureAlgorithm::RSA {
            return Err(X509Error::NotRsa("Ed25519"));
        }
        if chain_length < 2 {
            return Err(X509Error::LeafAlone);
        }
        let validity = Validity::of(&certified.cert)?;
        Ok(Self { certified: Arc::new(certified), validity })
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256 over these bytes: a serialised request whose `signature` is there and empty
    /// (BIP70, "PKI data"). It takes about a millisecond of one core.
    ///
    /// # Errors
    ///
    /// [`SigningFailed`].
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let signer =
            self.certified.key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or(SigningFailed)?;
        signer.sign(bytes).map_err(|_| SigningFailed)
    }

    /// From when until when wallets take what this signs.
    pub fn validity(&self) -> &Validity {
        &self.validity
    }

    /// The certificates, the leaf first, each in DER: what `X509Certificates` holds.
    pub fn pki_data(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

impl fmt::Debug for X509Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X509Signer({} certificates)", self.pki_data().len())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::authority::{Authority, ECDSA, RSA},
        *,
    };

    #[test]
    fn openssl_verifies_what_is_signed() {
        let Some(authority) = Authority::new("openssl_verifies_what_is_signed") else { return };
        authority.issue("shop", RSA);
        authority.openssl("rsa -in shop.key -traditional -out old.key");
        let public = authority.openssl("x509 -in shop.pem -pubkey -noout");
        fs::write(authority.path("public"), public).unwrap();
        for key in ["shop.key", "old.key"] {
            let signer = X509Signer::from_pem(&authority.read("shop.chain"), &authority.read(key)).unwrap();
            for bytes in [&b""[..], b"a request\x2a\x00", &[0; 70_000]] {
                fs::write(authority.path("bytes"), bytes).unwrap();
                fs::write(authority.path("signature"), signer.sign(bytes).unwrap()).unwrap();
                let verified = authority.openssl("dgst -sha256 -verify public -signature signature bytes");
                assert_eq!(verified, "Verified OK\n");
            }
            let [leaf, root] = signer.pki_data() else { panic!("{signer:?}") };
            for (der, pem) in [(leaf, "shop.pem"), (root, "root.pem")] {
                authority.openssl(&format!("x509 -in {pem} -outform DER -out der"));
                assert_eq!(der.as_ref(), authority.read("der"));
            }
            assert_eq!(format!("{signer:?}"), "X509Signer(2 certificates)");
        }
    }

    #[test]
    fn what_is_refused_and_why() {
        let Some(authority) = Authority::new("what_is_refused_and_why") else { return };
        authority.issue("shop", RSA);
        authority.issue("other", RSA);
        authority.issue("curve", ECDSA);
        authority.issue("edwards", "genpkey -algorithm ED25519");
        authority.issue("short", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024");
        authority.openssl("rsa -in shop.key -aes256 -passout pass:hunter2 -out locked.key");
        let strange = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        let behind = [&authority.read("shop.chain")[..], strange.as_bytes()].concat();
        fs::write(authority.path("behind"), behind).unwrap();
        fs::write(authority.path("nothing"), "").unwrap();
        fs::write(authority.path("broken"), "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")
            .unwrap();
        fs::write(authority.path("strange"), strange).unwrap();
        // Chain, key, the words of the reason; whether the pair is sound; whether the key is at fault.
        let table = [
            ("curve.chain", "curve.key", "this is an ECDSA key", true, true),
            ("edwards.chain", "edwards.key", "this is an Ed25519 key", true, true),
            ("shop.pem", "shop.key", "there is only one certificate", true, false),
            ("shop.chain", "other.key", "this is not the key of the first certificate", false, true),
            ("shop.chain", "curve.key", "this is not the key of the first certificate", false, true),
            ("curve.chain", "shop.key", "this is not the key of the first certificate", false, true),
            ("shop.chain", "root.key", "this is not the key of the first certificate", false, true),
            ("short.chain", "short.key", "this key cannot be used; RSA of 2048", false, true),
            ("shop.chain", "locked.key", "there is no private key in it", false, true),
            ("shop.chain", "shop.pem", "there is no private key in it", false, true),
            ("shop.chain", "nothing", "there is no private key in it", false, true),
            ("nothing", "shop.key", "there is no certificate in it", false, false),
            ("shop.key", "shop.key", "there is no certificate in it", false, false),
            ("broken", "shop.key", "this is not PEM", false, false),
            ("strange", "shop.key", "its first certificate cannot be read", false, false),
            ("behind", "shop.key", "certificate 3 in it cannot be read", false, false),
        ];
        for (chain, key, reason, is_refusal, is_about_key) in table {
            let error = X509Signer::from_pem(&authority.read(chain), &authority.read(key)).unwrap_err();
            assert!(error.to_string().starts_with(reason), "{chain}, {key}: {error}");
            assert_eq!(
                (error.is_refusal(), error.is_about_key()),
                (is_refusal, is_about_key),
                "{chain}, {key}"
            );
        }
    }
}
