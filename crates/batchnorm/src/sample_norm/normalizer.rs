//! Norms that do not look at the batch, without state: checked options, and the forward pass.
//!
//! The values that are normalised together are a *row*. Rows are computed in two ways. The sizes alone say which, so
//! that the bits do not depend on the layout:
//!
//! - groups with `MIN_RUN` positions or more: by the kernels of batch norm, with each channel of each sample for a
//!   channel; moments and sums of a row's channels are joined here, in a fixed order;
//! - all others: by the kernels of rows, where each element of a row has parameters of its own.
//!
//! Where values have weights, all rows take plain loops (`plain`).

use crate::affine::{corrected_shift, inverse_deviation, mean_or_nan};
use crate::batch_norm::input::{Input, PlacedWeights};
use crate::call_error::CallError;
use crate::check::same_shape;
use crate::options::config::{check_slope, machine};
use crate::options::error::ConfigError;
use crate::options::policies::{ConstantChannel, EmptyBatch, NonFinite, Policies, SingleValue};
use crate::parameters::{Parameters, WideParameters};
use crate::sample_norm::config::SampleConfig;
use crate::sample_norm::grouping::{Grouping, RowPlan, in_parts};
use crate::sample_norm::saved::SampleSaved;
use batchnorm_kernel::passes::{
    Beside, Call, Elements, Forward, Layout, Machine, NormalizeCoefficients, NormalizeVectors, RowNumbers, Scaling,
    joined_pairwise,
};
use batchnorm_kernel::{Activation, Element, Moments, Parameter, Threads, View, ViewMut};

/// Grouping, eps and instruction set, checked: the formula without state, for frameworks that keep parameters
/// themselves. [`SampleNorm`](crate::SampleNorm) keeps parameters around this.
///
/// ```
/// use batchnorm::{Axes, Parameters, SampleConfig, View, ViewMut};
/// let normalizer = SampleConfig::group(2).normalizer()?;
/// let x = [1.0f32, 3.0, 10.0, 30.0]; // a sample of 4 channels
/// let x = View::new(&x, &[1, 4], Axes::NCHW)?;
/// let mut y = [0.0f32; 4];
/// let parameters = Parameters { gamma: Some(&[1.0f32, 1.0, 1.0, 2.0]), beta: None };
/// let saved = normalizer.forward(&x, parameters, &mut ViewMut::new(&mut y, &[1, 4], Axes::NCHW)?)?;
/// assert!((y[0] + 1.0).abs() < 1e-4 && (y[3] - 2.0).abs() < 1e-4);
/// assert_eq!(saved.rows(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SampleNormalizer {
    pub(crate) grouping: Grouping,
    pub(crate) epsilon: f64,
    pub(crate) activation: Activation,
    pub(crate) policies: Policies,
    pub(crate) machine: Machine,
}

impl SampleNormalizer {
    /// The same on other threads ([`Config::threads`](crate::Config::threads)): for one call, or from here on.
    #[must_use]
    pub fn threads(self, threads: Threads) -> SampleNormalizer {
        SampleNormalizer { machine: Machine { threads, ..self.machine }, ..self }
    }

