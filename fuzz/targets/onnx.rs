//! Any bytes as a model of ONNX: nothing panics, hangs or takes more memory than a file of this size should. What is read lies within
//! the file; a model that reads and whose graph can run is inspected, and each batch norm that is there is found, and found again by its
//! name.

#![no_main]

use std::ops::Range;

use batchnorm_fuzz::{files, memory, mutate};
use batchnorm_model::file::{FileError, ModelFile};
use batchnorm_model::fold::FoldError;
use batchnorm_model::health::Code;
use batchnorm_model::kind::Kind;
use batchnorm_model::layer::Layer;
use batchnorm_model::onnx::{BatchNorm, Constant, Constants, Graph, Model, Node, Tensor, Uses};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

/// Values of a vector that are asked for here.
const MOST: usize = 1 << 10;
/// Axes that any constant may have; of one with many more no shape is given.
const AXES: usize = 8;

fuzz_target!(init: memory::make_room_for_panics(), |bytes: &[u8]| {
    memory::limited(bytes.len(), || reads(bytes))
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::mutate_message(data, size, max_size, seed, 0)
});

fn reads(bytes: &[u8]) {
    // Batch norms, if the model can be read and run.
    let norms = match Model::read(bytes) {
        Ok(model) => {
            let runs = model.check();
            lies_within(&model, bytes);
            let graphs = std::iter::once(&model.graph).chain(model.functions.iter().map(|function| &function.graph));
            let count = graphs.map(|graph| batch_norms(graph, model.opset())).sum();
            runs.map(|()| count).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    inspects(bytes, norms);
}

/// The same as a file. What another kind of file would be is looked at as that one.
fn inspects(bytes: &[u8], norms: Result<usize, String>) {
    let file = match ModelFile::open(&files::put("model.onnx", bytes)) {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let inspection = match file.inspect() {
        Ok(inspection) => inspection,
        Err(FileError::Parts(_)) => return,
        Err(error) => {
            assert!(file.kind() != Kind::Onnx || norms.is_err(), "{error}, of a model that reads and runs");
            return;
        }
    };
    if file.kind() == Kind::Onnx {
        assert_eq!(Ok(inspection.layers.len()), norms, "batch norms");
        folds(&file, bytes, inspection.layers.len());
        repairs(&file, bytes, inspection.layers.len());
    }
    assert!(!inspection.layers.is_empty() || !inspection.findings.is_empty(), "nothing to say");
    for finding in &inspection.findings {
        assert!(!finding.text.is_empty() && !finding.mend.words.is_empty(), "{finding:?}");
        let named = |name: &String| inspection.layers.iter().any(|layer| layer.name == *name);
        assert!(finding.layer.as_ref().is_none_or(named), "{finding:?}");
    }
    for layer in &inspection.layers {
        is_found_again(&file, layer, &inspection.layers);
    }
}

/// What is folded can be read and run, and has as many batch norms less; where nothing is folded it is the file, to the bit. A proof that
/// fails would be our own mistake.
fn folds(file: &ModelFile, bytes: &[u8], norms: usize) {
    for to_mul_and_add in [false, true] {
        let folding = match file.fold(to_mul_and_add) {
            Ok(folding) => folding,
            Err(FileError::Fold(error @ FoldError::Proof { .. })) => panic!("{error}"),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let new = file.folded_bytes(&folding).expect("a folded model");
        let gone = folding.folded.iter().chain(&folding.unfolded).filter(|folded| !folded.was_frozen).count();
        assert!(to_mul_and_add || folding.unfolded.is_empty());
        if folding.folded.is_empty() && folding.unfolded.is_empty() {
            assert_eq!(new, bytes);
        }
        let model = Model::read(&new).expect("a folded model that reads");
        model.check().expect("a folded model that can run");
        let graphs = std::iter::once(&model.graph).chain(model.functions.iter().map(|function| &function.graph));
        let left: usize = graphs.map(|graph| batch_norms(graph, model.opset())).sum();
        assert_eq!(left + gone, norms, "batch norms of the folded model");
    }
}

/// What is mended can be read and run, has as many batch norms less as were of constants, and nothing more to mend; where nothing is
/// mended it is the file, to the bit.
fn repairs(file: &ModelFile, bytes: &[u8], norms: usize) {
    let repaired = match file.repair() {
        Ok(repaired) => repaired,
        Err(FileError::Parts(_)) => return,
        Err(error) => panic!("{error}, of a model that is inspected"),
    };
    if repaired.changes.is_empty() {
        assert_eq!(repaired.bytes, bytes);
    }
    let model = Model::read(&repaired.bytes).expect("a mended model that reads");
    model.check().expect("a mended model that can run");
    let graphs = std::iter::once(&model.graph).chain(model.functions.iter().map(|function| &function.graph));
    let left: usize = graphs.map(|graph| batch_norms(graph, model.opset())).sum();
    let gone = repaired.changes.iter().filter(|change| change.code == Some(Code::TrainingOfConstants)).count();
    assert_eq!(left + gone, norms, "batch norms of the mended model");
    let again = ModelFile::open(&files::put("mended.onnx", &repaired.bytes)).expect("a mended model as a file");
    match again.repair() {
        Ok(again) => assert!(again.changes.is_empty(), "mended again: {:?}", again.changes),
        Err(error) => assert!(matches!(error, FileError::Parts(_)), "{error}, of a mended model"),
    }
}

fn is_found_again(file: &ModelFile, layer: &Layer, all: &[Layer]) {
    let found = file.parameters(&layer.name).expect("a file that has been inspected").expect("a layer of this name");
    // (Of several with one name it is the first.)
    if all.iter().filter(|other| other.name == layer.name).count() == 1 {
        let summary = found.map(|parameters| parameters.summary(layer.epsilon));
        assert_eq!(summary, layer.summary, "{}", layer.name);
    }
}

fn batch_norms(graph: &Graph, opset: i64) -> usize {
    let of_node = |node: &Node| {
        let inner: usize = node.graphs().map(|(_, inner)| batch_norms(inner, opset)).sum();
        usize::from(BatchNorm::of(node, opset).is_some()) + inner
    };
    graph.nodes.iter().map(of_node).sum()
}

/// Each part lies within the file, and within what it is a part of.
fn lies_within(model: &Model, file: &[u8]) {
    let within = |inner: &Range<usize>, outer: &Range<usize>| {
        assert!(
            inner.start <= inner.end && outer.start <= inner.start && inner.end <= outer.end,
            "{inner:?} in {outer:?}"
        );
    };
    let whole = 0..file.len();
    let mut graphs = vec![&model.graph];
    within(&model.graph.content, &whole);
    for function in &model.functions {
        asks(&function.graph, file);
        graphs.extend(function.graph.nodes.iter().flat_map(Node::graphs).map(|(_, inner)| inner));
    }
    while let Some(graph) = graphs.pop() {
        asks(graph, file);
        for tensor in &graph.initializers {
            within(&tensor.whole, &graph.content);
            within(&tensor.content, &tensor.whole);
        }
        for value in graph.inputs.iter().chain(&graph.outputs) {
            within(&value.whole, &graph.content);
        }
        for node in &graph.nodes {
            within(&node.whole, &graph.content);
            within(&node.content, &node.whole);
            for text in node.inputs.iter().chain(&node.outputs) {
                within(&text.whole, &node.content);
                assert!(file[text.whole.clone()].ends_with(text.text.as_bytes()));
            }
            for attribute in &node.attributes {
                within(&attribute.whole, &node.content);
            }
            for (_, inner) in node.graphs() {
                within(&inner.content, &node.content);
                graphs.push(inner);
            }
        }
    }
}

/// Asks for constants and users of all values of a graph.
fn asks(graph: &Graph, file: &[u8]) {
    let nowhere = |_: &str, _: u64, _: Option<u64>| Err(String::from("nowhere"));
    let constants = Constants::of(graph, file);
    let uses = Uses::of(graph);
    for (place, node) in graph.nodes.iter().enumerate() {
        for value in node.inputs.iter().chain(&node.outputs).map(|text| text.text) {
            assert_eq!(constants.has(value), constants.find(value).is_ok());
            match (constants.find(value), constants.shape(value)) {
                (Ok(Constant::Tensor(tensor)), Some(shape)) => assert_eq!(shape, tensor.dims),
                (Ok(Constant::Tensor(tensor)), None) => assert!(tensor.dims.len() > AXES, "{:?}", tensor.dims),
                (constant, shape) => assert_eq!(shape.is_some(), constant.is_ok()),
            }
            let _ = constants.whole_numbers(value);
            if let Ok(numbers) = constants.numbers(value, MOST, &nowhere) {
                assert_eq!(numbers.iter().count(), numbers.len());
                assert!(numbers.len() <= MOST);
            }
            assert!(uses.maker(value).is_none_or(|maker| maker < graph.nodes.len()));
            let _ = uses.users(value).len();
        }
        let made = |text: &str| text.is_empty() || uses.maker(text).is_some_and(|maker| maker >= place);
        assert!(node.outputs.iter().all(|output| made(output.text)));
    }
    for tensor in &graph.initializers {
        has_its_values(tensor, file);
    }
}

fn has_its_values(tensor: &Tensor, file: &[u8]) {
    let nowhere = |_: &str, _: u64, _: Option<u64>| Err(String::from("nowhere"));
    match tensor.numbers(file, &nowhere) {
        Ok(numbers) => assert_eq!(Ok(numbers.len()), tensor.count()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
