//! From the smallest token probability of an answer to words.

/// Above this the model hardly hesitated anywhere.
const SURE_FROM: f32 = 0.9;
/// Threshold used where the adapter's validation set none.
const UNDECIDED_BELOW: f32 = 0.5;

/// How sure the model was of its least sure token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// At least 90 %.
    Sure,
    /// Between the threshold and that.
    FairlySure,
    /// Below the threshold: the answer counts as undecided.
    Undecided,
}

impl Confidence {
    /// Grades `min_probability` (0..=1). `undecided_below` is the threshold stored with the
    /// adapter, chosen on validation questions.
    #[must_use]
    pub fn grade(min_probability: f32, undecided_below: Option<f32>) -> Self {
        let threshold = undecided_below.unwrap_or(UNDECIDED_BELOW);
        if min_probability.is_nan() || min_probability < threshold {
            Self::Undecided
        } else if min_probability >= SURE_FROM {
            Self::Sure
        } else {
            Self::FairlySure
        }
    }

    /// The words beside the percentage.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Sure => "Sure of every word",
            Self::FairlySure => "Fairly sure",
            Self::Undecided => "Not sure: check the batch record",
        }
    }

    /// Stable identifier, as in the `data-confidence` attribute.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Sure => "sure",
            Self::FairlySure => "fairly-sure",
            Self::Undecided => "undecided",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades_at_the_edges() {
        assert_eq!(Confidence::grade(0.9, None), Confidence::Sure);
        assert_eq!(Confidence::grade(0.899, None), Confidence::FairlySure);
        assert_eq!(Confidence::grade(0.5, None), Confidence::FairlySure);
        assert_eq!(Confidence::grade(0.499, None), Confidence::Undecided);
    }

    #[test]
    fn the_adapters_threshold_wins() {
        assert_eq!(Confidence::grade(0.3, Some(0.2)), Confidence::FairlySure);
        assert_eq!(Confidence::grade(0.94, Some(0.95)), Confidence::Undecided);
        assert_eq!(Confidence::grade(0.96, Some(0.95)), Confidence::Sure);
    }

    #[test]
    fn a_probability_that_is_no_number_is_undecided() {
        assert_eq!(Confidence::grade(f32::NAN, None), Confidence::Undecided);
    }
}
