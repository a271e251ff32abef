//! What stands behind a scalar subquery: an aggregate that keeps up to two rows, and a function around the
//! subquery that takes the only one, or fails. The failure comes from the function, since a subquery may be
//! computed for more rows of the outer query than are wanted.

use super::error::{error_from_datafusion, to_datafusion};
use super::scalar::{Arity, Call, Function, array_of};
use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ScalarUDF, Signature, Volatility};
use nodedb_base::{Error, Result};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Few {
    signature: Signature,
}

/// The aggregate `nodedb_few`.
pub(super) fn aggregate() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Few { signature: Signature::any(1, Volatility::Immutable) }))
}

/// The function `nodedb_only`.
pub(super) fn function() -> Arc<ScalarUDF> {
    Function::new("nodedb_only", Arity::Exactly(1), DataType::Null, only).returning(element).build()
}

fn element(types: &[DataType]) -> DataType {
    match types.first() {
        Some(DataType::List(field)) => field.data_type().clone(),
        _ => DataType::Null,
    }
}

fn only(call: &Call<'_>) -> Result<ArrayRef> {
    let (array, _) = array_of(call.arg(0)?)?;
    let lists = array.as_list_opt::<i32>().ok_or_else(|| Error::internal("the rows of a subquery are no list"))?;
    let mut places = Vec::with_capacity(lists.len());
    for (row, window) in lists.offsets().windows(2).enumerate() {
        let (&[from, to], false) = (window, lists.is_null(row)) else {
            places.push(None);
            continue;
        };
        match to - from {
            0 => places.push(None),
            1 => places.push(u64::try_from(from).ok()),
            _ => {
                let message = "more than one row returned by a subquery used as an expression";
                return Err(Error::statement("21000", message));
            }
        }
    }
    take(lists.values(), &UInt64Array::from(places), None).map_err(|e| error_from_datafusion(e.into()))
}

fn list_of(ty: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(ty.clone(), true)))
}

impl AggregateUDFImpl for Few {
    fn name(&self) -> &'static str {
        "nodedb_few"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        Ok(list_of(arguments.first().unwrap_or(&DataType::Null)))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let ty = element(std::slice::from_ref(args.return_field.data_type()));
        Ok(Box::new(Rows { ty, rows: Vec::new() }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new("rows", args.return_field.data_type().clone(), true))])
    }
}

#[derive(Debug)]
struct Rows {
    ty: DataType,
    rows: Vec<ScalarValue>,
}

impl Rows {
    fn see(&mut self, values: &ArrayRef) -> DfResult<()> {
        for at in 0..values.len().min(2_usize.saturating_sub(self.rows.len())) {
            self.rows.push(ScalarValue::try_from_array(values, at)?);
        }
        Ok(())
    }

    fn list(&self) -> ScalarValue {
        ScalarValue::List(ScalarValue::new_list_nullable(&self.rows, &self.ty))
    }
}

impl Accumulator for Rows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        values.first().map_or(Ok(()), |values| self.see(values))
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.list())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + ScalarValue::size_of_vec(&self.rows)
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![self.list()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let lists = states.first().and_then(|lists| lists.as_list_opt::<i32>());
        let lists = lists.ok_or_else(|| to_datafusion(Error::internal("the rows of a subquery are no list")))?;
        lists.iter().flatten().try_for_each(|values| self.see(&values))
    }
}
