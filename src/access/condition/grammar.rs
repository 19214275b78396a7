//! What conditions may use of CEL, so that none costs much whatever it is asked about.
//!
//! At most 24 levels, no comprehensions, at most 8 additions (each copies texts); lists stand only to the right of `in`,
//! no maps or messages; the variables and functions that there are, and no others. What is compared with a literal costs
//! nothing to speak of; two values may be large, so at most 8 times two values are compared. How large they may be, and
//! how much of them one evaluation looks at, is bounded when it is made (`budget`). Functions that read a text as
//! something else take long for long ones: what they are given goes through `BRIEF`.

use cel::Env;
use cel::common::ast::operators::{
    ADD, CONDITIONAL, DIVIDE, EQUALS, GREATER, GREATER_EQUALS, IN, INDEX, LESS, LESS_EQUALS, LOGICAL_AND, LOGICAL_NOT,
    LOGICAL_OR, MODULO, MULTIPLY, NEGATE, NOT_EQUALS, SUBSTRACT,
};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo};

use crate::kernel::fault::Malformed;

/// How deep a condition may be.
pub const MAX_DEPTH: usize = 24;
/// How often it may add.
pub const MAX_ADDITIONS: usize = 8;

/// How often it may compare values that are both not written out, each of which may be large.
pub const MAX_COMPARISONS: usize = 8;

/// The longest text that is read as a number, a time or a time zone, in bytes.
pub const MAX_READ_BYTES: usize = 64;
/// The function that hands back what is no longer text than that. Its name can be written by nobody.
pub(super) const BRIEF: &str = "@brief";

/// The variables, and what each has; none: anything.
const VARIABLES: [(&str, Option<&[&str]>); 6] = [
    ("subject", Some(&["id", "type", "username", "email", "roles", "properties"])),
    ("action", Some(&["name", "properties"])),
    ("resource", Some(&["type", "id", "properties"])),
    ("context", None),
    ("session", Some(&["id", "authentication_methods", "authenticated_at", "created_at", "device", "risk"])),
    ("now", Some(&[])),
];
/// Names of types, for `type(x) == string`.
const TYPES: [&str; 8] = ["bool", "int", "uint", "double", "string", "list", "map", "null_type"];
const OPERATORS: [&str; 18] = [
    ADD,
    CONDITIONAL,
    DIVIDE,
    EQUALS,
    GREATER,
    GREATER_EQUALS,
    IN,
    INDEX,
    LESS,
    LESS_EQUALS,
    LOGICAL_AND,
    LOGICAL_NOT,
    LOGICAL_OR,
    MODULO,
    MULTIPLY,
    NEGATE,
    NOT_EQUALS,
    SUBSTRACT,
];
const ARITHMETIC: [&str; 6] = [ADD, DIVIDE, MODULO, MULTIPLY, NEGATE, SUBSTRACT];
/// Functions of one value.
const FUNCTIONS: [&str; 9] = ["size", "type", "bool", "int", "uint", "double", "string", "timestamp", "duration"];
/// Those of them that read texts.
const READING: [&str; 6] = ["bool", "int", "uint", "double", "timestamp", "duration"];
/// Functions of a value with one more: `text.startsWith("a")`.
const TEXT_FUNCTIONS: [&str; 3] = ["contains", "startsWith", "endsWith"];
/// Functions of a time, with or without a time zone.
const TIME_FUNCTIONS: [&str; 10] = [
    "getFullYear",
    "getMonth",
    "getDayOfYear",
    "getDayOfMonth",
    "getDate",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

/// Parses a text and checks it against the rules. Needs a large stack.
///
/// # Errors
/// With line and column.
pub(super) fn parse(environment: &Env, source: &str) -> Result<IdedExpr, Malformed> {
    let (mut expression, places) = environment.parser().parse_with_source_info(source).map_err(|errors| {
        let error = errors.errors.into_iter().next();
        let (line, column, what) = error.map_or((1, 1, "not CEL".into()), |one| (one.pos.0, one.pos.1, one.msg));
        Malformed(format!("line {line}, column {column}: {what}"))
    })?;
    let mut check = Check { source, places: &places, additions: 0, comparisons: 0 };
    check.walk(&expression, 1)?;
    if is_no_boolean(&expression.expr) {
        return Err(check.complaint(&expression, "a condition must be true or false"));
    }
    make_brief(&mut expression);
    Ok(expression)
}

/// Puts [`BRIEF`] around what is read as something else, at every depth.
fn make_brief(at: &mut IdedExpr) {
    match &mut at.expr {
        Expr::Select(select) => make_brief(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().for_each(make_brief),
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| make_brief(target));
            call.args.iter_mut().for_each(make_brief);
            let name = call.func_name.as_str();
            if READING.contains(&name) || TIME_FUNCTIONS.contains(&name) {
                for read in &mut call.args {
                    let given = std::mem::take(read);
                    read.id = given.id;
                    read.expr = Expr::Call(CallExpr { func_name: BRIEF.to_owned(), target: None, args: vec![given] });
                }
            }
        }
        _ => {}
    }
}

