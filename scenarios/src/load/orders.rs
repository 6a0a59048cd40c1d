//! Orders through their life, one transaction a business step, each with the moment at which it is meant to happen.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::iter::Peekable;
use towpath_engine::env::Rng;

use super::{Arrivals, Zipf};
use crate::workload::{Change, Row, RowOp, Table, Transaction, Value, order_columns as at, status, text};

/// A step of an order's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// It comes, with its items; the device rings.
    Created,
    /// It is paid; the device still rings.
    Paid,
    /// The merchant takes it; the sound ends at the latest here.
    Accepted,
    /// Items are packed, and quantities and the amount corrected.
    Picked,
    /// It is on its way.
    Delivering,
    /// It has arrived.
    Done,
    /// It was called off.
    Cancelled,
    /// It leaves the hot database for the cold one.
    Archived,
}

impl StepKind {
    /// Whether the device no longer rings after it.
    pub fn silences(self) -> bool {
        !matches!(self, Self::Created | Self::Paid)
    }
}

/// One planned transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Microseconds from the start.
    pub at_us: u64,
    /// The order.
    pub order: i64,
    /// Its merchant.
    pub merchant: u32,
    /// What happens.
    pub kind: StepKind,
    /// The same as row changes.
    pub transaction: Transaction,
}

#[derive(Debug, Clone)]
struct Order {
    row: Row,
    items: Vec<Row>,
    merchant: u32,
    /// Steps to go, the last first.
    steps: Vec<StepKind>,
}

/// The steps of all orders in the order of their moments, until the length is over.
#[derive(Debug, Clone)]
pub struct OrderPlan {
    rng: Rng,
    arrivals: Peekable<Arrivals>,
    merchants: Zipf,
    due: BinaryHeap<Reverse<(u64, i64)>>,
    orders: BTreeMap<i64, Order>,
    first: i64,
    next: i64,
    accept_us: u64,
    step_us: u64,
    length_us: u64,
}

/// The wall-clock moment that stands for the start in rows, milliseconds since the epoch.
const START_MS: i64 = 1_767_225_600_000;
/// The most items of an order; an item's number is made of its order's.
const ITEMS: u64 = 3;

impl OrderPlan {
    /// `accept_us`: an order is accepted or cancelled once to two and a half times this after it came; `step_us`: the
    /// mean time of the later steps. Orders are numbered from `first`.
    pub fn new(
        arrivals: Arrivals,
        merchants: Zipf,
        (accept_us, step_us): (u64, u64),
        first: i64,
        length_us: u64,
        seed: u64,
    ) -> Self {
        Self {
            rng: Rng::new(seed),
            arrivals: arrivals.peekable(),
            merchants,
            due: BinaryHeap::new(),
            orders: BTreeMap::new(),
            first,
            next: first,
            accept_us: accept_us.max(2),
            step_us: step_us.max(2),
            length_us,
        }
    }

    fn arrive(&mut self, at_us: u64) -> Write {
        let order = self.next;
        self.next += 1;
        let merchant = self.merchants.draw(&mut self.rng);
        let rng = &mut self.rng;
        let items: Vec<Row> = (0..1 + rng.below(ITEMS)).map(|place| item(rng, order, place)).collect();
        let row = vec![
            Value::Int(order),
            Value::Int(i64::from(merchant)),
            // Every merchant has up to four shops.
            Value::Int(i64::from(merchant) * 4 + rng.below(4) as i64),
            Value::Int(rng.below(5_000_000) as i64),
            Value::Int(status::CREATED),
            Value::Int(rng.below(6) as i64),
            Value::Cents(total(&items)),
            text::remark(rng).map_or(Value::Null, Value::Text),
            text::address(rng).map_or(Value::Null, Value::Json),
            Value::Int(1),
            Value::DateTime(START_MS + (at_us / 1000) as i64),
            Value::Timestamp(START_MS + (at_us / 1000) as i64),
        ];
        let mut steps = match rng.below(12) {
            0 => vec![StepKind::Cancelled],
            _ => vec![StepKind::Done, StepKind::Delivering, StepKind::Picked, StepKind::Accepted],
        };
        if rng.below(4) == 0 {
            steps.insert(0, StepKind::Archived);
        }
        let paid = rng.below(3) > 0;
        // Paid at once, so that it is paid before it is accepted.
        let first = if paid { rng.below(self.accept_us / 2) } else { self.accept_us + rng.below(self.accept_us) };
        if paid {
            steps.push(StepKind::Paid);
        }
        self.due.push(Reverse((at_us + first, order)));
        let inserts = std::iter::once((Table::Orders, row.clone()))
            .chain(items.iter().map(|item| (Table::Items, item.clone())))
            .map(|(table, row)| RowOp { table, change: Change::Insert(row) });
        let transaction = Transaction { ops: inserts.collect() };
        self.orders.insert(order, Order { row, items, merchant, steps });
        Write { at_us, order, merchant, kind: StepKind::Created, transaction }
    }

