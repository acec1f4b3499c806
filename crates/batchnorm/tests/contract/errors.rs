//! The catalogue of bad calls: each is a typed error that names the argument and both values, and leaves the layer
//! and the caller's buffers as they were, to the bit. None panics.

use batchnorm::{
    Affine, Axes, AxisRole, BatchNorm, CallError, Config, ConfigError, EmptyBatch, NonFinite, Parameters, Policies,
    RunningStatistics, SingleValue, Tier, UpdateWeight, View, ViewError, ViewMut,
};

pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The outcome of a call, whatever it gives and whichever of our types its error is.
fn fails<T, E: std::error::Error + 'static>(result: Result<T, E>) -> Outcome {
    match result {
        Ok(_) => Ok(()),
        Err(error) => Err(Box::new(error)),
    }
}

/// A bad call, and what its message must hold: the argument and both values.
pub struct Bad {
    pub what: &'static str,
    call: Box<dyn Fn(&mut BatchNorm) -> Outcome>,
    says: &'static [&'static str],
}

fn bad(what: &'static str, says: &'static [&'static str], call: impl Fn(&mut BatchNorm) -> Outcome + 'static) -> Bad {
    Bad { what, call: Box::new(call), says }
}

const X: [f32; 24] = [0.5; 24];

fn view(shape: &[usize]) -> Result<View<'static, f32>, ViewError> {
    View::new(&X, shape, Axes::NCHW)
}

/// A layer of 3 channels in a state of its own.
fn layer(policies: Policies) -> BatchNorm {
    let mut layer = Config::pytorch().channels(3).policies(policies).build().unwrap();
    layer.set_gamma(&[1.5, -2.0, 0.25]).unwrap();
    layer.set_beta(&[0.1, 0.2, 0.3]).unwrap();
    layer.set_running(RunningStatistics::from_parts(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 9).unwrap()).unwrap();
    layer
}

/// Everything one can see of a layer.
fn state(layer: &BatchNorm) -> (Config, [Option<Vec<f64>>; 2], Option<RunningStatistics>) {
    (layer.config().clone(), [layer.gamma(), layer.beta()], layer.running().cloned())
}

impl Bad {
    /// What the call says, of a layer of 3 channels.
    pub fn sentence(&self) -> String {
        (self.call)(&mut layer(Policies::default())).expect_err(self.what).to_string()
    }
}

fn check(catalogue: Vec<Bad>, policies: Policies) -> usize {
    let count = catalogue.len();
    for Bad { what, call, says } in catalogue {
        let mut layer = layer(policies);
        let before = state(&layer);
        let error = call(&mut layer).expect_err(what);
        let message = error.to_string();
        println!("{what}: {message}");
        for part in says {
            assert!(message.contains(part), "{what}: `{message}` does not say `{part}`");
        }
        assert!(!message.contains('\n'), "{what}: one line");
        let typed = error.is::<ViewError>() || error.is::<ConfigError>() || error.is::<CallError>();
        assert!(typed, "{what}: not one of our types");
        assert_eq!(state(&layer), before, "{what}: the layer changed");
    }
    count
}

