//! Each op beside its reference: time, rate, and share of what this machine can do.
//!
//! `cargo bench --bench ops -- [NAME]` prints a line per op and size; NAME picks those whose name contains it.
//! Sizes are those of shapes S1 and S2 of `benches/step.rs`. Rates count the arithmetic of products, or for the
//! other ops the bytes that must be read and written once. The products of a linear map have two lines: beside
//! candle's differentiable ops, and beside the bare products of crate gemm, on as many threads.

use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor, Var};
use gemm::Parallelism;
use train::keep_freed_memory;
use train::ops::{self, GradientSums, Mask, Traced, WeightLayout, reference};

/// What an op has to do at least, forward and backward.
#[derive(Clone, Copy)]
enum Work {
    /// Floating-point operations.
    Flops(f64, f64),
    /// Tensor elements read or written, of four bytes each.
    Elements(f64, f64),
}

/// Rates to compare with, measured on all threads.
struct Peak {
    flops: f64,
    bytes: f64,
}

fn main() -> Result<()> {
    keep_freed_memory();
    // As the program itself: on a worker of the thread pool.
    rayon::scope(|_| bench())
}

fn bench() -> Result<()> {
    let wanted = std::env::args().skip(1).find(|argument| argument != "--bench").unwrap_or_default();
    let peak = Peak::measure()?;
    println!("best product {:.0} GFLOP/s, copy {:.1} GB/s", peak.flops / 1e9, peak.bytes / 1e9);
    println!(
        "{:<44} {:>9} {:>8} {:>6} {:>9} {:>8} {:>6} {:>9} {:>9}",
        "op", "forward", "rate", "share", "backward", "rate", "share", "reference", "ratio"
    );
    for (shape, vocab_size, hidden, heads, lengths) in
        [("S1", 4096, 128, 4, vec![128; 32]), ("S2", 8192, 256, 8, vec![256; 16])]
    {
        let rows = lengths.iter().sum();
        let bench = Bench { wanted: &wanted, shape, peak: &peak, rows, hidden, heads, vocab_size };
        bench.products()?;
        bench.attention(&lengths)?;
        bench.tables()?;
        bench.norms()?;
        bench.activations()?;
    }
    Ok(())
}

struct Bench<'a> {
    wanted: &'a str,
    shape: &'a str,
    peak: &'a Peak,
    rows: usize,
    hidden: usize,
    heads: usize,
    vocab_size: usize,
}

