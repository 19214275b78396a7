//! How a bench reports: both sides, their ratio, the target, and whether it is met.

/// One comparison.
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// Our side.
    pub(crate) ours: String,
    /// The other side; empty if there is none.
    pub(crate) beside: String,
    /// Ours by theirs; empty if there is none.
    pub(crate) ratio: String,
    /// What is wanted, in words; empty if the line only informs.
    pub(crate) target: &'static str,
    /// Whether it is so.
    pub(crate) is_met: bool,
}

/// Prints the lines as a table.
pub(crate) fn print(title: &str, lines: &[Line]) {
    heading(title);
    lines.iter().for_each(row);
}

/// Begins a table.
#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
pub(crate) fn heading(title: &str) {
    println!("\n{title}\n\n| what | ours | beside | ratio | target | |\n|---|---|---|---|---|---|");
}

/// Adds a line to a table.
#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
pub(crate) fn row(line: &Line) {
    let verdict = match (line.target, line.is_met) {
        ("", _) => "",
        (_, true) => "met",
        (_, false) => "MISSED",
    };
    println!("| {} | {} | {} | {} | {} | {verdict} |", line.what, line.ours, line.beside, line.ratio, line.target);
}

/// Prints a remark.
#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
pub(crate) fn remark(text: &str) {
    println!("{text}");
}

/// The middle one of several measurements; of an even number, the larger of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
