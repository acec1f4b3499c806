//! Masks and weights: padding, policies, switches, and what is refused.

use crate::support::Random;
use batchnorm::{
    Axes, BatchNorm, CallError, Config, EmptyBatch, Input, NormalizeBy, Policies, RunningStatistics, SingleValue,
    Switches, UpdateWeight, View, Weights, WeightsError,
};

fn column(data: &[f64]) -> View<'_, f64> {
    View::new(data, &[data.len(), 1], Axes::NCHW).expect("a column")
}

fn layer() -> BatchNorm {
    Config::pytorch().channels(1).build().expect("a layer")
}

/// pytorch 70529 and keras 14281: there padding goes into the statistics.
#[test]
fn padding_does_not_pollute_statistics() {
    let data = [3.0, 5.0, 4.0, 8.0];
    let mut padded = data.to_vec();
    padded.extend([0.0; 6]);
    let mask: Vec<bool> = (0..10).map(|i| i < 4).collect();
    let mask = Weights::mask(&mask, &[10, 1]).expect("a mask");
    let (mut plain, mut masked) = (layer(), layer());
    let expected = plain.train(&column(&data)).expect("a right call");
    let got = masked.train(Input::weighted(&column(&padded), &mask)).expect("a right call");
    assert_eq!(plain.running(), masked.running(), "mean, sample variance and count");
    assert_eq!(got.y.data()[..4], *expected.y.data());
    assert_eq!(got.y.data()[4..], [0.0; 6]);
    // In use as in training: what is masked is 0, and not looked at.
    padded[7] = f64::INFINITY;
    let used = masked.eval(Input::weighted(&column(&padded), &mask)).expect("a right call");
    assert_eq!(used.y.data()[..4], *plain.eval(&column(&data)).expect("a right call").y.data());
    assert_eq!(used.y.data()[4..], [0.0; 6]);
    let dy = vec![1.0; 10];
    let gradients =
        masked.backward(Input::weighted(&column(&padded), &mask), &column(&dy), &used.saved).expect("a right call");
    assert_eq!((gradients.dbeta.clone(), gradients.dx.data()[4..].to_vec()), (Some(vec![4.0]), vec![0.0; 6]));
    let by_data = plain.eval(&column(&data)).expect("a right call");
    let expected = plain.backward(&column(&data), &column(&dy[..4]), &by_data.saved).expect("a right call");
    assert_eq!((&gradients.dx.data()[..4], gradients.dgamma), (expected.dx.data(), expected.dgamma));
}

fn with(single_value: SingleValue, empty_batch: EmptyBatch) -> BatchNorm {
    let policies = Policies { single_value, empty_batch, ..Policies::default() };
    let mut layer = Config::pytorch().channels(2).policies(policies).build().expect("a layer");
    let running = RunningStatistics::from_parts(&[1.0, 2.0], &[4.0, 9.0], 3).expect("statistics");
    layer.set_running(running).expect("two channels");
    layer.set_beta(&[0.5, -0.5]).expect("two");
    layer
}

