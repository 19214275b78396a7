//! Conditions and inputs that are to cost as much as they can: shared by the bench that looks for the worst time and by the
//! test that bounds their memory. All that one has is drawn from a list of numbers, so that a bad one can be told and
//! varied.

use std::sync::Arc;

use serde_json::{Map, Value};

use sesame::access::condition::budget::Allowance;
use sesame::access::condition::{Condition, MAX_SOURCE_BYTES, Truth};
use sesame::access::model::{Assignment, Bounds, Given, Role};
use sesame::access::part::AccessEvent;
use sesame::access::passed::{MAX_TOLD_BYTES, Passed, Standing, Told};
use sesame::access::pattern::{Effect, Scope};
use sesame::access::role_book::RoleBook;
use sesame::access::variables::{Asked, MAX_ROLES, View};
use sesame::accounts::model::{Account, MAX_PROPERTIES_BYTES, Nature, Properties, Status};
use sesame::accounts::part::AccountEvent;
use sesame::actor::aggregate::Aggregate as _;
use sesame::kernel::cause::Actor;
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::{RoleId, UserId};
use sesame::kernel::text::{RoleName, Username};
use sesame::kernel::weight::refuse_heavy;
use sesame::resources::model::{Known, Resource, ResourceName};
use sesame::sessions::terms::RoleTerms;
use sesame::store::Revision;
use sesame::user::{User, UserEvent};

/// What is repeated to fill an object: texts, elements of a list, members of a map.
const TEXTS: [&str; 12] =
    ["x", "a", "9", "0", "1h", "0.0000001ns", "é", "😀", "\\u0000", "\\\\", "ab", "2025-01-01T00:00:00Z"];
const ELEMENTS: [&str; 14] = [
    "0",
    "\"\"",
    "\"xxxxxxxx\"",
    "[0]",
    "[[0]]",
    "{\"\":0}",
    "{\"a\":{\"a\":0}}",
    "1.7976931348623157e308",
    "-9223372036854775808",
    "18446744073709551615",
    "null",
    "true",
    "\"😀\"",
    "5e-324",
];
/// Where conditions find what was filled.
const PATHS: [&str; 22] = [
    "context.a",
    "context.b",
    "context.c",
    "context['a']",
    "context",
    "subject.properties.a",
    "subject.properties.b",
    "subject.properties",
    "action.properties.a",
    "action.properties",
    "resource.properties.a",
    "resource.properties.b",
    "resource.properties",
    "resource.id",
    "subject.roles",
    "subject.id",
    "now",
    "context.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a",
    "context.a[0]",
    "session.risk.level",
    "9223372036854775807",
    "'x'",
];
/// Terms over paths, all of which are looked at when they stand beside each other.
const TERMS: [&str; 36] = [
    "P == Q",
    "P != P",
    "P in Q",
    "P in [Q, R]",
    "size(P) < 0",
    "P.size() < 0",
    "P.contains(Q)",
    "P.contains(P)",
    "P.startsWith(Q)",
    "P.endsWith(Q)",
    "P < Q",
    "P + Q == R",
    "(P + Q + R).contains(P + R)",
    "P + Q + R + P + Q + R + P + Q + R == 'x'",
    "double(P) < 0.0",
    "int(P) < 0",
    "uint(P) < uint(0)",
    "bool(P)",
    "duration(P) < duration('0s')",
    "timestamp(P) < now",
    "now.getHours(P) < 0",
    "string(P) == 'x'",
    "string(P).contains(Q)",
    "type(P) == list",
    "has(context.a.b)",
    "has(subject.properties.a)",
    "P[0] == 'x'",
    "P[Q] == 'x'",
    "P - Q < 0",
    "-P < 0",
    "P * 9223372036854775807 < 0",
    "P / 0 == 1",
    "P % 0 == 1",
    "(P ? Q : R) == 'x'",
    "!(!(!(!(P == 'x'))))",
    "P",
];

/// Numbers to draw from; behind the last come zeros.
pub(crate) struct Choices<'a>(pub std::slice::Iter<'a, u32>);

impl Choices<'_> {
    fn below(&mut self, bound: usize) -> usize {
        self.0.next().map_or(0, |number| *number as usize % bound.max(1))
    }

    fn of<T: Copy + Default>(&mut self, all: &[T]) -> T {
        let at = self.below(all.len());
        all.get(at).copied().unwrap_or_default()
    }
}

