//! What a session can SET and SHOW.

use crate::types::text::{TextStyle, parse_zone};
use nodedb_base::{Error, Result};
use nodedb_index::vector::Hardness;
use nodedb_store::Isolation;

/// The settings of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `TimeZone`, by its name.
    pub time_zone: String,
    /// How values are read and printed.
    pub style: TextStyle,
    /// `default_transaction_isolation`
    pub isolation: Isolation,
    /// `default_transaction_read_only`
    pub read_only: bool,
    /// `nodedb.as_of`: an Lsn or a time; empty for the present.
    pub as_of: String,
    /// `application_name`
    pub application_name: String,
    /// `nodedb.recall`: the share of the true neighbours that vector indexes look for.
    pub recall: f32,
    /// `hnsw.ef_search`, once it was set: how many candidates vector indexes look at, whatever the recall.
    pub ef_search: Option<u16>,
    /// `enable_seqscan`: when it is off, rows without a distance are left out where an index finds the nearest, as pgvector
    /// leaves them out.
    pub seqscan: bool,
    /// What pgvector's scans may take. It is kept and shown; a search here goes on until it has found enough.
    pub iterative: Iterative,
}

/// pgvector's settings of iterative scans.
#[derive(Clone, Debug, PartialEq)]
pub struct Iterative {
    /// `hnsw.iterative_scan`
    pub order: String,
    /// `hnsw.max_scan_tuples`
    pub tuples: String,
    /// `hnsw.scan_mem_multiplier`
    pub memory: String,
}

impl Default for Iterative {
    fn default() -> Self {
        Self { order: "off".into(), tuples: "20000".into(), memory: "1".into() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            time_zone: "UTC".into(),
            style: TextStyle::default(),
            isolation: Isolation::default(),
            read_only: false,
            as_of: String::new(),
            application_name: String::new(),
            recall: 0.95,
            ef_search: None,
            seqscan: true,
            iterative: Iterative::default(),
        }
    }
}

/// Settings that have one value only: asking for it is fine, asking for another is an error.
const FIXED: [(&str, &str, &[&str]); 10] = [
    ("client_encoding", "UTF8", &["UTF8", "UTF-8", "UNICODE"]),
    ("server_encoding", "UTF8", &[]),
    ("datestyle", "ISO, MDY", &["ISO", "ISO, MDY", "ISO,MDY"]),
    ("intervalstyle", "postgres", &["POSTGRES"]),
    ("standard_conforming_strings", "on", &["ON", "TRUE", "1"]),
    ("search_path", "\"$user\", public", &["PUBLIC", "\"$USER\", PUBLIC"]),
    ("extra_float_digits", "1", &["1", "2", "3"]),
    ("integer_datetimes", "on", &[]),
    ("server_version", "15.0", &[]),
    ("lc_collate", "C.UTF-8", &[]),
];

/// What `hnsw.ef_search` is in pgvector unless it is set.
const PGVECTORS_EF_SEARCH: u16 = 40;

impl Settings {
    /// Sets one; `None` means its default.
    ///
    /// # Errors
    /// `Statement` (42704) for an unknown name, (22023) for a value that it cannot have.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let default = Self::default();
        match name {
            "timezone" => match value.filter(|value| !value.eq_ignore_ascii_case("default")) {
                Some(zone) => {
                    self.style = TextStyle { zone: parse_zone(zone).map_err(|_| invalid("TimeZone", zone))? };
                    self.time_zone = self.style.zone.name().to_owned();
                }
                None => (self.time_zone, self.style) = (default.time_zone, default.style),
            },
            "default_transaction_isolation" => {
                self.isolation = value.map_or(Ok(default.isolation), |value| isolation(name, value))?;
            }
            "default_transaction_read_only" => {
                self.read_only = value.map_or(Ok(default.read_only), |value| boolean(name, value))?;
            }
            "nodedb.as_of" => self.as_of = value.unwrap_or_default().to_owned(),
            "application_name" => self.application_name = value.unwrap_or_default().to_owned(),
            "nodedb.recall" => {
                self.recall = value.map_or(Ok(default.recall), |value| within(name, value, 0.0, 0.999))?;
                self.ef_search = None;
            }
            "hnsw.ef_search" => {
                self.ef_search = value.map(|value| within(name, value, 1.0, 1000.0).map(|ef| ef as u16)).transpose()?;
            }
            "enable_seqscan" => self.seqscan = value.map_or(Ok(true), |value| boolean(name, value))?,
            "hnsw.iterative_scan" => {
                let order = value.map_or(default.iterative.order, str::to_lowercase);
                if !["off", "relaxed_order", "strict_order"].contains(&order.as_str()) {
                    return Err(invalid(name, &order));
                }
                self.iterative.order = order;
            }
            "hnsw.max_scan_tuples" => {
                self.iterative.tuples = number(name, value, (1, i64::from(i32::MAX)), default.iterative.tuples)?;
            }
            "hnsw.scan_mem_multiplier" => {
                self.iterative.memory = number(name, value, (1, 1000), default.iterative.memory)?;
            }
            _ => return set_fixed(name, value),
        }
        Ok(())
    }

    /// The text of one.
    ///
    /// # Errors
    /// `Statement` (42704) for an unknown name.
    pub fn show(&self, name: &str) -> Result<String> {
        Ok(match name {
            "timezone" => self.time_zone.clone(),
            "default_transaction_isolation" => isolation_name(self.isolation).to_owned(),
            "default_transaction_read_only" => if self.read_only { "on" } else { "off" }.to_owned(),
            "nodedb.as_of" => self.as_of.clone(),
            "application_name" => self.application_name.clone(),
            "nodedb.recall" => self.recall.to_string(),
            "hnsw.ef_search" => self.ef_search.unwrap_or(PGVECTORS_EF_SEARCH).to_string(),
            "enable_seqscan" => if self.seqscan { "on" } else { "off" }.to_owned(),
            "hnsw.iterative_scan" => self.iterative.order.clone(),
            "hnsw.max_scan_tuples" => self.iterative.tuples.clone(),
            "hnsw.scan_mem_multiplier" => self.iterative.memory.clone(),
            _ => match FIXED.iter().find(|(fixed, ..)| *fixed == name) {
                Some((_, value, _)) => (*value).to_owned(),
                None => return Err(unknown(name)),
            },
        })
    }

    /// How hard vector indexes look.
    #[must_use]
    pub fn hardness(&self) -> Hardness {
        self.ef_search.map_or(Hardness::Recall(self.recall), |ef| Hardness::Candidates(ef.into()))
    }

    /// All names, sorted.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        let own = [
            "application_name",
            "default_transaction_isolation",
            "default_transaction_read_only",
            "enable_seqscan",
            "hnsw.ef_search",
            "hnsw.iterative_scan",
            "hnsw.max_scan_tuples",
            "hnsw.scan_mem_multiplier",
            "nodedb.as_of",
            "nodedb.recall",
            "timezone",
        ];
        let mut names: Vec<_> = own.into_iter().chain(FIXED.iter().map(|(name, ..)| *name)).collect();
        names.sort_unstable();
        names
    }
}

