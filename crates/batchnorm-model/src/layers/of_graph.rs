//! The batch norms of a graph, of those within it, and of functions.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use crate::budget::{Budget, TooMuch};
use crate::excerpt::excerpt;
use crate::foldable::{Judge, Reason, Verdict};
use crate::layer::{ByPosition, Layer, Mode, Neighbours, OF_A_LAYER};
use crate::onnx::{BatchNorm, Constant, Constants, Elsewhere, Graph, Length, Model, Node, Shapes, User, Uses};
use crate::parameters::{LONGEST_VECTOR, Parameters};

/// Nodes that a batch which is made of constants may come through.
const LONGEST: usize = 48;
/// Other layers with the same vectors that are named.
const MOST_NAMED: usize = 3;

/// All batch norms of a model, in the order of the file.
pub(crate) fn layers(
    model: &Model,
    file: &[u8],
    elsewhere: &Elsewhere,
    budget: &mut Budget,
) -> Result<Vec<Layer>, TooMuch> {
    let mut layers = Vec::new();
    let ended = walk(model, file, &mut |norms, place, judge| {
        let layer = budget.take_bytes(OF_A_LAYER).and_then(|()| norms.layer(place, judge, elsewhere, budget));
        match layer {
            Ok(layer) => {
                layers.push(layer);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    });
    match ended {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(layers),
    }
}

/// A batch norm that was found.
pub(crate) struct Found<'f> {
    /// Its name.
    pub name: String,
    /// Its place in the model's own graph; none inside another one.
    pub node: Option<usize>,
    /// Added to the variance.
    pub epsilon: f64,
    /// Its vectors.
    pub parameters: Result<Parameters<'f>, String>,
    /// What can be done with it.
    pub verdict: Verdict,
    /// How it runs.
    pub mode: Mode,
    /// Its statistics are of each position.
    pub by_position: bool,
}

/// Goes to all batch norms of a model, in the order of the file. Ends where layers share so large vectors that looking at them would not
/// end, or that what is computed of them takes more memory than a file of this size should.
pub(crate) fn each<'f>(
    model: &Model<'f>,
    file: &'f [u8],
    elsewhere: &Elsewhere,
    budget: &mut Budget,
    visit: &mut dyn FnMut(Found<'f>),
) -> Result<(), TooMuch> {
    let ended = walk(model, file, &mut |norms, place, judge| {
        let parameters = norms.parameters(place, elsewhere);
        let channels = parameters.as_ref().map_or(0, Parameters::channels);
        if let Err(error) = budget.take_affine(channels) {
            return ControlFlow::Break(error);
        }
        visit(Found {
            name: norms.name(place),
            node: judge.map(|_| place),
            epsilon: f64::from(norms.norms[&place].epsilon),
            verdict: norms.verdict(place, judge, &parameters),
            mode: norms.mode(place),
            by_position: norms.norms[&place].by_position,
            parameters,
        });
        ControlFlow::Continue(())
    });
    ended.break_value().map_or(Ok(()), Err)
}

/// The vectors of the batch norm of a name.
pub(crate) fn parameters<'f>(
    model: &Model<'f>,
    file: &'f [u8],
    elsewhere: &Elsewhere,
    name: &str,
) -> Option<Result<Parameters<'f>, String>> {
    let found = walk(model, file, &mut |norms, place, _| match norms.name(place) == name {
        true => ControlFlow::Break(norms.parameters(place, elsewhere)),
        false => ControlFlow::Continue(()),
    });
    found.break_value()
}

/// Something done for each batch norm: with those of its graph, the node's place there, and the judge of the graph if it is the model's own.
type Visit<'v, 'f, R> = dyn FnMut(&Norms<'_, 'f>, usize, Option<&Judge<'_, 'f>>) -> ControlFlow<R> + 'v;

fn walk<'f, R>(model: &Model<'f>, file: &'f [u8], visit: &mut Visit<'_, 'f, R>) -> ControlFlow<R> {
    let opset = model.opset();
    let constants = Constants::of(&model.graph, file);
    let uses = Uses::of(&model.graph);
    let judge = Judge::new(&model.graph, &constants, &uses, opset);
    Norms::of(&model.graph, &constants, &uses, opset, None).each(Some(&judge), file, visit)?;
    for function in &model.functions {
        let graph = &function.graph;
        let constants = Constants::of(graph, file);
        let uses = Uses::of_function(function);
        let inside = format!("function {}", excerpt(graph.name));
        Norms::of(graph, &constants, &uses, function.opset.unwrap_or(opset), Some(inside)).each(None, file, visit)?;
    }
    ControlFlow::Continue(())
}

/// The batch norms of one graph.
struct Norms<'g, 'f> {
    graph: &'g Graph<'f>,
    constants: &'g Constants<'g, 'f>,
    uses: &'g Uses<'f>,
    shapes: Shapes<'g, 'f>,
    opset: i64,
    inside: Option<String>,
    /// By place.
    norms: BTreeMap<usize, BatchNorm<'f>>,
    /// How many of them have each name.
    named: HashMap<&'f str, usize>,
    /// The places of norms by the places of tensors that they use.
    sharing: HashMap<usize, Vec<usize>>,
}

