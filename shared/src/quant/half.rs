//! IEEE half precision, as GGUF stores scales.

/// The number that a half-precision bit pattern stands for. Exact.
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits & 0x3ff);
    let magnitude = match exponent {
        // Subnormal: fraction * 2^-24, a product that f32 holds exactly.
        0 => (fraction as f32 * f32::from_bits(0x3380_0000)).to_bits(),
        0x1f => 0x7f80_0000 | (fraction << 13),
        _ => ((exponent + 112) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

/// The nearest half-precision bit pattern, ties to even; too large a number becomes infinity, a
/// NaN stays one.
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= 0x4780_0000 {
        0x7c00
    } else if magnitude < 0x3880_0000 {
        // Subnormal or zero: adding 0.5 leaves the number in units of 2^-24, rounded to even by
        // the addition itself.
        ((f32::from_bits(magnitude) + 0.5).to_bits() - 0x3f00_0000) as u16
    } else {
        // Round the 13 bits that fall away; a carry runs into the exponent, up to infinity.
        let odd = (magnitude >> 13) & 1;
        ((magnitude - 0x3800_0000 + 0xfff + odd) >> 13) as u16
    };
    sign | half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_round_trip() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f32(bits);
            if value.is_nan() {
                assert!(f16_to_f32(f32_to_f16(value)).is_nan());
            } else {
                assert_eq!(f32_to_f16(value), bits, "{bits:#06x} = {value}");
            }
        }
    }

    #[test]
    fn known_values() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2.0_f32.powi(-24)),
            (0x0400, 2.0_f32.powi(-14)),
            (0x3555, 0.333_251_95),
        ];
        for (bits, value) in cases {
            assert_eq!(f16_to_f32(bits), value);
            assert_eq!(f32_to_f16(value), bits);
        }
    }

    #[test]
    fn rounds_to_the_nearest_and_ties_to_even() {
        for bits in 0..0x7bff_u16 {
            let (low, high) = (f16_to_f32(bits), f16_to_f32(bits + 1));
            let middle = low + (high - low) / 2.0;
            let even = if bits % 2 == 0 { bits } else { bits + 1 };
            assert_eq!(f32_to_f16(middle), even, "between {low} and {high}");
            assert_eq!(f32_to_f16(middle.next_down()), bits);
            assert_eq!(f32_to_f16(middle.next_up()), bits + 1);
        }
    }

    #[test]
    fn overflow_is_infinite() {
        assert_eq!(f32_to_f16(65519.9), 0x7bff);
        assert_eq!(f32_to_f16(65520.0), 0x7c00);
        assert_eq!(f32_to_f16(-1e30), 0xfc00);
        assert_eq!(f32_to_f16(f32::INFINITY), 0x7c00);
    }
}
