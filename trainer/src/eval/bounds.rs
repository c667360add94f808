//! What a share in a sample says about the share in general.
//!
//! Method: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case
//! of the binomial" (1934), one-sided at 95 %.

/// One minus the confidence.
const ALPHA: f64 = 0.05;

/// The largest share that is still likely after `hits` of `n`: 0 of 150 gives 0.0198. 1 if `n`
/// is 0.
///
/// # Panics
/// If `hits` is more than `n`.
pub fn at_most(hits: usize, n: usize) -> f64 {
    assert!(hits <= n, "{hits} of {n}");
    if hits == n {
        return 1.0;
    }
    // The chance of so few hits falls as the share rises.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if chance_of_at_most(hits, n, middle) > ALPHA {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The smallest share that is still likely after `hits` of `n`. 0 if `n` is 0.
///
/// # Panics
/// If `hits` is more than `n`.
pub fn at_least(hits: usize, n: usize) -> f64 {
    assert!(hits <= n, "{hits} of {n}");
    1.0 - at_most(n - hits, n)
}

/// The binomial distribution function, `0 < p < 1`, summed from logarithms so that nothing
/// underflows on the way.
fn chance_of_at_most(hits: usize, n: usize, p: f64) -> f64 {
    let odds = p.ln() - (-p).ln_1p();
    let mut log = n as f64 * (-p).ln_1p();
    let mut sum = log.exp();
    for k in 1..=hits {
        log += ((n - k + 1) as f64 / k as f64).ln() + odds;
        sum += log.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 5e-7, "{found} {expected}");
    }

    #[test]
    fn no_hits_have_a_closed_form() {
        for n in [1, 10, 150, 100_000] {
            close(at_most(0, n), 1.0 - 0.05_f64.powf(1.0 / n as f64));
        }
        assert!(at_most(0, 150) < 0.02 && at_most(0, 140) > 0.02);
    }

    /// From sums over exact binomial coefficients.
    #[test]
    fn agrees_with_exact_sums() {
        close(at_most(1, 10), 0.394_163_3);
        close(at_most(5, 10), 0.777_558_9);
        close(at_most(3, 450), 0.017_139_5);
        close(at_least(9, 10), 1.0 - 0.394_163_3);
    }

    #[test]
    fn the_ends_are_certain() {
        close(at_most(7, 7), 1.0);
        close(at_least(0, 7), 0.0);
        close(at_most(0, 0), 1.0);
        close(at_least(0, 0), 0.0);
        close(at_least(7, 7), 0.05_f64.powf(1.0 / 7.0));
    }
}
