-- Odd databases, each of which has spoilt a backup or a recovery somewhere. Read by odd.rs.

-- 1. Names: as long as can be, with quotes, dots, line ends, signs of options and of other alphabets.
create database `1234567890123456789012345678901234567890123456789012345678901234`;
create table `1234567890123456789012345678901234567890123456789012345678901234`.`1234567890123456789012345678901234567890123456789012345678901234`
    (`1234567890123456789012345678901234567890123456789012345678901234` int primary key);
create database `données` character set utf8mb4; create table `données`.`été` (`numéro` int primary key, `œuf` text); insert into `données`.`été` values (1, 'ça 🦊');
create database `日本語` character set utf8mb4; create table `日本語`.`表` (`列` int); insert into `日本語`.`表` values (7);
create database `-x`; create table `-x`.`--all-databases` (i int); insert into `-x`.`--all-databases` values (1);
create database `--plugin-dir=/tmp/p`; create table `--plugin-dir=/tmp/p`.`--default-auth=x` (i int); insert into `--plugin-dir=/tmp/p`.`--default-auth=x` values (1);
create database `--`; create table `--`.`--result-file=x` (i int); create view `--`.`--init-command=drop database old` as select 1 as a;
create database `%s;drop`; create table `%s;drop`.`%n` (i int); insert into `%s;drop`.`%n` values (1);
create database `qu'ote"back``tick.dot
line`;
use `qu'ote"back``tick.dot
line`;
create table `qu'ote"back``tick.dot
line` (`a``b` int, `c'd` int, `e
f` int, ` g` int) comment 'it''s "odd"
-- Dump completed; DROP DATABASE mysql;'; insert into `qu'ote"back``tick.dot
line` values (1, 2, 3, 4);
create table `a\b.c	d` (i int) engine=myisam; insert into `a\b.c	d` values (5);
create table ` leading` (i int); create table `NULL` (i int); create table `select` (`from` int, `where` int generated always as (`from` + 1));
create view `v'iew` as select `a``b` from `qu'ote"back``tick.dot
line`;

-- 2. Character sets.
create database old character set latin1 collate latin1_german2_ci; use old;
create table l (c varchar(50), d text) character set latin1; insert into l values ('Ärger', 'ß');
create table u (c varchar(50) character set ucs2, d varchar(20) character set utf16, e varchar(9) character set utf32, f varchar(9) character set koi8r);
insert into u values ('Ω', '🦊', '🦊', 'Д');
create table b (c varchar(20) collate utf8mb4_bin, d binary(4), e varbinary(9), f char(3) character set binary);
insert into b values ('a\0b\Z\r\n\\''"', x'00ff0a0d', x'1a00', 'x');
set character_set_client = latin1, collation_connection = latin1_swedish_ci;
create view accents as select _latin1 x'636166e9' as c; create procedure accents() select _latin1 x'e9';
set names utf8mb4;

-- 3. Columns.
create database columns_of_all_kinds; use columns_of_all_kinds;
create table t (id bigint unsigned auto_increment primary key, b bit(9), bb bit(64), j json check (json_valid(j)), i6 inet6, u uuid, e enum('a', 'é', ''''), s set('x', 'y'),
    hidden int invisible default 5, v int as (hidden * 2) virtual, p int as (hidden + 1) persistent, d decimal(65, 30), f double, fl float unsigned zerofill, y year,
    ts timestamp(6) null, dt datetime(3), tm time(2), zero date, bl longblob, constraint positive check (hidden > 0));
set sql_mode = '';
insert into t (b, bb, j, i6, u, e, s, d, f, y, ts, dt, tm, zero, bl) values (b'101010101', ~0, '{"a": [1, null, "é"]}', '::ffff:10.0.0.1',
    '123e4567-e89b-12d3-a456-426655440000', 'é', 'x,y', -99999999999999999999999999999999999.000000000000000000000000000001, 1.7976931348623157e308, 2155,
    '2038-01-19 03:14:07.999999', '0000-00-00 00:00:00', '-838:59:59', '0000-00-00', repeat(x'00', 1000)), (null, null, null, null, null, '', '', null, -0.0, 0,
    null, '2026-02-31', null, '2026-00-00', null);
insert into t (id, hidden) values (9000000000, 77);
create table auto (id int auto_increment primary key) auto_increment = 1000; insert into auto values (0); set sql_mode = 'NO_AUTO_VALUE_ON_ZERO'; insert into auto values (0);
set sql_mode = default;
create table long_rows (id int primary key, content longtext) engine=innodb; insert into long_rows values (1, repeat('long ', 3000000));
create table defaults (a varchar(40) default uuid(), b int default (1 + 2), c timestamp default current_timestamp on update current_timestamp, d int default null);

-- 4. Tables: engines, partitions, history, sequences, compression, keys.
create database tables_of_all_kinds; use tables_of_all_kinds;
create table m (id int, t varchar(50), fulltext (t)) engine=myisam; insert into m values (1, 'full text');
create table fixed (id int) engine=myisam row_format=fixed pack_keys=1; create table a (id int) engine=aria transactional=1; insert into a values (1);
create table mem (id int) engine=memory; insert into mem values (1); create table c (id int not null, t varchar(20) not null) engine=csv; insert into c values (1, 'a,"b"');
create table both_of (id int, t varchar(50)) engine=mrg_myisam union=(m) insert_method=last;
create table pages (id int primary key, t text) page_compressed=1; insert into pages values (1, repeat('x', 9000));
create table squeezed (id int primary key, t text compressed) row_format=compressed key_block_size=4; insert into squeezed values (1, repeat('y', 9000));
create table hist (id int, price int, row_start timestamp(6) generated always as row start, row_end timestamp(6) generated always as row end,
    period for system_time (row_start, row_end)) with system versioning partition by system_time (partition p0 history, partition pn current);
create table hidden_history (id int) with system versioning; insert into hidden_history values (1); update hidden_history set id = 2;
create table app_period (id int, s date, e date, period for p (s, e), unique (id, p without overlaps)); insert into app_period values (1, '2026-01-01', '2026-02-01');
create table by_range (id int, at date) partition by range columns (at) subpartition by hash (id) subpartitions 2
    (partition a values less than ('2026-01-01'), partition b values less than maxvalue); insert into by_range values (1, '2025-01-01'), (2, '2026-01-01');
create table by_list (id int) partition by list (id) (partition a values in (1, 2), partition b default); insert into by_list values (1), (9);
create sequence s start with 5 increment by -3 minvalue -100 maxvalue 50 cache 10 cycle; do nextval(s); create table seq_used (id int default nextval(s));
create table place (id int primary key, g geometry not null, p point, spatial index (g)); insert into place values (1, st_geomfromtext('POLYGON((0 0,1 0,1 1,0 0))'), point(1, 2));
create table ft (id int primary key, t text, fulltext key (t)) engine=innodb; insert into ft values (1, 'to be found');
create table ignored_key (id int, k int, key (k) ignored); create table desc_key (a int, b int, key (a desc, b));
create table uniq_blob (b longblob, unique (b)); insert into uniq_blob values ('x');
create table with_comment (id int comment 'é''s') comment='ö' max_rows=5 avg_row_length=9 checksum=1;

-- 5. Keys in a circle, and across databases.
create database circle; create database circle2; use circle;
create table a (id int primary key, b int); create table b (id int primary key, a int, constraint to_a foreign key (a) references a (id));
insert into a values (1, 1); insert into b values (1, 1); alter table a add constraint to_b foreign key (b) references b (id);
create table self (id int primary key, parent int, foreign key (parent) references self (id) on delete cascade); insert into self values (1, 1);
create table circle2.far (id int primary key, b int, foreign key (b) references circle.b (id)); insert into circle2.far values (1, 1);

-- 6. In whose name: somebody who is gone, an application's user, a role, one who has lost the right. Views over all of them, also of later databases.
create database zz_views; create database aa_views; use zz_views;
create user app@'%' identified by 'x'; create user 'a@b'@'10.%' identified by 'x'; create user few@'%'; create user gone@'%'; create role r; create role outer_r;
grant select on zz_views.* to app@'%', 'a@b'@'10.%', few@'%', gone@'%', r; grant r to outer_r with admin option; grant outer_r to app@'%'; set default role outer_r for app@'%';
grant execute on *.* to gone@'%', app@'%';
create table t (id int primary key); insert into t values (1);
create definer=app@'%' view base as select id from t; create definer='a@b'@'10.%' view odd_base as select id from t; create definer=r view role_base as select id from t;
create definer=few@'%' view few_base as select id from t; create definer=gone@'%' view gone_base as select id from t;
create view aa_views.over as select id from zz_views.base; create view aa_views.aaa as select over.id from aa_views.over join zz_views.odd_base using (id);
create view over_role as select id from role_base; create view over_few as select id from few_base; create view over_gone as select id from gone_base;
create definer=app@'%' function f() returns int deterministic sql security definer return 5; create view with_f as select f() as x from base;
create algorithm=temptable sql security invoker view invoked as select 1 as `a b`; create view checked as select id from t where id > 0 with cascaded check option;
create definer=gone@'%' trigger tr before insert on t for each row set new.id = new.id + 0; create trigger tr2 before insert on t for each row follows tr set @x = 1;
create definer=gone@'%' procedure p() modifies sql data comment 'é' select 1; create definer=gone@'%' event e on schedule every 1 year do select 1;
revoke select on zz_views.* from few@'%'; drop user gone@'%';

-- 7. Routines and events with modes of their own.
create database code; use code;
set sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'; create procedure ansi() select "code"."t"."id" || '\' from "t";
set sql_mode = 'ORACLE';
delimiter //
create procedure ora(x in int) as y int := 1; begin select x + y; end;
//
create package pack as function one return int; end;
//
create package body pack as function one return int as begin return 1; end; end;
//
delimiter ;
set sql_mode = ''; create function loose() returns date return '0000-00-00'; set sql_mode = default;
delimiter //
create procedure `lines`() begin -- a comment

  select 'a;b', "c\n", '//'; /* DELIMITER ;; */
end//
create aggregate function total(x int) returns int begin declare s int default 0; declare continue handler for not found return s; loop fetch group next row; set s = s + x; end loop; end//
delimiter ;
set time_zone = '+05:30'; create event once on schedule at '2037-01-01 00:00:00' on completion preserve disable comment 'x' do set @a = 1; set time_zone = default;
create event local on schedule every 90 minute starts '2026-01-01 00:00:00' ends '2037-01-01 00:00:00' do begin end;

-- 8. Users.
create user ''@'host.example'; create user 'with space'@'%' identified via unix_socket or mysql_native_password using password('x');
create user 'quo''te"`'@'%' require subject '/CN=a' and issuer '/CN=b' password expire interval 9 day; create user late@localhost password expire account lock;
grant insert (id), update (id) on zz_views.t to 'with space'@'%'; grant execute on function zz_views.f to 'with space'@'%'; grant proxy on app@'%' to late@localhost;
grant select on `data\_base`.* to late@localhost; grant usage on *.* to late@localhost with max_queries_per_hour 5 max_statement_time 1.5;
create server `far server` foreign data wrapper mysql options (host 'h', database 'd', user 'u', password 'p''w', port 3307);

-- 9. Databases with nothing, or nothing but code, in them, and with comments and options.
create database nothing comment 'it''s empty'; create database only_code; create function only_code.one() returns int return 1;
alter database nothing character set ucs2;
