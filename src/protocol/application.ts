import type { RetryPolicy } from "./run.ts";

/** A function as its version's manifest tells it: the options with their defaults not yet applied. */
export interface FunctionSpec {
  name: string;
  timeoutMs?: number;
  retry?: RetryPolicy;
  /** Calls that may execute at the same time on the whole platform. */
  concurrency?: number;
  memoryMb?: number;
  /** The same input always gives the same result: identical sub-expressions are computed once. */
  deterministic?: boolean;
}

export interface CoordinatorSpec {
  name: string;
}

/** What an application version defines; read from its bundle inside a pod, never in the control plane. */
export interface Manifest {
  functions: FunctionSpec[];
  coordinators: CoordinatorSpec[];
}

/** An immutable version: the bundle's text and its content hash. */
export interface Bundle {
  application: string;
  /** `sha256` of the code, the first 16 hexadecimal digits. */
  version: string;
  /** A CommonJS script that requires nothing but `lockstep` and Node's own modules. */
  code: string;
}

export interface ApplicationVersion {
  application: string;
  version: string;
  manifest: Manifest;
  deployedAt: number;
  /** New runs take this version. */
  current: boolean;
}
