//! What a layer does to the gap.

use serde::{Deserialize, Serialize};

use super::quantiles::Quantiles;
use crate::recalibrate::{Answers, Recalibrated};

/// How many times what the standard errors do a change must be to be more than they.
const BEYOND: f64 = 3.0;

/// A norm: how far its statistics are off, and what that does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerGap {
    /// The statistics of the file and the measured ones.
    pub layer: Recalibrated,
    /// Added to its variances.
    pub epsilon: f64,
    /// How far its normalised output is off: root mean square over channels.
    pub drift: f64,
    /// How far it would be if each statistic were off by one standard error; none of one sample.
    pub error: Option<f64>,
    /// What it does to the outputs, where that was looked at.
    pub effects: Option<Effects>,
    /// Quantiles of what it sees, where they were taken.
    pub quantiles: Option<Quantiles>,
}

/// What a norm's statistics do to the model's outputs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Effects {
    /// The file's statistics, and those with this layer's measured ones.
    pub only_this: Answers,
    /// The measured statistics, and those with this layer's of the file.
    pub all_but_this: Answers,
    /// The change by moving the layer's measured statistics by a standard error each.
    pub error: f64,
}

impl LayerGap {
    pub(super) fn of(layer: &Recalibrated, epsilon: f64) -> LayerGap {
        let (old, new) = (&layer.old, &layer.new);
        let scale = |variance: f64| variance.max(0.0) + epsilon;
        let channels = || 0..new.mean.len();
        let root_mean = |squares: f64| (squares / new.mean.len() as f64).sqrt();
        let of = |channel: usize| {
            let (before, after) = (scale(old.variance[channel]), scale(new.variance[channel]));
            (new.mean[channel] - old.mean[channel]).powi(2) / before + ((after / before).sqrt() - 1.0).powi(2)
        };
        // (The deviation is off by half of what the variance is, relative.)
        let error = layer.channel_errors.as_ref().map(|errors| {
            let of = |channel: usize| {
                let [mean, variance] = errors[channel];
                let scale = scale(new.variance[channel]);
                mean.powi(2) / scale + (variance / (2.0 * scale)).powi(2)
            };
            root_mean(channels().map(of).sum())
        });
        LayerGap {
            layer: layer.clone(),
            epsilon,
            drift: at_most(root_mean(channels().map(of).sum())),
            error,
            effects: None,
            quantiles: None,
        }
    }

    /// What it alone does to a model that is otherwise right, where that was looked at; infinite where the outputs are not finite any more.
    pub fn change(&self) -> Option<f64> {
        self.effects.as_ref().map(|effects| at_most(effects.all_but_this.change))
    }

    /// Whether that is more than the standard errors of its statistics do, where these are known.
    pub fn is_beyond_errors(&self) -> Option<bool> {
        let effects = self.effects.as_ref()?;
        self.error?;
        let error = if effects.error.is_nan() { 0.0 } else { effects.error };
        Some(at_most(effects.all_but_this.change) > BEYOND * error)
    }
}

/// What is no number is as large as can be: statistics that are not finite make it.
fn at_most(number: f64) -> f64 {
    if number.is_nan() { f64::INFINITY } else { number }
}
