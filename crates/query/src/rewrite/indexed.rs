//! `SET enable_seqscan = off`: where rows are sorted by a distance that an index knows, pgvector answers from the index
//! alone, which has no rows without a distance.

use super::exprs::call;
use crate::parse;
use nodedb_base::Error;
use nodedb_store::catalog::{Catalog, Table, VectorClass};
use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, OrderByKind, Query, Select, SetExpr,
    TableFactor, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

/// Leaves out rows that no index has, in a query and all that are in it.
pub fn only_indexed(query: &mut Query, catalog: &Catalog) {
    let _ = VisitMut::visit(query, &mut Queries { catalog });
}

struct Queries<'c> {
    catalog: &'c Catalog,
}

impl VisitorMut for Queries<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let condition = self.condition(query);
        if let (Some(condition), SetExpr::Select(select)) = (condition, query.body.as_mut()) {
            select.selection = Some(match select.selection.take() {
                Some(selection) => and(Expr::Nested(Box::new(selection)), condition),
                None => condition,
            });
        }
        ControlFlow::Continue(())
    }
}

impl Queries<'_> {
    fn condition(&self, query: &Query) -> Option<Expr> {
        let SetExpr::Select(select) = query.body.as_ref() else { return None };
        let OrderByKind::Expressions(orders) = &query.order_by.as_ref()?.kind else { return None };
        let [order] = orders.as_slice() else { return None };
        let table = self.only_table(select)?;
        let (class, column) = distance(&order.expr, table)?;
        let at = table.column(&name_of(column)?)?;
        table.vector_index(at, class)?;
        let is_there = Expr::IsNotNull(Box::new(column.clone()));
        Some(match class {
            VectorClass::Cosine => {
                let norm = call("l2_norm", vec![column.clone()]);
                let above = Expr::BinaryOp {
                    left: Box::new(norm),
                    op: BinaryOperator::Gt,
                    right: Box::new(super::exprs::number("0")),
                };
                and(is_there, above)
            }
            _ => is_there,
        })
    }

    fn only_table(&self, select: &Select) -> Option<&Table> {
        let [from] = select.from.as_slice() else { return None };
        let TableFactor::Table { name, args: None, .. } = &from.relation else { return None };
        let table = self.catalog.table(&parse::relation(name).ok()?)?;
        from.joins.is_empty().then_some(table)
    }
}

fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

fn name_of(column: &Expr) -> Option<String> {
    match column {
        Expr::Identifier(ident) => Some(parse::name(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(parse::name),
        _ => None,
    }
}

/// What is near, and the column of the table that is compared.
fn distance<'e>(order: &'e Expr, table: &Table) -> Option<(VectorClass, &'e Expr)> {
    let (class, sides) = match order {
        Expr::BinaryOp { left, op, right } => {
            (VectorClass::of_operator(&op.to_string())?, vec![left.as_ref(), right.as_ref()])
        }
        Expr::Function(function) => {
            let name = super::last_name(&function.name);
            let class = VectorClass::of_function(&name)?;
            let FunctionArguments::List(list) = &function.args else { return None };
            let sides = list.args.iter().filter_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            });
            (class, sides.collect())
        }
        _ => return None,
    };
    let is_column = |expr: &&&Expr| name_of(expr).is_some_and(|name| table.column(&name).is_some());
    sides.iter().find(is_column).map(|column| (class, *column))
}
