//! Readiness, by asking the service itself what its users will ask.

use anyhow::{Context, Result, bail, ensure};
use mysql_async::prelude::Queryable;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How to ask whether a service is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Probe {
    /// A handshake and a query as root.
    Mysql {
        /// The TCP port.
        port: u16,
    },
    /// The cluster's description must list this many live brokers.
    Kafka {
        /// The plain listener's port.
        port: u16,
        /// Brokers in the cluster.
        brokers: usize,
    },
    /// `srvr` must name a mode: standalone, leader or follower.
    Zookeeper {
        /// The client port.
        port: u16,
    },
    /// `_cluster/health` must be at least yellow.
    Elasticsearch {
        /// The HTTP port.
        port: u16,
    },
}

impl Probe {
    /// Asks once, within two seconds.
    ///
    /// # Errors
    /// Why it is not ready.
    pub async fn ask(&self) -> Result<()> {
        let asked = async {
            match self {
                Self::Mysql { port } => ask_mysql(*port).await,
                Self::Kafka { port, brokers } => ask_kafka(*port, *brokers).await,
                Self::Zookeeper { port } => ask_zookeeper(*port).await.map(|_| ()),
                Self::Elasticsearch { port } => ask_elasticsearch(*port).await,
            }
        };
        tokio::time::timeout(Duration::from_secs(2), asked).await.context("no answer within 2 s")?
    }

    /// What a node of ZooKeeper is: standalone, leader or follower.
    ///
    /// # Errors
    /// It does not answer within two seconds, or is no ZooKeeper.
    pub async fn zookeeper_mode(&self) -> Result<String> {
        let Self::Zookeeper { port } = self else { bail!("{self:?} is no ZooKeeper") };
        tokio::time::timeout(Duration::from_secs(2), ask_zookeeper(*port)).await.context("no answer within 2 s")?
    }
}

async fn ask_mysql(port: u16) -> Result<()> {
    let options = mysql_async::OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).user(Some("root"));
    let mut connection = mysql_async::Conn::new(options).await?;
    let one: Option<u8> = connection.query_first("SELECT 1").await?;
    ensure!(one == Some(1), "SELECT 1 answered {one:?}");
    Ok(connection.disconnect().await?)
}

/// What a node is: standalone, leader or follower.
async fn ask_zookeeper(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"srvr").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "));
    mode.map(str::to_owned).with_context(|| format!("srvr answered {:?}", answer.lines().next().unwrap_or("")))
}

async fn ask_elasticsearch(port: u16) -> Result<()> {
    let url = format!("http://127.0.0.1:{port}/_cluster/health?wait_for_status=yellow&timeout=1s");
    let client = reqwest::Client::builder().no_proxy().build()?;
    client.get(url).send().await?.error_for_status()?;
    Ok(())
}

/// DescribeCluster, version 0 (Kafka protocol guide, API key 60): its answer lists the brokers that are not fenced.
async fn ask_kafka(port: u16, brokers: usize) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // Header v2: api key, api version, correlation id, client id "probe", no tags. Body: no authorized operations, no
    // tags.
    let mut request = vec![0, 60, 0, 0, 0, 0, 0, 1, 0, 5];
    request.extend_from_slice(b"probe");
    request.extend_from_slice(&[0, 0, 0]);
    stream.write_all(&u32::try_from(request.len())?.to_be_bytes()).await?;
    stream.write_all(&request).await?;
    let length = stream.read_u32().await?;
    ensure!(length < 1 << 20, "an answer of {length} bytes is not Kafka's");
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await?;
    let live = brokers_in(&answer)?;
    ensure!(live == brokers, "{live} of {brokers} brokers are there");
    Ok(())
}

/// The number of brokers in a DescribeCluster v0 response.
fn brokers_in(answer: &[u8]) -> Result<usize> {
    let mut reader = Reader(answer);
    reader.skip(4)?; // correlation id
    ensure!(reader.varint()? == 0, "tags in the response header");
    reader.skip(4)?; // throttle time
    let error = reader.take(2)?;
    if error != [0, 0] {
        bail!("Kafka answered error code {}", i16::from_be_bytes([error[0], error[1]]));
    }
    reader.compact_string()?; // error message
    reader.compact_string()?; // cluster id
    reader.skip(4)?; // controller id
    Ok(reader.varint()?.saturating_sub(1))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count).context("the answer ends too early")?;
        self.0 = rest;
        Ok(head)
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(|_| ())
    }

    /// Seven bits a byte, lowest first.
    fn varint(&mut self) -> Result<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a length of more than five bytes")
    }

    /// Length plus one, then the bytes; zero is null.
    fn compact_string(&mut self) -> Result<()> {
        let length = self.varint()?.saturating_sub(1);
        self.skip(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_counted_and_short_answers_refused() {
        let mut answer = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 3, b'i', b'd', 0, 0, 0, 1, 4];
        assert_eq!(brokers_in(&answer).unwrap(), 3);
        answer.truncate(15);
        assert!(brokers_in(&answer).is_err());
        assert!(brokers_in(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 35]).unwrap_err().to_string().contains("35"));
    }
}
