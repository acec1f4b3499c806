//! A model as engines get it: written here, from what was read and checked.

use std::collections::{HashMap, HashSet};

use batchnorm::reference::random::Random;

use super::error::WrittenError;
use super::messages::{F32, FLOATS, Writer, put_value};
use crate::excerpt::excerpt;
use crate::numbers::Precision;
use crate::onnx::{BatchNorm, Constant, Constants, Elsewhere, Graph, Model, Node, Value, order};
use crate::parameters::LONGEST_VECTOR;
use crate::statistics::Statistics;
use crate::wire::{put_bytes, put_message, put_number};
use crate::wiring::collect_names;

/// Operators whose inputs from the second on are weights.
const WITH_WEIGHTS: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"];
/// The version of the format that is written.
const IR_VERSION: u64 = 8;

/// A model for engines.
#[derive(Debug)]
pub struct Written {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its inputs, without those of the norms' statistics.
    pub inputs: Vec<WrittenInput>,
    /// Its outputs.
    pub outputs: Vec<String>,
    /// Its batch norms whose statistics are given in each run, in an order in which they can run.
    pub norms: Vec<WrittenNorm>,
    /// The values that each node takes and makes, in that order.
    pub(super) nodes: Vec<Step>,
}

/// A node as far as it matters which comes first.
#[derive(Debug)]
pub(super) struct Step {
    pub takes: Vec<String>,
    pub makes: Vec<String>,
    /// The place of the norm that it is.
    pub norm: Option<usize>,
}

/// An input of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenInput {
    /// Its name.
    pub name: String,
    /// Its shape as the file declares it, if it does: lengths, or none where they are open.
    pub shape: Option<Vec<Option<i64>>>,
    /// It takes whole numbers.
    pub is_whole: bool,
}

/// A batch norm, by the names of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenNorm {
    /// The place of its node in the file's graph.
    pub node: usize,
    /// Its name, or that of its output.
    pub name: String,
    /// The value that it normalises.
    pub input: String,
    /// What it makes of it.
    pub output: String,
    /// The value that is its mean.
    pub mean: String,
    /// The value that is its variance.
    pub variance: String,
    /// Its statistics in the file.
    pub statistics: Statistics,
    /// The type that they have there.
    pub precision: Precision,
    /// Added to the variance.
    pub epsilon: f64,
    /// It normalises by the batch.
    pub training: bool,
    /// The place of the first norm that has the same vectors of statistics: one layer that is used several times. Its own, if it is the first.
    pub layer: usize,
}

impl Written {
    /// Writes a model that was read and checked. What is in other files is put into it.
    ///
    /// # Errors
    /// Tensors that cannot be read; what engines do not have.
    pub fn of(model: &Model, file: &[u8], elsewhere: &Elsewhere) -> Result<Written, WrittenError> {
        Written::with(model, file, elsewhere, None)
    }

