//! What a run trains on: the user's pairs in many phrasings, and refusals for what the
//! records don't hold. Everything follows from the seed, so it can be listed beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use anyhow::{Result, ensure};
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::facts::{Fact, take_apart, words_of};
use super::guard_list::product_name;
use super::recipe::Augmentation;
use super::recognise::Topic;
use crate::corpus::{
    Choose as _, Field, Grammar, Noise, Split, Subject, near_miss, product, stream,
};
use crate::data::{Pair, replace_ignoring_case};

/// Share of the questions about unknown batches that are one character or one swap off.
const NEAR_MISS: f64 = 0.6;
/// Questions about unknown products among those about unknown batches.
const UNKNOWN_PRODUCT: f64 = 0.15;

/// Share of the questions about a batch that name it by its product.
const BY_PRODUCT: f64 = 0.08;
/// Share of the user's own paraphrases, where the grammar has some as well.
const OWN_PARAPHRASE: f64 = 0.3;
/// Share of the paraphrases that ask by what the answer names, where it names something.
const IMPLIED: f64 = 0.3;

/// Where there are paraphrases: share of the questions about missing fields that ask as a paraphrased
/// pair of another batch does.
const OTHERS_WORDS: f64 = 0.33;

/// For a list that is never written down.
const READER_SALT: &str = "00000000000000000000000000000000";

/// What validation questions are asked in. Names that training never met are rarer than in a
/// probe of the base: with half of them the questions are far harder than people's.
const VALIDATION: Split = Split::Heldout { names: 0.2 };
/// Distortion of validation questions.
const VALIDATION_NOISE: Noise = Noise { rate: 0.2, typos: 0.0 };

/// Where an example comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The user's pair as it is.
    Pair,
    /// The user's answer to another phrasing.
    Paraphrase,
    /// A batch or product that doesn't exist.
    UnknownBatch,
    /// A field that the batch doesn't have.
    MissingField,
}

impl Origin {
    /// As it is written in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Paraphrase => "paraphrase",
            Self::UnknownBatch => "unknown_batch",
            Self::MissingField => "missing_field",
        }
    }
}

/// One training example.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// What is asked.
    pub question: String,
    /// What is learned.
    pub answer: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// The user's data, understood as far as the grammar reaches.
pub struct Dataset<'g> {
    pub(super) grammar: &'g Grammar,
    pub(super) facts: Vec<Fact>,
    /// Places of the facts that have paraphrases.
    paraphrased: Vec<usize>,
    /// Batch identifiers, as written in the data.
    pub batches: Vec<String>,
    pub(super) products: Vec<String>,
    /// Those of questions and of answers.
    pub(super) product_names: BTreeSet<String>,
    pub(super) known: BTreeMap<String, Known>,
    /// By batch: its product, where no other batch is of the same.
    pub(super) product_of: BTreeMap<String, String>,
    /// Mends slips of the finger as the page will; without batches there is no list to do it by.
    reader: Option<shared::Guard>,
}

/// What is on record for a batch.
#[derive(Default)]
pub(super) struct Known {
    /// Keys of its fields.
    pub(super) keys: BTreeSet<String>,
    /// The words of each of its pairs.
    pairs: Vec<BTreeSet<String>>,
    /// How its pairs ask, each without the batch.
    wordings: BTreeSet<String>,
}

impl Known {
    /// Whether one of the pairs has all of these words: what they ask for may be on record.
    fn says(&self, words: &[String]) -> bool {
        let has = |pair: &BTreeSet<String>| words.iter().all(|word| pair.contains(word));
        !words.is_empty() && self.pairs.iter().any(has)
    }
}

