//! `batchnorm explain` as a person calls it: each output against the library, each refusal.

#[path = "support/arrays.rs"]
mod arrays;
mod support;

use arrays::Folder;
use batchnorm::{Axes, BatchNorm, Config, SampleConfig, SampleNorm, View};
use batchnorm_io::npy;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use support::{done, expect_documented, noise, refused, text};

fn explain(folder: &Folder, arguments: &[&str]) -> Output {
    support::run(folder.0.path(), &[&["explain"], arguments].concat())
}

fn json(folder: &Folder, arguments: &[&str]) -> Value {
    let output = explain(folder, &[arguments, &["--json"]].concat());
    let json = serde_json::from_str(done(&output)).expect("stdout is JSON");
    expect_documented(&json);
    json
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn node<'j>(json: &'j Value, name: &str) -> &'j Value {
    json["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

fn values(json: &Value, name: &str) -> Vec<f64> {
    numbers(&node(json, name)["values"])
}

fn gradient(json: &Value, name: &str) -> Vec<f64> {
    numbers(&node(json, name)["gradient"])
}

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
    // What is used twice says so, on a line of its own.
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
fn every_channel_is_the_layers_to_the_bit_where_the_layer_has_it() {
    let folder = Folder::new();
    let shape = [5, 3, 4];
    for (mean, name) in [(0.0, "near"), (1e4, "far")] {
        let (x, dy) = (noise(60, mean, 1), noise(60, 0.3, 2));
        folder.save("x.npy", &shape, &x);
        folder.save("dy.npy", &shape, &dy);
        folder.save("g.npy", &[3], &[1.5f32, -2.0, 0.5]);
        for axis in [0usize, 1, 2] {
            let channels = shape[axis];
            let gamma: Vec<f64> = (0..channels).map(|c| 1.5 - c as f64).collect();
            let list = gamma.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
            let mut layer = Config::pytorch().epsilon(1e-3).channels(channels).build().unwrap();
            layer.set_gamma(&gamma).unwrap();
            layer.set_beta(&vec![0.25; channels]).unwrap();
            let view = View::new(&x, &shape, Axes::Channel(axis as isize)).unwrap();
            let trained = layer.forward_train(&view).unwrap();
            let upstream = View::new(&dy, &shape, Axes::Channel(axis as isize)).unwrap();
            let back = layer.backward(&view, &upstream, &trained.saved).unwrap();
            for (channel, &of_channel) in gamma.iter().enumerate() {
                let json = json(
                    &folder,
                    &[
                        "--input",
                        "x.npy",
                        "--gradient",
                        "dy.npy",
                        "--gamma",
                        &list,
                        "--beta",
                        "0.25",
                        "--epsilon",
                        "1e-3",
                        "--channel-axis",
                        &axis.to_string(),
                        "--channel",
                        &channel.to_string(),
                    ],
                );
                let places: Vec<usize> = json["places"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|place| {
                        numbers(place).iter().zip(shape).fold(0, |at, (&index, length)| at * length + index as usize)
                    })
                    .collect();
                assert_eq!(places.len(), 60 / channels);
                let of = |data: &[f64]| -> Vec<f64> { places.iter().map(|&place| data[place]).collect() };
                assert_eq!(values(&json, "x"), of(&x), "{name}, axis {axis}");
                assert_eq!(values(&json, "y"), of(trained.y.data()));
                assert_eq!(gradient(&json, "y"), of(&dy));
                assert_eq!(gradient(&json, "x"), of(back.dx.data()));
                assert_eq!(gradient(&json, "gamma"), [back.dgamma.as_ref().unwrap()[channel]]);
                assert_eq!(gradient(&json, "beta"), [back.dbeta.as_ref().unwrap()[channel]]);
                let moments = trained.batch.channels()[channel];
                assert_eq!(values(&json, "mean"), [moments.mean()]);
                assert_eq!(values(&json, "variance"), [moments.population_variance()]);
                assert_eq!(values(&json, "gamma"), [of_channel]);
            }
        }
        // A file of another type for gamma; f32 input; evaluation.
        folder.save("x32.npy", &shape, &x.iter().map(|&x| x as f32).collect::<Vec<_>>());
        let eval = ["--mode", "eval", "--running-mean", "1,2,3", "--running-var", "4,5,6"];
        let json = json(&folder, &[&["--input", "x32.npy", "--gamma", "g.npy", "--channel", "1"], &eval[..]].concat());
        assert_eq!(values(&json, "gamma"), [-2.0]);
        let wide: Vec<f64> = x.iter().map(|&x| f64::from(x as f32)).collect();
        let mut layer = BatchNorm::new(3).unwrap();
        layer.set_gamma(&[1.5, -2.0, 0.5]).unwrap();
        let running = batchnorm::RunningStatistics::from_parts(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 0).unwrap();
        layer.set_running(running).unwrap();
        let y = layer.eval(&View::new(&wide, &shape, Axes::NCHW).unwrap()).unwrap().y;
        let of_channel: Vec<f64> = (0..5).flat_map(|n| y.data()[n * 12 + 4..n * 12 + 8].to_vec()).collect();
        assert_eq!(values(&json, "y"), of_channel);
        assert_eq!([values(&json, "mean"), values(&json, "variance")], [[2.0], [5.0]]);
        assert_eq!(json["directions"]["constant"]["expected"], Value::Null);
        assert_eq!(json["directions"]["stretch"]["expected"], Value::Null);
    }
}

#[test]
fn every_row_is_the_layers_to_the_bit() {
    let folder = Folder::new();
    let shape = [2, 6, 5];
    let (x, dy) = (noise(60, 3.0, 3), noise(60, 0.1, 4));
    folder.save("x.npy", &shape, &x);
    folder.save("dy.npy", &shape, &dy);
    let (of_elements, of_channels) = (noise(30, 1.0, 5), noise(6, 1.0, 6));
    folder.save("elements.npy", &shape[1..], &of_elements);
    folder.save("channels.npy", &[6], &of_channels);
    for (arguments, config, rows) in [
        (&["--layer", "norm"][..], SampleConfig::layer(2), 2),
        (&["--layer", "rms"], SampleConfig::rms(2), 2),
        (&["--layer", "group", "--groups", "3"], SampleConfig::group(3), 6),
        (&["--layer", "group", "--groups", "6"], SampleConfig::group(6), 12),
        (&["--layer", "instance"], SampleConfig::instance(), 12),
    ] {
        let by_element = rows == 2;
        let (file, gamma) = if by_element { ("elements.npy", &of_elements) } else { ("channels.npy", &of_channels) };
        let config = config.epsilon(1e-4).affine(batchnorm::Affine::ScaleAndShift);
        let mut layer: SampleNorm = config.build(if by_element { &shape[1..] } else { &[6] }).unwrap();
        layer.set_gamma(gamma).unwrap();
        layer.set_beta(&vec![-0.5; gamma.len()]).unwrap();
        let view = View::new(&x, &shape, Axes::NCHW).unwrap();
        let (y, saved) = layer.forward(&view).unwrap();
        let back = layer.backward(&view, &View::new(&dy, &shape, Axes::NCHW).unwrap(), &saved).unwrap();
        let each = 60 / rows;
        for row in 0..rows {
            let number = row.to_string();
            let input =
                ["--input", "x.npy", "--gradient", "dy.npy", "--gamma", file, "--beta", "-0.5", "--epsilon", "1e-4"];
            let json = json(&folder, &[&input[..], arguments, &["--row", &number]].concat());
            let range = row * each..(row + 1) * each;
            assert_eq!(values(&json, "x"), x[range.clone()], "{arguments:?} {row}");
            assert_eq!(values(&json, "y"), y.data()[range.clone()], "{arguments:?} {row}");
            assert_eq!(gradient(&json, "x"), back.dx.data()[range.clone()], "{arguments:?} {row}");
            let expected: Vec<f64> =
                range.map(|at| if by_element { of_elements[at % 30] } else { of_channels[at / 5 % 6] }).collect();
            assert_eq!(values(&json, "gamma"), expected);
        }
        let next = rows.to_string();
        let output = explain(&folder, &[&["--input", "x.npy", "--row", &next], arguments].concat());
        refused(&output, 2, &["--row: expected 0 to", &format!("got {rows}")]);
    }
    // Channels last: the same rows, gathered from where they lie.
    let last: Vec<f64> = (0..60).map(|at| x[at / 30 * 30 + at % 6 * 5 + at / 6 % 5]).collect();
    folder.save("last.npy", &[2, 5, 6], &last);
    let group = ["--layer", "group", "--groups", "3", "--row", "4", "--gamma", "channels.npy"];
    let first = json(&folder, &[&["--input", "x.npy"], &group[..]].concat());
    let second = json(&folder, &[&["--input", "last.npy", "--channel-axis", "-1"], &group[..]].concat());
    assert_eq!((first["nodes"].clone(), &first["jacobian"]), (second["nodes"].clone(), &second["jacobian"]));
    assert_eq!(second["places"][6], serde_json::json!([1, 1, 3]));
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
        let of = |at: &str| directions.pointer(at).and_then(Value::as_f64).expect(at);
        let constant: f64 = dx.iter().sum();
        assert!((of("/constant/sum") - constant).abs() < 1e-15);
        assert_eq!(directions["constant"]["expected"] == 0.0, constant.abs() < 1e-14, "{arguments:?}");
        if let Some(left) = directions["stretch"]["expected"].as_f64() {
            assert_eq!(left, of("/stretch/comes_in") * of("/stretch/share_left"));
            assert!((of("/stretch/sum") - left).abs() <= 1e-15 * of("/stretch/size") * 10.0, "{arguments:?}");
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

#[test]
fn flags_that_do_not_go_together_are_refused() {
    let folder = Folder::new();
    for (arguments, says) in [
        (&["--epsilon", "-1"][..], "--epsilon: expected a finite number >= 0, got -1"),
        (&["--epsilon", "nan"], "--epsilon"),
        (&["--row", "0"], "--row: expected with norms that take rows"),
        (&["--layer", "norm", "--channel", "0"], "--channel: expected with --layer batch"),
        (&["--layer", "group"], "--groups: expected with --layer group"),
        (&["--groups", "2"], "--groups"),
        (&["--mode", "eval"], "--running-mean and --running-var"),
        (&["--running-mean", "1", "--running-var", "2"], "--mode eval"),
        (
            &["--layer", "rms", "--mode", "eval", "--running-mean", "1", "--running-var", "2"],
            "expected with --layer batch",
        ),
        (&["--channel", "1"], "--channel: expected 0 to 0"),
        (&["--channel-axis", "2"], "--channel-axis: expected -2 to 1"),
        (&["--json", "--dot", "-"], "there is one stdout"),
        (&["--html", "-", "--dot", "-"], "there is one stdout"),
        (&["--html", "a", "--dot", "a"], "--html a: expected a file of its own, got that of --dot"),
    ] {
        refused(&explain(&folder, arguments), 2, &[says]);
    }
    assert!(folder.names(".").is_empty());
}

#[test]
fn arrays_that_cannot_be_explained_are_refused() {
    let folder = Folder::new();
    folder.save("x.npy", &[4, 2], &noise(8, 0.0, 7));
    folder.save("one.npy", &[1, 3], &[1.0, 2.0, 3.0]);
    folder.save("single.npy", &[3, 1], &[1.0, 2.0, 3.0]);
    folder.save("none.npy", &[0, 3], &[] as &[f64]);
    folder.save("flat.npy", &[3], &[1.0, 2.0, 3.0]);
    folder.save("nan.npy", &[2, 2], &[1.0, f64::NAN, 2.0, 3.0]);
    folder.save("inf.npy", &[4, 2], &[1.0, 0.0, f64::INFINITY, 0.0, 0.0, 0.0, 0.0, 0.0]);
    folder.save("huge.npy", &[2, 1], &[1e200, -1e200]);
    folder.save("small.npy", &[3, 1], &[0.0, 1e-150, 2e-150]);
    folder.save("far.npy", &[5, 1], &[0.0, 0.125, 0.25, 0.25, 1.0].map(|rest| 1e15 + rest));
    folder.save("other.npy", &[2, 4], &noise(8, 0.0, 8));
    folder.bytes("ragged.csv", b"1,2\n3\n");
    folder.bytes("words.csv", b"a,b\n1,2\n3,four\n");
    folder.bytes("empty.csv", b"1,2\n3,\n");
    folder.bytes("row.csv", b"1,2,3\n");
    folder.bytes("missing.csv", b"1,NA\n2,3\n");
    folder.bytes("spaces.csv", b"1.0 2.0\n3.0 4.0\n");
    folder.bytes("semicolons.csv", b"1.0;2.0\n3.0;4.0\n");
    folder.bytes("nan.csv", b"1,2\nnan,3\n");
    for (arguments, code, says) in [
        (&["--input", "no.npy"][..], 3, "no.npy"),
        (&["--input", "no.csv"], 3, "no.csv: cannot be read"),
        (&["--input", "ragged.csv"], 3, "ragged.csv: line 2: expected 2 values as in the first row, got 1"),
        (&["--input", "words.csv"], 3, "words.csv: line 3, column 2: expected a number, got `four`"),
        (&["--input", "empty.csv"], 3, "empty.csv: line 2, column 2: expected a number, got an empty cell"),
        (
            &["--input", "missing.csv"],
            3,
            "missing.csv: line 1, column 2: expected a number, got `NA`; fill in what is missing",
        ),
        (&["--input", "spaces.csv"], 3, "line 1, column 1: expected a number, got `1.0 2.0`; part values by commas"),
        (&["--input", "semicolons.csv"], 3, "got `1.0;2.0`; part values by commas, not semicolons"),
        (&["--input", "row.csv"], 4, "row.csv: expected at least 2 values a feature to normalise by, got 1"),
        (&["--input", "one.npy"], 4, "one.npy: expected at least 2 values a feature"),
        (&["--input", "single.npy", "--layer", "norm"], 4, "single.npy: expected at least 2 values a row"),
        (&["--input", "single.npy", "--layer", "instance"], 4, "got 1 (shape [3, 1])"),
        (&["--input", "none.npy"], 4, "got 0 (shape [0, 3])"),
        (&["--input", "flat.npy"], 3, "flat.npy: expected at least two axes"),
        (&["--input", "nan.npy", "--channel", "1"], 4, "nan.npy: expected finite values, got NaN at [0, 1]"),
        (&["--input", "nan.csv"], 4, "nan.csv: expected finite values, got NaN at [1, 0]"),
        (&["--input", "inf.npy"], 4, "inf.npy: expected finite values, got inf at [1, 0]"),
        (&["--input", "x.npy", "--gradient", "inf.npy"], 4, "inf.npy: expected finite values, got inf at [1, 0]"),
        (
            &["--input", "x.npy", "--gradient", "other.npy"],
            3,
            "other.npy: expected the input's shape [4, 2], got [2, 4]",
        ),
        (&["--input", "x.npy", "--gamma", "1,2,3"], 2, "--gamma 1,2,3: expected 2 values, one for each channel, got 3"),
        (&["--input", "x.npy", "--gamma", "1,x"], 2, "--gamma 1,x: expected numbers such as 1.5,2, got `x`"),
        (&["--input", "x.npy", "--gamma", "2,"], 2, "got `` among them"),
        (&["--input", "x.npy", "--gamma", "inf"], 2, "--gamma inf: expected finite values"),
        (&["--input", "x.npy", "--beta", "nothing.npy"], 3, "--beta nothing.npy: expected a file, or numbers"),
        (&["--input", "x.npy", "--beta", "single.npy"], 3, "single.npy: expected at most 2 values, got shape [3, 1]"),
        (&["--input", "x.npy", "--layer", "group", "--groups", "3"], 3, "3 groups divide evenly, got 2"),
        (&["--input", "huge.npy"], 4, "`squared` overflows"),
        (&["--input", "small.npy", "--epsilon", "0", "--gamma", "1e200"], 4, "overflows; divide the upstream gradient"),
        (&["--input", "far.npy"], 4, "subtract from the input what all values have in common"),
        (
            &["--mode", "eval", "--running-mean", "1", "--running-var", "-1"],
            2,
            "--running-var -1: expected values >= 0, got -1",
        ),
    ] {
        refused(&explain(&folder, arguments), code, &[says]);
    }
    // The other channel of a broken file, and RMS norm of one value, are fine.
    done(&explain(&folder, &["--input", "nan.npy"]));
    done(&explain(&folder, &["--input", "single.npy", "--layer", "rms"]));
}

#[test]
fn limits_are_said_before_anything_large_is_read() {
    let folder = Folder::new();
    // Files with holes where their numbers would be: nobody reads them.
    let sparse = |name: &str, shape: &[usize]| {
        let header = npy::encode(&[0, shape[1]], &[] as &[f64]).expect("a right array");
        let mut bytes = String::from_utf8_lossy(&header[10..]).into_owned();
        bytes = bytes.replace(&format!("(0, {})", shape[1]), &format!("({}, {})", shape[0], shape[1]));
        let mut whole = header[..10].to_vec();
        whole.extend_from_slice(&bytes.as_bytes()[..header.len() - 10 - 1]);
        whole.push(b'\n');
        let path = folder.bytes(name, &whole);
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(whole.len() as u64 + 8 * shape.iter().product::<usize>() as u64).unwrap();
    };
    sparse("large.npy", &[10_000, 10_000]);
    refused(
        &explain(&folder, &["--input", "large.npy"]),
        3,
        &["large.npy: expected at most 16777216 values, got shape [10000, 10000]; save a part of the array"],
    );
    sparse("long.npy", &[70_000, 2]);
    refused(&explain(&folder, &["--input", "long.npy"]), 3, &["at most 65536 values a feature, got 70000"]);
    folder.save("page.npy", &[129, 1], &noise(129, 0.0, 9));
    refused(
        &explain(&folder, &["--input", "page.npy", "--html", "page.html"]),
        3,
        &["--html: expected at most 128 values a feature for a page, got 129", "--json"],
    );
    assert!(!folder.path("page.html").exists());
    let json = json(&folder, &["--input", "page.npy"]);
    assert_eq!((json["jacobian"].clone(), values(&json, "x").len()), (Value::Null, 129));
    // The longest that is taken.
    folder.save("most.npy", &[65_536, 1], &noise(65_536, 100.0, 10));
    done(&explain(&folder, &["--input", "most.npy"]));
}

#[test]
fn outputs_go_where_they_are_asked_to() {
    let folder = Folder::new();
    let output = explain(&folder, &["--html", "page.html", "--dot", "graph.dot"]);
    assert_eq!((done(&output), text(&output.stderr)), ("", "wrote page.html\nwrote graph.dot\n"));
    assert_eq!(folder.names("."), ["graph.dot", "page.html"]);
    let to_stdout = explain(&folder, &["--html", "-"]);
    assert_eq!(done(&to_stdout), std::fs::read_to_string(folder.path("page.html")).unwrap());
    let output = explain(&folder, &["--html", "page.html", "--json"]);
    assert!(serde_json::from_str::<Value>(done(&output)).is_ok());
    let output = explain(&folder, &["--html", "no/such/page.html"]);
    refused(&output, 5, &["no/such"]);
    std::fs::create_dir(folder.path("folder")).unwrap();
    refused(&explain(&folder, &["--dot", "folder"]), 5, &["folder"]);
    support::may_lose_its_reader(support::command(folder.0.path(), &["explain", "--json"]));
    let help = explain(&folder, &["--help"]);
    let flags = "--input --layer --channel-axis --channel --row --groups --gradient --gamma --beta --epsilon --mode \
                 --running-mean --running-var --json --dot --html";
    for part in flags.split(' ').chain(["Exit codes:", "layer norm"]) {
        assert!(done(&help).contains(part), "{part}");
    }
}

/// Whatever a file is called: what is read is never written over, and two outputs are two files.
#[test]
fn no_output_takes_the_place_of_an_input_or_of_another_output() {
    let folder = Folder::new();
    let table = "1,2\n2,5\n4,3\n";
    std::fs::write(folder.path("x.csv"), table).expect("a writable folder");
    std::fs::create_dir(folder.path("sub")).expect("a writable folder");
    let own = |flag: &str, of: &str| format!("{flag}: expected a file of its own, got that of {of}");
    for (arguments, flag, of) in [
        (&["--input", "x.csv", "--html", "./x.csv"][..], "--html ./x.csv", "--input"),
        (&["--input", "x.csv", "--dot", "sub/../x.csv"], "--dot sub/../x.csv", "--input"),
        (&["--input", "x.csv", "--gradient", "./x.csv", "--html", "sub/../x.csv"], "--html sub/../x.csv", "--input"),
        (&["--html", "new", "--dot", "./new"], "--html new", "--dot"),
    ] {
        refused(&explain(&folder, arguments), 2, &[&own(flag, of)]);
        assert_eq!(std::fs::read_to_string(folder.path("x.csv")).expect("the table"), table);
        assert!(!folder.path("new").exists());
    }
}
