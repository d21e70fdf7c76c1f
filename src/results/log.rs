//! `metrics.jsonl` as far as a report draws it: some values over steps.

use std::collections::BTreeMap;
use std::path::Path;

use crate::run_dir::{Line, Lines};

/// What is drawn; events hold more.
const DRAWN: [&str; 6] =
    ["train_loss", "train_loss_since_eval", "val_loss", "val_f1", "learning_rate", "grad_norm"];

/// Places of a curve that are kept, each with its lowest and highest value: several for each pixel of a page.
const PLACES: usize = 2048;

/// Values over optimizer steps by the key of their event, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    curves: BTreeMap<&'static str, Vec<(f64, f64)>>,
    /// Lines that hold no event and are left out.
    pub damaged: usize,
}

impl Log {
    /// Reads the log of the run at `path` line by line: it may be larger than memory. Of a long curve only what can be
    /// told apart on a page is kept. A last line cut short by a crash is left out; without a log nothing is drawn.
    pub fn read(path: &Path) -> Self {
        let Ok(Some(mut lines)) = Lines::of(path) else { return Self::default() };
        let mut curves: BTreeMap<&'static str, Curve> = BTreeMap::new();
        for line in lines.by_ref().map_while(Result::ok) {
            let Line::Event(event, _) = line else { continue };
            let number = |key: &str| event.get(key).and_then(serde_json::Value::as_f64);
            let Some(step) = number("step") else { continue };
            for key in DRAWN {
                if let Some(value) = number(key) {
                    curves.entry(key).or_default().push((step, value));
                }
            }
        }
        let curves = curves.into_iter().map(|(key, curve)| (key, curve.points())).collect();
        Self { curves, damaged: lines.damaged }
    }

    /// (step, value) of all events that have the key.
    pub fn curve(&self, key: &str) -> &[(f64, f64)] {
        self.curves.get(key).map_or(&[], Vec::as_slice)
    }
}

type Point = (f64, f64);

/// A curve of any length in bounded memory: places of equally many points, of which the lowest and the highest stay.
#[derive(Default)]
struct Curve {
    places: Vec<(Point, Point)>,
    /// Points of a full place, as a power of two, and points of the last one.
    doublings: u32,
    in_last: u64,
    ends: Option<(Point, Point)>,
}

impl Curve {
    fn push(&mut self, point: Point) {
        self.ends = Some((self.ends.map_or(point, |(first, _)| first), point));
        if self.in_last == 0 || self.in_last == 1 << self.doublings {
            if self.places.len() == PLACES {
                self.places =
                    self.places.chunks(2).map(|pair| joined(pair[0], pair[pair.len() - 1])).collect();
                self.doublings += 1;
            }
            self.places.push((point, point));
            self.in_last = 0;
        } else if let Some(last) = self.places.last_mut() {
            *last = joined(*last, (point, point));
        }
        self.in_last += 1;
    }

    /// All points of a short curve; of a long one its ends and the extremes between them.
    fn points(self) -> Vec<Point> {
        let Some((first, last)) = self.ends else { return Vec::new() };
        let extremes = self.places.into_iter().flat_map(|(low, high)| match low.0 <= high.0 {
            true => [low, high],
            false => [high, low],
        });
        let mut points = vec![first];
        points.extend(extremes.chain([last]));
        points.dedup();
        points
    }
}

/// Lowest and highest point of two places.
fn joined(a: (Point, Point), b: (Point, Point)) -> (Point, Point) {
    (if b.0.1 < a.0.1 { b.0 } else { a.0 }, if b.1.1 > a.1.1 { b.1 } else { a.1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_ends_and_extremes_and_a_short_one_every_point() {
        let short: Vec<Point> = (0..PLACES).map(|i| (i as f64, (i % 7) as f64)).collect();
        let curve = |points: &[Point]| {
            let mut curve = Curve::default();
            points.iter().for_each(|point| curve.push(*point));
            curve.points()
        };
        assert_eq!(curve(&short), short);
        let mut long: Vec<Point> = (0..300_001).map(|i| (i as f64, (f64::from(i) / 9.0).sin())).collect();
        (long[777].1, long[222_222].1) = (-5.0, 9.0);
        let kept = curve(&long);
        assert!(kept.len() <= 2 * PLACES + 2 && kept.len() > PLACES, "{}", kept.len());
        for point in [long[0], long[777], long[222_222], long[300_000]] {
            assert!(kept.contains(&point), "{point:?}");
        }
        assert!(kept.is_sorted_by_key(|point| point.0));
    }

    #[test]
    fn lines_cut_short_and_values_that_are_not_drawn_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let log = "{\"step\":1,\"train_loss\":0.7,\"tokens\":9}\n{\"step\":2,\"val_loss\":0.5,\
                   \"train_loss_since_eval\":0.6}\n{\"step\":3,\"val_lo";
        std::fs::write(folder.path().join("metrics.jsonl"), log).unwrap();
        let log = Log::read(folder.path());
        assert_eq!(log.curve("train_loss"), [(1.0, 0.7)]);
        assert!(log.curve("tokens").is_empty());
        assert_eq!(log.curve("val_loss"), [(2.0, 0.5)]);
        assert_eq!((log.damaged, Log::read(&folder.path().join("none"))), (0, Log::default()));
        std::fs::write(folder.path().join("metrics.jsonl"), b"\xff\n{\"step\":4,\"val_loss\":0.4}\n")
            .unwrap();
        let log = Log::read(folder.path());
        assert_eq!((log.damaged, log.curve("val_loss")), (1, &[(4.0, 0.4)][..]));
    }
}
