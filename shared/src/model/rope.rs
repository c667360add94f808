//! Rotary position embedding (Su et al., "RoFormer", 2021), in Hugging Face's `rotate_half` order:
//! dimension `i` turns with dimension `i + head_dim / 2`.

/// Cosines and sines of consecutive positions.
pub(super) struct Rotation {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rotation {
    /// Angles of `count` positions from `first` on: position times `theta^(-2i / head_dim)`.
    ///
    /// Frequencies are rounded to f32 once and angles are f32 products, as Hugging Face computes
    /// them.
    pub fn new(frequencies: &[f32], first: usize, count: usize) -> Self {
        let angles = (first..first + count).flat_map(|position| {
            frequencies.iter().map(move |frequency| position as f32 * frequency)
        });
        let (cosines, sines) = angles.map(|angle| (libm::cosf(angle), libm::sinf(angle))).unzip();
        Self { half: frequencies.len(), cosines, sines }
    }

    /// Turns every head of `heads`, `[.., head_dim]`, by the angles of position `first + index`.
    pub fn apply(&self, index: usize, heads: &mut [f32]) {
        let cosines = &self.cosines[index * self.half..][..self.half];
        let sines = &self.sines[index * self.half..][..self.half];
        for head in heads.chunks_exact_mut(2 * self.half) {
            let (low, high) = head.split_at_mut(self.half);
            for i in 0..self.half {
                let (x, y) = (low[i], high[i]);
                low[i] = x * cosines[i] - y * sines[i];
                high[i] = y * cosines[i] + x * sines[i];
            }
        }
    }
}

/// `theta^(-2i / head_dim)` for every pair of dimensions.
pub(super) fn frequencies(theta: f32, head_dim: usize) -> Vec<f32> {
    (0..head_dim / 2)
        .map(|i| {
            let exponent = (2 * i) as f64 / head_dim as f64;
            (1.0 / libm::pow(f64::from(theta), exponent)) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_zero_changes_nothing() {
        let mut head = [1.0, 2.0, 3.0, 4.0];
        Rotation::new(&frequencies(1e4, 4), 0, 1).apply(0, &mut head);
        assert_eq!(head, [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn turns_by_hand() {
        // Frequencies 1 and 0.01; position 3.
        let rotation = Rotation::new(&frequencies(1e4, 4), 2, 2);
        let mut heads = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0];
        rotation.apply(1, &mut heads);
        let (c, s) = (3.0_f32.cos(), 3.0_f32.sin());
        let (c2, s2) = (0.03_f32.cos(), 0.03_f32.sin());
        let expected = [c, -s2, s, c2, -s, c2, c, s2];
        for (found, expected) in heads.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{heads:?}");
        }
    }

    #[test]
    fn products_depend_on_the_distance_only() {
        let frequencies = frequencies(1e4, 32);
        let start: Vec<f32> = (0..32).map(|k| (k as f32 * 0.37).sin()).collect();
        let dot = |a: usize, b: usize| -> f32 {
            let (mut x, mut y) = (start.clone(), start.clone());
            Rotation::new(&frequencies, a, 1).apply(0, &mut x);
            Rotation::new(&frequencies, b, 1).apply(0, &mut y);
            x.iter().zip(&y).map(|(x, y)| x * y).sum()
        };
        assert!((dot(3, 10) - dot(203, 210)).abs() < 1e-4);
        assert!((dot(3, 10) - dot(3, 30)).abs() > 1e-2);
    }
}
