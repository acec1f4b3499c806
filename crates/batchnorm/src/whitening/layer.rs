//! Decorrelated batch norm: whitening by the inverse square root of the covariance, in groups of channels.

use crate::call_error::{CallError, NOTHING_TO_EVALUATE_BY};
use crate::check::{same_channels, same_shape};
use crate::gradients::Gradients;
use crate::options::averaging::Estimator;
use crate::options::error::ConfigError;
use crate::options::limits::finite_values;
use crate::options::policies::{ConstantChannel, EmptyBatch, MissingRunning, NonFinite, SingleValue};
use crate::parameters::AffineParameters;
use crate::tensor::Tensor;
use crate::whitening::comoments::{BatchComoments, Comoments};
use crate::whitening::config::WhiteningConfig;
use crate::whitening::eigen::InverseRoot;
use crate::whitening::groups::{groups, of_each_group};
use crate::whitening::running::RunningCovariance;
use crate::whitening::saved::SavedWhitening;
use batchnorm_kernel::passes::{Call, Centered, Machine, Room};
use batchnorm_kernel::{Element, Moments, Parameter, View, ViewMut};

/// A layer of decorrelated batch norm (Huang et al. 2018): the channels of each group come out not only with mean 0 and
/// variance 1, but without correlation. For a group of d channels, x being one of its n vectors,
///
/// ```text
/// mean = 1/n sum x        C = 1/n sum (x - mean)(x - mean)^T        W = (C + eps I)^(-1/2)
/// xhat = W (x - mean)     y = gamma * xhat + beta
/// ```
///
/// with the symmetric square root (ZCA), which stays as near to the input as whitening can. In evaluation mean and C
/// are running estimates. With groups of one channel it is batch norm.
///
/// The covariance of xhat is I - eps (C + eps I)^-1: the identity where the variances are large against eps.
///
/// Training, evaluation and the backward pass are calls of their own, as those of [`BatchNorm`](crate::BatchNorm). The
/// bits do not depend on threads, instruction set or memory layout.
///
/// **Accuracy.** With u = 2^-53 and kappa the condition number of C + eps I scaled to a diagonal of ones, y errs by at
/// most 9 u kappa (|gamma| max|xhat| + |beta|) before it is rounded, and the gradients likewise; the sizes and means of
/// the channels play no part, as long as their squares are `f64` numbers with all digits (deviations of 1e-150 to
/// 1e150). (A test on groups of 1 to 16 channels with kappa up to 3e11.) So do the derivatives along a direction x',
/// with Z = max_i sum_j |W_ij| max|x'_j|: y' of [`SavedWhitening::jvp`] by at most
/// 9 u kappa (|gamma| Z + |gamma'| max|xhat| + |beta'|), dx' of [`SavedWhitening::hvp`] by
/// 9 u kappa sum_j |W_ij| (max|gamma dy| Z + max|gamma' dy|) (measured: 2.4 u kappa and 1.3 u kappa), as long as the
/// cubes of the deviations, eps included, are such numbers (1e-100 to 1e100).
///
/// **Cost.** d multiplications and additions for each value in a sweep of sums, and d in one that writes y; backward d
/// and 2 d; `jvp` d and 2 d; `hvp` 3 d, in three sweeps, and 3 d; some 30 d^3 for the eigenvalues of each group.
/// Matrices of d x d numbers for each group and a fixed scratch for each thread, no copy of the input.
///
/// ```
/// use batchnorm::{Axes, Decorrelated, View};
/// let mut layer = Decorrelated::new(2, 2)?;
/// // Two channels that rise together.
/// let x = [1.0, 1.1, 2.0, 1.9, 3.0, 3.2, 4.0, 3.8];
/// let x = View::new(&x, &[4, 2], Axes::NCHW)?;
///
/// let trained = layer.train(&x)?;
/// let y = trained.y.data();
/// let correlation: f64 = y.chunks(2).map(|pair| pair[0] * pair[1]).sum();
/// assert!(correlation.abs() < 1e-2);
///
/// let gradients = layer.backward(&x, &x, &trained.saved)?;
/// let y = layer.eval(&x)?.y; // by the running mean and covariance
/// # assert_eq!((gradients.dx.shape(), y.shape()), (&[4, 2][..], &[4, 2][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Decorrelated {
    config: WhiteningConfig,
    machine: Machine,
    parameters: AffineParameters,
    running: Option<RunningCovariance>,
}

