/**
 * Inspection: loads a bundle for the first time, in a pod of its own, as user code may only run there, and asks what it defines.
 *
 * Owns: whose fault it is when no answer comes. Does not own: what is done with the answer (Applications), when a pod hangs (the fleet).
 *
 * I1  A pod that did not start, hung, or was killed from outside says nothing of the application: another one is asked, a few times.
 * I2  The application's time begins when the pod's own thread has beaten: before that the machine has not let it begin.
 */
import type { PodExit } from "../cluster/port.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import { LockstepError } from "../lib/errors.ts";
import type { Bundle, Manifest } from "../protocol/application.ts";
import type { Beat, FromPod } from "../protocol/pod.ts";
import { isOfPlatform } from "../scheduler/exit.ts";
import type { Fleet, Pod, Tenant } from "../scheduler/fleet.ts";

export interface InspectionOptions {
  memoryMb: number;
  /** The longest that an application may take to load. */
  timeoutMs: number;
}

type Outcome = Manifest | LockstepError;

const MOST_PODS = 3;

/** @throws {LockstepError} APPLICATION_INVALID, POD_FAILED_TO_START */
export const inspect = (bundle: Bundle, path: string, fleet: Fleet, clock: Clock, options: InspectionOptions): Promise<Manifest> =>
  new Promise((resolve, reject) => {
    const inspection = new Inspection(bundle, path, fleet, clock, options, (outcome) =>
      outcome instanceof LockstepError ? reject(outcome) : resolve(outcome),
    );
    inspection.begin();
    fleet.expectDemand();
  });

/** The tenant of the pods in which it happens, one after the other. */
class Inspection implements Tenant {
  readonly role = "inspection";
  readonly application: string;
  readonly version: string;
  readonly path: string;
  readonly memoryMb: number;
  readonly #fleet: Fleet;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #done: (outcome: Outcome) => void;
  #isOver = false;
  #tried = 0;
  #pod: Pod | undefined;
  #cancelLate: (() => void) | undefined;

  constructor(
    bundle: Bundle,
    path: string,
    fleet: Fleet,
    clock: Clock,
    { memoryMb, timeoutMs }: InspectionOptions,
    done: (outcome: Outcome) => void,
  ) {
    this.application = bundle.application;
    this.version = bundle.version;
    this.path = path;
    this.memoryMb = memoryMb;
    this.#fleet = fleet;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#done = done;
  }

  begin(): void {
    this.#tried++;
    if (this.#fleet.acquire(this) !== undefined) return;
    this.#end(new LockstepError("POD_FAILED_TO_START", "no pod is free to inspect the application: the machine has as many as it may"));
  }

  connected(pod: Pod): void {
    this.#pod = pod;
    // One that has nothing to do would be ended for whoever wants a pod.
    pod.inFlight = 1;
  }

  message(_pod: Pod, message: FromPod): void {
    if (message.t === "loaded") return this.#end(message.manifest);
    if (message.t !== "refused") return;
    const failure = JSON.parse(message.failure) as Failure;
    this.#end(new LockstepError("APPLICATION_INVALID", failure.message, { details: { failure } }));
  }

  beat(_pod: Pod, { generic }: Beat & { t: "beat" }): void {
    if (generic === true || this.#isOver) return;
    this.#cancelLate ??= this.#clock.after(this.#timeoutMs, () => this.#late());
  }

  gone(_pod: Pod, exit: PodExit): void {
    this.#pod = undefined;
    this.#cancelLate?.();
    this.#cancelLate = undefined;
    if (this.#isOver) return;
    const output = exit.output === "" ? "" : `\n${exit.output}`;
    if (!isOfPlatform(exit)) {
      const ended = `the application ended its pod while it loaded: ${exit.detail}${output}`;
      return this.#end(new LockstepError("APPLICATION_INVALID", ended));
    }
    if (this.#tried < MOST_PODS) return this.begin();
    const failed = `no pod could load the application, and ${this.#tried} were tried: the last one ${howEnded(exit)}${output}`;
    this.#end(new LockstepError("POD_FAILED_TO_START", failed));
  }

  #late(): void {
    this.#end(new LockstepError("APPLICATION_INVALID", `application "${this.application}" did not load within ${this.#timeoutMs} ms`));
  }

  #end(outcome: Outcome): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelLate?.();
    if (this.#pod !== undefined) this.#fleet.end(this.#pod, 0);
    this.#done(outcome);
  }
}

const howEnded = ({ reason, detail }: PodExit): string =>
  reason === "failed-to-start" ? `did not start (${detail})` : reason === "hung" ? "hung" : `was ended from outside (${detail})`;
