//! Drafts, in which the catalogue writes cases down: what a case is and why, and only the settings that are not usual.

use std::collections::BTreeMap;

use batchnorm::reference::Real;
use batchnorm_io::npy::Numbers;

use crate::array::Input;
use crate::case::{
    Activation, Average, Bound, Case, Estimator, Expected, Level, Norm, Operation, Problem, Refusal, Renormalization,
    Twin, Unit, Update,
};
use crate::kinds::{Element, Role};
use crate::recipe::{Recipe, Values};
use crate::truth::{self, Truth};
use batchnorm_reference::number::DoubleDouble;

/// A case in the making. Usual is: f32, training, gamma about 1 and beta about 0, eps 1e-5, an upstream gradient of
/// deviation 1.
pub struct Draft {
    name: &'static str,
    level: Level,
    what: String,
    why: String,
    problem: Problem,
    shape: Vec<usize>,
    values: Values,
    refusal: Refusal,
    bounds: BTreeMap<&'static str, Bound>,
    without: Vec<&'static str>,
    twin: Option<Twin>,
    backward: bool,
    affine: bool,
}

/// A case: its name, how much it asks, what it is, why it is there.
pub fn case(name: &'static str, level: Level, what: &str, why: &str) -> Draft {
    Draft {
        name,
        level,
        what: what.to_string(),
        why: why.to_string(),
        problem: Problem {
            norm: Norm::Batch,
            operation: Operation::Train,
            element: Element::F32,
            roles: Vec::new(),
            epsilon: 1e-5,
            update: None,
            average: None,
            renormalization: None,
            activation: None,
            layers: 1,
            inputs: BTreeMap::new(),
        },
        shape: Vec::new(),
        values: Values::of(name),
        refusal: Refusal::No,
        bounds: BTreeMap::new(),
        without: Vec::new(),
        twin: None,
        backward: true,
        affine: true,
    }
}

impl Draft {
    /// Applies the settings that several cases have in common.
    pub fn with(self, usual: impl Fn(Draft) -> Draft) -> Draft {
        usual(self)
    }

    pub fn f64(self) -> Draft {
        self.of_type(Element::F64)
    }

    pub fn f16(self) -> Draft {
        self.of_type(Element::F16)
    }

    pub fn bf16(self) -> Draft {
        self.of_type(Element::Bf16)
    }

    /// The number type, before there are numbers.
    fn of_type(mut self, element: Element) -> Draft {
        assert!(self.problem.inputs.is_empty(), "{}: the type comes first", self.name);
        self.problem.element = element;
        self
    }

    pub fn epsilon(mut self, epsilon: f64) -> Draft {
        self.problem.epsilon = epsilon;
        self
    }

    pub fn norm(mut self, norm: Norm) -> Draft {
        (self.problem.norm, self.problem.operation) = (norm, Operation::Forward);
        self
    }

    /// The shape, with the channels second.
    pub fn shape(self, shape: &[usize]) -> Draft {
        let role = |axis| [Role::Sample, Role::Channel].get(axis).copied().unwrap_or(Role::Space);
        let roles: Vec<Role> = (0..shape.len()).map(role).collect();
        self.axes(shape, &roles)
    }

    /// The shape, with the channels last.
    pub fn channels_last(self, shape: &[usize]) -> Draft {
        let last = shape.len() - 1;
        let role = |axis| if axis == 0 { Role::Sample } else { Role::Space };
        let roles: Vec<Role> = (0..last).map(role).chain([Role::Channel]).collect();
        self.axes(shape, &roles)
    }

    pub fn axes(mut self, shape: &[usize], roles: &[Role]) -> Draft {
        (self.shape, self.problem.roles) = (shape.to_vec(), roles.to_vec());
        self
    }

    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn channels(&self) -> usize {
        self.shape[self.problem.channel_axis()]
    }

    /// The channel of an element.
    pub fn channel_of(&self, place: usize) -> usize {
        let axis = self.problem.channel_axis();
        place / self.shape[axis + 1..].iter().product::<usize>() % self.shape[axis]
    }

    /// An input, rounded to its type.
    pub fn input(mut self, name: &str, shape: &[usize], values: &[f64]) -> Draft {
        let element = self.problem.element.of_input(name);
        let rounded: Vec<f64> = values.iter().map(|&value| element.round(value)).collect();
        self.problem.inputs.insert(name.to_string(), Input::dense(element.numbers(&rounded), shape));
        self
    }

    /// x, element by element.
    pub fn x(self, value: impl Fn(usize) -> f64) -> Draft {
        let (shape, values) = (self.shape.clone(), (0..self.count()).map(value).collect::<Vec<f64>>());
        self.input("x", &shape, &values)
    }

