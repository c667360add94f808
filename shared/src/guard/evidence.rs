//! What a question asks for, by the wordings that the trainer's grammar knows: a second reader
//! beside the model, of another kind.
//!
//! A model of this size now and then takes one field for another, or refuses what is on record,
//! and is sure of it. Sets of words make other mistakes than it does, so where both agree an answer
//! is likelier right than its probability says, and where the model refuses a field that the words
//! name and the batch has, it is asked again in the records' own words
//! ([`Guard::second_reading`]).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::classifier::{Classifier, features};
use super::fields::{AskingWord, FieldList, KnownField, perhaps_recorded, recorded, stated};
use super::wording::{
    ASKING_WORDS, BATCH_NOUNS, STOP_WORDS, content, hash, masked, name_masks, singular, split,
    tokens,
};
use super::words::{key, shape, words};
use super::{Guard, MAX_WORDS};
use crate::REFUSAL;
use crate::verdict::FieldEvidence;

/// Words between "batch" and its identifier.
const NUMBER_WORDS: [&str; 4] = ["id", "no", "nr", "number"];
/// Words for a batch before its identifier.
const BATCH_WORDS: [&str; 6] = ["b", "batch", "bn", "btch", "lot", "n"];

/// Most different telling words of a question that is looked into.
const MAX_CONTENT: usize = 16;

/// The list made ready for look-ups.
#[derive(Debug, Clone, Default)]
pub struct FieldIndex {
    filler: BTreeSet<String>,
    /// Hash and field, sorted.
    names: Vec<(u64, u16)>,
    questions: Vec<(u64, u16)>,
    asked_by: Vec<AskingWord>,
    /// By field, for those on record.
    wordings: BTreeMap<u16, String>,
    /// Fields that the records' own wording alone tells of.
    own_words: Vec<u16>,
    batch_number: Option<u16>,
    /// It, and the fields that share a name or a question with it.
    like_batch_number: BTreeSet<u16>,
    recorded: HashSet<String>,
    stated: HashSet<String>,
}

/// What a question asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The fields that it names, by their place in the list.
    pub fields: BTreeSet<u16>,
    /// Whether no other word of it could mean something.
    pub whole: bool,
}

impl FieldIndex {
    /// Prepares a list, which has been validated.
    pub fn new(list: &FieldList) -> Self {
        let sorted = |of: fn(&KnownField) -> &str| {
            let fields = list.fields.iter().zip(0..);
            let mut found: Vec<(u64, u16)> = fields
                .flat_map(|(field, at)| split(of(field)).map(move |hash| (hash, at)))
                .collect();
            found.sort_unstable();
            found
        };
        let numbered = || list.fields.iter().zip(0..);
        let names = sorted(|field| &field.names);
        let batch_number = list.batch_number.and_then(|at| at.try_into().ok());
        let questions = sorted(|field| &field.questions);
        let both = [&names, &questions];
        let alike = both.into_iter().flat_map(|all| all.chunk_by(|(a, _), (b, _)| a == b));
        let like_batch_number: BTreeSet<u16> = alike
            .filter(|fields| fields.iter().any(|(_, field)| Some(*field) == batch_number))
            .flatten()
            .map(|(_, field)| *field)
            .collect();
        Self {
            filler: list.filler.clone(),
            like_batch_number,
            batch_number,
            names,
            questions,
            asked_by: list.fields.iter().map(|field| field.asked_by).collect(),
            wordings: numbered()
                .filter_map(|(field, at)| Some((at, field.wording.clone()?)))
                .collect(),
            own_words: numbered().filter(|(field, _)| field.own_words).map(|(_, at)| at).collect(),
            recorded: list.recorded.iter().cloned().collect(),
            stated: list.stated.iter().cloned().collect(),
        }
    }

    /// The fields that a question asks for, batches left out of it.
    ///
    /// A question in the words of one of a field's own asks for that. Otherwise it asks for the
    /// longest names whose words it has, in any order: "total impurities" goes before "impurities",
    /// and names of filler words alone ("number") count where there is no other. Of those a question
    /// with "who" asks for the persons.
    pub fn asked(&self, question: &str) -> Asked {
        self.asked_in(&tokens(question))
    }

