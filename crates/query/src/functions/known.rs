//! What `DataFusion` says, and what PostgreSQL says of the same: SQLSTATE and message.

use nodedb_base::Error;

/// A part of `DataFusion`'s message, the SQLSTATE, and the message; an empty one keeps `DataFusion`'s.
type Known = (&'static str, &'static str, &'static str);

const PLANNING: [Known; 25] = [
    ("Order by index starts at 1", "42P10", "ORDER BY position 0 is not in select list"),
    ("Order by column out of bounds", "42P10", "ORDER BY position is not in select list"),
    ("Cannot find column with position", "42P10", "GROUP BY position is not in select list"),
    ("Cannot create filter with non-boolean predicate", "42804", "argument of WHERE must be type boolean"),
    ("Unary operator 'NOT' requires a boolean", "42804", "argument of NOT must be type boolean"),
    ("for logical boolean operation", "42804", "argument of AND/OR must be type boolean"),
    ("for string concat operation", "42883", ""),
    ("in LIKE expression", "42883", ""),
    ("Aggregate function calls cannot be nested", "42803", "aggregate function calls cannot be nested"),
    ("Aggregate functions are not allowed in the WHERE", "42803", "aggregate functions are not allowed in WHERE"),
    (
        "Aggregate function calls cannot contain window function calls",
        "42803",
        "aggregate function calls cannot contain window function calls",
    ),
    ("start bound cannot be UNBOUNDED FOLLOWING", "42P20", "frame start cannot be UNBOUNDED FOLLOWING"),
    ("frame offsets for ROWS / GROUPS must be non negative", "22013", "frame starting offset must not be negative"),
    (
        "RANGE requires exactly one ORDER BY column",
        "42P20",
        "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
    ),
    (
        "For SELECT DISTINCT, ORDER BY expressions",
        "42P10",
        "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
    ),
    (
        "SELECT DISTINCT ON expressions must match",
        "42P10",
        "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
    ),
    ("names given as column alias", "42P10", ""),
    ("LIMIT must be >= 0", "2201W", "LIMIT must not be negative"),
    ("OFFSET must be >=0", "2201X", "OFFSET must not be negative"),
    ("Expected LIMIT to be an integer", "22P02", "invalid input syntax for type bigint"),
    ("Expected OFFSET to be an integer", "22P02", "invalid input syntax for type bigint"),
    ("Invalid escape character in LIKE", "22025", "invalid escape string"),
    ("Too many columns! The subquery should only return one column", "42601", "subquery must return only one column"),
    ("Percentile value must be between", "22003", "percentile value is not between 0 and 1"),
    ("subquery must return only one column", "42601", "subquery must return only one column"),
];

const RUNNING: [Known; 17] = [
    ("cannot take square root of a negative", "2201F", "cannot take square root of a negative number"),
    ("zero raised to a negative power", "2201F", "zero raised to a negative power is undefined"),
    ("factorial of a negative number", "22003", "factorial of a negative number is undefined"),
    ("invalid Unicode scalar value", "54000", "requested character not valid for encoding"),
    ("null character not permitted", "54000", "null character not permitted"),
    ("negative count not allowed", "22011", "negative substring length not allowed"),
    ("field position must not be zero", "22023", "field position must not be zero"),
    ("step can't be 0", "22023", "step size cannot equal zero"),
    ("Step value can't be 0", "22023", "step size cannot equal zero"),
    ("NTILE requires a positive integer", "22014", "argument of ntile must be greater than zero"),
    ("There is no built-in encoding named", "22023", "unrecognized encoding"),
    ("Failed to decode value using", "22023", "invalid symbol found while decoding"),
    ("Month value", "22008", "date field value out of range"),
    ("Day value", "22008", "date field value out of range"),
    ("Hour value", "22008", "time field value out of range"),
    ("Minute value", "22008", "time field value out of range"),
    ("Timestamp out of range", "22008", "timestamp out of range"),
];

/// PostgreSQL's error for one of planning.
pub(super) fn planning(message: &str) -> Option<Error> {
    if let Some(name) = between(message, "WITH query name \"", "\" specified more than once") {
        return Some(Error::statement("42712", format!("WITH query name \"{name}\" specified more than once")));
    }
    if let Some(name) = between(message, "The window ", " is not defined") {
        return Some(Error::statement("42704", format!("window \"{name}\" does not exist")));
    }
    // What our own functions say of their arguments comes wrapped as text.
    if let Some(ours) = between(message, "coercion failed with: External error: ", ". No function matches") {
        return Some(Error::statement("42883", ours).with_hint("You might need to add explicit type casts."));
    }
    find(&PLANNING, message)
}

/// PostgreSQL's error for one of running.
pub(super) fn running(message: &str) -> Option<Error> {
    if let Some(unit) = between(message, "Date part '", "' not supported") {
        return Some(Error::statement("22023", format!("unit \"{}\" not recognized", unit.to_lowercase())));
    }
    if let Some(unit) = between(message, "Unsupported date_trunc granularity: '", "'") {
        return Some(Error::statement("22023", format!("unit \"{unit}\" not recognized")));
    }
    if message.contains("regex parse error") || message.contains("Regular expression did not compile") {
        let why = message.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
        let why = why.unwrap_or("it could not be read");
        return Some(Error::statement("2201B", format!("invalid regular expression: {why}")));
    }
    find(&RUNNING, message).or_else(|| find(&PLANNING, message))
}

fn find(known: &[Known], message: &str) -> Option<Error> {
    let (_, code, text) = known.iter().find(|(part, ..)| message.contains(part))?;
    let first = message.lines().next().unwrap_or_default();
    Some(Error::statement(code, if text.is_empty() { first } else { text }))
}

/// What stands between two marks.
pub(super) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner)
}
