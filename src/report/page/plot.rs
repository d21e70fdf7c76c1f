//! Plots as inline SVG: lines, bands and points over two axes, with a name and a description for those who do
//! not see them. Colours and sizes come from the page's style sheet, so they follow light and dark.

use maud::{Markup, html};

/// Size of the drawing in its own units; the page scales it.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;
/// Room for tick labels and axis names.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// One axis.
pub struct Axis {
    name: String,
    range: [f64; 2],
    logarithmic: bool,
    ticks: Vec<(f64, String)>,
}

/// What is drawn of a series.
pub enum Shape {
    /// Points joined in order.
    Line(Vec<(f64, f64)>),
    /// The same, thin and faint: one of several beside their mean.
    Thin(Vec<(f64, f64)>),
    /// Points joined in order, dashed.
    Dashed(Vec<(f64, f64)>),
    /// The area between low and high at each x.
    Band(Vec<(f64, f64, f64)>),
    /// Points, each with what it says when pointed at.
    Dots(Vec<(f64, f64, String)>),
    /// A vertical line from low to high with a mark at the middle: x, low, middle, high.
    Bars(Vec<(f64, f64, f64, f64)>),
}

/// Shapes of one colour under one name; without a name it is left out of the legend.
pub struct Series {
    /// In the legend.
    pub name: Option<String>,
    /// Number of its colour, 0 to 7.
    pub colour: usize,
    /// Drawn in order.
    pub shape: Shape,
}

/// A plot with its words.
pub struct Plot {
    /// Unique on the page, without spaces.
    pub id: String,
    /// Heading above it and its accessible name.
    pub title: String,
    /// What it shows, for those who cannot see it.
    pub description: String,
    /// Horizontal.
    pub x: Axis,
    /// Vertical.
    pub y: Axis,
    /// Drawn in order.
    pub series: Vec<Series>,
    /// Vertical lines at these places, with a label.
    pub marks: Vec<(f64, String)>,
    /// A horizontal line at this height.
    pub level: Option<f64>,
}

impl Series {
    /// A named line.
    pub fn line(name: &str, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self { name: Some(name.into()), colour, shape: Shape::Line(points) }
    }

    /// A named dashed line.
    pub fn dashed(name: &str, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self { name: Some(name.into()), colour, shape: Shape::Dashed(points) }
    }

    /// Where it is drawn; a band or bar at both of its ends.
    pub fn points(&self) -> Vec<(f64, f64)> {
        match &self.shape {
            Shape::Line(points) | Shape::Thin(points) | Shape::Dashed(points) => points.clone(),
            Shape::Band(points) => points.iter().flat_map(|p| [(p.0, p.1), (p.0, p.2)]).collect(),
            Shape::Dots(points) => points.iter().map(|p| (p.0, p.1)).collect(),
            Shape::Bars(points) => points.iter().flat_map(|p| [(p.0, p.1), (p.0, p.3)]).collect(),
        }
    }
}

impl Axis {
    /// From 0 to 1.
    pub fn share(name: &str) -> Self {
        Self::spanning(name, [0.0, 1.0])
    }

