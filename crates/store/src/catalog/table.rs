//! The definition of a table. It is kept as JSON, since it is small, rarely written and often extended.

use nodedb_base::key::KeyOrder;
use nodedb_base::{Error, Incarnation, Result, Type};
use serde::{Deserialize, Serialize};

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The table's OID, for its whole life.
    pub id: u32,
    /// The OID of its schema.
    pub schema: u32,
    /// Its name.
    pub name: String,
    /// Under which its rows lie; a new one each time the table is emptied as a whole.
    pub incarnation: Incarnation,
    /// Its columns, in the order of the row codec.
    pub columns: Vec<Column>,
    /// Its primary key.
    pub primary_key: Option<PrimaryKey>,
    /// Its key indexes, those of constraints among them.
    pub indexes: Vec<Index>,
    /// Its CHECK constraints.
    pub checks: Vec<Check>,
    /// Its FOREIGN KEY constraints.
    pub foreign_keys: Vec<ForeignKey>,
    /// Its derived indexes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<DerivedIndex>,
}

/// An index that follows the log: it proposes rows, and the store says what is true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DerivedIndex {
    /// Its OID, which names its files, too.
    pub id: Incarnation,
    /// Its name.
    pub name: String,
    /// The columns that it covers, at least one.
    pub columns: Vec<u16>,
    /// How it finds.
    pub method: Method,
    /// The SQL expression that is true of the rows that it holds, if it does not hold all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate: Option<String>,
}

/// How a derived index finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Nearest neighbours by a graph.
    Hnsw(Hnsw),
    /// Words in texts.
    Bm25(Bm25),
}

/// The parameters of a full-text index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bm25 {
    /// How each column is indexed, in the order of the index's columns.
    pub columns: Vec<Bm25Column>,
}

/// How a column is indexed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bm25Column {
    /// How it is cut into terms.
    pub tokenizer: String,
    /// Whose word endings are taken off.
    pub language: Option<String>,
    /// Whether words that say nothing are left out.
    pub stopwords: bool,
    /// Whether it is known where terms stand.
    pub positions: bool,
    /// How much a match counts, in hundredths.
    pub boost: u32,
}

/// The parameters of a graph of vectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hnsw {
    /// What is near.
    pub class: VectorClass,
    /// Links of a node.
    pub m: u16,
    /// Candidates of a node that is being linked.
    pub ef_construction: u16,
    /// Bits of a number in the codes: 0 for none, 8 for bytes, 1 to 7 for RaBitQ's.
    pub code_bits: u8,
}

/// The operator classes of vector indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VectorClass {
    /// `vector_l2_ops`: `<->`
    L2,
    /// `vector_ip_ops`: `<#>`
    InnerProduct,
    /// `vector_cosine_ops`: `<=>`
    Cosine,
    /// `vector_l1_ops`: `<+>`
    L1,
    /// `vector_linf_ops`: `linf_distance`
    Linf,
    /// `vector_pearson_ops`: `pearson_distance`
    Pearson,
    /// `bit_hamming_ops`: `<~>`
    Hamming,
    /// `bit_jaccard_ops`: `<%>`
    Jaccard,
}

impl VectorClass {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::L2, Self::InnerProduct, Self::Cosine, Self::L1, Self::Linf, Self::Pearson, Self::Hamming, Self::Jaccard];

    /// The function in SQL that rows are sorted by.
    #[must_use]
    pub const fn function(self) -> &'static str {
        match self {
            Self::L2 => "l2_distance",
            Self::InnerProduct => "vector_negative_inner_product",
            Self::Cosine => "cosine_distance",
            Self::L1 => "l1_distance",
            Self::Linf => "linf_distance",
            Self::Pearson => "pearson_distance",
            Self::Hamming => "hamming_distance",
            Self::Jaccard => "jaccard_distance",
        }
    }

    /// The operator in SQL, if it has one.
    #[must_use]
    pub const fn operator(self) -> Option<&'static str> {
        match self {
            Self::L2 => Some("<->"),
            Self::InnerProduct => Some("<#>"),
            Self::Cosine => Some("<=>"),
            Self::L1 => Some("<+>"),
            Self::Hamming => Some("<~>"),
            Self::Jaccard => Some("<%>"),
            Self::Linf | Self::Pearson => None,
        }
    }

    /// What an operator of SQL sorts by.
    #[must_use]
    pub fn of_operator(operator: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.operator() == Some(operator))
    }

    /// What a function of SQL sorts by.
    #[must_use]
    pub fn of_function(function: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.function() == function)
    }

    /// What its operator classes are called, between the type and `_ops`.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::InnerProduct => "ip",
            Self::Cosine => "cosine",
            Self::L1 => "l1",
            Self::Linf => "linf",
            Self::Pearson => "pearson",
            Self::Hamming => "hamming",
            Self::Jaccard => "jaccard",
        }
    }

    /// Whether it is of strings of bits.
    #[must_use]
    pub const fn is_of_bits(self) -> bool {
        matches!(self, Self::Hamming | Self::Jaccard)
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// The SQL expression of its default.
    pub default: Option<String>,
}

