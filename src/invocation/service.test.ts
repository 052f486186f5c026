import { describe, expect, test } from "vitest";
import { Registry } from "../application/registry.ts";
import { LockstepError } from "../lib/errors.ts";
import type { FunctionSpec } from "../protocol/application.ts";
import type { ObjectWrite } from "../protocol/objects.ts";
import type { Request, ToPod } from "../protocol/pod.ts";
import type { CallMetrics } from "../protocol/run.ts";
import type { Staleness, StateEntry, StateWrite } from "../protocol/state.ts";
import type { Entry } from "../queue/machine.ts";
import type { Outcome } from "../scheduler/service.ts";
import type { Owner, Transaction } from "../state/service.ts";
import { Invocations } from "./service.ts";

type Reply = ToPod & { t: "reply" | "got" };

const METRICS: CallMetrics = { durationMs: 1, cpuMs: 1, queueMs: 1, memoryMb: 50, coldStart: false, pod: "pod-1" };
const SUCCESS: Outcome = { value: "1", lines: [], metrics: METRICS };
const FAILURE: Outcome = { failure: { code: "FUNCTION_FAILED", message: "no" }, lines: [], metrics: METRICS };
const STALE: Staleness = { run: "run_2", call: 1, function: "pay", fault: "execution", message: "no", at: 1 };
const LOST: Outcome = { failure: { code: "POD_LOST", message: "gone" }, lines: [] };

const settled = async (): Promise<void> => {
  for (let i = 0; i < 3; i++) await Promise.resolve();
};

const setUp = (spec: Partial<FunctionSpec> = {}) => {
  const registry = new Registry();
  const version = (application: string, name: string, manifest: object) =>
    registry.add({ application, version: name, manifest: { functions: [], coordinators: [], ...manifest }, deployedAt: 0, current: true });
  version("shop", "v1", { functions: [{ name: "pay", ...spec }], buckets: ["orders"] });
  version("store", "v2", { buckets: ["archive"] });

  const done: string[] = [];
  const committed: (readonly StateWrite[])[] = [];
  const faults: { owner: Owner; keys: readonly string[]; stale: Staleness }[] = [];
  const control = {
    isKnown: false,
    isStale: false,
    conflicts: false,
    holds: true,
    commitThrows: undefined as Error | undefined,
    conflictsSoFar: 0,
    begun: [] as number[],
    hasFaulted: false,
  };
  const transactions: Transaction[] = [];
  const entryOf = (tx: Transaction, key: string): StateEntry => {
    tx.reads.push(key);
    return { key, value: "7", version: 3, ...(control.isStale ? { stale: STALE } : {}) };
  };
  const state = {
    begin: (owner: Owner, conflicts = 0) => {
      control.begun.push(conflicts);
      const tx = { owner, reads: [] as string[], conflicted: false } as unknown as Transaction;
      transactions.push(tx);
      return tx;
    },
    known: (tx: Transaction, key: string) => (control.isKnown ? entryOf(tx, key) : undefined),
    entry: async (tx: Transaction, { key }: { key: string }) => entryOf(tx, key),
    read: async () => "[]",
    commit: (_tx: Transaction, writes: readonly StateWrite[]) => {
      if (control.commitThrows !== undefined) throw control.commitThrows;
      if (control.conflicts) return false;
      committed.push(writes);
      return true;
    },
    fault: (owner: Owner, keys: readonly string[], stale: Staleness) => void faults.push({ owner, keys, stale }),
    abandon: () => void done.push("abandoned"),
    hasFaulted: () => control.hasFaulted,
  };
  const objects = {
    session: (run: string) => ({ run }) as never,
    serve: async () => ({ value: "1", data: new Uint8Array([1]) }),
    holds: () => control.holds,
    publish: (_session: never, writes: readonly ObjectWrite[]) => void done.push(`published ${writes.length}`),
    close: () => void done.push("closed"),
  };
  const told: unknown[] = [];
  const invocations = new Invocations({
    state: state as never,
    objects,
    registry,
    clock: { now: () => 1_000 },
    conflicts: () => control.conflictsSoFar,
    progress: (entry, value) => void told.push([entry.seq, value]),
    verdict: (_entry, { failure }) => ({
      class: failure.code === "ACCESS_DENIED" ? "permission" : "timeout",
      retryable: false,
      evidence: [],
    }),
  });
  const entry = { run: "run_1", seq: 3, attempt: 1, fn: "pay", version: "v1", input: '{"id":17}' } as Entry;
  const replies: Reply[] = [];
  let ids = 0;
  const ask = async (request: Request): Promise<Reply | undefined> => {
    invocations.request(entry, { t: "request", lease: 5, id: ++ids, ask: request }, (reply) => replies.push(reply as Reply));
    await settled();
    return replies.at(-1);
  };
  return { invocations, entry, ask, replies, committed, faults, done, control, transactions, told };
};

