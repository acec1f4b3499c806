//! `batchnorm gradcheck`: our own layers, and somebody else's gradients, through files.

#[path = "support/arrays.rs"]
mod arrays;
mod support;

use arrays::Folder;
use batchnorm_io::npy::Number;
use half::f16;
use serde_json::Value;
use support::{done, expect_documented, refused, run, text};

fn gradcheck(folder: &Folder, arguments: &[&str]) -> std::process::Output {
    run(folder.0.path(), &[&["gradcheck"], arguments].concat())
}

fn json(folder: &Folder, arguments: &[&str]) -> (Value, i32) {
    let output = gradcheck(folder, &[arguments, &["--json"]].concat());
    let value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr)));
    expect_documented(&value);
    (value, output.status.code().expect("it ended"))
}

/// Seeded numbers around a mean (SplitMix64, sums of four).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normals(&mut self, len: usize, mean: f64) -> Vec<f64> {
        (0..len).map(|_| mean + (0..4).map(|_| self.next() - 0.5).sum::<f64>() * 1.7).collect()
    }
}

/// What somebody does in the backward pass of NCHW arrays (samples, channels, positions).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Somebody {
    Right,
    WithoutVariance,
    WithoutMean,
    Constants,
    EpsOutside,
    SampleVariance,
    SumsForMeans,
    ParametersAsMeans,
}

const SHAPE: [usize; 3] = [6, 3, 5];
const EPSILON: f64 = 1e-3;

/// dx, dgamma and dbeta.
fn theirs(x: &[f64], dy: &[f64], gamma: &[f64], how: Somebody) -> [Vec<f64>; 3] {
    let [samples, channels, positions] = SHAPE;
    let n = (samples * positions) as f64;
    let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; x.len()], vec![], vec![]);
    for (c, gamma) in gamma.iter().enumerate() {
        let at = |i: usize| (i / positions * channels + c) * positions + i % positions;
        let values = || (0..samples * positions).map(at);
        let mean = values().map(|at| x[at]).sum::<f64>() / n;
        let squares = values().map(|at| (x[at] - mean).powi(2)).sum::<f64>();
        let variance = squares / if how == Somebody::SampleVariance { n - 1.0 } else { n };
        let r = match how {
            Somebody::EpsOutside => 1.0 / (variance.sqrt() + EPSILON),
            _ => 1.0 / (variance + EPSILON).sqrt(),
        };
        let sum = values().map(|at| dy[at]).sum::<f64>();
        let products = values().map(|at| dy[at] * (x[at] - mean) * r).sum::<f64>();
        let [of_mean, of_variance] = match how {
            Somebody::WithoutVariance => [1.0 / n, 0.0],
            Somebody::WithoutMean => [0.0, 1.0 / n],
            Somebody::Constants => [0.0, 0.0],
            Somebody::SumsForMeans => [1.0, 1.0],
            _ => [1.0 / n; 2],
        };
        for at in values() {
            dx[at] = gamma * r * (dy[at] - sum * of_mean - (x[at] - mean) * r * products * of_variance);
        }
        let divisor = if how == Somebody::ParametersAsMeans { n } else { 1.0 };
        dgamma.push(products / divisor);
        dbeta.push(sum / divisor);
    }
    [dx, dgamma, dbeta]
}

struct Case {
    folder: Folder,
    x: Vec<f64>,
    dy: Vec<f64>,
    gamma: Vec<f64>,
}

impl Case {
    fn new(seed: u64) -> Case {
        let mut random = Random(seed);
        let single = |values: Vec<f64>| values.into_iter().map(|value| f64::from(value as f32)).collect::<Vec<f64>>();
        let (x, dy) = (single(random.normals(90, 0.7)), single(random.normals(90, 0.3)));
        let case = Case { folder: Folder::new(), x, dy, gamma: vec![1.5, 0.75, -2.0] };
        case.folder.save("gamma.npy", &[3], &case.gamma);
        std::fs::create_dir(case.folder.path("theirs")).unwrap();
        case
    }

