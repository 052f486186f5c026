/** What a person decides about runs that stopped: answering for one, giving many another try, beginning one again. */
import type { FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { LockstepError } from "../lib/errors.ts";
import type { Resolution } from "../protocol/recovery.ts";
import { answers, ref } from "./answers.ts";
import { writeValue } from "./json-body.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";
import { sendStanding } from "./run-routes.ts";
import { ResolveBody, RestartBody, RetryBody, RunParams } from "./schemas.ts";

const tag = "recovery";
const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id;

export const recoveryRoutes = (context: RouteContext): Route[] => [
  {
    method: "POST",
    path: "/v1/runs/:id/resolve",
    operationId: "resolveRun",
    summary: "Decide for a suspended run",
    tag,
    params: RunParams,
    body: ResolveBody,
    responses: { 202: { description: "The decision is durable, and the run goes on from it.", schema: ref("Standing") } },
    errors: ["UNKNOWN_RUN", "CALL_NOT_FOUND", "RUN_FINISHED", "RUN_NOT_SUSPENDED"],
    handle: async (request, reply) => {
      const body = request.body as Static<typeof ResolveBody>;
      await context.plane.resolve(idOf(request), resolutionOf(body), body.by ?? "api");
      await sendStanding(context, idOf(request), reply);
    },
  },
  {
    method: "POST",
    path: "/v1/runs/retry",
    operationId: "retryRuns",
    summary: "Give all suspended runs that fit a fresh set of attempts",
    tag,
    body: RetryBody,
    responses: {
      200: {
        description: "The runs that go on, or with `dryRun` would; those that changed meanwhile are left out.",
        schema: answers.object({ runs: answers.list(ref("Repair")), dryRun: answers.yes }),
      },
    },
    handle: async (request, reply) => {
      const { dryRun = false, ...filter } = request.body as Static<typeof RetryBody>;
      const runs = await context.plane.repair(filter, dryRun);
      sendJson(reply, 200, JSON.stringify({ runs, dryRun }));
    },
  },
  {
    method: "POST",
    path: "/v1/runs/:id/restart",
    operationId: "restartRun",
    summary: "Begin a run again, from the start or from a call",
    tag,
    params: RunParams,
    body: RestartBody,
    responses: {
      202: {
        description: "A new run is accepted and durable.",
        schema: answers.object({
          id: answers.runId,
          reused: { type: "integer", description: "Commands of the old run whose outcomes the new one has from the beginning." },
        }),
        headers: { location: "Address of the new run." },
      },
    },
    errors: ["UNKNOWN_RUN", "CALL_NOT_FOUND", "UNKNOWN_COORDINATOR", "UNKNOWN_FUNCTION", "OVERLOADED"],
    handle: async (request, reply) => {
      const { from } = request.body as Static<typeof RestartBody>;
      const { id, reused } = await context.plane.restart(idOf(request), from);
      reply.header("location", `/v1/runs/${id}`);
      sendJson(reply, 202, JSON.stringify({ id, reused }));
    },
  },
];

const ACTIONS = ["retry", "value", "fail"] as const;

/** @throws {LockstepError} BAD_REQUEST when the body doesn't say exactly one thing */
const resolutionOf = (body: Static<typeof ResolveBody>): Resolution => {
  const said = ACTIONS.filter((action) => body[action] !== undefined);
  const action = said[0];
  if (action === undefined || said.length > 1) throw wrong("retry", `must hold exactly one of ${ACTIONS.join(", ")}, not ${said.length}`);
  if (body.retry === false) throw wrong("retry", "can only have true in retry: leave it out to decide otherwise");
  if (body.input !== undefined && action !== "retry") throw wrong("input", "can have input only beside retry");
  const resolution: Resolution = { action };
  if (body.call !== undefined) resolution.call = body.call;
  if (action === "value") resolution.value = writeValue(body.value, "value");
  if (action === "retry" && body.input !== undefined) resolution.value = writeValue(body.input, "input");
  if (body.fail !== undefined && body.fail !== "") resolution.reason = body.fail;
  return resolution;
};

const wrong = (field: string, message: string): LockstepError =>
  new LockstepError("BAD_REQUEST", `the body ${message}`, { details: { field, in: "body" } });
