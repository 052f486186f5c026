/**
 * Keeps a platform under load while its pods and its control plane are killed by chance, and checks afterwards that no promise was broken.
 *
 * Usage: node scripts/soak.ts [--rounds 300] [--seed N] [--lanes 16] [--json], after a build. Ends with 1 when something was broken.
 */
import { runSoak } from "./soak/command.ts";
import { textOf } from "./soak/report.ts";
import { soak } from "./soak/soak.ts";

await runSoak({ defaults: { rounds: 300, lanes: 16 }, soak, textOf });
