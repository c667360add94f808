//! Distances between results.

/// Largest difference, relative to the largest expected magnitude.
///
/// # Panics
/// If the lengths differ: a comparison that stops early proves nothing.
pub fn max_relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |max: f64, e| max.max(f64::from(*e).abs()));
    let error = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - f64::from(*e)).abs());
    // NaN has to fail whatever is asserted of the result.
    error.fold(0.0, |max: f64, e| if e > max || e.is_nan() { e } else { max }) / largest
}

/// Euclidean length of the difference, relative to the expected length.
///
/// # Panics
/// As [`max_relative_error`].
pub fn relative_distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let error = square(&mut found.iter().zip(expected).map(|(f, e)| f64::from(*f) - f64::from(*e)));
    (error / square(&mut expected.iter().map(|e| f64::from(*e)))).sqrt()
}

/// Kullback-Leibler divergence of the softmax of `found` from that of `expected`, in nats, mean
/// over rows of `vocab_size` logits.
///
/// # Panics
/// As [`max_relative_error`].
pub fn mean_kl(found: &[f32], expected: &[f32], vocab_size: usize) -> f64 {
    assert_eq!(found.len(), expected.len());
    let rows = found.chunks_exact(vocab_size).zip(expected.chunks_exact(vocab_size));
    let divergences = rows.map(|(found, expected)| {
        let (found, expected) = (log_softmax(found), log_softmax(expected));
        found.iter().zip(&expected).map(|(f, e)| e.exp() * (e - f)).sum::<f64>()
    });
    divergences.sum::<f64>() / (found.len() / vocab_size) as f64
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f64> = logits.iter().map(|l| f64::from(*l) - f64::from(max)).collect();
    let total = shifted.iter().map(|l| l.exp()).sum::<f64>().ln();
    shifted.into_iter().map(|l| l - total).collect()
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn distances_by_hand() {
        assert_eq!(max_relative_error(&[1.0, -4.5], &[1.0, -4.0]), 0.125);
        assert_eq!(relative_distance(&[3.0, 4.0, 1.0], &[3.0, 4.0, 0.0]), 0.2);
        assert!(max_relative_error(&[f32::NAN, 0.0], &[1.0, 1.0]).is_nan());
        assert!(relative_distance(&[f32::NAN, 0.0], &[1.0, 1.0]).is_nan());
    }

    #[test]
    fn divergence_by_hand() {
        // Expected (1/2, 1/2), found (1/4, 3/4): half of ln 2 plus half of ln 2/3.
        let found = [0.0, 3f32.ln(), 1.0, 1.0];
        let expected = 0.5 * 2f64.ln() + 0.5 * (2.0 / 3.0f64).ln();
        assert!((mean_kl(&found, &[7.0, 7.0, 5.0, 5.0], 2) - expected / 2.0).abs() < 1e-7);
    }
}
