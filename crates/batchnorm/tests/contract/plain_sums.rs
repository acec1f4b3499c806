//! Where plain sums tell a channel's moments and gradients and where they do not: the contract holds on both sides of the
//! limit, and no bit says on which side a layout, an instruction set or a thread was.

use crate::support::layout::{ORDERS, Order, Sizes, sizes};
use crate::support::training::{Arranged, errors, rule, rule_on, train};
use crate::support::{Random, pool};
use batchnorm::{Activation, Axes, Config, Parameters, Tier, View, ViewMut};

/// Asserts the bounds of the contract in one layout, and the bits of that one in all others.
fn meets_the_contract(what: &str, sizes: Sizes, x: &[f32], dy: &[f32], beta: f64) {
    let (gamma, beta) = (vec![1.0; sizes.c], vec![beta; sizes.c]);
    for epsilon in [1e-5, 0.0] {
        let worst = errors(Order::Nchw, sizes, x, dy, &gamma, &beta, epsilon);
        println!("{what}, {sizes:?}, eps {epsilon}: {worst}");
        assert!(worst.mean <= 1e-7 && worst.variance <= 1e-12, "{what}, eps {epsilon}: {worst}");
        assert!(worst.y_ulps <= 0.501, "{what}, eps {epsilon}: {worst}");
        assert!(worst.dx <= 1e-6 && worst.dgamma <= 1e-6 && worst.dbeta <= 1e-12, "{what}, eps {epsilon}: {worst}");
    }
    let first = train(&rule(1e-5), Order::Nchw, sizes, x, dy, &gamma, &beta);
    for (turn, order) in ORDERS.into_iter().enumerate() {
        let arranged = Arranged::new(order, sizes, x, dy);
        for tier in Tier::available() {
            let on_tier = rule_on(tier, 1e-5);
            let stepped = pool(1 + 2 * turn).install(|| arranged.back(arranged.train(&on_tier, &gamma, &beta)));
            assert!(stepped.same_bits(&first), "{what}: {order:?} {tier:?}");
        }
    }
}

#[test]
fn every_mean_from_0_to_1e8_deviations_keeps_bounds_and_bits() {
    let mut random = Random::new(901);
    let mut mean = 0.0;
    let mut turn = 0;
    while mean <= 1.2e8 {
        // Some channels at this mean, some at its negative, some about 0; planes of all kinds.
        let sizes = [sizes(8, 9, 49), sizes(300, 9, 1), sizes(3, 9, 700), sizes(1, 9, 17), sizes(40, 17, 16)][turn % 5];
        let len = sizes.n * sizes.c * sizes.plane;
        let of = |channel: usize| [mean, -mean, 0.0][channel % 3];
        let x: Vec<f32> = (0..len).map(|at| (of(at / sizes.plane % sizes.c) + random.normal()) as f32).collect();
        let dy = random.normals_f32(len, 0.1, 1.0);
        let beta = if turn.is_multiple_of(2) { 0.0 } else { 0.3 };
        meets_the_contract(&format!("mean/std {mean:.3e}"), sizes, &x, &dy, beta);
        // Small steps about the limit, larger ones elsewhere.
        mean = if mean < 3.0 {
            mean + 0.25
        } else if mean < 5.0 {
            mean + 0.02
        } else {
            mean * 1.3
        };
        turn += 1;
    }
    println!("{turn} steps");
}

/// A value from its number in the channel, the values of a channel, and a random number.
pub type Fill = fn(usize, usize, &mut Random) -> f64;

/// Data that are not N(0, 1).
pub const KINDS: [(&str, Fill); 23] = [
    ("whole numbers 0 to 10", |i, _, _| (i * 7 % 11) as f64),
    ("one-hot", |i, _, random| f64::from(u8::from((i + random.below(3)).is_multiple_of(10)))),
    ("two values", |_, _, random| if random.below(2) == 0 { -0.3 } else { 0.7 }),
    ("two values far from 0", |_, _, random| if random.below(2) == 0 { 100.1 } else { 100.2 }),
    ("pixels 0 to 255", |_, _, random| random.below(256) as f64),
    ("pixels 0 to 1", |_, _, random| random.below(256) as f64 / 255.0),
    ("outlier of 1e10 first", |i, _, random| if i == 0 { 1e10 } else { random.normal() }),
    ("outlier of 1e10 last", |i, n, random| if i + 1 == n { 1e10 } else { random.normal() }),
    ("outliers of -1e10 in the middle", |i, n, random| if i == n / 2 { -1e10 } else { random.normal() }),
    ("3e38 and -3e38", |_, _, random| if random.below(2) == 0 { 3e38 } else { -3e38 }),
    ("3e38 less a little", |_, _, random| 3e38 * (1.0 - 0.001 * random.uniform())),
    ("denormals", |_, _, random| random.below(50) as f64 * f64::from(f32::from_bits(1))),
    ("whole numbers up to 2^24", |_, _, random| random.below(1 << 24) as f64),
    ("timestamps", |i, _, random| 1.7e9 + 128.0 * (i + random.below(5)) as f64),
    ("sorted", |i, n, _| i as f64 / n as f64 - 0.5),
    ("sorted far from 0", |i, n, _| 1000.0 + i as f64 / n as f64),
    ("repeated", |i, _, _| [1.0, 1.0, 1.0, 2.5][i / 9 % 4]),
    ("alike but one, far below eps", |i, n, _| f64::from(if i == n / 2 { 0.01f32.next_up() } else { 0.01 })),
    ("zeros but one", |i, n, _| f64::from(u8::from(i == n / 3))),
    // The first values say whether a channel is summed about a shift: right or wrong.
    ("starts far from 0", |i, _, random| if i < 20 { 1e4 } else { 0.0 } + random.normal()),
    ("starts about 0, then far from it", |i, _, random| if i < 20 { 0.0 } else { -1e4 } + random.normal()),
    ("starts alike, then far from 0", |i, _, random| if i < 20 { 255.0 } else { 250.0 + random.normal() }),
    ("starts with an outlier, far from 0", |i, _, random| if i == 0 { -1e6 } else { 1e3 } + random.normal()),
];

