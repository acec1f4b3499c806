//! Our own layer as an implementation.

use std::collections::BTreeMap;
use std::fmt::Display;

use batchnorm::{
    Activation, Affine, Averaging, Axes, AxisRole, BatchNorm, Config, Estimator as LayerEstimator, Gradients,
    Input as LayerInput, ParameterDirection, Population, Renormalization, RunningStatistics, SampleConfig, SampleNorm,
    Tensor, UpdateWeight, View, ViewMut, Weights,
};
use batchnorm_io::npy::Numbers;
use half::{bf16, f16};

use crate::array::Input;
use crate::case::{Activation as Follows, Average, Estimator, Norm, Operation, Problem, Renormalization as Limits};
use crate::judge::{Answer, Implementation, Outputs};
use crate::kinds::{Element, Role};

/// The crate `batchnorm`, with the policies it has by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ours;

impl Implementation for Ours {
    fn solve(&self, problem: &Problem) -> Answer {
        let outputs = match problem.element {
            Element::F64 => solve::<f64>(problem),
            Element::F32 => solve::<f32>(problem),
            Element::F16 => solve::<f16>(problem),
            Element::Bf16 => solve::<bf16>(problem),
        };
        outputs.map_or_else(Answer::Refused, Answer::Outputs)
    }
}

/// A number type of the layer, from what cases store.
trait Stored: batchnorm::Element {
    fn from_numbers(numbers: &Numbers) -> Vec<Self>;
}

macro_rules! stored {
    ($float:ty, $variant:ident, $convert:expr) => {
        impl Stored for $float {
            fn from_numbers(numbers: &Numbers) -> Vec<Self> {
                let Numbers::$variant(values) = numbers else { panic!("cases are stored in the type of their arrays") };
                values.iter().map($convert).collect()
            }
        }
    };
}
stored!(f64, F64, |&value| value);
stored!(f32, F32, |&value| value);
stored!(f16, F16, |&value| value);
stored!(bf16, F32, |&value| bf16::from_f32(value));

/// A refusal in its own words.
fn words(error: impl Display) -> String {
    error.to_string()
}

/// An input in the layer's type, as it lies in memory.
struct Array<T> {
    data: Vec<T>,
    shape: Vec<usize>,
    strides: Option<Vec<isize>>,
    offset: usize,
}

impl<T: Stored> Array<T> {
    fn of(input: &Input) -> Array<T> {
        let data = T::from_numbers(&input.numbers);
        Array { data, shape: input.shape.clone(), strides: input.strides.clone(), offset: input.offset }
    }

    fn view<'a>(&'a self, roles: &'a [AxisRole]) -> Result<View<'a, T>, String> {
        let axes = Axes::Roles(roles);
        match &self.strides {
            Some(strides) => View::with_strides(&self.data, &self.shape, strides, self.offset, axes),
            None => View::new(&self.data, &self.shape, axes),
        }
        .map_err(words)
    }
}

fn roles(problem: &Problem) -> Vec<AxisRole> {
    let role = |role: &Role| match role {
        Role::Sample => AxisRole::Sample,
        Role::Channel => AxisRole::Channel,
        Role::Space => AxisRole::Space,
    };
    problem.roles.iter().map(role).collect()
}

fn parameter(problem: &Problem, name: &str) -> Option<Vec<f64>> {
    problem.inputs.get(name).map(Input::to_f64)
}

fn affine(problem: &Problem) -> Affine {
    match ["gamma", "beta"].map(|name| problem.inputs.contains_key(name)) {
        [true, true] => Affine::ScaleAndShift,
        [true, false] => Affine::ScaleOnly,
        [false, true] => Affine::ShiftOnly,
        [false, false] => Affine::Neither,
    }
}

fn estimator(problem: &Problem) -> LayerEstimator {
    match problem.update.map(|update| update.variance) {
        Some(Estimator::Population) => LayerEstimator::Population,
        _ => LayerEstimator::Sample,
    }
}

fn config(problem: &Problem) -> Result<Config, String> {
    let config = Config::pytorch().epsilon(problem.epsilon).affine(affine(problem)).estimator(estimator(problem));
    let config = match problem.activation {
        Some(Follows::Relu) => config.activation(Activation::Relu),
        None => config,
    };
    let config = match problem.renormalization {
        Some(Limits { r_max, d_max }) => config.renormalization(Renormalization::new(r_max, d_max).map_err(words)?),
        None => config,
    };
    let Some(update) = problem.update else { return Ok(config) };
    let weight = UpdateWeight::of_new(update.weight_of_new).map_err(words)?;
    Ok(match problem.average {
        Some(Average::Debiased) => config.averaging(Averaging::Debiased(weight)),
        None => config.averaging(weight),
    })
}

