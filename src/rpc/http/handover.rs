//! Open files, handed from a command to the daemon of the same repository.
//!
//! The bytes of an upload are copied into a socket, out of it and through the parser of its parts: on
//! one machine all that is for nothing, and costs more than the store does. A command that has a file
//! open hands its descriptor over, on a Unix socket in the repository (unix(7), `SCM_RIGHTS`), and
//! names it in the upload where its bytes would be. Whoever may open that socket may read the
//! repository; what is handed over is read, and nothing else.
//!
//! The exchange: the desk's name, by which the command knows that this daemon is the one it uploads to,
//! since that tells the same in [`DESK`] where it is asked; then a name of 16 random bytes with one
//! descriptor, and one byte back, [`TAKEN`] or not. A file that was not taken is sent as bytes. When the
//! connection ends, so does the reading of what came by it: a command that was killed is no whole file.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::task;

/// The header of a part whose file was handed over: its name, in hexadecimal.
pub const HEADER: &str = "X-Henge-File";
/// The header that asks a daemon for the name of its desk, and tells it, in hexadecimal.
pub const DESK: &str = "X-Henge-Desk";
/// The socket, in a running daemon's repository.
const SOCKET_FILE: &str = "files.sock";
/// Smaller files are sent: a word with the daemon costs as much as their bytes.
const LEAST_BYTES: u64 = 256 << 10;
/// Files of one connection that may wait to be read; what is handed over beyond is not taken.
const WAITING_MAX: usize = 32;
/// Connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 16;
/// Filesystems that answer without a server, by the `f_type` of statfs(2): ext, XFS, Btrfs, tmpfs,
/// overlayfs, ZFS, F2FS, bcachefs, exFAT. Reading from another may take for ever, which an upload may
/// not, and a daemon cannot give up.
const LOCAL: [u64; 9] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x794c_7630,
    0x2fc1_2fc1,
    0xf2f5_2010,
    0xca45_1a4e,
    0x2011_bab0,
];
/// The answer to a file that was taken.
const TAKEN: u8 = 1;
/// The answer to anything else.
const REFUSED: u8 = 0;
/// Time for the daemon to answer, which it does at once.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What a file is called between the two.
type Name = [u8; 16];

/// Files that were handed over and wait to be read: at most [`WAITING_MAX`] for each of
/// [`CONNECTIONS_MAX`] connections, and none longer than its connection stands.
#[derive(Clone, Debug)]
pub struct Desk {
    name: Name,
    waiting: Arc<Mutex<HashMap<Name, Handed>>>,
}

/// A file that was handed over.
#[derive(Debug)]
pub struct Handed {
    /// The file.
    pub file: File,
    /// Set when whoever handed it over is gone.
    pub gone: Arc<AtomicBool>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { name: rand::random(), waiting: Arc::default() }
    }
}

impl Desk {
    /// What [`DESK`] tells.
    pub fn name(&self) -> String {
        HEXLOWER.encode(&self.name)
    }

    /// The file of this name, as [`HEADER`] gives it; once.
    pub fn take(&self, name: &str) -> Option<Handed> {
        let name = HEXLOWER.decode(name.as_bytes()).ok()?;
        self.lock().remove(name.as_slice())
    }

