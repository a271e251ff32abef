//! `hybrid_search(...)` in FROM: the query over two ranked lists that it stands for.

use crate::parse::{self, LiteralText};
use nodedb_base::{Error, Result, Type};
use nodedb_store::catalog::{Catalog, Method, Table, VectorClass};
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, Query, SetExpr, Statement, TableAlias, TableFactor, TableFunctionArgs,
};
use std::sync::Arc;

/// The name of the function.
const NAME: &str = "hybrid_search";
/// What ranks are counted from in reciprocal rank fusion: the `k` of Cormack, Clarke and Büttcher (SIGIR 2009).
const RRF: u32 = 60;
/// The weights of scores, where nobody has tried which are best: those that Bruch, Gai and Ingber ("An Analysis of Fusion
/// Functions for Hybrid Retrieval", TOIS 2023) found good on data of many kinds without tuning.
const LINEAR: (f64, f64) = (0.2, 0.8);
/// The columns that it adds.
const ADDED: [&str; 3] = ["score", "text_score", "vector_distance"];
/// Rows that are wanted, unless it is said.
const FEW: usize = 10;
/// How many times as many rows each list has, and how many at least and at most.
const LONGER: usize = 4;
const LIST: (usize, usize) = (100, 2_000);

/// Puts the query in the place of the function, if this is one.
///
/// # Errors
/// `Statement`: 42P01, 42703 for what is not there, 42P10 if a column must be named, 22023 and 42601 for arguments that cannot be.
pub fn expand(factor: &mut TableFactor, catalog: &Catalog) -> Result<()> {
    let TableFactor::Table { name, alias, args: Some(args), .. } = factor else { return Ok(()) };
    if super::rewrite::last_of(name) != NAME {
        return Ok(());
    }
    let arguments = Arguments::read(args)?;
    let query = subquery(&arguments.sql(catalog)?)?;
    let alias = alias.take().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::with_quote('"', NAME),
        columns: Vec::new(),
        at: None,
    });
    *factor = TableFactor::Derived { lateral: false, subquery: query, alias: Some(alias), sample: None };
    Ok(())
}

