//! How an inspection is shown: the table, JSON, one layer, annotations, exit codes.

use batchnorm_model::onnx::NewAttribute as A;
use serde_json::json;

use crate::support::{done, folder, refused, run, text};
use crate::{healthy, models, node_of, set, support, weights};

fn with(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let folder = folder();
    std::fs::write(folder.path().join(name), bytes).unwrap();
    folder
}

#[test]
fn the_table_has_head_layers_and_findings() {
    let mut model = healthy();
    model.producer_version = "7".into();
    set(node_of(&mut model, "bn2"), "momentum", A::Float(0.1));
    let file = model.to_bytes();
    let folder = with("m.onnx", &file);
    let output = run(folder.path(), &["inspect", "m.onnx"]);
    let shown = done(&output);
    let mut lines = shown.lines();
    assert_eq!(
        lines.next(),
        Some(format!("m.onnx: ONNX, opset 15, by tests 7, {:.1} kB", file.len() as f64 / 1e3).as_str())
    );
    assert_eq!(lines.next(), Some("2 batch norms, 2 foldable; 1 note."));
    for part in [
        "bn1",
        "Conv",
        "Relu",
        "1e-5",
        "0.9",
        "healthy, BN013",
        "BN013 note: a momentum that looks inverted\n  bn2: its momentum, 0.1,",
    ] {
        assert!(shown.contains(part), "{shown} lacks {part}");
    }
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn reasons_and_findings_of_many_layers_stand_there_once() {
    let mut model = healthy();
    model.graph.nodes.pop();
    model.graph.nodes.push(models::node("Relu", &["d"], &["r0"], &[]));
    for number in 0..6 {
        let [from, to] = [number, number + 1].map(|number| format!("r{number}"));
        let name = format!("later{number}");
        let middle = format!("m{number}");
        model.graph.nodes.push(models::norm(&name, &from, &middle));
        model.graph.nodes.push(models::node("Relu", &[&middle], &[if number == 5 { "y" } else { &to }], &[]));
        let mut vectors = models::vectors(&name, 4);
        vectors[0].values =
            batchnorm_model::onnx::NewValues::Floats(batchnorm_model::numbers::Precision::F32, vec![1.0; 4]);
        model.graph.initializers.extend(vectors);
    }
    let folder = with("m.onnx", &model.to_bytes());
    let output = run(folder.path(), &["inspect", "m.onnx"]);
    let shown = done(&output);
    for part in [
        "7 batch norms, 1 foldable; 6 notes.",
        "  later0, later1, later2, later3 and 2 more: no linear layer beside it: it stands behind Relu, and its output goes to Relu\n",
        "BN007 note: gamma the same in every channel (6 layers)\n",
        "  and 2 more (--json has all of them)\n",
    ] {
        assert!(shown.contains(part), "{shown} lacks {part}");
    }
}

#[test]
fn one_layer_is_shown_channel_by_channel() {
    let mut model = healthy();
    let at = model.graph.initializers.iter().position(|tensor| tensor.name == "bn1_var").unwrap();
    model.graph.initializers[at] = models::tensor("bn1_var", &[4], vec![1.0, 0.0, -1.0, f64::NAN]);
    let folder = with("m.onnx", &model.to_bytes());
    let found = crate::json(folder.path(), "m.onnx", &["--layer", "bn1"]);
    let channels = found["batch_norm"]["channels"].as_array().unwrap();
    let remarks: Vec<&str> = channels.iter().map(|channel| channel["remark"].as_str().unwrap()).collect();
    assert_eq!(remarks, ["", "constant", "negative variance", "not finite"]);
    assert_eq!((&channels[1]["variance"], &channels[3]["variance"]), (&json!(0.0), &json!("NaN")));
    let of = |name: &str| channels[0][name].as_f64().unwrap();
    let scale = of("gamma") / (of("variance") + f64::from(1e-5f32)).sqrt();
    assert!((of("scale") - scale).abs() < 1e-15 && (of("shift") - (of("beta") - of("mean") * scale)).abs() < 1e-15);
    assert!(found["findings"].as_array().unwrap().iter().all(|finding| finding["layer"] == "bn1"));
    let output = run(folder.path(), &["inspect", "m.onnx", "--layer", "bn1"]);
    let shown = done(&output);
    for part in
        ["bn1: behind Conv, goes to Relu, epsilon 1e-5, momentum 0.9", "negative variance", "NaN", "BN003 error: "]
    {
        assert!(shown.contains(part), "{shown} lacks {part}");
    }
    let output = run(folder.path(), &["inspect", "m.onnx", "--layer", "bn9"]);
    refused(&output, 2, &["--layer", "m.onnx has bn1, bn2", "got `bn9`"]);
}

#[test]
fn names_are_shown_without_what_they_were_wrapped_in_and_found_by_both() {
    let names = ["running_mean", "running_var"].map(|last| format!("module.model.layer1.bn1.{last}"));
    let tensors: Vec<(&str, Vec<f32>)> = names.iter().map(|name| (name.as_str(), vec![0.5; 3])).collect();
    let folder = with("m.safetensors", &weights(&tensors, &[]));
    let output = run(folder.path(), &["inspect", "m.safetensors"]);
    assert!(done(&output).contains("│ layer1.bn1 "), "{}", done(&output));
    for name in ["layer1.bn1", "module.model.layer1.bn1"] {
        let found = crate::json(folder.path(), "m.safetensors", &["--layer", name]);
        assert_eq!(found["batch_norm"]["name"], "module.model.layer1.bn1");
        assert_eq!(found["batch_norm"]["reason"], "the file has no graph");
        assert!(found["batch_norm"]["foldable"].is_null() && found["foldable"].is_null());
    }
}

#[test]
fn a_model_without_batch_norm_is_no_failure() {
    let mut model = healthy();
    model.graph.nodes.retain(|node| node.operator == "Relu");
    node_of(&mut model, "c").inputs[0] = "x".into();
    node_of(&mut model, "c").outputs[0] = "y".into();
    model.graph.initializers.clear();
    let folder = with("m.onnx", &model.to_bytes());
    let output = run(folder.path(), &["inspect", "m.onnx"]);
    assert!(done(&output).contains("folded into the layers beside them already"), "{}", done(&output));
}

#[test]
fn what_is_denied_ends_in_code_1() {
    let mut model = healthy();
    set(node_of(&mut model, "bn2"), "momentum", A::Float(0.1));
    let at = model.graph.initializers.iter().position(|tensor| tensor.name == "bn1_var").unwrap();
    model.graph.initializers[at] = models::tensor("bn1_var", &[4], vec![1.0, 0.0, 1.0, 2.0]);
    let folder = with("m.onnx", &model.to_bytes());
    for (deny, code, said) in [
        ("error", 0, ""),
        ("warning", 1, "batchnorm: m.onnx: 1 finding is a warning or worse (--deny warning)\n"),
        ("note", 1, "batchnorm: m.onnx: 2 findings are a note or worse (--deny note)\n"),
    ] {
        for form in [&["--json"][..], &[], &["--github"]] {
            let arguments: Vec<&str> = ["inspect", "m.onnx", "--deny", deny].iter().chain(form).copied().collect();
            let output = run(folder.path(), &arguments);
            assert_eq!((output.status.code(), text(&output.stderr)), (Some(code), said), "{arguments:?}");
            assert!(!output.stdout.is_empty());
        }
    }
    refused_by_clap(&run(folder.path(), &["inspect", "m.onnx", "--deny", "fatal"]), "expected note, warning or error");
}

fn refused_by_clap(output: &std::process::Output, part: &str) {
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
}

#[test]
fn annotations_and_a_summary_for_github() {
    let mut model = healthy();
    node_of(&mut model, "bn1").name = "bn1, 100 %: a\nb|c".into();
    set(node_of(&mut model, "bn1, 100 %: a\nb|c"), "momentum", A::Float(0.1));
    train(&mut model);
    let folder = with("m.onnx", &model.to_bytes());
    let page = folder.path().join("summary.md");
    std::fs::write(&page, "before\n").unwrap();
    let output = support::command(folder.path(), &["inspect", "m.onnx", "--github"])
        .env("GITHUB_STEP_SUMMARY", &page)
        .output()
        .unwrap();
    let lines: Vec<&str> = done(&output).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("::error file=m.onnx,title=BN009 bn2::it is in training mode"), "{lines:?}");
    assert!(
        lines[1].starts_with(r"::notice file=m.onnx,title=BN013 bn1%2C 100 %25%3A a\nb|c::its momentum"),
        "{lines:?}"
    );
    let summary = std::fs::read_to_string(&page).unwrap();
    assert!(summary.starts_with("before\n### m.onnx: ONNX"), "{summary}");
    assert!(summary.contains(r"| BN013 note | bn1, 100 %: a\\nb\|c | "), "{summary}");
}