    /// x by the channel of a value and its number there, in the order of the array.
    pub fn fill(mut self, mut value: impl FnMut(usize, usize, &mut Values) -> f64) -> Draft {
        let mut next = vec![0; self.channels()];
        let mut values = Vec::with_capacity(self.count());
        for place in 0..self.count() {
            let channel = self.channel_of(place);
            values.push(value(channel, next[channel], &mut self.values));
            next[channel] += 1;
        }
        self.x(|i| values[i])
    }

    /// dy likewise, when there is an x.
    pub fn fill_dy(self, value: impl FnMut(usize, usize, &mut Values) -> f64) -> Draft {
        let x = self.problem.inputs["x"].clone();
        let mut filled = self.fill(value);
        let dy = filled.problem.inputs.insert("x".to_string(), x).expect("it was filled");
        filled.problem.inputs.insert("dy".to_string(), dy);
        filled
    }

    /// The elements of an input as they are by now.
    pub fn peek(&self, name: &str) -> Vec<f64> {
        self.problem.inputs[name].to_f64()
    }

    /// x nearly normal.
    pub fn normal(mut self, mean: f64, deviation: f64) -> Draft {
        let values = self.values.normals(self.count(), mean, deviation);
        self.x(|i| values[i])
    }

    /// x nearly normal, each channel about a mean and with a deviation of its own.
    pub fn normal_by_channel(mut self, moments: &[(f64, f64)]) -> Draft {
        let values = self.values.normals(self.count(), 0.0, 1.0);
        let channels: Vec<usize> = (0..self.count()).map(|i| self.channel_of(i)).collect();
        self.x(|i| moments[channels[i]].0 + moments[channels[i]].1 * values[i])
    }

    /// x as it is, but for some elements.
    pub fn but(self, change: impl Fn(usize, usize, f64) -> f64) -> Draft {
        let values = self.problem.inputs["x"].to_f64();
        let channels: Vec<usize> = (0..self.count()).map(|i| self.channel_of(i)).collect();
        self.x(|i| change(i, channels[i], values[i]))
    }

    /// The upstream gradient, element by element.
    pub fn dy(self, value: impl Fn(usize) -> f64) -> Draft {
        let (shape, values) = (self.shape.clone(), (0..self.count()).map(value).collect::<Vec<f64>>());
        self.input("dy", &shape, &values)
    }

    /// The upstream gradient nearly normal.
    pub fn normal_dy(mut self, mean: f64, deviation: f64) -> Draft {
        let values = self.values.normals(self.count(), mean, deviation);
        self.dy(|i| values[i])
    }

    pub fn no_backward(mut self) -> Draft {
        self.backward = false;
        self
    }

    /// One gamma and one beta for all channels.
    pub fn gamma_beta(self, gamma: f64, beta: f64) -> Draft {
        let count = self.parameters().iter().product();
        self.gammas(&vec![gamma; count]).betas(&vec![beta; count])
    }

    pub fn gammas(self, gamma: &[f64]) -> Draft {
        let shape = self.parameters();
        self.input("gamma", &shape, gamma)
    }

    pub fn betas(self, beta: &[f64]) -> Draft {
        let shape = self.parameters();
        self.input("beta", &shape, beta)
    }

    /// Neither gamma nor beta but those given.
    pub fn plain(mut self) -> Draft {
        self.affine = false;
        self
    }

    /// The shape of gamma and beta.
    fn parameters(&self) -> Vec<usize> {
        match self.problem.norm {
            Norm::Layer { axes } | Norm::Rms { axes } => self.shape[self.shape.len() - axes..].to_vec(),
            _ => vec![self.channels()],
        }
    }

    /// Evaluation by these running statistics.
    pub fn eval(mut self, mean: &[f64], variance: &[f64]) -> Draft {
        self.problem.operation = Operation::Eval;
        self.statistics(mean, variance)
    }

    fn statistics(self, mean: &[f64], variance: &[f64]) -> Draft {
        let shape = [mean.len()];
        self.input("running_mean", &shape, mean).input("running_variance", &shape, variance)
    }

    /// A rectifier behind the normalisation.
    pub fn relu(mut self) -> Draft {
        self.problem.activation = Some(Activation::Relu);
        self
    }

    /// Running statistics that start at 0 and 1, and how they follow.
    pub fn running(self, weight_of_new: f64, variance: Estimator) -> Draft {
        let count = self.channels();
        self.running_from(&vec![0.0; count], &vec![1.0; count], weight_of_new, variance)
    }

    pub fn running_from(mut self, mean: &[f64], var: &[f64], weight_of_new: f64, variance: Estimator) -> Draft {
        self.problem.update = Some(Update { weight_of_new, variance });
        self.statistics(mean, var)
    }

