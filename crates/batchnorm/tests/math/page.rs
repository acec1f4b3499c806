//! The page itself: that each of its equations has a test, that its numbers are right, that its pictures show what their
//! source says, and that the places in the code are there.

use super::second_order::{hessian, k, p, q, tangent};
use super::{Case, equations, first_order, mean, mean_of, sum_of};
use batchnorm::reference::{jacobian::jacobian, staged};
use batchnorm::{Moments, undoing};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../../../docs/math.md");
const SOURCE: &str = include_str!("../../../../docs/math/equations.typ");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the crate that is `batchnorm::reference`.
fn reference() -> PathBuf {
    root().join("../batchnorm-reference/src")
}

/// The folder of the loops.
fn kernel() -> PathBuf {
    root().join("../batchnorm-kernel/src")
}

/// x = 1, 2, 6 with its upstream gradient and a direction.
pub fn example() -> Case {
    let lists = [[1.0, 2.0, 6.0], [1.0, 2.0, 0.0], [1.0, 0.0, 0.0]].map(Vec::from);
    Case::of(lists, [2.0, 1.0, 0.0, 0.0], 1.0 / 3.0, 0)
}

/// The pictures of the page: the alternative text of each, and its name.
fn pictures() -> Vec<(&'static str, &'static str)> {
    let picture = |piece: &'static str| piece.split_once("](math/").expect("a picture in docs/math");
    PAGE.split("![")
        .skip(1)
        .map(picture)
        .map(|(text, rest)| (text, rest.split_once(".svg)").expect("an SVG").0))
        .collect()
}

