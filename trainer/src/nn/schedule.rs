//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

/// Factor on the peak learning rate, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Schedule {
    /// Linear warm-up, then a half cosine to zero (transformers' `cosine`).
    Cosine {
        /// Steps of warm-up.
        warmup: usize,
        /// All steps.
        total: usize,
    },
    /// Linear warm-up, then linear to zero (transformers' `linear`).
    Linear {
        /// Steps of warm-up.
        warmup: usize,
        /// All steps.
        total: usize,
    },
    /// Linear warm-up, constant, then linear to zero over the last `decay` steps.
    WarmupStableDecay {
        /// Steps of warm-up.
        warmup: usize,
        /// All steps.
        total: usize,
        /// Steps of decay at the end.
        decay: usize,
    },
}

impl Schedule {
    /// The factor for the update number `step`, counted from 0.
    pub fn factor(&self, step: usize) -> f64 {
        let (Self::Cosine { warmup, .. }
        | Self::Linear { warmup, .. }
        | Self::WarmupStableDecay { warmup, .. }) = *self;
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let progress =
            |total: usize| (step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
        match *self {
            Self::Cosine { total, .. } => {
                0.5 * (1.0 + (std::f64::consts::PI * progress(total).min(1.0)).cos())
            }
            Self::Linear { total, .. } => (1.0 - progress(total)).max(0.0),
            Self::WarmupStableDecay { total, decay, .. } => {
                ((total.saturating_sub(step)) as f64 / decay.max(1) as f64).min(1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_at_the_corners() {
        let cosine = Schedule::Cosine { warmup: 10, total: 110 };
        assert_eq!(cosine.factor(0), 0.0);
        assert_eq!(cosine.factor(5), 0.5);
        assert_eq!(cosine.factor(10), 1.0);
        assert!((cosine.factor(60) - 0.5).abs() < 1e-12);
        assert!(cosine.factor(110) < 1e-12);
        let linear = Schedule::Linear { warmup: 0, total: 4 };
        assert_eq!([0, 1, 2, 3].map(|s| linear.factor(s)), [1.0, 0.75, 0.5, 0.25]);
        let stable = Schedule::WarmupStableDecay { warmup: 2, total: 10, decay: 4 };
        assert_eq!([1, 2, 6, 7, 9, 10].map(|s| stable.factor(s)), [0.5, 1.0, 1.0, 0.75, 0.25, 0.0]);
    }
}
