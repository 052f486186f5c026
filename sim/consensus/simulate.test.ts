import { describe, expect, it } from "vitest";
import { describe as told } from "./scenario.ts";
import type { Nodes } from "./simulate.ts";
import { simulate } from "./simulate.ts";

const SEEDS: Record<Nodes, number> = { 4: 1_600, 7: 400 };
const GROUP = 200;

describe.each([4, 7] as const)("%i replicas under random faults and lies keep what replication promises", (nodes) => {
  for (let first = 1; first <= SEEDS[nodes]; first += GROUP) {
    it(`seeds ${first} to ${first + GROUP - 1}`, { timeout: 120_000 }, () => {
      for (let seed = first; seed < first + GROUP; seed++) {
        const { finding } = simulate(seed, nodes, seed % 5 === 0);
        expect(finding && `${finding.property}: ${finding.detail}\n${told(finding.scenario)}`).toBeUndefined();
      }
    });
  }
});

it("a seed gives the same simulation each time, and another seed another", () => {
  const [one, same, other] = [17, 17, 18].map((seed) => simulate(seed, 4, false).report.digest);
  expect(same).toBe(one);
  expect(other).not.toBe(one);
});
