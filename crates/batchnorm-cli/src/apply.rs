//! `batchnorm apply`: the layer on arrays in files.

mod large_means;
mod options;
mod warnings;

use crate::arrays::{Any, Files, Typed};
use crate::failure::{Failure, tell};
use crate::terminal::use_threads;
use crate::text;
use batchnorm::{
    Averaging, Axes, BatchMoments, BatchNorm, CallError, Config, Element, Ghost, ParameterGradients, Policies,
    RenormalizationLimits, RunningStatistics, Saved, SingleValue, View, ViewError, ViewMut, Weights,
};
use batchnorm_io::atomic::FileSet;
use batchnorm_io::npy::{self, Number};
pub use options::{Arguments, TierName};
use options::{Batches, Mode};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use warnings::{Run, Warning, first_few};

/// Every file this command may write. Those that a run does not write are removed, so that none is left of an earlier run.
const FILES: [&str; 9] = [
    "y.npy",
    "dx.npy",
    "mean.npy",
    "variance.npy",
    "dgamma.npy",
    "dbeta.npy",
    "running_mean.npy",
    "running_var.npy",
    "updates.npy",
];

/// Reads, computes, and writes all files or none.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    arguments.check().map_err(Failure::usage)?;
    let config = arguments.config().map_err(Failure::usage)?;
    // eps and tier, before any file is read; their messages begin with the flag's name.
    config.normalizer().map_err(|error| Failure::usage(format!("--{error}")))?;
    let files = Files::new(arguments.header, arguments.inputs());
    let job = Job { arguments, config, files };
    job.keep_inputs()?;
    match job.files.any(&job.arguments.input, usize::MAX)? {
        Any::F16(array) => job.run(array),
        Any::F32(array) => job.run(array),
        Any::F64(array) => job.run(array),
    }
}

struct Job {
    arguments: Arguments,
    config: Config,
    files: Files,
}

/// What a forward pass leaves for the backward pass.
enum SavedPass {
    Batch(Saved),
    Groups(Ghost),
}

/// The arrays that a run computes, and the channels that hold NaN or infinity.
struct Results<T> {
    y: Vec<T>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    non_finite: Vec<usize>,
    gradients: Option<(Vec<T>, ParameterGradients)>,
    running: Option<RunningStatistics>,
}

impl Job {
    /// Errors if a file to be read lies where a result would be written or an earlier one removed.
    fn keep_inputs(&self) -> Result<(), Failure> {
        let output_dir = &self.arguments.output_dir;
        let Ok(folder) = output_dir.canonicalize() else { return Ok(()) }; // no folder yet, nothing in it
        for path in self.arguments.inputs() {
            let Ok(place) = path.canonicalize() else { continue }; // reading it will say what is wrong
            if place.parent() == Some(&folder) && FILES.iter().any(|name| place.ends_with(name)) {
                return Err(Failure::usage(format!(
                    "--output-dir {}: expected a folder whose files are not read, but {} would be replaced or removed; \
                     choose another folder",
                    output_dir.display(),
                    path.display()
                )));
            }
        }
        Ok(())
    }

