//! The document that describes the routes (OAS 3.1), made from the table of routes.

use std::any::type_name;

use serde_json::Value;
use utoipa::openapi::extensions::{Extensions, ExtensionsBuilder};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Components, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Content, HttpMethod, Info, OpenApi, Paths, Ref, RefOr, Required, Response, ResponseBuilder, SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};

use super::credential::COOKIE_NAME;
use super::idempotency;
use super::problem::Details;
use super::routes::{Route, Routes, Who};

/// The name of the answer to too many requests.
const TOO_MANY: &str = "TooManyRequests";

type NamedSchema = (String, RefOr<Schema>);

/// Why the routes cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// One would stand for both; `#[schema(as = …)]` gives another name.
    #[error("two schemas have the name {0}")]
    OneName(String),
    /// Something refers to a schema that is not there.
    #[error("there is no schema for {0}")]
    NoSchema(String),
    /// A default or an example has no JSON form.
    #[error("the document cannot be written: {0}")]
    NotJson(#[from] serde_json::Error),
}

/// What an answer has: its type, and the schema where there is one.
type Told = (&'static str, Option<Ref>);

/// What the document says about one route beside its method, path and callers.
#[derive(Default)]
pub struct Description {
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<(&'static str, Ref)>,
    pub(super) answers: Vec<(u16, Option<Told>)>,
    pub(super) is_hidden: bool,
    schemas: Vec<NamedSchema>,
}

impl Description {
    /// The reference to a type's schema, which goes into the document's components.
    pub(super) fn schema_of<T: ToSchema>(&mut self) -> Ref {
        let name = component_name::<T>();
        let reference = Ref::from_schema_name(&name);
        self.schemas.push((name, T::schema()));
        T::schemas(&mut self.schemas);
        reference
    }
}

/// A schema's name; a generic type's holds its arguments too, which `T::name()` leaves out.
fn component_name<T: ToSchema>() -> String {
    let arguments = type_name::<T>().split_once('<').map_or("", |(_, arguments)| arguments);
    arguments
        .split([',', '<', '>', ' '])
        .filter_map(|argument| argument.rsplit("::").next())
        .filter(|argument| !argument.is_empty() && !argument.starts_with('\''))
        .fold(T::name().into_owned(), |name, argument| name + "_" + argument)
}

/// The document: indented JSON, in an order that only a changed route changes.
///
/// # Errors
/// See [`DocumentError`].
pub fn document(routes: &Routes) -> Result<String, DocumentError> {
    let mut paths = Paths::new();
    let mut components = components();
    for route in routes.iter().filter(|route| !route.description.is_hidden) {
        let Some(method) = method(route) else { continue };
        let item = PathItem::new(method, operation(route));
        paths.paths.entry(without_patterns(route.path)).or_default().merge_operations(item);
        for (name, schema) in &route.description.schemas {
            let other = components.schemas.insert(name.clone(), schema.clone());
            if other.is_some_and(|other| other != *schema) {
                return Err(DocumentError::OneName(name.clone()));
            }
        }
    }
    let mut document = OpenApi::new(Info::new("Sesame", env!("CARGO_PKG_VERSION")), paths);
    document.components = Some(components);
    // By way of a value, whose maps are sorted: extensions are hash maps.
    let document = serde_json::to_value(&document)?;
    match dangling(&document, &document) {
        Some(reference) => Err(DocumentError::NoSchema(reference.to_owned())),
        None => Ok(serde_json::to_string_pretty(&document)?),
    }
}

/// A reference in a part of the document to something that it does not have.
fn dangling<'a>(part: &'a Value, document: &Value) -> Option<&'a str> {
    match part {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            let is_nowhere = |it: &&str| it.strip_prefix('#').is_none_or(|place| document.pointer(place).is_none());
            reference.filter(is_nowhere).or_else(|| members.values().find_map(|member| dangling(member, document)))
        }
        Value::Array(items) => items.iter().find_map(|item| dangling(item, document)),
        _ => None,
    }
}

fn components() -> Components {
    let mut components = Components::new();
    let mut schemas = vec![("Problem".to_owned(), Details::schema())];
    Details::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components.responses.insert(TOO_MANY.to_owned(), too_many().into());
    components.add_security_scheme("bearer", http(HttpAuthScheme::Bearer, "A session's token or an API key"));
    components.add_security_scheme("basic", http(HttpAuthScheme::Basic, "An API key as the password"));
    let cookie = ApiKeyValue::with_description(COOKIE_NAME, "A browser's session");
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    components
}

fn http(scheme: HttpAuthScheme, description: &str) -> SecurityScheme {
    SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(description)).build())
}

