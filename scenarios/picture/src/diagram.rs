//! Values over the time of the run, below the lanes.

use super::{LEFT, Picture, WIDTH, escape};

/// The height of a diagram.
pub(super) const HEIGHT: f64 = 120.0;

/// Curves that share one axis.
#[derive(Debug, Clone)]
pub struct Diagram {
    /// What the axis counts.
    pub axis: String,
    /// What the curves are, one sentence.
    pub caption: String,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// Values by the second of the run, in order.
#[derive(Debug, Clone)]
pub struct Curve {
    /// `grey`, `green` or `purple`; with ` dashed` behind it the line is.
    pub colour: &'static str,
    /// Whether each value stands for itself, so that no line joins them.
    pub points: bool,
    /// Second and value.
    pub values: Vec<(f64, f64)>,
}

impl Picture<'_> {
    pub(super) fn diagram(&mut self, diagram: &Diagram, top: f64) {
        let values = diagram.curves.iter().flat_map(|curve| &curve.values);
        let most = values.map(|(_, value)| *value).fold(1.0, f64::max);
        self.axis(&diagram.axis, most, top);
        for curve in &diagram.curves {
            self.curve(curve, most, top);
        }
        self.shapes +=
            &format!("<text x=\"{:.0}\" y=\"{:.0}\">{}</text>", LEFT + 8.0, top + 14.0, escape(&diagram.caption));
    }

    fn axis(&mut self, name: &str, most: f64, top: f64) {
        let (bottom, right) = (top + HEIGHT, LEFT + WIDTH);
        self.shapes += &format!(
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom:.0}\" y2=\"{bottom:.0}\" class=\"axis\"/>\
             <line x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{top:.0}\" y2=\"{bottom:.0}\" class=\"axis\"/>\
             <text x=\"4\" y=\"{:.0}\">{}</text><text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{most:.0}</text>",
            top + HEIGHT / 2.0,
            escape(name),
            LEFT - 6.0,
            top + 10.0
        );
    }

    fn curve(&mut self, curve: &Curve, most: f64, top: f64) {
        let place = |&(second, value): &(f64, f64)| (self.x(second), top + HEIGHT - value / most * (HEIGHT - 4.0));
        let places = curve.values.iter().map(place);
        let shape = if curve.points {
            let point = |(x, y)| format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" class=\"point\"/>");
            places.map(point).collect::<String>()
        } else {
            let points: String = places.map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
            format!("<polyline points=\"{points}\" class=\"{}\"/>", curve.colour)
        };
        self.shapes += &shape;
    }
}