const failureIn = (reply: Reply | undefined): { code: string; message: string } | undefined =>
  reply?.t === "reply" && reply.failure !== "" ? JSON.parse(reply.failure) : undefined;

describe("an attempt", () => {
  test("that asked for nothing and changed nothing costs nothing", () => {
    const { invocations, entry, transactions } = setUp();
    expect(invocations.settle(entry, SUCCESS)).toEqual({ t: "committed" });
    expect(invocations.settle(entry, FAILURE)).toMatchObject({ t: "failed" });
    expect([transactions, invocations.size]).toEqual([[], 0]);
  });

  test("has one transaction for all that it asks, and its result depends on what it has read", async () => {
    const { invocations, entry, ask, transactions, committed, replies } = setUp();
    await ask({ op: "get", key: "orders/1" });
    await ask({ op: "get", key: "orders/2" });
    expect(replies).toHaveLength(2);
    const writes = [{ key: "orders/1", value: "2" }];
    expect(invocations.settle(entry, { ...SUCCESS, writes })).toEqual({ t: "committed", reads: ["orders/1", "orders/2"] });
    expect(committed).toEqual([writes]);
    expect(transactions.map(({ owner }) => owner)).toEqual([{ space: "shop", run: "run_1", seq: 3, function: "pay" }]);
    expect(invocations.size).toBe(0);
  });

  test("is given a fresh value as it is, at once when it is known, and all of a stale one", async () => {
    const { ask, control, invocations, entry, replies } = setUp();
    const got = { t: "got", lease: 5, value: "7", version: 3 };
    expect(await ask({ op: "get", key: "orders/1" })).toEqual({ ...got, id: 1 });
    control.isStale = true;
    const whole = JSON.stringify({ key: "orders/1", value: "7", version: 3, stale: STALE });
    expect(await ask({ op: "get", key: "orders/1", stale: "allow" })).toEqual({ t: "reply", lease: 5, id: 2, value: whole, failure: "" });
    Object.assign(control, { isKnown: true, isStale: false });
    void ask({ op: "get", key: "orders/1" });
    expect(replies.at(-1)).toEqual({ ...got, id: 3 });
    expect(invocations.settle(entry, SUCCESS)).toEqual({ t: "committed", reads: ["orders/1", "orders/1", "orders/1"] });
  });

  test("may write what it has never read", () => {
    const { invocations, entry, committed } = setUp();
    expect(invocations.settle(entry, { ...SUCCESS, writes: [{ key: "orders/1", value: "2" }] })).toEqual({ t: "committed" });
    expect(committed).toHaveLength(1);
  });

  test("that changes nothing clears what an attempt before it has left stale", () => {
    const { invocations, entry, committed, control } = setUp();
    control.hasFaulted = true;
    expect(invocations.settle(entry, SUCCESS)).toEqual({ t: "committed" });
    expect(committed).toEqual([[]]);
  });

  test("gets chunks of objects with its replies", async () => {
    const { ask } = setUp();
    expect(await ask({ op: "object-read", handle: 1 })).toMatchObject({ value: "1", data: new Uint8Array([1]) });
  });

  test("that asks for too much at a time is refused what goes beyond", () => {
    const { invocations, entry, replies } = setUp();
    for (let id = 1; id <= 1_001; id++) {
      invocations.request(entry, { t: "request", lease: 5, id, ask: { op: "get", key: "a/1" } }, (reply) => replies.push(reply as Reply));
    }
    expect(replies).toHaveLength(1);
    expect(failureIn(replies[0])).toMatchObject({ code: "OVERLOADED" });
  });

  test("tells its progress to whom it concerns", () => {
    const { invocations, entry, told } = setUp();
    invocations.progress(entry, "5");
    expect(told).toEqual([[3, "5"]]);
  });

  test("leaves neither transaction nor session behind, however it ends", async () => {
    const endings: ((set: ReturnType<typeof setUp>) => unknown)[] = [
      ({ invocations, entry }) => invocations.settle(entry, SUCCESS),
      ({ invocations, entry }) => invocations.settle(entry, FAILURE),
      ({ invocations, entry }) => invocations.settle(entry, LOST),
      ({ invocations, entry }) => invocations.withdrawn(entry),
      ({ invocations, entry }) => invocations.abandon(entry),
      ({ invocations, entry, control }) => {
        control.conflicts = true;
        return invocations.settle(entry, { ...SUCCESS, writes: [{ key: "a/1", value: "1" }] });
      },
      ({ invocations, entry, control }) => {
        control.commitThrows = new LockstepError("STATE_KEY_INVALID", "no key");
        return invocations.settle(entry, { ...SUCCESS, writes: [{ key: "a/1", value: "1" }] });
      },
    ];
    for (const end of endings) {
      const set = setUp();
      await set.ask({ op: "object-head", bucket: "orders", key: "a" });
      end(set);
      expect(set.done.filter((what) => what === "closed")).toHaveLength(1);
      expect(set.done).toContain("abandoned");
      expect(set.invocations.size).toBe(0);
    }
  });
});

