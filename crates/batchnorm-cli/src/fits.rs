//! How well the usual preparations of pictures fit what a model's first batch norms remember: found, shown, judged.

use batchnorm_model::fingerprint::Fit;
use batchnorm_model::job::{Answer, Job};
use serde_json::{Value, json};

use crate::failure::{Failure, tell};
use crate::model_process::in_child;
use crate::terminal::Stop;

/// How often better another preparation must fit to be spoken of.
const SPOKEN_OF: f64 = 2.0;
/// How often better it must fit to be refused for.
const REFUSED: f64 = 10.0;
/// Preparations that are shown.
const SHOWN: usize = 4;

/// What was found: the user's own preparation first.
pub struct Fits(Vec<Fit>);

impl Fits {
    /// Has them found, and says what was; none where the model's statistics say nothing.
    pub fn of(job: &Job, stop: &Stop) -> Result<Option<Fits>, Failure> {
        let Answer::Fits(Some(fits)) = in_child(job, stop, None, &mut |_| {})? else { return Ok(None) };
        let fits = Fits(fits);
        fits.lines().iter().for_each(tell);
        if let Some((hint, _)) = fits.hint() {
            tell(format_args!("hint: {hint}"));
        }
        Ok(Some(fits))
    }

    /// In lines: the data's distances, and the best of the others.
    pub fn lines(&self) -> Vec<String> {
        let (Some(own), others) = (self.0.first(), self.others()) else { return Vec::new() };
        let line = |fit: &Fit| {
            let borders = if fit.borders { ", with black borders as random cuts leave them" } else { "" };
            format!("{} ({}{borders})", fit.name, distances(fit))
        };
        let mut lines = vec![format!(
            "distance of the data from what the first batch norms remember (0: the same; a hint): {}",
            line(own)
        )];
        if !others.is_empty() {
            let best: Vec<String> = others.into_iter().take(SHOWN).map(line).collect();
            lines.push(format!("the usual preparations that fit best: {}", best.join("; ")));
        }
        lines
    }

    /// Each preparation, the nearest first behind the user's own: its name, its distances, and whether borders bring it nearer.
    pub fn rows(&self) -> Vec<[String; 3]> {
        let row = |fit: &Fit| [fit.name.clone(), distances(fit), String::from(if fit.borders { "yes" } else { "no" })];
        self.0.iter().take(1).chain(self.others()).map(row).collect()
    }

    /// The usual preparations, the nearest first.
    fn others(&self) -> Vec<&Fit> {
        let mut others: Vec<&Fit> = self.0.iter().skip(1).collect();
        others.sort_by(|one, other| one.distance().total_cmp(&other.distance()));
        others
    }

    /// Where another preparation fits better by more than a little: that in words, and how many times.
    pub fn hint(&self) -> Option<(String, f64)> {
        let (own, best) = (self.0.first()?, *self.others().first()?);
        let ratio = own.distance() / best.distance();
        let hint = || format!("{} fits what the model's first batch norms remember {ratio:.1} times better", best.name);
        (ratio > SPOKEN_OF).then(|| (hint(), ratio))
    }

    /// The same where it fits so much better that the preparation must be wrong.
    pub fn refusal(&self) -> Option<String> {
        self.hint().filter(|(_, ratio)| *ratio >= REFUSED).map(|(hint, _)| hint)
    }

    pub fn json(&self) -> Value {
        let fit = |fit: &Fit| json!({ "name": fit.name, "distances": fit.distances, "borders": fit.borders });
        self.0.iter().map(fit).collect()
    }
}

/// A preparation's distances.
fn distances(fit: &Fit) -> String {
    fit.distances.iter().map(|&distance| digits(distance)).collect::<Vec<String>>().join(", ")
}

/// A distance with as many digits as tell it from others.
fn digits(distance: f64) -> String {
    match distance {
        ..0.1 => format!("{distance:.4}"),
        ..10.0 => format!("{distance:.2}"),
        _ => format!("{distance:.0}"),
    }
}
