use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_listener::Event;

use super::{Book, BookConfig, LARGEST_SNAPSHOT, SnapshotError};
use crate::node::guard::guarded;
use crate::runtime::{Instant, MaybeSend, MaybeSync};

/// Where a [`Book`] is kept between two runs of a program.
///
/// [`save`](Self::save) may block: it is called on a thread of its own.
pub trait Store: fmt::Debug + MaybeSend + MaybeSync + 'static {
    /// What was saved last and not set aside; `None` if there is nothing.
    ///
    /// # Errors
    ///
    /// As reading says; a node then begins with an empty book.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;

    /// Saves a book in place of the one before.
    ///
    /// If the program or the machine ends in the midst of it, [`load`](Self::load) must answer
    /// either the one or the other.
    ///
    /// # Errors
    ///
    /// As writing says; the book before is then still there.
    fn save(&self, snapshot: &[u8]) -> io::Result<()>;

    /// What [`load`](Self::load) answered is no book: it is kept where nobody overwrites it, and
    /// not loaded again. There may be an older one to be loaded instead.
    ///
    /// # Errors
    ///
    /// As moving it says.
    fn set_aside(&self, problem: &SnapshotError) -> io::Result<()>;
}

/// Why a node that stopped has not saved its book.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The store failed: what it had before is still there.
    #[error("the address book was not saved: {0}")]
    Store(Arc<io::Error>),
    /// The store was too slow. It may go on in the background.
    #[error("the address book was not saved within {after:?}; its store is slow")]
    TimedOut {
        /// The limit.
        after: Duration,
    },
}

/// A [`Store`] in a file: a crash leaves the book as it was before or after a save.
///
/// Beside the file lie, by its name and these endings: `.previous`, the book saved before;
/// `.next`, one that is being written; `.bad` and `.previous.bad`, what was damaged. On Unix, only
/// the file's owner may read them.
///
/// ```
/// use sessionwire::node::book::{FileStore, Store};
///
/// # let folder = std::env::temp_dir().join(format!("sessionwire-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let store = FileStore::new(folder.join("peers.book"));
/// assert_eq!(store.load()?, None);
/// store.save(b"a snapshot")?;
/// assert_eq!(store.load()?.as_deref(), Some(&b"a snapshot"[..]));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    /// Of two that save, one waits for the other.
    saving: Mutex<()>,
}

impl FileStore {
    /// A store in the file of that name, which need not be there yet; its folder must.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            saving: Mutex::default(),
        }
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file beside that has another ending.
    fn beside(&self, ending: &str) -> PathBuf {
        with_ending(&self.path, ending)
    }
}

impl Store for FileStore {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        for path in [&self.path, &self.beside(PREVIOUS)] {
            match read(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other.map(Some),
            }
        }
        Ok(None)
    }

    fn save(&self, snapshot: &[u8]) -> io::Result<()> {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.beside(NEXT);
        write(&next, snapshot)?;
        // Ended here or between these two, the previous one is loaded.
        match fs::rename(&self.path, self.beside(PREVIOUS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(next, &self.path)?;
        sync_folder(&self.path)
    }

    fn set_aside(&self, problem: &SnapshotError) -> io::Result<()> {
        let candidates = [self.path.clone(), self.beside(PREVIOUS)];
        let Some(path) = candidates.into_iter().find(|path| path.exists()) else {
            return Ok(());
        };
        let aside = with_ending(&path, BAD);
        tracing::warn!(file = %path.display(), aside = %aside.display(), %problem,
            "cannot use the address book, keeping it aside");
        fs::rename(path, aside)
    }
}

/// The book of a store, or an empty one if there is none that can be used.
///
/// # Errors
///
/// If the store cannot be read.
pub fn open(
    store: &dyn Store,
    config: &BookConfig,
    seed: [u8; 32],
    now: Instant,
) -> io::Result<Book> {
    for _ in 0..MOST_COPIES {
        let Some(bytes) = store.load()? else {
            break;
        };
        match Book::restore(config.clone(), seed, &bytes, now) {
            Ok(book) => return Ok(book),
            Err(problem) => store.set_aside(&problem)?,
        }
    }
    Ok(Book::new(config.clone(), seed, now))
}

/// Saves on a thread of its own, for a disk may take its time.
///
/// # Errors
///
/// As the store says, or that there is no thread.
///
/// # Cancel safety
///
/// What was begun is saved all the same.
pub async fn save(store: Arc<dyn Store>, snapshot: Vec<u8>) -> io::Result<()> {
    let saving = Arc::new(Saving::default());
    let on_thread = Arc::clone(&saving);
    in_background(move || {
        let saved = guarded(|| store.save(&snapshot));
        on_thread.finish(saved.unwrap_or_else(|| Err(io::Error::other("the store panicked"))));
    })?;
    saving.finished().await
}

#[cfg(not(target_family = "wasm"))]
fn in_background(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("sessionwire-book".to_owned());
    thread.spawn(work).map(drop)
}

/// There are no threads, nor files.
#[cfg(target_family = "wasm")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
fn in_background(work: impl FnOnce()) -> io::Result<()> {
    work();
    Ok(())
}

/// The result of a save that goes on elsewhere.
#[derive(Debug, Default)]
struct Saving {
    result: Mutex<Option<io::Result<()>>>,
    finished: Event,
}

impl Saving {
    fn finish(&self, result: io::Result<()>) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.finished.notify(usize::MAX);
    }

    async fn finished(&self) -> io::Result<()> {
        loop {
            let listener = self.finished.listen();
            if let Some(result) = self.take() {
                return result;
            }
            listener.await;
        }
    }

    fn take(&self) -> Option<io::Result<()>> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.take()
    }
}