pub fn views() -> Vec<Bad> {
    vec![
        bad("no axis", &["shape", "2 axes", "got 0"], |_| fails(View::new(&X, &[], Axes::NCHW))),
        bad("one axis", &["shape", "2 axes", "got 1", "[24]"], |_| fails(view(&[24]))),
        bad("channel axis too large", &["channel_axis", "-2..=1", "got 2"], |_| {
            fails(View::new(&X, &[8, 3], Axes::Channel(2)))
        }),
        bad("channel axis too negative", &["channel_axis", "-2..=1", "got -3"], |_| {
            fails(View::new(&X, &[8, 3], Axes::Channel(-3)))
        }),
        bad("channel axis at the end of the numbers", &["channel_axis", "-9223372036854775808"], |_| {
            fails(View::new(&X, &[8, 3], Axes::Channel(isize::MIN)))
        }),
        bad("channel axis at the other end", &["channel_axis", "9223372036854775807"], |_| {
            fails(View::new(&X, &[8, 3], Axes::Channel(isize::MAX)))
        }),
        bad("no channels", &["axis 1", "at least 1", "got 0"], |_| fails(View::<f32>::new(&[], &[8, 0], Axes::NCHW))),
        bad("no channels, last", &["axis 2", "got 0"], |_| fails(View::<f32>::new(&[], &[8, 3, 0], Axes::NHWC))),
        bad("buffer too short", &["data", "needs 27", "got 24"], |_| fails(view(&[9, 3]))),
        bad("buffer too long", &["data", "needs 21", "got 24"], |_| fails(view(&[7, 3]))),
        bad("shape product overflows", &["shape", "more elements"], |_| fails(view(&[usize::MAX, 3]))),
        bad("shape product overflows to a small number", &["shape", "more elements"], |_| {
            fails(view(&[1 << 32, 3, 1 << 32]))
        }),
        bad("overflowing shape with an empty axis", &["shape", "more elements"], |_| {
            fails(View::<f32>::new(&[], &[0, 1 << 40, 1 << 40], Axes::NCHW))
        }),
        bad("an array of more bytes than isize counts", &["shape", "more elements", "(1152921504606846975)"], |_| {
            fails(View::<f64>::new(&[], &[1 << 30, 1 << 30], Axes::NCHW))
        }),
        bad("the largest array there may be, of too little", &["needs 1152921504606846975", "got 24"], |_| {
            fails(View::new(&X, &[(1 << 60) - 1, 1], Axes::NCHW))
        }),
        bad("lengths that overflow before a zero comes", &["shape", "more elements"], |_| {
            fails(View::with_strides(&X, &[usize::MAX, usize::MAX, 0], &[0; 3], 0, Axes::NCHW))
        }),
        bad("an output of more bytes than isize counts", &["shape", "more elements"], |_| {
            fails(ViewMut::with_strides(&mut { X }, &[1 << 31, 1 << 31], &[0, 0], 0, Axes::NCHW))
        }),
        bad("more channels than a layer may have", &["at most 268435456", "got 288230376151711744"], |_| {
            fails(View::with_strides(&[1.0f32], &[2, 1 << 58], &[0, 0], 0, Axes::NCHW))
        }),
        bad("many channels of nothing", &["at most 1048576", "got 200000000"], |_| {
            fails(View::<f32>::new(&[], &[0, 200_000_000], Axes::NCHW))
        }),
        bad("roles too few", &["roles", "expected 2", "got 1"], |_| {
            fails(View::new(&X, &[8, 3], Axes::Roles(&[AxisRole::Channel])))
        }),
        bad("roles without a channel", &["roles", "at least one Channel", "with 0"], |_| {
            fails(View::new(&X, &[8, 3], Axes::Roles(&[AxisRole::Sample, AxisRole::Space])))
        }),
        bad("roles of channels alone", &["channel_axes", "all 2 axes hold channels"], |_| {
            fails(View::new(&X, &[8, 3], Axes::Roles(&[AxisRole::Channel; 2])))
        }),
        bad("all axes for channels", &["channel_axes", "all 3 axes hold channels"], |_| {
            fails(View::new(&X, &[4, 2, 3], Axes::Channels(&[0, 2, 1])))
        }),
        bad("a channel axis twice", &["channel_axes", "[1, -2]", "axis 1 stands twice"], |_| {
            fails(View::new(&X, &[4, 2, 3], Axes::Channels(&[1, -2])))
        }),
        bad("no channel axis", &["channel_axes", "at least 1 of 2 axes", "got none"], |_| {
            fails(View::new(&X, &[8, 3], Axes::Channels(&[])))
        }),
        bad("one of two channel axes too large", &["channel_axis", "-3..=2", "got 3"], |_| {
            fails(View::new(&X, &[4, 2, 3], Axes::Channels(&[1, 3])))
        }),
        bad("one of two channel axes of length 0", &["axis 2", "at least 1", "got 0"], |_| {
            fails(View::<f32>::new(&[], &[4, 2, 0], Axes::Channels(&[1, 2])))
        }),
        bad("two axes of more channels than a layer may have", &["at most 268435456", "channel axes [1, 2]"], |_| {
            fails(View::with_strides(&[1.0f32], &[2, 1 << 20, 1 << 20], &[0; 3], 0, Axes::Channels(&[1, 2])))
        }),
        bad("MATLAB roles on three axes", &["roles", "expected 3", "got 4"], |_| {
            fails(View::new(&X, &[2, 4, 3], Axes::MATLAB))
        }),
        bad("column-major buffer too short", &["data", "needs 27", "got 24"], |_| {
            fails(View::column_major(&X, &[9, 3], Axes::NCHW))
        }),
        bad("strides missing", &["strides", "expected 2", "got 1"], |_| {
            fails(View::with_strides(&X, &[8, 3], &[3], 0, Axes::NCHW))
        }),
        bad("strides beyond the buffer", &["strides", "0..=24", "has 24"], |_| {
            fails(View::with_strides(&X, &[9, 3], &[2, 4], 0, Axes::NCHW))
        }),
        bad("strides before the buffer", &["strides", "-23..=0", "has 24"], |_| {
            fails(View::with_strides(&X, &[8, 3], &[-3, -1], 0, Axes::NCHW))
        }),
        bad("offset beyond the buffer", &["offset 24", "has 24"], |_| {
            fails(View::with_strides(&X, &[1, 1], &[1, 1], 24, Axes::NCHW))
        }),
        bad("strides that overflow", &["strides", "has 24"], |_| {
            fails(View::with_strides(&X, &[8, 3], &[isize::MAX, 1], 0, Axes::NCHW))
        }),
        bad("strides that overflow the other way", &["strides", "-9223372036854775808", "has 24"], |_| {
            fails(View::with_strides(&X, &[2, 3], &[isize::MIN, 1], 0, Axes::NCHW))
        }),
        bad("strides that overflow and come back", &["strides", "has 24"], |_| {
            fails(View::with_strides(&X, &[3, 3], &[isize::MIN, isize::MAX], 12, Axes::NCHW))
        }),
        bad("an offset beyond all memory", &["18446744073709551615", "has 24"], |_| {
            fails(View::with_strides(&X, &[2, 3], &[3, 1], usize::MAX, Axes::NCHW))
        }),
        bad("an offset that is one too far", &["1..=24", "has 24"], |_| {
            fails(View::with_strides(&X, &[8, 3], &[3, 1], 1, Axes::NCHW))
        }),
        bad("an offset that is one too near", &["-1..=22", "has 24"], |_| {
            fails(View::with_strides(&X, &[8, 3], &[-3, -1], 22, Axes::NCHW))
        }),
        bad("something in nothing", &["0..=0", "has 0"], |_| {
            fails(View::<f32>::with_strides(&[], &[1, 1], &[0, 0], 0, Axes::NCHW))
        }),
        bad("strides too many", &["strides", "expected 2", "got 3"], |_| {
            fails(ViewMut::with_strides(&mut { X }, &[8, 3], &[3, 1, 1], 0, Axes::NCHW))
        }),
        bad("an output that is broadcast over channels", &["strides", "place of its own", "[1, 0]"], |_| {
            fails(ViewMut::with_strides(&mut { X }, &[8, 3], &[1, 0], 0, Axes::NCHW))
        }),
        bad("output rows that overlap backwards", &["strides", "place of its own", "[-2, 1]"], |_| {
            fails(ViewMut::with_strides(&mut { X }, &[8, 3], &[-2, 1], 20, Axes::NCHW))
        }),
        bad("output axes that meet in one place", &["strides", "place of its own", "[4, 3, 2]"], |_| {
            fails(ViewMut::with_strides(&mut { X }, &[2, 3, 4], &[4, 3, 2], 0, Axes::NCHW))
        }),
        bad("output before the buffer", &["strides", "-1..=22", "has 24"], |_| {
            fails(ViewMut::with_strides(&mut { X }, &[8, 3], &[-3, 1], 20, Axes::NCHW))
        }),
        bad("output strides of zero", &["strides", "place of its own", "[0, 1]"], |_| {
            fails(ViewMut::with_strides(&mut { X }, &[8, 3], &[0, 1], 0, Axes::NCHW))
        }),
        bad("output rows that overlap", &["strides", "place of its own", "[2, 1]"], |_| {
            fails(ViewMut::with_strides(&mut { X }, &[8, 3], &[2, 1], 0, Axes::NCHW))
        }),
        bad("output too short", &["data", "needs 24", "got 23"], |_| {
            fails(ViewMut::new(&mut { X }[..23], &[8, 3], Axes::NCHW))
        }),
        bad("output beyond the buffer", &["strides", "has 20"], |_| {
            fails(ViewMut::with_strides(&mut { X }[..20], &[8, 3], &[3, 1], 0, Axes::NCHW))
        }),
    ]
}

