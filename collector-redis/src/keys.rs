//! The names of everything in Redis. docs/REDIS.md shows them to users.
//!
//! ```text
//! zonescope:hosts                               sorted set: host ids by last seen
//! zonescope:zones                               sorted set: zones by last seen
//! zonescope:{HOST}:host                         hash: the host, and how complete its frames are
//! zonescope:{HOST}:gaps                         stream: host frames that never came
//! zonescope:{HOST/ZONE}:zone                    hash: the zone, and where in its sequence we are
//! zonescope:{HOST/ZONE}:tables                  set: the tables that the zone has
//! zonescope:{HOST/ZONE}:latest:TABLE            hash: the values of the last tick
//! zonescope:{HOST/ZONE}:history:TABLE           stream: the values of the recent past
//! zonescope:{HOST/ZONE}:gaps                    stream: frames that never came
//! zonescope:{HOST/ZONE}:completeness            stream: of each minute, how many frames came and did not
//! zonescope:{HOST/ZONE}:tick                    channel: announces each tick
//! zonescope:collector:NAME                      hash: the collector itself
//! ```
//!
//! What stands in braces is the *tag*: Redis Cluster puts keys of one tag into one slot, so that one transaction writes
//! all of a zone. Names are escaped such that a tag ends where it seems to end, that its slash is the only one, and that
//! no name holds what glob patterns, shells or redis-cli take for something else.

use std::borrow::Cow;
use std::fmt::Write as _;

use zonescope_proto::FAMILIES;

/// The table of utilization, saturation and errors: derived, and stored like any other.
pub const USE_TABLE: &str = "use";

/// Makes the names of keys.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Every key begins with `prefix` and a colon.
    pub fn new(prefix: impl Into<String>) -> Self {
        Keys { prefix: prefix.into() }
    }

    /// Whether a prefix can be one: a brace in it would begin the tag.
    pub fn is_prefix(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    }

    /// Host ids by last seen.
    pub fn hosts(&self) -> String {
        format!("{}:hosts", self.prefix)
    }

    /// Zones (tags) by last seen.
    pub fn zones(&self) -> String {
        format!("{}:zones", self.prefix)
    }

    /// A key of the zone that has this tag: `zone`, `tables`, `gaps`, `completeness`, `tick`; or of a host, whose tag is its
    /// escaped id: `host`, `gaps`.
    pub fn of(&self, tag: &str, what: &str) -> String {
        format!("{}:{{{tag}}}:{what}", self.prefix)
    }

    /// The last values of a table.
    pub fn latest(&self, tag: &str, table: &str) -> String {
        format!("{}:{{{tag}}}:latest:{table}", self.prefix)
    }

    /// The recent past of a table.
    pub fn history(&self, tag: &str, table: &str) -> String {
        format!("{}:{{{tag}}}:history:{table}", self.prefix)
    }

    /// A collector.
    pub fn collector(&self, name: &str) -> String {
        format!("{}:collector:{}", self.prefix, escape(name))
    }
}

/// The tag of a zone: `HOST/ZONE`, both escaped. Of a host's own frames, whose zone has no name: `HOST/`.
pub fn tag(host_id: &str, zone: &str) -> String {
    format!("{}/{}", escape(host_id), escape(zone))
}

/// The escaped id of the host whose own frames have this tag; `None` for a zone's.
pub fn host_of(tag: &str) -> Option<&str> {
    tag.strip_suffix('/')
}

/// The name of a table of a user's own: escaped, and with `custom_` before it where one of ours has that name.
pub fn custom_table(name: &str) -> Cow<'_, str> {
    if name == USE_TABLE || FAMILIES.iter().any(|f| f.table == name) {
        return Cow::Owned(format!("custom_{name}"));
    }
    escape(name)
}

/// Percent-encodes whatever could end a tag, split a key, or be taken for a pattern or a quote: all but ASCII letters,
/// digits and `-_.~@+=,;!$&()^|<>#`.
pub fn escape(text: &str) -> Cow<'_, str> {
    encode(text, |b| b.is_ascii_alphanumeric() || b"-_.~@+=,;!$&()^|<>#".contains(&b))
}

