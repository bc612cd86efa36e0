//! A patient without name: a hash that only the holder of a key can make.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::hash::hex;
use super::header::dicom::Secret;

/// The key of the hash that stands for a patient.
#[derive(Clone)]
pub struct PersonKey(Hmac<Sha256>);

impl PersonKey {
    /// A key of any length.
    pub fn new(key: &str) -> Self {
        Self(Hmac::new_from_slice(key.as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// HMAC-SHA-256 of a patient's identifier, in hexadecimal.
    pub fn hash(&self, patient_id: &Secret) -> String {
        hex(&self.0.clone().chain_update(patient_id.reveal()).finalize().into_bytes())
    }
}

impl fmt::Debug for PersonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 2 of RFC 4231.
    #[test]
    fn a_known_hash() {
        let hash = PersonKey::new("Jefe").hash(&Secret::new("what do ya want for nothing?"));
        assert_eq!(hash, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(!format!("{:?}", PersonKey::new("Jefe")).contains("Jefe"));
    }
}
