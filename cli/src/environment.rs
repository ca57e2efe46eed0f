//! Settings from the environment. A variable that is set to nothing counts as one that is not set: compose files and config maps pass on what was left
//! out in that form.

use clap::Command;
use clap::builder::Resettable;

/// The variable, unless it is missing or empty.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The command without the empty variables of its options, and so all of its subcommands.
#[must_use]
pub fn without_empty(command: Command) -> Command {
    let command = command.mut_args(|option| {
        let is_empty = option.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { option.env(Resettable::Reset) } else { option }
    });
    command.mut_subcommands(without_empty)
}
