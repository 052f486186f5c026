/** One soak: load, havoc, and the examination afterwards. */
import { join } from "node:path";
import { seeded } from "../../src/lib/random.ts";
import { createSandbox } from "../../test/support/sandbox.ts";
import { Books } from "./books.ts";
import { wreakHavoc } from "./chaos.ts";
import { examine } from "./inquest.ts";
import { Load } from "./load.ts";
import { Puts } from "./puts.ts";
import { quantile, type SoakReport, Violations } from "./report.ts";
import { World } from "./world.ts";

export interface SoakOptions {
  /** The same seed asks for the same work and the same kills; what they hit depends on time. */
  seed: number;
  /** Kills of pods and control planes together. */
  rounds: number;
  /** Runs in flight. Default 16. */
  lanes?: number;
  /** Told now and then how it goes. */
  say?(line: string): void;
}

const APPLICATION = join(import.meta.dirname, "../../test/apps/soak");
const WRITERS = 4;
const SAY_EVERY = 25;

export const soak = async ({ seed, rounds, lanes = 16, say = () => undefined }: SoakOptions): Promise<SoakReport> => {
  const startedAt = performance.now();
  const random = seeded(seed);
  const sandbox = createSandbox();
  const violations = new Violations((text) => say(`violation: ${text}`));
  const world = new World(sandbox, violations);
  try {
    await world.start(APPLICATION);
    const effects = sandbox.path("effects");
    const load = new Load(world, effects, violations);
    const puts = new Puts(world, violations);
    load.start(lanes, random);
    puts.start(WRITERS, random);
    const kills = await wreakHavoc(world, random, {
      rounds,
      progress: (round) => {
        if (round % SAY_EVERY === 0) say(`${round} of ${rounds} kills, ${load.seen.size} runs accepted`);
      },
    });
    await puts.stop();
    await load.stop();
    const books = new Books();
    const { executions, children, finished } = await examine(world, load, { effectsFile: effects, books, violations });
    await books.compare(world.client, violations);
    await puts.examine(books.arrivals);
    await world.stop();
    if (world.repaired > 0) violations.add(`the auditor mended ${world.repaired} runs`);
    return {
      seed,
      seconds: Math.round((performance.now() - startedAt) / 1_000),
      kills,
      runs: { accepted: load.seen.size, finished, children, unanswered: load.unanswered, resumed: load.resumed },
      executions,
      puts: { accepted: puts.count, unanswered: puts.unanswered },
      state: books.figures,
      recoveryMs: { median: quantile(world.recoveries, 0.5), p95: quantile(world.recoveries, 0.95), most: quantile(world.recoveries, 1) },
      auditRepairs: world.repaired,
      violations: violations.list(),
    };
  } finally {
    await sandbox.dispose();
  }
};
