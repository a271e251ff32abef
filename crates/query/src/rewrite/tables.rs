//! What stands in FROM.

use super::{last_name, quoted};
use nodedb_base::{Error, Result};
use sqlparser::ast::{Join, JoinConstraint, JoinOperator, Select, TableAlias, TableAliasColumnDef, TableFactor};
use std::collections::HashSet;

/// Functions with one column, which has the function's or the alias' name.
const ONE_COLUMN: [&str; 2] = ["generate_series", "unnest"];

/// Fails if two tables have one name, or a join has no condition.
pub fn check_from(select: &Select) -> Result<()> {
    let mut names = HashSet::new();
    for table in &select.from {
        let joined = table.joins.iter().map(|join| &join.relation);
        for factor in std::iter::once(&table.relation).chain(joined) {
            if let Some(name) = name_of(factor)
                && !names.insert(name.clone())
            {
                let message = format!("table name \"{name}\" specified more than once");
                return Err(Error::statement("42712", message));
            }
        }
        table.joins.iter().try_for_each(check_join)?;
    }
    Ok(())
}

fn name_of(factor: &TableFactor) -> Option<String> {
    let alias = |alias: &Option<TableAlias>| alias.as_ref().map(|alias| crate::parse::name(&alias.name));
    match factor {
        TableFactor::Table { name, alias: named, .. } => alias(named).or_else(|| Some(last_name(name))),
        TableFactor::Derived { alias: named, .. } => alias(named),
        _ => None,
    }
}

fn check_join(join: &Join) -> Result<()> {
    use JoinOperator::{FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
    match &join.join_operator {
        Join(JoinConstraint::None)
        | Inner(JoinConstraint::None)
        | Left(JoinConstraint::None)
        | LeftOuter(JoinConstraint::None)
        | Right(JoinConstraint::None)
        | RightOuter(JoinConstraint::None)
        | FullOuter(JoinConstraint::None) => Err(Error::statement("42601", "a JOIN needs ON or USING")),
        // The common column would be that of one side only, and NULL where it has no row.
        FullOuter(JoinConstraint::Using(_) | JoinConstraint::Natural)
        | Right(JoinConstraint::Using(_) | JoinConstraint::Natural)
        | RightOuter(JoinConstraint::Using(_) | JoinConstraint::Natural) => {
            Err(Error::unsupported("RIGHT or FULL JOIN with USING or NATURAL").with_hint("Say ON, and coalesce()."))
        }
        _ => Ok(()),
    }
}

/// `generate_series(1, 3) i` has a column `i`.
pub fn name_columns(factor: &mut TableFactor) {
    let (alias, function) = match factor {
        TableFactor::Table { name, alias, args: Some(_), with_ordinality: false, .. } => (alias, last_name(name)),
        TableFactor::UNNEST { alias, array_exprs, with_ordinality: false, with_offset: false, .. }
            if array_exprs.len() == 1 =>
        {
            (alias, "unnest".to_owned())
        }
        _ => return,
    };
    if !ONE_COLUMN.contains(&function.as_str()) {
        return;
    }
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: quoted(&function),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}
