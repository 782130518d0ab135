//! Whatever a machine looks like, the plan for it can be read and used.

use super::super::clusters::Cluster;
use super::super::disks::{Disk, Mount};
use super::super::machine::{Kind, Server, Unit};
use super::*;
use plan::{Plan, Severity, Source, SourceFile, SystemName};
use proptest::prelude::*;

fn place(privileged: bool) -> Place {
    Place { dir: "/etc/releve".into(), key: "/etc/releve/local.key".into(), privileged }
}

fn server(kind: Kind, program: &str) -> Server {
    Server { kind, program: program.into(), contained: false, socket: None }
}

/// A small company's server.
fn shop() -> Facts {
    let unit =
        |name: &str, own: bool, text: &str| Unit { name: name.into(), enabled: true, own, text: text.into() };
    Facts {
        hostname: "shop-1".into(),
        system: Some("Debian GNU/Linux 12".into()),
        servers: vec![
            server(Kind::Postgres, "postgres"),
            server(Kind::Mariadb, "mariadbd"),
            server(Kind::Web, "nginx"),
        ],
        ports: [80].into(),
        units: vec![
            unit("nginx.service", false, ""),
            unit("shop.service", true, "ExecStart=/srv/shop/bin/serve --port 80\n"),
        ],
        srv: vec!["/srv/files".into(), "/srv/shop".into()],
        folders: ["/etc", "/home", "/srv", "/var/www"].map(str::to_owned).into(),
        databases: vec!["/srv/shop/data/orders.db".into(), "/var/lib/grafana/grafana.db".into()],
        clusters: vec![Cluster {
            data: "/var/lib/postgresql/15/main".into(),
            runs: true,
            port: Some(5433),
            service: Some("postgresql@15-main".into()),
        }],
        ..Facts::default()
    }
}

/// Reads what was written; every error fails the test.
fn read(facts: &Facts, place: &Place) -> (Plan, Written, Vec<&'static str>) {
    let written = plan(facts, place);
    let parsed = plan::parse(&[SourceFile { name: "plan.toml".into(), text: written.text.clone() }]);
    let errors: Vec<_> =
        parsed.diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?}\n{}", written.text);
    let mut codes: Vec<_> = parsed.diagnostics.iter().map(|found| found.code).collect();
    codes.sort_unstable();
    codes.dedup();
    (parsed.plan.unwrap(), written, codes)
}

fn system<'p>(plan: &'p Plan, name: &str) -> &'p plan::System {
    plan.systems.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", plan.systems.keys()))
}

#[test]
fn a_shop_gets_its_systems_and_the_warnings_are_what_a_person_must_decide() {
    let (plan, written, codes) = read(&shop(), &place(true));
    let names: Vec<_> = plan.systems.keys().map(|name| name.0.as_str()).collect();
    let expected = [
        "configuration",
        "files",
        "grafana",
        "home",
        "mariadb",
        "postgresql",
        "shop",
        "shop-orders",
        "srv",
        "web",
    ];
    assert_eq!(names, expected);
    let mut told = written.systems.clone();
    told.sort();
    assert_eq!(told, expected);
    assert!(["no-check", "one-site"].iter().all(|code| codes.contains(code)), "{codes:?}");
    // Those that have a scenario that is built in.
    let causes = plan::CAUSES.get(..5).unwrap_or_default();
    assert_eq!(plan.scenarios.len(), causes.len());
    assert!(causes.iter().all(|cause| plan.scenarios.values().any(|scenario| scenario.cause == *cause)));
    assert_eq!(plan.machine_name(&"shop-1".into()), "shop-1");
    assert_eq!(plan.vaults["local"].url, "file:///srv/releve");
}

#[test]
fn a_database_is_copied_through_sqlite_and_not_with_its_folder() {
    let (plan, _, _) = read(&shop(), &place(true));
    let shop = system(&plan, "shop");
    let Some(Source::Files(files)) = &shop.source else { panic!("{:?}", shop.source) };
    assert_eq!(files.exclude, ["/srv/shop/data/orders.db", "/srv/shop/data/orders.db-{wal,shm,journal}"]);
    assert_eq!(shop.needs, [SystemName::from("configuration"), "shop-orders".into()]);
    let Some(Source::Files(rest)) = &system(&plan, "srv").source else { panic!() };
    assert_eq!(rest.exclude, ["/srv/files", "/srv/shop"]);
    let Some(Source::Sqlite(orders)) = &system(&plan, "shop-orders").source else { panic!() };
    assert_eq!(orders.path, "/srv/shop/data/orders.db");
}

#[test]
fn a_mariadb_server_is_a_source_of_its_own() {
    let (plan, written, _) = read(&shop(), &place(true));
    let Some(Source::Mariadb(mariadb)) = &system(&plan, "mariadb").source else { panic!("{}", written.text) };
    assert!(
        matches!(&mariadb.url, Some(plan::Secret::Command(command)) if command[0] == "echo"),
        "{mariadb:?}"
    );
    let mut contained = shop();
    contained.servers[1].contained = true;
    let (plan, written, _) = read(&contained, &place(true));
    assert!(!plan.systems.contains_key("mariadb"));
    assert!(written.text.contains("publish its port"));
}