    fn inputs<T: Number + batchnorm::Element>(&self) {
        let of = |values: &[f64]| values.iter().map(|&value| T::from_f64(value)).collect::<Vec<T>>();
        self.folder.save("x.npy", &SHAPE, &of(&self.x));
        self.folder.save("dy.npy", &SHAPE, &of(&self.dy));
    }

    fn save<T: Number + batchnorm::Element>(&self, how: Somebody) {
        let of = |values: &[f64]| values.iter().map(|&value| T::from_f64(value)).collect::<Vec<T>>();
        let [dx, dgamma, dbeta] = theirs(&self.x, &self.dy, &self.gamma, how);
        self.folder.save("theirs/dx.npy", &SHAPE, &of(&dx));
        self.folder.save("theirs/dgamma.npy", &[3], &of(&dgamma));
        // As with keepdims.
        self.folder.save("theirs/dbeta.npy", &[1, 3, 1], &of(&dbeta));
    }

    fn judged(&self, more: &[&str]) -> (Value, i32) {
        json(&self.folder, &[&AGAINST[..], more].concat())
    }
}

const AGAINST: [&str; 10] =
    ["--input", "x.npy", "--gradient", "dy.npy", "--gamma", "gamma.npy", "--epsilon", "1e-3", "--against", "theirs"];

fn names(gradient: &Value) -> Vec<&str> {
    gradient["mistakes"].as_array().unwrap().iter().map(|mistake| mistake["name"].as_str().unwrap()).collect()
}

#[test]
fn our_layers_are_right_whatever_the_seed_and_shape() {
    let folder = Folder::new();
    for (number, shape) in ["4,6,5", "2,3", "7,4,3,2", "3,1,6", "2,2,2", "5,12"].into_iter().enumerate() {
        let (value, code) = json(&folder, &["--shape", shape, "--seed", &number.to_string(), "--epsilon", "1e-5"]);
        assert_eq!((code, &value["wrong"]), (0, &Value::from(false)), "{shape}: {value}");
        let checks = value["checks"].as_array().unwrap();
        // (Two values a channel have no covariance of four channels.)
        let fine = |check: &Value| check["holds"] == true || check["tells"] == false && check["layer"] == "whitening";
        assert!(checks.len() > 150 && checks.iter().all(fine), "{shape}");
        assert!(checks.iter().filter(|check| check["tells"] == true).count() > 150);
        // Those that the shape does not allow are named: instance norm of one position.
        let left_out = value["left_out"].as_array().unwrap();
        assert_eq!(left_out.is_empty(), shape.split(',').count() > 2, "{left_out:?}");
    }
    let table = gradcheck(&folder, &["--layer", "group", "--groups", "2", "--shape", "3,4,5"]);
    let table = done(&table);
    assert!(table.contains("group") && table.contains("checks hold") && !table.contains("WRONG"), "{table}");
}

#[test]
fn our_layers_are_right_on_given_arrays() {
    let case = Case::new(31);
    case.inputs::<f32>();
    let input = ["--input", "x.npy", "--gradient", "dy.npy"];
    let layers = |value: &Value| {
        let mut all: Vec<String> = Vec::new();
        for check in value["checks"].as_array().unwrap() {
            let layer = check["layer"].as_str().unwrap().to_owned();
            if !all.contains(&layer) {
                all.push(layer);
            }
        }
        all
    };
    let (value, code) = json(&case.folder, &input);
    assert_eq!((code, layers(&value).len()), (0, 14));
    let (value, code) = json(&case.folder, &[&input[..], &["--gamma", "gamma.npy"]].concat());
    assert_eq!((code, layers(&value).len()), (0, 12));
    let left_out = value["left_out"].as_array().unwrap();
    assert_eq!(left_out.iter().map(|one| &one["layer"]).collect::<Vec<_>>(), ["norm", "rms"]);
    case.folder.save("mean.npy", &[3], &[0.5, 0.2, -0.1]);
    case.folder.save("variance.npy", &[3], &[0.5, 2.0, 1.0]);
    let running = ["--running-mean", "mean.npy", "--running-var", "variance.npy", "--mode", "eval"];
    let (value, code) = json(&case.folder, &[&input[..], &running].concat());
    assert_eq!((code, layers(&value)), (0, vec!["evaluation".to_owned()]));
    case.folder.save("w.npy", &[6, 1, 5], &(0..30).map(|i| f64::from(i % 4)).collect::<Vec<f64>>());
    let (value, code) = json(&case.folder, &[&input[..], &["--weights", "w.npy"]].concat());
    assert_eq!((code, layers(&value)), (0, vec!["weighted".to_owned()]));
    // Channels last, and values that are all alike.
    let (_, code) = json(&case.folder, &[&input[..], &["--channel-axis", "-1"]].concat());
    assert_eq!(code, 0);
    case.folder.save("alike.npy", &[6, 2], &[3.0f64; 12]);
    let (value, code) = json(&case.folder, &["--input", "alike.npy", "--layer", "batch"]);
    assert_eq!(code, 0, "{value}");
}

