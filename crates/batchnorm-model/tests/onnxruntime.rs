//! The engine `onnxruntime` beside `rten`. Skipped unless `BATCHNORM_ONNXRUNTIME` is the path of the library.
#![cfg(feature = "ort")]
#![allow(missing_docs)]

#[path = "support/skip.rs"]
mod skip;
mod support;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use batchnorm_model::engine::{Array, Engine, EngineChoice, EngineError, Given, Numbers, Optimiser, Source, Written};
use batchnorm_model::engine::{borrowed, given};
use batchnorm_model::onnx::NewAttribute;
use batchnorm_model::recalibrate::{Outcome, Request, recalibrate};
use skip::{conv, network, request, written};
use support::*;

/// The library, if there is one here.
fn library() -> Option<PathBuf> {
    let path = std::env::var_os("BATCHNORM_ONNXRUNTIME").map(PathBuf::from);
    if path.is_none() {
        println!("SKIPPED: BATCHNORM_ONNXRUNTIME is not the path of libonnxruntime.so");
    }
    path
}

fn engines(library: &Path, written: &Written) -> [Box<dyn Engine>; 2] {
    let load = |choice: EngineChoice| choice.load(written, Optimiser::Off).unwrap_or_else(|error| panic!("{error}"));
    [load(EngineChoice::Rten), load(EngineChoice::OnnxRuntime(library.to_owned()))]
}

fn measure(engine: &dyn Engine, written: &Written, data: &skip::Numbers, request: &Request) -> Outcome {
    recalibrate(engine, written, data, None, request, None, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn of_file(written: &Written) -> Vec<Given> {
    written.norms.iter().map(|norm| Given::of(&norm.statistics)).collect()
}

/// Floating-point numbers within rounding of each other, others the same.
fn expect_close(one: &Array, other: &Array, name: &str) {
    assert_eq!(one.shape, other.shape, "{name}");
    let (Some(ones), Some(others)) = (one.as_floats(), other.as_floats()) else {
        return assert_eq!(one, other, "{name}");
    };
    let largest = ones.iter().fold(1.0f32, |largest, number| largest.max(number.abs()));
    let close = |(one, other): (&f32, &f32)| (one - other).abs() < 1e-5 * largest;
    assert!(ones.iter().zip(others).all(close), "{name}");
}

#[test]
fn both_engines_measure_the_same_statistics() {
    let Some(library) = library() else { return };
    let (file, data) = (network().to_bytes(), skip::Numbers::of(32, &[3, 6, 6], 6));
    let written = written(&file);
    let [rten, onnxruntime] = engines(&library, &written);
    assert!(onnxruntime.name().starts_with("onnxruntime ") && rten.name().starts_with("rten "));
    for one_pass in [false, true] {
        let expected = measure(&*rten, &written, &data, &Request { one_pass, batch: 16, ..request(vec![0, 1, 2]) });
        let got = measure(&*onnxruntime, &written, &data, &Request { one_pass, batch: 16, ..request(vec![0, 1, 2]) });
        for (one, other) in got.layers.iter().zip(&expected.layers) {
            skip::close(&one.new, &other.new, 1e-5);
        }
        assert!((got.answers.change - expected.answers.change).abs() < 1e-5);
        assert_eq!((got.engine.as_str(), expected.engine.as_str()), (onnxruntime.name(), rten.name()));
    }
}

#[test]
fn batches_and_threads_change_no_more_than_rounding() {
    let Some(library) = library() else { return };
    let (file, data) = (network().to_bytes(), skip::Numbers::of(32, &[3, 6, 6], 6));
    let written = written(&file);
    let [_, onnxruntime] = engines(&library, &written);
    let of = |batch: usize, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| measure(&*onnxruntime, &written, &data, &Request { batch, ..request(vec![0, 1, 2]) }))
    };
    let first = of(32, 1);
    for (batch, threads) in [(16, 1), (14, 2), (2, 2), (1, 1), (7, 4)] {
        for (one, other) in of(batch, threads).layers.iter().zip(&first.layers) {
            skip::close(&one.new, &other.new, 1e-5);
        }
    }
    // And the bits do not depend on threads.
    assert_eq!(of(8, 1).layers, of(8, 3).layers);
}

