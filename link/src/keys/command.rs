//! The subcommand `keys`, of every program: makes, shows, trusts and revokes keys.
//!
//! A generator lets in keys by a name, a collector knows the key of each generator by its endpoint. Both are files
//! ([`keyring`](super::keyring)), and a program that runs reads them again when it is told to.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::PublicKey;
use super::arguments::{Authorize, CollectorKeys, Forget, GeneratorKeys, Know, New, Revoke};
use super::error::KeysError;
use super::files::{Entry, Folder, check_name};
use super::keyring::{Keyring, place};
use crate::exit::Usage;
use crate::format::Format;
use crate::transport::check_endpoint;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A file.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The command line. Not transparent: exit codes are found in the chain of causes.
    #[error("{0}")]
    Usage(#[from] Usage),
}

/// Whose keys: the role (`generator`, ...), and where they are.
#[derive(Debug, Clone)]
pub struct Owner<'a> {
    /// Part of the names of its program and its files.
    pub role: &'a str,
    /// Its keys.
    pub keyring: Keyring,
}

impl Owner<'_> {
    /// Does what a generator was asked.
    ///
    /// # Errors
    /// Where a file is wrong or cannot be written, or nobody is called that.
    pub fn generator(&self, command: &GeneratorKeys, out: &mut impl Write) -> Result<(), CommandError> {
        match command {
            GeneratorKeys::New(new) => self.new_pair(new, out),
            GeneratorKeys::Show(show) => self.show("authorized", self.keyring.all_authorized()?, show.format, out),
            GeneratorKeys::Authorize(Authorize { key, name, endpoint, comment, format }) => {
                endpoint.as_deref().map_or(Ok(()), check_name)?;
                let entry = given(key, comment.as_deref())?;
                let path = self.keyring.authorized(endpoint.as_deref()).put(name, &entry)?;
                let place = endpoint.as_deref().map_or(String::new(), |endpoint| format!(" at {endpoint}"));
                self.say(*format, out, &[&path], &format!("{name} may subscribe{place}: {}", entry.key));
                Ok(())
            }
            GeneratorKeys::Revoke(Revoke { who, endpoint, format }) => {
                endpoint.as_deref().map_or(Ok(()), check_name)?;
                let lists = match endpoint {
                    Some(_) => vec![self.keyring.authorized(endpoint.as_deref())],
                    None => self.keyring.all_authorized()?.into_iter().map(|(_, list)| list).collect(),
                };
                self.remove(&lists, who, who, *format, out)
            }
        }
    }

    /// Does what a collector was asked.
    ///
    /// # Errors
    /// Where a file is wrong or cannot be written, or nobody is known there.
    pub fn collector(&self, command: &CollectorKeys, out: &mut impl Write) -> Result<(), CommandError> {
        match command {
            CollectorKeys::New(new) => self.new_pair(new, out),
            CollectorKeys::Show(show) => self.show("known", vec![(None, self.keyring.known())], show.format, out),
            CollectorKeys::Authorize(Know { endpoint, key, comment, format }) => {
                check_endpoint(endpoint).map_err(|error| Usage(error.to_string()))?;
                let entry = given(key, comment.as_deref())?;
                let pair = match self.keyring.pair()? {
                    Some(pair) => pair,
                    None => self.keyring.make_pair(&self.comment())?,
                };
                let path = self.keyring.known().put(&place(endpoint), &entry)?;
                let said = format!(
                    "{endpoint} is spoken to encrypted, and only if it has the key {}\n\
                     there, let us in: zonescope-generator keys authorize '{}' --name {}",
                    entry.key,
                    pair.public(),
                    node_name(),
                );
                self.say(*format, out, &[&path], &said);
                Ok(())
            }
            CollectorKeys::Revoke(Forget { who, format }) => {
                self.remove(&[self.keyring.known()], who, &place(who), *format, out)
            }
        }
    }

    fn comment(&self) -> String {
        format!("zonescope-{}@{}", self.role, node_name())
    }

    fn new_pair(&self, new: &New, out: &mut impl Write) -> Result<(), CommandError> {
        let comment = new.comment.clone().unwrap_or_else(|| self.comment());
        one_line(&comment)?;
        let public = self.keyring.make_pair(&comment)?.public();
        match new.format {
            // The key and nothing else: it is given to other commands.
            Format::Text => print(out, &format!("{public}\n")),
            Format::Json => print(out, &format!("{}\n", self.as_json(Some(public)))),
        }
        Ok(())
    }

    /// Prints our public key, and these lists of others: `what` they are, each with the endpoint that it is of.
    fn show(
        &self,
        what: &str,
        lists: Vec<(Option<String>, Folder)>,
        format: Format,
        out: &mut impl Write,
    ) -> Result<(), CommandError> {
        let public = self.keyring.pair()?.map(|pair| pair.public());
        let mut keys = Vec::new();
        for (endpoint, folder) in lists {
            let listed = folder.read()?;
            if let Some(problem) = listed.problems.into_iter().next() {
                return Err(problem.into());
            }
            keys.extend(listed.keys.into_iter().map(|(name, entry)| (endpoint.clone(), name, entry)));
        }
        if format == Format::Json {
            let mut all = self.as_json(public);
            all[what] = keys.iter().map(|(endpoint, name, Entry { key, comment })| {
                json!({ "endpoint": endpoint, "name": name, "key": key.to_string(), "comment": comment })
            }).collect();
            print(out, &format!("{all}\n"));
            return Ok(());
        }
        let public = public.map_or("none: `keys new` makes one".to_owned(), |key| key.to_string());
        let mut text = format!("public key  {public}\nfiles       {}\n", self.keyring.directory().display());
        for (endpoint, name, Entry { key, comment }) in keys {
            let at = endpoint.map_or(String::new(), |endpoint| format!(" at {endpoint}"));
            text += format!("{what:<10}  {key}  {name}{at}  {comment}").trim_end();
            text += "\n";
        }
        print(out, &text);
        Ok(())
    }

    fn as_json(&self, public: Option<PublicKey>) -> Value {
        json!({ "public": public.map(|key| key.to_string()), "directory": self.keyring.directory() })
    }

    fn remove(
        &self,
        lists: &[Folder],
        who: &str,
        name: &str,
        format: Format,
        out: &mut impl Write,
    ) -> Result<(), CommandError> {
        let mut removed = Vec::new();
        for list in lists {
            let names: Vec<String> = match who.parse::<PublicKey>() {
                Ok(key) => list.read()?.keys.into_iter().filter(|(_, e)| e.key == key).map(|(name, _)| name).collect(),
                Err(_) => vec![name.to_owned()],
            };
            for name in names {
                if list.remove(&name)? {
                    removed.push(list.path().join(name));
                }
            }
        }
        if removed.is_empty() {
            return Err(Usage(format!("there is no key of {who}: `keys show` lists them")).into());
        }
        let paths: Vec<&Path> = removed.iter().map(AsRef::as_ref).collect();
        let said: Vec<_> = paths.iter().map(|path| format!("removed {}", path.display())).collect();
        self.say(format, out, &paths, &said.join("\n"));
        Ok(())
    }

    /// What was done, and how a program that runs learns of it.
    fn say(&self, format: Format, out: &mut impl Write, paths: &[impl AsRef<Path>], said: &str) {
        let next = format!(
            "if it runs, tell it: systemctl reload zonescope-{0}, svcadm refresh zonescope/{0}, or send it SIGHUP",
            self.role
        );
        match format {
            Format::Text => print(out, &format!("{said}\n{next}\n")),
            Format::Json => {
                let files: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
                let public = self.keyring.pair().ok().flatten().map(|pair| pair.public());
                let mut all = self.as_json(public);
                (all["files"], all["done"], all["next"]) = (json!(files), json!(said), json!(next));
                print(out, &format!("{all}\n"));
            }
        }
    }
}

