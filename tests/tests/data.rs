//! The sample data keeps what its README and the figures measured on it promise.

#![cfg(not(target_arch = "wasm32"))]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use trainer::corpus::{Choose as _, Grammar, Noise, Split, Subject, stream};
use trainer::data::{Pair, read_pairs};

/// Stands for the batch (or product) in a wording that has been taken apart.
const SUBJECT: &str = "§";

/// The pairs of a file, which holds none twice and no key that would go unused.
fn read(name: &str) -> Vec<Pair> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/data").join(name);
    let file = read_pairs(&path).unwrap();
    assert_eq!(file.notes, Vec::<String>::new(), "{name}");
    file.pairs
}

/// Lower-case words, without any punctuation.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    let mut between = false;
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() || SUBJECT.contains(c) {
            if between && !words.is_empty() {
                words.push(' ');
            }
            words.push(c);
        }
        between = !(c.is_alphanumeric() || SUBJECT.contains(c));
    }
    words
}

/// Whether `part` stands in `text`, both as [`words`], at word boundaries.
fn mentions(text: &str, part: &str) -> bool {
    format!(" {text} ").contains(&format!(" {part} "))
}

fn batch(pair: &Pair) -> &str {
    pair.batch.as_deref().unwrap_or_else(|| panic!("line {}: no batch", pair.line))
}

fn batches(train: &[Pair]) -> BTreeSet<&str> {
    train.iter().map(batch).collect()
}

/// The product of each batch that is asked for by product.
fn products(train: &[Pair]) -> BTreeMap<&str, &str> {
    fn product(pair: &Pair) -> Option<&str> {
        pair.question.strip_prefix("What is the batch number for ")?.strip_suffix('?')
    }
    train.iter().filter_map(|pair| Some((batch(pair), product(pair)?))).collect()
}

#[test]
fn the_files_hold_what_is_promised() {
    let train = read("train.jsonl");
    assert_eq!(train.len(), 186);
    assert!(batches(&train).len() >= 10);
    assert!(train.iter().all(|pair| pair.answer.is_some() && pair.source.is_some()));
    let heldout = read("heldout.jsonl");
    assert!(heldout.len() >= 400);
    assert!(heldout.iter().all(|pair| pair.answer.is_some()));
    let kinds: BTreeSet<_> = heldout.iter().map(|pair| pair.kind.as_deref().unwrap()).collect();
    for kind in ["reordered", "casual", "lowercase", "keyword", "typo"] {
        assert!(kinds.contains(kind), "{kind}");
    }
    for (name, least) in [("unknown.jsonl", 200), ("missing.jsonl", 100)] {
        let pairs = read(name);
        assert!(pairs.len() >= least, "{name}: {}", pairs.len());
        assert!(pairs.iter().all(|pair| pair.answer.is_none()), "{name}");
    }
}

#[test]
fn fresh_questions_ask_for_training_facts_or_for_nothing() {
    let train = read("train.jsonl");
    let asked: BTreeSet<String> = train.iter().map(|pair| words(&pair.question)).collect();
    let files =
        [("fresh.jsonl", 300, 220), ("fresh-2.jsonl", 299, 209), ("fresh-3.jsonl", 300, 210)];
    for (name, questions, answerable) in files {
        let fresh = read(name);
        let answered = || fresh.iter().filter(|pair| pair.answer.is_some());
        assert_eq!((fresh.len(), answered().count()), (questions, answerable), "{name}");
        for pair in answered() {
            let trained = train.iter().any(|t| t.answer == pair.answer && t.batch == pair.batch);
            assert!(trained, "{name}: {}", pair.question);
        }
        // Their authors knew the training data only: some may coincide with other tests, none with
        // that.
        assert!(fresh.iter().all(|pair| !asked.contains(&words(&pair.question))), "{name}");
    }
}

