//! Which zones there are: from the kstats of module `zones`, completed from `/etc/zones`.

use std::collections::HashMap;
use std::path::PathBuf;

use zonescope_proto::{ZoneName, v1};

use super::chain::{Kstat, Stat};
use crate::source::Sample;

/// Zones of the current tick.
#[derive(Debug, Default)]
pub struct Zones {
    by_id: HashMap<i32, v1::Zone>,
    by_name: HashMap<String, ZoneName>,
    files: Option<Files>,
}

impl Zones {
    /// Brand, state and uuid come from below `directory`.
    pub fn read_files_below(&mut self, directory: PathBuf) {
        self.files = Some(Files { directory, index: HashMap::new(), brands: HashMap::new(), read: false });
    }

    /// A new tick: forgets the zones of the last one.
    pub fn begin(&mut self) {
        self.by_id.clear();
        self.by_name.clear();
    }

    /// Takes a kstat of module `zones` into account.
    pub fn learn(&mut self, kstat: &Kstat<'_>) {
        let name = ZoneName::lossy(kstat.zonename().unwrap_or(kstat.id.name));
        let boot_s = kstat.stat("boot_time").and_then(|s| s.uint()).unwrap_or(0);
        let mut zone = v1::Zone {
            name: name.to_string(),
            id: kstat.id.instance.cast_unsigned().into(),
            boot_time: boot_s.saturating_mul(1_000_000_000),
            ..v1::Zone::default()
        };
        if let Some(Stat::Text(brand)) = kstat.stat("brand") {
            brand.clone_into(&mut zone.brand);
        }
        if let Some(files) = &mut self.files {
            files.complete(&mut zone);
        }
        self.by_name.insert(zone.name.clone(), name);
        self.by_id.insert(kstat.id.instance, zone);
    }

    /// Puts every zone into the sample, so that one without any other kstat has its frame too.
    pub fn end(&mut self, sample: &mut Sample) {
        for zone in self.by_id.values() {
            let name = ZoneName::lossy(&zone.name);
            sample.zone(&name).zone = zone.clone();
        }
    }

    /// The zone of that name, whether or not `zones` has it: older platforms do not.
    pub fn named(&self, name: &str) -> ZoneName {
        self.by_name.get(name).cloned().unwrap_or_else(|| ZoneName::lossy(name))
    }

    /// The zone of that id.
    pub fn numbered(&self, id: i32) -> Option<ZoneName> {
        if id == 0 {
            return Some(ZoneName::global());
        }
        self.by_id.get(&id).map(|zone| ZoneName::lossy(&zone.name))
    }

    /// The zone that we run in: from the global zone `global` is among the zones; inside a zone there is only its own.
    pub fn own(&self) -> Option<ZoneName> {
        match self.by_id.values().next() {
            Some(only) if self.by_id.len() == 1 => Some(ZoneName::lossy(&only.name)),
            _ => Some(ZoneName::global()),
        }
    }
}

/// What `/etc/zones` says: `index` (name:state:path:uuid, zones(5)) and `<name>.xml` with the brand.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    index: HashMap<String, (String, String)>,
    brands: HashMap<String, String>,
    read: bool,
}

impl Files {
    fn complete(&mut self, zone: &mut v1::Zone) {
        if !self.index.contains_key(&zone.name) && !std::mem::replace(&mut self.read, true) {
            self.read_index();
        }
        if let Some((_, uuid)) = self.index.get(&zone.name) {
            zone.uuid.clone_from(uuid);
        } else {
            // A zone that was made since: look again at the next one that is not known.
            self.read = false;
        }
        if zone.brand.is_empty() {
            zone.brand = self.brand(&zone.name);
        }
    }

    fn read_index(&mut self) {
        let text = std::fs::read_to_string(self.directory.join("index")).unwrap_or_default();
        self.index = text.lines().filter(|l| !l.starts_with('#')).filter_map(index_line).collect();
    }

    fn brand(&mut self, name: &str) -> String {
        if let Some(brand) = self.brands.get(name) {
            return brand.clone();
        }
        let text = std::fs::read_to_string(self.directory.join(format!("{name}.xml"))).unwrap_or_default();
        let brand = brand_of(&text).unwrap_or_default();
        if !brand.is_empty() {
            self.brands.insert(name.to_owned(), brand.clone());
        }
        brand
    }
}

/// `web1:installed:/zones/web1:b7c0...` as name, state and uuid.
fn index_line(line: &str) -> Option<(String, (String, String))> {
    let mut parts = line.split(':');
    let (name, state, _path) = (parts.next()?, parts.next()?, parts.next()?);
    Some((name.to_owned(), (state.to_owned(), parts.next().unwrap_or_default().to_owned())))
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

    #[test]
    fn brand_and_uuid_come_from_etc_zones() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("index"), "# comment\nglobal:installed:/\nweb1:installed:/zones/web1:aa-bb\n")
            .unwrap();
        std::fs::write(
            dir.path().join("web1.xml"),
            "<?xml version=\"1.0\"?>\n<!DOCTYPE zone>\n<zone name=\"web1\" zonepath=\"/zones/web1\" autoboot=\"true\" brand=\"joyent-minimal\">\n",
        )
        .unwrap();
        let mut files =
            Files { directory: dir.path().into(), index: HashMap::new(), brands: HashMap::new(), read: false };
        let mut zone = v1::Zone { name: "web1".into(), ..v1::Zone::default() };
        files.complete(&mut zone);
        assert_eq!((zone.uuid.as_str(), zone.brand.as_str()), ("aa-bb", "joyent-minimal"));
    }
}
