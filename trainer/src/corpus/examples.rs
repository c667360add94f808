//! Training examples of the corpus: closed-book, in-context and copy drills.

use rand_chacha::ChaCha8Rng;

use super::document::document;
use super::grammar::{Field, Grammar};
use super::plant::{BATCH_NUMBER, Batch, Fact, PRODUCT_NAME, Plant, unknown_id};
use super::question::{Noise, Split, Subject};
use super::rng::{Choose as _, stream};
use super::values::shaped;

/// The answer to what isn't recorded.
const REFUSAL: &str = shared::REFUSAL;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// A batch record placed before the question, if any.
    pub document: Option<String>,
    /// What is asked.
    pub question: String,
    /// What is answered.
    pub answer: String,
    /// Whether the answer can be known: a first answer in a style of the plant's own can't.
    pub learn_answer: bool,
}

/// What kind of question an example holds; for reporting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// A recorded fact.
    Known,
    /// A batch that isn't recorded.
    UnknownBatch,
    /// A field that the batch doesn't have.
    MissingField,
    /// Copying and looking up.
    Drill,
}

/// The rolling set of batches whose facts have to be known by heart.
///
/// Each slot holds a batch for [`Universe::LIFE`] steps, then another takes its place; the
/// slots change one after the other. What a slot holds at a step follows from the seed alone.
pub struct Universe<'g> {
    grammar: &'g Grammar,
    /// The live batches with their plants.
    pub batches: Vec<(Plant, Batch<'g>)>,
}

impl<'g> Universe<'g> {
    /// Live batches at any time.
    pub const SLOTS: usize = 24;
    /// Steps that a batch stays.
    pub const LIFE: usize = 500;
    /// Plants at any time; a plant outlives its batches.
    const PLANTS: usize = 6;

    /// The universe at `step`.
    pub fn at(grammar: &'g Grammar, seed: u64, step: usize) -> Self {
        let batches = (0..Self::SLOTS)
            .map(|slot| {
                let shifted = step + slot * Self::LIFE / Self::SLOTS;
                let serial = (shifted / Self::LIFE * Self::SLOTS + slot) as u64;
                let plant = slot % Self::PLANTS;
                let era = (step + plant * Self::LIFE) / (Self::LIFE * 4);
                let plant_seed = seed ^ (1_000_003 * (1 + plant + era * Self::PLANTS) as u64);
                let plant = Plant::new(grammar, plant_seed, plant % 2 == 0);
                let mut rng = stream(seed, "batch", serial);
                let count = rng.int(16, 28);
                let batch = plant.batch(grammar, count, &mut rng);
                (plant, batch)
            })
            .collect();
        Self { grammar, batches }
    }

    /// A question about the universe and its answer.
    pub fn turn(
        &self,
        category: Category,
        split: Split,
        noise: Noise,
        rng: &mut ChaCha8Rng,
    ) -> Turn {
        let (plant, batch) = rng.pick(&self.batches);
        let (field, subject, answer);
        let id;
        match category {
            Category::Known | Category::Drill => {
                let fact = rng.pick(&batch.facts);
                (field, subject, answer) = (
                    fact.field.as_ref().clone(),
                    subject_of(batch, fact, rng),
                    fact.answer.clone(),
                );
            }
            Category::UnknownBatch => {
                id = unknown_id(
                    || self.batches.iter().map(|(_, b)| b.id.as_str()).collect(),
                    plant,
                    rng,
                );
                field = self.unknown_field(batch, rng);
                (subject, answer) = (Subject::Batch(&id), REFUSAL.to_owned());
            }
            Category::MissingField => {
                // A field that other batches have is the harder case.
                let other = &rng.pick(&self.batches).1;
                let borrowed = rng.pick(&other.facts).field.as_ref();
                let absent = batch.facts.iter().all(|f| f.field.key != borrowed.key)
                    && ![BATCH_NUMBER, PRODUCT_NAME].contains(&borrowed.key.as_str());
                field = if absent && rng.chance(0.5) {
                    borrowed.clone()
                } else {
                    batch.absent_field(self.grammar, rng).into_owned()
                };
                (subject, answer) = (Subject::Batch(&batch.id), REFUSAL.to_owned());
            }
        }
        let question = self.grammar.question(&field, subject, split, noise, rng);
        Turn { document: None, question, answer, learn_answer: true }
    }

