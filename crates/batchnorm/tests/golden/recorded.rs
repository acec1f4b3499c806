//! Values recorded from torch 2.15 and from ONNX's operator cases (README.md beside this says how).

use crate::form::{Array, Case, Step, load};
use crate::support::wide::largest;
use batchnorm::{
    Affine, Averaging, Axes, BatchNorm, Config, EmptyBatch, MissingRunning, Parameters, Policies, RunningStatistics,
    Saved, UpdateWeight, View, ViewMut,
};
use serde::Deserialize;
use std::collections::BTreeMap;

fn layer(case: &Case) -> Result<BatchNorm, batchnorm::ConfigError> {
    let settings = &case.config;
    let averaging = match settings.weight_of_new_value {
        Some(weight) => UpdateWeight::of_new(weight)?.into(),
        None => Averaging::Cumulative,
    };
    let affine = match (settings.gamma, settings.beta) {
        (true, true) => Affine::ScaleAndShift,
        (true, false) => Affine::ScaleOnly,
        (false, true) => Affine::ShiftOnly,
        (false, false) => Affine::Neither,
    };
    let policies = Policies {
        missing_running: MissingRunning::BatchStatistics,
        // torch computes the formula's derivative on constant channels.
        constant_channel: batchnorm::ConstantChannel::Derivative,
        empty_batch: EmptyBatch::Pass,
        ..Policies::default()
    };
    let mut layer = Config::pytorch()
        .epsilon(settings.epsilon)
        .averaging(averaging)
        .affine(affine)
        .channels(settings.channels)
        .track_running_statistics(settings.track_running_stats)
        .policies(policies)
        .build()?;
    if let Some(gamma) = &case.initial.gamma {
        layer.set_gamma(&gamma.data)?;
    }
    if let Some(beta) = &case.initial.beta {
        layer.set_beta(&beta.data)?;
    }
    if let (Some(mean), Some(var), true) =
        (&case.initial.running_mean, &case.initial.running_var, settings.track_running_stats)
    {
        let batches = case.initial.batches.unwrap_or(0);
        layer.set_running(RunningStatistics::from_parts(&mean.data, &var.data, batches)?)?;
    }
    Ok(layer)
}

/// Errors unless the two agree to `bound`, relative to the largest expected value.
fn close(what: &str, got: &[f64], expected: &Array, bound: f64) {
    let scale = largest(&expected.data);
    close_by(what, got, expected, bound, |_| scale);
}

/// Errors unless the two agree to `bound`, relative to the scale of each value's place.
fn close_by(what: &str, got: &[f64], expected: &Array, bound: f64, scale: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), expected.data.len(), "{what}: length");
    for (i, (got, expected)) in got.iter().zip(&expected.data).enumerate() {
        let error = (got - expected).abs();
        assert!(error <= bound * scale(i), "{what}[{i}]: got {got:e}, expected {expected:e}, error {error:e}");
    }
}

/// By channel, what numerics.md section 0 relates the errors of dx, dgamma and dbeta to: gradients cancel, so an
/// error relative to the gradient itself means nothing (N = 2 leaves eps / (var + eps) of it).
fn gradient_scales(layer: &BatchNorm, step: &Step, epsilon: f64) -> Vec<[f64; 3]> {
    let (channels, plane) = (step.x.shape[1], step.x.shape[2..].iter().product::<usize>());
    let of = |array: &Array, channel| crate::support::channel_of(&array.data, channels, plane, channel);
    (0..channels)
        .map(|channel| {
            let (x, dy) = (of(&step.x, channel), of(&step.dy, channel));
            let (mean, variance) = match layer.running() {
                Some(running) if !step.uses_batch_statistics => (running.mean()[channel], running.variance()[channel]),
                _ => {
                    let moments = batchnorm::Moments::of(&x);
                    (moments.mean(), moments.population_variance())
                }
            };
            let inverse = batchnorm::inverse_deviation(variance, epsilon);
            let gamma = layer.gamma().map_or(1.0, |gamma| gamma[channel]);
            let max_dy = largest(&dy);
            let products: f64 = dy.iter().zip(&x).map(|(dy, x)| (dy * (x - mean) * inverse).abs()).sum();
            [gamma.abs() * inverse * max_dy, products, dy.iter().map(|dy| dy.abs()).sum()]
        })
        .collect()
}

