//! Which kind of content the first bytes say it is, and which one a name promises.

/// What follows from a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Compressed by nature: looks like noise behind its first bytes, and means nothing by it.
    Packed,
    /// What programs for encryption write.
    Sealed,
    /// Has structure of its own throughout.
    Open,
}

/// A kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) class: Class,
}

/// How many bytes the kinds are told by.
const HEAD: usize = 512;

/// Where the mark stands, the mark, and what it is a mark of.
type Mark = (usize, &'static [u8], &'static str, Class);

/// Marks of at least three bytes: noise bears one of those by chance once in a hundred thousand files.
const MARKS: &[Mark] = &[
    (0, b"\xff\xd8\xff", "jpeg", Class::Packed),
    (0, b"\x89PNG\r\n", "png", Class::Packed),
    (0, b"GIF8", "gif", Class::Packed),
    (0, b"RIFF", "riff", Class::Packed),
    (4, b"ftyp", "mp4", Class::Packed),
    (0, b"\x1a\x45\xdf\xa3", "matroska", Class::Packed),
    (0, b"OggS", "ogg", Class::Packed),
    (0, b"fLaC", "flac", Class::Packed),
    (0, b"ID3", "mp3", Class::Packed),
    (0, b"wOF2", "woff2", Class::Packed),
    (0, b"wOFF", "woff", Class::Packed),
    (0, b"PK\x03\x04", "zip", Class::Packed),
    (0, b"PK\x05\x06", "zip", Class::Packed),
    (0, b"\x1f\x8b\x08", "gzip", Class::Packed),
    (0, b"\x28\xb5\x2f\xfd", "zstd", Class::Packed),
    (0, b"\xfd7zXZ\0", "xz", Class::Packed),
    (0, b"BZh", "bzip2", Class::Packed),
    (0, b"\x04\x22\x4d\x18", "lz4", Class::Packed),
    (0, b"\x5d\0\0", "lzma", Class::Packed),
    (0, b"LZIP", "lzip", Class::Packed),
    (0, b"7z\xbc\xaf\x27\x1c", "7z", Class::Packed),
    (0, b"Rar!\x1a", "rar", Class::Packed),
    (0, b"MSCF", "cab", Class::Packed),
    (0, b"PACK\0\0\0", "git pack", Class::Packed),
    (0, b"\x03\xd9\xa2\x9a", "keepass", Class::Packed),
    (0, b"hsqs", "squashfs", Class::Packed),
    (0, b"\xed\xab\xee\xdb", "rpm", Class::Packed),
    (0, b"!<arch>\ndebian", "deb", Class::Packed),
    (0, b"Salted__", "openssl", Class::Sealed),
    (0, b"age-encryption.org/", "age", Class::Sealed),
    (0, b"LUKS\xba\xbe", "luks", Class::Sealed),
    (0, b"AES\x02", "aescrypt", Class::Sealed),
    (0, b"U2FsdGVkX1", "openssl", Class::Sealed),
    (0, b"-----BEGIN PGP MESSAGE", "pgp", Class::Sealed),
    (0, b"-----BEGIN AGE ENCRYPTED", "age", Class::Sealed),
    (0, b"$ANSIBLE_VAULT;", "ansible", Class::Sealed),
    // Keys and certificates.
    (0, b"-----BEGIN ", "pem", Class::Open),
    (0, b"%PDF-", "pdf", Class::Open),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole", Class::Open),
    (0, b"SQLite format 3\0", "sqlite", Class::Open),
    (0, b"\x7fELF", "elf", Class::Open),
    (0, b"{\\rtf", "rtf", Class::Open),
    (0, b"<?xml", "xml", Class::Open),
    (0, b"II*\0", "tiff", Class::Open),
    (0, b"MM\0*", "tiff", Class::Open),
    (0, b"8BPS", "psd", Class::Open),
    (0, b"!BDN", "pst", Class::Open),
    (0, b"QFI\xfb", "qcow2", Class::Open),
    (0, b"KDMV", "vmdk", Class::Open),
    (257, b"ustar", "tar", Class::Open),
];

/// Which kind the names that end so promise.
const ENDINGS: &[(&str, &str)] = &[
    ("jpg", "jpeg"),
    ("jpeg", "jpeg"),
    ("png", "png"),
    ("gif", "gif"),
    ("webp", "riff"),
    ("mp4", "mp4"),
    ("m4a", "mp4"),
    ("mov", "mp4"),
    ("heic", "mp4"),
    ("mkv", "matroska"),
    ("webm", "matroska"),
    ("ogg", "ogg"),
    ("flac", "flac"),
    ("zip", "zip"),
    ("jar", "zip"),
    ("docx", "zip"),
    ("xlsx", "zip"),
    ("pptx", "zip"),
    ("odt", "zip"),
    ("ods", "zip"),
    ("odp", "zip"),
    ("epub", "zip"),
    ("gz", "gzip"),
    ("tgz", "gzip"),
    ("zst", "zstd"),
    ("xz", "xz"),
    ("bz2", "bzip2"),
    ("7z", "7z"),
    ("rar", "rar"),
    ("pdf", "pdf"),
    ("doc", "ole"),
    ("xls", "ole"),
    ("ppt", "ole"),
    ("sqlite", "sqlite"),
    ("tar", "tar"),
];

/// Returns the kind that the first bytes of a content are a mark of.
pub(super) fn kind(head: &[u8]) -> Option<Kind> {
    let marked = |(at, mark, ..): &&Mark| head.get(*at..).is_some_and(|rest| rest.starts_with(mark));
    MARKS.iter().find(marked).map(|(_, _, name, class)| Kind { name, class: *class })
}

/// Returns the name of the kind that a file's name promises.
pub(super) fn promised(name: &[u8]) -> Option<&'static str> {
    let ending = name.rsplit(|byte| *byte == b'.').next()?;
    ENDINGS.iter().find(|(end, _)| end.as_bytes().eq_ignore_ascii_case(ending)).map(|(_, kind)| *kind)
}

/// Returns whether content begins as text does.
pub(super) fn is_text(head: &[u8]) -> bool {
    let head = head.get(..HEAD).unwrap_or(head);
    // The end may cut a letter in two; everything before is text, or isn't.
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    !head.is_empty()
        && valid + 4 > head.len()
        && !head.iter().any(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
}
