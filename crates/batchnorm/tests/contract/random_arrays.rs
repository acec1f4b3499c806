//! Random shapes, offsets and strides against the double-double twin; and `ndarray` views of every kind.

use crate::support::Random;
use crate::support::layout::{ORDERS, Sizes};
use crate::support::training::errors;
use batchnorm::Moments;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20261122),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_size_order_and_offset_meets_the_contract_in_both_types(
        n in 1usize..40, c in 1usize..40, plane in 1usize..70, order in 0..ORDERS.len(), seed: u64,
        ratio in prop::sample::select(vec![0.0, 1.0, 1e2, 1e4]), beta in -10.0f64..10.0, gamma in -3.0f64..3.0,
    ) {
        prop_assume!(n * plane > 1);
        let sizes = Sizes { n, c, plane };
        let mut random = Random::new(seed);
        let len = n * c * plane;
        let (gamma, beta) = (vec![gamma; c], vec![beta; c]);
        let (x, dy) = (random.normals_f32(len, ratio, 1.0), random.normals_f32(len, 0.1, 1.0));
        let worst = errors(ORDERS[order], sizes, &x, &dy, &gamma, &beta, 1e-5);
        prop_assert!(worst.variance <= 1e-7 && worst.y_ulps <= 2.0, "{}", worst);
        prop_assert!(worst.dx <= 1e-6 && worst.dgamma <= 1e-6 && worst.dbeta <= 1e-6, "{}", worst);
        let (x, dy) = (random.normals(len, ratio, 1.0), random.normals(len, 0.1, 1.0));
        let worst = errors(ORDERS[order], sizes, &x, &dy, &gamma, &beta, 1e-5);
        let bound = 1e-13 * (1.0 + ratio);
        prop_assert!(worst.mean <= bound && worst.variance <= bound && worst.y <= bound, "{}", worst);
        prop_assert!(worst.dx <= bound && worst.dgamma <= bound && worst.dbeta <= bound, "{}", worst);
    }

    #[test]
    fn moments_of_any_grouping_are_those_of_the_whole(
        sizes in prop::collection::vec(1usize..3000, 1..8), seed: u64, ratio in 0.0f64..1e6,
    ) {
        let mut random = Random::new(seed);
        let parts: Vec<Vec<f64>> = sizes.iter().map(|&size| random.normals(size, ratio, 1.0)).collect();
        let whole = Moments::of(&parts.concat());
        let merged = parts.iter().map(|part| Moments::of(part)).fold(Moments::EMPTY, Moments::merge);
        let backwards = parts.iter().rev().map(|part| Moments::of(part)).fold(Moments::EMPTY, Moments::merge);
        for other in [merged, backwards] {
            prop_assert_eq!(other.count(), whole.count());
            prop_assert!((other.mean() - whole.mean()).abs() <= 1e-12 * (1.0 + ratio));
            prop_assert!((other.m2() - whole.m2()).abs() <= 1e-12 * whole.m2());
        }
    }
}

#[cfg(feature = "ndarray")]
mod arrays {
    use crate::support::Random;
    use crate::support::wide::largest;
    use batchnorm::reference::compact;
    use batchnorm::{Axes, BatchNorm, View, ViewMut};
    use ndarray::{Array4, ArrayD, Axis, s};

    /// The training output by the twin, in the array's own order.
    fn truth(x: &ArrayD<f64>, channel_axis: usize) -> ArrayD<f64> {
        let mut y = x.clone();
        for (c, mut part) in y.axis_iter_mut(Axis(channel_axis)).enumerate() {
            let values: Vec<f64> = x.index_axis(Axis(channel_axis), c).iter().copied().collect();
            let normal = compact::forward(&values, 1.0, 0.0, 1e-5).y;
            part.iter_mut().zip(normal).for_each(|(y, normal)| *y = normal);
        }
        y
    }

    #[test]
    fn ndarray_views_of_every_kind_need_no_copy() {
        let mut random = Random::new(600);
        let array = Array4::from_shape_fn((6, 5, 8, 9), |_| 3.0 + random.normal());
        let mut views: Vec<(&str, ndarray::ArrayViewD<f64>)> = vec![
            ("whole", array.view().into_dyn()),
            ("permuted", array.view().permuted_axes([2, 0, 3, 1]).into_dyn()),
            ("every second row", array.slice(s![.., .., ..;2, ..]).into_dyn()),
            ("reversed", array.slice(s![..;-1, .., .., ..;-1]).into_dyn()),
            ("cut out", array.slice(s![1..5, 2..4, 3..7, 1..8]).into_dyn()),
            ("reversed channels", array.slice(s![.., ..;-2, .., ..]).into_dyn()),
            ("one axis dropped", array.index_axis(Axis(3), 4).into_dyn()),
            ("two axes", array.slice(s![.., .., 0, 0]).into_dyn()),
        ];
        let broadcast = ndarray::Array3::from_shape_fn((5, 8, 1), |_| 3.0 + random.normal());
        views.push(("broadcast", broadcast.broadcast((6, 5, 8, 9)).expect("broadcasts").into_dyn()));
        for (name, x) in views {
            for axis in 0..x.ndim() {
                let expected = truth(&x.to_owned(), axis);
                let layer = BatchNorm::new(x.shape()[axis]).unwrap();
                let view = View::of(x.clone(), Axes::Channel(axis as isize)).unwrap();
                let y = layer.forward_train(&view).unwrap().y.into_array();
                assert_eq!(y.shape(), x.shape());
                let worst = largest(y.iter().zip(&expected).map(|(y, truth)| y - truth));
                assert!(worst < 1e-12, "{name}, channel axis {axis}: {worst:e}");
                // Into a view of the same kind inside a larger array, of which nothing else may change.
                let mut large = ArrayD::from_elem(x.shape().iter().map(|n| 2 * n + 1).collect::<Vec<_>>(), -77.0);
                let mut inner = large.view_mut();
                for axis in 0..x.ndim() {
                    inner.slice_axis_inplace(Axis(axis), ndarray::Slice::from(1..).step_by(2));
                }
                layer
                    .forward_train_into(&view, &mut ViewMut::of(inner, Axes::Channel(axis as isize)).unwrap())
                    .unwrap();
                let written = large.iter().filter(|&&value| value != -77.0).count();
                assert_eq!(written, x.len(), "{name}: places outside the view changed");
            }
        }
    }
}
