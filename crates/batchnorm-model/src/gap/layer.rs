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
    /// How far it would be if each statistic were off by one standard error; none of one sample, or of equal ones.
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
        let new = &layer.new;
        let root_mean = |squares: f64| (squares / new.mean.len() as f64).sqrt();
        // (The deviation is off by half of what the variance is, relative.)
        let error = layer.channel_errors.as_ref().map(|errors| {
            let of = |(&[mean, variance], measured): (&[f64; 2], &f64)| {
                let scale = measured.max(0.0) + epsilon;
                mean.powi(2) / scale + (variance / (2.0 * scale)).powi(2)
            };
            root_mean(errors.iter().zip(&new.variance).map(of).sum())
        });
        // (Equal samples have none, and say no more than one.)
        let error = error.filter(|error| *error > 0.0);
        let mut gap = LayerGap { layer: layer.clone(), epsilon, drift: 0.0, error, effects: None, quantiles: None };
        gap.drift = at_most(root_mean(gap.channel_drifts().map(|drift| drift.powi(2)).sum()));
        gap
    }

    /// How far each channel of its normalised output is off.
    pub fn channel_drifts(&self) -> impl Iterator<Item = f64> {
        let (old, new) = (&self.layer.old, &self.layer.new);
        let scale = |variance: f64| variance.max(0.0) + self.epsilon;
        (0..new.mean.len()).map(move |channel| {
            let (before, after) = (scale(old.variance[channel]), scale(new.variance[channel]));
            let moved = (new.mean[channel] - old.mean[channel]).powi(2) / before;
            (moved + ((after / before).sqrt() - 1.0).powi(2)).sqrt()
        })
    }

    /// What it alone does to a model that is otherwise right, where that was looked at; infinite where the outputs are not finite any more.
    pub fn change(&self) -> Option<f64> {
        self.effects.as_ref().map(|effects| at_most(effects.all_but_this.change))
    }

    /// Whether that is more than the standard errors of its statistics do, where these are known.
    pub fn is_beyond_errors(&self) -> Option<bool> {
        let (change, effects) = (self.change()?, self.effects.as_ref()?);
        self.error?;
        // (No number is no error that would explain a change.)
        Some(change > BEYOND * effects.error.max(0.0))
    }
}

/// What is no number is as large as can be: statistics that are not finite make it.
fn at_most(number: f64) -> f64 {
    if number.is_nan() { f64::INFINITY } else { number }
}
