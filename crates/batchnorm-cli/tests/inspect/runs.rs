//! The process that runs a model: what is said of its limits, and that it ends with the one that started it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use batchnorm_model::onnx::{NewAttribute as A, NewGraph, NewLength, NewModel};

use crate::recalibrate::put_data;
use crate::support::{command, folder, refused, run};
use crate::{healthy, models};

/// The healthy network, and behind it a loop of whatever many rounds.
fn endless() -> NewModel {
    let body = NewGraph {
        name: "body".into(),
        nodes: vec![models::node("Identity", &["on"], &["on2"], &[]), models::node("Relu", &["a"], &["a2"], &[])],
        inputs: ["round", "on", "a"].map(models::shapeless).to_vec(),
        outputs: ["on2", "a2"].map(models::shapeless).to_vec(),
        ..NewGraph::default()
    };
    let mut model = healthy();
    model.graph.nodes.push(models::node("Greater", &["one", "zero"], &["yes"], &[]));
    model.graph.initializers.extend([models::tensor("one", &[], vec![1.0]), models::tensor("zero", &[], vec![0.0])]);
    model.graph.nodes.push(models::node("Loop", &["", "yes", "y"], &["z"], &[("body", A::Graph(Box::new(body)))]));
    model.graph.outputs = vec![models::shapeless("z")];
    model
}

#[test]
fn memory_that_lacks_is_said_with_options_that_there_are() {
    let folder = folder();
    let mut huge = healthy();
    huge.graph.nodes.push(models::node("ConstantOfShape", &["shape"], &["huge"], &[]));
    huge.graph.initializers.push(models::ints("shape", &[1 << 30]));
    huge.graph.outputs.push(models::shapeless("huge"));
    fs::write(folder.path().join("huge.onnx"), huge.to_bytes()).unwrap();
    put_data(folder.path(), "x.npy", &[4, 3, 9, 9]);
    let said = ["bytes of memory", "--max-memory"];
    let fold = run(folder.path(), &["fold", "huge.onnx", "out.onnx", "--tolerance", "1", "--max-memory", "1"]);
    refused(&fold, 4, &said);
    assert!(!String::from_utf8_lossy(&fold.stderr).contains("--batch"), "fold has no batches");
    let command = ["recalibrate", "huge.onnx", "out.onnx", "--data", "x.npy", "--max-memory", "1"];
    let output = run(folder.path(), &command);
    let last = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    assert!(
        output.status.code() == Some(4) && said.iter().chain(&["--batch"]).all(|part| last.contains(part)),
        "{last}"
    );
    refused(
        &run(folder.path(), &["fold", "huge.onnx", "out.onnx", "--tolerance", "1", "--max-memory", "0"]),
        2,
        &["GiB"],
    );
}

#[test]
fn what_is_wrong_is_said_of_what_it_is_wrong_with() {
    let folder = folder();
    put_data(folder.path(), "x.npy", &[4, 3, 9, 9]);
    let said = |model: &NewModel, code: i32, command: &[&str], parts: &[&str]| {
        fs::write(folder.path().join("in.onnx"), model.to_bytes()).unwrap();
        let output = run(folder.path(), command);
        refused(&output, code, parts);
        assert!(!folder.path().join("out.onnx").exists());
        String::from_utf8(output.stderr).unwrap()
    };
    let recalibrate = ["recalibrate", "in.onnx", "out.onnx", "--data", "x.npy"];
    // Too little memory for threads is no fault of the model.
    let little = [&recalibrate[..], &["--max-memory", "0.01"]].concat();
    assert!(!said(&healthy(), 4, &little, &["threads", "--max-memory"]).contains("damaged"));
    // Vectors of another length than the channels, and than each other.
    let vector = |model: &mut NewModel, name: &str, length: usize| {
        let tensor = model.graph.initializers.iter_mut().find(|tensor| tensor.name == name).unwrap();
        *tensor = models::tensor(name, &[length], vec![0.5; length]);
    };
    let norm = || vec![models::norm("bn", "x", "y")];
    let longer = models::model(15, &[-1, 3, 9, 9], norm(), models::vectors("bn", 5));
    said(&longer, 4, &recalibrate, &["bn: its statistics have 5 channels, and its input has 3"]);
    let mut other = models::model(15, &[-1, 1], norm(), models::vectors("bn", 1));
    vector(&mut other, "bn_gamma", 2);
    said(&other, 4, &recalibrate, &["not of one length"]);
    // A node without a name is known by its output.
    let mut nameless = healthy();
    nameless.graph.nodes.push(models::node("Gather", &["y", "far"], &["z"], &[]));
    nameless.graph.nodes.last_mut().unwrap().name.clear();
    nameless.graph.initializers.push(models::ints("far", &[99]));
    nameless.graph.outputs = vec![models::shapeless("z")];
    said(&nameless, 4, &["fold", "in.onnx", "out.onnx", "--data", "x.npy"], &["Gather z"]);
    // Names and shapes of any length are no lines of any length.
    let (mut long, name) = (healthy(), "a".repeat(100_000));
    long.graph.inputs[0].name.clone_from(&name);
    long.graph.nodes[0].inputs[0] = name;
    long.graph.inputs[0].shape = Some(vec![NewLength::Open("any".into()); 50_000]);
    assert!(said(&long, 3, &recalibrate, &["any, any and 49991 more", "aaa…aaa"]).len() < 1000);
    // A few megabytes that many norms share.
    let mut sharing = healthy();
    for name in ["gamma", "beta", "mean", "var"] {
        sharing.graph.initializers.push(models::tensor(&format!("all_{name}"), &[1 << 18], vec![1.0; 1 << 18]));
    }
    for at in 0..100 {
        let mut norm = models::norm("all", "a", &format!("shared{at}"));
        norm.name = format!("shared{at}");
        sharing.graph.nodes.push(norm);
    }
    said(&sharing, 3, &["fold", "in.onnx", "out.onnx"], &["plenty for a model of this size"]);
    said(&sharing, 3, &recalibrate, &["plenty for a model of this size"]);
}

