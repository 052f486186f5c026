/** The cluster of local processes keeps the port's promises, with the pod's program from the build. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { LocalCluster } from "../src/cluster/local.ts";
import { systemClock } from "../src/lib/clock.ts";
import { clusterConformance } from "../src/testing/cluster-conformance.ts";
import { CLUSTER_BUNDLE, RecordingListener } from "../src/testing/cluster-fixtures.ts";

const directory = mkdtempSync(join(tmpdir(), "lockstep-cluster-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const path = join(directory, "bundle.cjs");
writeFileSync(path, CLUSTER_BUNDLE);

const create = (records: string, heartbeatMs = 50): LocalCluster =>
  new LocalCluster(
    {
      program: fileURLToPath(new URL("../dist/pod/main.js", import.meta.url)),
      heartbeatMs,
      maxPayloadBytes: 1_000_000,
      maxLogBytes: 10_000,
      startTimeoutMs: 20_000,
      records,
    },
    systemClock,
  );

clusterConformance("local processes", {
  test,
  open: async () => {
    const owner = mkdtempSync(join(directory, "owner-"));
    return {
      cluster: create(owner),
      load: { t: "load", version: "v", path },
      kill: ({ pid }) => process.kill(pid, "SIGKILL"),
      another: async (whose) => create(whose === "same" ? owner : mkdtempSync(join(directory, "owner-"))),
    };
  },
});

test("a pod that takes longer to connect than from one beat to the next is let in", async () => {
  const cluster = create(mkdtempSync(join(directory, "owner-")), 1);
  const listener = new RecordingListener();
  await cluster.start(listener);
  try {
    for (const id of ["a", "b", "c"]) cluster.create({ id, memoryMb: 64 });
    const told = (id: string) => Promise.race([listener.until("connected", id), listener.until("gone", id)]);
    for (const id of ["a", "b", "c"]) expect((await told(id)).t).toBe("connected");
  } finally {
    await cluster.stop();
  }
});
