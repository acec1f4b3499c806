//! Every channel and every row that is explained has the numbers of the layer, to the bit.

use crate::arrays::Folder;
use crate::support::{noise, refused};
use crate::{explain, gradient, json, numbers, values};
use batchnorm::{Axes, BatchNorm, Config, SampleConfig, SampleNorm, View};
use serde_json::Value;

#[test]
fn every_channel_is_the_layers_to_the_bit_where_the_layer_has_it() {
    let folder = Folder::new();
    let shape = [5, 3, 4];
    for (mean, name) in [(0.0, "near"), (1e4, "far")] {
        let (x, dy) = (noise(60, mean, 1), noise(60, 0.3, 2));
        folder.save("x.npy", &shape, &x);
        folder.save("dy.npy", &shape, &dy);
        folder.save("g.npy", &[3], &[1.5f32, -2.0, 0.5]);
        for axis in [0usize, 1, 2] {
            let channels = shape[axis];
            let gamma: Vec<f64> = (0..channels).map(|c| 1.5 - c as f64).collect();
            let list = gamma.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
            let mut layer = Config::pytorch().epsilon(1e-3).channels(channels).build().unwrap();
            layer.set_gamma(&gamma).unwrap();
            layer.set_beta(&vec![0.25; channels]).unwrap();
            let view = View::new(&x, &shape, Axes::Channel(axis as isize)).unwrap();
            let trained = layer.forward_train(&view).unwrap();
            let upstream = View::new(&dy, &shape, Axes::Channel(axis as isize)).unwrap();
            let back = layer.backward(&view, &upstream, &trained.saved).unwrap();
            for (channel, &of_channel) in gamma.iter().enumerate() {
                let json = json(
                    &folder,
                    &[
                        "--input",
                        "x.npy",
                        "--gradient",
                        "dy.npy",
                        "--gamma",
                        &list,
                        "--beta",
                        "0.25",
                        "--epsilon",
                        "1e-3",
                        "--channel-axis",
                        &axis.to_string(),
                        "--channel",
                        &channel.to_string(),
                    ],
                );
                let places: Vec<usize> = json["places"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|place| {
                        numbers(place).iter().zip(shape).fold(0, |at, (&index, length)| at * length + index as usize)
                    })
                    .collect();
                assert_eq!(places.len(), 60 / channels);
                let at_places = |data: &[f64]| -> Vec<f64> { places.iter().map(|&place| data[place]).collect() };
                assert_eq!(values(&json, "x"), at_places(&x), "{name}, axis {axis}");
                assert_eq!(values(&json, "y"), at_places(trained.y.data()));
                assert_eq!(gradient(&json, "y"), at_places(&dy));
                assert_eq!(gradient(&json, "x"), at_places(back.dx.data()));
                assert_eq!(gradient(&json, "gamma"), [back.dgamma.as_ref().unwrap()[channel]]);
                assert_eq!(gradient(&json, "beta"), [back.dbeta.as_ref().unwrap()[channel]]);
                let moments = trained.batch.channels()[channel];
                assert_eq!(values(&json, "mean"), [moments.mean()]);
                assert_eq!(values(&json, "variance"), [moments.population_variance()]);
                assert_eq!(values(&json, "gamma"), [of_channel]);
            }
        }
        // A file of another type for gamma; f32 input; evaluation.
        folder.save("x32.npy", &shape, &x.iter().map(|&x| x as f32).collect::<Vec<_>>());
        let eval = ["--mode", "eval", "--running-mean", "1,2,3", "--running-var", "4,5,6"];
        let json = json(&folder, &[&["--input", "x32.npy", "--gamma", "g.npy", "--channel", "1"], &eval[..]].concat());
        assert_eq!(values(&json, "gamma"), [-2.0]);
        let wide: Vec<f64> = x.iter().map(|&x| f64::from(x as f32)).collect();
        let mut layer = BatchNorm::new(3).unwrap();
        layer.set_gamma(&[1.5, -2.0, 0.5]).unwrap();
        let running = batchnorm::RunningStatistics::from_parts(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 0).unwrap();
        layer.set_running(running).unwrap();
        let y = layer.eval(&View::new(&wide, &shape, Axes::NCHW).unwrap()).unwrap().y;
        let of_channel: Vec<f64> = (0..5).flat_map(|n| y.data()[n * 12 + 4..n * 12 + 8].to_vec()).collect();
        assert_eq!(values(&json, "y"), of_channel);
        assert_eq!([values(&json, "mean"), values(&json, "variance")], [[2.0], [5.0]]);
        assert_eq!(json["directions"]["constant"]["expected"], Value::Null);
        assert_eq!(json["directions"]["stretch"]["expected"], Value::Null);
    }
}

