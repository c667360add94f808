//! The fields that a question names, by the wordings that the trainer's grammar and the user's pairs
//! know.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::fields::{AskingWord, FieldList, KnownField};
use super::wording::{
    ASKING_WORDS, BATCH_NOUNS, STOP_WORDS, content, hash, masked, name_masks, singular, split,
    tokens,
};

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
    pub(super) wordings: BTreeMap<u16, String>,
    /// Fields that the records' own wording alone tells of.
    pub(super) own_words: Vec<u16>,
    pub(super) batch_number: Option<u16>,
    pub(super) batch_wording: Option<String>,
    /// It, and the fields that share a name or a question with it.
    like_batch_number: BTreeSet<u16>,
    pub(super) recorded: HashSet<String>,
    pub(super) stated: HashSet<String>,
}

/// What a question asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The fields that it names, by their place in the list.
    pub fields: BTreeSet<u16>,
    /// Whether no other word of it could mean something.
    pub whole: bool,
    /// Whether it has too many words to be looked into, so that it may name anything.
    pub too_long: bool,
}

/// Whether a question asks for a batch itself, surer and surer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AsksForBatch {
    /// It asks for something of the batch.
    No,
    /// It speaks of a batch and names no field.
    Perhaps,
    /// It asks which batch, or for a batch number.
    Clearly,
    /// And for nothing else.
    Only,
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
            batch_wording: list.batch_wording.clone(),
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
            return Asked {
                fields: own.iter().map(|(_, field)| *field).collect(),
                whole: true,
                too_long: false,
            };
        }
        let content: Vec<String> = content(tokens, &[&ASKING_WORDS]).into_iter().collect();
        if content.len() > MAX_CONTENT {
            return Asked { too_long: true, ..Asked::default() };
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
        Asked { fields: fields.filter(fits).collect(), whole: !left_over, too_long: false }
    }

    /// Whether a question that names its batch by something else, with these other words, asks for
    /// the batch itself. "Which batch" does; "batch" alone may, if no field is named ("batch size").
    pub(super) fn asks_for_batch(&self, tokens: &[String], asked: &Asked) -> AsksForBatch {
        let is_noun = |token: &String| BATCH_NOUNS.contains(&singular(token).as_str());
        let is_which = |token: &String| ["which", "what"].contains(&token.as_str());
        let clearly = !asked.fields.is_disjoint(&self.like_batch_number)
            || tokens.windows(2).any(|pair| is_which(&pair[0]) && is_noun(&pair[1]));
        if clearly && asked.whole {
            AsksForBatch::Only
        } else if clearly {
            AsksForBatch::Clearly
        } else if asked.fields.is_empty() && tokens.iter().any(is_noun) {
            AsksForBatch::Perhaps
        } else {
            AsksForBatch::No
        }
    }

    /// Whether a word means the same about any field.
    pub(super) fn says_nothing(&self, token: &str) -> bool {
        let lists = [&STOP_WORDS[..], &ASKING_WORDS, &BATCH_NOUNS];
        lists.iter().any(|list| list.contains(&token)) || self.filler.contains(&singular(token))
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
