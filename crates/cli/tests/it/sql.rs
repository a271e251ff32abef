//! `nodedb sql`

use crate::{Place, Ran, text};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

const SCRIPT: &str = "\
CREATE TABLE t (id int PRIMARY KEY, name text);
INSERT INTO t VALUES (1, 'one'), (2, NULL);
SELECT * FROM missing;
SELECT * FROM t ORDER BY id;
\\d t
INSERT INTO t VALUES (2, 'again');
SELECT count(*) AS count FROM t
";

#[test]
fn output_and_errors_come_in_order() {
    let place = Place::new();
    let Ran { text, code } = place.run("sql", &[], SCRIPT);
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("DETAIL") && !line.starts_with("HINT")).collect();
    assert_eq!(
        lines,
        [
            "CREATE TABLE",
            "INSERT 0 2",
            "ERROR:  42P01: relation \"missing\" does not exist",
            " id | name ",
            "----+------",
            "  1 | one",
            "  2 | ",
            "(2 rows)",
            "",
            "ERROR:  42601: invalid command \\d",
            "ERROR:  23505: duplicate key value violates unique constraint \"t_pkey\"",
            " count ",
            "-------",
            "     2",
            "(1 row)",
            "",
        ]
    );
    assert_eq!(code, Some(0));
}

#[test]
fn exit_codes_are_those_of_psql() {
    let place = Place::new();
    let script = place.write("script.sql", "SELECT * FROM missing; SELECT 1;");
    let script = text(&script);
    let code = |arguments: &[&str], stdin: &str| place.run("sql", arguments, stdin).code;
    assert_eq!(code(&["-f", script], ""), Some(0));
    assert_eq!(code(&["--stop-on-error", "-f", script], ""), Some(3));
    assert_eq!(code(&["--stop-on-error"], "SELECT * FROM missing"), Some(3));
    assert_eq!(code(&["-c", "SELECT * FROM missing"], ""), Some(1));
    assert_eq!(code(&["-c", "SELECT * FROM missing", "-c", "SELECT 1"], ""), Some(0));
    assert_eq!(code(&["--stop-on-error", "-c", "SELECT * FROM missing", "-c", "SELECT 1"], ""), Some(1));
    assert_eq!(code(&["-f", "no/such/file"], ""), Some(2));
    assert_eq!(code(&["--no-such-option"], ""), Some(2));
    assert_eq!(code(&[], "\\q\nSELECT * FROM missing;"), Some(0));
}

#[test]
fn the_first_error_ends_what_one_option_says() {
    let place = Place::new();
    let ran = place.run("sql", &["--format", "csv", "-c", "SELECT 1 AS a; SELECT * FROM missing; SELECT 2 AS b"], "");
    assert_eq!(ran.text, "a\n1\nERROR:  42P01: relation \"missing\" does not exist\n");
}

#[test]
fn sources_run_in_the_order_in_which_they_are_given() {
    let place = Place::new();
    let file = place.write("two.sql", "SELECT 2 AS n");
    let arguments = ["--format", "csv", "-c", "SELECT 1 AS n", "-f", text(&file), "-c", "SELECT 3 AS n", "-f", "-"];
    assert_eq!(place.run("sql", &arguments, "SELECT 4 AS n").text, "n\n1\nn\n2\nn\n3\nn\n4\n");
}

#[test]
fn data_for_copy_follow_the_statement() {
    let place = Place::new();
    let script = "\
CREATE TABLE t (id int, name text);
COPY t FROM STDIN; SELECT count(*) AS count FROM t;
1\tone
2\t\\N
\\.
COPY missing FROM STDIN;
3\tnot; a statement
\\.
COPY t FROM STDIN WITH (FORMAT csv);
x,wrong
\\.
COPY t FROM STDIN WITH (FORMAT csv);
4,\"four; or so\"
";
    let ran = place.run("sql", &["--format", "csv"], script);
    let lines: Vec<&str> = ran.text.lines().collect();
    assert_eq!(lines[..3], ["count", "2", "ERROR:  42P01: relation \"missing\" does not exist"], "{}", ran.text);
    assert!(lines[3].starts_with("ERROR:  22P02: "), "{}", ran.text);
    assert_eq!(place.sql("SELECT * FROM t ORDER BY id"), "id,name\n1,one\n2,\n4,four; or so\n");
}

