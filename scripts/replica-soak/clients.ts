/** Clients that ask one thing after the other, over HTTP, and write down what they have seen and when. */
import { setTimeout as delay } from "node:timers/promises";
import type { Client, ClientRun, RunOutcome } from "lockstep/client";
import { type Random, seeded } from "../../src/lib/random.ts";
import type { Violations } from "../soak/report.ts";
import type { World } from "../soak/world.ts";
import { ACCOUNTS, drawEntry, type Entry, exchanged, REFUSALS, type Told } from "./bank.ts";
import type { Call } from "./history.ts";

/** For what waits for ever: beyond f faults, calls wait for as long as the repair takes. */
const PATIENCE_MS = 60_000;
/** Those who give up sooner, and never learn what became of their call. */
const IMPATIENCE_MS = 120;
const IMPATIENT_ONE_IN = 50;
/** More of them make the history a riddle. */
const MOST_UNANSWERED = 6;
const EXCHANGE_ONE_IN = 8;
const KEYED_ONE_IN = 2;
const RECONNECT_MS = 50;

export class Clients {
  /** What was seen since the last `take`. */
  #calls: Call[] = [];
  #unanswered = 0;
  /** Of functions without state: their results are the same at any time. */
  exchanged = 0;
  answered = 0;
  refused = 0;
  readonly #world: World;
  readonly #violations: Violations;
  readonly #random: Random;
  #isOver = false;
  #clients: Promise<void>[] = [];
  #round = 0;

  constructor(world: World, violations: Violations, random: Random) {
    this.#world = world;
    this.#violations = violations;
    this.#random = random;
  }

  start(count: number): void {
    this.#isOver = false;
    this.#round++;
    this.#clients = Array.from({ length: count }, (_, i) => this.#client(`client ${i}`, seeded(this.#random.below(2 ** 31))));
  }

  /** Resolves when each of them has its last answer, or has given up. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
  }

  /** What was seen since this was asked last. */
  take(): Call[] {
    const calls = this.#calls;
    this.#calls = [];
    this.#unanswered = 0;
    return calls;
  }

  /** One entry, by a caller who waits. */
  async enter(caller: string, entry: Entry, key?: string): Promise<void> {
    await this.#record(caller, entry, (client) => start(client, entry, key), false);
  }

  /** The balances, which nobody changes now. */
  async balances(): Promise<Map<string, number>> {
    const balances = new Map<string, number>();
    for (const account of ACCOUNTS) balances.set(account, await this.#world.client.call<number>("books", { do: "balance", account }));
    return balances;
  }

  async #client(name: string, random: Random): Promise<void> {
    for (let n = 0; !this.#isOver; n++) {
      const key = random.below(KEYED_ONE_IN) === 0 ? `${this.#round}/${name}/${n}` : undefined;
      try {
        if (random.below(EXCHANGE_ONE_IN) === 0) await this.#exchange(random);
        else {
          const entry = drawEntry(random);
          await this.#record(name, entry, (client) => start(client, entry, key), random.below(IMPATIENT_ONE_IN) === 0);
        }
      } catch (error) {
        this.#violations.add(`${name}: ${codeOf(error)} ${(error as Error).message}`);
        await delay(RECONNECT_MS);
      }
    }
  }

  async #record(caller: string, input: Entry, begun: (client: Client) => Promise<ClientRun>, isImpatient: boolean): Promise<void> {
    const begin = performance.now();
    let run: ClientRun | undefined;
    const lost = (): void => {
      this.#unanswered++;
      const end = Number.POSITIVE_INFINITY;
      this.#calls.push({ caller, input, output: undefined, begin, end, maybe: true, ...(run === undefined ? {} : { run: run.id }) });
    };
    try {
      run = await begun(this.#world.client);
    } catch (error) {
      if (codeOf(error) !== "NOT_CONNECTED") throw error;
      await delay(RECONNECT_MS);
      // What has not arrived has not happened.
      return (error as { details?: { arrived?: boolean } }).details?.arrived === false ? undefined : lost();
    }
    const patienceMs = isImpatient && this.#unanswered < MOST_UNANSWERED ? IMPATIENCE_MS : PATIENCE_MS;
    const outcome = await outcomeOf(run, patienceMs);
    if (outcome === undefined && patienceMs === PATIENCE_MS)
      this.#violations.add(`${run.id} (${JSON.stringify(input)}) has no answer after ${PATIENCE_MS} ms`);
    const output = outcome === undefined ? undefined : toldOf(outcome);
    if (output === undefined) {
      if (outcome !== undefined) this.#violations.add(`${run.id} (${JSON.stringify(input)}) is ${JSON.stringify(outcome)}`);
      return lost();
    }
    if ("value" in output) this.answered++;
    else this.refused++;
    this.#calls.push({ caller, input, output, begin, end: performance.now(), run: run.id });
  }

  async #exchange(random: Random): Promise<void> {
    const input = { amount: random.below(10_000), rate: 5_000 + random.below(20_000) };
    const run = await this.#world.client.startFunction("exchange", input).catch((error: unknown) => {
      if (codeOf(error) !== "NOT_CONNECTED") throw error;
      return undefined;
    });
    if (run === undefined) return delay(RECONNECT_MS);
    const outcome = await outcomeOf(run, PATIENCE_MS);
    const [is, should] = [JSON.stringify(outcome?.value), JSON.stringify({ amount: exchanged(input) })];
    if (is === should) this.exchanged++;
    else this.#violations.add(`${run.id}: exchange of ${JSON.stringify(input)} is ${JSON.stringify(outcome)}, and must be ${should}`);
  }
}

const start = (client: Client, entry: Entry, key: string | undefined): Promise<ClientRun> => {
  const options = key === undefined ? {} : { key };
  if (entry.do !== "payment") return client.startFunction("books", entry, options);
  const { do: _, ...order } = entry;
  return client.start("payment", order, options);
};

/** `undefined` when it is not there in time. */
const outcomeOf = async (run: ClientRun, patienceMs: number): Promise<RunOutcome | undefined> => {
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    try {
      return await run.outcome({ timeoutMs: Math.max(1, giveUpAt - performance.now()) });
    } catch (error) {
      if (codeOf(error) === "WAIT_TIMEOUT") return undefined;
      if (codeOf(error) !== "NOT_CONNECTED") throw error;
      if (performance.now() > giveUpAt) return undefined;
      await delay(RECONNECT_MS);
    }
  }
};

/** `undefined` for an end that no entry has by itself. */
const toldOf = ({ status, value, failure }: RunOutcome): Told | undefined => {
  if (status === "completed") return { value };
  if (status !== "failed" || failure === undefined || !REFUSALS.has(failure.code)) return undefined;
  return { failure: { code: failure.code, message: failure.message } };
};

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? "";
