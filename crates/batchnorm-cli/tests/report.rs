//! report.html as a reader gets it: what it says is what compare.json says, it asks nothing of a network, its tags are
//! closed; and, where there is a Chromium, that a browser shows it without complaint on a phone and on a desk.

#![cfg(feature = "train")]
#![allow(missing_docs)]

use std::path::Path;
use std::process::Command;

use batchnorm_lab::comparison::Comparison;
use batchnorm_lab::report;

mod browser;
mod markup;

use browser::Browser;
use markup::{page_is_whole, tags_are_closed};

/// A tiny comparison whose command line would break a page that did not escape it; the folder it wrote.
fn compared(folder: &Path) -> (Comparison, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_batchnorm"))
        .current_dir(folder)
        .args(["compare", "--seeds", "2", "--steps", "60", "--target", "0.3", "--output-dir", HOSTILE])
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(folder.join(HOSTILE).join(name)).expect(name);
    (serde_json::from_str(&read("compare.json")).expect("compare.json is JSON"), read("report.html"))
}

const HOSTILE: &str = "<script>alert('a & \"b\"')";

#[test]
fn the_page_says_what_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let (comparison, page) = compared(folder.path());
    assert_eq!(comparison.runs.len(), 6);
    assert!(page == report::html(&comparison), "the page is not that of the file");
    assert!(!page.contains("Incomplete:"));
    assert!(page.contains("&lt;script&gt;alert(&#39;a &amp; &quot;b&quot;&#39;)"), "the command line");

    // Each figure as the file has it, found in the cell that the page gives it.
    let percent = |share: f64| format!("{:.1}\u{a0}%", 100.0 * share);
    for run in &comparison.runs {
        let reached = run.target.map_or(String::from("not reached"), |at| at.step.to_string());
        let row = row(&page, &format!("seed {}: {}", run.seed, run.arm));
        for cell in [reached, percent(run.final_accuracy.expect("finished")), run.fingerprint.clone()] {
            assert!(row.contains(&format!(">{cell}</td>")), "{cell:?} is not in {row}");
        }
    }
    for (index, arm) in comparison.settings.arms.iter().enumerate() {
        let runs: Vec<_> = comparison.runs.iter().filter(|run| run.arm == arm.name).collect();
        // Mean and range of the accuracy after 20 steps, worked out anew.
        let at_20: Vec<f64> =
            runs.iter().map(|run| run.curve.iter().find(|point| point.step == 20).unwrap().accuracy).collect();
        let (low, high) = (at_20[0].min(at_20[1]), at_20[0].max(at_20[1]));
        let mean = percent((low + high) / 2.0);
        let expected = format!("{mean} ({} to {})", percent(low), percent(high));
        let table = &page[page.find("Accuracy after some steps").unwrap()..];
        assert!(row(table, "20").split("<td").nth(index + 1).unwrap().contains(&expected), "{expected}");
        // Percentiles of seed 1 at the end.
        let inputs = runs[0].probes.last().unwrap().inputs.expect("finite");
        assert!(page.contains(&inputs.map(|input| format!("{input:.2}")).join(" / ")));
        // Wrong answers counted anew.
        let wrong = (360.0 * (1.0 - runs[0].final_accuracy.unwrap())).round();
        assert!(page.contains(&format!("{}: {wrong} of 360 wrong.", arm.name)));
        assert!(runs[0].answers.len() == 360 && runs[1].answers.is_empty());
    }
    for published in ["31.0 million", ".827"] {
        assert!(page.find(published) > page.find("What others have published"), "{published}");
    }
}

/// The table row under a name.
fn row<'a>(page: &'a str, name: &str) -> &'a str {
    let start = page.find(&format!("</span> {name}</th>")).unwrap_or_else(|| panic!("no row {name:?}"));
    let row = &page[start..];
    &row[..row.find("</tr>").expect("rows are closed")]
}

#[test]
fn whatever_is_finished_has_a_page_that_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (comparison, page) = compared(folder.path());
    page_is_whole(&page, 7);
    for runs in [0, 1, 4] {
        let mut partial = Comparison::new(comparison.settings.clone(), String::from("x")).unwrap();
        comparison.runs[..runs].iter().for_each(|run| partial.record(run.clone()));
        let page = report::html(&partial);
        page_is_whole(&page, 7);
        assert!(page.contains(&format!("Incomplete:</strong> {runs} of 6 runs")));
        assert_eq!(page.contains("no run is finished"), runs == 0);
    }
    // Names and a machine from elsewhere; nothing recorded; a run that diverged.
    let mut strange = comparison.clone();
    strange.machine.processor = String::from("</dd><script src=//evil>");
    strange.settings.arms[1].name = String::from("<i>\" onload='x'");
    for run in &mut strange.runs {
        run.probes.clear();
        run.answers.clear();
        run.curve.truncate(1);
        run.ending = batchnorm_lab::run::Ending::Diverged { step: 3 };
        run.final_accuracy = None;
    }
    strange.summary = batchnorm_lab::summary::Summary::of(&strange.settings, &strange.runs);
    let page = report::html(&strange);
    page_is_whole(&page.replace("&lt;/dd&gt;&lt;script src=//evil&gt;", ""), 7);
    assert!(page.contains("diverged at step 3") && !page.contains("NaN"));
}

#[test]
fn the_picture_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (comparison, _) = compared(folder.path());
    let picture = report::picture(&comparison);
    assert_eq!(picture.matches("http://").count(), 1, "the name of SVG's namespace alone");
    assert!(picture.len() < 100_000);
    tags_are_closed(&picture);
}

#[test]
fn the_checks_see_what_they_look_for() {
    let fails = |page: &'static str| std::panic::catch_unwind(|| tags_are_closed(page)).is_err();
    for bad in ["<p>a", "<p>a</b></p>", "<p>a & b</p>", "<p>a > b</p>", "<p a=\"b>c</p>"] {
        assert!(fails(bad), "{bad}");
    }
    tags_are_closed("<p a=\"b\">a &amp; b<br>c<path d=\"\"/></p>");
}

#[test]
fn a_browser_shows_it_on_a_phone_and_on_a_desk_in_light_and_dark() {
    let Some(browser) = Browser::find_or_say("report.html") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_, page) = compared(folder.path());
    let path = folder.path().join("report.html");
    std::fs::write(&path, &page).unwrap();

    browser.shows(&path, &page);
    let pdf = folder.path().join("report.pdf");
    browser.open(&path, &[&format!("--print-to-pdf={}", pdf.display())]);
    assert!(std::fs::read(&pdf).unwrap().starts_with(b"%PDF"));

    // The measures see what they look for.
    let wide = "<!DOCTYPE html><html><body style=\"background:#ffffff\"><p style=\"width:700px\">a</p></body></html>";
    let wanted: Vec<bool> =
        browser.measure(wide, folder.path(), false).iter().map(|(frame, wanted, _)| wanted > frame).collect();
    assert_eq!(wanted, [true, true, false, false]);
    std::fs::write(&path, "<!DOCTYPE html><html><body><script>console.error('ouch')</script></body></html>").unwrap();
    assert_eq!(browser.console(&path).len(), 1);
}