fn node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn given(key: &str, comment: Option<&str>) -> Result<Entry, CommandError> {
    let mut entry = Entry::given(key).map_err(|error| {
        Usage(format!("{error}; a key goes in single quotes, since shells read its $, & and < as their own"))
    })?;
    if let Some(comment) = comment {
        one_line(comment)?;
        comment.clone_into(&mut entry.comment);
    }
    Ok(entry)
}

fn one_line(comment: &str) -> Result<(), Usage> {
    match comment.chars().any(char::is_control) || comment.len() > 1024 {
        true => Err(Usage("a comment is one line of at most 1024 bytes".to_owned())),
        false => Ok(()),
    }
}

/// Whoever reads may stop: what was done is done.
fn print(out: &mut impl Write, text: &str) {
    let _ = out.write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::keys::Pair;

    #[derive(Parser)]
    struct Generator {
        #[command(subcommand)]
        command: GeneratorKeys,
    }

    #[derive(Parser)]
    struct Collector {
        #[command(subcommand)]
        command: CollectorKeys,
    }

    /// An owner whose keys go with the test.
    fn owner() -> (tempfile::TempDir, Owner<'static>) {
        let directory = tempfile::tempdir().unwrap();
        let keyring = Keyring::at(directory.path().join("keys"));
        (directory, Owner { role: "test", keyring })
    }

    fn generator(owner: &Owner<'_>, typed: &[&str]) -> Result<String, CommandError> {
        let mut out = Vec::new();
        let command = Generator::try_parse_from([&["keys"], typed].concat()).unwrap().command;
        owner.generator(&command, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    fn collector(owner: &Owner<'_>, typed: &[&str]) -> Result<String, CommandError> {
        let mut out = Vec::new();
        let command = Collector::try_parse_from([&["keys"], typed].concat()).unwrap().command;
        owner.collector(&command, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn new_prints_the_public_key_alone_and_show_who_is_authorized() {
        let (_directory, owner) = owner();
        let public = generator(&owner, &["new"]).unwrap();
        assert_eq!(public.trim().parse(), Ok(owner.keyring.pair().unwrap().unwrap().public()));
        let key = Pair::generate().public().to_string();
        generator(&owner, &["authorize", &key, "--name", "store", "--comment", "of ops"]).unwrap();
        generator(&owner, &["authorize", &key, "--name", "t1", "--endpoint", "acme"]).unwrap();
        let shown = generator(&owner, &["show"]).unwrap();
        assert!(shown.contains(public.trim()), "{shown}");
        assert!(shown.contains(&format!("authorized  {key}  store  of ops\n")), "{shown}");
        assert!(shown.contains(&format!("authorized  {key}  t1 at acme\n")), "{shown}");
        let json: Value = serde_json::from_str(&generator(&owner, &["show", "--format", "json"]).unwrap()).unwrap();
        assert_eq!(json["public"], public.trim());
        let expected = json!({ "endpoint": "acme", "name": "t1", "key": key, "comment": "" });
        assert_eq!(json["authorized"][1], expected);
    }

    #[test]
    fn a_key_is_revoked_wherever_it_is_let_in_and_a_name_too() {
        let (_directory, owner) = owner();
        let (one, two) = (Pair::generate().public().to_string(), Pair::generate().public().to_string());
        for (key, name, more) in [(&one, "a", &[][..]), (&one, "b", &["--endpoint", "acme"]), (&two, "b", &[])] {
            generator(&owner, &[&["authorize", key, "--name", name], more].concat()).unwrap();
        }
        let said = generator(&owner, &["revoke", &one]).unwrap();
        assert!(said.matches("removed ").count() == 2 && said.contains("SIGHUP"), "{said}");
        assert_eq!(owner.keyring.authorized(None).read().unwrap().keys.len(), 1);
        assert!(matches!(generator(&owner, &["revoke", "b", "--endpoint", "acme"]), Err(CommandError::Usage(_))));
        generator(&owner, &["revoke", "b"]).unwrap();
        assert!(owner.keyring.authorized(None).read().unwrap().keys.is_empty());
    }

    #[test]
    fn a_collector_makes_its_pair_when_it_first_trusts_and_forgets_by_endpoint_or_key() {
        let (_directory, owner) = owner();
        let key = Pair::generate().public().to_string();
        let said = collector(&owner, &["authorize", "tcp://Alpha:7211", &key]).unwrap();
        let ours = owner.keyring.pair().unwrap().unwrap().public().to_string();
        assert!(said.contains(&format!("keys authorize '{ours}'")), "{said}");
        assert!(owner.keyring.known().read().unwrap().keys.contains_key("alpha:7211"));
        collector(&owner, &["revoke", "tcp://ALPHA:7211"]).unwrap();
        collector(&owner, &["authorize", "tcp://alpha:7211", &key]).unwrap();
        collector(&owner, &["revoke", &key]).unwrap();
        assert!(owner.keyring.known().read().unwrap().keys.is_empty());
        assert!(matches!(collector(&owner, &["authorize", "alpha", &key]), Err(CommandError::Usage(_))));
    }

    #[test]
    fn what_is_no_key_teaches_to_quote_it() {
        let (_directory, owner) = owner();
        // As a shell leaves it that has read `$w` as a variable of its own.
        let said = generator(&owner, &["authorize", "Yne@-vo<fVvi", "--name", "x"]).unwrap_err().to_string();
        assert!(said.contains("single quotes"), "{said}");
        let key = Pair::generate().public().to_string();
        let two_lines = generator(&owner, &["authorize", &key, "--name", "x", "--comment", "a\nb"]);
        assert!(matches!(two_lines, Err(CommandError::Usage(_))));
    }

    #[test]
    fn a_key_that_begins_like_an_option_is_a_key() {
        for start in ["-", "--", "-0"] {
            let key = format!("{start:0<40}");
            let (_directory, owner) = owner();
            generator(&owner, &["authorize", &key, "--name", "x"]).unwrap();
            generator(&owner, &["authorize", "--name", "y", &key]).unwrap();
            generator(&owner, &["revoke", &key]).unwrap();
            collector(&owner, &["authorize", "tcp://a:1", &key]).unwrap();
        }
    }
}
