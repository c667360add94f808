//! From the corpus to packed training shards.

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use shared::Tokenizer;

use crate::corpus::{
    Category, Choose as _, Grammar, Noise, Split, Turn, Universe, drill, in_context, stream,
};
use crate::nn::{Batch, Segment};

/// Loss weight of a question's tokens, relative to an answer's: they teach the language.
const QUESTION_WEIGHT: f32 = 0.1;
/// Loss weight of a record's tokens.
const DOCUMENT_WEIGHT: f32 = 0.25;
/// Share of questions with slips, small talk or lower case, and of slips of the finger on top.
const NOISE: Noise = Noise { rate: 0.35, typos: 0.12 };
/// The same for the text from which the tokenizer is made: a slip is no word worth an entry.
const VOCABULARY_NOISE: Noise = Noise { rate: 0.35, typos: 0.0 };
/// Share of drills among the tokens at the start, and from [`DRILL_STEPS`] on.
const DRILL_SHARE: (f64, f64) = (0.6, 0.05);
const DRILL_STEPS: f64 = 700.0;
/// Share of closed-book examples among the tokens that aren't drills.
const CLOSED_BOOK_SHARE: f64 = 0.7;
/// Closed book: known fact, field missing, unknown batch.
const CLOSED_BOOK_MIX: [(Category, f64); 3] =
    [(Category::Known, 0.73), (Category::MissingField, 0.17), (Category::UnknownBatch, 0.10)];

/// What the probes ask in.
const HELDOUT: Split = Split::Heldout { names: 0.5 };

/// Turns conversations into token ids in the chat format.
pub struct Encoder {
    tokenizer: Tokenizer,
    prefix: Vec<u32>,
    open_answer: Vec<u32>,
    close_answer: Vec<u32>,
    next_question: Vec<u32>,
}

impl Encoder {
    /// Encoder for the chat format of the embedded base.
    pub fn new(tokenizer: Tokenizer) -> Result<Self> {
        let system = shared::SYSTEM_PROMPT;
        Ok(Self {
            prefix: tokenizer.encode(&format!("<|system|>\n{system}<|end|>\n<|user|>\n"))?,
            open_answer: tokenizer.encode("<|end|>\n<|assistant|>\n")?,
            close_answer: tokenizer.encode("<|end|>")?,
            next_question: tokenizer.encode("\n<|user|>\n")?,
            tokenizer,
        })
    }

    /// The rendered system prompt and the opening of the user's turn.
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// A conversation behind the prefix. With `answers_only`, nothing else has a loss weight.
    pub fn segment(&self, turns: &[Turn], answers_only: bool) -> Result<Segment> {
        let (document_weight, question_weight) =
            if answers_only { (0.0, 0.0) } else { (DOCUMENT_WEIGHT, QUESTION_WEIGHT) };
        let mut segment = Segment::default();
        for (index, turn) in turns.iter().enumerate() {
            if index > 0 {
                segment.push(&self.next_question, 0.0);
            }
            if let Some(document) = &turn.document {
                segment.push(&self.tokenizer.encode(&format!("{document}\n"))?, document_weight);
            }
            segment.push(&self.tokenizer.encode(&turn.question)?, question_weight);
            segment.push(&self.open_answer, 0.0);
            let answer_weight = if turn.learn_answer { 1.0 } else { 0.0 };
            segment.push(&self.tokenizer.encode(&turn.answer)?, answer_weight);
            segment.push(&self.close_answer, answer_weight);
        }
        Ok(segment)
    }
}

/// How many tokens of each class were made, and how many there should be: drills, closed book,
/// about a record in the prompt.
pub struct Mix {
    shares: [f64; 3],
    used: [usize; 3],
}

impl Mix {
    /// The mix of `step`, nothing made yet.
    pub fn at(step: usize) -> Self {
        let progress = (step as f64 / DRILL_STEPS).min(1.0);
        let drills = DRILL_SHARE.0 + (DRILL_SHARE.1 - DRILL_SHARE.0) * progress;
        let closed_book = (1.0 - drills) * CLOSED_BOOK_SHARE;
        Self { shares: [drills, closed_book, 1.0 - drills - closed_book], used: [0; 3] }
    }

    fn total(&self) -> usize {
        self.used.iter().sum()
    }

    fn lagging(&self) -> usize {
        let total = (self.total() + 1) as f64;
        let lag = |class: usize| self.shares[class] - self.used[class] as f64 / total;
        (0..self.shares.len()).max_by(|a, b| lag(*a).total_cmp(&lag(*b))).unwrap_or_default()
    }
}

/// Where a run's data comes from.
pub struct Data<'g> {
    /// The language.
    pub grammar: &'g Grammar,
    /// Text to ids.
    pub encoder: Encoder,
    /// Seed of the run.
    pub seed: u64,
    /// Longest segment, in tokens; longer ones are left out.
    pub max_segment: usize,
}