#[test]
fn no_right_layer_is_called_wrong_on_inputs_of_any_kind() {
    let folder = Folder::new();
    let mut random = Random(57);
    let rows = |mean: f64, deviation: f64, random: &mut Random| -> Vec<f64> {
        random.normals(48, 0.0).into_iter().map(|x| mean + deviation * x).collect()
    };
    for (mean, deviation) in [(0.0, 1e-4), (0.0, 1e-6), (8.9, 3e-6), (267.0, 4.0), (1e8, 1.0), (1e5, 1.0)] {
        for epsilon in ["1e-12", "1e-8", "1e-5", "1e-3", "1"] {
            let mut x = rows(mean, deviation, &mut random);
            // Dead features, whose mean no sum of them gives: all alike, and all but one.
            x.iter_mut().skip(1).step_by(3).for_each(|x| *x = 0.1);
            folder.save("x.npy", &[16, 3], &x);
            for more in [&[][..], &["--layer", "residual", "--seed", "832"], &["--layer", "weighted"]] {
                let (value, code) = json(&folder, &[&["--input", "x.npy", "--epsilon", epsilon], more].concat());
                let failing = |check: &&Value| check["tells"] == true && check["holds"] == false;
                let failing: Vec<&Value> =
                    value["checks"].as_array().into_iter().flatten().filter(failing).take(3).collect();
                assert_eq!(code, 0, "{mean} {deviation} {epsilon} {more:?}: {failing:#?}");
            }
        }
    }
    // Values on the kink itself.
    folder.save("kink.npy", &[3, 2], &[0.1, 0.2, 0.2, 0.4, 0.3, 0.6]);
    let (value, code) = json(&folder, &["--input", "kink.npy"]);
    assert_eq!(code, 0, "{value:#}");
    // Where rounding is as large as a gradient nothing is said to hold.
    folder.save("far.npy", &[16, 2], &rows(1e8, 1.0, &mut random)[..32]);
    let output = gradcheck(&folder, &["--input", "far.npy", "--layer", "batch"]);
    let table = done(&output);
    assert!(table.contains("more checks say nothing on this input"), "{table}");
    let (value, _) = json(&folder, &["--input", "far.npy", "--layer", "batch"]);
    let checks = value["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["tells"] == false) && checks.iter().any(|check| check["holds"] == true));
    assert!(checks.iter().all(|check| check["tells"] == true || check["holds"] == false));
}

#[test]
fn mistakes_are_named_and_right_gradients_are_not_accused() {
    let expected = [
        (Somebody::Right, "", [false; 3]),
        (Somebody::WithoutVariance, "variance term dropped", [true, false, false]),
        (Somebody::WithoutMean, "mean term dropped", [true, false, false]),
        (Somebody::Constants, "statistics treated as constants", [true, false, false]),
        (Somebody::EpsOutside, "eps outside the root", [true, true, false]),
        (Somebody::SampleVariance, "sample instead of population variance", [true, true, false]),
        (Somebody::SumsForMeans, "sum instead of mean", [true, false, false]),
        (Somebody::ParametersAsMeans, "mean instead of sum", [false, true, true]),
    ];
    for seed in [41, 42] {
        let case = Case::new(seed);
        for (how, name, wrong) in expected {
            let check = |what: &str| {
                let (value, code) = case.judged(&[]);
                assert_eq!(code, i32::from(wrong.contains(&true)), "{how:?} {what}: {value:#}");
                for (which, wrong) in ["dx", "dgamma", "dbeta"].into_iter().zip(wrong) {
                    let gradient = &value["gradients"][which];
                    assert_eq!(gradient["wrong"], wrong, "{how:?} {what} {which}: {gradient:#}");
                    if wrong {
                        assert_eq!(names(gradient), [name], "{how:?} {what} {which}");
                        assert_eq!(
                            (&gradient["verdict"], &gradient["told_apart"]),
                            (&Value::from("wrong"), &Value::from(true))
                        );
                    }
                }
            };
            case.inputs::<f64>();
            case.save::<f64>(how);
            check("f64");
            case.save::<f32>(how);
            check("f32 of an f64 input");
            case.inputs::<f32>();
            check("f32");
            case.save::<f64>(how);
            check("f64 of an f32 input");
            // (These two are of the size of what arithmetic in f16 is off by.)
            if !matches!(how, Somebody::EpsOutside | Somebody::SampleVariance) {
                case.save::<f16>(how);
                check("f16");
            }
        }
    }
}

#[test]
fn the_table_says_what_is_missing_and_where() {
    let case = Case::new(43);
    case.inputs::<f32>();
    case.save::<f32>(Somebody::WithoutVariance);
    let output = gradcheck(&case.folder, &AGAINST);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "batchnorm: dx is wrong\n");
    let table = text(&output.stdout);
    for part in [
        "x.npy [6, 3, 5] float32",
        "variance term dropped",
        "mend: subtract xhat",
        "dgamma   ┆ right",
        "float32",
        "Wrong.",
    ] {
        assert!(table.contains(part), "{table} lacks {part}");
    }
    // One of the three is enough, and the others are not looked for.
    for name in ["dx.npy", "dgamma.npy"] {
        std::fs::remove_file(case.folder.path("theirs").join(name)).unwrap();
    }
    let table = gradcheck(&case.folder, &AGAINST);
    let table = done(&table);
    assert!(
        table.contains("No gradient is wrong.") && table.contains("dbeta") && !table.contains("dgamma   ┆"),
        "{table}"
    );
}

