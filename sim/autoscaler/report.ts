/** Results as a table for people. */
import type { Result } from "./simulate.ts";

export interface Report {
  readonly load: string;
  readonly seeds: readonly number[];
  readonly policies: readonly Summary[];
}

/** Of one policy, over all seeds: sums, the means of percentiles, the most pods of any. */
export type Summary = Omit<Result, "series">;

export const summarise = (results: readonly Result[]): Summary => {
  const sum = (pick: (result: Result) => number) => results.reduce((total, each) => total + pick(each), 0);
  const requests = sum((each) => each.requests);
  const late = sum((each) => each.late);
  return {
    policy: results[0]?.policy ?? "",
    requests,
    late,
    latePercent: requests === 0 ? 0 : rounded((100 * late) / requests, 3),
    unavoidable: sum((each) => each.unavoidable),
    p50Ms: rounded(sum((each) => each.p50Ms) / results.length, 1),
    p99Ms: rounded(sum((each) => each.p99Ms) / results.length, 1),
    podSeconds: rounded(
      sum((each) => each.podSeconds),
      1,
    ),
    maxPods: Math.max(...results.map((each) => each.maxPods)),
    decisions: sum((each) => each.decisions),
    activations: sum((each) => each.activations),
  };
};

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

const COLUMNS = ["load", "policy", "requests", "late", "late %", "p50 ms", "p99 ms", "pod-seconds", "most pods", "decisions"] as const;

/** Markdown, so that it can be pasted. The fewest late calls and pod-seconds of a load are marked with a star. */
export const tableOf = (reports: readonly Report[]): string => {
  const rows = reports.flatMap(({ load, policies }) => {
    const fewest = Math.min(...policies.map((each) => each.late));
    const least = Math.min(...policies.map((each) => each.podSeconds));
    return policies.map((each, i) => [
      i === 0 ? `${load} (${each.unavoidable})` : "",
      each.policy,
      whole(each.requests),
      whole(each.late) + (each.late === fewest ? " *" : "  "),
      each.latePercent.toFixed(2),
      whole(each.p50Ms),
      whole(each.p99Ms),
      whole(each.podSeconds) + (each.podSeconds === least ? " *" : "  "),
      whole(each.maxPods),
      whole(each.decisions),
    ]);
  });
  const widths = COLUMNS.map((column, i) => Math.max(column.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (i < 2 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [line(COLUMNS), rule, ...rows.map(line)].join("\n");
};

const whole = (value: number): string => Math.round(value).toLocaleString("en-GB");

/** Where predictive is late less often than each of the others, and where it costs no more than the cheapest of them. */
export const verdictOf = (reports: readonly Report[]): string[] => {
  const lines: string[] = [];
  for (const { load, policies } of reports) {
    const own = policies.find((each) => each.policy === "predictive");
    const others = policies.filter((each) => each.policy !== "predictive");
    if (own === undefined || others.length === 0) continue;
    const fewest = Math.min(...others.map((each) => each.late));
    const least = Math.min(...others.map((each) => each.podSeconds));
    const least2 = Math.min(...others.filter((each) => each.late === fewest).map((each) => each.podSeconds));
    const late =
      own.late < fewest
        ? "fewer late calls than each"
        : own.late === fewest
          ? "as few late calls as the best"
          : "more late calls than the best";
    const cost = `${percent(own.podSeconds, least)} of the cheapest one's pod-seconds, ${percent(own.podSeconds, least2)} of those of the one that is late least`;
    lines.push(`${load}: predictive has ${late} of the others (${own.late} against ${fewest}), at ${cost}`);
  }
  return lines;
};

const percent = (part: number, of: number): string => (of === 0 ? "–" : `${Math.round((100 * part) / of)} %`);
