use super::*;
use proptest::prelude::*;

/// Letters of each kind that acts, as they were seen in the wild.
const HOSTILE: &str = "a\x1b[2A\x1b[K\r\n\t\u{9b}31mb\u{202e}c\u{2066}d\u{200b}\u{200d}\u{feff}\u{2028}\u{61c}\u{ad}\u{e0041}\u{fe0f}\u{3164}z";

/// Letters of Korean that stand for nothing.
const FILLERS: [char; 4] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'];

fn is_harmless(text: &str) -> bool {
    !text.chars().any(acts)
}

#[test]
fn what_acts_is_what_a_terminal_obeys_or_nobody_sees() {
    for letter in '\0'..=char::MAX {
        assert!(!letter.is_control() || acts(letter), "{letter:?}");
        assert!(!letter.is_alphanumeric() || !acts(letter) || FILLERS.contains(&letter), "{letter:?}");
        let shown = line(&letter.to_string()).into_owned();
        assert!(is_harmless(&shown) && !shown.is_empty(), "{letter:?}");
        assert_eq!(shown == letter.to_string(), !acts(letter), "{letter:?}");
    }
    for legible in "azé漢かعא€ \u{a0}\u{202f}—…“»\u{300}\u{1f600}".chars() {
        assert!(!acts(legible), "{legible:?}");
    }
}

#[test]
fn a_name_is_one_line_that_can_be_read_and_no_longer_than_that() {
    let shown = Name::of(HOSTILE).to_string();
    assert!(shown.starts_with(r"a\u{1b}[2A\u{1b}[K\r\n\t\u{9b}31mb\u{202e}c\u{2066}d\u{200b}"), "{shown}");
    assert!(is_harmless(&shown) && shown.ends_with('z'), "{shown}");
    assert_eq!(Name::of("a b").to_string(), "a b");
    assert_eq!(Name::of(" a  b\u{3000}").to_string(), "\\u{20}a \\u{20}b\u{3000}");
    assert_eq!(Name::path(Path::new("/srv/été")).to_string(), "/srv/été");
    assert_eq!(format!("[{:5}]", Name::of("ab")), "[ab   ]");
    let long = format!("begins{}ends", "\x07".repeat(100_000));
    let shown = Name::of(&long).to_string();
    assert_eq!(shown.chars().count(), NAME_MAX);
    assert!(shown.starts_with("begins") && shown.ends_with("ends"), "{shown}");
}

#[test]
fn no_line_of_a_statement_is_somebody_elses() {
    let shown = statement("error: no file \"\nerror: none\r\n\nCarry this out? [y/N]\u{2028}yes\"");
    assert_eq!(
        shown,
        "error: no file \"\n    | error: none\\r\n    | \n    | Carry this out? [y/N]\\u{2028}yes\""
    );
    assert_eq!(statement("a\tb"), "a\tb");
    assert!(matches!(statement("as it is: é"), Cow::Borrowed(_)));
    let long = statement(&"é".repeat(1 << 20)).into_owned();
    assert_eq!(long.chars().count(), STATEMENT_MAX + 1);
    assert!(long.ends_with("é…"));
}

#[test]
fn colours_stay_where_they_are_ours_and_nothing_else_that_a_terminal_obeys() {
    assert_eq!(styled("\x1b[1;31mred\x1b[0m\n\tok"), "\x1b[1;31mred\x1b[0m\n\tok");
    for command in
        ["\x1b[2A", "\x1b[K", "\x1b]0;title\x07", "\x1b[?25l", "\x1bc", "\x1b", "\x1b[31", "\x1b[é"]
    {
        let shown = styled(command);
        assert!(is_harmless(&shown) && shown.starts_with(r"\u{1b}"), "{shown}");
    }
    assert_eq!(page("\x1b[31mred\nno"), "\\u{1b}[31mred\nno");
}

#[test]
fn a_document_says_the_same() {
    // As serde writes it: controls of ASCII are escaped there, and no others.
    let document = "{\n  \"name\": \"a\\u001b\u{9b}\u{202e}\u{e0041}é\"\n}";
    assert_eq!(json(document), "{\n  \"name\": \"a\\u001b\\u009b\\u202e\\udb40\\udc41é\"\n}");
    assert!(matches!(json("{\n  \"a\": \"é\"\n}"), Cow::Borrowed(_)));
}

#[test]
fn prose_is_words_with_a_blank_between() {
    assert_eq!(words("x\r\nBcc: all@example\u{2028}y\u{202e}z\0 "), "x Bcc: all@example y z");
    assert_eq!((head("abcdef", 4), head("abcd", 4)), ("abc…".to_owned(), "abcd".to_owned()));
    assert_eq!((middle("abcdefgh", 5), middle("abc", 5)), ("ab…gh".to_owned(), "abc".to_owned()));
}

proptest! {
    #[test]
    fn whatever_somebody_writes_nothing_of_it_acts(
        text in r"([a-z ]|\x1b\[[0-9;]{0,4}[mAK]|[\x00-\x1f]|[\u{80}-\u{9f}]|[\u{2000}-\u{206f}]|\PC|\n){0,60}"
    ) {
        prop_assert!(is_harmless(&Name::of(&text).to_string()));
        prop_assert!(is_harmless(&line(&text)));
        prop_assert!(is_harmless(&words(&text)));
        let of_ours = |letter: char| matches!(letter, '\n' | '\t') || !acts(letter);
        prop_assert!(page(&text).chars().all(of_ours));
        let shown = statement(&text).into_owned();
        prop_assert!(shown.chars().all(of_ours));
        prop_assert!(shown.split('\n').skip(1).all(|line| line.starts_with("    | ")));
        // What is left of escapes in what is styled colours, and does nothing else.
        for behind in styled(&text).split('\x1b').skip(1) {
            prop_assert!(style(behind).is_some(), "{:?}", behind);
        }
        prop_assert_eq!(page(&text).matches('\n').count(), text.matches('\n').count());
    }
}