/// The results of a forward pass.
#[derive(Debug, Clone)]
pub struct Whitened<T> {
    /// The output, of the input's shape.
    pub y: Tensor<T>,
    /// The values saved for the backward pass.
    pub saved: SavedWhitening,
    /// The comoments for the running statistics to take in: the batch's; those of no values after an evaluation.
    pub batch: BatchComoments,
}

impl Decorrelated {
    /// A layer of so many channels in groups of `group` neighbours, the last one with what is left, by the options of
    /// [`WhiteningConfig::new`].
    ///
    /// # Errors
    /// Zero channels, groups of none.
    pub fn new(channels: usize, group: usize) -> Result<Decorrelated, ConfigError> {
        WhiteningConfig::new(channels, group).build()
    }

    /// The options the layer was built with.
    pub fn config(&self) -> &WhiteningConfig {
        &self.config
    }

    /// Scale of each channel; `None` if the layer has none.
    pub fn gamma(&self) -> Option<&[f64]> {
        self.parameters.as_parameters().gamma
    }

    /// Shift of each channel; `None` if the layer has none.
    pub fn beta(&self) -> Option<&[f64]> {
        self.parameters.as_parameters().beta
    }

    /// Running statistics; `None` if the layer keeps none.
    pub fn running(&self) -> Option<&RunningCovariance> {
        self.running.as_ref()
    }

    /// Sets gamma.
    ///
    /// # Errors
    /// A layer without gamma, another length than the channels, NaN or infinity.
    pub fn set_gamma<P: Parameter>(&mut self, gamma: &[P]) -> Result<(), ConfigError> {
        let channels = self.config.channels;
        self.parameters.set_gamma(|argument| finite_values(argument, gamma, channels))
    }

    /// Sets beta.
    ///
    /// # Errors
    /// A layer without beta, another length than the channels, NaN or infinity.
    pub fn set_beta<P: Parameter>(&mut self, beta: &[P]) -> Result<(), ConfigError> {
        let channels = self.config.channels;
        self.parameters.set_beta(|argument| finite_values(argument, beta, channels))
    }

    /// Installs running statistics.
    ///
    /// # Errors
    /// A layer that keeps none, another number of channels, other groups.
    pub fn set_running(&mut self, running: RunningCovariance) -> Result<(), ConfigError> {
        let (expected, got) = (self.config.channels, running.channels());
        if !self.config.track_running_statistics {
            return Err(ConfigError::Untracked { got });
        }
        if expected != got {
            return Err(ConfigError::Length { argument: "running_mean", expected, got });
        }
        if self.config.group != running.group() {
            let (expected, got) = (self.config.group, running.group());
            return Err(ConfigError::OtherGroup { argument: "running_covariance", expected, got });
        }
        self.running = Some(running);
        Ok(())
    }

    /// One training step's forward pass: whitens by the batch and takes its comoments into the running statistics.
    /// [`forward_train`](Self::forward_train) and [`commit`](Self::commit) in one.
    ///
    /// # Errors
    /// As `forward_train`; the layer is unchanged then.
    pub fn train<T: Element>(&mut self, x: &View<T>) -> Result<Whitened<T>, CallError> {
        let _call = Call::begin();
        let whitened = self.forward_train(x)?;
        self.commit(&whitened.batch)?;
        Ok(whitened)
    }

    /// The training forward pass alone; drop the returned comoments to discard them, or [`commit`](Self::commit) them.
    ///
    /// # Errors
    /// Another number of channels, what the [policies](crate::Policies) refuse, and with eps = 0 a covariance without
    /// an inverse: no more values than channels in a group, a channel whose values are all alike, or channels that
    /// determine each other.
    pub fn forward_train<T: Element>(&self, x: &View<T>) -> Result<Whitened<T>, CallError> {
        let (y, (saved, batch)) = Tensor::filled(x.layout(), |y| self.forward_train_into(x, y))?;
        Ok(Whitened { y, saved, batch })
    }