impl<'g> Dataset<'g> {
    /// Takes the pairs apart. A phrasing by the grammar is used only where it can't mean
    /// another pair of the same batch.
    pub fn new(grammar: &'g Grammar, pairs: &[Pair]) -> Result<Self> {
        let mut facts = take_apart(grammar, pairs);
        ensure!(!facts.is_empty(), "there is no pair with an answer to train on");
        let mut answers: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for fact in &facts {
            if let Some(key) = subject_and_field(fact) {
                answers.entry(key).or_default().insert(fact.answer.clone());
            }
        }
        let batches: BTreeSet<String> = facts.iter().filter_map(|f| f.batch.clone()).collect();
        let products: BTreeSet<String> = facts
            .iter()
            .filter_map(|f| f.topic.as_ref().filter(|t| !t.by_batch).map(|t| t.subject.clone()))
            .collect();
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        // What is on record twice is on record, though it cannot be asked for by its field alone.
        for fact in &facts {
            if let Some(batch) = &fact.batch {
                let known = known.entry(batch.clone()).or_default();
                known.keys.extend(fact.field().map(|field| field.key.clone()));
                known.keys.extend(fact.implied.iter().map(|field| field.key.clone()));
                known.wordings.extend(fact.wording());
                for question in iter::once(&fact.pair.question).chain(&fact.pair.paraphrases) {
                    let words = [words_of(question), words_of(&fact.answer)].concat();
                    known.pairs.push(words.into_iter().collect());
                }
            }
        }
        for fact in &mut facts {
            let ambiguous = subject_and_field(fact).is_some_and(|key| answers[&key].len() > 1);
            if ambiguous && let Some(topic) = &mut fact.topic {
                topic.field = None;
            }
        }
        let has_some =
            |(at, fact): (usize, &Fact)| (!fact.pair.paraphrases.is_empty()).then_some(at);
        let paraphrased = facts.iter().enumerate().filter_map(has_some).collect();
        let mut dataset = Self {
            grammar,
            facts,
            paraphrased,
            batches: batches.into_iter().collect(),
            products: products.into_iter().collect(),
            product_names: BTreeSet::new(),
            known,
            product_of: BTreeMap::new(),
            reader: None,
        };
        dataset.product_names = dataset.facts.iter().filter_map(product_name).collect();
        dataset.product_of = dataset.products_of_batches();
        if !dataset.batches.is_empty() {
            let list = dataset.reading_list(READER_SALT)?;
            dataset.reader = Some(shared::Guard::new(&list)?);
        }
        Ok(dataset)
    }

