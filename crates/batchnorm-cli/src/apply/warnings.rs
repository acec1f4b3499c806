//! What a user should know of numbers that came in or went out: looked for once a run, channel by channel.

use super::options::{Arguments, Mode};
use crate::arrays::repeated_place;
use batchnorm::{Element, ParameterGradients, View, Weights};
use batchnorm_io::npy::Number;
use serde_json::json;
use std::fmt;

/// One thing, and the channels it concerns.
#[derive(Debug)]
pub(super) struct Warning {
    /// A name for machines.
    kind: &'static str,
    channels: Vec<usize>,
    /// Of so many.
    of: usize,
    /// Values concerned, where single ones are.
    values: Option<usize>,
    /// What is the matter, of which channels, and what it does.
    text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Warning {
    pub fn as_json(&self) -> serde_json::Value {
        json!({
            "kind": self.kind,
            "channels": self.channels,
            "of_channels": self.of,
            "values": self.values,
            "text": self.text,
        })
    }
}

/// The channel of each value of an array in C order, by its number.
pub(super) fn channel_of<T: Element>(x: &View<T>) -> impl Fn(usize) -> usize {
    let inner = |axis: usize| x.shape()[axis + 1..].iter().product::<usize>();
    let axes: Vec<[usize; 2]> = x.channel_axes().iter().map(|&axis| [inner(axis), x.shape()[axis]]).collect();
    move |at| axes.iter().fold(0, |channel, [inner, length]| channel * length + at / inner % length)
}

/// How many values of each channel are NaN or infinity, of arrays in C order.
struct NonFinite(Vec<usize>);

impl NonFinite {
    /// Where `counts` says so.
    fn of<T: Element>(x: &View<T>, values: &[T], counts: impl Fn(usize) -> bool) -> NonFinite {
        let channel_of = channel_of(x);
        let mut of = vec![0; x.channels()];
        for (at, value) in values.iter().enumerate() {
            if !value.to_f64().is_finite() && counts(at) {
                of[channel_of(at)] += 1;
            }
        }
        NonFinite(of)
    }

    fn channels(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|&channel| self.0[channel] > 0).collect()
    }

    fn values(&self) -> usize {
        self.0.iter().sum()
    }

    /// Without the channels of another.
    fn without(mut self, other: &NonFinite) -> NonFinite {
        self.0.iter_mut().zip(&other.0).filter(|(_, other)| **other > 0).for_each(|(own, _)| *own = 0);
        self
    }
}

/// What came in and what went out, in C order.
pub(super) struct Run<'r, 'w, T: Element> {
    pub arguments: &'r Arguments,
    pub epsilon: f64,
    /// Of the input's shape.
    pub view: &'r View<'r, T>,
    pub x: &'r [T],
    pub weights: Option<&'r Weights<'w, T>>,
    pub dy: Option<&'r [T]>,
    pub y: &'r [T],
    pub dx: Option<&'r [T]>,
    pub parameters: Option<&'r ParameterGradients>,
    /// By which each channel was normalised; and whether it is the running one.
    pub variance: &'r [f64],
    pub by_running: bool,
    /// Channels whose batch statistics are not finite.
    pub non_finite: &'r [usize],
}

