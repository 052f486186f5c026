/** What is made of a scene's answers (pure). */
import type { FaultView } from "../../src/protocol/faults.ts";
import type { Load } from "./load.ts";
import type { Scene } from "./scenes.ts";

/** Times are milliseconds after the fault was brought about. */
export interface Seen {
  type: FaultView["type"] | undefined;
  noticedMs: number | undefined;
  repairedMs: number | undefined;
  /** The longest time without an answer from then on. */
  pauseMs: number;
  answered: number;
  wrong: number;
  errors: readonly string[];
}

export const observed = ({ answers, errors }: Pick<Load, "answers" | "errors">, at: number, fault: FaultView | undefined): Seen => ({
  type: fault?.type,
  noticedMs: fault === undefined ? undefined : Math.max(0, fault.detectedAt - at),
  repairedMs: fault?.repairedAt === undefined ? undefined : Math.max(0, fault.repairedAt - at),
  pauseMs: longestPause(
    answers.map((answer) => answer.at).filter((each) => each >= at),
    at,
  ),
  answered: answers.length,
  wrong: answers.filter(({ isRight }) => !isRight).length,
  errors,
});

export const longestPause = (times: readonly number[], since: number): number => {
  let [longest, last] = [0, since];
  for (const time of times.toSorted((a, b) => a - b)) {
    longest = Math.max(longest, time - last);
    last = time;
  }
  return longest;
};

/** What must not be of certified calls, as text; empty when all is well. */
export const violationsOf = ({ name }: Scene, seen: Seen): string[] => {
  const violations: string[] = [];
  if (seen.wrong > 0) violations.push(`${name}: ${seen.wrong} certified answers were wrong`);
  if (seen.errors.length > 0) violations.push(`${name}: ${seen.errors.length} calls failed, the first with: ${seen.errors[0]}`);
  if (seen.noticedMs === undefined) violations.push(`${name}: nobody noticed it`);
  if (seen.repairedMs === undefined) violations.push(`${name}: it was not repaired`);
  return violations;
};

const HEAD = ["", "type", "noticed", "repaired", "longest pause", "wrong answers"];

export const tableOf = (rows: readonly { scene: Scene; certified: Seen; plain: Seen }[]): string => {
  const lines = [HEAD];
  for (const { scene, certified, plain } of rows) {
    lines.push([scene.paper === undefined ? scene.name : `${scene.name} (${scene.paper})`]);
    lines.push(["  certified", ...cellsOf(certified)], ["  plain pods", ...cellsOf(plain)]);
  }
  const widths = HEAD.map((_, column) => Math.max(...lines.filter((line) => line.length > 1).map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line.length === 1 ? line[0]! : line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "),
    )
    .join("\n");
};

const cellsOf = ({ type, noticedMs, repairedMs, pauseMs, wrong, answered }: Seen): string[] => [
  type ?? "–",
  noticedMs === undefined ? "never" : ms(noticedMs),
  repairedMs === undefined ? "never" : ms(repairedMs),
  ms(pauseMs),
  `${wrong} of ${answered}`,
];

const ms = (time: number): string => `${Math.round(time)} ms`;