#[test]
fn the_service_is_stopped_by_both_and_started_by_the_last() {
    let (plan, _, _) = read(&shop(), &place(true));
    let of = |name: &str| {
        let recover = &system(&plan, name).recover;
        let unit = |action: &Option<plan::Action>| action.as_ref().and_then(|action| action.service.clone());
        (unit(&recover.stop), unit(&recover.start))
    };
    let unit = Some("shop.service".to_owned());
    assert_eq!(of("shop"), (unit.clone(), unit.clone()));
    assert_eq!(of("shop-orders"), (unit, None));
    assert_eq!(of("files"), (None, None));
    assert_eq!(of("web"), (Some("nginx".into()), Some("nginx".into())));
}

#[test]
fn a_cluster_of_postgresql_is_copied_from_its_data_directory_with_its_unit() {
    let (plan, written, _) = read(&shop(), &place(true));
    let system = system(&plan, "postgresql");
    let Some(Source::Postgres(cluster)) = &system.source else { panic!("{:?}", system.source) };
    assert_eq!(cluster.data_directory, "/var/lib/postgresql/15/main");
    assert_eq!(cluster.url, Some(plan::Secret::Env("POSTGRESQL_URL".into())));
    for action in [&system.recover.stop, &system.recover.start] {
        assert_eq!(action.as_ref().unwrap().service.as_deref(), Some("postgresql@15-main"));
    }
    assert!(written.text.contains("127.0.0.1:5433/"));
}

#[test]
fn a_second_cluster_has_a_url_of_its_own_and_one_that_does_not_run_is_commented_out() {
    let mut facts = shop();
    let other = |data: &str, runs| Cluster { data: data.into(), runs, port: None, service: None };
    facts.clusters.extend([other("/srv/pg", true), other("/var/lib/postgresql/13/old", false)]);
    let (plan, written, _) = read(&facts, &place(true));
    let Some(Source::Postgres(second)) = &system(&plan, "postgresql-2").source else { panic!() };
    assert_eq!(second.url, Some(plan::Secret::Env("POSTGRESQL_2_URL".into())));
    assert!(!plan.systems.contains_key("postgresql-3"));
    assert!(written.text.contains("# [systems.postgresql-3]"));
}

#[test]
fn a_server_that_can_not_be_reached_is_commented_out() {
    let (plan, written, _) = read(&shop(), &place(false));
    assert!(!plan.systems.contains_key("postgresql"));
    assert!(written.text.contains("# [systems.postgresql]"));
    let mut unseen = shop();
    unseen.clusters.clear();
    let (plan, written, _) = read(&unseen, &place(true));
    assert!(!plan.systems.contains_key("postgresql"));
    assert!(written.text.contains("# [systems.postgresql]"));
    unseen.servers[0].contained = true;
    let (plan, written, _) = read(&unseen, &place(true));
    assert!(!plan.systems.contains_key("postgresql"));
    assert!(written.text.contains("pg_dumpall"));
    assert!(written.text.contains("docker exec"));
}

/// What stands behind `# ` must work once it is taken in.
#[test]
fn what_is_commented_out_can_be_taken_in() {
    let mut facts = shop();
    facts.servers.extend([server(Kind::Redis, "redis-server"), server(Kind::Mongodb, "mongod")]);
    facts.folders.insert("/var/lib/docker/volumes".into());
    let written = plan(&facts, &place(false));
    let is_toml = |line: &str| line.starts_with('[') || line.split(' ').nth(1) == Some("=");
    let taken_in: Vec<_> = written
        .text
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|line| is_toml(line)).unwrap_or(line))
        .collect();
    let parsed = plan::parse(&[SourceFile { name: "plan.toml".into(), text: taken_in.join("\n") }]);
    assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
    let plan = parsed.plan.unwrap();
    for name in ["postgresql", "mariadb", "redis", "mongodb", "containers"] {
        system(&plan, name);
    }
    assert!(plan.vaults.contains_key("cloud"));
    assert!(plan.policy.keep.is_some());
}

#[test]
fn a_second_disk_takes_the_vault() {
    let mut facts = shop();
    let mount = |at: &str, disk: &str| Mount {
        at: at.into(),
        kind: "ext4".into(),
        read_only: false,
        disks: [disk.to_owned()].into(),
    };
    facts.mounts = vec![mount("/", "sda"), mount("/backup", "sdb")];
    facts.disks = vec![Disk { name: "sdb".into(), bytes: 1, removable: false }];
    assert_eq!(read(&facts, &place(true)).1.vault, "file:///backup/releve");
    let elsewhere = Place { dir: "/home/hugo/my plan".into(), ..place(false) };
    assert_eq!(read(&facts, &elsewhere).1.vault, "file:///home/hugo/my%20plan/vault");
}

