//! The library's layers on a setup: the kernels, whose outputs and derivatives are checked.

use super::layer::{BATCH_SHARE, LEAKY_SLOPE, Layer};
use super::setup::{Direction, Setup};
use crate::failure::Failure;
use batchnorm::{
    Activation, Affine, Axes, BatchNorm, Config, ConstantChannel, GradientBuffers, Input, ParameterDirection,
    ParameterGradients, Policies, Renormalization, RunningStatistics, SampleConfig, SampleNorm, SampleSaved, Saved,
    SavedWhitening, Switches, UpdateWeight, View, ViewMut, Weights, WhiteningConfig,
};
use batchnorm_reference::compact;
use batchnorm_reference::renormalized::Correction;
use batchnorm_reference::whole::{Gradients, Together};
use std::error::Error;
use std::num::NonZeroUsize;

type Outcome<T> = Result<T, Box<dyn Error>>;
/// y' along a direction, and the derivative of the gradients along it.
type Along = (Vec<f64>, Gradients<f64>);

/// What a forward pass leaves, of those that have directional and second derivatives.
enum SavedPass {
    Batch(Box<Saved>),
    Sample(Box<SampleSaved>),
    Whitening(Box<SavedWhitening>),
}

/// A pass through a layer.
struct Passed {
    y: Vec<f64>,
    /// Where they were asked for.
    gradients: Option<Gradients<f64>>,
    saved: Option<SavedPass>,
}

