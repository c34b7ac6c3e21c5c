//! The store: a database behind a pointer that can be exchanged.

use std::{
    fmt,
    fs::{self, File},
    io::Write as _,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::{Condvar, Mutex};
use rocksdb::ReadOptions;

use super::{
    CommitError, Examination, Loss, StoreError, StoreOptions,
    database::{Database, Moment},
    family::Rests,
    opening, repair,
};
use crate::ledger::{Changes, LogId, ReadError, Reads};

/// How long the database is waited for: by a reader while it is opened again, and by whoever opens it again while
/// readers still hold the old one. Both take milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How much room a probe asks for, in bytes: enough for what RocksDB writes when it opens.
const PROBE_BYTES: usize = 1 << 20;

/// A store on disk. Shared by reference: any number of readers, and one writer.
pub struct Store {
    path: PathBuf,
    options: StoreOptions,
    /// Whether there was no store before this one was opened.
    was_created: bool,
    /// The database; none while it is opened again, and after the end.
    database: ArcSwapOption<Database>,
    /// Whoever writes, recovers or closes holds this.
    failure: Mutex<Option<Failure>>,
    /// Whether there is such a failure, without waiting for a commit.
    failed: AtomicBool,
    absence: Mutex<Absence>,
    returned: Condvar,
}

/// A commit that failed, until it is recovered from.
struct Failure {
    error: CommitError,
    doubt: Doubt,
}

/// What may have reached the disk although its write failed.
enum Doubt {
    /// Nothing.
    None,
    /// These changes.
    Changes(Box<Changes>),
    /// Changes that these records, as they were before, undo.
    Undone(Box<Changes>),
}

/// Why there is no database, if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// There is one.
    None,
    /// It is being opened again.
    Short,
    /// It could not be opened again yet.
    Long,
    /// The store is closed.
    Closed,
}

impl Store {
    /// Opens the store of a directory, or creates it where nothing is.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: what it finds is refused, or the disk does not do its part.
    pub fn open(path: impl Into<PathBuf>, options: StoreOptions) -> Result<Self, StoreError> {
        let path = path.into();
        let (database, was_created) = Database::open_or_create(&path, &options)?;
        Ok(Self { was_created, ..Self::over(database, path, options) })
    }

    /// Opens the store of a directory for reading alone, as it is at this moment, beside a program that writes it. What is
    /// written later is not seen, and what the other one tidies away in the meantime is missed with an error: read what
    /// is needed and close it. Every commit fails.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: there is no store, what it finds is refused, or the disk does not do its part.
    pub fn open_for_reading(path: impl Into<PathBuf>, options: StoreOptions) -> Result<Self, StoreError> {
        let path = path.into();
        let database = Database::open_for_reading(&path, &options)?;
        Ok(Self::over(database, path, options))
    }

    fn over(database: Database, path: PathBuf, options: StoreOptions) -> Self {
        Self {
            path,
            options,
            was_created: false,
            database: ArcSwapOption::from_pointee(database),
            failure: Mutex::new(None),
            failed: AtomicBool::new(false),
            absence: Mutex::new(Absence::None),
            returned: Condvar::new(),
        }
    }

