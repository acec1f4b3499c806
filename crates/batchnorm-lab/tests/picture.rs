//! Pictures of digits, and what a trained network makes of them.
//!
//! The network is trained here (seed 1). Its accuracy on pictures that are the test digits enlarged, shifted, inverted,
//! coloured or transparent must be that on the digits themselves, within two in a hundred.

#![allow(missing_docs)]

use batchnorm_lab::data::Examples;
use batchnorm_lab::digits::{self, Digits, PIXELS};
use batchnorm_lab::model::{Description, Model};
use batchnorm_lab::picture::{PictureError, Source, seen};
use batchnorm_lab::plan::Plan;
use batchnorm_lab::probe::Answer;
use batchnorm_lab::training::Batches;
use std::sync::OnceLock;

fn trained() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let (digits, plan) = (Digits::embedded(), Plan::of(true));
        let data = digits::data().summary;
        let mut training = plan.training(plan.start(&data), 0);
        let mut batches = Batches::new(digits.train.len(), plan.batch_size, plan.seed);
        for step in 0..plan.steps {
            assert!(training.step(&digits.train.select(batches.draw()), plan.rate(step)).is_finite());
        }
        let score = training.evaluate(&digits.test).score;
        Model::new(Description::new(data, plan.clone(), plan.steps, score), &training)
    })
}

fn accuracy(pictures: &[[f32; PIXELS]], classes: &[u8]) -> f64 {
    let answers = Answer::all(&trained().scores(&pictures.concat()));
    answers.iter().zip(classes).filter(|(answer, class)| answer.class == Some(**class)).count() as f64
        / classes.len() as f64
}

fn test_digits() -> Examples {
    Digits::embedded().test
}

/// A picture of one digit of the data: its pixels as squares of `scale` points, with empty margins around.
struct Page {
    scale: usize,
    margins: [usize; 4],
    paint: fn(f32) -> [u16; 4],
}

impl Page {
    fn of(&self, digit: &[f32]) -> (usize, Vec<[u16; 4]>) {
        let [left, right, above, below] = self.margins;
        let (width, height) = (8 * self.scale + left + right, 8 * self.scale + above + below);
        let ink = |at: usize| {
            let (row, column) = ((at / width).checked_sub(above), (at % width).checked_sub(left));
            let cells = (row.map(|row| row / self.scale), column.map(|column| column / self.scale));
            match cells {
                (Some(row @ 0..8), Some(column @ 0..8)) => digit[row * 8 + column],
                _ => 0.0,
            }
        };
        (width, (0..width * height).map(|at| (self.paint)(ink(at))).collect())
    }
}

fn scaled(share: f32) -> u16 {
    (share * 65535.0).round() as u16
}

fn dark_on_light(ink: f32) -> [u16; 4] {
    let grey = scaled(1.0 - ink);
    [grey, grey, grey, u16::MAX]
}

fn light_on_dark(ink: f32) -> [u16; 4] {
    let grey = scaled(ink);
    [grey, grey, grey, u16::MAX]
}

/// Blue ink, transparent where there is none.
fn transparent(ink: f32) -> [u16; 4] {
    [0, 0, 30_000, scaled(ink)]
}

/// Weak grey pencil on yellowish paper.
fn pencil(ink: f32) -> [u16; 4] {
    let tint = |paper: f32| scaled(paper - 0.4 * ink);
    [tint(0.95), tint(0.93), tint(0.85), u16::MAX]
}