/// The layer with the problem's parameters and running statistics.
fn layer(problem: &Problem) -> Result<BatchNorm, String> {
    let mut layer = config(problem)?.build().map_err(words)?;
    if let Some(gamma) = parameter(problem, "gamma") {
        layer.set_gamma(&gamma).map_err(words)?;
    }
    if let Some(beta) = parameter(problem, "beta") {
        layer.set_beta(&beta).map_err(words)?;
    }
    if let Some((mean, variance)) = parameter(problem, "running_mean").zip(parameter(problem, "running_variance")) {
        // A debiased average begins where nothing has been taken in.
        let updates = u64::from(problem.average.is_none());
        layer.set_running(RunningStatistics::from_parts(&mean, &variance, updates).map_err(words)?).map_err(words)?;
    }
    Ok(layer)
}

fn solve<T: Stored>(problem: &Problem) -> Result<Outputs, String> {
    match problem.operation {
        Operation::Train | Operation::Eval => step::<T>(problem),
        Operation::Forward => forward::<T>(problem),
        Operation::Updates => updates::<T>(problem),
        Operation::Population => population::<T>(problem),
        Operation::Chain => chain::<T>(problem),
    }
}

fn elements<T: Stored>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

fn insert_gradients<T: Stored>(outputs: &mut Outputs, gradients: Gradients<T>) {
    use batchnorm::Number;
    outputs.insert("dx".to_string(), elements(gradients.dx.data()));
    for (name, values) in [("dgamma", gradients.dgamma), ("dbeta", gradients.dbeta)] {
        if let Some(values) = values {
            outputs.insert(name.to_string(), values.iter().map(|value| value.to_f64()).collect());
        }
    }
}

fn insert_running(outputs: &mut Outputs, running: &RunningStatistics) {
    outputs.insert("running_mean".to_string(), running.mean().to_vec());
    outputs.insert("running_variance".to_string(), running.variance().to_vec());
}

fn step<T: Stored>(problem: &Problem) -> Result<Outputs, String> {
    let roles = roles(problem);
    let arrays: BTreeMap<&str, Array<T>> = ["x", "dy", "weights", "direction"]
        .into_iter()
        .filter_map(|name| problem.inputs.get(name).map(|input| (name, Array::of(input))))
        .collect();
    let view = |name: &str| arrays.get(name).map(|array| array.view(&roles)).transpose();
    let x = view("x")?.ok_or("there is no x")?;
    let weights =
        arrays.get("weights").map(|array| Weights::new(&array.data, &array.shape)).transpose().map_err(words)?;
    let input = weights.as_ref().map_or(LayerInput::from(&x), |weights| LayerInput::weighted(&x, weights));
    let mut layer = layer(problem)?;
    let mut outputs = Outputs::new();
    let saved = if problem.operation == Operation::Train {
        let trained = layer.train(input).map_err(words)?;
        outputs.insert("y".to_string(), elements(trained.y.data()));
        let moments = trained.batch.channels();
        outputs.insert("mean".to_string(), moments.iter().map(|channel| channel.mean()).collect());
        outputs.insert("variance".to_string(), moments.iter().map(|channel| channel.population_variance()).collect());
        if let Some(running) = layer.running().filter(|_| problem.update.is_some()) {
            insert_running(&mut outputs, running);
        }
        trained.saved
    } else {
        let evaluated = layer.eval(input).map_err(words)?;
        outputs.insert("y".to_string(), elements(evaluated.y.data()));
        evaluated.saved
    };
    if let Some(dy) = view("dy")? {
        let gradients = match &weights {
            Some(weights) => layer.backward(batchnorm::Input::weighted(&x, weights), &dy, &saved),
            None => layer.backward(&x, &dy, &saved),
        };
        insert_gradients(&mut outputs, gradients.map_err(words)?);
    }
    if let Some(direction) = view("direction")? {
        let mut moved = vec![T::from_f64(0.0); arrays["direction"].data.len()];
        let mut out = ViewMut::new(&mut moved, &arrays["direction"].shape, Axes::Roles(&roles)).map_err(words)?;
        saved.jvp(&x, &direction, ParameterDirection::default(), &mut out).map_err(words)?;
        outputs.insert("jvp".to_string(), elements(&moved));
    }
    Ok(outputs)
}

