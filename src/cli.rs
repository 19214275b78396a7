//! The command line: what an operator can ask the binary to do. Prints; everything else is elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use crate::config::{self, Config, Flags};
use crate::profiles::painter;
use crate::remote::{Difference, Remote};
use crate::tools::Tools;
use crate::{app, keys, telemetry, upkeep};

/// Sesame: a session and permission engine.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration [default: config.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Serve until told to stop: what happens without a command
    Serve,
    /// Say whether the configuration is valid, and if not, everything that is wrong with it
    CheckConfig,
    /// Print every setting with its default
    PrintConfig,
    /// Examine the store without changing it
    Doctor,
    /// Print the description of the API (OpenAPI 3.1)
    Openapi,
    /// Read a picture, and tell its squares: what a server starts for each that is sent to it
    #[command(hide = true)]
    Paint {
        /// Take of the processors what nobody else wants
        #[arg(long)]
        idle: bool,
    },
    /// Administer the instance in the data folder
    Admin {
        #[command(subcommand)]
        command: Admin,
    },
    /// Roles and permissions of a running server as a file, such as one under version control. The API key is read from
    /// `SESAME_API_KEY`
    Access {
        #[command(subcommand)]
        command: Access,
        /// Where the server answers [default: `http.public_url`]
        #[arg(long, global = true, value_name = "URL")]
        server: Option<String>,
    },
    /// Copy the store into an empty folder
    Backup {
        /// The empty folder
        directory: PathBuf,
    },
    /// Fill an empty store from a backup
    Restore {
        /// The folder of the backup
        directory: PathBuf,
    },
}

#[derive(Debug, Clone, Subcommand)]
enum Admin {
    /// Sign access tokens with a new key; a running server uses it within seconds
    RotateKeys,
}

#[derive(Debug, Clone, Subcommand)]
enum Access {
    /// Print the roles and permissions in force, as a file for the other two
    Show,
    /// Say what would change if the file were applied, and of which state; exits with 1 if anything would, and with 2 if
    /// that cannot be found out
    Diff {
        /// The file, in TOML
        file: PathBuf,
    },
    /// Say what would change, and make roles and permissions what the file says, all of them
    Apply {
        /// The file, in TOML
        file: PathBuf,
        /// Only if the state is still the one that a diff was made of: the tag in its last line
        #[arg(long, value_name = "TAG")]
        if_match: Option<String>,
        /// Do not ask before something is removed, or somebody loses something
        #[arg(long)]
        yes: bool,
    },
}

impl Arguments {
    fn configuration(self) -> anyhow::Result<Config> {
        let file = self.config.or_else(config::usual_file);
        Ok(config::load(file.as_deref(), self.flags, config::environment())?)
    }

    /// How the process ends if it cannot do what is asked for. Of a comparison 1 is an answer, as of diff(1).
    fn trouble(&self) -> ExitCode {
        match self.command {
            Some(Command::Access { command: Access::Diff { .. }, .. }) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }

    /// The configuration, with logging set up as it says.
    fn started(self) -> anyhow::Result<Config> {
        let config = self.configuration()?;
        telemetry::init(&config.telemetry)?;
        Ok(config)
    }
}

/// Does what the arguments of this process ask for.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let trouble = arguments.trouble();
    match obey(arguments) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            trouble
        }
    }
}

fn obey(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command.clone().unwrap_or(Command::Serve) {
        Command::Serve => app::serve(arguments.started()?)?,
        Command::CheckConfig => {
            Tools::of(&arguments.configuration()?)?;
            print("the configuration is valid\n")?;
        }
        Command::PrintConfig => print(&config::printed())?,
        Command::Openapi => print(&app::openapi()?)?,
        Command::Paint { idle } => painter::paint(idle, io::stdin().lock(), io::stdout().lock())?,
        Command::Doctor => {
            let (report, is_sound) = upkeep::doctor(&arguments.started()?)?;
            print(&report)?;
            return Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Admin { command: Admin::RotateKeys } => {
            let kid = keys::rotate(&arguments.started()?)?;
            print(&format!("access tokens are signed with the key {kid} from now on\n"))?;
        }
        Command::Access { command, server } => {
            let base = match server {
                Some(server) => server,
                None => arguments.configuration()?.http.public_url,
            };
            return access(&command, &base);
        }
        Command::Backup { directory } => upkeep::backup(&arguments.started()?, &directory)?,
        Command::Restore { directory } => upkeep::restore(&arguments.started()?, &directory)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Speaks to a running server about its roles and permissions.
fn access(command: &Access, base: &str) -> anyhow::Result<ExitCode> {
    let key = config::api_key(config::environment()).context("SESAME_API_KEY holds no API key")?;
    let remote = Remote::new(base, key)?;
    match command {
        Access::Show => print(&remote.shown()?)?,
        Access::Diff { file } => {
            return Ok(if shown(&remote.diff(file, None)?)? { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        Access::Apply { file, if_match, yes } => {
            let difference = remote.diff(file, if_match.as_deref())?;
            if !shown(&difference)? {
                return Ok(ExitCode::SUCCESS);
            }
            if difference.takes() && !yes && !is_confirmed()? {
                bail!("nothing was applied: something would be removed or lost, and that needs --yes");
            }
            print(&format!("applied: it is state {} now\n", remote.apply(&difference)?))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what would change, and of which state; whether anything would.
fn shown(difference: &Difference) -> anyhow::Result<bool> {
    let text = difference.text()?;
    if text.is_empty() {
        return Ok(false);
    }
    print(&format!("{text}to be applied with --if-match {}\n", difference.tag()))?;
    Ok(true)
}

/// Asks whoever sits before the terminal; without one, the answer is no.
fn is_confirmed() -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    io::stderr().write_all(b"Something would be removed or lost. Apply it? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A reader that went away (`sesame print-config | head`) is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[expect(clippy::print_stderr, reason = "a command says why it failed, also before logging is set up")]
fn complain(error: &anyhow::Error) {
    eprintln!("sesame: {error:#}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_serve_is_the_default() {
        Arguments::command().debug_assert();
        let arguments = Arguments::parse_from(["sesame", "--listen", "127.0.0.1:0"]);
        assert!(arguments.command.is_none());
        assert_eq!(arguments.flags.listen.as_deref(), Some("127.0.0.1:0"));
        let arguments = Arguments::parse_from(["sesame", "serve", "--data", "/tmp/x", "--config", "a.toml"]);
        assert_eq!(arguments.flags.data.as_deref(), Some("/tmp/x"));
        assert_eq!(arguments.config, Some("a.toml".into()));
    }
}