    fn step(&mut self, at_us: u64, number: i64) -> Option<Write> {
        let mut order = self.orders.remove(&number)?;
        let kind = order.steps.pop()?;
        let mut ops = Vec::new();
        let merchant = order.merchant;
        if kind == StepKind::Archived {
            let gone = |table, row| RowOp { table, change: Change::Delete(row) };
            ops.extend(order.items.drain(..).map(|item| gone(Table::Items, item)));
            ops.push(gone(Table::Orders, order.row.clone()));
        } else {
            let before = order.row.clone();
            order.row[at::STATUS] = Value::Int(match kind {
                StepKind::Paid => status::PAID,
                StepKind::Accepted | StepKind::Picked => status::ACCEPTED,
                StepKind::Delivering => status::DELIVERING,
                StepKind::Done => status::DONE,
                _ => status::CANCELLED,
            });
            if kind == StepKind::Picked
                && let Some(item) = order.items.first_mut()
            {
                let before = item.clone();
                item[4] = Value::Int(1 + self.rng.below(6) as i64);
                if *item != before {
                    ops.push(RowOp { table: Table::Items, change: Change::Update { before, after: item.clone() } });
                }
                order.row[at::AMOUNT] = Value::Cents(total(&order.items));
            }
            if kind.silences() {
                order.row[at::PROMPT_FLAG] = Value::Int(0);
            }
            order.row[at::UPDATED_AT] = Value::Timestamp(START_MS + (at_us / 1000) as i64);
            ops.push(RowOp { table: Table::Orders, change: Change::Update { before, after: order.row.clone() } });
            let wait = match kind {
                StepKind::Paid => self.accept_us + self.rng.below(self.accept_us),
                _ => self.step_us / 2 + self.rng.below(self.step_us),
            };
            if !order.steps.is_empty() {
                self.due.push(Reverse((at_us + wait, number)));
                self.orders.insert(number, order);
            }
        }
        Some(Write { at_us, order: number, merchant, kind, transaction: Transaction { ops } })
    }

    /// How many orders came so far.
    pub fn arrived(&self) -> u64 {
        (self.next - self.first) as u64
    }
}

impl Iterator for OrderPlan {
    type Item = Write;

    fn next(&mut self) -> Option<Write> {
        loop {
            let step = self.due.peek().map(|Reverse((at, _))| *at).filter(|at| *at < self.length_us);
            let arrival = self.arrivals.peek().copied();
            match (step, arrival) {
                (Some(step), arrival) if arrival.is_none_or(|arrival| step <= arrival) => {
                    let Reverse((at, number)) = self.due.pop()?;
                    if let Some(write) = self.step(at, number) {
                        return Some(write);
                    }
                }
                (_, Some(_)) => {
                    let at = self.arrivals.next()?;
                    return Some(self.arrive(at));
                }
                _ => return None,
            }
        }
    }
}

fn item(rng: &mut Rng, order: i64, place: u64) -> Row {
    vec![
        Value::Int(order * (ITEMS as i64 + 1) + place as i64),
        Value::Int(order),
        Value::Int(1_000 + rng.below(50_000) as i64),
        Value::Text(text::goods(rng)),
        Value::Int(1 + rng.below(4) as i64),
        Value::Cents(50 + rng.below(30_000) as i64),
    ]
}

fn total(items: &[Row]) -> i64 {
    let worth = |item: &Row| match (item.get(4), item.get(5)) {
        (Some(Value::Int(quantity)), Some(Value::Cents(price))) => quantity * price,
        _ => 0,
    };
    items.iter().map(worth).sum()
}
