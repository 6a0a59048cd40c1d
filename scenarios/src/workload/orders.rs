//! The planner: orders come, live and go, some thousands at a time.
//!
//! Each order is given its course when it comes. One transaction is one thing that somebody does: a customer orders, a
//! merchant accepts, a courier delivers, a clerk corrects many orders at once, a job archives what is old.

use towpath_engine::env::Rng;

use super::tables::{order_columns as at, status};
use super::{Change, Row, RowOp, Table, Transaction, Value, key_of, text};

/// What to plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkloadConfig {
    /// Same seed, same transactions.
    pub seed: u64,
    /// How many orders come in all.
    pub orders: u64,
    /// The first order's number.
    pub first_order: i64,
    /// The moment of the first transaction, milliseconds since the epoch.
    pub start_ms: i64,
    /// How many orders live at once at most; the next one waits until others have ended their course.
    pub live: usize,
}

impl WorkloadConfig {
    /// So many orders, with the documented defaults for the rest.
    pub fn new(seed: u64, orders: u64) -> Self {
        Self { seed, orders, first_order: 1, start_ms: 1_767_225_600_000, live: 2_000 }
    }
}

/// Numbers that orders get when a clerk renumbers them: above all first numbers.
const RENUMBERED_FROM: i64 = 1_000_000_000_000;
/// The most orders that one correction touches.
const CORRECTION: u64 = 60;

/// What was planned so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Orders that came.
    pub orders: u64,
    /// Row changes, of both tables.
    pub changes: u64,
    /// Transactions.
    pub transactions: u64,
}

/// An order on its course.
#[derive(Debug, Clone)]
struct Live {
    row: Row,
    items: Vec<Row>,
    /// Steps still to go.
    steps: u32,
    /// Its last step removes it.
    archived: bool,
    cancelled: bool,
}

/// The transactions, one after the other, until every order has ended its course.
#[derive(Debug, Clone)]
pub struct Workload {
    config: WorkloadConfig,
    rng: Rng,
    now_ms: i64,
    live: Vec<Live>,
    next_item: i64,
    next_renumbered: i64,
    counts: Counts,
}

impl Workload {
    /// A plan.
    pub fn new(config: WorkloadConfig) -> Self {
        Self {
            config,
            rng: Rng::new(config.seed),
            now_ms: config.start_ms,
            live: Vec::new(),
            next_item: 1,
            next_renumbered: RENUMBERED_FROM + config.first_order,
            counts: Counts::default(),
        }
    }

