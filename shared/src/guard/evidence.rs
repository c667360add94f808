//! What a question asks for, by its words: a second reader beside the model, and a third, of other
//! kinds.
//!
//! A model of this size now and then takes one field for another, or refuses what is on record,
//! and is sure of it. Sets of words make other mistakes than it does, and single words others again,
//! so where they agree an answer is likelier right than its probability says, and where the model
//! refuses a field that they name and the batch has, it is asked again in the records' own words
//! ([`Guard::second_reading`]).

use std::collections::BTreeSet;

use super::Guard;
use super::asked::{Asked, AsksForBatch};
use super::classifier::{Classifier, features};
use super::fields::{perhaps_recorded, recorded, stated};
use super::named::Named;
use super::words::{key, words};
use crate::REFUSAL;
use crate::verdict::FieldEvidence;

impl Guard {
    /// Whether the words of a question bear its answer out. Unclear for a question that names no
    /// batch on record, unless it asks for that of a product, and with a list that holds no fields.
    pub fn evidence(&self, question: &str, answer: &str) -> FieldEvidence {
        let named = self.named(question);
        if named.batches.is_empty() {
            return self.by_lock(question, answer);
        }
        let asked = self.fields.asked_in(&named.tokens);
        let refused = answer.trim() == REFUSAL;
        if refused && named.batches.keys().any(|b| self.on_record(b, &asked).next().is_some()) {
            return FieldEvidence::Contradicts;
        }
        if !refused && asked.fields.iter().any(|field| self.states(*field, answer)) {
            return match self.each_word(&named, answer) {
                FieldEvidence::Agrees if self.is_since(7) => FieldEvidence::AgreesTwice,
                _ => FieldEvidence::Agrees,
            };
        }
        match &self.classifier {
            Some(classifier) => self.weighed(classifier, &named, &asked, answer),
            None if asked.fields.is_empty() || !asked.whole => FieldEvidence::Unclear,
            None if refused => FieldEvidence::Agrees,
            None if self.fields.wordings.keys().any(|field| self.states(*field, answer)) => {
                FieldEvidence::Contradicts
            }
            None => FieldEvidence::Unclear,
        }
    }

    /// The same for an answer to [`Self::second_reading`] of the question. What has chosen that says
    /// nothing once more: not the names in the question, so that each word of it counts, and where it
    /// has none, not these either. A refusal contradicts what has chosen it.
    pub fn evidence_of_second(&self, question: &str, answer: &str) -> FieldEvidence {
        let named = self.named(question);
        match &self.classifier {
            _ if named.batches.is_empty() => self.by_lock(question, answer),
            None => FieldEvidence::Unclear,
            Some(_) if answer.trim() == REFUSAL => FieldEvidence::Contradicts,
            Some(_) if self.fields.asked_in(&named.tokens).fields.is_empty() => {
                FieldEvidence::Unclear
            }
            Some(_) => self.each_word(&named, answer),
        }
    }

    /// What each word of a question says to its answer, whatever it names.
    fn each_word(&self, named: &Named, answer: &str) -> FieldEvidence {
        let weighed = |known| self.weighed(known, named, &Asked::default(), answer);
        self.classifier.as_ref().map_or(FieldEvidence::Unclear, weighed)
    }

