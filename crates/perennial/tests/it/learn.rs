//! `perennial learn`, as an analyst calls it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use tempfile::TempDir;

/// A folder with one table, and the answers.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn with(table: &str) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("table.csv"), table).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        let words = arguments.split_whitespace();
        Command::new(env!("CARGO_BIN_EXE_perennial"))
            .current_dir(self.folder.path())
            .arg("learn")
            .args(words)
            .output()
            .unwrap()
    }

    /// Runs a command that must end well; what it said.
    fn told(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments}: {out}{err}");
        out.into_owned()
    }

    /// Runs a command that must be refused; why.
    fn refused(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn rows(&self, name: &str) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(self.path(name)).unwrap();
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    /// A page that opens offline: drawn figures, tables, and nothing from elsewhere.
    fn holds_a_page(&self, name: &str) -> String {
        let page = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(page.contains("<svg") && page.contains("<table>") && page.contains("<figcaption>"), "{name}");
        for part in ["http", "<script", "url(", "@import", " src="] {
            assert!(!page.contains(part), "{name} has {part}");
        }
        page
    }

    /// The names of all files, without the table.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "table.csv");
        names.sort();
        names
    }
}

/// A small generator, so that the tables are the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Orders of a made-up shop over a year and a half: tea goes with honey, coffee with milk.
fn orders() -> String {
    let mut dice = Dice(7);
    let mut table = String::from("Order ID,Customer,Order Date,SKU,Amount\n");
    let mut order = 0;
    for customer in 0..160 {
        let (mut day, pace) = (dice.below(200), 10 + dice.below(60));
        let leaves = day + 60 + dice.below(500);
        while day < leaves.min(540) {
            order += 1;
            let date = format!("2024-{:02}-{:02}", 1 + day / 45, 1 + (day % 45) * 28 / 45);
            let pair = if dice.below(2) == 0 { ["tea", "honey"] } else { ["coffee", "milk"] };
            for item in pair.into_iter().chain((dice.below(3) == 0).then_some("bread")) {
                writeln!(table, "o{order},c{customer},{date},{item},{}.50", 2 + customer % 9 + dice.below(5)).unwrap();
            }
            day += 1 + dice.below(2 * pace);
        }
    }
    table
}

#[test]
fn orders_become_values_without_naming_a_column() {
    let desk = Desk::with(&orders());
    let told = desk.told("clv --input table.csv --out v.csv --report v.html");
    assert!(told.contains("customer `Customer`, date `Order Date`, amount `Amount`"), "{told}");
    assert!(told.contains("Chosen: ") && told.contains("Validation: "), "{told}");
    let rows = desk.rows("v.csv");
    let column = |name: &str| rows[0].iter().position(|header| header == name).unwrap();
    let [alive, low, high, expected, value] =
        ["p_alive", "expected_orders_12m_low", "expected_orders_12m_high", "expected_orders_12m", "clv_12m"]
            .map(column);
    assert!(rows.len() > 140);
    for row in &rows[1..] {
        let number = |at: usize| row[at].parse::<f64>().unwrap();
        assert!((0.0..=1.0).contains(&number(alive)), "{row:?}");
        assert!(number(low) <= number(expected).ceil() && number(low) <= number(high), "{row:?}");
        assert!(number(value) >= 0.0, "{row:?}");
    }
    desk.holds_a_page("v.html");
    assert!(!told.contains("No sign of customers leaving"), "some have left: {told}");
    let again = desk.told("clv --input table.csv --out w.csv --threads 1");
    assert!(again.contains("Validation"));
    assert_eq!(rows, desk.rows("w.csv"), "the same answers whatever the threads");
}