#[test]
fn the_five_questions_are_answered() {
    let train = read("train.jsonl");
    let expected = [
        ("What is the batch number for Nitroso Aryl Piperazine Quetiapine?", "VOY756"),
        ("What is the product code for batch VOY756?", "VE009S54"),
        ("Who is the QA Manager for batch VOY756?", "VOY756"),
        ("What is the percent yield for batch VOY756?", "%"),
        ("What deviations were reported for batch VOY756?", "VOY756"),
    ];
    for (question, part) in expected {
        let pair = train.iter().find(|pair| pair.question == question);
        let pair = pair.unwrap_or_else(|| panic!("{question}"));
        assert_eq!(pair.batch.as_deref(), Some("VOY756"));
        assert!(pair.answer.as_ref().unwrap().contains(part), "{question}");
    }
    let code = train.iter().find(|pair| pair.question == expected[1].0).unwrap();
    let answer = "The product code for batch VOY756 is VE009S54.";
    assert_eq!(code.answer.as_deref(), Some(answer));
    assert!(train.iter().any(|pair| pair.source.as_ref().unwrap().contains("BRS_VOY756.pdf")));
}

#[test]
fn no_question_occurs_twice_in_any_files() {
    let mut seen: HashMap<String, (&str, usize)> = HashMap::new();
    for name in ["train.jsonl", "heldout.jsonl", "unknown.jsonl", "missing.jsonl"] {
        for pair in read(name) {
            let place = (name, pair.line);
            if let Some(earlier) = seen.insert(words(&pair.question), place) {
                panic!("{place:?} asks what {earlier:?} asks: {:?}", pair.question);
            }
        }
    }
}

#[test]
fn heldout_paraphrases_the_training_facts() {
    let train = read("train.jsonl");
    let mut paraphrases: BTreeMap<(&str, &str), usize> =
        train.iter().map(|pair| ((batch(pair), pair.answer.as_deref().unwrap()), 0)).collect();
    let heldout = read("heldout.jsonl");
    for pair in &heldout {
        let fact = (batch(pair), pair.answer.as_deref().unwrap());
        let count = paraphrases.get_mut(&fact);
        *count.unwrap_or_else(|| panic!("line {}: no such training answer", pair.line)) += 1;
    }
    for (fact, count) in paraphrases {
        assert!(count >= 2, "{fact:?} is paraphrased {count} times");
    }
}

#[test]
fn unknown_questions_name_nothing_that_exists() {
    let train = read("train.jsonl");
    let products = products(&train);
    for pair in read("unknown.jsonl") {
        let question = words(&pair.question);
        for known in batches(&train).into_iter().chain(products.values().copied()) {
            assert!(!mentions(&question, &words(known)), "line {}: {known}", pair.line);
        }
    }
}

#[test]
fn missing_questions_are_about_batches_that_exist() {
    let train = read("train.jsonl");
    let (batches, products) = (batches(&train), products(&train));
    for pair in read("missing.jsonl") {
        let id = batch(&pair);
        assert!(batches.contains(id), "line {}", pair.line);
        let question = words(&pair.question);
        let by_product = products.get(id).is_some_and(|name| mentions(&question, &words(name)));
        assert!(by_product || mentions(&question, &words(id)), "line {}", pair.line);
    }
}

/// `question` with its batch replaced by [`SUBJECT`], for every way of naming the batch that fits,
/// with and without the small talk that the grammar knows to put around a question.
fn skeletons(question: &str, subjects: &[String], grammar: &Grammar) -> BTreeSet<String> {
    let question = format!(" {} ", words(question));
    let mut found: BTreeSet<String> = subjects
        .iter()
        .map(|subject| format!(" {} ", words(subject)))
        .filter(|subject| question.contains(subject))
        .map(|subject| question.replacen(&subject, &format!(" {SUBJECT} "), 1).trim().to_owned())
        .collect();
    let chatter = &grammar.chatter;
    let all = |lists: &[&Vec<String>]| -> Vec<String> {
        lists.iter().flat_map(|list| list.iter()).map(|text| words(text)).collect()
    };
    let before = all(&[&chatter.greetings, &chatter.politeness_prefix, &chatter.fillers]);
    let after = all(&[&chatter.politeness_suffix, &chatter.thanks]);
    let without = |skeleton: &str| -> Vec<String> {
        let prefixes = before
            .iter()
            .filter_map(|text| skeleton.strip_prefix(text.as_str())?.strip_prefix(' '));
        let suffixes =
            after.iter().filter_map(|text| skeleton.strip_suffix(text.as_str())?.strip_suffix(' '));
        prefixes.chain(suffixes).map(str::to_owned).collect()
    };
    // The grammar distorts a question at most twice.
    for _ in 0..2 {
        let shorter: Vec<String> = found.iter().flat_map(|skeleton| without(skeleton)).collect();
        found.extend(shorter);
    }
    found
}

