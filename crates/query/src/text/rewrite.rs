//! From `notes @@@ 'query'` to functions of an index, a query and a row's texts.

use super::functions::{MATCHES, SCORE};
use crate::parse;
use crate::rewrite::call;
use nodedb_base::{Error, Result};
use nodedb_store::catalog::{Catalog, DerivedIndex, Table};
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, OrderBy,
    OrderByKind, Query, Select, SetExpr, TableFactor, Value as Literal, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Rewrites a query and all that are in it.
///
/// # Errors
/// `Statement`: 42704 if a table has no text index, 42P10 for a score or a snippet of what is not searched.
pub fn rewrite(query: &mut Query, catalog: &Catalog) -> Result<()> {
    match VisitMut::visit(query, &mut Queries { catalog }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Goes through queries, each of which has tables of its own.
struct Queries<'c> {
    catalog: &'c Catalog,
}

impl VisitorMut for Queries<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match query.body.as_mut() {
            SetExpr::Select(select) => self.select(select, query.order_by.as_mut()),
            body => self.arms(body),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match super::hybrid::expand(factor, self.catalog) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Queries<'_> {
    /// The SELECTs of a UNION and the like; queries in parentheses come by themselves.
    fn arms(&self, body: &mut SetExpr) -> ControlFlow<Error> {
        match body {
            SetExpr::Select(select) => self.select(select, None),
            SetExpr::SetOperation { left, right, .. } => {
                self.arms(left)?;
                self.arms(right)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn select(&self, select: &mut Select, order_by: Option<&mut OrderBy>) -> ControlFlow<Error> {
        let mut scope = Scope { tables: searched(select, self.catalog), depth: 0 };
        if scope.tables.is_empty() && !mentions(select) {
            return ControlFlow::Continue(());
        }
        // What is searched for is said in WHERE; the other parts go by it.
        if let Some(selection) = &mut select.selection {
            if let Err(error) = scope.note_conjuncts(selection) {
                return ControlFlow::Break(error);
            }
            VisitMut::visit(selection, &mut scope)?;
        }
        for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
            VisitMut::visit(&mut join.join_operator, &mut scope)?;
        }
        for item in &mut select.projection {
            VisitMut::visit(item, &mut scope)?;
        }
        VisitMut::visit(&mut select.group_by, &mut scope)?;
        if let Some(having) = &mut select.having {
            VisitMut::visit(having, &mut scope)?;
        }
        if let Some(order) = order_by
            && let OrderByKind::Expressions(orders) = &mut order.kind
        {
            for order in orders {
                VisitMut::visit(&mut order.expr, &mut scope)?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Whether a text operator stands in WHERE.
fn mentions(select: &Select) -> bool {
    struct Looks;
    impl sqlparser::ast::Visitor for Looks {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if is_search(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let mut selection = select.selection.iter();
    selection.any(|selection| sqlparser::ast::Visit::visit(selection, &mut Looks).is_break())
}

fn is_search(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::Custom(op), .. } if op == "@@@")
}

/// A query, and the column that it is for.
type Asked = (Expr, Option<String>);

/// A table of FROM that has a text index.
struct Searched {
    alias: String,
    table: Arc<Table>,
    /// What it is searched for, once that is known, and by which index.
    query: Option<(DerivedIndex, Asked)>,
}

fn searched(select: &Select, catalog: &Catalog) -> Vec<Searched> {
    let mut tables = Vec::new();
    for from in &select.from {
        for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)) {
            let TableFactor::Table { name, alias, args: None, .. } = factor else { continue };
            let Ok(relation) = parse::relation(name) else { continue };
            let Some(table) = catalog.table(&relation).filter(|table| table.text_index(None).is_some()) else {
                continue;
            };
            let alias = alias.as_ref().map_or(relation, |alias| parse::name(&alias.name));
            tables.push(Searched { alias, table: table.clone(), query: None });
        }
    }
    tables
}

/// The expressions of one SELECT, without those of queries within.
struct Scope {
    tables: Vec<Searched>,
    depth: usize,
}

impl VisitorMut for Scope {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        match self.rewritten(expr) {
            Ok(Some(new)) => *expr = new,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

impl Scope {
    fn rewritten(&mut self, expr: &Expr) -> Result<Option<Expr>> {
        match expr {
            Expr::BinaryOp { left, right, .. } if is_search(expr) => self.search(left, right).map(Some),
            Expr::Function(function) => match last_of(&function.name).as_str() {
                SCORE => self.score(function),
                "snippet" => self.snippet(function),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Searches that every row must match say what scores are of, before those that stand under NOT or OR.
    fn note_conjuncts(&mut self, expr: &Expr) -> Result<()> {
        match expr {
            Expr::Nested(inner) => self.note_conjuncts(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.note_conjuncts(left)?;
                self.note_conjuncts(right)
            }
            Expr::BinaryOp { left, right, .. } if is_search(expr) => self.search(left, right).map(drop),
            _ => Ok(()),
        }
    }

    /// `notes @@@ 'query'`, `n.body @@@ 'query'`
    fn search(&mut self, left: &Expr, right: &Expr) -> Result<Expr> {
        let (at, column) = self.find(left)?.ok_or_else(|| {
            Error::statement("42704", format!("{left} has no text index"))
                .with_hint("Make one: CREATE INDEX ON notes USING bm25 (title, body).")
        })?;
        let Some(searched) = self.tables.get_mut(at) else { return Err(Error::internal("a table that is not there")) };
        let number = column.as_ref().and_then(|column| searched.table.column(column)).map(|at| at as u16);
        let index = searched.table.text_index(number).cloned();
        let Some(index) = index else {
            return Err(Error::statement(
                "42704",
                format!("column \"{}\" is in no text index", column.unwrap_or_default()),
            ));
        };
        let query = (right.clone(), column);
        searched.query.get_or_insert_with(|| (index.clone(), query.clone()));
        Ok(call(MATCHES, arguments(&index, &query, searched)))
    }

    /// The table, and the column if it is one, that the left side names.
    fn find(&self, left: &Expr) -> Result<Option<(usize, Option<String>)>> {
        let (table, name) = match left {
            Expr::Nested(inner) => return self.find(inner),
            Expr::Identifier(ident) => (None, parse::name(ident)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] => (Some(parse::name(table)), parse::name(column)),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let has = |(_, searched): &(usize, &Searched)| {
            table.as_ref().is_none_or(|table| *table == searched.alias) && searched.table.column(&name).is_some()
        };
        let mut columns = self.tables.iter().enumerate().filter(has);
        match (columns.next(), columns.next()) {
            (Some((at, _)), None) => return Ok(Some((at, Some(name)))),
            (Some(_), Some(_)) => {
                return Err(Error::statement("42702", format!("column reference \"{name}\" is ambiguous")));
            }
            (None, _) => {}
        }
        let at = self.tables.iter().position(|searched| table.is_none() && searched.alias == name);
        Ok(at.map(|at| (at, None)))
    }

    /// `bm25_score(notes)`
    fn score(&self, function: &Function) -> Result<Option<Expr>> {
        let [table] = plain_arguments(function)[..] else { return Ok(None) };
        let Some((at, None)) = self.find(table)? else { return Ok(None) };
        let Some(searched) = self.tables.get(at) else { return Ok(None) };
        let (index, query) = searched.query.as_ref().ok_or_else(|| not_searched(SCORE, &searched.alias))?;
        Ok(Some(call(SCORE, arguments(index, query, searched))))
    }

    /// `snippet(body)`, `snippet(body, '<b>', '</b>', 100)`
    fn snippet(&self, function: &Function) -> Result<Option<Expr>> {
        let arguments = plain_arguments(function);
        let Some((first, rest)) = arguments.split_first() else { return Ok(None) };
        let Some((at, Some(column))) = self.find(first)? else { return Ok(None) };
        let Some(searched) = self.tables.get(at) else { return Ok(None) };
        let (index, query) = searched.query.as_ref().ok_or_else(|| not_searched("snippet", &searched.alias))?;
        let number = searched.table.column(&column).map(|at| at as u16);
        let Some(place) = index.columns.iter().position(|at| Some(*at) == number) else {
            return Err(Error::statement("42704", format!("column \"{column}\" is not in index \"{}\"", index.name)));
        };
        let mut all = constants(index, query);
        all.extend([number_of(place), (*first).clone()]);
        all.extend(rest.iter().map(|expr| (*expr).clone()));
        Ok(Some(call("snippet", all)))
    }
}

fn not_searched(what: &str, table: &str) -> Error {
    Error::statement("42P10", format!("{what} needs to know what is searched for"))
        .with_hint(format!("Say so in the same SELECT: WHERE {table} @@@ 'query'."))
}

/// The last part of a name.
pub fn last_of(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(parse::name).unwrap_or_default()
}

fn plain_arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let plain = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    plain.collect::<Option<_>>().unwrap_or_default()
}

fn number_of(n: usize) -> Expr {
    Expr::Value(Literal::Number(n.to_string(), false).with_empty_span())
}

fn id_of(index: &DerivedIndex) -> Expr {
    number_of(index.id.0 as usize)
}

/// The index, the query, and the column that it is for.
fn constants(index: &DerivedIndex, (query, column): &Asked) -> Vec<Expr> {
    let column = match column {
        Some(column) => Literal::SingleQuotedString(column.clone()),
        None => Literal::Null,
    };
    vec![id_of(index), query.clone(), Expr::Value(column.with_empty_span())]
}

/// These, and the columns of the index.
fn arguments(index: &DerivedIndex, asked: &Asked, searched: &Searched) -> Vec<Expr> {
    let column = |at: &u16| {
        let column = searched.table.columns.get(usize::from(*at))?;
        let quoted = |name: &str| Ident::with_quote('"', name);
        Some(Expr::CompoundIdentifier(vec![quoted(&searched.alias), quoted(&column.name)]))
    };
    constants(index, asked).into_iter().chain(index.columns.iter().filter_map(column)).collect()
}
