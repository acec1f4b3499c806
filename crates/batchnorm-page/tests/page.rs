//! A page of everything: well formed, nothing of what comes in gets out as HTML, and of the parts' styles those that it needs.

#![allow(missing_docs)]

use std::collections::HashSet;

use batchnorm_page::markup::{self, Table};
use batchnorm_page::{Axis, Bar, Bars, Chart, Fill, Line, Page, Ribbon, Style, figures, key};

const HOSTILE: &str = "</title><script>\"class=\"edge \" & '<details>'</script>";

fn numbers() -> Table {
    let mut table = Table::new(HOSTILE, ["Layer", HOSTILE]);
    table.row([HOSTILE, "1"]);
    table
}

fn chart(id: &str) -> Chart {
    Chart {
        description: HOSTILE.to_owned(),
        ribbons: vec![
            Ribbon::new("stored", 1, Fill::Plain, [(0.0, 1.0), (-1.0, f64::INFINITY)]),
            Ribbon::new(HOSTILE, 2, Fill::Hatched, [(0.5, 2.0), (f64::NAN, 1.0), (0.0, 0.5)]),
        ],
        lines: vec![Line::through_dots(HOSTILE, 3, [0.1, f64::NAN, 0.9])],
        rule: Some((0.5, HOSTILE.to_owned())),
        ..Chart::new(id, HOSTILE, Axis::index(HOSTILE, 1, 3), Axis::between(HOSTILE, -1.0, 2.0))
    }
}

fn bars() -> Bars {
    let bars = vec![Bar::new(HOSTILE, 0.5, HOSTILE), Bar { fill: Fill::Hatched, ..Bar::new("b", f64::NAN, "unknown") }];
    Bars { bars, ..Bars::new("bars", HOSTILE, Axis::between(HOSTILE, 0.0, 1.0)) }
}

fn page(sections: &str) -> String {
    Page { title: HOSTILE, head: &markup::paragraph(HOSTILE), sections, style: Style::default() }.html()
}

/// Panics unless every tag is closed by the tag it should be.
fn tags_are_closed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        // (Style sheets have selectors with `>`.)
        assert!(open.last() == Some(&"style") || !text.contains('>'), "a bare > after <{tag}>");
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).expect("a tag has a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed by </{name}>");
        } else if !tag.ends_with('/') && !["!DOCTYPE", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_page_of_everything_is_whole() {
    let sections = [
        chart("one").figure(HOSTILE, numbers()),
        bars().figure(HOSTILE, numbers()),
        figures(&[(chart("two"), HOSTILE.to_owned())]),
        key([(HOSTILE, 1, 2)]),
        markup::section("last", HOSTILE, &numbers().html()),
    ];
    let page = page(&sections.concat());
    tags_are_closed(&page);
    for absent in ["<script", "NaN", "inf\"", "inf ", "url(", "http:", "https:", " src=", " href="] {
        assert!(!page.contains(absent), "{absent}");
    }
    let ids: Vec<&str> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
    for names in page.split(" aria-labelledby=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(names.split(' ').all(|name| ids.contains(&name)), "{names} names nothing");
    }
    for rules in [".edge.c5", "summary:focus-visible", "@media print", "prefers-color-scheme: dark", "max-width: 44rem"]
    {
        assert!(page.contains(rules), "{rules}");
    }
}

#[test]
fn styles_of_parts_are_only_where_the_parts_are() {
    let plain = page(&markup::section("text", HOSTILE, &(markup::paragraph(HOSTILE) + &numbers().html())));
    assert!(!plain.contains(".edge") && !plain.contains("summary"));
    assert!(page(&bars().svg()).contains(".edge") && !page(&bars().svg()).contains("summary"));
    let own = Style { everywhere: ".mine { margin: 0; }\n", phone: "  .mine { display: none; }\n" };
    let own = Page { title: "", head: "", sections: "", style: own }.html();
    assert!(
        own.contains("\n.mine { margin: 0; }\n@media screen")
            && own.contains("\n  .mine { display: none; }\n}\n@media print")
    );
}

#[test]
fn files_of_their_own_bring_their_styles() {
    for file in [chart("one").file(), bars().file()] {
        assert!(file.starts_with("<svg xmlns=") && file.contains(".edge.c5"));
        tags_are_closed(&file);
    }
    assert!(!Chart { ribbons: Vec::new(), ..chart("one") }.file().contains(".edge.c5"));
}

#[test]
fn ribbons_differ_without_their_colour() {
    let svg = chart("one").svg();
    let (plain, hatched) = (svg.find("class=\"plain f1\"").unwrap(), svg.find("class=\"hatch c2\"").unwrap());
    assert!(plain < hatched && hatched < svg.find("class=\"line c3").unwrap(), "lines are above ribbons");
    assert!(svg.contains("class=\"edge c1 d0\"") && svg.contains("class=\"edge c2 d4\""));
    // A gap is one: an outline for each of its sides.
    assert_eq!(svg.matches("class=\"edge c2").count(), 2);
}
