//! Second derivatives of layer, group, instance and the RMS norms: against the twin, whose own are checked against differences,
//! and as a symmetric Hessian. Their bits: `bits.rs`, whose steps take them too.

use super::table::varied;
use crate::support::Random;
use crate::support::layout::{Sizes, sizes};
use crate::support::measure::ulp;
use crate::support::samples::{Case, Kind, places, steep, view, view_mut};
use crate::support::wide::{DoubleDouble, largest, largest_wide, wide, widened};
use batchnorm::reference::number::Dual;
use batchnorm::reference::whole::{Direction, Gradients};
use batchnorm::{
    Axes, CallError, Element, ParameterDirection, Parameters, SampleConfig, SampleNorm, SampleSaved, View, ViewMut,
};

fn table() -> Vec<(Kind, Sizes)> {
    let mut all = Vec::new();
    for plane in [1, 2, 7, 16, 33, 1025] {
        for axes in [1, 2, 3] {
            all.extend([(Kind::Layer(axes), sizes(4, 6, plane)), (Kind::Rms(axes), sizes(4, 6, plane))]);
        }
        all.extend([1, 2, 6].map(|groups| (Kind::Group(groups), sizes(3, 6, plane))));
        all.extend([1, 2].map(|groups| (Kind::GroupRms(groups), sizes(3, 6, plane))));
        if plane > 1 {
            all.push((Kind::Instance, sizes(3, 6, plane)));
        }
    }
    // Around the rows that are added up before they go to the total, and many.
    all.extend([127, 128, 129, 3000].map(|rows| (Kind::Layer(1), sizes(rows, 1, 5))));
    all.extend([127, 128, 129].map(|samples| (Kind::Group(2), sizes(samples, 4, 3))));
    all
}

/// dx' and dgamma' by the twin: in closed form, where it has one, and by dual numbers through its gradients.
fn truth<T: Element>(case: &Case<T>, y: &[T]) -> Gradients<DoubleDouble> {
    let rows = case.kind.rows(case.sizes);
    let (x, t, weights) = (widened(&case.x), widened(&case.direction()), case.each_weight());
    let (gamma, gamma_t) = (widened(&case.gamma), widened(&case.beta));
    let dy: Vec<DoubleDouble> = case.dz(y).into_iter().map(wide).collect();
    let direction = Direction { x: &t, gamma: &gamma_t };
    case.twin(&rows, &weights).second_order(&x, &gamma, &dy, direction).unwrap_or_else(|| {
        let along = |values: &[DoubleDouble], by: &[DoubleDouble]| -> Vec<Dual<DoubleDouble>> {
            values.iter().zip(by).map(|(&value, &by)| Dual(value, by)).collect()
        };
        let still = vec![wide(0.0); dy.len()];
        let (x, gamma, dy) = (along(&x, &t), along(&gamma, &gamma_t), along(&dy, &still));
        let moved = case.twin::<Dual<DoubleDouble>>(&rows, &weights).backward(&x, &gamma, &dy);
        let of = |values: Vec<Dual<DoubleDouble>>| values.into_iter().map(|value| value.1).collect();
        Gradients { dx: of(moved.dx), dgamma: of(moved.dgamma), dbeta: of(moved.dbeta) }
    })
}