    fn run<T: Element + Number>(&self, x: Typed<T>) -> Result<(), Failure> {
        let Arguments { input, gradient, weights, channel_axis, threads, .. } = &self.arguments;
        let axes = Axes::Channels(channel_axis);
        let view = x.view(axes).map_err(|error| match error {
            ViewError::ChannelAxis { rank, axis } => Failure::input(format!(
                "{}: --channel-axis: expected -{rank}..={} (shape {:?}), got {axis}",
                input.display(),
                rank - 1,
                x.shape
            )),
            ViewError::RepeatedChannelAxis { axis, given } => Failure::input(format!(
                "{}: --channel-axis: expected each axis once, got {given:?}, in which axis {axis} stands twice",
                input.display()
            )),
            ViewError::NothingTogether { .. } => Failure::input(format!(
                "{}: --channel-axis: expected an axis beside them to take statistics over (shape {:?}), got all axes",
                input.display(),
                x.shape
            )),
            other => Failure::input(format!("{}: {other}", input.display())),
        })?;
        let lengths: Vec<usize> = view.channel_axes().iter().map(|&axis| x.shape[axis]).collect();
        let mut layer = self.layer(&lengths)?;
        let dy = match gradient {
            None => None,
            Some(path) => Some((path, self.files.like::<T>(path)?)),
        };
        let dy_view = match &dy {
            None => None,
            Some((path, array)) if array.shape != x.shape => {
                return Err(Failure::input(format!(
                    "{}: expected the input's shape {:?}, got {:?}",
                    path.display(),
                    x.shape,
                    array.shape
                )));
            }
            Some((_, array)) => Some(array.view(axes).map_err(Failure::input)?),
        };
        let weights = match weights {
            None => None,
            Some(path) => Some((path, self.files.weights::<T>(path, &x.shape, view.channel_axes())?)),
        };
        let weights = match &weights {
            Some((path, (shape, values))) => {
                let named = |error| Failure::input(format!("{}: {error}", path.display()));
                Some(Weights::new(values, shape).map_err(named)?)
            }
            None => None,
        };
        let mut files = FileSet::open(&self.arguments.output_dir).map_err(Failure::output)?;
        if let Some(threads) = threads {
            use_threads(*threads)?;
        }
        // A batch of one value a channel may be normalised by what was kept.
        let by_kept = self.arguments.mode == Mode::Train
            && view.count() == 1
            && self.config.policies.single_value == SingleValue::UseRunning;
        let kept = layer.running().filter(|_| by_kept).map(|running| running.variance().to_vec());
        let mut results = self
            .compute(&mut layer, &view, weights.as_ref(), dy_view.as_ref())
            .map_err(|error| self.refusal(&error, view.samples()))?;
        let in_c_order = x.in_c_order();
        large_means::put_in(&mut results.mean, &view, &in_c_order, weights.as_ref());
        let written = self.stage(&mut files, &x.shape, &results).map_err(Failure::output)?;
        files.commit().map_err(Failure::output)?;
        let dy = dy.as_ref().map(|(_, array)| array.in_c_order());
        let run = Run {
            arguments: &self.arguments,
            epsilon: self.config.epsilon,
            view: &view,
            x: &in_c_order,
            weights: weights.as_ref(),
            dy: dy.as_deref(),
            y: &results.y,
            dx: results.gradients.as_ref().map(|(dx, _)| &dx[..]),
            parameters: results.gradients.as_ref().map(|(_, parameters)| parameters),
            variance: kept.as_ref().unwrap_or(&results.variance),
            by_running: self.arguments.mode == Mode::Eval || kept.is_some(),
            non_finite: &results.non_finite,
        };
        let warnings = run.warnings();
        self.report(&view, &results, &written, &warnings);
        Ok(())
    }

    /// The layer with the parameters and statistics of the files, for channel axes of these lengths.
    fn layer(&self, channels: &[usize]) -> Result<BatchNorm, Failure> {
        let count = channels.iter().product();
        let mut layer = self.config.clone().channels(count).build().map_err(Failure::usage)?;
        let Arguments { gamma, beta, running_mean, running_var, .. } = &self.arguments;
        let named = |path: &Path, error: batchnorm::ConfigError| Failure::input(format!("{}: {error}", path.display()));
        if let Some(path) = gamma {
            layer.set_gamma(&self.files.vector(path, channels)?).map_err(|error| named(path, error))?;
        }
        if let Some(path) = beta {
            layer.set_beta(&self.files.vector(path, channels)?).map_err(|error| named(path, error))?;
        }
        let start = RunningStatistics::start(count).map_err(Failure::input)?;
        let (mut mean, mut variance) = (start.mean().to_vec(), start.variance().to_vec());
        // Checked one at a time, so that an error names the right file.
        if let Some(path) = running_mean {
            mean = self.files.vector(path, channels)?;
            RunningStatistics::from_parts(&mean, start.variance(), 0).map_err(|error| named(path, error))?;
        }
        if let Some(path) = running_var {
            variance = self.files.vector(path, channels)?;
            RunningStatistics::from_parts(start.mean(), &variance, 0).map_err(|error| named(path, error))?;
        }
        let updates = self.updates(channels)?;
        let batches = updates.iter().copied().max().unwrap_or(0);
        let running = RunningStatistics::from_parts(&mean, &variance, batches)
            .and_then(|running| running.with_updates(&updates))
            .map_err(Failure::input)?;
        layer.set_running(running).map_err(Failure::input)?;
        Ok(layer)
    }