#[test]
fn data_that_are_not_normal_keep_bounds_and_bits() {
    let mut random = Random::new(902);
    let of = |n, plane| sizes(n, KINDS.len(), plane);
    for sizes in [of(6, 49), of(12, 49), of(200, 1), of(600, 1), of(150, 4), of(2, 2100)] {
        // A channel of each kind, so that plain and careful ones lie beside each other.
        let len = sizes.n * sizes.c * sizes.plane;
        let mut x = vec![0.0f32; len];
        for (channel, (_, fill)) in KINDS.iter().enumerate() {
            for i in 0..sizes.n * sizes.plane {
                let at = (i / sizes.plane * sizes.c + channel) * sizes.plane + i % sizes.plane;
                x[at] = fill(i, sizes.n * sizes.plane, &mut random) as f32;
            }
        }
        let mut dy = random.normals_f32(len, 0.1, 1.0);
        // The gradient of denormals is too large for f32 but where dy is small.
        let denormal = |at: usize| KINDS[at / sizes.plane % sizes.c].0 == "denormals";
        (0..len).filter(|&at| denormal(at)).for_each(|at| dy[at] *= 1e-20);
        meets_the_contract("mixed kinds", sizes, &x, &dy, 0.3);
        meets_the_contract("mixed kinds", sizes, &x, &dy, 0.0);
        // dy on one element a channel.
        let count = sizes.n * sizes.plane;
        let one: Vec<f32> = (0..len)
            .map(|at| {
                let (sample, channel) = (at / sizes.plane / sizes.c, at / sizes.plane % sizes.c);
                let i = sample * sizes.plane + at % sizes.plane;
                f32::from(u8::from(i == (channel * 31 + 5) % count)) * if denormal(at) { 2.5e-20 } else { 2.5 }
            })
            .collect();
        meets_the_contract("dy on one element", sizes, &x, &one, 0.0);
    }
}

#[test]
fn a_value_at_the_mean_gives_beta_and_is_closed_to_a_rectifier() {
    // Whole numbers, one of which is the mean to the bit, near 0 and far from it.
    // (Of the many, the first ones say about which shift they are summed.)
    for (offset, count) in [0.0, 1.0, 100.0, 1e6].into_iter().flat_map(|offset| [(offset, 110), (offset, 1100)]) {
        let x: Vec<f32> = (0..count).map(|i| (offset + (i % 11) as f64) as f32).collect();
        let dy: Vec<f32> = (0..count).map(|i| 1.0 + 0.01 * i as f32).collect();
        let shape = [count, 1];
        let view = View::new(&x, &shape, Axes::NCHW).expect("a view");
        let up = View::new(&dy, &shape, Axes::NCHW).expect("a view");
        for beta in [0.0, 0.3f64] {
            for activation in [Activation::Identity, Activation::Relu] {
                let rule = Config::pytorch().activation(activation).normalizer().expect("a right configuration");
                let (mut y, mut dx) = (vec![0.0f32; count], vec![0.0f32; count]);
                let parameters = Parameters { gamma: Some(&[1.7]), beta: Some(&[beta]) };
                let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("a view");
                let (saved, batch) = rule.train(&view, parameters, None, &mut out).expect("a right call");
                assert_eq!(batch.channels()[0].mean(), offset + 5.0);
                for (i, y) in y.iter().enumerate().filter(|(i, _)| i % 11 == 5) {
                    assert_eq!(y.to_bits(), (beta as f32).to_bits(), "value {i}, offset {offset}");
                }
                let mut out = ViewMut::new(&mut dx, &shape, Axes::NCHW).expect("a view");
                let gradients = saved.backward(&view, &up, &mut out).expect("a right call");
                let open = |i: usize| activation == Activation::Identity || y[i] > 0.0;
                let sum: f64 = (0..count).filter(|&i| open(i)).map(|i| f64::from(dy[i])).sum();
                assert!((gradients.dbeta[0] - sum).abs() <= 1e-12 * sum, "offset {offset} beta {beta} {activation:?}");
                // The same statistics as constants.
                let running = batchnorm::RunningStatistics::from_parts(&[offset + 5.0], &[10.0], 1).expect("right");
                let mut out = ViewMut::new(&mut y, &shape, Axes::NCHW).expect("a view");
                let saved = rule.eval(&view, parameters, Some(&running), &mut out).expect("a right call");
                assert!(y.iter().skip(5).step_by(11).all(|y| y.to_bits() == (beta as f32).to_bits()));
                let mut out = ViewMut::new(&mut dx, &shape, Axes::NCHW).expect("a view");
                saved.backward(&view, &up, &mut out).expect("a right call");
                for i in 0..count {
                    let is_open = activation == Activation::Identity || y[i] > 0.0;
                    assert_eq!(dx[i] != 0.0, is_open, "value {i}");
                }
            }
        }
    }
}

