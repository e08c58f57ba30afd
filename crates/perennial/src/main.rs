//! The one program. Every command is a thin door to the library.

use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use mimalloc::MiMalloc;
use perennial::commands::{self, Trouble};
use perennial::http::keys::{Grant, Scope};
use perennial::{import, learn, scenario};
use perennial_core::program;
use perennial_core::score::ModelKind;

/// Prints a line. Whoever reads may have seen enough: a pipe that is closed is no trouble.
macro_rules! say {
    ($($text:tt)*) => { commands::say(format_args!($($text)*)) };
}

/// Folding makes and frees many small things on several threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Perennial: customer loyalty and personalization in one program.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Test programmes with scenario files.
    #[command(subcommand)]
    Scenario(Scenario),
    /// Check programme files.
    #[command(subcommand)]
    Program(Program),
    /// Serve the API until asked to end.
    Serve {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        in_force: InForce,
        /// The address; this machine only unless told otherwise.
        #[arg(long, default_value = "127.0.0.1:8484", value_parser = address)]
        listen: SocketAddr,
    },
    /// Bring a shop's history in through a mapping file.
    Import {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        in_force: InForce,
        #[command(flatten)]
        arguments: import::command::Arguments,
    },
    /// Train the models that the programme asks for, and score everybody.
    Train {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        in_force: InForce,
        /// Only these: value, clusters, recommend.
        #[arg(value_parser = model_kind)]
        kinds: Vec<ModelKind>,
    },
    /// Check every invariant, fold the journal again and compare.
    Verify {
        #[command(flatten)]
        folder: Folder,
    },
    /// Make the state again from the journal.
    Rebuild {
        #[command(flatten)]
        folder: Folder,
        /// Also from a journal that ends before what the state has seen: what is missing is lost for good.
        #[arg(long)]
        accept_loss: bool,
    },
    /// Copy the data folder to a new one, also while a server works on it.
    Backup {
        #[command(flatten)]
        folder: Folder,
        /// The new folder.
        to: PathBuf,
    },
    /// Put a backup in the place of the data folder, which is moved aside.
    Restore {
        #[command(flatten)]
        folder: Folder,
        /// The backup.
        from: PathBuf,
        /// A copy of `erasures.txt` that is newer than the backup: whoever it lists is erased again.
        #[arg(long)]
        erasures: Option<PathBuf>,
    },
    /// Print entries of the journal, unsealed, as JSON lines.
    Journal {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        wanted: commands::Wanted,
    },
    /// List, make and withdraw keys of the API, also while a server runs.
    Keys {
        #[command(flatten)]
        folder: Folder,
        #[command(subcommand)]
        verb: Keys,
    },
    /// Learn from tables: lifetime value, segments, recommendations, one person in many records.
    #[command(after_help = learn::EXAMPLES)]
    Learn {
        #[command(flatten)]
        common: learn::Common,
        #[command(subcommand)]
        verb: learn::Verb,
    },
}

#[derive(Subcommand)]
enum Keys {
    /// Say which keys there are.
    List,
    /// Make a key and show it, this once.
    #[command(group(ArgGroup::new("grant").required(true).args(["scopes", "write"])))]
    Add {
        /// A name of its own: the source of a write key's events, and who asked where a secret key is used.
        name: String,
        /// A secret key that may do this; several times for several.
        #[arg(long = "scope", value_enum)]
        scopes: Vec<Scope>,
        /// A write key, which may send events and nothing else.
        #[arg(long)]
        write: bool,
    },
    /// Withdraw a key.
    Revoke {
        /// Its name.
        name: String,
    },
}

#[derive(Args)]
struct Folder {
    /// The data folder.
    #[arg(long = "folder", default_value = "perennial-data", global = true)]
    path: PathBuf,
}

#[derive(Args)]
struct InForce {
    /// A programme to put in force first, when it is news.
    #[arg(long)]
    program: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Scenario {
    /// Run scenario files, or all below folders. Exit 0 when all hold, 1 when one does not, 2 when
    /// one cannot be read.
    Run {
        /// Files or folders.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// How to print.
        #[arg(long, default_value = "text")]
        format: Format,
    },
}

#[derive(Subcommand)]
enum Program {
    /// Say all that is wrong with programme files.
    Check {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of programme files, for editors.
    Schema,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal()) // Colours are for eyes, not for files.
        .init();
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(Trouble(sentences)) => complain(&sentences),
    }
}