impl Bench<'_> {
    /// Elements of a tensor with a row for each token.
    fn elements(&self, width: usize) -> f64 {
        (self.rows * width) as f64
    }

    fn products(&self) -> Result<()> {
        let hidden = self.hidden;
        for (inputs, outputs) in
            [(hidden, 3 * hidden), (hidden, hidden), (hidden, 4 * hidden), (4 * hidden, hidden)]
        {
            let product = 2. * self.elements(inputs) * outputs as f64;
            let work = Work::Flops(product, 2. * product);
            let (x, weight) = (random(&[self.rows, inputs])?, random(&[inputs, outputs])?);
            self.op(
                &format!("linear {inputs} to {outputs}"),
                work,
                &[x.clone(), weight.clone(), random(&[outputs])?],
                |t| ops::linear(&t[0], &t[1..2], Some(&t[2]), WeightLayout::InOut),
                |t| reference::linear(&t[0], &[&t[1]], Some(&t[2]), WeightLayout::InOut),
            )?;
            self.beside_gemm(&format!("linear {inputs} to {outputs}, gemm"), work, &x, &weight)?;
        }
        Ok(())
    }

    /// The three products of a linear map and its gradients, ours and those of crate gemm.
    fn beside_gemm(&self, name: &str, work: Work, x: &Tensor, weight: &Tensor) -> Result<()> {
        let (rows, (inputs, outputs)) = (self.rows, weight.dims2()?);
        let [x_values, w_values] = [x, weight].map(|t| t.flatten_all()?.to_vec1::<f32>());
        let (x_values, w_values, d_y) = (x_values?, w_values?, vec![1f32; rows * outputs]);
        let theirs = || {
            let started = Instant::now();
            black_box(gemm_product(
                [rows, outputs, inputs],
                (&x_values, [inputs, 1]),
                (&w_values, [outputs, 1]),
            ));
            let forward = started.elapsed();
            black_box(gemm_product([rows, inputs, outputs], (&d_y, [outputs, 1]), (&w_values, [1, outputs])));
            black_box(gemm_product([inputs, outputs, rows], (&x_values, [1, inputs]), (&d_y, [outputs, 1])));
            Ok([forward, started.elapsed() - forward])
        };
        let ours = |t: &[Traced]| ops::linear(&t[0], &t[1..], None, WeightLayout::InOut);
        self.row(name, work, &[x.clone(), weight.clone()], ours, |_| theirs())
    }

    fn attention(&self, lengths: &[usize]) -> Result<()> {
        let (hidden, heads) = (self.hidden, self.heads);
        // Half of the scores are masked.
        let scores = lengths.iter().map(|&length| (length * length * hidden) as f64).sum::<f64>() / 2.;
        self.op(
            &format!("attention, {heads} heads"),
            Work::Flops(4. * scores, 10. * scores),
            &[random(&[self.rows, 3 * hidden])?],
            |t| ops::attention(&t[0], lengths, heads, heads, Mask::Causal),
            |t| reference::attention(&t[0], lengths, heads, heads, Mask::Causal),
        )?;
        let ids = Tensor::arange(0, self.rows as u32, &Device::Cpu)?;
        let angles = ids.to_dtype(DType::F32)?.unsqueeze(1)?.repeat((1, hidden / heads / 2))?;
        let (cos, sin) = (angles.cos()?, angles.sin()?);
        self.op(
            "rope",
            Work::Elements(6. * self.elements(hidden), 6. * self.elements(hidden)),
            &[random(&[self.rows, 3 * hidden])?],
            |t| ops::rope(&t[0], &ids, &cos, &sin, 2 * heads),
            |t| reference::rope(&t[0], &ids, &cos, &sin, 2 * heads),
        )
    }

    /// Embedding and head.
    fn tables(&self) -> Result<()> {
        let (rows, hidden, vocab_size) = (self.rows, self.hidden, self.vocab_size);
        let target = |row: u32| row.wrapping_mul(2_654_435_761) % vocab_size as u32;
        let targets = Tensor::from_vec((0..rows as u32).map(target).collect(), rows, &Device::Cpu)?;
        let head = 2. * self.elements(hidden) * vocab_size as f64;
        // The gradients are made in the forward pass.
        self.op(
            &format!("head_cross_entropy, {vocab_size} tokens"),
            Work::Flops(3. * head, 0.),
            &[random(&[rows, hidden])?, random(&[vocab_size, hidden])?],
            |t| ops::head_cross_entropy(&t[0], &t[1], &targets, 1. / rows as f64),
            |t| reference::head_losses(&t[0], &t[1], &targets)?.mean_all(),
        )?;
        let table = (vocab_size * hidden) as f64;
        self.op(
            "embedding",
            Work::Elements(2. * self.elements(hidden), self.elements(hidden) + 2. * table),
            &[random(&[vocab_size, hidden])?],
            |t| ops::embedding(&t[0], &targets),
            |t| reference::embedding(&t[0], &targets),
        )
    }

    fn norms(&self) -> Result<()> {
        let (n, hidden) = (self.elements(self.hidden), self.hidden);
        let (x, row) = (random(&[self.rows, hidden])?, || random(&[hidden]));
        self.op(
            "layer_norm",
            Work::Elements(2. * n, 3. * n),
            &[x.clone(), row()?, row()?],
            |t| ops::layer_norm(&t[0], &t[1], &t[2], 1e-5),
            |t| reference::layer_norm(&t[0], &t[1], &t[2], 1e-5),
        )?;
        self.op(
            "rms_norm",
            Work::Elements(2. * n, 3. * n),
            &[x, row()?],
            |t| ops::rms_norm(&t[0], &t[1], 1e-5),
            |t| reference::rms_norm(&t[0], &t[1], 1e-5),
        )
    }

    fn activations(&self) -> Result<()> {
        let (n, hidden) = (self.elements(self.hidden), self.hidden);
        self.op(
            "gelu",
            Work::Elements(8. * n, 12. * n),
            &[random(&[self.rows, 4 * hidden])?],
            |t| ops::gelu(&t[0]),
            |t| reference::gelu(&t[0]),
        )?;
        self.op(
            "gelu_erf",
            Work::Elements(8. * n, 12. * n),
            &[random(&[self.rows, 4 * hidden])?],
            |t| ops::gelu_erf(&t[0]),
            |t| reference::gelu_erf(&t[0]),
        )?;
        self.op(
            "swiglu",
            Work::Elements(12. * n, 20. * n),
            &[random(&[self.rows, 8 * hidden])?],
            |t| ops::swiglu(&t[0]),
            |t| reference::swiglu(&t[0]),
        )
    }

    /// Measures an op and its reference on the same variables, and prints the line.
    fn op(
        &self,
        name: &str,
        work: Work,
        inputs: &[Tensor],
        fused: impl Fn(&[Traced]) -> Result<Traced>,
        reference: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<()> {
        self.row(name, work, inputs, fused, |tensors| {
            let started = Instant::now();
            let y = reference(tensors)?;
            let forward = started.elapsed();
            y.backward()?;
            Ok([forward, started.elapsed() - forward])
        })
    }

    /// As [`op`](Self::op), where `other` takes its own forward and backward time.
    fn row(
        &self,
        name: &str,
        work: Work,
        inputs: &[Tensor],
        fused: impl Fn(&[Traced]) -> Result<Traced>,
        other: impl Fn(&[Tensor]) -> Result<[Duration; 2]>,
    ) -> Result<()> {
        let name = format!("{}: {name}", self.shape);
        if !name.contains(self.wanted) {
            return Ok(());
        }
        let vars = inputs.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
        let traced: Vec<Traced> = vars.iter().map(|var| Traced::from(var.as_tensor())).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let d_y = fused(&traced)?.value().ones_like()?;
        let [forward, backward] = median(|| {
            let started = Instant::now();
            let y = fused(&traced)?;
            let forward = started.elapsed();
            let (mut gradients, d_y) = (GradientSums::default(), d_y.copy()?);
            let started = Instant::now();
            gradients.backward_from(&y, d_y)?;
            Ok([forward, started.elapsed()])
        })?;
        let other: f64 = median(|| other(&tensors))?.iter().sum();
        let (forward_rate, forward_share) = self.rate(work, 0, forward);
        let (backward_rate, backward_share) = self.rate(work, 1, backward);
        println!(
            "{name:<44} {:>6.2} ms {forward_rate:>8} {forward_share:>6} {:>6.2} ms {backward_rate:>8} \
             {backward_share:>6} {:>6.2} ms {:>8.1}x",
            forward * 1e3,
            backward * 1e3,
            other * 1e3,
            other / (forward + backward),
        );
        Ok(())
    }

    /// Rate and share of peak of the forward (0) or backward (1) pass.
    fn rate(&self, work: Work, pass: usize, secs: f64) -> (String, String) {
        let (amount, peak) = match work {
            Work::Flops(forward, backward) => ([forward, backward][pass], self.peak.flops),
            Work::Elements(forward, backward) => (4. * [forward, backward][pass], self.peak.bytes),
        };
        if amount == 0. {
            return ("-".into(), "-".into());
        }
        let rate = amount / secs;
        (format!("{:.1} G", rate / 1e9), format!("{:.0} %", 100. * rate / peak))
    }
}

