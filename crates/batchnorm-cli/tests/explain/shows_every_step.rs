//! Table, JSON and DOT show every step, whose parts add up, by the names that the input has.

use crate::arrays::Folder;
use crate::support::{done, refused, text};
use crate::{explain, gradient, json, numbers, values};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn the_example_is_a_table_with_every_step() {
    let folder = Folder::new();
    let output = explain(&folder, &[]);
    let table = done(&output);
    assert!(output.stderr.is_empty());
    let cells = |name: &str| -> Vec<&str> {
        let row =
            table.lines().find(|line| line.starts_with(&format!("│ {name} "))).unwrap_or_else(|| panic!("no {name}"));
        row.trim_matches('│').split('┆').map(str::trim).collect()
    };
    // Mean 5 and deviation 2: by hand.
    assert_eq!(cells("x")[..3], ["x", "given", "2, 7, 4, .., 4 (8)"]);
    assert_eq!(cells("mean")[..4], ["mean m", "m = 1/n sum x_i", "5", "by x: 1/n = 0.125"]);
    assert_eq!(cells("mean")[5], "centered (summed up)");
    assert_eq!(cells("centered")[2..4], ["-3, 2, -1, .., -1 (8)", "by x: 1"]);
    assert_eq!(cells("squared")[2..4], ["9, 4, 1, .., 1 (8)", "by centered: 2 c_i = -6, 4, -2, .., -2 (8)"]);
    assert_eq!(cells("variance")[2], "4");
    assert_eq!(cells("deviation")[1..4], ["d = sqrt(v + eps)", "2", "by variance: 1 / (2 d) = 0.25"]);
    assert_eq!(cells("inverse")[1..4], ["r = 1 / d", "0.5", "by deviation: -1 / d^2 = -0.25"]);
    assert_eq!(cells("normalized")[2], "-1.5, 1, -0.5, .., -0.5 (8)");
    assert_eq!(cells("y")[2], "-1.75, 2, -0.25, .., -0.25 (8)");
    assert_eq!(cells("y")[4..], ["1, -0.5, 0.25, .., 0.5 (8)", "the loss"]);
    // A node that is used twice has a line for each use.
    let lines: Vec<&str> = table.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("│ centered ")).unwrap();
    assert!(lines[at].contains("┆ squared ") && lines[at + 1].contains("┆ normalized "));
    assert!(table.contains("The layer agrees with the graph") && table.contains("sum dx xhat = "));
    assert!(table.contains("dy: none given: 1, -0.5, 0.25, 0.5, over and over"));
    // The four norms that take rows, and evaluation.
    for (arguments, says) in [
        (&["--layer", "layer"][..], "Layer norm: row 0 of the built-in example, 8 values"),
        (&["--layer", "norm"], "Layer norm"),
        (&["--layer", "group", "--groups", "2", "--row", "1"], "Group norm: row 1 (group 1 of sample 0)"),
        (&["--layer", "instance"], "Instance norm"),
        (&["--layer", "rms"], "RMS norm"),
        (&["--mode", "eval", "--running-mean", "4", "--running-var", "2"], "by running statistics"),
    ] {
        let output = explain(&folder, arguments);
        assert!(done(&output).contains(says), "{arguments:?}: {}", text(&output.stdout));
    }
}