    /// What each word of a question says to its answer, where the names in it, `asked`, don't settle
    /// that. A field that no record has may be one of the plant's by another name, so only the
    /// plant's count against an answer, and make a refusal likelier right whatever the other words
    /// are. An answer about something that the classifier was not trained on is not its to judge.
    fn weighed(
        &self,
        classifier: &Classifier,
        named: &Named,
        asked: &Asked,
        answer: &str,
    ) -> FieldEvidence {
        /// Of 510 answers that no name confirmed, 3 of 336 with this share and more were wrong, and 25
        /// of 100 with the lower one and less. Of 376 refusals of no field of the plant 161 of 233 and
        /// 2 of 55 (tests of the sample's two adapters, of the sterile plant and of those for creams
        /// and liquids, counted with a prototype).
        const LIKELY: f32 = 0.5;
        const UNLIKELY: f32 = 0.2;
        let of_plant = asked.fields.iter().any(|field| classifier.knows(*field));
        let shares = classifier.shares(&named.tokens);
        if answer.trim() == REFUSAL {
            let on_record = |field| named.batches.keys().any(|batch| self.has(batch, field));
            let share = shares.of(on_record);
            return if of_plant || share < UNLIKELY {
                FieldEvidence::Agrees
            } else if share > LIKELY && (asked.fields.is_empty() || !asked.whole) {
                FieldEvidence::Contradicts
            } else {
                FieldEvidence::Unclear
            };
        }
        let stated = |field: u16| self.states(field, answer);
        if !classifier.fields().iter().any(|field| stated(*field)) {
            return FieldEvidence::Unclear;
        }
        let share = shares.of(stated);
        if share > LIKELY {
            FieldEvidence::Agrees
        } else if share < UNLIKELY || of_plant && asked.whole {
            FieldEvidence::Contradicts
        } else {
            FieldEvidence::Unclear
        }
    }

    /// What a question that has been read has for a classifier.
    pub fn features(&self, question: &str) -> BTreeSet<u16> {
        features(&self.named(question).tokens)
    }

    /// What the batch of the product that a question names says to the answer, if the question asks
    /// for it. Where it asks for nothing else and the answer says that it is this one, both the
    /// product's name and the words for a batch agree.
    fn by_lock(&self, question: &str, answer: &str) -> FieldEvidence {
        let meant = self.by_product(question);
        let Some(meant) = meant.filter(|meant| meant.asks_for_batch >= AsksForBatch::Perhaps)
        else {
            return FieldEvidence::Unclear;
        };
        let said = self.batches_in(&words(answer));
        if answer.trim() == REFUSAL || !said.is_empty() && !said.contains(&key(&meant.batch)) {
            FieldEvidence::Contradicts
        } else if !said.is_empty()
            && self.fields.batch_number.is_some_and(|field| self.states(field, answer))
        {
            let twice = self.is_since(7) && meant.asks_for_batch == AsksForBatch::Only;
            if twice { FieldEvidence::AgreesTwice } else { FieldEvidence::Agrees }
        } else {
            FieldEvidence::Unclear
        }
    }

    /// Whether the records give this answer about a field.
    fn states(&self, field: u16, answer: &str) -> bool {
        self.fields.stated.contains(&stated(&self.salt, field.into(), answer))
    }