pub fn configurations() -> Vec<Bad> {
    let built = |config: Config| -> Outcome { fails(config.build()) };
    vec![
        bad("eps NaN", &["epsilon", ">= 0", "NaN"], move |_| built(Config::pytorch().epsilon(f64::NAN))),
        bad("eps infinite", &["epsilon", "finite", "inf"], move |_| built(Config::pytorch().epsilon(f64::INFINITY))),
        bad("eps negative", &["epsilon", ">= 0", "-0.001"], move |_| built(Config::keras().epsilon(-1e-3))),
        bad("eps just negative", &["epsilon", ">= 0"], move |_| built(Config::keras().epsilon(-f64::MIN_POSITIVE))),
        bad("rule with eps NaN", &["epsilon", "NaN"], |_| fails(Config::onnx().epsilon(f64::NAN).normalizer())),
        bad("zero channels", &["channels", "1..=268435456", "got 0"], move |_| built(Config::pytorch().channels(0))),
        bad("new of zero channels", &["channels", "got 0"], |_| fails(BatchNorm::new(0))),
        bad("more channels than can be", &["channels", "1..=268435456", "got 18446744073709551615"], |_| {
            fails(BatchNorm::new(usize::MAX))
        }),
        bad("running statistics of no channel", &["channels", "got 0"], |_| fails(RunningStatistics::start(0))),
        bad("running statistics of too many channels", &["channels", "got 1152921504606846976"], |_| {
            fails(RunningStatistics::start(1 << 60))
        }),
        bad("updates of another length", &["updates", "expected 2", "got 3"], |_| {
            fails(RunningStatistics::start(2)?.with_updates(&[1, 2, 3]))
        }),
        bad("weight of new above 1", &["weight_of_new", "0..=1", "1.5"], |_| fails(UpdateWeight::of_new(1.5))),
        bad("weight of new negative", &["weight_of_new", "0..=1", "-1.2"], |_| fails(UpdateWeight::of_new(-1.2))),
        bad("weight of new NaN", &["weight_of_new", "NaN"], |_| fails(UpdateWeight::of_new(f64::NAN))),
        bad("weight of old above 1", &["weight_of_old", "0..=1", "99"], |_| fails(UpdateWeight::of_old(99.0))),
        bad("weight of old infinite", &["weight_of_old", "-inf"], |_| fails(UpdateWeight::of_old(f64::NEG_INFINITY))),
        bad("running mean empty", &["channels", "got 0"], |_| fails(RunningStatistics::from_parts::<f64>(&[], &[], 0))),
        bad("running variance of another length", &["running_variance", "expected 3", "got 2"], |_| {
            Ok(RunningStatistics::from_parts(&[0.0; 3], &[1.0; 2], 0).map(drop)?)
        }),
        bad("running mean NaN", &["running_mean[1]", "finite", "NaN"], |_| {
            Ok(RunningStatistics::from_parts(&[0.0, f64::NAN], &[1.0; 2], 0).map(drop)?)
        }),
        bad("running variance infinite", &["running_variance[0]", "finite", "inf"], |_| {
            Ok(RunningStatistics::from_parts(&[0.0f32; 2], &[f32::INFINITY, 1.0], 0).map(drop)?)
        }),
        bad("running variance negative", &["running_variance[1]", ">= 0", "-0.25"], |_| {
            Ok(RunningStatistics::from_parts(&[0.0; 2], &[1.0, -0.25], 0).map(drop)?)
        }),
        bad("gamma too short", &["gamma", "expected 3", "got 2"], |layer| fails(layer.set_gamma(&[1.0; 2]))),
        bad("gamma too long", &["gamma", "expected 3", "got 4"], |layer| fails(layer.set_gamma(&[1.0f32; 4]))),
        bad("gamma empty", &["gamma", "expected 3", "got 0"], |layer| fails(layer.set_gamma::<f64>(&[]))),
        bad("gamma NaN", &["gamma[2]", "finite", "NaN"], |layer| fails(layer.set_gamma(&[1.0, 1.0, f64::NAN]))),
        bad("beta of another length", &["beta", "expected 3", "got 1"], |layer| fails(layer.set_beta(&[0.0]))),
        bad("beta infinite", &["beta[0]", "-inf"], |layer| fails(layer.set_beta(&[f32::NEG_INFINITY, 0.0, 0.0]))),
        bad("gamma of a layer without", &["gamma", "ShiftOnly"], |_| {
            let mut other = Config::pytorch().affine(Affine::ShiftOnly).channels(3).build()?;
            fails(other.set_gamma(&[1.0; 3]))
        }),
        bad("beta of a layer without", &["beta", "Neither"], |_| {
            let mut other = Config::pytorch().affine(Affine::Neither).channels(3).build()?;
            fails(other.set_beta(&[1.0; 3]))
        }),
        bad("no gamma for a layer that knows no channels", &["channels", "got 0"], |_| {
            fails(Config::pytorch().build()?.set_gamma::<f64>(&[]))
        }),
        bad("running statistics of another length", &["running_mean", "expected 3", "got 2"], |layer| {
            fails(layer.set_running(RunningStatistics::start(2)?))
        }),
        bad("running statistics untracked", &["track_running_statistics", "expected none", "got 3"], |_| {
            let mut other = Config::pytorch().track_running_statistics(false).channels(3).build()?;
            fails(other.set_running(RunningStatistics::start(3)?))
        }),
    ]
}

