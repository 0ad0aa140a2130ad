//! Makes many zones of few, for load: copies with names, ids and brands of their own.

use zonescope_proto::ZoneName;

use crate::source::{Sample, ZoneSample};

/// Copies the zones of `sample` until there are `zones`, `global` not counted. 0 leaves it as it is.
pub fn multiply(sample: &mut Sample, zones: usize) {
    let mut originals: Vec<ZoneName> =
        sample.zones.keys().filter(|name| name.as_str() != ZoneName::GLOBAL).cloned().collect();
    if originals.is_empty() {
        originals.extend(sample.zones.keys().next().cloned());
    }
    if zones == 0 || originals.is_empty() {
        return;
    }
    for copy in originals.len()..zones {
        let original = &originals[copy % originals.len()];
        let Some(ZoneSample { zone, frame }) = sample.zones.get(original) else { continue };
        let (mut zone, frame) = (zone.clone(), frame.clone());
        let name = ZoneName::lossy(&format!("{original}-{:05}", copy / originals.len()));
        zone.name = name.to_string();
        zone.id = zone.id.wrapping_add(1_000_000 + copy as u64);
        sample.zones.insert(name, ZoneSample { zone, frame });
    }
}
