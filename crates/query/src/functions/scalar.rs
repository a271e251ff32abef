//! The frame of our scalar functions: a name, a signature, a result type and a body.

use super::error::to_datafusion;
use crate::types::text::{TextStyle, parse};
use crate::types::{json, value_at};
use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use nodedb_base::{Error, Result, Type, Value};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

type Body = Arc<dyn Fn(&Call<'_>) -> Result<ArrayRef> + Send + Sync>;

/// A scalar function. Two of one name are the same function.
pub(super) struct Function {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
    returns: Returns,
    body: Body,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// What a function returns: always the same, or by the types of its arguments.
enum Returns {
    Always(DataType),
    By(fn(&[DataType]) -> DataType),
}

impl Returns {
    fn of(&self, arguments: &[DataType]) -> DataType {
        match self {
            Self::Always(ty) => ty.clone(),
            Self::By(choose) => choose(arguments),
        }
    }
}

/// How many arguments a function takes; it looks at their types itself.
#[derive(Clone, Copy)]
pub(super) enum Arity {
    Exactly(usize),
    Any,
}

impl Function {
    /// A function whose result depends on its arguments alone.
    pub(super) fn new(
        name: &'static str,
        arity: Arity,
        returns: DataType,
        body: impl Fn(&Call<'_>) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Self {
        Self::with_volatility(name, arity, returns, Volatility::Immutable, body)
    }

    pub(super) fn with_volatility(
        name: &'static str,
        arity: Arity,
        returns: DataType,
        volatility: Volatility,
        body: impl Fn(&Call<'_>) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Self {
        let signature = match arity {
            Arity::Exactly(0) => Signature::nullary(volatility),
            Arity::Exactly(n) => Signature::any(n, volatility),
            Arity::Any => {
                use datafusion::logical_expr::TypeSignature::{Nullary, VariadicAny};
                Signature::one_of(vec![VariadicAny, Nullary], volatility)
            }
        };
        Self { name, aliases: Vec::new(), signature, returns: Returns::Always(returns), body: Arc::new(body) }
    }

    /// The result's type depends on those of the arguments.
    pub(super) fn returning(mut self, choose: fn(&[DataType]) -> DataType) -> Self {
        self.returns = Returns::By(choose);
        self
    }

    pub(super) fn alias(mut self, alias: &str) -> Self {
        self.aliases.push(alias.to_owned());
        self
    }

    pub(super) fn build(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> datafusion::error::Result<DataType> {
        Ok(self.returns.of(arguments))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> datafusion::error::Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name, self.returns.of(&types), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion::error::Result<ColumnarValue> {
        // A volatile function without arguments has a value for each row.
        let volatile = self.signature.volatility == Volatility::Volatile;
        let call = Call::new(&args, volatile);
        let array = (self.body)(&call).map_err(to_datafusion)?;
        call.finish(array)
    }
}

/// One call: the arguments, and how many rows the result has (one if all arguments are constants).
pub(super) struct Call<'a> {
    pub(super) args: &'a [ColumnarValue],
    pub(super) rows: usize,
    pub(super) style: TextStyle,
    constant: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(args: &'a ScalarFunctionArgs, volatile: bool) -> Self {
        let constant = !volatile && args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        Self { args: &args.args, rows, style: style_of(&args.config_options), constant }
    }

    pub(super) fn finish(&self, array: ArrayRef) -> datafusion::error::Result<ColumnarValue> {
        if self.constant {
            return ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(array))
    }

    pub(super) fn arg(&self, i: usize) -> Result<&'a ColumnarValue> {
        self.args.get(i).ok_or_else(|| Error::internal("a function was called with too few arguments"))
    }

    /// The types of the arguments.
    pub(super) fn types(&self) -> Vec<DataType> {
        self.args.iter().map(ColumnarValue::data_type).collect()
    }

    pub(super) fn texts(&self, i: usize) -> Result<Texts> {
        Texts::of(self.arg(i)?)
    }

    pub(super) fn jsons(&self, i: usize) -> Result<Texts> {
        Texts::of_json(self.arg(i)?)
    }

    pub(super) fn values(&self, i: usize) -> Result<Values> {
        Values::of(self.arg(i)?)
    }

    /// A `text[]` argument, also given as `'{a,b}'`.
    pub(super) fn names(&self, i: usize) -> Result<Names> {
        Names::of(self.arg(i)?)
    }

    /// One text for each row.
    pub(super) fn each_text(&self, f: impl Fn(usize) -> Result<Option<String>>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(f).collect::<Result<StringArray>>()?))
    }

    /// One `jsonb` for each row.
    pub(super) fn each_json(&self, f: impl Fn(usize) -> Result<Option<String>>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(f).collect::<Result<LargeStringArray>>()?))
    }

    /// One truth value for each row.
    pub(super) fn each_bool(&self, f: impl Fn(usize) -> Result<Option<bool>>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(f).collect::<Result<arrow::array::BooleanArray>>()?))
    }
}

