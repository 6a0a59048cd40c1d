//! `BinlogSource` on MySQL and MariaDB.

use std::time::Duration;

use towpath_connectors::{MySqlSource, Secret, SourceConfig, TlsMode};
use towpath_engine::gtid::GtidSet;
use towpath_engine::ports::source::{
    BinlogSource, BinlogStream, DumpRequest, EventBatch, Flavor, ServerIdentity, SourceError,
};
use towpath_engine::position::{FilePosition, Position};
use towpath_engine::schema::{ColumnType, TableSchema};
use towpath_stack::{Mysql, Stack};

use crate::services::{QUIET, run, soon, sql, stack, unique};

const ROTATE: u8 = 4;
const FORMAT_DESCRIPTION: u8 = 15;
const XID: u8 = 16;
const WRITE_ROWS: u8 = 30;
const MARIADB_WRITE_ROWS_V1: u8 = 23;
const HEARTBEATS: [u8; 2] = [27, 41];
const TRANSACTION_PAYLOAD: u8 = 40;

fn config(server: Mysql<'_>) -> SourceConfig {
    SourceConfig::from_url(&server.url()).unwrap()
}

fn source(server: Mysql<'_>) -> MySqlSource {
    MySqlSource::new(config(server)).unwrap()
}

fn both(stack: &Stack) -> [Mysql<'_>; 2] {
    [stack.mysql().unwrap(), stack.mariadb().unwrap()]
}

/// The place from which everything that follows will be read.
fn now(identity: &ServerIdentity) -> Position {
    match identity.flavor {
        Flavor::MySql => Position::Gtid(identity.gtid_executed.clone()),
        Flavor::MariaDb => Position::MariaDb(identity.mariadb_position.clone()),
    }
}

fn request(from: Position) -> DumpRequest {
    static IDS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(500_000);
    DumpRequest {
        from,
        server_id: IDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        heartbeat: Duration::from_secs(1),
        read_deadline: Duration::from_secs(10),
        beside: false,
        semi_sync: false,
        server: None,
    }
}

/// An event's type, size by its header, and position behind it.
fn header(event: &[u8]) -> (u8, usize, u64) {
    let number = |at: usize| u32::from_le_bytes(event[at..at + 4].try_into().unwrap());
    (event[4], number(9) as usize, u64::from(number(13)))
}

/// Reads until `until` says that an event is the last wanted; returns the batches.
async fn read(stream: &mut Box<dyn BinlogStream>, until: impl Fn(&[u8]) -> bool) -> Vec<EventBatch> {
    let mut batches = Vec::new();
    loop {
        let batch = soon("an event", stream.next()).await.unwrap();
        let last = batch.events().any(&until);
        batches.push(batch);
        if last {
            return batches;
        }
    }
}

/// An event that holds this text: other tests write to the same log.
fn holds(text: &str) -> impl Fn(&[u8]) -> bool {
    let text = text.as_bytes().to_vec();
    move |event| event.windows(text.len()).any(|part| part == text)
}

/// Waits until the stream ends with an error.
async fn ends(stream: &mut Box<dyn BinlogStream>) -> SourceError {
    soon("the end of the stream", async {
        loop {
            if let Err(err) = stream.next().await {
                return err;
            }
        }
    })
    .await
}

#[test]
fn servers_are_known_by_what_they_say() {
    run(async {
        let stack = stack().await;
        for server in both(&stack) {
            let identity = source(server).identify().await.unwrap();
            let mysql = server.port() == stack.mysql().unwrap().port();
            assert_eq!(identity.flavor == Flavor::MySql, mysql, "{identity:?}");
            assert!(identity.log_bin && identity.gtid_mode && !identity.read_only);
            assert_eq!((identity.binlog_format.as_str(), identity.row_image.as_str()), ("ROW", "FULL"));
            assert!(["FULL", "MINIMAL", "NO_LOG"].contains(&identity.row_metadata.as_str()), "{identity:?}");
            assert!(identity.oldest.position == 4 && identity.end.position > 4);
            assert!(identity.oldest.file_number() <= identity.end.file_number());
            assert!(identity.grants.iter().any(|grant| grant.contains("REPLICATION SLAVE")), "{:?}", identity.grants);
            assert!(identity.server_id > 0);
            if mysql {
                assert_eq!(identity.server_uuid.len(), 36);
            } else {
                assert!(identity.server_uuid.starts_with(&format!("mariadb-{}-", identity.server_id)));
            }
        }
    });
}

