//! `trainer chat`: questions and answers in a terminal.

use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use shared::{
    Guard, Inquiry, Progress, Safeguards, SamplerConfig, Session, StopReason, UndecidedRule,
};

use crate::adapter_dir::AdapterDir;
use crate::cli::common::{BaseOption, INTERRUPTED, SamplerPreset};
use crate::input::load_base;

/// Questions that are listed under a refusal.
const LISTED_QUESTIONS: usize = 20;
/// The longest question that is read, bytes.
const MAX_LINE: u64 = 64 << 10;

/// Ask an adapter in the terminal
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Each line is a question of its own; earlier ones are not remembered. The answer is that of the
browser: same engine, same weights, same guard. Below it stand how sure the model was of its least
certain token, the time, and whether the answer is undecided or states a value that no record has.
Ctrl-C stops an answer; at the prompt it ends the program, as do
Ctrl-D and /quit.

Answers go to standard output, everything else to standard error, so questions can be piped in.
The exit code is 1 if one of the questions could not be asked.

Examples:
  trainer chat                          (the current published version)
  trainer chat --adapter runs/may
  echo 'What is the product code for batch VOY756?' | trainer chat --adapter runs/may")]
pub struct Args {
    /// The adapter's directory, or the directory of published adapters
    #[arg(long, value_name = "DIR", default_value = "adapters")]
    adapter: PathBuf,
    #[command(flatten)]
    base: BaseOption,
    /// How tokens are chosen
    #[arg(long, value_enum, default_value = "exact")]
    sampler: SamplerPreset,
    /// Leave the guard out: the model answers every question itself
    #[arg(long)]
    no_guard: bool,
}