describe("a conflict", () => {
  test("is what both a success and a failure of the code come to", async () => {
    for (const outcome of [SUCCESS, FAILURE]) {
      const { invocations, entry, ask, transactions, faults } = setUp({ writes: ["orders/{id}"] });
      await ask({ op: "get", key: "orders/1" });
      transactions[0]!.conflicted = true;
      expect(invocations.settle(entry, outcome)).toEqual({ t: "conflict" });
      expect(faults).toEqual([]);
    }
  });

  test("explains no death of a pod and no timeout: those use up attempts", async () => {
    const { invocations, entry, ask, transactions } = setUp();
    await ask({ op: "get", key: "orders/1" });
    transactions[0]!.conflicted = true;
    expect(invocations.settle(entry, LOST)).toMatchObject({ t: "failed", failure: { code: "POD_LOST" } });
  });

  test("of a PUT's condition writes no state either", async () => {
    const { invocations, entry, ask, committed, done, control } = setUp();
    await ask({ op: "object-put", bucket: "orders", key: "a", options: { ifNoneMatch: "*" } });
    control.holds = false;
    const outcome: Outcome = { ...SUCCESS, writes: [{ key: "orders/1", value: "1" }], objects: [{ op: "put", handle: 1 }] };
    expect(invocations.settle(entry, outcome)).toEqual({ t: "conflict" });
    expect([committed, done.filter((what) => what.startsWith("published"))]).toEqual([[], []]);
  });

  test("of the state publishes no object", async () => {
    const { invocations, entry, ask, done, control } = setUp();
    await ask({ op: "object-put", bucket: "orders", key: "a", options: {} });
    control.conflicts = true;
    expect(invocations.settle(entry, { ...SUCCESS, objects: [{ op: "put", handle: 1 }] })).toEqual({ t: "conflict" });
    expect(done.filter((what) => what.startsWith("published"))).toEqual([]);
  });

  test("counts for the next transaction of the call", async () => {
    const { ask, control } = setUp();
    control.conflictsSoFar = 4;
    await ask({ op: "get", key: "orders/1" });
    expect(control.begun).toEqual([4]);
  });
});

