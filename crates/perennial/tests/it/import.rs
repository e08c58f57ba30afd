//! Import: mapping files, cleansing, grouping, returns, rejects, reconciliation.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use perennial::import::{Failure, Options, Plan, Reconciliation, Sink, SinkError, Taken, compile};
use perennial_core::event::{Body, Event, Origin, Product};
use perennial_core::input::{Command, Input};
use perennial_core::time::Timestamp;
use rust_decimal::Decimal;

/// Counts, and knows what it has seen: stands in for a workspace.
#[derive(Default)]
struct Counting {
    seen: HashSet<String>,
    events: Vec<Event>,
    enrolled: Vec<String>,
    products: BTreeMap<String, Product>,
    keep: bool,
    last: Option<Timestamp>,
    ordered: Decimal,
    batches: usize,
    fail_at_batch: Option<usize>,
}

impl Counting {
    fn keeping() -> Self {
        Self { keep: true, ..Self::default() }
    }

    fn named(&self, name: &str) -> Vec<&Event> {
        self.events.iter().filter(|e| e.name() == name).collect()
    }
}

impl Sink for Counting {
    fn catalogue(&mut self, products: Vec<Product>) -> Result<(), SinkError> {
        self.products.extend(products.into_iter().map(|p| (p.product_id.to_string(), p)));
        Ok(())
    }

    fn inputs(&mut self, inputs: Vec<Input>) -> Result<Taken, SinkError> {
        self.batches += 1;
        if self.fail_at_batch == Some(self.batches) {
            return Err("the disk is full".into());
        }
        let mut taken = Taken::default();
        for input in inputs {
            let (id, at) = match &input {
                Input::Event(e) => (e.message_id.to_string(), e.at),
                Input::Command(a) => (format!("{}/{}", a.customer, a.key.as_deref().unwrap_or_default()), a.at),
                other => return Err(format!("an import sends no {other:?}").into()),
            };
            assert!(self.last.is_none_or(|last| last <= at), "time runs forward");
            self.last = Some(at);
            if !self.seen.insert(id) {
                taken.duplicates += 1;
                continue;
            }
            taken.new += 1;
            match input {
                Input::Event(event) => {
                    assert_eq!(event.origin, Origin::Import);
                    if let Body::Ordered(order) = &event.body {
                        self.ordered += order.subtotal.unwrap_or_default();
                    }
                    if self.keep {
                        self.events.push(*event);
                    }
                }
                Input::Command(asked) => {
                    assert!(matches!(asked.command, Command::Enroll { .. }));
                    self.enrolled.push(asked.customer.to_string());
                }
                _ => {}
            }
        }
        Ok(taken)
    }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

struct Shop {
    folder: tempfile::TempDir,
    plan: Plan,
}

impl Shop {
    fn new(mapping: &str, file: &str, content: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file), content).unwrap();
        Self { folder, plan: compile(mapping).unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self) -> Options {
        Options { rejects: Some(self.path("rejects.csv")), ..Options::new(self.folder.path(), now()) }
    }

    fn run(&self, sink: &mut Counting) -> Reconciliation {
        let totals = self.plan.run(sink, &self.options()).unwrap();
        assert_eq!(totals.gaps(), Vec::<String>::new());
        totals
    }

    fn rejects(&self) -> Vec<Vec<String>> {
        let Ok(mut reader) = csv::Reader::from_path(self.path("rejects.csv")) else { return Vec::new() };
        reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect()
    }
}

fn sum(rec: &Reconciliation, code: &str) -> (u64, String, String) {
    let s = rec.rejected.get(code).copied().unwrap_or_default();
    (s.rows, s.pieces.normalize().to_string(), s.amount.normalize().to_string())
}

const TILL: &str = "
import: 1
name: till
currency: EUR
time_zone: Europe/Paris
enroll: first_order
files:
  till:
    path: till.csv
    exact_duplicates: drop
    columns:
      receipt: { required: true }
      at: { type: instant, required: true, formats: ['%d/%m/%Y %H:%M'] }
      card: { required: true }
      phone: { type: phone }
      sku: { required: true }
      quantity: { type: integer, required: true }
      price: { type: decimal, required: true, min: 0, decimal: ',' }
customers:
  from: till
  ids: { loyalty: card }
  at: at
  traits: { phone: phone }
  survivorship: { phone: latest }
orders:
  from: till
  id: receipt
  at: at
  customer: { loyalty: card }
  line: { product_id: sku, quantity: quantity, price: price }
  returns: { when: { quantity: { below: 0 } } }
";

/// R6: 1,000 rows, of which 40 repeat an earlier one, 12 have bad dates, 8 negative prices; 25 cards
/// state two phones.
fn point_of_sale() -> String {
    let mut rows = Vec::new();
    for n in 0..960 {
        let card = n % 400;
        let day = 1 + n % 28;
        let at = if (100..112).contains(&n) { "31/02/2025 10:00".into() } else { format!("{day:02}/{:02}/2025 10:{:02}", 1 + n / 100, n % 60) };
        let price = if (200..208).contains(&n) { "-1,50" } else { "12,50" };
        // The second receipt of cards 0 to 24 names another phone than the first.
        let phone = if (400..425).contains(&n) { format!("+33 9 {card:04}") } else { format!("+33 (1) {card:04}") };
        rows.push(format!("R{n},{at},L{card:04},{phone},sku-{},{},\"{price}\"", n % 30, 1 + n % 3));
    }
    for n in 0..40 {
        rows.push(rows[n * 7 + 300].clone());
    }
    format!("receipt,at,card,phone,sku,quantity,price\n{}\n", rows.join("\n"))
}

