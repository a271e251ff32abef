//! What the demo asks, and the answers. The answers were found with another database.

/// A statement and what it must answer.
pub struct Question {
    /// What it is about.
    pub note: Option<&'static str>,
    /// The statement.
    pub sql: &'static str,
    /// The answer.
    pub expected: Expected,
}

/// An answer.
#[derive(Debug)]
pub enum Expected {
    /// It only has to work.
    Anything,
    /// These rows, values parted by `|`.
    Rows(&'static [&'static str]),
    /// This command tag.
    Tag(&'static str),
    /// An error with this SQLSTATE.
    Error(&'static str),
}

/// What makes the tables.
pub const EMPTY: &[Question] = &[
    Question {
        note: Some("A word sense has columns, a JSON document and a vector; relations between them are rows, too."),
        sql: "CREATE TABLE synsets (
    id integer PRIMARY KEY,
    synset text,
    word text,
    pos text,
    lexfile text,
    definition text,
    text text,
    meta jsonb,
    embedding vector(384)
)",
        expected: Expected::Tag("CREATE TABLE"),
    },
    Question {
        note: None,
        sql: "CREATE TABLE relations (
    src integer REFERENCES synsets,
    relation text,
    dst integer REFERENCES synsets,
    lexical boolean,
    PRIMARY KEY (src, relation, dst)
)",
        expected: Expected::Tag("CREATE TABLE"),
    },
];

/// What is done when the tables are full.
pub const LOADED: &[Question] = &[
    Question {
        note: None,
        sql: "CREATE INDEX relations_dst ON relations (dst)",
        expected: Expected::Tag("CREATE INDEX"),
    },
    Question {
        note: None,
        sql: "CREATE INDEX synsets_word ON synsets (word)",
        expected: Expected::Tag("CREATE INDEX"),
    },
    Question {
        note: Some("Two derived indexes: one for words, one for neighbours. They follow every commit from now on."),
        sql: "CREATE INDEX synsets_text ON synsets USING bm25 (word, definition)
    WITH (language = english, stopwords = true, word.boost = 2)",
        expected: Expected::Tag("CREATE INDEX"),
    },
    Question {
        note: None,
        sql: "CREATE INDEX synsets_near ON synsets USING hnsw (embedding vector_cosine_ops)",
        expected: Expected::Tag("CREATE INDEX"),
    },
    Question {
        note: None,
        sql: "SELECT index_name, method, state, entries FROM nodedb_indexes ORDER BY index_name",
        expected: Expected::Rows(&["synsets_near|hnsw|ready|7485", "synsets_text|bm25|ready|7485"]),
    },
];

