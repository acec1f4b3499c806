//! Our layer through all cases: `cargo test -p batchnorm-conformance --test ours -- --nocapture` shows the worst.

use batchnorm_conformance::judge::{Outcome, judge};
use batchnorm_conformance::{ours::Ours, report, store};

#[test]
fn our_layer_passes_all_cases() {
    let cases = store::read(store::folder()).expect("the committed cases");
    let mut verdicts: Vec<_> = cases.iter().map(|case| judge(case, &Ours)).collect();
    println!("{}", report::summary(&verdicts));
    let other: Vec<_> = verdicts.iter().filter(|verdict| verdict.outcome != Outcome::Passed).collect();
    assert!(other.is_empty(), "\n{}", report::details(other));
    // Everything that is expected came.
    for verdict in &verdicts {
        assert!(verdict.left_out.is_empty(), "{}: {:?}", verdict.name, verdict.left_out);
    }
    verdicts.sort_by(|one, other| {
        let worst = |verdict: &batchnorm_conformance::judge::Verdict| verdict.worst().map_or(0.0, |(_, error)| error);
        worst(other).total_cmp(&worst(one))
    });
    println!("{}", report::details(&verdicts[..10]));
}
