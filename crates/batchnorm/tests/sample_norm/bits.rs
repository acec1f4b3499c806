//! The same bits in every layout, on every instruction set, over every number of threads, beside other samples and through
//! views of other arrays.

use super::table::{table, varied};
use crate::support::Random;
use crate::support::layout::sizes;
use crate::support::samples::{Case, Kind, view, view_mut};
use batchnorm::thresholds::{MAX_BLOCKS, MIN_BLOCK_ROWS, TASK_ELEMENTS};
#[cfg(feature = "ndarray")]
use batchnorm::{Axes, View, ViewMut};
use batchnorm::{Element, SampleNorm};

fn bits<T: Element>(every: usize, first: usize, random: &mut Random) {
    for (turn, (kind, sizes)) in table().into_iter().enumerate().skip(first).step_by(every) {
        let case = Case::<T>::new(kind, sizes, 5.0, random);
        case.same_bits_everywhere(&[1]);
        varied(case, turn / every, random).same_bits_everywhere(&[1]);
    }
}

#[test]
fn the_bits_do_not_depend_on_layout_and_instructions() {
    let mut random = Random::new(2203);
    bits::<f32>(1, 0, &mut random);
    bits::<f64>(2, 0, &mut random);
    #[cfg(feature = "half")]
    {
        bits::<half::f16>(3, 0, &mut random);
        bits::<half::bf16>(3, 1, &mut random);
    }
}

/// Large enough for threads, and for rows and channels that these cut.
#[test]
fn the_bits_do_not_depend_on_threads() {
    let mut random = Random::new(2204);
    let large = [
        // Around two totals instead of one, and as many as there may be.
        (Kind::Layer(1), sizes(2 * MIN_BLOCK_ROWS - 1, 1, TASK_ELEMENTS / MIN_BLOCK_ROWS)),
        (Kind::Layer(1), sizes(2 * MIN_BLOCK_ROWS, 1, TASK_ELEMENTS / MIN_BLOCK_ROWS)),
        (Kind::Layer(1), sizes(2 * MIN_BLOCK_ROWS, 1, TASK_ELEMENTS / MIN_BLOCK_ROWS - 1)),
        (Kind::Layer(1), sizes(17, 11, 700)),
        (Kind::Layer(1), sizes(4, 5, 9000)),
        (Kind::Layer(2), sizes(3, 7, 5000)),
        (Kind::Rms(1), sizes(40_000, 1, 3)),
        (Kind::Group(2), sizes(500, 20, 9)),
        (Kind::Group(4), sizes(9, 20, 500)),
        (Kind::GroupRms(4), sizes(9, 20, 500)),
        (Kind::GroupRms(2), sizes(500, 20, 9)),
        (Kind::Instance, sizes(7, 5, 2100)),
    ];
    for (turn, (kind, sizes)) in large.into_iter().enumerate() {
        let case = Case::<f32>::new(kind, sizes, 5.0, &mut random);
        case.same_bits_everywhere(&[1, 2, 3, 8]);
        varied(case, turn, &mut random).same_bits_everywhere(&[1, 2, 8]);
    }
    // As many totals as there may be.
    let most = sizes(MAX_BLOCKS * TASK_ELEMENTS / 64, 1, 64);
    Case::<f32>::new(Kind::Rms(1), most, 5.0, &mut random).same_bits_everywhere(&[2, 8]);
}

/// A sample alone gives the bits it gives in a batch.
#[test]
fn no_sample_sees_another() {
    let mut random = Random::new(2211);
    for kind in [Kind::Layer(1), Kind::Layer(2), Kind::Rms(1), Kind::Group(3), Kind::GroupRms(2), Kind::Instance] {
        for plane in [5, 30] {
            let all = Case::<f32>::new(kind, sizes(6, 6, plane), 1.0, &mut random);
            let together = all.dense();
            for sample in 0..6 {
                let range = sample * 6 * plane..(sample + 1) * 6 * plane;
                let (x, dy) = (all.x[range.clone()].to_vec(), all.dy[range.clone()].to_vec());
                let alone = Case { sizes: sizes(1, 6, plane), x, dy, ..all.clone() }.dense();
                assert_eq!(alone.y, together.y[range.clone()], "{kind:?}");
                assert_eq!(alone.dx, together.dx[range], "{kind:?}");
            }
        }
    }
    let mut y = vec![0.0f32; 6];
    let x = [1.0f32; 6];
    SampleNorm::layer(&[3])
        .expect("a layer")
        .forward_into(&view(&x, sizes(1, 2, 3)), &mut view_mut(&mut y, sizes(1, 2, 3)))
        .expect("a right call");
    assert_eq!(y, [0.0; 6]);
}

/// Views that are parts of other arrays: what lies between their elements is not theirs.
#[cfg(feature = "ndarray")]
#[test]
fn views_of_ndarray() {
    use ndarray::{Array3, s};
    let mut random = Random::new(2213);
    for plane in [5, 20] {
        let values = random.normals_f32(4 * 6 * plane, 1.0, 2.0);
        let dense = Array3::from_shape_vec((4, 6, plane), values).expect("as many values");
        // Every second channel from the end, every third position.
        let part = s![.., ..;-2, 1..;3];
        let mut x = Array3::<f32>::from_elem((4, 12, 3 * plane), f32::NAN);
        x.slice_mut(part).assign(&dense);
        for norm in [SampleNorm::group(3, 6), SampleNorm::instance(6), SampleNorm::layer(&[6, plane])] {
            let norm = norm.expect("a layer");
            let expected = norm.forward(&View::of(dense.view(), Axes::NCHW).expect("a view")).expect("a right call").0;
            let mut y = Array3::<f32>::from_elem((4, 12, 3 * plane), 7.0);
            let x = View::of(x.slice(part), Axes::NCHW).expect("a view");
            let mut out = ViewMut::of(y.slice_mut(part), Axes::NCHW).expect("a view");
            norm.forward_into(&x, &mut out).expect("a right call");
            assert!(y.slice(part).iter().eq(expected.data()), "{:?}", norm.config());
            y.slice_mut(part).fill(7.0);
            assert!(y.iter().all(|&value| value == 7.0), "beside the view, {:?}", norm.config());
        }
    }
}
