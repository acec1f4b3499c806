//! What is said of somebody's gradients: the right ones are never accused, mistakes are called by their names.

mod arrangements;
mod each_kind_gets_its_verdict;
mod orders;
mod planted;
mod planted_mistakes_are_named;
mod renormalized;
mod right_gradients_are_never_called_wrong;
mod rounding_accuses_nobody;
mod somebody;

use std::ops::{Deref, DerefMut};

/// The seeded generator. Its seed is printed, so that a failure can be repeated.
struct Random(batchnorm_reference::random::Random);

impl Random {
    fn new(seed: u64) -> Random {
        println!("seed {seed}");
        Random(batchnorm_reference::random::Random::new(seed))
    }
}

impl Deref for Random {
    type Target = batchnorm_reference::random::Random;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Random {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
