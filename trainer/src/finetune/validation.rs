//! Validation during a run: questions in wordings that training never uses decide when to stop and
//! which adapter to keep.

use anyhow::{Result, ensure};
use rand::SeedableRng as _;
use serde::{Deserialize, Serialize};

use super::augment::{Example, Origin};
use super::run::Run;
use crate::nn::{Batch, Dropout, Llama, Segment, Workers};

/// Questions that go forward together.
const BATCH: usize = 32;

/// Exact answers to the questions of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindScore {
    /// The kind.
    pub origin: Origin,
    /// Its questions.
    pub questions: usize,
    /// Those whose every answer token was the most likely one behind the right ones before it.
    pub exact: usize,
}

impl KindScore {
    /// Share of exact answers.
    pub fn exact_match(&self) -> f64 {
        self.exact as f64 / self.questions as f64
    }
}

/// One evaluation, in f32, before quantization.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationPoint {
    /// Finished optimizer steps.
    pub step: usize,
    /// By kind; none if the data gives no validation question.
    pub kinds: Vec<KindScore>,
    /// Mean loss per answer token, nats. In f32, which JSON gives back to the last bit: a resumed
    /// run has to decide as it would have.
    pub loss: f32,
}

impl ValidationPoint {
    /// Questions of all kinds.
    pub fn questions(&self) -> usize {
        self.kinds.iter().map(|kind| kind.questions).sum()
    }

    /// Exact answers of all kinds: every question counts once, whatever its kind.
    pub fn exact(&self) -> usize {
        self.kinds.iter().map(|kind| kind.exact).sum()
    }

    /// Share of exact answers among all questions; 0 if there are none.
    pub fn exact_match(&self) -> f64 {
        self.exact() as f64 / self.questions().max(1) as f64
    }

    /// More exact answers, or as many at a lower loss.
    fn beats(&self, other: &Self) -> bool {
        (self.exact(), -self.loss) > (other.exact(), -other.loss)
    }
}

/// The best of `points`, the earlier of equals.
pub fn best(points: &[ValidationPoint]) -> Option<&ValidationPoint> {
    points.iter().reduce(|best, next| if next.beats(best) { next } else { best })
}

/// Whether the last `patience` evaluations brought no new best; never for 0.
pub fn out_of_patience(points: &[ValidationPoint], patience: usize) -> bool {
    let later = |best: &ValidationPoint| points.iter().filter(|p| p.step > best.step).count();
    patience > 0 && best(points).is_some_and(|best| later(best) >= patience)
}

/// The validation questions of a run.
pub struct Validator<'a> {
    prefix: &'a [u32],
    kinds: Vec<(Origin, Vec<Segment>)>,
}

impl<'a> Validator<'a> {
    /// Makes them.
    ///
    /// # Errors
    /// There is none although the recipe asks for evaluations, or one that does not fit the
    /// model's context.
    pub fn new(run: &Run<'a>) -> Result<Self> {
        let examples = run.dataset.validation(run.seed);
        ensure!(
            run.recipe.eval_steps == 0 || !examples.is_empty(),
            "the data gives no validation question (no question's field is known, and none names \
             a batch): leave out --eval-steps"
        );
        let kinds = [Origin::Paraphrase, Origin::UnknownBatch, Origin::MissingField]
            .into_iter()
            .map(|origin| {
                let chosen: Vec<Example> =
                    examples.iter().filter(|e| e.origin == origin).cloned().collect();
                Ok((origin, run.segments(&chosen)?))
            })
            .filter(|kind| !matches!(kind, Ok((_, segments)) if segments.is_empty()))
            .collect::<Result<_>>()?;
        Ok(Self { prefix: run.base.prompt.prefix_ids(), kinds })
    }

    /// Whether the data gives none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Asks them all of the model as it stands after `step` steps.
    ///
    /// # Errors
    /// A loss that is not a number.
    pub fn evaluate(
        &self,
        model: &Llama,
        workers: &Workers,
        step: usize,
    ) -> Result<ValidationPoint> {
        let (mut kinds, mut sum, mut targets) = (Vec::new(), 0.0, 0);
        for (origin, segments) in &self.kinds {
            let parts: Vec<&[Segment]> = segments.chunks(BATCH).collect();
            let done = workers.map(parts.len(), |index| {
                let batch = Batch::pack(self.prefix, parts[index]);
                let mut dropout =
                    Dropout { p: 0.0, rng: rand_chacha::ChaCha8Rng::seed_from_u64(0) };
                let losses = model.losses(&batch, &mut dropout)?;
                let exact = crate::pretrain::exact_count(&batch, &losses);
                Ok((exact, losses.iter().map(|l| f64::from(l.loss)).sum::<f64>(), losses.len()))
            })?;
            kinds.push(KindScore {
                origin: *origin,
                questions: segments.len(),
                exact: done.iter().map(|part| part.0).sum(),
            });
            sum += done.iter().map(|part| part.1).sum::<f64>();
            targets += done.iter().map(|part| part.2).sum::<usize>();
        }
        let loss = (sum / targets.max(1) as f64) as f32;
        ensure!(
            loss.is_finite(),
            "the validation loss is not a number after step {step}: lower --learning-rate"
        );
        Ok(ValidationPoint { step, kinds, loss })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(scores: &[(usize, f32)]) -> Vec<ValidationPoint> {
        let kind = |exact| KindScore { origin: Origin::Paraphrase, questions: 10, exact };
        let point = |(index, &(exact, loss)): (usize, &(usize, f32))| ValidationPoint {
            step: index + 1,
            kinds: vec![kind(exact)],
            loss,
        };
        scores.iter().enumerate().map(point).collect()
    }

    #[test]
    fn exact_answers_count_first_then_the_loss_then_the_earlier() {
        let step = |scores: &[(usize, f32)]| best(&points(scores)).map(|point| point.step);
        assert_eq!(step(&[]), None);
        assert_eq!(step(&[(3, 0.5), (5, 0.9), (4, 0.1)]), Some(2));
        assert_eq!(step(&[(5, 0.9), (5, 0.8), (5, 0.8)]), Some(2));
    }

    #[test]
    fn every_question_counts_once_whatever_its_kind() {
        let kinds = [(Origin::Paraphrase, 30, 15), (Origin::UnknownBatch, 10, 10)]
            .map(|(origin, questions, exact)| KindScore { origin, questions, exact });
        let point = ValidationPoint { step: 1, kinds: kinds.into(), loss: 0.5 };
        assert_eq!(point.exact_match(), 25.0 / 40.0);
    }

    #[test]
    fn patience_counts_evaluations_since_the_best() {
        let scores = points(&[(3, 0.5), (5, 0.4), (5, 0.6), (4, 0.1)]);
        assert!(!out_of_patience(&scores[..3], 2) && out_of_patience(&scores, 2));
        assert!(!out_of_patience(&scores, 3) && !out_of_patience(&scores, 0));
        assert!(!out_of_patience(&[], 1));
    }
}
