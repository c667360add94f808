//! Fictional plants, their batches and what is recorded about them.

use std::borrow::Cow;

use rand_chacha::ChaCha8Rng;

use super::grammar::{Field, Grammar, Kind};
use super::rng::{Choose as _, stream};
use super::values::{Notation, capitalised, near_miss, product, value};

/// The field whose question names the product and whose answer is the batch.
pub const BATCH_NUMBER: &str = "batch_number";
/// The field that holds the product's name.
pub const PRODUCT_NAME: &str = "product_name";

/// A plant: how it writes values, labels fields and words answers.
#[derive(Clone, Debug)]
pub struct Plant {
    notation: Notation,
    seed: u64,
    main_style: usize,
}

/// One recorded fact.
#[derive(Clone, Debug)]
pub struct Fact<'g> {
    /// What it is about.
    pub field: Cow<'g, Field>,
    /// The plant's own name for the field.
    pub label: String,
    /// The value.
    pub value: String,
    /// The answer, in the plant's own wording.
    pub answer: String,
}

/// One batch record.
#[derive(Clone, Debug)]
pub struct Batch<'g> {
    /// Its identifier.
    pub id: String,
    /// Its product.
    pub product: String,
    /// What is recorded, in order.
    pub facts: Vec<Fact<'g>>,
}

impl Plant {
    /// The plant with this seed. `plain` makes it word all answers in the commonest way.
    pub fn new(grammar: &Grammar, seed: u64, plain: bool) -> Self {
        let mut rng = stream(seed, "plant", 0);
        let general: Vec<usize> =
            (0..grammar.answers.len()).filter(|i| grammar.answers[*i].kinds.is_empty()).collect();
        let main_style = if plain { 0 } else { *rng.pick(&general) };
        Self { notation: Notation::random(&mut rng), seed, main_style }
    }

    /// A new identifier in the plant's shape.
    pub fn batch_id(&self, rng: &mut ChaCha8Rng) -> String {
        self.notation.batch_id(rng)
    }

    /// A batch with `count` facts.
    pub fn batch<'g>(&self, grammar: &'g Grammar, count: usize, rng: &mut ChaCha8Rng) -> Batch<'g> {
        let id = self.batch_id(rng);
        let product = product(&grammar.words, rng);
        let mut fields: Vec<Cow<'g, Field>> = Vec::new();
        while fields.len() < count {
            let field = match rng.weighted(&[4.0, 5.0, 1.0]) {
                0 => Cow::Borrowed(rng.pick(&grammar.fields[..grammar.core])),
                1 => Cow::Borrowed(rng.pick(&grammar.fields)),
                _ => Cow::Owned(compound_field(grammar, rng)),
            };
            if fields.iter().all(|f| f.key != field.key) {
                fields.push(field);
            }
        }
        let facts =
            fields.into_iter().map(|field| self.fact(grammar, field, &id, &product, rng)).collect();
        Batch { id, product, facts }
    }

    fn fact<'g>(
        &self,
        grammar: &'g Grammar,
        field: Cow<'g, Field>,
        id: &str,
        product: &str,
        rng: &mut ChaCha8Rng,
    ) -> Fact<'g> {
        // Label and wording belong to the plant, not to chance: what can't be predicted can't be learned.
        let mut habit = stream(self.seed, &field.key, 1);
        let label = if habit.chance(0.6) {
            field.names[0].clone()
        } else {
            habit.pick(&field.names).clone()
        };
        let value = match field.key.as_str() {
            BATCH_NUMBER => id.to_owned(),
            PRODUCT_NAME => product.to_owned(),
            _ => value(&field, id, &self.notation, &grammar.words, rng),
        };
        let subject = if field.key == BATCH_NUMBER { product } else { id };
        let template = self.answer_template(grammar, &field, &mut habit);
        let template = if field.key == BATCH_NUMBER {
            // The subject is a product here, not a batch.
            [
                "batch no. ",
                "lot no. ",
                "batch number ",
                "lot number ",
                "batch ",
                "lot ",
                "Batch ",
                "Lot ",
            ]
            .iter()
            .fold(template, |text, noun| text.replace(&format!("{noun}{{b}}"), "{b}"))
        } else {
            template
        };
        let answer = template
            .replace("{f}", &label)
            .replace("{F}", &capitalised(&label))
            .replace("{b}", subject)
            .replace("{v}", &value);
        Fact { field, label, value, answer }
    }

    fn answer_template(&self, grammar: &Grammar, field: &Field, habit: &mut ChaCha8Rng) -> String {
        if !field.answers.is_empty() && habit.chance(0.3) {
            return habit.pick(&field.answers).clone();
        }
        // Free text is a sentence of its own as often as it is fitted into one.
        if field.kind == Kind::Text && habit.chance(0.4) {
            return "{F} for batch {b}: {v}".to_owned();
        }
        if habit.chance(0.7) {
            return grammar.answers[self.main_style].template.clone();
        }
        let fitting: Vec<_> = grammar
            .answers
            .iter()
            .filter(|s| s.kinds.is_empty() || s.kinds.contains(&field.kind))
            .collect();
        habit.pick(&fitting).template.clone()
    }
}

impl<'g> Batch<'g> {
    /// A field that this batch doesn't have.
    pub fn absent_field(&self, grammar: &'g Grammar, rng: &mut ChaCha8Rng) -> Cow<'g, Field> {
        loop {
            let field = if rng.chance(0.9) {
                Cow::Borrowed(rng.pick(&grammar.fields))
            } else {
                Cow::Owned(compound_field(grammar, rng))
            };
            let known = [BATCH_NUMBER, PRODUCT_NAME].contains(&field.key.as_str());
            if !known && self.facts.iter().all(|f| f.field.key != field.key) {
                return field;
            }
        }
    }
}

/// An identifier that none of `known` has: half of the time one character off.
pub fn unknown_id<'a>(
    known: impl Fn() -> Vec<&'a str>,
    plant: &Plant,
    rng: &mut ChaCha8Rng,
) -> String {
    let known = known();
    loop {
        let id =
            if rng.chance(0.5) { near_miss(rng.word(&known), rng) } else { plant.batch_id(rng) };
        if !known.contains(&id.as_str()) {
            return id;
        }
    }
}

/// A field that nobody has heard of, named by an adjective and one or two nouns, some of them
/// nonsense: the model learns to copy any field name.
fn compound_field(grammar: &Grammar, rng: &mut ChaCha8Rng) -> Field {
    let words = &grammar.words;
    let mut name = rng.word(&words.adjectives).to_owned();
    if rng.chance(0.4) {
        let syllables: String =
            (0..2).map(|_| rng.word(&words.name_syllables).to_lowercase()).collect();
        name = format!("{name} {syllables}");
    }
    name = format!("{name} {}", rng.word(&words.nouns));
    let kind = *rng.pick(&[
        Kind::Code,
        Kind::Percent,
        Kind::Mass,
        Kind::Date,
        Kind::Count,
        Kind::Person,
        Kind::Temperature,
    ]);
    Field {
        key: name.clone(),
        kind,
        names: vec![name],
        heldout_names: Vec::new(),
        questions: Vec::new(),
        answers: Vec::new(),
        values: Vec::new(),
    }
}
