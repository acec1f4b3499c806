//! Several channel axes: each combination of their indices is a channel, and all is as of the array that one would transpose to
//! (others.., channels) and reshape oneself. (Every pass on arrays anywhere: `tests/contract/any_strides.rs` and `thresholds.rs`.)

use crate::support::layout::{Sizes, factors};
use crate::support::place::Place;
use crate::support::samples::{Case, Kind, places};
use crate::support::wide::largest;
use crate::support::{Random, pool};
use batchnorm::reference::compact;
use batchnorm::reference::whole::{Role, Rows, Together, transposed};
use batchnorm::{Axes, AxisRole, BatchNorm, CallError, Input, SampleConfig, SampleNorm, Tier, View, ViewMut, Weights};

const SHAPE: [usize; 4] = [6, 3, 5, 4];

/// An array of [`SHAPE`] and its upstream gradient.
fn arrays() -> [Vec<f64>; 2] {
    let mut random = Random::new(1901);
    [random.normals(360, 3.0, 1.0), random.normals(360, 0.2, 1.0)]
}

#[test]
fn channels_are_numbered_through_the_axes_as_listed() {
    let [x, dy] = arrays();
    // Which axes, in which order, and the order in which all axes stand if these are to be the last ones.
    for (axes, order) in [
        (&[1, 3][..], &[0, 2, 1, 3]),
        (&[3, 1], &[0, 2, 3, 1]),
        (&[-1, -3], &[0, 2, 3, 1]),
        (&[0, 2], &[1, 3, 0, 2]),
        (&[0, 1], &[2, 3, 0, 1]),
        (&[2, 3], &[0, 1, 2, 3]),
        (&[3, 0, 2], &[1, 3, 0, 2]),
        (&[2], &[0, 1, 3, 2]),
    ] {
        let moved = |values: &[f64]| transposed(values, &SHAPE, order);
        let [own, of_dy] = [&x, &dy].map(|values| View::new(values, &SHAPE, Axes::Channels(axes)).expect("an array"));
        let channels = own.channels();
        let rank = SHAPE.len();
        let reshaped: Vec<usize> =
            order[..rank - axes.len()].iter().map(|&axis| SHAPE[axis]).chain([channels]).collect();
        let [flat_x, flat_dy] = [&x, &dy].map(|values| moved(values));
        let [flat, of_flat] =
            [&flat_x, &flat_dy].map(|values| View::new(values, &reshaped, Axes::NHWC).expect("an array"));
        let gamma: Vec<f64> = (0..channels).map(|channel| 0.3 - channel as f64 / 7.0).collect();
        let of = |x: &View<f64>, dy: &View<f64>| {
            let mut layer = BatchNorm::new(channels).expect("a layer");
            layer.set_gamma(&gamma).expect("one for each");
            let trained = layer.train(x).expect("a batch");
            let gradients = layer.backward(x, dy, &trained.saved).expect("its gradient");
            (trained, gradients, layer.running().expect("tracked").clone())
        };
        let ((trained, gradients, running), (expected, of_expected, running_of_flat)) =
            (of(&own, &of_dy), of(&flat, &of_flat));
        assert_eq!(moved(trained.y.data()), expected.y.data(), "{axes:?}");
        assert_eq!(moved(gradients.dx.data()), of_expected.dx.data(), "{axes:?}");
        assert_eq!((gradients.dgamma, gradients.dbeta), (of_expected.dgamma, of_expected.dbeta), "{axes:?}");
        assert_eq!((trained.batch, running), (expected.batch, running_of_flat), "{axes:?}");
        assert_eq!(own.to_vec(), x, "{axes:?}");
    }
}

