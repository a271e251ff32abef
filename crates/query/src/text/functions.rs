//! `@@@`, `bm25_score` and `snippet` as functions of a row's texts. Scores are those of the index: how common a word is, the
//! index says.

use crate::error::to_datafusion;
use crate::types::build::column;
use crate::types::{TextStyle, cast, value_at};
use arrow::array::{ArrayRef, BooleanArray, Float32Array};
use arrow::datatypes::DataType;
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use nodedb_base::{Error, Incarnation, Result, Type, Value};
use nodedb_index::{Indexes, TextQuery};
use nodedb_store::catalog::{Catalog, Method};
use parking_lot::Mutex;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What `@@@` is called.
pub const MATCHES: &str = "nodedb_text_matches";
/// What the score is called.
pub const SCORE: &str = "bm25_score";
const SNIPPET: &str = "snippet";
/// Characters of a snippet, unless it is said.
const SNIPPET_LENGTH: i64 = 150;

/// What the functions need of the database.
#[derive(Clone, Debug)]
pub struct TextFunctions {
    /// The definitions of the indexes.
    pub catalog: Arc<Catalog>,
    /// The indexes.
    pub indexes: Arc<Indexes>,
}

impl TextFunctions {
    /// The function of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let what = match name {
            MATCHES => What::Matches,
            SCORE => What::Score,
            SNIPPET => What::Snippet,
            _ => return None,
        };
        let signature = Signature::variadic_any(Volatility::Stable);
        let function = TextFunction { what, surroundings: self.clone(), signature, read: Mutex::default() };
        Some(Arc::new(ScalarUDF::new_from_impl(function)))
    }

    /// A query for an index.
    ///
    /// # Errors
    /// `Statement`: 42601 and the like if it cannot be read, 42704 if there is no such index any more.
    pub fn read(&self, test: &TextTest) -> Result<TextQuery> {
        for table in self.catalog.tables() {
            for definition in table.derived.iter().filter(|definition| definition.id == test.index) {
                if let Method::Bm25(bm25) = &definition.method {
                    let options = super::text_options(table, definition, bm25)?;
                    return TextQuery::new(&options, &test.query, test.column.as_deref());
                }
            }
        }
        Err(Error::statement("42704", "the text index does not exist any more"))
    }
}

/// What a row's texts are tested for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TextTest {
    /// The index.
    pub index: Incarnation,
    /// The query.
    pub query: String,
    /// In which column, if not in all.
    pub column: Option<String>,
}

impl TextTest {
    /// From the constants that a call begins with: the index, the query, the column.
    #[must_use]
    pub fn of_constants(index: &ScalarValue, query: &ScalarValue, column: &ScalarValue) -> Option<Self> {
        let constant = |scalar: &ScalarValue| value_at(&scalar.to_array().ok()?, 0, None).ok();
        let Value::Int8(id) = cast(constant(index)?, &Type::Int8, &TextStyle::default()).ok()? else { return None };
        let Value::Text(query) = constant(query)? else { return None };
        let column = match constant(column)? {
            Value::Text(column) => Some(column),
            _ => None,
        };
        Some(Self { index: Incarnation(u32::try_from(id).ok()?), query, column })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Matches,
    Score,
    Snippet,
}

/// A function over an index's id, a query, the column that it is for, and a row's texts.
struct TextFunction {
    what: What,
    surroundings: TextFunctions,
    signature: Signature,
    /// The query that was read last: it is the same for all batches.
    read: Mutex<Option<(TextTest, Arc<TextQuery>)>>,
}

impl std::fmt::Debug for TextFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TextFunction({:?})", self.what)
    }
}

impl PartialEq for TextFunction {
    fn eq(&self, other: &Self) -> bool {
        self.what == other.what
    }
}

impl Eq for TextFunction {}

impl Hash for TextFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.what.hash(state);
    }
}

impl TextFunction {
    fn query(&self, test: &TextTest) -> Result<Arc<TextQuery>> {
        let mut read = self.read.lock();
        if let Some((_, query)) = read.as_ref().filter(|(known, _)| known == test) {
            return Ok(query.clone());
        }
        let query = Arc::new(self.surroundings.read(test)?);
        *read = Some((test.clone(), query.clone()));
        Ok(query)
    }

    fn run(&self, args: &[ColumnarValue], rows: usize) -> Result<ArrayRef> {
        let [index, query, column, rest @ ..] = args else { return Err(self.misused()) };
        let (ColumnarValue::Scalar(index), ColumnarValue::Scalar(query), ColumnarValue::Scalar(column)) =
            (index, query, column)
        else {
            return Err(Error::unsupported("a text query that is not the same for all rows"));
        };
        if query.is_null() {
            return self.nothing(rows);
        }
        let test = TextTest::of_constants(index, query, column).ok_or_else(|| self.misused())?;
        let query = self.query(&test)?;
        match self.what {
            What::Matches => Ok(Arc::new(BooleanArray::from(query.matches(texts(rest, rows)?)?))),
            What::Score => self.scores(&test, &query, texts(rest, rows)?),
            What::Snippet => snippets(&query, rest, rows),
        }
    }

