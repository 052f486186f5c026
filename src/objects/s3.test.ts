import { afterAll, beforeAll, test } from "vitest";
import { openInS3, type S3Store } from "../../test/support/s3-objects.ts";
import { S3Server } from "../../test/support/s3-server.ts";
import { objectStoreConformance } from "../testing/object-store-conformance.ts";

let server: S3Server;
let stores = 0;
beforeAll(async () => {
  server = await S3Server.start();
});
afterAll(() => server.stop());

for (const versioned of [false, true]) {
  objectStoreConformance(`S3${versioned ? " with versions" : ""}`, {
    test,
    open: async () => {
      server.versioned = versioned;
      return openInS3(server, { bucketPrefix: `test-${++stores}-` });
    },
    crash: (old) => (old as S3Store).crash(),
    close: (store) => (store as S3Store).close(),
  });
}