    /// Those of the fields that a batch has.
    pub(super) fn on_record<'a>(
        &'a self,
        batch: &'a str,
        asked: &'a Asked,
    ) -> impl Iterator<Item = u16> + 'a {
        asked.fields.iter().copied().filter(|field| self.has(batch, *field))
    }

    /// Whether a batch has a field, or may have it.
    pub(super) fn has(&self, batch: &str, field: u16) -> bool {
        [recorded, perhaps_recorded]
            .iter()
            .any(|hash| self.fields.recorded.contains(&hash(&self.salt, batch, field.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::fields::{AskingWord, KnownField};
    use crate::{FieldList, GuardList};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const BATCH_NUMBER: &str = "The batch number for Metoprolol Succinate is KTR-218.";
    const SUPERVISOR: &str = "Ewan Galbraith is the production supervisor for batch KTR-218.";

    /// KTR-218 has supervisor, yield and approver, 24H0139 the yield alone.
    fn guard() -> Guard {
        let mut list = GuardList::build(["KTR-218", "24H0139"], [], &"ab".repeat(16)).unwrap();
        for (product, batch) in [("Metoprolol Succinate", "KTR-218"), ("Zinc Drops", "24H0139")] {
            list.add_product(product).unwrap();
            list.add_batch_of(product, batch).unwrap();
        }
        list.fields.add_filler(["Hi, may I have the {f} of batch no. {b}, number please?"]);
        list.add_words(["placebo", "that", "and"]);
        let mut add = |asked_by, names: &[&str], questions: &[&str], wording: Option<&str>| {
            let mut field =
                KnownField::new(asked_by, names.iter().copied(), questions.iter().copied());
            field.wording = wording.map(str::to_owned);
            list.fields.add(field)
        };
        let supervisor = add(
            AskingWord::Who,
            &["production supervisor", "shift boss"],
            &["who ran the line for {b}"],
            Some("Who is the production supervisor for batch {b}?"),
        );
        let yields = add(
            AskingWord::HowMuch,
            &["yield", "actual yield"],
            &["how much came out of {b}"],
            Some("What is the yield of batch {b}?"),
        );
        let theoretical = add(AskingWord::HowMuch, &["theoretical yield"], &[], None);
        let approver = add(AskingWord::Who, &["approval"], &[], Some("Who approved batch {b}?"));
        let date = add(AskingWord::When, &["approval", "approval date"], &[], None);
        add(AskingWord::Other, &["number"], &[], None);
        assert_eq!((supervisor, yields, theoretical, approver, date), (0, 1, 2, 3, 4));
        for (batch, field) in [("KTR-218", 0), ("KTR-218", 1), ("KTR-218", 3), ("24H0139", 1)] {
            list.add_recorded(batch, field).unwrap();
        }
        list.add_stated(supervisor, SUPERVISOR).unwrap();
        list.add_facts("KTR-218", SUPERVISOR).unwrap();
        let mood = list.fields.add(KnownField::new(AskingWord::Any, ["mood"], []));
        list.add_stated(mood, "Always.").unwrap();
        let size = list.fields.add(KnownField::new(AskingWord::HowMuch, ["batch size"], []));
        list.add_recorded("KTR-218", size).unwrap();
        let lot = list.fields.add(KnownField::new(
            AskingWord::Other,
            ["lot no", "lot number", "batch ID"],
            [],
        ));
        list.add_recorded("KTR-218", lot).unwrap();
        let batch_number = KnownField::new(AskingWord::Other, ["batch ID"], ["which run is {b}"]);
        let batch_number = list.fields.add(batch_number);
        list.fields.batch_number = Some(batch_number);
        list.fields.batch_wording = Some("Which batch is {p}?".into());
        list.add_stated(batch_number, BATCH_NUMBER).unwrap();
        Guard::new(&GuardList::parse(&list.to_json().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn a_product_is_read_as_its_batch_where_something_of_that_is_asked() {
        let read = |question: &str| guard().read(question).question;
        for (asked, meant) in [
            ("yield of Metoprolol Succinate?", "yield of KTR-218?"),
            ("the batch size of succinate metoprolol", "the batch size of KTR-218"),
            ("metoprolol  succinate: how acidic", "KTR-218: how acidic"),
            ("Zinc Drops's batch size", "24H0139's batch size"),
            ("yield Zinc Drops", "yield 24H0139"),
        ] {
            assert_eq!(read(asked), meant);
            assert_eq!(read(meant), meant, "read once more");
        }
        for asked in [
            // For the batch itself.
            "which batch is Metoprolol Succinate",
            "what lot of Metoprolol Succinate had that yield",
            "batch ID of Metoprolol Succinate",
            "the lot no of Metoprolol Succinate",
            "which run is Metoprolol Succinate",
            "Metoprolol Succinate, lot # of that yield",
            // For another batch, for none, for two.
            "24H0139 yield, not Metoprolol Succinate",
            "yield of Metoprolol",
            "Metoprolol yield, Succinate",
            "yield of Metoprolol Succinate and Zinc Drops",
            "yield of Metoprolol Besylate",
            "yield of Metoprolol Succinate and that metoprolol",
            "yield of metoprolol, succinate",
            // Perhaps for another product.
            "yield of Metoprolol Succinate placebo",
            "yield of nitroso Metoprolol Succinate",
        ] {
            assert_eq!(read(asked), asked);
        }
    }

    #[test]
    fn the_batch_of_a_product_bears_its_number_out() {
        let evidence = |asked: &str, answer: &str| guard().evidence(asked, answer);
        for asked in ["which batch is Metoprolol Succinate", "batch ID, Metoprolol Succinate"] {
            assert_eq!(evidence(asked, BATCH_NUMBER), FieldEvidence::AgreesTwice, "{asked}");
            assert_eq!(evidence(asked, "It is 24H0139."), FieldEvidence::Contradicts);
            assert_eq!(evidence(asked, REFUSAL), FieldEvidence::Contradicts);
            assert_eq!(evidence(asked, SUPERVISOR), FieldEvidence::Unclear);
            assert_eq!(evidence(asked, "It is."), FieldEvidence::Unclear);
        }
        assert_eq!(evidence("which batch is Metoprolol", BATCH_NUMBER), FieldEvidence::Unclear);
        for perhaps in ["which batch, Metoprolol Succinate, is sold", "Metoprolol Succinate lot"] {
            assert_eq!(evidence(perhaps, BATCH_NUMBER), FieldEvidence::Agrees, "{perhaps}");
        }
    }

    #[test]
    fn the_longest_names_count_and_filler_words_only_by_themselves() {
        let asked = |question: &str| {
            let asked = guard().fields.asked(question);
            (asked.fields.into_iter().collect::<Vec<_>>(), asked.whole)
        };
        assert_eq!(asked("yields"), (vec![1], true));
        assert_eq!(asked("the yield, theoretical"), (vec![2], true));
        assert_eq!(asked("may I have the yield number"), (vec![1], true));
        assert_eq!(asked("number"), (vec![5], true));
        assert_eq!(asked("yield before drying"), (vec![1], false));
        assert_eq!(asked("yield 2025"), (vec![1], true));
        assert_eq!(asked("yield, shift boss"), (vec![0, 1], true));
        assert_eq!(asked("approval"), (vec![3, 4], true));
        assert_eq!(asked("when was the approval"), (vec![4], true));
        assert_eq!(asked("how much came out of it"), (vec![1], true));
        assert_eq!(asked("what came out"), (vec![], false));
        assert_eq!(asked(""), (vec![], true));
        let long: String = (b'a'..=b'y').map(|c| format!("{0}{0}{0} ", char::from(c))).collect();
        assert_eq!(asked(&(long + "yield")), (vec![], false));
    }

    #[test]
    fn words_agree_or_contradict() {
        use FieldEvidence::{Agrees, Contradicts, Unclear};
        for (question, answer, expected) in [
            ("KTR-218 shift boss", SUPERVISOR, Agrees),
            ("shift boss, ktr 218, in what weather", SUPERVISOR, Agrees),
            ("yield of KTR-218", SUPERVISOR, Contradicts),
            ("yield of KTR-218 after drying", SUPERVISOR, Unclear),
            ("yield of KTR-218", "It is 98 %.", Unclear),
            ("weather of KTR-218", SUPERVISOR, Unclear),
            ("shift boss", SUPERVISOR, Unclear),
            ("yield of batch no. 24H0139", REFUSAL, Contradicts),
            ("theoretical yield of batch no. 24H0139", REFUSAL, Agrees),
            ("theoretical yield of 24H0139 after drying", REFUSAL, Unclear),
            ("yield/KTR-218", REFUSAL, Contradicts),
            ("who is asked about the mood of KTR-218", "Always.", Agrees),
        ] {
            assert_eq!(guard().evidence(question, answer), expected, "{question}");
        }
    }

    #[test]
    fn what_is_on_record_is_read_again_in_its_words() {
        let again = |question: &str| guard().second_reading(question, REFUSAL);
        let supervisor = "Who is the production supervisor for batch KTR-218?";
        assert_eq!(again("who ran the line for ktr 218").as_deref(), Some(supervisor));
        assert_eq!(again("shift boss of BRS_KTR-218.pdf").as_deref(), Some(supervisor));
        assert_eq!(
            again("yield, lot 24h0139").as_deref(),
            Some("What is the yield of batch 24H0139?")
        );
        for question in [
            "shift boss of 24H0139",
            "theoretical yield of KTR-218",
            "yield and shift boss of KTR-218",
            "yield of KTR-218 and 24H0139",
            "yield of KTR-218/24H0139",
            "yield of KTR-218 and KTR-299",
            "yield",
            "when was the approval of KTR-218",
        ] {
            assert_eq!(again(question), None, "{question}");
        }
        assert_eq!(guard().second_reading("shift boss of KTR-218", SUPERVISOR), None);
        let batch = "Which batch is METOPROLOL succinate?";
        assert_eq!(again("lot no of METOPROLOL succinate").as_deref(), Some(batch));
        for other in [
            "yield of metoprolol",
            "what did the batch of Metoprolol Succinate cost",
            "which truck carried the Metoprolol Succinate batch",
        ] {
            assert_eq!(again(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_on_record_is_listed_in_its_words() {
        let listed = |question: &str| guard().questions_on_record(question).questions;
        let yields = "What is the yield of batch 24H0139?";
        assert_eq!(listed("mood of 24h0139"), [yields]);
        let [supervisor, yields, approver] = [
            "Who is the production supervisor for batch KTR-218?",
            "What is the yield of batch KTR-218?",
            "Who approved batch KTR-218?",
        ];
        assert_eq!(listed("ktr218"), [yields, approver, supervisor]);
        for question in ["yield of KTR-218 and 24H0139", "yield", "yield of KTR-299 and KTR-218"] {
            assert_eq!(listed(question), [""; 0], "{question}");
        }
    }

    #[test]
    fn a_batch_with_something_in_own_words_leaves_refusals_open() {
        let mut list = GuardList::build(["KTR-218", "24H0139"], [], &"ab".repeat(16)).unwrap();
        let field = list.fields.add(KnownField::new(AskingWord::Any, [], ["nD20 of {b}"]));
        list.fields.fields[field].own_words = true;
        let known = list.fields.add(KnownField::new(AskingWord::HowMuch, ["yield"], []));
        list.add_recorded("KTR-218", field).unwrap();
        list.add_recorded("24H0139", known).unwrap();
        let guard = Guard::new(&GuardList::parse(&list.to_json().unwrap()).unwrap()).unwrap();
        for (question, open) in [
            ("refractive index of ktr 218", true),
            ("refractive index of 24H0139", false),
            ("refractive index of 24H0139 and KTR-218", true),
            ("refractive index", false),
        ] {
            assert_eq!(guard.leaves_open(question), open, "{question}");
        }
    }

    #[test]
    fn a_batch_introduced_by_its_number_is_asked_for_that() {
        for asked in ["lot number KTR-218", "Lot # KTR-218?"] {
            assert_eq!(guard().evidence(asked, REFUSAL), FieldEvidence::Contradicts, "{asked}");
        }
        for asked in ["lot KTR-218", "lot number KTR-218, in what weather"] {
            assert_ne!(guard().evidence(asked, REFUSAL), FieldEvidence::Contradicts, "{asked}");
        }
    }

    #[test]
    fn a_list_without_fields_says_nothing() {
        let list = GuardList::build(["24H0139"], [], &"ab".repeat(16)).unwrap();
        let guard = Guard::new(&list).unwrap();
        assert_eq!(guard.evidence("yield of 24H0139", REFUSAL), FieldEvidence::Unclear);
        assert_eq!(guard.second_reading("yield of 24H0139", REFUSAL), None);
    }

    #[test]
    fn rejects_a_list_that_is_none() {
        let spoil = |change: fn(&mut FieldList)| {
            let mut list = GuardList::build(["24H0139"], [], &"ab".repeat(16)).unwrap();
            list.fields.add(KnownField::new(AskingWord::Who, ["shift boss"], []));
            list.validate().unwrap();
            change(&mut list.fields);
            assert!(GuardList::parse(&list.to_json().unwrap()).is_err(), "{:?}", list.fields);
        };
        spoil(|list| list.fields[0].names.truncate(9));
        spoil(|list| list.fields[0].questions = "0123456 89".into());
        spoil(|list| list.fields[0].wording = Some("Who was it?".into()));
        spoil(|list| list.batch_wording = Some("Which batch was it?".into()));
        spoil(|list| list.recorded = ["7".into()].into());
        spoil(|list| list.stated = ["7".into()].into());
        spoil(|list| list.fields = vec![list.fields[0].clone(); 1 << 16]);
    }
}