#[test]
fn reshapes_split_planes_and_added_axes_have_the_same_bits() {
    let mut random = Random::new(903);
    let [n, c, h, w] = [6, 10, 21, 10];
    let len = n * c * h * w;
    let nchw: Vec<f32> =
        (0..len).map(|at| ([0.2, 30.0, 3.9, -1e4][at / (h * w) % c % 4] + random.normal()) as f32).collect();
    let dy = random.normals_f32(len, 0.1, 1.0);
    let gamma: Vec<f64> = (0..c).map(|c| 1.5 - 0.3 * c as f64).collect();
    let beta: Vec<f64> = (0..c).map(|c| 0.1 * c as f64).collect();
    // The same array with its channels last.
    let last = |data: &[f32]| -> Vec<f32> {
        (0..len).map(|at| data[(at / (c * h * w) * c + at % c) * h * w + at / c % (h * w)]).collect()
    };
    let (nhwc, dy_last) = (last(&nchw), last(&dy));
    let shapes: [(&[usize], bool); 9] = [
        (&[n, c, h, w], true),
        (&[n, c, h * w], true),
        (&[n, c, 3, 7, w], true),
        (&[n, c, 1, h, 1, w], true),
        (&[n, c, h / 7, 7 * w], true),
        (&[n * h * w, c], false),
        (&[n, h, w, c], false),
        (&[n, h * w, c], false),
        (&[1, n * h, w, 1, c], false),
    ];
    for activation in [Activation::Identity, Activation::Relu] {
        let rule = Config::pytorch().activation(activation).normalizer().expect("a right configuration");
        let mut first: Option<(Vec<u32>, Vec<u32>, Vec<f64>)> = None;
        for (shape, channels_first) in shapes {
            let (axes, x, up) = if channels_first { (Axes::NCHW, &nchw, &dy) } else { (Axes::NHWC, &nhwc, &dy_last) };
            let (mut y, mut dx) = (vec![0.0f32; len], vec![0.0f32; len]);
            let view = View::new(x, shape, axes).expect("a view");
            let up = View::new(up, shape, axes).expect("a view");
            let parameters = Parameters { gamma: Some(&gamma[..]), beta: Some(&beta[..]) };
            let mut out = ViewMut::new(&mut y, shape, axes).expect("a view");
            let (saved, batch) = rule.train(&view, parameters, None, &mut out).expect("a right call");
            let mut out = ViewMut::new(&mut dx, shape, axes).expect("a view");
            let gradients = saved.backward(&view, &up, &mut out).expect("a right call");
            let numbers: Vec<f64> = batch
                .channels()
                .iter()
                .flat_map(|m| [m.mean(), m.m2()])
                .chain(gradients.dgamma)
                .chain(gradients.dbeta)
                .collect();
            // In the order of channels last.
            let bits = |data: &[f32]| -> Vec<u32> {
                let data = if channels_first { last(data) } else { data.to_vec() };
                data.iter().map(|value| value.to_bits()).collect()
            };
            let got = (bits(&y), bits(&dx), numbers);
            let expected = first.get_or_insert_with(|| got.clone());
            assert!(got == *expected, "{shape:?} {activation:?}");
        }
    }
}

#[test]
fn huge_constants_of_f64_have_finite_gradients_in_every_layout() {
    // What fills up the last vector of a run must not be multiplied with a huge mean.
    let sizes = sizes(1, 9, 9);
    let x = vec![1e306f64; 81];
    let dy: Vec<f64> = (0..81).map(|at| f64::from(at) * 0.01 - 0.3).collect();
    let (gamma, beta) = (vec![1e-3; 9], vec![0.5; 9]);
    let first = train(&rule(1e-5), Order::Nchw, sizes, &x, &dy, &gamma, &beta);
    assert!(first.dgamma.iter().all(|&dgamma| dgamma == 0.0), "{:?}", first.dgamma);
    assert!(first.dx.iter().all(|dx| dx.is_finite()));
    for order in ORDERS {
        assert!(train(&rule(1e-5), order, sizes, &x, &dy, &gamma, &beta).same_bits(&first), "{order:?}");
    }
}