    pub(super) fn asked_in(&self, tokens: &[String]) -> Asked {
        let own = find(&self.questions, hash(&content(tokens, &[&BATCH_NOUNS])));
        if !own.is_empty() {
            return Asked { fields: own.iter().map(|(_, field)| *field).collect(), whole: true };
        }
        let content: Vec<String> = content(tokens, &[&ASKING_WORDS]).into_iter().collect();
        if content.len() > MAX_CONTENT {
            return Asked::default();
        }
        let mut named: Vec<(u32, &[(u64, u16)])> = Vec::new();
        for mask in name_masks(content.len()) {
            let found = find(&self.names, hash(masked(&content, mask)));
            if !found.is_empty() {
                named.push((mask, found));
            }
        }
        let within = |a: u32, b: u32| a != b && a & b == a;
        let longest: Vec<_> = named
            .iter()
            .filter(|(mask, _)| !named.iter().any(|(other, _)| within(*mask, *other)))
            .collect();
        let telling = |mask: u32| masked(&content, mask).any(|word| !self.filler.contains(word));
        let some_telling = longest.iter().any(|(mask, _)| telling(*mask));
        let kept: Vec<_> =
            longest.into_iter().filter(|(mask, _)| telling(*mask) || !some_telling).collect();
        let said = kept.iter().fold(0, |said, (mask, _)| said | mask);
        let left_over = content.iter().enumerate().any(|(at, word)| {
            let number = word.bytes().all(|b| b.is_ascii_digit());
            said >> at & 1 == 0 && !number && !self.filler.contains(word)
        });
        let wanted = asking_word(tokens);
        let fits = |field: &u16| {
            let by = self.asked_by[usize::from(*field)];
            by == AskingWord::Any || wanted.is_none_or(|wanted| by == wanted)
        };
        let fields = kept.iter().flat_map(|(_, found)| found.iter().map(|(_, field)| *field));
        Asked { fields: fields.filter(fits).collect(), whole: !left_over }
    }

    /// Whether a question that names its batch by something else, with these other words, asks for
    /// the batch itself. "Which batch" does; "batch" alone if no field is named ("batch size").
    pub(super) fn asks_for_batch(&self, tokens: &[String], asked: &Asked) -> bool {
        let is_noun = |token: &String| BATCH_NOUNS.contains(&singular(token).as_str());
        let is_which = |token: &String| ["which", "what"].contains(&token.as_str());
        !asked.fields.is_disjoint(&self.like_batch_number)
            || tokens.windows(2).any(|pair| is_which(&pair[0]) && is_noun(&pair[1]))
            || asked.fields.is_empty() && tokens.iter().any(is_noun)
    }

    /// Whether a word means the same about any field.
    pub(super) fn says_nothing(&self, token: &str) -> bool {
        let lists = [&STOP_WORDS[..], &ASKING_WORDS, &BATCH_NOUNS];
        lists.iter().any(|list| list.contains(&token)) || self.filler.contains(&singular(token))
    }
}