impl Peak {
    fn measure() -> Result<Self> {
        const SIDE: usize = 2048;
        let a = Tensor::ones((SIDE, SIDE), DType::F32, &Device::Cpu)?;
        let (x, weight) = (Traced::from(&a), [Traced::from(&a)]);
        let fastest = |run: &dyn Fn() -> Result<()>| -> Result<f64> {
            let mut best = f64::INFINITY;
            for _ in 0..12 {
                let started = Instant::now();
                run()?;
                best = best.min(started.elapsed().as_secs_f64());
            }
            Ok(best)
        };
        let product = fastest(&|| ops::linear(&x, &weight, None, WeightLayout::InOut).map(drop))?;
        // y = x + x reads 16 MiB twice and writes as much: more than most caches.
        let copy = fastest(&|| ops::add(&x, &x, None).map(drop))?;
        let elements = (SIDE * SIDE) as f64;
        Ok(Self { flops: 2. * elements * SIDE as f64 / product, bytes: 8. * elements / copy })
    }
}

/// A product (m x n) of factors (m x k) and (k x n), each with its row and column stride, by crate gemm.
fn gemm_product(
    [m, n, k]: [usize; 3],
    (a, a_strides): (&[f32], [usize; 2]),
    (b, b_strides): (&[f32], [usize; 2]),
) -> Vec<f32> {
    assert!(a.len() == m * k && b.len() == k * n);
    let mut c = Vec::with_capacity(m * n);
    let ([a_row, a_column], [b_row, b_column]) =
        (a_strides.map(|s| s as isize), b_strides.map(|s| s as isize));
    let threads = Parallelism::Rayon(rayon::current_num_threads());
    // SAFETY: factors of these sizes lie in the slices whole, and the product, which is not read first, is set whole.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            a_column,
            a_row,
            b.as_ptr(),
            b_column,
            b_row,
            0.,
            1.,
            false,
            false,
            false,
            threads,
        );
        c.set_len(m * n);
    }
    c
}

/// Medians of two times in seconds over at least half a second of runs, after two to warm up.
fn median(mut run: impl FnMut() -> Result<[Duration; 2]>) -> Result<[f64; 2]> {
    let mut times: [Vec<f64>; 2] = Default::default();
    let started = Instant::now();
    for number in 0.. {
        let both = run()?;
        if number >= 2 {
            for (times, time) in times.iter_mut().zip(both) {
                times.push(time.as_secs_f64());
            }
        }
        if times[0].len() >= 5 && started.elapsed() > Duration::from_millis(500) {
            break;
        }
    }
    Ok(times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }))
}

/// Standard normal numbers.
fn random(shape: &[usize]) -> Result<Tensor> {
    Tensor::randn(0f32, 1., shape, &Device::Cpu)
}