fn train(model: &mut batchnorm_model::onnx::NewModel) {
    set(node_of(model, "bn2"), "training_mode", A::Int(1));
}

#[test]
fn names_cannot_steer_a_terminal() {
    let mut model = healthy();
    let odd = "bn\u{1b}[31m\u{7}\r\u{202e}x";
    node_of(&mut model, "bn1").name = odd.into();
    node_of(&mut model, odd).inputs[4] = "gone\u{1b}]0;x\u{7}".into();
    model.producer = "\u{1b}[2J".into();
    model.graph.inputs.push(models::value("gone\u{1b}]0;x\u{7}", &[4]));
    let folder = with("m.onnx", &model.to_bytes());
    for form in [&[][..], &["--json"], &["--github"], &["--layer", odd]] {
        let arguments: Vec<&str> = ["inspect", "m.onnx"].iter().chain(form).copied().collect();
        let output = run(folder.path(), &arguments);
        let shown = done(&output);
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!shown.contains(steers), "{form:?}: {shown:?}");
    }
    let output = run(folder.path(), &["inspect", "m.onnx", "--layer", "\u{1b}[31m"]);
    refused(&output, 2, &[r"\u{1b}"]);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let folder = with("m.onnx", &healthy().to_bytes());
    support::may_lose_its_reader(support::command(folder.path(), &["inspect", "m.onnx"]));
}
