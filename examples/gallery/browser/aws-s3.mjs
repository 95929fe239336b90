// What the browser tests load of `@uppy/aws-s3` 6.3, which the bundle of uppy 6.0 does not contain.

export { default as AwsS3 } from "@uppy/aws-s3";
export { default as Uppy } from "@uppy/core";
