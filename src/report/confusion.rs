//! The confusion matrix as a drawing.

use maud::{Markup, html};

use crate::metrics::Scores;

/// Labels up to this many stand above their columns; more are numbered there, since their names would run into
/// each other.
const NAMED_COLUMNS: usize = 4;

/// Rows by true label, columns by predicted label, shaded by share of the row. `counts` may be means over runs.
pub fn confusion(title: &str, names: &[&str], counts: &[Vec<f64>]) -> Markup {
    let side = 300.0 / names.len() as f64;
    let numbered = names.len() > NAMED_COLUMNS;
    let short = |name: &str, most: usize| -> String {
        if name.chars().count() > most {
            name.chars().take(most - 1).chain(['…']).collect()
        } else {
            name.into()
        }
    };
    let row_name = |at: usize| match numbered {
        true => format!("{} {}", short(names[at], 8), at + 1),
        false => short(names[at], 11),
    };
    let column_name = |at: usize| if numbered { (at + 1).to_string() } else { short(names[at], 11) };
    // Means over runs have one decimal, unless all are whole.
    let whole = counts.iter().flatten().all(|count| count.fract() == 0.0);
    let number = |count: f64| if whole { format!("{count:.0}") } else { format!("{count:.1}") };
    let words = counts.iter().zip(names).map(|(row, truth)| {
        let predicted =
            row.iter().zip(names).map(|(count, name)| format!("{} predicted as {name}", number(*count)));
        format!("Of {truth}: {}.", predicted.collect::<Vec<_>>().join(", "))
    });
    let words: Vec<String> = words.collect();
    let id = title.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    html! {
        figure id=(id) {
            figcaption { (title) }
            svg viewBox=(format!("0 0 400 {}", 300.0 * 0.72 + 54.0)) role="img" aria-labelledby=(format!("{id}-title {id}-text")) {
                title id=(format!("{id}-title")) { (title) }
                desc id=(format!("{id}-text")) { (words.join(" ")) }
                @for (r, row) in counts.iter().enumerate() {
                    @let height = side * 0.72;
                    @let y = 24.0 + r as f64 * height;
                    text x="86" y=(format!("{:.1}", y + height / 2.0 + 4.0)) text-anchor="end" { (row_name(r)) }
                    @for (c, count) in row.iter().enumerate() {
                        @let x = 92.0 + c as f64 * side;
                        @let share = count / row.iter().sum::<f64>().max(f64::MIN_POSITIVE);
                        rect class=(if r == c { "cell c3" } else { "cell c1" }) x=(format!("{x:.1}")) y=(format!("{y:.1}"))
                            width=(format!("{:.1}", side - 3.0)) height=(format!("{:.1}", height - 3.0)) rx="3"
                            opacity=(format!("{:.2}", 0.07 + 0.4 * share)) {}
                        text class="value" x=(format!("{:.1}", x + side / 2.0)) y=(format!("{:.1}", y + height / 2.0 + 4.0))
                            text-anchor="middle" { (number(*count)) }
                    }
                }
                @for c in 0..names.len() {
                    text x=(format!("{:.1}", 92.0 + (c as f64 + 0.5) * side)) y="16" text-anchor="middle" { (column_name(c)) }
                }
                text class="name" x="242" y=(format!("{:.1}", 300.0 * 0.72 + 44.0)) text-anchor="middle" { "predicted (columns), true (rows)" }
            }
        }
    }
}

/// Names of the labels in the order of the matrix.
pub fn names(scores: &Scores) -> Vec<&str> {
    scores.per_class.iter().map(|class| class.label.as_str()).collect()
}
