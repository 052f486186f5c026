/**
 * Coordinator hosts: the pods that execute coordinators' code, and which run lives in which.
 *
 * Owns: the assignment of runs to pods. Does not own: runs' state, histories, or what a lost host means for a run.
 *
 * H1  A run lives in at most one pod, and every message about it comes from that pod or is dropped.
 * H2  Runs of a pod that is gone are reported lost exactly once.
 */
import type { PodExit } from "../cluster/port.ts";
import { ChurnMap } from "../lib/churn-map.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Beat, FromPod, ToPod } from "../protocol/pod.ts";
import type { Command, JournalRecord, LogLine } from "../protocol/run.ts";
import type { Fleet, Pod, Tenant } from "../scheduler/fleet.ts";
import { toldRecord } from "./history.ts";

export interface HostEvents {
  commands(run: RunId, commands: readonly Command[]): void;
  /** The run's code waits, and has acted on the first `at` records of its journal. */
  waits(run: RunId, at: number): void;
  diverged(run: RunId, failure: Failure): void;
  lines(run: RunId, lines: LogLine[]): void;
  /** These runs have no host any more. `culprit` is the run that was executing when its pod had to be ended. */
  lost(runs: readonly RunId[], exit: PodExit, culprit: RunId | undefined): void;
  /** The version's bundle does not load. */
  refused(runs: readonly RunId[], failure: Failure): void;
}

export interface HostOptions {
  memoryMb: number;
  podsPerVersion: number;
  /** A coordinator that executes for so long without yielding is stuck. */
  turnLimitMs: number;
}

const RETRY_MS = 50;
const LONGEST_RETRY_MS = 5_000;

export class CoordinatorHosts {
  readonly #fleet: Fleet;
  readonly #clock: Clock;
  readonly #options: HostOptions;
  readonly #events: HostEvents;
  readonly #versions = new Map<string, VersionHosts>();
  readonly #podOf = new ChurnMap<RunId, Home>();
  #stopped = false;

  constructor(fleet: Fleet, clock: Clock, options: HostOptions, events: HostEvents) {
    this.#fleet = fleet;
    this.#clock = clock;
    this.#options = options;
    this.#events = events;
  }

  /** Asks for no pod any more. */
  stop(): void {
    this.#stopped = true;
  }

  isHosted(run: RunId): boolean {
    return this.#podOf.has(run);
  }

  /** For how long the run's pod has been connected; 0 while it has none that is. */
  connectedMs(run: RunId): number {
    const home = this.#podOf.get(run);
    return home?.connected ? this.#clock.now() - home.connectedAt : 0;
  }

