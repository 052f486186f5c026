/** Webhooks, and what starts runs by itself. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { LockstepError } from "../lib/errors.ts";
import type { HookRequest } from "../protocol/control-plane.ts";
import { answers, pageOf, ref } from "./answers.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";
import { HookParams } from "./schemas.ts";

const METHODS = ["POST", "PUT", "GET"] as const;

export const hookRoutes = ({ plane }: RouteContext): Route[] => [
  ...METHODS.map(
    (method): Route => ({
      method,
      path: "/v1/hooks/*path",
      operationId: `hook${method[0]}${method.slice(1).toLowerCase()}`,
      summary: "Start what a webhook starts",
      tag: "start",
      // Whoever sends it can't know a key of the platform's; triggers may ask for a signature instead.
      open: true,
      raw: true,
      params: HookParams,
      query: { type: "object" },
      responses: { 202: { description: "What it starts is accepted and durable.", schema: pageOf("runs", answers.runId) } },
      errors: [
        "JOURNAL_UNAVAILABLE",
        "METHOD_NOT_ALLOWED",
        "OVERLOADED",
        "PAYLOAD_TOO_LARGE",
        "SHUTTING_DOWN",
        "SIGNATURE_INVALID",
        "UNKNOWN_ROUTE",
        "UNSUPPORTED_MEDIA_TYPE",
      ],
      handle: async (request, reply) => {
        const { runs } = await plane.hook(hookOf(request)).catch((error: unknown) => refuse(reply, error));
        sendJson(reply, 202, JSON.stringify({ runs }));
      },
    }),
  ),
  {
    method: "GET",
    path: "/v1/triggers",
    operationId: "listTriggers",
    summary: "List what starts runs by itself",
    tag: "platform",
    responses: { 200: { description: "The triggers of all current versions.", schema: pageOf("triggers", ref("TriggerView")) } },
    handle: (_, reply) => sendJson(reply, 200, JSON.stringify({ triggers: plane.triggers() })),
  },
];

/** @throws {LockstepError} UNSUPPORTED_MEDIA_TYPE for a compressed body */
const hookOf = (request: FastifyRequest): HookRequest => {
  const { headers, method = "" } = request.raw;
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    throw new LockstepError("UNSUPPORTED_MEDIA_TYPE", `a body with Content-Encoding ${encoding} is not read`);
  }
  const { path } = request.params as { path: string };
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  return { method, path, query: flat(request.query as object), headers: flat(headers), body };
};

/** What is given several times is one text, with commas. */
const flat = (values: object): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : String(value)]));

const refuse = (reply: FastifyReply, error: unknown): never => {
  const allow = error instanceof LockstepError && error.code === "METHOD_NOT_ALLOWED" ? error.details?.allow : undefined;
  if (Array.isArray(allow)) reply.header("allow", allow.join(", "));
  throw error;
};
