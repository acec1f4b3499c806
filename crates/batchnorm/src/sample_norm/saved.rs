//! The saved values of the forward pass of a norm that does not look at the batch, its backward pass and its
//! directional derivative.

use crate::call_error::CallError;
use crate::check::{same_logical_shape, same_shape};
use crate::gradients::ParameterGradients;
use crate::parameters::ParameterDirection;
use crate::sample_norm::grouping::{RowPlan, in_parts};
use batchnorm_kernel::passes::{
    Backward, Beside, Call, ChannelConstants, Elements, GradientSums, Layout, Machine, Merge, Readable, Room, RowMeans,
    RowNumbers, Statistics, Summed, TangentCoefficients, Writable, at_once, joined_pairwise,
};
use batchnorm_kernel::{Activation, Element, View, ViewMut};

/// The values that a forward pass saves for its backward pass: mean and inverse standard deviation of all that was
/// normalised together, and gamma. The input itself is not kept; backward takes it again.
///
/// ```
/// use batchnorm::{Axes, SampleNorm, View};
/// let norm = SampleNorm::layer(&[3])?;
/// let x = View::new(&[1.0f64, 2.0, 6.0, 0.0, 5.0, 1.0], &[2, 3], Axes::NCHW)?;
/// let (_, saved) = norm.forward(&x)?;
/// assert_eq!(saved.rows(), 2);
/// let dx = norm.backward(&x, &x, &saved)?.dx;
/// assert!(dx.data()[..3].iter().sum::<f64>().abs() < 1e-15); // a shift of the sample changes nothing
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SampleSaved {
    pub(crate) machine: Machine,
    /// True if the mean is subtracted.
    pub(crate) centred: bool,
    pub(crate) plan: RowPlan,
    /// Lengths of the input's axes in logical order, the channel axes apart.
    pub(crate) input: [Vec<usize>; 2],
    /// The numbers that give xhat, of each row; the inverse deviation is 0 where the gradient is declared to be 0.
    pub(crate) numbers: Vec<RowNumbers>,
    pub(crate) gamma: Room,
}

impl SampleSaved {
    /// Number of sets of values that were normalised, each by itself: rows of layer norm, groups of all samples.
    pub fn rows(&self) -> usize {
        self.plan.rows
    }

