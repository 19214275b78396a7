//! What conditions look at: values found by name, borrowed from wherever they are, as the values of CEL.
//!
//! Nothing is copied or built that is not asked for: a list or an object is a reference that is looked into. Every look is
//! taken from the evaluation's budget; when that is spent, nothing is found any more.

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Sizer};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelNull, CelString, CelTimestamp, CelUInt, Kind, LIST_TYPE, MAP_TYPE, Type,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use chrono::DateTime;
use serde_json::{Map, Value};

use crate::access::condition::budget::Budget;
use crate::kernel::clock::Timestamp;

static LIST: Type = LIST_TYPE;
static MAP: Type = MAP_TYPE;

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// Who asks for something.
    Subject,
    /// What is to be done.
    Action,
    /// What to.
    Resource,
    /// What else the caller told.
    Context,
    /// The session that was shown.
    Session,
    /// The moment.
    Now,
}

impl Variable {
    /// Each with its name.
    const NAMES: [(&str, Self); 6] = [
        ("subject", Self::Subject),
        ("action", Self::Action),
        ("resource", Self::Resource),
        ("context", Self::Context),
        ("session", Self::Session),
        ("now", Self::Now),
    ];

    /// Whether it is asked part by part. The others are there as one value or not at all: of what cannot be read, nothing
    /// is taken for absent.
    const fn has_parts(self) -> bool {
        matches!(self, Self::Subject | Self::Action | Self::Resource | Self::Session)
    }
}

/// Where the variables of a condition are found.
pub trait Variables: Send + Sync + std::fmt::Debug {
    /// A variable as one value, if it is one.
    fn whole(&self, variable: Variable) -> Option<Datum<'_>>;

    /// What a variable has under this name.
    fn part(&self, variable: Variable, name: &str) -> Option<Datum<'_>>;
}

/// One value.
#[derive(Debug, Clone, Copy)]
pub enum Datum<'v> {
    /// A text.
    Text(&'v str),
    /// A time.
    Time(Timestamp),
    /// Whatever JSON says.
    Json(&'v Value),
    /// Texts.
    Texts(&'v [Box<str>]),
    /// An object of JSON, and what else there is where it says nothing.
    Layers(Option<&'v Map<String, Value>>, Option<&'v Map<String, Value>>),
    /// A variable that has parts.
    Parts(&'v dyn Variables, Variable),
}

/// The value under a path such as `subject.properties.department`.
pub fn find<'v>(variables: &'v dyn Variables, path: &str) -> Option<Datum<'v>> {
    let mut names = path.split('.');
    let first = names.next()?;
    let variable = Variable::NAMES.iter().find(|(name, _)| *name == first).map(|(_, variable)| *variable)?;
    let whole =
        variables.whole(variable).or_else(|| variable.has_parts().then_some(Datum::Parts(variables, variable)))?;
    names.try_fold(whole, Datum::member)
}

impl<'v> Datum<'v> {
    fn member(self, name: &str) -> Option<Self> {
        match self {
            Self::Json(Value::Object(object)) => object.get(name).map(Datum::Json),
            Self::Layers(over, under) => {
                let found = over.and_then(|object| object.get(name)).or_else(|| under?.get(name));
                found.map(Datum::Json)
            }
            Self::Parts(variables, variable) => variables.part(variable, name),
            _ => None,
        }
    }

    fn element(self, index: usize) -> Option<Self> {
        match self {
            Self::Json(Value::Array(list)) => list.get(index).map(Datum::Json),
            Self::Texts(texts) => texts.get(index).map(|text| Datum::Text(text)),
            _ => None,
        }
    }

    /// How many elements or members it has, if it can be said and the budget is enough.
    fn size(self, budget: &Budget) -> Option<usize> {
        match self {
            Self::Json(Value::Array(list)) => Some(list.len()),
            Self::Json(Value::Object(object)) => Some(object.len()),
            Self::Texts(texts) => Some(texts.len()),
            Self::Layers(Some(over), Some(under)) => {
                budget.spend(over.len() + 2 * under.len(), 0).then(|| self.keys().count())
            }
            Self::Layers(one, other) => Some(one.or(other).map_or(0, Map::len)),
            _ => None,
        }
    }

    /// The names of an object's members.
    fn keys(self) -> impl Iterator<Item = &'v String> {
        let (over, under) = match self {
            Self::Json(Value::Object(object)) => (Some(object), None),
            Self::Layers(over, under) => (over, under),
            _ => (None, None),
        };
        let is_new = move |key: &&String| over.is_none_or(|over| !over.contains_key(*key));
        over.into_iter().flat_map(Map::keys).chain(under.into_iter().flat_map(Map::keys).filter(is_new))
    }

    fn is_list(self) -> bool {
        matches!(self, Self::Json(Value::Array(_)) | Self::Texts(_))
    }

    /// As JSON, to be shown.
    pub fn shown(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Time(time) => time.to_string().into(),
            Self::Json(value) => value.clone(),
            Self::Texts(texts) => texts.iter().map(|text| Value::from(&**text)).collect(),
            Self::Layers(..) => {
                let members = self.keys().filter_map(|key| Some((key.clone(), self.member(key)?.shown())));
                Value::Object(members.collect())
            }
            Self::Parts(..) => Value::Null,
        }
    }

    /// The text that it is.
    fn text(self) -> Option<&'v str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether it is the same as a value of CEL.
    fn is(self, other: &dyn Val, budget: &'v Budget) -> bool {
        match self.text() {
            Some(text) => other.downcast_ref::<CelString>().is_some_and(|other| other.inner() == text),
            None => self.as_value(budget).equals(other),
        }
    }

    /// As a value of CEL that borrows, if the budget is enough.
    fn value<'b>(self, budget: &'v Budget) -> Option<CowVal<'b, 'v>> {
        budget.spend(1, self.text().map_or(0, str::len)).then(|| self.as_value(budget))
    }

    fn as_value<'b>(self, budget: &'v Budget) -> CowVal<'b, 'v> {
        match self {
            Self::Text(text) => CowVal::owned(CelString::from(text)),
            Self::Time(time) => match DateTime::from_timestamp_millis(time.millis()) {
                Some(time) => CowVal::owned(CelTimestamp::from(time.fixed_offset())),
                None => CowVal::owned(CelNull),
            },
            Self::Json(Value::Null) => CowVal::owned(CelNull),
            Self::Json(Value::Bool(value)) => CowVal::owned(CelBool::from(*value)),
            Self::Json(Value::String(text)) => CowVal::owned(CelString::from(text.as_str())),
            Self::Json(Value::Number(number)) => {
                if let Some(number) = number.as_i64() {
                    CowVal::owned(CelInt::from(number))
                } else if let Some(number) = number.as_u64() {
                    CowVal::owned(CelUInt::from(number))
                } else {
                    CowVal::owned(CelDouble::from(number.as_f64().unwrap_or(f64::NAN)))
                }
            }
            compound => CowVal::owned(Compound { datum: compound, budget }),
        }
    }
}