#[test]
fn all_masked_and_one_value_left_go_by_the_declared_policies() {
    let x = [3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let x = View::new(&x, &[3, 2], Axes::NCHW).expect("an array");
    let nothing = Weights::mask(&[false], &[1, 1]).expect("a mask");
    let one = Weights::mask(&[false, true, false], &[3, 1]).expect("a mask");
    // Two values of the first channel, none of the second.
    let uneven = Weights::mask(&[true, false, true, false, false, false], &[3, 2]).expect("a mask");
    let before = with(SingleValue::Error, EmptyBatch::Pass);

    let mut layer = before.clone();
    let trained = layer.train(Input::weighted(&x, &nothing)).expect("passes");
    assert_eq!((trained.y.data(), layer.running()), (&[0.0; 6][..], before.running()));
    let gradients = layer.backward(Input::weighted(&x, &nothing), &x, &trained.saved).expect("zeros");
    assert_eq!((gradients.dx.data(), gradients.dgamma), (&[0.0; 6][..], Some(vec![0.0; 2])));

    let error = layer.train(Input::weighted(&x, &one)).unwrap_err();
    assert_eq!(error, CallError::SingleWeighted { channel: 0, count: 1, weight: 1.0 });
    assert_eq!(layer.running(), before.running());
    let light = [0.3];
    let light = Weights::new(&light, &[1, 1]).expect("weights");
    let error = layer.train(Input::weighted(&x, &light)).unwrap_err();
    assert!(matches!(error, CallError::SingleWeighted { channel: 0, count: 3, .. }), "{error}");
    assert!(error.to_string().contains("scale the weights to sum up to the number of values"), "{error}");

    let mut layer = before.clone();
    let trained = layer.train(Input::weighted(&x, &uneven)).expect("what is there is enough");
    assert_eq!(trained.y.data()[1], 0.0);
    let (running, old) = (layer.running().expect("tracked"), before.running().expect("tracked"));
    assert_eq!((running.mean()[1], running.updates()), (old.mean()[1], &[4, 3][..]));
    let gradients = layer.backward(Input::weighted(&x, &uneven), &x, &trained.saved).expect("a right call");
    assert!(gradients.dx.data().iter().all(|dx: &f64| dx.is_finite()));

    let mut strict = with(SingleValue::Error, EmptyBatch::Error);
    let error = strict.train(Input::weighted(&x, &uneven)).unwrap_err();
    assert_eq!(error, CallError::AllMasked { channel: 1 });
    assert_eq!(strict.running(), before.running());

    let error = with(SingleValue::UseRunning, EmptyBatch::Error).train(Input::weighted(&x, &uneven)).unwrap_err();
    assert_eq!(error, CallError::AllMasked { channel: 1 });

    let mut running = with(SingleValue::UseRunning, EmptyBatch::Pass);
    let got = running.train(Input::weighted(&x, &one)).expect("by the running statistics").y;
    assert_eq!(got, running.eval(Input::weighted(&x, &one)).expect("a right call").y);
    assert_eq!(running.running(), before.running());

    for (policy, updates) in [(SingleValue::Population, 4), (SingleValue::SkipUpdate, 3)] {
        let mut layer = with(policy, EmptyBatch::Pass);
        let y = layer.train(Input::weighted(&x, &one)).expect("a right call").y;
        assert_eq!(y.data(), [0.0, 0.0, 0.5, -0.5, 0.0, 0.0]);
        assert_eq!(layer.running().expect("tracked").updates(), [updates; 2]);
    }
}

/// A value of weight 2 is the value twice: a constant channel, which is no single value.
#[test]
fn one_value_of_weight_two_is_two_equal_values() {
    let (x, dy) = ([9.0, 5.0, 3.0, 8.0, 7.0, 1.0], [1.0, 0.5, -1.0, 2.0, 3.0, 0.25]);
    let (x, dy) = (View::new(&x, &[3, 2], Axes::NCHW), View::new(&dy, &[3, 2], Axes::NCHW));
    let (x, dy) = (x.expect("an array"), dy.expect("an array"));
    // Channel 0 has 3 and 7 once each, channel 1 has 5 twice.
    let alone = [0.0, 2.0, 1.0, 0.0, 1.0, 0.0];
    let alone = Weights::new(&alone, &[3, 2]).expect("weights");
    let mut layer = with(SingleValue::Error, EmptyBatch::Error);
    let mut twice = layer.clone();
    let trained = layer.train(Input::weighted(&x, &alone)).expect("two equal values");
    let repeated = [3.0, 5.0, 7.0, 5.0];
    let repeated = View::new(&repeated, &[2, 2], Axes::NCHW).expect("an array");
    let expected = twice.train(&repeated).expect("a batch");
    assert_eq!((trained.y.data()[1], trained.y.data()[2]), (expected.y.data()[1], expected.y.data()[0]));
    assert_eq!(layer.running(), twice.running());
    let gradients = layer.backward(Input::weighted(&x, &alone), &dy, &trained.saved).expect("a right call");
    assert!(gradients.dx.data().iter().skip(1).step_by(2).all(|dx| *dx == 0.0), "a constant channel");
}

#[test]
fn switches_take_weights() {
    let mut random = Random::new(1206);
    let x = random.normals(12, 2.0, 1.0);
    let view = View::new(&x, &[6, 2], Axes::NCHW).expect("an array");
    let weights = Weights::mask(&[true, true, false, true, true, false], &[6, 1]).expect("a mask");
    let kept: Vec<f64> = [0, 1, 3, 4].iter().flat_map(|&i| x[2 * i..2 * i + 2].to_vec()).collect();
    let kept = View::new(&kept, &[4, 2], Axes::NCHW).expect("an array");
    let mix = NormalizeBy::Mix(UpdateWeight::of_new(0.3).expect("a weight"));
    for normalize_by in [NormalizeBy::Batch, NormalizeBy::Running, mix] {
        let switches = Switches { normalize_by, ..Switches::train() };
        let (mut one, mut other) =
            (with(SingleValue::Error, EmptyBatch::Pass), with(SingleValue::Error, EmptyBatch::Pass));
        let got = one.forward(Input::weighted(&view, &weights), switches).expect("a right call");
        let expected = other.forward(&kept, switches).expect("a right call");
        let rows: Vec<f64> = [0, 1, 3, 4].iter().flat_map(|&i| got.y.data()[2 * i..2 * i + 2].to_vec()).collect();
        for (got, expected) in rows.iter().zip(expected.y.data()) {
            assert!((got - expected).abs() < 1e-14, "{normalize_by:?}");
        }
        let variance = |layer: &BatchNorm| layer.running().expect("tracked").variance().to_vec();
        for (got, expected) in variance(&one).iter().zip(variance(&other)) {
            assert!((got / expected - 1.0).abs() < 1e-14, "{normalize_by:?}");
        }
    }
}

#[test]
fn wrong_weights_are_named_and_nothing_is_written() {
    let bad = |weight: f64| Weights::new(&[1.0, weight], &[2, 1]).map(drop).unwrap_err();
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        let WeightsError::NoWeight { at: 1, got } = bad(weight) else { panic!("{weight}") };
        assert_eq!(got.to_bits(), weight.to_bits());
    }
    assert!(matches!(Weights::new(&[1.0f32], &[2, 1]), Err(WeightsError::Layout(_))));
    assert!(Weights::<f32>::mask(&[true], &[usize::MAX, 3]).is_err());

    let mut layer = layer();
    let x = [1.0, 2.0, 4.0];
    for shape in [&[2, 1][..], &[1], &[1, 2], &[3, 1, 1], &[0, 1]] {
        let values = vec![1.0; shape.iter().product()];
        let weights = Weights::new(&values, shape).expect("weights");
        let error = layer.train(Input::weighted(&column(&x), &weights)).unwrap_err();
        assert_eq!(error, CallError::WeightsShape { expected: vec![3, 1], got: shape.to_vec() });
        assert_eq!(layer.running().expect("tracked").batches(), 0);
    }
    // Each pass has its own backward pass.
    let weights = Weights::mask(&[true], &[1, 1]).expect("a mask");
    let weighted = layer.train(Input::weighted(&column(&x), &weights)).expect("a right call").saved;
    let error = layer.backward(&column(&x), &column(&x), &weighted).unwrap_err();
    assert_eq!(error, CallError::OtherInput { forward: "with weights", input: "Input::weighted(&x, &weights)" });
    let plain = layer.train(&column(&x)).expect("a right call").saved;
    let error = layer.backward(Input::weighted(&column(&x), &weights), &column(&x), &plain).unwrap_err();
    assert!(matches!(error, CallError::OtherInput { input: "&x", .. }));
}

