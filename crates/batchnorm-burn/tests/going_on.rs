//! Clones that go on as models of their own, and for the model that they were cloned from: nothing is lost, and nothing is counted
//! twice.

#![allow(missing_docs)]

mod support;

use batchnorm_burn::{BatchNorm, BatchNormConfig};
use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use support::bits;
use support::net::{Net, batches, device, moments, state, states, step_on_replicas, updated_by};

/// As burn-train's learner: the optimizer steps on a clone, which takes the place of the model.
#[test]
fn an_optimizer_on_a_clone_goes_on_for_the_model() {
    let kept = Net::new(&device());
    let (mut model, mut optimizer) = (kept.clone(), SgdConfig::new().init());
    let before = states(&kept);
    for round in 0..3 {
        let inputs = batches(10 + round, &[8, 6]);
        let expected = updated_by(&model.first, &inputs.iter().map(moments).collect::<Vec<_>>());
        let late = model.clone();
        step_on_replicas(&model, &inputs, &[1, 0]);
        assert_eq!(state(&model.first), expected);
        let gradients = model.clone().valid().train().forward(inputs[0].clone()).sum().backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimizer.step(0.1, model.clone(), gradients);
        assert_eq!(state(&model.first), expected, "the step changes no statistics");
        // A replica that outlives its origin gives to the model that went on.
        let x = batches(20, &[9]).remove(0);
        let expected = updated_by(&model.first, &[moments(&x)]);
        late.forward(x);
        drop(late);
        assert_eq!(state(&model.first), expected);
        // A step on the model itself ends that batch.
        model = optimizer.step(0.1, model, GradientsParams::new());
    }
    assert_eq!(states(&kept), before, "the model that was cloned to begin with");
}

