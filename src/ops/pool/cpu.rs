//! Pooling kernels. They touch a few numbers per row and column, so they run on one thread.

use super::super::base::real::Real;
use super::super::base::rows::add_to;
use super::Pool;

pub fn forward<T: Real>(x: &[T], lengths: &[usize], columns: usize, which: Pool) -> Vec<T> {
    let mut y = vec![T::zero(); lengths.len() * which.width() * columns];
    for (y, rows) in y.chunks_exact_mut((which.width() * columns).max(1)).zip(sequences(lengths, columns)) {
        let rows = &x[rows];
        match which {
            Pool::Last => y.copy_from_slice(last(rows, columns)),
            Pool::First => y.copy_from_slice(&rows[..columns]),
            Pool::Mean => mean(y, rows),
            Pool::Concat => {
                let (last_row, others) = y.split_at_mut(columns);
                let (maximum, average) = others.split_at_mut(columns);
                last_row.copy_from_slice(last(rows, columns));
                for (column, maximum) in maximum.iter_mut().enumerate() {
                    *maximum = rows[highest(rows, columns, column) * columns + column];
                }
                mean(average, rows);
            }
        }
    }
    y
}

/// d_x: what each row gave to its sequence, of which only the first of equal maxima counts.
pub fn backward<T: Real>(d_y: &[T], x: &[T], lengths: &[usize], columns: usize, which: Pool) -> Vec<T> {
    let mut d_x = vec![T::zero(); x.len()];
    for (d_y, rows) in d_y.chunks_exact((which.width() * columns).max(1)).zip(sequences(lengths, columns)) {
        let (x, d_x) = (&x[rows.clone()], &mut d_x[rows]);
        match which {
            Pool::Last => add_last(d_x, d_y),
            Pool::First => add_to(&mut d_x[..columns], d_y),
            Pool::Mean => add_mean(d_x, d_y),
            Pool::Concat => {
                let (of_last, others) = d_y.split_at(columns);
                let (of_maximum, of_mean) = others.split_at(columns);
                add_last(d_x, of_last);
                for (column, &d_y) in of_maximum.iter().enumerate() {
                    d_x[highest(x, columns, column) * columns + column] += d_y;
                }
                add_mean(d_x, of_mean);
            }
        }
    }
    d_x
}

/// Where the rows of each sequence stand among the elements.
fn sequences(lengths: &[usize], columns: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    lengths.iter().scan(0, move |start, length| {
        let range = *start..*start + length * columns;
        *start = range.end;
        Some(range)
    })
}

fn last<T>(rows: &[T], columns: usize) -> &[T] {
    &rows[rows.len() - columns..]
}

/// Adds the mean of the rows to `y`, which is zero before.
fn mean<T: Real>(y: &mut [T], rows: &[T]) {
    rows.chunks_exact(y.len().max(1)).for_each(|row| add_to(y, row));
    let share = T::from_f64(y.len() as f64 / rows.len() as f64);
    y.iter_mut().for_each(|y| *y *= share);
}

/// The first row with the highest value in `column`.
fn highest<T: Real>(rows: &[T], columns: usize, column: usize) -> usize {
    let at = |row: usize| rows[row * columns + column];
    (1..rows.len() / columns).fold(0, |best, row| if at(row) > at(best) { row } else { best })
}

fn add_last<T: Real>(d_x: &mut [T], d_y: &[T]) {
    let start = d_x.len() - d_y.len();
    add_to(&mut d_x[start..], d_y);
}

fn add_mean<T: Real>(d_x: &mut [T], d_y: &[T]) {
    let share = T::from_f64(d_y.len() as f64 / d_x.len() as f64);
    for row in d_x.chunks_exact_mut(d_y.len().max(1)) {
        row.iter_mut().zip(d_y).for_each(|(d_x, &d_y)| *d_x += share * d_y);
    }
}
