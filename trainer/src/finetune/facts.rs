//! The user's pairs, taken apart.

use std::collections::{BTreeMap, BTreeSet};

use super::recognise::{Recogniser, Topic, normalised};
use crate::corpus::{Field, Grammar, Kind};
use crate::data::{Pair, find_ignoring_case, replace_ignoring_case};

/// A pair with an answer, understood as far as the grammar reaches.
pub(super) struct Fact {
    pub(super) pair: Pair,
    pub(super) answer: String,
    pub(super) batch: Option<String>,
    pub(super) topic: Option<Topic>,
    /// Whether the grammar knows its field by the paraphrases alone.
    pub(super) by_paraphrase: bool,
    /// Fields that the answer names although the question doesn't: its machine, its room.
    pub(super) implied: Vec<Field>,
}

/// Takes the pairs that have an answer apart.
pub(super) fn take_apart(grammar: &Grammar, pairs: &[Pair]) -> Vec<Fact> {
    let recogniser = Recogniser::new(grammar);
    let mut facts: Vec<Fact> = pairs
        .iter()
        .filter_map(|pair| {
            let answer = pair.answer.clone()?;
            let topic = recogniser.topic(pair);
            let batch = pair.batch.clone().or_else(|| {
                topic.as_ref().filter(|t| t.by_batch).map(|t| t.subject.to_uppercase())
            });
            let (pair, implied) = (pair.clone(), Vec::new());
            Some(Fact { pair, answer, batch, topic, by_paraphrase: false, implied })
        })
        .collect();
    read_paraphrases(&recogniser, &mut facts);
    for fact in &mut facts {
        fact.implied = implied(grammar, &fact.pair, &fact.answer, fact.topic.as_ref());
    }
    facts
}

/// Has paraphrases tell the field of pairs whose question doesn't, unless another wording brings
/// another answer about that field of the same batch: then one of the two means something else.
fn read_paraphrases(recogniser: &Recogniser<'_>, facts: &mut [Fact]) {
    let found: Vec<Option<Field>> = facts
        .iter()
        .map(|fact| {
            let topic = fact.topic.as_ref().filter(|topic| topic.by_batch)?;
            let unknown = topic.field.as_ref().is_none_or(Field::is_own);
            unknown.then(|| recogniser.field_of_paraphrases(&fact.pair, topic)).flatten()
        })
        .collect();
    let mut answers: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let asked: Vec<_> = facts
        .iter()
        .zip(&found)
        .filter_map(|(fact, found)| {
            let field = found.as_ref().or(fact.field())?;
            Some((fact.batch.as_deref()?, field.key.as_str(), fact))
        })
        .collect();
    for (batch, field, fact) in &asked {
        answers.entry((batch, field)).or_default().insert(&fact.answer);
    }
    let contested: BTreeSet<String> = asked
        .iter()
        .filter(|(batch, field, _)| answers[&(*batch, *field)].len() > 1)
        .filter_map(|(_, _, fact)| fact.wording())
        .collect();
    for (fact, found) in facts.iter_mut().zip(found) {
        if found.is_some() && fact.wording().is_some_and(|wording| !contested.contains(&wording)) {
            fact.by_paraphrase = true;
            fact.topic.iter_mut().for_each(|topic| topic.field.clone_from(&found));
        }
    }
}

impl Fact {
    /// What it is about.
    pub(super) fn field(&self) -> Option<&Field> {
        self.topic.as_ref()?.field.as_ref()
    }

    /// How it is asked for, the same for every batch; none if it isn't by batch.
    pub(super) fn wording(&self) -> Option<String> {
        Some(normalised(&self.without_batch()?))
    }

    /// Its question, with `{b}` for the batch.
    pub(super) fn without_batch(&self) -> Option<String> {
        self.batch_left_out(&self.pair.question)
    }

    /// Its paraphrases that name the batch, in the same way.
    pub(super) fn paraphrases(&self) -> impl Iterator<Item = String> {
        let texts = self.pair.paraphrases.iter();
        texts.filter_map(|text| Some(normalised(&self.batch_left_out(text)?)))
    }

    /// Whether nothing but its question tells what it is about.
    pub(super) fn is_in_own_words(&self) -> bool {
        self.field().is_none_or(Field::is_own) && self.paraphrases().next().is_none()
    }

    fn batch_left_out(&self, text: &str) -> Option<String> {
        let topic = self.topic.as_ref().filter(|topic| topic.by_batch)?;
        find_ignoring_case(text, &topic.subject)?;
        Some(replace_ignoring_case(text, &topic.subject, "{b}"))
    }
}

/// The words that all answers of a wording have, in order: how the answer says what it is about. None
/// if all are the same, because then they may be the value.
pub(super) fn said_always(facts: &[&Fact]) -> Option<String> {
    let words = |fact: &Fact| {
        let answer = match &fact.topic {
            Some(topic) => replace_ignoring_case(&fact.answer, &topic.subject, " "),
            None => fact.answer.clone(),
        };
        words_of(&answer)
    };
    let answers: BTreeSet<&str> = facts.iter().map(|fact| fact.answer.as_str()).collect();
    let values: BTreeSet<Vec<String>> = facts.iter().map(|fact| words(fact)).collect();
    let (first, true) = (facts.first()?, answers.len() > 1 && values.len() > 1) else {
        return None;
    };
    let mut common = words(first);
    common.retain(|word| {
        !word.contains(|c: char| c.is_ascii_digit())
            && values.iter().all(|others| others.contains(word))
    });
    Some(common.join(" "))
}