fn subquery(sql: &str) -> Result<Box<Query>> {
    match parse::statement(sql)? {
        Some(Statement::Query(query)) if matches!(query.body.as_ref(), SetExpr::Select(_)) => Ok(query),
        _ => Err(Error::internal(format!("no query: {sql}"))),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fusion {
    Rrf,
    Linear,
}

/// What the function is given.
struct Arguments {
    table: String,
    text: Option<Expr>,
    vector: Option<Expr>,
    text_column: Option<String>,
    vector_column: Option<String>,
    k: Expr,
    candidates: Option<usize>,
    fusion: Fusion,
    /// Of the text, of the vector.
    weights: Option<(f64, f64)>,
    filter: Option<Expr>,
}

impl Arguments {
    fn read(args: &TableFunctionArgs) -> Result<Self> {
        let mut read = Self {
            table: String::new(),
            text: None,
            vector: None,
            text_column: None,
            vector_column: None,
            k: parse::expression(&FEW.to_string())?,
            candidates: None,
            fusion: Fusion::Linear,
            weights: None,
            filter: None,
        };
        for (at, arg) in args.args.iter().enumerate() {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if at == 0 => read.set("table", expr)?,
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                    read.set(&parse::name(name), expr)?
                }
                FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
                    read.set(&parse::name(name), expr)?;
                }
                other => return Err(wrong(&format!("argument {other}"))),
            }
        }
        if read.table.is_empty() || (read.text.is_none() && read.vector.is_none()) {
            return Err(wrong("it needs a table, and a text or a vector"));
        }
        Ok(read)
    }

    fn set(&mut self, name: &str, expr: &Expr) -> Result<()> {
        match name {
            "table" => self.table = literal(name, expr)?,
            "text" => self.text = Some(expr.clone()),
            "vector" => self.vector = Some(expr.clone()),
            "text_column" => self.text_column = Some(literal(name, expr)?),
            "vector_column" => self.vector_column = Some(literal(name, expr)?),
            "k" => self.k = expr.clone(),
            "candidates" => {
                let count = literal(name, expr)?.parse().ok().filter(|count| (1..=LIST.1).contains(count));
                self.candidates = Some(count.ok_or_else(|| wrong(&format!("candidates are 1 to {}", LIST.1)))?);
            }
            "fusion" => {
                self.fusion = match literal(name, expr)?.as_str() {
                    "rrf" => Fusion::Rrf,
                    "linear" => Fusion::Linear,
                    other => return Err(wrong(&format!("fusion is rrf or linear, not {other}"))),
                }
            }
            "weights" => self.weights = Some(weights(expr)?),
            "filter" => self.filter = Some(parse::expression(&literal(name, expr)?)?),
            other => return Err(wrong(&format!("there is no argument {other}"))),
        }
        Ok(())
    }

    /// The query in SQL.
    fn sql(&self, catalog: &Catalog) -> Result<String> {
        let table = catalog.table(&self.table).ok_or_else(|| crate::planner::no_relation(&self.table))?;
        let key = key_of(table)?;
        let keys = key.join(", ");
        let mut lists = Vec::new();
        if let Some(text) = &self.text {
            lists.push(self.text_list(table, text, &keys)?);
        }
        if let Some(vector) = &self.vector {
            lists.push(self.vector_list(table, vector, &keys)?);
        }
        let lists = lists.join(" UNION ALL ");
        // What the function adds comes in the place of columns of the same names.
        let others = table.columns.iter().filter(|column| !ADDED.contains(&column.name.as_str()));
        let columns: Vec<_> = others.map(|column| format!("t.{}", quoted(&column.name))).collect();
        let joined: Vec<_> = key.iter().map(|key| format!("t.{key} = f.{key}")).collect();
        let (columns, joined, k) = (columns.join(", "), joined.join(" AND "), &self.k);
        let fused = format!(
            "SELECT {keys}, sum(\"nodedb.part\") AS \"nodedb.score\", max(\"nodedb.s\") AS \"nodedb.s\", max(\"nodedb.d\") AS \"nodedb.d\" \
             FROM ({lists}) AS lists GROUP BY {keys} ORDER BY \"nodedb.score\" DESC, {keys} LIMIT {k}"
        );
        Ok(format!(
            "SELECT {columns}, f.\"nodedb.score\" AS score, f.\"nodedb.s\" AS text_score, f.\"nodedb.d\" AS vector_distance \
             FROM ({fused}) AS f JOIN {} AS t ON {joined} ORDER BY f.\"nodedb.score\" DESC",
            quoted(&self.table)
        ))
    }

    /// How much the text counts, and how much the vector.
    fn weights(&self) -> (f64, f64) {
        self.weights.unwrap_or(match self.fusion {
            Fusion::Rrf => (1.0, 1.0),
            Fusion::Linear => LINEAR,
        })
    }

    /// Rows of a list.
    fn length(&self) -> usize {
        let k: Option<usize> = match parse::literal(&self.k) {
            Some(LiteralText::Number(k)) => k.parse().ok(),
            _ => None,
        };
        // One that comes with the execution may be large.
        let length = k.map_or(LIST.1, |k| k.saturating_mul(LONGER).clamp(LIST.0, LIST.1).max(k));
        self.candidates.unwrap_or(length)
    }

    fn condition(&self) -> String {
        self.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({filter})"))
    }

    /// Keys, scores and ranks of the rows that match the text.
    fn text_list(&self, table: &Table, text: &Expr, keys: &str) -> Result<String> {
        let column = self.text_column.as_ref().map(|name| column_of(table, name)).transpose()?;
        if table.text_index(column).is_none() {
            return Err(Error::statement("42704", format!("table \"{}\" has no text index", table.name))
                .with_hint("Make one: CREATE INDEX ON notes USING bm25 (title, body)."));
        }
        let name = quoted(&table.name);
        let subject = match &self.text_column {
            Some(column) => format!("{name}.{}", quoted(column)),
            None => name.clone(),
        };
        let (condition, length, weight) = (self.condition(), self.length(), self.weights().0);
        let ranked = format!(
            "SELECT {keys}, \"nodedb.s\", row_number() OVER (ORDER BY \"nodedb.s\" DESC, {keys}) AS \"nodedb.r\" FROM \
             (SELECT {keys}, bm25_score({name})::float8 AS \"nodedb.s\" FROM {name} WHERE {subject} @@@ ({text}){condition} ORDER BY bm25_score({name}) DESC LIMIT {length}) AS found"
        );
        let score = match self.fusion {
            Fusion::Rrf => format!("{weight}::float8 / ({RRF} + \"nodedb.r\")"),
            Fusion::Linear => format!("{weight}::float8 * \"nodedb.s\" / nullif(max(\"nodedb.s\") OVER (), 0)"),
        };
        Ok(format!(
            "SELECT {keys}, nullif({score}, -1) AS \"nodedb.part\", \"nodedb.s\", NULL::float8 AS \"nodedb.d\" FROM ({ranked}) AS texts"
        ))
    }

    /// Keys, distances and ranks of the rows that are near the vector.
    fn vector_list(&self, table: &Table, vector: &Expr, keys: &str) -> Result<String> {
        let (column, class) = self.vector_column(table)?;
        let name = quoted(&table.name);
        let condition = self.filter.as_ref().map_or_else(String::new, |filter| format!(" WHERE ({filter})"));
        let (length, weight) = (self.length(), self.weights().1);
        let distance = match class.operator() {
            Some(operator) => format!("{} {operator} ({vector})", quoted(&column)),
            None => format!("{}({}, {vector})", class.function(), quoted(&column)),
        };
        let ranked = format!(
            "SELECT {keys}, \"nodedb.d\", row_number() OVER (ORDER BY \"nodedb.d\", {keys}) AS \"nodedb.r\" FROM \
             (SELECT {keys}, {distance} AS \"nodedb.d\" FROM {name}{condition} ORDER BY {distance} LIMIT {length}) AS found \
             WHERE \"nodedb.d\" < 'Infinity'::float8"
        );
        let score = match self.fusion {
            Fusion::Rrf => format!("{weight}::float8 / ({RRF} + \"nodedb.r\")"),
            Fusion::Linear => format!(
                "{weight}::float8 * CASE WHEN max(\"nodedb.d\") OVER () = min(\"nodedb.d\") OVER () THEN 1::float8 \
                 ELSE (max(\"nodedb.d\") OVER () - \"nodedb.d\") / (max(\"nodedb.d\") OVER () - min(\"nodedb.d\") OVER ()) END"
            ),
        };
        Ok(format!(
            "SELECT {keys}, nullif({score}, -1) AS \"nodedb.part\", NULL::float8 AS \"nodedb.s\", \"nodedb.d\" FROM ({ranked}) AS vectors"
        ))
    }

    /// The column of vectors, and what is near by its index; cosine distance if it has none.
    fn vector_column(&self, table: &Table) -> Result<(String, VectorClass)> {
        let at = match &self.vector_column {
            Some(name) => column_of(table, name)?,
            None => {
                let is_vector = |at: &usize| table.columns.get(*at).is_some_and(|column| is_vector(&column.ty));
                let mut vectors = (0..table.columns.len()).filter(is_vector);
                match (vectors.next(), vectors.next()) {
                    (Some(at), None) => at as u16,
                    (None, _) => return Err(wrong(&format!("table \"{}\" has no column of vectors", table.name))),
                    _ => {
                        let message = format!("table \"{}\" has several columns of vectors", table.name);
                        return Err(Error::statement("42P10", message).with_hint("Say vector_column => 'name'."));
                    }
                }
            }
        };
        let name = table.columns.get(usize::from(at)).map(|column| column.name.clone()).unwrap_or_default();
        let class = table.derived.iter().find_map(|index| match &index.method {
            Method::Hnsw(hnsw) if index.columns.contains(&at) => Some(hnsw.class),
            _ => None,
        });
        Ok((name, class.unwrap_or(VectorClass::Cosine)))
    }
}

