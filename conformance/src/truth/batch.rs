//! Batch norm of one batch, channel by channel.

use batchnorm::reference::compact::{self, Gradients};
use batchnorm::reference::mixed::Statistics;
use batchnorm::reference::renormalized::{self, Correction};
use batchnorm::reference::tangent::{Direction, tangent};
use batchnorm::reference::whole::{Rows, repeated};
use batchnorm::reference::{Real, weighted};

use super::number::{D, d, is_open, largest, wide};
use super::output::{Truth, Truths, along};
use super::running::{insert_running, moved};
use crate::case::{Activation, Estimator, Operation, Problem, Renormalization, Update};
use crate::kinds::Element;

/// The inputs of a channel.
#[derive(Clone)]
struct Channel {
    x: Vec<f64>,
    dy: Option<Vec<f64>>,
    direction: Option<Vec<f64>>,
    weights: Option<Vec<f64>>,
    gamma: f64,
    beta: f64,
    epsilon: f64,
    /// Running mean and variance.
    running: Option<[f64; 2]>,
    update: Option<Update>,
    renormalization: Option<Renormalization>,
}

/// The outputs of a channel, each with the scale of its error.
struct Outputs {
    y: Vec<D>,
    mean: D,
    mean_scale: f64,
    variance: D,
    variance_scale: f64,
    /// The gradients, and the derivative of the formula where 0 is declared.
    gradients: Option<(Gradients<D>, Option<Vec<D>>)>,
    dx_scale: f64,
    dgamma_scale: f64,
    dbeta_scale: f64,
    /// The directional derivative and its scale.
    jvp: Option<(Vec<D>, f64)>,
    /// Running mean and variance after the update.
    running: Option<[D; 2]>,
    /// Mean/std.
    ratio: f64,
}

