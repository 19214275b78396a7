//! Conditions of rules and permissions: CEL expressions over what a check is about.
//!
//! A condition is compiled when it is written or loaded, never when it is asked: `grammar` refuses what could cost much,
//! `datum` is what a condition can look at, `budget` how much of it. Must not know users, roles or requests.

pub mod budget;
pub mod datum;
pub mod grammar;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::{Arc, LazyLock};
use std::thread;

use cel::common::ast::IdedExpr;
use cel::common::types::{CelBool, CelString, DYN_TYPE};
use cel::common::value::CowVal;
use cel::{Context, Env, ExecutionError, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::access::condition::budget::{Allowance, MAX_LOOKED_AT_BYTES, MAX_TOGETHER_BYTES};
use crate::access::condition::datum::{Datum, Resolver, Variables};
use crate::kernel::fault::Malformed;

/// The longest condition, in bytes.
pub const MAX_SOURCE_BYTES: usize = 1024;
/// The parser goes down about nine functions for each level of nesting.
const PARSER_STACK_BYTES: usize = 32 << 20;

/// The standard functions of CEL without its optional values, and what keeps long texts from being read as numbers.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib().with_optional_support(false);
    // It is the only one of its name.
    environment.add_overload(grammar::BRIEF, grammar::BRIEF, vec![DYN_TYPE], brief).ok();
    Arc::new(environment)
});

/// Hands back what is no long text.
fn brief<'b, 'v>(mut values: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = values.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    match value.downcast_ref::<CelString>() {
        Some(text) if text.inner().len() > grammar::MAX_READ_BYTES => {
            let what = format!("a text of more than {} bytes is no number, time or zone", grammar::MAX_READ_BYTES);
            Err(ExecutionError::function_error("read", what))
        }
        _ => Ok(value),
    }
}

/// One condition. Clones share what was compiled; two are equal when their texts are.
#[derive(Clone)]
pub struct Condition(Arc<Compiled>);

struct Compiled {
    source: Box<str>,
    /// Without one, the text was stored by a version that understood it: it can only err.
    program: Option<IdedExpr>,
}

/// Why a condition is neither true nor false.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConditionError {
    /// A value is missing or of another type, or a function failed.
    #[error("{0}")]
    Failed(Box<ExecutionError>),
    /// Its value is no boolean.
    #[error("the condition is not a boolean")]
    NotBoolean,
    /// There is more to look at than an evaluation may.
    #[error("the condition looks at more than {MAX_LOOKED_AT_BYTES} bytes")]
    TooMuch,
    /// There is more to look at than the conditions of one check may together.
    #[error("the conditions of this check look at more than {MAX_TOGETHER_BYTES} bytes together")]
    TooMuchTogether,
    /// This version of the program does not understand its text.
    #[error("this version does not understand the condition")]
    Unreadable,
}

/// What a condition comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It is true.
    Holds,
    /// It is false.
    Fails,
    /// It could not be evaluated.
    Errs,
}

impl Condition {
    /// Compiles a condition. Takes about a tenth of a millisecond: not for actors or workers.
    ///
    /// # Errors
    /// With line and column where the text is no CEL or goes beyond what conditions may use.
    pub fn parse(source: &str) -> Result<Self, Malformed> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(Malformed(format!("expected at most {MAX_SOURCE_BYTES} bytes, found {}", source.len())));
        }
        let program = Some(compiled(source)?);
        Ok(Self(Arc::new(Compiled { source: source.into(), program })))
    }

    /// A condition that was stored: one that cannot be compiled any more stays, and errs.
    fn restored(source: &str) -> Self {
        Self::parse(source).unwrap_or_else(|_| Self(Arc::new(Compiled { source: source.into(), program: None })))
    }

    /// The text.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether it is true of these variables, within what the conditions of one check may look at together.
    ///
    /// # Errors
    /// When it is neither true nor false.
    pub fn evaluate(&self, variables: &dyn Variables, allowance: &Allowance) -> Result<bool, ConditionError> {
        let program = self.0.program.as_ref().ok_or(ConditionError::Unreadable)?;
        let budget = allowance.budget(self.source().len()).ok_or(ConditionError::TooMuchTogether)?;
        let resolver = Resolver { variables, budget };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&resolver);
        let value = Value::resolve_val(program, &context);
        allowance.settle(&resolver.budget);
        // Whatever came of it: some of what should have been looked at was not.
        if resolver.budget.is_spent() {
            let is_together = allowance.is_spent();
            return Err(if is_together { ConditionError::TooMuchTogether } else { ConditionError::TooMuch });
        }
        let value = value.map_err(|error| ConditionError::Failed(Box::new(error)))?;
        value.downcast_ref::<CelBool>().map(|value| *value.inner()).ok_or(ConditionError::NotBoolean)
    }

    /// The same in one word.
    pub fn truth(&self, variables: &dyn Variables, allowance: &Allowance) -> Truth {
        match self.evaluate(variables, allowance) {
            Ok(true) => Truth::Holds,
            Ok(false) => Truth::Fails,
            Err(_) => Truth::Errs,
        }
    }

    /// Every value it names, such as `resource.properties.owner`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        if let Some(program) = &self.0.program {
            grammar::collect_paths(program, &mut paths);
        }
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Every value it names and what it is; none: there is no such value.
    pub fn values_read<'v>(&self, variables: &'v dyn Variables) -> Vec<(String, Option<Datum<'v>>)> {
        self.paths().into_iter().map(|path| (path.clone(), datum::find(variables, &path))).collect()
    }
}

/// Parses on a thread of its own, whose stack is large.
fn compiled(source: &str) -> Result<IdedExpr, Malformed> {
    let parse = |text: String| {
        let thread = thread::Builder::new().name("sesame-condition".into()).stack_size(PARSER_STACK_BYTES);
        thread.spawn(move || grammar::parse(&ENVIRONMENT, &text))
    };
    let unparsed = |error: Option<io::Error>| {
        let why = error.map_or_else(String::new, |error| format!(": {error}"));
        Malformed(format!("the condition could not be parsed{why}"))
    };
    let thread = parse(source.to_owned()).map_err(|error| unparsed(Some(error)))?;
    thread.join().unwrap_or_else(|_| Err(unparsed(None)))
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.source == other.0.source
    }
}

impl Eq for Condition {}

impl Hash for Condition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.source.hash(state);
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source()).finish()
    }
}

/// As its text.
impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.source())
    }
}

/// From a record; what callers write is parsed off their way, see `http/drafts`.
impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::restored(&std::borrow::Cow::<'de, str>::deserialize(deserializer)?))
    }
}
