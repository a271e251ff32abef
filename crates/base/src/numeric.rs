//! Exact decimal numbers.

use std::cmp::Ordering;

/// The powers of ten that fit.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const POWERS: [i128; 39] = {
    let mut powers = [1_i128; 39];
    let mut i = 1;
    while i < 39 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// A decimal number: `unscaled / 10^scale`, at most 38 digits in all. The scale is part of what is shown
/// (1.50 and 1.5 are equal and print differently).
#[derive(Clone, Copy, Debug)]
pub struct Numeric {
    /// All digits, with the sign.
    pub unscaled: i128,
    /// How many of them stand behind the point, 0 to 38.
    pub scale: u8,
}

impl Numeric {
    /// Most digits that a number can have.
    pub const MAX_DIGITS: u8 = 38;

    /// `10^n`, if it fits.
    #[must_use]
    pub fn power_of_ten(n: u8) -> Option<i128> {
        POWERS.get(usize::from(n)).copied()
    }

    /// The number with another scale: rounded half away from zero when digits go, as PostgreSQL rounds.
    /// `None` when it no longer fits 38 digits.
    #[must_use]
    pub fn rescale(self, scale: u8) -> Option<Self> {
        let unscaled = match scale.cmp(&self.scale) {
            Ordering::Equal => self.unscaled,
            Ordering::Greater => self.unscaled.checked_mul(Self::power_of_ten(scale - self.scale)?)?,
            Ordering::Less => match Self::power_of_ten(self.scale - scale) {
                Some(divisor) => divide_rounded(self.unscaled, divisor),
                None => 0,
            },
        };
        Some(Self { unscaled, scale })
    }

    /// How many digits the number has, without leading zeros.
    #[must_use]
    pub fn digits(self) -> u8 {
        let magnitude = self.unscaled.unsigned_abs();
        magnitude.checked_ilog10().map_or(0, |n| n as u8 + 1)
    }

    /// The number without trailing zeros behind the point.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        while self.scale > 0 && self.unscaled % 10 == 0 {
            self.unscaled /= 10;
            self.scale -= 1;
        }
        self
    }

    /// Reads `-12.50`, `1e3`, `.5`. `None` if it is not a number or has too many digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)?.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut unscaled = 0_i128;
        for byte in whole.bytes().chain(fraction.bytes()) {
            let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
            unscaled = unscaled.checked_mul(10)?.checked_add(digit)?;
        }
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        Self::from_parts(if negative { -unscaled } else { unscaled }, scale)
    }

    /// `unscaled * 10^-scale`, where the scale may be negative or too large.
    fn from_parts(unscaled: i128, scale: i32) -> Option<Self> {
        if unscaled == 0 {
            return Some(Self { unscaled, scale: scale.clamp(0, i32::from(Self::MAX_DIGITS)) as u8 });
        }
        if scale < 0 {
            let power = Self::power_of_ten(u8::try_from(-scale).ok()?)?;
            return Some(Self { unscaled: unscaled.checked_mul(power)?, scale: 0 });
        }
        let scale = u8::try_from(scale).ok()?;
        if scale > Self::MAX_DIGITS {
            return Self { unscaled, scale }.rescale(Self::MAX_DIGITS);
        }
        Some(Self { unscaled, scale })
    }
}

fn divide_rounded(value: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (value / divisor, value % divisor);
    if rest.unsigned_abs() * 2 >= divisor.unsigned_abs() { quotient + value.signum() } else { quotient }
}

impl std::fmt::Display for Numeric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let magnitude = self.unscaled.unsigned_abs();
        match Self::power_of_ten(self.scale) {
            Some(power) if self.scale > 0 => {
                let power = power.unsigned_abs();
                let width = usize::from(self.scale);
                write!(f, "{sign}{}.{:0width$}", magnitude / power, magnitude % power)
            }
            _ => write!(f, "{sign}{magnitude}"),
        }
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.normalized(), other.normalized());
        (a.unscaled, a.scale) == (b.unscaled, b.scale)
    }
}

impl Eq for Numeric {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_in_and_out() {
        for (text, shown) in
            [("1.50", "1.50"), ("-0.05", "-0.05"), (".5", "0.5"), ("1e3", "1000"), ("12e-3", "0.012"), ("7.", "7")]
        {
            assert_eq!(Numeric::parse(text).unwrap().to_string(), shown);
        }
        for bad in ["", "-", ".", "1e", "abc", "1.2.3", "999999999999999999999999999999999999999999"] {
            assert!(Numeric::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        let round = |text: &str, scale| Numeric::parse(text).unwrap().rescale(scale).unwrap().to_string();
        assert_eq!(round("2.345", 2), "2.35");
        assert_eq!(round("-2.345", 2), "-2.35");
        assert_eq!(round("2.344", 2), "2.34");
        assert_eq!(round("2", 3), "2.000");
    }
}
