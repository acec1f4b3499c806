//! The seeded generator of tests and tools: the same numbers from the same seed, on every machine and in every version.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A generator of numbers, SplitMix64 (Steele et al. 2014).
///
/// ```
/// use batchnorm_reference::random::Random;
/// let (mut one, mut other) = (Random::new(7), Random::new(7));
/// assert_eq!(one.normals(3, 0.0, 1.0), other.normals(3, 0.0, 1.0));
/// assert!((0.0..1.0).contains(&one.uniform()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// The generator that begins with a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Output `k`, from 0, of the generator that begins with a seed: it needs no output before it.
    ///
    /// ```
    /// use batchnorm_reference::random::Random;
    /// let mut random = Random::new(5);
    /// assert_eq!([random.bits(), random.bits()], [Random::bits_at(5, 0), Random::bits_at(5, 1)]);
    /// ```
    pub fn bits_at(seed: u64, k: u64) -> u64 {
        mixed(seed.wrapping_add(STEP.wrapping_mul(k.wrapping_add(1))))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    /// A number in 0..1, a multiple of 2^-53; all of these are equally likely.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below a limit.
    ///
    /// # Panics
    /// If the limit is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit as u64) as usize
    }

    /// A standard normal number (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Normal numbers of this mean and standard deviation.
    pub fn normals(&mut self, len: usize, mean: f64, deviation: f64) -> Vec<f64> {
        (0..len).map(|_| mean + deviation * self.normal()).collect()
    }

    /// The same numbers, rounded to `f32`.
    pub fn normals_f32(&mut self, len: usize, mean: f64, deviation: f64) -> Vec<f32> {
        (0..len).map(|_| (mean + deviation * self.normal()) as f32).collect()
    }

    /// Some of the whole numbers below `limit`, each once, in ascending order; all of them where there are no more than `most`.
    ///
    /// ```
    /// use batchnorm_reference::random::Random;
    /// assert_eq!(Random::new(1).some(3, 5), [0, 1, 2]);
    /// assert_eq!(Random::new(1).some(1000, 5).len(), 5);
    /// ```
    pub fn some(&mut self, limit: usize, most: usize) -> Vec<usize> {
        if limit <= most {
            return (0..limit).collect();
        }
        let mut drawn: Vec<usize> = Vec::new();
        while drawn.len() < most {
            let one = self.below(limit);
            if !drawn.contains(&one) {
                drawn.push(one);
            }
        }
        drawn.sort_unstable();
        drawn
    }
}

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn it_is_splitmix64() {
    // The outputs from seed 1234567, of the authors' C code.
    let expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431];
    assert_eq!([0, 1, 2, 3].map(|k| Random::bits_at(1_234_567, k)), expected);
    let mut random = Random::new(1_234_567);
    assert_eq!([0; 4].map(|_| random.bits()), expected);
}

#[test]
fn some_are_different_and_ascending() {
    let drawn = Random::new(3).some(100, 30);
    assert!(drawn.len() == 30 && drawn.is_sorted_by(|one, next| one < next) && drawn[29] < 100);
}
