//! The sampler's values as form fields: name, range, reading and writing text.

use shared::SamplerConfig;

/// One value of the sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamplerField {
    /// Divides the logits; 0 always takes the most probable token.
    Temperature,
    /// Smallest set of tokens with this share of the probability.
    TopP,
    /// So many most probable tokens; 0 for all.
    TopK,
    /// Longest answer, in tokens.
    MaxNewTokens,
    /// No sequence of so many tokens twice in an answer; 0 to allow repeats.
    NoRepeatNgramSize,
    /// Start of the random numbers.
    Seed,
}

impl SamplerField {
    /// All of them, in display order.
    pub const ALL: [Self; 6] = [
        Self::Temperature,
        Self::TopP,
        Self::TopK,
        Self::MaxNewTokens,
        Self::NoRepeatNgramSize,
        Self::Seed,
    ];

    /// Its name everywhere in the field, and on the page.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::TopP => "top_p",
            Self::TopK => "top_k",
            Self::MaxNewTokens => "max_new_tokens",
            Self::NoRepeatNgramSize => "no_repeat_ngram_size",
            Self::Seed => "seed",
        }
    }

    /// Smallest value, largest value and step, as the attributes of a number field.
    #[must_use]
    pub fn range(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Temperature => ("0", "2", "0.05"),
            Self::TopP => ("0.05", "1", "0.05"),
            Self::TopK => ("0", "1000", "1"),
            Self::MaxNewTokens => ("1", "1000", "1"),
            Self::NoRepeatNgramSize => ("0", "10", "1"),
            Self::Seed => ("0", "4294967295", "1"),
        }
    }

    /// Its value in `sampler`, as text.
    #[must_use]
    pub fn read(self, sampler: &SamplerConfig) -> String {
        match self {
            Self::Temperature => sampler.temperature.to_string(),
            Self::TopP => sampler.top_p.to_string(),
            Self::TopK => sampler.top_k.to_string(),
            Self::MaxNewTokens => sampler.max_new_tokens.to_string(),
            Self::NoRepeatNgramSize => sampler.no_repeat_ngram_size.to_string(),
            Self::Seed => sampler.seed.to_string(),
        }
    }

    /// `sampler` with this value set to `text`; `None` where that is no number of its range.
    #[must_use]
    pub fn write(self, sampler: &SamplerConfig, text: &str) -> Option<SamplerConfig> {
        let mut sampler = sampler.clone();
        match self {
            Self::Temperature => sampler.temperature = self.real(text)?,
            Self::TopP => sampler.top_p = self.real(text)?,
            Self::TopK => sampler.top_k = self.whole(text)? as usize,
            Self::MaxNewTokens => sampler.max_new_tokens = self.whole(text)? as usize,
            Self::NoRepeatNgramSize => sampler.no_repeat_ngram_size = self.whole(text)? as usize,
            Self::Seed => sampler.seed = self.whole(text)?,
        }
        Some(sampler)
    }

    fn real(self, text: &str) -> Option<f32> {
        let (low, high, _) = self.range();
        let value: f32 = text.trim().parse().ok()?;
        (low.parse::<f32>().ok()?..=high.parse().ok()?).contains(&value).then_some(value)
    }

    fn whole(self, text: &str) -> Option<u64> {
        let (low, high, _) = self.range();
        let value: u64 = text.trim().parse().ok()?;
        (low.parse::<u64>().ok()?..=high.parse().ok()?).contains(&value).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let start = SamplerConfig::production();
        for (field, text) in
            SamplerField::ALL.into_iter().zip(["0.7", "0.5", "12", "80", "4", "99"])
        {
            let changed = field.write(&start, text).unwrap();
            assert_eq!(field.read(&changed), text, "{field:?}");
            for other in SamplerField::ALL.into_iter().filter(|other| *other != field) {
                assert_eq!(other.read(&changed), other.read(&start), "{field:?} moved {other:?}");
            }
        }
    }

    #[test]
    fn both_ends_of_a_range_belong_to_it() {
        let start = SamplerConfig::exact();
        for field in SamplerField::ALL {
            let (low, high, _) = field.range();
            assert!(field.write(&start, low).is_some(), "{field:?} {low}");
            assert!(field.write(&start, high).is_some(), "{field:?} {high}");
        }
    }

    #[test]
    fn rejects_what_is_no_number_of_the_range() {
        let start = SamplerConfig::exact();
        for (field, text) in [
            (SamplerField::Temperature, "NaN"),
            (SamplerField::Temperature, "-0.1"),
            (SamplerField::Temperature, "2.1"),
            (SamplerField::TopP, "0"),
            (SamplerField::TopK, "1.5"),
            (SamplerField::MaxNewTokens, "0"),
            (SamplerField::NoRepeatNgramSize, "-1"),
            (SamplerField::Seed, "4294967296"),
            (SamplerField::Seed, ""),
        ] {
            assert_eq!(field.write(&start, text), None, "{field:?} {text:?}");
        }
    }

    #[test]
    fn the_presets_lie_within_the_ranges() {
        for preset in [SamplerConfig::exact(), SamplerConfig::production()] {
            for field in SamplerField::ALL {
                let text = field.read(&preset);
                assert_eq!(field.write(&preset, &text), Some(preset.clone()), "{field:?} {text}");
            }
        }
    }
}
