import { generate } from "./generate.ts";
import type { Scenario } from "./scenario.ts";
import type { Report, WorldOptions } from "./world.ts";
import { World } from "./world.ts";

export type Nodes = 4 | 7;

export interface Finding {
  scenario: Scenario;
  property: string;
  detail: string;
  atMs: number;
}

export const play = (scenario: Scenario, options: WorldOptions = {}): Report => new World(scenario, options).run();

export const findingOf = (scenario: Scenario, report: Report): Finding | undefined =>
  report.violation === undefined ? undefined : { scenario, ...report.violation };

/** Runs a seed, and once more: what happens must follow from the seed alone. */
export const simulate = (seed: number, nodes: Nodes, isTwice = true): { report: Report; finding?: Finding } => {
  const scenario = generate(seed, nodes);
  const report = play(scenario);
  const finding = findingOf(scenario, report);
  if (finding !== undefined) return { report, finding };
  if (!isTwice) return { report };
  const again = play(generate(seed, nodes));
  if (again.digest === report.digest && again.messages === report.messages) return { report };
  const detail = `one run came to ${report.digest.toString(16)}, the other to ${again.digest.toString(16)}`;
  return { report, finding: { scenario, property: "determinism", detail, atMs: 0 } };
};
