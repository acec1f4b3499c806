//! `batchnorm recalibrate`: what it writes, what it says, and what it refuses.

use std::fs;
use std::path::Path;

use batchnorm_io::npy;
use batchnorm_model::onnx::{NewAttribute as A, NewGraph, NewModel, NewValues};
use serde_json::{Value, json};

use crate::support::{done, folder, refused, run, text};
use crate::{healthy, models};

/// An array of numbers about 3, which no norm of the models here has seen.
pub fn put_data(folder: &Path, name: &str, shape: &[usize]) {
    let numbers = models::numbers(shape.iter().product(), 17);
    let numbers: Vec<f32> = numbers.into_iter().map(|number| (2.0 * number + 3.0) as f32).collect();
    fs::write(folder.join(name), npy::encode(shape, &numbers).unwrap()).unwrap();
}

pub fn put_labels(folder: &Path, labels: &[i64]) {
    let text: Vec<String> = labels.iter().map(i64::to_string).collect();
    fs::write(folder.join("labels.csv"), text.join("\n") + "\n").unwrap();
}

/// A classifier with the healthy network before it, which answers class 0 whatever comes.
pub fn classifier_of_pictures() -> Vec<u8> {
    let mut model = healthy();
    model.graph.nodes.extend([
        models::node("GlobalAveragePool", &["y"], &["p"], &[]),
        models::node("Flatten", &["p"], &["f"], &[]),
        models::node("Gemm", &["f", "w", "shift"], &["z"], &[]),
    ]);
    model
        .graph
        .initializers
        .extend([models::weights("w", &[4, 3]), models::tensor("shift", &[3], vec![1e3, 0.0, 0.0])]);
    model.graph.outputs = vec![models::shapeless("z")];
    model.to_bytes()
}

/// A classifier of one number by its sign around 2.5, behind a norm that changes nothing: class 0 above, 1 below.
fn classifier() -> NewModel {
    let nodes = vec![models::norm("bn", "x", "b"), models::node("Gemm", &["b", "w", "c"], &["y"], &[])];
    let tensors = vec![
        models::tensor("bn_gamma", &[1], vec![1.0]),
        models::tensor("bn_beta", &[1], vec![0.0]),
        models::tensor("bn_mean", &[1], vec![0.0]),
        models::tensor("bn_var", &[1], vec![1.0]),
        models::tensor("w", &[1, 2], vec![1.0, -1.0]),
        models::tensor("c", &[2], vec![-2.5, 2.5]),
    ];
    models::model(15, &[-1, 1], nodes, tensors)
}

#[test]
fn pictures_are_cut_where_that_is_asked_for_and_nothing_else_is() {
    let folder = folder();
    fs::write(folder.path().join("in.onnx"), healthy().to_bytes()).unwrap();
    fs::write(folder.path().join("rows.onnx"), classifier().to_bytes()).unwrap();
    put_data(folder.path(), "x.npy", &[21, 3, 9, 9]);
    put_data(folder.path(), "rows.npy", &[21, 1]);
    let recalibrated = |output: &str, more: &[&str]| {
        let command = ["recalibrate", "in.onnx", output, "--data", "x.npy", "--json"];
        let report: Value = serde_json::from_str(done(&run(folder.path(), &[&command[..], more].concat()))).unwrap();
        (report["cut"].clone(), fs::read(folder.path().join(output)).unwrap())
    };
    let (plain, cut) = (recalibrated("plain.onnx", &[]), recalibrated("cut.onnx", &["--cut"]));
    assert_eq!((&plain.0, &cut.0), (&json!(false), &json!(true)));
    assert!(plain.1 != cut.1);
    // Where a picture is cut depends on nothing but its place.
    assert!(recalibrated("other.onnx", &["--cut", "--batch", "4", "--threads", "1", "--cache", "0"]).1 == cut.1);
    refused(
        &run(folder.path(), &["recalibrate", "rows.onnx", "out.onnx", "--data", "rows.npy", "--cut"]),
        4,
        &["--cut: expected pictures"],
    );
}

