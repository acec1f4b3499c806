//! Views that are odd and right: without values, with strides that lead nowhere, broadcast, and sharing memory where
//! nothing is written. (Those that are refused: contract/errors.rs.)

use batchnorm::{
    Axes, AxisRole, BatchNorm, Config, GradientBuffers, Input, Parameters, RunningStatistics, View, ViewMut, Weights,
};

#[test]
fn arrays_without_values_are_right_wherever_they_lie() {
    // An axis of length 0 anywhere but the channels, with strides and offsets that would lead anywhere.
    for shape in [[0, 3, 4], [5, 3, 0], [0, 3, 0]] {
        for (strides, offset) in [([12, 4, 1], 0), ([0, 0, 0], 7), ([isize::MIN, isize::MAX, -1], usize::MAX)] {
            let x = View::<f32>::with_strides(&[], &shape, &strides, offset, Axes::NCHW).unwrap();
            let (mut y, mut dx, mut dresidual) = ([0.0f32; 0], [0.0f32; 0], [7.0f32; 2]);
            let mut out = ViewMut::with_strides(&mut y, &shape, &strides, offset, Axes::NCHW).unwrap();
            let mut layer = BatchNorm::new(3).unwrap();
            let (saved, batch) = layer.train_into(&x, &mut out).unwrap();
            assert_eq!((batch.channels().len(), batch.channels()[2].count()), (3, 0));
            layer.eval_into(&x, &mut out).unwrap();
            let mut dx = ViewMut::with_strides(&mut dx, &shape, &strides, offset, Axes::NCHW).unwrap();
            let gradients = layer.backward_into(&x, &x, &saved, &mut dx).unwrap();
            assert_eq!((gradients.dgamma, gradients.dbeta), (vec![0.0; 3], vec![0.0; 3]));
            assert_eq!(saved.parameter_gradients(&x, &x).unwrap().dbeta, [0.0; 3]);
            let rule = Config::pytorch().normalizer().unwrap();
            let input = Input::adding(&x, &x);
            let (saved, _) = rule.train(input, Parameters::<f32>::default(), None, &mut out).unwrap();
            let mut second = ViewMut::with_strides(&mut dresidual, &shape, &strides, offset, Axes::NCHW).unwrap();
            let gradients = saved
                .backward(Input::with_output(&x, &x), &x, GradientBuffers::with_residual(&mut dx, &mut second))
                .unwrap();
            assert_eq!((gradients.dgamma, dresidual), (vec![0.0; 3], [7.0; 2]));
            assert_eq!(layer.running(), Some(&RunningStatistics::start(3).unwrap()));
        }
    }
}

#[test]
fn strides_of_axes_of_one_do_not_matter() {
    // Nor does an overlap that no two elements share.
    let strides = [isize::MIN, 1, isize::MAX, 0];
    let x = View::with_strides(&[0.5; 24], &[1, 24, 1, 1], &strides, 0, Axes::Channel(-1)).unwrap();
    let mut y = [7.0f32; 26];
    let mut out = ViewMut::with_strides(&mut y, &[1, 24, 1, 1], &strides, 1, Axes::Channel(-1)).unwrap();
    BatchNorm::new(1).unwrap().forward_train_into(&x, &mut out).unwrap();
    assert!(y[1..25].iter().all(|&y| y == 0.0) && (y[0], y[25]) == (7.0, 7.0));
    // One channel whose stride leads out of every memory.
    let x = View::with_strides(&[0.5; 24], &[24, 1], &[1, isize::MIN], 0, Axes::NCHW).unwrap();
    let mut out = ViewMut::with_strides(&mut y, &[24, 1], &[-1, isize::MAX], 24, Axes::NCHW).unwrap();
    BatchNorm::new(1).unwrap().forward_train_into(&x, &mut out).unwrap();
    assert!(y[1..25].iter().all(|&y| y == 0.0) && (y[0], y[25]) == (7.0, 7.0));
}

#[test]
fn inputs_may_be_broadcast_and_may_share_memory() {
    // One row of three values for all of eight samples; and one array as input, residual and gradient.
    let row = [1.0f32, 2.0, 3.0];
    let x = View::with_strides(&row, &[8, 3], &[0, 1], 0, Axes::NCHW).unwrap();
    let trained = BatchNorm::new(3).unwrap().train(Input::adding(&x, &x)).unwrap();
    assert_eq!(trained.y.data().chunks(3).collect::<Vec<_>>(), [&row[..]; 8], "variance 0: the residual alone");
    let y = View::new(trained.y.data(), &[8, 3], Axes::NCHW).unwrap();
    let layer = BatchNorm::new(3).unwrap();
    let gradients = layer.backward(Input::with_output(&x, &y), &x, &trained.saved).unwrap();
    let dresidual = gradients.dresidual.as_ref().unwrap();
    assert_eq!(dresidual.data(), trained.y.data());
    assert_eq!(gradients.dbeta.unwrap(), [8.0, 16.0, 24.0]);
}

#[test]
fn a_view_tells_its_values_and_roles_in_the_order_of_its_shape() {
    let shape = [2usize, 3, 4, 2];
    let data: Vec<f64> = (0..200).map(f64::from).collect();
    let roles = [AxisRole::Space, AxisRole::Sample, AxisRole::Channel, AxisRole::Space];
    for axes in [Axes::NCHW, Axes::NHWC, Axes::Channel(0), Axes::Roles(&roles)] {
        for (strides, offset) in [([24, 8, 2, 1], 0), ([1, 2, 6, 24], 5), ([-48, 16, -4, 2], 60), ([0, 0, 3, 0], 7)] {
            let view = View::with_strides(&data, &shape, &strides, offset, axes).unwrap();
            let mut expected = Vec::new();
            for i in 0..shape.iter().product() {
                let index = [i / 24, i / 8 % 3, i / 2 % 4, i % 2];
                let place: isize = index.iter().zip(&strides).map(|(&at, &stride)| at as isize * stride).sum();
                expected.push(data[(offset as isize + place) as usize]);
            }
            assert_eq!(view.to_vec(), expected, "{axes:?} {strides:?}");
        }
    }
    let view = |axes| View::new(&data[..48], &shape, axes).unwrap();
    assert_eq!(view(Axes::Roles(&roles)).roles(), roles);
    let [sample, channel, space] = [AxisRole::Sample, AxisRole::Channel, AxisRole::Space];
    assert_eq!(view(Axes::NCHW).roles(), [sample, channel, space, space]);
    assert_eq!(view(Axes::Channel(0)).roles(), [channel, sample, space, space]);
    assert!(View::<f64>::new(&[], &[0, 3], Axes::NCHW).unwrap().to_vec().is_empty());
    let weights = Weights::new(&data[..6], &[2, 3, 1, 1]).unwrap();
    assert_eq!((weights.values(), weights.shape()), (&data[..6], &[2, 3, 1, 1][..]));
}
