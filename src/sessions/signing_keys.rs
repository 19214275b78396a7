//! The keys that sign access tokens: Ed25519 (RFC 8037), one file each, readable by the owner alone.
//!
//! The file's name is when the key was made and its id, its JWK thumbprint (RFC 7638). The newest signs; all verify.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use zeroize::Zeroizing;

use crate::kernel::clock::Timestamp;

/// One key pair.
pub struct SigningKey {
    /// Its id: the JWK thumbprint.
    pub id: String,
    /// Signs.
    pub signer: EncodingKey,
    /// Verifies.
    pub verifier: DecodingKey,
    /// The public part, base64url (the JWK's `x`).
    pub public: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its file.
    pub path: PathBuf,
}

const SUFFIX: &str = ".pk8";

/// The keys in the folder, the newest first; none if there is no folder.
///
/// # Errors
/// When the folder or a file cannot be read, or a file is not a key.
pub fn load(folder: &Path) -> io::Result<Vec<SigningKey>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut keys = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(stem) = name.strip_suffix(SUFFIX) else { continue };
        let created_at = stem.split_once('.').and_then(|(millis, _)| millis.parse().ok()).map(Timestamp::from_millis);
        let bytes = Zeroizing::new(fs::read(&path)?);
        let not_a_key = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        // One of a version before times were part of the name is older than all others.
        keys.push(key_of(&bytes, created_at.unwrap_or_default(), path.clone()).map_err(not_a_key)?);
    }
    keys.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
    Ok(keys)
}

/// Makes a key that was made at this time, in a folder that is made if there is none.
///
/// # Errors
/// When the folder or the file cannot be written.
pub fn create(folder: &Path, now: Timestamp) -> io::Result<SigningKey> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let failed = |_| io::Error::other("no signing key could be made");
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    let document: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    let mut key = key_of(document.as_ref(), now, PathBuf::new())?;
    key.path = folder.join(format!("{}.{}{SUFFIX}", now.millis(), key.id));
    let draft = folder.join(format!("{}.tmp", key.id));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(document.as_ref())?;
    file.sync_all()?;
    fs::rename(&draft, &key.path)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(key)
}

fn key_of(document: &[u8], created_at: Timestamp, path: PathBuf) -> io::Result<SigningKey> {
    let pair = Ed25519KeyPair::from_pkcs8(document)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("not an Ed25519 key: {error}")))?;
    let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let thumbprint = digest(&SHA256, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public}"}}"#).as_bytes());
    Ok(SigningKey {
        id: URL_SAFE_NO_PAD.encode(thumbprint.as_ref()),
        signer: EncodingKey::from_ed_der(document),
        verifier: DecodingKey::from_ed_der(pair.public_key().as_ref()),
        public,
        created_at,
        path,
    })
}
