//! Both kinds of arithmetic agree, in outputs, gradients, running statistics and refusals.

use burn::module::Param;
use burn::tensor::{Bool, Device, Tensor, TensorData};

use crate::pass::WeightValues;
use crate::{
    Activation, Arithmetic, BatchNormConfig, EmptyBatch, NormalizeBy, Policies, Renormalization, SampleNormConfig,
    SingleValue, Switches, UpdateWeight,
};

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn close(ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= 2e-5 * theirs.abs().max(1.0), "{ours} and {theirs}");
    }
}

/// Numbers that are the same in every run: random ones could be so near to 0 that rounding decides their sign.
fn fixed<const D: usize>(shape: [usize; D], step: usize, device: &Device) -> Tensor<D> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|i| (i * step % 1009) as f32 / 200.0 - 1.6).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[test]
fn both_ways_agree_in_output_statistics_and_gradients() {
    let device = Device::default().autodiff();
    let shape = [5, 3, 4, 3];
    let [x, residual, dy] = [701, 433, 179].map(|step| fixed(shape, step, &device));
    for activation in [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.2)] {
        for adding in [false, true] {
            let run = |by: Arithmetic| {
                let norm = BatchNormConfig::new(3).init(&device);
                let (x, residual) = (x.clone().require_grad(), residual.clone().require_grad());
                let fused = || match adding {
                    true => norm.adding(residual.clone()).then(activation),
                    false => norm.then(activation),
                };
                let mut results = Vec::new();
                let trained = fused().pass(x.clone(), Switches::train(), true, by).unwrap().output;
                for y in [trained, fused().pass(x.clone(), Switches::evaluate(), false, by).unwrap().output] {
                    let gradients = (y.clone() * dy.clone()).sum().backward();
                    results.push(values(y));
                    results.push(values(x.grad(&gradients).unwrap()));
                    results.push(residual.grad(&gradients).map_or(Vec::new(), values));
                    results.push(values(norm.gamma.grad(&gradients).unwrap()));
                    results.push(values(norm.beta.grad(&gradients).unwrap()));
                }
                results.push(values(norm.running_mean.value()));
                results.push(values(norm.running_var.value()));
                results
            };
            let ways = run(Arithmetic::TensorOperations).into_iter().zip(run(Arithmetic::Contract));
            for (number, (ours, theirs)) in ways.enumerate() {
                println!("{activation:?}, adding {adding}, number {number}");
                assert_eq!(theirs.is_empty(), !adding && number % 5 == 2 && number < 10);
                close(&ours, &theirs);
            }
        }
    }
    assert_eq!(BatchNormConfig::new(3).init(&device).arithmetic(), Arithmetic::Contract);
}

#[test]
fn the_kink_and_what_is_not_a_number_are_the_same() {
    let device = Device::default().autodiff();
    let edges = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -0.0, 0.0, -2.0, 3.0];
    for activation in [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.0), Activation::LeakyRelu(0.25)]
    {
        let run = |by: Arithmetic| {
            // gamma and beta 0: z is 0 (or not a number), and the residual alone decides.
            let mut norm = BatchNormConfig::new(1).init(&device);
            norm.gamma = Param::from_tensor(Tensor::zeros([1], &device));
            let x = Tensor::<2>::ones([7, 1], &device);
            let residual = Tensor::<1>::from_floats(edges, &device).reshape([7, 1]).require_grad();
            let y =
                norm.adding(residual.clone()).then(activation).pass(x, Switches::evaluate(), false, by).unwrap().output;
            let gradients = y.clone().sum().backward();
            let bits = |values: Vec<f32>| -> Vec<u32> {
                let one_nan = |value: f32| if value.is_nan() { f32::NAN } else { value };
                values.into_iter().map(|value| one_nan(value).to_bits()).collect()
            };
            (bits(values(y)), bits(values(residual.grad(&gradients).unwrap())))
        };
        assert_eq!(run(Arithmetic::TensorOperations), run(Arithmetic::Contract), "{activation:?}");
    }
}

/// Every combination of switches, masks, weights and ghost batches, by both ways.
#[test]
fn switches_weights_and_ghosts_are_the_same() {
    let device = Device::default().autodiff();
    let [x, dy, residual] = [701, 179, 433].map(|step| fixed([6, 3, 4], step, &device));
    let weights = fixed::<3>([6, 1, 4], 37, &device).clamp_min(0.0);
    let mix = NormalizeBy::Mix(UpdateWeight::of_new(0.3).unwrap());
    let mut combinations = Vec::new();
    for normalize_by in [NormalizeBy::Batch, NormalizeBy::Running, mix] {
        for bits in 0..8 {
            combinations.push(Switches {
                normalize_by,
                update_running: bits & 1 > 0,
                train_parameters: bits & 2 > 0,
                gradient_through_statistics: bits & 4 > 0,
            });
        }
    }
    for switches in combinations {
        for kind in 0..5 {
            let run = |by: Arithmetic| {
                let renormalization = Renormalization::new(1.1, 0.2).unwrap();
                let config = BatchNormConfig::new(3).with_renormalization((kind == 4).then_some(renormalization));
                let mut norm = config.init(&device);
                norm.ghost = [0, 3].contains(&kind).then_some(4);
                norm.running_var.update(Tensor::from_floats([0.5, 2.0, 1.5], &device));
                let x = x.clone().require_grad();
                let fused = match kind {
                    0 => norm.adding(residual.clone()),
                    1 | 3 => norm.weighing(weights.clone()),
                    4 => norm.then(Activation::Relu),
                    _ => norm.counting(weights.clone().greater_elem(0.0)),
                };
                let y = fused.then(Activation::Relu).pass(x.clone(), switches, true, by).unwrap().output;
                let gradients = (y.clone() * dy.clone()).sum().backward();
                let mut results = vec![values(y), values(x.grad(&gradients).unwrap())];
                for parameter in [&norm.gamma, &norm.beta] {
                    assert_eq!(parameter.grad(&gradients).is_some(), switches.train_parameters, "{switches:?}");
                    results.push(parameter.grad(&gradients).map_or(Vec::new(), values));
                }
                results.push(values(norm.running_mean.value()));
                results.push(values(norm.running_var.value()));
                results
            };
            let ways = run(Arithmetic::TensorOperations).into_iter().zip(run(Arithmetic::Contract));
            for (number, (ours, theirs)) in ways.enumerate() {
                println!("{switches:?}, kind {kind}, number {number}");
                close(&ours, &theirs);
            }
        }
    }
}

