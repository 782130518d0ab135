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

/// What git keeps many objects in.
pub(super) const GIT_PACK: &str = "git pack";

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
    (0, b"PACK\0\0\0", GIT_PACK, Class::Packed),
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

/// Names that archives end in, and the kind that each then is. Those that may have a password nobody sees from outside (7z, rar) are none of them.
const ARCHIVES: &[(&str, &str)] = &[
    ("tar", "tar"),
    ("gz", "gzip"),
    ("tgz", "gzip"),
    ("zst", "zstd"),
    ("tzst", "zstd"),
    ("xz", "xz"),
    ("txz", "xz"),
    ("bz2", "bzip2"),
    ("tbz2", "bzip2"),
    ("lz4", "lz4"),
    ("lz", "lzip"),
    ("lzma", "lzma"),
    ("zip", "zip"),
    ("sqfs", "squashfs"),
    ("squashfs", "squashfs"),
];
/// How an entry of a zip archive begins, and how long that is without its names.
const ZIP_ENTRY: &[u8] = b"PK\x03\x04";
const ZIP_HEADER: usize = 30;

/// Returns whether content is an archive that its kind, its name and, for one that could have a password, its first file say can be opened.
pub(super) fn is_archive(name: &[u8], kind: &'static str, is_locked: bool) -> bool {
    let ending = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    !is_locked && ARCHIVES.iter().any(|(end, of)| *of == kind && end.as_bytes().eq_ignore_ascii_case(ending))
}

/// Returns whether a zip archive that begins so may need a password: the first of its files that holds something does, or lies too far behind.
pub(super) fn is_locked_zip(head: &[u8]) -> bool {
    let mut rest = head;
    while rest.starts_with(ZIP_ENTRY) && rest.len() >= ZIP_HEADER {
        let number = |at: usize, bytes: usize| {
            let field = rest.get(at..at + bytes).unwrap_or_default();
            field.iter().rev().fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte))
        };
        let (flags, packed, name, more) = (number(6, 2), number(18, 4), number(26, 2), number(28, 2));
        let is_folder = rest.get(ZIP_HEADER..ZIP_HEADER + name).is_some_and(|name| name.ends_with(b"/"));
        // Where the length comes behind the content, it says 0 here.
        let is_empty = packed == 0 && flags & 8 == 0;
        let is_locked = flags & 1 == 1;
        if is_locked || !(is_folder || is_empty) {
            return is_locked;
        }
        rest = rest.get(ZIP_HEADER + name + more + packed..).unwrap_or_default();
    }
    true
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of a zip archive: its name, and whether it has a password.
    fn entry(name: &str, locked: bool, content: &[u8]) -> Vec<u8> {
        let length = |of: usize| u16::try_from(of).unwrap().to_le_bytes();
        let flags = [u8::from(locked), 0];
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let head = [ZIP_ENTRY, &[20, 0], &flags, &[0; 10], &size, &size, &length(name.len()), &length(0)];
        [head.concat(), name.as_bytes().to_vec(), content.to_vec()].concat()
    }

    #[test]
    fn a_zip_archive_tells_whether_it_has_a_password_by_its_first_file() {
        let zip = |entries: &[(&str, bool)]| {
            entries.iter().flat_map(|(name, locked)| entry(name, *locked, b"xy")).collect::<Vec<u8>>()
        };
        assert!(!is_locked_zip(&zip(&[("a.txt", false)])) && is_locked_zip(&zip(&[("a.txt", true)])));
        let folder = entry("2024/", false, b"");
        assert!(is_locked_zip(&[folder.clone(), entry("2024/a", true, b"xy")].concat()));
        assert!(!is_locked_zip(&[folder.clone(), entry("2024/a", false, b"xy")].concat()));
        assert!(is_locked_zip(&folder), "nobody knows");
    }

    #[test]
    fn an_archive_is_one_by_its_name_and_its_kind() {
        let is = |name: &str, kind| is_archive(name.as_bytes(), kind, false);
        assert!(is("2024.tar.gz", "gzip") && is("a.ZIP", "zip"));
        assert!(!is("a.docx", "zip") && !is("a.zip", "gzip") && !is("a.7z", "7z"));
        assert!(!is_archive(b"a.zip", "zip", true));
    }
}
