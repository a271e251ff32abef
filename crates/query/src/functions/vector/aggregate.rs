//! `avg` and `sum` of vectors: `DataFusion`'s own for everything else.

use super::super::error::{error_from_datafusion, to_datafusion};
use super::operand::Kind;
use crate::types::arrow::{data_type, type_of};
use crate::types::build::{column, wrong_dimensions};
use crate::types::coerce::bare_name;
use crate::types::{scalar, value_at};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
    StatisticsArgs, Volatility,
};
use nodedb_base::{Error, Result, Type, Value};
use std::sync::Arc;

/// Puts these in the place of `avg` and `sum`.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for name in ["avg", "sum"] {
        let inner = registry.udaf(name).map_err(error_from_datafusion)?;
        let signature = Signature::user_defined(Volatility::Immutable);
        let aggregate = AggregateUDF::new_from_impl(OfVectors { inner, is_mean: name == "avg", signature });
        registry.register_udaf(Arc::new(aggregate)).map_err(error_from_datafusion)?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfVectors {
    inner: Arc<AggregateUDF>,
    is_mean: bool,
    signature: Signature,
}

fn kind_of(types: &[DataType]) -> Option<Kind> {
    types.first().and_then(Kind::of_type).filter(|kind| matches!(kind, Kind::Vector | Kind::Half))
}

fn is_of_vectors(args: &AccumulatorArgs<'_>) -> bool {
    Kind::of_type(args.return_field.data_type()).is_some()
}

impl AggregateUDFImpl for OfVectors {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        if let ([ty], Some(_)) = (types, kind_of(types)) {
            return Ok(vec![ty.clone()]);
        }
        let fields: Vec<FieldRef> = types.iter().map(|ty| Arc::new(Field::new("x", ty.clone(), true))).collect();
        let coerced = fields_with_udf(&fields, self.inner.as_ref()).map_err(|_| {
            let name = |ty: &DataType| type_of(ty).map_or_else(|_| ty.to_string(), |ty| bare_name(&ty));
            let types: Vec<_> = types.iter().map(name).collect();
            let message = format!("function {}({}) does not exist", self.name(), types.join(", "));
            to_datafusion(Error::statement("42883", message).with_hint("You might need to add explicit type casts."))
        })?;
        Ok(coerced.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        match kind_of(types) {
            Some(kind) => Ok(data_type(&kind.any())),
            None => self.inner.return_type(types),
        }
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        match Kind::of_type(args.return_field.data_type()) {
            Some(kind) => Ok(Box::new(Sums { kind, is_mean: self.is_mean, count: 0, sums: Vec::new() })),
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        if Kind::of_type(args.return_field.data_type()).is_none() {
            return self.inner.state_fields(args);
        }
        let sums = data_type(&Type::Array(Box::new(Type::Float8)));
        let field = |name: &str, ty| Arc::new(Field::new(format!("{}[{name}]", args.name), ty, true));
        Ok(vec![field("count", DataType::Int64), field("sums", sums)])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !is_of_vectors(&args) && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        if is_of_vectors(&args) { self.accumulator(args) } else { self.inner.create_sliding_accumulator(args) }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.inner.value_from_stats(args)
    }

    fn default_value(&self, ty: &DataType) -> DfResult<ScalarValue> {
        self.inner.default_value(ty)
    }

    fn set_monotonicity(&self, ty: &DataType) -> SetMonotonicity {
        if Kind::of_type(ty).is_some() {
            SetMonotonicity::NotMonotonic
        } else {
            self.inner.inner().set_monotonicity(ty)
        }
    }
}

/// How many vectors, and the sum of each number.
#[derive(Debug)]
struct Sums {
    kind: Kind,
    is_mean: bool,
    count: i64,
    sums: Vec<f64>,
}

impl Sums {
    fn add(&mut self, count: i64, numbers: impl ExactSizeIterator<Item = f64>) -> Result<()> {
        if self.count == 0 {
            self.sums = vec![0.0; numbers.len()];
        }
        if self.sums.len() != numbers.len() {
            return match self.is_mean {
                true => Err(wrong_dimensions(self.sums.len(), numbers.len())),
                false => self.kind.check_same(self.sums.len(), numbers.len()),
            };
        }
        self.count += count;
        self.sums.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
        Ok(())
    }

    fn update(&mut self, array: &ArrayRef) -> Result<()> {
        for row in 0..array.len() {
            match value_at(array, row, None)? {
                Value::Vector(v) => self.add(1, v.iter().map(|x| f64::from(*x)))?,
                Value::Halfvec(v) => self.add(1, v.iter().map(|x| x.to_f64()))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn merge(&mut self, counts: &ArrayRef, sums: &ArrayRef) -> Result<()> {
        for row in 0..counts.len() {
            let (Value::Int8(count @ 1..), Value::Array(array)) =
                (value_at(counts, row, None)?, value_at(sums, row, None)?)
            else {
                continue;
            };
            let number = |item: &Value| if let Value::Float8(v) = item { *v } else { 0.0 };
            self.add(count, array.items.iter().map(number).collect::<Vec<_>>().into_iter())?;
        }
        Ok(())
    }

    fn result(&self) -> Result<ScalarValue> {
        let by = if self.is_mean { self.count as f64 } else { 1.0 };
        let numbers: Vec<f32> = self.sums.iter().map(|sum| self.kind.rounded((sum / by) as f32)).collect();
        if numbers.iter().any(|x| x.is_infinite()) {
            return Err(Error::statement("22003", "value out of range: overflow"));
        }
        let value = if self.count == 0 { Value::Null } else { self.kind.value(numbers)? };
        scalar::of_value(&value, Some(&self.kind.any()))
    }
}

impl Accumulator for Sums {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        values.iter().try_for_each(|array| self.update(array)).map_err(to_datafusion)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        self.result().map_err(to_datafusion)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sums.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let items = self.sums.iter().copied().map(Value::Float8).collect();
        let sums = Value::Array(nodedb_base::Array { element: Type::Float8, items });
        let sums = column(&Type::Array(Box::new(Type::Float8)), [&sums]).map_err(to_datafusion)?;
        Ok(vec![ScalarValue::Int64(Some(self.count)), ScalarValue::try_from_array(&sums, 0)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        match states {
            [counts, sums] => self.merge(counts, sums).map_err(to_datafusion),
            _ => Err(to_datafusion(Error::internal("the state of an aggregate has two parts"))),
        }
    }
}