/// A condition, and all that it is asked about.
pub(crate) struct Hostile {
    /// Its text, as long as conditions may be.
    pub(crate) source: String,
    condition: Condition,
    user: User,
    book: RoleBook,
    told: [String; 4],
    resource_id: String,
    known: Resource,
}

/// The same, not asked yet: what was told is read when it is asked.
pub(crate) struct Fresh<'a> {
    hostile: &'a Hostile,
    passed: Passed,
}

impl Hostile {
    /// Draws one.
    pub(crate) fn draw(choices: &mut Choices<'_>) -> Option<Self> {
        let (source, condition) = condition(choices)?;
        let told = std::array::from_fn(|_| object(choices, MAX_TOLD_BYTES));
        let stored = properties(&object(choices, MAX_PROPERTIES_BYTES))?;
        let resource_id = choices.of(&TEXTS).repeat(choices.of(&[1, 1000, 50_000]));
        let of_resource = properties(&object(choices, MAX_PROPERTIES_BYTES))?;
        let (user, book) = subject(stored, choices.of(&[0, 1, 50, MAX_ROLES, MAX_ROLES + 1]))?;
        Some(Self { source, condition, user, book, told, resource_id, known: resource(of_resource)? })
    }

    /// Makes it ready to be asked once, as a check does whose body has arrived.
    pub(crate) fn fresh(&self) -> Option<Fresh<'_>> {
        let [subject, action, resource, context] = &self.told;
        let told = |text: &String| serde_json::from_str::<Told>(text).ok();
        let known = Arc::new(Known::new(Revision(1), Some(self.known.clone())));
        let passed = Passed {
            subject_properties: Some(told(subject)?),
            action_properties: Some(told(action)?),
            resource_properties: Some(told(resource)?),
            context: Some(told(context)?),
            resource_id: Some(self.resource_id.as_str().into()),
            standing: Some(Standing::at(known, Scope::everywhere())),
            ..Passed::default()
        };
        Some(Fresh { hostile: self, passed })
    }
}

impl Fresh<'_> {
    /// Asks the condition, with everything that comes with it.
    pub(crate) fn ask(&self) -> Truth {
        self.ask_within(&Allowance::whole())
    }

    /// Asks it again and again, as a check does that comes to so many like it, until no more may be looked at; how often.
    pub(crate) fn ask_until_spent(&self) -> usize {
        let Hostile { condition, user, book, .. } = self.hostile;
        let (scope, now) = (Scope::everywhere(), Timestamp::from_millis(1_700_000_000_000));
        let asked = Asked { passed: &self.passed, ..Asked::plain(user, "doc:read", &scope, now) };
        let (view, mut times) = (View::of(&asked, book, Effect::Allow), 0);
        while !asked.allowance.is_spent() {
            std::hint::black_box(condition.truth(&view, &asked.allowance));
            times += 1;
        }
        times
    }

    /// The same, as one of several conditions of a check.
    pub(crate) fn ask_within(&self, allowance: &Allowance) -> Truth {
        let Hostile { condition, user, book, .. } = self.hostile;
        let (scope, now) = (Scope::everywhere(), Timestamp::from_millis(1_700_000_000_000));
        let asked = Asked { passed: &self.passed, ..Asked::plain(user, "doc:read", &scope, now) };
        condition.truth(&View::of(&asked, book, Effect::Allow), allowance)
    }
}

/// As many terms as a condition can have, of one kind or of several.
fn condition(choices: &mut Choices<'_>) -> Option<(String, Condition)> {
    let is_mixed = choices.below(2) == 0;
    let term = {
        let kind = choices.of(&TERMS);
        move |choices: &mut Choices<'_>| {
            let mut text = if is_mixed { choices.of(&TERMS) } else { kind }.to_owned();
            for hole in ["P", "Q", "R"] {
                text = text.replace(hole, choices.of(&PATHS));
            }
            text
        }
    };
    let (mut source, mut last) = (String::from("false"), None);
    let mut misses = 0;
    while misses < 4 {
        let longer = format!("{source} || {}", term(choices));
        match Condition::parse(&longer).ok().filter(|_| longer.len() <= MAX_SOURCE_BYTES) {
            Some(condition) => (source, last) = (longer, Some(condition)),
            None => misses += 1,
        }
    }
    Some((source, last?))
}

