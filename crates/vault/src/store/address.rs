//! Reads the addresses of stores. What is wrong with one is said together with what to write instead.

use percent_encoding::percent_decode_str;
use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use url::Url;

/// Where an S3 repository lies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct S3Address {
    /// The address as people may see it.
    pub shown: String,
    pub bucket: String,
    /// Without slashes around it; empty for the bucket's root.
    pub prefix: String,
    pub endpoint: Option<String>,
    /// The endpoint is on this machine.
    pub loopback: bool,
    pub region: String,
    pub virtual_hosts: bool,
}

impl S3Address {
    /// Returns the machine that answers for the bucket.
    pub(super) fn server(&self) -> Option<super::Server> {
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("https://s3.{}.amazonaws.com", self.region),
        };
        let url = Url::parse(&endpoint).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']);
        let host = if self.virtual_hosts { format!("{}.{host}", self.bucket) } else { host.to_owned() };
        Some(super::Server { host, port: url.port_or_known_default(), by_ssh: false })
    }
}

/// Where an SFTP repository lies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SftpAddress {
    /// The address as people may see it.
    pub shown: String,
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    /// Absolute, or relative to the home folder.
    pub path: String,
    pub identity: Option<String>,
    pub known_hosts: Option<String>,
}

/// Returns the folder that a `file://` address names.
pub(super) fn file(address: &str) -> Result<PathBuf, String> {
    let url = parse(address)?;
    if !url.username().is_empty()
        || url.host_str().is_some_and(|host| !host.is_empty() && host != "localhost")
    {
        return Err("a folder takes three slashes: file:///srv/vault".into());
    }
    query(&url, &[])?;
    let path = PathBuf::from(OsString::from_vec(percent_decode_str(url.path()).collect()));
    match path.parent() {
        Some(_) => Ok(path),
        None => Err("name a folder below the root: file:///srv/vault".into()),
    }
}

/// Reads an `s3://` address.
pub(super) fn s3(address: &str) -> Result<S3Address, String> {
    let example = "s3://bucket/prefix?endpoint=https://s3.example&region=eu-west-1";
    let url = parse(address)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("keys don't belong into the address, they are handed over apart: {example}"));
    }
    if url.port().is_some() {
        return Err(format!("the first name is the bucket; the server goes into endpoint: {example}"));
    }
    let bucket = match url.host_str() {
        Some(bucket) if !bucket.is_empty() => decoded(bucket)?,
        _ => return Err(format!("no bucket; write {example}")),
    };
    let [endpoint, region, style] = query(&url, &["endpoint", "region", "style"])?;
    let (endpoint, loopback) = match endpoint.map(|text| self::endpoint(&text)).transpose()? {
        Some((endpoint, loopback)) => (Some(endpoint), loopback),
        None => (None, false),
    };
    let virtual_hosts = match style.as_deref() {
        Some("path") => false,
        Some("virtual") => true,
        Some(other) => return Err(format!("style={other}: write style=path or style=virtual")),
        None => endpoint.is_none(),
    };
    Ok(S3Address {
        shown: without_secrets(address),
        bucket,
        prefix: decoded(url.path().trim_matches('/'))?,
        endpoint,
        loopback,
        region: region.unwrap_or_else(|| "us-east-1".to_owned()),
        virtual_hosts,
    })
}