/// The equations of an alternative text: "(1) ...; (2) ...".
fn numbered(text: &'static str) -> Vec<&'static str> {
    let separators = text.match_indices("; ").map(|(at, _)| at).filter(|&at| number(&text[at + 2..]).is_some());
    let ends: Vec<usize> = separators.chain([text.len()]).collect();
    let starts = std::iter::once(0).chain(ends.iter().map(|end| end + 2));
    let all = starts.zip(&ends).map(|(start, &end)| &text[start..end]);
    if number(text).is_some() { all.collect() } else { Vec::new() }
}

/// The number a text begins with, in brackets.
fn number(text: &str) -> Option<u32> {
    text.strip_prefix('(')?.split_once(')')?.0.parse().ok()
}

#[test]
fn every_equation_of_the_page_has_a_test_and_every_test_an_equation() {
    let stated: Vec<&str> = pictures().into_iter().flat_map(|(text, _)| numbered(text)).collect();
    let mut tested: Vec<&str> = equations().into_iter().map(|(text, _)| text).collect();
    tested.sort_by_key(|text| number(text));
    let numbers: Vec<u32> = stated.iter().filter_map(|text| number(text)).collect();
    let last = numbers.len() as u32;
    assert_eq!(numbers, (1..=last).collect::<Vec<u32>>(), "the page counts its equations through");
    for (stated, tested) in stated.iter().zip(&tested) {
        assert_eq!(stated, tested, "left: docs/math.md, right: its test");
    }
    assert_eq!(stated.len(), tested.len());
    // No number is spoken of that is not there.
    for piece in PAGE.split('(').skip(1) {
        if let Some(Ok(spoken)) = piece.split_once(')').map(|(inside, _)| inside.parse::<u32>()) {
            assert!((1..=last).contains(&spoken), "({spoken})");
        }
    }
}

/// As the page writes numbers: so many digits, and a minus as long as a plus; whole numbers plainly.
fn written(value: f64, digits: usize) -> String {
    let whole = (value - value.round()).abs() < 1e-12;
    let text = if whole { format!("{:.0}", value.round() + 0.0) } else { format!("{value:.digits$}") };
    text.replace('-', "−")
}

fn list(values: &[f64], digits: usize) -> String {
    values.iter().map(|&value| written(value, digits)).collect::<Vec<String>>().join(", ")
}

/// The page's example paragraphs, each in one line.
fn examples() -> Vec<String> {
    let mut paragraphs: Vec<String> = Vec::new();
    let mut open = false;
    for line in PAGE.lines() {
        match line.strip_prefix("> ") {
            Some(text) if open => paragraphs.last_mut().expect("an open one").extend([" ", text]),
            Some(text) => paragraphs.push(text.to_owned()),
            None => {}
        }
        open = line.starts_with("> ");
    }
    paragraphs
}

#[test]
fn the_example_s_numbers_are_computed() {
    let case = example();
    let one = |value| written(value, 4);
    let all = |values: &[f64]| list(values, 4);
    let unit = case.gamma * case.r / 15.0;
    let rows: Vec<f64> =
        jacobian(&case.x, case.gamma, case.epsilon).iter().map(|entry| (entry / unit).round()).collect();
    let matrix: Vec<String> = rows.chunks(3).map(|row| list(row, 0).replace('−', "-")).collect();
    let (r, xhat, y) = (one(case.r), all(&case.xhat), all(&case.y));
    let variance = case.gamma.powi(2) * case.v / (case.v + case.epsilon);
    let (slope_of_v, slope_of_r) = (2.0 / 3.0 * case.c[2], -case.r.powi(2) * case.xhat[2] / 3.0);
    let dx = first_order::dx(&case);
    let naive: Vec<f64> = case.dy.iter().map(|dy| case.gamma * case.r * dy).collect();
    let terms = |l: usize| {
        let terms: Vec<f64> = (0..2).map(|i| rows[i * 3 + l] * case.dy[i]).collect();
        format!("{} {} {}", written(terms[0], 0), if terms[1] < 0.0 { "−" } else { "+" }, written(terms[1].abs(), 0))
    };
    let products: Vec<f64> = (0..3).map(|l| (0..3).map(|i| rows[i * 3 + l] * case.dy[i]).sum()).collect();
    assert!((case.v - 14.0 / 3.0).abs() < 1e-15 && (case.v + case.epsilon - 5.0).abs() < 1e-15);
    let expected = [
        format!(
            "**Example.** *x* = {} with *ε* = 1/3, *γ* = {} and *β* = {}. (An *ε* as large as this one shows what it does; 1e-5 is usual.) \
             *m* = {}, *x* − *m* = {}, *v* = 14/3 and *v* + *ε* = 5, so *r* = 1/√5 = {r}, *x̂* = {xhat} and *y* = {y}.",
            all(&case.x),
            one(case.gamma),
            one(case.beta),
            one(case.m),
            all(&case.c),
        ),
        format!(
            "**Example.** The mean of *y* is {} and its variance 4 · 14/15 = {}.",
            one(mean(&case.y)),
            one(variance)
        ),
        format!(
            "**Example.** While the last value, 6, grows, the mean grows 1/3 as fast, the variance 2/3 · {} = {} times as fast, and *r* by \
             −{:.1} · {}/3 = {}.",
            one(case.c[2]),
            one(slope_of_v),
            case.r.powi(2),
            one(case.xhat[2]),
            one(slope_of_r),
        ),
        "**Example.** With *γ* *r*/15 as unit all entries are whole numbers:".to_owned(),
        format!(
            "![d y_i / d x_l = gamma r / 15 times the rows {} and {} and {}, where gamma r / 15 = {}](math/jacobian-example.svg)",
            matrix[0],
            matrix[1],
            matrix[2],
            one(unit),
        ),
        "The outlier, 6, moves its own output by a single unit (bottom right): it raises the deviation by which it is divided. \
         The second value moves by twice that."
            .to_owned(),
        format!(
            "**Example.** Each row of the matrix adds up to 0. Multiplied by *x̂* it gives *γ* *r* *x̂* once more, times 1/{:.0}.",
            1.0 / case.share()
        ),
        format!(
            "**Example.** With dy = {}: dβ = {}, dγ = {}, mean(dy) = {}, mean(dy *x̂*) = {}, and dx = {}. By the matrix: ({}, {}, {}) = ({}), times {}.",
            all(&case.dy),
            one(case.dy.iter().sum()),
            one(sum_of(&case.dy, &case.xhat)),
            one(mean(&case.dy)),
            one(mean_of(&case.dy, &case.xhat)),
            all(&dx),
            terms(0),
            terms(1),
            terms(2),
            list(&products, 0),
            one(unit),
        ),
        format!(
            "**Example.** (33) would give {} instead of {}; and for dy = 1, 1, 1 it would give {} each instead of 0.",
            all(&naive),
            all(&dx),
            one(case.gamma * case.r),
        ),
        format!(
            "**Example.** Along *u* = {}, with *γ* and *β* at rest: *p* = {}, *q* = {}, *k* = {}, *y*′ = {} (the first column of the matrix), dx′ = {} and dγ′ = {}.",
            all(&case.direction),
            one(p(&case)),
            one(q(&case)),
            one(k(&case)),
            all(&tangent(&case)),
            all(&hessian(&case)),
            one(3.0 * case.r * k(&case)),
        ),
    ];
    let found = examples();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "left: docs/math.md, right: computed");
    }
    assert_eq!(found.len(), expected.len());
    assert_eq!(rows[8], 1.0, "a single unit, bottom right");
    assert_eq!(rows[5], -2.0, "the second value moves by twice that");
    let drawn = sources()["jacobian-example"];
    assert!(drawn.contains(&format!("mat({})", matrix.join("; "))) && drawn.contains(&format!("= {}$", one(unit))));
    // By the matrix and by (19) it is the same.
    products.iter().zip(&dx).for_each(|(product, dx)| assert!((product * unit - dx).abs() < 1e-15));
    // For dy = 1, 1, 1 the gradient is 0.
    let ones = Case { dy: vec![1.0; 3], ..example() };
    assert!(first_order::dx(&ones).iter().all(|dx| dx.abs() < 1e-15));
}

