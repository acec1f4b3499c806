//! What the forward pass of a norm that does not look at the batch leaves, its backward pass and its directional
//! derivative.

use crate::config::Activation;
use crate::element::Element;
use crate::error::CallError;
use crate::kernel::leaves::GradientSums;
use crate::kernel::pointwise::Coefficients;
use crate::kernel::raw::{Isa, Readable, Writable};
use crate::kernel::row_formulas::{Elements, RowNumbers};
use crate::kernel::rows::{Summed, at_once};
use crate::kernel::tier::Tier;
use crate::kernel::tree::Merge;
use crate::layout::{Arrangement, Layout};
use crate::rule::same_shape;
use crate::sample_rule::{Frame, joint};
use crate::saved::ParameterGradients;
use crate::tangent::ParameterDirection;
use crate::view::{View, ViewMut};

/// What a forward pass leaves for its backward pass: mean and inverse standard deviation of all that was normalised
/// together, and gamma. The input itself is not kept; backward takes it again.
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
    pub(crate) isa: Tier,
    /// Whether the mean is taken off.
    pub(crate) centred: bool,
    pub(crate) frame: Frame,
    /// The input's axes in logical order.
    pub(crate) input: Vec<usize>,
    /// Of each row; the inverse is 0 where the gradient is declared to be 0.
    pub(crate) numbers: Vec<RowNumbers>,
    pub(crate) gamma: Vec<f64>,
}

/// The arrays of a call in parts: two that are read, one that is written.
type Parts<'a, T> = (Vec<[Readable<'a, T>; 2]>, Vec<Writable<'a, T>>);

impl SampleSaved {
    /// How many sets of values were normalised, each by itself: rows of layer norm, groups of all samples.
    pub fn rows(&self) -> usize {
        self.frame.rows
    }

