//! What a labelled set shows of a network.

use super::answer::Said;

/// Counts over a labelled set, and its mistakes.
pub struct Verdict<'s> {
    pub labelled: usize,
    pub right: usize,
    /// By label, then by answer; the last column counts those without an answer.
    pub confusion: Vec<Vec<usize>>,
    /// The most certain first.
    pub mistakes: Vec<&'s Said>,
}

impl<'s> Verdict<'s> {
    /// None where nothing has a label.
    pub fn of(all: &'s [Said], classes: usize) -> Option<Self> {
        let confusion = vec![vec![0; classes + 1]; classes];
        let mut verdict = Verdict { labelled: 0, right: 0, confusion, mistakes: Vec::new() };
        for said in all {
            let (Some(label), Some(right)) = (said.label, said.right()) else { continue };
            verdict.labelled += 1;
            verdict.right += usize::from(right);
            verdict.confusion[label][said.first.map_or(classes, |(class, _)| class)] += 1;
            if !right {
                verdict.mistakes.push(said);
            }
        }
        verdict.mistakes.sort_by(|a, b| b.probability().total_cmp(&a.probability()));
        (verdict.labelled > 0).then_some(verdict)
    }

    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.labelled as f64
    }

    /// The pairs of classes that are taken for each other most often: label, answer, count.
    pub fn most_confused(&self, most: usize) -> Vec<(usize, usize, usize)> {
        let classes = self.confusion.len();
        let mut pairs: Vec<(usize, usize, usize)> = (0..classes * classes)
            .map(|at| (at / classes, at % classes, self.confusion[at / classes][at % classes]))
            .filter(|(label, answer, count)| label != answer && *count > 0)
            .collect();
        pairs.sort_by_key(|&(label, answer, count)| (usize::MAX - count, label, answer));
        pairs.truncate(most);
        pairs
    }
}
