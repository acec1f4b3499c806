//! The saved values of a forward pass of decorrelated batch norm, and the backward pass by them.

use crate::call_error::CallError;
use crate::check::{same_batch, same_shape};
use crate::gradients::ParameterGradients;
use crate::whitening::eigen::InverseRoot;
use crate::whitening::groups::{groups, of_each_group};
use batchnorm_kernel::passes::{Call, Centered, Machine, Room};
use batchnorm_kernel::{Element, View, ViewMut};
use std::ops::Range;

/// The values that a forward pass saves for its backward pass: of each channel the mean and gamma, of each group the
/// whitening matrix with its eigenvectors. The input itself is not kept; backward takes it again.
///
/// ```
/// use batchnorm::{Axes, Decorrelated, View};
/// let layer = Decorrelated::new(2, 2)?;
/// let x = View::new(&[1.0, 1.0, 2.0, 3.0, 3.0, 2.0], &[3, 2], Axes::NCHW)?;
/// let saved = layer.forward_train(&x)?.saved;
/// let w = saved.matrices().next().expect("one group");
/// assert_eq!(w[1], w[2]); // symmetric
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SavedWhitening {
    pub(super) machine: Machine,
    pub(super) group: usize,
    /// Values a channel.
    pub(super) count: u64,
    /// True if mean and covariance are functions of the input.
    pub(super) by_batch: bool,
    /// Mean of each channel, as its high and low part.
    pub(super) centers: Vec<[f64; 2]>,
    pub(super) roots: Vec<InverseRoot>,
    pub(super) gamma: Room,
    /// True for a channel whose gradient is declared to be 0, because its values are all alike.
    pub(super) without_gradient: Vec<bool>,
}

impl SavedWhitening {
    /// Returns true if mean and covariance are functions of the batch to the backward pass, false if they are
    /// constants.
    pub fn used_batch_statistics(&self) -> bool {
        self.by_batch
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.gamma.len()
    }

    /// The whitening matrix W = (covariance + eps I)^(-1/2) of each group, row after row; symmetric.
    pub fn matrices(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.roots.iter().map(|root| &root.matrix[..])
    }

    /// Writes y = gamma * W (x - mean) + beta.
    pub(super) fn apply<T: Element>(&self, x: &View<T>, beta: &[f64], y: &mut ViewMut<T>) {
        let scaled = |(range, root): (Range<usize>, &InverseRoot)| {
            let (d, gamma) = (range.len(), &self.gamma[range]);
            root.matrix.iter().enumerate().map(|(at, w)| gamma[at / d] * w).collect()
        };
        let matrices: Vec<Vec<f64>> = groups(self.channels(), self.group).zip(&self.roots).map(scaled).collect();
        let x = Centered { array: x.memory(), centers: &self.centers };
        T::operations().mix(&self.machine, &[x], &matrices, beta, self.group, y.memory());
    }

