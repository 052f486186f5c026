/** Plays a scene under load, and tells what came of it. */
import type { FaultView } from "../../src/protocol/faults.ts";
import { until } from "../demo/checks.ts";
import type { DemoPlatform } from "../demo/platform.ts";
import { moreOf, startLoad } from "./load.ts";
import { observed, type Seen } from "./report.ts";
import type { Harm } from "./scenes.ts";

const BEFORE = 40;
const AFTER = 40;
/** A fault that nobody notices is given up after this time. */
const UNNOTICED_MS = 3_000;
const REPAIRED_MS = 30_000;

export class Study {
  readonly #platform: DemoPlatform;
  readonly #applications: readonly string[];
  #played = 0;

  constructor(platform: DemoPlatform, applications: readonly string[]) {
    this.#platform = platform;
    this.#applications = applications;
  }

  /** @param fn `certified` or `plain` */
  async play(fn: string, harm: Harm): Promise<Seen> {
    const { client } = this.#platform;
    await this.#isReady(fn);
    const load = startLoad(client, fn, `${fn}-${++this.#played}`);
    await moreOf(load, BEFORE);
    const { at, fault } =
      harm === "restart" ? await this.#restart() : harm === "corrupt" ? await this.#corrupt(fn) : await this.#drill(fn, harm);
    await moreOf(load, AFTER);
    await load.stop();
    if (harm === "corrupt") await this.#replacePods(fn);
    return observed(load, at, fault);
  }

  /** Alone, a first call makes its pods; a set that has just been mended is waited for. */
  async #isReady(fn: string): Promise<void> {
    const { client } = this.#platform;
    await (await client.startFunction(fn, { a: 0, b: 0 })).result({ timeoutMs: REPAIRED_MS });
    await until(
      "every seat has a replica that works",
      async () => (await client.replicaSets()).every(({ serving, replicas }) => serving === replicas.length) || undefined,
      REPAIRED_MS,
    );
  }

  async #drill(fn: string, kind: Exclude<Harm, "corrupt" | "restart">): Promise<{ at: number; fault: FaultView | undefined }> {
    const { client } = this.#platform;
    const { at, pod } = await client.drill({ kind, function: fn });
    return { at, fault: await this.#repairOf((fault) => fault.pod === pod && fault.detectedAt >= at) };
  }

  async #restart(): Promise<{ at: number; fault: FaultView | undefined }> {
    const at = Date.now();
    await this.#platform.kill();
    await this.#platform.start(this.#applications);
    return { at, fault: await this.#repairOf(({ type, detectedAt }) => type === "IV" && detectedAt >= at) };
  }

  async #corrupt(fn: string): Promise<{ at: number; fault: FaultView | undefined }> {
    const { client } = this.#platform;
    const at = Date.now();
    await (await client.startFunction(fn, { a: 0, b: 0, corrupt: true })).result({ timeoutMs: REPAIRED_MS });
    const fault = await until("it is noticed", () => this.#faultOf((one) => one.detectedAt >= at), UNNOTICED_MS).catch(() => undefined);
    return { at, fault };
  }

  #repairOf(isIt: (fault: FaultView) => boolean): Promise<FaultView> {
    return until(
      "the fault is repaired",
      async () => {
        const fault = await this.#faultOf(isIt);
        return fault?.repairedAt === undefined ? undefined : fault;
      },
      REPAIRED_MS,
    );
  }

  async #faultOf(isIt: (fault: FaultView) => boolean): Promise<FaultView | undefined> {
    return (await this.#platform.client.faults(50)).find(isIt);
  }

  /** The corrupted pod would answer the next scene too. */
  async #replacePods(fn: string): Promise<void> {
    const { client } = this.#platform;
    for (const { id, role } of await client.pods()) if (role === fn) await client.cluster.deletePod(id);
  }
}