#[test]
fn a_model_gets_the_statistics_of_the_data_and_gives_them_back() {
    let folder = folder();
    let of = |name: &str| fs::read(folder.path().join(name)).unwrap();
    fs::write(folder.path().join("in.onnx"), healthy().to_bytes()).unwrap();
    put_data(folder.path(), "x.npy", &[21, 3, 9, 9]);
    let output = run(folder.path(), &["recalibrate", "in.onnx", "out.onnx", "--data", "x.npy", "--json"]);
    let report: Value = serde_json::from_str(done(&output)).unwrap();
    assert_eq!(report["format"], "batchnorm-recalibrate 1");
    assert!(report["engine"].as_str().unwrap().starts_with("rten "), "{report:#}");
    assert_eq!((&report["samples"], &report["batch_norms"]), (&json!(21), &json!(2)));
    assert_eq!(report["layers"][0]["values"], json!(21 * 81));
    assert!(report["change"].as_f64().unwrap() > 0.1 && report["worse"].is_null(), "{report:#}");
    assert!(text(&output.stderr).ends_with("wrote out.onnx\n"), "{}", text(&output.stderr));
    assert!(!folder.path().join("out.onnx.unfinished").exists());
    // Whatever the batches, the threads and the room between layers; and once more changes nothing any more.
    for more in [&["--batch", "5", "--threads", "1"][..], &["--batch", "1", "--cache", "0", "--threads", "3"]] {
        let command = ["recalibrate", "in.onnx", "other.onnx", "--data", "x.npy"];
        done(&run(folder.path(), &[&command[..], more].concat()));
        assert!(of("out.onnx") == of("other.onnx"), "{more:?}");
    }
    done(&run(folder.path(), &["recalibrate", "out.onnx", "again.onnx", "--data", "x.npy"]));
    assert!(of("out.onnx") == of("again.onnx"));
    done(&run(folder.path(), &["recalibrate", "again.onnx", "again.onnx", "--rollback"]));
    assert!(of("again.onnx") == of("in.onnx"));
    refused(&run(folder.path(), &["recalibrate", "in.onnx", "z.onnx", "--rollback"]), 3, &["statistics of before"]);
}

#[test]
fn a_model_that_gets_worse_is_refused_where_that_is_asked_for() {
    let folder = folder();
    let exists = |name: &str| folder.path().join(name).exists();
    fs::write(folder.path().join("in.onnx"), classifier().to_bytes()).unwrap();
    // All above 2.5, so right before; normalised they are about 0.
    let numbers: Vec<f32> = (0..40).map(|at| 4.0 + 0.05 * at as f32).collect();
    fs::write(folder.path().join("x.npy"), npy::encode(&[40, 1], &numbers).unwrap()).unwrap();
    put_labels(folder.path(), &[0; 40]);
    let command = ["recalibrate", "in.onnx", "out.onnx", "--data", "x.npy", "--labels", "labels.csv", "--json"];
    let output = run(folder.path(), &[&command[..], &["--unless-worse"]].concat());
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("nothing is written (--unless-worse)") && !exists("out.onnx"));
    let report: Value = serde_json::from_str(text(&output.stdout)).unwrap();
    assert_eq!((&report["before"]["right"], &report["after"]["right"]), (&json!(40), &json!(0)));
    assert_eq!((&report["worse"], &report["output"]), (&json!(true), &Value::Null));
    assert_eq!((&report["verdict"], &report["lost"], &report["gained"]), (&json!("worse"), &json!(40), &json!(0)));
    // Without that it is written, with a warning; and a small share of the new statistics does no harm.
    let output = run(folder.path(), &command);
    assert!(text(&output.stderr).contains("warning: fewer answers are right") && exists("out.onnx"));
    let blended = [&command[..], &["--unless-worse", "--blend", "new:0.1"]].concat();
    let report: Value = serde_json::from_str(done(&run(folder.path(), &blended))).unwrap();
    assert_eq!((&report["after"]["right"], &report["worse"]), (&json!(40), &json!(false)));
    assert_eq!(report["verdict"], "same");
    // Without labels there are signs, and both are said of this one.
    let output = run(folder.path(), &["recalibrate", "in.onnx", "out.onnx", "--data", "x.npy"]);
    assert!(done(&output).contains("The same answer: 0.0 %"), "{}", done(&output));
}

