import type { Flaw } from "../../src/consensus/options.ts";
import { generate } from "./generate.ts";
import type { Nodes } from "./simulate.ts";
import { play } from "./simulate.ts";

export const FLAWS = [
  "quorumOf2f",
  "noPreparedProof",
  "unsyncedLog",
  "noRevalidation",
  "noClientTable",
  "uncheckedPages",
  "forgetfulViewChange",
  "uncheckedTime",
] as const satisfies readonly Flaw[];

export interface Caught {
  flaw: Flaw;
  /** How many seeds it took; `undefined` when none of them has shown it. */
  seeds: number | undefined;
  seed: number | undefined;
  property: string | undefined;
  detail: string | undefined;
}

/** Runs seeds on replicas that make a known mistake, until a checker notices. */
export const hunt = (flaw: Flaw, nodes: Nodes, from: number, most: number): Caught => {
  for (let seeds = 1; seeds <= most; seeds++) {
    const seed = from + seeds - 1;
    const { violation } = play(generate(seed, nodes), { flaws: { [flaw]: true } });
    if (violation !== undefined) return { flaw, seeds, seed, property: violation.property, detail: violation.detail };
  }
  return { flaw, seeds: undefined, seed: undefined, property: undefined, detail: undefined };
};
