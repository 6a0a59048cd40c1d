//! How a MySQL server answers a replica client.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use towpath_engine::binlog::{Decoder, Event, EventType};
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::source::{BinlogStream, DumpRequest, EventBatch, RowsWanted, SourceError};
use towpath_engine::position::{FilePosition, Position};

use crate::lab::MySqlLab;

crate::bodies! { MySql:
    "mysql-same-bytes-twice" => same_bytes_twice,
    "mysql-gtid-hole-bytes-equal" => hole,
    "mysql-file-position-bytes-equal" => by_place,
    "mysql-dump-starts-with-artificial-rotate" => artificial_start,
    "mysql-description-mid-file-has-no-position" => description_mid_file,
    "mysql-heartbeat-tells-position" => heartbeat,
    "mysql-heartbeat-after-skipped" => heartbeat_after_skipped,
    "mysql-purged-1236" => purged,
    "mysql-ahead-refused" => ahead,
    "mysql-foreign-gtids-accepted" => foreign,
    "mysql-position-beyond-end-refused" => beyond_end,
    "mysql-position-inside-event-refused" => inside_event,
    "mysql-missing-file-refused" => missing_file,
    "mysql-read-transaction-equals-stream" => read_transaction,
    "mysql-read-transaction-needs-its-start" => read_inside,
    "mysql-rotation-in-stream" => rotation,
    "mysql-rows-split-near-8k" => split,
    "mysql-transaction-length-counts-checksums" => length,
    "mysql-full-metadata-names-columns" => names,
    "mysql-schemas-with-position" => schemas,
    "mysql-same-server-id-ends-older-dump" => same_server_id,
    "mysql-dump-beside-ends-no-other" => beside,
    "mysql-dump-of-another-server-refused" => another_server,
    "mysql-restart-keeps-history" => restart,
    "mysql-reused-gtids-invisible-to-arithmetic" => reused,
    "mysql-rows-read-with-proof" => rows_with_proof,
    "mysql-rows-of-no-table" => rows_of_no_table,
    "mysql-rows-by-unknown-column-refused" => rows_by_unknown_column,
    "mysql-a-lone-server-is-no-replica" => no_replica,
    "mysql-xa-rows-lie-at-prepare" => xa_rows,
    "mysql-xa-survives-restart" => xa_restart,
}

const ROTATE: u8 = 4;
const FORMAT_DESCRIPTION: u8 = 15;
const TABLE_MAP: u8 = 19;
const HEARTBEAT: u8 = 27;
const WRITE_ROWS: u8 = 30;
const GTID: u8 = 33;
pub(crate) const WAIT: Duration = Duration::from_secs(10);

static SERVER_ID: AtomicU32 = AtomicU32::new(70_001);

fn request(from: Position) -> DumpRequest {
    DumpRequest {
        from,
        server_id: SERVER_ID.fetch_add(1, Ordering::Relaxed),
        heartbeat: Duration::from_millis(500),
        read_deadline: WAIT,
        beside: false,
        semi_sync: false,
        server: None,
    }
}

async fn open(lab: &dyn MySqlLab, from: Position) -> Result<Box<dyn BinlogStream>> {
    Ok(lab.source().dump(request(from)).await?)
}

pub(crate) async fn executed(lab: &dyn MySqlLab) -> Result<GtidSet> {
    Ok(lab.source().identify().await?.gtid_executed)
}

pub(crate) async fn end(lab: &dyn MySqlLab) -> Result<FilePosition> {
    Ok(lab.source().identify().await?.end)
}

fn kind(event: &[u8]) -> u8 {
    event[4]
}

/// The end position that an event's header tells.
fn position(event: &[u8]) -> u32 {
    u32::from_le_bytes([event[13], event[14], event[15], event[16]])
}

fn size(event: &[u8]) -> usize {
    u32::from_le_bytes([event[9], event[10], event[11], event[12]]) as usize
}

/// The events up to the place, artificial ones included.
async fn events_until(stream: &mut dyn BinlogStream, end: &FilePosition) -> Result<Vec<Vec<u8>>> {
    let (mut out, mut file) = (Vec::new(), String::new());
    loop {
        let batch: EventBatch = stream.next().await?;
        for event in batch.events() {
            out.push(event.to_vec());
            if kind(event) == ROTATE {
                // Its own position is one of the file before.
                file = String::from_utf8_lossy(&event[27..]).into_owned();
                continue;
            }
            if file == end.file && u64::from(position(event)) >= end.position {
                return Ok(out);
            }
        }
    }
}

