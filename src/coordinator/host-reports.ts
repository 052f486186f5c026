/**
 * What the pods of coordinators report: commands of the runs in them, and their own ends.
 *
 * Owns: when a lost pod's code is started again, with how much company, and when its run is given up. Does not own: what commands lead to
 * (feeder.ts), which run lives in which pod (hosts.ts).
 */
import type { PodExit } from "../cluster/port.ts";
import type { Failure } from "../lib/errors.ts";
import type { RunId } from "../lib/ids.ts";
import type { Monitor } from "../monitor/service.ts";
import type { Command, LogLine } from "../protocol/run.ts";
import { lostFailure } from "../scheduler/exit.ts";
import type { RunFeeder } from "./feeder.ts";
import type { HostEvents } from "./hosts.ts";
import { absolve, type Live, MAX_SOLO_LOSSES } from "./live.ts";
import type { RunMemory } from "./memory.ts";
import type { Turn } from "./turn.ts";

export interface HostReportParts {
  monitor: Pick<Monitor, "judgedRun">;
  turn: Pick<Turn, "log">;
}

export class HostReports implements HostEvents {
  readonly #parts: HostReportParts;
  readonly #feeder: Pick<RunFeeder, "feed" | "drive" | "hosting">;
  readonly #memory: Pick<RunMemory, "get" | "waits">;

  constructor(parts: HostReportParts, feeder: Pick<RunFeeder, "feed" | "drive" | "hosting">, memory: Pick<RunMemory, "get" | "waits">) {
    this.#parts = parts;
    this.#feeder = feeder;
    this.#memory = memory;
  }

  commands(id: RunId, commands: readonly Command[]): void {
    const live = this.#memory.get(id);
    if (live === undefined) return;
    absolve(live);
    for (const command of commands) {
      if (command.t === "stepping") this.#feeder.hosting.permit(live, command.seq);
      else if (command.t === "step") live.steps.delete(command.seq);
    }
    const { monitor } = this.#parts;
    const judged = commands.some(isFailedEnd)
      ? commands.map((command) =>
          isFailedEnd(command) ? { ...command, failure: monitor.judgedRun(live.head.name, command.failure) } : command,
        )
      : commands;
    this.#feeder.drive(live, judged);
  }

  waits(id: RunId, at: number): void {
    this.#memory.waits(id, at);
  }

  diverged(id: RunId, failure: Failure): void {
    const live = this.#memory.get(id);
    if (live === undefined) return;
    this.#feeder.hosting.unhost(live);
    this.#feeder.feed(live, { t: "halt", failure });
  }

  lines(id: RunId, lines: LogLine[]): void {
    const live = this.#memory.get(id);
    if (live !== undefined) this.#parts.turn.log({ run: id, seq: 0, attempt: 1, function: live.head.name, lines });
  }

  /** The pods of these runs' coordinators are gone: they start again elsewhere, from their journals. */
  lost(runs: readonly RunId[], exit: PodExit, culprit: RunId | undefined): void {
    for (const id of runs) {
      const live = this.#memory.get(id);
      if (live === undefined) continue;
      live.hosting = "none";
      live.steps.clear();
      live.hostLosses++;
      if (runs.length === 1) live.soloLosses++;
      // One death may be anybody's bad luck. From the second on its company is halved, until the culprit is alone.
      if (live.hostLosses > 1) live.company = Math.max(1, Math.floor(runs.length / 2));
      const failure = lostHostFailure(live, exit, culprit);
      if (failure === undefined) this.#feeder.hosting.host(live);
      else this.#feeder.feed(live, { t: "halt", failure });
    }
  }

  refused(runs: readonly RunId[], cause: Failure): void {
    for (const id of runs) {
      const live = this.#memory.get(id);
      if (live === undefined) continue;
      live.hosting = "none";
      this.#feeder.feed(live, { t: "halt", failure: { code: "POD_FAILED_TO_START", message: "the application does not load", cause } });
    }
  }
}

/** Why a coordinator whose pod is gone is not started again; `undefined` when it is. */
const lostHostFailure = ({ head, hostLosses, soloLosses }: Live, exit: PodExit, culprit: RunId | undefined): Failure | undefined => {
  if (head.id === culprit) return { code: "COORDINATOR_STUCK", message: `coordinator "${head.name}" never yielded` };
  if (soloLosses < MAX_SOLO_LOSSES) return undefined;
  const message = `the pod of coordinator "${head.name}" died ${hostLosses} times without progress, ${soloLosses} times with no other in it`;
  return { code: "COORDINATOR_CRASHED", message, cause: lostFailure("its pod", exit) };
};

/** A coordinator has failed by itself: its recovery, and people, want to know of what kind the fault is. */
const isFailedEnd = (command: Command): command is Command & { t: "finish"; failure: Failure } =>
  command.t === "finish" && command.failure !== undefined && command.cancelled !== true;
