//! Signs JPP answers, and publishes the keys (JPP v2, "Payload Signature" and "Key Distribution").

use std::fmt;

use axum::http::{HeaderName, HeaderValue};
use bitcoincash::secp256k1::{Message, PublicKey, Secp256k1, SecretKey, SignOnly};
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::KeyFile;
use crate::bch::Network;

/// The headers of a signature, in the order in which [`SigningKeys::headers`] gives them.
pub const HEADERS: [HeaderName; 5] = [DIGEST, SIGNATURE, X_SIGNATURE, X_SIGNATURE_TYPE, X_IDENTITY];

const DIGEST: HeaderName = HeaderName::from_static("digest");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const X_SIGNATURE: HeaderName = HeaderName::from_static("x-signature");
const X_SIGNATURE_TYPE: HeaderName = HeaderName::from_static("x-signature-type");
const X_IDENTITY: HeaderName = HeaderName::from_static("x-identity");

/// The keys of a file, ready for use on one network.
pub struct SigningKeys {
    curve: Secp256k1<SignOnly>,
    signer: SecretKey,
    identity: String,
    document: Bytes,
}

/// The document of `/signingKeys/paymentProtocol.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Published<'a> {
    owner: &'a str,
    expiration_date: String,
    valid_domains: &'a [String],
    public_keys: Vec<String>,
}

impl SigningKeys {
    /// Makes the keys of a file ready. `None` if the file has no key, which none that was read is.
    pub fn new(file: &KeyFile, network: Network) -> Option<Self> {
        let mut curve = Secp256k1::signing_only();
        // Blinds the arithmetic against whoever measures it; the signatures stay what they are. Without random bytes it
        // is merely not blinded.
        let mut seed = [0; 32];
        if getrandom::fill(&mut seed).is_ok() {
            curve.seeded_randomize(&seed);
        }
        let signer = *file.keys.first()?;
        let public = PublicKey::from_secret_key(&curve, &signer);
        let hash = bitcoincash::PublicKey::new(public).pubkey_hash();
        // Base58, with the version bytes 0x00 or 0x6f: clients look it up as a text, or compare it with one they made.
        let identity = bitcoincash::Address::p2pkh(hash, bitcoincash::Network::from(network)).to_string();
        let published = Published {
            owner: &file.owner,
            expiration_date: file.expiration_date(),
            valid_domains: &file.domains,
            public_keys: file.public_keys(),
        };
        let document = serde_json::to_vec(&published).ok()?.into();
        Some(Self { curve, signer, identity, document })
    }

    /// The headers that sign a body: of exactly these bytes, before any compression. ECDSA over their SHA-256,
    /// deterministic (RFC 6979), with the low S; a few dozen microseconds.
    pub fn headers(&self, body: &[u8]) -> [(HeaderName, HeaderValue); 5] {
        let digest: [u8; 32] = Sha256::digest(body).into();
        let signature = self.curve.sign_ecdsa(&Message::from_digest(digest), &self.signer);
        let signature = value(&hex::encode(signature.serialize_compact()));
        [
            (DIGEST, value(&format!("SHA-256={}", hex::encode(digest)))),
            (SIGNATURE, signature.clone()),
            (X_SIGNATURE, signature),
            (X_SIGNATURE_TYPE, HeaderValue::from_static("ecc")),
            (X_IDENTITY, value(&self.identity)),
        ]
    }

