import { describe, expect, test } from "vitest";
import { ReplicaSet } from "../testing/replica-set.ts";

describe("in the normal case", () => {
  test("a request is executed once by each replica and certified by a quorum", () => {
    const set = new ReplicaSet();
    const tookMs = set.certifyAll("run/1");
    expect(tookMs).toBeLessThan(20);
    set.run(10);
    const { certificate, outcome } = set.certificates.get("run/1")!;
    expect(outcome).toBe('{"value":1}');
    expect(certificate.votes).toHaveLength(3);
    for (const { worker } of set.members) expect(worker.log.map(({ ids }) => ids)).toEqual([["run/1"]]);
    expect(set.evidence()).toEqual([]);
  });

  test("a thousand operations are ordered alike everywhere, and what is below a checkpoint is forgotten", () => {
    const set = new ReplicaSet({ limits: { checkpointEvery: 16 } });
    const ids = Array.from({ length: 1_000 }, (_, i) => `run/${i}`);
    for (let i = 0; i < 1_000; i += 5) {
      set.submit(...ids.slice(i, i + 5));
      set.run(1);
    }
    set.runUntil(() => ids.every((id) => set.certificates.has(id)));
    set.run(500);
    const logs = set.members.map(({ worker }) => JSON.stringify(worker.log));
    expect(new Set(logs).size).toBe(1);
    for (const { replica } of set.members) {
      const { held, stable, view } = replica.inspect();
      expect(view).toBe(0);
      expect(stable).toBeGreaterThan(100);
      expect(held.slots).toBeLessThanOrEqual(32);
      expect(held.pending).toBe(0);
      expect(held.requests).toBeLessThan(200);
    }
    expect(set.evidence()).toEqual([]);
  });
});