#[test]
fn roles_name_several_axes_in_the_order_of_the_shape_and_the_twin_says_the_same() {
    use AxisRole::{Channel, Sample, Space};
    let [x, _] = arrays();
    let roles = [Space, Channel, Sample, Channel];
    let by_roles = View::new(&x, &SHAPE, Axes::Roles(&roles)).expect("an array");
    assert_eq!((by_roles.channel_axes(), by_roles.channel_axis(), by_roles.samples()), (&[1, 3][..], 1, 5));
    assert_eq!(by_roles.roles(), roles);
    let by_number = View::new(&x, &SHAPE, Axes::Channels(&[3, -3])).expect("an array");
    assert_eq!((by_number.channel_axes(), by_number.channel_axis(), by_number.samples()), (&[3, 1][..], 3, 6));
    assert_eq!(by_number.roles(), [Sample, Channel, Space, Channel]);

    let y = BatchNorm::new(12).expect("a layer").forward_train(&by_roles).expect("a batch").y.into_data();
    let of_twin = [Role::Space, Role::Channel, Role::Sample, Role::Channel];
    let rows = Rows::new(&SHAPE, &of_twin, Together::Channel);
    for channel in 0..12 {
        let truth = compact::forward(&rows.gather(channel, &x), 1.0, 0.0, 1e-5).y;
        let worst = largest(rows.gather(channel, &y).iter().zip(truth).map(|(y, truth)| y - truth));
        assert!(worst < 1e-13, "channel {channel}: {worst:e}");
    }
}

#[test]
fn each_array_of_a_call_may_have_its_channel_axes_elsewhere_but_as_many() {
    let [x, dy] = arrays();
    let own = View::new(&x, &SHAPE, Axes::Channels(&[1, 3])).expect("an array");
    let other_shape = [4, 6, 3, 5];
    let order = [3, 0, 1, 2];
    let [moved_x, moved_dy] = [&x, &dy].map(|values| transposed(values, &SHAPE, &order));
    let elsewhere = |values| View::new(values, &other_shape, Axes::Channels(&[2, 0])).expect("an array");
    let layer = BatchNorm::new(12).expect("a layer");
    let forward = |x| layer.forward_train(x).expect("a batch");
    let (here, there) = (forward(&own), forward(&elsewhere(&moved_x)));
    assert_eq!(transposed(here.y.data(), &SHAPE, &order), there.y.data());
    let of_dy = View::new(&dy, &SHAPE, Axes::Channels(&[1, 3])).expect("an array");
    let gradients = |dy| {
        let gradients = layer.backward(&own, dy, &here.saved).expect("gradients");
        (gradients.dx.into_data(), gradients.dgamma, gradients.dbeta)
    };
    assert_eq!(gradients(&elsewhere(&moved_dy)), gradients(&of_dy));

    // The same lengths in the same logical order, but other channels.
    let mut y = vec![7.0; 360];
    let mut out = ViewMut::new(&mut y, &SHAPE, Axes::Channels(&[3])).expect("an array");
    let layer = BatchNorm::new(20).expect("a layer");
    let last_two = View::new(&x, &SHAPE, Axes::Channels(&[2, 3])).expect("an array");
    let error = layer.forward_train_into(&last_two, &mut out).expect_err("another number of channel axes");
    assert_eq!(error, CallError::ChannelAxes { argument: "y", expected: 2, got: 1, shape: SHAPE.to_vec() });
    assert!(y.iter().all(|&y| y == 7.0));
}

#[test]
fn empty_arrays_and_channel_axes_of_length_1() {
    let mut layer = BatchNorm::new(12).expect("a layer");
    let empty = View::<f64>::new(&[], &[0, 3, 5, 4], Axes::Channels(&[1, 3])).expect("an array");
    let trained = layer.train(&empty).expect("an empty batch passes");
    assert!(trained.y.data().is_empty() && empty.to_vec().is_empty());
    assert_eq!((empty.channels(), empty.count(), empty.samples()), (12, 0, 0));
    let gradients = layer.backward(&empty, &empty, &trained.saved).expect("gradients");
    assert_eq!(gradients.dgamma, Some(vec![0.0; 12]));

    let [x, _] = arrays();
    let one = View::new(&x, &[6, 1, 15, 4], Axes::Channels(&[1, 3])).expect("an array");
    let plain = View::new(&x, &[6, 15, 4], Axes::NHWC).expect("an array");
    let layer = BatchNorm::new(4).expect("a layer");
    let [one, plain] = [one, plain].map(|x| layer.forward_train(&x).expect("a batch").y.into_data());
    assert_eq!(one, plain);
}

