//! `ORDER BY embedding <=> (SELECT ...)`: what rows are to be near to is found out first, so that an index can be asked.

use super::exprs::{cast_to, string};
use nodedb_base::Value;
use nodedb_store::catalog::VectorClass;
use sqlparser::ast::{
    DataType, Expr, Ident, ObjectName, OrderByKind, Query, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// The subqueries that rows are sorted by their distance from, each once. They may have no answer by themselves.
pub fn targets(query: &Query) -> Vec<Query> {
    let mut found = Found::default();
    let _ = query.visit(&mut found);
    let Found { subqueries, named } = found;
    let uses = |query: &Query| {
        let mut tables = Tables { names: HashSet::new() };
        let _ = query.visit(&mut tables);
        tables.names.is_disjoint(&named)
    };
    subqueries.into_iter().filter(uses).collect()
}

/// Puts a value in the place of a subquery, wherever it stands.
pub fn put(query: &mut Query, subquery: &Query, value: &Value) {
    let Some(literal) = literal(value) else { return };
    let _ = VisitMut::visit(query, &mut Put { subquery, literal });
}

fn literal(value: &Value) -> Option<Expr> {
    let custom = |name: &str| DataType::Custom(ObjectName::from(vec![Ident::new(name)]), Vec::new());
    let ty = match value {
        Value::Vector(_) => custom("vector"),
        Value::Halfvec(_) => custom("halfvec"),
        Value::Sparsevec(_) => custom("sparsevec"),
        Value::Bit(_) => DataType::VarBit(None),
        _ => return None,
    };
    let text = crate::types::print(value, &crate::types::TextStyle::default());
    Some(cast_to(string(text), ty))
}

#[derive(Default)]
struct Found {
    subqueries: Vec<Query>,
    /// Names of queries of WITH, which mean nothing outside.
    named: HashSet<String>,
}

impl Visitor for Found {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        self.named.extend(named.map(|cte| crate::parse::name(&cte.alias.name)));
        let Some(OrderByKind::Expressions(orders)) = query.order_by.as_ref().map(|order| &order.kind) else {
            return ControlFlow::Continue(());
        };
        for order in orders {
            let Expr::BinaryOp { left, op, right } = &order.expr else { continue };
            if VectorClass::of_operator(&op.to_string()).is_none() {
                continue;
            }
            for mut side in [left.as_ref(), right.as_ref()] {
                while let Expr::Nested(inner) = side {
                    side = inner;
                }
                if let Expr::Subquery(subquery) = side
                    && !self.subqueries.contains(subquery)
                {
                    self.subqueries.push(Query::clone(subquery));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

struct Tables {
    names: HashSet<String>,
}

impl Visitor for Tables {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, .. } = factor {
            self.names.insert(super::last_name(name));
        }
        ControlFlow::Continue(())
    }
}

struct Put<'q> {
    subquery: &'q Query,
    literal: Expr,
}

impl VisitorMut for Put<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Subquery(query) if query.as_ref() == self.subquery) {
            *expr = self.literal.clone();
        }
        ControlFlow::Continue(())
    }
}