/// A JSON object of at most so many bytes, and no heavier than allowed: three members that share the room.
fn object(choices: &mut Choices<'_>, most_bytes: usize) -> String {
    let share = choices.of(&[most_bytes - 100, most_bytes / 2 - 50, most_bytes / 3 - 50]);
    let mut left = most_bytes - 50;
    let mut members = Vec::new();
    for name in ["a", "b", "c"] {
        let room = share.min(left.saturating_sub(20));
        let value = value(choices, room);
        left = left.saturating_sub(value.len() + 6);
        members.push((name, value));
    }
    // What is too heavy goes, the last first: what is left is as heavy as it can be.
    loop {
        let written: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let text = format!("{{{}}}", written.join(","));
        if members.is_empty() || (text.len() <= most_bytes && refuse_heavy(&text).is_ok()) {
            return text;
        }
        members.pop();
    }
}

/// A JSON value of at most so many bytes: one text, or one list, or members, or depth.
fn value(choices: &mut Choices<'_>, room: usize) -> String {
    let heavy = |text: &String| refuse_heavy(&format!("{{\"a\":{text}}}")).is_err();
    let filled = |make: &dyn Fn(usize) -> String| {
        let mut count = 8192;
        while count > 0 && (make(count).len() > room || heavy(&make(count))) {
            count = count * 9 / 10;
        }
        make(count)
    };
    match choices.below(6) {
        0 | 1 => {
            let piece = choices.of(&TEXTS);
            format!("\"{}\"", piece.repeat(room.saturating_sub(2) / piece.len()))
        }
        2 | 3 => {
            let piece = choices.of(&ELEMENTS);
            filled(&|count| format!("[{}]", vec![piece; count].join(",")))
        }
        4 => {
            let piece = choices.of(&ELEMENTS);
            let member = |number: usize| format!("\"{number}\":{piece}");
            filled(&|count| format!("{{{}}}", (0..count).map(member).collect::<Vec<_>>().join(",")))
        }
        _ => {
            let depth = 100.min(room / 6);
            format!("{}0{}", "{\"a\":".repeat(depth), "}".repeat(depth))
        }
    }
}

fn properties(text: &str) -> Option<Properties> {
    Properties::of(&serde_json::from_str::<Map<String, Value>>(text).ok()?).ok()
}

fn resource(properties: Properties) -> Option<Resource> {
    let at = Timestamp::from_millis(0);
    Some(Resource {
        name: ResourceName::of("doc", "1")?,
        parent: None,
        scope: Scope::everywhere(),
        properties,
        created_at: at,
        updated_at: at,
        version: 1,
    })
}

/// Somebody with a role that inherits from so many others.
fn subject(properties: Properties, roles: usize) -> Option<(User, RoleBook)> {
    let at = Timestamp::from_millis(0);
    let ids: Vec<RoleId> = (0..roles).map(|_| RoleId::generate(at)).collect();
    let mut made = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        made.push(Role {
            id: *id,
            name: RoleName::parse(&format!("role{number}")).ok()?,
            description: None,
            parent_role_ids: ids.get(number + 1).copied().into_iter().collect(),
            rules: Vec::new(),
            is_active: true,
            is_built_in: false,
            session_terms: RoleTerms::default(),
            created_at: at,
            updated_at: at,
            version: 1,
        });
    }
    let account = Account {
        nature: Nature::Person,
        username: Username::parse("ann").ok()?,
        email: None,
        is_email_verified: false,
        external_id: None,
        status: Status::Active,
        properties,
        created_at: at,
        updated_at: at,
        version: 1,
    };
    let mut user = User::vacant(UserId::generate(at));
    user.apply(&UserEvent::Account(AccountEvent::Created { account, credential: None }));
    if let Some(first) = ids.first() {
        let given = Given::silently(Actor::System, at);
        let assignment = Assignment { role_id: *first, bounds: Bounds::default(), given };
        user.apply(&UserEvent::Access(AccessEvent::RoleAssigned(assignment)));
    }
    Some((user, RoleBook::of(Vec::new(), made)))
}
