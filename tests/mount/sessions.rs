//! Remote shells, cron, tmux: who holds where a session manager started the
//! command. Through a real sshd, with a configuration of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::lab::Lab;
use crate::process::{Output, PATIENCE, Running, eventually};
use crate::shown::{DETACHED, becomes_free, free, held_by, holder};
use crate::tmux::Tmux;
use crate::trial::{ROOT, which};

pub fn tests() -> Vec<Trial> {
    trials![
        one_command_over_ssh_holds_until_it_is_removed(ROOT, "sshd", "ssh");
        one_command_over_ssh_with_dash_holds_until_it_is_removed(ROOT, "sshd", "ssh", "dash");
        a_script_over_ssh_holds_while_it_runs(ROOT, "sshd", "ssh");
        a_script_over_ssh_with_dash_holds_while_it_runs(ROOT, "sshd", "ssh", "dash");
        a_terminal_over_ssh_holds_until_its_shell_ends(ROOT, "sshd", "ssh");
        a_terminal_over_ssh_with_dash_holds_until_its_shell_ends(ROOT, "sshd", "ssh", "dash");
        a_connection_that_breaks_frees(ROOT, "sshd", "ssh");
        a_file_copied_over_ssh_holds_until_it_is_removed(ROOT, "sshd", "ssh", "scp");
        one_command_of_cron_holds_until_it_is_removed("perl");
        a_script_of_cron_holds_while_it_runs("perl", "bash");
        one_command_of_tmux_holds_until_it_is_removed("tmux");
        a_shell_in_tmux_holds_until_it_ends("tmux", "bash");
    ]
}

/// A user who can log in, for one test.
struct User(String);

impl User {
    fn new(shell: &str) -> User {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("boardlock-t{}-{count}", std::process::id());
        let shell = which(shell).unwrap();
        let made = Command::new(which("useradd").unwrap())
            .args([
                "--no-create-home",
                "--no-user-group",
                "-d",
                "/",
                "-p",
                "*",
                "-s",
            ])
            .args([shell.as_os_str(), name.as_ref()])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        User(name)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let removed = Command::new(which("userdel").unwrap())
            .args(["-f", &self.0])
            .output();
        if !removed.as_ref().is_ok_and(|done| done.status.success()) {
            eprintln!("the user {} is left: {removed:?}", self.0);
        }
    }
}

/// An sshd on loopback, and who logs in to it.
struct Ssh {
    // Fields are dropped in this order.
    sshd: Running,
    user: Option<User>,
    temp: TempDir,
    port: u16,
    lab: Lab,
}

impl Ssh {
    /// With root logging in, whose shell is bash, or a new user with this
    /// shell.
    fn new(shell: Option<&str>) -> Ssh {
        let lab = Lab::new(&[]);
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let at = |name: &str| temp.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)])
                .status();
            assert!(made.unwrap().success());
        }
        fs::copy(at("user.pub"), at("keys")).unwrap();
        fs::set_permissions(at("keys"), PermissionsExt::from_mode(0o644)).unwrap();
        // Where the package's service would make it.
        fs::create_dir_all("/run/sshd").unwrap();
        let user = shell.map(User::new);
        for _ in 0..5 {
            // Free now; another may be faster, then the next one is tried.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
                 StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n\
                 PasswordAuthentication no\nPrintMotd no\nPrintLastLog no\n\
                 Subsystem sftp internal-sftp\n",
                at("host"),
                at("keys")
            );
            fs::write(at("config"), config).unwrap();
            // sshd runs itself anew and wants its full path for that.
            let mut command = Command::new(which("sshd").unwrap());
            command.args(["-D", "-e", "-f", &at("config")]);
            let mut sshd = Running::start(command);
            let mut listening = false;
            eventually("sshd listens, or ends", PATIENCE, || {
                listening = sshd.stderr().contains("Server listening");
                listening || sshd.ended(Duration::ZERO).is_some()
            });
            if listening {
                return Ssh {
                    sshd,
                    user,
                    temp,
                    port,
                    lab,
                };
            }
            eprintln!("sshd: {}", sshd.stderr());
        }
        panic!("sshd does not listen");
    }

    fn client(&self, program: &str, port: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(["-F", "none", port, &self.port.to_string(), "-i"])
            .arg(self.temp.path().join("user"))
            .args(["-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20"])
            .env_remove("SSH_AUTH_SOCK");
        command
    }

    fn target(&self) -> String {
        let user = self.user.as_ref().map_or("root", |user| &user.0);
        format!("{user}@127.0.0.1")
    }

    /// Starts ssh with these options, `@` in the command being the lock
    /// directory.
    fn start(&self, options: &[&str], command: Option<&str>) -> Running {
        let mut ssh = self.client("ssh", "-p");
        ssh.args(options).arg(self.target());
        if let Some(command) = command {
            ssh.arg(command.replace('@', self.lab.dir().to_str().unwrap()));
        }
        Running::start(ssh)
    }

    #[track_caller]
    fn run(&self, command: &str) -> Output {
        self.start(&[], Some(command)).wait(PATIENCE)
    }

    /// What the server has said, for a test that fails.
    fn log(&self) -> String {
        format!("{}\n{}", self.sshd.stderr(), self.lab.log().join("\n"))
    }
}

