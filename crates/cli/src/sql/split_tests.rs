//! Tests of the splitter.

use super::data::CopyData;
use super::split::{Item, Splitter};
use proptest::prelude::*;

/// All items of a text that comes in pieces of the given sizes.
fn split(text: &[u8], sizes: &[usize]) -> Vec<Item> {
    let mut splitter = Splitter::new();
    let mut items = Vec::new();
    let mut rest = text;
    for size in sizes.iter().cycle() {
        if rest.is_empty() || sizes.is_empty() {
            break;
        }
        let (piece, more) = rest.split_at((*size).clamp(1, rest.len()));
        splitter.push(piece);
        items.extend(std::iter::from_fn(|| splitter.next()));
        rest = more;
    }
    splitter.push(rest);
    splitter.end();
    items.extend(std::iter::from_fn(|| splitter.next()));
    items
}

fn statements(text: &str) -> Vec<String> {
    let show = |item| match item {
        Item::Statement(bytes) => String::from_utf8(bytes).unwrap(),
        Item::Command(name) => format!("\\{name}"),
    };
    split(text.as_bytes(), &[]).into_iter().map(show).collect()
}

#[test]
fn a_semicolon_ends_a_statement() {
    assert_eq!(statements(" select 1 ;\n\nselect 2; select 3"), ["select 1", "select 2", "select 3"]);
    assert_eq!(statements(";;  ; -- nothing\n /* nor ; here */ ;"), [""; 0]);
    assert_eq!(statements("-- first\nselect 1;-- last"), ["select 1"]);
    assert_eq!(statements("/* ; */ select 1 - 2 / 3;-"), ["select 1 - 2 / 3", "-"]);
    assert_eq!(statements("-- sign\n-1"), ["-1"]);
}

#[test]
fn what_is_quoted_is_left_alone() {
    for whole in [
        "select 'a;b', 'it''s;', '\\'",
        "select \"a;\"\";b\"",
        "select E'a\\';b', e'\\\\', E'a'';\\';'",
        "select E'a'\n  ';\\';'",
        "select U&'\\0041;', B'1', x'f;'",
        "select $$a;b$$, $x$ ; $$ ; $y$ ; $x$, $$;$$",
        "select $_1é$;$_1é$",
        "select 1 /* ; /* ; */ ; /*/*;*/ */ */ + 2 -- ;\n + 3",
        "select (1; 2)",
        "select a$b$, c from t where x = $1 or y = $2",
    ] {
        assert_eq!(statements(&format!("{whole};select 2")), [whole, "select 2"]);
    }
}

#[test]
fn a_name_that_ends_in_e_does_not_make_an_escape_string() {
    assert_eq!(statements("select type'\\';select 2"), ["select type'\\'", "select 2"]);
    assert_eq!(statements("select e '\\';select 2"), ["select e '\\'", "select 2"]);
}

#[test]
fn what_does_not_end_is_one_statement() {
    for text in
        ["select 'a;", "select $x$ ; $ x$", "select /* ;", "/* ;", "select \"a;", "select (1;", "select E'a\\';"]
    {
        assert_eq!(statements(text), [text]);
    }
}

#[test]
fn backslash_commands_are_cut_out() {
    assert_eq!(statements("select 1\\q now ;\n, 2;"), ["\\q", "select 1\n, 2"]);
    assert_eq!(statements("\\d t\n\\."), ["\\d", "\\."]);
    assert_eq!(statements("select 1\\; select 2;"), ["select 1; select 2"]);
    assert_eq!(statements("select '\\q';"), ["select '\\q'"]);
}

#[test]
fn data_follows_the_line_of_its_statement() {
    let mut splitter = Splitter::new();
    splitter.push(b"copy t from stdin; select 1;\n1\n2\n\\");
    assert_eq!(splitter.next(), Some(Item::Statement(b"copy t from stdin".to_vec())));
    assert!(splitter.has_lines());
    let aside = splitter.set_aside().unwrap();
    assert_eq!(splitter.copy_data(), CopyData::Lines(b"1\n2\n".to_vec()));
    assert_eq!(splitter.copy_data(), CopyData::More);
    splitter.push(b".\r\nselect 2");
    assert_eq!(splitter.copy_data(), CopyData::End);
    splitter.put_back(aside);
    assert_eq!(splitter.next(), Some(Item::Statement(b"select 1".to_vec())));
    splitter.end();
    assert_eq!(splitter.next(), Some(Item::Statement(b"select 2".to_vec())));
    assert_eq!(splitter.next(), None);
}

#[test]
fn data_may_end_with_the_text() {
    let mut splitter = Splitter::new();
    splitter.push(b"copy t from stdin;\nlast");
    splitter.next();
    splitter.set_aside().unwrap();
    assert_eq!(splitter.copy_data(), CopyData::More);
    splitter.end();
    assert_eq!(splitter.copy_data(), CopyData::Lines(b"last".to_vec()));
    assert_eq!(splitter.copy_data(), CopyData::End);
}

/// Text that is full of the marks that matter.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let mark = prop::sample::select(vec![
        "'", "\"", "$", "$a$", "E'", "e", "\\", "\\q\n", "--", "/*", "*/", "/", "*", "-", ";", "(", ")", "\n", " ",
        "x", "1", "é",
    ]);
    let piece = prop_oneof![8 => mark.prop_map(|m| m.as_bytes().to_vec()), 1 => any::<Vec<u8>>()];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn however_text_is_cut_it_is_split_alike(text in text(), sizes in prop::collection::vec(1_usize..9, 1..6)) {
        prop_assert_eq!(split(&text, &sizes), split(&text, &[]));
    }

    #[test]
    fn no_semicolon_of_a_statement_is_lost(text in text()) {
        // Without quotes, comments, parentheses and backslashes, splitting is what `split(';')` does.
        let plain: Vec<u8> = text.into_iter().filter(|b| !b"'\"$\\-/*()".contains(b)).collect();
        let expected: Vec<Item> = plain
            .split(|b| *b == b';')
            .map(<[u8]>::trim_ascii)
            .filter(|s| !s.is_empty())
            .map(|s| Item::Statement(s.to_vec()))
            .collect();
        prop_assert_eq!(split(&plain, &[]), expected);
    }
}
