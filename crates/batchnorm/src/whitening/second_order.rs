//! Second derivatives of decorrelated batch norm: the Hessian times a direction, and the backward pass of the backward
//! pass.

use crate::batch_norm::second_order::hvp_and_jvp;
use crate::call_error::CallError;
use crate::gradients::ParameterGradients;
use crate::parameters::ParameterDirection;
use crate::whitening::saved::{SavedWhitening, symmetric_part};
use batchnorm_kernel::passes::{Call, Centered};
use batchnorm_kernel::{Element, View, ViewMut};
use std::ops::Range;

/// What the gradients of a group are made of along a direction: for each row, sums over the values and, behind them,
/// one that is not used here.
#[derive(Clone, Copy)]
struct GroupSums<'s> {
    /// sum dy xc^T; not used where the statistics are constants.
    upstream: &'s [f64],
    /// sum dy xc'^T.
    along: &'s [f64],
    /// C'.
    covariance_t: &'s [f64],
}

impl SavedWhitening {
    /// The Hessian of `F = sum dy * y` by (x, gamma, beta) times a direction, which is how fast the gradients of
    /// [`backward`](Self::backward) move where x moves with x' (`direction`) and gamma with gamma', dy held: dx' into
    /// `out`, dgamma' and dbeta' returned. With xc, xc', C' and W' as in [`jvp`](Self::jvp), g and S as in `backward`
    /// and g' = gamma' * dy, each group of n values a channel has
    ///
    /// - after training: `dx' = W' (g - mean(g)) + W (g' - mean(g')) + 2/n (S' xc + S xc')`, where S' is how S moves:
    ///   the second derivative of `(C + eps I)^(-1/2)` in the directions C' and G, and the first in the direction G',
    ///   the symmetric part of `sum(g' xc^T + g xc'^T)`; and `dgamma' = sum(dy * (W' xc + W xc'))`,
    /// - after evaluation: `dx' = W g'`, `dgamma' = sum(dy * W x')`,
    /// - both: `dbeta' = 0`, and beta' does not matter.
    ///
    /// The second derivative takes second divided differences of `l^(-1/2)`, which are
    /// `(ra + rb + rc) / (ra rb rc (ra + rb) (rb + rc) (ra + rc))` with r = sqrt(l): equal eigenvalues do not disturb it
    /// (see Higham, *Functions of Matrices*, 2008, chapter 3).
    ///
    /// A channel whose gradient is [declared](crate::ConstantChannel) to be 0 has dx' = 0 and dgamma' = 0, and its x'
    /// counts as 0 for its whole group. A group that is not finite has NaN. An empty batch has zeros.
    ///
    /// For a loss whose own gradient dy moves with dy', the whole Hessian-vector product is this plus
    /// [`backward`](Self::backward) of dy'; for `L(y)`, dy' is L's Hessian times [`jvp`](Self::jvp).
    ///
    /// ```
    /// use batchnorm::{Axes, Decorrelated, ParameterDirection, View, ViewMut};
    /// let layer = Decorrelated::new(2, 2)?;
    /// let x = View::new(&[1.0, 1.0, 2.0, 3.0, 3.0, 2.0], &[3, 2], Axes::NCHW)?;
    /// let dy = View::new(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.5], &[3, 2], Axes::NCHW)?;
    /// let trained = layer.forward_train(&x)?;
    /// let dx = layer.backward(&x, &dy, &trained.saved)?.dx;
    /// // dx is proportional to gamma: where gamma moves with itself, dx moves with itself.
    /// let still = View::new(&[0.0; 6], &[3, 2], Axes::NCHW)?;
    /// let mut moved = [9.0f64; 6];
    /// let mut out = ViewMut::new(&mut moved, &[3, 2], Axes::NCHW)?;
    /// let with_gamma = ParameterDirection { gamma: layer.gamma(), ..ParameterDirection::default() };
    /// trained.saved.hvp(&x, &dy, &still, with_gamma, &mut out)?;
    /// assert!(moved.iter().zip(dx.data()).all(|(moved, dx)| (moved - dx).abs() < 1e-15));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`jvp`](Self::jvp). `out` is untouched then.
    pub fn hvp<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        direction: &View<T>,
        parameters: ParameterDirection,
        out: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        let others = [("dy", dy.layout()), ("direction", direction.layout()), ("out", out.layout())];
        self.check_directional(x, parameters, &others)?;
        let zeros = ParameterGradients::zeros(self.channels());
        if x.layout().is_empty() {
            return Ok(zeros);
        }
        let still = vec![[0.0; 2]; self.channels()];
        let centered = Centered { array: x.memory(), centers: &self.centers };
        let upstream = Centered { array: dy.memory(), centers: &still };
        let statistics = self.statistics_direction(centered, direction);
        let moving = Centered { array: direction.memory(), centers: &statistics.means };
        let along_sums = self.products(upstream, moving);
        let upstream_sums = if self.by_batch { self.products(upstream, centered) } else { Vec::new() };
        let of_group = |group: usize, range: Range<usize>| {
            let upstream = upstream_sums.get(group).map_or(&[][..], |sums| sums);
            let sums = GroupSums { upstream, along: &along_sums[group], covariance_t: &statistics.covariances[group] };
            self.gradient_along(group, range, sums, parameters)
        };
        let (matrices, dgamma): (Vec<_>, Vec<_>) = self.of_each_group(of_group).into_iter().unzip();
        let means = self.row_means(&upstream_sums);
        let all = [Centered { centers: &means, ..upstream }, centered, moving];
        let inputs = if self.by_batch { &all[..] } else { &[upstream] };
        let shift = vec![0.0; self.channels()];
        T::operations().mix(&self.machine, inputs, &matrices, &shift, self.group, out.memory());
        Ok(ParameterGradients { dgamma: dgamma.concat(), ..zeros })
    }

    /// Of a group, the matrix that gives dx' from dy, and from xc and xc' too where the statistics are the batch's; and
    /// dgamma'.
    fn gradient_along(
        &self,
        group: usize,
        channels: Range<usize>,
        sums: GroupSums,
        parameters: ParameterDirection,
    ) -> (Vec<f64>, Vec<f64>) {
        let (root, first, d) = (&self.roots[group], channels.start, channels.len());
        let gamma = &self.gamma[channels.clone()];
        let gamma_t: Vec<f64> = channels.map(|channel| parameters.at(channel)[0]).collect();
        let along = |i: usize, j: usize| self.gradient_factor(first + j) * sums.along[i * (d + 1) + j];
        let scaled_t = |at: usize| root.matrix[at] * gamma_t[at % d];
        if !self.by_batch {
            let term = |i: usize, j: usize| root.matrix[i * d + j] * along(i, j);
            let dgamma = (0..d).map(|i| (0..d).fold(0.0, |sum, j| sum + term(i, j)));
            return ((0..d * d).map(scaled_t).collect(), dgamma.collect());
        }
        let upstream = |i: usize, j: usize| sums.upstream[i * (d + 1) + j];
        let outer = symmetric_part(d, |i, j| gamma[i] * upstream(i, j));
        let outer_t = symmetric_part(d, |i, j| gamma_t[i] * upstream(i, j) + gamma[i] * along(i, j));
        let whitening_t = root.derivative(sums.covariance_t);
        let slope = root.derivative(&outer);
        let curvature = root.second_derivative([sums.covariance_t, &outer]);
        let through_outer = root.derivative(&outer_t);
        let factor = 2.0 / self.count.max(1) as f64;
        let mut matrix = Vec::with_capacity(3 * d * d);
        for i in 0..d {
            let (row, of_row) = (i * d..(i + 1) * d, self.gradient_factor(first + i));
            matrix.extend(row.clone().map(|at| of_row * (whitening_t[at] * gamma[at % d] + scaled_t(at))));
            matrix.extend(row.clone().map(|at| of_row * (factor * (curvature[at] + through_outer[at]))));
            matrix.extend(row.map(|at| of_row * self.gradient_factor(first + at % d) * (factor * slope[at])));
        }
        let term = |i: usize, j: usize| whitening_t[i * d + j] * upstream(i, j) + root.matrix[i * d + j] * along(i, j);
        let dgamma = (0..d).map(|i| (0..d).fold(0.0, |sum, j| sum + term(i, j))).collect();
        (matrix, dgamma)
    }

    /// The backward pass of the backward pass (double backward): as
    /// [`Saved::double_backward`](crate::Saved::double_backward), by [`hvp`](Self::hvp) and [`jvp`](Self::jvp). The
    /// gradients of an outer function of dx, dgamma and dbeta, whose own are `of_dx` and `of_parameters`: those by x and
    /// by dy are written to `by_x` and `by_dy`, and that by gamma is returned.
    ///
    /// # Errors
    /// As [`jvp`](Self::jvp). `by_x` and `by_dy` are untouched then.
    pub fn double_backward<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        of_dx: &View<T>,
        of_parameters: ParameterDirection,
        by_x: &mut ViewMut<T>,
        by_dy: &mut ViewMut<T>,
    ) -> Result<Vec<f64>, CallError> {
        let _call = Call::begin();
        let hvp = |by_x: &mut ViewMut<T>| self.hvp(x, dy, of_dx, of_parameters, by_x);
        let jvp = |by_dy: &mut ViewMut<T>| self.jvp(x, of_dx, of_parameters, by_dy);
        hvp_and_jvp([x, of_dx], by_x, by_dy, hvp, jvp)
    }
}
