//! The summary of a training, and what is said before it.

use batchnorm_lab::data::Data;
use batchnorm_lab::model::{BesideAverage, Description};
use batchnorm_lab::network::{HEAD, Layer, Recipe};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::transfer::Head;
use batchnorm_lab::words::percent;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::json;

use super::options::Arguments;
use super::request::Request;
use super::run::Run;
use crate::failure::{Failure, tell};
use crate::terminal::put;
use crate::text;

/// Says what was found and what will be trained, on stderr.
pub fn announce(data: &Data, plan: &Plan, threads: usize) {
    for line in found(data).lines().chain(layers(plan, data).to_string().lines()) {
        tell(line);
    }
    let epoch = data.train.len() as f64 / plan.batch_size as f64;
    tell(format_args!(
        "{} steps ({:.1} epochs) of {} examples, {}",
        plan.steps,
        plan.steps as f64 / epoch,
        plan.batch_size,
        if threads == 1 { String::from("1 thread") } else { format!("{threads} threads") }
    ));
}

/// What a data set is, in a few lines.
fn found(data: &Data) -> String {
    let summary = &data.summary;
    let counts = match summary.validation {
        0 => format!("{} to train, {} to test", summary.train, summary.test),
        watched => format!("{} to train, {watched} to watch by, {} to test", summary.train, summary.test),
    };
    let classes = summary.classes.iter().map(|class| text::one_line(class)).collect::<Vec<_>>();
    let shown = match classes.len() {
        0..=12 => classes.join(", "),
        _ => format!("{}, ... {}", classes[..10].join(", "), classes[classes.len() - 1]),
    };
    let scale = match &summary.scale {
        None => String::from("as they are"),
        Some(scale) => {
            let some = |values: &[f64]| {
                let shown: Vec<String> = values.iter().take(4).map(|value| format!("{value:.4}")).collect();
                shown.join(" ") + if values.len() > 4 { " ..." } else { "" }
            };
            format!("standardised by means {} and deviations {}", some(&scale.mean), some(&scale.deviation))
        }
    };
    format!(
        "data     {} ({}): {counts}\ninput    {}, {scale}\nclasses  {}: {shown}",
        text::one_line(&summary.name),
        summary.kind,
        summary.input,
        classes.len()
    )
}

/// The layers of a network as a table.
fn layers(plan: &Plan, data: &Data) -> Table {
    let recipe = &plan.network;
    let mut table = Table::new();
    let head = ["layer", "what it does", "gives", "parameters"];
    table.load_style(UTF8_FULL_CONDENSED).set_header(head.into_iter().chain(plan.freeze().map(|_| "in training")));
    let outline = recipe.outline(data.summary.input, data.summary.classes.len());
    let right = |number: usize| Cell::new(number).set_alignment(CellAlignment::Right);
    for layer in &outline {
        let parameters = if layer.path.is_empty() { Cell::new("") } else { right(layer.parameters) };
        let row = [Cell::new(&layer.path), Cell::new(&layer.what), Cell::new(layer.output), parameters];
        table.add_row(row.into_iter().chain(of_training(plan, layer).map(Cell::new)));
    }
    let all = outline.iter().map(|layer| layer.parameters).sum();
    table.add_row([Cell::new("all"), Cell::new(""), Cell::new(""), right(all)]);
    table
}

/// What becomes of a layer in a training that starts from another network; of others that is no question.
fn of_training(plan: &Plan, layer: &Layer) -> Option<String> {
    let transfer = plan.transfer.as_ref()?;
    let becomes = transfer.freeze.of_layer(&plan.network, layer).unwrap_or_default();
    let new = layer.path == HEAD && transfer.head == Head::New;
    Some(if new { format!("{becomes}, new") } else { becomes })
}