    /// Takes files from whoever connects, until `stop`; then from those who are connected, for whom
    /// requests may still be answered.
    pub async fn serve(self, counter: Counter, stop: CancellationToken) {
        let (room, open) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), TaskTracker::new());
        loop {
            let accepted = tokio::select! {
                accepted = counter.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, mostly, which passes.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            // Who is not let in hears so at once, and sends bytes.
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
            if !is_own(&stream) {
                continue;
            }
            let desk = self.clone();
            task::track(&open, async move {
                // Who goes away or sends anything else has nothing more to hand over.
                let _ = desk.converse(&stream).await;
                drop(place);
            });
        }
        // Somebody may have cleaned up already.
        let _ = std::fs::remove_file(&counter.path);
        open.close();
        open.wait().await;
    }

    async fn converse(&self, stream: &tokio::net::UnixStream) -> io::Result<()> {
        let mut own = Own { desk: self, names: Vec::new(), gone: Arc::default() };
        say(stream, &self.name).await?;
        loop {
            let receive = || receive(stream);
            let Some((name, file)) = stream.async_io(Interest::READABLE, receive).await? else {
                return Ok(());
            };
            let answer = match own.keeps(name, file) {
                true => TAKEN,
                false => REFUSED,
            };
            say(stream, &[answer]).await?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Handed>> {
        // A file more or less: nothing can be half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what always fits into a socket that is read.
async fn say(stream: &tokio::net::UnixStream, bytes: &[u8]) -> io::Result<()> {
    stream.writable().await?;
    match stream.try_write(bytes)? == bytes.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Whether the other end is of the daemon's user, or root: between its making and its renaming the
/// socket may have been open to others.
fn is_own(stream: &tokio::net::UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// What one connection handed over; those that nobody took go with it, and those that are being read
/// end there.
struct Own<'a> {
    desk: &'a Desk,
    names: Vec<Name>,
    gone: Arc<AtomicBool>,
}

impl Own<'_> {
    /// Keeps a file, if it is one and there is room for it.
    fn keeps(&mut self, name: Name, file: Option<File>) -> bool {
        // Reading a pipe may take for ever, and hold an import up.
        let file = file.filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()));
        let mut waiting = self.desk.lock();
        self.names.retain(|name| waiting.contains_key(name));
        if self.names.len() >= WAITING_MAX || waiting.contains_key(&name) {
            return false;
        }
        let Some(file) = file else { return false };
        waiting.insert(name, Handed { file, gone: Arc::clone(&self.gone) });
        self.names.push(name);
        true
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        let mut waiting = self.desk.lock();
        let left: Vec<Handed> = self.names.iter().filter_map(|n| waiting.remove(n)).collect();
        drop(waiting);
        // Closing may take its time, and nobody else is to wait for it.
        drop(left);
    }
}

/// One message: a name, and the file that came with it. `None` at the end.
fn receive(stream: &tokio::net::UnixStream) -> io::Result<Option<(Name, Option<File>)>> {
    let mut name = Name::default();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut name)];
    let got = recvmsg(stream, into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let file = files.flatten().next().map(File::from);
    match got {
        0 => Ok(None),
        got if got == name.len() => Ok(Some((name, file))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Where files are handed over.
#[derive(Debug)]
pub struct Counter {
    listener: UnixListener,
    path: PathBuf,
}

impl Counter {
    /// Opens the socket in the repository at `root`, for its owner alone.
    ///
    /// # Errors
    /// The system's: the path is longer than sockets may have (unix(7): 107 bytes), or the filesystem
    /// has none. Everything works without it.
    pub fn open(root: &Path) -> io::Result<Self> {
        let path = root.join(SOCKET_FILE);
        let fresh = path.with_extension("new");
        // Of one that was killed.
        let _ = std::fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, &path)?;
        Ok(Self { listener, path })
    }
}

/// The command's end: hands files over to the daemon of a repository. They wait there until they are
/// read or this is dropped.
#[derive(Debug)]
pub struct Giver {
    path: PathBuf,
    /// The name of the desk of the daemon that is uploaded to.
    desk: String,
    line: Mutex<Line>,
}

#[derive(Debug)]
enum Line {
    /// Nothing was handed over yet.
    Unused,
    Open(UnixStream),
    /// Nothing more goes over it; what did may still wait at the other end.
    Over(#[expect(dead_code, reason = "held open")] Option<UnixStream>),
}

impl Giver {
    /// One for the repository at `root`, and the daemon whose desk is called so; connects when the
    /// first file is handed over.
    pub fn new(root: &Path, desk: String) -> Self {
        Self { path: root.join(SOCKET_FILE), desk, line: Mutex::new(Line::Unused) }
    }

    /// Hands a file over, from where it stands; what it is called then. `None` when its bytes are to
    /// be sent: it is small, or none, or not on this machine, or was not taken.
    pub fn give(&self, file: &File) -> Option<String> {
        let meta = file.metadata().ok()?;
        if !meta.is_file() || meta.len() < LEAST_BYTES || !is_local(file) {
            return None;
        }
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Line::Unused = *line {
            *line = self.reach().map_or(Line::Over(None), Line::Open);
        }
        let Line::Open(stream) = &mut *line else { return None };
        let name: Name = rand::random();
        match ask(stream, &name, file) {
            Ok(TAKEN) => Some(HEXLOWER.encode(&name)),
            Ok(_) => None,
            Err(_) => {
                if let Line::Open(stream) = std::mem::replace(&mut *line, Line::Unused) {
                    *line = Line::Over(Some(stream));
                }
                None
            }
        }
    }

    /// A connection to the desk that was named, and to no other.
    fn reach(&self) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        let mut name = Name::default();
        stream.read_exact(&mut name)?;
        match HEXLOWER.encode(&name) == self.desk {
            true => Ok(stream),
            false => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

/// Whether a file's bytes are on this machine.
fn is_local(file: &File) -> bool {
    let kind = rustix::fs::fstatfs(file).map(|fs| fs.f_type);
    kind.is_ok_and(|kind| u64::try_from(kind).is_ok_and(|kind| LOCAL.contains(&kind)))
}

fn ask(stream: &mut UnixStream, name: &Name, file: &File) -> io::Result<u8> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    sendmsg(&*stream, &[IoSlice::new(name)], &mut control, SendFlags::NOSIGNAL)?;
    let mut answer = [REFUSED];
    stream.read_exact(&mut answer)?;
    let [answer] = answer;
    Ok(answer)
}

/// A folder whose files are handed over, wherever tests run.
#[cfg(test)]
pub fn local_folder() -> tempfile::TempDir {
    let usual = tempfile::tempdir().unwrap();
    match is_local(&File::open(usual.path()).unwrap()) {
        true => usual,
        false => tempfile::tempdir_in("/dev/shm").unwrap(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// A repository with a desk that is served, and a giver.
    struct Stand {
        folder: tempfile::TempDir,
        desk: Desk,
        giver: Giver,
        stop: CancellationToken,
    }

    impl Stand {
        fn new() -> Self {
            let folder = local_folder();
            let (desk, stop) = (Desk::default(), CancellationToken::new());
            let counter = Counter::open(folder.path()).unwrap();
            task::detach(desk.clone().serve(counter, stop.clone()));
            let giver = Giver::new(folder.path(), desk.name());
            Self { folder, desk, giver, stop }
        }

        fn file(&self, content: &[u8], size: u64) -> File {
            let path = self.folder.path().join("file");
            let mut file = File::create(&path).unwrap();
            file.write_all(content).unwrap();
            file.set_len(size).unwrap();
            File::open(path).unwrap()
        }

        async fn waiting(&self, wanted: usize) {
            for _ in 0..400 {
                if self.desk.lock().len() == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            panic!("{} files wait, and not {wanted}", self.desk.lock().len());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_handed_over_is_taken_once() {
        let stand = Stand::new();
        let name = stand.giver.give(&stand.file(b"content", LEAST_BYTES)).unwrap();
        let mut start = [0; 7];
        let mut handed = stand.desk.take(&name).unwrap();
        handed.file.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"content");
        assert!(stand.desk.take(&name).is_none());
        for unknown in ["", "zz", &name[2..], &format!("{name}00"), &"0".repeat(32)] {
            assert!(stand.desk.take(unknown).is_none(), "{unknown}");
        }
        let mode = std::fs::metadata(stand.folder.path().join(SOCKET_FILE)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        stand.stop.cancel();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_small_or_no_file_is_sent() {
        let stand = Stand::new();
        assert!(stand.giver.give(&stand.file(b"", LEAST_BYTES - 1)).is_none());
        assert!(stand.giver.give(&File::open("/dev/zero").unwrap()).is_none());
        // One that does not look is refused at the other end.
        let mut line = stand.giver.reach().unwrap();
        let zeros = File::open("/dev/zero").unwrap();
        assert_eq!(ask(&mut line, &[1; 16], &zeros).unwrap(), REFUSED);
        let file = stand.file(b"", LEAST_BYTES);
        assert_eq!(ask(&mut line, &[2; 16], &file).unwrap(), TAKEN);
        assert_eq!(ask(&mut line, &[2; 16], &file).unwrap(), REFUSED, "the name is taken");
        let elsewhere = Giver::new(Path::new("/nowhere"), stand.desk.name());
        assert!(elsewhere.give(&file).is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_wait_in_bounds_and_go_with_their_connection() {
        let stand = Stand::new();
        let file = stand.file(b"", LEAST_BYTES);
        let names: Vec<String> =
            (0..WAITING_MAX).map(|_| stand.giver.give(&file).unwrap()).collect();
        assert!(stand.giver.give(&file).is_none());
        let handed = stand.desk.take(&names[7]).unwrap();
        assert!(stand.giver.give(&file).is_some());
        stand.waiting(WAITING_MAX).await;
        // Another's stay when its connection sends nonsense.
        let mut other = stand.giver.reach().unwrap();
        assert_eq!(ask(&mut other, &[1; 16], &file).unwrap(), TAKEN);
        other.write_all(b"nonsense").unwrap();
        assert_eq!(other.read(&mut [0; 9]).unwrap_or(0), 0, "it is closed");
        stand.waiting(WAITING_MAX).await;
        let Stand { folder, desk, giver, stop } = stand;
        assert!(!handed.gone.load(Ordering::Relaxed));
        drop(giver);
        let giver = Giver::new(folder.path(), desk.name());
        let stand = Stand { giver, folder, desk, stop };
        stand.waiting(0).await;
        assert!(handed.gone.load(Ordering::Relaxed), "nothing tells whoever reads it");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_finds_no_place_hears_so_at_once() {
        let stand = Stand::new();
        let lines: Vec<_> = (0..CONNECTIONS_MAX).map(|_| stand.giver.reach().unwrap()).collect();
        let since = std::time::Instant::now();
        assert!(stand.giver.give(&stand.file(b"", LEAST_BYTES)).is_none());
        assert!(since.elapsed() < ANSWER_TIME / 2);
        drop(lines);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_was_killed_is_in_nobodys_way() {
        let stand = Stand::new();
        let counter = Counter::open(stand.folder.path()).unwrap();
        let desk = Desk::default();
        task::detach(desk.clone().serve(counter, stand.stop.clone()));
        let file = stand.file(b"", LEAST_BYTES);
        assert!(stand.giver.give(&file).is_none(), "it is another daemon's desk");
        let giver = Giver::new(stand.folder.path(), desk.name());
        let name = giver.give(&file).unwrap();
        assert!(desk.take(&name).is_some());
        let path = stand.folder.path().join(SOCKET_FILE);
        stand.stop.cancel();
        assert!(giver.give(&file).is_some(), "who is connected may go on");
        for _ in 0..400 {
            if !path.exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the socket stays");
    }
}