#[test]
fn any_value_comes_from_the_input_and_from_the_middle() {
    let Some(library) = library() else { return };
    let file = network().to_bytes();
    let written = written(&file);
    let own = of_file(&written);
    let engines = engines(&library, &written);
    let names = ["c1", "b1", "r1", "c2", "b2", "sum", "b3", "y"];
    let inputs = skip::Numbers::of(4, &[3, 6, 6], 3).read(0..4).unwrap();
    let all = engines.each_ref().map(|engine| engine.run(given(&written, borrowed(&inputs), &own), &names).unwrap());
    for (at, name) in names.iter().enumerate() {
        expect_close(&all[1][at], &all[0][at], name);
        let [_, onnxruntime] = &engines;
        let alone = onnxruntime.run(given(&written, borrowed(&inputs), &own), &[name]).unwrap();
        expect_close(&alone[0], &all[1][at], name);
        // From what was computed up to there, which the skip connection needs too; not from the input.
        let before: Vec<(String, Array)> =
            names[..at].iter().zip(&all[1]).map(|(name, array)| ((*name).to_owned(), array.clone())).collect();
        if before.is_empty() {
            continue;
        }
        let from_there = onnxruntime.run(given(&written, borrowed(&before), &own), &names[at..]).unwrap();
        for (one, other) in from_there.iter().zip(&all[1][at..]) {
            expect_close(one, other, name);
        }
    }
    let error = engines[1].run(given(&written, borrowed(&inputs), &own), &["nobody"]).unwrap_err();
    assert!(matches!(&error, EngineError::Name { name, .. } if name == "nobody"), "{error}");
    let error = engines[1].run(given(&written, [], &own), &["y"]).unwrap_err();
    assert!(error.to_string().contains("onnxruntime"), "{error}");
}

#[test]
fn whole_numbers_and_truths_go_back_in_as_the_types_that_they_came_out_with() {
    let Some(library) = library() else { return };
    // Lengths (64 bits) that are taken apart and used; a comparison; and a node of two outputs, one of which is given.
    let nodes = vec![
        conv("c1", "x", 1),
        norm("n1", "c1", "b1"),
        node("Shape", &["b1"], &["lengths"], &[]),
        node("Reshape", &["b1", "flat"], &["f"], &[]),
        node("Reshape", &["f", "lengths"], &["again"], &[]),
        node("Greater", &["again", "zero"], &["above"], &[]),
        node("Where", &["above", "again", "zero"], &["some"], &[]),
        node("Split", &["some", "halves"], &["left", "right"], &[("axis", NewAttribute::Int(1))]),
        node("Add", &["left", "right"], &["y"], &[]),
    ];
    let mut tensors = vec![
        weights("c1.w", &[4, 3, 3, 3]),
        tensor("zero", &[1], vec![0.0]),
        ints("flat", &[-1]),
        ints("halves", &[2, 2]),
    ];
    tensors.extend(vectors("n1", 4));
    let file = model(15, &[-1, 3, 6, 6], nodes, tensors).to_bytes();
    let written = written(&file);
    let own = of_file(&written);
    let engines = engines(&library, &written);
    let names = ["f", "lengths", "again", "above", "some", "left", "right", "y"];
    let inputs = skip::Numbers::of(2, &[3, 6, 6], 3).read(0..2).unwrap();
    let all = engines.each_ref().map(|engine| engine.run(given(&written, borrowed(&inputs), &own), &names).unwrap());
    let known: HashMap<&str, &Array> = names.iter().copied().zip(&all[1]).collect();
    for (name, (one, other)) in names.iter().zip(all[1].iter().zip(&all[0])) {
        expect_close(one, other, name);
    }
    assert_eq!(known["lengths"].numbers, Numbers::I32(vec![2, 4, 6, 6]));
    for (from, wanted) in [
        (vec!["f", "lengths"], vec!["again", "y"]),
        (vec!["above", "again"], vec!["some"]),
        (vec!["left", "some"], vec!["y", "right"]),
    ] {
        let from: Vec<(String, Array)> = from.iter().map(|&name| (name.to_owned(), known[name].clone())).collect();
        for engine in &engines {
            let got = engine.run(given(&written, borrowed(&from), &own), &wanted).unwrap();
            wanted.iter().zip(&got).for_each(|(name, array)| expect_close(array, known[name], name));
        }
    }
}