#[test]
fn weights_are_repeated_over_all_channels() {
    let [x, _] = arrays();
    let mask: Vec<f64> = (0..30).map(|at| f64::from(at % 3 != 1)).collect();
    let own = View::new(&x, &SHAPE, Axes::Channels(&[1, 3])).expect("an array");
    let flat_x = transposed(&x, &SHAPE, &[0, 2, 1, 3]);
    let flat = View::new(&flat_x, &[6, 5, 12], Axes::NHWC).expect("an array");
    let layer = BatchNorm::new(12).expect("a layer");
    let y = |x: &View<f64>, shape: &[usize]| {
        let weights = Weights::new(&mask, shape).expect("weights");
        layer.forward_train(Input::weighted(x, &weights)).expect("a batch").y.into_data()
    };
    assert_eq!(transposed(&y(&own, &[6, 1, 5, 1]), &SHAPE, &[0, 2, 1, 3]), y(&flat, &[6, 5, 1]));
}

#[test]
fn group_and_instance_norm_of_flat_channels() {
    let mut random = Random::new(1902);
    // Two channel axes of the numbers that `factors` gives: groups of whole inner axes, of parts of one, of all.
    for (kind, n, c, plane) in [
        (Kind::Instance, 5, 12, 7),
        (Kind::Instance, 3, 12, 40),
        (Kind::Group(3), 5, 12, 7),
        (Kind::Group(3), 4, 12, 33),
        (Kind::Group(6), 5, 12, 7),
        (Kind::Group(6), 3, 12, 33),
        (Kind::Group(1), 5, 12, 33),
        (Kind::Group(2), 3, 16, 20),
    ] {
        let sizes = Sizes { n, c, plane };
        let case = Case::<f32>::new(kind, sizes, 3.0, &mut random);
        let step = |threads, tier, place: &Place| {
            pool(threads).install(|| case.step(kind.config().tier(tier), [place; 2]).bits())
        };
        let expected = step(1, Tier::Baseline, &places(kind, sizes)[0]);
        let (outer, inner) = factors(c);
        let [n, outer_step, inner_step, plane] = [n, outer, inner, plane].map(|length| length as isize);
        for (strides, named) in [
            // The samples between the axes; the plane; dense in one order or another.
            ([inner_step * plane, n * inner_step * plane, plane, 1], [1, 0, 2, 3]),
            ([outer_step * inner_step * plane, inner_step * plane, 1, inner_step], [0, 1, 3, 2]),
            ([outer_step * inner_step * plane, inner_step * plane, plane, 1], [0, 1, 2, 3]),
            ([outer_step * inner_step * plane, plane, outer_step * plane, 1], [0, 2, 1, 3]),
        ] {
            let lengths = [sizes.n, outer, inner, sizes.plane];
            let place = Place::new(&lengths, &strides, &[1, 2], [3, 5]).named(&named);
            for (threads, tier) in [(1, Tier::Baseline), (3, Tier::best())] {
                assert!(step(threads, tier, &place) == expected, "{kind:?} {sizes:?} {place:?}");
            }
        }
    }
}

#[test]
fn groups_that_hold_parts_of_several_axes_are_refused_wherever_the_elements_lie() {
    let [x, _] = arrays();
    let mut y = vec![7.0; 360];
    let rule = SampleConfig::group(2).normalizer().expect("a rule");
    let none = batchnorm::Parameters::<f64>::default();
    for shape in [SHAPE, [6, 5, 3, 4]] {
        let axes = if shape == SHAPE { [1, 3] } else { [2, 3] };
        let x = View::new(&x, &shape, Axes::Channels(&axes)).expect("an array");
        let mut out = ViewMut::new(&mut y, &shape, Axes::Channels(&axes)).expect("an array");
        let error = rule.forward(&x, none, &mut out).expect_err("6 channels are one and a half inner axes");
        let axes = axes.map(|axis| axis as usize).to_vec();
        let expected = CallError::StraddlingGroups { groups: 2, channels: 12, shape: shape.to_vec(), axes };
        assert_eq!(error, expected);
    }
    assert!(y.iter().all(|&y| y == 7.0));
}

#[test]
fn layer_norm_looks_at_no_channel_axis() {
    let [x, _] = arrays();
    let norm = SampleNorm::layer(&[5, 4]).expect("a layer");
    let y = |axes| norm.forward(&View::new(&x, &SHAPE, axes).expect("an array")).expect("an output").0.into_data();
    let expected = y(Axes::NCHW);
    for axes in [&[1, 3][..], &[0, 2], &[3, 2, 0], &[0, 1]] {
        assert_eq!(y(Axes::Channels(axes)), expected, "{axes:?}");
    }
}