/// How CEL finds variables: it asks for the longest name first, `subject.properties.department`.
pub(super) struct Resolver<'v> {
    pub(super) variables: &'v dyn Variables,
    pub(super) budget: Budget,
}

impl VariableResolver for Resolver<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        find(self.variables, name)?.value(&self.budget)
    }
}

/// A list or an object.
#[derive(Debug, Clone, Copy)]
struct Compound<'v> {
    datum: Datum<'v>,
    budget: &'v Budget,
}

impl<'v> Compound<'v> {
    fn at(&self, index: &dyn Val) -> Option<Datum<'v>> {
        if let Some(name) = index.downcast_ref::<CelString>() {
            self.datum.member(name.inner())
        } else if let Some(number) = index.downcast_ref::<CelInt>() {
            self.datum.element(usize::try_from(*number.inner()).ok()?)
        } else if let Some(number) = index.downcast_ref::<CelUInt>() {
            self.datum.element(usize::try_from(*number.inner()).ok()?)
        } else {
            None
        }
    }
}

impl<'v> Val for Compound<'v> {
    fn get_type(&self) -> &Type {
        if self.datum.is_list() { &LIST } else { &MAP }
    }

    fn cel_type() -> &'static Type {
        &MAP
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        (!matches!(self.datum, Datum::Parts(..))).then_some(self as &dyn Sizer)
    }

    /// By looking into both: what the other is made of cannot be known.
    fn equals(&self, other: &dyn Val) -> bool {
        let size = self.datum.size(self.budget).filter(|size| self.budget.spend(*size, 0));
        let (Some(size), Some(sizer), Some(indexer)) = (size, other.as_sizer(), other.as_indexer()) else {
            return false;
        };
        if usize::try_from(*sizer.size().inner()) != Ok(size) {
            return false;
        }
        let is_same = |own: Option<Datum<'v>>, index: &dyn Val| {
            own.zip(indexer.get(index).ok()).is_some_and(|(own, theirs)| own.is(theirs.as_ref(), self.budget))
        };
        let datum = self.datum;
        match (datum.is_list(), other.get_type().kind()) {
            (true, Kind::List) => (0..size).all(|at| is_same(datum.element(at), &CelInt::from(at as i64))),
            (false, Kind::Map) => datum.keys().all(|key| is_same(datum.member(key), &CelString::from(key.as_str()))),
            _ => false,
        }
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(*self)
    }
}

impl Container for Compound<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        if !self.datum.is_list() {
            return Ok(self.at(value).is_some());
        }
        let size = self.datum.size(self.budget).filter(|size| self.budget.spend(*size, 0)).unwrap_or_default();
        Ok((0..size).filter_map(|at| self.datum.element(at)).any(|one| one.is(value, self.budget)))
    }
}

impl Sizer for Compound<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(self.datum.size(self.budget).unwrap_or_default() as i64)
    }
}

impl Indexer for Compound<'_> {
    fn get<'b, 'w>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.at(index).and_then(|found| found.value(self.budget)).ok_or_else(|| {
            let name = index.downcast_ref::<CelString>().map_or("", |name| name.inner());
            ExecutionError::no_such_key(name)
        })
    }

    fn steal<'w>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.get(index).map(CowVal::into_owned)
    }
}
