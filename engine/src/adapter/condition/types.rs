//! The types that conditions are checked with, and which type a column has.

use std::fmt;

use crate::format::TypeKind;

/// A CEL type, as far as conditions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ty {
    /// `true`, `false`.
    Bool,
    /// 64 bits, signed.
    Int,
    /// 64 bits, unsigned.
    UInt,
    /// A floating number.
    Double,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A span of time.
    Duration,
    /// `null`.
    Null,
    /// A list.
    List(Box<Ty>),
    /// A map (literals only).
    Map(Box<Ty>, Box<Ty>),
    /// Known at run time only: what lies within JSON columns.
    Dyn,
}

impl Ty {
    /// The type of a column's values. Every column can also be null.
    ///
    /// DATE and TIME are text (`'2026-11-23'`, `'07:00:00'`): they order as text does and have no zone. ENUM is text,
    /// SET a list of texts, DECIMAL a double, TINYINT(1) an integer, GEOMETRY and VECTOR the text in the record.
    pub fn of_column(kind: &TypeKind) -> Self {
        match kind {
            TypeKind::Int | TypeKind::Year => Self::Int,
            TypeKind::UInt | TypeKind::Bit => Self::UInt,
            TypeKind::Float | TypeKind::Double | TypeKind::Decimal => Self::Double,
            TypeKind::DateTime | TypeKind::Timestamp => Self::Timestamp,
            TypeKind::Bytes => Self::Bytes,
            TypeKind::Set(_) => Self::List(Box::new(Self::String)),
            TypeKind::Json => Self::Dyn,
            TypeKind::Date | TypeKind::Time | TypeKind::Text | TypeKind::Enum(_) | TypeKind::Unknown => Self::String,
            TypeKind::Geometry | TypeKind::Vector => Self::String,
        }
    }

    /// Whether it is a number of any kind.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::UInt | Self::Double | Self::Dyn)
    }

    /// Whether `==` between the two can ever be true for a reason. (CEL itself answers false for unlike types.)
    pub fn comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn | Self::Null, _) | (_, Self::Dyn | Self::Null) => true,
            (Self::List(a), Self::List(b)) => a.comparable(b),
            (Self::Map(ka, va), Self::Map(kb, vb)) => ka.comparable(kb) && va.comparable(vb),
            (a, b) => a == b || (a.is_number() && b.is_number()),
        }
    }

    /// Whether `<` between the two has a meaning.
    pub fn ordered(&self, other: &Self) -> bool {
        let has_order = |ty: &Self| !matches!(ty, Self::Null | Self::List(_) | Self::Map(..));
        has_order(self) && has_order(other) && self.comparable(other)
    }

    /// The type of an element that may be either.
    pub fn join(self, other: Self) -> Self {
        if self == other { self } else { Self::Dyn }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("a bool"),
            Self::Int => f.write_str("an integer"),
            Self::UInt => f.write_str("an unsigned integer"),
            Self::Double => f.write_str("a double"),
            Self::String => f.write_str("a string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("a timestamp"),
            Self::Duration => f.write_str("a duration"),
            Self::Null => f.write_str("null"),
            Self::List(of) => write!(f, "a list (each {of})"),
            Self::Map(..) => f.write_str("a map"),
            Self::Dyn => f.write_str("a value of any type"),
        }
    }
}
