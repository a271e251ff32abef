//! DELETE.

use super::{Change, affected_query, returning, row_ids, target};
use crate::engine::Engine;
use crate::outcome::Outcome;
use crate::parse;
use crate::statement::Statement;
use nodedb_base::{Error, Result};
use nodedb_store::Transaction;
use sqlparser::ast::{Delete, FromTable, Statement as Ast};

/// Runs a DELETE.
pub async fn run(engine: &Engine, statement: Statement<'_>, tx: &mut Transaction, delete: &Delete) -> Result<Outcome> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [table] = from.as_slice() else { return Err(Error::unsupported("DELETE from several tables")) };
    let (relation, alias) = target(table)?;
    let mut change = Change::new(engine, statement, tx, &relation, "DELETE", delete.returning.is_some())?;
    let using = delete.using.clone().unwrap_or_default();
    let joined = !using.is_empty();
    let query = affected_query(table.clone(), &alias, Vec::new(), using, delete.selection.clone())?;
    let batches = change.select(&relation, query).await?;
    let mut rows = Vec::new();
    for batch in &batches {
        rows.extend(row_ids(batch)?);
    }
    if joined {
        rows.sort_unstable();
        rows.dedup();
    }
    let life = change.table().incarnation;
    for id in rows {
        if let Some(row) = change.tx.view().row(life, id)? {
            change.delete(&row)?;
        }
    }
    change.finish()?;
    returning::outcome(change, "DELETE", &alias, delete.returning.clone()).await
}

/// Fails if a part of the statement would be ignored.
pub fn expect_known(delete: &Delete) -> Result<()> {
    let Some(Ast::Delete(template)) = parse::statement("DELETE FROM t")? else {
        return Err(Error::internal("the template of DELETE is none"));
    };
    let known = Delete {
        delete_token: delete.delete_token.clone(),
        from: delete.from.clone(),
        using: delete.using.clone(),
        selection: delete.selection.clone(),
        returning: delete.returning.clone(),
        ..template
    };
    parse::expect_known("DELETE", delete, &known)?;
    Ok(())
}