    fn scores(&self, test: &TextTest, query: &TextQuery, texts: Vec<Vec<String>>) -> Result<ArrayRef> {
        let index = self.surroundings.indexes.get(test.index);
        let snapshot = index.as_ref().and_then(|index| index.kind().as_matches()).map(|index| index.snapshot());
        let scores = match snapshot.transpose()? {
            Some(snapshot) => query.scores(texts, &snapshot)?,
            None => query.own_scores(texts)?,
        };
        Ok(Arc::new(Float32Array::from(scores)))
    }

    /// The answer to no query.
    fn nothing(&self, rows: usize) -> Result<ArrayRef> {
        let ty = self.return_type(&[]).map_err(crate::error::from_datafusion)?;
        Ok(arrow::array::new_null_array(&ty, rows))
    }

    fn misused(&self) -> Error {
        let name = self.name();
        Error::statement("42883", format!("function {name} is of a table under WHERE table @@@ 'query'"))
            .with_hint("The table needs an index: CREATE INDEX ON notes USING bm25 (title, body).")
    }
}

/// The texts of each row.
fn texts(args: &[ColumnarValue], rows: usize) -> Result<Vec<Vec<String>>> {
    let columns = args.iter().map(|arg| values(arg, rows)).collect::<Result<Vec<_>>>()?;
    let text = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        _ => String::new(),
    };
    Ok((0..rows).map(|row| columns.iter().filter_map(|column| column.get(row)).map(text).collect()).collect())
}

fn values(arg: &ColumnarValue, rows: usize) -> Result<Vec<Value>> {
    let array = arg.to_array(rows).map_err(crate::error::from_datafusion)?;
    (0..rows).map(|row| value_at(&array, row, None)).collect()
}

/// `snippet(column number, text [, before [, behind [, length]]])`
fn snippets(query: &TextQuery, args: &[ColumnarValue], rows: usize) -> Result<ArrayRef> {
    let [number, text, rest @ ..] = args else { return Err(Error::internal("snippet without a text")) };
    let (number, texts) = (values(number, rows)?, values(text, rows)?);
    let rest = rest.iter().map(|arg| values(arg, rows)).collect::<Result<Vec<_>>>()?;
    let mut out = Vec::with_capacity(rows);
    for (row, (number, text)) in number.iter().zip(&texts).enumerate() {
        let Value::Text(text) = text else {
            out.push(Value::Null);
            continue;
        };
        let Value::Int8(number) = cast(number.clone(), &Type::Int8, &TextStyle::default())? else {
            return Err(Error::internal("snippet of a column without a number"));
        };
        let said = |at: usize| rest.get(at).and_then(|column| column.get(row)).filter(|value| !value.is_null());
        let mark = |at, default: &str| match said(at) {
            Some(Value::Text(mark)) => mark.clone(),
            _ => default.to_owned(),
        };
        let length = said(2).cloned().unwrap_or(Value::Int8(SNIPPET_LENGTH));
        let length = match cast(length, &Type::Int8, &TextStyle::default())? {
            Value::Int8(length) => usize::try_from(length.max(1)).unwrap_or(usize::MAX),
            _ => SNIPPET_LENGTH as usize,
        };
        let (passage, places) = query.snippet(usize::try_from(number).unwrap_or(usize::MAX), text, length)?;
        out.push(Value::Text(marked(&passage, &places, &mark(0, "<b>"), &mark(1, "</b>"))));
    }
    column(&Type::Text, &out)
}

fn marked(passage: &str, places: &[std::ops::Range<usize>], before: &str, behind: &str) -> String {
    let (mut out, mut at) = (String::with_capacity(passage.len() + 16), 0);
    for place in places {
        out.push_str(passage.get(at..place.start).unwrap_or_default());
        out.push_str(before);
        out.push_str(passage.get(place.clone()).unwrap_or_default());
        out.push_str(behind);
        at = place.end;
    }
    out.push_str(passage.get(at..).unwrap_or_default());
    out
}

impl ScalarUDFImpl for TextFunction {
    fn name(&self) -> &str {
        match self.what {
            What::Matches => MATCHES,
            What::Score => SCORE,
            What::Snippet => SNIPPET,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(match self.what {
            What::Matches => DataType::Boolean,
            What::Score => DataType::Float32,
            What::Snippet => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        self.run(&args.args, args.number_rows).map(ColumnarValue::Array).map_err(to_datafusion)
    }
}
