/**
 * What coordinators do with the state store: their operations that are under way, and who is told when a value becomes stale.
 *
 * Owns: `Live.operations`, the runs that watch what they have read. Does not own: records of operations (machine.ts), values, transactions
 * and staleness (state service).
 */
import type { RunId } from "../lib/ids.ts";
import type { Space, Staleness, StateOp } from "../protocol/state.ts";
import type { StateService } from "../state/service.ts";
import type { Feed, Live } from "./live.ts";
import type { RunMemory } from "./memory.ts";

export class StateOperations {
  readonly #state: Pick<StateService, "execute">;
  readonly #memory: Pick<RunMemory, "get">;
  readonly #feed: Feed;
  /** Runs in memory that want to know when what they have read becomes stale. */
  readonly #watching = new Set<RunId>();

  constructor(state: Pick<StateService, "execute">, memory: Pick<RunMemory, "get">, feed: Feed) {
    this.#state = state;
    this.#memory = memory;
    this.#feed = feed;
  }

  /** Carries out an operation that was decided, once; its outcome is fed. */
  execute(live: Live, seq: number, op: StateOp): void {
    if (live.state.pending.get(seq)?.t !== "state" || live.operations?.has(seq)) return;
    const { application, id: run, name } = live.head;
    const giveUp = this.#state.execute({ space: application, run, seq, function: name }, op, (outcome) => {
      live.operations?.delete(seq);
      this.#feed(live, { t: "stated", seq, ...outcome });
    });
    live.operations ??= new Map();
    live.operations.set(seq, giveUp);
  }

  /** A write that is held up must not come after what its run does next, and a reader that waits would be left waiting. */
  giveUp(live: Live, seq: number): void {
    live.operations?.get(seq)?.();
    live.operations?.delete(seq);
  }

  /** From now on the run is told of what becomes stale, until it ends or leaves memory. */
  watch(run: RunId): void {
    this.#watching.add(run);
  }

  unwatch(run: RunId): void {
    this.#watching.delete(run);
  }

  /** Tells the runs in memory that have read the key and asked to be told. */
  toldStale(space: Space, key: string, stale: Staleness): void {
    for (const id of this.#watching) {
      const live = this.#memory.get(id);
      if (live === undefined || live.state.finished !== undefined) this.#watching.delete(id);
      else if (live.head.application === space) this.#feed(live, { t: "stale", key, stale });
    }
  }
}
