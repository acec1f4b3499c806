//! What the tests share: a seeded generator, arrays of any strides inside poisoned buffers, wider arithmetic as truth, and
//! the measures of the contract.
#![allow(dead_code)] // every test file uses a part

pub mod double_double;
pub mod inverted;
pub mod measure;
pub mod place;
pub mod planted;
pub mod run;
pub mod samples;
pub mod somebody;
pub mod step;
pub mod ways;

/// A seeded generator (SplitMix64, Steele et al. 2014). Its seed is printed, so that a failure can be repeated.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Random(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    pub fn normals(&mut self, len: usize, mean: f64, deviation: f64) -> Vec<f64> {
        (0..len).map(|_| mean + deviation * self.normal()).collect()
    }

    pub fn normals_f32(&mut self, len: usize, mean: f64, deviation: f64) -> Vec<f32> {
        (0..len).map(|_| (mean + deviation * self.normal()) as f32).collect()
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