/// The processes that another one started.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let of = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|process: &u32| {
        let status = of(Path::new(&format!("/proc/{process}/stat")));
        let rest = status.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1) == Some(&parent.to_string()) && !rest.starts_with('Z')
    })
    .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_model_without_end_ends_with_whoever_started_it() {
    let folder = folder();
    fs::write(folder.path().join("in.onnx"), endless().to_bytes()).unwrap();
    put_data(folder.path(), "x.npy", &[4, 3, 9, 9]);
    let mut program = command(folder.path(), &["recalibrate", "in.onnx", "out.onnx", "--data", "x.npy"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let within = |what: &str| assert!(start.elapsed() < Duration::from_secs(60), "{what}");
    // (There is one for the fingerprint first; the one that measures does not end.)
    let child = loop {
        within("a process that runs the model");
        let seen = children(program.id());
        sleep(Duration::from_millis(500));
        match (&seen[..], &children(program.id())[..]) {
            ([one], [same]) if one == same => break *one,
            _ => {}
        }
    };
    program.kill().unwrap();
    program.wait().unwrap();
    while Path::new(&format!("/proc/{child}/exe")).read_link().is_ok() {
        within("its end");
        sleep(Duration::from_millis(20));
    }
    assert!(!folder.path().join("out.onnx").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_a_model_without_end() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let folder = folder();
    fs::write(folder.path().join("in.onnx"), endless().to_bytes()).unwrap();
    put_data(folder.path(), "x.npy", &[4, 3, 9, 9]);
    // (Which of the two sees it first is left to the system: so several times.)
    for _ in 0..8 {
        let program = command(folder.path(), &["fold", "in.onnx", "out.onnx", "--data", "x.npy"])
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while children(program.id()).is_empty() {
            sleep(Duration::from_millis(5));
        }
        sleep(Duration::from_millis(200));
        // (As a terminal does it: to the process that runs the model too.)
        let sent = Command::new("kill").args(["-INT", "--", &format!("-{}", program.id())]).status().unwrap();
        assert!(sent.success());
        refused(&program.wait_with_output().unwrap(), 130, &["interrupted; nothing is written"]);
    }
    assert!(!folder.path().join("out.onnx").exists());
}

/// Names of files may be any bytes on Linux; the process that runs the model gets them as they are.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_utf_8_reach_the_process_that_runs_the_model() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = folder();
    let [model, data] = [&b"m\xff.onnx"[..], &b"x\xfe.npy"[..]].map(OsStr::from_bytes);
    fs::write(folder.path().join(model), healthy().to_bytes()).unwrap();
    put_data(folder.path(), "x.npy", &[4, 3, 9, 9]);
    fs::rename(folder.path().join("x.npy"), folder.path().join(data)).unwrap();
    for [name, flag] in [["recalibrate", "out.onnx"], ["fold", "folded.onnx"], ["inspect", "--json"]] {
        let output = command(folder.path(), &[name]).arg(model).args([flag, "--data"]).arg(data).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(["out.onnx", "folded.onnx"].iter().all(|name| folder.path().join(name).is_file()));
}
