/** What the simulator is asked for on the command line. */
import { parseArgs } from "node:util";
import type { PolicyName, ScaleSpec } from "../../src/autoscaler/scale.ts";
import { POLICIES, SCALE_DEFAULTS, scaleProblem } from "../../src/autoscaler/scale.ts";
import type { Half } from "./matrix.ts";
import { HALVES } from "./matrix.ts";
import { InputError } from "./trace.ts";
import type { Distribution, GeneratorName } from "./workload.ts";
import { DISTRIBUTIONS, GENERATORS } from "./workload.ts";

export const HELP = `Simulates autoscaling policies on a trace or on generated load.

  npm run sim:autoscaler -- [options]

What arrives
  --trace FILE          CSV of "timestamp-or-index,count", with or without a header; intervals that are left out are
                        empty, and the calls of one are spread over it evenly at random
  --interval-s N        the time that each count is of (60)
  --scale X             multiplies the counts (1)
  --from N, --to N      only the counts from the Nth on, counted from 0, and before the Mth
  --generator A,B       of ${GENERATORS.join(", ")} (all)
  --rate N              calls per second that the generators' shapes are multiples of (20)
  --duration-s N        of generated load (1800)
  --seed N              (1); seeds N,M,… are added up
What a call costs
  --service-ms N        mean service time (200)
  --distribution D      ${DISTRIBUTIONS.join(", ")} (lognormal)
  --delay-ms N          what each call takes besides (2)
How it is scaled
  --policy A,B          of ${POLICIES.join(", ")} (all)
  --target-ms N         a call that takes longer is late (${SCALE_DEFAULTS.targetMs})
  --start-delay-ms N    from the decision to a pod that is ready (${SCALE_DEFAULTS.startDelayMs})
  --slots N             calls that a pod executes at a time (${SCALE_DEFAULTS.slotsPerPod})
  --min N, --max N      pods (${SCALE_DEFAULTS.min}, ${SCALE_DEFAULTS.max})
  --cool-down-ms N      (${SCALE_DEFAULTS.coolDownMs})
  --target-utilisation  of kpa and hpa (${SCALE_DEFAULTS.targetUtilisation})
  --season-ms N         after how long traffic repeats itself, for predictive (0: it doesn't)
  --tick-ms N           how often the platform measures and the policies are asked (250)
What comes out
  --json                instead of the table
  --matrix HALF         instead of one kind of function many, in the ${HALVES.join(" or the ")} half of loads; traces
                        may be several, FILE,FILE; of all other options only --interval-s, --every and --json count
  --every N             of the matrix, one cell in N (1)
  --plot DIR            writes an SVG of load, pods and response for each load
`;

export interface Arguments {
  readonly isHelp: boolean;
  readonly isJson: boolean;
  readonly plot: string | undefined;
  readonly matrix: Half | undefined;
  readonly every: number;
  readonly trace: string | undefined;
  readonly intervalMs: number;
  readonly factor: number;
  readonly from: number;
  readonly to: number;
  readonly generators: readonly GeneratorName[];
  readonly rate: number;
  readonly durationS: number;
  readonly seeds: readonly number[];
  readonly serviceMs: number;
  readonly distribution: Distribution;
  readonly delayMs: number;
  readonly tickMs: number;
  readonly policies: readonly PolicyName[];
  /** With the first of the policies. */
  readonly spec: ScaleSpec;
}

const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;

const OPTIONS = {
  help: { ...flag, short: "h" },
  json: flag,
  plot: text,
  matrix: text,
  every: text,
  trace: text,
  "interval-s": text,
  scale: text,
  from: text,
  to: text,
  generator: text,
  rate: text,
  "duration-s": text,
  seed: text,
  "service-ms": text,
  distribution: text,
  "delay-ms": text,
  policy: text,
  "target-ms": text,
  "start-delay-ms": text,
  slots: text,
  min: text,
  max: text,
  "cool-down-ms": text,
  "target-utilisation": text,
  "season-ms": text,
  "tick-ms": text,
} as const;

