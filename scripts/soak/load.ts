/** The load: lanes that start runs one after the other, signal them, wait for them, and look at finished ones again. */
import { setTimeout as delay } from "node:timers/promises";
import type { ClientRun, RunOutcome } from "lockstep/client";
import type { Random } from "../../src/lib/random.ts";
import { seeded } from "../../src/lib/random.ts";
import type { Violations } from "./report.ts";
import type { Task } from "./task.ts";
import { drawTask } from "./workload.ts";
import type { World } from "./world.ts";

/** A run that was accepted, and what was seen of it. */
export interface Seen {
  task: Task;
  /** The first outcome that was seen, as JSON. */
  outcome: string | undefined;
}

/** What waits for ever, until it is cancelled. */
export const CANCELLED: ReadonlySet<string> = new Set(["cancelled", "saga-cancelled"]);

const OUTCOME_WITHIN_MS = 60_000;
const RECONNECT_MS = 50;
const OPERATE_EVERY_MS = 200;

export class Load {
  readonly seen = new Map<string, Seen>();
  /** Starts without a key whose answer was lost: accepted or not, nobody knows. */
  unanswered = 0;
  resumed = 0;
  readonly #world: World;
  readonly #effects: string;
  readonly #violations: Violations;
  #stopping = false;
  #stopped = false;
  #operator: Promise<void> = Promise.resolve();
  #lanes: Promise<void>[] = [];

  constructor(world: World, effects: string, violations: Violations) {
    this.#world = world;
    this.#effects = effects;
    this.#violations = violations;
  }

  start(lanes: number, random: Random): void {
    this.#lanes = Array.from({ length: lanes }, (_, lane) => this.#lane(lane, seeded(random.below(2 ** 31))));
    this.#operator = this.#operate();
  }

  /** Lets the lanes finish the runs that they have started, and ends those whose starts got no answer. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#lanes);
    const { client } = this.#world;
    for await (const { id, name } of client.runs({ status: ["running", "waiting", "suspended"] })) {
      if (name === "signalled") await client.run(id).signal("go", 0);
      if (CANCELLED.has(name)) await client.run(id).cancel("the soak is over");
    }
    for await (const { id } of client.runs({ status: ["running", "waiting", "suspended"] })) await this.#outcome(client.run(id));
    this.#stopped = true;
    await this.#operator;
  }

  /** A call whose pods were killed five times waits for an operator: that is us. */
  async #operate(): Promise<void> {
    while (!this.#stopped) {
      await delay(OPERATE_EVERY_MS);
      try {
        for await (const { id } of this.#world.client.runs({ status: "suspended" })) {
          await this.#world.client.run(id).resume();
          this.resumed++;
        }
      } catch (error) {
        // Lost connections are what this is about, and a run may go on, or end, while we look.
        const { code, message } = error as { code: string; message: string };
        if (!["NOT_CONNECTED", "RUN_NOT_SUSPENDED", "RUN_FINISHED"].includes(code)) this.#violations.add(`resume: ${code} ${message}`);
      }
    }
  }

  async #lane(lane: number, random: Random): Promise<void> {
    for (let i = 0; !this.#stopping; i++) {
      const task = drawTask(random, this.#effects);
      try {
        const run = await this.#accepted(task, random.below(2) === 0 ? `${lane}/${i}` : undefined);
        if (run === undefined) continue;
        if (task.signal !== undefined) await this.#tell(random, 2_500, () => run.signal("go", task.signal), true);
        if (task.status === "cancelled") await this.#tell(random, 200, () => run.cancel("by chance"));
        await this.#observe(run, task);
        if (random.below(4) === 0) await this.#lookAgain(random);
      } catch (error) {
        this.#violations.add(`${task.kind} ${task.name}: ${(error as { code?: string }).code ?? ""} ${(error as Error).message}`);
      }
    }
  }

  async #accepted(task: Task, key: string | undefined): Promise<ClientRun | undefined> {
    for (;;) {
      try {
        const run = await start(this.#world, task, key);
        // With a key a second request may find what the first one started; without, an id is new.
        if (this.seen.has(run.id)) this.#violations.add(`${run.id} was given to two starts`);
        this.seen.set(run.id, { task, outcome: undefined });
        return run;
      } catch (error) {
        if (!isLost(error)) throw error;
        if (key === undefined && mayHaveArrived(error)) {
          this.unanswered++;
          return undefined;
        }
        await delay(RECONNECT_MS);
      }
    }
  }

  /** Tells the platform something after a while, again and again until it has answered. @param goesOn whether the run ends by it */
  async #tell(random: Random, longestMs: number, tell: () => Promise<void>, goesOn = false): Promise<void> {
    await delay(random.below(random.below(3) === 0 ? longestMs : 100));
    for (let mayHaveCome = false; ; mayHaveCome = true) {
      try {
        return await tell();
      } catch (error) {
        // It may have arrived: a second cancellation changes nothing, a second signal waits in vain, or finds that the run has gone on to its end.
        if (mayHaveCome && goesOn && (error as { code?: string }).code === "RUN_FINISHED") return;
        if (!isLost(error)) throw error;
        await delay(RECONNECT_MS);
      }
    }
  }

  async #observe(run: ClientRun, task: Task): Promise<void> {
    const outcome = await this.#outcome(run);
    this.seen.set(run.id, { task, outcome: JSON.stringify(outcome) });
    if (outcome.status !== task.status) {
      this.#violations.add(`${run.id} (${task.name}) is ${outcome.status}: ${JSON.stringify(outcome.failure)}`);
    }
  }

  async #outcome(run: ClientRun): Promise<RunOutcome> {
    const giveUpAt = performance.now() + OUTCOME_WITHIN_MS;
    for (;;) {
      const outcome = await run.outcome({ timeoutMs: OUTCOME_WITHIN_MS }).catch((error: Error) => {
        // On a busy machine the next control plane takes longer to come than the client is patient.
        if (!isLost(error) || performance.now() > giveUpAt) throw error;
        return undefined;
      });
      if (outcome !== undefined && outcome.status !== "suspended") return outcome;
      await delay(OPERATE_EVERY_MS);
    }
  }

  /** A result that was seen once never changes. */
  async #lookAgain(random: Random): Promise<void> {
    const ids = [...this.seen.keys()];
    const id = ids[random.below(ids.length)] as string;
    const before = this.seen.get(id)?.outcome;
    if (before === undefined) return;
    const now = JSON.stringify(
      await this.#world.client
        .run(id)
        .outcome({ timeoutMs: OUTCOME_WITHIN_MS })
        .catch((error: Error) => error.message),
    );
    if (now !== before && !/NOT_CONNECTED|no platform|connection/.test(now)) this.#violations.add(`${id} was ${before} and is ${now} now`);
  }
}

const start = ({ client }: World, { kind, name, input }: Task, key: string | undefined): Promise<ClientRun> => {
  const options = key === undefined ? {} : { key };
  if (kind === "expression") return client.startExpression(name, input as Record<string, unknown>, options);
  return kind === "function" ? client.startFunction(name, input, options) : client.start(name, input, options);
};

const isLost = (error: unknown): boolean => (error as { code?: string }).code === "NOT_CONNECTED";

const mayHaveArrived = (error: unknown): boolean => (error as { details?: { arrived?: boolean } }).details?.arrived !== false;
