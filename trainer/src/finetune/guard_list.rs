//! What the guard of an adapter has to know, taken from the data it was trained on.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use anyhow::Result;
use shared::{AskingWord, FieldIndex, Guard, GuardList, KnownField, TellingWords};

use super::augment::Dataset;
use super::classifier::{self, Asked};
use super::facts::{Fact, said_always};
use super::recognise::Topic;
use crate::corpus::{BATCH_NUMBER, Field, PRODUCT_NAME};
use crate::data::{find_ignoring_case, replace_ignoring_case};

impl Dataset<'_> {
    /// What the guard of the adapter has to know.
    pub fn guard_list(&self, salt: &str) -> Result<GuardList> {
        let mut list = self.reading_list(salt)?;
        self.add_fields(&mut list)?;
        for (batch, product) in self.products_read_as_batches() {
            list.add_batch_of(product, batch)?;
        }
        Ok(list)
    }

    /// The same without fields and batches of products: enough to mend slips in questions.
    pub(super) fn reading_list(&self, salt: &str) -> Result<GuardList> {
        let mut identifiers = BTreeSet::new();
        for fact in &self.facts {
            for text in [Some(&fact.pair.question), Some(&fact.answer), fact.pair.source.as_ref()]
                .into_iter()
                .flatten()
            {
                identifiers.extend(shared::identifier_words(text));
            }
        }
        let mut list = GuardList::build(
            self.batches.iter().map(String::as_str),
            identifiers.iter().map(String::as_str),
            salt,
        )?;
        for fact in &self.facts {
            list.add_answer(&fact.answer)?;
            if let Some(batch) = &fact.batch {
                list.add_facts(batch, &fact.answer)?;
            }
        }
        for product in &self.product_names {
            list.add_product(product)?;
        }
        list.add_words(self.vocabulary(&self.product_names).iter().map(String::as_str));
        list.subject_required = self.facts.iter().all(|fact| fact.topic.is_some());
        Ok(list)
    }

    /// The grammar's fields and the user's own, and which batch has which.
    fn add_fields(&self, list: &mut GuardList) -> Result<()> {
        list.fields = self.grammar.field_list();
        let keys = self.grammar.fields.iter().map(|field| field.key.as_str());
        let mut numbers: BTreeMap<&str, usize> = keys.zip(0..).collect();
        let mut asked: BTreeMap<&str, (&Field, Vec<&Fact>)> = BTreeMap::new();
        let facts = || self.facts.iter().filter(|fact| fact.batch.is_some());
        let direct = facts().filter_map(|fact| Some((fact.topic.as_ref()?.field.as_ref()?, fact)));
        let implied = facts().flat_map(|fact| fact.implied.iter().map(move |field| (field, fact)));
        for (field, fact) in direct.chain(implied) {
            asked.entry(&field.key).or_insert((field, Vec::new())).1.push(fact);
        }
        list.fields.batch_number = numbers.get(BATCH_NUMBER).copied();
        list.fields.batch_wording = facts().find_map(batch_wording);
        let words = OwnWords::of(&self.facts, &list.fields.filler);
        let mut classes = Vec::new();
        for (key, (field, facts)) in &asked {
            let number = *numbers.entry(key).or_insert_with(|| list.fields.add(field.to_known()));
            classes.push(Asked { number, field: Some(field), facts: facts.clone() });
            for fact in facts {
                list.add_stated(number, &fact.answer)?;
            }
            if !self.is_twice(key, facts) {
                list.fields.fields[number].wording =
                    facts.iter().find_map(|fact| wording(fact, &self.product_names));
            }
            if number >= self.grammar.fields.len() || facts.iter().any(|fact| fact.by_paraphrase) {
                words.add_to(list, number, facts);
            } else {
                let paraphrases = facts.iter().flat_map(|fact| fact.paraphrases());
                paraphrases.for_each(|text| list.fields.fields[number].add_question(&text));
            }
        }
        for (batch, known) in &self.known {
            for key in known.keys.iter().filter(|key| *key != BATCH_NUMBER) {
                if let Some(number) = numbers.get(key.as_str()) {
                    list.add_recorded(batch, *number)?;
                }
            }
        }
        // Whatever the question of a pair may ask for may be on record, though it was not understood.
        let index = FieldIndex::new(&list.fields);
        let mut not_understood: BTreeMap<String, Vec<&Fact>> = BTreeMap::new();
        for fact in self.facts.iter().filter(|fact| fact.field().is_none()) {
            let Some(batch) = &fact.batch else { continue };
            let wording = fact.wording();
            if let Some(wording) = &wording {
                for field in index.asked(&wording.replace("{b}", " ")).fields {
                    list.add_perhaps_recorded(batch, field.into())?;
                }
            }
            let group = wording.unwrap_or_else(|| fact.pair.question.clone());
            not_understood.entry(group).or_default().push(fact);
        }
        // It is a field of its own, for questions that have words of it.
        for (_, facts) in not_understood {
            let mut field = KnownField::new(AskingWord::Any, [], []);
            field.wording = facts.iter().find_map(|fact| wording(fact, &self.product_names));
            let number = list.fields.add(field);
            words.add_to(list, number, &facts);
            for fact in &facts {
                list.add_stated(number, &fact.answer)?;
                if let Some(batch) = &fact.batch {
                    list.add_recorded(batch, number)?;
                }
            }
            classes.push(Asked { number, field: None, facts });
        }
        list.classifier = classifier::train(self.grammar, &Guard::new(list)?, &classes)?;
        Ok(())
    }

    /// Whether a batch has several answers about a field, so that its name alone cannot ask for one.
    fn is_twice(&self, key: &str, facts: &[&Fact]) -> bool {
        self.known.iter().any(|(batch, known)| {
            known.keys.contains(key) && !facts.iter().any(|fact| fact.batch.as_ref() == Some(batch))
        })
    }

    /// By batch: its product, where no other batch is of the same.
    pub(super) fn products_of_batches(&self) -> BTreeMap<String, String> {
        let mut batches: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        let mut products: BTreeMap<String, String> = BTreeMap::new();
        for fact in &self.facts {
            if let (Some(batch), Some(product)) = (fact.batch.as_deref(), product_name(fact)) {
                batches.entry(product.to_lowercase()).or_default().insert(batch);
                products.insert(batch.to_owned(), product);
            }
        }
        products.retain(|_, product| batches[&product.to_lowercase()].len() == 1);
        products
    }

    /// Batches, each with the product that stands for it in a question: one whose name no other has
    /// the words of, because the list knows names by their words alone. Left out are those that
    /// records are asked for by: the model knows these by the product.
    fn products_read_as_batches(&self) -> impl Iterator<Item = (&str, &str)> {
        let names: BTreeSet<String> =
            self.product_names.iter().map(|name| name.to_lowercase()).collect();
        let mut alike: BTreeMap<BTreeSet<String>, usize> = BTreeMap::new();
        for name in &names {
            *alike.entry(name_words(name)).or_default() += 1;
        }
        let (mut batches, mut subjects) = (BTreeSet::new(), BTreeSet::new());
        for (fact, topic) in
            self.facts.iter().filter_map(|fact| Some((fact, asked_by_product(fact)?)))
        {
            batches.extend(fact.batch.as_deref());
            subjects.insert(topic.subject.to_lowercase());
        }
        let pairs =
            self.product_of.iter().map(|(batch, product)| (batch.as_str(), product.as_str()));
        pairs.filter(move |(batch, product)| {
            alike.get(&name_words(product)) == Some(&1)
                && !batches.contains(batch)
                && !subjects.contains(&product.to_lowercase())
        })
    }

    /// Ordinary words: those of the grammar and of the user's own questions and paraphrases. Names of
    /// products are none.
    fn vocabulary(&self, products: &BTreeSet<String>) -> BTreeSet<String> {
        let mut words: BTreeSet<String> = self
            .grammar
            .sentences()
            .flat_map(|text| plain_words(&text).collect::<Vec<_>>())
            .collect();
        for fact in &self.facts {
            if let Some(topic) = &fact.topic {
                for question in iter::once(&fact.pair.question).chain(&fact.pair.paraphrases) {
                    let question = replace_ignoring_case(question, &topic.subject, " ");
                    words.extend(plain_words(&question));
                }
            }
        }
        let names: BTreeSet<String> = products.iter().flat_map(|name| plain_words(name)).collect();
        words.retain(|word| !names.contains(word));
        words
    }
}

