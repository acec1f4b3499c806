//! Replicas of a model on threads that normalise one batch together.

#![allow(missing_docs)]

mod support;

use std::time::Duration;

use batchnorm::Team;
use batchnorm_burn::{BatchNorm, BatchNormConfig, Participant};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation::relu};
use support::{Source, floats};

#[derive(Module, Debug)]
struct Net {
    norm: BatchNorm,
    linear: Linear,
    output: BatchNorm,
}

impl Net {
    fn new(device: &Device) -> Net {
        let norm = |channels, name: &str| BatchNormConfig::new(channels).with_name(name).init(device);
        Net { norm: norm(3, "norm"), linear: LinearConfig::new(3, 4).init(device), output: norm(4, "output") }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.output.forward(relu(self.linear.forward(self.norm.forward(x))))
    }

    fn joined(mut self, team: Team) -> Net {
        let participant = Participant::new(team);
        self.norm.participant = Some(participant.clone());
        self.output.participant = Some(participant);
        self
    }
}

/// Output, dx, and gradients of the first gamma and the linear layer.
fn step(net: &Net, x: Tensor<2>, dy: Tensor<2>) -> [Vec<f32>; 4] {
    let x = x.require_grad();
    let y = net.forward(x.clone());
    let gradients = (y.clone() * dy).sum().backward();
    let gamma = floats(net.norm.gamma.grad(&gradients).unwrap());
    [floats(y), floats(x.grad(&gradients).unwrap()), gamma, floats(net.linear.weight.grad(&gradients).unwrap())]
}

fn near(one: &[f32], other: &[f32]) {
    assert_eq!(one.len(), other.len());
    let largest = other.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
    one.iter().zip(other).for_each(|(one, other)| assert!((one - other).abs() < 5e-6 * largest, "{one} {other}"));
}

#[test]
fn one_to_eight_replicas_are_the_one_batch() {
    let device = Device::default().autodiff();
    let mut source = Source::new(4201);
    let (x, dy) = (source.tensor::<2>(&[24, 3], &device), source.tensor::<2>(&[24, 4], &device));
    let start = Net::new(&device);
    let alone = start.clone().fork(&device);
    for parts in [vec![24], vec![11, 13], vec![1, 3, 20], vec![1, 1, 2, 3, 5, 5, 4, 3]] {
        let mut end = 0;
        let mut part = |&size: &usize| {
            end += size;
            (x.clone().narrow(0, end - size, size), dy.clone().narrow(0, end - size, size))
        };
        let inputs: Vec<_> = parts.iter().map(&mut part).collect();
        let got: Vec<_> = std::thread::scope(|scope| {
            let team = Team::of(parts.len(), Duration::from_secs(60));
            let threads: Vec<_> = team
                .into_iter()
                .zip(inputs)
                .map(|(member, (x, dy))| {
                    let net = start.clone().fork(&device).joined(member);
                    scope.spawn(move || {
                        let results = step(&net, x, dy);
                        (results, floats(net.output.running_var.value()))
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let alone = alone.clone();
        let expected = step(&alone, x.clone(), dy.clone());
        for number in 0..2 {
            near(&got.iter().flat_map(|(results, _)| results[number].clone()).collect::<Vec<_>>(), &expected[number]);
        }
        // Gradients of parameters: each replica has its share.
        for number in 2..4 {
            let sum = |i: usize| got.iter().map(|(results, _)| results[number][i]).sum();
            near(&(0..expected[number].len()).map(sum).collect::<Vec<f32>>(), &expected[number]);
        }
        for (_, running) in &got {
            assert_eq!(running, &got[0].1, "all have the same statistics");
            near(running, &floats(alone.output.running_var.value()));
        }
    }
}

#[test]
fn who_skips_a_layer_is_named_and_nobody_hangs() {
    let device = Device::default();
    let x: Tensor<2> = Source::new(4202).tensor(&[4, 3], &device);
    let errors: Vec<_> = std::thread::scope(|scope| {
        let team = Team::of(2, Duration::from_secs(60));
        let threads: Vec<_> = team
            .into_iter()
            .enumerate()
            .map(|(number, member)| {
                let (net, x) = (Net::new(&device).joined(member), x.clone());
                scope.spawn(move || {
                    let norm = if number == 0 { &net.norm } else { &net.output };
                    let x = if number == 0 { x } else { net.linear.forward(x) };
                    let error = norm.try_forward_train(x).map(drop).unwrap_err().to_string();
                    assert_eq!(floats(norm.running_mean.value()), vec![0.0; 3 + number]);
                    error
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(
        errors.iter().all(|error| error.contains("norm, moments") && error.contains("output, moments")),
        "{errors:?}"
    );
}

#[test]
fn participants_take_no_ghosts() {
    let device = Device::default();
    let mut norm = BatchNormConfig::new(3).init(&device);
    norm.participant = Some(Participant::new(Team::of(1, Duration::from_secs(1)).remove(0)));
    let x = Tensor::<2>::ones([4, 3], &device);
    norm.ghost = Some(2);
    assert!(norm.try_forward_train(x).map(drop).unwrap_err().to_string().contains("ghost batches"));
}

/// Participants agree on what layer they are at, though one of them alone has been told its path.
#[test]
fn a_walk_through_one_replica_does_not_part_them() {
    let device = Device::default().autodiff();
    let mut source = Source::new(4203);
    let inputs: Vec<Tensor<2>> = (0..2).map(|_| source.tensor::<2>(&[6, 3], &device)).collect();
    // Without names given by hand, which would be the same whoever has walked.
    let norm = |channels| BatchNormConfig::new(channels).init(&device);
    let start = Net { norm: norm(3), output: norm(4), ..Net::new(&device) };
    std::thread::scope(|scope| {
        for (number, (member, x)) in Team::of(2, Duration::from_secs(60)).into_iter().zip(&inputs).enumerate() {
            let net = start.clone().fork(&device).joined(member);
            scope.spawn(move || {
                if number == 0 {
                    batchnorm_burn::name_layers(&net);
                }
                let y = net.forward(x.clone());
                if number == 1 {
                    batchnorm_burn::name_layers(&net.linear);
                    batchnorm_burn::norms(&net.output);
                }
                y.square().mean().backward();
            });
        }
    });
}
