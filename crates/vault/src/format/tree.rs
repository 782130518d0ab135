//! A tree blob: the entries of one directory, as JSON.
//!
//! restic's node carries Go's mode bits and Go-quoted names; both are translated here and nowhere else.

use crate::node::{DeviceKind, Meta, Node, NodeKind, Timestamp, Xattr};
use crate::{BlobId, budget, format};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;

#[derive(Serialize)]
struct WireTree<'a> {
    nodes: Vec<WireNode<'a>>,
}

/// Reads a tree of no more than so many entries: in memory each takes many times the least that it may take as text.
struct TreeOf(usize);

/// Reads the list of them.
struct NodesOf(usize);

impl<'de> DeserializeSeed<'de> for TreeOf {
    type Value = Vec<WireNode<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TreeOf {
    type Value = Vec<WireNode<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tree")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut nodes = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "nodes" if nodes.is_some() => return Err(A::Error::duplicate_field("nodes")),
                "nodes" => nodes = Some(map.next_value_seed(NodesOf(self.0))?),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        nodes.ok_or_else(|| A::Error::missing_field("nodes"))
    }
}

impl<'de> DeserializeSeed<'de> for NodesOf {
    type Value = Vec<WireNode<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for NodesOf {
    type Value = Vec<WireNode<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the entries of a tree")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element()? {
            if nodes.len() >= self.0 {
                return Err(A::Error::custom("more entries than a tree of this length can have"));
            }
            nodes.push(node);
        }
        Ok(nodes)
    }
}

// The order of the fields is restic's, so that an unchanged directory gives restic's own tree id where it can.
#[derive(Serialize, Deserialize)]
struct WireNode<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_zero")]
    mode: u32,
    #[serde(default, borrow)]
    mtime: Cow<'a, str>,
    #[serde(default, borrow)]
    atime: Cow<'a, str>,
    #[serde(default, borrow)]
    ctime: Cow<'a, str>,
    uid: u32,
    gid: u32,
    #[serde(default, skip_serializing_if = "str::is_empty", borrow)]
    user: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty", borrow)]
    group: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_zero_64")]
    inode: u64,
    #[serde(default, skip_serializing_if = "is_zero_64")]
    device_id: u64,
    #[serde(default, skip_serializing_if = "is_zero_64")]
    size: u64,
    #[serde(default, skip_serializing_if = "is_zero_64")]
    links: u64,
    #[serde(default, skip_serializing_if = "str::is_empty", borrow)]
    linktarget: Cow<'a, str>,
    /// The target's bytes in base64, where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    linktarget_raw: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    extended_attributes: Vec<WireXattr<'a>>,
    #[serde(default, skip_serializing_if = "is_zero_64")]
    device: u64,
    content: Option<Vec<BlobId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subtree: Option<BlobId>,
    /// Ours: the file had holes. restic passes over it.
    #[serde(default, skip_serializing_if = "is_false")]
    releve_sparse: bool,
    /// Ours: what besides the content could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    releve_unread: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct WireXattr<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero_64(n: &u64) -> bool {
    *n == 0
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(b: &bool) -> bool {
    !*b
}

/// Returns the JSON of a tree. The nodes are sorted by the bytes of their names, as restic demands; two with one name are not ours to sort out and stay.
pub(crate) fn write(nodes: &mut [Node]) -> Vec<u8> {
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let tree = WireTree { nodes: nodes.iter().map(to_wire).collect() };
    let mut json = serde_json::to_vec(&tree).unwrap_or_default();
    json.push(b'\n');
    json
}

/// Reads the JSON of a tree. `Err` says what is malformed.
pub(crate) fn read(json: &[u8]) -> Result<Vec<Node>, String> {
    read_each(json)?.into_iter().collect()
}

/// Reads the JSON of a tree, each entry for itself: one of a type that nobody knows is no reason to give up its neighbours.
pub(crate) fn read_each(json: &[u8]) -> Result<Vec<Result<Node, String>>, String> {
    let mut text = serde_json::Deserializer::from_slice(json);
    let nodes = TreeOf(budget::entries(json.len())).deserialize(&mut text);
    let nodes = nodes.and_then(|nodes| text.end().map(|()| nodes)).map_err(|error| error.to_string())?;
    Ok(nodes.into_iter().map(from_wire).collect())
}

