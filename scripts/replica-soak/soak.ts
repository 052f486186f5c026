/** One soak of replica sets: clients of examples/accounts, harms in random order, and an examination after each round. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Random, seeded } from "../../src/lib/random.ts";
import { createSandbox, type Sandbox } from "../../test/support/sandbox.ts";
import { Violations } from "../soak/report.ts";
import { World } from "../soak/world.ts";
import { ACCOUNTS, type Balances, MONEY, OPENED } from "./bank.ts";
import { Clients } from "./clients.ts";
import { Harms, PLATFORM_HARMS, type PlatformHarm, SET_HARMS, type SetHarm } from "./harms.ts";
import { historyFaults, orderFaults } from "./history.ts";
import { Inquest } from "./inquest.ts";
import { type ReplicaSoakReport, spreadOf } from "./report.ts";
import { type Most, Watch } from "./watch.ts";

export interface ReplicaSoakOptions {
  /** The same seed asks for the same calls and harms; what they hit depends on time. */
  seed: number;
  /** In each one, every harm is done once, and all that was executed is examined. */
  rounds: number;
  /** Default 6. */
  clients?: number;
  /** Harms of a round, in place of all of them: of the set of `books`, of that of `exchange`, of the platform. */
  harms?: { books: readonly SetHarm[]; exchange: readonly SetHarm[]; platform: readonly PlatformHarm[] };
  /** Told how it goes. */
  say?(line: string): void;
}

const APPLICATION = join(import.meta.dirname, "../../examples/accounts");
const ALL = { books: SET_HARMS, exchange: SET_HARMS, platform: PLATFORM_HARMS };
const PLATFORM_HARM_EVERY_MS = 2_500;
const SETTLE_MS = 60_000;
/** Far above what they take, and far below what a leak comes to. */
const BOUNDS: Most = { controlPlaneMb: 700, podMb: 400, files: 400, processes: 40, replicasMb: 200 };

const LIMITS = { podIdleMs: 5_000, maxPods: 40, evictAfterMs: 1_000 };

export const soakReplicas = async (options: ReplicaSoakOptions): Promise<ReplicaSoakReport> => {
  const sandbox = createSandbox();
  try {
    return await new ReplicaSoak(sandbox, options).run();
  } finally {
    await sandbox.dispose();
  }
};

class ReplicaSoak {
  readonly #options: ReplicaSoakOptions;
  readonly #random: Random;
  readonly #sandbox: Sandbox;
  readonly #violations: Violations;
  readonly #world: World;
  readonly #clients: Clients;
  readonly #harms: Harms;
  readonly #say: (line: string) => void;
  #unanswered = 0;
  #undecided = 0;

  constructor(sandbox: Sandbox, options: ReplicaSoakOptions) {
    const { seed, say = () => undefined } = options;
    this.#options = options;
    this.#say = say;
    this.#random = seeded(seed);
    this.#sandbox = sandbox;
    this.#violations = new Violations((text) => say(`violation: ${text}`));
    this.#world = new World(sandbox, this.#violations, { limits: LIMITS, drills: true });
    this.#clients = new Clients(this.#world, this.#violations, seeded(this.#random.below(2 ** 31)));
    this.#harms = new Harms(this.#world, this.#violations, seeded(this.#random.below(2 ** 31)), say);
  }

