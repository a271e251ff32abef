//! DataFusion's functions that make long texts of short ones, with a bound on how long.

use super::error::{error_from_datafusion, to_datafusion};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result as DfResult;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use nodedb_base::{Error, Result};
use std::sync::Arc;

/// The most characters that one call makes for all rows of a batch together.
const MAX_CHARS: u64 = 1 << 28;

/// Puts bounds around those that are registered.
pub(super) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for name in ["repeat", "lpad", "rpad"] {
        let inner = registry.udf(name).map_err(error_from_datafusion)?;
        let bounded = ScalarUDF::new_from_impl(Bounded { inner, repeats: name == "repeat" });
        registry.register_udf(Arc::new(bounded)).map_err(error_from_datafusion)?;
    }
    Ok(())
}

/// A function of a text and a number of characters, or of repetitions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    repeats: bool,
}

impl Bounded {
    /// How many characters a call asks for.
    fn asked(&self, args: &ScalarFunctionArgs) -> DfResult<u64> {
        let (Some(text), Some(count)) = (args.args.first(), args.args.get(1)) else { return Ok(0) };
        let counts = cast(&*count.to_array(args.number_rows)?, &DataType::Int64)?;
        let counts = counts.as_primitive::<Int64Type>().iter();
        let counts = counts.map(|count| count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0));
        if !self.repeats {
            return Ok(counts.fold(0, u64::saturating_add));
        }
        let lengths = cast(&*text.to_array(args.number_rows)?, &DataType::LargeUtf8)?;
        let lengths = lengths.as_string::<i64>();
        let length = |row| if lengths.is_null(row) { 0 } else { lengths.value(row).len() as u64 };
        Ok(counts.enumerate().fold(0, |sum, (row, count)| sum.saturating_add(count.saturating_mul(length(row)))))
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        self.inner.return_type(arguments)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        if self.asked(&args)? > MAX_CHARS {
            let error = Error::limit("54000", "requested length too large");
            let hint = format!("{} makes at most {MAX_CHARS} characters for the rows of a batch.", self.name());
            return Err(to_datafusion(error.with_hint(hint)));
        }
        self.inner.invoke_with_args(args)
    }
}