const fn is_vector(ty: &Type) -> bool {
    ty.is_vector()
}

/// The primary key, by which the rows of both lists are known.
fn key_of(table: &Arc<Table>) -> Result<Vec<String>> {
    let key = table.primary_key.as_ref().ok_or_else(|| {
        Error::statement("42P10", format!("hybrid_search needs a primary key, which table \"{}\" has not", table.name))
    })?;
    let name = |at: &u16| table.columns.get(usize::from(*at)).map(|column| quoted(&column.name));
    Ok(key.columns.iter().filter_map(name).collect())
}

fn column_of(table: &Table, name: &str) -> Result<u16> {
    let at = table.column(name).and_then(|at| u16::try_from(at).ok());
    at.ok_or_else(|| Error::statement("42703", format!("column \"{name}\" does not exist")))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(name: &str, expr: &Expr) -> Result<String> {
    match parse::literal(expr) {
        Some(LiteralText::Unknown(text) | LiteralText::Number(text)) => Ok(text),
        _ => Err(wrong(&format!("{name} must be a literal"))),
    }
}

/// `ARRAY[2, 1]`: how much the text counts, and how much the vector.
fn weights(expr: &Expr) -> Result<(f64, f64)> {
    let wrong = || wrong("weights are two numbers: ARRAY[1, 2] for text and vector");
    let Expr::Array(array) = expr else { return Err(wrong()) };
    let number = |expr: &Expr| {
        literal("weights", expr)?.parse::<f64>().ok().filter(|n| (0.0..=1e6).contains(n)).ok_or_else(wrong)
    };
    match array.elem.as_slice() {
        [text, vector] => Ok((number(text)?, number(vector)?)),
        _ => Err(wrong()),
    }
}

fn wrong(what: &str) -> Error {
    Error::statement("22023", format!("{NAME}: {what}")).with_hint(
        "hybrid_search('notes', text => 'words', vector => $1, k => 10, fusion => 'linear', weights => ARRAY[1, 4], filter => 'stars > 3')",
    )
}
