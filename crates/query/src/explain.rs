//! EXPLAIN.

use crate::dml;
use crate::engine::Engine;
use crate::error::from_datafusion;
use crate::front::query_planner;
use crate::outcome::{Column, Outcome, Tag};
use crate::planner::Planner;
use crate::point::PointCache;
use crate::scan::TableScan;
use crate::statement::Statement;
use crate::types::build;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use futures::StreamExt;
use nodedb_base::{Error, Result, Type, Value};
use nodedb_store::Transaction;
use sqlparser::ast::{Query, Statement as Ast};
use std::sync::Arc;

/// Runs an EXPLAIN.
pub async fn run(engine: &Engine, statement: Statement<'_>, tx: &Transaction, ast: &Ast) -> Result<Outcome> {
    let Ast::Explain {
        analyze,
        verbose: false,
        query_plan: false,
        estimate: false,
        statement: inner,
        format: None,
        options: None,
        ..
    } = ast
    else {
        return Err(Error::unsupported("EXPLAIN with options"));
    };
    let lines = match inner.as_ref() {
        Ast::Query(query) => {
            if !analyze && let Some(line) = PointCache::default().explain(engine, inner, &statement, tx)? {
                vec![line]
            } else {
                let planner = query_planner(engine, &statement, tx, query);
                explain(&planner, query, *analyze).await?
            }
        }
        _ if *analyze => return Err(Error::unsupported("EXPLAIN ANALYZE of a statement that changes rows")),
        Ast::Insert(insert) => match insert.source.as_deref() {
            Some(source) => {
                let planner = query_planner(engine, &statement, tx, source);
                under(&format!("Insert: {}", insert.table), explain(&planner, source, false).await?)
            }
            None => vec![format!("Insert: {}", insert.table)],
        },
        Ast::Update(update) => {
            let (relation, alias) = dml::target(&update.table)?;
            let from = match update.from.clone() {
                Some(sqlparser::ast::UpdateTableFromKind::AfterSet(from)) => from,
                _ => Vec::new(),
            };
            let query = dml::affected_query(update.table.clone(), &alias, Vec::new(), from, update.selection.clone())?;
            change(engine, &statement, tx, "Update", &relation, query).await?
        }
        Ast::Delete(delete) => {
            let (sqlparser::ast::FromTable::WithFromKeyword(from) | sqlparser::ast::FromTable::WithoutKeyword(from)) =
                &delete.from;
            let [table] = from.as_slice() else { return Err(Error::unsupported("DELETE from several tables")) };
            let (relation, alias) = dml::target(table)?;
            let using = delete.using.clone().unwrap_or_default();
            let query = dml::affected_query(table.clone(), &alias, Vec::new(), using, delete.selection.clone())?;
            change(engine, &statement, tx, "Delete", &relation, query).await?
        }
        other => return Err(Error::unsupported(format!("EXPLAIN {other}"))),
    };
    let values: Vec<_> = lines.into_iter().map(Value::Text).collect();
    let array = build::column(&Type::Text, &values)?;
    let schema = Schema::new(vec![crate::types::arrow::field("QUERY PLAN", &Type::Text, false)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![array])
        .map_err(|e| Error::internal(format!("could not make a plan's lines: {e}")))?;
    let column = Column { name: "QUERY PLAN".into(), ty: Type::Text };
    Ok(Outcome::of_batch(vec![column], batch, Some(Tag::plain("EXPLAIN"))))
}

async fn change(
    engine: &Engine,
    statement: &Statement<'_>,
    tx: &Transaction,
    what: &str,
    relation: &str,
    query: Query,
) -> Result<Vec<String>> {
    let table = tx.catalog().table(relation).ok_or_else(|| crate::planner::no_relation(relation))?;
    let mut planner = Planner::new(engine, statement, tx.view().clone());
    planner.define(relation, Arc::new(TableScan::new(engine, table.clone(), tx.view().clone(), true, false)?));
    Ok(under(&format!("{what}: {relation}"), explain(&planner, &query, false).await?))
}

async fn explain(planner: &Planner<'_>, query: &Query, analyze: bool) -> Result<Vec<String>> {
    let plan = planner.reading(query.clone()).await?;
    let plan = planner.physical(&plan).await?;
    if analyze {
        let mut stream = planner.run(plan.clone())?;
        while let Some(batch) = stream.next().await {
            batch.map_err(from_datafusion)?;
        }
    }
    Ok(lines(plan.as_ref(), analyze))
}

fn lines(plan: &dyn ExecutionPlan, analyze: bool) -> Vec<String> {
    let shown =
        if analyze { DisplayableExecutionPlan::with_metrics(plan) } else { DisplayableExecutionPlan::new(plan) };
    shown.indent(false).to_string().lines().map(shortened).collect()
}

/// Numbers of a vector that are shown.
const SHOWN_NUMBERS: usize = 4;

/// A line without most of the numbers of its vectors.
fn shortened(line: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(line.len()), line);
    while let Some((before, behind)) = rest.split_once('[') {
        out.push_str(before);
        out.push('[');
        rest = behind;
        let Some((inner, behind)) = rest.split_once(']') else { break };
        let numbers: Vec<&str> = inner.split(", ").collect();
        if numbers.len() > 2 * SHOWN_NUMBERS && numbers.iter().all(|number| number.parse::<f64>().is_ok()) {
            out.push_str(&numbers.get(..SHOWN_NUMBERS).unwrap_or_default().join(", "));
            out.push_str(&format!(", ... {} more]", numbers.len() - SHOWN_NUMBERS));
            rest = behind;
        }
    }
    out + rest
}

fn under(first: &str, lines: Vec<String>) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(lines.into_iter().map(|line| format!("  {line}"))).collect()
}