struct Passed {
    y: Vec<f64>,
    dx: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
    moments: Option<batchnorm::BatchMoments>,
}

/// One forward and backward pass; a training pass commits.
fn step(layer: &mut BatchNorm, step: &Step, batch_statistics_wanted: bool) -> Passed {
    let x = View::new(&step.x.data, &step.x.shape, Axes::NCHW).expect("a right view");
    let dy = View::new(&step.dy.data, &step.dy.shape, Axes::NCHW).expect("a right view");
    let (y, saved, moments): (Vec<f64>, Saved, _) = if step.training {
        let trained = layer.train(&x).expect("a right call");
        (trained.y.into_data(), trained.saved, Some(trained.batch))
    } else {
        let evaluated = layer.eval(&x).expect("a right call");
        (evaluated.y.into_data(), evaluated.saved, None)
    };
    assert_eq!(saved.used_batch_statistics(), batch_statistics_wanted);
    let mut dx = vec![f64::NAN; step.x.data.len()];
    let mut out = ViewMut::new(&mut dx, &step.x.shape, Axes::NCHW).expect("a right view");
    let gradients = layer.backward_into(&x, &dy, &saved, &mut out).expect("a right call");
    Passed { y, dx, dgamma: gradients.dgamma, dbeta: gradients.dbeta, moments }
}

#[test]
fn torch_samples_modules_and_our_own_cases() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for case in load::<Case>("torch.json") {
        let weight = case.config.weight_of_new_value;
        if weight.is_some_and(|weight| !(0.0..=1.0).contains(&weight)) {
            // torch takes such weights and ends with negative variances; here they are refused.
            assert!(matches!(layer(&case), Err(batchnorm::ConfigError::Weight { .. })), "{}", case.name);
            *counts.entry("refused: weight outside 0..1".into()).or_default() += 1;
            continue;
        }
        if case.steps[0].x.shape.len() < 2 {
            let shape = &case.steps[0].x.shape;
            assert!(View::<f64>::new(&case.steps[0].x.data, shape, Axes::NCHW).is_err());
            *counts.entry("refused: rank below 2".into()).or_default() += 1;
            continue;
        }
        let mut layer = layer(&case).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        for (number, recorded) in case.steps.iter().enumerate() {
            let at = format!("{} ({}) step {number}", case.name, case.source);
            println!("{at}");
            let before = layer.running().cloned();
            let scales = gradient_scales(&layer, recorded, case.config.epsilon);
            let passed = step(&mut layer, recorded, recorded.uses_batch_statistics);
            if recorded.x.data.is_empty() {
                assert_eq!(layer.running().cloned(), before, "{at}: an empty batch changes nothing");
                continue;
            }
            // Ours is held to the exact values where they were recorded; torch itself is off there.
            let (truth, bound) = match &recorded.exact {
                Some(exact) => (exact, 1e-14),
                None => (&recorded.expect, 1e-12),
            };
            close(&format!("{at}: y"), &passed.y, &truth.y, bound);
            let plane: usize = recorded.x.shape[2..].iter().product();
            close_by(&format!("{at}: dx"), &passed.dx, &truth.dx, bound, |i| scales[i / plane % scales.len()][0]);
            for (kind, name, got, expected) in
                [(1, "dgamma", &passed.dgamma, &truth.dgamma), (2, "dbeta", &passed.dbeta, &truth.dbeta)]
            {
                if let Some(expected) = expected {
                    close_by(&format!("{at}: {name}"), got, expected, bound, |channel| scales[channel][kind]);
                }
            }
            if let Some(moments) = &passed.moments {
                let means: Vec<f64> = moments.channels().iter().map(|m| m.mean()).collect();
                let variances: Vec<f64> = moments.channels().iter().map(|m| m.population_variance()).collect();
                for (name, got, expected) in
                    [("mean", means, &truth.batch_mean), ("variance", variances, &truth.batch_var)]
                {
                    if let Some(expected) = expected {
                        close(&format!("{at}: batch {name}"), &got, expected, bound);
                    }
                }
            }
            if let Some(running) = layer.running() {
                let (mean, variance) = (running.mean().to_vec(), running.variance().to_vec());
                for (name, got, expected) in
                    [("mean", mean, &truth.running_mean), ("variance", variance, &truth.running_var)]
                {
                    if let Some(expected) = expected {
                        close(&format!("{at}: running {name}"), &got, expected, bound);
                    }
                }
                if let Some(batches) = truth.batches {
                    assert_eq!(running.batches(), batches, "{at}");
                }
            }
            *counts.entry(format!("{} steps", case.source)).or_default() += 1;
        }
    }
    println!("{counts:?}");
    assert!(counts.values().sum::<usize>() > 190, "cases were skipped: {counts:?}");
}

