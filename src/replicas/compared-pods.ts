/**
 * The pods that execute one function's calls twice and are compared. The scheduler takes the whole of them for one pod, and what they agree
 * on for that pod's answer.
 *
 * Owns: their processes, what each has said of calls under way. Does not own: the rules (comparison-machine.ts), layers, leases and time
 * limits (the scheduler), the list of faults (the admin).
 *
 * E1  Inputs of the machine are taken one after the other: what follows from one is done before the next, whoever causes it meanwhile.
 * E2  An attempt that was given up holds its slot until all its executions have ended (S1).
 */
import type { PodExit } from "../cluster/port.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import { lostFailure } from "../scheduler/exit.ts";
import type { Fleet } from "../scheduler/fleet.ts";
import { newPod, type Pod, type Tenant } from "../scheduler/pod.ts";
import { agreedOutcome, type ComparedOutcome, outcomeDifference } from "./compared-outcome.ts";
import { ComparedPod } from "./compared-pod.ts";
import { type ComparisonEffect, type ComparisonInput, ComparisonMachine, PODS_COMPARED } from "./comparison-machine.ts";
import { Timers } from "./timers.ts";

export interface ComparedPodsParts {
  fleet: Pick<Fleet, "acquire" | "send" | "end" | "idle" | "loaded">;
  clock: Clock;
  /** A pod has said what two others contradict; what is returned is called when others have its work. */
  lied(lie: { pod: string; function: string; calls: number; detail: string }): (did: string) => void;
  ended(pods: ComparedPods, exit: PodExit): void;
}

type Invoke = ToPod & { t: "invoke" };
type Result = FromPod & { t: "result" };

interface CallUnderWay {
  readonly invoke: Invoke;
  readonly begunAt: number;
  readonly results: Map<string, { outcome: ComparedOutcome; result: Result }>;
}

const RETRY_MS = 100;
const MOST_RETRY_MS = 5_000;
/** So many pods in a row may end without an answer before the next is asked for later: two calls in a row may have killed theirs. */
const UNLUCKY = 4;
const ENDED: PodExit = { reason: "deleted", memory: false, detail: "no calls", output: "" };

export class ComparedPods {
  /** What the scheduler takes for the pod. */
  readonly pod: Pod;
  readonly #tenant: Tenant;
  readonly #idleMs: number;
  readonly #parts: ComparedPodsParts;
  readonly #machine = new ComparisonMachine();
  readonly #members = new Map<string, ComparedPod>();
  readonly #calls = new Map<number, CallUnderWay>();
  /** Attempts that were given up, and how many executions of each have not ended. */
  readonly #late = new Map<number, { open: number; reason: string }>();
  readonly #inputs: ComparisonInput[] = [];
  readonly #exits = new Map<string, PodExit>();
  readonly #timers: Timers<"acquire" | "end">;
  /** Called when the function has two pods again. */
  #repairs: ((did: string) => void)[] = [];
  #loaded = 0;
  /** Pods in a row that ended before they had answered. */
  #failures = 0;
  #isBusy = false;
  #isOver = false;

  constructor(id: string, tenant: Tenant, idleMs: number, parts: ComparedPodsParts) {
    this.#tenant = tenant;
    this.#idleMs = idleMs;
    this.#parts = parts;
    this.#timers = new Timers(parts.clock);
    this.pod = newPod(id, tenant.memoryMb, parts.clock.now());
    this.pod.tenant = tenant;
  }

  // ---------------------------------------------------------------- as a pod

  /** Asks for the first two. */
  start(): void {
    this.#turn();
  }

  invoke(invoke: Invoke): void {
    this.#timers.cancel("end");
    this.#calls.set(invoke.lease, { invoke, begunAt: this.#parts.clock.now(), results: new Map() });
    this.#step({ t: "call", call: invoke.lease });
  }

