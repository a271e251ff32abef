//! Order from keys: a sort over a scan becomes a scan in the order of a key.

use super::access::Access;
use super::exec::ScanExec;
use datafusion::common::Result as DfResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning, SortOrderPushdownResult};
use nodedb_base::key::KeyOrder;
use nodedb_store::catalog::{Index, IndexSource, Table};
use std::sync::Arc;

/// The scan that yields the rows of `scan` in `order`, where a key has that order.
pub fn by_key(scan: &ScanExec, order: &[PhysicalSortExpr]) -> Option<ScanExec> {
    // The first rows in one order are not the first in another.
    if scan.fetch().is_some() {
        return None;
    }
    let wanted: Option<Vec<_>> = order.iter().map(|sort| wanted(scan, sort)).collect();
    let source = scan.source();
    let (access, backward) = in_order(&source.table, scan.access()?, &wanted?, source.limited)?;
    Some(scan.ordered_by(access, backward, order.to_vec()))
}

/// How the rows of `access` can be walked in an order, and whether backward.
pub fn in_order(table: &Table, access: &Access, wanted: &[Wanted], limited: bool) -> Option<(Access, bool)> {
    match access {
        Access::Nothing => return Some((Access::Nothing, false)),
        Access::Rows(..) | Access::Points(_) => {
            if let Some(backward) = row_key_order(table, wanted) {
                return Some((access.clone(), backward));
            }
        }
        // Several ranges follow each other in key order; only when they are one is that the order of the rows.
        Access::Keys { index, ranges, fixed, .. } if ranges.len() == 1 => {
            let index = table.index(*index)?;
            let backward = (0..=*fixed).find_map(|skip| index_order(index, skip, wanted))?;
            return Some((access.clone(), backward));
        }
        Access::Keys { .. } => {}
    }
    if *access != Access::ALL || !limited {
        return None;
    }
    let (index, backward) = table.indexes.iter().find_map(|index| Some((index, index_order(index, 0, wanted)?)))?;
    Some((Access::whole_index(index), backward))
}

/// A column of the table, and how it should be sorted.
pub type Wanted = (usize, KeyOrder);

fn wanted(scan: &ScanExec, sort: &PhysicalSortExpr) -> Option<Wanted> {
    let column = sort.expr.downcast_ref::<Column>()?;
    let order = KeyOrder { descending: sort.options.descending, nulls_first: sort.options.nulls_first };
    Some((scan.table_column(column.index())?, order))
}

/// Whether row ids have the order, forward (`false`) or backward. A primary key has no NULLs.
fn row_key_order(table: &Table, wanted: &[Wanted]) -> Option<bool> {
    let (column, order) = wanted.first()?;
    (table.row_key()? == *column).then_some(order.descending)
}

/// Whether an index has the order behind its first `skip` columns, forward (`false`) or backward.
fn index_order(index: &Index, skip: usize, wanted: &[Wanted]) -> Option<bool> {
    let columns = index.columns.get(skip..)?;
    if wanted.len() > columns.len() {
        return None;
    }
    let fits = |backward: bool| {
        wanted.iter().zip(columns).all(|((column, order), part)| {
            let turned = KeyOrder {
                descending: part.order.descending != backward,
                nulls_first: part.order.nulls_first != backward,
            };
            matches!(part.source, IndexSource::Column(at) if usize::from(at) == *column) && turned == *order
        })
    };
    [false, true].into_iter().find(|backward| fits(*backward))
}

/// Pushes sorts through filters, which `DataFusion` leaves where they are, into scans.
#[derive(Debug)]
pub struct OrderByKey;

impl PhysicalOptimizerRule for OrderByKey {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|plan| {
            let sort = match plan.downcast_ref::<SortPreservingMergeExec>() {
                Some(merge) => merge.input().downcast_ref::<SortExec>(),
                None => plan.downcast_ref::<SortExec>(),
            };
            Ok(match sort.map(sorted_input).transpose()?.flatten() {
                Some(sorted) => Transformed::yes(sorted),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "order_by_key"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The input of a sort in its order, if that is a scan under operators that keep it.
fn sorted_input(sort: &SortExec) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
    let Some(input) = push(sort.input(), sort.expr().iter().cloned().collect())? else { return Ok(None) };
    Ok(Some(match sort.fetch() {
        Some(fetch) => Arc::new(GlobalLimitExec::new(input, 0, Some(fetch))),
        None => input,
    }))
}

type Ordered = Option<Arc<dyn ExecutionPlan>>;

fn push(plan: &Arc<dyn ExecutionPlan>, order: Vec<PhysicalSortExpr>) -> DfResult<Ordered> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return push_through_filter(filter, order);
    }
    if let Some(cooperative) = plan.downcast_ref::<CooperativeExec>() {
        return push(cooperative.input(), order);
    }
    // What divides one scan among threads would lose its order.
    if let Some(spread) = plan.downcast_ref::<RepartitionExec>()
        && matches!(spread.partitioning(), Partitioning::RoundRobinBatch(_))
    {
        return push(spread.input(), order);
    }
    let Some(scan) = plan.downcast_ref::<ScanExec>() else { return Ok(None) };
    match scan.try_pushdown_sort(&order)? {
        SortOrderPushdownResult::Exact { inner } => Ok(Some(inner)),
        _ => Ok(None),
    }
}

fn push_through_filter(filter: &FilterExec, mut order: Vec<PhysicalSortExpr>) -> DfResult<Ordered> {
    if filter.fetch().is_some() {
        return Ok(None);
    }
    if let Some(projection) = filter.projection() {
        let schema = filter.input().schema();
        for sort in &mut order {
            let column = sort.expr.downcast_ref::<Column>().and_then(|column| projection.get(column.index()));
            let Some(&column) = column else { return Ok(None) };
            sort.expr = Arc::new(Column::new(schema.field(column).name(), column));
        }
    }
    let Some(input) = push(filter.input(), order)? else { return Ok(None) };
    let sorted = FilterExecBuilder::new(filter.predicate().clone(), input);
    Ok(Some(Arc::new(sorted.apply_projection_by_ref(filter.projection().as_ref())?.build()?)))
}
