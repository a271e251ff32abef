//! How good words, vectors and both are at finding relatives: WordNet's synsets ask for those that they are related to, by
//! their words, of which a third is missing and one misspelt, and by their embedding.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program that measures the database, no part of it")]

use benches::figures::{Figures, Side};
use benches::words::{Random, words_of};
use benches::{Result, timed, wrong};
use clap::Parser;
use nodedb::blocking::Session;
use nodedb::{Database, Value};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Measures recall and mean reciprocal rank.
#[derive(Parser)]
struct Arguments {
    /// A database with the tables `synsets` and `relations`, imported from WordNet with embeddings.
    from: PathBuf,
    /// Arguments for `hybrid_search`, one set of them at a time: `fusion => 'linear'`.
    #[arg(long)]
    more: Vec<String>,
}

const TEXT: &str = "SELECT id FROM base WHERE base @@@ $1 ORDER BY bm25_score(base) DESC LIMIT 10";
const VECTOR: &str = "SELECT id FROM base ORDER BY embedding <=> $1 LIMIT 10";
const HYBRID: &str = "SELECT id FROM hybrid_search('base', text => $1, vector => $2, k => 10) ORDER BY score DESC";

/// `hybrid_search` with other arguments.
fn hybrid(more: &str) -> String {
    HYBRID.replace(", k => 10", &format!(", k => 10, {more}"))
}

struct Question {
    words: Value,
    vector: Value,
    relatives: HashSet<i64>,
}

/// Sums over questions.
#[derive(Default)]
struct Sum {
    recall: f64,
    reciprocal: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let db = Database::open(&arguments.from)?;
    let mut session = db.blocking();
    make_base(&mut session)?;
    let questions = questions(&mut session)?;
    let mut figures = Figures::default();
    figures.add(Side::Ours, "questions", questions.len() as f64);
    let sides = [("text", TEXT.to_owned()), ("vector", VECTOR.to_owned()), ("hybrid", HYBRID.to_owned())];
    let other = arguments.more.iter().map(|more| (more.as_str(), hybrid(more)));
    for (name, sql) in sides.into_iter().chain(other) {
        let (seconds, sum) = timed(|| ask(&mut session, &sql, &questions))?;
        let count = questions.len() as f64;
        figures.add(Side::Ours, &format!("{name}_recall_at_10"), sum.recall / count);
        figures.add(Side::Ours, &format!("{name}_mrr"), sum.reciprocal / count);
        figures.add(Side::Ours, &format!("{name}_ms"), seconds * 1e3 / count);
    }
    figures.print();
    session.execute("DROP TABLE base", &[])?;
    drop(session);
    Ok(db.close()?)
}

/// The rows that are searched, with both indexes.
fn make_base(session: &mut Session) -> Result<()> {
    for statement in [
        "DROP TABLE IF EXISTS base",
        "CREATE TABLE base (id bigint PRIMARY KEY, text text, embedding vector(384))",
        "INSERT INTO base SELECT id, text, embedding FROM synsets WHERE split = 'base'",
        "CREATE INDEX ON base USING bm25 (text) WITH (language = english)",
        "CREATE INDEX ON base USING hnsw (embedding vector_cosine_ops)",
    ] {
        session.execute(statement, &[])?;
    }
    Ok(())
}

fn questions(session: &mut Session) -> Result<Vec<Question>> {
    let mut relatives: HashMap<i64, HashSet<i64>> = HashMap::new();
    let pairs = "SELECT q.id, b.id FROM relations r JOIN synsets q ON q.id = r.src JOIN synsets b ON b.id = r.dst
        WHERE q.split = 'query' AND b.split = 'base'";
    for row in session.query(&pairs.replace("q.id, b.id", "q.id::bigint, b.id::bigint"), &[])?.iter() {
        relatives.entry(row.get(0)?).or_default().insert(row.get(1)?);
    }
    let mut random = Random::new(11);
    let mut questions = Vec::new();
    let asking = "SELECT id::bigint, text, embedding FROM synsets WHERE split = 'query' ORDER BY id";
    for row in session.query(asking, &[])?.iter() {
        let Some(relatives) = relatives.remove(&row.get::<i64>(0)?) else { continue };
        let [_, Value::Text(text), vector] = &row.values()?[..] else { return wrong("a synset without a text") };
        questions.push(Question { words: Value::Text(spoilt(text, &mut random)), vector: vector.clone(), relatives });
    }
    Ok(questions)
}

/// The words of a text, a third of them dropped and one misspelt: two of its letters have changed places.
fn spoilt(text: &str, random: &mut Random) -> String {
    let mut words: Vec<String> = words_of(text).collect();
    for _ in 0..words.len() / 3 {
        words.remove(random.below(words.len()));
    }
    let long: Vec<usize> = (0..words.len()).filter(|at| words.get(*at).is_some_and(|word| word.len() > 3)).collect();
    if let Some(word) = long.get(random.below(long.len().max(1))).and_then(|at| words.get_mut(*at)) {
        let mut letters: Vec<char> = word.chars().collect();
        let at = random.below(letters.len() - 1);
        letters.swap(at, at + 1);
        *word = letters.into_iter().collect();
    }
    words.join(" ")
}

fn ask(session: &mut Session, sql: &str, questions: &[Question]) -> Result<Sum> {
    let prepared = session.prepare(sql)?;
    let mut sum = Sum::default();
    for Question { words, vector, relatives } in questions {
        let parameters = match sql {
            TEXT => vec![words.clone()],
            VECTOR => vec![vector.clone()],
            _ => vec![words.clone(), vector.clone()],
        };
        let found = session.query_prepared(&prepared, &parameters)?;
        let found: Vec<i64> = found.iter().map(|row| row.get(0)).collect::<nodedb::Result<_>>()?;
        let hits = found.iter().filter(|id| relatives.contains(id)).count();
        sum.recall += hits as f64 / relatives.len().min(10) as f64;
        let first = found.iter().position(|id| relatives.contains(id));
        sum.reciprocal += first.map_or(0.0, |at| 1.0 / (at + 1) as f64);
    }
    Ok(sum)
}
