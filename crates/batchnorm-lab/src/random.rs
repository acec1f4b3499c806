//! Random numbers: ChaCha8, by a seed and a purpose.
//!
//! Each purpose has a stream of its own, so that drawing more weights does not change the order of the batches. The
//! generator is named and portable: a seed means the same numbers on every machine.

use chacha20::ChaCha8Rng;
use rand::SeedableRng;

/// The purpose of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Splitting a data set.
    Split,
    /// Start weights.
    Weights,
    /// The order in which images come.
    Order,
}

/// The generator of a seed for a purpose.
pub fn generator(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(purpose as u64);
    generator
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn a_seed_means_the_same_numbers_for_ever() {
        assert_eq!(generator(1, Purpose::Weights).next_u64(), generator(1, Purpose::Weights).next_u64());
        assert_ne!(generator(1, Purpose::Weights).next_u64(), generator(1, Purpose::Order).next_u64());
        assert_ne!(generator(1, Purpose::Weights).next_u64(), generator(2, Purpose::Weights).next_u64());
    }
}
