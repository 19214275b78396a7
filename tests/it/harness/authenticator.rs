//! An authenticator in software: makes passkeys and signs with them, as WebAuthn level 3 says, or in the ways it forbids.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

/// The person was there, and it was verified that it was they.
const PRESENT_AND_VERIFIED: u8 = 0x05;
/// Copies of the key are kept elsewhere, and there may be.
const SYNCED: u8 = 0x18;
/// The authenticator's data holds a new key.
const HOLDS_KEY: u8 = 0x40;

/// A key pair, and how the browser and the authenticator that have it behave.
#[derive(Clone)]
pub(crate) struct Passkey {
    /// Its private half, in a form that can be copied.
    pub(crate) secret: Vec<u8>,
    /// Its id, which others may take for their own.
    pub(crate) id: Vec<u8>,
    /// What it was told to give back as its owner.
    pub(crate) owner: Option<Vec<u8>>,
    /// Of which site the page is.
    pub(crate) origin: String,
    /// Which domain it signs for.
    pub(crate) domain: String,
    /// How often it was used.
    pub(crate) counter: u32,
    /// How the person and the key were.
    pub(crate) flags: u8,
}

impl Passkey {
    /// A new one for whoever is asked to make one.
    pub(crate) fn new(options: &Value, origin: &str) -> Self {
        let secret = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        let secret = secret.as_ref().to_vec();
        let id = digest(&SHA256, &secret).as_ref().to_vec();
        let owner = BASE64.decode(options["user"]["id"].as_str().unwrap()).unwrap();
        let domain = options["rp"]["id"].as_str().unwrap().to_owned();
        Self { secret, id, owner: Some(owner), origin: origin.into(), domain, counter: 0, flags: PRESENT_AND_VERIFIED }
    }

    /// The same, whose authenticator does not count and keeps copies elsewhere.
    pub(crate) fn synced(self) -> Self {
        Self { flags: PRESENT_AND_VERIFIED | SYNCED, ..self }
    }

    /// What a browser answers that was asked for a new key: `RegistrationResponseJSON`.
    pub(crate) fn registration(&self, options: &Value) -> Value {
        let mut data = self.authenticator_data(HOLDS_KEY);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        data.extend(self.public_key());
        // CBOR: { "fmt": "none", "attStmt": {}, "authData": data }
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend(data);
        let client = self.client_data("webauthn.create", options);
        json!({
            "id": BASE64.encode(&self.id),
            "rawId": BASE64.encode(&self.id),
            "type": "public-key",
            "response": { "attestationObject": BASE64.encode(object), "clientDataJSON": BASE64.encode(client) },
        })
    }

    /// What a browser answers that was asked for a signature: `AuthenticationResponseJSON`.
    pub(crate) fn signature(&mut self, options: &Value) -> Value {
        if self.flags & SYNCED == 0 {
            self.counter += 1;
        }
        let (data, client) = (self.authenticator_data(0), self.client_data("webauthn.get", options));
        let signed = [&data[..], digest(&SHA256, &client).as_ref()].concat();
        let signature = self.pair().sign(&SystemRandom::new(), &signed).unwrap();
        json!({
            "id": BASE64.encode(&self.id),
            "rawId": BASE64.encode(&self.id),
            "type": "public-key",
            "response": {
                "authenticatorData": BASE64.encode(data),
                "clientDataJSON": BASE64.encode(client),
                "signature": BASE64.encode(signature),
                "userHandle": self.owner.as_ref().map(|owner| BASE64.encode(owner)),
            },
        })
    }

    fn pair(&self) -> EcdsaKeyPair {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.secret).unwrap()
    }

    fn authenticator_data(&self, more: u8) -> Vec<u8> {
        let mut data = digest(&SHA256, self.domain.as_bytes()).as_ref().to_vec();
        data.push(self.flags | more);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = &options["challenge"];
        let data = json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        data.to_string().into_bytes()
    }

    /// COSE (RFC 9053 section 7.1.1): `{ 1: 2, 3: -7, -1: 1, -2: x, -3: y }`.
    fn public_key(&self) -> Vec<u8> {
        let pair = self.pair();
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(32);
        [b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20", x, b"\x22\x58\x20", y].concat()
    }
}