    /// The backward pass, dx into a buffer. With g = gamma * dy, xc = x - mean and n values a channel, each group has
    ///
    /// - after training: `dx = W (g - mean(g)) + 2/n S xc`, where `S = U (K o (U^T G U)) U^T`, G is the symmetric part
    ///   of `sum g xc^T`, U and l are the eigenvectors and eigenvalues of covariance + eps I, and
    ///   `K_ab = -1 / (sqrt(l_a) sqrt(l_b) (sqrt(l_a) + sqrt(l_b)))` are the divided differences of `l^(-1/2)`
    ///   (Daleckii and Krein 1965), which equal eigenvalues do not disturb;
    /// - after evaluation: `dx = W g`;
    /// - both: `dgamma = sum(dy * xhat)`, `dbeta = sum(dy)`.
    ///
    /// `x` must be the forward pass's input. gamma is that of the forward pass, even if it was changed since.
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass. `dx` is untouched then.
    pub fn backward<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        dx: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        same_batch("x", self.channels(), self.count, x)?;
        same_shape("dy", x.layout(), dy.layout())?;
        same_shape("dx", x.layout(), dx.layout())?;
        let zeros = vec![[0.0; 2]; self.channels()];
        let centered = Centered { array: x.memory(), centers: &self.centers };
        let upstream = Centered { array: dy.memory(), centers: &zeros };
        let sums = self.products(upstream, centered);
        // dgamma_i = sum_j W_ij sum(dy_i xc_j), dbeta_i = sum(dy_i), which stands behind the products of its row.
        let mut gradients = ParameterGradients { dgamma: Vec::new(), dbeta: Vec::new() };
        for (sums, root) in sums.iter().zip(&self.roots) {
            let d = root.matrix.len().isqrt();
            for (row, w) in sums.chunks_exact(d + 1).zip(root.matrix.chunks_exact(d)) {
                gradients.dgamma.push(row.iter().zip(w).fold(0.0, |sum, (product, w)| sum + product * w));
                gradients.dbeta.push(row[d]);
            }
        }
        let matrix =
            |group: usize, range: Range<usize>| self.input_gradient(range.start, &self.roots[group], &sums[group]);
        let matrices = self.of_each_group(matrix);
        let shift = vec![0.0; self.channels()];
        let means = self.row_means(&sums);
        let centered_both = [Centered { centers: &means, ..upstream }, centered];
        let inputs = if self.by_batch { &centered_both[..] } else { &[upstream] };
        T::operations().mix(&self.machine, inputs, &matrices, &shift, self.group, dx.memory());
        Ok(gradients)
    }

    /// Of each group, for each row of an array the sums of its products with the rows of another, and behind them its
    /// own sum.
    pub(super) fn products<T: Element>(&self, array: Centered<T>, other: Centered<T>) -> Vec<Vec<f64>> {
        let mut sums = T::operations().products(&self.machine, array, Some(other), self.group);
        let ranges = groups(self.channels(), self.group);
        // The loops give no sums for an empty batch: they are 0.
        sums.resize_with(ranges.len(), Vec::new);
        for (sums, range) in sums.iter_mut().zip(ranges) {
            sums.resize(range.len() * (range.len() + 1), 0.0);
        }
        sums
    }

    /// Mean of each row of the array of [`products`](Self::products), as a high part and a low part of 0.
    pub(super) fn row_means(&self, sums: &[Vec<f64>]) -> Vec<[f64; 2]> {
        let n = self.count.max(1) as f64;
        let of_group = |(range, sums): (Range<usize>, &Vec<f64>)| -> Vec<[f64; 2]> {
            sums.chunks_exact(range.len() + 1).map(|row| [row[range.len()] / n, 0.0]).collect()
        };
        groups(self.channels(), self.group).zip(sums).flat_map(of_group).collect()
    }

    /// What work on each group gives, from the group's number and its channels.
    pub(super) fn of_each_group<R: Send>(&self, work: impl Fn(usize, Range<usize>) -> R + Sync) -> Vec<R> {
        let ranges: Vec<Range<usize>> = groups(self.channels(), self.group).collect();
        let sizes: Vec<usize> = ranges.iter().map(|range| range.len()).collect();
        of_each_group(&self.machine, &sizes, |group| work(group, ranges[group].clone()))
    }

    /// Factor of the gradient of a channel: 0 where it is declared to be 0.
    pub(super) fn gradient_factor(&self, channel: usize) -> f64 {
        if self.without_gradient[channel] { 0.0 } else { 1.0 }
    }

    /// The matrix that gives dx of a group from dy, and from xc too where the statistics are the batch's; `first` is
    /// the group's first channel.
    fn input_gradient(&self, first: usize, root: &InverseRoot, sums: &[f64]) -> Vec<f64> {
        let d = root.matrix.len().isqrt();
        let gamma = &self.gamma[first..first + d];
        // W diag(gamma).
        let scaled = |at: usize| root.matrix[at] * gamma[at % d];
        if !self.by_batch {
            return (0..d * d).map(scaled).collect();
        }
        let product = |i: usize, j: usize| gamma[i] * sums[i * (d + 1) + j];
        // G, the symmetric part of sum g xc^T.
        let derivative = root.derivative(&symmetric_part(d, product));
        let factor = 2.0 / self.count.max(1) as f64;
        let mut matrix = Vec::with_capacity(2 * d * d);
        for i in 0..d {
            let factor_of_row = self.gradient_factor(first + i);
            matrix.extend((0..d).map(|j| factor_of_row * scaled(i * d + j)));
            matrix.extend((0..d).map(|j| factor_of_row * (factor * derivative[i * d + j])));
        }
        matrix
    }
}

/// The symmetric part of a d x d matrix, whose elements `element` gives; row after row.
pub(super) fn symmetric_part(d: usize, element: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    (0..d * d).map(|at| (at / d, at % d)).map(|(i, j)| 0.5 * (element(i, j) + element(j, i))).collect()
}
