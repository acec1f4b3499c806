//! Judged besides batch norm in training on .npy files: sibling norms, evaluation, tables of numbers.

use crate::arrays::Folder;
use crate::somebody::{AGAINST, Case, EPSILON, SHAPE, Somebody, names, theirs};
use crate::support::refused;
use crate::{gradcheck, json, values_around};
use batchnorm_io::npz::{Packing, Writer};
use batchnorm_reference::random::Random;
use serde_json::Value;

#[test]
fn tables_are_taken_too() {
    let folder = Folder::new();
    let mut random = Random::new(48);
    let (x, dy) = (values_around(&mut random, 24, 0.7), values_around(&mut random, 24, 0.3));
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
fn batch_renormalisation_is_judged_with_r_and_d_held() {
    let case = Case::new(51);
    case.inputs::<f64>();
    let (mean, variance) = ([0.5, 0.2, -0.1], [0.5, 2.0, 1.0]);
    case.folder.save("mean.npy", &[3], &mean);
    case.folder.save("variance.npy", &[3], &variance);
    let judged = |renorm: &str| {
        let statistics = ["--running-mean", "mean.npy", "--running-var", "variance.npy"];
        case.judged(&[&["--layer", "renormalized", "--renorm", renorm][..], &statistics].concat())
    };
    let [dx, dgamma, dbeta] = theirs(&case.x, &case.dy, &case.gamma, Somebody::Right);
    // Each channel's r and d, unlimited.
    let corrections: Vec<[f64; 2]> = (0..3)
        .map(|c| {
            let values: Vec<f64> = (0..30).map(|i| case.x[(i / 5 * 3 + c) * 5 + i % 5]).collect();
            let batch_mean = values.iter().sum::<f64>() / 30.0;
            let batch_variance = values.iter().map(|x| (x - batch_mean).powi(2)).sum::<f64>() / 30.0;
            let deviation = (variance[c] + EPSILON).sqrt();
            [(batch_variance + EPSILON).sqrt() / deviation, (batch_mean - mean[c]) / deviation]
        })
        .collect();
    let channel = |at: usize| at / 5 % 3;
    let corrected: Vec<f64> = dx.iter().enumerate().map(|(at, dx)| dx * corrections[channel(at)][0]).collect();
    let through: Vec<f64> =
        (0..90).map(|at| case.gamma[channel(at)] * case.dy[at] / (variance[channel(at)] + EPSILON).sqrt()).collect();
    let of_gamma: Vec<f64> = (0..3).map(|c| corrections[c][0] * dgamma[c] + corrections[c][1] * dbeta[c]).collect();
    case.folder.save("theirs/dbeta.npy", &[3], &dbeta);
    for (dx, of_gamma, names_of_both) in [
        (&corrected, &of_gamma, [None, None]),
        (&through, &of_gamma, [Some("gradient through r and d"), None]),
        (&dx, &dgamma, [Some("r or d left out"), Some("r or d left out")]),
    ] {
        case.folder.save("theirs/dx.npy", &SHAPE, dx);
        case.folder.save("theirs/dgamma.npy", &[3], of_gamma);
        let (value, code) = judged("inf,inf");
        assert_eq!(code, i32::from(names_of_both != [None, None]), "{value:#}");
        assert_eq!(value["layer"], "renormalized");
        for (gradient, name) in ["dx", "dgamma"].into_iter().zip(names_of_both) {
            let named = names(&value["gradients"][gradient]);
            assert_eq!(named.first().copied().is_some(), name.is_some(), "{named:?}");
            assert!(name.is_none_or(|name| named.contains(&name)), "{gradient}: {named:?}");
        }
    }
    // With limits that forbid any correction it is batch norm, of which the last gradients are right.
    let (value, code) = judged("1,0");
    assert_eq!(code, 0, "{value:#}");
}

#[test]
fn grouped_rms_norm_is_judged_too() {
    let case = Case::new(52);
    case.inputs::<f64>();
    let of_row = |x: &[f64], dy: &[f64], centred: bool| -> Vec<f64> {
        let n = x.len() as f64;
        let mean = if centred { x.iter().sum::<f64>() / n } else { 0.0 };
        let r = 1.0 / (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + EPSILON).sqrt();
        let level = if centred { dy.iter().sum::<f64>() / n } else { 0.0 };
        let slope = dy.iter().zip(x).map(|(dy, x)| dy * (x - mean) * r).sum::<f64>() / n;
        dy.iter().zip(x).map(|(dy, x)| r * (dy - level - (x - mean) * r * slope)).collect()
    };
    case.folder.save("gamma.npy", &[3], &[1.0, 1.0, 1.0]);
    for (centred, expected) in [(false, vec![]), (true, vec!["centred as in layer norm"])] {
        let rows = case.x.chunks(15).zip(case.dy.chunks(15));
        let dx: Vec<f64> = rows.flat_map(|(x, dy)| of_row(x, dy, centred)).collect();
        case.folder.save("theirs/dx.npy", &SHAPE, &dx);
        let (value, code) = case.judged(&["--layer", "group-rms", "--groups", "1"]);
        assert_eq!((code, names(&value["gradients"]["dx"])), (i32::from(centred), expected), "{value:#}");
    }
}

/// The same gradients as .npy, as tables and in one .npz, whose names decide once for all whether a first line is a header.
#[test]
fn gradients_come_from_folders_of_tables_and_from_npz() {
    let case = Case::new(49);
    case.inputs::<f64>();
    case.save::<f64>(Somebody::Right);
    let (expected, code) = case.judged(&[]);
    assert_eq!(code, 0, "{expected:#}");
    let folder = &case.folder;
    let array = |name: &str| batchnorm_io::npy::read(&folder.path(&format!("theirs/{name}.npy"))).expect("an array");
    let mut writer = Writer::new(Vec::new(), Packing::Deflated);
    for name in ["dx", "dgamma", "dbeta"] {
        let array = array(name);
        writer.array(name, &array.shape, &array.numbers.to_f64()).expect("a right array");
    }
    folder.bytes("theirs.npz", &writer.finish().expect("written"));
    std::fs::create_dir(folder.path("tables")).expect("a folder");
    for name in ["dgamma", "dbeta"] {
        let line: Vec<String> = array(name).numbers.to_f64().iter().map(|value| format!("{value:?}")).collect();
        folder.bytes(&format!("tables/{name}.csv"), format!("a,b,c\n{}\n", line.join(",")).as_bytes());
    }
    for (against, names) in [("theirs.npz", &["dx", "dgamma", "dbeta"][..]), ("tables", &["dgamma", "dbeta"])] {
        let (value, code) = json(folder, &[&AGAINST[..9], &[against]].concat());
        assert_eq!(code, 0, "{value:#}");
        let gradients = value["gradients"].as_object().expect("gradients");
        let judged = |name: &&str| gradients[*name]["verdict"] == expected["gradients"][*name]["verdict"];
        assert!(gradients.len() == names.len() && names.iter().all(judged), "{against}: {value:#}");
    }
    folder.bytes("tables/dbeta.npy", b"");
    let output = gradcheck(folder, &[&AGAINST[..9], &["tables"]].concat());
    refused(&output, 3, &["--against tables: expected one file of dbeta, found"]);
}

/// What is masked may be NaN, in x and in dy.
#[test]
fn masks_may_hide_nan_from_our_own_check_and_from_the_judge() {
    let folder = Folder::new();
    let mut random = Random::new(50);
    let (mut x, mut dy) = (values_around(&mut random, 24, 0.7), values_around(&mut random, 24, 0.3));
    let mut mask = [true; 12];
    for sample in [3, 7] {
        mask[sample] = false;
        x[2 * sample] = f64::NAN;
        x[2 * sample + 1] = f64::INFINITY;
        dy[2 * sample] = f64::NAN;
    }
    folder.save("x.npy", &[12, 2], &x);
    folder.save("dy.npy", &[12, 2], &dy);
    folder.save("mask.npy", &[12], &mask.map(|counts| f32::from(u8::from(counts))));
    let arguments = ["--input", "x.npy", "--gradient", "dy.npy", "--weights", "mask.npy"];
    let (value, code) = json(&folder, &arguments);
    assert_eq!(code, 0, "{value:#}");
    // Somebody's masked batch norm, dbeta and dgamma by the values that count.
    let sums = |term: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        (0..2).map(|c| (0..12).filter(|&sample| mask[sample]).map(|sample| term(sample, c)).sum()).collect()
    };
    let n = mask.iter().filter(|counts| **counts).count() as f64;
    let mean: Vec<f64> = sums(&|sample, c| x[2 * sample + c]).iter().map(|sum| sum / n).collect();
    let variance = sums(&|sample, c| (x[2 * sample + c] - mean[c]).powi(2));
    let r: Vec<f64> = variance.iter().map(|sum| 1.0 / (sum / n + 1e-5).sqrt()).collect();
    std::fs::create_dir(folder.path("theirs")).unwrap();
    folder.save("theirs/dbeta.npy", &[2], &sums(&|sample, c| dy[2 * sample + c]));
    let dgamma = sums(&|sample, c| dy[2 * sample + c] * (x[2 * sample + c] - mean[c]) * r[c]);
    folder.save("theirs/dgamma.npy", &[2], &dgamma);
    let (value, code) = json(&folder, &[&arguments[..], &["--against", "theirs"]].concat());
    assert_eq!(code, 0, "{value:#}");
    // Without the mask, the file and the place are named.
    let output = gradcheck(&folder, &arguments[..4]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("x.npy: expected finite values, got NaN"), "{message}");
}

