//! Folding: generated graphs run before and after by plain loops, bounds that hold and are not idle, and what stays in the file.
#![allow(missing_docs)]

#[path = "support/generated.rs"]
mod generated;
#[path = "support/run.rs"]
mod run;
mod support;
#[path = "support/thirteen.rs"]
mod thirteen;

use batchnorm_model::fold::{FoldError, Folding, fold};
use batchnorm_model::numbers::Precision;
use batchnorm_model::onnx::{Model, NewAttribute as A, NewModel, NewValues};
use generated::{difference, generated};
use run::Array;
use support::{model, node, norm, numbers, vectors, weights};
use thirteen::{has, with_thirteen};

fn folded(file: &[u8], to_mul_and_add: bool) -> Result<(Folding, Vec<u8>), FoldError> {
    let model = Model::read(file).unwrap();
    let folding = fold(&model, file, &|_, _, _| Err("elsewhere".into()), to_mul_and_add)?;
    let mut out = Vec::new();
    folding.write(file, &mut out).unwrap();
    Ok((folding, out))
}

/// `GRAPHS=10000 cargo test --release -p batchnorm-model --test fold generated -- --nocapture`.
#[test]
fn generated_graphs_give_the_same_and_bounds_hold() {
    let count: u64 = std::env::var("GRAPHS").ok().map_or(200, |count| count.parse().expect("a number of graphs"));
    println!("{count} graphs, of the seeds 0..{count}");
    let (mut ratios, mut done, mut stayed) = (Vec::new(), 0, std::collections::BTreeMap::new());
    for seed in 0..count {
        let (made, input) = generated(seed);
        let file = made.to_bytes();
        let (folding, out) = folded(&file, false).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for norm in &folding.folded {
            assert!(norm.proof.holds && norm.proof.largest_error <= norm.proof.bound, "seed {seed}: {norm:?}");
            if norm.proof.largest_error > 0.0 {
                ratios.push(norm.proof.bound / norm.proof.largest_error);
            }
        }
        for (_, reason) in &folding.kept {
            *stayed.entry(reason.word()).or_insert(0) += 1;
        }
        done += folding.folded.len();
        let difference = difference(&file, &out, &input);
        assert!(difference < 2e-6, "seed {seed}: {difference:e} of the largest output, {:?}", folding.folded);
        // Nothing is left of what was folded, and nothing else is gone.
        let left = Model::read(&out).unwrap();
        let norms = left.graph.nodes.iter().filter(|node| node.is("BatchNormalization")).count();
        assert_eq!(norms, 1 - folding.folded.len(), "seed {seed}");
        if folding.folded.is_empty() {
            assert!(file == out, "seed {seed}");
        } else {
            assert!(!left.graph.initializers.iter().any(|tensor| tensor.name.starts_with("bn_")), "seed {seed}");
        }
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!(
        "{done} folded; stayed: {stayed:?}; bound over largest error seen: median {median:.1}, {:.1} to {:.1}",
        ratios[0],
        ratios[ratios.len() - 1]
    );
    assert!(median <= 100.0 && ratios[0] >= 1.0);
    assert!(done as u64 * 2 > count, "only {done} of {count} were folded");
}

fn conv_norm(more: impl FnOnce(&mut NewModel)) -> Vec<u8> {
    let nodes = vec![node("Conv", &["x", "w"], &["a"], &[("pads", A::Ints(vec![1; 4]))]), norm("bn", "a", "y")];
    let tensors = std::iter::once(weights("w", &[5, 3, 3, 3])).chain(vectors("bn", 5)).collect();
    let mut made = model(13, &[-1, 3, 6, 6], nodes, tensors);
    more(&mut made);
    made.to_bytes()
}

fn picture(channels: usize) -> Array {
    Array { shape: vec![2, channels, 6, 6], values: numbers(2 * channels * 36, 3) }
}

#[test]
fn each_type_of_weights_is_rounded_once() {
    for (precision, limit) in
        [(Precision::F32, 1e-6), (Precision::F64, 1e-13), (Precision::F16, 3e-3), (Precision::Bf16, 3e-2)]
    {
        let file = conv_norm(|made| {
            for tensor in &mut made.graph.initializers {
                if let NewValues::Floats(of, _) = &mut tensor.values {
                    *of = precision;
                }
            }
        });
        let (folding, out) = folded(&file, false).unwrap();
        let difference = difference(&file, &out, &picture(3));
        assert!(
            difference < limit && folding.bound().unwrap() < 50.0 * limit,
            "{precision}: {difference:e} {folding:?}"
        );
        let read = Model::read(&out).unwrap();
        assert!(read.graph.initializers.iter().all(|tensor| tensor.precision() == Some(precision)));
    }
    let file = conv_norm(|made| {
        for tensor in &mut made.graph.initializers {
            let NewValues::Floats(of, values) = &mut tensor.values else { continue };
            *of = Precision::F16;
            if tensor.name == "bn_gamma" {
                values.fill(60_000.0);
            }
        }
    });
    let (folding, out) = folded(&file, false).unwrap();
    assert!(folding.kept[0].1.to_string().contains("larger than f16"), "{:?}", folding.kept);
    assert_eq!(out, file);
}

#[test]
fn frozen_norms_are_folded_too() {
    for shape in [&[5, 1, 1][..], &[1, 5, 1, 1]] {
        let nodes = vec![
            node("Conv", &["x", "w"], &["a"], &[]),
            node("Mul", &["a", "s"], &["p"], &[]),
            node("Add", &["t", "p"], &["y"], &[]),
        ];
        let tensors = vec![weights("w", &[5, 3, 3, 3]), weights("s", shape), weights("t", shape)];
        let file = model(13, &[-1, 3, 6, 6], nodes, tensors).to_bytes();
        let (folding, out) = folded(&file, false).unwrap();
        assert!(folding.folded.len() == 1 && folding.folded[0].was_frozen && folding.norms == 1);
        assert!(difference(&file, &out, &picture(3)) < 1e-6);
        assert_eq!(Model::read(&out).unwrap().graph.nodes.len(), 1);
    }
    // A number for each column of the picture is none for each channel.
    let nodes = vec![
        node("Conv", &["x", "w"], &["a"], &[]),
        node("Mul", &["a", "s"], &["p"], &[]),
        node("Add", &["p", "s"], &["y"], &[]),
    ];
    let file = model(13, &[-1, 3, 6, 6], nodes, vec![weights("w", &[4, 3, 3, 3]), weights("s", &[1, 1, 4])]).to_bytes();
    assert_eq!(folded(&file, false).unwrap().1, file);
}

#[test]
fn chains_and_both_sides_go_into_one_layer() {
    let nodes = vec![
        norm("zero", "x", "x1"),
        node("Conv", &["x1", "w"], &["a"], &[]),
        norm("one", "a", "b"),
        node("Identity", &["b"], &["b2"], &[]),
        norm("two", "b2", "y"),
    ];
    let all = [("zero", 3), ("one", 5), ("two", 5)].into_iter().flat_map(|(name, channels)| vectors(name, channels));
    let tensors = std::iter::once(weights("w", &[5, 3, 3, 3])).chain(all).collect();
    let file = model(13, &[-1, 3, 6, 6], nodes, tensors).to_bytes();
    let (folding, out) = folded(&file, false).unwrap();
    assert_eq!(
        folding.folded.iter().map(|norm| (&*norm.name, &*norm.into)).collect::<Vec<_>>(),
        [("zero", "Conv a"), ("one", "Conv a"), ("two", "Conv a")]
    );
    assert!(difference(&file, &out, &picture(3)) < 2e-6);
    assert_eq!(Model::read(&out).unwrap().graph.nodes.len(), 2);
    // A norm that stays takes the one behind it.
    let nodes = vec![
        node("Relu", &["x"], &["a"], &[]),
        norm("one", "a", "b"),
        norm("two", "b", "c"),
        node("Relu", &["c"], &["y"], &[]),
    ];
    let tensors = vectors("one", 3).into_iter().chain(vectors("two", 3)).collect();
    let file = model(13, &[-1, 3, 6, 6], nodes, tensors).to_bytes();
    let (folding, out) = folded(&file, false).unwrap();
    assert_eq!((folding.folded.len(), folding.kept.len()), (1, 1));
    assert!(difference(&file, &out, &picture(3)) < 2e-6);
}

#[test]
fn what_no_layer_takes_may_become_a_multiplication_and_an_addition() {
    let nodes = vec![node("Relu", &["x"], &["a"], &[]), norm("bn", "a", "b"), node("Relu", &["b"], &["y"], &[])];
    let file = model(13, &[-1, 3, 6, 6], nodes, vectors("bn", 3)).to_bytes();
    assert_eq!(folded(&file, false).unwrap().1, file);
    let (folding, out) = folded(&file, true).unwrap();
    assert_eq!((folding.unfolded.len(), folding.kept.len()), (1, 0));
    assert!(difference(&file, &out, &picture(3)) < 1e-6);
    let read = Model::read(&out).unwrap();
    assert_eq!(read.graph.nodes.iter().map(|node| node.operator).collect::<Vec<_>>(), ["Relu", "Mul", "Add", "Relu"]);
    assert_eq!(read.graph.initializers.len(), 2);
}

#[test]
fn shared_weights_are_copied_and_old_files_list_them_as_inputs() {
    let shared = |made: &mut NewModel| {
        made.graph.nodes.push(node("Conv", &["x", "w"], &["z"], &[]));
        made.graph.outputs.push(support::shapeless("z"));
    };
    let file = conv_norm(shared);
    let (_, out) = folded(&file, false).unwrap();
    assert!(difference(&file, &out, &picture(3)) < 1e-6);
    let names = |file: &[u8]| -> Vec<String> {
        Model::read(file).unwrap().graph.initializers.iter().map(|tensor| tensor.name.to_owned()).collect()
    };
    assert_eq!(names(&out), ["w", "a_folded_weight", "a_folded_bias"]);
    // (ir_version is the first field, of one byte.)
    let mut old = file.clone();
    assert_eq!(old[..2], [8, 8]);
    old[1] = 3;
    let (_, out) = folded(&old, false).unwrap();
    let read = Model::read(&out).unwrap();
    let inputs: Vec<&str> = read.graph.inputs.iter().map(|value| value.name).collect();
    assert_eq!(inputs, ["x", "a_folded_weight", "a_folded_bias"]);
}

#[test]
fn thirteen_of_thirteen_unknown_parts_are_kept_by_a_fold() {
    let (file, marks) = with_thirteen();
    let (folding, out) = folded(&file, false).unwrap();
    assert_eq!(folding.folded.len(), 1);
    assert_eq!(marks.iter().filter(|mark| has(&out, mark)).count(), 13);
    assert!(difference(&file, &out, &picture(3)) < 1e-6);
    // Twice is once.
    assert_eq!(folded(&out, false).unwrap().1, out);
}

/// What a review found: folded files that could not run.
#[test]
fn shapes_and_inner_graphs_keep_their_names() {
    // A Shape of what lies between a Mul and an Add.
    let nodes = vec![
        node("Conv", &["x", "w"], &["a"], &[]),
        node("Mul", &["a", "s"], &["p"], &[]),
        node("Shape", &["p"], &["shape"], &[]),
        node("Add", &["p", "t"], &["y"], &[]),
    ];
    let tensors = vec![weights("w", &[5, 3, 3, 3]), weights("s", &[5, 1, 1]), weights("t", &[5, 1, 1])];
    let file = model(13, &[-1, 3, 6, 6], nodes, tensors).to_bytes();
    assert_eq!(folded(&file, false).unwrap().1, file);
    // A value of a graph within a node that has the name of a new one.
    let file = conv_norm(|made| {
        let inner = node("Relu", &["x"], &["a_folded_bias"], &[]);
        let branch = batchnorm_model::onnx::NewGraph {
            name: "branch".into(),
            nodes: vec![inner],
            outputs: vec![support::shapeless("a_folded_bias")],
            ..Default::default()
        };
        made.graph.nodes.push(node("If", &["c"], &["z"], &[("then_branch", A::Graph(Box::new(branch)))]));
        made.graph.inputs.push(support::value("c", &[]));
    });
    let (_, out) = folded(&file, false).unwrap();
    let names: Vec<&str> = Model::read(&out).unwrap().graph.initializers.iter().map(|tensor| tensor.name).collect();
    assert_eq!(names, ["w", "a_folded_bias_2"]);
}

#[test]
fn one_layer_that_cannot_take_its_norm_keeps_no_other_from_it() {
    let nodes = vec![
        node("Conv", &["x", "w"], &["a"], &[]),
        norm("bn", "a", "b"),
        node("Conv", &["b", "nan"], &["c"], &[]),
        norm("bn2", "c", "y"),
    ];
    let mut tensors: Vec<_> = [weights("w", &[5, 3, 3, 3]), weights("nan", &[5, 5, 1, 1])].into();
    let NewValues::Floats(_, values) = &mut tensors[1].values else { unreachable!() };
    values[7] = f64::NAN;
    tensors.extend(vectors("bn", 5).into_iter().chain(vectors("bn2", 5)));
    let file = model(13, &[-1, 3, 6, 6], nodes, tensors).to_bytes();
    let (folding, _) = folded(&file, false).unwrap();
    assert_eq!((folding.folded.len(), folding.folded[0].name.as_str()), (1, "bn"));
    assert!(folding.kept[0].1.to_string().contains("not finite"), "{:?}", folding.kept);
}
