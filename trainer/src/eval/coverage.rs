//! How many answers may stand, and how many of them are wrong, as the threshold rises.

use serde::Serialize;
use shared::{AnswerVerdict, ConfidenceScore};

use super::ask::Reply;
use super::verdict::Verdict;

/// One answer under the threshold's judgement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// How sure the model was; none if no threshold can touch the answer, because the guard gave
    /// or withheld it.
    pub score: Option<f32>,
    /// Whether it stands as long as no threshold says otherwise: its values are on record, and it is
    /// no refusal that is left open.
    pub stands: bool,
    /// Whether it is right.
    pub right: bool,
}

impl Scored {
    /// A reply under the judgement of a threshold on `score`, weighed with what the question's words
    /// say at `odds`. An adapter without a list of values leaves the threshold alone to judge.
    pub fn of(reply: &Reply, verdict: &Verdict, score: ConfidenceScore, odds: f32) -> Self {
        let by_guard = reply.mark == AnswerVerdict::UnknownBatch || reply.mark.instead().is_some();
        Self {
            score: (!by_guard).then(|| reply.evidence.weigh(reply.scores.get(score), odds)),
            stands: ![AnswerVerdict::Unverified, AnswerVerdict::LeftOpen].contains(&reply.mark),
            right: verdict.right,
        }
    }
}

/// What a threshold leaves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CoveragePoint {
    /// Answers that score less are undecided.
    pub below: f32,
    /// Share of all answers that still stand.
    pub coverage: f64,
    /// Share of wrong ones among those; 0 of none.
    pub wrong: f64,
}

/// The risk-coverage curve (El-Yaniv and Wiener, "On the foundations of noise-free selective
/// classification", 2010): one point for every score that occurs, from no threshold upwards, and
/// one above all of them.
pub fn curve(answers: &[Scored]) -> Vec<CoveragePoint> {
    let standing = || answers.iter().filter(|answer| answer.stands);
    let mut scores: Vec<f32> = standing().filter_map(|answer| answer.score).collect();
    scores.sort_unstable_by(f32::total_cmp);
    scores.dedup();
    let thresholds = std::iter::once(0.0).chain(scores.iter().skip(1).copied());
    let thresholds = thresholds.chain(scores.last().map(|last| last.next_up().min(1.0)));
    thresholds
        .map(|below| {
            let kept = standing().filter(|a| a.score.is_none_or(|score| score >= below));
            let (count, wrong) = kept
                .fold((0, 0usize), |(count, wrong), a| (count + 1, wrong + usize::from(!a.right)));
            CoveragePoint {
                below,
                coverage: count as f64 / answers.len().max(1) as f64,
                wrong: if count == 0 { 0.0 } else { wrong as f64 / count as f64 },
            }
        })
        .collect()
}

/// The point that lets most answers stand with at most `wrong_at_most` wrong ones among them. If
/// that leaves less than `least_coverage`, or cannot be had, the one with the fewest wrong ones
/// among those that leave as much: a threshold that hides nearly every answer helps nobody.
pub fn choose(
    curve: &[CoveragePoint],
    wrong_at_most: f64,
    least_coverage: f64,
) -> Option<CoveragePoint> {
    let wide = || curve.iter().filter(|point| point.coverage >= least_coverage);
    let wider = |a: &&CoveragePoint, b: &&CoveragePoint| {
        a.coverage.total_cmp(&b.coverage).then(b.below.total_cmp(&a.below))
    };
    let good = wide().filter(|point| point.wrong <= wrong_at_most).max_by(wider);
    good.or_else(|| wide().min_by(|a, b| a.wrong.total_cmp(&b.wrong).then(wider(b, a))))
        .or(curve.first())
        .copied()
}

/// At most about `count` of the points, evenly spread, the last among them: a curve looks the same.
pub fn thin(curve: Vec<CoveragePoint>, count: usize) -> Vec<CoveragePoint> {
    let step = curve.len().div_ceil(count.max(1)).max(1);
    let last = curve.len().saturating_sub(1);
    let kept = |(index, point)| (index % step == 0 || index == last).then_some(point);
    curve.into_iter().enumerate().filter_map(kept).collect()
}

