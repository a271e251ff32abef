//! What recall a search setting gives in a part, found out by sampling when the part is built.

use crate::bytes::{Reader, Writer};
use crate::{Error, Result};

/// For how many neighbours curves are made.
pub const NEIGHBOURS: usize = 10;
/// Rows that were sampled are found a little more easily than what comes later: this share of what may be missed is
/// kept in reserve.
const MARGIN: f32 = 0.1;
/// More points than this make no difference.
const MOST_POINTS: usize = 48;

/// How hard a part is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// How many candidates a walk keeps.
    pub ef: usize,
    /// How many of them are compared exactly. Without codes all are exact as they are.
    pub rerank: usize,
}

/// A setting and the recall at 10 that it gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// 0 to 1.
    pub recall: f32,
    /// The setting.
    pub setting: Setting,
}

/// The cheapest settings for rising recalls.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    points: Vec<Point>,
}

impl Default for Curve {
    /// For parts that are too small to sample: generous.
    fn default() -> Self {
        let point = |(recall, ef)| Point { recall, setting: Setting { ef, rerank: ef.min(60) } };
        Self { points: [(0.9, 40), (0.95, 60), (0.99, 120), (0.999, 300)].map(point).to_vec() }
    }
}

impl Curve {
    /// The best of what was measured: pairs of a point and its cost.
    pub fn of(mut measured: Vec<(Point, f64)>) -> Self {
        measured.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut points: Vec<Point> = Vec::new();
        for (point, _) in measured {
            if points.last().is_none_or(|last| point.recall > last.recall) {
                points.push(point);
            }
        }
        // Close ones are thinned out, the last stays.
        let step = points.len().div_ceil(MOST_POINTS).max(1);
        let last = points.len().saturating_sub(1);
        let kept = points.into_iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last);
        let points: Vec<Point> = kept.map(|(_, point)| point).collect();
        if points.is_empty() { Self::default() } else { Self { points } }
    }

    /// The setting for a recall, for so many neighbours. Between two points it lies between theirs; beyond the last one
    /// it is the last one's.
    pub fn setting(&self, recall: f32, k: usize) -> Setting {
        let recall = recall + MARGIN * (1.0 - recall);
        let after = self.points.iter().position(|point| point.recall >= recall);
        let setting = match after {
            Some(0) => self.points.first().map(|point| point.setting),
            Some(at) => self.points.get(at - 1).zip(self.points.get(at)).map(|(low, high)| between(low, high, recall)),
            None => self.points.last().map(|point| point.setting),
        };
        let Setting { ef, rerank } = setting.unwrap_or(Setting { ef: 300, rerank: 60 });
        let more = k.saturating_sub(NEIGHBOURS);
        Setting { ef: ef + more + more / 3, rerank: rerank + more + more / 5 }
    }

    pub fn write(&self, out: &mut Writer) {
        out.u64(self.points.len() as u64);
        for Point { recall, setting } in &self.points {
            out.f32(*recall);
            out.u32(setting.ef as u32);
            out.u32(setting.rerank as u32);
        }
    }

    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut points = Vec::new();
        for _ in 0..reader.count(12)? {
            let recall = reader.f32()?;
            let setting = Setting { ef: reader.u32()? as usize, rerank: reader.u32()? as usize };
            if !(0.0..=1.0).contains(&recall) || setting.ef > 1 << 20 || setting.rerank > 1 << 20 {
                return Err(Error::damaged("a curve with an impossible point"));
            }
            points.push(Point { recall, setting });
        }
        Ok(Self { points })
    }
}

/// Efforts grow about as the logarithm of what is missed falls.
fn between(low: &Point, high: &Point, recall: f32) -> Setting {
    let missed = |recall: f32| (1.0 - recall).max(1e-4).ln();
    let (from, to) = (missed(low.recall), missed(high.recall));
    let share = if from > to { ((from - missed(recall)) / (from - to)).clamp(0.0, 1.0) } else { 1.0 };
    let mix = |a: usize, b: usize| (a as f32 + share * (b as f32 - a as f32)).ceil() as usize;
    Setting { ef: mix(low.setting.ef, high.setting.ef), rerank: mix(low.setting.rerank, high.setting.rerank) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_lie_between_points() {
        let point = |recall, ef, rerank, cost| (Point { recall, setting: Setting { ef, rerank } }, cost);
        let measured = vec![point(0.95, 40, 16, 2.0), point(0.8, 10, 10, 1.0), point(0.7, 50, 10, 3.0)];
        let curve = Curve::of(measured);
        assert_eq!(curve.points.len(), 2, "a dearer setting with less recall is left out");
        assert_eq!(curve.setting(0.5, 10), Setting { ef: 10, rerank: 10 });
        assert_eq!(curve.setting(0.945, 10), Setting { ef: 40, rerank: 16 });
        assert_eq!(curve.setting(0.99, 10), Setting { ef: 40, rerank: 16 });
        let middle = curve.setting(0.9, 10);
        assert!(middle.ef > 10 && middle.ef < 40);
        assert!(curve.setting(0.9, 100).ef > middle.ef + 90);
        let mut out = Writer::default();
        curve.write(&mut out);
        assert_eq!(Curve::read(&mut Reader::new(&out.0, "a curve")).ok(), Some(curve));
    }
}
