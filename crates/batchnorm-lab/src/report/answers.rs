//! Some digits, with the answer of each arm.

use std::fmt::Write;

use batchnorm_page::markup::{self, Table, escape};

use crate::comparison::Comparison;
use crate::digits::{CLASSES, Digits, PIXELS, TEST_PER_CLASS};
use crate::probe::Answer;
use crate::run::Run;

/// Images to test with.
pub const TEST_IMAGES: usize = CLASSES * TEST_PER_CLASS;
/// Images shown that every arm reads rightly.
const RIGHT: usize = 4;
/// Images shown of each arm that it reads wrongly.
const WRONG: usize = 3;
/// Pixels of a row.
const SIDE: usize = 8;

/// The digits with the answers of the first seed's networks at the end of training.
pub fn section(comparison: &Comparison) -> String {
    let Some(&seed) = comparison.settings.seeds.first() else { return String::new() };
    let heading = "Some digits, and what each arm says";
    let arms = comparison.settings.arms.iter();
    let runs: Vec<&Run> = arms
        .filter_map(|arm| comparison.runs.iter().find(|run| run.arm == arm.name && run.seed == seed))
        .filter(|run| run.answers.len() == TEST_IMAGES)
        .collect();
    if runs.is_empty() {
        let text = format!("No run of seed {seed} has ended with answers yet.");
        return markup::section("answers", heading, &markup::paragraph(&text));
    }
    let test = Digits::embedded().test;
    let mut out = markup::paragraph(&format!(
        "The networks of seed {seed} at the end of training. The rule: in the data set's order, the first {RIGHT} test \
         images that every arm reads rightly, and of each arm the first {WRONG} it reads wrongly. So the wrong ones \
         are far more frequent here than in truth:"
    ));
    out += &counts(&runs, &test.classes);
    let names = runs.iter().map(|run| run.arm.as_str());
    let caption = "Each arm's answer with its probability; the bars are those of all ten digits";
    let mut table = Table::new(caption, ["Image"].into_iter().chain(names));
    for at in chosen(&runs, &test.classes) {
        let class = test.classes[at];
        let digit = format!("{}<br>a {class}", drawing(&test.values[at * PIXELS..][..PIXELS], class, at));
        let cells = runs.iter().map(|run| answer_cell(&run.answers[at], class));
        table.html_row([digit].into_iter().chain(cells));
    }
    out += &format!("<div class=\"digits\">\n{}</div>\n", table.html());
    out += &markup::paragraph(
        "Images: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository \
         1998, doi 10.24432/C50P49, licence CC BY 4.0.",
    );
    markup::section("answers", heading, &out)
}

fn is_right(answer: &Answer, class: u8) -> bool {
    answer.class == Some(class)
}

/// The places of the images to show: right ones, then wrong ones arm by arm, none twice.
fn chosen(runs: &[&Run], classes: &[u8]) -> Vec<usize> {
    let places = 0..classes.len();
    let right_in_all = |at: &usize| runs.iter().all(|run| is_right(&run.answers[*at], classes[*at]));
    let mut chosen: Vec<usize> = places.clone().filter(right_in_all).take(RIGHT).collect();
    for run in runs {
        for at in places.clone().filter(|&at| !is_right(&run.answers[at], classes[at])).take(WRONG) {
            if !chosen.contains(&at) {
                chosen.push(at);
            }
        }
    }
    chosen
}

/// A list of the number of wrong answers of each arm.
fn counts(runs: &[&Run], classes: &[u8]) -> String {
    let mut out = String::from("<ul>\n");
    for run in runs {
        let wrong = run.answers.iter().zip(classes).filter(|(answer, class)| !is_right(answer, **class)).count();
        let text = format!("{}: {wrong} of {} wrong.", run.arm, classes.len());
        let _ = writeln!(out, "<li>{}</li>", escape(&text));
    }
    out + "</ul>\n"
}

