import type { FastifyReply, FastifyRequest } from "fastify";
import type { ErrorCode } from "../lib/errors.ts";
import type { ControlPlane } from "../protocol/control-plane.ts";
import type { JsonSchema } from "./check.ts";
import type { EventStreams } from "./event-streams.ts";
import type { Settings } from "./options.ts";
import type { Uploads } from "./uploads.ts";
import type { Waits } from "./waits.ts";

/** What the handlers of all routes share. */
export interface RouteContext {
  readonly plane: ControlPlane;
  readonly settings: Settings;
  readonly waits: Waits;
  readonly streams: EventStreams;
  /** Those who watch pods and services. */
  readonly watches: { readonly pods: EventStreams; readonly services: EventStreams };
  readonly uploads: Uploads;
  /** Why no new work is taken; `undefined` while the gateway is open. */
  closing(): boolean;
}

/** A schema of the document alone: answers are written by us and not validated at run time, so any JSON Schema may describe them. */
export type DocumentSchema = Readonly<Record<string, unknown>>;

export interface ResponseSpec {
  description: string;
  /** Absent for an answer without a body. */
  schema?: DocumentSchema;
  /** Default application/json. */
  mediaType?: string;
  /** The data of each event, where the answer may be a stream of server-sent events. */
  streamed?: DocumentSchema;
  headers?: Readonly<Record<string, string>>;
}

/**
 * One address and method: what validates its requests, what it answers and what the OpenAPI document says are the same data.
 */
export interface Route {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** With `:name` for a parameter, and `*name` for one that takes all the rest. */
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly tag: string;
  readonly params?: JsonSchema;
  readonly query?: JsonSchema;
  readonly headers?: Readonly<Record<string, JsonSchema>>;
  /** A missing body is read as `{}`. */
  readonly body?: JsonSchema;
  /** The body is given as a Buffer, whatever its type; with `stream` it is left for the handler to read from `request.raw`. */
  readonly raw?: boolean | "stream";
  /** Default: the gateway's. */
  readonly bodyLimitBytes?: number;
  readonly responses: Readonly<Record<number, ResponseSpec>>;
  /** Codes that this route may answer with beside those that every route may. */
  readonly errors?: readonly ErrorCode[];
  /** Needs no API key. */
  readonly open?: boolean;
  /** Answers by `reply`; what it throws or rejects with is answered as a problem. */
  readonly handle: (request: FastifyRequest, reply: FastifyReply) => void | Promise<void>;
}

export const JSON_TYPE = "application/json; charset=utf-8";

export const sendJson = (reply: FastifyReply, status: number, text: string): void => {
  reply.code(status).header("content-type", JSON_TYPE).send(text);
};
