//! The directional derivative (JVP) of decorrelated batch norm: the speed of the output, from those of input and
//! parameters.

use crate::call_error::CallError;
use crate::check::{same_batch, same_shape};
use crate::parameters::ParameterDirection;
use crate::whitening::saved::{SavedWhitening, symmetric_part};
use batchnorm_kernel::passes::{Call, Centered, Layout};
use batchnorm_kernel::{Element, View, ViewMut};
use std::ops::Range;

/// How mean and covariance move where x moves with x'.
pub(super) struct StatisticsDirection {
    /// mean' of each channel, as a high part and a low part of 0.
    pub means: Vec<[f64; 2]>,
    /// C' of each group, row after row.
    pub covariances: Vec<Vec<f64>>,
}

impl SavedWhitening {
    /// The directional derivative (Jacobian-vector product) of the forward pass that left this, into `out`: y' where x
    /// moves with x' (`direction`), gamma with gamma' and beta with beta'. It is the transpose of
    /// [`backward`](Self::backward): `<u, y'> = <dx, x'> + <dgamma, gamma'> + <dbeta, beta'>` for every upstream
    /// gradient u. With xc = x - mean, each group of n values a channel has
    ///
    /// - after training: `y' = gamma * (W' xc + W xc') + gamma' * xhat + beta'`, where `xc' = x' - mean(x')`,
    ///   `C' = 1/n sum(xc' xc^T + xc xc'^T)` and `W' = U (K o (U^T C' U)) U^T`, with U and K as in `backward`;
    /// - after evaluation: `y' = gamma * W x' + gamma' * xhat + beta'`.
    ///
    /// A channel whose gradient is [declared](crate::ConstantChannel) to be 0 does not move with x: its x' counts as 0
    /// for its whole group. A group that is not finite has NaN.
    ///
    /// `x` must be the forward pass's input; gamma is that of the forward pass.
    ///
    /// ```
    /// use batchnorm::{Axes, Decorrelated, ParameterDirection, View, ViewMut};
    /// let layer = Decorrelated::new(2, 2)?;
    /// let x = View::new(&[1.0, 1.0, 2.0, 3.0, 3.0, 2.0], &[3, 2], Axes::NCHW)?;
    /// let saved = layer.forward_train(&x)?.saved;
    /// // A shift of the whole batch moves nothing.
    /// let shift = View::new(&[1.0, -2.0, 1.0, -2.0, 1.0, -2.0], &[3, 2], Axes::NCHW)?;
    /// let mut moved = [9.0f64; 6];
    /// let mut out = ViewMut::new(&mut moved, &[3, 2], Axes::NCHW)?;
    /// saved.jvp(&x, &shift, ParameterDirection::default(), &mut out)?;
    /// assert!(moved.iter().all(|moved| moved.abs() < 1e-15));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Shapes and lengths that do not fit each other or the forward pass. `out` is untouched then.
    pub fn jvp<T: Element>(
        &self,
        x: &View<T>,
        direction: &View<T>,
        parameters: ParameterDirection,
        out: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        let _call = Call::begin();
        self.check_directional(x, parameters, &[("direction", direction.layout()), ("out", out.layout())])?;
        let centered = Centered { array: x.memory(), centers: &self.centers };
        let statistics = self.statistics_direction(centered, direction);
        let matrix = |group: usize, range: Range<usize>| {
            let (root, first, d) = (&self.roots[group], range.start, range.len());
            let slope = root.derivative(&statistics.covariances[group]);
            let mut matrix = Vec::with_capacity(2 * d * d);
            for i in 0..d {
                let (gamma, gamma_t) = (self.gamma[first + i], parameters.at(first + i)[0]);
                matrix.extend((0..d).map(|j| gamma * slope[i * d + j] + gamma_t * root.matrix[i * d + j]));
                matrix.extend((0..d).map(|j| self.gradient_factor(first + j) * (gamma * root.matrix[i * d + j])));
            }
            matrix
        };
        let matrices = self.of_each_group(matrix);
        let shift: Vec<f64> = (0..self.channels()).map(|channel| parameters.at(channel)[1]).collect();
        let inputs = [centered, Centered { array: direction.memory(), centers: &statistics.means }];
        T::operations().mix(&self.machine, &inputs, &matrices, &shift, self.group, out.memory());
        Ok(())
    }

    /// Errors unless x, the parameters' direction and all other arrays fit the forward pass.
    pub(super) fn check_directional<T: Element>(
        &self,
        x: &View<T>,
        parameters: ParameterDirection,
        others: &[(&'static str, &Layout)],
    ) -> Result<(), CallError> {
        same_batch("x", self.channels(), self.count, x)?;
        others.iter().try_for_each(|&(argument, layout)| same_shape(argument, x.layout(), layout))?;
        parameters.check(self.channels())
    }

    /// How the statistics move with x: not at all where they are constants, nor with a channel whose gradient is
    /// declared to be 0.
    pub(super) fn statistics_direction<T: Element>(&self, x: Centered<T>, direction: &View<T>) -> StatisticsDirection {
        let still = vec![[0.0; 2]; self.channels()];
        if !self.by_batch {
            let covariances = self.of_each_group(|_, range| vec![0.0; range.len() * range.len()]);
            return StatisticsDirection { means: still, covariances };
        }
        let n = self.count.max(1) as f64;
        let sums = self.products(Centered { array: direction.memory(), centers: &still }, x);
        let covariance = |group: usize, range: Range<usize>| {
            let (first, d) = (range.start, range.len());
            // Twice 1/n sum x'_i xc_j, of which C' is the symmetric part.
            symmetric_part(d, |i, j| self.gradient_factor(first + i) * (2.0 / n * sums[group][i * (d + 1) + j]))
        };
        StatisticsDirection { means: self.row_means(&sums), covariances: self.of_each_group(covariance) }
    }
}
