-- Databases of which each is odd in its own way. Read by psql, as a superuser; FOLDER is one that the server may write to.
create role "rené" login password 'fort';
create role "it's ""odd""\ and
CREATE ROLE postgres;
long" nologin connection limit 3 valid until '2031-01-01 00:00:00+00';
create role app login createdb;
create role readers;
grant readers to app with admin option;
alter role app set search_path = 'a b', public;
alter role app set work_mem = '7MB';
comment on role app is E'first\nCREATE ROLE postgres;\n\\connect postgres\nALTER ROLE postgres WITH NOLOGIN;\nit''s the last';

create database "données" owner "rené";
comment on database "données" is E'its comment\n\\connect template1\n';
alter database "données" set search_path = "été", public;
alter role app in database "données" set work_mem = '9MB';
grant create, temporary on database "données" to readers;
revoke connect on database "données" from public;
\connect "données"
create schema "été" authorization "rené";
create table "été"."Größe ""x""" ("l'été" text primary key, "a\b" int check ("a\b" > 0), "c
d" numeric default 1.5);
insert into "été"."Größe ""x""" values ('é\', 1, 2), (E'tab\t\nline\\', 2, null);
alter table "été"."Größe ""x""" owner to "rené";

\connect template1
create database nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn;
create database "éééééééééééééééééééééééééééé";
create database "a ""b"" 'c' \d %41 $$ ;e" connection limit 4;
alter database "a ""b"" 'c' \d %41 $$ ;e" set work_mem = '6MB';
create database "-c statement";
create database "--file=/tmp/x";
create database "--";
create database "--version";
\connect "--version"
create table "--table=*" ("--x" int); insert into "--table=*" values (1);
create schema "-n"; create table "-n"."%s;drop" (i int); insert into "-n"."%s;drop" values (1);
\connect template1
create database "host=nowhere dbname=x";
create database "UPPER";
create database latin template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C';
create database "latiné" template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C';
create database ascii template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C';
create database euc template template0 encoding 'EUC_JP' lc_collate 'C' lc_ctype 'C';
create database readonly;
alter database readonly set default_transaction_read_only = on;
alter database readonly set statement_timeout = '1s';
create database objects;
create database secured;
create database triggers;
create database extensions;
create database foreigners;
create database parts;
create database kinds;
create database broken;
update pg_database set datconnlimit = -2 where datname = 'broken';
create database closed allow_connections false;

\connect nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn
create table ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt (n int); insert into ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt values (63);
\connect "éééééééééééééééééééééééééééé"
create table t (n int); insert into t values (56);
\connect latin
create table "café" (a text); insert into "café" values ('naïve');
\connect "latiné"
create table t (a text); insert into t values ('ÿ');
\connect ascii
create table t (a text); insert into t values (E'\351\377\200 is no UTF-8');
\connect euc
create table "表" (a text); insert into "表" values ('日本語');
\connect readonly
set default_transaction_read_only = off;
create table t (n int); insert into t select generate_series(1, 10);

\connect objects
select lo_from_bytea(4711, '\x00ff5c270a'), lo_from_bytea(4712, '');
comment on large object 4711 is 'odd';
alter large object 4711 owner to app;
grant select on large object 4712 to readers;
create table t (n int, o oid); insert into t values (1, 4711);

\connect secured
create table t (who text, n int); insert into t values ('app', 1), ('x', 2);
alter table t owner to app;
alter table t enable row level security;
alter table t force row level security;
create policy mine on t for select to app, readers using (who = current_user);
create policy "it's ""one""" on t as restrictive for update using (true) with check (n > 0);
alter default privileges for role app grant select on tables to readers;
create publication "some ""tables""" for table t (n) where (n > 0);
create publication all_of_it for all tables with (publish = 'insert, update');

\connect triggers
create table t (n int);
create function refuses() returns event_trigger language plpgsql as $f$ begin raise exception 'no DDL here; it''s $$ closed'; end $f$;
create function counts() returns trigger language plpgsql as $$ begin new.n := new.n + 1; return new; end $$;
create trigger counts before insert on t for each row execute function counts();
insert into t values (1);
create rule no_delete as on delete to t do instead nothing;
create event trigger closed on ddl_command_start when tag in ('DROP TABLE') execute function refuses();
alter event trigger closed disable;
create event trigger open on ddl_command_end execute function refuses();

\connect extensions
create schema ext;
create extension hstore schema ext; create extension citext; create extension pg_trgm; create extension btree_gist; create extension "uuid-ossp"; create extension bloom;
create table t (h ext.hstore, c citext unique, r int4range, exclude using gist (r with &&), b int); insert into t values ('a=>1', 'Odd', '[1,3)', 1), ('b=>NULL', 'even', '[3,9)', 2);
create index on t using gin (c gin_trgm_ops); create index on t using bloom (b);

\connect foreigners
create extension file_fdw; create extension postgres_fdw;
create server files foreign data wrapper file_fdw;
create server far foreign data wrapper postgres_fdw options (host '192.0.2.1', dbname 'it''s');
create user mapping for app server far options (user 'u', password 'p\''');
create foreign table f (a text) server files options (filename '/etc/hostname');
create foreign table g (n int not null) server far options (table_name 'x');
create view over as select a from f;

\connect parts
create table p (n int, at date, k text collate "C") partition by range (at);
create table p26 partition of p for values from ('2026-01-01') to ('2027-01-01') partition by list (k);
create table p26a partition of p26 for values in ('a', null);
create table rest partition of p default;
create index on p (n); insert into p values (1, '2026-05-05', 'a'), (2, '2026-05-06', null), (3, '1999-01-01', 'z');
create table base (n int); create table child (m int) inherits (base); insert into child values (1, 2);
create unlogged table gone (n int); insert into gone values (9);
create materialized view filled as select count(*) from p;
create materialized view empty as select 1 as one with no data;
create view v as select * from filled; create recursive view r (n) as values (1) union all select n + 1 from r where n < 3;

\connect kinds
create collation german (provider = icu, locale = 'de-u-co-phonebk', deterministic = true);
create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create domain positive as int default 1 check (value > 0) constraint small check (value < 1000);
create type mood as enum ('sad', 'it''s ok', 'é');
create type pair as (a int, b text collate german);
create type span as range (subtype = float8, multirange_type_name = spans);
create sequence s as smallint start 7 increment -2 minvalue -99 maxvalue 9 cycle; select nextval('s');
create function twice(n int) returns int immutable language sql as 'select n * 2';
create function added(int, int) returns int immutable language sql return $1 + $2;
create aggregate product (int) (sfunc = int4mul, stype = int, initcond = '1');
create operator === (leftarg = int, rightarg = int, function = int4eq, commutator = ===);
create cast (text as mood) with inout as assignment;
create text search configuration odd (copy = simple);
create table t (id int generated always as identity (start 5), other int generated by default as identity, n positive, m mood default 'it''s ok', p pair, s span,
    twice int generated always as (twice(n)) stored, name text collate loose, a int[] default '{1,2}', x xml, j jsonb, b bytea, i interval, ip inet, bits bit(3), d "char");
insert into t (n, p, s, name, x, j, b, i, ip, bits, d) values (3, '(1,"a ""b""")', '[1.5,2)', E'a\\b', '<a>&amp;</a>', '{"a": "\u00e9"}', '\x00ff', '1 mon -2 days', '::1/64', '101', 'x');
create unique index on t (lower(name collate "C") text_pattern_ops desc nulls last) include (n) where n > 0;
create statistics st (dependencies) on n, other from t;
alter table t add constraint late check (n <> 7) not valid;
comment on column t.name is E'\\.\n--\n\\connect x';
alter table t alter column name set statistics 77, alter column j set storage external;
