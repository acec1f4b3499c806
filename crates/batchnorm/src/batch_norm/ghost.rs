//! Ghost batches: a large batch whose samples are normalised in small groups.

use crate::batch_norm::buffers::GradientBuffers;
use crate::batch_norm::input::{Input, InputKind};
use crate::batch_norm::layer::BatchNorm;
use crate::batch_norm::normalizer::Normalizer;
use crate::batch_norm::saved::Saved;
use crate::call_error::CallError;
use crate::check::same_shape;
use crate::gradients::{Gradients, ParameterGradients};
use crate::options::switches::Switches;
use crate::parameters::Parameters;
use crate::statistics::batch::BatchMoments;
use crate::statistics::running::RunningStatistics;
use crate::tensor::Tensor;
use batchnorm_kernel::passes::Call;
use batchnorm_kernel::{Element, Parameter, View, ViewMut};
use std::num::NonZeroUsize;
use std::ops::Range;

/// The saved values of a training pass by ghost batches: those of each group's pass, for the backward pass.
///
/// A ghost batch (Hoffer, Hubara and Soudry 2017) is a group of so many samples, in their order; the last one has what
/// is left. Each is normalised by its own mean and variance, so that a large batch regularises as small ones do.
/// Gradients: dx of each group as of a batch of its own, dgamma and dbeta summed over all. The running statistics are
/// updated once, by the moments of all groups together, which are those of the whole batch. (Evaluation knows no
/// groups.)
///
/// ```
/// use batchnorm::{Axes, BatchNorm, View};
/// use std::num::NonZeroUsize;
/// let mut layer = BatchNorm::new(1)?;
/// let x = [0.0f64, 2.0, 10.0, 14.0, 5.0, 6.0];
/// let x = View::new(&x, &[6, 1], Axes::NCHW)?;
/// let two = NonZeroUsize::new(2).expect("not 0");
///
/// let trained = layer.train_ghost(&x, two)?;
/// assert!((trained.y.data()[2] + 1.0).abs() < 1e-5); // 10 is one deviation below the mean of 10 and 14
/// assert_eq!(trained.saved.groups().len(), 3);
/// assert!((trained.batch.channels()[0].mean() - 37.0 / 6.0).abs() < 1e-15);
///
/// let dy = View::new(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], &[6, 1], Axes::NCHW)?;
/// let gradients = layer.backward_ghost(&x, &dy, &trained.saved)?;
/// assert_eq!(gradients.dx.data()[2..], [0.0; 4]); // other groups have no part in it
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ghost {
    groups: Vec<Saved>,
    kind: InputKind,
    size: NonZeroUsize,
    samples: usize,
}

/// The results of [`BatchNorm::train_ghost`].
#[derive(Debug, Clone)]
pub struct GhostTrained<T> {
    /// The output, of the input's shape.
    pub y: Tensor<T>,
    /// The values saved for the backward pass.
    pub saved: Ghost,
    /// The moments of all groups together.
    pub batch: BatchMoments,
}

/// The range of samples of each group; the last one has what is left.
fn sample_ranges(samples: usize, size: NonZeroUsize) -> impl Iterator<Item = Range<usize>> {
    (0..samples).step_by(size.get()).map(move |start| start..samples.min(start.saturating_add(size.get())))
}

impl Normalizer {
    /// The training forward pass by ghost batches of `size` samples, into `y`: [`train`](Self::train) of each group,
    /// and the moments of all of them together. `running` is needed for
    /// [`SingleValue::UseRunning`](crate::SingleValue::UseRunning) and for [batch renormalisation](crate::Renormalization) alone.
    ///
    /// # Errors
    /// As `train`, of any group: a last group of one value a channel, too, unless the policy says what to do with it
    /// ([`Config::preflight_ghost`](crate::Config::preflight_ghost) tells before the training). `y` is untouched then.
    pub fn train_ghost<'i, 'v: 'i, T: Element, P: Parameter>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        size: NonZeroUsize,
        parameters: Parameters<P>,
        running: Option<&RunningStatistics>,
        y: &mut ViewMut<T>,
    ) -> Result<(Ghost, BatchMoments), CallError> {
        let _call = Call::begin();
        let input = input.into();
        let x = input.x();
        input.check_forward(y.layout())?;
        let widened = parameters.widened(x.channels())?;
        let (samples, kind) = (x.samples(), input.kind());
        // First what the policies may refuse in any group, then the writing.
        let mut admitted = Vec::new();
        for range in sample_ranges(samples, size) {
            let group = input.of_samples(range.clone());
            let count = group.as_input().x().count();
            let (batch, by_running) = self.admit_measured(group.as_input(), running)?;
            let saved = match by_running {
                Some(running) => self.saved_of_running(x.channels(), count, kind, parameters, running)?,
                None => self.saved_in_training(&batch, count, kind, &widened, running)?,
            };
            admitted.push((range, batch, saved));
        }
        let mut whole: Option<BatchMoments> = None;
        let mut of_groups = Vec::with_capacity(admitted.len());
        for (range, batch, saved) in admitted {
            let group = input.of_samples(range.clone());
            let mut y = y.of_samples(range);
            let beside = group.as_input().check_forward(y.layout())?;
            self.normalize(group.as_input().x(), &beside, &saved, &mut y);
            whole = Some(whole.map_or_else(|| Ok(batch.clone()), |whole| whole.merge(&batch))?);
            of_groups.push(saved);
        }
        // Without samples there is no group, but the policies may refuse an empty batch.
        let whole = whole.map_or_else(|| self.admit_measured(input, running).map(|(batch, _)| batch), Ok)?;
        Ok((Ghost { groups: of_groups, kind, size, samples }, whole))
    }
}