#[test]
fn enlarged_digits_are_recognised_as_the_digits_themselves() {
    let digits = test_digits();
    let score = trained().description.test.expect("it was tested").accuracy;
    assert!(score >= 0.98, "{score}");
    let pages = [
        ("80x80", Page { scale: 10, margins: [0; 4], paint: dark_on_light }),
        ("inverted", Page { scale: 10, margins: [0; 4], paint: light_on_dark }),
        ("off centre", Page { scale: 10, margins: [3, 120, 40, 7], paint: dark_on_light }),
        ("odd scale", Page { scale: 7, margins: [31, 2, 1, 60], paint: light_on_dark }),
        ("transparent", Page { scale: 5, margins: [9, 4, 20, 3], paint: transparent }),
        ("pencil", Page { scale: 12, margins: [50, 9, 20, 30], paint: pencil }),
    ];
    for (name, page) in pages {
        let pictures: Vec<[f32; PIXELS]> = (0..digits.len())
            .map(|at| {
                let (width, pixels) = page.of(&digits.values[at * PIXELS..][..PIXELS]);
                seen(Source { width, pixels: &pixels }).unwrap()
            })
            .collect();
        let got = accuracy(&pictures, &digits.classes);
        println!("seed 1, {name}: {got:.4} against {score:.4}");
        assert!(got >= score - 0.02, "{name}: {got} against {score}");
        // README's figure, 98.3 %; other processors may round a digit to the other side.
        assert!((got - 0.983).abs() < 0.005, "{name}: {got}");
    }
}

#[test]
fn eight_by_eight_is_taken_pixel_by_pixel() {
    let digits = test_digits();
    for paint in [dark_on_light, light_on_dark] {
        let page = Page { scale: 1, margins: [0; 4], paint };
        let mut worst = 0.0f32;
        for digit in digits.values.as_chunks::<PIXELS>().0 {
            let (width, pixels) = page.of(digit);
            let seen = seen(Source { width, pixels: &pixels }).unwrap();
            worst = seen.iter().zip(digit).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        }
        assert!(worst <= 1e-4, "{worst}");
    }
}

/// Points of a quarter or more of an ellipse, from one angle to another in degrees, 0 at the top, clockwise.
fn arc(x: f32, y: f32, across: f32, along: f32, from: f32, to: f32) -> Vec<(f32, f32)> {
    let point = |step: usize| {
        let angle = (from + (to - from) * step as f32 / 24.0).to_radians();
        (x + across * angle.sin(), y - along * angle.cos())
    };
    (0..=24).map(point).collect()
}

/// The strokes of a digit, in a box of width and height 1.
fn strokes(class: u8) -> Vec<Vec<(f32, f32)>> {
    match class {
        0 => vec![arc(0.5, 0.5, 0.5, 0.5, 0.0, 360.0)],
        1 => vec![vec![(0.1, 0.3), (0.55, 0.0), (0.55, 1.0)]],
        2 => vec![[arc(0.5, 0.28, 0.45, 0.28, -70.0, 120.0), vec![(0.05, 1.0), (1.0, 1.0)]].concat()],
        3 => vec![arc(0.45, 0.26, 0.45, 0.26, -60.0, 180.0), arc(0.45, 0.76, 0.5, 0.24, 0.0, 240.0)],
        4 => vec![vec![(0.5, 0.0), (0.0, 0.62), (1.0, 0.62)], vec![(0.7, 0.35), (0.7, 1.0)]],
        5 => vec![[vec![(0.9, 0.0), (0.15, 0.0), (0.1, 0.45)], arc(0.42, 0.68, 0.5, 0.32, -40.0, 230.0)].concat()],
        6 => vec![vec![(0.7, 0.0), (0.3, 0.25), (0.1, 0.6)], arc(0.5, 0.72, 0.45, 0.28, 0.0, 360.0)],
        7 => vec![vec![(0.0, 0.0), (1.0, 0.0), (0.4, 1.0)], vec![(0.25, 0.5), (0.9, 0.5)]],
        8 => vec![arc(0.5, 0.24, 0.4, 0.24, 0.0, 360.0), arc(0.5, 0.74, 0.5, 0.26, 0.0, 360.0)],
        _ => vec![[arc(0.5, 0.28, 0.42, 0.28, 90.0, 450.0), vec![(0.92, 0.3), (0.8, 1.0)]].concat()],
    }
}