#[test]
fn data_for_copy_on_the_command_line_come_from_it_or_from_standard_input() {
    let place = Place::new();
    place.sql("CREATE TABLE t (id int)");
    let ran = place.run("sql", &["-c", "COPY t FROM STDIN;\n1\n2\n\\.\nSELECT 7 AS seven"], "9\n");
    assert!(ran.text.starts_with("COPY 2\n seven \n"), "{}", ran.text);
    let ran = place.run("sql", &["-c", "COPY t FROM STDIN", "-c", "COPY t FROM STDIN"], "3\n\\.\n4\n5\n");
    assert_eq!(ran.text, "COPY 1\nCOPY 2\n");
    assert_eq!(place.sql("SELECT sum(id) AS sum FROM t"), "sum\n15\n");
}

#[test]
fn data_for_copy_that_are_no_text_come_from_standard_input_alone() {
    let place = Place::new();
    place.sql("CREATE TABLE t (v vector(1))");
    let copy = "COPY t (v) FROM STDIN (FORMAT fvecs)";
    let ran = place.run("sql", &["-c", copy, "-c", "SELECT * FROM t"], "\u{1}\0\0\0AA\nA\u{1}\0\0\0\\.\nA");
    assert!(ran.text.starts_with("COPY 2\n"), "{}", ran.text);
    assert_eq!(place.sql("SELECT count(*) AS count FROM t"), "count\n2\n");
    let ran = place.run("sql", &[], &format!("{copy};\nSELECT 7 AS seven"));
    assert!(ran.text.contains("ERROR:  0A000: COPY of other data than text among statements"), "{}", ran.text);
    assert!(ran.text.contains(" seven "), "{}", ran.text);
}

#[test]
fn json_is_an_array_for_each_statement() {
    let place = Place::new();
    let sql = "CREATE TABLE t (a int, b jsonb); INSERT INTO t VALUES (1, '{\"x\": [1]}'), (2, NULL); \
               SELECT * FROM t ORDER BY a; SELECT a FROM t WHERE a > 5";
    let ran = place.run("sql", &["--format", "json", "-c", sql], "");
    assert_eq!(ran.text, "[{\"a\":1,\"b\":{\"x\": [1]}},\n {\"a\":2,\"b\":null}]\n[]\n");
}

#[test]
fn a_program_can_wait_for_each_answer() {
    let place = Place::new();
    let mut child =
        place.command("sql").args(["--format", "csv"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in 0..3 {
        // No newline: the semicolon is enough.
        write!(stdin, "SELECT {n} AS n;").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "n");
        assert_eq!(lines.next().unwrap().unwrap(), n.to_string());
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_second_process_is_refused() {
    let place = Place::new();
    let mut first = place.command("sql").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = first.stdin.take().unwrap();
    stdin.write_all(b"SELECT 1;").unwrap();
    let mut line = String::new();
    BufReader::new(first.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let second = place.run("sql", &["-c", "SELECT 1"], "");
    assert_eq!(second.code, Some(1), "{}", second.text);
    assert!(second.text.starts_with("ERROR:  "), "{}", second.text);
    assert!(second.text.contains("another process"), "{}", second.text);
    drop(stdin);
    assert!(first.wait().unwrap().success());
    assert_eq!(place.run("sql", &["-c", "SELECT 1"], "").code, Some(0));
}

#[test]
fn settings_of_the_session_show() {
    let place = Place::new();
    let sql = "SET TimeZone = 'Asia/Kolkata'; SELECT '2024-01-01 00:00:00Z'::timestamptz AS at";
    assert_eq!(place.sql(sql), "at\n2024-01-01 05:30:00+05:30\n");
}
