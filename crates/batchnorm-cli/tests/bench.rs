//! `batchnorm bench` as a person calls it. What it prints of time is not tested; that it times the right thing is.

mod support;

use serde_json::Value;
use support::{done, folder, refused, run};

#[test]
fn every_layout_type_and_fusion_is_checked_and_timed() {
    let folder = folder();
    for shape in ["3,5,7,2", "64,33", "2,1,4099"] {
        for layout in ["nchw", "nhwc"] {
            for number in ["f32", "f64", "f16", "bf16"] {
                for fuse in ["none", "relu", "leaky-relu", "add-relu"] {
                    let output = run(
                        folder.path(),
                        &[
                            "bench",
                            "--shape",
                            shape,
                            "--layout",
                            layout,
                            "--type",
                            number,
                            "--fuse",
                            fuse,
                            "--rounds",
                            "3",
                            "--threads",
                            "2",
                            "--json",
                        ],
                    );
                    let all: Value = serde_json::from_str(done(&output)).expect("stdout is JSON");
                    let passes = all["passes"].as_array().expect("passes");
                    let names: Vec<&str> = passes.iter().map(|pass| pass["pass"].as_str().unwrap()).collect();
                    assert_eq!(names, ["copy", "train", "eval", "backward"]);
                    assert!(passes.iter().all(|pass| pass["milliseconds"].as_f64().unwrap() > 0.0));
                    let values: usize = shape.split(',').map(|size| size.parse::<usize>().unwrap()).product();
                    let size = match number {
                        "f64" => 8,
                        "f32" => 4,
                        _ => 2,
                    };
                    let arrays = if fuse == "add-relu" { [2, 3, 3, 5] } else { [2, 2, 2, 3] };
                    for (pass, arrays) in passes.iter().zip(arrays) {
                        assert_eq!(pass["bytes"].as_u64().unwrap(), (arrays * values * size) as u64, "{pass}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_table_for_people() {
    let folder = folder();
    let output = run(folder.path(), &["bench", "--shape", "16,4,9", "--rounds", "3"]);
    for part in ["16,4,9 nchw f32, fused: none", "copy", "train", "eval", "backward", "GB/s"] {
        assert!(done(&output).contains(part), "{}", done(&output));
    }
}

#[test]
fn bad_shapes_are_one_clear_line() {
    let folder = folder();
    for shape in ["", "7", "a,b", "4,,4", "0,3", "3,0", "-1,3", "1,3", "1,2,3,4,5,6,7,8,9"] {
        refused(&run(folder.path(), &["bench", &format!("--shape={shape}")]), 2, &["--shape", "32,64,56,56"]);
    }
    for shape in ["99999999,99999999,9", "18446744073709551615,2,2"] {
        refused(&run(folder.path(), &["bench", "--shape", shape]), 2, &["--shape", "memory"]);
    }
}
