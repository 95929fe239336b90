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
        reason: "s3s-fs keeps objects as files, so that a key and one below it cannot both be there",
        cases: &[
            "delete::a_key_can_become_a_prefix_and_a_key_again",
            "delete_many::neighbours_and_keys_below_stay",
            "keys::a_key_and_a_key_below_it_are_both_kept_or_refused",
            "keys::dots_are_kept",
            "keys::names_that_look_like_a_drivers_own_are_kept_or_refused",
            "list::a_listing_taken_up_after_each_entry_misses_none",
            "list::a_listing_that_is_dropped_half_way_does_no_harm",
            "list::all_keys_come_in_byte_order",
            "list::start_after_goes_on_behind_a_name",
            "property::random_operations_agree_with_the_memory_driver",
            "unique_name::any_name_has_a_similar_one",
        ],
    },
    KnownFailure {
        reason: "s3s-fs fails when it is request for an object where it has a directory",
        cases: &[
            "delete::deleting_a_prefix_of_keys_deletes_nothing",
            "delete_many::what_is_not_there_is_gone_as_well",
            "open::a_missing_object_is_not_found",
            "stat_exists::a_prefix_of_keys_is_no_object",
        ],
    },
    KnownFailure {
        reason: "s3s-fs needs the whole key, and more, in one file name",
        cases: &[
            "keys::keys_of_1024_bytes_are_kept_or_refused",
            "keys::segments_of_255_bytes_are_kept_or_refused",
            "list::deeply_nested_keys_are_listed",
        ],
    },
    KnownFailure {
        reason: "s3s-fs says that it encodes the names in a listing, and does not",
        cases: &[
            "delete_many::odd_keys_are_gone_and_those_like_them_stay",
            "keys::characters_with_a_meaning_in_urls_are_kept",
            "list::a_prefix_is_literal_bytes",
        ],
    },
    KnownFailure {
        reason: "s3s-fs rolls up to the first byte of a delimiter",
        cases: &["list::any_text_can_be_a_delimiter"],
    },
    KnownFailure {
        reason: "s3s-fs fails when more bytes are request for from the end than there are",
        cases: &[
            "range::an_end_past_the_object_is_brought_back_to_it",
            "range::every_range_of_a_small_object_is_right",
            "range::no_range_of_an_empty_object_is_satisfiable",
        ],
    },
    KnownFailure {
        reason: "s3s-fs looks at the conditions of a save before it has the bytes, so that several racers win",
        cases: &[
            "copy::of_16_copies_with_create_new_exactly_one_wins",
            "create_new::of_32_racers_exactly_one_wins",
            "create_new::of_32_racers_with_streams_exactly_one_wins",
            "if_match::no_update_of_a_shared_counter_is_lost",
            "if_match::of_32_racers_on_one_version_exactly_one_wins",
            "unique_name::of_32_racers_each_gets_a_name_of_its_own",
        ],
    },
    KnownFailure {
        reason: "s3s-fs replaces the bytes, the metadata and the ETag one after the other",
        cases: &[
            "cancellation::a_copy_dropped_at_any_point_happened_completely_or_not_at_all",
            "cancellation::a_save_dropped_at_any_point_happened_completely_or_not_at_all",
            "concurrency::a_range_on_an_etag_is_of_that_version",
            "concurrency::an_object_that_is_replaced_and_deleted_all_the_time_is_whole_or_not_there",
            "concurrency::copies_beside_overwrites_are_whole",
            "concurrency::readers_during_1000_overwrites_see_whole_versions",
            "concurrency::readers_during_overwrites_never_go_back",
            "concurrency::the_last_of_many_writers_is_there_whole",
        ],
    },
    KnownFailure {
        reason: "s3s-fs keeps the checksum of the old object when a multipart upload replaces it",
        cases: &["concurrency::an_object_overwritten_while_it_is_read_stays_the_old_version"],
    },
    KnownFailure {
        reason: "s3s-fs decodes encoded words on their way in, and does not encode what looks like one on its way out",
        cases: &["metadata::user_metadata_may_hold_any_text"],
    },
];

/// Ceph's RadosGW 16.2.
const CEPH: &[KnownFailure] = &[
    KnownFailure {
        reason: "RadosGW heeds no condition when a multipart upload is completed",
        cases: &["cancellation::a_dropped_create_new_leaves_the_key_free"],
    },
    KnownFailure {
        reason: "RadosGW turns underscores in the names of user metadata into hyphens",
        cases: &["metadata::user_metadata_may_have_any_token_for_a_name"],
    },
];

/// Garage 2.5.0.
const GARAGE: &[KnownFailure] = &[KnownFailure {
    reason: "Garage takes no request with more than 100 headers, and each piece of user metadata is one",
    cases: &["metadata::as_much_user_metadata_as_is_allowed_is_kept"],
}];
