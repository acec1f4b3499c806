//! A network's answer for one example.

use batchnorm_lab::training::answer;

use super::inputs::Asked;

/// The answer: a class, and how likely each is.
pub struct Answer {
    /// The class of the greatest score; none if one of the scores is not a number.
    pub class: Option<usize>,
    /// The probability of each class (softmax of the scores), in thousandths, each rounded.
    pub thousandths: Vec<u16>,
}

impl Answer {
    pub fn new(scores: &[f32]) -> Answer {
        let (class, thousandths) = answer(scores).unzip();
        Answer { class, thousandths: thousandths.unwrap_or_else(|| vec![0; scores.len()]) }
    }

    pub fn share(&self, class: usize) -> f64 {
        f64::from(self.thousandths[class]) / 1000.0
    }
}

/// What was asked about, with its answer.
pub struct Said {
    pub name: String,
    /// The class it is, where that is known.
    pub label: Option<usize>,
    pub answer: Answer,
    /// The class, and its probability.
    pub first: Option<(usize, f64)>,
    /// The next likely one.
    pub second: Option<(usize, f64)>,
}

impl Said {
    pub fn new(asked: &Asked, answer: Answer) -> Said {
        let first = answer.class;
        let others = (0..answer.thousandths.len()).filter(|&class| Some(class) != first);
        let second = others.max_by_key(|&class| (answer.thousandths[class], usize::MAX - class));
        let known = |class: usize| (class, answer.share(class));
        let (first, second) = (first.map(known), first.and(second).map(known));
        Said { name: asked.name.clone(), label: asked.label, answer, first, second }
    }

    /// Tells whether it is right, where that is known.
    pub fn right(&self) -> Option<bool> {
        self.label.map(|label| self.first.map(|(class, _)| class) == Some(label))
    }

    pub fn probability(&self) -> f64 {
        self.first.map_or(0.0, |(_, share)| share)
    }
}

/// What was said of everything that was asked about.
pub struct Told {
    pub said: Vec<Said>,
    /// One line for each picture or folder that could not be read.
    pub failed: Vec<String>,
    /// What the network sees of the only picture.
    pub seen: Option<Vec<f32>>,
}