type Name = keyof typeof OPTIONS;
type Values = Partial<Record<Name, string | boolean>>;

/** @throws {InputError} naming the option */
export const readArguments = (argv: readonly string[]): Arguments => {
  const values = parse(argv);
  const number = (name: Name, usual: number, least: number, most = 1e9): number => numberOf(values, name, usual, least, most);
  const trace = values.trace as string | undefined;
  if (trace !== undefined && values.generator !== undefined) throw new InputError("give --trace or --generator, not both");
  if (trace === undefined && (values["interval-s"] ?? values.from ?? values.to) !== undefined) {
    throw new InputError("--interval-s, --from and --to are of a trace: give --trace FILE too");
  }
  const policies = listOf(values, "policy", POLICIES);
  return {
    isHelp: values.help === true,
    isJson: values.json === true,
    plot: values.plot as string | undefined,
    matrix: values.matrix === undefined ? undefined : listOf(values, "matrix", HALVES)[0],
    every: Math.round(number("every", 1, 1)),
    trace,
    intervalMs: number("interval-s", 60, 0.001) * 1_000,
    factor: number("scale", 1, 0),
    from: number("from", 0, 0),
    to: number("to", Number.POSITIVE_INFINITY, 1),
    generators: listOf(values, "generator", GENERATORS),
    rate: number("rate", 20, 0, 100_000),
    durationS: Math.round(number("duration-s", 1_800, 1, 1e6)),
    seeds: seedsOf(values),
    serviceMs: number("service-ms", 200, 0.001),
    distribution: listOf(values, "distribution", DISTRIBUTIONS)[0]!,
    delayMs: number("delay-ms", 2, 0),
    tickMs: number("tick-ms", 250, 1),
    policies,
    spec: specOf(values, policies[0]!),
  };
};

const parse = (argv: readonly string[]): Values => {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: false }).values;
  } catch (error) {
    throw new InputError(`${(error as Error).message} (--help lists the options)`, { cause: error });
  }
};

const specOf = (values: Values, policy: PolicyName): ScaleSpec => {
  const number = (name: Name, field: keyof ScaleSpec): number => numberOf(values, name, SCALE_DEFAULTS[field] as number, 0, 1e9);
  const spec: ScaleSpec = {
    policy,
    min: number("min", "min"),
    max: number("max", "max"),
    targetMs: number("target-ms", "targetMs"),
    coolDownMs: number("cool-down-ms", "coolDownMs"),
    slotsPerPod: number("slots", "slotsPerPod"),
    startDelayMs: number("start-delay-ms", "startDelayMs"),
    targetUtilisation: number("target-utilisation", "targetUtilisation"),
    seasonMs: number("season-ms", "seasonMs"),
  };
  const problem = scaleProblem(spec);
  if (problem !== undefined) throw new InputError(problem);
  return spec;
};

const numberOf = (values: Values, name: Name, usual: number, least: number, most: number): number => {
  const given = values[name];
  if (given === undefined) return usual;
  const value = given === "" ? Number.NaN : Number(given);
  if (value >= least && value <= most) return value;
  throw new InputError(`--${name} must be a number from ${least} to ${most}, not ${JSON.stringify(given)}`);
};

const listOf = <T extends string>(values: Values, name: Name, known: readonly T[]): readonly T[] => {
  const given = values[name];
  if (given === undefined) return known;
  return String(given)
    .split(",")
    .map((each) => {
      const found = known.find((one) => one === each.trim());
      if (found === undefined) throw new InputError(`--${name}: there is no ${JSON.stringify(each)}; use ${known.join(", ")}`);
      return found;
    });
};

const seedsOf = (values: Values): number[] =>
  String(values.seed ?? "1")
    .split(",")
    .map((each) => {
      const seed = each.trim() === "" ? Number.NaN : Number(each);
      if (Number.isInteger(seed)) return seed;
      throw new InputError(`--seed must be whole numbers, separated by commas, not ${JSON.stringify(values.seed)}`);
    });