fn run(verb: Verb) -> Result<ExitCode, Trouble> {
    match verb {
        Verb::Scenario(Scenario::Run { paths, format }) => return Ok(run_scenarios(&paths, format)),
        Verb::Program(Program::Check { files }) => return Ok(check_programs(&files)),
        Verb::Program(Program::Schema) => say!("{:#}", program::schema()),
        Verb::Serve { folder, in_force, listen } => commands::serve(&folder.path, in_force.program.as_deref(), listen)?,
        Verb::Import { folder, in_force, arguments } => {
            return commands::import(&folder.path, in_force.program.as_deref(), &arguments).map(ExitCode::from);
        }
        Verb::Train { folder, in_force, kinds } => {
            return commands::train(&folder.path, in_force.program.as_deref(), &kinds).map(ExitCode::from);
        }
        Verb::Verify { folder } => return verify(&folder),
        Verb::Rebuild { folder, accept_loss } => {
            let (entries, customers) = commands::rebuild(&folder.path, accept_loss)?;
            say!("{entries} entries folded again: {customers} customers");
        }
        Verb::Backup { folder, to } => {
            commands::backup(&folder.path, &to)?;
            say!("{} holds a copy", to.display());
        }
        Verb::Restore { folder, from, erasures } => {
            match commands::restore(&from, &folder.path, erasures.as_deref())? {
                Some(aside) => say!("restored and read through; what was there before is in {}", aside.display()),
                None => say!("restored and read through"),
            }
        }
        Verb::Journal { folder, wanted } => commands::journal(&folder.path, &wanted)?,
        Verb::Keys { folder, verb } => keys(&folder, verb)?,
        Verb::Learn { common, verb } => return learn::run(&verb, &common).map(ExitCode::from).map_err(Trouble),
    }
    Ok(ExitCode::SUCCESS)
}

fn keys(folder: &Folder, verb: Keys) -> Result<(), Trouble> {
    match verb {
        Keys::List => commands::keys(&folder.path)?.iter().for_each(|key| say!("{key}")),
        Keys::Add { name, scopes, write } => {
            let grant = if write { Grant::Write } else { Grant::Secret { scopes } };
            say!("{}", commands::add_key(&folder.path, &name, grant)?);
        }
        Keys::Revoke { name } => commands::revoke_key(&folder.path, &name)?,
    }
    Ok(())
}

/// An address and a port; `localhost` is this machine's usual address.
fn address(text: &str) -> Result<SocketAddr, String> {
    let here = || Some(SocketAddr::from((Ipv4Addr::LOCALHOST, text.strip_prefix("localhost:")?.parse().ok()?)));
    let form = "an address and a port: 127.0.0.1:8484 for this machine only, 0.0.0.0:8484 for every network it is in";
    text.parse().ok().or_else(here).ok_or_else(|| format!("name {form}"))
}

fn model_kind(word: &str) -> Result<ModelKind, String> {
    word.parse().map_err(|()| "there is value, clusters and recommend".into())
}

fn verify(folder: &Folder) -> Result<ExitCode, Trouble> {
    let findings = commands::verify(&folder.path)?;
    findings.notes.iter().chain(&findings.faults).for_each(|told| say!("{told}"));
    let verdict = if findings.faults.is_empty() { "all in order" } else { "not in order" };
    say!("{} entries, {} customers: {verdict}", findings.entries, findings.customers);
    Ok(ExitCode::from(u8::from(!findings.faults.is_empty())))
}

fn run_scenarios(paths: &[PathBuf], format: Format) -> ExitCode {
    let files = match scenario::find(paths) {
        Ok(files) if !files.is_empty() => files,
        Ok(_) => return complain("no scenario files there; they end in .yaml"),
        Err(error) => return complain(&error),
    };
    let verdicts = scenario::run_all(&files);
    let held = verdicts.iter().filter(|v| v.holds()).count();
    if format == Format::Json {
        say!("{}", serde_json::to_string_pretty(&verdicts).unwrap_or_default());
    } else {
        verdicts.iter().for_each(|v| say!("{v}"));
        say!("{held} of {} scenarios hold", verdicts.len());
    }
    if verdicts.iter().any(|v| v.error.is_some()) {
        ExitCode::from(2)
    } else {
        ExitCode::from(u8::from(held < verdicts.len()))
    }
}

/// The first exit code that is not success is that of all.
fn check_programs(files: &[PathBuf]) -> ExitCode {
    let codes: Vec<ExitCode> = files.iter().map(|file| check_program(file)).collect();
    codes.into_iter().find(|code| *code != ExitCode::SUCCESS).unwrap_or(ExitCode::SUCCESS)
}

fn check_program(file: &std::path::Path) -> ExitCode {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return complain(&commands::unread(file, &error)),
    };
    match program::compile(&text) {
        Ok(program) => {
            say!("{}: {} is in order", file.display(), program.name);
            ExitCode::SUCCESS
        }
        Err(problems) => {
            problems.iter().for_each(|problem| say!("{}: {problem}", file.display()));
            ExitCode::FAILURE
        }
    }
}

fn complain(message: &str) -> ExitCode {
    eprintln!("perennial: {message}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn an_address_to_listen_on_is_read_or_its_form_is_named() {
        assert_eq!(address("localhost:8484"), address("127.0.0.1:8484"));
        assert_eq!(address("[::1]:80").unwrap().port(), 80);
        for wrong in ["8484", "localhost", "localhost:x", "shop.example:80", "127.0.0.1"] {
            assert!(address(wrong).unwrap_err().contains("127.0.0.1:8484"), "{wrong}");
        }
    }
}