#[test]
fn the_numbers_between_the_formulas_are_computed() {
    let (deviation, epsilon) = (0.01f64, 1e-5);
    let off = 1.0 - deviation / undoing(0.0, deviation.powi(2), epsilon).0;
    let left = |alpha: f64| 100.0 * (1.0 - alpha).powi(50);
    let unit = 2f64.powi(-24);
    let ratio = 1e4f64;
    let two = Moments::of(&[1.0, 5.0]);
    let times = match two.sample_variance().map(|sample| sample / two.population_variance()) {
        Some(2.0) => "twice",
        other => panic!("{other:?}"),
    };
    let text = PAGE.split_whitespace().collect::<Vec<&str>>().join(" ");
    for expected in [
        format!(
            "*γ* = √*v* will not do: at a standard deviation of {deviation} and *ε* = {epsilon:e} it is {:.1} % off.",
            100.0 * off
        ),
        format!("with *α* = 0.1 after 50 steps {:.1} %, with *α* = 0.001 still {:.1} %.", left(0.1), left(0.001)),
        format!("the same for large batches, {times} *v* for *n* = 2"),
        format!(
            "where the mean is 10,000 times the standard deviation, f32 (*u* = {unit:.0e}) leaves an error of up to {:.0} times the variance",
            2.0 * unit * (1.0 + ratio.powi(2)),
        ),
    ] {
        assert!(text.contains(&expected), "not in docs/math.md: {expected}");
    }
}

/// The sections of the pictures' source by name.
fn sources() -> BTreeMap<&'static str, &'static str> {
    let sections = SOURCE.split("\n= ").skip(1).map(|section| section.split_once('\n').expect("a name's line"));
    sections.map(|(name, text)| (name, text.trim())).collect()
}