#[test]
fn policies_of_weights_and_ghosts_are_the_same() {
    let device = Device::default();
    let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 5.0], [4.0, f32::NAN]], &device);
    let singles = [SingleValue::Error, SingleValue::UseRunning, SingleValue::Population, SingleValue::SkipUpdate];
    for single_value in singles {
        for empty_batch in [EmptyBatch::Pass, EmptyBatch::Error] {
            let policies = Policies { single_value, empty_batch, ..Policies::default() };
            for counts in [[false; 3], [true, false, false], [true, true, false]] {
                let run = |by: Arithmetic| {
                    let norm = BatchNormConfig::new(2).with_policies(policies).init(&device);
                    let counts: Tensor<2, Bool> = Tensor::<1, Bool>::from_data(counts, &device).reshape([3, 1]);
                    let passed = norm.counting(counts).pass(x.clone(), Switches::train(), true, by);
                    let outcome = passed.map(|trained| values(trained.output)).map_err(|error| error.to_string());
                    (outcome, values(norm.running_mean.value()), values(norm.running_var.value()))
                };
                let (ours, theirs) = (run(Arithmetic::TensorOperations), run(Arithmetic::Contract));
                println!("{policies:?}, {counts:?}");
                close(&ours.1, &theirs.1);
                close(&ours.2, &theirs.2);
                match (ours.0, theirs.0) {
                    (Ok(ours), Ok(theirs)) => close(&ours, &theirs),
                    (ours, theirs) => assert_eq!(ours, theirs),
                }
            }
            let run = |by: Arithmetic| {
                let mut norm = BatchNormConfig::new(2).with_policies(policies).init(&device);
                norm.ghost = Some(2);
                let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 5.0], [4.0, 7.0]], &device);
                let passed = norm.then(Activation::Identity).pass(x, Switches::train(), true, by);
                passed.map(|trained| values(trained.output)).map_err(|error| error.to_string())
            };
            match (run(Arithmetic::TensorOperations), run(Arithmetic::Contract)) {
                (Ok(ours), Ok(theirs)) => close(&ours, &theirs),
                (ours, theirs) => assert_eq!(ours, theirs),
            }
        }
    }
}

#[test]
fn sample_norms_are_the_same() {
    let device = Device::default().autodiff();
    for config in [
        SampleNormConfig::layer(8),
        SampleNormConfig::rms(8),
        SampleNormConfig::group(2, 4),
        SampleNormConfig::group_rms(2, 4),
        SampleNormConfig::instance(4),
    ] {
        for activation in [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.1)] {
            let run = |by: Arithmetic| {
                let norm = config.init(&device);
                let x = fixed([3, 4, 8], 701, &device).require_grad();
                let y = norm.parts().pass(x.clone(), None, activation, by).unwrap();
                let gradients = (y.clone() * fixed([3, 4, 8], 179, &device)).sum().backward();
                let gamma = values(norm.gamma.as_ref().unwrap().grad(&gradients).unwrap());
                [values(y), values(x.grad(&gradients).unwrap()), gamma]
            };
            let ways = run(Arithmetic::TensorOperations).into_iter().zip(run(Arithmetic::Contract));
            ways.for_each(|(ours, theirs)| close(&ours, &theirs));
        }
    }
}

#[test]
fn weights_of_sample_norms_need_the_contract() {
    let device = Device::default();
    let norm = SampleNormConfig::layer(2).with_name("norm").init(&device);
    let run = |by: Arithmetic| {
        let weights = WeightValues { values: vec![1.0, 0.0], shape: vec![2, 1] };
        norm.parts().pass(fixed([2, 2], 701, &device), Some(weights), Activation::Identity, by)
    };
    assert!(run(Arithmetic::Contract).is_ok());
    let refusal = run(Arithmetic::TensorOperations).unwrap_err().to_string();
    assert!(refusal.contains("weights of a norm that does not look at the batch"), "{refusal}");
}

#[test]
fn policies_are_the_same() {
    let device = Device::default();
    let norm = BatchNormConfig::new(2).init(&device);
    let (by, plain) = (Arithmetic::TensorOperations, Activation::Identity);
    let single =
        norm.then(plain).pass(Tensor::<2>::ones([1, 2], &device), Switches::train(), true, by).unwrap_err().to_string();
    assert_eq!(
        single,
        norm.then(plain)
            .pass(Tensor::<2>::ones([1, 2], &device), Switches::train(), true, Arithmetic::Contract)
            .unwrap_err()
            .to_string()
    );
    assert_eq!(
        norm.then(plain).pass(Tensor::<2>::ones([0, 2], &device), Switches::train(), true, by).unwrap().output.dims(),
        [0, 2]
    );
    let bad = Tensor::<2>::from_floats([[f32::NAN, 1.0], [1.0, 3.0]], &device);
    assert_eq!(norm.then(plain).pass(bad, Switches::train(), true, by).unwrap().not_updated, [0]);
    close(&values(norm.running_mean.value()), &[0.0, 0.2]);
}