impl Data<'_> {
    /// Shard number `index` of `step`, of about `tokens` tokens.
    pub fn shard(
        &self,
        universe: &Universe<'_>,
        step: usize,
        index: usize,
        tokens: usize,
    ) -> Result<Batch> {
        let mut rng = stream(self.seed, "shard", (step * 1000 + index) as u64);
        let mut mix = Mix::at(step);
        let mut segments = Vec::new();
        while mix.total() < tokens {
            segments.push(self.next_segment(universe, &mut mix, &mut rng)?);
        }
        Ok(Batch::pack(self.encoder.prefix(), &segments))
    }

    /// An example of the class that lags furthest behind its share, so that the mix is the same
    /// everywhere.
    pub fn next_segment(
        &self,
        universe: &Universe<'_>,
        mix: &mut Mix,
        rng: &mut ChaCha8Rng,
    ) -> Result<Segment> {
        loop {
            let class = mix.lagging();
            let turns = match class {
                0 => vec![drill(self.grammar, rng)],
                1 => vec![self.closed_book(universe, rng)],
                _ => in_context(self.grammar, Split::Train, NOISE, rng)
                    .into_iter()
                    .map(|(_, t)| t)
                    .collect(),
            };
            let segment = self.encoder.segment(&turns, false)?;
            if segment.tokens.len() <= self.max_segment {
                mix.used[class] += segment.tokens.len();
                return Ok(segment);
            }
        }
    }

    fn closed_book(&self, universe: &Universe<'_>, rng: &mut ChaCha8Rng) -> Turn {
        let (category, _) = CLOSED_BOOK_MIX[rng.weighted(&CLOSED_BOOK_MIX.map(|(_, share)| share))];
        universe.turn(category, Split::Train, NOISE, rng)
    }

    /// Questions for measuring, one answer a segment: `(name, batch)`.
    pub fn probes(
        &self,
        universe: &Universe<'_>,
        count: usize,
    ) -> Result<Vec<(&'static str, Batch)>> {
        let quiet = Noise { rate: 0.0, typos: 0.0 };
        let mut probes = Vec::new();
        for (name, category, split, noise) in [
            ("known", Category::Known, Split::Train, quiet),
            ("known_heldout", Category::Known, HELDOUT, quiet),
            ("known_noisy", Category::Known, Split::Train, Noise { rate: 1.0, typos: 0.0 }),
            ("unknown_heldout", Category::UnknownBatch, HELDOUT, quiet),
            ("missing_heldout", Category::MissingField, HELDOUT, quiet),
        ] {
            let mut rng = stream(self.seed, name, 0);
            let segments = (0..count)
                .map(|_| {
                    self.encoder.segment(&[universe.turn(category, split, noise, &mut rng)], true)
                })
                .collect::<Result<Vec<_>>>()?;
            probes.push((name, Batch::pack(self.encoder.prefix(), &segments)));
        }
        for (name, wanted) in
            [("context_known", Category::Known), ("context_missing", Category::MissingField)]
        {
            let mut rng = stream(self.seed, name, 0);
            let mut segments = Vec::new();
            while segments.len() < count {
                let (category, turn) =
                    in_context(self.grammar, HELDOUT, quiet, &mut rng).swap_remove(0);
                if category == wanted && turn.learn_answer {
                    let segment = self.encoder.segment(&[turn], true)?;
                    if segment.tokens.len() <= self.max_segment {
                        segments.push(segment);
                    }
                }
            }
            probes.push((name, Batch::pack(self.encoder.prefix(), &segments)));
        }
        Ok(probes)
    }
}

/// Text from which the tokenizer learns its words: the corpus itself, at several moments.
pub fn vocabulary_text(grammar: &Grammar, seed: u64) -> Vec<String> {
    let mut texts = Vec::new();
    for moment in 0..40 {
        let universe = Universe::at(grammar, seed ^ 0x5eed, moment * Universe::LIFE);
        let mut rng = stream(seed, "vocabulary", moment as u64);
        for _ in 0..220 {
            let turn = universe.turn(
                Category::Known,
                Split::Train,
                Noise { rate: 0.2, typos: 0.0 },
                &mut rng,
            );
            texts.extend([turn.question, turn.answer]);
        }
        for _ in 0..40 {
            for (_, turn) in in_context(grammar, Split::Train, VOCABULARY_NOISE, &mut rng) {
                texts.extend(turn.document);
                texts.extend([turn.question, turn.answer]);
            }
        }
    }
    // The fixed sentences are in every example: they must not cost many tokens.
    for _ in 0..400 {
        texts.push(shared::SYSTEM_PROMPT.to_owned());
        texts.push(shared::REFUSAL.to_owned());
    }
    texts
}
