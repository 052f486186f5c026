import type { RunId } from "../lib/ids.ts";
import type { Json } from "../lib/json.ts";
import type { Manifest } from "./application.ts";
import type { Command, JournalRecord, LogLine } from "./run.ts";

/** Written to a pod's standard input as one line of JSON: the join token must appear neither in arguments nor in the environment. */
export interface PodBootstrap {
  pod: string;
  address: string;
  token: string;
  heartbeatMs: number;
  memoryMb: number;
  maxPayloadBytes: number;
  maxLogBytes: number;
}

/** What the control plane tells a pod. `lease` numbers one attempt of one call and is never used again. */
export type ToPod =
  | { t: "load"; version: string; path: string }
  | { t: "invoke"; lease: number; fn: string; input: Json; run: RunId; seq: number; attempt: number; timeoutMs: number }
  | { t: "abort"; lease: number; reason: string }
  /** Starts a coordinator, or brings it back: `history` is its journal so far. */
  | { t: "begin"; run: RunId; name: string; input: Json; acceptedAt: number; history: JournalRecord[] }
  /** One record that is durable and that the coordinator waits for: `done` or `cancel`. */
  | { t: "deliver"; run: RunId; record: JournalRecord }
  | { t: "evict"; run: RunId }
  | { t: "exit" };

/** Failures travel as JSON text: their shapes vary without bound, and the frames' shared structures are for the few that recur. */
export type FromPod =
  | { t: "hello"; pod: string; token: string; pid: number }
  | { t: "loaded"; version: string; manifest: Manifest; ms: number }
  | { t: "refused"; version: string; failure: Json }
  | { t: "result"; lease: number; value: Json; failure: Json; durationMs: number; cpuMs: number; memoryMb: number; lines: LogLine[] }
  | { t: "commands"; run: RunId; commands: Command[] }
  | { t: "diverged"; run: RunId; failure: Json }
  | { t: "lines"; run: RunId; lines: LogLine[] };

/**
 * A warm pod beats on its own connection. One that runs user code leaves it to its liveness thread, on a connection of that thread's own, so
 * that busy code can't hide that the process lives.
 */
export type Beat =
  | { t: "join"; pod: string; token: string }
  /** `blockedMs`: how long the main thread has not turned its event loop. `run`: the coordinator that is executing then, if any. */
  | { t: "beat"; blockedMs: number; run: RunId; rssMb: number };

const TYPES = new Set<FromPod["t"] | Beat["t"]>(["hello", "loaded", "refused", "result", "commands", "diverged", "lines", "join", "beat"]);

/**
 * Whether a message from a pod has the outer shape that the control plane relies on. Pods run user code, so nothing they send is trusted.
 */
export const isFromPod = (message: unknown): message is FromPod | Beat => {
  if (typeof message !== "object" || message === null) return false;
  const m = message as Record<string, unknown>;
  if (!TYPES.has(m.t as FromPod["t"])) return false;
  switch (m.t) {
    case "result":
      return typeof m.lease === "number" && typeof m.value === "string" && typeof m.failure === "string" && Array.isArray(m.lines);
    case "commands":
      return typeof m.run === "string" && Array.isArray(m.commands) && m.commands.every(isCommand);
    case "diverged":
      return typeof m.run === "string" && typeof m.failure === "string";
    case "lines":
      return typeof m.run === "string" && Array.isArray(m.lines);
    case "hello":
    case "join":
      return typeof m.pod === "string" && typeof m.token === "string";
    case "loaded":
      return typeof m.version === "string" && typeof m.manifest === "object" && m.manifest !== null;
    case "refused":
      return typeof m.version === "string" && typeof m.failure === "string";
    default:
      return typeof m.blockedMs === "number" && typeof m.rssMb === "number" && typeof m.run === "string";
  }
};

const isCommand = (command: unknown): boolean => {
  const c = command as Record<string, unknown> | null;
  if (typeof c !== "object" || c === null) return false;
  if (c.t === "finish") return true;
  if (!Number.isSafeInteger(c.seq) || (c.seq as number) < 1) return false;
  switch (c.t) {
    case "call":
      return typeof c.fn === "string" && typeof c.input === "string";
    case "sleep":
      return Number.isFinite(c.ms);
    case "stepping":
      return true;
    case "signal":
    case "step":
      return typeof c.name === "string";
    case "child":
      return typeof c.coordinator === "string" && typeof c.input === "string";
    case "withdraw":
      return Number.isSafeInteger(c.target);
    default:
      return false;
  }
};
