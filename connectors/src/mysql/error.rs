//! What a server's errors mean to the engine.
//!
//! Error 1236 stands for a dozen things and is told apart by its text only; the texts are those of MySQL 5.7 to 9.x
//! (`sql/rpl_binlog_sender.cc`) and MariaDB 10.x (`sql/sql_repl.cc`). A text nobody knows is `Refused`, never retried
//! blindly.

use mysql_async::{Error, ServerError};
use towpath_engine::causes::with_causes;
use towpath_engine::ports::source::SourceError;

/// `ER_MASTER_FATAL_ERROR_READING_BINLOG`.
const FATAL_READING_BINLOG: u16 = 1236;

/// Any error of the client library.
pub(super) fn classify(err: &Error, user: &str) -> SourceError {
    match err {
        Error::Server(server) => classify_server(server, user),
        Error::Io(io) => SourceError::Unavailable(with_causes(io)),
        Error::Driver(driver) => classify_driver(driver),
        Error::Url(url) => SourceError::Refused(url.to_string()),
        Error::Other(other) => SourceError::Unavailable(other.to_string()),
    }
}

/// An error on a connection that has logged in: access denied (1045) then means a privilege, not the password. MariaDB
/// and older MySQL answer so to a dump.
pub(super) fn classify_logged_in(err: &Error, user: &str) -> SourceError {
    match err {
        Error::Server(server) if server.code == 1045 => {
            SourceError::Denied(format!("{} (error 1045). Run: {}", server.message, grant(user)))
        }
        other => classify(other, user),
    }
}

fn classify_driver(driver: &mysql_async::DriverError) -> SourceError {
    use mysql_async::DriverError as Driver;
    match driver {
        Driver::NoClientSslFlagFromServer => SourceError::Refused(
            "the server offers no TLS: set the source's `tls` to \"preferred\", or enable TLS on the server".into(),
        ),
        Driver::UnknownAuthPlugin { .. } | Driver::MysqlOldPasswordDisabled | Driver::CleartextPluginDisabled => {
            SourceError::Denied(format!("{driver} Use caching_sha2_password or mysql_native_password for the user"))
        }
        other => SourceError::Unavailable(other.to_string()),
    }
}

/// An error packet of the server.
pub(super) fn classify_server(err: &ServerError, user: &str) -> SourceError {
    let text = format!("{} (error {})", err.message, err.code);
    match err.code {
        FATAL_READING_BINLOG => classify_dump(&err.message, text),
        // MariaDB's own numbers: position not in the binlog (twice), hole in the binlog under strict mode.
        1945 | 1955 => SourceError::Ahead(text),
        1951 => SourceError::Purged(text),
        1044 | 1142 | 1227 => SourceError::Denied(format!("{text}. Run: {}", grant(user))),
        // Wrong password, host not allowed, locked, expired, TLS demanded by the account, unknown plugin, …
        1045 | 1130 | 1251 | 1275 | 1396 | 1449 | 1524 | 1698 | 1820 | 1862 | 3118 | 3159 | 3878 | 4151 => {
            SourceError::Denied(text)
        }
        // Too many connections, shutdown, killed, interrupted, lock timeouts, lost, timeouts of reading and writing.
        1040
        | 1053
        | 1077
        | 1129
        | 1158..=1161
        | 1184
        | 1203
        | 1205
        | 1226
        | 1290
        | 1317
        | 1927
        | 3024
        | 3169
        | 4031 => SourceError::Unavailable(text),
        1381 => SourceError::Refused(format!("{text}: start the server with --log-bin")),
        _ => SourceError::Refused(text),
    }
}

/// The privileges a deployer needs, as a statement to run.
pub(super) fn grant(user: &str) -> String {
    format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO '{user}'@'%'")
}

fn classify_dump(message: &str, text: String) -> SourceError {
    let lower = message.to_ascii_lowercase();
    let says = |part: &str| lower.contains(part);
    if says("purged") || says("could not find gtid state") {
        return SourceError::Purged(text);
    }
    if says("more gtids than") || says("not in the master's binlog") || says("position > file size") {
        return SourceError::Ahead(text);
    }
    if says("crc check failed") || says("checksum algorithm check") {
        return SourceError::Checksum(text);
    }
    let nowhere = [
        "bogus data",
        "could not find first log file name",
        "entry exceeded max_allowed_packet",
        "error reading log entry",
        "truncated in the middle",
        "start replication from impossible position",
    ];
    if nowhere.iter().any(|part| says(part)) {
        return SourceError::NoEvent(text);
    }
    if says("same server_uuid/server_id") || says("same server_id") {
        return SourceError::Refused(format!("{text}: give the source's `server_id` a number no other replica uses"));
    }
    SourceError::Refused(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> SourceError {
        classify_server(&ServerError { code, message: message.into(), state: "HY000".into() }, "canal")
    }

    #[test]
    fn the_texts_of_error_1236() {
        let purged = [
            "Cannot replicate because the source purged required binary logs. Replicate the missing transactions",
            "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the master has purged \
             binary logs containing GTIDs that the slave requires.",
            "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old",
        ];
        let ahead = [
            "Replica has more GTIDs than the source has, using the source's SERVER_UUID.",
            "Slave has more GTIDs than the master has, using the master's SERVER_UUID.",
            "Client requested source to start replication from position > file size",
            "Error: connecting slave requested to start from GTID 0-1-99, which is not in the master's binlog",
        ];
        let nowhere = [
            "bogus data in log event; the first event 'binlog.000001' at 200",
            "Could not find first log file name in binary log index file",
            "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source",
        ];
        for text in purged {
            assert!(matches!(server(1236, text), SourceError::Purged(_)), "{text}");
        }
        for text in ahead {
            assert!(matches!(server(1236, text), SourceError::Ahead(_)), "{text}");
        }
        for text in nowhere {
            assert!(matches!(server(1236, text), SourceError::NoEvent(_)), "{text}");
        }
        let twin = "A replica with the same server_uuid/server_id as this replica has connected to the source";
        assert!(matches!(server(1236, twin), SourceError::Refused(text) if text.contains("server_id` a number")));
        assert!(matches!(server(1236, "something new"), SourceError::Refused(_)));
    }

    #[test]
    fn a_missing_privilege_names_the_grant() {
        let err = server(1227, "Access denied; you need (at least one of) the REPLICATION SLAVE privilege(s)");
        assert!(
            matches!(&err, SourceError::Denied(text)
            if text.contains("GRANT REPLICATION SLAVE, REPLICATION CLIENT") && text.contains("'canal'")),
            "{err}"
        );
        assert!(matches!(server(1045, "Access denied for user"), SourceError::Denied(_)));
    }

    #[test]
    fn what_passes_is_unavailable_and_the_unknown_is_refused() {
        assert!(matches!(server(1053, "Server shutdown in progress"), SourceError::Unavailable(_)));
        assert!(matches!(server(1040, "Too many connections"), SourceError::Unavailable(_)));
        assert!(matches!(server(9999, "?"), SourceError::Refused(_)));
        let io = Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert!(matches!(classify(&io, "canal"), SourceError::Unavailable(_)));
    }
}