fn one_command_over_ssh_holds_until_it_is_removed() {
    one_shots(&Ssh::new(None));
}

fn one_command_over_ssh_with_dash_holds_until_it_is_removed() {
    one_shots(&Ssh::new(Some("dash")));
}

fn one_shots(ssh: &Ssh) {
    for take in [
        "touch @/b",
        "touch @/b || exit 1",
        "cd @ && touch b && echo taken",
        "mkdir @/b",
        "(set -C; : >@/b) || exit 1",
        "env X=1 touch @/b",
    ] {
        let output = ssh.run(take);
        assert!(output.status.success(), "{take}: {output}\n{}", ssh.log());
        held_by(&ssh.lab, "b", DETACHED, take);
        // Nobody is the holder: not even the same user's next command.
        let again = ssh.run("touch @/b || (set -C; : >@/b)");
        assert!(!again.status.success(), "{take}");
        held_by(&ssh.lab, "b", DETACHED, take);
        ssh.run("rm -f @/b 2>/dev/null || rmdir @/b").ok();
        free(&ssh.lab, "b", take);
    }
}

fn a_script_over_ssh_holds_while_it_runs() {
    scripts(&Ssh::new(None));
}

fn a_script_over_ssh_with_dash_holds_while_it_runs() {
    scripts(&Ssh::new(Some("dash")));
}

fn scripts(ssh: &Ssh) {
    for take in [
        "touch @/b; echo $$; read line; true",
        "touch @/b || exit 1; echo $$; read line; rm @/b",
        "cd @; (set -C; : >b) && echo $$ && read line",
        "bash -c 'touch @/b; echo $$; read line'; exit 0",
    ] {
        let mut client = ssh.start(&[], Some(take));
        let shell: u32 = client.line().parse().unwrap();
        held_by(&ssh.lab, "b", shell, take);
        client.say("go");
        client.wait(PATIENCE).ok();
        becomes_free(&ssh.lab, "b");
    }
}

fn a_terminal_over_ssh_holds_until_its_shell_ends() {
    terminal(&Ssh::new(None));
}

fn a_terminal_over_ssh_with_dash_holds_until_its_shell_ends() {
    terminal(&Ssh::new(Some("dash")));
}

fn terminal(ssh: &Ssh) {
    let mut client = ssh.start(&["-tt"], None);
    let locks = ssh.lab.dir().display().to_string();
    for take in [
        "touch b",
        "err=$(touch b 2>&1)",
        ": >b",
        "sh -c 'touch b || exit 1'",
    ] {
        client.say(&format!("cd {locks}; {take}; echo \"[$$ taken]\""));
        let shell = loop {
            // Its echo shows what was typed, too, but with no number.
            let said = client.line();
            let number = said
                .split_once(" taken]")
                .and_then(|(before, _)| before.rsplit_once('['))
                .map(|(_, number)| number.parse::<u32>());
            if let Some(Ok(shell)) = number {
                break shell;
            }
        };
        held_by(&ssh.lab, "b", shell, take);
        client.say("rm b");
        becomes_free(&ssh.lab, "b");
    }
    client.say("touch b");
    eventually("it is taken once more", PATIENCE, || {
        holder(&ssh.lab, "b").is_some()
    });
    client.say("exit 0");
    client.wait(PATIENCE).ok();
    becomes_free(&ssh.lab, "b");
}

fn a_connection_that_breaks_frees() {
    let ssh = Ssh::new(None);
    for options in [&["-tt"][..], &[]] {
        let mut client = ssh.start(options, Some("touch @/b; echo have; read line; true"));
        assert_eq!(client.line().trim_end(), "have");
        assert_ne!(holder(&ssh.lab, "b"), Some(DETACHED));
        client.kill();
        becomes_free(&ssh.lab, "b");
    }
}

