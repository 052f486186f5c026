/** Looking at runs and acting on them. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { LockstepError } from "../lib/errors.ts";
import { UNDEFINED } from "../lib/json.ts";
import type { RunFilter, RunKind, RunStatus } from "../protocol/run.ts";
import { answers, pageOf, ref } from "./answers.ts";
import { certificatesOf } from "./certificates.ts";
import { writeValue } from "./json-body.ts";
import { resultMembers, withRawMembers } from "./json-text.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";
import { CancelBody, NoBody, RunParams, RunsQuery, SignalBody, SignalParams, WaitQuery } from "./schemas.ts";
import { isSettled, standing, waitMsOf } from "./start-routes.ts";
import { timeMs } from "./units.ts";

const RAW = new Set(["input", "value", "certificate"]);
/** Members of journal records that hold JSON text themselves: a decision's value, what a state operation writes. */
const NESTED = new Set(["decision", "op"]);
const tag = "runs";
const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id;

export const runRoutes = (context: RouteContext): Route[] => [...readingRoutes(context), ...actingRoutes(context)];

const readingRoutes = (context: RouteContext): Route[] => [
  {
    method: "GET",
    path: "/v1/runs",
    operationId: "listRuns",
    summary: "List runs, the latest first",
    tag,
    query: RunsQuery,
    responses: { 200: { description: "A page of runs.", schema: pageOf("runs", ref("RunSummary"), { "cursor?": answers.text }) } },
    handle: (request, reply) => list(context, request, reply),
  },
  {
    method: "GET",
    path: "/v1/runs/:id",
    operationId: "showRun",
    summary: "Show a run",
    tag,
    params: RunParams,
    responses: { 200: { description: "The run.", schema: ref("Run") } },
    errors: ["UNKNOWN_RUN"],
    handle: async (request, reply) => sendJson(reply, 200, withRawMembers(await context.plane.run(idOf(request)), RAW)),
  },
  {
    method: "GET",
    path: "/v1/runs/:id/result",
    operationId: "awaitResult",
    summary: "Get the result of a run, and wait for it",
    tag,
    params: RunParams,
    query: WaitQuery,
    responses: {
      200: { description: "The run has finished, or is suspended.", schema: ref("Result") },
      202: { description: "The run goes on.", schema: ref("Standing") },
    },
    errors: ["UNKNOWN_RUN"],
    handle: async (request, reply) => {
      const result = await standing(context, idOf(request), waitMsOf(request, context.settings.maxWaitMs));
      sendJson(reply, isSettled(result) ? 200 : 202, `{${resultMembers(result)}}`);
    },
  },
  {
    method: "GET",
    path: "/v1/runs/:id/journal",
    operationId: "showJournal",
    summary: "Show the journal of a run",
    tag,
    params: RunParams,
    responses: { 200: { description: "All records in order.", schema: pageOf("records", ref("JournalRecord"), { id: answers.runId }) } },
    errors: ["UNKNOWN_RUN"],
    handle: async (request, reply) => {
      const id = idOf(request);
      const records = (await context.plane.journal(id)).map((record) => withRawMembers(record, RAW, NESTED));
      sendJson(reply, 200, `{"id":"${id}","records":[${records.join(",")}]}`);
    },
  },
  {
    method: "GET",
    path: "/v1/runs/:id/certificates",
    operationId: "listCertificates",
    summary: "List the certificates of a run's calls",
    tag,
    params: RunParams,
    responses: {
      200: {
        description: "Those of calls that replica sets have executed, in the order in which they ended.",
        schema: pageOf("certificates", ref("RunCertificate"), { id: answers.runId }),
      },
    },
    errors: ["UNKNOWN_RUN"],
    handle: async (request, reply) => {
      const id = idOf(request);
      const certificates = certificatesOf(await context.plane.journal(id));
      sendJson(reply, 200, `{"id":"${id}","certificates":[${certificates.join(",")}]}`);
    },
  },
  {
    method: "GET",
    path: "/v1/expressions/:id",
    operationId: "showExpression",
    summary: "Show an expression's run",
    tag,
    params: RunParams,
    responses: { 200: { description: "The expression and its value, as far as it is known.", schema: ref("Expression") } },
    errors: ["UNKNOWN_RUN"],
    handle: (request, reply) => showExpression(context, idOf(request), reply),
  },
];

