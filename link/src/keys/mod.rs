//! Who may listen in: key pairs of CURVE (RFC 26), and the public keys that are let in.
//!
//! A key is 32 bytes, written as 40 characters of Z85 (RFC 32), as `zmq_curve_keypair` writes it and every ZeroMQ binding
//! reads it. The public half is also the fingerprint: there is nothing shorter to compare.
//!
//! Secrets are overwritten when they are dropped, and no `Debug` shows them. The copies that a socket works with
//! are overwritten as well (omq-proto's `CurveSecretKey`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use omq_proto::proto::z85;
use omq_proto::{CurveKeypair, CurvePublicKey, CurveSecretKey};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Characters of a key as text: five for four bytes.
pub const KEY_CHARS: usize = KEY_BYTES / 4 * 5;

/// Why a text is no key. Never shows the text: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too short or too long.
    #[error("a key has {KEY_CHARS} characters, and this has {0}")]
    Length(usize),
    /// Of the right length, but not what 32 bytes become.
    #[error("this is no key: {KEY_CHARS} characters of Z85 are, as `keys show` and zmq_curve_keypair write them")]
    Text,
}

/// The half of a pair that anybody may know. Its text is its fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// The key of these bytes, as CURVE carries them.
    pub(crate) fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        PublicKey(bytes)
    }

    /// For a socket.
    pub(crate) fn for_codec(&self) -> CurvePublicKey {
        CurvePublicKey::from_bytes(self.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&z85::encode(&self.0).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Ok(PublicKey(*parse(text)?))
    }
}

/// A key pair: who we are.
pub struct Pair {
    public: PublicKey,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

impl Pair {
    /// A new one, out of the system's random numbers.
    pub fn generate() -> Self {
        let made = CurveKeypair::generate();
        Pair { public: PublicKey(*made.public.as_bytes()), secret: Zeroizing::new(*made.secret.as_bytes()) }
    }

    /// The pair of a secret that [`Pair::secret_text`] wrote. The public half follows from it.
    ///
    /// # Errors
    /// Where it is no key.
    pub fn from_secret_text(text: &str) -> Result<Self, KeyError> {
        let secret = parse(text)?;
        let public = PublicKey(*CurveSecretKey::from_bytes(*secret).derive_public().as_bytes());
        Ok(Pair { public, secret })
    }

    /// The half to give away.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The half to keep, as text: for the file that holds it, and nothing else.
    pub fn secret_text(&self) -> Zeroizing<String> {
        // 32 bytes always become text.
        Zeroizing::new(z85::encode(self.secret.as_slice()).unwrap_or_default())
    }

    /// For a socket. Overwritten when dropped, as this is.
    pub(crate) fn for_codec(&self) -> CurveKeypair {
        CurveKeypair { public: self.public.for_codec(), secret: CurveSecretKey::from_bytes(*self.secret) }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pair({}, secret)", self.public)
    }
}

fn parse(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let length = text.chars().count();
    if length != KEY_CHARS {
        return Err(KeyError::Length(length));
    }
    let bytes = Zeroizing::new(z85::decode(text).map_err(|_| KeyError::Text)?);
    let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Text)?;
    Ok(Zeroizing::new(key))
}

/// The public keys that are let in, each with the name of its owner. Clones share one set: what [`Authorised::replace`]
/// changes, every endpoint that was bound with it sees at once, and closes the connections of keys that are gone.
#[derive(Clone)]
pub struct Authorised(Arc<watch::Sender<BTreeMap<PublicKey, String>>>);

impl Authorised {
    /// Lets in these.
    pub fn new(keys: BTreeMap<PublicKey, String>) -> Self {
        Authorised(Arc::new(watch::Sender::new(keys)))
    }

    /// From now on lets in these and nobody else.
    pub fn replace(&self, keys: BTreeMap<PublicKey, String>) {
        self.0.send_replace(keys);
    }

    /// Whose key it is; `None` for one that is not let in.
    pub fn name(&self, key: &PublicKey) -> Option<String> {
        self.0.borrow().get(key).cloned()
    }

    /// How many keys are let in.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Nobody is let in.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Wakes whoever serves when the set was replaced.
    pub(crate) fn changes(&self) -> watch::Receiver<BTreeMap<PublicKey, String>> {
        self.0.subscribe()
    }
}

impl fmt::Debug for Authorised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.borrow().iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of zmq_curve_publickey(3).
    const SECRET: &str = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";
    const PUBLIC: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

    #[test]
    fn a_pair_of_libzmq_is_read_and_its_public_half_follows() {
        let pair = Pair::from_secret_text(SECRET).unwrap();
        assert_eq!(*pair.secret_text(), SECRET);
        assert_eq!(pair.public().to_string(), PUBLIC);
    }

    #[test]
    fn a_key_survives_being_written_and_read() {
        let pair = Pair::generate();
        assert_eq!(pair.public().to_string().parse(), Ok(pair.public()));
        let again = Pair::from_secret_text(&pair.secret_text()).unwrap();
        assert_eq!((again.public(), again.secret_text()), (pair.public(), pair.secret_text()));
        assert_ne!(Pair::generate().public(), pair.public());
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_one_looks_like() {
        assert_eq!("abc".parse::<PublicKey>(), Err(KeyError::Length(3)));
        // Outside of the alphabet, and above what four bytes hold.
        assert_eq!("~".repeat(KEY_CHARS).parse::<PublicKey>(), Err(KeyError::Text));
        assert_eq!("#".repeat(KEY_CHARS).parse::<PublicKey>(), Err(KeyError::Text));
        assert_eq!("ü".repeat(KEY_CHARS).parse::<PublicKey>(), Err(KeyError::Text));
    }

    #[test]
    fn a_secret_is_not_in_what_debug_shows() {
        let pair = Pair::generate();
        let shown = format!("{pair:?}");
        assert!(shown.contains(&pair.public().to_string()) && !shown.contains(pair.secret_text().as_str()));
    }

    #[test]
    fn every_clone_sees_that_a_key_was_taken_away() {
        let key = Pair::generate().public();
        let authorised = Authorised::new(BTreeMap::from([(key, "web".to_owned())]));
        let (clone, mut changes) = (authorised.clone(), authorised.changes());
        assert_eq!(clone.name(&key).as_deref(), Some("web"));
        authorised.replace(BTreeMap::new());
        assert_eq!(clone.name(&key), None);
        assert!(changes.has_changed().unwrap() && changes.borrow_and_update().is_empty() && clone.is_empty());
    }
}
