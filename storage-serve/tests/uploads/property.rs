//! Uploads that are cut at random.

use http::StatusCode;
use proptest::prelude::*;
use storage_core::Memory;

use crate::client::{begin, offset, patch, patch_broken, rests, service, stored};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_upload_has_the_same_bytes_however_it_is_cut(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        cuts in proptest::collection::vec((0_usize..40, any::<bool>()), 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let storage = Memory::storage();
            let uploads = [service(&storage), service(&storage)];
            let url = begin(&uploads[0], bytes.len()).await;
            let mut at = 0;
            for (index, (size, breaks)) in cuts.into_iter().enumerate() {
                let end = (at + size).min(bytes.len());
                let server = &uploads[index % 2];
                if breaks {
                    patch_broken(server, &url, at, &bytes[at..end]).await;
                } else {
                    patch(server, &url, at, &bytes[at..end]).await;
                }
                at = offset(server, &url).await;
                assert_eq!(at, end);
                assert!(rests(&storage).await.len() <= 17);
            }
            let reply = patch(&uploads[0], &url, at, &bytes[at..]).await;
            assert_eq!(reply.status, StatusCode::NO_CONTENT);
            assert_eq!(stored(&storage).await, bytes);
        });
    }
}