impl Guard {
    /// Whether the words of a question bear its answer out. Unclear for a question that names no
    /// batch on record, unless it asks for that of a product, and with a list that holds no fields.
    pub fn evidence(&self, question: &str, answer: &str) -> FieldEvidence {
        let named = self.named(question);
        if named.batches.is_empty() {
            let by_product = self.by_product(question).filter(|meant| meant.asks_for_batch);
            return by_product
                .map_or(FieldEvidence::Unclear, |meant| self.is_batch_of(&meant.batch, answer));
        }
        let asked = self.fields.asked_in(&named.tokens);
        let refused = answer.trim() == REFUSAL;
        if refused && named.batches.keys().any(|b| self.on_record(b, &asked).next().is_some()) {
            return FieldEvidence::Contradicts;
        }
        if !refused && asked.fields.iter().any(|field| self.states(*field, answer)) {
            return FieldEvidence::Agrees;
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

    /// The same for an answer to [`Self::second_reading`] of the question, which has been chosen by
    /// the names in it: that the answer agrees with those says nothing, so that each word counts. A
    /// refusal of it contradicts them.
    pub fn evidence_of_second(&self, question: &str, answer: &str) -> FieldEvidence {
        match &self.classifier {
            None => FieldEvidence::Unclear,
            Some(_) if answer.trim() == REFUSAL => FieldEvidence::Contradicts,
            Some(classifier) => {
                self.weighed(classifier, &self.named(question), &Asked::default(), answer)
            }
        }
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
        /// Of 589 answers that no name confirmed, 3 of 321 with this share and more were wrong, and
        /// about one in five of those with the lower one and less. Of 378 refusals of no field of the
        /// plant 151 of 242 and 5 of 58 (tests of the sample's two adapters, of the sterile plant and
        /// of those for creams and liquids, counted with a prototype).
        const LIKELY: f32 = 0.5;
        const UNLIKELY: f32 = 0.2;
        let of_plant = asked.fields.iter().any(|field| classifier.knows(*field));
        let features = features(&named.tokens);
        if answer.trim() == REFUSAL {
            let on_record = |field| named.batches.keys().any(|batch| self.has(batch, field));
            let share = classifier.share(&features, on_record);
            return if of_plant || share < UNLIKELY {
                FieldEvidence::Agrees
            } else if share > LIKELY && (asked.fields.is_empty() || !asked.whole) {
                FieldEvidence::Contradicts
            } else {
                FieldEvidence::Unclear
            };
        }
        let fields = classifier.fields().iter().copied();
        let stated: Vec<u16> = fields.filter(|field| self.states(*field, answer)).collect();
        if stated.is_empty() {
            return FieldEvidence::Unclear;
        }
        let share = classifier.share(&features, |field| stated.contains(&field));
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

    /// What a product's `batch` says to the answer to the question for it.
    fn is_batch_of(&self, batch: &str, answer: &str) -> FieldEvidence {
        let said = self.batches_in(&words(answer));
        if answer.trim() == REFUSAL || !said.is_empty() && !said.contains(&key(batch)) {
            FieldEvidence::Contradicts
        } else if !said.is_empty()
            && self.fields.batch_number.is_some_and(|field| self.states(field, answer))
        {
            FieldEvidence::Agrees
        } else {
            FieldEvidence::Unclear
        }
    }

    /// Whether the records give this answer about a field.
    fn states(&self, field: u16, answer: &str) -> bool {
        self.fields.stated.contains(&stated(&self.salt, field.into(), answer))
    }

    /// The question in the records' own words, for a model that refused it although the question
    /// names one batch, no unknown one, and one field that this batch has and the records ask for
    /// by itself. `None` otherwise.
    ///
    /// Words that are left over don't keep it from that: of 37 refused questions with such words
    /// about a field on record, 33 meant that field (sample and sterile plant, tests and validation,
    /// counted with a prototype).
    pub fn second_reading(&self, question: &str, answer: &str) -> Option<String> {
        if answer.trim() != REFUSAL {
            return None;
        }
        let Named { batches, unknown, tokens } = self.named(question);
        let mut batches = batches.iter();
        let ((batch, written), None) = (batches.next()?, batches.next()) else { return None };
        let asked = self.fields.asked_in(&tokens);
        let on_record = self.on_record(batch, &asked);
        let mut wordings = on_record.filter_map(|field| self.fields.wordings.get(&field));
        let (wording, None, false) = (wordings.next()?, wordings.next(), unknown) else {
            return None;
        };
        Some(wording.replace("{b}", &self.name(batch, written)))
    }

    /// Whether a question names a batch that has something in the records' own words alone. That
    /// the question doesn't name it in these says nothing: a refusal leaves open whether it is on
    /// record.
    pub fn leaves_open(&self, question: &str) -> bool {
        let batches = self.named(question).batches;
        let has = |batch: &String| self.fields.own_words.iter().any(|f| self.has(batch, *f));
        batches.keys().any(has)
    }

    /// What the records answer about the one batch that a question names, in their own words: a
    /// question for each field on record, unless the records ask for it by something else as well;
    /// first those that its words make likely. None if the question names several batches, an unknown
    /// one or none.
    pub fn questions_on_record(&self, question: &str) -> Vec<String> {
        let Named { batches, unknown, tokens } = self.named(question);
        let mut batches = batches.into_iter();
        let (Some((batch, written)), None, false) = (batches.next(), batches.next(), unknown)
        else {
            return Vec::new();
        };
        let is_recorded =
            |field: u16| self.fields.recorded.contains(&recorded(&self.salt, &batch, field.into()));
        let wordings = self.fields.wordings.iter().filter(|(field, _)| is_recorded(**field));
        let (classifier, features) = (self.classifier.iter(), features(&tokens));
        let likely: BTreeMap<u16, f32> =
            classifier.flat_map(|known| known.likelihoods(&features)).collect();
        // Two fields may be asked for by the same question.
        let mut likelihoods: BTreeMap<&String, f32> = BTreeMap::new();
        for (field, wording) in wordings {
            *likelihoods.entry(wording).or_default() += likely.get(field).unwrap_or(&0.0);
        }
        let mut wordings: Vec<(&String, f32)> = likelihoods.into_iter().collect();
        wordings.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let name = self.name(&batch, &written);
        wordings.into_iter().map(|(wording, _)| wording.replace("{b}", &name)).collect()
    }

    /// Those of the fields that a batch has.
    fn on_record<'a>(&'a self, batch: &'a str, asked: &'a Asked) -> impl Iterator<Item = u16> + 'a {
        asked.fields.iter().copied().filter(|field| self.has(batch, *field))
    }

    /// Whether a batch has a field, or may have it.
    fn has(&self, batch: &str, field: u16) -> bool {
        [recorded, perhaps_recorded]
            .iter()
            .any(|hash| self.fields.recorded.contains(&hash(&self.salt, batch, field.into())))
    }

    /// A batch as the records may write it.
    fn name(&self, batch: &str, written: &str) -> String {
        let known_form = self.shapes.contains(&shape(written));
        if known_form { written.to_owned() } else { self.written(batch) }
    }

    /// What a text names, and its other words.
    fn named(&self, text: &str) -> Named {
        let words = words(text);
        let whole: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let mut named = Named::default();
        let mut at = 0;
        while at < words.len() {
            let joined = (2..=MAX_WORDS.min(words.len() - at))
                .map(|width| (width, whole[at..at + width].concat()))
                .find(|(_, joined)| self.is_batch(joined));
            let mut rest = words[at].text.clone();
            let parts = words[at].parts();
            for part in parts.into_iter().filter(|part| self.is_batch(part)) {
                // A part of a longer one that is a batch as well is none of its own.
                if rest.contains(part) {
                    rest = rest.replacen(part, " ", 1);
                    named.batch(part.to_owned());
                }
            }
            if rest.contains(' ') {
                // What a batch's file is called says nothing, what a slash parts from it does.
                let others = rest.split('/').filter(|other| !other.contains(' '));
                named.tokens.extend(others.flat_map(tokens));
                at += 1;
            } else if let Some((width, batch)) = joined {
                named.batch(batch);
                at += width;
            } else {
                named.unknown |=
                    words[at].groups().iter().any(|group| self.looks_like_batch(group, false));
                named.tokens.extend(tokens(&rest));
                at += 1;
            }
        }
        named
    }
}

/// What a text names.
#[derive(Default)]
struct Named {
    /// The known batches as it writes them, by key.
    batches: BTreeMap<String, String>,
    /// Whether it names what looks like another.
    unknown: bool,
    /// Its other words.
    tokens: Vec<String>,
}

impl Named {
    /// Adds a batch; the words before it that only introduce it go.
    fn batch(&mut self, batch: String) {
        let is = |list: &[&str], word: Option<&String>| {
            word.is_some_and(|word| list.contains(&word.as_str()))
        };
        let before = self.tokens.len().checked_sub(2).and_then(|at| self.tokens.get(at));
        if is(&NUMBER_WORDS, self.tokens.last()) && is(&BATCH_WORDS, before) {
            self.tokens.pop();
        }
        while is(&BATCH_WORDS, self.tokens.last()) {
            self.tokens.pop();
        }
        self.batches.insert(key(&batch), batch);
    }
}

fn asking_word(tokens: &[String]) -> Option<AskingWord> {
    let has = |word: &str| tokens.iter().any(|token| token == word);
    if has("who") || has("whom") || has("whose") {
        Some(AskingWord::Who)
    } else if has("when") {
        Some(AskingWord::When)
    } else if has("how") && (has("many") || has("much")) {
        Some(AskingWord::HowMuch)
    } else if has("where") {
        Some(AskingWord::Where)
    } else {
        None
    }
}

fn find(sorted: &[(u64, u16)], wanted: u64) -> &[(u64, u16)] {
    let start = sorted.partition_point(|(hash, _)| *hash < wanted);
    let rest = &sorted[start..];
    &rest[..rest.partition_point(|(hash, _)| *hash == wanted)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GuardList;
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
        let mood = list.fields.add(KnownField::new(AskingWord::Any, ["mood"], []));
        list.add_stated(mood, "Always.").unwrap();
        let size = list.fields.add(KnownField::new(AskingWord::HowMuch, ["batch size"], []));
        list.add_recorded("KTR-218", size).unwrap();
        let lot = list.fields.add(KnownField::new(AskingWord::Other, ["lot no", "batch ID"], []));
        list.add_recorded("KTR-218", lot).unwrap();
        let batch_number = KnownField::new(AskingWord::Other, ["batch ID"], ["which run is {b}"]);
        let batch_number = list.fields.add(batch_number);
        list.fields.batch_number = Some(batch_number);
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
            assert_eq!(evidence(asked, BATCH_NUMBER), FieldEvidence::Agrees);
            assert_eq!(evidence(asked, "It is 24H0139."), FieldEvidence::Contradicts);
            assert_eq!(evidence(asked, REFUSAL), FieldEvidence::Contradicts);
            assert_eq!(evidence(asked, SUPERVISOR), FieldEvidence::Unclear);
            assert_eq!(evidence(asked, "It is."), FieldEvidence::Unclear);
        }
        assert_eq!(evidence("which batch is Metoprolol", BATCH_NUMBER), FieldEvidence::Unclear);
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
    }

    #[test]
    fn what_is_on_record_is_listed_in_its_words() {
        let listed = |question: &str| guard().questions_on_record(question);
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
        spoil(|list| list.recorded = ["7".into()].into());
        spoil(|list| list.stated = ["7".into()].into());
        spoil(|list| list.fields = vec![list.fields[0].clone(); 1 << 16]);
    }
}