/// A primary key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrimaryKey {
    /// The constraint's name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<u16>,
    /// The index that keeps it, or `None` if the key is the row id itself (a single integer column).
    pub index: Option<Incarnation>,
}

/// A key index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Under which its entries lie; also its OID.
    pub id: Incarnation,
    /// Its name.
    pub name: String,
    /// Whether two rows may not have the same key (NULLs are never the same).
    pub unique: bool,
    /// Its columns, most significant first.
    pub columns: Vec<IndexColumn>,
    /// Whether it keeps a constraint (PRIMARY KEY, UNIQUE, the children's side of a FOREIGN KEY), and so
    /// cannot be dropped by itself.
    pub constraint: bool,
}

/// A column of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexColumn {
    /// What is indexed.
    pub source: IndexSource,
    /// The type of the keys.
    #[serde(rename = "type")]
    pub ty: Type,
    /// How they are sorted.
    pub order: KeyOrder,
}

/// What a column of an index is computed from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexSource {
    /// A column of the table.
    Column(u16),
    /// A SQL expression over the row.
    Expression(String),
}

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The constraint's name.
    pub name: String,
    /// The SQL expression, which may not be false.
    pub expression: String,
}

/// A FOREIGN KEY constraint, as the child has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: String,
    /// The child's columns.
    pub columns: Vec<u16>,
    /// The parent table's id.
    pub parent: u32,
    /// The parent's columns, which are its primary key or unique.
    pub parent_columns: Vec<u16>,
    /// The parent's unique index, or `None` if the key is the parent's row id.
    pub parent_index: Option<Incarnation>,
    /// The child's index over `columns`, by which a parent finds its children.
    pub index: Incarnation,
}

impl Method {
    /// Its name in SQL.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hnsw(_) => "hnsw",
            Self::Bm25(_) => "bm25",
        }
    }
}

impl Table {
    /// The bytes of the definition.
    ///
    /// # Errors
    /// `Internal` if it cannot be written as JSON.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::internal(format!("could not encode table {}: {e}", self.name)))
    }

    /// Reads what [`Table::encode`] wrote.
    ///
    /// # Errors
    /// `Damaged` if the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| Error::damaged(format!("damaged catalogue: a table: {e}")))
    }

    /// The types of the columns.
    #[must_use]
    pub fn types(&self) -> Vec<Type> {
        self.columns.iter().map(|column| column.ty.clone()).collect()
    }

    /// A column's number.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The column that is the row id itself, if there is one.
    #[must_use]
    pub fn row_key(&self) -> Option<usize> {
        match self.primary_key.as_ref()? {
            PrimaryKey { columns, index: None, .. } => columns.first().map(|&column| column.into()),
            _ => None,
        }
    }

    /// The index with that id.
    #[must_use]
    pub fn index(&self, id: Incarnation) -> Option<&Index> {
        self.indexes.iter().find(|index| index.id == id)
    }

    /// The vector index of a column by which vectors of such a class are near.
    #[must_use]
    pub fn vector_index(&self, column: usize, class: VectorClass) -> Option<&DerivedIndex> {
        self.vector_indexes(column, class).find(|index| index.predicate.is_none())
    }

    /// All vector indexes of a column that sort by a class's distance, those among them that hold some rows only.
    pub fn vector_indexes(&self, column: usize, class: VectorClass) -> impl Iterator<Item = &DerivedIndex> {
        self.derived.iter().filter(move |index| match &index.method {
            Method::Hnsw(hnsw) => index.columns.iter().any(|at| usize::from(*at) == column) && hnsw.class == class,
            Method::Bm25(_) => false,
        })
    }

    /// Whether one of its derived indexes holds some rows only.
    #[must_use]
    pub fn has_partial_indexes(&self) -> bool {
        self.derived.iter().any(|index| index.predicate.is_some())
    }

    /// The table's full-text index: the one that covers a column, or the first.
    #[must_use]
    pub fn text_index(&self, column: Option<u16>) -> Option<&DerivedIndex> {
        let covers = |index: &&DerivedIndex| column.is_none_or(|column| index.columns.contains(&column));
        self.derived.iter().filter(|index| matches!(index.method, Method::Bm25(_))).find(covers)
    }

    /// The lives whose entries go when the table goes: its own and those of its indexes.
    pub fn lives(&self) -> impl Iterator<Item = Incarnation> {
        std::iter::once(self.incarnation).chain(self.indexes.iter().map(|index| index.id))
    }
}