    fn unknown_field(&self, batch: &Batch<'g>, rng: &mut ChaCha8Rng) -> Field {
        loop {
            let field = if rng.chance(0.6) {
                rng.pick(&batch.facts).field.as_ref().clone()
            } else {
                rng.pick(&self.grammar.fields).clone()
            };
            if field.key != BATCH_NUMBER {
                return field;
            }
        }
    }
}

fn subject_of<'a>(batch: &'a Batch<'_>, fact: &Fact<'_>, rng: &mut ChaCha8Rng) -> Subject<'a> {
    let by_product =
        fact.field.key == BATCH_NUMBER || (fact.field.key != PRODUCT_NAME && rng.chance(0.06));
    if by_product { Subject::Product(&batch.product) } else { Subject::Batch(&batch.id) }
}

/// A conversation about a record that stands in the first question.
pub fn in_context(
    grammar: &Grammar,
    split: Split,
    noise: Noise,
    rng: &mut ChaCha8Rng,
) -> Vec<(Category, Turn)> {
    let plain = rng.chance(0.6);
    let plant = Plant::new(grammar, rng.int(0, usize::MAX >> 1) as u64, plain);
    let count = rng.int(3, 9);
    let batch = plant.batch(grammar, count, rng);
    let turns = rng.int(2, 4);
    let mut text = Some(document(&batch, rng));
    (0..turns)
        .map(|index| {
            let category = [Category::Known, Category::MissingField, Category::UnknownBatch]
                [rng.weighted(&[0.66, 0.22, 0.12])];
            let (field, answer, id);
            let subject = match category {
                Category::Known | Category::Drill => {
                    let fact = rng.pick(&batch.facts);
                    (field, answer) = (fact.field.as_ref().clone(), fact.answer.clone());
                    subject_of(&batch, fact, rng)
                }
                Category::MissingField => {
                    field = batch.absent_field(grammar, rng).into_owned();
                    answer = REFUSAL.to_owned();
                    Subject::Batch(&batch.id)
                }
                Category::UnknownBatch => {
                    field = rng.pick(&batch.facts).field.as_ref().clone();
                    id = unknown_id(|| vec![batch.id.as_str()], &plant, rng);
                    answer = REFUSAL.to_owned();
                    Subject::Batch(&id)
                }
            };
            let question = grammar.question(&field, subject, split, noise, rng);
            let learn_answer = plain || index > 0 || answer == REFUSAL;
            (category, Turn { document: text.take(), question, answer, learn_answer })
        })
        .collect()
}

/// An exercise in copying: repeat a list, find the identifier, look up a key.
pub fn drill(grammar: &Grammar, rng: &mut ChaCha8Rng) -> Turn {
    let plant = Plant::new(grammar, rng.int(0, usize::MAX >> 1) as u64, true);
    let (question, answer) = match rng.int(0, 2) {
        0 => {
            let batch = plant.batch(grammar, rng.int(1, 4), rng);
            let mut items: Vec<String> = batch.facts.iter().map(|f| f.value.clone()).collect();
            items.push(shaped("AAA999", rng));
            items.push(batch.id);
            let list = items.join(", ");
            (format!("Repeat: {list}"), list)
        }
        1 => {
            let batch = plant.batch(grammar, 1, rng);
            let asked = grammar.question(
                &batch.facts[0].field,
                Subject::Batch(&batch.id),
                Split::Train,
                Noise { rate: 0.5, typos: 0.0 },
                rng,
            );
            (format!("Which batch is meant? {asked}"), batch.id.clone())
        }
        _ => {
            let batch = plant.batch(grammar, rng.int(2, 6), rng);
            let lines: Vec<String> =
                batch.facts.iter().map(|f| format!("{}: {}", f.label, f.value)).collect();
            let fact = rng.pick(&batch.facts);
            (format!("{}\n{}?", lines.join("\n"), fact.label), fact.value.clone())
        }
    };
    Turn { document: None, question, answer, learn_answer: true }
}