  async run(): Promise<ReplicaSoakReport> {
    const { seed, rounds } = this.#options;
    const startedAt = performance.now();
    const world = this.#world;
    const watch = new Watch(
      () => this.#sandbox.processes(),
      () => world.pid,
      this.#sandbox.data,
    );
    try {
      await world.start(APPLICATION);
      for (const account of ACCOUNTS) await this.#clients.enter("teller", { do: "open", account, amount: OPENED });
      await world.client.call("exchange", { amount: 1, rate: 10_000 });
      const inquest = new Inquest(this.#violations, readFileSync(join(this.#sandbox.data, "keys", "admin.pub"), "utf8"));
      let balances: Balances = new Map();
      for (let round = 1; round <= rounds; round++) {
        this.#say(`round ${round} of ${rounds}`);
        await this.#hurt();
        balances = await this.#examine(inquest, balances);
        watch.round();
      }
      const unexplained = await this.#harms.unexplained();
      await this.#checkSecrets();
      await this.#stop();
      this.#checkBounds(watch.most);
      const { answered, refused, exchanged } = this.#clients;
      return {
        seed,
        rounds,
        seconds: Math.round((performance.now() - startedAt) / 1_000),
        harms: this.#harms.counts,
        healedMs: Object.fromEntries([...this.#harms.healedMs].map(([harm, values]) => [harm, spreadOf(values)])),
        calls: { answered, refused, exchanged, unanswered: this.#unanswered },
        certificates: inquest.certificates,
        undecided: this.#undecided,
        recoveryMs: spreadOf(world.recoveries),
        most: watch.most,
        ends: watch.rounds,
        unexplained: unexplained.map(
          ({ set, replica, pod, what, detail, detectedAt }) =>
            `${pod} in seat ${replica} of ${set}, ${what}, at ${new Date(detectedAt).toISOString()}: ${detail}`,
        ),
        auditRepairs: world.repaired,
        violations: this.#violations.list(),
      };
    } finally {
      watch.stop();
    }
  }

  async #hurt(): Promise<void> {
    const { clients = 6, harms = ALL } = this.#options;
    this.#clients.start(clients);
    const results = await Promise.allSettled([
      this.#harms.hurtSet("books", shuffled(this.#random, harms.books)),
      this.#harms.hurtSet("exchange", shuffled(this.#random, harms.exchange)),
      this.#harms.hurtPlatform(shuffled(this.#random, harms.platform), PLATFORM_HARM_EVERY_MS),
    ]);
    for (const result of results)
      if (result.status === "rejected") this.#violations.add(`a lane of harms: ${(result.reason as Error).stack}`);
    // What was done last has to heal, too.
    for (const fn of ["books", "exchange"]) await this.#harms.isWhole(fn);
    await this.#clients.stop();
  }

  async #examine(inquest: Inquest, before: Balances): Promise<Balances> {
    const { client } = this.#world;
    await inquest.settle(client, SETTLE_MS);
    const calls = this.#clients.take();
    const placed = await inquest.examine(client);
    this.#unanswered += calls.filter(({ maybe }) => maybe === true).length;
    const { faults, after } = orderFaults(before, placed, calls);
    const searched = historyFaults(before, calls);
    if (searched === "undecided") this.#undecided++;
    for (const fault of [...faults, ...(searched === "undecided" ? [] : searched)]) this.#violations.add(fault);
    const balances = await this.#clients.balances();
    // These calls are not examined again.
    await inquest.examine(client);
    const money = [...balances.values()].reduce((sum, balance) => sum + balance, 0);
    if (money !== MONEY) this.#violations.add(`the accounts have ${money} cents together, not ${MONEY}`);
    for (const [account, balance] of balances) {
      if (after.get(account) !== balance) this.#violations.add(`${account} has ${balance}, and ${after.get(account)} by all certificates`);
    }
    this.#say(`${calls.length} calls examined`);
    return balances;
  }

  /** What people are shown of all this has no secret key in it. */
  async #checkSecrets(): Promise<void> {
    const { client, told } = this.#world;
    const shown = JSON.stringify([
      told,
      await client.replicaSets(),
      await client.faults(1_000),
      await client.pods(),
      await client.logs({}),
    ]);
    for (const file of secretFiles(this.#sandbox.data)) {
      const secret = readFileSync(file, "utf8").trim();
      if (secret.length > 0 && shown.includes(secret)) this.#violations.add(`the secret of ${file} is shown`);
    }
  }

  async #stop(): Promise<void> {
    await this.#world.stop();
    if (this.#world.repaired > 0) this.#violations.add(`the auditor mended ${this.#world.repaired} runs`);
    const processes = this.#sandbox.processes();
    if (processes.length > 0) this.#violations.add(`${processes.length} processes are left at the end`);
    const files = readdirSync(this.#sandbox.temporary, { recursive: true });
    if (files.length > 0) this.#violations.add(`what is left in the temporary folder: ${files.join(", ")}`);
  }

  #checkBounds(most: Most): void {
    for (const key of Object.keys(BOUNDS) as (keyof Most)[]) {
      if (most[key] > BOUNDS[key]) this.#violations.add(`${key} came to ${most[key]}, more than ${BOUNDS[key]}`);
    }
  }
}

const secretFiles = (data: string): string[] =>
  readdirSync(data, { recursive: true, encoding: "utf8" })
    .filter((name) => /(\.secret|\/key)$/.test(name))
    .map((name) => join(data, name));

const shuffled = <T>(random: Random, items: readonly T[]): T[] => {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
};