    /// The id of the event log that the store keeps. A store has one from its first opening for writing on.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if it cannot be read, or an older version made the store and it was only opened for reading since.
    pub fn log(&self) -> Result<LogId, ReadError> {
        self.read(Database::log)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there was no store in the folder, and a new one was made.
    pub fn was_created(&self) -> bool {
        self.was_created
    }

    /// The seconds since 1970 at which the database was made, as the file says that RocksDB makes with it and never changes;
    /// `None` where the file or the system does not tell.
    pub fn created_at(&self) -> Option<u64> {
        let made = fs::metadata(self.path.join("IDENTITY")).and_then(|file| file.modified()).ok()?;
        made.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
    }

    /// Finds out what a repair of the store of a folder would give up. It changes nothing. The daemon must not run.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: there is no store, it is in use, or it is refused for a reason that a repair does not mend.
    pub fn examine(path: &Path, options: &StoreOptions) -> Result<Examination, StoreError> {
        repair::examine(path, options)
    }

    /// Repairs the store of a folder as an examination found it: what can be read stays, the rest is given up. The logs
    /// are copied aside first; gives the folder of the copies.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. Until the copies are complete nothing is changed.
    pub fn repair(path: &Path, options: &StoreOptions, loss: &Loss) -> Result<PathBuf, StoreError> {
        repair::repair(path, options, loss)
    }

    /// Writes changes, all or nothing, and returns when they are synced. Blocks for as long as the disk takes.
    ///
    /// # Errors
    ///
    /// [`CommitError`]. Then nothing of these changes is read, and the store takes no others until [`Store::recover`].
    /// If the program ends before that, they may be there after all when it starts again, all of them: see the
    /// [room](super).
    pub fn commit(&self, changes: &Changes) -> Result<(), CommitError> {
        let mut failure = self.failure.lock();
        if let Some(failure) = &*failure {
            return Err(failure.error.clone());
        }
        let database = self.database.load_full().ok_or(CommitError::Closed)?;
        database.commit(changes).inspect_err(|error| {
            tracing::error!(%error, path = %self.path.display(), "the store failed, nothing more is written");
            let doubt = Doubt::Changes(Box::new(changes.clone()));
            self.fail(&mut failure, Failure { error: error.clone(), doubt });
        })
    }

    /// Whether a commit failed and the store was not recovered since.
    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Looks whether a write can succeed, by writing, syncing and removing a small file beside the tables. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::DiskFull`] or [`StoreError::Disk`].
    pub fn probe(&self) -> Result<(), StoreError> {
        let file = self.path.join("PROBE");
        let written = File::create(&file).and_then(|mut file| {
            file.write_all(&vec![0x5a; PROBE_BYTES])?;
            file.sync_all()
        });
        let removed = fs::remove_file(&file);
        written.and(removed).map_err(|error| StoreError::of_file(&self.path, &error))
    }

    /// Opens the database of a failed store again, if there is room on the disk. On a store that did not fail it does
    /// nothing. Blocks; readers that come meanwhile wait.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the store stays failed. While there is no room reading goes on; where RocksDB itself refuses
    /// to open, readers get errors until it does.
    pub fn recover(&self) -> Result<(), StoreError> {
        let mut held = self.failure.lock();
        let Some(failure) = &mut *held else { return Ok(()) };
        if failure.error == CommitError::Closed {
            return Err(StoreError::Closed);
        }
        self.probe()?;
        // A directory that is empty all of a sudden is a disk that went away.
        if !opening::is_there(&self.path) {
            let why = "its files are gone".to_owned();
            return Err(StoreError::Damaged { path: self.path.clone(), why });
        }
        failure.doubt.look_back(self)?;
        self.set_absence(Absence::Short);
        if let Err(error) = self.take_down() {
            self.set_absence(Absence::None);
            return Err(error);
        }
        match failure.doubt.undo_in(&self.path, &self.options) {
            Ok(database) => {
                self.database.store(Some(Arc::new(database)));
                self.set_absence(Absence::None);
                self.failed.store(false, Ordering::Release);
                *held = None;
                tracing::info!(path = %self.path.display(), "the store is open again");
                Ok(())
            }
            Err(error) => {
                self.set_absence(Absence::Long);
                Err(error)
            }
        }
    }

    /// Reads several records as they stood at one moment, whatever is committed meanwhile. Not for long: what is
    /// held here cannot be recovered or closed.
    ///
    /// # Errors
    ///
    /// What `read` answers, or [`ReadError`] if there is no database to read.
    pub fn snapshot<R, E: From<ReadError>>(
        &self,
        read: impl FnOnce(&Snapshot<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let database = self.held()?;
        read(&Snapshot::of(&database))
    }

    /// Copies the store as it is into a directory that is not there yet. On the same disk this takes milliseconds:
    /// files that are complete are linked.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the copy could not be made.
    pub fn checkpoint(&self, to: &Path) -> Result<(), StoreError> {
        let database = self.database.load_full().ok_or(StoreError::Closed)?;
        database.checkpoint(to)
    }

    /// Puts everything into files and closes the database; afterwards neither reading nor writing is possible. What
    /// was committed is on disk without this too: it makes the next start faster.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. Nothing is lost by it; except where readers still hold the database, it is closed all the same.
    pub fn flush_and_close(&self) -> Result<(), StoreError> {
        let mut failure = self.failure.lock();
        let flushed = match (&*failure, &*self.database.load()) {
            (None, Some(database)) => database.flush(),
            _ => Ok(()),
        };
        *failure = Some(Failure { error: CommitError::Closed, doubt: Doubt::None });
        self.set_absence(Absence::Closed);
        self.take_down().and(flushed)
    }

    /// The database, held so that it is not closed meanwhile.
    fn held(&self) -> Result<Arc<Database>, ReadError> {
        if let Some(database) = self.database.load_full() {
            return Ok(database);
        }
        let deadline = Instant::now() + PATIENCE;
        let mut absence = self.absence.lock();
        while *absence == Absence::Short {
            if self.returned.wait_until(&mut absence, deadline).timed_out() {
                break;
            }
        }
        self.database.load_full().ok_or_else(|| {
            let why = match *absence {
                Absence::Closed => "it is closed",
                Absence::None | Absence::Short | Absence::Long => "it has to be opened again after a failure",
            };
            ReadError(why.to_owned())
        })
    }

    /// Reads from the database. As cheap as the pointer allows: this is asked for every output there is.
    fn read<R>(&self, read: impl FnOnce(&Database) -> Result<R, ReadError>) -> Result<R, ReadError> {
        let guard: Guard<Option<Arc<Database>>> = self.database.load();
        match &*guard {
            Some(database) => read(database),
            None => {
                drop(guard);
                read(&*self.held()?)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn with_database<R>(&self, use_it: impl FnOnce(&Database) -> R) -> Result<R, ReadError> {
        self.held().map(|database| use_it(&database))
    }

    fn fail(&self, failure: &mut Option<Failure>, new: Failure) {
        *failure = Some(new);
        self.failed.store(true, Ordering::Release);
    }

    /// Fails as a commit does whose changes reached the disk although RocksDB could not say so.
    #[cfg(test)]
    pub(super) fn fail_with(&self, changes: Changes) {
        let error = CommitError::Disk("a test".to_owned());
        self.fail(&mut self.failure.lock(), Failure { error, doubt: Doubt::Changes(Box::new(changes)) });
    }

    #[cfg(test)]
    pub(super) fn look_back_now(&self) {
        if let Some(failure) = &mut *self.failure.lock() {
            failure.doubt.look_back(self).ok();
        }
    }

    fn set_absence(&self, now: Absence) {
        *self.absence.lock() = now;
        self.returned.notify_all();
    }

    /// Closes the database once no reader holds it; where one holds it for too long it stays.
    fn take_down(&self) -> Result<(), StoreError> {
        let Some(mut database) = self.database.swap(None) else { return Ok(()) };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Arc::try_unwrap(database) {
                Ok(last) => {
                    drop(last);
                    return Ok(());
                }
                Err(shared) if Instant::now() < deadline => {
                    database = shared;
                    thread::sleep(Duration::from_millis(1));
                }
                Err(shared) => {
                    self.database.store(Some(shared));
                    return Err(StoreError::Readers { path: self.path.clone() });
                }
            }
        }
    }
}

impl Doubt {
    /// Notes the records that the changes in doubt would change, as they are: the failed database still says.
    fn look_back(&mut self, store: &Store) -> Result<(), StoreError> {
        if let Self::Changes(changes) = self {
            let before = store
                .read(|database| database.before(changes))
                .map_err(|ReadError(why)| StoreError::Disk { path: store.path.clone(), why })?;
            *self = Self::Undone(Box::new(before));
        }
        Ok(())
    }

    /// Opens a database again, without what is in doubt. Where that did not reach the disk, what is written is what
    /// is there.
    fn undo_in(&self, path: &Path, options: &StoreOptions) -> Result<Database, StoreError> {
        let database = Database::reopen(path, options)?;
        if let Self::Undone(before) = self {
            database.commit(before).map_err(|error| {
                let (path, why) = (path.to_owned(), error.to_string());
                match error {
                    CommitError::DiskFull(_) => StoreError::DiskFull { path, why },
                    CommitError::Disk(_) | CommitError::Closed => StoreError::Disk { path, why },
                }
            })?;
        }
        Ok(database)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).field("failed", &self.is_failed()).finish()
    }
}

impl<T: Rests> Reads<T> for Store {
    fn get(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError> {
        self.read(|database| database.get::<T>(key))
    }

    fn range(
        &self,
        keys: RangeInclusive<T::Key>,
        limit: usize,
    ) -> Result<Vec<(T::Key, T::Value)>, ReadError> {
        self.read(|database| database.range::<T>(&keys, limit, ReadOptions::default()))
    }

    fn last(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Vec<(T::Key, T::Value)>, ReadError> {
        self.read(|database| database.last::<T>(&keys, limit, ReadOptions::default()))
    }
}

/// A store as it stood at one moment.
pub struct Snapshot<'a> {
    database: &'a Database,
    moment: Moment<'a>,
}

impl<'a> Snapshot<'a> {
    fn of(database: &'a Database) -> Self {
        Self { database, moment: database.moment() }
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.moment);
        options
    }
}

impl fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("at", &self.moment.sequence_number()).finish()
    }
}

impl<T: Rests> Reads<T> for Snapshot<'_> {
    fn get(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError> {
        self.database.get_with::<T>(key, &self.options())
    }

    fn range(
        &self,
        keys: RangeInclusive<T::Key>,
        limit: usize,
    ) -> Result<Vec<(T::Key, T::Value)>, ReadError> {
        self.database.range::<T>(&keys, limit, self.options())
    }

    fn last(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Vec<(T::Key, T::Value)>, ReadError> {
        self.database.last::<T>(&keys, limit, self.options())
    }
}