#[test]
fn what_rten_lacks_runs_here_and_is_named_there_with_the_remedy() {
    let Some(library) = library() else { return };
    let nodes = vec![
        conv("c1", "x", 1),
        node("Shrink", &["c1"], &["s1"], &[("lambd", NewAttribute::Float(0.1))]),
        norm("n1", "s1", "y"),
    ];
    let mut tensors = vec![weights("c1.w", &[4, 3, 3, 3])];
    tensors.extend(vectors("n1", 4));
    let file = model(15, &[-1, 3, 6, 6], nodes, tensors).to_bytes();
    let written = written(&file);
    let error = EngineChoice::Rten.load(&written, Optimiser::Off).err().expect("it has Shrink now").to_string();
    assert!(error.contains("Shrink") && error.contains("--engine onnxruntime:PATH"), "{error}");
    let engine = EngineChoice::OnnxRuntime(library).load(&written, Optimiser::Off).unwrap();
    let data = skip::Numbers::of(8, &[3, 6, 6], 4);
    let outcome = measure(&*engine, &written, &data, &request(vec![0]));
    // Shrink takes what is within 0.1 of 0 to 0, and leaves the rest as it is.
    let inputs = data.read(0..8).unwrap();
    let values = engine.run(given(&written, borrowed(&inputs), &of_file(&written)), &["c1", "s1"]).unwrap();
    let [before, after] = [0, 1].map(|at| values[at].as_floats().unwrap());
    assert!(before.iter().zip(after).all(|(&x, &y)| y == if x.abs() <= 0.1 { 0.0 } else { x }));
    let channel: Vec<f64> = after.chunks(36).step_by(4).flatten().map(|&value| f64::from(value)).collect();
    let mean = channel.iter().sum::<f64>() / channel.len() as f64;
    assert!((outcome.layers[0].new.mean[0] - mean).abs() < 1e-6);
}

#[test]
fn what_is_no_library_is_said() {
    let file = network().to_bytes();
    let written = written(&file);
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libonnxruntime.so");
    std::fs::write(&text, "no library").unwrap();
    let absent = folder.path().join("absent.so");
    for path in [&absent, &text, &folder.path().to_owned()] {
        let error = EngineChoice::OnnxRuntime(path.clone()).load(&written, Optimiser::Off).err().expect("no library");
        assert!(matches!(error, EngineError::Library { .. }));
        let said = error.to_string();
        assert!(said.contains(&path.display().to_string()) && said.contains("capi/libonnxruntime.so"), "{said}");
    }
}

#[test]
fn the_optimiser_moves_outputs_by_no_more_than_rounding() {
    let Some(library) = library() else { return };
    let file = network().to_bytes();
    let written = written(&file);
    let load = |optimiser| EngineChoice::OnnxRuntime(library.clone()).load(&written, optimiser).unwrap();
    let inputs = skip::Numbers::of(4, &[3, 6, 6], 3).read(0..4).unwrap();
    let run =
        |engine: Box<dyn Engine>| engine.run(given(&written, borrowed(&inputs), &of_file(&written)), &["y"]).unwrap();
    let [off, on] = [Optimiser::Off, Optimiser::On].map(|optimiser| run(load(optimiser)));
    expect_close(&on[0], &off[0], "y");
}