    /// Averages without what is left of their start.
    pub fn debiased(mut self) -> Draft {
        self.problem.average = Some(Average::Debiased);
        self
    }

    /// Training corrected towards these running statistics, within these limits of r and d.
    pub fn renormalized(mut self, r_max: f64, d_max: f64, mean: &[f64], variance: &[f64]) -> Draft {
        self.problem.renormalization = Some(Renormalization { r_max, d_max });
        self.statistics(mean, variance)
    }

    /// Several batches, each with its number of samples, mean and deviation; the other axes are those of the shape.
    pub fn batches(mut self, operation: Operation, batches: &[(usize, f64, f64)]) -> Draft {
        self.problem.operation = operation;
        (self.backward, self.affine) = (false, false);
        for (number, &(samples, mean, deviation)) in batches.iter().enumerate() {
            let mut shape = self.shape.clone();
            shape[0] = samples;
            let values = self.values.normals(shape.iter().product(), mean, deviation);
            self = self.input(&format!("x{number}"), &shape, &values);
        }
        self
    }

    /// As many layers in a chain.
    pub fn chain(mut self, layers: usize, variance: Estimator) -> Draft {
        (self.problem.operation, self.problem.layers) = (Operation::Chain, layers);
        (self.backward, self.affine) = (false, false);
        self.problem.update = Some(Update { weight_of_new: 1.0, variance });
        self
    }

    /// Weights of x's shape, or with axes of length 1.
    pub fn weights(self, shape: &[usize], weights: &[f64]) -> Draft {
        self.input("weights", shape, weights)
    }

    /// x and dy made by recipes, not stored.
    pub fn recipes(mut self, x: (f64, f64), dy: (f64, f64)) -> Draft {
        for (seed, (name, (offset, scale))) in [("x", x), ("dy", dy)].into_iter().enumerate() {
            let recipe = Recipe { seed: 2 + seed as u64, offset, scale };
            let numbers = recipe.numbers(self.problem.element, self.count());
            let input = Input { recipe: Some(recipe), ..Input::dense(numbers, &self.shape) };
            self.problem.inputs.insert(name.to_string(), input);
        }
        self
    }

    /// x laid out otherwise in memory: by strides into a buffer of NaN. The array stays the same.
    pub fn strided(mut self, strides: &[isize]) -> Draft {
        let strided = self.laid_out(strides);
        self.problem.inputs.insert("x".to_string(), strided);
        self
    }

    fn laid_out(&self, strides: &[isize]) -> Input {
        let dense = &self.problem.inputs["x"];
        // Elements between the first one and the ends of the buffer, on either side.
        let reach = |negative: bool| -> usize {
            let axes = self.shape.iter().zip(strides).filter(|(_, stride)| (**stride < 0) == negative);
            axes.map(|(length, stride)| (length - 1) * stride.unsigned_abs()).sum()
        };
        let (before, behind) = (reach(true), reach(false));
        let length = before + behind + 1;
        let (shape, strides) = (self.shape.clone(), Some(strides.to_vec()));
        let mut laid = Input { numbers: Numbers::F64(Vec::new()), shape, strides, offset: before, recipe: None };
        let mut buffer = vec![f64::NAN; length];
        for (place, value) in laid.places().into_iter().zip(dense.to_f64()) {
            buffer[place] = value;
        }
        laid.numbers = self.problem.element.numbers(&buffer);
        laid
    }

    /// Adds a twin: the same array by other strides, which must give the same bits.
    pub fn twin_strided(mut self, strides: &[isize]) -> Draft {
        let twin = self.laid_out(strides);
        self.problem.inputs.insert("x_twin".to_string(), twin);
        self.twin = Some(Twin { x: "x_twin".to_string(), channels: (0..self.channels()).collect() });
        self
    }

    /// Keeps x as it is now as a twin, then spoils some channels: the outputs of the others must have the same bits.
    pub fn spoilt(mut self, spoilt: &[usize], change: impl Fn(usize, usize, f64) -> f64) -> Draft {
        let clean = self.problem.inputs["x"].clone();
        self.problem.inputs.insert("x_twin".to_string(), clean);
        let channels = (0..self.channels()).filter(|channel| !spoilt.contains(channel)).collect();
        self.twin = Some(Twin { x: "x_twin".to_string(), channels });
        self.but(change)
    }

    pub fn refusal(mut self, refusal: Refusal) -> Draft {
        self.refusal = refusal;
        self
    }

