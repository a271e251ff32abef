//! Arithmetic: of integers and floats with checks, of numerics with PostgreSQL's scales.

use super::error::{error_from_datafusion, to_datafusion};
use super::scalar::array_of;
use crate::types::arrow::type_of;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use nodedb_base::{Error, Numeric, Result};
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};
use std::sync::Arc;

/// Digits behind the point of a quotient or a mean.
const SCALE: u8 = 16;

/// `a + b` of two integers or floats of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Operator,
    signature: Signature,
}

/// A call of the checked form of an operator.
#[must_use]
pub fn checked_call(op: Operator, left: Expr, right: Expr) -> Expr {
    udf(Checked { op, signature: Signature::any(2, Volatility::Immutable) }, vec![left, right])
}

fn udf(function: impl ScalarUDFImpl + 'static, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), args))
}

type DfResult<T> = datafusion::error::Result<T>;

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        "nodedb_checked"
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let args: Vec<_> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(args.join(&format!(" {} ", self.op)))
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        Ok(args.join(&format!(" {} ", self.op)))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        Ok(arguments.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(to_datafusion(Error::internal("an operator was called with the wrong operands")));
        };
        let ty = left.data_type();
        let result = datafusion::physical_expr_common::datum::apply(left, right, |a, b| match self.op {
            Operator::Plus => numeric::add(a, b),
            Operator::Minus => numeric::sub(a, b),
            Operator::Multiply => numeric::mul(a, b),
            _ if ty.is_floating() && has_zero(b.get().0) => Err(ArrowError::DivideByZero),
            _ => numeric::div(a, b),
        });
        result.map_err(|error| overflowed(error, &ty))
    }
}

fn has_zero(array: &dyn Array) -> bool {
    let zero = |n: f64| n == 0.0;
    if let Some(floats) = array.as_primitive_opt::<Float64Type>() {
        return floats.iter().flatten().any(zero);
    }
    array.as_primitive_opt::<Float32Type>().is_some_and(|floats| floats.iter().flatten().any(|n| zero(n.into())))
}

/// The type is known here, unlike where errors are translated.
fn overflowed(error: datafusion::error::DataFusionError, ty: &DataType) -> datafusion::error::DataFusionError {
    let ours = error_from_datafusion(error);
    if ours.sqlstate().as_str() != "22003" {
        return to_datafusion(ours);
    }
    let name = type_of(ty).map_or_else(|_| ty.to_string(), |ty| crate::types::coerce::bare_name(&ty));
    to_datafusion(Error::statement("22003", format!("{name} out of range")))
}

/// What is done with numerics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exact {
    /// `a / b`
    Divide,
    /// `a * b` with more digits than there is room for
    Multiply,
    /// The argument of `avg` and `sum`, wide enough
    Mean,
    /// As `Mean`
    Sum,
    /// What `avg` gave
    Rounded,
    /// The argument as it is
    Same,
}

/// Arithmetic on numerics.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactFunction {
    what: Exact,
    signature: Signature,
}

/// A call of one of them.
#[must_use]
pub fn exact_call(what: Exact, args: Vec<Expr>) -> Expr {
    udf(ExactFunction { what, signature: Signature::any(args.len(), Volatility::Immutable) }, args)
}

/// The scale of a number that is exact, and `None` for all else.
pub fn exact_scale(ty: &DataType) -> Option<u8> {
    match ty {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(0),
        DataType::Decimal128(_, scale) => Some(u8::try_from(*scale).unwrap_or(0)),
        _ => None,
    }
}

const fn decimal(scale: u8) -> DataType {
    DataType::Decimal128(38, scale as i8)
}

impl ExactFunction {
    fn result(&self, types: &[DataType]) -> DataType {
        let first = types.first().cloned().unwrap_or(DataType::Null);
        let scales: Option<Vec<u8>> = types.iter().map(exact_scale).collect();
        let Some(greatest) = scales.and_then(|scales| scales.into_iter().max()) else { return first };
        match self.what {
            Exact::Divide | Exact::Multiply => decimal(greatest.max(SCALE)),
            // avg adds four digits, the last of which is for rounding.
            Exact::Mean => decimal(greatest.max(SCALE - 3)),
            Exact::Sum if matches!(first, DataType::Int64) => decimal(0),
            Exact::Sum | Exact::Same => first,
            Exact::Rounded => decimal(SCALE),
        }
    }
}