#[test]
fn a_clone_that_goes_on_keeps_to_itself() {
    let net = Net::new(&device());
    let before = states(&net);
    let x = batches(30, &[8]).remove(0);
    // An optimizer's step; freezing; being told to train; a loaded record.
    let mut optimizer = SgdConfig::new().init();
    let clone = net.clone();
    let gradients = clone.forward(x.clone()).square().mean().backward();
    let gradients = GradientsParams::from_grads(gradients, &clone);
    let clone = optimizer.step(0.1, clone, gradients);
    clone.forward(x.clone());
    drop(clone);
    for clone in [net.clone().no_grad(), net.clone().train()] {
        clone.forward(x.clone());
        drop(clone);
    }
    let clone = net.clone().load_record(Net::new(&device()).into_record());
    clone.forward(x.clone());
    drop(clone);
    assert_eq!(states(&net), before);
    // One whose step panics has learnt nothing.
    let panics = std::panic::AssertUnwindSafe(|| {
        let clone = net.clone();
        clone.forward(x.clone());
        panic!("out of memory");
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(states(&net), before);
    // What is left is a replica.
    let clone = net.clone();
    clone.forward(x);
    drop(clone);
    assert_ne!(states(&net), before);
}

/// Passes everything on: an optimizer's step in which nothing has a gradient, an average of weights.
struct Same;
impl burn::module::ModuleMapper for Same {}

#[test]
fn snapshots_and_averages_take_nothing_from_the_model() {
    let x = |seed| batches(seed, &[8]).remove(0);
    let mut optimizer = SgdConfig::new().init();
    let mut step = |net: Net| optimizer.step(0.1, net, GradientsParams::new());
    // A frozen snapshot of the model that went on.
    let first = Net::new(&device());
    let late = first.clone();
    let second = step(first.clone());
    drop(first);
    let best = second.clone().no_grad();
    let (snapshot, model) = (states(&best), states(&second));
    late.forward(x(1));
    drop(late);
    assert_eq!(states(&best), snapshot);
    assert_ne!(states(&second), model);
    // An average of weights beside a model that is stepped on as a clone, with a replica that is dropped late.
    let mut model = Net::new(&device());
    let mut average = model.clone().map(&mut Same);
    for seed in 0..4 {
        let replica = model.clone();
        let before = (states(&average), states(&model));
        replica.forward(x(seed));
        model = step(model.clone());
        average = average.clone().map(&mut Same);
        drop(replica);
        assert_eq!(states(&average), before.0, "{seed}");
        assert_ne!(states(&model), before.1, "{seed}");
        model = step(model);
    }
    // A snapshot that is kept while the model goes on: what it has trained goes to the model as it is then.
    let kept = model.clone();
    for _ in 0..5 {
        model = step(model.clone());
    }
    let before = states(&model);
    kept.forward(x(9));
    drop(kept);
    assert_ne!(states(&model), before);
}

#[test]
fn a_frozen_clone_of_a_replica_takes_nothing_from_it() {
    let x = |seed| batches(seed, &[8]).remove(0);
    // A generator's step, which needs the discriminator without its gradients.
    let discriminator = Net::new(&device());
    let replica = discriminator.clone().fork(&device());
    let expected = updated_by(&discriminator.first, &[moments(&x(1))]);
    replica.forward(x(1));
    let frozen = replica.clone().no_grad();
    frozen.forward(x(2));
    drop(frozen);
    drop(replica);
    assert_eq!(state(&discriminator.first), expected);
    // A worker that keeps a snapshot, and goes on; one that evaluates what it has learnt.
    let main = Net::new(&device());
    let worker = main.clone();
    worker.forward(x(1));
    let best = worker.clone().map(&mut Same);
    worker.forward(x(2));
    assert!(worker.valid().first.running_statistics().is_ok());
    let expected = updated_by(&main.first, &[moments(&x(1)), moments(&x(2))]);
    drop(worker);
    assert_eq!(state(&main.first), expected);
    drop(best);
}

#[test]
fn replicas_that_come_back_while_the_optimizer_steps_on_a_clone() {
    let x = |seed| batches(seed, &[8]).remove(0);
    let mut model = Net::new(&device());
    let (early, late, latest) = (model.clone(), model.clone(), model.clone());
    early.forward(x(1));
    late.forward(x(2));
    drop(early);
    let copy = model.clone();
    drop(late);
    let expected = updated_by(&copy.first, &[moments(&x(2))]);
    model = SgdConfig::new().init().step(0.1, copy, GradientsParams::new());
    assert_eq!(state(&model.first), expected);
    let before = states(&model);
    latest.forward(x(3));
    drop(latest);
    assert_ne!(states(&model), before);
    // A handle to the layers of a model does not make it live on.
    let handle = batchnorm_burn::norms(&model);
    let late = model.clone();
    let next = SgdConfig::new().init().step(0.1, model.clone(), GradientsParams::new());
    drop(model);
    let before = states(&next);
    late.forward(x(4));
    drop(late);
    assert_ne!(states(&next), before);
    drop(handle);
    // Nor does one to a clone keep back what the clone owes.
    let clone = next.clone();
    let (handle, before) = (batchnorm_burn::norms(&clone), states(&next));
    clone.forward(x(5));
    drop(clone);
    assert_ne!(states(&next), before);
    drop(handle);
}

#[test]
fn what_a_model_goes_on_with_is_nobody_elses() {
    let x = |seed| batches(seed, &[8]).remove(0);
    let kept = BatchNormConfig::new(3).init(&device());
    kept.hold();
    let mut model = kept.clone();
    model.forward(x(1));
    model = SgdConfig::new().init().step(0.1, model.clone(), GradientsParams::new());
    assert_eq!((model.held_batches(), kept.held_batches()), (Some(1), Some(0)));
    // Statistics that are set leave what is held.
    let replica = kept.clone();
    replica.forward(x(2));
    drop(replica);
    let set = batchnorm::RunningStatistics::from_parts(&[5.0f64; 3], &[2.0; 3], 0).unwrap();
    kept.set_running_statistics(&set).unwrap();
    assert_eq!(kept.held_batches(), Some(1));
    // Many replicas without a step between them take no more time each (they are pooled).
    let norm = BatchNormConfig::new(3).init(&device());
    norm.hold();
    for seed in 0..600 {
        let replica = norm.clone();
        replica.forward(x(seed % 3));
    }
    assert_eq!(norm.held_batches(), Some(1));
    assert_eq!(norm.held_moments()[0].channels()[0].count(), 4800);
}

#[test]
fn a_clone_has_both_statistics_of_one_step() {
    let set = |value: f64| batchnorm::RunningStatistics::from_parts(&[value; 3], &[value; 3], 0).unwrap();
    let shared = BatchNormConfig::new(3).init(&device());
    shared.set_running_statistics(&set(1.0)).unwrap();
    let handle = batchnorm_burn::norms(&shared);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (done, set) = (&done, &set);
        scope.spawn(move || {
            for value in (1..).map(f64::from).take_while(|_| !done.load(std::sync::atomic::Ordering::Relaxed)) {
                handle.iter().for_each(|norm| norm.set_running_statistics(&set(value)).unwrap());
            }
        });
        let torn = |copy: &BatchNorm| bits(copy.running_mean.value()) != bits(copy.running_var.value());
        let torn = (0..30_000).filter(|_| torn(&shared.clone()) || torn(&shared.valid())).count();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(torn, 0);
    });
}
