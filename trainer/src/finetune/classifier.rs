//! Training of the guard's classifier: which of the records' fields a question asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use shared::{FieldClassifier, Guard};

use super::facts::Fact;
use super::guard_list::wordings;
use crate::corpus::{Choose as _, Field, Grammar, Noise, Split, Subject, stream};
use crate::nn::{AdamW, AdamWConfig};

/// Questions about each field, in the grammar's words where it knows the field.
const PHRASED: usize = 80;
/// Questions in the records' own words and in paraphrases, beside those of the grammar.
const OWN: usize = 30;
/// As people write, without slips: what is read has them mended.
const NOISE: Noise = Noise { rate: 0.5, typos: 0.0 };

/// Beyond this many fields there is no classifier: a thousand have 2 MB of weights.
const MOST_FIELDS: usize = 1000;

const STEPS: usize = 200;
/// Of Adam, falling to 0 in equal steps.
const LEARNING_RATE: f64 = 0.1;
/// Half the squared weights count as much as this many questions' losses.
const REGULARISATION: f32 = 1.0 / 3.0;

/// What records have under one field: its place in the list, the field itself where questions can
/// be made for it, and its facts, which name their batch.
pub(super) struct Asked<'a> {
    pub(super) number: usize,
    pub(super) field: Option<&'a Field>,
    pub(super) facts: Vec<&'a Fact>,
}

/// A classifier of the fields of `asked` that there are questions for; none if there are no fields or
/// too many.
///
/// Multinomial logistic regression (Bishop, "Pattern Recognition and Machine Learning", 2006, section
/// 4.3.4) of the field of a question on what `guard` finds in it, by Adam (Kingma and Ba, 2015) over
/// all questions at once.
///
/// # Errors
/// [`FieldClassifier::new`]'s.
pub(super) fn train(
    grammar: &Grammar,
    guard: &Guard,
    asked: &[Asked],
) -> shared::Result<Option<FieldClassifier>> {
    let by_field: Vec<(usize, Vec<String>)> = asked
        .iter()
        .map(|asked| (asked.number, questions(grammar, asked)))
        .filter(|(_, questions)| !questions.is_empty())
        .collect();
    if by_field.is_empty() || by_field.len() > MOST_FIELDS {
        return Ok(None);
    }
    let fields = by_field.iter().map(|(number, _)| *number).collect();
    let classes = by_field.iter().map(|(_, questions)| questions.as_slice()).collect::<Vec<_>>();
    FieldClassifier::new(fields, &weights(guard, &classes)).map(Some)
}

/// Questions for a field.
fn questions(grammar: &Grammar, asked: &Asked) -> Vec<String> {
    let Asked { number, field, facts } = asked;
    let mut rng = stream(0, "classifier", *number as u64);
    let batches: BTreeSet<&str> = facts.iter().filter_map(|f| f.batch.as_deref()).collect();
    let batches: Vec<&str> = batches.into_iter().collect();
    let own: Vec<String> = wordings(facts.iter().copied()).into_iter().collect();
    let mut questions = Vec::new();
    if let Some(field) = field {
        for _ in 0..PHRASED {
            let subject = Subject::Batch(rng.word(&batches));
            questions.push(grammar.question(field, subject, Split::Train, NOISE, &mut rng));
        }
    }
    let count = match (own.is_empty(), field) {
        (true, _) => 0,
        (false, Some(_)) => OWN,
        (false, None) => PHRASED,
    };
    for _ in 0..count {
        let text = rng.pick(&own).replace("{b}", rng.word(&batches));
        questions.push(grammar.noisy(text, NOISE, &mut rng));
    }
    questions
}

