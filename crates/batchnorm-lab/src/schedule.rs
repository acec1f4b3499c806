//! Learning rates by the step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::setting::SettingError;

/// The learning rate's course over a training, as a function of the step alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its course behind the warm-up.
    pub course: Course,
    /// Steps in which it rises in equal parts to the full rate.
    pub warm_up: usize,
}

/// The course of a learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Course {
    /// The same in every step.
    Constant,
    /// Multiplied by a factor after each so many steps.
    Step {
        /// Steps of one rate.
        every: usize,
        /// The factor.
        factor: f64,
    },
    /// Half a cosine, from the full rate to 0 at the end (Loshchilov and Hutter 2017, without restarts).
    Cosine,
}

impl Course {
    /// Steps in which the rate usually rises: a twentieth of those of a cosine. (Of other courses the first steps are the same whatever their
    /// number.)
    pub fn usual_warm_up(self, steps: usize) -> usize {
        if self == Course::Cosine { steps / 20 } else { 0 }
    }
}

impl Schedule {
    /// The same rate in every step.
    pub const CONSTANT: Schedule = Schedule { course: Course::Constant, warm_up: 0 };

    /// The rate of a step, from 0 on, of so many.
    pub fn rate(self, full: f64, step: usize, steps: usize) -> f64 {
        if step < self.warm_up {
            return full * (step + 1) as f64 / self.warm_up as f64;
        }
        match self.course {
            Course::Constant => full,
            Course::Step { every, factor } => full * factor.powi(i32::try_from(step / every).unwrap_or(i32::MAX)),
            Course::Cosine => {
                let share = (step - self.warm_up) as f64 / steps.saturating_sub(self.warm_up).max(1) as f64;
                full * 0.5 * (1.0 + (PI * share.min(1.0)).cos())
            }
        }
    }

    /// Tells whether more steps would change the rate of those before them.
    pub fn depends_on_steps(self) -> bool {
        self.course == Course::Cosine
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// The first one out of range.
    pub fn check(self, steps: usize) -> Result<(), SettingError> {
        if self.warm_up >= steps && self.warm_up > 0 {
            return Err(SettingError::new("warm_up", "fewer steps than there are in all", self.warm_up));
        }
        match self.course {
            Course::Step { every: 0, .. } => Err(SettingError::new("schedule", "a step or more of each rate", 0)),
            Course::Step { factor, .. } if !(factor > 0.0 && factor <= 1.0) => {
                Err(SettingError::new("schedule", "a factor above 0, up to 1", factor))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_fall_and_end_as_they_should() {
        let rates =
            |course, warm_up| [0, 1, 4, 5, 52, 99].map(|step| Schedule { course, warm_up }.rate(2.0, step, 100));
        assert_eq!(rates(Course::Constant, 0), [2.0; 6]);
        assert_eq!(rates(Course::Constant, 5)[..4], [0.4, 0.8, 2.0, 2.0]);
        assert_eq!(rates(Course::Step { every: 50, factor: 0.1 }, 0)[3..], [2.0, 0.2, 0.2]);
        let cosine = rates(Course::Cosine, 4);
        assert_eq!((cosine[2], cosine[4]), (2.0, 1.0));
        assert!(cosine[5] > 0.0 && cosine[5] < 0.001, "{cosine:?}");
    }
}
