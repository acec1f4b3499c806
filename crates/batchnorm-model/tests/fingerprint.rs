//! Which preprocessing a model was trained with is told from its first norms, whatever it was.
#![cfg(feature = "engine")]
#![allow(missing_docs)]

#[path = "support/skip.rs"]
mod skip;
mod support;

use std::ops::{ControlFlow, Range};

use batchnorm::reference::random::Random;
use batchnorm_model::engine::{Array, Optimiser, Rten, Source, Written};
use batchnorm_model::fingerprint::{self, Fit};
use batchnorm_model::onnx::NewAttribute;
use batchnorm_model::recalibrate::{Request, recalibrate};
use batchnorm_model::recipe::{Colours, Layout, Recipe};
use batchnorm_model::statistics::Statistics;
use skip::{with, written};
use support::*;

const SIDE: usize = 16;

/// What becomes of a level.
type Value = Box<dyn Fn(u8) -> f32 + Sync>;

/// Pictures of three colours, NCHW, as levels of 0 to 255.
struct Pictures {
    levels: Vec<u8>,
    channels: usize,
    /// What is made of a level of a channel of the input, and of which colour.
    values: Vec<(usize, Value)>,
    /// Each is cut out of black borders at a random place.
    cut: bool,
    layout: Layout,
}

impl Pictures {
    /// Some with soft shapes, each with a light of its own, more red than blue.
    fn levels(count: usize, channels: usize, seed: u64) -> Vec<u8> {
        let mut random = Random::new(seed);
        let mut levels = Vec::new();
        for _ in 0..count {
            let (light, slope) = (random.normal(), [random.normal(), random.normal()]);
            for channel in 0..channels {
                let tint = [150.0, 125.0, 90.0][channel] + 15.0 * random.normal();
                for pixel in 0..SIDE * SIDE {
                    let place = [pixel / SIDE, pixel % SIDE].map(|at| at as f64 / SIDE as f64 - 0.5);
                    let level = tint
                        + 30.0 * light
                        + 50.0 * (slope[0] * place[0] + slope[1] * place[1])
                        + 12.0 * random.normal();
                    levels.push(level.round().clamp(0.0, 255.0) as u8);
                }
            }
        }
        levels
    }

    fn plain(levels: Vec<u8>, channels: usize, layout: Layout) -> Pictures {
        let values = (0..channels).map(|channel| (channel, Box::new(f32::from) as Value));
        Pictures { levels, channels, values: values.collect(), cut: false, layout }
    }
}

impl Source for Pictures {
    fn len(&self) -> usize {
        self.levels.len() / (self.channels * SIDE * SIDE)
    }

    fn read(&self, places: Range<usize>) -> Result<Vec<(String, Array)>, String> {
        let (samples, plane) = (places.len(), SIDE * SIDE);
        let mut values = vec![0.0; samples * self.channels * plane];
        for (at, place) in places.enumerate() {
            let mut random = Random::new(1000 + place as u64);
            let moved = [0, 1].map(|_| if self.cut { random.below(5) as i64 - 2 } else { 0 });
            for (channel, (colour, value)) in self.values.iter().enumerate() {
                for pixel in 0..plane {
                    let from = [(pixel / SIDE) as i64 - moved[0], (pixel % SIDE) as i64 - moved[1]];
                    let inside = from.iter().all(|at| (0..SIDE as i64).contains(at));
                    let first = (place * self.channels + colour) * plane;
                    let level =
                        if inside { self.levels[first + from[0] as usize * SIDE + from[1] as usize] } else { 0 };
                    let to = match self.layout {
                        Layout::Nchw => (at * self.channels + channel) * plane + pixel,
                        Layout::Nhwc => (at * plane + pixel) * self.channels + channel,
                    };
                    values[to] = value(level);
                }
            }
        }
        let shape = match self.layout {
            Layout::Nchw => vec![samples, self.channels, SIDE, SIDE],
            Layout::Nhwc => vec![samples, SIDE, SIDE, self.channels],
        };
        Ok(vec![(String::from("x"), Array::floats(shape, values))])
    }
}

/// Two convolutions with a norm each, whose statistics are those of these pictures.
fn trained_on(pictures: &Pictures) -> Written {
    let pads = || [("pads", NewAttribute::Ints(vec![1; 4]))];
    let (to_nchw, input) = match pictures.layout {
        Layout::Nchw => (None, "x"),
        Layout::Nhwc => {
            (Some(node("Transpose", &["x"], &["t"], &[("perm", NewAttribute::Ints(vec![0, 3, 1, 2]))])), "t")
        }
    };
    let mut nodes: Vec<_> = to_nchw.into_iter().collect();
    nodes.extend([
        node("Conv", &[input, "w1"], &["c1"], &pads()),
        norm("n1", "c1", "b1"),
        node("Relu", &["b1"], &["r1"], &[]),
        node("Conv", &["r1", "w2"], &["c2"], &pads()),
        norm("n2", "c2", "y"),
    ]);
    let channels = pictures.channels;
    let mut tensors = vec![weights("w1", &[6, channels, 3, 3]), weights("w2", &[6, 6, 3, 3])];
    ["n1", "n2"].iter().for_each(|name| tensors.extend(vectors(name, 6)));
    let (side, channels) = (SIDE as i64, channels as i64);
    let shape = match pictures.layout {
        Layout::Nchw => [-1, channels, side, side],
        Layout::Nhwc => [-1, side, side, channels],
    };
    let file = model(15, &shape, nodes, tensors).to_bytes();
    let first = written(&file);
    let engine = Rten::load(first.bytes.clone(), Optimiser::Off).unwrap();
    let request =
        Request { layers: vec![0, 1], one_pass: false, batch: 8, mix: None, cut: None, memory: 1 << 30, files: 0 };
    let outcome = recalibrate(&engine, &first, pictures, None, &request, None, &mut |_| ControlFlow::Continue(()));
    let new: Vec<(usize, Statistics)> =
        outcome.unwrap().layers.iter().map(|layer| (layer.node, layer.new.clone())).collect();
    written(&with(&file, &new))
}

