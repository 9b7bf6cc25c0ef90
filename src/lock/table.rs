//! The table: inodes, names and claims, and what every rule needs of them.

use std::collections::{BTreeSet, HashMap};

use super::caller::Caller;
use super::claim::{Claim, ClaimId, Holder};
use super::effect::{Effect, End, Held};
use super::expiry::Deadlines;
use super::ids::{Gid, Handle, Ino, ProcessId, Token, Uid, User};
use super::node::{Body, Directory, NAME_MAX, Name, Node, PATH_MAX};
use super::open::Open;
use super::options::Options;
use super::refusal::Refusal;
use super::time::{Now, Timestamp};

/// All boards of one lock directory.
///
/// Each method is one event: it takes the time and, where it matters, the
/// caller, and either changes the table as a whole or refuses and changes
/// nothing. What is to be done outside is left in [`Table::take_effects`].
#[derive(Debug)]
pub struct Table {
    pub(super) options: Options,
    pub(super) nodes: HashMap<Ino, Node>,
    pub(super) opens: HashMap<Handle, Open>,
    pub(super) deadlines: Deadlines,
    /// Which claims hang on a process.
    processes: HashMap<ProcessId, BTreeSet<Ino>>,
    /// How many names each user has.
    per_user: HashMap<Uid, usize>,
    boards: usize,
    /// Free inodes that are still open, by the names they had.
    former: HashMap<(Ino, Name), Ino>,
    effects: Vec<Effect>,
    last_ino: u64,
    last_handle: u64,
    last_token: u64,
    last_claim: u64,
}

impl Table {
    /// An empty lock directory, made at `now`.
    pub fn new(options: Options, now: &Now) -> Table {
        let root = Node {
            body: Body::Directory(Directory::default()),
            names: Vec::new(),
            former: Vec::new(),
            opens: Vec::new(),
            claim: None,
            last: (
                User {
                    uid: options.daemon,
                    gid: Gid(0),
                },
                now.wall,
            ),
        };
        Table {
            options,
            nodes: HashMap::from([(Ino::ROOT, root)]),
            opens: HashMap::new(),
            deadlines: Deadlines::default(),
            processes: HashMap::new(),
            per_user: HashMap::new(),
            boards: 0,
            former: HashMap::new(),
            effects: Vec::new(),
            last_ino: Ino::ROOT.0,
            last_handle: 0,
            last_token: 0,
            last_claim: 0,
        }
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
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
            + self.deadlines.len()
            + self.processes.len()
            + self.per_user.len()
            + self.former.len()
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

    /// The process that holds an inode, if one does.
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
        if self.path_of(dir, name).len() > PATH_MAX {
            return Err(Refusal::LongName);
        }
        Ok(())
    }

    /// The first path of an inode; that which it had last, if it is free.
    pub fn path(&self, ino: Ino) -> Vec<u8> {
        let Some(node) = self.nodes.get(&ino) else {
            return Vec::new();
        };
        match node.names.first().or(node.former.first()) {
            Some((dir, name)) => self.path_of(*dir, name),
            None => Vec::new(),
        }
    }

    /// A handle that was never given out before.
    pub(super) fn new_handle(&mut self) -> Handle {
        self.last_handle += 1;
        Handle(self.last_handle)
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
        if let Some(claim) = self.claim_mut(ino) {
            let own = refusal.is_defeat() && claim.held_by(caller);
            if own || !claim.refused.add(caller, refusal) {
                return refusal;
            }
            held = Some(Held::new(path.clone(), claim));
        }
        self.effect(Effect::Refused {
            path,
            caller: caller.clone(),
            refusal,
            held,
        });
        refusal
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
        self.effect(Effect::Refused {
            path,
            caller: caller.clone(),
            refusal,
            held: None,
        });
        refusal
    }

    /// Whether one more name fits, for this user.
    pub(super) fn room_for(&self, uid: Uid) -> Result<(), Refusal> {
        if self.boards >= self.options.max_boards {
            return Err(Refusal::TableFull);
        }
        match self.per_user.get(&uid) {
            Some(count) if *count >= self.options.max_per_user => Err(Refusal::UserFull),
            _ => Ok(()),
        }
    }

    /// The inode for a new board: that of the same name's last hold while it
    /// is still open, else a new one.
    pub(super) fn inode_for(&mut self, dir: Ino, name: &[u8], body: Body, now: &Now) -> Ino {
        if matches!(body, Body::File(_))
            && let Some(ino) = self.former.get(&(dir, name.into())).copied()
            && let Some(node) = self.nodes.get_mut(&ino)
        {
            node.body = body;
            for key in std::mem::take(&mut node.former) {
                self.former.remove(&key);
            }
            return ino;
        }
        self.last_ino += 1;
        let ino = Ino(self.last_ino);
        let nobody = User {
            uid: self.options.daemon,
            gid: Gid(0),
        };
        self.nodes.insert(
            ino,
            Node {
                body,
                names: Vec::new(),
                former: Vec::new(),
                opens: Vec::new(),
                claim: None,
                last: (nobody, now.wall),
            },
        );
        ino
    }