/// The transactions' bytes among the events.
pub(crate) fn transactions(events: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for event in events {
        match kind(event) {
            GTID => out.push(event.clone()),
            ROTATE | FORMAT_DESCRIPTION | HEARTBEAT | 35 | 3 => {}
            _ => out.last_mut().into_iter().for_each(|transaction| transaction.extend_from_slice(event)),
        }
    }
    out
}

/// What is executed from here on, as the suite's own transactions: the sets before and after, and the bytes.
struct Written {
    before: GtidSet,
    from: FilePosition,
    end: FilePosition,
}

/// Three transactions of one row.
async fn write_three(lab: &dyn MySqlLab) -> Result<Written> {
    let table = lab.table().await?;
    let (before, from) = (executed(lab).await?, end(lab).await?);
    for id in 0..3 {
        lab.insert(&table, id..id + 1, "text").await?;
    }
    Ok(Written { before, from, end: end(lab).await? })
}

pub(crate) async fn read_from(lab: &dyn MySqlLab, from: Position, end: &FilePosition) -> Result<Vec<Vec<u8>>> {
    events_until(open(lab, from).await?.as_mut(), end).await
}

/// What refuses the dump; some errors come with the first read.
async fn refusal(lab: &dyn MySqlLab, from: Position) -> Result<SourceError> {
    let mut stream = match lab.source().dump(request(from)).await {
        Ok(stream) => stream,
        Err(error) => return Ok(error),
    };
    for _ in 0..3 {
        if let Err(error) = stream.next().await {
            return Ok(error);
        }
    }
    bail!("the dump was accepted")
}

async fn same_bytes_twice(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let first = transactions(&read_from(lab, Position::Gtid(written.before.clone()), &written.end).await?);
    let second = transactions(&read_from(lab, Position::Gtid(written.before), &written.end).await?);
    ensure!(first.len() == 3 && first == second, "{} and {} transactions, or other bytes", first.len(), second.len());
    Ok(())
}

async fn hole(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let all = transactions(&read_from(lab, Position::Gtid(written.before.clone()), &written.end).await?);
    let number = u64::from_le_bytes(all[1][36..44].try_into()?);
    let uuid = lab.source().identify().await?.server_uuid;
    let second: GtidSet = format!("{uuid}:{number}").parse()?;
    let holed = read_from(lab, Position::Gtid(written.before.union(&second)), &written.end).await?;
    let holed = transactions(&holed);
    ensure!(
        holed.len() == 2 && holed[0] == all[0] && holed[1] == all[2],
        "{} transactions around the hole",
        holed.len()
    );
    Ok(())
}

async fn by_place(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let by_set = transactions(&read_from(lab, Position::Gtid(written.before), &written.end).await?);
    let by_place = transactions(&read_from(lab, Position::File(written.from), &written.end).await?);
    ensure!(by_set == by_place, "bytes by set and by place differ");
    Ok(())
}

async fn artificial_start(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let events = read_from(lab, Position::Gtid(written.before), &written.end).await?;
    ensure!(kind(&events[0]) == ROTATE, "the first event is of type {}", kind(&events[0]));
    let flags = u16::from_le_bytes([events[0][17], events[0][18]]);
    ensure!(flags & 0x20 != 0 && position(&events[0]) == 0, "flags {flags:#x}, position {}", position(&events[0]));
    ensure!(kind(&events[1]) == FORMAT_DESCRIPTION, "the second event is of type {}", kind(&events[1]));
    Ok(())
}

async fn description_mid_file(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let events = read_from(lab, Position::File(written.from.clone()), &written.end).await?;
    let named = u64::from_le_bytes(events[0][19..27].try_into()?);
    ensure!(named == written.from.position, "the artificial ROTATE names {named}, asked for {}", written.from);
    ensure!(kind(&events[1]) == FORMAT_DESCRIPTION && position(&events[1]) == 0, "{}", position(&events[1]));
    ensure!(kind(&events[2]) == GTID, "behind the description comes type {}", kind(&events[2]));
    Ok(())
}