    /// The backward pass, dx into a buffer. With r = 1 / sqrt(variance + eps), xhat the normalised input, the means
    /// over what was normalised together, and the sums over all that has the same gamma and beta:
    ///
    /// - `dx = r * (gamma * dy - mean(gamma * dy) - xhat * mean(gamma * dy * xhat))` (RMS norm: without the first
    ///   mean),
    /// - `dgamma = sum(dy * xhat)`, `dbeta = sum(dy)`.
    ///
    /// `x` must be the forward pass's input; gamma is that of the forward pass.
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
        self.check(x, ("dy", dy), ("dx", dx.layout()))?;
        if x.layout().is_empty() {
            return Ok(ParameterGradients::zeros(self.gamma.len()));
        }
        if self.plan.by_channels { Ok(self.channels_backward(x, dy, dx)) } else { Ok(self.rows_backward(x, dy, dx)) }
    }

    /// The backward pass by the kernels of batch norm, of arrays that fit.
    fn channels_backward<T: Element>(&self, x: &View<T>, dy: &View<T>, dx: &mut ViewMut<T>) -> ParameterGradients {
        let (arrays, outs) = in_parts([x, dy], dx, &self.plan.with_channels_for_rows());
        let sums = self.channel_sums(&arrays);
        let with_gamma = |number: usize, &sums: &GradientSums| {
            let gamma = self.gamma[self.plan.row_and_channel(number).1];
            GradientSums { dy: gamma * sums.dy, dy_xhat: gamma * sums.dy_xhat }
        };
        let means = self.row_means(&sums, with_gamma);
        self.map_channels(&arrays, outs, |row, channel| {
            let (RowNumbers { mean, inverse_deviation, xhat_low }, means) = (self.numbers[row], means[row]);
            // dx = inverse * (gamma dy - offset - xhat * xhat_factor) is a directional derivative's formula with dy
            // for the direction: only what is added to all values of the row is put together here.
            TangentCoefficients {
                mean,
                scale: self.gamma[channel] * inverse_deviation,
                shift: 0.0,
                offset: 0.0,
                inverse_deviation,
                xhat_factor: -inverse_deviation * means.xhat_factor,
                constant: inverse_deviation * (xhat_low * means.xhat_factor - means.offset),
            }
        });
        let over_samples = |channel: usize| {
            let sums: Vec<_> = sums[channel..].iter().step_by(self.gamma.len()).copied().collect();
            joined_pairwise(&sums, &GradientSums::merge)
        };
        let sums = (0..self.gamma.len()).map(over_samples).collect();
        ParameterGradients::from_sums(sums, self.gamma.len())
    }

    /// The backward pass by the kernels of rows, of arrays that fit.
    fn rows_backward<T: Element>(&self, x: &View<T>, dy: &View<T>, dx: &mut ViewMut<T>) -> ParameterGradients {
        let (arrays, mut outs) = in_parts([x, dy], dx, &self.plan.arrangement);
        let machine = &self.machine;
        let gamma = self.plan.elements(&self.gamma);
        let gamma = Elements { vectors: [&gamma], period: self.plan.period };
        let means = |sums| self.means(sums);
        let summed = Summed { first: 0, numbers: &self.numbers, weights: gamma, means: &means };
        let RowPlan { rows, count, period, .. } = self.plan;
        // One part with blocks enough for the threads: dx and the parameters' sums in one sweep. Else in two; the bits
        // are the same.
        let sums = if let ([arrays], [dx]) = (&arrays[..], &mut outs[..])
            && at_once(machine, rows, count, period)
        {
            T::operations().backward_rows(machine, summed, arrays.each_ref(), dx)
        } else {
            for ((arrays, dx), (first, numbers)) in arrays.iter().zip(&mut outs).zip(self.parts_of_rows(arrays.len())) {
                let summed = Summed { first, numbers, ..summed };
                T::operations().input_gradient_rows(machine, summed, arrays.each_ref(), dx);
            }
            let arrays: Vec<_> = arrays.iter().map(|arrays| arrays.each_ref()).collect();
            T::operations().parameter_rows(machine, &arrays, &self.numbers, period)
        };
        let [dbeta, dgamma] = sums.map(|sums| sums.chunks(self.plan.positions).map(|sums| sums.iter().sum()).collect());
        ParameterGradients { dgamma, dbeta }
    }

    /// The directional derivative (Jacobian-vector product) of the forward pass that left this, into `out`: y' where x
    /// moves with x' (`direction`), gamma with gamma' and beta with beta'. It is the transpose of
    /// [`backward`](Self::backward); the means are over what was normalised together:
    ///
    /// `y' = gamma * r * (x' - mean(x') - xhat * mean(x' * xhat)) + gamma' * xhat + beta'` (RMS norm: without the first
    /// mean).
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
        self.check(x, ("direction", direction), ("out", out.layout()))?;
        parameters.check(self.gamma.len()).map_err(|error| self.plan.in_elements(error))?;
        if x.layout().is_empty() {
            return Ok(());
        }
        if self.plan.by_channels {
            self.channels_jvp(x, direction, parameters, out);
        } else {
            self.rows_jvp(x, direction, parameters, out);
        }
        Ok(())
    }

    /// The directional derivative by the kernels of batch norm, of arrays that fit.
    fn channels_jvp<T: Element>(
        &self,
        x: &View<T>,
        direction: &View<T>,
        parameters: ParameterDirection,
        out: &mut ViewMut<T>,
    ) {
        let (arrays, outs) = in_parts([x, direction], out, &self.plan.with_channels_for_rows());
        let means = self.row_means(&self.channel_sums(&arrays), |_, &sums| sums);
        self.map_channels(&arrays, outs, |row, channel| {
            let (RowNumbers { mean, inverse_deviation, xhat_low }, means) = (self.numbers[row], means[row]);
            let [gamma_t, beta_t] = parameters.at(channel);
            let scale = self.gamma[channel] * inverse_deviation;
            let xhat_factor = gamma_t - scale * means.xhat_factor;
            TangentCoefficients {
                mean,
                scale,
                shift: 0.0,
                offset: means.offset,
                inverse_deviation,
                xhat_factor,
                constant: beta_t - xhat_factor * xhat_low,
            }
        });
    }

    /// The directional derivative by the kernels of rows, of arrays that fit.
    fn rows_jvp<T: Element>(
        &self,
        x: &View<T>,
        direction: &View<T>,
        parameters: ParameterDirection,
        out: &mut ViewMut<T>,
    ) {
        let (arrays, outs) = in_parts([x, direction], out, &self.plan.arrangement);
        let directions: Vec<[f64; 2]> = (0..self.gamma.len()).map(|at| parameters.at(at)).collect();
        let [gamma_t, beta_t] = [0, 1].map(|which| directions.iter().map(|pair| pair[which]).collect::<Vec<f64>>());
        let [gamma, gamma_t, beta_t] = [&self.gamma[..], &gamma_t, &beta_t].map(|values| self.plan.elements(values));
        let (ones, period) = (vec![1.0; gamma.len()], self.plan.period);
        let weights = Elements { vectors: [&ones], period };
        let elements = Elements { vectors: [&gamma, &gamma_t, &beta_t], period };
        let means = |sums| self.means(sums);
        for ((arrays, mut out), (first, numbers)) in arrays.iter().zip(outs).zip(self.parts_of_rows(arrays.len())) {
            let summed = Summed { first, numbers, weights, means: &means };
            T::operations().tangent_rows(&self.machine, summed, elements, arrays.each_ref(), &mut out);
        }
    }

    /// Errors unless the arrays fit each other and the forward pass.
    pub(crate) fn check<T: Element>(
        &self,
        x: &View<T>,
        (argument, other): (&'static str, &View<T>),
        (name, out): (&'static str, &Layout),
    ) -> Result<(), CallError> {
        same_logical_shape("x", &self.input, x.layout())?;
        same_shape(argument, x.layout(), other.layout())?;
        same_shape(name, x.layout(), out)
    }

    /// The means over a row, which dx and y' subtract, from its sums.
    fn means(&self, GradientSums { dy, dy_xhat }: GradientSums) -> RowMeans {
        let n = self.plan.count as f64;
        RowMeans { offset: if self.centred { dy / n } else { 0.0 }, xhat_factor: dy_xhat / n }
    }

    /// The number of the first row of each part, and the numbers of its rows.
    pub(crate) fn parts_of_rows(&self, parts: usize) -> impl Iterator<Item = (usize, &[RowNumbers])> {
        let rows_a_part = self.numbers.len() / parts;
        self.numbers.chunks(rows_a_part).enumerate().map(move |(part, numbers)| (part * rows_a_part, numbers))
    }

    /// The sums of dy and of dy xhat over each channel of each sample.
    fn channel_sums<T: Element>(&self, arrays: &[[Readable<T>; 2]]) -> Vec<GradientSums> {
        let channels_a_part = self.plan.rows / self.plan.period * self.gamma.len() / arrays.len();
        let mut sums = Vec::with_capacity(channels_a_part * arrays.len());
        for (part, arrays) in arrays.iter().enumerate() {
            let of_channels = |number: fn(&RowNumbers) -> f64| {
                let row = |at| &self.numbers[self.plan.row_and_channel(part * channels_a_part + at).0];
                (0..channels_a_part).map(|at| number(row(at))).collect::<Vec<f64>>()
            };
            let mean = &of_channels(|row| row.mean)[..];
            let inverse_deviation = &of_channels(|row| row.inverse_deviation)[..];
            let xhat_low = &of_channels(|row| row.xhat_low)[..];
            // Without an activation nothing asks for z, and scale and shift play no part.
            let (scale, shift) = (inverse_deviation, inverse_deviation);
            let pass = Backward {
                machine: &self.machine,
                activation: Activation::Identity,
                channels: ChannelConstants { mean, scale, shift, inverse_deviation, xhat_low, about: mean },
                x: &arrays[0],
                beside: Beside::Nothing,
                statistics: Statistics::Constants,
            };
            sums.extend(T::operations().gradient_sums(pass, &arrays[1]));
        }
        sums
    }

    /// The means over each row, from what `summand` makes of the sums of each of its channels.
    fn row_means(
        &self,
        sums: &[GradientSums],
        summand: impl Fn(usize, &GradientSums) -> GradientSums,
    ) -> Vec<RowMeans> {
        let row = |row: usize| {
            let channels = self.plan.channels_of(row);
            let summands: Vec<GradientSums> = channels.map(|number| summand(number, &sums[number])).collect();
            self.means(joined_pairwise(&summands, &GradientSums::merge))
        };
        (0..self.plan.rows).map(row).collect()
    }

    /// Writes every channel of every sample by the coefficients of its row and channel.
    fn map_channels<T: Element>(
        &self,
        arrays: &[[Readable<T>; 2]],
        outs: Vec<Writable<T>>,
        coefficients: impl Fn(usize, usize) -> TangentCoefficients + Sync,
    ) {
        for (part, (arrays, mut out)) in arrays.iter().zip(outs).enumerate() {
            let channels_a_part = out.geometry().channels;
            let of_channel = |at| {
                let (row, channel) = self.plan.row_and_channel(part * channels_a_part + at);
                coefficients(row, channel)
            };
            T::operations().tangent(&self.machine, Activation::Identity, arrays.each_ref(), &mut out, &of_channel);
        }
    }
}
