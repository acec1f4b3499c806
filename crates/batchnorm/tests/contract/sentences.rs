//! Every sentence of every error of the core, made to appear by a call that a user may make. `sentences.txt` beside this file has
//! them, to be read as that user would; `SENTENCES=write` writes it anew. A sentence of the sources that is not in it fails.

use super::errors::{calls, configurations, views};
use crate::support::sentences::{as_read, holds};
use batchnorm::{
    Activation, Affine, Axes, BatchMoments, BatchNorm, Collective, CollectiveError, Config, ConfigError, Convention,
    Conversion, Decorrelated, EmptyBatch, Estimator, GradientBuffers, Input, Moments, NonFinite, NormalizeBy,
    ParameterDirection, Parameters, Policies, Population, Renormalization, RunningCovariance, RunningStatistics,
    SampleConfig, SampleNorm, SingleValue, StartValues, Switches, Tier, UpdateWeight, View, ViewMut, Weights,
    WhiteningConfig,
};
use std::fmt::Write;
use std::num::NonZeroUsize;

const X: [f64; 12] = [0.5, 1.5, -2.0, 0.25, 3.0, 1.0, -0.5, 2.5, 0.75, -1.25, 4.0, -3.0];

fn view<'a>(values: &'a [f64], shape: &[usize]) -> View<'a, f64> {
    View::new(values, shape, Axes::NCHW).expect("an array")
}

/// The sentence of a call that fails.
fn said<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => panic!("it is no error"),
        Err(error) => error.to_string(),
    }
}

fn strict() -> Policies {
    Policies {
        single_value: SingleValue::Error,
        empty_batch: EmptyBatch::Error,
        non_finite: NonFinite::Error,
        ..Policies::default()
    }
}