fn a_file_copied_over_ssh_holds_until_it_is_removed() {
    let ssh = Ssh::new(None);
    let file = ssh.temp.path().join("file");
    for content in ["", "what for: a test\n"] {
        fs::write(&file, content).unwrap();
        for protocol in [&[][..], &["-O"]] {
            let what = format!("{protocol:?} {content:?}");
            let copy = |target: &str| {
                let mut scp = ssh.client("scp", "-P");
                let target = format!("{}:{}/{target}", ssh.target(), ssh.lab.dir().display());
                scp.args(protocol).arg(&file).arg(target);
                Running::start(scp).wait(PATIENCE)
            };
            let output = copy("b");
            assert!(output.status.success(), "{what}: {output}\n{}", ssh.log());
            held_by(&ssh.lab, "b", DETACHED, &what);
            assert!(!copy("b").status.success(), "{what}: taken twice");
            ssh.run("rm @/b").ok();
            free(&ssh.lab, "b", &what);
        }
    }
}

/// Starts a shell as cron does: a fork for the job, in it another one that
/// becomes a session of its own. cron itself would take up to a minute.
/// The program is perl under cron's name, which is all that tells them apart.
fn cron(lab: &Lab, temp: &Path, command: &str) -> Running {
    let cron = temp.join("cron");
    if !cron.exists() {
        // Copied by another process: what this one has open for writing could
        // not be run while a child of another test has it, too.
        let copied = Command::new("cp")
            .arg(which("perl").unwrap())
            .arg(&cron)
            .status();
        assert!(copied.unwrap().success());
    }
    let code = "use POSIX; \
        unless (my $job = fork) { \
            unless (my $shell = fork) { POSIX::setsid; exec '/bin/sh', '-c', $ARGV[0] } \
            wait; exit($? >> 8) \
        } \
        wait; print 'over ', $? >> 8, \"\\n\"; <STDIN>";
    lab.program(
        cron.to_str().unwrap(),
        &["-e", &format!("$| = 1; {code}"), command],
    )
}

fn one_command_of_cron_holds_until_it_is_removed() {
    let lab = Lab::new(&[]);
    let temp = tempfile::tempdir().unwrap();
    for command in [
        "touch b",
        "touch b || exit 1",
        "touch b 2>/dev/null && logger -s taken 2>/dev/null; true",
        "mkdir b",
        "/usr/bin/env touch b",
    ] {
        let mut running = cron(&lab, temp.path(), command);
        running.expect("over 0");
        held_by(&lab, "b", DETACHED, command);
        cron(&lab, temp.path(), "touch b 2>/dev/null || mkdir b").expect("over 1");
        lab.sh("sh", "touch b").fails(1);
        lab.sh("sh", "rm b 2>/dev/null || rmdir b").ok();
        free(&lab, "b", command);
    }
}

fn a_script_of_cron_holds_while_it_runs() {
    let lab = Lab::new(&[]);
    let temp = tempfile::tempdir().unwrap();
    let script = temp.path().join("job");
    fs::write(&script, "touch b || exit 1; echo $$; read line").unwrap();
    let script = script.display();
    for command in [
        format!("bash {script}"),
        format!("bash {script} || exit 1"),
        format!("cd . && exec bash {script}"),
        "touch b; echo $$; read line; true".to_owned(),
    ] {
        let mut running = cron(&lab, temp.path(), &command);
        let job: u32 = running.line().parse().unwrap();
        held_by(&lab, "b", job, &command);
        cron(&lab, temp.path(), "touch b 2>/dev/null").expect("over 1");
        running.say("go");
        running.expect("over 0");
        free(&lab, "b", &command);
    }
}

fn one_command_of_tmux_holds_until_it_is_removed() {
    let lab = Lab::new(&[]);
    let tmux = Tmux::new();
    let locks = lab.dir().to_str().unwrap();
    // Keeps the server.
    tmux.run(&["new-session", "-d", "cat"]).ok();
    for command in ["touch b", "touch b || exit 1", "mkdir b"] {
        tmux.run(&["new-window", "-d", "-c", locks, command]).ok();
        eventually("it is taken", PATIENCE, || holder(&lab, "b").is_some());
        held_by(&lab, "b", DETACHED, command);
        lab.sh("sh", "rm b 2>/dev/null || rmdir b").ok();
    }
}

fn a_shell_in_tmux_holds_until_it_ends() {
    let lab = Lab::new(&[]);
    let tmux = Tmux::new();
    let locks = lab.dir().to_str().unwrap();
    tmux.run(&["new-session", "-d", "-c", locks, "bash --norc"])
        .ok();
    let pane = tmux.run(&["list-panes", "-F", "#{pane_pid}"]).ok();
    tmux.run(&["send-keys", "touch b", "Enter"]).ok();
    eventually("it is taken", PATIENCE, || holder(&lab, "b").is_some());
    held_by(&lab, "b", pane.stdout.trim().parse().unwrap(), "in tmux");
    lab.sh("sh", "touch b").fails(1);
    tmux.run(&["send-keys", "exit", "Enter"]).ok();
    becomes_free(&lab, "b");
}