impl Ghost {
    /// The saved values of each group's pass.
    pub fn groups(&self) -> &[Saved] {
        &self.groups
    }

    /// The same pass with mean and variance as constants, in every group: [`Saved::with_constant_statistics`].
    #[must_use]
    pub fn with_constant_statistics(self) -> Ghost {
        Ghost { groups: self.groups.into_iter().map(Saved::with_constant_statistics).collect(), ..self }
    }

    /// dgamma and dbeta alone, as [`Saved::parameter_gradients`].
    ///
    /// # Errors
    /// As [`backward`](Self::backward).
    pub fn parameter_gradients<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
    ) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        let input = input.into();
        self.check(input, dy)?;
        let mut sums = ParameterGradients::zeros(input.x().channels());
        for (range, saved) in self.ranges() {
            let group = input.of_samples(range.clone());
            sums.add(&saved.parameter_gradients(group.as_input(), &dy.of_samples(range))?)?;
        }
        Ok(sums)
    }

    /// The samples of each group, and the saved values of its pass.
    fn ranges(&self) -> impl Iterator<Item = (Range<usize>, &Saved)> {
        sample_ranges(self.samples, self.size).zip(&self.groups)
    }

    /// Errors unless an input is of the forward pass's kind, and the arrays have its samples, channels and values.
    fn check<T: Element>(&self, input: Input<T>, dy: &View<T>) -> Result<(), CallError> {
        let x = input.x();
        input.check_backward(self.kind)?;
        same_shape("dy", x.layout(), dy.layout())?;
        if x.samples() != self.samples {
            let (expected, got) = (self.samples as u64, x.samples() as u64);
            return Err(CallError::OtherBatch { argument: "x", expected, got });
        }
        self.ranges().try_for_each(|(range, saved)| saved.check_size("x", &x.of_samples(range)))
    }

    /// The backward pass, dx into a buffer, of a pass with a residual its gradient too; the formulas are at
    /// [`Saved::backward`], group by group. The input is the forward pass's, with its output in the place of a residual.
    ///
    /// # Errors
    /// Shapes that do not fit each other or the forward pass; another kind of input or of buffers than the forward pass's. The
    /// buffers are untouched then.
    pub fn backward<'i, 'v: 'i, 'o, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        buffers: impl Into<GradientBuffers<'o, T>>,
    ) -> Result<ParameterGradients, CallError> {
        let _call = Call::begin();
        let (input, mut buffers) = (input.into(), buffers.into());
        self.check(input, dy)?;
        buffers.check(input.x().layout(), self.kind)?;
        let mut sums = ParameterGradients::zeros(input.x().channels());
        for (range, saved) in self.ranges() {
            let group = input.of_samples(range.clone());
            let of_group = buffers.of_samples(range.clone());
            sums.add(&saved.backward(group.as_input(), &dy.of_samples(range), of_group)?)?;
        }
        Ok(sums)
    }
}

impl BatchNorm {
    /// One training step's forward pass by ghost batches of `size` samples: see [`Ghost`].
    ///
    /// # Errors
    /// As [`Normalizer::train_ghost`]; a layer pinned to anything but training. The layer is unchanged then.
    pub fn train_ghost<'i, 'v: 'i, T: Element>(
        &mut self,
        input: impl Into<Input<'i, 'v, T>>,
        size: NonZeroUsize,
    ) -> Result<GhostTrained<T>, CallError> {
        let _call = Call::begin();
        let input = input.into();
        let x = input.x();
        self.check_channels(x)?;
        self.check_pinned("train_ghost", |switches| switches == Switches::train())?;
        let (y, (saved, batch)) = Tensor::filled(x.layout(), |y| {
            let running = self.running_for(x, Switches::train());
            self.normalizer().train_ghost(input, size, self.parameters(), running.as_deref(), y)
        })?;
        self.commit(&batch)?;
        Ok(GhostTrained { y, saved, batch })
    }

    /// The backward pass of [`train_ghost`](Self::train_ghost); the input is that pass's again, with its output in the place of a
    /// residual ([`Input::with_output`]).
    ///
    /// # Errors
    /// As [`Ghost::backward`].
    pub fn backward_ghost<'i, 'v: 'i, T: Element>(
        &self,
        input: impl Into<Input<'i, 'v, T>>,
        dy: &View<T>,
        saved: &Ghost,
    ) -> Result<Gradients<T>, CallError> {
        let input = input.into();
        self.check_channels(input.x())?;
        self.backward_into_new(input, saved.kind, true, |buffers| saved.backward(input, dy, buffers))
    }
}
