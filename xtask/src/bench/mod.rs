//! `cargo xtask bench`: the goals of the architecture as one table, both sides measured in one run.
//!
//! Promise: every ratio has its two sides from the same round; with several rounds the median counts.
//! Loads are bounded and go to this machine only. Seconds of processor time stand beside wall time,
//! because the machine may have other work.
//! Absent on purpose: verdicts that end the run. A missed goal is a line of the table.

mod learn;
mod load;
mod server;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use load::{Load, Outcome};
use server::Server;

/// How much is measured.
struct Plan {
    rounds: usize,
    events: u64,
    singles: u64,
    customers: u64,
    cold: u64,
    /// Events after which throughput is measured, and again.
    grown: (u64, u64),
    paced_seconds: u64,
    programs: PathBuf,
    root: PathBuf,
    release: bool,
}

/// One line of the table.
struct Row {
    what: &'static str,
    goal: &'static str,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    unit: &'static str,
}

/// Rows in the order of their first measurement.
#[derive(Default)]
struct Table(Vec<Row>);

impl Table {
    fn put(&mut self, what: &'static str, goal: &'static str, unit: &'static str, ours: f64, theirs: Option<f64>) {
        let at = self.0.iter().position(|row| row.what == what).unwrap_or_else(|| {
            self.0.push(Row { what, goal, ours: Vec::new(), theirs: Vec::new(), unit });
            self.0.len() - 1
        });
        self.0[at].ours.push(ours);
        self.0[at].theirs.extend(theirs);
    }

    fn print(&self) -> String {
        let mut text = format!("{:<58} {:>14} {:>14} {:>8}  {}\n", "what", "ours", "other side", "ratio", "goal");
        for row in &self.0 {
            let ratios: Vec<f64> = row.ours.iter().zip(&row.theirs).map(|(a, b)| a / b).collect();
            let theirs = if row.theirs.is_empty() { "-".into() } else { number(median(&row.theirs)) };
            let ratio = if ratios.is_empty() { "-".into() } else { format!("{:.2}", median(&ratios)) };
            let ours = format!("{} {}", number(median(&row.ours)), row.unit);
            let _ = writeln!(text, "{:<58} {ours:>14} {theirs:>14} {ratio:>8}  {}", row.what, row.goal);
        }
        text
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn number(n: f64) -> String {
    let decimals = match n.abs() {
        100.0.. => 0,
        1.0.. => 2,
        _ => 4,
    };
    format!("{n:.decimals$}")
}

/// Measures and prints. `--quick`: one round and small counts. `--long`: the history that throughput is
/// measured over grows to ten million events instead of two. `--dev`: debug builds, to try the
/// measurement itself. `--built`: what is built already. `--only=fold,intake,requests,grown,cold,retail,predicates`
/// or the parts of `learn`: recommend, training, check, clv, segment, shap, link, link-million, bandit, uplift, propensity, sentiment.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let asked = |flag: &str| arguments.iter().any(|a| a == flag);
    let (quick, release) = (asked("--quick"), !asked("--dev"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let plan = Plan {
        grown: match (quick, asked("--long")) {
            (true, _) => (10_000, 100_000),
            (_, true) => (1_000_000, 10_000_000),
            _ => (200_000, 2_000_000),
        },
        rounds: if quick { 1 } else { 5 },
        // A store of rows slows down for as long as it grows: a shorter run would measure its best second.
        events: 400_000,
        singles: if quick { 5_000 } else { 50_000 },
        customers: if quick { 500 } else { 10_000 },
        cold: if quick { 20_000 } else { 1_000_000 },
        paced_seconds: if quick { 4 } else { 20 },
        programs: target.join(if release { "release" } else { "debug" }),
        root: root.to_owned(),
        release,
    };
    let only = arguments.iter().find_map(|a| a.strip_prefix("--only="));
    let wanted = |part: &str| only.is_none_or(|parts| parts.split(',').any(|p| p == part));
    if !asked("--built") {
        build(&plan)?;
    }
    let mut table = Table::default();
    // A part that cannot be measured says so and leaves the others their lines.
    let mut left_out = Vec::new();
    let mut measure = |name: &str, table: &mut Table, part: fn(&Plan, &mut Table) -> Result<(), String>| {
        if wanted(name) {
            part(&plan, table).unwrap_or_else(|why| left_out.push(format!("{name}: {why}")));
        }
    };
    measure("fold", &mut table, fold);
    measure("predicates", &mut table, predicates);
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        measure("intake", &mut table, intake);
        measure("requests", &mut table, requests);
    }
    measure("grown", &mut table, grown);
    measure("cold", &mut table, cold);
    measure("retail", &mut table, refold_of_a_shop);
    learn::run(&plan, &mut table, &wanted)?;
    println!("\n{}\n\n{}", machine(), table.print());
    println!("Medians of {} round(s); seconds are wall time unless a row says processor time.", plan.rounds);
    if left_out.is_empty() { Ok(()) } else { Err(format!("not measured: {}", left_out.join("; "))) }
}

/// What kind of machine this is, and how much other work it had in the last minutes.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let of = |text: String, name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.trim().strip_prefix(':').map(str::to_owned));
        line.unwrap_or_default().trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (model, memory) = (of(read("/proc/cpuinfo"), "model name"), of(read("/proc/meminfo"), "MemTotal"));
    let load: Vec<String> = read("/proc/loadavg").split(' ').take(3).map(str::to_owned).collect();
    format!("{cores} cores ({model}), memory {memory}; load averages at the end {}", load.join(", "))
}

fn build(plan: &Plan) -> Result<(), String> {
    let sets: [&[&str]; 4] = [
        &["-p", "perennial", "--bin", "perennial", "--example", "bench_noop"],
        &["-p", "perennial-store", "--example", "lean_loop", "--example", "row_loop"],
        &["-p", "perennial-core", "--example", "bench_fold", "--example", "predicate_bench"],
        &["-p", "perennial-learn", "--examples"],
    ];
    for set in sets {
        let mut arguments = vec!["build", "--quiet"];
        if plan.release {
            arguments.push("--release");
        }
        arguments.extend(set);
        super::run("cargo", &arguments)?;
    }
    Ok(())
}

/// The output of one of our programs.
fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let ran = Command::new(program).args(arguments).output().map_err(|e| format!("{}: {e}", program.display()))?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    if ran.status.success() {
        return Ok(said);
    }
    Err(format!("{} failed: {said}{}", program.display(), String::from_utf8_lossy(&ran.stderr)))
}

