//! What the tests share: a seeded generator, arrays of any strides inside poisoned buffers, wider arithmetic as truth, and
//! the measures of the contract.
#![allow(dead_code)] // every program uses a part

pub mod layout;
pub mod measure;
pub mod place;
pub mod samples;
pub mod sentences;
pub mod step;
pub mod training;
pub mod wide;

use std::ops::{Deref, DerefMut};

/// The seeded generator. Its seed is printed, so that a failure can be repeated.
pub struct Random(batchnorm::reference::random::Random);

impl Random {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Random(batchnorm::reference::random::Random::new(seed))
    }
}

impl Deref for Random {
    type Target = batchnorm::reference::random::Random;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Random {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// The values of one channel of an NCHW array, in logical order.
pub fn channel_of<T: Copy>(data: &[T], channels: usize, plane: usize, channel: usize) -> Vec<T> {
    data.chunks(channels * plane)
        .flat_map(|sample| sample[channel * plane..(channel + 1) * plane].iter().copied())
        .collect()
}

/// A pool of so many threads, started once.
pub fn pool(threads: usize) -> &'static rayon::ThreadPool {
    static POOLS: [std::sync::OnceLock<rayon::ThreadPool>; 17] = [const { std::sync::OnceLock::new() }; 17];
    POOLS[threads].get_or_init(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool"))
}