/// Adds the paths that an expression names: `subject.properties.department`.
pub(super) fn collect_paths(expression: &IdedExpr, paths: &mut Vec<String>) {
    match &expression.expr {
        Expr::Ident(name) if is_variable(name) => paths.push(name.clone()),
        Expr::Select(select) => match path(select) {
            Some(path) => paths.push(path.join(".")),
            None => collect_paths(&select.operand, paths),
        },
        Expr::Call(call) => {
            if let (INDEX, Some(path)) = (call.func_name.as_str(), indexed(call)) {
                paths.push(path);
            } else {
                call.target.iter().for_each(|target| collect_paths(target, paths));
                call.args.iter().for_each(|one| collect_paths(one, paths));
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|one| collect_paths(one, paths)),
        _ => {}
    }
}

/// `context["key"]` as a path.
fn indexed(call: &CallExpr) -> Option<String> {
    let [of, key] = call.args.as_slice() else { return None };
    let Expr::Literal(LiteralValue::String(key)) = &key.expr else { return None };
    let mut paths = Vec::new();
    collect_paths(of, &mut paths);
    match paths.as_slice() {
        [path] => Some(format!("{path}.{}", key.inner())),
        _ => None,
    }
}

/// The segments of a path that begins with a variable.
fn path(select: &SelectExpr) -> Option<Vec<&str>> {
    let mut segments = vec![select.field.as_str()];
    let mut operand = &select.operand.expr;
    loop {
        match operand {
            Expr::Ident(name) => segments.push(name),
            Expr::Select(inner) if !inner.test => {
                segments.push(&inner.field);
                operand = &inner.operand.expr;
                continue;
            }
            _ => return None,
        }
        segments.reverse();
        return Some(segments);
    }
}

/// Where a path begins.
fn beginning(at: &IdedExpr) -> &IdedExpr {
    match &at.expr {
        Expr::Select(select) => beginning(&select.operand),
        _ => at,
    }
}

fn is_variable(name: &str) -> bool {
    VARIABLES.iter().any(|(variable, _)| *variable == name)
}

/// What is a number, a text or a list, whatever the variables are.
fn is_no_boolean(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(literal) => !matches!(literal, LiteralValue::Boolean(_)),
        Expr::Call(call) => {
            let name = call.func_name.as_str();
            ARITHMETIC.contains(&name)
                || TIME_FUNCTIONS.contains(&name)
                || (FUNCTIONS.contains(&name) && name != "bool")
        }
        Expr::List(_) => true,
        _ => false,
    }
}

/// How often a call compares values that may both be large; one to the right of `in` is looked through whatever is sought.
fn comparisons(call: &CallExpr) -> usize {
    let is_value = |one: &&IdedExpr| !matches!(one.expr, Expr::Literal(_));
    match (call.func_name.as_str(), call.args.as_slice()) {
        (EQUALS | NOT_EQUALS, sides) => usize::from(sides.iter().all(|side| is_value(&side))),
        (IN, [_, IdedExpr { expr: Expr::List(list), .. }]) => list.elements.iter().filter(is_value).count(),
        (IN, _) => 1,
        _ => 0,
    }
}

struct Check<'a> {
    source: &'a str,
    places: &'a SourceInfo,
    additions: usize,
    comparisons: usize,
}