fn passes() -> Vec<(&'static str, String)> {
    let mut layer = Config::pytorch().channels(3).policies(strict()).build().expect("a layer");
    let x = view(&X, &[4, 3]);
    let nan = [f64::NAN; 12];
    let weights = |values: &[f64], shape: &[usize]| Weights::new(values, shape).map(|weights| weights.values().len());
    let [one, light, none, all] = [[1.0, 0.0, 0.0, 0.0], [0.2; 4], [0.0; 4], [1.0; 4]];
    let [one, light, none, all] = [&one, &light, &none, &all].map(|w| Weights::new(w, &[4, 1]).expect("weights"));
    let short = Weights::new(&[1.0, 1.0], &[2, 1]).expect("weights");
    let plain = layer.forward_train(&x).expect("a pass").saved;
    let weighted = layer.forward_train(Input::weighted(&x, &all)).expect("a pass").saved;
    let added = layer.forward_train(Input::adding(&x, &x)).expect("a pass").saved;
    let rule = Config::pytorch().normalizer().expect("a rule");
    let no_parameters = || Parameters::<f64> { gamma: None, beta: None };
    let mut buffer = [0.0; 12];
    let less = BatchMoments::from(vec![Moments::of(&[1.0, 2.0]); 3]);
    let mut uneven = rule.moments(&x).channels().to_vec();
    uneven[2] = uneven[2].merge(Moments::of(&[1.0]));
    let part = |whole: &BatchMoments| {
        let mut own = [0.0; 12];
        let mut y = ViewMut::new(&mut own, &[4, 3], Axes::NCHW).expect("an array");
        rule.train_part(&x, no_parameters(), whole, &mut y)
    };
    let whole = rule.moments(&x).merge(&rule.moments(&x)).expect("as many channels");
    let of_part = part(&whole).expect("a part");
    let mut moved = [0.0; 12];
    let mut jvp = |saved: &batchnorm::Saved| {
        let mut out = ViewMut::new(&mut moved, &[4, 3], Axes::NCHW).expect("an array");
        said(saved.jvp(&x, &x, ParameterDirection::default(), &mut out))
    };
    let jvps = [jvp(&of_part), jvp(&weighted)];
    let mut dx = ViewMut::new(&mut buffer, &[4, 3], Axes::NCHW).expect("an array");
    let several = |shape: &[usize], axes: Axes| View::new(&X, shape, axes).expect("an array");
    let [of_one_axis, of_two_axes] = [Axes::NCHW, Axes::Channels(&[1, 2])].map(|axes| several(&[2, 3, 2], axes));
    let single_of_two_axes = View::new(&X[..3], &[1, 3, 1], Axes::Channels(&[1, 2])).expect("an array");
    let mut all = vec![
        ("train, an empty batch that is refused", said(layer.train(&view(&[], &[0, 3])))),
        ("train, NaN that is refused", said(layer.train(&view(&nan, &[4, 3])))),
        ("train, all masked", said(layer.train(Input::weighted(&x, &none)))),
        ("train, one value counts", said(layer.train(Input::weighted(&x, &one)))),
        ("train, values count little", said(layer.train(Input::weighted(&x, &light)))),
        ("train, weights of another shape", said(layer.train(Input::weighted(&x, &short)))),
        ("weights, negative", said(weights(&[1.0, -1.0], &[2, 1]))),
        ("weights, too large for sums", said(weights(&[1.0, 1e200], &[2, 1]))),
        ("weights, too few values", said(weights(&[1.0], &[2, 1]))),
        ("train, an output for a residual", said(layer.train(Input::with_output(&x, &x)))),
        ("backward, a residual for an output", said(layer.backward(Input::adding(&x, &x), &x, &added))),
        ("backward, without the weights", said(layer.backward(&x, &x, &weighted))),
        ("backward, weights that were not there", said(layer.backward(Input::weighted(&x, &one), &x, &plain))),
        (
            "backward, no buffer for the residual's gradient",
            said(added.backward(Input::with_output(&x, &x), &x, &mut dx)),
        ),
        ("train, other channels of two axes", said(layer.train(&of_two_axes))),
        ("train, one value a channel of two axes", said(layer.train(&single_of_two_axes))),
        ("backward, an array of two channel axes", said(layer.backward(&of_one_axis, &of_two_axes, &plain))),
        ("backward of another batch", said(layer.backward(&view(&X[..9], &[3, 3]), &view(&X[..9], &[3, 3]), &plain))),
        ("jvp of a part", jvps[0].clone()),
        ("jvp without the weights", jvps[1].clone()),
        ("train_part, a whole of fewer values", said(part(&less))),
        ("train_part, a whole of uneven channels", said(part(&uneven.into()))),
    ];
    let mut residual = [0.0; 12];
    let mut dresidual = ViewMut::new(&mut residual, &[4, 3], Axes::NCHW).expect("an array");
    let buffers = GradientBuffers::with_residual(&mut dx, &mut dresidual);
    all.push(("backward, a buffer for a residual that was not there", said(plain.backward(&x, &x, buffers))));
    layer.pin(Some(Switches::frozen()));
    let two = NonZeroUsize::new(2).expect("two");
    all.push(("train_ghost of a pinned layer", said(layer.train_ghost(&x, two))));
    let mut relu = Config::pytorch().channels(3).activation(Activation::Relu).build().expect("a layer");
    all.push(("train_invertible with ReLU", said(relu.train_invertible(&mut dx))));
    all
}

