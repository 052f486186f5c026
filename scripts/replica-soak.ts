/**
 * Keeps replica sets under load while replicas lie and die, leaders tell different things to different replicas, control planes are killed and
 * versions are deployed, and checks after each round that no promise was broken.
 *
 * Usage: node scripts/replica-soak.ts [--rounds 10] [--seed N] [--clients 6] [--json], after a build. Ends with 1 when something was broken.
 */
import { parseArgs } from "node:util";
import { textOf } from "./replica-soak/report.ts";
import { soakReplicas } from "./replica-soak/soak.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    clients: { type: "string", default: "6" },
    json: { type: "boolean", default: false },
  },
});

const numberOf = (name: "rounds" | "seed" | "clients"): number => {
  const number = Number(values[name]);
  if (Number.isInteger(number) && number >= 0) return number;
  console.error(`soak: --${name} must be a whole number, not ${values[name]}`);
  process.exit(2);
};

// What was started and written ends with this process, if it ends in order.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));

const seed = numberOf("seed");
const startedAt = performance.now();
const say = (line: string): void => console.error(`soak ${((performance.now() - startedAt) / 1_000).toFixed(1)} s: ${line}`);
say(`seed ${seed}`);
const report = await soakReplicas({ seed, rounds: numberOf("rounds"), clients: numberOf("clients"), say });
console.log(values.json ? JSON.stringify(report, undefined, 2) : textOf(report));
process.exit(report.violations.length === 0 ? 0 : 1);
