//! What all statements of a database share: functions, rules, memory, and the compiled rules of tables.

use crate::casts::PgCasts;
use crate::error::from_datafusion;
use crate::functions::{self, Operators, Surroundings};
use crate::memory::QueryMemory;
use crate::rules::RowRules;
use crate::scan::{OrderByKey, TopByIndex};
use datafusion::execution::context::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::{Analyzer, AnalyzerRule};
use datafusion::prelude::SessionConfig;
use nodedb_base::Result;
use nodedb_index::Indexes;
use nodedb_store::catalog::Table;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What an engine may use.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Memory for all queries together, in bytes. Sorts, joins and aggregates beyond it go to disk.
    pub memory_bytes: usize,
    /// Where they go; without it they fail (53200).
    pub spill_dir: Option<PathBuf>,
    /// Threads a query may use.
    pub threads: usize,
}

/// The query engine of one database.
pub struct Engine {
    state: SessionState,
    rules: Mutex<HashMap<u32, Arc<RowRules>>>,
    indexes: Arc<Indexes>,
}

impl Engine {
    /// An engine.
    ///
    /// # Errors
    /// `Internal` if `DataFusion` cannot be set up.
    pub fn new(options: &EngineOptions, surroundings: &Surroundings, indexes: Arc<Indexes>) -> Result<Self> {
        let disk = match &options.spill_dir {
            Some(dir) => DiskManagerMode::Directories(vec![dir.clone()]),
            None => DiskManagerMode::Disabled,
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(QueryMemory::new(options.memory_bytes)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
            .build_arc()
            .map_err(from_datafusion)?;
        let mut config = SessionConfig::new().with_target_partitions(options.threads.max(1)).with_batch_size(8192);
        let sql = config.options_mut();
        sql.sql_parser.map_string_types_to_utf8view = false;
        sql.sql_parser.parse_float_as_decimal = true;
        // What now() gives has a time zone; which one it is shown in, the session says.
        sql.execution.time_zone = Some("UTC".into());
        sql.optimizer.enable_sort_pushdown = true;
        // A scan that took them would have the join wait for partitions that nobody asks (crates/db/tests/it/joins.rs).
        sql.optimizer.enable_join_dynamic_filter_pushdown = false;
        sql.execution.sort_spill_reservation_bytes = options.memory_bytes.min(40 << 20) / 4;
        let mut builder = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_analyzer_rules(analyzer_rules())
            .with_physical_optimizer_rule(Arc::new(OrderByKey))
            .with_physical_optimizer_rule(Arc::new(TopByIndex));
        // Ours first: DataFusion takes a vector for an array.
        builder.expr_planners().get_or_insert_default().insert(0, Arc::new(Operators));
        let mut state = builder.build();
        functions::register(&mut state, surroundings)?;
        Ok(Self { state, rules: Mutex::default(), indexes })
    }

    /// The derived indexes of the database.
    pub const fn indexes(&self) -> &Arc<Indexes> {
        &self.indexes
    }

    /// What `DataFusion` knows.
    pub const fn state(&self) -> &SessionState {
        &self.state
    }

    /// The compiled rules of a table.
    ///
    /// # Errors
    /// `Damaged` if an expression of the catalogue cannot be compiled.
    pub fn rules(&self, table: &Arc<Table>) -> Result<Arc<RowRules>> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = rules.get(&table.id).filter(|found| Arc::ptr_eq(found.table(), table)) {
            return Ok(found.clone());
        }
        let compiled = Arc::new(RowRules::compile(self, table)?);
        rules.insert(table.id, compiled.clone());
        Ok(compiled)
    }
}

/// `DataFusion`'s rules, after ours: what they add are casts of their own.
fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let rules = std::iter::once(Arc::new(PgCasts) as Arc<dyn AnalyzerRule + Send + Sync>).chain(Analyzer::new().rules);
    crate::arithmetic::with_checks(rules.collect())
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}
