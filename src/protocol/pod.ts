import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { Manifest } from "./application.ts";
import { isManifest } from "./manifest.ts";
import type { ObjectRequest, ObjectWrite } from "./objects.ts";
import type { FromReplica, ToReplica } from "./replica.ts";
import { isFromReplica } from "./replica-shapes.ts";
import { isObjectRequest, isObjectWrites, isStateOp, isStateRead, isStateWrites } from "./requests.ts";
import type { Command, JournalRecord, LogLine } from "./run.ts";
import type { StateRead, StateWrite } from "./state.ts";

/** Written to a pod's standard input as one line of JSON: the join token must appear neither in arguments nor in the environment. */
export interface PodBootstrap {
  pod: string;
  address: string;
  token: string;
  heartbeatMs: number;
  memoryMb: number;
  maxPayloadBytes: number;
  maxLogBytes: number;
  /** Replicas may be told to misbehave. Default: no. */
  drills?: boolean;
}

/** What the control plane tells a pod. `lease` numbers one attempt of one call and is never used again. */
export type ToPod =
  | { t: "load"; version: string; path: string }
  /** This bundle may be loaded next: it is compiled and not executed, so that the pod is still anybody's. */
  | { t: "preload"; path: string }
  /**
   * One attempt. `undo` is the output of the call to be compensated (then `seq` is the negative one of that call's); `progress` is the last
   * that an earlier attempt told. Both are absent for most.
   */
  | {
      t: "invoke";
      lease: number;
      fn: string;
      input: Json;
      run: RunId;
      seq: number;
      attempt: number;
      timeoutMs: number;
      undo?: Json;
      progress?: Json;
    }
  /** Answers `request` `id` of this lease. `failure` is empty when it succeeded; `data` is a chunk of an object. */
  | { t: "reply"; lease: number; id: number; value: Json; failure: Json; data?: Uint8Array }
  /** Answers a `get` of a key that is not stale: with the value itself, and no JSON around it. */
  | { t: "got"; lease: number; id: number; value: Json; version: number }
  | { t: "abort"; lease: number; reason: string }
  /**
   * Starts a coordinator, or brings it back: `history` is its journal so far. A recovery (`name` is `function/<name>` or
   * `coordinator/<name>`) gets `about`: the journal of the run that failed, up to its failure.
   */
  | { t: "begin"; run: RunId; name: string; input: Json; acceptedAt: number; history: JournalRecord[]; about?: JournalRecord[] }
  /** Replays a journal against this pod's code without acting on anything. Answered by `rehearsed`. */
  | { t: "rehearse"; run: RunId; name: string; input: Json; acceptedAt: number; history: JournalRecord[]; about?: JournalRecord[] }
  /** One record that the coordinator waits for: `done` or `cancel`. Its commit may be under way. */
  | { t: "deliver"; run: RunId; record: JournalRecord }
  /** Asks whether the coordinator only waits. `at` is the number of records that its journal has. */
  | { t: "ask"; run: RunId; at: number }
  /** All that step `seq` can depend on is durable: it may execute. */
  | { t: "permit"; run: RunId; seq: number }
  | { t: "evict"; run: RunId }
  | { t: "exit" }
  | ToReplica;

export type Request = StateRead | ObjectRequest;

/** Failures travel as JSON text: their shapes vary without bound, and the frames' shared structures are for the few that recur. */
export type FromPod =
  | { t: "hello"; pod: string; token: string; pid: number }
  | { t: "loaded"; version: string; manifest: Manifest; ms: number }
  | { t: "refused"; version: string; failure: Json }
  /**
   * `writes` and `objects` are what the attempt has changed, in order; of a failed attempt only the writes' keys matter. Both are absent
   * when there are none.
   */
  | {
      t: "result";
      lease: number;
      value: Json;
      failure: Json;
      durationMs: number;
      cpuMs: number;
      memoryMb: number;
      lines: LogLine[];
      writes?: StateWrite[];
      objects?: ObjectWrite[];
    }
  /** What an attempt wants to know; answered by `reply`. `id` counts within the lease. */
  | { t: "request"; lease: number; id: number; ask: Request }
  | { t: "progress"; lease: number; value: Json }
  /** `failure` is empty when the journal replays against this pod's code. */
  | { t: "rehearsed"; run: RunId; failure: Json }
  | { t: "commands"; run: RunId; commands: Command[] }
  /** The answer to `ask`: the coordinator has acted on all that it was given before, and waits. One that doesn't gives no answer. */
  | { t: "waits"; run: RunId; at: number }
  | { t: "diverged"; run: RunId; failure: Json }
  | { t: "lines"; run: RunId; lines: LogLine[] }
  | FromReplica;

/**
 * A warm pod beats on its own connection. One that runs user code leaves it to its liveness thread, on a connection of that thread's own, so
 * that busy code can't hide that the process lives.
 */
