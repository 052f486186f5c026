/**
 * Keeps replica sets under load while replicas lie and die, leaders tell different things to different replicas, control planes are killed and
 * versions are deployed, and checks after each round that no promise was broken.
 *
 * Usage: node scripts/replica-soak.ts [--rounds 10] [--seed N] [--clients 6] [--json], after a build. Ends with 1 when something was broken.
 */
import { textOf } from "./replica-soak/report.ts";
import { soakReplicas } from "./replica-soak/soak.ts";
import { runSoak } from "./soak/command.ts";

await runSoak({ defaults: { rounds: 10, clients: 6 }, soak: soakReplicas, textOf });