    /// Outputs without any error.
    pub fn equal(mut self, outputs: &[&'static str]) -> Draft {
        self.bounds.extend(outputs.iter().map(|&name| (name, Bound { unit: Unit::Equal, at_most: 0.0 })));
        self
    }

    /// Outputs that are not asked for.
    pub fn without(mut self, outputs: &[&'static str]) -> Draft {
        self.without.extend(outputs);
        self
    }

    /// The direction along which x moves for the jvp, element by element.
    pub fn direction(self, value: impl Fn(usize) -> f64) -> Draft {
        let (shape, values) = (self.shape.clone(), (0..self.count()).map(value).collect::<Vec<f64>>());
        self.input("direction", &shape, &values)
    }

    pub fn normal_direction(mut self) -> Draft {
        let values = self.values.normals(self.count(), 0.0, 1.0);
        self.direction(|i| values[i])
    }

    /// The case, with what is true of it.
    pub fn done(mut self) -> Case {
        let gives = matches!(self.problem.operation, Operation::Train | Operation::Eval | Operation::Forward);
        if gives && self.affine && !self.problem.inputs.contains_key("gamma") {
            let count = self.parameters().iter().product();
            let (gamma, beta) = (self.values.normals(count, 1.0, 0.25), self.values.normals(count, 0.0, 0.5));
            self = self.gammas(&gamma).betas(&beta);
        }
        if gives && self.backward && !self.problem.inputs.contains_key("dy") {
            self = self.normal_dy(0.0, 1.0);
        }
        let required = self.refusal == Refusal::Required;
        let (truths, ratio) = if required { Default::default() } else { truth::of(&self.problem) };
        let updates = self.problem.inputs.keys().filter(|name| name.len() > 1 && name.starts_with('x')).count().max(1);
        let streamed = self.problem.inputs.get("x").is_some_and(|input| input.recipe.is_some());
        let mut expected = BTreeMap::new();
        for (name, truth) in truths {
            let absent = match name.as_str() {
                "dgamma" => !self.problem.inputs.contains_key("gamma"),
                "dbeta" => !self.problem.inputs.contains_key("beta"),
                _ => false,
            };
            if absent || self.without.contains(&name.as_str()) {
                continue;
            }
            let usual = contract(&name, &self.problem, ratio, updates);
            let bound = self.bounds.get(name.as_str()).copied().unwrap_or(usual);
            let probes = (streamed && matches!(name.as_str(), "y" | "dx")).then(|| truth::probes(self.count()));
            expected.insert(name, expect(truth, bound, self.problem.element.is_wide(), probes));
        }
        Case {
            name: self.name.to_string(),
            level: self.level,
            what: self.what,
            why: self.why,
            problem: self.problem,
            refusal: self.refusal,
            expected,
            twin: self.twin,
        }
    }
}

/// The bound of the accuracy contract (docs/numerics.md). `ratio` is the largest mean/std.
fn contract(output: &str, problem: &Problem, ratio: f64, updates: usize) -> Bound {
    let wide = 1e-13 * (1.0 + ratio);
    let ulp_of_one = problem.element.ulp(1.0);
    // Rounding to storage, once an update, on top of the moments' bound.
    let rounded = 1e-7 + updates as f64 * 2f64.powi(-24);
    let (unit, at_most) = match (output, problem.element) {
        ("y", Element::F64) if problem.operation == Operation::Chain => (Unit::Scale, wide * problem.layers as f64),
        ("y", Element::F64) => (Unit::Relative, wide),
        (_, Element::F64) => (Unit::Scale, wide),
        ("y", Element::F32) => (Unit::Ulp, 2.0),
        ("y", Element::F16 | Element::Bf16) => (Unit::Ulp, 1.5),
        ("mean" | "variance", _) => (Unit::Scale, 1e-7),
        ("running_mean" | "running_variance", _) => (Unit::Scale, rounded),
        ("dx" | "jvp", Element::F16 | Element::Bf16) => (Unit::Scale, ulp_of_one),
        _ => (Unit::Scale, 1e-6),
    };
    Bound { unit, at_most }
}

fn expect(truth: Truth, bound: Bound, wide: bool, probes: Option<Vec<usize>>) -> Expected {
    let high = |values: &[DoubleDouble]| values.iter().map(|value| value.to_f64()).collect::<Vec<f64>>();
    let low = |value: &DoubleDouble| (*value - DoubleDouble::constant(value.to_f64())).to_f64();
    let lows: Vec<f64> = truth.values.iter().map(low).collect();
    let alternative = truth.alternative.as_deref().map(high);
    let low = (wide && lows.iter().any(|low| low.is_finite() && *low != 0.0)).then_some(lows);
    Expected {
        bound,
        shape: truth.shape,
        high: high(&truth.values),
        low,
        alternative,
        scale_shape: truth.scale_shape,
        scale: truth.scale,
        probes,
    }
}