fn forward<T: Stored>(problem: &Problem) -> Result<Outputs, String> {
    let roles = roles(problem);
    let array = Array::<T>::of(&problem.inputs["x"]);
    let x = array.view(&roles)?;
    let last = |axes: usize| array.shape[array.shape.len().saturating_sub(axes)..].to_vec();
    let (config, shape) = match problem.norm {
        Norm::Layer { axes } => (SampleConfig::layer(axes), last(axes)),
        Norm::Rms { axes } => (SampleConfig::rms(axes), last(axes)),
        Norm::Group { groups } => (SampleConfig::group(groups), vec![x.channels()]),
        Norm::GroupRms { groups } => (SampleConfig::group_rms(groups), vec![x.channels()]),
        Norm::Instance => (SampleConfig::instance(), vec![x.channels()]),
        Norm::Batch => return Err("batch norm has training and evaluation".to_string()),
    };
    let config = match problem.activation {
        Some(Follows::Relu) => config.activation(Activation::Relu),
        None => config,
    };
    let mut norm: SampleNorm = config.epsilon(problem.epsilon).affine(affine(problem)).build(&shape).map_err(words)?;
    if let Some(gamma) = parameter(problem, "gamma") {
        norm.set_gamma(&gamma).map_err(words)?;
    }
    if let Some(beta) = parameter(problem, "beta") {
        norm.set_beta(&beta).map_err(words)?;
    }
    let given = problem.inputs.get("weights").map(Array::<T>::of);
    let weights = given.as_ref().map(|array| Weights::new(&array.data, &array.shape)).transpose().map_err(words)?;
    let input = weights.as_ref().map_or(LayerInput::from(&x), |weights| LayerInput::weighted(&x, weights));
    let (y, saved) = norm.forward(input).map_err(words)?;
    let mut outputs = Outputs::from([("y".to_string(), elements(y.data()))]);
    if let Some(dy) = problem.inputs.get("dy") {
        let dy = Array::of(dy);
        let gradients = norm.backward(input, &dy.view(&roles)?, &saved).map_err(words)?;
        insert_gradients(&mut outputs, gradients);
    }
    Ok(outputs)
}

/// The arrays `x0`, `x1` ..
fn batches<T: Stored>(problem: &Problem) -> Vec<Array<T>> {
    (0..).map_while(|number| problem.inputs.get(&format!("x{number}")).map(Array::of)).collect()
}

fn updates<T: Stored>(problem: &Problem) -> Result<Outputs, String> {
    let roles = roles(problem);
    let mut layer = layer(problem)?;
    for batch in batches::<T>(problem) {
        layer.train(&batch.view(&roles)?).map_err(words)?;
    }
    let mut outputs = Outputs::new();
    insert_running(&mut outputs, layer.running().ok_or("the layer keeps no running statistics")?);
    Ok(outputs)
}

fn population<T: Stored>(problem: &Problem) -> Result<Outputs, String> {
    let roles = roles(problem);
    let normalizer = config(problem)?.normalizer().map_err(words)?;
    let mut population = None;
    for batch in batches::<T>(problem) {
        let moments = normalizer.moments(&batch.view(&roles)?);
        let observed = match &mut population {
            Some(observed) => observed,
            None => population.insert(Population::new(moments.channels().len()).map_err(words)?),
        };
        observed.observe(&moments).map_err(words)?;
    }
    let running = population.ok_or("there is no batch")?.running(estimator(problem)).map_err(words)?;
    let mut outputs = Outputs::new();
    insert_running(&mut outputs, &running);
    Ok(outputs)
}

fn chain<T: Stored>(problem: &Problem) -> Result<Outputs, String> {
    let roles = roles(problem);
    let array = Array::<T>::of(&problem.inputs["x"]);
    let mut layers = Vec::new();
    let mut trained: Option<Tensor<T>> = None;
    for _ in 0..problem.layers {
        let mut layer = layer(problem)?;
        let x = next(&array, trained.as_ref(), &roles)?;
        trained = Some(layer.train(&x).map_err(words)?.y);
        layers.push(layer);
    }
    let mut evaluated: Option<Tensor<T>> = None;
    for layer in layers {
        let x = next(&array, evaluated.as_ref(), &roles)?;
        evaluated = Some(layer.eval(&x).map_err(words)?.y);
    }
    Ok(Outputs::from([("y".to_string(), elements(evaluated.ok_or("there is no layer")?.data()))]))
}

/// The input of the next layer of a chain: the output of the one before, or the chain's input.
fn next<'a, T: Stored>(
    input: &'a Array<T>,
    given: Option<&'a Tensor<T>>,
    roles: &'a [AxisRole],
) -> Result<View<'a, T>, String> {
    match given {
        Some(tensor) => View::new(tensor.data(), tensor.shape(), Axes::Roles(roles)).map_err(words),
        None => input.view(roles),
    }
}