const MODE_DIR: u32 = 1 << 31;
const MODE_SYMLINK: u32 = 1 << 27;
const MODE_DEVICE: u32 = 1 << 26;
const MODE_FIFO: u32 = 1 << 25;
const MODE_SOCKET: u32 = 1 << 24;
const MODE_SETUID: u32 = 1 << 23;
const MODE_SETGID: u32 = 1 << 22;
const MODE_CHARACTER: u32 = 1 << 21;
const MODE_STICKY: u32 = 1 << 20;

fn go_mode(node: &Node) -> u32 {
    let kind = match node.kind {
        NodeKind::File { .. } => 0,
        NodeKind::Dir { .. } => MODE_DIR,
        NodeKind::Symlink { .. } => MODE_SYMLINK,
        NodeKind::Fifo => MODE_FIFO,
        NodeKind::Socket => MODE_SOCKET,
        NodeKind::Device { kind: DeviceKind::Block, .. } => MODE_DEVICE,
        NodeKind::Device { kind: DeviceKind::Character, .. } => MODE_DEVICE | MODE_CHARACTER,
    };
    let bit = |unix: u32, go: u32| if node.meta.mode & unix != 0 { go } else { 0 };
    kind | node.meta.mode & 0o777
        | bit(0o4000, MODE_SETUID)
        | bit(0o2000, MODE_SETGID)
        | bit(0o1000, MODE_STICKY)
}

fn unix_mode(go: u32) -> u32 {
    let bit = |go_bit: u32, unix: u32| if go & go_bit != 0 { unix } else { 0 };
    go & 0o777 | bit(MODE_SETUID, 0o4000) | bit(MODE_SETGID, 0o2000) | bit(MODE_STICKY, 0o1000)
}

fn to_wire(node: &Node) -> WireNode<'_> {
    let meta = &node.meta;
    let mut wire = WireNode {
        name: quote(&node.name),
        kind: Cow::Borrowed(match node.kind {
            NodeKind::File { .. } => "file",
            NodeKind::Dir { .. } => "dir",
            NodeKind::Symlink { .. } => "symlink",
            NodeKind::Fifo => "fifo",
            NodeKind::Socket => "socket",
            NodeKind::Device { kind: DeviceKind::Block, .. } => "dev",
            NodeKind::Device { kind: DeviceKind::Character, .. } => "chardev",
        }),
        mode: go_mode(node),
        mtime: format::write_time(meta.mtime).into(),
        atime: format::write_time(meta.atime).into(),
        ctime: format::write_time(meta.ctime).into(),
        uid: meta.uid,
        gid: meta.gid,
        user: meta.user.as_deref().unwrap_or_default().into(),
        group: meta.group.as_deref().unwrap_or_default().into(),
        inode: meta.inode,
        device_id: meta.device,
        size: node.size(),
        links: meta.links,
        linktarget: Cow::Borrowed(""),
        linktarget_raw: None,
        extended_attributes: meta
            .xattrs
            .iter()
            .map(|xattr| WireXattr {
                name: quote_xattr(&xattr.name),
                value: Some(BASE64.encode(&xattr.value).into()),
            })
            .collect(),
        device: 0,
        content: None,
        subtree: None,
        releve_sparse: false,
        releve_unread: meta.unread.clone(),
    };
    match &node.kind {
        NodeKind::File { content, sparse, .. } => {
            wire.content = Some(content.clone());
            wire.releve_sparse = *sparse;
        }
        NodeKind::Dir { subtree } => wire.subtree = *subtree,
        NodeKind::Symlink { target } => {
            wire.linktarget = String::from_utf8_lossy(target);
            if matches!(wire.linktarget, Cow::Owned(_)) {
                wire.linktarget_raw = Some(BASE64.encode(target).into());
            }
        }
        NodeKind::Device { number, .. } => wire.device = *number,
        NodeKind::Fifo | NodeKind::Socket => {}
    }
    wire
}