/// How the records ask for a fact, `{b}` for the batch, unless they name something else that is the
/// plant's.
fn wording(fact: &Fact, products: &BTreeSet<String>) -> Option<String> {
    let wording = fact.without_batch()?;
    let names = products.iter().any(|name| find_ignoring_case(&wording, name).is_some());
    // Codes are in one case, "nD20" and "mL" are none.
    let one_case =
        |word: &str| !(word.contains(char::is_lowercase) && word.contains(char::is_uppercase));
    let in_one_case: Vec<&str> = wording.split_whitespace().filter(|word| one_case(word)).collect();
    (!names && shared::identifier_words(&in_one_case.join(" ")).is_empty()).then_some(wording)
}

/// How facts are asked for, paraphrases among them, each wording once.
pub(super) fn wordings<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> BTreeSet<String> {
    facts
        .into_iter()
        .flat_map(|fact| fact.wording().into_iter().chain(fact.paraphrases()))
        .collect()
}

/// How the user asks for facts, and how the answers say what they are about.
struct OwnWords {
    asked: TellingWords,
    /// The same and what answers say.
    all: TellingWords,
    /// What answers always say, by wording.
    said: BTreeMap<String, String>,
}

impl OwnWords {
    fn of(facts: &[Fact], filler: &BTreeSet<String>) -> Self {
        let mut by_wording: BTreeMap<String, Vec<&Fact>> = BTreeMap::new();
        for fact in facts {
            by_wording.entry(fact.wording().unwrap_or_default()).or_default().push(fact);
        }
        let said: BTreeMap<String, String> = by_wording
            .into_iter()
            .filter_map(|(wording, facts)| Some((wording, said_always(&facts)?)))
            .collect();
        let asked = wordings(facts);
        let all: BTreeSet<String> = asked.iter().chain(said.values()).cloned().collect();
        Self { asked: TellingWords::new(asked, filler), all: TellingWords::new(all, filler), said }
    }

