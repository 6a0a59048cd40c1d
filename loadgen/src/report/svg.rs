//! Plots as SVG text: lines over time, bars. Must not know what is plotted.

use std::fmt::Write as _;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 58.0;
const BOTTOM: f64 = 26.0;
const TOP: f64 = 8.0;
/// Told apart also without colour vision, on white and on black.
const COLOURS: [&str; 6] = ["#3b7dd8", "#d9822b", "#2a9d6f", "#b8478f", "#8a8f98", "#c44536"];

/// One line; a gap is where a value is missing.
pub struct Line {
    /// For the legend.
    pub name: String,
    /// (x, y).
    pub points: Vec<(f64, Option<f64>)>,
}

/// Escapes text for HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A figure with its caption.
fn figure(title: &str, legend: &[(String, &str)], body: &str) -> String {
    let keys: String = legend
        .iter()
        .map(|(name, colour)| format!("<span><i style=\"background:{colour}\"></i>{}</span>", escape(name)))
        .collect();
    format!(
        "<figure><figcaption>{}<div class=\"legend\">{keys}</div></figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">{body}</svg></figure>\n",
        escape(title),
        escape(title)
    )
}

/// A number for an axis: three figures are enough.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 1e6 => format!("{:.1}M", value / 1e6),
        large if large >= 10_000.0 => format!("{:.0}k", value / 1e3),
        large if large >= 10.0 => format!("{value:.0}"),
        large if large >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Lines over a common x axis from 0; y from 0, or logarithmic.
pub fn lines(title: &str, x_unit: &str, logarithmic: bool, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let x_most = all().map(|(x, _)| *x).fold(1.0, f64::max);
    let values = || all().filter_map(|(_, y)| *y).filter(|y| y.is_finite());
    let y_most = values().fold(0.0, f64::max);
    if values().next().is_none() {
        return figure(title, &[], "<text x=\"20\" y=\"30\">nothing was measured</text>");
    }
    let y_least = values().filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min).min(y_most.max(1e-3)).max(1e-3);
    let (low, high) = match logarithmic {
        true => (y_least.log10().floor(), y_most.max(y_least * 10.0).log10().ceil()),
        false => (values().fold(0.0, f64::min), if y_most > 0.0 { y_most * 1.05 } else { 1.0 }),
    };
    let place_x = |x: f64| LEFT + x / x_most * (WIDTH - LEFT - 10.0);
    let place_y = |y: f64| {
        let at = if logarithmic { y.max(10_f64.powf(low)).log10() } else { y };
        HEIGHT - BOTTOM - (at - low) / (high - low).max(1e-9) * (HEIGHT - BOTTOM - TOP)
    };
    let ticks: Vec<f64> = match logarithmic {
        true => (low as i32..=high as i32).map(|power| 10_f64.powi(power)).collect(),
        false => (0..=4).map(|step| low + (high - low) * f64::from(step) / 4.0).collect(),
    };
    let mut body = axes(&ticks, place_y, x_most, place_x, x_unit);
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let mut path = String::new();
        let mut down = false;
        for (x, y) in &line.points {
            let Some(y) = y.filter(|y| y.is_finite()) else {
                down = false;
                continue;
            };
            // Writing to a String cannot fail.
            let _ = write!(path, "{}{:.1} {:.1}", if down { 'L' } else { 'M' }, place_x(*x), place_y(y));
            down = true;
        }
        let _ = write!(body, "<path d=\"{path}\" stroke=\"{colour}\"/>");
    }
    let legend: Vec<(String, &str)> =
        lines.iter().zip(COLOURS.iter().cycle()).map(|(line, colour)| (line.name.clone(), *colour)).collect();
    figure(title, &legend, &body)
}

fn axes(
    ticks: &[f64],
    place_y: impl Fn(f64) -> f64,
    x_most: f64,
    place_x: impl Fn(f64) -> f64,
    x_unit: &str,
) -> String {
    let mut body = String::new();
    for tick in ticks {
        let (y, right) = (place_y(*tick), WIDTH - 10.0);
        let _ = write!(
            body,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" class=\"y\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            short(*tick)
        );
    }
    for step in 0..=4 {
        let x = x_most * f64::from(step) / 4.0;
        let unit = if step == 4 { format!(" {}", escape(x_unit)) } else { String::new() };
        let anchor = if step == 4 { "y" } else { "x" };
        let _ = write!(
            body,
            "<text x=\"{:.1}\" y=\"{}\" class=\"{anchor}\">{}{unit}</text>",
            place_x(x),
            HEIGHT - 6.0,
            short(x)
        );
    }
    body
}