pub fn of(problem: &Problem) -> (Truths, f64) {
    let shape = &problem.inputs["x"].shape;
    let axis = problem.channel_axis();
    let count = shape[axis];
    let rows = problem.rows(shape);
    let [x, dy, direction] = ["x", "dy", "direction"].map(|name| problem.given(name));
    let x = x.expect("every problem has an x");
    let weights = problem.inputs.get("weights").map(|input| repeated(&input.to_f64(), &input.shape, shape));
    let parameter = |name: &str, absent: f64| problem.given(name).unwrap_or_else(|| vec![absent; count]);
    let (gamma, beta) = (parameter("gamma", 1.0), parameter("beta", 0.0));
    let running = problem.given("running_mean").zip(problem.given("running_variance"));

    let mut outputs = Vec::new();
    for c in 0..count {
        let pick = |values: &Vec<f64>| rows.gather(c, values);
        let channel = Channel {
            x: pick(&x),
            dy: dy.as_ref().map(pick),
            direction: direction.as_ref().map(pick),
            weights: weights.as_ref().map(pick),
            gamma: gamma[c],
            beta: beta[c],
            epsilon: problem.epsilon,
            running: running.as_ref().map(|(mean, variance)| [mean[c], variance[c]]),
            update: problem.update,
            renormalization: problem.renormalization,
        };
        let normalized = if problem.operation == Operation::Eval { evaluated } else { trained };
        outputs.push(match problem.activation {
            Some(Activation::Relu) => rectified(&channel, normalized, problem.element),
            None => normalized(&channel),
        });
    }
    let elements = Elements { rows: &rows, axis };
    let mut truths = Truths::new();
    let mut insert = |name: &str, truth| truths.insert(name.to_string(), truth);
    let y_scale: Vec<f64> = beta.iter().map(|beta| beta.abs()).collect();
    insert("y", elements.truth(&outputs, |channel| channel.y.clone(), &y_scale));
    let of_channels = |number: &dyn Fn(&Outputs) -> D, scale: &dyn Fn(&Outputs) -> f64| Truth {
        shape: vec![count],
        values: outputs.iter().map(number).collect(),
        alternative: None,
        scale_shape: vec![count],
        // A NaN in dy makes the sums NaN too. The case asks for that NaN, and needs no scale for it.
        scale: outputs.iter().map(scale).map(|scale| if scale.is_nan() { 0.0 } else { scale }).collect(),
    };
    let scales = |scale: fn(&Outputs) -> f64| outputs.iter().map(scale).collect::<Vec<f64>>();
    if problem.operation == Operation::Train {
        insert("mean", of_channels(&|channel| channel.mean, &|channel| channel.mean_scale));
        insert("variance", of_channels(&|channel| channel.variance, &|channel| channel.variance_scale));
    }
    if dy.is_some() {
        let gradients = |channel: &Outputs| channel.gradients.as_ref().expect("there is a dy").0.clone();
        let mut dx = elements.truth(&outputs, |channel| gradients(channel).dx, &scales(|channel| channel.dx_scale));
        let alternative = |channel: &Outputs| channel.gradients.as_ref().and_then(|(_, other)| other.clone());
        if outputs.iter().any(|channel| alternative(channel).is_some()) {
            let either = |channel: &Outputs| alternative(channel).unwrap_or_else(|| gradients(channel).dx);
            dx.alternative = Some(elements.truth(&outputs, either, &[]).values);
        }
        insert("dx", dx);
        insert("dgamma", of_channels(&|channel| gradients(channel).dgamma, &|channel| channel.dgamma_scale));
        insert("dbeta", of_channels(&|channel| gradients(channel).dbeta, &|channel| channel.dbeta_scale));
    }
    if direction.is_some() {
        let jvp = |channel: &Outputs| channel.jvp.clone().expect("there is a direction");
        let scale: Vec<f64> = outputs.iter().map(|channel| jvp(channel).1).collect();
        insert("jvp", elements.truth(&outputs, |channel| jvp(channel).0, &scale));
    }
    if problem.operation == Operation::Train && problem.update.is_some() && running.is_some() {
        let running =
            |which: usize| outputs.iter().map(|channel| channel.running.expect("it is updated")[which]).collect();
        insert_running(&mut truths, running(0), running(1));
    }
    (truths, largest(outputs.iter().map(|channel| channel.ratio)))
}

/// The elements of each channel, and the axis of the channels.
struct Elements<'a> {
    rows: &'a Rows,
    axis: usize,
}

impl Elements<'_> {
    fn truth(&self, outputs: &[Outputs], values_of: impl Fn(&Outputs) -> Vec<D>, scale: &[f64]) -> Truth {
        let shape = self.rows.shape();
        let mut values = vec![d(0.0); shape.iter().product()];
        for (c, channel) in outputs.iter().enumerate() {
            for (value, place) in values_of(channel).into_iter().zip(self.rows.places(c)) {
                values[place] = value;
            }
        }
        let scale_shape = along(shape, self.axis);
        Truth { shape: shape.to_vec(), values, alternative: None, scale_shape, scale: scale.to_vec() }
    }
}

/// The outputs behind a rectifier: y is cut off at 0, and where it is cut off the upstream gradient is 0.
fn rectified(channel: &Channel, normalized: impl Fn(&Channel) -> Outputs, element: Element) -> Outputs {
    assert!(channel.direction.is_none(), "no directional derivative behind a rectifier");
    let z = normalized(channel).y;
    let most = largest(z.iter().map(|z| z.to_f64()));
    let open: Vec<bool> = z.iter().map(|z| is_open(z, most, element)).collect();
    let gated = |dy: &Vec<f64>| open.iter().zip(dy).map(|(&open, &dy)| if open { dy } else { 0.0 }).collect();
    let mut outputs = normalized(&Channel { dy: channel.dy.as_ref().map(gated), ..channel.clone() });
    for (y, _) in outputs.y.iter_mut().zip(&open).filter(|(_, open)| !**open) {
        *y = d(0.0);
    }
    outputs
}

