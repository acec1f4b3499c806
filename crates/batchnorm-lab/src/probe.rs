//! Looks inside a network during its training: the inputs of one unit, the size of the gradients, and at the end the
//! network's answer for each test image.
//!
//! A look changes nothing: the training's bits are the same with and without (a test compares them).

use serde::{Deserialize, Serialize};

use crate::data::Examples;
use crate::digits::CLASSES;
use crate::training::{Evaluation, Training, answer};

/// The percentiles of Ioffe and Szegedy's figure 1.
pub const PERCENTILES: [f64; 3] = [15.0, 50.0, 85.0];
/// The unit of the last hidden layer that is looked at. All start alike; the first was taken before any run.
pub const UNIT: usize = 0;
/// Between two looks the steps grow by a tenth or more: even spacing on a logarithmic axis, some 60 looks in 2,500
/// steps, however often the network is evaluated.
const GROWTH: f64 = 1.1;

/// The inside of a network after some steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Steps taken.
    pub step: usize,
    /// The [`PERCENTILES`], over the test images, of the input of the last hidden layer's unit [`UNIT`] to its sigmoid
    /// in evaluation: after batch norm where there is one. None without a hidden layer or where it is not finite.
    pub inputs: Option<[f32; 3]>,
    /// Frobenius norm of the loss's gradient in each layer's weights, from the pixels to the classes, on one fixed
    /// batch: the first training images in the file's order. None where it is not finite.
    pub gradients: Vec<Option<f32>>,
}

/// The answer of a network for an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The class of the greatest score; none if one of the scores is NaN.
    pub class: Option<u8>,
    /// The probability of each class (softmax of the scores) in thousandths, each rounded.
    pub thousandths: [u16; CLASSES],
}

impl Answer {
    /// The answers of all scores, image after image.
    pub fn all(scores: &[f32]) -> Vec<Answer> {
        scores.as_chunks().0.iter().map(Answer::new).collect()
    }

    fn new(scores: &[f32; CLASSES]) -> Answer {
        let (class, shares) = answer(scores).unzip();
        let mut thousandths = [0; CLASSES];
        shares.into_iter().flatten().zip(&mut thousandths).for_each(|(share, of)| *of = share);
        Answer { class: class.map(|class| class as u8), thousandths }
    }
}

/// The looks into one training.
pub(crate) struct Probing {
    batch: Examples,
    probes: Vec<Probe>,
}

impl Probing {
    /// No looks yet; the first `batch_size` images are the fixed batch.
    pub fn new(images: &Examples, batch_size: usize) -> Probing {
        let first: Vec<usize> = (0..batch_size.min(images.len())).collect();
        Probing { batch: images.select(&first), probes: Vec::new() }
    }

    /// Tells whether the steps have grown enough since the last look.
    pub fn due(&self, step: usize) -> bool {
        self.probes.last().is_none_or(|last| is_due(step, last.step))
    }

    /// Looks at a network and the pass over the test images that it has just made.
    pub fn look(&mut self, step: usize, training: &Training, evaluation: &Evaluation) {
        let finite = |value: f64| Some(value as f32).filter(|value| value.is_finite());
        let inputs = unit_percentiles(evaluation);
        let gradients = training.gradient_norms(&self.batch).into_iter().map(finite).collect();
        self.probes.push(Probe { step, inputs, gradients });
    }

    pub fn probes(self) -> Vec<Probe> {
        self.probes
    }
}

/// Tells whether steps have grown enough since a look.
pub(crate) fn is_due(step: usize, last: usize) -> bool {
    step as f64 >= GROWTH * last as f64
}

/// The [`PERCENTILES`] of the inputs of the last hidden layer's unit [`UNIT`]; none without one, or where one is not finite.
pub(crate) fn unit_percentiles(evaluation: &Evaluation) -> Option<[f32; 3]> {
    let unit = evaluation.inputs.as_ref()?.clone().narrow(1, UNIT, 1).into_data();
    percentiles(unit.iter::<f32>().collect())
}