fn from_wire(wire: WireNode<'_>) -> Result<Node, String> {
    let name = unquote(&wire.name).ok_or_else(|| format!("malformed name {:?}", wire.name))?;
    let bad = |what: &str| format!("malformed {what} of {:?}", wire.name);
    // A detail that makes no sense is named, and costs nobody the content.
    let mut unread = wire.releve_unread.clone();
    let mut time = |text: &str, what: &str| -> Option<Timestamp> {
        let read = if text.is_empty() { Some(Timestamp::default()) } else { format::read_time(text) };
        if read.is_none() {
            unread.push(format!("{what}: the vault has {text:?}, which is no time"));
        }
        read
    };
    let mtime = time(&wire.mtime, "time of change").unwrap_or_default();
    let atime = time(&wire.atime, "time of access").unwrap_or(mtime);
    let ctime = format::read_time(&wire.ctime).unwrap_or_default();
    let kind = match &*wire.kind {
        "file" => NodeKind::File {
            size: wire.size,
            content: wire.content.unwrap_or_default(),
            sparse: wire.releve_sparse,
        },
        "dir" => NodeKind::Dir { subtree: wire.subtree },
        "symlink" => NodeKind::Symlink {
            target: match &wire.linktarget_raw {
                Some(raw) => BASE64.decode(raw.as_bytes()).map_err(|_| bad("link target"))?,
                None => wire.linktarget.as_bytes().to_vec(),
            },
        },
        "fifo" => NodeKind::Fifo,
        "socket" => NodeKind::Socket,
        "dev" => NodeKind::Device { kind: DeviceKind::Block, number: wire.device },
        "chardev" => NodeKind::Device { kind: DeviceKind::Character, number: wire.device },
        other => return Err(format!("{:?} is of the unknown type {other:?}", wire.name)),
    };
    let mut xattrs = Vec::with_capacity(wire.extended_attributes.len());
    for xattr in &wire.extended_attributes {
        let value = xattr.value.as_deref().unwrap_or_default();
        match BASE64.decode(value.as_bytes()) {
            Ok(value) => xattrs.push(Xattr { name: unquote_xattr(&xattr.name), value }),
            Err(_) => unread.push(format!("attribute {}: its value in the vault makes no sense", xattr.name)),
        }
    }
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let meta = Meta {
        mode: unix_mode(wire.mode),
        uid: wire.uid,
        gid: wire.gid,
        user: text(&wire.user),
        group: text(&wire.group),
        mtime,
        atime,
        // It can't be set, and what it is compared with is never this: then the entry is read again.
        ctime,
        inode: wire.inode,
        device: wire.device_id,
        links: wire.links,
        xattrs,
        unread,
    };
    Ok(Node { name, meta, kind })
}

/// Writes a name as Go's `strconv.Quote` would, without the quotes: what isn't printable ASCII or valid UTF-8 is escaped.
fn quote(name: &[u8]) -> Cow<'_, str> {
    use std::fmt::Write;
    let plain = |c: char| !c.is_control() && c != '\\' && c != '"';
    if let Ok(text) = std::str::from_utf8(name)
        && text.chars().all(plain)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '"' => out.extend(['\\', c]),
                c if c.is_control() => {
                    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                        let _ = write!(out, "\\x{byte:02x}");
                    }
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// Undoes Go's quoting. `None` for an escape that Go doesn't know.
fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let letter = escape.chars().next()?;
        rest = escape.get(letter.len_utf8()..)?;
        let mut number = |count: usize, radix: u32| {
            let (digits, after) = rest.split_at_checked(count)?;
            rest = after;
            u32::from_str_radix(digits, radix).ok()
        };
        match letter {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            '"' => out.push(b'"'),
            'x' => out.push(u8::try_from(number(2, 16)?).ok()?),
            'u' | 'U' => {
                let code = number(if letter == 'u' { 4 } else { 8 }, 16)?;
                out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
            }
            '0'..='7' => {
                let low = number(2, 8)?;
                out.push(u8::try_from(letter.to_digit(8)? * 64 + low).ok()?);
            }
            _ => return None,
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

/// Attribute names are ASCII in practice, and restic doesn't quote them. One that isn't UTF-8 is written with a marker that no kernel gives.
fn quote_xattr(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(format!("\u{0}{}", BASE64.encode(name))),
    }
}