/// The bytes handed up are those of the server's own file, without checksums, whatever way they were asked for.
#[test]
fn events_are_the_bytes_of_the_binlog() {
    run(async {
        let _quiet = QUIET.read().await;
        let stack = stack().await;
        for server in both(&stack) {
            let database = unique("bytes");
            sql(
                server,
                &format!("CREATE DATABASE {database};\nCREATE TABLE {database}.t (id INT PRIMARY KEY, a TEXT);"),
            )
            .await;
            let source = source(server);
            let before = source.identify().await.unwrap();
            sql(
                server,
                &format!(
                    "INSERT INTO {database}.t VALUES (1, 'one'), (2, REPEAT('x', 30000));\n\
                     UPDATE {database}.t SET a = 'end of {database}' WHERE id = 2;"
                ),
            )
            .await;
            for from in [now(&before), Position::File(before.end.clone())] {
                let mut stream = source.dump(request(from.clone())).await.unwrap();
                let batches = read(&mut stream, holds(&format!("end of {database}"))).await;
                let own = check_against_file(server, &before.end.file, &batches);
                assert!(own.contains(&WRITE_ROWS) || own.contains(&MARIADB_WRITE_ROWS_V1), "{from:?}: {own:?}");
                assert!(batches[0].events().next().is_some_and(|event| event[4] == ROTATE));
                assert!(batches.iter().flat_map(EventBatch::events).any(|event| event[4] == FORMAT_DESCRIPTION));
            }
        }
    });
}

/// Compares every event that lies in the file with the file; returns their types.
fn check_against_file(server: Mysql<'_>, name: &str, batches: &[EventBatch]) -> Vec<u8> {
    let file = std::fs::read(server.data_folder().join(name)).unwrap();
    let mut types = Vec::new();
    for batch in batches {
        for event in batch.events() {
            let (kind, size, end) = header(event);
            let artificial = event[17] & 0x20 != 0 || end == 0;
            if matches!(kind, ROTATE | FORMAT_DESCRIPTION) || HEARTBEATS.contains(&kind) || artificial {
                continue;
            }
            let cut = if batch.checksummed { 4 } else { 0 };
            assert_eq!(event.len() + cut, size, "type {kind}");
            let end = end as usize;
            assert!(event == &file[end - size..end - cut], "type {kind} at {end} differs from the file");
            types.push(kind);
        }
    }
    types
}

/// A database of its own with a table `t` of a key and a LONGBLOB.
async fn blobs(server: Mysql<'_>, name: &str) -> String {
    let database = unique(name);
    sql(server, &format!("CREATE DATABASE {database};\nCREATE TABLE {database}.t (id INT PRIMARY KEY, a LONGBLOB);"))
        .await;
    database
}

#[test]
fn large_transactions_arrive_in_portions_and_in_order() {
    run(async {
        let _quiet = QUIET.read().await;
        let stack = stack().await;
        let server = stack.mysql().unwrap();
        let database = blobs(server, "large").await;
        let source = source(server);
        let from = now(&source.identify().await.unwrap());
        // One row exceeds a packet of 16 MB; the many small ones share batches.
        let rows = (1..500).map(|id| format!("({id}, REPEAT('y', 9000))")).collect::<Vec<_>>().join(",");
        sql(
            server,
            &format!(
                "INSERT INTO {database}.t VALUES {rows};\n\
                 INSERT INTO {database}.t VALUES (0, CONCAT(REPEAT('x', 20000000), 'end of {database}'));"
            ),
        )
        .await;
        let mut stream = source.dump(request(from)).await.unwrap();
        let last = format!("end of {database}");
        let batches = read(&mut stream, |event| event.ends_with(last.as_bytes())).await;
        let events: usize = batches.iter().map(|batch| batch.ends.len()).sum();
        let largest = batches.iter().flat_map(EventBatch::events).map(<[u8]>::len).max().unwrap();
        for batch in &batches {
            assert!(batch.bytes.len() < (22 << 20), "a batch holds {} bytes", batch.bytes.len());
        }
        assert!(largest > 20_000_000, "the large row has {largest} bytes");
        assert!(batches.len() < events / 4, "{events} events came in {} batches", batches.len());
    });
}