#[test]
fn channels_that_differ_are_said_one_by_one() {
    let case = Case::new(44);
    case.inputs::<f64>();
    let [mut dx, dgamma, _] = theirs(&case.x, &case.dy, &case.gamma, Somebody::Right);
    let [other, ..] = theirs(&case.x, &case.dy, &case.gamma, Somebody::Constants);
    for at in (0..90).filter(|at| at / 5 % 3 == 1) {
        dx[at] = other[at];
    }
    case.folder.save("theirs/dx.npy", &SHAPE, &dx);
    case.folder.save("theirs/dgamma.npy", &[3], &dgamma);
    let (value, code) = case.judged(&[]);
    let channels = value["gradients"]["dx"]["channels"].as_array().unwrap();
    assert_eq!((code, channels.len()), (1, 2));
    assert_eq!(
        (&channels[1]["verdict"], &channels[1]["channels"]),
        (&Value::from("right"), &serde_json::json!([0, 2]))
    );
    assert_eq!(
        (names(&channels[0]), &channels[0]["channels"]),
        (vec!["statistics treated as constants"], &serde_json::json!([1]))
    );
    let table = gradcheck(&case.folder, &AGAINST);
    assert!(text(&table.stdout).contains("dx: channel 1: wrong"), "{}", text(&table.stdout));
}

