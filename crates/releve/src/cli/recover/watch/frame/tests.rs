use super::super::{AwaitedView, Warning};
use super::*;
use jiff::Timestamp;
use plan::outlook::Expected;

fn system(name: &str) -> SystemView {
    SystemView {
        system: name.into(),
        title: name.to_owned(),
        back: None,
        expected: Some(Expected { seconds: 1_200.0, unclear: None }),
        failure: None,
        rto_seconds: 1_800.0,
        rto: Verdict::InTime,
        mtpd_seconds: Some(14_400.0),
        mtpd: Some(Verdict::InTime),
        critical: false,
        share: 0.5,
        now: vec![],
        waits_for: vec![],
    }
}

fn view() -> View {
    let restoring = Restoring {
        bytes: 4_200_000_000,
        expected: 9_100_000_000,
        rate: Some(31_000_000.0),
        still_seconds: 0.0,
    };
    let data = Now {
        step: 4,
        what: "put its data back".into(),
        since: 130.0,
        restoring: Some(restoring),
        vaults: vec!["near".into(), "cloud".into()],
        slow: Some("31 MB/s now, 120 MB/s measured before".into()),
    };
    let asked = Now {
        step: 3,
        what: "Le disque est-il branché ?".into(),
        since: 70.0,
        restoring: None,
        vaults: vec![],
        slow: None,
    };
    View {
        id: "ab12".into(),
        scenario: Some("ransomware".into()),
        machine: "server".into(),
        started: Timestamp::UNIX_EPOCH,
        by: Some("server/boot/1".into()),
        ended: false,
        elapsed_seconds: 723.0,
        paused: None,
        steps: 25,
        steps_done: 14,
        expected: Expected { seconds: 1_203.0, unclear: Some(3) },
        critical: vec![4, 7, 8],
        systems: vec![
            SystemView { back: Some(151.0), ..system("mail") },
            SystemView { critical: true, now: vec![data], ..system("orders") },
            SystemView {
                rto: Verdict::LikelyLate,
                rto_seconds: 900.0,
                share: 0.0,
                waits_for: vec!["orders".into(), "step 3".into()],
                ..system("shop")
            },
            SystemView {
                rto: Verdict::Late,
                rto_seconds: 600.0,
                expected: None,
                failure: Some("start: `systemctl start -- portal` ended with exit status: 1".into()),
                ..system("portal")
            },
        ],
        now: vec![asked],
        awaited: vec![AwaitedView {
            step: 3,
            who: Some("claire".into()),
            what: "Le disque est-il branché ?".into(),
            since: 70.0,
            due: Some(600.0),
            verdict: Verdict::Late,
            answer: vec!["releve answer 3 yes".into(), "releve answer 3 no".into()],
        }],
        warnings: vec![Warning {
            late: false,
            text: "shop will likely be late: it is expected back after 20 minutes, and 15 minutes was promised".into(),
            proposal: None,
            proposed: Some("vault `cloud` holds the point too: if `near` hangs, cut it off, and all is read from `cloud`".into()),
        }],
    }
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn it_reads_like_this_at_80_columns_on_a_terminal_that_knows_nothing() {
    let frame = text(&lines(&view(), 80, usize::MAX, Charset::Ascii));
    let expected = "\
Recovery after `ransomware` on server                      12:03  14 of 25 steps
  mail   ############ back after 02:31 of 30:00
* orders ######...... 12:03 of 30:00, in about 8 min
         4* for 09:53: put its data back, 4.2 GB of 9.1 GB, 31.0 MB/s, from
            near, cloud
           SLOW: 31 MB/s now, 120 MB/s measured before
  shop   ............ 12:03 of 15:00, LIKELY LATE, in about 8 min
         waits for orders, step 3
  portal ######...... 12:03 of 10:00, LATE by 02:03, not expected back
         FAILED: start: `systemctl start -- portal` ended with exit status: 1
* decides when all is done: in 8 min at least; steps 4 > 7 > 8
Waiting for
  claire since 01:10, due at 10:00, LATE: Le disque est-il branche ?
    type: releve answer 3 yes
      or: releve answer 3 no
! shop will likely be late: it is expected back after 20 minutes, and 15 minutes
  was promised
  -> vault `cloud` holds the point too: if `near` hangs, cut it off, and all is
     read from `cloud`";
    assert_eq!(frame, expected, "\n{frame}");
}

#[test]
fn no_line_is_wider_and_no_frame_higher_than_the_terminal_whatever_is_in_it() {
    let mut long = view();
    long.paused = Some("le disque est presque plein, ".repeat(9));
    long.machine = "a-machine-with-a-name-that-is-much-too-long-for-any-terminal".into();
    long.critical = (0..5_000).collect();
    for at in 0..200 {
        long.systems.push(system(&format!("système-{at}-\u{1b}[31m")));
    }
    for view in [view(), long] {
        for width in [20, 40, 79, 80, 200] {
            for height in [4, 23, usize::MAX] {
                for charset in [Charset::Ascii, Charset::Unicode] {
                    let frame = lines(&view, width, height, charset);
                    assert!(frame.len() <= height && !frame.is_empty(), "{}", frame.len());
                    for line in &frame {
                        assert!(measure_text_width(&line.text) <= width, "{width}: {:?}", line.text);
                        assert!(!line.text.chars().any(plain::acts), "{:?}", line.text);
                        assert!(charset == Charset::Unicode || line.text.is_ascii(), "{:?}", line.text);
                    }
                }
            }
        }
    }
}

#[test]
fn where_there_is_no_room_what_is_late_stays() {
    let mut view = view();
    for at in 0..50 {
        view.systems.insert(0, SystemView { back: Some(1.0), ..system(&format!("s{at}")) });
    }
    let frame = text(&lines(&view, 80, 23, Charset::Ascii));
    assert!(frame.contains("LATE by") && frame.contains("51 more systems"), "{frame}");
}

#[test]
fn who_carries_it_out_and_that_it_is_paused_is_said_first() {
    let paused = View { paused: Some("the disk is full".into()), ..view() };
    let second = |view: &View| lines(view, 80, 99, Charset::Ascii)[1].text.clone();
    assert!(second(&paused).starts_with("PAUSED: the disk is full. releve recover --go-on"));
    let left = View { by: None, ..view() };
    assert!(second(&left).contains("--resume goes on with it"));
    let ended = View { by: None, ended: true, ..view() };
    assert!(second(&ended).contains("not everything is done"));
}

#[test]
fn the_end_says_what_is_back_and_what_is_not() {
    let result = |system: &str, rta_seconds| Result { system: system.into(), rta_seconds, findings: vec![] };
    let results = [result("orders", Some(1_801.0)), result("shop", None)];
    let said = end(&view(), Some(&results), true, 80, Charset::Ascii);
    assert_eq!(
        said,
        ["It has ended.", "  orders: back after 30:01, later than promised", "  shop: NOT BACK"]
    );
}

#[test]
fn letters_are_those_of_the_locale() {
    let of = |pairs: &'static [(&str, &str)]| {
        Charset::of_locale(&|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    };
    assert_eq!(of(&[("LANG", "fr_FR.UTF-8")]), Charset::Unicode);
    assert_eq!(of(&[("LANG", "fr_FR.UTF-8"), ("LC_ALL", "C")]), Charset::Ascii);
    assert_eq!(of(&[("LANG", "C.utf8"), ("LC_ALL", "")]), Charset::Unicode);
    assert_eq!(of(&[]), Charset::Ascii);
}
