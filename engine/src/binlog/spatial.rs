//! GEOMETRY as GeoJSON, well-known text or hexadecimal digits, and VECTOR as an array of numbers.
//!
//! Coordinates keep the server's internal order, x before y, which is longitude before latitude: what RFC 7946 and
//! Elasticsearch want. Must not judge coordinates. Layout: a spatial reference id of 4 bytes, then well-known binary
//! (OGC 06-103r4).

use serde::{Deserialize, Serialize};

use super::number;
use super::read::{Read, Reader};
use super::text::BadValue;

/// How GEOMETRY becomes text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GeometryText {
    /// A GeoJSON object; a spatial reference other than 0 is its member `crs`, as `ST_AsGeoJSON(g, …, 4)` writes it.
    #[default]
    GeoJson,
    /// Well-known text; before it `SRID=4326;` if the spatial reference is not 0.
    Wkt,
    /// All bytes, reference included, as `HEX(g)` shows them.
    Hex,
}

mod shape {
    pub const POINT: u32 = 1;
    pub const LINE_STRING: u32 = 2;
    pub const POLYGON: u32 = 3;
    pub const MULTI_POINT: u32 = 4;
    pub const MULTI_LINE_STRING: u32 = 5;
    pub const MULTI_POLYGON: u32 = 6;
    pub const COLLECTION: u32 = 7;
}

/// Collections within collections; the server's own limit is its stack.
const MAX_DEPTH: u32 = 100;

/// Writes a geometry as the content of a JSON string. No bytes give no text: MariaDB's value where a column without one
/// had to become NOT NULL (by being added to a key, or left out in an INSERT).
pub(crate) fn write_geometry(text: GeometryText, raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    if text == GeometryText::Hex {
        write_hex(raw, out);
        return Ok(());
    }
    if raw.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::new(raw);
    let srid = bad(reader.u32("a spatial reference of 4 bytes"))?;
    let mut walk = Walk { reader, big_endian: false, out };
    if text == GeometryText::Wkt {
        walk.wkt_reference(srid);
        walk.wkt(0)?;
    } else {
        walk.geojson(srid, 0)?;
    }
    if walk.reader.is_empty() { Ok(()) } else { Err(BadValue::Expected("a single geometry")) }
}

/// Writes a VECTOR: numbers of 4 bytes in their shortest form.
pub(crate) fn write_vector(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let (numbers, rest) = raw.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(BadValue::Expected("a VECTOR of numbers of 4 bytes"));
    }
    out.push(b'[');
    for (index, number) in numbers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        number::write_float(number, out)?;
    }
    out.push(b']');
    Ok(())
}

