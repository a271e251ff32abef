//! DataFusion's functions that make long texts of short ones, with a bound on how long.

use super::error::{error_from_datafusion, to_datafusion};
use arrow::array::{Array, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result as DfResult;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use nodedb_base::{Error, Result};
use std::sync::Arc;

/// The most that one call makes for all rows of a batch together: bytes, or characters where a text is filled up.
const MAX_BYTES: u64 = 1 << 28;

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
    /// How many bytes or characters a call asks for, at most. `counts` are none below 0.
    fn asked(&self, args: &ScalarFunctionArgs, counts: &Int64Array) -> DfResult<u64> {
        let Some(text) = args.args.first() else { return Ok(0) };
        let texts = lengths(text)?;
        let fill = if self.repeats { None } else { args.args.get(2).map(lengths).transpose()? };
        let of = |list: &[u64], row: usize| list.get(if list.len() == 1 { 0 } else { row }).copied().unwrap_or(0);
        let one = |row: usize| {
            let (count, length) = (counts.value(row).cast_unsigned(), of(&texts, row));
            match &fill {
                _ if counts.is_null(row) || length == NULL => 0,
                None if self.repeats => count.saturating_mul(length),
                // Nothing to fill with: the text is cut, and never longer.
                Some(fill) if of(fill, row) == 0 || of(fill, row) == NULL => length,
                _ => count,
            }
        };
        Ok((0..args.number_rows).map(one).fold(0, u64::saturating_add))
    }
}

/// The length of a text that is NULL.
const NULL: u64 = u64::MAX;

/// The bytes of each text; of a constant one only once.
fn lengths(text: &ColumnarValue) -> DfResult<Vec<u64>> {
    let texts = match text {
        ColumnarValue::Array(texts) => cast(texts, &DataType::LargeUtf8)?,
        ColumnarValue::Scalar(text) => cast(&text.to_array()?, &DataType::LargeUtf8)?,
    };
    let texts = texts.as_string::<i64>();
    Ok(texts.iter().map(|text| text.map_or(NULL, |text| text.len() as u64)).collect())
}

/// The counts of a call, none below 0, which DataFusion's functions do not expect in a column.
fn counts(args: &ScalarFunctionArgs) -> DfResult<Int64Array> {
    let Some(counts) = args.args.get(1) else { return Ok(Int64Array::new_null(args.number_rows)) };
    let counts = cast(&*counts.to_array(args.number_rows)?, &DataType::Int64)?;
    Ok(counts.as_primitive::<Int64Type>().unary(|count| count.max(0)))
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

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let counts = counts(&args)?;
        let constant = match args.args.first() {
            Some(text @ ColumnarValue::Scalar(_)) => lengths(text)?.first().copied().filter(|length| *length != NULL),
            _ => None,
        };
        // A constant text is copied for each row before anything is made of it.
        let copies = constant.map_or(0, |length| length.saturating_mul(args.number_rows as u64));
        if self.asked(&args, &counts)?.max(copies) > MAX_BYTES {
            let error = Error::limit("54000", "requested length too large");
            let hint = format!("{} makes at most {MAX_BYTES} bytes for the rows of a batch.", self.name());
            return Err(to_datafusion(error.with_hint(hint)));
        }
        if let Some(place @ ColumnarValue::Array(_)) = args.args.get_mut(1) {
            *place = ColumnarValue::Array(Arc::new(counts));
        }
        self.inner.invoke_with_args(args)
    }
}