#[test]
fn an_empty_array_with_weights_is_an_empty_batch() {
    let none: [f64; 0] = [];
    let x = View::new(&none, &[0, 2], Axes::NCHW).expect("an empty array");
    let weights = Weights::mask(&[true], &[1, 1]).expect("a mask");
    let mut layer = with(SingleValue::Error, EmptyBatch::Pass);
    let trained = layer.train(Input::weighted(&x, &weights)).expect("passes");
    let gradients = layer.backward(Input::weighted(&x, &weights), &x, &trained.saved).expect("zeros");
    assert_eq!((gradients.dgamma, layer.running().expect("tracked").batches()), (Some(vec![0.0; 2]), 3));
}

#[test]
fn an_infinite_value_is_no_matter_to_constants() {
    // dx as without weights.
    let layer = with(SingleValue::Error, EmptyBatch::Pass);
    let x = [f64::INFINITY, 2.0, 3.0, 4.0];
    let view = View::new(&x, &[2, 2], Axes::NCHW).expect("an array");
    let ones = Weights::mask(&[true], &[1, 1]).expect("a mask");
    let (plain, weighted) =
        (layer.eval(&view).expect("a right call"), layer.eval(Input::weighted(&view, &ones)).expect("a right call"));
    let dy = View::new(&[1.0; 4], &[2, 2], Axes::NCHW).expect("an array");
    let expected = layer.backward(&view, &dy, &plain.saved).expect("a right call").dx;
    assert_eq!(layer.backward(Input::weighted(&view, &ones), &dy, &weighted.saved).expect("a right call").dx, expected);
}
