//! `dfks man`: a page for the program, and one for each command with its options.

use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use super::args::{Cli, ManArgs};
use super::exit::Failure;
use super::output;

/// Prints one page, or writes all of them to a folder.
pub(super) fn write(args: &ManArgs) -> Result<(), Failure> {
    match &args.out {
        Some(folder) => write_all(folder),
        None => output::print(&page(&args.command)?),
    }
}

/// All commands, each with the name of its page: `dfks-dead-list`.
fn program() -> clap::Command {
    fn named(command: clap::Command, name: &str) -> clap::Command {
        let subcommands: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
        let command = subcommands.into_iter().fold(command, |command, one| {
            let page = format!("{name}-{one}");
            command.mut_subcommand(one, |subcommand| named(subcommand, &page))
        });
        command.display_name(name.to_owned())
    }
    let mut program = named(Cli::command().disable_help_subcommand(true), "dfks");
    program.build();
    program
}

fn page(path: &[String]) -> Result<String, Failure> {
    let program = program();
    let mut command = &program;
    for name in path {
        let found = command.get_subcommands().find(|one| one.get_name() == name && !one.is_hide_set());
        command = found.ok_or_else(|| Failure::Usage(format!("there is no command 'dfks {}'", path.join(" "))))?;
    }
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text).map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn write_all(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Refused(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    each(&program(), folder).map_err(failed)
}

fn each(command: &clap::Command, folder: &Path) -> std::io::Result<()> {
    Man::new(command.clone()).generate_to(folder)?;
    command.get_subcommands().filter(|one| !one.is_hide_set()).try_for_each(|one| each(one, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_that_is_named_exists_and_has_its_options() {
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let text = read(&name).replace("\\-", "-");
            // `dfks-set(1)`
            let named = text
                .split(|c: char| c.is_whitespace())
                .filter_map(|word| word.strip_suffix("(1)"))
                .filter(|word| word.starts_with("dfks-"));
            named.for_each(|page| assert!(folder.path().join(format!("{page}.1")).exists(), "{name} names {page}(1)"));
        }
        assert!(read("dfks-set.1").replace("\\-", "-").contains("--durable"), "{}", read("dfks-set.1"));
        assert!(read("dfks-dead-replay.1").replace("\\-", "-").contains("--yes"));
        assert!(!folder.path().join("dfks-guard.1").exists());
        assert!(page(&["dead".to_owned(), "list".to_owned()]).unwrap().contains("dfks-dead-list"));
        assert_eq!(page(&["fly".to_owned()]), Err(Failure::Usage("there is no command 'dfks fly'".to_owned())));
    }
}
