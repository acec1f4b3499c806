//! Pieces of HTML that are right by construction: text escaped, tags closed.

/// Text that may stand between tags and in quoted attributes. Control characters, which HTML has no way to write,
/// become the replacement character; a percent sign stays on its number's line.
///
/// ```
/// assert_eq!(batchnorm_page::markup::escape("a < 5 %"), "a &lt; 5\u{a0}%");
/// ```
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.replace(" %", "\u{a0}%").chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            control if control.is_control() && !control.is_whitespace() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// A table with a caption; on a phone each row becomes a block, its cells named by their columns.
///
/// ```
/// use batchnorm_page::markup::Table;
///
/// let mut table = Table::new("Layers", ["Layer", "Gap"]);
/// table.row(["conv1.norm", "0.3"]);
/// assert!(table.html().contains("<th scope=\"row\"><span class=\"of\">Layer</span> conv1.norm</th>"));
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    caption: String,
    columns: Vec<String>,
    rows: String,
}

impl Table {
    /// A table without rows; the first column names the rows.
    pub fn new<'a>(caption: &str, columns: impl IntoIterator<Item = &'a str>) -> Table {
        let columns = columns.into_iter().map(escape).collect();
        Table { caption: escape(caption), columns, rows: String::new() }
    }

    /// A row of texts.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        self.html_row(cells.into_iter().map(escape));
    }

    /// A row of pieces of HTML.
    pub fn html_row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows += "<tr>";
        for (index, (cell, column)) in cells.into_iter().zip(&self.columns).enumerate() {
            self.rows += &match index {
                0 => format!("<th scope=\"row\"><span class=\"of\">{column}</span> {cell}</th>"),
                _ => format!("<td data-column=\"{column}\">{cell}</td>"),
            };
        }
        self.rows += "</tr>\n";
    }

    /// The table as HTML; without rows, nothing.
    pub fn html(self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let head: String = self.columns.iter().map(|column| format!("<th scope=\"col\">{column}</th>")).collect();
        let Table { caption, rows, .. } = self;
        format!(
            "<table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
        )
    }
}

/// A section under a heading.
pub fn section(id: &str, heading: &str, content: &str) -> String {
    format!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{}</h2>\n{content}</section>\n", escape(heading))
}

/// A paragraph of text.
pub fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// A figure with its caption.
pub fn figure(picture: &str, caption: &str) -> String {
    figure_over(picture, caption, "")
}

/// A figure with its caption, and more HTML below it.
pub fn figure_over(picture: &str, caption: &str, below: &str) -> String {
    format!("<figure>\n{picture}<figcaption>{}</figcaption>\n{below}</figure>\n", escape(caption))
}

/// HTML that opens under its summary, without a script: by the keyboard too, which also scrolls it. On paper it is as
/// it was on the screen.
///
/// ```
/// use batchnorm_page::markup::{details, paragraph};
///
/// let html = details("How it was measured", &paragraph("Once."));
/// assert!(html.contains("<summary>How it was measured</summary>") && html.contains("tabindex=\"0\""));
/// ```
pub fn details(summary: &str, content: &str) -> String {
    let summary = escape(summary);
    format!(
        "<details>\n<summary>{summary}</summary>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{summary}\">\n{content}</div>\n</details>\n"
    )
}