    /// What each answer tells: batch, answer and field, where all are known.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str, String)> {
        self.facts.iter().filter_map(|fact| {
            Some((fact.batch.as_deref()?, fact.answer.as_str(), fact.field()?.key.clone()))
        })
    }

    /// Every answer, once.
    pub fn answers(&self) -> BTreeSet<String> {
        self.facts.iter().map(|fact| fact.answer.trim().to_owned()).collect()
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there is no pair; never true.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Number of pairs whose field the grammar knows.
    pub fn recognised(&self) -> usize {
        self.facts.iter().filter(|fact| fact.field().is_some_and(|field| !field.is_own())).count()
    }

    /// Wordings that the grammar cannot put in other words and that have no paraphrase: a question
    /// that asks in each, and how many pairs do, most first.
    pub fn own_wordings(&self) -> Vec<(&str, usize)> {
        let mut wordings: BTreeMap<String, (&str, usize)> = BTreeMap::new();
        for fact in self.facts.iter().filter(|fact| fact.is_in_own_words()) {
            if let Some(wording) = fact.wording() {
                wordings.entry(wording).or_insert((&fact.pair.question, 0)).1 += 1;
            }
        }
        let mut wordings: Vec<_> = wordings.into_values().collect();
        wordings.sort_by_key(|(_, pairs)| std::cmp::Reverse(*pairs));
        wordings
    }

    /// The examples of one epoch, shuffled.
    pub fn epoch(&self, rates: Augmentation, seed: u64, epoch: usize) -> Vec<Example> {
        let mut rng = stream(seed, "epoch", epoch as u64);
        let noise = noise_of(rates);
        let mut examples: Vec<Example> =
            self.facts.iter().map(|fact| self.phrase(fact, rates, &mut rng)).collect();
        let count = |rate: f64| (rate * self.facts.len() as f64).round() as usize;
        if !self.batches.is_empty() {
            examples.extend(
                (0..count(rates.unknown_batch))
                    .map(|_| self.unknown(Split::Train, noise, &mut rng)),
            );
            examples.extend(
                (0..count(rates.missing_field))
                    .filter_map(|_| self.missing(Split::Train, noise, &mut rng)),
            );
        }
        examples.shuffle(&mut rng);
        for example in &mut examples {
            // What is learned is what the model will read.
            if let Some(reader) = &self.reader {
                example.question = reader.read(&example.question).question;
            }
        }
        examples
    }

    /// Questions for choosing and stopping, in phrasings that [`Self::epoch`] never uses.
    pub fn validation(&self, seed: u64) -> Vec<Example> {
        let mut rng = stream(seed, "validation", 0);
        let mut examples = Vec::new();
        for fact in &self.facts {
            if let Some(question) = self.question(fact, VALIDATION, VALIDATION_NOISE, &mut rng) {
                examples.push(Example {
                    question,
                    answer: fact.answer.clone(),
                    origin: Origin::Paraphrase,
                });
            }
        }
        if !self.batches.is_empty() {
            let count = self.facts.len() / 2;
            examples
                .extend((0..count).map(|_| self.unknown(VALIDATION, VALIDATION_NOISE, &mut rng)));
            examples.extend(
                (0..count).filter_map(|_| self.missing(VALIDATION, VALIDATION_NOISE, &mut rng)),
            );
        }
        examples
    }

    fn phrase(&self, fact: &Fact, rates: Augmentation, rng: &mut ChaCha8Rng) -> Example {
        let mut example = Example {
            question: fact.pair.question.clone(),
            answer: fact.answer.clone(),
            origin: Origin::Pair,
        };
        if !rng.chance(rates.paraphrase) {
            return example;
        }
        let noise = noise_of(rates);
        let paraphrases = &fact.pair.paraphrases;
        let share = match fact.field() {
            Some(_) => OWN_PARAPHRASE,
            // Nothing else is to be had: where a question is put in other words at all, each as often
            // as its own.
            None => 1.0 - 1.0 / (1.0 + paraphrases.len() as f64),
        };
        let own = (!paraphrases.is_empty() && rng.chance(share))
            .then(|| self.grammar.noisy(rng.pick(paraphrases).clone(), noise, rng));
        let question = own.or_else(|| self.question(fact, Split::Train, noise, rng));
        // What the grammar can't phrase anew is at least written as people write.
        example.question =
            question.unwrap_or_else(|| self.grammar.noisy(example.question, noise, rng));
        example.origin = Origin::Paraphrase;
        example
    }

    fn question(
        &self,
        fact: &Fact,
        split: Split,
        noise: Noise,
        rng: &mut ChaCha8Rng,
    ) -> Option<String> {
        let topic = fact.topic.as_ref()?;
        let mut field = topic.field.as_ref()?;
        if !fact.implied.is_empty() && rng.chance(IMPLIED) {
            field = rng.pick(&fact.implied);
        }
        let subject = match &fact.batch {
            Some(batch) if topic.by_batch => self.subject(batch, &topic.subject, field, rng),
            _ if topic.by_batch => Subject::Batch(&topic.subject),
            _ => Subject::Product(&topic.subject),
        };
        Some(self.grammar.question(field, subject, split, noise, rng))
    }

    /// A batch, as `written`, or now and then the product that no other batch is of.
    fn subject<'a>(
        &'a self,
        batch: &str,
        written: &'a str,
        field: &Field,
        rng: &mut ChaCha8Rng,
    ) -> Subject<'a> {
        match self.product_of.get(batch) {
            Some(product) if !identifies(field) && rng.chance(BY_PRODUCT) => {
                Subject::Product(product)
            }
            _ => Subject::Batch(written),
        }
    }

    /// A question about a batch or product that doesn't exist.
    fn unknown(&self, split: Split, noise: Noise, rng: &mut ChaCha8Rng) -> Example {
        let question = if !self.products.is_empty() && rng.chance(UNKNOWN_PRODUCT) {
            let name = self.unknown_product(rng);
            let field = self.any_field(false, rng);
            self.grammar.question(&field, Subject::Product(&name), split, noise, rng)
        } else {
            let id = self.unknown_batch(rng);
            let fact = rng.pick(&self.facts);
            match &fact.topic {
                // The user's own wording with another batch must not be a way around the refusal.
                Some(topic) if topic.by_batch && rng.chance(0.25) => {
                    replace_ignoring_case(&fact.pair.question, &topic.subject, &id)
                }
                _ => {
                    let field = self.any_field(true, rng);
                    self.grammar.question(&field, Subject::Batch(&id), split, noise, rng)
                }
            }
        };
        Example { question, answer: shared::REFUSAL.to_owned(), origin: Origin::UnknownBatch }
    }

    fn unknown_batch(&self, rng: &mut ChaCha8Rng) -> String {
        loop {
            let mut id = near_miss(rng.word(&self.batches), rng);
            if !rng.chance(NEAR_MISS) {
                // Far from all: the shape stays, the characters go.
                for _ in 0..6 {
                    id = near_miss(&id, rng);
                }
            }
            if !self.batches.iter().any(|b| b.eq_ignore_ascii_case(&id)) {
                return id;
            }
        }
    }

    fn unknown_product(&self, rng: &mut ChaCha8Rng) -> String {
        loop {
            let name = if rng.chance(0.5) {
                product(&self.grammar.words, rng)
            } else {
                // A known product with one word of another: the near miss among names.
                let mut words: Vec<&str> = rng.pick(&self.products).split(' ').collect();
                let other: Vec<&str> = rng.pick(&self.products).split(' ').collect();
                let at = rng.int(0, words.len() - 1);
                words[at] = *rng.pick(&other);
                words.join(" ")
            };
            if !self.product_names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                return name;
            }
        }
    }

    /// A field of the data, or any other one a third of the time.
    fn any_field(&self, by_batch: bool, rng: &mut ChaCha8Rng) -> Field {
        for _ in 0..20 {
            if rng.chance(0.33) {
                break;
            }
            let fact = rng.pick(&self.facts);
            if let Some(Topic { field: Some(field), by_batch: b, .. }) = &fact.topic
                && *b == by_batch
            {
                return field.clone();
            }
        }
        loop {
            let field = rng.pick(&self.grammar.fields);
            if (field.key == crate::corpus::BATCH_NUMBER) != by_batch || !by_batch {
                return field.clone();
            }
        }
    }

    /// A question about a field that a batch of the data doesn't have.
    fn missing(&self, split: Split, noise: Noise, rng: &mut ChaCha8Rng) -> Option<Example> {
        let batch = rng.pick(&self.batches);
        let known = self.known.get(batch)?;
        let others =
            if split == Split::Train { self.asked_of_others(batch, known, rng) } else { None };
        let question = match others {
            Some(question) => self.grammar.noisy(question, noise, rng),
            None => self.asked_by_name(batch, known, split, noise, rng)?,
        };
        let answer = shared::REFUSAL.to_owned();
        Some(Example { question, answer, origin: Origin::MissingField })
    }

    /// A question about a batch by the name of a field that it doesn't have.
    fn asked_by_name(
        &self,
        batch: &str,
        known: &Known,
        split: Split,
        noise: Noise,
        rng: &mut ChaCha8Rng,
    ) -> Option<String> {
        for _ in 0..30 {
            let field = self.any_field(true, rng);
            // A name in the words of one of the batch's own pairs could mean what is recorded.
            let says_known = field.names.iter().any(|name| known.says(&words_of(name)));
            if known.keys.contains(&field.key) || says_known || identifies(&field) {
                continue;
            }
            let subject = self.subject(batch, batch, &field, rng);
            return Some(self.grammar.question(&field, subject, split, noise, rng));
        }
        None
    }

    /// What a paraphrased pair asks of another batch, asked of one that has no such pair, now and then.
    /// The grammar's names of what it asks for are not the words that readers use at such a plant.
    fn asked_of_others(&self, batch: &str, known: &Known, rng: &mut ChaCha8Rng) -> Option<String> {
        if self.paraphrased.is_empty() || !rng.chance(OTHERS_WORDS) {
            return None;
        }
        for _ in 0..30 {
            let fact = &self.facts[*rng.pick(&self.paraphrased)];
            let Some(wording) = fact.wording() else { continue };
            let on_record = fact
                .field()
                .is_some_and(|field| known.keys.contains(&field.key) || identifies(field));
            if on_record || known.wordings.contains(&wording) {
                continue;
            }
            let texts: Vec<String> =
                fact.without_batch().into_iter().chain(fact.paraphrases()).collect();
            let text = rng.pick(&texts);
            if !known.says(&words_of(&text.replace("{b}", " "))) {
                return Some(text.replace("{b}", batch));
            }
        }
        None
    }

    /// Up to `count` questions for a page to offer.
    pub fn sample_questions(&self, count: usize) -> Vec<String> {
        self.facts.iter().take(count).map(|f| f.pair.question.clone()).collect()
    }
}

