//! Another program's mistakes are named, and neither a right gradient nor one that may be right is accused.

use crate::gradcheck;
use crate::somebody::{AGAINST, Case, SHAPE, Somebody, names, theirs};
use crate::support::{done, text};
use half::f16;
use serde_json::Value;

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
    // It was computed with another eps, and is wrong by this one.
    std::fs::remove_file(case.folder.path("theirs/dgamma.npy")).unwrap();
    let output = gradcheck(&case.folder, &arguments);
    let table = done(&output);
    assert!(
        table.contains("cannot be told apart on this input: right, or eps outside the root; eps left out"),
        "{table}"
    );
    assert!(table.contains("No gradient is wrong."));
}