    /// Gives an inode a claim.
    pub(super) fn begin_claim(&mut self, ino: Ino, claim: Claim) {
        let lineage = claim.holder.lineage().to_vec();
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.last = (claim.user, claim.since.wall);
            node.claim = Some(claim);
        }
        self.hang_on(ino, &lineage);
        self.set_deadline(ino);
    }

    /// Gives a claimed inode a name, which counts among its user's.
    pub(super) fn add_name(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        node.names.push((dir, name.into()));
        let target = match &node.body {
            Body::Link(target) => Some(target.clone()),
            _ => None,
        };
        let charged = node.claim.as_ref().map(|claim| claim.charged);
        let key = (dir, name.into());
        if let Some(old) = self.former.remove(&key)
            && let Some(old) = self.nodes.get_mut(&old)
        {
            old.former.retain(|other| *other != key);
        }
        self.boards += 1;
        if let Some(uid) = charged {
            *self.per_user.entry(uid).or_default() += 1;
        }
        if let Some(directory) = self.nodes.get_mut(&dir).and_then(Node::directory_mut) {
            directory.insert(name.into(), ino);
            if let Some(target) = target {
                directory.add_target(&target);
            }
        }
    }

    /// Takes a name from an inode. The claim is the caller's to end.
    pub(super) fn drop_name(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        node.names
            .retain(|(at, called)| !(*at == dir && **called == *name));
        let target = match &node.body {
            Body::Link(target) => Some(target.clone()),
            _ => None,
        };
        let charged = node.claim.as_ref().map(|claim| claim.charged);
        self.boards = self.boards.saturating_sub(1);
        if let Some(uid) = charged
            && let Some(count) = self.per_user.get_mut(&uid)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_user.remove(&uid);
            }
        }
        if let Some(directory) = self.nodes.get_mut(&dir).and_then(Node::directory_mut) {
            directory.remove(name);
            if let Some(target) = target {
                directory.drop_target(&target);
            }
        }
    }

    /// Ends a claim: all its names go, what was written goes, the board is
    /// free. The inode stays while it is open. Claimed directories without a
    /// holder that this empties go with it.
    pub(super) fn end_claim(&mut self, ino: Ino, end: &End, now: &Now) {
        let mut left = self.end_alone(ino, end, now);
        // Users nest directories as deep as they like: a loop, no recursion.
        while let Some(dir) = left.pop() {
            if self.is_over(dir) {
                left.extend(self.end_alone(dir, &End::Emptied, now));
            }
        }
    }

    /// Ends one claim and says which directories its names were in.
    fn end_alone(&mut self, ino: Ino, end: &End, now: &Now) -> Vec<Ino> {
        let Some(claim) = self.claim(ino).cloned() else {
            return Vec::new();
        };
        let names = self
            .nodes
            .get(&ino)
            .map(|node| node.names.clone())
            .unwrap_or_default();
        for (dir, name) in &names {
            let held = Held::new(self.path_of(*dir, name), &claim);
            self.tell_release(held, &claim, end, now);
            self.drop_name(*dir, name, ino);
        }
        self.let_go(ino, claim.holder.lineage());
        self.deadlines.set(ino, None);
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.last = (claim.user, claim.since.wall);
            node.claim = None;
            if let Body::File(content) = &mut node.body {
                content.clear();
            }
            if node.opens.is_empty() {
                self.nodes.remove(&ino);
            } else if node.is_file() {
                node.former = names.clone();
                for key in &names {
                    self.former.insert(key.clone(), ino);
                }
            }
        }
        names.into_iter().map(|(dir, _)| dir).collect()
    }

    pub(super) fn tell_release(&mut self, held: Held, claim: &Claim, end: &End, now: &Now) {
        self.effect(Effect::Released {
            held,
            end: end.clone(),
            after: now.boot.0.saturating_sub(claim.since.boot.0),
        });
    }

    /// A claimed directory whose holder is gone goes with its last board.
    pub(super) fn sweep(&mut self, dir: Ino, now: &Now) {
        if self.is_over(dir) {
            self.end_claim(dir, &End::Emptied, now);
        }
    }

    /// Whether this is a claimed directory without holder and boards.
    fn is_over(&self, dir: Ino) -> bool {
        self.nodes.get(&dir).is_some_and(|node| {
            node.directory().is_some_and(Directory::is_empty)
                && node
                    .claim
                    .as_ref()
                    .is_some_and(|claim| claim.holder == Holder::Gone)
        })
    }

    /// Forgets a free inode that nobody has open.
    pub(super) fn forget_if_unused(&mut self, ino: Ino) {
        let unused = self
            .nodes
            .get(&ino)
            .is_some_and(|node| ino != Ino::ROOT && node.names.is_empty() && node.opens.is_empty());
        if unused && let Some(node) = self.nodes.remove(&ino) {
            for key in node.former {
                self.former.remove(&key);
            }
        }
    }

    /// Makes a claim hang on these processes.
    pub(super) fn hang_on(&mut self, ino: Ino, lineage: &[ProcessId]) {
        for process in lineage {
            if self.processes.entry(*process).or_default().insert(ino)
                && self.processes.get(process).map(BTreeSet::len) == Some(1)
            {
                self.effects.push(Effect::Watch(*process));
            }
        }
    }

    /// Makes a claim hang on these processes no more.
    pub(super) fn let_go(&mut self, ino: Ino, lineage: &[ProcessId]) {
        for process in lineage {
            let Some(claims) = self.processes.get_mut(process) else {
                continue;
            };
            claims.remove(&ino);
            if claims.is_empty() {
                self.processes.remove(process);
                self.effects.push(Effect::Unwatch(*process));
            }
        }
    }

    /// The claims that hang on a process.
    pub(super) fn claims_on(&self, process: ProcessId) -> Vec<Ino> {
        self.processes
            .get(&process)
            .map(|claims| claims.iter().copied().collect())
            .unwrap_or_default()
    }

    /// When the board was acquired or, if it is free, was so last.
    pub(super) fn changed(&self, node: &Node) -> Timestamp {
        node.claim
            .as_ref()
            .map_or(node.last.1, |claim| claim.since.wall)
    }
}