    /// What was planned so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn arrive(&mut self) -> Vec<RowOp> {
        let rng = &mut self.rng;
        let order_id = self.config.first_order + self.counts.orders as i64;
        self.counts.orders += 1;
        let count = 1 + rng.below(3);
        let mut total = 0;
        let mut items: Vec<Row> = Vec::new();
        for _ in 0..count {
            let (quantity, price) = (1 + rng.below(4) as i64, 50 + rng.below(30_000) as i64);
            total += quantity * price;
            items.push(vec![
                Value::Int(self.next_item),
                Value::Int(order_id),
                Value::Int(1_000 + rng.below(5_000) as i64),
                Value::Text(text::goods(rng)),
                Value::Int(quantity),
                Value::Cents(price),
            ]);
            self.next_item += 1;
        }
        let remark = text::remark(rng).map_or(Value::Null, Value::Text);
        let address = text::address(rng).map_or(Value::Null, Value::Json);
        let merchant = 1 + rng.below(400) as i64;
        let row = vec![
            Value::Int(order_id),
            Value::Int(merchant),
            Value::Int((merchant % 37) as i32 as i64),
            // User numbers are hashes: both signs, all 64 bits.
            Value::Int(rng.next_u64() as i64),
            Value::Int(status::CREATED),
            Value::Int(rng.below(6) as i64),
            Value::Cents(if rng.below(200) == 0 { -total } else { total }),
            remark,
            address,
            Value::Int(1),
            Value::DateTime(self.now_ms),
            Value::Timestamp(self.now_ms),
        ];
        // A third stays as it is for good, so that every state is there to be compared at the end.
        let steps = if rng.below(3) == 0 { rng.below(2) } else { 1 + rng.below(6) } as u32;
        let live = Live {
            row: row.clone(),
            items: items.clone(),
            steps,
            archived: rng.below(3) == 0,
            cancelled: rng.below(8) == 0,
        };
        self.live.push(live);
        let mut ops = vec![RowOp { table: Table::Orders, change: Change::Insert(row) }];
        ops.extend(items.into_iter().map(|item| RowOp { table: Table::Items, change: Change::Insert(item) }));
        ops
    }

    /// One order's next step.
    fn step(&mut self, place: usize) -> Vec<RowOp> {
        let live = &mut self.live[place];
        if live.steps == 0 {
            let live = self.live.swap_remove(place);
            return if live.archived && ended(&live.row) { archive(live) } else { Vec::new() };
        }
        live.steps -= 1;
        let before = live.row.clone();
        advance(&mut self.rng, live);
        if self.rng.below(300) == 0 {
            live.row[at::ORDER_ID] = Value::Int(self.next_renumbered);
            self.next_renumbered += 1;
        }
        live.row[at::UPDATED_AT] = Value::Timestamp(self.now_ms);
        let after = live.row.clone();
        vec![RowOp { table: Table::Orders, change: Change::Update { before, after } }]
    }

    /// A clerk corrects the amounts of many orders in one statement.
    fn correct(&mut self) -> Vec<RowOp> {
        let count = (2 + self.rng.below(CORRECTION)).min(self.live.len() as u64) as usize;
        let first = self.rng.below((self.live.len() - count + 1) as u64) as usize;
        let mut ops = Vec::with_capacity(count);
        for live in &mut self.live[first..first + count] {
            let before = live.row.clone();
            if let Value::Cents(amount) = &mut live.row[at::AMOUNT] {
                *amount += 1 + self.rng.below(100) as i64;
            }
            live.row[at::UPDATED_AT] = Value::Timestamp(self.now_ms);
            ops.push(RowOp { table: Table::Orders, change: Change::Update { before, after: live.row.clone() } });
        }
        ops
    }

    fn plan(&mut self) -> Vec<RowOp> {
        let more = self.counts.orders < self.config.orders;
        let room = self.live.len() < self.config.live;
        match self.rng.below(100) {
            // A rush: several customers in one transaction, as an importer would write it.
            0 if more && room => (0..8).flat_map(|_| if self.more() { self.arrive() } else { Vec::new() }).collect(),
            1..=2 if self.live.len() > 1 => self.correct(),
            3..=34 if more && room => self.arrive(),
            _ if self.live.is_empty() => self.arrive(),
            _ => {
                let place = self.rng.below(self.live.len() as u64) as usize;
                self.step(place)
            }
        }
    }

    fn more(&self) -> bool {
        self.counts.orders < self.config.orders
    }
}

impl Iterator for Workload {
    type Item = Transaction;

    fn next(&mut self) -> Option<Transaction> {
        loop {
            if self.live.is_empty() && !self.more() {
                return None;
            }
            self.now_ms += 1 + self.rng.below(3) as i64;
            let ops = self.plan();
            // An order that ends where it stands leaves no transaction behind.
            if !ops.is_empty() {
                self.counts.changes += ops.len() as u64;
                self.counts.transactions += 1;
                return Some(Transaction { ops });
            }
        }
    }
}

fn ended(row: &Row) -> bool {
    matches!(row[at::STATUS], Value::Int(status::DONE | status::CANCELLED))
}

fn advance(rng: &mut Rng, live: &mut Live) {
    let now = live.row[at::STATUS].as_int().unwrap_or_default();
    let next = match now {
        status::CREATED..=status::ACCEPTED if live.cancelled && rng.below(2) == 0 => status::CANCELLED,
        status::CREATED..=status::DELIVERING => now + 1,
        ended => ended,
    };
    live.row[at::STATUS] = Value::Int(next);
    // The sound stops when the merchant has taken the order, or nobody wants it any more; some merchants mute it early.
    let mute = next > status::PAID || rng.below(20) == 0;
    live.row[at::PROMPT_FLAG] = Value::Int(i64::from(!mute));
    match rng.below(12) {
        0 => live.row[at::REMARK] = text::remark(rng).map_or(Value::Null, Value::Text),
        1 => live.row[at::ADDRESS] = text::address(rng).map_or(Value::Null, Value::Json),
        _ => {}
    }
}

/// The order and its items leave the database.
fn archive(live: Live) -> Vec<RowOp> {
    let delete = |table, row| RowOp { table, change: Change::Delete(row) };
    let mut ops: Vec<RowOp> = live.items.into_iter().map(|item| delete(Table::Items, item)).collect();
    debug_assert!(key_of(&live.row) > 0);
    ops.push(delete(Table::Orders, live.row));
    ops
}
