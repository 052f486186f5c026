/** What a matrix comes to: in how many cells a policy is better than another, and its sums. */
import type { PolicyName } from "../../src/autoscaler/scale.ts";
import { POLICIES } from "../../src/autoscaler/scale.ts";
import type { Cell, Outcome } from "./matrix.ts";

export interface Standing {
  readonly cells: number;
  /** No more late calls and no more pod-seconds, and less of one of them. */
  readonly dominates: number;
  readonly isDominated: number;
  /** Of the rest: fewer late calls at more pod-seconds, and the other way round. */
  readonly buysFewerLate: number;
  readonly savesPods: number;
}

/** Pod-seconds that are this near are the same. */
const SAME = 0.005;

type Comparison = "dominates" | "isDominated" | "buysFewerLate" | "savesPods" | "same";

export const compare = (one: Outcome, other: Outcome): Comparison => {
  const late = Math.sign(one.late - other.late);
  const pods = Math.abs(one.podSeconds - other.podSeconds) <= SAME * other.podSeconds ? 0 : Math.sign(one.podSeconds - other.podSeconds);
  if (late === 0 && pods === 0) return "same";
  if (late <= 0 && pods <= 0) return "dominates";
  if (late >= 0 && pods >= 0) return "isDominated";
  return late < 0 ? "buysFewerLate" : "savesPods";
};

export const standingOf = (cells: readonly Cell[], policy: PolicyName, other: PolicyName): Standing => {
  const count = (wanted: Comparison) => cells.filter(({ results }) => compare(results[policy], results[other]) === wanted).length;
  return {
    cells: cells.length,
    dominates: count("dominates"),
    isDominated: count("isDominated"),
    buysFewerLate: count("buysFewerLate"),
    savesPods: count("savesPods"),
  };
};

/** Fewer late calls than each of the others, or none that could be helped, at no more pod-seconds than the cheapest of them. */
export const isBest = ({ results }: Cell, policy: PolicyName): boolean => {
  const own = results[policy];
  const others = POLICIES.filter((each) => each !== policy).map((each) => results[each]);
  const fewest = Math.min(...others.map(({ late }) => late));
  const least = Math.min(...others.map(({ podSeconds }) => podSeconds));
  return (own.late < fewest || own.late === own.unavoidable) && own.podSeconds <= least * (1 + SAME);
};

interface Sums {
  readonly latePercent: number;
  readonly podSeconds: number;
  readonly decisions: number;
  readonly best: number;
}

/** Late calls that could be helped as a mean of the cells' parts, so that no cell counts for more than another; pod-seconds likewise, against predictive's. */
const sumsOf = (cells: readonly Cell[], policy: PolicyName): Sums => {
  const mean = (pick: (cell: Cell) => number) => cells.reduce((sum, cell) => sum + pick(cell), 0) / Math.max(1, cells.length);
  return {
    latePercent: mean(
      ({ results }) => (100 * (results[policy].late - results[policy].unavoidable)) / Math.max(1, results[policy].requests),
    ),
    podSeconds: mean(({ results }) => results[policy].podSeconds / results.predictive.podSeconds),
    decisions: mean(({ results }) => results[policy].decisions),
    best: cells.filter((cell) => isBest(cell, policy)).length,
  };
};

export const summaryOf = (cells: readonly Cell[]) => ({
  cells: cells.length,
  policies: POLICIES.map((policy) => ({ policy, ...sumsOf(cells, policy) })),
  against: POLICIES.filter((each) => each !== "predictive").map((policy) => ({ policy, ...standingOf(cells, "predictive", policy) })),
});

export const matrixTable = (cells: readonly Cell[]): string => {
  const lines = [
    "| cells | policy | best | late that could be helped, % | pod-seconds against predictive | decisions | predictive dominates | is dominated | fewer late, more pods | more late, fewer pods |",
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
  ];
  for (const [name, group] of groupsOf(cells)) {
    const { policies, against } = summaryOf(group);
    for (const { policy, best, latePercent, podSeconds, decisions } of policies) {
      const rival = against.find((each) => each.policy === policy);
      const standing = rival === undefined ? ["", "", "", ""] : [rival.dominates, rival.isDominated, rival.buysFewerLate, rival.savesPods];
      const label = policy === "predictive" ? `${name} (${group.length})` : "";
      const figures = [best, latePercent.toFixed(3), podSeconds.toFixed(2), decisions.toFixed(0), ...standing];
      lines.push(`| ${[label, policy, ...figures].join(" | ")} |`);
    }
  }
  return lines.join("\n");
};

const groupsOf = (cells: readonly Cell[]): [string, readonly Cell[]][] => {
  const groups = new Map<string, Cell[]>([["all", [...cells]]]);
  const put = (name: string, cell: Cell) => groups.set(name, [...(groups.get(name) ?? []), cell]);
  for (const cell of cells) put(cell.load, cell);
  for (const cell of cells) put(`start ${cell.profile.startDelayMs} ms`, cell);
  for (const cell of cells) put(`${cell.profile.slots} slots`, cell);
  for (const cell of cells) put(`calls of ${cell.profile.serviceMs} ms`, cell);
  return [...groups];
};
