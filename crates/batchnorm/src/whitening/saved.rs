//! The saved values of a forward pass of decorrelated batch norm, and the backward pass by them.

use crate::call_error::CallError;
use crate::check::{same_batch, same_shape};
use crate::gradients::ParameterGradients;
use crate::whitening::eigen::InverseRoot;
use crate::whitening::groups::{groups, of_each_group};
use batchnorm_kernel::passes::{Call, Centered, Machine, Room};
use batchnorm_kernel::{Element, View, ViewMut};

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
        let scaled = |(range, root): (std::ops::Range<usize>, &InverseRoot)| {
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
        let mut sums = T::operations().products(&self.machine, upstream, Some(centered), self.group);
        let ranges: Vec<_> = groups(self.channels(), self.group).collect();
        // The loops give no sums for an empty batch: they are 0.
        sums.resize_with(ranges.len(), Vec::new);
        for (sums, range) in sums.iter_mut().zip(&ranges) {
            sums.resize(range.len() * (range.len() + 1), 0.0);
        }
        // dgamma_i = sum_j W_ij sum(dy_i xc_j), dbeta_i = sum(dy_i), which stands behind the products of its row.
        let mut gradients = ParameterGradients { dgamma: Vec::new(), dbeta: Vec::new() };
        for (sums, root) in sums.iter().zip(&self.roots) {
            let d = root.matrix.len().isqrt();
            for (row, w) in sums.chunks_exact(d + 1).zip(root.matrix.chunks_exact(d)) {
                gradients.dgamma.push(row.iter().zip(w).fold(0.0, |sum, (product, w)| sum + product * w));
                gradients.dbeta.push(row[d]);
            }
        }
        let sizes: Vec<usize> = ranges.iter().map(|range| range.len()).collect();
        let matrix = |group: usize| self.input_gradient(ranges[group].start, &self.roots[group], &sums[group]);
        let matrices = of_each_group(&self.machine, &sizes, matrix);
        let shift = vec![0.0; self.channels()];
        let n = self.count.max(1) as f64;
        let means: Vec<[f64; 2]> = gradients.dbeta.iter().map(|sum| [sum / n, 0.0]).collect();
        let centered_both = [Centered { centers: &means, ..upstream }, centered];
        let inputs = if self.by_batch { &centered_both[..] } else { &[upstream] };
        T::operations().mix(&self.machine, inputs, &matrices, &shift, self.group, dx.memory());
        Ok(gradients)
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
        let outer: Vec<f64> =
            (0..d * d).map(|at| (at / d, at % d)).map(|(i, j)| 0.5 * (product(i, j) + product(j, i))).collect();
        let derivative = root.derivative(&outer);
        let factor = 2.0 / self.count.max(1) as f64;
        let mut matrix = Vec::with_capacity(2 * d * d);
        for i in 0..d {
            let factor_of_row = if self.without_gradient[first + i] { 0.0 } else { 1.0 };
            matrix.extend((0..d).map(|j| factor_of_row * scaled(i * d + j)));
            matrix.extend((0..d).map(|j| factor_of_row * (factor * derivative[i * d + j])));
        }
        matrix
    }
}
