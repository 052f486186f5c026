import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { FunctionSpec } from "../protocol/application.ts";
import { certify, membersOf } from "../testing/replica-keys.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { ReplicaSets } from "./service.ts";
import type { StoredSet } from "./set.ts";

const directory = mkdtempSync(join(tmpdir(), "replica-sets-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const account: FunctionSpec = { name: "account", stateful: true, stateKey: "account", faults: 1 } as FunctionSpec;

/** Sets of an application whose function has kept state, with the journal of an earlier life. */
const sets = async (): Promise<ReplicaSets> => {
  const { membership } = membersOf(1);
  const stored: StoredSet = {
    membership: certify({ ...membership, set: "bank/account", application: "bank", function: "account", version: "1" }),
    generations: [1, 1, 1, 1],
  };
  const none = () => {
    throw new Error("not asked for");
  };
  const made = new ReplicaSets(
    {
      fleet: { acquire: none, send: none, end: none },
      clock: createStepClock(1_000),
      turn: { state: none, event: none, after: none },
      rows: { list: () => Promise.resolve([{ key: "bank/account", value: JSON.stringify(stored) }]) } as never,
      nextVersion: none,
      home: (fn, version) =>
        fn === "account" && version === "1" ? ({ application: "bank", path: "bundle", spec: account } as never) : undefined,
      currentOf: () => "1",
      pending: () => [],
      admin: { replicaFault: none, replicaRepaired: none },
    },
    {
      ...{ directory, epoch: 1, defaultMemoryMb: 64, defaultTimeoutMs: 1_000, idleMs: 1_000, recoveryEveryMs: 0, maxLogBytes: 1_000 },
    },
  );
  await made.load();
  return made;
};

const check = async (...functions: Partial<FunctionSpec>[]): Promise<void> =>
  (await sets()).check({
    application: "bank",
    manifest: { functions: functions.map((each) => ({ ...account, ...each })) as FunctionSpec[], coordinators: [] },
  });

describe("a deployment under a function that has kept state", () => {
  test.each([
    ["the key", { stateKey: "owner" }, "key", 'keeps state with key "account", and can\'t go on with "owner"'],
    ["that it has a key", { stateKey: undefined }, "key", 'keeps state with key "account", and can\'t go on with none'],
    ["the faults that it bears", { faults: 2 }, "faults", "keeps state with faults 1, and can't go on with 2"],
  ])("is refused when it changes %s", async (_what, change, field, reason) => {
    const refusal = { code: "APPLICATION_INVALID", details: { field, function: "account" }, message: expect.stringContaining(reason) };
    await expect(check(change as Partial<FunctionSpec>)).rejects.toMatchObject(refusal);
  });

  test("is taken when it changes neither: the default is one fault, and who keeps no state, or has another name, has no key to keep", async () => {
    await check({});
    await check({ faults: undefined as never });
    await check({ stateful: undefined as never, stateKey: undefined as never, faults: 3 });
    await check({ name: "ledger", stateKey: "owner", faults: 2 });
    await check();
  });
});
