import type { PeerMessage } from "../../src/consensus/messages.ts";
import type { Flaw } from "../../src/consensus/options.ts";
import type { Scenario } from "./scenario.ts";
import { twinPlaceOf } from "./scenario.ts";
import type { Finding } from "./simulate.ts";
import { findingOf } from "./simulate.ts";
import { World } from "./world.ts";

// Bano et al., "Twins: BFT systems made robust" (OPODIS 2021): a replica that equivocates is two correct ones under one key, and all that
// matters of their messages is who gets them. So the attacks on a few views can be enumerated: for each view, who is with whom.

const NODES = 4;
const VIEWS = 4;
/** Two groups of the four replicas and the twin; which of the two is called the first doesn't matter. */
const PARTITIONS = 2 ** NODES;
/** Numbers that the leader of each of these views may propose of itself: then its view has had its time. */
const PROPOSALS = 2;

export const TWINS = NODES * PARTITIONS ** VIEWS;

interface TwinCase {
  twinned: number;
  /** For each view, a bit for each replica: on which side it is. The twin is on side 0. */
  sides: number[];
}

const caseOf = (number: number): TwinCase => {
  const sides: number[] = [];
  let rest = Math.floor(number / NODES);
  for (let view = 0; view < VIEWS; view++) {
    sides.push(rest % PARTITIONS);
    rest = Math.floor(rest / PARTITIONS);
  }
  return { twinned: number % NODES, sides };
};

/**
 * The same attack with the names of the two twins exchanged: which of the two processes is called the twin doesn't matter. Where both are on
 * one side nothing changes; where they are not, everyone else is with the other one. The replicas themselves can't be relabelled: each of them
 * leads another of the views.
 */
export const mirrorOf = (number: number): number => {
  const { twinned, sides } = caseOf(number);
  const own = 1 << twinned;
  const mirrored = sides.map((side) => ((side & own) === 0 ? side : (~side & (PARTITIONS - 1)) | own));
  return twinned + NODES * mirrored.reduceRight((rest, side) => rest * PARTITIONS + side, 0);
};

/** Of two cases that are each other's mirror one needs to be played. */
export const isDistinct = (number: number): boolean => number <= mirrorOf(number);

/** (16⁴ + 8⁴) / 2 for each twinned replica: a case is its own mirror if the twins are together in all views. */
export const DISTINCT_TWINS = (NODES * (PARTITIONS ** VIEWS + (PARTITIONS / 2) ** VIEWS)) / 2;

const scenarioOf = (number: number, { twinned }: TwinCase): Scenario => ({
  seed: number,
  faults: 1,
  tuning: { checkpointEvery: 16, maxBatchOperations: 1, batchesInFlight: 8, batchDelayMs: 0, progressTimeoutMs: 40 },
  net: { minMs: 1, maxMs: 1.2, tail: 0, loss: 0, duplicate: 0, isOrdered: true },
  diskMs: 0,
  keepsSnapshots: true,
  executeMs: 0,
  skewMs: 0,
  clients: [{ operations: 2 * VIEWS + 2, gapMs: 15, burst: 1 }],
  liars: [{ replica: twinned, behaviours: ["twin"], fromMs: 0 }],
  harms: [],
  isMerciless: false,
  healMs: 0,
});

/** Which messages pass in one case. From view 4 on all do, so that what was done before comes to light. */
const filterOf = ({ sides }: TwinCase): ((from: number, to: number, view: number, message: PeerMessage) => boolean) => {
  const proposed = sides.map(() => new Set<number>());
  const sideOf = (place: number, view: number): number => (place >= twinPlaceOf(0) ? 0 : (sides[view]! >> place) & 1);
  return (from, to, senderView, message) => {
    if (message.t === "view-change") return true;
    const view = viewOf(message) ?? senderView;
    if (view >= VIEWS) return true;
    if (message.t === "pre-prepare") {
      const numbers = proposed[view]!;
      if (!numbers.has(message.seq) && numbers.size >= PROPOSALS) return false;
      numbers.add(message.seq);
    }
    return sideOf(from, view) === sideOf(to, view);
  };
};

const viewOf = (message: PeerMessage): number | undefined => {
  switch (message.t) {
    case "pre-prepare":
    case "prepare":
    case "commit":
    case "status":
      return message.view;
    case "new-view":
      return message.newView.view;
    default:
      return undefined;
  }
};

/** @param number from 0 to `TWINS` − 1 */
export const playTwins = (number: number, flaws?: Partial<Record<Flaw, true>>): Finding | undefined => {
  const twinCase = caseOf(number);
  const scenario = scenarioOf(number, twinCase);
  const world = new World(scenario, { filter: filterOf(twinCase), ...(flaws !== undefined && { flaws }) });
  return findingOf(scenario, world.run());
};

export const describeTwins = (number: number): string => {
  const { twinned, sides } = caseOf(number);
  const views = sides.map((side, view) => `view ${view}: ${groupsOf(side, twinned)}`);
  return `twins ${number}: replica ${twinned} is twinned; ${views.join("; ")}`;
};

const groupsOf = (side: number, twinned: number): string => {
  const groups: string[][] = [[`${twinned}'`], []];
  for (let replica = 0; replica < NODES; replica++) groups[(side >> replica) & 1]!.push(`${replica}`);
  return groups.map((group) => `{${group.join(" ")}}`).join(" ");
};