#[test]
fn a_machine_without_a_name_and_with_nothing_on_it_has_a_plan_too() {
    let (plan, _, _) = read(&Facts::default(), &place(false));
    assert_eq!(plan.systems.len(), 1);
    assert!(plan.hosts.contains_key("server"));
}

#[test]
fn names_become_what_a_plan_allows() {
    for (wanted, given) in [
        ("shop", "shop"),
        ("Mon Atelier (été).db", "mon-atelier-t-db"),
        ("--x", "x"),
        ("été", "t"),
        ("日本", "otherwise"),
        ("", "otherwise"),
        ("a.b", "a-b"),
    ] {
        assert_eq!(name(wanted, "otherwise"), given);
    }
}

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![
        "/srv/[a-z]{1,3}(/[a-z]{1,2}){0,2}".boxed(),
        // Bytes of every kind, but never `/` in a name, nor the NUL that no path has.
        proptest::collection::vec("[^/\u{0}]{1,8}", 1..4)
            .prop_map(|parts| format!("/{}", parts.join("/")))
            .boxed(),
        proptest::collection::vec("[\\]\\[{}*?!,\\\\\"'\n\r\t#=. -]{1,6}", 1..3)
            .prop_map(|parts| format!("/srv/{}", parts.join("/")))
            .boxed(),
    ]
    .prop_filter("no listing names these", |path| !path.split('/').any(|part| part == "." || part == ".."))
}

fn any_facts() -> impl Strategy<Value = Facts> {
    use proptest::collection::{btree_set, vec};
    let kinds = [
        Kind::Postgres,
        Kind::Mariadb,
        Kind::Mysql,
        Kind::Redis,
        Kind::Mongodb,
        Kind::Web,
        Kind::Containers,
        Kind::Other,
    ];
    let server = (proptest::sample::select(kinds.to_vec()), "\\PC{1,8}", any::<bool>()).prop_map(
        |(kind, program, contained)| {
            let socket = contained.then(|| "/srv/a \"b\" c.sock".to_owned());
            Server { kind, program: format!("p{program}"), contained, socket }
        },
    );
    let unit =
        ("[^/]{1,8}", any::<bool>(), any::<bool>(), any_path()).prop_map(|(name, enabled, own, path)| Unit {
            name: format!("{name}.service"),
            enabled,
            own,
            text: format!("ExecStart={path}\n"),
        });
    let mount = (any_path(), any::<bool>(), btree_set("sd[a-c]", 0..2))
        .prop_map(|(at, read_only, disks)| Mount { at, kind: "ext4".into(), read_only, disks });
    let known = ["/etc", "/home", "/opt", "/srv", "/var/www", "/var/spool/cron", "/var/lib/docker/volumes"]
        .map(str::to_owned);
    let folders = btree_set(proptest::sample::select(known.to_vec()), 0..7);
    let texts = (any::<String>(), proptest::option::of(any::<String>()), vec(any::<String>(), 0..3));
    let service = proptest::option::of("[^/]{1,8}");
    let cluster = (any_path(), any::<bool>(), proptest::option::of(any::<u16>()), service)
        .prop_map(|(data, runs, port, service)| Cluster { data, runs, port, service });
    let databases = (vec(any_path(), 0..5), vec(cluster, 0..3));
    let places = (vec(any_path(), 0..5), folders, vec(mount, 0..3), databases);
    (texts, vec(server, 0..5), btree_set(any::<u16>(), 0..3), vec(unit, 0..4), places).prop_map(
        |(
            (hostname, system, notes),
            servers,
            ports,
            units,
            (srv, folders, mut mounts, (databases, clusters)),
        )| {
            mounts.push(Mount {
                at: "/".into(),
                kind: "ext4".into(),
                read_only: false,
                disks: ["sda".to_owned()].into(),
            });
            Facts {
                hostname,
                system,
                servers,
                ports,
                units,
                srv,
                folders,
                mounts,
                disks: Vec::new(),
                databases,
                clusters,
                notes,
            }
        },
    )
}

proptest! {
    #[test]
    fn whatever_the_machine_looks_like_its_plan_has_no_errors(facts in any_facts(), dir in any_path(), privileged in any::<bool>()) {
        let place = Place { key: format!("{dir}/local.key"), dir, privileged };
        let (plan, written, _) = read(&facts, &place);
        prop_assert_eq!(plan.systems.len(), written.systems.len());
        prop_assert_eq!(&plan.vaults["local"].password, &Some(plan::Secret::File(place.key)));
    }

    #[test]
    fn an_excluded_path_is_matched_by_its_pattern_and_no_other_is(path in any_path(), other in any_path()) {
        let pattern = globset_of(&glob(&path));
        prop_assert!(pattern(&path));
        prop_assert_eq!(pattern(&other), path == other);
    }
}

/// Reads a pattern as the source of files does.
fn globset_of(pattern: &str) -> impl Fn(&str) -> bool + use<> {
    let matcher = globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .unwrap()
        .compile_matcher();
    move |path| matcher.is_match(path)
}
