//! What `/etc/zones` says of zones: brand, uuid and debug id, which no kstat tells.
//!
//! `index` has a line a zone, `name:state:path:uuid:brand:ip-type:debug-id` (zones(5); the last three are optional, and
//! a field that holds a colon stands in quotes: `getzoneent_private`, lib/libzonecfg/common/getzoneent.c).
//! `<name>.xml` has the brand where the index lacks it. The state there is that of the disk, `installed` for each zone
//! that runs, and so it is left alone.
//!
//! The files are read when the index has changed: whoever makes, changes or removes a zone writes a new one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::SystemTime;

use zonescope_proto::v1;

/// The files of one host.
#[derive(Debug, Default)]
pub(super) struct ZoneFiles {
    directory: PathBuf,
    /// Of the index that was read.
    modified: Option<SystemTime>,
    zones: HashMap<String, Described>,
    by_debug_id: HashMap<String, String>,
}

/// A zone, as far as its files tell.
#[derive(Debug, Default, Clone)]
struct Described {
    uuid: String,
    /// `None` until its own file has been looked at.
    brand: Option<String>,
}

impl ZoneFiles {
    /// Those below `directory`.
    pub(super) fn below(directory: PathBuf) -> Self {
        ZoneFiles { directory, ..ZoneFiles::default() }
    }

    /// Reads the index again if it is another one.
    pub(super) fn refresh(&mut self) {
        let path = self.directory.join("index");
        let modified = std::fs::metadata(&path).and_then(|m| m.modified()).ok();
        if modified == self.modified {
            return;
        }
        self.modified = modified;
        self.zones.clear();
        self.by_debug_id.clear();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = Fields(Some(line));
            let [name, _state, _path, uuid, brand, _ip_type, debug_id] = std::array::from_fn(|_| fields.take());
            if name.is_empty() {
                continue;
            }
            if !debug_id.is_empty() {
                self.by_debug_id.insert(debug_id.to_owned(), name.to_owned());
            }
            let brand = (!brand.is_empty()).then(|| brand.to_owned());
            self.zones.insert(name.to_owned(), Described { uuid: uuid.to_owned(), brand });
        }
    }

    /// Fills in what the files know of `zone`.
    pub(super) fn complete(&mut self, zone: &mut v1::Zone) {
        let Some(described) = self.zones.get_mut(&zone.name) else { return };
        zone.uuid.clone_from(&described.uuid);
        if zone.brand.is_empty() {
            let brand = described.brand.get_or_insert_with(|| {
                let path = self.directory.join(format!("{}.xml", zone.name));
                brand_of(&std::fs::read_to_string(path).unwrap_or_default()).unwrap_or_default()
            });
            zone.brand.clone_from(brand);
        }
    }

    /// The name of the zone with that debug id.
    pub(super) fn with_debug_id(&self, id: &str) -> Option<&str> {
        self.by_debug_id.get(id).map(String::as_str)
    }
}

/// The fields of a line of the index.
struct Fields<'a>(Option<&'a str>);

impl<'a> Fields<'a> {
    /// The next one; empty where there is none.
    fn take(&mut self) -> &'a str {
        let Some(line) = self.0 else { return "" };
        let (field, rest) = match line.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
            Some((field, rest)) => (field, rest.split_once(':').map(|(_, rest)| rest)),
            None => line.split_once(':').map_or((line, None), |(field, rest)| (field, Some(rest))),
        };
        self.0 = rest;
        field
    }
}

/// `brand="joyent"` of the element `zone`.
fn brand_of(xml: &str) -> Option<String> {
    let element = xml.split_once("<zone ")?.1.split_once('>')?.0;
    let brand = element.split_once("brand=\"")?.1.split_once('"')?.0;
    Some(brand.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(files: &mut ZoneFiles, name: &str) -> (String, String) {
        let mut zone = v1::Zone { name: name.into(), ..v1::Zone::default() };
        files.refresh();
        files.complete(&mut zone);
        (zone.uuid, zone.brand)
    }

    #[test]
    fn brand_and_uuid_come_from_etc_zones() {
        let dir = tempfile::tempdir().unwrap();
        let index = "# comment\nglobal:installed:/\nweb1:installed:/zones/web1:aa-bb\n\
                     vm:installed:\"/zones/a:b\":cc-dd:bhyve:ex:37\n";
        std::fs::write(dir.path().join("index"), index).unwrap();
        let xml = "<?xml version=\"1.0\"?>\n<!DOCTYPE zone>\n<zone name=\"web1\" zonepath=\"/zones/web1\" brand=\"joyent-minimal\">\n";
        std::fs::write(dir.path().join("web1.xml"), xml).unwrap();
        let mut files = ZoneFiles::below(dir.path().into());
        assert_eq!(zone(&mut files, "web1"), ("aa-bb".into(), "joyent-minimal".into()));
        assert_eq!(zone(&mut files, "vm"), ("cc-dd".into(), "bhyve".into()));
        assert_eq!(zone(&mut files, "global"), (String::new(), String::new()));
        assert_eq!(zone(&mut files, "unheard_of"), (String::new(), String::new()));
        assert_eq!(files.with_debug_id("37"), Some("vm"));
    }

    #[test]
    fn a_zone_made_anew_under_its_old_name_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("index");
        let write = |text: &str, age_s: u64| {
            std::fs::write(&index, text).unwrap();
            let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 - age_s);
            std::fs::File::options().write(true).open(&index).unwrap().set_modified(then).unwrap();
        };
        let mut files = ZoneFiles::below(dir.path().into());
        assert_eq!(zone(&mut files, "web1").0, "", "no index yet");
        write("web1:installed:/zones/web1:aa:lx\n", 60);
        assert_eq!(zone(&mut files, "web1"), ("aa".into(), "lx".into()));
        write("web1:installed:/zones/web1:bb:bhyve\n", 0);
        assert_eq!(zone(&mut files, "web1"), ("bb".into(), "bhyve".into()));
    }
}