#[test]
fn json_has_edges_that_add_up_and_a_jacobian() {
    let folder = Folder::new();
    for arguments in [
        &[][..],
        &["--layer", "rms"],
        &["--layer", "instance", "--gamma", "2"],
        &["--mode", "eval", "--running-mean", "4", "--running-var", "2"],
    ] {
        let json = json(&folder, arguments);
        let edges = json["edges"].as_array().unwrap();
        for node in json["nodes"].as_array().unwrap() {
            let uses: Vec<&Value> = edges.iter().filter(|edge| edge["from"] == node["name"]).collect();
            let names: Vec<&Value> = uses.iter().map(|edge| &edge["to"]).collect();
            assert_eq!(node["used_by"].as_array().unwrap().iter().collect::<Vec<_>>(), names);
            if uses.is_empty() {
                continue;
            }
            for (i, whole) in numbers(&node["gradient"]).into_iter().enumerate() {
                let parts: Vec<f64> = uses.iter().map(|edge| numbers(&edge["gradient"])[i]).collect();
                let size: f64 = parts.iter().map(|part| part.abs()).sum::<f64>() + 1.0;
                assert!(
                    (parts.iter().sum::<f64>() - whole).abs() <= 1e-14 * size,
                    "{}: {parts:?}, {whole}",
                    node["name"]
                );
            }
        }
        let (dy, dx) = (gradient(&json, "y"), gradient(&json, "x"));
        let rows: Vec<Vec<f64>> = json["jacobian"].as_array().unwrap().iter().map(numbers).collect();
        for (l, dx) in dx.iter().enumerate() {
            let by_rows: f64 = rows.iter().zip(&dy).map(|(row, dy)| row[l] * dy).sum();
            assert!((by_rows - dx).abs() < 1e-14, "{by_rows}, {dx}");
        }
        let directions = &json["directions"];
        let number = |at: &str| directions.pointer(at).and_then(Value::as_f64).expect(at);
        let constant: f64 = dx.iter().sum();
        assert!((number("/constant/sum") - constant).abs() < 1e-15);
        assert_eq!(directions["constant"]["expected"] == 0.0, constant.abs() < 1e-14, "{arguments:?}");
        if let Some(left) = directions["stretch"]["expected"].as_f64() {
            assert_eq!(left, number("/stretch/comes_in") * number("/stretch/share_left"));
            assert!((number("/stretch/sum") - left).abs() <= 1e-15 * number("/stretch/size") * 10.0, "{arguments:?}");
        }
        assert!(json["agreement"]["bound"].as_f64().unwrap() < 1e-10);
    }
}

#[test]
fn tables_with_and_without_names_are_read_and_named() {
    let folder = Folder::new();
    folder.bytes("x.csv", b"height,\"width, mm\"\n1,10\n2,30\n4,20\n");
    folder.bytes("dy.CSV", b"1,0\n0.5,1\n0,2\n");
    let json = json(&folder, &["--input", "x.csv", "--gradient", "dy.CSV", "--channel", "1"]);
    assert_eq!((values(&json, "x"), gradient(&json, "y")), (vec![10.0, 30.0, 20.0], vec![0.0, 1.0, 2.0]));
    assert_eq!((&json["name"], &json["shape"]), (&"width, mm".into(), &serde_json::json!([3, 2])));
    let output = explain(&folder, &["--input", "x.csv"]);
    assert!(done(&output).starts_with("Batch norm: channel 0 (height) of x.csv, 3 values\n"));
    folder.save("same.npy", &[3, 2], &[1.0, 10.0, 2.0, 30.0, 4.0, 20.0]);
    let row = |input| self::json(&folder, &["--input", input, "--layer", "norm", "--row", "2"])["nodes"].clone();
    assert_eq!(row("x.csv"), row("same.npy"));
}

#[test]
fn values_that_are_all_alike_are_explained_by_the_formula_and_said_to_be() {
    let folder = Folder::new();
    folder.save("x.npy", &[3, 1], &[0.1, 0.1, 0.1]);
    let output = explain(&folder, &["--input", "x.npy"]);
    assert!(done(&output).contains("All values of the feature are alike"));
    let json = json(&folder, &["--input", "x.npy"]);
    assert_eq!((values(&json, "variance"), &json["constant_input"]), (vec![0.0], &true.into()));
    assert!(values(&json, "y").iter().all(|&y| y == 0.0));
    refused(
        &explain(&folder, &["--input", "x.npy", "--epsilon", "0"]),
        4,
        &["variance + eps above 0", "--epsilon above 0"],
    );
}

