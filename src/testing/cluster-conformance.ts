/**
 * What every adapter of the cluster must do, as tests. Run it on an adapter of your own:
 *
 *     clusterConformance("my cluster", { test, open: async () => ({ cluster: createMine(), load, kill }) });
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { PodChange } from "../cluster/port.ts";
import type { ClusterBench, ClusterCases } from "./cluster-fixtures.ts";
import { invoke, RecordingListener, readyPod } from "./cluster-fixtures.ts";

export interface ClusterSubject {
  /** Registers a test: `test` of Vitest, of `node:test` or of anything like them. */
  test: (name: string, body: () => Promise<void>) => unknown;
  /** A cluster of its own, not started. The suite stops it. */
  open(): Promise<ClusterBench>;
}

/** Registers the suite's tests under `name`. */
export const clusterConformance = (name: string, { test, open }: ClusterSubject): void => {
  for (const [sentence, body] of Object.entries(cases)) {
    test(`${name}: ${sentence}`, async () => {
      const bench = await open();
      const listener = new RecordingListener();
      await bench.cluster.start(listener);
      try {
        await body(bench, listener);
      } finally {
        await bench.cluster.stop();
      }
      listener.verify();
      deepEqual(bench.cluster.list(), []);
    });
  }
};

/** A cluster may tell of more than the port knows, as an API server does: then a change looks like the one before. */
const isNews = (change: string, i: number, changes: readonly string[]): boolean =>
  change !== changes[i - 1] && !(change.startsWith("modified ") && changes[i - 1] === change.replace("modified", "added"));