const UNJUDGED: f64 = f64::INFINITY;

/// r and d of a channel, if it is renormalised.
fn correction(channel: &Channel) -> Option<Correction<D>> {
    let Renormalization { r_max, d_max } = channel.renormalization?;
    let running = channel.running.expect("what it is corrected by").map(d);
    Some(Correction::of(&wide(&channel.x), d(channel.epsilon), running, [r_max, d_max]))
}

fn trained(channel: &Channel) -> Outputs {
    let Channel { x, gamma, beta, epsilon, .. } = channel;
    let counts = |i: usize| channel.weights.as_ref().is_none_or(|weights| weights[i] > 0.0);
    let weight = |i: usize| channel.weights.as_ref().map_or(1.0, |weights| weights[i]);
    let counting: Vec<usize> = (0..x.len()).filter(|&i| counts(i)).collect();
    let total: f64 = counting.iter().map(|&i| weight(i)).sum();
    let dy = channel.dy.clone().unwrap_or_else(|| vec![0.0; x.len()]);
    let sum_counting = |term: &dyn Fn(usize) -> D| counting.iter().fold(d(0.0), |sum, &i| sum + term(i));
    let elementwise = |value: &dyn Fn(usize) -> D| -> Vec<D> {
        (0..x.len()).map(|i| if counts(i) { value(i) } else { d(0.0) }).collect()
    };
    let dbeta = sum_counting(&|i| d(dy[i]));
    let sums = largest([counting.iter().map(|&i| dy[i].abs()).sum::<f64>()]);
    let running = channel.running.map(|running| running.map(d));
    let mut outputs = Outputs {
        y: elementwise(&|_| d(*beta)),
        mean: d(0.0),
        mean_scale: UNJUDGED,
        variance: d(0.0),
        variance_scale: UNJUDGED,
        gradients: None,
        dx_scale: 0.0,
        dgamma_scale: 0.0,
        dbeta_scale: sums,
        jvp: None,
        running,
        ratio: 0.0,
    };
    let gradients = |dx: Vec<D>, dgamma: D| Gradients { dx, dgamma, dbeta };
    if counting.is_empty() {
        outputs.gradients = Some((gradients(vec![d(0.0); x.len()], d(0.0)), None));
        return outputs;
    }
    if counting.iter().any(|&i| !x[i].is_finite()) {
        // NaN, which stays in its channel. Its sums are not judged.
        let nan = elementwise(&|_| d(f64::NAN));
        outputs.y = nan.clone();
        outputs.gradients = Some((gradients(nan, d(0.0)), None));
        (outputs.dgamma_scale, outputs.dbeta_scale) = (UNJUDGED, UNJUDGED);
        return outputs;
    }
    let first = x[counting[0]];
    let (mean, variance);
    if counting.iter().all(|&i| x[i] == first) {
        // No information: y = beta, and by declaration no gradient; or the derivative of the formula, if it has one.
        (mean, variance) = (d(first), d(0.0));
        let corrected = correction(channel);
        let (r, shift) = corrected.map_or((d(1.0), d(0.0)), |corrected| (corrected.r, corrected.d));
        let slope = d(*gamma) * r / d(*epsilon).sqrt();
        let derivative =
            (*epsilon > 0.0).then(|| elementwise(&|i| slope * (d(dy[i]) - d(weight(i)) / d(total) * dbeta)));
        outputs.dx_scale = if *epsilon > 0.0 { slope.to_f64().abs() * largest(dy.iter().copied()) } else { 0.0 };
        outputs.gradients = Some((gradients(vec![d(0.0); x.len()], shift * dbeta), derivative));
        if corrected.is_some() {
            outputs.y = elementwise(&|_| d(*gamma) * shift + d(*beta));
            outputs.dgamma_scale = shift.to_f64().abs() * sums;
        }
    } else {
        let (values, upstream) = (wide(x), wide(&dy));
        let (g, b, e) = (d(*gamma), d(*beta), d(*epsilon));
        let (forward, backward) = match &channel.weights {
            Some(weights) => {
                (weighted::forward(&values, weights, g, b, e), weighted::backward(&values, weights, g, e, &upstream))
            }
            None => (compact::forward(&values, g, b, e), compact::backward(&values, g, e, &upstream)),
        };
        (mean, variance) = (forward.mean, forward.variance);
        let corrected = correction(channel);
        let inverse = forward.inverse_deviation.to_f64() * corrected.map_or(1.0, |corrected| corrected.r.to_f64());
        outputs.dx_scale = gamma.abs() * inverse * largest(counting.iter().map(|&i| dy[i]));
        outputs.dgamma_scale = counting.iter().map(|&i| (upstream[i] * forward.normalized[i]).to_f64().abs()).sum();
        outputs.y = forward.y;
        outputs.gradients = Some((backward, None));
        if let Some(corrected) = corrected {
            let normalized = renormalized::forward(&values, d(1.0), d(0.0), e, corrected);
            outputs.dgamma_scale = upstream.iter().zip(normalized).map(|(&dy, xhat)| (dy * xhat).to_f64().abs()).sum();
            outputs.y = renormalized::forward(&values, g, b, e, corrected);
            outputs.gradients = Some((renormalized::backward(&values, g, e, corrected, &upstream), None));
        }
        outputs.ratio = mean.to_f64().abs() * inverse;
        outputs.jvp = channel.direction.as_ref().map(|direction| {
            let statistics = Statistics { running: [d(0.0), d(1.0)], share: d(1.0) };
            let way = Direction { x: &wide(direction), gamma: d(0.0), beta: d(0.0) };
            let scale = gamma.abs() * inverse * largest(direction.iter().copied());
            (tangent(&values, g, e, statistics, true, way), scale)
        });
    }
    (outputs.mean, outputs.mean_scale) = (mean, (variance + d(*epsilon)).sqrt().to_f64());
    (outputs.variance, outputs.variance_scale) = (variance, variance.to_f64());
    outputs.running = running.zip(channel.update).map(|([old_mean, old_variance], update)| {
        let divisor = if update.variance == Estimator::Sample { d(total) - d(1.0) } else { d(total) };
        let batch = variance * d(total) / divisor;
        [moved(old_mean, mean, update.weight_of_new), moved(old_variance, batch, update.weight_of_new)]
    });
    outputs
}