fn siblings() -> Vec<(&'static str, String)> {
    let x = view(&X, &[4, 3]);
    let layer = |config: SampleConfig, shape: &[usize]| config.build(shape);
    let refusing = |grouping: SampleConfig| grouping.policies(strict()).build(&[3]).expect("a layer");
    let nan = [f64::NAN; 12];
    let mut group = SampleNorm::group(3, 3).expect("a layer");
    let padded = Weights::mask(&[true, true, false, true], &[4, 1]).expect("a mask");
    let mut features = [true; 12];
    (features[4], features[5]) = (false, false);
    let single = Weights::mask(&features, &[4, 3]).expect("a mask");
    let running = Policies { single_value: SingleValue::UseRunning, ..Policies::default() };
    vec![
        ("group norm, groups that do not divide", said(SampleNorm::group(2, 3))),
        (
            "group norm, groups that do not divide the array's channels",
            said(SampleConfig::group(2).normalizer().expect("a rule").forward(
                &x,
                Parameters::<f64> { gamma: None, beta: None },
                &mut ViewMut::new(&mut [0.0; 12], &[4, 3], Axes::NCHW).expect("an array"),
            )),
        ),
        (
            "group norm, groups of parts of two channel axes",
            said(SampleConfig::group(2).normalizer().expect("a rule").forward(
                &View::new(&X, &[2, 3, 2], Axes::Channels(&[1, 2])).expect("an array"),
                Parameters::<f64> { gamma: None, beta: None },
                &mut ViewMut::new(&mut [0.0; 12], &[2, 3, 2], Axes::Channels(&[1, 2])).expect("an array"),
            )),
        ),
        ("layer norm, no axes", said(layer(SampleConfig::layer(0), &[]))),
        ("layer norm, a shape of another rank", said(layer(SampleConfig::layer(2), &[3]))),
        ("group norm, a shape of two axes", said(layer(SampleConfig::group(1), &[3, 3]))),
        ("layer norm, no elements", said(layer(SampleConfig::layer(1), &[0]))),
        ("layer norm, other last axes", said(SampleNorm::layer(&[4]).expect("a layer").forward(&x))),
        (
            "layer norm, more axes than there are",
            said(SampleConfig::layer(3).normalizer().expect("a rule").forward(
                &x,
                Parameters::<f64> { gamma: None, beta: None },
                &mut ViewMut::new(&mut [0.0; 12], &[4, 3], Axes::NCHW).expect("an array"),
            )),
        ),
        ("layer norm, gamma of another length", said(SampleNorm::layer(&[3]).expect("a layer").set_gamma(&[1.0]))),
        (
            "layer norm without state, gamma of another length",
            said(SampleConfig::layer(1).normalizer().expect("a rule").forward(
                &x,
                Parameters { gamma: Some(&[1.0][..]), beta: None },
                &mut ViewMut::new(&mut [0.0; 12], &[4, 3], Axes::NCHW).expect("an array"),
            )),
        ),
        ("group norm, gamma of another length", said(group.set_gamma(&[1.0]))),
        ("instance norm of one position", said(SampleNorm::instance(3).expect("a layer").forward(&x))),
        (
            "layer norm of one value that is refused",
            said(
                layer(SampleConfig::layer(1).policies(strict()), &[1])
                    .expect("a layer")
                    .forward(&view(&X[..3], &[3, 1])),
            ),
        ),
        ("layer norm of nothing that is refused", said(refusing(SampleConfig::layer(1)).forward(&view(&[], &[0, 3])))),
        ("layer norm, NaN that is refused", said(refusing(SampleConfig::layer(1)).forward(&view(&nan, &[4, 3])))),
        ("layer norm with a residual", said(refusing(SampleConfig::layer(1)).forward(Input::adding(&x, &x)))),
        (
            "layer norm, a token that is all masked",
            said(refusing(SampleConfig::layer(1)).forward(Input::weighted(&x, &padded))),
        ),
        (
            "layer norm, a token with one feature left",
            said(refusing(SampleConfig::layer(1)).forward(Input::weighted(&x, &single))),
        ),
        ("layer norm by running statistics", said(SampleConfig::layer(1).policies(running).normalizer())),
        ("RMS norm, beta of a layer without", said(SampleNorm::rms(&[3]).expect("a layer").set_beta(&[0.0; 3]))),
    ]
}