    /// The forward pass of a `&View`, or of an [`Input::weighted`], into `y`; what it computes is at
    /// [`SampleNorm`](crate::SampleNorm). Absent parameters count as 1 and 0. The lengths of gamma and beta are the product of
    /// the last axes (last axis fastest), or the channels.
    ///
    /// # Errors
    /// Shapes and lengths that do not fit, groups that do not divide the channels, a residual, and what the policies refuse
    /// (by default instance norm of one position). `y` is untouched then.
    pub fn forward<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        parameters: Parameters<P>,
        y: &mut ViewMut<T>,
    ) -> Result<SampleSaved, CallError> {
        let _call = Call::begin();
        let input = input.into();
        let x = input.x();
        let plan = RowPlan::new(self.grouping, x.layout())?;
        let weights = input.check_sibling(None)?;
        same_shape("y", x.layout(), y.layout())?;
        let measured = self.admit(&plan, x, weights.as_ref())?;
        let widened = parameters.widened(plan.parameters()).map_err(|error| plan.in_elements(error))?;
        let total_weights = weights.as_ref().map(|_| measured.iter().map(Moments::weight).collect());
        let moments = if x.layout().is_empty() {
            Vec::new()
        } else if let Some(weights) = &weights {
            self.weighted_forward(&plan, x, weights, &measured, &widened, y);
            measured
        } else if plan.by_channels {
            self.channels_forward(&plan, x, &widened, y)
        } else {
            self.rows_forward(&plan, x, &widened, y)
        };
        let numbers = moments.iter().map(|moments| {
            let numbers = self.row_numbers(moments);
            // An inverse deviation of 0 tells the backward pass that dx is declared to be 0.
            let declared = self.declares_zero() && self.has_no_spread(moments);
            RowNumbers { inverse_deviation: if declared { 0.0 } else { numbers.inverse_deviation }, ..numbers }
        });
        let mean_low = |moments: &Moments| self.mean_and_inverse(moments).0[1];
        Ok(SampleSaved {
            machine: self.machine.clone(),
            centred: self.grouping.is_centred(),
            activation: self.activation,
            input: x.layout().logical_shape(),
            numbers: numbers.collect(),
            means_low: if plan.by_channels { moments.iter().map(mean_low).collect() } else { Vec::new() },
            total_weights,
            gamma: widened.gamma,
            beta: widened.beta,
            plan,
        })
    }

    /// Errors where the policies refuse an array, before anything is written; the moments of each row, where values have
    /// weights.
    fn admit<T: Element>(
        &self,
        plan: &RowPlan,
        x: &View<T>,
        weights: Option<&PlacedWeights<T>>,
    ) -> Result<Vec<Moments>, CallError> {
        let (policies, shape) = (self.policies, || x.shape().to_vec());
        if x.layout().is_empty() {
            let refused = policies.empty_batch == EmptyBatch::Error;
            return if refused { Err(CallError::EmptyBatch { shape: shape() }) } else { Ok(Vec::new()) };
        }
        if weights.is_some() {
            // How many values of a row count is known from the moments alone.
            let moments = self.row_moments(plan, x, weights);
            self.check_weights(&moments)?;
            return self.check_finite(moments);
        }
        if plan.count == 1 && self.grouping.is_centred() && policies.single_value == SingleValue::Error {
            return Err(CallError::SingleTogether { together: self.grouping.together(), shape: shape() });
        }
        if policies.non_finite == NonFinite::Error {
            // Only this policy needs the moments before the pass.
            self.check_finite(self.row_moments(plan, x, None))?;
        }
        Ok(Vec::new())
    }

    /// The moments of each row, by a sweep of its own with rows for channels.
    fn row_moments<T: Element>(&self, plan: &RowPlan, x: &View<T>, weights: Option<&PlacedWeights<T>>) -> Vec<Moments> {
        let layouts = [x.layout()].into_iter().chain(weights.map(|(layout, _)| layout));
        let joined = Layout::joined(layouts, &plan.arrangement);
        let parts = x.memory().rearranged(x.layout(), &plan.arrangement, joined);
        let weights = weights.map(|(layout, memory)| memory.rearranged(layout, &plan.arrangement, joined));
        let of_part = |(part, x)| {
            let weights = weights.as_ref().map(|weights| &weights[part]);
            T::operations().moments(&self.machine, x, weights)
        };
        parts.iter().enumerate().flat_map(of_part).collect()
    }

    /// Errors where the policies refuse rows of weighted values, because none of a row counts, or only one.
    fn check_weights(&self, moments: &[Moments]) -> Result<(), CallError> {
        let (policies, together) = (self.policies, self.grouping.together());
        match moments.iter().position(|moments| moments.count() == 0) {
            Some(row) if policies.empty_batch == EmptyBatch::Error => {
                return Err(CallError::AllMaskedTogether { together, row });
            }
            _ => {}
        }
        match moments.iter().position(Moments::is_single) {
            Some(row) if self.grouping.is_centred() && policies.single_value == SingleValue::Error => {
                let (count, weight) = (moments[row].count(), moments[row].weight());
                Err(CallError::SingleWeightedTogether { together, row, count, weight })
            }
            _ => Ok(()),
        }
    }

    /// The moments given, unless the policy refuses rows that are not finite.
    fn check_finite(&self, moments: Vec<Moments>) -> Result<Vec<Moments>, CallError> {
        let is_wrong = |row: &usize| !moments[*row].is_finite();
        let rows: Vec<usize> = (0..moments.len()).filter(is_wrong).collect();
        if self.policies.non_finite == NonFinite::Error && !rows.is_empty() {
            return Err(CallError::NonFiniteTogether { together: self.grouping.together(), rows });
        }
        Ok(moments)
    }

    /// True if dx of a row without spread is 0 by declaration.
    pub(crate) fn declares_zero(&self) -> bool {
        self.policies.constant_channel == ConstantChannel::ZeroGradient
    }

    /// True if a row has variance 0, or of the RMS norms mean square 0.
    fn has_no_spread(&self, moments: &Moments) -> bool {
        moments.is_constant() && (self.grouping.is_centred() || moments.mean() == 0.0)
    }

    /// High and low part of what is taken off x of a row, and the inverse of what that is divided by; NaN where the row is
    /// not finite, so that all of its output is.
    fn mean_and_inverse(&self, moments: &Moments) -> ([f64; 2], f64) {
        if self.grouping.is_centred() {
            let (mean, mean_low) = mean_or_nan(moments);
            return ([mean, mean_low], inverse_deviation(moments.population_variance(), self.epsilon));
        }
        // The RMS norms: the mean square is mean^2 + variance, and nothing is taken off x.
        let (mean, mean_low) = moments.mean_pair();
        let mean = mean + mean_low;
        let square = mean * mean + moments.population_variance();
        ([0.0; 2], if square.is_finite() { inverse_deviation(square, self.epsilon) } else { f64::NAN })
    }

    /// The numbers from which xhat of a row is computed.
    pub(crate) fn row_numbers(&self, moments: &Moments) -> RowNumbers {
        let ([mean, mean_low], inverse_deviation) = self.mean_and_inverse(moments);
        RowNumbers { mean, inverse_deviation, xhat_low: mean_low * inverse_deviation }
    }

    /// The forward pass by the kernels of rows; gives the moments of each row.
    fn rows_forward<T: Element>(
        &self,
        plan: &RowPlan,
        x: &View<T>,
        WideParameters { gamma, beta }: &WideParameters,
        y: &mut ViewMut<T>,
    ) -> Vec<Moments> {
        let (parts, outs) = in_parts([x], y, &plan.arrangement);
        let (gamma, beta) = (plan.elements(gamma), plan.elements(beta));
        let elements = Elements { vectors: [&gamma, &beta], period: plan.period };
        let mut moments = Vec::with_capacity(plan.rows);
        for ([x], mut y) in parts.iter().zip(outs) {
            let numbers = |_, moments: Moments| self.row_numbers(&moments);
            let scaling = Scaling { activation: self.activation, first: moments.len(), elements };
            moments.extend(T::operations().normalize_rows(&self.machine, scaling, x, &mut y, &numbers));
        }
        moments
    }

    /// The forward pass by the kernels of batch norm; gives the moments of each row.
    fn channels_forward<T: Element>(
        &self,
        plan: &RowPlan,
        x: &View<T>,
        WideParameters { gamma, beta }: &WideParameters,
        y: &mut ViewMut<T>,
    ) -> Vec<Moments> {
        let (parts, outs) = in_parts([x], y, &plan.with_channels_for_rows());
        let coefficients = |moments: &Moments, channel: usize| {
            let ([mean, mean_low], inverse_deviation) = self.mean_and_inverse(moments);
            let scale = gamma[channel] * inverse_deviation;
            NormalizeCoefficients { mean, scale, shift: corrected_shift(beta[channel], mean_low, scale) }
        };
        let pass = Forward { machine: &self.machine, activation: self.activation, beside: Beside::Nothing };
        if plan.count == plan.positions {
            // A row is one channel: each is measured and normalised at once.
            let mut moments = Vec::with_capacity(plan.rows);
            for ([x], mut y) in parts.iter().zip(outs) {
                let first = moments.len();
                let of_channel = |at, moments: Moments| coefficients(&moments, plan.row_and_channel(first + at).1);
                moments.extend(T::operations().train(pass, x, &mut y, &of_channel));
            }
            return moments;
        }
        // The moments of a row are those of its channels together, and known after a sweep over all of them.
        let of_channels: Vec<Moments> =
            parts.iter().flat_map(|[x]| T::operations().moments(&self.machine, x, None)).collect();
        let of_row = |row| joined_pairwise(&of_channels[plan.channels_of(row)], &Moments::merge);
        let moments: Vec<Moments> = (0..plan.rows).map(of_row).collect();
        let channels_a_part = of_channels.len() / parts.len();
        for (part, ([x], mut y)) in parts.iter().zip(outs).enumerate() {
            let of_channel = |at| {
                let (row, channel) = plan.row_and_channel(part * channels_a_part + at);
                coefficients(&moments[row], channel)
            };
            let all: Vec<NormalizeCoefficients> = (0..channels_a_part).map(of_channel).collect();
            let vector = |of: fn(&NormalizeCoefficients) -> f64| all.iter().map(of).collect::<Vec<f64>>();
            let (mean, scale, shift) = (vector(|of| of.mean), vector(|of| of.scale), vector(|of| of.shift));
            let of_channels = NormalizeVectors { mean: &mean, scale: &scale, shift: &shift };
            T::operations().normalize(pass, x, &mut y, of_channels);
        }
        moments
    }
}

impl SampleConfig {
    /// Checks the options and gives the formula without state. `affine` does not matter to it.
    ///
    /// # Errors
    /// eps not finite or negative, a slope that is none, no axes or no groups, [`SingleValue::UseRunning`], a tier this machine lacks.
    pub fn normalizer(&self) -> Result<SampleNormalizer, ConfigError> {
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(ConfigError::Epsilon { got: self.epsilon });
        }
        match self.grouping {
            Grouping::Layer { axes: 0 } | Grouping::Rms { axes: 0 } => Err(ConfigError::Zero { argument: "axes" }),
            Grouping::Group { groups: 0 } | Grouping::GroupRms { groups: 0 } => {
                Err(ConfigError::Zero { argument: "groups" })
            }
            _ => Ok(()),
        }?;
        check_slope(self.activation)?;
        let machine = machine(self.tier, &self.threads)?;
        if self.policies.single_value == SingleValue::UseRunning {
            return Err(ConfigError::NoRunningStatistics);
        }
        let SampleConfig { grouping, epsilon, activation, policies, .. } = *self;
        Ok(SampleNormalizer { grouping, epsilon, activation, policies, machine })
    }
}