fn unquote_xattr(text: &str) -> Vec<u8> {
    match text.strip_prefix('\u{0}').map(|encoded| BASE64.decode(encoded)) {
        Some(Ok(name)) => name,
        _ => text.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), length)
    }

    proptest! {
        #[test]
        fn any_name_survives(name in bytes(1..300)) {
            prop_assert_eq!(unquote(&quote(&name)).unwrap(), name);
        }

        #[test]
        fn any_text_is_unquoted_or_refused(text in ".{0,80}") {
            let _ = unquote(&text);
        }

        #[test]
        fn any_node_survives(
            name in bytes(1..40), target in bytes(0..40), value in bytes(0..40), mode in 0..0o10000u32,
            seconds in format::EARLIEST.seconds..=format::LATEST.seconds, nanos in 0..1_000_000_000u32, which in 0..7u8,
        ) {
            let time = Timestamp { seconds, nanos };
            let kind = match which {
                0 => NodeKind::File { size: u64::from(nanos), content: vec![BlobId::of(&name)], sparse: mode % 2 == 0 },
                1 => NodeKind::Dir { subtree: Some(BlobId::of(&target)) },
                2 => NodeKind::Symlink { target: target.clone() },
                3 => NodeKind::Fifo,
                4 => NodeKind::Socket,
                5 => NodeKind::Device { kind: DeviceKind::Block, number: 0x0103 },
                _ => NodeKind::Device { kind: DeviceKind::Character, number: 0x0501 },
            };
            // No attribute has a NUL in its name: one at the beginning says that the rest is encoded.
            let other = target.into_iter().filter(|byte| *byte != 0).collect();
            let xattrs =
                vec![Xattr { name: b"user.x".to_vec(), value: value.clone() }, Xattr { name: other, value }];
            let meta = Meta {
                mode, uid: 1, gid: 2, user: Some("u".into()), group: None, mtime: time, atime: time, ctime: time,
                inode: 7, device: 8, links: 1, xattrs,
                unread: if mode % 3 == 0 { vec!["attribute user.y: no".into()] } else { Vec::new() },
            };
            let node = Node { name, meta, kind };
            prop_assert_eq!(read(&write(std::slice::from_mut(&mut node.clone()))).unwrap(), vec![node]);
        }
    }

    #[test]
    fn what_go_escapes_is_understood() {
        let cases: [(&str, &[u8]); 5] = [
            (r"a\\b", b"a\\b"),
            (r"\xff\n", b"\xff\n"),
            (r"\u00e9", "é".as_bytes()),
            (r"\101", b"A"),
            (r#"\""#, b"\""),
        ];
        for (text, bytes) in cases {
            assert_eq!(unquote(text).unwrap(), bytes, "{text}");
        }
        for text in [r"\", r"\x", r"\xf", r"\q", r"\xé0", r"\ud800"] {
            assert!(unquote(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_tree_of_more_entries_than_any_program_writes_in_so_many_bytes_is_refused() {
        let least = r#"{"name":"","type":"","uid":0,"gid":0},"#;
        let tree =
            |entries: usize| format!(r#"{{"nodes":[{}]}}"#, least.repeat(entries).trim_end_matches(','));
        assert_eq!(read_each(tree(1000).as_bytes()).unwrap().len(), 1000);
        assert!(read_each(tree(10_000).as_bytes()).unwrap_err().contains("more entries"));
        for bad in [r#"{"nodes":[]} x"#, "{}", r#"{"nodes":[],"nodes":[]}"#, r#"{"nodes":null}"#] {
            read_each(bad.as_bytes()).unwrap_err();
        }
        assert!(read_each(br#"{"later":{"a":[1]},"nodes":[]}"#).unwrap().is_empty());
    }

    #[test]
    fn an_empty_file_has_an_empty_list_and_not_none() {
        let mut node = [Node {
            name: b"x".to_vec(),
            meta: Meta::default(),
            kind: NodeKind::File { size: 0, content: vec![], sparse: false },
        }];
        assert!(String::from_utf8(write(&mut node)).unwrap().contains(r#""content":[]"#));
    }
}
