//! Hosts and zones, each written down once: a row of any table only says which.
//!
//! A frame becomes some forty rows, and a name takes as much memory as five values. So names are numbered as they come, a segment and hour
//! apart, and the batches that are made of the rows have them as dictionaries.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, DictionaryArray, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::UInt32Type;
use arrow::error::ArrowError;

/// What a place takes in memory beside its names, which are there twice.
const PLACE_BYTES: usize = std::mem::size_of::<Place>() + std::mem::size_of::<((String, u64), u32)>();

/// A zone on its host.
#[derive(Debug)]
struct Place {
    host: Arc<str>,
    zone: Arc<str>,
    zone_id: u64,
}

/// The zones that rows are of, by number.
#[derive(Debug, Default)]
pub struct Places {
    places: Vec<Place>,
    /// By `host/zone`, then by the zone's number: usually one.
    numbers: HashMap<String, Vec<(u64, u32)>>,
    key: String,
}

impl Places {
    /// The number of a zone, and the bytes that this takes. `zone` is empty in the host's own frame.
    pub fn number(&mut self, host: &str, zone: &str, zone_id: u64) -> (u32, usize) {
        self.key.clear();
        self.key.extend([host, "/", zone]);
        let known = self.numbers.get(&self.key);
        if let Some((_, number)) = known.and_then(|same| same.iter().find(|(id, _)| *id == zone_id)) {
            return (*number, 0);
        }
        let number = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(Place { host: host.into(), zone: zone.into(), zone_id });
        self.numbers.entry(self.key.clone()).or_default().push((zone_id, number));
        (number, PLACE_BYTES + 2 * self.key.len())
    }

    /// The columns `host`, `zone` and `zone_id` of rows of these numbers.
    ///
    /// # Errors
    /// Where a number is of no place: a defect of ours.
    pub fn columns(&self, numbers: Vec<u32>) -> Result<[ArrayRef; 3], ArrowError> {
        let ids: UInt64Array = self.places.iter().map(|p| p.zone_id).collect::<Vec<_>>().into();
        let numbers = UInt32Array::from(numbers);
        let named = |name: fn(&Place) -> &str| -> Result<ArrayRef, ArrowError> {
            let names = StringArray::from_iter_values(self.places.iter().map(name));
            Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(numbers.clone(), Arc::new(names))?))
        };
        // Names first: these check numbers, `take` panics.
        let (hosts, zones) = (named(|p| &p.host)?, named(|p| &p.zone)?);
        Ok([hosts, zones, arrow::compute::take(&ids, &numbers, None)?])
    }
}

/// For each number the place of its names in the order of all of them; equal names share it.
pub fn ranks(hosts: &dyn Array, zones: &dyn Array) -> Vec<u64> {
    use arrow::array::AsArray;
    let (hosts, zones) = (hosts.as_string::<i32>(), zones.as_string::<i32>());
    let name = |number: usize| (hosts.value(number), zones.value(number));
    let mut numbers: Vec<usize> = (0..zones.len()).collect();
    numbers.sort_unstable_by_key(|number| name(*number));
    let mut ranks = vec![0; numbers.len()];
    for pair in numbers.windows(2) {
        ranks[pair[1]] = ranks[pair[0]] + u64::from(name(pair[0]) != name(pair[1]));
    }
    ranks
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::UInt64Type;

    use super::*;

    #[test]
    fn a_place_is_written_down_once_and_costs_nothing_when_it_comes_again() {
        let mut places = Places::default();
        assert_eq!(places.number("h1", "web1", 7), (0, PLACE_BYTES + 2 * "h1/web1".len()));
        assert_eq!(places.number("h1", "", 0), (1, PLACE_BYTES + 2 * "h1/".len()));
        assert_eq!((places.number("h1", "web1", 7), places.number("h1", "", 0)), ((0, 0), (1, 0)));
    }

    #[test]
    fn host_zone_and_the_zones_number_each_tell_places_apart() {
        let mut places = Places::default();
        let different = [("h1", "web1", 7), ("h2", "web1", 7), ("h1", "web2", 7), ("h1", "web1", 8), ("h1w", "eb1", 7)];
        let numbers: Vec<u32> = different.iter().map(|(host, zone, id)| places.number(host, zone, *id).0).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn columns_say_of_each_row_where_it_is_of() {
        let mut places = Places::default();
        let web = places.number("h1", "web1", 7).0;
        let host = places.number("h1", "", 0).0;
        let rebooted = places.number("h1", "web1", 8).0;
        let [hosts, zones, ids] = places.columns(vec![rebooted, host, web, web]).unwrap();
        let texts = |column: &ArrayRef| -> Vec<String> {
            let dictionary = column.as_dictionary::<UInt32Type>().downcast_dict::<StringArray>().unwrap();
            dictionary.into_iter().map(|name| name.unwrap().to_owned()).collect()
        };
        assert_eq!(texts(&hosts), ["h1"; 4]);
        assert_eq!(texts(&zones), ["web1", "", "web1", "web1"]);
        assert_eq!(ids.as_primitive::<UInt64Type>().values(), &[8, 0, 7, 7]);
        assert!(places.columns(vec![3]).is_err(), "there are three");
    }

    #[test]
    fn ranks_are_in_the_order_of_hosts_then_zones_and_equal_names_share_one() {
        let hosts = StringArray::from(vec!["h2", "h1", "h1", "h1", "h1"]);
        let zones = StringArray::from(vec!["a", "web1", "db", "web1", ""]);
        assert_eq!(ranks(&hosts, &zones), [3, 2, 1, 2, 0]);
        let none = StringArray::from(Vec::<&str>::new());
        assert!(ranks(&none, &none).is_empty());
    }
}