pub fn calls() -> Vec<Bad> {
    let other_batch = |layer: &BatchNorm| layer.forward_train(&view(&[4, 3, 2]).unwrap()).unwrap();
    vec![
        bad("train on other channels", &["x", "expected 3 channels", "got 4", "[6, 4]", "axis 1"], |layer| {
            fails(layer.train(&view(&[6, 4])?))
        }),
        bad("train on the wrong axis", &["x", "expected 3 channels", "got 8", "axis 0"], |layer| {
            fails(layer.train(&View::new(&X, &[8, 3], Axes::Channel(0))?))
        }),
        bad("evaluate on other channels", &["x", "expected 3 channels", "got 2"], |layer| {
            fails(layer.eval(&view(&[12, 2])?))
        }),
        bad("train on one value a channel", &["x", "at least 2", "got 1", "[1, 3]"], |layer| {
            fails(layer.train(&View::new(&X[..3], &[1, 3], Axes::NCHW)?))
        }),
        bad("train on one value a channel, of any rank", &["x", "got 1", "[1, 3, 1, 1]"], |layer| {
            fails(layer.forward_train(&View::new(&X[..3], &[1, 3, 1, 1], Axes::NCHW)?))
        }),
        bad("an output without end", &["x", "1152921504606846972 bytes", "[96076792050570581, 3]"], |layer| {
            let shape = [96_076_792_050_570_581, 3];
            fails(layer.forward_train(&View::with_strides(&[1.0f32], &shape, &[0, 0], 0, Axes::NCHW)?))
        }),
        bad("output of another shape", &["y", "expected the shape [4, 3, 2]", "got [2, 3, 4]"], |layer| {
            let mut y = [0.0; 24];
            let mut out = ViewMut::new(&mut y, &[2, 3, 4], Axes::NCHW)?;
            fails(layer.train_into(&view(&[4, 3, 2])?, &mut out))
        }),
        bad("output of another shape in evaluation", &["y", "expected the shape [8, 3]", "got [2, 3, 4]"], |layer| {
            let mut y = [0.0; 24];
            let mut out = ViewMut::new(&mut y, &[2, 3, 4], Axes::NCHW)?;
            fails(layer.eval_into(&view(&[8, 3])?, &mut out))
        }),
        bad("output of other channels", &["y", "[8, 3]", "[3, 8]"], |layer| {
            let mut y = [0.0; 24];
            let mut out = ViewMut::new(&mut y, &[8, 3], Axes::Channel(0))?;
            fails(layer.forward_train_into(&view(&[8, 3])?, &mut out))
        }),
        bad("gradient of another shape", &["dy", "expected the shape [4, 3, 2]", "got [8, 3]"], move |layer| {
            let trained = other_batch(layer);
            fails(layer.backward(&view(&[4, 3, 2])?, &view(&[8, 3])?, &trained.saved))
        }),
        bad("gradient buffer of another shape", &["dx", "expected the shape [4, 3, 2]", "got [8, 3]"], move |layer| {
            let trained = other_batch(layer);
            let mut dx = [0.0; 24];
            let mut out = ViewMut::new(&mut dx, &[8, 3], Axes::NCHW)?;
            let x = view(&[4, 3, 2])?;
            fails(layer.backward_into(&x, &x, &trained.saved, &mut out))
        }),
        bad("backward on another batch", &["x", "had 8", "got 7"], move |layer| {
            let trained = other_batch(layer);
            let x = View::new(&X[..21], &[7, 3], Axes::NCHW)?;
            fails(layer.backward(&x, &x, &trained.saved))
        }),
        bad("backward on other channels", &["x", "expected 3 channels", "got 2"], move |layer| {
            let trained = other_batch(layer);
            let x = view(&[12, 2])?;
            fails(layer.backward(&x, &x, &trained.saved))
        }),
        bad("backward of another layer's pass", &["x", "expected 2 channels", "got 3"], |layer| {
            let trained = BatchNorm::new(2)?.forward_train(&view(&[12, 2])?)?;
            let x = View::new(&X, &[8, 3], Axes::NCHW)?;
            fails(layer.backward(&x, &x, &trained.saved))
        }),
        bad("commit of other channels", &["batch", "expected 3", "got 2"], |layer| {
            let batch = BatchNorm::new(2)?.forward_train(&view(&[12, 2])?)?.batch;
            fails(layer.commit(&batch))
        }),
        bad("update by other channels", &["batch", "expected 3", "got 2"], |layer| {
            let batch = BatchNorm::new(2)?.forward_train(&view(&[12, 2])?)?.batch;
            fails(RunningStatistics::start(3)?.update(&batch, layer.config()))
        }),
        bad("one value and no running statistics to use", &["running statistics", "UseRunning"], |_| {
            let policies = Policies { single_value: SingleValue::UseRunning, ..Policies::default() };
            let mut other = Config::pytorch().track_running_statistics(false).policies(policies).build()?;
            fails(other.train(&View::new(&X[..3], &[1, 3], Axes::NCHW)?))
        }),
        bad("caller's gamma of another length", &["gamma", "expected 3", "got 2"], |_| {
            let parameters = Parameters { gamma: Some(&[1.0f32; 2]), beta: None };
            let mut y = [0.0; 24];
            let mut out = ViewMut::new(&mut y, &[8, 3], Axes::NCHW)?;
            fails(Config::pytorch().normalizer()?.train(&view(&[8, 3])?, parameters, None, &mut out))
        }),
        bad("caller's beta of another length", &["beta", "expected 3", "got 4"], |_| {
            let parameters = Parameters { gamma: None, beta: Some(&[1.0f64; 4]) };
            let mut y = [0.0; 24];
            let mut out = ViewMut::new(&mut y, &[8, 3], Axes::NCHW)?;
            fails(Config::pytorch().normalizer()?.train(&view(&[8, 3])?, parameters, None, &mut out))
        }),
        bad("caller's statistics of another length", &["running_mean", "expected 3", "got 5"], |_| {
            let parameters = Parameters::<f32> { gamma: None, beta: None };
            let mut y = [0.0; 24];
            let mut out = ViewMut::new(&mut y, &[8, 3], Axes::NCHW)?;
            let running = RunningStatistics::start(5)?;
            fails(Config::pytorch().normalizer()?.eval(&view(&[8, 3])?, parameters, Some(&running), &mut out))
        }),
        bad("evaluation of a layer that saw nothing", &["running statistics", "expected some", "got none"], |_| {
            fails(Config::pytorch().build()?.eval(&view(&[8, 3])?))
        }),
        bad("evaluation of a layer that keeps none", &["running statistics", "got none"], |_| {
            let other = Config::pytorch().track_running_statistics(false).channels(3).build()?;
            fails(other.eval(&view(&[8, 3])?))
        }),
    ]
}