async fn heartbeat(lab: &dyn MySqlLab) -> Result<()> {
    let end = end(lab).await?;
    let mut stream = open(lab, Position::File(end.clone())).await?;
    for _ in 0..20 {
        let batch = stream.next().await?;
        if let Some(event) = batch.events().find(|event| kind(event) == HEARTBEAT) {
            ensure!(u64::from(position(event)) == end.position, "{} instead of {end}", position(event));
            ensure!(event[19..] == *end.file.as_bytes(), "the heartbeat names {:?}", &event[19..]);
            return Ok(());
        }
    }
    bail!("no heartbeat")
}

async fn heartbeat_after_skipped(lab: &dyn MySqlLab) -> Result<()> {
    lab.rotate().await?;
    let table = lab.table().await?;
    lab.insert(&table, 0..1, "skipped").await?;
    let (before, from) = (executed(lab).await?, end(lab).await?);
    lab.insert(&table, 1..2, "sent").await?;
    let events = read_from(lab, Position::Gtid(before), &end(lab).await?).await?;
    let first = events.iter().position(|event| kind(event) == GTID).context("no transaction")?;
    let told = &events[first - 1];
    ensure!(kind(told) == HEARTBEAT, "before the first transaction comes type {}", kind(told));
    ensure!(u64::from(position(told)) == from.position, "the heartbeat tells {}, not {from}", position(told));
    Ok(())
}

async fn purged(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    lab.rotate().await?;
    lab.purge().await?;
    let identity = lab.source().identify().await?;
    ensure!(!identity.gtid_purged.is_subset(&written.before), "nothing was purged");
    let error = refusal(lab, Position::Gtid(written.before)).await?;
    ensure!(matches!(error, SourceError::Purged(_)), "{error:?}");
    let error = refusal(lab, Position::File(written.from)).await?;
    ensure!(matches!(error, SourceError::Purged(_)), "by place: {error:?}");
    Ok(())
}

async fn ahead(lab: &dyn MySqlLab) -> Result<()> {
    let identity = lab.source().identify().await?;
    let more: GtidSet = format!("{}:1-900000000", identity.server_uuid).parse()?;
    let error = refusal(lab, Position::Gtid(identity.gtid_executed.union(&more))).await?;
    ensure!(matches!(error, SourceError::Ahead(_)), "{error:?}");
    Ok(())
}

async fn foreign(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let foreign: GtidSet = "11111111-2222-11f1-a7b6-333333333333:1-5".parse()?;
    let events = read_from(lab, Position::Gtid(written.before.union(&foreign)), &written.end).await?;
    ensure!(transactions(&events).len() == 3, "{} transactions", transactions(&events).len());
    Ok(())
}

async fn beyond_end(lab: &dyn MySqlLab) -> Result<()> {
    let end = end(lab).await?;
    let error = refusal(lab, Position::File(FilePosition::new(end.file, end.position + 1000))).await?;
    ensure!(matches!(error, SourceError::Ahead(_)), "{error:?}");
    Ok(())
}

async fn inside_event(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let inside = FilePosition::new(written.from.file, written.from.position + 7);
    let error = refusal(lab, Position::File(inside)).await?;
    ensure!(matches!(error, SourceError::NoEvent(_)), "{error:?}");
    Ok(())
}

async fn missing_file(lab: &dyn MySqlLab) -> Result<()> {
    let error = refusal(lab, Position::File(FilePosition::new("binlog.900000", 4))).await?;
    ensure!(matches!(error, SourceError::Ahead(_)), "a file not yet written: {error:?}");
    let error = refusal(lab, Position::File(FilePosition::new("never-a-file", 4))).await?;
    ensure!(matches!(error, SourceError::NoEvent(_)), "never a file: {error:?}");
    Ok(())
}

async fn read_transaction(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let streamed = transactions(&read_from(lab, Position::Gtid(written.before), &written.end).await?);
    let read = lab.source().read_transaction(&written.from).await?;
    ensure!(read.events.bytes == streamed[0], "{} bytes, streamed {}", read.events.bytes.len(), streamed[0].len());
    Ok(())
}

async fn read_inside(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let events = read_from(lab, Position::File(written.from.clone()), &written.end).await?;
    let begin = events.iter().find(|event| kind(event) == GTID).context("no transaction")?;
    for position in [u64::from(position(begin)), written.from.position + 3] {
        let at = FilePosition::new(written.from.file.clone(), position);
        let error = lab.source().read_transaction(&at).await.err();
        ensure!(matches!(error, Some(SourceError::NoEvent(_))), "at {at}: {error:?}");
    }
    Ok(())
}

