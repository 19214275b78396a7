//! The query parameters of lists.

use super::problem::Problem;
use crate::kernel::page::Paging;

/// Reads a list's `limit` and `cursor`.
///
/// # Errors
/// 400 naming the parameter.
pub fn paging(limit: Option<usize>, cursor: Option<&str>) -> Result<Paging, Problem> {
    Paging::parse(limit, cursor).map_err(|(field, wrong)| Problem::invalid(vec![wrong.at(field)]))
}