#[test]
fn what_cannot_be_told_apart_is_no_accusation() {
    let case = Case::new(45);
    case.inputs::<f32>();
    case.save::<f32>(Somebody::Right);
    let mut arguments = AGAINST;
    // eps 1e-12 in f32: whether it is left out or outside the root, nobody sees.
    arguments[7] = "1e-12";
    let [samples, channels, positions] = SHAPE;
    let mut dx = vec![0.0f32; 90];
    for c in 0..channels {
        let at = |i: usize| (i / positions * channels + c) * positions + i % positions;
        let values = || (0..samples * positions).map(at);
        let n = 30.0;
        let mean = values().map(|at| case.x[at]).sum::<f64>() / n;
        let variance = values().map(|at| (case.x[at] - mean).powi(2)).sum::<f64>() / n;
        let r = 1.0 / variance.sqrt();
        let sum = values().map(|at| case.dy[at]).sum::<f64>();
        let products = values().map(|at| case.dy[at] * (case.x[at] - mean) * r).sum::<f64>();
        for at in values() {
            dx[at] = (case.gamma[c] * r * (case.dy[at] - sum / n - (case.x[at] - mean) * r * products / n)) as f32;
        }
    }
    case.folder.save("theirs/dx.npy", &SHAPE, &dx);
    // (Of another eps.)
    std::fs::remove_file(case.folder.path("theirs/dgamma.npy")).unwrap();
    let output = gradcheck(&case.folder, &arguments);
    let table = done(&output);
    assert!(
        table.contains("cannot be told apart on this input: right, or eps outside the root; eps left out"),
        "{table}"
    );
    assert!(table.contains("No gradient is wrong."));
}

#[test]
fn tables_are_taken_too() {
    let folder = Folder::new();
    let mut random = Random(48);
    let (x, dy) = (random.normals(24, 0.7), random.normals(24, 0.3));
    std::fs::create_dir(folder.path("theirs")).unwrap();
    let table = |values: &[f64]| {
        let line = |row: &[f64]| row.iter().map(|value| format!("{value:?}")).collect::<Vec<String>>().join(",");
        values.chunks(2).map(|row| line(row) + "\n").collect::<String>()
    };
    folder.bytes("x.csv", table(&x).as_bytes());
    folder.bytes("dy.csv", table(&dy).as_bytes());
    let arguments = ["--input", "x.csv", "--gradient", "dy.csv", "--against", "theirs"];
    let backward = |with_variance: bool| {
        let of_channel = |c: usize| {
            let [x, dy] = [&x, &dy].map(|values| values.iter().skip(c).step_by(2).copied().collect::<Vec<f64>>());
            let n = x.len() as f64;
            let mean = x.iter().sum::<f64>() / n;
            let r = 1.0 / (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + 1e-5).sqrt();
            let level = dy.iter().sum::<f64>() / n;
            let slope = dy.iter().zip(&x).map(|(dy, x)| dy * (x - mean) * r).sum::<f64>() / n;
            let slope = if with_variance { slope } else { 0.0 };
            dy.iter().zip(&x).map(|(dy, x)| r * (dy - level - (x - mean) * r * slope)).collect::<Vec<f64>>()
        };
        let [one, other] = [0, 1].map(of_channel);
        one.into_iter().zip(other).flat_map(|(one, other)| [one, other]).collect::<Vec<f64>>()
    };
    for (dx, code) in [(backward(true), 0), (backward(false), 1)] {
        folder.save("theirs/dx.npy", &[12, 2], &dx);
        let (value, got) = json(&folder, &arguments);
        assert_eq!((got, &value["gradients"]["dx"]["judged_as"]), (code, &Value::from("float64")), "{value:#}");
    }
    let (_, code) = json(&folder, &arguments[..4]);
    assert_eq!(code, 0);
}

