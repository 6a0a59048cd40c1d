//! Nothing but loopback is loaded by mistake.

use anyhow::{Context, Result, bail};

use crate::target::Target;

/// # Errors
/// An address is not loopback, and `owned` was not said.
pub fn check(target: &Target, owned: bool) -> Result<()> {
    if owned {
        return Ok(());
    }
    let urls = std::iter::once(&target.mysql).chain(target.indexes.values().map(|index| &index.url));
    for text in urls {
        let url = url::Url::parse(text).with_context(|| format!("`{text}` is no address"))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        refuse_remote(&host)?;
    }
    let brokers = target.topic.iter().flat_map(|topic| topic.brokers.split(','));
    for broker in brokers {
        refuse_remote(broker.trim().rsplit_once(':').map_or(broker, |(host, _)| host))?;
    }
    Ok(())
}

fn refuse_remote(host: &str) -> Result<()> {
    let bare = host.trim_matches(['[', ']']);
    let loopback = bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if !loopback {
        bail!(
            "{host} is not this machine: a load run writes orders into its database and asks its clusters as hard as \
             the profile says. Add --i-own-these-servers if that is what you want"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Index, Topic};

    fn target(mysql: &str, elasticsearch: &str, brokers: &str) -> Target {
        let index = Index { url: elasticsearch.to_owned(), alias: "hot".to_owned() };
        Target {
            mysql: mysql.to_owned(),
            database: "orders".to_owned(),
            indexes: [("hot".to_owned(), index)].into(),
            topic: Some(Topic { brokers: brokers.to_owned(), name: "orders".to_owned() }),
            processes: Vec::new(),
        }
    }

    #[test]
    fn only_loopback_is_loaded_without_being_told_to() {
        let (mysql, search, brokers) =
            ("mysql://root@127.0.0.1:3306", "http://[::1]:9200", "localhost:9092,127.0.0.2:1");
        check(&target(mysql, search, brokers), false).unwrap();
        for (mysql, search, brokers) in [
            ("mysql://root@db.example:3306", search, brokers),
            (mysql, "http://10.0.0.1:9200", brokers),
            (mysql, "http://127.0.0.1.example:9200", brokers),
            (mysql, search, "127.0.0.1:9092,k2.example:9092"),
        ] {
            let target = target(mysql, search, brokers);
            assert!(check(&target, false).unwrap_err().to_string().contains("--i-own-these-servers"));
            check(&target, true).unwrap();
        }
    }
}