/// The worst errors of dx' and dgamma', in units of what their terms are at most; of dx' less the rounding to the type.
fn errors<T: Element>(case: &Case<T>) -> [f64; 2] {
    let got = case.dense();
    let rows = case.kind.rows(case.sizes);
    let (x, dy, t) = (widened(&case.x), widened(&case.dy), widened(&case.direction()));
    let (truth, weights) = (truth(case, &got.y), case.each_weight());
    let mut terms = vec![0.0; case.gamma.len()];
    let mut worst = [0.0f64; 2];
    for row in 0..rows.count() {
        let places = rows.places(row);
        let [most_dy, most_t] = [&dy, &t].map(|of| largest_wide(&rows.gather(row, of)));
        let most_of = |parameters: &[f64]| largest(places.iter().map(|&i| parameters[rows.parameter(i)]));
        let r = case.kind.inverse(&rows.gather(row, &x), &rows.gather(row, &weights));
        let scale = (most_of(&case.gamma) * r * most_t + most_of(&case.beta)) * r * most_dy;
        let scale = scale * (places.len() as f64).sqrt();
        for &i in &places {
            if weights[i] == 0.0 {
                assert_eq!(got.curved[i].to_f64(), 0.0, "masked");
                continue;
            }
            let rounding = if size_of::<T>() == 8 { 0.0 } else { ulp::<T>(truth.dx[i].to_f64().abs()) / 2.0 };
            let error = (wide(got.curved[i].to_f64()) - truth.dx[i]).to_f64().abs();
            assert!(error.is_finite());
            worst[0] = worst[0].max((error - rounding).max(0.0) / scale);
            terms[rows.parameter(i)] += r * most_dy * most_t;
        }
    }
    for ((got, truth), terms) in got.curved_gamma.iter().zip(truth.dgamma).zip(terms) {
        worst[1] = worst[1].max((wide(*got) - truth).to_f64().abs() / terms);
    }
    worst
}

#[test]
fn it_is_what_the_twin_says() {
    let mut random = Random::new(2500);
    let mut worst = [0.0f64; 2];
    for (times, mean) in [0.0, 3.0, 1e4, 1e6].into_iter().enumerate() {
        for (turn, (kind, sizes)) in table().into_iter().enumerate() {
            let plain = Case::<f64>::new(kind, sizes, mean, &mut random);
            for case in [plain.clone(), varied(plain, turn + times, &mut random)] {
                let errors = errors(&case);
                let what = format!("{kind:?} {sizes:?} {:?}, mean {mean}", case.activation);
                assert!(errors.iter().all(|&error| error <= 1e-13), "{what}: {errors:?}");
                worst = [worst[0].max(errors[0]), worst[1].max(errors[1])];
            }
        }
    }
    println!("worst errors against the twin, dx' {:.1e}, dgamma' {:.1e}", worst[0], worst[1]);
    for (kind, sizes) in table() {
        let plain = Case::<f32>::new(kind, sizes, 3.0, &mut random);
        for case in [plain.clone(), varied(plain, kind.rows(sizes).count(), &mut random)] {
            let errors = errors(&case);
            assert!(errors.iter().all(|&error| error <= 1e-13), "f32, {kind:?} {sizes:?}: {errors:?}");
        }
    }
}

fn saved(case: &Case<f64>) -> SampleSaved {
    let rule = case.kind.config().normalizer().expect("a rule");
    let mut y = vec![0.0; case.x.len()];
    let parameters = Parameters { gamma: Some(&case.gamma[..]), beta: Some(&case.beta[..]) };
    rule.forward(&view(&case.x, case.sizes), parameters, &mut view_mut(&mut y, case.sizes)).expect("a right call")
}

