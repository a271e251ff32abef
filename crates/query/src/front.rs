//! The front end: from text to a command, and from a command to what does it.
//!
//! ```text
//!  text -> parse -> bind -> point    single rows by key, straight from the store
//!                        -> query    everything else that reads: DataFusion over our scans
//!                        -> dml      INSERT, UPDATE, DELETE
//!                        -> ddl      CREATE, DROP
//!                        -> session  BEGIN, SET, SHOW ...: the session's own
//! ```

use crate::copy::CopyIn;
use crate::ddl::{self, reindex::Reindex};
use crate::dml;
use crate::engine::Engine;
use crate::explain;
use crate::outcome::Outcome;
use crate::parse;
use crate::planner::Planner;
use crate::point::PointCache;
use crate::session::{self, SessionStatement};
use crate::statement::Statement;
use nodedb_base::{Error, Result};
use nodedb_store::Transaction;
use sqlparser::ast::{Query, SetExpr, Statement as Ast};

/// A statement that was read.
#[derive(Debug)]
pub enum Command {
    /// Nothing but blanks and comments.
    Empty,
    /// What the session itself does.
    Session(SessionStatement),
    /// COPY ... FROM STDIN: rows follow.
    CopyIn(CopyIn),
    /// What runs in a transaction.
    Run(Box<Runnable>),
}

/// A statement that runs in a transaction.
#[derive(Debug)]
pub struct Runnable {
    work: Work,
    point: PointCache,
}

/// What it does.
#[derive(Debug)]
enum Work {
    Sql(Box<Ast>),
    /// What the parser does not know.
    Reindex(Reindex),
}

/// Reads a statement.
///
/// # Errors
/// `Statement` (42601, 0A000).
pub fn parse(sql: &str) -> Result<Command> {
    if let Some(rest) = parse::after_word(sql, "REINDEX") {
        let work = Work::Reindex(Reindex::parse(rest)?);
        return Ok(Command::Run(Box::new(Runnable { work, point: PointCache::default() })));
    }
    let Some(ast) = parse::statement(sql)? else { return Ok(Command::Empty) };
    if let Some(statement) = session::statement(&ast)? {
        return Ok(Command::Session(statement));
    }
    if let Some(copy) = CopyIn::bind(&ast)? {
        return Ok(Command::CopyIn(copy));
    }
    check_known(&ast)?;
    Ok(Command::Run(Box::new(Runnable { work: Work::Sql(Box::new(ast)), point: PointCache::default() })))
}

impl Runnable {
    /// Whether the statement writes.
    #[must_use]
    pub fn writes(&self) -> bool {
        let Work::Sql(ast) = &self.work else { return true };
        match ast.as_ref() {
            Ast::Query(query) => writes(query),
            Ast::Explain { .. } => false,
            _ => true,
        }
    }

    /// Whether it makes a derived index, which is filled once it has committed.
    #[must_use]
    pub fn makes_index(&self) -> bool {
        match &self.work {
            Work::Sql(ast) => matches!(ast.as_ref(), Ast::CreateIndex(create) if ddl::derived::is_derived(create)),
            Work::Reindex(_) => true,
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// Every kind but `Retry`.
    pub async fn run(&self, engine: &Engine, statement: Statement<'_>, tx: &mut Transaction) -> Result<Outcome> {
        let ast = match &self.work {
            Work::Sql(ast) => ast.as_ref(),
            Work::Reindex(reindex) => return reindex.run(tx),
        };
        if let Some(outcome) = self.point.run(engine, ast, &statement, tx)? {
            return Ok(outcome);
        }
        match ast {
            Ast::Query(query) => select(engine, statement, tx, query).await,
            Ast::Insert(insert) => dml::insert::run(engine, statement, tx, insert).await,
            Ast::Update(update) => dml::update::run(engine, statement, tx, update).await,
            Ast::Delete(delete) => dml::delete::run(engine, statement, tx, delete).await,
            Ast::CreateTable(create) => ddl::table::run(engine, tx, create),
            Ast::CreateIndex(create) => ddl::index::run(engine, tx, create),
            Ast::Drop {
                object_type,
                if_exists,
                names,
                cascade,
                restrict: _,
                purge: false,
                temporary: false,
                table: None,
            } => {
                let (kind, if_exists, names, cascade) = (*object_type, *if_exists, names.clone(), *cascade);
                ddl::drop::run(tx, &ddl::drop::Drop { kind, if_exists, names, cascade })
            }
            Ast::Truncate(truncate) => ddl::truncate::run(tx, truncate),
            Ast::Explain { .. } => explain::run(engine, statement, tx, ast).await,
            other => Err(unsupported(other)),
        }
    }
}

/// Fails if a part of the statement would be ignored.
fn check_known(ast: &Ast) -> Result<()> {
    match ast {
        Ast::Insert(insert) => dml::insert::expect_known(insert),
        Ast::Update(update) => dml::update::expect_known(update),
        Ast::Delete(delete) => dml::delete::expect_known(delete),
        Ast::CreateTable(create) => ddl::table::expect_known(create),
        Ast::CreateIndex(create) => ddl::index::expect_known(create),
        Ast::Explain { statement, .. } => check_known(statement),
        Ast::Truncate(truncate) => ddl::truncate::expect_known(truncate),
        _ => Ok(()),
    }
}

fn unsupported(ast: &Ast) -> Error {
    let text = ast.to_string();
    let words: Vec<_> = text.split_whitespace().take(3).collect();
    Error::unsupported(words.join(" "))
}

fn writes(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

async fn select(engine: &Engine, statement: Statement<'_>, tx: &Transaction, query: &Query) -> Result<Outcome> {
    if writes(query) {
        return Err(Error::unsupported("a statement that changes rows within WITH"));
    }
    let planner = query_planner(engine, &statement, tx, query);
    let plan = planner.reading(query.clone()).await?;
    let plan = planner.physical(&plan).await?;
    Outcome::rows(planner.run(plan)?, None)
}

/// The planner of a query.
pub fn query_planner<'a>(
    engine: &'a Engine,
    statement: &Statement<'a>,
    tx: &Transaction,
    query: &Query,
) -> Planner<'a> {
    let mut planner = Planner::new(engine, statement, tx.view().clone());
    planner.set_limited(query.limit_clause.is_some() || query.fetch.is_some());
    planner
}