#[test]
fn r6_a_thousand_rows_are_stored_dropped_rejected_and_settled_to_the_last_one() {
    let shop = Shop::new(TILL, "till.csv", &point_of_sale());
    let mut sink = Counting::keeping();
    let totals = shop.run(&mut sink);
    assert_eq!((totals.read.rows, totals.sold.rows, totals.orders), (1_000, 940, 940));
    assert_eq!(totals.duplicates.rows, 40);
    assert_eq!((sum(&totals, "bad_date").0, sum(&totals, "too_small").0), (12, 8));
    assert_eq!(totals.settled.get("phone"), Some(&25));
    assert_eq!(shop.rejects().len(), 20);
    assert_eq!(shop.rejects()[0][..4], ["102", "bad_date", "at", "'31/02/2025 10:00' is not a date of the form %d/%m/%Y %H:%M"]);
    let card_3 = sink.named("identify").into_iter().find(|e| e.ids[0].to_string() == "loyalty:L0003").unwrap();
    assert_eq!(card_3.traits.get("phone").and_then(|v| v.as_text()), Some("+3390003"), "the latest statement stays");

    let again = shop.run(&mut sink);
    assert_eq!(again.taken.new, 0);
    assert_eq!(again.taken.duplicates, totals.taken.new);
}

#[test]
fn a_mended_reject_file_brings_in_what_was_missing() {
    let rows = "receipt,at,card,phone,sku,quantity,price\n\
        A,01/02/2025 10:00,L1,,tea,1,\"3,00\"\n\
        B,01/02/2025 11:00,L1,,tea,2,\"3,00\"\n\
        B,32/02/2025 11:00,L1,,cup,1,\"9,90\"\n";
    let shop = Shop::new(TILL, "till.csv", rows);
    let mut sink = Counting::keeping();
    let totals = shop.run(&mut sink);
    assert_eq!(totals.orders, 1, "order B waits for its second line");
    assert_eq!(sum(&totals, "order_held"), (1, "2".into(), "6".into()));
    let mended = fs::read_to_string(shop.path("rejects.csv")).unwrap().replace("32/02", "01/02");
    fs::write(shop.path("mended.csv"), mended).unwrap();
    let mut options = shop.options();
    options.replace.insert("till".into(), shop.path("mended.csv"));
    let second = shop.plan.run(&mut sink, &options).unwrap();
    assert_eq!((second.orders, second.sold.rows, second.sold.amount.to_string()), (1, 2, "15.90".into()));
    assert_eq!(sink.named("Order Completed").len(), 2);
}

#[test]
fn returned_pieces_come_from_the_latest_earlier_orders_that_have_some_left() {
    let rows = "receipt,at,card,phone,sku,quantity,price\n\
        A,01/02/2025 10:00,L1,,tea,5,\"3,00\"\n\
        B,02/02/2025 10:00,L1,,tea,2,\"4,00\"\n\
        C,02/02/2025 10:00,L2,,tea,9,\"4,00\"\n\
        D,03/02/2025 10:00,L1,,tea,-4,\"4,00\"\n\
        E,04/02/2025 10:00,L1,,tea,-10,\"4,00\"\n\
        F,05/02/2025 10:00,L1,,tea,20,\"4,00\"\n";
    let shop = Shop::new(TILL, "till.csv", rows);
    let mut sink = Counting::keeping();
    let totals = shop.run(&mut sink);
    let refunds: Vec<_> = sink
        .named("Order Refunded")
        .iter()
        .map(|e| match &e.body {
            Body::Refunded(r) => (r.refund_id.to_string(), r.order_id.to_string(), r.lines[0].quantity),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [("D/A", "A", 2), ("D/B", "B", 2), ("E/A", "A", 3)];
    assert_eq!(refunds, expected.map(|(id, order, n)| (id.to_owned(), order.to_owned(), n)));
    assert_eq!(sum(&totals, "no_matching_sale"), (1, "-7".into(), "-28".into()));
    assert_eq!(totals.returned.pieces, (-7).into());
    assert_eq!(totals.refunded_at_sale_price, 23.into(), "2 x 4.00 and 5 x 3.00");
    let reject = &shop.rejects()[0];
    assert_eq!((reject[1].as_str(), reject[9].as_str()), ("no_matching_sale", "-7"), "only the rest is fed again");
}

#[test]
fn all_problems_of_a_mapping_are_named_at_once() {
    let Err(problems) = compile(
        "
import: 1
name: a b
time_zone: Mars/Olympus
enrol: first_order
files:
  sales: { path: ../x.csv, columns: { at: { type: instnt }, n: { min: two } } }
orders: { from: sale, id: order, at: at, customer: {}, line: { product_id: sku } }
",
    ) else {
        panic!("must not compile")
    };
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "enrol: unknown key 'enrol'; did you mean 'enroll'?",
            "files.sales.columns.at.type: 'instnt' is not one of the choices; did you mean 'instant'?",
            "files.sales.columns.n.min: expected a number, found 'two'",
        ]
    );
    let Err(problems) = compile(
        "
import: 1
name: a b
time_zone: Mars/Olympus
files:
  sales: { path: ../x.csv, columns: { at: { pattern: '(' } } }
orders: { from: sales, id: order, at: at, customer: {}, line: { product_id: sku } }
",
    ) else {
        panic!("must not compile")
    };
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(
        paths,
        ["name", "time_zone", "currency", "files.sales.path", "files.sales.columns.at.pattern", "orders.line", "orders.at", "orders.customer"]
    );
}

#[test]
fn the_committed_mappings_compile_and_their_schema_knows_every_key() {
    for entry in fs::read_dir(root().join("imports")).unwrap() {
        let path = entry.unwrap().path();
        Plan::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
