//! Whether HTML is well formed.

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
