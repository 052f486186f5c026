/**
 * Keeps a platform under load while its pods and its control plane are killed by chance, and checks afterwards that no promise was broken.
 *
 * Usage: node scripts/soak.ts [--rounds 300] [--seed N] [--lanes 16] [--json], after a build. Ends with 1 when something was broken.
 */
import { parseArgs } from "node:util";
import { textOf } from "./soak/report.ts";
import { soak } from "./soak/soak.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "300" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    lanes: { type: "string", default: "16" },
    json: { type: "boolean", default: false },
  },
});

const numberOf = (name: "rounds" | "seed" | "lanes"): number => {
  const number = Number(values[name]);
  if (Number.isInteger(number) && number >= 0) return number;
  console.error(`soak: --${name} must be a whole number, not ${values[name]}`);
  process.exit(2);
};

// What was started and written ends with this process, if it ends in order.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));

const seed = numberOf("seed");
console.error(`soak: seed ${seed}`);
const report = await soak({ seed, rounds: numberOf("rounds"), lanes: numberOf("lanes"), say: (line) => console.error(`soak: ${line}`) });
console.log(values.json ? JSON.stringify(report, undefined, 2) : textOf(report));
process.exit(report.violations.length === 0 ? 0 : 1);
