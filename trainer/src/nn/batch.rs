//! Packing: one shared prefix, then independent segments, with no padding.

use super::attention::Layout;

/// One training example behind the shared prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Loss weight of predicting each token; 0 leaves it out.
    pub weights: Vec<f32>,
}

impl Segment {
    /// Appends `tokens`, each predicted with loss weight `weight`.
    pub fn push(&mut self, tokens: &[u32], weight: f32) {
        self.tokens.extend_from_slice(tokens);
        self.weights.resize(self.tokens.len(), weight);
    }
}

/// A position whose next token is learned.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Row of the batch whose output predicts the token.
    pub row: u32,
    /// The token to predict.
    pub token: u32,
    /// Weight of its loss.
    pub weight: f32,
    /// Index of the segment it belongs to.
    pub segment: u32,
}

/// Rows that go through the model together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Token of each row.
    pub tokens: Vec<u32>,
    /// Position of each row in its own sequence (prefix included).
    pub positions: Vec<u32>,
    /// Which rows see which.
    pub layout: Layout,
    /// What is learned.
    pub targets: Vec<Target>,
}

impl Batch {
    /// Packs `segments` behind `prefix`.
    pub fn pack<'a>(prefix: &[u32], segments: impl IntoIterator<Item = &'a Segment>) -> Self {
        let mut batch = Self {
            tokens: prefix.to_vec(),
            positions: (0..prefix.len() as u32).collect(),
            layout: Layout { prefix: prefix.len(), segments: Vec::new() },
            targets: Vec::new(),
        };
        for (index, segment) in segments.into_iter().enumerate() {
            let start = batch.tokens.len();
            batch.tokens.extend_from_slice(&segment.tokens);
            let first = prefix.len() as u32;
            batch.positions.extend(first..first + segment.tokens.len() as u32);
            batch.layout.segments.push(start..batch.tokens.len());
            // The first token would be predicted by the prefix, which all segments share.
            for at in 1..segment.tokens.len() {
                if segment.weights[at] > 0.0 {
                    batch.targets.push(Target {
                        row: (start + at - 1) as u32,
                        token: segment.tokens[at],
                        weight: segment.weights[at],
                        segment: index as u32,
                    });
                }
            }
        }
        batch
    }

    /// Sum of the loss weights.
    pub fn weight(&self) -> f32 {
        self.targets.iter().map(|target| target.weight).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_restart_behind_the_prefix_and_never_predict_their_first_token() {
        let mut a = Segment::default();
        a.push(&[5, 6], 0.0);
        a.push(&[7], 1.0);
        let mut b = Segment::default();
        b.push(&[8, 9], 0.5);
        let batch = Batch::pack(&[1, 2], [&a, &b]);
        assert_eq!(batch.tokens, [1, 2, 5, 6, 7, 8, 9]);
        assert_eq!(batch.positions, [0, 1, 2, 3, 4, 2, 3]);
        assert_eq!(batch.layout.segments, [2..5, 5..7]);
        let targets: Vec<_> =
            batch.targets.iter().map(|t| (t.row, t.token, t.weight, t.segment)).collect();
        assert_eq!(targets, [(3, 7, 1.0, 0), (5, 9, 0.5, 1)]);
        assert_eq!(batch.weight(), 1.5);
    }
}