  /**
   * Starts a run's code in a pod. `company` bounds how many runs may share that pod with it: after deaths of its pod a run is a suspect, and
   * halving the suspects' company each time separates the one that ends its pods from those that only lived beside it.
   */
  begin(
    version: { application: string; version: string; path: string },
    message: ToPod & { t: "begin" },
    company = Number.POSITIVE_INFINITY,
  ): void {
    let hosts = this.#versions.get(version.version);
    if (hosts === undefined) {
      hosts = new VersionHosts(version, this.#options.memoryMb, this);
      this.#versions.set(version.version, hosts);
    }
    const home = company === Number.POSITIVE_INFINITY ? this.#homeIn(hosts) : this.#quarantineIn(hosts, company);
    home.runs.add(message.run);
    this.#podOf.set(message.run, home);
    home.pod.inFlight = home.runs.size;
    if (home.connected) this.#fleet.send(home.pod, message);
    else home.backlog.push(message);
  }

  deliver(run: RunId, record: JournalRecord): void {
    const home = this.#podOf.get(run);
    if (home === undefined) return;
    const message = { t: "deliver" as const, run, record: toldRecord(record) };
    if (home.connected) this.#fleet.send(home.pod, message);
    else home.backlog.push(message);
  }

  /** Asks the pod whether the run's code has acted on all that it was told and only waits; `waits` is the answer. */
  ask(run: RunId, at: number): void {
    const home = this.#podOf.get(run);
    if (home?.connected) this.#fleet.send(home.pod, { t: "ask", run, at });
  }

  permit(run: RunId, seq: number): void {
    const home = this.#podOf.get(run);
    if (home?.connected) this.#fleet.send(home.pod, { t: "permit", run, seq });
  }

  /** The run is finished or leaves memory. */
  evict(run: RunId, tellPod: boolean): void {
    const home = this.#podOf.get(run);
    if (home === undefined) return;
    this.#podOf.delete(run);
    home.runs.delete(run);
    home.pod.inFlight = home.runs.size;
    if (home.runs.size === 0) this.#fleet.idle(home.pod);
    if (!home.connected) home.backlog = home.backlog.filter((message) => !("run" in message && message.run === run));
    else if (tellPod) this.#fleet.send(home.pod, { t: "evict", run });
  }

  #homeIn(hosts: VersionHosts): Home {
    let best: Home | undefined;
    let open = 0;
    for (const home of hosts.homes.values()) {
      if (home.pod.state === "draining" || home.capacity !== Number.POSITIVE_INFINITY) continue;
      open++;
      if (best === undefined || home.runs.size < best.runs.size) best = home;
    }
    if (best !== undefined && (best.runs.size === 0 || open >= this.#options.podsPerVersion)) return best;
    const pod = this.#fleet.acquire(hosts);
    if (pod !== undefined) return hosts.adopt(pod);
    return best ?? this.#waitForRoom(hosts);
  }

  #quarantineIn(hosts: VersionHosts, company: number): Home {
    for (const home of hosts.homes.values()) {
      if (home.pod.state !== "draining" && home.capacity <= company && home.runs.size < home.capacity) return home;
    }
    const pod = this.#fleet.acquire(hosts);
    const home = pod === undefined ? this.#waitForRoom(hosts) : hosts.adopt(pod);
    home.capacity = company;
    return home;
  }

  // No room for a pod on this machine: the runs gather in a home without one, which asks again until it gets one.
  #waitForRoom(hosts: VersionHosts): Home {
    const home = hosts.adopt(nowhere());
    this.#askAgain(hosts, home, RETRY_MS);
    return home;
  }

  #askAgain(hosts: VersionHosts, home: Home, delayMs: number): void {
    const retry = () => {
      if (this.#stopped) return;
      if (home.runs.size === 0) return this.#forget(hosts, "");
      const pod = this.#fleet.acquire(hosts);
      if (pod === undefined) return this.#askAgain(hosts, home, RETRY_MS);
      hosts.homes.delete("");
      home.pod = pod;
      hosts.homes.set(pod.id, home);
      pod.inFlight = home.runs.size;
      if (pod.state === "ready") this.connected(hosts, pod);
    };
    this.#clock.after(delayMs, retry);
  }

