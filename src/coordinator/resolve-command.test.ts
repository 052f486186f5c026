import { describe, expect, test } from "vitest";
import type { AcceptedRun } from "../journal/port.ts";
import type { FunctionSpec } from "../protocol/application.ts";
import type { Command, RunKind } from "../protocol/run.ts";
import { type CommandParts, resolveCommand } from "./resolve-command.ts";

const headOf = (kind: RunKind = "coordinator"): AcceptedRun => ({
  id: "run_00000000001",
  kind,
  name: "booking",
  application: "shop",
  version: "v2",
  input: "",
  acceptedAt: 1,
  priority: 0,
});

/** `pay` and `ship` are functions, of which `pay` lives in another version; `booking` and `refund` are coordinators. */
const partsWith = (recovers: boolean, allowed: string[] | undefined): CommandParts => {
  const functions: Record<string, FunctionSpec> = { pay: { name: "pay", compensates: true }, ship: { name: "ship" } };
  const coordinators = ["booking", "refund"];
  let ids = 0;
  return {
    ids: { next: (now) => `run_at${now}_${++ids}` },
    clock: { now: () => 7 },
    registry: {
      spec: (name) => functions[name],
      coordinatorSpec: (name) => ({ name, recovers, ...(allowed === undefined ? {} : { permissions: { call: allowed } }) }),
      homeOfFunction: (name) => (name in functions ? { application: "shop", version: name === "pay" ? "v1" : "v2" } : undefined),
      homeOfCoordinator: (name) => (coordinators.includes(name) ? { application: "shop", version: "v2" } : undefined),
    } as CommandParts["registry"],
  };
};

const resolve = (
  command: Command,
  { kind = "coordinator" as RunKind, recovers = false, allowed = undefined as string[] | undefined } = {},
) => resolveCommand(partsWith(recovers, allowed), headOf(kind), command);

describe("a call", () => {
  test("goes to the version that defines its function, and is known to be compensable there", () => {
    expect(resolve({ t: "call", seq: 1, fn: "pay", input: "5" })).toEqual({
      t: "call",
      seq: 1,
      fn: "pay",
      input: "5",
      version: "v1",
      undoable: true,
    });
    expect(resolve({ t: "call", seq: 2, fn: "ship", input: "", options: { priority: 3 } })).toEqual({
      t: "call",
      seq: 2,
      fn: "ship",
      input: "",
      options: { priority: 3 },
      version: "v2",
    });
  });

  test("of a coordinator, or of nobody, is refused and says what to do", () => {
    const failure = { code: "UNKNOWN_FUNCTION", terminal: true, call: { function: "refund", seq: 1 } };
    expect(resolve({ t: "call", seq: 1, fn: "refund", input: "" })).toMatchObject({ refusal: failure });
    expect(resolve({ t: "call", seq: 1, fn: "refund", input: "" })).toHaveProperty(
      "refusal.message",
      expect.stringContaining("it is a coordinator"),
    );
    expect(resolve({ t: "call", seq: 1, fn: "nobody", input: "" })).toHaveProperty("refusal.message", expect.stringMatching(/"nobody"$/));
  });

  test("that its coordinator may not make is refused before it is looked for", () => {
    const refused = resolve({ t: "call", seq: 1, fn: "pay", input: "" }, { allowed: ["ship"] });
    expect(refused).toMatchObject({ refusal: { code: "ACCESS_DENIED", call: { function: "pay", seq: 1 } } });
    expect(refused).not.toHaveProperty("version");
  });

  test("keeps nothing that a pod sends beside its fields", () => {
    const forged = {
      t: "call",
      seq: 1,
      fn: "ship",
      input: "",
      version: "v9",
      undoable: true,
      refusal: { code: "X" },
    } as unknown as Command;
    expect(resolve(forged)).toEqual({ t: "call", seq: 1, fn: "ship", input: "", version: "v2" });
  });
});

describe("a child", () => {
  test("is given an id of its own", () => {
    const child = { t: "child", seq: 1, coordinator: "refund", input: "", detached: false } as const;
    expect(resolve(child)).toEqual({ ...child, child: "run_at7_1" });
    expect(resolve({ ...child, child: "run_mine" } as Command)).toEqual({ ...child, child: "run_at7_1" });
  });

  test("that is a function, or nobody, is refused and has no id", () => {
    const refused = resolve({ t: "child", seq: 1, coordinator: "pay", input: "", detached: true });
    expect(refused).toMatchObject({ refusal: { code: "UNKNOWN_COORDINATOR", message: expect.stringContaining("it is a function") } });
    expect(refused).not.toHaveProperty("child");
  });
});

describe("an end", () => {
  const failure = { code: "FUNCTION_FAILED", message: "no" };

  test("in failure is given the id of a recovery when its coordinator has one", () => {
    expect(resolve({ t: "finish", failure }, { recovers: true })).toEqual({ t: "finish", failure, recovery: "run_at7_1" });
    expect(resolve({ t: "finish", failure })).toEqual({ t: "finish", failure });
  });

  test("with a value, or of a recovery, is not", () => {
    expect(resolve({ t: "finish", value: "1" }, { recovers: true })).toEqual({ t: "finish", value: "1" });
    expect(resolve({ t: "finish", failure }, { recovers: true, kind: "recovery" })).toEqual({ t: "finish", failure });
  });
});

test("commands that need nothing of the platform's pass as they are", () => {
  const sleep: Command = { t: "sleep", seq: 1, ms: 5 };
  expect(resolve(sleep)).toBe(sleep);
});
