//! Gradients of whole networks, every norm in every place, against differences in f64 (CS231n's way: step 1e-5, error |x - y| /
//! max(1e-5, |x| + |y|)).

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand::RngExt;

use super::{ActivationKind, Convolving, Network, NormKind, Placement, Recipe, Stage};
use crate::data::Shape;
use crate::random::{Purpose, generator};

const SEED: u64 = 20;
const CLASSES: usize = 3;
const EXAMPLES: usize = 5;
const STEP: f64 = 1e-5;
const NORMS: [NormKind; 8] = [
    NormKind::None,
    NormKind::Batch,
    NormKind::Renorm,
    NormKind::Layer,
    NormKind::Group,
    NormKind::Instance,
    NormKind::Rms,
    NormKind::Decorrelated,
];

/// All parameters as f64, and one value of one of them changed.
struct Changed {
    parameter: usize,
    value: usize,
    by: f64,
    seen: usize,
}

impl ModuleMapper for Changed {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let here = self.seen == self.parameter;
        self.seen += 1;
        param.map(|tensor| {
            let device = tensor.device();
            let (shape, mut values) = (tensor.dims(), tensor.into_data().iter::<f64>().collect::<Vec<f64>>());
            if here {
                values[self.value] += self.by;
            }
            Tensor::from_data(TensorData::new(values, shape), (&device, DType::F64)).require_grad()
        })
    }
}

fn changed(network: &Network, parameter: usize, value: usize, by: f64) -> Network {
    network.clone().train().map(&mut Changed { parameter, value, by, seen: 0 })
}

/// The gradient of each parameter; none where it has none (running statistics).
struct Gradients<'g> {
    of: &'g burn::tensor::Gradients,
    all: Vec<Vec<f64>>,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.of);
        self.all.push(gradient.map_or(vec![], |gradient| gradient.into_data().iter::<f64>().collect()));
    }
}

fn loss(network: &Network, input: Shape) -> Tensor<1> {
    let device = Device::default().autodiff();
    let mut random = generator(SEED, Purpose::Subset);
    let values: Vec<f64> = (0..EXAMPLES * input.values()).map(|_| random.random_range(-2.0..2.0)).collect();
    let values = Tensor::from_data(TensorData::new(values, [EXAMPLES, input.values()]), (&device, DType::F64));
    let classes: Vec<i64> = (0..EXAMPLES as i64).map(|at| at % CLASSES as i64).collect();
    let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [EXAMPLES]), &device);
    let scores = network.forward_train(values, &mut generator(SEED, Purpose::Dropout(0)));
    CrossEntropyLossConfig::new().init(&device).forward(scores, classes)
}

fn value(network: &Network, input: Shape) -> f64 {
    loss(network, input).into_data().iter::<f64>().next().unwrap()
}

/// The greatest error of a network's gradients, and the number of values that were compared.
fn greatest_error(network: &Network, input: Shape) -> (f64, usize) {
    let exact = changed(network, usize::MAX, 0, 0.0);
    let gradients = loss(&exact, input).backward();
    let mut all = Gradients { of: &gradients, all: vec![] };
    exact.visit(&mut all);
    let (mut greatest, mut count) = (0.0f64, 0);
    for (parameter, gradient) in all.all.iter().enumerate() {
        // (Every third value: the others are of the same kinds.)
        for (at, &exact) in gradient.iter().enumerate().step_by(3) {
            let side = |by: f64| value(&changed(network, parameter, at, by), input);
            let difference = (side(STEP) - side(-STEP)) / (2.0 * STEP);
            // (Below 1e-5 of a loss of about 1 the differences resolve less than 1e-5 of the gradient.)
            greatest = greatest.max((exact - difference).abs() / (exact.abs() + difference.abs()).max(1e-5));
            count += 1;
        }
    }
    (greatest, count)
}