#[test]
fn at_least_sixty_bad_calls_are_typed_errors_and_change_nothing() {
    let count =
        [views(), configurations(), calls()].into_iter().map(|part| check(part, Policies::default())).sum::<usize>();
    println!("{count} bad calls");
    assert!(count >= 60);
}

#[test]
fn what_stricter_policies_refuse() {
    let strict = Policies {
        single_value: SingleValue::Error,
        empty_batch: EmptyBatch::Error,
        non_finite: NonFinite::Error,
        ..Policies::default()
    };
    let dirty = |value: f32| {
        let mut x = X;
        x[4] = value;
        x
    };
    let train =
        |layer: &mut BatchNorm, x: &[f32]| -> Outcome { fails(layer.train(&View::new(x, &[8, 3], Axes::NCHW)?)) };
    let catalogue = vec![
        bad("an empty batch", &["x", "at least 2", "got 0"], |layer| {
            fails(layer.train(&View::<f32>::new(&[], &[0, 3], Axes::NCHW)?))
        }),
        bad("NaN", &["x", "1 channel(s)", "channel 1"], move |layer| train(layer, &dirty(f32::NAN))),
        bad("infinity", &["x", "1 channel(s)", "channel 1"], move |layer| train(layer, &dirty(f32::INFINITY))),
    ];
    check(catalogue, strict);
}