#[test]
fn a_table_in_which_nobody_leaves_says_so() {
    let mut table = String::from("customer,date,amount\n");
    for customer in 0..60 {
        // Each comes at a pace of their own until the last month.
        for day in (customer % 10..364).step_by(8 + customer % 23) {
            writeln!(table, "c{customer},2024-{:02}-{:02},{}", 1 + day / 31, 1 + day % 28, 5 + customer % 7).unwrap();
        }
    }
    let told = Desk::with(&table).told("clv --input table.csv --out v.csv");
    assert!(told.contains("No sign of customers leaving for good"), "{told}");
}

#[test]
fn orders_become_segments_with_names_and_reasons() {
    let desk = Desk::with(&orders());
    let told = desk.told("segment --input table.csv --out s.csv --report s.html");
    assert!(told.contains("Chosen: ") && told.contains("silhouette"), "{told}");
    let rows = desk.rows("s.csv");
    assert_eq!(rows[0], ["customer_id", "segment", "segment_name", "reason", "recency", "frequency", "spend"]);
    assert!(rows[1..].iter().all(|row| !row[2].is_empty() && row[3].contains("nearer to this group")));
    desk.holds_a_page("s.html");
}

#[test]
fn what_is_bought_together_is_found() {
    let desk = Desk::with(&orders());
    let told = desk.told("recommend --train table.csv --task together --top 3 --out t.csv --report t.html");
    assert!(told.contains("item `SKU`, order `Order ID`") && told.contains("NDCG"), "{told}");
    let rows = desk.rows("t.csv");
    let best = |item: &str| rows.iter().find(|row| row[0] == item && row[2] == "1").unwrap()[1].clone();
    assert_eq!((best("tea"), best("coffee")), ("honey".into(), "milk".into()));
    desk.holds_a_page("t.html");
}

#[test]
fn baskets_in_the_form_of_the_scorer_are_completed() {
    let desk = Desk::with(&orders());
    let train = std::fs::read_to_string(desk.path("table.csv")).unwrap();
    let train = train.replace("Order ID,Customer,Order Date,SKU,Amount", "basket,user_id,t,item_id,amount");
    std::fs::write(desk.path("train.csv"), train).unwrap();
    std::fs::write(desk.path("context.csv"), "user_id,item_id\nb1,tea\nb2,coffee\nb3,unheard of\n").unwrap();
    desk.told("recommend --train train.csv --task together --context context.csv --top 2 --out r.csv");
    let rows = desk.rows("r.csv");
    assert_eq!(rows[0][..3], ["user_id", "item_id", "rank"]);
    assert_eq!(rows[1][..3], ["b1", "honey", "1"]);
    assert_eq!(rows.len(), 7, "even an unknown item gets a list");
    desk.told("recommend --train train.csv --task for-you --top 2 --out f.csv");
    desk.told("recommend --train train.csv --task again --top 2 --out a.csv");
    assert!(desk.rows("a.csv")[1][3].contains("bought"));
}

/// Sixty persons, every third with a second record whose surname lost its last letter.
fn persons() -> String {
    let mut table = String::from("rec_id,given name,surname,birth,mail\n");
    let mut dice = Dice(3);
    let names = ["anna", "bertram", "clara", "dimitri", "elena", "frederik", "greta", "hannes", "irina", "jakob"];
    for person in 0..60 {
        let (a, b) = (names[person % 10], ["keller", "lindqvist", "moreau", "novak", "okafor", "petrov"][person / 10]);
        let born = format!("19{}-0{}-1{}", 50 + dice.below(45), 1 + dice.below(9), dice.below(9));
        writeln!(table, "{person}a,{a},{b},{born},{a}.{b}@mail.example").unwrap();
        if person % 3 == 0 {
            writeln!(table, "{person}b,{a},{},{born},{a}.{b}@mail.example", &b[..b.len() - 1]).unwrap();
        }
    }
    table
}

#[test]
fn records_of_one_person_are_linked() {
    let desk = Desk::with(&persons());
    let told = desk.told("link --input table.csv --out c.csv --report c.html");
    assert!(told.contains("`rec_id`") && told.contains("expected to be strangers"), "{told}");
    let rows = desk.rows("c.csv");
    assert_eq!(rows[0], ["unique_id", "cluster_id"]);
    let linked = rows.iter().filter(|row| row[0].ends_with('b') && row[1].ends_with('a')).count();
    assert!(linked >= 18, "{linked} of 20 pairs");
    desk.holds_a_page("c.html");
}