/// A packet holds at most 2^24 - 1 bytes; one that is full is followed by another, which may be empty.
#[test]
fn events_that_just_fill_a_packet_arrive_whole() {
    run(async {
        let _quiet = QUIET.read().await;
        let stack = stack().await;
        let server = stack.mysql().unwrap();
        let database = blobs(server, "packets").await;
        let source = source(server);
        let from = now(&source.identify().await.unwrap());
        let mark = format!("mark of {database}");
        let insert = |id: i32, length: usize| {
            let values = format!("({id}, CONCAT(REPEAT('x', {}), '{mark}'))", length - mark.len());
            format!("INSERT INTO {database}.t VALUES {values};")
        };
        let wanted = |event: &[u8]| event.ends_with(mark.as_bytes());
        sql(server, &insert(0, 1000)).await;
        let mut stream = source.dump(request(from)).await.unwrap();
        let batches = read(&mut stream, wanted).await;
        let small = batches.iter().flat_map(EventBatch::events).find(|event| event.ends_with(mark.as_bytes())).unwrap();
        let around = small.len() - 1000;
        // Before the event a byte of status, behind it a checksum.
        let full = (1 << 24) - 1 - 1 - 4;
        for (id, size) in [(1, full - 1), (2, full), (3, full + 1), (4, 2 * full + 5)] {
            sql(server, &insert(id, size - around)).await;
            let batches = read(&mut stream, wanted).await;
            let event =
                batches.iter().flat_map(EventBatch::events).find(|event| event.ends_with(mark.as_bytes())).unwrap();
            assert_eq!((event.len(), header(event).1), (size, size + 4));
            let filler = &event[around..size - mark.len()];
            assert!(filler.iter().all(|byte| *byte == b'x'), "bytes were lost or moved in event {id}");
        }
    });
}

#[test]
fn a_compressed_payload_is_one_event() {
    run(async {
        let _quiet = QUIET.read().await;
        let stack = stack().await;
        let server = stack.mysql().unwrap();
        let database = unique("packed");
        sql(server, &format!("CREATE DATABASE {database};\nCREATE TABLE {database}.t (id INT PRIMARY KEY, a TEXT);"))
            .await;
        let source = source(server);
        let before = source.identify().await.unwrap();
        sql(
            server,
            &format!(
                "SET SESSION binlog_transaction_compression = ON;\n\
                 INSERT INTO {database}.t VALUES (1, REPEAT('x', 5000));\n\
                 SET SESSION binlog_transaction_compression = OFF;\n\
                 INSERT INTO {database}.t VALUES (2, 'end of {database}');"
            ),
        )
        .await;
        let mut stream = source.dump(request(now(&before))).await.unwrap();
        let batches = read(&mut stream, holds(&format!("end of {database}"))).await;
        // What the library unpacks from the payload lies nowhere in the file.
        let types = check_against_file(server, &before.end.file, &batches);
        assert_eq!(types.iter().filter(|kind| **kind == TRANSACTION_PAYLOAD).count(), 1);
    });
}

