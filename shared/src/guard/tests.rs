use super::*;
use crate::REFUSAL;

const SALT: &str = "00112233445566778899aabbccddeeff";

fn guard() -> Guard {
    let batches = ["VOY756", "VOY757", "KLM120", "LR-2304-A"];
    let identifiers =
        ["BRS_VOY756.pdf", "BRS_MASTER01.pdf", "AHU302", "RM-2231", "Unit Dose 250mg"];
    Guard::new(&GuardList::build(batches, identifiers, SALT).unwrap()).unwrap()
}

fn unknown(words: &[&str]) -> GuardVerdict {
    GuardVerdict::Unknown(words.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn known_batches_pass_however_they_are_written() {
    for question in [
        "When does batch VOY756 expire?",
        "voy756's expiry",
        "exp date VOY-756?",
        "who released voy 756",
        "What does BRS_VOY756.pdf say on page 3?",
        "open BRS_VOY756_rev3_final.pdf",
        "Lot lr2304a yield",
        "LR-2304-A/2 yield",
        "KLM120.",
        "(VOY757)",
    ] {
        assert_eq!(guard().check(question), GuardVerdict::Known, "{question}");
    }
}

#[test]
fn unknown_batches_of_this_plant_are_named() {
    for (question, words) in [
        ("When does batch VOY999 expire?", &["VOY999"] as &[_]),
        ("abc123 vs abc124 and ABC123", &["ABC123", "ABC124"]),
        ("What does BRS_ZZZ111.pdf say?", &["ZZZ111"]),
        ("expiry of VOY75", &["VOY75"]),
        ("expiry of VOY7566?", &["VOY7566"]),
        ("expiry of VOY75G?", &["VOY75G"]),
        ("expiry of VOY758X?", &["VOY758X"]),
        ("expiry of VOY-999?", &["VOY-999"]),
        ("who signed voy 999", &["VOY 999"]),
        ("yield of LR-2305-B", &["LR-2305-B"]),
        ("is AHU302 cleaned for XYZ999", &["XYZ999"]),
    ] {
        assert_eq!(guard().check(question), unknown(words), "{question}");
    }
}

#[test]
fn ordinary_words_are_never_refused() {
    for question in [
        "",
        "What is the shelf life?",
        "is 5mg, 250mg or 100mcg right",
        "what was pH7 / ph7.4 buffer for",
        "released on 2025-04-14 or 14.04.2025 or 14-APR-2025 at 10:30",
        "stored at 30C or 2-8C",
        "AHU-2 and HVAC-12 and CR-101",
        "AHU302 status",
        "RM-2231 supplier",
        "21 CFR 211, ISO9001, ISO 13485, EU GMP Annex 1, USP 797",
        "100000 units in 2025, page 12 of 120",
        "step 999 at 12000rpm for 30min",
        "unit dose 250mg",
        "SOP-ABC123-04 version",
        "BRS_MASTER01.pdf",
        "COVID19 B12 H2O CO2",
        "… ééé 🦀 ½",
    ] {
        assert_eq!(guard().check(question), GuardVerdict::NoIdentifier, "{question}");
    }
}

#[test]
fn one_known_batch_lets_the_question_pass() {
    assert_eq!(guard().check("does VOY756 comply with USP797?"), GuardVerdict::Known);
}

#[test]
fn plain_numbers_count_only_where_they_are_called_a_batch() {
    let list = GuardList::build(["240513", "240514"], [], SALT).unwrap();
    let guard = Guard::new(&list).unwrap();
    assert_eq!(guard.check("yield of 240513"), GuardVerdict::Known);
    assert_eq!(guard.check("were 500000 tablets made?"), GuardVerdict::NoIdentifier);
    assert_eq!(guard.check("yield of batch 240999"), unknown(&["240999"]));
    assert_eq!(guard.check("batch of 5000"), GuardVerdict::NoIdentifier);
}

#[test]
fn batches_without_digits_are_looked_up_but_give_no_shape() {
    let list = GuardList::build(["Aurora"], [], SALT).unwrap();
    assert!(list.shapes.is_empty());
    let guard = Guard::new(&list).unwrap();
    assert_eq!(guard.check("when was aurora released"), GuardVerdict::Known);
    assert_eq!(guard.check("when was Sunset released"), GuardVerdict::NoIdentifier);
}

#[test]
fn the_list_holds_no_identifier_in_clear_and_round_trips() {
    let list = GuardList::build(["VOY756"], ["RM-2231"], SALT).unwrap();
    let json = list.to_json().unwrap();
    let text = String::from_utf8(json.clone()).unwrap();
    for clear in ["VOY", "756", "RM", "2231"] {
        let in_words = text.split('"').any(|word| word.len() != 64 && word.contains(clear));
        assert!(!in_words, "{clear}");
    }
    assert_eq!(GuardList::parse(&json).unwrap(), list);
    let other = GuardList::build(["VOY756"], ["RM-2231"], &SALT.replace('0', "1")).unwrap();
    assert!(list.batches.is_disjoint(&other.batches));
}

#[test]
fn rejects_lists_that_are_not_of_this_format() {
    let list = GuardList::build(["VOY756"], [], SALT).unwrap();
    let spoil = |change: fn(&mut GuardList)| {
        let mut spoiled = list.clone();
        change(&mut spoiled);
        assert!(Guard::new(&spoiled).is_err());
        assert!(GuardList::parse(&spoiled.to_json().unwrap()).is_err());
    };
    spoil(|list| list.format_version = 8);
    spoil(|list| list.classifier = Some(FieldClassifier::default()));
    spoil(|list| list.fields.batch_number = Some(0));
    spoil(|list| {
        list.vocabulary.insert("Voy756".into());
    });
    spoil(|list| {
        let words = ["Quetiapine".to_owned()].into();
        list.products.insert(Product { words, beginnings: BTreeSet::new(), batch: None });
    });
    spoil(|list| {
        let (words, batch) = (["a".repeat(64)].into(), Some("not hexadecimal".to_owned()));
        list.products.insert(Product { words, beginnings: BTreeSet::new(), batch });
    });
    spoil(|list| {
        let (words, batch) = (BTreeSet::new(), Some("00".to_owned()));
        list.products.insert(Product { words, beginnings: BTreeSet::new(), batch });
    });
    spoil(|list| list.salt = "00".into());
    spoil(|list| list.salt = "+1".repeat(16));
    spoil(|list| list.salt = "é".repeat(16));
    spoil(|list| {
        list.stems.insert("VOY".into());
    });
    assert!(GuardList::build([], ["x"], SALT).is_err());
    assert!(GuardList::parse(b"{}").is_err());
}

#[test]
fn values_that_no_record_states_for_the_batch_are_named() {
    let mut list = GuardList::build(["VOY756", "VOY757"], [], SALT).unwrap();
    list.add_facts("VOY756", "Batch VOY756 expires on 2027-03-31, signed by Elena Marsh.").unwrap();
    list.add_facts("VOY757", "Batch VOY757 yielded 98.5 %.").unwrap();
    let guard = Guard::new(&list).unwrap();
    let unverified = |question: &str, answer: &str| guard.unverified(question, answer);
    let asked = "when does voy-756 expire?";
    assert_eq!(unverified(asked, "Batch VOY756 expires on 2027-03-31."), [""; 0]);
    assert_eq!(unverified(asked, "It was signed by Elena Marsh."), [""; 0]);
    assert_eq!(unverified(asked, "It expires on 2027-03-30."), ["2027-03-30"]);
    assert_eq!(unverified(asked, "Batch VOY757 expires on 2027-03-31."), ["VOY757"]);
    assert_eq!(unverified(asked, "It was signed by Elena Moor."), ["MOOR"]);
    assert_eq!(unverified(asked, "It yielded 98.5 % and 98.5."), ["98.5"]);
    assert_eq!(unverified("was voy 757 at 97 %?", "97 % was asked, it is 98.5 %."), [""; 0]);
    assert_eq!(unverified("yield?", "It yielded 98.5 %."), ["98.5"]);
    assert_eq!(unverified(asked, REFUSAL), [""; 0]);
}

#[test]
fn a_product_stands_for_its_batch_only_if_that_batchs_record_states_it() {
    let mut list = GuardList::build(["VOY756", "KTR218"], [], SALT).unwrap();
    list.add_facts("VOY756", "The batch number for Nitroso Quetiapine is VOY756.").unwrap();
    list.add_facts("KTR218", "The batch number for Metoprolol is KTR218.").unwrap();
    let guard = Guard::new(&list).unwrap();
    let asked = "What is the batch number for Nitroso Quetiapine?";
    let right = "The batch number for Nitroso Quetiapine is VOY756.";
    assert_eq!(guard.unverified(asked, right), [""; 0]);
    assert_eq!(guard.unverified("which batch is nitroso quetiapine", right), [""; 0]);
    let wrong = "The batch number for Nitroso Quetiapine is KTR218.";
    assert_eq!(guard.unverified(asked, wrong), ["NITROSO", "QUETIAPINE"]);
}

/// A list with three fields, "yield", "code" and "mood", the last two on record. By their words
/// "stuff" asks for the code and "thing" for the mood, which KLM120 lacks.
fn classified_list() -> GuardList {
    let mut list = GuardList::build(["VOY756", "KLM120"], [], SALT).unwrap();
    let fields = ["yield", "code", "mood"]
        .map(|name| list.fields.add(KnownField::new(AskingWord::Any, [name], [])));
    for (batch, field) in [("VOY756", 1), ("KLM120", 1), ("VOY756", 2)] {
        list.add_recorded(batch, fields[field]).unwrap();
    }
    list.fields.fields[fields[1]].wording = Some("What code has {b}?".into());
    list.fields.fields[fields[2]].wording = Some("How is {b}?".into());
    list.add_stated(fields[1], "Code 7.").unwrap();
    list.add_stated(fields[2], "Nice.").unwrap();
    for answer in ["Code 7.", "Nice."] {
        list.add_answer(answer).unwrap();
    }
    let guard = Guard::new(&list).unwrap();
    let always = guard.features("");
    let row = |word: &str| *guard.features(word).difference(&always).next().unwrap();
    let weights = [(row("stuff"), vec![4.0, 0.0]), (row("thing"), vec![0.0, 4.0])];
    list.classifier = Some(FieldClassifier::new(fields[1..].to_vec(), &weights.into()).unwrap());
    list
}

fn classified() -> Guard {
    Guard::new(&classified_list()).unwrap()
}

#[test]
fn each_word_counts_where_no_name_settles_it() {
    use crate::FieldEvidence::{Agrees, AgreesTwice, Contradicts, Unclear};
    let guard = classified();
    for (question, answer, expected) in [
        ("code of VOY756", "Code 7.", Agrees),
        ("code of VOY756, that thing", "Code 7.", Agrees),
        ("code of VOY756, that stuff", "Code 7.", AgreesTwice),
        ("stuffing of VOY756", "Code 7.", Agrees),
        ("stuff of VOY756", "Nice.", Contradicts),
        ("VOY756, stuff or thing", "Nice.", Unclear),
        // A name of the plant's own.
        ("code of VOY756", "Nice.", Contradicts),
        // No record has a yield: it may be another name for what was answered.
        ("yield of VOY756", "Nice.", Unclear),
        // Nobody taught it what such answers are about.
        ("stuff of VOY756", "Well.", Unclear),
        ("thing of KLM120", REFUSAL, Agrees),
        ("thing of VOY756", REFUSAL, Contradicts),
        ("stuff of KLM120", REFUSAL, Contradicts),
        ("KLM120, stuff or thing", REFUSAL, Unclear),
        ("code of KLM120, that thing", REFUSAL, Contradicts),
        ("yield of KLM120", REFUSAL, Unclear),
    ] {
        assert_eq!(guard.evidence(question, answer), expected, "{question}: {answer}");
    }
    // Read once more because of "code": that the answer is one says nothing.
    assert_eq!(guard.evidence_of_second("code of VOY756, that thing", "Code 7."), Contradicts);
    assert_eq!(guard.evidence_of_second("code of VOY756, that stuff", "Code 7."), Agrees);
    assert_eq!(guard.evidence_of_second("code of VOY756", "Code 7."), Unclear);
    assert_eq!(guard.evidence_of_second("code of KLM120, that thing", REFUSAL), Contradicts);
    // Read once more because of "stuff".
    assert_eq!(guard.evidence_of_second("stuff of VOY756", "Code 7."), Unclear);
}

#[test]
fn the_likeliest_question_on_record_comes_first() {
    let [code, thing] = ["What code has VOY756?", "How is VOY756?"];
    let guard = classified();
    for (question, expected) in [
        ("stuff of VOY756", [code, thing]),
        ("thing of VOY756", [thing, code]),
        ("VOY756", [thing, code]),
    ] {
        assert_eq!(guard.questions_on_record(question).questions, expected, "{question}");
    }
    let likeliest = |question: &str| guard.questions_on_record(question).likeliest;
    assert_eq!(likeliest("thing of VOY756").as_deref(), Some(thing));
    assert_eq!(likeliest("stuff of VOY756").as_deref(), Some(code));
    for question in ["stuff or thing of VOY756", "VOY756", "thing of KLM120", "stuff"] {
        assert_eq!(likeliest(question), None, "{question}");
    }
    assert_eq!(guard.questions_on_record("stuff of KLM120").questions, ["What code has KLM120?"]);
}

#[test]
fn what_has_no_answer_is_read_again_by_its_words() {
    let guard = classified();
    let again = |question: &str, answer: &str| guard.second_reading(question, answer);
    let code = Some("What code has VOY756?".to_owned());
    assert_eq!(again("stuff of VOY756", REFUSAL), code);
    assert_eq!(again("code of VOY756", "Rubbish."), code, "not on record");
    assert_eq!(again("stuff of VOY756", "Code 8."), code, "a value that is not");
    for (question, answer) in [
        ("stuff of VOY756", "Nice."),
        ("stuff or thing of VOY756", REFUSAL),
        // It may ask for what no record has.
        ("yield of that stuff, VOY756", REFUSAL),
        ("weather of VOY756", REFUSAL),
        (
            "stuff: red ore, tin, gas, oil, ice, tea, ink, jam, nut, pie, rye, sod, tar, wax, yam, fig, VOY756",
            REFUSAL,
        ),
        ("thing of KLM120", REFUSAL),
        ("stuff of VOY756 and KLM120", REFUSAL),
        ("stuff of VOY756 and VOY757", REFUSAL),
    ] {
        assert_eq!(again(question, answer), None, "{question}: {answer}");
    }
    let mut list = classified_list();
    list.fields.fields[1].own_words = true;
    let own_words = Guard::new(&list).unwrap();
    assert_eq!(own_words.second_reading("stuff of VOY756", REFUSAL), None);
    assert_eq!(own_words.second_reading("code of VOY756", REFUSAL), code);
}

#[test]
fn what_other_batches_have_may_be_lacking() {
    let mut list = classified_list();
    let lacks = |list: &GuardList, question: &str| Guard::new(list).unwrap().lacks(question);
    assert!(lacks(&list, "the mood of KLM120"));
    for question in [
        "the mood of VOY756",
        "the mood of KLM120 and VOY756",
        "the mood of KLM120 and VOY757",
        "the mood of KLM120 on Tuesdays",
        "code and mood of KLM120",
        "yield of KLM120",
        "thing of KLM120",
        "the mood",
        "the number of KLM120",
    ] {
        assert!(!lacks(&list, question), "{question}");
    }
    list.fields.fields[1].own_words = true;
    assert!(!lacks(&list, "the mood of KLM120"), "it may call that otherwise");
}

#[test]
fn a_list_of_format_6_is_read_as_before() {
    let mut list = classified_list();
    list.format_version = 6;
    assert!(Guard::new(&list).is_err(), "its classifier lists no features");
    let classifier = list.classifier.as_mut().unwrap();
    let mut weights = vec![0_u8; 2 * 1022];
    for (class, word) in ["stuff", "thing"].into_iter().enumerate() {
        let bucket = wording::hash([&word.to_owned()]) % 1021;
        weights[2 * bucket as usize + class] = 4 * classifier.divisor as u8;
    }
    classifier.features = None;
    classifier.weights = weights.iter().map(|weight| format!("{weight:02x}")).collect();
    let guard = Guard::new(&list).unwrap();
    assert_eq!(guard.evidence("stuffing of VOY756", "Nice."), crate::FieldEvidence::Unclear);
    assert_eq!(guard.evidence("stuff of VOY756", "Nice."), crate::FieldEvidence::Contradicts);
    let evidence = guard.evidence("code of VOY756, that stuff", "Code 7.");
    assert_eq!(evidence, crate::FieldEvidence::Agrees);
    assert_eq!(guard.second_reading("stuff of VOY756", REFUSAL), None);
    assert_eq!(guard.second_reading("code of VOY756", "Rubbish."), None);
    assert!(!guard.lacks("the mood of KLM120"));
}
