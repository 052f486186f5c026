/**
 * Rehearsals: how the unfinished runs of an application would fare under code that is not deployed yet.
 *
 * Owns: the pod of a rehearsal, and its time. Does not own: replay itself (the coordinator host in the pod), deployment (Applications).
 * Nothing of a rehearsal changes a run: histories are read from the journal, and what the pod finds is only told.
 */

import type { Applications } from "../application/service.ts";
import type { PodExit } from "../cluster/port.ts";
import type { Journal, StoredRun } from "../journal/port.ts";
import type { Clock } from "../lib/clock.ts";
import { type Failure, LockstepError } from "../lib/errors.ts";
import type { Bundle, Manifest } from "../protocol/application.ts";
import type { Rehearsal } from "../protocol/control-plane.ts";
import type { Beat, FromPod, ToPod } from "../protocol/pod.ts";
import type { RunFilter, RunKind, RunSummary } from "../protocol/run.ts";
import { isOfPlatform } from "../scheduler/exit.ts";
import type { Fleet, Pod, Tenant } from "../scheduler/fleet.ts";
import { toldHistory } from "./history.ts";
import { aboutOf } from "./recoveries.ts";

export interface RehearsalParts {
  journal: Journal;
  clock: Clock;
  fleet: Fleet;
  applications: Applications;
  /** Resolves when all that has happened is on disk. */
  durable(): Promise<void>;
}

export interface RehearsalOptions {
  memoryMb: number;
  /** The longest that the application may take to load. */
  loadTimeoutMs: number;
  /** The longest that the replay of one run may take. */
  replayTimeoutMs: number;
}

const UNFINISHED: RunFilter["status"] = ["running", "waiting", "suspended"];
const KINDS: readonly RunKind[] = ["coordinator", "recovery"];
const PAGE = 200;
/** Each replay that hangs costs its time limit and a pod: after so many, the coordinator's other runs are taken to hang as well. */
const MAX_HANGS = 3;
/** One that is lost through no fault of the code is followed by another, so many times. */
const MOST_PODS = 3;

export class Rehearsals {
  readonly #parts: RehearsalParts;
  readonly #options: RehearsalOptions;

  constructor(parts: RehearsalParts, options: RehearsalOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** @throws {LockstepError} APPLICATION_INVALID, NAME_TAKEN, POD_FAILED_TO_START */
  async rehearse(given: Bundle): Promise<Rehearsal[]> {
    const { applications, durable } = this.#parts;
    const { bundle, discard } = applications.stage(given);
    const stage = new Stage(() => this.#open(bundle));
    try {
      // Also without any run to replay: whether the application loads at all is the first thing to know.
      applications.check(bundle, await stage.manifest());
      await durable();
      const rehearsals: Rehearsal[] = [];
      const hangs = new Map<string, number>();
      for await (const run of this.#unfinished(bundle.application)) {
        const rehearsal = await this.#replay(stage, run, hangs);
        if (rehearsal !== undefined) rehearsals.push(rehearsal);
      }
      return rehearsals;
    } finally {
      stage.close();
      discard();
    }
  }

  async *#unfinished(application: string): AsyncGenerator<RunSummary> {
    for (const kind of KINDS) {
      let cursor: string | undefined;
      do {
        const page = await this.#parts.journal.list({ kind, status: UNFINISHED }, PAGE, cursor);
        // A recovery is the code of the failed call's function, whose application need not be that of the run.
        for (const run of page.runs) if (this.#parts.applications.applicationOf(run) === application) yield run;
        cursor = page.cursor;
      } while (cursor !== undefined);
    }
  }

  /** `undefined` when the run has finished meanwhile. */
  async #replay(stage: Stage, { id, name, version }: RunSummary, hangs: Map<string, number>): Promise<Rehearsal | undefined> {
    const { journal } = this.#parts;
    const hung = hangs.get(name) ?? 0;
    if (hung >= MAX_HANGS) return { run: id, name, version, failure: stuck(`coordinator "${name}" was not replayed: ${hung} others hung`) };
    const stored = await journal.load(id);
    if (stored === undefined || stored.finishedAt !== undefined) return undefined;
    const [history, about] = await Promise.all([journal.records(id), aboutOf(journal, stored)]);
    const outcome = await stage.replay(rehearseOf(stored, history, about));
    if (outcome.hung) hangs.set(name, hung + 1);
    return outcome.failure === undefined ? { run: id, name, version } : { run: id, name, version, failure: outcome.failure };
  }

  #open(bundle: Bundle): RehearsalPod {
    const { clock, fleet, applications } = this.#parts;
    return new RehearsalPod(bundle, applications.pathOf(bundle.version), this.#options, clock, fleet);
  }
}

const rehearseOf = (
  { id, name, input, acceptedAt }: StoredRun,
  history: (ToPod & { t: "rehearse" })["history"],
  about: (ToPod & { t: "rehearse" })["about"],
): ToPod & { t: "rehearse" } => ({
  t: "rehearse",
  run: id,
  name,
  input,
  acceptedAt,
  ...toldHistory(history, about),
});

const stuck = (message: string): Failure => ({ code: "COORDINATOR_STUCK", message });

/** Pods in which one rehearsal happens, one after the other: one that hung or died is followed by another. */
class Stage {
  readonly #open: () => RehearsalPod;
  #pod: RehearsalPod | undefined;

  constructor(open: () => RehearsalPod) {
    this.#open = open;
  }

