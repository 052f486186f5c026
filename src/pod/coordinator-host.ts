/**
 * The coordinator host: executes coordinators' code in this pod, for the first time or from their journals.
 *
 * Owns: the coordinators that live here and how far each has come. Does not own: what their commands lead to (the run machine).
 */
import type { CoordinatorDefinition } from "../application/definitions.ts";
import { ChurnMap } from "../lib/churn-map.ts";
import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { Instance, type InstanceLimits } from "./coordinator-instance.ts";

export interface HostPort {
  send(message: FromPod): void;
  /** Asks for `flush` at the end of this turn. */
  schedule(): void;
  /** Tells the liveness thread which run executes now. */
  executing(run: RunId): void;
  /** Runs the callback after all microtasks, in the order of the calls. Default: setImmediate. */
  later?(callback: () => void): void;
}

export class CoordinatorHost {
  readonly #coordinators: Map<string, CoordinatorDefinition>;
  readonly #limits: InstanceLimits;
  readonly #port: HostPort;
  readonly #instances = new ChurnMap<RunId, Instance>();
  #dirty = new Set<Instance>();
  #isClaimed = false;
  #isScheduling = false;

  constructor(coordinators: Map<string, CoordinatorDefinition>, limits: InstanceLimits, port: HostPort) {
    this.#coordinators = coordinators;
    this.#limits = limits;
    this.#port = port;
  }

  /** Called once for each batch of messages: between two batches all that the first set off has run. */
  nextBatch(): void {
    this.#isClaimed = false;
  }

  begin(message: ToPod & { t: "begin" }): void {
    const definition = this.#coordinators.get(message.name);
    if (definition === undefined) {
      this.#port.send({ t: "commands", run: message.run, commands: [{ t: "finish", failure: unknownCoordinator(message.name) }] });
      return;
    }
    const instance = new Instance(definition, message, this.#limits, {
      changed: (changed) => {
        this.#dirty.add(changed);
        this.#schedule();
      },
      executing: () => {
        this.#port.executing(message.run);
        this.#schedule();
      },
      claim: () => this.#claim(),
      later: (callback) => this.#later(callback),
      diverged: (failure) => {
        this.#instances.delete(message.run);
        this.#port.send({ t: "diverged", run: message.run, failure: JSON.stringify(failure) });
      },
      crashed: (ending) => {
        this.#instances.delete(message.run);
        this.#port.send({ t: "commands", run: message.run, commands: [ending] });
      },
    });
    this.#instances.get(message.run)?.abandon();
    this.#instances.set(message.run, instance);
    this.#start(instance);
  }

  /**
   * Replays a journal, and tells whether the code could go on from there. Nothing of it acts: commands and lines are held back until the
   * history was replayed, steps await a permission that doesn't come, and then it is over.
   */
  rehearse(message: ToPod & { t: "rehearse" }): void {
    const { run, name, history } = message;
    let isOver = false;
    const answer = (failure?: Failure): void => {
      if (isOver) return;
      isOver = true;
      this.#port.send({ t: "rehearsed", run, failure: failure === undefined ? "" : JSON.stringify(failure) });
    };
    const definition = this.#coordinators.get(name);
    if (definition === undefined) return answer(unknownCoordinator(name));
    // There is nothing yet that the code could contradict.
    if (history.length === 0) return answer();
    const instance: Instance = new Instance(definition, { ...message, t: "begin" }, this.#limits, {
      changed: ({ replaying }) => {
        if (replaying) return;
        instance.abandon();
        answer();
      },
      executing: () => {
        this.#port.executing(run);
        this.#schedule();
      },
      claim: () => this.#claim(),
      later: (callback) => this.#later(callback),
      diverged: answer,
      crashed: (ending) => answer(ending.t === "finish" ? ending.failure : undefined),
    });
    this.#start(instance);
  }

  deliver(run: RunId, record: JournalRecord): void {
    this.#instances.get(run)?.take(record);
  }

  /** Answers once the coordinator has acted on all that it was given; not at all when it goes on with something then. */
  ask(run: RunId, at: number): void {
    this.#instances.get(run)?.whenIdle(() => this.#port.send({ t: "waits", run, at }));
  }

  permit(run: RunId, seq: number): void {
    this.#instances.get(run)?.permit(seq);
  }

  evict(run: RunId): void {
    this.#instances.get(run)?.abandon();
    this.#instances.delete(run);
  }

  /** Sends what the coordinators of this turn have commanded and logged. */
  flush(): void {
    for (const instance of this.#dirty) {
      const { commands, lines } = instance.takeOutput();
      if (lines.length > 0) this.#port.send({ t: "lines", run: instance.run, lines });
      if (commands.length > 0) this.#port.send({ t: "commands", run: instance.run, commands });
    }
    // A set that is emptied keeps what it held alive for a while (churn-map.ts).
    this.#dirty = new Set();
  }

  #start(instance: Instance): void {
    if (this.#claim()) instance.start();
    else this.#later(() => instance.start());
  }

  // What one coordinator sets off runs in microtasks. Were two of them given something in one turn, the liveness thread could not tell which
  // of them keeps the pod busy, and the wrong one would be held to be stuck.
  #claim(): boolean {
    if (this.#isClaimed) return false;
    this.#isClaimed = true;
    return true;
  }

  #later(callback: () => void): void {
    if (this.#port.later === undefined) setImmediate(callback);
    else this.#port.later(callback);
  }

  // Not before the whole batch was taken, so that the turns it asked for come first and one flush serves them all. It also ends the turn of
  // a coordinator that has nothing to say.
  #schedule(): void {
    if (this.#isScheduling) return;
    this.#isScheduling = true;
    queueMicrotask(() => {
      this.#isScheduling = false;
      this.#port.schedule();
    });
  }
}

const unknownCoordinator = (name: string): Failure => ({
  code: "UNKNOWN_COORDINATOR",
  message: name.includes("/") ? `this version has no recovery of "${name}"` : `this version has no coordinator "${name}"`,
});
