//! The cases, one file for each verb or theme, and the list of all.

use futures_util::FutureExt;

use crate::case::Case;
use crate::property;
use crate::requirement::Requirement;

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
mod multipart;
mod open;
mod range;
mod reader;
mod rename;
mod save;
mod stat_exists;
mod streaming;
mod unique_name;
mod url;
mod writer;

/// Calls a macro with the list of all cases: theme, name, requirements.
#[doc(hidden)]
#[macro_export]
macro_rules! __all_cases {
    ($callback:ident $($arguments:tt)*) => {
        $crate::$callback! { [$($arguments)*]
            save {
                a_saved_object_is_read_back_byte_for_byte [Write];
                a_save_returns_the_key_and_the_size [Write];
                an_empty_object_is_saved [Write];
                an_overwrite_replaces_the_whole_object [Write];
                a_stream_of_unknown_size_is_saved_completely [Write];
                empty_chunks_in_a_stream_are_ignored [Write];
                a_reader_is_saved_completely [Write];
                a_file_on_disk_is_saved_completely [Write];
                a_payload_of_the_declared_size_is_saved [Write];
                a_payload_shorter_or_longer_than_declared_is_refused_and_changes_nothing [Write];
                a_payload_above_the_maximum_size_is_refused_and_changes_nothing [Write];
                a_failed_stream_leaves_the_old_object [Write];
                a_failed_stream_creates_no_object [Write];
                a_save_after_a_failed_save_succeeds [Write];
            }
            create_new {
                create_new_saves_under_a_free_key [CreateNew];
                create_new_refuses_a_taken_key_and_changes_nothing [CreateNew];
                create_new_refuses_the_key_of_an_empty_object [CreateNew];
                create_new_succeeds_after_a_delete [CreateNew];
                a_failed_stream_leaves_the_key_free [CreateNew];
                one_of_32_concurrent_saves_succeeds [CreateNew];
                one_of_32_concurrent_saves_of_streams_succeeds [CreateNew];
            }
            if_match {
                the_current_version_is_replaced [SaveIfMatch, StrongETags];
                the_returned_etag_matches_in_the_next_save [SaveIfMatch, StrongETags];
                an_outdated_etag_is_refused_and_changes_nothing [SaveIfMatch, StrongETags];
                a_missing_object_is_refused_and_not_created [SaveIfMatch, StrongETags];
                a_weak_etag_never_matches [SaveIfMatch, StrongETags];
                a_failed_stream_leaves_the_old_object [SaveIfMatch, StrongETags];
                one_of_32_concurrent_saves_on_one_version_succeeds [SaveIfMatch, StrongETags];
                no_update_of_a_shared_counter_is_lost [SaveIfMatch, StrongETags];
            }
            unique_name {
                a_free_key_is_used_unchanged [CreateNew];
                a_taken_key_leads_to_a_similar_one_and_both_objects_stay [CreateNew];
                every_name_has_a_similar_one [CreateNew];
                a_stream_is_saved_under_a_similar_name [CreateNew];
                a_failed_stream_creates_no_object [CreateNew];
                each_of_32_concurrent_saves_gets_its_own_name [CreateNew];
            }
            writer {
                an_object_that_is_written_in_pieces_is_read_back [Write];
                a_writer_saves_its_metadata [Write, Metadata];
                a_writer_that_is_dropped_before_finish_leaves_the_old_object [Write];
                a_writer_with_create_new_leaves_an_object_that_appears_meanwhile [CreateNew];
            }
            open {
                a_missing_object_is_not_found [Seed];
                the_body_has_the_size_in_the_metadata [Seed];
                the_body_is_the_same_as_bytes_stream_and_reader [Seed];
                an_object_can_be_opened_many_times_at_once [Seed];
                a_partly_read_body_can_be_dropped [Seed];
                an_open_object_can_be_saved_under_another_key [Write];
            }
            range {
                from_to_returns_the_bytes_before_the_end [Seed];
                from_returns_the_rest [Seed];
                last_returns_the_end [Seed];
                an_end_past_the_object_is_reduced_to_its_size [Seed];
                a_start_past_the_object_is_not_satisfiable [Seed];
                no_range_of_an_empty_object_is_satisfiable [Seed];
                every_range_of_a_small_object_has_the_right_bytes [Seed];
                ranges_of_a_large_object_have_the_right_bytes [Seed];
                a_streamed_range_has_the_right_bytes [Seed];
            }
            reader {
                a_reader_reads_an_object_from_its_beginning_to_its_end [Seed];
                an_index_at_the_end_is_read_before_the_rest [Seed];
                random_seeks_and_reads_agree_with_the_bytes [Seed];
                a_reader_of_a_missing_object_is_refused [Seed];
                a_reader_of_another_version_is_refused [Seed, StrongETags];
                a_reader_of_an_overwritten_object_reads_the_old_version_or_fails [Seed];
                a_reader_of_a_deleted_object_reads_the_old_version_or_fails [Seed];
            }
            conditions {
                if_match_opens_the_matching_version [Seed, StrongETags];
                if_match_refuses_another_version [Seed, StrongETags];
                if_match_compares_strongly [Seed, ETags];
                if_none_match_reports_an_unchanged_object [Seed, ETags];
                if_none_match_compares_weakly [Seed, ETags];
                if_none_match_opens_another_version [Seed, ETags];
                if_none_match_opens_an_overwritten_object [Seed, StrongETags];
                if_modified_since_compares_whole_seconds [Seed];
                if_modified_since_is_ignored_beside_if_none_match [Seed, ETags];
                if_match_is_evaluated_first [Seed, ETags];
                a_matching_if_match_leaves_the_decision_to_the_other_conditions [Seed, StrongETags];
                conditions_are_evaluated_before_the_range [Seed, ETags];
                a_missing_object_is_not_found_under_any_condition [Seed, ETags];
            }
            stat_exists {
                stat_of_a_missing_object_is_not_found [Seed];
                exists_is_true_from_save_to_delete [Seed];
                a_prefix_of_keys_is_not_an_object [Seed];
                a_key_below_an_object_is_not_an_object [Seed];
                save_stat_and_open_return_the_same_metadata [Seed];
                stat_returns_the_time_of_the_save [Seed];
            }
            delete {
                a_deleted_object_is_gone [Write];
                deleting_a_missing_object_succeeds [Write];
                deleting_a_prefix_of_keys_deletes_nothing [Write];
                a_delete_leaves_similar_keys [Write];
                a_deleted_key_can_be_saved_again [Write, Metadata];
                a_key_can_become_a_prefix_and_a_key_again [Write];
            }
            delete_many {
                all_listed_objects_are_deleted_and_the_rest_stays [Write, List];
                each_result_is_in_the_place_of_its_key [Write];
                a_missing_object_counts_as_deleted [Write];
                a_key_that_is_given_twice_is_deleted [Write];
                similar_keys_and_keys_below_stay [Write];
                unusual_keys_are_deleted_and_similar_ones_stay [Write];
                all_objects_of_1200_keys_are_deleted [Write];
            }
            delete_prefix {
                all_objects_below_the_prefix_are_deleted_and_others_stay [Write, List];
                an_empty_prefix_deletes_everything [Write, List];
                folder_markers_below_the_prefix_are_deleted_and_others_stay [Write, List, FolderMarkers];
                an_unreadable_directory_is_reported_and_the_rest_is_deleted [Write, List, UnreadableDirectory];
            }
            list {
                an_empty_storage_has_an_empty_listing [Seed, List];
                all_keys_are_listed_in_byte_order [Seed, List];
                a_prefix_matches_literal_bytes [Seed, List];
                no_slash_is_added_to_a_prefix [Seed, List];
                dots_in_a_prefix_have_no_meaning [Seed, List];
                a_delimiter_lists_one_level [Seed, List];
                a_common_prefix_is_listed_once_and_in_order [Seed, List];
                entries_distinguish_objects_from_prefixes [Seed, List];
                any_text_can_be_a_delimiter [Seed, List];
                start_after_continues_after_a_name [Seed, List];
                start_after_applies_together_with_a_prefix [Seed, List];
                start_after_accepts_any_text [Seed, List];
                start_after_compares_common_prefixes [Seed, List];
                a_listing_that_is_resumed_after_each_entry_is_complete [Seed, List];
                entries_agree_with_stat [Seed, List];
                an_overwritten_object_is_listed_once [Write, List];
                a_prefix_disappears_with_its_last_object [Write, List];
                deeply_nested_keys_are_listed [Seed, List];
                a_listing_starts_at_the_first_poll [Seed, List];
                a_listing_of_2300_objects_is_complete_and_in_order [Seed, List];
                an_object_that_exists_throughout_is_listed_once [Seed, List];
                a_partly_read_listing_can_be_dropped [Seed, List];
                folder_markers_are_counted_and_are_neither_entries_nor_errors [List, FolderMarkers];
                folder_markers_are_listed_in_order_on_request [List, FolderMarkers];
                a_folder_marker_is_deleted_and_objects_below_it_stay [Write, List, FolderMarkers];
                an_unreadable_directory_is_one_error_and_the_listing_continues [List, UnreadableDirectory];
                a_listing_of_one_level_contains_an_unreadable_directory [List, UnreadableDirectory];
                a_listing_that_begins_inside_an_unreadable_directory_reports_it [List, UnreadableDirectory];
            }
            copy {
                the_copy_has_the_bytes_and_the_source_stays [Write, Copy];
                the_copy_has_the_metadata [Write, Copy, Metadata];
                stat_and_open_of_the_copy_return_the_same_metadata [Write, Copy];
                given_metadata_replaces_all_metadata_of_the_source [Write, Copy, Metadata];
                given_metadata_without_a_content_type_gets_the_type_of_the_destination [Write, Copy, Metadata];
                a_copy_replaces_the_destination_with_all_its_metadata [Write, Copy, Metadata];
                a_missing_source_is_not_found_and_changes_nothing [Write, Copy, Metadata];
                source_and_copy_are_independent [Write, Copy, Metadata];
                a_copy_onto_itself_changes_nothing [Write, Copy, Metadata];
                a_copy_onto_itself_with_new_metadata_changes_only_the_metadata [Write, Copy, Metadata];
                checksums_of_a_copy_match_its_bytes [Write, Copy, Metadata];
                create_new_copies_to_a_free_key [Write, Copy, CreateNew];
                create_new_refuses_a_taken_key_and_leaves_its_object [Write, Copy, CreateNew, Metadata];
                one_of_16_concurrent_copies_with_create_new_succeeds [Write, Copy, CreateNew];
                if_source_match_copies_the_matching_version [Write, Copy, StrongETags];
                if_source_match_refuses_another_version_and_changes_nothing [Write, Copy, StrongETags];
                if_source_match_and_create_new_are_both_evaluated [Write, Copy, CreateNew, StrongETags];
                a_weak_source_etag_never_matches [Write, Copy, StrongETags];
            }
            rename {
                the_moved_object_has_the_bytes_and_the_source_is_gone [Write, Rename];
                the_moved_object_has_the_metadata [Write, Rename, Metadata];
                a_rename_replaces_the_destination_with_all_its_metadata [Write, Rename, Metadata];
                checksums_of_a_moved_object_match_its_bytes [Write, Rename];
                a_missing_source_is_not_found_and_changes_nothing [Write, Rename, Metadata];
                a_rename_onto_itself_changes_nothing [Write, Rename, Metadata];
                create_new_renames_to_a_free_key [Write, Rename, CreateNew, Metadata];
                create_new_refuses_a_taken_key_and_both_objects_stay [Write, Rename, CreateNew, Metadata];
                if_source_match_renames_the_matching_version [Write, Rename, StrongETags];
                if_source_match_refuses_another_version_and_changes_nothing [Write, Rename, StrongETags];
                a_weak_source_etag_never_matches [Write, Rename, StrongETags];
                one_of_16_concurrent_renames_with_create_new_succeeds [Write, Rename, CreateNew];
                concurrent_renames_of_one_object_do_not_lose_it [Write, Rename];
            }
            multipart {
                an_object_that_is_uploaded_in_parts_is_read_back [Multipart];
                an_object_of_one_part_may_be_short_or_empty [Multipart];
                an_object_whose_last_part_is_whole_is_read_back [Multipart];
                parts_are_put_in_any_order [Multipart];
                parts_are_put_in_parallel [Multipart];
                a_part_that_is_put_again_replaces_the_earlier_one [Multipart];
                a_part_that_is_put_twice_with_the_same_bytes_is_stored_once [Multipart];
                a_shorter_part_replaces_a_longer_one_completely [Multipart];
                a_streamed_part_of_unknown_size_is_stored_completely [Multipart];
                a_part_with_another_checksum_is_refused_and_the_old_part_stays [Multipart];
                a_part_above_the_part_size_is_refused_and_the_old_part_stays [Multipart];
                a_part_number_out_of_range_is_refused [Multipart];
                nothing_is_visible_before_completion [Multipart];
                a_completed_object_has_the_metadata_of_the_beginning [Multipart, Metadata];
                the_content_type_of_an_upload_is_guessed_from_the_key [Multipart, Metadata];
                a_missing_part_is_found_and_the_upload_stays [Multipart];
                a_short_part_before_the_last_one_is_refused [Multipart];
                a_size_other_than_declared_is_refused [Multipart];
                a_checksum_other_than_declared_is_refused [MultipartChecksum, Metadata];
                a_checksum_that_cannot_be_composed_is_unsupported [Multipart];
                a_completion_that_is_repeated_succeeds [Multipart];
                a_completion_whose_object_was_replaced_is_not_found [Multipart];
                a_part_that_another_handle_replaced_is_found [Multipart];
                an_upload_that_another_handle_completed_with_another_size_is_found [Multipart];
                a_part_beyond_the_named_ones_is_discarded [Multipart];
                a_part_that_another_process_sent_late_is_refused [Multipart];
                a_handle_that_continued_an_upload_uses_the_parts_that_were_there [Multipart];
                parts_of_other_processes_are_used_if_the_size_is_declared [Multipart];
                an_upload_outlives_its_handle [Multipart];
                listed_parts_are_those_that_were_acknowledged [Multipart];
                an_id_of_another_key_is_not_found [Multipart];
                an_unknown_id_is_not_found [Multipart];
                an_aborted_upload_is_gone [Multipart];
                an_abort_after_completion_leaves_the_object [Multipart];
                two_uploads_of_one_key_are_independent [Multipart];
                unfinished_uploads_are_listed_by_prefix [MultipartList];
                a_listed_upload_can_be_aborted [MultipartList];
                stale_uploads_are_swept_and_others_stay [MultipartList];
                the_limits_are_those_of_the_driver [MultipartLimits];
                a_completed_upload_replaces_the_whole_object [Multipart, Metadata];
                create_new_completes_under_a_free_key [MultipartCreateNew];
                create_new_refuses_an_object_that_appeared_meanwhile [MultipartCreateNew, Metadata];
                if_match_replaces_the_matching_version [MultipartIfMatch, StrongETags];
                if_match_refuses_another_version_and_a_missing_object [MultipartIfMatch, StrongETags];
                unique_name_is_refused_at_the_beginning [Multipart];
                one_of_16_concurrent_completions_with_create_new_succeeds [MultipartCreateNew];
                of_16_concurrent_completions_of_one_upload_all_succeed [Multipart];
                of_concurrent_puts_of_one_part_one_stays_whole [Multipart];
                an_abort_during_puts_leaves_nothing [Multipart];
                a_put_dropped_at_any_point_leaves_a_whole_part [Multipart];
                a_completion_dropped_at_any_point_can_be_repeated [MultipartCreateNew];
            }
            url {
                each_kind_of_link_is_returned_or_unsupported [];
                a_public_link_does_not_expire_and_contains_the_key [PublicUrl];
                public_links_encode_unusual_keys [PublicUrl];
                signed_links_encode_unusual_keys [SignedGet];
                a_link_to_a_missing_object_is_returned [PublicUrl];
                a_signed_link_states_when_it_expires [SignedGet];
                a_signed_link_is_never_a_public_link [SignedGet];
                an_expiry_is_never_ignored [];
                signed_links_with_different_options_differ [SignedGet];
                an_upload_link_is_bound_to_its_options [SignedPut];
                a_form_is_bound_to_its_options [SignedPost];
                debug_output_hides_the_fields_of_a_form [SignedPost];
                a_stable_link_stays_the_same [SignedGet];
                a_stable_link_is_valid_as_long_as_requested [SignedGet];
                stable_links_with_different_options_differ [SignedGet];
                debug_output_hides_the_signature [SignedGet];
                the_link_verifier_accepts_the_links_of_the_storage_alone [];
            }
            metadata {
                every_field_is_kept [Seed, Metadata];
                an_empty_object_keeps_its_metadata [Seed, Metadata];
                a_large_object_keeps_its_metadata [Seed, Metadata];
                an_overwrite_replaces_all_metadata [Seed, Metadata];
                metadata_of_a_deleted_object_does_not_reappear [Write, Metadata];
                objects_do_not_share_metadata [Seed, Metadata];
                values_of_user_metadata_are_any_text [Seed, Metadata];
                names_of_user_metadata_are_any_token [Seed, Metadata];
                the_maximum_of_user_metadata_is_kept [Seed, Metadata];
                the_largest_metadata_is_kept_or_refused [Write, Metadata];
                expires_is_kept_in_whole_seconds [Seed, Metadata];
                the_content_type_is_guessed_from_the_key [Seed, Metadata];
                the_content_type_is_detected_from_the_first_bytes [Seed, Metadata];
                a_given_content_type_is_kept_unchanged [Seed, Metadata];
                invalid_metadata_is_refused_and_nothing_is_stored [Write];
                metadata_is_kept_or_refused_and_never_dropped [Write];
                a_strong_etag_differs_between_versions [Seed, StrongETags];
                the_etag_of_an_unchanged_object_stays_the_same [Seed, ETags];
                last_modified_never_decreases [Seed];
            }
            checksums {
                bytes_with_the_expected_checksum_are_saved [Write];
                bytes_with_another_checksum_are_refused_and_change_nothing [Write];
                an_empty_object_is_verified [Write];
                one_wrong_checksum_among_right_ones_is_refused [Write];
                verified_and_computed_checksums_are_kept [Seed, Metadata];
                an_overwrite_removes_the_checksums_of_the_old_bytes [Seed];
            }
            keys {
                spaces_are_kept [Seed];
                characters_with_a_meaning_in_urls_are_kept [Seed];
                characters_with_a_meaning_in_shells_and_globs_are_kept [Seed];
                backslashes_are_not_separators [Seed];
                dots_are_kept [Seed];
                upper_and_lower_case_differ [Seed];
                unicode_is_not_normalised [Seed];
                all_scripts_and_emoji_are_kept [Seed];
                names_that_resemble_internal_files_are_kept_or_refused [Seed];
                names_that_windows_reserves_are_kept_or_refused [Seed];
                keys_of_1024_bytes_are_kept_or_refused [Seed];
                segments_of_255_bytes_are_kept_or_refused [Seed];
                an_unusual_key_is_copied_and_deleted_unchanged [Write];
                a_key_and_a_key_below_it_are_both_kept_or_refused [Write];
            }
            concurrency {
                readers_during_1000_overwrites_see_complete_versions [Seed];
                readers_during_overwrites_never_see_an_older_version_again [Seed];
                a_range_with_if_match_is_of_that_version [Seed, StrongETags];
                a_listing_during_overwrites_contains_the_object_once [Seed, List];
                copies_during_overwrites_are_complete [Write, Copy];
                renames_during_reads_are_complete [Write, Rename];
                a_copy_with_if_source_match_during_overwrites_is_of_that_version [Write, Copy, StrongETags];
                metadata_that_changes_during_reads_is_consistent [Write, Copy, Metadata];
                all_objects_that_are_saved_concurrently_exist [Write];
                the_last_of_many_concurrent_saves_is_complete [Write];
                a_body_that_is_being_read_stays_the_old_version_after_an_overwrite [Seed];
                a_body_that_is_being_read_stays_the_old_version_after_a_delete [Seed];
                a_body_that_is_read_after_an_overwrite_is_of_one_version [Seed];
                saves_and_deletes_in_one_directory_do_not_disturb_each_other [Write];
                concurrent_deletes_of_one_object_all_succeed [Write];
                an_object_that_is_replaced_and_deleted_repeatedly_is_complete_or_missing [Write];
            }
            cancellation {
                a_dropped_save_leaves_the_old_object [Write];
                a_dropped_save_creates_no_object [Write];
                a_dropped_create_new_leaves_the_key_free [Write, CreateNew];
                a_stalled_save_is_invisible [Write];
                a_save_dropped_at_any_point_takes_effect_completely_or_not_at_all [Write];
                a_delete_dropped_at_any_point_leaves_a_complete_object_or_none [Write];
                a_delete_many_dropped_at_any_point_leaves_complete_objects_or_none [Write];
                a_copy_dropped_at_any_point_takes_effect_completely_or_not_at_all [Write, Copy, Metadata];
                a_rename_dropped_at_any_point_loses_no_object [Write, Rename];
                reading_verbs_can_be_dropped_at_any_point [Seed];
                stalled_saves_do_not_block_others [Write];
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
                exists_fails_on_a_broken_backend [BrokenBackend];
                stat_and_open_do_not_report_not_found_on_a_broken_backend [BrokenBackend];
                delete_fails_on_a_broken_backend [BrokenBackend, Write];
                delete_many_fails_on_a_broken_backend [BrokenBackend, Write];
                list_fails_on_a_broken_backend [BrokenBackend, List];
                errors_and_debug_output_contain_no_secret [];
            }
            capabilities {
                a_verb_without_its_capability_is_refused_and_changes_nothing [Seed];
                the_driver_has_a_name_and_a_location [];
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __case_table {
    ([] $($theme:ident { $($case:ident [$($requirement:ident),*];)* })*) => {
        &[$($(Case {
            name: concat!(stringify!($theme), "::", stringify!($case)),
            requirements: &[$(Requirement::$requirement),*],
            body: |kit| $theme::$case(kit).boxed(),
        },)*)*]
    };
}

static CASES: &[Case] = crate::__all_cases!(__case_table);

/// Returns all cases of the suite, ordered by theme.
#[must_use]
pub fn cases() -> &'static [Case] {
    CASES
}