impl ScalarUDFImpl for ExactFunction {
    fn name(&self) -> &'static str {
        match self.what {
            Exact::Divide => "nodedb_divide",
            Exact::Multiply => "nodedb_multiply",
            Exact::Mean => "nodedb_mean",
            Exact::Sum => "nodedb_sum",
            Exact::Rounded => "nodedb_rounded",
            Exact::Same => "nodedb_same",
        }
    }

    /// With the casts of its arguments, which names otherwise leave out.
    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        Ok(format!("{}({})", self.name(), args.join(", ")))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        Ok(self.result(arguments))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.result(&types), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let to = args.return_type().clone();
        let Some(first) = args.args.first() else {
            return Err(to_datafusion(Error::internal("an operator was called without operands")));
        };
        match (self.what, args.args.get(1)) {
            (Exact::Divide | Exact::Multiply, Some(second)) => {
                let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
                let rows = if constant { 1 } else { args.number_rows };
                let array = pairwise(self.what, first, second, rows, &to).map_err(to_datafusion)?;
                if constant {
                    ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)
                } else {
                    Ok(ColumnarValue::Array(array))
                }
            }
            _ if first.data_type() == to => Ok(first.clone()),
            _ => first.cast_to(&to, None),
        }
    }
}

/// Both operands row by row; a constant is the same in every row.
fn pairwise(what: Exact, left: &ColumnarValue, right: &ColumnarValue, rows: usize, to: &DataType) -> Result<ArrayRef> {
    let (left, right) = (Operand::new(left)?, Operand::new(right)?);
    let scale = exact_scale(to).unwrap_or(SCALE);
    let mut out = Vec::with_capacity(rows);
    for row in 0..rows {
        out.push(match (left.get(row), right.get(row)) {
            (Some(a), Some(b)) => Some(match what {
                Exact::Divide => quotient(a, left.scale, b, right.scale, scale)?,
                _ => product(a, b, left.scale + right.scale, scale)?,
            }),
            _ => None,
        });
    }
    let array = Decimal128Array::from(out).with_precision_and_scale(38, i8::try_from(scale).unwrap_or(0));
    Ok(Arc::new(array.map_err(|_| overflow())?))
}

struct Operand {
    digits: Decimal128Array,
    scale: u8,
    constant: bool,
}

impl Operand {
    fn new(value: &ColumnarValue) -> Result<Self> {
        let (array, constant) = array_of(value)?;
        let scale = exact_scale(array.data_type()).unwrap_or(0);
        let wide = arrow::compute::cast(&array, &decimal(scale)).map_err(|e| error_from_datafusion(e.into()))?;
        let digits = wide.as_primitive_opt::<Decimal128Type>().cloned();
        let digits = digits.ok_or_else(|| Error::internal("an operand is no numeric"))?;
        Ok(Self { digits, scale, constant })
    }

    fn get(&self, row: usize) -> Option<i128> {
        let row = if self.constant { 0 } else { row };
        (!self.digits.is_null(row)).then(|| self.digits.value(row))
    }
}

fn overflow() -> Error {
    Error::statement("22003", "numeric field overflow")
        .with_detail(format!("A numeric has at most {} digits here.", Numeric::MAX_DIGITS))
}

fn power(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

/// `n / d`, rounded away from zero.
fn rounded(n: BigInt, d: BigInt) -> Result<i128> {
    let half: BigInt = d.abs() / 2;
    let negative = n.is_negative() != d.is_negative();
    let whole: BigInt = (n.abs() + half) / d.abs();
    let fits = whole.to_i128().filter(|v| *v < 10_i128.pow(38)).ok_or_else(overflow)?;
    Ok(if negative { -fits } else { fits })
}

fn quotient(a: i128, a_scale: u8, b: i128, b_scale: u8, scale: u8) -> Result<i128> {
    if b == 0 {
        return Err(Error::statement("22012", "division by zero"));
    }
    let up = u32::from(scale) + u32::from(b_scale);
    let (n, d) = (BigInt::from(a) * power(up), BigInt::from(b) * power(a_scale.into()));
    if n.is_zero() { Ok(0) } else { rounded(n, d) }
}

fn product(a: i128, b: i128, from: u8, scale: u8) -> Result<i128> {
    rounded(BigInt::from(a) * BigInt::from(b) * power(scale.into()), power(from.into()))
}