    /// The same with each weight of its layers as it is or the next number above or below, at random.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn moved(model: &Model, file: &[u8], elsewhere: &Elsewhere, seed: u64) -> Result<Written, WrittenError> {
        let constants = Constants::of(&model.graph, file);
        let layers = model.graph.nodes.iter().filter(|node| node.is_one_of(WITH_WEIGHTS));
        let weights = layers.flat_map(|node| (1..node.inputs.len()).filter_map(|at| node.input(at)));
        let tensors = weights.filter_map(|name| match constants.find(name) {
            Ok(Constant::Tensor(tensor)) => Some(tensor.whole.start),
            _ => None,
        });
        Written::with(model, file, elsewhere, Some((tensors.collect(), Random::new(seed))))
    }

    fn with(
        model: &Model,
        file: &[u8],
        elsewhere: &Elsewhere,
        moved: Option<(HashSet<usize>, Random)>,
    ) -> Result<Written, WrittenError> {
        let graph = &model.graph;
        if let Some(name) = graph.sparse_initializers.first() {
            return Err(WrittenError::Sparse(excerpt(name)));
        }
        let is_function = |node: &&Node| {
            model
                .functions
                .iter()
                .any(|function| (function.domain, function.graph.name) == (node.domain, node.operator))
        };
        if let Some(node) = graph.nodes.iter().find(is_function) {
            return Err(WrittenError::Function(node.title()));
        }
        let (order, takes) = order(graph);
        let constants = Constants::of(graph, file);
        let mut names = Names::of(graph);
        let mut writer = Writer { file, elsewhere, constants: &constants, moved };
        let mut written = Written {
            bytes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            norms: Vec::new(),
            nodes: Vec::new(),
        };
        let mut layers = HashMap::new();
        let mut out = Vec::new();
        for &place in &order {
            let node = &graph.nodes[place];
            let mut step = Step {
                takes: takes[place].iter().map(|&name| name.to_owned()).collect(),
                makes: node.outputs.iter().map(|output| output.text.to_owned()).collect(),
                norm: None,
            };
            if let Some(norm) = BatchNorm::of(node, model.opset()) {
                if norm.by_position {
                    return Err(WrittenError::ByPosition(node.title()));
                }
                let known = written_norm(&norm, node, place, &constants, elsewhere, &mut names);
                // (An engine would run it as if it were not.)
                if norm.training && known.is_none() {
                    return Err(WrittenError::Training(node.title()));
                }
                let given = known.as_ref().map(|known| [known.mean.as_str(), known.variance.as_str()]);
                put_message(&mut out, 1, |out| writer.put_norm(&norm, node, given, out));
                if let Some(mut known) = known {
                    let tensors = [2, 3].map(|at| match constants.find(norm.parameters[at].unwrap_or_default()) {
                        Ok(Constant::Tensor(tensor)) => Some(tensor.whole.start),
                        _ => None,
                    });
                    known.layer = written.norms.len();
                    if let [Some(mean), Some(variance)] = tensors {
                        known.layer = *layers.entry([mean, variance]).or_insert(known.layer);
                    }
                    step.norm = Some(written.norms.len());
                    written.norms.push(known);
                }
            } else {
                let mut message = Vec::new();
                writer.put_node(node, &mut message)?;
                put_bytes(&mut out, 1, &message);
            }
            written.nodes.push(step);
        }
        put_bytes(&mut out, 2, b"graph");
        for tensor in &graph.initializers {
            let mut message = Vec::new();
            writer.put_tensor(tensor, &mut message)?;
            put_bytes(&mut out, 5, &message);
        }
        let initializers: HashSet<&str> = graph.initializers.iter().map(|tensor| tensor.name).collect();
        for input in graph.inputs.iter().filter(|input| !initializers.contains(input.name)) {
            put_message(&mut out, 11, |out| put_value(input.name, input.element, relaxed(input).as_deref(), out));
            written.inputs.push(WrittenInput {
                name: input.name.to_owned(),
                shape: input.shape.clone(),
                is_whole: input
                    .element
                    .is_some_and(|element| element as u64 != F32 && !FLOATS.contains(&element.into())),
            });
        }
        for norm in &written.norms {
            let shape = [Some(norm.statistics.mean.len() as i64)];
            for name in [&norm.mean, &norm.variance] {
                put_message(&mut out, 11, |out| put_value(name, Some(F32 as i32), Some(&shape), out));
            }
        }
        for output in &graph.outputs {
            put_message(&mut out, 12, |out| put_value(output.name, output.element, None, out));
            written.outputs.push(output.name.to_owned());
        }
        let bytes = &mut written.bytes;
        put_number(bytes, 1, IR_VERSION);
        put_bytes(bytes, 7, &out);
        for (domain, version) in &model.opsets {
            put_message(bytes, 8, |out| {
                put_bytes(out, 1, domain.as_bytes());
                put_number(out, 2, *version as u64);
            });
        }
        Ok(written)
    }

    /// How many samples the file declares, if it does.
    pub fn declared_batch(&self) -> Option<usize> {
        let first = |input: &WrittenInput| usize::try_from((*input.shape.as_ref()?.first()?)?).ok();
        self.inputs.iter().find_map(first).filter(|&batch| batch > 0)
    }

    /// The values that are computed from the model's inputs, and these.
    pub fn computed(&self) -> HashSet<&str> {
        let mut computed: HashSet<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
        for step in &self.nodes {
            if step.takes.iter().any(|name| computed.contains(name.as_str())) {
                computed.extend(step.makes.iter().map(String::as_str));
            }
        }
        computed
    }
}

/// A norm whose statistics can be given: those in the file are constants.
fn written_norm(
    norm: &BatchNorm,
    node: &Node,
    place: usize,
    constants: &Constants,
    elsewhere: &Elsewhere,
    names: &mut Names,
) -> Option<WrittenNorm> {
    let numbers = |at: usize| constants.numbers(norm.parameters[at]?, LONGEST_VECTOR, elsewhere).ok();
    let (mean, variance) = (numbers(2)?, numbers(3)?);
    // (Of others the engine says what is wrong with them.)
    if mean.len() != variance.len() || mean.is_empty() {
        return None;
    }
    Some(WrittenNorm {
        node: place,
        name: excerpt(node.known_as()),
        input: node.input(0)?.to_owned(),
        output: node.output(0)?.to_owned(),
        mean: names.unused("running_mean", place),
        variance: names.unused("running_variance", place),
        precision: variance.precision(),
        statistics: Statistics { mean: mean.to_vec(), variance: variance.to_vec() },
        epsilon: f64::from(norm.epsilon),
        training: norm.training,
        layer: 0,
    })
}

/// The lengths of an input's shape, of which the first one, of the samples, is open whatever the file says.
fn relaxed(input: &Value) -> Option<Vec<Option<i64>>> {
    let mut shape = input.shape.clone()?;
    if let Some(first) = shape.first_mut() {
        *first = None;
    }
    Some(shape)
}

/// Names that a graph has.
struct Names(HashSet<String>);

impl Names {
    fn of(graph: &Graph) -> Names {
        let mut names = HashSet::new();
        collect_names(graph, &mut names);
        Names(names)
    }

    /// A name that nothing has.
    fn unused(&mut self, what: &str, place: usize) -> String {
        let mut name = format!("batchnorm.{place}.{what}");
        while !self.0.insert(name.clone()) {
            name.push('_');
        }
        name
    }
}