/// Reads an `sftp://` address.
pub(super) fn sftp(address: &str) -> Result<SftpAddress, String> {
    let example = "sftp://user@host//srv/vault";
    let url = parse(address)?;
    if url.password().is_some() {
        return Err(format!(
            "passwords don't belong into the address; use a key (ssh-copy-id installs it) and write {example}"
        ));
    }
    let host = match url.host_str() {
        Some(host) if !host.is_empty() => decoded(host)?,
        _ => return Err(format!("no host; write {example}")),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let user = Some(decoded(url.username())?).filter(|user| !user.is_empty());
    let [identity, known_hosts] = query(&url, &["identity", "known_hosts"])?;
    // They become arguments of ssh: a host named -oProxyCommand=… would run a command.
    for (what, text) in [("host", Some(&host)), ("user", user.as_ref())] {
        if let Some(text) = text
            && (text.starts_with('-') || text.chars().any(|c| c.is_whitespace() || c.is_control()))
        {
            return Err(format!("{text:?} is not the name of a {what}"));
        }
    }
    for (what, text) in [("identity", &identity), ("known_hosts", &known_hosts)] {
        if let Some(text) = text
            && (!text.starts_with('/') || text.chars().any(|c| c.is_control() || c == '"'))
        {
            return Err(format!("{what}={text}: write the full path of the file, beginning with /"));
        }
    }
    // As in restic: the first slash only ends the host.
    let path = decoded(url.path().strip_prefix('/').unwrap_or_default())?;
    let path = if path.starts_with('/') {
        format!("/{}", path.trim_matches('/'))
    } else {
        path.trim_end_matches('/').to_owned()
    };
    if path.is_empty() || path == "/" {
        return Err(format!(
            "no folder; write {example}, or {} for one in the home folder",
            "sftp://user@host/vault"
        ));
    }
    Ok(SftpAddress {
        shown: without_secrets(address),
        user,
        host,
        port: url.port(),
        path,
        identity,
        known_hosts,
    })
}

/// Says what to write instead of an address that no store answers to.
pub(super) fn unknown(address: &str) -> String {
    let known = "the known ones are file:///folder, s3://bucket/prefix and sftp://user@host//folder";
    match address.split_once(':') {
        _ if address.starts_with('/') => format!("write file://{address} for a folder on this machine"),
        Some((scheme @ ("s3" | "sftp" | "file"), _)) => {
            format!("write {scheme}:// with two slashes; {known}")
        }
        Some((scheme, _)) => format!("there is no store for {scheme:?}; {known}"),
        None => format!("an address begins with its kind; {known}"),
    }
}

/// Returns the address without what someone may have put into it by mistake: a password.
pub(super) fn without_secrets(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@').map(|(login, host)| (login.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{scheme}://{user}:…@{host}{path}"),
        _ => address.to_owned(),
    }
}

fn parse(address: &str) -> Result<Url, String> {
    let url = Url::parse(address).map_err(|error| error.to_string())?;
    match url.fragment() {
        Some(_) => Err("a # in a name is written %23".into()),
        None => Ok(url),
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| format!("{text}: not UTF-8"))?;
    match text.contains('\0') {
        true => Err("%00 can't be part of a name".into()),
        false => Ok(text.into_owned()),
    }
}

// Returns the values of `known` in their order; anything else in the query is an error, not a surprise later on.
fn query<const N: usize>(url: &Url, known: &[&str; N]) -> Result<[Option<String>; N], String> {
    let mut values = [const { None }; N];
    for (key, value) in url.query_pairs() {
        let slot = known.iter().zip(&mut values).find(|(name, _)| **name == key).map(|(_, value)| value);
        match slot {
            Some(slot @ None) => *slot = Some(value.into_owned()),
            Some(Some(_)) => return Err(format!("{key} is given twice")),
            None if known.is_empty() => return Err("a ? in a name is written %3F".into()),
            None => return Err(format!("unknown setting {key:?}; the known ones are {}", known.join(", "))),
        }
    }
    Ok(values)
}

