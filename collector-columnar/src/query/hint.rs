//! What to do about an error in SQL: names are case-sensitive here, since they are the platform's (`retransSegs`),
//! and there are many; whoever mistypes one is told those that are close.

use datafusion::common::SchemaError;
use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::error::DataFusionError;

/// Most names in a hint.
const NAMES: usize = 5;

/// A hint for an error, given the names of all tables and views. Empty where there is none.
pub fn hint(error: &DataFusionError, tables: &[String]) -> String {
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let valid: Vec<String> = valid_fields.iter().map(|c| c.name.clone()).collect();
                let here = valid_fields.iter().find_map(|c| c.relation.as_ref()).map(|r| r.table().to_owned());
                let table = here.unwrap_or_else(|| "TABLE".to_owned());
                format!("{}; `tables {table}` lists all", did_you_mean(&field.name, &valid))
            }
            _ => String::new(),
        },
        DataFusionError::Plan(message) => match missing_table(message) {
            Some(name) => format!("{}; `tables` lists all", did_you_mean(name, tables)),
            None => String::new(),
        },
        _ => String::new(),
    }
}

/// The name in `table 'catalog.schema.name' not found`.
fn missing_table(message: &str) -> Option<&str> {
    let name = message.strip_prefix("table '")?.strip_suffix("' not found")?;
    name.rsplit('.').next()
}

/// The names among many that somebody may have meant.
pub fn did_you_mean(name: &str, among: &[String]) -> String {
    let close = close(name, among);
    if close.is_empty() {
        "no name is close to that one".to_owned()
    } else {
        format!("did you mean {}?", close.join(", "))
    }
}

/// The names that are close to one: equal but for case, beginning with it, or a few letters off.
fn close<'a>(name: &str, among: &'a [String]) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let distance = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let off = levenshtein(&wanted, &candidate);
        if candidate.contains(&wanted) { off.min(2) } else { off }
    };
    let mut close: Vec<(usize, &str)> = among.iter().map(|c| (distance(c), c.as_str())).collect();
    close.retain(|(off, _)| *off <= (name.len() / 3).max(2));
    close.sort_unstable();
    close.dedup();
    close.into_iter().take(NAMES).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_wrong_case_or_with_a_slip_is_found() {
        let names = ["cpu", "cpu_rates", "memory", "retransSegs"].map(str::to_owned);
        assert_eq!(close("CPU", &names)[0], "cpu");
        assert_eq!(close("memroy", &names), ["memory"]);
        assert_eq!(close("retranssegs", &names), ["retransSegs"]);
        assert!(close("zpool_latency", &names).is_empty());
    }
}