#[test]
fn siblings_and_evaluation_are_judged_too() {
    let case = Case::new(46);
    case.inputs::<f64>();
    // Layer norm over [3, 5], gamma of each element; right, and with gamma behind the means.
    let gamma: Vec<f64> = (0..15).map(|i| 0.5 + 0.1 * f64::from(i)).collect();
    case.folder.save("gamma.npy", &[3, 5], &gamma);
    let (mut right, mut behind) = (vec![], vec![]);
    for row in 0..6 {
        let (x, dy) = (&case.x[row * 15..][..15], &case.dy[row * 15..][..15]);
        let mean = x.iter().sum::<f64>() / 15.0;
        let r = 1.0 / (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 15.0 + EPSILON).sqrt();
        let backward = |g: &[f64]| -> Vec<f64> {
            let level = g.iter().sum::<f64>() / 15.0;
            let slope = g.iter().zip(x).map(|(g, x)| g * (x - mean) * r).sum::<f64>() / 15.0;
            g.iter().zip(x).map(|(g, x)| r * (g - level - (x - mean) * r * slope)).collect()
        };
        right.extend(backward(&dy.iter().zip(&gamma).map(|(dy, gamma)| dy * gamma).collect::<Vec<f64>>()));
        behind.extend(backward(dy).iter().zip(&gamma).map(|(dx, gamma)| dx * gamma));
    }
    for (dx, name) in [(&right, None), (&behind, Some("gamma behind the means"))] {
        case.folder.save("theirs/dx.npy", &SHAPE, dx);
        let (value, code) = case.judged(&["--layer", "norm"]);
        assert_eq!(code, i32::from(name.is_some()), "{value:#}");
        assert_eq!(names(&value["gradients"]["dx"]), name.into_iter().collect::<Vec<&str>>());
    }
    case.folder.save("gamma.npy", &[3], &case.gamma);
    case.folder.save("mean.npy", &[3], &[0.5, 0.2, -0.1]);
    case.folder.save("variance.npy", &[3], &[0.5, 2.0, 1.0]);
    case.save::<f64>(Somebody::Constants);
    let eval = ["--mode", "eval", "--running-mean", "mean.npy", "--running-var", "variance.npy"];
    let (value, code) = case.judged(&eval);
    // Constants, but those of the batch: not what this layer was normalised by.
    assert_eq!((code, names(&value["gradients"]["dx"])), (1, vec!["training formula used after evaluation"]));
}