// Returns the endpoint, and whether it is on this machine.
fn endpoint(text: &str) -> Result<(String, bool), String> {
    let bad = || format!("endpoint={text}: write endpoint=https://s3.example");
    let url = Url::parse(text).map_err(|_| bad())?;
    let host = url.host_str().ok_or_else(bad)?;
    if url.query().is_some() || !url.username().is_empty() || url.path() != "/" {
        return Err(format!("endpoint={text}: only the server, as in endpoint=https://s3.example"));
    }
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => {
            return Err(format!(
                "endpoint={text}: without TLS anyone on the way could read and change requests; write endpoint=https://{host}"
            ));
        }
        _ => return Err(bad()),
    }
    Ok((url.as_str().trim_end_matches('/').to_owned(), loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_addresses_name_a_folder() {
        assert_eq!(file("file:///srv/my%20vault"), Ok(PathBuf::from("/srv/my vault")));
        assert_eq!(file("file:///srv/%ff"), Ok(PathBuf::from(OsString::from_vec(b"/srv/\xff".to_vec()))));
        assert!(file("file://srv/vault").unwrap_err().contains("file:///srv/vault"));
        assert!(file("file:///").is_err());
        assert!(file("file:///a?b=c").unwrap_err().contains("%3F"));
        assert!(file("file:///a#b").unwrap_err().contains("%23"));
    }

    #[test]
    fn s3_addresses_have_defaults() {
        let plain = s3("s3://bucket").unwrap();
        assert_eq!((plain.bucket.as_str(), plain.prefix.as_str()), ("bucket", ""));
        assert_eq!((plain.region.as_str(), plain.virtual_hosts), ("us-east-1", true));
        let full = s3("s3://bucket/a/b/?endpoint=https://s3.example/&region=fr-par").unwrap();
        assert_eq!((full.prefix.as_str(), full.region.as_str()), ("a/b", "fr-par"));
        assert_eq!((full.endpoint.as_deref(), full.virtual_hosts), (Some("https://s3.example"), false));
        assert!(s3("s3://b?endpoint=https://s3.example&style=virtual").unwrap().virtual_hosts);
    }

    #[test]
    fn the_machine_behind_an_address_is_known() {
        let server = |address: &str| super::super::server(address).map(|server| (server.host, server.port));
        let at = |host: &str, port: u16| Some((host.to_owned(), Some(port)));
        assert_eq!(server("s3://b/p?endpoint=https://s3.example&region=fr"), at("s3.example", 443));
        assert_eq!(server("s3://b?endpoint=https://s3.example:9000&style=virtual"), at("b.s3.example", 9000));
        assert_eq!(server("s3://b?endpoint=https://[2001:db8::1]:9000"), at("2001:db8::1", 9000));
        assert_eq!(server("s3://b?region=eu-west-3"), at("b.s3.eu-west-3.amazonaws.com", 443));
        assert_eq!(server("sftp://me@nas//srv"), Some(("nas".to_owned(), None)));
        assert_eq!(server("sftp://me@[2001:db8::1]:2222//srv"), at("2001:db8::1", 2222));
        assert_eq!(server("file:///srv/vault"), None);
        assert_eq!(server("nonsense"), None);
    }

    #[test]
    fn plain_http_is_for_the_own_machine_only() {
        for good in ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"] {
            assert_eq!(s3(&format!("s3://b?endpoint={good}")).unwrap().endpoint.as_deref(), Some(good));
        }
        for bad in ["http://s3.example", "http://10.0.0.1:9000", "http://127.0.0.1.example"] {
            assert!(s3(&format!("s3://b?endpoint={bad}")).unwrap_err().contains("without TLS"), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_s3_address_is_said() {
        assert!(s3("s3://key:secret@bucket").unwrap_err().contains("handed over apart"));
        assert!(s3("s3://server:9000/bucket").unwrap_err().contains("endpoint"));
        assert!(s3("s3:///x").unwrap_err().contains("no bucket"));
        assert!(s3("s3://b?regoin=x").unwrap_err().contains("region"));
        assert!(s3("s3://b?style=dns").unwrap_err().contains("style=path"));
        assert!(s3("s3://b?region=a&region=b").unwrap_err().contains("twice"));
    }

    #[test]
    fn sftp_paths_are_read_as_restic_reads_them() {
        assert_eq!(sftp("sftp://host/srv/vault").unwrap().path, "srv/vault");
        assert_eq!(sftp("sftp://host//srv/vault/").unwrap().path, "/srv/vault");
        let full = sftp("sftp://me@[::1]:2222//srv/v?identity=/k/id&known_hosts=/k/hosts").unwrap();
        assert_eq!((full.user.as_deref(), full.host.as_str(), full.port), (Some("me"), "::1", Some(2222)));
        assert_eq!(
            (full.identity.as_deref(), full.known_hosts.as_deref()),
            (Some("/k/id"), Some("/k/hosts"))
        );
    }

    #[test]
    fn nothing_in_an_sftp_address_becomes_an_option_of_ssh() {
        assert!(sftp("sftp://-oProxyCommand=touch/x").is_err());
        assert!(sftp("sftp://-lroot@host/x").is_err());
        assert!(sftp("sftp://a%20b@host/x").is_err());
        assert!(sftp("sftp://host/x?identity=-oProxyCommand").is_err());
        assert!(sftp("sftp://me:secret@host/x").unwrap_err().contains("passwords"));
        assert!(sftp("sftp://host").is_err());
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        assert_eq!(without_secrets("sftp://me:hush@host/x"), "sftp://me:…@host/x");
        assert_eq!(without_secrets("sftp://me@host/x@y:z"), "sftp://me@host/x@y:z");
    }

    #[test]
    fn an_unknown_kind_is_told_the_known_ones() {
        assert!(unknown("/srv/vault").contains("file:///srv/vault"));
        assert!(unknown("s3:bucket").contains("s3://"));
        assert!(unknown("ftp://x").contains("\"ftp\""));
        assert!(unknown("vault").contains("begins with its kind"));
    }
}
