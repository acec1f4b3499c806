//! From arguments and arrays to a [`Setup`]: what no file holds is drawn, and what cannot be differentiated is refused.

use super::inputs::{Inputs, channel_axis, source};
use super::layer::Layer;
use super::limits::{KINK, RANGE};
use super::options::Arguments;
use super::parameters::parameters;
use super::setup::Setup;
use crate::arrays::Files;
use crate::failure::Failure;
use batchnorm_reference::random::Random;
use batchnorm_reference::whole::{Role, Rows, Together};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The setup in which a layer is checked.
///
/// # Errors
/// Arguments that do not fit the arrays; arrays that are too small, or on which derivatives cannot be taken.
pub fn setup(arguments: &Arguments, inputs: &Inputs, layer: Layer) -> Result<Setup, Failure> {
    let (shape, channel_axis) = (inputs.shape.clone(), channel_axis(arguments, &inputs.shape)?);
    let (len, channels) = (shape.iter().product::<usize>(), shape[channel_axis]);
    if len / channels.max(1) < 2 || len == 0 {
        return Err(too_few(arguments, &shape, len / channels.max(1), "a channel"));
    }
    let mut random = Random::new(arguments.seed() ^ (layer as u64 + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
    let x = inputs.x.clone().unwrap_or_else(|| random.normals(len, 1.0, 1.5));
    let dy = inputs.dy.clone().unwrap_or_else(|| random.normals(len, 0.2, 1.0));
    let parameters = Parameters::new(arguments, inputs, layer, channels, &mut random)?;
    let pattern = || (0..len).map(|place| [1.0, 2.0, 0.0, 1.5][place % 4]).collect();
    let weights = inputs.weights.clone().unwrap_or_else(pattern);
    let residual = random.normals(len, 0.0, 1.0);
    let groups = groups(arguments, layer, channels)?;
    let ghost = shape[usize::from(channel_axis == 0)].div_ceil(2);
    let together = match layer {
        Layer::Norm | Layer::Rms => Together::LastAxes(shape.len() - 1),
        Layer::Group | Layer::GroupRms => Together::Groups(groups),
        Layer::Instance => Together::Instance,
        Layer::Ghost => Together::Ghost(ghost),
        _ => Together::Channel,
    };
    let rows = Rows::new(&shape, &Role::around(channel_axis, shape.len()), together).in_order_of_the_array();
    let Parameters { gamma, beta, running_mean, running_variance } = parameters;
    let mut setup = Setup {
        layer,
        channel_axis,
        x,
        dy,
        gamma,
        beta,
        epsilon: arguments.epsilon,
        running_mean,
        running_variance,
        weights,
        residual,
        ghost,
        corrections: None,
        whitened: (1..=channels.min(4)).rev().find(|&group| channels.is_multiple_of(group)).unwrap_or(1),
        slopes: vec![1.0; len],
        kinks: vec![false; len],
        random,
        rows,
    };
    // (One value of weight 2 is two that are alike.)
    let weight = |row: usize| setup.counting(row).into_iter().map(|place| setup.weights[place]).sum::<f64>();
    let single = (0..setup.rows.count()).find(|&row| setup.counting(row).len() < 2 && weight(row) <= 1.0);
    match (single, &arguments.weights) {
        (Some(row), Some(path)) if layer == Layer::Weighted => {
            let got = setup.counting(row).len();
            return Err(Failure::refused(format!(
                "{}: expected at least 2 values that count in every channel, got {got} in channel {row}; mask less",
                path.display()
            )));
        }
        (Some(row), _) => {
            return Err(too_few(arguments, &shape, setup.counting(row).len(), "that are normalised together"));
        }
        _ => {}
    }
    expect_in_range(arguments, &setup)?;
    expect_spread(&setup)?;
    if layer == Layer::Renormalized {
        setup.corrections = Some(setup.unlimited_corrections());
    }
    set_slopes(&mut setup);
    Ok(setup)
}

fn too_few(arguments: &Arguments, shape: &[usize], got: usize, what: &str) -> Failure {
    Failure::refused(format!(
        "{}: expected at least 2 values {what}, got {got} (shape {shape:?}); take a larger array",
        source(arguments)
    ))
}

/// `--groups`; without it, of layers that have groups, the largest divisor below the channels, so that groups are seen.
fn groups(arguments: &Arguments, layer: Layer, channels: usize) -> Result<usize, Failure> {
    match (arguments.groups.map(NonZeroUsize::get), layer) {
        (None, layer) if layer.has_groups() => {
            Ok((1..channels).rev().find(|groups| channels.is_multiple_of(*groups)).unwrap_or(1))
        }
        (Some(groups), layer) if layer.has_groups() && !channels.is_multiple_of(groups) => {
            Err(Failure::usage(format!("--groups {groups}: expected a divisor of {channels} channels")))
        }
        (groups, _) => Ok(groups.unwrap_or(1)),
    }
}

struct Parameters {
    gamma: Vec<f64>,
    beta: Vec<f64>,
    running_mean: Vec<f64>,
    running_variance: Vec<f64>,
}

impl Parameters {
    /// Reads those that have files. The others: running statistics are drawn; gamma is 1 and beta 0, or both are drawn
    /// where x is.
    fn new(
        arguments: &Arguments,
        inputs: &Inputs,
        layer: Layer,
        channels: usize,
        random: &mut Random,
    ) -> Result<Parameters, Failure> {
        let shape = if layer.has_element_parameters() { inputs.shape[1..].to_vec() } else { vec![channels] };
        let constant = |value: f64| inputs.x.is_some().then_some(value);
        // Scales have both signs, and none is near 0.
        let scale = |u: f64| if u < 0.3 { -0.5 - u } else { 0.4 + u };
        let gamma = parameter(&inputs.files, &arguments.gamma, &shape, constant(1.0), || scale(random.uniform()))?;
        let beta = parameter(&inputs.files, &arguments.beta, &shape, constant(0.0), || random.uniform() - 0.4)?;
        let running_mean =
            parameter(&inputs.files, &arguments.running_mean, &[channels], None, || 2.0 * random.uniform())?;
        let running_variance =
            parameter(&inputs.files, &arguments.running_var, &[channels], None, || 0.5 + 2.0 * random.uniform())?;
        if let Some(channel) = running_variance.iter().position(|&variance| variance < 0.0) {
            let got = running_variance[channel];
            let file =
                arguments.running_var.as_ref().map_or(String::from("--running-var"), |path| path.display().to_string());
            return Err(Failure::input(format!("{file}: expected variances >= 0, got {got} in channel {channel}")));
        }
        Ok(Parameters { gamma, beta, running_mean, running_variance })
    }
}

/// Reads finite values from a file; without a file they are the constant, or drawn where there is none.
fn parameter(
    files: &Files,
    path: &Option<PathBuf>,
    shape: &[usize],
    constant: Option<f64>,
    mut draw: impl FnMut() -> f64,
) -> Result<Vec<f64>, Failure> {
    let Some(path) = path else {
        let count = shape.iter().product();
        return Ok(match constant {
            Some(value) => vec![value; count],
            None => (0..count).map(|_| draw()).collect(),
        });
    };
    let values = parameters(files, path, shape)?;
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(at) => Err(Failure::refused(format!(
            "{}: expected finite values, got {} (value {at})",
            path.display(),
            values[at]
        ))),
    }
}

/// Refuses sizes at which the twin, which takes no care of overflow, or steps of differences would fail.
fn expect_in_range(arguments: &Arguments, setup: &Setup) -> Result<(), Failure> {
    let [least, most] = RANGE;
    let fits = |value: f64| value == 0.0 || (least..=most).contains(&value.abs());
    let arrays = [
        ("--epsilon", &None, std::slice::from_ref(&setup.epsilon)),
        ("--input", &arguments.input, &setup.x[..]),
        ("--gradient", &arguments.gradient, &setup.dy),
        ("--gamma", &arguments.gamma, &setup.gamma),
        ("--beta", &arguments.beta, &setup.beta),
        ("--running-mean", &arguments.running_mean, &setup.running_mean),
        ("--running-var", &arguments.running_var, &setup.running_variance),
    ];
    for (flag, path, values) in arrays {
        if let Some(got) = values.iter().find(|&&value| !fits(value)) {
            let named = path.as_ref().map_or(String::from(flag), |path| path.display().to_string());
            return Err(Failure::refused(format!(
                "{named}: expected numbers of which derivatives can be taken, 0, or within {least:e} .. {most:e} in size, got \
                 {got:e}; scale them"
            )));
        }
    }
    Ok(())
}

/// Refuses rows of variance 0 without an eps: the formula is 0 of 0 there.
fn expect_spread(setup: &Setup) -> Result<(), Failure> {
    let all_alike = |row: usize| {
        let places = setup.counting(row);
        let first = if setup.layer.is_root_mean_square() { 0.0 } else { setup.x[places[0]] };
        places.iter().all(|&place| setup.x[place] == first)
    };
    let no_spread = |row: usize| match setup.layer {
        Layer::Evaluation | Layer::Mixed => setup.running_variance[setup.rows.channel(row)] == 0.0,
        Layer::Renormalized => all_alike(row) || setup.running_variance[setup.rows.channel(row)] == 0.0,
        _ => all_alike(row),
    };
    match (0..setup.rows.count()).find(|&row| setup.epsilon == 0.0 && no_spread(row)) {
        None => Ok(()),
        Some(row) => Err(Failure::refused(format!(
            "--epsilon 0: expected a variance above 0, got 0 in row {row} of what is normalised together, where the formula is \
             0 of 0; give an eps above 0"
        ))),
    }
}

/// Sets the slopes of the activation by the twin's z, and takes the gradient from values near its kink.
fn set_slopes(setup: &mut Setup) {
    if setup.layer == Layer::Weighted {
        setup.slopes = setup.weights.iter().map(|&weight| f64::from(u8::from(weight > 0.0))).collect();
        return;
    }
    let Some(negative) = setup.layer.negative_slope() else { return };
    // All slopes are 1 so far, so that this is the activation's input.
    let z = setup.forward(&setup.x, &setup.gamma, &setup.beta);
    for (place, z) in z.into_iter().enumerate() {
        setup.slopes[place] = if z > 0.0 { 1.0 } else { negative };
        if z.abs() < KINK {
            (setup.dy[place], setup.kinks[place]) = (0.0, true);
        }
    }
}