/// The chance that a right answer scores higher than a wrong one (area under the ROC curve; equal
/// scores count half). `None` if there are not both.
pub fn auroc(answers: &[Scored]) -> Option<f64> {
    let scored = || answers.iter().filter(|a| a.stands).filter_map(|a| Some((a.score?, a.right)));
    let (right, wrong): (Vec<_>, Vec<_>) = scored().partition(|(_, right)| *right);
    if right.is_empty() || wrong.is_empty() {
        return None;
    }
    let wins: f64 = right
        .iter()
        .flat_map(|(r, _)| wrong.iter().map(move |(w, _)| (r, w)))
        .map(|(r, w)| {
            if r > w {
                1.0
            } else if r == w {
                0.5
            } else {
                0.0
            }
        })
        .sum();
    Some(wins / (right.len() * wrong.len()) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(score: f32, right: bool) -> Scored {
        Scored { score: Some(score), stands: true, right }
    }

    fn answers() -> Vec<Scored> {
        vec![
            answer(0.9, true),
            answer(0.8, true),
            answer(0.8, false),
            answer(0.5, true),
            answer(0.3, false),
            Scored { score: None, stands: true, right: true },
            Scored { score: Some(1.0), stands: false, right: false },
            Scored { score: None, stands: false, right: false },
        ]
    }

    #[test]
    fn what_no_threshold_decides_on_does_not_stand() {
        let right = Verdict {
            answerable: false,
            right: true,
            value_match: false,
            hallucination: false,
            refusal: None,
            mark: AnswerVerdict::NoRecord,
        };
        let of = |mark| {
            let reply = Reply {
                text: String::new(),
                guarded: Vec::new(),
                scores: shared::Scores { min_probability: 0.5, product: 0.25 },
                mark,
                tokens: 1,
                unverified: Vec::new(),
                evidence: shared::FieldEvidence::Agrees,
            };
            let scored = Scored::of(&reply, &right, ConfidenceScore::Product, 3.0);
            (scored.score, scored.stands)
        };
        assert_eq!(of(AnswerVerdict::NoRecord), (Some(0.5), true));
        assert_eq!(of(AnswerVerdict::UnknownBatch), (None, true));
        assert_eq!(of(AnswerVerdict::LacksField), (None, true));
        assert!(!of(AnswerVerdict::LeftOpen).1 && !of(AnswerVerdict::Unverified).1);
    }

    #[test]
    fn the_curve_by_hand() {
        let found = curve(&answers());
        let expected = [
            (0.0, 6.0 / 8.0, 2.0 / 6.0),
            (0.5, 5.0 / 8.0, 1.0 / 5.0),
            (0.8, 4.0 / 8.0, 1.0 / 4.0),
            (0.9, 2.0 / 8.0, 0.0),
            (0.9_f32.next_up(), 1.0 / 8.0, 0.0),
        ];
        assert_eq!(found.len(), expected.len());
        for (point, (below, coverage, wrong)) in found.iter().zip(expected) {
            assert_eq!((point.below, point.coverage, point.wrong), (below, coverage, wrong));
        }
    }

    #[test]
    fn the_widest_coverage_within_the_limit_is_chosen() {
        let curve = curve(&answers());
        assert_eq!(choose(&curve, 1.0, 0.0).unwrap().below, 0.0);
        assert_eq!(choose(&curve, 0.2, 0.0).unwrap().below, 0.5);
        assert_eq!(choose(&curve, 0.0, 0.0).unwrap().below, 0.9);
        assert_eq!(choose(&curve, 0.0, 0.5).unwrap().below, 0.5, "0.2 is the least at half");
        assert_eq!(choose(&curve, 0.0, 0.9).unwrap().below, 0.0, "never so wide: no threshold");
        assert_eq!(choose(&[], 0.0, 0.0), None);
    }

    #[test]
    fn a_thin_curve_keeps_its_ends() {
        let curve = curve(&answers());
        for count in 1..7 {
            let thin = thin(curve.clone(), count);
            assert_eq!((thin.first(), thin.last()), (curve.first(), curve.last()));
            assert!(thin.len() <= count + 1, "{count}");
        }
    }

    #[test]
    fn auroc_counts_pairs() {
        // 0.9 beats both, 0.8 beats one and ties with one, 0.5 beats one of two.
        assert_eq!(auroc(&answers()), Some((2.0 + 1.5 + 1.0) / 6.0));
        assert_eq!(auroc(&[answer(0.4, true)]), None);
    }
}
