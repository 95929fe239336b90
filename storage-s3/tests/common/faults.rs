//! What servers do otherwise than S3: the cases of the conformance suite from which they are
//! excused, and why.
//!
//! With `STORAGE_S3_TEST_NO_EXCUSES` set, nothing is excused: to see what a new version has mended.

/// A fault, and the cases that cannot hold for it.
pub(crate) struct Fault {
    why: &'static str,
    cases: &'static [&'static str],
}

/// Why nothing is tried on a server that nobody has named.
pub(crate) const NO_SERVER: &str = "no server is named by STORAGE_S3_TEST_ENDPOINT";

/// The faults of the server that an environment's `quirks` are for.
pub(crate) fn of_quirks(quirks: &str) -> &'static [Fault] {
    match quirks {
        "ceph" => CEPH,
        "garage" => GARAGE,
        _ => &[],
    }
}

/// Why the server is excused from a case, if it is.
pub(crate) fn find(faults: &'static [Fault], case: &str) -> Option<&'static str> {
    if std::env::var_os("STORAGE_S3_TEST_NO_EXCUSES").is_some() {
        return None;
    }
    faults.iter().find(|fault| fault.cases.contains(&case)).map(|fault| fault.why)
}

/// All faults of all servers.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    S3S_FS.iter().chain(CEPH).chain(GARAGE).flat_map(|fault| fault.cases).copied()
}

/// s3s-fs 0.14.1.
pub(crate) const S3S_FS: &[Fault] = &[
    Fault {
        why: "s3s-fs keeps objects as files, so that a key and one below it cannot both be there",
        cases: &[
            "delete::a_key_can_become_a_prefix_and_a_key_again",
            "delete_many::similar_keys_and_keys_below_stay",
            "keys::a_key_and_a_key_below_it_are_both_kept_or_refused",
            "keys::dots_are_kept",
            "keys::names_that_resemble_internal_files_are_kept_or_refused",
            "list::a_listing_that_is_resumed_after_each_entry_is_complete",
            "list::a_partly_read_listing_can_be_dropped",
            "list::all_keys_are_listed_in_byte_order",
            "list::start_after_continues_after_a_name",
            "property::random_operations_agree_with_the_memory_driver",
            "unique_name::every_name_has_a_similar_one",
        ],
    },
    Fault {
        why: "s3s-fs fails when it is asked for an object where it has a directory",
        cases: &[
            "delete::deleting_a_prefix_of_keys_deletes_nothing",
            "delete_many::a_missing_object_counts_as_deleted",
            "open::a_missing_object_is_not_found",
            "stat_exists::a_prefix_of_keys_is_not_an_object",
        ],
    },
    Fault {
        why: "s3s-fs needs the whole key, and more, in one file name",
        cases: &[
            "keys::keys_of_1024_bytes_are_kept_or_refused",
            "keys::segments_of_255_bytes_are_kept_or_refused",
            "list::deeply_nested_keys_are_listed",
        ],
    },
    Fault {
        why: "s3s-fs says that it encodes the names in a listing, and does not",
        cases: &[
            "delete_many::unusual_keys_are_deleted_and_similar_ones_stay",
            "keys::characters_with_a_meaning_in_urls_are_kept",
            "list::a_prefix_matches_literal_bytes",
        ],
    },
    Fault {
        why: "s3s-fs rolls up to the first byte of a delimiter",
        cases: &["list::any_text_can_be_a_delimiter"],
    },
    Fault {
        why: "s3s-fs fails when more bytes are asked for from the end than there are",
        cases: &[
            "range::an_end_past_the_object_is_reduced_to_its_size",
            "range::every_range_of_a_small_object_has_the_right_bytes",
            "range::no_range_of_an_empty_object_is_satisfiable",
        ],
    },
    Fault {
        why: "s3s-fs looks at the conditions of a save before it has the bytes, so that several racers win",
        cases: &[
            "copy::one_of_16_concurrent_copies_with_create_new_succeeds",
            "create_new::one_of_32_concurrent_saves_succeeds",
            "create_new::one_of_32_concurrent_saves_of_streams_succeeds",
            "if_match::no_update_of_a_shared_counter_is_lost",
            "if_match::one_of_32_concurrent_saves_on_one_version_succeeds",
            "unique_name::each_of_32_concurrent_saves_gets_its_own_name",
        ],
    },
    Fault {
        why: "s3s-fs replaces the bytes, the metadata and the ETag one after the other",
        cases: &[
            "cancellation::a_copy_dropped_at_any_point_takes_effect_completely_or_not_at_all",
            "cancellation::a_save_dropped_at_any_point_takes_effect_completely_or_not_at_all",
            "concurrency::a_range_with_if_match_is_of_that_version",
            "concurrency::an_object_that_is_replaced_and_deleted_repeatedly_is_complete_or_missing",
            "concurrency::copies_during_overwrites_are_complete",
            "concurrency::readers_during_1000_overwrites_see_complete_versions",
            "concurrency::readers_during_overwrites_never_see_an_older_version_again",
            "concurrency::the_last_of_many_concurrent_saves_is_complete",
        ],
    },
    Fault {
        why: "s3s-fs keeps the checksum of the old object when a multipart upload replaces it",
        cases: &["concurrency::a_body_that_is_being_read_stays_the_old_version_after_an_overwrite"],
    },
    Fault {
        why: "s3s-fs decodes encoded words on their way in, and does not encode what looks like one on its way out",
        cases: &["metadata::values_of_user_metadata_are_any_text"],
    },
];

/// Ceph's RadosGW 16.2.
const CEPH: &[Fault] = &[
    Fault {
        why: "RadosGW heeds no condition when a multipart upload is completed",
        cases: &["cancellation::a_dropped_create_new_leaves_the_key_free"],
    },
    Fault {
        why: "RadosGW turns underscores in the names of user metadata into hyphens",
        cases: &["metadata::names_of_user_metadata_are_any_token"],
    },
];

/// Garage 2.5.0.
const GARAGE: &[Fault] = &[Fault {
    why: "Garage takes no request with more than 100 headers, and each piece of user metadata is one",
    cases: &["metadata::the_maximum_of_user_metadata_is_kept"],
}];