/// Seconds on a processor of all our processes that have ended.
fn spent() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(13).take(2).filter_map(|n| n.parse::<f64>().ok());
    ticks.sum::<f64>() / server::TICKS
}

/// A figure of a line of `key=value` pairs.
fn figure(line: &str, key: &str) -> f64 {
    let value = line.split_whitespace().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    value.and_then(|v| v.parse().ok()).unwrap_or(f64::NAN)
}

fn fold(plan: &Plan, table: &mut Table) -> Result<(), String> {
    let said = output(&plan.programs.join("examples/bench_fold"), &[&plan.rounds.to_string()])?;
    for line in said.lines() {
        let rate = figure(line, "events_per_cpu_second");
        if line.contains("shop=many") {
            table.put("fold alone, 2,000 members, processor time", ">= 500,000/s", "/s", rate, None);
        } else {
            table.put("fold alone, one member, 50,000 purchases", ">= 500,000/s", "/s", rate, None);
            let flat = figure(line, "last_tenth_to_first");
            table.put("  its last tenth beside its first", "flat: about 1", "x", flat, None);
        }
    }
    Ok(())
}

/// A folder that goes when it is no longer needed.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("perennial-bench-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path); // of an earlier run
        std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }

    fn text(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }

    fn bytes(&self) -> f64 {
        let files = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        #[expect(clippy::cast_precision_loss, reason = "a report")]
        files.filter_map(|f| f.metadata().ok()).map(|m| m.len() as f64).sum()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // temporary anyway
    }
}

