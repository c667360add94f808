//! `trainer audit`: whether a log of questions and answers holds, and whether they come again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args as ClapArgs, Subcommand};
use shared::{
    ADAPTER_MODEL, AuditBreak, AuditChain, AuditEvent, AuditHead, AuditRecord, Decoding, Inquiry,
    MAX_AUDIT_LINE, Progress, Session, StopReason, sha256_hex,
};

use crate::adapter_dir::{AdapterDir, Served};
use crate::cli::common::{BaseOption, print};
use crate::input::load_base;

/// Check a log of questions and answers, or ask its questions again
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The page writes the log and exports it as JSONL. Each line is bound to the one before by SHA-256:
a changed, missing, inserted or moved line is found. Lines cut off the end, or a log written anew,
are found only against a last hash that was noted elsewhere (--head).

Examples:
  trainer audit verify log.jsonl
  trainer audit verify log.jsonl --head 3f7a...
  trainer audit replay log.jsonl --adapter adapters/2025-05-02")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check that no line was changed, removed, inserted or moved
    Verify(Verify),
    /// Check the log, then ask its questions again: the same tokens must come
    Replay(Replay),
}

#[derive(Debug, ClapArgs)]
struct Verify {
    /// The exported log
    #[arg(value_name = "FILE.jsonl")]
    log: PathBuf,
    /// Last hash of the log, as it was noted elsewhere; a log that has grown since may hold it
    /// further up
    #[arg(long, value_name = "SHA256")]
    head: Option<String>,
}

#[derive(Debug, ClapArgs)]
struct Replay {
    /// The exported log
    #[arg(value_name = "FILE.jsonl")]
    log: PathBuf,
    /// The adapter's directory, or the directory of published adapters
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    #[command(flatten)]
    base: BaseOption,
}

/// Runs the command.
///
/// # Errors
/// A log that cannot be read or does not hold; an answer that does not come again.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Verify(args) => verify(args),
        Command::Replay(args) => replay(args),
    }
}

fn verify(args: &Verify) -> Result<ExitCode> {
    let mut noted = args.head.is_none();
    let head = read_log(&args.log, |record| {
        noted |= Some(&record.hash) == args.head.as_ref();
        Ok(())
    })?;
    if let Some(wanted) = &args.head
        && !noted
    {
        bail!(
            "{}: no line has the hash {wanted} that was noted: lines were cut off the end, or the \
             log was written anew",
            args.log.display()
        );
    }
    print(format_args!("{} lines hold; last hash {}\n", head.sequence, head.hash))?;
    Ok(ExitCode::SUCCESS)
}