  async manifest(): Promise<Manifest> {
    for (let tried = 1; ; tried++) {
      if (this.#pod === undefined || this.#pod.isGone) this.#pod = this.#open();
      const pod = this.#pod;
      try {
        return await pod.loaded;
      } catch (error) {
        // A pod that hung or didn't start says nothing of the application.
        if (!pod.isLost || tried === MOST_PODS) throw error;
      }
    }
  }

  async replay(message: ToPod & { t: "rehearse" }): Promise<{ failure?: Failure; hung: boolean }> {
    for (let tried = 1; ; tried++) {
      await this.manifest();
      const pod = this.#pod!;
      const outcome = await pod.replay(message);
      if (pod.isLost && outcome.hung && tried < MOST_PODS) continue;
      if (outcome.hung) this.close();
      return outcome;
    }
  }

  close(): void {
    this.#pod?.end();
    this.#pod = undefined;
  }
}

class RehearsalPod implements Tenant {
  readonly role = "rehearsal";
  readonly application: string;
  readonly version: string;
  readonly path: string;
  readonly memoryMb: number;
  readonly loaded: Promise<Manifest>;
  readonly #options: RehearsalOptions;
  readonly #clock: Clock;
  readonly #fleet: Fleet;
  #pod: Pod | undefined;
  #isGone = false;
  #isLost = false;
  #isLoaded = false;
  #load!: { resolve(manifest: Manifest): void; reject(error: Error): void };
  #cancelLoad: (() => void) | undefined;
  #waiting: { run: string; answer(failure: Failure | undefined, hung: boolean): void } | undefined;

  constructor(bundle: Bundle, path: string, options: RehearsalOptions, clock: Clock, fleet: Fleet) {
    this.application = bundle.application;
    this.version = bundle.version;
    this.path = path;
    this.memoryMb = options.memoryMb;
    this.#options = options;
    this.#clock = clock;
    this.#fleet = fleet;
    this.loaded = new Promise((resolve, reject) => {
      this.#load = { resolve, reject };
    });
    // It is awaited before anything else is asked; when the rehearsal ends before, nobody does.
    this.loaded.catch(() => undefined);
    this.#pod = fleet.acquire(this);
    fleet.expectDemand();
    const full = "no pod is free to rehearse in: the machine has as many as it may";
    if (this.#pod === undefined) this.#load.reject(new LockstepError("POD_FAILED_TO_START", full));
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** It is gone, and the code in it has nothing to do with that. */
  get isLost(): boolean {
    return this.#isLost;
  }

  replay(message: ToPod & { t: "rehearse" }): Promise<{ failure?: Failure; hung: boolean }> {
    return new Promise((resolve) => {
      const { replayTimeoutMs } = this.#options;
      const cancel = this.#clock.after(replayTimeoutMs, () => {
        this.#waiting?.answer(stuck(`the replay of coordinator "${message.name}" did not end within ${replayTimeoutMs} ms`), true);
      });
      this.#waiting = {
        run: message.run,
        answer: (failure, hung) => {
          this.#waiting = undefined;
          cancel();
          resolve(failure === undefined ? { hung } : { failure, hung });
        },
      };
      if (this.#pod === undefined) this.#waiting.answer({ code: "POD_LOST", message: "the pod of the rehearsal died" }, true);
      else this.#fleet.send(this.#pod, message);
    });
  }

  end(): void {
    this.#cancelLoad?.();
    const pod = this.#pod;
    this.#pod = undefined;
    if (pod === undefined) return;
    pod.inFlight = 0;
    this.#fleet.end(pod, 0);
  }

  connected(pod: Pod): void {
    this.#pod = pod;
    // One that has nothing to do would be ended for whoever wants a pod.
    pod.inFlight = 1;
  }

  message(_pod: Pod, message: FromPod): void {
    if (message.t === "loaded") {
      this.#isLoaded = true;
      this.#cancelLoad?.();
      this.#load.resolve(message.manifest);
    } else if (message.t === "refused") {
      const failure = JSON.parse(message.failure) as Failure;
      this.#load.reject(new LockstepError("APPLICATION_INVALID", failure.message, { details: { failure } }));
    } else if (message.t === "rehearsed" && message.run === this.#waiting?.run) {
      this.#waiting.answer(message.failure === "" ? undefined : (JSON.parse(message.failure) as Failure), false);
    }
  }

  beat(_pod: Pod, { generic }: Beat & { t: "beat" }): void {
    // Its time begins once its own thread beats: before that the machine has not let it begin.
    if (generic === true || this.#isLoaded) return;
    const { loadTimeoutMs } = this.#options;
    const late = `application "${this.application}" did not load within ${loadTimeoutMs} ms`;
    this.#cancelLoad ??= this.#clock.after(loadTimeoutMs, () => this.#load.reject(new LockstepError("APPLICATION_INVALID", late)));
  }

  gone(_pod: Pod, exit: PodExit): void {
    this.#pod = undefined;
    this.#isGone = true;
    this.#isLost = isOfPlatform(exit);
    this.#cancelLoad?.();
    const code = this.#isLost ? "POD_FAILED_TO_START" : "APPLICATION_INVALID";
    this.#load.reject(
      new LockstepError(code, `the application ended its pod: ${exit.detail}${exit.output === "" ? "" : `\n${exit.output}`}`),
    );
    this.#waiting?.answer({ code: "COORDINATOR_CRASHED", message: `the pod died while it replayed this run: ${exit.detail}` }, true);
  }
}