#[test]
fn graphviz_draws_it_whatever_names_hold() {
    let folder = Folder::new();
    let hostile = "a \"b\" \\ <b>&amp;{x|y}.csv";
    folder.bytes(hostile, b"\"c\"\"<d>\\\",e\n1,2\n2,5\n4,3\n");
    let available = Command::new("dot").arg("-V").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !available {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no Graphviz on the path to draw what explain --dot writes");
    }
    for arguments in [
        &[][..],
        &["--input", hostile],
        &["--layer", "group", "--groups", "1"],
        &["--layer", "rms"],
        &["--mode", "eval", "--running-mean", "4", "--running-var", "2"],
    ] {
        let output = explain(&folder, &[arguments, &["--dot", "-"]].concat());
        let dot = done(&output);
        let json = json(&folder, arguments);
        for node in json["nodes"].as_array().unwrap() {
            assert!(dot.contains(&format!("\n  {} [label=", node["name"].as_str().unwrap())));
        }
        let edges = json["edges"].as_array().unwrap();
        assert_eq!(dot.matches(" -> ").count(), edges.len() + 1);
        for edge in edges {
            let edge = format!("\n  {} -> {} [label=<", edge["from"].as_str().unwrap(), edge["to"].as_str().unwrap());
            assert!(dot.contains(&edge), "{edge}");
        }
        if available {
            let mut child = Command::new("dot")
                .arg("-Tsvg")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(dot.as_bytes()).unwrap();
            let drawn = child.wait_with_output().unwrap();
            assert!(drawn.status.success() && drawn.stderr.is_empty(), "{}", text(&drawn.stderr));
            let svg = text(&drawn.stdout);
            assert_eq!(svg.matches("class=\"edge\"").count(), edges.len() + 1);
            if arguments.len() == 2 && arguments[1] == hostile {
                assert!(svg.contains("channel 0 (c&quot;&lt;d&gt;\\) of a &quot;b&quot; \\ &lt;b&gt;"), "{svg:.800}");
            }
        }
    }
}

/// What is masked may be NaN: the steps are those of the values that count.
#[test]
fn a_mask_leaves_values_out_whatever_they_are() {
    let folder = Folder::new();
    let counting = [[1.5f64, 2.0], [4.0, -1.0], [2.5, 0.5], [7.0, 3.0]];
    let mut all: Vec<[f64; 2]> = counting.to_vec();
    all.insert(1, [f64::NAN, 9.0]);
    all.push([f64::INFINITY, f64::NAN]);
    folder.save("x.npy", &[6, 2], all.as_flattened());
    folder.save(
        "dy.npy",
        &[6, 2],
        &[[0.5, 1.0], [f64::NAN, 0.0], [1.0, 0.0], [-2.0, 1.0], [0.25, 1.0], [7.0, 7.0]].concat(),
    );
    folder.save("without.npy", &[4, 2], counting.as_flattened());
    folder.save("dy_without.npy", &[4, 2], &[[0.5, 1.0], [1.0, 0.0], [-2.0, 1.0], [0.25, 1.0]].concat());
    let steps = |input: &str, gradient: &str, more: &[&str]| -> serde_json::Value {
        let arguments = [&["--input", input, "--gradient", gradient, "--json"], more].concat();
        serde_json::from_str(done(&explain(&folder, &arguments))).expect("stdout is JSON")
    };
    let expected = steps("without.npy", "dy_without.npy", &[]);
    folder.save("mask.npy", &[6, 1], &[1.0f32, 0.0, 1.0, 1.0, 1.0, 0.0]);
    folder.bytes("mask.csv", b"counts,counts too\n1,1\n0,0\n1,1\n1,1\n1,1\n0,0\n");
    for mask in ["mask.npy", "mask.csv"] {
        let got = steps("x.npy", "dy.npy", &["--weights", mask]);
        assert_eq!(got["nodes"], expected["nodes"], "{mask}");
    }
    folder.save("weights.npy", &[6, 1], &[1.0, 0.0, 2.0, 1.0, 1.0, 0.0]);
    folder.save("one.npy", &[6, 1], &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    for (mask, code, says) in [
        ("weights.npy", 3, "weights.npy: expected a mask, 0 and 1 or false and true, got the weight 2 at [2, 0]"),
        ("one.npy", 4, "one.npy: expected at least 2 values of channel 0 that count, got 1"),
        ("x.npy", 3, "x.npy: expected weights >= 0, got NaN"),
    ] {
        refused(&explain(&folder, &["--input", "x.npy", "--weights", mask]), code, &[says]);
    }
}