  abort({ lease, reason }: ToPod & { t: "abort" }): void {
    if (!this.#calls.delete(lease)) return;
    this.#late.set(lease, { open: 0, reason });
    this.#step({ t: "withdraw", call: lease });
  }

  idle(): void {
    if (this.pod.state === "draining") return this.end();
    this.#timers.after("end", this.#idleMs, () => this.end());
  }

  /** Takes no calls any more, and ends with those that are under way, or after `graceMs`. */
  drain(graceMs: number, reason: PodExit["reason"]): void {
    this.pod.state = "draining";
    if (graceMs === 0 || this.pod.inFlight === 0) return this.end(reason);
    this.#timers.after("end", graceMs, () => this.end(reason));
  }

  end(reason: PodExit["reason"] = "deleted"): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.pod.state = "draining";
    this.#timers.clear();
    for (const { pod } of this.#members.values()) if (pod !== undefined) this.#parts.fleet.end(pod, 0, reason);
    this.#members.clear();
    for (const repaired of this.#repairs) repaired("the function has no pods any more; the next call gets others");
    this.#parts.ended(this, reason === "deleted" ? ENDED : { ...ENDED, reason, detail: "its code did not return" });
  }

  // ---------------------------------------------------------------- turns

  #step(input: ComparisonInput): void {
    this.#inputs.push(input);
    this.#turn();
  }

  #turn(): void {
    if (this.#isBusy || this.#isOver) return;
    this.#isBusy = true;
    while (this.#next() || this.#provide());
    this.#isBusy = false;
    this.#tellState();
  }

  /** Whether there was an input. */
  #next(): boolean {
    const input = this.#inputs.shift();
    if (input === undefined || this.#isOver) return false;
    for (const effect of this.#machine.step(input)) this.#carryOut(effect);
    if (input.t === "withdraw" && this.#late.get(input.call)?.open === 0) this.#released(input.call);
    if (input.t === "left") this.#exits.delete(input.pod);
    return true;
  }

  #carryOut(effect: ComparisonEffect): void {
    if (this.#isOver) return;
    switch (effect.t) {
      case "execute":
        return this.#execute(effect.call, effect.pod);
      case "abort":
        return this.#abort(effect.call, effect.pod);
      case "settled":
        return this.#settle(effect);
      case "diverged":
        return this.#answer(effect.call, { failure: this.#divergence(effect) });
      case "lost":
        return this.#answer(effect.call, { failure: lostFailure(effect.pod, this.#exits.get(effect.pod) ?? ENDED) });
      case "quarantine":
        return this.#quarantine(effect);
    }
  }

  // ---------------------------------------------------------------- pods

  /** Whether one more pod is there, or on its way. */
  #provide(): boolean {
    if (this.#isOver || this.#timers.has("acquire")) return false;
    const coming = this.#members.size - this.#machine.pods.size;
    if (this.#machine.lacking <= coming) return false;
    const member: ComparedPod = new ComparedPod(this.#tenant, this.pod.memoryMb, {
      connected: (pod) => this.#connected(member, pod),
      message: (pod, message) => this.#hear(member, pod, message),
      beat: (pod, { blockedMs }) => member.isStuck(blockedMs) && this.#parts.fleet.end(pod, 0, "killed"),
      gone: (pod, exit) => this.#gone(member, pod, exit),
      held: () => [...member.executing].map((lease) => this.#nameOf(lease)),
    });
    const pod = this.#parts.fleet.acquire(member);
    if (pod === undefined) {
      this.#later();
      return false;
    }
    // A warm one was connected within that.
    member.pod = pod;
    this.#members.set(pod.id, member);
    return true;
  }

  #later(): void {
    const pause = Math.min(MOST_RETRY_MS, RETRY_MS * 2 ** Math.max(0, this.#failures - UNLUCKY));
    this.#timers.after("acquire", pause, () => this.#turn());
  }

  #connected(member: ComparedPod, pod: Pod): void {
    if (this.#isOver) return this.#parts.fleet.end(pod, 0);
    member.pod = pod;
    this.#members.set(pod.id, member);
    this.#step({ t: "joined", pod: pod.id });
  }

  #gone(member: ComparedPod, pod: Pod, exit: PodExit): void {
    for (const lease of member.late) this.#ended(lease);
    if (!this.#members.delete(pod.id)) return;
    if (member.hasAnswered) this.#failures = 0;
    else if (++this.#failures > UNLUCKY || exit.reason === "failed-to-start") this.#later();
    // Others needed the room: pods that have nothing to do don't ask for it back.
    if (this.pod.state === "ready" && this.pod.inFlight + this.pod.zombies === 0) return this.end();
    this.#exits.set(pod.id, exit);
    this.#step({ t: "left", pod: pod.id });
  }

  #tellState(): void {
    const { pod } = this;
    const { size } = this.#machine.pods;
    if (size >= PODS_COMPARED) {
      const names = [...this.#machine.pods.keys()].join(" and ");
      for (const repaired of this.#repairs.splice(0)) repaired(`its calls are compared by ${names}`);
    }
    // Calls that come meanwhile wait in their layer, where they use up no time of theirs.
    if (size < PODS_COMPARED && pod.state === "ready") pod.state = "starting";
    if (size < PODS_COMPARED || pod.state !== "starting") return;
    pod.state = "ready";
    this.#tenant.connected(pod);
    // Whoever wanted them may be gone.
    if (pod.inFlight === 0) this.idle();
  }

  // ---------------------------------------------------------------- executions

  #execute(call: number, id: string): void {
    const invoke = this.#calls.get(call)?.invoke;
    const member = this.#members.get(id);
    const pod = member?.pod;
    // The call was withdrawn, or the pod is gone, and the machine is about to be told.
    if (invoke === undefined || pod === undefined) return;
    member?.executing.add(call);
    pod.inFlight++;
    this.#parts.fleet.send(pod, invoke);
  }

  #abort(call: number, id: string): void {
    const member = this.#members.get(id);
    if (member?.pod === undefined || !member.executing.delete(call)) return;
    member.late.add(call);
    member.pod.zombies++;
    const late = this.#late.get(call);
    if (late !== undefined) late.open++;
    this.#parts.fleet.send(member.pod, { t: "abort", lease: call, reason: late?.reason ?? "the attempt has ended without it" });
    this.#freed(member.pod);
  }

  #freed(pod: Pod): void {
    if (--pod.inFlight === 0) this.#parts.fleet.idle(pod);
  }

  /** An execution that nobody wants any more has ended. */
  #ended(call: number): void {
    const late = this.#late.get(call);
    if (late !== undefined && --late.open === 0) this.#released(call);
  }

  /** All executions of an attempt that was given up have ended: told as a pod tells it, by a result that comes too late. */
  #released(call: number): void {
    this.#late.delete(call);
    if (!this.#isOver) this.#tenant.message(this.pod, resultOf(call, "", ""));
  }

  // ---------------------------------------------------------------- what pods say

  #hear(member: ComparedPod, pod: Pod, message: FromPod): void {
    if (this.#isOver || this.#members.get(pod.id) !== member) return;
    switch (message.t) {
      case "result":
        return this.#heard(member, pod, message);
      case "request":
        return this.#parts.fleet.send(pod, { t: "reply", lease: message.lease, id: message.id, value: "", failure: this.#denial() });
      case "loaded":
        this.#parts.fleet.loaded(pod);
        if (++this.#loaded === PODS_COMPARED) this.#tenant.message(this.pod, message);
        return;
      case "refused":
        return this.#tenant.message(this.pod, message);
      default:
      // Progress would be one pod's word, and given to all that execute the call again.
    }
  }

  #heard(member: ComparedPod, pod: Pod, result: Result): void {
    const { lease } = result;
    member.hasAnswered = true;
    if (member.late.delete(lease)) {
      if (pod.zombies > 0) pod.zombies--;
      return this.#ended(lease);
    }
    if (!member.executing.delete(lease)) return;
    pod.answered++;
    this.#freed(pod);
    const outcome = this.#outcomeOf(result);
    this.#calls.get(lease)?.results.set(pod.id, { outcome, result });
    this.#step({ t: "answered", call: lease, pod: pod.id, outcome });
  }

  #outcomeOf({ value, failure, writes, objects }: Result): ComparedOutcome {
    if (failure !== "") return { failure: JSON.parse(failure) as Failure };
    if (writes !== undefined || objects !== undefined) return { failure: JSON.parse(this.#denial()) as Failure };
    return { value };
  }

  #denial(): string {
    const message = `function "${this.#tenant.role}" can't use state or objects with trust "compare": its calls are executed more than once; give what is needed with the input`;
    const failure: Failure = { code: "ACCESS_DENIED", message, name: "LockstepError", terminal: true };
    return JSON.stringify(failure);
  }

  // ---------------------------------------------------------------- what comes of it

  #settle({ call, pods }: ComparisonEffect & { t: "settled" }): void {
    const [first, second] = pods.map((pod) => this.#calls.get(call)?.results.get(pod));
    if (first !== undefined && second !== undefined) this.#answer(call, agreedOutcome(first.outcome, second.outcome), pods);
  }

  #answer(call: number, { value = "", failure }: Partial<ComparedOutcome>, pods: readonly string[] = []): void {
    const underWay = this.#calls.get(call);
    if (underWay === undefined) return;
    this.#calls.delete(call);
    const results = pods.flatMap((pod) => underWay.results.get(pod)?.result ?? []);
    const answer: Result = resultOf(call, value, failure === undefined ? "" : JSON.stringify(failure));
    answer.durationMs = this.#parts.clock.now() - underWay.begunAt;
    for (const { cpuMs, memoryMb } of results) {
      answer.cpuMs += cpuMs;
      answer.memoryMb = Math.max(answer.memoryMb, memoryMb);
    }
    answer.lines = results[0]?.lines ?? [];
    this.#tenant.message(this.pod, answer);
  }

  #divergence({ call, pods }: ComparisonEffect & { t: "diverged" }): Failure {
    const field = this.#difference(call, pods[0]!, pods[1]!);
    const where = field === undefined ? "" : `; the first two differ at ${field}`;
    return {
      code: "REPLICAS_DIVERGED",
      message: `the pods of "${this.#tenant.role}" came to ${pods.length} different results: ${listOf(pods)}${where}`,
      terminal: true,
      details: { pods, ...(field === undefined ? {} : { field }) },
    };
  }

  #quarantine({ pod: id, call, pods }: ComparisonEffect & { t: "quarantine" }): void {
    const member = this.#members.get(id);
    const { role } = this.#tenant;
    const field = this.#difference(call, id, pods[0]!);
    const where = field === undefined ? "" : `; it differs at ${field}`;
    const detail = `its outcome of call ${this.#nameOf(call)} is not that of ${listOf(pods)}${where}`;
    this.#repairs.push(this.#parts.lied({ pod: id, function: role, calls: member?.executing.size ?? 0, detail }));
    if (member?.pod === undefined) return;
    this.#members.delete(id);
    this.#parts.fleet.end(member.pod, 0);
  }

  #difference(call: number, one: string, other: string): string | undefined {
    const [a, b] = [one, other].map((pod) => this.#calls.get(call)?.results.get(pod)?.outcome);
    return a === undefined || b === undefined ? undefined : outcomeDifference(a, b);
  }

  #nameOf(lease: number): string {
    const invoke = this.#calls.get(lease)?.invoke;
    return `${invoke?.run ?? ""}/${invoke?.seq ?? 0}`;
  }
}

const resultOf = (lease: number, value: string, failure: string): Result => ({
  t: "result",
  lease,
  value,
  failure,
  durationMs: 0,
  cpuMs: 0,
  memoryMb: 0,
  lines: [],
});

const listOf = (pods: readonly string[]): string => `${pods.slice(0, -1).join(", ")} and ${pods.at(-1)}`;