export type Beat =
  | { t: "join"; pod: string; token: string }
  /**
   * `blockedMs`: how long the main thread has not turned its event loop. `run`: the coordinator that is executing then, if any. `generic`: the
   * main thread has sent it, before user code can run.
   */
  | { t: "beat"; blockedMs: number; run: RunId; rssMb: number; generic?: true };

/** Characters that one `progress` may have. */
export const MAX_PROGRESS = 64 * 1024;

/**
 * Whether a message from a pod has the shape that the control plane relies on. Pods run user code, so nothing they send is trusted; only the
 * JSON of users' values is passed on unread.
 */
export const isFromPod = (message: unknown): message is FromPod | Beat => {
  if (!isObject(message)) return false;
  const m = message;
  switch (m.t) {
    case "result":
      return isResult(m);
    case "commands":
      return typeof m.run === "string" && Array.isArray(m.commands) && m.commands.every(isCommand);
    case "waits":
      return typeof m.run === "string" && isNumber(m.at);
    case "diverged":
      return typeof m.run === "string" && isFailureText(m.failure);
    case "lines":
      return typeof m.run === "string" && isLines(m.lines);
    case "request":
      return isCount(m.lease) && isCount(m.id) && (isStateRead(m.ask) || isObjectRequest(m.ask));
    case "progress":
      return isCount(m.lease) && typeof m.value === "string" && m.value.length <= MAX_PROGRESS;
    case "rehearsed":
      return typeof m.run === "string" && (m.failure === "" || isFailureText(m.failure));
    case "hello":
    case "join":
      return typeof m.pod === "string" && typeof m.token === "string";
    case "loaded":
      return typeof m.version === "string" && isManifest(m.manifest);
    case "refused":
      return typeof m.version === "string" && isFailureText(m.failure);
    case "beat":
      return isNumber(m.blockedMs) && isNumber(m.rssMb) && typeof m.run === "string" && (m.generic === undefined || m.generic === true);
    default:
      return isFromReplica(m) === true;
  }
};

type Shape = Record<string, unknown>;

const isObject = (value: unknown): value is Shape => typeof value === "object" && value !== null;

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

const isOptional = (value: unknown, type: "string" | "boolean"): boolean => value === undefined || value === null || typeof value === type;

/** MessagePack also knows what JSON does not, such as a BigInt: a commit that met one would fail, and the platform with it. */
const isJson = (value: unknown): boolean => {
  try {
    return JSON.stringify(value) !== undefined;
  } catch {
    // That it is thrown is the answer.
    return false;
  }
};

const isResult = (m: Shape): boolean =>
  typeof m.lease === "number" &&
  typeof m.value === "string" &&
  (m.failure === "" || isFailureText(m.failure)) &&
  isNumber(m.durationMs) &&
  isNumber(m.cpuMs) &&
  isNumber(m.memoryMb) &&
  isLines(m.lines) &&
  (m.writes === undefined || isStateWrites(m.writes)) &&
  (m.objects === undefined || isObjectWrites(m.objects));

const LINE_FIELDS = 3;

const isLines = (lines: unknown): boolean =>
  Array.isArray(lines) &&
  lines.every(
    (line) =>
      isObject(line) &&
      isNumber(line.at) &&
      typeof line.text === "string" &&
      typeof line.level === "string" &&
      Object.keys(line).length === LINE_FIELDS,
  );

const isFailure = (failure: unknown): boolean =>
  isObject(failure) && typeof failure.code === "string" && typeof failure.message === "string";

const isFailureText = (text: unknown): boolean => {
  if (typeof text !== "string") return false;
  try {
    return isFailure(JSON.parse(text));
  } catch {
    // Not JSON: then it is no failure either.
    return false;
  }
};

const isOutcome = (c: Shape): boolean =>
  isOptional(c.value, "string") && (c.failure === undefined || (isFailure(c.failure) && isJson(c.failure)));

const isOptions = (options: unknown): boolean =>
  isObject(options) &&
  (options.timeoutMs === undefined || isNumber(options.timeoutMs)) &&
  (options.priority === undefined || isNumber(options.priority)) &&
  isJson(options);

const isCommand = (command: unknown): boolean => {
  if (!isObject(command)) return false;
  const c = command;
  if (c.t === "finish") return isOutcome(c) && isOptional(c.cancelled, "boolean");
  if (!Number.isSafeInteger(c.seq) || (c.seq as number) < 1) return false;
  switch (c.t) {
    case "call":
      return typeof c.fn === "string" && typeof c.input === "string" && (c.options === undefined || isOptions(c.options));
    case "sleep":
      return isNumber(c.ms);
    case "stepping":
      return true;
    case "signal":
      return typeof c.name === "string" && (c.timeoutMs === undefined || isNumber(c.timeoutMs));
    case "step":
      return typeof c.name === "string" && isOutcome(c);
    case "child":
      return typeof c.coordinator === "string" && typeof c.input === "string" && typeof c.detached === "boolean";
    case "withdraw":
      return Number.isSafeInteger(c.target);
    case "state":
      return isStateOp(c.op);
    case "compensate":
    case "on-stale":
      return true;
    default:
      return false;
  }
};
