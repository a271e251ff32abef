//! Order from keys: a sort over a scan becomes a scan in the order of a key.

use super::access::Access;
use super::exec::ScanExec;
use datafusion::common::Result as DfResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, SortOrderPushdownResult};
use nodedb_base::key::KeyOrder;
use nodedb_store::KeyRange;
use nodedb_store::catalog::{Index, IndexSource};
use std::sync::Arc;

/// The scan that yields the rows of `scan` in `order`, where a key has that order.
pub fn by_key(scan: &ScanExec, order: &[PhysicalSortExpr]) -> Option<ScanExec> {
    let wanted: Option<Vec<_>> = order.iter().map(|sort| wanted(scan, sort)).collect();
    let wanted = wanted?;
    let access = scan.access()?;
    if let Some(backward) = row_key_order(scan, &wanted)
        && matches!(access, Access::Rows(..) | Access::Points(_))
    {
        return Some(scan.ordered_by(access.clone(), backward, order.to_vec()));
    }
    let (access, backward) = match access {
        // Several ranges follow each other in key order; only when they are one is that the order of the rows.
        Access::Keys { index, ranges, .. } if ranges.len() == 1 => {
            let index = scan.table().index(*index)?;
            let skipped = usize::from(ranges.first().is_some_and(is_prefix)) * index.columns.len();
            let backward = (0..=skipped).find_map(|skip| index_order(index, skip, &wanted))?;
            (access.clone(), backward)
        }
        Access::Rows(..) if *access == Access::ALL && scan.is_limited() => {
            let found = scan.table().indexes.iter().find_map(|index| Some((index, index_order(index, 0, &wanted)?)));
            let (index, backward) = found?;
            let ranges = vec![KeyRange::prefix(&[])];
            let name = index.name.clone();
            (Access::Keys { index: index.id, name, ranges, condition: String::new() }, backward)
        }
        _ => return None,
    };
    Some(scan.ordered_by(access, backward, order.to_vec()))
}

/// A column of the table, and how it should be sorted.
type Wanted = (usize, KeyOrder);

fn wanted(scan: &ScanExec, sort: &PhysicalSortExpr) -> Option<Wanted> {
    let column = sort.expr.downcast_ref::<Column>()?;
    let order = KeyOrder { descending: sort.options.descending, nulls_first: sort.options.nulls_first };
    Some((scan.table_column(column.index())?, order))
}

/// Whether row ids have the order, forward (`false`) or backward. A primary key has no NULLs.
fn row_key_order(scan: &ScanExec, wanted: &[Wanted]) -> Option<bool> {
    let (column, order) = wanted.first()?;
    (scan.table().row_key()? == *column).then_some(order.descending)
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

/// Whether a range is that of a prefix, whose columns are all equal, so that the next ones give the order.
fn is_prefix(range: &KeyRange) -> bool {
    match &range.lower {
        std::ops::Bound::Included(prefix) => *range == KeyRange::prefix(prefix),
        _ => false,
    }
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

/// The input of a sort in its order, if that is filters over a scan in one partition.
fn sorted_input(sort: &SortExec) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
    let Some(input) = push(sort.input(), sort.expr())? else { return Ok(None) };
    Ok(Some(match sort.fetch() {
        Some(fetch) => Arc::new(GlobalLimitExec::new(input, 0, Some(fetch))),
        None => input,
    }))
}

fn push(plan: &Arc<dyn ExecutionPlan>, order: &[PhysicalSortExpr]) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        if filter.projection().is_some() {
            return Ok(None);
        }
        let input = push(filter.input(), order)?;
        return Ok(match input {
            Some(input) => {
                let filter = FilterExec::try_new(filter.predicate().clone(), input)?;
                Some(Arc::new(filter) as Arc<dyn ExecutionPlan>)
            }
            None => None,
        });
    }
    let Some(scan) = plan.downcast_ref::<ScanExec>() else { return Ok(None) };
    match scan.try_pushdown_sort(order)? {
        SortOrderPushdownResult::Exact { inner } => Ok(Some(inner)),
        _ => Ok(None),
    }
}