describe("a failure", () => {
  test("leaves stale what the attempt had set and what its definition says, with its verdict", () => {
    const { invocations, entry, faults } = setUp({ writes: ["orders/{id}", "customers/{customer}"] });
    const writes = [{ key: "payments/1" }];
    const settlement = invocations.settle(entry, { ...FAILURE, writes });
    expect(settlement).toMatchObject({ t: "failed", failure: { code: "FUNCTION_FAILED", verdict: { class: "timeout" } } });
    expect(faults).toEqual([
      {
        owner: { space: "shop", run: "run_1", seq: 3, function: "pay" },
        keys: ["payments/1", "orders/17"],
        stale: { run: "run_1", call: 3, function: "pay", fault: "timeout", message: "no", at: 1_000 },
      },
    ]);
  });

  test("marks nothing that the function may not write, whatever its pod says", () => {
    const { invocations, entry, faults } = setUp({ permissions: { state: ["write:orders/*"] } });
    invocations.settle(entry, { ...FAILURE, writes: [{ key: "orders/1" }, { key: "customers/1" }] });
    expect(faults[0]?.keys).toEqual(["orders/1"]);
  });

  test("is what a write that is not allowed comes to, and nothing is committed", () => {
    const { invocations, entry, committed } = setUp({ permissions: { state: ["orders/*"] } });
    const settlement = invocations.settle(entry, {
      ...SUCCESS,
      writes: [
        { key: "orders/1", value: "1" },
        { key: "customers/1", value: "1" },
      ],
    });
    expect(settlement).toMatchObject({ t: "failed", failure: { code: "ACCESS_DENIED", terminal: true, verdict: { class: "permission" } } });
    expect(committed).toEqual([]);
  });

  test("is what a write that can't be comes to", () => {
    const { invocations, entry, control } = setUp();
    control.commitThrows = new LockstepError("STATE_KEY_INVALID", "no key");
    expect(invocations.settle(entry, { ...SUCCESS, writes: [{ key: "x", value: "1" }] })).toMatchObject({
      t: "failed",
      failure: { code: "STATE_KEY_INVALID" },
    });
  });

  test("of ours is not taken for the function's", () => {
    const { invocations, entry, control } = setUp();
    control.commitThrows = new TypeError("a defect");
    expect(() => invocations.settle(entry, { ...SUCCESS, writes: [{ key: "a/1", value: "1" }] })).toThrow("a defect");
  });
});

describe("permissions", () => {
  const permissions = { state: ["read:orders/*"], objects: ["read:orders/in/*", "write:orders/out/*"] };

  test.each<[Request, boolean]>([
    [{ op: "get", key: "orders/1" }, true],
    [{ op: "get", key: "customers/1" }, false],
    [{ op: "list", prefix: "orders/", limit: 5 }, true],
    [{ op: "list", prefix: "customers/", limit: 5 }, false],
    [{ op: "object-head", bucket: "orders", key: "in/a" }, true],
    [{ op: "object-head", bucket: "orders", key: "out/a" }, false],
    [{ op: "object-get", bucket: "orders", key: "in/a" }, true],
    [{ op: "object-get", bucket: "archive", key: "in/a" }, false],
    [{ op: "object-list", bucket: "orders", prefix: "in/" }, true],
    [{ op: "object-list", bucket: "orders" }, false],
    [{ op: "object-put", bucket: "orders", key: "out/a", options: {} }, true],
    [{ op: "object-put", bucket: "orders", key: "in/a", options: {} }, false],
    [{ op: "object-delete", bucket: "orders", key: "out/a" }, true],
    [{ op: "object-delete", bucket: "orders", key: "in/a" }, false],
    [{ op: "object-copy", bucket: "orders", key: "in/a", to: { bucket: "orders", key: "out/a" } }, true],
    [{ op: "object-copy", bucket: "orders", key: "out/a", to: { bucket: "orders", key: "out/b" } }, false],
    [{ op: "object-copy", bucket: "orders", key: "in/a", to: { bucket: "orders", key: "in/b" } }, false],
  ])("answer %j: %s", async (request, allowed) => {
    for (const isKnown of [false, true]) {
      const { ask, control } = setUp({ permissions });
      control.isKnown = isKnown;
      expect(failureIn(await ask(request))?.code).toBe(allowed ? undefined : "ACCESS_DENIED");
    }
  });

  test("that list nothing keep a function to the buckets that are its application's or nobody's", async () => {
    const { ask } = setUp();
    const codes: string[] = [];
    for (const name of ["orders", "nobodys", "archive"]) {
      const reply = await ask({ op: "object-head", bucket: name, key: "a" });
      codes.push(failureIn(reply)?.message ?? "allowed");
    }
    expect(codes).toEqual(["allowed", "allowed", expect.stringContaining('belongs to application "store"')]);
  });

  test("hold for deletions that the result brings without having announced them", async () => {
    const { invocations, entry } = setUp({ permissions });
    const objects: ObjectWrite[] = [{ op: "delete", bucket: "orders", key: "in/a" }];
    expect(invocations.settle(entry, { ...SUCCESS, objects })).toMatchObject({ t: "failed", failure: { code: "ACCESS_DENIED" } });
  });
});
