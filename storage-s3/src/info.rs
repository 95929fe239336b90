//! `info`: returns name, location and capabilities.

use storage_core::{Capabilities, DriverInfo};

use crate::shared::Shared;

pub(crate) fn info(s3: &Shared) -> DriverInfo {
    let mut capabilities = Capabilities::full();
    capabilities.create_new = s3.features.conditional_put;
    capabilities.save_if_match = s3.features.conditional_put;
    capabilities.public_url = s3.public_url.is_some();
    capabilities.signed_get = s3.can_sign;
    capabilities.signed_put = s3.can_sign;
    capabilities.signed_post = s3.can_sign && s3.features.forms && s3.tags.is_none();
    DriverInfo::new("s3", s3.client.bucket().location(), capabilities)
}