/// The network alone.
pub fn outline(arguments: &Arguments, Request { data, plan, .. }: &Request) -> Result<(), Failure> {
    if arguments.json {
        let layers = plan.network.outline(data.summary.input, data.summary.classes.len());
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| {
                let mut row = json!({ "layer": layer.path, "what": layer.what, "gives": layer.output, "parameters": layer.parameters });
                if let Some(becomes) = of_training(plan, layer) {
                    row["in_training"] = becomes.into();
                }
                row
            })
            .collect();
        return put(&format!("{:#}\n", json!({ "network": plan.network, "layers": layers })));
    }
    put(&format!("{}\n{}\n\n{}", found(data), layers(plan, data), plan.network.to_toml()))
}

/// How the network does, behind the training.
pub fn print(arguments: &Arguments, run: &Run) -> Result<(), Failure> {
    let description = run.finished();
    let Description { data, plan, steps_done, test, watch, beside } = &description;
    let test = test.ok_or_else(|| Failure::output("the network was not tested"))?;
    let seconds = run.seconds();
    let chance = (data.classes.len() as f64).ln();
    if test.loss.is_none_or(|loss| loss > chance) {
        tell(format_args!(
            "batchnorm: warning: the network is worse than chance: its test loss is not below {chance:.4} nats; train \
             it for more --steps, or try another --learning-rate (it was {}) with --restart",
            plan.learning_rate
        ));
    }
    if arguments.json {
        let mut summary = description.summary();
        summary["file"] = text::path(&arguments.output).into();
        summary["seconds"] = seconds.into();
        return put(&format!("{summary:#}\n"));
    }
    let tested_by = if run.is_plain() && data.name == crate::data_set::EMBEDDED { "digits" } else { "examples" };
    let kept = match watch {
        Some(watch) if watch.best_step != *steps_done => format!(", the network of step {} is kept", watch.best_step),
        _ => String::new(),
    };
    let averaged = match beside {
        Some(BesideAverage { last_accuracy, training_statistics_accuracy }) => {
            let kept = training_statistics_accuracy
                .map_or(String::new(), |accuracy| format!("; {} with the training's statistics", percent(accuracy)));
            format!(", by averaged weights{kept}; {} by the last ones", percent(*last_accuracy))
        }
        None => String::new(),
    };
    let data_flag = if data.name == crate::data_set::EMBEDDED {
        String::from("--digits test")
    } else {
        format!("--data {}", text::word(data.name.as_ref()))
    };
    put(&format!(
        "network        {}\n\
         steps          {steps_done} of {} {} at rate {}, seed {} ({seconds:.1} s of training now){kept}\n\
         test accuracy  {} of {} {tested_by} not trained on{averaged}\n\
         test loss      {} nats\n\
         file           {}\n\
         try it         batchnorm predict --model {} {data_flag}\n",
        network(plan, data.input.values(), data.classes.len()),
        plan.batch_size,
        if run.is_plain() { "images" } else { "examples" },
        plan.learning_rate,
        plan.seed,
        percent(test.accuracy),
        data.test,
        test.loss.map_or(String::from("not finite"), |loss| format!("{loss:.4}")),
        text::one_line(&text::path(&arguments.output)),
        text::word(&arguments.output),
    ))
}

/// The network in a few words.
fn network(plan: &Plan, inputs: usize, classes: usize) -> String {
    let Recipe { hidden, convolutions, stages, .. } = &plan.network;
    let with = match plan.network.norm_name() {
        "none" => String::from("without batch norm"),
        norm => format!("with {norm}"),
    };
    let hidden: String = hidden.iter().map(|units| format!("{units}-")).collect();
    if convolutions.is_empty() {
        return format!("{inputs}-{hidden}{classes}, {with}");
    }
    let widths = convolutions
        .iter()
        .map(|convolving| format!("{} of {}x{}", convolving.channels, convolving.kernel, convolving.kernel));
    let mut words = format!("convolutions {}", widths.collect::<Vec<_>>().join(", "));
    if !stages.is_empty() {
        let blocks = stages.iter().map(|stage| format!("{}x{}", stage.blocks, stage.channels)).collect::<Vec<_>>();
        words += &format!(", residual blocks {}", blocks.join(" "));
    }
    format!("{words}, {hidden}{classes}, {with}")
}
