//! What is said of a gradient.

use crate::mistakes::Mistake;
use crate::precision::Precision;

/// What somebody's gradient is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// As near to the truth as careful arithmetic gets, and unlike every mistake.
    Right,
    /// The right formula; its error is one that plain arithmetic at that precision makes on this input.
    Inexact,
    /// Nothing can be said on this input: it is far from the truth, and plain arithmetic at that precision may be as far. No
    /// accusation.
    Hidden,
    /// Cannot be told apart on this input: right, or one of these, which differ from the truth by less than rounding. No
    /// accusation.
    Undecided(Vec<&'static Mistake>),
    /// Wrong, by this mistake; where there are more, by one of these, which cannot be told apart on this input.
    Wrong(Vec<&'static Mistake>),
    /// Wrong, and no known mistake explains it.
    Unexplained {
        /// What comes nearest.
        nearest: Nearest,
        /// The measure of the distance to it, or to what would be nearest.
        distance: f64,
        /// How large the terms of dx are, as parts of the right ones: dy, the constant, and x - mean. `None` where it
        /// is not made of these at all, or they cannot be told apart.
        terms: Option<[f64; 3]>,
    },
    /// It holds so many values that are NaN or infinite.
    NotFinite(usize),
    /// Channels differ: each kind with its channels, what is wrong first.
    ByChannel(Vec<(Verdict, Vec<usize>)>),
}

impl Verdict {
    /// Whether it is certain that something is wrong.
    ///
    /// ```
    /// use batchnorm_gradcheck::Verdict;
    /// assert!(Verdict::NotFinite(1).is_wrong() && !Verdict::Inexact.is_wrong());
    /// ```
    pub fn is_wrong(&self) -> bool {
        match self {
            Verdict::Right | Verdict::Inexact | Verdict::Hidden | Verdict::Undecided(_) => false,
            Verdict::Wrong(_) | Verdict::Unexplained { .. } | Verdict::NotFinite(_) => true,
            Verdict::ByChannel(all) => all.iter().any(|(verdict, _)| verdict.is_wrong()),
        }
    }

    /// The mistakes it names.
    pub fn mistakes(&self) -> Vec<&'static Mistake> {
        match self {
            Verdict::Undecided(mistakes) | Verdict::Wrong(mistakes) => mistakes.clone(),
            Verdict::ByChannel(all) => {
                let mut names: Vec<&'static Mistake> = Vec::new();
                for mistake in all.iter().flat_map(|(verdict, _)| verdict.mistakes()) {
                    if !names.contains(&mistake) {
                        names.push(mistake);
                    }
                }
                names
            }
            _ => Vec::new(),
        }
    }
}

/// What comes nearest to a gradient that nothing explains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Nearest {
    /// The truth itself.
    Truth,
    /// The gradient of this mistake.
    Mistake(&'static Mistake),
    /// Nothing: all that is known is as far away as the gradient is large.
    Nothing,
}

/// What is known of one gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is.
    pub verdict: Verdict,
    /// The worst error by the measure of [`Problem`](crate::Problem): of dx, max|error| / (max|gamma| r max|dy|) of its
    /// channel (or row); of dgamma, |error| / sum|dy xhat|; of dbeta, |error| / sum|dy|. 0 of 0 counts as 0.
    pub error: f64,
    /// Channel of the worst error; of layer, group, instance and RMS norm its row, and for parameters their number.
    pub channel: usize,
    /// Where the worst error stands in the array.
    pub index: Vec<usize>,
    /// The value there.
    pub got: f64,
    /// What it should be.
    pub expected: f64,
    /// What the error may be there by plain arithmetic, by the same measure.
    pub allowed: f64,
    /// The precision it was judged by: that of its numbers.
    pub precision: Precision,
}

/// What is known of the gradients that were given.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// Of dx.
    pub dx: Option<Finding>,
    /// Of dgamma.
    pub dgamma: Option<Finding>,
    /// Of dbeta.
    pub dbeta: Option<Finding>,
}

impl Diagnosis {
    /// Each gradient that was given, with its name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Finding)> {
        let named = [("dx", &self.dx), ("dgamma", &self.dgamma), ("dbeta", &self.dbeta)];
        named.into_iter().filter_map(|(name, finding)| Some((name, finding.as_ref()?)))
    }

    /// Whether any of them is wrong.
    pub fn is_wrong(&self) -> bool {
        self.all().any(|(_, finding)| finding.verdict.is_wrong())
    }

    /// Keeps the explanations that the wrong gradients have in common, if there are any: one mistake makes all of them wrong.
    pub(crate) fn narrow(&mut self) {
        let mut all = [&mut self.dx, &mut self.dgamma, &mut self.dbeta];
        let mut common: Option<Vec<&'static Mistake>> = None;
        for finding in all.iter().filter_map(|finding| finding.as_ref()) {
            if let Verdict::Wrong(mistakes) = &finding.verdict {
                let kept = |mistake: &&'static Mistake| common.as_ref().is_none_or(|common| common.contains(mistake));
                common = Some(mistakes.iter().copied().filter(kept).collect());
            }
        }
        let Some(common) = common.filter(|common| !common.is_empty()) else { return };
        for finding in all.iter_mut().filter_map(|finding| finding.as_mut()) {
            if let Verdict::Wrong(mistakes) = &mut finding.verdict {
                mistakes.retain(|mistake| common.contains(mistake));
            }
        }
    }
}
