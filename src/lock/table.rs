//! The table: inodes, names and claims, and what every rule needs of them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::boards::Boards;
use super::caller::Caller;
use super::claim::{Claim, ClaimId, Rare};
use super::effect::{Effect, Held};
use super::expiry::Deadlines;
use super::fair::Fair;
use super::holds::{BURIED, Buried};
use super::ids::{Gid, Handle, Ino, Pid, ProcessId, Token, Uid, User, WaitId};
use super::node::{Body, DEPTH_MAX, Directory, NAME_MAX, Name, Node, PATH_MAX};
use super::open::Open;
use super::options::Options;
use super::parked::Opening;
use super::queue::{Patience, Waiter};
use super::recall::Kept;
use super::refusal::Refusal;
use super::saved::Counters;
use super::time::{BootTime, Now, Timestamp};
use super::tracked::Tracked;
use super::walked::{WALKED, Walked};

/// All boards of one lock directory.
///
/// Each method is one event: it takes the time and, where it matters, the
/// caller, and either changes the table as a whole or refuses and changes
/// nothing. What is to be done outside is left in [`Table::take_effects`].
#[derive(Debug)]
pub struct Table {
    pub(super) options: Options,
    /// What the inventory says, if there is one.
    pub(super) inventory: Option<Arc<Boards>>,
    /// Whether a directory of the inventory could not be laid out yet: its name is held.
    pub(super) in_the_place: bool,
    pub(super) nodes: Tracked<Ino, Node>,
    pub(super) opens: Tracked<Handle, Open>,
    /// The open files of each user whose reads show something that is kept, the
    /// oldest first.
    pub(super) snapshots: HashMap<Uid, VecDeque<Handle>>,
    pub(super) deadlines: Deadlines,
    /// Which claims hang on a process.
    pub(super) processes: HashMap<ProcessId, BTreeSet<Ino>>,
    /// How many names each user has.
    pub(super) per_user: HashMap<Uid, usize>,
    pub(super) boards: usize,
    /// Free inodes that are still open, by the names they had, the last one
    /// last.
    pub(super) former: HashMap<(Ino, Name), Vec<Ino>>,
    /// The open files that the kernel knows as another inode's than the table.
    pub(super) elsewhere: HashMap<Ino, BTreeSet<Handle>>,
    /// Free inodes that nobody has open, by whose they were.
    pub(super) buried: Fair<Ino, Buried>,
    /// What threads looked up last.
    pub(super) walks: Fair<Pid, Walked>,
    /// The locks that wait.
    pub(super) waiters: Tracked<WaitId, Waiter>,
    /// How many of them each user has.
    pub(super) waiting: HashMap<Uid, usize>,
    /// The numbers by which the kernel knows who polls open files of what is no board.
    pub(super) watchers: Tracked<Handle, u64>,
    /// How long requests may wait, and when something is to be done about each.
    pub(super) patience: Option<Patience>,
    pub(super) recall: BTreeSet<(BootTime, WaitId)>,
    /// The locks that were granted to those who were sent back.
    pub(super) kept: HashMap<WaitId, Kept>,
    /// The opens that wait, and until when.
    pub(super) openings: HashMap<WaitId, Opening>,
    pub(super) open_until: BTreeSet<(BootTime, WaitId)>,
    /// Whether what comes free goes to nobody for now.
    pub(super) held_back: bool,
    effects: Vec<Effect>,
    /// Where a caller was defeated for the first time, not asked for yet.
    defeat: Option<Ino>,
    pub(super) last_ino: u64,
    last_handle: u64,
    last_token: u64,
    last_claim: u64,
    pub(super) last_arrival: u64,
    /// How often what is told of a board has changed.
    pub(super) changes: u64,
}

