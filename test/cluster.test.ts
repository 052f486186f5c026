/** The cluster of local processes keeps the port's promises, with the pod's program from the build. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, test } from "vitest";
import { LocalCluster } from "../src/cluster/local.ts";
import { systemClock } from "../src/lib/clock.ts";
import { clusterConformance } from "../src/testing/cluster-conformance.ts";
import { CLUSTER_BUNDLE } from "../src/testing/cluster-fixtures.ts";

const directory = mkdtempSync(join(tmpdir(), "lockstep-cluster-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const path = join(directory, "bundle.cjs");
writeFileSync(path, CLUSTER_BUNDLE);

clusterConformance("local processes", {
  test,
  open: async () => ({
    cluster: new LocalCluster(
      {
        program: fileURLToPath(new URL("../dist/pod/main.js", import.meta.url)),
        heartbeatMs: 50,
        maxPayloadBytes: 1_000_000,
        maxLogBytes: 10_000,
        startTimeoutMs: 20_000,
      },
      systemClock,
    ),
    load: { t: "load", version: "v", path },
    kill: ({ pid }) => process.kill(pid, "SIGKILL"),
  }),
});
