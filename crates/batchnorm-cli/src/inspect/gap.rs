//! Which layer's statistics make a model good in training and bad in use, found on data and shown.

use std::fmt::Write;
use std::path::Path;

use batchnorm_model::file::{Measurable, ModelFile};
use batchnorm_model::gap::{Gap, LITTLE, LayerGap};
use batchnorm_model::job::{Answer, Task};
use batchnorm_model::recalibrate::{Answers, Side, Verdict};
use batchnorm_model::recipe::Recipe;
use batchnorm_model::samples::Data;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};

use super::Arguments;
use crate::failure::Failure;
use crate::fits::Fits;
use crate::model_data::Opened;
use crate::model_process::{other_answer, with_progress};
use crate::terminal::Stop;
use crate::text::{self, number, of_layers};
use crate::unfinished::Unfinished;

/// Layers that are looked at one by one, unless all are wanted.
const TOP: usize = 8;

/// What was found, with what it was found on.
pub struct Found {
    pub gap: Gap,
    pub fits: Option<Fits>,
    pub data: Data,
    /// The flags that say which these are and how they are run, as they were given.
    pub flags: String,
    pub has_labels: bool,
    /// All norms of the model, and why those are left out that cannot be measured.
    pub norms: Vec<Measurable>,
}

/// Measures and looks, if there are data.
pub fn found(arguments: &Arguments, flags: String, file: &ModelFile) -> Result<Option<Found>, Failure> {
    let path = &arguments.file;
    let Some(Opened { data, has_labels }) = arguments.data.open(file, path, arguments.labels.as_deref())? else {
        return Ok(None);
    };
    let failed = |error| Failure::refused(format!("{}: {error}", path.display()));
    let norms = file.measurable().map_err(failed)?;
    let layers: Vec<usize> = norms.iter().filter_map(|norm| norm.node.ok()).collect();
    if layers.is_empty() {
        let why = norms.iter().find_map(|norm| norm.node.err()).unwrap_or("there is none");
        return Err(Failure::refused(format!("{}: --data: no batch norm that can be measured: {why}", path.display())));
    }
    let job = |task: Task| arguments.resources.job(path, &data, task);
    let stop = Stop::on_ctrl_c()?;
    let fits = Fits::of(&job(Task::Fingerprint)?, &stop)?;
    let task = Task::Gap {
        layers,
        top: (!arguments.all).then_some(TOP),
        quantiles: arguments.html.is_some(),
        batch: arguments.resources.batch,
        files: arguments.resources.files()?,
    };
    let work = job(task)?;
    let unfinished = Unfinished::in_cache(&work, file);
    let Answer::Gap(gap) = with_progress(work, &stop, unfinished.as_ref())? else {
        return Err(other_answer());
    };
    unfinished.iter().for_each(Unfinished::remove);
    let has_labels = has_labels && gap.answers.changed.is_some();
    Ok(Some(Found { gap: *gap, fits, has_labels, data, flags, norms }))
}

/// The columns of a layer's row, of which the last three stand with labels alone.
pub const COLUMNS: [&str; 8] = [
    "batch norm",
    "drift",
    "its error",
    "all but this",
    "only this",
    "its error does",
    "right with all but this",
    "right with only this",
];

impl Found {
    /// A layer's row, by [`COLUMNS`].
    pub fn row(&self, layer: &LayerGap) -> Vec<String> {
        let none = || String::from("-");
        let effect =
            |of: &dyn Fn(&batchnorm_model::gap::Effects) -> String| layer.effects.as_ref().map_or_else(none, of);
        let mut row = vec![
            of_layers::short_name(&layer.layer.name),
            drift(layer),
            layer.error.map_or_else(none, |error| format!("{error:.3}")),
            effect(&|effects| percent(effects.all_but_this.change)),
            effect(&|effects| percent(effects.only_this.change)),
            effect(&|effects| percent(effects.error)),
        ];
        if self.has_labels {
            row.push(effect(&|effects| right(&effects.all_but_this)));
            row.push(effect(&|effects| right(&effects.only_this)));
        }
        row
    }

