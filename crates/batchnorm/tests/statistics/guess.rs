//! Whose names these are, and what their numbers become in another framework's hands.

use crate::support::Random;
use batchnorm::{Convention, ConventionError, Conversion, Difference, Entry, UpdateWeight};

/// The conventions that have all these names.
fn fitting(keys: &[&str]) -> Vec<Convention> {
    Convention::guess(keys.iter().copied()).expect("somebody's names").fitting().to_vec()
}

#[test]
fn keys_tell_their_convention() {
    use Convention::{Burn, Flax, Gluon, Haiku, Keras, MindSpore, Onnx, Paddle, PyTorch};
    let cases: [(&[&str], &[Convention]); 24] = [
        (&["layer1.0.bn1.weight", "layer1.0.bn1.running_mean", "layer1.0.bn1.running_var"], &[PyTorch]),
        (&["running_mean", "running_var", "num_batches_tracked"], &[PyTorch]),
        (&["running_mean", "running_var"], &[PyTorch, Burn, Gluon]),
        (&["weight", "bias"], &[PyTorch, Paddle]),
        (&["bn/gamma:0", "bn/beta:0", "bn/moving_mean:0", "bn/moving_variance:0"], &[Keras]),
        (&["bn1.gamma", "bn1.beta", "bn1.moving_mean", "bn1.moving_variance"], &[Keras, MindSpore]),
        (&["moving_mean", "moving_variance"], &[Keras, MindSpore]),
        (&["bn/vars/0", "bn/vars/1", "bn/vars/2", "bn/vars/3"], &[Keras]),
        (&["layers/batch_normalization/vars/0", "layers/batch_normalization/vars/1"], &[Keras]),
        (
            &[
                "params/BatchNorm_0/scale",
                "params/BatchNorm_0/bias",
                "batch_stats/BatchNorm_0/mean",
                "batch_stats/BatchNorm_0/var",
            ],
            &[Flax],
        ),
        (&["scale", "bias", "mean", "var"], &[Flax]),
        (&["mean", "scale", "var"], &[Flax, Onnx]),
        (&["batch_stats/norm/mean", "batch_stats/norm/var"], &[Flax]),
        (&["scale", "B", "input_mean", "input_var"], &[Onnx]),
        (&["scale", "B", "mean", "var"], &[Onnx]),
        (&["norm.gamma", "norm.beta", "norm.running_mean", "norm.running_var"], &[Burn, Gluon]),
        (&["gamma", "beta", "moving_mean", "moving_var"], &[Gluon]),
        (&["aux:bn0_moving_mean", "aux:bn0_moving_var", "arg:bn0_gamma", "arg:bn0_beta"], &[Gluon]),
        (&["batchnorm0_gamma", "batchnorm0_beta", "batchnorm0_running_mean", "batchnorm0_running_var"], &[Gluon]),
        (&["bn1.weight", "bn1.bias", "bn1._mean", "bn1._variance"], &[Paddle]),
        (&["batch_norm2d_0.w_0", "batch_norm2d_0.b_0", "batch_norm2d_0.w_1", "batch_norm2d_0.w_2"], &[Paddle]),
        (
            &[
                "net/~/batch_norm/scale",
                "net/~/batch_norm/offset",
                "net/~/batch_norm/~/mean_ema/average",
                "net/~/batch_norm/~/mean_ema/counter",
                "net/~/batch_norm/~/mean_ema/hidden",
                "net/~/batch_norm/~/var_ema/average",
                "net/~/batch_norm/~/var_ema/counter",
                "net/~/batch_norm/~/var_ema/hidden",
            ],
            &[Haiku],
        ),
        (&["scale", "offset"], &[Haiku]),
        (&["scales", "biases", "rolling_mean", "rolling_variance"], &[Convention::Darknet]),
    ];
    for (keys, conventions) in cases {
        assert_eq!(fitting(keys), conventions, "{keys:?}");
        println!("{}", Convention::guess(keys.iter().copied()).expect("somebody's"));
    }
    for convention in Convention::ALL {
        let keys = convention.keys();
        let of = |key: &str| convention.entry(&format!("some.path.{key}"));
        let names = [keys.gamma, keys.beta, keys.running_mean, keys.running_variance];
        let all = [Entry::Gamma, Entry::Beta, Entry::RunningMean, Entry::RunningVariance].map(Some);
        assert_eq!((names.map(of), of("kernel")), (all, None));
        assert_eq!(keys.batches.map(of), keys.batches.map(|_| Some(Entry::Batches)));
        assert!(fitting(&names).contains(&convention));
    }
}

