//! A transaction: its snapshot, what it has written, its savepoints, and what it must hold true.
//!
//! ```text
//!            error                       ROLLBACK TO
//!  active ---------> failed (25P02) ------------------> active
//!    | commit, roll back | roll back
//!    v                   v
//!   ended               ended
//! ```

use crate::catalog::Catalog;
use crate::commit::{Committer, ParentKey, Request, Requirement, duplicate_in};
use crate::keys;
use crate::read_set::{ReadSet, Watch};
use crate::row::Encoded;
use crate::snapshot::Snapshot;
use crate::store::Shared;
use crate::view::{KeyRange, View};
use crate::write_set::{Mark, OldRow, WriteSet, too_large};
use nodedb_base::{Error, Incarnation, KeyEntry, Lsn, Result, RowId};
use std::sync::Arc;

/// How far a transaction is kept from seeing others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// One snapshot a statement.
    ReadCommitted,
    /// One snapshot; first committer wins (snapshot isolation).
    #[default]
    RepeatableRead,
    /// As if transactions ran one after the other: what was read is validated at commit.
    Serializable,
}

/// As of when a transaction reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// The state after this commit.
    Lsn(Lsn),
    /// The state at this time, in microseconds since 1970-01-01 UTC.
    Time(i64),
}

/// What a transaction may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionOptions {
    /// Its isolation.
    pub isolation: Isolation,
    /// Whether it may only read.
    pub read_only: bool,
    /// Reads an earlier state, and so only reads.
    pub as_of: Option<AsOf>,
}

/// A savepoint that was set.
#[derive(Clone, Debug)]
struct Savepoint {
    name: String,
    mark: Mark,
    requires: usize,
    catalog: Arc<Catalog>,
}

/// A transaction. It holds no locks: dropping it undoes it, and one that is forgotten blocks nobody.
#[derive(Debug)]
pub struct Transaction {
    shared: Arc<Shared>,
    view: View,
    options: TransactionOptions,
    savepoints: Vec<Savepoint>,
    requires: Vec<Requirement>,
    quiet: Vec<Incarnation>,
    watch: Option<Watch>,
    failed: bool,
}