fn serve(plan: &Plan, folder: &Scratch) -> Result<Server, String> {
    let program = plan.root.join("programs/ecoexplorers.yaml");
    let arguments =
        ["serve", "--folder", &folder.text(), "--program", &program.to_string_lossy(), "--listen", "127.0.0.1:0"];
    Server::start(&plan.programs.join("perennial"), &arguments)
}

/// Makes customers members, one command each.
fn enroll(plan: &Plan, server: &Server) -> Result<(), String> {
    let request = |n: u64| {
        let headers = format!("Bearer {}\r\nidempotency-key: enroll-{n}", server.secret_key);
        load::post(&format!("/v1/customers/u{n}/enroll"), &headers, "{}")
    };
    all_good(&run_load(server.port, 32, plan.customers, None, &request)?, "enrolments").map(drop)
}

fn run_load(
    port: u16,
    connections: u64,
    requests: u64,
    pace: Option<f64>,
    request: &(dyn Fn(u64) -> Vec<u8> + Sync),
) -> Result<Outcome, String> {
    load::run(&Load { port, connections, requests, pace, request })
}

fn all_good<'a>(outcome: &'a Outcome, what: &str) -> Result<&'a Outcome, String> {
    if outcome.bad == 0 { Ok(outcome) } else { Err(format!("{} of the {what} were refused", outcome.bad)) }
}

/// Pieces of a growing history that are measured as one.
const TOGETHER: usize = 4;

/// Rate, processor time and bytes of several pieces of equal size.
#[expect(clippy::cast_precision_loss, reason = "a report")]
fn mean(pieces: &[(f64, f64, f64)]) -> (f64, f64, f64) {
    let count = pieces.len() as f64;
    let sum = |of: fn(&(f64, f64, f64)) -> f64| pieces.iter().map(of).sum::<f64>();
    (count / sum(|p| 1.0 / p.0), sum(|p| p.1) / count, sum(|p| p.2) / count)
}

/// Throughput after a short and after a long history of the same shop.
#[expect(clippy::cast_precision_loss, reason = "a report")]
fn grown(plan: &Plan, table: &mut Table) -> Result<(), String> {
    let folder = Scratch::new("grown")?;
    let server = serve(plan, &folder)?;
    enroll(plan, &server)?;
    let key = format!("Bearer {}", server.write_key);
    let (short, long) = plan.grown;
    let piece = short / 200; // Batches of 100: half of the short history.
    let mut pieces = Vec::new();
    for from in (0..long / 100).step_by(usize::try_from(piece).unwrap_or(1)) {
        let request = |n: u64| load::post("/v1/batch", &key, &batch(plan, from + n));
        let before = server.usage();
        let outcome = run_load(server.port, 8, piece, None, &request)?;
        let (rate, after) = (all_good(&outcome, "batches")?.rate() * 100.0, server.usage());
        let each = |now: f64, then: f64| (now - then) / (piece * 100) as f64;
        let each = (rate, each(after.cpu, before.cpu) * 1e6, each(after.written, before.written));
        eprintln!("  from event {}: {:.0}/s, {:.2} us, {:.0} B written", from * 100, each.0, each.1, each.2);
        pieces.push(each);
    }
    // Several pieces together: a checkpoint falls into one of them or into the next.
    let last = pieces.len().saturating_sub(TOGETHER);
    let (early, late) = (mean(pieces.get(1..=TOGETHER).unwrap_or(&pieces)), mean(&pieces[last..]));
    let what = match long {
        10_000_000 => "intake after 10 million events beside the first 2.5 million",
        2_000_000 => "intake after 2 million events beside the first 500,000",
        _ => "intake after a history ten times as long",
    };
    table.put(what, ">= 0.80", "/s", late.0, Some(early.0));
    table.put("  server processor time an event, late beside early", "", "us", late.1, Some(early.1));
    table.put("  written an event, late beside early", "<= 4000 B", "B", late.2, Some(early.2));
    table.put("  stored an event, after all of them", "<= 900 B", "B", folder.bytes() / long as f64, None);
    server.stop()
}

