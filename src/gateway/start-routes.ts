/** Starting runs: the hot path. Answers are composed as text and a started run costs one promise. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { LockstepError } from "../lib/errors.ts";
import type { RunResult, StartRun } from "../protocol/run.ts";
import { FINAL } from "../protocol/run.ts";
import { ref } from "./answers.ts";
import { writeValue } from "./json-body.ts";
import { resultMembers } from "./json-text.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";
import { ExpressionBody, IdempotencyHeader, NameParams, StartBody, WaitQuery } from "./schemas.ts";
import { durationMs } from "./units.ts";

const LOCATION = { location: "Address of the run." };
const responses = {
  200: { description: "With `wait`: the run has finished, or is suspended.", schema: ref("Started"), headers: LOCATION },
  202: { description: "The run is accepted and durable.", schema: ref("Accepted"), headers: LOCATION },
};
const starting = { tag: "start", query: WaitQuery, headers: IdempotencyHeader, responses } as const;
const ERRORS = ["IDEMPOTENCY_CONFLICT", "OVERLOADED", "PAYLOAD_TOO_LARGE"] as const;

export const startRoutes = (context: RouteContext): Route[] => [
  {
    ...starting,
    method: "POST",
    path: "/v1/functions/:name/calls",
    operationId: "startCall",
    summary: "Call a function, durably",
    params: NameParams,
    body: StartBody,
    errors: [...ERRORS, "UNKNOWN_FUNCTION"],
    handle: (request, reply) => start(context, request, reply, named("function", request)),
  },
  {
    ...starting,
    method: "POST",
    path: "/v1/coordinators/:name/runs",
    operationId: "startRun",
    summary: "Start a coordinator",
    params: NameParams,
    body: StartBody,
    errors: [...ERRORS, "UNKNOWN_COORDINATOR"],
    handle: (request, reply) => start(context, request, reply, named("coordinator", request)),
  },
  {
    ...starting,
    method: "POST",
    path: "/v1/expressions",
    operationId: "startExpression",
    summary: "Evaluate an expression",
    body: ExpressionBody,
    errors: [...ERRORS, "EXPRESSION_INVALID", "EXPRESSION_TOO_LARGE", "UNKNOWN_FUNCTION", "UNKNOWN_VARIABLE"],
    handle: (request, reply) => start(context, request, reply, expression(request)),
  },
];

const named = (kind: "function" | "coordinator", request: FastifyRequest): StartRun => {
  const body = request.body as Static<typeof StartBody>;
  const { name } = request.params as { name: string };
  return { kind, name, input: writeValue(body.input, "input"), key: idempotencyKey(request, body.key), priority: body.priority };
};

const expression = (request: FastifyRequest): StartRun => {
  const body = request.body as Static<typeof ExpressionBody>;
  const input = writeValue(body.variables ?? {}, "variables");
  return { kind: "expression", name: body.expression, input, key: idempotencyKey(request, body.key) };
};

const idempotencyKey = (request: FastifyRequest, inBody: string | undefined): string | undefined => {
  const header = request.raw.headers["idempotency-key"];
  if (header === undefined) return inBody;
  // The header's standard writes the key in quotation marks; most clients do not.
  const key = /^"(.*)"$/.exec(header as string)?.[1] ?? (header as string);
  if (key === "" || key.length > 500) throw badKey(`must have 1 to 500 characters, not ${key.length}`);
  if (inBody !== undefined && inBody !== key) throw badKey(`is ${JSON.stringify(key)}, but key in the body is ${JSON.stringify(inBody)}`);
  return key;
};

const badKey = (message: string): LockstepError =>
  new LockstepError("BAD_REQUEST", `the header Idempotency-Key ${message}`, { details: { field: "Idempotency-Key", in: "header" } });

/** What `?wait=` asks for, cut to the limit. */
export const waitMsOf = (request: FastifyRequest, maxWaitMs: number): number => {
  const { wait } = request.query as Static<typeof WaitQuery>;
  return wait === undefined ? 0 : Math.min(durationMs(wait) ?? 0, maxWaitMs);
};

/** Whether waiting for the run any longer is useless without a person. */
export const isSettled = ({ status }: RunResult): boolean => FINAL.has(status) || status === "suspended";

const start = (context: RouteContext, request: FastifyRequest, reply: FastifyReply, run: StartRun): Promise<void> => {
  const waitMs = waitMsOf(request, context.settings.maxWaitMs);
  return context.plane.start(run).then(({ id, existing }) => {
    reply.header("location", `/v1/runs/${id}`);
    // A run that has just been accepted is running; of one that existed before, only the plane knows.
    if (!existing && waitMs === 0) return sendJson(reply, 202, `{"id":"${id}","status":"running","existing":false}`);
    return standing(context, id, waitMs).then((result) => {
      if (waitMs > 0 && isSettled(result)) return sendJson(reply, 200, `{${resultMembers(result)},"existing":${existing}}`);
      return sendJson(reply, 202, `{"id":"${id}","status":"${result.status}","existing":${existing}}`);
    });
  });
};

/** How a run stands after up to `waitMs`, or earlier when the gateway closes. */
export const standing = async ({ plane, waits }: RouteContext, id: string, waitMs: number): Promise<RunResult> => {
  if (waitMs === 0) return plane.result(id, 0);
  return (await waits.until(plane.result(id, waitMs))) ?? plane.result(id, 0);
};
