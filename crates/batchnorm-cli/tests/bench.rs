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
                    assert_eq!(names, ["read", "copy", "train", "eval", "backward"]);
                    assert!(passes.iter().all(|pass| pass["milliseconds"].as_f64().unwrap() > 0.0));
                    let values: usize = shape.split(',').map(|size| size.parse::<usize>().unwrap()).product();
                    let size = match number {
                        "f64" => 8,
                        "f32" => 4,
                        _ => 2,
                    };
                    let arrays = if fuse == "add-relu" { [1, 2, 3, 3, 5] } else { [1, 2, 2, 2, 3] };
                    for (pass, arrays) in passes.iter().zip(arrays) {
                        assert_eq!(pass["bytes"].as_u64().unwrap(), (arrays * values * size) as u64, "{pass}");
                    }
                    // Sweeps have no floor, passes have one; bare loops are there for plain f32, on processors they are for.
                    for (place, pass) in passes.iter().enumerate() {
                        let floor = pass["floor_milliseconds"].as_f64();
                        assert_eq!(floor.is_some_and(|floor| floor > 0.0), place >= 2, "{pass}");
                        assert_eq!(pass["over_floor"].is_f64(), place >= 2, "{pass}");
                        let bare = place >= 2 && number == "f32" && fuse == "none" && all["tier"] != "Baseline";
                        assert_eq!(pass["bare_milliseconds"].is_f64(), bare, "{pass}");
                        assert_eq!(pass["over_bare"].is_f64(), bare, "{pass}");
                    }
                    assert!(all["contention"]["ratio"].as_f64().unwrap() > 0.0, "{}", all["contention"]);
                }
            }
        }
    }
}

#[test]
fn a_table_for_people() {
    let folder = folder();
    let output = run(folder.path(), &["bench", "--shape", "16,4,9", "--rounds", "3"]);
    for part in [
        "16,4,9 nchw f32, fused: none",
        "read",
        "copy",
        "train",
        "eval",
        "backward",
        "GB/s",
        "floor ms",
        "over bare",
        "Cores or siblings: the system says ",
        "measured: ",
    ] {
        assert!(done(&output).contains(part), "{}", done(&output));
    }
}

/// A second instruction set has bare loops of its own; the baseline has none.
#[test]
fn tiers_have_their_own_bare_loops() {
    let folder = folder();
    let baseline = &["bench", "--shape", "16,4,9", "--rounds", "3", "--json", "--tier"];
    for (tier, bare) in [("baseline", false), ("avx2", true), ("avx512", true)] {
        let output = run(folder.path(), &[baseline, &[tier][..]].concat());
        if !output.status.success() {
            refused(&output, 2, &["--tier"]); // (not on this machine)
            continue;
        }
        let all: Value = serde_json::from_str(done(&output)).expect("stdout is JSON");
        assert_eq!(all["passes"][2]["bare_milliseconds"].is_f64(), bare, "{tier}: {all}");
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
