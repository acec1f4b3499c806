//! The saved values of the forward pass of a norm that does not look at the batch, its backward pass and its
//! directional derivative.

use crate::affine::corrected_shift;
use crate::batch_norm::input::{Input, InputKind, PlacedWeights};
use crate::call_error::CallError;
use crate::check::{same_logical_shape, same_shape};
use crate::gradients::ParameterGradients;
use crate::parameters::ParameterDirection;
use crate::sample_norm::grouping::{RowPlan, in_parts};
use batchnorm_kernel::passes::{
    Backward, Beside, Call, ChannelConstants, Elements, GradientSums, GroupGradientCoefficients, Layout, Machine,
    Merge, NormalizeCoefficients, PlainPass, Readable, Room, RowMeans, RowNumbers, Scaling, Statistics, Summed,
    TangentCoefficients, at_once, joined_pairwise,
};
use batchnorm_kernel::{Activation, Element, View, ViewMut};

/// The values that a forward pass saves for its backward pass: mean and inverse standard deviation of all that was
/// normalised together, gamma and beta, with weights their sum. The input itself is not kept; backward takes it again.
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
    pub(crate) activation: Activation,
    pub(crate) plan: RowPlan,
    /// Lengths of the input's axes in logical order, the channel axes apart.
    pub(crate) input: [Vec<usize>; 2],
    /// The numbers that give xhat, of each row; the inverse deviation is 0 where the gradient is declared to be 0.
    pub(crate) numbers: Vec<RowNumbers>,
    /// The low part of each row's mean, of rows by the kernels of batch norm.
    pub(crate) means_low: Vec<f64>,
    /// The sum of each row's weights, of a pass with weights.
    pub(crate) total_weights: Option<Vec<f64>>,
    pub(crate) gamma: Room,
    pub(crate) beta: Room,
}

impl SampleSaved {
    /// Number of sets of values that were normalised, each by itself: rows of layer norm, groups of all samples.
    pub fn rows(&self) -> usize {
        self.plan.rows
    }

