//! The cases of the conformance suite that fail on a server, with the reasons.
//!
//! If `STORAGE_S3_TEST_NO_EXCUSES` is set, no case is excused, which shows what a new version has
//! fixed.

/// A deviation of a server from S3, and the cases that it makes fail.
pub(crate) struct KnownFailure {
    reason: &'static str,
    cases: &'static [&'static str],
}

/// The reason of skipped tests if the environment names no server.
pub(crate) const NO_SERVER: &str = "no server is named by STORAGE_S3_TEST_ENDPOINT";

/// Returns the known failures of the server with this profile.
pub(crate) fn of_quirks(quirks: &str) -> &'static [KnownFailure] {
    match quirks {
        "ceph" => CEPH,
        "garage" => GARAGE,
        _ => &[],
    }
}

/// Returns the reason why a case is excused, if it is.
pub(crate) fn find(failures: &'static [KnownFailure], case: &str) -> Option<&'static str> {
    if std::env::var_os("STORAGE_S3_TEST_NO_EXCUSES").is_some() {
        return None;
    }
    failures.iter().find(|failure| failure.cases.contains(&case)).map(|failure| failure.reason)
}

/// Returns all excused cases of all servers.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    S3S_FS.iter().chain(CEPH).chain(GARAGE).flat_map(|failure| failure.cases).copied()
}

/// s3s-fs 0.14.1.
pub(crate) const S3S_FS: &[KnownFailure] = &[
    KnownFailure {
        reason: "s3s-fs stores objects as files, so that a key and one below it cannot both exist",
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
    KnownFailure {
        reason: "s3s-fs fails if a directory exists in the place of the object",
        cases: &[
            "delete::deleting_a_prefix_of_keys_deletes_nothing",
            "delete_many::a_missing_object_counts_as_deleted",
            "open::a_missing_object_is_not_found",
            "stat_exists::a_prefix_of_keys_is_not_an_object",
        ],
    },
    KnownFailure {
        reason: "s3s-fs stores the whole key, and more, in one file name",
        cases: &[
            "keys::keys_of_1024_bytes_are_kept_or_refused",
            "keys::segments_of_255_bytes_are_kept_or_refused",
            "list::deeply_nested_keys_are_listed",
        ],
    },
    KnownFailure {
        reason: "s3s-fs states that it encodes the names of a listing, and does not",
        cases: &[
            "delete_many::unusual_keys_are_deleted_and_similar_ones_stay",
            "keys::characters_with_a_meaning_in_urls_are_kept",
            "list::a_prefix_matches_literal_bytes",
        ],
    },
    KnownFailure {
        reason: "s3s-fs rolls up to the first byte of a delimiter",
        cases: &["list::any_text_can_be_a_delimiter"],
    },
    KnownFailure {
        reason: "s3s-fs fails if a range from the end is longer than the object",
        cases: &[
            "range::an_end_past_the_object_is_reduced_to_its_size",
            "range::every_range_of_a_small_object_has_the_right_bytes",
            "range::no_range_of_an_empty_object_is_satisfiable",
        ],
    },
    KnownFailure {
        reason: "s3s-fs evaluates conditions before it has the bytes, so that several writers succeed",
        cases: &[
            "copy::one_of_16_concurrent_copies_with_create_new_succeeds",
            "create_new::one_of_32_concurrent_saves_succeeds",
            "create_new::one_of_32_concurrent_saves_of_streams_succeeds",
            "if_match::no_update_of_a_shared_counter_is_lost",
            "if_match::one_of_32_concurrent_saves_on_one_version_succeeds",
            "rename::one_of_16_concurrent_renames_with_create_new_succeeds",
            "unique_name::each_of_32_concurrent_saves_gets_its_own_name",
        ],
    },
    KnownFailure {
        reason: "s3s-fs replaces the bytes, the metadata and the ETag one after the other",
        cases: &[
            "cancellation::a_copy_dropped_at_any_point_takes_effect_completely_or_not_at_all",
            "cancellation::a_rename_dropped_at_any_point_loses_no_object",
            "cancellation::a_save_dropped_at_any_point_takes_effect_completely_or_not_at_all",
            "concurrency::a_copy_with_if_source_match_during_overwrites_is_of_that_version",
            "concurrency::a_range_with_if_match_is_of_that_version",
            "concurrency::an_object_that_is_replaced_and_deleted_repeatedly_is_complete_or_missing",
            "concurrency::copies_during_overwrites_are_complete",
            "concurrency::readers_during_1000_overwrites_see_complete_versions",
            "concurrency::readers_during_overwrites_never_see_an_older_version_again",
            "concurrency::renames_during_reads_are_complete",
            "concurrency::the_last_of_many_concurrent_saves_is_complete",
        ],
    },
    KnownFailure {
        reason: "s3s-fs fails if the source of a copy is deleted meanwhile",
        cases: &["rename::concurrent_renames_of_one_object_do_not_lose_it"],
    },
    KnownFailure {
        reason: "s3s-fs decodes encoded words of a request, and does not encode such a text in a response",
        cases: &["metadata::values_of_user_metadata_are_any_text"],
    },
];

/// Ceph's RadosGW 16.2.
const CEPH: &[KnownFailure] = &[
    KnownFailure {
        reason: "RadosGW ignores the condition of a completed multipart upload",
        cases: &["cancellation::a_dropped_create_new_leaves_the_key_free"],
    },
    KnownFailure {
        reason: "RadosGW completes an upload only with all of its stored parts",
        cases: &["multipart::a_part_beyond_the_named_ones_is_discarded"],
    },
    KnownFailure {
        reason: "RadosGW changes underscores in the names of user metadata to hyphens",
        cases: &["metadata::names_of_user_metadata_are_any_token"],
    },
];

/// Garage 2.5.0.
const GARAGE: &[KnownFailure] = &[KnownFailure {
    reason: "Garage refuses a request with more than 100 headers, and each piece of user metadata is one",
    cases: &["metadata::the_maximum_of_user_metadata_is_kept"],
}];