    /// The batches behind the running statistics of each channel: `--batches`.
    fn updates(&self, channels: &[usize]) -> Result<Vec<u64>, Failure> {
        match &self.arguments.batches {
            None => Ok(vec![0; channels.iter().product()]),
            Some(Batches::OfAll(batches)) => Ok(vec![*batches; channels.iter().product()]),
            Some(Batches::OfEach(path)) => {
                let counts = self.files.vector(path, channels)?;
                let is_count = |count: &f64| *count >= 0.0 && count.fract() == 0.0 && *count <= u64::MAX as f64;
                match counts.iter().position(|count| !is_count(count)) {
                    None => Ok(counts.iter().map(|&count| count as u64).collect()),
                    Some(channel) => Err(Failure::input(format!(
                        "--batches: {}: expected whole numbers >= 0, the batches of each channel, got {} in channel {channel}",
                        path.display(),
                        counts[channel]
                    ))),
                }
            }
        }
    }

    fn compute<T: Element>(
        &self,
        layer: &mut BatchNorm,
        x: &View<T>,
        weights: Option<&Weights<T>>,
        dy: Option<&View<T>>,
    ) -> Result<Results<T>, CallError> {
        let input = weights.map_or(x.into(), |weights| batchnorm::Input::weighted(x, weights));
        let (y, saved, batch) = match (self.arguments.mode, self.arguments.ghost) {
            (Mode::Train, None) => {
                let trained = layer.train(input)?;
                (trained.y, SavedPass::Batch(trained.saved), Some(trained.batch))
            }
            (Mode::Train, Some(size)) => {
                let trained = layer.train_ghost(input, size)?;
                (trained.y, SavedPass::Groups(trained.saved), Some(trained.batch))
            }
            (Mode::Eval, _) => {
                let evaluated = layer.eval(input)?;
                (evaluated.y, SavedPass::Batch(evaluated.saved), None)
            }
        };
        let running = layer.running().expect("it was given statistics, or started some");
        let (mean, variance) = match &batch {
            Some(batch) => {
                let channels = batch.channels().iter();
                channels.map(|moments| (moments.mean(), moments.population_variance())).unzip()
            }
            None => (running.mean().to_vec(), running.variance().to_vec()),
        };
        let gradients = match dy {
            None => None,
            Some(dy) => {
                let mut dx = vec![T::default(); y.data().len()];
                let mut out = ViewMut::new(&mut dx, x.shape(), Axes::Channels(&self.arguments.channel_axis))
                    .expect("a dense buffer of the input's shape");
                let parameters = match &saved {
                    SavedPass::Batch(saved) => saved.backward(input, dy, &mut out)?,
                    SavedPass::Groups(ghost) => ghost.backward(input, dy, &mut out)?,
                };
                Some((dx, parameters))
            }
        };
        let non_finite = batch.as_ref().map_or(Vec::new(), BatchMoments::non_finite);
        let running = batch.is_some().then(|| running.clone());
        Ok(Results { y: y.into_data(), mean, variance, non_finite, gradients, running })
    }