#[derive(Deserialize)]
struct OnnxCase {
    name: String,
    config: OnnxSettings,
    inputs: BTreeMap<String, Array>,
    expect: OnnxValues,
}

#[derive(Deserialize)]
struct OnnxSettings {
    epsilon: f64,
    weight_of_old_value: f64,
    training: bool,
}

#[derive(Deserialize)]
struct OnnxValues {
    y: Array,
    running_mean: Option<Array>,
    running_var: Option<Array>,
}

#[test]
fn the_nine_onnx_operator_cases_with_onnx_conventions() {
    let cases = load::<OnnxCase>("onnx.json");
    assert_eq!(cases.len(), 9);
    for case in cases {
        let narrow = |name: &str| -> Vec<f32> { case.inputs[name].data.iter().map(|&v| v as f32).collect() };
        let shape = &case.inputs["x"].shape;
        let x = narrow("x");
        let mut layer = Config::onnx()
            .epsilon(case.config.epsilon)
            .averaging(UpdateWeight::of_old(case.config.weight_of_old_value).unwrap())
            .build()
            .unwrap();
        layer.set_gamma(&narrow("scale")).unwrap();
        layer.set_beta(&narrow("bias")).unwrap();
        layer.set_running(RunningStatistics::from_parts(&narrow("mean"), &narrow("var"), 0).unwrap()).unwrap();
        let x = View::new(&x, shape, Axes::NCHW).unwrap();
        let y = if case.config.training { layer.train(&x).unwrap().y } else { layer.eval(&x).unwrap().y };
        let got: Vec<f64> = y.data().iter().map(|&value| f64::from(value)).collect();
        // The recorded float32 values are themselves up to 1.34 ulp off the formula.
        close(&case.name, &got, &case.expect.y, 2.0 * f64::from(f32::EPSILON));
        let running = layer.running().unwrap();
        for (got, expected) in
            [(running.mean(), &case.expect.running_mean), (running.variance(), &case.expect.running_var)]
        {
            if let Some(expected) = expected {
                close(&case.name, got, expected, 2.0 * f64::from(f32::EPSILON));
            }
        }
        println!("{}: agrees", case.name);
    }
}

#[test]
fn a_caller_s_own_parameters_give_the_layer_s_result() {
    let x: Vec<f32> = (0..24).map(|i| (i * i % 11) as f32).collect();
    let view = View::new(&x, &[4, 3, 2], Axes::NCHW).unwrap();
    let (gamma, beta) = ([1.5f32, -2.0, 0.25], [0.1f32, 0.2, 0.3]);
    let mut layer = BatchNorm::new(3).unwrap();
    layer.set_gamma(&gamma).unwrap();
    layer.set_beta(&beta).unwrap();
    let mut y = [0.0f32; 24];
    let parameters = Parameters { gamma: Some(&gamma), beta: Some(&beta) };
    let mut out = ViewMut::new(&mut y, &[4, 3, 2], Axes::NCHW).unwrap();
    let (saved, batch) = Config::pytorch().normalizer().unwrap().train(&view, parameters, None, &mut out).unwrap();
    let trained = layer.train(&view).unwrap();
    assert_eq!((trained.y.data(), &trained.saved, &trained.batch), (&y[..], &saved, &batch));
}
