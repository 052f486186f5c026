/** What a soak of replica sets found. */
import { quantile } from "../soak/report.ts";
import type { Most } from "./watch.ts";

export interface ReplicaSoakReport {
  seed: number;
  seconds: number;
  rounds: number;
  /** How often each harm was done. */
  harms: Record<string, number>;
  /** From a harm until its set was whole again, in milliseconds, by harm. */
  healedMs: Record<string, { median: number; most: number }>;
  calls: { answered: number; refused: number; unanswered: number; exchanged: number };
  certificates: number;
  /** Rounds whose history the search left open, and the certified order has proven. */
  undecided: number;
  recoveryMs: { median: number; most: number };
  /** Of all processes, and at the end of each round. */
  most: Most;
  ends: Most[];
  /** Replicas that were given up although nobody had hurt them, in words: a busy machine does that. */
  unexplained: string[];
  auditRepairs: number;
  /** What must not be; empty when all promises were kept. */
  violations: string[];
}

export const spreadOf = (values: readonly number[]): { median: number; most: number } => ({
  median: quantile(values, 0.5),
  most: quantile(values, 1),
});

const textOfMost = ({ controlPlaneMb, podMb, files, processes, replicasMb }: Most): string =>
  `control plane ${controlPlaneMb} MB, largest pod ${podMb} MB, ${files} files of one process, ${processes} processes, replicas' disk ${replicasMb} MB`;

export const textOf = (report: ReplicaSoakReport): string => {
  const { calls, recoveryMs } = report;
  return [
    `seed ${report.seed}, ${report.rounds} rounds, ${report.seconds} s`,
    `harms: ${Object.entries(report.harms)
      .map(([harm, count]) => `${count} ${harm}`)
      .join(", ")}`,
    ...Object.entries(report.healedMs).map(([harm, { median, most }]) => `whole again after ${harm}: median ${median} ms, most ${most} ms`),
    `calls: ${calls.answered} answered, ${calls.refused} refused by the books, ${calls.unanswered} without an answer; ${calls.exchanged} exchanges`,
    `certificates verified: ${report.certificates}`,
    ...(report.undecided === 0 ? [] : [`histories that the search left open, and the certified order has proven: ${report.undecided}`]),
    `recovery of the control plane: median ${recoveryMs.median} ms, most ${recoveryMs.most} ms`,
    `at most: ${textOfMost(report.most)}`,
    ...report.ends.map((most, i) => `after round ${i + 1}: ${textOfMost(most)}`),
    ...report.unexplained.map((text) => `given up and not hurt: ${text}`),
    report.violations.length === 0 ? "no violation" : `VIOLATIONS:\n${report.violations.join("\n")}`,
  ].join("\n");
};
