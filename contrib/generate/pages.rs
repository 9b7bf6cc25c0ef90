//! The pages and files themselves, of whatever commands there are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use boardlock::cli::{Cli, complete, helper};
use clap::{Command, CommandFactory};
use clap_complete::env::Shells;
use clap_mangen::Man;

/// Written when the definitions were changed in a way that is worth a date.
const DATE: &str = "2026-11-29";
const MANUAL: &str = "boardlock";

/// The commands, each under its own name with its page's section.
pub fn commands() -> Vec<(Command, &'static str)> {
    let cli = Cli::command();
    let mut all: Vec<_> = cli
        .get_subcommands()
        .filter(|one| !one.is_hide_set() && one.get_name() != "help")
        .map(|one| {
            // As clap wants it, for a few names.
            let name: &'static str = format!("boardlock-{}", one.get_name()).leak();
            let called = format!("boardlock {}", one.get_name());
            (one.clone().name(name).bin_name(called), "1")
        })
        .collect();
    all.push((cli, "1"));
    all.push((helper::Helper::command(), "8"));
    all
}

/// Where the page of a command is.
pub fn page(command: &Command, section: &str) -> PathBuf {
    PathBuf::from(format!("contrib/man/{}.{section}", command.get_name()))
}

/// All files, below the project's root, with their content.
pub fn all(root: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for (command, section) in commands() {
        files.push((page(&command, section), man(root, command, section)?));
    }
    for (shell, file) in [
        ("bash", "boardlock.bash"),
        ("zsh", "_boardlock"),
        ("fish", "boardlock.fish"),
    ] {
        files.push((Path::new("contrib/completions").join(file), script(shell)?));
    }
    Ok(files)
}

/// Pages of commands that are no more.
pub fn stale(root: &Path) -> io::Result<Vec<PathBuf>> {
    let known: Vec<PathBuf> = commands()
        .iter()
        .map(|(command, section)| root.join(page(command, section)))
        .collect();
    let mut stale = Vec::new();
    for entry in fs::read_dir(root.join("contrib/man"))? {
        let path = entry?.path();
        let made = path.extension().is_some_and(|section| section == "1");
        if made && !known.contains(&path) {
            stale.push(path);
        }
    }
    Ok(stale)
}

/// What a shell sources: it asks the program for the rest.
fn script(shell: &str) -> io::Result<String> {
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(shell) else {
        return Err(io::Error::other(format!("no completion for {shell}")));
    };
    let mut text = Vec::new();
    completer.write_registration(
        complete::VARIABLE,
        "boardlock",
        "boardlock",
        "boardlock",
        &mut text,
    )?;
    let mut text = String::from_utf8(text).map_err(io::Error::other)?;
    if shell == "zsh" {
        text.push_str(FIRST_CALL);
    }
    Ok(text)
}

/// zsh runs the file as the function of its name when that is called first: without this, the
/// first Tab of a session would define the completion and complete nothing.
const FIRST_CALL: &str = "\
if [[ $funcstack[1] = _boardlock ]]; then
    _clap_dynamic_completer_boardlock \"$@\"
fi
";

/// A page: what clap knows, and what is written by hand in `contrib/man/NAME.more`.
fn man(root: &Path, command: Command, section: &str) -> io::Result<String> {
    let name = command.get_name().to_owned();
    let more = command.get_after_long_help().map(ToString::to_string);
    let has_commands = command.has_subcommands();
    let version = format!("boardlock {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.disable_help_subcommand(true))
        .title(name.to_uppercase())
        .section(section)
        .date(DATE)
        .source(version)
        .manual(MANUAL);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    let mut page = String::from_utf8(page).map_err(io::Error::other)?;
    if let Some(more) = more {
        page.push_str(".SH NOTES\n.nf\n");
        page.push_str(&verbatim(&more));
        page.push_str(".fi\n");
    }
    match fs::read_to_string(root.join(format!("contrib/man/{name}.more"))) {
        Ok(by_hand) => page.push_str(&by_hand),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if !page.contains("SEE ALSO") {
        page.push_str(".SH \"SEE ALSO\"\nboardlock(1), boardlock(5), boardlock(7)\n");
    }
    Ok(page)
}

/// Text as it stands.
fn verbatim(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        // Not a request.
        if line.starts_with(['.', '\'']) {
            lines.push_str("\\&");
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}