impl Transaction {
    pub(crate) fn begin(shared: Arc<Shared>, options: TransactionOptions) -> Result<Self> {
        let (snapshot, watch, catalog) = Self::start(&shared, &options)?;
        let reads = watch.is_some().then(|| Arc::new(ReadSet::new(shared.options.read_set_bytes)));
        let view =
            View { trees: shared.trees.clone(), snapshot: Arc::new(snapshot), writes: Arc::default(), reads, catalog };
        let (savepoints, requires, quiet) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { shared, view, options, savepoints, requires, quiet, watch, failed: false })
    }

    fn start(shared: &Shared, options: &TransactionOptions) -> Result<(Snapshot, Option<Watch>, Arc<Catalog>)> {
        let lsn = match options.as_of {
            None if options.isolation == Isolation::Serializable && !options.read_only => {
                // Watching first: nothing that is committed after the snapshot may be missed.
                let watch = shared.committer.recent().watch(shared.snapshots.published());
                let snapshot = shared.snapshots.latest();
                let catalog = shared.catalog_at(&snapshot)?;
                return Ok((snapshot, Some(watch), catalog));
            }
            None => None,
            Some(AsOf::Lsn(lsn)) => Some(lsn),
            Some(AsOf::Time(time)) => Some(shared.snapshots.lsn_at(time)?),
        };
        let snapshot = match lsn {
            None => shared.snapshots.latest(),
            Some(lsn) => shared.snapshots.at(lsn)?,
        };
        let catalog = shared.catalog_at(&snapshot)?;
        Ok((snapshot, None, catalog))
    }

    /// Starts a statement: under READ COMMITTED it sees what was committed since, unless it has written.
    ///
    /// # Errors
    /// `Closed` (25P02) in a failed transaction.
    pub fn start_statement(&mut self) -> Result<()> {
        self.check_active()?;
        let renew = self.options.isolation == Isolation::ReadCommitted && self.options.as_of.is_none();
        if renew && self.view.writes.is_empty() {
            let snapshot = self.shared.snapshots.latest();
            self.view.catalog = self.shared.catalog_at(&snapshot)?;
            self.view.snapshot = Arc::new(snapshot);
        }
        Ok(())
    }

    /// Fails unless statements may run.
    ///
    /// # Errors
    /// `Closed` (25P02).
    pub fn check_active(&self) -> Result<()> {
        if self.failed {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::closed("25P02", message));
        }
        Ok(())
    }

    /// Notes that a statement has failed: only going back is possible now.
    pub const fn fail(&mut self) {
        self.failed = true;
    }

    /// Whether a statement has failed.
    #[must_use]
    pub const fn is_failed(&self) -> bool {
        self.failed
    }

    /// What it may do.
    #[must_use]
    pub const fn options(&self) -> TransactionOptions {
        self.options
    }

    /// Changes what it may do.
    ///
    /// # Errors
    /// `Closed` (25001) once a statement has run.
    pub fn set_options(&mut self, options: TransactionOptions, touched: bool) -> Result<()> {
        let loosened = self.options.read_only && !options.read_only;
        // A new snapshot could not keep the savepoints.
        let touched = touched || !self.savepoints.is_empty();
        if touched && (options.isolation != self.options.isolation || loosened || options.as_of != self.options.as_of) {
            let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
            return Err(Error::closed("25001", message));
        }
        if touched {
            self.options = options;
            return Ok(());
        }
        *self = Self::begin(self.shared.clone(), options)?;
        Ok(())
    }

    /// What its statements see now.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// Its definitions: those of its snapshot and its own.
    #[must_use]
    pub const fn catalog(&self) -> &Arc<Catalog> {
        &self.view.catalog
    }

    /// A row id for a new row of a table that does not name its rows by a key.
    #[must_use]
    pub fn next_row_id(&self, incarnation: Incarnation) -> RowId {
        self.shared.row_ids.next(incarnation)
    }

    /// Puts a new row.
    ///
    /// # Errors
    /// `Constraint` (23505) if the row or one of its unique keys is there already; `Limit` (54000).
    pub fn insert(&mut self, life: Incarnation, row: RowId, new: Encoded, keys: Vec<KeyEntry>) -> Result<()> {
        self.check_writable("INSERT")?;
        self.check_unique(life, row, &keys)?;
        self.writes_mut().insert((life, row), new, keys);
        self.check_size()
    }

    /// Whether a row with this id is there, for a table that names its rows by a key.
    ///
    /// # Errors
    /// `Constraint` (23505) if it is.
    pub fn check_row_free(&self, life: Incarnation, row: RowId) -> Result<()> {
        match self.view.row(life, row)? {
            Some(_) => Err(self.duplicate(life, None)),
            None => Ok(()),
        }
    }

    /// Replaces a row that is there.
    ///
    /// # Errors
    /// As [`Transaction::insert`].
    pub fn update(
        &mut self,
        life: Incarnation,
        row: RowId,
        old: OldRow,
        new: Encoded,
        keys: Vec<KeyEntry>,
    ) -> Result<()> {
        self.check_writable("UPDATE")?;
        let coming: Vec<_> = keys.iter().filter(|entry| !old.keys.contains(entry)).cloned().collect();
        self.check_unique(life, row, &coming)?;
        self.writes_mut().update((life, row), old, new, keys);
        self.check_size()
    }

    /// Removes a row that is there.
    ///
    /// # Errors
    /// `Statement` (25006) if the transaction may only read; `Limit` (54000).
    pub fn delete(&mut self, life: Incarnation, row: RowId, old: OldRow) -> Result<()> {
        self.check_writable("DELETE")?;
        self.writes_mut().delete((life, row), old);
        self.check_size()
    }

    /// Adds a key of a stored row to an index that is new.
    ///
    /// # Errors
    /// `Constraint` (23505) if the key is unique and there already; `Limit` (54000).
    pub fn add_key(&mut self, life: Incarnation, row: RowId, entry: KeyEntry) -> Result<()> {
        self.check_unique(life, row, std::slice::from_ref(&entry))?;
        self.writes_mut().add_key((life, row), entry);
        self.check_size()
    }

    fn check_unique(&self, life: Incarnation, row: RowId, keys: &[KeyEntry]) -> Result<()> {
        for entry in keys.iter().filter(|entry| entry.unique) {
            if self.view.unique_key(entry.index, &entry.key)?.is_some_and(|holder| holder != row) {
                return Err(self.duplicate(life, Some(entry.index)));
            }
        }
        Ok(())
    }

    fn duplicate(&self, life: Incarnation, index: Option<Incarnation>) -> Error {
        duplicate_in(self.catalog(), life, index)
    }

    /// Demands that a condition of a foreign key holds: now, and again at commit.
    ///
    /// # Errors
    /// The requirement's own error.
    pub fn require(&mut self, requirement: Requirement) -> Result<()> {
        self.holds(&requirement)?;
        self.requires.push(requirement);
        Ok(())
    }

    /// Whether a condition of a foreign key holds now.
    ///
    /// # Errors
    /// The requirement's own error if not.
    pub fn holds(&self, requirement: &Requirement) -> Result<()> {
        match requirement {
            Requirement::Parent { key, error } => {
                let found = match key {
                    ParentKey::Row(life, row) => self.view.row(*life, *row)?.is_some(),
                    ParentKey::Unique(index, key) => self.view.unique_key(*index, key)?.is_some(),
                };
                if !found {
                    return Err(error.clone());
                }
            }
            Requirement::NoChild { index, prefix, error } => {
                if self.view.keys(*index, &KeyRange::prefix(prefix), false)?.next().transpose()?.is_some() {
                    return Err(error.clone());
                }
            }
        }
        Ok(())
    }

    /// Demands that no other transaction changes rows of this life before this one commits.
    pub fn require_quiet(&mut self, life: Incarnation) {
        self.quiet.push(life);
    }

    /// Puts or removes entries of the catalogue.
    ///
    /// # Errors
    /// `Statement` (25006) if the transaction may only read; `Limit` (54000).
    pub fn define(&mut self, entries: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
        self.check_writable("DDL")?;
        let changes = entries.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        let catalog = self.catalog().changed(self.view.lsn(), changes)?;
        for (key, value) in entries {
            self.writes_mut().set_catalog(key, value);
        }
        // Changes of definitions follow each other: all of them touch this entry.
        let next = catalog.next_object().to_be_bytes().to_vec();
        self.writes_mut().set_catalog(keys::NEXT_OBJECT.to_vec(), Some(next));
        self.view.catalog = Arc::new(catalog);
        self.check_size()
    }

    /// Fails unless the transaction may write.
    ///
    /// # Errors
    /// `Statement` (25006).
    pub fn check_writable(&self, statement: &str) -> Result<()> {
        if self.options.read_only || self.options.as_of.is_some() {
            let message = format!("cannot execute {statement} in a read-only transaction");
            return Err(Error::statement("25006", message));
        }
        Ok(())
    }

    fn check_size(&self) -> Result<()> {
        let limit = self.shared.options.write_set_bytes;
        if self.view.writes.bytes() > limit { Err(too_large(limit)) } else { Ok(()) }
    }

    fn writes_mut(&mut self) -> &mut WriteSet {
        Arc::make_mut(&mut self.view.writes)
    }

    /// Sets a savepoint; one of the same name is hidden, not replaced.
    pub fn savepoint(&mut self, name: &str) {
        let mark = self.writes_mut().mark();
        let (requires, catalog) = (self.requires.len(), self.catalog().clone());
        self.savepoints.push(Savepoint { name: name.to_owned(), mark, requires, catalog });
    }

    /// Forgets a savepoint and those after it; what was written stays.
    ///
    /// # Errors
    /// `Statement` (3B001) if there is none of that name.
    pub fn release(&mut self, name: &str) -> Result<()> {
        let at = self.find_savepoint(name)?;
        self.savepoints.truncate(at);
        if self.savepoints.is_empty() {
            self.writes_mut().forget_marks();
        }
        Ok(())
    }

    /// Undoes what was written since a savepoint, which stays set. A failed transaction can go on from there.
    ///
    /// # Errors
    /// `Statement` (3B001) if there is none of that name.
    pub fn roll_back_to(&mut self, name: &str) -> Result<()> {
        let at = self.find_savepoint(name)?;
        self.savepoints.truncate(at + 1);
        if let Some(Savepoint { mark, requires, catalog, .. }) = self.savepoints.last().cloned() {
            self.writes_mut().roll_back(mark);
            self.requires.truncate(requires);
            self.view.catalog = catalog;
        }
        self.failed = false;
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Result<usize> {
        let found = self.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        found.ok_or_else(|| Error::statement("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    /// Makes what was written durable and visible. Gives its Lsn, or that of the snapshot if nothing was written.
    ///
    /// # Errors
    /// `Retry` (40001), `Constraint`, `Limit`, `Io`, `Closed`; in any case the transaction has ended.
    pub fn commit(self) -> Result<Lsn> {
        let (committer, request, snapshot) = self.into_request()?;
        request.map_or(Ok(snapshot), |request| committer.committer.commit(request))
    }

    /// As [`Transaction::commit`], without blocking while others sync.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    pub async fn commit_async(self) -> Result<Lsn> {
        let (shared, request, snapshot) = self.into_request()?;
        match request {
            Some(request) => shared.committer.commit_async(request).await,
            None => Ok(snapshot),
        }
    }

    fn into_request(self) -> Result<(Arc<Shared>, Option<Request>, Lsn)> {
        self.check_active()?;
        let snapshot = self.view.lsn();
        if self.view.writes.is_empty() {
            return Ok((self.shared, None, snapshot));
        }
        let mut batch = Arc::unwrap_or_clone(self.view.writes).into_batch(self.shared.options.write_set_bytes)?;
        let bounds = self.shared.row_ids.bounds(&batch);
        batch.catalog.extend(bounds);
        let reads = self.watch.zip(self.view.reads.as_ref()).map(|(watch, reads)| (reads.take_ranges(), watch));
        let pin = Some(self.view.snapshot);
        let request = Request { snapshot, pin, batch, requires: self.requires, quiet: self.quiet, reads };
        Ok((self.shared, Some(request), snapshot))
    }

    /// The committer, for those who must know whether the store still accepts writes.
    #[must_use]
    pub fn committer(&self) -> &Committer {
        &self.shared.committer
    }
}