impl Check<'_> {
    fn complaint(&self, at: &IdedExpr, what: impl AsRef<str>) -> Malformed {
        let offset = self.places.offset_for(at.id).map_or(0, |(start, _)| start as usize);
        let before: String = self.source.chars().take(offset).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Malformed(format!("line {line}, column {column}: {}", what.as_ref()))
    }

    fn walk(&mut self, at: &IdedExpr, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(self.complaint(at, format!("a condition is at most {MAX_DEPTH} levels deep")));
        }
        match &at.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.ident(at, name),
            Expr::Select(select) => self.select(at, select, depth),
            Expr::Call(call) => self.call(at, call, depth),
            Expr::List(_) => Err(self.complaint(at, "a list can only stand to the right of `in`")),
            Expr::Map(_) => Err(self.complaint(at, "maps are not part of conditions")),
            Expr::Struct(_) => Err(self.complaint(at, "messages are not part of conditions")),
            Expr::Comprehension(_) => {
                Err(self.complaint(at, "all, exists, exists_one, filter and map are not part of conditions"))
            }
            Expr::Unspecified => Err(self.complaint(at, "not an expression")),
        }
    }

    fn ident(&self, at: &IdedExpr, name: &str) -> Result<(), Malformed> {
        match VARIABLES.iter().find(|(variable, _)| *variable == name) {
            Some((_, Some(fields))) if !fields.is_empty() => {
                Err(self.complaint(at, format!("say which part of {name}: {}", fields.join(", "))))
            }
            Some(_) => Ok(()),
            None if TYPES.contains(&name) => Ok(()),
            None => {
                let known: Vec<&str> = VARIABLES.iter().map(|(variable, _)| *variable).collect();
                Err(self.complaint(at, format!("there is no variable {name}; there are {}", known.join(", "))))
            }
        }
    }

    fn select(&mut self, at: &IdedExpr, select: &SelectExpr, depth: usize) -> Result<(), Malformed> {
        let Some(path) = path(select) else { return self.walk(&select.operand, depth + 1) };
        if depth + path.len() > MAX_DEPTH {
            return Err(self.complaint(at, format!("a condition is at most {MAX_DEPTH} levels deep")));
        }
        let (Some(root), Some(field)) = (path.first(), path.get(1)) else { return Ok(()) };
        match VARIABLES.iter().find(|(variable, _)| variable == root) {
            None => self.ident(beginning(at), root),
            Some((_, Some(fields))) if !fields.contains(field) => {
                let known = if fields.is_empty() { "nothing" } else { &*fields.join(", ") };
                Err(self.complaint(at, format!("{root} has no {field}; it has {known}")))
            }
            Some(_) => Ok(()),
        }
    }

    fn call(&mut self, at: &IdedExpr, call: &CallExpr, depth: usize) -> Result<(), Malformed> {
        let name = call.func_name.as_str();
        if name == ADD {
            self.additions += 1;
            if self.additions > MAX_ADDITIONS {
                return Err(self.complaint(at, format!("a condition adds at most {MAX_ADDITIONS} times")));
            }
        }
        let is_known = OPERATORS.contains(&name)
            || match (&call.target, call.args.len()) {
                (None, 1) => FUNCTIONS.contains(&name),
                (Some(_), 1) => TEXT_FUNCTIONS.contains(&name) || TIME_FUNCTIONS.contains(&name),
                (Some(_), 0) => name == "size" || TIME_FUNCTIONS.contains(&name),
                _ => false,
            };
        if !is_known {
            let what = format!("there is no function {name} of {} values", call.args.len() + call.target.iter().len());
            return Err(self.complaint(at, what));
        }
        self.comparisons += comparisons(call);
        if self.comparisons > MAX_COMPARISONS {
            let what = format!("a condition compares at most {MAX_COMPARISONS} times what is not written out in it");
            return Err(self.complaint(at, what));
        }
        call.target.iter().try_for_each(|target| self.walk(target, depth + 1))?;
        match call.args.as_slice() {
            [one, IdedExpr { expr: Expr::List(list), .. }] if name == IN => {
                self.walk(one, depth + 1)?;
                list.elements.iter().try_for_each(|element| self.walk(element, depth + 2))
            }
            args => args.iter().try_for_each(|one| self.walk(one, depth + 1)),
        }
    }
}