fn write_hex(raw: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in raw {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn bad<T>(read: Read<T>) -> Result<T, BadValue> {
    read.map_err(|bad| BadValue::Expected(bad.expected))
}

struct Walk<'r, 'o> {
    reader: Reader<'r>,
    big_endian: bool,
    out: &'o mut Vec<u8>,
}

/// A type's name in GeoJSON and in well-known text.
fn name(kind: u32) -> Result<(&'static str, &'static str), BadValue> {
    Ok(match kind {
        shape::POINT => ("Point", "POINT"),
        shape::LINE_STRING => ("LineString", "LINESTRING"),
        shape::POLYGON => ("Polygon", "POLYGON"),
        shape::MULTI_POINT => ("MultiPoint", "MULTIPOINT"),
        shape::MULTI_LINE_STRING => ("MultiLineString", "MULTILINESTRING"),
        shape::MULTI_POLYGON => ("MultiPolygon", "MULTIPOLYGON"),
        shape::COLLECTION => ("GeometryCollection", "GEOMETRYCOLLECTION"),
        _ => return Err(BadValue::Expected("a geometry's type")),
    })
}

/// What separates and encloses coordinates.
#[derive(Clone, Copy)]
struct Style {
    open: u8,
    close: u8,
    between: &'static [u8],
    /// Between the two numbers of a point, and around them.
    point: &'static [u8],
    point_enclosed: bool,
}

const GEOJSON: Style = Style { open: b'[', close: b']', between: b",", point: b",", point_enclosed: true };
const WKT: Style = Style { open: b'(', close: b')', between: b",", point: b" ", point_enclosed: false };

impl Walk<'_, '_> {
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self) -> Result<u32, BadValue> {
        let number = bad(self.reader.u32("a number of 4 bytes"))?;
        Ok(if self.big_endian { number.swap_bytes() } else { number })
    }

    /// Byte order and type of the next geometry.
    fn head(&mut self) -> Result<u32, BadValue> {
        self.big_endian = match bad(self.reader.u8("a byte order"))? {
            0 => true,
            1 => false,
            _ => return Err(BadValue::Expected("a byte order of 0 or 1")),
        };
        self.number()
    }

    fn geojson(&mut self, srid: u32, depth: u32) -> Result<(), BadValue> {
        let kind = self.head()?;
        self.text("{\\\"type\\\":\\\"");
        self.text(name(kind)?.0);
        self.text("\\\",");
        if srid != 0 {
            self.text(
                "\\\"crs\\\":{\\\"type\\\":\\\"name\\\",\\\"properties\\\":{\\\"name\\\":\\\"urn:ogc:def:crs:EPSG::",
            );
            number::write_u64(u64::from(srid), self.out);
            self.text("\\\"}},");
        }
        if kind == shape::COLLECTION {
            self.text("\\\"geometries\\\":[");
            self.members(depth, |walk| walk.geojson(0, depth + 1))?;
            self.text("]}");
        } else {
            self.text("\\\"coordinates\\\":");
            self.coordinates(kind, GEOJSON)?;
            self.text("}");
        }
        Ok(())
    }

    fn wkt_reference(&mut self, srid: u32) {
        if srid != 0 {
            self.text("SRID=");
            number::write_u64(u64::from(srid), self.out);
            self.text(";");
        }
    }

    fn wkt(&mut self, depth: u32) -> Result<(), BadValue> {
        let kind = self.head()?;
        self.text(name(kind)?.1);
        let mut ahead = self.reader;
        if kind != shape::POINT && ahead.u32("") == Ok(0) {
            self.reader = ahead;
            self.text(" EMPTY");
        } else if kind == shape::COLLECTION {
            self.text("(");
            self.members(depth, |walk| walk.wkt(depth + 1))?;
            self.text(")");
        } else if kind == shape::POINT {
            self.text("(");
            self.point(WKT)?;
            self.text(")");
        } else {
            self.coordinates(kind, WKT)?;
        }
        Ok(())
    }

    /// The geometries of a collection, with commas between them.
    fn members(&mut self, depth: u32, each: impl Fn(&mut Self) -> Result<(), BadValue>) -> Result<(), BadValue> {
        if depth >= MAX_DEPTH {
            return Err(BadValue::Expected("geometries of at most 100 levels"));
        }
        for index in 0..self.number()? {
            if index > 0 {
                self.text(",");
            }
            each(self)?;
        }
        Ok(())
    }

    /// The coordinates of anything but a collection.
    fn coordinates(&mut self, kind: u32, style: Style) -> Result<(), BadValue> {
        match kind {
            shape::POINT => self.point(style),
            shape::LINE_STRING => self.list(style, |walk| walk.point(style)),
            shape::POLYGON => self.list(style, |walk| walk.list(style, |walk| walk.point(style))),
            _ => self.list(style, |walk| {
                let member = walk.head()?;
                // Members of a multi-geometry have a type of their own, three below.
                if member.checked_add(3) != Some(kind) {
                    return Err(BadValue::Expected("a member of its multi-geometry's type"));
                }
                if member == shape::POINT && !style.point_enclosed {
                    walk.out.push(style.open);
                    walk.point(style)?;
                    walk.out.push(style.close);
                    return Ok(());
                }
                walk.coordinates(member, style)
            }),
        }
    }

    fn list(&mut self, style: Style, each: impl Fn(&mut Self) -> Result<(), BadValue>) -> Result<(), BadValue> {
        self.out.push(style.open);
        for index in 0..self.number()? {
            if index > 0 {
                self.out.extend_from_slice(style.between);
            }
            each(self)?;
        }
        self.out.push(style.close);
        Ok(())
    }

    fn point(&mut self, style: Style) -> Result<(), BadValue> {
        if style.point_enclosed {
            self.out.push(style.open);
        }
        self.coordinate()?;
        self.out.extend_from_slice(style.point);
        self.coordinate()?;
        if style.point_enclosed {
            self.out.push(style.close);
        }
        Ok(())
    }

    fn coordinate(&mut self) -> Result<(), BadValue> {
        let number = bad(self.reader.u64("a coordinate of 8 bytes"))?;
        let number = if self.big_endian { number.swap_bytes() } else { number };
        number::write_double(&number.to_le_bytes(), self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: f64) -> Vec<u8> {
        [x.to_le_bytes(), y.to_le_bytes()].concat()
    }

    fn geometry(kind: u32, parts: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend(kind.to_le_bytes());
        if kind != shape::POINT {
            bytes.extend((parts.len() as u32).to_le_bytes());
        }
        bytes.extend(parts.concat());
        bytes
    }

    fn ring(points: &[Vec<u8>]) -> Vec<u8> {
        [&(points.len() as u32).to_le_bytes()[..], &points.concat()].concat()
    }

    fn written(text: GeometryText, srid: u32, wkb: &[u8]) -> Result<String, BadValue> {
        let mut out = Vec::new();
        write_geometry(text, &[&srid.to_le_bytes()[..], wkb].concat(), &mut out)?;
        Ok(serde_json::from_str(&format!("\"{}\"", String::from_utf8(out).unwrap())).unwrap())
    }

    fn samples() -> Vec<(Vec<u8>, &'static str, &'static str)> {
        let (a, b) = (point(1.0, -2.5), point(1e20, 0.1));
        let one = geometry(shape::POINT, &[a.clone()]);
        let line = geometry(shape::LINE_STRING, &[a.clone(), b.clone()]);
        let square = [ring(&[a.clone(), b.clone(), a.clone()]), ring(&[b.clone(), b.clone()])];
        let polygon = geometry(shape::POLYGON, &square);
        vec![
            (one.clone(), r#"{"type":"Point","coordinates":[1,-2.5]}"#, "POINT(1 -2.5)"),
            (
                line.clone(),
                r#"{"type":"LineString","coordinates":[[1,-2.5],[1e20,0.1]]}"#,
                "LINESTRING(1 -2.5,1e20 0.1)",
            ),
            (
                polygon.clone(),
                r#"{"type":"Polygon","coordinates":[[[1,-2.5],[1e20,0.1],[1,-2.5]],[[1e20,0.1],[1e20,0.1]]]}"#,
                "POLYGON((1 -2.5,1e20 0.1,1 -2.5),(1e20 0.1,1e20 0.1))",
            ),
            (
                geometry(shape::MULTI_POINT, &[one.clone(), one.clone()]),
                r#"{"type":"MultiPoint","coordinates":[[1,-2.5],[1,-2.5]]}"#,
                "MULTIPOINT((1 -2.5),(1 -2.5))",
            ),
            (
                geometry(shape::MULTI_LINE_STRING, &[line.clone()]),
                r#"{"type":"MultiLineString","coordinates":[[[1,-2.5],[1e20,0.1]]]}"#,
                "MULTILINESTRING((1 -2.5,1e20 0.1))",
            ),
            (
                geometry(shape::MULTI_POLYGON, &[polygon]),
                r#"{"type":"MultiPolygon","coordinates":[[[[1,-2.5],[1e20,0.1],[1,-2.5]],[[1e20,0.1],[1e20,0.1]]]]}"#,
                "MULTIPOLYGON(((1 -2.5,1e20 0.1,1 -2.5),(1e20 0.1,1e20 0.1)))",
            ),
            (
                geometry(shape::COLLECTION, &[one, geometry(shape::COLLECTION, &[])]),
                concat!(
                    r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,-2.5]},"#,
                    r#"{"type":"GeometryCollection","geometries":[]}]}"#
                ),
                "GEOMETRYCOLLECTION(POINT(1 -2.5),GEOMETRYCOLLECTION EMPTY)",
            ),
        ]
    }

    #[test]
    fn every_kind_as_geojson_and_as_text() {
        for (wkb, geojson, wkt) in samples() {
            assert_eq!(written(GeometryText::GeoJson, 0, &wkb).as_deref(), Ok(geojson));
            assert_eq!(written(GeometryText::Wkt, 0, &wkb).as_deref(), Ok(wkt));
        }
    }

    #[test]
    fn the_spatial_reference_is_kept() {
        let wkb = geometry(shape::POINT, &[point(10.0, 20.0)]);
        let json = written(GeometryText::GeoJson, 4326, &wkb).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["crs"]["properties"]["name"], "urn:ogc:def:crs:EPSG::4326");
        assert_eq!(json["coordinates"], serde_json::json!([10, 20]));
        assert_eq!(written(GeometryText::Wkt, 4326, &wkb).unwrap(), "SRID=4326;POINT(10 20)");
        let hex = written(GeometryText::Hex, 4326, &wkb).unwrap();
        assert_eq!(hex, ["E6100000", "01", "01000000", "0000000000002440", "0000000000003440"].concat());
    }

    #[test]
    fn big_endian_geometries_read_the_same() {
        let mut wkb = vec![0, 0, 0, 0, 1];
        wkb.extend([1.0f64.to_be_bytes(), 2.0f64.to_be_bytes()].concat());
        assert_eq!(written(GeometryText::Wkt, 0, &wkb).unwrap(), "POINT(1 2)");
    }

    #[test]
    fn cut_and_contradictory_bytes_are_refused() {
        for (wkb, ..) in samples() {
            for length in 0..wkb.len() {
                assert!(written(GeometryText::GeoJson, 0, &wkb[..length]).is_err(), "cut to {length}");
                assert!(written(GeometryText::Wkt, 0, &wkb[..length]).is_err(), "cut to {length}");
            }
            assert!(written(GeometryText::GeoJson, 0, &[&wkb[..], &[0]].concat()).is_err(), "more than one");
        }
        let mixed = geometry(shape::MULTI_POINT, &[geometry(shape::LINE_STRING, &[])]);
        assert!(written(GeometryText::GeoJson, 0, &mixed).is_err());
        let mut deep = geometry(shape::COLLECTION, &[]);
        for _ in 0..200 {
            deep = geometry(shape::COLLECTION, &[deep]);
        }
        assert!(written(GeometryText::Wkt, 0, &deep).is_err());
        let huge = [&geometry(shape::LINE_STRING, &[])[..5], &u32::MAX.to_le_bytes()].concat();
        assert!(written(GeometryText::GeoJson, 0, &huge).is_err());
    }

    #[test]
    fn a_value_of_no_bytes_has_no_text() {
        for text in [GeometryText::GeoJson, GeometryText::Wkt, GeometryText::Hex] {
            let mut out = Vec::new();
            assert_eq!((write_geometry(text, &[], &mut out), out.as_slice()), (Ok(()), [].as_slice()));
        }
    }

    #[test]
    fn vectors_are_arrays_of_shortest_numbers() {
        let vector = |numbers: &[f32]| {
            let mut out = Vec::new();
            let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            write_vector(&raw, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(vector(&[1.0, -0.1, 16_777_216.0, 1e-30]).as_deref(), Ok("[1,-0.1,16777216,1e-30]"));
        assert_eq!(vector(&[]).as_deref(), Ok("[]"));
        assert!(vector(&[f32::NAN]).is_err());
        assert!(write_vector(&[0; 5], &mut Vec::new()).is_err());
    }
}
