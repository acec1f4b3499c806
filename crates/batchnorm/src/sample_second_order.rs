//! Second derivatives of norms that do not look at the batch.

use crate::element::Element;
use crate::error::CallError;
use crate::kernel::rows_along::{Rows, Turn, pairwise};
use crate::layout::Layout;
use crate::rule::same_shape;
use crate::sample_saved::SampleSaved;
use crate::saved::ParameterGradients;
use crate::second_order::by_both;
use crate::tangent::ParameterDirection;
use crate::view::{View, ViewMut};

impl SampleSaved {
    /// The Hessian of `F = sum dy * y` by (x, gamma, beta) times a direction, which is how fast the gradients of
    /// [`backward`](Self::backward) move where x moves with x' (`direction`) and gamma with gamma', dy held: dx' into
    /// `out`, dgamma' and dbeta' = 0 returned. With r = 1 / sqrt(variance + eps), xhat the normalised input, g = gamma * dy,
    /// g' = gamma' * dy, the means over what was normalised together, w = r * (x' - mean(x')), p = mean(w * xhat),
    /// q = mean(g * xhat) and k = mean((g - mean(g)) * w) - p * q:
    ///
    /// - `dx' = r * (g' - mean(g') - xhat * mean(g' * xhat)) - r * (p * (g - mean(g)) + q * w + (k - 2 * p * q) * xhat)`,
    /// - `dgamma' = sum(dy * (w - xhat * p))`
    ///
    /// (RMS norm: without mean(x'), mean(g) and mean(g')). See [`Saved::hvp`](crate::Saved::hvp).
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
        self.check(x, ("direction", direction), ("out", &out.layout))?;
        same_shape("dy", &x.layout, &dy.layout)?;
        parameters.check(self.gamma.len()).map_err(|error| self.frame.of_elements(error))?;
        let zeros = vec![0.0; self.gamma.len()];
        if x.layout.is_empty() {
            return Ok(ParameterGradients { dgamma: zeros.clone(), dbeta: zeros });
        }
        let frame = &self.frame;
        let gamma_t: Vec<f64> = (0..self.gamma.len()).map(|at| parameters.of(at)[0]).collect();
        let of = [&self.gamma, &gamma_t].map(|values| frame.elements(values));
        let rows = Rows {
            numbers: &self.numbers,
            count: frame.count,
            period: frame.period,
            centred: self.centred,
            of: of.each_ref().map(|values| &values[..]),
        };
        let joined = Layout::joined([&x.layout, &dy.layout, &direction.layout, &out.layout], &frame.arrangement);
        let [x, dy, direction] =
            [x, dy, direction].map(|view| view.memory.rearranged(&view.layout, &frame.arrangement, joined));
        let outs = out.memory.rearranged(&out.layout, &frame.arrangement, joined);
        let arrays: Vec<_> = x.iter().zip(&dy).zip(&direction).map(|((x, dy), direction)| [x, dy, direction]).collect();
        let turns: Vec<Turn> = arrays
            .iter()
            .zip(outs)
            .enumerate()
            .flat_map(|(part, (&arrays, mut out))| rows.along(part, arrays, &mut out))
            .collect();
        let sums = rows.parameter_sums(&arrays, &turns);
        // Positions that share a gamma.
        let dgamma = sums.chunks(frame.positions).map(|sums| pairwise(sums.len(), &|at| sums[at])).collect();
        Ok(ParameterGradients { dgamma, dbeta: zeros })
    }

    /// The backward pass of the backward pass (double backward): as [`Saved::double_backward`](crate::Saved::double_backward),
    /// by [`hvp`](Self::hvp) and [`jvp`](Self::jvp).
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
        let hvp = |by_x: &mut ViewMut<T>| self.hvp(x, dy, of_dx, of_parameters, by_x);
        let jvp = |by_dy: &mut ViewMut<T>| self.jvp(x, of_dx, of_parameters, by_dy);
        by_both([x, of_dx], by_x, by_dy, hvp, jvp)
    }
}
