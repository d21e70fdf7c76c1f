//! Plots as inline SVG: lines, bands and points over two axes, with a name and a description for those who do
//! not see them. Colours and sizes come from the page's style sheet, so they follow light and dark.

use maud::{Markup, html};

use super::axis::{Axis, Scale};

/// Size of the drawing in its own units; the page scales it.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;
/// Room for tick labels and axis names.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// What is drawn of a series.
#[derive(Clone, Debug)]
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

/// A shape of one colour; without a name it is left out of the legend.
#[derive(Clone, Debug)]
pub struct Series {
    name: Option<String>,
    colour: usize,
    shape: Shape,
}

/// A plot with its words, made step by step.
pub struct Plot {
    id: String,
    title: String,
    description: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
    marks: Vec<(f64, String)>,
    level: Option<f64>,
}

impl Series {
    /// A shape in the colour of this number, 0 to 9.
    pub fn new(colour: usize, shape: Shape) -> Self {
        Self { name: None, colour, shape }
    }

    /// The same, in the legend under this name.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Where it is drawn; a band or bar at both of its ends.
    fn points(&self) -> Vec<(f64, f64)> {
        match &self.shape {
            Shape::Line(points) | Shape::Thin(points) | Shape::Dashed(points) => points.clone(),
            Shape::Band(points) => points.iter().flat_map(|p| [(p.0, p.1), (p.0, p.2)]).collect(),
            Shape::Dots(points) => points.iter().map(|p| (p.0, p.1)).collect(),
            Shape::Bars(points) => points.iter().flat_map(|p| [(p.0, p.1), (p.0, p.3)]).collect(),
        }
    }
}

impl Plot {
    /// An empty plot; `id` is unique on the page and has no spaces, the title is also its accessible name.
    pub fn new(id: impl Into<String>, title: impl Into<String>, x: Axis, y: Axis) -> Self {
        let (id, title) = (id.into(), title.into());
        Self {
            id,
            title,
            description: String::new(),
            x,
            y,
            series: Vec::new(),
            marks: Vec::new(),
            level: None,
        }
    }

    /// What it shows, for those who cannot see it.
    pub fn describe(self, description: impl Into<String>) -> Self {
        Self { description: description.into(), ..self }
    }

    /// Drawn after those that are there.
    pub fn series(mut self, series: impl IntoIterator<Item = Series>) -> Self {
        self.series.extend(series);
        self
    }

    /// A vertical line at `x` with a label.
    pub fn mark(mut self, x: f64, label: impl Into<String>) -> Self {
        self.marks.push((x, label.into()));
        self
    }

    /// A horizontal line at this height, which the vertical axis reaches.
    pub fn level(self, level: f64) -> Self {
        Self { level: Some(level), ..self }
    }

    /// The figure: heading, drawing, legend.
    pub fn draw(&self) -> Markup {
        let points: Vec<(f64, f64)> = self.series.iter().flat_map(Series::points).collect();
        let x = self.x.scale(points.iter().map(|point| point.0));
        let y = self.y.scale(points.iter().map(|point| point.1).chain(self.level));
        Drawing { plot: self, x, y }.figure()
    }
}

/// A plot with the scales that its values give.
struct Drawing<'a> {
    plot: &'a Plot,
    x: Scale,
    y: Scale,
}

impl Drawing<'_> {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = LEFT + self.x.share_of(x) * (WIDTH - LEFT - RIGHT);
        (across, HEIGHT - BOTTOM - self.y.share_of(y) * (HEIGHT - TOP - BOTTOM))
    }

    /// The figure: heading, drawing, legend.
    fn figure(&self) -> Markup {
        let (title, description) = (format!("{}-title", self.plot.id), format!("{}-text", self.plot.id));
        html! {
            figure id=(self.plot.id) {
                figcaption { (self.plot.title) }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(format!("{title} {description}")) {
                    title id=(title) { (self.plot.title) }
                    desc id=(description) { (self.plot.description) }
                    (self.frame())
                    @for series in &self.plot.series { (self.series(series)) }
                    @for (x, label) in &self.plot.marks {
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
            @if let Some(level) = self.plot.level {
                @let (_, y) = self.at((0.0, level));
                path class="level" d=(format!("M{LEFT} {y:.1} H{right}")) {}
            }
            @for (value, label) in self.x.readable(WIDTH - LEFT - RIGHT) {
                @let (x, _) = self.at((value, 0.0));
                path class="axis" d=(format!("M{x:.1} {bottom} v4")) {}
                text class="tick" x=(format!("{x:.1}")) y=(bottom + 17.0) text-anchor="middle" { (label) }
            }
            path class="axis" d=(format!("M{LEFT} {TOP} V{bottom} H{right}")) {}
            text class="name" x=((LEFT + right) / 2.0) y=(HEIGHT - 8.0) text-anchor="middle" { (self.plot.x.name) }
            text class="name" transform=(format!("translate(12 {}) rotate(-90)", (TOP + bottom) / 2.0))
                text-anchor="middle" { (self.plot.y.name) }
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
            self.plot.series.iter().filter_map(|series| Some((series.name.as_ref()?, series))).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: Vec<(f64, f64)>) -> String {
        let line = Series::new(0, Shape::Line(points)).named("<b>");
        let plot = Plot::new("p", "a < b & c", Axis::share("x"), Axis::values("y")).describe("\"d\"");
        plot.series([line]).mark(0.5, "<script>").draw().into_string()
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
}
