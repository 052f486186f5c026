/** A short soak, the same kills each time; `npm run soak` is the long one. */
import { expect, test } from "vitest";
import { soak } from "../scripts/soak/soak.ts";

test("fifteen kills at random moments break no promise", { timeout: 120_000 }, async () => {
  const report = await soak({ seed: 7, rounds: 15 });
  expect(report.violations).toEqual([]);
  expect(report.auditRepairs).toBe(0);
  expect(report.kills.controlPlanes).toBeGreaterThanOrEqual(2);
  expect(report.kills.pods).toBeGreaterThanOrEqual(3);
  expect(report.runs.accepted).toBeGreaterThan(50);
  expect(report.puts.accepted).toBeGreaterThan(5);
  expect(report.state.increments + report.state.compensations).toBeGreaterThan(5);
});
