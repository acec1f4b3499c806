#![allow(missing_docs)]
use batchnorm::{Axes, Config, Parameters, Tier, View, ViewMut};
use std::time::Instant;
fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    for (shape, axes) in [([1usize, 64, 4096], Axes::NCHW), ([32, 128, 49], Axes::NCHW), ([4096, 64, 1], Axes::NHWC), ([4096, 1, 64], Axes::NHWC), ([1024, 1, 256], Axes::NHWC), ([256, 1, 1024], Axes::NHWC),([128, 1, 100], Axes::NHWC)] {
        let len: usize = shape.iter().product();
        let x: Vec<f32> = (0..len).map(|i| (i * 7919 % 1000) as f32).collect();
        let mut y = vec![0.0f32; len];
        let c = shape[if matches!(axes, Axes::Channel(1)) { 1 } else { 2 }];
        for tier in Tier::available() {
            let rule = Config::pytorch().tier(tier).rule().unwrap();
            let running = batchnorm::RunningStatistics::start(c).unwrap();
            let none = Parameters::<f32>::default();
            let v = View::new(&x, &shape, axes).unwrap();
            let mut best = [f64::MAX; 4];
            for _ in 0..300 {
                let t = Instant::now();
                std::hint::black_box(rule.moments(&v));
                best[0] = best[0].min(t.elapsed().as_secs_f64());
                let mut out = ViewMut::new(&mut y, &shape, axes).unwrap();
                let t = Instant::now();
                rule.eval(&v, none, Some(&running), &mut out).unwrap();
                best[1] = best[1].min(t.elapsed().as_secs_f64());
                let t = Instant::now();
                let (saved, _) = rule.train(&v, none, None, &mut out).unwrap();
                best[2] = best[2].min(t.elapsed().as_secs_f64());
                let t = Instant::now();
                saved.backward(&v, &v, &mut out).unwrap();
                best[3] = best[3].min(t.elapsed().as_secs_f64());
            }
            println!("{shape:?} {tier:?}: ns/element moments {:.3} eval {:.3} train {:.3} backward {:.3}", best[0] * 1e9 / len as f64, best[1] * 1e9 / len as f64, best[2] * 1e9 / len as f64, best[3]*1e9/len as f64);
        }
    }
}
