import type { Scenario } from "./scenario.ts";
import type { Finding } from "./simulate.ts";
import { findingOf, play } from "./simulate.ts";
import type { WorldOptions } from "./world.ts";

/** Leaves away of a scenario whatever it fails without: harms, liars, their behaviours, operations, the network's own faults. */
export const shrink = (finding: Finding, options: WorldOptions = {}, mostRuns = 400): Finding => {
  let smallest = finding;
  let runs = 0;
  for (let isSmaller = true; isSmaller; ) {
    isSmaller = false;
    for (const candidate of smallerOf(smallest.scenario)) {
      if (++runs > mostRuns) return smallest;
      const found = findingOf(candidate, play(candidate, options));
      if (found?.property !== finding.property) continue;
      smallest = found;
      isSmaller = true;
      break;
    }
  }
  return smallest;
};

/** The largest steps first. */
const smallerOf = function* (scenario: Scenario): Generator<Scenario> {
  const { harms, liars, clients, net, tuning } = scenario;
  if (harms.length > 3) {
    yield { ...scenario, harms: harms.slice(0, harms.length / 2) };
    yield { ...scenario, harms: harms.slice(harms.length / 2) };
  }
  for (const each of harms) yield { ...scenario, harms: without(harms, each) };
  for (const each of liars) yield { ...scenario, liars: without(liars, each) };
  for (const liar of liars)
    for (const each of liar.behaviours.length > 1 ? liar.behaviours : [])
      yield { ...scenario, liars: liars.map((one) => (one === liar ? { ...one, behaviours: without(one.behaviours, each) } : one)) };
  if (clients.length > 1) yield { ...scenario, clients: clients.slice(0, -1), harms: harms.filter(({ t }) => t !== "restart-client") };
  for (const each of clients)
    if (each.operations > 1) {
      const fewer = { ...each, operations: Math.ceil(each.operations / 2) };
      yield { ...scenario, clients: clients.map((one) => (one === each ? fewer : one)) };
    }
  if (net.loss > 0 || net.duplicate > 0 || net.tail > 0) yield { ...scenario, net: { ...net, loss: 0, duplicate: 0, tail: 0 } };
  if (net.maxMs > net.minMs) yield { ...scenario, net: { ...net, maxMs: net.minMs } };
  if (scenario.diverging !== undefined) {
    const { diverging: _none, ...rest } = scenario;
    yield rest;
  }
  if (scenario.executeMs > 0) yield { ...scenario, executeMs: 0 };
  if (scenario.skewMs > 0) yield { ...scenario, skewMs: 0 };
  if (tuning.batchDelayMs > 0) yield { ...scenario, tuning: { ...tuning, batchDelayMs: 0 } };
};

const without = <T>(all: readonly T[], one: T): T[] => all.filter((each) => each !== one);
