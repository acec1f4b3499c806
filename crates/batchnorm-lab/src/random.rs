//! Random numbers: ChaCha8, by a seed and a purpose.
//!
//! Each purpose has a stream of its own, so that drawing more weights does not change the order of the batches. What is drawn in a
//! step has a stream for each step: a training that goes on at a step draws what it would have drawn, and has no generator to
//! keep. The generator is named and portable: a seed means the same numbers on every machine.

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
    /// A part of a data set.
    Subset,
    /// The changes to the pictures of this step.
    Augmentation(usize),
    /// What is dropped in this step.
    Dropout(usize),
    /// Resamples of a statistic.
    Bootstrap,
    /// The order of examples to test with, and what is added to them.
    Testing,
}

impl Purpose {
    fn stream(self) -> u64 {
        let of_step = |step: usize, kind: u64| ((step as u64) << 3) + kind;
        match self {
            Purpose::Split => 0,
            Purpose::Weights => 1,
            Purpose::Order => 2,
            Purpose::Subset => 3,
            Purpose::Augmentation(step) => of_step(step, 4),
            Purpose::Dropout(step) => of_step(step, 5),
            Purpose::Bootstrap => 6,
            Purpose::Testing => 7,
        }
    }
}

/// The generator of a seed for a purpose.
pub fn generator(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(purpose.stream());
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