async fn rotation(lab: &dyn MySqlLab) -> Result<()> {
    let table = lab.table().await?;
    let from = end(lab).await?;
    lab.insert(&table, 0..1, "before").await?;
    lab.rotate().await?;
    lab.insert(&table, 1..2, "after").await?;
    let end = end(lab).await?;
    let events = read_from(lab, Position::File(from), &end).await?;
    let kinds: Vec<u8> = events.iter().map(|event| kind(event)).skip_while(|kind| *kind != GTID).collect();
    let rotate = kinds.iter().position(|kind| *kind == ROTATE).context("no ROTATE")?;
    ensure!(kinds[rotate..rotate + 4] == [ROTATE, ROTATE, FORMAT_DESCRIPTION, 35], "{:?}", &kinds[rotate..]);
    ensure!(transactions(&events).len() == 2, "{} transactions", transactions(&events).len());
    Ok(())
}

/// Each transaction after its GTID, in words: statements as they are, other events by their type.
fn in_words(events: &[Vec<u8>]) -> Result<Vec<Vec<String>>> {
    let mut decoder = Decoder::new(|_, _| false);
    let mut out: Vec<Vec<String>> = Vec::new();
    for event in events {
        match decoder.decode(event).map_err(|stop| anyhow::anyhow!(stop))? {
            Event::Gtid(_) => out.push(Vec::new()),
            Event::Query(query) => out.last_mut().into_iter().for_each(|words| words.push(query.sql.to_string())),
            Event::FormatDescription(_) | Event::Rotate { .. } | Event::PreviousGtids(_) => {}
            Event::Heartbeat { .. } | Event::Stop => {}
            _ => {
                let name = EventType(kind(event)).to_string();
                out.last_mut().into_iter().for_each(|words| words.push(name.clone()));
            }
        }
    }
    Ok(out)
}

fn xa_group(xid: &str) -> Vec<String> {
    let statement = |word: &str| format!("XA {word} {xid}");
    [statement("START"), "Table_map".into(), "Write_rows".into(), statement("END"), "XA_prepare".into()].to_vec()
}

async fn xa_rows(lab: &dyn MySqlLab) -> Result<()> {
    let table = lab.table().await?;
    let from = end(lab).await?;
    lab.xa_prepare("one", &table, 1).await?;
    lab.xa_prepare("two", &table, 2).await?;
    lab.insert(&table, 3..4, "between").await?;
    lab.xa_finish("two", false).await?;
    lab.xa_finish("one", true).await?;
    let words = in_words(&read_from(lab, Position::File(from), &end(lab).await?).await?)?;
    let (one, two) = ("X'6f6e65',X'',1", "X'74776f',X'',1");
    ensure!(words.len() == 5, "{words:?}");
    ensure!(words[..2] == [xa_group(one), xa_group(two)], "{words:?}");
    ensure!(words[3..] == [[format!("XA ROLLBACK {two}")], [format!("XA COMMIT {one}")]], "{words:?}");
    Ok(())
}

async fn xa_restart(lab: &dyn MySqlLab) -> Result<()> {
    let table = lab.table().await?;
    lab.xa_prepare("kept", &table, 1).await?;
    lab.stop().await?;
    lab.start().await?;
    let from = end(lab).await?;
    lab.xa_finish("kept", true).await?;
    let words = in_words(&read_from(lab, Position::File(from), &end(lab).await?).await?)?;
    ensure!(words == [["XA COMMIT X'6b657074',X'',1"]], "{words:?}");
    Ok(())
}

async fn split(lab: &dyn MySqlLab) -> Result<()> {
    let table = lab.table().await?;
    let from = end(lab).await?;
    lab.insert(&table, 0..50, &"x".repeat(400)).await?;
    let events = read_from(lab, Position::File(from), &end(lab).await?).await?;
    let rows: Vec<&Vec<u8>> = events.iter().filter(|event| kind(event) == WRITE_ROWS).collect();
    ensure!(rows.len() == 3, "{} events", rows.len());
    ensure!(
        rows.iter().all(|event| size(event) <= 8192 + 64),
        "sizes {:?}",
        rows.iter().map(|e| size(e)).collect::<Vec<_>>()
    );
    let ends: Vec<bool> = rows.iter().map(|event| event[25] & 1 != 0).collect();
    ensure!(ends == [false, false, true], "ends of statement: {ends:?}");
    ensure!(events.iter().filter(|event| kind(event) == TABLE_MAP).count() == 1, "not one TABLE_MAP");
    Ok(())
}