/// The text of a whole number from one to another.
fn number(name: &str, value: Option<&str>, (least, most): (i64, i64), default: String) -> Result<String> {
    let Some(value) = value else { return Ok(default) };
    let number: i64 = value.trim().parse().map_err(|_| invalid(name, value))?;
    if (least..=most).contains(&number) {
        return Ok(number.to_string());
    }
    let message = format!("{number} is outside the valid range for parameter \"{name}\" ({least} .. {most})");
    Err(Error::statement("22023", message))
}

/// A number from one to another.
fn within(name: &str, value: &str, least: f32, most: f32) -> Result<f32> {
    let number: f32 = value.trim().parse().map_err(|_| invalid(name, value))?;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    let message = format!("{value} is outside the valid range for parameter \"{name}\" ({least} .. {most})");
    Err(Error::statement("22023", message))
}

fn set_fixed(name: &str, value: Option<&str>) -> Result<()> {
    let Some((_, _, accepted)) = FIXED.iter().find(|(fixed, ..)| *fixed == name) else { return Err(unknown(name)) };
    match value {
        None => Ok(()),
        Some(value) if accepted.contains(&value.to_uppercase().as_str()) => Ok(()),
        Some(_) if accepted.is_empty() => {
            Err(Error::statement("55P02", format!("parameter \"{name}\" cannot be changed")))
        }
        Some(value) => Err(Error::unsupported(format!("{name} = {value}"))),
    }
}

/// The isolation that PostgreSQL calls so.
///
/// # Errors
/// `Statement` (22023).
pub fn isolation(name: &str, value: &str) -> Result<Isolation> {
    match value.to_lowercase().as_str() {
        "read uncommitted" | "read committed" => Ok(Isolation::ReadCommitted),
        "repeatable read" => Ok(Isolation::RepeatableRead),
        "serializable" => Ok(Isolation::Serializable),
        _ => Err(invalid(name, value)),
    }
}

/// What PostgreSQL calls an isolation.
#[must_use]
pub const fn isolation_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

/// A setting that is on or off.
///
/// # Errors
/// `Statement` (22023).
pub fn boolean(name: &str, value: &str) -> Result<bool> {
    match value.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(Error::statement("22023", format!("parameter \"{name}\" requires a Boolean value"))),
    }
}

fn invalid(name: &str, value: &str) -> Error {
    Error::statement("22023", format!("invalid value for parameter \"{name}\": \"{value}\""))
}

fn unknown(name: &str) -> Error {
    Error::statement("42704", format!("unrecognized configuration parameter \"{name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_shown_and_nothing_is_ignored() {
        let mut settings = Settings::default();
        settings.set("timezone", Some("Europe/Berlin")).unwrap();
        assert_eq!(settings.show("timezone").unwrap(), "Europe/Berlin");
        settings.set("client_encoding", Some("utf8")).unwrap();
        let code = |result: Result<()>| result.unwrap_err().sqlstate().0;
        assert_eq!(code(settings.set("client_encoding", Some("latin1"))), "0A000");
        assert_eq!(code(settings.set("no_such_thing", Some("1"))), "42704");
        assert_eq!(code(settings.set("timezone", Some("Mars/Olympus"))), "22023");
        for name in Settings::names() {
            settings.show(name).unwrap();
        }
    }
}