#[test]
fn heartbeats_break_the_silence_and_silence_breaks_the_stream() {
    run(async {
        let _quiet = QUIET.read().await;
        let stack = stack().await;
        for server in both(&stack) {
            let source = source(server);
            let from = Position::File(source.identify().await.unwrap().end);
            let beating = DumpRequest { heartbeat: Duration::from_millis(200), ..request(from.clone()) };
            let mut stream = source.dump(beating).await.unwrap();
            read(&mut stream, |event| HEARTBEATS.contains(&event[4])).await;
            let silent = DumpRequest {
                heartbeat: Duration::from_secs(60),
                read_deadline: Duration::from_millis(300),
                ..request(from)
            };
            let mut stream = source.dump(silent).await.unwrap();
            let begun = std::time::Instant::now();
            assert!(matches!(ends(&mut stream).await, SourceError::Unavailable(text) if text.contains("no heartbeat")));
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
    });
}

#[test]
fn a_second_replica_of_the_same_id_ends_the_first() {
    run(async {
        let stack = stack().await;
        let source = source(stack.mysql().unwrap());
        let request = request(now(&source.identify().await.unwrap()));
        let mut first = source.dump(request.clone()).await.unwrap();
        let _second = source.dump(request).await.unwrap();
        let err = ends(&mut first).await;
        assert!(matches!(&err, SourceError::Refused(text) if text.contains("server_id")), "{err}");
    });
}

#[test]
fn places_outside_the_log_have_their_names() {
    run(async {
        let _quiet = QUIET.write().await;
        let stack = stack().await;
        for server in both(&stack) {
            let source = source(server);
            let old = source.identify().await.unwrap();
            let database = unique("places");
            sql(
                server,
                &format!(
                    "CREATE DATABASE {database};\nCREATE TABLE {database}.t (id INT PRIMARY KEY);\n\
                     INSERT INTO {database}.t VALUES (1);\nFLUSH BINARY LOGS;\n\
                     INSERT INTO {database}.t VALUES (2);"
                ),
            )
            .await;
            let new = source.identify().await.unwrap();
            sql(server, &format!("PURGE BINARY LOGS TO '{}';", new.end.file)).await;
            let end = &new.end;
            let cases = [
                ("purged file", Position::File(old.end.clone())),
                ("beyond the file's end", Position::File(FilePosition::new(&end.file, end.position + 1000))),
                ("a later file", Position::File(FilePosition::new(next_file(&end.file), 4))),
                ("no event", Position::File(FilePosition::new(&end.file, end.position - 5))),
            ];
            for (what, from) in cases {
                let err = refusal(&source, from).await;
                let right = match what {
                    "purged file" => matches!(err, SourceError::Purged(_)),
                    "no event" => matches!(err, SourceError::NoEvent(_)),
                    _ => matches!(err, SourceError::Ahead(_)),
                };
                assert!(right, "{what}: {err:?}");
            }
            let gone = refusal(&source, now(&old)).await;
            assert!(matches!(gone, SourceError::Purged(_)), "{gone:?}");
            let ahead = match new.flavor {
                Flavor::MySql => {
                    let mut set = new.gtid_executed.clone();
                    let future: GtidSet = format!("{}:1-999999999", new.server_uuid).parse().unwrap();
                    set.add(&future);
                    Position::Gtid(set)
                }
                Flavor::MariaDb => Position::MariaDb(format!("0-{}-999999999", new.server_id)),
            };
            let err = refusal(&source, ahead).await;
            assert!(matches!(err, SourceError::Ahead(_)), "{err:?}");
        }
    });
}

fn next_file(name: &str) -> String {
    let (stem, digits) = name.rsplit_once('.').unwrap();
    format!("{stem}.{:06}", digits.parse::<u64>().unwrap() + 1)
}

/// The error that a dump from there ends with, at once or as its first events.
async fn refusal(source: &MySqlSource, from: Position) -> SourceError {
    match source.dump(request(from)).await {
        Err(err) => err,
        Ok(mut stream) => ends(&mut stream).await,
    }
}

#[test]
fn one_transaction_is_read_by_its_place() {
    run(async {
        let _quiet = QUIET.read().await;
        let stack = stack().await;
        for server in both(&stack) {
            let database = unique("witness");
            sql(server, &format!("CREATE DATABASE {database};\nCREATE TABLE {database}.t (id INT PRIMARY KEY);")).await;
            let source = source(server);
            let at = source.identify().await.unwrap().end;
            sql(
                server,
                &format!("INSERT INTO {database}.t VALUES (1), (2);\nCREATE TABLE {database}.u (id INT PRIMARY KEY);"),
            )
            .await;
            let first = source.read_transaction(&at).await.unwrap().events;
            let types = check_against_file(server, &at.file, std::slice::from_ref(&first));
            assert!(types.len() >= 4 && types.last() == Some(&XID), "{types:?}");
            let again = source.read_transaction(&at).await.unwrap().events;
            assert_eq!(first.bytes, again.bytes);
            // The statement after it has no commit event of its own, and is the last in the log.
            let (_, _, end) = header(first.events().last().unwrap());
            let ddl = FilePosition::new(&at.file, end);
            let ddl = source.read_transaction(&ddl).await.unwrap().events;
            assert_eq!(check_against_file(server, &at.file, std::slice::from_ref(&ddl)).len(), 2);
            for wrong in [at.position + 7, end - 4] {
                let wrong = FilePosition::new(&at.file, wrong);
                let err = source.read_transaction(&wrong).await.unwrap_err();
                assert!(matches!(err, SourceError::NoEvent(_)), "{wrong}: {err:?}");
            }
            let inside = FilePosition::new(&at.file, at.position + first.events().next().unwrap().len() as u64 + 4);
            let err = source.read_transaction(&inside).await.unwrap_err();
            assert!(matches!(err, SourceError::NoEvent(_)), "the second event is no start: {err:?}");
        }
    });
}

#[test]
fn missing_rights_are_named() {
    run(async {
        let stack = stack().await;
        for server in both(&stack) {
            let user = unique("poor");
            sql(server, &format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'secret';")).await;
            let as_user =
                |password: &str| SourceConfig { user: user.clone(), password: Secret::new(password), ..config(server) };
            let wrong = MySqlSource::new(as_user("wrong")).unwrap().identify().await.unwrap_err();
            assert!(matches!(&wrong, SourceError::Denied(text) if text.contains("Access denied")), "{wrong:?}");
            let poor = MySqlSource::new(as_user("secret")).unwrap();
            for err in
                [poor.identify().await.unwrap_err(), refusal(&poor, Position::File(FilePosition::new("x.1", 4))).await]
            {
                assert!(
                    matches!(&err, SourceError::Denied(text)
                        if text.contains("GRANT REPLICATION SLAVE") && text.contains(&user)),
                    "{err:?}"
                );
            }
            sql(server, &format!("GRANT REPLICATION CLIENT ON *.* TO '{user}'@'%';")).await;
            let identity = poor.identify().await.unwrap();
            let err = refusal(&poor, now(&identity)).await;
            assert!(matches!(&err, SourceError::Denied(text) if text.contains("GRANT REPLICATION SLAVE")), "{err:?}");
            sql(server, &format!("DROP USER '{user}'@'%';")).await;
        }
    });
}

/// MySQL: caching_sha2_password, first login of an account (full authentication) with TLS and, by RSA key, without.
/// MariaDB: mysql_native_password.
#[test]
fn accounts_log_in_with_and_without_tls() {
    run(async {
        let stack = stack().await;
        for (server, plugin) in both(&stack).into_iter().zip(["caching_sha2_password", "mysql_native_password"]) {
            for tls in [TlsMode::Disabled, TlsMode::Preferred] {
                let user = unique("user");
                let password = "p\u{e4}ss/w@rd' longer than twenty bytes of RSA padding";
                let quoted = password.replace('\'', "''");
                let how = if plugin == "mysql_native_password" {
                    format!("VIA mysql_native_password USING PASSWORD('{quoted}')")
                } else {
                    format!("WITH caching_sha2_password BY '{quoted}'")
                };
                sql(
                    server,
                    &format!(
                        "CREATE USER '{user}'@'%' IDENTIFIED {how};\nGRANT REPLICATION CLIENT ON *.* TO '{user}'@'%';"
                    ),
                )
                .await;
                let config =
                    SourceConfig { user: user.clone(), password: Secret::new(password), tls, ..config(server) };
                let identity = MySqlSource::new(config).unwrap().identify().await;
                assert!(identity.is_ok(), "{plugin}, {tls:?}: {identity:?}");
                sql(server, &format!("DROP USER '{user}'@'%';")).await;
            }
        }
    });
}

#[test]
fn tls_is_demanded_offered_and_verified() {
    run(async {
        let stack = stack().await;
        let server = stack.mysql().unwrap();
        let user = unique("tls");
        sql(
            server,
            &format!(
                "CREATE USER '{user}'@'%' IDENTIFIED BY 'secret' REQUIRE SSL;\n\
                 GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{user}'@'%';"
            ),
        )
        .await;
        let with = |tls, ca| {
            let password = Secret::new("secret");
            MySqlSource::new(SourceConfig { user: user.clone(), password, tls, ca, ..config(server) }).unwrap()
        };
        let plain = with(TlsMode::Disabled, None).identify().await.unwrap_err();
        assert!(matches!(plain, SourceError::Denied(_)), "{plain:?}");
        for tls in [TlsMode::Preferred, TlsMode::Required] {
            with(tls, None).identify().await.unwrap();
        }
        let verified = with(TlsMode::VerifyCa, server.ca_pem());
        let identity = verified.identify().await.unwrap();
        // Events over TLS too.
        let mut stream = verified.dump(request(Position::File(identity.end))).await.unwrap();
        read(&mut stream, |event| event[4] == FORMAT_DESCRIPTION).await;
        // The server's certificate names no host, and the system trusts nobody who signed it.
        for unproven in [with(TlsMode::VerifyIdentity, server.ca_pem()), with(TlsMode::VerifyCa, None)] {
            let err = unproven.identify().await.unwrap_err();
            assert!(matches!(&err, SourceError::Unavailable(text) if text.contains("ertificate")), "{err:?}");
        }
        sql(server, &format!("DROP USER '{user}'@'%';")).await;
    });
}

#[test]
fn what_does_not_answer_is_unavailable_in_time() {
    run(async {
        let silent = crate::services::answering(None).await;
        let port = silent.rsplit_once(':').unwrap().1.parse().unwrap();
        for port in [port, 1] {
            let limit = Duration::from_millis(500);
            let config = SourceConfig { port, user: "u".into(), connect_timeout: limit, ..SourceConfig::default() };
            let begun = std::time::Instant::now();
            let err = MySqlSource::new(config).unwrap().identify().await.unwrap_err();
            assert!(matches!(&err, SourceError::Unavailable(text) if text.contains(&port.to_string())), "{err:?}");
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
    });
}

#[test]
fn definitions_are_read_with_types_keys_and_collations() {
    run(async {
        let stack = stack().await;
        for server in both(&stack) {
            let database = unique("schema");
            sql(
                server,
                &format!(
                    "CREATE DATABASE {database};\n\
                     CREATE TABLE {database}.t (b INT UNSIGNED NOT NULL, a BIGINT NOT NULL, d DECIMAL(12,2) UNSIGNED,\n\
                     f FLOAT, g DOUBLE, h BIT(7), y YEAR, da DATE, ti TIME(1), dt DATETIME(3), ts TIMESTAMP(6) NULL,\n\
                     c CHAR(5) CHARACTER SET latin1, v VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,\n\
                     vb VARBINARY(16), te TEXT CHARACTER SET utf8mb4, mb MEDIUMBLOB,\n\
                     e ENUM('a','it''s','unsigned') CHARACTER SET utf8mb4,\n\
                     s SET('x','y') CHARACTER SET utf8mb4, j JSON,\n\
                     tiny TINYINT(1), p POINT, PRIMARY KEY (a, b));\n\
                     CREATE TABLE {database}.other (id INT);\nCREATE VIEW {database}.w AS SELECT 1;"
                ),
            )
            .await;
            let accept = |db: &str, table: &str| db == database && table != "other";
            let snapshot = source(server).table_schemas(&accept).await.unwrap();
            assert_eq!(snapshot.tables.len(), 1, "{:?}", snapshot.tables);
            assert!(snapshot.end.position > 4);
            check_definition(&snapshot.tables[0], server.port() == stack.mysql().unwrap().port());
            match (&snapshot.before, &snapshot.after) {
                (Position::Gtid(before), Position::Gtid(after)) => assert!(before.is_subset(after)),
                (Position::MariaDb(before), Position::MariaDb(after)) => {
                    assert!(!before.is_empty() && !after.is_empty());
                }
                other => panic!("{other:?}"),
            }
            let none = source(server).table_schemas(&|_, _| false).await.unwrap();
            assert!(none.tables.is_empty());
        }
    });
}

fn check_definition(table: &TableSchema, mysql: bool) {
    let column = |name: &str| &table.columns[table.column_index(name).unwrap_or_else(|| panic!("no column {name}"))];
    assert_eq!(table.primary_key, [1, 0]);
    assert!(column("b").unsigned && !column("b").nullable && !column("a").unsigned);
    assert!(column("d").unsigned && column("d").nullable && !column("e").unsigned);
    assert_eq!(column("d").kind, ColumnType::Decimal { precision: 12, scale: 2 });
    assert_eq!(column("h").kind, ColumnType::Bit { bits: 7 });
    assert_eq!(column("ti").kind, ColumnType::Time { fsp: 1 });
    assert_eq!(column("dt").kind, ColumnType::DateTime { fsp: 3 });
    assert_eq!(column("ts").kind, ColumnType::Timestamp { fsp: 6 });
    assert_eq!(column("c").kind, ColumnType::Char { max_bytes: 5 });
    assert_eq!(column("v").kind, ColumnType::VarChar { max_bytes: 800 });
    assert_eq!(column("te").kind, ColumnType::Blob { length_bytes: 2 });
    assert_eq!(column("mb").kind, ColumnType::Blob { length_bytes: 3 });
    assert_eq!(column("tiny").kind, ColumnType::TinyInt);
    assert_eq!(column("p").kind, ColumnType::Geometry);
    let members = ["a", "it's", "unsigned"].map(String::from).to_vec();
    assert_eq!(column("e").kind, ColumnType::Enum { members });
    // MariaDB's JSON is a LONGTEXT.
    let json = if mysql { ColumnType::Json } else { ColumnType::Blob { length_bytes: 4 } };
    assert_eq!(column("j").kind, json);
    let collations = [("c", 8), ("v", 46), ("vb", 63), ("mb", 63)];
    for (name, id) in collations {
        assert_eq!(column(name).collation, Some(id), "{name}");
    }
    assert!(column("te").collation.is_some_and(|id| id != 63) && column("s").collation.is_some_and(|id| id != 63));
    assert_eq!((column("a").collation, column("dt").collation), (None, None));
}