impl Table {
    /// An empty lock directory, made at `now`.
    pub fn new(options: Options, now: &Now) -> Table {
        let nobody = User {
            uid: options.daemon,
            gid: Gid(0),
        };
        let root = Node::new(Body::Directory(Box::default()), (nobody, now.wall));
        let mut nodes = Tracked::new();
        nodes.insert(Ino::ROOT, root);
        Table {
            options,
            inventory: None,
            in_the_place: false,
            nodes,
            opens: Tracked::new(),
            snapshots: HashMap::new(),
            deadlines: Deadlines::default(),
            processes: HashMap::new(),
            per_user: HashMap::new(),
            boards: 0,
            former: HashMap::new(),
            elsewhere: HashMap::new(),
            buried: Fair::new(BURIED.0, BURIED.1),
            walks: Fair::new(WALKED.0, WALKED.1),
            waiters: Tracked::new(),
            watchers: Tracked::new(),
            waiting: HashMap::new(),
            patience: None,
            recall: BTreeSet::new(),
            kept: HashMap::new(),
            openings: HashMap::new(),
            open_until: BTreeSet::new(),
            held_back: false,
            effects: Vec::new(),
            defeat: None,
            last_ino: Ino::ROOT.0,
            last_handle: 0,
            last_token: 0,
            last_claim: 0,
            last_arrival: 0,
            changes: 0,
        }
    }

    /// All inodes.
    #[doc(hidden)]
    pub fn numbers(&self) -> Vec<Ino> {
        self.nodes.iter().map(|(ino, _)| *ino).collect()
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How many open files of boards there are.
    pub fn open_files(&self) -> usize {
        self.opens.len()
    }

    /// How many boards there are.
    pub fn boards(&self) -> usize {
        self.boards
    }

    /// How much is kept besides the lock directory itself: inodes, open files
    /// and what is noted of them. 0 once everything was released and closed.
    pub fn residue(&self) -> usize {
        self.nodes.len().saturating_sub(1)
            + self.opens.len()
            + self.snapshots.len()
            + self.deadlines.len()
            + self.processes.len()
            + self.per_user.len()
            + self.former.len()
            + self.elsewhere.len()
            + self.waiters.len()
            + self.watchers.len()
            + self.openings.len()
            + self.recall.len()
            + self.kept.len()
            + self.open_until.len()
    }

    /// What is to be done since the last time this was asked, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The inode of a name.
    ///
    /// # Errors
    /// `Missing` for a free board, `LongName`, `NotDirectory`, `Gone` for a
    /// directory that is no more.
    pub fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Ino, Refusal> {
        if name.len() > NAME_MAX {
            return Err(Refusal::LongName);
        }
        self.directory(dir)?.get(name).ok_or(Refusal::Missing)
    }

    /// The directory with this inode.
    ///
    /// # Errors
    /// `Gone` when there is none, `NotDirectory`.
    pub fn directory(&self, dir: Ino) -> Result<&Directory, Refusal> {
        self.node(dir)?.directory().ok_or(Refusal::NotDirectory)
    }

    /// The inode.
    ///
    /// # Errors
    /// `Gone` when there is none.
    pub fn node(&self, ino: Ino) -> Result<&Node, Refusal> {
        self.nodes.get(&ino).ok_or(Refusal::Gone)
    }

    pub(super) fn node_mut(&mut self, ino: Ino) -> Result<&mut Node, Refusal> {
        self.nodes.get_mut(&ino).ok_or(Refusal::Gone)
    }

    /// The claim on an inode, if it is held.
    pub fn claim(&self, ino: Ino) -> Option<&Claim> {
        self.nodes.get(&ino)?.claim.as_ref()
    }

    pub(super) fn claim_mut(&mut self, ino: Ino) -> Option<&mut Claim> {
        self.nodes.get_mut(&ino)?.claim.as_mut()
    }

    /// The process that a claim on an inode belongs to, if one does.
    pub fn holder(&self, ino: Ino) -> Option<ProcessId> {
        self.claim(ino)?.holder.process()
    }

    /// Whether a claim hangs on this process.
    pub fn hangs_on(&self, process: ProcessId) -> bool {
        self.processes.contains_key(&process)
    }

    /// The path of a name, from the lock directory.
    pub fn path_of(&self, dir: Ino, name: &[u8]) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = vec![name];
        let mut at = dir;
        while let Some((parent, name)) = self.nodes.get(&at).and_then(|node| node.names.first()) {
            parts.push(name);
            at = *parent;
        }
        parts.reverse();
        parts.join(&b'/')
    }

    /// Refuses paths longer than any call could name at once: they would only
    /// make everything about the board slow.
    pub(super) fn may_be_called(&self, dir: Ino, name: &[u8]) -> Result<(), Refusal> {
        let path = self.path_of(dir, name);
        if path.len() > PATH_MAX || depth(&path) > DEPTH_MAX {
            return Err(Refusal::LongName);
        }
        Ok(())
    }

