//! A curve as SVG, drawn with the colours of the page that it stands in.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 44.0;
const TOP: f64 = 12.0;
const RIGHT: f64 = 28.0;
/// Lines of the grid in each direction.
const STEPS: usize = 4;

/// An axis.
pub(super) struct Axis<'a> {
    pub(super) name: &'a str,
    pub(super) from: f64,
    pub(super) to: f64,
    /// How a value is written.
    pub(super) write: fn(f64) -> String,
}

impl Axis<'_> {
    fn place(&self, value: f64) -> f64 {
        let span = self.to - self.from;
        if span > 0.0 { ((value - self.from) / span).clamp(0.0, 1.0) } else { 0.5 }
    }

    fn at(&self, step: usize) -> f64 {
        self.from + (self.to - self.from) * step as f64 / STEPS as f64
    }
}

/// Draws `points` (x, y), joined in their order. `title` is what a screen reader says.
pub(super) fn curve(title: &str, x: &Axis<'_>, y: &Axis<'_>, points: &[(f64, f64)]) -> String {
    let across = |value: f64| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
    let down = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><g class="grid">"#
    );
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    // Writing to a string cannot fail.
    for step in 0..=STEPS {
        let (column, row) = (across(x.at(step)), down(y.at(step)));
        let _ = write!(svg, r#"<path d="M{column:.1} {TOP}V{bottom}M{LEFT} {row:.1}H{right}"/>"#);
    }
    svg += "</g>";
    for step in 0..=STEPS {
        let (column, row) = (across(x.at(step)), down(y.at(step)));
        let (under, beside) = ((x.write)(x.at(step)), (y.write)(y.at(step)));
        let _ = write!(
            svg,
            r#"<text x="{column:.1}" y="{}" text-anchor="middle">{under}</text>"#,
            bottom + 16.0
        );
        let _ = write!(
            svg,
            r#"<text x="{}" y="{:.1}" text-anchor="end">{beside}</text>"#,
            LEFT - 6.0,
            row + 4.0
        );
    }
    let places: Vec<String> =
        points.iter().map(|&(px, py)| format!("{:.1},{:.1}", across(px), down(py))).collect();
    let _ = write!(svg, r#"<polyline class="curve" points="{}"/>"#, places.join(" "));
    let _ = write!(
        svg,
        r#"<text x="{}" y="{}" text-anchor="middle">{}</text>"#,
        (LEFT + right) / 2.0,
        HEIGHT - 6.0,
        x.name
    );
    let middle = (TOP + bottom) / 2.0;
    let _ = write!(
        svg,
        r#"<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{}</text></svg>"#,
        y.name
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_between_the_axes() {
        let axis = |to| Axis { name: "a", from: 0.0, to, write: |v| format!("{v:.1}") };
        let svg = curve("t", &axis(10.0), &axis(1.0), &[(0.0, 0.0), (10.0, 1.0), (5.0, 2.0)]);
        assert!(svg.contains(r#"points="64.0,196.0 612.0,12.0 338.0,12.0""#), "{svg}");
        assert!(svg.contains(">10.0</text>") && svg.contains(">0.5</text>"));
        let flat = curve("t", &axis(0.0), &axis(0.0), &[(0.0, 0.0)]);
        assert!(!flat.contains("NaN"), "{flat}");
    }
}