async fn length(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let read = lab.source().read_transaction(&written.from).await?;
    let events: Vec<&[u8]> = read.events.events().collect();
    let sum: usize = events.iter().map(|event| size(event)).sum();
    ensure!(read.events.checksummed, "the server writes no checksums");
    // Behind type, flags, uuid, number, clock and seven bytes of time: a length of one byte, or 0xfc and two.
    let told = match &events[0][68..71] {
        [0xfc, low, high] => u16::from_le_bytes([*low, *high]) as usize,
        [one, ..] => usize::from(*one),
        [] => bail!("no length"),
    };
    ensure!(told == sum, "the GTID event tells {told}, the events take {sum}");
    Ok(())
}

async fn names(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let read = lab.source().read_transaction(&written.from).await?;
    let map = read.events.events().find(|event| kind(event) == TABLE_MAP).context("no TABLE_MAP")?;
    let wanted = b"\x04\x08\x02id\x04text";
    ensure!(map.windows(wanted.len()).any(|part| part == wanted), "no names in {map:?}");
    Ok(())
}

async fn schemas(lab: &dyn MySqlLab) -> Result<()> {
    let table = lab.table().await?;
    let snapshot = lab.source().table_schemas(&|_, name| name == table).await?;
    ensure!(snapshot.tables.len() == 1, "{} tables", snapshot.tables.len());
    let found = &snapshot.tables[0];
    let names: Vec<&str> = found.columns.iter().map(|column| column.name.as_str()).collect();
    ensure!(names == ["id", "text"] && found.primary_key == [0], "{found:?}");
    let (Position::Gtid(before), Position::Gtid(after)) = (&snapshot.before, &snapshot.after) else {
        bail!("positions without sets: {:?}", snapshot.before)
    };
    ensure!(before.is_subset(after) && after.is_subset(&executed(lab).await?), "{before} to {after}");
    Ok(())
}

async fn rows_with_proof(lab: &dyn MySqlLab) -> Result<()> {
    let table = lab.table().await?;
    lab.insert(&table, 1..4, "é").await?;
    let before = executed(lab).await?;
    let (columns, keys) = (["id".to_owned()], ["1", "3", "9"].map(|id| vec![id.to_owned()]));
    let wanted = RowsWanted { database: "lab", table: &table, columns: &columns, keys: &keys };
    let mut read = lab.source().read_rows(wanted).await?;
    read.rows.sort();
    let row = |id: i32| vec![Some(id.to_le_bytes().to_vec()), Some("é".as_bytes().to_vec())];
    ensure!(read.rows == [row(1), row(3)], "{:?}", read.rows);
    let defined = read.table.context("no definition")?;
    ensure!(defined.table == table && defined.primary_key == [0] && defined.columns.len() == 2, "{defined:?}");
    ensure!(read.server_uuid == lab.source().identify().await?.server_uuid, "{}", read.server_uuid);
    ensure!(before.is_subset(&read.includes), "{before} is not in {}", read.includes);
    ensure!(read.includes.is_subset(&read.may_show), "{} is not in {}", read.includes, read.may_show);
    ensure!(read.may_show.is_subset(&executed(lab).await?), "{} is more than there is", read.may_show);
    Ok(())
}

async fn rows_of_no_table(lab: &dyn MySqlLab) -> Result<()> {
    lab.table().await?;
    let (columns, keys) = (["id".to_owned()], [vec!["1".to_owned()]]);
    let wanted = RowsWanted { database: "lab", table: "nobody_made_it", columns: &columns, keys: &keys };
    let read = lab.source().read_rows(wanted).await?;
    ensure!(read.table.is_none() && read.rows.is_empty(), "{read:?}");
    ensure!(executed(lab).await?.is_subset(&read.may_show), "{read:?}");
    Ok(())
}

async fn rows_by_unknown_column(lab: &dyn MySqlLab) -> Result<()> {
    let table = lab.table().await?;
    let (columns, keys) = (["nope".to_owned()], [vec!["1".to_owned()]]);
    let wanted = RowsWanted { database: "lab", table: &table, columns: &columns, keys: &keys };
    match lab.source().read_rows(wanted).await {
        Err(SourceError::Refused(why)) => ensure!(why.contains("nope"), "{why}"),
        other => bail!("{other:?}"),
    }
    Ok(())
}

