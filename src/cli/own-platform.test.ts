import { expect, test } from "vitest";
import { objectsOf } from "./own-platform.ts";

test("objects are kept in files unless the environment says S3", () => {
  expect(objectsOf({})).toEqual({});
  expect(objectsOf({ LOCKSTEP_OBJECTS: "files", LOCKSTEP_S3_REGION: "x" })).toEqual({});
  expect(objectsOf({ LOCKSTEP_OBJECTS: "s3" })).toEqual({ objects: { s3: {} } });
  const env = {
    LOCKSTEP_OBJECTS: "s3",
    LOCKSTEP_S3_ENDPOINT: "http://127.0.0.1:9000",
    LOCKSTEP_S3_REGION: "eu-central-1",
    LOCKSTEP_S3_BUCKET_PREFIX: "acme-",
    LOCKSTEP_S3_FORCE_PATH_STYLE: "false",
  };
  expect(objectsOf(env)).toEqual({
    objects: { s3: { endpoint: "http://127.0.0.1:9000", region: "eu-central-1", bucketPrefix: "acme-", forcePathStyle: false } },
  });
});

test.each([{ LOCKSTEP_OBJECTS: "minio" }, { LOCKSTEP_OBJECTS: "s3", LOCKSTEP_S3_FORCE_PATH_STYLE: "yes" }])("%j is wrong usage", (env) => {
  expect(() => objectsOf(env)).toThrow(/is neither/);
});
