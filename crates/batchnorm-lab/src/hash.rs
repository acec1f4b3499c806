//! Hashes by which networks and trainings are told apart.

/// The FNV-1a hash (64 bits) of the bytes that it has taken.
#[derive(Debug, Clone, Copy)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Takes bytes behind those that it has.
    pub fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The hash of a text, as sixteen digits.
    pub fn of_text(text: &str) -> String {
        let mut hash = Fnv::default();
        hash.take(text.as_bytes());
        format!("{:016x}", hash.hash())
    }

    /// The hash of all bytes taken.
    pub fn hash(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_draft() {
        // draft-eastlake-fnv, appendix C.
        assert_eq!(Fnv::of_text(""), "cbf29ce484222325");
        assert_eq!(Fnv::of_text("a"), "af63dc4c8601ec8c");
        assert_eq!(Fnv::of_text("foobar"), "85944171f73967e8");
    }
}
