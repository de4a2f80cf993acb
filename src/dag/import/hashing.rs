//! Hashing on every core, results in the order of submission.
//!
//! Whoever submits hashes, too, instead of waiting: a thread for each core beside it would leave three on
//! two cores, which take turns and leave one of them idle in between.
//!
//! Leaves travel together: to hand a small one over costs more than to hash it, and a processor may
//! hash several in much less time than one after the other ([`Block::hashed_many`]).

use std::collections::VecDeque;
use std::io;
use std::panic::catch_unwind;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::ipld::block::{Block, Prefix};
use crate::ipld::cid::CidError;
use crate::task;
use crate::unixfs::chunk::fixed::Framed;

/// Batches in flight for each core: enough that no core waits for the reader. They are the whole
/// memory of an import beyond the write buffers.
const BATCHES_A_CORE: usize = 4;
/// The same of batches that wait for [`TOGETHER_BYTES`].
const LARGE_A_CORE: usize = 2;
/// Of these, at the most: one reader keeps no more than a few cores busy with them.
const LARGE_MAX: usize = 8;
/// Bytes from which on a batch goes off.
const BATCH_BYTES: usize = 128 << 10;
/// The same where leaves are better hashed together, and where more of them are sure to come: what is
/// gathered from a client that stops is held as long as the client likes. Sixteen of Kubo's size.
const TOGETHER_BYTES: usize = 4 << 20;
/// Leaves with which a batch goes off: their content may be next to nothing.
const BATCH_LEAVES: usize = 128;

/// A leaf, and the bytes of content in it.
type Hashed = Result<(Block, usize), CidError>;

type Inbox = Mutex<Receiver<Job>>;

struct Job {
    leaves: Vec<(Prefix, Framed)>,
    reply: SyncSender<Vec<Hashed>>,
}

/// Threads that hash; they end when this is dropped.
pub struct Hashers {
    jobs: Option<SyncSender<Job>>,
    inbox: Arc<Inbox>,
    threads: Vec<JoinHandle<()>>,
    gathered: Vec<(Prefix, Framed)>,
    gathered_bytes: usize,
    together: usize,
    flying: VecDeque<Receiver<Vec<Hashed>>>,
    landed: std::vec::IntoIter<Hashed>,
    most: usize,
}

impl Hashers {
    /// One thread a core, without the one that submits, for leaves under this prefix.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(prefix: Prefix) -> io::Result<Self> {
        let (cores, together) = (task::cores(), prefix.together());
        let most = match together {
            1 => cores * BATCHES_A_CORE,
            _ => (cores * LARGE_A_CORE).min(LARGE_MAX),
        };
        let (jobs, inbox) = sync_channel::<Job>(most);
        let inbox = Arc::new(Mutex::new(inbox));
        let mut threads = Vec::with_capacity(cores);
        for n in 1..cores.clamp(2, most) {
            let inbox = Arc::clone(&inbox);
            threads.push(task::thread(&format!("hash-{n}"), move || work(&inbox))?);
        }
        Ok(Self {
            jobs: Some(jobs),
            inbox,
            threads,
            gathered: Vec::new(),
            gathered_bytes: 0,
            together,
            flying: VecDeque::new(),
            landed: Vec::new().into_iter(),
            most,
        })
    }

    /// Hands a leaf over; `more` come without anyone being waited for, but for the last of a file.
    /// [`Self::take`] must be called between submissions: it holds the bound.
    pub fn submit(&mut self, prefix: Prefix, framed: Framed, more: bool) {
        self.gathered_bytes += framed.block.len();
        self.gathered.push((prefix, framed));
        let waits =
            more && self.gathered.len() < self.together && self.gathered_bytes < TOGETHER_BYTES;
        if !waits {
            self.settle();
        }
    }

    /// Sends off what is gathered, if it is enough for a batch.
    pub fn settle(&mut self) {
        if self.gathered_bytes >= BATCH_BYTES || self.gathered.len() >= BATCH_LEAVES {
            self.flush();
        }
    }

    /// Sends off what is gathered.
    fn flush(&mut self) {
        let leaves = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let Some(jobs) = self.jobs.as_ref().filter(|_| !leaves.is_empty()) else { return };
        let (reply, answer) = sync_channel(1);
        // The threads live as long as this handle, so the channel is open.
        let _ = jobs.send(Job { leaves, reply });
        self.flying.push_back(answer);
    }

    /// The next result in order: waits for it when as many as allowed are in flight, or when `all`
    /// are wanted; `None` when there is nothing to wait for.
    ///
    /// # Errors
    /// The hash function's.
    pub fn take(&mut self, all: bool) -> Result<Option<(Block, usize)>, CidError> {
        loop {
            if let Some(hashed) = self.landed.next() {
                return hashed.map(Some);
            }
            if all {
                self.flush();
            }
            let Some(next) = self.flying.front() else { return Ok(None) };
            let mut landed = next.try_recv();
            let full = all || self.flying.len() >= self.most;
            if full && matches!(landed, Err(TryRecvError::Empty)) {
                if self.lends_a_hand() {
                    continue;
                }
                landed = next.recv().map_err(|_| TryRecvError::Disconnected);
            }
            match landed {
                Ok(landed) => self.landed = landed.into_iter(),
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => {
                    return Err(CidError::Hash("the hashing thread is gone".into()));
                }
            }
            self.flying.pop_front();
        }
    }

    /// Hashes what no thread has begun with; `false` when there is nothing.
    fn lends_a_hand(&self) -> bool {
        // A thread that has the lock takes a job, or waits for one.
        let job = self.inbox.try_lock().ok().and_then(|inbox| inbox.try_recv().ok());
        // A panic is an error here as one in a thread is: by the reply that never comes.
        job.map(|job| catch_unwind(|| hash(job))).is_some()
    }
}

impl Drop for Hashers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic there was an error here already, by the reply that never came.
            let _ = thread.join();
        }
    }
}

/// Takes jobs until the last sender is gone.
fn work(inbox: &Inbox) {
    loop {
        let job = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        hash(job);
    }
}

fn hash(Job { leaves, reply }: Job) {
    let (leaves, contents): (Vec<_>, Vec<_>) = leaves
        .into_iter()
        .map(|(prefix, Framed { block, content })| ((prefix, block), content))
        .unzip();
    let hashed = Block::hashed_many(leaves).into_iter().zip(contents);
    // Nobody waits any more when the import has failed.
    let _ = reply.send(hashed.map(|(block, content)| Ok((block?, content))).collect());
}
