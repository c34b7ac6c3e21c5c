//! Signatures, checked as wallets check them.

use anyhow::{Context as _, Result, bail, ensure};
use bitcoincash::{
    base58,
    hashes::{Hash as _, hash160, sha256},
    secp256k1::{All, Message, PublicKey, Scalar, Secp256k1, SecretKey, ecdsa},
};

use crate::http::Answer;

/// The order of the curve, less two: the exponent that inverts.
const ORDER_LESS_TWO: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x3f,
];

/// The first byte of an address of a test network.
const TEST_ADDRESS: u8 = 0x6f;

/// Checks an answer of JPP as Electron Cash does: the digest is that of the body, and one of the four keys that the
/// signature may be of has the address that the answer names. Further, what bitcore wants: a compact signature in hex,
/// of type `ecc`; and that it is there under the name of the specification as well.
pub(crate) fn check_signature(answer: &Answer) -> Result<()> {
    let digest = answer.has("digest")?;
    let hash = sha256::Hash::hash(&answer.body);
    ensure!(digest == format!("SHA-256={hash:x}"), "{digest}");
    ensure!(answer.body.is_ascii(), "the same bytes in whatever encoding");
    ensure!(answer.has("x-signature-type")? == "ecc");
    let signature = answer.has("signature")?;
    ensure!(answer.has("x-signature")? == signature);
    let signature = <[u8; 64]>::try_from(hex::decode(signature)?).ok().context("64 bytes")?;
    let identity = answer.has("x-identity")?;
    ensure!(is_signed_by(&signature, hash.to_byte_array(), identity)?, "not signed by {identity}");
    Ok(())
}

/// Tries the header bytes 27, 28 (addresses of whole keys) and 31, 32 (of compressed ones).
fn is_signed_by(signature: &[u8; 64], hash: [u8; 32], identity: &str) -> Result<bool> {
    let curve = Secp256k1::new();
    for header in [27_u8, 28, 31, 32] {
        let key = recover(&curve, signature, hash, (header - 27) & 1 == 1)?;
        let parsed = ecdsa::Signature::from_compact(signature)?;
        ensure!(
            curve.verify_ecdsa(&Message::from_digest(hash), &parsed, &key).is_ok(),
            "it must be low, too"
        );
        let bytes =
            if header < 31 { key.serialize_uncompressed().to_vec() } else { key.serialize().to_vec() };
        let payload = [&[TEST_ADDRESS][..], hash160::Hash::hash(&bytes).as_byte_array()].concat();
        if base58::encode_check(&payload) == identity {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The key that made a signature: `(s R - z G) / r`, where `R` is the point that `r` is of, the even or the odd one.
fn recover(curve: &Secp256k1<All>, signature: &[u8; 64], hash: [u8; 32], odd: bool) -> Result<PublicKey> {
    let (r, s) = signature.split_at(32);
    let point = PublicKey::from_slice(&[&[2 + u8::from(odd)], r].concat())?;
    let inverse = Scalar::from(invert(SecretKey::from_slice(r)?)?);
    let left = point.mul_tweak(curve, &Scalar::from(SecretKey::from_slice(s)?))?;
    let right = PublicKey::from_secret_key(curve, &SecretKey::from_slice(&hash)?).negate(curve);
    Ok(left.combine(&right)?.mul_tweak(curve, &inverse)?)
}

/// By Fermat: the number to the power of the order less two.
fn invert(number: SecretKey) -> Result<SecretKey> {
    let mut result: Option<SecretKey> = None;
    for bit in ORDER_LESS_TWO.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        if let Some(square) = result {
            result = Some(square.mul_tweak(&Scalar::from(square))?);
        }
        if bit == 1 {
            result = Some(match result {
                Some(product) => product.mul_tweak(&Scalar::from(number))?,
                None => number,
            });
        }
    }
    match result {
        Some(inverse) => Ok(inverse),
        None => bail!("the exponent is 0"),
    }
}

/// The check itself is right: it takes what a key signed, and no other hash, and no other name.
#[test]
fn a_signature_names_its_key() -> Result<()> {
    let curve = Secp256k1::new();
    let secret = SecretKey::from_slice(&[7; 32])?;
    for round in 0..20_u8 {
        let hash = sha256::Hash::hash(&[round]).to_byte_array();
        let signature = curve.sign_ecdsa(&Message::from_digest(hash), &secret).serialize_compact();
        let key = PublicKey::from_secret_key(&curve, &secret).serialize();
        let payload = [&[TEST_ADDRESS][..], hash160::Hash::hash(&key).as_byte_array()].concat();
        let identity = base58::encode_check(&payload);
        ensure!(is_signed_by(&signature, hash, &identity)?);
        ensure!(!is_signed_by(&signature, [9; 32], &identity)?);
        ensure!(!is_signed_by(&signature, hash, "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn")?);
    }
    Ok(())
}
