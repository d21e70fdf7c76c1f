//! The ops and sizes that are checked: rows that can be read 16 bytes at a time, and odd ones.

use candle_core::{DType, Result, Tensor};

use crate::ops::base::check::normal;
use crate::ops::base::tape::Traced;
use crate::ops::{
    IGNORE_INDEX, Mask, Pool, WeightLayout, add, attention, concat, cross_entropy, dropout_mask, embedding,
    gelu, gelu_erf, head_cross_entropy, layer_norm, linear, multiply, pool, rms_norm, rope, swiglu, tanh,
    upload,
};
use crate::rng::key;

/// An op on inputs of its shapes.
pub struct Case {
    /// Op and sizes.
    pub op: String,
    /// f64, on the CPU; all get gradients.
    pub inputs: Vec<Tensor>,
    /// The op.
    pub run: Op,
}

type Op = Box<dyn Fn(&[Traced]) -> Result<Traced>>;

/// All of them.
pub fn cases() -> Result<Vec<Case>> {
    let mut cases = Cases(Vec::new());
    for (rows, columns) in [(603, 768), (7, 33), (2, 2048)] {
        cases.of_rows(rows, columns)?;
    }
    for (rows, half) in [(130, 32), (9, 5)] {
        cases.rope(rows, half)?;
    }
    for (rows, i, o) in [(200, 64, 128), (11, 33, 17)] {
        cases.linear(rows, i, o)?;
    }
    for (rows, vocab_size, columns) in [(3000, 500, 768), (40, 7, 5)] {
        cases.embedding(rows, vocab_size, columns)?;
    }
    for (rows, columns, vocab_size) in [(300, 64, 1003), (7, 3, 5)] {
        cases.losses(rows, columns, vocab_size)?;
    }
    cases.of_sequences()?;
    Ok(cases.0)
}

struct Cases(Vec<Case>);

impl Cases {
    fn add(
        &mut self,
        op: String,
        shapes: &[&[usize]],
        run: impl Fn(&[Traced]) -> Result<Traced> + 'static,
    ) -> Result<()> {
        let inputs = shapes.iter().enumerate().map(|(i, shape)| normal(&format!("{op} {i}"), shape));
        let inputs = inputs.collect::<Result<_>>()?;
        self.0.push(Case { op, inputs, run: Box::new(run) });
        Ok(())
    }

    /// Norms, activations and the residual stream.
    fn of_rows(&mut self, rows: usize, columns: usize) -> Result<()> {
        let (x, of) = ([rows, columns], format!("{rows} x {columns}"));
        self.add(format!("rms_norm {of}"), &[&x, &[columns]], |t| rms_norm(&t[0], &t[1], 1e-5))?;
        self.add(format!("layer_norm {of}"), &[&x, &[columns], &[columns]], |t| {
            layer_norm(&t[0], &t[1], &t[2], 1e-5)
        })?;
        self.add(format!("gelu {of}"), &[&x], |t| gelu(&t[0]))?;
        self.add(format!("gelu_erf {of}"), &[&x], |t| gelu_erf(&t[0]))?;
        self.add(format!("tanh {of}"), &[&x], |t| tanh(&t[0]))?;
        self.add(format!("concat {of}"), &[&[columns], &[3 * columns]], concat)?;
        self.add(format!("swiglu {of}"), &[&[rows, 2 * columns]], |t| swiglu(&t[0]))?;
        self.add(format!("add {of}"), &[&x, &x], |t| add(&t[0], &t[1], None))?;
        self.add(format!("add of masked {of}"), &[&x, &x], |t| {
            let mask = normal("mask", t[1].dims())?.to_dtype(t[1].dtype())?.to_device(t[1].device())?;
            add(&t[0], &t[1], Some(&mask))
        })?;
        self.add(format!("dropout_mask {of}"), &[&x], |t| {
            let x = t[0].value();
            let mask = dropout_mask(key(3, "mask", &[]), 0.3, x.dims(), x.dtype(), x.device())?;
            multiply(&t[0], &mask)
        })
    }