fn whitening() -> Vec<(&'static str, String)> {
    let mut layer = WhiteningConfig::new(3, 2).affine(Affine::ScaleOnly).build().expect("a layer");
    let sharp = WhiteningConfig::new(3, 3).epsilon(0.0).build().expect("a layer");
    let foreign = Decorrelated::new(3, 3).expect("a layer").forward_train(&view(&X, &[4, 3])).expect("a pass").batch;
    let parts = |covariance: &[f64]| RunningCovariance::from_parts(&[0.0; 2], covariance, 2, 0);
    let mut evaluated = WhiteningConfig::new(2, 2).epsilon(0.0).build().expect("a layer");
    evaluated.set_running(parts(&[1.0; 4]).expect("semidefinite")).expect("two");
    vec![
        ("whitening, no group", said(Decorrelated::new(4, 0))),
        ("whitening, groups that no memory holds", said(Decorrelated::new(1 << 28, 1 << 28))),
        (
            "whitening, statistics of other groups",
            said(layer.set_running(RunningCovariance::start(3, 3).expect("some"))),
        ),
        ("whitening, a matrix of another size", said(parts(&[1.0]))),
        ("whitening, a matrix that is not symmetric", said(parts(&[1.0, 0.5, 0.4, 1.0]))),
        ("whitening, a batch of other groups", said(layer.commit(&foreign))),
        ("whitening, fewer values than channels", said(sharp.forward_train(&view(&X[..9], &[3, 3])))),
        ("whitening, a running covariance without an inverse", said(evaluated.eval(&view(&X, &[6, 2])))),
    ]
}

/// A collective that gives back what it was told to.
struct Told(Result<Vec<Vec<f64>>, CollectiveError>);

impl Collective for Told {
    fn gather(&self, _: &str, _: &[f64]) -> Result<Vec<Vec<f64>>, CollectiveError> {
        self.0.clone()
    }
}

fn statistics() -> Vec<(&'static str, String)> {
    let two = BatchMoments::from(vec![Moments::of(&[1.0, 2.0])]);
    let mut population = Population::new(1).expect("a channel");
    let nothing = said(population.running(Estimator::Sample));
    population.observe(&two).expect("a batch");
    let mut larger = population.clone();
    larger.observe(&two).expect("a batch");
    let mut rows = population.to_rows();
    rows[0][0] = -1.0;
    let conversion = Conversion::new(Convention::PyTorch, Convention::Keras);
    let untracked = Config::pytorch().track_running_statistics(false).channels(2).build();
    let fresh = BatchNorm::new(2).expect("a layer");
    let mix = Switches::test_time(batchnorm::UpdateWeight::of_new(0.5).expect("a weight"));
    let unseen = Config::pytorch().channels(2).track_running_statistics(false).pinned(mix).build().expect("a layer");
    let name = || "block.norm".to_owned();
    let part = |told| said(two.across(&Told(told), "block.norm"));
    let missing = ConfigError::Tier { got: Tier::Avx512, available: vec![Tier::Baseline] };
    let waited = std::time::Duration::from_secs(5);
    drop(fresh);
    vec![
        ("population of nothing", nothing),
        ("population, what was never taken in", said(population.subtract(&larger))),
        ("population, rows of another file", said(Population::from_rows(&rows))),
        ("conversion, one value a batch", said(conversion.clone().values(1).statistics(&[0.0], &[1.0], None))),
        (
            "conversion, more left of the start than there is",
            said(conversion.values(8).updates(2).statistics(&[0.0], &[0.5], None)),
        ),
        (
            "statistics for a layer that keeps none",
            said(untracked.expect("a layer").set_running(RunningStatistics::start(2).expect("some"))),
        ),
        ("a mixed pass without statistics", said(unseen.clone().forward(&view(&X, &[6, 2]), mix))),
        ("a data set that leaves one sample", said(Config::pytorch().preflight(1025, 64, 1))),
        ("ghost batches that leave one sample", said(Config::pytorch().preflight_ghost(1000, 64, 13, 1))),
        ("a slope below 0", said(Config::pytorch().activation(Activation::LeakyRelu(-1.0)).channels(1).build())),
        ("a tier that is not there", missing.to_string()),
        ("keys of nobody", said(Convention::guess(["kernel"]))),
        ("keys of several", said(Convention::guess(["gamma", "beta"]).expect("somebody's").one())),
        ("no keys", said(Convention::guess([]))),
        ("participants of other sizes", part(Ok(vec![vec![1.0; 4]; 2]))),
        ("a transport that gives nothing back", part(Ok(Vec::new()))),
        (
            "participants at other layers",
            part(Err(CollectiveError::OtherLayer { layer: name(), participant: 1, other: "head".into() })),
        ),
        ("one participant twice", part(Err(CollectiveError::Twice { layer: name(), participant: 1 }))),
        ("a participant that left", part(Err(CollectiveError::Left { layer: name(), participant: 1 }))),
        (
            "a participant that does not come",
            part(Err(CollectiveError::TimedOut { layer: name(), missing: vec![1], waited })),
        ),
    ]
}