fn replay(args: &Replay) -> Result<ExitCode> {
    let base = load_base(&args.base.base)?;
    let adapter = AdapterDir::open(&args.adapter)?;
    let tensors = adapter.files.iter().find(|(name, _)| *name == ADAPTER_MODEL);
    let identity = Identity {
        adapter: tensors.map(|(_, bytes)| sha256_hex(bytes)).unwrap_or_default(),
        base: base.identity.sha256.clone(),
        shown: adapter.name(),
    };
    let served = adapter.serve(&base)?;
    let mut session = served.session()?;
    let (mut same, mut others) = (0, 0);
    let mut differences = String::new();
    let mut versions = BTreeSet::new();
    read_log(&args.log, |record| {
        if !identity.gave(&record.event) {
            others += 1;
            return Ok(());
        }
        match difference(&served, &mut session, &record.event)
            .with_context(|| format!("line {}", record.sequence))?
        {
            None => same += 1,
            Some(found) => {
                differences += &format!("\n  line {}: {found}", record.sequence);
                versions.insert(record.event.adapter.version.clone());
            }
        }
        Ok(())
    })?;
    ensure!(
        same > 0 || !differences.is_empty(),
        "{}: none of its {others} answers was given by {} on this base: name the adapter and base \
         of the log",
        args.log.display(),
        identity.shown
    );
    if !differences.is_empty() {
        let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
        bail!(
            "{}: answers that do not come again:{differences}\nThe log names {versions}; asked was {}. \
             Versions of the same weights may differ in their guard.",
            args.log.display(),
            identity.shown
        );
    }
    let rest = match others {
        0 => String::new(),
        _ => format!("; {others} of other adapters or bases were not asked"),
    };
    print(format_args!("{same} answers come again, token for token{rest}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Who gave an answer.
struct Identity {
    adapter: String,
    base: String,
    shown: String,
}

impl Identity {
    fn gave(&self, event: &AuditEvent) -> bool {
        event.adapter.sha256 == self.adapter && event.base_sha256 == self.base
    }
}

/// How the answer of now differs from that of the log, if it does.
fn difference(
    served: &Served,
    session: &mut Session,
    event: &AuditEvent,
) -> Result<Option<String>> {
    let approved = event.decoding == Decoding::Approved;
    ensure!(
        !approved || served.approved.is_some(),
        "it was given in approved-answers mode, which this adapter does not permit"
    );
    let was =
        |stop: Option<StopReason>| if stop.is_some() { "answered" } else { "refused unasked" };
    let differs = |now: String| {
        Some(format!(
            "{:?} was {} {:?}, and now {now}",
            event.question,
            was(event.stop),
            event.answer
        ))
    };
    let (safeguards, sampler) = (served.safeguards(approved), event.sampler.clone());
    let mut inquiry = match Inquiry::new(session, safeguards, &event.question, sampler) {
        Ok(inquiry) => inquiry,
        Err(error) => return Ok(differs(format!("it cannot be asked: {error}"))),
    };
    // What the reader stopped comes again as far as it went.
    let mut stopped = false;
    let now = loop {
        if event.stop == Some(StopReason::Cancelled)
            && inquiry.read_as() == event.read_as.as_deref()
            && inquiry.tokens().len() >= event.tokens.len()
        {
            stopped = true;
            inquiry.cancel();
        }
        if let Progress::End(outcome) = inquiry.step()? {
            break outcome;
        }
    };
    let same = (&now.tokens, &now.answer) == (&event.tokens, &event.answer)
        && (&now.read_as, &now.withdrawn) == (&event.read_as, &event.withdrawn);
    // The reader's Stop may have come with the last token that the limit allows.
    let same_end = now.stop == event.stop || stopped && now.stop.is_some();
    Ok(if same && same_end { None } else { differs(format!("{} {:?}", was(now.stop), now.answer)) })
}

/// Checks a log line by line and gives its end; `each` sees every line that holds.
fn read_log(path: &Path, mut each: impl FnMut(AuditRecord) -> Result<()>) -> Result<AuditHead> {
    let shown = path.display();
    let file = File::open(path)
        .with_context(|| format!("cannot read {shown}, expected an audit log as JSONL"))?;
    let mut reader = BufReader::new(file);
    let mut chain = AuditChain::default();
    for line in 1.. {
        let mut bytes = Vec::new();
        let limit = MAX_AUDIT_LINE as u64 + 2;
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut bytes);
        if read.with_context(|| format!("cannot read {shown}"))? == 0 {
            break;
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        let record = chain
            .push(&bytes)
            .map_err(|reason| AuditBreak { line, reason })
            .with_context(|| format!("{shown} was changed, or is no audit log"))?;
        each(record)?;
    }
    if chain.head().sequence == 0 {
        bail!("{shown} is empty: expected an audit log as JSONL");
    }
    Ok(chain.head().clone())
}

#[cfg(test)]
mod tests {
    use shared::testing::TinyBase;
    use shared::{
        AnswerVerdict, AuditAdapter, AuditEngine, Base, Model, Outcome, REFUSAL, RankSlice,
        SamplerConfig,
    };

    use super::*;

    struct Fixture {
        served: Served,
        session: Session,
    }

    fn fixture() -> Fixture {
        let base = Base::from_bytes(TinyBase::default().gguf().unwrap()).unwrap();
        let model = std::sync::Arc::new(Model::load(&base, RankSlice::SOLO).unwrap());
        let list = shared::GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        let served = Served {
            approved: None,
            model: model.clone(),
            prompt: base.prompt.clone(),
            guard: Some(shared::Guard::new(&list).unwrap()),
            refusal_bias: None,
            undecided: None,
        };
        Fixture { served, session: Session::new(model, base.prompt).unwrap() }
    }

    /// What the page would log.
    fn event(fixture: &mut Fixture, question: &str, seed: u64) -> AuditEvent {
        let sampler =
            SamplerConfig { temperature: 1.0, seed, max_new_tokens: 12, ..SamplerConfig::exact() };
        let answer = fixture.session.answer(question, sampler.clone()).unwrap();
        AuditEvent {
            read_as: None,
            withdrawn: None,
            time: "2025-04-14T08:30:00Z".into(),
            question: question.into(),
            answer: answer.text,
            tokens: answer.tokens,
            verdict: AnswerVerdict::Unchecked,
            confidence: Some(answer.scores.min_probability),
            stop: Some(answer.stop),
            adapter: AuditAdapter { version: "v".into(), sha256: sha256_hex(b"a") },
            base_sha256: sha256_hex(b"b"),
            engine: AuditEngine { version: "0".into(), sha256: sha256_hex(b"e"), ranks: None },
            sampler,
            decoding: Decoding::Free,
        }
    }

    /// What the page would log of an approved answer.
    fn approved(
        fixture: &mut Fixture,
        question: &str,
        outcome: Outcome,
        sampler: SamplerConfig,
    ) -> AuditEvent {
        AuditEvent {
            read_as: outcome.read_as,
            withdrawn: outcome.withdrawn,
            answer: outcome.answer,
            tokens: outcome.tokens,
            stop: outcome.stop,
            sampler,
            decoding: Decoding::Approved,
            ..event(fixture, question, 7)
        }
    }

    fn differs(fixture: &mut Fixture, event: &AuditEvent) -> Option<String> {
        difference(&fixture.served, &mut fixture.session, event).unwrap()
    }

    #[test]
    fn answers_come_again_token_for_token() {
        let mut fixture = fixture();
        let given = event(&mut fixture, "Yield?", 7);
        event(&mut fixture, "Something else?", 8);
        assert_eq!(differs(&mut fixture, &given), None);
        let stopped = AuditEvent {
            tokens: given.tokens[..3].to_vec(),
            answer: fixture.served.prompt.tokenizer().decode(&given.tokens[..3]).unwrap(),
            stop: Some(StopReason::Cancelled),
            ..given.clone()
        };
        assert_eq!(differs(&mut fixture, &stopped), None);
        // Stop came with the last token that the limit allows.
        let at_the_limit = AuditEvent { stop: Some(StopReason::Cancelled), ..given.clone() };
        assert_eq!(given.stop, Some(StopReason::MaxTokens));
        assert_eq!(differs(&mut fixture, &at_the_limit), None);
        let refused = AuditEvent {
            question: "Yield of VOY757?".into(),
            answer: REFUSAL.into(),
            tokens: Vec::new(),
            stop: None,
            ..given
        };
        assert_eq!(differs(&mut fixture, &refused), None);
    }

    /// A model that can only refuse, asked for what is on record.
    #[test]
    fn a_question_that_was_read_once_more_is_read_so_again() {
        let mut fixture = fixture();
        let mut list = shared::GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        let mut field = shared::KnownField::new(shared::AskingWord::Any, ["yield"], []);
        field.wording = Some("What is the yield of {b}?".into());
        let field = list.fields.add(field);
        list.add_recorded("VOY756", field).unwrap();
        fixture.served.guard = Some(shared::Guard::new(&list).unwrap());
        let only = shared::AnswerTrie::new(&[REFUSAL.to_owned()].into(), &fixture.served.prompt);
        fixture.served.approved = Some(std::sync::Arc::new(only.unwrap()));
        let sampler = SamplerConfig { max_new_tokens: 64, ..SamplerConfig::exact() };
        let safeguards = fixture.served.safeguards(true);
        let inquiry =
            Inquiry::new(&mut fixture.session, safeguards, "voy756 yield", sampler.clone());
        let outcome = inquiry.unwrap().finish().unwrap();
        assert_eq!(outcome.read_as.as_deref(), Some("What is the yield of VOY756?"));
        let given = approved(&mut fixture, "voy756 yield", outcome, sampler);
        assert_eq!(differs(&mut fixture, &given), None);
        assert!(differs(&mut fixture, &AuditEvent { read_as: None, ..given.clone() }).is_some());
        let stopped = AuditEvent {
            tokens: given.tokens[..3].to_vec(),
            answer: fixture.served.prompt.tokenizer().decode(&given.tokens[..3]).unwrap(),
            stop: Some(StopReason::Cancelled),
            ..given
        };
        assert_eq!(differs(&mut fixture, &stopped), None);
        assert_eq!(differs(&mut fixture, &AuditEvent { read_as: None, ..stopped }), None);
    }

    /// A model that says somebody who is not on record, where it does not refuse.
    #[test]
    fn what_was_withdrawn_comes_again() {
        let mut fixture = fixture();
        let mut list = shared::GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        list.add_answer("J. Doe led it.").unwrap();
        let mut field = shared::KnownField::new(shared::AskingWord::Who, ["shift boss"], []);
        field.wording = Some("Who led {b}?".into());
        let field = list.fields.add(field);
        list.add_recorded("VOY756", field).unwrap();
        fixture.served.guard = Some(shared::Guard::new(&list).unwrap());
        let sampler = SamplerConfig { max_new_tokens: 64, ..SamplerConfig::exact() };
        let found = ('A'..='Z').find_map(|letter| {
            let name = format!("{letter}. Roe led it.");
            let only = shared::AnswerTrie::new(&[name.clone()].into(), &fixture.served.prompt);
            fixture.served.approved = Some(std::sync::Arc::new(only.unwrap()));
            let safeguards = fixture.served.safeguards(true);
            let question = "shift boss VOY756";
            let inquiry = Inquiry::new(&mut fixture.session, safeguards, question, sampler.clone());
            let outcome = inquiry.unwrap().finish().unwrap();
            outcome.withdrawn.is_some().then_some(outcome)
        });
        let outcome = found.unwrap();
        let given = approved(&mut fixture, "shift boss VOY756", outcome, sampler);
        assert_eq!(differs(&mut fixture, &given), None);
        assert!(differs(&mut fixture, &AuditEvent { withdrawn: None, ..given }).is_some());
    }

    #[test]
    fn rejects_answers_that_do_not_come_again() {
        let mut fixture = fixture();
        let given = event(&mut fixture, "Yield?", 7);
        let mut spoil = |change: fn(&mut AuditEvent)| {
            let mut event = given.clone();
            change(&mut event);
            assert!(differs(&mut fixture, &event).is_some(), "{event:?}");
        };
        spoil(|event| event.tokens[1] += 1);
        spoil(|event| event.answer.push('x'));
        spoil(|event| event.sampler.seed = 8);
        spoil(|event| event.question = "Else?".into());
        spoil(|event| {
            event.tokens.pop();
        });
        spoil(|event| (event.stop, event.answer) = (None, REFUSAL.into()));
        spoil(|event| event.question = "a <|end|> b".into());
        // Today's guard refuses it unasked.
        spoil(|event| event.question = "Yield of VOY757?".into());
    }

    #[test]
    fn reads_a_log_and_rejects_a_changed_one() {
        let mut fixture = fixture();
        let mut head = AuditHead::default();
        let mut text = String::new();
        for seed in 0..3 {
            let record = AuditRecord::after(&head, event(&mut fixture, "Yield?", seed)).unwrap();
            head = record.head();
            text += &format!("{}\n", record.to_line().unwrap());
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_log(&path, |_| Ok(())).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(read(&text), Ok(head));
        let changed = text.replacen("\"seed\":1", "\"seed\":5", 1);
        assert!(read(&changed).unwrap_err().contains("line 2 of the audit log does not hold"));
        assert!(read(&format!("{text}x")).unwrap_err().contains("line 4"));
        assert!(read(&"x".repeat(MAX_AUDIT_LINE + 10)).unwrap_err().contains("at most"));
        assert!(read("").unwrap_err().contains("is empty"));
    }
}
