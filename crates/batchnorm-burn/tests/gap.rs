//! Which batch norm of a model has wrong statistics: found where it was planted, not found where there is none, and the
//! model left as it was.

#![allow(missing_docs)]

mod support;

use batchnorm_burn::{
    BatchNorm, BatchNormConfig, Gap, GapError, GapReport, LayerGap, Recalibration, RecalibrationError,
};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData, activation::relu};
use support::{Source, bits, floats};

const CHANNELS: usize = 16;
const NORMS: usize = 6;

/// Six convolutions, each with its norm; a dropout that is off in use.
#[derive(Module, Debug)]
struct Net {
    output: Linear,
    norms: Vec<BatchNorm>,
    convolutions: Vec<Conv2d>,
    dropout: Dropout,
}

impl Net {
    /// With weights of a seed.
    fn new(source: &mut Source, device: &Device) -> Net {
        let convolution = |number: usize, source: &mut Source| {
            let input = if number == 0 { 3 } else { CHANNELS };
            let config = Conv2dConfig::new([input, CHANNELS], [3, 3]).with_padding(PaddingConfig2d::Same);
            let mut convolution = config.init(device);
            let weight = weights::<4>(source, [CHANNELS, input, 3, 3], device);
            convolution.weight = convolution.weight.map(|_| weight);
            convolution
        };
        let mut output = LinearConfig::new(CHANNELS, 10).init(device);
        let weight = weights::<2>(source, [CHANNELS, 10], device);
        output.weight = output.weight.map(|_| weight);
        Net {
            output,
            norms: (0..NORMS).map(|_| BatchNormConfig::new(CHANNELS).init(device)).collect(),
            convolutions: (0..NORMS).map(|number| convolution(number, source)).collect(),
            dropout: DropoutConfig::new(0.5).init(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let blocks = self.convolutions.iter().zip(&self.norms);
        let x = blocks.fold(x, |x, (convolution, norm)| relu(norm.forward(convolution.forward(x))));
        self.output.forward(self.dropout.forward(x.mean_dim(3).mean_dim(2).flatten(1, 3)))
    }
}

fn weights<const D: usize>(source: &mut Source, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(source.values(shape.iter().product(), 0.0, 0.2), shape), device)
}

fn run(net: &Net, x: Tensor<4>) -> Tensor<2> {
    net.forward(x)
}

fn data(source: &mut Source, batches: usize) -> Vec<Tensor<4>> {
    (0..batches).map(|_| source.tensor(&[16, 3, 6, 6], &Device::default())).collect()
}

/// A network whose statistics are those of some data, and other data of the same kind.
fn healthy(seed: u64) -> (Net, Vec<Tensor<4>>) {
    let mut source = Source::new(seed);
    // A device that trains: dropout must stay off all the same.
    let net = Net::new(&mut source, &Device::default().autodiff());
    let seen = data(&mut source, 12);
    Recalibration::layer_by_layer().run(&net, || seen.clone(), |net, x| drop(run(net, x))).unwrap();
    (net, data(&mut source, 12))
}

/// Multiplies the statistics of a norm by 4.
fn break_norm(norm: &BatchNorm) {
    norm.running_mean.update(norm.running_mean.value() * 4.0);
    norm.running_var.update(norm.running_var.value() * 4.0);
}

fn state(net: &Net) -> Vec<Vec<u32>> {
    let norm = |norm: &BatchNorm| [bits(norm.running_mean.value()), bits(norm.running_var.value())];
    net.norms.iter().flat_map(norm).chain([bits(net.output.weight.val())]).collect()
}

fn paths(layers: &[&LayerGap]) -> Vec<String> {
    layers.iter().map(|layer| layer.path.clone()).collect()
}

#[test]
fn a_broken_norm_ranks_first_in_both_directions_and_the_second_has_a_tenth_of_its_change_at_most() {
    for broken in 0..NORMS {
        let (net, batches) = healthy(4101);
        break_norm(&net.norms[broken]);
        let before = state(&net);
        let report = Gap::new().measure(&net, || batches.clone(), run).unwrap();
        println!("{report}\n");
        assert_eq!(state(&net), before, "the model is as it was");
        let path = format!("norms.{broken}");

        let [only_this, all_but_this] = [report.by_only_this(), report.by_all_but_this()];
        let of_only = |layer: &LayerGap| layer.exchanged.unwrap().only_this;
        let of_all_but = |layer: &LayerGap| layer.exchanged.unwrap().all_but_this;
        assert!(of_only(only_this[1]) <= 0.1 * of_only(only_this[0]), "{report}");
        assert!(of_all_but(all_but_this[1]) <= 0.1 * of_all_but(all_but_this[0]), "{report}");
        for ranked in [only_this, all_but_this] {
            assert_eq!((ranked.len(), &ranked[0].path), (NORMS, &path));
        }
        assert_eq!(paths(&report.gaps().collect::<Vec<_>>()), [path.as_str()]);
        assert!(report.to_string().contains(&format!("gap in 1 of 6 layers run: {path}")), "{report}");
        // Its drift is the largest, so it is the one that is run where only one is.
        let report = Gap::new().top(1).measure(&net, || batches.clone(), run).unwrap();
        assert_eq!(paths(&report.by_only_this()), [path.as_str()]);
        assert!(report.to_string().contains("5 more layers drifted by at most"), "{report}");
    }
}

#[test]
fn a_healthy_model_has_no_gap_beyond_the_standard_errors_and_the_report_says_so() {
    for seed in 4110..4114 {
        let (net, batches) = healthy(seed);
        let report = Gap::new().all().measure(&net, || batches.clone(), run).unwrap();
        println!("{report}\n");
        assert_eq!(report.gaps().count(), 0);
        // Not because nothing was measured: other data give other statistics, about as far off as chance says.
        for layer in &report.layers {
            let exchanged = layer.exchanged.unwrap();
            assert!(exchanged.all_but_this > 0.0 && exchanged.by_chance.unwrap() > 0.0);
        }
        let said = report.to_string();
        assert!(said.contains("no gap beyond the standard errors") && !said.contains("GAP"), "{said}");
    }
}

#[test]
fn two_broken_norms_are_both_named() {
    let (net, batches) = healthy(4120);
    [1, 4].iter().for_each(|&number| break_norm(&net.norms[number]));
    let before = state(&net);
    let score = |net: &Net| -f64::from(floats(run(net, batches[0].clone()).abs().mean())[0]);
    let report = Gap::new().scored(&net, || batches.clone(), run, score).unwrap();
    println!("{report}");
    let mut gaps = paths(&report.gaps().collect::<Vec<_>>());
    gaps.sort();
    assert_eq!(gaps, ["norms.1", "norms.4"]);
    assert_eq!(state(&net), before);
    // The scores are those of the states: as it is, and of each exchange.
    assert_eq!(report.scores.unwrap().before, score(&net.valid()));
    let fixed = net.valid();
    fixed.norms[1].set_running_statistics(&report.layers[1].statistics.new).unwrap();
    assert_eq!(report.layers[1].exchanged.unwrap().scores.unwrap().only_this, score(&fixed));
}

/// What each number is, computed apart from the crate: by models whose statistics are set one by one.
#[test]
fn the_changes_are_those_of_models_with_exchanged_statistics() {
    let (net, batches) = healthy(4130);
    break_norm(&net.norms[2]);
    let report = Gap::new().only(|path| path != "norms.5").measure(&net, || batches.clone(), run).unwrap();
    assert_eq!(report.layers.len(), NORMS - 1);

    let right = net.valid();
    let by = Recalibration::layer_by_layer().only(|path| path != "norms.5");
    let measured = by.run(&right, || batches.clone(), |net, x| drop(run(net, x))).unwrap();
    let output = |net: &Net| -> Vec<f32> { batches.iter().flat_map(|x| floats(run(net, x.clone()))).collect() };
    let relative = |a: &[f32], b: &[f32]| {
        let squares: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
        (squares / b.iter().map(|&b| f64::from(b).powi(2)).sum::<f64>()).sqrt()
    };
    let near = |one: f64, other: f64| assert!((one - other).abs() <= 1e-9 * other, "{one} and {other}");
    let (as_it_is, at_best) = (output(&net.valid()), output(&right));
    near(report.change, relative(&as_it_is, &at_best));
    for (number, layer) in report.layers.iter().enumerate() {
        let only_this = net.valid();
        only_this.norms[number].set_running_statistics(&measured.layers[number].new).unwrap();
        let all_but_this = right.valid();
        all_but_this.norms[number].set_running_statistics(&net.norms[number].running_statistics().unwrap()).unwrap();
        let exchanged = layer.exchanged.unwrap();
        near(exchanged.only_this, relative(&output(&only_this), &as_it_is));
        near(exchanged.all_but_this, relative(&output(&all_but_this), &at_best));

        let (old, new) = (&measured.layers[number].old, &measured.layers[number].new);
        let epsilon = net.norms[number].epsilon;
        let squares = (0..CHANNELS).map(|c| {
            let [s_old, s_new] = [old, new].map(|of| (of.variance()[c] + epsilon).sqrt());
            ((new.mean()[c] - old.mean()[c]) / s_old).powi(2) + (s_new / s_old - 1.0).powi(2)
        });
        near(layer.drift, (squares.sum::<f64>() / CHANNELS as f64).sqrt());
    }
}

/// What is by chance goes by the seed alone, and falls with the data: by the root of 12 for 12 times as many.
#[test]
fn by_chance_is_seeded_and_falls_with_the_data() {
    let (net, batches) = healthy(4140);
    let measure = |by: Gap, batches: &[Tensor<4>]| by.measure(&net, || batches.to_vec(), run).unwrap();
    let chance = |report: &GapReport| -> Vec<f64> {
        report.layers.iter().map(|layer| layer.exchanged.unwrap().by_chance.unwrap()).collect()
    };
    let report = measure(Gap::new().seed(7), &batches);
    assert_eq!(measure(Gap::new().seed(7), &batches), report);
    assert_ne!(chance(&measure(Gap::new().seed(8), &batches)), chance(&report));
    // In the geometric mean over the layers, for each is of a single draw. Batches of one sample each of the same data: the
    // standard errors are of the same size.
    let of_one: Vec<Tensor<4>> = batches.iter().flat_map(|batch| batch.clone().chunk(16, 0)).collect();
    let mean = |report: &GapReport| {
        let logarithms = chance(report).into_iter().map(f64::ln);
        (logarithms.sum::<f64>() / NORMS as f64).exp()
    };
    let ratio = mean(&measure(Gap::new(), &of_one)) / mean(&report);
    assert!((0.6..1.7).contains(&ratio), "{ratio}");
    let ratio = mean(&measure(Gap::new(), &of_one[..16])) / mean(&report);
    assert!((2.0..6.0).contains(&ratio), "{ratio}");
    // One batch has no standard errors, and nothing is beyond them.
    let report = measure(Gap::new(), &batches[..1]);
    assert!(report.layers.iter().all(|layer| layer.exchanged.unwrap().by_chance.is_none() && !layer.is_gap()));
    assert!(report.to_string().contains("no standard errors of a single batch"), "{report}");
}

#[test]
fn a_norm_that_is_used_twice_has_one_set_of_statistics_and_the_order_is_that_of_execution() {
    let mut source = Source::new(4150);
    let (net, batches) = (Net::new(&mut source, &Device::default()), data(&mut source, 4));
    let forward = |net: &Net, x: Tensor<4>| {
        let x = net.norms[3].forward(net.convolutions[0].forward(x));
        let x = net.norms[1].forward(x.powi_scalar(2));
        net.norms[3].forward(net.convolutions[1].forward(x))
    };
    let only = |path: &str| ["norms.1", "norms.3"].contains(&path);
    let report = Gap::new().only(only).measure(&net, || batches.clone(), forward).unwrap();
    assert_eq!(paths(&report.layers.iter().collect::<Vec<_>>()), ["norms.3", "norms.1"]);
    assert_eq!(report.layers[0].statistics.seen.batches(), 8);
    assert_eq!(report.gaps().count(), 2, "neither has seen anything yet: {report}");
}

#[test]
fn what_cannot_be_measured_is_named_and_changes_nothing() {
    let (net, batches) = healthy(4160);
    break_norm(&net.norms[0]);
    let before = state(&net);
    let error = Gap::new().only(|path| path == "none").measure(&net, || batches.clone(), run).unwrap_err();
    assert_eq!(error, GapError::Statistics(RecalibrationError::NoLayers { in_model: NORMS }));
    let error = Gap::new().measure(&net, Vec::new, run).unwrap_err();
    assert_eq!(error, RecalibrationError::Unseen { layer: "norms.0".into(), channel: 0 }.into());
    // Data that can be gone through once for each norm, and then no more.
    let left = std::cell::Cell::new(1);
    let once = || if left.replace(0) == 1 { batches.clone() } else { Vec::new() };
    let error = Gap::new().only(|path| path == "norms.0").measure(&net, once, run).unwrap_err();
    assert_eq!(error, GapError::NoBatches);
    // Only the samples that the model is sure of: another number by other statistics.
    let calls = std::cell::Cell::new(0);
    let some = |net: &Net, x: Tensor<4>| {
        calls.set(calls.get() + 1);
        run(net, x).narrow(0, 0, 1 + calls.get() % 2)
    };
    let error = Gap::new().measure(&net, || batches.clone(), some).unwrap_err();
    assert!(matches!(&error, GapError::OutputShape { .. }), "{error}");
    assert!(error.to_string().starts_with("forward: expected an output of shape ["), "{error}");
    let panics =
        || Gap::new().measure(&net, || batches.clone(), |_, _: Tensor<4>| -> Tensor<2> { panic!("of the caller") });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    assert_eq!(state(&net), before);
}