#[test]
fn every_row_is_the_layers_to_the_bit() {
    let folder = Folder::new();
    let shape = [2, 6, 5];
    let (x, dy) = (noise(60, 3.0, 3), noise(60, 0.1, 4));
    folder.save("x.npy", &shape, &x);
    folder.save("dy.npy", &shape, &dy);
    let (of_elements, of_channels) = (noise(30, 1.0, 5), noise(6, 1.0, 6));
    folder.save("elements.npy", &shape[1..], &of_elements);
    folder.save("channels.npy", &[6], &of_channels);
    for (arguments, config, rows) in [
        (&["--layer", "norm"][..], SampleConfig::layer(2), 2),
        (&["--layer", "rms"], SampleConfig::rms(2), 2),
        (&["--layer", "group", "--groups", "3"], SampleConfig::group(3), 6),
        (&["--layer", "group", "--groups", "6"], SampleConfig::group(6), 12),
        (&["--layer", "instance"], SampleConfig::instance(), 12),
    ] {
        let by_element = rows == 2;
        let (file, gamma) = if by_element { ("elements.npy", &of_elements) } else { ("channels.npy", &of_channels) };
        let config = config.epsilon(1e-4).affine(batchnorm::Affine::ScaleAndShift);
        let mut layer: SampleNorm = config.build(if by_element { &shape[1..] } else { &[6] }).unwrap();
        layer.set_gamma(gamma).unwrap();
        layer.set_beta(&vec![-0.5; gamma.len()]).unwrap();
        let view = View::new(&x, &shape, Axes::NCHW).unwrap();
        let (y, saved) = layer.forward(&view).unwrap();
        let back = layer.backward(&view, &View::new(&dy, &shape, Axes::NCHW).unwrap(), &saved).unwrap();
        let each = 60 / rows;
        for row in 0..rows {
            let number = row.to_string();
            let input =
                ["--input", "x.npy", "--gradient", "dy.npy", "--gamma", file, "--beta", "-0.5", "--epsilon", "1e-4"];
            let json = json(&folder, &[&input[..], arguments, &["--row", &number]].concat());
            let range = row * each..(row + 1) * each;
            assert_eq!(values(&json, "x"), x[range.clone()], "{arguments:?} {row}");
            assert_eq!(values(&json, "y"), y.data()[range.clone()], "{arguments:?} {row}");
            assert_eq!(gradient(&json, "x"), back.dx.data()[range.clone()], "{arguments:?} {row}");
            let expected: Vec<f64> =
                range.map(|at| if by_element { of_elements[at % 30] } else { of_channels[at / 5 % 6] }).collect();
            assert_eq!(values(&json, "gamma"), expected);
        }
        let next = rows.to_string();
        let output = explain(&folder, &[&["--input", "x.npy", "--row", &next], arguments].concat());
        refused(&output, 2, &["--row: expected 0 to", &format!("got {rows}")]);
    }
    // Channels last: the same rows, gathered from where they lie.
    let last: Vec<f64> = (0..60).map(|at| x[at / 30 * 30 + at % 6 * 5 + at / 6 % 5]).collect();
    folder.save("last.npy", &[2, 5, 6], &last);
    let group = ["--layer", "group", "--groups", "3", "--row", "4", "--gamma", "channels.npy"];
    let first = json(&folder, &[&["--input", "x.npy"], &group[..]].concat());
    let second = json(&folder, &[&["--input", "last.npy", "--channel-axis", "-1"], &group[..]].concat());
    assert_eq!((first["nodes"].clone(), &first["jacobian"]), (second["nodes"].clone(), &second["jacobian"]));
    assert_eq!(second["places"][6], serde_json::json!([1, 1, 3]));
}
