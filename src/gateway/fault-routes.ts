/** Faults of the platform itself, and those that are provoked. */
import type { FastifyRequest } from "fastify";
import type { Static } from "typebox";
import { LockstepError } from "../lib/errors.ts";
import type { DrillRequest } from "../protocol/faults.ts";
import { pageOf, ref } from "./answers.ts";
import { isLoopback } from "./options.ts";
import type { Route, RouteContext } from "./route.ts";
import { sendJson } from "./route.ts";
import { DrillBody, FaultsQuery } from "./schemas.ts";

const tag = "platform";
const FORWARDED = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

export const faultRoutes = ({ plane, settings }: RouteContext): Route[] => [
  {
    method: "GET",
    path: "/v1/faults",
    operationId: "listFaults",
    summary: "List what of the platform itself has failed",
    tag,
    query: FaultsQuery,
    responses: { 200: { description: "The newest first.", schema: pageOf("faults", ref("Fault")) } },
    handle: (request, reply) => {
      const { limit = 100 } = request.query as Static<typeof FaultsQuery>;
      sendJson(reply, 200, JSON.stringify({ faults: plane.faults(limit) }));
    },
  },
  {
    method: "POST",
    path: "/v1/drills",
    operationId: "drill",
    summary: "Provoke a fault of a development platform",
    tag,
    body: DrillBody,
    responses: { 202: { description: "What was done; the events after `position` tell what follows.", schema: ref("Drill") } },
    errors: ["DRILLS_DISABLED", "UNKNOWN_POD", "ACCESS_DENIED"],
    handle: (request, reply) => {
      checkLocal(request, settings.host);
      sendJson(reply, 202, JSON.stringify(plane.drill(request.body as DrillRequest)));
    },
  },
];

/** @throws {LockstepError} ACCESS_DENIED when it comes, or could come, from elsewhere than this machine */
const checkLocal = (request: FastifyRequest, host: string): void => {
  const from = (request.raw.socket.remoteAddress ?? "").replace(/^::ffff:/, "");
  // A proxy on this machine speaks for others.
  const isForwarded = FORWARDED.some((name) => request.headers[name] !== undefined);
  if (isLoopback(host) && isLoopback(from) && !isForwarded) return;
  throw new LockstepError("ACCESS_DENIED", "drills are taken only from this machine, by a platform that listens at a loopback address");
};