impl<'g, 'f> Norms<'g, 'f> {
    fn of(
        graph: &'g Graph<'f>,
        constants: &'g Constants<'g, 'f>,
        uses: &'g Uses<'f>,
        opset: i64,
        inside: Option<String>,
    ) -> Self {
        let norm = |(place, node): (usize, &Node<'f>)| Some((place, BatchNorm::of(node, opset)?));
        let norms: BTreeMap<usize, BatchNorm> = graph.nodes.iter().enumerate().filter_map(norm).collect();
        let mut named = HashMap::new();
        let mut sharing: HashMap<usize, Vec<usize>> = HashMap::new();
        for (&place, norm) in &norms {
            *named.entry(graph.nodes[place].known_as()).or_default() += 1;
            for name in norm.parameters.iter().flatten() {
                if let Ok(Constant::Tensor(tensor)) = constants.find(name) {
                    let users = sharing.entry(tensor.whole.start).or_default();
                    if users.last() != Some(&place) {
                        users.push(place);
                    }
                }
            }
        }
        let shapes = Shapes::of(graph, uses, constants, opset);
        Norms { graph, constants, uses, shapes, opset, inside, norms, named, sharing }
    }

    /// Goes to each batch norm, those of graphs within a node where that node stands.
    fn each<R>(&self, judge: Option<&Judge<'_, 'f>>, file: &'f [u8], visit: &mut Visit<'_, 'f, R>) -> ControlFlow<R> {
        for (place, node) in self.graph.nodes.iter().enumerate() {
            if self.norms.contains_key(&place) {
                visit(self, place, judge)?;
            }
            for (attribute, inner) in node.graphs() {
                let constants = Constants::of(inner, file).within(self.constants);
                let uses = Uses::of_own_nodes(inner);
                let around = self.inside.as_ref().map_or_else(String::new, |around| format!(" in {around}"));
                let inside = excerpt(&format!("{} of {}{around}", excerpt(attribute), node.title()));
                Norms::of(inner, &constants, &uses, self.opset, Some(inside)).each(None, file, visit)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// A node's name, if no other norm has it; else the name of its output, which none has. Of a long one the ends.
    fn name(&self, place: usize) -> String {
        let node = &self.graph.nodes[place];
        excerpt(match self.named.get(node.known_as()) {
            Some(1) => node.known_as(),
            _ => node.output(0).unwrap_or_default(),
        })
    }

    fn parameters(&self, place: usize, elsewhere: &Elsewhere) -> Result<Parameters<'f>, String> {
        let words = ["scale", "shift", "mean", "variance"];
        let numbers = |at: usize| {
            let name = self.norms[&place].parameters[at].ok_or_else(|| format!("it has no {}", words[at]))?;
            let numbers = self.constants.numbers(name, LONGEST_VECTOR, elsewhere);
            numbers.map_err(|error| format!("its {}: {error}", words[at]))
        };
        Parameters::of(Some(numbers(0)?), Some(numbers(1)?), numbers(2)?, numbers(3)?)
    }

    fn layer(
        &self,
        place: usize,
        judge: Option<&Judge<'_, 'f>>,
        elsewhere: &Elsewhere,
        budget: &mut Budget,
    ) -> Result<Layer, TooMuch> {
        let norm = &self.norms[&place];
        let parameters = self.parameters(place, elsewhere);
        if let Ok(parameters) = &parameters {
            budget.look_at(4 * parameters.channels())?;
        }
        let epsilon = f64::from(norm.epsilon);
        let verdict = self.verdict(place, judge, &parameters);
        Ok(Layer {
            name: self.name(place),
            inside: self.inside.clone(),
            epsilon: Some(epsilon),
            momentum: Some(f64::from(norm.momentum)),
            neighbours: Some(Neighbours { after: self.after(place), before: self.before(place) }),
            summary: parameters.as_ref().map(|parameters| parameters.summary(Some(epsilon))).map_err(Clone::clone),
            mode: Some(self.mode(place)),
            by_position: norm.by_position.then(|| self.by_position(place, parameters.as_ref().ok())),
            verdict: Some(verdict),
            useless_bias: self.useless_bias(place, elsewhere, budget)?,
            shares_with: self.shares_with(place),
            batches: None,
        })
    }

    fn verdict(
        &self,
        place: usize,
        judge: Option<&Judge<'_, 'f>>,
        parameters: &Result<Parameters<'f>, String>,
    ) -> Verdict {
        match (judge, &self.inside) {
            (Some(judge), _) => judge.judge(place, &self.norms[&place], parameters.as_ref().map_err(String::as_str)),
            (None, inside) => Verdict::Kept(Reason::Inside(inside.clone().unwrap_or_default())),
        }
    }

    fn mode(&self, place: usize) -> Mode {
        let input = self.graph.nodes[place].input(0).unwrap_or_default();
        let reshaped = || {
            let node = &self.graph.nodes[self.uses.maker(input)?];
            node.is("Reshape").then(|| self.shapes.first_reshaped(node) == Some(Length::Fixed(1)))
        };
        if !self.norms[&place].training {
            Mode::Inference
        } else if self.shapes.is_of_constants(input, &mut { LONGEST }) {
            Mode::TrainingOfConstants
        } else if reshaped() == Some(true) {
            Mode::TrainingOfInstances
        } else {
            Mode::Training
        }
    }

    /// Whether as many numbers as channels stand where there should be one for each position: by the layer in front, or by what the graph
    /// says of its input.
    fn by_position(&self, place: usize, parameters: Option<&Parameters>) -> ByPosition {
        let input = self.graph.nodes[place].input(0).unwrap_or_default();
        let of_layer = || {
            let node = &self.graph.nodes[self.uses.maker(input)?];
            let shape = self.constants.shape(node.input(1)?)?;
            let group = node.int("group").unwrap_or(1);
            match &shape[..] {
                [channels, ..] if node.is("Conv") => Some(*channels),
                [_, channels, ..] if node.is("ConvTranspose") => channels.checked_mul(group),
                _ => None,
            }
        };
        let declared =
            || self.graph.inputs.iter().find(|value| value.name == input)?.shape.as_ref()?.get(1).copied()?;
        match (of_layer().or_else(declared), parameters) {
            (Some(channels), Some(parameters)) if parameters.channels() as i64 == channels => ByPosition::Mistaken,
            (Some(_), Some(_)) => ByPosition::Meant,
            _ => ByPosition::Unknown,
        }
    }

    /// What makes its input.
    fn after(&self, place: usize) -> String {
        let input = self.graph.nodes[place].input(0).unwrap_or_default();
        let Some(maker) = self.uses.maker(input) else {
            return String::from(if self.constants.has(input) { "a constant" } else { "the input" });
        };
        let node = &self.graph.nodes[maker];
        let weights = node.input(1).and_then(|weights| self.constants.shape(weights));
        let group = node.int("group").unwrap_or(1);
        match weights.as_deref() {
            Some([_, 1, _, ..]) if node.is("Conv") && group > 1 => String::from("depthwise Conv"),
            Some([inputs, 1, _, ..]) if node.is("ConvTranspose") && group > 1 && *inputs == group => {
                String::from("depthwise ConvTranspose")
            }
            _ if node.is_one_of(&["Conv", "ConvTranspose"]) && group > 1 => format!("grouped {}", node.operator),
            _ => excerpt(node.operator),
        }
    }

    /// What takes its output: different operators, up to a few.
    fn before(&self, place: usize) -> String {
        let output = self.graph.nodes[place].output(0).unwrap_or_default();
        let mut words: Vec<&str> = Vec::new();
        for user in self.uses.users(output).iter().take(64) {
            let word = match user {
                User::Node { node, .. } => self.graph.nodes[*node as usize].operator,
                User::Output => "the output",
                User::Inner => "a graph within",
            };
            if !words.contains(&word) {
                words.push(word);
            }
        }
        match words.len() {
            0 => String::from("nothing"),
            1..=3 => excerpt(&words.join(", ")),
            more => format!("{}, and {} others", excerpt(&words[..2].join(", ")), more - 2),
        }
    }

    /// The bias of the linear layer right behind it, if it has one that is not 0.
    fn useless_bias(
        &self,
        place: usize,
        elsewhere: &Elsewhere,
        budget: &mut Budget,
    ) -> Result<Option<(String, f64)>, TooMuch> {
        let find = || {
            let input = self.graph.nodes[place].input(0)?;
            let node = &self.graph.nodes[self.uses.maker(input)?];
            let adds =
                node.is_one_of(&["Conv", "ConvTranspose"]) || (node.is("Gemm") && node.float("beta") != Some(0.0));
            let bias = if adds { node.input(2)? } else { return None };
            let numbers = self.constants.numbers(bias, LONGEST_VECTOR, elsewhere).ok()?;
            Some((node.title(), numbers))
        };
        let Some((title, numbers)) = find() else { return Ok(None) };
        budget.look_at(numbers.len())?;
        let largest = numbers.iter().fold(0.0, |largest: f64, number| largest.max(number.abs()));
        Ok((largest > 0.0).then_some((title, largest)))
    }

    fn shares_with(&self, place: usize) -> (Vec<String>, usize) {
        let tensors =
            self.norms[&place].parameters.iter().flatten().filter_map(|name| match self.constants.find(name) {
                Ok(Constant::Tensor(tensor)) => self.sharing.get(&tensor.whole.start),
                _ => None,
            });
        // (The vector that most share: a norm may share one with some and another one with others.)
        let Some(most) = tensors.max_by_key(|users| users.len()) else { return (Vec::new(), 0) };
        let others = most.iter().filter(|other| **other != place);
        (others.take(MOST_NAMED).map(|&other| self.name(other)).collect(), most.len() - 1)
    }
}
