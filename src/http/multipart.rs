//! A file that was sent in a form (`multipart/form-data`, RFC 7578).

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Bytes;
use futures_util::stream;
use multer::Multipart;
use utoipa::PartialSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};

use super::body::Body;
use super::input::Input;
use super::openapi::Description;
use super::problem::Problem;
use crate::kernel::fault::FieldError;

/// A form with one file, not yet looked into.
#[derive(Debug)]
pub struct Upload {
    bytes: Bytes,
    boundary: String,
}

impl Input for Upload {
    const READS_BODY: bool = true;

    fn parse(request: &HttpRequest, body: &Body) -> Result<Self, Problem> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = content_type.and_then(|value| multer::parse_boundary(value).ok()).ok_or_else(|| {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Problem::new(status, "unsupported-content-type", "expected a body of type multipart/form-data")
        })?;
        Ok(Self { bytes: body.bytes.clone(), boundary })
    }

    fn describe(description: &mut Description) {
        description.body = Some(("multipart/form-data", description.schema_of::<UploadSchema>()));
    }
}

impl Upload {
    /// The content of the only field, which has this name. Its file name and type are not looked at.
    ///
    /// # Errors
    /// 400 when the form is malformed, or is another one.
    pub async fn file(self, name: &'static str) -> Result<Bytes, Problem> {
        let malformed = |error: multer::Error| {
            Problem::new(StatusCode::BAD_REQUEST, "malformed-form", format!("the form cannot be read: {error}"))
        };
        let whole = stream::once(async move { Ok::<_, std::convert::Infallible>(self.bytes) });
        let mut form = Multipart::new(whole, self.boundary);
        let wrong = || Problem::invalid(vec![FieldError::new(name, format!("expected one file in the field {name}"))]);
        let field = form.next_field().await.map_err(malformed)?.filter(|field| field.name() == Some(name));
        let content = field.ok_or_else(wrong)?.bytes().await.map_err(malformed)?;
        if form.next_field().await.map_err(malformed)?.is_some() {
            return Err(wrong());
        }
        Ok(content)
    }
}

/// A form with a file in it.
struct UploadSchema;

impl PartialSchema for UploadSchema {
    fn schema() -> RefOr<Schema> {
        let binary =
            ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
        ObjectBuilder::new().property("avatar", binary).required("avatar").into()
    }
}

impl utoipa::ToSchema for UploadSchema {
    fn name() -> std::borrow::Cow<'static, str> {
        "Upload".into()
    }
}
