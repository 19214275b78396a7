//! What of somebody's values, or of defaults, does not fit the schemas of namespaces that there are by now. Found out on a
//! thread of its own, and known while its namespaces are the same.

use std::borrow::Cow;
use std::sync::Arc;

use crate::kernel::sheet::Sheet;
use crate::preferences::book::{PreferenceBook, Registered};
use crate::preferences::model::{CUSTOM, namespace_of};

/// What of some values does not fit the schemas that there are, and to which they were held.
#[derive(Debug, Default)]
pub struct Unfit {
    held_to: Box<[Arc<Registered>]>,
    paths: Box<[Box<str>]>,
}

impl Unfit {
    /// What of these values does not fit. As long as [`Registered::complaints`] takes.
    pub fn of(values: &Sheet, held_to: Box<[Arc<Registered>]>) -> Self {
        let path = |there: &Registered| format!("{CUSTOM}.{}", there.namespace.name);
        let fits = |there: &&Arc<Registered>| values.value(&path(there)).is_none_or(|values| there.fits(&values));
        let unfit = held_to.iter().filter(|there| !fits(there)).map(|there| path(there).into()).collect();
        Self { held_to, paths: unfit }
    }

    /// The namespaces that these values are held to.
    pub fn namespaces(values: &Sheet, book: &PreferenceBook) -> Box<[Arc<Registered>]> {
        let names = values.below(CUSTOM).filter_map(|(path, _)| namespace_of(path));
        names.filter_map(|name| book.namespace(name).map(Arc::clone)).collect()
    }

    /// Whether it is known from these.
    pub fn was_held_to(&self, these: &[Arc<Registered>]) -> bool {
        self.held_to.len() == these.len() && self.held_to.iter().zip(these).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// What is left of these values.
    pub fn left_of<'a>(&self, values: &'a Sheet) -> Cow<'a, Sheet> {
        if self.paths.is_empty() {
            return Cow::Borrowed(values);
        }
        Cow::Owned(values.filtered(|path| !self.paths.iter().any(|unfit| &**unfit == path)))
    }
}