    /// Has them name a field that the grammar doesn't know by the questions for it: all words of a
    /// question, and some of a question or of its answers as far as no other field's have these.
    fn add_to(&self, list: &mut GuardList, number: usize, facts: &[&Fact]) {
        let field = &mut list.fields.fields[number];
        let mut own = wordings(facts.iter().copied());
        for question in &own {
            field.add_question(question);
            field.add_parts(question, &own, &self.asked);
        }
        let said: Vec<&String> = own.iter().filter_map(|wording| self.said.get(wording)).collect();
        own.extend(said.iter().copied().cloned());
        for said in said {
            field.add_parts(said, &own, &self.all);
        }
        if facts.iter().any(|fact| fact.is_in_own_words()) {
            list.fields.fields[number].own_words = true;
        }
    }
}

/// The words of a name, in lower case, numbers among them.
fn name_words(name: &str) -> BTreeSet<String> {
    let words = name.split(|c: char| !c.is_alphanumeric() && c != '.');
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// What a pair is about that asks by the product for something other than the batch's number.
fn asked_by_product(fact: &Fact) -> Option<&Topic> {
    let topic = fact.topic.as_ref().filter(|topic| !topic.by_batch)?;
    topic.field.as_ref().is_none_or(|field| field.key != BATCH_NUMBER).then_some(topic)
}

/// How a pair asks for the batch of a product, `{p}` for that.
fn batch_wording(fact: &Fact) -> Option<String> {
    let topic = fact.topic.as_ref().filter(|topic| !topic.by_batch)?;
    topic.field.as_ref().filter(|field| field.key == BATCH_NUMBER)?;
    let wording = replace_ignoring_case(&fact.pair.question, &topic.subject, "{p}");
    wording.contains("{p}").then_some(wording)
}

/// Words that an answer may say before the product, whatever the question says.
const NO_NAMES: [&str; 6] = ["batch", "is", "lot", "name", "product", "was"];

/// The product that a pair names: in its question, or as its answer.
pub(super) fn product_name(fact: &Fact) -> Option<String> {
    let topic = fact.topic.as_ref()?;
    if !topic.by_batch {
        return Some(topic.subject.clone());
    }
    if topic.field.as_ref()?.key != PRODUCT_NAME {
        return None;
    }
    let asked: BTreeSet<String> =
        plain_words(&fact.pair.question).chain(NO_NAMES.map(str::to_owned)).collect();
    let said = fact.answer.split_whitespace().filter(|word| {
        let plain = plain_words(word).collect::<Vec<_>>();
        let number = plain.is_empty() && word.contains(|c: char| c.is_numeric());
        number || plain.iter().any(|word| !asked.contains(word))
    });
    let name = said.collect::<Vec<_>>().join(" ");
    let name = name.trim_end_matches('.').to_owned();
    (!name.is_empty()).then_some(name)
}

/// The runs of letters in a text, in lower case.
fn plain_words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use shared::{FieldEvidence, GuardVerdict};

    use super::*;
    use crate::corpus::Grammar;
    use crate::data::Pair;
    use crate::finetune::augment::tests::pair;

    fn guard(pairs: &[Pair]) -> Guard {
        let grammar = Grammar::load().unwrap();
        let data = Dataset::new(&grammar, pairs).unwrap();
        Guard::new(&data.guard_list(&"ab".repeat(16)).unwrap()).unwrap()
    }

    fn pairs() -> Vec<Pair> {
        vec![
            pair(
                "What is the batch number for Amlodipine Besylate Tablets?",
                "The batch number for Amlodipine Besylate Tablets is VOY756.",
                "VOY756",
            ),
            pair(
                "What is the product name for batch KTR218?",
                "The product name for batch KTR218 is Metoprolol Succinate.",
                "KTR218",
            ),
            pair(
                "What is the percent yield for batch KTR218?",
                "The percent yield for batch KTR218 is 94.6%.",
                "KTR218",
            ),
        ]
    }

    #[test]
    fn products_are_known_from_questions_and_from_answers() {
        let guard = guard(&pairs());
        for asked in ["batch of amlodipine besylate", "percent yield of metoprolol succinate"] {
            assert_eq!(guard.check(asked), GuardVerdict::NoIdentifier, "{asked}");
        }
        for asked in ["batch of amlodipine succinate", "percent yield of sertraline", "the yield"] {
            assert!(matches!(guard.check(asked), GuardVerdict::Unknown(_)), "{asked}");
        }
    }

    #[test]
    fn a_batch_has_the_product_that_no_other_batch_is_of() {
        let grammar = Grammar::load().unwrap();
        let mut pairs = pairs();
        pairs.push(pair(
            "What is the product name for batch RM5530A?",
            "The product name for batch RM5530A is Ramipril Capsules 2.5 mg.",
            "RM5530A",
        ));
        let of = |pairs: &[Pair]| Dataset::new(&grammar, pairs).unwrap().products_of_batches();
        let expected = [
            ("KTR218", "Metoprolol Succinate"),
            ("RM5530A", "Ramipril Capsules 2.5 mg"),
            ("VOY756", "Amlodipine Besylate Tablets"),
        ];
        let owned = expected.map(|(batch, product)| (batch.to_owned(), product.to_owned()));
        assert_eq!(of(&pairs), owned.into());
        pairs.push(pair(
            "What is the product name for batch KTR281?",
            "The product name for batch KTR281 is Metoprolol Succinate.",
            "KTR281",
        ));
        assert!(!of(&pairs).contains_key("KTR218") && !of(&pairs).contains_key("KTR281"));
    }

    #[test]
    fn a_product_stands_for_its_batch_unless_the_records_are_asked_for_by_it() {
        let asked = "percent yield of Metoprolol Succinate";
        assert_eq!(guard(&pairs()).read(asked).question, "percent yield of KTR218");
        for asked in ["Metoprolol Succinate batch number", "Amlodipine Besylate Tablets: batch?"] {
            assert_eq!(guard(&pairs()).read(asked).question, asked);
        }
        let again = guard(&pairs())
            .second_reading("amlodipine besylate tablets, batch no?", shared::REFUSAL);
        assert_eq!(
            again.as_deref(),
            Some("What is the batch number for amlodipine besylate tablets?")
        );
        let by_product = "What is the assay result for Metoprolol Succinate?";
        for batch in [Some("KTR218".to_owned()), None] {
            let mut pairs = pairs();
            let assay = pair(by_product, "The assay result is 99.1%.", "KTR218");
            pairs.push(Pair { batch, ..assay });
            assert_eq!(guard(&pairs).read(asked).question, asked);
        }
        // Two names of the same words.
        let mut pairs = pairs();
        let (question, answer) =
            ("What is the product name for batch KTR281?", "Succinate Metoprolol");
        pairs.push(pair(question, answer, "KTR281"));
        assert_eq!(guard(&pairs).read(asked).question, asked);
    }

    #[test]
    fn slips_are_mended_but_not_in_names() {
        let guard = guard(&pairs());
        assert_eq!(guard.read("percnet yeild of KTR218").question, "percent yield of KTR218");
        assert_eq!(guard.read("amlodipin besylatte").question, "amlodipin besylatte");
    }

    #[test]
    fn only_whole_answers_are_on_record() {
        let guard = guard(&pairs());
        assert!(guard.is_on_record(" the percent yield for  batch KTR218 is 94.6%"));
        assert!(!guard.is_on_record("The percent yield for batch KTR218 is < 94.6%."));
        assert!(!guard.is_on_record("The actual yield for batch KTR218 is 94.6%."));
    }

    #[test]
    fn the_guard_knows_what_a_batch_has_and_how_to_ask_for_it() {
        let mut pairs = pairs();
        let own = "What is the frobnication index for batch KTR218?";
        pairs.push(pair(own, "It is 7.", "KTR218"));
        for (question, answer) in [("item code", "It is A-1."), ("product code", "It is A-2.")] {
            let question = format!("What is the {question} for batch KTR218?");
            pairs.push(pair(&question, answer, "KTR218"));
        }
        let guard = guard(&pairs);
        let again = |question: &str| guard.second_reading(question, shared::REFUSAL);
        let percent_yield = "What is the percent yield for batch KTR218?";
        assert_eq!(again("ktr218 yield in percent").as_deref(), Some(percent_yield));
        assert_eq!(again("frobnication index, KTR218").as_deref(), Some(own));
        assert_eq!(again("KTR218 material code"), None, "there are two");
        let word_for_word = "What is the product code for batch KTR218?";
        assert_eq!(again("KTR218 product code").as_deref(), Some(word_for_word));
        assert_eq!(again("KTR218 expiry date"), None);
        let evidence = |question: &str, answer: &str| guard.evidence(question, answer);
        // Which may be the plant's by another name: by its words it is one of the batch's.
        assert_eq!(evidence("KTR218 expiry date", shared::REFUSAL), FieldEvidence::Unclear);
        assert_eq!(evidence("KTR218 batch number", shared::REFUSAL), FieldEvidence::Agrees);
        assert_eq!(evidence("KTR218 material code", shared::REFUSAL), FieldEvidence::Contradicts);
        assert_eq!(evidence("KTR218 frobnication index", "It is 7."), FieldEvidence::AgreesTwice);
        assert_eq!(evidence("KTR218 expiry date", "It is 7."), FieldEvidence::Contradicts);
    }

    #[test]
    fn a_few_words_of_the_users_own_question_are_enough() {
        let mut pairs = pairs();
        let crimp = "Crimp type frobnicated on the tubes of KTR218?";
        let lot = "Tubes of KTR218: from whose lot, and which glunk?";
        let hummed = "How come the mixer hummed all through the second shift of KTR218?";
        for (question, answer) in [(crimp, "Fold."), (lot, "Lot 7."), (hummed, "It is old.")] {
            pairs.push(pair(question, answer, "KTR218"));
        }
        let elsewhere = "Crimp type frobnicated on the tubes of VOY756?";
        pairs.push(pair(elsewhere, "Seal.", "VOY756"));
        let guard = guard(&pairs);
        let again = |question: &str| guard.second_reading(question, shared::REFUSAL);
        assert_eq!(again("what crimp has ktr218?").as_deref(), Some(crimp));
        assert_eq!(again("VOY756 crimps").as_deref(), Some(elsewhere));
        assert_eq!(again("crimped tube, glunk of KTR218").as_deref(), Some(lot));
        assert_eq!(again("why hummed the mixer? KTR218").as_deref(), Some(hummed));
        for asked in ["tubes of KTR218", "crimp and glunk of KTR218", "mixer, VOY756", "KTR218"] {
            assert_eq!(again(asked), None, "{asked}");
        }
        let evidence = |question: &str, answer: &str| guard.evidence(question, answer);
        assert_eq!(evidence("KTR218 crimp", "Fold."), FieldEvidence::Agrees);
        assert_eq!(evidence("KTR218 crimp", shared::REFUSAL), FieldEvidence::Contradicts);
        assert_eq!(evidence("KTR218 crimp", "Lot 7."), FieldEvidence::Contradicts);
    }

    #[test]
    fn wordings_with_codes_stay_at_home() {
        let list = |question: &str| {
            let mut pairs = pairs();
            pairs.push(pair(question, "It is 7.", "KTR218"));
            let guard = guard(&pairs);
            guard.questions_on_record("KTR218").questions.contains(&question.to_owned())
        };
        assert!(list("Give nD20 as read for KTR218 at bulk release."));
        assert!(!list("Give glunk of RM-2231 as read for KTR218 at bulk release."));
    }

    #[test]
    fn paraphrases_name_a_field_and_close_what_a_refusal_leaves_open() {
        let own = "Give the glunk of KTR218 on Tuesdays, as read by the second shift.";
        let with = |paraphrases: &[&str]| {
            let paraphrases = paraphrases.iter().map(|text| (*text).to_owned()).collect();
            let mut pairs = pairs();
            pairs.push(Pair { paraphrases, ..pair(own, "It is 7.", "KTR218") });
            guard(&pairs)
        };
        let [alone, paraphrased] = [with(&[]), with(&["how viscid was KTR218 by the spindle"])];
        assert!(alone.leaves_open("assay of KTR218") && !alone.leaves_open("assay of VOY756"));
        assert!(!paraphrased.leaves_open("assay of KTR218"));
        let again = |guard: &Guard| guard.second_reading("KTR218 viscid?", shared::REFUSAL);
        assert_eq!((again(&alone), again(&paraphrased).as_deref()), (None, Some(own)));
        // The grammar knows it by the paraphrase, and by the words of the question as well.
        let coded = with(&["product code of KTR218", "What is the item code of KTR218?"]);
        for asked in ["KTR218 product code", "glunk, KTR218", "material code of KTR218"] {
            let again = coded.second_reading(asked, shared::REFUSAL);
            assert_eq!(again.as_deref(), Some(own), "{asked}");
        }
        assert_eq!(coded.evidence("KTR218 item code", "It is 7."), FieldEvidence::AgreesTwice);
    }

    #[test]
    fn a_pair_about_nothing_in_particular_lets_such_questions_pass() {
        let mut pairs = pairs();
        let general = "How come the mixer hums all through the second shift on Tuesdays?";
        pairs.push(Pair { batch: None, ..pair(general, "It is old.", "") });
        assert_eq!(guard(&pairs).check("the yield"), GuardVerdict::NoIdentifier);
    }
}