fn subject_and_field(fact: &Fact) -> Option<(String, String)> {
    let topic = fact.topic.as_ref()?;
    Some((topic.subject.to_uppercase(), topic.field.as_ref()?.key.clone()))
}

/// Whether a field says which batch or product is meant.
fn identifies(field: &Field) -> bool {
    [crate::corpus::BATCH_NUMBER, crate::corpus::PRODUCT_NAME].contains(&field.key.as_str())
}

fn noise_of(rates: Augmentation) -> Noise {
    Noise { rate: rates.noise, typos: rates.typos }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::find_ignoring_case;

    #[test]
    fn an_origin_is_called_what_files_call_it() {
        use Origin::{MissingField, Pair, Paraphrase, UnknownBatch};
        for origin in [Pair, Paraphrase, UnknownBatch, MissingField] {
            assert_eq!(serde_json::to_value(origin).unwrap(), origin.name());
        }
    }

    pub(crate) fn pair(question: &str, answer: &str, batch: &str) -> Pair {
        Pair {
            question: question.into(),
            answer: Some(answer.into()),
            batch: Some(batch.into()),
            source: None,
            paraphrases: Vec::new(),
            kind: None,
            line: 1,
        }
    }

    fn rates() -> Augmentation {
        Augmentation { unknown_batch: 1.0, missing_field: 1.0, ..Augmentation::DEFAULT }
    }

    fn pairs() -> Vec<Pair> {
        vec![
            pair(
                "What is the product code for batch VOY756?",
                "The product code for batch VOY756 is VE009S54.",
                "VOY756",
            ),
            pair(
                "Who is the QA Manager for batch KTR218?",
                "Ana Sousa is the QA Manager for batch KTR218.",
                "KTR218",
            ),
            pair(
                "What is the batch number for Nitroso Quetiapine?",
                "The batch number for Nitroso Quetiapine is VOY756.",
                "VOY756",
            ),
        ]
    }

    #[test]
    fn every_example_is_a_pair_or_a_refusal_that_holds() {
        let grammar = Grammar::load().unwrap();
        let pairs = pairs();
        let data = Dataset::new(&grammar, &pairs).unwrap();
        assert_eq!((data.len(), data.recognised()), (3, 3));
        let answers: BTreeSet<&str> = pairs.iter().filter_map(|p| p.answer.as_deref()).collect();
        let mut phrasings = BTreeSet::new();
        for epoch in 0..60 {
            for example in data.epoch(rates(), 7, epoch) {
                let known = ["VOY756", "KTR218"]
                    .iter()
                    .any(|b| find_ignoring_case(&example.question, b).is_some());
                match example.origin {
                    Origin::Pair | Origin::Paraphrase => {
                        assert!(answers.contains(example.answer.as_str()))
                    }
                    Origin::UnknownBatch => assert!(!known, "{}", example.question),
                    Origin::MissingField => {
                        let by_product =
                            find_ignoring_case(&example.question, "Nitroso Quetiapine");
                        assert!(known || by_product.is_some(), "{}", example.question);
                    }
                }
                assert_eq!(
                    matches!(example.origin, Origin::UnknownBatch | Origin::MissingField),
                    example.answer == shared::REFUSAL
                );
                if example.origin == Origin::Paraphrase {
                    phrasings.insert(example.question);
                }
            }
        }
        assert!(phrasings.len() > 60, "{} phrasings", phrasings.len());
    }

    #[test]
    fn what_the_grammar_cannot_phrase_is_asked_in_the_users_words() {
        let grammar = Grammar::load().unwrap();
        let own = "VOY756: how come the mixer hummed all through the second shift on Tuesday?";
        let paraphrases = vec!["why did voy756 hum".to_owned(), "VOY756 hum cause".to_owned()];
        let mut pairs = pairs();
        pairs.push(Pair { paraphrases: paraphrases.clone(), ..pair(own, "It is old.", "VOY756") });
        pairs.push(pair(
            "KTR218: how come the lid rattled all through the first shift on Monday?",
            "Wear.",
            "KTR218",
        ));
        let data = Dataset::new(&grammar, &pairs).unwrap();
        assert_eq!(data.own_wordings(), [(pairs[4].question.as_str(), 1)]);
        let plain = Augmentation { paraphrase: 1.0, noise: 0.0, typos: 0.0, ..rates() };
        let mut asked: BTreeMap<String, usize> = BTreeMap::new();
        for epoch in 0..300 {
            let examples = data.epoch(plain, 7, epoch).into_iter();
            for example in examples.filter(|example| example.answer == "It is old.") {
                *asked.entry(example.question.to_lowercase()).or_default() += 1;
            }
        }
        let expected: BTreeSet<String> = paraphrases
            .iter()
            .map(|text| text.to_lowercase())
            .chain([own.to_lowercase()])
            .collect();
        assert_eq!(asked.keys().cloned().collect::<BTreeSet<_>>(), expected);
        assert!(asked.values().all(|count| *count > 60), "{asked:?}");
    }

    /// "VOY756" has a glunk and no crimp, "KTR218" the other way round, "BX40217" has both.
    #[test]
    fn what_paraphrases_ask_of_other_batches_is_refused() {
        let paraphrased = |question: &str, paraphrase: &str, batch: &str| {
            let paraphrases = vec![paraphrase.replace("{b}", batch)];
            Pair { paraphrases, ..pair(&question.replace("{b}", batch), "It is 7.", batch) }
        };
        let glunk = |batch| paraphrased("Glunk of {b} on Tuesdays?", "how sticky was {b}", batch);
        let crimp = |batch| paraphrased("Crimp seen on {b}?", "how folded was {b}", batch);
        let pairs = [glunk("VOY756"), crimp("KTR218"), glunk("BX40217"), crimp("BX40217")];
        let grammar = Grammar::load().unwrap();
        let refused = |pairs: &[Pair]| -> String {
            let data = Dataset::new(&grammar, pairs).unwrap();
            let rates = Augmentation { missing_field: 40.0, noise: 0.0, ..rates() };
            let examples = data.epoch(rates, 1, 0).into_iter();
            let missing = examples.filter(|example| example.origin == Origin::MissingField);
            missing.map(|example| example.question + "\n").collect::<String>().to_lowercase()
        };
        let found = refused(&pairs);
        for asked in ["how sticky was ktr218", "how folded was voy756", "crimp seen on voy756"] {
            assert!(found.contains(asked), "{asked}: {found}");
        }
        for recorded in ["how sticky was voy756", "how folded was ktr218", "was bx40217"] {
            assert!(!found.contains(recorded), "{recorded}");
        }
    }

    #[test]
    fn an_epoch_is_the_same_for_the_same_seed_only() {
        let grammar = Grammar::load().unwrap();
        let pairs = pairs();
        let data = Dataset::new(&grammar, &pairs).unwrap();
        assert_eq!(data.epoch(rates(), 7, 3), data.epoch(rates(), 7, 3));
        assert_ne!(data.epoch(rates(), 7, 3), data.epoch(rates(), 8, 3));
        assert_ne!(data.epoch(rates(), 7, 3), data.epoch(rates(), 7, 4));
    }

    #[test]
    fn a_field_that_two_pairs_share_is_not_phrased_anew() {
        let grammar = Grammar::load().unwrap();
        let mut pairs = pairs();
        pairs.push(pair("State the item code of batch VOY756.", "Item code: 77.", "VOY756"));
        let data = Dataset::new(&grammar, &pairs).unwrap();
        assert_eq!(data.recognised(), 2);
        // It is on record all the same.
        assert!(data.known["VOY756"].keys.contains("product_code"));
    }

    #[test]
    fn a_product_that_only_an_answer_names_is_no_unknown_one() {
        let grammar = Grammar::load().unwrap();
        let product = |name: &str, batch: &str| {
            let question = format!("What is the product name for batch {batch}?");
            pair(&question, &format!("The product name for batch {batch} is {name}."), batch)
        };
        let mut pairs = pairs();
        pairs.push(pair("What is the batch number for Nitroso Tartrate?", "KTR218.", "KTR218"));
        pairs.push(product("Quetiapine Quetiapine", "LMN300"));
        pairs.push(product("Quetiapine Quetiapine", "LMN301"));
        let data = Dataset::new(&grammar, &pairs).unwrap();
        let mut rng = stream(1, "test", 0);
        for _ in 0..200 {
            let name = data.unknown_product(&mut rng);
            assert!(!name.eq_ignore_ascii_case("Quetiapine Quetiapine"), "{name}");
        }
    }
}