#[test]
fn several_that_fit_are_named_with_what_tells_them_apart() {
    for keys in [&["gamma", "beta", "moving_mean", "moving_variance"][..], &["running_mean", "running_var"]] {
        let guess = Convention::guess(keys.iter().copied()).expect("somebody's");
        let error = guess.clone().one().expect_err("several fit");
        let message = error.to_string();
        println!("{message}");
        assert_eq!(error, ConventionError::Ambiguous(guess.clone()));
        assert!(keys.iter().all(|key| message.contains(key)), "{message}");
        for convention in guess.fitting() {
            let name = convention.to_string();
            let said = message.split(['?', ';', ':']).filter(|part| part.trim().starts_with(&name)).collect::<Vec<_>>();
            assert!(said.iter().any(|part| part.contains("file") && part.contains("eps")), "{name}: {message}");
        }
    }
    let message = Convention::guess(["gamma", "moving_mean", "moving_variance"]).expect("two").to_string();
    for part in ["eps 1e-3", "0.99 as the weight of the old value", "population", ".ckpt", "eps 1e-5", "sample"] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
}

#[test]
fn the_order_of_numbered_variables_is_said() {
    let order = |count: usize| {
        let keys: Vec<String> = (0..count).map(|index| format!("bn/vars/{index}")).collect();
        Convention::guess(keys.iter().map(String::as_str)).expect("Keras").order().expect("numbered")
    };
    let four: Vec<_> = (0..5).map(|index| Convention::Keras.entry(&format!("bn/vars/{index}"))).collect();
    let all = [Entry::Gamma, Entry::Beta, Entry::RunningMean, Entry::RunningVariance].map(Some);
    assert_eq!((&four[..4], four[4]), (&all[..], None));
    assert!(order(4).contains("vars/3 moving_variance"));
    assert!(order(3).contains("gamma or beta") && order(3).contains("vars/2 moving_variance"));
    assert!(order(2).contains("vars/0 is moving_mean"));
    assert_eq!(Convention::guess(["gamma"]).expect("somebody's").order(), None);
}

#[test]
fn keys_that_nobody_has_together_are_errors_that_list_what_was_seen() {
    let guess = |keys: &[&str]| Convention::guess(keys.iter().copied()).unwrap_err();
    assert_eq!(guess(&[]), ConventionError::NoKeys);
    // A whole network of Burn's has the names of its linear layers among them.
    for (keys, unknown) in [
        (&["norm.gamma", "norm.beta", "norm.running_mean", "norm.running_var", "linear.weight"][..], "weight"),
        (&["weight", "bias", "running_mean", "running_variance"], "running_variance"),
        (&["kernel"], "kernel"),
        (&["gamma", "beta", "moving_mean", "moving_deviation"], "moving_deviation"),
    ] {
        let error = guess(keys);
        println!("{error}");
        assert!(matches!(&error, ConventionError::Unknown { unknown: found, .. } if *found == [unknown]), "{error:?}");
        assert!(keys.iter().all(|key| error.to_string().contains(key.rsplit('.').next().expect("a name"))));
    }
}