fn renormalization() -> Vec<(&'static str, String)> {
    let limits = Renormalization::new(3.0, 5.0).expect("limits");
    let config = Config::pytorch().renormalization(limits);
    let rule = config.clone().normalizer().expect("a rule");
    let x = view(&X, &[4, 3]);
    let mut buffer = [0.0; 12];
    let mut y = ViewMut::new(&mut buffer, &[4, 3], Axes::NCHW).expect("an array");
    let none = Parameters::<f64> { gamma: None, beta: None };
    let mix = NormalizeBy::Mix(UpdateWeight::of_new(0.5).expect("a weight"));
    let (whole, mix) = (rule.moments(&x), Switches { normalize_by: mix, ..Switches::train() });
    let running = RunningStatistics::from_parts(&[0.0], &[0.5], 2).expect("statistics");
    let tenth = UpdateWeight::of_new(0.1).expect("a weight");
    vec![
        ("renormalization, r_max below 1", said(Renormalization::new(0.5, 5.0))),
        ("renormalization, d_max below 0", said(Renormalization::new(3.0, -1.0))),
        ("renormalization, a warm-up that ends before it begins", said(limits.warm_up(10, 9, 20))),
        ("renormalization without running statistics", said(config.track_running_statistics(false).build())),
        ("train, nothing to renormalise by", said(rule.train(&x, none, None, &mut y))),
        ("forward_part, nothing to mix with", said(rule.forward_part(&x, none, mix, &whole, None, &mut y))),
        ("a start that cannot have been", said(running.without_start(tenth, StartValues::default()))),
        ("a start of no number", said(running.with_start(tenth, StartValues { mean: 0.0, variance: f64::NAN }))),
    ]
}

/// The texts of all `#[error(..)]` of a source.
fn texts(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in source.split("#[error(").skip(1) {
        let attribute = attribute.split("\n    #[").next().unwrap_or_default();
        let (end, _) = attribute.match_indices(")]").next().unwrap_or((attribute.len(), ""));
        let mut rest = &attribute[..end];
        while let Some((_, behind)) = rest.split_once('"') {
            let Some((text, after)) = behind.split_once('"') else { break };
            // (Words that a text is put together of are short.)
            if text.len() > 30 || found.is_empty() {
                found.push(text.split("\\\n").map(str::trim_start).collect());
            }
            rest = after;
        }
    }
    found
}

#[test]
fn every_sentence_appears_and_is_the_one_that_was_read() {
    let catalogues = [views(), configurations(), calls()];
    let bad = catalogues.iter().flatten().map(|bad| (bad.what, bad.sentence()));
    let all = bad.chain(passes()).chain(siblings()).chain(whitening()).chain(statistics()).chain(renormalization());
    let mut table = String::new();
    for (what, sentence) in all {
        assert!(!sentence.contains('\n'), "{what}: one line");
        writeln!(table, "{what}\n    {sentence}").expect("a string");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract/sentences.txt");
    let golden = as_read(path, &table, "SENTENCES");
    let sources = [
        include_str!("../../../batchnorm-kernel/src/array/error.rs"),
        include_str!("../../src/call_error.rs"),
        include_str!("../../src/options/error.rs"),
        include_str!("../../src/batch_norm/weights.rs"),
        include_str!("../../src/batch_norm/collective.rs"),
        include_str!("../../src/convention/guess.rs"),
    ];
    let missing: Vec<String> =
        sources.iter().flat_map(|source| texts(source)).filter(|text| !holds(&golden, text)).collect();
    assert!(missing.is_empty(), "no call brings about:\n{}", missing.join("\n"));
}