fn recipes() -> Vec<(&'static str, Recipe, Shape)> {
    let picture = Shape { channels: 2, rows: 4, columns: 4 };
    let smooth =
        Recipe { activation: ActivationKind::Tanh, groups: 2, renormalization: [1.0, 0.0], ..Recipe::default() };
    let convolving = Convolving { channels: 4, kernel: 3, pool: 2 };
    vec![
        ("fully connected", Recipe { hidden: vec![6, 4], dropout: 0.2, ..smooth.clone() }, Shape::features(5)),
        ("convolutional", Recipe { hidden: vec![4], convolutions: vec![convolving], ..smooth.clone() }, picture),
        (
            "residual",
            Recipe {
                hidden: vec![],
                convolutions: vec![Convolving { pool: 1, ..convolving }],
                stages: vec![Stage { channels: 4, blocks: 1 }, Stage { channels: 6, blocks: 1 }],
                ..smooth
            },
            picture,
        ),
    ]
}

#[test]
fn every_norm_in_every_network_has_the_gradients_of_differences() {
    println!("seed {SEED}");
    for (name, recipe, input) in recipes() {
        for norm in NORMS {
            if norm == NormKind::Instance && recipe.convolutions.is_empty() {
                continue;
            }
            for placement in [Placement::Before, Placement::After] {
                let recipe = Recipe { norm, placement, ..recipe.clone() };
                recipe.check(input, CLASSES).unwrap();
                let network = recipe.start(input, CLASSES, SEED, &Device::default().autodiff());
                let (error, count) = greatest_error(&network, input);
                println!("{name}, {norm:?}, {placement:?}: {error:.1e} of {count} values");
                assert!(count > 20 && error < 1e-5, "{name}, {norm:?}, {placement:?}: {error} of {count} values");
            }
        }
    }
}

#[test]
fn the_fused_ending_of_a_block_has_the_gradients_of_differences() {
    let (_, recipe, input) = recipes().remove(2);
    let recipe = Recipe { activation: ActivationKind::Relu, norm: NormKind::Batch, ..recipe };
    let network = recipe.start(input, CLASSES, SEED, &Device::default().autodiff());
    let (error, count) = greatest_error(&network, input);
    // (No input of a ReLU is within the step of 0 for this seed.)
    assert!(error < 1e-5, "{error} of {count} values");
}

#[test]
fn a_bias_in_front_of_a_norm_has_gradient_0() {
    let device = Device::default().autodiff();
    let (_, recipe, input) = recipes().remove(0);
    for norm in [NormKind::Batch, NormKind::Decorrelated] {
        let mut network = Recipe { norm, ..recipe.clone() }.start(input, CLASSES, SEED, &device);
        network.hidden[0].linear.bias = Some(Param::from_tensor(Tensor::ones([6], &device)));
        let exact = changed(&network, usize::MAX, 0, 0.0);
        let gradients = loss(&exact, input).backward();
        let of_bias = exact.hidden[0].linear.bias.as_ref().unwrap().val().grad(&gradients).unwrap();
        let of_weight = exact.hidden[0].linear.weight.val().grad(&gradients).unwrap();
        let greatest =
            |values: TensorData| values.iter::<f64>().fold(0.0, |greatest: f64, value| greatest.max(value.abs()));
        let (bias, weight) = (greatest(of_bias.into_data()), greatest(of_weight.into_data()));
        assert!(bias < 1e-15 && weight > 1e-3, "{norm:?}: {bias} beside {weight}");
    }
}

#[test]
fn the_outline_counts_what_is_built() {
    for (name, recipe, input) in recipes() {
        for norm in NORMS {
            let recipe = Recipe { norm, ..recipe.clone() };
            if recipe.check(input, CLASSES).is_err() {
                continue;
            }
            let network = recipe.start(input, CLASSES, SEED, &Device::default().autodiff());
            let outline = recipe.outline(input, CLASSES);
            let counted: usize = outline.iter().map(|layer| layer.parameters).sum();
            let trained = crate::network::trained_parameters(&network);
            assert_eq!(counted, trained, "{name}, {norm:?}");
            assert_eq!(outline.last().unwrap().output, Shape::features(CLASSES));
        }
    }
}
