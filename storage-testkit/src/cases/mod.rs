//! The cases, a file for each verb or theme, and the one list of them.

use futures_util::FutureExt;

use crate::case::Case;
use crate::need::Need;

mod cancellation;
mod capabilities;
mod checksums;
mod concurrency;
mod conditions;
mod copy;
mod create_new;
mod delete;
mod delete_many;
mod delete_prefix;
mod errors;
mod if_match;
mod keys;
mod list;
mod metadata;
mod open;
use crate::property;
mod range;
mod save;
mod stat_exists;
mod streaming;
mod unique_name;
mod url;

/// Hands the list of all cases to a macro: theme, name, what it needs.
#[doc(hidden)]
#[macro_export]
macro_rules! __all_cases {
    ($callback:ident $($arguments:tt)*) => {
        $crate::$callback! { [$($arguments)*]
            save {
                what_is_saved_is_read_back_byte_for_byte [Write];
                the_answer_names_the_key_and_the_size [Write];
                an_empty_object_is_an_object [Write];
                an_overwrite_replaces_the_whole_object [Write];
                a_stream_of_unknown_size_is_saved_whole [Write];
                empty_chunks_in_a_stream_mean_nothing [Write];
                a_reader_is_saved_whole [Write];
                a_file_on_disk_is_saved_whole [Write];
                a_payload_of_the_declared_size_is_saved [Write];
                a_payload_shorter_or_longer_than_declared_is_refused_and_changes_nothing [Write];
                a_payload_above_the_largest_size_is_refused_and_changes_nothing [Write];
                a_failed_stream_leaves_the_old_object [Write];
                a_failed_stream_leaves_nothing_where_nothing_was [Write];
                a_save_after_a_failed_one_succeeds [Write];
            }
            create_new {
                a_free_key_is_taken [CreateNew];
                a_taken_key_is_refused_and_nothing_changes [CreateNew];
                an_empty_object_takes_its_key [CreateNew];
                a_deleted_key_is_free_again [CreateNew];
                a_failed_stream_leaves_the_key_free [CreateNew];
                of_32_racers_exactly_one_wins [CreateNew];
                of_32_racers_with_streams_exactly_one_wins [CreateNew];
            }
            if_match {
                the_present_version_is_replaced [SaveIfMatch, StrongETags];
                the_answered_etag_is_good_for_the_next_save [SaveIfMatch, StrongETags];
                an_old_version_is_refused_and_nothing_changes [SaveIfMatch, StrongETags];
                a_missing_object_is_refused_and_not_made [SaveIfMatch, StrongETags];
                a_weak_etag_never_matches [SaveIfMatch, StrongETags];
                a_failed_stream_leaves_the_old_object [SaveIfMatch, StrongETags];
                of_32_racers_on_one_version_exactly_one_wins [SaveIfMatch, StrongETags];
                no_update_of_a_shared_counter_is_lost [SaveIfMatch, StrongETags];
            }
            unique_name {
                a_free_key_is_used_as_it_is [CreateNew];
                a_taken_key_gets_a_similar_one_and_both_stay [CreateNew];
                any_name_has_a_similar_one [CreateNew];
                a_stream_finds_another_name_too [CreateNew];
                a_failed_stream_takes_no_name [CreateNew];
                of_32_racers_each_gets_a_name_of_its_own [CreateNew];
            }
            open {
                a_missing_object_is_not_found [Seed];
                the_body_is_as_long_as_the_metadata_says [Seed];
                the_body_is_the_same_as_bytes_stream_and_reader [Seed];
                an_object_can_be_opened_many_times_at_once [Seed];
                a_body_that_is_dropped_half_read_does_no_harm [Seed];
                an_open_object_is_saved_elsewhere_as_it_streams [Write];
            }
            range {
                from_to_yields_the_bytes_before_the_end [Seed];
                from_yields_the_rest [Seed];
                last_yields_the_end [Seed];
                an_end_past_the_object_is_brought_back_to_it [Seed];
                a_start_past_the_object_is_not_satisfiable [Seed];
                no_range_of_an_empty_object_is_satisfiable [Seed];
                every_range_of_a_small_object_is_right [Seed];
                ranges_of_a_large_object_are_right [Seed];
                a_range_streams_as_it_reads [Seed];
            }
            conditions {
                if_match_opens_the_version_that_is_meant [Seed, StrongETags];
                if_match_refuses_another_version [Seed, StrongETags];
                if_match_compares_strongly [Seed, ETags];
                if_none_match_tells_that_nothing_changed [Seed, ETags];
                if_none_match_compares_weakly [Seed, ETags];
                if_none_match_opens_another_version [Seed, ETags];
                if_none_match_opens_what_was_overwritten [Seed, StrongETags];
                if_modified_since_compares_whole_seconds [Seed];
                if_modified_since_is_ignored_beside_if_none_match [Seed, ETags];
                if_match_is_evaluated_first [Seed, ETags];
                if_match_that_holds_leaves_the_others_to_decide [Seed, StrongETags];
                conditions_are_evaluated_before_the_range [Seed, ETags];
                a_missing_object_is_not_found_whatever_the_condition [Seed, ETags];
            }
            stat_exists {
                stat_of_a_missing_object_is_not_found [Seed];
                exists_is_true_from_save_to_delete [Seed];
                a_prefix_of_keys_is_no_object [Seed];
                a_key_below_an_object_is_no_object [Seed];
                save_stat_and_open_tell_the_same [Seed];
                the_time_of_a_save_is_told [Seed];
            }
            delete {
                a_deleted_object_is_gone [Write];
                deleting_what_is_not_there_is_ok [Write];
                deleting_a_prefix_of_keys_deletes_nothing [Write];
                its_neighbours_stay [Write];
                a_deleted_key_can_be_saved_again [Write, Metadata];
                a_key_can_become_a_prefix_and_a_key_again [Write];
            }
            delete_many {
                all_that_a_listing_yields_is_gone_and_the_rest_stays [Write, List];
                each_key_has_its_answer_in_its_place [Write];
                what_is_not_there_is_gone_as_well [Write];
                a_key_that_is_given_twice_is_gone [Write];
                neighbours_and_keys_below_stay [Write];
                odd_keys_are_gone_and_those_like_them_stay [Write];
                of_1200_keys_all_that_are_there_are_gone [Write];
            }
            delete_prefix {
                all_below_the_prefix_is_gone_and_its_neighbours_stay [Write, List];
                everything_is_gone_when_everything_is_asked_for [Write, List];
                folder_markers_are_gone_and_other_prefixes_keep_theirs [Write, List, FolderMarkers];
                what_cannot_be_read_is_named_and_the_rest_is_gone [Write, List, UnreadableDirectory];
            }
            list {
                an_empty_storage_lists_nothing [Seed, List];
                all_keys_come_in_byte_order [Seed, List];
                a_prefix_is_literal_bytes [Seed, List];
                no_slash_is_added_to_a_prefix [Seed, List];
                a_prefix_of_dots_is_only_text [Seed, List];
                a_delimiter_lists_one_level [Seed, List];
                a_rolled_up_prefix_comes_once_and_in_its_place [Seed, List];
                entries_tell_objects_from_prefixes [Seed, List];
                any_text_can_be_a_delimiter [Seed, List];
                start_after_goes_on_behind_a_name [Seed, List];
                start_after_goes_with_a_prefix [Seed, List];
                start_after_is_any_text [Seed, List];
                start_after_compares_rolled_up_names [Seed, List];
                a_listing_taken_up_after_each_entry_misses_none [Seed, List];
                entries_tell_what_stat_tells [Seed, List];
                overwriting_an_object_lists_it_once [Write, List];
                a_prefix_disappears_with_its_last_object [Write, List];
                deeply_nested_keys_are_listed [Seed, List];
                nothing_is_asked_before_the_first_poll [Seed, List];
                a_listing_of_2300_objects_is_complete_and_in_order [Seed, List];
                what_is_there_throughout_is_listed_once [Seed, List];
                a_listing_that_is_dropped_half_way_does_no_harm [Seed, List];
                folder_markers_are_counted_and_are_neither_entries_nor_errors [List, FolderMarkers];
                folder_markers_are_listed_on_request_in_their_places [List, FolderMarkers];
                a_folder_marker_is_deleted_and_what_is_below_it_stays [Write, List, FolderMarkers];
                a_directory_that_cannot_be_read_is_one_error_and_the_listing_continues [List, UnreadableDirectory];
                one_level_shows_a_directory_that_cannot_be_read [List, UnreadableDirectory];
                a_listing_that_begins_inside_a_directory_that_cannot_be_read_reports_it [List, UnreadableDirectory];
            }
            copy {
                the_copy_has_the_bytes_and_the_source_stays [Write, Copy];
                the_copy_has_the_metadata [Write, Copy, Metadata];
                stat_and_open_tell_the_same_of_the_copy [Write, Copy];
                replaced_metadata_is_replaced_and_not_merged [Write, Copy, Metadata];
                replaced_metadata_without_a_content_type_gets_the_destinations [Write, Copy, Metadata];
                a_copy_replaces_the_destination_with_all_its_metadata [Write, Copy, Metadata];
                a_missing_source_is_not_found_and_changes_nothing [Write, Copy, Metadata];
                source_and_copy_live_their_own_lives [Write, Copy, Metadata];
                a_copy_onto_itself_changes_nothing [Write, Copy, Metadata];
                a_copy_onto_itself_with_new_metadata_changes_the_metadata_alone [Write, Copy, Metadata];
                checksums_of_a_copy_are_right [Write, Copy, Metadata];
                create_new_takes_a_free_destination [Write, Copy, CreateNew];
                create_new_leaves_a_taken_destination [Write, Copy, CreateNew, Metadata];
                of_16_copies_with_create_new_exactly_one_wins [Write, Copy, CreateNew];
            }
            url {
                each_kind_of_link_is_made_or_unsupported [];
                a_public_link_is_for_ever_and_names_the_key [PublicUrl];
                public_links_encode_odd_keys [PublicUrl];
                signed_links_encode_odd_keys [SignedGet];
                a_link_is_made_without_looking_for_the_object [PublicUrl];
                a_signed_link_says_when_it_ends [SignedGet];
                a_signed_link_is_never_a_public_one [SignedGet];
                an_expiry_is_never_ignored [];
                what_is_signed_makes_a_difference [SignedGet];
                an_upload_link_is_bound_to_what_was_asked [SignedPut];
                a_form_is_bound_to_what_was_asked [SignedPost];
                the_fields_of_a_form_do_not_show_in_debug_output [SignedPost];
                a_stable_link_is_the_same_a_moment_later [SignedGet];
                a_stable_link_works_as_long_as_was_asked [SignedGet];
                stable_links_to_different_things_differ [SignedGet];
                the_signature_does_not_show_in_debug_output [SignedGet];
            }
            metadata {
                every_field_is_kept [Seed, Metadata];
                an_empty_object_keeps_its_metadata [Seed, Metadata];
                a_large_object_keeps_its_metadata [Seed, Metadata];
                an_overwrite_replaces_all_metadata [Seed, Metadata];
                metadata_of_a_deleted_object_does_not_come_back [Write, Metadata];
                objects_do_not_share_metadata [Seed, Metadata];
                user_metadata_may_hold_any_text [Seed, Metadata];
                user_metadata_may_have_any_token_for_a_name [Seed, Metadata];
                as_much_user_metadata_as_is_allowed_is_kept [Seed, Metadata];
                the_largest_metadata_is_kept_or_refused [Write, Metadata];
                expires_is_kept_in_whole_seconds [Seed, Metadata];
                the_content_type_is_guessed_from_the_key [Seed, Metadata];
                the_content_type_is_read_out_of_the_first_bytes [Seed, Metadata];
                a_given_content_type_is_kept_word_for_word [Seed, Metadata];
                invalid_metadata_is_refused_and_nothing_is_stored [Write];
                metadata_is_kept_or_refused_and_never_dropped [Write];
                a_strong_etag_differs_from_version_to_version [Seed, StrongETags];
                the_etag_stays_while_the_object_does [Seed, ETags];
                last_modified_does_not_go_back [Seed];
            }
            checksums {
                bytes_with_the_expected_checksum_are_saved [Write];
                other_bytes_are_refused_and_change_nothing [Write];
                an_empty_object_is_verified_too [Write];
                one_wrong_checksum_among_right_ones_is_enough [Write];
                verified_and_computed_checksums_are_kept [Seed, Metadata];
                an_overwrite_leaves_no_checksum_of_the_old_bytes [Seed];
            }
            keys {
                spaces_are_kept [Seed];
                characters_with_a_meaning_in_urls_are_kept [Seed];
                characters_with_a_meaning_in_shells_and_globs_are_kept [Seed];
                backslashes_are_no_separators [Seed];
                dots_are_kept [Seed];
                upper_and_lower_case_differ [Seed];
                unicode_is_not_normalised [Seed];
                all_scripts_and_emoji_are_kept [Seed];
                names_that_look_like_a_drivers_own_are_kept_or_refused [Seed];
                names_that_windows_reserves_are_kept_or_refused [Seed];
                keys_of_1024_bytes_are_kept_or_refused [Seed];
                segments_of_255_bytes_are_kept_or_refused [Seed];
                an_odd_key_is_copied_and_deleted_as_it_is [Write];
                a_key_and_a_key_below_it_are_both_kept_or_refused [Write];
            }
            concurrency {
                readers_during_1000_overwrites_see_whole_versions [Seed];
                readers_during_overwrites_never_go_back [Seed];
                a_range_on_an_etag_is_of_that_version [Seed, StrongETags];
                a_listing_beside_overwrites_has_the_object_once [Seed, List];
                copies_beside_overwrites_are_whole [Write, Copy];
                metadata_changed_beside_readers_is_whole [Write, Copy, Metadata];
                many_objects_saved_at_once_are_all_there [Write];
                the_last_of_many_writers_is_there_whole [Write];
                an_object_overwritten_while_it_is_read_stays_the_old_version [Seed];
                an_object_deleted_while_it_is_read_stays_the_old_version [Seed];
                an_object_opened_before_an_overwrite_and_read_after_it_is_no_mixture [Seed];
                saves_and_deletes_in_one_directory_do_not_disturb_each_other [Write];
                concurrent_deletes_of_one_object_all_succeed [Write];
                an_object_that_is_replaced_and_deleted_all_the_time_is_whole_or_not_there [Write];
            }
            cancellation {
                a_dropped_save_leaves_the_old_object [Write];
                a_dropped_save_leaves_nothing_where_nothing_was [Write];
                a_dropped_create_new_leaves_the_key_free [Write, CreateNew];
                a_stalled_save_is_not_seen [Write];
                a_save_dropped_at_any_point_happened_completely_or_not_at_all [Write];
                a_delete_dropped_at_any_point_leaves_a_whole_object_or_none [Write];
                a_delete_all_dropped_at_any_point_leaves_whole_objects_or_none [Write];
                a_copy_dropped_at_any_point_happened_completely_or_not_at_all [Write, Copy, Metadata];
                reading_verbs_can_be_dropped_at_any_point [Seed];
                stalled_saves_do_not_hold_up_others [Write];
            }
            streaming {
                a_stream_of_300_mib_of_unknown_size_passes_in_bounded_memory [Write, BodiesOutsideMemory];
            }
            property {
                random_operations_agree_with_the_memory_driver [Write];
            }
            errors {
                an_error_names_verb_driver_and_key [Seed];
                an_error_of_a_writing_verb_names_verb_driver_and_key [Write];
                exists_does_not_take_trouble_for_absence [BrokenBackend];
                stat_and_open_do_not_take_trouble_for_absence [BrokenBackend];
                delete_does_not_take_trouble_for_absence [BrokenBackend, Write];
                delete_all_does_not_take_trouble_for_absence [BrokenBackend, Write];
                list_does_not_take_trouble_for_an_empty_storage [BrokenBackend, List];
                no_secret_shows_in_errors_and_debug_output [];
            }
            capabilities {
                what_the_capabilities_deny_is_refused_and_changes_nothing [Seed];
                the_driver_says_who_it_is [];
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __case_table {
    ([] $($theme:ident { $($case:ident [$($need:ident),*];)* })*) => {
        &[$($(Case {
            name: concat!(stringify!($theme), "::", stringify!($case)),
            needs: &[$(Need::$need),*],
            run: |kit| $theme::$case(kit).boxed(),
        },)*)*]
    };
}

static CASES: &[Case] = crate::__all_cases!(__case_table);

/// All cases of the suite, in the order of the list.
#[must_use]
pub fn cases() -> &'static [Case] {
    CASES
}
