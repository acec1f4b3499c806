//! Whether HTML is well formed, and a page all that it should be.

// Not every test uses all of it.
#![allow(dead_code)]

use std::collections::HashSet;

/// What stands behind each `start`, up to the next quote.
pub fn attributes<'a>(page: &'a str, start: &str) -> Vec<&'a str> {
    page.split(start).skip(1).map(|rest| &rest[..rest.find('"').expect("quotes are closed")]).collect()
}

/// Panics unless every tag is closed, by the tag it should be; no bare `<`, `>` or `&` in between.
pub fn tags_are_closed(page: &str) {
    let mut body = page.to_owned();
    // What is in these is no HTML.
    for (open, close) in [("<style", "</style>"), ("<script", "</script>")] {
        while let Some(start) = body.find(open) {
            let end = start + body[start..].find(close).expect(open) + close.len();
            body.replace_range(start..end, "");
        }
    }
    let mut open: Vec<&str> = Vec::new();
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("`<{piece}` is not closed"));
        assert!(!text.contains('>'), "a bare > after <{tag}>");
        for entity in text.split('&').skip(1).chain(tag.split('&').skip(1)) {
            let name = entity.split(';').next().unwrap();
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "a bare & in {text:?}");
        }
        assert!(tag.matches('"').count() % 2 == 0, "quotes in <{tag}>");
        let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed by </{name}>");
        } else if !tag.ends_with('/') && !["!DOCTYPE", "meta", "br", "input"].contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

/// What every page of a report holds to, which has so many sections or more.
pub fn page_is_whole(page: &str, sections: usize) {
    for request in
        ["http:", "https:", "//", "<script", " src=", " href=", "url(", "@import", "<link", "<iframe", "<img"]
    {
        assert!(!page.contains(request), "{request} in the page");
    }
    for needed in
        ["<!DOCTYPE html>", "<html lang=\"en\">", "charset=\"utf-8\"", "name=\"viewport\"", "<main>", "</html>"]
    {
        assert!(page.contains(needed), "{needed} is missing");
    }
    for style in ["prefers-color-scheme: dark", "@media print", "stroke-dasharray"] {
        assert!(page.contains(style), "{style} is missing");
    }
    assert_eq!(page.matches("<h1>").count(), 1);
    assert!(page.matches("<h2 ").count() >= sections);
    assert!(!page.contains("NaN") && !page.contains(">inf<"));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    tags_are_closed(page);
    // Who does not see a picture is told what it shows, and every id is there once.
    let ids: Vec<&str> = attributes(page, " id=\"");
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "ids twice: {ids:?}");
    for names in attributes(page, " aria-labelledby=\"") {
        assert!(names.split(' ').all(|name| ids.contains(&name)), "{names} names nothing");
    }
    for svg in page.split("<svg").skip(1) {
        let tag = &svg[..svg.find('>').unwrap()];
        assert!(["aria-labelledby", "aria-label", "aria-hidden"].iter().any(|by| tag.contains(by)), "{tag}");
    }
    for table in page.split("<table>").skip(1) {
        assert!(table.starts_with("\n<caption>") && table.contains("scope=\"col\"") && table.contains("scope=\"row\""));
    }
}