fn fits(written: &Written, source: &Pictures, recipe: &Recipe) -> Vec<Fit> {
    let engine = Rten::load(written.bytes.clone(), Optimiser::Off).unwrap();
    fingerprint::fits(&engine, written, source, recipe).unwrap()
}

fn nearest(fits: &[Fit]) -> &Fit {
    fits.iter().min_by(|one, other| one.distance().total_cmp(&other.distance())).unwrap()
}

/// Another one's pictures, prepared by a formula of their own here: each way that the fingerprint has a name for, with and without borders.
#[test]
fn the_truth_comes_first_whatever_it_is() {
    type Way = (&'static str, [f64; 3], [f64; 3], f64);
    let ways: [Way; 6] = [
        ("0..255", [0.0; 3], [1.0; 3], 1.0),
        ("0..1", [0.0; 3], [1.0; 3], 255.0),
        ("-1..1", [127.5; 3], [127.5; 3], 1.0),
        ("ImageNet's mean and deviation", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 255.0),
        ("0..255 less a mean", [123.68, 116.779, 103.939], [1.0; 3], 1.0),
        ("(v - 127) / 128", [127.0; 3], [128.0; 3], 1.0),
    ];
    for (number, (way, mean, sd, divided)) in ways.into_iter().enumerate() {
        for (reversed, word) in [(false, "RGB"), (true, "BGR")] {
            for cut in [false, true] {
                let layout = if number % 2 == 0 { Layout::Nchw } else { Layout::Nhwc };
                let values = (0..3).map(|channel| {
                    let colour = if reversed { 2 - channel } else { channel };
                    let of = move |level: u8| ((f64::from(level) / divided - mean[colour]) / sd[colour]) as f32;
                    (colour, Box::new(of) as Value)
                });
                let levels = Pictures::levels(300, 3, 5);
                let training = Pictures { levels, channels: 3, values: values.collect(), cut, layout };
                // Other pictures of the same kind; and a user who says something wrong.
                let mine = Pictures::plain(Pictures::levels(300, 3, 6), 3, layout);
                let wrong = Recipe { scale: 0.017, mean: vec![1.0], layout, ..Recipe::default() };
                let fits = fits(&trained_on(&training), &mine, &wrong);
                let first = nearest(&fits);
                // (-1..1 and (v - 127) / 128 are all but the same.)
                let is_twin = matches!(way, "-1..1" | "(v - 127) / 128");
                assert!(first.name.starts_with(word), "{word} {way}, cut {cut}: {first:?}");
                assert!(is_twin || first.name == format!("{word} {way}"), "{word} {way}, cut {cut}: {first:?}");
                assert!(first.borders == cut && first.distance() < 0.01, "{word} {way}, cut {cut}: {first:?}");
                assert!(fits[0].distance() > 10.0 * first.distance());
            }
        }
    }
}

#[test]
fn a_recipe_of_its_own_comes_first_and_grey_pictures_have_one_order() {
    let recipe =
        Recipe { mean: vec![0.7, 0.2, 0.4], sd: vec![0.3, 0.2, 0.5], colours: Colours::Bgr, ..Recipe::default() };
    let values = recipe
        .values()
        .into_iter()
        .enumerate()
        .map(|(channel, table)| (2 - channel, Box::new(move |level: u8| table[usize::from(level)]) as Value));
    let training = Pictures {
        levels: Pictures::levels(300, 3, 5),
        channels: 3,
        values: values.collect(),
        cut: true,
        layout: Layout::Nchw,
    };
    let mine = Pictures::plain(Pictures::levels(300, 3, 6), 3, Layout::Nchw);
    let all = fits(&trained_on(&training), &mine, &recipe);
    assert_eq!((all.len(), all[0].borders, nearest(&all)), (13, true, &all[0]));

    let recipe = Recipe { colours: Colours::Grey, ..Recipe::default() };
    let divided = |level: u8| f32::from(level) / 255.0;
    let training = Pictures {
        levels: Pictures::levels(300, 1, 5),
        channels: 1,
        values: vec![(0, Box::new(divided))],
        cut: false,
        layout: Layout::Nchw,
    };
    let mine = Pictures::plain(Pictures::levels(300, 1, 6), 1, Layout::Nchw);
    let all = fits(&trained_on(&training), &mine, &recipe);
    assert_eq!((all.len(), nearest(&all)), (7, &all[0]));
}