/// A digit in shades of the page's own ink: the darker the pixel, the more of it.
fn drawing(pixels: &[f32], class: u8, at: usize) -> String {
    let mut out = format!(
        "<svg class=\"digit\" viewBox=\"0 0 {SIDE} {SIDE}\" role=\"img\" aria-label=\"handwritten {class}, test image {}\">",
        at + 1
    );
    for shade in 1..=16u8 {
        let level = f32::from(shade) / 16.0;
        let squares: String = (0..PIXELS)
            .filter(|&at| pixels[at] == level)
            .map(|at| format!("M{} {}h1v1h-1z", at % SIDE, at / SIDE))
            .collect();
        if !squares.is_empty() {
            let _ = write!(out, "<path fill-opacity=\"{level:.2}\" d=\"{squares}\"/>");
        }
    }
    out + "</svg>"
}

/// An answer in words, over bars of all ten probabilities.
fn answer_cell(answer: &Answer, class: u8) -> String {
    let Some(said) = answer.class else { return String::from("not a number") };
    // Rounded to thousandths: nothing is certain, and nothing excluded.
    let probability = |class: u8| match answer.thousandths[usize::from(class)] {
        0 => String::from("under 0.1\u{a0}%"),
        1000.. => String::from("over 99.9\u{a0}%"),
        thousandths => format!("{}.{}\u{a0}%", thousandths / 10, thousandths % 10),
    };
    let verdict = match said == class {
        true => String::from("<span class=\"verdict\">\u{2713} right</span>"),
        false => format!("<strong class=\"verdict\">\u{2717} wrong</strong>, {} for {class}", probability(class)),
    };
    format!("<span class=\"said\"><b>{said}</b> {} {verdict}</span>{}", probability(said), bars(answer, class))
}

fn bars(answer: &Answer, class: u8) -> String {
    const HEIGHT: f64 = 22.0;
    let mut out = String::from("<svg class=\"bars\" viewBox=\"0 0 120 36\" aria-hidden=\"true\">");
    out += "<path class=\"axis\" d=\"M0 24H120\"/>";
    for (digit, &thousandths) in answer.thousandths.iter().enumerate() {
        if thousandths > 0 {
            let height = (HEIGHT * f64::from(thousandths) / 1000.0).max(0.4);
            let (x, y) = (12 * digit + 2, 24.0 - height);
            let _ = write!(out, "<rect x=\"{x}\" y=\"{y:.1}\" width=\"8\" height=\"{height:.1}\"/>");
        }
        let true_one = if digit == usize::from(class) { " class=\"true\"" } else { "" };
        let _ = write!(out, "<text x=\"{}\" y=\"34\"{true_one}>{digit}</text>", 12 * digit + 6);
    }
    out + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Ending;

    fn run(classes: &[u8]) -> Run {
        let answer = |&class| Answer { class: Some(class), thousandths: [0; CLASSES] };
        Run {
            arm: String::new(),
            seed: 1,
            ending: Ending::Finished,
            target: None,
            final_accuracy: None,
            seconds: 0.0,
            fingerprint: String::new(),
            curve: Vec::new(),
            probes: Vec::new(),
            answers: classes.iter().map(answer).collect(),
        }
    }

    #[test]
    fn digits_are_chosen_by_the_rule() {
        let classes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let (one, other) = (run(&[0, 9, 2, 9, 4, 5, 9, 9, 8, 9]), run(&[9, 9, 2, 3, 4, 5, 6, 7, 8, 9]));
        // Both right: 2, 4, 5, 8 (9 is the fifth). Wrong: 1, 3, 6 of the one (7 is the fourth), 0 and 1 of the other.
        assert_eq!(chosen(&[&one, &other], &classes), [2, 4, 5, 8, 1, 3, 6, 0]);
        assert_eq!(chosen(&[&other], &classes), [2, 3, 4, 5, 0, 1]);
    }

    #[test]
    fn every_pixel_that_is_not_white_is_drawn() {
        let test = Digits::embedded().test;
        let pixels = &test.values[..PIXELS];
        let inked = pixels.iter().filter(|pixel| **pixel > 0.0).count();
        assert_eq!(drawing(pixels, test.classes[0], 0).matches("h1v1h-1z").count(), inked);
    }
}
