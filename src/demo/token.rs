//! Signs tenant tokens as an application's login service would: a JWT with HS256 (RFC 7515, RFC 7519).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How long a token of the demo holds.
const VALID: Duration = Duration::from_secs(3600);

/// A token for `tenant`, signed with the key that the demo's configuration calls `demo`.
pub(super) fn sign(key: &[u8], tenant: &str) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let expires = now.checked_add(VALID)?.as_secs();
    let header = serde_json::json!({ "alg": "HS256", "kid": "demo" });
    let claims = serde_json::json!({ "tenant": tenant, "exp": expires });
    let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(signed.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    Some(format!("{signed}.{signature}"))
}