const PREVIOUS: &str = "previous";
const NEXT: &str = "next";
const BAD: &str = "bad";

/// The saved one, the previous one, and one that a crash put between.
const MOST_COPIES: usize = 3;

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Reads a file, of one that is too large no more than shows that it is.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let most = u64::try_from(LARGEST_SNAPSHOT).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the renaming last.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or_else(|| Path::new("."));
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use tempfile::TempDir;

    use super::*;
    use crate::transport::Endpoint;

    /// A folder that goes with the test.
    struct Folder(TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn store(&self) -> FileStore {
            FileStore::new(self.0.path().join("book"))
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.0.path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        }
    }

    fn snapshot(addresses: usize) -> Vec<u8> {
        let now = Instant::now();
        let mut book = Book::new(BookConfig::default(), [1; 32], now);
        for number in 0..addresses {
            let endpoint: Endpoint = format!("tcp://9.{number}.0.1:1").parse().unwrap();
            book.keep(endpoint, now);
        }
        book.snapshot(now)
    }

    fn reopened(store: &FileStore) -> usize {
        let opened = open(store, &BookConfig::default(), [2; 32], Instant::now());
        opened.unwrap().len()
    }

    #[test]
    fn a_book_that_was_saved_is_opened_again() {
        let folder = Folder::new();
        let store = folder.store();
        assert_eq!(reopened(&store), 0, "there is none yet");
        for addresses in [5, 7] {
            store.save(&snapshot(addresses)).unwrap();
            assert_eq!(reopened(&store), addresses);
        }
        assert_eq!(folder.names(), ["book", "book.previous"]);
        block_on(save(Arc::new(folder.store()), snapshot(9))).unwrap();
        assert_eq!(reopened(&store), 9);
    }

    #[test]
    fn wherever_a_save_ends_there_is_a_book() {
        let folder = Folder::new();
        let store = folder.store();
        store.save(&snapshot(5)).unwrap();
        let new = snapshot(7);
        for written in [0, 1, new.len() / 2, new.len()] {
            fs::write(store.beside(NEXT), &new[..written]).unwrap();
            assert_eq!(reopened(&store), 5, "{written} bytes were written");
        }
        fs::rename(store.path(), store.beside(PREVIOUS)).unwrap();
        assert_eq!(reopened(&store), 5, "between the two renamings");
        store.save(&new).unwrap();
        assert_eq!(reopened(&store), 7);
        assert_eq!(folder.names(), ["book", "book.previous"]);
    }

    #[test]
    fn a_damaged_book_is_kept_aside_and_the_one_before_is_used() {
        let folder = Folder::new();
        let store = folder.store();
        store.save(&snapshot(5)).unwrap();
        store.save(&snapshot(7)).unwrap();
        let cut = &snapshot(7)[..50];
        fs::write(store.path(), cut).unwrap();
        assert_eq!(reopened(&store), 5);
        assert_eq!(folder.names(), ["book.bad", "book.previous"]);
        fs::write(store.beside(PREVIOUS), b"no book").unwrap();
        assert_eq!(reopened(&store), 0, "it begins anew");
        assert_eq!(folder.names(), ["book.bad", "book.previous.bad"]);
        assert_eq!(fs::read(store.beside(BAD)).unwrap(), cut);
        store.save(&snapshot(3)).unwrap();
        assert_eq!(reopened(&store), 3);
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read_to_its_end() {
        let folder = Folder::new();
        let store = folder.store();
        let file = File::create(store.path()).unwrap();
        // Sparse: it takes no room.
        file.set_len(1 << 36).unwrap();
        let loaded = store.load().unwrap().unwrap();
        assert_eq!(loaded.len(), LARGEST_SNAPSHOT + 1);
        assert_eq!(reopened(&store), 0);
        assert_eq!(folder.names(), ["book.bad"]);
    }

    #[test]
    fn a_store_that_cannot_be_read_or_written_says_so() {
        let store = FileStore::new("/nowhere/at/all/book");
        let config = BookConfig::default();
        assert!(store.save(b"").is_err());
        assert!(block_on(save(Arc::new(store), Vec::new())).is_err());
        let folder = Folder::new();
        let store = folder.store();
        fs::create_dir(store.path()).unwrap();
        let opened = open(&store, &config, [1; 32], Instant::now());
        assert!(opened.is_err(), "a folder is no book");
        assert_eq!(folder.names(), ["book"], "it is not moved");
    }
}
