//! The passes against the formulas, place by place, in f64.

use rand::RngExt;
use rayon::ThreadPoolBuilder;

use super::geometry::Geometry;
use super::passes::{bias_gradient, forward, input_gradient, weight_gradient};
use crate::random::{Purpose, generator};

const SEED: u64 = 21;

/// Calls with the places of output, weight and input of every product that a convolution of so many images has.
fn products(geometry: &Geometry, examples: usize, mut with: impl FnMut([usize; 3])) {
    let Geometry { channels, image, outputs, kernel, stride, padding } = *geometry;
    let [rows, columns] = geometry.output();
    let inside = |out: usize, at: usize, axis: usize| {
        (out * stride[axis] + at).checked_sub(padding[axis]).filter(|&place| place < image[axis])
    };
    for (example, output, channel) in triples(examples, outputs, channels) {
        for (row, down) in pairs(rows, kernel[0]) {
            for (column, right) in pairs(columns, kernel[1]) {
                let (Some(y), Some(x)) = (inside(row, down, 0), inside(column, right, 1)) else { continue };
                with([
                    ((example * outputs + output) * rows + row) * columns + column,
                    ((output * channels + channel) * kernel[0] + down) * kernel[1] + right,
                    ((example * channels + channel) * image[0] + y) * image[1] + x,
                ]);
            }
        }
    }
}

fn pairs(a: usize, b: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..a).flat_map(move |a| (0..b).map(move |b| (a, b)))
}

fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    pairs(a, b).flat_map(move |(a, b)| (0..c).map(move |c| (a, b, c)))
}

/// Convolutions whose images are smaller than their kernels, whose patches are laid out in strips, and all between.
fn geometries() -> Vec<(Geometry, usize)> {
    let mut generator = generator(SEED, Purpose::Order);
    let mut pick = |most: usize| generator.random_range(1..=most);
    let mut all: Vec<(Geometry, usize)> = (0..60)
        .map(|_| {
            let kernel = [pick(4), pick(4)];
            let geometry = Geometry {
                channels: pick(5),
                image: [pick(9), pick(9)],
                outputs: pick(6),
                kernel,
                stride: [pick(3), pick(3)],
                padding: [pick(kernel[0]) - 1, pick(kernel[1]) - 1],
            };
            (geometry, pick(40))
        })
        .filter(|(geometry, _)| geometry.output_plane() > 0)
        .collect();
    let square = |channels, side, outputs, kernel, stride| Geometry {
        channels,
        image: [side, side + 3],
        outputs,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
    };
    // Strips of a few rows, of one row, and a row that is longer than a strip may be.
    all.extend([(square(64, 24, 3, 3, 1), 2), (square(40, 60, 2, 7, 2), 1), (square(300, 90, 1, 3, 1), 1)]);
    all
}

#[test]
fn passes_are_their_formulas() {
    for (geometry, examples) in geometries() {
        println!("seed {SEED}: {geometry:?}, {examples} examples");
        let mut generator = generator(SEED, Purpose::Weights);
        let mut drawn = |count: usize| (0..count).map(|_| generator.random::<f64>() - 0.5).collect::<Vec<f64>>();
        let outputs = geometry.outputs * geometry.output_plane() * examples;
        let (x, weight) = (drawn(examples * geometry.input_values()), drawn(geometry.outputs * geometry.patch()));
        let (bias, dy) = (drawn(geometry.outputs), drawn(outputs));
        let plane = geometry.output_plane();
        let mut y: Vec<f64> = (0..outputs).map(|place| bias[place / plane % geometry.outputs]).collect();
        let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
        products(&geometry, examples, |[at, of, from]| {
            y[at] += weight[of] * x[from];
            dx[from] += weight[of] * dy[at];
            dweight[of] += dy[at] * x[from];
        });
        let mut dbias = vec![0.0; geometry.outputs];
        dy.iter().enumerate().for_each(|(place, dy)| dbias[place / plane % geometry.outputs] += dy);
        // Sums of n products of at most 1/4, in any order: n roundings of at most n / 4 units, of either sign: the root of n, times 4.
        let terms = geometry.patch().max(examples * plane).max(geometry.outputs * geometry.patch()) as f64;
        let close = |name: &str, found: Vec<f64>, expected: &[f64], epsilon: f64| {
            assert_eq!(found.len(), expected.len(), "{name}");
            let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(error <= epsilon * terms * terms.sqrt(), "{name}: off by {error}");
        };
        close("y", forward(&geometry, &x, &weight, &bias), &y, f64::EPSILON);
        close("dx", input_gradient(&geometry, &dy, &weight), &dx, f64::EPSILON);
        close("dweight", weight_gradient(&geometry, &x, &dy), &dweight, f64::EPSILON);
        close("dbias", bias_gradient(&geometry, &dy), &dbias, f64::EPSILON);
        let [x, weight, bias, dy] =
            [&x, &weight, &bias, &dy].map(|of| of.iter().map(|&v| v as f32).collect::<Vec<_>>());
        let wide = |found: Vec<f32>| found.into_iter().map(f64::from).collect::<Vec<f64>>();
        close("y", wide(forward(&geometry, &x, &weight, &bias)), &y, f64::from(f32::EPSILON));
        close("dx", wide(input_gradient(&geometry, &dy, &weight)), &dx, f64::from(f32::EPSILON));
        close("dweight", wide(weight_gradient(&geometry, &x, &dy)), &dweight, f64::from(f32::EPSILON));
    }
}

#[test]
fn without_a_bias_none_is_added() {
    let geometry = Geometry { channels: 1, image: [2, 2], outputs: 1, kernel: [1, 1], stride: [1, 1], padding: [0, 0] };
    assert_eq!(forward(&geometry, &[1.0, 2.0, 3.0, 4.0], &[2.0], &[]), [2.0, 4.0, 6.0, 8.0]);
    assert_eq!(forward(&geometry, &[1.0, 2.0, 3.0, 4.0], &[2.0], &[0.5]), [2.5, 4.5, 6.5, 8.5]);
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let geometry =
        Geometry { channels: 16, image: [20, 20], outputs: 8, kernel: [3, 3], stride: [1, 1], padding: [1, 1] };
    let examples = 37;
    let mut generator = generator(SEED, Purpose::Weights);
    let mut drawn = |count: usize| (0..count).map(|_| generator.random::<f32>() - 0.5).collect::<Vec<f32>>();
    let (x, weight) = (drawn(examples * geometry.input_values()), drawn(geometry.outputs * geometry.patch()));
    let (bias, dy) = (drawn(geometry.outputs), drawn(examples * geometry.outputs * geometry.output_plane()));
    let on = |threads| {
        ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(|| {
            let passes = [
                forward(&geometry, &x, &weight, &bias),
                input_gradient(&geometry, &dy, &weight),
                weight_gradient(&geometry, &x, &dy),
                bias_gradient(&geometry, &dy),
            ];
            passes.map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>())
        })
    };
    let one = on(1);
    for threads in [2, 3, 5, 8] {
        assert!(on(threads) == one, "{threads} threads");
    }
}