#[test]
fn the_pictures_are_those_of_the_source() {
    let sources = sources();
    let mut shown: Vec<&str> = pictures().into_iter().map(|(_, name)| name).collect();
    shown.sort_unstable();
    assert_eq!(shown, sources.keys().copied().collect::<Vec<&str>>(), "left: docs/math.md, right: its equations.typ");
    let folder = root().join("../../docs/math");
    let mut there: Vec<String> = std::fs::read_dir(&folder)
        .expect("docs/math")
        .filter_map(|entry| {
            entry.expect("an entry").file_name().to_str().and_then(|name| name.strip_suffix(".svg").map(str::to_owned))
        })
        .collect();
    there.sort_unstable();
    assert_eq!(shown, there, "left: docs/math.md, right: docs/math/*.svg");
    for (text, name) in pictures() {
        let svg = std::fs::read_to_string(folder.join(name).with_extension("svg")).expect("an SVG");
        let source = sources[name];
        let escaped = source.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        assert!(
            svg.contains(&format!("<metadata>{escaped}</metadata>")),
            "{name}.svg is out of date: run docs/math/render"
        );
        assert!(svg.contains("prefers-color-scheme:dark") && !svg.contains("<text"), "{name}");
        // A row of numbered formulas begins with its number.
        let row =
            |line: &str| line.trim().trim_start_matches("#rows(").strip_prefix('(')?.split_once(", ")?.0.parse().ok();
        let numbers: Vec<u32> = source.lines().filter_map(row).collect();
        assert_eq!(
            numbers,
            numbered(text).into_iter().filter_map(number).collect::<Vec<u32>>(),
            "{name}: its numbers and the page's"
        );
    }
}

#[test]
fn the_graph_s_numbers_are_computed() {
    let case = example();
    let nodes = staged::forward(&case.x, case.gamma, case.beta, case.epsilon);
    let back = staged::backward(&nodes, case.gamma, &case.dy);
    let three = |values: &[f64]| list(values, 3);
    let with = |value: f64| written(value, 3);
    // (The graph writes a gradient of one number with its digits.)
    let slope = |value: f64| format!("{value:.3}").replace('-', "−");
    let boxes = [
        ("x", three(&case.x), three(&back.gradients.dx)),
        ("mean", with(nodes.mean), slope(back.mean)),
        ("centered", three(&nodes.centered), three(&back.centered)),
        ("squared", three(&nodes.squared), three(&back.squared)),
        ("variance", with(nodes.variance), slope(back.variance)),
        ("deviation", with(nodes.deviation), slope(back.deviation)),
        ("inverse", with(nodes.inverse), slope(back.inverse)),
        ("normalized", three(&nodes.normalized), three(&back.normalized)),
        ("scaled", three(&nodes.scaled), three(&back.scaled)),
        ("y", three(&nodes.y), three(&case.dy)),
        ("beta", with(case.beta), with(back.gradients.dbeta)),
        ("gamma", with(case.gamma), with(back.gradients.dgamma)),
    ];
    let (text, _) = pictures().into_iter().find(|(_, name)| *name == "graph").expect("the graph");
    let source = sources()["graph"];
    for (name, value, gradient) in boxes {
        let spoken = format!(" {name}: {value}; {gradient}.").replace('−', "-");
        assert!(text.contains(&spoken), "not in the graph's text: {spoken}");
        let drawn = match name {
            "beta" | "gamma" => format!("${name} = {value}$, [{gradient}]"),
            _ => format!("[{value}], [{gradient}])"),
        };
        let line = source
            .lines()
            .find(|line| line.contains(&format!(", [{name}], ")) || drawn.starts_with('$') && line.contains(&drawn));
        assert!(line.is_some_and(|line| line.contains(&drawn)), "not in the graph's source: {name} {drawn}");
    }
}

#[test]
fn what_the_page_names_of_the_code_is_there() {
    let table = PAGE.split_once("## In the code").expect("the section").1;
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let mut file = None;
        for word in row.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                let path = match word.strip_prefix("reference/") {
                    Some(word) => reference().join(word),
                    None if word.starts_with("kernel/") => kernel().join(&word["kernel/".len()..]),
                    None if word.starts_with("tests/") => root().join(word),
                    None => root().join("src").join(word),
                };
                file = Some(std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{word} of {row}")));
                continue;
            }
            let text = file.as_ref().unwrap_or_else(|| panic!("a file before {word}"));
            let word = word.rsplit("::").next().expect("a word");
            let whole = |piece: &str| piece.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word);
            assert!(whole(text), "{word} of {row}");
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
    for (index, module) in PAGE.split("`reference::").skip(1).enumerate() {
        let module = module.split(['`', ':']).next().expect("a module");
        assert!(reference().join(module).with_extension("rs").exists(), "{index}: {module}");
    }
}
