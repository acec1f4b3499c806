//! The request and the runs: all that another person needs to run it again. And results that others have published.

use batchnorm_page::markup::{self, Table, escape};

use crate::comparison::Comparison;
use crate::digits::{CLASSES, PIXELS};
use crate::run::{Ending, Run};
use crate::words::percent;

/// The command, the settings, the machine, and every run.
pub fn section(comparison: &Comparison) -> String {
    let Comparison { settings, machine, versions, .. } = comparison;
    let network = &settings.network;
    let hidden: String = network.hidden.iter().map(|units| format!("{units}-")).collect();
    let arms: Vec<String> = settings
        .arms
        .iter()
        .map(|arm| {
            let norm = if arm.batch_norm { "with batch norm" } else { "without batch norm" };
            format!("{} ({norm}, learning rate {})", arm.name, arm.learning_rate)
        })
        .collect();
    let seeds: Vec<String> = settings.seeds.iter().map(u64::to_string).collect();
    let facts = [
        ("Arms", arms.join("; ")),
        ("Seeds", seeds.join(", ")),
        (
            "Network",
            format!(
                "fully connected, {PIXELS}-{hidden}{CLASSES}, sigmoid; start weights normal with mean 0 and deviation \
                 {}; batch norm before each sigmoid, epsilon {:e}, weight of the new value in the running statistics {}; \
                 no bias where batch norm has one",
                network.weight_deviation, network.epsilon, network.weight_of_new
            ),
        ),
        (
            "Training",
            format!(
                "{} steps of plain gradient descent on the cross-entropy, {} images a step; evaluated every {} steps, \
                 by running statistics",
                settings.steps, settings.batch_size, settings.evaluate_every
            ),
        ),
        ("Mark to reach", percent(settings.target_accuracy)),
        (
            "Data",
            String::from(
                "1,797 handwritten digits of 8 by 8 pixels, embedded in the program: 1,437 to train on, 360 to test \
                 with, 36 of each class, one split for all seeds",
            ),
        ),
        ("Machine", format!("{}, {} hardware threads, {}", machine.processor, machine.cores, machine.platform)),
        ("Threads used", settings.threads.to_string()),
        ("Versions", format!("batchnorm {}, Burn {}", versions.batchnorm, versions.burn)),
        ("Format of compare.json", comparison.format.clone()),
    ];
    let mut out = format!("<dl>\n<dt>Command</dt><dd><code>{}</code></dd>\n", escape(&comparison.command));
    for (name, value) in facts {
        out += &format!("<dt>{name}</dt><dd>{}</dd>\n", escape(&value));
    }
    out += "</dl>\n";
    out += &runs(comparison);
    out += &markup::paragraph(
        "The same seed gives the same network to the bit on every run and on any number of threads, on one machine; \
         the fingerprint is a hash of all its numbers at the end. compare.json, beside this page, has every point of \
         every curve.",
    );
    markup::section("asked", "What was asked and run", &out)
}

fn runs(comparison: &Comparison) -> String {
    let target = percent(comparison.settings.target_accuracy);
    let (steps, seconds) = (format!("Steps to {target}"), format!("Seconds to {target}"));
    let columns = ["Seed and arm", "Ended", &steps, &seconds, "Accuracy at the end", "Seconds in all", "Fingerprint"];
    let mut table = Table::new("Every finished run", columns);
    for run in &comparison.runs {
        table.row([
            format!("seed {}: {}", run.seed, run.arm).as_str(),
            &ended(run),
            &run.target.map_or(String::from("not reached"), |at| at.step.to_string()),
            &run.target.map_or(String::from("not reached"), |at| format!("{:.3}", at.seconds)),
            &run.final_accuracy.map_or(String::from("-"), percent),
            &format!("{:.2}", run.seconds),
            &run.fingerprint,
        ]);
    }
    table.html()
}

fn ended(run: &Run) -> String {
    match run.ending {
        Ending::Finished => String::from("finished"),
        Ending::Diverged { step } => format!("diverged at step {step}"),
    }
}

/// Published results of others on the same question, kept apart from those found here.
pub fn published() -> String {
    let mut out = markup::paragraph(
        "Claims of others about larger networks and data. Nothing here was measured by this run, and none of it is \
         confirmed or refuted by it.",
    );
    let mut table = Table::new("Published before", ["Source", "Data and network", "Claim"]);
    table.row([
        "Ioffe and Szegedy 2015 (arXiv 1502.03167), figure 1",
        "MNIST, three hidden layers of 100 sigmoid units, batches of 60, 50,000 steps",
        "The network with batch norm is sooner at high accuracy and ends higher, and the inputs of its sigmoids keep \
         their distribution. A plot; it gives no numbers.",
    ]);
    table.row([
        "The same, ImageNet table",
        "Inception; steps to 72.2 %",
        "31.0 million steps without; 13.3 million with batch norm; 2.1 million at 5 times the learning rate and 2.7 \
         million at 30 times, where other things changed too.",
    ]);
    table.row([
        "Udacity's notebook on batch normalisation",
        "MNIST, sigmoid, 50,000 steps, one seed",
        "Accuracy .827 without and .973 with batch norm.",
    ]);
    out += &table.html();
    markup::section("published", "What others have published", &out)
}
