/** The command line of a soak. */
import { parseArgs } from "node:util";

export interface SoakCommand<Name extends string, Report extends { violations: readonly string[] }> {
  /** Its options beside `--seed` and `--json`: whole numbers, with their defaults. */
  defaults: Readonly<Record<Name, number>>;
  soak(options: Record<NoInfer<Name> | "seed", number> & { say(line: string): void }): Promise<Report>;
  textOf(report: Report): string;
}

/** Runs it, prints its report, and ends this process: with 1 when something was broken, with 2 for an option that is none. */
export const runSoak = async <Name extends string, Report extends { violations: readonly string[] }>({
  defaults,
  soak,
  textOf,
}: SoakCommand<Name, Report>): Promise<never> => {
  const numbers: Record<string, number> = { ...defaults, seed: Date.now() % 1_000_000 };
  const { values } = parseArgs({
    options: {
      ...Object.fromEntries(Object.keys(numbers).map((name) => [name, { type: "string" } as const])),
      json: { type: "boolean", default: false },
    },
  });
  const given = values as Record<string, string | boolean | undefined>;
  for (const name of Object.keys(numbers)) if (given[name] !== undefined) numbers[name] = numberOf(name, given[name]);
  // What was started and written ends with this process, if it ends in order.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));
  const startedAt = performance.now();
  const say = (line: string): void => console.error(`soak ${((performance.now() - startedAt) / 1_000).toFixed(1)} s: ${line}`);
  const options = numbers as Record<Name | "seed", number>;
  say(`seed ${options.seed}`);
  const report = await soak({ ...options, say });
  console.log(values.json === true ? JSON.stringify(report, undefined, 2) : textOf(report));
  process.exit(report.violations.length === 0 ? 0 : 1);
};

const numberOf = (name: string, given: string | boolean): number => {
  const number = Number(given);
  if (Number.isInteger(number) && number >= 0) return number;
  console.error(`soak: --${name} must be a whole number, not ${given}`);
  process.exit(2);
};