    /// The first path of an inode; that which it had last, if it is free.
    pub fn path(&self, ino: Ino) -> Vec<u8> {
        let Some(node) = self.nodes.get(&ino) else {
            return Vec::new();
        };
        match node.names.first().or(node.aside.former.first()) {
            Some((dir, name)) => self.path_of(*dir, name),
            None => Vec::new(),
        }
    }

    /// A handle that was never given out before.
    pub(super) fn new_handle(&mut self) -> Handle {
        self.last_handle += 1;
        Handle(self.last_handle)
    }

    /// How far the numbers got that are never given out twice.
    pub(super) fn counters(&self) -> Counters {
        Counters {
            ino: self.last_ino,
            handle: self.last_handle,
            token: self.last_token,
            claim: self.last_claim,
        }
    }

    /// No number up to these is given out any more.
    pub(super) fn advance(&mut self, counters: Counters) {
        self.last_ino = self.last_ino.max(counters.ino);
        self.last_handle = self.last_handle.max(counters.handle);
        self.last_token = self.last_token.max(counters.token);
        self.last_claim = self.last_claim.max(counters.claim);
    }

    pub(super) fn new_token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    pub(super) fn new_claim(&mut self) -> ClaimId {
        self.last_claim += 1;
        ClaimId(self.last_claim)
    }

    /// Refuses the caller something about a board that is there; tells and
    /// remembers it once a hold. A holder in its own way is no defeat.
    pub(super) fn refuse(&mut self, ino: Ino, caller: &Caller, refusal: Refusal) -> Refusal {
        let path = self.path(ino);
        let mut held = None;
        let daemon = self.options.daemon;
        if let Some(claim) = self.claim_mut(ino) {
            let own = refusal.is_defeat() && claim.held_by(caller);
            let able = claim.is_for(caller.uid(), daemon);
            let new = |rare: &mut Rare| rare.refused.add(caller, refusal, able);
            if own || !claim.rare.change(new) {
                return refusal;
            }
            held = Some(Held::new(path.clone(), claim));
            if refusal.is_defeat() {
                self.defeat = Some(ino);
            }
        }
        let about = self.about(&path, refusal);
        self.effect(Effect::Refused {
            path,
            caller: caller.clone(),
            refusal,
            about,
            held,
        });
        refusal
    }

    /// Where a caller was defeated since this was asked last, for the first
    /// time during that hold: its scripts are to be told by
    /// [`Table::remember_scripts`].
    pub fn take_defeat(&mut self) -> Option<Ino> {
        self.defeat.take()
    }

    /// Remembers the scripts around a caller that was defeated at a board: they
    /// release it no more than the program that lost.
    pub fn remember_scripts(&mut self, ino: Ino, caller: &Caller) {
        let daemon = self.options.daemon;
        if let Some(claim) = self.claim_mut(ino)
            && !claim.on_side(caller)
            && claim.rare.refused.has_defeated(caller)
        {
            let able = claim.is_for(caller.uid(), daemon);
            claim
                .rare
                .change(|rare| rare.refused.add_scripts(caller, able));
        }
    }

    /// Refuses the caller a name that nobody has.
    pub(super) fn deny(
        &mut self,
        dir: Ino,
        name: &[u8],
        caller: &Caller,
        refusal: Refusal,
    ) -> Refusal {
        let path = self.path_of(dir, name);
        let about = self.about(&path, refusal);
        self.effect(Effect::Refused {
            path,
            caller: caller.clone(),
            refusal,
            about,
            held: None,
        });
        refusal
    }

    /// Refuses the caller a path that is not for boards.
    pub fn spare(&mut self, path: Vec<u8>, caller: &Caller) -> Refusal {
        let refusal = Refusal::Reserved;
        self.effect(Effect::Refused {
            path,
            caller: caller.clone(),
            refusal,
            about: None,
            held: None,
        });
        refusal
    }

    /// Grows with each change of what is told of a board.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// When the board was acquired or, if it is free, was so last.
    pub(super) fn acquired_at(&self, node: &Node) -> Timestamp {
        node.claim
            .as_ref()
            .map_or(node.last.1, |claim| claim.since.wall)
    }
}

/// How many directories a path is below the lock directory.
pub(super) fn depth(path: &[u8]) -> usize {
    path.iter().filter(|byte| **byte == b'/').count()
}