const cases: ClusterCases = {
  "a pod that is created is listed, and connects once": async ({ cluster }, listener) => {
    equal(cluster.get("a"), undefined);
    cluster.create({ id: "a", memoryMb: 64 });
    equal(cluster.get("a")?.state, "starting");
    const { pid } = await listener.until("connected", "a");
    const { startedAt, resourceVersion, ...status } = cluster.get("a") ?? { startedAt: Number.NaN, resourceVersion: Number.NaN };
    deepEqual(status, { id: "a", pid, state: "connected", labels: {} });
    ok(startedAt > 0);
    ok(resourceVersion > 0);
    deepEqual(cluster.list(), [{ startedAt, resourceVersion, ...status }]);
  },

  "pods are listed by labels, with which they are created or that they get later": async (bench, listener) => {
    const { cluster } = bench;
    cluster.create({ id: "a", memoryMb: 64, labels: { role: "pay", version: "1" } });
    await readyPod(bench, listener, "b");
    const ids = (labels?: Record<string, string>): string[] => cluster.list(labels).map(({ id }) => id);
    deepEqual(ids({ role: "pay" }), ["a"]);
    const before = cluster.get("b")?.resourceVersion ?? Number.NaN;
    cluster.label("b", { role: "pay", version: "2" });
    ok((cluster.get("b")?.resourceVersion ?? 0) > before);
    deepEqual(ids({ role: "pay" }).sort(), ["a", "b"]);
    deepEqual(ids({ role: "pay", version: "2" }), ["b"]);
    deepEqual(cluster.get("b")?.labels, { role: "pay", version: "2" });
    cluster.label("b", { role: "ship" });
    deepEqual(ids({ role: "pay" }), ["a"]);
    deepEqual(ids({ role: "nobody" }), []);
    cluster.label("nobody", { role: "pay" });
  },

  "who watches is told of each change once, in the order of growing resource versions, until it ends": async (bench, listener) => {
    const { cluster } = bench;
    const told: PodChange[] = [];
    const ended: PodChange[] = [];
    cluster.watch((change) => ended.push(change))();
    const end = cluster.watch((change) => told.push(change));
    await readyPod(bench, listener, "a");
    cluster.label("a", { role: "pay" });
    cluster.delete("a", 0);
    await listener.until("gone", "a");
    const seen = told.map(({ type, pod }) => [type, pod.id, pod.state, pod.labels.role].join(" ")).filter(isNews);
    deepEqual(seen, ["added a starting ", "modified a connected ", "modified a connected pay", "deleted a connected pay"]);
    const versions = told.map(({ pod }) => pod.resourceVersion);
    ok(versions.every((version, i) => i === 0 || version > (versions[i - 1] as number)));
    end();
    cluster.create({ id: "b", memoryMb: 64 });
    deepEqual([told.length, ended], [versions.length, []]);
  },

  "each pod has the environment that it was created with, where pods are processes": async (bench, listener) => {
    if (bench.sharesProcess === true) return;
    const environments = { a: { REGION: "north", EMPTY: "" }, b: { REGION: "south = süd" }, c: undefined };
    for (const [id, environment] of Object.entries(environments)) {
      bench.cluster.create({ id, memoryMb: 64, ...(environment === undefined ? {} : { environment }) });
      bench.cluster.send(id, bench.load);
    }
    const read = async (id: string, name: string): Promise<string> => {
      const call = invoke("variable", JSON.stringify(name));
      bench.cluster.send(id, call);
      return (await listener.result(id, call.lease)).value;
    };
    equal(await read("a", "REGION"), '"north"');
    equal(await read("a", "EMPTY"), '""');
    equal(await read("b", "REGION"), '"south = süd"');
    equal(await read("c", "REGION"), "null");
  },

  "a pod executes as many calls at the same time as it is sent": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    const calls = Array.from({ length: 20 }, () => invoke("wait"));
    for (const call of calls) bench.cluster.send("a", call);
    const last = invoke("echo", "1");
    bench.cluster.send("a", last);
    await listener.result("a", last.lease);
    for (const { lease } of calls) bench.cluster.send("a", { t: "abort", lease, reason: "enough" });
    for (const { lease } of calls) equal((await listener.result("a", lease)).value, '"aborted"');
  },

  "what is sent before a pod has connected reaches it, in order": async ({ cluster, load }, listener) => {
    cluster.create({ id: "a", memoryMb: 64 });
    const calls = [invoke("echo", "1"), invoke("echo", "2")];
    for (const message of [load, ...calls]) cluster.send("a", message);
    await listener.result("a", (calls[1] as { lease: number }).lease);
    const messages = listener.heard.flatMap((heard) => (heard.t === "message" ? [heard.message] : []));
    deepEqual(
      messages.map((message) => (message.t === "result" ? message.value : message.t)),
      ["loaded", "1", "2"],
    );
  },

  "messages arrive in order, none lost, none twice, over many turns": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    const calls = Array.from({ length: 500 }, (_, i) => invoke("echo", `${i}`));
    for (const [i, call] of calls.entries()) {
      bench.cluster.send("a", call);
      if (i % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await listener.result("a", calls.at(-1)?.lease ?? 0);
    const leases = listener.heard.flatMap((heard) => (heard.t === "message" && heard.message.t === "result" ? [heard.message.lease] : []));
    deepEqual(
      leases,
      calls.map(({ lease }) => lease),
    );
  },

  "pods are apart: each executes what it was sent": async (bench, listener) => {
    await Promise.all(["a", "b", "c"].map((id) => readyPod(bench, listener, id)));
    const calls = ["a", "b", "c"].map((id) => ({ id, call: invoke("echo", JSON.stringify(id)) }));
    for (const { id, call } of calls) bench.cluster.send(id, call);
    for (const { id, call } of calls) equal((await listener.result(id, call.lease)).value, JSON.stringify(id));
    deepEqual(
      bench.cluster
        .list()
        .map(({ id }) => id)
        .sort(),
      ["a", "b", "c"],
    );
  },

  "an abort reaches the call that executes": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    const call = invoke("wait");
    bench.cluster.send("a", call);
    bench.cluster.send("a", { t: "abort", lease: call.lease, reason: "enough" });
    equal((await listener.result("a", call.lease)).value, '"aborted"');
  },

  "a pod beats while it lives": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    const { beat } = await listener.until("beat", "a");
    equal(beat.t, "beat");
  },

  "a pod that is deleted is gone once, with the reason given": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    bench.cluster.delete("a", 0, "hung");
    bench.cluster.delete("a", 0);
    equal((await listener.until("gone", "a")).exit.reason, "hung");
    equal(bench.cluster.get("a"), undefined);
  },

  "a deletion without a reason is told as such": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    bench.cluster.delete("a", 0);
    equal((await listener.until("gone", "a")).exit.reason, "deleted");
  },

  "a pod that is deleted with a grace finishes what it has": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    bench.cluster.delete("a", 300);
    const call = invoke("echo", "1");
    bench.cluster.send("a", call);
    equal((await listener.result("a", call.lease)).value, "1");
    equal(listener.count("gone", "a"), 0);
    equal((await listener.until("gone", "a")).exit.reason, "deleted");
  },

  "a pod that is killed within its grace is gone as one that was killed": async (bench, listener) => {
    const status = await readyPod(bench, listener, "a");
    bench.cluster.send("a", invoke("wait"));
    bench.cluster.delete("a", 60_000);
    bench.kill(status);
    const { exit } = await listener.until("gone", "a");
    ok(exit.reason === "exited" || exit.reason === "disconnected", exit.reason);
  },

  "a pod that hangs within its grace can be ended for that": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    bench.cluster.delete("a", 60_000);
    bench.cluster.delete("a", 0, "hung");
    equal((await listener.until("gone", "a")).exit.reason, "hung");
  },

  "a pod that is deleted before it has connected is gone and never connects": async ({ cluster }, listener) => {
    cluster.create({ id: "a", memoryMb: 64 });
    cluster.delete("a", 0);
    await listener.until("gone", "a");
    equal(listener.count("connected", "a"), 0);
  },

  "a pod that is killed from outside is gone once, and not by deletion": async (bench, listener) => {
    const status = await readyPod(bench, listener, "a");
    bench.cluster.send("a", invoke("wait"));
    bench.kill(status);
    const { exit } = await listener.until("gone", "a");
    ok(exit.reason === "exited" || exit.reason === "disconnected", exit.reason);
    equal(exit.memory, false);
    equal(bench.cluster.get("a"), undefined);
  },

  "a pod that is told to exit is gone": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    bench.cluster.send("a", { t: "exit" });
    await listener.until("gone", "a");
  },

  "the end of one pod leaves the others alone": async (bench, listener) => {
    const [doomed] = await Promise.all(["a", "b"].map((id) => readyPod(bench, listener, id)));
    bench.kill(doomed as NonNullable<typeof doomed>);
    await listener.until("gone", "a");
    const call = invoke("echo", "2");
    bench.cluster.send("b", call);
    equal((await listener.result("b", call.lease)).value, "2");
  },

  "messages to a pod that is gone or was never there are dropped": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    bench.cluster.delete("a", 0);
    await listener.until("gone", "a");
    bench.cluster.send("a", invoke("echo"));
    bench.cluster.send("nobody", invoke("echo"));
    bench.cluster.delete("nobody", 0);
    equal(bench.cluster.get("nobody"), undefined);
  },

  "the next life of an owner ends the pods that the one before has left, and nobody else's": async (bench, listener) => {
    if (bench.another === undefined) return;
    await readyPod(bench, listener, "a");
    const lives = [await bench.another("other"), await bench.another("same")];
    const [others, mine] = lives as [ClusterBench["cluster"], ClusterBench["cluster"]];
    const [theirs, next] = [new RecordingListener(), new RecordingListener()];
    try {
      await others.start(theirs);
      const { resourceVersion } = await readyPod({ ...bench, cluster: others }, theirs, "b");
      await mine.start(next);
      await listener.until("gone", "a");
      deepEqual(mine.list(), []);
      const call = invoke("echo", "1");
      others.send("b", call);
      equal((await theirs.result("b", call.lease)).value, "1");
      equal(others.get("b")?.resourceVersion, resourceVersion);
      // The same name is free again.
      await readyPod({ ...bench, cluster: mine }, next, "a");
    } finally {
      for (const life of lives) await life.stop();
    }
    for (const each of [theirs, next]) each.verify();
  },

  "stopping ends every pod, whatever its stage, and tells of each": async (bench, listener) => {
    await readyPod(bench, listener, "a");
    bench.cluster.send("a", invoke("wait"));
    bench.cluster.create({ id: "b", memoryMb: 64 });
    await bench.cluster.stop();
    deepEqual(bench.cluster.list(), []);
    equal((await listener.until("gone", "a")).exit.reason, "deleted");
    await listener.until("gone", "b");
  },
};
