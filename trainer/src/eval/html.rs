//! The validation report as one HTML file: no script, nothing from elsewhere, made to be printed.

use std::fmt::Write as _;

use super::curve::{Axis, curve};
use super::evidence::Evidence;
use super::metrics::Metrics;
use super::report::{FileReport, Report, WrongAnswer};
use crate::finetune::VALIDATION_CURVE;

const STYLE: &str = include_str!("report.css");

impl Evidence {
    /// The report for people: `report.html`.
    pub fn to_html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <meta name=\"color-scheme\" content=\"light dark\">\
             <title>Validation report, {created}</title><style>{STYLE}</style></head><body>\n\
             <h1>Validation report</h1>\n<p>Measured {created} with Lotwise trainer {version}. \
             The answers come from the engine, the merged weights and the checks that readers \
             use, bit for bit.</p>\n",
            created = escape(&self.created),
            version = escape(self.program.version),
        );
        page += &section("Intended use", &format!("<p>{}</p>", escape(&self.record.intended_use)));
        page += &section("Result", &self.result());
        if let Some(previous) = &self.previous {
            page += &section("Against the previous adapter", &self.comparison(previous));
        }
        page += &section("Refusals", &self.refusals());
        page += &section("Undecided answers", &self.undecided());
        page += &section("Results in detail", &self.details());
        page += &section("What was tested", &self.subject());
        page += &section("Training", &self.training());
        page += &section("Every wrong answer", &self.failures());
        page += "</body></html>\n";
        page
    }

    fn result(&self) -> String {
        let mut html =
            "<p>Each share stands beside the bound that the number of questions allows: \
             with 95 % confidence, the true share is no worse (Clopper-Pearson, one-sided). \
             <b>Exact</b>: answered in the very words of the reference. <b>Values</b>: every \
             number, identifier, date and name of the reference is in the answer. \
             <b>Hallucination</b>: the answer states such a value that is neither in the reference \
             nor in the question. <b>Refusal</b>: of the questions that the records cannot answer, \
             those refused. An answer that is not on record word for word is withheld: it states \
             nothing and counts as refused. <b>Standing</b>: neither withheld, unless a refusal \
             stands in its place because the batch has no record of what the question names, nor \
             undecided nor left open. \
             <b>Standing, but wrong</b>: what a reader could be misled by.</p>"
                .to_owned();
        let rows = self.evaluation.files.iter().map(|f| (short(&f.file), &f.metrics)).collect();
        html += &table("questions", rows);
        html
    }

    fn comparison(&self, previous: &Report) -> String {
        let mut html = format!(
            "<p>The same questions, asked of {}. Points are percentage points.</p>\
             <table><tr><th>questions<th>share<th>before<th>now<th>change</tr>",
            escape(previous.subject.get("adapter").map_or("an earlier adapter", String::as_str))
        );
        for (new, old) in self.evaluation.files.iter().zip(&previous.files) {
            for ((name, now), (_, before)) in
                new.metrics.shares().into_iter().zip(old.metrics.shares())
            {
                let (Some(now), Some(before)) = (now, before) else {
                    continue;
                };
                let name = name.replace('_', " ");
                let _ = write!(
                    html,
                    "<tr><td>{}<td>{name}<td>{}<td>{}<td>{:+.1} points</tr>",
                    short(&new.file),
                    percent(before),
                    percent(now),
                    100.0 * (now - before)
                );
            }
        }
        html + "</table>"
    }

    fn refusals(&self) -> String {
        let Some(bias) = &self.record.refusal_bias else {
            return "<p>Nothing was changed in how readily the model refuses.</p>".to_owned();
        };
        let mut html = format!(
            "<p>{:+.1} is added to the refusal's logit where a free answer begins. The number was \
             chosen on the {} questions that the threshold below was chosen on (SHA-256 \
             <code>{}</code>).</p>",
            bias.logit, bias.questions, bias.questions_sha256
        );
        if let Some(calibration) = &self.calibration {
            html += "<table><tr><th>bias<th>answer on record: refused<th>answered wrongly\
                     <th>field not on record: answered</tr>";
            for tried in &calibration.biases {
                let _ = write!(
                    html,
                    "<tr><td>{:+.1}<td>{}<td>{}<td>{}</tr>",
                    tried.logit,
                    percent(tried.false_refusals),
                    percent(tried.wrong),
                    percent(tried.invented)
                );
            }
            html += "</table>";
        }
        html
    }

    fn undecided(&self) -> String {
        let mut html = match &self.record.undecided {
            None => {
                "<p>No threshold was chosen for this adapter: no answer is marked undecided for \
                     its probability. trainer eval --data chooses one.</p>"
                    .to_owned()
            }
            Some(rule) => format!(
                "<p>An answer whose {}{} is below {:.4} is marked undecided. The threshold was \
                 chosen on {} questions made from the training data in wordings that neither \
                 training nor these tests use (SHA-256 <code>{}</code>), to leave at most {} wrong \
                 answers among those that stand. There, {} of the answers stand, and {} of those \
                 are wrong{}.</p>",
                match rule.score {
                    shared::ConfidenceScore::MinProbability => "least probable token's probability",
                    shared::ConfidenceScore::Product => "probability as a whole",
                },
                weighed(rule.evidence_odds),
                rule.below,
                rule.questions,
                rule.questions_sha256,
                percent(rule.wrong_at_most),
                percent(rule.coverage),
                percent(rule.wrong),
                if rule.wrong > rule.wrong_at_most {
                    ": <b>the aim is missed</b>, and a threshold that meets it would hide more \
                     than a fifth of what it decides on"
                } else {
                    ""
                }
            ),
        };
        html += "<p>A refusal is left open, however sure the model is, where the batch has a record in \
                 a wording that neither the grammar nor paraphrases explain. Here it counts as \
                 undecided.</p>";
        if let Some(calibration) = &self.calibration {
            html += "<table><tr><th>score<th>odds of the question's words<th>AUROC<th>coverage\
                     <th>wrong</tr>";
            for quality in &calibration.scores {
                let name = match quality.score {
                    shared::ConfidenceScore::MinProbability => "least probable token",
                    shared::ConfidenceScore::Product => "product of all tokens",
                };
                let auroc = quality.auroc.map_or("none wrong".into(), |area| format!("{area:.3}"));
                let _ = write!(
                    html,
                    "<tr><td>{name}<td>{}<td>{auroc}<td>{}<td>{}</tr>",
                    quality.evidence_odds,
                    percent(quality.coverage),
                    percent(quality.wrong)
                );
            }
            html += "</table>";
        }
        let points: Vec<(f64, f64)> =
            self.risk_coverage.iter().map(|point| (point.coverage, point.wrong)).collect();
        let highest = points.iter().map(|point| point.1).fold(0.01, f64::max);
        html += "<figure>";
        html += &curve(
            "Share of wrong answers over the share of answers that stand",
            &Axis { name: "answers that stand", from: 0.0, to: 1.0, write: percent },
            &Axis { name: "wrong among them", from: 0.0, to: highest, write: percent },
            &points,
        );
        html + "<figcaption>Risk and coverage on the test questions of all files, as the threshold \
                rises from right to left.</figcaption></figure>"
    }

    fn details(&self) -> String {
        let mut html = String::new();
        for file in &self.evaluation.files {
            let FileReport { kinds, batches, fields, .. } = file;
            for (label, groups) in [("phrasing", kinds), ("batch", batches), ("field", fields)] {
                if !groups.is_empty() {
                    let _ = write!(html, "<h3>{} by {label}</h3>", short(&file.file));
                    html += &table(label, groups.iter().map(|(n, m)| (escape(n), m)).collect());
                }
            }
        }
        html
    }

    fn subject(&self) -> String {
        let record = &self.record;
        let mut rows = vec![
            ("training data".to_owned(), format!("SHA-256 <code>{}</code>", record.data_sha256)),
            (
                format!("base {} {}", escape(&record.base.name), escape(&record.base.version)),
                format!("SHA-256 <code>{}</code>", record.base.sha256),
            ),
            ("chat template".into(), format!("SHA-256 <code>{}</code>", record.template_sha256)),
            ("system prompt".into(), escape(&record.system_prompt)),
        ];
        for file in &self.files {
            rows.push((
                escape(&file.name),
                format!("SHA-256 <code>{}</code>, {} bytes", file.sha256, file.size),
            ));
        }
        for file in &self.evaluation.files {
            rows.push((
                format!("questions {}", escape(&file.file)),
                format!(
                    "SHA-256 <code>{}</code>, {} questions",
                    file.sha256, file.metrics.questions
                ),
            ));
        }
        let program = &self.program;
        rows.push((
            format!("trainer {}", escape(program.version)),
            format!(
                "SHA-256 of the executable <code>{}</code>, kernels {}, on {} {}, {} processors",
                program.sha256,
                escape(&program.kernels),
                program.os,
                program.arch,
                program.processors
            ),
        ));
        for (key, value) in &self.evaluation.subject {
            rows.push(((*key).to_owned(), escape(value)));
        }
        if let Some(test) = &record.self_test {
            rows.push(("logits digest".into(), format!("<code>{}</code>", test.logits_digest)));
        }
        definition_table(&rows)
    }

    fn training(&self) -> String {
        let train = &self.record.train;
        let mut html = format!(
            "<p>{} pairs, {} steps, {} tokens in {:.0} s, from seed {}; ended {}. Mean loss per \
             answer token at the end: {:.4} nats.</p>",
            train.examples,
            train.steps,
            train.tokens,
            train.seconds,
            self.record.seed,
            escape(&self.record.created),
            train.final_loss
        );
        let points: Vec<(f64, f64)> =
            train.loss_curve.iter().map(|point| (point.step as f64, point.loss)).collect();
        let steps = points.iter().map(|point| point.0).fold(1.0, f64::max);
        let highest = points.iter().map(|point| point.1).fold(0.1, f64::max);
        html += "<figure>";
        html += &curve(
            "Training loss over optimizer steps",
            &Axis { name: "optimizer steps", from: 0.0, to: steps, write: |v| format!("{v:.0}") },
            &Axis { name: "loss, nats", from: 0.0, to: highest, write: |v| format!("{v:.2}") },
            &points,
        );
        html += "<figcaption>Loss over the run.</figcaption></figure>";
        html += &self.validation_curve();
        html += "<h3>Recipe</h3><pre>";
        let mut recipe = self.record.recipe.clone();
        if let Some(recipe) = recipe.as_object_mut() {
            recipe.remove(VALIDATION_CURVE);
        }
        html += &escape(&format!("{recipe:#}"));
        html + "</pre>"
    }

    /// Nothing where there was only the evaluation at the end.
    fn validation_curve(&self) -> String {
        let recipe = &self.record.recipe;
        let Some(points) = recipe.get(VALIDATION_CURVE).and_then(|curve| curve.as_array()) else {
            return String::new();
        };
        let points: Vec<(f64, f64)> = points
            .iter()
            .filter_map(|point| Some((point["step"].as_f64()?, point["exact_match"].as_f64()?)))
            .collect();
        let steps = points.iter().map(|point| point.0).fold(1.0, f64::max);
        let curve = curve(
            "Exact answers to validation questions over optimizer steps",
            &Axis { name: "optimizer steps", from: 0.0, to: steps, write: |v| format!("{v:.0}") },
            &Axis { name: "exact", from: 0.0, to: 1.0, write: percent },
            &points,
        );
        let kept = recipe
            .get("adapter_of_step")
            .map(|step| format!(" The adapter is that of step {}.", escape(&step.to_string())));
        format!(
            "<figure>{curve}<figcaption>Exact answers to the validation questions, in wordings \
             that training never uses, before quantization.{}</figcaption></figure>",
            kept.unwrap_or_default()
        )
    }

    fn failures(&self) -> String {
        let wrong = &self.evaluation.wrong_answers;
        if wrong.is_empty() {
            return "<p>There is none.</p>".into();
        }
        let mut html = format!(
            "<p>{} of {} questions. An answer that is wrong only in its words is listed too. Page \
             mark: what a reader would have seen beside it.</p><table class=\"wide\"><tr>\
             <th>file, line<th>question<th>expected<th>answered<th>least certain token\
             <th>page mark</tr>",
            wrong.len(),
            self.evaluation.metrics.questions
        );
        for answer in wrong {
            let WrongAnswer { file, line, question, expected, got, .. } = answer;
            let mark = format!("{:?}", answer.mark).to_lowercase();
            let _ = write!(
                html,
                "<tr><td>{}, {line}<td>{}<td>{}<td>{}<td>{}<td>{mark}{}</tr>",
                short(file),
                escape(question),
                expected.as_deref().map_or("<i>a refusal</i>".into(), escape),
                escape(got),
                if answer.guard_refused {
                    "not asked".into()
                } else {
                    percent(f64::from(answer.min_probability))
                },
                if answer.value_match { " (values right)" } else { "" }
            );
        }
        html + "</table>"
    }
}

