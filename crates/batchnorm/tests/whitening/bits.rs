//! The same bits over threads, instruction sets and layouts.

use crate::support::layout::{ORDERS, Order, Sizes};
use crate::support::{Random, pool};
use batchnorm::{Decorrelated, Element, ParameterDirection, Tier, WhiteningConfig};

fn bits(values: impl IntoIterator<Item = f64>) -> Vec<u64> {
    values.into_iter().map(|value| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }).collect()
}

/// Everything a step gives, as bits, y and dx in NCHW order.
fn step<T: Element<Param: Into<f64>>>(layer: &Decorrelated, order: Order, sizes: Sizes, x: &[T], dy: &[T]) -> Vec<u64> {
    let mut layer = layer.clone();
    let (x, dy) = (order.arranged(x, sizes), order.arranged(dy, sizes));
    let (x, dy) = (order.view(&x, sizes), order.view(&dy, sizes));
    let (mut y, mut dx) = (order.blank(sizes), order.blank(sizes));
    let (saved, batch) =
        layer.forward_train_into(&x, &mut order.view_mut(&mut y, sizes)).expect("a right forward call");
    let gradients = saved.backward(&x, &dy, &mut order.view_mut(&mut dx, sizes)).expect("a right backward call");
    layer.commit(&batch).expect("the layer's own");
    let mut eval = order.blank(sizes);
    let of_eval = layer.eval_into(&x, &mut order.view_mut(&mut eval, sizes)).expect("a right call");
    let mut dx_eval = order.blank(sizes);
    of_eval.backward(&x, &dy, &mut order.view_mut(&mut dx_eval, sizes)).expect("a right backward call");
    // Derivatives along a direction, for which y serves, of both passes.
    let t = order.view(&y, sizes);
    let of_gamma: Vec<f64> = (0..sizes.c).map(|channel| 0.5 - channel as f64 / 9.0).collect();
    let parameters = ParameterDirection { gamma: Some(&of_gamma), beta: Some(&of_gamma) };
    let along = [&saved, &of_eval].map(|saved| {
        let [mut moved, mut curved] = [(); 2].map(|()| order.blank(sizes));
        saved.jvp(&x, &t, parameters, &mut order.view_mut(&mut moved, sizes)).expect("a right call");
        let of = saved.hvp(&x, &dy, &t, parameters, &mut order.view_mut(&mut curved, sizes)).expect("a right call");
        ([moved, curved].map(|data| order.back(data, sizes)), of.dgamma)
    });
    let running = layer.running().expect("tracked");
    let arrays = [y, dx, eval, dx_eval].map(|data| order.back(data, sizes));
    let arrays = arrays.iter().chain(along.iter().flat_map(|(arrays, _)| arrays));
    let numbers = arrays.flatten().map(|value| value.to_f64());
    let numbers = numbers.chain(along.iter().flat_map(|(_, dgamma)| dgamma.clone()));
    let numbers = numbers.chain(gradients.dgamma).chain(gradients.dbeta).chain(running.mean().to_vec());
    bits(numbers.chain(running.covariances().concat()))
}

/// Ragged last groups, groups of 16, one of all; more chunks than threads, short runs, few values: channels, channels of a
/// group, samples, plane.
const CASES: [[usize; 4]; 7] =
    [[5, 2, 3, 700], [48, 16, 2, 1031], [33, 16, 40, 49], [1, 1, 9, 300], [4, 9, 7, 1], [3, 3, 300, 97], [6, 1, 5, 20]];

fn same_bits<T: Element<Param: Into<f64>>>(cases: &[[usize; 4]], make: impl Fn(f64) -> T, random: &mut Random) {
    for &[c, group, n, plane] in cases {
        let sizes = Sizes { n, c, plane };
        let len = n * c * plane;
        let mut array = |mean: f64| -> Vec<T> { (0..len).map(|_| make(mean + random.normal())).collect() };
        let (x, dy) = (array(100.0), array(0.2));
        let of = |tier: Tier| {
            let mut layer = WhiteningConfig::new(c, group).tier(tier).build().expect("a layer");
            layer.set_gamma(&(0..c).map(|i| 0.3 - i as f64 / 7.0).collect::<Vec<_>>()).expect("one for each");
            layer.set_beta(&(0..c).map(|i| i as f64 / 3.0).collect::<Vec<_>>()).expect("one for each");
            layer
        };
        let first = pool(1).install(|| step(&of(Tier::Baseline), ORDERS[0], sizes, &x, &dy));
        for order in ORDERS {
            for threads in [1, 2, 3, 8] {
                let got = pool(threads).install(|| step(&of(Tier::best()), order, sizes, &x, &dy));
                assert!(got == first, "{sizes:?}, groups of {group}, {order:?}, {threads} threads");
            }
        }
        for tier in Tier::available() {
            assert!(pool(2).install(|| step(&of(tier), ORDERS[1], sizes, &x, &dy)) == first, "{sizes:?} {tier:?}");
        }
    }
}

#[test]
fn same_bits_over_threads_tiers_and_layouts() {
    let mut random = Random::new(1210);
    same_bits(&CASES, |value| value as f32, &mut random);
    same_bits(&CASES[2..5], |value| value, &mut random);
    #[cfg(feature = "half")]
    same_bits(&CASES[3..], half::bf16::from_f64, &mut random);
}
