//! The distribution function of the standard normal in arithmetic that the compiler turns into vector instructions.

use super::exp::exp_f32;

/// P(x), within 3e-7: 1.5e-7 of the formula, the rest from rounding.
///
/// Both tails come from the complementary error function, so that the lower one does not cancel.
/// Source: Abramowitz and Stegun 1964, equation 7.1.26.
#[inline(always)]
pub fn cdf_f32(x: f32) -> f32 {
    const P: f32 = 0.327_591_1;
    const A: [f32; 5] = [0.254_829_6, -0.284_496_74, 1.421_413_7, -1.453_152, 1.061_405_4];
    let t = 1. / (x.abs() * std::f32::consts::FRAC_1_SQRT_2).mul_add(P, 1.);
    let p = t.mul_add(A[4], A[3]).mul_add(t, A[2]).mul_add(t, A[1]).mul_add(t, A[0]) * t;
    let tail = 0.5 * p * exp_f32(-0.5 * x * x);
    if x > 0. { 1. - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::cdf_f32;

    #[test]
    fn is_within_its_bound() {
        let truth = |x: f32| 0.5 * candle_core::cpu::erf::erfc_f64(-f64::from(x) * 0.5_f64.sqrt());
        let error = |x: f32| (f64::from(cdf_f32(x)) - truth(x)).abs();
        let worst = (0..=400_000).map(|i| error(-20. + 40. * i as f32 / 400_000.)).fold(0., f64::max);
        assert!(worst <= 3e-7, "worst error {worst:.1e}");
    }

    #[test]
    fn has_the_right_ends() {
        assert_eq!(cdf_f32(f32::NEG_INFINITY), 0.);
        assert_eq!(cdf_f32(-1e30), 0.);
        assert_eq!(cdf_f32(1e30), 1.);
        assert_eq!(cdf_f32(f32::INFINITY), 1.);
        assert!(cdf_f32(f32::NAN).is_nan());
    }
}