    /// [`forward_train`](Self::forward_train) into the caller's buffer.
    ///
    /// # Errors
    /// As `forward_train`, and another shape; `y` is untouched then.
    pub fn forward_train_into<T: Element>(
        &self,
        x: &View<T>,
        y: &mut ViewMut<T>,
    ) -> Result<(SavedWhitening, BatchComoments), CallError> {
        let _call = Call::begin();
        self.check(x, y)?;
        let policies = &self.config.policies;
        let (count, shape) = (x.count(), x.shape().to_vec());
        let use_running = count == 1 && policies.single_value == SingleValue::UseRunning;
        match count {
            0 if policies.empty_batch == EmptyBatch::Error => return Err(CallError::EmptyBatch { shape }),
            1 if policies.single_value == SingleValue::Error => {
                return Err(CallError::SingleValue { shape, axes: x.channel_axes().to_vec() });
            }
            1 if use_running && self.running.is_none() => {
                let reason = "one value a channel under SingleValue::UseRunning; keep running statistics, or choose \
                              another `SingleValue` policy";
                return Err(CallError::NoRunningStatistics { reason });
            }
            _ => {}
        }
        let (moments, batch) = self.comoments(x);
        if policies.non_finite == NonFinite::Error && !batch.non_finite().is_empty() {
            let bad_groups = batch.non_finite();
            let ranges = groups(self.config.channels, self.config.group).enumerate();
            let channels = ranges.filter(|(group, _)| bad_groups.contains(group)).flat_map(|(_, range)| range);
            return Err(CallError::NonFinite { channels: channels.collect() });
        }
        if use_running {
            return Ok((self.eval_into(x, y)?, batch));
        }
        let declared = policies.constant_channel == ConstantChannel::ZeroGradient;
        let without_gradient = moments.iter().map(|moments| declared && moments.is_constant()).collect();
        let covariance = |group: &Comoments| group.is_finite().then(|| group.covariance(Estimator::Population));
        let covariances: Vec<_> = batch.groups().iter().map(covariance).collect();
        // The covariance of an empty batch is 0: any eps > 0 gives it an inverse root, which meets no value.
        let epsilon = if count == 0 { 1.0 } else { self.config.epsilon };
        let roots = self.roots("x", count as u64, epsilon, &covariances)?;
        let means_or_nan = |group: &Comoments| -> Vec<[f64; 2]> {
            if group.is_finite() { group.means().collect() } else { vec![[f64::NAN, 0.0]; group.channels()] }
        };
        let centers = batch.groups().iter().flat_map(means_or_nan).collect();
        let saved = self.saved(count, true, centers, roots, without_gradient);
        saved.apply(x, &self.shift(), y);
        Ok((saved, batch))
    }

    /// Moments of each channel and comoments of each group.
    fn comoments<T: Element>(&self, x: &View<T>) -> (Vec<Moments>, BatchComoments) {
        let mut moments = T::operations().moments(&self.machine, x.memory(), None);
        moments.resize(x.channels(), Moments::EMPTY);
        let centers: Vec<[f64; 2]> = moments.iter().map(|moments| moments.mean_pair().into()).collect();
        let group = self.config.group;
        let centered = Centered { array: x.memory(), centers: &centers };
        let sums = T::operations().products(&self.machine, centered, None, group);
        let ranges = groups(x.channels(), group);
        // The loops give no sums for an empty batch.
        let batch: Vec<Comoments> = if sums.is_empty() {
            ranges.map(|range| Comoments::empty(range.len())).collect()
        } else {
            let comoments = |(range, sums): (std::ops::Range<usize>, Vec<f64>)| {
                Comoments::from_triangle(x.count() as u64, &centers[range], &sums)
            };
            ranges.zip(sums).map(comoments).collect()
        };
        (moments, batch.into())
    }

    /// The inverse roots of the covariances of all groups, of `count` values each; NaN for a group that has none,
    /// because it is not finite.
    fn roots(
        &self,
        argument: &'static str,
        count: u64,
        epsilon: f64,
        covariances: &[Option<Vec<f64>>],
    ) -> Result<Vec<InverseRoot>, CallError> {
        let sizes: Vec<usize> = groups(self.config.channels, self.config.group).map(|range| range.len()).collect();
        let root = |group: usize| {
            let channels = sizes[group];
            let Some(covariance) = &covariances[group] else { return Ok(InverseRoot::not_a_number(channels)) };
            // n values about their mean span n - 1 dimensions.
            let degenerate = (1..=channels as u64).contains(&count);
            InverseRoot::of_covariance(covariance, channels, epsilon, degenerate)
                .map_err(|eigenvalue| CallError::Singular { argument, group, channels, count, eigenvalue })
        };
        of_each_group(&self.machine, &sizes, root).into_iter().collect()
    }