#[test]
fn the_hessian_is_symmetric_and_double_backward_is_made_of_it() {
    let mut random = Random::new(2502);
    for (kind, sizes) in table() {
        let case = Case::<f64>::new(kind, sizes, 0.5, &mut random);
        let saved = saved(&case);
        let (x, dy) = (view(&case.x, sizes), view(&case.dy, sizes));
        let directions =
            [0, 1].map(|_| (random.normals(case.x.len(), 0.1, 1.0), random.normals(case.gamma.len(), 0.0, 1.0)));
        let along = |(t, gamma_t): &(Vec<f64>, Vec<f64>)| {
            let mut moved = vec![f64::NAN; t.len()];
            let direction = ParameterDirection { gamma: Some(gamma_t), beta: None };
            let of = saved.hvp(&x, &dy, &view(t, sizes), direction, &mut view_mut(&mut moved, sizes));
            (moved, of.expect("a right call").dgamma)
        };
        let product = |one: &(Vec<f64>, Vec<f64>), other: &(Vec<f64>, Vec<f64>)| -> f64 {
            let both = one.0.iter().zip(&other.0).chain(one.1.iter().zip(&other.1));
            both.map(|(one, other)| one * other).sum()
        };
        let [one, two] = directions.each_ref().map(along);
        let (forth, back) = (product(&one, &directions[1]), product(&two, &directions[0]));
        assert!((forth - back).abs() <= 1e-11 * (1.0 + forth.abs()), "{kind:?} {sizes:?}: {forth} {back}");

        let (t, gamma_t) = &directions[0];
        let [mut by_x, mut by_dy, mut moved] = [(); 3].map(|()| vec![f64::NAN; t.len()]);
        let of = ParameterDirection { gamma: Some(gamma_t), beta: None };
        let (out_x, out_dy) = (&mut view_mut(&mut by_x, sizes), &mut view_mut(&mut by_dy, sizes));
        let by_gamma = saved.double_backward(&x, &dy, &view(t, sizes), of, out_x, out_dy).expect("a right call");
        saved.jvp(&x, &view(t, sizes), of, &mut view_mut(&mut moved, sizes)).expect("a right call");
        assert_eq!((by_x, by_gamma, by_dy), (one.0, one.1, moved));
    }
}

#[test]
fn rows_that_are_alike_do_not_move() {
    for kind in [Kind::Layer(1), Kind::Group(2), Kind::Instance] {
        let mut case = Case::<f64>::new(kind, sizes(2, 4, 20), 1.0, &mut Random::new(2503));
        let rows = kind.rows(case.sizes);
        rows.places(1).into_iter().for_each(|i| case.x[i] = 100.1);
        let place = &places(kind, case.sizes)[0];
        let declared = case.step(kind.config(), [place; 2]);
        assert!(rows.gather(1, &declared.curved).iter().all(|&curved| curved == 0.0));
        assert!(declared.curved[rows.places(0)[1]] != 0.0);
        let steep = case.step(steep(kind.config()), [place; 2]);
        assert!(rows.gather(1, &steep.curved).iter().any(|curved| curved.abs() > 1.0));
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let norm: SampleNorm = SampleConfig::layer(1).build(&[3]).expect("a layer");
    let values = [1.0, 2.0, 4.0, 1.0, 5.0, 6.0];
    let (x, other) = (view(&values, sizes(2, 1, 3)), view(&values, sizes(1, 2, 3)));
    let (_, saved) = norm.forward(&x).expect("a right call");
    let none = ParameterDirection::default();
    let short = ParameterDirection { gamma: Some(&[1.0]), ..none };
    for (dy, direction, parameters, argument) in
        [(&other, &x, none, "dy"), (&x, &other, none, "direction"), (&x, &x, short, "direction of gamma")]
    {
        let mut moved = [7.0; 6];
        let error = saved.hvp(&x, dy, direction, parameters, &mut view_mut(&mut moved, sizes(2, 1, 3)));
        let error = error.expect_err("it does not fit");
        assert!(error.to_string().starts_with(argument), "{error}");
        assert_eq!(moved, [7.0; 6]);
    }
    let [mut by_x, mut by_dy] = [[7.0; 6]; 2];
    let out = &mut ViewMut::new(&mut by_dy, &[6, 1], Axes::NCHW).expect("an array");
    let error = saved.double_backward(&x, &x, &x, none, &mut view_mut(&mut by_x, sizes(2, 1, 3)), out);
    assert!(matches!(error, Err(CallError::Shape { argument: "by_dy", .. })));
    assert_eq!(by_x, [7.0; 6]);
    let empty = View::<f64>::new(&[], &[0, 3], Axes::NCHW).expect("an empty array");
    let (_, saved) = norm.forward(&empty).expect("a right call");
    let out = &mut ViewMut::new(&mut [], &[0, 3], Axes::NCHW).expect("an empty array");
    assert_eq!(saved.hvp(&empty, &empty, &empty, none, out).expect("a right call").dgamma, [0.0; 3]);
}
