import { violated } from "./checkers.ts";
import type { Process } from "./host.ts";
import type { Scenario } from "./scenario.ts";

/** Messages of the next epoch that a replica keeps until it begins there too. */
const EARLY_OF_A_PEER = 64;

/** What a replica holds stays under bounds that don't depend on how much others send. */
export const checkMemory = (process: Process, scenario: Scenario): void => {
  const summary = process.replica?.inspect();
  if (summary === undefined) return;
  const { held, executed, committed, stable } = summary;
  const nodes = 3 * scenario.faults + 1;
  const window = 2 * scenario.tuning.checkpointEvery;
  const requests = scenario.clients.reduce((sum, { operations }) => sum + operations, 0) * 2 + 20;
  const bounds: Partial<Record<keyof typeof held, number>> = {
    slots: window + 1,
    requests: requests + window,
    pending: requests,
    keptOperations: requests,
    votes: 8 * nodes * (window + 1),
    parked: EARLY_OF_A_PEER * nodes + 8 * window,
  };
  for (const [name, bound] of Object.entries(bounds)) {
    const size = held[name as keyof typeof held];
    if (size > bound) violated("memory", `${process.name} holds ${size} ${name}; the bound is ${bound}`);
  }
  if (executed > committed) violated("order", `${process.name} has executed ${executed}, but committed only ${committed}`);
  if (committed > stable + window) violated("order", `${process.name} has committed ${committed}, beyond its window from ${stable}`);
};
