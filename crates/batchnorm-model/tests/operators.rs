//! ONNX's own cases of BatchNormalization (`scripts/data models`), through the engine and by the formula in f64.
#![cfg(feature = "engine")]
#![allow(missing_docs)]

mod support;

use batchnorm_model::engine::{Array, Engine, Given, Optimiser, Rten, Written, WrittenError, borrowed, given};
use batchnorm_model::onnx::{BatchNorm, Constants, Model};
use support::numbers;

#[test]
fn the_cases_of_the_operator_give_what_the_formula_gives() {
    let folder = std::env::home_dir().unwrap_or_default().join(".cache/batchnorm/data/models/operators");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return eprintln!("SKIPPED: no models in {}; scripts/data models fetches them", folder.display());
    };
    let name = |path: &std::path::PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let cases = entries.flatten().map(|entry| entry.path());
    let mut cases: Vec<_> = cases.filter(|path| name(path).contains("batchnorm")).collect();
    cases.sort();
    let (mut ran, mut refused) = (0, 0);
    for path in cases {
        let file = std::fs::read(&path).unwrap();
        let model = Model::read(&file).unwrap();
        let Some(node) = model.graph.nodes.iter().find(|node| node.is("BatchNormalization")) else { continue };
        let norm = BatchNorm::of(node, model.opset()).unwrap();
        let written = match Written::of(&model, &file, &|_, _, _| Err("none".into())) {
            // Training by statistics that are inputs: said, not run as if it were inference.
            Err(WrittenError::Training(_)) if norm.training => {
                refused += 1;
                continue;
            }
            written => written.unwrap(),
        };
        // Each case is one node, or has one behind an input.
        if model.graph.nodes.len() != 1 || norm.training {
            continue;
        }
        let constants = Constants::of(&model.graph, &file);
        let engine =
            Rten::load(written.bytes.clone(), Optimiser::Off).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let values = |name: &str, count: usize, positive: bool| -> Vec<f64> {
            match constants.numbers(name, 1 << 20, &|_, _, _| Err("none".into())) {
                Ok(known) => known.to_vec(),
                Err(_) => {
                    let seed = name.len() as u64 + 40;
                    let of = |number: f64| if positive { number.abs() + 0.1 } else { number };
                    numbers(count, seed).into_iter().map(|number| f64::from(of(number) as f32)).collect()
                }
            }
        };
        let x = written.inputs.iter().find(|input| Some(input.name.as_str()) == node.input(0)).unwrap();
        let shape: Vec<usize> =
            x.shape.as_ref().unwrap().iter().map(|length| length.map_or(2, |length| length as usize)).collect();
        let channels = shape[1];
        let plane: usize = shape[2..].iter().product();
        let input = values(&x.name, shape.iter().product(), false);
        let [gamma, beta, mean, variance] =
            [0, 1, 2, 3].map(|at| values(norm.parameters[at].unwrap(), channels, at == 3));
        let floats = |numbers: &[f64]| numbers.iter().map(|&number| number as f32).collect::<Vec<f32>>();
        let mut inputs = vec![(x.name.clone(), Array::floats(shape.clone(), floats(&input)))];
        for (at, numbers) in [&gamma, &beta, &mean, &variance].into_iter().enumerate() {
            let name = norm.parameters[at].unwrap();
            if written.inputs.iter().any(|input| input.name == name) {
                inputs.push((name.to_owned(), Array::floats(vec![channels], floats(numbers))));
            }
        }
        let own: Vec<Given> = written.norms.iter().map(|norm| Given::of(&norm.statistics)).collect();
        let given = given(&written, borrowed(&inputs), &own);
        let output = engine.run(given, &[&written.outputs[0]]).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        for (at, &got) in output[0].as_floats().unwrap().iter().enumerate() {
            let channel = at / plane % channels;
            let scale = gamma[channel] / (variance[channel] + f64::from(norm.epsilon)).sqrt();
            let expected = (f64::from(input[at] as f32) - mean[channel]) * scale + beta[channel];
            assert!(
                (f64::from(got) - expected).abs() < 1e-5 * expected.abs().max(1.0),
                "{path:?} at {at}: {got} {expected}"
            );
        }
        ran += 1;
    }
    println!("{ran} cases ran, {refused} of training were refused");
    assert!(ran >= 7 && refused >= 2, "{ran} ran, {refused} were refused");
}
