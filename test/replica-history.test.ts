/** The accounts of examples/accounts on real processes, hurt in random order; `npm run soak:replicas` is the long one. */
import { expect, test } from "vitest";
import { soakReplicas } from "../scripts/replica-soak/soak.ts";

test("concurrent transfers are linearizable, certified and conserve money while replicas lie and die and the control plane is killed", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  console.log(`the same calls and harms again: SEED=${seed}`);
  const report = await soakReplicas({
    seed,
    rounds: 1,
    harms: {
      books: ["replica-lie", "kill", "leader-equivocate", "partition"],
      exchange: [],
      platform: ["control-plane", "deploy"],
    },
  });
  expect(report.violations, `seed ${seed}`).toEqual([]);
  expect(report.calls.answered, `seed ${seed}`).toBeGreaterThan(20);
  expect(report.certificates).toBeGreaterThan(report.calls.answered);
  // Each harm of each lane, and perhaps equivocators that lost their office before they told two things.
  expect(Object.keys(report.harms).length).toBeGreaterThanOrEqual(6);
});
