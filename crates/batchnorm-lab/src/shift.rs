//! Shifts of pictures: what makes test data differ from what a network was trained on.

use std::fmt;
use std::str::FromStr;

use chacha20::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::data::Examples;

/// What is done to the values of an example, which are in 0..=1 before and after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shift {
    /// Nothing.
    None,
    /// Differences from the picture's mean, times this.
    Contrast(f64),
    /// This added.
    Brightness(f64),
    /// A normal number of this deviation added to each value.
    Noise(f64),
    /// One less the value.
    Inversion,
}

impl Shift {
    /// Shifts examples, before they are standardised.
    pub fn apply(self, examples: &mut Examples, noise: &mut ChaCha8Rng) {
        let width = examples.width().max(1);
        for example in examples.values.chunks_exact_mut(width) {
            let mean = example.iter().sum::<f32>() / width as f32;
            for value in example {
                let shifted = match self {
                    Shift::None => continue,
                    Shift::Contrast(factor) => mean + factor as f32 * (*value - mean),
                    Shift::Brightness(more) => *value + more as f32,
                    Shift::Noise(deviation) => {
                        let normal: f64 = StandardNormal.sample(noise);
                        *value + (deviation * normal) as f32
                    }
                    Shift::Inversion => 1.0 - *value,
                };
                *value = shifted.clamp(0.0, 1.0);
            }
        }
    }

    /// The shift for people.
    pub fn words(self) -> String {
        match self {
            Shift::None => String::from("unshifted"),
            Shift::Contrast(factor) => format!("contrast {factor}"),
            Shift::Brightness(more) => format!("brightness {more:+}"),
            Shift::Noise(deviation) => format!("noise {deviation}"),
            Shift::Inversion => String::from("inverted"),
        }
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shift::None => write!(f, "none"),
            Shift::Contrast(factor) => write!(f, "contrast={factor}"),
            Shift::Brightness(more) => write!(f, "brightness={more}"),
            Shift::Noise(deviation) => write!(f, "noise={deviation}"),
            Shift::Inversion => write!(f, "inversion"),
        }
    }
}

impl FromStr for Shift {
    type Err = ();

    fn from_str(text: &str) -> Result<Shift, ()> {
        let (name, number) =
            text.split_once('=').map_or((text, None), |(name, number)| (name, number.parse::<f64>().ok()));
        match (name, number.filter(|number| number.is_finite())) {
            ("none", None) => Ok(Shift::None),
            ("inversion", None) => Ok(Shift::Inversion),
            ("contrast", Some(factor)) => Ok(Shift::Contrast(factor)),
            ("brightness", Some(more)) => Ok(Shift::Brightness(more)),
            ("noise", Some(deviation)) if deviation >= 0.0 => Ok(Shift::Noise(deviation)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    fn shifted(shift: &str, values: &[f32]) -> Vec<f32> {
        let mut examples = Examples { values: values.to_vec(), classes: vec![0; values.len() / 2] };
        let shift: Shift = shift.parse().unwrap();
        assert_eq!(shift.to_string().parse(), Ok(shift));
        shift.apply(&mut examples, &mut generator(1, Purpose::Testing));
        examples.values
    }

    #[test]
    fn shifts_are_what_they_say_and_values_stay_in_range() {
        let values = [0.0, 0.5, 0.25, 1.0];
        assert_eq!(shifted("none", &values), values);
        assert_eq!(shifted("inversion", &values), [1.0, 0.5, 0.75, 0.0]);
        assert_eq!(shifted("contrast=0.5", &values), [0.125, 0.375, 0.4375, 0.8125]);
        assert_eq!(shifted("brightness=0.5", &values), [0.5, 1.0, 0.75, 1.0]);
        let noisy = shifted("noise=0.3", &[0.5; 2000]);
        let mean = noisy.iter().sum::<f32>() / 2000.0;
        assert!((mean - 0.5).abs() < 0.03 && noisy.iter().all(|value| (0.0..=1.0).contains(value)), "{mean}");
        for wrong in ["contrast", "noise=-1", "blur=1", "none=1", "noise=x", ""] {
            assert_eq!(wrong.parse::<Shift>(), Err(()), "{wrong}");
        }
    }
}