/// Upright bars, such as a histogram's.
pub fn columns(title: &str, bars: &[(String, f64)]) -> String {
    let most = bars.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    let width = (WIDTH - LEFT - 10.0) / bars.len().max(1) as f64;
    let place_y = |value: f64| HEIGHT - BOTTOM - value / most * (HEIGHT - BOTTOM - TOP);
    let ticks = [0.0, most / 2.0, most];
    let mut body = axes_of_columns(&ticks, place_y);
    let every = bars.len().div_ceil(8).max(1);
    for (index, (name, value)) in bars.iter().enumerate() {
        let (x, y) = (LEFT + width * index as f64, place_y(*value));
        let _ = write!(
            body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{}: {}</title></rect>",
            (width - 1.0).max(0.5),
            HEIGHT - BOTTOM - y,
            COLOURS[0],
            escape(name),
            short(*value)
        );
        if index.is_multiple_of(every) {
            let at = x + width / 2.0;
            let _ = write!(body, "<text x=\"{at:.1}\" y=\"{}\" class=\"x\">{}</text>", HEIGHT - 6.0, escape(name));
        }
    }
    figure(title, &[], &body)
}

fn axes_of_columns(ticks: &[f64], place_y: impl Fn(f64) -> f64) -> String {
    let mut body = String::new();
    for tick in ticks {
        let y = place_y(*tick);
        let _ = write!(
            body,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" class=\"y\">{}</text>",
            WIDTH - 10.0,
            LEFT - 6.0,
            y + 4.0,
            short(*tick)
        );
    }
    body
}

/// Lying bars with a name and a value each; several parts make one bar.
pub fn bars(title: &str, legend: &[&str], rows: &[(String, Vec<f64>)], unit: &str) -> String {
    let most = rows.iter().map(|(_, parts)| parts.iter().sum::<f64>()).fold(1e-9, f64::max);
    let step = (HEIGHT - TOP) / rows.len().max(1) as f64;
    let left = 130.0;
    let mut body = String::new();
    for (index, (name, parts)) in rows.iter().enumerate() {
        let y = TOP + step * index as f64;
        let height = (step * 0.7).min(22.0);
        let _ = write!(body, "<text x=\"4\" y=\"{:.1}\">{}</text>", y + height * 0.75, escape(name));
        let mut x = left;
        for (part, colour) in parts.iter().zip(COLOURS.iter().cycle()) {
            let width = part / most * (WIDTH - left - 90.0);
            let _ = write!(
                body,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
            );
            x += width;
        }
        let sum: f64 = parts.iter().sum();
        let text = format!("{} {unit}", short(sum));
        let _ = write!(body, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 6.0, y + height * 0.75, escape(&text));
    }
    let legend: Vec<(String, &str)> =
        legend.iter().zip(COLOURS.iter().cycle()).map(|(name, colour)| ((*name).to_owned(), *colour)).collect();
    figure(title, &legend, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_stay_within_their_frame_and_gaps_are_gaps() {
        let line = Line { name: "a<b".to_owned(), points: vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(5_000.0))] };
        for logarithmic in [false, true] {
            let plot = lines("t", "s", logarithmic, &[Line { name: line.name.clone(), points: line.points.clone() }]);
            let path = plot.split("d=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 0), "{path}");
            let numbers = path.split(['M', 'L', ' ']).filter_map(|text| text.parse::<f64>().ok());
            assert!(numbers.clone().count() == 4 && numbers.clone().all(|n| (0.0..=WIDTH).contains(&n)), "{path}");
            assert!(plot.contains("a&lt;b") && !plot.contains("NaN"));
            let heights: Vec<&str> = plot.split("y1=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            let different: std::collections::BTreeSet<&&str> = heights.iter().collect();
            assert_eq!(different.len(), heights.len(), "two ticks in one place: {heights:?}");
        }
    }

    #[test]
    fn nothing_measured_is_said() {
        assert!(lines("t", "s", true, &[]).contains("nothing was measured"));
        assert!(!columns("t", &[]).contains("NaN") && !bars("t", &[], &[], "s").contains("NaN"));
    }
}