async fn no_replica(lab: &dyn MySqlLab) -> Result<()> {
    let server = lab.source().identify().await?;
    ensure!(server.replica.is_none() && !server.read_only, "{server:?}");
    Ok(())
}

async fn same_server_id(lab: &dyn MySqlLab) -> Result<()> {
    let end = end(lab).await?;
    let shared = request(Position::File(end));
    let mut first = lab.source().dump(shared.clone()).await?;
    first.next().await?;
    let mut second = lab.source().dump(shared).await?;
    second.next().await?;
    for _ in 0..20 {
        match first.next().await {
            Ok(_) => {}
            Err(SourceError::Refused(_) | SourceError::Unavailable(_)) => {
                second.next().await?;
                return Ok(());
            }
            Err(other) => bail!("{other:?}"),
        }
    }
    bail!("both dumps go on")
}

async fn beside(lab: &dyn MySqlLab) -> Result<()> {
    let shared = request(Position::File(end(lab).await?));
    let mut first = lab.source().dump(shared.clone()).await?;
    first.next().await?;
    let mut second = lab.source().dump(DumpRequest { beside: true, ..shared }).await?;
    second.next().await?;
    write_three(lab).await?;
    for stream in [&mut first, &mut second] {
        // Both go on: each shows rows that were written with both open.
        while !stream.next().await?.events().any(|event| event[4] == WRITE_ROWS) {}
    }
    Ok(())
}

async fn another_server(lab: &dyn MySqlLab) -> Result<()> {
    let from = Position::File(end(lab).await?);
    let mine = lab.source().identify().await?.server_uuid;
    let server = Some("ffffffff-0000-11f1-8000-000000000009".to_owned());
    match lab.source().dump(DumpRequest { server, ..request(from.clone()) }).await {
        Err(SourceError::OtherServer(said)) => ensure!(said.contains(&mine), "{said} does not name {mine}"),
        Err(other) => bail!("{other:?}"),
        Ok(_) => bail!("a server sends what was asked of another one"),
    }
    lab.source().dump(DumpRequest { server: Some(mine), ..request(from) }).await?.next().await?;
    Ok(())
}

async fn restart(lab: &dyn MySqlLab) -> Result<()> {
    let written = write_three(lab).await?;
    let (identity, bytes) =
        (lab.source().identify().await?, lab.source().read_transaction(&written.from).await?.events.bytes);
    let mut stream = open(lab, Position::Gtid(written.before.clone())).await?;
    lab.stop().await?;
    let error = loop {
        if let Err(error) = stream.next().await {
            break error;
        }
    };
    ensure!(matches!(error, SourceError::Unavailable(_)), "the stream ends with {error:?}");
    let error = lab.source().identify().await.err();
    ensure!(matches!(error, Some(SourceError::Unavailable(_))), "a stopped server: {error:?}");
    lab.start().await?;
    let again = lab.source().identify().await?;
    ensure!(again.server_uuid == identity.server_uuid && again.gtid_executed == identity.gtid_executed, "{again:?}");
    ensure!(again.end.file_number() > identity.end.file_number(), "no new file: {}", again.end);
    ensure!(again.uptime_s < 60, "up for {} s", again.uptime_s);
    ensure!(lab.source().read_transaction(&written.from).await?.events.bytes == bytes, "other bytes after the restart");
    Ok(())
}

async fn reused(lab: &dyn MySqlLab) -> Result<()> {
    lab.reset().await?;
    let written = write_three(lab).await?;
    let carried = executed(lab).await?;
    let witness = lab.source().read_transaction(&written.from).await?.events.bytes;
    lab.reset().await?;
    let table = lab.table().await?;
    for id in 0..8 {
        lab.insert(&table, id..id + 1, "another history").await?;
    }
    let now = executed(lab).await?;
    ensure!(carried.subtract(&now).is_empty(), "arithmetic sees the loss: {carried} and {now}");
    open(lab, Position::Gtid(carried)).await?.next().await?;
    let again = lab.source().read_transaction(&written.from).await;
    ensure!(again.as_ref().map(|read| read.events.bytes != witness).unwrap_or(true), "the witness holds");
    Ok(())
}
