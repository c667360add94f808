//! What becomes of a question without an answer: how the records would ask it, and what else they
//! answer.

use std::collections::BTreeMap;

use super::Guard;
use super::asked::AsksForBatch;
use super::classifier::{Classifier, Shares};
use super::fields::recorded;
use super::words::shape;
use crate::REFUSAL;

/// What the records answer about a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnRecord {
    /// The questions, the likeliest first.
    pub questions: Vec<String>,
    /// The one of them that is most likely meant; none where the batch has something in words of its
    /// own.
    pub likeliest: Option<String>,
}

impl Guard {
    /// The question in the records' own words, for a model that refused it, or whose answer is not
    /// on record, although the question names one batch, no unknown one, and one field that this
    /// batch has and the records ask for by itself; or, naming no field, leaves hardly a doubt which
    /// one it means; or names a product and asks for its batch. `None` otherwise.
    ///
    /// Words that are left over don't keep it from that: of 37 refused questions with such words
    /// about a field on record, 33 meant that field (sample and sterile plant, tests and validation,
    /// counted with a prototype).
    pub fn second_reading(&self, question: &str, answer: &str) -> Option<String> {
        /// Of 34 questions without a name and without an answer 30 meant the field that has this share
        /// and more; with 0.7 36 of 47, with 0.9 20 of 21 (tests and validation of the sample's and of
        /// five other adapters, counted with a prototype).
        const NO_DOUBT: f32 = 0.8;
        let withheld = || self.withholds(&self.unverified(question, answer), answer);
        let has_none = answer.trim() == REFUSAL || self.is_since(7) && withheld();
        if !has_none {
            return None;
        }
        let named = self.named(question);
        if named.batches.is_empty() {
            let wording = self.fields.batch_wording.as_ref()?;
            let meant = self.by_product(question);
            let meant = meant.filter(|meant| meant.asks_for_batch >= AsksForBatch::Clearly)?;
            return Some(wording.replace("{p}", &question[meant.place]));
        }
        let (batch, written) = named.only_batch()?;
        let asked = self.fields.asked_in(&named.tokens);
        let on_record = self.on_record(batch, &asked);
        let mut wordings = on_record.filter_map(|field| self.fields.wordings.get(&field));
        let wording = match (wordings.next(), wordings.next()) {
            (Some(only), None) => only,
            (None, _) if asked.fields.is_empty() && !asked.too_long && self.is_since(7) => {
                let shares = self.classifier.as_ref()?.shares(&named.tokens);
                let (likeliest, share) =
                    self.likely_wordings(batch, Some(&shares)).into_iter().next()?;
                let clear = shares.told && share > NO_DOUBT && !self.has_own_words(batch);
                clear.then_some(likeliest)?
            }
            _ => return None,
        };
        Some(wording.replace("{b}", &self.name(batch, written)))
    }

    /// Whether an answer is not to be shown as one: values in it, as [`Self::unverified`] finds them,
    /// or the whole are not on record. The refusal is no such answer.
    pub(crate) fn withholds(&self, unverified: &[String], answer: &str) -> bool {
        let on_record = || answer.trim() == REFUSAL || self.is_on_record(answer);
        !unverified.is_empty() || !on_record()
    }

    /// Whether a question names a batch that has something in the records' own words alone. That
    /// the question doesn't name it in these says nothing: a refusal leaves open whether it is on
    /// record.
    pub fn leaves_open(&self, question: &str) -> bool {
        self.named(question).batches.keys().any(|batch| self.has_own_words(batch))
    }

    fn has_own_words(&self, batch: &str) -> bool {
        self.fields.own_words.iter().any(|field| self.has(batch, *field))
    }

    /// Whether a question asks its one batch for something that other batches have on record and
    /// this one has not, and for nothing else; its own number, which it says itself, is no such thing.
    /// An answer that is not on record then stands for none: of 73 such, tests and validation of ten
    /// adapters, all had none (counted with a prototype).
    pub fn lacks(&self, question: &str) -> bool {
        let named = self.named(question);
        let Some((batch, _)) = named.only_batch().filter(|_| self.is_since(7)) else {
            return false;
        };
        let asked = self.fields.asked_in(&named.tokens);
        let number = self.fields.batch_number;
        let of_plant = |known: &Classifier| {
            asked.fields.iter().any(|field| known.knows(*field) && Some(*field) != number)
        };
        asked.whole
            && self.classifier.as_ref().is_some_and(of_plant)
            && self.on_record(batch, &asked).next().is_none()
            && !self.has_own_words(batch)
    }

    /// What the records answer about the one batch that a question names, in their own words: a
    /// question for each field on record, unless the records ask for it by something else as well;
    /// first those that its words make likely. None if the question names several batches, an unknown
    /// one or none.
    pub fn questions_on_record(&self, question: &str) -> OnRecord {
        /// Of refusals that did not stand with this share and more, 10 of 15 were of that, and the
        /// others of nothing on record; at batches with words of their own 18 of 59 (tests of the
        /// sample's two adapters and of five others, counted with a prototype).
        const LIKELY: f32 = 0.7;
        let named = self.named(question);
        let Some((batch, written)) = named.only_batch() else { return OnRecord::default() };
        let shares = self.classifier.as_ref().map(|known| known.shares(&named.tokens));
        let wordings = self.likely_wordings(batch, shares.as_ref());
        let likely = wordings.first().is_some_and(|(_, share)| *share > LIKELY);
        let name = self.name(batch, written);
        let questions: Vec<String> =
            wordings.into_iter().map(|(wording, _)| wording.replace("{b}", &name)).collect();
        let likeliest = questions.first().filter(|_| likely && !self.has_own_words(batch)).cloned();
        OnRecord { questions, likeliest }
    }

    /// How the records ask for what they have of a batch, and the share that is meant by it; the
    /// likeliest first.
    fn likely_wordings(&self, batch: &str, shares: Option<&Shares>) -> Vec<(&String, f32)> {
        let is_recorded =
            |field: u16| self.fields.recorded.contains(&recorded(&self.salt, batch, field.into()));
        // Two fields may be asked for by the same question.
        let mut likely: BTreeMap<&String, f32> = BTreeMap::new();
        for (field, wording) in &self.fields.wordings {
            if is_recorded(*field) {
                let share = shares.map_or(0.0, |shares| shares.of(|one| one == *field));
                *likely.entry(wording).or_default() += share;
            }
        }
        let mut likely: Vec<(&String, f32)> = likely.into_iter().collect();
        likely.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        likely
    }

    /// A batch as the records may write it.
    fn name(&self, batch: &str, written: &str) -> String {
        let known_form = self.shapes.contains(&shape(written));
        if known_form { written.to_owned() } else { self.written(batch) }
    }
}