impl Setup {
    fn axes(&self) -> Axes<'static> {
        Axes::Channel(self.channel_axis as isize)
    }

    fn view<'a>(&self, values: &'a [f64]) -> Outcome<View<'a, f64>> {
        Ok(View::new(values, self.rows.shape(), self.axes())?)
    }

    fn view_mut<'a>(&self, values: &'a mut [f64]) -> Outcome<ViewMut<'a, f64>> {
        Ok(ViewMut::new(values, self.rows.shape(), self.axes())?)
    }

    /// Batch norm whose gradient of constant channels is the formula's derivative, not the 0 that is declared by default.
    fn config(&self) -> Config {
        let activation = match self.layer {
            Layer::Relu | Layer::Residual => Activation::Relu,
            Layer::LeakyRelu | Layer::Invertible => Activation::LeakyRelu(LEAKY_SLOPE),
            _ => Activation::Identity,
        };
        let policies = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
        let config = Config::pytorch().epsilon(self.epsilon).policies(policies).activation(activation);
        match self.layer {
            Layer::Renormalized => config.renormalization(Renormalization::new(f64::INFINITY, f64::INFINITY).ok()),
            _ => config,
        }
    }

    fn layer(&self, x: &[f64], gamma: &[f64], beta: &[f64]) -> Outcome<BatchNorm> {
        let mut layer = self.config().channels(gamma.len()).build()?;
        layer.set_gamma(gamma)?;
        layer.set_beta(beta)?;
        layer.set_running(self.running_of(x)?)?;
        Ok(layer)
    }

    /// The running statistics that are given; of batch renormalisation those by which r and d of x are the ones that are held.
    fn running_of(&self, x: &[f64]) -> Outcome<RunningStatistics> {
        let (mut running_mean, mut running_variance) = (self.running_mean.clone(), self.running_variance.clone());
        let held = self.corrections.iter().filter(|_| x != self.x).flatten();
        for (channel, (Correction { r, d }, places)) in held.zip(self.rows.all()).enumerate() {
            let values: Vec<f64> = places.iter().map(|&place| x[place]).collect();
            let batch = compact::forward(&values, 1.0, 0.0, self.epsilon);
            let deviation = (batch.variance + self.epsilon).sqrt() / r;
            running_mean[channel] = batch.mean - d * deviation;
            running_variance[channel] = (deviation * deviation - self.epsilon).max(0.0);
        }
        Ok(RunningStatistics::from_parts(&running_mean, &running_variance, 1)?)
    }

    fn sample_norm(&self, gamma: &[f64], beta: &[f64]) -> Outcome<SampleNorm> {
        let config = match self.rows.together() {
            Together::LastAxes(axes) if self.layer == Layer::Rms => SampleConfig::rms(axes),
            Together::LastAxes(axes) => SampleConfig::layer(axes),
            Together::Groups(groups) if self.layer == Layer::GroupRms => SampleConfig::group_rms(groups),
            Together::Groups(groups) => SampleConfig::group(groups),
            _ => SampleConfig::instance(),
        };
        let config = config.epsilon(self.epsilon).affine(Affine::ScaleAndShift);
        let policies = Policies { constant_channel: ConstantChannel::Derivative, ..config.policies };
        let mut norm = config.policies(policies).build(self.rows.parameter_shape())?;
        norm.set_gamma(gamma)?;
        norm.set_beta(beta)?;
        Ok(norm)
    }

    fn switches(&self) -> Outcome<Switches> {
        Ok(match self.layer {
            Layer::Evaluation => Switches::evaluate(),
            Layer::Mixed => Switches::test_time(UpdateWeight::of_new(BATCH_SHARE)?),
            _ => Switches { update_running: false, ..Switches::train() },
        })
    }

    /// A forward pass, and the backward pass where it is asked for.
    fn run(&self, x: &[f64], gamma: &[f64], beta: &[f64], backward: bool) -> Outcome<Passed> {
        let (view, dy) = (self.view(x)?, self.view(&self.dy)?);
        let mut dx = vec![0.0; x.len()];
        let passed = |y: Vec<f64>, dx: Vec<f64>, parameters: Option<ParameterGradients>, saved: Option<SavedPass>| {
            let gradients = parameters.map(|ParameterGradients { dgamma, dbeta }| Gradients { dx, dgamma, dbeta });
            Ok(Passed { y, gradients, saved })
        };
        match self.layer {
            Layer::Norm | Layer::Group | Layer::Instance | Layer::Rms | Layer::GroupRms => {
                let norm = self.sample_norm(gamma, beta)?;
                let (y, saved) = norm.forward(&view)?;
                let mut out = self.view_mut(&mut dx)?;
                let parameters = backward.then(|| saved.backward(&view, &dy, &mut out)).transpose()?;
                passed(y.into_data(), dx, parameters, Some(SavedPass::Sample(Box::new(saved))))
            }
            Layer::Whitening => {
                let policies = Policies { constant_channel: ConstantChannel::Derivative, ..Policies::default() };
                let config = WhiteningConfig::new(gamma.len(), self.whitened).epsilon(self.epsilon).policies(policies);
                let mut layer = config.build()?;
                layer.set_gamma(gamma)?;
                layer.set_beta(beta)?;
                let pass = layer.forward_train(&view)?;
                let mut out = self.view_mut(&mut dx)?;
                let parameters = backward.then(|| pass.saved.backward(&view, &dy, &mut out)).transpose()?;
                passed(pass.y.into_data(), dx, parameters, Some(SavedPass::Whitening(Box::new(pass.saved))))
            }
            Layer::Ghost => {
                let size = NonZeroUsize::new(self.ghost).ok_or("a ghost batch of no samples")?;
                let pass = self.layer(x, gamma, beta)?.train_ghost(&view, size)?;
                let mut out = self.view_mut(&mut dx)?;
                let parameters = backward.then(|| pass.saved.backward(&view, &dy, &mut out)).transpose()?;
                passed(pass.y.into_data(), dx, parameters, None)
            }
            Layer::Invertible => {
                let mut layer = self.layer(x, gamma, beta)?;
                let mut y = x.to_vec();
                let (saved, _) = layer.train_invertible(&mut self.view_mut(&mut y)?)?;
                dx.copy_from_slice(&self.dy);
                let mut out = self.view_mut(&mut dx)?;
                let output = self.view(&y)?;
                let parameters = backward.then(|| layer.backward_invertible(&output, &mut out, &saved)).transpose()?;
                passed(y, dx, parameters, None)
            }
            Layer::Weighted => {
                let weights = Weights::new(&self.weights, self.rows.shape())?;
                let pass = self.layer(x, gamma, beta)?.forward(Input::weighted(&view, &weights), self.switches()?)?;
                let mut out = self.view_mut(&mut dx)?;
                let parameters = backward
                    .then(|| pass.saved.backward(Input::weighted(&view, &weights), &dy, &mut out))
                    .transpose()?;
                passed(pass.y.into_data(), dx, parameters, Some(SavedPass::Batch(Box::new(pass.saved))))
            }
            Layer::Residual => {
                let residual = self.view(&self.residual)?;
                let pass = self.layer(x, gamma, beta)?.forward(Input::adding(&view, &residual), self.switches()?)?;
                let output = self.view(pass.y.data())?;
                let mut dresidual = vec![0.0; x.len()];
                let (mut out, mut beside) = (self.view_mut(&mut dx)?, self.view_mut(&mut dresidual)?);
                let parameters = backward
                    .then(|| {
                        let buffers = GradientBuffers::with_residual(&mut out, &mut beside);
                        pass.saved.backward(Input::with_output(&view, &output), &dy, buffers)
                    })
                    .transpose()?;
                passed(pass.y.into_data(), dx, parameters, None)
            }
            _ => {
                let pass = self.layer(x, gamma, beta)?.forward(&view, self.switches()?)?;
                let mut out = self.view_mut(&mut dx)?;
                let parameters = backward.then(|| pass.saved.backward(&view, &dy, &mut out)).transpose()?;
                passed(pass.y.into_data(), dx, parameters, Some(SavedPass::Batch(Box::new(pass.saved))))
            }
        }
    }

    /// The layer's output.
    pub fn kernel_forward(&self, x: &[f64], gamma: &[f64], beta: &[f64]) -> Result<Vec<f64>, Failure> {
        self.run(x, gamma, beta, false).map(|pass| pass.y).map_err(|error| self.refusal(error.as_ref()))
    }

    /// The layer's gradients.
    pub fn kernel(&self, x: &[f64], gamma: &[f64]) -> Result<Gradients<f64>, Failure> {
        let run = self.run(x, gamma, &self.beta, true).map_err(|error| self.refusal(error.as_ref()))?;
        run.gradients.ok_or_else(|| Failure::refused("the backward pass gave nothing"))
    }

    /// The layer's directional derivative, and the derivative of its gradient along the direction (dx', dgamma'), where it
    /// has them.
    pub fn kernel_along(&self, direction: &Direction) -> Result<Option<Along>, Failure> {
        self.along(direction).map_err(|error| self.refusal(error.as_ref()))
    }

    fn along(&self, direction: &Direction) -> Outcome<Option<Along>> {
        let (x, dy, t) = (self.view(&self.x)?, self.view(&self.dy)?, self.view(&direction.x)?);
        let parameters = ParameterDirection { gamma: Some(&direction.gamma), beta: Some(&direction.beta) };
        let (mut moved, mut dx) = (vec![0.0; self.x.len()], vec![0.0; self.x.len()]);
        let parameters_hvp = match self.run(&self.x, &self.gamma, &self.beta, false)?.saved {
            Some(SavedPass::Batch(saved)) => {
                let weights = Weights::new(&self.weights, self.rows.shape())?;
                let is_weighted = self.layer == Layer::Weighted;
                let input = if is_weighted { Input::weighted(&x, &weights) } else { Input::from(&x) };
                saved.jvp(input, &t, parameters, &mut self.view_mut(&mut moved)?)?;
                saved.hvp(input, &dy, &t, parameters, &mut self.view_mut(&mut dx)?)?
            }
            Some(SavedPass::Whitening(saved)) => {
                saved.jvp(&x, &t, parameters, &mut self.view_mut(&mut moved)?)?;
                saved.hvp(&x, &dy, &t, parameters, &mut self.view_mut(&mut dx)?)?
            }
            Some(SavedPass::Sample(saved)) => {
                saved.jvp(&x, &t, parameters, &mut self.view_mut(&mut moved)?)?;
                saved.hvp(&x, &dy, &t, parameters, &mut self.view_mut(&mut dx)?)?
            }
            None => return Ok(None),
        };
        let ParameterGradients { dgamma, dbeta } = parameters_hvp;
        Ok(Some((moved, Gradients { dx, dgamma, dbeta })))
    }

    fn refusal(&self, error: &dyn Error) -> Failure {
        Failure::refused(format!("{}: {error}", self.layer.name()))
    }
}
