//! e^x for f32 in arithmetic that the compiler turns into vector instructions.
//!
//! libm's `expf` is a call per element and was a large part of softmax, SiLU and GELU.

/// e^x, within 1 unit in the last place.
///
/// Below -87.3 the result is 0 (no denormals), above 88.72 infinity; NaN stays NaN; e^0 is exactly 1.
/// Method: x = n ln 2 + r with |r| <= ln 2 / 2, e^x = 2^n e^r, e^r by a polynomial of degree 7.
/// Source: Cephes `expf` (Moshier 1989): the split of ln 2 and the coefficients.
#[inline(always)]
pub fn exp_f32(x: f32) -> f32 {
    const LOWEST: f32 = -87.3; // n = -126: the scale below becomes 0.
    const HIGHEST: f32 = 88.8; // n = 128: the product below becomes infinite.
    // Added to a small number, it leaves the nearest integer in the low bits: 1.5 * 2^23.
    const ROUND: f32 = 12_582_912.;
    const LN_2_HIGH: f32 = 0.693_359_4; // 355/512, exact
    const LN_2_LOW: f32 = -2.121_944_4e-4;

    // Written as selections, not `clamp`, so that NaN passes through.
    let x = if x < LOWEST { LOWEST } else { x };
    let x = if x > HIGHEST { HIGHEST } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));

    let mut p = 1.987_569_1e-4_f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 5e-1);
    let power = p.mul_add(r, 1.).mul_add(r, 1.);

    // Doubled before it is scaled by 2^(n-1): 2^128 is no f32, and half the result may be denormal.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let half_scale = f32::from_bits(n.wrapping_add(126) << 23);
    (power + power) * half_scale
}

#[cfg(test)]
mod tests {
    use super::exp_f32;

    /// Distance in units in the last place of the true value.
    fn ulps(x: f32) -> f64 {
        let truth = f64::from(x).exp();
        let rounded = truth as f32;
        let ulp = f64::from(f32::from_bits(rounded.to_bits() + 1)) - f64::from(rounded);
        (f64::from(exp_f32(x)) - truth).abs() / ulp
    }

    #[test]
    fn is_within_one_ulp() {
        let steps = 400_000;
        let worst = (0..=steps).map(|i| ulps(-86.9 + 175.6 * i as f32 / steps as f32)).fold(0., f64::max);
        assert!(worst <= 1., "worst error {worst} ulp");
        let worst = (1..2000).map(|i| ulps(1e-6 * (i as f32 - 1000.))).fold(0., f64::max);
        assert!(worst <= 1., "worst error near 0 is {worst} ulp");
    }

    #[test]
    fn has_the_right_ends() {
        assert_eq!(exp_f32(0.), 1.);
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.);
        assert_eq!(exp_f32(-1e30), 0.);
        assert_eq!(exp_f32(-87.4), 0.);
        assert_eq!(exp_f32(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp_f32(88.73), f32::INFINITY);
        assert!(exp_f32(88.72).is_finite());
        assert!(exp_f32(f32::NAN).is_nan());
    }
}