/// A mistake of arrangement, through files.
#[test]
fn a_reshape_without_a_transposition_is_named_through_files() {
    let folder = Folder::new();
    let mut random = Random::new(51);
    let (x, dy) = (values_around(&mut random, 60, 0.7), values_around(&mut random, 60, 0.3));
    let by_channel = |term: &dyn Fn(usize) -> f64| -> Vec<f64> {
        (0..3).map(|c| (0..60).filter(|at| at % 3 == c).map(term).sum()).collect()
    };
    let mean: Vec<f64> = by_channel(&|at| x[at]).iter().map(|sum| sum / 20.0).collect();
    let variance = by_channel(&|at| (x[at] - mean[at % 3]).powi(2));
    let r: Vec<f64> = variance.iter().map(|sum| 1.0 / (sum / 20.0 + 1e-5).sqrt()).collect();
    let xhat = |at: usize| (x[at] - mean[at % 3]) * r[at % 3];
    let (dgamma, dbeta) = (by_channel(&|at| dy[at] * xhat(at)), by_channel(&|at| dy[at]));
    let dx = |at: usize| r[at % 3] * (dy[at] - dbeta[at % 3] / 20.0 - xhat(at) * dgamma[at % 3] / 20.0);
    folder.save("x.npy", &[4, 3, 5], &x);
    folder.save("dy.npy", &[4, 3, 5], &dy);
    std::fs::create_dir(folder.path("theirs")).unwrap();
    folder.save("theirs/dx.npy", &[4, 3, 5], &(0..60).map(dx).collect::<Vec<f64>>());
    folder.save("theirs/dgamma.npy", &[3], &dgamma);
    folder.save("theirs/dbeta.npy", &[3], &dbeta);
    let (value, code) = json(&folder, &["--input", "x.npy", "--gradient", "dy.npy", "--against", "theirs"]);
    assert_eq!(code, 1);
    for name in ["dx", "dgamma", "dbeta"] {
        assert_eq!(names(&value["gradients"][name]), ["reshape without a transposition"], "{name}: {value:#}");
    }
}
