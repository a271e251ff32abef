//! Statements that the session itself does: transactions, settings.

use crate::parse;
use nodedb_base::{Error, Result};
use nodedb_store::{AsOf, Isolation};
use sqlparser::ast::{
    ContextModifier, Expr, Ident, ObjectName, Set, Statement as Ast, TransactionAccessMode, TransactionIsolationLevel,
    TransactionMode, Value as Literal,
};

/// What the session itself does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionStatement {
    /// BEGIN, START TRANSACTION
    Begin(Modes),
    /// COMMIT, END; with AND CHAIN the next transaction starts at once
    Commit {
        /// AND CHAIN
        chain: bool,
    },
    /// ROLLBACK
    Rollback {
        /// AND CHAIN
        chain: bool,
    },
    /// ROLLBACK TO
    RollbackTo(String),
    /// SAVEPOINT
    Savepoint(String),
    /// RELEASE
    Release(String),
    /// SET TRANSACTION
    SetTransaction(Modes),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION
    SetCharacteristics(Modes),
    /// SET name = value; `None` is DEFAULT
    Set {
        /// SET LOCAL: until the transaction ends
        local: bool,
        /// The setting
        name: String,
        /// Its value
        value: Option<String>,
    },
    /// SHOW name
    Show(String),
    /// SHOW ALL
    ShowAll,
}

/// What a transaction is asked to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// ISOLATION LEVEL
    pub isolation: Option<Isolation>,
    /// READ ONLY, READ WRITE
    pub read_only: Option<bool>,
}

/// The session statement that `ast` is, if it is one.
///
/// # Errors
/// `Statement` (0A000, 22023).
pub fn statement(ast: &Ast) -> Result<Option<SessionStatement>> {
    Ok(Some(match ast {
        Ast::StartTransaction {
            modes, modifier: None, statements, exception: None, has_end_keyword: false, ..
        } if statements.is_empty() => SessionStatement::Begin(modes_of(modes)?),
        Ast::StartTransaction { .. } => return Err(Error::unsupported(ast)),
        Ast::Commit { chain, modifier: None, .. } => SessionStatement::Commit { chain: *chain },
        Ast::Rollback { chain, savepoint: None } => SessionStatement::Rollback { chain: *chain },
        Ast::Rollback { savepoint: Some(name), .. } => SessionStatement::RollbackTo(parse::name(name)),
        Ast::Savepoint { name } => SessionStatement::Savepoint(parse::name(name)),
        Ast::ReleaseSavepoint { name } => SessionStatement::Release(parse::name(name)),
        Ast::Set(set) => set_statement(set)?,
        Ast::ShowVariable { variable } => show(variable),
        Ast::Reset(reset) => match &reset.reset {
            sqlparser::ast::Reset::ALL => return Err(Error::unsupported("RESET ALL")),
            sqlparser::ast::Reset::ConfigurationParameter(name) => {
                SessionStatement::Set { local: false, name: setting_name(name), value: None }
            }
        },
        _ => return Ok(None),
    }))
}

fn set_statement(set: &Set) -> Result<SessionStatement> {
    Ok(match set {
        Set::SingleAssignment { scope, hivevar: false, variable, values } => {
            let local = match scope {
                None | Some(ContextModifier::Session) => false,
                Some(ContextModifier::Local) => true,
                Some(ContextModifier::Global) => return Err(Error::unsupported("SET GLOBAL")),
            };
            let name = setting_name(variable);
            SessionStatement::Set { local, value: setting_value(&name, values)?, name }
        }
        Set::SetTimeZone { local, value } => {
            let value = setting_value("timezone", std::slice::from_ref(value))?;
            SessionStatement::Set { local: *local, name: "timezone".into(), value }
        }
        Set::SetNames { charset_name, collation_name: None } => {
            let (name, value) = ("client_encoding".to_owned(), Some(charset_name.value.clone()));
            SessionStatement::Set { local: false, name, value }
        }
        Set::SetTransaction { modes, snapshot: None, session: false } => {
            SessionStatement::SetTransaction(modes_of(modes)?)
        }
        Set::SetTransaction { modes, snapshot: None, session: true } => {
            SessionStatement::SetCharacteristics(modes_of(modes)?)
        }
        other => return Err(Error::unsupported(other)),
    })
}

fn setting_name(name: &ObjectName) -> String {
    match name.to_string().to_lowercase().as_str() {
        "time zone" | "timezone" => "timezone".to_owned(),
        other => other.to_owned(),
    }
}

fn setting_value(name: &str, values: &[Expr]) -> Result<Option<String>> {
    let words = values.iter().map(|value| match value {
        Expr::Value(value) => match &value.value {
            Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) | Literal::Number(text, _) => {
                Ok(text.clone())
            }
            Literal::Boolean(value) => Ok(if *value { "on" } else { "off" }.to_owned()),
            other => Err(invalid(name, other)),
        },
        Expr::Identifier(word) => Ok(word.value.clone()),
        Expr::UnaryOp { .. } => Ok(value.to_string()),
        other => Err(invalid(name, other)),
    });
    let words = words.collect::<Result<Vec<_>>>()?;
    let text = words.join(", ");
    Ok(if text.eq_ignore_ascii_case("default") { None } else { Some(text) })
}

fn invalid(name: &str, value: impl std::fmt::Display) -> Error {
    Error::statement("22023", format!("invalid value for parameter \"{name}\": \"{value}\""))
}

fn show(variable: &[Ident]) -> SessionStatement {
    let words: Vec<_> = variable.iter().map(|word| word.value.to_lowercase()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["all"] => SessionStatement::ShowAll,
        ["transaction", "isolation", "level"] => SessionStatement::Show("transaction_isolation".into()),
        ["time", "zone"] => SessionStatement::Show("timezone".into()),
        _ => SessionStatement::Show(words.join(".")),
    }
}

fn modes_of(modes: &[TransactionMode]) -> Result<Modes> {
    let mut all = Modes::default();
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(TransactionAccessMode::ReadOnly) => all.read_only = Some(true),
            TransactionMode::AccessMode(TransactionAccessMode::ReadWrite) => all.read_only = Some(false),
            TransactionMode::IsolationLevel(level) => {
                all.isolation = Some(match level {
                    TransactionIsolationLevel::ReadUncommitted | TransactionIsolationLevel::ReadCommitted => {
                        Isolation::ReadCommitted
                    }
                    TransactionIsolationLevel::RepeatableRead | TransactionIsolationLevel::Snapshot => {
                        Isolation::RepeatableRead
                    }
                    TransactionIsolationLevel::Serializable => Isolation::Serializable,
                });
            }
        }
    }
    Ok(all)
}

/// What `nodedb.as_of` says: an Lsn, or a time.
///
/// # Errors
/// `Statement` (22023).
pub fn as_of(text: &str, style: &crate::types::TextStyle) -> Result<Option<AsOf>> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(lsn) = text.parse::<u64>() {
        return Ok(Some(AsOf::Lsn(nodedb_base::Lsn(lsn))));
    }
    match crate::types::parse(text, &nodedb_base::Type::Timestamptz, style) {
        Ok(nodedb_base::Value::Timestamptz(time)) => Ok(Some(AsOf::Time(time))),
        _ => Err(invalid("nodedb.as_of", text).with_hint("Give an Lsn, or a time such as '2026-11-23 12:00:00'.")),
    }
}