const actingRoutes = (context: RouteContext): Route[] => [
  {
    method: "POST",
    path: "/v1/runs/:id/signals/:name",
    operationId: "sendSignal",
    summary: "Send a signal to a run",
    tag,
    params: SignalParams,
    body: SignalBody,
    responses: { 204: { description: "The signal is durable." } },
    errors: ["UNKNOWN_RUN", "RUN_FINISHED", "PAYLOAD_TOO_LARGE"],
    handle: async (request, reply) => {
      const { value } = request.body as Static<typeof SignalBody>;
      const { id, name } = request.params as Static<typeof SignalParams>;
      await context.plane.signal(id, name, writeValue(value, "value"));
      reply.code(204).send();
    },
  },
  {
    method: "POST",
    path: "/v1/runs/:id/cancel",
    operationId: "cancelRun",
    summary: "Cancel a run",
    tag,
    params: RunParams,
    body: CancelBody,
    responses: {
      202: {
        description:
          "The cancellation is durable; the run ends when its coordinator has cleaned up. A run that is cancelled already is left as it is.",
        schema: ref("Standing"),
      },
    },
    errors: ["UNKNOWN_RUN", "RUN_FINISHED"],
    handle: async (request, reply) => {
      const { reason = "cancelled by request", force } = request.body as Static<typeof CancelBody>;
      await context.plane.cancel(idOf(request), { reason, force });
      await sendStanding(context, idOf(request), reply);
    },
  },
  {
    method: "POST",
    path: "/v1/runs/:id/resume",
    operationId: "resumeRun",
    summary: "Resume a suspended run",
    tag,
    params: RunParams,
    body: NoBody,
    responses: { 202: { description: "The run goes on, with a fresh set of attempts.", schema: ref("Standing") } },
    errors: ["UNKNOWN_RUN", "RUN_FINISHED", "RUN_NOT_SUSPENDED"],
    handle: async (request, reply) => {
      await context.plane.resume(idOf(request));
      await sendStanding(context, idOf(request), reply);
    },
  },
];

/** Answers an order with how its run stands now. */
export const sendStanding = async ({ plane }: RouteContext, id: string, reply: FastifyReply): Promise<void> => {
  const { status } = await plane.result(id, 0);
  sendJson(reply, 202, `{"id":"${id}","status":"${status}"}`);
};

const list = async (context: RouteContext, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
  const query = request.query as Static<typeof RunsQuery>;
  sendJson(reply, 200, JSON.stringify(await context.plane.runs(filterOf(query), query.limit ?? 100, query.cursor)));
};

const filterOf = (query: Static<typeof RunsQuery>): RunFilter => {
  const { coordinator, kind, name } = query;
  if (coordinator !== undefined && (name !== undefined || (kind !== undefined && kind !== "coordinator"))) {
    throw wrongQuery("coordinator", "stands for kind and name, and cannot be combined with others");
  }
  return {
    status: query.status?.split(",") as RunStatus[] | undefined,
    kind: coordinator === undefined ? (kind as RunKind | undefined) : "coordinator",
    name: coordinator ?? name,
    key: query.key,
    since: time("since", query.since),
    until: time("until", query.until),
  };
};

const time = (field: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  const ms = timeMs(text);
  if (ms === undefined) throw wrongQuery(field, `is no date that exists: ${text}`);
  return ms;
};

const wrongQuery = (field: string, message: string): LockstepError =>
  new LockstepError("BAD_REQUEST", `the query parameter ${field} ${message}`, { details: { field, in: "query" } });

const showExpression = async ({ plane }: RouteContext, id: string, reply: FastifyReply): Promise<void> => {
  const run = await plane.run(id);
  if (run.kind !== "expression") throw new LockstepError("UNKNOWN_RUN", `${id} is the run of a ${run.kind}, not of an expression`);
  const variables = run.input === UNDEFINED ? "{}" : run.input;
  const head = `"expression":${JSON.stringify(run.name)},"variables":${variables}`;
  sendJson(reply, 200, `{${resultMembers(run)},${head}}`);
};