fn operation(route: &Route) -> utoipa::openapi::path::Operation {
    let description = &route.description;
    let mut operation = OperationBuilder::new()
        .operation_id(Some(operation_id(route)))
        .tag(tag(route.path))
        .parameters(Some(
            path_parameters(route.path)
                .chain(route.creates.then(idempotency::parameter))
                .chain(route.looks_at_if_match().then(if_match))
                .chain(route.looks_at_if_none_match().then(if_none_match))
                .chain(description.parameters.iter().cloned()),
        ))
        .extensions(Some(extensions(route)));
    if !description.summary.is_empty() {
        operation = operation.summary(Some(description.summary));
    }
    if let Some((content_type, schema)) = &description.body {
        let body = RequestBodyBuilder::new().content(*content_type, content(schema)).required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    for scheme in schemes(route.who) {
        operation = operation.security(SecurityRequirement::new(*scheme, [""; 0]));
    }
    for (status, told) in &description.answers {
        operation = operation.response(status.to_string(), answer(*status, told.as_ref()));
    }
    if route.cost > 0 {
        operation = operation.response("429", Ref::from_response_name(TOO_MANY));
    }
    if route.looks_at_if_match() {
        operation = operation.response("412", problem("It has another version than `If-Match` says"));
    }
    for (status, about) in route.creates.then_some(idempotency::PROBLEMS).into_iter().flatten() {
        operation = operation.response(status.to_string(), problem(about));
    }
    operation.response("default", problem("What went wrong")).build()
}

/// The version that a change is made on.
fn if_match() -> Parameter {
    in_header("If-Match", "The `ETag` of what is to be changed, as it was read: another version of it is left as it is")
}

/// Whether it must not be there yet.
fn if_none_match() -> Parameter {
    in_header("If-None-Match", "`*`: what is there already is left as it is")
}

fn in_header(name: &str, about: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// Who may call, and as how many requests a call counts.
fn extensions(route: &Route) -> Extensions {
    let extensions = ExtensionsBuilder::new().add("x-sesame-who", route.who.text());
    if route.cost > 1 { extensions.add("x-sesame-cost", route.cost) } else { extensions }.build()
}

/// The answer to too many requests.
fn too_many() -> Response {
    let header = |kind, about: &str| {
        HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(kind))).description(Some(about)).build()
    };
    problem("Too many requests of this person, application or address, or too many tries")
        .header("Retry-After", header(Type::Integer, "In so many seconds there is room again"))
        .header("RateLimit", header(Type::String, "What is left: `\"person\";r=0;t=1`"))
        .header(
            "RateLimit-Policy",
            header(Type::String, "What there is when nothing is used: `\"person\";q=2000;w=20`"),
        )
        .build()
}

fn problem(about: &str) -> ResponseBuilder {
    let schema = content(&Ref::from_schema_name("Problem"));
    ResponseBuilder::new().description(about).content("application/problem+json", schema)
}

fn answer(status: u16, told: Option<&Told>) -> ResponseBuilder {
    let status = actix_web::http::StatusCode::from_u16(status).ok();
    let response = ResponseBuilder::new().description(status.and_then(|it| it.canonical_reason()).unwrap_or_default());
    match told {
        Some((content_type, schema)) => response.content(*content_type, Content::new(schema.clone())),
        None => response,
    }
}

fn content(schema: &Ref) -> Content {
    Content::new(Some(schema.clone()))
}

const fn schemes(who: Who) -> &'static [&'static str] {
    match who {
        Who::Anyone => &[],
        Who::SignedIn | Who::SignedInRecently => &["bearer", "cookie"],
        Who::App => &["bearer", "basic"],
        Who::Holding(_) => &["bearer", "cookie", "basic"],
    }
}

fn method(route: &Route) -> Option<HttpMethod> {
    match route.method.as_str() {
        "GET" => Some(HttpMethod::Get),
        "POST" => Some(HttpMethod::Post),
        "PUT" => Some(HttpMethod::Put),
        "PATCH" => Some(HttpMethod::Patch),
        "DELETE" => Some(HttpMethod::Delete),
        _ => None,
    }
}

/// The path's segments that say something: `/api/v1/users/{user_id}` → `users`, `user_id`.
fn words(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    path.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').filter(|word| !word.is_empty())
}

/// `DELETE /api/v1/users/{user_id}` → `delete_users_user_id`.
fn operation_id(route: &Route) -> String {
    words(route.path).fold(route.method.as_str().to_ascii_lowercase(), |id, word| id + "_" + word)
}

fn tag(path: &str) -> String {
    words(path).next().unwrap_or("root").to_owned()
}

/// Names in braces, without the router's patterns.
fn path_parameters(path: &'static str) -> impl Iterator<Item = Parameter> {
    path.split('{').skip(1).filter_map(|rest| rest.split(['}', ':']).next()).map(|name| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .build()
    })
}

/// `/docs/{file:.*}` → `/docs/{file}`.
fn without_patterns(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut parts = path.split('{');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (parameter, rest) = part.split_once('}').unwrap_or((part, ""));
        let name = parameter.split_once(':').map_or(parameter, |(name, _)| name);
        plain.extend(["{", name, "}", rest]);
    }
    plain
}