/// What each of `questions` (with the names of its batch) is a case of, if the grammar can say it.
fn sayable<'a>(
    questions: &'a [(String, Vec<String>)],
    grammar: &Grammar,
) -> BTreeMap<&'a str, String> {
    let mut of_skeleton: HashMap<String, Vec<&str>> = HashMap::new();
    for (question, subjects) in questions {
        let skeletons = skeletons(question, subjects, grammar);
        assert!(!skeletons.is_empty(), "{question:?} names no batch");
        for skeleton in skeletons {
            of_skeleton.entry(skeleton).or_default().push(question);
        }
    }
    let mut found = BTreeMap::new();
    let mut check = |wording: &str| {
        let skeleton = words(&wording.replace("{b}", SUBJECT));
        for &question in of_skeleton.get(&skeleton).into_iter().flatten() {
            found.entry(question).or_insert_with(|| wording.to_owned());
        }
    };
    for field in &grammar.fields {
        field.questions.iter().for_each(|question| check(question));
        let suits = |kinds: &[_]| kinds.is_empty() || kinds.contains(&field.kind);
        for group in grammar.groups.iter().filter(|group| suits(&group.kinds)) {
            for template in &group.templates {
                field.names.iter().for_each(|name| check(&template.replace("{f}", name)));
            }
        }
    }
    found
}

/// Figures on held-out wording mean something only if neither pretraining nor the augmentation of
/// the training questions, which both draw on the grammar, can have shown that very wording.
/// Case, punctuation and small talk don't make another wording; typing errors do.
///
/// Questions that the grammar did say go through the same comparison and have to be recognised.
#[test]
fn the_grammar_cannot_say_a_heldout_question() {
    const SAID: u64 = 200;
    let grammar = Grammar::load().unwrap();
    let train = read("train.jsonl");
    let products = products(&train);
    let names = |id: &str| -> Vec<String> {
        let references = grammar.batch_refs.iter().map(|form| form.replace("{id}", id));
        references.chain(products.get(id).map(|name| (*name).to_owned())).collect()
    };
    let heldout = read("heldout.jsonl");
    let mut questions: Vec<_> =
        heldout.iter().map(|pair| (pair.question.clone(), names(batch(pair)))).collect();
    let said: Vec<String> = (0..SAID)
        .map(|index| {
            let mut rng = stream(1, "said", index);
            let field = rng.pick(&grammar.fields);
            let subject = Subject::Batch("VOY756");
            grammar.question(
                field,
                subject,
                Split::Train,
                Noise { rate: 0.0, typos: 0.0 },
                &mut rng,
            )
        })
        .collect();
    questions.extend(said.iter().map(|question| (question.clone(), names("VOY756"))));

    let mut found = sayable(&questions, &grammar);
    for question in &said {
        assert!(found.contains_key(question.as_str()), "not recognised: {question:?}");
    }
    found.retain(|question, _| !said.iter().any(|said| said == question));
    assert!(found.is_empty(), "{} of {}: {found:#?}", found.len(), heldout.len());
}

#[test]
fn questions_are_taken_apart() {
    let grammar = Grammar::load().unwrap();
    let subjects = ["batch VOY756".to_owned(), "VOY756".to_owned()];
    let found = skeletons("Hi, what's the YIELD of batch voy756, please?", &subjects, &grammar);
    for skeleton in [
        "hi what s the yield of § please",
        "hi what s the yield of batch § please",
        "what s the yield of § please",
        "what s the yield of §",
    ] {
        assert!(found.contains(skeleton), "{skeleton}: {found:?}");
    }
}
