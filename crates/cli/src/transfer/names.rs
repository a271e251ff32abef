//! Names of tables, columns and types in SQL.

use nodedb::Type;

/// Words that cannot be names without quotes: PostgreSQL's reserved ones, those for functions and types included.
const RESERVED: &str = "\
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate \
    collation column concurrently constraint create cross current_catalog current_date current_role current_schema \
    current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch \
    for foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral \
    leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer \
    overlaps placing primary references returning right select session_user similar some symmetric table \
    tablesample then to trailing true union unique user using variadic verbose when where window with";

/// A name as it must be written in SQL.
pub fn quote(name: &str) -> String {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if begins && name.chars().all(plain) && !RESERVED.split(' ').any(|word| word == name) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Reads what `Type` prints, which is how a Parquet file notes the types that it has no form for.
pub fn parse_type(text: &str) -> Option<Type> {
    if let Some(element) = text.strip_suffix("[]") {
        return Some(Type::Array(Box::new(parse_type(element)?)));
    }
    if let Some((name, rest)) = text.split_once('(') {
        let (first, second) = rest.strip_suffix(')').map(|n| n.split_once(',').unwrap_or((n, "0")))?;
        return Some(match name {
            "numeric" => Type::Numeric { precision: first.parse().ok()?, scale: second.parse().ok()? },
            "character varying" => Type::Varchar(first.parse().ok()?),
            "vector" => Type::Vector(first.parse().ok()?),
            "halfvec" => Type::Halfvec(first.parse().ok()?),
            "sparsevec" => Type::Sparsevec(first.parse().ok()?),
            "bit" => Type::Bit(first.parse().ok()?),
            "bit varying" => Type::Varbit(first.parse().ok()?),
            _ => return None,
        });
    }
    let simple = [
        Type::Bool,
        Type::Int2,
        Type::Int4,
        Type::Int8,
        Type::Float4,
        Type::Float8,
        Type::Text,
        Type::Bytea,
        Type::Uuid,
        Type::Date,
        Type::Time,
        Type::Timestamp,
        Type::Timestamptz,
        Type::Interval,
        Type::Jsonb,
        Type::Vector(0),
        Type::Halfvec(0),
        Type::Sparsevec(0),
        Type::Varbit(0),
    ];
    simple.into_iter().find(|ty| ty.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_when_need_be() {
        for (name, quoted) in
            [("id", "id"), ("Id", "\"Id\""), ("a\"b", "\"a\"\"b\""), ("select", "\"select\""), ("1a", "\"1a\"")]
        {
            assert_eq!(quote(name), quoted);
        }
    }

    #[test]
    fn a_type_is_read_as_it_is_printed() {
        for ty in [
            Type::Timestamptz,
            Type::Varchar(7),
            Type::Vector(384),
            Type::Numeric { precision: 10, scale: 2 },
            Type::Array(Box::new(Type::Jsonb)),
        ] {
            assert_eq!(parse_type(&ty.to_string()), Some(ty));
        }
        for text in ["", "nonsense", "vector(x)", "vector(3", "[]"] {
            assert_eq!(parse_type(text), None, "{text}");
        }
    }
}
