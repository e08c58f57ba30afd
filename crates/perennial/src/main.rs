//! The one program. Every command is a thin door to the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use perennial::scenario;
use perennial_core::program;

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
    /// Say all that is wrong with a programme file.
    Check {
        /// The file.
        file: PathBuf,
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
    match Arguments::parse().command {
        Verb::Scenario(Scenario::Run { paths, format }) => run_scenarios(&paths, format),
        Verb::Program(Program::Check { file }) => check_program(&file),
        Verb::Program(Program::Schema) => {
            println!("{:#}", program::schema());
            ExitCode::SUCCESS
        }
    }
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
        println!("{}", serde_json::to_string_pretty(&verdicts).unwrap_or_default());
    } else {
        verdicts.iter().for_each(|v| println!("{v}"));
        println!("{held} of {} scenarios hold", verdicts.len());
    }
    if verdicts.iter().any(|v| v.error.is_some()) {
        ExitCode::from(2)
    } else {
        ExitCode::from(u8::from(held < verdicts.len()))
    }
}

fn check_program(file: &std::path::Path) -> ExitCode {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return complain(&format!("{}: {error}", file.display())),
    };
    match program::compile(&text) {
        Ok(program) => {
            println!("{}: {} is in order", file.display(), program.name);
            ExitCode::SUCCESS
        }
        Err(problems) => {
            problems.iter().for_each(|problem| println!("{}: {problem}", file.display()));
            ExitCode::FAILURE
        }
    }
}

fn complain(message: &str) -> ExitCode {
    eprintln!("perennial: {message}");
    ExitCode::from(2)
}
