//! The two axes of a plot: what they span and where their ticks are.

/// What an axis is about.
pub struct Axis {
    /// Beside it, with the unit.
    pub name: String,
    span: Span,
}

/// What an axis spans.
enum Span {
    /// All values that are drawn.
    Values,
    /// The same with ticks at whole numbers.
    Whole,
    /// From 0 to 1.
    Share,
    /// Logarithmic over these ticks.
    Logarithmic(Vec<(f64, String)>),
    /// A place for each name: 0, 1, 2 and so on.
    Places(Vec<String>),
}

/// An axis over the values that are drawn.
pub struct Scale {
    range: [f64; 2],
    logarithmic: bool,
    /// Places and labels of the ticks.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Over all values that are drawn.
    pub fn values(name: &str) -> Self {
        Self { name: name.into(), span: Span::Values }
    }

    /// From 0 to 1.
    pub fn share(name: &str) -> Self {
        Self { name: name.into(), span: Span::Share }
    }

    /// Optimizer steps.
    pub fn steps() -> Self {
        Self { name: "step".into(), span: Span::Whole }
    }

    /// Logarithmic, with ticks at the given places alone; all are above zero.
    pub fn logarithmic(name: &str, ticks: Vec<(f64, String)>) -> Self {
        Self { name: name.into(), span: Span::Logarithmic(ticks) }
    }

    /// One place per name: 0, 1, 2 and so on.
    pub fn places(name: &str, names: &[String]) -> Self {
        Self { name: name.into(), span: Span::Places(names.to_vec()) }
    }

    /// The axis for these values.
    pub fn scale(&self, values: impl Iterator<Item = f64>) -> Scale {
        match &self.span {
            Span::Share => Scale::spanning([0.0, 1.0]),
            Span::Values => Scale::spanning(around(values)),
            Span::Whole => {
                let range = around(values);
                Scale::with_step(range, round_step((range[1] - range[0]) / 4.0).ceil())
            }
            Span::Logarithmic(ticks) => {
                let low = ticks.iter().map(|tick| tick.0).fold(f64::INFINITY, f64::min);
                let high = ticks.iter().map(|tick| tick.0).fold(f64::NEG_INFINITY, f64::max);
                let margin = if high > low { (high / low).powf(0.06) } else { 1.5 };
                Scale { range: [low / margin, high * margin], logarithmic: true, ticks: ticks.clone() }
            }
            Span::Places(names) => {
                let ticks =
                    names.iter().enumerate().map(|(place, name)| (place as f64, name.clone())).collect();
                Scale { range: [-0.5, names.len() as f64 - 0.5], logarithmic: false, ticks }
            }
        }
    }
}

/// From the lowest to the highest of the finite values, with a margin.
fn around(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return [0.0, 1.0];
    }
    let margin = if high > low { 0.04 * (high - low) } else { 0.5 * high.abs().max(1e-9) };
    // Counts and losses do not go below zero, and neither should their axis.
    let floor = if low >= 0.0 { (low - margin).max(0.0) } else { low - margin };
    [floor, high + margin]
}

impl Scale {
    /// Ticks at round numbers within `range`.
    fn spanning(range: [f64; 2]) -> Self {
        Self::with_step(range, round_step((range[1] - range[0]) / 4.0))
    }

    fn with_step(range: [f64; 2], step: f64) -> Self {
        let first = (range[0] / step).ceil() as i64;
        let last = (range[1] / step + 1e-9).floor() as i64;
        let ticks = (first..=last).map(|i| (i as f64 * step, number(i as f64 * step, step)));
        Self { range, logarithmic: false, ticks: ticks.collect() }
    }

    /// Where a value lies, 0 to 1; values outside are put on the edge.
    pub fn share_of(&self, value: f64) -> f64 {
        let [low, high] = self.range;
        let share = if self.logarithmic {
            (value / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Ticks whose labels do not run into each other on this width, the last one preferred.
    pub fn readable(&self, width: f64) -> Vec<(f64, &str)> {
        const CHARACTER: f64 = 7.5;
        let mut kept: Vec<(f64, &str)> = Vec::new();
        let mut free = f64::INFINITY;
        for (value, label) in self.ticks.iter().rev() {
            let half = CHARACTER * label.chars().count() as f64 / 2.0;
            let middle = self.share_of(*value) * width;
            if middle + half <= free {
                kept.push((*value, label));
                free = middle - half - CHARACTER;
            }
        }
        kept
    }
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
        let labels =
            |range| -> Vec<String> { Scale::spanning(range).ticks.into_iter().map(|tick| tick.1).collect() };
        assert_eq!(labels([0.13, 0.98]), ["0.25", "0.50", "0.75"]);
        assert_eq!(labels([0.0, 23_000.0]).last().map(String::as_str), Some("20k"));
        assert_eq!(number(0.001, 0.0005), "0.0010");
    }

    #[test]
    fn crowded_tick_labels_give_way_to_the_last() {
        let ticks = [50.0, 52.0, 100.0, 1000.0].map(|labels| (labels, format!("{labels}")));
        let scale = Axis::logarithmic("labels", ticks.into()).scale(std::iter::empty());
        let kept: Vec<&str> = scale.readable(300.0).into_iter().map(|tick| tick.1).collect();
        assert_eq!(kept, ["1000", "100", "52"]);
    }
}