    /// Which key signs: base58check of the hash of its compressed public key, as a legacy P2PKH address is.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The published document. The same file gives the same bytes, today and after every restart.
    pub fn document(&self) -> Bytes {
        self.document.clone()
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Hex digits, base58 and a word of ours are always values of a header.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use bitcoincash::secp256k1::ecdsa::{RecoverableSignature, RecoveryId, Signature};
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "owner Shop\nexpires 2030-01-31\ndomain pay.example.com\n\
        key 0101010101010101010101010101010101010101010101010101010101010101\n\
        key 0202020202020202020202020202020202020202020202020202020202020202\n";

    fn keys(network: Network) -> SigningKeys {
        SigningKeys::new(&KeyFile::parse(FILE).unwrap(), network).unwrap()
    }

    /// What a client finds in the headers: the digest and the signature in hex, and the identity.
    fn read(keys: &SigningKeys, body: &[u8]) -> (String, String, String) {
        let headers =
            keys.headers(body).map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let [digest, signature, x_signature, kind, identity] = &headers;
        assert_eq!(
            headers.each_ref().map(|(name, _)| name.as_str()),
            ["digest", "signature", "x-signature", "x-signature-type", "x-identity"]
        );
        assert_eq!(signature.1, x_signature.1);
        assert_eq!(kind.1, "ecc");
        let digest = digest.1.split('=').collect::<Vec<_>>();
        let ["SHA-256", digest] = digest.as_slice() else { panic!("{digest:?}") };
        for (text, length) in [(*digest, 64), (signature.1.as_str(), 128)] {
            assert_eq!(text.len(), length);
            assert!(
                text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
                "{text}"
            );
        }
        ((*digest).to_owned(), signature.1.clone(), identity.1.clone())
    }

    /// As Electron Cash does: no key is sent, so it recovers one from the signature by each of the four header bytes,
    /// and takes the signature if one of them gives the identity.
    fn recovered(digest: &[u8], signature: &[u8], network: bitcoincash::Network) -> Vec<String> {
        let curve = Secp256k1::verification_only();
        let message = Message::from_digest(digest.try_into().unwrap());
        let mut found = Vec::new();
        // The header byte is 27 and the recovery id, and 4 more for a compressed key.
        for header in [27, 28, 31, 32] {
            let id = RecoveryId::from_i32((header - 27) & 3).unwrap();
            let signature = RecoverableSignature::from_compact(signature, id).unwrap();
            let Ok(key) = curve.recover_ecdsa(&message, &signature) else { continue };
            let mut key = bitcoincash::PublicKey::new(key);
            key.compressed = header >= 31;
            found.push(bitcoincash::Address::p2pkh(key.pubkey_hash(), network).to_string());
        }
        found
    }

    #[test]
    fn the_key_is_recovered_from_the_signature() {
        let table = [
            (Network::Main, "1C6Rc3w25VHud3dLDamutaqfKWqhrLRTaD"),
            (Network::Chip, ""),
            (Network::Regtest, ""),
        ];
        for (network, known) in table {
            let keys = keys(network);
            for body in [&b""[..], b"{}", "{\"memo\":\"Käse\"}".as_bytes(), &[0xff; 100_000]] {
                let (digest, signature, identity) = read(&keys, body);
                assert_eq!(identity, keys.identity());
                assert_eq!(hex::decode(&digest).unwrap(), Sha256::digest(body).as_slice());
                let first = if network == Network::Main { "1" } else { "mn" };
                assert!(identity.starts_with(|letter| first.contains(letter)), "{identity}");
                assert!(known.is_empty() || known == identity, "{identity}");
                let (digest, signature) = (hex::decode(digest).unwrap(), hex::decode(signature).unwrap());
                let found = recovered(&digest, &signature, network.into());
                assert!(found.contains(&identity), "{identity} is not among {found:?}");
                // The key for uncompressed use is another identity, and never ours.
                assert_eq!(found.iter().filter(|found| **found == identity).count(), 1);
            }
        }
    }

    #[test]
    fn the_document() {
        let expected = "{\"owner\":\"Shop\",\"expirationDate\":\"2030-01-31T00:00:00.000Z\",\
            \"validDomains\":[\"pay.example.com\"],\"publicKeys\":[\
            \"031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f\",\
            \"024d4b6cd1361032ca9bd2aeb9d900aa4d45d9ead80ac9423374c451a7254d0766\"]}";
        assert_eq!(keys(Network::Main).document(), expected);
        assert_eq!(keys(Network::Regtest).document(), expected);
    }

    #[test]
    fn nothing_shows_a_private_key() {
        let shown = format!("{:?}", keys(Network::Main));
        assert!(shown.contains(keys(Network::Main).identity()) && !shown.contains("0101"), "{shown}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn signatures_are_low_and_always_the_same(body: Vec<u8>) {
            let (_, signature, _) = read(&keys(Network::Main), &body);
            let again = read(&keys(Network::Main), &body).1;
            prop_assert_eq!(&signature, &again);
            let bytes = hex::decode(&signature).unwrap();
            let signature = Signature::from_compact(&bytes).unwrap();
            let mut low = signature;
            low.normalize_s();
            prop_assert_eq!(signature, low);
        }
    }
}