/// What the question's words do to a score.
fn weighed(odds: f32) -> String {
    if odds == 1.0 {
        return String::new();
    }
    format!(
        " (its odds {odds} times as high where the question names the answer's field in words that \
         the grammar knows, and {odds} times as low where it names another)"
    )
}

fn section(title: &str, content: &str) -> String {
    format!("<section><h2>{title}</h2>\n{content}</section>\n")
}

fn table(label: &str, rows: Vec<(String, &Metrics)>) -> String {
    let mut html = format!(
        "<table><tr><th>{label}<th>number<th>exact<th>values<th>hallucination<th>refusal\
         <th>standing<th>standing, but wrong</tr>"
    );
    for (name, metrics) in rows {
        let bounds = &metrics.bounds;
        let cell = |share: Option<f64>, sign: &str, bound: Option<f64>| match (share, bound) {
            (Some(share), Some(bound)) => {
                format!("{} <small>{sign}&nbsp;{}</small>", percent(share), percent(bound))
            }
            _ => "–".into(),
        };
        let of = |hits: usize, all: usize| (all > 0).then(|| hits as f64 / all as f64);
        let _ = write!(
            html,
            "<tr><td>{name}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            metrics.questions,
            cell(metrics.exact_match, "≥", bounds.exact_match_at_least),
            cell(metrics.value_match, "≥", bounds.value_match_at_least),
            cell(metrics.hallucination, "≤", bounds.hallucination_at_most),
            cell(metrics.refusal, "≥", bounds.refusal_at_least),
            of(metrics.standing, metrics.questions).map_or("–".into(), percent),
            cell(of(metrics.standing_wrong, metrics.standing), "≤", bounds.standing_wrong_at_most),
        );
    }
    html + "</table>"
}

fn definition_table(rows: &[(String, String)]) -> String {
    let mut html = "<table class=\"pairs\">".to_owned();
    for (name, value) in rows {
        let _ = write!(html, "<tr><th>{name}<td>{value}</tr>");
    }
    html + "</table>"
}

fn percent(share: f64) -> String {
    format!("{:.1}&nbsp;%", 100.0 * share)
}

/// A path's last part.
fn short(path: &str) -> String {
    escape(path.rsplit(['/', '\\']).next().unwrap_or(path))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_text() {
        assert_eq!(escape(r#"<b a="1">&"#), "&lt;b a=&quot;1&quot;&gt;&amp;");
        assert_eq!(short("a/<b>.jsonl"), "&lt;b&gt;.jsonl");
    }
}