fn evaluated(channel: &Channel) -> Outputs {
    let Channel { x, gamma, beta, epsilon, .. } = channel;
    let [mean, variance] = channel.running.expect("evaluation has running statistics");
    let (g, b, e) = (d(*gamma), d(*beta), d(*epsilon));
    let dy = channel.dy.clone().unwrap_or_else(|| vec![0.0; x.len()]);
    let (values, upstream) = (wide(x), wide(&dy));
    let mut y = compact::forward_eval(&values, g, b, d(mean), d(variance), e);
    for (y, &x) in y.iter_mut().zip(x) {
        if x.is_infinite() {
            // Double-double arithmetic would make NaN of it.
            *y = d(x * gamma);
        }
    }
    let gradients = compact::backward_eval(&values, g, d(mean), d(variance), e, &upstream);
    let inverse = (d(1.0) / (d(variance) + e).sqrt()).to_f64();
    let products = x.iter().zip(&dy).map(|(x, dy)| ((x - mean) * inverse * dy).abs()).sum();
    Outputs {
        y,
        mean: d(0.0),
        mean_scale: 0.0,
        variance: d(0.0),
        variance_scale: 0.0,
        gradients: Some((gradients, None)),
        dx_scale: gamma.abs() * inverse * largest(dy.iter().copied()),
        dgamma_scale: products,
        dbeta_scale: dy.iter().map(|dy| dy.abs()).sum(),
        jvp: None,
        running: None,
        ratio: mean.abs() * inverse,
    }
}