/// The [`PERCENTILES`] of values, interpolated linearly (NumPy's default); none if a value is not finite.
fn percentiles(mut values: Vec<f32>) -> Option<[f32; 3]> {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    values.sort_by(f32::total_cmp);
    Some(PERCENTILES.map(|percentile| {
        let place = percentile / 100.0 * (values.len() - 1) as f64;
        let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
        (f64::from(below) + place.fract() * (f64::from(above) - f64::from(below))) as f32
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digits::Digits;
    use crate::network::Architecture;
    use crate::optimizer::{Rule, Settings, WeightDecay};
    use crate::training::Batches;

    const PLAIN: Settings =
        Settings { rule: Rule::PLAIN, decay: WeightDecay { penalty: 0.0, of_norms: false }, clip: None };

    #[test]
    fn looking_does_not_change_the_training() {
        let digits = Digits::embedded();
        for batch_norm in [false, true] {
            let trained = |looks: bool| {
                let network = Architecture::default().start(batch_norm, 3, &Training::device());
                let mut training = Training::new(network, PLAIN, 3, 0);
                let mut batches = Batches::new(digits.train.len(), 60, 3);
                let mut probing = Probing::new(&digits.train, 60);
                let losses: Vec<u64> = (0..40)
                    .map(|step| {
                        if looks {
                            probing.look(step, &training, &training.evaluate(&digits.test));
                        }
                        training.step(&digits.train.select(batches.draw()), 0.5).to_bits()
                    })
                    .collect();
                let score = training.evaluate(&digits.test).score;
                (losses, training.network().fingerprint(), score, probing.probes().len())
            };
            let (with, without) = (trained(true), trained(false));
            assert_eq!((with.3, without.3), (40, 0));
            assert_eq!((with.0, with.1, with.2), (without.0, without.1, without.2), "batch norm: {batch_norm}");
        }
    }

    #[test]
    fn gradient_norms_are_those_of_small_differences() {
        // The loss falls by about rate * (sum of all squared gradients) in one step along them on the same batch.
        let digits = Digits::embedded();
        let network = Architecture { hidden: vec![], ..Architecture::default() }.start(false, 1, &Training::device());
        let rate = 1e-3;
        let mut training = Training::new(network, PLAIN, 1, 0);
        let norms = training.gradient_norms(&digits.train);
        assert_eq!(norms.len(), 1);
        let (before, after) = (training.step(&digits.train, rate), training.step(&digits.train, rate));
        let squares = (before - after) / rate;
        // The bias's gradient, which is not in the norm, is small: the classes are of one size.
        assert!((norms[0] * norms[0] / squares - 1.0).abs() < 0.05, "{} {squares}", norms[0] * norms[0]);
    }

    #[test]
    fn percentiles_are_numpys() {
        // np.percentile([4, 1, 3, 2, 10], [15, 50, 85])
        assert_eq!(percentiles(vec![4.0, 1.0, 3.0, 2.0, 10.0]), Some([1.6, 3.0, 6.4]));
        assert_eq!(percentiles(vec![7.0]), Some([7.0; 3]));
        assert_eq!(percentiles(vec![1.0, f32::NAN]), None);
        assert_eq!(percentiles(vec![]), None);
    }

    #[test]
    fn looks_are_spaced_by_growth() {
        let mut probing = Probing { batch: Examples { values: vec![], classes: vec![] }, probes: vec![] };
        let mut steps = vec![];
        for step in (0..=2500).step_by(5) {
            if probing.due(step) {
                probing.probes.push(Probe { step, inputs: None, gradients: vec![] });
                steps.push(step);
            }
        }
        assert_eq!(steps[..6], [0, 5, 10, 15, 20, 25]);
        assert!((40..70).contains(&steps.len()), "{}", steps.len());
    }

    #[test]
    fn an_answer_is_a_softmax() {
        let mut scores = [0.0; 10];
        scores[3] = 9.0_f32.ln();
        let answer = Answer::new(&scores);
        assert_eq!((answer.class, answer.thousandths[3], answer.thousandths[0]), (Some(3), 500, 56));
        scores[0] = f32::NAN;
        assert_eq!(Answer::all(&scores)[0].class, None);
    }
}
