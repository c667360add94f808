//! SHA-256 as the crate writes it: lower-case hexadecimal.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// SHA-256 of `bytes`, 64 hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Checks that `text` is a SHA-256 as [`sha256_hex`] writes it; `name` is the field it stands in.
///
/// # Errors
/// [`Error::Value`].
pub(crate) fn check_sha256(name: &str, text: &str) -> Result<()> {
    let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if text.len() == 64 && text.chars().all(digit) {
        return Ok(());
    }
    Err(Error::Value {
        name: name.into(),
        expected: "64 lower-case hexadecimal digits".into(),
        found: text.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_standard_s_example() {
        // FIPS 180-4, message "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expected);
        assert!(check_sha256("abc", expected).is_ok());
    }

    #[test]
    fn rejects_other_hashes() {
        for wrong in ["", "abc", &"A".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert!(check_sha256("x", wrong).is_err(), "{wrong}");
        }
    }
}
