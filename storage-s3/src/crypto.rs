//! [`Sha256Provider`]: the cryptography that `object_store` signs requests with.
//!
//! `object_store` depends on a cryptography library unless it receives another provider. This crate
//! already computes SHA-256 for checksums and signed links.

use hmac_sha256::HMAC;
use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
};
use object_store::{Error, Result};
use sha2::{Digest, Sha256};

/// Computes SHA-256 and HMAC-SHA-256, which is all that AWS Signature Version 4 needs.
#[derive(Debug)]
pub(crate) struct Sha256Provider;

impl CryptoProvider for Sha256Provider {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                Ok(Box::new(Running { state: Some(Sha256::new()), value: Vec::new() }))
            }
            other => Err(unsupported(&format!("{other:?}"))),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                Ok(Box::new(Running { state: Some(HMAC::new(secret)), value: Vec::new() }))
            }
            other => Err(unsupported(&format!("HMAC with {other:?}"))),
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, _pem: &[u8]) -> Result<Box<dyn Signer>> {
        Err(unsupported(&format!("{algorithm:?}")))
    }
}

fn unsupported(what: &str) -> Error {
    Error::NotSupported { source: format!("{what} is not used by S3").into() }
}

/// A digest or an HMAC, and its value once it is finished.
struct Running<S> {
    state: Option<S>,
    value: Vec<u8>,
}

impl DigestContext for Running<Sha256> {
    fn update(&mut self, data: &[u8]) {
        if let Some(state) = &mut self.state {
            Digest::update(state, data);
        }
    }

    fn finish(&mut self) -> Result<&[u8]> {
        if let Some(state) = self.state.take() {
            self.value = state.finalize().to_vec();
        }
        Ok(&self.value)
    }
}

impl HmacContext for Running<HMAC> {
    fn update(&mut self, data: &[u8]) {
        if let Some(state) = &mut self.state {
            state.update(data);
        }
    }

    fn finish(&mut self) -> Result<&[u8]> {
        if let Some(state) = self.state.take() {
            self.value = state.finalize().to_vec();
        }
        Ok(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 4231, section 4.3, and the example of FIPS 180-4.
    #[test]
    fn values_agree_with_the_published_test_vectors() {
        let mut digest = Sha256Provider.digest(DigestAlgorithm::Sha256).unwrap();
        digest.update(b"a");
        digest.update(b"bc");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(digest.finish().unwrap()), expected);

        let mut hmac = Sha256Provider.hmac(DigestAlgorithm::Sha256, b"Jefe").unwrap();
        hmac.update(b"what do ya want ");
        hmac.update(b"for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(hmac.finish().unwrap()), expected);
    }
}