/// Runs the command.
///
/// # Errors
/// Files that cannot be used, an adapter that does not fit the base.
pub fn run(args: &Args) -> Result<ExitCode> {
    let base = load_base(&args.base.base)?;
    let adapter = AdapterDir::open(&args.adapter)?;
    let name = adapter.name();
    if adapter.guard.is_none() && !args.no_guard {
        eprintln!("note: {name} has no guard.json; the model answers every question itself");
    }
    let served = adapter.serve(&base)?;
    let mut chat = Chat {
        session: served.session()?,
        guard: served.guard.filter(|_| !args.no_guard),
        undecided: served.undecided,
        sampler: args.sampler.config(),
        stop: stop_on_ctrl_c()?,
    };
    let terminal = io::stdin().is_terminal();
    if terminal {
        eprintln!("{name} on {} {}", base.identity.name, base.identity.version);
        eprintln!("{}", shared::INTENDED_USE);
        eprintln!("Type a question, or /quit.");
    }
    drop(base);
    let all_asked = chat.talk(io::stdin().lock(), io::stdout(), io::stderr(), terminal)?;
    Ok(if all_asked || terminal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Chat {
    session: Session,
    guard: Option<Guard>,
    undecided: Option<UndecidedRule>,
    sampler: SamplerConfig,
    stop: Arc<Stop>,
}

/// What Ctrl-C does depends on whether an answer is under way.
#[derive(Debug, Default)]
struct Stop {
    answering: AtomicBool,
    requested: AtomicBool,
}

impl Chat {
    /// Reads questions until the end of `input`; answers go to `out`, the rest to `side`. Whether
    /// all of them could be asked.
    fn talk(
        &mut self,
        mut input: impl BufRead,
        mut out: impl Write,
        mut side: impl Write,
        prompt: bool,
    ) -> Result<bool> {
        let mut all_asked = true;
        loop {
            if prompt {
                write!(side, "> ")?;
                side.flush()?;
            }
            let Some(line) = read_line(&mut input)? else {
                return Ok(all_asked);
            };
            match line.trim() {
                "" => {}
                "/quit" | "/exit" => return Ok(all_asked),
                command if command.starts_with('/') => {
                    writeln!(side, "error: {command} is no command; /quit is the only one")?;
                    all_asked = false;
                }
                question => {
                    self.stop.answering.store(true, Ordering::SeqCst);
                    let asked = self.answer(question, &mut out, &mut side);
                    self.stop.answering.store(false, Ordering::SeqCst);
                    self.stop.requested.store(false, Ordering::SeqCst);
                    if let Err(error) = asked {
                        // What can't be written ends the talk; what can't be asked doesn't.
                        if error.downcast_ref::<io::Error>().is_some() {
                            return Err(error);
                        }
                        writeln!(side, "error: {error:#}")?;
                        all_asked = false;
                    }
                }
            }
        }
    }

    fn answer(&mut self, question: &str, mut out: impl Write, mut side: impl Write) -> Result<()> {
        let start = Instant::now();
        let guard = self.guard.as_ref();
        let safeguards = Safeguards { guard, undecided: self.undecided.as_ref(), approved: None };
        let mut inquiry =
            Inquiry::new(&mut self.session, safeguards, question, self.sampler.clone())?;
        for correction in inquiry.corrections() {
            writeln!(side, "  [read {:?} as {:?}]", correction.written, correction.read)?;
        }
        let outcome = loop {
            if self.stop.requested.load(Ordering::SeqCst) {
                inquiry.cancel();
            }
            match inquiry.step()? {
                // What a guard may yet withhold is not written before it has.
                Progress::Token { text } if guard.is_none() && !text.is_empty() => {
                    write!(out, "{text}")?;
                    out.flush()?;
                }
                Progress::Token { .. } | Progress::Question { .. } => {}
                Progress::ReadAs(again) => {
                    writeln!(side, "  [no answer at first, then read as {again:?}]")?;
                }
                Progress::End(outcome) => break *outcome,
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        let instead = outcome.assessment.verdict.instead();
        let rest = if guard.is_none() { &outcome.held_back } else { &outcome.answer };
        writeln!(out, "{}", instead.unwrap_or(rest))?;
        out.flush()?;
        let Some(stop) = outcome.stop else {
            let why = match &outcome.unknown[..] {
                [] => "the question names no batch or product".to_owned(),
                words => format!("no record has {}", words.join(", ")),
            };
            writeln!(side, "  [guard: {why}; the model was not asked]")?;
            for word in &outcome.unknown {
                let nearest = guard.map_or_else(Vec::new, |guard| guard.nearest(word));
                if !nearest.is_empty() {
                    writeln!(side, "  [did you mean {}?]", nearest.join(" or "))?;
                }
            }
            return Ok(());
        };
        let ended = match stop {
            StopReason::EndToken => "",
            StopReason::MaxTokens => ", cut at the longest answer",
            StopReason::Context => ", cut where the context was full",
            StopReason::Cancelled => ", stopped",
        };
        writeln!(
            side,
            "  [least certain token {:.1} %, {} tokens in {seconds:.2} s{ended}]",
            100.0 * outcome.scores.min_probability,
            outcome.tokens.len(),
        )?;
        writeln!(side, "  [{}]", outcome.assessment.verdict.explanation())?;
        if instead.is_some() {
            writeln!(side, "  [the model wrote: {}]", outcome.answer.trim())?;
        }
        let unverified = outcome.assessment.unverified.join(", ");
        if !unverified.is_empty() {
            writeln!(side, "  [not verified: no record of the batch states {unverified}]")?;
        }
        if let Some(question) = &outcome.likeliest {
            writeln!(side, "  [did you mean: {question}]")?;
        }
        if !outcome.on_record.is_empty() {
            writeln!(side, "  [the records of this batch answer:")?;
            for question in outcome.on_record.iter().take(LISTED_QUESTIONS) {
                writeln!(side, "    {question}")?;
            }
            match outcome.on_record.len().saturating_sub(LISTED_QUESTIONS) {
                0 => writeln!(side, "  ]")?,
                more => writeln!(side, "    and {more} more]")?,
            }
        }
        Ok(())
    }
}

/// The next line; `None` at the end.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = Vec::new();
    let read = io::Read::take(&mut *input, MAX_LINE).read_until(b'\n', &mut line)?;
    if read as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        bail!("a question of more than {MAX_LINE} bytes: put each on a line of its own");
    }
    Ok((read > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
}

fn stop_on_ctrl_c() -> Result<Arc<Stop>> {
    let stop = Arc::new(Stop::default());
    let pressed = stop.clone();
    ctrlc::set_handler(move || {
        let answering = pressed.answering.load(Ordering::SeqCst);
        if !answering || pressed.requested.swap(true, Ordering::SeqCst) {
            eprintln!();
            std::process::exit(INTERRUPTED.into());
        }
    })?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use shared::testing::TinyBase;
    use shared::{Base, GuardList, Model, REFUSAL, RankSlice};

    use super::*;

    fn chat(stop: Stop) -> Chat {
        let base = Base::from_bytes(TinyBase::default().gguf().unwrap()).unwrap();
        let model = Model::load(&base, RankSlice::SOLO).unwrap();
        let list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        Chat {
            session: Session::new(model, base.prompt).unwrap(),
            guard: Some(Guard::new(&list).unwrap()),
            undecided: None,
            sampler: SamplerConfig { max_new_tokens: 5, ..SamplerConfig::exact() },
            stop: Arc::new(stop),
        }
    }

    fn talk(chat: &mut Chat, input: impl AsRef<[u8]>) -> (bool, String, String) {
        let (mut out, mut side) = (Vec::new(), Vec::new());
        let all_asked = chat.talk(input.as_ref(), &mut out, &mut side, false).unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (all_asked, text(&out), text(&side))
    }

    #[test]
    fn answers_line_by_line() {
        let mut chat = chat(Stop::default());
        let expected = chat.session.answer("Q?", chat.sampler.clone()).unwrap();
        let (all_asked, out, side) = talk(&mut chat, "Q?\n\n  Q?  \r\n/quit\nnever asked\n");
        assert!(all_asked);
        assert_eq!(out, format!("{0}\n{0}\n", expected.text));
        let probability =
            format!("least certain token {:.1} %", 100.0 * expected.scores.min_probability);
        assert_eq!(side.matches(&probability).count(), 2, "{side}");
        assert!(side.contains("cut at the longest answer"), "{side}");
    }

    #[test]
    fn the_guard_answers_first() {
        let (all_asked, out, side) = talk(&mut chat(Stop::default()), "Yield of VOY757?");
        assert!(all_asked);
        assert_eq!(out, format!("{REFUSAL}\n"));
        assert!(side.contains("VOY757; the model was not asked"), "{side}");
        assert!(side.contains("did you mean VOY756?"), "{side}");
    }

    #[test]
    fn what_is_withheld_is_not_written_as_the_answer() {
        let mut chat = chat(Stop::default());
        let mut list = GuardList::build(["VOY756"], [], &"ab".repeat(16)).unwrap();
        list.add_answer("Nothing that the model says.").unwrap();
        chat.guard = Some(Guard::new(&list).unwrap());
        let wrote = chat.session.answer("Q?", chat.sampler.clone()).unwrap().text;
        let (_, out, side) = talk(&mut chat, "Q?");
        assert_eq!(out, format!("{}\n", shared::WITHHELD));
        assert!(side.contains(&format!("[the model wrote: {}]", wrote.trim())), "{side}");
    }

    #[test]
    fn an_unsure_answer_is_called_undecided() {
        let mut chat = chat(Stop::default());
        let rule = |below| UndecidedRule {
            evidence_odds: 1.0,
            score: shared::ConfidenceScore::MinProbability,
            below,
            questions: 1,
            questions_sha256: "a".repeat(64),
            coverage: 1.0,
            wrong: 0.0,
            wrong_at_most: 0.0,
        };
        chat.guard = None;
        chat.undecided = Some(rule(1.0));
        let (_, _, side) = talk(&mut chat, "Q?");
        assert!(side.contains("[Undecided: "), "{side}");
        chat.undecided = Some(rule(0.0));
        let (_, _, side) = talk(&mut chat, "Q?");
        assert!(side.contains("[Unchecked: "), "{side}");
    }

    #[test]
    fn a_bad_question_does_not_end_the_talk() {
        let (all_asked, out, side) = talk(&mut chat(Stop::default()), "a <|end|> b\n/help\nQ?\n");
        assert!(!all_asked);
        assert_eq!(out.lines().count(), 1, "{out}");
        assert!(side.contains("error: question: expected text without"), "{side}");
        assert!(side.contains("/help is no command"), "{side}");
    }

    #[test]
    fn a_stop_ends_one_answer_only() {
        let stop = Stop { requested: true.into(), ..Stop::default() };
        let (_, out, side) = talk(&mut chat(stop), "Q?\nQ?\n");
        assert!(side.contains("0 tokens in") && side.contains(", stopped]"), "{side}");
        assert!(out.starts_with('\n') && side.contains("5 tokens in"), "{side}");
    }

    #[test]
    fn rejects_endless_lines() {
        let long = vec![b'x'; MAX_LINE as usize + 1];
        let mut chat = chat(Stop::default());
        assert!(chat.talk(&long[..], Vec::new(), Vec::new(), false).is_err());
    }
}