#[test]
fn errors_name_the_file_and_have_their_exit_codes() {
    let case = Case::new(47);
    case.inputs::<f64>();
    case.save::<f64>(Somebody::Right);
    let folder = &case.folder;
    let with = |more: &[&str]| gradcheck(folder, &[&AGAINST[..], more].concat());
    let replaced = |at: usize, by: &str| {
        let mut arguments = AGAINST;
        arguments[at] = by;
        gradcheck(folder, &arguments)
    };
    refused(&replaced(9, "nowhere"), 3, &["--against nowhere", "expected a folder"]);
    std::fs::create_dir(folder.path("empty")).unwrap();
    refused(&replaced(9, "empty"), 3, &["--against empty", "dx.npy, dgamma.npy and dbeta.npy", "found none"]);
    refused(&replaced(7, "-1"), 2, &["--epsilon", ">= 0", "-1"]);
    refused(&replaced(1, "none.npy"), 3, &["none.npy"]);
    refused(&with(&["--channel-axis", "5"]), 3, &["x.npy", "channel_axis", "5"]);
    refused(&with(&["--layer", "ghost"]), 2, &["--layer ghost", "--against"]);
    refused(&with(&["--layer", "group", "--groups", "2"]), 2, &["--groups 2", "divisor"]);
    refused(&with(&["--mode", "eval"]), 2, &["--running-mean"]);
    refused(&with(&["--mode", "eval", "--layer", "norm"]), 2, &["--mode eval", "--layer batch"]);
    // No flag is passed over.
    refused(&with(&["--groups", "3"]), 2, &["--groups", "--layer group"]);
    refused(&with(&["--running-mean", "gamma.npy"]), 2, &["--running-mean", "--mode eval"]);
    refused(&with(&["--layer", "norm", "--weights", "gamma.npy"]), 2, &["--weights", "batch norm in training"]);
    refused(&with(&["--beta", "nowhere.npy"]), 3, &["nowhere.npy"]);
    let own = |more: &[&str]| gradcheck(folder, &[&AGAINST[..4], more].concat());
    refused(&own(&["--layer", "batch", "--weights", "gamma.npy"]), 2, &["--weights", "--layer weighted"]);
    refused(&own(&["--layer", "relu", "--groups", "3"]), 2, &["--groups", "--layer group"]);
    refused(&own(&["--layer", "ghost", "--running-var", "gamma.npy"]), 2, &["--running-var", "--mode eval"]);
    refused(&own(&["--channel-axis", "5"]), 3, &["x.npy: ", "--channel-axis", "5"]);
    folder.bytes("file", b"");
    refused(&replaced(9, "file"), 3, &["--against file", "expected a folder", "found a file"]);
    refused(&gradcheck(folder, &["--shape", "4"]), 2, &["--shape", "`4`"]);
    refused(&gradcheck(folder, &["--shape", "10000,10000"]), 2, &["--shape", "at most 1048576 values"]);
    refused(&gradcheck(folder, &["--shape", "1,4"]), 4, &["at least 2 values a channel", "got 1"]);

    folder.save("dy.npy", &[6, 5, 3], &case.dy);
    refused(&with(&[]), 3, &["dy.npy", "[6, 3, 5]", "[6, 5, 3]"]);
    refused(&gradcheck(folder, &AGAINST[..4]), 3, &["dy.npy", "[6, 3, 5]", "[6, 5, 3]"]);
    let mut dy = case.dy.clone();
    dy[17] = f64::NAN;
    folder.save("dy.npy", &SHAPE, &dy);
    refused(&with(&[]), 4, &["dy.npy", "finite", "NaN", "[1, 0, 2]"]);
    refused(&gradcheck(folder, &AGAINST[..4]), 4, &["dy.npy", "finite", "NaN"]);
    case.inputs::<f64>();
    folder.save("gamma.npy", &[2], &[1.0, 2.0]);
    refused(&with(&[]), 3, &["gamma.npy", "[3]", "[2]", "in the layer's order"]);
    folder.save("gamma.npy", &[3], &case.gamma);
    folder.save("theirs/dx.npy", &[6, 15], &case.x);
    refused(&with(&[]), 3, &["dx.npy", "[6, 3, 5]", "[6, 15]"]);
    case.save::<f64>(Somebody::Right);
    folder.save("theirs/dgamma.npy", &[6], &[0.0; 6]);
    refused(&with(&[]), 3, &["dgamma.npy", "[3]", "[6]", "right axes"]);
    folder.save("theirs/dgamma.npy", &[3], &[0.0, f64::NAN, 0.0]);
    let (value, code) = case.judged(&[]);
    let gradient = &value["gradients"]["dgamma"];
    assert_eq!(
        (code, &gradient["verdict"], &gradient["index"]),
        (1, &Value::from("not finite"), &serde_json::json!([1]))
    );
    case.save::<f64>(Somebody::Right);

    folder.save("single.npy", &[1, 4], &[1.0; 4]);
    let single = ["--input", "single.npy", "--gradient", "single.npy", "--against", "theirs"];
    refused(&gradcheck(folder, &single), 4, &["single.npy", "at least 2 values", "got 1"]);
    folder.save("large.npy", &[4097, 4096], &vec![0.0f32; 4097 * 4096]);
    let large = ["--input", "large.npy", "--gradient", "large.npy", "--against", "theirs"];
    refused(&gradcheck(folder, &large), 3, &["large.npy", "at most 16777216 values", "[4097, 4096]"]);
    refused(&gradcheck(folder, &large[..2]), 3, &["large.npy", "at most 1048576 values"]);
    let output = gradcheck(folder, &["--against", "theirs"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&gradcheck(folder, &["--help"]).stdout).contains("1    gradcheck: a gradient is wrong"));
}
