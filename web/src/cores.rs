//! On how many processor cores the model runs, each with a rank of its own: what the reader wants,
//! what the browser lends, and what a measurement chose.

use serde::{Deserialize, Serialize};

/// The most that are used: fewer than many a machine has, because each holds memory of its own.
pub const MOST_CORES: usize = 4;

/// A smaller base runs on one core unless the reader chooses otherwise: reading its weights, which
/// is what a token costs, takes less than about a millisecond, and no reader sees the rest.
pub const WORTH_BYTES: u64 = 16 << 20;

/// What the reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cores {
    /// As many as are quickest.
    #[default]
    Automatic,
    /// This many, as far as the browser lends them.
    Exactly(usize),
}

impl Cores {
    /// As it is kept, and in the setting's `value`.
    #[must_use]
    pub fn code(self) -> String {
        match self {
            Self::Automatic => "automatic".into(),
            Self::Exactly(cores) => cores.to_string(),
        }
    }

    /// Reads [`Self::code`]; `None` for what it never gives.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        match code.parse() {
            Ok(cores) if (1..=MOST_CORES).contains(&cores) => Some(Self::Exactly(cores)),
            Ok(_) => None,
            Err(_) => (code == "automatic").then_some(Self::Automatic),
        }
    }
}

/// What the browser lends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Whether workers may share memory: only on pages that are isolated from other sites.
    pub isolated: bool,
    /// Logical processors of the machine, as far as the browser says.
    pub processors: usize,
}

impl Offer {
    /// What a window or worker scope says, with its navigator's `hardwareConcurrency`.
    #[cfg(target_arch = "wasm32")]
    pub fn of(scope: &wasm_bindgen::JsValue, hardware_concurrency: f64) -> Self {
        let flag = js_sys::Reflect::get(scope, &"crossOriginIsolated".into());
        Self {
            isolated: flag.is_ok_and(|flag| flag.is_truthy()),
            processors: hardware_concurrency as usize,
        }
    }

    /// The most cores that can be used.
    #[must_use]
    pub fn most(self) -> usize {
        if self.isolated { self.processors.clamp(1, MOST_CORES) } else { 1 }
    }
}

/// What to do about a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Run on this many cores.
    Use(usize),
    /// Measure which number up to this one is quickest.
    Measure {
        /// The most.
        most: usize,
    },
}

/// The plan for a base of `base_bytes`.
#[must_use]
pub fn plan(wanted: Cores, offer: Offer, base_bytes: u64) -> Plan {
    let most = offer.most();
    match wanted {
        Cores::Exactly(cores) => Plan::Use(cores.clamp(1, most)),
        Cores::Automatic if most == 1 || base_bytes < WORTH_BYTES => Plan::Use(1),
        Cores::Automatic => Plan::Measure { most },
    }
}

/// The number of cores to use, from numbers that were measured and the time that each took. A core
/// more has to save a tenth, because it takes memory and electricity.
#[must_use]
pub fn quickest(times: &[(usize, f64)]) -> usize {
    let mut times = times.to_vec();
    times.sort_by_key(|(cores, _)| *cores);
    let best =
        times.into_iter().reduce(|best, next| if next.1 < 0.9 * best.1 { next } else { best });
    best.map_or(1, |(cores, _)| cores)
}

/// A measurement, as this browser keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// SHA-256 of the base.
    pub base_sha256: String,
    /// The build that measured.
    pub build: String,
    /// [`Offer::processors`] then.
    pub processors: usize,
    /// The number that was quickest.
    pub cores: usize,
}

impl Measurement {
    /// The number of cores, if it was measured for this base, by this build, on such a machine.
    #[must_use]
    pub fn holds(&self, base_sha256: &str, build: &str, offer: Offer) -> Option<usize> {
        let same = self.base_sha256 == base_sha256
            && self.build == build
            && self.processors == offer.processors;
        same.then_some(self.cores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = WORTH_BYTES;

    fn offer(isolated: bool, processors: usize) -> Offer {
        Offer { isolated, processors }
    }

    #[test]
    fn codes_read_back_and_others_are_refused() {
        for cores in [Cores::Automatic, Cores::Exactly(1), Cores::Exactly(MOST_CORES)] {
            assert_eq!(Cores::parse(&cores.code()), Some(cores));
        }
        for code in ["", "0", "5", "-1", "two", "Automatic"] {
            assert_eq!(Cores::parse(code), None, "{code:?}");
        }
    }

    #[test]
    fn a_page_that_is_not_isolated_has_one_core() {
        assert_eq!(offer(false, 8).most(), 1);
        for wanted in [Cores::Automatic, Cores::Exactly(4)] {
            assert_eq!(plan(wanted, offer(false, 8), LARGE), Plan::Use(1));
        }
    }

    #[test]
    fn the_readers_number_counts_as_far_as_there_are_processors() {
        for (wanted, processors, used) in [(1, 8, 1), (3, 8, 3), (4, 2, 2), (4, 0, 1), (2, 1, 1)] {
            let plan = plan(Cores::Exactly(wanted), offer(true, processors), LARGE);
            assert_eq!(plan, Plan::Use(used), "{wanted} of {processors}");
        }
    }

    #[test]
    fn only_a_large_base_is_measured() {
        let automatic = |processors, bytes| plan(Cores::Automatic, offer(true, processors), bytes);
        assert_eq!(automatic(8, LARGE - 1), Plan::Use(1));
        assert_eq!(automatic(8, LARGE), Plan::Measure { most: 4 });
        assert_eq!(automatic(2, LARGE), Plan::Measure { most: 2 });
        assert_eq!(automatic(1, LARGE), Plan::Use(1));
    }

    #[test]
    fn a_core_more_has_to_save_a_tenth() {
        assert_eq!(quickest(&[]), 1);
        assert_eq!(quickest(&[(1, 10.0)]), 1);
        assert_eq!(quickest(&[(2, 5.5), (1, 10.0)]), 2);
        assert_eq!(quickest(&[(1, 10.0), (2, 9.5)]), 1);
        // Three are no tenth quicker than two, four are.
        assert_eq!(quickest(&[(4, 4.0), (3, 5.2), (2, 5.5), (1, 10.0)]), 4);
        assert_eq!(quickest(&[(4, 12.0), (3, 5.2), (2, 5.5), (1, 10.0)]), 2);
    }

    #[test]
    fn a_measurement_holds_for_its_base_build_and_machine() {
        let measured =
            Measurement { base_sha256: "aa".into(), build: "b1".into(), processors: 4, cores: 2 };
        assert_eq!(measured.holds("aa", "b1", offer(true, 4)), Some(2));
        for (base, build, processors) in [("bb", "b1", 4), ("aa", "b2", 4), ("aa", "b1", 8)] {
            assert_eq!(measured.holds(base, build, offer(true, processors)), None);
        }
        let json = serde_json::to_string(&measured).unwrap();
        assert_eq!(serde_json::from_str::<Measurement>(&json).unwrap(), measured);
    }
}
