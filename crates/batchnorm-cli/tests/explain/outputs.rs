//! Outputs go where they are asked to, and take the place of no other file.

use crate::arrays::Folder;
use crate::explain;
use crate::support::{self, done, refused, text};
use serde_json::Value;

#[test]
fn outputs_go_where_they_are_asked_to() {
    let folder = Folder::new();
    let output = explain(&folder, &["--html", "page.html", "--dot", "graph.dot"]);
    assert_eq!((done(&output), text(&output.stderr)), ("", "wrote page.html\nwrote graph.dot\n"));
    assert_eq!(folder.names("."), ["graph.dot", "page.html"]);
    let to_stdout = explain(&folder, &["--html", "-"]);
    assert_eq!(done(&to_stdout), std::fs::read_to_string(folder.path("page.html")).unwrap());
    let output = explain(&folder, &["--html", "page.html", "--json"]);
    assert!(serde_json::from_str::<Value>(done(&output)).is_ok());
    let output = explain(&folder, &["--html", "no/such/page.html"]);
    refused(&output, 5, &["no/such"]);
    std::fs::create_dir(folder.path("folder")).unwrap();
    refused(&explain(&folder, &["--dot", "folder"]), 5, &["folder"]);
    support::may_lose_its_reader(support::command(folder.0.path(), &["explain", "--json"]));
    let help = explain(&folder, &["--help"]);
    let flags = "--input --layer --channel-axis --channel --row --groups --gradient --gamma --beta --epsilon --mode \
                 --running-mean --running-var --json --dot --html";
    for part in flags.split(' ').chain(["Exit codes:", "layer norm"]) {
        assert!(done(&help).contains(part), "{part}");
    }
}

/// Checked by what a path leads to, not by its text: `./x.csv` is `x.csv`.
#[test]
fn no_output_takes_the_place_of_an_input_or_of_another_output() {
    let folder = Folder::new();
    let table = "1,2\n2,5\n4,3\n";
    std::fs::write(folder.path("x.csv"), table).expect("a writable folder");
    std::fs::create_dir(folder.path("sub")).expect("a writable folder");
    let clash = |flag: &str, other: &str| format!("{flag}: expected a file of its own, got that of {other}");
    for (arguments, flag, other) in [
        (&["--input", "x.csv", "--html", "./x.csv"][..], "--html ./x.csv", "--input"),
        (&["--input", "x.csv", "--dot", "sub/../x.csv"], "--dot sub/../x.csv", "--input"),
        (&["--input", "x.csv", "--gradient", "./x.csv", "--html", "sub/../x.csv"], "--html sub/../x.csv", "--input"),
        (&["--html", "new", "--dot", "./new"], "--html new", "--dot"),
    ] {
        refused(&explain(&folder, arguments), 2, &[&clash(flag, other)]);
        assert_eq!(std::fs::read_to_string(folder.path("x.csv")).expect("the table"), table);
        assert!(!folder.path("new").exists());
    }
}