    /// The backward pass, dx into a buffer. With r = 1 / sqrt(variance + eps), xhat the normalised input, the means over
    /// what was normalised together, and the sums over all that has the same gamma and beta:
    ///
    /// - `dx = r * (gamma * dy - mean(gamma * dy) - xhat * mean(gamma * dy * xhat))` (RMS norm: without the first mean),
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
        self.check(x, ("dy", dy), ("dx", &dx.layout))?;
        if x.layout.is_empty() {
            let zeros = vec![0.0; self.gamma.len()];
            return Ok(ParameterGradients { dgamma: zeros.clone(), dbeta: zeros });
        }
        let isa = self.isa();
        if self.frame.by_channels {
            let (arrays, outs) = parts([x, dy], dx, &self.frame.of_channels());
            let sums = self.channel_sums(&arrays);
            let weighted = |number: usize, &sums: &GradientSums| {
                let gamma = self.gamma[self.frame.row_and_channel(number).1];
                GradientSums { dy: gamma * sums.dy, dy_xhat: gamma * sums.dy_xhat }
            };
            let means = self.row_means(&sums, weighted);
            self.map_channels(&arrays, outs, |row, channel| {
                let ([mean, inverse, lag], [offset, turn]) = (self.numbers[row], means[row]);
                [
                    mean,
                    self.gamma[channel] * inverse,
                    0.0,
                    0.0,
                    inverse,
                    -inverse * turn,
                    inverse * (lag * turn - offset),
                ]
            });
            let of = |channel: usize| {
                let all: Vec<_> = sums[channel..].iter().step_by(self.gamma.len()).copied().collect();
                joint(&all, &GradientSums::merge)
            };
            let all: Vec<GradientSums> = (0..self.gamma.len()).map(of).collect();
            return Ok(ParameterGradients {
                dgamma: all.iter().map(|sums| sums.dy_xhat).collect(),
                dbeta: all.iter().map(|sums| sums.dy).collect(),
            });
        }
        let (arrays, mut outs) = parts([x, dy], dx, &self.frame.arrangement);
        let gamma = self.frame.elements(&self.gamma);
        let gamma = Elements { vectors: [&gamma], period: self.frame.period };
        let means = |sums| self.means(sums);
        let summed = Summed { first: 0, numbers: &self.numbers, weights: gamma, means: &means };
        let Frame { rows, count, period, .. } = self.frame;
        let sums = if let ([arrays], [dx]) = (&arrays[..], &mut outs[..])
            && at_once(rows, count, period)
        {
            T::backward_rows(isa, summed, arrays.each_ref(), dx)
        } else {
            for ((arrays, dx), (first, numbers)) in arrays.iter().zip(&mut outs).zip(self.parts_of_rows(arrays.len())) {
                T::input_gradient_rows(isa, Summed { first, numbers, ..summed }, arrays.each_ref(), dx);
            }
            let arrays: Vec<_> = arrays.iter().map(|arrays| arrays.each_ref()).collect();
            T::parameter_rows(isa, &arrays, &self.numbers, self.frame.period)
        };
        let [dbeta, dgamma] =
            sums.map(|sums| sums.chunks(self.frame.positions).map(|sums| sums.iter().sum()).collect());
        Ok(ParameterGradients { dgamma, dbeta })
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
        self.check(x, ("direction", direction), ("out", &out.layout))?;
        parameters.check(self.gamma.len()).map_err(|error| self.frame.of_elements(error))?;
        if x.layout.is_empty() {
            return Ok(());
        }
        if self.frame.by_channels {
            let (arrays, outs) = parts([x, direction], out, &self.frame.of_channels());
            let means = self.row_means(&self.channel_sums(&arrays), |_, &sums| sums);
            self.map_channels(&arrays, outs, |row, channel| {
                let ([mean, inverse, lag], [offset, turn]) = (self.numbers[row], means[row]);
                let [gamma_t, beta_t] = parameters.of(channel);
                let scale = self.gamma[channel] * inverse;
                let turn = gamma_t - scale * turn;
                [mean, scale, 0.0, offset, inverse, turn, beta_t - turn * lag]
            });
            return Ok(());
        }
        let (arrays, outs) = parts([x, direction], out, &self.frame.arrangement);
        let of = |which: usize| (0..self.gamma.len()).map(|at| parameters.of(at)[which]).collect::<Vec<f64>>();
        let [gamma, gamma_t, beta_t] = [&self.gamma, &of(0), &of(1)].map(|values| self.frame.elements(values));
        let (ones, period) = (vec![1.0; gamma.len()], self.frame.period);
        let weights = Elements { vectors: [&ones], period };
        let elements = Elements { vectors: [&gamma, &gamma_t, &beta_t], period };
        let means = |sums| self.means(sums);
        for ((arrays, mut out), (first, numbers)) in arrays.iter().zip(outs).zip(self.parts_of_rows(arrays.len())) {
            let summed = Summed { first, numbers, weights, means: &means };
            T::tangent_rows(self.isa(), summed, elements, arrays.each_ref(), &mut out);
        }
        Ok(())
    }

    fn isa(&self) -> Isa {
        Isa::new(self.isa).expect("the forward pass ran on it")
    }

    /// Whether the arrays fit each other and the forward pass.
    pub(crate) fn check<T: Element>(
        &self,
        x: &View<T>,
        (argument, other): (&'static str, &View<T>),
        (name, out): (&'static str, &Layout),
    ) -> Result<(), CallError> {
        let got = x.layout.logical_shape();
        if got != self.input {
            return Err(CallError::Shape { argument: "x", expected: self.input.clone(), got });
        }
        same_shape(argument, &x.layout, &other.layout)?;
        same_shape(name, &x.layout, out)
    }

    /// What is taken off a row: the mean, and that of the products.
    fn means(&self, GradientSums { dy, dy_xhat }: GradientSums) -> [f64; 2] {
        let n = self.frame.count as f64;
        [if self.centred { dy / n } else { 0.0 }, dy_xhat / n]
    }

    /// The number of the first row of each part, and the numbers of its rows.
    pub(crate) fn parts_of_rows(&self, parts: usize) -> impl Iterator<Item = (usize, &[RowNumbers])> {
        let each = self.numbers.len() / parts;
        self.numbers.chunks(each).enumerate().map(move |(part, numbers)| (part * each, numbers))
    }

    /// Of each channel of each sample.
    fn channel_sums<T: Element>(&self, arrays: &[[Readable<T>; 2]]) -> Vec<GradientSums> {
        let each = self.frame.rows / self.frame.period * self.gamma.len() / arrays.len();
        let mut all = Vec::with_capacity(each * arrays.len());
        for (part, arrays) in arrays.iter().enumerate() {
            let of = |kind: usize| {
                let number = |at| self.numbers[self.frame.row_and_channel(part * each + at).0][kind];
                (0..each).map(number).collect::<Vec<f64>>()
            };
            let [mean, inverse, lag] = [of(0), of(1), of(2)];
            // Without an activation, scale and shift play no part.
            let constants = [&mean[..], &inverse, &inverse, &inverse, &lag];
            all.extend(T::gradient_sums(self.isa(), Activation::Identity, constants, arrays.each_ref()));
        }
        all
    }

    /// The means of each row, from the sums of its channels.
    fn row_means(&self, sums: &[GradientSums], of: impl Fn(usize, &GradientSums) -> GradientSums) -> Vec<[f64; 2]> {
        let row = |row: usize| {
            let channels = self.frame.channels_of(row);
            let all: Vec<GradientSums> = channels.map(|number| of(number, &sums[number])).collect();
            self.means(joint(&all, &GradientSums::merge))
        };
        (0..self.frame.rows).map(row).collect()
    }

    /// Writes every channel of every sample by the coefficients of its row and channel.
    fn map_channels<T: Element>(
        &self,
        arrays: &[[Readable<T>; 2]],
        outs: Vec<Writable<T>>,
        of: impl Fn(usize, usize) -> [f64; 7],
    ) {
        for (part, (arrays, mut out)) in arrays.iter().zip(outs).enumerate() {
            let each = out.geometry().channels;
            let all = Coefficients::new(each, |at| {
                let (row, channel) = self.frame.row_and_channel(part * each + at);
                of(row, channel)
            });
            T::tangent(self.isa(), Activation::Identity, arrays.each_ref(), &mut out, all);
        }
    }
}

/// The arrays of a call with rows for channels.
fn parts<'a, T: Element>(
    [one, other]: [&'a View<T>; 2],
    out: &'a mut ViewMut<T>,
    arrangement: &Arrangement,
) -> Parts<'a, T> {
    let joined = Layout::joined([&one.layout, &other.layout, &out.layout], arrangement);
    let of = |view: &'a View<T>| view.memory.rearranged(&view.layout, arrangement, joined);
    let arrays = of(one).into_iter().zip(of(other)).map(|(one, other)| [one, other]).collect();
    (arrays, out.memory.rearranged(&out.layout, arrangement, joined))
}
