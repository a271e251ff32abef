//! `x::type` as PostgreSQL does it. DataFusion's own cast knows neither our types nor PostgreSQL's errors.

use super::error::to_datafusion;
use super::scalar::{Call, array_of, style_of};
use crate::types::arrow::{data_type, type_of};
use crate::types::build::ColumnBuilder;
use crate::types::text::{TextStyle, parse};
use crate::types::{cast, value_at};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use nodedb_base::{Error, Numeric, Result, Type, Value};
use std::sync::Arc;

/// The explicit cast to one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct PgCast {
    to: Type,
    /// Whether the type was written with its length, precision or dimensions.
    exact: bool,
    signature: Signature,
}

impl PgCast {
    /// The cast to a type.
    #[must_use]
    pub fn new(to: Type) -> Self {
        Self::of(to, true)
    }

    /// The cast to `numeric`, `vector` or `varchar` without a length: precision, scale and dimensions are those
    /// of the argument, when it says them.
    #[must_use]
    pub fn open(to: Type) -> Self {
        Self::of(to, false)
    }

    fn of(to: Type, exact: bool) -> Self {
        // What depends on the session's time zone must not be folded beyond the statement.
        let zoned = matches!(to, Type::Timestamptz | Type::Text | Type::Varchar(_) | Type::Date | Type::Timestamp);
        let volatility = if zoned { Volatility::Stable } else { Volatility::Immutable };
        Self { to, exact, signature: Signature::any(1, volatility) }
    }

    fn target(&self, from: &DataType, constant: Option<&ScalarValue>) -> Result<Type> {
        match (&self.to, self.exact) {
            (Type::Numeric { .. }, false) => open_numeric(from, constant),
            (Type::Vector(_) | Type::Halfvec(_), false) => Ok(open_vector(&self.to, from)),
            (Type::Varchar(_), false) => Ok(Type::Text),
            (to, _) => Ok(to.clone()),
        }
    }
}

/// A literal keeps its digits; a float or a text in a column gets ten of them behind the point.
fn open_numeric(from: &DataType, constant: Option<&ScalarValue>) -> Result<Type> {
    let scale = match type_of(from)? {
        Type::Numeric { scale, .. } => scale,
        Type::Int2 | Type::Int4 | Type::Int8 => 0,
        _ => match constant.map(constant_numeric).transpose()?.flatten() {
            Some(number) => number.scale,
            None => 10,
        },
    };
    Ok(Type::Numeric { precision: Numeric::MAX_DIGITS, scale })
}

fn constant_value(constant: &ScalarValue) -> Result<Value> {
    let (array, _) = array_of(&ColumnarValue::Scalar(constant.clone()))?;
    value_at(&array, 0, None)
}

fn constant_numeric(constant: &ScalarValue) -> Result<Option<Numeric>> {
    // Scale 38 would leave no digit before the point, so the value is read without a type.
    match constant_value(constant)? {
        Value::Text(text) => crate::types::text::parse_numeric(&text).map(Some),
        Value::Float8(v) if v.is_finite() => crate::types::coerce::float_digits(v, 15).map(Some),
        Value::Float4(v) if v.is_finite() => crate::types::coerce::float_digits(v.into(), 6).map(Some),
        _ => Ok(None),
    }
}

/// The dimensions of a column stay; whatever else has any.
fn open_vector(to: &Type, from: &DataType) -> Type {
    match (to, type_of(from)) {
        (Type::Vector(_), Ok(from @ Type::Vector(_))) | (Type::Halfvec(_), Ok(from @ Type::Halfvec(_))) => from,
        _ => to.clone(),
    }
}

impl ScalarUDFImpl for PgCast {
    fn name(&self) -> &'static str {
        "nodedb_cast"
    }

    /// Casts to different types have to have different names in a plan.
    fn schema_name(&self, args: &[Expr]) -> datafusion::error::Result<String> {
        let inner: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(format!("CAST({} AS {})", inner.join(", "), self.to))
    }

    fn display_name(&self, args: &[Expr]) -> datafusion::error::Result<String> {
        self.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> datafusion::error::Result<DataType> {
        let from = arguments.first().unwrap_or(&DataType::Null);
        Ok(data_type(&self.target(from, None).map_err(to_datafusion)?))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> datafusion::error::Result<FieldRef> {
        let from = args.arg_fields.first().map_or(&DataType::Null, |field| field.data_type());
        let constant = args.scalar_arguments.first().copied().flatten();
        let target = self.target(from, constant).map_err(to_datafusion)?;
        Ok(Arc::new(Field::new(self.name(), data_type(&target), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion::error::Result<ColumnarValue> {
        let to = match type_of(args.return_type()).map_err(to_datafusion)? {
            _ if self.exact => self.to.clone(),
            found => found,
        };
        let has_length = matches!(to, Type::Varchar(_) | Type::Varbit(1..) | Type::Sparsevec(1..));
        let call = Call::new(&args, false);
        let array = array_of(call.arg(0).map_err(to_datafusion)?).map_err(to_datafusion)?.0;
        if array.data_type() == &data_type(&to) && !has_length {
            return args.args.into_iter().next().ok_or_else(|| to_datafusion(Error::internal("no argument")));
        }
        let style = style_of(&args.config_options);
        call.finish(convert(&array, &to, &style).map_err(to_datafusion)?)
    }
}

fn convert(array: &ArrayRef, to: &Type, style: &TextStyle) -> Result<ArrayRef> {
    let mut builder = ColumnBuilder::new(to, array.len())?;
    for row in 0..array.len() {
        let value = match value_at(array, row, None)? {
            Value::Text(text) if !matches!(to, Type::Varchar(_) | Type::Bit(_) | Type::Varbit(_)) => {
                parse(&text, to, style)?
            }
            other => cast(other, to, style)?,
        };
        builder.append(&value)?;
    }
    builder.finish()
}

/// `expr::to`.
#[must_use]
pub fn cast_expr(expr: Expr, to: Type) -> Expr {
    call(PgCast::new(to), expr)
}

/// `expr::numeric`, `expr::vector`, `expr::varchar`: the type without a length.
#[must_use]
pub fn open_cast_expr(expr: Expr, to: Type) -> Expr {
    call(PgCast::open(to), expr)
}

fn call(cast: PgCast, expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(cast)), vec![expr]))
}
