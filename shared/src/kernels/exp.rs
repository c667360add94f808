//! The exponential function, the same everywhere.

/// `e^x` for softmax and SiLU, relative error below 2.5e-7.
///
/// Below -87 the result is 0, above 88 infinity; a NaN stays one. Method: Cody-Waite
/// reduction to `|r| <= ln(2)/2` and the degree-6 polynomial of Cephes' `expf`, without fused
/// operations, so that every compiler and register width gives the same bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.0;
    const HIGHEST: f32 = 88.0;
    /// Adding it leaves the nearest integer in the low bits of the significand.
    const SHIFT: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;

    let clamped = if x < LOWEST { LOWEST } else { x };
    let clamped = if clamped > HIGHEST { HIGHEST } else { clamped };
    let shifted = clamped * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 0.166_666_66;
    p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let within = if x < LOWEST { 0.0 } else { p * power };
    if x > HIGHEST { f32::INFINITY } else { within }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn is_close_to_the_exact_value() {
        let mut worst = 0.0_f64;
        for step in -86_999..88_000 {
            let x = step as f32 * 1e-3;
            let exact = libm::exp(f64::from(x));
            worst = worst.max(((f64::from(exp(x)) - exact) / exact).abs());
        }
        assert!(worst < 2.5e-7, "relative error {worst}");
    }

    #[test]
    fn special_values() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(-87.1), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(88.1), f32::INFINITY);
        assert!(exp(88.0).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn never_decreases() {
        let mut last = 0.0;
        for step in -9_000..=9_000 {
            let value = exp(step as f32 * 0.01);
            assert!(value >= last, "at {}", step as f32 * 0.01);
            last = value;
        }
    }
}