    /// Saved values of a pass, with the layer's gamma.
    fn saved(
        &self,
        count: usize,
        by_batch: bool,
        centers: Vec<[f64; 2]>,
        roots: Vec<InverseRoot>,
        without_gradient: Vec<bool>,
    ) -> SavedWhitening {
        let gamma = self.parameters.widened(self.config.channels).gamma;
        let (machine, group, count) = (self.machine.clone(), self.config.group, count as u64);
        SavedWhitening { machine, group, count, by_batch, centers, roots, gamma, without_gradient }
    }

    /// beta of each channel, 0 where the layer has none.
    fn shift(&self) -> Room {
        self.parameters.widened(self.config.channels).beta
    }

    /// Errors unless x has the layer's channels, and y the shape of x.
    fn check<T: Element>(&self, x: &View<T>, y: &ViewMut<T>) -> Result<(), CallError> {
        same_channels("x", self.config.channels, x)?;
        same_shape("y", x.layout(), y.layout())
    }

    /// Takes the comoments of a batch into the running statistics ([`RunningCovariance::update`]). Gives the groups
    /// that were skipped because they are not finite.
    ///
    /// # Errors
    /// Other groups; the layer is unchanged then.
    pub fn commit(&mut self, batch: &BatchComoments) -> Result<Vec<usize>, CallError> {
        self.running.as_mut().map_or(Ok(Vec::new()), |running| running.update(batch, &self.config))
    }

    /// The evaluation forward pass: whitens by the running mean and covariance, which are constants to the backward
    /// pass.
    ///
    /// # Errors
    /// Another number of channels; no running statistics, unless the policy says otherwise; with eps = 0, a running
    /// covariance without an inverse.
    pub fn eval<T: Element>(&self, x: &View<T>) -> Result<Whitened<T>, CallError> {
        let (y, saved) = Tensor::filled(x.layout(), |y| self.eval_into(x, y))?;
        let empty = groups(self.config.channels, self.config.group).map(|range| Comoments::empty(range.len()));
        Ok(Whitened { y, saved, batch: empty.collect::<Vec<_>>().into() })
    }

    /// [`eval`](Self::eval) into the caller's buffer.
    ///
    /// # Errors
    /// As `eval`, and another shape; `y` is untouched then.
    pub fn eval_into<T: Element>(&self, x: &View<T>, y: &mut ViewMut<T>) -> Result<SavedWhitening, CallError> {
        let _call = Call::begin();
        self.check(x, y)?;
        let Some(running) = &self.running else {
            if self.config.policies.missing_running == MissingRunning::BatchStatistics {
                return self.forward_train_into(x, y).map(|(saved, _)| saved);
            }
            return Err(CallError::NoRunningStatistics { reason: NOTHING_TO_EVALUATE_BY });
        };
        let if_finite =
            |covariance: &Vec<f64>| covariance.iter().all(|value| value.is_finite()).then(|| covariance.clone());
        let covariances: Vec<_> = running.covariances().iter().map(if_finite).collect();
        let roots = self.roots("running_covariance", 0, self.config.epsilon, &covariances)?;
        let centers = running.mean().iter().map(|&mean| [mean, 0.0]).collect();
        let saved = self.saved(x.count(), false, centers, roots, vec![false; self.config.channels]);
        saved.apply(x, &self.shift(), y);
        Ok(saved)
    }

    /// The backward pass of the forward pass that left `saved`; `x` is that pass's input again. The formulas are at
    /// [`SavedWhitening::backward`], which writes into a buffer.
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass.
    pub fn backward<T: Element>(
        &self,
        x: &View<T>,
        dy: &View<T>,
        saved: &SavedWhitening,
    ) -> Result<Gradients<T>, CallError> {
        let (dx, parameters) = Tensor::filled(x.layout(), |dx| saved.backward(x, dy, dx))?;
        Ok(Gradients::rounded(self.config.affine, dx, None, parameters))
    }
}

impl WhiteningConfig {
    /// Checks the options and builds the layer: gamma 1, beta 0, running mean 0, running covariance I. A group larger
    /// than the channels is one of all of them.
    ///
    /// # Errors
    /// No channel or too many, groups of none; eps not finite or negative; a tier this machine lacks.
    pub fn build(self) -> Result<Decorrelated, ConfigError> {
        let (config, machine) = self.checked()?;
        let start = || RunningCovariance::start(config.channels, config.group);
        let running = config.track_running_statistics.then(start).transpose()?;
        let parameters = AffineParameters::started(config.affine, config.channels);
        Ok(Decorrelated { config, machine, parameters, running })
    }
}