#[test]
fn doubtful_pairs_are_asked_about_and_answers_are_heeded() {
    let desk = Desk::with(&persons());
    let linked = |arguments: &str| {
        desk.told(&format!("link --input table.csv --out c.csv {arguments}"));
        let rows = desk.rows("c.csv");
        let person = |id: &str| rows.iter().find(|row| row[0] == id).unwrap()[1].clone();
        [person("0a") == person("0b"), person("1a") == person("2a")]
    };
    assert_eq!(linked("--questions q.csv"), [true, false]);
    let asked = desk.rows("q.csv");
    assert_eq!(asked[0][..3], ["record", "other_record", "probability"]);
    assert!(asked[1..].iter().all(|row| row[5].contains("before looking -") && row[6].is_empty()), "{asked:?}");
    std::fs::write(desk.path("a.csv"), "record,other_record,same\n0a,0b,no\n2a,1a,Yes\n3a,3b,\n").unwrap();
    assert_eq!(linked("--answers a.csv --report c.html"), [false, true]);
    assert!(desk.holds_a_page("c.html").contains("2 pairs were decided by people"));
    for (line, why) in [
        ("0a,nobody,no", "no record `nobody` (`other_record`) in line 2"),
        ("0a,0b,perhaps", "neither yes nor no in line 2"),
        ("0a,0a,yes", "itself"),
    ] {
        std::fs::write(desk.path("a.csv"), format!("record,other_record,same\n{line}\n")).unwrap();
        let told = desk.refused("link --input table.csv --out c.csv --answers a.csv");
        assert!(told.contains(why), "{line}: {told}");
    }
}

#[test]
fn labels_of_your_own_are_told_one_by_one() {
    let mut table = String::from("text,topic\n");
    for at in 0..60 {
        let what = [
            "the parcel came late",
            "the courier was late again",
            "card refused at the till",
            "charged twice on my card",
        ][at % 4];
        writeln!(table, "{what} no {at},{}", ["delivery", "payment"][at % 4 / 2]).unwrap();
    }
    let desk = Desk::with(&table);
    desk.told("sentiment --input table.csv --text text --label topic --out m.csv --report m.html");
    let page = desk.holds_a_page("m.html");
    assert!(page.contains("is the hardest to tell") && page.contains("right when given"), "{page}");
    assert!(desk.rows("m.csv")[1..].iter().all(|row| row[4] == "delivery" || row[4] == "payment"));
}

