//! Tests of inventories in Parquet, with the schema that S3 writes.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

const SCHEMA: &str = "message s3.inventory {
    required binary bucket (STRING);
    required binary key (STRING);
    optional binary version_id (STRING);
    optional boolean is_latest;
    optional boolean is_delete_marker;
    optional int64 size;
    optional int64 last_modified_date (TIMESTAMP(MILLIS,true));
    optional binary e_tag (STRING);
}";

/// Key, whether it is the latest version, whether it is a delete marker, size.
type TestRow = (&'static str, bool, bool, Option<i64>);

const ROWS: [TestRow; 5] = [
    ("a+b/é %2B", true, false, Some(12)),
    ("old", false, false, Some(1)),
    ("marker", true, true, None),
    ("a//b", true, false, Some(1)),
    ("folder/", true, false, Some(0)),
];

fn bytes(text: &str) -> ByteArray {
    ByteArray::from(text.as_bytes().to_vec())
}

/// Writes each column of the schema, in row groups of this size.
fn parquet(schema: &str, rows: &[TestRow], group: usize, compression: Compression) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let names: Vec<_> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, properties).unwrap();
    for rows in rows.chunks(group) {
        let mut group = writer.next_row_group().unwrap();
        let mut names = names.iter();
        while let Some(mut column) = group.next_column().unwrap() {
            write_column(column.untyped(), names.next().unwrap(), rows);
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    file
}

fn write_column(column: &mut ColumnWriter<'_>, name: &str, rows: &[TestRow]) {
    let all = vec![1; rows.len()];
    match (column, name) {
        (ColumnWriter::ByteArrayColumnWriter(writer), "bucket" | "key") => {
            let text = |row: &TestRow| bytes(if name == "key" { row.0 } else { "media" });
            let values: Vec<_> = rows.iter().map(text).collect();
            writer.write_batch(&values, None, None).unwrap();
        }
        (ColumnWriter::ByteArrayColumnWriter(writer), _) => {
            let values = vec![bytes("9b2c-2"); rows.len()];
            writer.write_batch(&values, Some(&all), None).unwrap();
        }
        (ColumnWriter::BoolColumnWriter(writer), _) => {
            let flag = |row: &TestRow| if name == "is_latest" { row.1 } else { row.2 };
            let values: Vec<_> = rows.iter().map(flag).collect();
            writer.write_batch(&values, Some(&all), None).unwrap();
        }
        (ColumnWriter::Int64ColumnWriter(writer), "size") => {
            let values: Vec<_> = rows.iter().filter_map(|row| row.3).collect();
            let levels: Vec<_> = rows.iter().map(|row| i16::from(row.3.is_some())).collect();
            writer.write_batch(&values, Some(&levels), None).unwrap();
        }
        (ColumnWriter::Int64ColumnWriter(writer), _) => {
            let values = vec![1_796_083_200_500; rows.len()];
            writer.write_batch(&values, Some(&all), None).unwrap();
        }
        _ => panic!("no values for the column {name}"),
    }
}

async fn parquet_items(file: Vec<u8>) -> Vec<Result<ObjectEntry>> {
    items(&inventory("Parquet", SCHEMA, &[file]).await).await
}

#[tokio::test]
async fn rows_in_parquet_are_entries_and_their_keys_are_not_decoded() {
    for compression in
        [Compression::SNAPPY, Compression::UNCOMPRESSED, Compression::GZIP(Default::default())]
    {
        for group in [1, 100] {
            let items = parquet_items(parquet(SCHEMA, &ROWS, group, compression)).await;
            let entry = items[0].as_ref().unwrap();
            assert_eq!((entry.key.as_str(), entry.size), ("a+b/é %2B", 12));
            assert_eq!(entry.etag, storage_core::ETag::strong("9b2c-2").ok());
            let time = UNIX_EPOCH + Duration::from_millis(1_796_083_200_500);
            assert_eq!(entry.last_modified, Some(time));
            let error = items[1].as_ref().unwrap_err();
            assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidKey, Some("a//b")));
            assert!(error.listing_continues());
            assert_eq!(items.len(), 2);
        }
    }
}

#[tokio::test]
async fn a_missing_column_in_parquet_is_an_error_that_names_it() {
    let key = "required binary key (STRING);";
    let version = "optional binary version_id (STRING);";
    let size = "optional int64 size;";
    for (schema, column) in [
        (size.to_owned(), "key"),
        (key.to_owned(), "size"),
        (format!("{key}{version}{size}"), "is_latest"),
        (format!("{key}{version}{size}optional boolean is_latest;"), "is_delete_marker"),
    ] {
        let schema = format!("message s3.inventory {{ {schema} }}");
        let file = parquet(&schema, &ROWS, 10, Compression::SNAPPY);
        let error = last_error(parquet_items(file).await);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("no column {column}:")), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_parquet_file_is_an_error_and_no_panic_of_the_caller() {
    let whole = parquet(SCHEMA, &ROWS, 2, Compression::SNAPPY);
    let mut damaged = vec![Vec::new(), b"PAR1".to_vec(), whole[..whole.len() / 2].to_vec()];
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        damaged.push(bytes);
    }
    let mut errors = 0;
    for bytes in damaged {
        errors += usize::from(
            parquet_items(bytes)
                .await
                .iter()
                .any(|item| matches!(item, Err(error) if !error.listing_continues())),
        );
    }
    assert!(errors > 10, "{errors}");
}

#[tokio::test]
async fn borders_of_parquet_need_only_the_keys() {
    let schema = "message s3.inventory { required binary key (STRING); }";
    let file = parquet(
        schema,
        &[("a", true, false, None), ("b", true, false, None)],
        10,
        Compression::SNAPPY,
    );
    let storage = inventory("Parquet", schema, &[file]).await;
    let inventory = Inventory::open(&storage, MANIFEST).await.unwrap();
    assert_eq!(inventory.borders(5).await.unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn a_first_copy_by_an_inventory_in_parquet_copies_each_object_of_the_directory() {
    let rows = [
        ("site/b", true, false, Some(1)),
        ("site/old", false, false, Some(1)),
        ("site/a+ é", true, false, Some(1)),
        ("elsewhere", true, false, Some(1)),
    ];
    let file = parquet(SCHEMA, &rows, 2, Compression::SNAPPY);
    let storage = inventory("Parquet", SCHEMA, &[file]).await;
    let objects = [("site/a+ é", "a"), ("site/b", "b"), ("site/old", ""), ("elsewhere", "")];
    let (target, counts) = first_copy(&storage, &objects).await;
    assert_eq!(list(&target).await, ["a+ é", "b"]);
    assert_eq!((counts.new, counts.vanished, counts.failed), (2, 0, 0));
}