#[test]
fn what_cannot_be_is_said_and_nothing_is_written() {
    let folder = folder();
    fs::write(folder.path().join("in.onnx"), healthy().to_bytes()).unwrap();
    put_data(folder.path(), "x.npy", &[4, 3, 9, 9]);
    put_data(folder.path(), "other.npy", &[4, 5, 9, 9]);
    put_data(folder.path(), "none.npy", &[0, 3, 9, 9]);
    put_labels(folder.path(), &[0, 1, 0]);
    fs::write(
        folder.path().join("w.safetensors"),
        crate::weights(&[("a.running_mean", vec![0.0]), ("a.running_var", vec![1.0])], &[]),
    )
    .unwrap();
    for (arguments, code, parts) in [
        (&["in.onnx", "out.onnx", "--data", "other.npy"][..], 3, &["[3, 9, 9]", "[5, 9, 9]"][..]),
        (&["in.onnx", "out.onnx", "--data", "none.npy"], 3, &["none.npy"]),
        (&["in.onnx", "out.onnx", "--data", "gone.npy"], 3, &["gone.npy"]),
        (&["in.onnx", "out.onnx", "--data", "x.npy", "--labels", "labels.csv"], 3, &["labels.csv", "4"]),
        (&["in.onnx", "out.onnx", "--data", "x.npy", "--unless-worse"], 2, &["expected labels"]),
        (&["in.onnx", "out.onnx", "--data", "x.npy", "--layers", "bn9*"], 2, &["bn9*"]),
        (&["in.onnx", "out.onnx", "--data", "x.npy", "--crop", "4"], 2, &["224x224"]),
        (&["in.onnx", "out.onnx", "--data", "x.npy", "--mean", "0.5"], 2, &["expected pictures"]),
        (&["in.onnx", "out.onnx", "--data", "x.npy", "--scale", "1/x"], 2, &["1/255", "1/x"]),
        (&["in.onnx", "out.onnx", "--data", "x.npy", "--header", "no"], 2, &["expected with a table"]),
        (&["in.onnx", "out.onnx"], 2, &["--data: expected a path"]),
        (&["w.safetensors", "out.onnx", "--data", "x.npy"], 4, &["export the network as ONNX"]),
    ] {
        let output = run(folder.path(), &[&["recalibrate"], arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        // (What flags alone say is said by their reader.)
        let last = said.lines().find(|line| line.starts_with("batchnorm: ") || line.starts_with("error: "));
        let last = last.unwrap_or_default();
        assert!(!last.is_empty() && parts.iter().all(|part| last.contains(part)), "{arguments:?}: {said}");
        assert!(!folder.path().join("out.onnx").exists(), "{arguments:?}");
    }
    let bytes = fs::read(folder.path().join("in.onnx")).unwrap();
    let named =
        run(folder.path(), &["recalibrate", "in.onnx", "out.onnx", "--data", "x.npy", "--layers", "*2", "--json"]);
    let report: Value = serde_json::from_str(done(&named)).unwrap();
    assert_eq!((report["layers"].as_array().unwrap().len(), &report["layers"][0]["name"]), (1, &json!("bn2")));
    assert!(fs::read(folder.path().join("in.onnx")).unwrap() == bytes);
}

#[test]
fn a_model_that_asks_for_too_much_ends_its_own_process_alone() {
    let folder = folder();
    put_data(folder.path(), "x.npy", &[4, 3, 9, 9]);
    let mut huge = healthy();
    huge.graph.nodes.push(models::node("ConstantOfShape", &["shape"], &["huge"], &[]));
    huge.graph.initializers.push(models::ints("shape", &[1 << 40]));
    huge.graph.outputs.push(models::shapeless("huge"));
    fs::write(folder.path().join("huge.onnx"), huge.to_bytes()).unwrap();
    let output = run(folder.path(), &["recalibrate", "huge.onnx", "out.onnx", "--data", "x.npy", "--max-memory", "1"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("bytes of memory") && said.contains("--max-memory"), "{said}");
    // A norm of no channel makes the engine panic: that is a sentence too.
    let mut empty = healthy();
    for tensor in &mut empty.graph.initializers {
        if tensor.name.starts_with("bn1") {
            tensor.shape = vec![0];
            tensor.values = NewValues::Floats(batchnorm_model::numbers::Precision::F32, Vec::new());
        }
    }
    fs::write(folder.path().join("empty.onnx"), empty.to_bytes()).unwrap();
    let output = run(folder.path(), &["recalibrate", "empty.onnx", "out.onnx", "--data", "x.npy"]);
    assert!(matches!(output.status.code(), Some(3 | 4)), "{}", text(&output.stderr));
    assert!(!folder.path().join("out.onnx").exists());
    // An operator that the engine lacks is named, and what needs no running still works.
    let mut unknown = healthy();
    unknown.graph.nodes.push(models::node("NotAnOperator", &["y"], &["z"], &[]));
    unknown.graph.outputs = vec![models::shapeless("z")];
    fs::write(folder.path().join("unknown.onnx"), unknown.to_bytes()).unwrap();
    let output = run(folder.path(), &["recalibrate", "unknown.onnx", "out.onnx", "--data", "x.npy"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("NotAnOperator") && said.contains("inspect, fold"), "{said}");
    done(&run(folder.path(), &["fold", "unknown.onnx", "out.onnx"]));
}

#[test]
fn a_norm_in_training_mode_leaves_it_with_statistics() {
    let folder = folder();
    put_data(folder.path(), "x.npy", &[6, 3, 9, 9]);
    let mut model = healthy();
    crate::set(crate::node_of(&mut model, "bn1"), "training_mode", A::Int(1));
    fs::write(folder.path().join("in.onnx"), model.to_bytes()).unwrap();
    done(&run(folder.path(), &["recalibrate", "in.onnx", "out.onnx", "--data", "x.npy"]));
    let found = crate::json(folder.path(), "out.onnx", &[]);
    assert_eq!(found["batch_norms"][0]["mode"], "inference");
    // As if it had never been in it.
    fs::write(folder.path().join("plain.onnx"), healthy().to_bytes()).unwrap();
    done(&run(folder.path(), &["recalibrate", "plain.onnx", "plain.onnx", "--data", "x.npy"]));
    let of = |name: &str| crate::json(folder.path(), name, &["--layer=bn2"])["batch_norm"]["channels"].clone();
    assert_eq!(of("out.onnx"), of("plain.onnx"));
}

#[test]
fn a_fold_is_compared_on_data_and_refused_beyond_the_tolerance() {
    let folder = folder();
    put_data(folder.path(), "x.npy", &[6, 3, 9, 9]);
    fs::write(folder.path().join("in.onnx"), healthy().to_bytes()).unwrap();
    let output = run(folder.path(), &["fold", "in.onnx", "out.onnx", "--data", "x.npy", "--json"]);
    let report: Value = serde_json::from_str(done(&output)).unwrap();
    let compared = &report["compared"];
    assert_eq!(compared["samples"], 6);
    assert!(compared["engine"].as_str().unwrap().starts_with("rten "), "{report:#}");
    assert!(compared["difference"].as_f64().unwrap() < 1e-5 && compared["floor"].as_f64().unwrap() > 0.0, "{report:#}");
    // On random numbers too; and nothing is equal to the bit.
    assert!(
        done(&run(folder.path(), &["fold", "in.onnx", "r.onnx", "--tolerance", "1e-4"]))
            .contains("Beside the original on")
    );
    refused(
        &run(folder.path(), &["fold", "in.onnx", "no.onnx", "--data", "x.npy", "--tolerance", "0"]),
        4,
        &["nothing is written"],
    );
    assert!(!folder.path().join("no.onnx").exists());
}

#[test]
fn what_the_engine_lacks_is_named_with_the_remedy_and_needs_another_one_to_run_alone() {
    let folder = folder();
    put_data(folder.path(), "x.npy", &[6, 3, 9, 9]);
    let mut model = healthy();
    let last = model.graph.outputs[0].name.clone();
    model.graph.nodes.push(models::node("Shrink", &[&last], &["shrunk"], &[]));
    model.graph.outputs = vec![models::shapeless("shrunk")];
    fs::write(folder.path().join("in.onnx"), model.to_bytes()).unwrap();
    let command = ["recalibrate", "in.onnx", "out.onnx", "--data", "x.npy"];
    refused(&run(folder.path(), &command), 4, &["Shrink", "--engine onnxruntime:PATH"]);
    done(&run(folder.path(), &["inspect", "in.onnx"]));
    done(&run(folder.path(), &["fold", "in.onnx", "folded.onnx"]));
    let by = |engine: &str| run(folder.path(), &[&command[..], &["--engine", engine]].concat());
    // (There is no library here; the tests of the library's own run in one.)
    match cfg!(feature = "ort") {
        true => refused(&by("onnxruntime:absent.so"), 4, &["absent.so", "capi/libonnxruntime.so.VERSION"]),
        false => assert!(text(&by("onnxruntime:absent.so").stderr).contains("--features ort")),
    }
    for engine in ["another", "onnxruntime:"] {
        let output = by(engine);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("expected rten, or onnxruntime:PATH"), "{}", text(&output.stderr));
    }
}

#[test]
fn other_opsets_and_graphs_within_run_as_the_file_says() {
    let folder = folder();
    put_data(folder.path(), "x.npy", &[5, 3, 9, 9]);
    let statistics = |name: &str| {
        done(&run(folder.path(), &["recalibrate", name, "out.onnx", "--data", "x.npy"]));
        crate::json(folder.path(), "out.onnx", &["--layer=bn2"])["batch_norm"]["channels"].clone()
    };
    fs::write(folder.path().join("15.onnx"), healthy().to_bytes()).unwrap();
    let expected = statistics("15.onnx");
    for opset in [6, 7, 9, 13, 21] {
        let mut model = NewModel { opset, ..healthy() };
        if opset == 6 {
            ["bn1", "bn2"].iter().for_each(|name| crate::set(crate::node_of(&mut model, name), "is_test", A::Int(1)));
        }
        fs::write(folder.path().join("m.onnx"), model.to_bytes()).unwrap();
        assert_eq!(statistics("m.onnx"), expected, "opset {opset}");
    }
    // Behind a choice that is made by a constant.
    let branch = |name: &str| {
        A::Graph(Box::new(NewGraph {
            name: name.into(),
            nodes: vec![models::node("Identity", &["c"], &[name], &[])],
            outputs: vec![models::shapeless(name)],
            ..NewGraph::default()
        }))
    };
    let mut model = healthy();
    let place = model.graph.nodes.iter().position(|node| node.name == "d").unwrap();
    model.graph.nodes[place].inputs[0] = "chosen".into();
    let choice =
        models::node("If", &["yes"], &["chosen"], &[("then_branch", branch("then")), ("else_branch", branch("else"))]);
    model.graph.nodes.insert(place, choice);
    model.graph.nodes.insert(place, models::node("Greater", &["one", "zero"], &["yes"], &[]));
    model.graph.initializers.extend([models::tensor("one", &[], vec![1.0]), models::tensor("zero", &[], vec![0.0])]);
    fs::write(folder.path().join("m.onnx"), model.to_bytes()).unwrap();
    assert_eq!(statistics("m.onnx"), expected);
}