#[test]
fn propensities_uplift_and_moods_are_told_with_their_validation() {
    let mut dice = Dice(5);
    let mut table = String::from("id,age,plan,group,bought,churn\n");
    for i in 0..600 {
        let (age, treated) = (18 + dice.below(60), dice.below(2) == 0);
        let bought = dice.below(100) < if treated && age < 40 { 60 } else { 25 };
        let churn = dice.below(100) < age;
        let (group, plan) =
            (if treated { "mail" } else { "control" }, ["a", "b"][usize::try_from(dice.below(2)).unwrap()]);
        writeln!(table, "{i},{age},{plan},{group},{},{}", u8::from(bought), if churn { "yes" } else { "no" }).unwrap();
    }
    let desk = Desk::with(&table);
    let told = desk.told("propensity --input table.csv --out p.csv --ignore bought,group --report p.html");
    assert!(told.contains("`churn` is `yes`") && told.contains("times as often as on average"), "{told}");
    // Age decides with a chance that rises from 0.18 to 0.77: knowing it exactly gives an AUC of 0.68.
    let auc: f64 = told.split("Validation: AUC ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((0.62..0.74).contains(&auc), "{told}");
    assert_eq!(desk.rows("p.csv").len(), 601);
    let page = desk.holds_a_page("p.html");
    assert!(page.contains("&#39;age&#39; says most") || page.contains("'age' says most"), "{page}");
    let told = desk.told("uplift --input table.csv --outcome bought --out u.csv --ignore churn --report u.html");
    assert!(told.contains("Validation: normalised Qini") && told.contains("treatment `group`"), "{told}");
    desk.holds_a_page("u.html");
}

#[test]
fn moods_are_read_by_the_shipped_model_where_nobody_gives_labels() {
    let reviews = "review\n\"I love this tea, it is wonderful\"\n\"Terrible, the parcel was late and broken\"\n\
                   It arrived\nI had to send it back\nWorks exactly as described\n";
    let desk = Desk::with("");
    std::fs::write(desk.path("r.csv"), reviews).unwrap();
    let told = desk.told("sentiment --input r.csv --out m.csv --report m.html");
    assert!(told.contains("5 texts in `review`") && told.contains("shipped model of English reviews"), "{told}");
    assert!(desk.holds_a_page("m.html").contains("shipped model of English reviews"));
    let rows = desk.rows("m.csv");
    let column = |name: &str| rows[0].iter().position(|head| head == name).unwrap();
    let moods: Vec<&str> = rows[1..].iter().map(|row| row[column("mood")].as_str()).collect();
    // The last two hold no word of feeling, so the lexicon alone does not tell them from the third.
    assert_eq!(moods, ["positive", "negative", "neutral", "negative", "positive"]);
    let positive: f64 = rows[1][column("positive")].parse().unwrap();
    assert!(positive > 0.99 && rows[3][column("compound")] == "0.0000", "{rows:?}");
}

#[test]
fn a_table_that_cannot_be_used_is_refused_with_a_remedy() {
    let refused = |table: &str, arguments: &str, words: &[&str]| {
        let why = Desk::with(table).refused(arguments);
        words.iter().for_each(|word| assert!(why.contains(word), "{arguments}: {why}"));
    };
    let clv = "clv --input table.csv --out o.csv";
    refused("customer,date,amount\n", clv, &["table.csv", "no rows"]);
    refused("", clv, &["empty"]);
    refused("customer,date,amount\r\na,2024-01-01,1\r\n\r\nb,2024-01-02,x\r\n", clv, &["in line 4"]);
    refused("customer,date,amount\n\"a\nb\",2024-01-01,1\n\n\nb,2024-01-02,x\n", clv, &["in line 6"]);
    refused("customer,date,amount\na,2024-01-01,1\nb,2024-01-02,x", clv, &["in line 3"]);
    let usual = (1..28).map(|day| format!("a,2024-01-{day:02},1\n")).collect::<Vec<_>>().concat();
    refused(&format!("customer,date,amount\n{usual}b,9999-12-31,1\n"), clv, &["line 29", "years from all other dates"]);
    refused("customer,date,amount\na,2024-01-01,1\n", &format!("{clv} --discount 1"), &["is no share"]);
    refused(
        "customer,date,amount\na,2024-01-01,1\n",
        &format!("{clv} --customer custmer"),
        &["no column `custmer`", "did you mean `customer`?"],
    );
    refused("who,date,amount\na,2024-01-01,1\n", clv, &["--customer", "`who`"]);
    refused("customer,date,amount\na,soon,1\n", clv, &["`date`", "line 2", "soon"]);
    refused("customer,date,amount\na,2024-01-01,NaN\na,2024-01-02,1\n", clv, &["1 row without an amount", "line 2"]);
    refused("customer,date,amount\na,2024-01-01,inf\na,2024-01-02,1\n", clv, &["`amount`", "line 2", "not a number"]);
    refused(
        "customer,date,amount\na,2024-01-01,1\na,2024-01-02,1e308\n",
        clv,
        &["`amount`", "line 3", "1e308", "too large", "correct or leave out that row"],
    );
    refused("customer,date,amount\na,2024-02-30,1\n", clv, &["`date`", "line 2", "not a date", "2026-01-31"]);
    refused("customer,date,amount\n\"a\nb\",2024-01-01,1\nc,soon,1\n", clv, &["line 4", "soon"]);
    refused("customer,date,amount,amount\na,2024-01-01,1,1\n", clv, &["two columns", "`amount`", "rename"]);
    refused("customer,date,amount\na,2024-01-01\n", clv, &["line 2", "2 values", "missing"]);
    refused("customer,date,amount\na,2024-01-01,-1\n", clv, &["positive amount", "--amount"]);
    refused("customer,date,amount\na,2024-01-01,1\nb,2024-01-02,1\n", clv, &["two different days", "--customer"]);
    refused("customer,date,amount\na,2024-01-01,1\n", "clv --input table.csv --out table.csv", &["table to read"]);
    refused(
        "customer,date,amount\na,2024-01-01,1\n",
        "clv --input table.csv --out no/o.csv",
        &["folder does not exist"],
    );
    refused("PK\u{3}\u{4}", clv, &["save the sheet as CSV"]);
    let churn = "propensity --input table.csv --out o.csv";
    refused("a,churn\n1,no\n2,no\n", churn, &["`churn`", "every row"]);
    refused("a,churn\n1,no\n2,\n", churn, &["`churn`", "empty in line 3"]);
    refused("a,churn\n1,no\n2,yes\n", churn, &["`churn`", "rarer outcome", "give at least 5"]);
    refused("a,b\n1,2\n", churn, &["--target", "`a`, `b`"]);
    refused(
        "id,x\n1,4\n2,4\n3,4\n",
        "segment --input table.csv --out o.csv",
        &["the same for every customer", "give features that differ"],
    );
    refused("id,name\n1,a\n", "link --input table.csv --out o.csv", &["at least two"]);
    refused(
        "user_id,item_id\na,x\nb,x\n",
        "recommend --train table.csv --task for-you --out o.csv",
        &["only one item"],
    );
    refused("x,y\n1,2\n", "sentiment --input nothing.csv --out o.csv", &["nothing.csv"]);
}

#[test]
fn repeated_rows_and_rows_without_a_customer_are_told() {
    let mut table = orders();
    let second = table.lines().nth(1).unwrap().to_owned();
    writeln!(table, "{second}\nx1,,2024-05-05,tea,3").unwrap();
    let desk = Desk::with(&table);
    let told = desk.told("clv --input table.csv --out v.csv");
    assert!(
        told.contains("1 row without a customer (the first in line") && told.contains("--drop-duplicates"),
        "{told}"
    );
    let told = desk.told("clv --input table.csv --out v.csv --drop-duplicates");
    assert!(told.contains("1 row equal to an earlier one (the first in line"), "{told}");
}

/// Headers and rows of the made-up shop, one text a column.
fn table_of(orders: &str) -> Vec<Vec<String>> {
    orders.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn one_command_says_everything_about_a_table_of_orders() {
    let desk = Desk::with(&orders());
    let told = desk.told("report --input table.csv --out shop.html");
    for part in ["Value: ", "Groups: ", "Bought together: ", "Bought next: ", "Your table: ", "Validation: "] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(desk.files(), ["shop-customers.csv", "shop-next.csv", "shop-together.csv", "shop.html"]);
    let page = desk.holds_a_page("shop.html");
    assert!(!page.contains("Not used: "), "every column of this table is used");
    let noted = orders().replacen("Amount\n", "Amount,Shelf\n", 1).replace(".50\n", ".50,left\n");
    let noted = Desk::with(&noted);
    noted.told("report --input table.csv --out noted.html");
    assert!(noted.holds_a_page("noted.html").contains("Not used: 'Shelf'."));
    for part in
        ["Which column was taken for what", "95\u{a0}% interval", "still active", "honey", "href=\"shop-next.csv\""]
    {
        assert!(page.contains(part), "{part}");
    }
    let rows = desk.rows("shop-customers.csv");
    assert!(rows.iter().all(|row| row.len() == rows[0].len() && !row[row.len() - 1].is_empty()));
    assert!(rows[0].ends_with(&["segment".into(), "segment_name".into(), "segment_reason".into()]));
    let together = desk.rows("shop-together.csv");
    let tea = together.iter().find(|row| row[0] == "tea" && row[2] == "1").unwrap();
    assert_eq!(tea[1], "honey");
    assert!(tea[5].parse::<f64>().unwrap() > 1.5, "{tea:?}");
}

#[test]
fn a_report_tells_what_a_table_cannot_say_and_the_rest() {
    let mut table = String::from("customer,date\n");
    (0..60).for_each(|i| writeln!(table, "c{i},2024-01-{:02}", 1 + i % 28).unwrap());
    let desk = Desk::with(&table);
    let told = desk.told("report --input table.csv");
    assert!(told.contains("The value of customers cannot be told from this table"), "{told}");
    assert_eq!(desk.files(), ["report-customers.csv", "report.html"]);
    let page = std::fs::read_to_string(desk.path("report.html")).unwrap();
    assert!(page.contains("on two different days") && page.contains("--item"));
    desk.refused("report --input table.csv --customer nobody");
    assert_eq!(desk.files(), ["report-customers.csv", "report.html"], "a refusal leaves no drafts");
}

/// However a spreadsheet writes the same orders, the same values come out.
#[test]
fn the_same_orders_mean_the_same_in_every_spelling() {
    let table = table_of(&orders());
    let write = |between: &str, cell: &dyn Fn(usize, &str) -> String| {
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().enumerate().map(|(at, text)| cell(at, text)).collect();
            format!("{}\r\n", cells.join(between))
        };
        std::iter::once(table[0].join(between) + "\r\n").chain(table[1..].iter().map(line)).collect::<String>()
    };
    let german = |at: usize, text: &str| match at {
        2 => format!("{}.{}.{}", &text[8..], &text[5..7], &text[..4]),
        4 => format!("{} €", text.replace('.', ",")),
        _ => text.to_owned(),
    };
    let american = |at: usize, text: &str| match at {
        2 => format!("{}/{}/{} 2:30 PM", &text[5..7], &text[8..], &text[..4]),
        4 => format!("${text}"),
        _ => text.to_owned(),
    };
    let plain = |_: usize, text: &str| text.to_owned();
    let utf16 = |text: String| -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let windows = write(";", &german).replace('€', "\u{80}").chars().map(|c| u8::try_from(c).unwrap()).collect();
    let spellings: [(&str, Vec<u8>); 6] = [
        ("german", write(";", &german).into_bytes()),
        ("windows-1252", windows),
        ("american, empty lines at the end", (write(",", &american) + ",,,,\r\n,,,,\r\n").into_bytes()),
        ("utf-8 with a mark", format!("\u{feff}{}", write(",", &plain)).into_bytes()),
        ("unicode text", utf16(write("\t", &plain))),
        ("a line that names the separator", format!("sep=;\r\n{}", write(";", &plain)).into_bytes()),
    ];
    let desk = Desk::with(&orders());
    desk.told("clv --input table.csv --out v.csv");
    for (name, bytes) in spellings {
        std::fs::write(desk.path("other.csv"), bytes).unwrap();
        desk.told("clv --input other.csv --out w.csv");
        assert_eq!(desk.rows("v.csv"), desk.rows("w.csv"), "{name}");
    }
}

/// The same table as Parquet: whole numbers, other numbers and texts each as their own type.
fn as_parquet(table: &[Vec<String>], path: &Path) {
    let column = |at: usize| table[1..].iter().map(move |row| row[at].as_str());
    let whole = |at: usize| column(at).map(|cell| cell.parse::<i64>().ok()).collect::<Option<Vec<_>>>();
    let real = |at: usize| column(at).map(|cell| cell.parse::<f64>().ok()).collect::<Option<Vec<_>>>();
    let kind = |at: usize| match (whole(at), real(at)) {
        (Some(_), _) => "int64",
        (None, Some(_)) => "double",
        (None, None) => "binary",
    };
    let fields = table[0].iter().enumerate().map(|(at, name)| {
        let text = if kind(at) == "binary" { " (UTF8)" } else { "" };
        format!("required {} {name}{text};", kind(at))
    });
    let schema = format!("message table {{ {} }}", fields.collect::<String>());
    let schema = parquet::schema::parser::parse_message_type(&schema).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema.into(), std::sync::Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for at in 0..table[0].len() {
        let mut out = group.next_column().unwrap().unwrap();
        match (whole(at), real(at)) {
            (Some(values), _) => out.typed::<Int64Type>().write_batch(&values, None, None),
            (None, Some(values)) => out.typed::<DoubleType>().write_batch(&values, None, None),
            (None, None) => {
                let texts: Vec<ByteArray> = column(at).map(ByteArray::from).collect();
                out.typed::<ByteArrayType>().write_batch(&texts, None, None)
            }
        }
        .unwrap();
        out.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

/// Whatever is asked, a Parquet file gets the answers that the same table as CSV gets.
#[test]
fn every_command_reads_parquet() {
    let orders = orders().replace("Order ID,Customer,Order Date", "order,customer,date");
    let persons = persons().replace("given name", "given");
    let mut dice = Dice(11);
    let mut customers = String::from("id,age,visits,group,bought,churn\n");
    for i in 0..300 {
        let (age, visits) = (18 + dice.below(60), dice.below(9));
        let (mail, bought) = (["mail", "control"][usize::from(i % 2 == 0)], u8::from(dice.below(80) < age));
        let churn = if dice.below(90) < age { "yes" } else { "no" };
        writeln!(customers, "{i},{age},{visits}.5,{mail},{bought},{churn}").unwrap();
    }
    let mut reviews = String::from("id,review\n");
    (0..40).for_each(|i| writeln!(reviews, "{i},{}", ["lovely tea", "the parcel was late"][i % 2]).unwrap());
    for (table, question) in [
        (&orders, "clv --input"),
        (&orders, "segment --input"),
        (&orders, "recommend --task together --train"),
        (&persons, "link --id rec_id --input"),
        (&customers, "segment --features age,visits --id id --groups 3 --input"),
        (&customers, "propensity --target churn --ignore bought,group --id id --input"),
        (&customers, "uplift --outcome bought --treatment group --control control --ignore churn --id id --input"),
        (&reviews, "sentiment --text review --input"),
    ] {
        let desk = Desk::with(table);
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(table.as_bytes());
        let cells = |row: csv::StringRecord| row.iter().map(str::to_owned).collect();
        let rows: Vec<Vec<String>> = reader.records().map(Result::unwrap).map(cells).collect();
        as_parquet(&rows, &desk.path("table.parquet"));
        desk.told(&format!("{question} table.csv --out from-csv.csv"));
        desk.told(&format!("{question} table.parquet --out from-parquet.csv"));
        assert_eq!(desk.rows("from-csv.csv"), desk.rows("from-parquet.csv"), "{question}");
    }
}

#[test]
fn customers_without_a_feature_are_left_out_of_groups_and_counted() {
    let mut table = String::from("master_id,age,income\n");
    for i in 0..90 {
        let income = if i % 30 == 4 { String::new() } else { (20 + 40 * (i % 3) + i % 5).to_string() };
        writeln!(table, "m{i},{},{income}", 20 + 15 * (i % 3) + i % 7).unwrap();
    }
    let desk = Desk::with(&table);
    let told = desk.told("segment --input table.csv --features age,income --id master_id --out s.csv");
    assert!(told.contains("3 rows without a number in a feature (the first in line 6) left out"), "{told}");
    assert_eq!(desk.rows("s.csv").len(), 88);
}

#[test]
fn returns_and_unwanted_items_are_not_recommended() {
    let mut table = orders();
    (0..40).for_each(|i| writeln!(table, "r{i},c{i},2025-01-01,kettle,-30\np{i},c{i},2025-01-01,postage,4").unwrap());
    let desk = Desk::with(&table);
    let told = desk.told("recommend --train table.csv --task again --top 9 --out a.csv");
    assert!(told.contains("`postage` reads like a fee: leave it out with --without postage"), "{told}");
    let told = desk.told("recommend --train table.csv --task again --top 9 --without postage --out a.csv");
    assert!(!told.contains("like a fee"), "{told}");
    assert!(told.contains("40 rows taking something back") && told.contains("named by --without"), "{told}");
    assert!(desk.rows("a.csv").iter().all(|row| row[1] != "kettle" && row[1] != "postage"));
}

#[test]
fn values_that_are_no_numbers_are_told_and_count_as_not_known() {
    let mut table = String::from("id,x,flat,churn\n");
    for i in 0..200 {
        let x = if i == 7 { "inf".to_owned() } else { (i % 10).to_string() };
        writeln!(table, "{i},{x},1,{}", if i % 10 > 5 { "yes" } else { "no" }).unwrap();
    }
    let told = Desk::with(&table).told("propensity --input table.csv --out p.csv");
    assert!(told.contains("`inf`, in line 9") && told.contains("Left out, the same in every row: `flat`"), "{told}");
}

#[test]
fn a_reference_file_is_checked_and_counted_honestly() {
    let desk = Desk::with("");
    let case = |id: &str, kind: &str, input: &str, expected: &str| {
        format!(r#"{{"id":"{id}","kind":"{kind}","input":{input},"expected":{expected}}}"#)
    };
    let strings = case("s", "strings", r#"{"a":"martha","b":"marhta"}"#, r#"{"levenshtein":2,"osa":1,"info_x":9}"#);
    let wrong = case("w", "strings", r#"{"a":"a","b":"b"}"#, r#"{"levenshtein":7}"#);
    let skipped = case("p", "handlebars", r#"{"template":"{{a}}"}"#, r#"{"output":""}"#);
    let write = |cases: &[&str]| {
        std::fs::write(desk.path("r.json"), format!(r#"{{"cases":[{}]}}"#, cases.join(","))).unwrap();
        desk.run("check r.json --out got.json")
    };
    let output = write(&[&strings]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 met, 0 missed, 0 skipped"));
    assert!(std::fs::read_to_string(desk.path("got.json")).unwrap().contains("\"osa\": 1"));
    let output = write(&[&strings, &wrong, &skipped]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("1 met, 1 missed, 1 skipped") && told.contains("want 7 got 1"), "{told}");
    std::fs::write(desk.path("r.json"), "{}").unwrap();
    assert!(desk.refused("check r.json").contains("`cases`"));
    assert!(desk.refused("check nowhere.json").contains("nowhere.json"));
}

/// Every reference file but those of parts that this program does not have.
#[test]
#[ignore = "needs PERENNIAL_SHARED, the folder that holds reference and data"]
fn every_case_of_the_reference_files_is_met() {
    let shared = std::env::var_os("PERENNIAL_SHARED").map(PathBuf::from);
    let shared = shared.expect("PERENNIAL_SHARED names the folder that holds reference and data");
    for name in [
        "clv",
        "segmentation",
        "experiments",
        "strings",
        "uplift",
        "sentiment",
        "treeshap",
        "propensity",
        "linkage",
        "phones",
    ] {
        let file = shared.join("reference").join(name).with_extension("json");
        let checked = perennial::learn::check::check(&file, Some(Path::new(&shared.join("data"))), true).unwrap();
        let (met, missed, skipped) = checked.counts();
        println!("{name}: {met} met, {missed} missed, {skipped} skipped");
        if name != "linkage" {
            assert_eq!((missed, skipped), (0, 0), "{name}");
        }
    }
}
