//! The seeded generator of `gradcheck`: SplitMix64 (Steele, Lea and Flood 2014).

/// Numbers that follow from a seed alone, the same on every machine but for the rounding of `ln` and `cos`.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next output of the generator.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in 0..1, each multiple of 2^-53 as likely as the others.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number of the standard normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub fn normals(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.normal()).collect()
    }

    /// At most `most` different indices below `count`, in ascending order; all of them where there are no more.
    pub fn indices(&mut self, count: usize, most: usize) -> Vec<usize> {
        if count <= most {
            return (0..count).collect();
        }
        let mut drawn: Vec<usize> = Vec::new();
        while drawn.len() < most {
            let index = (self.bits() % count as u64) as usize;
            if !drawn.contains(&index) {
                drawn.push(index);
            }
        }
        drawn.sort_unstable();
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_generator_is_splitmix64() {
        // The outputs from seed 1234567, of the authors' C code.
        let expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431];
        let mut random = Random::new(1_234_567);
        assert_eq!([(); 4].map(|()| random.bits()), expected);
    }

    #[test]
    fn indices_are_different_and_ascending() {
        let mut random = Random::new(3);
        let drawn = random.indices(100, 30);
        assert_eq!(drawn.len(), 30);
        assert!(drawn.is_sorted_by(|one, next| one < next) && drawn[29] < 100);
        assert_eq!(random.indices(3, 30), [0, 1, 2]);
    }
}
