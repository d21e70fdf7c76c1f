use super::super::real::Real;
use super::super::testing::seeded;
use super::kernel::{Kernel, MAX_ROWS, Portable};
use super::matrix::{Matrix, MatrixMut, Onto, Threads, Triangle};
use super::product::{Product, run};

fn values<T: Real>(name: &str, len: usize) -> Vec<T> {
    let values: Vec<f64> = seeded(name, &[len]).to_vec1().unwrap();
    values.into_iter().map(T::from_f64).collect()
}

/// Sizes of one, odd, around the tiles of all kernels, and past the blocks of each dimension.
const SIZES: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (3, 5, 7),
    (8, 48, 16),
    (9, 49, 17),
    (4, 24, 0),
    (130, 100, 257),
    (515, 33, 40),
    (20, 780, 33),
    (300, 130, 600),
];

/// Every layout of both operands and every base, against sums in f64.
fn check<T: Real, K: Kernel<Element = T>>(tolerance: f64) {
    for (rows, columns, depth) in SIZES {
        let (a, b) = (values::<T>("a", rows * depth), values::<T>("b", depth * columns));
        let (row, before) = (values::<T>("row", columns), values::<T>("before", rows * columns));
        for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false), (true, true)] {
            let view = |data, rows, columns, transposed| match transposed {
                false => Matrix::<T>::new(data, rows, columns, columns),
                true => Matrix::new(data, columns, rows, rows).transposed(),
            };
            let (a, b) = (view(&a, rows, depth, a_transposed), view(&b, depth, columns, b_transposed));
            for onto in 0..3 {
                let mut c = before.clone();
                let start = c.as_mut_ptr();
                let base = [None, Some((row.as_ptr(), 0)), Some((start.cast_const(), columns))][onto];
                let scale = T::from_f64(0.5);
                let triangle = Triangle::Whole;
                run::<T, K>(&Product {
                    c: (start, columns),
                    triangle,
                    base,
                    scale,
                    a,
                    b,
                    threads: Threads::All,
                });
                for i in 0..rows {
                    for j in 0..columns {
                        // SAFETY: elements of the two matrices.
                        let term = |k: usize| unsafe {
                            (*a.start.add(i * a.row_stride + k * a.column_stride)).to_f64()
                                * (*b.start.add(k * b.row_stride + j * b.column_stride)).to_f64()
                        };
                        let base = [0., row[j].to_f64(), before[i * columns + j].to_f64()][onto];
                        let expected = base + 0.5 * (0..depth).map(term).sum::<f64>();
                        let error = (c[i * columns + j].to_f64() - expected).abs();
                        assert!(error <= tolerance * (1. + depth as f64).sqrt(), "({i}, {j}): {error:.1e}");
                    }
                }
            }
        }
    }
}

#[test]
fn products_of_any_kernel_are_right() {
    check::<f64, Portable<f64>>(1e-14);
    check::<f32, Portable<f32>>(4e-6);
    #[cfg(target_arch = "aarch64")]
    check::<f32, super::kernel::Neon>(4e-6);
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            check::<f32, super::kernel::Avx2>(4e-6);
        }
        if is_x86_feature_detected!("avx512f") {
            check::<f32, super::kernel::Avx512>(4e-6);
        }
    }
}

#[test]
fn what_lies_outside_of_triangles_is_left_out() {
    let sizes = [(1, 1, 1, 0), (64, 100, 130, 36), (70, 70, 70, 0), (9, 600, 300, 591), (300, 60, 310, 0)];
    for (rows, columns, depth, first) in sizes {
        let seen = |row: usize, len: usize| (first + row + 1).min(len);
        // Zeros outside, and again with values there that no tile of a row may read.
        let mut zeroed = values::<f32>("a", rows * depth);
        zeroed.chunks_mut(depth).enumerate().for_each(|(i, row)| row[seen(i, depth)..].fill(0.));
        let mut poisoned = zeroed.clone();
        poisoned.chunks_mut(depth).enumerate().for_each(|(i, row)| {
            row[seen(i + MAX_ROWS - 1, depth)..].fill(f32::NAN);
        });
        let [whole, lower] = [&zeroed, &poisoned].map(|a| Matrix::new(a, rows, depth, depth));
        let lower = lower.lower(first);
        let [down, across] = ["b", "c"].map(|name| values::<f32>(name, depth.max(rows) * columns));
        let down = Matrix::new(&down, depth, columns, columns);
        let across = Matrix::new(&across, rows, columns, columns);
        let product = |a: Matrix<f32>, b: Matrix<f32>, first: Option<usize>| {
            let (rows, columns) = (a.rows(), b.columns());
            let mut c = vec![f32::NAN; rows * columns];
            let matrix = MatrixMut::new(&mut c, rows, columns, columns);
            let mut matrix = match first {
                Some(first) => matrix.lower(first),
                None => matrix,
            };
            matrix.set_product(Onto::Nothing, 1., a, b, Threads::One);
            c
        };
        assert_eq!(product(whole, down, None), product(lower, down, None));
        assert_eq!(product(whole.transposed(), across, None), product(lower.transposed(), across, None));

        let [all, wanted] = [None, Some(first)].map(|first| product(whole, down, first));
        for (i, (all, wanted)) in all.chunks(columns).zip(wanted.chunks(columns)).enumerate() {
            assert_eq!(all[..seen(i, columns)], wanted[..seen(i, columns)], "row {i}");
        }
        // Columns far from those that the first tiles see were never computed.
        assert!(columns < first + 60 || wanted[columns - 1].is_nan());
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let (rows, columns, depth) = (530, 200, 300);
    let (a, b) = (values::<f32>("a", rows * depth), values("b", depth * columns));
    let product = |threads| {
        let mut c = vec![0f32; rows * columns];
        let (a, b) = (Matrix::new(&a, rows, depth, depth), Matrix::new(&b, depth, columns, columns));
        MatrixMut::new(&mut c, rows, columns, columns).set_product(Onto::Nothing, 1., a, b, threads);
        c.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let one = product(Threads::One);
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| product(Threads::All)) == one, "{threads} threads");
    }
}