/// The session's time zone, as DataFusion's configuration knows it.
pub(super) fn style_of(options: &ConfigOptions) -> TextStyle {
    let zone = options.execution.time_zone.as_deref().and_then(|name| name.parse().ok());
    zone.map_or_else(TextStyle::default, |zone| TextStyle { zone })
}

pub(super) fn array_of(value: &ColumnarValue) -> Result<(ArrayRef, bool)> {
    match value {
        ColumnarValue::Array(array) => Ok((Arc::clone(array), false)),
        ColumnarValue::Scalar(scalar) => Ok((scalar.to_array().map_err(super::error::error_from_datafusion)?, true)),
    }
}

enum Strings {
    Small(StringArray),
    Large(LargeStringArray),
    View(StringViewArray),
    Null,
}

/// A text argument; a constant is the same in every row.
pub(super) struct Texts {
    strings: Strings,
    constant: bool,
}

impl Texts {
    fn of(value: &ColumnarValue) -> Result<Self> {
        let (array, constant) = array_of(value)?;
        let strings = match array.data_type() {
            DataType::Utf8 => array.as_string_opt::<i32>().cloned().map(Strings::Small),
            DataType::LargeUtf8 => array.as_string_opt::<i64>().cloned().map(Strings::Large),
            DataType::Utf8View => array.as_string_view_opt().cloned().map(Strings::View),
            DataType::Null => Some(Strings::Null),
            other => return Err(wrong_argument(other)),
        };
        Ok(Self { strings: strings.ok_or_else(|| wrong_argument(array.data_type()))?, constant })
    }

    /// A `jsonb` is canonical already; a literal is read first.
    fn of_json(value: &ColumnarValue) -> Result<Self> {
        let texts = Self::of(value)?;
        if matches!(texts.strings, Strings::Large(_) | Strings::Null) {
            return Ok(texts);
        }
        let rows = array_of(value)?.0.len();
        let read = |row| texts.get(row).map(json::canonical).transpose();
        let canonical: LargeStringArray = (0..rows).map(read).collect::<Result<_>>()?;
        Ok(Self { strings: Strings::Large(canonical), constant: texts.constant })
    }

    pub(super) fn get(&self, row: usize) -> Option<&str> {
        let row = if self.constant { 0 } else { row };
        match &self.strings {
            Strings::Small(a) => (!a.is_null(row)).then(|| a.value(row)),
            Strings::Large(a) => (!a.is_null(row)).then(|| a.value(row)),
            Strings::View(a) => (!a.is_null(row)).then(|| a.value(row)),
            Strings::Null => None,
        }
    }
}

impl Texts {
    /// The text, if it is the same in every row.
    pub(super) fn constant(&self) -> Option<&str> {
        if self.constant { self.get(0) } else { None }
    }
}

/// An argument of any type.
pub(super) struct Values {
    array: ArrayRef,
    constant: bool,
}

impl Values {
    fn of(value: &ColumnarValue) -> Result<Self> {
        let (array, constant) = array_of(value)?;
        Ok(Self { array, constant })
    }

    pub(super) fn get(&self, row: usize) -> Result<Value> {
        value_at(&self.array, if self.constant { 0 } else { row }, None)
    }

    /// The argument as a number, for indexes.
    pub(super) fn integer(&self, row: usize) -> Result<Option<i64>> {
        match crate::types::cast(self.get(row)?, &Type::Int8, &TextStyle::default())? {
            Value::Int8(v) => Ok(Some(v)),
            _ => Ok(None),
        }
    }
}

/// A `text[]` argument.
pub(super) struct Names {
    rows: Vec<Option<Vec<String>>>,
    constant: bool,
}

impl Names {
    fn of(value: &ColumnarValue) -> Result<Self> {
        let (array, constant) = array_of(value)?;
        let rows = (0..array.len()).map(|row| names_at(&array, row)).collect::<Result<_>>()?;
        Ok(Self { rows, constant })
    }

    pub(super) fn get(&self, row: usize) -> Option<&[String]> {
        self.rows.get(if self.constant { 0 } else { row })?.as_deref()
    }
}

fn names_at(array: &ArrayRef, row: usize) -> Result<Option<Vec<String>>> {
    let style = TextStyle::default();
    let value = match value_at(array, row, None)? {
        Value::Text(text) => parse(&text, &Type::Array(Box::new(Type::Text)), &style)?,
        other => other,
    };
    match value {
        Value::Null => Ok(None),
        Value::Array(v) => Ok(Some(
            v.items.iter().filter(|item| !item.is_null()).map(|item| crate::types::print(item, &style)).collect(),
        )),
        other => Err(Error::statement(
            "42883",
            format!("function expects text[], not {}", crate::types::coerce::value_type_name(&other)),
        )),
    }
}

fn wrong_argument(ty: &DataType) -> Error {
    let name =
        crate::types::arrow::type_of(ty).map_or_else(|_| ty.to_string(), |t| crate::types::coerce::bare_name(&t));
    Error::statement("42883", format!("function does not exist for an argument of type {name}"))
        .with_hint("You might need to add explicit type casts.")
}
