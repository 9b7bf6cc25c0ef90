//! The ratios that have an aim, drawn: a bar each, and a mark where the aim is.

use std::fmt::Write as _;

use super::report::{Ratio, Report, median, number};

const WIDTH: usize = 970;
const LEFT: usize = 540;
const RIGHT: usize = 70;
const ROW: usize = 26;
const TOP: usize = 54;

/// An SVG of the report.
pub fn draw(report: &Report) -> String {
    let ratios: Vec<&Ratio> = report
        .ratios
        .iter()
        // Of an aim of nothing no part can be drawn.
        .filter(|ratio| ratio.aim.is_some_and(|aim| aim > 0.0))
        .collect();
    let height = TOP + ROW * ratios.len() + 20;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"15\" font-weight=\"bold\">boardlock beside its peers, \
         as parts of what is aimed at</text>\n\
         <text x=\"10\" y=\"38\" fill=\"#57606a\">{}; medians of {} rounds</text>\n",
        escaped(&report.machine),
        report.rounds,
    );
    // The bar of what is just as aimed at ends here.
    let aimed = (WIDTH - LEFT - RIGHT) * 6 / 10;
    for (row, ratio) in ratios.iter().enumerate() {
        let value = median(&ratio.values);
        let aim = ratio.aim.unwrap_or(1.0);
        let reached = if ratio.more {
            value >= aim
        } else {
            value <= aim
        };
        let color = if reached { "#2da44e" } else { "#bf8700" };
        let length = (value / aim * aimed as f64).min((WIDTH - LEFT - RIGHT) as f64);
        let y = TOP + row * ROW;
        let (text, mark, end) = (y + 14, LEFT + aimed, LEFT + length as usize + 6);
        let sign = if ratio.more { "at least" } else { "at most" };
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.0}\" height=\"18\" fill=\"{color}\"/>\n\
             <line x1=\"{mark}\" x2=\"{mark}\" y1=\"{}\" y2=\"{}\" stroke=\"#24292f\" \
             stroke-dasharray=\"3 2\"/>\n\
             <text x=\"{end}\" y=\"{text}\">{} <tspan fill=\"#57606a\">({sign} {aim})</tspan></text>\n",
            LEFT - 8,
            escaped(&ratio.title),
            y - 3,
            y + 21,
            number(value),
        );
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