/// Fields whose name the answer says and the question doesn't: "Reactor R-204 was used" answers
/// "which reactor" too. Only machines and rooms are called by their kind like that.
fn implied(grammar: &Grammar, pair: &Pair, answer: &str, topic: Option<&Topic>) -> Vec<Field> {
    let Some(Topic { field: Some(own), by_batch: true, .. }) = topic else { return Vec::new() };
    if ![Kind::Equipment, Kind::Room].contains(&own.kind) {
        return Vec::new();
    }
    let asked: BTreeSet<String> = words_of(&pair.question).into_iter().collect();
    let said: BTreeSet<String> = words_of(answer).into_iter().collect();
    let others = grammar.fields.iter().filter(|f| f.kind == own.kind && f.key != own.key);
    others
        .filter_map(|field| {
            let mut field = field.clone();
            field.names.retain(|name| {
                let name = words_of(name);
                name.iter().all(|word| said.contains(word))
                    && name.iter().any(|word| !asked.contains(word))
            });
            let names = field.names.clone();
            field.questions.retain(|question| {
                let question = question.to_lowercase();
                names.iter().any(|name| question.contains(&name.to_lowercase()))
            });
            field.heldout_names.clear();
            (!names.is_empty()).then_some(field)
        })
        .collect()
}

pub(super) fn words_of(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| {
            !w.is_empty() && !["of", "the", "for", "in", "no", "number", "name"].contains(w)
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::augment::tests::pair;

    fn paraphrased(question: &str, batch: &str, paraphrases: &[&str]) -> Pair {
        let paraphrases = paraphrases.iter().map(|text| (*text).to_owned()).collect();
        Pair { paraphrases, ..pair(question, "It is 7.", batch) }
    }

    /// Key of each pair's field and whether paraphrases told it.
    fn fields(pairs: &[Pair]) -> Vec<(Option<String>, bool)> {
        let facts = take_apart(&Grammar::load().unwrap(), pairs);
        facts.iter().map(|f| (f.field().map(|field| field.key.clone()), f.by_paraphrase)).collect()
    }

    const OWN: &str = "Give the glunk grade of KTR218.";
    const CODE: (&str, &str) = ("KTR218 product code", "What is the product code of ktr218?");

    #[test]
    fn paraphrases_tell_the_field_that_the_question_does_not() {
        let own = (Some("own: glunk grade".to_owned()), false);
        let code = (Some("product_code".to_owned()), true);
        let of = |paraphrases: &[&str]| {
            fields(&[paraphrased(OWN, "KTR218", paraphrases)]).pop().unwrap()
        };
        assert_eq!(of(&[]), own);
        assert_eq!(of(&[CODE.0]), code);
        assert_eq!(of(&["how glunky is KTR218", CODE.0]), own, "one of several");
        assert_eq!(of(&[CODE.0, CODE.1, "KTR218 expiry date"]), code, "most of them");
        let expiry = ["KTR218 expiry date", "expiry date of KTR218"];
        assert_eq!(of(&[CODE.0, CODE.1, expiry[0], expiry[1]]), own, "as many for another");
        assert_eq!(of(&["product code"]), own, "about no batch");
        let facts = take_apart(&Grammar::load().unwrap(), &[paraphrased(OWN, "KTR218", &[CODE.0])]);
        assert_eq!(facts[0].field().unwrap().names[0], "glunk grade");
        assert!(!facts[0].is_in_own_words());
    }

    #[test]
    fn two_wordings_for_one_field_of_a_batch_are_not_both_right() {
        let own = paraphrased(OWN, "KTR218", &[CODE.0]);
        let other = |batch: &str| paraphrased(&format!("{batch}: hallmark?"), batch, &[]);
        let coded = |mut pair: Pair, batch: &str| {
            pair.paraphrases = vec![format!("{batch} product code")];
            pair
        };
        let told = |pairs: &[Pair]| fields(pairs).iter().map(|(_, told)| *told).collect::<Vec<_>>();
        // By a question, by another paraphrase, of another batch, with the same answer.
        let asked = pair("What is the product code of KTR218?", "It is 8.", "KTR218");
        let same = Pair { answer: own.answer.clone(), ..asked.clone() };
        assert_eq!(told(&[own.clone(), asked]), [false, false]);
        let otherwise = Pair { answer: Some("It is 9.".into()), ..other("KTR218") };
        assert_eq!(told(&[own.clone(), coded(otherwise, "KTR218")]), [false, false]);
        assert_eq!(told(&[own.clone(), same]), [true, false]);
        assert_eq!(told(&[own, coded(other("VOY756"), "VOY756")]), [true, true]);
    }
}
