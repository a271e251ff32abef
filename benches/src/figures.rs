//! Figures of several runs, and the lines that say them.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Whose figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// This database's.
    Ours,
    /// That of the one beside it.
    Peer,
}

/// All figures of all runs, by name.
#[derive(Debug, Default)]
pub struct Figures {
    names: Vec<String>,
    values: BTreeMap<(String, Side), Vec<f64>>,
}

impl Figures {
    /// One more figure.
    pub fn add(&mut self, side: Side, name: &str, value: f64) {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
        self.values.entry((name.to_owned(), side)).or_default().push(value);
        eprintln!("{side:?} {name}: {}", round(value));
    }

    /// A JSON line for each name: the medians, their ratio, the number of runs.
    pub fn print(&self) {
        for name in &self.names {
            println!("{}", self.line(name));
        }
    }

    fn line(&self, name: &str) -> Value {
        let values = |side| self.values.get(&(name.to_owned(), side));
        let median = |side| values(side).map(|values| median(values));
        let (ours, peer) = (median(Side::Ours), median(Side::Peer));
        let mut line = json!({ "name": name });
        let figures = [("ours", ours), ("peer", peer), ("ratio", ours.zip(peer).map(|(ours, peer)| ours / peer))];
        if let Some(line) = line.as_object_mut() {
            for (key, value) in figures.into_iter().filter_map(|(key, value)| Some((key, value?))) {
                line.insert(key.to_owned(), json!(round(value)));
            }
            line.insert("runs".to_owned(), json!(values(Side::Ours).map_or(0, Vec::len)));
        }
        line
    }
}

/// The middle one; 0 of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let at = |i: usize| sorted.get(i).copied().unwrap_or_default();
    if sorted.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) }
}

/// To four digits, so that figures can be read.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits.clamp(0, 12));
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]).to_bits(), 0.0_f64.to_bits());
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_line_says_all() {
        let mut figures = Figures::default();
        figures.add(Side::Ours, "x", 12.34567);
        figures.add(Side::Peer, "x", 2.0);
        figures.add(Side::Ours, "y", 123_456.7);
        assert_eq!(figures.line("x").to_string(), r#"{"name":"x","ours":12.35,"peer":2.0,"ratio":6.173,"runs":1}"#);
        assert_eq!(figures.line("y").to_string(), r#"{"name":"y","ours":123457.0,"runs":1}"#);
    }
}
