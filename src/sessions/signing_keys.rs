//! The keys that sign access tokens: Ed25519 (RFC 8037), one file each, readable by the owner alone.
//!
//! The file's name is the key's id, its JWK thumbprint (RFC 7638). The newest file signs; every file verifies.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use zeroize::Zeroizing;

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
}

const SUFFIX: &str = ".pk8";

/// The keys in the folder, the newest first; makes the folder and a first key if there is none.
///
/// # Errors
/// When the folder or a file cannot be read or written, or a file is not a key.
pub fn load_or_create(folder: &Path) -> io::Result<Vec<SigningKey>> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(SUFFIX) {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort();
    if files.is_empty() {
        return Ok(vec![create(folder)?]);
    }
    files
        .into_iter()
        .rev()
        .map(|(_, path)| {
            let bytes = Zeroizing::new(fs::read(&path)?);
            let not_a_key = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            key_of(&bytes).map_err(not_a_key)
        })
        .collect()
}

fn create(folder: &Path) -> io::Result<SigningKey> {
    let failed = |_| io::Error::other("no signing key could be made");
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    let document: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    let key = key_of(document.as_ref())?;
    let (path, draft) = (folder.join(format!("{}{SUFFIX}", key.id)), folder.join("new-key.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(document.as_ref())?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(key)
}

fn key_of(document: &[u8]) -> io::Result<SigningKey> {
    let pair = Ed25519KeyPair::from_pkcs8(document)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("not an Ed25519 key: {error}")))?;
    let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let thumbprint = digest(&SHA256, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public}"}}"#).as_bytes());
    Ok(SigningKey {
        id: URL_SAFE_NO_PAD.encode(thumbprint.as_ref()),
        signer: EncodingKey::from_ed_der(document),
        verifier: DecodingKey::from_ed_der(pair.public_key().as_ref()),
        public,
    })
}
