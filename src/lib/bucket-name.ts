/** What a bucket can be called: S3's rules, so that an application may move there with the names that it has. */

const BUCKET = /^(?=.{3,63}$)[a-z0-9][a-z0-9-]*(?:\.[a-z0-9-]+)*(?<=[a-z0-9])$/;
const ADDRESS = /^\d+\.\d+\.\d+\.\d+$/;
const RESERVED = /^(?:xn--|sthree-|amzn-s3-demo-)|(?:-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$/;

export const isBucketName = (name: unknown): name is string =>
  typeof name === "string" && BUCKET.test(name) && !/-\.|\.-/.test(name) && !ADDRESS.test(name) && !RESERVED.test(name);