    fn rope(&mut self, rows: usize, half: usize) -> Result<()> {
        self.add(format!("rope {rows} x 4 x {}", 2 * half), &[&[rows, 8 * half]], move |t| {
            let x = &t[0];
            let angles = normal("angles", &[70, half])?;
            // Half-precision rows are rotated by angles of f32.
            let dtype = if x.dtype() == DType::BF16 { DType::F32 } else { x.dtype() };
            let table = |table: Tensor| table.to_dtype(dtype)?.to_device(x.device());
            let at: Vec<u32> = (0..rows as u32).map(|row| row * 5 % 70).collect();
            rope(x, &upload(&at, rows, x.device())?, &table(angles.cos()?)?, &table(angles.sin()?)?, 3)
        })
    }

    fn linear(&mut self, rows: usize, i: usize, o: usize) -> Result<()> {
        self.add(format!("linear {rows} x {i} to {o} | 8"), &[&[rows, i], &[o, i], &[8, i]], |t| {
            linear(&t[0], &t[1..3], None, WeightLayout::OutIn)
        })?;
        self.add(format!("linear {rows} x {i} to {o} with bias"), &[&[rows, i], &[i, o], &[o]], |t| {
            linear(&t[0], &t[1..2], Some(&t[2]), WeightLayout::InOut)
        })
    }

    /// Half of the places have one id, as the commonest word of a text.
    fn embedding(&mut self, rows: usize, vocab_size: usize, columns: usize) -> Result<()> {
        let id =
            move |place: usize| if place.is_multiple_of(2) { 3 } else { (place * 13 % vocab_size) as u32 };
        let ids: Vec<u32> = (0..rows).map(id).collect();
        self.add(
            format!("embedding {rows} of {vocab_size} x {columns}"),
            &[&[vocab_size, columns]],
            move |t| embedding(&t[0], &upload(&ids, rows, t[0].device())?),
        )
    }

    fn losses(&mut self, rows: usize, columns: usize, vocab_size: usize) -> Result<()> {
        let target =
            move |row: usize| if row % 5 == 3 { IGNORE_INDEX } else { (row * 7 % vocab_size) as u32 };
        let targets: Vec<u32> = (0..rows).map(target).collect();
        let of = targets.clone();
        let name = format!("head_cross_entropy {rows} x {columns} x {vocab_size}");
        self.add(name, &[&[rows, columns], &[vocab_size, columns]], move |t| {
            head_cross_entropy(&t[0], &t[1], &upload(&of, rows, t[0].device())?, 0.25)
        })?;
        self.add(format!("cross_entropy {rows} x {vocab_size}"), &[&[rows, vocab_size]], move |t| {
            cross_entropy(&t[0], &upload(&targets, rows, t[0].device())?)
        })
    }

    /// Pooling and attention.
    fn of_sequences(&mut self) -> Result<()> {
        for which in [Pool::Last, Pool::First, Pool::Mean, Pool::Concat] {
            self.add(format!("pool {which:?}"), &[&[74, 300]], move |t| pool(&t[0], &[3, 1, 70], which))?;
        }
        for (lengths, heads, kv_heads, head_dim) in [
            (&[150usize, 1, 33][..], 4, 2, 32),
            (&[64, 64][..], 2, 2, 64),
            (&[90, 20][..], 2, 1, 128),
            (&[40][..], 3, 3, 24),
        ] {
            let width = (heads + 2 * kv_heads) * head_dim;
            for mask in [Mask::Causal, Mask::Bidirectional] {
                let name = format!("attention {mask:?} {lengths:?} x {heads}/{kv_heads} x {head_dim}");
                self.add(name, &[&[lengths.iter().sum(), width]], move |t| {
                    attention(&t[0], lengths, heads, kv_heads, mask)
                })?;
            }
        }
        Ok(())
    }
}
