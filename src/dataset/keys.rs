//! Which split a person is in, and the pseudonym that stands for a person: hashes with a secret key.

use crate::contract::Share;
use crate::error::{Error, Result};
use crate::original::deidentify::Uids;

/// Characters that a salt must have: with fewer, all could be tried.
const SALT_CHARS: usize = 16;

/// The keys that are derived from a dataset's salt, one a purpose.
pub struct Keys {
    split: [u8; 32],
    person: [u8; 32],
    check: [u8; 32],
    uids: [u8; 32],
}

impl Keys {
    /// Derives the keys.
    ///
    /// # Errors
    /// Wrong use when the salt is too short to be a secret.
    pub fn new(salt: &str) -> Result<Self> {
        if salt.chars().count() < SALT_CHARS {
            return Err(Error::usage(format!("the salt is shorter than {SALT_CHARS} characters")).hint(
                "make one with `openssl rand -hex 32`, and keep it: other datasets of the same persons need it",
            ));
        }
        let key = |purpose: &str| blake3::derive_key(&format!("medalha dataset {purpose}"), salt.as_bytes());
        Ok(Self { split: key("split"), person: key("person"), check: key("check"), uids: key("uids") })
    }

    /// The identifiers that copies of DICOM get in place of their own.
    pub fn uids(&self) -> Uids {
        Uids::new(&self.uids)
    }

    /// Tells one salt from another, and nothing about it.
    pub fn check(&self) -> String {
        blake3::keyed_hash(&self.check, b"salt").to_hex()[..16].to_owned()
    }

    /// What stands for a person in a dataset: 32 hexadecimal digits.
    pub fn pseudonym(&self, person: &str) -> String {
        blake3::keyed_hash(&self.person, person.as_bytes()).to_hex()[..32].to_owned()
    }

    /// The place in the splits of a row: decided by its person, or by its id where no person is known, and by no other row.
    pub fn split(&self, person: Option<&str>, id: &str, shares: &[Share]) -> usize {
        let (kind, text) = person.map_or(("id", id), |person| ("person", person));
        let mut hash = blake3::Hasher::new_keyed(&self.split);
        hash.update(kind.as_bytes()).update(&[0]).update(text.as_bytes());
        let mut first = [0; 8];
        hash.finalize_xof().fill(&mut first);
        let fraction = u64::from_le_bytes(first) as f64 / 2f64.powi(64);
        let mut upper = 0.0;
        let place = shares.iter().position(|share| {
            upper += share.share;
            fraction < upper
        });
        // The shares may add up to a hair less than 1.
        place.unwrap_or(shares.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Shares;

    const SALT: &str = "0123456789abcdef";

    #[test]
    fn shares_are_met_and_a_person_stays_together() {
        let (keys, shares) = (Keys::new(SALT).unwrap(), Shares::default());
        let mut counts = [0u32; 3];
        for person in 0..20_000 {
            let person = person.to_string();
            let place = keys.split(Some(&person), "1", shares.as_slice());
            assert_eq!(place, keys.split(Some(&person), "2", shares.as_slice()));
            counts[place] += 1;
        }
        assert!(counts[0].abs_diff(16_000) < 300 && counts[1].abs_diff(2_000) < 300, "{counts:?}");
    }

    #[test]
    fn a_salt_decides_all_and_an_id_is_no_person() {
        let (a, b) = (Keys::new(SALT).unwrap(), Keys::new("another salt of length").unwrap());
        assert_ne!(a.pseudonym("7"), b.pseudonym("7"));
        assert_ne!(a.check(), b.check());
        let shares: Shares = "a=0.5,b=0.5".parse().unwrap();
        let places = |keys: &Keys, is_person: bool| -> Vec<usize> {
            let place =
                |n: u32| keys.split(is_person.then_some(n.to_string()).as_deref(), &n.to_string(), shares.as_slice());
            (0..64).map(place).collect()
        };
        assert_ne!(places(&a, true), places(&b, true));
        assert_ne!(places(&a, true), places(&a, false));
        assert!(Keys::new("short").is_err());
    }
}