    /// The backward pass, dx into a buffer. With r = 1 / sqrt(variance + eps), xhat the normalised input, the means
    /// over what was normalised together, and the sums over all that has the same gamma and beta:
    ///
    /// - `dx = r * (gamma * dy - mean(gamma * dy) - xhat * mean(gamma * dy * xhat))` (RMS norms: without the first
    ///   mean),
    /// - `dgamma = sum(dy * xhat)`, `dbeta = sum(dy)`.
    ///
    /// Behind an activation f, dy stands for `dy * f'(gamma * xhat + beta)` in all of them. With weights, the sums are over
    /// what is not masked, and with W the sum of the weights of what was normalised together
    ///
    /// - `dx = r * (gamma * dy - w/W * sum(gamma * dy) - xhat * w/W * sum(gamma * dy * xhat))`, 0 where w is 0.
    ///
    /// The input must be the forward pass's, with its weights; gamma and beta are those of the forward pass.
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass; another kind of input than that pass's. `dx` is untouched then.
    pub fn backward<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        dx: &mut ViewMut<T>,
    ) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        let input = input.into();
        let (x, weights) = (input.x(), self.check(input, ("dy", dy), ("dx", dx.layout()))?);
        if x.layout().is_empty() {
            return Ok(ParameterGradients::zeros(self.gamma.len()));
        }
        if weights.is_some() {
            let [dbeta, dgamma] = self.plain_pass(PlainPass::Gradient, &[x, dy], weights, dx);
            return Ok(ParameterGradients { dgamma, dbeta });
        }
        if self.plan.by_channels { Ok(self.channels_backward(x, dy, dx)) } else { Ok(self.rows_backward(x, dy, dx)) }
    }

    /// The backward pass by the kernels of batch norm, of arrays that fit.
    fn channels_backward<T: Element>(&self, x: &View<T>, dy: &View<T>, dx: &mut ViewMut<T>) -> ParameterGradients {
        let (arrays, outs) = in_parts([x, dy], dx, &self.plan.with_channels_for_rows());
        let sums = self.channel_sums(&arrays, self.activation);
        let with_gamma = |number: usize, &sums: &GradientSums| {
            let gamma = self.gamma[self.plan.row_and_channel(number).1];
            GradientSums { dy: gamma * sums.dy, dy_xhat: gamma * sums.dy_xhat }
        };
        let means = self.row_means(&sums, with_gamma);
        // dx = inverse * (gamma dz - offset - xhat * xhat_factor): what is added to all values of the row is put together here.
        let coefficients = |row: usize, channel: usize| {
            let (RowNumbers { inverse_deviation, xhat_low, .. }, means) = (self.numbers[row], means[row]);
            GroupGradientCoefficients {
                z: self.of_z(row, channel),
                inverse_deviation,
                xhat_factor: -inverse_deviation * means.xhat_factor,
                constant: inverse_deviation * (xhat_low * means.xhat_factor - means.offset),
            }
        };
        for (part, (arrays, mut dx)) in arrays.iter().zip(outs).enumerate() {
            let of_channel = self.of_channels(part * dx.geometry().channels, &coefficients);
            T::operations().group_gradient(&self.machine, self.activation, arrays.each_ref(), &mut dx, &of_channel);
        }
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
        let [gamma, beta] = [&self.gamma, &self.beta].map(|values| self.plan.elements(values));
        let elements = Elements { vectors: [&gamma, &beta], period: self.plan.period };
        let scaling = Scaling { activation: self.activation, first: 0, elements };
        let means = |sums| self.means(sums);
        let summed = Summed { scaling, numbers: &self.numbers, means: &means };
        let RowPlan { rows, count, period, .. } = self.plan;
        // One part with blocks enough for the threads: dx and the parameters' sums in one sweep. Else in two; the bits
        // are the same.
        let sums = if let ([arrays], [dx]) = (&arrays[..], &mut outs[..])
            && at_once(machine, rows, count, period)
        {
            T::operations().backward_rows(machine, summed, arrays.each_ref(), dx)
        } else {
            for ((arrays, dx), (first, numbers)) in arrays.iter().zip(&mut outs).zip(self.parts_of_rows(arrays.len())) {
                let summed = Summed { scaling: Scaling { first, ..scaling }, numbers, ..summed };
                T::operations().input_gradient_rows(machine, summed, arrays.each_ref(), dx);
            }
            let arrays: Vec<_> = arrays.iter().map(|arrays| arrays.each_ref()).collect();
            T::operations().parameter_rows(machine, &arrays, summed)
        };
        let [dbeta, dgamma] = sums.map(|sums| sums.chunks(self.plan.positions).map(|sums| sums.iter().sum()).collect());
        ParameterGradients { dgamma, dbeta }
    }

    /// The directional derivative (Jacobian-vector product) of the forward pass that left this, into `out`: y' where x
    /// moves with x' (`direction`), gamma with gamma' and beta with beta'. It is the transpose of
    /// [`backward`](Self::backward); the means are over what was normalised together:
    ///
    /// `y' = gamma * r * (x' - mean(x') - xhat * mean(x' * xhat)) + gamma' * xhat + beta'` (RMS norms: without the first
    /// mean). Behind an activation, this times `f'(gamma * xhat + beta)`; with weights, the means are weighted, and y' is 0
    /// where a weight is 0.
    ///
    /// # Errors
    /// Shapes and lengths that do not fit each other or the forward pass; another kind of input than that pass's. `out` is
    /// untouched then.
    pub fn jvp<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        direction: &View<T>,
        parameters: ParameterDirection,
        out: &mut ViewMut<T>,
    ) -> Result<(), CallError> {
        let _call = Call::begin();
        let input = input.into();
        let (x, weights) = (input.x(), self.check(input, ("direction", direction), ("out", out.layout()))?);
        parameters.check(self.gamma.len()).map_err(|error| self.plan.in_elements(error))?;
        if x.layout().is_empty() {
            return Ok(());
        }
        if weights.is_some() {
            let elements = self.direction_of_elements(parameters);
            let pass = PlainPass::Tangent(elements.each_ref().map(|values| &values[..]));
            self.plain_pass(pass, &[x, direction], weights, out);
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
        let means = self.row_means(&self.channel_sums(&arrays, Activation::Identity), |_, &sums| sums);
        let coefficients = |row: usize, channel: usize| {
            let (RowNumbers { inverse_deviation, xhat_low, .. }, means) = (self.numbers[row], means[row]);
            let [gamma_t, beta_t] = parameters.at(channel);
            let NormalizeCoefficients { mean, scale, shift } = self.of_z(row, channel);
            let xhat_factor = gamma_t - scale * means.xhat_factor;
            TangentCoefficients {
                mean,
                scale,
                shift,
                offset: means.offset,
                inverse_deviation,
                xhat_factor,
                constant: beta_t - xhat_factor * xhat_low,
            }
        };
        for (part, (arrays, mut out)) in arrays.iter().zip(outs).enumerate() {
            let of_channel = self.of_channels(part * out.geometry().channels, &coefficients);
            T::operations().tangent(&self.machine, self.activation, arrays.each_ref(), None, &mut out, &of_channel);
        }
    }

    /// gamma' and beta' of each element of a row.
    fn direction_of_elements(&self, parameters: ParameterDirection) -> [Vec<f64>; 2] {
        let directions: Vec<[f64; 2]> = (0..self.gamma.len()).map(|at| parameters.at(at)).collect();
        [0, 1].map(|which| self.plan.elements(&directions.iter().map(|pair| pair[which]).collect::<Vec<f64>>()))
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
        let [gamma_t, beta_t] = self.direction_of_elements(parameters);
        let [gamma, beta] = [&self.gamma, &self.beta].map(|values| self.plan.elements(values));
        let (ones, period) = (vec![1.0; gamma.len()], self.plan.period);
        let elements = Elements { vectors: [&gamma, &beta, &gamma_t, &beta_t], period };
        let means = |sums| self.means(sums);
        for ((arrays, mut out), (first, numbers)) in arrays.iter().zip(outs).zip(self.parts_of_rows(arrays.len())) {
            // The sums are those of t alone.
            let scaling =
                Scaling { activation: Activation::Identity, first, elements: Elements { vectors: [&ones; 2], period } };
            let summed = Summed { scaling, numbers, means: &means };
            let (machine, activation) = (&self.machine, self.activation);
            T::operations().tangent_rows(machine, activation, summed, elements, arrays.each_ref(), &mut out);
        }
    }

    /// Errors unless the arrays fit each other and the forward pass; gives the weights, if there are some.
    pub(crate) fn check<'i, T: Element>(
        &self,
        input: Input<'i, '_, T>,
        (argument, other): (&'static str, &View<T>),
        (name, out): (&'static str, &Layout),
    ) -> Result<Option<PlacedWeights<'i, T>>, CallError> {
        let (x, is_weighted) = (input.x(), self.total_weights.is_some());
        same_logical_shape("x", &self.input, x.layout())?;
        let weights = input.check_sibling(Some(if is_weighted { InputKind::Weighted } else { InputKind::Plain }))?;
        same_shape(argument, x.layout(), other.layout())?;
        same_shape(name, x.layout(), out)?;
        Ok(weights)
    }

    /// The coefficients of z, of a row and a channel by the kernels of batch norm: those of the forward pass, but where the
    /// gradient is declared to be 0, and z is beta whatever the scale.
    pub(crate) fn of_z(&self, row: usize, channel: usize) -> NormalizeCoefficients {
        let RowNumbers { mean, inverse_deviation, .. } = self.numbers[row];
        let scale = self.gamma[channel] * inverse_deviation;
        NormalizeCoefficients { mean, scale, shift: corrected_shift(self.beta[channel], self.means_low[row], scale) }
    }

    /// What coefficients give for the rows and channels from number `first` on, counted through all samples.
    fn of_channels<'c, C>(
        &'c self,
        first: usize,
        coefficients: &'c (impl Fn(usize, usize) -> C + Sync),
    ) -> impl Fn(usize) -> C + Sync + 'c {
        move |at| {
            let (row, channel) = self.plan.row_and_channel(first + at);
            coefficients(row, channel)
        }
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

    /// The sums of dz and of dz xhat over each channel of each sample.
    fn channel_sums<T: Element>(&self, arrays: &[[Readable<T>; 2]], activation: Activation) -> Vec<GradientSums> {
        let channels_a_part = self.plan.rows / self.plan.period * self.gamma.len() / arrays.len();
        let mut sums = Vec::with_capacity(channels_a_part * arrays.len());
        for (part, arrays) in arrays.iter().enumerate() {
            let first = part * channels_a_part;
            let vector = |number: &(dyn Fn(usize, usize) -> f64 + Sync)| {
                (0..channels_a_part).map(self.of_channels(first, &number)).collect::<Vec<f64>>()
            };
            let mean = &vector(&|row, _| self.numbers[row].mean)[..];
            let inverse_deviation = &vector(&|row, _| self.numbers[row].inverse_deviation)[..];
            let xhat_low = &vector(&|row, _| self.numbers[row].xhat_low)[..];
            let scale = &vector(&|row, channel| self.of_z(row, channel).scale)[..];
            let shift = &vector(&|row, channel| self.of_z(row, channel).shift)[..];
            let pass = Backward {
                machine: &self.machine,
                activation,
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
}