  /** Its pod did not even start, which is no fault of its runs: they wait for another one, longer each time. */
  #startAgain(hosts: VersionHosts, home: Home): void {
    hosts.homes.delete(home.pod.id);
    const waiting = hosts.homes.get("");
    if (waiting === undefined) {
      home.pod = nowhere();
      hosts.homes.set("", home);
      this.#askAgain(hosts, home, Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** hosts.failedStarts++));
      return;
    }
    for (const run of home.runs) {
      waiting.runs.add(run);
      this.#podOf.set(run, waiting);
    }
    for (const message of home.backlog) waiting.backlog.push(message);
  }

  connected(hosts: VersionHosts, pod: Pod): void {
    const home = hosts.homes.get(pod.id) ?? hosts.adopt(pod);
    home.connected = true;
    home.connectedAt = this.#clock.now();
    hosts.failedStarts = 0;
    for (const message of home.backlog) this.#fleet.send(pod, message);
    home.backlog = [];
  }

  message(hosts: VersionHosts, pod: Pod, message: FromPod): void {
    const home = hosts.homes.get(pod.id);
    if (home === undefined) return;
    if (message.t === "loaded") {
      return this.#fleet.loaded(pod);
    }
    if (message.t === "refused") return this.#refuse(hosts, home, JSON.parse(message.failure) as Failure);
    if (!("run" in message) || this.#podOf.get(message.run) !== home) return;
    if (message.t === "commands") this.#events.commands(message.run, message.commands);
    else if (message.t === "waits") this.#events.waits(message.run, message.at);
    else if (message.t === "diverged") this.#events.diverged(message.run, JSON.parse(message.failure) as Failure);
    else if (message.t === "lines") this.#events.lines(message.run, message.lines);
  }

  beat(hosts: VersionHosts, pod: Pod, beat: Beat & { t: "beat" }): void {
    if (beat.blockedMs < this.#options.turnLimitMs) return;
    const home = hosts.homes.get(pod.id);
    if (home !== undefined) home.culprit = beat.run === "" ? undefined : beat.run;
    this.#fleet.end(pod, 0, "killed");
  }

  gone(hosts: VersionHosts, pod: Pod, exit: PodExit): void {
    const home = hosts.homes.get(pod.id);
    if (home === undefined) return;
    if (exit.reason === "failed-to-start" && home.runs.size > 0) return this.#startAgain(hosts, home);
    this.#forget(hosts, pod.id);
    const runs = this.#release(home);
    if (runs.length > 0) this.#events.lost(runs, exit, home.culprit);
  }

  #refuse(hosts: VersionHosts, home: Home, failure: Failure): void {
    this.#forget(hosts, home.pod.id);
    const runs = this.#release(home);
    this.#fleet.end(home.pod, 0);
    this.#events.refused(runs, failure);
  }

  #forget(hosts: VersionHosts, pod: string): void {
    hosts.homes.delete(pod);
    if (hosts.homes.size === 0) this.#versions.delete(hosts.version);
  }

  #release(home: Home): RunId[] {
    const runs = [...home.runs];
    for (const run of runs) this.#podOf.delete(run);
    home.runs.clear();
    home.pod.inFlight = 0;
    return runs;
  }
}

/** Stands for the pod of a home that has none yet. */
const nowhere = (): Pod => ({ id: "", state: "starting", inFlight: 0, idleSince: 0 }) as Pod;

interface Home {
  pod: Pod;
  connected: boolean;
  connectedAt: number;
  runs: Set<RunId>;
  /** What waits for the pod's connection. */
  backlog: ToPod[];
  culprit: RunId | undefined;
  /** How many runs it may hold; without a bound unless it holds suspects. */
  capacity: number;
}

/** The coordinators of one version as the tenant of their pods. */
class VersionHosts implements Tenant {
  readonly role = "coordinator";
  readonly application: string;
  readonly version: string;
  readonly path: string;
  readonly memoryMb: number;
  readonly homes = new Map<string, Home>();
  /** Pods in a row that did not start. */
  failedStarts = 0;
  readonly #hosts: CoordinatorHosts;

  constructor(version: { application: string; version: string; path: string }, memoryMb: number, hosts: CoordinatorHosts) {
    this.application = version.application;
    this.version = version.version;
    this.path = version.path;
    this.memoryMb = memoryMb;
    this.#hosts = hosts;
  }

  adopt(pod: Pod): Home {
    const found = this.homes.get(pod.id);
    if (found !== undefined) return found;
    const home: Home = {
      pod,
      connected: false,
      connectedAt: 0,
      runs: new Set(),
      backlog: [],
      culprit: undefined,
      capacity: Number.POSITIVE_INFINITY,
    };
    this.homes.set(pod.id, home);
    return home;
  }

  connected(pod: Pod): void {
    this.#hosts.connected(this, pod);
  }

  message(pod: Pod, message: FromPod): void {
    this.#hosts.message(this, pod, message);
  }

  beat(pod: Pod, beat: Beat & { t: "beat" }): void {
    this.#hosts.beat(this, pod, beat);
  }

  gone(pod: Pod, exit: PodExit): void {
    this.#hosts.gone(this, pod, exit);
  }

  held(pod: Pod): string[] {
    return [...(this.homes.get(pod.id)?.runs ?? [])];
  }
}