/// A count that is too small for the variance beside it is said, and nothing is computed by it.
#[test]
fn a_count_that_cannot_belong_to_the_statistics_is_said_and_not_used() {
    let said = |conversion: Conversion, mean: f64, variance: f64, batches: u64| {
        let converted = conversion.statistics(&[0.0, mean], &[2.0, variance], Some(batches)).expect("right");
        let sentence = converted.note(Difference::Batches).map(ToString::to_string).unwrap_or_default();
        println!("{sentence}");
        (converted, sentence)
    };
    let to_keras = || Conversion::new(Convention::PyTorch, Convention::Keras).values(8);
    // 10 updates by 0.1 leave 0.35 of the start value 1.
    let (converted, sentence) = said(to_keras(), 0.5, 0.1, 10);
    for part in ["num_batches_tracked, 10", "10 updates by 0.1", "3.49e-1", "channel 1 has 0.1", "not used"] {
        assert!(sentence.contains(part), "{sentence} lacks {part}");
    }
    let without = to_keras().statistics(&[0.0, 0.5], &[2.0, 0.1], None).expect("right");
    assert_eq!((converted.variance, converted.batches), (without.variance, None));
    // Where it is kept, too, and where nothing is converted.
    let same = || Conversion::new(Convention::PyTorch, Convention::PyTorch);
    let (converted, sentence) = said(same(), 0.5, 0.1, 10);
    assert_eq!((converted.batches, sentence.contains("cannot belong")), (None, true));
    assert_eq!(converted.running().expect("right").batches(), 0);
    let (converted, sentence) = said(same(), 0.5, 0.1, 0);
    assert_eq!((converted.batches, sentence.contains("have left their start (channel 0")), (None, true));
    // With the update weight of the training it may belong.
    let half = UpdateWeight::of_new(0.5).expect("a weight");
    let (converted, sentence) = said(same().averaging(half), 0.5, 0.1, 10);
    assert_eq!((converted.batches, sentence.as_str()), (Some(10), ""));
    assert_eq!(said(same(), 0.5, 0.35, 10).0.batches, Some(10));
    // The number of updates that the caller gives stands.
    assert_eq!(said(to_keras().updates(5000), 0.5, 0.1, 10).0.variance, [2.0 * 7.0 / 8.0, 0.1 * 7.0 / 8.0]);
}

/// Darknet divides by sqrt(variance) + 1e-6; every other convention by sqrt(variance + eps).
#[test]
fn darknets_eps_outside_the_root_is_converted_exactly() {
    let mut random = Random::new(1310);
    let mut variance: Vec<f64> = (0..40).map(|power| 10f64.powi(power / 2 - 14) * (0.5 + random.uniform())).collect();
    variance.push(0.0);
    let mean = vec![0.25; variance.len()];
    for to in Convention::ALL.into_iter().filter(|&to| to != Convention::Darknet) {
        let there = Conversion::new(Convention::Darknet, to).statistics(&mean, &variance, None).expect("right");
        let eps = there.config.epsilon;
        for (&ours, &theirs) in there.variance.iter().zip(&variance) {
            let (divisor, expected) = ((ours + eps).sqrt(), theirs.sqrt() + 1e-6);
            assert!((divisor / expected - 1.0).abs() < 1e-15, "{to}: {divisor:e} for {expected:e}");
        }
        let note = there.note(Difference::Epsilon).expect("said").to_string();
        assert!(note.contains("outside the root") && note.contains("1e-12"), "{note}");
        let back = Conversion::new(to, Convention::Darknet).epsilon(eps);
        let back = back.statistics(&there.mean, &there.variance, None).expect("right");
        for (back, variance) in back.variance.iter().zip(&variance) {
            assert!(
                (back.sqrt() - variance.sqrt()).abs() <= 1e-15 * (variance.sqrt() + 1e-6) * 4.0,
                "{back} {variance}"
            );
        }
    }
    // Its averages start at 0: nothing of a start is in them.
    let conversion = Conversion::new(Convention::Darknet, Convention::Darknet).updates(1);
    assert_eq!(conversion.statistics(&[0.0], &[0.01], None).expect("right").variance, [0.01]);
}
