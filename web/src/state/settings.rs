//! Answer settings: two presets and own values of the sampler, what answers are possible, and on
//! how many processor cores they are computed.

use shared::{Decoding, SamplerConfig};

use super::action::SettingsChange;
use crate::cores::Cores;

/// A named set of sampler values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The most probable token every time: the same question gives the same answer.
    Exact,
    /// The values of the user's production model.
    Production,
}

impl Preset {
    /// Both, in display order.
    pub const ALL: [Self; 2] = [Self::Exact, Self::Production];

    /// Its sampler values.
    #[must_use]
    pub fn sampler(self) -> SamplerConfig {
        match self {
            Self::Exact => SamplerConfig::exact(),
            Self::Production => SamplerConfig::production(),
        }
    }

    /// Stable identifier, as in the `data-preset` attribute.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Production => "production",
        }
    }

    /// Name on the page.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Exact => "Exact",
            Self::Production => "Production",
        }
    }
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The values.
    pub sampler: SamplerConfig,
    /// What answers are possible.
    pub decoding: Decoding,
    /// On how many cores they are computed; the answers don't depend on it.
    pub cores: Cores,
}

impl Default for Settings {
    fn default() -> Self {
        let (decoding, cores) = (Decoding::Free, Cores::default());
        Self { sampler: Preset::Exact.sampler(), decoding, cores }
    }
}

impl Settings {
    /// The preset that has these values, if one does.
    #[must_use]
    pub fn preset(&self) -> Option<Preset> {
        Preset::ALL.into_iter().find(|preset| preset.sampler() == self.sampler)
    }

    /// The settings after `change`.
    pub fn apply(&mut self, change: SettingsChange) {
        match change {
            SettingsChange::Preset(preset) => self.sampler = preset.sampler(),
            SettingsChange::Sampler(sampler) => self.sampler = sampler,
            SettingsChange::Decoding(decoding) => self.decoding = decoding,
            SettingsChange::Cores(cores) => self.cores = cores,
        }
    }
}