/// The strokes by a round pen, dark on light, with soft edges.
fn drawn(class: u8, width: f32, height: f32, pen: f32, slant: f32) -> (usize, Vec<[u16; 4]>) {
    let margin = 20.0 + pen;
    let at = |(x, y): (f32, f32)| (margin + slant * height * (1.0 - y) + x * width, margin + y * height);
    let lines: Vec<[(f32, f32); 2]> = strokes(class)
        .iter()
        .flat_map(|stroke| stroke.array_windows().map(|ends| ends.map(at)).collect::<Vec<_>>())
        .collect();
    let (columns, rows) = ((2.0 * margin + width + slant * height) as usize, (2.0 * margin + height) as usize);
    let ink = |at: usize| {
        let (x, y) = ((at % columns) as f32 + 0.5, (at / columns) as f32 + 0.5);
        let distance = |[(ax, ay), (bx, by)]: &[(f32, f32); 2]| {
            let (dx, dy) = (bx - ax, by - ay);
            let along = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy).max(1e-6)).clamp(0.0, 1.0);
            (x - ax - along * dx).hypot(y - ay - along * dy)
        };
        let nearest = lines.iter().map(distance).fold(f32::INFINITY, f32::min);
        (pen / 2.0 - nearest + 0.5).clamp(0.0, 1.0)
    };
    (columns, (0..columns * rows).map(|at| dark_on_light(ink(at))).collect())
}

#[test]
fn most_digits_drawn_with_a_pen_are_recognised() {
    let (mut pictures, mut classes) = (Vec::new(), Vec::new());
    for class in 0..10 {
        for width in [36.0, 48.0, 60.0] {
            for pen in [6.0, 10.0, 14.0] {
                for slant in [0.0, 0.15] {
                    let (width, pixels) = drawn(class, width, 80.0, pen, slant);
                    pictures.push(seen(Source { width, pixels: &pixels }).unwrap());
                    classes.push(class);
                }
            }
        }
    }
    for class in 0..10u8 {
        let drawn: Vec<_> = pictures.iter().zip(&classes).filter(|(_, of)| **of == class).map(|(p, _)| *p).collect();
        println!("{class}: {:.2}", accuracy(&drawn, &vec![class; drawn.len()]));
    }
    let got = accuracy(&pictures, &classes);
    println!("seed 1: {got:.3} of {} drawings", classes.len());
    // README's figure, 73 %; other processors may round a drawing or two to the other side.
    assert!((got - 0.73).abs() < 0.015, "{got}");
}

#[test]
fn blank_pictures_and_bad_shapes_are_errors() {
    let grey = [30_000, 30_000, 30_000, u16::MAX];
    let blank = |pixels: &[[u16; 4]], width| seen(Source { width, pixels }).unwrap_err();
    assert_eq!(blank(&[grey; 100], 10), PictureError::Blank);
    assert_eq!(blank(&[grey], 1), PictureError::Blank);
    assert_eq!(blank(&[[0, 0, 0, 0]; 64], 8), PictureError::Blank);
    assert_eq!(blank(&[], 8), PictureError::Shape { width: 8, pixels: 0 });
    assert_eq!(blank(&[grey; 9], 0), PictureError::Shape { width: 0, pixels: 9 });
    assert_eq!(blank(&[grey; 9], 2), PictureError::Shape { width: 2, pixels: 9 });
}

#[test]
fn pictures_of_one_row_column_or_point_of_ink_stay_in_range() {
    for (width, height) in [(1, 2), (2, 1), (1, 500), (500, 1), (3, 3), (9, 1000), (1000, 9)] {
        for at in [0, width * height / 2, width * height - 1] {
            let mut pixels = vec![[u16::MAX; 4]; width * height];
            pixels[at] = [0, 0, 0, u16::MAX];
            let seen = seen(Source { width, pixels: &pixels }).unwrap();
            assert!(seen.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "{width} x {height}: {seen:?}");
            assert!(seen.iter().sum::<f32>() > 0.0, "{width} x {height}");
        }
    }
}
