import type { Flaw } from "../../src/consensus/options.ts";
import type { Property } from "./checkers.ts";
import { generate } from "./generate.ts";
import type { Nodes } from "./simulate.ts";
import { play } from "./simulate.ts";

export const FLAWS = [
  "quorumOf2f",
  "commitsUnprepared",
  "noPreparedProof",
  "unsyncedLog",
  "noRevalidation",
  "noClientTable",
  "uncheckedPages",
  "forgetfulViewChange",
  "uncheckedTime",
  "endlessPatience",
] as const satisfies readonly Flaw[];

export interface Caught {
  /** How many seeds it took; `undefined` when none of them has shown it. */
  seeds: number | undefined;
  property: string | undefined;
  detail: string | undefined;
}

/** What must never happen, even for a moment: wrong, and not only late. */
const SAFETY: ReadonlySet<string> = new Set<Property>([
  "agreement",
  "checkpoints",
  "validity",
  "at-most-once",
  "certificates",
  "results",
  "linearizability",
  "time",
  "seed",
]);

/**
 * Runs seeds on replicas that make a known mistake, until a checker notices. That they accuse each other doesn't count: it often comes first,
 * and nobody is harmed by it.
 */
export const hunt = (flaw: Flaw, nodes: Nodes, from: number, most: number, onlySafety = false): Caught => {
  for (let seeds = 1; seeds <= most; seeds++) {
    const { violation } = play(generate(from + seeds - 1, nodes), { flaws: { [flaw]: true }, tolerates: ["accusation"] });
    if (violation === undefined || (onlySafety && !SAFETY.has(violation.property))) continue;
    return { seeds, property: violation.property, detail: violation.detail };
  }
  return { seeds: undefined, property: undefined, detail: undefined };
};
