//! [`Price`]: what origin charges for traffic.

use storage_core::internal::escape_invisible;
use storage_core::{Error, Result};

const BYTES_PER_GB: f64 = 1e9;
/// The maximum length of a currency, in characters.
const MAX_CURRENCY: usize = 8;

/// The price of traffic from origin.
#[derive(Debug, Clone)]
pub(crate) struct Price {
    pub(super) per_gb: f64,
    pub(super) currency: String,
}

impl Price {
    /// Returns `None` if there is no price.
    ///
    /// # Errors
    /// Fails with `InvalidConfig` if the price is negative or not finite, or if the currency is
    /// empty, longer than 8 characters, or has invisible characters.
    pub(super) fn new(per_gb: Option<f64>, currency: &str) -> Result<Option<Self>> {
        let length = currency.trim().chars().count();
        if length == 0 || length > MAX_CURRENCY || escape_invisible(currency) != currency {
            return Err(Error::config(
                "currency: needs 1 to 8 visible characters, as in \"$\" or \"EUR\"",
            ));
        }
        let Some(per_gb) = per_gb else { return Ok(None) };
        if !per_gb.is_finite() || per_gb < 0.0 {
            return Err(Error::config(
                "price_per_gb: must be 0 or more, in units of the currency, as in 0.09",
            ));
        }
        Ok(Some(Self { per_gb, currency: currency.trim().to_owned() }))
    }

    /// Returns the price of a number of bytes.
    pub(super) fn of(&self, bytes: u64) -> f64 {
        bytes as f64 / BYTES_PER_GB * self.per_gb
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gb_has_a_billion_bytes() {
        let price = Price::new(Some(0.09), "$").unwrap().unwrap();
        assert_eq!(price.of(1_000_000_000), 0.09);
        assert!(Price::new(None, "$").unwrap().is_none());
    }

    #[test]
    fn an_invalid_price_or_currency_is_an_error_with_the_name_of_the_option() {
        for price in [-0.01, f64::NAN, f64::INFINITY] {
            let error = Price::new(Some(price), "$").unwrap_err();
            assert!(error.message().starts_with("price_per_gb:"), "{price}: {error}");
        }
        for currency in ["", " ", "too long a name", "\u{202e}", "a\nb"] {
            let error = Price::new(None, currency).unwrap_err();
            assert!(error.message().starts_with("currency:"), "{currency:?}: {error}");
        }
    }
}
