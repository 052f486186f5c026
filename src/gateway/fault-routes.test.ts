import { describe, expect, test } from "vitest";
import { open } from "../../test/support/gateway.ts";
import type { FaultView } from "../protocol/faults.ts";

const CRASH: FaultView = {
  id: "fault-2",
  type: "I",
  what: "crash",
  pod: "pod-3",
  function: "pay",
  detectedAt: 1_700_000_000_000,
  detectionMs: 1,
  calls: 2,
  detail: "signal SIGKILL",
  repeated: 1,
  repairedAt: 1_700_000_000_008,
  repairMs: 8,
  did: "dispatched again",
};

test("faults are listed as they are, at most as many as are wanted", async () => {
  const { plane, call } = await open();
  const { pod: _, function: __, ...dead } = { ...CRASH, id: "fault-1", type: "IV", what: "control-plane-down" } as const;
  plane.allFaults.push(CRASH, dead);
  expect((await call("/v1/faults")).json).toEqual({ faults: [CRASH, dead] });
  expect((await call("/v1/faults?limit=1")).json).toEqual({ faults: [CRASH] });
  expect(plane.asked).toEqual([
    ["faults", 100],
    ["faults", 1],
  ]);
});

describe("a drill", () => {
  test.each(["pod", "hang", "slow", "control-plane"])("%s is provoked from this machine, and told", async (kind) => {
    const { plane, call } = await open();
    const answer = await call("/v1/drills", { method: "POST", body: { kind, function: "pay" } });
    expect([answer.status, answer.json]).toEqual([202, expect.objectContaining({ kind, pid: 41 })]);
    expect(plane.asked).toEqual([["drill", { kind, function: "pay" }]]);
  });

  test("is refused by a platform that others can reach, also with the key", async () => {
    const { plane, raw } = await open({ host: "0.0.0.0", apiKey: "secret" });
    const answer = await raw("/v1/drills", { method: "POST", body: { kind: "pod" }, headers: { authorization: "Bearer secret" } });
    expect([answer.status, answer.text]).toEqual([403, expect.stringContaining("ACCESS_DENIED")]);
    expect(plane.asked).toEqual([]);
  });

  test.each(["forwarded", "x-forwarded-for", "x-real-ip", "via"])(
    "is refused when it was passed on for somebody else (%s)",
    async (name) => {
      const { plane, call } = await open();
      const answer = await call("/v1/drills", { method: "POST", body: { kind: "pod" }, headers: { [name]: "192.0.2.7" } });
      expect([answer.status, answer.text]).toEqual([403, expect.stringContaining("ACCESS_DENIED")]);
      expect(plane.asked).toEqual([]);
    },
  );

  test.each([{}, { kind: "everything" }, { kind: "pod", pod: "pod-1" }, { kind: "pod", function: "" }])(
    "that is none is refused: %j",
    async (body) => {
      const { plane, call } = await open();
      expect((await call("/v1/drills", { method: "POST", body })).status).toBe(400);
      expect(plane.asked).toEqual([]);
    },
  );
});
