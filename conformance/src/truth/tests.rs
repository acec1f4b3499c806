//! The expected values by other roads than those that made them.

use batchnorm::reference::{Real, staged};
use batchnorm_io::npy::Numbers;

use super::number::{D, d, wide};
use super::{batch, stream};
use crate::array::Input;
use crate::case::{Case, Expected, Norm, Operation, Refusal, Renormalization};
use crate::{draft, store};

fn committed() -> Vec<Case> {
    store::read(store::folder()).expect("the committed cases")
}

/// The value as it is stored: both words.
fn stored(expected: &Expected, i: usize) -> D {
    d(expected.high[i]) + d(expected.low.as_ref().map_or(0.0, |low| low[i]))
}

#[test]
fn the_computation_graph_gives_what_the_closed_form_gave() {
    let mut channels = 0;
    for case in committed() {
        let problem = &case.problem;
        let plain = problem.norm == Norm::Batch && problem.operation == Operation::Train;
        let has = |name: &str| problem.inputs.contains_key(name);
        let judged = plain && case.refusal != Refusal::Required && has("dy") && !has("weights");
        if !judged || problem.inputs["x"].recipe.is_some() {
            continue;
        }
        let (x, dy) = (problem.inputs["x"].to_f64(), problem.inputs["dy"].to_f64());
        for (c, channel) in problem.rows(&problem.inputs["x"].shape).all().into_iter().enumerate() {
            let of_channel = |values: &[f64]| wide(&channel.iter().map(|&i| values[i]).collect::<Vec<f64>>());
            let constant = channel.iter().all(|&i| x[i] == x[channel[0]]);
            if constant || channel.iter().any(|&i| !x[i].is_finite() || !dy[i].is_finite()) {
                continue;
            }
            let parameter = |name: &str, absent: f64| problem.given(name).map_or(d(absent), |values| d(values[c]));
            let (gamma, beta) = (parameter("gamma", 1.0), parameter("beta", 0.0));
            let mut nodes = staged::forward(&of_channel(&x), gamma, beta, d(problem.epsilon));
            // Batch renormalisation is batch norm by gamma r and beta + gamma d.
            let (mut r, mut shift) = (d(1.0), d(0.0));
            if let Some(Renormalization { r_max, d_max }) = problem.renormalization {
                let running = |name: &str| d(problem.given(name).expect("what it is corrected by")[c]);
                let deviation = (running("running_variance") + d(problem.epsilon)).sqrt();
                let limited = |value: D, low: D, high: D| {
                    if value < low {
                        low
                    } else if high < value {
                        high
                    } else {
                        value
                    }
                };
                r = limited(nodes.deviation / deviation, d(1.0) / d(r_max), d(r_max));
                shift = limited((nodes.mean - running("running_mean")) / deviation, d(-d_max), d(d_max));
                nodes = staged::forward(&of_channel(&x), gamma * r, beta + gamma * shift, d(problem.epsilon));
            }
            // Behind a rectifier: the gradient by what it lets through, and y cut off.
            let closed = |k: usize| problem.activation.is_some() && nodes.y[k].to_f64() <= 0.0;
            let behind = |values: Vec<D>| -> Vec<D> {
                values.into_iter().enumerate().map(|(k, value)| if closed(k) { d(0.0) } else { value }).collect()
            };
            let mut gradients = staged::backward(&nodes, gamma * r, &behind(of_channel(&dy))).gradients;
            gradients.dgamma = r * gradients.dgamma + shift * gradients.dbeta;
            let y = behind(nodes.y.clone());
            // As far apart as the storage keeps them: 1e-15 where one word is stored, far less where two are.
            let most = if case.expected["y"].low.is_some() { 1e-24 } else { 2e-16 };
            let check = |name: &str, i: usize, other: D, scale: f64| {
                let Some(expected) = case.expected.get(name) else { return };
                let error = (stored(expected, i) - other).to_f64().abs();
                let most = most * (1.0 + nodes.mean.to_f64().abs() / nodes.deviation.to_f64()) * scale + 1e-320;
                assert!(error <= most, "{} {name}, channel {c}, place {i}: {error:e} > {most:e}", case.name);
            };
            let inverse = (gamma * r).to_f64().abs() / nodes.deviation.to_f64();
            let largest = channel.iter().map(|&i| dy[i].abs()).fold(0.0, f64::max) * channel.len() as f64;
            for (k, &i) in channel.iter().enumerate() {
                let scale = (gamma * r * nodes.normalized[k]).to_f64().abs()
                    + (beta.to_f64().abs() + (gamma * shift).to_f64().abs());
                check("y", i, y[k], scale);
                check("dx", i, gradients.dx[k], inverse * largest * (1.0 + nodes.normalized[k].to_f64().abs()));
            }
            check("mean", c, nodes.mean, nodes.mean.to_f64().abs() + nodes.deviation.to_f64());
            check("variance", c, nodes.variance, nodes.variance.to_f64());
            check("dbeta", c, gradients.dbeta, largest);
            check(
                "dgamma",
                c,
                gradients.dgamma,
                largest * channel.len() as f64 * (r + shift * shift + d(1.0)).to_f64(),
            );
            channels += 1;
        }
    }
    assert!(channels > 300, "only {channels} channels were looked at");
}

#[test]
fn sums_in_sweeps_give_what_the_twin_gives() {
    use crate::case::Level::Easy;
    for channels_last in [false, true] {
        let sized = |draft: draft::Draft| match channels_last {
            true => draft.channels_last(&[7, 5, 3]),
            false => draft.shape(&[7, 3, 5]),
        };
        let case = draft::case("a-recipe", Easy, "", "").with(sized).recipes((2.0, 0.5), (-1.0, 3.0)).done();
        let mut problem = case.problem;
        let (swept, ratio) = stream::of(&problem);
        for name in ["x", "dy"] {
            problem.inputs.get_mut(name).expect("made by a recipe").recipe = None;
        }
        let (whole, other_ratio) = batch::of(&problem);
        assert!((ratio / other_ratio - 1.0).abs() < 1e-14);
        let places = super::probes(7 * 3 * 5);
        for (name, swept) in swept {
            let whole = &whole[&name];
            for (k, value) in swept.values.iter().enumerate() {
                let probed = matches!(name.as_str(), "y" | "dx");
                let place = if probed { places[k] } else { k };
                let channel = if channels_last { place % 3 } else { place / 5 % 3 };
                let scale = if probed { whole.scale[channel] } else { whole.scale[k] };
                assert!((*value - whole.values[place]).to_f64().abs() < 1e-28, "{name} {place}");
                assert!((swept.scale[k] - scale).abs() <= 1e-14 * scale, "{name} {place}");
            }
        }
    }
}

#[test]
fn probes_reach_both_ends() {
    let places = super::probes(1000);
    assert_eq!((places[0], *places.last().expect("there are some")), (0, 999));
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn a_broadcast_array_counts_as_often_as_it_is_seen() {
    let strides = Some(vec![0, 1]);
    let input = Input { numbers: Numbers::F64(vec![1.0, 2.0]), shape: vec![3, 2], strides, offset: 0, recipe: None };
    assert_eq!(input.to_f64(), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    assert!(D::constant(3.0).to_f64() == 3.0);
}