/// The name of a row: its labels joined by `/`; a slash within a label, `%` and control characters are percent-encoded.
pub fn row_name<'a>(labels: impl Iterator<Item = Cow<'a, str>>) -> String {
    let mut name = String::new();
    for (place, label) in labels.enumerate() {
        if place > 0 {
            name.push('/');
        }
        name.push_str(&encode(&label, |b| b >= 0x20 && b != 0x7f && b != b'/' && b != b'%'));
    }
    name
}

fn encode(text: &str, plain: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if text.bytes().all(&plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    let mut buffer = [0; 4];
    for c in text.chars() {
        let bytes = c.encode_utf8(&mut buffer).bytes();
        if bytes.clone().all(&plain) {
            escaped.push(c);
        } else {
            for byte in bytes {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_zones_are_as_people_know_them() {
        let keys = Keys::new("zonescope");
        let tag = tag("44454c4c-3900", "web1.example");
        assert_eq!(keys.latest(&tag, "cpu"), "zonescope:{44454c4c-3900/web1.example}:latest:cpu");
        assert_eq!(keys.of("44454c4c-3900", "host"), "zonescope:{44454c4c-3900}:host");
    }

    #[test]
    fn what_would_end_a_tag_or_look_like_a_pattern_is_escaped() {
        assert_eq!(escape("a}b{c:d/e*f"), "a%7Db%7Bc%3Ad%2Fe%2Af");
        assert_eq!(escape("100%"), "100%25");
        assert_eq!(escape("Köln\r\n"), "K%C3%B6ln%0D%0A");
        assert_eq!(escape("dev-disk\\x2dby.mount"), "dev-disk%5Cx2dby.mount");
    }

    #[test]
    fn rows_are_named_by_their_labels() {
        let name = |labels: &[&'static str]| row_name(labels.iter().map(|l| Cow::Borrowed(*l)));
        assert_eq!(name(&["net0"]), "net0");
        assert_eq!(name(&["4711", "nginx: worker"]), "4711/nginx: worker");
        assert_eq!(name(&["a/b", "c"]), "a%2Fb/c");
    }

    #[test]
    fn a_users_table_never_takes_the_place_of_ours() {
        assert_eq!(custom_table("cpu"), "custom_cpu");
        assert_eq!(custom_table("use"), "custom_use");
        assert_eq!(custom_table("my cache"), "my%20cache");
    }

    #[test]
    fn a_prefix_holds_no_brace() {
        assert!(Keys::is_prefix("prod:zonescope"));
        assert!(!Keys::is_prefix("") && !Keys::is_prefix("a{b}") && !Keys::is_prefix("a b"));
    }

    proptest! {
        /// Redis takes what is between the first `{` and the first `}` after it, if that is not empty.
        #[test]
        fn the_tag_of_any_name_is_whole_and_its_own(a in ".{1,20}", b in ".{1,20}", c in ".{1,20}", d in ".{1,20}") {
            let (one, other) = (tag(&a, &b), tag(&c, &d));
            prop_assert_eq!((&a, &b) == (&c, &d), one == other);
            let key = Keys::new("p").latest(&one, "cpu");
            let open = key.find('{').unwrap();
            let close = key[open..].find('}').unwrap() + open;
            prop_assert_eq!(&key[open + 1..close], one.as_str());
            prop_assert_eq!(one.matches('/').count(), 1);
            prop_assert!(key.bytes().all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn rows_of_other_labels_have_other_names(a in ".{0,9}", b in ".{0,9}", c in ".{0,9}", d in ".{0,9}") {
            let name = |x: &str, y: &str| row_name([x.to_owned(), y.to_owned()].into_iter().map(Cow::Owned));
            prop_assert_eq!((&a, &b) == (&c, &d), name(&a, &b) == name(&c, &d));
        }
    }
}