/// One message of about 400 bytes: every fourth is an order, the others look at products.
fn message(plan: &Plan, n: u64) -> String {
    let (user, product) = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % plan.customers, n % 500);
    let cents = 1_000 + n % 9_000;
    let price = format!("{}.{:02}", cents / 100, cents % 100);
    let (event, properties) = if n.is_multiple_of(4) {
        let lines = format!(
            r#"[{{"product_id":"gear-{product}","price":{price},"quantity":1}},{{"product_id":"gear-{}","price":5.00,"quantity":2}}]"#,
            product + 1
        );
        ("Order Completed", format!(r#"{{"order_id":"o-{n}","currency":"USD","products":{lines}}}"#))
    } else {
        let seen =
            format!(r#"{{"product_id":"gear-{product}","name":"A jacket of recycled bottles","price":{price}}}"#);
        ("Product Viewed", seen)
    };
    format!(
        r#"{{"type":"track","messageId":"m-{n:032x}","userId":"u{user}","event":"{event}","properties":{properties},"context":{{"ip":"127.0.0.1","library":{{"name":"bench","version":"1.0.0"}},"page":{{"path":"/gear/{product}","referrer":""}}}}}}"#
    )
}

fn batch(plan: &Plan, nth: u64) -> String {
    let messages: Vec<String> = (100 * nth..100 * (nth + 1)).map(|n| message(plan, n)).collect();
    format!(r#"{{"batch":[{}]}}"#, messages.join(","))
}

/// Shops, tills and apps that send batches at the same time, each the next when the last is durable.
const SENDERS: u64 = 32;

/// Batches of 100 against the lean loop and the row loop; what is written and stored; what a
/// restart and a refold take.
#[expect(clippy::cast_precision_loss, reason = "a report")]
fn intake(plan: &Plan, table: &mut Table) -> Result<(), String> {
    let count = plan.events.to_string();
    let lean = figure(&output(&plan.programs.join("examples/lean_loop"), &[&count])?, "events_per_second");
    let row = figure(&output(&plan.programs.join("examples/row_loop"), &[&count])?, "events_per_second");
    let folder = Scratch::new("intake")?;
    let server = serve(plan, &folder)?;
    enroll(plan, &server)?;
    let key = format!("Bearer {}", server.write_key);
    // Made before the clock starts: the loops on the other side do not make their messages either.
    let requests: Vec<_> = (0..plan.events / 100).map(|n| load::post("/v1/batch", &key, &batch(plan, n))).collect();
    let request = |n: u64| usize::try_from(n).ok().and_then(|n| requests.get(n).cloned()).unwrap_or_default();
    let before = server.usage();
    let outcome = run_load(server.port, SENDERS, plan.events / 100, None, &request)?;
    all_good(&outcome, "batches")?;
    let rate = outcome.rate() * 100.0;
    let cpu = server.usage().cpu - before.cpu;
    table.put("intake in batches of 100 against the lean loop", ">= 0.45", "/s", rate, Some(lean));
    table.put("intake in batches of 100 against the row loop", ">= 4", "/s", rate, Some(row));
    let events = plan.events as f64;
    table.put("  server processor time an event", "<= 20 us", "us", cpu / events * 1e6, None);
    table.put("  longest wait for a batch, checkpoints included", "<= 100 ms", "ms", outcome.percentile(1.0), None);
    restart(plan, table, &folder, server, before.written)?;
    table.put("  stored an event", "<= 900 B", "B", folder.bytes() / events, None);
    refold(plan, table, &folder, rate)
}

/// Ends the server as a crash would and starts it again: the tail since the last checkpoint is
/// folded on the way.
#[expect(clippy::cast_precision_loss, reason = "a report")]
fn restart(plan: &Plan, table: &mut Table, folder: &Scratch, server: Server, before: f64) -> Result<(), String> {
    // Let the last checkpoint land, so that everything written counts.
    std::thread::sleep(std::time::Duration::from_secs(4));
    let written = server.usage().written - before;
    table.put("  written an event", "<= 4,000 B", "B", written / plan.events as f64, None);
    server.crash();
    let again = serve(plan, folder)?;
    table.put("restart after a crash", "<= 1 s and the tail", "s", again.ready, None);
    again.stop()
}

#[expect(clippy::cast_precision_loss, reason = "a report")]
fn refold(plan: &Plan, table: &mut Table, folder: &Scratch, intake: f64) -> Result<(), String> {
    for file in ["state.db", "duplicates.db"].iter().flat_map(|db| ["", "-wal", "-shm"].map(|end| format!("{db}{end}")))
    {
        let _ = std::fs::remove_file(folder.0.join(file)); // it may not be there
    }
    let server = serve(plan, folder)?;
    let rate = |seconds: f64| plan.events as f64 / seconds;
    table.put(
        "refold against intake: started without any state, until it serves",
        ">= 2",
        "/s",
        rate(server.ready),
        Some(intake),
    );
    server.stop()?;
    let began = Instant::now();
    output(&plan.programs.join("perennial"), &["rebuild", "--folder", &folder.text()])?;
    table.put(
        "  the same, until all of the state is written (rebuild)",
        "-",
        "/s",
        rate(began.elapsed().as_secs_f64()),
        Some(intake),
    );
    Ok(())
}

/// Single events and questions against the endpoint that does nothing.
#[expect(clippy::cast_precision_loss, reason = "a pace")]
fn requests(plan: &Plan, table: &mut Table) -> Result<(), String> {
    let noop = Server::start(&plan.programs.join("examples/bench_noop"), &["127.0.0.1:0"])?;
    let folder = Scratch::new("requests")?;
    let server = serve(plan, &folder)?;
    enroll(plan, &server)?;
    let (key, secret) = (format!("Bearer {}", server.write_key), format!("Bearer {}", server.secret_key));
    let track = |n: u64| load::post("/v1/track", &key, &message(plan, n));
    let read = |n: u64| load::get(&format!("/v1/customers/u{}", n % plan.customers), &secret);
    let (idle, before) = (noop.usage().cpu, server.usage().cpu);
    let base = run_load(noop.port, 64, plan.singles, None, &track)?;
    let single = run_load(server.port, 64, plan.singles, None, &track)?;
    let (idle, busy) = (noop.usage().cpu - idle, server.usage().cpu - before);
    all_good(&single, "single events")?;
    table.put("/v1/track, one durable event a request", ">= 0.40", "/s", single.rate(), Some(base.rate()));
    let each = 1e6 / plan.singles as f64;
    table.put("  server processor time a request", "-", "us", busy * each, Some(idle * each));
    let later = |n: u64| track(n + plan.singles);
    let paced = run_load(server.port, 64, 5_000 * plan.paced_seconds, Some(5_000.0), &later)?;
    table.put("  p99 at 5,000/s", "< 50 ms", "ms", paced.percentile(0.99), None);
    table.put("  answered at 5,000/s", "5,000/s", "/s", paced.rate(), None);
    let questions = run_load(server.port, 32, plan.singles, None, &read)?;
    let nothing = run_load(noop.port, 32, plan.singles, None, &read)?;
    all_good(&questions, "questions")?;
    table.put("questions from memory", ">= 0.50", "/s", questions.rate(), Some(nothing.rate()));
    let from = plan.singles + 5_000 * plan.paced_seconds;
    let batches = |n: u64| load::post("/v1/batch", &key, &batch(plan, n + from.div_ceil(100)));
    let asked = std::thread::scope(|scope| {
        let busy = scope.spawn(|| run_load(server.port, 4, 50 * plan.paced_seconds, Some(50.0), &batches));
        let asked = run_load(server.port, 32, 2_000 * plan.paced_seconds, Some(2_000.0), &read);
        busy.join().unwrap_or_else(|_| Err("a sender died".into())).and(asked)
    })?;
    table.put("  p99 at 2,000/s while 5,000 events/s come in", "< 5 ms", "ms", asked.percentile(0.99), None);
    server.stop()
}

/// Many customers on disk: what a start takes, what it holds when idle, what questions cost.
fn cold(plan: &Plan, table: &mut Table) -> Result<(), String> {
    let folder = Scratch::new("cold")?;
    let server = serve(plan, &folder)?;
    let (key, secret) = (format!("Bearer {}", server.write_key), format!("Bearer {}", server.secret_key));
    let identify = |n: u64| {
        let one = |n: u64| {
            format!(
                r#"{{"type":"identify","messageId":"c-{n}","userId":"u{n}","traits":{{"email":"u{n}@example.com"}}}}"#
            )
        };
        let messages: Vec<String> = (500 * n..500 * (n + 1)).map(one).collect();
        load::post("/v1/batch", &key, &format!(r#"{{"batch":[{}]}}"#, messages.join(",")))
    };
    all_good(&run_load(server.port, 4, plan.cold / 500, None, &identify)?, "customers")?;
    server.stop()?;
    let server = serve(plan, &folder)?;
    table.put("customers on disk: ready", "<= 1 s", "s", server.ready, None);
    std::thread::sleep(std::time::Duration::from_secs(2));
    table.put("  idle", "< 150 MB", "MB", server.usage().resident / 1e6, None);
    let read =
        |n: u64| load::get(&format!("/v1/customers/u{}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % plan.cold), &secret);
    let asked = run_load(server.port, 16, 1_000 * plan.paced_seconds, Some(1_000.0), &read)?;
    all_good(&asked, "questions")?;
    table.put("  questions at 1,000/s, p99", "< 5 ms", "ms", asked.percentile(0.99), None);
    server.stop()
}

/// The tree beside the interpreter, on the same questions.
fn predicates(plan: &Plan, table: &mut Table) -> Result<(), String> {
    let said = output(&plan.programs.join("examples/predicate_bench"), &[])?;
    for line in said.lines().skip(1) {
        let figures: Vec<f64> = line.split_whitespace().rev().skip(1).take(2).filter_map(|n| n.parse().ok()).collect();
        let [cel, tree] = figures[..] else { return Err(format!("predicate_bench said: {line}")) };
        if line.starts_with("all") {
            // Evaluations a second, so that more is better on both sides as everywhere.
            table.put("predicate tree against the CEL interpreter", ">= 20", "/s", 6e9 / tree, Some(6e9 / cel));
        }
    }
    Ok(())
}

/// The folder with `data`, `bench` and `reference`: `PERENNIAL_SHARED`, or `shared` beside the repository.
fn shared(plan: &Plan) -> Option<PathBuf> {
    let named = std::env::var_os("PERENNIAL_SHARED").map(PathBuf::from);
    let beside = || plan.root.parent().map(|parent| parent.join("shared"));
    named.or_else(beside).filter(|folder| folder.join("bench").is_dir() && folder.join("data").is_dir())
}

/// The whole history of a real shop, folded again; only where its data is at hand.
fn refold_of_a_shop(plan: &Plan, table: &mut Table) -> Result<(), String> {
    let data = shared(plan).map(|shared| shared.join("data/online_retail")).filter(|data| data.is_dir());
    let Some(data) = data else {
        println!("online_retail: left out; set PERENNIAL_SHARED to the folder that holds data/online_retail");
        return Ok(());
    };
    let folder = Scratch::new("retail")?;
    let (program, mapping) = (plan.root.join("programs/giftshop.yaml"), plan.root.join("imports/online_retail.yaml"));
    let (program, mapping, data) = (program.to_string_lossy(), mapping.to_string_lossy(), data.to_string_lossy());
    let binary = plan.programs.join("perennial");
    let began = Instant::now();
    let import =
        output(&binary, &["import", "--folder", &folder.text(), "--program", &program, &mapping, "--data", &data]);
    // Rows that the file itself cannot account for make the import say no; the rest is in.
    import.or_else(|said| if said.contains("taken: ") { Ok(said) } else { Err(said) })?;
    table.put("online_retail: import", "-", "s", began.elapsed().as_secs_f64(), None);
    let (began, before) = (Instant::now(), spent());
    output(&binary, &["rebuild", "--folder", &folder.text()])?;
    table.put("online_retail: refold of everything", "< 5 s", "s", began.elapsed().as_secs_f64(), None);
    table.put("  processor time", "< 5 s", "s", spent() - before, None);
    Ok(())
}
