//! A page of HTML, and a chart as a file of its own: with the styles of both.

use super::chart::Chart;
use super::markup::escape;

const STYLE: &str = include_str!("style.css");
/// Colours, lines and text of charts: the part of the style that a picture alone needs.
const CHART_STYLE: &str = include_str!("chart.css");

/// A page with a head and sections.
pub fn page(title: &str, head: &str, sections: &str) -> String {
    let title = escape(title);
    // The policy makes browsers refuse any request, should one ever slip in.
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{CHART_STYLE}{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<h1>{title}</h1>\n{head}</header>\n{sections}</main>\n</body>\n</html>\n"
    )
}

/// A chart as a file of its own.
pub fn alone(chart: &Chart) -> String {
    let (title, text) = (escape(&chart.title), escape(&chart.description));
    let (width, height) = (chart.width, chart.height);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {width} {height}\" \
         width=\"{}\" height=\"{}\" role=\"img\" aria-labelledby=\"title text\">\n\
         <title id=\"title\">{title}</title>\n<desc id=\"text\">{text}</desc>\n<style>\n{CHART_STYLE}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>\n",
        1.6 * width,
        1.6 * height,
        chart.content()
    )
}