/// The weights of each feature that a question has, `[classes]`.
fn weights(guard: &Guard, classes: &[&[String]]) -> BTreeMap<u16, Vec<f32>> {
    let width = classes.len();
    // The same words again and again: each set is looked at once.
    let mut counts: BTreeMap<(BTreeSet<u16>, usize), f32> = BTreeMap::new();
    let mut all = 0.0_f32;
    for (class, questions) in classes.iter().enumerate() {
        for question in *questions {
            let features = guard.features(&guard.read(question).question);
            *counts.entry((features, class)).or_default() += 1.0;
            all += 1.0;
        }
    }
    let features: BTreeSet<u16> =
        counts.keys().flat_map(|(features, _)| features).copied().collect();
    let places: BTreeMap<u16, usize> = features.iter().copied().zip((0..).step_by(width)).collect();
    let mut weights = vec![0.0_f32; features.len() * width];
    let mut gradient = weights.clone();
    let mut adam = AdamW::new(AdamWConfig::default());
    for step in 0..STEPS {
        for (slope, weight) in iter::zip(&mut gradient, &weights) {
            *slope = weight * REGULARISATION / all;
        }
        for ((features, class), count) in &counts {
            let mut sums = vec![0.0_f32; width];
            for feature in features {
                let row = &weights[places[feature]..][..width];
                iter::zip(&mut sums, row).for_each(|(sum, weight)| *sum += weight);
            }
            let most = sums.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            sums.iter_mut().for_each(|sum| *sum = libm::expf(*sum - most));
            let total: f32 = sums.iter().sum();
            for (at, likelihood) in sums.iter_mut().enumerate() {
                let wanted = if at == *class { 1.0 } else { 0.0 };
                *likelihood = (*likelihood / total - wanted) * count / all;
            }
            for feature in features {
                let row = &mut gradient[places[feature]..][..width];
                iter::zip(row, &sums).for_each(|(slope, change)| *slope += change);
            }
        }
        let left = 1.0 - step as f64 / STEPS as f64;
        adam.begin_step();
        adam.update_slice("weights", &mut weights, &gradient, 1.0, LEARNING_RATE * left);
    }
    features.into_iter().zip(weights.chunks(width).map(<[f32]>::to_vec)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pair;
    use crate::finetune::Dataset;
    use crate::finetune::augment::tests::pair;

    const FIELDS: [(&str, &str); 5] = [
        ("What is the percent yield for batch {b}?", "The percent yield for batch {b} is 94.6%."),
        ("What is the product code for batch {b}?", "The product code for batch {b} is VE009S54."),
        ("What is the expiry date for batch {b}?", "Batch {b} expires on 2027-02-28."),
        ("Who is the QA Manager for batch {b}?", "Helen Osei is the QA Manager for batch {b}."),
        ("Give the glunk of {b} on Tuesdays.", "Glunk of {b}: 7."),
    ];

    fn pairs() -> Vec<Pair> {
        let of = |text: &str, batch: &str| text.replace("{b}", batch);
        let batches = ["VOY756", "KTR218"];
        let all = batches.iter().flat_map(|b| FIELDS.map(|(q, a)| (of(q, b), of(a, b), *b)));
        all.map(|(question, answer, batch)| pair(&question, &answer, batch)).collect()
    }

    /// Templates that training doesn't use, and now and then names that it doesn't.
    #[test]
    fn fields_are_told_apart_in_other_words() {
        let grammar = Grammar::load().unwrap();
        let pairs = pairs();
        let data = Dataset::new(&grammar, &pairs).unwrap();
        let list = data.guard_list(&"ab".repeat(16)).unwrap();
        assert_eq!(list.classifier.as_ref().unwrap().fields.len(), FIELDS.len());
        let again = data.guard_list(&"ab".repeat(16)).unwrap();
        assert_eq!(again, list, "the same list every time");
        // By each word alone: no field has a name.
        let mut nameless = list.clone();
        for field in &mut nameless.fields.fields {
            (field.names, field.questions) = (String::new(), String::new());
        }
        let guard = Guard::new(&nameless).unwrap();
        let facts: Vec<_> =
            data.validation(1).into_iter().filter(|e| e.answer != shared::REFUSAL).collect();
        assert!(facts.len() >= 8, "{}", facts.len());
        let count = |evidence| {
            let is = |example: &&crate::finetune::Example| {
                guard.evidence(&example.question, &example.answer) == evidence
            };
            facts.iter().filter(is).count()
        };
        let [agree, contradict] =
            [shared::FieldEvidence::Agrees, shared::FieldEvidence::Contradicts].map(count);
        assert!(agree * 2 > facts.len() && contradict * 4 < facts.len(), "{agree}, {contradict}");
        let glunk = "on Tuesdays, the glunk of VOY756?";
        let evidence = |answer: &str| guard.evidence(glunk, answer);
        assert_eq!(evidence("Glunk of VOY756: 7."), shared::FieldEvidence::Agrees);
        assert_eq!(evidence(pairs[0].answer.as_ref().unwrap()), shared::FieldEvidence::Contradicts);
        assert_eq!(evidence(shared::REFUSAL), shared::FieldEvidence::Contradicts);
    }
}