#[test]
fn a_failed_call_leaves_the_caller_s_buffer_untouched() {
    let layer = layer(Policies::default());
    let x = view(&[8, 3]).unwrap();
    let other = view(&[4, 3, 2]).unwrap();
    let saved = layer.forward_train(&x).unwrap().saved;
    let one = View::new(&X[..3], &[1, 3], Axes::NCHW).unwrap();
    let mut buffer = [-7.0f32; 24];
    let mut out = ViewMut::new(&mut buffer, &[4, 3, 2], Axes::NCHW).unwrap();
    assert!(layer.forward_train_into(&x, &mut out).is_err());
    assert!(layer.eval_into(&x, &mut out).is_err());
    assert!(layer.backward_into(&x, &x, &saved, &mut out).is_err());
    assert!(layer.backward_into(&other, &x, &saved, &mut out).is_err());
    assert!(layer.backward_into(&one, &one, &saved, &mut out).is_err());
    let mut three = [-7.0f32; 3];
    assert!(layer.forward_train_into(&one, &mut ViewMut::new(&mut three, &[1, 3], Axes::NCHW).unwrap()).is_err());
    assert!(buffer.iter().chain(&three).all(|&value| value == -7.0));
}

#[test]
fn a_tier_this_machine_lacks_is_an_error() {
    for tier in [Tier::Baseline, Tier::Avx2, Tier::Avx512] {
        let built = Config::pytorch().channels(1).tier(tier).build();
        if Tier::available().contains(&tier) {
            assert!(built.is_ok());
        } else {
            assert!(matches!(built, Err(ConfigError::Tier { got, .. }) if got == tier));
        }
    }
    let error = ConfigError::Tier { got: Tier::Avx512, available: vec![Tier::Baseline] };
    assert!(error.to_string().contains("[Baseline]") && error.to_string().contains("Avx512"));
}
