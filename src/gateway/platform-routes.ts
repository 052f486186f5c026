/** Applications, pods, layers and logs. */
import { createHash } from "node:crypto";
import type { FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { LockstepError } from "../lib/errors.ts";
import type { Bundle } from "../protocol/application.ts";
import type { LogFilter } from "../protocol/control-plane.ts";
import { answers, pageOf, ref } from "./answers.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";
import { BundleBody, LogsQuery } from "./schemas.ts";
import { timeMs } from "./units.ts";

const tag = "platform";

export const platformRoutes = ({ plane, settings }: RouteContext): Route[] => [
  {
    method: "POST",
    path: "/v1/applications",
    operationId: "deploy",
    summary: "Deploy a bundled application",
    tag,
    body: BundleBody,
    bodyLimitBytes: settings.bundleLimitBytes,
    responses: { 201: { description: "The version, which new runs take.", schema: ref("Application") } },
    errors: ["APPLICATION_INVALID", "NAME_TAKEN", "POD_FAILED_TO_START"],
    handle: async (request, reply) => sendJson(reply, 201, JSON.stringify(await plane.deploy(bundleOf(request)))),
  },
  {
    method: "POST",
    path: "/v1/applications/check",
    operationId: "checkApplication",
    summary: "Replay all unfinished runs of an application against a bundle, without deploying it",
    tag,
    body: BundleBody,
    bodyLimitBytes: settings.bundleLimitBytes,
    responses: {
      200: { description: "How each run would fare: those that would diverge have a failure.", schema: pageOf("runs", ref("Rehearsal")) },
    },
    errors: ["APPLICATION_INVALID", "NAME_TAKEN", "POD_FAILED_TO_START"],
    handle: async (request, reply) => {
      const runs = (await plane.rehearse(bundleOf(request))).map(({ failure, ...run }) =>
        failure === undefined ? run : { ...run, failure: { code: failure.code, message: failure.message } },
      );
      sendJson(reply, 200, JSON.stringify({ runs }));
    },
  },
  {
    method: "GET",
    path: "/v1/applications",
    operationId: "listApplications",
    summary: "List the deployed versions",
    tag,
    responses: { 200: { description: "All versions.", schema: pageOf("applications", ref("Application")) } },
    handle: async (_, reply) => sendJson(reply, 200, JSON.stringify({ applications: await plane.applications() })),
  },
  {
    method: "GET",
    path: "/v1/pods",
    operationId: "listPods",
    summary: "List the pods",
    tag,
    responses: { 200: { description: "All pods.", schema: pageOf("pods", ref("Pod")) } },
    handle: (_, reply) => sendJson(reply, 200, JSON.stringify({ pods: plane.pods() })),
  },
  {
    method: "GET",
    path: "/v1/layers",
    operationId: "listLayers",
    summary: "List the functions' queues",
    tag,
    responses: { 200: { description: "All layers.", schema: pageOf("layers", ref("Layer")) } },
    handle: (_, reply) => sendJson(reply, 200, JSON.stringify({ layers: plane.layers() })),
  },
  {
    method: "GET",
    path: "/v1/logs",
    operationId: "listLogs",
    summary: "Search what calls and coordinators have logged",
    tag,
    query: LogsQuery,
    responses: {
      200: { description: "A page of calls' logs, the oldest first.", schema: pageOf("logs", ref("CallLog"), { next: answers.integer }) },
    },
    handle: async (request, reply) => {
      sendJson(reply, 200, JSON.stringify(await plane.logs(logFilterOf(request.query as Static<typeof LogsQuery>))));
    },
  },
];

const logFilterOf = ({ since, after, limit = 100, ...query }: Static<typeof LogsQuery>): LogFilter => {
  const filter = { ...query, limit } as LogFilter;
  const from = since === undefined ? undefined : timeMs(since);
  if (from !== undefined) filter.since = from;
  if (after !== undefined) filter.after = after === "latest" ? after : Number(after);
  return filter;
};

/** @throws {LockstepError} BAD_REQUEST when the version is not that of the code */
const bundleOf = (request: FastifyRequest): Bundle => {
  const { application, code, version: claimed } = request.body as Static<typeof BundleBody>;
  const version = createHash("sha256").update(code).digest("hex").slice(0, 16);
  if (claimed === undefined || claimed === version) return { application, version, code };
  const details = { field: "version", in: "body", expected: version };
  throw new LockstepError("BAD_REQUEST", `version in the body is ${claimed}, but the code that arrived has ${version}`, { details });
};