/// The questions.
pub const QUESTIONS: &[Question] = &[
    Question {
        note: Some("Rows: what is there?"),
        sql: "SELECT lexfile, count(*) AS senses, sum((meta ->> 'examples')::integer) AS examples
FROM synsets GROUP BY lexfile ORDER BY senses DESC",
        expected: Expected::Rows(&[
            "noun.animal|3836|35",
            "noun.food|1318|46",
            "noun.body|1041|84",
            "verb.motion|752|640",
            "noun.feeling|232|95",
            "verb.emotion|174|162",
            "verb.consumption|132|139",
        ]),
    },
    Question {
        note: Some("A join with aggregates: what food comes in the most kinds?"),
        sql: "SELECT p.word, count(*) AS kinds
FROM relations r JOIN synsets p ON p.id = r.dst
WHERE r.relation = 'hypernym' AND p.lexfile = 'noun.food'
GROUP BY p.id, p.word ORDER BY kinds DESC, p.word LIMIT 5",
        expected: Expected::Rows(&["dish|73", "cake|29", "flavorer|29", "beverage|14", "cookie|14"]),
    },
    Question {
        note: Some("Documents: in how many words can one pig out?"),
        sql: r#"SELECT word, meta ->> 'lexfile' AS lexfile, meta -> 'lemmas' -> 12 AS another,
       jsonb_array_length(meta -> 'lemmas') AS words
FROM synsets WHERE meta @> '{"lemmas": ["pig out"]}'"#,
        expected: Expected::Rows(&["gorge|verb.consumption|\"binge\"|16"]),
    },
    Question {
        note: Some("Vectors: what is near to homesickness? (Nouns, verbs, and a way out.)"),
        sql: "SELECT word, lexfile,
       round((embedding <=> (SELECT embedding FROM synsets WHERE word = 'homesickness'))::numeric, 3) AS distance
FROM synsets WHERE word <> 'homesickness'
ORDER BY embedding <=> (SELECT embedding FROM synsets WHERE word = 'homesickness') LIMIT 5",
        expected: Expected::Rows(&[
            "nostalgia|noun.feeling|0.400",
            "longing|noun.feeling|0.484",
            "pining|noun.feeling|0.485",
            "desire|verb.emotion|0.493",
            "go home|verb.motion|0.494",
        ]),
    },
    Question {
        note: Some("The same, and how: the index proposes rows, the rows decide."),
        sql: "EXPLAIN SELECT word FROM synsets
ORDER BY embedding <=> (SELECT embedding FROM synsets WHERE word = 'homesickness') LIMIT 5",
        expected: Expected::Anything,
    },
    Question {
        note: Some("Words: drinks, of fruit or of grain, but no tea."),
        sql: "SELECT word, round(bm25_score(synsets)::numeric, 2) AS score, snippet(definition, '[', ']') AS passage
FROM synsets WHERE synsets @@@ '+drink (wine beer^2) -tea definition:fruit' ORDER BY bm25_score(synsets) DESC, word LIMIT 4",
        expected: Expected::Rows(&[
            "ginger beer|29.64|carbonated slightly alcoholic [drink] flavored with fermented ginger",
            "birch beer|29.35|carbonated [drink] containing an extract from bark of birch trees",
            "wine|28.45|[drink] [wine]",
            "shandygaff|22.51|a [drink] made of [beer] and lemonade",
        ]),
    },
    Question {
        note: Some("Both, and a join: words and neighbours, fused by their ranks; what is each a kind of?"),
        sql: "SELECT h.word, round(h.score::numeric, 4) AS fused, p.word AS kind_of
FROM hybrid_search('synsets', text => 'longing home',
                   vector => (SELECT embedding FROM synsets WHERE word = 'homesickness'), k => 5, fusion => 'rrf') AS h
LEFT JOIN relations r ON r.src = h.id AND r.relation = 'hypernym'
LEFT JOIN synsets p ON p.id = r.dst
ORDER BY h.score DESC, h.word",
        expected: Expected::Rows(&[
            "homesickness|0.0320|nostalgia",
            "longing|0.0320|",
            "go home|0.0315|",
            "nostalgia|0.0298|longing",
            "pining|0.0295|longing",
        ]),
    },
    Question {
        note: Some("A graph: what is a Pilsner, and what is that?"),
        sql: "WITH RECURSIVE up(id, word, step) AS (
    SELECT id, word, 0 FROM synsets WHERE word = 'Pilsner'
    UNION ALL
    SELECT p.id, p.word, step + 1
    FROM up JOIN relations r ON r.src = up.id AND r.relation = 'hypernym' JOIN synsets p ON p.id = r.dst
)
SELECT step, word FROM up ORDER BY step",
        expected: Expected::Rows(&["0|Pilsner", "1|lager", "2|beer", "3|brew", "4|alcohol", "5|beverage"]),
    },
    Question {
        note: Some(
            "All at once: verbs (a document says so) that are near to homesickness (a vector), and what they are \
a way of (a graph).",
        ),
        sql: "WITH near AS (
    SELECT id, word, embedding <=> (SELECT embedding FROM synsets WHERE word = 'homesickness') AS distance
    FROM synsets WHERE meta @> '{\"pos\": \"v\"}' ORDER BY distance LIMIT 5
)
SELECT near.word, round(near.distance::numeric, 3) AS away, p.word AS way_of
FROM near
LEFT JOIN relations r ON r.src = near.id AND r.relation = 'hypernym'
LEFT JOIN synsets p ON p.id = r.dst
ORDER BY near.distance",
        expected: Expected::Rows(&[
            "desire|0.493|",
            "go home|0.494|",
            "hanker|0.596|desire",
            "hype up|0.613|agitate",
            "rejoice|0.614|feel",
        ]),
    },
    Question {
        note: Some("A transaction sees what it did, and can be taken back."),
        sql: "BEGIN",
        expected: Expected::Tag("BEGIN"),
    },
    Question {
        note: None,
        sql: "DELETE FROM relations WHERE relation = 'antonym'",
        expected: Expected::Tag("DELETE 62"),
    },
    Question { note: None, sql: "SELECT count(*) AS relations FROM relations", expected: Expected::Rows(&["11347"]) },
    Question { note: None, sql: "ROLLBACK", expected: Expected::Tag("ROLLBACK") },
    Question { note: None, sql: "SELECT count(*) AS relations FROM relations", expected: Expected::Rows(&["11409"]) },
    Question {
        note: Some("Constraints hold: there is no sense with this number."),
        sql: "INSERT INTO relations VALUES (43146, 'hypernym', -1, false)",
        expected: Expected::Error("23503"),
    },
];