    /// Over all values of the series, `x` or `y` of each point.
    pub fn over(name: &str, series: &[Series], value: fn(&(f64, f64)) -> f64) -> Self {
        let values: Vec<f64> = series
            .iter()
            .flat_map(Series::points)
            .map(|point| value(&point))
            .filter(|v| v.is_finite())
            .collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return Self::spanning(name, [0.0, 1.0]);
        }
        let margin = if high > low { 0.04 * (high - low) } else { 0.5 * high.abs().max(1e-9) };
        // Counts and losses do not go below zero, and neither should their axis.
        let floor = if low >= 0.0 { (low - margin).max(0.0) } else { low - margin };
        Self::spanning(name, [floor, high + margin])
    }

    /// Optimizer steps, over all values of the series; ticks are whole.
    pub fn steps(series: &[Series]) -> Self {
        let Self { name, range, .. } = Self::over("step", series, |point| point.0);
        Self::with_step(&name, range, round_step((range[1] - range[0]) / 4.0).ceil())
    }

    /// Ticks at round numbers within `range`.
    pub fn spanning(name: &str, range: [f64; 2]) -> Self {
        Self::with_step(name, range, round_step((range[1] - range[0]) / 4.0))
    }

    fn with_step(name: &str, range: [f64; 2], step: f64) -> Self {
        let first = (range[0] / step).ceil() as i64;
        let last = (range[1] / step + 1e-9).floor() as i64;
        let ticks = (first..=last).map(|i| (i as f64 * step, number(i as f64 * step, step)));
        Self { name: name.into(), range, logarithmic: false, ticks: ticks.collect() }
    }

    /// Logarithmic, with ticks at the given places alone; all are above zero.
    pub fn logarithmic(name: &str, ticks: Vec<(f64, String)>) -> Self {
        let low = ticks.iter().map(|tick| tick.0).fold(f64::INFINITY, f64::min);
        let high = ticks.iter().map(|tick| tick.0).fold(f64::NEG_INFINITY, f64::max);
        let margin = if high > low { (high / low).powf(0.06) } else { 1.5 };
        Self { name: name.into(), range: [low / margin, high * margin], logarithmic: true, ticks }
    }

    /// One place per name: 0, 1, 2 and so on.
    pub fn places(name: &str, names: &[String]) -> Self {
        let ticks = names.iter().enumerate().map(|(place, name)| (place as f64, name.clone())).collect();
        Self { name: name.into(), range: [-0.5, names.len() as f64 - 0.5], logarithmic: false, ticks }
    }

    /// Where a value lies, 0 to 1; values outside are put on the edge.
    fn share_of(&self, value: f64) -> f64 {
        let [low, high] = self.range;
        let share = if self.logarithmic {
            (value / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

impl Plot {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = LEFT + self.x.share_of(x) * (WIDTH - LEFT - RIGHT);
        (across, HEIGHT - BOTTOM - self.y.share_of(y) * (HEIGHT - TOP - BOTTOM))
    }

    /// The figure: heading, drawing, legend.
    pub fn draw(&self) -> Markup {
        let (title, description) = (format!("{}-title", self.id), format!("{}-text", self.id));
        html! {
            figure id=(self.id) {
                figcaption { (self.title) }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(format!("{title} {description}")) {
                    title id=(title) { (self.title) }
                    desc id=(description) { (self.description) }
                    (self.frame())
                    @for series in &self.series { (self.series(series)) }
                    @for (x, label) in &self.marks {
                        @let (across, _) = self.at((*x, 0.0));
                        path class="mark" d=(format!("M{across:.1} {TOP} V{:.1}", HEIGHT - BOTTOM)) {}
                        @let right = across > WIDTH / 2.0;
                        text class="tick" x=(format!("{:.1}", if right { across - 4.0 } else { across + 4.0 }))
                            y=(format!("{:.1}", TOP + 11.0)) text-anchor=(if right { "end" } else { "start" }) { (label) }
                    }
                }
                (self.legend())
            }
        }
    }

    fn frame(&self) -> Markup {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        html! {
            @for (value, label) in &self.y.ticks {
                @let (_, y) = self.at((0.0, *value));
                path class="grid" d=(format!("M{LEFT} {y:.1} H{right}")) {}
                text class="tick" x=(LEFT - 6.0) y=(format!("{:.1}", y + 4.0)) text-anchor="end" { (label) }
            }
            @if let Some(level) = self.level {
                @let (_, y) = self.at((0.0, level));
                path class="level" d=(format!("M{LEFT} {y:.1} H{right}")) {}
            }
            @for (value, label) in readable(&self.x, WIDTH - LEFT - RIGHT) {
                @let (x, _) = self.at((value, 0.0));
                path class="axis" d=(format!("M{x:.1} {bottom} v4")) {}
                text class="tick" x=(format!("{x:.1}")) y=(bottom + 17.0) text-anchor="middle" { (label) }
            }
            path class="axis" d=(format!("M{LEFT} {TOP} V{bottom} H{right}")) {}
            text class="name" x=((LEFT + right) / 2.0) y=(HEIGHT - 8.0) text-anchor="middle" { (self.x.name) }
            text class="name" transform=(format!("translate(12 {}) rotate(-90)", (TOP + bottom) / 2.0))
                text-anchor="middle" { (self.y.name) }
        }
    }

    fn series(&self, series: &Series) -> Markup {
        let class = format!("c{}", series.colour);
        match &series.shape {
            Shape::Line(points) => self.stroke(&format!("{class} line"), points),
            Shape::Thin(points) => self.stroke(&format!("{class} thin"), points),
            Shape::Dashed(points) => self.stroke(&format!("{class} line dashed"), points),
            Shape::Band(points) => {
                let low = points.iter().map(|p| (p.0, p.1));
                let high = points.iter().rev().map(|p| (p.0, p.2));
                let around: Vec<(f64, f64)> = low.chain(high).collect();
                html! { path class=(format!("{class} band")) d=(format!("{} Z", self.path(&around))) {} }
            }
            Shape::Dots(points) => html! {
                @for (x, y, says) in points {
                    @let (across, down) = self.at((*x, *y));
                    circle class=(format!("{class} dot")) cx=(format!("{across:.1}")) cy=(format!("{down:.1}")) r="4" {
                        title { (says) }
                    }
                }
            },
            Shape::Bars(points) => html! {
                @for (x, low, middle, high) in points {
                    @let ((across, from), (_, to)) = (self.at((*x, *low)), self.at((*x, *high)));
                    @let (_, mark) = self.at((*x, *middle));
                    path class=(format!("{class} line"))
                        d=(format!("M{across:.1} {from:.1} V{to:.1} M{:.1} {from:.1} h10 M{:.1} {to:.1} h10", across - 5.0, across - 5.0)) {}
                    circle class=(format!("{class} dot")) cx=(format!("{across:.1}")) cy=(format!("{mark:.1}")) r="5" {
                        title { (format!("{middle:+.3} [{low:+.3}, {high:+.3}]")) }
                    }
                }
            },
        }
    }

    /// A line through the points; a single one, which no line shows, as a dot.
    fn stroke(&self, class: &str, points: &[(f64, f64)]) -> Markup {
        html! {
            @if let [point] = points {
                @let (x, y) = self.at(*point);
                circle class=(format!("{class} dot")) cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="3" {}
            } @else {
                path class=(class) d=(self.path(points)) {}
            }
        }
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (index, point) in thinned(points).into_iter().enumerate() {
            let (x, y) = self.at(point);
            path.push_str(&format!("{}{x:.1} {y:.1} ", if index == 0 { 'M' } else { 'L' }));
        }
        path.trim_end().to_string()
    }

    fn legend(&self) -> Markup {
        let named: Vec<(&String, &Series)> =
            self.series.iter().filter_map(|series| Some((series.name.as_ref()?, series))).collect();
        html! {
            @if named.len() > 1 {
                ul class="legend" {
                    @for (name, series) in named {
                        li { (swatch(series)) (name) }
                    }
                }
            }
        }
    }
}

/// A short piece of the series as it is drawn.
fn swatch(series: &Series) -> Markup {
    let class = format!("c{}", series.colour);
    html! {
        svg class="swatch" viewBox="0 0 24 10" aria-hidden="true" {
            @match series.shape {
                Shape::Dots(_) => circle class=(format!("{class} dot")) cx="12" cy="5" r="4" {},
                Shape::Dashed(_) => path class=(format!("{class} line dashed")) d="M0 5 H24" {},
                _ => path class=(format!("{class} line")) d="M0 5 H24" {},
            }
        }
    }
}

/// Points of one line at most: a page of a long run stays small, and no screen shows more.
const MAX_POINTS: usize = 400;

/// Every so-manieth point, the last always.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(MAX_POINTS).max(1);
    let mut kept: Vec<(f64, f64)> = points.iter().copied().step_by(every).collect();
    if let (Some(last), true) = (points.last(), every > 1) {
        kept.push(*last);
    }
    kept
}

/// Ticks whose labels do not run into each other, the last one preferred.
fn readable(axis: &Axis, width: f64) -> Vec<(f64, &str)> {
    const CHARACTER: f64 = 7.5;
    let mut kept: Vec<(f64, &str)> = Vec::new();
    let mut free = f64::INFINITY;
    for (value, label) in axis.ticks.iter().rev() {
        let (middle, half) = (axis.share_of(*value) * width, CHARACTER * label.chars().count() as f64 / 2.0);
        if middle + half <= free {
            kept.push((*value, label));
            free = middle - half - CHARACTER;
        }
    }
    kept
}

/// The nearest of 1, 2, 2.5 and 5 times a power of ten at or above `step`.
fn round_step(step: f64) -> f64 {
    let unit = 10_f64.powf(step.max(f64::MIN_POSITIVE).log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|factor| factor * unit >= step * 0.999);
    factor.unwrap_or(10.0) * unit
}

/// With as many decimals as the step between ticks needs; thousands in short.
fn number(value: f64, step: f64) -> String {
    if value != 0.0 && step < 1e-4 {
        return format!("{value:.0e}");
    }
    if step >= 1000.0 {
        let thousands = value / 1000.0;
        return if thousands.fract() == 0.0 {
            format!("{thousands:.0}k")
        } else {
            format!("{thousands:.1}k")
        };
    }
    let decimals = (0..6).find(|d| (step * 10_f64.powi(*d)).fract().abs() < 1e-6).unwrap_or(6);
    format!("{value:.*}", decimals as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::spanning("x", [0.13, 0.98]);
        assert_eq!(
            axis.ticks.iter().map(|tick| tick.1.as_str()).collect::<Vec<_>>(),
            ["0.25", "0.50", "0.75"]
        );
        let axis = Axis::spanning("x", [0.0, 23_000.0]);
        assert_eq!(axis.ticks.last().map(|tick| tick.1.as_str()), Some("20k"));
        assert_eq!(number(0.001, 0.0005), "0.0010");
    }

    fn drawn(points: Vec<(f64, f64)>) -> String {
        let series = vec![Series::line("<b>", 0, points)];
        let plot = Plot {
            id: "p".into(),
            title: "a < b & c".into(),
            description: "\"d\"".into(),
            x: Axis::share("x"),
            y: Axis::over("y", &series, |point| point.1),
            series,
            marks: vec![(0.5, "<script>".into())],
            level: None,
        };
        plot.draw().into_string()
    }

    #[test]
    fn a_line_of_one_point_is_a_dot() {
        assert!(drawn(vec![(0.5, 1.0)]).contains("<circle"));
        assert!(!drawn(vec![(0.5, 1.0), (0.6, 1.0)]).contains("<circle"));
    }

    #[test]
    fn texts_are_escaped_and_points_stay_inside() {
        let drawn = drawn(vec![(0.0, f64::NAN), (5.0, 2.0), (1e9, -7.0)]);
        assert!(drawn.contains("a &lt; b &amp; c") && !drawn.contains("<script>"), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }

    #[test]
    fn long_lines_are_thinned_and_keep_their_end() {
        let points: Vec<(f64, f64)> = (0..10_001).map(|x| (f64::from(x), 0.0)).collect();
        let kept = thinned(&points);
        assert!(kept.len() <= MAX_POINTS + 1 && kept.last() == points.last());
    }

    #[test]
    fn crowded_tick_labels_give_way_to_the_last() {
        let ticks = [50.0, 52.0, 100.0, 1000.0].map(|labels| (labels, format!("{labels}")));
        let axis = Axis::logarithmic("labels", ticks.into());
        let kept: Vec<&str> = readable(&axis, 300.0).into_iter().map(|tick| tick.1).collect();
        assert_eq!(kept, ["1000", "100", "52"]);
    }
}