    pub fn columns(&self) -> &'static [&'static str] {
        if self.has_labels { &COLUMNS } else { &COLUMNS[..6] }
    }

    /// What it comes to, a sentence each.
    pub fn sentences(&self, path: &Path) -> Vec<String> {
        let Gap { answers, layers, measured, cut } = &self.gap;
        let mut said = vec![format!(
            "With statistics of these {} samples, measured layer by layer, the outputs {}.",
            measured.samples,
            match answers.change.is_finite() {
                true => format!("change by {}", percent(answers.change)),
                false => String::from("come from what is not finite, or 0 throughout"),
            }
        )];
        if *cut {
            said.push(String::from(
                "They were measured on samples cut at random, with black borders, for the model's first norms remember such; the changes are of samples as they are.",
            ));
        }
        if self.has_labels {
            said.push(format!(
                "Right answers: {} as the file is, {} with the measured ones.",
                before(answers),
                right(answers)
            ));
        }
        let culprits = self.gap.culprits();
        let looked_at = layers.iter().filter(|layer| layer.effects.is_some()).count();
        let beyond = layers.iter().filter(|layer| layer.is_beyond_errors() == Some(true)).count();
        let largest = layers.first().and_then(LayerGap::change).unwrap_or(0.0);
        let names: Vec<String> = culprits.iter().map(|layer| of_layers::short_name(&layer.layer.name)).collect();
        if answers.verdict() == Some(Verdict::Worse) {
            said.push(format!(
                "Fewer answers are right with the measured statistics: the data are not like those of the training (of all classes, prepared alike?), and say nothing of a gap. The outputs differ most at {}.",
                if names.is_empty() { String::from("no batch norm") } else { names.join(", ") }
            ));
        } else if let (false, Some(Verdict::Same | Verdict::WithinChance)) = (names.is_empty(), answers.verdict()) {
            said.push(format!(
                "No gap in the right answers, by more than chance explains; in the outputs it is made by {}.",
                names.join(", ")
            ));
        } else if !names.is_empty() {
            said.push(match &names[..] {
                [only] => format!("One batch norm makes the gap: {only}."),
                all => format!("{} batch norms make the gap, the worst first: {}.", all.len(), all.join(", ")),
            });
            said.push(match self.fits.as_ref().and_then(Fits::refusal) {
                Some(hint) => format!(
                    "But {hint}: mend the preparation first (--recipe, --scale, --mean, --sd, --colours); the gap may be that alone."
                ),
                None => {
                    let [old, new] = [path.to_owned(), path.with_extension("recalibrated.onnx")].map(|path| text::operand(&path));
                    let labels = self.data.labels.as_ref();
                    let labels = labels.map_or_else(String::new, |labels| format!(" --labels {}", text::operand(labels)));
                    let checked = if self.has_labels { " --unless-worse" } else { "" };
                    let cut = if *cut { " --cut" } else { "" };
                    format!(
                        "If these data are like those of its use, this mends it: batchnorm recalibrate {old} {new} {}{labels}{checked}{cut}",
                        self.flags
                    )
                }
            });
        } else if layers.iter().all(|layer| layer.error.is_none()) {
            said.push(String::from("Of one sample, or of equal ones, nobody can say what is chance: give more data."));
        } else if beyond == 0 {
            said.push(format!(
                "No gap: none of the {looked_at} batch norms that were looked at changes the outputs beyond what the standard errors of its statistics do."
            ));
        } else {
            said.push(format!(
                "No gap to speak of: {beyond} of {looked_at} batch norms change the outputs beyond the standard errors of their statistics, the largest by {:.2} %, less than {:.0} %.",
                100.0 * largest,
                100.0 * LITTLE
            ));
        }
        if looked_at < layers.len() {
            said.push(format!(
                "Looked at one by one: the {looked_at} of {} that drifted most (--all: each).",
                layers.len()
            ));
        }
        said
    }

    pub fn text(&self, path: &Path) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(self.columns().iter().copied());
        for layer in &self.gap.layers {
            let cells = self.row(layer).into_iter().enumerate();
            table.add_row(cells.map(|(at, text)| {
                let cell = Cell::new(text);
                if at == 0 { cell } else { cell.set_alignment(CellAlignment::Right) }
            }));
        }
        let mut text = format!("\nThe gap between training and use\n{table}\n");
        text.push_str(
            "Drift: how far the norm's normalised output is off, in deviations (root mean square). All but this: what its statistics alone do to the outputs of \
             a model that is otherwise right. Only this: what mending it alone does to the model as it is. Its error does: what a standard error of its \
             measured statistics does.\n",
        );
        for sentence in self.sentences(path) {
            let _ = writeln!(text, "{sentence}");
        }
        let stays = self.norms.iter().filter_map(|norm| Some((&*norm.name, norm.node.err()?.to_owned())));
        text.push_str(&of_layers::reasons("Not measured", stays));
        text
    }

    pub fn json(&self) -> Value {
        let culprits: Vec<&str> = self.gap.culprits().iter().map(|layer| &*layer.layer.name).collect();
        let answers = |answers: &Answers| {
            let right = |side: &Option<Side>| side.as_ref().and_then(|side| side.right);
            json!({
                "change": number(answers.change),
                "same_answer": answers.same,
                "right_before": right(&answers.before),
                "right_after": right(&answers.after),
                "verdict": answers.verdict(),
            })
        };
        let layer = |layer: &LayerGap| {
            json!({
                "name": layer.layer.name,
                "drift": number(layer.drift),
                "error": layer.error.map(number),
                "all_but_this": layer.effects.as_ref().map(|effects| answers(&effects.all_but_this)),
                "only_this": layer.effects.as_ref().map(|effects| answers(&effects.only_this)),
                "error_does": layer.effects.as_ref().map(|effects| number(effects.error)),
                "beyond_errors": layer.is_beyond_errors(),
                "makes_the_gap": culprits.contains(&&*layer.layer.name),
            })
        };
        let stays = self.norms.iter().filter_map(|norm| Some(json!({ "name": norm.name, "reason": norm.node.err()? })));
        json!({
            "data": text::path(&self.data.path),
            "recipe": self.data.recipe.as_ref().map(Recipe::to_toml),
            "fits": self.fits.as_ref().map(Fits::json),
            "samples": self.gap.measured.samples,
            "cut": self.gap.cut,
            "outputs": answers(&self.gap.answers),
            "layers": self.gap.layers.iter().map(layer).collect::<Vec<Value>>(),
            "culprits": culprits,
            "not_measured": stays.collect::<Vec<Value>>(),
            "seconds": self.gap.measured.seconds,
        })
    }
}

/// The share of right answers after.
fn right(answers: &Answers) -> String {
    share(answers, &answers.after)
}

/// A layer's drift.
pub fn drift(layer: &LayerGap) -> String {
    if layer.drift.is_finite() { format!("{:.3}", layer.drift) } else { String::from("not finite") }
}

fn percent(change: f64) -> String {
    if change.is_finite() { format!("{:.2} %", 100.0 * change) } else { String::from("not finite") }
}

fn before(answers: &Answers) -> String {
    share(answers, &answers.before)
}

fn share(answers: &Answers, side: &Option<Side>) -> String {
    let right = side.as_ref().and_then(|side| side.right);
    right.map_or_else(|| String::from("-"), |right| format!("{:.1} %", 100.0 * right as f64 / answers.samples as f64))
}