    /// Writes every result to a temporary file; returns the names.
    fn stage<T: Element + Number>(
        &self,
        files: &mut FileSet,
        shape: &[usize],
        results: &Results<T>,
    ) -> Result<Vec<&'static str>, batchnorm_io::atomic::WriteError> {
        let updates = results.running.iter().flat_map(|running| running.updates().iter().map(|&count| count as f64));
        let updates: Vec<f64> = updates.collect();
        let mut vectors = vec![("mean.npy", &results.mean[..]), ("variance.npy", &results.variance[..])];
        files.file("y.npy", |file| npy::write(file, shape, &results.y))?;
        let mut written = vec!["y.npy"];
        if let Some((dx, parameters)) = &results.gradients {
            files.file("dx.npy", |file| npy::write(file, shape, dx))?;
            written.push("dx.npy");
            vectors.push(("dgamma.npy", &parameters.dgamma));
            vectors.push(("dbeta.npy", &parameters.dbeta));
        }
        if let Some(running) = &results.running {
            vectors.push(("running_mean.npy", running.mean()));
            vectors.push(("running_var.npy", running.variance()));
            // What a next step goes on from, by --batches.
            if !matches!(self.config.averaging, Averaging::Exponential(_)) {
                vectors.push(("updates.npy", &updates));
            }
        }
        for (name, values) in vectors {
            files.file(name, |file| npy::write(file, &[values.len()], values))?;
            written.push(name);
        }
        for name in FILES.iter().filter(|name| !written.contains(name)) {
            files.absent(name)?;
        }
        Ok(written)
    }

    /// The layer's refusal as a failure: of a policy by the name of its flag, or of a shape.
    fn refusal(&self, error: &CallError, samples: usize) -> Failure {
        let input = self.arguments.input.display();
        let weights = self.arguments.weights.as_ref().map_or(String::new(), |path| path.display().to_string());
        Failure::refused(match error {
            CallError::SingleValue { .. } if let Some(size) = self.arguments.ghost.map(usize::from) => {
                let left = if samples.is_multiple_of(size) { size } else { samples % size };
                // The next size that leaves no group of one.
                let better = (size.max(2)..=samples).find(|size| samples % size != 1);
                let better = better
                    .map_or(String::from("pass more samples"), |size| format!("--ghost {size} leaves no such group"));
                // Of groups of one each sample is the last of one, and of one sample nothing is left.
                let drop = if size > 1 && samples > 1 { ", or drop the last sample" } else { "" };
                format!(
                    "{input}: expected at least 2 values a channel in every group, got {left} in the last one: {samples} samples in \
                     ghosts of {size} leave {left}; {better}{drop}, or choose with --on-single-value"
                )
            }
            CallError::SingleValue { shape, axes } => format!(
                "{input}: expected at least 2 values a channel, got 1 (shape {shape:?}, channel {}); \
                 pass a larger batch or choose with --on-single-value",
                if let [axis] = axes[..] { format!("axis {axis}") } else { format!("axes {axes:?}") }
            ),
            CallError::EmptyBatch { shape } => format!(
                "{input}: expected values to normalise, got an empty array (shape {shape:?}); pass another batch or choose \
                 --on-empty pass"
            ),
            CallError::SingleWeighted { channel, count, weight } if let Some(size) = self.arguments.ghost => format!(
                "{weights}: expected values in each channel of every group of {size} samples of {input} that count more than once together, \
                 got a group with {count} of the sum of weights {weight:?} in channel {channel}; mask less, take larger ghosts, or choose \
                 with --on-single-value"
            ),
            CallError::SingleWeighted { channel, count, weight } => format!(
                "{weights}: expected values in each channel of {input} that count more than once together, got {count} with the sum of weights \
                 {weight:?} in channel {channel}; mask less, scale the weights, or choose with --on-single-value"
            ),
            CallError::AllMasked { channel } if let Some(size) = self.arguments.ghost => format!(
                "{weights}: expected values in each channel of every group of {size} samples of {input} that count, got a group with none in \
                 channel {channel}; mask less, take larger ghosts, or choose --on-empty pass"
            ),
            CallError::AllMasked { channel } => format!(
                "{weights}: expected at least 2 values a channel of {input} that count, got 0 in channel {channel}; mask less or choose \
                 --on-empty pass"
            ),
            CallError::NonFinite { channels } => format!(
                "{input}: expected finite values, got NaN, infinity or an overflowing variance in channels {}; \
                 find their source or choose with --on-non-finite",
                first_few(channels)
            ),
            _ => return Failure::input(format!("{input}: {error}")),
        })
    }

    /// The limits of batch renormalisation, for the summary.
    fn renormalization_in_words(&self) -> String {
        self.config.renormalization.map_or(String::new(), |renormalization| {
            let RenormalizationLimits { r_max, d_max } = renormalization.limits(0);
            format!(", renormalised with r up to {r_max} and d up to {d_max}")
        })
    }

    /// What the new value weighs in the running average, for the summary.
    fn averaging_in_words(&self) -> String {
        match (self.arguments.mode, &self.config.averaging) {
            (Mode::Eval, _) => String::new(),
            (Mode::Train, Averaging::Cumulative) => String::from(", running statistics: the average of all batches"),
            (Mode::Train, averaging @ (Averaging::Exponential(weight) | Averaging::Debiased(weight))) => format!(
                ", running statistics: {} of the old value and {} of the new one{}",
                rounded(weight.old_value()),
                rounded(weight.new_value()),
                if matches!(averaging, Averaging::Debiased(_)) { ", without what is left of their start" } else { "" }
            ),
        }
    }

    fn report<T: Element + Number>(&self, x: &View<T>, results: &Results<T>, written: &[&str], warnings: &[Warning]) {
        let Arguments { mode, output_dir, json, weights, ghost, .. } = &self.arguments;
        let Config { epsilon, averaging, renormalization, estimator, policies, tier, .. } = &self.config;
        for warning in warnings {
            tell(format_args!("batchnorm: warning: {warning}"));
        }
        if !json {
            tell(format_args!(
                "{} {:?} {}: {} channels of {} values{}{}, wrote {} in {}",
                mode.name(),
                x.shape(),
                T::TYPE,
                x.channels(),
                x.count(),
                self.renormalization_in_words(),
                self.averaging_in_words(),
                written.join(" "),
                output_dir.display()
            ));
            return;
        }
        let Policies { single_value, empty_batch, non_finite, constant_channel, .. } = policies;
        let averaging = match averaging {
            Averaging::Cumulative => json!("cumulative"),
            Averaging::Exponential(weight) => {
                json!({"weight_of_new": weight.new_value(), "weight_of_old": weight.old_value()})
            }
            Averaging::Debiased(weight) => {
                json!({"weight_of_new": weight.new_value(), "weight_of_old": weight.old_value(), "debiased": true})
            }
        };
        let limits = renormalization.map(|renormalization| renormalization.limits(0));
        let summary = json!({
            "command": "apply",
            "version": env!("CARGO_PKG_VERSION"),
            "mode": mode.name(),
            "shape": x.shape(),
            "type": T::TYPE.to_string(),
            "channel_axis": if let &[axis] = x.channel_axes() { json!(axis) } else { json!(x.channel_axes()) },
            "channels": x.channels(),
            "values_a_channel": x.count(),
            "weights": weights.as_ref().map(|path| text::path(path)),
            "ghost": ghost,
            // (JSON has no infinity.)
            "renormalization": limits.map(|limits| json!({"r_max": or_word(limits.r_max), "d_max": or_word(limits.d_max)})),
            "epsilon": epsilon,
            "averaging": averaging,
            "running_estimator": format!("{estimator:?}").to_lowercase(),
            "policies": {
                "single_value": format!("{single_value:?}"),
                "empty": format!("{empty_batch:?}"),
                "non_finite": format!("{non_finite:?}"),
                "constant": format!("{constant_channel:?}"),
            },
            "tier": format!("{:?}", tier.unwrap_or_else(batchnorm::Tier::best)).to_lowercase(),
            "non_finite_channels": results.non_finite,
            "warnings": warnings.iter().map(Warning::as_json).collect::<Vec<_>>(),
            "notes": self.files.notes(),
            "output_dir": text::path(output_dir),
            "files": written,
        });
        // A closed pipe is the reader's choice, not a failure of the run.
        let _ = writeln!(std::io::stdout(), "{summary:#}");
    }
}

/// A limit, or the word for none.
fn or_word(limit: f64) -> Value {
    if limit.is_finite() { json!(limit) } else { json!("inf") }
}

/// A weight without the rounding of one minus the other.
fn rounded(weight: f64) -> f64 {
    (weight * 1e12).round() / 1e12
}