impl<T: Element + Number> Run<'_, '_, T> {
    /// All that there is to say of it.
    pub fn warnings(&self) -> Vec<Warning> {
        let &Run { arguments, epsilon, view, x, weights, dy, y, dx, parameters, variance, by_running, non_finite } =
            self;
        let running_var = || arguments.running_var.as_ref().map_or(String::new(), |path| path.display().to_string());
        let of = view.channels();
        let train = arguments.mode == Mode::Train;
        let weight = weight_at(view, weights);
        let counted = |at: usize| weight(at) > 0.0;
        let mut warnings = Vec::new();
        let mut say = |kind, channels: Vec<usize>, values: Option<usize>, text: &dyn Fn(&str) -> String| {
            if !channels.is_empty() {
                let which = format!("{} of {of} channels ({})", channels.len(), first_few(&channels));
                warnings.push(Warning { kind, text: text(&which), channels, of, values });
            }
        };
        let half = match (&arguments.running_mean, &arguments.running_var) {
            (Some(_), None) => Some(("--running-mean", "--running-var", "the running variance starts at 1")),
            (None, Some(_)) => Some(("--running-var", "--running-mean", "the running mean starts at 0")),
            _ => None,
        };
        if let Some((given, missing, starts)) = half {
            say("half_of_the_statistics", (0..of).collect(), None, &|_| {
                format!("{given} is given without {missing}: {starts}")
            });
        }
        let in_x = NonFinite::of(view, x, counted);
        if train {
            let input = arguments.input.display();
            let holding = in_x.channels();
            let overflowing = non_finite.iter().copied().filter(|channel| !holding.contains(channel)).collect();
            say("non_finite_statistics", holding, Some(in_x.values()), &|which| {
                format!("{input}: {} NaN or infinity, in {which}; all of y is NaN there", are(in_x.values()))
            });
            say("overflowing_variance", overflowing, None, &|which| {
                format!("{input}: the variance is beyond float64 in {which}; all of y is NaN there: divide the input")
            });
        } else {
            say("non_finite_input", in_x.channels(), Some(in_x.values()), &|which| {
                format!(
                    "{}: {} NaN or infinity, in {which}; y is so there",
                    arguments.input.display(),
                    are(in_x.values())
                )
            });
        }
        let in_dy = dy.map(|dy| NonFinite::of(view, dy, counted));
        if let (Some(in_dy), Some(path)) = (&in_dy, &arguments.gradient) {
            say("non_finite_gradient", in_dy.channels(), Some(in_dy.values()), &|which| {
                format!(
                    "{}: {} NaN or infinity, in {which}; dgamma, dbeta and dx are not finite there",
                    path.display(),
                    are(in_dy.values())
                )
            });
        }
        // Of a channel that came in finite.
        let mut came = NonFinite(vec![0; of]);
        non_finite.iter().for_each(|&channel| came.0[channel] = 1);
        came.0.iter_mut().zip(&in_x.0).for_each(|(came, in_x)| *came += in_x);
        let in_y = NonFinite::of(view, y, |_| true).without(&came);
        say("output_overflows", in_y.channels(), Some(in_y.values()), &|which| {
            format!(
                "y: {} beyond {} though the input is finite, in {which}; gamma or beta is too large, or the variance and eps too small",
                are(in_y.values()),
                T::TYPE
            )
        });
        if let (Some(dx), Some(in_dy)) = (dx, in_dy) {
            in_dy.0.iter().zip(&mut came.0).for_each(|(in_dy, came)| *came += in_dy);
            let in_dx = NonFinite::of(view, dx, |_| true).without(&came);
            say("gradient_overflows", in_dx.channels(), Some(in_dx.values()), &|which| {
                format!("dx: {} beyond {} though x and dy are finite, in {which}", are(in_dx.values()), T::TYPE)
            });
            let sums = parameters.into_iter().flat_map(|sums| [("dgamma", &sums.dgamma), ("dbeta", &sums.dbeta)]);
            for (name, sums) in sums {
                let overflow = (0..of).filter(|&channel| came.0[channel] == 0 && !sums[channel].is_finite()).collect();
                say("gradient_overflows", overflow, None, &|which| {
                    format!("{name}: a sum is beyond float64 though x and dy are finite, in {which}; divide dy")
                });
            }
        }
        let with = |holds: &dyn Fn(f64) -> bool| (0..of).filter(|&channel| holds(variance[channel])).collect();
        if by_running {
            say("zero_variance", with(&|variance| variance == 0.0), None, &|which| {
                let (path, factor) = (running_var(), 1.0 / epsilon.sqrt());
                match epsilon == 0.0 {
                    true => format!("{path}: the variance is 0 in {which}, and eps too; y is beta there"),
                    false => format!(
                        "{path}: the variance is 0 in {which}; x - mean is taken times gamma / sqrt(eps) = {factor:.3e} gamma \
                         there, eps alone"
                    ),
                }
            });
        }
        let small: Vec<usize> = with(&|variance: f64| variance > 0.0 && variance < epsilon);
        let ratio = |channel: &usize| {
            let variance = variance[*channel];
            (variance / (variance + epsilon)).sqrt()
        };
        let least = small.iter().map(ratio).fold(1.0, f64::min);
        say("epsilon_above_variance", small, None, &|which| {
            let source = if by_running { running_var() } else { arguments.input.display().to_string() };
            format!(
                "{source}: eps {epsilon} is above the variance in {which}; the deviation of y falls to {least:.2e} of |gamma| \
                 there, not to all of it"
            )
        });
        warnings
    }
}

/// How many values are something.
fn are(count: usize) -> String {
    if count == 1 { String::from("1 value is") } else { format!("{count} values are") }
}

/// The weight of the value at a place in C order: 1 where none are given.
pub(super) fn weight_at<'w, T: Element>(
    x: &View<T>,
    weights: Option<&'w Weights<T>>,
) -> impl Fn(usize) -> f64 + use<'w, T> {
    let shape = x.shape().to_vec();
    move |at| weights.map_or(1.0, |weights| weights.values()[repeated_place(&shape, weights.shape(), at)].to_f64())
}

/// The first ten channels of a list, for messages.
pub(super) fn first_few(channels: &[usize]) -> String {
    let listed: Vec<String> = channels.iter().take(10).map(usize::to_string).collect();
    let more = if channels.len() > 10 { ", ..." } else { "" };
    listed.join(", ") + more
}
