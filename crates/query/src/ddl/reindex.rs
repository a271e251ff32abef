//! REINDEX: derived indexes are made anew from the rows. Key indexes change with the rows, in the same commit, and stay.

use super::{Ids, check, done};
use crate::outcome::Outcome;
use crate::parse;
use crate::planner::no_relation;
use nodedb_base::{Error, Incarnation, Result};
use nodedb_store::catalog::Table;
use nodedb_store::{Transaction, keys};

/// What to make anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reindex {
    /// One index.
    Index(String),
    /// All of a table.
    Table(String),
}

impl Reindex {
    /// Runs it: the indexes are filled once the statement has committed.
    ///
    /// # Errors
    /// `Statement` (42P01, 42704) for what is not there.
    pub fn run(&self, tx: &mut Transaction) -> Result<Outcome> {
        check(tx, "REINDEX")?;
        let (table, only) = match self {
            Self::Table(name) => {
                let table = tx.catalog().table(name).ok_or_else(|| no_relation(name))?;
                (Table::clone(table), None)
            }
            Self::Index(name) => match tx.catalog().derived_index(name) {
                Some((table, index)) => (Table::clone(table), Some(index.id)),
                None if tx.catalog().index(name).is_some() => return Ok(done("REINDEX")),
                None => return Err(Error::statement("42704", format!("index \"{name}\" does not exist"))),
            },
        };
        self.renew(tx, table, only)
    }

    fn renew(&self, tx: &mut Transaction, mut table: Table, only: Option<Incarnation>) -> Result<Outcome> {
        let mut ids = Ids::new(tx.catalog());
        for index in table.derived.iter_mut().filter(|index| only.is_none_or(|only| only == index.id)) {
            index.id = Incarnation(ids.take());
        }
        tx.define(vec![ids.entry(), (keys::table(table.id), Some(table.encode()?))])?;
        Ok(done("REINDEX"))
    }

    /// Reads the words behind REINDEX.
    ///
    /// # Errors
    /// `Statement` (42601).
    pub fn parse(rest: &str) -> Result<Self> {
        let rest = rest.trim().trim_end_matches(';').trim_end();
        let (what, name) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let wrong = || Error::statement("42601", format!("syntax error at or near \"{what}\""));
        let name = match parse::expression(name.trim())? {
            sqlparser::ast::Expr::Identifier(name) => parse::name(&name),
            _ => return Err(wrong()),
        };
        match what.to_lowercase().as_str() {
            "index" => Ok(Self::Index(name)),
            "table" => Ok(Self::Table(name)),
            _ => Err(wrong()),
        }
    }
}
