//! burn-train's `Learner`, on one device and on two: the running statistics are those of what the replicas saw.

use batchnorm::{BatchMoments, Config, Estimator, RunningStatistics, UpdateWeight};
use batchnorm_burn::BatchNorm;
use batchnorm_drop_in::{Batch, Net, Stack, loader, samples};
use burn::data::dataloader::batcher::Batcher;
use burn::module::Module;
use burn::optim::SgdConfig;
use burn::optim::lr_scheduler::constant::ConstantLr;
use burn::tensor::Device;
use burn::train::logger::InMemoryMetricLogger;
use burn::train::{ExecutionStrategy, Learner, MultiDeviceOptim, SupervisedTraining, TrainingStrategy};

const BATCH: usize = 16;

/// Trains a network; gives it with what its norms saw.
fn trained(start: Net, epochs: usize, accumulation: usize, strategy: ExecutionStrategy) -> Net {
    let directory = tempfile::tempdir().unwrap();
    let learner = Learner::new(start, SgdConfig::new().init(), ConstantLr::new(0.05));
    let training =
        SupervisedTraining::new(directory.path(), loader(samples(7, 128), BATCH), loader(samples(8, 64), BATCH))
            .num_epochs(epochs)
            .with_training_strategy(TrainingStrategy::Default(strategy))
            .with_metric_logger(InMemoryMetricLogger::new())
            .with_application_logger(None);
    let training = if accumulation > 1 { training.grads_accumulation(accumulation) } else { training };
    let result = training.launch(learner);
    assert!(result.error.is_none(), "{:?}", result.error);
    result.model
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn one() -> ExecutionStrategy {
    ExecutionStrategy::single(device())
}

fn several(devices: usize, optim: MultiDeviceOptim) -> ExecutionStrategy {
    ExecutionStrategy::multi(vec![device(); devices], optim)
}

/// What a norm has after one update a step with the moments of all that was seen in it, rounded to `f32` each time.
fn expected(seen: &[BatchMoments], in_a_step: usize) -> [Vec<f32>; 2] {
    let averaging = UpdateWeight::of_new(0.1).unwrap();
    let config = Config::pytorch().averaging(averaging).estimator(Estimator::Sample);
    let mut running = RunningStatistics::start(seen[0].channels().len()).unwrap();
    assert_eq!(seen.len() % in_a_step, 0);
    let rounded = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
    for step in seen.chunks(in_a_step) {
        let pooled = step[1..].iter().fold(step[0].clone(), |pooled, part| pooled.merge(part).unwrap());
        running.update(&pooled, &config).unwrap();
        running = RunningStatistics::from_parts(&rounded(running.mean()), &rounded(running.variance()), 0).unwrap();
    }
    [rounded(running.mean()), rounded(running.variance())]
}

fn state(norm: &BatchNorm) -> [Vec<f32>; 2] {
    [&norm.running_mean, &norm.running_var].map(|vector| vector.value().into_data().iter::<f32>().collect())
}

/// Within a unit in the last place: the pool of 1e-16 is rounded to `f32` once a step.
fn check(norm: &BatchNorm, seen: &[BatchMoments], in_a_step: usize) {
    let (got, expected) = (state(norm), expected(seen, in_a_step));
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        assert!(got.to_bits().abs_diff(expected.to_bits()) <= 1, "{got} {expected}");
    }
}

fn bits(net: &Net) -> Vec<u32> {
    let all = [state(&net.first), state(&net.second)];
    all.iter().flatten().flatten().map(|value| value.to_bits()).collect()
}

/// The loss in evaluation, on samples that were not trained on.
fn loss(net: &Net) -> f32 {
    let batch: Batch = Stack.batch(samples(9, 300), &Device::flex());
    net.loss(&batch, false).0.into_scalar::<f32>()
}

#[test]
fn one_device() {
    let start = Net::new(1, &device());
    let net = trained(start.clone(), 3, 1, one());
    let seen = net.seen();
    assert_eq!(seen[0].len(), 24);
    check(&net.first, &seen[0], 1);
    check(&net.second, &seen[1], 1);
    assert_eq!(state(&start.first), [vec![0.0; 6], vec![1.0; 6]], "the network that the learner was given a clone of");
}

#[test]
fn several_devices() {
    for (devices, optim) in [
        (2, MultiDeviceOptim::OptimMainDevice),
        (2, MultiDeviceOptim::OptimSharded),
        (4, MultiDeviceOptim::OptimMainDevice),
    ] {
        let start = Net::new(1, &device());
        let net = trained(start.clone(), 3, 1, several(devices, optim));
        let seen = net.seen();
        assert_eq!(seen[0].len(), 24);
        check(&net.first, &seen[0], devices);
        check(&net.second, &seen[1], devices);
        assert_eq!(
            state(&start.first),
            [vec![0.0; 6], vec![1.0; 6]],
            "the network that the learner was given a clone of"
        );
    }
}

#[test]
fn several_devices_that_accumulate_gradients() {
    let net = trained(Net::new(1, &device()), 2, 2, several(2, MultiDeviceOptim::OptimMainDevice));
    // Two rounds of two replicas make a step of the optimizer.
    let seen = net.seen();
    check(&net.first, &seen[0], 4);
    check(&net.second, &seen[1], 4);
    let net = trained(Net::new(1, &device()), 2, 2, one());
    check(&net.first, &net.seen()[0], 1);
}

#[test]
fn the_same_bits_in_every_run() {
    let run = || bits(&trained(Net::new(3, &device()), 4, 1, several(2, MultiDeviceOptim::OptimMainDevice)));
    let first = run();
    for _ in 0..4 {
        assert_eq!(run(), first);
    }
}

#[test]
fn evaluation_is_as_good_as_after_one_device() {
    let losses = |strategy: fn() -> ExecutionStrategy| -> Vec<f32> {
        (1..=4).map(|seed| loss(&trained(Net::new(seed, &device()), 12, 1, strategy()).valid())).collect()
    };
    let (one, two) = (losses(one), losses(|| several(2, MultiDeviceOptim::OptimMainDevice)));
    println!("loss in evaluation by seed: one device {one:?}, two devices {two:?}");
    // Two devices make half as many steps: the mean may be higher, by no more than the seeds differ.
    let (low, high) = one.iter().fold((f32::MAX, 0.0f32), |(low, high), &loss| (low.min(loss), high.max(loss)));
    let mean = two.iter().sum::<f32>() / two.len() as f32;
    assert!(mean < high + 2.0 * (high - low), "{one:?} {two:?}");
}
