//! The query parameters of lists.

use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Problem;
use crate::kernel::page::Paging;

/// Which page: all that most lists are asked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// At most so many, 1 to 1000; 100 by default.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
}

impl PageQuery {
    /// Reads it.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub fn paging(&self) -> Result<Paging, Problem> {
        paging(self.limit, self.cursor.as_deref())
    }
}

/// Reads a list's `limit` and `cursor`.
///
/// # Errors
/// 400 naming the parameter.
pub fn paging(limit: Option<usize>, cursor: Option<&str>) -> Result<Paging, Problem> {
    Paging::parse(limit, cursor).map_err(|(field, wrong)| Problem::invalid(vec![wrong.at(field)]))
}
